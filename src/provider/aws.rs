//! AWS: X-Ray traces, fetched by their ids.
//!
//! The local target speaks the same API: with an endpoint of its own, nothing else differs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_xray::config::retry::RetryConfig;
use aws_sdk_xray::config::timeout::TimeoutConfig;
use aws_sdk_xray::config::{Credentials, Region};
use aws_sdk_xray::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_xray::primitives::DateTime;
use aws_sdk_xray::{Client, types};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::collect::{Failure, FetchError, FetchProgress, Fetched, Service, ask, ask_for, collect};
use super::pace::Pace;
use super::retrieval::{Partial, Retrieval};
use super::{account, answered};
use sb_analysis::{Documents, linked_traces};

const XRAY: Service = Service {
    name: "X-Ray",
    check: "the trace ids, the region and the permission `xray:BatchGetTraces`",
    unknown: "X-Ray does not know it: it was not sampled, or is not there yet",
    // X-Ray's limit.
    ids_per_request: 5,
    absent_for: None,
};

/// It has each trace at once, and all of them.
const LOCAL: Service = Service {
    name: "the local target",
    check: "that it still runs: `sb local status`",
    unknown: "the local target has none of it: its API has no such route or method, or the request did not reach it",
    ..XRAY
};

const SEARCH: Service = Service {
    name: "Transaction Search",
    check: "the trace ids, the region and the permissions `xray:StartTraceRetrieval` and `xray:ListRetrievedTraces`",
    unknown: "Transaction Search does not know it: it is not switched on, or the trace was not sampled, or is not there yet",
    // As X-Ray.
    ids_per_request: 5,
    absent_for: None,
};

/// How long a retrieval may take before another one is begun, and between two looks at it.
const RETRIEVED_WITHIN: Duration = Duration::from_mins(1);
const RETRIEVAL_POLL: Duration = Duration::from_millis(500);

/// Seconds of summaries that are asked for at once; X-Ray allows six hours.
const LONGEST_WINDOW: f64 = 300.0;
/// Seconds below which a window is not halved.
const SHORTEST_WINDOW: f64 = 1.0;
const WINDOWS_IN_FLIGHT: usize = 16;

/// Between two lists of traces; when the second shows no more links than the first, there are no more.
const LINKS_SETTLE: Duration = Duration::from_secs(5);
/// Listing may take at least so long, even when the deadline has passed.
const LIST_WITHIN: Duration = Duration::from_mins(1);
/// Seconds by which the clocks of this machine and of X-Ray may differ.
const CLOCKS_DIFFER: f64 = 2.0;

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
    /// How long a trace of which nothing is there may still come; none: until the deadline.
    pub absent_for: Option<Duration>,
}

impl XrayConfig {
    fn service(&self) -> Service {
        let service = if self.endpoint.is_some() { LOCAL } else { XRAY };
        Service { absent_for: self.absent_for, ..service }
    }
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
    collect(&config.service(), (source, trace_ids), deadline, out, fetch, progress).await
}

