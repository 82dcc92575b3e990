//! What can go wrong with a daemon.

use std::io;
use std::path::{Path, PathBuf};

/// Why a daemon could not be started, found, run or stopped. `daemon` is the daemon's name, as in "local target".
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A file of the daemon could not be used.
    #[error("cannot {action} `{}`: {source} (check that the folder exists and can be written)", path.display())]
    Io {
        /// What was tried: a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process holds the lock of the state folder.
    #[error("a {daemon} already runs from `{}`: stop it with `down` first", state_dir.display())]
    Running {
        /// Whose lock it is.
        daemon: &'static str,
        /// The state folder.
        state_dir: PathBuf,
    },
    /// No socket, or no handler of a signal, could be made.
    #[error("cannot listen on 127.0.0.1: {0} (check that the loopback interface is up)")]
    Listen(#[source] io::Error),
    /// The process was started, and ended or did not say in time how it can be used.
    #[error("the {daemon} did not become ready: {reason}; `{}` says:\n{tail}", log.display())]
    NotReady {
        /// Whose process it is.
        daemon: &'static str,
        /// How it ended, or how long it was given.
        reason: String,
        /// The daemon's log.
        log: PathBuf,
        /// The end of what this start has written to the log.
        tail: String,
    },
    /// The process survived SIGTERM and SIGKILL.
    #[error("process {pid} of the {daemon} still holds `{}` after SIGKILL: look at what blocks it with `ps`", lock.display())]
    WillNotEnd {
        /// Whose process it is.
        daemon: &'static str,
        /// The process id.
        pid: u32,
        /// The lock that it holds.
        lock: PathBuf,
    },
    /// The lock is held, and not by the process that is written in it: that number belongs to a stranger now.
    #[error("`{}` is held, but not by a {daemon} of this machine: nothing was signalled; `fuser -v` on it shows who holds it", lock.display())]
    Unknown {
        /// Whose lock it should be.
        daemon: &'static str,
        /// The lock.
        lock: PathBuf,
    },
    /// A file in the state folder does not hold what the daemon writes there.
    #[error("`{}` is not a file of the {daemon}: {source}; delete the folder and start it again", path.display())]
    Malformed {
        /// Whose file it should be.
        daemon: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with its text.
        source: serde_json::Error,
    },
}

impl DaemonError {
    /// Makes the error for a file that could not be used: for [`Result::map_err`].
    pub fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
