//! A report as Markdown, short enough for a pull request.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::note::Weight;
use crate::report::Report;
use crate::table::{Cell, Table};
use crate::tables::groups::{Figures, Group};

/// More rows of a table, or notes, are counted only.
const ROWS: usize = 40;
const NOTES: usize = 10;

/// The groups of whole applications and their types, what may be wrong with executions, and the notes.
pub(crate) fn summary(report: &Report) -> String {
    let mut out = String::new();
    let _ = summary_to(&mut out, report);
    out
}

fn summary_to<'a>(out: &mut String, report: &'a Report) -> std::fmt::Result {
    let groups: Vec<&Group> = report.groups.iter().filter(|group| group.key.status.is_none()).collect();
    let whole: Vec<&Group> =
        groups.iter().copied().filter(|group| group.key.request_type.is_none()).collect();
    let sum = |of: fn(&Group) -> u64| whole.iter().map(|group| of(group)).sum::<u64>();
    writeln!(out, "## Report\n")?;
    let requests = sum(|group| group.requests.unwrap_or_default());
    writeln!(
        out,
        "{} executions, {requests} requests ({} failed), {} valid traces ({} with errors), {} invalid.{}\n",
        report.executions,
        sum(|group| group.failed_requests.unwrap_or_default()),
        sum(|group| group.traces),
        sum(|group| group.errors),
        sum(|group| group.invalid.unwrap_or_default()),
        if report.as_published { " With the definitions of the published study." } else { "" },
    )?;
    // Where there is one type of request, its row would be that of all requests again.
    let mut types: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for group in &groups {
        types.entry(setting(group)).or_default().extend(group.key.request_type.as_deref());
    }
    let only_type = |group: &'a Group| match types.get(&setting(group)).map(Vec::as_slice) {
        Some([only]) => Some(*only),
        _ => None,
    };
    let rows: Vec<&Group> = groups
        .iter()
        .copied()
        .filter(|group| group.key.request_type.is_none() || only_type(group).is_none())
        .collect();
    if !rows.is_empty() {
        writeln!(out, "Latency in ms. Precision: half the width of the median's 95 % interval.\n")?;
        writeln!(out, "| application | requests | n | p50 | p99 | mean | precision | most of the time |")?;
        writeln!(out, "|---|---|---:|---:|---:|---:|---:|---|")?;
        for group in rows.iter().take(ROWS) {
            group_row(out, group, only_type(group))?;
        }
        if rows.len() > ROWS {
            writeln!(out, "\n{} more groups are in `tables/groups.csv`.", rows.len() - ROWS)?;
        }
    }
    if let Some(overview) = report.table("overview") {
        issues(out, overview)?;
    }
    let mut notes: Vec<_> = report.notes.iter().collect();
    notes.sort_by_key(|note| std::cmp::Reverse(note.weight));
    if !notes.is_empty() {
        writeln!(out, "\n### Notes\n")?;
        for note in notes.iter().take(NOTES) {
            let mark = if note.weight == Weight::Warning { "**Data left out:** " } else { "" };
            writeln!(out, "- {mark}{}", plain(&note.to_string()))?;
        }
        if notes.len() > NOTES {
            writeln!(out, "- {} more notes are in `report.json`", notes.len() - NOTES)?;
        }
    }
    Ok(())
}

/// What tells a group apart from others, besides the type of its requests.
fn setting(group: &Group) -> impl Ord + use<'_> {
    (&group.key.application, &group.key.label, &group.key.factors)
}

fn group_row(out: &mut String, group: &Group, only_type: Option<&str>) -> std::fmt::Result {
    let key = &group.key;
    let mut name = plain(&key.application);
    if let Some(label) = &key.label {
        name.push_str(&format!(", {}", plain(label)));
    }
    for (factor, level) in &key.factors {
        name.push_str(&format!(", {} = {}", plain(factor), plain(level)));
    }
    let kind = key.request_type.as_deref().or(only_type).map_or_else(|| "all".to_owned(), plain);
    // Without traces, what the load generator measured.
    let (figures, count): (Option<Figures>, u64) = match group.duration {
        Some(duration) => (Some(duration), group.traces),
        None => (group.latency, group.requests.unwrap_or_default()),
    };
    let millis = |nanos: fn(Figures) -> i64| {
        figures.map_or_else(|| "–".to_owned(), |figures| format!("{:.1}", nanos(figures) as f64 / 1e6))
    };
    let precision =
        group.median_width_percent.map_or_else(|| "–".to_owned(), |width| format!("±{:.1} %", width / 2.0));
    let mut shares: Vec<(&str, f64)> = group
        .activities
        .iter()
        .filter_map(|activity| Some((activity.activity, activity.mean_share?)))
        .filter(|(_, share)| *share >= 0.05)
        .collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let shares: Vec<String> = shares
        .into_iter()
        .take(3)
        .map(|(activity, share)| format!("{} {:.0} %", activity.replace('_', " "), share * 100.0))
        .collect();
    writeln!(
        out,
        "| {name} | {kind} | {count} | {} | {} | {} | {precision} | {} |",
        millis(|figures| figures.p50_ns),
        millis(|figures| figures.p99_ns),
        millis(|figures| figures.mean_ns),
        shares.join(", "),
    )
}

/// Executions with something out of its range.
fn issues(out: &mut String, overview: &Table) -> std::fmt::Result {
    let text = |row: usize, column: &str| match overview.column(column).map(|column| column.cell(row)) {
        Some(Cell::Text(Some(text))) => Some(text.to_string()),
        _ => None,
    };
    let found: Vec<(String, String)> = (0..overview.rows())
        .filter_map(|row| Some((text(row, "logs_path")?, text(row, "issues")?)))
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### Executions to look at\n")?;
    for (path, issues) in found.iter().take(ROWS) {
        writeln!(out, "- {}: {}", plain(path), issues.replace(',', ", "))?;
    }
    if found.len() > ROWS {
        writeln!(out, "- {} more are in `tables/overview.csv`", found.len() - ROWS)?;
    }
    Ok(())
}

/// A foreign text, so that it is nothing but text in Markdown.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => plain.push(' '),
            '|' | '*' | '_' | '`' | '[' | ']' | '<' | '>' | '\\' | '#' => {
                plain.push('\\');
                plain.push(c);
            }
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_are_no_markdown() {
        assert_eq!(plain("a|b\n<img>"), "a\\|b \\<img\\>");
    }
}
