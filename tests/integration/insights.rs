//! Fetching traces from an Application Insights that answers as told.

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
use sb::provider::app_insights::{Credential, InsightsConfig, fetch_traces};
use sb::provider::collect::FetchError;
use sb::provider::google::{self, GoogleConfig};
use sb::provider::retrieval::Retrieval;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What a request said: its path, its credential, and the query.
type Asked = Arc<Mutex<Vec<(String, String, String)>>>;

/// An API that gives these answers in turn, the last one for ever.
async fn scripted(script: Vec<(u16, Value)>) -> (InsightsConfig, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let script = Arc::new(Mutex::new(VecDeque::from(script)));
    let asked = Asked::default();
    let requests = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (script, asked) = (script.clone(), requests.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (script, asked) = (script.clone(), asked.clone());
                async move {
                    let header =
                        |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
                    let credential = header("x-api-key").or_else(|| header("authorization")).unwrap();
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let query: Value = serde_json::from_slice(&body).unwrap();
                    asked.lock().unwrap().push((
                        path,
                        credential,
                        query["query"].as_str().unwrap().to_owned(),
                    ));
                    let mut script = script.lock().unwrap();
                    let (status, body) =
                        if script.len() > 1 { script.pop_front().unwrap() } else { script[0].clone() };
                    let answer = Response::builder().status(status).header("retry-after", "0");
                    Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body.to_string()))).unwrap())
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let credential = Credential::ApiKey("secret-key".to_owned());
    (InsightsConfig { endpoint, application: "app-1".to_owned(), credential }, asked)
}

fn request(operation: &str) -> Value {
    json!([
        "request",
        format!("r-{operation}"),
        operation,
        "load",
        "GET /x",
        "2026-01-01T00:00:00.000Z",
        20.0,
        "True",
        "200"
    ])
}

fn dependency(operation: &str, parent: &str) -> Value {
    json!([
        "dependency",
        format!("d-{operation}-{parent}"),
        operation,
        parent,
        "sql",
        "2026-01-01T00:00:00.005Z",
        5.0,
        "True",
        "0"
    ])
}

fn table(rows: &[Value]) -> Value {
    let columns = [
        "itemType",
        "id",
        "operation_Id",
        "operation_ParentId",
        "name",
        "timestamp",
        "duration",
        "success",
        "resultCode",
    ];
    let columns: Vec<Value> = columns.iter().map(|name| json!({ "name": name, "type": "string" })).collect();
    json!({ "tables": [{ "name": "PrimaryResult", "columns": columns, "rows": rows }] })
}

/// Trace ids `1-0000000a-…` and so on, and their operations.
fn ids(count: usize) -> (Vec<String>, Vec<String>) {
    (0..count).map(|at| (format!("1-{at:08x}-{:024x}", 7), format!("{at:08x}{:024x}", 7))).unzip()
}

async fn fetch(
    config: &InsightsConfig,
    ids: &[String],
    deadline: Duration,
    out: &Path,
) -> Result<Retrieval, FetchError> {
    fetch_traces(config, ids, deadline, out, &|_| {}).await
}

#[tokio::test]
async fn traces_come_in_batches_through_every_trouble_and_are_analysed_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces.json");
    let (ids, operations) = ids(3);
    let mut partial = table(&[request(&operations[0])]);
    partial["error"] =
        json!({ "code": "PartialError", "message": "There were some errors when processing your query." });
    let (config, asked) = scripted(vec![
        (429, json!({})),
        (503, json!({ "error": { "message": "later" } })),
        (200, partial),
        (
            200,
            table(&[
                request(&operations[0]),
                dependency(&operations[1], "gone"),
                request(&operations[2]),
                request("of-another"),
            ]),
        ),
        (200, table(&[request(&operations[1]), dependency(&operations[1], &format!("r-{}", operations[1]))])),
    ])
    .await;
    let report = fetch(&config, &ids, Duration::from_mins(1), &out).await.unwrap();
    assert_eq!((report.expected, report.found, report.shortfall(), report.throttled), (3, 3, None, 1));
    let asked = asked.lock().unwrap();
    assert!(asked.iter().all(|(path, key, _)| path == "/v1/apps/app-1/query" && key == "secret-key"));
    assert!(operations.iter().all(|id| asked[0].2.contains(id)), "one query has all of them: {}", asked[0].2);
    let last = &asked.last().unwrap().2;
    assert!(
        last.contains(&operations[1]) && !last.contains(&operations[0]),
        "what is complete is not asked for again"
    );
    let lines = std::fs::read_to_string(&out).unwrap();
    assert!(!lines.contains("of-another"));
    let roots: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["attrs"]["rootTraceId"].clone())
        .collect();
    assert_eq!(json!(roots), json!(operations));
    let summary = sb_analysis::analyze_file(&out, &sb_analysis::AnalyzeOptions::default()).unwrap();
    assert_eq!((summary.valid, summary.invalid), (3, 0), "{summary:?}");
}

