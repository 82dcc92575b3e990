//! OpenTelemetry: a receiver for spans on loopback, and the traces of an invocation out of what arrived.
//!
//! [`up`] starts a daemon: this program again, in a session of its own, so that it outlives its runner. It takes OTLP
//! over HTTP, as protobuf or JSON, compressed by gzip or not. It appends each request to `spans.jsonl` in its state
//! folder, as a line of OTLP's JSON. A request is answered when it is safe on the disk; requests that arrive together
//! wait for the disk together. Metrics and logs are accepted and dropped.

mod receiver;
mod select;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sb_daemon::{Daemon, DaemonError};
use serde::{Deserialize, Serialize};

pub use receiver::{SERVE, serve};
pub use select::{SelectError, select_traces};

/// How a running receiver can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Base URL: exporters add `/v1/traces`.
    pub endpoint: String,
    pub pid: u32,
}

/// In errors.
pub const NAME: &str = "receiver of OpenTelemetry";
const READY_WITHIN: Duration = Duration::from_secs(90);

/// The receiver of a state folder. What it needs to know is its folder, and nothing else.
fn daemon(state_dir: &Path) -> Daemon {
    Daemon::new(NAME, state_dir)
}

/// What arrived.
pub fn spans_file(state_dir: &Path) -> PathBuf {
    state_dir.join("spans.jsonl")
}

/// Starts the receiver of a state folder, detached, and waits until it answers; one that runs is returned as it is.
pub async fn up(state_dir: &Path, sb_binary: &Path) -> Result<Receiver, DaemonError> {
    std::fs::create_dir_all(state_dir).map_err(DaemonError::io("make", state_dir))?;
    let state_dir = std::fs::canonicalize(state_dir).map_err(DaemonError::io("find", state_dir))?;
    if let Some(receiver) = find(&state_dir) {
        return Ok(receiver);
    }
    daemon(&state_dir).start(sb_binary, SERVE, READY_WITHIN).await
}

/// The receiver that runs from a state folder.
pub fn find(state_dir: &Path) -> Option<Receiver> {
    daemon(state_dir).find()
}

/// Stops the receiver, waits for its end, and removes what arrived. Nothing to do is fine.
pub async fn down(state_dir: &Path) -> Result<(), DaemonError> {
    daemon(state_dir).stop().await?;
    match std::fs::remove_file(spans_file(state_dir)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(DaemonError::io("remove", &spans_file(state_dir))(error))
        }
        _ => Ok(()),
    }
}
