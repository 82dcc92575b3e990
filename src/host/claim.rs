//! Who runs an attempt: `claim.json`, and the identity of processes beyond their (reusable) numbers.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use sb_durable::Durability;
use serde::{Deserialize, Serialize};

use crate::attempt;

/// The content of `claim.json`. Written once before the command starts, and again when its process is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Claim {
    /// Of this shape: 1.
    pub(super) version: u32,
    /// Process numbers and start times mean nothing under another boot.
    pub(super) boot_id: String,
    /// Also the number of the session in which the command runs.
    pub(super) supervisor: Process,
    /// Also the number of the command's process group.
    pub(super) child: Option<Process>,
    /// How many attempts the supervisor ran before this one.
    #[serde(default)]
    pub(super) number: u32,
    /// The lock that the supervisor holds. In a copy of the folder it is another file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lock: Option<FileId>,
    /// See [`super::HostCommand::ends_sessions`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) ends_sessions: bool,
}

/// A file, whatever its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(found: &fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// A process, told apart from later ones with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// Clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub(super) start_time: u64,
}

const CLAIM_FILE: &str = "claim.json";
/// The child's environment carries [`Claim::marker`] under this name, so that what is left of it can be recognised.
pub(super) const MARKER: &str = "SB_ATTEMPT";

