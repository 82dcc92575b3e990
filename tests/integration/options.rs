//! What commands say that they have, they have: every option that is listed changes something, and every command that
//! a message suggests works where it is suggested.

use crate::workspace::{Ran, Workspace};

const MANIFEST: &str = r#"
[benchmark]
name = "steps"

[params]
size = 1

[targets.local]
traces = "local"

[[deploy]]
name = "stack"
local = { template = "template.yaml" }

[[deploy]]
name = "note"
run = "echo of size {{params.size}}"

[[invoke]]
name = "load"
load = true

[[invoke]]
name = "call"
run = "echo called"

[[workload.requests]]
name = "get"
url = "{{outputs.endpoint}}/hello"

[[cleanup]]
name = "note"
run = "echo cleaned"

[[cleanup]]
name = "stack"
local = { down = true }
"#;

const PLAN: &str =
    "[plan]\nname = \"p\"\nexecutor = \"host\"\n\n[[applications]]\nmanifest = \"benchmark.toml\"\n";

/// An application on the local target, which was tested once and is deployed.
fn deployed() -> Workspace {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    for name in ["template.yaml", "src"] {
        let from = work.path().join("examples/hello-http").join(name);
        std::fs::rename(from, work.path().join(name)).unwrap();
    }
    std::fs::remove_dir_all(work.path().join("examples")).unwrap();
    work.write("benchmark.toml", MANIFEST);
    work.write("invocations.txt", "app,func,end_timestamp,duration\na,f,1.5,0.5\n");
    work.write("plans/p.toml", &PLAN.replace("benchmark.toml", "../benchmark.toml"));
    work.sb(&["test", "--executor", "host"]).expect(0);
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    work.sb(&["invoke", "--executor", "host"]).expect(0);
    work.sb(&["get-traces"]).expect(0);
    work
}

