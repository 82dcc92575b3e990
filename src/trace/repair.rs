//! Recovers traces that are invalid only because clocks differ a little: the services of a trace run on many machines.
//!
//! Some kinds of disagreement are known ([`Kind`]). Those within the limit are tried: each alone, the smallest first;
//! where none is enough, all together, and then as many of them as possible are taken back. So a valid trace is never
//! touched, and no adjustment stays without which the trace would be valid too.

use super::breakdown::{Analysis, THRESHOLD};
use super::invalid::Invalid;
use super::span::{MARGIN, Parent, Recorded, Span, SpanIndex, microseconds, resolve_parents};

/// How far times may be adjusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The most by which one time is moved, in microseconds.
    pub limit: i64,
}

impl Default for Repair {
    /// Ten milliseconds.
    fn default() -> Self {
        Self { limit: 10_000 }
    }
}

/// Disagreements that are tried in one trace, the smallest ones: each costs an analysis or two.
const MOST: usize = 48;

/// The column that rows of repaired traces have beside the others.
pub(super) const COLUMN: &str = "repaired";

/// What clocks can disagree on. In the order in which they are put right: what comes first moves the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A span ends before it starts: it ends where it starts.
    EndsBeforeStart,
    /// An initialization ends after its function starts, or after the next part of the function does: it ends there.
    InitializesTooLong,
    /// An initialization starts before what called the function: it starts with it.
    InitializesTooEarly,
    /// A span starts before its parent: it starts with it.
    StartsBeforeParent,
    /// An asynchronous span starts before its parent, by more than is allowed: it starts so much before it.
    StartsBeforeCause,
    /// A span ends after its parent, by more than counts as equal: its parent ends with it.
    ParentEndsEarly,
    /// The same: it ends with its parent.
    EndsAfterParent,
    /// The trace's duration is not the time between first start and last end: it is that time.
    Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Disagreement {
    /// By how many microseconds.
    size: i64,
    kind: Kind,
    /// By place; that of the first span for the duration.
    span: usize,
}

/// Tries to recover a trace that is invalid for `reason`. `explain` analyses what is proposed.
pub(super) fn repair(
    recorded: &Recorded<'_>,
    repair: Repair,
    reason: &Invalid,
    mut explain: impl FnMut(Recorded<'_>) -> Option<Analysis>,
) -> Option<Analysis> {
    if !may_be_skew(reason) {
        return None;
    }
    let skewed = Skewed::new(recorded)?;
    let mut candidates = skewed.disagreements(repair.limit);
    candidates.sort_unstable();
    candidates.truncate(MOST);
    let mut attempt = |chosen: &[Disagreement]| {
        let (changed, moved) = skewed.adjusted(chosen, repair.limit)?;
        let mut analysis = explain(changed)?;
        analysis.repaired = Some(moved);
        Some(analysis)
    };
    if let Some(analysis) = candidates.iter().find_map(|&one| attempt(&[one])) {
        return Some(analysis);
    }
    let mut chosen = candidates;
    let mut best = attempt(&chosen)?;
    // The largest are taken back first.
    for place in (0..chosen.len()).rev() {
        let mut fewer = chosen.clone();
        fewer.remove(place);
        if let Some(analysis) = attempt(&fewer) {
            best = analysis;
            chosen = fewer;
        }
    }
    Some(best)
}

/// Other reasons say that spans are missing, wrong or not complete.
fn may_be_skew(reason: &Invalid) -> bool {
    matches!(
        reason,
        Invalid::RootNotFirst { .. }
            | Invalid::DurationMismatch { .. }
            | Invalid::StartsBeforeCause { .. }
            | Invalid::Gap { .. }
            | Invalid::EndsNowhere { .. }
            | Invalid::WrongEnd { .. }
            | Invalid::PartsMismatch { .. }
            | Invalid::ColdStartsMismatch { .. }
    )
}

/// A trace with its parents by place, repeated spans merged.
struct Skewed<'r> {
    recorded: Recorded<'r>,
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
}

impl<'r> Skewed<'r> {
    fn new(recorded: &Recorded<'r>) -> Option<Self> {
        let (mut spans, parents) = resolve_parents(recorded.spans.clone()).ok()?;
        let parents: Vec<Option<usize>> =
            parents.into_iter().map(|parent| parent.map(SpanIndex::get)).collect();
        let mut children = vec![Vec::new(); spans.len()];
        for (place, &parent) in parents.iter().enumerate() {
            spans[place].parent = parent.map_or(Parent::None, Parent::Enclosing);
            if let Some(parent) = parent {
                children[parent].push(place);
            }
        }
        Some(Self { recorded: Recorded { spans, ..recorded.clone() }, parents, children })
    }

