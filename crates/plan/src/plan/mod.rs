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

use crate::benchmark::{Benchmark, SamTemplates, Sent};
use sb_workload::Load;
use sb_workload::schedule::total;

pub use executor::{Executor, UnknownExecutor};
pub use expansion::{Deployment, Expansion, Trial, expand};
pub(crate) use matrix::{Factors, Matrix, Rule, describe};
pub use prices::{Price, PriceError, Prices};

/// A checked plan: everything that each trial needs has been evaluated for every point of the matrix.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Plan {
    /// The file, absolute.
    pub path: PathBuf,
    /// 1 to 64 letters, digits, `-` and `_`.
    pub name: String,
    /// One sentence for people; may be empty.
    pub description: String,
    /// Where commands run: what the command line says, else the file, else the default.
    pub executor: Executor,
    /// The applications, in the order of the file; at least one.
    pub entries: Vec<Entry>,
    /// Deployments per application and matrix point, at least 1.
    pub repetitions: u32,
    /// Trials on one deployment, at least 1. With `until`, the most.
    pub trials_per_deployment: u32,
    /// When the trials of a deployment are precise enough, so that no further one is needed. None: all are done.
    pub until: Option<Until>,
    /// The order of the trials.
    pub order: Order,
    /// Of every random choice of the plan.
    pub seed: u64,
    /// Pauses of every trial.
    pub timing: Timing,
    /// How much happens at once.
    pub concurrency: Concurrency,
    /// How many steps may hold a named lock at once. A lock that is not named here is held by one.
    pub locks: BTreeMap<String, u32>,
    /// When to stop early.
    pub budget: Budget,
}

impl Plan {
    /// The SAM templates of all its benchmarks.
    pub fn templates(&self) -> SamTemplates {
        let mut all = SamTemplates::default();
        self.entries.iter().for_each(|entry| all.extend(&entry.benchmark.templates));
        all
    }

    /// How many trials it has, on all deployments together.
    pub fn trials(&self) -> u64 {
        let points: usize = self.entries.iter().map(|entry| entry.points.len()).sum();
        points as u64 * u64::from(self.repetitions) * u64::from(self.trials_per_deployment)
    }

    /// The plan as it is when every deployment needs the fewest trials; `None` where all trials are done in any case.
    pub fn shortest(&self) -> Option<Self> {
        let until = self.until?;
        let fewest = |entry: &Entry| entry.points.iter().map(|point| until.fewest(entry, point)).min();
        let fewest = self.entries.iter().filter_map(fewest).min().unwrap_or(u64::from(until.min));
        let trials = u32::try_from(fewest).unwrap_or(u32::MAX).min(self.trials_per_deployment);
        Some(Self { trials_per_deployment: trials, until: None, ..self.clone() })
    }
}

/// An application of a plan at one target, with its points of the matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Unique in the plan.
    pub application: String,
    /// What the manifest says.
    pub benchmark: Arc<Benchmark>,
    /// A target of the benchmark.
    pub target: String,
    /// The points of the matrix, in the order of the plan; one without factors where there is no matrix.
    pub points: Vec<Point>,
}

/// One combination of factor levels for one application.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Factor name and level, in the order of the plan; empty without a matrix.
    pub factors: Vec<(String, Value)>,
    /// What the plan says of parameters, evaluated: `[params]`, then the entry's own.
    pub params: BTreeMap<String, Value>,
    /// Names for the results, by which reports group.
    pub labels: BTreeMap<String, String>,
    /// What is sent at this point.
    pub load: Arc<Load>,
    /// What its trials must find; none: whatever they find.
    pub start: Option<Start>,
}

/// When the trials of a deployment are precise enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Until {
    /// Of what.
    pub of: LatencyFigure,
    /// The width of its interval as a share of it: above 0, at most 1.
    pub relative_width: f64,
    /// How sure the interval is, 0.5 to 0.999.
    pub confidence: f64,
    /// Trials that are always done, at least 2.
    pub min: u32,
}

/// Trials without which an interval is not known: how much trials differ cannot be told from two.
const INTERVAL_NEEDS: u64 = 3;

