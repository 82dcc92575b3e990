//! The traces that the local target records, read with the real X-Ray client.

use std::collections::{HashMap, HashSet};
use std::net::UdpSocket;
use std::time::Duration;

use sb_sam::dynamics::Delay;
use serde_json::{Value, json};

use super::harness::{Answer, App, wait_until};

const PATIENCE: Duration = Duration::from_secs(10);

/// One span of a trace, flattened.
#[derive(Debug)]
struct Span {
    label: String,
    id: String,
    parent: Option<String>,
    start: f64,
    end: f64,
    flags: String,
}

fn trace_id(answer: &Answer) -> String {
    let header = answer.header("x-amzn-trace-id").unwrap();
    header.strip_prefix("Root=").unwrap().split(';').next().unwrap().to_owned()
}

fn spans(trace: &Value) -> Vec<Span> {
    fn walk(span: &Value, parent: Option<&str>, into: &mut Vec<Span>) {
        let text = |key: &str| span.get(key).and_then(Value::as_str);
        let flags: Vec<&str> = ["error", "throttle", "fault"]
            .into_iter()
            .filter(|flag| span.get(*flag) == Some(&json!(true)))
            .collect();
        into.push(Span {
            label: [text("origin"), text("name")].into_iter().flatten().collect::<Vec<_>>().join(" "),
            id: text("id").unwrap().to_owned(),
            parent: text("parent_id").or(parent).map(str::to_owned),
            start: span["start_time"].as_f64().unwrap(),
            end: span["end_time"].as_f64().unwrap(),
            flags: flags.join(","),
        });
        for child in span.get("subsegments").and_then(Value::as_array).into_iter().flatten() {
            walk(child, text("id"), into);
        }
    }
    let mut found = Vec::new();
    for segment in trace["Segments"].as_array().unwrap() {
        let document: Value = serde_json::from_str(segment["Document"].as_str().unwrap()).unwrap();
        assert_eq!(document["id"], segment["Id"]);
        assert_eq!(document.get("in_progress"), None);
        walk(&document, None, &mut found);
    }
    found
}

/// What makes a trace usable for the analysis: one root, which starts first; all parents there; consistent times.
#[track_caller]
fn check_valid(trace: &Value) -> Vec<Span> {
    let spans = spans(trace);
    let ids: HashSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "ids are unique");
    let roots: Vec<&Span> = spans.iter().filter(|span| span.parent.is_none()).collect();
    let [root] = roots.as_slice() else { panic!("one root, not {roots:?}") };
    let first = spans.iter().map(|span| span.start).fold(f64::INFINITY, f64::min);
    let last = spans.iter().map(|span| span.end).fold(f64::NEG_INFINITY, f64::max);
    assert!(root.start <= first, "the root starts first");
    assert_eq!(spans[0].id, root.id, "the root comes first");
    let duration = trace["Duration"].as_f64().unwrap();
    assert!((duration - (last - first)).abs() < 1e-6, "{duration} is not {}", last - first);
    let by_id: HashMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    for span in &spans {
        assert!(span.start <= span.end, "{span:?}");
        if let Some(parent) = &span.parent {
            let parent = by_id.get(parent.as_str()).unwrap_or_else(|| panic!("{span:?} has lost its parent"));
            assert!(parent.start <= span.start || span.label == "Initialization", "{span:?} in {parent:?}");
        }
    }
    spans
}

/// The tree of a trace as indented lines, children by their start.
fn outline(spans: &[Span]) -> String {
    fn below(parent: Option<&str>, depth: usize, spans: &[Span], lines: &mut Vec<String>) {
        let mut children: Vec<&Span> = spans.iter().filter(|span| span.parent.as_deref() == parent).collect();
        children.sort_by(|a, b| a.start.total_cmp(&b.start).then(a.end.total_cmp(&b.end)));
        for child in children {
            let flags = if child.flags.is_empty() { String::new() } else { format!(" [{}]", child.flags) };
            lines.push(format!("{}{}{flags}", "  ".repeat(depth), child.label));
            below(Some(&child.id), depth + 1, spans, lines);
        }
    }
    let mut lines = Vec::new();
    below(None, 0, spans, &mut lines);
    lines.join("\n")
}

