//! The scheduler: one loop owns the state of a run.
//!
//! [`drive`] takes a graph and the events so far, and runs what is left. Ready steps run side by side under the
//! plan's limits. Every transition is in the journal before its effect. What can wake the loop is the closed enum
//! `dispatch::Wake`.

mod deployments;
mod dispatch;
pub(crate) mod estimate;
pub(crate) mod forecast;
mod machine;
mod past;
mod policy;
mod quiet;
mod ready;
mod spending;
mod takeover;
mod tally;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

pub use deployments::MissingVariable;
pub(crate) use deployments::{look_at, missing_variables};
pub(crate) use dispatch::{drive, now_ms, up_ms};
pub(crate) use past::Past;
pub(crate) use policy::{Policy, pause_after, retry_of};

use crate::execute::Execute;
use crate::store::{Shared, Store, StoreError};
use sb_plan::event::{Notice, Verdict};
use sb_plan::graph::{Parts, RunGraph};
use sb_plan::id::{DeploymentId, RunId};
use sb_plan::plan::{Deployment, Plan, Prices};

/// A run to be driven to its end.
pub(crate) struct Job {
    pub run: RunId,
    pub plan: Plan,
    pub graph: RunGraph,
    /// What the graph leaves out.
    pub past: Past,
    pub parts: Parts,
    pub policy: Policy,
    pub naming: Naming,
    pub store: Store,
    /// What it shares with other runs.
    pub shared: Shared,
    pub executor: Arc<dyn Execute>,
    /// By which the plan's budget of money is spent.
    pub prices: Prices,
    pub notices: UnboundedSender<Notice>,
}

/// What became of a run.
pub(crate) struct Driven {
    pub end: End,
    /// The folders of the last invocations of each application.
    pub folders: BTreeMap<String, Vec<PathBuf>>,
}

/// How the deployments of a run are called in the workspace.
#[derive(Clone, Debug)]
pub(crate) enum Naming {
    /// `RUN.KEY`: each run of a plan has its own.
    OfRun,
    /// The one deployment that single commands share.
    Named(DeploymentId),
}

impl Naming {
    pub(crate) fn name(&self, run: &RunId, deployment: &Deployment) -> DeploymentId {
        match self {
            Self::OfRun => DeploymentId::new(format!("{run}.{}", deployment.key)),
            Self::Named(id) => id.clone(),
        }
    }
}

/// A request from outside to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Start nothing new, stop what runs, clean up.
    Finish,
    /// Leave at once; `sb resume` goes on.
    Leave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Ended {
        measurement: Verdict,
        cleanup: Verdict,
    },
    /// Left at once: steps may still be running under their supervisors.
    Left,
}

#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    #[error("nothing new is started, because the state cannot be written; `sb resume` goes on once it can")]
    Store(#[from] StoreError),
    #[error("cannot read or write the deployment's secrets: {0}")]
    Secrets(std::io::Error),
    #[error("cannot read the id of this boot: {0}; is /proc mounted?")]
    Boot(std::io::Error),
    #[error(
        "parameter `{parameter}` takes its value from the environment variable {variable}, which is not set: set it, or give the parameter with -p {parameter}=VALUE"
    )]
    Variable { parameter: String, variable: String },
}
