//! What changed between two runs: `sb report compare`.

use std::fmt::Write as _;

use crate::workspace::Workspace;

/// Writes trials of one type of request, with latencies around 100 ms times `factor`; of each trial, `failed` requests fail.
fn measured(work: &Workspace, name: &str, trials: u32, factor: f64, failed: u32) {
    for trial in 0..trials {
        let mut rows = String::from(
            "invocation,request,trace_id,planned,sent,answered,latency_ms,latency_from_planned_ms,status,outcome\n",
        );
        for number in 1..=100_u32 {
            // A trial is up to 2 % slower than another, and its requests spread over 40 ms.
            let spread = f64::from(number * 37 % 100) * 0.4 + f64::from(trial * 7 % 5) * 0.5;
            let micros = ((80.0 + spread) * factor * 1000.0).round() as u64;
            let (status, outcome) = if number <= failed { (500, "failed_check") } else { (200, "ok") };
            let milliseconds = format!("{}.{:03}", micros / 1000, micros % 1000);
            writeln!(
                rows,
                "{number},get,,1700000000.000000,1700000000.000000,1700000000.{micros:06},{milliseconds},{milliseconds},{status},\
                 {outcome}"
            )
            .unwrap();
        }
        let folder = format!("{name}/logs/2026-01-31_12-00-{trial:02}");
        work.write(&format!("{folder}/invocations.csv"), &rows);
        let run = format!(
            r#"{{"run": "{name}", "application": "shop", "deployment": "shop", "trial": "t{trial}", "step": "invoke", "attempt": 1}}"#
        );
        work.write(&format!("{folder}/run.json"), &run);
    }
}

#[test]
fn a_comparison_ends_with_what_it_found() {
    let work = Workspace::new();
    measured(&work, "before", 5, 1.0, 0);
    measured(&work, "same", 5, 1.001, 0);
    measured(&work, "slower", 5, 1.1, 0);
    measured(&work, "failing", 5, 1.0, 20);
    measured(&work, "single", 1, 2.0, 0);
    let compare = |after: &str, more: &[&str]| {
        work.sb(&[&["report", "compare", "before", after, "--fail-on-regression", "5%"], more].concat())
    };

    let same = compare("same", &[]).expect(0);
    assert!(
        same.stdout.contains("no difference seen") && same.stderr.is_empty(),
        "{}{}",
        same.stdout,
        same.stderr
    );
    let slower = compare("slower", &[]).expect(8);
    assert!(slower.stdout.contains("+10.0 %"), "{}", slower.stdout);
    assert!(
        slower.stderr.contains("regression of more than 5 %:\n  shop get: latency p50"),
        "{}",
        slower.stderr
    );
    let failing = compare("failing", &[]).expect(8);
    assert!(failing.stderr.contains("failed requests, 0.0 % before and 20.0 % after"), "{}", failing.stderr);
    // Twice as slow, and yet nothing to be sure of.
    let single = compare("single", &[]).expect(1);
    assert!(single.stderr.contains("nothing can be said about regressions"), "{}", single.stderr);
    assert!(single.stdout.contains("too few trials"), "{}", single.stdout);

    // Without the option a slower run is no error, and a share that is large enough is allowed.
    work.sb(&["report", "compare", "before", "slower"]).expect(0);
    work.sb(&["report", "compare", "before", "slower", "--fail-on-regression", "0.2"]).expect(0);

    let json = compare("slower", &["--format", "json"]).expect(8);
    let found: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(found["regressions"][0]["quantity"], "latency");
    let group = &found["comparison"]["groups"][0];
    assert_eq!((&group["trials"][0], &group["group"]["application"]), (&5.into(), &"shop".into()));
    let ratio = &group["quantities"][1]["figures"][0]["ratio"];
    assert!((ratio["value"].as_f64().unwrap() - 1.1).abs() < 0.001, "{ratio}");
    assert!(ratio["low"].as_f64().unwrap() > 1.05 && ratio["high"].as_f64().unwrap() < 1.15, "{ratio}");
    let markdown = compare("slower", &["--format", "markdown"]).expect(8);
    assert!(markdown.stdout.contains("| **slower** |"), "{}", markdown.stdout);
}

