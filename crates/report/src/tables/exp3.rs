//! What the pattern of invocations does to durations.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::exp1::{letter, status_row, status_table};
use super::{quantile_cells, quantile_columns, with_extra};
use crate::execution::Execution;
use crate::figures::{median_width, sorted_quantile, sorted_seconds};
use crate::parallel;
use crate::table::{Cell, Kind, Table};
use crate::units::{Status, Unit, units};

/// Traces that start earlier, in microseconds, are left out: an application warms up.
const WARM_UP: i64 = 60_000_000;

/// Colours of workloads, by the alphabetical place of their labels.
const COLOURS: [&str; 6] = ["#1B9E77", "#D95F02", "#7570B3", "#E7298A", "#66A61E", "#E6AB02"];

/// The letters of the types whose distributions the paper shows.
const PAPER: [&str; 4] = ["B", "C", "D", "F"];

/// Points of a curve that is not the published one.
const POINTS: usize = 1000;

/// The executions that count. As published, that is only the last one of an application with a workload label.
pub(super) fn counted<'d>(executions: &[&'d Execution], as_published: bool) -> Vec<&'d Execution> {
    if !as_published {
        return executions.to_vec();
    }
    let mut last = BTreeMap::new();
    for (place, execution) in executions.iter().enumerate() {
        last.insert((execution.application.clone(), execution.config.workload()), place);
    }
    let mut places: Vec<usize> = last.into_values().collect();
    places.sort_unstable();
    places.into_iter().map(|place| executions[place]).collect()
}

/// The traces of a workload, those of the first minute included, by application, type and workload label.
type Counts = BTreeMap<(Arc<str>, Arc<str>, String), usize>;

/// Rows of one type of requests.
#[derive(Default)]
struct TypeRows {
    workloads: Vec<Vec<Cell>>,
    statuses: Vec<Vec<Cell>>,
    curves: Vec<Vec<Cell>>,
}

/// The units of executions, without the traces of the first minute.
pub(super) fn after_warm_up<'d>(executions: &[&'d Execution]) -> Vec<Unit<'d>> {
    units(executions, |traces, row| traces.starts.get(row as usize) >= WARM_UP)
}

