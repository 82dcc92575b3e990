//! What an AWS account allows is said before a run, and never keeps one from starting.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::moto::Moto;
use crate::workspace::{Ran, Workspace};

const MANIFEST: &str = r#"
[benchmark]
name = "far"

[params]
region = "eu-north-1"

[targets.aws]
traces = "xray"

[[deploy]]
name = "stack"
run = "echo deployed >> trail"

[[workload.requests]]
name = "get"
url = "http://127.0.0.1:9"

[[cleanup]]
name = "stack"
run = "true"
"#;

const PLAN: &str = r#"
[plan]
name = "study"
executor = "host"

[[applications]]
manifest = "benchmark.toml"

[load]
constant = 700
duration = "10s"
expected_latency = "2s"
"#;

struct Account {
    work: Workspace,
    server: Child,
    port: u16,
}

impl Account {
    fn new(state: &Value) -> Self {
        let work = Workspace::new();
        work.write("benchmark.toml", MANIFEST);
        work.write("plan.toml", PLAN);
        let file = work.write("state.json", &state.to_string());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/aws_account.py");
        let mut server =
            Command::new("python3").arg(script).arg(file).stdout(Stdio::piped()).spawn().expect("python3");
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { work, server, port: line.trim().parse().unwrap() }
    }

    fn set(&self, state: &Value) {
        self.work.write("state.json", &state.to_string());
    }

