//! What the deployments of a run that are over add up to: of them the scheduler knows nothing else.

use std::path::PathBuf;

use super::tally::{Standing, Tally};
use sb_plan::benchmark::Action;
use sb_plan::graph::Step;
use sb_plan::run_state::{StepPhase, StepState};

/// Every step of these deployments has ended, and nothing is owed for them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Past {
    /// Of each deployment: whether it is over. Empty: none is.
    pub(super) over: Vec<bool>,
    /// How many steps they have.
    pub(crate) steps: usize,
    pub(super) tally: Tally,
    /// Attempts that failed or were interrupted.
    pub(super) errors: u32,
    /// Deployments and attempts to send load to them.
    pub(super) loads: Vec<(usize, u32)>,
    /// Deployments and folders of their invocations.
    pub(super) folders: Vec<(usize, PathBuf)>,
}

impl Past {
    /// A step of a deployment that is over, and what has become of it.
    pub(crate) fn add(&mut self, step: &Step, past: StepState) {
        let StepPhase::Ended(outcome) = &past.phase else { return };
        self.steps += 1;
        let standing = Standing { owed: false, kept: false };
        self.tally.end(step, outcome, !past.invalid.is_empty(), standing);
        self.errors += past.failures + past.interruptions;
        if step.manifest().is_some_and(|step| matches!(step.action, Action::Load)) && past.attempts > 0 {
            self.loads.push((step.deployment, past.attempts));
        }
        if let Some(logs) = past.logs.filter(|_| step.trial.is_some()) {
            // The steps of a deployment come one after another.
            let mut latest = self.folders.iter().rev().take_while(|(of, _)| *of == step.deployment);
            if !latest.any(|(_, folder)| *folder == logs) {
                self.folders.push((step.deployment, logs));
            }
        }
    }

    /// With which deployments these are.
    #[must_use]
    pub(crate) fn of(self, over: Vec<bool>) -> Self {
        Self { over, ..self }
    }

    pub(super) fn is_over(&self, deployment: usize) -> bool {
        self.over.get(deployment).copied().unwrap_or(false)
    }
}