/// What the completions offer here.
fn offered(work: &Workspace, words: &[&str]) -> Vec<String> {
    let ran = work.sb(&[&["__complete", "--"], words].concat()).expect(0);
    ran.stdout.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

/// The commands without commands of their own, each with what it needs to do something.
const COMMANDS: &[&[&str]] = &[
    &["run", "plans/p.toml"],
    &["resume"],
    &["test"],
    &["cleanup"],
    &["validate"],
    &["plan", "show", "plans/p.toml"],
    &["plan", "graph", "plans/p.toml"],
    &["plan", "estimate", "plans/p.toml"],
    &["workload", "show", "jump"],
    &["workload", "generate", "jump"],
    &["dataset", "summarize", "invocations.txt", "--min-rate", "0"],
    &["dataset", "classify", "invocations.txt", "--min-rate", "0"],
    &["dataset", "select", "invocations.txt", "--min-rate", "0", "--pattern", "idle"],
    &["prepare"],
    &["invoke"],
    &["get-traces"],
    &["analyze-traces"],
    &["config", "show"],
    &["config", "get", "endpoint"],
    &["config", "set", "size", "1"],
    &["shell", "--", "true"],
    &["runs"],
    &["status"],
    &["report"],
    &["logs"],
    &["why", "analyze-traces"],
    &["trace", "list"],
    &["trace", "aggregate"],
    &["trace", "what-if"],
    &["leaks"],
    &["init"],
    &["login", "aws"],
    &["logout", "aws"],
    &["check-credentials", "aws"],
    &["local", "status"],
    &["local", "logs"],
    &["local", "trace"],
    &["version"],
];

/// The words of a command, with an option before its own program's.
fn with(command: &[&str], option: &[&str]) -> Vec<String> {
    let end = command.iter().position(|word| *word == "--").unwrap_or(command.len());
    [&command[..end], option, &command[end..]].concat().iter().map(|word| (*word).to_owned()).collect()
}

fn sb(work: &Workspace, words: &[String]) -> Ran {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // No container engine is there, and nobody is logged in.
    let mut command = work.command(&words);
    command.env("DOCKER_HOST", "unix:///nonexistent.sock").env("HOME", work.path().join("home"));
    command.env("SB_PREFLIGHT", "off");
    Ran::of(command.output().unwrap())
}

#[test]
fn a_value_that_makes_no_sense_is_noticed_by_every_command_that_lists_the_option() {
    let work = deployed();
    let mut checked = 0;
    for command in COMMANDS {
        let own: Vec<&str> = command.iter().take_while(|word| **word != "--").copied().collect();
        let options = offered(&work, &[own.as_slice(), &["--"]].concat());
        for (option, value, named) in [
            ("--file", "nonsense.toml", "nonsense.toml"),
            ("--target", "nonsense", "nonsense"),
            ("--param", "nonsense=1", "nonsense"),
            ("--format", "nonsense", "nonsense"),
            ("--executor", "nonsense", "nonsense"),
        ] {
            // The targets in an account are those of any workspace.
            let is_of_account = command[0] == "leaks" && option == "--target";
            if is_of_account || !options.iter().any(|offered| offered == option) {
                continue;
            }
            let ran = sb(&work, &with(command, &[option, value]));
            let said = format!("{}{}", ran.stdout, ran.stderr);
            assert!(ran.code != 0 && said.contains(named), "{command:?} {option}: {} {said}", ran.code);
            checked += 1;
        }
        if options.iter().any(|offered| offered == "--executor") {
            let [docker, host] = ["docker", "host"].map(|word| {
                // A run of a plan is cleaned up by itself; what stands is deployed again, which changes nothing.
                let ran = sb(&work, &with(command, &["--executor", word]));
                sb(&work, &with(&["prepare"], &["--executor", "host"])).expect(0);
                (ran.code, ran.stderr.lines().last().unwrap_or_default().len())
            });
            assert!(docker != host || command[0] == "plan", "{command:?}: {docker:?} {host:?}");
        }
        // Nothing is opened where no engine is, wherever the state is, and a run that has ended is not resumed.
        if options.iter().any(|offered| offered == "--state-dir")
            && !["logout", "resume", "shell"].contains(&command[0])
        {
            let ran = sb(&work, &with(command, &["--state-dir", "/proc/nonsense/.sb"]));
            let plain = sb(&work, &with(command, &[]));
            sb(&work, &with(&["prepare"], &["--executor", "host"])).expect(0);
            let differs = ran.code != plain.code || ran.stdout != plain.stdout || ran.stderr != plain.stderr;
            assert!(differs, "{command:?} --state-dir: {} {}", ran.stdout, ran.stderr);
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
    sb(&work, &with(&["cleanup"], &["--executor", "host"])).expect(0);
}

#[test]
fn every_format_that_a_command_lists_is_another_one() {
    let work = deployed();
    let mut checked = 0;
    for command in COMMANDS {
        // A run that has ended is not resumed, without an engine nobody is logged in, and valid files are told on
        // standard error.
        if ["check-credentials", "resume", "validate"].contains(&command[0])
            || !offered(&work, &[*command, &["--"]].concat()).contains(&"--format".to_owned())
        {
            continue;
        }
        let formats = offered(&work, &[*command, &["--format", ""]].concat());
        let outputs: Vec<_> = formats
            .iter()
            .map(|format| {
                let executor: &[&str] = if ["run", "test", "prepare", "invoke", "init"].contains(&command[0])
                {
                    &["--executor", "host"]
                } else {
                    &[]
                };
                let ran = sb(&work, &with(command, &[&["--format", format], executor].concat()));
                if format == "json" && command[0] != "init" {
                    let parsed = serde_json::from_str::<serde_json::Value>(&ran.stdout);
                    assert!(parsed.is_ok(), "{command:?}: {} {}", ran.stdout, ran.stderr);
                }
                checked += 1;
                ran.stdout
            })
            .collect();
        for (index, output) in outputs.iter().enumerate() {
            assert!(
                !outputs[..index].contains(output) || command[0] == "init",
                "{command:?} {formats:?}: {output}"
            );
        }
    }
    assert!(checked > 30, "{checked}");
    sb(&work, &with(&["cleanup"], &["--executor", "host"])).expect(0);
}

#[test]
fn verbose_shows_what_steps_print() {
    let work = deployed();
    for command in [&["prepare"][..], &["invoke"], &["cleanup"], &["run", "plans/p.toml"], &["test"]] {
        let [plain, verbose] = [&[][..], &["-v"]].map(|option| {
            let ran = sb(&work, &with(command, &[option, &["--executor", "host"]].concat())).expect(0);
            sb(&work, &with(&["prepare"], &["--executor", "host"])).expect(0);
            ["of size 1", "called", "cleaned"].iter().any(|printed| ran.stderr.contains(printed))
        });
        assert!(!plain && verbose, "{command:?}");
    }
    sb(&work, &with(&["cleanup"], &["--executor", "host"])).expect(0);
}

#[test]
fn logs_of_the_local_target_are_found_by_what_is_proposed() {
    let work = deployed();
    sb(&work, &with(&["local", "logs", "Hello"], &[])).expect(0);
    let wrong = sb(&work, &with(&["local", "logs", "nonsense"], &[])).expect(1);
    let proposed = wrong.stderr.replace('\n', "");
    let command = proposed.split('`').find(|part| part.starts_with("sb local logs ")).unwrap();
    let words: Vec<String> = command.split_whitespace().skip(1).map(str::to_owned).collect();
    sb(&work, &words).expect(0);
    let wrong = sb(&work, &with(&["local", "logs"], &["--name", "nonsense"])).expect(1);
    let proposed = wrong.stderr.replace('\n', "");
    let command =
        proposed.split('`').find(|part| part.starts_with("sb local logs --name steps@local")).unwrap();
    let words: Vec<String> = command.split_whitespace().skip(1).map(str::to_owned).collect();
    sb(&work, &words).expect(0);
    assert_eq!(offered(&work, &["local", "logs", "--name", ""]), ["steps@local"]);
    assert_eq!(offered(&work, &["test", "--target", ""]), ["local"]);
    assert!(offered(&work, &["why", ""]).contains(&"steps.1/t1/get-traces".to_owned()));
    assert!(offered(&work, &["status", ""]).iter().all(|run| run.contains("-steps-")));
    assert_eq!(offered(&work, &["run", ""]), ["plans/p.toml"]);
    assert_eq!(offered(&work, &["plan", "show", ""]), ["plans/p.toml"]);
    assert_eq!(offered(&work, &["explain", "unused-pa"]), ["unused-param"]);
    let traces = offered(&work, &["trace", "show", ""]);
    assert!(traces.iter().all(|id| id.starts_with("1-")) && !traces.is_empty(), "{traces:?}");
    sb(&work, &with(&["trace", "show", &traces[0]], &[])).expect(0);
    sb(&work, &with(&["cleanup"], &["--executor", "host"])).expect(0);
}

#[test]
fn the_target_of_the_environment_is_taken_where_none_is_named() {
    let work = Workspace::new();
    work.write(
        "benchmark.toml",
        "[benchmark]\nname = \"two\"\n[targets.one]\ntraces = \"none\"\n[targets.two]\ntraces = \"none\"\n\
         [[deploy]]\nname = \"it\"\nrun = \"true\"\n[[cleanup]]\nname = \"it\"\nrun = \"true\"\n",
    );
    assert!(work.sb(&["prepare", "--executor", "host"]).expect(2).stderr.contains("--target"));
    let mut command = work.command(&["prepare", "--executor", "host"]);
    assert!(command.env("SB_TARGET", "two").output().unwrap().status.success());
    let leaks = work.sb(&["leaks"]).expect(4);
    assert!(leaks.stdout.contains("two@two"), "{}", leaks.stdout);
}

#[test]
fn a_debt_of_what_never_began_is_forgotten_and_another_one_is_not() {
    let work = Workspace::new();
    work.write(
        "benchmark.toml",
        "[benchmark]\nname = \"it\"\n[targets.local]\ntraces = \"none\"\n\
         [[deploy]]\nname = \"it\"\nrun = [\"./made\"]\nworkdir = \"later\"\n[[cleanup]]\nname = \"it\"\nrun = \"exit 1\"\n",
    );
    let forget = |more: &[&str]| work.sb(&[&["leaks", "--forget", "it@local"], more].concat());
    forget(&[]).expect(2);
    assert!(!work.path().join(".sb").exists());
    work.sb(&["test", "--executor", "host"]).expect(4);
    work.sb(&["leaks"]).expect(4);
    let asked = forget(&[]).expect(2);
    assert!(asked.stderr.contains("sb leaks --forget it@local --yes"), "{}", asked.stderr);
    forget(&["--yes"]).expect(0);
    work.sb(&["leaks"]).expect(0);
    forget(&["--yes"]).expect(2);

    // Now its deploy step runs.
    std::fs::create_dir(work.path().join("later")).unwrap();
    work.sb(&["test", "--executor", "host"]).expect(4);
    assert!(work.sb(&["logs", "deploy/it"]).expect(0).stdout.is_empty());
    work.sb(&["leaks"]).expect(4);
}

#[test]
fn a_command_that_is_not_there_is_not_tried_again() {
    for (run, expected) in [
        ("\"nonsense --version\"", "exit code 127"),
        ("[\"nonsense\", \"--version\"]", "was not found"),
        ("\"./benchmark.toml\"", "exit code 126"),
    ] {
        let work = Workspace::new();
        work.write(
            "benchmark.toml",
            &format!(
                "[benchmark]\nname = \"it\"\n[targets.local]\ntraces = \"none\"\n[[deploy]]\nname = \"it\"\nrun = {run}\n\
                 retry = {{ attempts = 5, delay = \"1h\" }}\n[[cleanup]]\nname = \"it\"\nrun = \"true\"\n"
            ),
        );
        let ran = work.sb(&["test", "--executor", "host"]).expect(1);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
}

#[test]
fn help_and_manual_pages_are_there_for_every_command() {
    let work = Workspace::new();
    for words in
        [&["help"][..], &["help", "plan", "graph"], &["run", "--help"], &["man"], &["man", "plan", "graph"]]
    {
        let ran = work.sb(words).expect(0);
        assert!(ran.stdout.contains("sb"), "{}", ran.stdout);
    }
    work.sb(&["man", "nonsense"]).expect(2);
    work.sb(&["man", "--into", "pages"]).expect(0);
    assert!(work.read("pages/sb-plan-graph.1").contains(".SH SYNOPSIS"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(work.sb(&["completions", shell]).expect(0).stdout.contains("__complete"));
    }
}

/// Examples that need what a test does not have, by their beginnings: a terminal, containers, a cloud, another machine, minutes,
/// or files and names that are made up.
const ELSEWHERE: &[&str] = &[
    "sb run plans/quickstart.toml --tmux",
    "sb run plans/quickstart.toml --seed",
    "sb test constant",
    "sb invoke constant",
    "sb invoke fluctuating",
    "sb invoke trace.csv",
    "sb prepare --target aws",
    "sb workload generate trace.csv",
    "sb report data/raw",
    "sb report compare",
    "sb trace aggregate logs/after",
    "sb trace show 1-5fbcfa0a logs",
    "sb trace what-if --operation",
    "sb analyze-traces traces.json.zst",
    "sb analyze-traces spans.json",
    "sb analyze-traces traces.json --activities",
];

#[test]
fn the_examples_of_the_help_do_what_they_say() {
    let work = Workspace::new();
    work.sb(&["new", "shop", "--target", "local"]).expect(0);
    let plan = "[plan]\nname = \"quickstart\"\nexecutor = \"host\"\n\n[[applications]]\nmanifest = \"../benchmark.toml\"\n";
    for name in ["quickstart", "study", "exp1-latency-breakdown"] {
        work.write(&format!("shop/plans/{name}.toml"), &plan.replace("quickstart", name));
    }
    work.write("shop/load.toml", "constant = 5\nduration = \"1s\"\n");
    work.write(
        "shop/applications/other/benchmark.toml",
        "[benchmark]\nname = \"other\"\n\n[targets.local]\n",
    );
    let sb = |words: &[&str]| {
        let mut command = work.command(words);
        command.current_dir(work.path().join("shop")).env("SB_EXECUTOR", "host").env("SB_PREFLIGHT", "off");
        Ran::of(command.output().unwrap())
    };
    sb(&["test"]).expect(0);
    let id = || {
        let traces = sb(&["trace", "list", "--format", "json"]).expect(0).stdout;
        let traces: serde_json::Value = serde_json::from_str(&traces).unwrap();
        traces["traces"][0]["trace_id"].as_str().unwrap().to_owned()
    };
    let logs = std::fs::read_dir(work.path().join("shop/logs")).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(logs.join("traces.json"), work.path().join("shop/traces.json")).unwrap();
    let logs = format!("logs/{}", logs.file_name().unwrap().to_string_lossy());
    let mut ran = 0;
    for command in [
        "run",
        "test",
        "validate",
        "fmt",
        "explain",
        "plan",
        "plan show",
        "plan graph",
        "plan estimate",
        "workload",
        "workload show",
        "workload generate",
        "status",
        "logs",
        "why",
        "report",
        "trace",
        "trace show",
        "trace path",
        "trace aggregate",
        "trace what-if",
        "trace export",
        "trace list",
        "runs",
        "prepare",
        "invoke",
        "wait",
        "get-traces",
        "analyze-traces",
        "config",
        "config show",
        "config get",
        "config set",
        "completions",
        "man",
        "schema",
        "version",
    ] {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = sb(&words).expect(0).stdout;
        let examples = help.split_once("Example").map(|(_, examples)| examples).unwrap_or_default();
        for line in examples.lines().map(str::trim).filter(|line| line.starts_with("sb ")) {
            if ELSEWHERE.iter().any(|beginning| line.starts_with(beginning)) {
                continue;
            }
            let example = line.split("  ").next().unwrap_or_default();
            let example = example.split([';', '|', '>']).next().unwrap_or_default();
            let example = example.replace("1-5fbcfa0a", &id()).replace("logs/2026-01-31_12-00-00", &logs);
            let words: Vec<&str> = example.split_whitespace().skip(1).collect();
            if words.starts_with(&["prepare", "-p"]) {
                // What is deployed keeps its parameters.
                sb(&["cleanup"]).expect(0);
            }
            let done = sb(&words);
            assert_eq!(done.code, 0, "`{example}`: {}{}", done.stdout, done.stderr);
            ran += 1;
        }
    }
    assert!(ran > 60, "{ran}");
    sb(&["cleanup"]).expect(0);
}
