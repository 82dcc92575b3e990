//! Signals, terminals and pipes: a run neither inherits those of its starter, nor ends with them.

use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::pseudo_terminal::hang_up;
use crate::watch::GATED;
use crate::workspace::{Ran, Workspace};

/// Starts its arguments with every signal blocked, and every one that can be ignored ignored: more than `nohup`, cron and
/// shells in the background do together.
const STARTER: &str = r"
import os, signal, sys
for number in range(1, 65):
    # KILL and STOP cannot be ignored, and two are the C library's own.
    if number in (9, 19, 32, 33):
        continue
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
os.execvp(sys.argv[1], sys.argv[1:])
";

/// Which of the first 28 signals are blocked, and which are ignored, on standard output. What the C library and the machine do
/// to real-time signals is not ours.
const SAY: &str = "grep -E 'Sig(Blk|Ign)' /proc/$$/status | grep -o '.......$'";
const DEFAULT: &str = "0000000\n0000000\n";

#[test]
fn steps_have_the_default_signals_whatever_started_the_runner() {
    let work = Workspace::new();
    let manifest = format!(
        r#"
[benchmark]
name = "signals"
[targets.local]
traces = "none"
[[deploy]]
name = "says"
run = "{SAY}"
[[deploy]]
name = "waits"
run = "sleep 0.1 & sleep 0.1 & wait; echo waited"
timeout = "10s"
[[deploy]]
name = "limits"
run = "timeout 0.2 sleep 20; echo $?"
timeout = "10s"
[[deploy]]
name = "hears"
run = ["python3", "-c", "import signal,sys,time; signal.signal(15, lambda *a: (print('TERM'), sys.exit(3))); time.sleep(30)"]
timeout = "1s"
allow_failure = true
[[cleanup]]
name = "says"
run = "{SAY}"
"#
    );
    work.write("benchmark.toml", &manifest);
    let sb = work.command(&["test", "--executor", "host"]);
    let mut command = Command::new("python3");
    command.args(["-c", STARTER]).arg(sb.get_program()).args(sb.get_args());
    command.current_dir(work.path()).stdin(Stdio::null()).env("SB_LOCKS", work.path().join(".runtime"));
    let begun = Instant::now();
    Ran::of(command.output().unwrap()).expect(0);
    assert!(begun.elapsed() < Duration::from_secs(9), "a step was ended by KILL: {:?}", begun.elapsed());
    for (step, expected) in [
        ("deploy/says", DEFAULT),
        ("cleanup/says", DEFAULT),
        ("deploy/waits", "waited\n"),
        ("deploy/limits", "124\n"),
        ("deploy/hears", "TERM\n"),
    ] {
        assert_eq!(work.sb(&["logs", step]).expect(0).stdout, expected, "{step}");
    }
}

#[test]
fn a_runner_can_be_stopped_whatever_started_it() {
    let work = Workspace::new();
    work.write("benchmark.toml", GATED);
    let sb = work.command(&["test", "--executor", "host"]);
    let mut command = Command::new("python3");
    command.args(["-c", STARTER]).arg(sb.get_program()).args(sb.get_args());
    command.current_dir(work.path()).stdin(Stdio::null()).env("SB_LOCKS", work.path().join(".runtime"));
    let mut runner = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(work.appears("calls", "x"));
    let id = rustix::process::Pid::from_child(&runner);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(130));
}

/// `sb prepare` leaves what it has deployed: a stop says so, and does not speak of a cleanup that is not part of it.
#[test]
fn a_stopped_deployment_says_what_stays() {
    let work = Workspace::new();
    let manifest = "[benchmark]\nname = \"slow\"\n[targets.local]\n[[deploy]]\nname = \"up\"\n\
        run = \"echo begun > begun; sleep 60\"\n[[cleanup]]\nname = \"up\"\nrun = \"true\"\n";
    work.write("benchmark.toml", manifest);
    let mut runner = work.start(&["prepare", "--executor", "host"]);
    assert!(work.appears("begun", "begun"), "{}", work.read("runner.log"));
    let id = rustix::process::Pid::from_child(&runner);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(130));
    let said = work.read("runner.log");
    assert!(said.contains("what was deployed stays") && !said.contains("cleaning up"), "{said}");
    assert!(said.contains("what was deployed is still there"), "{said}");
    work.sb(&["cleanup", "--executor", "host"]).expect(0);
}

