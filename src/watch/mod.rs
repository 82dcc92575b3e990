//! A run as another process sees it: the journal, read bit by bit, and what the attempts' folders hold.
//!
//! Nothing here writes. [`Watched`] folds events as they come, so that looking again costs only what is new.
//! [`overview`] condenses the state for people. [`files`] reads how far a load is, and logs as they grow.
//! [`measured`] finds what a run has measured so far. [`course`] says when each step ran, and [`paths`] reads the
//! critical paths of traces.

pub(crate) mod course;
pub(crate) mod files;
pub(crate) mod measured;
pub(crate) mod overview;
pub(crate) mod paths;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use crate::execute::{Execute as _, StepPerformer, is_alive};
use crate::run::{Request, RunError};
use crate::schedule::Naming;
use crate::schedule::estimate::History;
use crate::schedule::forecast::{Past, planned_length, remaining, since};
use crate::store::{RunRow, Store, StoreError};
use sb_load::Progress;
use sb_plan::event::{Event, Outcome, Record};
use sb_plan::graph::{RunGraph, Step};
use sb_plan::id::{DeploymentId, StepId};
use sb_plan::plan::Plan;
use sb_plan::run_state::{RunState, StepPhase, StepState};

/// So many events are in memory at once.
const PAGE: u32 = 4096;

/// A run that is looked at again and again.
pub(crate) struct Watched {
    store: Store,
    pub row: RunRow,
    pub plan: Plan,
    pub graph: RunGraph,
    pub state: RunState,
    /// Attempts before a step's last one; most steps have none.
    earlier: HashMap<StepId, Vec<EarlierAttempt>>,
    /// Of the last event that was read.
    number: i64,
    performer: StepPerformer,
    naming: Naming,
    /// How long steps of earlier runs took.
    pub history: History,
}

/// An attempt that another one followed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EarlierAttempt {
    pub number: u32,
    /// Milliseconds since the epoch.
    pub started_ms: Option<i64>,
    pub ended_ms: i64,
    pub took_ms: Option<u64>,
    pub outcome: Outcome,
}

impl Watched {
    /// The run as it was planned. None of its events have been read yet: [`Watched::refresh`] does.
    pub(crate) fn open(store: Store, row: RunRow) -> Result<Self, RunError> {
        let request = Request::read(&row)?;
        let (plan, graph) = request.rebuild(&store, &row.id)?;
        // It starts nothing: it knows where things are.
        let images = sb_plan::benchmark::Images::built_in();
        let performer = StepPerformer::new(plan.executor, store.workspace().clone(), PathBuf::new(), images);
        let state = RunState::default();
        Ok(Self {
            store,
            row,
            plan,
            graph,
            state,
            earlier: HashMap::new(),
            number: 0,
            performer,
            history: History::default(),
            naming: request.naming(),
        })
    }

    /// What steps that could start wait for: locks that other runs hold. By step.
    pub(crate) fn waits(&self) -> BTreeMap<StepId, String> {
        self.store.waits(&self.row.id, &self.state)
    }

    /// What the whole run waits for, where none of its steps runs: a lock that another run holds.
    pub(crate) fn waits_for(&self) -> Option<String> {
        self.store.waits_for(&self.row.id, &self.state)
    }

    /// How long the run still takes; none for one that has ended, or that nobody drives, or that waits for another run: nobody
    /// knows how long.
    pub(crate) fn remaining(&self, now_ms: i64) -> Option<Duration> {
        if self.state.ended.is_some() || self.runner().is_none() || self.waits_for().is_some() {
            return None;
        }
        let past = |step: &StepId| match self.state.step(step) {
            Some(StepState { phase: StepPhase::Running, started_ms: Some(started), .. }) => {
                Past::Running { since: since(now_ms, *started) }
            }
            Some(past @ StepState { phase: StepPhase::Ended(outcome), .. }) => {
                Past::Ended { took: past.duration_ms().filter(|_| outcome.is_success()) }
            }
            _ => Past::Waiting,
        };
        Some(remaining(&self.plan, &self.graph, &self.history, &past))
    }

    /// How long a load or a pause that runs still takes, where its length is planned.
    pub(crate) fn rest_of(&self, step: &Step, past: &StepState, now_ms: i64) -> Option<Duration> {
        let length = planned_length(&self.plan, &self.graph, step)?;
        Some(length.saturating_sub(Duration::from_millis(since(now_ms, past.started_ms?))))
    }

