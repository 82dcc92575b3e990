//! Fetching traces from an X-Ray that answers as told: throttling, pages, refusals, silence.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use sb::provider::aws::{XrayConfig, fetch_linked_traces, fetch_traces, list_traces, search_traces};
use sb::provider::collect::FetchError;
use sb::provider::retrieval::Retrieval;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::moto::Moto;
use crate::workspace::Workspace;
use crate::xray_server::{self, Manners};

/// Status, error type and body of one answer.
type Script = Vec<(u16, Option<&'static str>, Value)>;

/// An X-Ray that gives these answers in turn, the last one for ever, and keeps the requests.
async fn scripted(script: Script) -> (XrayConfig, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let script = Arc::new(Mutex::new(VecDeque::from(script)));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (script, seen) = (script.clone(), seen.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (script, seen) = (script.clone(), seen.clone());
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    seen.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                    let mut script = script.lock().unwrap();
                    let (status, kind, body) =
                        if script.len() > 1 { script.pop_front().unwrap() } else { script[0].clone() };
                    let answer = Response::builder().status(status);
                    let answer = match kind {
                        Some(kind) => answer.header("x-amzn-errortype", kind),
                        None => answer,
                    };
                    Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body.to_string()))).unwrap())
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (config(endpoint), requests)
}

fn trace(id: &str, documents: &[Value]) -> Value {
    let segments: Vec<Value> = documents
        .iter()
        .map(|document| json!({ "Id": document["id"], "Document": document.to_string() }))
        .collect();
    json!({ "Id": id, "Duration": 0.5, "Segments": segments })
}

fn root() -> Value {
    json!({ "id": "a", "start_time": 1.0, "end_time": 2.0 })
}

async fn fetch(
    config: &XrayConfig,
    ids: &[&str],
    deadline: Duration,
) -> Result<(Retrieval, String), FetchError> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces.json");
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let report = fetch_traces(config, &ids, deadline, &out, &|_| {}).await?;
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        2,
        "only the traces and the report are left"
    );
    assert_eq!(Retrieval::read(&out), Some(report.clone()));
    Ok((report, std::fs::read_to_string(out).unwrap()))
}

#[tokio::test]
async fn pages_are_joined_and_unfinished_traces_are_asked_for_again() {
    let child = json!({ "id": "b", "parent_id": "a", "start_time": 1.0, "end_time": 2.0 });
    let (config, requests) = scripted(vec![
        (429, Some("ThrottledException"), json!({ "Message": "slow down" })),
        (200, None, json!({ "Traces": [trace("t2", std::slice::from_ref(&child))], "UnprocessedTraceIds": ["t1"], "NextToken": "x" })),
        (200, None, json!({ "Traces": [trace("t2", &[root()])], "UnprocessedTraceIds": [] })),
        (200, None, json!({ "Traces": [trace("t1", &[json!({ "id": "a", "in_progress": true })])], "UnprocessedTraceIds": [] })),
        (200, None, json!({ "Traces": [trace("t1", &[root()])], "UnprocessedTraceIds": [] })),
    ])
    .await;
    let (report, lines) = fetch(&config, &["t2", "t1", "t2"], Duration::from_secs(30)).await.unwrap();
    assert_eq!((report.expected, report.found, report.shortfall(), report.throttled), (2, 2, None, 1));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let written = |id: &str, documents: &[Value]| {
        let mut line = trace(id, documents);
        line["LimitExceeded"] = json!(false);
        line
    };
    assert_eq!(lines, [written("t1", &[root()]), written("t2", &[child, root()])]);
    let requests = requests.lock().unwrap();
    let asked: Vec<&Value> = requests.iter().map(|request| &request["TraceIds"]).collect();
    assert_eq!(asked[0], &json!(["t1", "t2"]));
    assert_eq!(requests[2]["NextToken"], "x");
    assert_eq!(asked[3..], [&json!(["t1"]), &json!(["t1"])]);
}

#[tokio::test]
async fn what_is_not_there_by_the_deadline_is_missing_or_incomplete() {
    let orphan = json!({ "id": "b", "parent_id": "gone" });
    let (config, _) = scripted(vec![(
        200,
        None,
        json!({ "Traces": [trace("t1", &[root(), orphan])], "UnprocessedTraceIds": [] }),
    )])
    .await;
    let (report, lines) = fetch(&config, &["t1", "t2"], Duration::from_millis(700)).await.unwrap();
    assert_eq!((report.expected, report.found), (2, 1));
    assert_eq!(report.incomplete["t1"], "a parent is missing");
    // With an endpoint, it is the local target, which has every trace at once.
    assert!(report.missing["t2"].contains("the local target has none of it"), "{report:?}");
    assert_eq!(lines.lines().count(), 1);
}

