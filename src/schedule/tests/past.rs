//! A run that goes on without the steps of deployments that are over ends as one that has them.

use std::collections::HashSet;

use super::*;
use sb_plan::graph::RunGraph;
use sb_plan::graph::rest::{Planned, Remains, Rest};
use sb_plan::run_state::RunState;

/// What is left of the run.
pub(super) async fn left(plan: &Plan, store: &Store, run: &RunId) -> (RunGraph, Past) {
    let expansion = expand(plan);
    let name = |deployment: &Deployment| Naming::OfRun.name(run, deployment);
    let planned = Planned { plan, deployments: &expansion.deployments, parts: Parts::ALL, name: &name };
    let mut past = Past::default();
    let mut rest = Rest::new(planned, &HashSet::new(), |step, ended| past.add(step, ended));
    store.read(run).unwrap().each(|record| rest.take(record)).await.unwrap();
    let Remains { over, .. } = rest.end().unwrap();
    let graph = graph::build_without(plan, expansion, Parts::ALL, &|index| over[index]);
    (graph, past.of(over))
}

/// Two deployments of one application after each other, and another application.
fn repeated(applications: &[&str]) -> Plan {
    let mut steps = steps();
    steps[0].retry = Retry::times(2, Duration::from_millis(5));
    steps[3].allow_failure = true;
    let mut plan = plan(applications, &steps);
    plan.repetitions = 3;
    plan
}

/// However far the journal has come, both ways end the same.
#[track_caller]
fn check(case: &dyn Fn() -> Case, most: usize) {
    let whole = case().run();
    let events: Vec<_> = whole.records.iter().map(|record| record.event.clone()).collect();
    let (mut least, steps) = (usize::MAX, RunState::fold(&whole.records).steps.len());
    for cut in (1..events.len()).rev().step_by(events.len() / most) {
        let from = |set_aside| {
            let mut case = case();
            case.before = events[..cut].to_vec();
            case.set_aside = set_aside;
            case.run()
        };
        let (all, left) = (from(false), from(true));
        assert_eq!(left.end, all.end, "{cut}");
        assert_eq!(left.end, whole.end, "{cut}");
        // Applications side by side take folders as they come.
        if all.folders.len() == 1 {
            assert_eq!(left.folders, all.folders, "{cut}");
        }
        assert_eq!(left.debts, all.debts, "{cut}");
        let ends = |ran: &Outcomes| {
            let state = RunState::fold(&ran.records);
            let steps = state.steps.into_iter();
            steps
                .map(|(id, step)| (id, (step.attempts, step.failures, step.phase)))
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(ends(&left), ends(&all), "{cut}");
        least = least.min(left.log.len());
    }
    assert!(least < steps, "something was set aside");
}

#[test]
fn a_run_ends_the_same_without_the_steps_of_what_is_over() {
    let mut invalid = Finished::from(Outcome::Succeeded);
    invalid.invalid = vec!["too few answers".to_owned()];
    let good = Finished::from(Outcome::Succeeded);
    check(
        &|| {
            Case::new(repeated(&["app", "other"]))
                .script("app.1/deploy/a", vec![failed(), good.clone()])
                .script("app.1/cleanup/x", vec![failed()])
                .script("app.2/t1/invoke/load", vec![invalid.clone()])
        },
        12,
    );
    check(&|| Case::new(repeated(&["app", "other"])).script("app.1/deploy/b", vec![failed()]), 12);
    check(&|| Case::new(repeated(&["app"])), 8);
}

#[test]
fn what_is_over_counts_for_the_budgets() {
    check(
        &|| {
            let mut plan = repeated(&["app"]);
            plan.budget.errors = Some(2);
            Case::new(plan).script("app.1/deploy/a", vec![failed()])
        },
        8,
    );
    check(
        &|| {
            let mut plan = dear(&["app"]);
            plan.repetitions = 4;
            plan.budget.cost_usd = Some(20.0);
            Case::new(plan)
        },
        8,
    );
}