/// A terminal with colours and bars, and one without, go away while a step runs.
#[test]
fn a_run_goes_on_when_its_terminal_is_gone() {
    for (colours, until) in [(true, "call"), (false, "started    gated.1/t1/invoke/call")] {
        let work = Workspace::new();
        work.write("benchmark.toml", GATED);
        let mut command = work.command(&["test", "--executor", "host", "-v"]);
        if !colours {
            command.env("NO_COLOR", "1");
        }
        // What follows is said to a terminal that is gone.
        let go = || {
            work.write("go-1", "");
            work.write("go-2", "");
        };
        let ended = hang_up(&command, until, go);
        assert_eq!(ended, 0, "colours: {colours}");
        assert_eq!(work.read("calls"), "x\nx\n");
        let runs = work.sb(&["runs", "--format", "json"]).expect(0);
        let runs: Value = serde_json::from_str(&runs.stdout).unwrap();
        assert_eq!(
            (&runs["runs"][0]["measurement"], &runs["runs"][0]["cleanup"]),
            (&json!("complete"), &json!("complete"))
        );
    }
}

#[test]
fn a_run_goes_on_when_nobody_reads_what_it_says() {
    // The reading end of a pipe is closed; or it is open, and nobody empties it.
    for reader in ["true", "exec sleep 60"] {
        let work = Workspace::new();
        // More than a pipe holds.
        work.write(
            "benchmark.toml",
            &GATED.replace("echo begin $n;", "seq 40000; touch said; echo begin $n;"),
        );
        work.write("go-1", "");
        work.write("go-2", "");
        let (out, into) = std::io::pipe().unwrap();
        let mut reader = Command::new("sh").args(["-c", reader]).stdin(out).spawn().unwrap();
        let mut command = work.command(&["test", "--executor", "host", "-v"]);
        let mut runner = command.stdout(into.try_clone().unwrap()).stderr(into).spawn().unwrap();
        drop(command);
        let begun = Instant::now();
        loop {
            let runs = work.sb(&["runs", "--format", "json"]).expect(0);
            let runs: Value = serde_json::from_str(&runs.stdout).unwrap();
            if runs["runs"][0]["measurement"] == "complete" {
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(40), "{runs:#}");
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = reader.kill();
        let _ = reader.wait();
        let ended = runner.wait().unwrap();
        assert_eq!((ended.code(), ended.signal()), (Some(0), None));
    }
}

/// What follows a run ends soon after its reader, though there is nothing new to say.
#[test]
fn what_follows_a_run_ends_with_its_reader() {
    let work = Workspace::new();
    work.write("benchmark.toml", GATED);
    let mut runner = work.start(&["test", "--executor", "host"]);
    assert!(work.appears("calls", "x"));
    for arguments in [
        &["status", "--watch"][..],
        &["status", "--watch", "--format", "json"],
        &["logs", "-f"],
        &["logs", "-f", "call"],
        &["ui"],
    ] {
        let mut command = work.command(arguments);
        let mut follower = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = follower.stdout.take().unwrap();
        out.read_exact(&mut [0]).unwrap();
        drop(out);
        let begun = Instant::now();
        let ended = loop {
            if let Some(ended) = follower.try_wait().unwrap() {
                break ended;
            }
            if begun.elapsed() > Duration::from_secs(5) {
                let _ = follower.kill();
                panic!("{arguments:?} goes on without a reader");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(ended.code(), Some(0), "{arguments:?}");
    }
    work.write("go-1", "");
    work.write("go-2", "");
    assert!(runner.wait().unwrap().success());
}

/// Every step has a supervisor, whose pipes take descriptors of the runner.
#[test]
fn many_steps_run_side_by_side_under_small_limits() {
    let work = Workspace::new();
    let mut manifest = "[benchmark]\nname = \"wide\"\n[targets.local]\ntraces = \"none\"\n".to_owned();
    for number in 0..60 {
        manifest +=
            &format!("[[deploy]]\nname = \"s{number}\"\nrun = \"ulimit -Sn; sleep 0.3\"\nneeds = []\n");
    }
    manifest += "[[cleanup]]\nname = \"stack\"\nrun = \"true\"\n";
    work.write("benchmark.toml", &manifest);
    // The soft limit is raised; the hard one makes steps wait.
    for limits in ["ulimit -Sn 100", "ulimit -Sn 100; ulimit -Hn 300"] {
        let sb = work.command(&["test", "--executor", "host"]);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{limits}; exec \"$@\""), "sh"])
            .arg(sb.get_program())
            .args(sb.get_args());
        command.current_dir(work.path()).env("SB_LOCKS", work.path().join(".runtime"));
        Ran::of(command.stdin(Stdio::null()).output().unwrap()).expect(0);
        assert_eq!(work.sb(&["logs", "deploy/s17"]).expect(0).stdout, "100\n", "as it was: {limits}");
    }
}

