//! Predictions for plans as people write them, and what holds for every plan.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::schedule::forecast::{Past, about, remaining};
use sb_plan::graph::{Parts, build};
use sb_plan::manifest::read::Snapshot;
use sb_plan::plan::{Overrides, expand};

const HERE: &str = "[targets.here]\ntraces = \"local\"\n";
const CLOUD: &str = "[targets.aws]\ntraces = \"xray\"\nusage = { lambda_requests = 2, lambda_gb_seconds = 0.5 }\nusage_per_deployment = { usd = 0.25 }\n";

/// One application deployed and cleaned up by a command.
fn manifest(targets: &str) -> String {
    format!(
        "[benchmark]\nname = \"app\"\n{targets}[[deploy]]\nname = \"stack\"\nrun = \"true\"\n\
         [[workload.requests]]\nname = \"r\"\nurl = \"http://127.0.0.1:1/\"\n\
         [[cleanup]]\nname = \"stack\"\nrun = \"true\"\n"
    )
}

/// Applications of one manifest, then whatever else the plan says.
fn plan_text(applications: usize, rest: &str) -> String {
    let applications: String = (0..applications)
        .map(|number| {
            format!("[[applications]]\nname = \"app{number}\"\nmanifest = \"../app/benchmark.toml\"\n")
        })
        .collect();
    format!("[plan]\nname = \"p\"\n{applications}{rest}")
}

#[track_caller]
fn planned_by(targets: &str, text: &str) -> Plan {
    let files = Snapshot::new([
        ("/w/.git/HEAD", ""),
        ("/w/app/benchmark.toml", manifest(targets).as_str()),
        ("/w/plans/p.toml", text),
    ]);
    let checked = sb_plan::validate::plan(&files, Path::new("/w/plans/p.toml"), &Overrides::default());
    assert!(checked.value.is_some(), "{:#?}", checked.problems);
    checked.value.unwrap()
}

fn predict(plan: &Plan, assumptions: &Assumptions, history: &History) -> Estimate {
    let run = build(plan, expand(plan), Parts::ALL);
    estimate(plan, &run, assumptions, history, &Prices::built_in())
}

fn predicted(targets: &str, text: &str) -> Estimate {
    predict(&planned_by(targets, text), &Assumptions::default(), &History::default())
}

fn hours(hours: f64) -> Duration {
    Duration::from_secs_f64(hours * 3600.0)
}

/// Ten applications, each deployed twelve times, ten trials on each deployment.
fn study(order: &str, concurrency: &str) -> String {
    plan_text(
        10,
        &format!(
            "[trials]\nrepetitions = 12\nper_deployment = 10\norder = \"{order}\"\n\
             [load]\nconstant = 1\nduration = \"180s\"\n\
             [timing]\nbefore_invoke = \"10s\"\nbefore_traces = \"120s\"\n\
             [concurrency]\ndeploy = 4\n{concurrency}"
        ),
    )
}

/// `most`: how much longer than the lower bound, and `gain`: how much shorter than one after another.
#[track_caller]
fn check_study(targets: &str, order: &str, concurrency: &str, most: f64, gain: f64) {
    let found = predicted(targets, &study(order, concurrency));
    assert_eq!((found.deployments, found.trials, found.invocations), (120, 1200, 216_000));
    assert!(found.lower_bound() >= hours(60.0) && found.sequential >= hours(103.0), "{found:#?}");
    let over = found.makespan.as_secs_f64() / found.lower_bound().as_secs_f64();
    let shorter = found.sequential.as_secs_f64() / found.makespan.as_secs_f64();
    assert!((1.0..=most).contains(&over), "{over}: {found:#?}");
    assert!(shorter >= gain, "{shorter}: {found:#?}");
}

#[test]
fn a_study_of_a_hundred_hours_fits_closely_around_its_sixty_hours_of_loads() {
    check_study(HERE, "interleaved", "", 1.02, 1.7);
    check_study(CLOUD, "interleaved", "", 1.03, 1.75);
    check_study(CLOUD, "random", "", 1.03, 1.75);
    check_study(CLOUD, "interleaved", "quiet = false\n", 1.01, 1.8);
}

#[test]
fn a_sequential_order_takes_as_long_as_everything_one_after_another() {
    let found = predicted(CLOUD, &study("sequential", ""));
    assert_eq!(found.makespan, found.sequential);
    assert_eq!(found.makespan, found.lower_bound());
}

const ONE: &str =
    "[load]\nconstant = 2\nduration = \"10s\"\n[timing]\nbefore_invoke = \"1s\"\nbefore_traces = \"4s\"\n";

fn kind<'a>(found: &'a Estimate, what: &str) -> &'a Kind {
    found.kinds.iter().find(|kind| kind.what == what).unwrap()
}

