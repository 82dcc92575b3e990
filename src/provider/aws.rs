//! AWS: X-Ray traces, fetched by their ids.
//!
//! The local target speaks the same API: with an endpoint of its own, nothing else differs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_sdk_xray::config::retry::RetryConfig;
use aws_sdk_xray::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_xray::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_xray::operation::batch_get_traces::BatchGetTracesError;
use aws_sdk_xray::{Client, types};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// X-Ray's limit for one request.
const IDS_PER_REQUEST: usize = 5;
const REQUESTS_IN_FLIGHT: usize = 6;
/// Between asking for the same traces again: doubled from the first to the last.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LAST_DELAY: Duration = Duration::from_secs(15);
/// So often may every request fail without an answer from X-Ray until it counts as unreachable.
const SILENT_ROUNDS: u32 = 3;

/// Which X-Ray.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XrayConfig {
    /// Instead of AWS's own, for the local target. Then no credentials are looked up.
    pub endpoint: Option<String>,
    /// Instead of the one that the environment or the profile says.
    pub region: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchProgress {
    pub expected: usize,
    /// Complete so far.
    pub complete: usize,
    /// How often the remaining ones have been asked for.
    pub rounds: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchReport {
    /// Different trace ids asked for.
    pub expected: usize,
    /// Traces written, incomplete ones among them.
    pub found: usize,
    /// Written, but with a span in progress or a parent missing when the deadline came.
    pub incomplete: usize,
    /// Not known to X-Ray when the deadline came, sorted.
    pub missing: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(
        "X-Ray refused the request: {reason} (check the trace ids, the region and the permission `xray:BatchGetTraces`)"
    )]
    Refused { reason: String },
    #[error("X-Ray cannot be reached: {reason} (check credentials, region and network)")]
    Unreachable { reason: String },
    #[error(
        "X-Ray answered nothing but that it is asked too much: {reason} (try again later, with fewer trials at once)"
    )]
    Throttled { reason: String },
    #[error("cannot write `{}`: {source} (check that the folder exists and has room)", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Fetches traces and writes them to `out`, one per line, sorted by id, all or nothing.
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
) -> Result<FetchReport, FetchError> {
    let until = Instant::now() + deadline;
    let client = client(config).await;
    let mut pending: BTreeSet<String> = trace_ids.iter().cloned().collect();
    let expected = pending.len();
    let mut complete: BTreeMap<String, TraceLine> = BTreeMap::new();
    let mut partial: BTreeMap<String, TraceLine> = BTreeMap::new();
    let mut delay = FIRST_DELAY;
    let mut answered = false;
    // Until X-Ray gives a trace, or says that it has none.
    let mut throttled = None;
    let mut heard = false;
    let mut rounds = 0;
    loop {
        let ids: Vec<String> = pending.iter().cloned().collect();
        let batches: Vec<Vec<String>> = ids.chunks(IDS_PER_REQUEST).map(<[String]>::to_vec).collect();
        let mut answers = futures_util::stream::iter(batches)
            .map(|batch| fetch_batch(&client, batch))
            .buffer_unordered(REQUESTS_IN_FLIGHT);
        let mut silence = None;
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(traces) => {
                    (answered, heard) = (true, true);
                    for trace in traces {
                        if !pending.contains(&trace.id) {
                            continue;
                        }
                        if trace.is_complete() {
                            pending.remove(&trace.id);
                            partial.remove(&trace.id);
                            complete.insert(trace.id.clone(), trace);
                        } else {
                            partial.insert(trace.id.clone(), trace);
                        }
                    }
                }
                Err(Failure::Refused(reason)) => return Err(FetchError::Refused { reason }),
                Err(Failure::Busy) => answered = true,
                Err(Failure::Throttled(reason)) => {
                    answered = true;
                    throttled = Some(reason);
                }
                Err(Failure::Silence(reason)) => silence = Some(reason),
            }
            progress(FetchProgress { expected, complete: complete.len(), rounds });
        }
        rounds += 1;
        progress(FetchProgress { expected, complete: complete.len(), rounds });
        let left = until.saturating_duration_since(Instant::now());
        if let Some(reason) = silence
            && !answered
            && (rounds >= SILENT_ROUNDS || left.is_zero())
        {
            return Err(FetchError::Unreachable { reason });
        }
        if pending.is_empty() || left.is_zero() {
            break;
        }
        tokio::time::sleep(delay.min(left)).await;
        delay = (delay * 2).min(LAST_DELAY);
    }
    if let Some(reason) = throttled.filter(|_| !heard) {
        return Err(FetchError::Throttled { reason });
    }
    let missing = pending.into_iter().filter(|id| !partial.contains_key(id)).collect();
    let incomplete = partial.len();
    complete.append(&mut partial);
    write(&complete, out).map_err(|source| FetchError::Write { path: out.to_owned(), source })?;
    Ok(FetchReport { expected, found: complete.len(), incomplete, missing })
}

async fn client(config: &XrayConfig) -> Client {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(5).with_max_backoff(Duration::from_secs(10)));
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

/// Why a batch has no answer.
enum Failure {
    /// Asking again would not help.
    Refused(String),
    /// X-Ray is there, but cannot answer now.
    Busy,
    /// X-Ray was asked too much too fast.
    Throttled(String),
    /// No answer at all.
    Silence(String),
}

async fn fetch_batch(client: &Client, ids: Vec<String>) -> Result<Vec<TraceLine>, Failure> {
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
            return Ok(traces.into_values().collect());
        }
    }
}

fn classify(error: &SdkError<BatchGetTracesError>) -> Failure {
    let reason = || DisplayErrorContext(error).to_string();
    match error {
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let throttled = service.err().is_throttled_exception()
                || service.err().code().is_some_and(|code| code.contains("Throttl"))
                || status == 429;
            if throttled {
                Failure::Throttled(reason())
            } else if status >= 500 {
                Failure::Busy
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

    /// All spans have ended, all parents are there, and one segment has none. Segments still on their way to X-Ray that nothing
    /// refers to cannot be missed.
    fn is_complete(&self) -> bool {
        let spans: Option<Vec<Span>> =
            self.segments.iter().map(|segment| serde_json::from_str(&segment.document).ok()).collect();
        let Some(spans) = spans else {
            // Malformed: asking again gives the same.
            return true;
        };
        let mut ids = HashSet::new();
        let mut parents = Vec::new();
        let ended = spans.iter().all(|span| visit(span, &mut ids, &mut parents));
        let has_root = spans.iter().any(|span| span.parent_id.is_none());
        ended && has_root && parents.iter().all(|parent| ids.contains(parent))
    }
}

fn visit<'a>(span: &'a Span, ids: &mut HashSet<&'a str>, parents: &mut Vec<&'a str>) -> bool {
    ids.insert(&span.id);
    parents.extend(span.parent_id.as_deref());
    // All are visited: a short circuit would lose ids, but then the answer is no anyway.
    span.in_progress != Some(Value::Bool(true))
        && span.subsegments.iter().all(|child| visit(child, ids, parents))
}

fn write(traces: &BTreeMap<String, TraceLine>, out: &Path) -> io::Result<()> {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = out.with_file_name(name);
    let written = (|| {
        let mut file = BufWriter::new(File::create(&temporary)?);
        for trace in traces.values() {
            serde_json::to_writer(&mut file, trace)?;
            file.write_all(b"\n")?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&temporary, out)?;
        // The rename is durable only with its folder.
        let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
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
        assert_eq!(line.is_complete(), expected, "{documents:?}");
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
