//! A report as Markdown, short enough for a pull request.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use sb_analysis::markdown_text;
use sb_measurement::{NO_REQUEST, UNKNOWN_REQUEST};

use crate::note::Weight;
use crate::precision::{ASKED, FigurePrecision};
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
    // Unknown is not zero: folders may have traces alone.
    let is_known =
        |group: &&&Group| has_requests(group) || group.not_sent_requests.is_some_and(|count| count > 0);
    let requests: Vec<&&Group> = whole.iter().filter(is_known).collect();
    let requests = if requests.is_empty() && whole.iter().any(|group| group.traces > 0) {
        "an unknown number of requests".to_owned()
    } else {
        let sum = |of: fn(&Group) -> Option<u64>| requests.iter().filter_map(|group| of(group)).sum::<u64>();
        let never = match sum(|group| group.not_sent_requests) {
            0 => String::new(),
            count => format!(", {count} more never sent"),
        };
        format!(
            "{} ({} failed{never})",
            sb_measurement::counted(sum(|group| group.requests), "request"),
            sum(|group| group.failed_requests)
        )
    };
    writeln!(
        out,
        "{}, {requests}, {} ({} with errors), {} invalid.{}\n",
        sb_measurement::counted(report.executions, "execution"),
        sb_measurement::counted(sum(|group| group.traces), "valid trace"),
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
        write!(
            out,
            "Times in ms: durations of traces; where a group has no traces, latencies as the load generator measured them."
        )?;
        if rows.iter().any(|group| failed(group).is_some_and(|count| count > 0)) {
            // A failure is often fast: who reads these figures must know whether they are in.
            if report.as_published {
                write!(out, " **Failed requests are in the figures**; `sb report compare` leaves them out.")?;
            } else {
                write!(
                    out,
                    " Failed requests are not in the figures; their own median latency is beside their number."
                )?;
            }
        }
        writeln!(
            out,
            " Precise enough: an interval of 95 % that is at most {} % of the figure wide.\n",
            ASKED * 100.0
        )?;
        writeln!(
            out,
            "| application | requests | n | failed | p50 | p99 | mean | precision of p50 | precision of p99 | most of the time |"
        )?;
        writeln!(out, "|---|---|---:|---|---:|---:|---:|---|---|---|")?;
        let of_traces: BTreeSet<_> =
            whole.iter().filter(|group| group.duration.is_some()).map(|of| setting(of)).collect();
        for group in rows.iter().take(ROWS) {
            let is_of_requests = group.duration.is_none() && group.latency.is_some();
            let is_other = is_of_requests && of_traces.contains(&setting(group));
            group_row(out, group, only_type(group), is_other)?;
        }
        if rows.len() > ROWS {
            let more = rows.len() - ROWS;
            let are = if more == 1 { "is" } else { "are" };
            writeln!(out, "\n{} {are} in `tables/groups.csv`.", sb_measurement::counted(more, "more group"))?;
        }
        sums(out, &rows, report.as_published)?;
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
            writeln!(out, "- {mark}{}", markdown_text(&note.to_string()))?;
        }
        if notes.len() > NOTES {
            let more = notes.len() - NOTES;
            let are = if more == 1 { "is" } else { "are" };
            writeln!(out, "- {} {are} in `report.json`", sb_measurement::counted(more, "more note"))?;
        }
    }
    Ok(())
}

/// Why the rows of types need not add up to that of all requests, where they do not.
fn sums(out: &mut String, rows: &[&Group], as_published: bool) -> std::fmt::Result {
    let types = || rows.iter().filter(|group| group.key.request_type.is_some());
    let is_unknown =
        |group: &&&Group| matches!(group.key.request_type.as_deref(), Some(UNKNOWN_REQUEST | NO_REQUEST));
    if types().any(|group| is_unknown(&group)) {
        let name = if as_published { NO_REQUEST } else { UNKNOWN_REQUEST };
        writeln!(
            out,
            "\nType {name}: traces of which no file says the request. A trace with an error counts as failed there, and in `all` only \
             requests do where a file has them."
        )?;
    }
    let mut counts: BTreeMap<_, (u64, u64, bool)> = BTreeMap::new();
    for group in rows {
        let (all, of_types, has_types) = counts.entry(setting(group)).or_default();
        match group.key.request_type {
            None => *all += counted(group),
            Some(_) => (*of_types, *has_types) = (*of_types + counted(group), true),
        }
    }
    if !counts.values().any(|(all, of_types, has_types)| *has_types && all != of_types) {
        return Ok(());
    }
    let reason = if as_published {
        "a trace with several requests counts once for each"
    } else {
        "a type without traces that can be used is counted by its requests, and `all` by its traces"
    };
    writeln!(out, "\nNot everywhere do the types add up to `all` in column n: {reason}.")
}

