//! Routes with Step Functions behind them: the services' process renders the mapping templates and asks (`integrations.py`).

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};

use super::context::TraceContext;
use super::http::{self, Answer};
use super::invoke::Runtime;
use super::invoke_api::percent_decode;
use super::proxy::HttpRequest;
use super::routes::RouteMatch;

pub(super) async fn answer(
    runtime: &Arc<Runtime>,
    settings: &Value,
    found: &RouteMatch<'_>,
    request: &HttpRequest,
    trace: &TraceContext,
) -> Answer {
    let headers: BTreeMap<&str, &str> = request
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .collect();
    let decoded = |text: &str| percent_decode(&text.replace('+', " "));
    let query: BTreeMap<String, String> = request
        .query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect();
    let call = json!({
        "integration": settings,
        "method": request.method.as_str(),
        "resource": found.route.path,
        "body": String::from_utf8_lossy(&request.body),
        "path": found.parameters,
        "query": query,
        "headers": headers,
        "request_id": request.request_id,
        "trace": trace.to_string(),
    });
    let failed = |status: StatusCode| http::json(status, &json!({ "message": "Internal server error" }));
    let Some(services) = &runtime.services else { return failed(StatusCode::INTERNAL_SERVER_ERROR) };
    match services.integrate(&call).await {
        Ok((status, body)) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut answer = http::bytes(status, body);
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            answer
        }
        Err(error) => {
            runtime.journal.note(&error.to_string());
            failed(StatusCode::BAD_GATEWAY)
        }
    }
}
