//! Where a runner begins: at the start of a new run, or where the journal of an old one ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::deployments::LiveDeployment;
use super::dispatch::{Dispatch, StepStatus, after, now_ms, up_ms};
use super::policy::pause_after;
use super::{Job, ScheduleError};
use crate::store::{Debt, event};
use sb_plan::event::{Event, Outcome};
use sb_plan::graph::Wait;
use sb_plan::run_state::{RunState, StepPhase, StepState};

impl Dispatch {
    /// Begins where the journal ends: at the start for a new run.
    pub(super) async fn take_over(&mut self, state: &RunState) -> Result<(), ScheduleError> {
        let now = now_ms();
        let boot = self.job.executor.boot_id().map_err(ScheduleError::Boot)?;
        let spent = match state.since_start(&boot, up_ms()) {
            Some(spent) => since(0, spent),
            None => since(state.first_ms.unwrap_or(now), now),
        };
        self.deadline = self.job.plan.budget.duration.map(|limit| after(limit.saturating_sub(spent)));
        let started =
            Event::RunnerStarted { pid: std::process::id(), boot: Some(boot.clone()), up_ms: Some(up_ms()) };
        self.unsaved.push(event(&self.job.run, now, started));
        self.save().await?;
        self.adopt_deployments().await?;
        let mut running = Vec::new();
        for index in self.job.graph.graph.node_indices() {
            let step = &self.job.graph.graph[index];
            let unknown = StepState::default();
            let past = state.step(&step.id).unwrap_or(&unknown);
            let node = &mut self.nodes[index.index()];
            node.attempts = past.attempts;
            node.failures = past.failures;
            node.interruptions = past.interruptions;
            node.again = match past.phase {
                StepPhase::Running => past.again,
                _ => past.phase != StepPhase::Waiting,
            };
            let by_machine = past.started_up_ms.filter(|_| !state.is_of_another_boot(past, &boot));
            let ago = match by_machine {
                Some(started) => since(started, up_ms()),
                None => since(past.started_ms.unwrap_or(now), now),
            };
            node.begun = Instant::now().checked_sub(ago).unwrap_or(node.begun);
            node.is_own = by_machine.is_some();
            self.errors += past.failures + past.interruptions;
            if let Some(trial) = step.trial {
                if past.attempts > 0 {
                    self.begun.insert((step.deployment, trial));
                }
                if let Some(logs) = &past.logs {
                    let trial = self.logs.entry((step.deployment, trial));
                    // Most steps of a trial have the same.
                    let known = trial.or_insert_with(|| Arc::from(logs.as_path()));
                    if **known != **logs {
                        *known = Arc::from(logs.as_path());
                    }
                    node.logs = Some(Arc::clone(known));
                }
            }
            let step = &self.job.graph.graph[index];
            if let Some(live) = self.live.get_mut(&step.deployment).filter(|live| live.row.debt != Debt::Paid)
            {
                let runs = match &past.phase {
                    StepPhase::Running => past.attempts > 0,
                    StepPhase::Ended(outcome) => step.is_background() && outcome.is_success(),
                    _ => false,
                };
                let ended = past.attempts - u32::from(runs);
                live.ended.extend((1..=ended).map(|attempt| (index, attempt)));
            }
            match &past.phase {
                // What a change of the files added to the cleanup comes too late. Where no change was accepted, the state is
                // an old copy: what was cleaned up since is not deployed or invoked again, since nothing would remove it.
                StepPhase::Waiting
                    if self.paid(step.deployment)
                        && (step.is_cleanup() || (state.version == 1 && step.phase().is_some())) =>
                {
                    self.mark_ended(index, &Outcome::Cancelled, false);
                }
                StepPhase::Waiting => {}
                StepPhase::Running => match step.pause() {
                    Some(pause) => {
                        self.time(index, pause.saturating_sub(ago));
                    }
                    None => {
                        self.nodes[index.index()].status = StepStatus::Running;
                        running.push((index, state.is_of_another_boot(past, &boot)));
                    }
                },
                StepPhase::Retrying(outcome) => {
                    let (failures, interruptions) = (past.failures, past.interruptions);
                    let delay = pause_after(&self.job.run, step, failures, interruptions, outcome);
                    self.time(index, delay.saturating_sub(since(past.ended_ms.unwrap_or(now), now)));
                }
                // A cleanup that failed is still owed: who takes the run up again pays.
                StepPhase::Ended(outcome)
                    if step.is_cleanup() && !outcome.is_success() && self.owed(step.deployment) =>
                {
                    let node = &mut self.nodes[index.index()];
                    (node.failures, node.interruptions) = (0, 0);
                }
                StepPhase::Ended(outcome) => {
                    let outcome = outcome.clone();
                    self.mark_ended(index, &outcome, !past.invalid.is_empty());
                }
            }
        }
        // An earlier runner may have died before it took the secrets out of what these attempts wrote.
        for live in self.live.values().filter(|live| !live.known_secrets.redactor.is_empty()) {
            self.secretive.push((live.ended.clone(), Arc::clone(&live.known_secrets)));
        }
        for (&deployment, (_, told)) in &mut self.kept {
            let name = self.job.naming.name(&self.job.run, &self.job.graph.deployments[deployment]);
            *told = state.kept.contains_key(&name);
        }
        self.settling.clear();
        for index in self.job.graph.graph.node_indices() {
            self.count_pending(index);
        }
        for (index, lost_boot) in running {
            self.reattach(index, lost_boot);
        }
        self.end_hopeless_pauses();
        Ok(())
    }

