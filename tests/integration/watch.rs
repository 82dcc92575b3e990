//! Runs that are watched from other processes: `sb runs`, `sb status --watch`, `sb logs -f`.

use std::process::Child;

use serde_json::Value;

use crate::workspace::{Ran, Workspace};

/// The call fails at first; each attempt prints a line, waits for its file, and prints another one.
pub(crate) const GATED: &str = r#"
[benchmark]
name = "gated"

[targets.local]
traces = "none"

[[deploy]]
name = "stack"
run = "echo deploying"

[[invoke]]
name = "call"
run = "echo x >> calls; n=$(wc -l < calls); echo begin $n; while [ ! -e go-$n ]; do sleep 0.05; done; echo end $n; [ $n = 2 ]"
retry = { attempts = 2 }

[[cleanup]]
name = "stack"
run = "echo cleaning; sleep 0.6"
"#;

/// Starts a command whose standard output goes to `NAME.out`, and standard error to `NAME.err`.
fn watch(work: &Workspace, name: &str, arguments: &[&str]) -> Child {
    let file = |end: &str| std::fs::File::create(work.path().join(format!("{name}.{end}"))).unwrap();
    work.command(arguments).stdout(file("out")).stderr(file("err")).spawn().unwrap()
}

fn wait(work: &Workspace, name: &str, mut child: Child) -> Ran {
    let code = child.wait().unwrap().code().unwrap_or(-1);
    let read = |end: &str| work.read(&format!("{name}.{end}"));
    Ran { code, stdout: read("out"), stderr: read("err") }
}

fn runs(work: &Workspace) -> Vec<Value> {
    let runs = work.sb(&["runs", "--format", "json"]).expect(0);
    let runs: Value = serde_json::from_str(&runs.stdout).unwrap();
    runs["runs"].as_array().unwrap().clone()
}

#[test]
fn a_run_is_listed_watched_and_its_logs_are_followed_while_another_process_works_on_it() {
    let work = Workspace::new();
    work.write("benchmark.toml", GATED);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("calls", "x"), "{}", work.read("runner.log"));

    let listed = runs(&work);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["state"], "running", "{listed:?}");
    assert_eq!(listed[0]["runner"], runner.id(), "{listed:?}");
    assert_eq!((&listed[0]["steps_ended"], &listed[0]["steps"]), (&1.into(), &3.into()), "{listed:?}");
    assert_eq!(listed[0]["measurement"], Value::Null);

    let status = watch(&work, "status", &["status", "--watch"]);
    let one = watch(&work, "one", &["logs", "-f", "call"]);
    let all = watch(&work, "all", &["logs", "-f"]);
    let appears = |name: &str, text: &str| {
        assert!(work.appears(name, text), "no `{text}` in {name}:\n{}", work.read(name));
    };
    appears("status.out", "1 running");
    appears("one.out", "begin 1");
    appears("all.out", "begin 1");
    let running = work.sb(&["logs"]).expect(0);
    assert_eq!(running.stdout, "begin 1\n");
    assert!(running.stderr.contains("call (running)"), "{}", running.stderr);
    work.write("go-1", "");
    appears("status.out", "retrying");
    appears("one.out", "begin 2");
    appears("all.out", "begin 2");
    work.write("go-2", "");
    assert!(runner.wait().unwrap().success(), "{}", work.read("runner.log"));

    let status = wait(&work, "status", status).expect(0);
    for line in ["1 of 3 steps ended, 1 running", "\nretrying ", "attempt 1 failed: exit code 1", "\nended "]
    {
        assert!(status.stdout.contains(line), "{line}:\n{}", status.stdout);
    }
    let one = wait(&work, "one", one).expect(0);
    assert_eq!(one.stdout, "begin 1\nend 1\nbegin 2\nend 2\n");
    assert!(one.stderr.contains("attempt 2 <==") && one.stderr.contains("call succeeded"), "{}", one.stderr);
    let all = wait(&work, "all", all).expect(0);
    assert!(all.stdout.starts_with("==> gated.1/t1/invoke/call <==\nbegin 1\n"), "{}", all.stdout);
    assert!(all.stdout.contains("\n==> gated.1/t1/invoke/call, attempt 2 <==\nbegin 2\n"), "{}", all.stdout);
    assert!(all.stdout.contains("\n==> gated.1/cleanup/stack <==\ncleaning\n"), "{}", all.stdout);

    assert_eq!(work.sb(&["logs", "call", "--attempt", "1"]).expect(0).stdout, "begin 1\nend 1\n");
    assert_eq!(work.sb(&["logs", "call", "--attempt", "1", "-f"]).expect(0).stdout, "begin 1\nend 1\n");
    let none = work.sb(&["logs", "call", "--attempt", "3"]).expect(1);
    assert!(none.stderr.contains("it has had 2 attempts"), "{}", none.stderr);
    let listed = runs(&work);
    assert_eq!(listed[0]["state"], "ended");
    assert_eq!((&listed[0]["steps_ended"], &listed[0]["steps"]), (&3.into(), &3.into()));
    assert_eq!((&listed[0]["measurement"], &listed[0]["cleanup"]), (&"complete".into(), &"complete".into()));
    let table = work.sb(&["runs", "--limit", "1"]).expect(0).stdout;
    assert!(table.starts_with("RUN ") && table.contains("3/3"), "{table}");
}

