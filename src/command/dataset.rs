//! `sb dataset`: production traces of serverless platforms, and what of them becomes a load.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use sb_dataset::{
    Classified, Confusion, Criteria, Dataset, DatasetError, FunctionTotals, Key, Label, Options,
    PatternClass, RateDays, Sampled, Summary, Totals, Wanted, Window, classify, contact_sheet, export,
    in_line, read_labels, sample, sampled_csv, window_svg, windows_csv,
};
use sb_figures::{Axis, Bars, Chart, Figure, FileWriter, Layout, Order, Part, Row, Table, Tone};

mod earlier;
mod mix;

use super::Outcome;
use super::output::Failed;
use crate::cli::{DatasetCommand, FitArguments, OutputFormat, SourceArguments, WindowArguments};
use crate::exit_code::Exit;
use crate::printable::decimal;
use crate::settings::Settings;
use crate::terminal::Terminal;

/// Where the study's windows begin.
const STUDY_STARTS: [u16; 2] = [600, 1080];
/// How long they last, in minutes.
const STUDY_MINUTES: u32 = 20;

impl From<DatasetError> for Failed {
    fn from(error: DatasetError) -> Self {
        let exit = if matches!(error, DatasetError::Request { .. }) { Exit::Usage } else { Exit::Failed };
        let help = error.help().to_owned();
        Self::helped(exit, error.to_string(), help)
    }
}

pub(super) fn dataset(terminal: &Terminal, settings: &Settings, command: DatasetCommand) -> Outcome {
    match command {
        DatasetCommand::Summarize { source, fit, figure } => {
            summarize(terminal, settings, &source, fit, figure.as_deref())
        }
        DatasetCommand::Sample { source, fit, windows, count, seed, output } => {
            expect_sample(&output)?;
            let read = Read::new(terminal, &source)?;
            draw(terminal, &read, fit, &windows, (count, seed), &output)
        }
        DatasetCommand::Classify { source, fit, windows, labels } => {
            let read = Read::new(terminal, &source)?;
            name_patterns(terminal, settings, &read, fit, &windows, labels.as_deref())
        }
        DatasetCommand::Select { source, fit, windows, pattern, rate, labels, limit } => {
            let read = Read::new(terminal, &source)?;
            let named = Named::of(&read, fit, &windows, labels.as_deref())?;
            select(terminal, settings, named, pattern, rate, limit)
        }
        DatasetCommand::Mix {
            source,
            functions,
            rate,
            minutes,
            day,
            at,
            speed,
            without,
            seed,
            applications,
            output,
            force,
        } => {
            let read = Read::new(terminal, &source)?;
            let windows = WindowArguments { day, at: vec![at], minutes: Some(minutes), window: None };
            let [window] = *read.windows(&windows, &[])? else { unreachable!("one start is given") };
            let wanted = mix::Wanted { functions: functions as usize, rate, window, speed, without, seed };
            mix::write_plan(terminal, settings, &read, &wanted, &applications, (&output, force))
        }
        DatasetCommand::Export {
            function,
            source,
            windows,
            factor,
            owner,
            app,
            trigger,
            sum,
            into_next_day,
            invocations,
            plain,
            output,
        } => {
            let output = output.filter(|path| !is_standard_output(path));
            output.as_deref().map_or(Ok(()), expect_file)?;
            let read = Read::new(terminal, &source)?;
            let windows = read.windows(&windows, &STUDY_STARTS[..1])?;
            let [window] = *windows else {
                return Err(Failed::helped(
                    Exit::Usage,
                    format!("an export has one window, and {} are named", windows.len()),
                    "export each window into a file of its own",
                ));
            };
            let wanted = Wanted { function, owner, app, trigger, sum };
            let found = export(&read.dataset, &read.totals, &wanted, window, factor, into_next_day)?;
            let text = match (invocations, plain) {
                (true, _) => found.to_starts_csv(&read.dataset)?,
                (false, true) => found.to_plain_csv(),
                (false, false) => found.to_csv(&read.dataset),
            };
            if found.repeated_rows > 0 {
                terminal.say(&match found.repeated_rows {
                    1 => "1 row repeats the function's key; both are added up".to_owned(),
                    rows => format!("{rows} rows repeat the function's key; they are added up"),
                });
            }
            match output {
                None => terminal.data(&text)?,
                Some(path) => {
                    read.expect_other(&path)?;
                    write(&path, text.as_bytes())?;
                    let (minutes, rate) = (found.per_minute.len(), found.mean_rate());
                    terminal
                        .say(&format!("wrote {}: {minutes} min, {rate:.2} invocations/s", path.display()));
                }
            }
            Ok(Exit::Done)
        }
    }
}

