//! One application's measurements in numbers, over one or many invocation folders.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::breakdown::Activity;
use crate::row::{BreakdownRow, RowError, read_breakdown, read_invalid};
use sb_measurement::{
    INVOCATIONS_FILE, InvocationReader, LoadSummary, MeasurementError, Outcome, SUMMARY_FILE, sent_id,
};

const BREAKDOWN_FILE: &str = "trace_breakdown.csv";
const INVALID_FILE: &str = "invalid_traces.csv";

/// What was measured of an application. Quantiles are nearest-rank: the smallest value such that at least the
/// share `q` of all values is not above it, so each is a value that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationSummary {
    /// The version of this shape: [`ApplicationSummary::VERSION`].
    pub version: u32,
    pub application: String,
    pub folders: Vec<PathBuf>,
    /// `None`: no folder has an `invocations.csv`.
    pub load: Option<LoadFigures>,
    /// `None`: no traces were analysed.
    pub traces: Option<TraceFigures>,
    /// Why measurements must not be used, and what was odd about the files; each names its folder when there are several.
    pub invalid: Vec<String>,
    pub warnings: Vec<String>,
}

impl ApplicationSummary {
    pub const VERSION: u32 = 1;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadFigures {
    /// By plan; where a folder has no `load_summary.json`, the number of its rows.
    pub planned: u64,
    pub sent: u64,
    /// Complete answers, as expected or not.
    pub answered: u64,
    /// Sent, and not answered as expected.
    pub failed: u64,
    pub dropped: u64,
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Of complete answers, from the moment of sending.
    pub latency_ms: Option<Quantiles>,
    /// Of complete answers, from the planned time.
    pub latency_from_planned_ms: Option<Quantiles>,
    /// By request type, in the order of the names; empty when there is only one type.
    pub requests: Vec<RequestFigures>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestFigures {
    pub name: String,
    pub sent: u64,
    pub answered: u64,
    pub failed: u64,
    pub latency_ms: Option<Quantiles>,
}

/// Milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceFigures {
    pub valid: u64,
    pub invalid: u64,
    /// Invocations that may have left a trace, of which there is neither a valid nor an invalid one. `None`: no folder
    /// with traces has an `invocations.csv`, so none is known to be expected.
    pub missing: Option<u64>,
    /// Over all valid traces; one trace may have several.
    pub cold_starts: u64,
    /// The share of the valid traces with at least one cold start, 0..=1.
    pub cold_share: Option<f64>,
    /// The trace whose duration is the median, and the one at p99: real traces, not averages.
    pub median: Option<TraceBreakdown>,
    pub p99: Option<TraceBreakdown>,
    /// By request type, in the order of the names; empty when there is only one type.
    #[serde(default)]
    pub requests: Vec<RequestTraceFigures>,
}

/// The valid traces of one request type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestTraceFigures {
    pub name: String,
    pub valid: u64,
    pub median: Option<TraceBreakdown>,
    pub p99: Option<TraceBreakdown>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceBreakdown {
    pub trace_id: String,
    pub duration_ms: f64,
    /// Milliseconds on the critical path; activities that got no piece of time are absent.
    pub parts_ms: BTreeMap<Activity, f64>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("{} has neither {INVOCATIONS_FILE} nor {BREAKDOWN_FILE}; name the folder of an invocation, such as logs/2026-01-31_12-00-00", path.display())]
    Empty { path: PathBuf },
    #[error("cannot read {}: {source}; check that it is complete and readable", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {source}", path.display())]
    Invocations { path: PathBuf, source: MeasurementError },
    #[error("{} is not a summary that this version of sb writes: {source}; use the version that made it, or remove the file to summarize from the rows", path.display())]
    Summary { path: PathBuf, source: serde_json::Error },
    #[error("{}: {source}", path.display())]
    Breakdown { path: PathBuf, source: RowError },
}

