//! Rates over time: planned, sent, executed, and their ratios.

use std::collections::BTreeMap;

use sb_figures::{Axis, Chart, Curve, Figure, Panel, Panels, Shape, Tone};
use sb_report::Report;

use crate::shown::{Rows, shown};

/// Columns of `per_second`, and what they are.
const RATES: [(&str, &str, Tone); 4] = [
    ("workload_rates_ips", "pattern", Tone::Neutral),
    ("workload_options_ips", "planned", Tone::Planned),
    ("k6_invocations_ips", "sent", Tone::Sent),
    ("trace_breakdown_ips", "executed", Tone::Executed),
];

/// Columns of `trace_vs_workload`, and what they are.
const RATIOS: [(&str, &str, Tone); 2] = [
    ("sent_vs_planned", "sent to planned", Tone::Sent),
    ("executed_vs_planned", "executed to planned", Tone::Executed),
];

pub(crate) fn rates(report: &Report) -> Vec<Figure> {
    let rates = panels(report, "per_second", &RATES).map(|panels| {
        let panels = Panels { x: Axis::linear("time", "s"), y: Axis::linear("rate", "1/s"), panels };
        let description =
            "Requests per second of each execution: as planned, as sent, and as executed by the traces.";
        let table = report.table("per_second").map(shown).unwrap_or_default();
        Figure::new("rates", "Planned, sent and executed rates", description, Chart::Panels(panels), table)
    });
    let ratios = panels(report, "trace_vs_workload", &RATIOS).map(|panels| {
        let panels = Panels { x: Axis::linear("time", "s"), y: Axis::linear("ratio", ""), panels };
        let description = "What was sent and executed in each second, as a part of what was planned for it.";
        let table = report.table("trace_vs_workload").map(shown).unwrap_or_default();
        let mut figure = Figure::new(
            "rate-ratios",
            "Sent and executed to planned",
            description,
            Chart::Panels(panels),
            table,
        );
        figure.notes.push("A second for which nothing was planned has no ratio.".to_owned());
        figure
    });
    rates.into_iter().chain(ratios).collect()
}

/// A panel for each execution that has one of the columns. Executions without a name are one.
fn panels(report: &Report, table: &str, columns: &[(&str, &str, Tone)]) -> Option<Vec<Panel>> {
    let rows = Rows::of(report, table)?;
    let mut executions: BTreeMap<String, Vec<Vec<(f64, f64)>>> = BTreeMap::new();
    for row in 0..rows.count() {
        let Some(second) = rows.number(row, "second") else { continue };
        let name = [rows.text(row, "app"), rows.text(row, "execution")];
        let name = name.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ");
        let curves = executions.entry(name).or_insert_with(|| vec![Vec::new(); columns.len()]);
        for ((column, _, _), curve) in columns.iter().zip(curves) {
            // A missing or infinite value is a gap.
            let value = rows.number(row, column).filter(|value| value.is_finite());
            curve.push((second, value.unwrap_or(f64::NAN)));
        }
    }
    let panels: Vec<Panel> = executions
        .into_iter()
        .map(|(name, curves)| {
            let known = curves
                .into_iter()
                .zip(columns)
                .filter(|(points, _)| points.iter().any(|(_, value)| !value.is_nan()));
            let curves = known.map(|(points, (_, called, tone))| {
                // The seconds after the last value are no gap.
                let end = points.iter().rposition(|(_, value)| !value.is_nan()).map_or(0, |last| last + 1);
                let points = points[..end].to_vec();
                let (name, note, shape) = ((*called).to_owned(), String::new(), Shape::Line);
                Curve { name, note, tone: *tone, shape, points, intervals: Vec::new() }
            });
            Panel { name, curves: curves.collect(), marks: Vec::new() }
        })
        .filter(|panel| !panel.curves.is_empty())
        .collect();
    (!panels.is_empty()).then_some(panels)
}
