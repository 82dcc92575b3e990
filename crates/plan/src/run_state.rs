//! The state of a run: a pure fold over its events.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use serde_json::Value;

use crate::event::{Event, Outcome, Record, StopCause, Verdict};
use crate::id::{DeploymentId, StepId};

/// The state of a run after a number of events.
#[derive(Clone, Debug, PartialEq)]
pub struct RunState {
    /// Every step that an event was about; the others wait.
    pub steps: HashMap<StepId, StepState>,
    /// Deployments whose cleanup was owed, and whether it still is.
    pub debts: BTreeMap<DeploymentId, bool>,
    /// Deployments that are kept though their cleanup is owed, and the step that failed.
    pub kept: BTreeMap<DeploymentId, StepId>,
    /// A change of the run's files was accepted, and is not complete.
    pub changing: bool,
    /// Of the run's files, from 1.
    pub version: u32,
    /// Why nothing but cleanup is started any more.
    pub stopped: Option<(StopCause, String)>,
    /// Set when every step has ended: measurement and cleanup.
    pub ended: Option<(Verdict, Verdict)>,
    /// The boots under which runners have worked on it, a runner each.
    pub runners: Vec<Option<String>>,
    /// When the first runner started: the boot, and milliseconds since. Clocks are set, and this is not.
    pub started_up: Option<(String, i64)>,
    /// Milliseconds from its start to its end. None: it has not ended, or its machine was started again meanwhile.
    pub lasted_ms: Option<i64>,
    /// Time of the first event, milliseconds since the epoch.
    pub first_ms: Option<i64>,
    /// Time of the last event, milliseconds since the epoch.
    pub last_ms: i64,
}

/// The state of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepState {
    /// Attempts begun so far.
    pub attempts: u32,
    /// Attempts that failed, which is what retries are counted against; interruptions are not.
    pub failures: u32,
    /// Attempts that were interrupted.
    pub interruptions: u32,
    /// Who began the last attempt; runners are counted from 1.
    pub runner: usize,
    /// When the last attempt started, milliseconds since the epoch.
    pub started_ms: Option<i64>,
    /// Of a pause: how long the machine had been up when the last attempt started, milliseconds.
    pub started_up_ms: Option<i64>,
    /// When the last attempt ended, milliseconds since the epoch. None: it has not.
    pub ended_ms: Option<i64>,
    /// How long the last attempt took, milliseconds, where its end says so: see [`duration_ms`](Self::duration_ms).
    pub took_ms: Option<u64>,
    /// Folder of the invocation that the last attempt belongs to.
    pub logs: Option<PathBuf>,
    /// What the step is at.
    pub phase: StepPhase,
    /// The last attempt began after one that failed or was lost, not after a change of its definition.
    pub again: bool,
    /// Why the trial must not be used, though the step succeeded.
    pub invalid: Vec<String>,
    /// Values that later steps may use, without the secret ones.
    pub outputs: BTreeMap<String, Value>,
}

/// What a step is at.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum StepPhase {
    /// No attempt has begun.
    #[default]
    Waiting,
    /// An attempt is under way.
    Running,
    /// An attempt has ended and another one follows.
    Retrying(Outcome),
    /// No attempt follows. Holds how the last one ended.
    Ended(Outcome),
}

impl StepState {
    /// How long the last attempt took, milliseconds. Where its end does not say (journals of earlier versions), by the journal's
    /// times. None: it has not ended, or the clock was set back meanwhile.
    pub fn duration_ms(&self) -> Option<u64> {
        let by_clock = || u64::try_from(self.ended_ms? - self.started_ms?).ok();
        self.took_ms.or_else(by_clock).filter(|_| self.ended_ms.is_some())
    }
}

impl Default for RunState {
    /// Of a run that nothing has happened to.
    fn default() -> Self {
        Self {
            steps: HashMap::new(),
            debts: BTreeMap::new(),
            kept: BTreeMap::new(),
            changing: false,
            version: 1,
            stopped: None,
            ended: None,
            runners: vec![],
            started_up: None,
            lasted_ms: None,
            first_ms: None,
            last_ms: 0,
        }
    }
}