/// A gate is not green because what it would judge is gone.
#[test]
fn an_application_that_vanished_is_a_regression() {
    let work = Workspace::new();
    for name in ["before", "after"] {
        measured(&work, name, 5, 1.0, 0);
    }
    measured(&work, "other", 5, 1.0, 0);
    let rename = |name: &str| {
        for trial in 0..5 {
            let folder = format!("{name}/logs/2026-01-31_12-00-{trial:02}");
            let run = format!(
                r#"{{"run": "o", "application": "cart", "deployment": "cart", "trial": "t{trial}", "step": "invoke", "attempt": 1}}"#
            );
            work.write(&format!("{folder}/run.json"), &run);
        }
    };
    rename("other");
    std::fs::rename(work.path().join("other"), work.path().join("before/other")).unwrap();
    let gate = |sides: [&str; 2], code| {
        work.sb(&["report", "compare", sides[0], sides[1], "--fail-on-regression", "5%"]).expect(code)
    };
    let gone = gate(["before", "after"], 8);
    assert!(gone.stderr.contains("nothing of it after:\n  cart get: requests\n"), "{}", gone.stderr);
    // What is new is no regression, and nothing is one without the option.
    gate(["after", "before"], 0);
    work.sb(&["report", "compare", "before", "after"]).expect(0);
    let json =
        work.sb(&["report", "compare", "before", "after", "--fail-on-regression", "5%", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.expect(8).stdout).unwrap();
    assert_eq!(json["vanished"][0]["group"], "cart get");
}

#[test]
fn two_levels_of_a_factor_of_one_run_are_compared() {
    let work = Workspace::new();
    for (level, factor) in [("none", 1.0), ("otel", 1.1)] {
        measured(&work, &format!("run/{level}"), 5, factor, 0);
        for trial in 0..5 {
            let run = format!(
                r#"{{"run": "r", "application": "shop", "deployment": "shop-{level}", "trial": "t{trial}", "step": "invoke-{level}",
                     "attempt": 1, "factors": {{"instrumentation": "{level}", "size": 1}}}}"#
            );
            work.write(&format!("run/{level}/logs/2026-01-31_12-00-{trial:02}/run.json"), &run);
        }
    }
    // As a whole, the two levels are groups of their own.
    work.sb(&["report", "compare", "run", "run", "--fail-on-regression", "5%"]).expect(0);
    let compare = |levels: &str| {
        work.sb(&["report", "compare", "run", "--levels", levels, "--fail-on-regression", "5%"])
    };
    let slower = compare("instrumentation=none,otel").expect(8);
    assert!(slower.stdout.contains("+10.0 %"), "{}", slower.stdout);
    assert_eq!(slower.stdout.matches("(5 folders)").count(), 2, "{}", slower.stdout);
    assert!(slower.stderr.contains("shop get size=1: latency p50"), "{}", slower.stderr);
    compare("instrumentation=otel,none").expect(0);
    let unknown = compare("instrumentation=none,xray").expect(1);
    assert!(unknown.stderr.contains("nothing was measured at instrumentation=xray"), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("it was measured at none, otel"), "{}", unknown.stderr);
    assert!(compare("color=red,blue").expect(1).stderr.contains("a factor of the plan's [matrix]"));
    for wrong in ["instrumentation", "instrumentation=none", "=a,b", "x=a,a"] {
        let refused = compare(wrong).expect(2);
        assert!(refused.stderr.contains("two of its levels"), "{}", refused.stderr);
    }
    work.sb(&["report", "compare", "run"]).expect(2);
}

#[test]
fn what_cannot_be_compared_is_an_error() {
    let work = Workspace::new();
    measured(&work, "before", 2, 1.0, 0);
    work.write("empty/notes.txt", "nothing");
    let empty = work.sb(&["report", "compare", "before", "empty"]).expect(1);
    assert!(empty.stderr.contains("`empty` has no measurements"), "{}", empty.stderr);
    let unknown = work.sb(&["report", "compare", "before", "nonsense"]).expect(2);
    assert!(unknown.stderr.contains("nonsense"), "{}", unknown.stderr);
    work.sb(&["report", "compare", "before"]).expect(2);
    let wrong = work.sb(&["report", "compare", "before", "before", "--fail-on-regression", "5"]).expect(2);
    assert!(wrong.stderr.contains("write a share such as 5% or 0.05"), "{}", wrong.stderr);
    work.write("before/logs/2026-01-31_12-00-00/invocations.csv", "a,b\n");
    // One damaged folder is named and left out; the others are compared.
    let damaged = work.sb(&["report", "compare", "before", "before"]).expect(0);
    assert!(damaged.stdout.contains("a folder was left out: "), "{}", damaged.stdout);
    assert!(damaged.stdout.contains("(1 folder)"), "{}", damaged.stdout);
    work.write("before/logs/2026-01-31_12-00-01/invocations.csv", "a,b\n");
    let damaged = work.sb(&["report", "compare", "before", "before"]).expect(1);
    assert!(damaged.stderr.contains("invocations.csv"), "{}", damaged.stderr);
}

