//! How long steps took in earlier runs: for predictions.

use super::output::Failed;
use crate::run::{Request, What};
use crate::schedule::estimate::History;
use crate::store::Store;
use sb_plan::event::Event;
use sb_plan::plan::Plan;
use sb_plan::run_state::{RunState, StepPhase};

/// Earlier runs that are looked at for the durations of steps.
const RUNS: usize = 20;
/// Events that are read of them at most: a run of a large plan has as many, and is enough.
const EVENTS: usize = 100_000;

/// How long the steps of the plan's benchmarks took in the last runs of this workspace.
pub(super) async fn history(store: &Store, plan: &Plan) -> Result<History, Failed> {
    let mut history = History::default();
    let runs = store.runs().await?;
    if runs.is_empty() {
        return Ok(history);
    }
    let deployments = store.deployments().await?;
    let mut read = 0;
    for row in runs.iter().take(RUNS) {
        if read >= EVENTS {
            break;
        }
        // The keys of the run's deployments, with benchmark and target.
        let mut known: Vec<(String, &str, &str)> = Vec::new();
        let prefix = format!("{}.", row.id);
        let single = Request::read(row).ok().and_then(|request| match request.what {
            What::Single { deployment, .. } => Some(deployment),
            What::Plan { .. } => None,
        });
        for of in &deployments {
            let key = match &single {
                Some(id) if *id == of.id => Some(format!("{}.1", of.benchmark)),
                Some(_) => None,
                None => of.id.as_str().strip_prefix(&prefix).map(str::to_owned),
            };
            let concerns = |entry: &sb_plan::plan::Entry| {
                entry.benchmark.name == of.benchmark && entry.target == of.target
            };
            if let Some(key) = key.filter(|_| plan.entries.iter().any(concerns)) {
                known.push((key, &of.benchmark, &of.target));
            }
        }
        if known.is_empty() {
            continue;
        }
        let known: std::collections::HashMap<&str, (&str, &str)> =
            known.iter().map(|(key, benchmark, target)| (key.as_str(), (*benchmark, *target))).collect();
        let records = store.events(&row.id).await?;
        read += records.len();
        let state =
            RunState::fold(records.iter().filter(|record| {
                matches!(record.event, Event::StepStarted { .. } | Event::StepEnded { .. })
            }));
        for (id, step) in &state.steps {
            let (StepPhase::Ended(outcome), Some(took)) = (&step.phase, step.duration_ms()) else { continue };
            let Some((key, name)) = id.as_str().split_once('/') else { continue };
            if let Some((benchmark, target)) = known.get(key)
                && outcome.is_success()
            {
                history.add(benchmark, target, name, took);
            }
        }
    }
    Ok(history)
}