    /// All that could be put right within the limit.
    fn disagreements(&self, limit: i64) -> Vec<Disagreement> {
        let spans = &self.recorded.spans;
        let mut found = Vec::new();
        let mut note = |size: i64, least: i64, kind, span| {
            if size > least && size <= limit {
                found.push(Disagreement { size, kind, span });
            }
        };
        for (place, span) in spans.iter().enumerate() {
            note(start(span) - end(span), 0, Kind::EndsBeforeStart, place);
            if span.name == "Initialization"
                && let Some(latest) = self.latest_initialization(spans, place)
            {
                note(end(span) - latest, 0, Kind::InitializesTooLong, place);
            }
            let Some(parent) = self.parents[place].map(|parent| &spans[parent]) else { continue };
            // An initialization does start before its function, and the end of a function never counts.
            if span.name == "Initialization" {
                if let Some(caller) = self.caller(place) {
                    note(start(&spans[caller]) - start(span), 0, Kind::InitializesTooEarly, place);
                }
            } else {
                note(start(parent) - start(span), 0, Kind::StartsBeforeParent, place);
                note(start(parent) - THRESHOLD - start(span), 0, Kind::StartsBeforeCause, place);
            }
            note(end(span) - end(parent), MARGIN, Kind::ParentEndsEarly, place);
            note(end(span) - end(parent), MARGIN, Kind::EndsAfterParent, place);
        }
        if let Some(duration) = self.recorded.duration {
            let off = (microseconds(duration) - time_between(spans)).abs();
            note(off, MARGIN, Kind::Duration, 0);
        }
        found
    }

    /// What called the function of an initialization.
    fn caller(&self, initialization: usize) -> Option<usize> {
        self.parents[self.parents[initialization]?]
    }

    /// When an initialization must have ended: before its function and the function's other parts start.
    fn latest_initialization(&self, spans: &[Span<'_>], place: usize) -> Option<i64> {
        let function = self.parents[place]?;
        let parts = self.children[function].iter().filter(|&&part| part != place);
        Some(parts.map(|&part| start(&spans[part])).fold(start(&spans[function]), i64::min))
    }

    /// The trace with these put right, and by how many microseconds times were moved in all; `None` where one would be
    /// moved beyond the limit.
    fn adjusted(&self, chosen: &[Disagreement], limit: i64) -> Option<(Recorded<'r>, i64)> {
        let mut spans = self.recorded.spans.clone();
        let mut duration = self.recorded.duration;
        let mut in_order = chosen.to_vec();
        // Parents go before their children where starts are moved, so the order of places within a kind does not matter:
        // what hangs on a moved span is moved with it.
        in_order.sort_by_key(|one| (one.kind, one.span));
        for one in in_order {
            match one.kind {
                Kind::EndsBeforeStart => spans[one.span].end = spans[one.span].start,
                Kind::InitializesTooLong => {
                    let latest = self.latest_initialization(&spans, one.span)?;
                    spans[one.span].end = seconds(latest);
                    if start(&spans[one.span]) > latest {
                        spans[one.span].start = seconds(latest);
                    }
                }
                Kind::InitializesTooEarly => {
                    let earliest = spans[self.caller(one.span)?].start;
                    self.within(&mut spans, one.span, earliest, f64::INFINITY);
                }
                Kind::StartsBeforeCause => {
                    let earliest = seconds(start(&spans[self.parents[one.span]?]) - THRESHOLD);
                    self.within(&mut spans, one.span, earliest, f64::INFINITY);
                }
                Kind::StartsBeforeParent => {
                    let earliest = spans[self.parents[one.span]?].start;
                    self.within(&mut spans, one.span, earliest, f64::INFINITY);
                }
                Kind::ParentEndsEarly => {
                    let end = spans[one.span].end;
                    let parent = &mut spans[self.parents[one.span]?];
                    parent.end = parent.end.max(end);
                }
                Kind::EndsAfterParent => {
                    let latest = spans[self.parents[one.span]?].end;
                    self.within(&mut spans, one.span, f64::NEG_INFINITY, latest);
                }
                Kind::Duration => duration = Some(time_between(&spans) as f64 / 1e6),
            }
        }
        let mut moved = 0;
        let before = self.recorded.spans.iter().flat_map(|span| [start(span), end(span)]);
        let after = spans.iter().flat_map(|span| [start(span), end(span)]);
        for (before, after) in before.zip(after) {
            let distance = (after - before).abs();
            if distance > limit {
                return None;
            }
            moved += distance;
        }
        if let (Some(before), Some(after)) = (self.recorded.duration, duration) {
            moved += (microseconds(after) - microseconds(before)).abs();
        }
        Some((Recorded { id: self.recorded.id.clone(), duration, spans }, moved))
    }

    /// Moves times of a span into a range, and with them those of what is beneath it that lay within the span.
    fn within(&self, spans: &mut [Span<'_>], top: usize, earliest: f64, latest: f64) {
        let (old_start, old_end) = (spans[top].start, spans[top].end);
        let mut open = vec![top];
        while let Some(place) = open.pop() {
            let span = &mut spans[place];
            let lay_within = place == top || (span.start >= old_start && span.end <= old_end);
            if lay_within && (span.start < earliest || span.end > latest) {
                span.start = span.start.max(earliest).min(latest);
                span.end = span.end.max(earliest).min(latest);
                open.extend(&self.children[place]);
            }
        }
    }
}

fn start(span: &Span<'_>) -> i64 {
    microseconds(span.start)
}

fn end(span: &Span<'_>) -> i64 {
    microseconds(span.end)
}

fn seconds(microseconds: i64) -> f64 {
    microseconds as f64 / 1e6
}

fn time_between(spans: &[Span<'_>]) -> i64 {
    let first = spans.iter().map(start).min().unwrap_or(0);
    spans.iter().map(end).max().unwrap_or(0) - first
}