/// A dataset whose totals are known.
struct Read {
    dataset: Dataset,
    totals: Totals,
}

impl Read {
    /// Says what was noticed, too.
    fn new(terminal: &Terminal, source: &SourceArguments) -> Result<Self, Failed> {
        let path = source.dataset.as_deref().unwrap_or(Path::new("."));
        let options = Options { days: source.days.clone(), empty: source.empty, ..Options::default() };
        let dataset = Dataset::open(path, options)?;
        let totals = dataset.totals()?;
        for sentence in totals.notes.sentences() {
            terminal.say(&sentence);
        }
        Ok(Self { dataset, totals })
    }

    fn has_trigger(&self, name: &str) -> bool {
        self.totals.functions.iter().any(|function| function.key.trigger() == name)
    }

    /// That a file to be written is none of the dataset.
    fn expect_other(&self, path: &Path) -> Result<(), Failed> {
        if self.dataset.includes(path) {
            return Err(Failed::helped(
                Exit::Usage,
                format!("`{}` belongs to the dataset, and would be lost", path.display()),
                "name another file",
            ));
        }
        Ok(())
    }

    fn windows(&self, arguments: &WindowArguments, starts: &[u16]) -> Result<Vec<Window>, Failed> {
        let first_day = self.totals.days.first().map(|day| day.day).unwrap_or_default();
        let day = arguments.day.unwrap_or(first_day);
        if self.totals.place_of(day).is_none() {
            return Err(Failed::helped(
                Exit::Usage,
                format!("day {day} is not read"),
                "name one of the days of the dataset, and let --days include it",
            ));
        }
        let minutes = arguments.minutes.or(arguments.window).unwrap_or(STUDY_MINUTES);
        let starts = if arguments.at.is_empty() { starts } else { &arguments.at };
        Ok(starts.iter().map(|first| Window { day, first: *first, minutes }).collect())
    }

    /// The functions that are fit; an error if there are none.
    fn fit(&self, criteria: &Criteria) -> Result<Vec<&FunctionTotals>, Failed> {
        let fit = criteria.fit(&self.totals)?;
        if fit.is_empty() {
            return Err(Failed::helped(
                Exit::Failed,
                "no function of the dataset is fit",
                "`sb dataset summarize` shows at which step they are lost; lower --min-rate, or name other days",
            ));
        }
        Ok(fit)
    }

    /// The minutes of functions in each of the windows.
    fn sampled(&self, functions: &[&FunctionTotals], windows: &[Window]) -> Result<Vec<Sampled>, Failed> {
        let keys: Vec<Key> = functions.iter().map(|function| function.key.clone()).collect();
        let mut sampled: Vec<Sampled> = functions
            .iter()
            .map(|function| {
                let place = windows.first().and_then(|window| self.totals.place_of(window.day));
                let day_total = place.and_then(|place| function.per_day[place]).unwrap_or_default();
                Sampled { key: function.key.clone(), day_total, windows: Vec::new() }
            })
            .collect();
        for window in windows {
            let minutes = self.dataset.minutes(&keys, *window)?;
            for (function, minutes) in sampled.iter_mut().zip(minutes) {
                // A function that is fit is listed every day.
                function.windows.push(minutes.unwrap_or_default());
            }
        }
        Ok(sampled)
    }
}

fn criteria(fit: FitArguments) -> Criteria {
    let without_triggers = match (fit.all_triggers, fit.without.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => Criteria::default().without_triggers,
        (false, false) => fit.without,
    };
    Criteria { without_triggers, min_rate: fit.min_rate, rate_days: fit.rate_day }
}