impl RunState {
    /// The state after these events, which come in the order of the journal.
    pub fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut state = Self::default();
        for record in records {
            state.apply(record);
        }
        state
    }

    /// Takes the next event in.
    pub fn apply(&mut self, record: &Record) {
        self.take(record.clone());
    }

    /// As [`apply`](Self::apply), for millions of records: what they hold is moved.
    pub fn take(&mut self, record: Record) {
        let Record { at_ms, event } = record;
        self.first_ms.get_or_insert(at_ms);
        self.last_ms = at_ms;
        match event {
            Event::RunnerStarted { boot, up_ms, .. } => {
                if self.runners.is_empty() {
                    self.started_up = boot.clone().zip(up_ms);
                }
                self.runners.push(boot);
                self.ended = None;
            }
            Event::DebtRecorded { deployment } => {
                self.debts.insert(deployment, true);
            }
            Event::DebtPaid { deployment } => {
                self.kept.remove(&deployment);
                self.debts.insert(deployment, false);
            }
            Event::StepStarted { step, attempt, logs, up_ms } => {
                let step = self.steps.entry(step).or_default();
                step.attempts = attempt;
                step.runner = self.runners.len();
                step.started_ms = Some(at_ms);
                step.started_up_ms = up_ms;
                step.ended_ms = None;
                step.took_ms = None;
                step.logs = logs;
                step.again = step.phase != StepPhase::Waiting;
                step.phase = StepPhase::Running;
            }
            Event::StepEnded { step, attempt: _, outcome, outputs, invalid, took_ms, retry } => {
                let step = self.steps.entry(step).or_default();
                step.ended_ms = Some(at_ms);
                step.took_ms = took_ms;
                step.outputs = outputs;
                step.invalid = invalid;
                step.failures += u32::from(matches!(outcome, Outcome::Failed(_)));
                step.interruptions += u32::from(matches!(outcome, Outcome::Interrupted));
                step.phase = if retry { StepPhase::Retrying(outcome) } else { StepPhase::Ended(outcome) };
            }
            Event::StopRequested { why, cause } => self.stopped = Some((cause, why)),
            Event::DeploymentKept { deployment, because } => {
                self.kept.insert(deployment, because);
            }
            Event::ChangeAccepted { .. } => self.changing = true,
            Event::PlanChanged { version, again } => {
                self.changing = false;
                self.version = version;
                self.stopped = None;
                // What a deployment was kept for is tried again.
                self.kept.retain(|_, because| !again.contains(because));
                for step in &again {
                    if let Some(step) = self.steps.get_mut(step) {
                        // Attempts are counted on: each has a folder of its own.
                        *step = StepState { attempts: step.attempts, ..StepState::default() };
                    }
                }
            }
            Event::RunEnded { measurement, cleanup, up_ms } => {
                self.ended = Some((measurement, cleanup));
                let boot = self.runners.last().and_then(Option::as_deref);
                self.lasted_ms = boot.zip(up_ms).and_then(|(boot, up_ms)| self.since_start(boot, up_ms));
            }
        }
    }

    /// Milliseconds from its start until the machine has been up for so long. None: it was another boot.
    pub fn since_start(&self, boot: &str, up_ms: i64) -> Option<i64> {
        self.started_up.as_ref().filter(|(first, _)| first == boot).map(|(_, first)| up_ms - first)
    }

    /// Whether the last attempt of a step was begun under another boot than this one.
    pub fn is_of_another_boot(&self, step: &StepState, boot: &str) -> bool {
        let began = step.runner.checked_sub(1).and_then(|index| self.runners.get(index));
        began.and_then(Option::as_deref).is_some_and(|began| began != boot)
    }

    /// The state of a step. None: no event was about it, so it waits.
    pub fn step(&self, id: &StepId) -> Option<&StepState> {
        self.steps.get(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_step_took_is_what_its_end_says_and_never_below_zero() {
        let step = || StepId::new("s");
        let duration = |ended_ms, took_ms| {
            let started = Event::StepStarted { step: step(), attempt: 1, logs: None, up_ms: None };
            let ended = Event::StepEnded {
                step: step(),
                attempt: 1,
                outcome: Outcome::Succeeded,
                outputs: BTreeMap::new(),
                invalid: vec![],
                took_ms,
                retry: false,
            };
            let records =
                [Record { at_ms: 10_000, event: started }, Record { at_ms: ended_ms, event: ended }];
            RunState::fold(&records).step(&step()).unwrap().duration_ms()
        };
        assert_eq!(duration(12_000, Some(1_900)), Some(1_900));
        // Found two hours later; and the clock was set back.
        assert_eq!(duration(7_210_000, Some(1_900)), Some(1_900));
        assert_eq!(duration(4_000, Some(1_900)), Some(1_900));
        // An earlier version of sb wrote times only.
        assert_eq!(duration(12_000, None), Some(2_000));
        assert_eq!(duration(4_000, None), None);
        let started = Event::StepStarted { step: step(), attempt: 1, logs: None, up_ms: None };
        let running = RunState::fold(&[Record { at_ms: 1, event: started }]);
        assert_eq!(running.step(&step()).unwrap().duration_ms(), None);
    }

    #[test]
    fn how_long_a_run_lasted_does_not_depend_on_the_clock() {
        let at = |at_ms, event| Record { at_ms, event };
        let started = |boot: &str, up_ms| Event::RunnerStarted { pid: 1, boot: Some(boot.to_owned()), up_ms };
        let ended =
            |up_ms| Event::RunEnded { measurement: Verdict::Complete, cleanup: Verdict::Complete, up_ms };
        for (events, expected) in [
            // The clock was set back, and forward.
            (vec![at(9_000, started("a", Some(50))), at(2_000, ended(Some(150)))], Some(100)),
            (vec![at(0, started("a", Some(50))), at(9_000_000, ended(Some(150)))], Some(100)),
            // Another runner took it over; and then after a start of the machine.
            (
                vec![at(0, started("a", Some(50))), at(1, started("a", Some(90))), at(2, ended(Some(150)))],
                Some(100),
            ),
            (
                vec![at(0, started("a", Some(50))), at(1, started("b", Some(9))), at(2, ended(Some(150)))],
                None,
            ),
            (vec![at(0, started("a", None)), at(1, ended(None))], None),
        ] {
            assert_eq!(RunState::fold(&events).lasted_ms, expected, "{events:?}");
        }
    }
}