#[tokio::test]
async fn a_trace_that_will_not_come_is_not_waited_for_and_one_that_is_under_way_is() {
    let under_way = trace("t1", &[json!({ "id": "a", "in_progress": true })]);
    let answer = |traces: Value| (200, None, json!({ "Traces": traces, "UnprocessedTraceIds": ["t2"] }));
    let patient = Some(Duration::from_millis(100));
    let begun = std::time::Instant::now();
    let (config, _) = scripted(vec![answer(json!([trace("t1", &[root()])]))]).await;
    let config = XrayConfig { absent_for: patient, ..config };
    let (report, _) = fetch(&config, &["t1", "t2"], Duration::from_mins(1)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!((report.found, report.missing.len()), (1, 1));
    assert!(report.missing.contains_key("t2"));

    let mut script = vec![answer(json!([under_way])); 3];
    script.push(answer(json!([trace("t1", &[root()])])));
    let (config, requests) = scripted(script).await;
    let config = XrayConfig { absent_for: patient, ..config };
    let (report, _) = fetch(&config, &["t1", "t2"], Duration::from_mins(1)).await.unwrap();
    assert_eq!((report.found, report.incomplete.len(), requests.lock().unwrap().len()), (1, 0, 4));
}

#[tokio::test]
async fn a_refusal_is_an_error_at_once() {
    let (config, requests) =
        scripted(vec![(400, Some("InvalidRequestException"), json!({ "Message": "no such thing" }))]).await;
    let error = fetch(&config, &["t1"], Duration::from_mins(1)).await.unwrap_err();
    assert!(matches!(error, FetchError::Refused { .. }));
    assert!(error.to_string().contains("no such thing"), "{error}");
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_but_throttling_until_the_deadline_is_an_error_of_its_own() {
    let throttled = (429, Some("ThrottledException"), json!({ "Message": "slow down" }));
    let (config, _) = scripted(vec![throttled.clone()]).await;
    let error = fetch(&config, &["t1"], Duration::from_millis(100)).await.unwrap_err();
    assert!(matches!(error, FetchError::Throttled { .. }), "{error}");
    assert!(error.to_string().contains("slow down"), "{error}");

    // One answer among them, and what is missing is missing.
    let nothing = (200, None, json!({ "Traces": [], "UnprocessedTraceIds": ["t1"] }));
    let (config, _) = scripted(vec![nothing, throttled]).await;
    let (report, _) = fetch(&config, &["t1"], Duration::from_millis(600)).await.unwrap();
    assert!(report.missing.contains_key("t1"));
}

#[tokio::test]
async fn an_endpoint_that_nobody_serves_is_unreachable_long_before_the_deadline() {
    let config = config("http://127.0.0.1:9".to_owned());
    let fetching = fetch(&config, &["t1"], Duration::from_mins(10));
    let error = tokio::time::timeout(Duration::from_mins(2), fetching).await.unwrap().unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error}");
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(xray_server::id).collect()
}

fn config(endpoint: String) -> XrayConfig {
    XrayConfig { endpoint: Some(endpoint), ..XrayConfig::default() }
}

/// The ids of a file of traces; each must be once, in order.
fn written(out: &Path) -> Vec<String> {
    let lines = std::fs::read_to_string(out).unwrap();
    let ids = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["Id"].as_str().unwrap().to_owned());
    ids.collect()
}

#[tokio::test]
async fn ten_thousand_traces_are_complete_whatever_their_service_does() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces.json");
    let latency = Duration::from_millis(2);
    let manners = Manners { latency, most_per_second: Some(400), failing: Some(11), pages: true };
    let (endpoint, _) = xray_server::serve(manners).await;
    let ids = ids(10_000);
    let report = fetch_traces(&config(endpoint), &ids, Duration::from_mins(5), &out, &|_| {}).await.unwrap();
    assert_eq!((report.expected, report.found, report.shortfall()), (10_000, 10_000, None));
    assert_eq!(written(&out), ids);
}

/// Where the process that is killed finds what to fetch: endpoint and output, by line.
const KILLED: &str = "SB_TEST_FETCH_INTO";

#[tokio::test]
#[ignore = "helper: `a_killed_retrieval_goes_on_where_it_was` starts and kills it"]
async fn fetch_until_killed() {
    let Ok(orders) = std::env::var(KILLED) else { return };
    let (endpoint, out) = orders.split_once(' ').unwrap();
    let (config, ids) = (config(endpoint.to_owned()), ids(3_000));
    fetch_traces(&config, &ids, Duration::from_mins(5), Path::new(out), &|_| {}).await.unwrap();
}

