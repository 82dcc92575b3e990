//! What happens in a run: closed enums, as the journal stores them.
//!
//! Events are facts of the past, appended in order and never changed. [`crate::run_state`] folds them into the
//! state of a run. Their JSON form is stored: fields may be added with a default, never renamed or removed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{DeploymentId, StepId};
use sb_measurement::LoadSummary;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A runner took the run: first, or again after the one before was killed.
    RunnerStarted {
        pid: u32,
        /// The boot of its machine. A claim of an attempt outlives processes, and not the machine: what was begun under
        /// another boot, and is not known to have ended, is lost. None was noted when claims outlived the machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        boot: Option<String>,
    },
    /// From here on the deployment's cleanup is owed. Written before its first deploy step starts.
    DebtRecorded { deployment: DeploymentId },
    /// Durable before the first side effect of the attempt.
    StepStarted {
        step: StepId,
        /// Counted from 1.
        attempt: u32,
        /// The invocation's folder, for steps of a trial.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        logs: Option<PathBuf>,
    },
    /// Durable before any dependent step starts.
    StepEnded {
        step: StepId,
        /// 0 when the step never started (it was skipped or cancelled).
        attempt: u32,
        outcome: Outcome,
        /// Values that later steps may use; secret ones are in their own file instead.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        outputs: BTreeMap<String, Value>,
        /// Why the trial must not be used, though the step succeeded.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        invalid: Vec<String>,
        /// Another attempt follows.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        retry: bool,
    },
    /// The user or a limit of the plan stopped the run: from here on only cleanup is started.
    StopRequested { why: String, cause: StopCause },
    /// The deployment's cleanup succeeded: nothing is owed any more.
    DebtPaid { deployment: DeploymentId },
    /// The deployment's cleanup could have begun, but the user wants to look at what failed: it stays owed until it is
    /// asked for.
    DeploymentKept { deployment: DeploymentId, because: StepId },
    /// The user accepted changes of the run's files: what they leave no place for is being stopped and cleaned up, as
    /// it was defined before. From here on the run can only go on with changed files.
    ChangeAccepted { retired: Vec<DeploymentId> },
    /// The run goes on with changed files. Steps `again` count as not yet run, and a stop does not hold any more.
    PlanChanged {
        /// Of the files: 1 is what the run was started with.
        version: u32,
        again: Vec<StepId>,
    },
    /// Every step has ended.
    RunEnded { measurement: Verdict, cleanup: Verdict },
}

/// An event with its place in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    pub event: Event,
}

/// How an attempt of a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Succeeded,
    Failed(Failure),
    /// Stopped by the user or by a limit of the plan.
    Cancelled,
    /// The machine or the supervisor died under it, and what it did is unknown.
    Interrupted,
    /// Never started, because a step that it needs did not succeed.
    Skipped {
        because: StepId,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub class: FailureClass,
    /// One sentence for people.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The step's own work failed: exit code, signal, refused check, missing output.
    Step,
    TimedOut,
    OutOfMemory,
    /// The program, image or runtime could not be started.
    NotStarted,
    /// The Docker engine did not answer, or went away.
    EngineUnreachable,
    /// A cloud refused, because it was asked too much too fast.
    Throttled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// A signal: what runs is stopped too.
    User,
    /// The plan's budget: trials that have begun are finished.
    Budget,
}

/// Measurement and cleanup are judged apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Complete,
    /// Complete, but trials missed their tolerances.
    Invalid,
    Failed,
    Cancelled,
    /// Not begun, because what failed is to be looked at (cleanup only).
    Kept,
    /// The run has no steps of this kind.
    None,
}

impl Outcome {
    pub fn failed(class: FailureClass, message: impl Into<String>) -> Self {
        Self::Failed(Failure { class, message: message.into() })
    }

    pub fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => out.write_str("succeeded"),
            Self::Failed(failure) => write!(out, "failed: {}", failure.message),
            Self::Cancelled => out.write_str("cancelled"),
            Self::Interrupted => out.write_str("interrupted"),
            Self::Skipped { because } => write!(out, "skipped, because {because} did not succeed"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::Complete => "complete",
            Self::Invalid => "complete, with invalid trials",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Kept => "owed, as deployments with failures are kept",
            Self::None => "nothing to do",
        })
    }
}

/// What a run tells those who watch it. Unlike [`Event`] it is never stored, and a watcher may miss some.
#[derive(Clone, Debug)]
pub enum Notice {
    Started {
        step: StepId,
        action: &'static str,
        attempt: u32,
        log: PathBuf,
        reattached: bool,
    },
    /// A pause began: it ends at this time, milliseconds since the epoch.
    Pausing {
        step: StepId,
        until_ms: i64,
    },
    /// A step could start, and waits for another run: `for lock …, held by run …`.
    Waiting {
        step: StepId,
        why: String,
    },
    /// One line about how far a step is.
    Progress {
        step: StepId,
        message: String,
    },
    /// A load is under way.
    Loading {
        step: StepId,
        progress: LoadProgress,
    },
    /// A load is over, and what it was lies in this folder.
    Loaded {
        step: StepId,
        summary: Box<LoadSummary>,
        folder: PathBuf,
    },
    Retrying {
        step: StepId,
        attempt: u32,
        outcome: Outcome,
        delay: std::time::Duration,
    },
    Ended {
        step: StepId,
        outcome: Outcome,
        invalid: Vec<String>,
        took: std::time::Duration,
        log: PathBuf,
    },
    /// Nothing new is started any more; cleanup still is.
    Stopping {
        why: String,
    },
}

/// How far a load is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadProgress {
    pub planned: u64,
    pub sent: u64,
    pub answered: u64,
    pub failed: u64,
    pub dropped: u64,
    /// Milliseconds from sent to answered so far.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}