#[tokio::test]
async fn a_result_that_is_too_large_is_asked_for_in_smaller_pages() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces.json");
    let (ids, operations) = ids(1);
    let too_large = json!({ "tables": [], "error": { "code": "PartialError", "details": [{ "innererror": { "code": "E_QUERY_RESULT_SET_TOO_LARGE" } }] } });
    let rows: Vec<Value> = std::iter::once(request(&operations[0]))
        .chain((1..1250).map(|_| dependency(&operations[0], &format!("r-{}", operations[0]))))
        .collect();
    let (config, asked) = scripted(vec![
        (200, too_large.clone()),
        (200, too_large),
        (200, table(&rows)),
        (200, table(&rows[1..10])),
    ])
    .await;
    let report = fetch(&config, &ids, Duration::from_mins(1), &out).await.unwrap();
    assert_eq!((report.found, report.shortfall()), (1, None));
    let asked = asked.lock().unwrap();
    let ranges: Vec<&str> = asked
        .iter()
        .map(|(_, _, query)| query.split("where sb_row ").nth(1).unwrap().split(" |").next().unwrap())
        .collect();
    assert_eq!(
        ranges,
        [
            "> 0 and sb_row <= 20000",
            "> 0 and sb_row <= 5000",
            "> 0 and sb_row <= 1250",
            "> 1250 and sb_row <= 2500"
        ]
    );
}

#[tokio::test]
async fn refusals_are_told_without_the_key_and_absent_traces_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces.json");
    let (ids, operations) = ids(2);
    let (config, _) = scripted(vec![(403, json!({ "error": { "code": "InsufficientAccessError", "message": "The provided credentials have insufficient access" } }))]).await;
    let error = fetch(&config, &ids, Duration::from_mins(1), &out).await.unwrap_err().to_string();
    assert!(error.contains("insufficient access") && !error.contains("secret-key"), "{error}");
    let (config, _) = scripted(vec![(200, table(&[dependency(&operations[1], "gone")]))]).await;
    let report = fetch(&config, &ids, Duration::from_millis(600), &out).await.unwrap();
    assert_eq!((report.found, report.incomplete.len(), report.missing.len()), (1, 1, 1));
    assert_eq!(report.incomplete[&operations[1]], "no request is there yet");
    assert!(report.missing[&operations[0]].contains("no row of it"));
}

#[tokio::test]
async fn traces_of_google_are_fetched_one_by_one_until_they_are_complete() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let requests = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = requests.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let path = request.uri().path().to_owned();
                let token = request.headers()["authorization"].to_str().unwrap().to_owned();
                let mut seen = seen.lock().unwrap();
                let before = seen.iter().filter(|(known, _)| *known == path).count();
                seen.push((path.clone(), token));
                let id = path.rsplit('/').next().unwrap().to_owned();
                let span = |id: &str, parent: &str| {
                    json!({ "spanId": id, "parentSpanId": parent, "kind": "RPC_SERVER", "name": "work",
                            "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:01Z" })
                };
                // The second one has two spans whose parents are not there at first; nobody knows the third.
                let spans = match (&*id, before) {
                    (id, _) if id.starts_with("00000002") => None,
                    (id, 0) if id.starts_with("00000001") => Some(json!([span("8", "7"), span("9", "6")])),
                    _ => Some(json!([span("7", "5"), span("8", "7"), span("9", "7")])),
                };
                let (status, body) = match spans {
                    Some(spans) => (200, json!({ "projectId": "p", "traceId": id, "spans": spans })),
                    None => (404, json!({ "error": { "code": 404, "message": "Resource not found" } })),
                };
                let answer = Response::builder().status(status);
                std::future::ready(Ok::<_, Infallible>(
                    answer.body(Full::new(Bytes::from(body.to_string()))).unwrap(),
                ))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("traces.json");
    let (wanted, operations) = ids(3);
    let config = GoogleConfig { endpoint, project: "my-project".to_owned(), token: "secret".to_owned() };
    let report = google::fetch_traces(&config, &wanted, Duration::from_secs(2), &out, &|_| {}).await.unwrap();
    assert_eq!((report.expected, report.found, report.incomplete.len()), (3, 2, 0), "{report:?}");
    assert!(report.missing[&operations[2]].contains("not sampled"), "{report:?}");
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), 2);
    let seen = seen.lock().unwrap();
    assert!(seen.iter().all(|(_, token)| token == "Bearer secret"));
    assert_eq!(seen.iter().filter(|(path, _)| path.ends_with(&operations[1])).count(), 2, "asked for again");
    assert!(seen[0].0.starts_with("/v1/projects/my-project/traces/"), "{}", seen[0].0);
}
