//! Background steps: what they must say, and what they cannot.

use super::*;
use crate::benchmark::ReadyCondition;

fn manifest(phase: &str, step: &str) -> String {
    format!(
        "{HEAD}[params]\nport = 5432\n[targets.local]\ntraces = \"none\"\n[[{phase}]]\nname = \"database\"\n{step}\n"
    )
}

#[track_caller]
fn check_refused(phase: &str, step: &str, place: &str, words: &str) {
    let checked = read(&manifest(phase, step));
    let [problem] = checked.problems.as_slice() else {
        panic!("{step}\n{}", rendered(&checked.problems));
    };
    let source = problem.source.as_ref().unwrap();
    assert_eq!(source.text().get(problem.labels[0].0.clone()), Some(place), "{step}");
    let said = format!("{}; {}", problem.message, problem.help.clone().unwrap_or_default());
    assert!(said.contains(words), "{said}");
}

#[test]
fn what_a_background_step_must_say_and_cannot() {
    let good = "run = \"postgres\"\nbackground = true\nready = { port = 5432 }";
    let with = |more: &str| format!("{good}\n{more}");
    check_refused("invoke", good, "true", "belongs to deploy steps");
    check_refused("cleanup", good, "true", "belongs to deploy steps");
    check_refused("deploy", &with("timeout = \"1m\""), "\"1m\"", "has no `timeout`");
    check_refused("deploy", "run = \"x\"\nbackground = true", "true", "does not say when it is ready");
    check_refused("deploy", "run = \"x\"\nready = \"at_once\"", "\"at_once\"", "belongs to background steps");
    check_refused(
        "deploy",
        "wait = \"1s\"\nbackground = true",
        "true",
        "`background` belongs to steps with `run`",
    );
    check_refused(
        "deploy",
        &with("outputs.x = { stdout = true }"),
        "{ stdout = true }",
        "completes only at its end",
    );
    check_refused("deploy", &with("outputs.x = { json = \"/a\" }"), "{ json = \"/a\" }", "use `regex`");
    check_refused("deploy", &with("outputs.x = { line = -1 }"), "{ line = -1 }", "counted from the end");
    let ready = |ready: &str| format!("run = \"x\"\nbackground = true\nready = {ready}");
    check_refused(
        "deploy",
        &ready("{ port = 1, log = \"x\" }"),
        "{ port = 1, log = \"x\" }",
        "exactly one of",
    );
    check_refused("deploy", &ready("{ timeout = \"1m\" }"), "{ timeout = \"1m\" }", "exactly one of");
    check_refused("deploy", &ready("{ port = 70000 }"), "70000", "a port cannot be 70000");
    check_refused("deploy", &ready("{ port = \"x\" }"), "\"x\"", "a port cannot be");
    check_refused("deploy", &ready("{ port = 1, status = 200 }"), "200", "`status` is that of a URL");
    check_refused("deploy", &ready("{ log = \"(\" }"), "\"(\"", "cannot be used");
    check_refused("deploy", &ready("{ http = \"localhost\" }"), "\"localhost\"", "http://");
    check_refused("deploy", &ready("{ port = \"{{params.prt}}\" }"), "{{params.prt}}", "not defined here");
    check_refused(
        "deploy",
        &ready("{ port = \"7{{params.port}}\" }"),
        "\"7{{params.port}}\"",
        "`75432` is no port",
    );
    check_refused("deploy", &ready("\"soon\""), "\"soon\"", "at_once");
    let stop = "[[cleanup]]\nname = \"background\"\nrun = \"x\"";
    check_refused("deploy", &with(stop), "local", "cleanup step called `background`");
}

#[test]
fn a_background_step_is_stopped_after_all_that_the_manifest_cleans_up() {
    let steps = "run = \"postgres\"\nbackground = true\nready = { port = \"{{params.port}}\", timeout = \"5s\" }\n\
                 outputs.a = { regex = \"x\" }\noutputs.b = { line = 1 }\noutputs.c = { file = \"made\" }\n\
                 [[cleanup]]\nname = \"one\"\nrun = \"x\"\n[[cleanup]]\nname = \"two\"\nneeds = []\nrun = \"y\"";
    let checked = read(&manifest("deploy", steps));
    assert!(checked.problems.is_empty(), "{}", rendered(&checked.problems));
    let (benchmark, _) = checked.into_result().unwrap();
    let target = &benchmark.targets["local"];
    let Action::Background(what) = &target.deploy[0].action else { panic!("{:?}", target.deploy[0].action) };
    assert!(matches!(&what.ready, ReadyCondition::Port(port) if port.source() == "{{params.port}}"));
    assert_eq!(what.ready_within, std::time::Duration::from_secs(5));
    let last = target.cleanup.last().unwrap();
    assert_eq!(last.action, Action::StopBackground);
    assert_eq!(last.needs, ["one", "two"]);
}
