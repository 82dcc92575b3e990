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

/// A fact about a run, as the journal stores it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A runner took the run: first, or again after the one before was killed.
    RunnerStarted {
        /// The runner's process.
        pid: u32,
        /// The boot of its machine. A claim of an attempt outlives processes, and not the machine: what was begun under
        /// another boot, and is not known to have ended, is lost. None was noted when claims outlived the machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        boot: Option<String>,
        /// How long the machine had been up, milliseconds. None: it was not noted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        up_ms: Option<i64>,
    },
    /// From here on the deployment's cleanup is owed. Written before its first deploy step starts.
    DebtRecorded {
        /// The deployment in question.
        deployment: DeploymentId,
    },
    /// Durable before the first side effect of the attempt.
    StepStarted {
        /// The step that starts.
        step: StepId,
        /// Counted from 1.
        attempt: u32,
        /// The invocation's folder, for steps of a trial.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        logs: Option<PathBuf>,
        /// Of a pause: how long the machine had been up, milliseconds. A later runner knows by it how much is left, whatever
        /// happened to the clock.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        up_ms: Option<i64>,
    },
    /// Durable before any dependent step starts.
    StepEnded {
        /// The step that ended.
        step: StepId,
        /// 0 when the step never started (it was skipped or cancelled).
        attempt: u32,
        /// How the attempt ended.
        outcome: Outcome,
        /// Values that later steps may use; secret ones are in their own file instead.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        outputs: BTreeMap<String, Value>,
        /// Why the trial must not be used, though the step succeeded.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        invalid: Vec<String>,
        /// How long the attempt took, milliseconds, by a clock that nobody sets. The journal's times say something else when the
        /// clock was set meanwhile, or when the end was found by a later runner. None: it is not known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took_ms: Option<u64>,
        /// Another attempt follows.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        retry: bool,
    },
    /// The user or a limit of the plan stopped the run: from here on only cleanup is started.
    StopRequested {
        /// One sentence for people.
        why: String,
        /// Who stopped it.
        cause: StopCause,
    },
    /// The deployment's cleanup succeeded: nothing is owed any more.
    DebtPaid {
        /// The deployment in question.
        deployment: DeploymentId,
    },
    /// The deployment's cleanup could have begun, but the user wants to look at what failed: it stays owed until it is
    /// asked for.
    DeploymentKept {
        /// The deployment in question.
        deployment: DeploymentId,
        /// The step that failed.
        because: StepId,
    },
    /// The user accepted changes of the run's files: what they leave no place for is being stopped and cleaned up, as
    /// it was defined before. From here on the run can only go on with changed files.
    ChangeAccepted {
        /// Deployments that the changed files leave no place for.
        retired: Vec<DeploymentId>,
    },
    /// The run goes on with changed files. Steps `again` count as not yet run, and a stop does not hold any more.
    PlanChanged {
        /// Of the files: 1 is what the run was started with.
        version: u32,
        /// Steps that count as not yet run.
        again: Vec<StepId>,
    },
    /// Every step has ended.
    RunEnded {
        /// Of deploying, invoking and traces.
        measurement: Verdict,
        /// Of removing what was deployed.
        cleanup: Verdict,
        /// How long the machine had been up, milliseconds. None: it was not noted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        up_ms: Option<i64>,
    },
}

impl Event {
    /// An event as the journal stores it.
    ///
    /// # Errors
    /// It is not one, or has something that this version does not know.
    pub fn from_json(text: &str) -> serde_json::Result<Self> {
        // A journal has millions of these, and serde reads an enum that is tagged within it three times slower.
        match serde_json::from_str::<Plain>(text).ok().and_then(Plain::into_event) {
            Some(event) => Ok(event),
            None => serde_json::from_str(text),
        }
    }
}

/// The beginning of a step, or its success, with nothing further to tell and nothing escaped.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain<'a> {
    event: &'a str,
    step: &'a str,
    attempt: u32,
    logs: Option<&'a str>,
    outcome: Option<PlainOutcome<'a>>,
    took_ms: Option<u64>,
    up_ms: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainOutcome<'a> {
    outcome: &'a str,
}

