//! Groups of traces by application, request type, label, factors of the matrix, and cold-start status.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::execution::{ACTIVITIES, Execution, flag};
use crate::figures::{Aggregates, aggregates, median_width, sorted_seconds};
use crate::parallel;
use crate::read::{Dataset, NO_LATENCY};
use crate::table::{Cell, Kind, Table};
use crate::units::{Status, Unit, UnitPart, units};

/// Mean, median and 99th percentile, in nanoseconds. The quantiles are linear between their neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// The mean.
    pub mean_ns: i64,
    /// The median.
    pub p50_ns: i64,
    /// The 99th percentile.
    pub p99_ns: i64,
}

impl From<Aggregates> for Figures {
    fn from(all: Aggregates) -> Self {
        Self { mean_ns: all.mean, p50_ns: all.p50, p99_ns: all.p99 }
    }
}

/// An activity on the critical paths of a group. An activity that is not on a path counts as 0 there.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ActivityFigures {
    /// Its name, as in `trace_breakdown.csv`.
    pub activity: &'static str,
    /// Its times.
    #[serde(flatten)]
    pub figures: Figures,
    /// Its mean as a part of the mean duration, 0 to 1; `None` where the durations are 0.
    pub mean_share: Option<f64>,
}

/// What the traces and requests of a group are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GroupKey {
    /// The application's name.
    pub application: Arc<str>,
    /// `None`: all types together.
    pub request_type: Option<Arc<str>>,
    /// The executions' label.
    pub label: Option<Arc<str>>,
    /// Factors of the plan's matrix, with their levels.
    pub factors: BTreeMap<String, String>,
    /// `None`: whatever the status is.
    pub status: Option<Status>,
}

/// A group and its figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// What is in it.
    #[serde(flatten)]
    pub key: GroupKey,
    /// Executions with such traces or requests.
    pub executions: u64,
    /// Valid traces.
    pub traces: u64,
    /// Traces with an error, a throttle or a fault.
    pub errors: u64,
    /// Cold starts in all these traces.
    pub cold_starts: u64,
    /// Traces that could not be analysed. They have no type and no status: known of all types together only.
    pub invalid: Option<u64>,
    /// Requests that were sent; `None` for a single status, or where no file says it.
    pub requests: Option<u64>,
    /// Requests that were not answered as expected.
    pub failed_requests: Option<u64>,
    /// From sending to the answer, as the load generator measured it; of answered requests.
    pub latency: Option<Figures>,
    /// From the first start to the last end of the trace; `None`: there is no trace.
    pub duration: Option<Figures>,
    /// The relative width of the 95 % confidence interval of the median duration, in percent. `None`: there are too few traces. It
    /// treats traces as independent.
    pub median_width_percent: Option<f64>,
    /// All nine, in the order of the study's tables; empty without a trace.
    pub activities: Vec<ActivityFigures>,
    /// Of a request type and status: the cumulative distribution of durations, as seconds and the share of traces that take at most
    /// as long. At most 300 points, evenly spread over the sorted durations.
    #[serde(skip)]
    pub curve: Vec<(f64, f64)>,
}

/// Points of a group's curve.
const POINTS: usize = 300;

/// The cumulative distribution of values in ascending order.
fn curve(sorted: &[f64]) -> Vec<(f64, f64)> {
    let count = sorted.len();
    let shown = count.min(POINTS);
    // The last of each of `shown` equal stretches: its share is exact.
    (1..=shown)
        .map(|stretch| stretch * count / shown - 1)
        .map(|place| {
            (sorted[place], sorted.partition_point(|value| *value <= sorted[place]) as f64 / count as f64)
        })
        .collect()
}

/// What a group is made of.
#[derive(Default)]
struct Members<'d> {
    traces: Vec<(&'d UnitPart<'d>, Vec<u32>)>,
    /// Executions, and the types of the requests that count; `None`: all.
    requests: Vec<(&'d Execution, Option<u32>)>,
    invalid: Option<u64>,
}

/// The groups of all executions.
pub(crate) fn groups(dataset: &Dataset) -> Vec<Group> {
    let executions: Vec<&Execution> = dataset.executions.iter().collect();
    let units = units(&executions, |_, _| true);
    let mut members: BTreeMap<GroupKey, Members<'_>> = BTreeMap::new();
    for unit in &units {
        for part in &unit.parts {
            add_traces(&mut members, unit, part);
        }
    }
    for execution in &executions {
        add_requests(&mut members, execution);
    }
    let members: Vec<_> = members.into_iter().collect();
    parallel::map(&members, |_, (key, members)| figures(key, members, dataset.as_published))
}

