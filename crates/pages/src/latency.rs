//! Where the time goes, and how it is distributed.

use std::collections::BTreeMap;

use sb_figures::{
    Axis, Bars, Chart, Curve, Figure, Id, Layout, Order, Panel, Panels, Part, Row, Shape, Table, Tone,
    Variant, number,
};
use sb_report::{Figures, Group, GroupKey, Report, Status};

use crate::groups::Names;
use crate::shown::{Rows, float, millis};

/// One of three figures of some durations.
#[derive(Clone, Copy)]
struct Aggregate {
    name: &'static str,
    of: fn(&Figures) -> i64,
}

const AGGREGATES: [Aggregate; 3] = [
    Aggregate { name: "p50", of: |figures| figures.p50_ns },
    Aggregate { name: "p99", of: |figures| figures.p99_ns },
    Aggregate { name: "mean", of: |figures| figures.mean_ns },
];

/// The activities that some group has, as parts of bars. What is not classified has a part only where there is some.
fn parts(groups: &[&Group]) -> Vec<Part> {
    let Some(activities) = groups.iter().map(|group| &group.activities).find(|all| !all.is_empty()) else {
        return Vec::new();
    };
    let is_there = |place: usize| {
        groups.iter().filter_map(|group| group.activities.get(place)).any(|found| found.figures.p99_ns != 0)
    };
    let shown = activities
        .iter()
        .enumerate()
        .filter(|(place, found)| found.activity != "unclassified" || is_there(*place));
    shown
        .map(|(_, found)| Part { name: words(found.activity), tone: Tone::of_activity(found.activity) })
        .collect()
}

/// The name of an activity for people; the dataset spells one of them otherwise.
fn words(activity: &str) -> String {
    activity.replace("queing", "queueing").replace('_', " ")
}

/// The time of each part in a group, in milliseconds.
fn values(group: &Group, parts: &[Part], of: impl Fn(&Figures) -> i64) -> Vec<Option<f64>> {
    let find = |part: &Part| group.activities.iter().find(|found| words(found.activity) == part.name);
    parts.iter().map(|part| find(part).map(|found| millis(of(&found.figures)))).collect()
}

fn table(caption: &str, parts: &[Part], last: &[&str]) -> Table {
    let columns = parts.iter().map(|part| format!("#{} [ms]", part.name));
    let columns: Vec<String> = std::iter::once("group".to_owned())
        .chain(columns)
        .chain(last.iter().map(|name| format!("#{name}")))
        .collect();
    Table::new(caption, &columns.iter().map(String::as_str).collect::<Vec<_>>())
}

fn cells(name: &str, values: &[Option<f64>], last: impl IntoIterator<Item = String>) -> Vec<String> {
    let numbers = values.iter().map(|value| value.map_or(String::new(), float));
    std::iter::once(name.to_owned()).chain(numbers).chain(last).collect()
}

fn stacked(title: &str, parts: Vec<Part>, rows: Vec<Row>) -> Chart {
    let (axis, layout, order) = (Axis::linear(title, "ms"), Layout::Stacked, Order::LargestFirst);
    Chart::Bars(Bars { axis, layout, parts, rows, order })
}

/// Warm latency by activity, per application and per request type.
pub(crate) fn breakdowns(groups: &[Group], names: &Names) -> Vec<Figure> {
    let of = [
        ("latency-by-application", "Latency by application", false),
        ("latency-by-request-type", "Latency by request type", true),
    ];
    of.into_iter()
        .filter_map(|(id, title, is_of_type)| breakdown(id, title, is_of_type, groups, names))
        .collect()
}

