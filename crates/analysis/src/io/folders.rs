//! Summaries of the folders of invocations.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use sb_measurement::{
    INVOCATIONS_FILE, InvocationReader, LoadSummary, MeasurementError, RowCounts, SUMMARY_FILE,
};

use serde::Deserialize;
use serde_json::Value;

use super::parallel::in_order;
use super::sides::{K6_FILE, for_each_k6_request};
use super::{BREAKDOWN_FILE, INVALID_FILE};
use crate::report::summary::{ApplicationSummary, Measurements};
use crate::row::{RowError, for_each_row, read_invalid};

/// In an invocation's folder: of which application, run and trial it is, and with which factor levels and labels.
pub(super) const RUN_FILE: &str = "run.json";

/// Why folders of invocations cannot be summarized.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A folder has neither requests nor analysed traces.
    #[error("{} has none of {INVOCATIONS_FILE}, {K6_FILE} and {BREAKDOWN_FILE}; name the folder of an invocation, such as logs/2026-01-31_12-00-00", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be opened.
    #[error("cannot read {}: {source}; check that it is complete and readable", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// An `invocations.csv` is damaged.
    #[error("{}: {source}", path.display())]
    Invocations {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: MeasurementError,
    },
    /// A `load_summary.json` is damaged, or of another version.
    #[error("{} is not a summary that this version of sb writes: {source}; use the version that made it, or remove the file to summarize from the rows", path.display())]
    Summary {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A `run.json` is damaged.
    #[error("{}: {source}; correct or remove it", path.display())]
    Described {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A `sb_config.yml` is damaged.
    #[error("{}: {message}; correct or remove it", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A `k6_metrics.csv` is damaged.
    #[error("{}: {message}; it must be a table as k6 writes it with `--out csv`", path.display())]
    Metrics {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A `trace_breakdown.csv` or an `invalid_traces.csv` is damaged.
    #[error("{}: {source}", path.display())]
    Breakdown {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RowError,
    },
}

/// What `run.json` says of an invocation.
#[derive(Default, Deserialize)]
struct DescribedFile {
    #[serde(default)]
    application: Option<String>,
    #[serde(default)]
    run: Option<String>,
    #[serde(default)]
    deployment: Option<String>,
    #[serde(default)]
    trial: Option<String>,
    #[serde(default)]
    step: Option<String>,
    #[serde(default)]
    attempt: Option<u64>,
    #[serde(default)]
    factors: BTreeMap<String, Value>,
    #[serde(default)]
    labels: BTreeMap<String, Value>,
}

/// What is known of an invocation.
pub(super) struct Described {
    pub(super) application: Option<String>,
    pub(super) run: Option<String>,
    pub(super) deployment: Option<String>,
    pub(super) trial: Option<String>,
    pub(super) step: Option<String>,
    pub(super) attempt: Option<u64>,
    /// Factor levels and labels.
    pub(super) values: BTreeMap<String, String>,
}

/// Reads the `run.json` of a folder; nothing is known without one.
pub(super) fn describe(folder: &Path) -> Result<Described, ReportError> {
    let path = folder.join(RUN_FILE);
    let DescribedFile { application, run, deployment, trial, step, attempt, factors, labels } =
        match open(&path)? {
            Some(file) => serde_json::from_reader(BufReader::new(file))
                .map_err(|source| ReportError::Described { path: path.clone(), source })?,
            None => DescribedFile::default(),
        };
    let text = |(name, value): (String, Value)| match value {
        Value::String(text) => (name, text),
        other => (name, other.to_string()),
    };
    let values = factors.into_iter().chain(labels).map(text).collect();
    Ok(Described { application, run, deployment, trial, step, attempt, values })
}

/// Summaries, and the folders that could not be read.
#[derive(Debug, Default)]
pub struct Summaries {
    /// Groups, in the order of their first folders.
    pub groups: Vec<ApplicationSummary>,
    /// Folders with a damaged file. Nothing of them is in the groups.
    pub left_out: Vec<LeftOut>,
}

/// A folder that was left out, and why.
#[derive(Debug)]
pub struct LeftOut {
    /// The folder.
    pub folder: PathBuf,
    /// What is wrong with one of its files.
    pub error: ReportError,
}

/// Summarizes invocation folders in groups: of one application each, with the same factor levels and labels by the
/// `run.json` of each folder. Folders without measurements are passed over. `application` is the name where the folders do
/// not have it. A folder with a damaged file is left out as a whole, and does not stop the others.
pub fn summarize_groups(application: &str, folders: &[PathBuf]) -> Summaries {
    /// One group while its folders are read.
    struct Group {
        application: String,
        labels: BTreeMap<String, String>,
        folders: Vec<PathBuf>,
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut known = BTreeMap::new();
    let mut left_out = Vec::new();
    for folder in folders {
        if !has_measurements(folder) {
            continue;
        }
        let described = match describe(folder) {
            Ok(described) => described,
            Err(error) => {
                left_out.push(LeftOut { folder: folder.clone(), error });
                continue;
            }
        };
        let application = described.application.unwrap_or_else(|| application.to_owned());
        let labels = described.values;
        let index = *known.entry((application.clone(), labels.clone())).or_insert_with(|| {
            groups.push(Group { application, labels, folders: Vec::new() });
            groups.len() - 1
        });
        groups[index].folders.push(folder.clone());
    }
    let mut all = Vec::new();
    for Group { application, labels, folders } in groups {
        let mut measured = Measurements::default();
        let mut read = Vec::new();
        read_each(&folders, |folder, result| match result {
            Ok(of_folder) => {
                measured.add_all(of_folder);
                read.push(folder.to_owned());
            }
            Err(error) => left_out.push(LeftOut { folder: folder.to_owned(), error }),
        });
        if !read.is_empty() {
            all.push(ApplicationSummary { labels, ..measured.finish(&application, &read) });
        }
    }
    Summaries { groups: all, left_out }
}

/// Reads folders on several processors, and gives what each holds to `add`, in their order.
fn read_each(folders: &[PathBuf], mut add: impl FnMut(&Path, Result<Measurements, ReportError>)) {
    let jobs = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut waiting = folders.iter();
    in_order(
        jobs,
        |folder: &mut Option<&PathBuf>| {
            *folder = waiting.next();
            Ok(folder.is_some())
        },
        |folder| folder.map(|folder| (folder.as_path(), read_folder(folder, folders.len() > 1))),
        &mut |read| {
            if let Some((folder, result)) = read {
                add(folder, result);
            }
            Ok(())
        },
    )
    // Neither of these two fails.
    .unwrap_or_default();
}

/// Whether there is a file to summarize.
fn has_measurements(folder: &Path) -> bool {
    [INVOCATIONS_FILE, BREAKDOWN_FILE, K6_FILE].iter().any(|name| folder.join(name).exists())
}

/// Summarizes all given invocation folders as measurements of one application.
///
/// A folder needs `invocations.csv`, `k6_metrics.csv` or `trace_breakdown.csv`; `load_summary.json` and `invalid_traces.csv` are
/// used where they are there. The metrics of k6 count where there is no `invocations.csv`: then nothing says what was planned.
///
/// # Errors
/// A folder has no measurements, or a file cannot be read.
pub fn summarize(application: &str, folders: &[PathBuf]) -> Result<ApplicationSummary, ReportError> {
    let mut measured = Measurements::default();
    let mut failed = None;
    read_each(folders, |_, result| match result {
        Ok(of_folder) => measured.add_all(of_folder),
        Err(error) if failed.is_none() => failed = Some(error),
        Err(_) => {}
    });
    failed.map_or_else(|| Ok(measured.finish(application, folders)), Err)
}

/// Reads a folder whole or not at all. Sentences about it begin with its name where it is one of `several`.
fn read_folder(folder: &Path, several: bool) -> Result<Measurements, ReportError> {
    let mut measured = Measurements::default();
    let prefix = match folder.file_name() {
        Some(name) if several => format!("{}: ", name.to_string_lossy()),
        _ => String::new(),
    };
    let has_requests = add_invocations(&mut measured, folder, &prefix)? || add_k6(&mut measured, folder)?;
    let has_traces = add_traces(&mut measured, folder, has_requests)?;
    if !has_requests && !has_traces {
        return Err(ReportError::Empty { path: folder.to_owned() });
    }
    Ok(measured)
}

/// Whether there is a file of invocations.
fn add_invocations(measured: &mut Measurements, folder: &Path, prefix: &str) -> Result<bool, ReportError> {
    let path = folder.join(INVOCATIONS_FILE);
    let Some(file) = open(&path)? else { return Ok(false) };
    let wrong = |source| ReportError::Invocations { path: path.clone(), source };
    let rows = InvocationReader::new(file).map_err(wrong)?;
    let mut notes = Vec::new();
    if rows.cut_off().is_some() {
        notes.push(format!(
            "the last line of {INVOCATIONS_FILE} is cut off and was left out: the load was killed."
        ));
    }
    let (mut count, mut counts) = (0, RowCounts::default());
    for row in rows {
        let row = row.map_err(wrong)?;
        measured.add_invocation(&row);
        counts.add(&row);
        count += 1;
    }
    if let Some(summary) = read_summary(folder)? {
        summary.check_rows(counts).map_err(wrong)?;
        notes.extend(summary.notes);
        measured.add_load(summary.planned, prefix, &notes, &summary.invalid);
    } else {
        measured.add_load(Some(count), prefix, &notes, &[unfinished()]);
    }
    Ok(true)
}

/// Why a load without a summary must not be used.
fn unfinished() -> String {
    format!("there is no {SUMMARY_FILE}: the load did not come to its end, so what was planned is unknown.")
}

/// Why the load of a folder must not be used, one sentence per reason, as summaries say it. Empty: it may be used, or the folder
/// has no `invocations.csv`, and nothing judges its load.
///
/// # Errors
/// `load_summary.json` is damaged, or cannot be read.
pub fn invalid_reasons(folder: &Path) -> Result<Vec<String>, ReportError> {
    if !folder.join(INVOCATIONS_FILE).exists() {
        return Ok(Vec::new());
    }
    Ok(read_summary(folder)?.map_or_else(|| vec![unfinished()], |summary| summary.invalid))
}

/// `None`: the load did not come to its end.
pub(super) fn read_summary(folder: &Path) -> Result<Option<LoadSummary>, ReportError> {
    let path = folder.join(SUMMARY_FILE);
    let Some(file) = open(&path)? else { return Ok(None) };
    serde_json::from_reader(BufReader::new(file))
        .and_then(|summary: LoadSummary| match summary.version {
            LoadSummary::VERSION => Ok(Some(summary)),
            other => Err(serde::de::Error::custom(format!("it has version {other}"))),
        })
        .map_err(|source| ReportError::Summary { path, source })
}

/// The same of the metrics of k6, which the published layout has instead. They do not say what was planned.
fn add_k6(measured: &mut Measurements, folder: &Path) -> Result<bool, ReportError> {
    let dropped = for_each_k6_request(folder, &mut |request| {
        let micros = (request.milliseconds * 1e3).round() as i64;
        measured.add_k6_request(request.outcome, micros, request.trace_id);
    })?;
    let Some(dropped) = dropped else { return Ok(false) };
    measured.add_k6_load(dropped);
    Ok(true)
}

/// Whether the folder's traces were analysed.
fn add_traces(measured: &mut Measurements, folder: &Path, has_requests: bool) -> Result<bool, ReportError> {
    let path = folder.join(BREAKDOWN_FILE);
    let Some(file) = open(&path)? else { return Ok(false) };
    for_each_row(BufReader::new(file), |row| measured.add_trace(&row))
        .map_err(|source| ReportError::Breakdown { path, source })?;
    for id in read_invalid_ids(folder)? {
        measured.add_invalid_trace(&id);
    }
    measured.end_traces(has_requests);
    Ok(true)
}

/// Empty without the file.
fn read_invalid_ids(folder: &Path) -> Result<Vec<String>, ReportError> {
    let path = folder.join(INVALID_FILE);
    match open(&path)? {
        Some(file) => {
            read_invalid(BufReader::new(file)).map_err(|source| ReportError::Breakdown { path, source })
        }
        None => Ok(vec![]),
    }
}

/// Says what of a folder [`summarize_groups`] would leave it out for. Nothing is kept of what is read. A folder without
/// measurements is passed over by both.
///
/// # Errors
/// A file of the folder is damaged, or cannot be read.
pub fn check_folder(folder: &Path) -> Result<(), ReportError> {
    check(folder, None)
}

/// As [`check_folder`], but of the files alone whose size does not grow with the requests that were answered: for who has found
/// the others in order, and has counted the rows of `invocations.csv`. Without that file, `rows` means nothing.
///
/// # Errors
/// A file of the folder is damaged, or cannot be read.
pub fn check_small_files(folder: &Path, rows: RowCounts) -> Result<(), ReportError> {
    check(folder, Some(rows))
}

/// `known`: the tables are in order, and `invocations.csv` has such rows.
fn check(folder: &Path, known: Option<RowCounts>) -> Result<(), ReportError> {
    let with_tables = known.is_none();
    if !has_measurements(folder) {
        return Ok(());
    }
    describe(folder)?;
    let path = folder.join(INVOCATIONS_FILE);
    if let Some(file) = open(&path)? {
        let wrong = |source| ReportError::Invocations { path: path.clone(), source };
        let mut counts = known.unwrap_or_default();
        if with_tables {
            for row in InvocationReader::new(file).map_err(wrong)? {
                counts.add(&row.map_err(wrong)?);
            }
        }
        if let Some(summary) = read_summary(folder)? {
            summary.check_rows(counts).map_err(wrong)?;
        }
    } else if with_tables {
        for_each_k6_request(folder, &mut |_| {})?;
    }
    let path = folder.join(BREAKDOWN_FILE);
    if let Some(file) = open(&path)? {
        if with_tables {
            for_each_row(BufReader::new(file), |_| {})
                .map_err(|source| ReportError::Breakdown { path, source })?;
        }
        read_invalid_ids(folder)?;
    }
    Ok(())
}

/// `None` when there is no such file.
pub(super) fn open(path: &Path) -> Result<Option<File>, ReportError> {
    match sb_durable::open_in_folder(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReportError::Read { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use tempfile::TempDir;

    use sb_measurement::{Invocation, InvocationWriter, Outcome, Timestamp};

    use super::*;
    use crate::path::breakdown::Activity;
    use crate::quantiles::Quantiles;

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
        assert_eq!(
            (load.planned, load.sent, load.answered, load.failed, load.dropped),
            (Some(6), 5, 3, 3, 1)
        );
        assert_eq!(load.latency_ms, Some(Quantiles { p50: 15.0, p95: 19.5, p99: 19.9 }));
        assert_eq!(load.latency_from_planned_ms, Some(Quantiles { p50: 16.0, p95: 20.5, p99: 20.9 }));
        assert_eq!(load.failed_latency_ms, Some(Quantiles { p50: 30.0, p95: 30.0, p99: 30.0 }));
        let names: Vec<_> =
            load.requests.iter().map(|of| (of.name.as_str(), of.sent, of.answered, of.failed)).collect();
        assert_eq!(names, [("get", 4, 2, 2), ("put", 1, 1, 1)]);

        let traces = summary.traces.unwrap();
        // Invocation 3 may have left a trace, 4 met nobody, 5's trace is not there.
        assert_eq!((traces.valid, traces.invalid, traces.missing, traces.cold_starts), (3, 1, Some(2), 2));
        assert_eq!(traces.cold_share, Some(0.5), "of the two that did not fail");
        let (median, p99) = (traces.median.unwrap(), traces.p99.unwrap());
        assert_eq!((median.duration_ms, p99.duration_ms), (5.0, 8.0));
        assert_eq!(
            p99.parts_ms,
            BTreeMap::from([(Activity::Computation, 8.0), (Activity::Unclassified, 0.0)])
        );
        let failed = traces.failed_median.unwrap();
        assert_eq!((traces.failed, failed.duration_ms), (1, 28.0), "that of invocation 2 counts apart");
        let by_request: Vec<_> = traces
            .requests
            .iter()
            .map(|of| (of.name.as_str(), of.valid, of.p99.as_ref().map(|trace| trace.duration_ms)))
            .collect();
        // No invocation is known of trace 9.
        assert_eq!(by_request, [], "of one type alone the table above tells");
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
            planned: Some(9),
            sent: 1,
            answered: 1,
            failed: 0,
            not_sent: 0,
            dropped: 0,
            outcomes: BTreeMap::from([(Outcome::Ok, 1)]),
            failed_statuses: BTreeMap::new(),
            failed_checks: BTreeMap::new(),
            latency_ms: None,
            latency_from_planned_ms: None,
            failed_latency_ms: None,
            lateness_ms: None,
            started: Timestamp::from_micros(1),
            ended: Timestamp::from_micros(2),
            cancelled: true,
            iterations: None,
            closed_loop: None,
            notes: vec![],
            invalid: vec!["The load was cancelled.".to_owned()],
        };
        let path = folder.path().join(SUMMARY_FILE);
        fs::write(&path, serde_json::to_string(&summary).unwrap()).unwrap();
        let report = summarize("app", &[folder.path().to_owned()]).unwrap();
        assert_eq!(report.load.unwrap().planned, Some(9));
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
    fn rows_that_the_summary_counts_and_the_file_lost_are_damage() {
        let rows: Vec<_> = (1..=4).map(|number| row(number, "get", Some(10), Outcome::Ok)).collect();
        let folder = folder(&rows);
        let path = folder.path().join(INVOCATIONS_FILE);
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(folder.path().join(SUMMARY_FILE), summary_of(4, 4)).unwrap();
        let folders = [folder.path().to_owned()];
        assert!(summarize_groups("app", &folders).left_out.is_empty());
        assert!(check_folder(folder.path()).is_ok());
        fs::write(&path, whole.lines().take(3).map(|line| format!("{line}\r\n")).collect::<String>())
            .unwrap();
        let found = summarize_groups("app", &folders);
        assert_eq!((found.groups.len(), found.left_out.len()), (0, 1));
        let message = found.left_out[0].error.to_string();
        let expected =
            "has 2 requests that were sent, 2 of them answered, but load_summary.json says 4 and 4";
        assert!(message.contains(expected), "{message}");
        let checked = [
            check_folder(folder.path()),
            check_small_files(folder.path(), RowCounts { sent: 2, answered: 2 }),
        ];
        assert!(checked.iter().all(|found| found.as_ref().unwrap_err().to_string() == message));
        // A cut last line is a lost row, too, and a load that was killed has no summary.
        fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        assert_eq!(summarize_groups("app", &folders).left_out.len(), 1);
        fs::remove_file(folder.path().join(SUMMARY_FILE)).unwrap();
        assert_eq!(summarize_groups("app", &folders).groups[0].load.as_ref().unwrap().sent, 3);
    }

    /// The summary of a load of so many requests.
    fn summary_of(sent: u64, answered: u64) -> String {
        format!(
            r#"{{"version": {}, "planned": {sent}, "sent": {sent}, "answered": {answered}, "failed": 0, "dropped": 0, "outcomes": {{}},
               "latency_ms": null, "latency_from_planned_ms": null, "lateness_ms": null, "started": "1.000000",
               "ended": "2.000000", "cancelled": false, "invalid": []}}"#,
            LoadSummary::VERSION
        )
    }

    #[test]
    fn a_folder_without_measurements_is_refused() {
        let empty = tempfile::tempdir().unwrap();
        let message = summarize("app", &[empty.path().to_owned()]).unwrap_err().to_string();
        assert!(
            message.contains("has none of invocations.csv, k6_metrics.csv and trace_breakdown.csv"),
            "{message}"
        );
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

    #[test]
    fn requests_of_the_published_dataset_are_those_of_k6() {
        let folder = tempfile::tempdir().unwrap();
        let id = |number: u32| format!("1-{number:08x}-000000000000000000000000");
        let mut metrics =
            String::from("metric_name,metric_value,error_code,expected_response,status,extra_tags\n");
        for (number, (milliseconds, code, expected, status)) in (1..).zip([
            (10, "", "true", 200),
            (20, "", "true", 200),
            (1, "1500", "false", 500),
            (0, "1212", "false", 0),
        ]) {
            metrics.push_str(&format!(
                "http_req_duration,{milliseconds},{code},{expected},{status},xray_header=Root={}\n",
                id(number)
            ));
        }
        metrics.push_str("http_reqs,1,,true,200,\ndropped_iterations,3,,,,\n");
        fs::write(folder.path().join("k6_metrics.csv"), metrics).unwrap();
        // Trace 1 has an error inside, but its request was answered as expected; 3 failed, and 9 has no request.
        let flagged = |number, flags: &str| trace(number, number as u32, 0).replacen(",,0,0,0,0", flags, 1);
        let rows = [flagged(1, ",,0,1,0,0"), flagged(3, ",,0,0,0,1"), flagged(9, ",,0,0,1,0")];
        fs::write(folder.path().join(BREAKDOWN_FILE), format!("{HEADER}{}", rows.concat())).unwrap();
        let folders = [folder.path().to_owned()];
        let summary = summarize("app", &folders).unwrap();
        assert!(summary.invalid.is_empty(), "{:?}", summary.invalid);
        let load = summary.load.unwrap();
        assert_eq!((load.planned, load.sent, load.answered, load.failed, load.dropped), (None, 4, 3, 2, 3));
        assert_eq!(load.latency_ms, Some(Quantiles { p50: 15.0, p95: 19.5, p99: 19.9 }));
        assert_eq!(load.failed_latency_ms.map(|of| of.p99), Some(1.0), "only of answers");
        assert_eq!(load.outcomes[&Outcome::Refused], 1);
        let traces = summary.traces.unwrap();
        assert_eq!((traces.valid, traces.failed, traces.with_errors), (3, 2, 1));
        assert_eq!(traces.missing, Some(1), "that of request 2; request 4 met nobody");
        assert_eq!(traces.median.map(|trace| trace.duration_ms), Some(1.0));
        // Without any requests, traces tell of failures themselves.
        fs::remove_file(folder.path().join("k6_metrics.csv")).unwrap();
        let traces = summarize("app", &folders).unwrap().traces.unwrap();
        assert_eq!((traces.failed, traces.with_errors, traces.missing), (3, 0, None));
        assert_eq!((traces.median, traces.failed_median.unwrap().duration_ms), (None, 3.0));
    }

    #[test]
    fn folders_are_grouped_by_what_their_runs_say() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str, described: &str| {
            let folder = root.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join(BREAKDOWN_FILE), crate::BREAKDOWN_HEADER).unwrap();
            if !described.is_empty() {
                fs::write(folder.join("run.json"), described).unwrap();
            }
            folder
        };
        let nothing = root.path().join("nothing");
        fs::create_dir(&nothing).unwrap();
        let folders = [
            folder("a", r#"{"application": "one", "factors": {"rate": 5}, "labels": {"size": "s"}}"#),
            folder("b", r#"{"application": "one", "factors": {"rate": 10}, "labels": {"size": "s"}}"#),
            nothing,
            folder("c", r#"{"application": "one", "factors": {"rate": 5}, "labels": {"size": "s"}}"#),
            // The layout of the published dataset.
            folder("d", ""),
        ];
        let Summaries { groups, left_out } = summarize_groups("app", &folders);
        assert!(left_out.is_empty(), "{left_out:?}");
        let seen: Vec<_> = groups
            .iter()
            .map(|group| (group.application.as_str(), format!("{:?}", group.labels), group.folders.len()))
            .collect();
        let labels = |rate: &str| format!(r#"{{"rate": "{rate}", "size": "s"}}"#);
        assert_eq!(seen, [("one", labels("5"), 2), ("one", labels("10"), 1), ("app", "{}".to_owned(), 1)]);
        fs::write(folders[0].join("run.json"), "{").unwrap();
        let damaged = summarize_groups("app", &folders);
        let message = damaged.left_out[0].error.to_string();
        assert!(message.contains("a/run.json") && message.ends_with("correct or remove it"), "{message}");
        assert_eq!(damaged.groups.iter().map(|group| group.folders.len()).sum::<usize>(), 3);
    }

    #[test]
    fn a_damaged_folder_is_left_out_whole_and_the_others_are_summarized() {
        let good = folder(&[row(1, "get", Some(10), Outcome::Ok)]);
        let damaged = [
            (HEADER.replacen("trace_id", "id", 1), "no column `trace_id`"),
            (String::new(), "no column `trace_id`"),
            (format!("{HEADER}{}", trace(2, 8, 0).replacen(",,0,0", ",,1.0,0", 1)), "row 1: `1.0`"),
        ];
        for (breakdown, expected) in damaged {
            let bad = folder(&[row(2, "get", Some(90), Outcome::Ok)]);
            fs::write(bad.path().join(BREAKDOWN_FILE), breakdown).unwrap();
            let folders = [bad.path().to_owned(), good.path().to_owned()];
            let found = summarize_groups("app", &folders);
            let load = found.groups[0].load.as_ref().unwrap();
            assert_eq!((found.groups.len(), load.sent), (1, 1), "its invocations are not in, either");
            assert_eq!(load.latency_ms.map(|of| of.p99), Some(10.0));
            assert_eq!((found.left_out.len(), &found.left_out[0].folder), (1, &folders[0]));
            let message = found.left_out[0].error.to_string();
            assert!(message.contains(BREAKDOWN_FILE) && message.contains(expected), "{message}");
            let none = summarize_groups("app", &folders[..1]);
            assert_eq!((none.groups.len(), none.left_out.len()), (0, 1));
        }
    }
}