fn key_of(execution: &Execution, request_type: Option<&Arc<str>>, status: Option<Status>) -> GroupKey {
    GroupKey {
        application: execution.application.clone(),
        request_type: request_type.cloned(),
        label: execution.config.label().map(Into::into),
        factors: execution.config.factors.clone(),
        status,
    }
}

fn add_traces<'d>(members: &mut BTreeMap<GroupKey, Members<'d>>, unit: &Unit<'_>, part: &'d UnitPart<'d>) {
    let mut by_status: [Vec<u32>; Status::ALL.len()] = Default::default();
    for row in &part.rows {
        by_status[unit.status(part, *row) as usize].push(*row);
    }
    for request_type in [None, Some(&unit.request_type)] {
        for (status, rows) in Status::ALL.into_iter().zip(&by_status) {
            if !rows.is_empty() {
                let key = key_of(part.execution, request_type, Some(status));
                members.entry(key).or_default().traces.push((part, rows.clone()));
            }
        }
        let key = key_of(part.execution, request_type, None);
        members.entry(key).or_default().traces.push((part, part.rows.clone()));
    }
}

fn add_requests<'d>(members: &mut BTreeMap<GroupKey, Members<'d>>, execution: &'d Execution) {
    let of_all = members.entry(key_of(execution, None, None)).or_default();
    *of_all.invalid.get_or_insert_default() += execution.invalid;
    let Some(sent) = &execution.sent else { return };
    of_all.requests.push((execution, None));
    let mut seen = vec![false; execution.types.len()];
    for kind in &sent.kinds {
        if let Some(seen) = seen.get_mut(*kind as usize) {
            *seen = true;
        }
    }
    for (kind, name) in (0_u32..).zip(&execution.types).filter(|(kind, _)| seen[*kind as usize]) {
        let key = key_of(execution, Some(name), None);
        members.entry(key).or_default().requests.push((execution, Some(kind)));
    }
}

fn figures(key: &GroupKey, members: &Members<'_>, as_published: bool) -> Group {
    let mut values = Vec::new();
    let gather = |values: &mut Vec<i64>, part: &UnitPart<'_>, rows: &[u32], activity: Option<usize>| {
        let numbers = match activity {
            Some(activity) => &part.traces.parts[activity],
            None => &part.traces.durations,
        };
        numbers.gather(rows.iter().copied(), values);
    };
    let (mut errors, mut cold_starts) = (0, 0);
    let mut folders: Vec<&std::path::Path> = Vec::new();
    for (part, rows) in &members.traces {
        gather(&mut values, part, rows, None);
        folders.push(&part.execution.folder);
        for row in rows {
            let erroneous = flag::ERROR | flag::THROTTLE | flag::FAULT;
            errors += u64::from(part.traces.flags[*row as usize] & erroneous != 0);
            cold_starts += u64::from(part.traces.cold_starts[*row as usize]);
        }
    }
    let traces = values.len() as u64;
    let duration = aggregates(&mut values, 1000);
    let seconds = sorted_seconds(std::mem::take(&mut values));
    let width = median_width(&seconds, as_published);
    let has_curve = key.request_type.is_some() && key.status.is_some();
    let curve = if has_curve { curve(&seconds) } else { Vec::new() };
    let mut activities = Vec::new();
    if let Some(duration) = duration {
        for (place, activity) in ACTIVITIES.into_iter().enumerate() {
            values.clear();
            for (part, rows) in &members.traces {
                gather(&mut values, part, rows, Some(place));
            }
            let Some(figures) = aggregates(&mut values, 1000) else { continue };
            let share = (duration.mean != 0).then(|| figures.mean as f64 / duration.mean as f64);
            activities.push(ActivityFigures { activity, figures: figures.into(), mean_share: share });
        }
    }
    values.clear();
    let (mut requests, mut failed) = (0, 0);
    for (execution, kind) in &members.requests {
        let Some(sent) = &execution.sent else { continue };
        folders.push(&execution.folder);
        for (place, found) in sent.kinds.iter().enumerate() {
            if kind.is_none_or(|kind| kind == *found) {
                requests += 1;
                failed += u64::from(sent.failed[place]);
                let nanos = sent.latency_nanos.get(place);
                if nanos != NO_LATENCY {
                    values.push(nanos);
                }
            }
        }
    }
    folders.sort_unstable();
    folders.dedup();
    let has_requests = !members.requests.is_empty();
    Group {
        key: key.clone(),
        executions: folders.len() as u64,
        traces,
        errors,
        cold_starts,
        invalid: members.invalid,
        requests: has_requests.then_some(requests),
        failed_requests: has_requests.then_some(failed),
        latency: aggregates(&mut values, 1).map(Into::into),
        duration: duration.map(Into::into),
        median_width_percent: width.filter(|width| width.is_finite()),
        activities,
        curve,
    }
}

