//! The critical paths of many traces, and a trace for other tools: `sb trace aggregate | export`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Outcome;
use super::output::Failed;
use super::report::traces_of_run;
use crate::cli::OutputFormat;
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::settings::Settings;
use crate::terminal::{Style, Terminal};
use crate::workspace::quoted;
use sb_analysis::{
    FlameGraph, GroupKey, Method, PathDifference, PathTree, Recorded, Stack, TraceExport, TypicalTrace,
    UnknownFormat, are_parts_of_traces, find_traces, folded, for_each_measured_together, printable,
    speedscope,
};

/// What `sb trace aggregate` is asked for.
pub(super) struct Aggregate {
    pub(super) files: Vec<Vec<PathBuf>>,
    pub(super) against: Option<Vec<Vec<PathBuf>>>,
    pub(super) group_by: Vec<String>,
    pub(super) join_linked: bool,
    pub(super) output: Option<PathBuf>,
}

/// Nodes with a smaller share of all time are not in the table.
const SMALLEST_SHARE: f64 = 0.002;
/// Differences in the table.
const MOST_DIFFERENCES: usize = 20;
/// Traces that are named as typical.
const TYPICAL: usize = 3;

/// The files of traces that are meant by paths and runs, those together that hold parts of the same traces. Without any, those of
/// the last run that has some.
pub(super) async fn files_of(
    terminal: &Terminal,
    settings: &Settings,
    what: &[PathBuf],
) -> Result<Vec<Vec<PathBuf>>, Failed> {
    if what.is_empty() {
        return Ok(groups(&traces_of_run(terminal, settings, None).await?)?);
    }
    let mut paths = Vec::new();
    for item in what {
        // The standard input is no path, and no run either.
        if item.exists() || item == Path::new("-") {
            paths.push(item.clone());
            continue;
        }
        let name = item.to_string_lossy();
        // What looks like a path is none of a run's names.
        if name.contains(std::path::MAIN_SEPARATOR) {
            let message = format!("there is no file or folder `{name}`");
            return Err(Failed::helped(
                Exit::Failed,
                message,
                "name a run, a trace file, or a folder with traces",
            ));
        }
        paths.extend(traces_of_run(terminal, settings, Some(&name)).await?);
    }
    refuse_input_beside_files(&paths)?;
    groups(&paths).map_err(unknown_format)
}

/// The files at these paths, those together that hold parts of the same traces: files of X-Ray and of OpenTelemetry that are
/// named. In folders, each file has whole traces.
pub(super) fn groups(paths: &[PathBuf]) -> io::Result<Vec<Vec<PathBuf>>> {
    let files = find_traces(paths)?;
    let are_named = files.len() > 1 && paths.iter().all(|path| path.is_file());
    if are_named && are_parts_of_traces(&files)? {
        return Ok(vec![files]);
    }
    Ok(files.into_iter().map(|file| vec![file]).collect())
}

/// A file that is of no known format is a wrong argument.
pub(super) fn unknown_format(error: io::Error) -> Failed {
    let is_unknown = matches!(error.get_ref(), Some(inner) if inner.is::<UnknownFormat>());
    if is_unknown { Failed::message(Exit::Usage, error.to_string()) } else { error.into() }
}

/// The standard input can be read only once, and whether it holds parts of the traces in files is known after that.
pub(super) fn refuse_input_beside_files(paths: &[PathBuf]) -> Result<(), Failed> {
    if paths.len() < 2 || paths.iter().all(|path| path != Path::new("-")) {
        return Ok(());
    }
    let message = "the standard input (`-`) is not read together with files";
    Err(Failed::helped(Exit::Usage, message, "write it into a file first: `cat > traces-of-input.json`"))
}

/// Writes what a command made to a file, or to standard output.
fn deliver(terminal: &Terminal, output: Option<&Path>, text: &str) -> Outcome {
    match output {
        None => terminal.data(text)?,
        Some(file) => {
            sb_durable::write(file, sb_durable::Options::new(), text.as_bytes())
                .map_err(std::io::Error::other)?;
            terminal.say(&format!("wrote {}", file.display()));
        }
    }
    Ok(Exit::Done)
}

/// A trace in a format of another tool.
pub(super) fn export(
    terminal: &Terminal,
    settings: &Settings,
    recorded: Recorded<'_>,
    output: Option<&Path>,
) -> Outcome {
    let text = Method::default()
        .inspect(recorded, |trace, analysis| {
            let analysis = analysis?;
            let export = TraceExport::new(trace, &analysis);
            Ok(match settings.format {
                OutputFormat::Speedscope => export.speedscope().to_string(),
                OutputFormat::Jaeger => export.jaeger().to_string(),
                OutputFormat::Folded => export.folded(),
                _ => export.chrome().to_string(),
            })
        })
        .map_err(|rejected| rejected.reason)
        .flatten()
        .map_err(|reason| Failed::message(Exit::Failed, reason.to_string()))?;
    deliver(terminal, output, &text)
}

