//! One application's measurements in numbers, over one or many invocation folders.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use sb_measurement::{Invocation, Outcome, nearest_rank, sent_id};
use serde::{Deserialize, Serialize};

use crate::path::breakdown::{Activity, Parts};
use crate::quantiles::Quantiles;
use crate::row::BreakdownRow;

/// What was measured of an application. Quantiles are linear between two measured values. The breakdowns of the median and of
/// the 99th percentile are those of the trace at the nearest rank, so each is of a trace that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationSummary {
    /// The version of this shape: [`ApplicationSummary::VERSION`].
    pub version: u32,
    /// The name of the application.
    pub application: String,
    /// What was the same for all that is summarized here: levels of the plan's factors, and its labels. Empty where nothing is
    /// known of either.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The folders of invocations that were summarized.
    pub folders: Vec<PathBuf>,
    /// `None`: no folder has an `invocations.csv` or a `k6_metrics.csv`.
    pub load: Option<LoadFigures>,
    /// `None`: no traces were analysed.
    pub traces: Option<TraceFigures>,
    /// Why measurements must not be used; each reason names its folder when there are several.
    pub invalid: Vec<String>,
    /// What else to know about the measurements, likewise.
    pub warnings: Vec<String>,
}

impl ApplicationSummary {
    /// The version that is written.
    pub const VERSION: u32 = 1;
}

/// What became of the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadFigures {
    /// By plan; where a folder has no `load_summary.json`, the number of its rows. `None`: one of the loads had no planned
    /// number, such as users in a closed loop, or has metrics of k6 only.
    pub planned: Option<u64>,
    /// Handed to the HTTP client.
    pub sent: u64,
    /// Complete answers, as expected or not.
    pub answered: u64,
    /// Sent, and not answered as expected.
    pub failed: u64,
    /// Never sent, because too many requests were under way.
    pub dropped: u64,
    /// How invocations ended, by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Of answers as expected, from the moment of sending.
    pub latency_ms: Option<Quantiles>,
    /// Of answers as expected, from the planned time.
    pub latency_from_planned_ms: Option<Quantiles>,
    /// Of complete answers that were not as expected, from the moment of sending.
    #[serde(default)]
    pub failed_latency_ms: Option<Quantiles>,
    /// By request type, in the order of the names; empty when there is only one type.
    pub requests: Vec<RequestFigures>,
}

/// The invocations of one request type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFigures {
    /// The name of the request type.
    pub name: String,
    /// Handed to the HTTP client.
    pub sent: u64,
    /// Complete answers.
    pub answered: u64,
    /// Sent, and not answered as expected.
    pub failed: u64,
    /// Of answers as expected, from the moment of sending.
    pub latency_ms: Option<Quantiles>,
}

/// The analysed traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceFigures {
    /// Traces with a breakdown.
    pub valid: u64,
    /// Of the valid ones, those of requests that failed. A trace whose request is not known counts as failed if a span of it
    /// has an error, a fault or a throttle. They are not among those that follow, but for `failed_median`.
    #[serde(default)]
    pub failed: u64,
    /// Of the valid ones, those with an error, a fault or a throttle inside whose requests were answered as expected all
    /// the same. They are among those that follow.
    #[serde(default)]
    pub with_errors: u64,
    /// Traces without one.
    pub invalid: u64,
    /// Invocations that may have left a trace, of which there is neither a valid nor an invalid one. `None`: no folder
    /// with traces says which requests were sent, so none is known to be expected.
    pub missing: Option<u64>,
    /// Over all traces of successes; one trace may have several.
    pub cold_starts: u64,
    /// The share of them with at least one cold start, 0..=1.
    pub cold_share: Option<f64>,
    /// Of the durations of all of them.
    #[serde(default)]
    pub duration_ms: Option<Quantiles>,
    /// The trace whose duration is the median, and the one at p99: real traces, not averages.
    pub median: Option<TraceBreakdown>,
    /// The same at p99.
    pub p99: Option<TraceBreakdown>,
    /// The trace whose duration is the median of the failed ones.
    #[serde(default)]
    pub failed_median: Option<TraceBreakdown>,
    /// By request type, in the order of the names; empty when there is only one type.
    #[serde(default)]
    pub requests: Vec<RequestTraceFigures>,
}

