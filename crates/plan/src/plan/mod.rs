//! A checked plan, and its way to deployments and trials in the order in which they should run.
//!
//! Only `validate` makes a [`Plan`], so everything here is pure and total: nothing is checked again.

mod executor;
mod expansion;
mod matrix;
mod order;
mod prices;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::benchmark::Benchmark;
use sb_workload::Load;

pub use executor::{Executor, UnknownExecutor};
pub use expansion::{Deployment, Expansion, Trial, expand};
pub(crate) use matrix::{Factors, Matrix, Rule, describe};
pub use prices::{Price, PriceError, Prices};

/// A checked plan: everything that each trial needs has been evaluated for every point of the matrix.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    pub path: PathBuf,
    pub name: String,
    pub description: String,
    /// Where commands run: what the command line says, else the file, else the default.
    pub executor: Executor,
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

/// What the command line and the environment change.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `-p name=value`, in order; the last one of a name counts.
    pub params: Vec<(String, String)>,
    pub executor: Option<Executor>,
    pub seed: Option<u64>,
    /// Environment variables; those called `SB_PARAM_NAME` count, others are ignored.
    pub environment: BTreeMap<String, String>,
}