/// Trees by the values of their group.
struct Trees {
    by_group: BTreeMap<Vec<String>, PathTree>,
    invalid: u64,
}

fn trees(files: &[Vec<PathBuf>], keys: &[GroupKey], join_linked: bool) -> Result<Trees, Failed> {
    let mut trees = Trees { by_group: BTreeMap::new(), invalid: 0 };
    let Trees { by_group, invalid } = &mut trees;
    for_each_measured_together(
        files,
        join_linked,
        &mut |trace, analysis, measured| {
            let group = keys.iter().map(|key| measured.value(key, trace, analysis)).collect();
            by_group.entry(group).or_default().add(trace, analysis, measured.file_number);
        },
        &mut |_| *invalid += 1,
    )?;
    Ok(trees)
}

pub(super) fn aggregate(terminal: &Terminal, settings: &Settings, asked: &Aggregate) -> Outcome {
    if asked.against.is_some() && matches!(settings.format, OutputFormat::Folded | OutputFormat::Speedscope) {
        return Err(Failed::helped(
            Exit::Usage,
            "this format has one set of traces and cannot show what `--against` names",
            "compare with `--format svg`, `--format json` or as text, or leave `--against` out",
        ));
    }
    let keys: Vec<GroupKey> = asked.group_by.iter().map(|word| GroupKey::parse(word)).collect();
    let found = trees(&asked.files, &keys, asked.join_linked)?;
    let before = match &asked.against {
        Some(files) => Some(trees(files, &keys, asked.join_linked)?),
        None => None,
    };
    refuse_nothing(&keys, &found, "")?;
    if let Some(before) = &before {
        refuse_nothing(&keys, before, " to compare with")?;
        if found.by_group.keys().all(|group| !before.by_group.contains_key(group)) {
            return Err(Failed::helped(
                Exit::Failed,
                "no group has traces on both sides",
                "compare what has the same values, or leave `--group-by` out",
            ));
        }
    }
    let aggregated = Aggregated { asked, keys, found, before };
    let text = match settings.format {
        OutputFormat::Json => format!("{:#}", aggregated.json()),
        OutputFormat::Folded => aggregated.folded(),
        OutputFormat::Speedscope => aggregated.speedscope(),
        OutputFormat::Svg => aggregated.svg()?,
        _ => aggregated.text(terminal),
    };
    deliver(terminal, asked.output.as_deref(), &text)
}

/// A key that no trace has is a mistake, and so is a set without valid traces.
fn refuse_nothing(keys: &[GroupKey], trees: &Trees, which: &str) -> Result<(), Failed> {
    if trees.by_group.is_empty() {
        let message = format!("there is no valid trace{which}; {} are invalid", trees.invalid);
        return Err(Failed::helped(Exit::Failed, message, "`sb trace list` says why each is invalid"));
    }
    for (place, key) in keys.iter().enumerate() {
        if trees.by_group.keys().all(|group| group[place].is_empty()) {
            return Err(Failed::helped(
                Exit::Usage,
                format!("no trace{which} has a value for `{}`", key.name()),
                "group by app, request, cold, or the name of a factor or label in the run.json beside the traces",
            ));
        }
    }
    Ok(())
}

struct Aggregated<'a> {
    asked: &'a Aggregate,
    keys: Vec<GroupKey>,
    found: Trees,
    before: Option<Trees>,
}

