//! A step that a manifest declares, checked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::{Image, Retry};
use sb_sam::dynamics::Dynamics;
use sb_workload::template::Template;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Deploy,
    Invoke,
    Cleanup,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ManifestStep {
    pub phase: Phase,
    /// Unique per phase and target; letters, digits, `-`, `_`.
    pub name: String,
    /// Names of steps of the same phase and target that must succeed first. Resolved: without `needs` in the
    /// file, the step before (none for the first).
    pub needs: Vec<String>,
    pub action: Action,
    pub environment: Environment,
    pub timeout: Option<Duration>,
    pub retry: Retry,
    pub allow_failure: bool,
    /// Run in order after a failed attempt, before the next.
    pub recover: Vec<Recovery>,
    pub outputs: BTreeMap<String, Output>,
    pub on_interrupt: OnInterrupt,
    /// Named limits taken while the step runs.
    pub locks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Recovery {
    pub command: Command,
    pub environment: Environment,
}

/// Where and as what a command runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environment {
    /// None: that of [`Images::STEP`].
    pub image: Option<Image>,
    /// The shell that runs a shell string; default `["sh", "-c"]`.
    pub shell: Vec<String>,
    pub env: BTreeMap<String, Template>,
    /// Relative to the manifest's folder inside the root.
    pub workdir: Option<Template>,
    pub user: Option<String>,
    pub network: Option<String>,
    pub limits: Limits,
    pub credentials: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    pub cpus: Option<f64>,
    pub memory_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Run(Command),
    Wait(Duration),
    WaitFor(WaitFor),
    /// Drives the workload with the chosen load.
    Load,
    LocalUp {
        template: PathBuf,
        /// Of the template, beside the benchmark's.
        parameters: BTreeMap<String, Template>,
        /// URLs of stand-ins, by the name of the AWS service.
        services: BTreeMap<String, Template>,
        settings: LocalSettings,
    },
    LocalDown {
        /// So many first attempts fail on purpose.
        failures: u32,
    },
    /// Starts, and stops, the receiver of OpenTelemetry.
    OtlpUp,
    OtlpDown,
}

/// What a target says of the embedded runtime.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalSettings {
    /// None: the runtime's default.
    pub concurrency: Option<u32>,
    pub keep_alive: Option<Duration>,
    /// Functions run in containers; images by runtime, the others are AWS's.
    pub containers: Option<BTreeMap<String, String>>,
    pub dynamics: Dynamics,
    /// So many first attempts of the step that starts it fail on purpose.
    pub failing_deploys: u32,
    pub failing_cleanups: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// One shell string; values in it are shell-quoted.
    Shell(Template),
    /// Words that meet no shell.
    Argv(Vec<Template>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct WaitFor {
    pub http: Template,
    pub status: u16,
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub source: OutputSource,
    pub default: Option<Value>,
    pub secret: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum OutputSource {
    /// JSON pointer into what the step wrote to standard output.
    Json(String),
    /// First capture group (or the whole match) of the first match in standard output.
    Regex(String),
    /// Line of standard output; negative counts from the end, -1 is the last.
    Line(i64),
    /// All of standard output, the final line end cut off.
    Stdout,
    /// A file relative to the manifest's folder, whole or a JSON pointer into it.
    File { path: PathBuf, json: Option<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInterrupt {
    /// Run the step again as a new attempt.
    Rerun,
    /// Count the interruption as a failure of the step.
    Fail,
}
