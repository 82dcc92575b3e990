//! `sb local` as a user types it.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::harness::{is_alive, kill};
use crate::workspace::Workspace;

/// Kills the runtime of a test that fails.
struct Runtime(i64);

impl Drop for Runtime {
    fn drop(&mut self) {
        if is_alive(self.0) {
            kill(self.0);
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Calls the function once, and gives the id of its trace.
fn call(work: &Workspace, endpoint: &str) -> String {
    let ran = std::process::Command::new("curl")
        .args(["-sS", "-D", "-", "-o"])
        .arg(work.path().join("answer"))
        .arg(format!("{endpoint}/hello?limit=100"))
        .output()
        .unwrap();
    let headers = String::from_utf8_lossy(&ran.stdout).to_lowercase();
    assert_eq!(json(&work.read("answer"))["primes"], 25, "{headers}");
    headers.split("root=").nth(1).unwrap_or_else(|| panic!("{headers}"))[..35].to_owned()
}

#[test]
fn a_runtime_is_started_asked_followed_and_stopped() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    assert_eq!(work.sb(&["local", "status"]).expect(0).stderr.trim(), "no local target is running");
    let up = [
        "local",
        "up",
        "--template",
        "examples/hello-http/template.yaml",
        "--name",
        "shop",
        "--format",
        "json",
    ];
    let started = json(&work.sb(&up).expect(0).stdout);
    let runtime = Runtime(started["pid"].as_i64().unwrap());
    assert_eq!(json(&work.sb(&up).expect(0).stdout)["pid"], started["pid"], "the one that runs");
    let endpoint = started["endpoint"].as_str().unwrap();

    let status = json(&work.sb(&["local", "status", "--format", "json"]).expect(0).stdout);
    assert_eq!(status["runtimes"][0]["name"], "shop");
    let function = status["runtimes"][0]["functions"][0].as_str().unwrap().to_owned();
    let shown = work.sb(&["local", "status"]).expect(0).stdout;
    assert!(shown.contains(endpoint) && shown.contains(&function), "{shown}");

    let id = call(&work, endpoint);
    let listed = work.sb(&["local", "trace", "--name", "shop"]).expect(0).stdout;
    assert!(listed.contains(&id), "{listed}");
    let drawn = work.sb(&["local", "trace", &id[..20], "--name", "shop"]).expect(0).stdout;
    for words in [&id, &function, "Invocation"] {
        assert!(drawn.contains(words), "no `{words}` in:\n{drawn}");
    }
    let document = work.sb(&["local", "trace", &id, "--name", "shop", "--format", "json"]).expect(0).stdout;
    assert_eq!(json(&document)["Id"], id);

    // The log so far, and then what comes, until the runtime ends.
    let mut follower = work
        .command(&["local", "logs", &function, "--name", "shop", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("REPORT RequestId:"));
    assert!(next().unwrap().contains("Init Duration"));
    call(&work, endpoint);
    assert!(!next().unwrap().contains("Init Duration"));
    let own = work.sb(&["local", "logs", "--name", "shop"]).expect(0).stdout;
    assert!(own.contains(&format!("ready: gateway {endpoint}")), "{own}");
    work.sb(&["local", "down", "--name", "shop"]).expect(0);
    assert!(!is_alive(runtime.0));
    assert_eq!(next(), None);
    assert!(follower.wait().unwrap().success());
    // The log stays.
    let reports = work.sb(&["local", "logs", &function, "--name", "shop"]).expect(0).stdout;
    assert_eq!(reports.matches("REPORT RequestId:").count(), 2, "{reports}");
}

#[test]
fn what_is_not_there_is_named_with_what_is() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    #[track_caller]
    fn check(work: &Workspace, arguments: &[&str], code: i32, expected: &[&str]) {
        let told = work.sb(arguments).expect(code).stderr.replace("\n  │ ", " ");
        for words in expected {
            assert!(told.contains(words), "no `{words}` in:\n{told}");
        }
    }
    check(&work, &["local", "trace"], 1, &["no local target was started", "sb local up"]);
    check(&work, &["local", "up", "--template", "nowhere.yaml"], 1, &["nowhere.yaml"]);
    check(&work, &["local", "up", "--image", "python3.12=mine"], 2, &["--containers"]);
    check(&work, &["local", "up", "--containers", "--image", "mine"], 2, &["RUNTIME=IMAGE"]);
    work.sb(&["local", "down"]).expect(0);

    let up = ["local", "up", "--template", "examples/hello-http/template.yaml", "--format", "json"];
    let started = json(&work.sb(&up).expect(0).stdout);
    let _runtime = Runtime(started["pid"].as_i64().unwrap());
    check(&work, &["local", "trace"], 0, &["no trace yet"]);
    check(&work, &["local", "trace", "1-ffffffff"], 1, &["no trace `1-ffffffff`", "sb local trace"]);
    check(&work, &["local", "logs", "helo"], 1, &["no log of a function `helo`"]);
    check(&work, &["local", "logs", "--name", "other"], 1, &["`sb local logs --name local`"]);
    work.sb(&["local", "down"]).expect(0);
}

#[test]
fn what_up_would_ignore_is_refused_with_a_way_out() {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    let template = "examples/hello-http/template.yaml";
    let refused = |arguments: &[&str], code: i32, expected: &[&str]| {
        let all: Vec<&str> =
            ["local", "up", "--template", template].iter().chain(arguments).copied().collect();
        let said = work.sb(&all).expect(code).stderr;
        assert!(expected.iter().all(|expected| said.contains(expected)), "{said}");
    };
    refused(&["-p", "Bogus=1"], 2, &["has no parameter `Bogus`", "MemorySize"]);
    refused(&["-f", "other.yaml"], 2, &["unexpected argument '-f'"]);
    for name in ["", ".", ".."] {
        refused(&["--name", name], 2, &["it names a folder of its own"]);
    }
    refused(&["-p", "MemorySize=much"], 1, &["parameter `MemorySize` is `much`: it must be a number"]);
    assert_eq!(work.sb(&["local", "status"]).expect(0).stderr.trim(), "no local target is running");
}
