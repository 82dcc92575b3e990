//! The tables of a report: `sb report --output`.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use sb_analysis::{Summaries, application_folder, summarize_groups};
use sb_report::{
    DatasetError, Note, Options, Output, OutputError, Report, Weight, analyze_folder,
    distinct_execution_folders, execution_folders, read,
};
use serde_json::json;

use super::Outcome;
use super::output::Failed;
use super::pages::{self, About};
use crate::cli::ReportArguments;
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::settings::Settings;
use crate::terminal::{Style, Terminal};
use crate::watch::paths::critical_paths;

/// As many notes are shown; the report has all of them.
const SHOWN: usize = 5;

impl From<DatasetError> for Failed {
    fn from(error: DatasetError) -> Self {
        Self::message(Exit::Failed, error.to_string())
    }
}

impl From<OutputError> for Failed {
    fn from(error: OutputError) -> Self {
        let exit = match error {
            OutputError::Taken { .. } => Exit::Usage,
            OutputError::Write { .. } | OutputError::Place(_) => Exit::Failed,
        };
        Self::message(exit, error.to_string())
    }
}

/// Sums up the executions at or below some folders, by application and label. A folder without any stands for itself. A folder
/// that is found twice counts once.
pub(super) fn summaries(folders: &[PathBuf]) -> Result<Summaries, Failed> {
    /// What an application is called whose name is not known.
    const UNNAMED: &str = "invocations";
    let mut groups: BTreeMap<(String, Option<String>), Vec<PathBuf>> = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut is_new = |folder: &Path| seen.insert(folder.canonicalize().unwrap_or_else(|_| folder.to_owned()));
    for folder in folders {
        let found = execution_folders(folder)?;
        if found.is_empty() && is_new(folder) {
            groups.entry((UNNAMED.to_owned(), None)).or_default().push(folder.clone());
        }
        for execution in found {
            if is_new(&execution.folder) {
                let application =
                    execution.application.unwrap_or_else(|| application_folder(&execution.folder));
                groups.entry((application, execution.label)).or_default().push(execution.folder);
            }
        }
    }
    let mut all = Summaries::default();
    for ((application, label), folders) in groups {
        let found = summarize_groups(&application, &folders);
        all.left_out.extend(found.left_out);
        all.groups.extend(found.groups.into_iter().map(|mut summary| {
            if let Some(label) = &label {
                summary.labels.entry("label".to_owned()).or_insert_with(|| label.clone());
            }
            summary
        }));
    }
    Ok(all)
}

/// Says which folders could not be read.
///
/// # Errors
/// None could be: there is nothing to tell of.
pub(super) fn say_left_out(terminal: &Terminal, found: &Summaries) -> Result<(), Failed> {
    if let ([], [first, ..]) = (&found.groups[..], &found.left_out[..]) {
        return Err(none_can_be_read(found.left_out.len(), &first.error));
    }
    for left_out in found.left_out.iter().take(SHOWN) {
        let word = terminal.paint(Style::Bad, "folder left out:");
        terminal.say(&format!("{word} {}", left_out.error));
    }
    let more = found.left_out.len().saturating_sub(SHOWN);
    if more > 0 {
        terminal.say(&format!(
            "{} {} left out; `--format json` has all, as `notes`",
            counted(more, "more folder"),
            if more == 1 { "was" } else { "were" }
        ));
    }
    Ok(())
}

fn none_can_be_read(count: usize, first: &dyn std::fmt::Display) -> Failed {
    let message = match count {
        1 => first.to_string(),
        count => format!("none of {count} folders can be read; the first: {first}"),
    };
    Failed::message(Exit::Failed, message)
}

/// Analyses the traces in and below some folders that have no breakdown yet. Returns what was done, or could not be.
pub(super) fn analyze(terminal: &Terminal, folders: &[PathBuf]) -> Result<Vec<Note>, Failed> {
    let found = distinct_execution_folders(folders)?;
    let notes: Vec<Note> =
        found.executions.iter().filter_map(|execution| analyze_folder(&execution.folder)).collect();
    for note in notes.iter().filter(|note| note.weight == Weight::Warning).take(SHOWN) {
        terminal.say(&format!("{} {note}", terminal.paint(Style::Bad, "traces left out:")));
    }
    Ok(notes)
}

