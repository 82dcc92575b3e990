//! Exclusive locks: a file lock that the kernel drops with its process, and the process's number beside it.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::workspace::Workspace;

/// Held until dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("`{what}` is being worked on by process {holder}: wait for it, or stop it first")]
    Held { what: String, holder: String },
    #[error("cannot lock `{}`: {source}; its folder must be writable and have room, or choose another with --state-dir", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

pub(super) fn take(path: &Path, what: &str) -> Result<Lock, LockError> {
    let io = |source| LockError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let mut file =
        sb_durable::private().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.is_empty() { "(unknown)".to_owned() } else { holder.trim().to_owned() };
            return Err(LockError::Held { what: what.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    file.set_len(0).map_err(io)?;
    file.rewind().map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(Lock { _file: file })
}

/// Whether a live process drives a run of a workspace, or works on a deployment of it.
pub(crate) fn is_worked_in(workspace: &Workspace) -> bool {
    let items = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    items(workspace.runs()).any(|run| is_held(&run.path().join("lock")))
        || items(workspace.deployments()).any(|lock| is_held(&lock.path()))
}

/// Whether a process holds the lock.
pub(super) fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The process that holds the lock, if one does.
pub(super) fn holder(path: &Path) -> Option<u32> {
    let mut file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text).ok()?;
            text.trim().parse().ok()
        }
        _ => None,
    }
}
