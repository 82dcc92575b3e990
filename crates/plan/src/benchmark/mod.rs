//! A checked `benchmark.toml`: what an application's targets do, step by step.
//!
//! Only `validate` makes a [`Benchmark`]; what holds one need not check again.

mod images;
mod retry;
mod sam;
mod script;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use sb_workload::template::Template;

pub use images::{Image, Images, ImagesError, is_image_reference};
pub use retry::Retry;
pub use sam::SamTemplates;
pub use script::{Script, Sent};
pub use step::{
    Action, Background, Command, Environment, Limits, LocalUp, ManifestStep, OnInterrupt, Output,
    OutputSource, Phase, ReadyCondition, Recovery, StackUp, Synthesis, Tool, ToolStep, ToolValue, WaitFor,
};

/// Kinds of credentials that a step may be given.
pub const CREDENTIALS: [&str; 5] = ["aws", "azure", "google", "ibm", "pulumi"];

/// The output with the address that spans are sent to, of the receiver of OpenTelemetry.
pub const RECEIVER_OUTPUT: &str = "otlp_endpoint";

/// Targets of these names are clouds, whatever else their manifest says.
const CLOUDS: [&str; 5] = ["aws", "azure", "gcp", "google", "ibm"];

/// A checked `benchmark.toml`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Benchmark {
    /// The manifest's own path, absolute.
    pub path: PathBuf,
    /// 1 to 64 letters, digits, `-` and `_`.
    pub name: String,
    /// One sentence for people; may be empty.
    pub description: String,
    /// The folder mounted into containers and the working directory's base, absolute.
    pub root: PathBuf,
    /// What configures a deployment, by name.
    pub params: BTreeMap<String, Param>,
    /// Of `[images]`, by alias.
    pub images: BTreeMap<String, Image>,
    /// At least one.
    pub targets: BTreeMap<String, Target>,
    /// By target: the parameters that its steps, its traces or the workload read.
    pub read_params: BTreeMap<String, BTreeSet<String>>,
    /// What is sent. None: only steps of the manifest invoke the application.
    pub workload: Option<Sent>,
    /// What the files hold that its workload sends, as far as they were looked at.
    pub contents: BTreeMap<PathBuf, String>,
    /// Of its `local` steps, as they were when it was checked.
    pub templates: SamTemplates,
}

/// What one target of a benchmark does: its steps, in an order that satisfies `needs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The most that a step of this target may ask for.
    pub credentials: Vec<String>,
    /// Where traces come from.
    pub traces: Traces,
    /// Whether a trace is joined with those that link to it.
    pub join_linked: bool,
    /// None: not declared.
    pub usage: Option<Usage>,
    /// Steps that deploy the application.
    pub deploy: Vec<Arc<ManifestStep>>,
    /// Never empty when the benchmark has a workload: defaults to one load step.
    pub invoke: Vec<Arc<ManifestStep>>,
    /// Steps that remove what was deployed.
    pub cleanup: Vec<Arc<ManifestStep>>,
}

/// Where traces come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Traces {
    /// AWS X-Ray.
    Xray,
    /// The traces of AWS X-Ray, out of CloudWatch Transaction Search.
    TransactionSearch,
    /// Azure Application Insights.
    AppInsights(Box<AppInsights>),
    /// Google Cloud Trace.
    Google(Box<CloudTrace>),
    /// A receiver on this machine; or the file that the application's spans are exported to.
    Otlp(Option<Template>),
    /// The local target, which is the function runtime in `sb`.
    Local,
    /// No traces are collected.
    None,
}

/// What of Google Cloud Trace the manifest says.
#[derive(Clone, Debug, PartialEq)]
pub struct CloudTrace {
    /// The project's id.
    pub project: Template,
    /// An access token. None: it is in the environment.
    pub token: Option<Template>,
    /// Where its API is. None: Google's own.
    pub endpoint: Option<Template>,
}

/// What of Azure Application Insights the manifest says.
#[derive(Clone, Debug, PartialEq)]
pub struct AppInsights {
    /// The application's id.
    pub application: Template,
    /// The API key. None: it is in the environment, or there is a token.
    pub api_key: Option<Template>,
    /// A token of Entra, in place of a key.
    pub token: Option<Template>,
    /// Where the API is. None: that of the public cloud.
    pub endpoint: Option<Template>,
}

/// A parameter of a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Where its value comes from.
    pub source: ParamSource,
    /// Whether the value stays out of every journal, log, report and argument list.
    pub secret: bool,
}

/// Where the value of a [`Param`] comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum ParamSource {
    /// A plain value: string, integer, float or boolean. An override must have the same type.
    Value(Value),
    /// This many random bytes... as lower-case hex digits: `random_hex = 10` gives ten digits. Drawn once per
    /// deployment, then kept.
    RandomHex(usize),
    /// The value of an environment variable of the process that opens the deployment.
    Env {
        /// The variable's name.
        variable: String,
        /// The value where the variable is not set. None: the variable must be set.
        default: Option<String>,
    },
}

/// What a target uses of what clouds sell: names of the price table, with units (0 or more).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// What one invocation uses.
    pub per_invocation: BTreeMap<String, f64>,
    /// What one deployment uses beside its invocations.
    pub per_deployment: BTreeMap<String, f64>,
}

/// Whether it is known what a target costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Charge<'a> {
    /// As declared.
    Declared(&'a Usage),
    /// The local target, or steps that ask for nothing of a cloud.
    Free,
    /// A cloud whose usage is not declared.
    Unknown,
}

impl Target {
    /// What a target of this name costs.
    pub fn charge(&self, name: &str) -> Charge<'_> {
        let is_aws = matches!(self.traces, Traces::Xray | Traces::TransactionSearch);
        let cloud = !self.credentials.is_empty() || is_aws || CLOUDS.contains(&name);
        match &self.usage {
            Some(usage) => Charge::Declared(usage),
            None if cloud => Charge::Unknown,
            None => Charge::Free,
        }
    }
}
