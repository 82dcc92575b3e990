//! Traces in files: `sb analyze-traces FILE` and `sb trace show | path | list`. What `sb trace` makes of many traces is in
//! [`super::paths`] and [`super::what_if`].

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Outcome;
use super::output::Failed;
use super::paths::{groups, refuse_input_beside_files, unknown_format};
use super::{paths, report, what_if};
use crate::cli::{MethodArguments, RepairKind, TraceCommand, WrittenTables};
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::settings::Settings;
use crate::terminal::Terminal;
use sb_analysis::{
    Activities, Analysis, AnalyzeOptions, BREAKDOWN_FILE, INVALID_FILE, Ink, Invalid, Method, PARQUET_FILE,
    Recorded, Rejected, Repair, Requests, Rule, Source, Tables, Trace, Waterfall, analyze_file,
    analyze_fused, ends_within_document, for_each_fused_trace, for_each_joined_trace, for_each_trace,
    format_duration, microseconds, printable, render_summaries, summarize,
};

/// Analyses files of traces; the results go beside each.
pub(super) fn analyze(
    terminal: &Terminal,
    settings: &Settings,
    paths: &[PathBuf],
    output: Option<&Path>,
    write: WrittenTables,
    jobs: Option<NonZeroUsize>,
    arguments: &MethodArguments,
) -> Outcome {
    let method = method(arguments)?;
    refuse_input_beside_files(paths)?;
    let files = groups(paths).map_err(unknown_format)?;
    if method.source != Source::Auto && files.iter().any(|group| group.len() > 1) {
        let message = "`--source` names one format, and these files are of X-Ray and of OpenTelemetry";
        return Err(Failed::helped(
            Exit::Usage,
            message,
            "leave `--source` out, or name the files one by one",
        ));
    }
    match (output, files.as_slice()) {
        (None, _) => refuse_common_results(
            &files.iter().filter_map(|group| group.first().cloned()).collect::<Vec<_>>(),
        )?,
        (Some(folder), [_]) => std::fs::create_dir_all(folder).map_err(|error| {
            let message = format!("cannot create the folder `{}` ({error})", folder.display());
            Failed::helped(Exit::Failed, message, "check the path and its permissions")
        })?,
        (Some(_), several) => {
            let message =
                format!("`--output` takes the results of one file, and {} were found", several.len());
            return Err(Failed::helped(Exit::Usage, message, "leave `--output` out, or name one file"));
        }
    }
    let tables = Tables { csv: write != WrittenTables::Parquet, parquet: write != WrittenTables::Csv };
    let mut results = Vec::new();
    let mut exit = Exit::Done;
    for group in &files {
        let Some(file) = group.first() else { continue };
        let place = |name| output.map_or_else(|| file.with_file_name(name), |folder| folder.join(name));
        let summary = with_progress(terminal, file, |progress| {
            let progress = Some(progress);
            let method = method.clone();
            let [breakdown, parquet, invalid] =
                [BREAKDOWN_FILE, PARQUET_FILE, INVALID_FILE].map(|name| Some(place(name)));
            let options = AnalyzeOptions { breakdown, parquet, invalid, tables, jobs, progress, method };
            match group.as_slice() {
                [file] => analyze_file(file, &options),
                parts => analyze_fused(parts, &options),
            }
        })
        .map_err(unknown_format)?;
        let mut cut_off = Vec::new();
        if summary.reasons.contains_key("malformed") {
            for file in group {
                if ends_within_document(file)? {
                    cut_off.push(file);
                }
            }
        }
        for file in &cut_off {
            terminal.say(&format!(
                "warning: `{}` ends within a document: it was cut off, and the traces after that are in no number. Fetch or copy \
                 it again",
                file.display()
            ));
        }
        if !cut_off.is_empty() && summary.valid == 0 {
            exit = Exit::Failed;
        }
        let table = |wanted: bool, name| wanted.then(|| place(name));
        let breakdown = table(tables.csv, BREAKDOWN_FILE);
        let parquet = table(tables.parquet, PARQUET_FILE);
        let invalid = place(INVALID_FILE);
        if settings.json() {
            results.push(json!({
                "file": file,
                "joined_with": group[1..],
                "breakdown": breakdown,
                "parquet": parquet,
                "invalid_traces": invalid,
                "valid": summary.valid,
                "invalid": summary.invalid,
                "reasons": summary.reasons,
                "cut_off": cut_off,
                "differs_from_study": summary.differs_from_study,
                "repaired": summary.repaired,
            }));
            continue;
        }
        let names: Vec<String> = group.iter().map(|file| file.display().to_string()).collect();
        let mut text = format!(
            "{}: {} valid, {}\n",
            names.join(" + "),
            summary.valid,
            counted(summary.invalid, "invalid trace")
        );
        for (reason, count) in &summary.reasons {
            let _ = writeln!(text, "  {count} × {reason}");
        }
        if summary.differs_from_study > 0 {
            let count = summary.differs_from_study;
            let _ = writeln!(text, "  {count} of the valid ones differ from `--algorithm study`");
        }
        if summary.repaired > 0 {
            let _ = writeln!(text, "  {} of the valid ones were repaired", summary.repaired);
        }
        for written in [breakdown, parquet, Some(invalid)].into_iter().flatten() {
            let _ = writeln!(text, "  wrote {}", written.display());
        }
        if tables.csv && summary.valid <= MOST_SUMMARIZED {
            text.push_str(&summary_of(terminal, file, &place(BREAKDOWN_FILE))?);
        }
        terminal.data(&text)?;
    }
    if settings.json() {
        terminal.data(&format!("{:#}", json!({ "version": 1, "files": results })))?;
    }
    Ok(exit)
}