#[test]
fn durations_are_known_from_the_plan_else_measured_else_assumed() {
    let plan = planned_by(CLOUD, &plan_text(1, ONE));
    let mut assumptions = Assumptions::default();
    for text in ["deploy=30s", "load_margin=0s", "get_traces = 2s"] {
        assumptions.set(text).unwrap();
    }
    let mut history = History::default();
    for milliseconds in [9_000, 7_000, 500] {
        history.add("app", "aws", "cleanup/stack", milliseconds);
    }
    history.add("app", "aws", "t3/analyze-traces", 250);
    history.add("app", "gcp", "deploy/stack", 1);
    let found = predict(&plan, &assumptions, &history);
    for (what, milliseconds, basis) in [
        ("settle", 1_000, Basis::Known),
        ("load", 10_000, Basis::Known),
        ("wait for traces", 4_000, Basis::Known),
        ("deploy: run", 30_000, Basis::Assumed),
        ("get traces", 2_000, Basis::Assumed),
        ("analyze traces", 250, Basis::Measured),
        ("cleanup: run", 7_000, Basis::Measured),
    ] {
        let found = kind(&found, what);
        assert_eq!((found.total.as_millis(), found.basis), (milliseconds, basis), "{what}");
    }
    assert_eq!(found.makespan, Duration::from_millis(54_250));
    assert_eq!(found.invocations, 20);
}

#[test]
fn a_cloud_is_assumed_to_be_slower_than_this_machine() {
    let here = predicted(HERE, &plan_text(1, ONE));
    let cloud = predicted(CLOUD, &plan_text(1, ONE));
    assert_eq!(kind(&here, "deploy: run").total, Duration::from_secs(1));
    assert_eq!(kind(&cloud, "deploy: run").total, Duration::from_secs(90));
    assert_eq!(kind(&cloud, "cleanup: run").total, Duration::from_mins(1));
}

#[test]
fn invocations_one_after_another_take_as_long_as_is_assumed() {
    let plan = planned_by(HERE, &plan_text(1, "[load]\niterations = 30\n"));
    let mut assumptions = Assumptions::default();
    assumptions.set("invocation=200ms").unwrap();
    assumptions.set("load_margin=0s").unwrap();
    let found = predict(&plan, &assumptions, &History::default());
    let load = kind(&found, "load");
    assert_eq!((load.total, load.basis), (Duration::from_secs(6), Basis::Assumed));
    assert_eq!(found.invocations, 30);
}

/// 20 users who wait a second and think for one have a round every two seconds; two trials of a minute are 1200 invocations.
#[test]
fn users_send_about_as_many_as_assumed_answers_let_them() {
    let load = "users = 20\nduration = \"60s\"\nthink_time = \"1s\"\n";
    let found = predicted(HERE, &plan_text(1, &format!("[load]\n{load}[trials]\nper_deployment = 2\n")));
    assert_eq!((found.invocations, found.invocations_basis), (1200, Basis::Assumed));
    assert_eq!(kind(&found, "load").basis, Basis::Known, "the end does not depend on the answers");
    let slow = format!("[load]\n{load}expected_latency = \"3s\"\n");
    assert_eq!(predicted(HERE, &plan_text(1, &slow)).invocations, 300);
}

