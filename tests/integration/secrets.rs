//! Nothing that a run leaves shows a secret, whoever wrote it.

use std::os::unix::fs::PermissionsExt as _;

use crate::workspace::Workspace;

const FUNCTION: &str = r#"
import os
def handler(event, context):
    print("my token is", os.environ["TOKEN"])
    return {"statusCode": 200, "body": "ok"}
"#;

const TEMPLATE: &str = r#"
Transform: AWS::Serverless-2016-10-31
Parameters:
  token: { Type: String, NoEcho: true }
Resources:
  Hello:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.12
      Handler: app.handler
      CodeUri: functions
      Tracing: Active
      Environment: { Variables: { TOKEN: !Ref token } }
      Events: { Api: { Type: HttpApi, Properties: { Path: "/{proxy+}", Method: GET } } }
"#;

/// The key is put together by the command: the manifest itself is no place for it.
const MANIFEST: &str = r#"
[benchmark]
name = "quiet"

[params]
token = { env = "QUIET_TOKEN", secret = true }

[targets.local]
traces = "local"

[[deploy]]
name = "login"
run = "echo key=made-$(echo hush)-42; echo \"token $T\" >&2; test -e again || { touch again; exit 1; }"
env = { T = "{{params.token}}" }
retry = { attempts = 2, delay = "10ms" }
outputs.key = { regex = "key=(.*)", secret = true }

[[deploy]]
name = "stack"
local = { template = "template.yaml" }

[[deploy]]
name = "url"
run = "echo \"http://x/?k=$K\"; echo \"{\\\"k\\\": \\\"$K\\\"}\" >&2"
env = { K = "{{outputs.key}}" }
outputs.link = { line = 1 }

[[deploy]]
name = "wait"
wait_for = { http = "{{outputs.endpoint}}/y?key={{outputs.key}}", status = 404, timeout = "300ms" }
allow_failure = true

[workload]
[[workload.requests]]
name = "hello"
url = "{{outputs.endpoint}}/x?key={{outputs.key}}&token={{params.token}}"

[[cleanup]]
name = "stack"
local = { down = true }
"#;

const TOKEN: &str = "pass&word/1";
const KEY: &str = "made-hush-42";

