//! A trace as a waterfall: a line per span, with a bar from its start to its end. The terminal's is here, the
//! image in [`super::waterfall_svg`].

use std::fmt::{self, Write};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::Ink;
use crate::invalid::Invalid;
use crate::path::breakdown::{Activity, Analysis};
use crate::span::{SpanIndex, Trace, microseconds};

/// Indentation stops growing here: deeper spans would leave no room for names.
const DEEPEST: usize = 12;

/// A trace, ready to be drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waterfall {
    /// The id of the trace.
    pub trace_id: String,
    /// Microseconds from the first start to the last end.
    pub duration: i64,
    /// Parents before their children, siblings by their start.
    pub rows: Vec<WaterfallRow>,
    /// Why the trace has no critical path.
    pub invalid: Option<String>,
}

/// One span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaterfallRow {
    /// Without characters that steer a terminal.
    pub name: String,
    /// How many spans it is within.
    pub depth: usize,
    /// Microseconds after the start of the trace.
    pub start: i64,
    /// Microseconds.
    pub duration: i64,
    /// What most of the time that the critical path spends in it is for; none off the path.
    pub activity: Option<Activity>,
    /// Whether it is on the critical path.
    pub on_path: bool,
    /// Whether it has an error, a fault or a throttle.
    pub failed: bool,
}

impl Waterfall {
    /// Lays out the spans of a trace, with what the analysis makes of them.
    pub fn new(trace: &Trace<'_>, analysis: &Result<Analysis, Invalid>) -> Self {
        let origin = microseconds(trace.span(trace.root()).start);
        let mut on_path = vec![false; trace.spans().len()];
        let mut spent = vec![[0_i64; Activity::ALL.len()]; trace.spans().len()];
        if let Ok(analysis) = analysis {
            for span in &analysis.path {
                on_path[span.get()] = true;
            }
            for piece in &analysis.pieces {
                spent[piece.span.get()][piece.activity as usize] += piece.end - piece.start;
            }
        }
        let row = |index: SpanIndex, depth| {
            let span = trace.span(index);
            let (start, end) = (microseconds(span.start), microseconds(span.end));
            let spent = Activity::ALL.into_iter().zip(spent[index.get()]);
            WaterfallRow {
                name: printable(&span.name),
                depth,
                start: start - origin,
                duration: end - start,
                activity: spent
                    .filter(|(_, time)| *time > 0)
                    .max_by_key(|(_, time)| *time)
                    .map(|(name, _)| name),
                on_path: on_path[index.get()],
                failed: span.flags.error || span.flags.fault || span.flags.throttle,
            }
        };
        // Several spans may lack a parent: the root's tree first.
        let by_start = |left: &SpanIndex, right: &SpanIndex| {
            trace.span(*left).start.total_cmp(&trace.span(*right).start)
        };
        let mut roots: Vec<SpanIndex> =
            trace.indices().filter(|&span| trace.parent(span).is_none()).collect();
        roots.sort_by(by_start);
        roots.sort_by_key(|&span| span != trace.root());
        let mut open: Vec<(SpanIndex, usize)> = roots.into_iter().rev().map(|span| (span, 0)).collect();
        let mut rows = Vec::with_capacity(trace.spans().len());
        while let Some((span, depth)) = open.pop() {
            rows.push(row(span, depth));
            let mut children = trace.children(span).to_vec();
            children.sort_by(by_start);
            open.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
        }
        Self {
            trace_id: trace.id.to_string(),
            duration: microseconds(trace.span(trace.last()).end) - origin,
            rows,
            invalid: analysis.as_ref().err().map(ToString::to_string),
        }
    }