#[test]
fn an_assumption_that_is_not_understood_says_what_is() {
    for (text, expected) in [
        ("deploy", "deploy=90s"),
        ("depoly=1s", "deploy, cleanup"),
        ("deploy=soon", "90s"),
        ("deploy=2y", "year"),
    ] {
        let error = Assumptions::default().set(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_lock_bounds_what_holds_it() {
    let text = plan_text(0, "").replace("[plan]", "[locks]\n\"aws/us-east-1\" = 2\n[plan]")
        + &"[[applications]]\nname = \"NAME\"\nmanifest = \"../app/benchmark.toml\"\nlocks = [\"aws/us-east-1\"]\n"
            .replace("NAME", "a")
        + "[[applications]]\nname = \"b\"\nmanifest = \"../app/benchmark.toml\"\nlocks = [\"aws/us-east-1\"]\n"
        + "[[applications]]\nname = \"c\"\nmanifest = \"../app/benchmark.toml\"\nlocks = [\"aws/us-east-1\"]\n"
        + "[trials]\norder = \"interleaved\"\n[concurrency]\ndeploy = 9\nquiet = false\n";
    let mut assumptions = Assumptions::default();
    assumptions.set("deploy=10m").unwrap();
    let found = predict(&planned_by(CLOUD, &text), &assumptions, &History::default());
    let bound = found.bounds.iter().find(|bound| bound.what.contains("`aws/us-east-1`")).unwrap();
    // Three deployments of ten minutes through two places, and what else holds the lock.
    assert!(bound.duration >= Duration::from_mins(15), "{bound:?}");
    assert!(found.makespan >= Duration::from_mins(20), "{found:#?}");
}

#[test]
fn cost_is_what_is_declared_times_how_often() {
    let found = predicted(CLOUD, &plan_text(2, "[trials]\nrepetitions = 3\n[load]\niterations = 1000\n"));
    // 6 deployments of 0.25 USD; 6000 invocations of 2 requests and 0.5 GB-s.
    let expected = 6.0 * 0.25 + 12_000.0 * 0.2e-6 + 3_000.0 * 0.000_016_666_7;
    assert!((found.usd().unwrap() - expected).abs() < 1e-9, "{:?}", found.costs);
    let requests = found.costs[0].items["lambda_requests"];
    assert!((requests.0 - 12_000.0).abs() < 1e-9, "{requests:?}");
}

#[test]
fn the_cost_of_a_cloud_that_declares_nothing_is_unknown_and_of_this_machine_nothing() {
    let unknown = predicted("[targets.azure]\n", &plan_text(1, ""));
    assert_eq!((unknown.usd(), unknown.costs[0].free), (None, false));
    let asking = predicted("[targets.lab]\ncredentials = [\"aws\"]\n", &plan_text(1, ""));
    assert_eq!(asking.usd(), None);
    let here = predicted(HERE, &plan_text(1, ""));
    assert_eq!((here.usd(), here.costs[0].free), (Some(0.0), true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn no_plan_is_predicted_below_its_bounds_or_above_everything_one_after_another(
        (applications, repetitions, trials) in (1..5_usize, 1..4_u32, 1..4_u32),
        order in prop::sample::select(vec!["sequential", "interleaved", "random"]),
        (deploy, invoke, quiet) in (1..4_u32, 1..3_u32, any::<bool>()),
        (settle, load, wait) in (0..20_u32, 1..60_u32, 0..90_u32),
        (make, remove, fetch) in (0..90_u32, 0..60_u32, 0..30_u32),
    ) {
        let rest = format!(
            "[trials]\nrepetitions = {repetitions}\nper_deployment = {trials}\norder = \"{order}\"\n\
             [load]\nconstant = 1\nduration = \"{load}s\"\n\
             [timing]\nbefore_invoke = \"{settle}s\"\nbefore_traces = \"{wait}s\"\n\
             [concurrency]\ndeploy = {deploy}\ninvoke = {invoke}\nquiet = {quiet}\n"
        );
        let mut assumptions = Assumptions::default();
        for (name, seconds) in [("deploy", make), ("cleanup", remove), ("get_traces", fetch)] {
            assumptions.set(&format!("{name}={seconds}s")).unwrap();
        }
        let plan = planned_by(CLOUD, &plan_text(applications, &rest));
        let found = predict(&plan, &assumptions, &History::default());
        prop_assert!(found.makespan >= found.lower_bound(), "{:#?}", found);
        prop_assert!(found.makespan <= found.sequential, "{:#?}", found);
    }
}

#[test]
fn what_is_left_of_a_run_shrinks_as_it_goes_and_learns_from_what_it_did() {
    let plan = planned_by(
        HERE,
        &plan_text(1, "[trials]\nper_deployment = 3\n[load]\nconstant = 1\nduration = \"60s\"\n"),
    );
    let run = build(&plan, expand(&plan), Parts::ALL);
    let left = |past: &dyn Fn(&str) -> Past| {
        remaining(&plan, &run, &History::default(), &|step| past(step.as_str()))
    };
    let whole = left(&|_| Past::Waiting);
    assert_eq!(whole, predict(&plan, &Assumptions::default(), &History::default()).makespan);
    assert_eq!(left(&|_| Past::Ended { took: None }), Duration::ZERO);
    // The first load has run for so long.
    let loaded = |since: u64| {
        left(&move |step| match step {
            step if step.contains("/deploy/") => Past::Ended { took: Some(1) },
            step if step.contains("/t1/invoke/") => Past::Running { since },
            _ => Past::Waiting,
        })
    };
    assert_eq!(loaded(15_000), loaded(45_000) + Duration::from_secs(30));
    // One that takes longer than it was planned ends any moment; a guess may be wrong by more.
    assert_eq!(loaded(61_000), loaded(90_000));
    let deploying = |since: u64| {
        left(&move |step| if step.contains("/deploy/") { Past::Running { since } } else { Past::Waiting })
    };
    assert!(deploying(600_000) > deploying(60_000));
    // Fetching the first traces took 20 s: so will the others.
    let fetched = |took: u64| {
        left(&move |step| match step {
            step if step.contains("/deploy/") || step.contains("/t1/") => {
                Past::Ended { took: step.ends_with("get-traces").then_some(took) }
            }
            _ => Past::Waiting,
        })
    };
    assert!(fetched(20_000) > fetched(100) + Duration::from_secs(19));
}

#[test]
fn predictions_are_told_as_exactly_as_they_are_known() {
    for (seconds, text) in [
        (0, "about 0 s"),
        (59, "about 59 s"),
        (119, "about 2 min"),
        (1020, "about 17 min"),
        (7_500, "about 2 h 05 min"),
        (7_199, "about 2 h 00 min"),
    ] {
        assert_eq!(about(Duration::from_secs(seconds)), text);
    }
}
