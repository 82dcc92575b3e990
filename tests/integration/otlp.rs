//! Traces of OpenTelemetry: from an application that exports them to the breakdown.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal};
use sb::provider::otlp;
use serde_json::{Value, json};

use crate::workspace::Workspace;

fn invocation(folder: &Path) -> std::path::PathBuf {
    std::fs::read_dir(folder.join("logs")).unwrap().next().unwrap().unwrap().path()
}

#[test]
fn an_instrumented_application_goes_from_its_deployment_to_a_breakdown() {
    let work = Workspace::new();
    work.copy("examples/otel-shop");
    let app = "examples/otel-shop";
    let folder = work.path().join(app);
    let sb = |arguments: &[&str]| {
        let mut command = work.command(arguments);
        let ran = command.current_dir(work.path().join(app)).env("SB_EXECUTOR", "host").output().unwrap();
        crate::workspace::Ran::of(ran)
    };
    let prepared = sb(&["prepare"]).expect(0);
    assert!(prepared.stdout.contains("otlp_endpoint = http://127.0.0.1:"), "{}", prepared.stdout);
    sb(&["invoke", "9"]).expect(0);
    sb(&["get-traces"]).expect(0);
    sb(&["analyze-traces"]).expect(0);
    let logs = invocation(&folder);
    let read = |name: &str| std::fs::read_to_string(logs.join(name)).unwrap();
    let report: Value = serde_json::from_str(&read("trace_retrieval.json")).unwrap();
    assert_eq!(
        (&report["source"], &report["expected"], &report["found"]),
        (&json!("otlp"), &json!(9), &json!(9))
    );
    assert_eq!((&report["incomplete"], &report["missing"]), (&json!({}), &json!({})));
    assert_eq!(read("traces.json").lines().count(), 9);
    assert_eq!(read("invalid_traces.csv").lines().count(), 1, "{}", read("invalid_traces.csv"));
    let breakdown = read("trace_breakdown.csv");
    assert_eq!(breakdown.lines().count(), 10);
    assert_eq!(
        breakdown.matches("['POST /orders', 'insert order', 'orders publish', 'pack order']").count(),
        9,
        "{breakdown}"
    );
    // Each row is a trace that was sent.
    let ids: Vec<String> =
        breakdown.lines().skip(1).map(|row| row.split(',').next().unwrap().to_owned()).collect();
    let sent = read("invocations.csv");
    assert!(ids.iter().all(|id| sent.contains(&format!("1-{}-{}", &id[..8], &id[8..]))), "{ids:?}");
    sb(&["leaks"]).expect(4);
    sb(&["cleanup"]).expect(0);
    sb(&["leaks"]).expect(0);
    assert_eq!(work.processes(), Vec::<String>::new());
}

#[test]
fn a_file_of_spans_is_a_source_too() {
    let work = Workspace::new();
    let manifest = std::fs::read_to_string("examples/otel-shop/benchmark.toml").unwrap();
    work.copy("examples/otel-shop");
    let app = "examples/otel-shop";
    let manifest = manifest
        .replace(
            "traces = \"otlp\"",
            "traces = { otlp = \"{{params.spans}}\" }\n\n[params]\nspans = \"spans.json\"",
        )
        .replace(
            "python3 shop.py start",
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9 python3 shop.py start",
        );
    work.write(&format!("{app}/benchmark.toml"), &manifest);
    let sb = |arguments: &[&str]| {
        let mut command = work.command(arguments);
        let ran = command.current_dir(work.path().join(app)).env("SB_EXECUTOR", "host").output().unwrap();
        crate::workspace::Ran::of(ran)
    };
    sb(&["prepare"]).expect(0);
    sb(&["invoke", "2"]).expect(0);
    let refused = sb(&["get-traces"]).expect(1);
    assert!(
        refused.stderr.contains("there are no spans in") && refused.stderr.contains("spans.json"),
        "{}",
        refused.stderr
    );
    let folder = work.path().join(app);
    let sent = std::fs::read_to_string(invocation(&folder).join("invocations.csv")).unwrap();
    let place = sent.lines().next().unwrap().split(',').position(|name| name == "trace_id").unwrap();
    let ids: Vec<String> =
        sent.lines().skip(1).map(|row| row.split(',').nth(place).unwrap()[2..].replace('-', "")).collect();
    let span = |trace: &str| {
        json!({ "traceId": trace, "spanId": "a1", "parentSpanId": "f0", "name": "x", "kind": 2,
                                     "startTimeUnixNano": "1650000000000000000", "endTimeUnixNano": "1650000001000000000" })
    };
    let spans = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span(&ids[0]), span(&"ab".repeat(16))] }] }] });
    work.write(&format!("{app}/spans.json"), &spans.to_string());
    let fetched = sb(&["get-traces", "--format", "json"]).expect(0);
    assert!(
        fetched.stderr.contains("1 of 2 traces found") || fetched.stdout.contains("missing"),
        "{} {}",
        fetched.stdout,
        fetched.stderr
    );
    sb(&["analyze-traces"]).expect(0);
    let breakdown = std::fs::read_to_string(invocation(&folder).join("trace_breakdown.csv")).unwrap();
    assert_eq!(breakdown.lines().count(), 2);
    assert!(breakdown.contains(&ids[0]), "{breakdown}");
    sb(&["cleanup"]).expect(0);
}

