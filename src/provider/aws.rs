//! AWS: X-Ray traces, fetched by their ids.
//!
//! The local target speaks the same API: with an endpoint of its own, nothing else differs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_xray::config::retry::RetryConfig;
use aws_sdk_xray::config::timeout::TimeoutConfig;
use aws_sdk_xray::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_xray::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_xray::primitives::DateTime;
use aws_sdk_xray::{Client, types};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::collect::{Failure, FetchError, FetchProgress, Fetched, Service, ask, collect};
use super::pace::Pace;
use super::retrieval::Retrieval;

const XRAY: Service = Service {
    name: "X-Ray",
    check: "the trace ids, the region and the permission `xray:BatchGetTraces`",
    unknown: "X-Ray does not know it: it was not sampled, or is not there yet",
    // X-Ray's limit.
    ids_per_request: 5,
};

/// Seconds of summaries that are asked for at once; X-Ray allows six hours.
const LONGEST_WINDOW: f64 = 300.0;
/// Seconds below which a window is not halved.
const SHORTEST_WINDOW: f64 = 1.0;
const WINDOWS_IN_FLIGHT: usize = 16;

const LONGEST_REASON: usize = 600;

/// A request without an answer by then has failed.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Which X-Ray.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XrayConfig {
    /// Instead of AWS's own, for the local target. Then no credentials are looked up. (Other endpoints are given as the AWS
    /// SDK has them, by `AWS_ENDPOINT_URL_XRAY` or the profile.)
    pub endpoint: Option<String>,
    /// Instead of the one that the environment or the profile says.
    pub region: Option<String>,
}

/// Fetches traces and writes them to `out`, one per line, sorted by id, all or nothing, with a report beside them. A
/// retrieval that was killed goes on where it was.
///
/// Traces that are absent or not complete are asked for again until `deadline` has passed since the call; what
/// is there by then is written. Throttling and failing connections are retried, too.
///
/// # Errors
/// X-Ray refuses, cannot be reached, or throttles every request until the deadline; or `out` cannot be written.
pub async fn fetch_traces(
    config: &XrayConfig,
    trace_ids: &[String],
    deadline: Duration,
    out: &Path,
    progress: &(dyn Fn(FetchProgress) + Send + Sync),
) -> Result<Retrieval, FetchError> {
    let client = client(config).await;
    let source = if config.endpoint.is_some() { "local" } else { "xray" };
    let fetch = |ids| fetch_batch(&client, ids);
    collect(&XRAY, (source, trace_ids), deadline, out, fetch, progress).await
}

/// The ids of all traces that began in `window`, in seconds since 1970: for invocations whose ids nobody knows.
///
/// What has more traces than one answer holds is asked for again in halves, down to a second, whose pages follow one another.
///
/// # Errors
/// X-Ray refuses, cannot be reached, or throttles until the deadline.
pub async fn list_traces(
    config: &XrayConfig,
    window: Range<f64>,
    deadline: Duration,
) -> Result<BTreeSet<String>, FetchError> {
    let client = client(config).await;
    let pace = Pace::new();
    let until = Instant::now() + deadline;
    let mut ids = BTreeSet::new();
    let mut windows = split(&window, (window.end - window.start) / LONGEST_WINDOW);
    while !windows.is_empty() {
        let list = |window| list_window(&client, window);
        let mut answers = futures_util::stream::iter(std::mem::take(&mut windows))
            .map(|window| ask(window, &list, &pace, until))
            .buffer_unordered(WINDOWS_IN_FLIGHT);
        while let Some(answer) = answers.next().await {
            let (found, halves) = answer.map_err(|failure| {
                let service = XRAY.name;
                match failure {
                    Failure::Refused(reason) => FetchError::Refused {
                        service,
                        reason,
                        check: "the region and the permission `xray:GetTraceSummaries`",
                    },
                    Failure::Throttled(reason, _) => FetchError::Throttled { service, reason },
                    Failure::Busy(reason) | Failure::Silence(reason) => {
                        FetchError::Unreachable { service, reason }
                    }
                }
            })?;
            ids.extend(found);
            windows.extend(halves);
        }
    }
    Ok(ids)
}

/// Equal parts, at least one.
fn split(window: &Range<f64>, parts: f64) -> Vec<Range<f64>> {
    let parts = parts.ceil().clamp(1.0, 100_000.0);
    let length = (window.end - window.start) / parts;
    let starts = std::iter::successors(Some(0.0), |part| Some(part + 1.0)).take_while(|part| *part < parts);
    // Ends meet: a trace that began at the very end of a part is in both, or in the next.
    starts.map(|part| window.start + part * length..window.start + (part + 1.0) * length).collect()
}

/// The traces of a window; or the first of them and its halves, which have them all.
async fn list_window(client: &Client, window: Range<f64>) -> Result<(Vec<String>, Vec<Range<f64>>), Failure> {
    let mut ids = Vec::new();
    let mut token = None;
    loop {
        let request = client
            .get_trace_summaries()
            .start_time(DateTime::from_secs_f64(window.start))
            .end_time(DateTime::from_secs_f64(window.end))
            .set_next_token(token.take());
        let output = request.send().await.map_err(|error| classify(&error))?;
        ids.extend(output.trace_summaries().iter().filter_map(|summary| summary.id().map(str::to_owned)));
        token = output.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return Ok((ids, Vec::new()));
        }
        if window.end - window.start > SHORTEST_WINDOW {
            return Ok((ids, split(&window, 2.0)));
        }
    }
}