/// Summarizes all given invocation folders as measurements of one application.
///
/// A folder needs `invocations.csv` or `trace_breakdown.csv`; `load_summary.json` and `invalid_traces.csv` are used where
/// they are there.
pub fn summarize(application: &str, folders: &[PathBuf]) -> Result<ApplicationSummary, ReportError> {
    let mut gathered = Gathered::default();
    for folder in folders {
        let prefix = match folder.file_name() {
            Some(name) if folders.len() > 1 => format!("{}: ", name.to_string_lossy()),
            _ => String::new(),
        };
        gathered.add(folder, &prefix)?;
    }
    Ok(gathered.finish(application, folders))
}

#[derive(Default)]
struct Gathered {
    with_load: bool,
    with_traces: bool,
    planned: u64,
    outcomes: BTreeMap<Outcome, u64>,
    latencies_from_planned: Vec<i64>,
    by_request: BTreeMap<String, OfRequest>,
    traces: Vec<BreakdownRow>,
    /// The request types of trace ids.
    request_of: HashMap<String, String>,
    invalid_traces: u64,
    missing_traces: Option<u64>,
    invalid: Vec<String>,
    warnings: Vec<String>,
}

#[derive(Default)]
struct OfRequest {
    sent: u64,
    failed: u64,
    latencies: Vec<i64>,
}

impl Gathered {
    fn add(&mut self, folder: &Path, prefix: &str) -> Result<(), ReportError> {
        let expected = self.add_invocations(folder, prefix)?;
        let traced = self.add_traces(folder, expected.as_ref())?;
        if expected.is_none() && !traced {
            return Err(ReportError::Empty { path: folder.to_owned() });
        }
        Ok(())
    }

    /// The ids of the traces to be expected; `None` without a file of invocations.
    fn add_invocations(
        &mut self,
        folder: &Path,
        prefix: &str,
    ) -> Result<Option<HashSet<String>>, ReportError> {
        let path = folder.join(INVOCATIONS_FILE);
        let Some(file) = open(&path)? else { return Ok(None) };
        let wrong = |source| ReportError::Invocations { path: path.clone(), source };
        let rows = InvocationReader::new(file).map_err(wrong)?;
        if rows.cut_off().is_some() {
            self.warnings.push(format!(
                "{prefix}the last line of {INVOCATIONS_FILE} is cut off and was left out: the load was killed."
            ));
        }
        self.with_load = true;
        let mut count = 0;
        let mut expected = HashSet::new();
        for row in rows {
            let row = row.map_err(wrong)?;
            count += 1;
            *self.outcomes.entry(row.outcome).or_default() += 1;
            let (latency, from_planned) = (row.latency_micros(), row.latency_from_planned_micros());
            let is_traced = !row.trace_id.is_empty();
            if is_traced {
                self.request_of.insert(row.trace_id.clone(), row.request.clone());
            }
            let of_request = self.by_request.entry(row.request).or_default();
            of_request.sent += u64::from(row.sent.is_some());
            of_request.failed += u64::from(row.outcome.is_failure());
            of_request.latencies.extend(latency);
            self.latencies_from_planned.extend(from_planned);
            if is_traced && row.outcome.may_leave_a_trace() {
                expected.insert(row.trace_id);
            }
        }
        let path = folder.join(SUMMARY_FILE);
        if let Some(file) = open(&path)? {
            let summary: LoadSummary = serde_json::from_reader(BufReader::new(file))
                .and_then(|summary: LoadSummary| match summary.version {
                    LoadSummary::VERSION => Ok(summary),
                    other => Err(serde::de::Error::custom(format!("it has version {other}"))),
                })
                .map_err(|source| ReportError::Summary { path: path.clone(), source })?;
            self.planned += summary.planned;
            self.warnings.extend(summary.notes.into_iter().map(|note| format!("{prefix}{note}")));
            self.invalid.extend(summary.invalid.into_iter().map(|reason| format!("{prefix}{reason}")));
        } else {
            self.planned += count;
            self.invalid.push(format!(
                "{prefix}there is no {SUMMARY_FILE}: the load did not come to its end, so what was planned is \
                 unknown."
            ));
        }
        Ok(Some(expected))
    }