/// Like [`fetch_traces`], with the traces whose segments link to those, to these, and so on: such as of who gets their messages.
///
/// Where each of the traces names a receiver (a link to a child), those that are named are fetched, and those that these name.
/// Otherwise nothing tells what links to a trace: all traces that have begun since `since` (seconds since 1970) are listed and
/// fetched, and those that no links connect are dropped. Either is repeated until it shows no more, at most until the deadline.
///
/// # Errors
/// As [`fetch_traces`] and [`list_traces`].
pub async fn fetch_linked_traces(
    config: &XrayConfig,
    trace_ids: &[String],
    since: f64,
    deadline: Duration,
    out: &Path,
    progress: &(dyn Fn(FetchProgress) + Send + Sync),
) -> Result<Retrieval, FetchError> {
    let unwritable = |source| FetchError::Write { path: out.to_owned(), source };
    let client = client(config).await;
    let until = Instant::now() + deadline;
    let fetch = |ids| fetch_batch(&client, ids);
    let pace = Pace::new();
    let mut partial = Partial::open(out).map_err(unwritable)?;
    let sent: BTreeSet<&str> = trace_ids.iter().map(String::as_str).collect();
    let first = ask_for(&config.service(), &sent, &mut partial, &pace, until, &fetch, progress).await?;
    let first = first.map_err(unwritable)?;
    let mut incomplete = first.incomplete;
    let mut links = Links::default();
    let mut before = None;
    let mut missing = first.missing;
    links.read(&partial).map_err(unwritable)?;
    let is_named = sent.iter().all(|id| links.names_receivers(id));
    let wanted = loop {
        let others = if is_named {
            links.reached(&sent).into_iter().filter(|id| !sent.contains(&**id)).collect()
        } else {
            let now = jiff::Timestamp::now().as_microsecond() as f64 / 1e6;
            let left = until.saturating_duration_since(Instant::now());
            let mut listed = list_traces(config, since..now + CLOCKS_DIFFER, left.max(LIST_WITHIN)).await?;
            listed.retain(|id| !sent.contains(&**id));
            listed
        };
        // What seemed complete may have been told of more receivers since, or have got what came late.
        if before.is_some() {
            let all: Vec<String> = links.reached(&sent).into_iter().collect();
            for ids in all.chunks(XRAY.ids_per_request) {
                // What cannot be asked for again is there already.
                let Ok(found) = ask(ids.to_vec(), &fetch, &pace, Instant::now()).await else { continue };
                for trace in found.into_iter().filter(|trace| all.contains(&trace.id)) {
                    let is_complete = trace.defect.is_none();
                    partial.put(&trace.id, is_complete, trace.text.as_bytes()).map_err(unwritable)?;
                }
            }
            links.read.clear();
        }
        let others: BTreeSet<&str> = others.iter().map(String::as_str).collect();
        // Once: what is under way may be somebody else's.
        let asked =
            ask_for(&config.service(), &others, &mut partial, &pace, Instant::now(), &fetch, &|_| {}).await?;
        let asked = asked.map_err(unwritable)?;
        incomplete.retain(|id, _| !partial.is_complete(id));
        incomplete.extend(asked.incomplete);
        if is_named {
            missing.extend(asked.missing);
        }
        missing.retain(|id, _| !partial.contains(id));
        links.read(&partial).map_err(unwritable)?;
        let wanted = links.reached(&sent);
        let is_whole = wanted.iter().all(|id| sent.contains(&**id) || partial.is_complete(id));
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || (is_whole && before.replace(wanted.len()) == Some(wanted.len())) {
            break wanted;
        }
        tokio::time::sleep(LINKS_SETTLE.min(left)).await;
    };
    incomplete.retain(|id, _| wanted.contains(id));
    let (requests, throttled) = pace.counts();
    let mut report = Retrieval {
        version: 1,
        source: if config.endpoint.is_some() { "local" } else { "xray" }.to_owned(),
        expected: wanted.len(),
        by_time: 0,
        linked: wanted.len() - sent.len(),
        found: 0,
        incomplete,
        missing,
        resumed: first.resumed,
        requests,
        throttled,
    };
    report.found = partial.finish(&|id| wanted.contains(id)).map_err(unwritable)?;
    report.write(out).map_err(unwritable)?;
    Ok(report)
}

/// Like [`fetch_traces`], out of CloudWatch Transaction Search: from the log group to which X-Ray writes all spans where that is
/// switched on. `since` is when the first request was sent, in seconds since 1970.
///
/// A retrieval is begun for five traces at a time, and asked for until it is complete. Its traces are in X-Ray's form.
///
/// # Errors
/// As [`fetch_traces`].
pub async fn search_traces(
    config: &XrayConfig,
    trace_ids: &[String],
    since: f64,
    deadline: Duration,
    out: &Path,
    progress: &(dyn Fn(FetchProgress) + Send + Sync),
) -> Result<Retrieval, FetchError> {
    let client = client(config).await;
    let fetch = |ids| retrieve_batch(&client, ids, since);
    collect(&SEARCH, ("transaction_search", trace_ids), deadline, out, fetch, progress).await
}

