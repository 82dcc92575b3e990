//! Runners that are killed, stopped, or two at once.

use std::process::Child;

use crate::workspace::Workspace;

/// Every step notes when it begins and ends, and takes a while.
const SLOW: &str = r#"
[benchmark]
name = "slow"

[targets.local]
traces = "none"

[[deploy]]
name = "one"
run = "echo begin one >> trail; sleep 0.6; echo end one >> trail; echo made-by-one"
outputs.made = { line = -1 }

[[deploy]]
name = "two"
run = "echo begin two {{outputs.made}} >> trail; sleep 0.6; echo end two >> trail"

[[invoke]]
name = "call"
run = "echo begin call >> trail; sleep 0.6; echo end call >> trail"

[[cleanup]]
name = "stack"
run = "echo begin cleanup >> trail; sleep 0.6; echo end cleanup >> trail; sleep 0.4"
"#;

const ALL: &str =
    "begin one\nend one\nbegin two made-by-one\nend two\nbegin call\nend call\nbegin cleanup\nend cleanup\n";

/// The ids of all runs, the newest first.
fn runs(work: &Workspace) -> Vec<String> {
    let listed = work.sb(&["runs", "--format", "json"]).expect(0).stdout;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let ids = listed["runs"].as_array().unwrap().iter();
    ids.map(|run| run["id"].as_str().unwrap().to_owned()).collect()
}

fn kill(runner: &mut Child) {
    runner.kill().unwrap();
    runner.wait().unwrap();
}

#[track_caller]
fn check_killed_after(moment: &str) {
    let work = Workspace::new();
    work.write("benchmark.toml", SLOW);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("trail", moment), "{}", work.read("runner.log"));
    kill(&mut runner);
    let resumed = work.sb(&["resume"]).expect(0);
    assert!(resumed.stderr.contains("complete"), "{}", resumed.stderr);
    // Nothing was lost, and nothing was done twice.
    assert_eq!(work.read("trail"), ALL);
    assert_eq!(work.processes(), Vec::<String>::new());
    work.sb(&["leaks"]).expect(0);
    assert!(work.sb(&["resume"]).expect(0).stderr.contains("nothing to resume"));
}

#[test]
fn a_killed_runner_is_resumed_from_every_phase_without_repeating_anything() {
    for moment in
        ["begin one", "end one", "begin two", "begin call", "end call", "begin cleanup", "end cleanup"]
    {
        check_killed_after(moment);
    }
}

#[test]
fn a_step_that_ended_while_no_runner_lived_is_not_run_again() {
    let work = Workspace::new();
    work.write("benchmark.toml", SLOW);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("trail", "begin one"));
    kill(&mut runner);
    assert!(work.appears("trail", "end one"), "the step outlives the runner");
    work.sb(&["resume"]).expect(0);
    assert_eq!(work.read("trail"), ALL);
}

/// A machine that lost its power kept the journal, and of the step's folder nothing: whether the step had begun is not known.
#[track_caller]
fn check_lost_folder(boot: &str, attempts: &[u32]) {
    let work = Workspace::new();
    work.write("benchmark.toml", SLOW);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("trail", "begin two"));
    kill(&mut runner);
    for process in work.processes() {
        let pid = process.split(':').next().unwrap().parse().unwrap();
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid).unwrap(),
            rustix::process::Signal::KILL,
        );
    }
    let steps = std::fs::read_dir(work.path().join(".sb/runs")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_dir_all(steps.join("steps/slow.1/deploy/two")).unwrap();
    let state = rusqlite::Connection::open(work.path().join(".sb/state.db")).unwrap();
    let sql = "UPDATE events SET event = json_set(event, '$.boot', ?1) WHERE event ->> 'boot' IS NOT NULL AND ?1 <> ''";
    state.execute(sql, [boot]).unwrap();
    work.sb(&["resume"]).expect(0);
    let sql = "SELECT event ->> 'attempt' FROM events
               WHERE event ->> 'event' = 'step_ended' AND event ->> 'step' LIKE '%/deploy/two' ORDER BY number";
    let mut statement = state.prepare(sql).unwrap();
    let ended: Vec<u32> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(ended, attempts, "{}", work.read("trail"));
    assert!(work.read("trail").ends_with("end two\nbegin call\nend call\nbegin cleanup\nend cleanup\n"));
}

