//! Applications that fail: the cause is where a person looks, and nothing is green.

use serde_json::Value;

use crate::workspace::Workspace;

const MANIFEST: &str = r#"
[benchmark]
name = "app"
[targets.local]
traces = "local"
[[deploy]]
name = "up"
local = { template = "template.yaml" }
[[workload.requests]]
name = "hello"
url = "{{outputs.endpoint}}/hello"
[[cleanup]]
name = "down"
local = { down = true }
"#;

/// An application with this code, in which `NAME` stands for the runtime and file.
fn application(runtime: &str, file: &str, code: &str) -> Workspace {
    let work = Workspace::new();
    work.write("benchmark.toml", MANIFEST);
    work.write(
        "template.yaml",
        &format!(
            "Transform: AWS::Serverless-2016-10-31\nResources:\n  Hello:\n    Type: AWS::Serverless::Function\n    Properties:\n      \
             CodeUri: src\n      Handler: app.handler\n      Runtime: {runtime}\n      Events:\n        Get:\n          \
             Type: HttpApi\n          Properties: {{ Path: /hello, Method: get }}\n"
        ),
    );
    work.write(&format!("src/{file}"), code);
    work
}

#[test]
fn a_function_that_cannot_start_is_the_cause_on_every_screen() {
    let work = application(
        "python3.12",
        "app.py",
        "import nothing_of_that_name\ndef handler(event, context): pass\n",
    );
    let cause = "ModuleNotFoundError: No module named 'nothing_of_that_name'";
    let ran = work.sb(&["test", "--executor", "host"]).expect(5);
    let status = "failed_check 1: HTTP 500 ×1";
    assert!(ran.stderr.contains(cause) && ran.stderr.contains(status), "{}", ran.stderr);
    let load = "app.1/t1/invoke/load";
    let why = work.sb(&["why", load]).expect(0).stdout;
    assert!(why.contains("its trial is invalid") && why.contains(cause), "{why}");
    let log = work.sb(&["logs", load]).expect(0).stdout;
    assert!(log.contains(status) && log.contains(cause), "{log}");
    let traces = work.sb(&["trace", "list"]).expect(0).stdout;
    let lines: Vec<&str> = traces.lines().collect();
    assert!(lines[0].starts_with("trace ") && lines[0].ends_with("state"), "{traces}");
    assert!(lines.len() == 2 && lines[1].ends_with("valid, failed"), "{traces}");

    let report: Value =
        serde_json::from_str(&work.sb(&["report", "--format", "json"]).expect(0).stdout).unwrap();
    let application = &report["applications"][0];
    assert_eq!(application["load"]["latency_ms"], Value::Null, "{application:#}");
    assert!(application["load"]["failed_latency_ms"]["p50"].is_f64(), "{application:#}");
    assert_eq!(application["traces"]["failed"], 1, "{application:#}");
    assert_eq!(application["traces"]["median"], Value::Null, "{application:#}");
    assert!(application["invalid"].to_string().contains("nothing_of_that_name"), "{application:#}");
}

#[test]
fn a_template_that_nobody_built_is_not_deployed() {
    let work =
        application("nodejs20.x", "app.ts", "export const handler = async () => ({ statusCode: 200 });\n");
    let checked = work.sb(&["validate"]).expect(0);
    assert!(checked.stderr.contains("needs `app.js` in `src`"), "{}", checked.stderr);
    if std::process::Command::new("node").arg("--version").output().is_err() {
        return;
    }
    let refused = work.sb(&["test", "--executor", "host"]).expect(1);
    assert!(refused.stderr.contains("there is no `app.js`"), "{}", refused.stderr);
}

