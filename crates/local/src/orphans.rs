//! Processes that outlive the runtime that has started them (or whose functions have): known by a variable that they inherit.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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

fn end_marked(variable: &str, value: &[u8]) -> usize {
    let mut mark = format!("{variable}=").into_bytes();
    mark.extend(value);
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ended = processes.filter(|process| {
        let Some(id) = process.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?)) else {
            return false;
        };
        // Those of other users cannot be read, and are none of ours.
        // By a handle that is older than the look at it: the number may belong to another process a moment later.
        let Ok(handle) = pidfd_open(id, PidfdFlags::empty()) else { return false };
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark)
            && pidfd_send_signal(handle, Signal::KILL).is_ok()
    });
    ended.count()
}
