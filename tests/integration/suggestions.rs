//! Commands that messages suggest, run in the situation in which they are suggested.

use std::process::Command;

use crate::workspace::{Ran, Workspace};

const MANIFEST: &str = r#"[benchmark]
name = "it"

[params]
size = 1

[targets.local]
traces = "none"

[[deploy]]
name = "one"
run = "echo {{params.size}}; echo begun >> trail; sleep ${PAUSE:-0}"

[[invoke]]
name = "call"
run = "echo called"

[[cleanup]]
name = "one"
run = "true"
"#;

const PLAN: &str = "[plan]\nname = \"p\"\n\n[[applications]]\nmanifest = \"../benchmark.toml\"\n";

/// A workspace with an application of host commands and a plan.
fn application() -> Workspace {
    let work = Workspace::new();
    work.write("benchmark.toml", MANIFEST);
    work.write("plans/p.toml", PLAN);
    work
}

/// No container engine is there.
fn command(work: &Workspace, words: &[&str]) -> Command {
    let mut command = work.command(words);
    command.env("SB_EXECUTOR", "host").env("SB_PREFLIGHT", "off");
    command.env("DOCKER_HOST", "unix:///nonexistent.sock");
    command
}

fn sb(work: &Workspace, words: &[&str]) -> Ran {
    Ran::of(command(work, words).output().unwrap())
}

/// The commands in backticks, and behind `with: `, of a message, without those that name a place to be filled in.
fn suggested(told: &Ran) -> Vec<String> {
    let text = format!("{}\n{}", told.stdout, told.stderr);
    let is_open = |word: &str| {
        word.contains("path/to")
            || word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || "=_".contains(c))
    };
    let behind = |line: &str| line.split_once("with: sb ").map(|(_, rest)| format!("sb {}", rest.trim()));
    let mut found: Vec<String> = text.lines().filter_map(behind).collect();
    let quoted = text.split('`').skip(1).step_by(2);
    found.extend(
        quoted
            .filter(|part| part.starts_with("sb ") && !part.contains('\n'))
            .filter(|part| !part.split_whitespace().any(is_open))
            .map(str::to_owned),
    );
    found.sort();
    found.dedup();
    found
}

/// In a situation, `words` are told to do something else: exactly these commands (by their beginning), each of which ends with
/// the code when it is run there.
#[track_caller]
fn check(situation: &dyn Fn() -> Workspace, words: &[&str], expected: &[(&str, i32)]) {
    let told = sb(&situation(), words);
    let names = suggested(&told);
    let begins = |command: &String, start: &str| command.starts_with(start);
    for command in &names {
        let Some((_, code)) = expected.iter().find(|(start, _)| begins(command, start)) else {
            panic!("{words:?} suggests `{command}`, of which nothing is expected: {names:?}");
        };
        // Each in a place of its own: one may change what another needs. The names of runs differ.
        let work = situation();
        let told = sb(&work, words);
        let (start, _) = expected.iter().find(|(start, _)| begins(command, start)).unwrap();
        let again = suggested(&told).into_iter().find(|command| begins(command, start));
        let again = again.unwrap_or_else(|| panic!("{words:?} suggests it once only: {}", told.stderr));
        let given: Vec<&str> = again.split_whitespace().skip(1).collect();
        let ran = sb(&work, &given);
        assert_eq!(ran.code, *code, "`{again}` after {words:?}: {} {}", ran.stdout, ran.stderr);
    }
    for (start, _) in expected {
        assert!(
            names.iter().any(|command| begins(command, start)),
            "{words:?} suggests no `{start}`: {} {}",
            told.stdout,
            told.stderr
        );
    }
}

#[test]
fn what_is_to_be_written_or_corrected() {
    let broken = || {
        let work = application();
        work.write("benchmark.toml", &MANIFEST.replace("[params]", "[parameters]"));
        work
    };
    check(&broken, &["validate"], &[("sb explain unknown-key", 0), ("sb validate --fix", 0)]);
    check(&application, &["explain", "unknown-kay"], &[("sb explain unknown-key", 0)]);
    check(&application, &["explain", "nonsense"], &[("sb explain", 0)]);
    let untidy = || {
        let work = application();
        work.write("benchmark.toml", &MANIFEST.replace(" = ", "="));
        work
    };
    check(&untidy, &["fmt", "--check"], &[("sb fmt", 0)]);
    check(&Workspace::new, &["new"], &[("sb new shop", 0)]);
    let with_template = || {
        let work = Workspace::new();
        work.copy("examples/hello-http");
        let from = work.path().join("examples/hello-http");
        for name in ["template.yaml", "src", "benchmark.toml"] {
            std::fs::rename(from.join(name), work.path().join(name)).unwrap();
        }
        work
    };
    check(&with_template, &["new"], &[("sb validate", 0)]);
}

