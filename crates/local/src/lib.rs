//! The local target: an embedded single-node function runtime.
//!
//! [`up`] starts a daemon that runs the functions of an AWS SAM template as host processes. They speak the real
//! Lambda Runtime API; HTTP routes, the Lambda Invoke API and X-Ray are served on loopback. It rehearses a
//! benchmark's life cycle without a cloud account: deployment, load, asynchronous invocations, traces, cleanup. It is **not a
//! model of AWS's speed**: its latencies are those of this machine.
//!
//! Up to four sockets, all on 127.0.0.1 with ports that the kernel chooses:
//! - the **gateway** (`endpoint`): the application's HTTP routes;
//! - the **control port** (`lambda_endpoint`, `xray_endpoint`): Lambda's Invoke API and the X-Ray API;
//! - the **X-Ray daemon's** UDP protocol;
//! - where the template has tables, buckets, queues or topics, the **services** (`aws_endpoint`): moto's server, another program, stands behind it,
//!   and behind single services a stand-in that the caller names ([`Options::stand_ins`]).
//!
//! Every function instance has a Runtime API on a port of its own.
//!
//! What differs from AWS on purpose: every function is traced whatever `Tracing` says; the limit on concurrency is that of
//! a small machine ([`Options::concurrency`]); memory size limits the process's data (RLIMIT_DATA) and gives no
//! share of the CPU; a throttled HTTP request is answered with 429; an unknown path with 404; nothing is authorised.
//! Events that failed all attempts are kept in `dead-letters.jsonl`, whether or not the template names a destination.
//!
//! A function's process ends with the runtime, whatever ends that: the kernel sees to it. Processes that a *function* starts
//! end with their instance (timeout, retirement, `down`); those that survive a runtime that is killed with SIGKILL are ended by the
//! next start or by `down`. Events that wait in the queue are lost when the runtime ends; `runtime.log` says how many, after
//! SIGKILL when the runtime is started again. Traces are kept until then.
//!
//! In the state folder: `local.json` (what to run), `runtime.json` (where it listens), `runtime.lock` (held while it runs),
//! `runtime.log`, `functions/NAME.log`, `dead-letters.jsonl`, `traces.jsonl`, `code/` (unpacked archives).

mod aws_proxy;
mod cache;
mod clock;
mod code;
mod containers;
mod context;
mod daemon;
mod dynamics;
mod events;
mod gateway;
mod http;
mod inferred;
mod inspect;
mod instances;
mod integrations;
mod invoke;
mod invoke_api;
mod java;
mod launch;
mod lifetime;
mod orphans;
mod process;
mod proxy;
mod recorder;
mod routes;
mod runtime_api;
mod runtimes;
mod segment;
mod service_client;
mod services;
mod sources;
mod stand_in;
mod trace_log;
mod udp;
mod xray_api;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use sb_daemon::DaemonError;
use sb_sam::dynamics::Dynamics;

pub use containers::Containers;
pub use daemon::{SERVE, serve};
pub use inspect::latest_traces;
pub use launch::{LAUNCH, launch};
pub use lifetime::{down, find, up};

/// What the local target runs, and where it keeps its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalSpec {
    /// One runtime per folder.
    pub state_dir: PathBuf,
    pub template: PathBuf,
    /// Values for the template's `Parameters`; others are ignored.
    pub parameters: BTreeMap<String, String>,
    /// Stands in for the stack's name (what is no letter or digit becomes `-`): functions are called `NAME-LOGICAL_ID`.
    pub name: String,
    /// Of the template's text; [`up`] writes it down, and tells by it that the template of a running one was changed.
    #[serde(default)]
    pub template_sha256: String,
    /// The Python that has moto, where the template needs it; [`up`] finds it.
    #[serde(default)]
    pub services: Option<PathBuf>,
    /// The folder with the client of the Runtime API for Java, where a function needs it; [`up`] finds it.
    #[serde(default)]
    pub java_client: Option<PathBuf>,
    #[serde(default)]
    pub options: Options,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Executions at once, all functions together; asynchronous events get at most half of them (rounded up).
    pub concurrency: u32,
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

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 20,
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

/// A running local target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalRuntime {
    /// Base URL of the application's HTTP routes, without a slash at the end.
    pub endpoint: String,
    pub xray_endpoint: String,
    pub lambda_endpoint: String,
    /// For `AWS_ENDPOINT_URL`: the services behind the application's tables and buckets, and stand-ins; none where it has no such.
    #[serde(default)]
    pub aws_endpoint: Option<String>,
    /// The template's `Outputs`.
    pub outputs: BTreeMap<String, String>,
    /// Their names.
    #[serde(default)]
    pub functions: Vec<String>,
    pub pid: u32,
    /// What has happened since, for which it must be started anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    #[error("`{}` cannot run on the local target: {}", path.display(), problems.join("; "))]
    Template { path: PathBuf, problems: Vec<String> },
    #[error(
        "a local target already runs from `{}`, and with {difference}: stop it first (`sb cleanup`, or `sb local down` for one that `sb local up` has started), since all that it holds goes with it", state_dir.display()
    )]
    RunsOtherwise { state_dir: PathBuf, difference: &'static str },
    #[error("the local target that runs from `{}` is of no use any more: {reason}; stop it first (`sb cleanup`, or `sb local down` for one that `sb local up` has started)", state_dir.display())]
    Broken { state_dir: PathBuf, reason: String },
    #[error(
        "the application has tables, buckets, queues or topics, and the services for them cannot be run: {0}"
    )]
    Services(String),
    #[error("the stand-in for `{service}` cannot be at `{url}`: write its URL as http://HOST:PORT")]
    StandIn { service: String, url: String },
    #[error("{0}")]
    Fetch(String),
    #[error(
        "the local target does not answer at {address}: {reason} (`sb local status` lists those that run)"
    )]
    Unreachable { address: String, reason: String },
}

impl LocalError {
    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + use<'a> {
        move |source| DaemonError::io(action, path)(source).into()
    }
}
