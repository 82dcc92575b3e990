//! Loads beside the minutes of the datasets that they were made of.

use std::collections::BTreeMap;

use sb_figures::{
    Axis, Chart, Curve, Figure, Item, Panel, Panels, Section, Shape, Table, Tone, Variant, number,
};
use sb_report::Report;

use crate::shown::{Rows, float, shown};

/// Columns of `workload_minutes`, what they are, and their curve. What is planned is drawn last: it mostly lies on the others.
const COUNTS: [(&str, &str, Tone); 3] = [
    ("original", "original", Tone::Neutral),
    ("upscaled", "upscaled", Tone::Sent),
    ("planned", "planned", Tone::Planned),
];

/// The same of differences.
const DIFFERENCES: [(&str, &str, Tone); 2] = [
    ("upscaled_vs_original", "upscaled to original", Tone::Sent),
    ("planned_vs_original", "planned to original", Tone::Planned),
];

/// What the horizontal axes show. The facts of a load say where in the dataset its window begins.
const MINUTE: &str = "minute of the window";

const BESIDE: usize = COUNTS.len() + DIFFERENCES.len();

/// A load, with how many executions sent the same.
struct Load {
    name: String,
    executions: usize,
    first: f64,
    /// Of each column: a value for each minute, or what is not known.
    columns: [Vec<Option<f64>>; BESIDE],
}

/// The loads of datasets, with figures and the table of their totals.
pub(crate) fn section(report: &Report, tables: Option<&str>) -> Option<Section> {
    let totals = report.table("workloads").filter(|table| table.rows() > 0)?;
    let loads = loads(report)?;
    let mut section = Section { title: "Loads and their datasets".to_owned(), ..Section::default() };
    section.items.push(Item::Figure(minutes(report, &loads)));
    section.items.push(Item::Figure(differences(report, &loads)));
    section.items.push(Item::Table(shown(totals), tables.map(|folder| format!("{folder}/workloads.csv"))));
    Some(section)
}

/// Executions that sent the same are one load.
fn loads(report: &Report) -> Option<Vec<Load>> {
    let rows = Rows::of(report, "workload_minutes")?;
    let columns = || COUNTS.iter().chain(&DIFFERENCES).map(|(column, ..)| *column);
    // Those of one name, with the execution that sent each first.
    let mut named: BTreeMap<String, Vec<(String, Load)>> = BTreeMap::new();
    let mut row = 0;
    while row < rows.count() {
        let key = |row: usize| ["app", "workload", "execution"].map(|column| rows.text(row, column));
        let minute = |row: usize| rows.number(row, "minute").unwrap_or_default();
        let [app, workload, execution] = key(row);
        let (first, begin) = (minute(row), row);
        let mut load = Load { name: String::new(), executions: 1, first, columns: Default::default() };
        // Two folders may have one name; each begins with its first minute.
        while row < rows.count() && key(row) == key(begin) && (row == begin || minute(row) > minute(row - 1))
        {
            for (values, column) in load.columns.iter_mut().zip(columns()) {
                values.push(rows.number(row, column));
            }
            row += 1;
        }
        load.name =
            [app, workload].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ");
        let others = named.entry(load.name.clone()).or_default();
        let is_same =
            |(_, other): &&mut (String, Load)| (other.first, &other.columns) == (load.first, &load.columns);
        match others.iter_mut().find(is_same) {
            Some((_, same)) => same.executions += 1,
            None => others.push((execution, load)),
        }
    }
    let all = named.into_values().flat_map(|loads| {
        let is_alone = loads.len() == 1;
        loads.into_iter().map(move |(execution, mut load)| {
            if !is_alone {
                load.name = format!("{} · {execution}", load.name);
            }
            load
        })
    });
    Some(all.collect())
}