fn breakdown(id: &str, title: &str, is_of_type: bool, groups: &[Group], names: &Names) -> Option<Figure> {
    let is_shown = |group: &&Group| {
        group.key.status == Some(Status::Warm)
            && group.key.request_type.is_some() == is_of_type
            && group.measured() > 0
    };
    let groups: Vec<&Group> = groups.iter().filter(is_shown).collect();
    if groups.is_empty() {
        return None;
    }
    let variants = AGGREGATES.map(|Aggregate { name, of }| {
        let parts = parts(&groups);
        let mut table = table(
            &format!("{title}, {name}, without cold starts"),
            &parts,
            &["duration [ms]", "traces", "failed traces", "errors"],
        );
        let mut rows = Vec::new();
        for group in &groups {
            let values = values(group, &parts, of);
            let own = group.duration.map(|duration| millis(of(&duration)));
            let called = names.name(&group.key);
            let counts = [group.measured(), group.failed_traces, group.errors].map(|count| count.to_string());
            let last = std::iter::once(own.map_or(String::new(), float)).chain(counts);
            table.rows.push(cells(&called, &values, last));
            let label = format!("{} ms, n = {}", own.map_or("unknown".to_owned(), number), group.measured());
            rows.push(Row { name: called, values, label, ..Row::default() });
        }
        Variant { name: name.to_owned(), chart: stacked("time on the critical path", parts, rows), table }
    });
    let mut notes = vec![
        "The number behind a bar is the aggregate of the whole durations. A p50 or p99 of the whole is not the sum of \
         those of the activities, so a bar can end elsewhere."
            .to_owned(),
    ];
    let failed: u64 = groups.iter().map(|group| group.failed_traces).sum();
    if failed > 0 {
        notes.push(format!(
            "{failed} traces of failed requests are left out. The table of groups has their times."
        ));
    }
    let errors: u64 = groups.iter().map(|group| group.errors).sum();
    if errors > failed {
        notes.push(format!(
            "{errors} traces have an error, a throttle or a fault. Those whose request was answered as expected are not left out."
        ));
    }
    Some(Figure {
        id: Id::new(id),
        title: title.to_owned(),
        description:
            "Where the time of requests without cold starts goes: each activity on the critical path."
                .to_owned(),
        notes,
        variants: variants.into(),
    })
}

/// What cold starts add, and what the slow requests add.
pub(crate) fn penalties<'a>(groups: &'a [Group], names: &Names) -> Vec<Figure> {
    let warm = |group: &&Group| {
        group.key.status == Some(Status::Warm) && group.key.request_type.is_some() && group.measured() > 0
    };
    let warm: Vec<&'a Group> = groups.iter().filter(warm).collect();
    let is_cold = |group: &&Group| group.key.status == Some(Status::Cold) && group.measured() > 0;
    let cold: Vec<&'a Group> = groups.iter().filter(is_cold).collect();
    let by_key: BTreeMap<&GroupKey, &Group> = cold.iter().map(|group| (&group.key, *group)).collect();
    let pair = |warm: &&'a Group| {
        let key = GroupKey { status: Some(Status::Cold), ..warm.key.clone() };
        by_key.get(&key).map(|cold| (*warm, *cold))
    };
    let pairs: Vec<(&Group, &Group)> = warm.iter().filter_map(pair).collect();
    let mut figures = Vec::new();
    if !pairs.is_empty() {
        figures.push(cold_penalty(
            &pairs,
            names,
            cold.iter().filter(|group| group.key.request_type.is_some()).count(),
        ));
    }
    if !warm.is_empty() {
        figures.push(slow_penalty(&warm, names));
    }
    figures
}

fn minus(one: &[Option<f64>], other: &[Option<f64>]) -> Vec<Option<f64>> {
    one.iter().zip(other).map(|(one, other)| Some((*one)? - (*other)?)).collect()
}

fn sum(values: &[Option<f64>]) -> f64 {
    values.iter().flatten().sum()
}

