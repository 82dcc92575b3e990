//! Up, find, down, and what is left when the runtime dies.

use std::time::Duration;

use sb_daemon::DaemonError;
use sb_local::LocalError;
use serde_json::json;

use super::harness::{App, is_alive, kill, read_all_pids, read_pids, sb, spec, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_is_idempotent_and_down_leaves_neither_process_nor_port() {
    let app = App::start().await;
    assert_eq!(sb_local::find(&app.state_dir()).as_ref(), Some(&app.runtime));
    let template = super::harness::here("tests/integration/local/template.yaml");
    let again = sb_local::up(spec(&template, &app.state_dir()), None, sb()).await.unwrap();
    assert_eq!(again, app.runtime);
    let function = app.invoke("app-Fail", &json!({ "how": "none" }), &[]).await.json().as_i64().unwrap();

    sb_local::down(&app.state_dir()).await.unwrap();
    assert!(!is_alive(i64::from(app.runtime.pid)) && !is_alive(function));
    assert_eq!(sb_local::find(&app.state_dir()), None);
    for endpoint in [&app.runtime.endpoint, &app.runtime.lambda_endpoint] {
        let address = endpoint.strip_prefix("http://").unwrap();
        assert!(std::net::TcpStream::connect(address).is_err(), "{endpoint} still answers");
    }
    // Nothing to do is fine.
    sb_local::down(&app.state_dir()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_runs_something_else_is_not_taken_for_what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: &str| {
        let path = folder.path().join(name);
        let text = format!(
            "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: f.f\n      Runtime: python3.12\n      Environment: {{ Variables: {{ VALUE: {value} }} }}\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    };
    std::fs::write(folder.path().join("f.py"), "def f(event, context): pass\n").unwrap();
    let template = write("template.yaml", "one");
    let state_dir = folder.path().join("state");
    let first = sb_local::up(spec(&template, &state_dir), None, sb()).await.unwrap();
    let refused = async |asked| {
        let error = sb_local::up(asked, None, sb()).await.unwrap_err();
        assert!(matches!(error, LocalError::RunsOtherwise { .. }), "{error}");
        error.to_string()
    };
    let mut other = spec(&template, &state_dir);
    other.parameters.insert("Word".to_owned(), "another".to_owned());
    assert!(refused(other).await.contains("with other parameters"));
    let mut other = spec(&template, &state_dir);
    other.options.concurrency = Some(21);
    assert!(refused(other).await.contains("with other settings"));
    let other = write("other.yaml", "one");
    assert!(refused(spec(&other, &state_dir)).await.contains("with another template"));
    write("template.yaml", "two");
    assert!(refused(spec(&template, &state_dir)).await.contains("before it was edited"));
    write("template.yaml", "one");
    assert_eq!(sb_local::up(spec(&template, &state_dir), None, sb()).await.unwrap(), first);
    sb_local::down(&state_dir).await.unwrap();
    assert!(!state_dir.join("local.json").exists(), "parameters may be secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_nobody_could_find_any_more_ends_by_itself() {
    let app = App::start().await;
    std::fs::remove_dir_all(app.state_dir()).unwrap();
    // The next one in its place is let alone.
    let template = super::harness::here("tests/integration/local/template.yaml");
    let next = sb_local::up(spec(&template, &app.state_dir()), None, sb()).await.unwrap();
    assert_ne!(next.pid, app.runtime.pid);
    wait_until("the runtime to end", || !is_alive(i64::from(app.runtime.pid))).await;
    assert_eq!(sb_local::find(&app.state_dir()), Some(next));
    sb_local::down(&app.state_dir()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_calls_of_up_at_once_give_one_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("state");
    let template = super::harness::here("tests/integration/local/template.yaml");
    let up = || sb_local::up(spec(&template, &state_dir), None, sb());
    let (first, second) = tokio::join!(up(), up());
    let (first, second) = (first.unwrap(), second.unwrap());
    sb_local::down(&state_dir).await.unwrap();
    assert_eq!(first, second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_flight_are_answered_with_503_when_it_stops() {
    let app = App::start().await;
    let event = json!({ "seconds": 9, "note": app.note() });
    let (answer, stopped) = tokio::join!(app.invoke("app-Two", &event, &[]), async {
        wait_until("the function to run", || !read_pids(&app.note()).is_empty()).await;
        sb_local::down(&app.state_dir()).await
    });
    stopped.unwrap();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(!is_alive(read_pids(&app.note())[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_die_with_a_runtime_that_is_killed() {
    let app = App::start().await;
    let idle = app.invoke("app-Fail", &json!({ "how": "none" }), &[]).await.json().as_i64().unwrap();
    let event = json!({ "seconds": 9, "note": app.note() });
    app.invoke("app-Two", &event, &[("x-amz-invocation-type", "Event")]).await;
    wait_until("the function to run", || !read_pids(&app.note()).is_empty()).await;
    let busy = read_pids(&app.note())[0];
    // Long enough for threads of the runtime to come and go: the death signal belongs to a thread.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(is_alive(idle) && is_alive(busy));

    kill(i64::from(app.runtime.pid));
    wait_until("the functions to die", || !is_alive(idle) && !is_alive(busy)).await;
    wait_until("the lock to be free", || sb_local::find(&app.state_dir()).is_none()).await;
    // The folder can be used again.
    let template = super::harness::here("tests/integration/local/template.yaml");
    let next = sb_local::up(spec(&template, &app.state_dir()), None, sb()).await.unwrap();
    assert_ne!(next.pid, app.runtime.pid);
    sb_local::down(&app.state_dir()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_during_a_load_and_started_again_it_has_the_finished_traces_and_says_what_was_lost() {
    let app = App::start().await;
    let trace_of = |answer: &super::harness::Answer| {
        answer.header("x-amzn-trace-id").unwrap().split(['=', ';']).nth(1).unwrap().to_owned()
    };
    // A function with a child, which the kernel does not end, and an event: both will be lost.
    let event = json!({ "seconds": 9, "note": app.note(), "child": true });
    let slow = app.invoke("app-Two", &event, &[("x-amz-invocation-type", "Event")]).await;
    wait_until("the function to run", || !read_pids(&app.note()).is_empty()).await;
    let pids = read_all_pids(&app.note());
    assert_eq!(pids.len(), 2);

    let mut finished = Vec::new();
    let url = format!("{}/things/7", app.runtime.endpoint);
    let load = async {
        // One after another until the runtime is gone.
        while let Ok(answer) = app.try_request("PUT", &url, "x", &[]).await {
            assert_eq!(answer.status, 201, "{answer:?}");
            finished.push(trace_of(&answer));
        }
    };
    let invoke = format!("{}/2015-03-31/functions/app-Two/invocations", app.runtime.lambda_endpoint);
    let payload = event.to_string();
    let (running, (), ()) = tokio::join!(app.try_request("POST", &invoke, &payload, &[]), load, async {
        wait_until("both to run", || read_pids(&app.note()).len() == 2).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        kill(i64::from(app.runtime.pid));
    });
    assert!(running.is_err() && !finished.is_empty(), "{running:?}");
    // What had finished can be fetched as it lies there.
    wait_until("the runtime to be gone", || sb_local::find(&app.state_dir()).is_none()).await;
    let kept = sb_local::kept_traces(&app.state_dir()).await.unwrap().unwrap();
    let ids = json!({ "TraceIds": [finished[0]] }).to_string();
    let answer = app.request("POST", &format!("{}/Traces", kept.endpoint), &ids, &[]).await;
    assert_eq!(answer.json()["Traces"].as_array().unwrap().len(), 1, "{answer:?}");
    drop(kept);

    let template = super::harness::here("tests/integration/local/template.yaml");
    let next = sb_local::up(spec(&template, &app.state_dir()), None, sb()).await.unwrap();
    assert_eq!(
        (&next.endpoint, &next.lambda_endpoint, &next.xray_endpoint),
        (&app.runtime.endpoint, &app.runtime.lambda_endpoint, &app.runtime.xray_endpoint),
        "what was deployed keeps its addresses"
    );
    for pid in read_all_pids(&app.note()) {
        wait_until("children of functions to end", || !is_alive(pid)).await;
    }
    let (report, traces) = app.traces(&finished, Duration::from_secs(20)).await;
    assert_eq!((report.found, report.expected), (finished.len(), finished.len()));
    for trace in &traces {
        let documents = trace.to_string();
        assert!(documents.contains("AWS::ApiGateway::Stage") && documents.contains("Invocation"), "{trace}");
        assert!(!documents.contains("in_progress"), "{trace}");
    }
    let log = std::fs::read_to_string(app.state_dir().join("runtime.log")).unwrap();
    let said = log.lines().find(|line| line.contains("ended without a stop")).expect(&log);
    assert!(said.contains("app-Two: 1 running") && said.contains("app-Two: 1 accepted"), "{said}");
    // The trace of what was lost is there, and not complete.
    let (_, lost) = app.traces(&[trace_of(&slow)], Duration::ZERO).await;
    assert!(lost.is_empty() || lost[0].to_string().contains("in_progress"), "{lost:?}");
    // After a cleanup nothing of it is left.
    sb_local::down(&app.state_dir()).await.unwrap();
    assert!(!app.state_dir().join("traces.jsonl").exists());
}

/// `up` with this template must fail, and say why.
async fn check_refused(template: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("template.yaml");
    std::fs::write(&path, template).unwrap();
    let error = sb_local::up(spec(&path, &folder.path().join("state")), None, sb()).await.unwrap_err();
    assert!(matches!(error, LocalError::Daemon(DaemonError::NotReady { .. })));
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_run_is_said_before_anything_starts() {
    let function = |properties: &str| {
        format!("Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties: {{ {properties} }}\n")
    };
    check_refused(
        &function("Handler: a.b, Runtime: cobol85"),
        "line 2: function `F`: runtime `cobol85` is not supported by the local target: python3.x, nodejs*, java* and provided.* are",
    )
    .await;
    check_refused(&function("Handler: a.b, Runtime: python3.11, CodeUri: nowhere"), "CodeUri `").await;
    check_refused(&function("Runtime: provided.al2"), "needs an executable file `bootstrap`").await;
    check_refused(
        "Resources:\n  B: { Type: AWS::MSK::Cluster }\n",
        "line 2: resource `B`: AWS::MSK::Cluster is not supported",
    )
    .await;
}
