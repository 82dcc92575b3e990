//! Google Cloud Trace: traces, fetched by their ids, one request each (`projects.traces.get` of its API v1).
//!
//! An id is the trace id of W3C's `traceparent`, which the load sends. Each trace is written as one line, as the API gives it; the
//! analysis reads that form.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, header};
use sb_analysis::{Invalid, read_otlp};
use serde_json::Value;

use super::app_insights::operation_id;
use super::collect::{
    Failure, FetchError, FetchProgress, Fetched, HttpsClient, Service, collect, https_client,
};
use super::retrieval::Retrieval;

/// Where Google answers.
pub const ENDPOINT: &str = "https://cloudtrace.googleapis.com";

const TRACE: Service = Service {
    name: "Cloud Trace",
    check: "the project's id, the token and the permission `cloudtrace.traces.get`",
    unknown: "Cloud Trace does not know it: it was not sampled, or is not there yet",
    ids_per_request: 1,
    absent_for: None,
};

/// The most bytes of an answer.
const LONGEST: usize = 32 << 20;
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// Which project, and how to prove that its traces may be read.
#[derive(Clone)]
pub struct GoogleConfig {
    pub endpoint: String,
    /// The project's id.
    pub project: String,
    /// An access token. Never shown.
    pub token: String,
}

/// Fetches traces and writes them to `out`, one per line, sorted by id, all or nothing, with a report beside them; as
/// [`super::aws::fetch_traces`] does.
///
/// # Errors
/// As there.
pub async fn fetch_traces(
    config: &GoogleConfig,
    trace_ids: &[String],
    deadline: Duration,
    out: &Path,
    progress: &(dyn Fn(FetchProgress) + Send + Sync),
) -> Result<Retrieval, FetchError> {
    let refused = |reason: String| FetchError::Refused { service: TRACE.name, reason, check: TRACE.check };
    let asker = Asker { config, client: https_client().map_err(refused)? };
    // Also proves that the configuration makes a request.
    asker.request("0").map_err(refused)?;
    let ids: Vec<String> = trace_ids.iter().map(|id| operation_id(id)).collect();
    collect(&TRACE, ("google", &ids), deadline, out, |ids| asker.traces(ids), progress).await
}

struct Asker<'c> {
    config: &'c GoogleConfig,
    client: HttpsClient<Empty<Bytes>>,
}

impl Asker<'_> {
    fn request(&self, id: &str) -> Result<Request<Empty<Bytes>>, String> {
        let endpoint = self.config.endpoint.trim_end_matches('/');
        // Ids are hexadecimal, or else were never sent by a load.
        let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
        let url = format!("{endpoint}/v1/projects/{}/traces/{id}", self.config.project);
        Request::get(&url)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.config.token))
            .body(Empty::new())
            .map_err(|error| format!("`{url}` or the token: {error}"))
    }

    async fn traces(&self, ids: Vec<String>) -> Result<Vec<Fetched>, Failure> {
        let mut fetched = Vec::new();
        for id in ids {
            let request = self.request(&id).map_err(Failure::Refused)?;
            let answer = async {
                let answer = self.client.request(request).await;
                let answer = answer.map_err(|error| Failure::Silence(error.to_string()))?;
                let (head, body) = answer.into_parts();
                let body = Limited::new(body, LONGEST).collect().await;
                let body = body.map_err(|error| Failure::Silence(error.to_string()))?.to_bytes();
                Ok((head, body))
            };
            let late = |_| Failure::Silence("no answer in time".to_owned());
            let (head, body) = tokio::time::timeout(ANSWER_WITHIN, answer).await.map_err(late)??;
            let wait =
                head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            if let Some(text) = read_answer(head.status, wait.map(Duration::from_secs), &body)? {
                let defect = defect(&text);
                fetched.push(Fetched { id, text, defect });
            }
        }
        Ok(fetched)
    }
}

/// The trace on one line; none where there is no such trace.
fn read_answer(status: StatusCode, wait: Option<Duration>, body: &[u8]) -> Result<Option<String>, Failure> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    let message = value.as_ref().and_then(|value| value["error"]["message"].as_str()).unwrap_or_default();
    let reason = || format!("{status}: {message}");
    match status {
        StatusCode::NOT_FOUND => Ok(None),
        StatusCode::TOO_MANY_REQUESTS => Err(Failure::Throttled(reason(), wait)),
        StatusCode::REQUEST_TIMEOUT => Err(Failure::Busy(reason())),
        _ if status.is_server_error() => Err(Failure::Busy(reason())),
        _ if !status.is_success() => Err(Failure::Refused(reason())),
        _ => match value {
            Some(trace) if trace["spans"].is_array() => Ok(Some(trace.to_string())),
            _ => Err(Failure::Busy("the answer is no trace".to_owned())),
        },
    }
}

/// Why a trace is not complete. What else is wrong with it, asking again would not mend.
fn defect(text: &str) -> Option<String> {
    let recorded = read_otlp(text).into_iter().next()?.ok()?;
    match recorded.join().err()? {
        Invalid::InProgress { .. } => Some("a span is in progress".to_owned()),
        Invalid::MissingParent { .. } => Some("a parent is missing".to_owned()),
        Invalid::NoRoot => Some("its root is missing".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_their_status() {
        for (status, body, expected) in [
            (200, r#"{"spans":[]}"#, "trace"),
            (200, "{}", "busy: the answer is no trace"),
            (404, r#"{"error":{"message":"not found"}}"#, "nothing"),
            (429, r#"{"error":{"message":"quota"}}"#, "throttled: 429 Too Many Requests: quota Some(7s)"),
            (503, "<html>", "busy: 503"),
            (403, r#"{"error":{"message":"no access"}}"#, "refused: 403 Forbidden: no access"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let found = match read_answer(status, Some(Duration::from_secs(7)), body.as_bytes()) {
                Ok(Some(_)) => "trace".to_owned(),
                Ok(None) => "nothing".to_owned(),
                Err(Failure::Refused(reason)) => format!("refused: {reason}"),
                Err(Failure::Busy(reason)) => format!("busy: {reason}"),
                Err(Failure::Throttled(reason, wait)) => format!("throttled: {reason} {wait:?}"),
                Err(Failure::Silence(reason)) => format!("silence: {reason}"),
            };
            assert!(found.starts_with(expected), "{found}");
        }
    }
}