    /// Reads what is new; `each` sees every new event and the state after it. Returns whether there was any.
    pub(crate) async fn refresh(
        &mut self,
        mut each: impl FnMut(&Record, &RunState),
    ) -> Result<bool, StoreError> {
        let before = self.number;
        loop {
            let page = self.store.events_after(&self.row.id, self.number, PAGE).await?;
            let last = page.len() < PAGE as usize;
            for (number, record) in page {
                self.remember(&record);
                self.state.apply(&record);
                self.number = number;
                each(&record, &self.state);
            }
            if last {
                return Ok(self.number != before);
            }
        }
    }

    fn remember(&mut self, record: &Record) {
        let Event::StepEnded { step, attempt, outcome, took_ms, retry: true, .. } = &record.event else {
            return;
        };
        let started_ms = self.state.step(step).and_then(|past| past.started_ms);
        self.earlier.entry(step.clone()).or_default().push(EarlierAttempt {
            number: *attempt,
            started_ms,
            ended_ms: record.at_ms,
            took_ms: *took_ms,
            outcome: outcome.clone(),
        });
    }

    /// The number of the last event that was read.
    pub(crate) fn number(&self) -> i64 {
        self.number
    }

    /// The state in which the run is.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The name of the deployment that a step works on.
    pub(crate) fn deployment_of(&self, step: &Step) -> DeploymentId {
        self.naming.name(&self.row.id, &self.graph.deployments[step.deployment])
    }

    /// The folders of the run's last invocations, by application.
    pub(crate) fn invocations(&self) -> BTreeMap<String, Vec<PathBuf>> {
        measured::invocations(&self.plan, &self.graph, &self.state)
    }

    /// The live process that works on the run.
    pub(crate) fn runner(&self) -> Option<u32> {
        self.store.runner_of(&self.row.id)
    }

    pub(crate) fn past(&self, step: &Step) -> Option<&StepState> {
        self.state.step(&step.id)
    }

    /// Attempts of the step before its last one.
    pub(crate) fn earlier(&self, step: &StepId) -> &[EarlierAttempt] {
        self.earlier.get(step).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn step(&self, id: &StepId) -> Option<&Step> {
        self.graph.find(id).map(|index| &self.graph.graph[index])
    }

    /// The step at a place in the graph.
    pub(crate) fn step_at(&self, index: usize) -> Option<&Step> {
        self.graph.graph.node_weight(petgraph::graph::NodeIndex::new(index))
    }

    /// In the order of the graph.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.graph.graph.node_weights()
    }

    /// The steps that run now, those that have run longest first.
    pub(crate) fn running(&self) -> Vec<(&Step, &StepState)> {
        // The state first: it holds only steps that have begun, and the graph may be large.
        let mut running: Vec<_> = self
            .state
            .steps
            .iter()
            .filter(|(_, past)| past.phase == StepPhase::Running)
            .filter_map(|(id, past)| Some((self.step(id)?, past)))
            .collect();
        running.sort_by(|left, right| {
            left.1.started_ms.cmp(&right.1.started_ms).then_with(|| left.0.id.cmp(&right.0.id))
        });
        running
    }

    /// Whether it is a background step that was ready, and has not ended since, as far as its folder tells.
    pub(crate) fn runs_on(&self, step: &Step) -> bool {
        let Some(past) = self.past(step).filter(|_| step.is_background()) else { return false };
        let folder = self.performer.workspace.attempt(&self.row.id, &step.id, past.attempts);
        past.phase == StepPhase::Ended(Outcome::Succeeded) && is_alive(&folder)
    }

    pub(crate) fn log_of(&self, step: &Step, attempt: u32) -> PathBuf {
        self.performer.log_of(&self.row.id, step, attempt)
    }

    /// How far the load of an attempt is, or was at its end; none for other steps.
    pub(crate) fn load_of(&self, step: &Step, attempt: u32) -> Option<Progress> {
        self.progress_file(step, attempt).and_then(|path| files::load_progress(&path))
    }

    /// How the load of an attempt went, as far as that is still known.
    pub(crate) fn course_of(&self, step: &Step, attempt: u32) -> Vec<Progress> {
        self.progress_file(step, attempt).map_or_else(Vec::new, |path| files::load_course(&path))
    }

    fn progress_file(&self, step: &Step, attempt: u32) -> Option<PathBuf> {
        is_load(step).then(|| self.log_of(step, attempt).with_file_name(crate::execute::PROGRESS_FILE))
    }

    /// How far a running step is, in a line: its load, or what it printed last.
    pub(crate) fn last_words(&self, step: &Step, attempt: u32) -> Option<String> {
        if let Some(load) = self.load_of(step, attempt) {
            return Some(overview::load_line(&load));
        }
        files::last_line(&self.log_of(step, attempt))
    }
}

/// Whether a step sends a load.
pub(crate) fn is_load(step: &Step) -> bool {
    step.manifest().is_some_and(|step| matches!(step.action, sb_plan::benchmark::Action::Load))
}