#[test]
fn a_step_that_nobody_claimed_is_lost_after_a_restart_of_the_machine_and_else_just_started() {
    check_lost_folder("another boot", &[1, 2]);
    check_lost_folder("", &[1]);
}

#[test]
fn nothing_else_is_done_with_a_deployment_while_a_step_of_a_killed_run_may_be_running() {
    let work = Workspace::new();
    work.write("benchmark.toml", SLOW);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("trail", "begin one"));
    kill(&mut runner);
    for command in ["cleanup", "prepare", "test"] {
        let refused = work.sb(&[command, "--executor", "host"]).expect(1);
        assert!(refused.stderr.contains("has not ended"), "{}", refused.stderr);
        assert!(refused.stderr.contains("sb resume"), "{}", refused.stderr);
    }
    assert!(work.sb(&["leaks"]).expect(4).stdout.contains("pay with: sb resume"));
    work.sb(&["resume"]).expect(0);
    assert_eq!(work.read("trail"), ALL);
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
}

#[test]
fn what_leaks_proposes_for_a_killed_prepare_stops_it_and_removes_what_it_deployed() {
    let work = Workspace::new();
    work.write("benchmark.toml", SLOW);
    let mut runner = work.start(&["prepare", "--executor", "host"]);
    assert!(work.appears("trail", "begin one"));
    kill(&mut runner);
    let leaks = work.sb(&["leaks"]).expect(4).stdout;
    let command = leaks.lines().find_map(|line| line.trim().strip_prefix("pay with: sb ")).unwrap();
    assert!(command.starts_with("cleanup "), "{leaks}");
    let words: Vec<&str> = command.split(' ').collect();
    work.sb(&words).expect(0);
    assert!(work.read("trail").ends_with("begin cleanup\nend cleanup\n"), "{}", work.read("trail"));
    assert!(!work.read("trail").contains("two"), "{}", work.read("trail"));
    work.sb(&["leaks"]).expect(0);
    let again = work.sb(&words).expect(0);
    assert!(again.stderr.contains("owes no cleanup"), "{}", again.stderr);
    // Nothing of the run stands in the way.
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
}

#[test]
fn what_leaks_proposes_for_a_killed_invoke_removes_what_was_deployed_before() {
    let work = Workspace::new();
    work.write(
        "benchmark.toml",
        &SLOW.replace("begin call >> trail; sleep 0.6", "begin call >> trail; sleep 30"),
    );
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    let mut runner = work.start(&["invoke", "--executor", "host"]);
    assert!(work.appears("trail", "begin call"), "{}", work.read("runner.log"));
    kill(&mut runner);
    // A step of the run that has not ended may still be at work.
    let refused = work.sb(&["cleanup", &runs(&work)[1]]).expect(1).stderr;
    let refused = refused.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(refused.contains("has not ended: a step of it may still be running"), "{refused}");
    let leaks = work.sb(&["leaks"]).expect(4).stdout;
    let command = leaks.lines().find_map(|line| line.trim().strip_prefix("pay with: sb ")).unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    work.sb(&words).expect(0);
    assert!(
        work.read("trail").ends_with("begin cleanup\nend cleanup\n"),
        "{words:?}: {}",
        work.read("trail")
    );
    work.sb(&["leaks"]).expect(0);
}

#[test]
fn what_leaks_proposes_pays_without_the_manifest() {
    let work = Workspace::new();
    work.write("benchmark.toml", SLOW);
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    std::fs::remove_file(work.path().join("benchmark.toml")).unwrap();
    let leaks = work.sb(&["leaks"]).expect(4).stdout;
    let command = leaks.lines().find_map(|line| line.trim().strip_prefix("pay with: sb ")).unwrap();
    work.sb(&command.split(' ').collect::<Vec<_>>()).expect(0);
    assert!(work.read("trail").ends_with("begin cleanup\nend cleanup\n"), "{}", work.read("trail"));
    work.sb(&["leaks"]).expect(0);
}

