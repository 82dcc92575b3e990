//! The programs in `examples/`, as `cargo test` builds them.

use std::path::Path;
use std::process::{Command, Output};

#[track_caller]
fn start(name: &str, arguments: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_BIN_EXE_sb")).with_file_name("examples");
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "`{}` is not built: run `cargo build --examples`", program.display());
    Command::new(&program).args(arguments).output().unwrap()
}

/// Runs an example and returns what it prints.
#[track_caller]
fn run(name: &str, arguments: &[&str]) -> String {
    let output = start(name, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {arguments:?}: {}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A trace of X-Ray in which a gateway calls a function, one line.
fn trace(id: &str, milliseconds: u32) -> String {
    let end = f64::from(milliseconds) / 1e3;
    let documents = [
        serde_json::json!({ "id": "g", "name": "api", "origin": "AWS::ApiGateway::Stage",
                            "start_time": 0.0, "end_time": end }),
        serde_json::json!({ "id": "f", "parent_id": "g", "name": "hello", "origin": "AWS::Lambda::Function",
                            "start_time": 0.01, "end_time": end - 0.002 }),
    ];
    let segments = documents.map(|document| serde_json::json!({ "Document": document.to_string() }));
    serde_json::json!({ "Id": id, "Duration": end, "Segments": segments }).to_string()
}

#[test]
fn analyze_explains_the_slowest_trace_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("traces.json");
    let lines = [trace("1-a", 40), trace("1-b", 100), "{}".to_owned(), trace("1-c", 60)];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let printed = run("analyze", &[file.to_str().unwrap()]);
    let expected = [
        "3 valid, 1 invalid traces",
        "  1 × malformed",
        "",
        "the slowest: 1-b, 100.000 ms",
        "",
        "critical path: api > hello",
        "       0.000 ms       10.000 ms  orchestration             api",
        "      10.000 ms       88.000 ms  computation               hello",
        "      98.000 ms        2.000 ms  orchestration             api",
        "",
        "breakdown",
        "      12.000 ms          12.0 %  orchestration",
        "      88.000 ms          88.0 %  computation",
        "",
    ];
    assert_eq!(printed, expected.join("\n"));
}

#[test]
fn plan_shows_deployments_trials_and_steps() {
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans/quickstart.toml");
    let text = run("plan", &[quickstart.to_str().unwrap()]);
    for part in [
        "quickstart: ",
        "executor host",
        "\nhello-http.1 (hello-http on local)\n  load: 100 invocations in 10s\n  trial hello-http.1/t1\n",
        "  step async-pipeline.1/deploy/stack (local up), waits for 0\n",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn plan_shows_every_problem_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.toml");
    let text = "[plan]\nname = \"a b\"\nexecutor = \"hots\"\n[[applications]]\nmanifest = \"b.toml\"\n";
    std::fs::write(&path, text).unwrap();
    let output = start("plan", &[path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    for (line, part) in
        [(2, "cannot be the name of a plan"), (3, "unknown value `hots`"), (3, "did you mean `host`?")]
    {
        let place = format!("wrong.toml:{line}:");
        assert!(text.contains(&place) && text.contains(part), "{part} is not in:\n{text}");
    }
}

#[test]
fn run_plan_runs_a_plan_to_its_end_without_sb() {
    let folder = tempfile::tempdir().unwrap();
    let application = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/hello-http");
    for name in ["benchmark.toml", "template.yaml"] {
        std::fs::copy(application.join(name), folder.path().join(name)).unwrap();
    }
    std::fs::create_dir(folder.path().join("src")).unwrap();
    for file in std::fs::read_dir(application.join("src")).unwrap().map(Result::unwrap) {
        if file.path().is_file() {
            std::fs::copy(file.path(), folder.path().join("src").join(file.file_name())).unwrap();
        }
    }
    let plan = folder.path().join("plan.toml");
    let text = "[plan]\nname = \"two\"\nexecutor = \"host\"\n[[applications]]\nmanifest = \"benchmark.toml\"\n\
                [load]\niterations = 2\n";
    std::fs::write(&plan, text).unwrap();
    let text = run("run_plan", &[plan.to_str().unwrap()]);
    for part in [
        "hello-http.1/deploy/stack: succeeded after ",
        "hello-http.1/cleanup/stack: succeeded after ",
        "Ended { measurement: Complete, cleanup: Complete }",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(folder.path().join(".sb/state.db").is_file());
}