/// Whether the standard output is meant.
fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-") || path == Path::new("/dev/stdout")
}

/// That nothing but a regular file is in the place of a file to be written: a pipe would be waited for, and a device keeps
/// nothing.
fn expect_file(path: &Path) -> Result<(), Failed> {
    match std::fs::metadata(path) {
        Ok(about) if !about.is_file() => Err(Failed::helped(
            Exit::Usage,
            format!("`{}` is there, and is no regular file", path.display()),
            "name another file",
        )),
        _ => Ok(()),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    expect_file(path)?;
    std::fs::write(path, bytes).map_err(|error| {
        Failed::helped(
            Exit::Failed,
            format!("cannot write `{}`: {error}", path.display()),
            "name a file in a folder that exists, and that you may write to",
        )
    })
}

fn summarize(
    terminal: &Terminal,
    settings: &Settings,
    source: &SourceArguments,
    fit: FitArguments,
    figure: Option<&Path>,
) -> Outcome {
    let ending = figure.map(|path| path.extension().unwrap_or_default().to_string_lossy().into_owned());
    if let (Some(ending), Some(path)) = (&ending, figure)
        && !["svg", "png", "pdf"].contains(&ending.as_str())
    {
        return Err(Failed::helped(
            Exit::Usage,
            format!("`{}` is no figure that can be written", path.display()),
            "let its name end with .svg, .png or .pdf",
        ));
    }
    figure.map_or(Ok(()), expect_file)?;
    let read = Read::new(terminal, source)?;
    let criteria = criteria(fit);
    let summary = criteria.summary(&read.totals)?;
    for unknown in criteria.without_triggers.iter().filter(|name| !read.has_trigger(name)) {
        if criteria.without_triggers != Criteria::default().without_triggers {
            terminal.say(&format!("no function of the dataset has the trigger `{unknown}`"));
        }
    }
    if let (Some(ending), Some(path)) = (ending, figure) {
        read.expect_other(path)?;
        let files = FileWriter::new().files(&funnel_figure(&read, &criteria, &summary));
        let files = files.map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
        for file in files.iter().filter(|file| file.name.ends_with(&format!(".{ending}"))) {
            write(path, &file.bytes)?;
        }
        terminal.say(&format!("wrote {}", path.display()));
    }
    let text = match settings.format {
        OutputFormat::Json => format!("{:#}", as_json(&read, &criteria, &summary)),
        OutputFormat::Markdown => as_markdown(&read, &criteria, &summary),
        _ => as_text(&read, &criteria, &summary),
    };
    terminal.data(&text)?;
    Ok(Exit::Done)
}

fn as_json(read: &Read, criteria: &Criteria, summary: &Summary) -> serde_json::Value {
    json!({
        "version": 1,
        "dataset": { "path": read.dataset.path(), "format": read.dataset.format() },
        "days": read.totals.days,
        "criteria": { "without_triggers": criteria.without_triggers, "min_rate": criteria.min_rate },
        "funnel": summary.funnel,
        "classes": summary.classes,
        "study_classes": summary.study_classes,
        "several_triggers": summary.several_triggers,
        "changed_trigger": summary.changed_trigger,
        "notes": read.totals.notes,
    })
}

/// What a step of the funnel means here.
fn meaning(step: &str, totals: &Totals, criteria: &Criteria) -> String {
    let days = totals.days.len();
    let rate = criteria.min_rate;
    match step {
        "total" if totals.has_triggers() => "functions, each trigger apart".to_owned(),
        "total" => "functions".to_owned(),
        "available" if days == 1 => "listed on the day".to_owned(),
        "available" => format!("listed on all {days} days"),
        "no_timer" if criteria.without_triggers.is_empty() => "with any trigger".to_owned(),
        "no_timer" => format!("without the trigger {}", criteria.without_triggers.join(", ")),
        _ => match criteria.rate_days {
            RateDays::First => {
                let first = totals.days.first().map_or(1, |day| day.day);
                format!("at least {rate}/s on day {first}")
            }
            RateDays::Day(day) => format!("at least {rate}/s on day {day}"),
            RateDays::Any => format!("at least {rate}/s on any day"),
            RateDays::All => format!("at least {rate}/s on all days"),
        },
    }
}

/// `1 row`, `2,000 rows`.
fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn origin(read: &Read) -> String {
    let Totals { days, .. } = &read.totals;
    let rows: u64 = days.iter().map(|day| day.rows).sum();
    let invocations: u64 = days.iter().map(|day| day.invocations).sum();
    let range = match (days.first(), days.last()) {
        (Some(first), Some(last)) if first.day != last.day => format!("days {} to {}", first.day, last.day),
        (Some(first), _) => format!("day {}", first.day),
        _ => "no day".to_owned(),
    };
    format!(
        "{}, {range}: {}, {}",
        read.dataset.format().name(),
        counted(rows, "row"),
        counted(invocations, "invocation")
    )
}

/// Steps with what each means, how many functions are left, and how many were lost.
fn steps(read: &Read, criteria: &Criteria, summary: &Summary) -> Vec<[String; 3]> {
    let mut before: Option<u64> = None;
    let mut rows = Vec::new();
    for step in &summary.funnel {
        let lost = before.map(|before| before - step.functions).filter(|lost| *lost > 0);
        before = Some(step.functions);
        rows.push([
            meaning(step.step, &read.totals, criteria),
            grouped(step.functions),
            lost.map(|lost| format!("-{}", grouped(lost))).unwrap_or_default(),
        ]);
    }
    rows
}

/// Available functions: a row for each trigger, a column for each rate class.
fn class_table(summary: &Summary) -> (Vec<&'static str>, BTreeMap<&str, Vec<u64>>) {
    let classes: Vec<&'static str> = sb_dataset::RATE_CLASSES.map(|(class, _)| class).to_vec();
    let mut by_trigger: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for count in &summary.classes {
        let row = by_trigger.entry(&count.trigger).or_insert_with(|| vec![0; classes.len()]);
        if let Some(place) = classes.iter().position(|class| *class == count.class) {
            row[place] += count.functions;
        }
    }
    (classes, by_trigger)
}

fn changes(read: &Read, summary: &Summary) -> Option<String> {
    (summary.several_triggers > 0 && read.totals.has_triggers()).then(|| {
        format!(
            "{} several triggers; {} of them {} listed every day, but under none of their triggers on all days",
            match summary.several_triggers {
                1 => "1 function has".to_owned(),
                count => format!("{} have", counted(count, "function")),
            },
            grouped(summary.changed_trigger),
            if summary.changed_trigger == 1 { "is" } else { "are" }
        )
    })
}

fn no_triggers(read: &Read) -> Option<&'static str> {
    (!read.totals.has_triggers())
        .then_some("the dataset names no triggers, so none is left out: timers may be among the functions")
}