/// Half of the data cannot show that nothing got worse.
#[test]
fn a_gate_is_not_green_without_a_damaged_folder() {
    let work = Workspace::new();
    measured(&work, "before", 5, 1.0, 0);
    measured(&work, "after", 5, 1.0, 0);
    let gate = |code| {
        let found = work.sb(&["report", "compare", "before", "after", "--fail-on-regression", "5%"]);
        found.expect(code)
    };
    gate(0);
    work.write("after/logs/2026-01-31_12-00-03/invocations.csv", "a,b\n");
    let incomplete = gate(1);
    assert!(incomplete.stderr.contains("left out as damaged: 1 folder of"), "{}", incomplete.stderr);
    assert!(incomplete.stdout.contains("no difference seen"), "{}", incomplete.stdout);
    work.sb(&["report", "compare", "before", "after"]).expect(0);
    // What is surely worse is, with or without the folder.
    measured(&work, "after", 5, 1.2, 0);
    work.write("after/logs/2026-01-31_12-00-03/invocations.csv", "a,b\n");
    gate(8);
}

/// Screen, JSON and page count the same folders.
#[test]
fn a_damaged_folder_counts_nowhere_in_a_report() {
    let work = Workspace::new();
    measured(&work, "runs", 5, 1.0, 0);
    let path = "runs/logs/2026-01-31_12-00-03/invocations.csv";
    let whole = std::fs::read_to_string(work.path().join(path)).unwrap();
    work.write(path, &whole.replacen("get,,1700000000.000000", "get,,soon", 1));
    let screen = work.sb(&["report", "runs"]).expect(0);
    assert!(screen.stdout.contains("4 invocation folders"), "{}", screen.stdout);
    let json = work.sb(&["report", "runs", "--format", "json"]).expect(0);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["applications"][0]["load"]["sent"], 400);
    assert_eq!((&json["groups"][0]["requests"], &json["executions"]), (&400.into(), &4.into()));
    let said = |note: &&serde_json::Value| note["message"].as_str().unwrap().contains("left out as a whole");
    assert_eq!(json["notes"].as_array().unwrap().iter().filter(said).count(), 1, "{:#}", json["notes"]);
    work.sb(&["report", "runs", "--output", "page"]).expect(0);
    let summary = std::fs::read_to_string(work.path().join("page/summary.md")).unwrap();
    assert!(summary.contains("4 executions, 400 requests"), "{summary}");
}

/// An application that no file names is called as its folder, and its traces are analysed first, whatever is asked for.
#[test]
fn traces_alone_are_analysed_and_named_by_their_folder() {
    let id = "1-6553f100-0af7651916cd43dd8448eb21";
    let document = format!(
        r#"{{\"id\":\"0000000000000001\",\"trace_id\":\"{id}\",\"name\":\"a\",\"start_time\":1700000000,\"end_time\":1700000000.1}}"#
    );
    let trace =
        format!(r#"{{"Id":"{id}","Duration":0.1,"Segments":[{{"Id":"a","Document":"{document}"}}]}}"#);
    let check = |arguments: &[&str], expected: &str| {
        let work = Workspace::new();
        for side in ["one", "two"] {
            work.write(&format!("{side}/shop/logs/2026-01-01_00-00-00/traces.json"), &trace);
        }
        let found = work.sb(&[&["report"], arguments].concat()).expect(0);
        assert!(found.stdout.contains(expected), "{arguments:?}: {}", found.stdout);
        assert!(!found.stdout.contains("invocations\""), "{arguments:?}: {}", found.stdout);
    };
    check(&["one"], "shop  ");
    check(&["one", "--format", "json"], r#""application": "shop""#);
    check(&["compare", "one", "two"], "shop, warm");
}