/// Begins a retrieval and waits for it.
async fn retrieve_batch(client: &Client, ids: Vec<String>, since: f64) -> Result<Vec<Fetched>, Failure> {
    let now = jiff::Timestamp::now().as_microsecond() as f64 / 1e6;
    let begun = client
        .start_trace_retrieval()
        .set_trace_ids(Some(ids))
        .start_time(DateTime::from_secs_f64(since.min(now)))
        .end_time(DateTime::from_secs_f64(now + CLOCKS_DIFFER))
        .send()
        .await
        .map_err(|error| classify(&error))?;
    let Some(retrieval) = begun.retrieval_token() else {
        return Err(Failure::Busy("a retrieval was begun without a token".to_owned()));
    };
    let until = Instant::now() + RETRIEVED_WITHIN;
    let mut traces: BTreeMap<String, TraceLine> = BTreeMap::new();
    let mut token = None;
    loop {
        let page = client
            .list_retrieved_traces()
            .retrieval_token(retrieval)
            .trace_format(types::TraceFormatType::Xray)
            .set_next_token(token.take())
            .send()
            .await
            .map_err(|error| classify(&error))?;
        match page.retrieval_status() {
            Some(types::RetrievalStatus::Complete) => {}
            Some(types::RetrievalStatus::Scheduled | types::RetrievalStatus::Running) => {
                if Instant::now() >= until {
                    let waited = RETRIEVED_WITHIN.as_secs();
                    return Err(Failure::Busy(format!("a retrieval was not complete after {waited} s")));
                }
                tokio::time::sleep(RETRIEVAL_POLL).await;
                continue;
            }
            status => {
                let status = status.map_or("unknown", |status| status.as_str());
                return Err(Failure::Busy(format!("a retrieval ended as {status}")));
            }
        }
        for trace in page.traces() {
            let Some(line) = TraceLine::retrieved(trace) else { continue };
            gather(&mut traces, line);
        }
        token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return traces.into_values().map(TraceLine::fetched).collect();
        }
    }
}

/// Which traces link to which.
#[derive(Default)]
struct Links {
    /// By trace: those that link to it, and those that it names.
    receivers: BTreeMap<String, BTreeSet<String>>,
    /// Traces that name a receiver.
    naming: HashSet<String>,
    /// Complete traces that have been read.
    read: HashSet<String>,
}

impl Links {
    /// Reads what is stored, complete traces once.
    fn read(&mut self, partial: &Partial) -> std::io::Result<()> {
        let mut documents = Documents::default();
        for id in partial.ids() {
            if self.read.contains(id) {
                continue;
            }
            let text = partial.read(id)?;
            let found = std::str::from_utf8(&text).ok().and_then(|text| linked_traces(text, &mut documents));
            if let Some((_, senders, receivers)) = found {
                for sender in senders {
                    self.receivers.entry(sender).or_default().insert(id.to_owned());
                }
                if !receivers.is_empty() {
                    self.naming.insert(id.to_owned());
                    self.receivers.entry(id.to_owned()).or_default().extend(receivers);
                }
            }
            if partial.is_complete(id) {
                self.read.insert(id.to_owned());
            }
        }
        Ok(())
    }

    /// Does a trace say which others it caused?
    fn names_receivers(&self, trace: &str) -> bool {
        self.naming.contains(trace)
    }

    /// The traces `from`, and all that links lead back to them.
    fn reached(&self, from: &BTreeSet<&str>) -> BTreeSet<String> {
        let mut reached: BTreeSet<String> = from.iter().map(|id| (*id).to_owned()).collect();
        let mut open: Vec<String> = reached.iter().cloned().collect();
        while let Some(id) = open.pop() {
            for receiver in self.receivers.get(&id).into_iter().flatten() {
                if reached.insert(receiver.clone()) {
                    open.push(receiver.clone());
                }
            }
        }
        reached
    }
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
    let mut loader = account::loader()
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

/// Adds what a page holds of a trace to what earlier pages held of it.
fn gather(traces: &mut BTreeMap<String, TraceLine>, line: TraceLine) {
    match traces.get_mut(&line.id) {
        Some(earlier) => earlier.join(line),
        None => {
            traces.insert(line.id.clone(), line);
        }
    }
}

async fn fetch_batch(client: &Client, ids: Vec<String>) -> Result<Vec<Fetched>, Failure> {
    let mut traces: BTreeMap<String, TraceLine> = BTreeMap::new();
    let mut token = None;
    loop {
        let request = client.batch_get_traces().set_trace_ids(Some(ids.clone())).set_next_token(token.take());
        let output = request.send().await.map_err(|error| classify(&error))?;
        for trace in output.traces() {
            let Some(line) = TraceLine::new(trace) else { continue };
            gather(&mut traces, line);
        }
        token = output.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if token.is_none() {
            return traces.into_values().map(TraceLine::fetched).collect();
        }
    }
}

fn classify<E: ProvideErrorMetadata + std::error::Error + 'static>(error: &SdkError<E>) -> Failure {
    // The SDK shows the whole of an answer that it cannot read.
    let reason = || answered(error).chars().take(LONGEST_REASON).collect();
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
struct TimeSpan {
    id: String,
    parent_id: Option<String>,
    in_progress: Option<Value>,
    #[serde(default)]
    subsegments: Vec<TimeSpan>,
}

impl TimeSpan {
    /// As the analysis reads it: any value but an empty one affirms.
    fn is_in_progress(&self) -> bool {
        match &self.in_progress {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::Object(map)) => !map.is_empty(),
        }
    }
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

