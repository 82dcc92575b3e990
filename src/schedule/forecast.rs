//! How long a run still takes, while it runs. The rest of it is simulated as a whole plan is before it begins. What
//! this run has shown counts as measured.

use std::time::Duration;

use super::estimate::{Assumptions, Basis, Durations, History, millis, simulate};
use sb_plan::graph::{RunGraph, Step};
use sb_plan::id::StepId;
use sb_plan::plan::Plan;

/// What has become of a step. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    Waiting,
    Running {
        since: u64,
    },
    /// None: it did not succeed, so its time says nothing.
    Ended {
        took: Option<u64>,
    },
}

/// A guess that was wrong is wrong by a part of what has passed.
const OVERTIME: u64 = 10;

/// From now to the end of the run.
pub(crate) fn remaining(
    plan: &Plan,
    run: &RunGraph,
    history: &History,
    past: &dyn Fn(&StepId) -> Past,
) -> Duration {
    let mut history = history.clone();
    for step in run.graph.node_weights() {
        if let Past::Ended { took: Some(took) } = past(&step.id) {
            let entry = &plan.entries[run.deployments[step.deployment].entry];
            if let Some((_, name)) = step.id.as_str().split_once('/') {
                history.add(&entry.benchmark.name, &entry.target, name, took);
            }
        }
    }
    let assumptions = Assumptions::default();
    let mut durations = Durations::new(plan, &assumptions, &history);
    let mut of = |step: &Step| {
        let deployment = &run.deployments[step.deployment];
        durations.of(step, deployment.entry, deployment.point)
    };
    let left: Vec<u64> = run
        .graph
        .node_weights()
        .map(|step| match past(&step.id) {
            Past::Ended { .. } => 0,
            Past::Waiting => of(step).0,
            Past::Running { since } => match of(step) {
                (planned, Basis::Known, _) => planned.saturating_sub(since),
                (guessed, _, _) => guessed.saturating_sub(since).max(since / OVERTIME),
            },
        })
        .collect();
    Duration::from_millis(simulate(plan, run, &left))
}

/// The length of a load or a pause, where it is planned.
pub(crate) fn planned_length(plan: &Plan, run: &RunGraph, step: &Step) -> Option<Duration> {
    let (assumptions, history) = (Assumptions::default(), History::default());
    let deployment = &run.deployments[step.deployment];
    let mut durations = Durations::new(plan, &assumptions, &history);
    match durations.of(step, deployment.entry, deployment.point) {
        (length, Basis::Known, _) => Some(Duration::from_millis(length)),
        _ => None,
    }
}

/// Milliseconds since a time of the journal.
pub(crate) fn since(now_ms: i64, started_ms: i64) -> u64 {
    u64::try_from(now_ms - started_ms).unwrap_or(0)
}

/// `about 17 min`, `about 2 h 05 min`, `about 40 s`: as exact as a prediction is.
pub(crate) fn about(duration: Duration) -> String {
    let seconds = millis(duration).div_ceil(1000);
    match seconds {
        0..100 => format!("about {seconds} s"),
        100..6000 => format!("about {} min", (seconds + 30) / 60),
        _ => format!("about {} h {:02} min", (seconds + 30) / 3600, (seconds + 30) / 60 % 60),
    }
}
