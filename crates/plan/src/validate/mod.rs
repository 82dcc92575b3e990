//! From raw manifests to checked types: every problem reported, each with a place and a way out.
//!
//! Only this module makes a [`Benchmark`] or a [`Plan`]; what holds one need not check again.

mod answer;
mod benchmark;
mod check;
mod images;
mod load;
mod load_arguments;
mod local;
mod matrix;
mod output;
mod overrides;
mod plan;
mod prices;
mod retry;
mod script;
mod shell;
mod stand_in;
mod step;
mod template;
mod trace_load;
mod traces;
mod workload;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use sb_sam::dynamics::Dynamics;
use sb_workload::Load;
use sb_workload::template::Template;

pub use crate::manifest::problem::{Checked, Problem, Severity};
pub use benchmark::benchmark;
pub use check::{CREDENTIALS, is_name};
pub use images::{DefaultImage, Images, ImagesError};
pub use load::load_file;
pub use load_arguments::{LoadArguments, load_arguments};
pub use overrides::Overrides;
pub use plan::{plan, single};
pub use prices::{Charge, Price, PriceError, Prices, Usage};
pub use retry::Retry;
pub use script::{Script, Sent};
pub use stand_in::{StandInRefusal, refused_service, refused_url};
pub use step::is_image_reference;
pub use traces::RECEIVER_OUTPUT;

/// A checked `benchmark.toml`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Benchmark {
    /// The manifest's own path, absolute.
    pub path: PathBuf,
    pub name: String,
    pub description: String,
    /// The folder mounted into containers and the working directory's base, absolute.
    pub root: PathBuf,
    pub params: BTreeMap<String, Param>,
    /// Of `[images]`, by alias.
    pub images: BTreeMap<String, Image>,
    /// At least one.
    pub targets: BTreeMap<String, Target>,
    pub workload: Option<Sent>,
}

/// What one target of a benchmark does: its steps, in an order that satisfies `needs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The most that a step of this target may ask for.
    pub credentials: Vec<String>,
    pub traces: Traces,
    /// Whether a trace is joined with those that link to it.
    pub join_linked: bool,
    /// None: not declared.
    pub usage: Option<Usage>,
    pub deploy: Vec<Arc<Step>>,
    /// Never empty when the benchmark has a workload: defaults to one load step.
    pub invoke: Vec<Arc<Step>>,
    pub cleanup: Vec<Arc<Step>>,
}

/// Where traces come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Traces {
    Xray,
    AppInsights(Box<AppInsights>),
    /// A receiver on this machine; or the file that the application's spans are exported to.
    Otlp(Option<Template>),
    Local,
    None,
}

/// What of Azure Application Insights the manifest says.
#[derive(Clone, Debug, PartialEq)]
pub struct AppInsights {
    pub application: Template,
    pub api_key: Option<Template>,
    pub token: Option<Template>,
    pub endpoint: Option<Template>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub source: ParamSource,
    pub secret: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ParamSource {
    /// A plain value: string, integer, float or boolean. An override must have the same type.
    Value(Value),
    /// This many random bytes... as lower-case hex digits: `random_hex = 10` gives ten digits. Drawn once per
    /// deployment, then kept.
    RandomHex(usize),
    /// The value of an environment variable of the process that opens the deployment.
    Env { variable: String, default: Option<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Deploy,
    Invoke,
    Cleanup,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
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

#[derive(Clone, Debug, PartialEq)]
pub enum Image {
    Reference(String),
    /// A name of the table of default images ([`Images`]).
    Default(String),
    /// Absolute paths.
    Build {
        dockerfile: PathBuf,
        context: PathBuf,
        args: BTreeMap<String, String>,
    },
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

/// A checked plan: everything that each trial needs has been evaluated for every point of the matrix.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    pub path: PathBuf,
    pub name: String,
    pub description: String,
    pub executor: Option<Executor>,
    pub entries: Vec<Entry>,
    /// Deployments per application and matrix point, at least 1.
    pub repetitions: u32,
    /// Trials on one deployment, at least 1.
    pub trials_per_deployment: u32,
    pub order: Order,
    pub seed: u64,
    pub timing: Timing,
    pub concurrency: Concurrency,
    pub locks: BTreeMap<String, u32>,
    pub budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Executor {
    Docker,
    Host,
}

/// An application of a plan at one target, with its points of the matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub application: String,
    pub benchmark: Arc<Benchmark>,
    pub target: String,
    pub points: Vec<Point>,
}

/// One combination of factor levels for one application.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Factor name and level, in the order of the plan; empty without a matrix.
    pub factors: Vec<(String, Value)>,
    /// What the plan says of parameters, evaluated: `[params]`, then the entry's own.
    pub params: BTreeMap<String, Value>,
    pub labels: BTreeMap<String, String>,
    pub load: Arc<Load>,
    /// What its trials must find; none: whatever they find.
    pub start: Option<Start>,
}

/// Whether the first invocation of a trial must meet a cold or a warm application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    Cold,
    Warm,
    /// The first trial on each deployment is cold, later ones are warm.
    ColdThenWarm,
}

impl Start {
    /// Whether the trial of this number (from 1) on its deployment is to be cold.
    pub fn is_cold(self, trial: u32) -> bool {
        match self {
            Self::Cold => true,
            Self::Warm => false,
            Self::ColdThenWarm => trial == 1,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    Sequential,
    Interleaved,
    Random,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    pub before_invoke: Duration,
    pub before_traces: Duration,
    pub min_idle: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    pub deploy: u32,
    pub invoke: u32,
    pub quiet: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budget {
    pub errors: Option<u32>,
    pub duration: Option<Duration>,
    /// US dollars, by the price table.
    pub cost_usd: Option<f64>,
}

#[cfg(test)]
mod tests;