impl Aggregated<'_> {
    fn groups(&self) -> impl Iterator<Item = (&Vec<String>, &PathTree, Option<&PathTree>)> {
        self.found.by_group.iter().map(|(group, tree)| {
            (group, tree, self.before.as_ref().and_then(|before| before.by_group.get(group)))
        })
    }

    fn name(&self, group: &[String]) -> String {
        let value = |(key, value): (&GroupKey, &String)| match (key, value.as_str()) {
            (_, "") => format!("no {}", key.name()),
            (GroupKey::Value(name), value) => format!("{name} {value}"),
            (_, value) => value.to_owned(),
        };
        let values: Vec<String> = self.keys.iter().zip(group).map(value).collect();
        if values.is_empty() { "all traces".to_owned() } else { printable(&values.join(", ")) }
    }

    /// The stacks of each group, with its name as the first frame where there are several.
    fn stacks(&self) -> Vec<(String, Vec<Stack>)> {
        let groups = self.groups().map(|(group, tree, _)| (self.name(group), tree.stacks()));
        groups.collect()
    }

    fn stacks_of_all(&self) -> Vec<Stack> {
        let several = self.found.by_group.len() > 1;
        let mut all = Vec::new();
        for (name, stacks) in self.stacks() {
            all.extend(stacks.into_iter().map(|mut stack| {
                if several {
                    stack.frames.insert(0, name.clone());
                }
                stack
            }));
        }
        all
    }

    fn folded(&self) -> String {
        folded(&self.stacks_of_all())
    }

    fn speedscope(&self) -> String {
        speedscope(&self.stacks()).to_string()
    }

    fn svg(&self) -> Result<String, Failed> {
        let traces: u64 = self.found.by_group.values().map(PathTree::traces).sum();
        let graph = match &self.before {
            None => {
                let title = format!("Critical paths of {}", counted(traces, "trace"));
                FlameGraph::new(&title, &self.stacks_of_all(), traces)
            }
            Some(_) => {
                let mut groups = self.groups();
                let (Some((group, tree, Some(before))), None) = (groups.next(), groups.next()) else {
                    return Err(Failed::helped(
                        Exit::Usage,
                        "a picture of a difference shows one group, and there are several",
                        "leave `--group-by` out, or name only the traces of one group",
                    ));
                };
                let (from, to) = (before.traces(), tree.traces());
                let title = format!(
                    "Critical paths of {}: {} before, {to} after",
                    self.name(group),
                    counted(from, "trace")
                );
                FlameGraph::of_difference(&title, &before.difference_to(tree))
            }
        };
        let mut svg = String::new();
        graph.to_svg(&mut svg).map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
        Ok(svg)
    }

    /// The files that have a trace, or parts of it.
    fn files(&self, trace: &TypicalTrace) -> &[PathBuf] {
        self.asked.files.get(trace.file as usize).map_or(&[], Vec::as_slice)
    }

    fn typical(tree: &PathTree) -> [(&'static str, f64, Vec<&TypicalTrace>); 2] {
        let durations = tree.durations_ms();
        let [p50, p99] = durations.map_or([0.0; 2], |durations| [durations.p50, durations.p99]);
        [("median", p50, tree.typical(p50, TYPICAL)), ("p99", p99, tree.typical(p99, TYPICAL))]
    }

    fn json(&self) -> Value {
        let groups: Vec<Value> = self
            .groups()
            .map(|(group, tree, before)| {
                let values: BTreeMap<&str, &String> =
                    self.keys.iter().map(GroupKey::name).zip(group).collect();
                let typical: BTreeMap<&str, Vec<Value>> = Self::typical(tree)
                    .into_iter()
                    .map(|(which, _, traces)| {
                        let trace = |trace: &&TypicalTrace| {
                            let files = self.files(trace);
                            let mut value = json!({
                                "trace_id": trace.id, "duration_ms": trace.duration as f64 / 1e3, "file": files.first(),
                            });
                            if files.len() > 1 {
                                value["files"] = json!(files);
                            }
                            value
                        };
                        (which, traces.iter().map(trace).collect())
                    })
                    .collect();
                let mut value = json!({
                    "group": values, "traces": tree.traces(), "total_ms": tree.total_ms(),
                    "duration_ms": tree.durations_ms(), "paths": tree.rows(), "typical": typical,
                });
                if self.before.is_some() {
                    value["against"] = before.map_or(Value::Null, |before| {
                        json!({
                            "traces": before.traces(), "duration_ms": before.durations_ms(),
                            "difference": before.difference_to(tree),
                        })
                    });
                }
                value
            })
            .collect();
        let mut value = json!({ "version": 1, "invalid": self.found.invalid, "groups": groups });
        if let Some(before) = &self.before {
            value["invalid_against"] = json!(before.invalid);
        }
        value
    }

    fn text(&self, terminal: &Terminal) -> String {
        let mut text = String::new();
        if let Some(against) = &self.asked.against {
            let _ = writeln!(text, "before  {}\nafter   {}\n", named(against), named(&self.asked.files));
        }
        for (group, tree, before) in self.groups() {
            let durations = tree.durations_ms();
            let [p50, p95, p99] = durations.map_or([0.0; 3], |it| [it.p50, it.p95, it.p99]);
            let name = self.name(group);
            // A file has no colours.
            let name = if self.asked.output.is_none() { terminal.paint(Style::Strong, &name) } else { name };
            let traces = counted(tree.traces(), "trace");
            let _ = writeln!(text, "{name}: {traces}, p50 {p50:.3} ms, p95 {p95:.3} ms, p99 {p99:.3} ms\n");
            match (&self.before, before) {
                (Some(_), Some(before)) => differences(&mut text, tree, before),
                (Some(_), None) => text.push_str("  no traces to compare with\n\n"),
                (None, _) => self.tree(&mut text, tree),
            }
        }
        let invalid = self.found.invalid + self.before.as_ref().map_or(0, |before| before.invalid);
        if invalid > 0 {
            let _ =
                writeln!(text, "left out: {}; `sb trace list` says why", counted(invalid, "invalid trace"));
        }
        text
    }

    fn tree(&self, text: &mut String, tree: &PathTree) {
        let _ = writeln!(
            text,
            "  {:<52}{:>8}{:>8}{:>12}{:>12}{:>12}{:>12}",
            "on the critical path", "traces", "share", "own ms", "p50 ms", "p95 ms", "p99 ms"
        );
        let rows = tree.rows();
        let (shown, hidden): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.share >= SMALLEST_SHARE);
        for row in shown {
            let operation = sb_analysis::Operation { name: row.name.clone(), service: row.service.clone() };
            let name = format!("{:1$}{2}", "", row.depth.min(12) * 2, printable(&operation.to_string()));
            let _ = writeln!(
                text,
                "  {:<52}{:>8}{:>7.1}%{:>12.3}{:>12.3}{:>12.3}{:>12.3}",
                shortened(&name, 51),
                row.traces,
                row.share * 100.0,
                row.own_ms / row.traces.max(1) as f64,
                row.per_trace_ms.p50,
                row.per_trace_ms.p95,
                row.per_trace_ms.p99,
            );
        }
        if !hidden.is_empty() {
            let _ = writeln!(
                text,
                "  {} more, each with less than {:.1} % of the time; `--format json` has all",
                hidden.len(),
                SMALLEST_SHARE * 100.0
            );
        }
        text.push_str("\n  share: of the time on all critical paths. own: its own part, mean of the traces that have it.\n");
        text.push_str("  p50, p95, p99: its time with all beneath it, over the traces that have it.\n\n");
        let join = if self.asked.join_linked { " --join-linked" } else { "" };
        for (which, _, traces) in Self::typical(tree) {
            let _ = writeln!(text, "  typical of the {which}:");
            for trace in traces {
                let files: Vec<String> = self.files(trace).iter().map(|file| quoted(file)).collect();
                let file = files.join(" ");
                let duration = trace.duration as f64 / 1e3;
                let id = printable(&trace.id);
                let _ = writeln!(text, "    {duration:>12.3} ms  sb trace show {id} {file}{join}");
            }
        }
        text.push('\n');
    }
}

