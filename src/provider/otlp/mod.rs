//! OpenTelemetry: a receiver for spans on loopback, and the traces of an invocation out of what arrived.
//!
//! [`up`] starts a daemon (this program again, in a session of its own, so that it outlives its runner) that takes
//! OTLP over HTTP, as protobuf or JSON, compressed by gzip or not, and appends it to `spans.jsonl` in its state folder,
//! one request a line, as OTLP's JSON. A request is answered when it is safe on the disk; requests that arrive together
//! wait for the disk together. Metrics and logs are accepted and dropped.

mod protobuf;
mod receiver;
mod select;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use sb_local::{self, LocalError};

pub use receiver::{SERVE, serve};
pub use select::{SelectError, select_traces};

/// How a running receiver can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Base URL: exporters add `/v1/traces`.
    pub endpoint: String,
    pub pid: u32,
}

/// What a receiver needs to know: nothing but its folder.
#[derive(Serialize)]
struct Spec {
    version: u32,
}

/// What arrived.
pub fn spans_file(state_dir: &Path) -> PathBuf {
    state_dir.join("spans.jsonl")
}

/// Starts the receiver of a state folder, detached, and waits until it answers; one that runs is returned as it is.
pub async fn up(state_dir: &Path, sb_binary: &Path) -> Result<Receiver, LocalError> {
    std::fs::create_dir_all(state_dir).map_err(LocalError::io("make", state_dir))?;
    let state_dir = std::fs::canonicalize(state_dir).map_err(LocalError::io("find", state_dir))?;
    if let Some(receiver) = find(&state_dir) {
        return Ok(receiver);
    }
    sb_local::start(SERVE, &state_dir, &Spec { version: 1 }, sb_binary).await
}

/// The receiver that runs from a state folder.
pub fn find(state_dir: &Path) -> Option<Receiver> {
    sb_local::find_running(state_dir)
}

/// Stops the receiver, waits for its end, and removes what arrived. Nothing to do is fine.
pub async fn down(state_dir: &Path) -> Result<(), LocalError> {
    sb_local::down(state_dir).await?;
    match std::fs::remove_file(spans_file(state_dir)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LocalError::io("remove", &spans_file(state_dir))(error))
        }
        _ => Ok(()),
    }
}
