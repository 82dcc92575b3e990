//! `--tmux`, with a real tmux whose servers are the test's own.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::watch::GATED;
use crate::workspace::{Ran, Workspace};

/// A folder for sockets; its server ends with it.
struct Tmux {
    folder: tempfile::TempDir,
}

impl Tmux {
    fn new() -> Self {
        // Short: the path of a socket has a limit of about a hundred bytes.
        Self { folder: tempfile::Builder::new().prefix("sbt").tempdir_in("/tmp").unwrap() }
    }

    fn aim<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env_remove("TMUX").env_remove("TMUX_PANE").env("TMUX_TMPDIR", self.folder.path())
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = self.aim(Command::new("tmux").args(arguments)).output().expect("tmux is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What a window shows, once it shows the text.
    #[track_caller]
    fn shows(&self, window: &str, text: &str) -> String {
        let begun = Instant::now();
        loop {
            let shown = self.tmux(&["capture-pane", "-p", "-S", "-200", "-t", window]);
            if shown.contains(text) {
                return shown;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "no `{text}` in {window}:\n{shown}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Tmux {
    /// What a window shows once its process has ended. Not by the words that tmux draws: 3.3 sometimes misses the
    /// signal of an ended child, and then draws none.
    #[track_caller]
    fn ended(&self, window: &str) -> String {
        let begun = Instant::now();
        while self.tmux(&["display-message", "-p", "-t", window, "#{pane_dead}"]).trim() != "1" {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", self.shows(window, ""));
            std::thread::sleep(Duration::from_millis(50));
        }
        self.shows(window, "")
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

const PLAN: &str = r#"
[plan]
name = "gated-plan"
executor = "host"

[[applications]]
manifest = "../application/benchmark.toml"
"#;

/// A plan whose path has blanks and quotes, and a tmux server that was started with another environment.
fn begin() -> (Workspace, Tmux) {
    let work = Workspace::new();
    let manifest = GATED.replace(
        "[targets.local]",
        "[params]\ngreeting = \"none\"\ntoken = { env = \"GATED_TOKEN\", secret = true }\n[targets.local]",
    );
    let manifest = manifest.replace(
        "run = \"echo deploying\"",
        "run = \"echo {{params.greeting}} > greeting; printf %s \\\"$TOKEN\\\" > token; printf %s \\\"$AWS_PROFILE\\\" > profile\"\n\
         env = { TOKEN = \"{{params.token}}\" }",
    );
    work.write("application/benchmark.toml", &manifest);
    work.write("my \"plans\"/it's; gated;.toml", PLAN);
    let tmux = Tmux::new();
    tmux.tmux(&["new-session", "-d", "-s", "other", "sleep 100"]);
    (work, tmux)
}

const FILE: &str = "my \"plans\"/it's; gated;.toml";
const GREETING: &str = "it's a \"test\"; of $HOME #{pid} \\;";
const SECRET: &str = "s3cret'\"; #{x}\nsecond line";

fn sb(work: &Workspace, tmux: &Tmux, arguments: &[&str]) -> Ran {
    let mut command = work.command(arguments);
    tmux.aim(&mut command).env("GATED_TOKEN", SECRET).env("AWS_PROFILE", "mine");
    Ran::of(command.output().unwrap())
}

#[test]
fn a_run_in_tmux_gets_arguments_and_environment_whole_and_is_joined_not_repeated() {
    let (work, tmux) = begin();
    let greeting = format!("greeting={GREETING}");
    let arguments = ["run", FILE, "--tmux", "-p", &greeting];
    let started = sb(&work, &tmux, &arguments).expect(0);
    assert!(started.stderr.contains("tmux attach -t sb-gated-plan"), "{}", started.stderr);
    assert!(
        work.appears("application/calls", "x"),
        "{}",
        tmux.tmux(&["capture-pane", "-p", "-t", "sb-gated-plan:progress"])
    );
    assert_eq!(work.read("application/greeting"), format!("{GREETING}\n"));
    assert_eq!(work.read("application/token"), SECRET);
    assert_eq!(work.read("application/profile"), "mine");

    let joined = sb(&work, &tmux, &arguments).expect(0);
    assert!(joined.stderr.contains("nothing is started"), "{}", joined.stderr);
    tmux.shows("sb-gated-plan:log", "begin 1");
    // The secret is in the run's memory, and nowhere on the way to it.
    for place in ["show-environment", "show-options"] {
        assert!(!tmux.tmux(&[place, "-t", "sb-gated-plan"]).contains("s3cret"));
        assert!(!tmux.tmux(&[place, "-g"]).contains("s3cret"));
    }
    assert_eq!(std::fs::read_dir(work.path().join(".sb/tmux")).unwrap().count(), 0);
    for process in work.processes() {
        assert!(!process.contains("s3cret"), "{process}");
    }

    work.write("application/go-1", "");
    work.write("application/go-2", "");
    let shown = tmux.ended("sb-gated-plan:progress");
    assert!(shown.contains(": complete; cleanup complete"), "{shown}");
    tmux.shows("sb-gated-plan:log", "has ended");
    assert_eq!(work.read("application/calls"), "x\nx\n", "one run, two attempts");

    // The session of a run that has ended gives its place to the next one.
    std::fs::remove_file(work.path().join("application/calls")).unwrap();
    sb(&work, &tmux, &arguments).expect(0);
    let shown = tmux.ended("sb-gated-plan:progress");
    assert!(shown.contains(": complete; cleanup complete"), "{shown}");
    assert_eq!(work.read("application/calls"), "x\nx\n");
    assert_eq!(tmux.tmux(&["list-sessions", "-F", "#{session_name}"]), "other\nsb-gated-plan\n");
}

#[test]
fn a_run_that_lives_though_its_tmux_server_has_died_is_not_run_again_beside_it() {
    let (work, tmux) = begin();
    let arguments = ["run", FILE, "--tmux"];
    sb(&work, &tmux, &arguments).expect(0);
    assert!(work.appears("application/calls", "x"));
    tmux.tmux(&["kill-server"]);
    let refused = sb(&work, &tmux, &arguments).expect(6);
    assert!(refused.stderr.contains("--anew` begins another one beside it"), "{}", refused.stderr);
    assert_eq!(tmux.tmux(&["list-sessions"]), "");
    work.write("application/go-1", "");
    work.write("application/go-2", "");
    let begun = Instant::now();
    while !work.sb(&["status", "--format", "json"]).stdout.contains("\"cleanup\": \"complete\"") {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(work.read("application/calls"), "x\nx\n", "one run, two attempts");
}

#[test]
fn a_run_in_tmux_outlives_the_terminal_that_it_was_started_from() {
    let (work, tmux) = begin();
    // A terminal: a window of another tmux.
    let terminal = Tmux::new();
    let line = format!(
        "cd '{}' && SB_LOCKS='{}' TMUX= TMUX_TMPDIR='{}' GATED_TOKEN=x '{}' run \"{}\" --tmux; echo back",
        work.path().display(),
        work.path().join(".runtime").display(),
        tmux.folder.path().display(),
        env!("CARGO_BIN_EXE_sb"),
        FILE.replace('"', "\\\""),
    );
    terminal.tmux(&["new-session", "-d", "-s", "terminal", "-x", "120", "-y", "40", "sh"]);
    terminal.tmux(&["send-keys", "-t", "terminal", "-l", &line]);
    terminal.tmux(&["send-keys", "-t", "terminal", "Enter"]);
    assert!(work.appears("application/calls", "x"), "{}", terminal.shows("terminal", ""));
    terminal.shows("terminal", "[sb-gated");
    let client = tmux.tmux(&["list-clients", "-F", "#{client_pid}"]);
    let client = rustix::process::Pid::from_raw(client.trim().parse().expect("one client")).unwrap();
    rustix::process::kill_process(client, rustix::process::Signal::KILL).unwrap();
    terminal.shows("terminal", "back");
    assert_eq!(tmux.tmux(&["list-clients"]), "");
    work.write("application/go-1", "");
    work.write("application/go-2", "");
    let shown = tmux.ended("sb-gated-plan:progress");
    assert!(shown.contains(": complete; cleanup complete"), "{shown}");
}

#[test]
fn a_run_is_joined_under_every_name_and_never_ended_by_the_next() {
    let (work, tmux) = begin();
    let arguments = ["run", FILE, "--tmux"];
    sb(&work, &tmux, &arguments).expect(0);
    assert!(work.appears("application/calls", "x"));
    let pane = tmux.tmux(&["list-panes", "-t", "sb-gated-plan:progress", "-F", "#{pane_id}"]);
    let pane = pane.trim();
    for change in [
        &["rename-window", "-t", "sb-gated-plan:progress", "mine"][..],
        &["rename-session", "-t", "sb-gated-plan", "my own"],
        &["break-pane", "-d", "-s", pane, "-t", "other:7"],
    ] {
        tmux.tmux(change);
        let joined = sb(&work, &tmux, &arguments).expect(0);
        assert!(joined.stderr.contains("nothing is started"), "{change:?}: {}", joined.stderr);
    }
    assert_eq!(tmux.tmux(&["display-message", "-p", "-t", pane, "#{session_name}"]), "other\n");
    assert_eq!(work.read("application/calls"), "x\n");
    work.write("application/go-1", "");
    work.write("application/go-2", "");
    assert!(tmux.ended(pane).contains(": complete; cleanup complete"));

    // The next one starts in the same pane, and leaves alone what people have opened beside it.
    std::fs::remove_file(work.path().join("application/calls")).unwrap();
    sb(&work, &tmux, &arguments).expect(0);
    assert!(work.appears("application/calls", "x\nx\n"));
    assert!(tmux.ended(pane).contains(": complete; cleanup complete"));
    assert!(
        tmux.tmux(&["list-panes", "-s", "-t", "other", "-F", "#{pane_start_command}"]).contains("sleep 100")
    );
    assert_eq!(work.sb(&["runs", "--format", "json"]).expect(0).stdout.matches("\"ended\"").count(), 2);
}

#[test]
fn a_run_goes_on_when_its_tmux_server_ends() {
    let (work, tmux) = begin();
    sb(&work, &tmux, &["run", FILE, "--tmux"]).expect(0);
    assert!(work.appears("application/calls", "x"));
    tmux.shows("sb-gated-plan:progress", "call");
    tmux.tmux(&["kill-server"]);
    work.write("application/go-1", "");
    work.write("application/go-2", "");
    let watched = work.sb(&["status", "--watch"]).expect(0);
    assert!(watched.stdout.contains("measurement complete; cleanup complete"), "{}", watched.stdout);
    assert_eq!(work.read("application/calls"), "x\nx\n");
}

#[test]
fn a_killed_run_is_resumed_in_its_session() {
    let (work, tmux) = begin();
    sb(&work, &tmux, &["run", FILE, "--tmux"]).expect(0);
    assert!(work.appears("application/calls", "x"));
    let joined = sb(&work, &tmux, &["resume", "--tmux"]).expect(0);
    assert!(joined.stderr.contains("nothing is started"), "{}", joined.stderr);
    let runner = tmux.tmux(&["list-panes", "-t", "sb-gated-plan:progress", "-F", "#{pane_pid}"]);
    let runner = rustix::process::Pid::from_raw(runner.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(runner, rustix::process::Signal::KILL).unwrap();
    tmux.ended("sb-gated-plan:progress");
    work.write("application/go-1", "");
    work.write("application/go-2", "");
    sb(&work, &tmux, &["resume", "--tmux"]).expect(0);
    let shown = tmux.ended("sb-gated-plan:progress");
    assert!(shown.contains(": complete; cleanup complete"), "{shown}");
    assert_eq!(work.read("application/calls"), "x\nx\n");
    let nothing = sb(&work, &tmux, &["resume", "--tmux"]).expect(0);
    assert!(nothing.stderr.contains("nothing to resume"), "{}", nothing.stderr);
}

#[test]
fn what_stands_in_the_way_of_a_session_is_said_at_once() {
    let (work, tmux) = begin();
    let mut command = work.command(&["run", FILE, "--tmux"]);
    let missing = Ran::of(tmux.aim(&mut command).env("PATH", "/nonexistent").output().unwrap()).expect(1);
    assert!(missing.stderr.contains("apt-get install tmux"), "{}", missing.stderr);
    work.write("plans/bad.toml", "[plan]\nname = 3\n");
    sb(&work, &tmux, &["run", "plans/bad.toml", "--tmux"]).expect(3);
    // A session of the same name that is something else is left alone.
    tmux.tmux(&["new-session", "-d", "-s", "sb-gated-plan", "sleep 100"]);
    let started = sb(&work, &tmux, &["run", FILE, "--tmux"]).expect(0);
    assert!(started.stderr.contains("sb-gated-plan-"), "{}", started.stderr);
    work.write("application/go-1", "");
    work.write("application/go-2", "");
    assert!(work.appears("application/calls", "x\nx\n"));
    work.sb(&["status", "--watch"]).expect(0);
}

#[test]
fn a_run_that_cannot_begin_in_its_session_is_not_reported_as_running() {
    let (work, tmux) = begin();
    // The variable that gives its parameter a value is missing.
    let mut command = work.command(&["run", FILE, "--tmux"]);
    let refused = Ran::of(tmux.aim(&mut command).output().unwrap()).expect(3);
    for text in ["ended before its run began", "GATED_TOKEN", "tmux attach -t sb-gated-plan"] {
        assert!(refused.stderr.contains(text), "no `{text}` in {}", refused.stderr);
    }
    assert!(!refused.stderr.contains("the run is in"), "{}", refused.stderr);
    // Its pane is free again.
    let started = sb(&work, &tmux, &["run", FILE, "--tmux"]).expect(0);
    assert!(started.stderr.contains("the run is in tmux session `sb-gated-plan`"), "{}", started.stderr);
    work.write("application/go-1", "");
    work.write("application/go-2", "");
    assert!(work.appears("application/calls", "x\nx\n"));
    work.sb(&["status", "--watch"]).expect(0);
}
