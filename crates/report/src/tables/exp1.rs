//! Where the time goes: latency by activity, what cold starts add, and what the slow traces add.

use std::sync::Arc;

use super::{quantile_cells, quantile_columns, width_label, with_extra};
use crate::execution::{ACTIVITIES, SHOWN, flag};
use crate::figures::{Aggregates, aggregates, bar_label, median_width, sorted_quantile, sorted_seconds};
use crate::parallel;
use crate::table::{Cell, Kind, Table};
use crate::units::{Status, Unit};

/// Figures of the traces of one type that have one status.
struct Group {
    application: Arc<str>,
    request_type: Arc<str>,
    is_cold: bool,
    count: usize,
    /// Traces with an error, throttle or fault.
    erroneous: usize,
    activities: [Aggregates; SHOWN],
    /// The sums of the activities' figures.
    end_to_end: Aggregates,
    /// Those of the durations themselves.
    duration: Aggregates,
}

/// Mean, median and 99th percentile, and those of the whole that they are a part of.
struct Shares {
    values: [i64; 3],
    wholes: [i64; 3],
}

/// The place of the median in [`Shares`].
const MEDIAN: usize = 1;

impl Shares {
    fn new(value: Aggregates, whole: Aggregates) -> Self {
        Self { values: value.all(), wholes: whole.all() }
    }

    fn share(&self, which: usize) -> f64 {
        self.values[which] as f64 / self.wholes[which] as f64
    }

    fn label(&self, which: usize) -> String {
        bar_label(self.values[which], self.share(which))
    }

    fn cells(&self) -> impl Iterator<Item = Cell> + '_ {
        let values = self.values.into_iter().chain(self.wholes).map(Cell::from);
        let shares = (0..3).map(|which| self.share(which).into());
        values.chain(shares).chain((0..3).map(|which| self.label(which).into()))
    }
}

const FIGURES: [(&str, Kind); 12] = [
    ("mean_ns", Kind::Integer),
    ("p50_ns", Kind::Integer),
    ("p99_ns", Kind::Integer),
    ("e2e_mean_ns", Kind::Integer),
    ("e2e_p50_ns", Kind::Integer),
    ("e2e_p99_ns", Kind::Integer),
    ("mean_share", Kind::Float),
    ("p50_share", Kind::Float),
    ("p99_share", Kind::Float),
    ("mean_label", Kind::Text),
    ("p50_label", Kind::Text),
    ("p99_label", Kind::Text),
];

