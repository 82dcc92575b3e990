//! Predictions, the question before a run, and trials that are declared cold or warm.

use serde_json::Value;

use crate::workspace::Workspace;

const QUICK: &str = "[benchmark]\nname = \"quick\"\n[targets.TARGET]\n[[deploy]]\nname = \"stack\"\nrun = \"true\"\n\
    [[invoke]]\nname = \"call\"\nrun = \"true\"\n[[cleanup]]\nname = \"stack\"\nrun = \"true\"\n";
const PLAN: &str =
    "[plan]\nname = \"p\"\nexecutor = \"host\"\n[[applications]]\nmanifest = \"../quick/benchmark.toml\"\n";

/// A workspace with one application of host commands on a target of this name.
fn quick(target: &str, usage: &str, rest: &str) -> Workspace {
    let work = Workspace::new();
    let manifest = QUICK.replace("[targets.TARGET]", &format!("[targets.{target}]\n{usage}"));
    work.write("quick/benchmark.toml", &manifest);
    work.write("plans/p.toml", &format!("{PLAN}{rest}"));
    work
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn an_estimate_learns_from_the_runs_of_the_workspace_and_makes_no_state() {
    let work = quick("here", "", "[trials]\nrepetitions = 2\n");
    let estimate = |arguments: &[&str]| {
        json(&work.sb(&[&["plan", "estimate", "plans/p.toml"], arguments].concat()).expect(0).stdout)
    };
    let before = estimate(&["--format", "json", "--assume", "deploy=50s,cleanup=20s"]);
    assert_eq!((&before["deployments"], &before["trials"]), (&Value::from(2), &Value::from(2)));
    assert_eq!(before["predicted_s"], 142.0, "{before:#}");
    assert!(!work.path().join(".sb").exists());
    work.sb(&["run", "plans/p.toml"]).expect(0);
    let after = estimate(&["--format", "json", "--assume", "deploy=50s,cleanup=20s"]);
    let kinds = after["kinds"].as_array().unwrap();
    assert!(kinds.iter().all(|kind| kind["basis"] == "measured"), "{after:#}");
    assert!(after["predicted_s"].as_f64().unwrap() < 20.0, "{after:#}");
    let text = work.sb(&["plan", "estimate", "plans/p.toml"]).expect(0).stdout;
    for part in ["predicted duration", "lower bound", "one after another", "earlier runs", "it uses no cloud"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    work.sb(&["plan", "estimate", "plans/p.toml", "--assume", "depoly=1s"]).expect(2);
    let counts =
        json(&work.sb(&["plan", "show", "--summary", "plans/p.toml", "--format", "json"]).expect(0).stdout);
    assert_eq!(counts["steps"], 6);
}

#[test]
fn a_long_run_is_not_started_without_an_answer() {
    let work = quick("here", "", "");
    let run = |limit: &str, arguments: &[&str]| {
        let mut command = work.command(&[&["run", "plans/p.toml"], arguments].concat());
        command.env("SB_CONFIRM_DURATION", limit);
        crate::workspace::Ran::of(command.output().unwrap())
    };
    let refused = run("1ms", &[]).expect(2);
    assert!(
        refused.stderr.contains("--yes") && refused.stderr.contains("no terminal to ask"),
        "{}",
        refused.stderr
    );
    let runs = json(&work.sb(&["status", "--format", "json"]).expect(0).stdout);
    assert_eq!(runs["runs"].as_array().unwrap().len(), 0, "{runs:#}");
    run("1ms", &["--yes"]).expect(0);
    run("1h", &[]).expect(0);
    run("soon", &[]).expect(2);
}

#[test]
fn a_run_that_is_dear_or_of_unknown_cost_is_not_started_without_an_answer() {
    let unknown = quick("aws", "", "");
    let refused = unknown.sb(&["run", "plans/p.toml"]).expect(2);
    assert!(refused.stderr.contains("unknown amount on `aws`"), "{}", refused.stderr);
    unknown.sb(&["run", "plans/p.toml", "--yes"]).expect(0);

    let cheap = quick("aws", "usage_per_deployment = { usd = 3 }", "");
    cheap.sb(&["run", "plans/p.toml"]).expect(0);
    let dear = quick("aws", "usage_per_deployment = { usd = 11 }", "");
    assert!(dear.sb(&["run", "plans/p.toml"]).expect(2).stderr.contains("11.00 USD"));

    let budget = quick("aws", "usage_per_deployment = { usd = 3 }", "[budget]\ncost_usd = 2.5\n");
    let refused = budget.sb(&["run", "plans/p.toml", "--yes"]).expect(2);
    assert!(refused.stderr.contains("its budget is 2.5 USD"), "{}", refused.stderr);
    let prices = budget.write(
        "prices.toml",
        "[usd]\nwhat = \"half\"\nprovider = \"any\"\nregion = \"any\"\nusd = 0.5\nper = 1\nas_of = \"2026-01\"\nsource = \"us\"\n",
    );
    let mut command = budget.command(&["run", "plans/p.toml"]);
    crate::workspace::Ran::of(command.env("SB_PRICES", &prices).output().unwrap()).expect(0);
    let mut command = budget.command(&["run", "plans/p.toml"]);
    let ran = crate::workspace::Ran::of(command.env("SB_PRICES", "/gone.toml").output().unwrap()).expect(2);
    assert!(ran.stderr.contains("SB_PRICES"), "{}", ran.stderr);
}

/// Two trials on one deployment of a function that nothing has called before.
#[track_caller]
fn check_start(start: &str, expected: i32, invalid: &[&str]) {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    work.write(
        "examples/hello-http/benchmark.toml",
        "[benchmark]\nname = \"hello\"\n[targets.local]\ntraces = \"local\"\n\
         [[deploy]]\nname = \"stack\"\nlocal = { template = \"template.yaml\" }\n\
         [[workload.requests]]\nname = \"hello\"\nurl = \"{{outputs.endpoint}}/hello\"\n\
         [[cleanup]]\nname = \"stack\"\nlocal = { down = true }\n",
    );
    work.write(
        "plans/p.toml",
        &format!(
            "[plan]\nname = \"p\"\nexecutor = \"host\"\n[[applications]]\nmanifest = \"../examples/hello-http/benchmark.toml\"\n\
             [matrix]\nstart = [\"{start}\"]\n[trials]\nper_deployment = 2\norder = \"random\"\nseed = 77\nstart = \"{{{{matrix.start}}}}\"\n\
             [load]\niterations = 3\n"
        ),
    );
    let ran = work.sb(&["run", "plans/p.toml"]).expect(expected);
    for part in invalid {
        assert!(
            ran.stderr.contains(part) || ran.stdout.contains(part),
            "{part}: {}\n{}",
            ran.stderr,
            ran.stdout
        );
    }
    // The seed of a random order is recorded with every invocation.
    for logs in std::fs::read_dir(work.path().join("examples/hello-http/logs")).unwrap() {
        let run = std::fs::read_to_string(logs.unwrap().path().join("run.json")).unwrap();
        assert_eq!(json(&run)["seed"], 77, "{run}");
    }
    assert_eq!(work.processes(), Vec::<String>::new());
}

#[test]
fn trials_that_are_not_as_cold_or_warm_as_declared_are_invalid() {
    check_start("cold_then_warm", 0, &[]);
    check_start("warm", 5, &["was to be warm, and 1 of 3 traces met a cold start"]);
    check_start("cold", 5, &["was to be cold, and its first trace"]);
}

#[test]
fn deployments_and_cleanups_fail_as_often_as_the_target_says() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    let manifest = |deploys: u32, cleanups: u32| {
        work.write(
            "examples/hello-http/benchmark.toml",
            &format!(
                "[benchmark]\nname = \"hello\"\n[targets.local]\ntraces = \"local\"\n\
                 faults = {{ deploy = {deploys}, cleanup = {cleanups} }}\n\
                 [[deploy]]\nname = \"stack\"\nlocal = {{ template = \"template.yaml\" }}\n\
                 retry = {{ attempts = 2, delay = \"10ms\" }}\n\
                 [[workload.requests]]\nname = \"hello\"\nurl = \"{{{{outputs.endpoint}}}}/hello\"\n\
                 [[cleanup]]\nname = \"stack\"\nlocal = {{ down = true }}\n"
            ),
        );
        let ran = work.sb_in("examples/hello-http", &["test", "--executor", "host", "2"]);
        (ran.code, format!("{}{}", ran.stdout, ran.stderr))
    };
    // One failure is outlived by a second attempt, two are not; and a cleanup that failed is owed, and paid later.
    let (code, said) = manifest(1, 0);
    assert_eq!(code, 0, "{said}");
    let (code, said) = manifest(2, 0);
    assert!(
        code == 1 && said.contains("attempt 2 of 2 that fail on purpose (`faults.deploy`"),
        "{code} {said}"
    );
    assert_eq!(work.processes(), Vec::<String>::new());
    let (code, said) = manifest(0, 1);
    assert!(code == 4 && said.contains("`faults.cleanup`"), "{code} {said}");
    assert_ne!(work.processes(), Vec::<String>::new());
    work.sb_in("examples/hello-http", &["cleanup", "--executor", "host"]).expect(0);
    assert_eq!(work.processes(), Vec::<String>::new());
}

#[test]
fn a_parameter_of_the_template_alone_is_read_on_the_local_target() {
    let work = Workspace::new();
    let sb = |arguments: &[&str]| work.sb(arguments);
    sb(&["new", "shop", "--target", "aws,local"]).expect(0);
    std::fs::create_dir_all(work.path().join("shop/plans")).unwrap();
    let plan = "[plan]\nname = \"sizes\"\n[[applications]]\nmanifest = \"../benchmark.toml\"\ntarget = \"local\"\n\
                [matrix]\nmemory_size = [128, 256]\n[params]\nmemory_size = \"{{matrix.memory_size}}\"\n";
    work.write("shop/plans/sizes.toml", plan);
    sb(&["validate", "shop/plans/sizes.toml"]).expect(0);
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_found_before_a_run_waits_for_it() {
    let work = Workspace::new();
    let manifest = "[benchmark]\nname = \"p\"\n[targets.local]\ntraces = \"none\"\n[[workload.requests]]\nname = \"r\"\n\
                    method = \"POST\"\nurl = \"http://127.0.0.1:9/\"\nbody_file = \"pipe\"\n";
    work.write("benchmark.toml", manifest);
    assert!(std::process::Command::new("mkfifo").arg(work.path().join("pipe")).status().unwrap().success());
    let refused = work.sb(&["validate"]).expect(3);
    let text = refused.stdout + &refused.stderr;
    assert!(text.contains("the body file `pipe` is no regular file"), "{text}");
}
