//! The critical paths of many traces, and what changes would bring.

use std::collections::{BTreeMap, HashSet};

use sb_analysis::{
    Analysis, Change, Figure as Predicted, FlameGraph, IntervalUnit, Measured, PathTree, Quantiles, Setting,
    Trace, Waterfall, WhatIf,
};
use sb_figures::{Chart, Figure, Id, Item, Prepared, Section, Table, Variant};

use crate::shown::float;

/// How many changes a ranking has.
const RANKED: usize = 10;
/// As many settings have pictures and a ranking: the others are named.
const MOST_SETTINGS: usize = 20;
/// Operations with a smaller share of all time are not in the table.
const SMALLEST_SHARE: f64 = 0.002;

/// The critical paths of traces, by what was measured.
#[derive(Default)]
pub struct Paths {
    settings: BTreeMap<Setting, SettingPaths>,
    /// Why there is nothing to show although there are traces.
    left_out: Option<String>,
}

#[derive(Default)]
struct SettingPaths {
    tree: PathTree,
    what_if: WhatIf,
    typical: Vec<(String, Waterfall)>,
}

/// A trace that is typical of its application, by which it is found again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypicalOf {
    /// What was measured.
    pub setting: Setting,
    /// What it is typical of: `median`, or `p99`.
    pub which: &'static str,
    /// The id of the trace.
    pub id: String,
    /// The number of its file, in the list of files.
    pub file: u32,
}

impl Paths {
    /// None, with the reason.
    pub fn left_out(reason: String) -> Self {
        Self { left_out: Some(reason), ..Self::default() }
    }

    /// Adds a trace, with what is known of its measurement.
    pub fn add(&mut self, trace: &Trace<'_>, analysis: &Analysis, measured: &Measured<'_>) {
        let paths = self.settings.entry(measured.setting()).or_default();
        paths.tree.add(trace, analysis, measured.file_number);
        paths.what_if.add(trace, measured.trial);
    }

    /// The traces whose waterfalls a document shows.
    pub fn typical(&self) -> Vec<TypicalOf> {
        let mut all = Vec::new();
        for (setting, paths) in self.settings.iter().take(MOST_SETTINGS) {
            let Some(Quantiles { p50, p99, .. }) = paths.tree.durations_ms() else { continue };
            for (which, duration) in [("median", p50), ("p99", p99)] {
                all.extend(paths.tree.typical(duration, 1).into_iter().map(|trace| TypicalOf {
                    setting: setting.clone(),
                    which,
                    id: trace.id.clone(),
                    file: trace.file,
                }));
            }
        }
        all
    }

    /// Adds the waterfall of a trace that [`Paths::typical`] named; of two traces with the same id, the first counts.
    pub fn show(&mut self, typical: &TypicalOf, waterfall: Waterfall) {
        if let Some(paths) = self.settings.get_mut(&typical.setting)
            && paths.typical.iter().all(|(which, _)| which != typical.which)
        {
            paths.typical.push((typical.which.to_owned(), waterfall));
            // The median comes first, whatever the order of the files is.
            paths.typical.sort_by(|(left, _), (right, _)| left.cmp(right));
        }
    }

    /// The chapters about them.
    pub(crate) fn sections(&self) -> [Section; 2] {
        let mut paths = Section { title: "Critical paths".to_owned(), ..Section::default() };
        let mut changes = Section { title: "What would help most".to_owned(), ..Section::default() };
        paths.text.extend(self.left_out.clone());
        let mut used = HashSet::new();
        let names = Setting::names(self.settings.keys());
        for (application, found) in names.iter().zip(self.settings.values()).take(MOST_SETTINGS) {
            let id = own_id(application, &mut used);
            paths.items.push(flame_graph(&id, application, &found.tree));
            paths.items.extend(waterfalls(&id, application, &found.typical));
            changes.items.push(ranking(application, &found.what_if));
        }
        let more = names.get(MOST_SETTINGS..).unwrap_or_default();
        if !more.is_empty() {
            let names = more.join("; ");
            paths
                .text
                .push(format!("{} more are not shown: {names}. `sb trace aggregate` has them.", more.len()));
        }
        if !changes.items.is_empty() {
            changes.text.push(
                "Each trace was computed anew with an operation, an activity or all cold starts changed. The columns say by how much \
                 the median and the 99th percentile would change: in half of its time, and in no time. \
                 `sb trace what-if` predicts other changes."
                    .to_owned(),
            );
        }
        [paths, changes]
    }
}

/// What an application is called in ids: two names may differ only in what ids do not have.
fn own_id(application: &str, used: &mut HashSet<String>) -> String {
    let id = Id::new(application).to_string();
    let mut own = id.clone();
    let mut number = 2;
    while !used.insert(own.clone()) {
        own = format!("{id}-{number}");
        number += 1;
    }
    own
}

/// Milliseconds, to the microsecond.
fn milliseconds(time: f64) -> String {
    float((time * 1e3).round() / 1e3)
}

/// A share of one as percent, with one digit after the point.
fn percent(share: f64) -> String {
    float((share * 1e3).round() / 10.0)
}

/// A picture, or why there is none.
fn picture(svg: &str, what: &str) -> Result<Chart, Item> {
    Prepared::new(svg)
        .map(Chart::Prepared)
        .map_err(|error| Item::Warning(format!("{what} cannot be shown: {error}")))
}

