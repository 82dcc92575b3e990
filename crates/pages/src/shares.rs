//! How many requests had cold starts, errors, or traces that cannot be used.

use sb_figures::{Axis, Bars, Chart, Figure, Layout, Order, Part, Row, Table, Tone};
use sb_report::{Group, GroupShare};

use crate::groups::Names;
use crate::shown::float;

/// The parts of a row, and which share each is.
const PARTS: [(&str, Tone); 5] = [
    ("cold", Tone::Cold),
    ("partly cold", Tone::Partial),
    ("traces with an error", Tone::Bad),
    ("invalid traces", Tone::Warning),
    ("failed requests", Tone::Neutral),
];

pub(crate) fn shares(groups: &[Group], names: &Names) -> Option<Figure> {
    let mut columns = vec!["group".to_owned()];
    for (name, _) in PARTS {
        columns.extend(["", " from", " to"].map(|end| format!("#{name}{end} [%]")));
    }
    let mut columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    columns.extend(["#traces", "#invalid", "#requests"]);
    let mut table = Table::new("Cold starts, errors and invalid traces", &columns);
    let mut rows = Vec::new();
    let of_applications = |group: &&Group| group.key.request_type.is_none() && group.key.status.is_none();
    for group in groups.iter().filter(of_applications) {
        let of = group.shares;
        let shares: [Option<GroupShare>; PARTS.len()] =
            [of.cold, of.partial, of.errors, of.invalid, of.failed_requests];
        let called = names.name(&group.key);
        let count = |count: Option<u64>| count.map_or(String::new(), |count| count.to_string());
        let mut row = vec![called.clone()];
        for share in &shares {
            let ends = share.map(|share| [share.share, share.low, share.high].map(|end| float(percent(end))));
            row.extend(ends.unwrap_or_default());
        }
        row.extend([group.traces.to_string(), count(group.invalid), count(group.requests)]);
        table.rows.push(row);
        let requests =
            group.requests.map_or("unknown requests".to_owned(), |requests| format!("{requests} requests"));
        let label = format!("{} traces, {requests}", group.traces);
        let values = shares.iter().map(|share| share.map(|share| percent(share.share))).collect();
        let intervals =
            shares.iter().map(|share| share.map(|share| (percent(share.low), percent(share.high)))).collect();
        rows.push(Row { name: called, values, intervals, label });
    }
    let parts = PARTS.iter().map(|(name, tone)| Part { name: (*name).to_owned(), tone: *tone }).collect();
    let bars = Bars {
        axis: Axis::linear("share", "%"),
        layout: Layout::SideBySide,
        parts,
        rows,
        order: Order::AsGiven,
    };
    let description = "Of each application: the share of traces whose functions were all cold, or some of them; of traces with an \
                       error, of traces that could not be analysed, and of requests that failed.";
    let has_rows = !table.rows.is_empty();
    has_rows.then(|| {
        let mut figure = Figure::new(
            "shares",
            "Cold starts, errors and invalid traces",
            description,
            Chart::Bars(bars),
            table,
        );
        figure.notes.push(
            "A line over a bar is an interval of 95 % (Wilson's). Where trials vary more than single requests would, it is wider: then \
             trials count, and not single requests."
                .to_owned(),
        );
        figure
    })
}

/// A share in per cent, to a ten-thousandth.
fn percent(share: f64) -> f64 {
    (share * 1e6).round() / 1e4
}
