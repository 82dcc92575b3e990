//! Signals: a run does not pass on what its starter does about them.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::watch::GATED;
use crate::workspace::{Ran, Workspace};

/// Starts its arguments with every signal blocked, and every one that can be ignored ignored: more than `nohup`, cron and
/// shells in the background do together.
const STARTER: &str = r#"
import os, signal, sys
for number in range(1, 65):
    # SEGV, ILL and FPE cannot be given back without unsafe code; the kernel sends its own in spite of it.
    if number in (4, 8, 9, 11, 19, 32, 33):
        continue
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
os.execvp(sys.argv[1], sys.argv[1:])
"#;

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
    command
        .current_dir(work.path())
        .stdin(Stdio::null())
        .env("XDG_RUNTIME_DIR", work.path().join(".runtime"));
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
    command
        .current_dir(work.path())
        .stdin(Stdio::null())
        .env("XDG_RUNTIME_DIR", work.path().join(".runtime"));
    let mut runner = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(work.appears("calls", "x"));
    let id = rustix::process::Pid::from_child(&runner);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    assert_eq!(runner.wait().unwrap().code(), Some(130));
}
