//! A comparison of two runs for people: a short table for the terminal, and a Markdown table for a pull request.

use std::fmt::{self, Write};

use super::Ink;
use super::comparison::{
    Comparison, FigureChange, Finding, GroupChange, LoneGroup, Quantity, QuantityChange, Ranged,
};
use super::markdown::markdown_text;
use super::table::{duration, grouped, shortened};

/// Nothing is wider.
const WIDTH: usize = 80;
/// More groups without a change are counted, not shown.
const MOST_GROUPS: usize = 4;
/// So many activities of a group's path are named.
const MOST_ACTIVITIES: usize = 3;
/// A change of an activity that is smaller than this share of the duration is named only if it was surely seen.
const LEAST_MOVED: f64 = 0.01;
/// Lone groups that are named.
const MOST_LONE: usize = 10;

/// What to do about runs whose trials say nothing of their variance.
const MORE_TRIALS: &str = "Too few trials: fewer than three, or three of several deployments, say nothing of how much they differ by themselves. \
                           Measure at least three, better ten: `per_deployment` or `repetitions` in the plan's `[trials]`.";

/// A short table for the terminal, at most 80 columns wide. Groups that changed come first; of the others, four are shown.
pub fn comparison_text(out: &mut impl Write, comparison: &Comparison, ink: Ink) -> fmt::Result {
    let mut table = ComparisonTable { out, ink };
    for (word, side) in [("before", &comparison.first), ("after", &comparison.second)] {
        let folders = if side.folders == 1 { "folder" } else { "folders" };
        let text = format!("{word:<8}{}  ({} {folders})", side.name, grouped(side.folders as u64));
        writeln!(table.out, "{}", shortened(&text, WIDTH))?;
    }
    let (changed, same): (Vec<_>, Vec<_>) = comparison.groups.iter().partition(|group| changes(group) > 0);
    for group in changed.iter().chain(same.iter().take(MOST_GROUPS)) {
        table.group(group)?;
    }
    writeln!(table.out)?;
    if same.len() > MOST_GROUPS {
        let text = format!(
            "{} more groups without a difference that was seen: `--format json` has all.",
            same.len() - MOST_GROUPS
        );
        table.sentence(&text)?;
    }
    for text in remarks(comparison) {
        table.sentence(&text)?;
    }
    Ok(())
}

/// A table in Markdown, with the groups that changed first.
pub fn comparison_markdown(out: &mut impl Write, comparison: &Comparison) -> fmt::Result {
    let (first, second) = (&comparison.first, &comparison.second);
    writeln!(out, "### {} compared with {}\n", markdown_text(&second.name), markdown_text(&first.name))?;
    let count: usize = comparison.groups.iter().map(changes).sum();
    let seen = match count {
        0 => "No difference was seen.".to_owned(),
        1 => "**1 figure changed.**".to_owned(),
        count => format!("**{count} figures changed.**"),
    };
    if comparison.says_anything() {
        writeln!(out, "{seen} Intervals are of 95 %, resampled by deployment and trial.\n")?;
    }
    let (changed, same): (Vec<_>, Vec<_>) = comparison.groups.iter().partition(|group| changes(group) > 0);
    if !comparison.groups.is_empty() {
        writeln!(
            out,
            "| group | figure | before | after | change | interval | A12 | values | trials | finding |"
        )?;
        writeln!(out, "|---|---|--:|--:|--:|--:|--:|--:|--:|---|")?;
    }
    for group in changed.iter().chain(&same) {
        for quantity in shown(group) {
            for figure in &quantity.figures {
                let (change, interval) = change_texts(quantity.quantity, figure);
                let [before, after] = values(quantity.quantity, figure);
                let finding = figure.finding.words();
                let finding =
                    if figure.finding.is_change() { format!("**{finding}**") } else { finding.to_owned() };
                writeln!(
                    out,
                    "| {} | {} {} | {before} | {after} | {change} | {interval} | {:.2} | {} / {} | {} / {} | {finding} |",
                    markdown_text(&group.words()),
                    quantity.quantity.name(),
                    figure.statistic,
                    quantity.above,
                    grouped(quantity.values[0] as u64),
                    grouped(quantity.values[1] as u64),
                    group.trials[0],
                    group.trials[1],
                )?;
            }
        }
    }
    let moved: Vec<String> = changed
        .iter()
        .filter_map(|group| Some(format!("- {}: {}", markdown_text(&group.words()), path_text(group)?)))
        .collect();
    if !moved.is_empty() {
        writeln!(out, "\nWhere on the path the mean changed:\n\n{}", moved.join("\n"))?;
    }
    let remarks = remarks(comparison);
    if !remarks.is_empty() {
        writeln!(out)?;
        for text in remarks {
            writeln!(out, "- {}", markdown_text(&text))?;
        }
    }
    Ok(())
}

