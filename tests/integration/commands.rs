//! The commands as a user types them, with real processes and the local target.

use crate::workspace::Workspace;

/// A benchmark of host commands that note what they do in `trail`.
const NOTES: &str = r#"
[benchmark]
name = "notes"

[params]
greeting = "it's $HOME; `id`"
token = { env = "NOTES_TOKEN", secret = true }
deploy_id = { random_hex = 8 }

[targets.local]
traces = "none"

[[deploy]]
name = "stack"
run = "echo deploying {{params.greeting}} >> trail; echo '{\"url\": \"http://127.0.0.1:9\"}'"
outputs.url = { json = "/url" }

[[deploy]]
name = "login"
run = "test ${#TOKEN} = 9; echo \"key-$TOKEN\""
env = { TOKEN = "{{params.token}}" }
outputs.key = { stdout = true, secret = true }

[[invoke]]
name = "call"
run = "echo calling \"$URL\" in {{logs_dir}} >> trail; test ${#KEY} = 13"
env = { KEY = "{{outputs.key}}", URL = "{{outputs.url}}" }

[[cleanup]]
name = "stack"
run = "echo cleaning {{params.deploy_id}} >> trail"
"#;

/// A supervisor is this program anew, and so is each load. Where it lies at a fixed address, nothing is corrected when it starts.
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn the_program_lies_at_a_fixed_address() {
    // `e_type` of the header of ELF: 2 is an executable, 3 what can lie anywhere.
    let header = std::fs::read(env!("CARGO_BIN_EXE_sb")).unwrap();
    assert_eq!(&header[..4], b"\x7fELF");
    assert_eq!(u16::from_ne_bytes([header[16], header[17]]), 2);
}

#[test]
fn an_application_goes_through_its_life_one_command_at_a_time() {
    let work = Workspace::new();
    work.copy("examples/async-pipeline");
    let app = "examples/async-pipeline";
    let sb = |arguments: &[&str]| work.sb_in(app, arguments);
    let refused = sb(&["invoke"]).expect(1);
    assert!(
        refused.stderr.contains("is not deployed") && refused.stderr.contains("sb prepare"),
        "{}",
        refused.stderr
    );
    let prepared = sb(&["prepare"]).expect(0);
    assert!(prepared.stdout.contains("endpoint = http://127.0.0.1:"), "{}", prepared.stdout);
    let invoked = sb(&["invoke", "7"]).expect(0);
    assert!(invoked.stdout.contains("invocations"), "{}", invoked.stdout);
    sb(&["wait", "1s"]).expect(0);
    sb(&["get_traces"]).expect(0);
    sb(&["analyze-traces"]).expect(0);
    let logs = std::fs::read_dir(work.path().join(app).join("logs")).unwrap().next().unwrap().unwrap().path();
    let breakdown = std::fs::read_to_string(logs.join("trace_breakdown.csv")).unwrap();
    assert_eq!(breakdown.lines().count(), 8, "{breakdown}");
    let invalid = std::fs::read_to_string(logs.join("invalid_traces.csv")).unwrap();
    assert_eq!(invalid.lines().count(), 1, "{invalid}");
    let report = sb(&["report", logs.to_str().unwrap(), "--format", "json"]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(report["applications"].as_array().unwrap().len(), 1);
    let status = sb(&["status"]).expect(0);
    assert!(status.stdout.contains("async-pipeline@local"), "{}", status.stdout);
    sb(&["leaks"]).expect(4);
    sb(&["cleanup"]).expect(0);
    sb(&["leaks"]).expect(0);
    assert!(sb(&["cleanup"]).expect(1).stderr.contains("nothing to clean up"));
    assert_eq!(work.processes(), Vec::<String>::new());
}

#[test]
fn values_are_quoted_outputs_captured_and_secrets_kept() {
    let work = Workspace::new();
    work.write("benchmark.toml", NOTES);
    let sb = |arguments: &[&str]| {
        let mut command = work.command(arguments);
        command.env("NOTES_TOKEN", "hush-hush").env("SB_EXECUTOR", "host");
        let output = command.output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let missing = work.sb(&["prepare", "--executor", "host"]).expect(3);
    assert!(missing.stderr.contains("NOTES_TOKEN"), "{}", missing.stderr);

    let (code, out, err) = sb(&["prepare"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("url = http://127.0.0.1:9") && !out.contains("hush"), "{out}");
    assert!(work.read("trail").contains("deploying it's $HOME; `id`\n"), "{}", work.read("trail"));
    // The step that made the secret has printed it, and its log does not show it any more.
    let (code, log, err) = sb(&["logs", "notes.1/deploy/login"]);
    assert_eq!((code, log.trim()), (0, "***"), "{err}");
    let names: Vec<_> =
        work.files_with("key-hush-hush").iter().map(|path| path.file_name().unwrap().to_owned()).collect();
    assert!(
        !names.is_empty() && !names.iter().any(|name| name == "stdout" || name == "output.log"),
        "{names:?}"
    );
    let (code, _, err) = sb(&["invoke"]);
    assert_eq!(code, 0, "{err}");
    assert!(work.read("trail").contains("calling http://127.0.0.1:9 in /"));

    let (_, id, _) = sb(&["config", "get", "deploy_id"]);
    assert_eq!(id.trim().len(), 8);
    let (_, token, _) = sb(&["config", "get", "params.token"]);
    assert_eq!(token.trim(), "hush-hush");
    let (_, shown, _) = sb(&["config", "show"]);
    assert!(shown.contains("params.token (secret)") && !shown.contains("hush"), "{shown}");
    assert_eq!(sb(&["config", "set", "greeting", "hello"]).0, 0);
    assert_eq!(sb(&["config", "get", "greeting"]).1.trim(), "hello");
    // A deployment keeps its parameters, and does not let another value pass as in force.
    let (code, _, err) = sb(&["prepare", "-p", "greeting=moin"]);
    assert!(code == 2 && err.contains("is deployed with `greeting` = `hello`"), "{code} {err}");
    assert_eq!(sb(&["prepare", "-p", "greeting=hello"]).0, 0);
    let (code, _, err) = sb(&["config", "set", "greetin", "hello"]);
    assert!(code == 3 && err.contains("greeting"), "{code} {err}");

    // Only files that nobody else can read hold them.
    for path in work.files_with("hush-hush") {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
        assert!(path.starts_with(work.path().join(".sb")), "{}", path.display());
    }
    let (code, _, err) = sb(&["cleanup"]);
    assert_eq!(code, 0, "{err}");
    assert!(work.read("trail").ends_with(&format!("cleaning {}\n", id.trim())));
}

#[test]
fn a_failed_step_says_where_its_output_is_and_cleanup_runs() {
    let work = Workspace::new();
    let manifest = NOTES.replace("test ${#TOKEN} = 9;", "echo half a key; echo broken >&2; exit 3;");
    assert_ne!(manifest, NOTES);
    work.write("benchmark.toml", &manifest);
    let mut command = work.command(&["test", "--executor", "host"]);
    let output = command.env("NOTES_TOKEN", "x").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("exit code 3") && text.contains("output.log"), "{text}");
    assert!(work.read("trail").contains("cleaning"));
    // Its standard output would be the key.
    assert_eq!(work.sb(&["logs", "deploy/login"]).expect(0).stdout, "***\nbroken\n");
    let status = work.sb(&["status", "notes"]);
    assert!(
        status.stdout.contains("skipped, because notes.1/deploy/login did not succeed"),
        "{}",
        status.stdout
    );
}

#[test]
fn an_invalid_manifest_changes_nothing() {
    let work = Workspace::new();
    work.write(
        "benchmark.toml",
        &NOTES.replace("[[deploy]]\nname = \"login\"", "[[deploy]]\nnmae = \"login\""),
    );
    let ran = work.sb(&["prepare", "--executor", "host"]).expect(3);
    assert!(ran.stderr.contains("benchmark.toml:") && ran.stderr.contains("nmae"), "{}", ran.stderr);
    assert!(ran.stderr.contains("did you mean `name`"), "{}", ran.stderr);
    assert!(!work.path().join(".sb").exists());
    let ran = work.sb(&["validate", "--format", "json"]).expect(3);
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(found["problems"][0]["line"].is_number(), "{found:#}");
}

#[test]
fn all_shipped_manifests_and_plans_are_valid() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = Workspace::new();
    let mut command = work.command(&["validate", "applications", "examples", "plans"]);
    let output = command.current_dir(root).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("no errors") && !text.contains("warning"), "{text}");
}

