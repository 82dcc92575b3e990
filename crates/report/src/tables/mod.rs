//! Every table of a report.

mod exp1;
mod exp3;
pub(crate) mod groups;
pub(crate) mod overview;
mod rates;
mod workloads;

use std::collections::BTreeMap;

use crate::execution::Execution;
use crate::experiment::Experiment;
use crate::figures::{QUANTILES, round_scaled, sorted_quantile};
use crate::note::Note;
use crate::parallel;
use crate::read::Dataset;
use crate::series::Rates;
use crate::table::{Cell, Kind, Table};
use crate::units::{FewCold, Unit, units};

/// Columns of the published table, and those that are added by default.
fn with_extra<'a>(
    columns: &[(&'a str, Kind)],
    extra: &[(&'a str, Kind)],
    as_published: bool,
) -> Vec<(&'a str, Kind)> {
    let extra = if as_published { &[] } else { extra };
    [columns, extra].concat()
}

fn quantile_columns() -> Vec<(&'static str, Kind)> {
    QUANTILES.iter().map(|(name, _)| (*name, Kind::Float)).collect()
}

/// Of seconds in ascending order.
fn quantile_cells(seconds: &[f64]) -> impl Iterator<Item = Cell> + '_ {
    QUANTILES.iter().map(|(_, q)| sorted_quantile(seconds, *q).into())
}

/// A count with the relative width of the median's interval: `124 (8.43)`.
fn width_label(count: usize, width: Option<f64>) -> String {
    match width.map(|width| round_scaled(width, 2)) {
        None => format!("{count} (too few)"),
        Some(width) if width.is_nan() => format!("{count} (nan)"),
        Some(width) => format!("{count} ({width:?})"),
    }
}

/// The tables of the study, and what to know about them.
pub(crate) fn all(dataset: &Dataset) -> (Vec<Table>, Vec<Note>) {
    let as_published = dataset.as_published;
    let mut notes = Vec::new();
    let labelled: Vec<&Execution> =
        dataset.executions.iter().filter(|execution| execution.config.is_labelled(as_published)).collect();
    let without = dataset.executions.len() - labelled.len();
    if without > 0 {
        let have = if without == 1 { "has" } else { "have" };
        let message = format!(
            "{} {have} no label: what has none counts in `groups` only, in no table of the study",
            sb_measurement::counted(without, "execution")
        );
        notes.push(Note::general(message));
    }
    let of = |experiment| -> Vec<&Execution> {
        let is_it = |execution: &&Execution| Experiment::of(execution, as_published) == experiment;
        labelled.iter().copied().filter(is_it).collect()
    };

    let with_rates: Vec<_> =
        parallel::map(&labelled, |_, execution| (*execution, Rates::of(execution, as_published)));
    let rows =
        parallel::map(&with_rates, |_, (execution, rates)| overview::row(execution, rates, as_published));
    let mut overview = overview::empty("overview", as_published);
    let mut levels = overview::empty("exp2_load_levels", as_published);
    for ((execution, _), row) in with_rates.iter().zip(rows) {
        if Experiment::of(execution, as_published) == Experiment::Levels {
            levels.push(row.clone());
        }
        overview.push(row);
    }
    let mut tables = vec![overview, levels];

    for (experiment, executions) in [("exp1", of(Experiment::Latency)), ("exp3", of(Experiment::Patterns))] {
        for execution in &executions {
            if execution.traces.as_ref().is_none_or(|traces| traces.count() == 0) {
                let message = format!("it has no valid trace, and is left out of the tables of {experiment}");
                notes.push(Note::remark(&execution.folder, message));
            }
        }
    }
    let latency = units(&of(Experiment::Latency), |_, _| true);
    let patterns = exp3::counted(&of(Experiment::Patterns), as_published);
    let after = exp3::after_warm_up(&patterns);
    let everything: Vec<&Execution> = dataset.executions.iter().collect();
    notes.extend(few_cold(&[
        ("exp1", &latency),
        ("exp3", &after),
        ("groups", &units(&everything, |_, _| true)),
    ]));
    tables.extend(exp1::tables(&latency, as_published));
    tables.extend(exp3::tables(&patterns, &after, as_published));
    tables.push(rates::per_second(&with_rates, as_published));
    tables.push(rates::trace_vs_workload(&with_rates, as_published));
    tables.push(rates::distances(&with_rates, as_published));
    tables.push(rates::patterns(dataset));
    if !as_published {
        // The study compares pictures, and has no numbers.
        tables.extend(workloads::tables(&everything));
    }
    (tables, notes)
}

/// One note per type of requests of which so few traces are cold that these may be exceptions, with the tables that have it.
fn few_cold(tables: &[(&str, &[Unit<'_>])]) -> Vec<Note> {
    let mut found: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for (table, units) in tables {
        for unit in *units {
            if let Some(few) = unit.few_cold() {
                let key = (unit.application.clone(), unit.request_type.clone(), few);
                found.entry(key).or_default().push(table);
            }
        }
    }
    let notes = found.into_iter().map(|((application, request_type, few), tables)| {
        let FewCold { cold, partial, most } = few;
        let (noun, verb) = if cold == 1 { ("trace", "has") } else { ("traces", "have") };
        Note::general(format!(
            "{application} {request_type}, in {}: only {cold} {noun} {verb} the most cold starts, {most}. Because of that, \
             {partial} with fewer count as partial and not as cold; a retry may have started a function twice",
            tables.join(" and ")
        ))
    });
    notes.collect()
}