    /// Whether the folder's traces were analysed.
    fn add_traces(&mut self, folder: &Path, expected: Option<&HashSet<String>>) -> Result<bool, ReportError> {
        let path = folder.join(BREAKDOWN_FILE);
        let Some(file) = open(&path)? else { return Ok(false) };
        self.with_traces = true;
        let valid = read_breakdown(BufReader::new(file))
            .map_err(|source| ReportError::Breakdown { path: path.clone(), source })?;
        let path = folder.join(INVALID_FILE);
        let invalid = match open(&path)? {
            Some(file) => read_invalid(BufReader::new(file))
                .map_err(|source| ReportError::Breakdown { path: path.clone(), source })?,
            None => vec![],
        };
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
        Ok(true)
    }

    fn finish(mut self, application: &str, folders: &[PathBuf]) -> ApplicationSummary {
        let load = self.with_load.then(|| self.load_figures());
        let traces = self.with_traces.then(|| self.trace_figures());
        ApplicationSummary {
            version: ApplicationSummary::VERSION,
            application: application.to_owned(),
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
                answered: of_request.latencies.len() as u64,
                failed: of_request.failed,
                latency_ms: quantiles(&mut of_request.latencies),
            })
            .collect();
        LoadFigures {
            planned: self.planned,
            sent: requests.iter().map(|request| request.sent).sum(),
            answered: latencies.len() as u64,
            failed: requests.iter().map(|request| request.failed).sum(),
            dropped: self.outcomes.get(&Outcome::Dropped).copied().unwrap_or(0),
            outcomes: std::mem::take(&mut self.outcomes),
            latency_ms: quantiles(&mut latencies),
            latency_from_planned_ms: quantiles(&mut self.latencies_from_planned),
            requests: if requests.len() > 1 { requests } else { vec![] },
        }
    }

    fn trace_figures(&mut self) -> TraceFigures {
        // The id decides between equal durations, so that the same files give the same trace.
        self.traces.sort_by(|a, b| (a.duration, &a.trace_id).cmp(&(b.duration, &b.trace_id)));
        let traces = &self.traces;
        let cold = traces.iter().filter(|trace| trace.num_cold_starts > 0).count();
        TraceFigures {
            valid: traces.len() as u64,
            invalid: self.invalid_traces,
            missing: self.missing_traces,
            cold_starts: traces.iter().map(|trace| trace.num_cold_starts).sum(),
            cold_share: (!traces.is_empty()).then(|| cold as f64 / traces.len() as f64),
            median: nearest_rank(traces, 0.5).map(breakdown),
            p99: nearest_rank(traces, 0.99).map(breakdown),
            requests: self.traces_by_request(),
        }
    }

    /// Of the sorted traces. Those that no invocation is known of belong to no type.
    fn traces_by_request(&self) -> Vec<RequestTraceFigures> {
        let mut by_request: BTreeMap<&str, Vec<&BreakdownRow>> = BTreeMap::new();
        for trace in &self.traces {
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
            median: nearest_rank(&traces, 0.5).map(|trace| breakdown(trace)),
            p99: nearest_rank(&traces, 0.99).map(|trace| breakdown(trace)),
        });
        figures.collect()
    }
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

fn quantiles(micros: &mut [i64]) -> Option<Quantiles> {
    micros.sort_unstable();
    let at = |q| nearest_rank(micros, q).map(|micros| milliseconds(*micros));
    Some(Quantiles { p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)? })
}

