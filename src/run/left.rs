//! What is left of a run that is taken up again. Its events are read while it is planned. Steps of deployments that
//! are over are neither kept nor planned.

use std::collections::HashSet;

use super::error::RunError;
use super::request::Request;
use crate::schedule::Past;
use crate::store::{Debt, Store};
use sb_plan::graph::rest::{Planned, Remains, Rest};
use sb_plan::graph::{Parts, RunGraph, build_without};
use sb_plan::id::RunId;
use sb_plan::plan::{Deployment, Plan, expand};
use sb_plan::run_state::RunState;

/// What is left of a run.
pub(super) struct Left {
    pub(super) graph: RunGraph,
    pub(super) state: RunState,
    pub(super) past: Past,
}

impl Left {
    /// `plan` makes the run's plan.
    pub(super) async fn read(
        store: &Store,
        run: &RunId,
        request: &Request,
        parts: Parts,
        plan: impl FnOnce() -> Result<Plan, RunError>,
    ) -> Result<(Plan, Self), RunError> {
        let naming = request.naming();
        let name = |deployment: &Deployment| naming.name(run, deployment);
        let unpaid = store.unpaid().await?;
        let mut reading = store.read(run)?;
        let plan = plan()?;
        let mut expansion = expand(&plan);
        // What stands already is finished before anything else of its application is deployed.
        let owed: HashSet<_> =
            unpaid.iter().filter(|row| row.debt == Debt::Owed).map(|row| &row.id).collect();
        if !owed.is_empty() {
            expansion.finish_first(|deployment| owed.contains(&name(deployment)));
        }
        let standing = expansion.deployments.iter().enumerate().filter(|(_, it)| owed.contains(&name(it)));
        let mut held: HashSet<usize> =
            if owed.is_empty() { HashSet::new() } else { standing.map(|(index, _)| index).collect() };
        loop {
            let deployments = &expansion.deployments;
            let planned = Planned { plan: &plan, deployments, parts, name: &name };
            let mut past = Past::default();
            let mut rest = Rest::new(planned, &held, |step, ended| past.add(step, ended));
            reading.each(|record| rest.take(record)).await?;
            match rest.end() {
                Ok(Remains { state, over }) => {
                    let graph = build_without(&plan, expansion, parts, &|index| over[index]);
                    return Ok((plan, Self { graph, state, past: past.of(over) }));
                }
                Err(resurrected) => held.extend(resurrected),
            }
            reading = store.read(run)?;
        }
    }
}