fn as_text(read: &Read, criteria: &Criteria, summary: &Summary) -> String {
    let mut text = format!("{}\n\n", origin(read));
    let rows = steps(read, criteria, summary);
    let width = rows.iter().map(|[meaning, ..]| meaning.chars().count()).max().unwrap_or_default();
    for [meaning, left, lost] in &rows {
        let _ = writeln!(text, "  {}", format!("{meaning:<width$}  {left:>9}  {lost:>9}").trim_end());
    }
    let (classes, by_trigger) = class_table(summary);
    let _ = write!(text, "\nFunctions listed on all days, by rate of the day:\n\n  {:<14}", "trigger");
    for class in &classes {
        let _ = write!(text, " {class:>10}");
    }
    for (trigger, counts) in by_trigger {
        let _ = write!(text, "\n  {:<14}", if trigger.is_empty() { "unknown" } else { trigger });
        for count in counts {
            let _ = write!(text, " {:>10}", grouped(count));
        }
    }
    text.push('\n');
    for sentence in changes(read, summary).iter().map(String::as_str).chain(no_triggers(read)) {
        let _ = write!(text, "\n{sentence}\n");
    }
    text
}

fn as_markdown(read: &Read, criteria: &Criteria, summary: &Summary) -> String {
    // A name of a dataset must not end its cell.
    let cell = |text: &str| text.replace('|', "\\|");
    let mut text = format!("{}\n\n| step | functions | left out |\n|---|---:|---:|\n", origin(read));
    for [meaning, left, lost] in steps(read, criteria, summary) {
        let _ = writeln!(text, "| {} | {left} | {lost} |", cell(&meaning));
    }
    let (classes, by_trigger) = class_table(summary);
    let _ = writeln!(text, "\n| trigger | {} |", classes.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(classes.len()));
    for (trigger, counts) in by_trigger {
        let counts: Vec<String> = counts.into_iter().map(grouped).collect();
        let name = if trigger.is_empty() { "unknown" } else { trigger };
        let _ = writeln!(text, "| {} | {} |", cell(name), counts.join(" | "));
    }
    let mut said = read.totals.notes.sentences();
    said.extend(changes(read, summary));
    said.extend(no_triggers(read).map(str::to_owned));
    for sentence in said {
        let _ = write!(text, "\n- {sentence}");
    }
    text
}

