//! A checked `benchmark.toml`: what an application's targets do, step by step.
//!
//! Only `validate` makes a [`Benchmark`]; what holds one need not check again.

mod images;
mod retry;
mod script;
mod step;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use sb_workload::template::Template;

pub use images::{DefaultImage, Image, Images, ImagesError, is_image_reference};
pub use retry::Retry;
pub use script::{Script, Sent};
pub use step::{
    Action, Command, Environment, Limits, LocalSettings, ManifestStep, OnInterrupt, Output, OutputSource,
    Phase, Recovery, WaitFor,
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
    pub deploy: Vec<Arc<ManifestStep>>,
    /// Never empty when the benchmark has a workload: defaults to one load step.
    pub invoke: Vec<Arc<ManifestStep>>,
    pub cleanup: Vec<Arc<ManifestStep>>,
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

/// What a target uses of what clouds sell: names of the price table, with units (0 or more).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    pub per_invocation: BTreeMap<String, f64>,
    pub per_deployment: BTreeMap<String, f64>,
}

/// Whether it is known what a target costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Charge<'a> {
    /// As declared.
    Declared(&'a Usage),
    /// The embedded runtime, or steps that ask for nothing of a cloud.
    Free,
    /// A cloud whose usage is not declared.
    Unknown,
}

impl Target {
    /// What a target of this name costs.
    pub fn charge(&self, name: &str) -> Charge<'_> {
        let cloud = !self.credentials.is_empty() || self.traces == Traces::Xray || CLOUDS.contains(&name);
        match &self.usage {
            Some(usage) => Charge::Declared(usage),
            None if cloud => Charge::Unknown,
            None => Charge::Free,
        }
    }
}