/// The value of rank ⌈q·n⌉, counted from 1, of `sorted`; `q` in 0..=1.
fn nearest_rank<T>(sorted: &[T], q: f64) -> Option<&T> {
    // Without the margin, 0.95 × 20 would be a trifle above 19 and give the maximum.
    let rank = (q * sorted.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    sorted.get(rank - 1)
}

fn milliseconds(micros: i64) -> f64 {
    micros as f64 / 1e3
}

/// `None` when there is no such file.
fn open(path: &Path) -> Result<Option<File>, ReportError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReportError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use sb_measurement::{Invocation, InvocationWriter, Timestamp};

    const HEADER: &str = "trace_id,start_time,end_time,duration,url,num_cold_starts,errors,throttles,faults,services,\
                          longest_path_names,orchestration,trigger,container_initialization,runtime_initialization,\
                          computation,queing,overhead,external_service,unclassified\r\n";

    fn row(number: u64, request: &str, latency_ms: Option<i64>, outcome: Outcome) -> Invocation {
        let planned = 1_700_000_000_000_000;
        let sent = (outcome != Outcome::Dropped).then(|| Timestamp::from_micros(planned + 1_000));
        Invocation {
            invocation: number,
            request: request.to_owned(),
            trace_id: format!("1-{number:08x}-000000000000000000000000"),
            planned: Some(Timestamp::from_micros(planned)),
            sent,
            answered: latency_ms.map(|latency| Timestamp::from_micros(planned + 1_000 + latency * 1_000)),
            status: latency_ms.map(|_| 200),
            outcome,
        }
    }

    fn folder(rows: &[Invocation]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut writer =
            InvocationWriter::new(File::create(folder.path().join(INVOCATIONS_FILE)).unwrap()).unwrap();
        for row in rows {
            writer.write(row).unwrap();
        }
        writer.flush().unwrap();
        folder
    }

    fn trace(number: u64, milliseconds: u32, cold_starts: u32) -> String {
        format!(
            "1-{number:08x}-000000000000000000000000,1.0,2.0,0:00:00.{milliseconds:03}000,,{cold_starts},0,0,0,[],[],\
             ,,,,0:00:00.{milliseconds:03}000,,,,0:00:00\r\n"
        )
    }

    #[test]
    fn quantiles_are_measured_values_at_the_nearest_rank() {
        #[track_caller]
        fn check(count: i64, expected: [f64; 3]) {
            let mut values: Vec<i64> = (1..=count).rev().map(|value| value * 1000).collect();
            let found = quantiles(&mut values).unwrap();
            assert_eq!([found.p50, found.p95, found.p99].map(f64::to_bits), expected.map(f64::to_bits));
        }
        check(1, [1.0, 1.0, 1.0]);
        check(2, [1.0, 2.0, 2.0]);
        check(20, [10.0, 19.0, 20.0]);
        check(100, [50.0, 95.0, 99.0]);
        check(101, [51.0, 96.0, 100.0]);
        assert_eq!(quantiles(&mut []), None);
    }

    #[test]
    fn several_folders_are_one_measurement() {
        let first = folder(&[
            row(1, "get", Some(10), Outcome::Ok),
            row(2, "put", Some(30), Outcome::FailedCheck),
            row(3, "get", None, Outcome::Timeout),
            row(4, "get", None, Outcome::Refused),
        ]);
        let second = folder(&[row(5, "get", Some(20), Outcome::Ok), row(6, "get", None, Outcome::Dropped)]);
        let breakdown = format!("{HEADER}{}{}", trace(1, 8, 2), trace(2, 28, 0));
        fs::write(first.path().join(BREAKDOWN_FILE), breakdown).unwrap();
        fs::write(second.path().join(BREAKDOWN_FILE), format!("{HEADER}{}", trace(9, 5, 0))).unwrap();
        fs::write(second.path().join(INVALID_FILE), "trace_id,message\r\n1-x,why\r\n").unwrap();

        let folders = [first.path().to_owned(), second.path().to_owned()];
        let summary = summarize("app", &folders).unwrap();
        let load = summary.load.unwrap();
        assert_eq!((load.planned, load.sent, load.answered, load.failed, load.dropped), (6, 5, 3, 3, 1));
        assert_eq!(load.latency_ms, Some(Quantiles { p50: 20.0, p95: 30.0, p99: 30.0 }));
        assert_eq!(load.latency_from_planned_ms, Some(Quantiles { p50: 21.0, p95: 31.0, p99: 31.0 }));
        let names: Vec<_> =
            load.requests.iter().map(|of| (of.name.as_str(), of.sent, of.answered, of.failed)).collect();
        assert_eq!(names, [("get", 4, 2, 2), ("put", 1, 1, 1)]);

        let traces = summary.traces.unwrap();
        // Invocation 3 may have left a trace, 4 met nobody, 5's trace is not there.
        assert_eq!((traces.valid, traces.invalid, traces.missing, traces.cold_starts), (3, 1, Some(2), 2));
        assert!((traces.cold_share.unwrap() - 1.0 / 3.0).abs() < 1e-12);
        let (median, p99) = (traces.median.unwrap(), traces.p99.unwrap());
        assert_eq!((median.duration_ms, p99.duration_ms), (8.0, 28.0));
        assert_eq!(
            p99.parts_ms,
            BTreeMap::from([(Activity::Computation, 28.0), (Activity::Unclassified, 0.0)])
        );
        let by_request: Vec<_> = traces
            .requests
            .iter()
            .map(|of| (of.name.as_str(), of.valid, of.p99.as_ref().map(|trace| trace.duration_ms)))
            .collect();
        // No invocation is known of trace 9.
        assert_eq!(by_request, [("get", 1, Some(8.0)), ("put", 1, Some(28.0))]);
        // Neither folder has a summary of its load.
        assert_eq!(summary.invalid.len(), 2, "{:?}", summary.invalid);
    }

    #[test]
    fn one_request_type_needs_no_table_of_its_own() {
        let folder = folder(&[row(1, "get", Some(10), Outcome::Ok)]);
        let summary = summarize("app", &[folder.path().to_owned()]).unwrap();
        assert!(summary.load.unwrap().requests.is_empty());
        assert_eq!(summary.traces, None);
    }

    #[test]
    fn what_a_load_says_of_itself_is_passed_on() {
        let folder = folder(&[row(1, "get", Some(10), Outcome::Ok)]);
        let summary = LoadSummary {
            version: LoadSummary::VERSION,
            planned: 9,
            sent: 1,
            answered: 1,
            failed: 0,
            dropped: 0,
            outcomes: BTreeMap::from([(Outcome::Ok, 1)]),
            latency_ms: None,
            latency_from_planned_ms: None,
            lateness_ms: None,
            started: Timestamp::from_micros(1),
            ended: Timestamp::from_micros(2),
            cancelled: true,
            iterations: None,
            notes: vec![],
            invalid: vec!["The load was cancelled.".to_owned()],
        };
        let path = folder.path().join(SUMMARY_FILE);
        fs::write(&path, serde_json::to_string(&summary).unwrap()).unwrap();
        let report = summarize("app", &[folder.path().to_owned()]).unwrap();
        assert_eq!(report.load.unwrap().planned, 9);
        assert_eq!(report.invalid, ["The load was cancelled."]);

        for (from, to) in [("\"planned\"", "\"plan\""), ("\"version\":1", "\"version\":2")] {
            let text = serde_json::to_string(&summary).unwrap();
            assert!(text.contains(from));
            fs::write(&path, text.replace(from, to)).unwrap();
            let message = summarize("app", &[folder.path().to_owned()]).unwrap_err().to_string();
            assert!(message.contains("load_summary.json is not a summary"), "{message}");
        }
    }

    #[test]
    fn a_cut_off_row_is_left_out_with_a_warning() {
        let folder = folder(&[row(1, "get", Some(10), Outcome::Ok), row(2, "get", Some(10), Outcome::Ok)]);
        let path = folder.path().join(INVOCATIONS_FILE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() - 3]).unwrap();
        let summary = summarize("app", &[folder.path().to_owned()]).unwrap();
        assert_eq!(summary.load.unwrap().sent, 1);
        assert!(summary.warnings[0].contains("cut off"), "{:?}", summary.warnings);
    }

    #[test]
    fn a_folder_without_measurements_is_refused() {
        let empty = tempfile::tempdir().unwrap();
        let message = summarize("app", &[empty.path().to_owned()]).unwrap_err().to_string();
        assert!(message.contains("has neither invocations.csv nor trace_breakdown.csv"), "{message}");
    }

    #[test]
    fn a_folder_of_the_published_dataset_has_traces_only() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(BREAKDOWN_FILE), format!("{HEADER}{}", trace(1, 8, 1))).unwrap();
        let summary = summarize("app", &[folder.path().to_owned()]).unwrap();
        assert_eq!(summary.load, None);
        let traces = summary.traces.unwrap();
        assert_eq!((traces.valid, traces.missing, traces.cold_share), (1, None, Some(1.0)));
    }
}
