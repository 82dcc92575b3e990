//! Recovers traces that are invalid only because clocks differ a little: the services of a trace run on many machines.
//!
//! Some kinds of disagreement are known (see `SkewKind`). Those within the limit are tried, each alone, the smallest
//! first. Where none is enough, all are tried together. Then as many of them as possible are taken back. So a valid
//! trace is never touched, and no adjustment stays without which the trace would be valid too.

use super::breakdown::{Analysis, THRESHOLD};
use crate::invalid::Invalid;
use crate::span::{MARGIN, Parent, Recorded, Span, SpanIndex, microseconds, resolve_parents};

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
pub(crate) const COLUMN: &str = "repaired";

/// What clocks can disagree on. In the order in which they are put right: what comes first moves the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SkewKind {
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
    kind: SkewKind,
    /// By place; that of the first span for the duration.
    span: usize,
}

/// Tries to recover a trace that is invalid for `reason`. `explain` analyses what is proposed.
pub(crate) fn repair(
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
            | Invalid::EndsBeforeStart { .. }
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
            note(start(span) - end(span), 0, SkewKind::EndsBeforeStart, place);
            if span.name == "Initialization"
                && let Some(latest) = self.latest_initialization(spans, place)
            {
                note(end(span) - latest, 0, SkewKind::InitializesTooLong, place);
            }
            let Some(parent) = self.parents[place].map(|parent| &spans[parent]) else { continue };
            // An initialization does start before its function, and the end of a function never counts.
            if span.name == "Initialization" {
                if let Some(caller) = self.caller(place) {
                    note(start(&spans[caller]) - start(span), 0, SkewKind::InitializesTooEarly, place);
                }
            } else {
                note(start(parent) - start(span), 0, SkewKind::StartsBeforeParent, place);
                note(start(parent) - THRESHOLD - start(span), 0, SkewKind::StartsBeforeCause, place);
            }
            note(end(span) - end(parent), MARGIN, SkewKind::ParentEndsEarly, place);
            note(end(span) - end(parent), MARGIN, SkewKind::EndsAfterParent, place);
        }
        if let Some(duration) = self.recorded.duration {
            let off = (microseconds(duration) - time_between(spans)).abs();
            note(off, MARGIN, SkewKind::Duration, 0);
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
                SkewKind::EndsBeforeStart => spans[one.span].end = spans[one.span].start,
                SkewKind::InitializesTooLong => {
                    let latest = self.latest_initialization(&spans, one.span)?;
                    spans[one.span].end = seconds(latest);
                    if start(&spans[one.span]) > latest {
                        spans[one.span].start = seconds(latest);
                    }
                }
                SkewKind::InitializesTooEarly => {
                    let earliest = spans[self.caller(one.span)?].start;
                    self.within(&mut spans, one.span, earliest, f64::INFINITY);
                }
                SkewKind::StartsBeforeCause => {
                    let earliest = seconds(start(&spans[self.parents[one.span]?]) - THRESHOLD);
                    self.within(&mut spans, one.span, earliest, f64::INFINITY);
                }
                SkewKind::StartsBeforeParent => {
                    let earliest = spans[self.parents[one.span]?].start;
                    self.within(&mut spans, one.span, earliest, f64::INFINITY);
                }
                SkewKind::ParentEndsEarly => {
                    let end = spans[one.span].end;
                    let parent = &mut spans[self.parents[one.span]?];
                    parent.end = parent.end.max(end);
                }
                SkewKind::EndsAfterParent => {
                    let latest = spans[self.parents[one.span]?].end;
                    self.within(&mut spans, one.span, f64::NEG_INFINITY, latest);
                }
                SkewKind::Duration => duration = Some(time_between(&spans) as f64 / 1e6),
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
            // A duration that was measured from the times as they were recorded goes along with them.
            let is_off = |spans: &[Span<'_>]| (microseconds(after) - time_between(spans)).abs() > MARGIN;
            if !is_off(&self.recorded.spans) && is_off(&spans) {
                duration = Some(time_between(&spans) as f64 / 1e6);
            }
        }
        let id = self.recorded.id.clone();
        let (links, precision) = (Vec::new(), self.recorded.precision);
        let limit_exceeded = false;
        Some((Recorded { id, duration, spans, links, precision, limit_exceeded }, moved))
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::io::analyze::analyze_by;
    use crate::method::Method;
    use crate::path::breakdown::Algorithm;
    use crate::row::read_breakdown;

    /// Id, parent's id or nothing, name, origin or nothing, start and end in milliseconds.
    type TestSpan = (&'static str, &'static str, &'static str, &'static str, f64, f64);

    const GATEWAY: &str = "AWS::ApiGateway::Stage";
    const LAMBDA: &str = "AWS::Lambda";
    const FUNCTION: &str = "AWS::Lambda::Function";

    const COLD: [TestSpan; 5] = [
        ("r", "", "api", GATEWAY, 0.0, 100.0),
        ("l", "r", "hello", LAMBDA, 10.0, 95.0),
        ("f", "l", "hello", FUNCTION, 60.0, 90.0),
        ("n", "f", "Initialization", "", 30.0, 55.0),
        ("i", "f", "Invocation", "", 61.0, 85.0),
    ];

    const CHAIN: [TestSpan; 5] = [
        ("r", "", "api", GATEWAY, 0.0, 50.0),
        ("l", "r", "upload", LAMBDA, 10.0, 45.0),
        ("x", "l", "bucket", "AWS::S3", 20.0, 40.0),
        ("m", "x", "resize", LAMBDA, 60.0, 200.0),
        ("g", "m", "resize", FUNCTION, 80.0, 199.0),
    ];

    fn text(spans: &[TestSpan], duration: f64) -> String {
        let documents: Vec<Value> = spans
            .iter()
            .map(|&(id, parent, name, origin, start, end)| {
                let not_empty = |text: &'static str| (!text.is_empty()).then_some(text);
                let document = json!({ "id": id, "parent_id": not_empty(parent), "name": name,
                                       "origin": not_empty(origin), "start_time": start / 1e3, "end_time": end / 1e3 });
                json!({ "Document": document.to_string() })
            })
            .collect();
        json!({ "Id": "1-a", "Duration": duration / 1e3, "Segments": documents }).to_string()
    }

    fn by(repair: Option<Repair>, text: &str) -> Result<Analysis, Invalid> {
        Method { repair, algorithm: Algorithm::Study, ..Method::default() }
            .analyze_text(text)
            .map_err(|rejected| rejected.reason)
    }

    /// The trace is invalid for this reason, and valid when times are moved by so many milliseconds in all.
    #[track_caller]
    fn check(spans: &[TestSpan], duration: f64, code: &str, moved: f64) -> Analysis {
        let text = text(spans, duration);
        assert_eq!(by(None, &text).unwrap_err().code(), code);
        let analysis = by(Some(Repair::default()), &text).unwrap();
        assert_eq!(analysis.repaired, Some((moved * 1e3) as i64));
        analysis
    }

    fn with<const N: usize>(mut spans: [TestSpan; N], place: usize, start: f64, end: f64) -> [TestSpan; N] {
        (spans[place].4, spans[place].5) = (start, end);
        spans
    }

    #[test]
    fn a_child_that_starts_before_the_root_starts_with_it() {
        let analysis = check(&with(CHAIN, 1, -3.0, 45.0), 203.0, "root_not_first", 3.0);
        assert_eq!(analysis.row.duration, 200_000);
        let analysis = check(&with(CHAIN, 1, -3.0, 45.0), 200.0, "root_not_first", 3.0);
        assert_eq!((analysis.row.start_time, analysis.row.parts.sum()), (0.0, 200_000));
    }

    #[test]
    fn what_lies_within_a_moved_span_moves_along() {
        let mut spans = CHAIN;
        spans[1].4 = -3.0;
        (spans[2].4, spans[2].5) = (-2.0, 40.0);
        let analysis = check(&spans, 200.0, "root_not_first", 3.0 + 2.0);
        assert_eq!(analysis.row.longest_path_names, ["api", "upload", "bucket", "resize", "resize"]);
    }

    #[test]
    fn an_effect_may_still_start_ten_milliseconds_before_its_cause() {
        // Moved to the edge of what is allowed, no further.
        check(&with(CHAIN, 3, 7.0, 200.0), 200.0, "starts_before_cause", 3.0);
        let analysis = by(Some(Repair::default()), &text(&with(CHAIN, 3, 10.0, 200.0), 200.0)).unwrap();
        assert_eq!(analysis.repaired, None);
    }

    #[test]
    fn an_initialization_ends_before_its_function_goes_on() {
        let analysis = check(&with(COLD, 3, 30.0, 63.0), 100.0, "cold_starts_mismatch", 3.0);
        assert_eq!(analysis.row.num_cold_starts, 1);
        assert_eq!(analysis.row.parts.sum(), 100_000);
    }

    #[test]
    fn a_span_that_ends_a_little_after_its_parent_is_within_it() {
        // The root is a little short: its child, which ends last, counts as asynchronous and leads nowhere.
        let analysis = check(&with(CHAIN, 0, 0.0, 42.0)[..2], 45.0, "ends_nowhere", 3.0);
        assert_eq!(analysis.row.duration, 45_000);
    }

    #[test]
    fn a_duration_that_is_a_little_off_is_measured_again() {
        let analysis = check(&COLD, 104.0, "duration_mismatch", 4.0);
        assert_eq!(analysis.row.duration, 100_000);
    }

    #[test]
    fn several_disagreements_are_put_right_together() {
        let mut spans = with(COLD, 3, 30.0, 63.0);
        // This one does no harm, so it stays.
        spans[4].5 = 90.5;
        check(&spans, 104.0, "duration_mismatch", 3.0 + 4.0);
    }

    #[test]
    fn beyond_the_limit_nothing_is_moved() {
        let far = text(&with(CHAIN, 1, -10.5, 45.0), 200.0);
        assert_eq!(by(Some(Repair::default()), &far).unwrap_err(), by(None, &far).unwrap_err());
        assert!(by(Some(Repair { limit: 11_000 }), &far).is_ok());
        let near = text(&with(CHAIN, 1, -3.0, 45.0), 200.0);
        assert!(by(Some(Repair { limit: 2_999 }), &near).is_err());
        assert!(by(Some(Repair { limit: 3_000 }), &near).is_ok());
        // What is missing is no skew.
        let missing = text(&CHAIN[1..], 190.0);
        assert_eq!(by(Some(Repair::default()), &missing).unwrap_err().code(), "missing_parent");
    }

    #[test]
    fn a_column_tells_of_repairs_and_valid_rows_stay_as_they_are() {
        let valid = text(&COLD, 100.0);
        let lines = format!("{valid}\n{}\n", text(&with(CHAIN, 1, -3.0, 45.0), 200.0));
        let run = |repair| {
            let (mut breakdown, mut invalid) = (Vec::new(), Vec::new());
            let method = Method { repair, ..Method::default() };
            let summary = analyze_by(
                &method,
                std::io::Cursor::new(lines.clone().into_bytes()),
                &mut breakdown,
                &mut invalid,
                &|_| {},
            )
            .unwrap();
            (String::from_utf8(breakdown).unwrap(), summary)
        };
        let (without, _) = run(None);
        let (repaired, summary) = run(Some(Repair::default()));
        assert_eq!((summary.valid, summary.invalid, summary.repaired), (2, 0, 1));
        let (without, with): (Vec<&str>, Vec<&str>) = (without.lines().collect(), repaired.lines().collect());
        assert_eq!(with[0], format!("{},repaired", without[0]));
        assert_eq!(with[1], format!("{},", without[1]));
        assert!(with[2].ends_with(",0:00:00.003000"), "{}", with[2]);
        assert_eq!(read_breakdown(repaired.as_bytes()).unwrap().len(), 2);
    }
}
