//! The programs in `examples/`, as `cargo test` builds them.

use std::path::Path;
use std::process::Command;

/// Runs an example and returns what it prints.
#[track_caller]
fn run(name: &str, arguments: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_sb")).with_file_name("examples");
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.is_file(), "`{}` is not built: run `cargo build --examples`", program.display());
    let output = Command::new(&program).args(arguments).output().unwrap();
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