    /// Writes lines of at most `width` columns (at least 60).
    pub fn to_terminal(&self, out: &mut impl Write, width: usize, ink: Ink) -> fmt::Result {
        let width = width.max(60);
        // The mark, the name, start, duration and activity around the bar.
        let deepest =
            self.rows.iter().map(|row| row.depth.min(DEEPEST) * 2 + row.name.width()).max().unwrap_or(0);
        let names = deepest.clamp(8, width / 4);
        let bar = width - (2 + names + 11 + 11 + 2 + ACTIVITY);
        writeln!(out, "{}  {} ms, {} spans", self.trace_id, milliseconds(self.duration), self.rows.len())?;
        writeln!(out, "  {:<names$}{:>11}{:>11}  {:<bar$} activity", "span", "start ms", "took ms", "")?;
        for row in &self.rows {
            let name = fitted(&format!("{:1$}{2}", "", row.depth.min(DEEPEST) * 2, row.name), names);
            let mark = if row.on_path { "●" } else { " " };
            let activity = row.activity.map_or("", short_name);
            let (before, length) = self.place(row, bar * 8);
            let drawn = draw(before, length, bar);
            let (open, close) = match (ink, row.failed, row.on_path) {
                (Ink::Plain, ..) => ("", ""),
                (Ink::Coloured, true, _) => ("\x1b[31m", "\x1b[0m"),
                (Ink::Coloured, false, true) => ("\x1b[1;36m", "\x1b[0m"),
                (Ink::Coloured, false, false) => ("\x1b[2m", "\x1b[0m"),
            };
            let line = format!(
                "{mark} {name}{:>11}{:>11}  {open}{drawn}{close} {activity}",
                milliseconds(row.start),
                milliseconds(row.duration)
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        if let Some(reason) = &self.invalid {
            writeln!(out, "no critical path: {reason}")?;
        } else {
            writeln!(out, "● on the critical path")?;
        }
        Ok(())
    }

    /// Where a bar begins and how long it is, in units of which the whole trace has `units`; at least one long.
    pub(crate) fn place(&self, row: &WaterfallRow, units: usize) -> (usize, usize) {
        let whole = self.duration.max(1) as f64;
        let at = |time: i64| ((time as f64 / whole).clamp(0.0, 1.0) * units as f64).round() as usize;
        let before = at(row.start).min(units.saturating_sub(1));
        (before, at(row.start + row.duration).saturating_sub(before).max(1))
    }
}

/// Columns for the name of an activity, with the space before it.
const ACTIVITY: usize = 15;

/// The two long names are cut to what distinguishes them.
fn short_name(activity: Activity) -> &'static str {
    match activity {
        Activity::ContainerInitialization => "container init",
        Activity::RuntimeInitialization => "runtime init",
        Activity::ExternalService => "external",
        other => other.name(),
    }
}

/// A bar from eighths of columns; exactly `columns` wide.
fn draw(before: usize, length: usize, columns: usize) -> String {
    // A block that starts within a column cannot be drawn, so the start is rounded down to a column.
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let start = (before / 8).min(columns.saturating_sub(1));
    let eighths = (before + length - start * 8).min((columns - start) * 8);
    let mut bar: String = " ".repeat(start) + &"█".repeat(eighths / 8);
    let mut used = start + eighths / 8;
    if !eighths.is_multiple_of(8) {
        bar.push(PARTS[eighths % 8]);
        used += 1;
    }
    bar + &" ".repeat(columns - used)
}

/// Exactly so many columns: cut with an ellipsis, or filled up.
fn fitted(text: &str, columns: usize) -> String {
    let mut fitted = String::new();
    let mut used = 0;
    if text.width() <= columns {
        fitted.push_str(text);
        used = text.width();
    } else {
        for character in text.chars() {
            let width = character.width().unwrap_or(0);
            if used + width + 1 > columns {
                break;
            }
            fitted.push(character);
            used += width;
        }
        fitted.push('…');
        used += 1;
    }
    fitted + &" ".repeat(columns - used)
}

/// Names come from files: none may steer the terminal, or turn the order of what is read.
pub fn printable(name: &str) -> String {
    let steers = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    name.chars().map(|character| if steers(character) { '\u{fffd}' } else { character }).collect()
}

pub(crate) fn milliseconds(microseconds: i64) -> String {
    format!("{:.3}", microseconds as f64 / 1e3)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::method::Method;

    pub(in crate::report) fn example() -> Waterfall {
        let document = |text: &str| serde_json::json!({ "Document": text });
        let text = serde_json::json!({ "Id": "1-a", "Duration": 0.1, "Segments": [
            document(r#"{"id":"r","name":"api","origin":"AWS::ApiGateway::Stage","start_time":0,"end_time":0.1}"#),
            document(r#"{"id":"l","parent_id":"r","name":"he<llo\u001b[2J","origin":"AWS::Lambda","start_time":0.01,"end_time":0.09}"#),
            document(r#"{"id":"f","parent_id":"l","name":"hello","origin":"AWS::Lambda::Function","start_time":0.02,"end_time":0.08,"error":true}"#),
            document(r#"{"id":"p","parent_id":"f","name":"beside","start_time":0.021,"end_time":0.03}"#),
            document(r#"{"id":"q","parent_id":"f","name":"Überwachung 日本","start_time":0.025,"end_time":0.079}"#),
        ] });
        let draw = |trace: &Trace<'_>, analysis| Waterfall::new(trace, &analysis);
        Method::default().inspect_text(&text.to_string(), draw).unwrap()
    }

    #[test]
    fn a_line_shows_where_a_span_lies_and_whether_it_is_on_the_path() {
        let waterfall = example();
        let mut out = String::new();
        waterfall.to_terminal(&mut out, 80, Ink::Plain).unwrap();
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines.len(), 2 + 5 + 1);
        assert!(lines.iter().all(|line| line.width() <= 80 && !line.contains('\x1b')), "{out}");
        assert!(lines[2].starts_with("● api") && lines[2].ends_with("orchestration"), "{out}");
        assert!(lines[5].starts_with("        beside"), "{out}");
        assert!(lines[6].starts_with("●       Über") && lines[6].contains("25.000     54.000"), "{out}");
        let filled = |line: &str| line.chars().filter(|&character| character == '█').count();
        assert!(filled(lines[2]) > filled(lines[3]) && filled(lines[3]) > filled(lines[4]), "{out}");

        let mut coloured = String::new();
        waterfall.to_terminal(&mut coloured, 80, Ink::Coloured).unwrap();
        // What is left of an escape sequence after its first byte ends with an `m`.
        let without_escapes = |line: &str| {
            let mut parts = line.split('\x1b');
            let first = parts.next().unwrap_or_default().to_owned();
            parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
        };
        let plain: Vec<String> =
            coloured.lines().map(|line| without_escapes(line).trim_end().to_owned()).collect();
        assert_eq!(plain, lines);
    }

    #[test]
    fn bars_are_as_wide_as_asked_whatever_the_times() {
        for columns in [1, 7, 30] {
            for before in 0..=columns * 8 {
                for length in 1..=columns * 8 + 9 {
                    let bar = draw(before, length, columns);
                    assert_eq!(bar.chars().count(), columns, "{before} {length}");
                    assert!(bar.trim() != "", "{before} {length}");
                }
            }
        }
    }
}
