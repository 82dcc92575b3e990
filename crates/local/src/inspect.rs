//! What `sb local trace` asks a running runtime: `GET /sb/traces` on the control port, a trace per line as BatchGetTraces gives it.

use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::{StatusCode, Uri};

use super::http::{self, Answer};
use super::recorder::Recorder;
use super::service_client::{client, whole};
use super::xray_api::trace_of;
use super::{LocalError, LocalRuntime};

pub(super) const PATH: &str = "/sb/traces";

/// The latest traces whose id begins with `prefix`, at most `limit`: a line each, as BatchGetTraces gives them.
///
/// # Errors
/// The local target does not answer.
pub async fn latest_traces(runtime: &LocalRuntime, prefix: &str, limit: usize) -> Result<Bytes, LocalError> {
    // What is no part of an id can begin none, and would be no address.
    if !prefix.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return Ok(Bytes::new());
    }
    let address = format!("{}{PATH}?prefix={prefix}&limit={limit}", runtime.xray_endpoint);
    let unreachable = |reason: String| LocalError::Unreachable { address: address.clone(), reason };
    let uri: Uri =
        address.parse().map_err(|error: hyper::http::uri::InvalidUri| unreachable(error.to_string()))?;
    let answer = client::<Empty<Bytes>>().get(uri).await.map_err(|error| unreachable(error.to_string()))?;
    let answer = whole(answer).await.map_err(|error| unreachable(error.to_string()))?;
    if answer.status() != StatusCode::OK {
        return Err(unreachable(answer.status().to_string()));
    }
    Ok(answer.into_body())
}

pub(super) fn answer(recorder: &Recorder, query: &str) -> Answer {
    let given = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let limit = given("limit").and_then(|text| text.parse().ok()).unwrap_or(20);
    let traces = recorder.latest(given("prefix").unwrap_or_default(), limit);
    let lines: String = traces.iter().map(|view| format!("{}\n", trace_of(view))).collect();
    http::bytes(StatusCode::OK, lines.into())
}
