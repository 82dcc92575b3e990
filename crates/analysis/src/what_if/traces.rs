//! The traces that are computed anew, what a change would make of them, and which changes would help most.

use std::collections::BinaryHeap;

use foldhash::{HashMap, HashMapExt as _};
use serde::Serialize;

use super::change::{Change, ChangeError, Effect, OperationPattern};
use super::figures::{Figures, IntervalUnit, TrialOfTrace};
use super::model::{Effects, Model, ModelSpan, Scratch};
use crate::operation::Operation;
use crate::path::activities::Activities;
use crate::path::breakdown::Activity;
use crate::span::Trace;

/// The most spans that are kept, some 100 MB. Of more, a sample of the traces stands for all.
const MOST_SPANS: usize = 500_000;

/// Operations with less than this share of all time on critical paths are not tried for a ranking …
const LEAST_SHARE: f64 = 1e-4;
/// … and no more than these, by their time on critical paths.
const MOST_TRIED: usize = 60;

/// How many operations an error names.
const NAMED: usize = 12;

/// Valid traces, to be computed anew with some operations faster, slower or gone.
///
/// Beyond half a million spans, a sample of the traces is kept. It depends on their ids alone, not on their order, and each trace
/// has the same chance.
#[derive(Debug)]
pub struct WhatIf {
    activities: Activities,
    pub(super) most_spans: usize,
    operations: Vec<Operation>,
    numbers: HashMap<Operation, u32>,
    /// The one that goes first, should there be too many, is at the top.
    kept: BinaryHeap<Kept>,
    spans: usize,
    added: u64,
}

#[derive(Debug)]
struct Kept {
    /// By the trace's id.
    rank: u64,
    order: u64,
    trial: TrialOfTrace,
    model: Model,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.rank, self.order).cmp(&(other.rank, other.order))
    }
}

impl Default for WhatIf {
    fn default() -> Self {
        Self::new(Activities::default())
    }
}

impl WhatIf {
    /// Without traces yet. The rules say which activity the time of a span belongs to.
    pub fn new(activities: Activities) -> Self {
        Self {
            activities,
            most_spans: MOST_SPANS,
            operations: Vec::new(),
            numbers: HashMap::new(),
            kept: BinaryHeap::new(),
            spans: 0,
            added: 0,
        }
    }

    /// Adds a trace that can be explained, of a trial.
    pub fn add(&mut self, trace: &Trace<'_>, trial: TrialOfTrace) {
        let rank = rank_of(&trace.id);
        self.added += 1;
        if self.spans >= self.most_spans && self.kept.peek().is_some_and(|last| last.rank < rank) {
            return;
        }
        let (operations, numbers) = (&mut self.operations, &mut self.numbers);
        let model = Model::of(trace, &self.activities, &mut |span| {
            let operation = Operation::of(trace.span(span));
            *numbers.entry(operation).or_insert_with_key(|operation| {
                operations.push(operation.clone());
                operations.len() as u32 - 1
            })
        });
        self.spans += model.spans.len();
        self.kept.push(Kept { rank, order: self.added, trial, model });
        while self.spans > self.most_spans && self.kept.len() > 1 {
            let Some(last) = self.kept.pop() else { break };
            self.spans -= last.model.spans.len();
        }
    }

    /// How many traces were added.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// How many of them are computed anew: all, unless there are too many.
    pub fn sampled(&self) -> usize {
        self.kept.len()
    }

    /// What a change would bring.
    ///
    /// # Errors
    /// There is no trace, or a pattern fits no operation of them.
    pub fn predict(&self, change: &Change) -> Result<Prediction, ChangeError> {
        if self.kept.is_empty() {
            return Err(ChangeError::NoTraces);
        }
        if let Some((pattern, _)) = change
            .operations
            .iter()
            .find(|(pattern, _)| !self.operations.iter().any(|operation| pattern.fits(operation)))
        {
            let known = self.time_on_path();
            let mut names: Vec<String> =
                known.iter().take(NAMED).map(|(operation, _)| format!("`{operation}`")).collect();
            if known.len() > NAMED {
                names.push(format!("{} more", known.len() - NAMED));
            }
            return Err(ChangeError::FitsNothing {
                pattern: pattern.as_str().to_owned(),
                known: names.join(", "),
            });
        }
        Ok(self.predict_known(change, Precision::Intervals))
    }

    fn predict_known(&self, change: &Change, precision: Precision) -> Prediction {
        let (warm_starts, mut scratch) = (self.warm_starts(change), Scratch::default());
        let effects = ChangeEffects::new(change, &self.operations, &warm_starts);
        let (mut before, mut after) =
            (Vec::with_capacity(self.kept.len()), Vec::with_capacity(self.kept.len()));
        let mut changed = 0;
        for kept in &self.kept {
            let duration = kept.model.duration_with(&effects, &mut scratch);
            changed += usize::from(duration != kept.model.duration);
            before.push((kept.trial, kept.model.duration));
            after.push((kept.trial, duration));
        }
        let figures = match precision {
            Precision::Unknown => Figures::of,
            Precision::Intervals => Figures::with_intervals,
        };
        let interval_unit = Figures::unit(&before);
        let (before, after) = (figures(&before), figures(&after));
        Prediction { traces: self.kept.len(), changed, interval_unit, before, after }
    }

