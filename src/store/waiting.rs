//! What keeps the steps of a run from starting, for who looks at the run from another process: locks that other runs hold. The
//! runner writes it when it changes. It is no part of the journal: with the runner, it loses its meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Store, StoreError};
use sb_durable::{Durability, Options};
use sb_plan::id::{RunId, StepId};
use sb_plan::run_state::{RunState, StepPhase};

/// A step that could start, and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AwaitedLock {
    pub(crate) step: StepId,
    /// Behind "waiting": `for lock quiet, held by run X (process 123, in /folder)`.
    pub(crate) why: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitingFile {
    /// Of this shape: 1.
    version: u32,
    steps: Vec<AwaitedLock>,
}

impl Store {
    /// Says what steps of the run wait for now. Only people look at it, so that it may fail.
    pub(crate) fn keep_waiting(&self, run: &RunId, steps: Vec<AwaitedLock>) {
        let path = self.workspace.waiting_file(run);
        if steps.is_empty() {
            let _ = std::fs::remove_file(path);
            return;
        }
        let options = Options::new().private().survives(Durability::Processes);
        let written = serde_json::to_vec(&WaitingFile { version: 1, steps });
        let _ = written.map(|bytes| sb_durable::write(&path, options, &bytes));
    }

    /// What steps that could start wait for, by step. The state is that of the run.
    pub(crate) fn waits(&self, run: &RunId, state: &RunState) -> BTreeMap<StepId, String> {
        if state.ended.is_some() || self.runner_of(run).is_none() {
            return BTreeMap::new();
        }
        let is_waiting = |step: &StepId| state.step(step).is_none_or(|past| past.phase == StepPhase::Waiting);
        let waits = self.waiting(run).into_iter().map(|wait| (wait.step, wait.why));
        waits.filter(|(step, _)| is_waiting(step)).collect()
    }

    /// What the whole run waits for, where none of its steps runs.
    pub(crate) fn waits_for(&self, run: &RunId, state: &RunState) -> Option<String> {
        let runs = state.steps.values().any(|past| past.phase == StepPhase::Running);
        self.waits(run, state).into_values().next().filter(|_| !runs)
    }

    /// As [`Self::waits_for`], of a run whose state is only read where something may wait.
    pub(crate) async fn awaited_by(&self, run: &RunId) -> Result<Option<String>, StoreError> {
        if self.runner_of(run).is_none() || self.waiting(run).is_empty() {
            return Ok(None);
        }
        Ok(self.waits_for(run, &self.state(run).await?))
    }

    /// What steps of the run waited for when that last changed. It holds while the run has a runner.
    pub(crate) fn waiting(&self, run: &RunId) -> Vec<AwaitedLock> {
        let file = std::fs::read(self.workspace.waiting_file(run)).ok();
        let file = file.and_then(|bytes| serde_json::from_slice::<WaitingFile>(&bytes).ok());
        file.filter(|file| file.version == 1).map(|file| file.steps).unwrap_or_default()
    }
}
