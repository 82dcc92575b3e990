//! The plans of the study: what they say, and their twins on this machine, each to its report.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::workspace::{Ran, Workspace};

/// The repository itself: plans name applications in other folders of it.
fn here(work: &Workspace, arguments: &[&str]) -> Ran {
    let mut command = work.command(arguments);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("AWS_EC2_METADATA_DISABLED", "true");
    Ran::of(command.output().unwrap())
}

#[test]
fn every_plan_of_the_repository_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let plans: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| format!("plans/{}", file.unwrap().file_name().to_str().unwrap()))
        .collect();
    assert!(plans.len() >= 12, "{plans:?}");
    let work = Workspace::new();
    let plans: Vec<&str> = plans.iter().map(String::as_str).collect();
    let ran = here(&work, &[&["validate", "--strict"], &plans[..]].concat()).expect(0);
    assert!(ran.stderr.contains(&format!("{} files checked, no errors", plans.len())), "{}", ran.stderr);
}

/// Deployments, trials, invocations, and the hours of load, which go one after another: from the figures of the study.
#[track_caller]
fn check_estimate(plan: &str, deployments: u64, trials: u64, invocations: u64, load_hours: f64) {
    let work = Workspace::new();
    let ran = here(&work, &["plan", "estimate", &format!("plans/{plan}.toml"), "--format", "json"]).expect(0);
    let estimate: Value = serde_json::from_str(&ran.stdout).unwrap();
    let count = |key: &str| estimate[key].as_u64().unwrap();
    assert_eq!(
        (count("deployments"), count("trials"), count("invocations")),
        (deployments, trials, invocations)
    );
    let hours = estimate["predicted_s"].as_f64().unwrap() / 3600.0;
    // Whatever the order, it is no shorter than its loads. Deployments and pauses happen beside them, for the most part.
    assert!(hours > load_hours && hours < 1.3 * load_hours + 4.0, "{hours} h");
    let usd = estimate["cost_usd"].as_f64().unwrap();
    assert!((10.0..1000.0).contains(&usd), "{usd} USD");
}

#[test]
fn the_big_plans_have_the_size_that_their_words_say() {
    // Ten applications, twelve deployments, ten trials of four bursts of 20, which take three minutes.
    check_estimate("exp1-latency-breakdown", 120, 1200, 96_000, 60.0);
    // The sum of the levels is 781.
    check_estimate("exp2-load-levels", 70, 70, 10 * 781 * 90, 1.75);
    // The sum of the rates is 890. Three of the twenty minutes are left out.
    check_estimate("exp3-invocation-patterns", 40, 40, 4 * 890 * 17 * 60, 40.0 * 17.0 / 60.0);
    // A second at four times the rate, and three of nothing, are as many as at the rate.
    check_estimate("exp3-artificial-patterns", 20, 20, 2 * 890 * 20 * 60, 20.0 * 20.0 / 60.0);
}