/// Of answers that differ in time: what the screen says at the end of a load, its summary and the report are one figure.
#[test]
fn percentiles_are_the_same_wherever_they_stand() {
    let work = application(
        "python3.12",
        "app.py",
        "import time\ncount = 0\ndef handler(event, context):\n    global count\n    count += 1\n    time.sleep(count / 300)\n    \
         return {'statusCode': 200 if count % 5 else 418}\n",
    );
    let ran = work.sb(&["test", "20", "--executor", "host", "--max-error-rate", "1"]).expect(0);
    let folder = std::fs::read_dir(work.path().join("logs")).unwrap().next().unwrap().unwrap().path();
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
    };
    let summary = read("load_summary.json");
    let report: Value =
        serde_json::from_str(&work.sb(&["report", "--format", "json"]).expect(0).stdout).unwrap();
    let load = &report["applications"][0]["load"];
    for table in ["latency_ms", "latency_from_planned_ms", "failed_latency_ms"] {
        for rank in ["p50", "p95", "p99"] {
            assert_eq!(summary[table][rank], load[table][rank], "{table} {rank}");
        }
    }
    assert_eq!((&summary["failed"], &load["failed"]), (&Value::from(4), &Value::from(4)));
    // The groups of a report have the same numbers, in nanoseconds.
    let is_all = |group: &&Value| group["request_type"].is_null() && group["status"].is_null();
    let group = report["groups"].as_array().unwrap().iter().find(is_all).unwrap();
    for (table, of_group) in [("latency_ms", "latency"), ("failed_latency_ms", "failed_latency")] {
        for rank in ["p50", "p99"] {
            let [one, other] = [&summary[table][rank], &group[of_group][format!("{rank}_ns")]];
            let difference = one.as_f64().unwrap() - other.as_f64().unwrap() / 1e6;
            assert!(difference.abs() < 1e-5, "{of_group} {rank}: {one} ms and {other} ns");
        }
    }
    let p50 = format!("latency      p50 {:.2} ", summary["latency_ms"]["p50"].as_f64().unwrap());
    assert!(ran.stderr.contains(&p50), "{p50}: {}", ran.stderr);
    // Whoever watched the load saw the same at its end.
    let progress =
        work.files().into_iter().find(|path| path.ends_with("invoke/load/1/progress.jsonl")).unwrap();
    let text = std::fs::read_to_string(progress).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["p50_ms"], &last["p99_ms"]),
        (&summary["latency_ms"]["p50"], &summary["latency_ms"]["p99"])
    );
    assert_eq!(last["answered"], 20);
    assert_eq!(read("run.json")["load"]["kind"], "iterations");
}

#[test]
fn a_look_makes_no_state_and_a_command_names_what_it_wrote() {
    let work =
        application("python3.12", "app.py", "def handler(event, context): return {'statusCode': 200}\n");
    for (arguments, code) in [
        (&["status"][..], 0),
        (&["runs"], 0),
        (&["leaks"], 0),
        (&["report"], 1),
        (&["config", "show"], 1),
        (&["trace", "list"], 1),
        (&["resume"], 0),
        (&["cleanup", "gone"], 2),
    ] {
        work.sb(arguments).expect(code);
        assert!(!work.path().join(".sb").exists(), "{arguments:?}");
    }
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    let invoked = work.sb(&["invoke", "1", "--executor", "host"]).expect(0).stderr;
    assert!(invoked.contains("invocations.csv") && !invoked.contains("traces.json"), "{invoked}");
    let fetched = work.sb(&["get-traces", "--executor", "host"]).expect(0).stderr;
    assert!(fetched.contains("traces.json") && !fetched.contains("invocations.csv"), "{fetched}");
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
}

#[test]
fn a_deployment_that_failed_says_why_once_on_every_screen() {
    let work = application("python3.12", "app.py", "def handler(event, context): pass\n");
    work.write("src/app.py", "");
    // Only the local target finds it, when it starts.
    let template = work.read("template.yaml").replace("app.handler", "pack.app.handler");
    work.write("template.yaml", &template);
    work.sb(&["test", "--executor", "host"]).expect(1);
    let cause = "there is no `pack/app.py`";
    for words in [&["logs"][..], &["logs", "deploy/up"]] {
        let ran = work.sb(words).expect(0);
        assert!(ran.stdout.contains(cause), "{words:?}: {} {}", ran.stdout, ran.stderr);
    }
    let why = work.sb(&["why", "deploy/up"]).expect(0).stdout;
    assert_eq!(why.matches(cause).count(), 1, "{why}");
    assert!(why.contains("failed: it failed; not tried again: it has no `retry`"), "{why}");
}

#[test]
fn after_a_cleanup_the_run_that_measured_is_the_one_that_is_asked_about() {
    let work = application(
        "python3.12",
        "app.py",
        "def handler(event, context):\n    return {\"statusCode\": 404, \"body\": \"gone\"}\n",
    );
    let sb = |words: &[&str]| work.sb(&[words, &["--executor", "host"]].concat());
    sb(&["prepare"]).expect(0);
    sb(&["invoke", "3"]).expect(5);
    sb(&["cleanup"]).expect(0);
    let why = work.sb(&["why", "invoke/load"]).expect(0).stdout;
    assert!(why.contains("its trial is invalid"), "{why}");
    let log = work.sb(&["logs", "invoke/load"]).expect(0).stdout;
    assert!(log.contains("HTTP 404 ×3"), "{log}");
    let last = work.sb(&["logs"]).expect(0);
    assert!(last.stderr.contains("invoke/load"), "{}", last.stderr);
    // A folder of logs is the folders in it.
    let report = work.sb(&["report", "logs", "--format", "json"]).expect(0);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["applications"].as_array().unwrap().len(), 1, "{report:#}");
    let empty = work.write("nothing/here.txt", "");
    let empty = empty.parent().unwrap().to_str().unwrap();
    for format in ["text", "json"] {
        work.sb(&["report", empty, "--format", format]).expect(1);
    }
    let nothing = work.sb(&["report", empty]).expect(1);
    assert!(nothing.stderr.contains("nothing was measured"), "{}", nothing.stderr);
}

