//! Rates over time, and how far they are apart.

use super::with_extra;
use crate::execution::Execution;
use crate::experiment::Experiment;
use crate::read::Dataset;
use crate::series::{NAMES, Rates};
use crate::table::{Cell, Kind, Table};

/// The application whose rates the published analysis prints, and which of its executions of exp3.
const PRINTED: &str = "todo_api";
const COMPARED: usize = 3;

/// An execution and its rates.
pub(super) type WithRates<'d> = (&'d Execution, Rates);

/// The name of the folder of an execution.
pub(super) fn folder(execution: &Execution) -> Cell {
    execution.folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default().into()
}

pub(super) fn per_second(all: &[WithRates<'_>], as_published: bool) -> Table {
    let first = [("execution", Kind::Text), ("second", Kind::Integer)];
    let rates = ["workload_rates_ips", "workload_options_ips", "k6_invocations_ips", "trace_breakdown_ips"]
        .map(|name| (name, Kind::Float));
    let mut table = Table::new(
        "per_second",
        "One row per second of an execution: invocations by the pattern, as planned, as sent, as traced.",
        &with_extra(&[&first[..], &rates[..]].concat(), &[("app", Kind::Text)], as_published),
    );
    for (execution, rates) in
        all.iter().filter(|(execution, _)| !as_published || &*execution.application == PRINTED)
    {
        let name = folder(execution);
        for second in 0..rates.seconds() {
            let mut row = vec![name.clone(), second.into()];
            row.extend(rates.at(second).map(Cell::from));
            if !as_published {
                row.push(execution.application.clone().into());
            }
            table.push(row);
        }
    }
    table
}

pub(super) fn trace_vs_workload(all: &[WithRates<'_>], as_published: bool) -> Table {
    let columns = ["planned", "sent", "executed", "sent_vs_planned", "executed_vs_planned"];
    let columns = columns.map(|name| (name, Kind::Float));
    let extra = [("app", Kind::Text), ("execution", Kind::Text)];
    let mut table = Table::new(
        "trace_vs_workload",
        "One row per second of an execution with a plan: planned, sent and traced invocations, and their ratios.",
        &with_extra(&[&[("second", Kind::Integer)], &columns[..]].concat(), &extra, as_published),
    );
    let shown: Vec<&WithRates<'_>> = if as_published {
        let of_experiment = all.iter().filter(|(execution, _)| {
            &*execution.application == PRINTED
                && Experiment::of(execution, as_published) == Experiment::Patterns
        });
        of_experiment.skip(COMPARED).take(1).collect()
    } else {
        all.iter().filter(|(_, rates)| rates.all[1].is_some()).collect()
    };
    for (execution, rates) in shown {
        let name = folder(execution);
        let seconds = rates.all[1..].iter().flatten().map(Vec::len).max().unwrap_or_default();
        for second in 0..seconds {
            let [_, planned, sent, traced] = rates.at(second);
            let ratio = |part: Option<f64>| Some(part? / planned?);
            let mut row: Vec<Cell> = vec![second.into()];
            // As published, what is missing is written as not a number.
            let or_nan = |cell: Option<f64>| if as_published { cell.or(Some(f64::NAN)) } else { cell };
            row.extend([planned, sent, traced, ratio(sent), ratio(traced)].map(or_nan).map(Cell::from));
            if !as_published {
                row.extend([execution.application.clone().into(), name.clone()]);
            }
            table.push(row);
        }
    }
    table
}

pub(super) fn distances(all: &[WithRates<'_>], as_published: bool) -> Table {
    let first =
        [("logs_path", Kind::Text), ("pair", Kind::Text), ("n_x", Kind::Integer), ("n_y", Kind::Integer)];
    let distances: &[_] = if as_published {
        &[("fastdtw", Kind::Float), ("exact", Kind::Float)]
    } else {
        &[("exact", Kind::Float)]
    };
    let mut table = Table::new(
        "dtw",
        "One row per execution and pair of series of rates: their distance by dynamic time warping, in invocations.",
        &[&first[..], distances].concat(),
    );
    for (execution, rates) in all {
        for pair in rates.pairs(as_published) {
            let names = format!("{} {}", NAMES[pair.first], NAMES[pair.first + 1]);
            let mut row: Vec<Cell> = vec![
                execution.logs_path.as_str().into(),
                names.into(),
                pair.lengths.0.into(),
                pair.lengths.1.into(),
            ];
            if as_published {
                row.push(pair.approximate.into());
            }
            row.push(pair.exact.into());
            table.push(row);
        }
    }
    table
}

pub(super) fn patterns(dataset: &Dataset) -> Table {
    let columns = [("pattern", Kind::Text), ("minute", Kind::Integer), ("rate_per_second", Kind::Integer)];
    let about =
        "One row per minute of a pattern: invocations per second as traced, rounded to a whole number.";
    let mut table = Table::new("patterns", about, &columns);
    for (name, counts) in &dataset.patterns {
        for (minute, count) in counts.iter().enumerate() {
            let rate = (count / 60.0).round_ties_even() as i64;
            table.push([Cell::from(*name), minute.into(), rate.into()]);
        }
    }
    table
}
