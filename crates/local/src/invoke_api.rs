//! The control server: Lambda's Invoke API and the X-Ray API on one port (their paths differ).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use serde_json::json;

use super::context::{TraceContext, new_request_id};
use super::http::{self, Answer, MAX_PAYLOAD};
use super::instances::Caller;
use super::invoke::{self, Call, Runtime};
use super::{inspect, xray_api};

pub(super) const TRACE_HEADER: HeaderName = HeaderName::from_static("x-amzn-trace-id");
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// Lambda's limit for the payload of an asynchronous invocation, in bytes.
const MAX_EVENT: usize = 1024 * 1024;

pub(super) async fn answer(runtime: Arc<Runtime>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let invoked =
        path.strip_prefix("/2015-03-31/functions/").and_then(|rest| rest.strip_suffix("/invocations"));
    match (request.method(), invoked) {
        (&Method::POST, Some(name)) => invoke(runtime, &percent_decode(name), request).await,
        (&Method::GET, None) if path == inspect::PATH => {
            inspect::answer(&runtime.recorder, request.uri().query().unwrap_or_default())
        }
        (&Method::POST, None) => xray_api::answer(&runtime.recorder, &path, request).await,
        _ => error(StatusCode::NOT_FOUND, "UnknownOperationException", &format!("no operation at `{path}`")),
    }
}

async fn invoke(runtime: Arc<Runtime>, name: &str, request: Request<Incoming>) -> Answer {
    let Some(function) = runtime.function(name).cloned() else {
        let known: Vec<&str> = runtime.functions.keys().map(String::as_str).collect();
        let message = format!("Function not found: {name}. This application has: {}", known.join(", "));
        return error(StatusCode::NOT_FOUND, "ResourceNotFoundException", &message);
    };
    let headers = request.headers().clone();
    let kind = text(&headers, "x-amz-invocation-type").unwrap_or("RequestResponse");
    if kind == "DryRun" {
        return http::bytes(StatusCode::NO_CONTENT, Bytes::new());
    }
    if !matches!(kind, "RequestResponse" | "Event") {
        let message = format!("invocation type `{kind}`: use RequestResponse, Event or DryRun");
        return error(StatusCode::BAD_REQUEST, "InvalidParameterValueException", &message);
    }
    let limit = if kind == "Event" { MAX_EVENT } else { MAX_PAYLOAD };
    let payload = match http::read_body(request.into_body(), limit).await {
        Ok(payload) if payload.is_empty() => Bytes::from_static(b"{}"),
        Ok(payload) => payload,
        Err(status) => {
            return error(
                status,
                "RequestTooLargeException",
                &format!("the payload must be at most {limit} bytes"),
            );
        }
    };
    if let Err(problem) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        let message = format!("Could not parse request body into json: {problem}");
        return error(StatusCode::BAD_REQUEST, "InvalidRequestContentException", &message);
    }
    let client_context = text(&headers, "x-amz-client-context")
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .and_then(|decoded| String::from_utf8(decoded).ok());
    let call = Call {
        function,
        request_id: new_request_id(),
        payload,
        client_context,
        trace: TraceContext::from_header(text(&headers, TRACE_HEADER.as_str())),
    };
    let (request_id, trace) = (call.request_id.clone(), call.trace.clone());
    let mut answer = if kind == "Event" {
        if runtime.enqueue(call) { http::bytes(StatusCode::ACCEPTED, Bytes::new()) } else { throttled() }
    } else {
        match runtime.call(call, Caller::InvokeApi).await {
            invoke::Answer::Payload(body) => http::bytes(StatusCode::OK, body),
            invoke::Answer::Failed(body) => {
                let mut answer = http::bytes(StatusCode::OK, body);
                answer.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
                answer
            }
            invoke::Answer::Throttled => throttled(),
        }
    };
    answer.headers_mut().insert("x-amz-executed-version", HeaderValue::from_static("$LATEST"));
    stamp(&mut answer, &request_id, &trace);
    answer
}

/// Puts the request's id and its trace into the headers of the answer.
pub(super) fn stamp(answer: &mut Answer, request_id: &str, trace: &TraceContext) {
    let trace = TraceContext { parent: None, ..trace.clone() }.to_string();
    for (name, value) in [(REQUEST_ID, request_id), (TRACE_HEADER, trace.as_str())] {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    }
}

pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn throttled() -> Answer {
    let mut answer = error(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", "Rate Exceeded.");
    answer.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
    answer
}

/// An error in the form that AWS SDKs read.
pub(super) fn error(status: StatusCode, kind: &str, message: &str) -> Answer {
    let mut answer = http::json(status, &json!({ "Type": "User", "Message": message, "message": message }));
    if let Ok(kind) = HeaderValue::from_str(kind) {
        answer.headers_mut().insert("x-amzn-errortype", kind);
    }
    answer
}

/// Decodes `%3A` and the like; what is no valid escape stays.
pub(super) fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