fn funnel_figure(read: &Read, criteria: &Criteria, summary: &Summary) -> Figure {
    let mut table = Table::new("Functions by step", &["step", "#functions"]);
    let mut rows = Vec::new();
    for (step, [meaning, left, _]) in summary.funnel.iter().zip(steps(read, criteria, summary)) {
        table.rows.push(vec![meaning.clone(), step.functions.to_string()]);
        rows.push(Row {
            name: meaning,
            values: vec![Some(step.functions as f64)],
            label: left,
            ..Row::default()
        });
    }
    let bars = Bars {
        axis: Axis::linear("functions", ""),
        layout: Layout::Stacked,
        parts: vec![Part { name: "functions".to_owned(), tone: Tone::Computation }],
        rows,
        order: Order::AsGiven,
    };
    let description = "How many functions of the dataset are left after each step.";
    Figure::new("funnel", "Functions that are fit for a load", description, Chart::Bars(bars), table)
}

fn draw(
    terminal: &Terminal,
    read: &Read,
    fit: FitArguments,
    windows: &WindowArguments,
    (count, seed): (usize, u64),
    output: &Path,
) -> Outcome {
    let windows = read.windows(windows, &STUDY_STARTS)?;
    let fit = read.fit(&criteria(fit))?;
    let chosen = sample(&fit, count, seed);
    if chosen.len() < count {
        let (functions, are) =
            (counted(chosen.len() as u64, "function"), if chosen.len() == 1 { "is" } else { "are" });
        terminal.say(&format!("only {functions} {are} fit: all are in the sample"));
    }
    let sampled = read.sampled(&chosen, &windows)?;
    let not_written = |error: sb_durable::WriteError| {
        Failed::helped(Exit::Failed, error.to_string(), "name another place with --output")
    };
    let folder = sb_durable::FolderReplacement::create(output).map_err(not_written)?;
    let whole = folder.path();
    let mut files = vec!["sampled.csv".to_owned(), "windows.csv".to_owned(), "contact-sheet.html".to_owned()];
    let day = windows.first().map_or(1, |window| window.day);
    write(&whole.join(&files[0]), sampled_csv(&sampled, day).as_bytes())?;
    write(&whole.join(&files[1]), windows_csv(&sampled).as_bytes())?;
    let title = format!(
        "{} of {}, seed {seed}",
        counted(sampled.len() as u64, "function"),
        read.dataset.format().name()
    );
    write(&whole.join(&files[2]), contact_sheet(&title, &windows, &sampled).as_bytes())?;
    let figures = whole.join("figures");
    std::fs::create_dir(&figures).map_err(|error| {
        let help = "name another place with --output";
        Failed::helped(Exit::Failed, format!("cannot create `{}`: {error}", figures.display()), help)
    })?;
    let mut written = 0;
    for (place, function) in (1..).zip(&sampled) {
        for ((number, window), minutes) in (1..).zip(&windows).zip(&function.windows) {
            let name = format!("invocations{place:03}-time{number}-count.svg");
            let picture = window_svg(function.key.function(), *window, minutes);
            write(&figures.join(&name), picture.as_bytes())?;
            files.push(format!("figures/{name}"));
            written += 1;
        }
    }
    files.push(SAMPLE_FILE.to_owned());
    files.sort();
    let about =
        json!({ "kind": SAMPLE_KIND, "version": 1, "title": title, "windows": windows, "files": files });
    write(&whole.join(SAMPLE_FILE), format!("{about:#}\n").as_bytes())?;
    // Reading took its time: look again before anything is removed.
    expect_sample(output)?;
    folder.place().map_err(not_written)?;
    terminal.say(&format!(
        "wrote {}: {} of {} that are fit, {}; open contact-sheet.html to name patterns",
        output.display(),
        counted(sampled.len() as u64, "function"),
        grouped(fit.len() as u64),
        counted(written, "figure")
    ));
    Ok(Exit::Done)
}