/// The first files of one side, and how many more there are.
fn named(files: &[Vec<PathBuf>]) -> String {
    let all: Vec<&PathBuf> = files.iter().flatten().collect();
    let first: Vec<String> = all.iter().take(2).map(|file| printable(&file.display().to_string())).collect();
    match all.len().saturating_sub(2) {
        0 => first.join(", "),
        more => format!("{} and {}", first.join(", "), counted(more, "more file")),
    }
}

fn differences(text: &mut String, after: &PathTree, before: &PathTree) {
    let difference = before.difference_to(after);
    let sum = |side: fn(&PathDifference) -> f64| difference.iter().map(side).sum::<f64>();
    let (from, to) = (sum(|it| it.before_ms), sum(|it| it.after_ms));
    let _ = writeln!(
        text,
        "  mean on the critical path, in ms per trace; {} before",
        counted(before.traces(), "trace")
    );
    let _ = writeln!(text, "  {:>12}{:>12}{:>12}  operation, activity", "before", "after", "change");
    let _ = writeln!(text, "  {from:>12.3}{to:>12.3}{:>+12.3}  the whole", to - from);
    for item in difference.iter().take(MOST_DIFFERENCES) {
        let name = item.frames.last().map_or("", String::as_str);
        let above = item.frames.iter().rev().nth(1).map(|above| format!(" in {above}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {:>12.3}{:>12.3}{:>+12.3}  {}, {}",
            item.before_ms,
            item.after_ms,
            item.change_ms(),
            printable(&format!("{name}{above}")),
            item.activity.name()
        );
    }
    if difference.len() > MOST_DIFFERENCES {
        let _ = writeln!(
            text,
            "  {} smaller changes; `--format json` has all",
            difference.len() - MOST_DIFFERENCES
        );
    }
    text.push('\n');
}

/// Cut with an ellipsis.
pub(super) fn shortened(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    text.chars().take(columns.saturating_sub(1)).chain(['…']).collect()
}