impl Plain<'_> {
    fn into_event(self) -> Option<Event> {
        let Self { event, step, attempt, logs, outcome, took_ms, up_ms } = self;
        let step = StepId::new(step);
        match (event, outcome) {
            ("step_started", None) if took_ms.is_none() => {
                Some(Event::StepStarted { step, attempt, logs: logs.map(PathBuf::from), up_ms })
            }
            ("step_ended", Some(PlainOutcome { outcome: "succeeded" }))
                if logs.is_none() && up_ms.is_none() =>
            {
                Some(Event::StepEnded {
                    step,
                    attempt,
                    outcome: Outcome::Succeeded,
                    outputs: BTreeMap::new(),
                    invalid: vec![],
                    took_ms,
                    retry: false,
                })
            }
            _ => None,
        }
    }
}

/// An event with its place in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Milliseconds since the epoch.
    pub at_ms: i64,
    /// What happened.
    pub event: Event,
}

/// How an attempt of a step ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed(Failure),
    /// Stopped by the user or by a limit of the plan.
    Cancelled,
    /// The machine or the supervisor died under it, and what it did is unknown.
    Interrupted,
    /// It found that the trials so far are precise enough: what waits for it is not needed.
    Enough {
        /// How precise they are, one sentence for people.
        why: String,
    },
    /// Never started, because a step that it needs did not succeed, or found that it is not needed.
    Skipped {
        /// The step that did not succeed.
        because: StepId,
    },
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of failure, which retries look at.
    pub class: FailureClass,
    /// One sentence for people.
    pub message: String,
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The step's own work failed: exit code, signal, refused check, missing output.
    Step,
    /// It did not end within its timeout.
    TimedOut,
    /// It needed more memory than it may have.
    OutOfMemory,
    /// The program, image or runtime could not be started.
    NotStarted,
    /// A command was not found, or may not be executed: it will not be there a moment later either.
    NoCommand,
    /// The Docker engine did not answer, or went away.
    EngineUnreachable,
    /// A cloud refused, because it was asked too much too fast.
    Throttled,
}

/// Who stopped a run.
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
    /// Every step succeeded.
    Complete,
    /// Complete, but trials missed their tolerances.
    Invalid,
    /// A step failed.
    Failed,
    /// It was stopped.
    Cancelled,
    /// Not begun, because what failed is to be looked at (cleanup only).
    Kept,
    /// The run has no steps of this kind.
    None,
}

impl Outcome {
    /// A failure of this class, with one sentence for people.
    pub fn failed(class: FailureClass, message: impl Into<String>) -> Self {
        Self::Failed(Failure { class, message: message.into() })
    }

    /// Whether steps that need this one may start.
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
            Self::Enough { why } => write!(out, "found no further trial necessary: {why}"),
            Self::Skipped { because } if is_decision(because) => {
                write!(out, "skipped, because {because} found no further trial necessary")
            }
            Self::Skipped { because } => write!(out, "skipped, because {because} did not succeed"),
        }
    }
}

/// The name of the steps that decide whether another trial is needed.
pub(crate) const DECISION: &str = "decide";

/// Whether a step decides on further trials. It fails only when measurements cannot be read.
fn is_decision(step: &StepId) -> bool {
    step.as_str().rsplit('/').next() == Some(DECISION)
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
    /// An attempt began.
    Started {
        /// The step that began.
        step: StepId,
        /// What the step does, in a word or two.
        action: &'static str,
        /// Counted from 1.
        attempt: u32,
        /// Where its output is logged.
        log: PathBuf,
        /// Whether an earlier runner began it, and this one found it again.
        reattached: bool,
    },
    /// A pause began: it ends at this time, milliseconds since the epoch.
    Pausing {
        /// The step that pauses.
        step: StepId,
        /// When it ends.
        until_ms: i64,
    },
    /// A step could start, and waits for another run: `for lock …, held by run …`.
    Waiting {
        /// The step that waits.
        step: StepId,
        /// What it waits for, for people.
        why: String,
    },
    /// One line about how far a step is.
    Progress {
        /// The step in question.
        step: StepId,
        /// The line.
        message: String,
    },
    /// A load is under way.
    Loading {
        /// The step that sends the load.
        step: StepId,
        /// How far it is.
        progress: LoadProgress,
    },
    /// A load is over, and what it was lies in this folder.
    Loaded {
        /// The step that sent the load.
        step: StepId,
        /// What was measured.
        summary: Box<LoadSummary>,
        /// The folder of the invocation's results.
        folder: PathBuf,
    },
    /// An attempt failed, and another follows.
    Retrying {
        /// The step in question.
        step: StepId,
        /// The attempt that failed, counted from 1.
        attempt: u32,
        /// How it ended.
        outcome: Outcome,
        /// How long after that the next begins.
        delay: std::time::Duration,
    },
    /// The cleanup of a deployment has ended, and its debt is not paid.
    StillOwed {
        /// Why, for people.
        why: String,
    },
    /// A step has ended: no attempt follows.
    Ended {
        /// The step in question.
        step: StepId,
        /// How its last attempt ended.
        outcome: Outcome,
        /// Why the trial must not be used, though the step succeeded.
        invalid: Vec<String>,
        /// How long the last attempt took.
        took: std::time::Duration,
        /// Where its output is logged.
        log: PathBuf,
    },
    /// Nothing new is started any more; cleanup still is, where it is part of the run.
    Stopping {
        /// One sentence for people.
        why: String,
        /// Whether cleanup is part of the run. Otherwise what was deployed stays.
        cleans_up: bool,
    },
}