/// The tables of exp1: activities, cold penalty, slow penalty, bars, cold-start status.
pub(super) fn tables(units: &[Unit<'_>], as_published: bool) -> Vec<Table> {
    let per_unit = parallel::map(units, |_, unit| (groups(unit), status_rows(unit, as_published)));
    let mut groups = Vec::new();
    let mut statuses = status_table("exp1_coldstart_status");
    for (of_unit, rows) in per_unit {
        groups.extend(of_unit);
        for row in rows {
            statuses.push(row);
        }
    }
    let bars = bars(&groups, as_published);
    vec![activities(&groups, as_published), cold_penalty(&groups), slow_penalty(&groups), bars, statuses]
}

/// The warm and the cold group of a type, if they have traces; partial ones are in neither.
fn groups(unit: &Unit<'_>) -> Vec<Group> {
    const ERRONEOUS: u8 = flag::ERROR | flag::THROTTLE | flag::FAULT;
    let mut all = Vec::new();
    let mut values = Vec::new();
    for status in [Status::Warm, Status::Cold] {
        let parts = unit.with_status(status);
        let count = parts.iter().map(|(_, rows)| rows.len()).sum();
        if count == 0 {
            continue;
        }
        let activities: [Aggregates; SHOWN] = std::array::from_fn(|activity| {
            values.clear();
            for (part, rows) in &parts {
                part.traces.parts[activity].gather(rows.iter().copied(), &mut values);
            }
            aggregates(&mut values, 1000).unwrap_or_default()
        });
        values.clear();
        let mut erroneous = 0;
        for (part, rows) in &parts {
            part.traces.durations.gather(rows.iter().copied(), &mut values);
            erroneous += rows.iter().filter(|row| part.traces.flags[**row as usize] & ERRONEOUS != 0).count();
        }
        all.push(Group {
            application: unit.application.clone(),
            request_type: unit.request_type.clone(),
            is_cold: status == Status::Cold,
            count,
            erroneous,
            activities,
            end_to_end: Aggregates::sum(activities.into_iter()),
            duration: aggregates(&mut values, 1000).unwrap_or_default(),
        });
    }
    all
}

fn activities(groups: &[Group], as_published: bool) -> Table {
    let first = [
        ("app", Kind::Text),
        ("request_type", Kind::Text),
        ("activity", Kind::Text),
        ("coldstart", Kind::Boolean),
        ("n", Kind::Integer),
    ];
    let extra = [
        ("errors", Kind::Integer),
        ("duration_mean_ns", Kind::Integer),
        ("duration_p50_ns", Kind::Integer),
        ("duration_p99_ns", Kind::Integer),
    ];
    let mut table = Table::new(
        "exp1_activities",
        "One row per application, request type, activity, and cold or warm: time of the activity on the critical path. The \
         end-to-end figures are sums of the activities' figures; of p50 and p99 they are no quantiles of the duration.",
        &with_extra(&[&first[..], &FIGURES[..]].concat(), &extra, as_published),
    );
    for group in groups {
        for (activity, value) in ACTIVITIES.iter().zip(group.activities) {
            let mut row = keys(group, activity);
            row.extend([group.is_cold.into(), group.count.into()]);
            row.extend(Shares::new(value, group.end_to_end).cells());
            if !as_published {
                row.push(group.erroneous.into());
                row.extend(group.duration.all().map(Cell::from));
            }
            table.push(row);
        }
    }
    table
}

const KEYS: [(&str, Kind); 3] = [("app", Kind::Text), ("request_type", Kind::Text), ("activity", Kind::Text)];

fn keys(group: &Group, activity: &str) -> Vec<Cell> {
    vec![group.application.clone().into(), group.request_type.clone().into(), activity.into()]
}

/// Warm and cold groups of one type, for the types that have both.
fn pairs(groups: &[Group]) -> impl Iterator<Item = (&Group, &Group)> {
    groups.windows(2).filter_map(|pair| {
        let [warm, cold] = pair else { return None };
        let is_one_type = warm.application == cold.application && warm.request_type == cold.request_type;
        (is_one_type && !warm.is_cold && cold.is_cold).then_some((warm, cold))
    })
}

fn cold_penalty(groups: &[Group]) -> Table {
    let mut table = Table::new(
        "exp1_cold_penalty",
        "One row per application, request type and activity: how much longer it takes with cold starts than without.",
        &[&KEYS[..], &FIGURES[..]].concat(),
    );
    for (warm, cold) in pairs(groups) {
        let whole = cold.end_to_end.minus(warm.end_to_end);
        for (place, activity) in ACTIVITIES[..SHOWN].iter().enumerate() {
            let mut row = keys(warm, activity);
            row.extend(Shares::new(cold.activities[place].minus(warm.activities[place]), whole).cells());
            table.push(row);
        }
    }
    table
}

fn slow_penalty(groups: &[Group]) -> Table {
    let figures = [
        ("delta_ns", Kind::Integer),
        ("e2e_delta_ns", Kind::Integer),
        ("share", Kind::Float),
        ("label", Kind::Text),
    ];
    let mut table = Table::new(
        "exp1_slow_penalty",
        "One row per application, request type and activity, without cold starts: 99th percentile minus median.",
        &[&KEYS[..], &figures[..]].concat(),
    );
    for group in groups.iter().filter(|group| !group.is_cold) {
        for (place, activity) in ACTIVITIES[..SHOWN].iter().enumerate() {
            let (delta, whole, share) = slow(group, place);
            let mut row = keys(group, activity);
            row.extend([delta.into(), whole.into(), share.into(), bar_label(delta, share).into()]);
            table.push(row);
        }
    }
    table
}

/// What the slow traces add: of an activity, in all, and the one as a part of the other.
fn slow(group: &Group, activity: usize) -> (i64, i64, f64) {
    let delta = group.activities[activity].p99.saturating_sub(group.activities[activity].p50);
    let whole = group.end_to_end.p99.saturating_sub(group.end_to_end.p50);
    (delta, whole, delta as f64 / whole as f64)
}

/// What an activity is called in figures, and its colour, in the order of [`ACTIVITIES`]. The two initializations are the last
/// ones.
const LOOK: [(&str, &str); SHOWN] = [
    ("Computation", "#fdb462"),
    ("External service", "#80b1d3"),
    ("Orchestration", "#d9ffcf"),
    ("Trigger", "#bebada"),
    ("Queueing", "#ffffb3"),
    ("Finalization overhead", "#8dd3c7"),
    ("Runtime initialization", "#fccde5"),
    ("Container initialization", "#b3de69"),
];
const WITHOUT_STARTS: usize = 6;

/// The types of requests that the paper shows, each with its letter.
const PAPER: [(&str, &str, &str); 10] = [
    ("A", "apigw_node", "getPath"),
    ("B", "thumbnail_generator", "uploadImage"),
    ("C", "event_processing", "ingestEvent"),
    ("D", "image_processing", "postFaceImage"),
    ("E", "model_training", "trainModel"),
    ("F", "realworld_backend", "followUser"),
    ("G", "hello_retail", "listCategories"),
    ("H", "todo_api", "createTodo"),
    ("I", "matrix_multiplication", "multiplyMatrix"),
    ("J", "video_processing", "processVideo"),
];

/// The letter of the paper for a type of requests.
pub(super) fn letter(application: &str, request_type: &str) -> Option<&'static str> {
    let found = PAPER.iter().find(|(_, app, kind)| *app == application && *kind == request_type);
    found.map(|(letter, ..)| *letter)
}