/// The groups as tables: one row per group, and one per group and activity.
pub(crate) fn tables(groups: &[Group]) -> Vec<Table> {
    let mut names: Vec<&String> = groups.iter().flat_map(|group| group.key.factors.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let factors: Vec<String> = names.iter().map(|name| format!("factor_{name}")).collect();
    let mut keys: Vec<(&str, Kind)> =
        ["app", "request_type", "label", "status"].iter().map(|name| (*name, Kind::Text)).collect();
    keys.extend(factors.iter().map(|name| (name.as_str(), Kind::Text)));
    let row = |group: &Group| {
        let mut row: Vec<Cell> = vec![
            group.key.application.clone().into(),
            group.key.request_type.clone().into(),
            group.key.label.clone().into(),
            group.key.status.map(Status::name).into(),
        ];
        row.extend(names.iter().map(|name| Cell::from(group.key.factors.get(*name).map(String::as_str))));
        row
    };
    let counts = [
        "executions",
        "traces",
        "errors",
        "cold_starts",
        "invalid",
        "requests",
        "failed_requests",
        "latency_mean_ns",
        "latency_p50_ns",
        "latency_p99_ns",
        "duration_mean_ns",
        "duration_p50_ns",
        "duration_p99_ns",
    ];
    let counts = counts.map(|name| (name, Kind::Integer));
    let mut all = Table::new(
        "groups",
        "One row per application, request type (empty: all), label, levels of factors, and cold-start status (empty: all).",
        &[&keys[..], &counts[..], &[("median_width_percent", Kind::Float)]].concat(),
    );
    let figures = [
        ("mean_ns", Kind::Integer),
        ("p50_ns", Kind::Integer),
        ("p99_ns", Kind::Integer),
        ("mean_share", Kind::Float),
    ];
    let mut by_activity = Table::new(
        "group_activities",
        "One row per group and activity: its time on the critical path, and its mean as a part of the mean duration.",
        &[&keys[..], &[("activity", Kind::Text), ("traces", Kind::Integer)], &figures[..]].concat(),
    );
    for group in groups {
        let mut cells = row(group);
        cells.extend([
            group.executions.into(),
            group.traces.into(),
            group.errors.into(),
            group.cold_starts.into(),
        ]);
        cells.extend([group.invalid.into(), group.requests.into(), group.failed_requests.into()]);
        for figures in [group.latency, group.duration] {
            cells.extend([
                figures.map(|figures| figures.mean_ns).into(),
                figures.map(|figures| figures.p50_ns).into(),
                Cell::from(figures.map(|figures| figures.p99_ns)),
            ]);
        }
        cells.push(group.median_width_percent.into());
        all.push(cells);
        for activity in &group.activities {
            let mut cells = row(group);
            cells.extend([activity.activity.into(), group.traces.into()]);
            cells.extend(
                [activity.figures.mean_ns, activity.figures.p50_ns, activity.figures.p99_ns].map(Cell::from),
            );
            cells.push(activity.mean_share.into());
            by_activity.push(cells);
        }
    }
    vec![all, by_activity]
}

#[cfg(test)]
mod tests {
    use super::curve;

    #[test]
    fn a_curve_has_exact_shares_and_keeps_its_end() {
        assert_eq!(curve(&[]), []);
        assert_eq!(curve(&[1.0, 1.0, 3.0]), [(1.0, 2.0 / 3.0), (1.0, 2.0 / 3.0), (3.0, 1.0)]);
        let many: Vec<f64> = (1..=10_000).map(f64::from).collect();
        let points = curve(&many);
        assert_eq!((points.len(), points[299]), (300, (10_000.0, 1.0)));
        assert!(points.iter().all(|(value, share)| (value / 10_000.0 - share).abs() < 1e-12));
    }
}