/// Each step waits for all others, so the run ends well only if they run at the same time.
#[test]
fn a_hard_limit_on_open_files_leaves_room_for_as_many_steps_as_it_has_descriptors() {
    const STEPS: usize = 40;
    let work = Workspace::new();
    let mut manifest = "[benchmark]\nname = \"wide\"\n[targets.local]\ntraces = \"none\"\n".to_owned();
    for number in 0..STEPS {
        let run =
            format!("touch here-{number}; until [ $(ls here-* | wc -l) -ge {STEPS} ]; do sleep 0.2; done");
        manifest +=
            &format!("[[deploy]]\nname = \"s{number}\"\nrun = \"{run}\"\nneeds = []\ntimeout = \"60s\"\n");
    }
    manifest += "[[cleanup]]\nname = \"stack\"\nrun = \"true\"\n";
    work.write("benchmark.toml", &manifest);
    let sb = work.command(&["test", "--executor", "host"]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 256; exec \"$@\"", "sh"]).arg(sb.get_program()).args(sb.get_args());
    command.current_dir(work.path()).env("SB_LOCKS", work.path().join(".runtime"));
    Ran::of(command.stdin(Stdio::null()).output().unwrap()).expect(0);
}

/// A step can print and name what it likes: of it, a terminal gets text and at most colours.
#[test]
fn foreign_text_does_not_steer_the_terminal() {
    let hostile = r"\033[2J\033[31mred\033[0m\033]0;title\007\033]52;c;aGk=\033\\ \302\2332Jend";
    let work = Workspace::new();
    let manifest = format!(
        r#"
[benchmark]
name = "hostile"
[targets.local]
traces = "none"
[[deploy]]
name = "says"
run = """printf '{hostile}\n'; exit 1"""
"#,
        hostile = hostile.replace('\\', r"\\")
    );
    work.write("benchmark.toml", &manifest);
    let plain = work.sb(&["test", "--executor", "host", "-v"]).expect(1);
    assert!(plain.stderr.contains("red end"), "{}", plain.stderr);
    assert!(!plain.stderr.contains(|c: char| c.is_control() && c != '\n'), "{:?}", plain.stderr);
    for arguments in [&["status", "--watch"][..], &["why", "says"], &["status", "--all"]] {
        let said = work.sb(arguments);
        assert!(!said.stdout.contains('\x1b') && !said.stderr.contains('\x1b'), "{said:?}");
    }
    for arguments in [&["test", "--executor", "host"][..], &["test", "--executor", "host", "-v"]] {
        let seen = crate::pseudo_terminal::play(&work.command(arguments), &[]);
        for part in ["\x1b]0;", "\x1b]52", "\x1b[2J\x1b[31m", "\u{9b}"] {
            assert!(!seen.text.contains(part), "{part:?}: {:?}", seen.text);
        }
    }
    // The log itself: on a terminal its text and colours, into a pipe its bytes.
    let step = "says";
    for arguments in [&["logs", step][..], &["logs", step, "-f"], &["logs"], &["logs", "-f"]] {
        let seen = crate::pseudo_terminal::play(&work.command(arguments), &[]);
        for part in ["\x1b]0;", "\x1b]52", "\x1b[2J", "\u{9b}"] {
            assert!(!seen.text.contains(part), "{arguments:?} {part:?}: {:?}", seen.text);
        }
    }
    let piped = work.sb(&["logs", step]);
    assert!(piped.stdout.contains("\x1b]0;") && piped.stdout.contains("\x1b[2J"), "{piped:?}");
}

