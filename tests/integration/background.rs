//! Background steps: alive from their deploy step to the end of the cleanup, whatever becomes of runners.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::docker::Boxed;
use crate::workspace::Workspace;

const HEAD: &str = "[benchmark]\nname = \"app\"\n[targets.local]\ntraces = \"none\"\n";

/// Notes when it starts and when it is told to stop; ends by itself when there is a file `end`.
const SERVER: &str = r#"
[[deploy]]
name = "server"
background = true
run = '''
echo started >> trail
trap 'echo stopped >> trail; exit 0' TERM
echo serving 4711
while [ ! -e end ]; do sleep 0.05; done
echo out of luck >&2
exit 3
'''
ready = { log = "serving" }
outputs.port = { regex = 'serving (\d+)' }
"#;

const CLEANUP: &str = "[[cleanup]]\nname = \"remove\"\nrun = \"sleep 0.2; echo cleanup >> trail\"\n";

fn workspace(steps: &str) -> Workspace {
    let work = Workspace::new();
    work.write("benchmark.toml", &format!("{HEAD}{SERVER}{steps}{CLEANUP}"));
    work
}

#[track_caller]
fn leaves_nothing(work: &Workspace) {
    assert_eq!(work.processes(), Vec::<String>::new());
    work.sb(&["leaks"]).expect(0);
    let records = std::fs::read_dir(work.path().join(".sb/background")).into_iter().flatten().count();
    assert_eq!(records, 0);
}