/// Writes the report of the last run, and looks at its page in Chromium where that is installed, as it is in CI.
#[track_caller]
fn check_page(work: &Workspace) {
    work.sb(&["report", "--output", "page"]).expect(0);
    let page = work.path().join("page/report.html");
    let text = std::fs::read_to_string(&page).unwrap();
    for wanted in ["Latency by request type", "Critical paths of hello-http", "The run as its steps"] {
        assert!(text.contains(wanted), "{wanted} is not in the page");
    }
    if !Command::new("chromedriver").arg("--version").output().is_ok_and(|found| found.status.success()) {
        // Past the test harness, which would swallow what is printed.
        let _ = writeln!(std::io::stderr(), "SKIPPED a look at a report in Chromium: it has no chromedriver");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/report_browser.py");
    let looked = Command::new("python3").args([script, "--open"]).arg(page).output().unwrap();
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
}

/// Runs a twin to its end and its report. `labels`: of each application. `sent`: requests of both applications together.
#[track_caller]
fn check_twin(plan: &str, labels: &[&str], sent: u64) -> Workspace {
    let work = Workspace::new();
    work.copy("examples");
    work.copy("plans");
    let ran = work.sb(&["run", &format!("plans/{plan}.toml")]);
    // A busy machine may miss a tolerance. Then the run says so, and is complete all the same.
    assert!([0, 5].contains(&ran.code) && ran.stderr.contains("cleanup complete"), "{}", ran.stderr);
    let report = work.sb(&["report", "--format", "json"]).expect(0);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let groups = report["applications"].as_array().unwrap();
    let found: BTreeSet<(&str, &str)> = groups
        .iter()
        .map(|group| {
            (group["application"].as_str().unwrap(), group["labels"]["label"].as_str().unwrap_or_default())
        })
        .collect();
    let expected: BTreeSet<(&str, &str)> = ["async-pipeline", "hello-http"]
        .into_iter()
        .flat_map(|application| labels.iter().map(move |label| (application, *label)))
        .collect();
    // A plan of one label has no need to group by it.
    if labels.len() > 1 {
        assert_eq!(found, expected);
    }
    let sum = |key: &str| groups.iter().map(|group| group["load"][key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum("planned"), sent);
    assert_eq!(sum("sent") + sum("dropped"), sent);
    let traces: u64 = groups.iter().filter_map(|group| group["traces"]["valid"].as_u64()).sum();
    assert!(traces >= sent / 2, "{traces} valid traces of {sent} requests");
    for application in ["async-pipeline", "hello-http"] {
        for invocation in
            std::fs::read_dir(work.path().join("examples").join(application).join("logs")).unwrap()
        {
            let config = std::fs::read_to_string(invocation.unwrap().path().join("sb_config.yml")).unwrap();
            assert!(
                labels.iter().any(|label| config.contains(label)),
                "the study's readers find it: {config}"
            );
        }
    }
    assert_eq!(work.processes(), Vec::<String>::new());
    check_page(&work);
    work
}

#[test]
fn the_twin_of_experiment_1_meets_cold_and_warm_functions() {
    let work = check_twin("exp1-local", &["exp1_latency_breakdown_4x_burst20"], 2 * 4 * 80);
    let folder = work.path().join("examples/hello-http/logs");
    let mut cold = 0;
    let mut all = 0;
    for invocation in std::fs::read_dir(folder).unwrap() {
        let mut rows =
            csv::Reader::from_path(invocation.unwrap().path().join("trace_breakdown.csv")).unwrap();
        let column = rows.headers().unwrap().iter().position(|name| name == "num_cold_starts").unwrap();
        for row in rows.records() {
            all += 1;
            cold += usize::from(&row.unwrap()[column] != "0");
        }
    }
    assert!(cold > 0 && all > 2 * cold, "{cold} of {all} traces are cold");
}

#[test]
fn the_twin_of_experiment_2_has_a_group_for_each_level() {
    let labels = ["exp2_load_levels_1", "exp2_load_levels_5", "exp2_load_levels_20"];
    check_twin("exp2-local", &labels, 2 * 26 * 6);
}

#[test]
fn the_twin_of_experiment_3_has_a_group_for_each_pattern() {
    let labels = ["steady", "fluctuating", "jump", "spikes"]
        .map(|pattern| format!("exp3_workload_types_20min_{pattern}"));
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    // 17 minutes at a tenth, and at a twenty-fifth, of a request per second.
    check_twin("exp3-local", &labels, 4 * (102 + 41));
}

#[test]
fn the_twin_with_artificial_patterns_sends_in_one_second_of_four() {
    let labels = ["exp3_workload_types_20min_constant", "exp3_workload_types_20min_on_off"];
    let work = check_twin("exp3-artificial-local", &labels, 2 * 16 * (8 + 4));
    let folder = work.path().join("examples/hello-http/logs");
    let mut planned_seconds = BTreeSet::new();
    for invocation in std::fs::read_dir(folder).unwrap() {
        let mut rows = csv::Reader::from_path(invocation.unwrap().path().join("invocations.csv")).unwrap();
        let column = rows.headers().unwrap().iter().position(|name| name == "planned").unwrap();
        let planned: Vec<f64> = rows.records().map(|row| row.unwrap()[column].parse().unwrap()).collect();
        let first = planned.iter().copied().fold(f64::INFINITY, f64::min);
        // The first of 32 in a second is due a 32nd of a second after its beginning.
        let seconds: BTreeSet<i64> = planned.iter().map(|time| (time - first + 0.03) as i64).collect();
        planned_seconds.insert(seconds.into_iter().collect::<Vec<_>>());
    }
    let expected = BTreeSet::from([(0..16).collect(), vec![0, 4, 8, 12]]);
    assert_eq!(planned_seconds, expected);
}