#[test]
fn a_run_that_only_deployed_is_cleaned_up_by_its_name() {
    let work = Workspace::new();
    work.write("benchmark.toml", SLOW);
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    work.sb(&["cleanup", &runs(&work)[0]]).expect(0);
    assert!(work.read("trail").ends_with("begin cleanup\nend cleanup\n"), "{}", work.read("trail"));
    work.sb(&["leaks"]).expect(0);
}

#[test]
fn a_second_runner_on_the_same_run_or_deployment_is_refused() {
    let work = Workspace::new();
    work.write("benchmark.toml", SLOW);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("trail", "begin one"));
    let refused = work.sb(&["resume"]).expect(6);
    assert!(refused.stderr.contains(&format!("process {}", runner.id())), "{}", refused.stderr);
    let refused = work.sb(&["test", "--executor", "host"]).expect(6);
    assert!(refused.stderr.contains("slow@local"), "{}", refused.stderr);
    assert!(runner.wait().unwrap().success());
    assert_eq!(work.read("trail"), ALL);
}

#[test]
fn a_first_signal_cleans_up_and_a_second_leaves_at_once() {
    let signal = |runner: &Child| {
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(i32::try_from(runner.id()).unwrap()).unwrap(),
            rustix::process::Signal::TERM,
        )
        .unwrap();
    };
    let work = Workspace::new();
    work.write("benchmark.toml", SLOW);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("trail", "begin two"));
    signal(&runner);
    assert_eq!(runner.wait().unwrap().code(), Some(130), "{}", work.read("runner.log"));
    assert_eq!(work.read("trail"), "begin one\nend one\nbegin two made-by-one\nbegin cleanup\nend cleanup\n");
    work.sb(&["leaks"]).expect(0);

    let work = Workspace::new();
    work.write("benchmark.toml", SLOW);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("trail", "begin one"));
    signal(&runner);
    assert!(work.appears("trail", "begin cleanup"));
    signal(&runner);
    assert_eq!(runner.wait().unwrap().code(), Some(130));
    work.sb(&["leaks"]).expect(4);
    // What was stopped stays stopped: only the debt is paid.
    work.sb(&["resume"]).expect(130);
    assert_eq!(work.read("trail"), "begin one\nbegin cleanup\nend cleanup\n");
    work.sb(&["leaks"]).expect(0);
}