/// The valid traces of one request type, failed ones left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestTraceFigures {
    /// The name of the request type.
    pub name: String,
    /// Traces with a breakdown.
    pub valid: u64,
    /// Of their durations.
    #[serde(default)]
    pub duration_ms: Option<Quantiles>,
    /// The trace whose duration is the median.
    pub median: Option<TraceBreakdown>,
    /// The same at p99.
    pub p99: Option<TraceBreakdown>,
}

/// The latency breakdown of one trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceBreakdown {
    /// The id of the trace.
    pub trace_id: String,
    /// Milliseconds from its start to its end.
    pub duration_ms: f64,
    /// Milliseconds on the critical path; activities that got no piece of time are absent.
    pub parts_ms: BTreeMap<Activity, f64>,
}

/// Takes what the files of invocations say, and makes a summary of it.
#[derive(Default)]
pub(crate) struct Measurements {
    with_load: bool,
    with_traces: bool,
    planned: Planned,
    outcomes: BTreeMap<Outcome, u64>,
    latencies_from_planned: Vec<i64>,
    failed_latencies: Vec<i64>,
    by_request: BTreeMap<Arc<str>, OfRequest>,
    traces: Vec<Traced>,
    of_trace: HashMap<TraceKey, OfTrace, foldhash::fast::RandomState>,
    /// Requests whose traces are expected and were not seen yet.
    expected: u64,
    invalid_traces: u64,
    missing_traces: Option<u64>,
    invalid: Vec<String>,
    warnings: Vec<String>,
}

/// The id of a trace. X-Ray's form takes a fifth of the room as a number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum TraceKey {
    /// `1-<8 digits>-<24 digits>`, in lower case.
    Number([u64; 2]),
    Text(Box<str>),
}

impl TraceKey {
    fn of(id: &str) -> Self {
        Self::number(id.as_bytes()).map_or_else(|| Self::Text(id.into()), Self::Number)
    }

    fn number(id: &[u8]) -> Option<[u64; 2]> {
        let [b'1', b'-', rest @ ..] = id else { return None };
        let (seconds, rest) = rest.split_at_checked(8)?;
        let (b'-', unique) = rest.split_first()? else { return None };
        if unique.len() != 24 {
            return None;
        }
        let (begin, end) = unique.split_at(8);
        Some([digits(seconds)? << 32 | digits(begin)?, digits(end)?])
    }

    /// As the client sent it: in X-Ray's form.
    fn sent(&self) -> Cow<'_, Self> {
        match self {
            Self::Text(text) if text.len() == 32 => Cow::Owned(Self::of(&sent_id(text))),
            _ => Cow::Borrowed(self),
        }
    }
}

/// Of up to 16 hexadecimal digits in lower case.
fn digits(text: &[u8]) -> Option<u64> {
    let mut value = 0;
    for byte in text {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u64::from(digit);
    }
    Some(value)
}

impl fmt::Display for TraceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number([high, low]) => {
                write!(f, "1-{:08x}-{:08x}{low:016x}", high >> 32, high & u64::from(u32::MAX))
            }
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// In the order of the texts.
impl Ord for TraceKey {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => one.cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => self.to_string().cmp(&other.to_string()),
        }
    }
}

impl PartialOrd for TraceKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A valid trace.
struct Traced {
    id: TraceKey,
    /// Microseconds.
    duration: i64,
    cold_starts: u64,
    has_errors: bool,
    parts: Parts,
}

/// What is known of a trace by its requests.
#[derive(Default)]
struct OfTrace {
    /// The type of its last request; k6 does not say it.
    request: Option<Arc<str>>,
    /// Whether one of its requests failed.
    failed: bool,
    /// Whether one of its requests may have left it, and it was not seen yet.
    expected: bool,
}

/// Invocations by plan, of several loads together: unknown where that of one is.
struct Planned(Option<u64>);

impl Default for Planned {
    fn default() -> Self {
        Self(Some(0))
    }
}

