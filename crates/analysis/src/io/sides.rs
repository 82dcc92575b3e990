//! Reads folders of invocations for a comparison: our own, and those of the published dataset.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use sb_measurement::{
    IMAGE, INVOCATIONS_FILE, InvocationReader, LoadSummary, Outcome, RequestType, RequestTypes, RowCounts,
    image_type, sent_id,
};
use serde_json::Value;

use super::BREAKDOWN_FILE;
use super::folders::{RUN_FILE, ReportError, describe, open, read_summary};
use super::input::TRACE_FILES;
use super::measured::for_each_path;
use crate::path::breakdown::Activity;
use crate::report::comparison::{ComparedGroup, RunMeasurements, TrialPlace};
use crate::row::for_each_row;

/// The requests of the published layout, which has no `invocations.csv`.
pub(super) const K6_FILE: &str = "k6_metrics.csv";
/// The configuration of the published layout.
const CONFIG_FILE: &str = "sb_config.yml";
/// So deep are folders of invocations looked for.
const DEPTH: usize = 12;

/// A folder, and what it is of.
struct DescribedFolder {
    folder: PathBuf,
    /// Written by our own program, not in the published layout.
    is_ours: bool,
    application: String,
    factors: BTreeMap<String, String>,
    /// `None`: nothing says which deployment it was.
    deployment: Option<String>,
    /// The trial, or the folder where nothing says which trial it was.
    trial: String,
    step: String,
    attempt: u64,
}