#[test]
fn a_hang_up_changes_nothing() {
    let work = Workspace::new();
    work.write("benchmark.toml", SLOW);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("trail", "begin one"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(runner.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    assert!(runner.wait().unwrap().success());
    assert_eq!(work.read("trail"), ALL);
}

#[test]
fn a_load_that_loses_its_runner_is_finished_not_repeated() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    let folder = work.path().join("examples/hello-http");
    let log = std::fs::File::create(work.path().join("runner.log")).unwrap();
    let mut runner = work
        .command(&["test", "constant", "--rate", "20", "--duration", "3s", "--executor", "host"])
        .current_dir(&folder)
        .stderr(log)
        .spawn()
        .unwrap();
    assert!(
        work.appears("runner.log", "started    hello-http.1/t1/invoke/load"),
        "{}",
        work.read("runner.log")
    );
    std::thread::sleep(std::time::Duration::from_millis(500));
    kill(&mut runner);
    work.sb(&["resume"]).expect(0);
    let folders: Vec<_> = std::fs::read_dir(folder.join("logs")).unwrap().flatten().collect();
    assert_eq!(folders.len(), 1);
    let rows = std::fs::read_to_string(folders[0].path().join("invocations.csv")).unwrap();
    assert_eq!(rows.lines().count(), 61, "60 invocations and a header");
    assert_eq!(work.processes(), Vec::<String>::new());
}

/// Users in a closed loop have no planned number; the load is one all the same, and is told of as what it was.
#[test]
fn users_who_lose_their_runner_go_on_to_the_end_and_are_reported_as_a_closed_loop() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    let folder = work.path().join("examples/hello-http");
    let log = std::fs::File::create(work.path().join("runner.log")).unwrap();
    let load = ["users", "--users", "4", "--duration", "3s", "--think-time", "min=100ms,max=300ms"];
    let mut runner = work
        .command(&[&["test", "--executor", "host"], &load[..]].concat())
        .current_dir(&folder)
        .stderr(log)
        .spawn()
        .unwrap();
    assert!(
        work.appears("runner.log", "started    hello-http.1/t1/invoke/load"),
        "{}",
        work.read("runner.log")
    );
    std::thread::sleep(std::time::Duration::from_millis(500));
    kill(&mut runner);
    let resumed = work.sb(&["resume"]).expect(0);
    let folders: Vec<_> = std::fs::read_dir(folder.join("logs")).unwrap().flatten().collect();
    assert_eq!(folders.len(), 1);
    let summary = std::fs::read(folders[0].path().join("load_summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&summary).unwrap();
    let rows = std::fs::read_to_string(folders[0].path().join("invocations.csv")).unwrap();
    let sent = rows.lines().count() as u64 - 1;
    // Rounds of at least 100 ms, of some 200 ms and the answer mostly.
    assert!((12..=120).contains(&sent), "{sent}");
    assert_eq!(summary["sent"], sent);
    assert_eq!(
        (&summary["planned"], &summary["invalid"]),
        (&serde_json::Value::Null, &serde_json::json!([]))
    );
    assert_eq!(summary["closed_loop"]["users"], 4);
    assert!(summary["closed_loop"]["corrected_latency_ms"]["p99"].as_f64().unwrap() > 0.0);
    let note = "note         This was a closed loop of 4 users";
    assert!(resumed.stderr.contains(note), "{}", resumed.stderr);
    let report = work.sb(&["report"]).expect(0);
    assert!(report.stdout.contains("closed loop of 4 users"), "{}", report.stdout);
    assert_eq!(work.processes(), Vec::<String>::new());
}

#[test]
fn a_cleanup_that_failed_in_a_plan_is_tried_again_by_resume() {
    let work = Workspace::new();
    let cleanup = "echo begin cleanup >> trail; sleep 0.6; echo end cleanup >> trail; sleep 0.4";
    work.write(
        "benchmark.toml",
        &SLOW.replace(cleanup, "test -e allowed && echo cleaned >> trail").replace("0.6", "0"),
    );
    work.write(
        "plans/p.toml",
        "[plan]\nname = \"p\"\nexecutor = \"host\"\n[[applications]]\nmanifest = \"../benchmark.toml\"\n",
    );
    work.sb(&["run", "plans/p.toml"]).expect(4);
    let leaks = work.sb(&["leaks"]).expect(4);
    let run = leaks.stdout.split_whitespace().last().expect("the way out").to_owned();
    assert!(leaks.stdout.contains(&format!("sb resume {run}")), "{}", leaks.stdout);
    work.sb(&["resume", &run]).expect(4);
    work.write("allowed", "");
    work.sb(&["resume", &run]).expect(0);
    let trail = work.read("trail");
    assert!(trail.ends_with("end call\ncleaned\n") && trail.matches("begin call").count() == 1, "{trail}");
    work.sb(&["leaks"]).expect(0);
    assert!(work.sb(&["resume", &run]).expect(0).stderr.contains("nothing to resume"));
}

#[test]
fn a_load_that_outlives_its_runner_is_alone_on_the_machine_until_it_ends() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    let folder = work.path().join("examples/hello-http");
    let log = std::fs::File::create(work.path().join("runner.log")).unwrap();
    let mut runner = work
        .command(&["test", "constant", "--rate", "20", "--duration", "4s", "--executor", "host"])
        .current_dir(&folder)
        .stderr(log)
        .spawn()
        .unwrap();
    assert!(
        work.appears("runner.log", "started    hello-http.1/t1/invoke/load"),
        "{}",
        work.read("runner.log")
    );
    std::thread::sleep(std::time::Duration::from_millis(700));
    kill(&mut runner);

    // Another workspace of the same user.
    let other = Workspace::new();
    other.write("benchmark.toml", SLOW);
    let log = std::fs::File::create(other.path().join("runner.log")).unwrap();
    let mut second = other
        .command(&["test", "--executor", "host"])
        .env("SB_LOCKS", work.path().join(".runtime"))
        .stderr(log)
        .spawn()
        .unwrap();
    let waits = "waiting    slow.1/deploy/one for lock `quiet`, held by run";
    assert!(other.appears("runner.log", waits), "{}", other.read("runner.log"));
    assert!(other.appears("trail", "begin one"), "{}", other.read("runner.log"));
    let invocation = std::fs::read_dir(folder.join("logs")).unwrap().flatten().next().unwrap().path();
    assert!(invocation.join("load_summary.json").exists(), "the load had ended");
    assert!(second.wait().unwrap().success(), "{}", other.read("runner.log"));
    assert_eq!(other.read("trail"), ALL);

    work.sb(&["resume"]).expect(0);
    let rows = std::fs::read_to_string(invocation.join("invocations.csv")).unwrap();
    assert_eq!(rows.lines().count(), 81, "80 invocations and a header");
}

#[test]
fn two_runs_of_a_workspace_share_its_named_locks() {
    let work = Workspace::new();
    let step = "name = \"one\"\nlocks = [\"region\"]\n";
    work.write("benchmark.toml", &SLOW.replace("name = \"one\"\n", step));
    for name in ["p", "q"] {
        work.write(
            &format!("plans/{name}.toml"),
            &format!("[plan]\nname = \"{name}\"\nexecutor = \"host\"\n[[applications]]\nmanifest = \"../benchmark.toml\"\n[locks]\nregion = 1\n[concurrency]\nquiet = false\n"),
        );
    }
    let mut runner = work.start(&["run", "plans/p.toml"]);
    assert!(work.appears("trail", "begin one"), "{}", work.read("runner.log"));
    let second = work.sb(&["run", "plans/q.toml"]).expect(0);
    assert!(runner.wait().unwrap().success());
    assert!(
        second.stderr.contains("waiting    slow.1/deploy/one for lock `region`, held by run 2"),
        "{}",
        second.stderr
    );
    let trail = work.read("trail");
    let after_first_end = trail.split_once("end one").unwrap().1;
    assert!(after_first_end.contains("begin one"), "{trail}");
    assert_eq!(trail.matches("begin one").count(), 2, "{trail}");
}

/// Somebody updates `sb` while a run goes on for days.
#[test]
fn a_run_goes_on_when_the_program_is_replaced() {
    let work = Workspace::new();
    work.write(
        "benchmark.toml",
        r#"
        [benchmark]
        name = "b"
        [targets.local]
        traces = "none"
        [[deploy]]
        name = "stack"
        run = "echo begun >> calls; while [ ! -e go ]; do sleep 0.05; done"
        [[workload.requests]]
        name = "none"
        url = "http://127.0.0.1:9/"
        [[cleanup]]
        name = "stack"
        run = "echo cleaned >> calls"
        "#,
    );
    let program = work.path().join("sb");
    std::fs::copy(env!("CARGO_BIN_EXE_sb"), &program).unwrap();
    let mut runner = std::process::Command::new(&program);
    runner.args(["test", "--executor", "host"]).current_dir(work.path());
    runner.env("SB_LOCKS", work.path().join(".runtime")).stdin(std::process::Stdio::null());
    let log = std::fs::File::create(work.path().join("runner.log")).unwrap();
    let mut runner = runner.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    assert!(work.appears("calls", "begun"), "{}", work.read("runner.log"));
    std::fs::remove_file(&program).unwrap();
    std::fs::write(&program, "not a program any more").unwrap();
    work.write("go", "");
    // Its load fails, since nobody listens; it was sent, and what was deployed is cleaned up.
    assert_eq!(runner.wait().unwrap().code(), Some(1), "{}", work.read("runner.log"));
    assert_eq!(work.read("calls"), "begun\ncleaned\n");
}
