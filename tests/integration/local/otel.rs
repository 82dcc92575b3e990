//! Functions with OpenTelemetry on the local target: their spans and its own are one trace.

use std::collections::HashSet;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use sb::provider::aws::{XrayConfig, fetch_linked_traces};
use sb_analysis::{
    AnalyzeOptions, BreakdownRow, Method, analyze, analyze_file, for_each_joined_trace, read_breakdown,
};
use serde_json::{Value, json};

use super::harness::{Answer, App, here, sb, spec};

const CHAINS: usize = 100;
/// At once: each has three functions, and this machine may have two processors.
const AT_ONCE: usize = 4;

fn trace_id(answer: &Answer) -> String {
    let header = answer.header("x-amzn-trace-id").unwrap();
    header.strip_prefix("Root=").unwrap().split(';').next().unwrap().to_owned()
}

/// The rows of a file of X-Ray, linked traces joined.
fn joined(path: &Path) -> Vec<BreakdownRow> {
    let method = Method { join_linked: true, ..Method::default() };
    let options = AnalyzeOptions { method, ..AnalyzeOptions::default() };
    analyze_file(path, &options).unwrap();
    read_breakdown(std::fs::File::open(path.with_file_name("trace_breakdown.csv")).unwrap()).unwrap()
}

/// The same file without what functions sent by OpenTelemetry.
fn without_functions(path: &Path) -> PathBuf {
    fn strip(span: &mut Value) {
        if let Some(parts) = span.get_mut("subsegments").and_then(Value::as_array_mut) {
            parts.retain(|part| part.pointer("/aws/xray/sdk").is_none());
            parts.iter_mut().for_each(strip);
        }
    }
    let lines = std::fs::read_to_string(path).unwrap();
    let lines = lines.lines().map(|line| {
        let mut trace: Value = serde_json::from_str(line).unwrap();
        for segment in trace["Segments"].as_array_mut().unwrap() {
            let mut document: Value = serde_json::from_str(segment["Document"].as_str().unwrap()).unwrap();
            strip(&mut document);
            segment["Document"] = json!(document.to_string());
        }
        // What was inferred from calls that functions recorded.
        let is_inferred =
            |segment: &Value| segment["Document"].as_str().unwrap().contains("\"inferred\":true");
        trace["Segments"].as_array_mut().unwrap().retain(|segment| !is_inferred(segment));
        trace.to_string()
    });
    let folder = path.parent().unwrap().join("platform");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("traces.json"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    folder.join("traces.json")
}

/// The spans that a whole chain has: of functions and of what they call, and of the platform around each.
const WHOLE: [&str; 11] = [
    "first",
    "check order",
    "SQS",
    "app-Jobs",
    "second",
    "EventBridge",
    "third",
    "pack",
    "app-First",
    "app-Second",
    "app-Third",
];

/// What each joined trace that has a breakdown lacks of a chain's spans.
fn lacking(path: &Path) -> Vec<Vec<&'static str>> {
    let method = Method { join_linked: true, ..Method::default() };
    let mut lacking = Vec::new();
    for_each_joined_trace(path, "", |recorded| {
        if let Ok(recorded) = recorded {
            let names: HashSet<String> = recorded.spans.iter().map(|span| span.name.to_string()).collect();
            if method.explain(recorded).is_ok() {
                lacking.push(WHOLE.into_iter().filter(|name| !names.contains(*name)).collect());
            }
        }
        true
    })
    .unwrap();
    lacking
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn a_chain_through_a_queue_and_a_bus_is_one_trace_of_platform_and_functions() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("spans.json");
    let app = App::given("tests/integration/local/otel.yaml", |spec| {
        spec.parameters = [("Copy".to_owned(), copy.to_string_lossy().into_owned())].into();
    })
    .await;
    let since = jiff::Timestamp::now().as_second() as f64;
    let url = format!("{}/orders", app.runtime.endpoint);
    let order = async |number: usize| {
        let parent = format!("00-{:032x}-{:016x}-01", number + 1, number + 1);
        let body = json!({ "number": number }).to_string();
        let answer = app.request("POST", &url, &body, &[("traceparent", &parent)]).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.json()["traceparent"], parent, "the event has it as the client sent it");
        trace_id(&answer)
    };
    let orders = futures_util::stream::iter((0..CHAINS).map(order));
    let ids: Vec<String> = orders.buffer_unordered(AT_ONCE).collect().await;

    let config =
        XrayConfig { endpoint: Some(app.runtime.xray_endpoint.clone()), region: None, absent_for: None };
    let out = folder.path().join("traces.json");
    let deadline = Duration::from_mins(1);
    let report = fetch_linked_traces(&config, &ids, since - 1.0, deadline, &out, &|_| {}).await.unwrap();
    assert_eq!((report.linked, report.shortfall()), (CHAINS, None), "{report:?}");

    let (rows, missing) = (joined(&out), lacking(&out));
    assert!(rows.len() * 100 >= CHAINS * 99, "{} of {CHAINS}", rows.len());
    assert_eq!(missing, vec![Vec::<&str>::new(); rows.len()]);
    // Where the second function goes on for longer than the third, the path ends in the second.
    let ends_in_third = |row: &&BreakdownRow| row.longest_path_names.iter().any(|name| name == "third");
    assert!(rows.iter().filter(ends_in_third).count() * 2 > CHAINS, "{:?}", rows[0].longest_path_names);
    assert!(rows.iter().all(|row| row.parts.sum() == row.duration));
    // X-Ray alone has the services, and does not know what led from one to the next.
    let platform = joined(&without_functions(&out));
    assert_eq!(platform, [], "the third function's caller is a span of the second");
    // OpenTelemetry alone has the functions: what is between them is inferred, and nothing is before the first or after the last.
    let mut alone = Vec::new();
    let spans = std::fs::read(&copy).unwrap();
    analyze(Cursor::new(spans), &mut alone, std::io::sink(), &|_| {}).unwrap();
    let alone = read_breakdown(&*alone).unwrap();
    let is_of_platform = |row: &BreakdownRow| row.services.iter().any(|origin| origin.starts_with("AWS::"));
    assert_eq!(alone.iter().filter(|row| is_of_platform(row)).count(), 0);
    let longest = |rows: &[BreakdownRow]| rows.iter().map(|row| row.duration).max();
    assert!(longest(&alone) < longest(&rows), "{:?} and {:?}", longest(&alone), longest(&rows));

    let picture = folder.path().join("trace.svg");
    let shown = std::process::Command::new(sb())
        .args(["trace", "show", &ids[0], "--join-linked", "--svg"])
        .args([&picture, &out])
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let waterfall = std::fs::read_to_string(picture).unwrap();
    let missing: Vec<&str> = WHOLE.into_iter().filter(|name| !waterfall.contains(name)).collect();
    assert_eq!(missing, [""; 0], "{waterfall}");
}