/// Says the first of some notes, under what they are about.
pub(super) fn say_notes<'n>(
    terminal: &Terminal,
    about: &str,
    notes: impl ExactSizeIterator<Item = &'n Note>,
) {
    let more = notes.len().saturating_sub(SHOWN);
    for note in notes.take(SHOWN) {
        terminal.say(&format!("{} {note}", terminal.paint(Style::Bad, about)));
    }
    if more > 0 {
        terminal.say(&format!("{}: `--format json` has all, as `notes`", counted(more, "more note")));
    }
}

/// Reads what is in or below some folders, and computes everything. A folder counts in all figures or in none: those with a
/// damaged file are returned.
///
/// # Errors
/// There are folders, and none can be read.
pub(super) fn compute(
    folders: &[PathBuf],
    arguments: &ReportArguments,
) -> Result<(Report, Vec<PathBuf>), Failed> {
    let options = Options {
        as_published: arguments.as_published,
        patterns: arguments.workload_traces.clone(),
        whole_folders: true,
    };
    let dataset = read(folders, &options)?;
    if let ([(_, first), ..], false) = (dataset.left_out(), dataset.is_measured()) {
        return Err(none_can_be_read(dataset.left_out().len(), first));
    }
    let left_out = dataset.left_out().iter().map(|(folder, _)| folder.clone()).collect();
    Ok((Report::new(&dataset), left_out))
}

/// What is read for pictures of critical paths: the executions that count.
fn without(folders: &[PathBuf], left_out: &[PathBuf]) -> Result<Vec<PathBuf>, Failed> {
    if left_out.is_empty() {
        return Ok(folders.to_vec());
    }
    let true_path = |folder: &Path| folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let damaged: HashSet<PathBuf> = left_out.iter().map(|folder| true_path(folder)).collect();
    let found = distinct_execution_folders(folders)?.executions.into_iter().map(|execution| execution.folder);
    Ok(found.filter(|folder| !damaged.contains(&true_path(folder))).collect())
}

/// Writes a report, and says what to know about it.
pub(super) fn write(
    terminal: &Terminal,
    settings: &Settings,
    report: &Report,
    about: About,
    (folders, left_out): (&[PathBuf], &[PathBuf]),
    target: &Path,
) -> Outcome {
    if report.executions == 0 {
        let help = "name a folder that has `logs/<time>/` in or below it, or a run";
        return Err(Failed::helped(Exit::Failed, "there is no execution to report on", help));
    }
    let output = Output::create(target, folders)?;
    output.write(report, env!("CARGO_PKG_VERSION"))?;
    let figures = pages::write(output.path(), report, about, &critical_paths(&without(folders, left_out)?))?;
    output.place()?;
    let warnings = report.notes.iter().filter(|note| note.weight == Weight::Warning);
    for note in warnings.clone().take(SHOWN) {
        terminal.say(&format!("{} {note}", terminal.paint(Style::Bad, "data left out:")));
    }
    let more = warnings.count().saturating_sub(SHOWN);
    if more > 0 {
        terminal.say(&format!(
            "{} of this kind {} in {}",
            counted(more, "more note"),
            if more == 1 { "is" } else { "are" },
            target.join("report.json").display()
        ));
    }
    let written = format!(
        "{} {}/: report.html, {} and {} of {}, summary.md",
        terminal.paint(Style::Strong, "wrote"),
        target.display(),
        counted(figures, "figure"),
        counted(report.tables.len(), "table"),
        counted(report.executions, "execution")
    );
    terminal.say(&written);
    if settings.json() {
        let about = json!({
            "version": 1,
            "output": target,
            "executions": report.executions,
            "page": "report.html",
            "figures": figures,
            "tables": report.tables.iter().map(|table| json!({ "name": table.name, "rows": table.rows() })).collect::<Vec<_>>(),
            "notes": report.notes,
        });
        terminal.data(&format!("{about:#}"))?;
    }
    Ok(Exit::Done)
}
