//! The lock of a state folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often a lock that somebody holds is tried again, and how long to wait in between. Whoever looks for a daemon
/// holds the lock for a moment: a few tries tell it from a daemon.
const TRIES: usize = 50;
const WAIT: Duration = Duration::from_millis(5);
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A lock that this process holds until it is dropped, or until the process ends, whatever ends it.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// It is free.
    Nobody,
    /// The process that wrote itself into it.
    Process(u32),
    /// Somebody: one that is just taking it, or a process that did not write itself into it, or wrote another number
    /// than it has here (in a container). The process of that number is a stranger.
    Unknown,
}

/// A process, told apart from later ones with the same number: its number, its start in clock ticks since boot (field 22
/// of `/proc/PID/stat`), and the boot.
fn identity(pid: u32) -> io::Result<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything.
    let after_name = stat.rfind(')').map_or("", |end| &stat[end + 1..]);
    let started = after_name.split_ascii_whitespace().nth(22 - 3);
    let started = started.ok_or_else(|| io::Error::other("/proc/PID/stat has an unknown shape"))?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(format!("{pid} {started} {}", boot.trim()))
}

impl Lock {
    /// Takes the lock and writes into it which process this is; none where somebody else holds it.
    pub(crate) fn take(path: &Path) -> Result<Option<Self>, (&'static str, io::Error)> {
        let open = sb_durable::private().create(true).truncate(false).read(true).write(true).open(path);
        let mut file = open.map_err(|error| ("lock", error))?;
        for attempt in 0.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(WAIT),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(("lock", error)),
            }
        }
        let mut write = || {
            file.set_len(0)?;
            file.write_all(identity(std::process::id())?.as_bytes())?;
            file.flush()
        };
        write().map_err(|error| ("write", error))?;
        Ok(Some(Self { file, path: path.to_owned() }))
    }

    /// Who holds a lock.
    pub(crate) fn holder(path: &Path) -> Holder {
        let Ok(mut file) = File::open(path) else { return Holder::Nobody };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {}
            // Free (or not a lock at all): nobody runs. Dropping the file lets it go again.
            _ => return Holder::Nobody,
        }
        let mut text = String::new();
        let _ = Read::take(&mut file, 256).read_to_string(&mut text);
        let pid = text.split(' ').next().and_then(|pid| pid.parse().ok());
        match pid {
            Some(pid) if identity(pid).is_ok_and(|now| now == text) => Holder::Process(pid),
            _ => Holder::Unknown,
        }
    }

    /// Whether the state folder still has this lock: the folder may have been removed, and made anew for another daemon.
    pub fn is_in_place(&self) -> bool {
        let identity = |found: fs::Metadata| (found.dev(), found.ino());
        match (self.file.metadata(), fs::metadata(&self.path)) {
            (Ok(held), Ok(there)) => identity(held) == identity(there),
            (_, Err(error)) => error.kind() != io::ErrorKind::NotFound,
            (Err(_), _) => true,
        }
    }

    /// Returns when the state folder was removed: then nobody could find this daemon, and end it. Looks every 5 s.
    pub async fn lost(&self) {
        while self.is_in_place() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_knows_its_holder_and_whether_its_folder_was_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert_eq!(Lock::holder(&path), Holder::Nobody, "there is no file");
        let held = Lock::take(&path).unwrap().unwrap();
        assert_eq!(Lock::holder(&path), Holder::Process(std::process::id()));
        assert!(Lock::take(&path).unwrap().is_none());
        assert!(held.is_in_place());

        fs::remove_file(&path).unwrap();
        assert!(!held.is_in_place());
        let another = Lock::take(&path).unwrap().unwrap();
        assert!(!held.is_in_place() && another.is_in_place());
        drop(another);
        assert_eq!(Lock::holder(&path), Holder::Nobody, "the file is there, and nobody holds it");
    }

    #[test]
    fn a_number_that_another_process_has_now_is_not_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let _held = Lock::take(&path).unwrap().unwrap();
        let own = fs::read_to_string(&path).unwrap();
        let (pid, rest) = own.split_once(' ').unwrap();
        let (started, boot) = rest.split_once(' ').unwrap();
        for other in [
            String::new(),
            pid.to_owned(),
            format!("{pid} {started}0 {boot}"),
            format!("{pid} {started} {boot}0"),
            format!("1 {started} {boot}"),
        ] {
            fs::write(&path, &other).unwrap();
            assert_eq!(Lock::holder(&path), Holder::Unknown, "{other}");
        }
        fs::write(&path, &own).unwrap();
        assert_eq!(Lock::holder(&path), Holder::Process(std::process::id()));
    }
}