    /// The time of each operation on critical paths, in microseconds; the most first. Parts count for themselves.
    fn time_on_path(&self) -> Vec<(&Operation, i64)> {
        let mut times = vec![0_i64; self.operations.len()];
        for kept in &self.kept {
            for (owner, _, gap) in kept.model.gaps_on_path() {
                times[kept.model.spans[owner].operation as usize] += gap;
            }
        }
        let mut times: Vec<(&Operation, i64)> =
            self.operations.iter().zip(times).filter(|(_, time)| *time > 0).collect();
        times.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(right.0)));
        times
    }

    /// How long a start of each operation takes that is not cold, in microseconds: the median of those that were recorded.
    fn warm_starts(&self, change: &Change) -> HashMap<u32, i64> {
        let mut gaps: HashMap<u32, Vec<i64>> = HashMap::new();
        if change.no_cold_starts {
            for Kept { model, .. } in &self.kept {
                for span in model.spans.iter().filter(|span| span.is_function && !span.is_cold) {
                    gaps.entry(span.operation).or_default().push(model.start_gap(span));
                }
            }
        }
        let median = |mut gaps: Vec<i64>| {
            let middle = gaps.len() / 2;
            *gaps.select_nth_unstable(middle).1
        };
        gaps.into_iter().map(|(operation, gaps)| (operation, median(gaps))).collect()
    }

    /// Whether a function started cold in some trace.
    fn has_cold_starts(&self) -> bool {
        self.kept.iter().any(|kept| kept.model.spans.iter().any(|span| span.is_cold || span.initializes))
    }

    /// The changes that would help most, the best first: each operation and each activity in half of its time, and no cold
    /// starts. The order is that of the mean of two shares: by how much the median and the 99th percentile would shrink.
    ///
    /// Left out are changes that would change neither, changes of an activity that would bring the same as one before them, and
    /// parts that a platform records of each function, such as `Initialization`: their activities are tried.
    pub fn rank(&self, count: usize) -> Vec<Ranked> {
        if self.kept.is_empty() {
            return Vec::new();
        }
        let mut activities = [0_i64; Activity::ALL.len()];
        for kept in &self.kept {
            for (_, activity, gap) in kept.model.gaps_on_path() {
                activities[activity as usize] += gap;
            }
        }
        let total = activities.iter().sum::<i64>() as f64;
        let operations = self.with_parts_on_path().into_iter();
        let operations = operations.filter(|(operation, _)| !is_of_platform(operation)).take(MOST_TRIED);
        let mut tried: Vec<Candidate> =
            operations.map(|(operation, _)| Candidate::Operation(operation.clone())).collect();
        for activity in Activity::ALL {
            if activities[activity as usize] as f64 > total * LEAST_SHARE {
                tried.push(Candidate::Activity(activity));
            }
        }
        if self.has_cold_starts() {
            tried.push(Candidate::ColdStarts);
        }
        let mut ranked: Vec<Ranked> = tried
            .into_iter()
            .map(|what| {
                let predict = |change: &Change| self.predict_known(change, Precision::Unknown);
                let (halved, gone) = (predict(&what.halved()), predict(&what.gone()));
                Ranked { what, prediction: halved, at_most: gone.after }
            })
            .filter(|ranked| ranked.gain() > 0.0)
            .collect();
        // Operations were tried before activities, and stay before them where both would bring the same.
        ranked.sort_by(|left, right| right.gain().total_cmp(&left.gain()));
        // An activity is often one operation. Two operations are never one, even if they would bring the same.
        let is_operation = |ranked: &Ranked| matches!(ranked.what, Candidate::Operation(_));
        ranked.dedup_by(|later, earlier| {
            later.prediction.after == earlier.prediction.after
                && !(is_operation(later) && is_operation(earlier))
        });
        ranked.truncate(count);
        for ranked in &mut ranked {
            ranked.prediction = self.predict_known(&ranked.what.halved(), Precision::Intervals);
        }
        ranked
    }

    /// Operations by their time on critical paths, that of their parts included.
    fn with_parts_on_path(&self) -> Vec<(&Operation, i64)> {
        let mut times = vec![0_i64; self.operations.len()];
        for Kept { model, .. } in &self.kept {
            for (owner, _, gap) in model.gaps_on_path() {
                let mut here = owner;
                loop {
                    let span = &model.spans[here];
                    times[span.operation as usize] += gap;
                    if !span.is_part || span.parent as usize == here {
                        break;
                    }
                    here = span.parent as usize;
                }
            }
        }
        let total = self.kept.iter().map(|kept| kept.model.duration).sum::<i64>() as f64;
        let mut times: Vec<(&Operation, i64)> = self
            .operations
            .iter()
            .zip(times)
            .filter(|(_, time)| *time as f64 > total * LEAST_SHARE)
            .collect();
        times.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(right.0)));
        times
    }
}