/// In the folder of a sample: what it is, and which files it has. Only a folder with it is replaced.
const SAMPLE_FILE: &str = "sample.json";
const SAMPLE_KIND: &str = "sb dataset sample";

/// What tells a sample of ours, and its files, from everything else.
#[derive(serde::Deserialize)]
struct KnownSample {
    kind: String,
    files: Vec<String>,
}

/// That a folder to be written is missing, empty, or an earlier sample without further files, as of a report.
fn expect_sample(folder: &Path) -> Result<(), Failed> {
    let known = |bytes: &[u8]| {
        let known: KnownSample = serde_json::from_slice(bytes).ok()?;
        (known.kind == SAMPLE_KIND).then_some(known.files)
    };
    sb_durable::expect_own(folder, SAMPLE_FILE, "sample", known)
        .map_err(|problem| Failed::message(Exit::Usage, format!("`{}` {problem}", folder.display())))
}

/// Windows of functions with the pattern that a label or a rule gives them.
struct Named {
    windows: Vec<Window>,
    rows: Vec<NamedWindow>,
    /// Labels against rules.
    confusion: Confusion,
    /// Labels whose function is not among those that are fit.
    unused: usize,
}

struct NamedWindow {
    key: Key,
    /// Place of the window, from 0.
    window: usize,
    minutes: Vec<u64>,
    by_rule: Classified,
    label: Option<PatternClass>,
}

impl NamedWindow {
    fn pattern(&self) -> PatternClass {
        self.label.unwrap_or(self.by_rule.pattern)
    }

    fn rate(&self) -> f64 {
        self.by_rule.features.mean / 60.0
    }

    fn reason(&self) -> String {
        match self.label {
            Some(_) => format!("labelled by hand; rules: {}", self.by_rule.pattern.name()),
            None => self.by_rule.rule.clone(),
        }
    }
}

impl Named {
    fn of(
        read: &Read,
        fit: FitArguments,
        windows: &WindowArguments,
        labels: Option<&Path>,
    ) -> Result<Self, Failed> {
        let windows = read.windows(windows, &STUDY_STARTS)?;
        let labels = labels.map(labels_of).transpose()?.unwrap_or_default();
        let mut by_function: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (place, label) in labels.iter().enumerate() {
            by_function.entry(label.function.as_str()).or_default().push(place);
        }
        let fit = read.fit(&criteria(fit))?;
        let mut rows = Vec::new();
        let mut confusion = Confusion::default();
        // Of each label: a function that it is of.
        let mut used: BTreeMap<usize, Key> = BTreeMap::new();
        for function in read.sampled(&fit, &windows)? {
            let key = &function.key;
            let found = by_function.get(key.function().trim()).into_iter().flatten();
            let label = found.copied().find(|place| labels[*place].is_of(key));
            if let Some(place) = label {
                let other = used.entry(place).or_insert_with(|| key.clone());
                if (other.owner(), other.app()) != (key.owner(), key.app()) {
                    return Err(Failed::helped(
                        Exit::Failed,
                        format!("the label of `{}` is of functions of several applications", key.function()),
                        format!(
                            "add the column HashApp to the labels, with `{}` and `{}`",
                            other.app(),
                            key.app()
                        ),
                    ));
                }
            }
            let label = label.map(|place| &labels[place]);
            for (window, minutes) in function.windows.into_iter().enumerate() {
                let by_rule = classify(&minutes);
                let label = label.and_then(|label| label.patterns.get(window).copied().flatten());
                if let Some(label) = label {
                    confusion.add(label, by_rule.pattern);
                }
                rows.push(NamedWindow { key: function.key.clone(), window, minutes, by_rule, label });
            }
        }
        Ok(Self { windows, rows, confusion, unused: labels.len() - used.len() })
    }
}

