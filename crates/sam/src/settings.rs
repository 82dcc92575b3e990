//! What a local target may be told beside its template. This is the one place where the defaults stand.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dynamics::Dynamics;

/// How the local target runs a template: what manifests say of it, checked, and what its daemon is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalSettings {
    /// Executions at once, all functions together, beyond which callers are throttled; asynchronous events get at most half
    /// of them (rounded up). None: [`LocalSettings::CONCURRENCY`], beyond which requests wait.
    pub concurrency: Option<u32>,
    /// How long an idle instance is kept.
    pub keep_alive: Duration,
    /// Before the first retry of a failed event; twice as long before the second.
    pub retry_delay: Duration,
    /// Asynchronous events that wait or run; more are throttled.
    pub queue: u32,
    /// Traces kept in memory; above it the oldest go.
    pub traces: usize,
    /// Bytes of trace documents kept in memory; above it the oldest traces go.
    pub trace_bytes: usize,
    /// Functions run in containers rather than as processes of this machine.
    pub containers: Option<Containers>,
    /// Delays and faults to imitate.
    pub dynamics: Dynamics,
    /// URLs of stand-ins of AWS services, by the name of the service in signatures: `rekognition` is `http://127.0.0.1:8080`.
    pub stand_ins: BTreeMap<String, String>,
}

impl LocalSettings {
    /// Executions at once where nothing is declared.
    pub const CONCURRENCY: u32 = 20;
}

impl Default for LocalSettings {
    fn default() -> Self {
        Self {
            concurrency: None,
            keep_alive: Duration::from_mins(10),
            retry_delay: Duration::from_secs(1),
            queue: 100_000,
            traces: 100_000,
            trace_bytes: 256 * 1024 * 1024,
            containers: None,
            dynamics: Dynamics::default(),
            stand_ins: BTreeMap::new(),
        }
    }
}

/// How functions are put into containers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Containers {
    /// By runtime (`nodejs22.x`); those that are not here run in AWS's.
    pub images: BTreeMap<String, String>,
    /// The command line, `docker` or `podman`: found out when the local target starts.
    pub client: Option<String>,
}