/// Whether figures come with intervals, which take most of the time.
#[derive(Clone, Copy)]
enum Precision {
    Unknown,
    Intervals,
}

/// What a change would bring.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// How many traces were computed anew.
    pub traces: usize,
    /// How many of them would take another time.
    pub changed: usize,
    /// What the intervals take for independent.
    pub interval_unit: IntervalUnit,
    /// As recorded.
    pub before: Figures,
    /// As predicted.
    pub after: Figures,
}

/// A change that was tried for a ranking, and what it would bring.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// What is changed.
    pub what: Candidate,
    /// If it took half of its time; of cold starts, if there were none.
    pub prediction: Prediction,
    /// If it took no time at all: the most that any change of it can bring.
    pub at_most: Figures,
}

/// What a ranking tries to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// The own time of an operation and of its parts.
    Operation(Operation),
    /// The time of an activity, in whichever operation.
    Activity(Activity),
    /// That functions start cold.
    ColdStarts,
}

impl Ranked {
    /// The mean of two shares: by how much the median and the 99th percentile shrink.
    pub fn gain(&self) -> f64 {
        let Prediction { before, after, .. } = &self.prediction;
        let share = |before: f64, after: f64| if before > 0.0 { 1.0 - after / before } else { 0.0 };
        share(before.p50.ms, after.p50.ms).midpoint(share(before.p99.ms, after.p99.ms))
    }
}

impl Candidate {
    /// The options of `sb trace what-if` that try this change.
    pub fn option(&self) -> String {
        match self {
            Self::Operation(operation) => {
                let pattern = OperationPattern::only(operation);
                // A quote ends the quoted text of a shell, and cannot stand in it.
                format!("--operation '{}=0.5'", pattern.as_str().replace('\'', r"'\''"))
            }
            Self::Activity(activity) => format!("--activity {}=0.5", activity.name()),
            Self::ColdStarts => "--cold-starts none".to_owned(),
        }
    }

    /// In the words of a table.
    pub fn describe(&self) -> String {
        match self {
            Self::Operation(operation) => operation.to_string(),
            Self::Activity(activity) => format!("all {}", activity.name()),
            Self::ColdStarts => "no cold starts".to_owned(),
        }
    }

    /// `operation`, `activity` or `cold_starts`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Operation(_) => "operation",
            Self::Activity(_) => "activity",
            Self::ColdStarts => "cold_starts",
        }
    }

    fn halved(&self) -> Change {
        self.change(Effect::Times(0.5), 0.5)
    }

    fn gone(&self) -> Change {
        self.change(Effect::Gone, 0.0)
    }

    fn change(&self, effect: Effect, factor: f64) -> Change {
        let mut change = Change::default();
        match self {
            Self::Operation(operation) => change.operations.push((OperationPattern::only(operation), effect)),
            Self::Activity(activity) => change.activities.push((*activity, factor)),
            Self::ColdStarts => change.no_cold_starts = true,
        }
        change
    }
}

/// A change, looked up by the numbers of operations.
struct ChangeEffects<'c> {
    operations: Vec<Option<Effect>>,
    activities: [f64; Activity::ALL.len()],
    no_cold_starts: bool,
    warm_starts: &'c HashMap<u32, i64>,
}

impl<'c> ChangeEffects<'c> {
    fn new(change: &Change, operations: &[Operation], warm_starts: &'c HashMap<u32, i64>) -> Self {
        Self {
            operations: operations.iter().map(|operation| change.of_operation(operation)).collect(),
            activities: Activity::ALL.map(|activity| change.of_activity(activity)),
            no_cold_starts: change.no_cold_starts,
            warm_starts,
        }
    }
}

impl Effects for ChangeEffects<'_> {
    fn factor(&self, span: &ModelSpan) -> Option<f64> {
        match self.operations[span.operation as usize] {
            Some(Effect::Times(factor)) => Some(factor),
            _ => None,
        }
    }

    fn is_gone(&self, span: &ModelSpan) -> bool {
        (self.no_cold_starts && span.initializes)
            || self.operations[span.operation as usize] == Some(Effect::Gone)
    }

    fn of_activity(&self, activity: Activity) -> f64 {
        self.activities[activity as usize]
    }

    fn warm_start(&self, span: &ModelSpan) -> Option<i64> {
        // Of a function that was never warm it is unknown what is left: nothing.
        self.no_cold_starts.then(|| self.warm_starts.get(&span.operation).copied().unwrap_or(0))
    }
}

/// Is this a part that AWS records of each function? `Invocation` is a part of the function's operation; the others have activities of
/// their own.
fn is_of_platform(operation: &Operation) -> bool {
    let name = operation.name.as_str();
    let is_known = ["Invocation", "Initialization", "Restore", "Overhead", "Dwell Time"].contains(&name);
    operation.service.is_empty() && (is_known || name.starts_with("Attempt #"))
}

/// Where a trace stands in a random order that depends on its id alone: FNV-1a, mixed by the finalizer of SplitMix64.
pub(crate) fn rank_of(id: &str) -> u64 {
    let hashed = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hashed ^ (hashed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
