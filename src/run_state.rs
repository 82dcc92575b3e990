//! The state of a run: a pure fold over its events.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde_json::Value;

use crate::event::{Event, Outcome, Record, StopCause, Verdict};
use crate::id::{DeploymentId, StepId};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunState {
    pub steps: HashMap<StepId, StepState>,
    pub debts: BTreeMap<DeploymentId, bool>,
    /// Why nothing but cleanup is started any more.
    pub stopped: Option<(StopCause, String)>,
    /// Set when every step has ended: measurement and cleanup.
    pub ended: Option<(Verdict, Verdict)>,
    /// How many runners have worked on it.
    pub runners: u32,
    /// Time of the first event, milliseconds since the epoch.
    pub first_ms: Option<i64>,
    /// Time of the last event, milliseconds since the epoch.
    pub last_ms: i64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepState {
    /// Attempts begun so far.
    pub attempts: u32,
    /// Attempts that failed, which is what retries are counted against; interruptions are not.
    pub failures: u32,
    /// When the last attempt started, milliseconds since the epoch.
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
    /// Folder of the invocation that the last attempt belongs to.
    pub logs: Option<PathBuf>,
    pub phase: StepPhase,
    pub invalid: Vec<String>,
    pub outputs: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub enum StepPhase {
    #[default]
    Waiting,
    Running,
    /// An attempt has ended and another one follows.
    Retrying(Outcome),
    Ended(Outcome),
}

impl RunState {
    pub fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut state = Self::default();
        for record in records {
            state.apply(record);
        }
        state
    }

    pub fn apply(&mut self, record: &Record) {
        self.take(record.clone());
    }

    /// As [`apply`](Self::apply), for millions of records: what they hold is moved.
    pub fn take(&mut self, record: Record) {
        let Record { at_ms, event } = record;
        self.first_ms.get_or_insert(at_ms);
        self.last_ms = at_ms;
        match event {
            Event::RunnerStarted { .. } => {
                self.runners += 1;
                self.ended = None;
            }
            Event::DebtRecorded { deployment } => {
                self.debts.insert(deployment, true);
            }
            Event::DebtPaid { deployment } => {
                self.debts.insert(deployment, false);
            }
            Event::StepStarted { step, attempt, logs } => {
                let step = self.steps.entry(step).or_default();
                step.attempts = attempt;
                step.started_ms = Some(at_ms);
                step.ended_ms = None;
                step.logs = logs;
                step.phase = StepPhase::Running;
            }
            Event::StepEnded { step, attempt: _, outcome, outputs, invalid, retry } => {
                let step = self.steps.entry(step).or_default();
                step.ended_ms = Some(at_ms);
                step.outputs = outputs;
                step.invalid = invalid;
                step.failures += u32::from(matches!(outcome, Outcome::Failed(_)));
                step.phase = if retry { StepPhase::Retrying(outcome) } else { StepPhase::Ended(outcome) };
            }
            Event::StopRequested { why, cause } => self.stopped = Some((cause, why)),
            Event::RunEnded { measurement, cleanup } => self.ended = Some((measurement, cleanup)),
        }
    }

    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.steps.get(id)
    }
}