#[test]
fn an_analysis_that_fails_does_not_become_the_run_that_is_asked_about() {
    let work = application(
        "python3.12",
        "app.py",
        "def handler(event, context):\n    return {\"statusCode\": 200, \"body\": \"fine\"}\n",
    );
    let sb = |words: &[&str]| work.sb(&[words, &["--executor", "host"]].concat());
    let runs = || {
        let listed = work.sb(&["runs", "--format", "json"]).expect(0).stdout;
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let ids = listed["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    sb(&["prepare"]).expect(0);
    for words in [["get-traces"], ["analyze-traces"]] {
        let refused = sb(&words).expect(1);
        assert!(refused.stderr.contains("no invocation yet"), "{}", refused.stderr);
    }
    assert_eq!(runs().len(), 1, "what was refused is no run");
    sb(&["invoke", "2"]).expect(0);
    let measured = runs()[0].clone();
    sb(&["get-traces"]).expect(0);
    sb(&["cleanup"]).expect(0);
    // What was measured can be looked at when it is cleaned up.
    sb(&["analyze-traces"]).expect(0);
    for folder in std::fs::read_dir(work.path().join("logs")).unwrap() {
        std::fs::remove_file(folder.unwrap().path().join("traces.json")).unwrap();
    }
    sb(&["analyze-traces"]).expect(1);
    let failed = runs()[0].clone();
    assert_ne!(failed, measured);
    let status = work.sb(&["status", "--all"]).expect(0).stdout;
    assert!(status.starts_with(&measured), "{status}");
    let logs = work.sb(&["logs"]).expect(0).stderr;
    assert!(logs.contains("invoke/load (succeeded)"), "{logs}");
    let why = work.sb(&["why", "analyze-traces"]).expect(0).stdout;
    assert!(why.contains(&failed) && why.contains("failed"), "its own step is asked about: {why}");
}

#[test]
fn the_logs_of_a_local_step_are_where_it_says() {
    let work = application(
        "python3.12",
        "app.py",
        "def handler(event, context):\n    print('said hello')\n    return {\"statusCode\": 200}\n",
    );
    let sb = |words: &[&str]| work.sb(&[words, &["--executor", "host"]].concat());
    sb(&["prepare"]).expect(0);
    let told = work.sb(&["logs", "deploy/up"]).expect(0).stderr;
    assert!(told.contains("none was called yet"), "{told}");
    sb(&["invoke"]).expect(0);
    let told = work.sb(&["logs", "deploy/up"]).expect(0).stderr;
    let command = |line: &str| {
        let words = told.lines().find(|it| it.contains(line)).unwrap_or_else(|| panic!("{told}"));
        let words = words.split("sb ").nth(1).unwrap().split(' ').map(str::to_owned);
        words.collect::<Vec<_>>()
    };
    let print = |line: &str| {
        let words = command(line);
        work.sb(&words.iter().map(String::as_str).collect::<Vec<_>>()).expect(0).stdout
    };
    assert!(print("of a function").contains("said hello"));
    assert!(!print("of the target itself").is_empty());
    sb(&["cleanup"]).expect(0);
    let told = work.sb(&["logs", "cleanup/down"]).expect(0).stderr;
    assert!(told.contains("prints nothing: sb itself does its work"), "{told}");
}

#[test]
fn a_step_that_a_signal_ends_names_it_and_the_likely_reason() {
    let work = Workspace::new();
    let manifest = |run: &str| {
        format!(
            "[benchmark]\nname = \"app\"\n[targets.local]\n[[deploy]]\nname = \"d\"\nrun = \"{run}\"\n[[cleanup]]\nname = \"d\"\nrun = \"true\"\n"
        )
    };
    for (run, words) in [
        ("ulimit -f 1; exec head -c 100000 /dev/zero > big", "SIGXFSZ (signal 25): a file grew beyond"),
        (
            "ulimit -f 1; head -c 100000 /dev/zero > big; exit $?",
            "exit code 153: a command of it was ended by SIGXFSZ",
        ),
        ("kill -KILL $$", "ended by SIGKILL (signal 9): somebody killed it, or the kernel"),
        ("kill -SEGV $$", "SIGSEGV (signal 11): it used memory"),
    ] {
        work.write("benchmark.toml", &manifest(run));
        let ran = work.sb(&["test", "--executor", "host"]).expect(1);
        assert!(ran.stderr.contains(words), "{run}: {}", ran.stderr);
        let why = work.sb(&["why", "deploy/d"]).expect(0).stdout;
        assert!(why.contains(words), "{run}: {why}");
    }
}