/// A panel for each load, of some of its columns. The value of a minute may be changed on the way.
fn panels(
    loads: &[Load],
    columns: &[(&str, &str, Tone)],
    from: usize,
    value: impl Fn(f64, &[Option<f64>]) -> f64,
    note: impl Fn(&[Option<f64>]) -> String,
) -> Vec<Panel> {
    let panel = |load: &Load| {
        let curves = columns.iter().zip(&load.columns[from..]).map(|((_, called, tone), all)| {
            let points = all.iter().enumerate().map(|(place, count)| {
                // A missing or infinite value is a gap.
                let count = count.filter(|count| count.is_finite()).map(|count| value(count, all));
                (load.first + place as f64, count.unwrap_or(f64::NAN))
            });
            let (shape, name) = (Shape::LineAndPoints, (*called).to_owned());
            Curve {
                name,
                note: note(all),
                tone: *tone,
                shape,
                points: points.collect(),
                intervals: Vec::new(),
            }
        });
        let drawn = curves.filter(|curve| curve.points.iter().any(|(_, value)| !value.is_nan()));
        let name = match load.executions {
            1 => load.name.clone(),
            count => format!("{} ({count} executions)", load.name),
        };
        Panel { name, curves: drawn.collect(), marks: Vec::new() }
    };
    loads.iter().map(panel).filter(|panel| !panel.curves.is_empty()).collect()
}

fn sum(all: &[Option<f64>]) -> f64 {
    all.iter().flatten().sum()
}

fn minutes(report: &Report, loads: &[Load]) -> Figure {
    let total = |all: &[Option<f64>]| format!("{} in all", number(sum(all)));
    let counts = panels(loads, &COUNTS, 0, |count, _| count, total);
    let mean = |all: &[Option<f64>]| sum(all) / all.iter().flatten().count().max(1) as f64;
    let shapes = panels(
        loads,
        &COUNTS,
        0,
        |count, all| if mean(all) > 0.0 { count / mean(all) } else { f64::NAN },
        |all| format!("mean {}/min", number(mean(all))),
    );
    let chart = |axis: Axis, panels: Vec<Panel>| {
        Chart::Panels(Panels { x: Axis::linear(MINUTE, ""), y: axis, panels })
    };
    let table = report.table("workload_minutes").map(shown).unwrap_or_default();
    let description = "Invocations in each minute: of the dataset, upscaled, and as planned.";
    let counted = chart(Axis::linear("invocations", "1/min"), counts);
    let mut figure = Figure::new(
        "workload-minutes",
        "Planned and upscaled against the original",
        description,
        counted,
        table,
    );
    "invocations".clone_into(&mut figure.variants[0].name);
    figure.variants.push(Variant {
        name: "over the mean".to_owned(),
        chart: chart(Axis::linear("invocations over their mean", ""), shapes.clone()),
        table: over_the_mean(&shapes),
    });
    figure.notes.push(
        "Original: the dataset's own count. Upscaled: after all factors, and after the fluctuation that makes seconds of minutes; not \
         yet whole numbers. Planned: the invocations of the plan. Minutes are the dataset's, also where the load plays them faster. They \
         count from 0 at the start of the window; `source` of the table says which minutes of the day these are."
            .to_owned(),
    );
    figure
}

/// The points of curves as a table.
fn over_the_mean(panels: &[Panel]) -> Table {
    let mut table =
        Table::new("Invocations over their mean", &["load", "series", "#minute", "#over the mean"]);
    for panel in panels {
        for curve in &panel.curves {
            let known = curve.points.iter().filter(|(_, value)| !value.is_nan());
            table.rows.extend(known.map(|(minute, value)| {
                vec![panel.name.clone(), curve.name.clone(), minute.to_string(), float(*value)]
            }));
        }
    }
    table
}

fn differences(report: &Report, loads: &[Load]) -> Figure {
    let panels = panels(loads, &DIFFERENCES, COUNTS.len(), |share, _| 100.0 * share, |_| String::new());
    let chart =
        Panels { x: Axis::linear(MINUTE, ""), y: Axis::linear("difference of the share", "%"), panels };
    let table = report.table("workload_minutes").map(shown).unwrap_or_default();
    let description =
        "By how much each minute's share of all invocations differs from its share in the dataset.";
    let title = "Upscaled and planned: difference to the original";
    let mut figure = Figure::new("workload-differences", title, description, Chart::Panels(chart), table);
    figure.notes.push(
        "Shares of the whole are compared, so a factor alone is no difference. A minute without an invocation in the dataset has none."
            .to_owned(),
    );
    figure
}
