//! The X-Ray API, as far as collectors need it: PutTraceSegments, GetTraceSummaries, BatchGetTraces.

use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::{Value, json};

use super::context::{trace_id, trace_number};
use super::http::{self, Answer};
use super::invoke_api::error;
use super::recorder::{Place, Recorder, View};

const MAX_BODY: usize = 4 * 1024 * 1024;
/// X-Ray's own limit for one BatchGetTraces.
const MAX_IDS: usize = 5;
const SUMMARIES_PER_PAGE: usize = 100;

pub(super) async fn answer(recorder: &Recorder, path: &str, request: Request<Incoming>) -> Answer {
    let body = match http::read_body(request.into_body(), MAX_BODY).await {
        Ok(body) => body,
        Err(status) => return error(status, "InvalidRequestException", "the request could not be read"),
    };
    let Ok(input) = serde_json::from_slice::<Value>(&body) else {
        return invalid("the request is not JSON");
    };
    let output = match path {
        "/TraceSegments" => put_segments(recorder, &input),
        "/TraceSummaries" => summaries(recorder, &input),
        "/Traces" => traces(recorder, &input),
        _ => {
            return error(
                StatusCode::NOT_FOUND,
                "UnknownOperationException",
                &format!("no operation at `{path}`"),
            );
        }
    };
    match output {
        Ok(output) => http::json(StatusCode::OK, &output),
        Err(message) => invalid(&message),
    }
}

fn put_segments(recorder: &Recorder, input: &Value) -> Result<Value, String> {
    let documents = list(input, "TraceSegmentDocuments")?;
    let mut refused = Vec::new();
    for text in documents {
        let document =
            text.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).unwrap_or_default();
        if let Err(reason) = recorder.receive(&document) {
            let id = document.get("id").cloned().unwrap_or_default();
            refused.push(json!({ "Id": id, "ErrorCode": "ParseError", "Message": reason.to_string() }));
        }
    }
    Ok(json!({ "UnprocessedTraceSegments": refused }))
}

fn summaries(recorder: &Recorder, input: &Value) -> Result<Value, String> {
    let time = |key: &str| {
        input.get(key).and_then(Value::as_f64).ok_or(format!("`{key}` must be a time in seconds"))
    };
    let after = match input.get("NextToken").and_then(Value::as_str) {
        Some(token) => Some(place(token).ok_or("the NextToken is not one of ours")?),
        None => None,
    };
    if input.get("FilterExpression").and_then(Value::as_str).is_some_and(|filter| !filter.is_empty()) {
        return Err("the local target takes no FilterExpression: filter the traces yourself".to_owned());
    }
    let (views, end) = recorder.between(time("StartTime")?, time("EndTime")?, after, SUMMARIES_PER_PAGE);
    let page: Vec<Value> = views.iter().map(summary).collect();
    let mut output = json!({
        "TraceSummaries": page,
        "TracesProcessedCount": page.len(),
        "ApproximateTime": super::clock::seconds(super::clock::wall_micros()),
    });
    if let Some((start, id)) = end {
        output["NextToken"] = json!(format!("{start}:{}", trace_id(id)));
    }
    Ok(output)
}

/// Where the page ended after which a token was given.
fn place(token: &str) -> Option<Place> {
    let (start, id) = token.split_once(':')?;
    Some((start.parse().ok()?, trace_number(id)?))
}

fn summary(view: &View) -> Value {
    let root = view.documents.iter().find(|document| document.get("parent_id").is_none());
    let flag =
        |name: &str| view.documents.iter().any(|document| document.get(name) == Some(&Value::Bool(true)));
    let field = |pointer: &str| root.and_then(|root| root.pointer(pointer)).cloned().unwrap_or_default();
    let response =
        root.and_then(|root| Some(root.get("end_time")?.as_f64()? - root.get("start_time")?.as_f64()?));
    json!({
        "Id": view.id,
        "StartTime": view.start,
        "Duration": view.duration(),
        "ResponseTime": response,
        "HasFault": flag("fault"),
        "HasError": flag("error"),
        "HasThrottle": flag("throttle"),
        "IsPartial": view.in_progress,
        "Http": {
            "HttpURL": field("/http/request/url"),
            "HttpMethod": field("/http/request/method"),
            "HttpStatus": field("/http/response/status"),
        },
    })
}

fn traces(recorder: &Recorder, input: &Value) -> Result<Value, String> {
    let ids = list(input, "TraceIds")?;
    if ids.len() > MAX_IDS {
        return Err(format!("at most {MAX_IDS} trace ids per request"));
    }
    let mut found = Vec::new();
    let mut unprocessed = Vec::new();
    for id in ids.iter().filter_map(Value::as_str) {
        match recorder.view(id) {
            None => unprocessed.push(id),
            Some(view) => found.push(trace_of(&view)),
        }
    }
    Ok(json!({ "Traces": found, "UnprocessedTraceIds": unprocessed }))
}

/// A trace as BatchGetTraces gives it.
pub(super) fn trace_of(view: &View) -> Value {
    let segments: Vec<Value> = view
        .documents
        .iter()
        .map(|document| json!({ "Id": document["id"], "Document": document.to_string() }))
        .collect();
    json!({
        "Id": view.id,
        "Duration": view.duration(),
        "LimitExceeded": view.limit_exceeded,
        "Segments": segments,
    })
}

fn list<'a>(input: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    input.get(key).and_then(Value::as_array).ok_or(format!("`{key}` must be a list"))
}

fn invalid(message: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, "InvalidRequestException", message)
}