#[test]
fn what_is_to_be_done_first() {
    check(&application, &["invoke"], &[("sb prepare", 0)]);
    check(&application, &["run", "benchmark.toml"], &[("sb test --file /", 0)]);
    check(&application, &["report"], &[("sb test", 0)]);
    let tested = || {
        let work = application();
        sb(&work, &["test"]).expect(0);
        work
    };
    check(&tested, &["logs", "nonsense"], &[("sb status ", 0)]);
    check(&tested, &["why", "nonsense"], &[("sb status ", 0)]);
    check(&tested, &["trace", "list"], &[("sb get-traces", 1)]);
}

#[test]
fn what_is_left_is_removed() {
    let failed = || {
        let work = application();
        work.write("benchmark.toml", &MANIFEST.replace("echo called", "exit 3"));
        work
    };
    check(&failed, &["test", "--keep-on-failure"], &[("sb cleanup ", 0)]);
    let kept = || {
        let work = failed();
        sb(&work, &["test", "--keep-on-failure"]).expect(4);
        work
    };
    check(&kept, &["leaks"], &[("sb cleanup ", 0), ("sb why ", 0)]);
    check(&kept, &["resume"], &[("sb leaks", 4)]);
    check(&kept, &["why", "cleanup/one"], &[("sb cleanup ", 0)]);
    let deployed = || {
        let work = application();
        sb(&work, &["prepare"]).expect(0);
        work
    };
    check(&deployed, &["leaks"], &[("sb cleanup", 0)]);
}

#[test]
fn a_run_that_was_killed_is_gone_on_with() {
    let killed = || {
        let work = application();
        let log = std::fs::File::create(work.path().join("runner.log")).unwrap();
        let mut runner =
            command(&work, &["run", "plans/p.toml"]).env("PAUSE", "2").stderr(log).spawn().unwrap();
        // Not only started: what is just being made holds the runner's lock for a moment.
        assert!(work.appears("trail", "begun"), "{}", work.read("runner.log"));
        runner.kill().unwrap();
        runner.wait().unwrap();
        work
    };
    check(&killed, &["status"], &[("sb resume", 0)]);
    check(&killed, &["run", "plans/p.toml"], &[("sb resume ", 0), ("sb cleanup ", 0), ("sb run /", 0)]);
    check(&killed, &["why", "invoke/call"], &[("sb resume ", 0)]);
    let edited = || {
        let work = killed();
        work.write("benchmark.toml", &MANIFEST.replace("echo called", "echo called again"));
        work
    };
    let told = suggested(&sb(&edited(), &["resume"]));
    assert!(told.len() == 2 && told.iter().all(|it| it.starts_with("sb resume ")), "{told:?}");
    for option in ["--accept-changes", "--as-started"] {
        let work = edited();
        let told = suggested(&sb(&work, &["resume"]));
        let command = told.iter().find(|command| command.ends_with(option)).unwrap();
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        sb(&work, &words).expect(0);
    }
}

#[test]
fn a_shell_for_a_step_that_runs_no_command_is_offered_where_there_is_one() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    let no_command = sb_in_example(&work, &["shell", "--step", "deploy/stack"]);
    let said = &no_command.expect(2).stderr;
    for text in ["runs no command: it starts the local target", "`sb shell` without --step"] {
        assert!(said.contains(text), "{said}");
    }
    sb_in_example(&work, &["shell", "--", "true"]).expect(0);
    // The same name in another target is a command.
    let manifest = work.read("examples/hello-http/benchmark.toml");
    let (head, rest) = manifest.split_once("[[deploy]]").unwrap();
    let other = "[targets.other]\ntraces = \"none\"\n\n[[deploy]]\nname = \"stack\"\ntarget = \"other\"\nrun = \"echo http://127.0.0.1:1\"\noutputs.endpoint = { line = -1 }\n";
    let seed = "[[deploy]]\nname = \"seed\"\ntarget = \"local\"\nrun = \"true\"\n";
    let rest = rest.replacen("name = \"stack\"", "name = \"stack\"\ntarget = \"local\"", 1);
    let rest = rest.replace("local = { down", "target = \"local\"\nlocal = { down");
    work.write("examples/hello-http/benchmark.toml", &format!("{head}{other}\n{seed}\n[[deploy]]{rest}"));
    let told = sb_in_example(&work, &["shell", "--target", "local", "--step", "stack"]);
    let several = "several steps are called `stack`";
    assert!(told.expect(2).stderr.contains(several));
    let told = sb_in_example(&work, &["shell", "--target", "local", "--step", "deploy/stack"]).expect(2);
    let said = told.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("steps of `local` that run commands: deploy/seed"), "{said}");
    let commands = suggested(&told);
    assert_eq!(commands, ["sb shell --target other --step deploy/stack"]);
    let words: Vec<&str> = commands[0].split(' ').skip(1).chain(["--", "true"]).collect();
    sb_in_example(&work, &words).expect(0);
}

fn sb_in_example(work: &Workspace, words: &[&str]) -> Ran {
    let mut command = command(work, words);
    Ran::of(command.current_dir(work.path().join("examples/hello-http")).output().unwrap())
}
