//! The local target with real processes, a real X-Ray client and real signals.

mod command;
mod docker;
mod harness;
mod java;
mod lifetime;
mod machines;
mod moto;
mod node;
mod otel;
mod sources;
mod stand_ins;
mod traces;

use std::time::{Duration, Instant};

use harness::{App, read_pids, wait_until};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_gets_its_event_and_lambdas_environment() {
    let app = App::start().await;
    let answer = app.invoke("app-Echo", &json!({ "a": 1 }), &[]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-amz-function-error"), None);
    let seen = answer.json();
    assert_eq!(seen["event"], json!({ "a": 1 }));
    assert_eq!(Some(seen["request_id"].as_str().unwrap()), answer.header("x-amzn-requestid"));
    assert!((9_000..=10_000).contains(&seen["remaining"].as_i64().unwrap()), "{}", seen["remaining"]);
    let environment = &seen["environment"];
    assert_eq!(environment["WORD"], "given");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_NAME"], "app-Echo");
    assert_eq!(environment["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "128");
    assert_eq!(environment["AWS_ENDPOINT_URL_LAMBDA"], app.runtime.lambda_endpoint);
    assert_eq!(environment.get("CARGO_MANIFEST_DIR"), None, "the caller's environment must not leak in");
    // By ARN, and warm: the same process.
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:app-Echo";
    assert_eq!(app.invoke(arn, &json!({}), &[]).await.json()["pid"], seen["pid"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_requests_become_proxy_events_and_back() {
    let app = App::start().await;
    let things = app.runtime.outputs["Things"].clone();
    assert_eq!(things, format!("{}/Prod/things", app.runtime.endpoint));
    for base in [things, format!("{}/things", app.runtime.endpoint)] {
        let answer = app.request("PUT", &format!("{base}/7?x=y"), "text", &[]).await;
        assert_eq!((answer.status, answer.header("x-own")), (201, Some("yes")), "{answer:?}");
        let expected =
            json!({ "method": "PUT", "path": "/things/7", "body": "text", "parameters": { "id": "7" } });
        assert_eq!(answer.json(), expected);
    }
    let check = async |method: &str, path: &str, status: u16| {
        let answer = app.request(method, &format!("{}{path}", app.runtime.endpoint), "", &[]).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    };
    check("GET", "/nothing", 404).await;
    check("DELETE", "/things/7", 502).await;
    check("GET", "/things/7?fail=1", 502).await;
    // An HTTP API has a status of its own for that.
    check("GET", "/light/7?fail=1", 500).await;
    check("DELETE", "/light/7", 500).await;
    check("PUT", "/light/7", 201).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrency_starts_instances_and_is_limited_by_the_reservation() {
    let app = App::start().await;
    let event = json!({ "seconds": 1.0, "note": app.note() });
    let calls = (0..3).map(|_| app.invoke("app-Two", &event, &[]));
    let answers = futures_util::future::join_all(calls).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429]);
    let mut pids: Vec<Value> =
        answers.iter().filter(|answer| answer.status == 200).map(harness::Answer::json).collect();
    pids.dedup();
    assert_eq!(pids.len(), 2, "each instance runs one invocation at a time");
    let throttled = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(throttled.header("x-amzn-errortype"), Some("TooManyRequestsException"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_event_waits_until_there_is_room() {
    let app = App::start().await;
    let event = json!({ "seconds": 0.3, "note": app.note() });
    for _ in 0..5 {
        let answer = app.invoke("app-Two", &event, &[("x-amz-invocation-type", "Event")]).await;
        assert_eq!((answer.status, answer.text.as_str()), (202, ""));
    }
    wait_until("all events to run", || read_pids(&app.note()).len() == 5).await;
    let mut pids = read_pids(&app.note());
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_exceeds_its_timeout_is_killed_with_its_children() {
    let app = App::start().await;
    let event = json!({ "seconds": 30, "note": app.note(), "child": true });
    let begun = Instant::now();
    let answer = app.invoke("app-Sleep", &event, &[]).await;
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!((answer.status, answer.header("x-amz-function-error")), (200, Some("Unhandled")));
    let message = answer.json()["errorMessage"].as_str().unwrap().to_owned();
    assert!(message.ends_with("Task timed out after 1.00 seconds"), "{message}");
    let pids = harness::read_all_pids(&app.note());
    assert_eq!(pids.len(), 2);
    wait_until("the processes to end", || pids.iter().all(|pid| !harness::is_alive(*pid))).await;
    // A child in a session of its own is not in the function's process group.
    let event = json!({ "seconds": 30, "note": app.note(), "child": "detached" });
    app.invoke("app-Sleep", &event, &[]).await;
    let pids = harness::read_all_pids(&app.note());
    assert_eq!(pids.len(), 4);
    wait_until("all processes to end", || pids.iter().all(|pid| !harness::is_alive(*pid))).await;
    // The next one gets a new instance.
    let quick = json!({ "seconds": 0, "note": app.note() });
    let pid = app.invoke("app-Sleep", &quick, &[]).await.json();
    assert!(!pids.contains(&pid.as_i64().unwrap()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_all_kinds_are_reported_and_do_not_stay() {
    let app = App::start().await;
    // No failure: Lambda's own client writes DynamoDB's numbers as floating-point ones.
    let priced = app.invoke("app-Fail", &json!({ "how": "decimal" }), &[]).await;
    assert_eq!(priced.json(), json!({ "price": 1.5 }), "{priced:?}");
    let check = async |function: &str, how: &str, kind: &str, message: &str| {
        let answer = app.invoke(function, &json!({ "how": how }), &[]).await;
        assert_eq!((answer.status, answer.header("x-amz-function-error")), (200, Some("Unhandled")));
        let error = answer.json();
        assert_eq!(error["errorType"], kind, "{error}");
        assert!(error["errorMessage"].as_str().unwrap().contains(message), "{error}");
    };
    check("app-Fail", "raise", "RuntimeError", "asked to fail").await;
    check("app-Fail", "exit", "Runtime.ExitError", "exit status 3").await;
    check("app-Fail", "memory", "MemoryError", "").await;
    check("app-Broken", "", "ImportError", "no such luck").await;
    let answer = app.invoke("app-Fail", &json!({ "how": "none" }), &[]).await;
    assert_eq!(answer.header("x-amz-function-error"), None);
    let log = std::fs::read_to_string(app.state_dir().join("functions/app-Fail.log")).unwrap();
    assert!(log.contains("RuntimeError: asked to fail") && log.contains("Init Duration"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_dies_while_idle_costs_no_invocation() {
    let app = App::start().await;
    let pid = app.invoke("app-Fail", &json!({ "how": "none" }), &[]).await.json().as_i64().unwrap();
    harness::kill(pid);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let answer = app.invoke("app-Fail", &json!({ "how": "none" }), &[]).await;
    assert_eq!(answer.header("x-amz-function-error"), None, "{answer:?}");
    assert_ne!(answer.json(), json!(pid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_instances_are_ended_after_a_while() {
    let template = "tests/integration/local/template.yaml";
    let app = App::with(template, |options| options.keep_alive = Duration::from_millis(100)).await;
    let pid = app.invoke("app-Fail", &json!({ "how": "none" }), &[]).await.json().as_i64().unwrap();
    wait_until("the instance to end", || !harness::is_alive(pid)).await;
    assert_ne!(app.invoke("app-Fail", &json!({ "how": "none" }), &[]).await.json(), json!(pid));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_leave_half_of_the_executions_to_callers_that_wait() {
    let template = "tests/integration/local/template.yaml";
    let app = App::with(template, |options| options.concurrency = Some(2)).await;
    let event = json!({ "seconds": 1.0, "note": app.note() });
    for _ in 0..3 {
        app.invoke("app-Two", &event, &[("x-amz-invocation-type", "Event")]).await;
    }
    wait_until("an event to run", || !read_pids(&app.note()).is_empty()).await;
    assert_eq!(app.invoke("app-Echo", &json!({}), &[]).await.status, 200);
    assert_eq!(read_pids(&app.note()).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_custom_runtime_runs_its_bootstrap() {
    let app = App::start().await;
    assert_eq!(app.invoke("app-Custom", &json!("quiet"), &[]).await.text, "\"QUIET\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_invoke_api_refuses_what_lambda_refuses() {
    let app = App::start().await;
    let dry = app.invoke("app-Echo", &json!({}), &[("x-amz-invocation-type", "DryRun")]).await;
    assert_eq!(dry.status, 204);
    let unknown = app.invoke("app-Nobody", &json!({}), &[]).await;
    assert_eq!(
        (unknown.status, unknown.header("x-amzn-errortype")),
        (404, Some("ResourceNotFoundException"))
    );
    let url = format!("{}/2015-03-31/functions/app-Echo/invocations", app.runtime.lambda_endpoint);
    assert_eq!(app.request("POST", &url, "{", &[]).await.status, 400);
    let large = format!("\"{}\"", "x".repeat(7 << 20));
    assert_eq!(app.request("POST", &url, &large, &[]).await.status, 413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn web_pages_and_other_users_are_not_answered() {
    let app = App::start().await;
    let control = &app.runtime.lambda_endpoint;
    let url = format!("{control}/2015-03-31/functions/app-Echo/invocations");
    let page = app.request("POST", &url, "{}", &[("origin", "https://evil.example")]).await;
    assert_eq!(page.status, 403, "{page:?}");
    let rebound = app.request("POST", &url, "{}", &[("host", "evil.example")]).await;
    assert_eq!(rebound.status, 403, "{rebound:?}");
    assert_eq!(app.request("POST", &url, "{}", &[]).await.status, 200);
    // Only root can be somebody else for a moment.
    if !rustix::process::getuid().is_root() {
        return;
    }
    let port = control.rsplit(':').next().unwrap();
    let ask = format!(
        "import os, encodings.idna, urllib.request as r\nos.setuid(65534)\nr.urlopen(r.Request('http://127.0.0.1:{port}/2015-03-31/functions/app-Echo/invocations', b'{{}}'))"
    );
    let other = std::process::Command::new("python3").args(["-c", &ask]).output().unwrap();
    assert!(String::from_utf8_lossy(&other.stderr).contains("403"), "{other:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schedules_invoke_their_function_when_their_time_has_come() {
    let app = App::of("tests/integration/local/schedules.yaml").await;
    let started = jiff::Timestamp::now();
    let log = app.state_dir().join("functions/app-Tell.log");
    let got = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let events =
            text.lines().filter_map(|line| line.split_once("got ")).map(|(_, event)| event.to_owned());
        events.map(|event| serde_json::from_str(&event).unwrap()).collect::<Vec<Value>>()
    };
    // Neither fires more than a minute after the start.
    while got().len() < 2 && jiff::Timestamp::now().duration_since(started).as_secs() < 75 {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let events = got();
    let of_rate: Vec<_> = events.iter().filter(|event| **event == json!({ "by": "rate" })).collect();
    let of_cron: Vec<_> = events.iter().filter(|event| event["detail-type"] == "Scheduled Event").collect();
    assert_eq!(of_rate.len(), 1, "{events:?}");
    assert!((1..=2).contains(&of_cron.len()) && of_rate.len() + of_cron.len() == events.len(), "{events:?}");
    assert_eq!((&of_cron[0]["source"], &of_cron[0]["detail"]), (&json!("aws.scheduler"), &json!("{}")));
    let time: jiff::Timestamp = of_cron[0]["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(time.as_second() % 60, 0, "{time}");
    assert!((0..=60).contains(&time.duration_since(started).as_secs()), "{time} after {started}");
    let runtime_log = std::fs::read_to_string(app.state_dir().join("runtime.log")).unwrap();
    assert!(runtime_log.contains("schedule `Past` has ended"), "{runtime_log}");
}