/// The folders of invocations in and below the given ones, in the order of their paths. Hidden folders and links are passed
/// over.
///
/// # Errors
/// A folder cannot be read.
pub fn invocation_folders(roots: &[PathBuf]) -> Result<Vec<PathBuf>, ReportError> {
    fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), ReportError> {
        if [INVOCATIONS_FILE, BREAKDOWN_FILE, K6_FILE].iter().any(|name| folder.join(name).is_file()) {
            found.push(folder.to_owned());
            return Ok(());
        }
        let unreadable = |source| ReportError::Read { path: folder.to_owned(), source };
        for item in std::fs::read_dir(folder).map_err(unreadable)? {
            let item = item.map_err(unreadable)?;
            let hidden = item.file_name().to_string_lossy().starts_with('.');
            if depth > 0 && !hidden && item.file_type().map_err(unreadable)?.is_dir() {
                collect(&item.path(), depth - 1, found)?;
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    for root in roots {
        collect(root, DEPTH, &mut found)?;
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Reads folders of invocations as one side of a comparison. `name` is how the side is called.
///
/// Of several attempts of an invocation, the last one counts. The durations of a trial that its own load calls invalid are
/// left out; its failures count.
///
/// A folder with a damaged file is left out as a whole, with a note.
///
/// # Errors
/// There are folders, and none can be read.
pub fn measure(name: &str, folders: &[PathBuf]) -> Result<RunMeasurements, ReportError> {
    /// Damaged folders that are named.
    const NAMED: usize = 5;
    let mut run = RunMeasurements { name: name.to_owned(), ..RunMeasurements::default() };
    let mut last: BTreeMap<(Option<String>, String, String), DescribedFolder> = BTreeMap::new();
    let mut damaged = Vec::new();
    for folder in folders {
        let described = match describe_folder(folder) {
            Ok(described) => described,
            Err(error) => {
                damaged.push(error);
                continue;
            }
        };
        let key = (described.deployment.clone(), described.trial.clone(), described.step.clone());
        match last.get(&key) {
            Some(other) if other.attempt > described.attempt => {}
            _ => {
                last.insert(key, described);
            }
        }
    }
    let read_paths = are_paths_read(last.values(), &mut run.notes);
    let (mut deployments, mut trials) = (HashMap::new(), HashMap::new());
    let (mut unmatched, mut invalid) = (0, Vec::new());
    for described in last.values() {
        let count = deployments.len();
        let deployment = *deployments.entry(described.deployment.clone()).or_insert(count);
        let count = trials.len();
        let trial = *trials.entry((deployment, described.trial.clone())).or_insert(count);
        // Of a damaged folder, nothing is taken: half of its requests would pass for all of them.
        let mut of_folder = RunMeasurements::default();
        let mut reader = Reader { run: &mut of_folder, unmatched: 0, invalid: Vec::new(), read_paths };
        match reader.add(described, TrialPlace { deployment, trial }) {
            Ok(()) => {
                unmatched += reader.unmatched;
                invalid.append(&mut reader.invalid);
                run.folders += 1;
                *run.folders_at.entry(described.factors.clone()).or_default() += 1;
                run.add_all(of_folder);
            }
            Err(error) => damaged.push(error),
        }
    }
    if unmatched > 0 {
        run.notes.push(match unmatched {
            1 => "1 trace belongs to no request of its folder and was left out".to_owned(),
            _ => format!("{unmatched} traces belong to no request of their folder and were left out"),
        });
    }
    if let Some((folder, reason)) = invalid.first() {
        run.notes.push(format!(
            "{} of {} folders must not be used; their durations were left out. The first is {}: {reason}",
            invalid.len(),
            run.folders,
            folder.display()
        ));
    }
    run.notes.extend(damaged.iter().take(NAMED).map(|error| format!("a folder was left out: {error}")));
    if damaged.len() > NAMED {
        run.notes.push(format!("{} more folders were left out", damaged.len() - NAMED));
    }
    run.left_out = damaged.len();
    if run.folders == 0 && !damaged.is_empty() {
        return Err(damaged.swap_remove(0));
    }
    Ok(run)
}

fn describe_folder(folder: &Path) -> Result<DescribedFolder, ReportError> {
    let unknown = folder.to_string_lossy().into_owned();
    if !folder.join(RUN_FILE).is_file() {
        let (application, factors) = published_config(folder)?;
        return Ok(DescribedFolder {
            folder: folder.to_owned(),
            is_ours: false,
            application,
            factors,
            deployment: None,
            trial: unknown,
            step: String::new(),
            attempt: 0,
        });
    }
    let described = describe(folder)?;
    let of_run = described.run.unwrap_or_default();
    Ok(DescribedFolder {
        folder: folder.to_owned(),
        is_ours: true,
        application: described.application.unwrap_or_else(|| application_folder(folder)),
        factors: described.values,
        deployment: described.deployment.map(|deployment| format!("{of_run} {deployment}")),
        trial: described.trial.map_or(unknown, |trial| format!("{of_run} {trial}")),
        step: described.step.unwrap_or_default(),
        attempt: described.attempt.unwrap_or(0),
    })
}

fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// What an application is called that no file names: as the folder that holds `logs`, or else the one that holds the execution.
pub fn application_folder(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let parent = whole.parent();
    let is_logs = parent.and_then(Path::file_name).is_some_and(|name| name == "logs");
    let named = if is_logs { parent.and_then(Path::parent) } else { parent }.and_then(Path::file_name);
    named.map_or_else(|| "invocations".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Application and labels by the configuration of the published layout: the table beside `sb` is that of the application.
fn published_config(folder: &Path) -> Result<(String, BTreeMap<String, String>), ReportError> {
    /// What separates measurements of one application.
    const LABELS: [&str; 4] = ["label", "load_level", "workload_label", "workload_type"];
    let path = folder.join(CONFIG_FILE);
    let fallback = || application_folder(folder);
    let text = match sb_durable::text_in_folder(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((fallback(), BTreeMap::new())),
        Err(source) => return Err(ReportError::Read { path, source }),
    };
    let config: BTreeMap<String, Value> = serde_yaml::from_str(&text)
        .map_err(|error| ReportError::Config { path: path.clone(), message: error.to_string() })?;
    let table = config.into_iter().find(|(name, value)| name != "sb" && value.is_object());
    let Some((application, Value::Object(table))) = table else { return Ok((fallback(), BTreeMap::new())) };
    let labels = LABELS.iter().filter_map(|&name| match table.get(name)? {
        Value::Null => None,
        value => Some((name.to_owned(), plain(value.clone()))),
    });
    Ok((application, labels.collect()))
}

struct Reader<'r> {
    run: &'r mut RunMeasurements,
    unmatched: u64,
    /// Folders whose load says that it must not be used, and why.
    invalid: Vec<(PathBuf, String)>,
    /// Whether traces are read for the functions on their paths.
    read_paths: bool,
}

/// As many bytes of traces are read for the functions on their paths.
const MOST_TRACES: u64 = 1 << 30;

fn traces_file(folder: &Path) -> Option<PathBuf> {
    TRACE_FILES.iter().map(|name| folder.join(name)).find(|file| sb_durable::open_in_folder(file).is_ok())
}

fn are_paths_read<'f>(folders: impl Iterator<Item = &'f DescribedFolder>, notes: &mut Vec<String>) -> bool {
    let files = folders.filter_map(|described| traces_file(&described.folder));
    let all: u64 = files.filter_map(|file| std::fs::metadata(file).ok()).map(|about| about.len()).sum();
    if all > MOST_TRACES {
        notes.push(format!(
            "the traces have {} MiB, too much to read all of them: a trace is cold with as many cold starts as the one with the most",
            all >> 20
        ));
    }
    all <= MOST_TRACES
}

/// Cold starts and functions on the path of each trace of a folder, where its traces are there.
fn paths_of(folder: &Path) -> Result<HashMap<String, (u64, u64)>, ReportError> {
    let mut all = HashMap::new();
    if let Some(file) = traces_file(folder) {
        for_each_path(&file, |id, cold_starts, functions| {
            all.insert(sent_id(id).into_owned(), (cold_starts, functions));
        })
        .map_err(|source| ReportError::Read { path: file, source })?;
    }
    Ok(all)
}

/// What a file of requests says of one.
struct SentRequest<'r> {
    /// Its type. `None`: the file does not say.
    request: Option<String>,
    /// The names on the critical path of its trace decide on the type of the trace.
    by_path: bool,
    /// Empty where it has no trace.
    trace_id: &'r str,
    /// Milliseconds. `None`: it was not answered as expected, or never sent.
    latency_ms: Option<f64>,
}

/// What is known of the request of a trace.
struct TraceRequest {
    request: Option<String>,
    by_path: bool,
    failed: bool,
}

type ByTrace = HashMap<String, TraceRequest>;

impl Reader<'_> {
    fn add(&mut self, described: &DescribedFolder, place: TrialPlace) -> Result<(), ReportError> {
        let folder = &described.folder;
        let key = |request: Option<String>| ComparedGroup {
            application: described.application.clone(),
            factors: described.factors.clone(),
            request,
        };
        let summary = read_summary(folder)?;
        // Why the folder's load must not be used, by its own summary.
        let invalid = summary.as_ref().and_then(|summary| summary.invalid.first().cloned());
        let usable = invalid.is_none();
        if let Some(reason) = invalid {
            self.invalid.push((folder.clone(), reason));
        }
        let mut by_trace = ByTrace::new();
        // Of the folder alone: how many were answered as expected, and how many failed.
        let mut counts: BTreeMap<Option<String>, [u64; 2]> = BTreeMap::new();
        let mut add = |sent: SentRequest<'_>| {
            let SentRequest { request, by_path, trace_id, latency_ms } = sent;
            let column = self.run.requests.entry(key(request.clone())).or_default().entry(place).or_default();
            match latency_ms {
                Some(latency) if usable => column.latencies_ms.push(latency),
                // The time counts for nothing; that it was answered does.
                Some(_) => column.answered_in_vain += 1,
                None => column.failed += 1,
            }
            let failed = latency_ms.is_none();
            counts.entry(request.clone()).or_default()[usize::from(failed)] += 1;
            if !trace_id.is_empty() {
                // Of several requests of a trace, the first one says of which type it is, and any that it failed.
                let known = by_trace.entry(sent_id(trace_id).into_owned());
                known.or_insert(TraceRequest { request, by_path, failed: false }).failed |= failed;
            }
        };
        let is_known = if read_invocations(folder, summary.as_ref(), &mut add)? {
            true
        } else if let Some(dropped) = read_k6(described, &mut add)? {
            self.add_dropped(&counts, dropped, key, place);
            true
        } else {
            false
        };
        if usable {
            self.add_traces(folder, place, key, is_known.then_some(&by_trace))?;
        }
        Ok(())
    }

    /// Iterations that k6 dropped: requests that were never sent. They have no type. Where there are several types, the
    /// application as a whole is a group of its own, also without any: the other side may have some.
    fn add_dropped(
        &mut self,
        counts: &BTreeMap<Option<String>, [u64; 2]>,
        dropped: u64,
        key: impl Fn(Option<String>) -> ComparedGroup,
        place: TrialPlace,
    ) {
        let (request, answered, failed) = match counts.keys().next() {
            Some(only) if counts.len() == 1 => (only.clone(), 0, 0),
            Some(_) => {
                let sum = |which: usize| counts.values().map(|of| of[which]).sum::<u64>();
                (None, sum(0), sum(1))
            }
            None if dropped == 0 => return,
            None => (None, 0, 0),
        };
        let column = self.run.requests.entry(key(request)).or_default().entry(place).or_default();
        column.answered_in_vain += answered;
        column.failed += failed + dropped;
    }

    fn add_traces(
        &mut self,
        folder: &Path,
        place: TrialPlace,
        key: impl Fn(Option<String>) -> ComparedGroup,
        by_trace: Option<&ByTrace>,
    ) -> Result<(), ReportError> {
        let path = folder.join(BREAKDOWN_FILE);
        let Some(file) = open(&path)? else { return Ok(()) };
        let paths = if self.read_paths { paths_of(folder)? } else { HashMap::new() };
        let milliseconds = |micros: i64| micros as f64 / 1e3;
        for_each_row(BufReader::new(file), |row| {
            let request = match by_trace {
                // Nothing says what was asked for: a trace with errors, faults or throttles counts as failed.
                None if row.errors + row.faults + row.throttles > 0 => return,
                None => None,
                Some(known) => match known.get(&*sent_id(&row.trace_id)) {
                    Some(of) if of.failed => return,
                    Some(of) if of.by_path => {
                        let names: Vec<_> =
                            row.longest_path_names.iter().map(|name| name.clone().into_bytes()).collect();
                        Some(image_type(&names).to_owned())
                    }
                    Some(of) => of.request.clone(),
                    None => {
                        self.unmatched += 1;
                        return;
                    }
                },
            };
            let columns = self.run.traces.entry(key(request)).or_default().entry(place).or_default();
            columns.cold_starts.push(row.num_cold_starts);
            // A row that counts other cold starts is of another path.
            let known = paths.get(&*sent_id(&row.trace_id));
            let known = known.filter(|(cold_starts, _)| *cold_starts == row.num_cold_starts);
            columns.functions.push(known.map_or(0, |(_, functions)| *functions));
            columns.duration_ms.push(milliseconds(row.duration));
            for (column, activity) in columns.parts_ms.iter_mut().zip(Activity::ALL) {
                column.push(row.part(activity).map_or(0.0, milliseconds));
            }
        })
        .map_err(|source| ReportError::Breakdown { path, source })
    }
}

/// Gives each invocation on. False where there is no such file.
fn read_invocations(
    folder: &Path,
    summary: Option<&LoadSummary>,
    add: &mut impl FnMut(SentRequest<'_>),
) -> Result<bool, ReportError> {
    let path = folder.join(INVOCATIONS_FILE);
    let Some(file) = open(&path)? else { return Ok(false) };
    let wrong = |source| ReportError::Invocations { path: path.clone(), source };
    let mut counts = RowCounts::default();
    for row in InvocationReader::new(file).map_err(wrong)? {
        let row = row.map_err(wrong)?;
        counts.add(&row);
        let answered = row.latency_micros().filter(|_| row.outcome == Outcome::Ok);
        add(SentRequest {
            request: Some(row.request),
            by_path: false,
            trace_id: &row.trace_id,
            latency_ms: answered.map(|micros| micros as f64 / 1e3),
        });
    }
    if let Some(summary) = summary {
        summary.check_rows(counts).map_err(wrong)?;
    }
    Ok(true)
}

/// The same from the metrics of k6, as the published dataset has them. Method and URL say which type a request is of. Returns how
/// many iterations were dropped; `None` where there is no such file.
fn read_k6(
    described: &DescribedFolder,
    add: &mut impl FnMut(SentRequest<'_>),
) -> Result<Option<u64>, ReportError> {
    let mut types = RequestTypes::new(&described.application, !described.is_ours, false);
    for_each_k6_request(&described.folder, &mut |request| {
        let K6Request { method, url, name, .. } = request;
        let (kind, by_path) = if url.is_empty() && name.is_empty() {
            (None, false)
        } else {
            match types.of_request(method.as_bytes(), url.as_bytes(), name.as_bytes()) {
                RequestType::Known(id) => (types.name(id).map(ToString::to_string), false),
                RequestType::ByPath => (Some(IMAGE.to_owned()), true),
            }
        };
        let latency_ms = (request.outcome == Outcome::Ok).then_some(request.milliseconds);
        add(SentRequest { request: kind, by_path, trace_id: request.trace_id, latency_ms });
    })
}

/// A request in the metrics of k6.
pub(super) struct K6Request<'r> {
    /// Empty where it has no trace.
    pub(super) trace_id: &'r str,
    /// From sending to the answer; of a request without an answer, until k6 gave up.
    pub(super) milliseconds: f64,
    pub(super) outcome: Outcome,
    /// Empty where the file does not say it, as the next two.
    pub(super) method: &'r str,
    pub(super) url: &'r str,
    /// What the script calls it; often the URL itself.
    pub(super) name: &'r str,
}

/// Gives each request of `k6_metrics.csv` on. Returns the number of iterations that k6 dropped; `None` where there is no such
/// file.
pub(super) fn for_each_k6_request(
    folder: &Path,
    add: &mut impl FnMut(K6Request<'_>),
) -> Result<Option<u64>, ReportError> {
    let path = folder.join(K6_FILE);
    let Some(file) = open(&path)? else { return Ok(None) };
    read_k6_rows(file, add).map(Some).map_err(|message| ReportError::Metrics { path, message })
}

fn read_k6_rows(file: File, add: &mut impl FnMut(K6Request<'_>)) -> Result<u64, String> {
    let mut reader = csv::Reader::from_reader(BufReader::new(file));
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    if header.is_empty() {
        return Err("the file is empty".to_owned());
    }
    let place = |name: &str| header.iter().position(|column| column == name);
    let needed = |name: &str| place(name).ok_or_else(|| format!("there is no column `{name}`"));
    let (metric, value, tags) = (needed("metric_name")?, needed("metric_value")?, needed("extra_tags")?);
    let (status, expected, code) = (place("status"), place("expected_response"), place("error_code"));
    let (method, url, name) = (place("method"), place("url"), place("name"));
    let mut record = csv::StringRecord::new();
    let mut dropped = 0_u64;
    while reader.read_record(&mut record).map_err(|error| error.to_string())? {
        let is_request = match record.get(metric) {
            Some("http_req_duration") => true,
            Some("dropped_iterations") => false,
            _ => continue,
        };
        let cell = |column: Option<usize>| column.and_then(|column| record.get(column)).unwrap_or_default();
        let text = cell(Some(value));
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        let number = number.ok_or_else(|| {
            let line = record.position().map_or(0, csv::Position::line);
            let unit = if is_request { "milliseconds" } else { "iterations" };
            format!("line {line}: `{text}` is no number of {unit}")
        })?;
        if !is_request {
            dropped = dropped.saturating_add(number as u64);
            continue;
        }
        let status: Option<u32> = cell(status).parse().ok();
        let refused = status.is_some_and(|status| status == 0 || status >= 400);
        let outcome = if refused || cell(expected) == "false" {
            failure(status.unwrap_or(0), cell(code).parse().unwrap_or(0))
        } else {
            Outcome::Ok
        };
        let trace_id = cell(Some(tags))
            .split('&')
            .find_map(|tag| tag.strip_prefix("xray_header=Root="))
            .unwrap_or_default();
        let (method, url, name) = (cell(method), cell(url), cell(name));
        add(K6Request { trace_id, milliseconds: number, outcome, method, url, name });
    }
    Ok(dropped)
}

/// By k6's error codes (<https://grafana.com/docs/k6/latest/javascript-api/error-codes/>). Those from 1400 on are statuses of
/// complete answers.
fn failure(status: u32, code: u32) -> Outcome {
    match code {
        0 | 1400..=1599 if status >= 100 => Outcome::FailedCheck,
        1050 | 1211 => Outcome::Timeout,
        1100..=1199 => Outcome::Dns,
        1212 => Outcome::Refused,
        1201 | 1220 => Outcome::Reset,
        1200..=1299 => Outcome::Unreachable,
        1300..=1399 => Outcome::Tls,
        _ => Outcome::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sb_measurement::{Invocation, InvocationWriter, SUMMARY_FILE, Timestamp};
    use tempfile::TempDir;

    use super::*;

    const ID: &str = "000000000000000000000000";

    /// A folder with invocations of `get`, one per latency in milliseconds; `None` fails. All have traces but the last.
    fn folder(root: &Path, name: &str, run: &str, latencies: &[Option<i64>]) -> PathBuf {
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut writer = InvocationWriter::new(File::create(folder.join(INVOCATIONS_FILE)).unwrap()).unwrap();
        let mut breakdown = String::from(crate::BREAKDOWN_HEADER);
        for (number, latency) in latencies.iter().enumerate() {
            let sent = Timestamp::from_micros(1_700_000_000_000_000);
            let invocation = Invocation {
                invocation: number as u64 + 1,
                request: "get".to_owned(),
                trace_id: format!("1-{number:08x}-{ID}"),
                planned: Some(sent),
                sent: Some(sent),
                answered: latency
                    .map(|latency| Timestamp::from_micros(1_700_000_000_000_000 + latency * 1000)),
                status: latency.map(|_| 200),
                outcome: if latency.is_some() { Outcome::Ok } else { Outcome::Timeout },
            };
            writer.write(&invocation).unwrap();
            if number + 1 < latencies.len() {
                breakdown.push_str(&row(number, 1 + number as u32));
            }
        }
        writer.flush().unwrap();
        fs::write(folder.join(BREAKDOWN_FILE), breakdown).unwrap();
        fs::write(folder.join(RUN_FILE), run).unwrap();
        folder
    }

    fn row(number: usize, milliseconds: u32) -> String {
        format!(
            "1-{number:08x}-{ID},1.0,2.0,0:00:00.{milliseconds:03}000,,0,0,0,0,[],[],,,,,0:00:00.{milliseconds:03}000,,,,\
             0:00:00\r\n"
        )
    }

    fn described(trial: u32, attempt: u32) -> String {
        format!(
            r#"{{"run": "r", "application": "shop", "deployment": "shop.1", "trial": "shop.1.{trial}", "step": "invoke-{trial}",
               "attempt": {attempt}, "factors": {{"rate": 5}}, "labels": {{"study": "a"}}, "other": 1}}"#
        )
    }

    fn read(root: &TempDir) -> RunMeasurements {
        measure("it", &invocation_folders(&[root.path().to_owned()]).unwrap()).unwrap()
    }

    #[test]
    fn folders_are_found_below_and_described_by_their_runs() {
        let root = tempfile::tempdir().unwrap();
        folder(root.path(), "shop/logs/1", &described(1, 1), &[Some(10), Some(20), None]);
        folder(root.path(), "shop/logs/2", &described(2, 1), &[Some(30), Some(40)]);
        folder(root.path(), ".hidden/logs/3", &described(3, 1), &[Some(50)]);
        let run = read(&root);
        assert_eq!((run.name.as_str(), run.folders), ("it", 2));
        let factors =
            [("rate", "5"), ("study", "a")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let key = ComparedGroup {
            application: "shop".to_owned(),
            factors: factors.into(),
            request: Some("get".to_owned()),
        };
        assert_eq!(run.requests.keys().collect::<Vec<_>>(), [&key]);
        let trials: Vec<_> = run.requests[&key].values().collect();
        assert_eq!((trials[0].latencies_ms.as_slice(), trials[0].failed), ([10.0, 20.0].as_slice(), 1));
        assert_eq!((trials[1].latencies_ms.as_slice(), trials[1].failed), ([30.0, 40.0].as_slice(), 0));
        let deployments: Vec<_> = run.requests[&key].keys().map(|place| place.deployment).collect();
        assert_eq!(deployments, [0, 0], "both trials are of one deployment");
        let durations: Vec<_> =
            run.traces[&key].values().map(|columns| columns.duration_ms.clone()).collect();
        assert_eq!(durations, [vec![1.0, 2.0], vec![1.0]]);
    }

    #[test]
    fn functions_on_paths_say_how_traces_began_where_both_runs_have_traces() {
        let trace = |number: usize, functions: usize, cold: usize| {
            let mut all = vec![("r".to_owned(), String::new(), "AWS::ApiGateway::Stage", 0.0, 1.0)];
            for place in 0..functions {
                let from = 0.1 + 0.4 * place as f64;
                all.push((format!("l{place}"), "r".to_owned(), "AWS::Lambda", from, from + 0.3));
                let function = (
                    format!("f{place}"),
                    format!("l{place}"),
                    "AWS::Lambda::Function",
                    from + 0.1,
                    from + 0.2,
                );
                all.push(function);
                if place < cold {
                    all.push((format!("i{place}"), format!("f{place}"), "", from + 0.01, from + 0.09));
                }
            }
            let documents: Vec<Value> = all
                .iter()
                .map(|(id, parent, origin, start, end)| {
                    let name = if id.starts_with('i') { "Initialization" } else { id };
                    let mut of =
                        serde_json::json!({ "id": id, "name": name, "start_time": start, "end_time": end });
                    if !parent.is_empty() {
                        of["parent_id"] = parent.as_str().into();
                    }
                    if !origin.is_empty() {
                        of["origin"] = (*origin).into();
                    }
                    serde_json::json!({ "Document": of.to_string() })
                })
                .collect();
            serde_json::json!({ "Id": format!("1-{number:08x}-{ID}"), "Duration": 1.0, "Segments": documents }).to_string()
        };
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            folder(&root.path().join(name), "a", &described(1, 1), &[Some(10), Some(10), Some(10), None])
        };
        let folders = ["before", "after"].map(make);
        // The second has one function on its path, and the first two.
        let rows = [(0, 2), (1, 1), (2, 0)]
            .map(|(number, cold)| row(number, 5).replacen(",,0,0,0,0,", &format!(",,{cold},0,0,0,"), 1));
        let traces = [trace(0, 2, 2), trace(1, 1, 1), trace(2, 2, 0)].join("\n");
        for folder in &folders {
            let text = format!("{}{}", crate::BREAKDOWN_HEADER, rows.concat());
            fs::write(folder.join(BREAKDOWN_FILE), text).unwrap();
            fs::write(folder.join("traces.json"), &traces).unwrap();
        }
        let counts = || {
            let [before, after] =
                folders.each_ref().map(|folder| measure("it", std::slice::from_ref(folder)).unwrap());
            let compared = crate::Comparison::of(&before, &after).unwrap();
            let of = compared
                .groups
                .iter()
                .filter_map(|group| Some((group.start?.name(), group.quantities[0].values[0])));
            of.collect::<Vec<_>>()
        };
        assert_eq!(counts(), [("warm", 1), ("cold", 2)]);
        fs::remove_file(folders[1].join("traces.json")).unwrap();
        assert_eq!(counts(), [("warm", 1), ("partial", 1), ("cold", 1)], "one run alone does not say it");
    }

    #[test]
    fn the_last_attempt_counts() {
        let root = tempfile::tempdir().unwrap();
        folder(root.path(), "a", &described(1, 2), &[Some(10)]);
        folder(root.path(), "b", &described(1, 1), &[Some(99), Some(99)]);
        let run = read(&root);
        assert_eq!(run.folders, 1);
        let column = run.requests.values().flat_map(BTreeMap::values).next().unwrap();
        assert_eq!(column.latencies_ms, [10.0]);
    }

    #[test]
    fn traces_of_failures_and_of_no_request_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path(), "a", &described(1, 1), &[Some(10), None, Some(30)]);
        let mut text = fs::read_to_string(folder.join(BREAKDOWN_FILE)).unwrap();
        text.push_str(&row(77, 7));
        fs::write(folder.join(BREAKDOWN_FILE), text).unwrap();
        let run = read(&root);
        let columns = run.traces.values().flat_map(BTreeMap::values).next().unwrap();
        assert_eq!(columns.duration_ms, [1.0], "the second failed");
        assert_eq!(run.notes, ["1 trace belongs to no request of its folder and was left out"]);
    }

    #[test]
    fn times_of_an_invalid_load_are_left_out_but_its_failures_count() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path(), "a", &described(1, 1), &[Some(10), None]);
        let summary = format!(
            r#"{{"version": {}, "planned": 2, "sent": 2, "answered": 1, "failed": 1, "not_sent": 0, "dropped": 0,
               "outcomes": {{}}, "failed_statuses": {{}}, "latency_ms": null, "latency_from_planned_ms": null,
               "failed_latency_ms": null, "lateness_ms": null, "started": "1.000000", "ended": "2.000000", "cancelled": false,
               "iterations": null, "notes": [], "invalid": ["Half of the requests failed."]}}"#,
            LoadSummary::VERSION
        );
        fs::write(folder.join(SUMMARY_FILE), summary).unwrap();
        let run = read(&root);
        let column = run.requests.values().flat_map(BTreeMap::values).next().unwrap();
        assert_eq!((column.latencies_ms.len(), column.answered_in_vain, column.failed), (0, 1, 1));
        assert!(run.traces.is_empty());
        assert!(run.notes[0].ends_with("Half of the requests failed."), "{:?}", run.notes);
    }

    #[test]
    fn a_folder_whose_rows_are_not_all_there_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            folder(root.path(), name, &described(if name == "a" { 1 } else { 2 }, 1), &[Some(10), Some(20)]);
        }
        let summary = |sent: u64| {
            format!(
                r#"{{"version": {}, "planned": 2, "sent": {sent}, "answered": 2, "failed": 0, "dropped": 0, "outcomes": {{}},
                   "latency_ms": null, "latency_from_planned_ms": null, "lateness_ms": null, "started": "1.000000",
                   "ended": "2.000000", "cancelled": false, "invalid": []}}"#,
                LoadSummary::VERSION
            )
        };
        fs::write(root.path().join("a").join(SUMMARY_FILE), summary(2)).unwrap();
        assert_eq!((read(&root).folders, read(&root).left_out), (2, 0));
        fs::write(root.path().join("a").join(SUMMARY_FILE), summary(3)).unwrap();
        let run = read(&root);
        assert_eq!((run.folders, run.left_out), (1, 1));
        assert!(run.notes[0].contains("a/invocations.csv") && run.notes[0].contains("rows are missing"));
    }

    #[test]
    fn the_published_layout_has_labels_and_metrics_of_k6() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("src/logs/2022-01-11_08-15-31");
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join(CONFIG_FILE),
            "todo_api:\n  label: exp2_load_levels\n  load_level: 20\n  workload_type: null\nsb:\n  host: here\n",
        )
        .unwrap();
        fs::write(
            folder.join(K6_FILE),
            format!(
                "metric_name,timestamp,metric_value,expected_response,status,extra_tags\n\
                 http_reqs,1,1.0,true,200,xray_header=Root=1-00000000-{ID}\n\
                 http_req_duration,1,12.5,true,200,a=b&xray_header=Root=1-00000000-{ID}\n\
                 http_req_duration,1,99.0,false,503,xray_header=Root=1-00000001-{ID}\n"
            ),
        )
        .unwrap();
        let rows = format!("{}{}{}", crate::BREAKDOWN_HEADER, row(0, 5), row(1, 6));
        fs::write(folder.join(BREAKDOWN_FILE), rows).unwrap();
        let run = read(&root);
        let key = run.requests.keys().next().unwrap();
        assert_eq!((key.application.as_str(), &key.request), ("todo_api", &None));
        assert_eq!(key.words(), "todo_api label=exp2_load_levels load_level=20");
        let column = run.requests[key].values().next().unwrap();
        assert_eq!((column.latencies_ms.as_slice(), column.failed), ([12.5].as_slice(), 1));
        assert_eq!(run.traces[key].values().next().unwrap().duration_ms, [5.0]);

        fs::write(folder.join(CONFIG_FILE), "a: [").unwrap();
        let message = measure("it", std::slice::from_ref(&folder)).unwrap_err().to_string();
        assert!(message.contains("sb_config.yml: "), "{message}");
        fs::remove_file(folder.join(CONFIG_FILE)).unwrap();
        fs::write(folder.join(K6_FILE), "metric_name,metric_value,extra_tags\nhttp_req_duration,x,\n")
            .unwrap();
        let message = measure("it", std::slice::from_ref(&folder)).unwrap_err().to_string();
        assert!(message.contains("k6_metrics.csv: line 2: `x` is no number"), "{message}");
        fs::write(folder.join(K6_FILE), "a,b\n").unwrap();
        let message = measure("it", &[folder]).unwrap_err().to_string();
        assert!(message.contains("there is no column `metric_name`"), "{message}");
    }

    /// A folder in the published layout: rows of method, URL and whether the request was answered as expected.
    fn published(root: &Path, application: &str, requests: &[(&str, &str, bool)], dropped: u64) -> PathBuf {
        let folder = root.join("src/logs/2022-01-11_08-15-31");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(CONFIG_FILE), format!("{application}:\n  label: x\n")).unwrap();
        let mut text =
            "metric_name,timestamp,metric_value,expected_response,method,status,url,extra_tags\n".to_owned();
        for (number, (method, url, is_ok)) in requests.iter().enumerate() {
            let tag = format!("xray_header=Root=1-{number:08x}-{ID}");
            text.push_str(&format!(
                "http_req_duration,1,{}.5,{is_ok},{method},200,{url},{tag}\n",
                number + 10
            ));
        }
        text.push_str(&format!("dropped_iterations,1,{dropped},,,,,\n"));
        fs::write(folder.join(K6_FILE), text).unwrap();
        folder
    }

    /// Of each type: answered, answered without a time that counts, failed.
    fn counts(run: &RunMeasurements) -> Vec<(Option<&str>, usize, u64, u64)> {
        let mut all = Vec::new();
        for (key, trials) in &run.requests {
            let column = trials.values().next().unwrap();
            all.push((
                key.request.as_deref(),
                column.latencies_ms.len(),
                column.answered_in_vain,
                column.failed,
            ));
        }
        all
    }

    #[test]
    fn requests_of_the_published_layout_have_types_and_dropped_ones_fail() {
        let root = tempfile::tempdir().unwrap();
        let requests = [
            ("GET", "https://h/dev/lst", true),
            ("POST", "https://h/dev/put", true),
            ("GET", "https://h/dev/lst", false),
        ];
        let folder = published(root.path(), "todo_api", &requests, 4);
        let rows = format!("{}{}{}{}", crate::BREAKDOWN_HEADER, row(0, 5), row(1, 6), row(2, 7));
        fs::write(folder.join(BREAKDOWN_FILE), rows).unwrap();
        let run = read(&root);
        let expected = [(None, 0, 2, 5), (Some("createTodo"), 1, 0, 0), (Some("listTodos"), 1, 0, 1)];
        assert_eq!(counts(&run), expected, "nobody knows of which type the four are");
        let traces: Vec<_> = run
            .traces
            .iter()
            .map(|(key, trials)| (key.request.as_deref(), trials.values().next().unwrap().duration_ms.len()))
            .collect();
        assert_eq!(traces, [(Some("createTodo"), 1), (Some("listTodos"), 1)]);
        // One type alone: the dropped ones are of this type.
        published(root.path(), "shop", &[("GET", "https://h/items/17", true)], 3);
        assert_eq!(counts(&read(&root)), [(Some("GET /items/{id}"), 1, 0, 3)]);
        published(root.path(), "shop", &[], 2);
        assert_eq!(counts(&read(&root)), [(None, 0, 0, 2)]);
    }

    #[test]
    fn dropped_iterations_are_more_failures() {
        let side = |dropped: &[u64]| {
            let root = tempfile::tempdir().unwrap();
            for (trial, dropped) in dropped.iter().enumerate() {
                let requests = [("GET", "https://h/a", true), ("GET", "https://h/b", true)].repeat(200);
                let of_trial = root.path().join(trial.to_string());
                published(&of_trial, "shop", &requests, *dropped);
            }
            read(&root)
        };
        let compared = crate::Comparison::of(&side(&[0; 6]), &side(&[90, 100, 110, 95, 105, 100])).unwrap();
        let found = compared.regressions(0.05);
        let failed: Vec<_> =
            found.iter().filter(|one| one.quantity == "failed").map(|one| one.group.as_str()).collect();
        assert_eq!(failed, ["shop label=x"], "{found:?}");
        assert!(found.iter().all(|one| one.quantity == "failed"), "{found:?}");
        assert!((found[0].first, found[0].second) == (0.0, 0.2), "100 of 500: {found:?}");
    }

    #[test]
    fn a_damaged_folder_is_left_out_whole_with_a_note() {
        let root = tempfile::tempdir().unwrap();
        let bad = folder(root.path(), "a", &described(1, 1), &[Some(10), Some(20), None]);
        folder(root.path(), "b", &described(2, 1), &[Some(30), Some(40)]);
        fs::write(bad.join(BREAKDOWN_FILE), "").unwrap();
        let run = read(&root);
        assert_eq!(run.folders, 1);
        let columns: Vec<_> = run.requests.values().flat_map(BTreeMap::values).collect();
        assert_eq!((columns.len(), columns[0].latencies_ms.as_slice()), (1, [30.0, 40.0].as_slice()));
        assert_eq!(run.notes.len(), 1);
        assert_eq!((run.folders, run.left_out), (1, 1));
        assert!(run.notes[0].contains("a folder was left out: ") && run.notes[0].contains(BREAKDOWN_FILE));
        fs::write(root.path().join("b").join(RUN_FILE), "{").unwrap();
        let all = invocation_folders(&[root.path().to_owned()]).unwrap();
        assert!(measure("it", &all).is_err(), "nothing could be read");
    }

    #[test]
    fn without_requests_traces_with_faults_count_as_failed() {
        let root = tempfile::tempdir().unwrap();
        let fault = row(1, 6).replacen(",0,0,0,0,", ",0,0,0,1,", 1);
        let rows = format!("{}{}{fault}", crate::BREAKDOWN_HEADER, row(0, 5));
        fs::write(root.path().join(BREAKDOWN_FILE), rows).unwrap();
        let run = read(&root);
        assert!(run.requests.is_empty());
        assert_eq!(run.traces.values().next().unwrap().values().next().unwrap().duration_ms, [5.0]);
    }
}
