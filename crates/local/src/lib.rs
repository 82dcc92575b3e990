#![doc = include_str!("../README.md")]
#![deny(missing_docs, unreachable_pub)]

mod aws_proxy;
mod cache;
mod clock;
mod code;
mod containers;
mod context;
mod daemon;
mod dynamics;
mod events;
mod exported;
mod gateway;
mod http;
mod inferred;
mod inspect;
mod instances;
mod integrations;
mod invoke;
mod invoke_api;
mod java;
mod kept_traces;
mod launch;
mod lifetime;
mod orphans;
mod otlp;
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

use serde::{Deserialize, Serialize};

use sb_daemon::DaemonError;
use sb_sam::LocalSettings;

pub use daemon::{SERVE, serve};
pub use inspect::latest_traces;
pub use kept_traces::{KeptTraces, kept_traces};
pub use launch::{LAUNCH, launch};
pub use lifetime::{down, find, up};
pub use routes::{RouteMatch, find_route};
pub use services::has_services;

/// The folder with the logs of the functions of a runtime (`NAME.log`), by its state folder.
pub fn function_logs(state_dir: &std::path::Path) -> PathBuf {
    state_dir.join("functions")
}

/// In bytes, of a template.
const LARGEST_TEMPLATE: u64 = 16 << 20;

/// What the local target runs, and where it keeps its files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalSpec {
    /// One runtime per folder.
    pub state_dir: PathBuf,
    /// The SAM template.
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
    /// How it runs.
    #[serde(default)]
    pub options: LocalSettings,
}

/// A running local target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalRuntime {
    /// Base URL of the application's HTTP routes, without a slash at the end.
    pub endpoint: String,
    /// For `AWS_ENDPOINT_URL_XRAY`: where traces are fetched.
    pub xray_endpoint: String,
    /// For `AWS_ENDPOINT_URL_LAMBDA`: the Invoke API.
    pub lambda_endpoint: String,
    /// For `AWS_ENDPOINT_URL`: the services behind the application's tables and buckets, and stand-ins; none where it has no such.
    #[serde(default)]
    pub aws_endpoint: Option<String>,
    /// Where functions send spans of OpenTelemetry: base URL, with a secret path.
    #[serde(default)]
    pub otlp_endpoint: String,
    /// The template's `Outputs`.
    pub outputs: BTreeMap<String, String>,
    /// Names of the functions.
    #[serde(default)]
    pub functions: Vec<String>,
    /// Of the daemon.
    pub pid: u32,
    /// What has happened since, for which it must be started anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// Why the local target could not be started, stopped or asked.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Its daemon, or a file.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// The template cannot be used.
    #[error("`{}` cannot run on the local target: {}", path.display(), problems.join("; "))]
    Template {
        /// The template.
        path: PathBuf,
        /// All that is wrong, each with its line.
        problems: Vec<String>,
    },
    /// One runs, and does something else than was asked for.
    #[error(
        "a local target already runs from `{}`, and with {difference}: stop it first (`sb cleanup`, or `sb local down` for one that `sb local up` has started), since all that it holds goes with it", state_dir.display()
    )]
    RunsOtherwise {
        /// Where it runs.
        state_dir: PathBuf,
        /// In what it differs from what was asked for.
        difference: &'static str,
    },
    /// One runs, and can do its work no more.
    #[error("the local target that runs from `{}` is of no use any more: {reason}; stop it first (`sb cleanup`, or `sb local down` for one that `sb local up` has started)", state_dir.display())]
    Broken {
        /// Where it runs.
        state_dir: PathBuf,
        /// What has happened to it.
        reason: String,
    },
    /// What stands behind tables, buckets, queues and topics cannot be run.
    #[error(
        "the application has tables, buckets, queues or topics, and the services for them cannot be run: {0}"
    )]
    Services(String),
    /// The address of a stand-in for an AWS service cannot be used.
    #[error("the stand-in for `{service}` cannot be at `{url}`: write its URL as http://HOST:PORT")]
    StandIn {
        /// The service's name in signatures.
        service: String,
        /// What was given.
        url: String,
    },
    /// What functions need to run cannot be fetched: images, or the client for Java.
    #[error("{0}")]
    Fetch(String),
    /// A local target that should run does not answer.
    #[error(
        "the local target does not answer at {address}: {reason} (`sb local status` lists those that run)"
    )]
    Unreachable {
        /// What was asked.
        address: String,
        /// What happened instead of an answer.
        reason: String,
    },
}

impl LocalError {
    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + use<'a> {
        move |source| DaemonError::io(action, path)(source).into()
    }
}
