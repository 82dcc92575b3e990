//! Groups of traces by application, request type, label, factors of the matrix, and cold-start status.
//!
//! By default, times are those of requests that were answered as expected: a failure is often fast. The times of failures are
//! figures of their own. The study's definitions have all in one.

use std::collections::BTreeMap;
use std::sync::Arc;

use sb_statistics::{Level, Share};
use serde::Serialize;

use crate::execution::{ACTIVITIES, Execution, flag};
use crate::figures::{Aggregates, aggregates, median_width, sorted_seconds};
use crate::parallel;
use crate::precision::{FigurePrecision, JUDGED, TrialKey, judge};
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

/// A share with its interval of 95 %, all in 0 to 1. Where trials vary more than single requests would, they count and not
/// single requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GroupShare {
    /// The share.
    pub share: f64,
    /// The lower end of its interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// The shares of a group; `None` where they are unknown, as they are of nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct GroupShares {
    /// Of traces: those whose status is cold. Of groups of all statuses only, as the next one.
    pub cold: Option<GroupShare>,
    /// Of traces: those whose status is partial.
    pub partial: Option<GroupShare>,
    /// Of traces: those with an error, a throttle or a fault.
    pub errors: Option<GroupShare>,
    /// Of valid and invalid traces: the invalid ones.
    pub invalid: Option<GroupShare>,
    /// Of requests that were sent: those that were not answered as expected.
    pub failed_requests: Option<GroupShare>,
}

impl GroupShares {
    /// All, with the names that columns have.
    pub fn all(&self) -> [(&'static str, Option<GroupShare>); 5] {
        [
            ("cold", self.cold),
            ("partial", self.partial),
            ("errors", self.errors),
            ("invalid", self.invalid),
            ("failed_requests", self.failed_requests),
        ]
    }
}

/// Counts of each trial: how many have a property, and of how many.
type Counts = BTreeMap<TrialKey, (u64, u64)>;

fn share(counts: &Counts) -> Option<GroupShare> {
    let trials: Vec<(u64, u64)> = counts.values().copied().collect();
    let found = Share::of(&trials, Level::P95)?;
    Some(GroupShare { share: found.value, low: found.interval.low, high: found.interval.high })
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
    /// Valid traces whose request failed. Where no file says what became of it: with an error, a throttle or a fault. 0 with the
    /// study's definitions, which know no such traces.
    pub failed_traces: u64,
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
    /// Requests that were due and never sent, those that the load generator dropped among them. They are in neither of the two
    /// counts before. Their type is not always known: of all types together only. `None` also with the study's definitions.
    pub not_sent_requests: Option<u64>,
    /// From sending to the answer, as the load generator measured it; of requests that were answered as expected. With the study's
    /// definitions, of all answers.
    pub latency: Option<Figures>,
    /// The same of requests that were answered otherwise.
    pub failed_latency: Option<Figures>,
    /// From the first start to the last end of the trace; `None`: there is no such trace. Of traces whose request did not fail: of
    /// [`measured`](Self::measured) ones.
    pub duration: Option<Figures>,
    /// The same of traces whose request failed.
    pub failed_duration: Option<Figures>,
    /// The relative width of the 95 % confidence interval of the median duration, in percent. `None`: there are too few traces. It
    /// treats traces as independent.
    pub median_width_percent: Option<f64>,
    /// How precisely p50, p99 and mean are known: of the durations, or without any of the latencies. Empty where there is neither.
    /// Trials are not treated as independent requests.
    pub precision: Vec<FigurePrecision>,
    /// With their intervals.
    pub shares: GroupShares,
    /// All nine, in the order of the study's tables; empty without a trace. Of traces whose request did not fail.
    pub activities: Vec<ActivityFigures>,
    /// Of a request type and status: the cumulative distribution of durations, as seconds and the share of traces that take at most
    /// as long. At most 300 points, evenly spread over the sorted durations. Of traces whose request did not fail.
    #[serde(skip)]
    pub curve: Vec<(f64, f64)>,
}

impl Group {
    /// Of how many traces the durations and activities are.
    pub fn measured(&self) -> u64 {
        self.traces - self.failed_traces
    }
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

/// Traces of a group: some of one execution and type.
struct Traced<'d> {
    part: &'d UnitPart<'d>,
    rows: Vec<u32>,
    /// How many are cold and partial. `None`: the group is of one status.
    started: Option<[u64; 2]>,
}

/// What a group is made of.
#[derive(Default)]
struct Members<'d> {
    traces: Vec<Traced<'d>>,
    /// Executions, and the types of the requests that count; `None`: all.
    requests: Vec<(&'d Execution, Option<u32>)>,
    /// Executions whose invalid traces count.
    invalid: Option<Vec<&'d Execution>>,
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
    let count = |status: Status| by_status[status as usize].len() as u64;
    let started = Some([count(Status::Cold), count(Status::Partial)]);
    for request_type in [None, Some(&unit.request_type)] {
        for (status, rows) in Status::ALL.into_iter().zip(&by_status) {
            if !rows.is_empty() {
                let key = key_of(part.execution, request_type, Some(status));
                let traced = Traced { part, rows: rows.clone(), started: None };
                members.entry(key).or_default().traces.push(traced);
            }
        }
        let key = key_of(part.execution, request_type, None);
        members.entry(key).or_default().traces.push(Traced { part, rows: part.rows.clone(), started });
    }
}

fn add_requests<'d>(members: &mut BTreeMap<GroupKey, Members<'d>>, execution: &'d Execution) {
    let of_all = members.entry(key_of(execution, None, None)).or_default();
    of_all.invalid.get_or_insert_default().push(execution);
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

/// What is counted of a group's traces and requests, by trial.
#[derive(Default)]
struct Tally {
    cold: Counts,
    partial: Counts,
    errors: Counts,
    invalid: Counts,
    failed_requests: Counts,
}

fn count(counts: &mut Counts, trial: &TrialKey, part: u64, whole: u64) {
    let (known_part, known_whole) = counts.entry(trial.clone()).or_default();
    *known_part += part;
    *known_whole += whole;
}

/// Which traces and requests are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Those whose times count.
    Counted,
    Failed,
}

