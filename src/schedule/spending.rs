//! What a run has spent, as predicted by what its targets declare: counted where the plan has a budget of money.

use super::Job;
use super::estimate::unit_costs;
use sb_plan::benchmark::Action;
use sb_plan::graph::Step;
use sb_plan::run_state::{RunState, StepPhase};

/// US dollars so far.
#[derive(Debug)]
pub(super) struct Spending(f64);

impl Spending {
    /// What earlier runners of the run have spent. An attempt that still runs counts when it ends.
    pub(super) fn before(job: &Job, state: &RunState) -> Self {
        let mut spending = Self(0.0);
        if job.plan.budget.cost_usd.is_none() {
            return spending;
        }
        for &(deployment, attempts) in &job.past.loads {
            spending.0 += f64::from(attempts) * Self::units(job, deployment).0;
        }
        for step in job.graph.graph.node_weights() {
            let Some(known) = state.step(&step.id) else { continue };
            let ended = known.attempts.saturating_sub(u32::from(known.phase == StepPhase::Running));
            (0..ended).for_each(|_| spending.attempt(job, step));
        }
        for (index, deployment) in job.graph.deployments.iter().enumerate() {
            if state.debts.contains_key(&job.naming.name(&job.run, deployment)) {
                spending.deployment(job, index);
            }
        }
        spending
    }

    /// An attempt of a step has ended.
    pub(super) fn attempt(&mut self, job: &Job, step: &Step) {
        if step.manifest().is_some_and(|step| matches!(step.action, Action::Load)) {
            self.0 += Self::units(job, step.deployment).0;
        }
    }

    /// A deployment begins.
    pub(super) fn deployment(&mut self, job: &Job, index: usize) {
        self.0 += Self::units(job, index).1;
    }

    /// Of a load and of a deployment.
    fn units(job: &Job, index: usize) -> (f64, f64) {
        if job.plan.budget.cost_usd.is_none() {
            return (0.0, 0.0);
        }
        let deployment = &job.graph.deployments[index];
        unit_costs(&job.plan, deployment.entry, deployment.point, &job.prices)
    }

    /// Why no new trial may begin, when the plan's budget is used up.
    pub(super) fn used_up(&self, job: &Job) -> Option<String> {
        let limit = job.plan.budget.cost_usd.filter(|limit| self.0 >= *limit)?;
        Some(format!("about {:.2} USD are spent, and the plan's budget is {limit} USD", self.0))
    }
}