    fn rules(&self) -> Value {
        serde_json::from_str::<Value>(&self.work.read("state.json")).unwrap()["rules"].clone()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = alone(&self.work, arguments);
        command
            .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port))
            .env("AWS_ACCESS_KEY_ID", "AKIATEST")
            .env("AWS_SECRET_ACCESS_KEY", "secret-of-the-test");
        command
    }

    #[track_caller]
    fn sb(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    #[track_caller]
    fn estimate(&self) -> Value {
        let ran = self.sb(&["plan", "estimate", "plan.toml", "--format", "json"]).expect(0);
        serde_json::from_str::<Value>(&ran.stdout).unwrap()["accounts"].clone()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Without anything of the user's own account.
fn alone(work: &Workspace, arguments: &[&str]) -> Command {
    let mut command = work.command(arguments);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

fn rule(name: &str, priority: u32, rate: f64) -> Value {
    json!({
        "RuleName": name, "Priority": priority, "FixedRate": rate, "ReservoirSize": 1, "ServiceName": "*", "ServiceType": "*",
        "Host": "*", "HTTPMethod": "*", "URLPath": "*", "ResourceARN": "*", "Version": 1, "Attributes": {},
    })
}

#[test]
fn a_plan_that_must_be_throttled_and_traces_that_would_be_lost_are_warned_about() {
    let account = Account::new(&json!({ "limit": 1000, "rules": [rule("Default", 10_000, 0.05)] }));
    let seen = account.estimate();
    let of = &seen[0];
    assert_eq!((&of["account"], &of["region"]), (&json!("210987654321"), &json!("eu-north-1")), "{seen:#}");
    assert_eq!(
        (&of["peak_concurrency"], &of["concurrency_limit"]),
        (&json!(1400.0), &json!(1000)),
        "{seen:#}"
    );
    assert_eq!(of["sampling"], json!({ "complete": false, "rule": "Default", "rate": 0.05 }));
    let text = account.sb(&["plan", "estimate", "plan.toml"]).expect(0).stdout;
    for words in ["1400 of 1000 concurrent executions", "will throttle", "5 % of requests", "--xray-sampling"]
    {
        assert!(text.contains(words), "no `{words}` in {text}");
    }

    let deployed = account.sb(&["prepare", "--executor", "host"]).expect(0);
    assert!(deployed.stderr.contains("X-Ray may lose traces"), "{}", deployed.stderr);
    assert!(!deployed.stderr.contains("throttle"), "one invocation is not: {}", deployed.stderr);
    let load = ["invoke", "constant", "--rate", "2000", "--duration", "10ms", "--executor", "host"];
    let sent = account.sb(&load);
    assert!(sent.stderr.contains("2000 invocations under way"), "{}", sent.stderr);
    assert!(
        !sent.stderr.contains("X-Ray may lose traces"),
        "that was said at the deployment: {}",
        sent.stderr
    );

    account
        .set(&json!({ "limit": 1400, "rules": [rule("NoSampling", 1, 1.0), rule("Default", 10_000, 0.05)] }));
    assert_eq!(account.estimate()[0]["warnings"], json!([]));
}

#[test]
fn an_account_that_cannot_be_looked_up_keeps_nothing_from_starting() {
    let rules = [rule("Default", 10_000, 0.05)];
    let account = Account::new(&json!({ "limit": 1, "rules": rules, "deny": ["lambda", "xray"] }));
    let text = account.sb(&["plan", "estimate", "plan.toml"]).expect(0).stdout;
    assert!(text.contains("not authorized to perform") && !text.contains("warning"), "{text}");
    let quiet = account.sb(&["prepare", "--executor", "host"]).expect(0);
    assert!(!quiet.stderr.contains("warning"), "{}", quiet.stderr);
    account.sb(&["cleanup", "--executor", "host"]).expect(0);

    account.set(&json!({ "limit": 1, "rules": rules, "deny": ["sts"] }));
    let seen = account.estimate();
    assert!(seen[0]["problem"].as_str().unwrap().contains("InvalidClientTokenId"), "{seen:#}");

    // It takes the question, and never answers.
    account.set(&json!({ "silent": true }));
    assert_eq!(account.estimate(), json!([]));
    account.sb(&["prepare", "--executor", "host"]).expect(0);

    let work = Workspace::new();
    work.write("benchmark.toml", MANIFEST);
    let without = alone(&work, &["prepare", "--executor", "host"]).output().unwrap();
    let without = Ran::of(without).expect(0);
    assert!(!without.stderr.contains("warning"), "{}", without.stderr);
    assert_eq!(work.read("trail"), "deployed\n");
}

#[test]
fn the_sampling_rule_is_made_once_and_made_right() {
    let account =
        Account::new(&json!({ "limit": 1, "rules": [rule("Default", 10_000, 0.05), rule("mine", 1, 0.5)] }));
    let init = ["init", "aws", "--xray-sampling", "--region", "eu-north-1"];
    let json = |arguments: &[&str]| {
        let ran = account.sb(&[arguments, &["--format", "json"]].concat()).expect(0);
        serde_json::from_str::<Value>(&ran.stdout).unwrap()
    };
    let made = json(&init);
    assert_eq!((&made["made"], &made["region"]), (&json!("created"), &json!("eu-north-1")));
    let rules = account.rules();
    assert_eq!(
        (&rules[2]["RuleName"], &rules[2]["Priority"]),
        (&json!("NoSampling"), &json!(1)),
        "{rules:#}"
    );
    assert_eq!(json(&init)["made"], "was there");
    assert_eq!(account.rules(), rules);
    // Of two with the same priority, the first by name is asked first: "NoSampling" before "mine".
    assert_eq!(account.estimate()[0]["sampling"], json!({ "complete": true }));

    let mut changed = rules.clone();
    changed[2]["FixedRate"] = json!(0.1);
    account.set(&json!({ "limit": 1, "rules": changed }));
    let text = account.sb(&init).expect(0).stderr;
    assert!(text.contains("corrected") && text.contains("aws xray delete-sampling-rule"), "{text}");
    assert_eq!(account.rules()[2]["FixedRate"], json!(1.0));

    account.set(&json!({ "limit": 1, "rules": [], "deny": ["xray"] }));
    let refused = account.sb(&init).expect(1);
    assert!(refused.stderr.contains("xray:CreateSamplingRule"), "{}", refused.stderr);
    account.sb(&["init", "azure"]).expect(2);
    account.sb(&["init", "--xray-sampling"]).expect(2);
}

/// As another program than ours answers: moto.
#[test]
#[ignore = "needs: moto"]
fn moto_says_whose_account_it_is() {
    let account = Account::new(&json!({ "limit": 1, "rules": [] }));
    let moto = Moto::start(&account.work);
    let seen = account
        .command(&["plan", "estimate", "plan.toml", "--format", "json"])
        .env("AWS_ENDPOINT_URL", &moto.endpoint)
        .output()
        .unwrap();
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
    let of = &seen["accounts"][0];
    assert_eq!((&of["account"], &of["region"]), (&json!("123456789012"), &json!("eu-north-1")), "{seen:#}");
    // It has no account settings of Lambda.
    assert_eq!((&of["concurrency_limit"], &of["warnings"]), (&Value::Null, &json!([])), "{seen:#}");
}