/// Kills processes of the workspace of which the predicate is true, and waits until they are gone.
fn kill(work: &Workspace, wanted: impl Fn(&str) -> bool) {
    let begun = Instant::now();
    loop {
        let found: Vec<String> = work.processes().into_iter().filter(|process| wanted(process)).collect();
        if found.is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{found:?}");
        for process in found {
            let pid = process.split(':').next().unwrap().parse().unwrap();
            let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The folder of the server's attempt.
fn attempt(work: &Workspace) -> PathBuf {
    let mut runs = std::fs::read_dir(work.path().join(".sb/runs")).unwrap().flatten();
    let server = |run: std::fs::DirEntry| {
        let deployment = std::fs::read_dir(run.path().join("steps")).ok()?.flatten().next()?;
        Some(deployment.path().join("deploy/server/1")).filter(|folder| folder.exists())
    };
    runs.find_map(server).unwrap()
}

const CALL: &str = "[[invoke]]\nname = \"call\"\nrun = \"echo call {{outputs.port}} >> trail; sleep 0.5; echo called >> trail\"\n";

#[test]
fn it_lives_until_the_cleanup_has_run_and_is_told_to_stop() {
    let work = workspace(CALL);
    work.sb(&["test", "--executor", "host"]).expect(0);
    assert_eq!(work.read("trail"), "started\ncall 4711\ncalled\ncleanup\nstopped\n");
    leaves_nothing(&work);
}

#[test]
fn it_outlives_a_killed_runner_and_is_found_again() {
    for moment in ["started", "call 4711", "cleanup"] {
        let work = workspace(CALL);
        let mut runner = work.start(&["test", "--executor", "host"]);
        assert!(work.appears("trail", moment), "{}", work.read("runner.log"));
        runner.kill().unwrap();
        runner.wait().unwrap();
        work.sb(&["resume"]).expect(0);
        assert_eq!(work.read("trail"), "started\ncall 4711\ncalled\ncleanup\nstopped\n", "{moment}");
        leaves_nothing(&work);
    }
}

#[test]
fn its_end_fails_the_step_beside_it_at_once_and_says_how_it_ended() {
    let work = workspace("[[invoke]]\nname = \"call\"\nrun = \"echo call >> trail; sleep 600\"\n");
    let runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("trail", "call"), "{}", work.read("runner.log"));
    work.write("end", "");
    let code = runner.wait_with_output().unwrap().status.code();
    let said = work.read("runner.log");
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(
            "background step `server` ended before the cleanup (exit code 3); it printed last: serving 4711 | out of luck; see `sb logs "
        ),
        "{said}"
    );
    assert_eq!(work.read("trail"), "started\ncall\ncleanup\n");
    leaves_nothing(&work);
}

#[test]
fn what_comes_after_its_end_is_not_begun() {
    let work = workspace(CALL);
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    work.write("end", "");
    wait_for_end(&work);
    let refused = work.sb(&["invoke", "--executor", "host"]).expect(1);
    assert!(refused.stderr.contains("background step `server` ended"), "{}", refused.stderr);
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
    assert_eq!(work.read("trail"), "started\ncleanup\n");
    leaves_nothing(&work);
}

fn wait_for_end(work: &Workspace) {
    let exit = attempt(work).join("exit.json");
    let begun = Instant::now();
    while !exit.exists() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn it_belongs_to_the_named_deployment_and_every_command_knows_it() {
    let work = workspace(CALL);
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    assert_eq!(work.read("trail"), "started\n");
    assert!(work.sb(&["leaks"]).expect(4).stdout.contains("background step `server` runs"));
    let status = work.sb(&["status"]).expect(0).stdout;
    assert!(
        status.contains("background step `server` runs (`sb logs app.1/deploy/server --run "),
        "{status}"
    );
    let steps = work.sb(&["status", "--all"]).expect(0).stdout;
    assert!(steps.contains("succeeded, runs in the background"), "{steps}");
    assert_eq!(work.sb(&["logs", "deploy/server"]).expect(0).stdout, "serving 4711\n");
    work.sb(&["invoke", "--executor", "host"]).expect(0);
    // Deployed again, it is stopped first.
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
    let trail = "started\ncall 4711\ncalled\nstopped\nstarted\ncleanup\nstopped\n";
    assert_eq!(work.read("trail"), trail);
    leaves_nothing(&work);
}

#[test]
fn one_that_the_manifest_no_longer_has_is_stopped_by_the_cleanup() {
    let work = workspace(CALL);
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    work.write("benchmark.toml", &format!("{HEAD}{CLEANUP}"));
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
    assert_eq!(work.read("trail"), "started\nstopped\ncleanup\n");
    leaves_nothing(&work);
}

#[test]
fn one_whose_supervisor_is_killed_or_whose_machine_was_restarted_is_gone() {
    for restart in [false, true] {
        let work = workspace(CALL);
        work.sb(&["prepare", "--executor", "host"]).expect(0);
        kill(&work, |process| process.contains("internal-supervise") || restart);
        if restart {
            let claim = attempt(&work).join("claim.json");
            let text = std::fs::read_to_string(&claim).unwrap();
            let boot = sb::host::boot_id().unwrap();
            assert!(text.contains(&boot));
            std::fs::write(&claim, text.replace(&boot, "an-earlier-start-of-the-machine")).unwrap();
        }
        let refused = work.sb(&["invoke", "--executor", "host"]).expect(1);
        assert!(refused.stderr.contains("ended before the cleanup (it is gone: "), "{}", refused.stderr);
        work.sb(&["cleanup", "--executor", "host"]).expect(0);
        assert_eq!(work.read("trail"), "started\ncleanup\n");
        leaves_nothing(&work);
    }
}

#[test]
fn what_it_starts_in_sessions_of_its_own_ends_with_it() {
    let daemons =
        SERVER.replace("echo serving", "setsid sleep 600 &\nsetsid -f sh -c 'sleep 600; :'\necho serving");
    for kills_supervisor in [false, true] {
        let work = Workspace::new();
        work.write("benchmark.toml", &format!("{HEAD}{daemons}{CLEANUP}"));
        work.sb(&["prepare", "--executor", "host"]).expect(0);
        let daemons = || work.processes().iter().filter(|process| process.contains("sleep 600")).count();
        let begun = Instant::now();
        while daemons() < 3 {
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", work.processes());
            std::thread::sleep(Duration::from_millis(10));
        }
        if kills_supervisor {
            kill(&work, |process| process.contains("internal-supervise"));
        }
        work.sb(&["cleanup", "--executor", "host"]).expect(0);
        leaves_nothing(&work);
    }
}

#[track_caller]
fn check_not_ready(step: &str, words: &str) {
    let work = Workspace::new();
    work.write(
        "benchmark.toml",
        &format!("{HEAD}[[deploy]]\nname = \"server\"\nbackground = true\n{step}\n{CLEANUP}"),
    );
    let failed = work.sb(&["test", "--executor", "host"]).expect(1);
    assert!(failed.stderr.contains(words), "{}", failed.stderr);
    assert_eq!(work.read("trail"), "cleanup\n");
    leaves_nothing(&work);
}

#[test]
fn one_that_is_not_ready_in_time_or_ends_before_fails_its_step() {
    check_not_ready(
        "run = \"exec sleep 600\"\nready = { log = \"never\", timeout = \"300ms\" }",
        "it was not ready within 300ms: it has printed nothing that matches `never`",
    );
    check_not_ready(
        "run = \"echo no configuration; exit 7\"\nready = { log = \"never\" }",
        "it ended before it was ready (exit code 7); it printed last: no configuration",
    );
    check_not_ready(
        "run = \"setsid -f sleep 0.1\"\nready = { log = \"never\" }",
        "(exit code 0); the program of a background step stays in the foreground",
    );
    check_not_ready(
        "run = [\"no-such-program\"]\nready = \"at_once\"",
        "program `no-such-program` (or the interpreter that it names) was not found",
    );
    check_not_ready(
        "run = \"echo value 1; exec sleep 600\"\nready = { log = \"value\", timeout = \"300ms\" }\noutputs.x = { regex = 'value (2)' }",
        "output `x`: ",
    );
}

#[test]
fn a_port_that_something_else_listens_on_is_not_taken_for_it() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    check_not_ready(
        &format!("run = \"exec sleep 600\"\nready = {{ port = {port} }}"),
        &format!("something else listens on port {port} already"),
    );
}

#[test]
fn a_port_or_a_url_makes_it_ready() {
    for ready in ["{ port = \"{{params.port}}\" }", "{ http = \"http://127.0.0.1:{{params.port}}/\" }"] {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let work = Workspace::new();
        work.write("benchmark.toml", &format!(
            "{HEAD}[params]\nport = {free}\n[[deploy]]\nname = \"server\"\nbackground = true\n\
             run = \"sleep 0.3; exec python3 -m http.server --bind 127.0.0.1 {{{{params.port}}}}\"\nready = {ready}\n\
             [workload]\n[[workload.requests]]\nname = \"get\"\nurl = \"http://127.0.0.1:{{{{params.port}}}}/\"\n"
        ));
        work.sb(&["test", "--executor", "host"]).expect(0);
        leaves_nothing(&work);
    }
}

#[test]
fn its_log_shows_no_secret_once_it_is_stopped() {
    let work = Workspace::new();
    work.write(
        "benchmark.toml",
        &format!(
            "{HEAD}[params]\nkey = {{ env = \"THE_KEY\", secret = true }}\n[[deploy]]\nname = \"server\"\nbackground = true\n\
             env = {{ KEY = \"{{{{params.key}}}}\" }}\nrun = \"echo $KEY; while :; do echo later $KEY; sleep 0.05; done\"\nready = {{ log = \"later\" }}\n{CALL_ALONE}{CLEANUP}"
        ),
    );
    let ran =
        work.command(&["test", "--executor", "host"]).env("THE_KEY", "s3cr3t-of-mine").output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let found = work.files_with("s3cr3t-of-mine");
    assert!(found.iter().all(|path| path.starts_with(work.path().join(".sb/secrets"))), "{found:?}");
    assert!(std::fs::read_to_string(attempt(&work).join("output.log")).unwrap().contains("later"));
    leaves_nothing(&work);
}

const CALL_ALONE: &str = "[[invoke]]\nname = \"call\"\nrun = \"sleep 0.2\"\n";

const BOXED_SERVER: &str = r#"
[[deploy]]
name = "server"
image = "box"
background = true
run = '''
echo started >> trail
trap 'echo stopped >> trail; exit 0' TERM
echo serving 4711
while [ ! -e end ]; do sleep 0.1; done
echo out of luck >&2
exit 3
'''
ready = { log = "serving" }
outputs.port = { regex = 'serving (\d+)' }

[[invoke]]
name = "call"
image = "box"
run = "echo call {{outputs.port}} >> trail; sleep 1; echo called >> trail"

[[cleanup]]
name = "remove"
image = "box"
run = "echo cleanup >> trail"
"#;

#[test]
#[ignore = "needs: docker"]
fn in_a_container_it_outlives_a_killed_runner_and_is_stopped_after_the_cleanup() {
    for moment in ["started", "call 4711", "called"] {
        let boxed = Boxed::new(BOXED_SERVER);
        let mut runner = boxed.start();
        boxed.appears("trail", moment);
        runner.kill().unwrap();
        runner.wait().unwrap();
        boxed.work.sb(&["resume"]).expect(0);
        assert_eq!(boxed.work.read("trail"), "started\ncall 4711\ncalled\ncleanup\nstopped\n", "{moment}");
        assert_eq!(boxed.work.sb(&["logs", "deploy/server"]).expect(0).stdout, "serving 4711\n");
        boxed.leaves_nothing();
    }
}

#[test]
#[ignore = "needs: docker"]
fn in_a_container_its_end_fails_the_step_beside_it() {
    for by_hand in [false, true] {
        let boxed = Boxed::new(&BOXED_SERVER.replace("sleep 1;", "sleep 600;"));
        let runner = boxed.start();
        boxed.appears("trail", "call 4711");
        if by_hand {
            let label = [
                "ps",
                "-q",
                "--filter",
                "label=sb.background",
                "--filter",
                "label=sb.step=boxed.1/deploy/server",
            ];
            let listed = Command::new("docker").args(label).output().unwrap();
            let mine = boxed.containers();
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            let server: Vec<&str> = listed.lines().filter(|id| mine.iter().any(|it| it == id)).collect();
            assert_eq!(server.len(), 1, "{listed}");
            assert!(
                Command::new("docker").args(["rm", "-f"]).args(server).output().unwrap().status.success()
            );
        } else {
            boxed.work.write("end", "");
        }
        let code = runner.wait_with_output().unwrap().status.code();
        let said = boxed.work.read("runner.log");
        assert_eq!(code, Some(1), "{said}");
        let how = if by_hand { "(its container was stopped or removed" } else { "(exit code 3)" };
        assert!(said.contains(&format!("background step `server` ended before the cleanup {how}")), "{said}");
        assert!(boxed.work.read("trail").ends_with("cleanup\n"));
        boxed.leaves_nothing();
    }
}

#[test]
#[ignore = "needs: docker"]
fn in_a_container_it_belongs_to_the_named_deployment() {
    let boxed = Boxed::new(BOXED_SERVER);
    boxed.work.sb(&["prepare", "--executor", "docker"]).expect(0);
    let listed = boxed.work.sb(&["leaks", "--remove"]).expect(4).stdout;
    assert!(listed.contains("background step `server` runs"), "{listed}");
    assert!(!listed.contains("container "), "it goes with its deployment:\n{listed}");
    boxed.work.sb(&["invoke", "--executor", "docker"]).expect(0);
    boxed.work.sb(&["cleanup", "--executor", "docker"]).expect(0);
    assert_eq!(boxed.work.read("trail"), "started\ncall 4711\ncalled\ncleanup\nstopped\n");
    boxed.leaves_nothing();
}

/// A copy of a workspace cannot stop what runs for its original, not even when the original has been moved away.
#[test]
fn a_copy_does_not_wait_for_what_it_cannot_stop() {
    let work = Workspace::new();
    work.write(
        "w/benchmark.toml",
        r#"
        [benchmark]
        name = "b"
        [targets.local]
        traces = "none"
        [[deploy]]
        name = "server"
        background = true
        run = "echo up; exec sleep 100"
        ready = { log = "up", timeout = "20s" }
        [[invoke]]
        name = "call"
        run = "true"
        [[cleanup]]
        name = "c"
        run = "true"
        "#,
    );
    std::fs::create_dir(work.path().join("w/.git")).unwrap();
    work.sb_in("w", &["prepare", "--executor", "host"]).expect(0);
    let copy = work.path().join("copy");
    let done =
        std::process::Command::new("cp").arg("-a").arg(work.path().join("w")).arg(&copy).status().unwrap();
    assert!(done.success());
    std::fs::rename(work.path().join("w"), work.path().join("moved")).unwrap();
    let refused = work.sb_in("copy", &["cleanup", "--executor", "host"]);
    assert!(refused.code != 0, "{}", refused.stderr);
    // The original is as it was, and cleans up.
    work.sb_in("moved", &["cleanup", "--executor", "host"]).expect(0);
    work.sb_in("moved", &["leaks"]).expect(0);
}
