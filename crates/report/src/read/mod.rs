//! Reads the executions below some folders: ours, and those of the published layout.

mod find;
mod number;
mod plain;
mod records;
mod requests;
mod traces;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use sb_analysis::{
    AnalyzeOptions, BREAKDOWN_FILE, INVALID_FILE, TRACE_FILES, analyze_file, check_folder, check_small_files,
    invalid_reasons,
};
use sb_durable::{open_in_folder, text_in_folder};
use sb_measurement::INVOCATIONS_FILE;
use serde_json::Value;

use self::find::Found;
use self::requests::Requests;
use self::traces::TraceRows;
use crate::config::{Config, read_config};
use crate::execution::Execution;
use crate::note::Note;
use crate::workload::Workload;
use crate::{parallel, rates};
use sb_measurement::{IMAGE, RequestTypes, RowCounts, STUDY_APPLICATIONS, counted};

pub(crate) use requests::NO_LATENCY;

/// Settings of an execution in the published layout.
const CONFIG_FILE: &str = "sb_config.yml";
/// What an execution of ours was.
const RUN_FILE: &str = "run.json";
/// One row per metric of a request, as k6 writes them.
const K6_FILE: &str = "k6_metrics.csv";
/// The load as options of k6.
const OPTIONS_FILE: &str = "workload_options.json";

/// How a dataset is read, and its tables are computed.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// With the definitions of the published study, its known faults included. By default better ones are used where there are
    /// any; the crate's README lists them.
    pub as_published: bool,
    /// The folder of invocation patterns, `20min_picks` and others inside. By default `workload_traces` in, or up to three levels
    /// above, a folder that is read.
    pub patterns: Option<PathBuf>,
    /// Leaves out as a whole each folder that has a damaged file, as summaries do: it counts in all figures or in none. By default
    /// what can be read of it counts.
    pub whole_folders: bool,
}