#[derive(Default)]
struct OfRequest {
    sent: u64,
    answered: u64,
    failed: u64,
    latencies: Vec<i64>,
}

impl Measurements {
    /// Adds an invocation.
    pub(crate) fn add_invocation(&mut self, row: &Invocation) {
        *self.outcomes.entry(row.outcome).or_default() += 1;
        let (latency, from_planned) = (row.latency_micros(), row.latency_from_planned_micros());
        let name = self.request_type(&row.request);
        let Some(of_request) = self.by_request.get_mut(&name) else { return };
        of_request.sent += u64::from(row.sent.is_some());
        of_request.answered += u64::from(latency.is_some());
        of_request.failed += u64::from(row.outcome.is_failure());
        if row.outcome == Outcome::Ok {
            of_request.latencies.extend(latency);
            self.latencies_from_planned.extend(from_planned);
        } else {
            self.failed_latencies.extend(latency);
        }
        if !row.trace_id.is_empty() {
            self.add_request_of(TraceKey::of(&row.trace_id), Some(name), row.outcome);
        }
    }

    /// Adds a request from the metrics of k6, which do not have its type. `micros` are from sending to the answer.
    pub(crate) fn add_k6_request(&mut self, outcome: Outcome, micros: i64, trace_id: &str) {
        *self.outcomes.entry(outcome).or_default() += 1;
        let name = self.request_type("unknown type");
        let Some(of_request) = self.by_request.get_mut(&name) else { return };
        of_request.sent += 1;
        of_request.failed += u64::from(outcome.is_failure());
        match outcome {
            Outcome::Ok => {
                of_request.answered += 1;
                of_request.latencies.push(micros);
            }
            Outcome::FailedCheck => {
                of_request.answered += 1;
                self.failed_latencies.push(micros);
            }
            _ => {}
        }
        if !trace_id.is_empty() {
            self.add_request_of(TraceKey::of(&sent_id(trace_id)), None, outcome);
        }
    }