#[tokio::test]
async fn a_killed_retrieval_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces.json");
    let partial = folder.path().join("traces.json.partial");
    let manners = Manners { latency: Duration::from_millis(20), pages: true, ..Manners::default() };
    let (endpoint, seen) = xray_server::serve(manners).await;
    let stored = || -> std::collections::HashSet<String> {
        let text = std::fs::read_to_string(&partial).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| line[1..].split(' ').next().unwrap().to_owned()).collect()
    };
    let mut kills = 0;
    let mut last = 0;
    while kills < 20 {
        let before = stored();
        seen.asked.lock().unwrap().clear();
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "xray_fetch::fetch_until_killed", "--ignored"])
            .env(KILLED, format!("{endpoint} {}", out.display()))
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // Some traces later, wherever that is within a line, a request or a second.
        let wanted = last + rand::random_range(1..95);
        let begun = std::time::Instant::now();
        while stored().len() < wanted && begun.elapsed() < Duration::from_mins(2) {
            tokio::time::sleep(Duration::from_millis(rand::random_range(1..4))).await;
        }
        child.kill().await.unwrap();
        assert!(!out.exists(), "it was not to end before it was killed");
        kills += 1;
        let after = stored();
        assert!(after.is_superset(&before) && after.len() >= wanted, "what was stored stays stored");
        last = after.len();
        let asked = seen.asked.lock().unwrap();
        let again = asked.iter().flatten().find(|id| before.contains(*id));
        assert_eq!(again, None, "it was stored already");
    }
    let before = stored();
    seen.asked.lock().unwrap().clear();
    let report =
        fetch_traces(&config(endpoint), &ids(3_000), Duration::from_mins(5), &out, &|_| {}).await.unwrap();
    assert_eq!((report.found, report.resumed, report.shortfall()), (3_000, before.len(), None));
    assert!(!seen.asked.lock().unwrap().iter().flatten().any(|id| before.contains(id)));
    assert_eq!(written(&out), ids(3_000));
    assert!(!partial.exists());
}