/// Why a dataset cannot be read. What is wrong with single files or folders is a [`Note`].
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A folder cannot be listed.
    #[error("cannot read the folder {}: {source}; name a folder of executions", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The given folder of patterns cannot be listed.
    #[error(
        "cannot read the folder of patterns {}: {source}; name the folder that has `20min_picks` inside",
        path.display()
    )]
    Patterns {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Executions that were read.
#[derive(Debug)]
pub struct Dataset {
    pub(crate) executions: Vec<Execution>,
    pub(crate) notes: Vec<Note>,
    pub(crate) as_published: bool,
    /// Per-minute counts of the study's four patterns, where their files are there.
    pub(crate) patterns: Vec<(&'static str, Vec<f64>)>,
    left_out: Vec<(PathBuf, String)>,
    /// Executions whose files were read twice, to know whether one is damaged.
    #[cfg(test)]
    pub(crate) read_again: usize,
}

impl Dataset {
    /// How many executions there are.
    pub fn executions(&self) -> usize {
        self.executions.len()
    }

    /// Folders of executions that were left out as a whole, and which of their files is damaged how.
    pub fn left_out(&self) -> &[(PathBuf, String)] {
        &self.left_out
    }

    /// Whether there are requests, or valid traces, or files without any.
    pub fn is_measured(&self) -> bool {
        self.executions.iter().any(|execution| execution.sent.is_some() || execution.traces.is_some())
    }

    /// What was left out, and why.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
}

/// The four patterns of the study.
const PATTERNS: [&str; 4] = ["fluctuating", "jump", "spikes", "steady"];

/// Reads all executions at or below some folders, each once, however often and under whichever path it is given. What is wrong with one file or folder becomes a note, and the rest is read.
/// Traces without a breakdown are analysed first, and the breakdown is kept beside them.
///
/// # Errors
/// A given folder cannot be listed, that of patterns included.
pub fn read(folders: &[PathBuf], options: &Options) -> Result<Dataset, DatasetError> {
    if let Some(patterns) = &options.patterns {
        fs::read_dir(patterns).map_err(|source| DatasetError::Patterns { path: patterns.clone(), source })?;
    }
    let mut found: Vec<Found> = Vec::new();
    let mut seen = Seen::default();
    let mut notes = Vec::new();
    for folder in folders {
        for execution in find::executions(folder, &mut notes)? {
            if seen.is_new(&execution.folder) {
                found.push(execution);
            }
        }
    }
    let patterns =
        options.patterns.clone().or_else(|| folders.iter().find_map(|folder| find::patterns(folder)));
    let mut executions = Vec::new();
    for found in found {
        executions.push(describe(found, options, patterns.as_deref(), &mut notes));
    }
    let rank = |execution: &Execution| {
        let known = STUDY_APPLICATIONS.iter().position(|name| **name == *execution.application);
        known.unwrap_or(STUDY_APPLICATIONS.len())
    };
    // Stable: further applications stay in the order of their folders.
    executions.sort_by_key(rank);
    let mut contents = read_contents(&executions, options, &mut notes);
    #[cfg(test)]
    let read_again = contents.iter().filter(|content| content.is_plain != [true; 2]).count();
    let left_out = leave_out(&mut executions, &mut contents, &mut notes);
    for (execution, content) in executions.iter_mut().zip(contents) {
        content.put_into(execution, &mut notes);
        if !options.as_published
            && let Some(planned) = execution.sent.as_ref().and_then(|sent| sent.planned.as_ref())
        {
            execution.planned = Some(rates::per_second(planned.relative(), false));
        }
    }
    if !options.as_published {
        judge_loads(&mut executions, &mut notes);
    }
    let files = PATTERNS.iter().filter_map(|name| {
        let text =
            fs::read_to_string(patterns.as_ref()?.join("20min_picks").join(format!("{name}.csv"))).ok()?;
        Some((*name, rates::per_minute(&text)?))
    });
    let patterns = files.collect();
    Ok(Dataset {
        executions,
        notes,
        as_published: options.as_published,
        patterns,
        left_out,
        #[cfg(test)]
        read_again,
    })
}

/// Finds out which loads must not be used. There is a note for each reason, which counts how many loads have it.
fn judge_loads(executions: &mut [Execution], notes: &mut Vec<Note>) {
    let mut found: BTreeMap<String, (usize, PathBuf, String)> = BTreeMap::new();
    for execution in executions {
        match invalid_reasons(&execution.folder) {
            Ok(reasons) => execution.invalid_load = reasons,
            Err(error) => {
                let message = format!("whether its load may be used is unknown: {error}");
                notes.push(Note::warning(&execution.folder, message));
            }
        }
        for reason in &execution.invalid_load {
            // The numbers differ from load to load; the reason is the same.
            let key = reason
                .split(|c: char| c.is_ascii_digit())
                .filter(|part| !matches!(*part, "" | "."))
                .collect();
            let first = || (0, execution.folder.clone(), reason.clone());
            found.entry(key).or_insert_with(first).0 += 1;
        }
    }
    notes.extend(found.into_values().map(|(count, folder, reason)| match count {
        1 => Note::remark(&folder, format!("its load must not be used: {reason}")),
        count => Note::general(format!(
            "the loads of {count} executions must not be used; the first is {}: {reason}",
            folder.display()
        )),
    }));
}

/// Takes out the damaged executions, and their notes: what became of single rows means nothing where none counts.
fn leave_out(
    executions: &mut Vec<Execution>,
    contents: &mut Vec<Content>,
    notes: &mut Vec<Note>,
) -> Vec<(PathBuf, String)> {
    let damaged = executions.iter().zip(contents.iter_mut());
    let left_out: Vec<(PathBuf, String)> = damaged
        .filter_map(|(execution, content)| Some((execution.folder.clone(), content.damage.take()?)))
        .collect();
    if left_out.is_empty() {
        return left_out;
    }
    let folders: HashSet<&Path> = left_out.iter().map(|(folder, _)| folder.as_path()).collect();
    let mut kept = executions.iter().map(|execution| !folders.contains(execution.folder.as_path()));
    contents.retain(|_| kept.next().unwrap_or(true));
    drop(kept);
    executions.retain(|execution| !folders.contains(execution.folder.as_path()));
    notes.retain(|note| {
        let of = |path: Option<&Path>| path.is_some_and(|path| folders.contains(path));
        !of(note.path.as_deref()) && !of(note.path.as_deref().and_then(Path::parent))
    });
    let reasons = left_out.iter().map(|(folder, reason)| {
        Note::warning(folder, format!("the folder is left out as a whole: {reason}"))
    });
    notes.splice(0..0, reasons);
    left_out
}

/// An execution's folder, and what is known of it without its large files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionFolder {
    /// The folder.
    pub folder: PathBuf,
    /// The application's name, by `run.json` or `sb_config.yml`. `None`: neither says it.
    pub application: Option<String>,
    /// The label of `sb_config.yml`; `None` also for a run of ours, whose `run.json` has labels.
    pub label: Option<String>,
}

/// The folders of the executions at or below a folder, in ascending order.
///
/// # Errors
/// The folder cannot be listed.
pub fn execution_folders(folder: &Path) -> Result<Vec<ExecutionFolder>, DatasetError> {
    let found = find::executions(folder, &mut Vec::new())?;
    let described = found.into_iter().map(|found| {
        let folder = found.folder;
        let known = text_in_folder(&folder.join(CONFIG_FILE)).ok().and_then(|text| read_config(&text).ok());
        let (application, mut config) =
            known.map_or((None, Config::default()), |(name, config)| (Some(name), config));
        let run = text_in_folder(&folder.join(RUN_FILE)).ok();
        let label = if run.is_some() { None } else { config.label().map(str::to_owned) };
        let ours = run.and_then(|text| config.add_run(&text).ok().flatten());
        ExecutionFolder { folder, application: ours.or(application), label }
    });
    Ok(described.collect())
}

/// Executions of several folders, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistinctExecutions {
    /// The executions, in the order of the given folders, and of their paths in each.
    pub executions: Vec<ExecutionFolder>,
    /// The given folders at and below which there is no execution.
    pub empty: Vec<PathBuf>,
}