/// A piece of a bar.
struct BarPiece {
    activity: usize,
    share: f64,
    text: String,
}

fn bars(groups: &[Group], as_published: bool) -> Table {
    let texts = ["plot", "selection", "bar", "activity", "fill"].map(|name| (name, Kind::Text));
    let ends = [("ymin", Kind::Float), ("ymax", Kind::Float), ("text", Kind::Text)];
    let mut table = Table::new(
        "exp1_bars",
        "One row per piece of a bar: from where to where it goes, of the whole bar. Medians.",
        &[&texts[..], &ends[..]].concat(),
    );
    for group in groups.iter().filter(|group| !group.is_cold) {
        let shares = |activity: usize| Shares::new(group.activities[activity], group.end_to_end);
        let warm = (0..WITHOUT_STARTS).map(|activity| BarPiece {
            activity,
            share: shares(activity).share(MEDIAN),
            text: shares(activity).label(MEDIAN),
        });
        bar(&mut table, "warm_p50", group, warm.collect(), as_published);
        let slow = (0..WITHOUT_STARTS).map(|activity| {
            let (delta, _, share) = slow(group, activity);
            BarPiece { activity, share, text: bar_label(delta, share) }
        });
        bar(&mut table, "warm_slow_diff", group, slow.collect(), as_published);
    }
    for (warm, cold) in pairs(groups) {
        let whole = cold.end_to_end.minus(warm.end_to_end);
        let pieces = (0..SHOWN).map(|activity| {
            let shares = Shares::new(cold.activities[activity].minus(warm.activities[activity]), whole);
            BarPiece { activity, share: shares.share(MEDIAN), text: shares.label(MEDIAN) }
        });
        bar(&mut table, "warm_cold_diff_p50", warm, pieces.collect(), as_published);
    }
    table
}

/// The pieces of one bar, from the bottom. As published, pieces below 0 or above 1 are dropped from differences, and the others
/// stretched to fill the bar. Otherwise a negative piece hangs below the line.
fn bar(table: &mut Table, plot: &str, group: &Group, mut pieces: Vec<BarPiece>, as_published: bool) {
    let is_difference = plot != "warm_p50";
    pieces.retain(|piece| {
        piece.share.is_finite() && !(as_published && is_difference && !(0.0..=1.0).contains(&piece.share))
    });
    let total = if as_published { pieces.iter().map(|piece| piece.share).sum() } else { 1.0 };
    if total == 0.0 {
        return;
    }
    let whole = format!("{} ({})", group.application, group.request_type);
    let letter = letter(&group.application, &group.request_type);
    for (selection, name) in [("paper", letter), ("all", Some(whole.as_str()))] {
        let Some(name) = name else { continue };
        let (mut up, mut down) = (0.0, 0.0);
        for piece in pieces.iter().rev() {
            let (activity, colour) = LOOK[piece.activity];
            let at: &mut f64 = if piece.share < 0.0 { &mut down } else { &mut up };
            let from = *at;
            *at += piece.share / total;
            let (low, high) = (from.min(*at), from.max(*at));
            let texts = [plot, selection, name, activity, colour].map(Cell::from);
            table.push(texts.into_iter().chain([low.into(), high.into(), piece.text.as_str().into()]));
        }
    }
}

/// One row per type and cold-start status.
pub(super) fn status_table(name: &'static str) -> Table {
    let first = [
        ("app", Kind::Text),
        ("request_type", Kind::Text),
        ("status", Kind::Text),
        ("n", Kind::Integer),
        ("x_position", Kind::Float),
        ("rciw", Kind::Float),
    ];
    let about = "One row per application, request type and cold-start status: quantiles of the duration in seconds, and the \
                 relative width of the median's 95 % confidence interval in percent.";
    Table::new(name, about, &[&first[..], &quantile_columns(), &[("label", Kind::Text)]].concat())
}

fn status_rows(unit: &Unit<'_>, as_published: bool) -> Vec<Vec<Cell>> {
    let by_status = Status::ALL.into_iter().map(|status| {
        let mut durations = Vec::new();
        for (part, rows) in unit.with_status(status) {
            part.traces.durations.gather(rows.into_iter(), &mut durations);
        }
        status_row(unit, status, durations, as_published)
    });
    by_status.flatten().collect()
}

/// Of durations in microseconds. `None`: no trace has the status.
pub(super) fn status_row(
    unit: &Unit<'_>,
    status: Status,
    durations: Vec<i64>,
    as_published: bool,
) -> Option<Vec<Cell>> {
    if durations.is_empty() {
        return None;
    }
    let seconds = sorted_seconds(durations);
    let width = median_width(&seconds, as_published);
    let mut row: Vec<Cell> = vec![
        unit.application.clone().into(),
        unit.request_type.clone().into(),
        status.name().into(),
        seconds.len().into(),
        sorted_quantile(&seconds, 0.8).into(),
        width.into(),
    ];
    row.extend(quantile_cells(&seconds));
    row.push(width_label(seconds.len(), width).into());
    Some(row)
}