/// How far a load is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadProgress {
    /// Invocations that the load will send in all; `None` where that is not known.
    pub planned: Option<u64>,
    /// Requests sent so far.
    pub sent: u64,
    /// Complete answers, as expected or not.
    pub answered: u64,
    /// Sent, and not answered as expected.
    pub failed: u64,
    /// Due but never sent, because too many requests were under way.
    pub dropped: u64,
    /// Milliseconds from sent to answered so far.
    pub p50_ms: Option<f64>,
    /// Milliseconds from sent to answered so far.
    pub p99_ms: Option<f64>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str) {
        let expected = serde_json::from_str::<Event>(text).map_err(|error| error.to_string());
        assert_eq!(Event::from_json(text).map_err(|error| error.to_string()), expected, "{text}");
    }

    #[test]
    fn events_are_read_as_serde_reads_them() {
        for text in [
            r#"{"event":"step_started","step":"a/b","attempt":1}"#,
            r#"{"event": "step_started", "step": "a/b", "attempt": 1, "logs": "/w/logs/1"}"#,
            r#"{"event":"step_started","step":"a\"b","attempt":1,"logs":"/w/\u00e4"}"#,
            r#"{"event":"step_started","step":"a","attempt":1,"logs":null}"#,
            r#"{"event":"step_started","step":"a","attempt":1,"outcome":{"outcome":"succeeded"}}"#,
            r#"{"event":"step_started","step":"a"}"#,
            r#"{"event":"step_started","step":"a","attempt":-1}"#,
            r#"{"event":"step_started","step":"a","attempt":1} x"#,
            r#"{"outcome":{"outcome":"succeeded"},"attempt":2,"step":"a","event":"step_ended"}"#,
            r#"{"event":"step_ended","step":"a","attempt":1,"outcome":{"outcome":"succeeded"},"logs":"/w"}"#,
            r#"{"event":"step_ended","step":"a","attempt":1,"outcome":{"outcome":"succeeded"},"retry":true}"#,
            r#"{"event":"step_ended","step":"a","attempt":1,"outcome":{"outcome":"succeeded"},"outputs":{"u":1}}"#,
            r#"{"event":"step_ended","step":"a","attempt":0,"outcome":{"outcome":"skipped","because":"b"}}"#,
            r#"{"event":"step_ended","step":"a","attempt":1,"outcome":{"outcome":"great"}}"#,
            r#"{"event":"step_ended","step":"a","attempt":1}"#,
            r#"{"event":"debt_paid","deployment":"r.a.1"}"#,
            r#"{"event":"unheard_of","step":"a","attempt":1}"#,
        ] {
            check(text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(step in ".*", attempt: u32, logs in proptest::option::of("[^\0]*"), took_ms: Option<u64>, up_ms: Option<i64>, retry: bool) {
            let step = StepId::new(step);
            let outcome = if retry { Outcome::Cancelled } else { Outcome::Succeeded };
            for event in [
                Event::StepStarted { step: step.clone(), attempt, logs: logs.clone().map(PathBuf::from), up_ms },
                Event::StepEnded { step, attempt, outcome, outputs: BTreeMap::new(), invalid: vec![], took_ms, retry },
            ] {
                let text = serde_json::to_string(&event).unwrap();
                prop_assert_eq!(Event::from_json(&text).unwrap(), event);
            }
        }
    }
}
