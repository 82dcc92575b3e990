//! What a daemon does about its session and its signals.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::DaemonError;

/// Leaves the session of whoever started this process: no terminal's signals reach it any more.
pub fn detach() {
    // Fails only for a session leader, which has a session of its own already.
    let _ = rustix::process::setsid();
}

/// SIGTERM and SIGINT, which end a daemon.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From here on the signals do not kill the process. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The operating system takes no handler.
    pub fn new() -> Result<Self, DaemonError> {
        let listen = |kind| signal(kind).map_err(DaemonError::Listen);
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for one of the signals, and returns its name.
    pub async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