#[test]
fn a_missing_engine_is_one_clear_error_before_anything_is_deployed() {
    let work = Workspace::new();
    work.write("benchmark.toml", NOTES);
    let mut command = work.command(&["test"]);
    let output =
        command.env("NOTES_TOKEN", "x").env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("/nowhere/docker.sock") && text.contains("--executor host"), "{text}");
    assert_eq!(work.read("trail"), "");
}

#[test]
fn standard_output_holds_only_data() {
    let work = Workspace::new();
    let version = work.sb(&["version", "--format", "json"]).expect(0);
    assert!(serde_json::from_str::<serde_json::Value>(&version.stdout).unwrap()["version"].is_string());
    let schema = work.sb(&["schema", "plan"]).expect(0);
    assert!(serde_json::from_str::<serde_json::Value>(&schema.stdout).unwrap()["$schema"].is_string());
    let status = work.sb(&["status", "--format", "json"]).expect(0);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&status.stdout).unwrap()["runs"],
        serde_json::json!([])
    );
    assert!(work.sb(&["completions", "bash"]).expect(0).stdout.contains("_sb"));
}

#[test]
fn a_missing_variable_does_not_hide_the_warnings_beside_it() {
    let work = Workspace::new();
    work.write("benchmark.toml", &NOTES.replace("{{params.greeting}}", "{{{params.greeting}}}"));
    let refused = work.sb(&["test", "--executor", "host"]).expect(3);
    for part in ["raw-value", "is not quoted", "NOTES_TOKEN, which is not set"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
}

#[test]
fn tables_of_ones_own_are_read_when_there_is_something_to_do() {
    let work = Workspace::new();
    work.write("benchmark.toml", NOTES);
    let sb = |arguments: &[&str]| {
        let mut command = work.command(arguments);
        let output =
            command.env("NOTES_TOKEN", "hush-hush").env("SB_IMAGES", "/no/such/table").output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = sb(&["test", "--executor", "host"]);
    assert!(
        code == 2 && said.contains("/no/such/table") && said.contains("unset SB_IMAGES"),
        "{code} {said}"
    );
    assert!(work.sb(&["runs"]).stdout.is_empty(), "a run that cannot read them is not begun");
    // Nothing is left to do.
    let (code, said) = sb(&["resume"]);
    assert!(code == 0 && said.contains("nothing to resume"), "{code} {said}");
}