/// A step made a link of the folder of results: the invocation fails, nothing is written there, and cleanup follows.
#[test]
fn results_are_not_written_out_of_the_root() {
    let work = Workspace::new();
    let outside = tempfile::tempdir().unwrap();
    let manifest = format!(
        r#"
[benchmark]
name = "escape"
[targets.local]
traces = "none"
[[deploy]]
name = "links"
run = "ln -s {0} logs; ln -s /etc/hostname taken"
[[invoke]]
name = "call"
run = "true"
[[cleanup]]
name = "c"
run = "touch clean"
outputs = {{ host = {{ file = "taken" }} }}
"#,
        outside.path().display()
    );
    work.write("benchmark.toml", &manifest);
    let ran = work.sb(&["test", "--executor", "host"]).expect(4);
    assert_eq!(ran.stderr.matches("it leads out of the root").count(), 2, "{}", ran.stderr);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    assert!(work.path().join("clean").exists(), "{}", ran.stderr);
}

/// A step in a container shares the workspace, and links that it makes there are followed by nothing that `sb` does on the
/// host. A step on the host makes the same links.
#[test]
fn what_a_step_links_is_neither_sent_nor_written_to() {
    let work = Workspace::new();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "of the host").unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.set_nonblocking(true).unwrap();
    work.write("body.txt", "harmless");
    work.write("app.py", "def handler(event, context):\n    return {}\n");
    work.write(
        "template.yaml",
        "Transform: AWS::Serverless-2016-10-31\nResources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: \
         {Runtime: python3.13, Handler: app.handler, CodeUri: .}\n",
    );
    let head = "[benchmark]\nname = \"links\"\n[targets.local]\ntraces = \"none\"\n";
    let request = format!(
        "[[workload.requests]]\nname = \"r\"\nbody_file = \"body.txt\"\nurl = \"http://{}/\"\n",
        server.local_addr().unwrap()
    );
    let link = |file: &str| {
        let target = outside.path().join("secret");
        format!("[[deploy]]\nname = \"link\"\nrun = \"ln -sf {} {file}\"\n", target.display())
    };
    let load = "[[invoke]]\nname = \"load\"\nload = true\n[[cleanup]]\nname = \"c\"\nrun = \"true\"\n";
    work.write("benchmark.toml", &format!("{head}{}{request}{load}", link("body.txt")));
    let ran = work.sb(&["test", "--executor", "host"]).expect(1);
    assert!(ran.stderr.contains("it leads out of the root"), "{}", ran.stderr);
    assert!(server.accept().is_err(), "nothing is sent");

    let local = "[[deploy]]\nname = \"up\"\nlocal = { template = \"template.yaml\" }\n[[cleanup]]\nname = \"down\"\nlocal = { down = true }\n";
    work.write("benchmark.toml", &format!("{head}{}{local}", link("template.yaml")));
    let ran = work.sb(&["test", "--executor", "host"]).expect(1);
    assert!(ran.stderr.contains("it leads out of the root"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("of the host"), "{}", ran.stderr);

    let steal = format!(
        "[[invoke]]\nname = \"evil\"\nrun = \"echo said; rm -rf {{{{logs_dir}}}}; ln -s {0} {{{{logs_dir}}}}\"\n[[cleanup]]\nname = \"c\"\nrun = \"true\"\n",
        outside.path().display()
    );
    work.write("benchmark.toml", &format!("{head}{steal}"));
    work.sb(&["test", "--executor", "host"]);
    let names: Vec<_> =
        std::fs::read_dir(outside.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["secret"], "nothing is written outside of the root");
}