/// Traces of which a table is shown at once: it takes them all into memory. `sb report FOLDER` shows it for more.
const MOST_SUMMARIZED: u64 = 200_000;

/// The table of a report, from the results of a file of traces.
fn summary_of(terminal: &Terminal, file: &Path, breakdown: &Path) -> Result<String, Failed> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let folder = crate::workspace::absolute(breakdown).with_file_name("");
    let summary =
        summarize(&name, &[folder]).map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
    let mut text = "\n".to_owned();
    let ink = if terminal.coloured { Ink::Coloured } else { Ink::Plain };
    // Writing to a text does not fail.
    let _ = render_summaries(&mut text, &[summary], ink);
    Ok(text)
}

/// What the options mean.
fn method(arguments: &MethodArguments) -> Result<Method, Failed> {
    let activities = match &arguments.activities {
        Some(path) => {
            Activities::read(path).map_err(|error| Failed::message(Exit::Usage, error.to_string()))?
        }
        None => Activities::default(),
    };
    let repair = arguments.repair.map(|RepairKind::ClockSkew| Repair {
        limit: i64::try_from(arguments.repair_limit.as_micros()).unwrap_or(i64::MAX),
    });
    let (source, algorithm) = (arguments.source.into(), arguments.algorithm.into());
    let join_linked = arguments.join_linked;
    Ok(Method { source, algorithm, activities, repair, join_linked })
}

/// Two files of one folder would write the same results.
pub(super) fn refuse_common_results(files: &[PathBuf]) -> Result<(), Failed> {
    let mut folders: HashMap<PathBuf, &Path> = HashMap::new();
    for file in files {
        let folder = crate::workspace::absolute(file).with_file_name("");
        if let Some(other) = folders.insert(folder, file) {
            return Err(Failed::helped(
                Exit::Usage,
                format!(
                    "the results of `{}` and `{}` would replace each other",
                    other.display(),
                    file.display()
                ),
                "results go beside the file: put the files into folders of their own",
            ));
        }
    }
    Ok(())
}