    fn paid(&self, deployment: usize) -> bool {
        self.live.get(&deployment).is_some_and(|live| live.row.debt == Debt::Paid)
    }

    /// Deployments that exist already: opened by an earlier runner, or by an earlier command.
    async fn adopt_deployments(&mut self) -> Result<(), ScheduleError> {
        let Job { graph, past, naming, run, .. } = &self.job;
        let left = graph.deployments.iter().enumerate().filter(|(index, _)| !past.is_over(*index));
        let mut indices: HashMap<_, _> = left.map(|(index, it)| (naming.name(run, it), index)).collect();
        let ids = indices.keys().cloned().collect();
        for row in self.job.store.deployments_of(ids).await? {
            let Some(index) = indices.remove(&row.id) else { continue };
            let deployment = &self.job.graph.deployments[index];
            if row.debt == Debt::Paid {
                // Cleaned up: it is opened anew when something is deployed again. What was measured on it can be looked at all the
                // same.
                let looks_only = !self.job.parts.deploy && !self.job.parts.invoke && !self.job.parts.cleanup;
                if row.run != self.job.run && !looks_only {
                    continue;
                }
            }
            if let Some(logs) = &row.logs
                && !self.job.parts.invoke
            {
                self.logs.insert((index, 0), Arc::from(logs.as_path()));
            }
            self.live.insert(
                index,
                LiveDeployment::adopt(&self.job.plan, deployment, row, &self.job.store, true)?,
            );
        }
        Ok(())
    }

    /// Counts what a step still waits for, and makes it ready when that is nothing.
    fn count_pending(&mut self, index: NodeIndex) {
        if self.nodes[index.index()].status != StepStatus::Waiting {
            return;
        }
        let (mut pending, mut blocked_by) = (0, None);
        for edge in self.job.graph.graph.edges_directed(index, Direction::Incoming) {
            let before = &self.nodes[edge.source().index()];
            if before.status != StepStatus::Ended {
                pending += 1;
            } else if *edge.weight() == Wait::ForSuccess && !before.succeeded {
                blocked_by = Some(edge.source());
            }
        }
        let node = &mut self.nodes[index.index()];
        node.pending = pending;
        node.blocked_by = blocked_by;
        if pending == 0 {
            self.make_ready(index);
        }
    }
}

/// From one time to another, milliseconds of the same clock. One that was set back in between makes it nothing, so that a pause is
/// never longer than it should be.
fn since(earlier_ms: i64, later_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(later_ms.saturating_sub(earlier_ms)).unwrap_or(0))
}