fn figures(key: &GroupKey, members: &Members<'_>, as_published: bool) -> Group {
    // The study's definitions have all traces and answers in one.
    let is = |which: Which, failed: bool| (failed && !as_published) == (which == Which::Failed);
    let gather = |values: &mut Vec<i64>, traced: &Traced<'_>, activity: Option<usize>, which: Which| {
        let traces = traced.part.traces;
        let numbers = match activity {
            Some(activity) => &traces.parts[activity],
            None => &traces.durations,
        };
        let has_failed = |row: u32| traces.flags[row as usize] & flag::FAILED != 0;
        numbers.gather(traced.rows.iter().copied().filter(|row| is(which, has_failed(*row))), values);
    };
    let mut tally = Tally::default();
    let (mut traces, mut errors, mut cold_starts) = (0, 0, 0);
    let mut folders: Vec<&std::path::Path> = Vec::new();
    let mut by_trial: BTreeMap<TrialKey, Vec<f64>> = BTreeMap::new();
    let mut values = Vec::new();
    for traced in &members.traces {
        let Traced { part, rows, started } = traced;
        folders.push(&part.execution.folder);
        let erroneous = flag::ERROR | flag::THROTTLE | flag::FAULT;
        let of_part = rows.iter().filter(|row| part.traces.flags[**row as usize] & erroneous != 0).count();
        cold_starts += rows.iter().map(|row| u64::from(part.traces.cold_starts[*row as usize])).sum::<u64>();
        errors += of_part as u64;
        traces += rows.len() as u64;
        let trial = TrialKey::of(part.execution);
        count(&mut tally.errors, &trial, of_part as u64, rows.len() as u64);
        count(&mut tally.invalid, &trial, 0, rows.len() as u64);
        if let Some([cold, partial]) = started {
            count(&mut tally.cold, &trial, *cold, rows.len() as u64);
            count(&mut tally.partial, &trial, *partial, rows.len() as u64);
        }
        let before = values.len();
        gather(&mut values, traced, None, Which::Counted);
        let millis = values[before..].iter().map(|micros| *micros as f64 / 1e3);
        by_trial.entry(trial).or_default().extend(millis);
    }
    let measured = values.len() as u64;
    let duration = aggregates(&mut values, 1000);
    let seconds = sorted_seconds(std::mem::take(&mut values));
    let width = median_width(&seconds, as_published);
    let has_curve = key.request_type.is_some() && key.status.is_some();
    let curve = if has_curve { curve(&seconds) } else { Vec::new() };
    drop(seconds);
    let mut precision = judge(&by_trial);
    by_trial.clear();
    let mut activities = Vec::new();
    if let Some(duration) = duration {
        for (place, activity) in ACTIVITIES.into_iter().enumerate() {
            values.clear();
            for traced in &members.traces {
                gather(&mut values, traced, Some(place), Which::Counted);
            }
            let Some(figures) = aggregates(&mut values, 1000) else { continue };
            let share = (duration.mean != 0).then(|| figures.mean as f64 / duration.mean as f64);
            activities.push(ActivityFigures { activity, figures: figures.into(), mean_share: share });
        }
    }
    values.clear();
    members.traces.iter().for_each(|traced| gather(&mut values, traced, None, Which::Failed));
    let failed_duration = aggregates(&mut values, 1000).map(Into::into);
    values.clear();
    let mut of_failures = Vec::new();
    let (mut requests, mut failed, mut not_sent) = (0, 0, 0_u64);
    for (execution, kind) in &members.requests {
        let Some(sent) = &execution.sent else { continue };
        folders.push(&execution.folder);
        not_sent = not_sent.saturating_add(sent.not_sent);
        let (requests_before, failed_before, before) = (requests, failed, values.len());
        for (place, found) in sent.kinds.iter().enumerate() {
            if kind.is_none_or(|kind| kind == *found) {
                requests += 1;
                failed += u64::from(sent.failed[place]);
                let nanos = sent.latency_nanos.get(place);
                if nanos != NO_LATENCY {
                    let counts = is(Which::Counted, sent.failed[place]);
                    if counts { &mut values } else { &mut of_failures }.push(nanos);
                }
            }
        }
        let trial = TrialKey::of(execution);
        count(&mut tally.failed_requests, &trial, failed - failed_before, requests - requests_before);
        if precision.is_empty() {
            let millis = values[before..].iter().map(|nanos| *nanos as f64 / 1e6);
            by_trial.entry(trial).or_default().extend(millis);
        }
    }
    if precision.is_empty() {
        precision = judge(&by_trial);
    }
    for execution in members.invalid.iter().flatten() {
        count(&mut tally.invalid, &TrialKey::of(execution), execution.invalid, execution.invalid);
    }
    folders.sort_unstable();
    folders.dedup();
    let has_requests = !members.requests.is_empty();
    Group {
        key: key.clone(),
        executions: folders.len() as u64,
        traces,
        failed_traces: traces - measured,
        errors,
        cold_starts,
        invalid: members.invalid.as_ref().map(|all| all.iter().map(|execution| execution.invalid).sum()),
        requests: has_requests.then_some(requests),
        failed_requests: has_requests.then_some(failed),
        not_sent_requests: Some(not_sent)
            .filter(|_| has_requests && !as_published && key.request_type.is_none()),
        latency: aggregates(&mut values, 1).map(Into::into),
        failed_latency: aggregates(&mut of_failures, 1).map(Into::into),
        duration: duration.map(Into::into),
        failed_duration,
        median_width_percent: width.filter(|width| width.is_finite()),
        precision,
        shares: GroupShares {
            cold: share(&tally.cold),
            partial: share(&tally.partial),
            errors: share(&tally.errors),
            invalid: members.invalid.as_ref().and_then(|_| share(&tally.invalid)),
            failed_requests: share(&tally.failed_requests),
        },
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
        "failed_traces",
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
        "failed_latency_mean_ns",
        "failed_latency_p50_ns",
        "failed_latency_p99_ns",
        "failed_duration_mean_ns",
        "failed_duration_p50_ns",
        "failed_duration_p99_ns",
    ];
    let counts = counts.map(|name| (name, Kind::Integer));
    let shares = GroupShares::default().all();
    let shares: Vec<String> = shares
        .iter()
        .flat_map(|(name, _)| ["", "_low", "_high"].map(|end| format!("{name}_share{end}")))
        .collect();
    let precision: Vec<[String; 2]> = JUDGED
        .iter()
        .map(|(figure, _)| [format!("{figure}_interval_width"), format!("{figure}_verdict")])
        .collect();
    let mut last = vec![("median_width_percent", Kind::Float)];
    last.extend(shares.iter().map(|name| (name.as_str(), Kind::Float)));
    last.extend(
        precision.iter().flat_map(|[width, verdict]| [(&**width, Kind::Float), (&**verdict, Kind::Text)]),
    );
    // Behind the others: who reads columns by their place finds them where they were.
    last.push(("not_sent_requests", Kind::Integer));
    let mut all = Table::new(
        "groups",
        "One row per application, request type (empty: all), label, levels of factors, and cold-start status (empty: all). Times \
         are those of requests that did not fail; those of failures have columns of their own.",
        &[&keys[..], &counts[..], &last[..]].concat(),
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
            group.failed_traces.into(),
            group.errors.into(),
            group.cold_starts.into(),
        ]);
        cells.extend([group.invalid.into(), group.requests.into(), group.failed_requests.into()]);
        for figures in [group.latency, group.duration, group.failed_latency, group.failed_duration] {
            cells.extend([
                figures.map(|figures| figures.mean_ns).into(),
                figures.map(|figures| figures.p50_ns).into(),
                Cell::from(figures.map(|figures| figures.p99_ns)),
            ]);
        }
        cells.push(group.median_width_percent.into());
        for (_, share) in group.shares.all() {
            let ends = share.map(|share| [share.share, share.low, share.high]);
            cells.extend([0, 1, 2].map(|which: usize| Cell::from(ends.map(|ends| ends[which]))));
        }
        for (figure, _) in JUDGED {
            let found = group.precision.iter().find(|precision| precision.figure == figure);
            cells.push(found.and_then(|found| found.relative_width).into());
            cells.push(found.map_or(Cell::Text(None), |found| found.words().into()));
        }
        cells.push(group.not_sent_requests.into());
        all.push(cells);
        for activity in &group.activities {
            let mut cells = row(group);
            cells.extend([activity.activity.into(), group.measured().into()]);
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