fn cold_penalty(pairs: &[(&Group, &Group)], names: &Names, of: usize) -> Figure {
    let all: Vec<&Group> = pairs.iter().flat_map(|(warm, cold)| [*warm, *cold]).collect();
    let variants = AGGREGATES.map(|Aggregate { name, of }| {
        let parts = parts(&all);
        let caption = format!("Cold minus warm, {name}");
        let mut table = table(&caption, &parts, &["sum [ms]", "cold traces", "warm traces"]);
        let mut rows = Vec::new();
        for (warm, cold) in pairs {
            let values = minus(&values(cold, &parts, of), &values(warm, &parts, of));
            let called = names.name(&warm.key);
            let whole = sum(&values);
            let last = [float(whole), cold.measured().to_string(), warm.measured().to_string()];
            table.rows.push(cells(&called, &values, last));
            let label = format!("{} ms, n = {} and {}", number(whole), cold.measured(), warm.measured());
            rows.push(Row { name: called, values, label, ..Row::default() });
        }
        Variant { name: name.to_owned(), chart: stacked("cold minus warm", parts, rows), table }
    });
    let mut notes = vec![
        "An activity to the left of zero is faster in cold requests. Requests in which only some functions were cold \
         count neither as cold nor as warm."
            .to_owned(),
    ];
    if of > pairs.len() {
        let (count, has) = match of - pairs.len() {
            1 => ("One group".to_owned(), "has"),
            count => (format!("{count} groups"), "have"),
        };
        notes.push(format!("{count} {has} cold requests only, and cannot be compared."));
    }
    Figure {
        id: Id::new("cold-penalty"),
        title: "What cold starts add".to_owned(),
        description: "How much longer each activity takes in requests in which all functions were cold."
            .to_owned(),
        notes,
        variants: variants.into(),
    }
}

fn slow_penalty(groups: &[&Group], names: &Names) -> Figure {
    let parts = parts(groups);
    let mut table = table("p99 minus p50, without cold starts", &parts, &["sum [ms]", "traces"]);
    let mut rows = Vec::new();
    for group in groups {
        let values = values(group, &parts, |figures| figures.p99_ns.saturating_sub(figures.p50_ns));
        let (called, whole) = (names.name(&group.key), sum(&values));
        table.rows.push(cells(&called, &values, [float(whole), group.measured().to_string()]));
        let label = format!("{} ms, n = {}", number(whole), group.measured());
        rows.push(Row { name: called, values, label, ..Row::default() });
    }
    let description = "How much more time each activity takes at its 99th percentile than at its median, without cold starts.";
    Figure::new(
        "slow-penalty",
        "What slow requests add",
        description,
        stacked("p99 minus p50", parts, rows),
        table,
    )
}

/// Latency as the load generator measured it; also without traces.
pub(crate) fn requests(groups: &[Group], names: &Names) -> Option<Figure> {
    let parts: Vec<Part> = AGGREGATES
        .iter()
        .zip(0..)
        .map(|(aggregate, at)| Part { name: aggregate.name.to_owned(), tone: Tone::Series(at) })
        .collect();
    let mut table = Table::new(
        "Latency from sending to the answer",
        &["group", "#p50 [ms]", "#p99 [ms]", "#mean [ms]", "#requests", "#failed", "#p50 of failed [ms]"],
    );
    let mut rows = Vec::new();
    for group in groups.iter().filter(|group| group.key.request_type.is_some() && group.key.status.is_none())
    {
        let Some(latency) = &group.latency else { continue };
        let called = names.name(&group.key);
        let values: Vec<_> =
            AGGREGATES.iter().map(|aggregate| Some(millis((aggregate.of)(latency)))).collect();
        let count = |count: Option<u64>| count.map_or(String::new(), |count| count.to_string());
        let apart = group.failed_latency.map_or(String::new(), |failed| float(millis(failed.p50_ns)));
        let last = [count(group.requests), count(group.failed_requests), apart];
        table.rows.push(cells(&called, &values, last));
        let label = format!("n = {}, {} failed", count(group.requests), count(group.failed_requests));
        rows.push(Row { name: called, values, label, ..Row::default() });
    }
    let bars = Bars {
        axis: Axis::linear("latency", "ms"),
        layout: Layout::SideBySide,
        parts,
        rows,
        order: Order::LargestFirst,
    };
    let description = "From sending a request to its answer, as the load generator measured it; of requests that were answered as expected.";
    let has_rows = !table.rows.is_empty();
    has_rows.then(|| {
        Figure::new("request-latency", "Latency as callers see it", description, Chart::Bars(bars), table)
    })
}

fn width(percent: Option<f64>) -> String {
    percent.map_or("interval unknown".to_owned(), |percent| format!("interval {} %", number(percent)))
}

const DISTRIBUTION: &str = "For each duration, the share of requests that took at most as long.";

