//! Summaries as tables for the terminal: at most 80 columns wide, plain or coloured.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::{self, Write};

use sb_measurement::Outcome;

use super::Ink;
use super::summary::{ApplicationSummary, LoadFigures, TraceBreakdown, TraceFigures};
use crate::path::breakdown::Activity;
use crate::quantiles::Quantiles;

/// Nothing is wider.
const WIDTH: usize = 80;

/// Where figures begin: two columns of indent and the longest label, `container_initialization`.
const LABEL: usize = 26;

/// One figure with its unit.
const FIGURE: usize = 13;

#[derive(Clone, Copy)]
enum Emphasis {
    Heading,
    Quiet,
    Bad,
}

/// An application with more groups has a line for each of them.
const MOST_BLOCKS: usize = 4;

/// Reasons that are listed below such lines.
const MOST_REASONS: usize = 10;

/// Writes a block per summary, in the given order, with an empty line between them. Summaries of one application are
/// told apart by the labels in which they differ; when there are more than four, each has one line instead.
pub fn render_summaries(out: &mut impl Write, summaries: &[ApplicationSummary], ink: Ink) -> fmt::Result {
    let mut table = SummaryTable { out, ink };
    for (index, groups) in summaries.chunk_by(|one, next| one.application == next.application).enumerate() {
        if index > 0 {
            writeln!(table.out)?;
        }
        if groups.len() > MOST_BLOCKS {
            table.groups(groups)?;
            continue;
        }
        for (index, summary) in groups.iter().enumerate() {
            if index > 0 {
                writeln!(table.out)?;
            }
            table.application(summary, &labels(summary, groups))?;
        }
    }
    Ok(())
}

/// The labels in which a group differs from others: `rate=5 size=128`.
fn labels(of: &ApplicationSummary, groups: &[ApplicationSummary]) -> String {
    let differs = |name: &str| groups.iter().any(|other| other.labels.get(name) != of.labels.get(name));
    let told = of.labels.iter().filter(|(name, _)| differs(name));
    told.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// The first of those sentences that differ in numbers alone, and how many more there are: each trial of a plan may say the same. What
/// stands between backticks is a name, and its digits tell names apart.
fn without_likes(sentences: &[String]) -> Vec<String> {
    let mut found: Vec<(&String, usize)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for sentence in sentences {
        let mut in_name = false;
        let kind = sentence.replace(
            |letter: char| {
                in_name ^= letter == '`';
                !in_name && letter.is_ascii_digit()
            },
            "",
        );
        match places.entry(kind) {
            Entry::Occupied(place) => found[*place.get()].1 += 1,
            Entry::Vacant(place) => {
                place.insert(found.len());
                found.push((sentence, 0));
            }
        }
    }
    let told = found.into_iter().map(|(sentence, more)| match more {
        0 => sentence.clone(),
        1 => format!("{sentence} 1 more says the same with other numbers."),
        more => format!("{sentence} {more} more say the same with other numbers."),
    });
    told.collect()
}

struct SummaryTable<'a, W: Write> {
    out: &'a mut W,
    ink: Ink,
}