/// How many figures changed, activities left out.
fn changes(group: &GroupChange) -> usize {
    let figures = group.quantities.iter().flat_map(|quantity| &quantity.figures);
    figures.filter(|figure| figure.finding.is_change()).count()
}

/// Failures only where there are any.
fn shown(group: &GroupChange) -> impl Iterator<Item = &QuantityChange> {
    group.quantities.iter().filter(|of| {
        of.quantity != Quantity::Failed || of.figures.iter().any(|figure| figure.first + figure.second > 0.0)
    })
}

fn values(quantity: Quantity, figure: &FigureChange) -> [String; 2] {
    [figure.first, figure.second].map(|value| match quantity {
        Quantity::Failed => format!("{:.1} %", value * 100.0),
        _ => duration(value),
    })
}

/// The change and its interval: in percent, or where there is no ratio in units; `-` where nothing is known.
fn change_texts(quantity: Quantity, figure: &FigureChange) -> (String, String) {
    let dash = || "-".to_owned();
    match (quantity, figure.ratio, figure.difference) {
        (Quantity::Failed, _, Some(difference)) => {
            let points = scaled(difference, 100.0, 0.0);
            (
                format!("{} pt", points_text(points.value)),
                format!("{} to {} pt", points_text(points.low), points_text(points.high)),
            )
        }
        (_, Some(ratio), _) => {
            let percent = scaled(ratio, 100.0, -100.0);
            (format!("{:+.1} %", percent.value), format!("{:+.1} to {:+.1} %", percent.low, percent.high))
        }
        (_, None, Some(difference)) => {
            (signed(difference.value), format!("{:+.1} to {:+.1} ms", difference.low, difference.high))
        }
        (Quantity::Failed, _, None) => (format!("{:+.1} pt", (figure.second - figure.first) * 100.0), dash()),
        (_, None, None) if figure.first > 0.0 => {
            (format!("{:+.1} %", (figure.second / figure.first - 1.0) * 100.0), dash())
        }
        (_, None, None) => (signed(figure.second - figure.first), dash()),
    }
}

/// Percentage points, of which there are at most 100: the column has no room for `+100.0`.
fn points_text(points: f64) -> String {
    if points.abs() >= 99.95 { format!("{points:+.0}") } else { format!("{points:+.1}") }
}

fn scaled(of: Ranged, factor: f64, plus: f64) -> Ranged {
    let to = |value: f64| value * factor + plus;
    Ranged { value: to(of.value), low: to(of.low), high: to(of.high) }
}

fn signed(milliseconds: f64) -> String {
    let sign = if milliseconds < 0.0 { "-" } else { "+" };
    format!("{sign}{}", duration(milliseconds.abs()))
}

/// `computation +1.10 ms (slower), trigger -0.20 ms`: what moved the mean most. `None` where nothing moved.
fn path_text(group: &GroupChange) -> Option<String> {
    let whole = group.quantities.iter().find(|of| of.quantity == Quantity::Duration)?.figure("mean")?;
    let least = whole.first.abs() * LEAST_MOVED;
    let parts: Vec<String> = group
        .path
        .iter()
        .filter_map(|part| Some((part, part.figure("mean")?)))
        .filter(|(_, mean)| mean.finding.is_change() || (mean.second - mean.first).abs() >= least)
        .take(MOST_ACTIVITIES)
        .map(|(part, mean)| {
            let found = match mean.finding {
                finding if finding.is_change() => format!(" ({})", finding.words()),
                _ => String::new(),
            };
            format!("{} {}{found}", part.quantity.name(), signed(mean.second - mean.first))
        })
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What a reader must know beside the figures.
fn remarks(comparison: &Comparison) -> Vec<String> {
    let mut texts = Vec::new();
    for (side, lone) in
        [(&comparison.first, &comparison.only_first), (&comparison.second, &comparison.only_second)]
    {
        texts.extend(side.notes.iter().map(|note| format!("{}: {note}.", side.name)));
        let names: Vec<String> = lone.iter().take(MOST_LONE).map(LoneGroup::words).collect();
        let more = lone.len().saturating_sub(MOST_LONE);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        if !names.is_empty() {
            texts.push(format!("Only in {}: {}{more}.", side.name, names.join("; ")));
        }
    }
    texts.extend(comparison.notes.iter().take(MOST_LONE).map(|note| format!("{note}.")));
    if comparison.notes.len() > MOST_LONE {
        let more = comparison.notes.len() - MOST_LONE;
        texts.push(format!("{more} more notes on the amount of data: `--format json` has all."));
    }
    let findings = || {
        let quantities = comparison.groups.iter().flat_map(|group| &group.quantities);
        quantities.flat_map(|quantity| &quantity.figures).map(|figure| figure.finding)
    };
    if comparison.groups.is_empty() {
        texts.push("The two have no group in common: nothing was compared.".to_owned());
    }
    if findings().any(|finding| finding == Finding::TooFewTrials) {
        texts.push(MORE_TRIALS.to_owned());
    }
    if findings().any(|finding| finding == Finding::TooFewRequests) {
        texts.push(
            "Too few requests: an interval of p99 needs 1000 on each side, one of p50 needs 20.".to_owned(),
        );
    }
    texts
}

/// Lines of at most 80 characters, broken between words where that is possible.
fn broken(text: &str) -> Vec<String> {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut lines = vec![String::new()];
    for word in clean.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for piece in letters.chunks(WIDTH) {
            let Some(line) = lines.last_mut() else { continue };
            let used = line.chars().count();
            if used > 0 && used + 1 + piece.len() > WIDTH {
                lines.push(piece.iter().collect());
            } else {
                if used > 0 {
                    line.push(' ');
                }
                line.extend(piece);
            }
        }
    }
    lines
}

