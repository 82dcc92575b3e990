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

impl Lock {
    /// Takes the lock and writes this process's id into it; none where somebody else holds it.
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
            file.write_all(std::process::id().to_string().as_bytes())?;
            file.flush()
        };
        write().map_err(|error| ("write", error))?;
        Ok(Some(Self { file, path: path.to_owned() }))
    }

    /// The process that holds a lock.
    pub(crate) fn holder(path: &Path) -> Option<u32> {
        let mut file = File::open(path).ok()?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => {}
            // Free (or not a lock at all): nobody runs. Dropping the file lets it go again.
            _ => return None,
        }
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
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
        assert_eq!(Lock::holder(&path), None, "there is no file");
        let held = Lock::take(&path).unwrap().unwrap();
        assert_eq!(Lock::holder(&path), Some(std::process::id()));
        assert!(Lock::take(&path).unwrap().is_none());
        assert!(held.is_in_place());

        fs::remove_file(&path).unwrap();
        assert!(!held.is_in_place());
        let another = Lock::take(&path).unwrap().unwrap();
        assert!(!held.is_in_place() && another.is_in_place());
        drop(another);
        assert_eq!(Lock::holder(&path), None, "the file is there, and nobody holds it");
    }
}