impl Until {
    /// Answers that its figure needs at least, of all types of requests together.
    pub(crate) fn answers(&self, entry: &Entry) -> u64 {
        let types = match &entry.benchmark.workload {
            Some(Sent::Requests(workload)) => workload.choices().max(1) as u64,
            // What a script sends is not known.
            Some(Sent::Script(_)) | None => 1,
        };
        self.of.answers().saturating_mul(types)
    }

    /// The trials of a deployment after which it can be precise enough, at the earliest.
    pub(crate) fn fewest(&self, entry: &Entry, point: &Point) -> u64 {
        let needed = total(&point.load).map_or(1, |sent| self.answers(entry).div_ceil(sent.max(1)));
        // The first trial tells nothing of the others where it alone is cold.
        let first = u64::from(point.start == Some(Start::ColdThenWarm));
        u64::from(self.min).max(first + needed.max(INTERVAL_NEEDS))
    }
}

/// A figure of the latencies of a type of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyFigure {
    /// The arithmetic mean.
    Mean,
    /// The median.
    P50,
    /// The 90th percentile.
    P90,
    /// The 95th percentile.
    P95,
    /// The 99th percentile.
    P99,
}

impl LatencyFigure {
    /// Answers that it takes at least, of each type of requests: a quantile needs ten beyond it.
    pub fn answers(self) -> u64 {
        match self {
            Self::Mean => 1,
            Self::P50 => 20,
            Self::P90 => 100,
            Self::P95 => 200,
            Self::P99 => 1000,
        }
    }

    /// As plans name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P95 => "p95",
            Self::P99 => "p99",
        }
    }
}

/// Whether the first invocation of a trial must meet a cold or a warm application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Every trial must meet a cold application.
    Cold,
    /// Every trial must meet a warm application.
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

/// The order of the trials of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// All of one application and point, then the next.
    Sequential,
    /// The first of each, then the second of each.
    Interleaved,
    /// Shuffled by the seed.
    Random,
}

/// Pauses of a trial; zero where the plan has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Before its load.
    pub before_invoke: Duration,
    /// Between its load and its traces.
    pub before_traces: Duration,
    /// Between the trials of one deployment: before every load but the first, at least this long.
    pub min_idle: Duration,
}

/// How much of a run happens at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Deployments, 1 or more.
    pub deploy: u32,
    /// Loads, 1 or more.
    pub invoke: u32,
    /// Whether a load waits until nothing else of ours works on this machine, and the other way round.
    pub quiet: bool,
    /// Whether the loads of a round wait until all of its applications are deployed.
    pub together: bool,
}

/// When a run stops early: trials that have begun are finished, cleanup still runs. None: no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budget {
    /// So many failed steps.
    pub errors: Option<u32>,
    /// After this long.
    pub duration: Option<Duration>,
    /// US dollars, by the price table.
    pub cost_usd: Option<f64>,
}

/// `--max-error-rate` and `--max-dropped`. None: what the load says.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenTolerances {
    /// Share of requests that may fail, 0 to 1.
    pub max_error_rate: Option<f64>,
    /// Share of planned invocations that may be dropped, 0 to 1.
    pub max_dropped: Option<f64>,
}

impl GivenTolerances {
    /// Puts what was given in the place of what `load` says.
    pub fn apply(self, load: &mut sb_workload::Load) {
        let tolerances = &mut load.tolerances;
        tolerances.max_error_rate = self.max_error_rate.unwrap_or(tolerances.max_error_rate);
        tolerances.max_dropped = self.max_dropped.unwrap_or(tolerances.max_dropped);
    }
}

/// What the command line and the environment change.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `-p name=value`, in order; the last one of a name counts.
    pub params: Vec<(String, String)>,
    /// `--executor`. None: what the plan says.
    pub executor: Option<Executor>,
    /// `--seed`. None: what the plan says.
    pub seed: Option<u64>,
    /// Of every load.
    pub tolerances: GivenTolerances,
    /// Environment variables; those called `SB_PARAM_NAME` count, others are ignored.
    pub environment: BTreeMap<String, String>,
}