    /// The name of a request type, which has an entry from now on.
    fn request_type(&mut self, name: &str) -> Arc<str> {
        if let Some((known, _)) = self.by_request.get_key_value(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        self.by_request.insert(Arc::clone(&name), OfRequest::default());
        name
    }

    fn add_request_of(&mut self, id: TraceKey, request: Option<Arc<str>>, outcome: Outcome) {
        let of_trace = self.of_trace.entry(id).or_default();
        of_trace.request = request.or(of_trace.request.take());
        of_trace.failed |= outcome.is_failure();
        if outcome.may_leave_a_trace() && !of_trace.expected {
            of_trace.expected = true;
            self.expected += 1;
        }
    }

    /// Adds a load of k6 whose requests were added, and the iterations that it dropped.
    pub(crate) fn add_k6_load(&mut self, dropped: u64) {
        self.with_load = true;
        self.planned.0 = None;
        if dropped > 0 {
            *self.outcomes.entry(Outcome::Dropped).or_default() += dropped;
        }
    }

    /// Adds a load whose invocations were added. `prefix` comes before each sentence.
    pub(crate) fn add_load(
        &mut self,
        planned: Option<u64>,
        prefix: &str,
        notes: &[String],
        invalid: &[String],
    ) {
        self.with_load = true;
        self.planned.0 = self.planned.0.zip(planned).map(|(sum, planned)| sum + planned);
        let prefixed = |sentences: &[String]| -> Vec<String> {
            sentences.iter().map(|sentence| format!("{prefix}{sentence}")).collect()
        };
        self.warnings.extend(prefixed(notes));
        self.invalid.extend(prefixed(invalid));
    }

    /// Adds a valid trace of a folder whose requests were added.
    pub(crate) fn add_trace(&mut self, row: &BreakdownRow) {
        let id = TraceKey::of(&row.trace_id);
        self.see(&id);
        self.traces.push(Traced {
            id,
            duration: row.duration,
            cold_starts: row.num_cold_starts,
            has_errors: row.errors + row.faults + row.throttles > 0,
            parts: row.parts,
        });
    }

    /// Adds an invalid trace of a folder whose requests were added.
    pub(crate) fn add_invalid_trace(&mut self, id: &str) {
        self.see(&TraceKey::of(id));
        self.invalid_traces += 1;
    }

    fn see(&mut self, id: &TraceKey) {
        if let Some(of_trace) = self.of_trace.get_mut(&*id.sent())
            && std::mem::take(&mut of_trace.expected)
        {
            self.expected -= 1;
        }
    }

    /// Says that all traces of a folder were added. `has_requests` says whether its requests are known.
    pub(crate) fn end_traces(&mut self, has_requests: bool) {
        self.with_traces = true;
        if has_requests {
            *self.missing_traces.get_or_insert(0) += std::mem::take(&mut self.expected);
        }
    }

    /// Adds what was read of another folder.
    pub(crate) fn add_all(&mut self, other: Self) {
        self.with_load |= other.with_load;
        self.with_traces |= other.with_traces;
        self.planned.0 = self.planned.0.zip(other.planned.0).map(|(sum, planned)| sum + planned);
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.latencies_from_planned.extend(other.latencies_from_planned);
        self.failed_latencies.extend(other.failed_latencies);
        for (name, of_other) in other.by_request {
            let of_request = self.by_request.entry(name).or_default();
            of_request.sent += of_other.sent;
            of_request.answered += of_other.answered;
            of_request.failed += of_other.failed;
            of_request.latencies.extend(of_other.latencies);
        }
        self.traces.extend(other.traces);
        if self.of_trace.is_empty() {
            self.of_trace = other.of_trace;
        } else {
            for (id, of_other) in other.of_trace {
                let of_trace = self.of_trace.entry(id).or_default();
                of_trace.request = of_other.request.or(of_trace.request.take());
                of_trace.failed |= of_other.failed;
            }
        }
        self.invalid_traces += other.invalid_traces;
        if let Some(missing) = other.missing_traces {
            *self.missing_traces.get_or_insert(0) += missing;
        }
        self.invalid.extend(other.invalid);
        self.warnings.extend(other.warnings);
    }

    pub(crate) fn finish(mut self, application: &str, folders: &[PathBuf]) -> ApplicationSummary {
        let load = self.with_load.then(|| self.load_figures());
        let traces = self.with_traces.then(|| self.trace_figures());
        ApplicationSummary {
            version: ApplicationSummary::VERSION,
            application: application.to_owned(),
            labels: BTreeMap::new(),
            folders: folders.to_vec(),
            load,
            traces,
            invalid: self.invalid,
            warnings: self.warnings,
        }
    }

    fn load_figures(&mut self) -> LoadFigures {
        let mut latencies: Vec<i64> =
            self.by_request.values().flat_map(|of_request| &of_request.latencies).copied().collect();
        let requests: Vec<RequestFigures> = std::mem::take(&mut self.by_request)
            .into_iter()
            .map(|(name, mut of_request)| RequestFigures {
                name: name.to_string(),
                sent: of_request.sent,
                answered: of_request.answered,
                failed: of_request.failed,
                latency_ms: Quantiles::of_micros(&mut of_request.latencies),
            })
            .collect();
        LoadFigures {
            planned: self.planned.0,
            sent: requests.iter().map(|request| request.sent).sum(),
            answered: requests.iter().map(|request| request.answered).sum(),
            failed: requests.iter().map(|request| request.failed).sum(),
            dropped: self.outcomes.get(&Outcome::Dropped).copied().unwrap_or(0),
            outcomes: std::mem::take(&mut self.outcomes),
            latency_ms: Quantiles::of_micros(&mut latencies),
            latency_from_planned_ms: Quantiles::of_micros(&mut self.latencies_from_planned),
            failed_latency_ms: Quantiles::of_micros(&mut self.failed_latencies),
            requests: if requests.len() > 1 { requests } else { vec![] },
        }
    }

    fn trace_figures(&self) -> TraceFigures {
        // The id decides between equal durations, so that the same files give the same trace.
        let mut sorted: Vec<&Traced> = self.traces.iter().collect();
        sorted.sort_by(|a, b| (a.duration, &a.id).cmp(&(b.duration, &b.id)));
        let mut by_request: BTreeMap<&str, Vec<&Traced>> = BTreeMap::new();
        let (mut failed, mut traces) = (Vec::new(), Vec::new());
        for trace in sorted {
            let of_trace = self.of_trace.get(&*trace.id.sent());
            // What the client saw decides; where nothing is known of it, what the trace says of itself.
            if of_trace.map_or(trace.has_errors, |of_trace| of_trace.failed) {
                failed.push(trace);
                continue;
            }
            traces.push(trace);
            // Those that no invocation is known of belong to no type.
            if let Some(name) = of_trace.and_then(|of_trace| of_trace.request.as_deref()) {
                by_request.entry(name).or_default().push(trace);
            }
        }
        let cold = traces.iter().filter(|trace| trace.cold_starts > 0).count();
        TraceFigures {
            valid: self.traces.len() as u64,
            failed: failed.len() as u64,
            with_errors: traces.iter().filter(|trace| trace.has_errors).count() as u64,
            invalid: self.invalid_traces,
            missing: self.missing_traces,
            cold_starts: traces.iter().map(|trace| trace.cold_starts).sum(),
            cold_share: (!traces.is_empty()).then(|| cold as f64 / traces.len() as f64),
            duration_ms: durations(&traces),
            median: at_rank(&traces, 0.5).map(|trace| breakdown(trace)),
            p99: at_rank(&traces, 0.99).map(|trace| breakdown(trace)),
            failed_median: at_rank(&failed, 0.5).map(|trace| breakdown(trace)),
            requests: if by_request.len() > 1 { figures_by_request(by_request) } else { vec![] },
        }
    }
}

/// Of sorted traces.
fn figures_by_request(by_request: BTreeMap<&str, Vec<&Traced>>) -> Vec<RequestTraceFigures> {
    let figures = by_request.into_iter().map(|(name, traces)| RequestTraceFigures {
        name: name.to_owned(),
        valid: traces.len() as u64,
        duration_ms: durations(&traces),
        median: at_rank(&traces, 0.5).map(|trace| breakdown(trace)),
        p99: at_rank(&traces, 0.99).map(|trace| breakdown(trace)),
    });
    figures.collect()
}

fn breakdown(trace: &Traced) -> TraceBreakdown {
    TraceBreakdown {
        trace_id: trace.id.to_string(),
        duration_ms: milliseconds(trace.duration),
        parts_ms: Activity::ALL
            .into_iter()
            .filter_map(|activity| Some((activity, milliseconds(trace.parts.get(activity)?))))
            .collect(),
    }
}

fn milliseconds(micros: i64) -> f64 {
    micros as f64 / 1e3
}

/// Of traces that are sorted by their durations.
fn durations(traces: &[&Traced]) -> Option<Quantiles> {
    Quantiles::at(traces.len(), 1e3, |place| traces.get(place).map(|trace| trace.duration as f64))
}

/// The value at the nearest rank of `sorted`; `q` in 0..=1.
fn at_rank<T>(sorted: &[T], q: f64) -> Option<&T> {
    sorted.get(nearest_rank(sorted.len(), q) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_it_was_and_in_the_order_of_the_texts() {
        let ids = [
            "",
            "1-5759e988-bd862e3fe1be46a99427279",
            "1-5759e988-bd862e3fe1be46a994272793",
            "1-5759e988-bd862e3fe1be46a9942727930",
            "1-5759e988xbd862e3fe1be46a994272793",
            "1-5759e989-000000000000000000000000",
            "1-5759E988-bd862e3fe1be46a994272793",
            "1-ffffffff-ffffffffffffffffffffffff",
            "5759e988bd862e3fe1be46a994272793",
            "1-é759e988-d862e3fe1be46a994272793",
        ];
        for id in ids {
            assert_eq!(TraceKey::of(id).to_string(), id);
            for other in ids {
                assert_eq!(TraceKey::of(id).cmp(&TraceKey::of(other)), id.cmp(other), "{id} {other}");
            }
        }
        assert!(matches!(TraceKey::of(ids[2]), TraceKey::Number(_)));
    }
}