/// Of how much the times of a row are: of traces, or without any of requests that were answered as expected.
fn counted(group: &Group) -> u64 {
    match group.duration {
        Some(_) => group.measured(),
        None => group.requests.unwrap_or_default() - group.failed_requests.unwrap_or_default(),
    }
}

/// What tells a group apart from others, besides the type of its requests.
fn setting(group: &Group) -> impl Ord + use<'_> {
    (&group.key.application, &group.key.label, &group.key.factors)
}

/// Whether a file says what was sent. A group with traces and without a request has no such file, or none that can be read.
fn has_requests(group: &Group) -> bool {
    group.requests.is_some_and(|count| count > 0)
}

/// Failed requests; where no file says it, traces with an error, a throttle or a fault. `None`: nothing is known.
fn failed(group: &Group) -> Option<u64> {
    let of_requests = group.failed_requests.filter(|_| has_requests(group));
    of_requests.or((group.traces > 0).then_some(group.errors))
}

/// How many failed, their share with its interval, and their median: of requests their latency, and where only traces say what
/// failed, the duration of these.
fn failures(group: &Group) -> String {
    let Some(count) = failed(group) else { return "–".to_owned() };
    let share = if has_requests(group) { group.shares.failed_requests } else { group.shares.errors };
    let mut text = count.to_string();
    if let Some(share) = share {
        let percent = |share: f64| format!("{:.1}", share * 100.0);
        text = format!(
            "{text} ({} %, {} to {} %)",
            percent(share.share),
            percent(share.low),
            percent(share.high)
        );
    }
    let (of, apart) = if has_requests(group) {
        ("latency", group.failed_latency)
    } else {
        ("duration", group.failed_duration)
    };
    if let Some(figures) = apart {
        let _ = write!(text, ", {of} p50 {:.1} ms", figures.p50_ns as f64 / 1e6);
    }
    text
}

/// `is_other`: the row is of requests, and others of its application are of traces.
fn group_row(out: &mut String, group: &Group, only_type: Option<&str>, is_other: bool) -> std::fmt::Result {
    let key = &group.key;
    let mut name = markdown_text(&key.application);
    if let Some(label) = &key.label {
        name.push_str(&format!(", {}", markdown_text(label)));
    }
    for (factor, level) in &key.factors {
        name.push_str(&format!(", {} = {}", markdown_text(factor), markdown_text(level)));
    }
    let only_type = only_type.filter(|name| !matches!(*name, UNKNOWN_REQUEST | NO_REQUEST));
    let kind = key.request_type.as_deref().or(only_type).map_or_else(|| "all".to_owned(), markdown_text);
    // Without traces, what the load generator measured.
    let figures: Option<Figures> = group.duration.or(group.latency);
    let count = match counted(group) {
        1 if is_other => "1 request".to_owned(),
        count if is_other => format!("{count} requests"),
        count => count.to_string(),
    };
    let millis = |nanos: fn(Figures) -> i64| {
        figures.map_or_else(|| "–".to_owned(), |figures| format!("{:.1}", nanos(figures) as f64 / 1e6))
    };
    let precision = |figure: &str| {
        let found = group.precision.iter().find(|found| found.figure == figure);
        found.map_or_else(|| "–".to_owned(), FigurePrecision::words)
    };
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
        "| {name} | {kind} | {count} | {} | {} | {} | {} | {} | {} | {} |",
        failures(group),
        millis(|figures| figures.p50_ns),
        millis(|figures| figures.p99_ns),
        millis(|figures| figures.mean_ns),
        precision("p50"),
        precision("p99"),
        shares.join(", "),
    )
}

/// Executions with something out of its range.
fn issues(out: &mut String, overview: &Table) -> std::fmt::Result {
    let text = |row: usize, column: &str| match overview.column(column).map(|column| column.cell(row)) {
        Some(Cell::Text(Some(text))) => Some(text.to_string()),
        _ => None,
    };
    let found: Vec<(String, String, Option<String>)> = (0..overview.rows())
        .filter_map(|row| Some((text(row, "logs_path")?, text(row, "issues")?, text(row, "invalid_reasons"))))
        .collect();
    if found.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### Executions to look at\n")?;
    for (path, issues, reasons) in found.iter().take(ROWS) {
        write!(out, "- {}: {}", markdown_text(path), issues.replace(',', ", "))?;
        if let Some(reasons) = reasons {
            write!(out, ". {}", markdown_text(reasons))?;
        }
        writeln!(out)?;
    }
    if found.len() > ROWS {
        writeln!(out, "- {} more are in `tables/overview.csv`", found.len() - ROWS)?;
    }
    Ok(())
}