struct ComparisonTable<'a, W: Write> {
    out: &'a mut W,
    ink: Ink,
}

impl<W: Write> ComparisonTable<'_, W> {
    fn group(&mut self, group: &GroupChange) -> fmt::Result {
        let of = if group.start.is_some() { "traces" } else { "requests" };
        let values = [0, 1].map(|side: usize| {
            let count = group.quantities.iter().map(|quantity| quantity.values[side]).max().unwrap_or(0);
            grouped(count as u64)
        });
        let [first, second] = group.trials;
        let mut note = format!("{}/{} {of}, {first}/{second} trials", values[0], values[1]);
        if group.deployments != group.trials && group.deployments != [1, 1] {
            note.push_str(&format!(", {}/{} deployments", group.deployments[0], group.deployments[1]));
        }
        // Groups differ at the end of their names: a name is broken, never cut off.
        let lines = broken(&group.words());
        writeln!(self.out)?;
        match &lines[..] {
            [name] if name.chars().count() + 2 + note.len() <= WIDTH => {
                let room = WIDTH - name.chars().count();
                writeln!(self.out, "{}{note:>room$}", self.painted("1", name))?;
            }
            lines => {
                for line in lines {
                    writeln!(self.out, "{}", self.painted("1", line))?;
                }
                writeln!(self.out, "{note:>WIDTH$}")?;
            }
        }
        let head = self.painted(
            "2",
            &format!("{:<15}{:>9}{:>9}{:>9}{:>18}", "", "before", "after", "change", "interval"),
        );
        writeln!(self.out, "{head}")?;
        for quantity in shown(group) {
            let mut label = quantity.quantity.name();
            for figure in &quantity.figures {
                self.figure(label, quantity.quantity, figure)?;
                label = "";
            }
        }
        if let Some(path) = path_text(group) {
            self.sentence(&format!("  on the path: {path}"))?;
        }
        Ok(())
    }

    fn figure(&mut self, label: &str, quantity: Quantity, figure: &FigureChange) -> fmt::Result {
        let [before, after] = values(quantity, figure);
        let (change, interval) = change_texts(quantity, figure);
        let finding = figure.finding.words();
        let finding = match figure.finding {
            Finding::Slower | Finding::MoreFailures => self.painted("31", finding),
            Finding::Faster | Finding::FewerFailures => self.painted("32", finding),
            _ => self.painted("2", finding),
        };
        // What fills a column still stands apart from its neighbour.
        let change = format!(" {change}");
        let interval = format!(" {interval}");
        let statistic = figure.statistic;
        writeln!(
            self.out,
            "  {label:<9}{statistic:<4}{before:>9}{after:>9}{change:>9}{interval:>18} {finding}"
        )
    }

    /// Broken between words.
    fn sentence(&mut self, text: &str) -> fmt::Result {
        let indent = text.len() - text.trim_start().len();
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
                writeln!(self.out, "{:indent$}{line}", "")?;
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        writeln!(self.out, "{:indent$}{line}", "")
    }

    fn painted(&self, code: &str, text: &str) -> String {
        match self.ink {
            Ink::Plain => text.to_owned(),
            Ink::Coloured => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}