async fn one_trace(app: &App, id: &str) -> Value {
    let (report, mut traces) = app.traces(&[id.to_owned()], PATIENCE).await;
    assert_eq!((report.found, report.incomplete.len()), (1, 0), "{report:?}");
    traces.remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn declared_delays_and_faults_show_in_the_trace() {
    let template = "tests/integration/local/template.yaml";
    let app = App::with(template, |options| {
        options.dynamics.cold_start = Some(Delay::Fixed(Duration::from_millis(400)));
        options.dynamics.trigger = Some(Delay::Fixed(Duration::from_millis(300)));
    })
    .await;
    let answer = app.invoke("app-Echo", &json!({}), &[("x-amz-invocation-type", "Event")]).await;
    let id = answer.header("x-amzn-trace-id").unwrap().split(['=', ';']).nth(1).unwrap().to_owned();
    let (_, traces) = app.traces(&[id], Duration::from_secs(20)).await;
    let length = |name: &str| {
        let documents = traces[0]["Segments"].as_array().unwrap().iter();
        let documents =
            documents.map(|it| serde_json::from_str::<Value>(it["Document"].as_str().unwrap()).unwrap());
        let parts: Vec<Value> =
            documents.flat_map(|it| it["subsegments"].as_array().cloned().unwrap_or_default()).collect();
        let part =
            parts.iter().find(|part| part["name"] == name).unwrap_or_else(|| panic!("{name}: {parts:?}"));
        part["end_time"].as_f64().unwrap() - part["start_time"].as_f64().unwrap()
    };
    assert!(length("Initialization") >= 0.4 && length("Dwell Time") >= 0.3, "{traces:?}");

    let app = App::with(template, |options| options.dynamics.function_error = 1.0).await;
    let answer = app.invoke("app-Echo", &json!({}), &[]).await;
    assert_eq!(answer.json()["errorType"], "Sb.DeclaredFault");
    let app = App::with(template, |options| options.dynamics.throttle = 1.0).await;
    assert_eq!(app.invoke("app-Echo", &json!({}), &[]).await.status, 429);
    let app = App::with(template, |options| options.dynamics.lost_message = 1.0).await;
    let event = json!({ "seconds": 0, "note": app.note() });
    assert_eq!(app.invoke("app-Two", &event, &[("x-amz-invocation-type", "Event")]).await.status, 202);
    let log = std::fs::read_to_string(app.state_dir().join("runtime.log")).unwrap();
    assert!(log.contains("an event for `app-Two` was lost on purpose"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_and_a_warm_request_have_the_shape_that_aws_records() {
    let app = App::of("examples/hello-http/template.yaml").await;
    let url = format!("{}/hello?limit=1000", app.runtime.endpoint);
    let cold = app.request("GET", &url, "", &[]).await;
    assert_eq!(cold.json()["primes"], 168);
    let cold = one_trace(&app, &trace_id(&cold)).await;
    insta::assert_snapshot!(outline(&check_valid(&cold)), @r"
    AWS::ApiGateway::Stage ServerlessRestApi/Prod
      Lambda
        AWS::Lambda app-Hello
          AWS::Lambda::Function app-Hello
            Initialization
            Invocation
            Overhead
    ");
    let segments = cold["Segments"].as_array().unwrap();
    let stage: Value = serde_json::from_str(segments[0]["Document"].as_str().unwrap()).unwrap();
    assert_eq!(stage["http"]["request"]["url"], url);

    let root = "1-5759e988-bd862e3fe1be46a994272793";
    let warm = app.request("GET", &url, "", &[("X-Amzn-Trace-Id", &format!("Root={root};Sampled=1"))]).await;
    assert_eq!(trace_id(&warm), root);
    insta::assert_snapshot!(outline(&check_valid(&one_trace(&app, root).await)), @r"
    AWS::ApiGateway::Stage ServerlessRestApi/Prod
      Lambda
        AWS::Lambda app-Hello
          AWS::Lambda::Function app-Hello
            Invocation
            Overhead
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asynchronous_pipeline_is_one_trace() {
    let app = App::of("examples/async-pipeline/template.yaml").await;
    let url = format!("{}/orders", app.runtime.endpoint);
    let mut ids: Vec<String> = Vec::new();
    for order in 0..7 {
        let answer = app.request("POST", &url, r#"{"rounds": 20000}"#, &[]).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        ids.push(trace_id(&answer));
        if order == 0 {
            // From here on there is a warm instance of each function.
            check_valid(&one_trace(&app, &ids[0]).await);
        }
    }
    let (report, traces) = app.traces(&ids, PATIENCE).await;
    assert_eq!((report.expected, report.found, report.incomplete.len(), report.missing.len()), (7, 7, 0, 0));
    let listed: Vec<&str> = traces.iter().map(|trace| trace["Id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(listed, ids);
    for trace in &traces {
        check_valid(trace);
    }
    let warm = traces
        .iter()
        .map(check_valid)
        .map(|spans| outline(&spans))
        .find(|text| !text.contains("Initialization"));
    insta::assert_snapshot!(warm.unwrap(), @r"
    AWS::ApiGateway::Stage ServerlessRestApi/Prod
      Lambda
        AWS::Lambda app-Receive
          AWS::Lambda::Function app-Receive
            Invocation
              hand over
                AWS::Lambda app-Process
                  Dwell Time
                  Attempt #1
                    AWS::Lambda::Function app-Process
                      Invocation
                        hash
                      Overhead
            Overhead
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_keeps_failing_is_retried_and_kept_as_a_dead_letter() {
    let app = App::start().await;
    let answer =
        app.invoke("app-Fail", &json!({ "how": "raise" }), &[("x-amz-invocation-type", "Event")]).await;
    let id = trace_id(&answer);
    let trace = one_trace(&app, &id).await;
    let text = outline(&check_valid(&trace));
    for attempt in ["Attempt #1 [fault]", "Attempt #2 [fault]", "Attempt #3 [fault]"] {
        assert!(text.contains(attempt), "{text}");
    }
    assert!(!text.contains("Attempt #4"), "{text}");
    let file = app.state_dir().join("dead-letters.jsonl");
    wait_until("the dead letter", || file.exists()).await;
    let letter: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    assert_eq!(letter["requestPayload"], json!({ "how": "raise" }));
    assert_eq!(letter["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(letter["responsePayload"]["errorMessage"], "asked to fail");
    assert_eq!(letter["traceId"], id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_call_hangs_under_its_caller() {
    let app = App::start().await;
    let answer = app.invoke("app-Chain", &json!({ "type": "RequestResponse" }), &[]).await;
    assert_eq!(answer.json(), 200);
    insta::assert_snapshot!(outline(&check_valid(&one_trace(&app, &trace_id(&answer)).await)), @r"
    AWS::Lambda app-Chain
      AWS::Lambda::Function app-Chain
        Initialization
        Invocation
          AWS::Lambda app-Echo
            AWS::Lambda::Function app-Echo
              Initialization
              Invocation
              Overhead
        Overhead
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_throttles_and_faults_are_flagged() {
    let app = App::start().await;
    let fault = app.request("GET", &format!("{}/things/1?fail=1", app.runtime.endpoint), "", &[]).await;
    insta::assert_snapshot!(outline(&check_valid(&one_trace(&app, &trace_id(&fault)).await)), @r"
    AWS::ApiGateway::Stage ServerlessRestApi/Prod [fault]
      Lambda [fault]
        AWS::Lambda app-Http [fault]
          AWS::Lambda::Function app-Http [fault]
            Initialization
            Invocation [fault]
            Overhead
    ");
    let event = json!({ "seconds": 0.5, "note": app.note() });
    let answers = futures_util::future::join_all((0..3).map(|_| app.invoke("app-Two", &event, &[]))).await;
    let throttled = answers.iter().find(|answer| answer.status == 429).unwrap();
    insta::assert_snapshot!(outline(&check_valid(&one_trace(&app, &trace_id(throttled)).await)), @"AWS::Lambda app-Two [error,throttle]");
    let broken = app.invoke("app-Broken", &json!({}), &[]).await;
    insta::assert_snapshot!(outline(&check_valid(&one_trace(&app, &trace_id(&broken)).await)), @r"
    AWS::Lambda app-Broken [fault]
      AWS::Lambda::Function app-Broken [fault]
        Initialization [fault]
    ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_recorded_of_a_request_that_is_not_sampled() {
    let app = App::start().await;
    let root = "1-5759e988-bd862e3fe1be46a994272793";
    let header = format!("Root={root};Sampled=0");
    let answer = app.invoke("app-Echo", &json!({}), &[("x-amzn-trace-id", &header)]).await;
    assert!(answer.json()["trace"].as_str().unwrap().ends_with(";Sampled=0"));
    let (report, traces) = app.traces(&[root.to_owned()], Duration::ZERO).await;
    assert_eq!((report.found, report.missing.len(), traces.len()), (0, 1, 0));
    assert!(report.missing.contains_key(root));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_in_progress_is_waited_for_and_incomplete_at_the_deadline() {
    let app = App::start().await;
    let event = json!({ "seconds": 1.5, "note": app.note() });
    let answer = app.invoke("app-Two", &event, &[("x-amz-invocation-type", "Event")]).await;
    let ids = [trace_id(&answer)];
    let (early, _) = app.traces(&ids, Duration::ZERO).await;
    assert_eq!((early.found, early.incomplete.len()), (1, 1));
    let (late, traces) = app.traces(&ids, PATIENCE).await;
    assert_eq!((late.found, late.incomplete.len()), (1, 0));
    check_valid(&traces[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn summaries_are_paged_and_read_by_the_sdk() {
    let app = App::start().await;
    for _ in 0..105 {
        assert_eq!(app.invoke("app-Echo", &json!({}), &[]).await.status, 200);
    }
    let client = xray(&app).await;
    let now = aws_sdk_xray::primitives::DateTime::from(std::time::SystemTime::now());
    let start = aws_sdk_xray::primitives::DateTime::from_secs(now.secs() - 600);
    let end = aws_sdk_xray::primitives::DateTime::from_secs(now.secs() + 1);
    let pages: Vec<_> = client
        .get_trace_summaries()
        .start_time(start)
        .end_time(end)
        .into_paginator()
        .send()
        .collect::<Result<_, _>>()
        .await
        .unwrap();
    let sizes: Vec<usize> = pages.iter().map(|page| page.trace_summaries().len()).collect();
    assert_eq!(sizes, [100, 5]);
    let summary = &pages[0].trace_summaries()[0];
    assert!(summary.duration().unwrap() > 0.0);
    assert_eq!((summary.has_fault(), summary.is_partial()), (Some(false), Some(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_arrive_through_the_api_and_the_daemon() {
    let app = App::start().await;
    let root = "1-5759e988-bd862e3fe1be46a994272793";
    let segment = json!({ "id": "aaaaaaaaaaaaaaaa", "trace_id": root, "name": "client", "start_time": 1.0, "end_time": 3.0 });
    let client = xray(&app).await;
    let put = client
        .put_trace_segments()
        .trace_segment_documents(segment.to_string())
        .trace_segment_documents("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(put.unprocessed_trace_segments().len(), 1);
    let environment = app.invoke("app-Echo", &json!({}), &[]).await.json()["environment"].clone();
    let daemon = environment["AWS_XRAY_DAEMON_ADDRESS"].as_str().unwrap().to_owned();
    let subsegment = json!({ "id": "bbbbbbbbbbbbbbbb", "trace_id": root, "parent_id": "aaaaaaaaaaaaaaaa", "type": "subsegment",
                             "name": "call", "start_time": 1.5, "end_time": 2.5, "error": true });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let datagram = format!("{{\"format\": \"json\", \"version\": 1}}\n{subsegment}");
    socket.send_to(datagram.as_bytes(), &daemon).unwrap();
    let mut text = String::new();
    for _ in 0..100 {
        text = outline(&check_valid(&one_trace(&app, root).await));
        if text.contains("call") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(text, "client\n  call [error]");
}

async fn xray(app: &App) -> aws_sdk_xray::Client {
    use aws_sdk_xray::config::{BehaviorVersion, Credentials, Region};
    let config = aws_config::defaults(BehaviorVersion::latest())
        .http_client(crate::moto::http_client())
        .endpoint_url(&app.runtime.xray_endpoint)
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "test"))
        .load()
        .await;
    aws_sdk_xray::Client::new(&config)
}
