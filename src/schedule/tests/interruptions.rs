//! Attempts whose supervisor or container ended without a word, and times that the clock does not bend.

use super::*;

#[test]
fn an_interrupted_step_runs_again_after_a_pause_and_counts_no_retry() {
    let good = Finished::from(Outcome::Succeeded);
    let begun = std::time::Instant::now();
    let ran = Case::new(plan(&["app"], &steps()))
        .script("app.1/deploy/a", vec![Outcome::Interrupted.into(), good])
        .run();
    assert_eq!(ran.end, complete());
    assert_eq!(ran.started()[..2], ["deploy/a 1", "deploy/a 2"]);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
}

/// Attempts of `app.1/deploy/a` that were interrupted, and one that is under way.
fn interrupted(times: u32) -> Vec<Event> {
    let mut before = vec![Event::DebtRecorded { deployment: DeploymentId::new("r.app.1") }];
    for attempt in 1..=times {
        before.push(started("app.1/deploy/a", attempt));
        before.push(ended("app.1/deploy/a", Outcome::Interrupted, true));
    }
    before.push(started("app.1/deploy/a", times + 1));
    before
}

#[test]
fn a_step_that_is_interrupted_again_and_again_fails_and_is_cleaned_up_after() {
    let mut case = Case::new(plan(&["app"], &steps()));
    case.before = interrupted(4);
    let ran = case.script("app.1/deploy/a", vec![Outcome::Interrupted.into()]).run();
    assert_eq!(ran.end, End::Ended { measurement: Verdict::Failed, cleanup: Verdict::Complete });
    assert_eq!(ran.started(), ["cleanup/x 1", "cleanup/y 1"]);
    assert!(ran.outcome("app.1/deploy/a").to_string().contains("interrupted 5 times"));
    assert_eq!(ran.debts, [Debt::Paid]);
}

#[test]
fn interruptions_count_for_the_error_budget() {
    let mut plan = plan(&["app"], &steps());
    plan.budget.errors = Some(2);
    let mut case = Case::new(plan);
    case.before = interrupted(1);
    let ran = case.script("app.1/deploy/a", vec![Outcome::Interrupted.into()]).run();
    assert_eq!(ran.started(), ["cleanup/x 1", "cleanup/y 1"]);
    let stopped = ran.records.iter().find_map(|record| match &record.event {
        Event::StopRequested { why, .. } => Some(why.as_str()),
        _ => None,
    });
    assert_eq!(stopped, Some("2 attempts have failed or were interrupted, and the plan's error budget is 2"));
}

/// The journal holds times of day: of a pause that began in what is now the future, no more than the pause is left.
#[test]
fn a_pause_is_no_longer_than_it_should_be_when_the_clock_was_set_back() {
    let mut steps = steps();
    steps[0].retry = Retry::times(2, Duration::from_secs(1));
    let mut case = Case::new(plan(&["app"], &steps));
    case.before = vec![
        Event::DebtRecorded { deployment: DeploymentId::new("r.app.1") },
        started("app.1/deploy/a", 1),
        ended("app.1/deploy/a", failed().outcome, true),
    ];
    case.before_ms = 3_600_000;
    let begun = std::time::Instant::now();
    let ran = case.run();
    assert_eq!(ran.end, complete());
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