/// Shows how many bytes of a file are done while it is worked on.
pub(super) fn with_progress<T>(
    terminal: &Terminal,
    file: &Path,
    work: impl FnOnce(&dyn Fn(u64)) -> io::Result<T>,
) -> io::Result<T> {
    let length = std::fs::metadata(file).map_or(0, |data| data.len());
    let bar = terminal.lively.then(|| terminal.bars().add(progress_bar(length, file)));
    let done = work(&|bytes| {
        if let Some(bar) = &bar {
            bar.set_position(bytes);
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    done
}

fn progress_bar(length: u64, file: &Path) -> indicatif::ProgressBar {
    let style =
        indicatif::ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}")
            .unwrap_or_else(|_| indicatif::ProgressStyle::default_bar());
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    indicatif::ProgressBar::new(length).with_style(style).with_message(name)
}

pub(super) async fn trace(terminal: &Terminal, settings: &Settings, command: TraceCommand) -> Outcome {
    match command {
        TraceCommand::Show { id, file, svg, join_linked } => {
            let files = files_of(terminal, settings, file).await?;
            show(terminal, find(&files, &id, join_linked)?, svg.as_deref())
        }
        TraceCommand::Path { id, file, join_linked } => {
            let files = files_of(terminal, settings, file).await?;
            print_path(terminal, settings, find(&files, &id, join_linked)?)
        }
        TraceCommand::List { file, slowest, join_linked } => {
            let files = files_of(terminal, settings, file).await?;
            list(terminal, settings, &files, slowest, join_linked)
        }
        TraceCommand::Export { id, file, join_linked, output } => {
            let files = files_of(terminal, settings, file).await?;
            paths::export(terminal, settings, find(&files, &id, join_linked)?, output.as_deref())
        }
        TraceCommand::Aggregate { what, against, group_by, join_linked, output } => {
            let files = paths::files_of(terminal, settings, &what).await?;
            let against = match against.as_slice() {
                [] => None,
                against => Some(paths::files_of(terminal, settings, against).await?),
            };
            let asked = paths::Aggregate { files, against, group_by, join_linked, output };
            paths::aggregate(terminal, settings, &asked)
        }
        TraceCommand::WhatIf { what, operation, activity, cold_starts, join_linked } => {
            let change = what_if::change(&operation, &activity, cold_starts)?;
            let files = paths::files_of(terminal, settings, &what).await?;
            what_if::what_if(terminal, settings, &files, join_linked, &change)
        }
    }
}

/// The files of traces at a path, or of the last invocation.
async fn files_of(
    terminal: &Terminal,
    settings: &Settings,
    files: Vec<PathBuf>,
) -> Result<Vec<Vec<PathBuf>>, Failed> {
    let paths = match files.as_slice() {
        [] => vec![report::last_traces(terminal, settings).await?],
        _ => files,
    };
    refuse_input_beside_files(&paths)?;
    groups(&paths).map_err(unknown_format)
}

/// `files` is one file, or those that hold parts of the same traces.
fn for_each(
    files: &[PathBuf],
    part: &str,
    join_linked: bool,
    each: impl FnMut(Result<Recorded<'_>, Rejected>) -> bool,
) -> io::Result<()> {
    match files {
        [file] if join_linked => for_each_joined_trace(file, part, each),
        [file] => for_each_trace(file, part, each),
        parts => for_each_fused_trace(parts, each),
    }
}

/// An id as the other standard writes it: `1-5759e988-bd862e3fe1be46a994272793` for X-Ray is
/// `5759e988bd862e3fe1be46a994272793` for W3C, whose `traceparent` has it between two hyphens.
fn in_other_form(id: &str) -> Option<String> {
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some((time, rest)) = id.strip_prefix("1-").and_then(|id| id.split_once('-')) {
        return (time.len() == 8 && rest.len() == 24 && is_hex(time) && is_hex(rest))
            .then(|| format!("{time}{rest}"));
    }
    let id = id.strip_prefix("00-").and_then(|id| id.split('-').next()).unwrap_or(id);
    (id.len() == 32 && is_hex(id)).then(|| format!("1-{}-{}", &id[..8], &id[8..]).to_ascii_lowercase())
}

/// The trace with an id or with the only one that starts so.
pub(super) fn find(
    files: &[Vec<PathBuf>],
    wanted: &str,
    join_linked: bool,
) -> Result<Recorded<'static>, Failed> {
    let mut found: Vec<Recorded<'static>> = Vec::new();
    let mut exact = None;
    let other = in_other_form(wanted);
    for (file, wanted) in files.iter().flat_map(|file| [(file, Some(wanted)), (file, other.as_deref())]) {
        let Some(wanted) = wanted else { continue };
        // Most traces need not be read: an id stands in the text as it is written.
        for_each(file, wanted, join_linked, |recorded| {
            let Ok(recorded) = recorded else { return true };
            if recorded.id == wanted {
                exact = Some(recorded.into_owned());
            } else if recorded.id.starts_with(wanted)
                && found.iter().all(|known| known.id != recorded.id)
                && found.len() < 10
            {
                found.push(recorded.into_owned());
            }
            exact.is_none()
        })?;
        if let Some(recorded) = exact {
            return Ok(recorded);
        }
    }
    match found.as_slice() {
        [] => Err(Failed::helped(
            Exit::Failed,
            format!("there is no trace `{wanted}`"),
            if join_linked {
                "`sb trace list --join-linked` lists the traces; what is part of another one is found without the option"
            } else {
                "`sb trace list` lists the traces"
            },
        )),
        [_] => Ok(found.swap_remove(0)),
        _ => {
            let ids: Vec<&str> = found.iter().map(|recorded| &*recorded.id).collect();
            Err(Failed::helped(Exit::Usage, format!("several traces start with `{wanted}`"), ids.join(", ")))
        }
    }
}

pub(super) fn show(terminal: &Terminal, recorded: Recorded<'_>, svg: Option<&Path>) -> Outcome {
    let waterfall = Method::default()
        .inspect(recorded, |trace, analysis| Waterfall::new(trace, &analysis))
        .map_err(|rejected| Failed::message(Exit::Failed, rejected.reason.to_string()))?;
    let mut out = String::new();
    if let Some(file) = svg {
        waterfall.to_svg(&mut out).map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
        std::fs::write(file, out).map_err(|error| {
            let message = format!("cannot write `{}`: {error}", file.display());
            Failed::helped(Exit::Failed, message, "check the path and its permissions")
        })?;
        terminal.say(&format!("wrote {}", file.display()));
        return Ok(Exit::Done);
    }
    let ink = if terminal.coloured { Ink::Coloured } else { Ink::Plain };
    waterfall
        .to_terminal(&mut out, terminal.width(), ink)
        .map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
    terminal.data(&out)?;
    Ok(Exit::Done)
}

fn print_path(terminal: &Terminal, settings: &Settings, recorded: Recorded<'_>) -> Outcome {
    let (value, lines) = Method::default()
        .inspect(recorded, |trace, analysis| {
            let analysis = analysis?;
            let start = trace.span(trace.root()).start;
            let offset = |seconds: f64| microseconds(seconds - start);
            let origin = microseconds(start);
            let path: Vec<Value> = analysis
                .path
                .iter()
                .map(|&place| {
                    let span = trace.span(place);
                    json!({
                        "id": span.id, "name": span.name, "origin": span.origin,
                        "start_us": offset(span.start), "end_us": offset(span.end),
                    })
                })
                .collect();
            let pieces: Vec<Value> = analysis
                .pieces
                .iter()
                .map(|piece| {
                    json!({
                        "activity": piece.activity.name(), "span": trace.span(piece.span).id,
                        "start_us": piece.start - origin, "end_us": piece.end - origin,
                    })
                })
                .collect();
            let mut lines = format!("{}  {}\n", printable(&trace.id), format_duration(analysis.row.duration));
            for piece in &analysis.pieces {
                let from = (piece.start - origin) as f64 / 1e3;
                let length = (piece.end - piece.start) as f64 / 1e3;
                let _ = writeln!(
                    lines,
                    "  {from:>11.3} ms {length:>11.3} ms  {:<24}  {}",
                    piece.activity.name(),
                    printable(&trace.span(piece.span).name)
                );
            }
            let value = json!({
                "version": 1, "trace_id": trace.id, "duration_us": analysis.row.duration,
                "rule": rule_name(analysis.rule), "path": path, "pieces": pieces,
            });
            Ok((value, lines))
        })
        .map_err(|rejected| rejected.reason)
        .flatten()
        .map_err(|reason| Failed::message(Exit::Failed, reason.to_string()))?;
    terminal.data(&if settings.json() { format!("{value:#}") } else { lines })?;
    Ok(Exit::Done)
}

/// What explains a trace: a rule of the study's algorithm, or the definition.
fn rule_name(rule: Option<Rule>) -> &'static str {
    match rule {
        Some(Rule::Published) => "published",
        Some(Rule::Paper) => "paper",
        None => "exact",
    }
}

/// A trace in a list. Duration in microseconds; none where the trace cannot be read.
struct Listed {
    id: String,
    duration: Option<i64>,
    request: Option<String>,
    cold_starts: Option<u64>,
    /// Whether its invocation failed.
    failed: bool,
    /// Why it is not valid.
    reason: Option<String>,
}

impl Listed {
    fn state(&self) -> String {
        let reason = printable(self.reason.as_deref().unwrap_or("valid"));
        if self.failed { format!("{reason}, failed") } else { reason }
    }
}

pub(super) fn list(
    terminal: &Terminal,
    settings: &Settings,
    groups: &[Vec<PathBuf>],
    slowest: Option<usize>,
    join_linked: bool,
) -> Outcome {
    let mut traces = Vec::new();
    for files in groups {
        let Some(file) = files.first() else { continue };
        let requests = Requests::beside(file)?;
        for_each(files, "", join_linked, |recorded| {
            traces.push(listed(recorded, &requests));
            if let Some(slowest) = slowest.filter(|slowest| traces.len() > 4 * slowest + 1_000) {
                keep_slowest(&mut traces, slowest);
            }
            true
        })?;
    }
    if let Some(slowest) = slowest {
        keep_slowest(&mut traces, slowest);
    }
    let mut text = String::new();
    if settings.json() {
        let traces: Vec<Value> = traces
            .iter()
            .map(|trace| {
                json!({
                    "trace_id": trace.id, "duration_us": trace.duration, "request": trace.request,
                    "cold_starts": trace.cold_starts, "failed": trace.failed, "valid": trace.reason.is_none(), "reason": trace.reason,
                })
            })
            .collect();
        let _ = write!(text, "{:#}", json!({ "version": 1, "traces": traces }));
    } else {
        if !traces.is_empty() {
            let _ = writeln!(
                text,
                "{:<35}  {:>15}  {:<20}  {:>11}  state",
                "trace", "duration", "request", "cold starts"
            );
        }
        for trace in &traces {
            let _ = writeln!(
                text,
                "{:<35}  {:>15}  {:<20}  {:>11}  {}",
                printable(&trace.id),
                trace.duration.map_or("-".to_owned(), format_duration),
                printable(trace.request.as_deref().unwrap_or("-")),
                trace.cold_starts.map_or("-".to_owned(), |count| count.to_string()),
                trace.state()
            );
        }
    }
    if !text.is_empty() {
        terminal.data(&text)?;
    }
    Ok(Exit::Done)
}

/// The id decides between equal durations, so that the same file gives the same list.
fn keep_slowest(traces: &mut Vec<Listed>, count: usize) {
    traces.sort_by(|left, right| right.duration.cmp(&left.duration).then_with(|| left.id.cmp(&right.id)));
    traces.truncate(count);
}

fn listed(recorded: Result<Recorded<'_>, Rejected>, requests: &Requests) -> Listed {
    let look = |trace: &Trace<'_>, analysis: Result<Analysis, Invalid>| {
        let (cold_starts, reason) = match analysis {
            Ok(analysis) => (Some(analysis.row.num_cold_starts), None),
            Err(reason) => (None, Some(reason.code().to_owned())),
        };
        Listed {
            id: trace.id.to_string(),
            duration: Some(microseconds(trace.duration)),
            request: requests.get(&trace.id).map(str::to_owned),
            cold_starts,
            failed: requests.failed(trace),
            reason,
        }
    };
    let seen = recorded.and_then(|recorded| Method::default().inspect(recorded, look));
    seen.unwrap_or_else(|rejected| {
        let id = rejected.id.unwrap_or_default();
        Listed {
            request: requests.get(&id).map(str::to_owned),
            id,
            duration: None,
            cold_starts: None,
            failed: false,
            reason: Some(rejected.reason.code().to_owned()),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_w3c_is_one_of_xray_and_the_other_way_round() {
        let (xray, w3c) = ("1-5759e988-bd862e3fe1be46a994272793", "5759e988bd862e3fe1be46a994272793");
        let traceparent = format!("00-{w3c}-53995c3f42cd8ad8-01");
        for (id, other) in [
            (xray, Some(w3c)),
            (w3c, Some(xray)),
            (&traceparent, Some(xray)),
            ("1-5759e988", None),
            ("5759", None),
        ] {
            assert_eq!(in_other_form(id).as_deref(), other, "{id}");
        }
    }
}