fn flame_graph(id: &str, application: &str, tree: &PathTree) -> Item {
    let title = format!("Critical paths of {application}");
    let mut svg = String::new();
    // Writing to a text does not fail.
    let _ = FlameGraph::new(&title, &tree.stacks(), tree.traces()).to_svg(&mut svg);
    let chart = match picture(&svg, &format!("the flame graph of {application}")) {
        Ok(chart) => chart,
        Err(item) => return item,
    };
    let columns =
        ["operation", "service", "#traces", "#share [%]", "#own [ms]", "#p50 [ms]", "#p95 [ms]", "#p99 [ms]"];
    let mut table = Table::new(&format!("Operations on the critical paths of {application}"), &columns);
    let rows = tree.rows();
    for row in rows.iter().filter(|row| row.share >= SMALLEST_SHARE) {
        let times = row.per_trace_ms;
        table.rows.push(vec![
            format!("{}{}", "› ".repeat(row.depth), row.name),
            row.service.clone(),
            row.traces.to_string(),
            percent(row.share),
            milliseconds(row.own_ms / row.traces.max(1) as f64),
            milliseconds(times.p50),
            milliseconds(times.p95),
            milliseconds(times.p99),
        ]);
    }
    let description = "Where the time of all traces went: each box is an operation within the one above it. Its width is its \
                       time on the critical paths.";
    let mut figure = Figure::new(&format!("critical-paths-{id}"), &title, description, chart, table);
    let small = rows.iter().filter(|row| row.share < SMALLEST_SHARE).count();
    if small > 0 {
        figure.notes.push(format!(
            "Operations with less than {} % of the time each are not in the table: {small}.",
            SMALLEST_SHARE * 100.0
        ));
    }
    figure.notes.push(
        "Share: of the time on all critical paths. Own: its own part, the mean of the traces that have it. Percentiles: its time \
         with all beneath it."
            .to_owned(),
    );
    Item::Figure(figure)
}

fn waterfalls(id: &str, application: &str, typical: &[(String, Waterfall)]) -> Vec<Item> {
    let mut warnings = Vec::new();
    let mut variants = Vec::new();
    for (which, waterfall) in typical {
        let mut svg = String::new();
        let _ = waterfall.to_svg(&mut svg);
        let chart = match picture(&svg, &format!("trace {}", waterfall.trace_id)) {
            Ok(chart) => chart,
            Err(warning) => {
                warnings.push(warning);
                continue;
            }
        };
        let caption = format!("Spans of trace {}", waterfall.trace_id);
        let mut table =
            Table::new(&caption, &["span", "#start [ms]", "#duration [ms]", "critical path", "activity"]);
        table.rows.extend(waterfall.rows.iter().map(|row| {
            vec![
                format!("{}{}", "› ".repeat(row.depth), row.name),
                milliseconds(row.start as f64 / 1e3),
                milliseconds(row.duration as f64 / 1e3),
                if row.on_path { "on it" } else { "" }.to_owned(),
                row.activity.map_or("", |activity| activity.name()).to_owned(),
            ]
        }));
        variants.push(Variant { name: which.clone(), chart, table });
    }
    if variants.is_empty() {
        return warnings;
    }
    let ids: Vec<String> =
        typical.iter().map(|(which, waterfall)| format!("{which}: {}", waterfall.trace_id)).collect();
    let figure = Figure {
        id: Id::new(&format!("typical-traces-{id}")),
        title: format!("Typical traces of {application}"),
        description: "A trace whose duration is next to the median, and one next to the 99th percentile. Their critical paths \
                      are marked."
            .to_owned(),
        notes: vec![format!("{}. `sb trace show ID` shows a trace in the terminal.", ids.join("; "))],
        variants,
    };
    warnings.into_iter().chain([Item::Figure(figure)]).collect()
}

/// By how much a predicted figure differs from the recorded one.
fn change(before: Predicted, after: Predicted) -> String {
    if before.ms <= 0.0 {
        return String::new();
    }
    format!("{:+.1} %", (after.ms / before.ms - 1.0) * 100.0).replace('-', "−")
}

fn with_interval(figure: Predicted) -> String {
    match figure.interval_ms {
        Some([low, high]) => {
            format!("{} ms ({} to {})", milliseconds(figure.ms), milliseconds(low), milliseconds(high))
        }
        None => format!("{} ms", milliseconds(figure.ms)),
    }
}

fn ranking(application: &str, what_if: &WhatIf) -> Item {
    let now = match what_if.predict(&Change::default()) {
        Ok(now) => now,
        Err(error) => return Item::Warning(format!("{application}: {error}")),
    };
    let recorded = format!("p50 {}, p99 {}", with_interval(now.before.p50), with_interval(now.before.p99));
    let sample = if what_if.added() > what_if.sampled() as u64 {
        format!(" A sample of {} stands for all {} traces.", what_if.sampled(), what_if.added())
    } else {
        String::new()
    };
    let unit = match now.interval_unit {
        IntervalUnit::Trial => "whole trials",
        IntervalUnit::Trace => "traces of one trial",
    };
    let caption = format!(
        "{application}: {} traces, recorded {recorded}. Intervals: 95 %, of {unit}.{sample}",
        now.traces
    );
    let columns = [
        "change",
        "#half: p50",
        "#half: p99",
        "#half: predicted p50",
        "#half: predicted p99",
        "#gone: p50",
        "#gone: p99",
    ];
    let mut table = Table::new(&caption, &columns);
    for ranked in what_if.rank(RANKED) {
        let (half, gone) = (ranked.prediction.after, ranked.at_most);
        table.rows.push(vec![
            ranked.what.describe(),
            change(now.before.p50, half.p50),
            change(now.before.p99, half.p99),
            with_interval(half.p50),
            with_interval(half.p99),
            change(now.before.p50, gone.p50),
            change(now.before.p99, gone.p99),
        ]);
    }
    Item::Table(table, None)
}
