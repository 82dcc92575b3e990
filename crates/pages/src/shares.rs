//! How many requests had cold starts, errors, or traces that cannot be used.

use std::collections::BTreeMap;

use sb_figures::{Axis, Bars, Chart, Figure, Layout, Order, Part, Row, Table, Tone};
use sb_report::{Group, GroupKey, Status};

use crate::groups::Names;
use crate::shown::float;

const PARTS: [(&str, Tone); 4] = [
    ("cold starts", Tone::Cold),
    ("traces with an error", Tone::Bad),
    ("invalid traces", Tone::Warning),
    ("failed requests", Tone::Neutral),
];

/// A part of a whole in per cent; of nothing, unknown.
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}

pub(crate) fn shares(groups: &[Group], names: &Names) -> Option<Figure> {
    let columns: Vec<String> = PARTS.iter().map(|(name, _)| format!("#{name} [%]")).collect();
    let mut columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    columns.insert(0, "group");
    columns.extend(["#traces", "#invalid", "#requests"]);
    let mut table = Table::new("Cold starts, errors and invalid traces", &columns);
    let mut rows = Vec::new();
    let mut started: BTreeMap<GroupKey, u64> = BTreeMap::new();
    for group in
        groups.iter().filter(|group| matches!(group.key.status, Some(Status::Cold | Status::Partial)))
    {
        *started.entry(GroupKey { status: None, ..group.key.clone() }).or_default() += group.traces;
    }
    let of_applications = |group: &&Group| group.key.request_type.is_none() && group.key.status.is_none();
    for group in groups.iter().filter(of_applications) {
        let started = started.get(&group.key).copied().unwrap_or_default();
        let values = vec![
            percent(started, group.traces),
            percent(group.errors, group.traces),
            group.invalid.and_then(|invalid| percent(invalid, group.traces + invalid)),
            group
                .failed_requests
                .zip(group.requests)
                .and_then(|(failed, requests)| percent(failed, requests)),
        ];
        let called = names.name(&group.key);
        let count = |count: Option<u64>| count.map_or(String::new(), |count| count.to_string());
        let mut row = vec![called.clone()];
        row.extend(values.iter().map(|value| value.map_or(String::new(), float)));
        row.extend([group.traces.to_string(), count(group.invalid), count(group.requests)]);
        table.rows.push(row);
        let requests =
            group.requests.map_or("unknown requests".to_owned(), |requests| format!("{requests} requests"));
        let label = format!("{} traces, {requests}", group.traces);
        rows.push(Row { name: called, values, label, ..Row::default() });
    }
    let parts = PARTS.iter().map(|(name, tone)| Part { name: (*name).to_owned(), tone: *tone }).collect();
    let bars = Bars {
        axis: Axis::linear("share", "%"),
        layout: Layout::SideBySide,
        parts,
        rows,
        order: Order::AsGiven,
    };
    let description = "Of each application: the share of traces with a cold start or an error, of traces that could not be \
                       analysed, and of requests that failed.";
    let has_rows = !table.rows.is_empty();
    has_rows.then(|| {
        Figure::new("shares", "Cold starts, errors and invalid traces", description, Chart::Bars(bars), table)
    })
}