/// The tables of exp3: workloads, cold-start status, distributions. Of the executions that count, and their units
/// [after the first minute](after_warm_up).
pub(super) fn tables(executions: &[&Execution], after: &[Unit<'_>], as_published: bool) -> Vec<Table> {
    let mut all = Counts::new();
    for unit in units(executions, |_, _| true) {
        for part in &unit.parts {
            let key = (unit.application.clone(), unit.request_type.clone(), part.execution.config.workload());
            *all.entry(key).or_default() += part.rows.len();
        }
    }
    let first = [
        ("app", Kind::Text),
        ("request_type", Kind::Text),
        ("workload", Kind::Text),
        ("n_all", Kind::Integer),
        ("n_after_skip", Kind::Integer),
        ("clip_above", Kind::Float),
        ("n", Kind::Integer),
        ("rciw", Kind::Float),
    ];
    let mut workloads = Table::new(
        "exp3_workloads",
        "One row per application, request type and workload: durations in seconds, without traces of the first minute. \
         `clip_above` is the 99th percentile of the type over all workloads.",
        &with_extra(&[&first[..], &quantile_columns()].concat(), &[("n_above", Kind::Integer)], as_published),
    );
    let mut statuses = status_table("exp3_coldstart_status");
    let point = [("x", Kind::Float), ("y", Kind::Float)];
    let mut curves = Table::new(
        "exp3_ecdf",
        "One row per point of a cumulative distribution: the share `y` of traces takes at most `x` seconds.",
        &[&["panel", "workload", "colour"].map(|name| (name, Kind::Text))[..], &point[..]].concat(),
    );
    for of_type in parallel::map(after, |_, unit| type_rows(unit, &all, as_published)) {
        let parts = [
            (&mut workloads, of_type.workloads),
            (&mut statuses, of_type.statuses),
            (&mut curves, of_type.curves),
        ];
        for (table, rows) in parts {
            for row in rows {
                table.push(row);
            }
        }
    }
    vec![workloads, statuses, curves]
}

fn type_rows(unit: &Unit<'_>, all: &Counts, as_published: bool) -> TypeRows {
    let mut found = TypeRows::default();
    let mut by_workload: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    let mut durations = Vec::new();
    for part in &unit.parts {
        let workload = by_workload.entry(part.execution.config.workload()).or_default();
        part.traces.durations.gather(part.rows.iter().copied(), workload);
        part.traces.durations.gather(part.rows.iter().copied(), &mut durations);
    }
    let Some(limit) = sorted_quantile(&sorted_seconds(durations), 0.99) else { return found };
    // The data is clipped as published only; otherwise the axis of a figure is.
    let stays = |micros: &i64| !as_published || *micros as f64 / 1e6 <= limit;
    let panel = match letter(&unit.application, &unit.request_type) {
        Some(letter) if as_published => PAPER.contains(&letter).then(|| format!("App-{letter}")),
        None if as_published => None,
        _ => Some(format!("{} ({})", unit.application, unit.request_type)),
    };
    for (place, (label, durations)) in by_workload.into_iter().enumerate() {
        let after_skip = durations.len();
        let seconds = sorted_seconds(durations.into_iter().filter(stays).collect());
        if seconds.is_empty() {
            continue;
        }
        let above = seconds.len() - seconds.partition_point(|seconds| *seconds <= limit);
        let key = (unit.application.clone(), unit.request_type.clone(), label.clone());
        let mut row: Vec<Cell> = vec![
            unit.application.clone().into(),
            unit.request_type.clone().into(),
            label.as_str().into(),
            all.get(&key).copied().unwrap_or_default().into(),
            after_skip.into(),
            limit.into(),
            seconds.len().into(),
            median_width(&seconds, as_published).into(),
        ];
        row.extend(quantile_cells(&seconds));
        if !as_published {
            row.push(above.into());
        }
        found.workloads.push(row);
        if let Some(panel) = &panel {
            let colour = COLOURS[place % COLOURS.len()];
            for (x, y) in curve(&seconds, as_published) {
                let texts = [panel.as_str(), label.as_str(), colour].map(Cell::from);
                found.curves.push(texts.into_iter().chain([x.into(), y.into()]).collect());
            }
        }
    }
    for status in Status::ALL {
        let mut durations = Vec::new();
        for (part, rows) in unit.with_status(status) {
            durations.extend(rows.into_iter().map(|row| part.duration(row)).filter(stays));
        }
        found.statuses.extend(status_row(unit, status, durations, as_published));
    }
    found
}

/// At each distinct value, the share that is not above it. Beyond what a picture can show, points are left out evenly.
fn curve(sorted: &[f64], all_points: bool) -> Vec<(f64, f64)> {
    let mut points = Vec::new();
    for (place, value) in sorted.iter().enumerate() {
        if sorted.get(place + 1) != Some(value) {
            points.push((*value, (place + 1) as f64 / sorted.len() as f64));
        }
    }
    if all_points || points.len() <= POINTS {
        return points;
    }
    let last = points.len() - 1;
    (0..POINTS).map(|step| points[step * last / (POINTS - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_a_point_per_distinct_value_and_keeps_its_ends() {
        assert_eq!(curve(&[1.0, 1.0, 2.0, 4.0], true), [(1.0, 0.5), (2.0, 0.75), (4.0, 1.0)]);
        let many: Vec<f64> = (0..50_000).map(f64::from).collect();
        let thinned = curve(&many, false);
        assert_eq!((thinned.len(), thinned[0].0, thinned[POINTS - 1]), (POINTS, 0.0, (49_999.0, 1.0)));
        assert_eq!(curve(&many, true).len(), 50_000);
    }
}