/// Durations by cold-start status.
pub(crate) fn by_status(groups: &[Group], names: &Names) -> Option<Figure> {
    let mut table = Table::new(
        "Durations by cold-start status",
        &[
            "group",
            "status",
            "#traces",
            "#p50 [ms]",
            "#p99 [ms]",
            "#mean [ms]",
            "#relative width of the median's interval [%]",
        ],
    );
    let mut panels: BTreeMap<String, Panel> = BTreeMap::new();
    for group in groups.iter().filter(|group| group.key.request_type.is_some() && group.measured() > 0) {
        let (Some(status), Some(duration)) = (group.key.status, group.duration) else { continue };
        let called = names.name(&group.key);
        let numbers = [duration.p50_ns, duration.p99_ns, duration.mean_ns].map(|nanos| float(millis(nanos)));
        let mut row = vec![called.clone(), status.name().to_owned(), group.measured().to_string()];
        row.extend(numbers);
        row.push(group.median_width_percent.map_or(String::new(), float));
        table.rows.push(row);
        let panel =
            panels.entry(called.clone()).or_insert_with(|| Panel { name: called, ..Panel::default() });
        panel.curves.push(Curve {
            name: status.name().to_owned(),
            note: format!("n = {}, {}", group.measured(), width(group.median_width_percent)),
            tone: Tone::of_status(status.name()),
            shape: Shape::Steps,
            points: group.curve.iter().map(|(seconds, share)| (seconds * 1000.0, *share)).collect(),
            intervals: Vec::new(),
        });
    }
    let panels = Panels {
        x: Axis::logarithmic("duration", "ms"),
        y: Axis::linear("share of requests", "").within(0.0, 1.0),
        panels: panels.into_values().collect(),
    };
    let has_rows = !table.rows.is_empty();
    has_rows.then(|| {
        let mut figure =
            Figure::new("ecdf-by-status", "Durations by cold-start status", DISTRIBUTION, Chart::Panels(panels), table);
        figure.notes.push(
            "The interval is the relative width of the 95 % confidence interval of the median, with traces as independent. A curve has at most 300 points."
                .to_owned(),
        );
        figure
    })
}

/// Durations by workload, of runs that compare workloads.
pub(crate) fn by_workload(report: &Report) -> Option<Figure> {
    let points = Rows::of(report, "exp3_ecdf")?;
    let mut widths: BTreeMap<(String, String), String> = BTreeMap::new();
    if let Some(rows) = Rows::of(report, "exp3_workloads") {
        for row in 0..rows.count() {
            let panel = format!("{} ({})", rows.text(row, "app"), rows.text(row, "request_type"));
            let known = rows.number(row, "rciw").filter(|width| width.is_finite());
            let note = format!("n = {}, {}", rows.text(row, "n"), width(known));
            widths.insert((panel, rows.text(row, "workload")), note);
        }
    }
    let mut panels: BTreeMap<String, BTreeMap<String, Vec<(f64, f64)>>> = BTreeMap::new();
    for row in 0..points.count() {
        let (Some(x), Some(y)) = (points.number(row, "x"), points.number(row, "y")) else { continue };
        let curves = panels.entry(points.text(row, "panel")).or_default();
        curves.entry(points.text(row, "workload")).or_default().push((x * 1000.0, y));
    }
    // The same workload looks the same in every panel.
    let workloads: BTreeMap<String, u8> = panels
        .values()
        .flat_map(BTreeMap::keys)
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .zip((0..=u8::MAX).cycle())
        .map(|(name, number)| (name.clone(), number))
        .collect();
    let panels = panels.into_iter().map(|(name, curves)| {
        let curves = curves.into_iter().map(|(workload, points)| Curve {
            note: widths.get(&(name.clone(), workload.clone())).cloned().unwrap_or_default(),
            tone: Tone::Series(workloads.get(&workload).copied().unwrap_or_default()),
            name: workload,
            shape: Shape::Steps,
            points,
            intervals: Vec::new(),
        });
        Panel { curves: curves.collect(), name, marks: Vec::new() }
    });
    let panels = Panels {
        x: Axis::logarithmic("duration", "ms"),
        y: Axis::linear("share of requests", "").within(0.0, 1.0),
        panels: panels.collect(),
    };
    let table = report.table("exp3_workloads").map(crate::shown::shown).unwrap_or_default();
    Some(Figure::new("ecdf-by-workload", "Durations by workload", DISTRIBUTION, Chart::Panels(panels), table))
}