#[test]
fn no_file_and_no_output_of_a_run_shows_a_secret_in_any_form() {
    let work = Workspace::new();
    work.write("benchmark.toml", MANIFEST);
    work.write("template.yaml", TEMPLATE);
    std::fs::create_dir(work.path().join("functions")).unwrap();
    work.write("functions/app.py", FUNCTION);
    let forms = [TOKEN, KEY, "pass%26word", "pass\\u0026word", "cGFzcyZ3b3JkLzE="];
    let sb = |arguments: &[&str], code: i32| {
        let output = work.command(arguments).env("QUIET_TOKEN", TOKEN).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(forms.iter().all(|form| !text.contains(form)), "{text}");
        text
    };
    sb(&["test", "3", "--executor", "host"], 0);

    let secrets = work.path().join(".sb/secrets");
    for form in forms {
        let shown: Vec<_> =
            work.files_with(form).into_iter().filter(|path| !path.starts_with(&secrets)).collect();
        assert_eq!(shown, [] as [std::path::PathBuf; 0], "{form}");
    }
    for path in work.files().iter().filter(|path| path.starts_with(work.path().join(".sb"))) {
        let name = path.file_name().unwrap().to_string_lossy();
        if ["bootstrap.mjs", "bootstrap.py", ".gitignore"].contains(&&*name) {
            continue;
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }

    // Hidden, not lost: who wrote them is still to be seen.
    assert!(sb(&["logs", "quiet.1/deploy/login"], 0).contains("key=***\ntoken ***"));
    assert!(sb(&["why", "quiet.1/deploy/wait"], 0).contains("/y?key=*** did not answer 404"));
    let logs = std::fs::read_dir(work.path().join("logs")).unwrap().next().unwrap().unwrap().path();
    let read = |name: &str| std::fs::read_to_string(logs.join(name)).unwrap();
    for (name, part) in [
        ("invocations.csv", "hello"),
        ("k6_metrics.csv", "/x?key=***&token=***"),
        ("traces.json", "/x?key=***&token=***"),
        ("trace_breakdown.csv", "/x?key=***&token=***"),
        ("sb_config.yml", "outputs: {\"endpoint\":"),
    ] {
        assert!(read(name).contains(part), "{name}: {}", read(name));
    }
    assert!(!read("sb_config.yml").contains("link"), "what a secret is a part of is a secret");
}

/// One deploy step after the one that makes a key and a link with it, and a cleanup that may show it.
fn linked(step: &str) -> Workspace {
    let work = Workspace::new();
    work.write(
        "benchmark.toml",
        &format!(
            r#"
[benchmark]
name = "linked"
[targets.local]
traces = "none"
[[deploy]]
name = "make"
run = "echo made-$(echo hush)-42; echo http://x/?k=made-$(echo hush)-42"
outputs.key = {{ line = 1, secret = true }}
outputs.link = {{ line = 2, default = "none" }}
[[deploy]]
name = "use"
{step}
[[cleanup]]
name = "stack"
run = "test -n {{{{outputs.link}}}} && touch cleaned"
"#
        ),
    );
    work
}

#[test]
fn what_a_failed_step_said_last_is_shown_without_secrets() {
    let work = linked("run = \"echo the key is $K; exit 3\"\nenv = { K = \"{{outputs.key}}\" }");
    let failed = work.sb(&["test", "--executor", "host"]).expect(1);
    assert!(failed.stderr.contains("the key is ***"), "{}", failed.stderr);
    assert!(!failed.stderr.contains(KEY), "{}", failed.stderr);
}

#[test]
fn an_output_that_contains_a_secret_is_no_argument_but_of_a_cleanup() {
    for command in ["run = \"echo {{outputs.link}} > shown\"", "run = [\"echo\", \"{{outputs.link}}\"]"] {
        let work = linked(command);
        let failed = work.sb(&["test", "--executor", "host"]).expect(1);
        assert!(failed.stderr.contains("pass it by `env`"), "{}", failed.stderr);
        assert!(!work.path().join("shown").exists());
        assert!(work.path().join("cleaned").exists(), "{}", failed.stderr);
    }
}

#[test]
fn validation_shows_no_line_of_a_file_that_a_link_leads_to() {
    let work = Workspace::new();
    work.write("app/.keep", "");
    std::os::unix::fs::symlink("/etc/passwd", work.path().join("app/benchmark.toml")).unwrap();
    let refused = work.sb(&["validate", "app/benchmark.toml"]).expect(3);
    let text = refused.stdout + &refused.stderr;
    assert!(text.contains("is a link that leads out of") && !text.contains("root:"), "{text}");
}

#[test]
fn validation_shows_no_line_of_a_file_outside_of_the_root() {
    let work = Workspace::new();
    work.write("benchmark.toml", &MANIFEST.replace("template.yaml", "link.yaml"));
    std::os::unix::fs::symlink("/etc/passwd", work.path().join("link.yaml")).unwrap();
    let refused = work.sb(&["validate"]).expect(3);
    let text = refused.stdout + &refused.stderr;
    assert!(text.contains("lies outside of the root") && !text.contains("root:"), "{text}");
}

#[test]
fn a_secret_that_was_lost_is_taken_from_where_it_came_from_or_asked_for_by_a_command_that_works() {
    let manifest = r#"
[benchmark]
name = "quiet"
[params]
fixed = { env = "SB_NOBODY_SETS_THIS", default = "constant-1", secret = true }
drawn = { random_hex = 8, secret = true }
[targets.local]
traces = "none"
[[deploy]]
name = "make"
run = "echo $F $D > made"
env = { F = "{{params.fixed}}", D = "{{params.drawn}}" }
[[cleanup]]
name = "make"
run = "test \"$(cat made)\" = \"$F $D\""
env = { F = "{{params.fixed}}", D = "{{params.drawn}}" }
"#;
    let work = Workspace::new();
    work.write("benchmark.toml", manifest);
    work.sb(&["prepare", "--executor", "host"]).expect(0);
    let drawn = work.read("made").split_whitespace().nth(1).unwrap().to_owned();
    let lose = || std::fs::remove_dir_all(work.path().join(".sb/secrets")).unwrap();
    lose();
    let said = work.sb(&["cleanup", "--executor", "host"]).expect(4).stderr;
    // A step's failure may be broken into lines.
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("the file with the secrets of quiet@local is gone"), "{said}");
    let (_, way_out) = said.split_once("give the secret again, with `").unwrap();
    let (way_out, _) = way_out.split_once('`').unwrap();
    let sb = env!("CARGO_BIN_EXE_sb");
    let command = way_out.replace("; sb ", &format!("; {sb} "));
    let command = format!("printf '%s\\n' {drawn} | {{ {command}; }}");
    let done = std::process::Command::new("bash")
        .args(["-c", &command])
        .current_dir(work.path())
        .env("SB_LOCKS", work.path().join(".runtime"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{command}\n{}", String::from_utf8_lossy(&done.stderr));
    assert!(work.sb(&["leaks"]).expect(0).stdout.is_empty());
}