fn labels_of(path: &Path) -> Result<Vec<Label>, Failed> {
    let failed = |message: String| {
        Failed::helped(
            Exit::Failed,
            format!("`{}`: {message}", path.display()),
            "name a CSV file with the columns HashFunction,time1,time2, as the contact sheet saves it",
        )
    };
    let text = sb_durable::read_regular_text(path).map_err(|error| failed(error.to_string()))?;
    read_labels(&text).map_err(failed)
}

fn name_patterns(
    terminal: &Terminal,
    settings: &Settings,
    read: &Read,
    fit: FitArguments,
    windows: &WindowArguments,
    labels: Option<&Path>,
) -> Outcome {
    let named = Named::of(read, fit, windows, labels)?;
    if named.unused > 0 {
        terminal.say(&format!(
            "without effect, since their functions are not fit: {}",
            counted(named.unused as u64, "label")
        ));
    }
    match settings.format {
        OutputFormat::Json => {
            let rows: Vec<serde_json::Value> = named.rows.iter().map(as_value).collect();
            let confusion: Vec<serde_json::Value> = named
                .confusion
                .counts
                .iter()
                .map(|((label, rule), count)| json!({ "label": label, "rule": rule, "windows": count }))
                .collect();
            let value =
                json!({ "version": 1, "windows": named.windows, "functions": rows, "confusion": confusion });
            terminal.data(&format!("{value:#}"))?;
        }
        OutputFormat::Csv => terminal.data(&features_csv(&named))?,
        _ => terminal.data(&patterns_text(&named))?,
    }
    Ok(Exit::Done)
}

fn as_value(row: &NamedWindow) -> serde_json::Value {
    json!({
        "owner": row.key.owner(),
        "app": row.key.app(),
        "function": row.key.function(),
        "trigger": row.key.trigger(),
        "window": format!("time{}", row.window + 1),
        "pattern": row.pattern(),
        "by": if row.label.is_some() { "label" } else { "rule" },
        "rule_pattern": row.by_rule.pattern,
        "rule": row.by_rule.rule,
        "rate": row.rate(),
        "per_minute": row.minutes,
        "features": row.by_rule.features,
    })
}

fn features_csv(named: &Named) -> String {
    let mut text =
        "HashOwner,HashApp,HashFunction,Trigger,window,pattern,by,rate,mean,dispersion,detrended,chance,\
        peak_to_mean,zero_share,base,peaks,longest_peak,peak_share,between_share,change_at,change_explains,\
        trend_explains,change_ratio,change_step,rule"
            .to_owned();
    for row in &named.rows {
        let found = &row.by_rule.features;
        let at = found.change_at.map(|at| (at + 1).to_string()).unwrap_or_default();
        let by = if row.label.is_some() { "label" } else { "rule" };
        let _ = write!(
            text,
            "\n{},time{},{},{by},{},{},{},{},{},{},{},{},{},{},{},{},{at},{},{},{},{},\"{}\"",
            row.key,
            row.window + 1,
            row.pattern().name(),
            decimal(row.rate(), 4),
            decimal(found.mean, 3),
            decimal(found.dispersion, 4),
            decimal(found.detrended, 4),
            decimal(found.chance, 4),
            decimal(found.peak_to_mean, 3),
            decimal(found.zero_share, 4),
            found.base,
            found.peaks,
            found.longest_peak,
            decimal(found.peak_share, 4),
            decimal(found.between_share, 4),
            decimal(found.change_explains, 4),
            decimal(found.trend_explains, 4),
            decimal(found.change_ratio, 3),
            decimal(found.change_step, 3),
            row.reason(),
        );
    }
    text
}