/// A bus delivers a moment after it has answered, when the function that called it may have ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"]
async fn a_trace_is_in_progress_while_a_bus_is_about_to_deliver() {
    let app = App::of("tests/integration/local/otel.yaml").await;
    for number in 0..5 {
        let root = format!("1-5759e988-{number:024x}");
        let header = format!("Root={root};Parent=53995c3f42cd8ad8;Sampled=1");
        let record = json!({ "attributes": { "AWSTraceHeader": header }, "body": json!({ "number": number }).to_string() });
        let answer = app
            .invoke(
                "app-Second",
                &json!({ "Records": [record] }),
                &[("x-amzn-trace-id", &format!("Root={root}"))],
            )
            .await;
        assert_eq!((answer.status, answer.header("x-amz-function-error")), (200, None), "{answer:?}");
        let (report, traces) = app.traces(&[root], Duration::from_secs(30)).await;
        assert_eq!(report.shortfall(), None, "{report:?}");
        let trace = traces[0].to_string();
        assert!(trace.contains("app-Third") && !trace.contains("in_progress"), "{trace}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_are_taken_in_every_encoding_from_who_knows_the_address_and_outlive_a_kill() {
    let app = App::start().await;
    let root = "1-5759e988-bd862e3fe1be46a994272793";
    let answer = app.invoke("app-Echo", &json!({}), &[("x-amzn-trace-id", &format!("Root={root}"))]).await;
    let endpoint = answer.json()["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"].as_str().unwrap().to_owned();
    assert_eq!(endpoint, app.runtime.otlp_endpoint);
    let request = answer.header("x-amzn-requestid").unwrap();
    let span = |id: &str, name: &str| {
        let now = jiff::Timestamp::now().as_nanosecond();
        json!({ "traceId": root[2..].replace('-', ""), "spanId": id, "parentSpanId": "00000000000000aa", "name": name, "kind": 2,
                "startTimeUnixNano": now.to_string(), "endTimeUnixNano": now.to_string(),
                "attributes": [{ "key": "faas.invocation_id", "value": { "stringValue": request } }] })
    };
    let message =
        |spans: &[Value]| json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] }).to_string();
    let export = message(&[span("00000000000000a1", "one")]);
    let (as_json, as_protobuf) =
        (("content-type", "application/json"), ("content-type", "application/x-protobuf"));
    let compressed = ("content-encoding", "gzip");
    let url = format!("{endpoint}/v1/traces");
    for (headers, body, expected) in [
        (&[as_json][..], export.clone(), 200),
        (&[as_json], "{}".to_owned(), 400),
        (&[as_json, compressed], export.clone(), 400),
        (&[as_protobuf], String::new(), 200),
        (&[as_protobuf], "\n\u{7}".to_owned(), 400),
        (&[("content-type", "text/plain")], export.clone(), 415),
    ] {
        let answer = app.request("POST", &url, &body, headers).await;
        assert_eq!(answer.status, expected, "{headers:?} {answer:?}");
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(" ".repeat(5 << 20).as_bytes()).unwrap();
    let bomb = app.send("POST", &url, encoder.finish().unwrap(), &[as_json, compressed]).await.unwrap();
    assert_eq!((bomb.status, bomb.text.contains("too long")), (400, true), "{bomb:?}");
    let mut broken = span("00000000000000a2", "two");
    broken["traceId"] = json!("7");
    let half =
        app.request("POST", &url, &message(&[broken, span("00000000000000a3", "three")]), &[as_json]).await;
    assert_eq!((half.status, &half.json()["partialSuccess"]["rejectedSpans"]), (200, &json!("1")));
    let metrics = app.request("POST", &format!("{endpoint}/v1/metrics"), "", &[as_protobuf]).await;
    assert_eq!(metrics.status, 200);
    // Who knows the port alone is not answered.
    let (address, _) = endpoint.rsplit_once('/').unwrap();
    for address in [address.to_owned(), format!("{address}/0123")] {
        assert_eq!(
            app.request("POST", &format!("{address}/v1/traces"), &export, &[as_json]).await.status,
            403
        );
    }
    let page = app.request("POST", &url, &export, &[as_json, ("origin", "https://evil.example")]).await;
    assert_eq!(page.status, 403);

    super::harness::kill(i64::from(app.runtime.pid));
    super::harness::wait_until("the end", || sb_local::find(&app.state_dir()).is_none()).await;
    let again =
        sb_local::up(spec(&here("tests/integration/local/template.yaml"), &app.state_dir()), None, sb());
    assert_eq!(again.await.unwrap().otlp_endpoint, endpoint, "functions' spans go on to the same address");
    let (report, traces) = app.traces(&[root.to_owned()], Duration::from_secs(10)).await;
    assert_eq!(report.shortfall(), None, "{report:?}");
    let documents: Vec<Value> = traces[0]["Segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| serde_json::from_str(segment["Document"].as_str().unwrap()).unwrap())
        .collect();
    let function = documents.iter().find(|it| it["origin"] == "AWS::Lambda::Function").unwrap();
    let parts = function["subsegments"].as_array().unwrap();
    let invocation = parts.iter().find(|part| part["name"] == "Invocation").unwrap();
    let names: Vec<&Value> =
        invocation["subsegments"].as_array().unwrap().iter().map(|part| &part["name"]).collect();
    assert_eq!(names, ["one", "three"], "{function}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: opentelemetry"]
async fn opentelemetrys_own_sdk_finds_the_receiver() {
    let app = App::of("tests/integration/local/otel_sdk.yaml").await;
    let answer = app.invoke("app-Traced", &json!({}), &[]).await;
    assert_eq!((answer.status, answer.header("x-amz-function-error")), (200, None), "{answer:?}");
    let (report, traces) = app.traces(&[trace_id(&answer)], Duration::from_secs(10)).await;
    assert_eq!(report.shortfall(), None, "{report:?}");
    let documents: Vec<Value> = traces[0]["Segments"]
        .as_array()
        .unwrap()
        .iter()
        .map(|segment| serde_json::from_str(segment["Document"].as_str().unwrap()).unwrap())
        .collect();
    let part = |of: &Value, name: &str| {
        let parts = of["subsegments"].as_array().cloned().unwrap_or_default();
        parts
            .into_iter()
            .find(|part| part["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {documents:#?}"))
    };
    let function = documents.iter().find(|it| it["origin"] == "AWS::Lambda::Function").unwrap();
    let handler = part(&part(function, "Invocation"), "handler");
    assert_eq!(handler["aws"]["xray"]["sdk"], "opentelemetry for python");
    assert_eq!(handler["metadata"]["default"]["number"], 5);
    assert_eq!(handler["metadata"]["default"]["list"], json!(["a", "b"]));
    let call = part(&handler, "S3");
    assert_eq!((&call["namespace"], &call["aws"]["bucket_name"]), (&json!("aws"), &json!("files")));
    assert!(documents.iter().any(|it| it["origin"] == "AWS::S3::Bucket" && it["parent_id"] == call["id"]));
}