impl<W: Write> SummaryTable<'_, W> {
    fn application(&mut self, summary: &ApplicationSummary, labels: &str) -> fmt::Result {
        self.heading(&format!("{} {labels}", summary.application), summary.folders.len())?;
        if let Some(load) = &summary.load {
            self.load(load)?;
        }
        if let Some(traces) = &summary.traces {
            self.traces(traces)?;
        }
        for reason in without_likes(&summary.invalid) {
            self.sentence("invalid", Emphasis::Bad, &reason)?;
        }
        for warning in without_likes(&summary.warnings) {
            self.sentence("note", Emphasis::Quiet, &warning)?;
        }
        Ok(())
    }

    fn heading(&mut self, name: &str, folders: usize) -> fmt::Result {
        let name = shortened(name.trim_end(), WIDTH);
        self.emphasize(Emphasis::Heading, &name)?;
        let note =
            format!("{folders} {}", if folders == 1 { "invocation folder" } else { "invocation folders" });
        let room = WIDTH.saturating_sub(name.chars().count());
        if note.len() + 2 <= room {
            write!(self.out, "{:1$}", "", room - note.len())?;
            self.emphasize(Emphasis::Quiet, &note)?;
        }
        writeln!(self.out)
    }

    /// A line per group of one application.
    fn groups(&mut self, groups: &[ApplicationSummary]) -> fmt::Result {
        let folders = groups.iter().map(|group| group.folders.len()).sum();
        self.heading(&groups[0].application, folders)?;
        writeln!(self.out)?;
        // Folders that have traces alone: nothing says what was sent.
        let traces_only = groups.iter().all(|group| group.load.is_none());
        if traces_only {
            self.columns("duration of traces", &["valid", "failed", "p50", "p99"])?;
        } else {
            self.columns("latency from sending", &["sent", "failed", "p50", "p99"])?;
        }
        for group in groups {
            let labels = labels(group, groups);
            if labels.chars().count() > LABEL - 2 {
                // Too long for the column: above the figures.
                writeln!(self.out, "  {}", shortened(&labels, WIDTH - 2))?;
                self.label("")?;
            } else {
                self.label(&labels)?;
            }
            match (&group.load, group.traces.as_ref().filter(|_| traces_only)) {
                (_, Some(traces)) => {
                    write!(self.out, "{:>FIGURE$}", grouped(traces.valid))?;
                    self.count_of_bad(traces.failed)?;
                    for trace in [&traces.median, &traces.p99] {
                        let figure =
                            trace.as_ref().map_or("-".to_owned(), |trace| duration(trace.duration_ms));
                        write!(self.out, "{figure:>FIGURE$}")?;
                    }
                }
                (Some(load), None) => {
                    write!(self.out, "{:>FIGURE$}", grouped(load.sent))?;
                    self.count_of_bad(load.failed)?;
                    let latency = load.latency_ms.map(|of| [of.p50, of.p99].map(duration));
                    for figure in latency.unwrap_or_else(|| ["-"; 2].map(str::to_owned)) {
                        write!(self.out, "{figure:>FIGURE$}")?;
                    }
                }
                (None, None) => write!(self.out, "{:>FIGURE$}", "-")?,
            }
            writeln!(self.out)?;
        }
        // No column of its own: seldom is anything dropped, but then the other counts are not the whole load.
        let dropped = groups.iter().filter_map(|group| {
            let count = group.load.as_ref()?.dropped;
            (count > 0).then(|| format!("{} dropped at {}", grouped(count), labels(group, groups)))
        });
        let dropped: Vec<_> = dropped.collect();
        if !dropped.is_empty() {
            let shown = dropped.iter().take(MOST_REASONS).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = match dropped.len().saturating_sub(MOST_REASONS) {
                0 => String::new(),
                count => format!(", and {count} more groups"),
            };
            self.sentence("note", Emphasis::Bad, &format!("never sent: {shown}{more}."))?;
        }
        let reasons: Vec<_> =
            groups.iter().flat_map(|group| group.invalid.iter().map(move |why| (group, why))).collect();
        for (group, reason) in reasons.iter().take(MOST_REASONS) {
            self.sentence("invalid", Emphasis::Bad, &format!("{}: {reason}", labels(group, groups)))?;
        }
        if reasons.len() > MOST_REASONS {
            let more =
                format!("{} more reasons; `sb report --format json` has all.", reasons.len() - MOST_REASONS);
            self.sentence("invalid", Emphasis::Bad, &more)?;
        }
        self.sentence("note", Emphasis::Quiet, "`sb report --format json` has the breakdown of each group.")
    }

    fn load(&mut self, load: &LoadFigures) -> fmt::Result {
        writeln!(self.out)?;
        self.columns("invocations", &["planned", "sent", "answered", "failed"])?;
        self.label("")?;
        for count in [load.planned, Some(load.sent), Some(load.answered)] {
            // Unknown is not zero.
            write!(self.out, "{:>FIGURE$}", count.map_or_else(|| "-".to_owned(), grouped))?;
        }
        self.count_of_bad(load.failed)?;
        writeln!(self.out)?;
        for (outcome, count) in load.outcomes.iter().filter(|(outcome, _)| **outcome != Outcome::Ok) {
            self.label(outcome.name())?;
            self.count_of_bad(*count)?;
            writeln!(self.out)?;
        }

        writeln!(self.out)?;
        self.columns("latency", &["p50", "p95", "p99"])?;
        self.quantiles("from sending", load.latency_ms)?;
        self.quantiles("from the planned time", load.latency_from_planned_ms)?;
        if load.failed_latency_ms.is_some() {
            self.quantiles("failures, from sending", load.failed_latency_ms)?;
        }
        if !load.requests.is_empty() {
            writeln!(self.out)?;
            self.columns("latency by request", &["p50", "p95", "p99", "failed"])?;
            for request in &load.requests {
                self.label(&request.name)?;
                self.three(request.latency_ms)?;
                self.count_of_bad(request.failed)?;
                writeln!(self.out)?;
            }
        }
        Ok(())
    }

    fn traces(&mut self, traces: &TraceFigures) -> fmt::Result {
        writeln!(self.out)?;
        self.columns("traces", &["valid", "invalid", "missing", "cold starts"])?;
        self.label("")?;
        write!(self.out, "{:>FIGURE$}", grouped(traces.valid))?;
        self.count_of_bad(traces.invalid)?;
        match traces.missing {
            Some(missing) => self.count_of_bad(missing)?,
            None => write!(self.out, "{:>FIGURE$}", "-")?,
        }
        writeln!(self.out, "{:>FIGURE$}", grouped(traces.cold_starts))?;
        if traces.failed > 0 {
            self.label("of failed invocations")?;
            self.count_of_bad(traces.failed)?;
            writeln!(self.out)?;
        }
        if traces.with_errors > 0 {
            self.label("answered despite errors")?;
            self.count_of_bad(traces.with_errors)?;
            writeln!(self.out)?;
        }
        if let Some(share) = traces.cold_share {
            self.label("with a cold start")?;
            writeln!(self.out, "{:>1$}", percent(share), FIGURE)?;
        }

        let [median, p99] = [traces.median.as_ref(), traces.p99.as_ref()];
        self.critical_path("critical path", median, p99, traces.duration_ms)?;
        if let Some(failed) = &traces.failed_median {
            self.critical_path("of failed invocations", Some(failed), None, None)?;
        }
        for request in &traces.requests {
            self.critical_path(
                &format!("of {}", request.name),
                request.median.as_ref(),
                request.p99.as_ref(),
                request.duration_ms,
            )?;
        }
        Ok(())
    }

    fn critical_path(
        &mut self,
        title: &str,
        median: Option<&TraceBreakdown>,
        p99: Option<&TraceBreakdown>,
        all: Option<Quantiles>,
    ) -> fmt::Result {
        let Some(median) = median else { return Ok(()) };
        let traces: Vec<&TraceBreakdown> = [Some(median), p99].into_iter().flatten().collect();
        writeln!(self.out)?;
        let columns = ["median trace", "", "p99 trace"];
        self.columns(&shortened(title, LABEL - 2), &columns[..2 * traces.len() - 1])?;
        for activity in Activity::ALL {
            if traces.iter().all(|trace| trace.parts_ms.get(&activity).is_none_or(|part| *part == 0.0)) {
                continue;
            }
            self.label(activity.name())?;
            for trace in &traces {
                self.part(trace, activity)?;
            }
            writeln!(self.out)?;
        }
        self.durations("this trace", &traces.iter().map(|trace| trace.duration_ms).collect::<Vec<_>>())?;
        match all {
            // A single trace is no percentile: those of all traces are between two of them.
            Some(all) => self.durations("p50 and p99 of all", &[all.p50, all.p99][..traces.len()]),
            None => Ok(()),
        }
    }

    /// Below the columns of breakdowns, whose shares have a column of their own.
    fn durations(&mut self, label: &str, milliseconds: &[f64]) -> fmt::Result {
        self.label(label)?;
        let figures = milliseconds.iter().map(|figure| format!("{:>FIGURE$}", duration(*figure)));
        writeln!(self.out, "{}", figures.collect::<Vec<_>>().join(&" ".repeat(FIGURE)))
    }

    fn part(&mut self, trace: &TraceBreakdown, activity: Activity) -> fmt::Result {
        match trace.parts_ms.get(&activity) {
            Some(part) => {
                let share = if trace.duration_ms > 0.0 { part / trace.duration_ms } else { 0.0 };
                write!(self.out, "{:>FIGURE$}{:>FIGURE$}", duration(*part), percent(share))
            }
            None => write!(self.out, "{:>FIGURE$}{:>FIGURE$}", "-", ""),
        }
    }

    fn quantiles(&mut self, label: &str, quantiles: Option<Quantiles>) -> fmt::Result {
        self.label(label)?;
        self.three(quantiles)?;
        writeln!(self.out)
    }

    fn three(&mut self, quantiles: Option<Quantiles>) -> fmt::Result {
        let figures = match quantiles {
            Some(of) => [of.p50, of.p95, of.p99].map(duration),
            None => ["-"; 3].map(str::to_owned),
        };
        for figure in figures {
            write!(self.out, "{figure:>FIGURE$}")?;
        }
        Ok(())
    }

    /// The heading of a group and of its columns of figures.
    fn columns(&mut self, title: &str, names: &[&str]) -> fmt::Result {
        let mut line = format!("  {title:<0$}", LABEL - 2);
        for name in names {
            write!(line, "{name:>FIGURE$}")?;
        }
        self.emphasize(Emphasis::Quiet, line.trim_end())?;
        writeln!(self.out)
    }

    fn label(&mut self, label: &str) -> fmt::Result {
        let label = shortened(label, LABEL - 2);
        write!(self.out, "  {label:<0$}", LABEL - 2)
    }

    /// A count of what should not have been: it stands out unless it is zero.
    fn count_of_bad(&mut self, count: u64) -> fmt::Result {
        let text = grouped(count);
        write!(self.out, "{:1$}", "", FIGURE.saturating_sub(text.len()))?;
        if count == 0 { self.out.write_str(&text) } else { self.emphasize(Emphasis::Bad, &text) }
    }

    /// A sentence, broken between words where it is longer than the line.
    fn sentence(&mut self, label: &str, emphasis: Emphasis, sentence: &str) -> fmt::Result {
        let indent = label.len() + 4;
        let mut lines = vec![String::new()];
        for word in sentence.split_whitespace() {
            let line = lines.last_mut().map_or("", |line| line.as_str());
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH - indent {
                lines.push(String::new());
            }
            if let Some(line) = lines.last_mut() {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(&shortened(word, WIDTH - indent));
            }
        }
        writeln!(self.out)?;
        for (index, line) in lines.iter().enumerate() {
            if index == 0 {
                write!(self.out, "  ")?;
                self.emphasize(emphasis, &format!("{label}:"))?;
                writeln!(self.out, " {line}")?;
            } else {
                writeln!(self.out, "{:indent$}{line}", "")?;
            }
        }
        Ok(())
    }

    fn emphasize(&mut self, emphasis: Emphasis, text: &str) -> fmt::Result {
        if self.ink == Ink::Plain || text.is_empty() {
            return self.out.write_str(text);
        }
        let code = match emphasis {
            Emphasis::Heading => "1",
            Emphasis::Quiet => "2",
            Emphasis::Bad => "31",
        };
        write!(self.out, "\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Milliseconds with a unit that keeps about three digits.
pub(super) fn duration(milliseconds: f64) -> String {
    let magnitude = milliseconds.abs();
    if magnitude < 10.0 {
        format!("{milliseconds:.2} ms")
    } else if magnitude < 1e3 {
        format!("{milliseconds:.1} ms")
    } else if magnitude < 600e3 {
        format!("{:.2} s", milliseconds / 1e3)
    } else {
        format!("{:.1} min", milliseconds / 60e3)
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `12,345,678`.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Cut to `width` characters, the last of them an ellipsis; control characters become spaces.
pub(super) fn shortened(text: &str, width: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() <= width {
        clean.collect()
    } else {
        clean.take(width.saturating_sub(1)).chain(['…']).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::summary::RequestFigures;

    fn summary() -> ApplicationSummary {
        let quantiles = Quantiles { p50: 102.25, p95: 998.04, p99: 1834.5 };
        let request = |name: &str, failed| RequestFigures {
            name: name.to_owned(),
            sent: 600,
            answered: 598,
            failed,
            latency_ms: Some(quantiles),
        };
        let trace = |duration_ms: f64, cold: Option<f64>| {
            let mut parts_ms =
                BTreeMap::from([(Activity::Computation, duration_ms * 0.75), (Activity::Unclassified, 0.0)]);
            parts_ms.extend(cold.map(|cold| (Activity::ContainerInitialization, cold)));
            TraceBreakdown { trace_id: "1-a".to_owned(), duration_ms, parts_ms }
        };
        ApplicationSummary {
            version: ApplicationSummary::VERSION,
            application: "thumbnail-generator".to_owned(),
            labels: BTreeMap::new(),
            folders: vec!["a".into(), "b".into()],
            load: Some(LoadFigures {
                planned: Some(1_234_567),
                sent: 1_234_500,
                answered: 1_234_490,
                failed: 10,
                dropped: 67,
                outcomes: BTreeMap::from([
                    (Outcome::Ok, 1_234_490),
                    (Outcome::Timeout, 10),
                    (Outcome::Dropped, 67),
                ]),
                latency_ms: Some(quantiles),
                latency_from_planned_ms: None,
                failed_latency_ms: Some(quantiles),
                requests: vec![request("upload", 10), request("a request with quite a long name", 0)],
            }),
            traces: Some(TraceFigures {
                requests: vec![],
                valid: 970,
                failed: 3,
                with_errors: 2,
                failed_median: Some(trace(0.5, None)),
                invalid: 12,
                missing: Some(0),
                cold_starts: 14,
                cold_share: Some(0.0123),
                duration_ms: Some(Quantiles { p50: 96.75, p95: 1500.0, p99: 2487.5 }),
                median: Some(trace(96.5, None)),
                p99: Some(trace(2500.0, Some(625.0))),
            }),
            invalid: vec![
                "67 of 1234567 invocations were dropped: 0.0054 % where 0.0010 % is tolerated (max_dropped)."
                    .to_owned(),
            ],
            warnings: vec![],
        }
    }

    fn rendered(summary: &ApplicationSummary, ink: Ink) -> String {
        let mut text = String::new();
        render_summaries(&mut text, std::slice::from_ref(summary), ink).unwrap();
        text
    }

    fn at(rate: u32) -> ApplicationSummary {
        let same = ("memory".to_owned(), "128".to_owned());
        ApplicationSummary {
            labels: BTreeMap::from([("rate".to_owned(), rate.to_string()), same]),
            ..summary()
        }
    }

    #[test]
    fn groups_are_told_apart_by_what_differs() {
        let mut text = String::new();
        render_summaries(&mut text, &[at(5), at(10)], Ink::Plain).unwrap();
        let headings: Vec<_> = text.lines().filter(|line| line.starts_with("thumbnail")).collect();
        assert!(headings[0].starts_with("thumbnail-generator rate=5  "), "{headings:?}");
        assert!(headings[1].starts_with("thumbnail-generator rate=10  "), "{headings:?}");
    }

    #[test]
    fn what_each_folder_says_is_said_once() {
        let busy =
            |time: &str, share: u32| format!("{time}: This machine was busy for {share} % of the time.");
        let other = "2026-12-01_02-43-31: The clock was set back.".to_owned();
        let said = [
            busy("2026-12-01_02-43-30", 93),
            other.clone(),
            busy("2026-12-01_02-44-00", 99),
            busy("2026-12-01_02-45-00", 100),
        ];
        let first = format!("{} 2 more say the same with other numbers.", said[0]);
        assert_eq!(without_likes(&said), [first, other.clone()]);
        assert_eq!(
            without_likes(&[other.clone(), other.clone()]),
            [format!("{other} 1 more says the same with other numbers.")]
        );
        let functions =
            ["`f1`", "`f2`"].map(|name| format!("The log of the function {name} says first: no 5."));
        assert_eq!(without_likes(&functions), functions);
        let summary = ApplicationSummary { warnings: said.to_vec(), ..summary() };
        assert_eq!(rendered(&summary, Ink::Plain).matches("busy").count(), 1);
    }

    #[test]
    fn many_groups_have_a_line_each() {
        let mut groups: Vec<_> = [5, 10, 20, 40, 80].map(at).to_vec();
        groups[4].load = None;
        groups[3].labels.insert("memory".to_owned(), "1536, and a name that is very long".to_owned());
        for group in &mut groups {
            group.invalid.truncate(1);
        }
        let mut text = String::new();
        render_summaries(&mut text, &groups, Ink::Plain).unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn groups_of_traces_alone_have_the_figures_of_traces() {
        let groups = [5, 10, 20, 40, 80].map(|rate| ApplicationSummary { load: None, ..at(rate) });
        let mut text = String::new();
        render_summaries(&mut text, &groups, Ink::Plain).unwrap();
        let line = text.lines().find(|line| line.contains("rate=80")).unwrap();
        let figures: Vec<_> = line.split_whitespace().collect();
        assert_eq!(figures, ["rate=80", "970", "3", "96.5", "ms", "2.50", "s"]);
        assert!(text.contains("duration of traces"), "{text}");
    }

    #[test]
    fn a_summary_fits_a_terminal_and_reads_as_a_table() {
        let text = rendered(&summary(), Ink::Plain);
        insta::assert_snapshot!(text);
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert_eq!(line, line.trim_end());
        }
    }

    #[test]
    fn colour_changes_no_character() {
        let coloured = rendered(&summary(), Ink::Coloured);
        assert!(coloured.contains("\u{1b}[31m10\u{1b}[0m"));
        let mut plain = String::new();
        let mut rest = coloured.as_str();
        while let Some(begin) = rest.find('\u{1b}') {
            plain.push_str(&rest[..begin]);
            rest = &rest[begin + rest[begin..].find('m').unwrap() + 1..];
        }
        plain.push_str(rest);
        assert_eq!(plain, rendered(&summary(), Ink::Plain));
    }

    #[test]
    fn names_cannot_break_the_table_or_the_terminal() {
        let mut hostile = summary();
        hostile.application = format!("\u{1b}[31m{}", "x".repeat(200));
        hostile.invalid = vec!["y".repeat(200)];
        let text = rendered(&hostile, Ink::Plain);
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn figures_have_units_that_suit_them() {
        for (milliseconds, expected) in [
            (0.0, "0.00 ms"),
            (9.876, "9.88 ms"),
            (98.76, "98.8 ms"),
            (1234.0, "1.23 s"),
            (61_000.0, "61.00 s"),
            (900_000.0, "15.0 min"),
        ] {
            assert_eq!(duration(milliseconds), expected);
        }
        for (count, expected) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), expected);
        }
    }

    #[test]
    fn a_summary_survives_json() {
        let summary = summary();
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<ApplicationSummary>(&text).unwrap(), summary);
        assert!(
            text.contains(r#""parts_ms":{"container_initialization":625.0,"computation":1875.0"#),
            "{text}"
        );
    }
}