const PATTERNS: [PatternClass; 5] = [
    PatternClass::Steady,
    PatternClass::Fluctuating,
    PatternClass::Spikes,
    PatternClass::Jump,
    PatternClass::Idle,
];

/// How a function is called in a list: with its application, where several have a function of some name.
fn shown<'a>(rows: impl Iterator<Item = &'a Key> + Clone) -> impl Fn(&Key) -> String {
    let mut apps: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let mut repeat = rows.map(|key| (key.function(), (key.owner(), key.app())));
    let is_repeated = repeat.any(|(function, app)| *apps.entry(function).or_insert(app) != app);
    move |key| {
        let function = in_line(key.function());
        if is_repeated { format!("{}/{function}", in_line(key.app())) } else { function }
    }
}

fn patterns_text(named: &Named) -> String {
    let mut text = String::new();
    let shown = shown(named.rows.iter().map(|row| &row.key));
    for row in &named.rows {
        let _ = writeln!(
            text,
            "{}  time{}  {:<11}  {:>9.2}/s  {}",
            shown(&row.key),
            row.window + 1,
            row.pattern().name(),
            row.rate(),
            row.reason()
        );
    }
    let _ = write!(text, "\n{:<12}", "window");
    for pattern in PATTERNS {
        let _ = write!(text, " {:>11}", pattern.name());
    }
    for window in 0..named.windows.len() {
        let _ = write!(text, "\n{:<12}", format!("time{}", window + 1));
        for pattern in PATTERNS {
            let is_counted = |row: &&NamedWindow| row.window == window && row.pattern() == pattern;
            let _ = write!(text, " {:>11}", named.rows.iter().filter(is_counted).count());
        }
    }
    let (all, right) = named.confusion.totals();
    if all > 0 {
        let _ = write!(
            text,
            "\n\nRules agree with {right} of {} (rows: label, columns: rule):\n\n{:<12}",
            counted(all, "label"),
            ""
        );
        for pattern in PATTERNS {
            let _ = write!(text, " {:>11}", pattern.name());
        }
        for label in PATTERNS {
            let _ = write!(text, "\n{:<12}", label.name());
            for rule in PATTERNS {
                let _ = write!(text, " {:>11}", named.confusion.count(label, rule));
            }
        }
    }
    text
}

fn select(
    terminal: &Terminal,
    settings: &Settings,
    named: Named,
    pattern: PatternClass,
    rate: Option<f64>,
    limit: usize,
) -> Outcome {
    let mut found: Vec<&NamedWindow> = named.rows.iter().filter(|row| row.pattern() == pattern).collect();
    if let Some(rate) = rate {
        // Rates differ by factors: half as much is as far away as twice as much.
        let away = |row: &NamedWindow| ((row.rate() + 1e-6) / (rate + 1e-6)).ln().abs();
        found.sort_by(|a, b| away(a).total_cmp(&away(b)));
    }
    let all = found.len();
    found.truncate(limit);
    if all == 0 {
        return Err(Failed::helped(
            Exit::Failed,
            format!("no function that is fit has the pattern {} in these windows", pattern.name()),
            "`sb dataset classify` shows the patterns that there are; try another window or day",
        ));
    }
    if settings.json() {
        let rows: Vec<serde_json::Value> = found.iter().map(|row| as_value(row)).collect();
        let value = json!({ "version": 1, "windows": named.windows, "pattern": pattern, "found": all, "functions": rows });
        terminal.data(&format!("{value:#}"))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    let shown = shown(found.iter().map(|row| &row.key));
    for row in &found {
        let window = named.windows[row.window];
        let trigger = if row.key.trigger().is_empty() { "unknown" } else { row.key.trigger() };
        let _ = writeln!(
            text,
            "{}  {trigger:<13}  day {}, from {:>4}  {:>9.2}/s  {}",
            shown(&row.key),
            window.day,
            window.first,
            row.rate(),
            row.reason()
        );
    }
    terminal.data(&text)?;
    if all > found.len() {
        terminal.say(&format!("{} more; see --limit", all - found.len()));
    }
    Ok(Exit::Done)
}