    fn retrieved(trace: &types::RetrievedTrace) -> Option<Self> {
        let segment = |span: &types::Span| {
            Some(SegmentEntry { id: span.id()?.to_owned(), document: span.document()?.to_owned() })
        };
        Some(Self {
            id: trace.id()?.to_owned(),
            duration: trace.duration(),
            limit_exceeded: false,
            segments: trace.spans().iter().filter_map(segment).collect(),
        })
    }

    /// Adds what a later page says of the same trace.
    fn join(&mut self, page: Self) {
        self.duration = page.duration.or(self.duration);
        self.limit_exceeded |= page.limit_exceeded;
        for segment in page.segments {
            // X-Ray has a segment in progress and the same one as it ended under one id.
            if !self.segments.contains(&segment) {
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
        let spans: Option<Vec<TimeSpan>> =
            self.segments.iter().map(|segment| serde_json::from_str(&segment.document).ok()).collect();
        // Malformed: asking again gives the same.
        let spans = spans?;
        let (mut ended, mut ids, mut parents) = (HashSet::new(), HashSet::new(), Vec::new());
        for span in &spans {
            note_ended(span, &mut ended);
        }
        let ended = spans.iter().all(|span| visit(span, &ended, &mut ids, &mut parents));
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

/// The ids of what has ended.
fn note_ended<'a>(span: &'a TimeSpan, ended: &mut HashSet<&'a str>) {
    if !span.is_in_progress() {
        ended.insert(&span.id);
    }
    for part in &span.subsegments {
        note_ended(part, ended);
    }
}

/// Whether a span and its parts have ended. A record in progress does not count where the same span has ended: the analysis
/// takes it out, with what in it is in progress.
fn visit<'a>(
    span: &'a TimeSpan,
    ended: &HashSet<&str>,
    ids: &mut HashSet<&'a str>,
    parents: &mut Vec<&'a str>,
) -> bool {
    let is_open = |span: &TimeSpan| span.is_in_progress() && !ended.contains(&*span.id);
    let is_replaced = span.is_in_progress() && ended.contains(&*span.id);
    ids.insert(&span.id);
    parents.extend(span.parent_id.as_deref());
    // All are visited: a short circuit would lose ids, but then the answer is no anyway.
    !is_open(span)
        && span
            .subsegments
            .iter()
            .filter(|part| !(is_replaced && is_open(part)))
            .all(|part| visit(part, ended, ids, parents))
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
    fn a_trace_that_the_local_target_does_not_have_is_not_told_of_x_ray() {
        let missing = |endpoint: Option<&str>| {
            XrayConfig { endpoint: endpoint.map(str::to_owned), ..XrayConfig::default() }.service().unknown
        };
        assert!(missing(None).contains("X-Ray"));
        let local = missing(Some("http://127.0.0.1:9"));
        assert!(local.contains("the local target") && !local.contains("X-Ray"), "{local}");
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
        check_complete(&[r#"{"id":"a","in_progress":true}"#, r#"{"id":"a"}"#], true);
        let open = r#"{"id":"a","in_progress":true,"subsegments":[{"id":"b","in_progress":1}]}"#;
        check_complete(&[r#"{"id":"a"}"#, open], true);
        check_complete(&[r#"{"id":"b","parent_id":"a","in_progress":1}"#, r#"{"id":"a"}"#], false);
        check_complete(&[], false);
    }
}