#[test]
fn who_watches_gets_the_exit_code_of_the_run() {
    let work = Workspace::new();
    let broken = GATED.replace("name = \"gated\"", "name = \"broken\"").replace("[ $n = 2 ]", "false");
    work.write("benchmark.toml", &broken);
    work.write("go-1", "");
    work.write("go-2", "");
    work.sb(&["test", "--executor", "host"]).expect(1);
    let watched = work.sb(&["status", "--watch"]).expect(1);
    assert!(watched.stdout.contains("exit code 1"), "{}", watched.stdout);
    let log = work.sb(&["logs"]).expect(0);
    assert!(
        log.stderr.contains("t1/invoke/call (failed") && log.stdout == "begin 2\nend 2\n",
        "{}",
        log.stderr
    );
}

#[test]
fn a_run_whose_runner_is_gone_is_not_watched_for_ever() {
    let work = Workspace::new();
    work.write("benchmark.toml", GATED);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("calls", "x"));
    let all = watch(&work, "all", &["logs", "-f"]);
    let status = watch(&work, "status", &["status", "--watch", "--format", "json"]);
    std::thread::sleep(std::time::Duration::from_millis(500));
    runner.kill().unwrap();
    runner.wait().unwrap();
    for watched in [wait(&work, "all", all), wait(&work, "status", status)] {
        let watched = watched.expect(130);
        assert!(watched.stderr.contains("sb resume "), "{}", watched.stderr);
    }
    assert_eq!(runs(&work)[0]["state"], "left");
    work.write("go-1", "");
    work.write("go-2", "");
    work.sb(&["resume"]).expect(0);
    assert_eq!(runs(&work)[0]["state"], "ended");
}

#[test]
fn a_run_of_very_many_steps_is_summarized() {
    let work = Workspace::new();
    let mut manifest = "[benchmark]\nname = \"long\"\n[targets.local]\ntraces = \"none\"\n".to_owned();
    for number in 0..230 {
        manifest += &format!("[[deploy]]\nname = \"s{number}\"\nwait = \"0s\"\nneeds = []\n");
    }
    manifest += "[[cleanup]]\nname = \"stack\"\nrun = \"true\"\n";
    work.write("benchmark.toml", &manifest);
    work.sb(&["test", "--executor", "host"]).expect(0);
    let short = work.sb(&["status", "long"]).expect(0).stdout;
    assert!(short.contains("231 of 231 steps ended") && short.contains("230/230"), "{short}");
    assert!(short.lines().count() < 20 && short.contains("--all"), "{short}");
    let all = work.sb(&["status", "long", "--all"]).expect(0).stdout;
    assert_eq!(all.lines().count(), 232, "{all}");
    let json = work.sb(&["status", "long", "--format", "json"]).expect(0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["steps"].as_array().unwrap().len(), 231);
    assert_eq!(json["summary"]["applications"][0]["phases"][0]["ended"], 230);
}