/// The executions at or below some folders. A folder that is given twice, also under another path or as a part of another
/// one, counts once.
///
/// # Errors
/// A folder cannot be listed.
pub fn distinct_execution_folders(folders: &[PathBuf]) -> Result<DistinctExecutions, DatasetError> {
    let mut all = DistinctExecutions::default();
    let mut seen = Seen::default();
    for folder in folders {
        let found = execution_folders(folder)?;
        if found.is_empty() && seen.is_new(folder) {
            all.empty.push(folder.clone());
        }
        all.executions.extend(found.into_iter().filter(|execution| seen.is_new(&execution.folder)));
    }
    Ok(all)
}

/// Folders that were met, by their true paths.
#[derive(Default)]
struct Seen(HashSet<PathBuf>);

impl Seen {
    fn is_new(&mut self, folder: &Path) -> bool {
        self.0.insert(true_path(folder))
    }
}

fn true_path(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}

/// What the small files of an execution say.
fn describe(found: Found, options: &Options, patterns: Option<&Path>, notes: &mut Vec<Note>) -> Execution {
    let folder = &found.folder;
    let mut config = Config::default();
    let mut application = None;
    let path = folder.join(CONFIG_FILE);
    match text_in_folder(&path) {
        Ok(text) => match read_config(&text) {
            Ok((name, read)) => (application, config) = (Some(name), read),
            Err(problem) => notes.push(Note::warning(&path, format!("{problem}; its settings are unknown"))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => notes.push(Note::warning(&path, format!("it cannot be read: {error}"))),
    }
    let path = folder.join(RUN_FILE);
    let has_run = match text_in_folder(&path) {
        Ok(text) => {
            match config.add_run(&text) {
                Ok(name) => application = name.or(application),
                Err(problem) => notes.push(Note::warning(&path, problem)),
            }
            true
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            notes.push(Note::warning(&path, format!("it cannot be read: {error}")));
            false
        }
    };
    if application.is_none() {
        let message = "it has no `sb_config.yml` that can be read, so it has no label, and no table of the study counts it";
        notes.push(Note::warning(folder, message));
    }
    let application = application.unwrap_or_else(|| found.application_folder());
    let planned = read_planned(&folder.join(OPTIONS_FILE), options.as_published, notes);
    let workload = config.load.as_ref().and_then(Workload::of);
    let pattern = read_pattern(&config, patterns, workload.as_ref(), options.as_published);
    Execution {
        app_path: found.benchmark_file(&application),
        application: application.into(),
        is_ours: has_run || folder.join(INVOCATIONS_FILE).is_file(),
        logs_path: found.logs_path,
        folder: found.folder,
        config,
        planned,
        pattern,
        workload,
        ..Execution::default()
    }
}

fn read_planned(path: &Path, as_published: bool, notes: &mut Vec<Note>) -> Option<Vec<f64>> {
    let text = text_in_folder(path).ok()?;
    match serde_json::from_str::<Value>(&text) {
        Ok(options) if as_published => rates::planned_as_published(&options),
        Ok(options) => rates::planned(&options),
        Err(error) => {
            notes.push(Note::warning(path, format!("it is no valid JSON, so the plan is unknown: {error}")));
            None
        }
    }
}

fn read_pattern(
    config: &Config,
    patterns: Option<&Path>,
    workload: Option<&Workload>,
    as_published: bool,
) -> Option<Vec<f64>> {
    // Ours has the counts in its own description.
    if let Some(load) = &config.load
        && let Some(counts) = load.get("invocations_per_minute").and_then(Value::as_array)
    {
        let counts: Vec<f64> = counts.iter().map(Value::as_f64).collect::<Option<_>>()?;
        if as_published {
            return Some(rates::pattern(config, &counts, as_published));
        }
        let planned = workload.map(|workload| workload.planned.iter().sum());
        return rates::pattern_of_load(config, load, &counts, planned);
    }
    let candidates = rates::pattern_file(config, as_published)?;
    let text = candidates.iter().find_map(|name| fs::read_to_string(patterns?.join(name)).ok())?;
    Some(rates::pattern(config, &rates::per_minute(&text)?, as_published))
}

/// What the large files of an execution hold.
#[derive(Default)]
struct Content {
    requests: Option<Requests>,
    rows: Option<TraceRows>,
    invalid: u64,
    types: Vec<Arc<str>>,
    /// Of requests and of traces: whichever is read first, the order is the same.
    notes: [Vec<Note>; 2],
    /// Whether requests, and traces, are such that no other reader of them could find anything wrong.
    is_plain: [bool; 2],
    /// What is wrong with one of the files. Only with [`Options::whole_folders`].
    damage: Option<String>,
    /// Files that are still to be read.
    left: usize,
}

#[derive(Clone, Copy)]
enum Part {
    Requests,
    Traces,
}

/// Traces are read for the functions on their paths if all files together are at most so large, in bytes.
const MOST_TRACES: u64 = 1 << 30;

/// Whether the traces are read again, for the functions on their paths. The study's definitions do not ask for them.
fn are_paths_read(executions: &[Execution], as_published: bool, notes: &mut Vec<Note>) -> bool {
    if as_published {
        return false;
    }
    let size = |execution: &Execution| {
        let file = traces_file(&execution.folder).and_then(|file| fs::metadata(file).ok());
        file.map_or(0, |about| about.len())
    };
    let all: u64 = executions.iter().map(size).sum();
    if all > MOST_TRACES {
        notes.push(Note::general(format!(
            "the traces have {} MiB, which is too much to read all of them again: a trace counts as cold if it has as many cold \
             starts as the one with the most of its type, not if all functions on its path were cold",
            all >> 20
        )));
    }
    all <= MOST_TRACES
}

fn traces_file(folder: &Path) -> Option<PathBuf> {
    TRACE_FILES.iter().map(|name| folder.join(name)).find(|traces| traces.is_file())
}

/// Reads the large files, largest executions first. Two files of one execution are read at the same time.
fn read_contents(executions: &[Execution], options: &Options, notes: &mut Vec<Note>) -> Vec<Content> {
    let as_published = options.as_published;
    let are_paths_read = are_paths_read(executions, as_published, notes);
    let size = |folder: &Path, name: &str| fs::metadata(folder.join(name)).map_or(0, |about| about.len());
    let mut order: Vec<(u64, usize)> = executions
        .iter()
        .enumerate()
        .map(|(place, execution)| {
            let folder = &execution.folder;
            (size(folder, K6_FILE) + size(folder, BREAKDOWN_FILE) + size(folder, INVOCATIONS_FILE), place)
        })
        .collect();
    order.sort_by_key(|(size, place)| (std::cmp::Reverse(*size), *place));
    let tasks: Vec<(usize, Part)> =
        order.iter().flat_map(|(_, place)| [(*place, Part::Requests), (*place, Part::Traces)]).collect();
    let contents: Vec<Mutex<Content>> =
        executions.iter().map(|_| Mutex::new(Content { left: 2, ..Content::default() })).collect();
    parallel::map(&tasks, |_, (place, part)| {
        let (Some(execution), Some(content)) = (executions.get(*place), contents.get(*place)) else { return };
        match part {
            Part::Requests => {
                let mut notes = Vec::new();
                let (requests, is_plain) = read_requests(execution, as_published, &mut notes);
                let mut content = content.lock();
                (content.requests, content.is_plain[0]) = (requests, is_plain);
                content.notes[0] = notes;
            }
            Part::Traces => {
                let mut notes = Vec::new();
                let (rows, invalid, is_plain) =
                    read_traces(execution, as_published, are_paths_read, &mut notes);
                let mut content = content.lock();
                (content.rows, content.invalid, content.is_plain[1]) = (rows, invalid, is_plain);
                content.notes[1] = notes;
            }
        }
        let mut content = content.lock();
        content.left -= 1;
        if content.left == 0 {
            if options.whole_folders {
                content.damage = damage(&execution.folder, &content);
            }
            content.join(as_published);
        }
    });
    contents.into_iter().map(Mutex::into_inner).collect()
}

/// What is wrong with a file of the folder, as the summaries of `sb_analysis` say it.
fn damage(folder: &Path, content: &Content) -> Option<String> {
    let checked = if content.is_plain == [true; 2] {
        let sent = content.requests.as_ref().map(|requests| &requests.sent);
        let rows = sent.map_or(RowCounts::default(), |sent| RowCounts {
            sent: sent.count(),
            answered: sent.count() - sent.unanswered,
        });
        check_small_files(folder, rows)
    } else {
        check_folder(folder)
    };
    checked.err().map(|error| error.to_string())
}

/// The requests, and whether every row of their file is [`plain`].
fn read_requests(
    execution: &Execution,
    as_published: bool,
    notes: &mut Vec<Note>,
) -> (Option<Requests>, bool) {
    let folder = &execution.folder;
    let by_rules = !execution.is_ours || as_published;
    let types = RequestTypes::new(&execution.application, by_rules, as_published);
    let (ours, k6) = (folder.join(INVOCATIONS_FILE), folder.join(K6_FILE));
    // Ours is finer: microseconds instead of seconds, and the request's own name.
    let (path, read) = if ours.is_file() && !(as_published && k6.is_file()) {
        let read = requests::read_invocations(&ours, types);
        (ours.clone(), read)
    } else if k6.is_file() {
        let read = requests::read_k6(&k6, types, as_published);
        (k6.clone(), read)
    } else {
        notes.push(Note::warning(
            &k6,
            "there is no such file: how many requests were sent, and of which type, is unknown",
        ));
        return (None, !ours.exists() && !k6.exists());
    };
    // Summaries are of this file, whatever is read here.
    let is_same = path == ours || !ours.exists();
    match read {
        Ok(mut requests) => {
            let is_empty = requests.sent.count() == 0 && requests.sent.not_sent == 0;
            if is_empty && requests.notes.is_empty() && path.ends_with(K6_FILE) && !as_published {
                let message = "it has no row of `http_req_duration`: how many requests were sent is unknown";
                requests.notes.push(Note::warning(&path, message));
            }
            let is_known = !is_empty || requests.notes.is_empty() || as_published;
            notes.append(&mut requests.notes);
            let is_plain = requests.is_plain && is_same;
            // Of a file that cannot be read, nothing is known; that is not a count of zero.
            (is_known.then_some(requests), is_plain)
        }
        Err(error) => {
            notes.push(Note::warning(&path, format!("it cannot be read: {error}")));
            (None, false)
        }
    }
}

/// Analyses the traces of an execution's folder that have no breakdown, and keeps the breakdown beside them. The note says what was
/// done, or why it cannot be. `None`: there was nothing to do.
pub fn analyze_folder(folder: &Path) -> Option<Note> {
    if folder.join(BREAKDOWN_FILE).is_file() {
        return None;
    }
    let traces = traces_file(folder)?;
    if let Err(error) = open_in_folder(&traces) {
        return Some(Note::warning(&traces, format!("it cannot be analysed: {error}")));
    }
    Some(match analyze_file(&traces, &AnalyzeOptions::default()) {
        Ok(summary) => Note::remark(
            &traces,
            format!(
                "it had no breakdown; analysed now: {}, of which {} valid",
                counted(summary.valid + summary.invalid, "trace"),
                if summary.valid == 1 { "1 is".to_owned() } else { format!("{} are", summary.valid) }
            ),
        ),
        Err(error) => Note::warning(&traces, format!("it cannot be analysed: {error}")),
    })
}

fn read_traces(
    execution: &Execution,
    as_published: bool,
    are_paths_read: bool,
    notes: &mut Vec<Note>,
) -> (Option<TraceRows>, u64, bool) {
    let folder = &execution.folder;
    let path = folder.join(BREAKDOWN_FILE);
    notes.extend(analyze_folder(folder));
    let by_path = &*execution.application == "image_processing" && (!execution.is_ours || as_published);
    let read = open_in_folder(&path).and_then(|file| traces::read(file, &path, by_path));
    let mut is_plain = false;
    let rows = match read {
        Ok(mut rows) => {
            is_plain = rows.is_plain;
            let is_known = rows.traces.count() > 0 || rows.notes.is_empty() || as_published;
            notes.append(&mut rows.notes);
            if are_paths_read && let Some(file) = traces_file(folder) {
                match open_in_folder(&file).and_then(|_| traces::read_paths(&file)) {
                    Ok(paths) => rows.add_paths(&paths),
                    Err(error) => {
                        let message = format!(
                            "it cannot be read: {error}; which traces are cold is by their breakdown"
                        );
                        notes.push(Note::warning(&file, message));
                    }
                }
            }
            is_known.then_some(rows)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            is_plain = true;
            None
        }
        Err(error) => {
            notes.push(Note::warning(&path, format!("it cannot be read: {error}")));
            None
        }
    };
    let path = folder.join(INVALID_FILE);
    let invalid = match open_in_folder(&path).and_then(requests::count_rows) {
        Ok(count) => count,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => {
            notes.push(Note::warning(&path, format!("it cannot be read: {error}")));
            0
        }
    };
    (rows, invalid, is_plain)
}

impl Content {
    /// Gives the traces the types of their requests, and forgets the ids.
    fn join(&mut self, as_published: bool) {
        if let Some(requests) = &mut self.requests {
            self.types = std::mem::take(&mut requests.types);
        }
        if let Some(rows) = &mut self.rows {
            rows.join(self.requests.as_ref(), as_published, &mut self.types);
        }
        if let Some(requests) = &mut self.requests {
            requests.forget_ids();
            let by_path = requests.sent.kinds.iter().position(|kind| *kind == requests::BY_PATH);
            if by_path.is_some() {
                // The path is that of a trace; a request alone is one of the three.
                let kind = self.types.iter().position(|name| &**name == IMAGE).unwrap_or_else(|| {
                    self.types.push(IMAGE.into());
                    self.types.len() - 1
                });
                for found in requests.sent.kinds.iter_mut().filter(|kind| **kind == requests::BY_PATH) {
                    *found = kind as u32;
                }
            }
        }
    }

    fn put_into(self, execution: &mut Execution, notes: &mut Vec<Note>) {
        execution.sent = self.requests.map(|requests| requests.sent);
        execution.traces = self.rows.map(|rows| rows.traces);
        execution.invalid = self.invalid;
        execution.types = self.types;
        notes.extend(self.notes.into_iter().flatten());
    }
}
