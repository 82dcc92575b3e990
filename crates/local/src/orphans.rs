//! Processes that outlive the runtime that has started them (or whose functions have): known by a variable that they inherit.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// In the environment of every function and of the services: the state folder.
pub(super) const MARK: &str = "SB_LOCAL_STATE";
/// In the environment of an instance of a function: which it is.
pub(super) const INSTANCE: &str = "SB_LOCAL_INSTANCE";

/// Ends what is left of an earlier runtime of this folder, and says how many processes that were. Only while no runtime runs.
///
/// One that is dying counts until the kernel has taken its memory.
pub(super) fn end(state_dir: &Path) -> usize {
    end_marked(MARK, state_dir.as_os_str().as_bytes())
}

/// Ends what is left of an instance: processes that it has started in groups or sessions of their own.
pub(super) fn end_instance(id: &str) -> usize {
    end_marked(INSTANCE, id.as_bytes())
}

/// The processes of an instance: the function's, and all that it has started.
#[derive(Debug)]
pub(super) struct InstanceProcesses {
    /// Of the function.
    first: u32,
    mark: Vec<u8>,
}

impl InstanceProcesses {
    pub(super) fn new(first: u32, id: &str) -> Self {
        Self { first, mark: format!("{INSTANCE}={id}").into_bytes() }
    }

    /// Whether one of them holds the socket of this inode. The function itself is looked at first, then what it has started;
    /// a look through all processes takes a moment, and finds those that have left its tree.
    pub(super) fn has(&self, inode: u64) -> bool {
        let socket = format!("socket:[{inode}]");
        let holds = |process: &Path| {
            let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            files
                .filter_map(|file| fs::read_link(file.path()).ok())
                .any(|link| link.as_os_str() == socket.as_str())
        };
        let mut tree = vec![self.first];
        let mut next = 0;
        while let Some(process) = tree.get(next).copied() {
            next += 1;
            let folder = PathBuf::from(format!("/proc/{process}"));
            if holds(&folder) {
                return true;
            }
            let threads = fs::read_dir(folder.join("task")).into_iter().flatten().flatten();
            for thread in threads {
                let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
                tree.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        processes
            .map(|process| process.path())
            .any(|process| has_variable(&process, &self.mark) && holds(&process))
    }
}

fn has_variable(process: &Path, mark: &[u8]) -> bool {
    // Those of other users cannot be read, and are none of ours.
    let environment = fs::read(process.join("environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == mark)
}

fn end_marked(variable: &str, value: &[u8]) -> usize {
    let mut mark = format!("{variable}=").into_bytes();
    mark.extend(value);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ended = processes.filter(|process| {
        let Some(id) = process.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?)) else {
            return false;
        };
        // By a handle that is older than the look at it: the number may belong to another process a moment later.
        let Ok(handle) = pidfd_open(id, PidfdFlags::empty()) else { return false };
        has_variable(&process.path(), &mark) && pidfd_send_signal(handle, Signal::KILL).is_ok()
    });
    ended.count()
}