/// Sends a body to a receiver; returns the status.
async fn send(endpoint: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> u16 {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = hyper::Request::post(format!("{endpoint}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
    let answer = client.request(request).await.unwrap();
    let status = answer.status().as_u16();
    answer.into_body().collect().await.unwrap();
    status
}

#[tokio::test]
async fn a_receiver_keeps_what_it_has_answered_for_through_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let sb = Path::new(env!("CARGO_BIN_EXE_sb"));
    let receiver = otlp::up(&state, sb).await.unwrap();
    assert_eq!(otlp::up(&state, sb).await.unwrap(), receiver, "one that runs is taken");
    let export =
        json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{ "traceId": "ab" }] }] }] }).to_string();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(export.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let (as_json, as_protobuf) =
        (("content-type", "application/json"), ("content-type", "application/x-protobuf"));
    let compressed = ("content-encoding", "gzip");
    // A resource of one span: {1: {2: {2: {5: "x"}}}}
    let protobuf = [0x0a, 7, 0x12, 5, 0x12, 3, 0x2a, 1, b'x'];
    for (path, headers, body, expected) in [
        ("/v1/traces", &[as_json][..], export.as_bytes(), 200),
        ("/v1/traces", &[as_json, compressed], &gzip, 200),
        ("/v1/traces", &[as_protobuf], &protobuf, 200),
        ("/v1/traces", &[as_protobuf], &protobuf[..5], 400),
        ("/v1/traces", &[as_json], b"{}", 400),
        ("/v1/traces", &[as_json, compressed], export.as_bytes(), 400),
        ("/v1/traces", &[("content-type", "text/plain")], b"x", 415),
        ("/v1/metrics", &[as_protobuf], b"", 200),
        ("/elsewhere", &[as_json], b"", 404),
    ] {
        assert_eq!(send(&receiver.endpoint, path, headers, body).await, expected, "{path} {headers:?}");
    }
    // Another user of the machine knows the port, and not the rest of the address.
    let (address, _) = receiver.endpoint.rsplit_once('/').unwrap();
    for address in [address.to_owned(), format!("{address}/0123")] {
        assert_eq!(send(&address, "/v1/traces", &[as_json], export.as_bytes()).await, 403);
    }
    let lines = || {
        std::fs::read_to_string(otlp::spans_file(&state))
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(lines().len(), 3);
    assert_eq!(lines()[1], lines()[0]);
    let headers = [as_json];
    let sends = (0..40).map(|_| send(&receiver.endpoint, "/v1/traces", &headers, export.as_bytes()));
    assert!(futures_util::future::join_all(sends).await.into_iter().all(|status| status == 200));
    let pid = Pid::from_raw(i32::try_from(receiver.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    while otlp::find(&state).is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(lines().len(), 43);
    let again = otlp::up(&state, sb).await.unwrap();
    assert_eq!(again.endpoint, receiver.endpoint, "applications know the port");
    assert_eq!(send(&again.endpoint, "/v1/traces", &[as_json], export.as_bytes()).await, 200);
    assert_eq!(lines().len(), 44);
    otlp::down(&state).await.unwrap();
    assert!(otlp::find(&state).is_none() && !otlp::spans_file(&state).exists());
}

#[tokio::test]
async fn a_receiver_that_cannot_start_says_so_in_its_own_words() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    let sb = Path::new(env!("CARGO_BIN_EXE_sb"));
    // Where its file of spans should be there is a folder.
    std::fs::create_dir(otlp::spans_file(&folder)).unwrap();
    let error = otlp::up(&folder, sb).await.unwrap_err().to_string();
    let (log, spans) = (folder.join("runtime.log"), otlp::spans_file(&folder));
    let expected = format!(
        "the receiver of OpenTelemetry did not become ready: its process ended (exit status: 1); `{}` says:\n",
        log.display()
    );
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.contains(&format!("cannot write `{}`: ", spans.display())), "{error}");
    assert!(!error.contains("local target"), "{error}");
}