#[tokio::test]
async fn traces_of_a_time_are_listed_in_windows_that_are_halved_until_they_fit() {
    let manners = Manners { most_per_second: Some(400), failing: Some(50), ..Manners::default() };
    let (endpoint, seen) = xray_server::serve(manners).await;
    let listed = list_traces(&config(endpoint), 0.0..xray_server::LAST_SECOND, Duration::from_mins(1)).await;
    // 500 in the first second, 100 in each later one.
    let all: Vec<String> = listed.unwrap().into_iter().collect();
    assert_eq!(all, ids(40_400));
    let windows = seen.windows.lock().unwrap();
    assert!(windows.iter().all(|(length, _)| *length <= 300.0));
    let paged: Vec<_> = windows.iter().filter(|(_, from)| *from > 0).collect();
    assert!(!paged.is_empty() && paged.iter().all(|(length, _)| *length <= 1.0), "{paged:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs: moto"] // Its summaries are not as AWS has them: `Users` is an object.
async fn traces_come_from_moto_by_their_ids() {
    let work = Workspace::new();
    let moto = Moto::start(&work);
    let config = config(moto.endpoint.clone());
    let sdk = aws_sdk_xray::Config::builder()
        .behavior_version_latest()
        .http_client(crate::moto::http_client())
        .endpoint_url(&moto.endpoint)
        .region(aws_sdk_xray::config::Region::new("us-east-1"))
        .credentials_provider(aws_sdk_xray::config::Credentials::new("x", "x", None, None, "test"));
    let client = aws_sdk_xray::Client::from_conf(sdk.build());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let ids: Vec<String> = (0..40).map(|number| format!("1-{now:08x}-{number:024x}")).collect();
    for id in &ids {
        let document = json!({ "id": "53995c3f42cd8ad8", "name": "api", "trace_id": id, "start_time": now, "end_time": now + 1 });
        client.put_trace_segments().trace_segment_documents(document.to_string()).send().await.unwrap();
    }
    let out = work.path().join("traces.json");
    let wanted = [&ids[..], &[format!("1-{now:08x}-{:024x}", 99)]].concat();
    let report = fetch_traces(&config, &wanted, Duration::from_secs(1), &out, &|_| {}).await.unwrap();
    assert_eq!((report.expected, report.found, report.missing.len()), (41, 40, 1));
    assert_eq!(written(&out), ids);
}

#[tokio::test]
async fn receivers_that_their_senders_name_are_fetched_without_a_list_of_the_account() {
    let answer = |traces: &[Value]| {
        (200, None, json!({ "Traces": traces, "UnprocessedTraceIds": [], "NextToken": null }))
    };
    let naming = |id: &str, named: &[&str]| {
        let kind = json!({ "aws.xray.reserved.reference_type": "child" });
        let links: Vec<Value> =
            named.iter().map(|trace| json!({ "trace_id": trace, "id": "b", "attributes": kind })).collect();
        let call = json!({ "id": "c", "name": "queue", "start_time": 1.1, "end_time": 1.2, "links": links });
        trace(
            id,
            &[
                json!({ "id": "a", "name": "send", "start_time": 1.0, "end_time": 2.0, "subsegments": [call] }),
            ],
        )
    };
    // The second receiver is named when all are asked for again.
    let (config, requests) = scripted(vec![
        answer(&[naming("1-a", &["1-b"])]),
        answer(&[naming("1-b", &[])]),
        answer(&[naming("1-a", &["1-b", "1-c"]), naming("1-b", &[])]),
        answer(&[naming("1-c", &[])]),
        answer(&[naming("1-a", &["1-b", "1-c"]), naming("1-b", &[]), naming("1-c", &[])]),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces.json");
    let (sent, deadline) = (["1-a".to_owned()], Duration::from_mins(1));
    let report = fetch_linked_traces(&config, &sent, 0.0, deadline, &out, &|_| {}).await.unwrap();
    assert_eq!((report.expected, report.linked, report.found), (3, 2, 3), "{report:?}");
    assert!(report.missing.is_empty() && report.incomplete.is_empty(), "{report:?}");
    let asked = requests.lock().unwrap();
    assert!(asked.iter().all(|request| request["TraceIds"].is_array()), "nothing was listed: {asked:?}");
    let ids: Vec<&Value> = asked.iter().map(|request| &request["TraceIds"]).collect();
    assert_eq!(ids[..2], [&json!(["1-a"]), &json!(["1-b"])]);
    assert!(std::fs::read_to_string(&out).unwrap().lines().all(|line| line.starts_with(r#"{"Id":"1-"#)));
}

#[tokio::test]
async fn transaction_search_is_asked_until_a_retrieval_is_complete() {
    let begun = || (200, None, json!({ "RetrievalToken": "r1" }));
    let listed = |status: &str, traces: Value, token: Value| {
        let answer =
            json!({ "RetrievalStatus": status, "TraceFormat": "XRAY", "Traces": traces, "NextToken": token });
        (200, None, answer)
    };
    let retrieved = |id: &str, document: Value| json!({ "Id": id, "Duration": 1.0, "Spans": [{ "Id": document["id"], "Document": document.to_string() }] });
    let root = json!({ "id": "a", "name": "api", "start_time": 1.0, "end_time": 2.0 });
    let child = json!({ "id": "b", "name": "work", "parent_id": "a", "start_time": 1.2, "end_time": 1.8 });
    let other = json!({ "id": "c", "name": "api", "start_time": 1.0, "end_time": 2.0 });
    let (config, requests) = scripted(vec![
        begun(),
        listed("SCHEDULED", json!([]), json!(null)),
        listed("RUNNING", json!([]), json!(null)),
        listed("COMPLETE", json!([retrieved("1-a", child)]), json!("more")),
        listed("COMPLETE", json!([retrieved("1-a", root)]), json!(null)),
        // The other one is not there yet: it is asked for again.
        begun(),
        listed("FAILED", json!([]), json!(null)),
        begun(),
        listed("COMPLETE", json!([retrieved("1-b", other)]), json!(null)),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces.json");
    let (ids, deadline) = (["1-a".to_owned(), "1-b".to_owned()], Duration::from_mins(1));
    let report = search_traces(&config, &ids, 1.0, deadline, &out, &|_| {}).await.unwrap();
    assert_eq!((report.expected, report.found, report.shortfall()), (2, 2, None), "{report:?}");
    assert_eq!(report.source, "transaction_search");
    let lines = std::fs::read_to_string(&out).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["Segments"].as_array().unwrap().len(), 2, "pages are joined: {lines:?}");
    let requests = requests.lock().unwrap();
    assert_eq!(requests[0]["TraceIds"], json!(["1-a", "1-b"]));
    assert_eq!(requests[0]["StartTime"].as_f64(), Some(1.0));
    assert_eq!((&requests[1]["RetrievalToken"], &requests[1]["TraceFormat"]), (&json!("r1"), &json!("XRAY")));
    assert_eq!((&requests[4]["NextToken"], &requests[5]["TraceIds"]), (&json!("more"), &json!(["1-b"])));
}
