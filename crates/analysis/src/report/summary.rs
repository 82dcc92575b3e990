//! One application's measurements in numbers, over one or many invocation folders.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use sb_measurement::{Invocation, Outcome, nearest_rank, sent_id};
use serde::{Deserialize, Serialize};

use crate::path::breakdown::Activity;
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
    by_request: BTreeMap<String, OfRequest>,
    traces: Vec<BreakdownRow>,
    /// The request types of trace ids.
    request_of: HashMap<String, String>,
    /// The trace ids of requests, and whether one of its requests failed.
    failed: HashMap<String, bool>,
    invalid_traces: u64,
    missing_traces: Option<u64>,
    invalid: Vec<String>,
    warnings: Vec<String>,
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
    /// Adds an invocation, and the id of its trace to `expected` where there may be a trace.
    pub(crate) fn add_invocation(&mut self, row: Invocation, expected: &mut HashSet<String>) {
        *self.outcomes.entry(row.outcome).or_default() += 1;
        let (latency, from_planned) = (row.latency_micros(), row.latency_from_planned_micros());
        let is_traced = !row.trace_id.is_empty();
        if is_traced {
            self.request_of.insert(row.trace_id.clone(), row.request.clone());
        }
        if is_traced {
            *self.failed.entry(row.trace_id.clone()).or_default() |= row.outcome.is_failure();
        }
        let of_request = self.by_request.entry(row.request).or_default();
        of_request.sent += u64::from(row.sent.is_some());
        of_request.answered += u64::from(latency.is_some());
        of_request.failed += u64::from(row.outcome.is_failure());
        if row.outcome == Outcome::Ok {
            of_request.latencies.extend(latency);
            self.latencies_from_planned.extend(from_planned);
        } else {
            self.failed_latencies.extend(latency);
        }
        if is_traced && row.outcome.may_leave_a_trace() {
            expected.insert(row.trace_id);
        }
    }

    /// Adds a request from the metrics of k6, which do not have its type. `micros` are from sending to the answer.
    pub(crate) fn add_k6_request(
        &mut self,
        outcome: Outcome,
        micros: i64,
        trace_id: &str,
        expected: &mut HashSet<String>,
    ) {
        const UNKNOWN: &str = "unknown type";
        *self.outcomes.entry(outcome).or_default() += 1;
        if !self.by_request.contains_key(UNKNOWN) {
            self.by_request.insert(UNKNOWN.to_owned(), OfRequest::default());
        }
        let Some(of_request) = self.by_request.get_mut(UNKNOWN) else { return };
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
            let id = sent_id(trace_id).into_owned();
            if outcome.may_leave_a_trace() {
                expected.insert(id.clone());
            }
            *self.failed.entry(id).or_default() |= outcome.is_failure();
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

    /// Adds the traces of a folder, the invalid ones by their ids. `expected` has the ids of those that its
    /// invocations may have left.
    pub(crate) fn add_traces(
        &mut self,
        valid: Vec<BreakdownRow>,
        invalid: &[String],
        expected: Option<&HashSet<String>>,
    ) {
        self.with_traces = true;
        if let Some(expected) = expected {
            let found: HashSet<_> = valid
                .iter()
                .map(|row| row.trace_id.as_str())
                .chain(invalid.iter().map(String::as_str))
                .map(sent_id)
                .collect();
            let missing = expected.iter().filter(|id| !found.contains(id.as_str())).count() as u64;
            *self.missing_traces.get_or_insert(0) += missing;
        }
        self.invalid_traces += invalid.len() as u64;
        self.traces.extend(valid);
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
        self.request_of.extend(other.request_of);
        for (id, failed) in other.failed {
            *self.failed.entry(id).or_default() |= failed;
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
                name,
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

    fn trace_figures(&mut self) -> TraceFigures {
        // The id decides between equal durations, so that the same files give the same trace.
        self.traces.sort_by(|a, b| (a.duration, &a.trace_id).cmp(&(b.duration, &b.trace_id)));
        let (failed, traces): (Vec<&BreakdownRow>, Vec<&BreakdownRow>) =
            self.traces.iter().partition(|trace| self.is_failed(trace));
        let cold = traces.iter().filter(|trace| trace.num_cold_starts > 0).count();
        TraceFigures {
            valid: self.traces.len() as u64,
            failed: failed.len() as u64,
            with_errors: traces.iter().filter(|trace| has_errors(trace)).count() as u64,
            invalid: self.invalid_traces,
            missing: self.missing_traces,
            cold_starts: traces.iter().map(|trace| trace.num_cold_starts).sum(),
            cold_share: (!traces.is_empty()).then(|| cold as f64 / traces.len() as f64),
            duration_ms: durations(&traces),
            median: at_rank(&traces, 0.5).map(|trace| breakdown(trace)),
            p99: at_rank(&traces, 0.99).map(|trace| breakdown(trace)),
            failed_median: at_rank(&failed, 0.5).map(|trace| breakdown(trace)),
            requests: self.traces_by_request(&traces),
        }
    }

    /// What the client saw decides; where nothing is known of it, what the trace says of itself.
    fn is_failed(&self, trace: &BreakdownRow) -> bool {
        self.failed.get(&*sent_id(&trace.trace_id)).copied().unwrap_or_else(|| has_errors(trace))
    }

    /// Of the sorted traces. Those that no invocation is known of belong to no type.
    fn traces_by_request(&self, traces: &[&BreakdownRow]) -> Vec<RequestTraceFigures> {
        let mut by_request: BTreeMap<&str, Vec<&BreakdownRow>> = BTreeMap::new();
        for trace in traces {
            if let Some(name) = self.request_of.get(&*sent_id(&trace.trace_id)) {
                by_request.entry(name).or_default().push(trace);
            }
        }
        if by_request.len() < 2 {
            return vec![];
        }
        let figures = by_request.into_iter().map(|(name, traces)| RequestTraceFigures {
            name: name.to_owned(),
            valid: traces.len() as u64,
            duration_ms: durations(&traces),
            median: at_rank(&traces, 0.5).map(|trace| breakdown(trace)),
            p99: at_rank(&traces, 0.99).map(|trace| breakdown(trace)),
        });
        figures.collect()
    }
}

fn has_errors(row: &BreakdownRow) -> bool {
    row.errors + row.faults + row.throttles > 0
}

fn breakdown(row: &BreakdownRow) -> TraceBreakdown {
    TraceBreakdown {
        trace_id: row.trace_id.clone(),
        duration_ms: milliseconds(row.duration),
        parts_ms: Activity::ALL
            .into_iter()
            .filter_map(|activity| Some((activity, milliseconds(row.part(activity)?))))
            .collect(),
    }
}

fn milliseconds(micros: i64) -> f64 {
    micros as f64 / 1e3
}

/// Of traces that are sorted by their durations.
fn durations(traces: &[&BreakdownRow]) -> Option<Quantiles> {
    Quantiles::at(traces.len(), 1e3, |place| traces.get(place).map(|trace| trace.duration as f64))
}

/// The value at the nearest rank of `sorted`; `q` in 0..=1.
fn at_rank<T>(sorted: &[T], q: f64) -> Option<&T> {
    sorted.get(nearest_rank(sorted.len(), q) - 1)
}