async fn client(config: &XrayConfig) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        // Tries again are paced over all requests.
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ANSWER_WITHIN).build());
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &config.endpoint {
        // Static, so that nothing looks for real ones: no profile, no metadata service.
        loader = loader
            .endpoint_url(endpoint)
            .credentials_provider(Credentials::new("local", "local", None, None, "local"));
        if config.region.is_none() {
            loader = loader.region(Region::from_static("us-east-1"));
        }
    }
    Client::new(&loader.load().await)
}

async fn fetch_batch(client: &Client, ids: Vec<String>) -> Result<Vec<Fetched>, Failure> {
    let mut traces: BTreeMap<String, TraceLine> = BTreeMap::new();
    let mut token = None;
    loop {
        let request = client.batch_get_traces().set_trace_ids(Some(ids.clone())).set_next_token(token.take());
        let output = request.send().await.map_err(|error| classify(&error))?;
        for trace in output.traces() {
            let Some(line) = TraceLine::new(trace) else { continue };
            match traces.get_mut(&line.id) {
                Some(earlier) => earlier.join(line),
                None => {
                    traces.insert(line.id.clone(), line);
                }
            }
        }
        token = output.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return traces.into_values().map(TraceLine::fetched).collect();
        }
    }
}

fn classify<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> Failure {
    // The SDK shows the whole of an answer that it cannot read.
    let reason = || DisplayErrorContext(error).to_string().chars().take(LONGEST_REASON).collect();
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let throttled =
                status == 429 || service.err().code().is_some_and(|code| code.contains("Throttl"));
            if throttled {
                Failure::Throttled(reason(), None)
            } else if status >= 500 {
                Failure::Busy(reason())
            } else {
                Failure::Refused(reason())
            }
        }
        SdkError::ConstructionFailure(_) => Failure::Refused(reason()),
        _ => Failure::Silence(reason()),
    }
}

/// A line of `traces.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TraceLine {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    limit_exceeded: bool,
    segments: Vec<SegmentEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SegmentEntry {
    id: String,
    document: String,
}

/// What of a span tells whether its trace is complete.
#[derive(Deserialize)]
struct Span {
    id: String,
    parent_id: Option<String>,
    in_progress: Option<Value>,
    #[serde(default)]
    subsegments: Vec<Span>,
}

impl TraceLine {
    fn new(trace: &types::Trace) -> Option<Self> {
        let segment = |segment: &types::Segment| {
            Some(SegmentEntry { id: segment.id()?.to_owned(), document: segment.document()?.to_owned() })
        };
        Some(Self {
            id: trace.id()?.to_owned(),
            duration: trace.duration(),
            limit_exceeded: trace.limit_exceeded().unwrap_or_default(),
            segments: trace.segments().iter().filter_map(segment).collect(),
        })
    }

    /// Adds what a later page says of the same trace.
    fn join(&mut self, page: Self) {
        self.duration = page.duration.or(self.duration);
        self.limit_exceeded |= page.limit_exceeded;
        for segment in page.segments {
            if !self.segments.iter().any(|known| known.id == segment.id) {
                self.segments.push(segment);
            }
        }
    }

    fn fetched(self) -> Result<Fetched, Failure> {
        let defect = self.defect();
        // Only strings and numbers are written.
        let text = serde_json::to_string(&self).map_err(|error| Failure::Refused(error.to_string()))?;
        Ok(Fetched { id: self.id, text, defect })
    }

    /// Why it is not complete. It is when all spans have ended, all parents are there, and one segment has none. Segments
    /// still on their way to X-Ray that nothing refers to cannot be missed.
    fn defect(&self) -> Option<String> {
        let spans: Option<Vec<Span>> =
            self.segments.iter().map(|segment| serde_json::from_str(&segment.document).ok()).collect();
        // Malformed: asking again gives the same.
        let spans = spans?;
        let mut ids = HashSet::new();
        let mut parents = Vec::new();
        let ended = spans.iter().all(|span| visit(span, &mut ids, &mut parents));
        let has_root = spans.iter().any(|span| span.parent_id.is_none());
        let reason = if !ended {
            "a span is in progress"
        } else if !has_root {
            "its root is missing"
        } else if !parents.iter().all(|parent| ids.contains(parent)) {
            "a parent is missing"
        } else {
            return None;
        };
        Some(reason.to_owned())
    }
}

fn visit<'a>(span: &'a Span, ids: &mut HashSet<&'a str>, parents: &mut Vec<&'a str>) -> bool {
    ids.insert(&span.id);
    parents.extend(span.parent_id.as_deref());
    // All are visited: a short circuit would lose ids, but then the answer is no anyway.
    span.in_progress != Some(Value::Bool(true))
        && span.subsegments.iter().all(|child| visit(child, ids, parents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_complete(documents: &[&str], expected: bool) {
        let segments = documents
            .iter()
            .map(|document| SegmentEntry { id: "x".to_owned(), document: (*document).to_owned() })
            .collect();
        let line = TraceLine { id: "1".to_owned(), duration: None, limit_exceeded: false, segments };
        assert_eq!(line.defect().is_none(), expected, "{documents:?}");
    }

    #[test]
    fn a_trace_is_complete_when_all_has_ended_and_no_parent_is_missing() {
        check_complete(&[r#"{"id":"a"}"#], true);
        check_complete(&[r#"{"id":"b","parent_id":"c"}"#, r#"{"id":"a","subsegments":[{"id":"c"}]}"#], true);
        check_complete(&[r#"{"id":"b","parent_id":"c"}"#, r#"{"id":"a"}"#], false);
        check_complete(&[r#"{"id":"b","parent_id":"b"}"#], false);
        check_complete(&[r#"{"id":"a","in_progress":true}"#], false);
        check_complete(&[r#"{"id":"a","subsegments":[{"id":"b","in_progress":true}]}"#], false);
        check_complete(&[r#"{"id":"a","in_progress":false}"#], true);
        check_complete(&[], false);
    }
}