impl Claim {
    pub(super) fn of_this_process() -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_pid();
        let supervisor =
            Process::of(pid)?.ok_or_else(|| io::Error::other("/proc does not list this process"))?;
        let boot_id = boot_id()?;
        Ok(Self { version: 1, boot_id, supervisor, child: None, number: 0, lock: None, ends_sessions: false })
    }

    /// A claim whose content was lost with the machine it was made on is a claim of an unknown boot.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        match attempt::read_json(&dir.join(CLAIM_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let nobody = Process { pid: 0, start_time: 0 };
                Ok(Some(Self {
                    version: 1,
                    boot_id: String::new(),
                    supervisor: nobody,
                    child: None,
                    number: 0,
                    lock: None,
                    ends_sessions: false,
                }))
            }
            other => other,
        }
    }

    pub(super) fn write(&self, dir: &Path, durability: Durability) -> io::Result<()> {
        attempt::write_json(dir, CLAIM_FILE, self, durability)
    }

    /// Whether the claim was made in this folder, and not in one that this is a copy of.
    pub(super) fn is_of(&self, dir: &Path) -> io::Result<bool> {
        // The numbers of devices hold until the machine is started again; then nothing of the claim runs.
        let Some(lock) = self.lock.filter(|_| boot_id().is_ok_and(|boot| boot == self.boot_id)) else {
            return Ok(true);
        };
        match fs::metadata(dir.join(super::LOCK_FILE)) {
            Ok(found) => Ok(FileId::of(&found) == lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The value of [`MARKER`]: different for every command that was ever started.
    pub(super) fn marker(&self) -> String {
        let Self { boot_id, supervisor: Process { pid, start_time }, number, .. } = self;
        format!("{boot_id}.{pid}.{start_time}.{number}")
    }

    /// A handle of the supervisor, if it is still that process.
    pub(super) fn supervisor_handle(&self) -> io::Result<Option<std::os::fd::OwnedFd>> {
        if boot_id()? != self.boot_id {
            return Ok(None);
        }
        let Some(pid) = Pid::from_raw(self.supervisor.pid) else { return Ok(None) };
        let handle = match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Compared after the handle was opened: the number cannot have changed hands in between unnoticed.
        Ok((Process::of(self.supervisor.pid)? == Some(self.supervisor)).then_some(handle))
    }

    /// What is left of the command, and whether it carries the attempt's marker: the processes of the session, without
    /// the supervisor and without those that have ended. If the command ends sessions, too, also the orphans that became
    /// the supervisor's children, and whatever carries the marker.
    pub(super) fn leftovers(&self) -> io::Result<Vec<(Process, Option<bool>)>> {
        let supervisor = self.supervisor.pid;
        let marker = self.marker();
        let mut members = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
                continue;
            };
            let Some(stat) = Stat::read(pid)? else { continue };
            if pid == supervisor || matches!(stat.state, b'Z' | b'X') {
                continue;
            }
            let is_near = stat.session == supervisor || (self.ends_sessions && stat.parent == supervisor);
            // Only what could be ours is looked into.
            if !is_near && !self.ends_sessions {
                continue;
            }
            let marked = carries_marker(pid, &marker);
            if is_near || marked == Some(true) {
                members.push((stat.process, marked));
            }
        }
        Ok(members)
    }

    /// Kills what a dead supervisor left behind, and returns when it has ended (or after `patience`: a process
    /// in an uninterruptible system call cannot be ended by anyone).
    pub(super) fn kill_leftovers(&self, patience: Duration) -> io::Result<()> {
        if boot_id()? != self.boot_id {
            return Ok(());
        }
        let give_up = Instant::now() + patience;
        loop {
            if let Some(child) = self.child
                && Process::of(child.pid)? == Some(child)
                && let Some(group) = Pid::from_raw(child.pid)
            {
                ignore_missing(rustix::process::kill_process_group(group, Signal::KILL))?;
            }
            // The number of the session may have been given away since.
            let mut left = self.leftovers()?;
            left.retain(|(_, marked)| *marked != Some(false));
            for (process, marked) in &left {
                // One that is just starting is looked at again.
                if *marked == Some(true) {
                    process.kill()?;
                }
            }
            if left.is_empty() || Instant::now() >= give_up {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Process {
    /// The living process of this number (one that has ended and waits to be reaped counts as living).
    pub(super) fn of(pid: i32) -> io::Result<Option<Self>> {
        Ok(Stat::read(pid)?.map(|stat| stat.process))
    }

    /// Kills exactly this process.
    pub(super) fn kill(self) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        let handle = match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if Self::of(self.pid)? == Some(self) {
            ignore_missing(rustix::process::pidfd_send_signal(handle, Signal::KILL))?;
        }
        Ok(())
    }
}

/// Whether a process belongs to the attempt: the number of a session alone may have been given away since. `None`
/// while it cannot be told, because the process is just being replaced by a program or is ending.
fn carries_marker(pid: i32, marker: &str) -> Option<bool> {
    let expected = format!("{MARKER}={marker}").into_bytes();
    let environment = fs::read(format!("/proc/{pid}/environ")).ok().filter(|bytes| !bytes.is_empty())?;
    Some(environment.split(|byte| *byte == 0).any(|entry| entry == expected))
}

struct Stat {
    process: Process,
    state: u8,
    parent: i32,
    session: i32,
}

impl Stat {
    fn read(pid: i32) -> io::Result<Option<Self>> {
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(bytes) => Self::parse(pid, &bytes).map(Some).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat has an unknown shape"))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // The process ended between open and read.
            Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// proc_pid_stat(5). The second field is the program's name in parentheses and may itself hold spaces and
    /// parentheses, so the fields are counted from the last one that closes.
    fn parse(pid: i32, bytes: &[u8]) -> Option<Self> {
        let after_name = bytes.iter().rposition(|byte| *byte == b')')? + 1;
        let fields: Vec<&str> =
            std::str::from_utf8(&bytes[after_name..]).ok()?.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            process: Process { pid, start_time: field(22)?.parse().ok()? },
            state: *field(3)?.as_bytes().first()?,
            parent: field(4)?.parse().ok()?,
            session: field(6)?.parse().ok()?,
        })
    }
}

/// Of this machine, until it is started again.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

pub(super) fn ignore_missing(result: Result<(), Errno>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = b"42 (a) S 7 (b) R 1 40 39 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 987654 1 2 3";
        let stat = Stat::parse(42, line).unwrap();
        assert_eq!(
            (stat.process, stat.state, stat.parent, stat.session),
            (Process { pid: 42, start_time: 987_654 }, b'R', 1, 39)
        );
        assert!(Stat::parse(42, b"42 (x) R 1 2").is_none());
    }

    #[test]
    fn this_process_is_the_same_process_twice_and_another_start_time_is_another_process() {
        let pid = rustix::process::getpid().as_raw_pid();
        let process = Process::of(pid).unwrap().unwrap();
        assert_eq!(Process::of(pid).unwrap(), Some(process));
        let mut claim = Claim::of_this_process().unwrap();
        assert!(claim.supervisor_handle().unwrap().is_some());
        claim.supervisor.start_time += 1;
        assert!(claim.supervisor_handle().unwrap().is_none(), "a reused number is not our supervisor");
        claim.supervisor.start_time -= 1;
        claim.boot_id.push('x');
        assert!(claim.supervisor_handle().unwrap().is_none(), "nor is one of another boot");
    }
}
