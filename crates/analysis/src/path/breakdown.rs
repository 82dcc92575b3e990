//! The latency breakdown: which activity each piece of time on the critical path belongs to.
//!
//! [`explain`] walks the path once. Each step from one span to the next yields pieces of time. They follow each other
//! without gaps, from the start of the trace to its end. Where they do not, the trace is invalid.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::activities::{ANY_NAME, Activities, inherit};
use super::critical_path::{Rule, critical_path, limit};
use super::{exact, firm};
use crate::invalid::Invalid;
use crate::row::{BreakdownRow, Url};
use crate::span::{MARGIN, SpanIndex, Trace, microseconds};

/// An asynchronous span may start before the span that leads to it by this many microseconds: clocks differ.
pub(crate) const THRESHOLD: i64 = 10_000;

/// Which algorithm extracts the critical path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// By definition: walks back from the end of the trace. Its pieces of time never overlap and are never negative.
    #[default]
    Exact,
    /// Algorithm 1 of the study, "Let's Trace It", as published: byte for byte the rows of its analyzer; see [`Rule`].
    Study,
    /// FIRM's, for synchronous traces: a reference to compare with.
    Firm,
}

/// What time is spent on. The names are those of the columns in trace_breakdown.csv.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// Gateways and workflow services, which call the functions.
    Orchestration,
    /// From the end of what set off an asynchronous span to its start.
    Trigger,
    /// Of a cold start: until the runtime starts.
    ContainerInitialization,
    /// Of a cold start: until the function's code starts.
    RuntimeInitialization,
    /// The function's own code.
    Computation,
    /// Time in a queue before the function starts. `queing` in the files, as in the published dataset.
    #[serde(rename = "queing")]
    Queueing,
    /// The platform's work around a function.
    Overhead,
    /// Databases, storage and other services that a function calls.
    ExternalService,
    /// What no rule of [`Activities`] covers.
    Unclassified,
}

impl Activity {
    /// In the order of the columns.
    pub const ALL: [Self; 9] = [
        Self::Orchestration,
        Self::Trigger,
        Self::ContainerInitialization,
        Self::RuntimeInitialization,
        Self::Computation,
        Self::Queueing,
        Self::Overhead,
        Self::ExternalService,
        Self::Unclassified,
    ];

    /// The column's name; `queing` is spelled as in the published dataset.
    pub fn name(self) -> &'static str {
        match self {
            Self::Orchestration => "orchestration",
            Self::Trigger => "trigger",
            Self::ContainerInitialization => "container_initialization",
            Self::RuntimeInitialization => "runtime_initialization",
            Self::Computation => "computation",
            Self::Queueing => "queing",
            Self::Overhead => "overhead",
            Self::ExternalService => "external_service",
            Self::Unclassified => "unclassified",
        }
    }
}

/// Microseconds per activity; `None` where the activity got no piece at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts([Option<i64>; Activity::ALL.len()]);

impl Parts {
    /// Microseconds of an activity.
    pub fn get(&self, activity: Activity) -> Option<i64> {
        self.0[activity as usize]
    }

    /// Sets the microseconds of an activity.
    pub(crate) fn set(&mut self, activity: Activity, microseconds: Option<i64>) {
        self.0[activity as usize] = microseconds;
    }

    /// Microseconds of all activities together.
    pub fn sum(&self) -> i64 {
        self.0.iter().flatten().fold(0, |sum, part| sum.saturating_add(*part))
    }

    /// All activities, in the order of the columns.
    pub fn iter(&self) -> impl Iterator<Item = (Activity, Option<i64>)> + '_ {
        Activity::ALL.into_iter().map(|activity| (activity, self.get(activity)))
    }

    pub(super) fn add(&mut self, activity: Activity, microseconds: i64) {
        let part = &mut self.0[activity as usize];
        *part = Some(part.unwrap_or(0).saturating_add(microseconds));
    }
}

/// Time between two moments on the critical path, in microseconds since the epoch. By other algorithms than
/// [`Algorithm::Exact`], it can be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// When it starts.
    pub start: i64,
    /// When it ends.
    pub end: i64,
    /// What the time is spent on.
    pub activity: Activity,
    /// The span that the time is attributed to; for a trigger the span that it leads to.
    pub span: SpanIndex,
}

/// A valid trace, explained.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis<S = String> {
    /// The row of trace_breakdown.csv.
    pub row: BreakdownRow<S>,
    /// The critical path from the root on; a span of zero length can come twice.
    pub path: Vec<SpanIndex>,
    /// Without gaps from the start of the trace to its end.
    pub pieces: Vec<Piece>,
    /// The rule by which the study's algorithm explains the trace. `None`: another algorithm does, which has no rules.
    pub rule: Option<Rule>,
    /// By [`Algorithm::Exact`]: the study's algorithm has another path, or counts time that is outside of its span or twice.
    pub differs_from_study: bool,
    /// By how many microseconds times were adjusted in all, where the trace was valid only then.
    pub repaired: Option<i64>,
}

impl Analysis<&str> {
    pub(crate) fn into_owned(self) -> Analysis {
        let Self { row, path, pieces, rule, differs_from_study, repaired } = self;
        Analysis { row: row.into_owned(), path, pieces, rule, differs_from_study, repaired }
    }
}

impl Analysis {
    pub(crate) fn as_borrowed(&self) -> Analysis<&str> {
        Analysis {
            row: self.row.as_borrowed(),
            path: self.path.clone(),
            pieces: self.pieces.clone(),
            rule: self.rule,
            differs_from_study: self.differs_from_study,
            repaired: self.repaired,
        }
    }
}

/// Explains a trace. The study's algorithm is tried by the published analyzer's rule, and only where that fails by the
/// paper's. The others have no rules.
pub(crate) fn analyze(
    trace: &Trace<'_>,
    activities: &Activities,
    algorithm: Algorithm,
) -> Result<Analysis, Invalid> {
    explain(trace, activities, algorithm).map(Analysis::into_owned)
}

/// Like [`analyze`], with texts that are the trace's own.
pub(crate) fn explain<'t>(
    trace: &'t Trace<'_>,
    activities: &Activities,
    algorithm: Algorithm,
) -> Result<Analysis<&'t str>, Invalid> {
    let as_published = algorithm == Algorithm::Study;
    let walk = |path: &[SpanIndex]| walk(Walk::new(trace, activities, path.len(), as_published), path);
    if algorithm == Algorithm::Exact {
        return exact::explain(trace, activities);
    }
    if algorithm == Algorithm::Firm {
        let path = firm::critical_path(trace);
        return walk(&path).map(|walk| walk.into_analysis(path, None, Url::Called));
    }
    let path = critical_path(trace, Rule::Published)?;
    let reason = match walk(&path) {
        Ok(walk) => return Ok(walk.into_analysis(path, Some(Rule::Published), Url::Last)),
        Err(reason) => reason,
    };
    let Ok(other_path) = critical_path(trace, Rule::Paper) else { return Err(reason) };
    if other_path == path {
        return Err(reason);
    }
    walk(&other_path)
        .map(|walk| walk.into_analysis(other_path, Some(Rule::Paper), Url::Last))
        .map_err(|_| reason)
}

/// A walk along a path.
pub(super) struct Walk<'t, 'r, 'a> {
    pub(super) trace: &'t Trace<'a>,
    rules: &'r Activities,
    /// The study's analyzer does not know what restores a function from a snapshot.
    as_published: bool,
    /// What is known of each span's activity: parts of services within each other may be many.
    activities: Vec<Option<Activity>>,
    pub(super) pieces: Vec<Piece>,
    /// The most pieces: where clocks are far off, each step of the path may climb through the whole tree.
    limit: usize,
    pub(super) parts: Parts,
    /// Where the pieces so far lead to: start of the trace + their sum.
    pub(super) reached: i64,
    pub(super) cold_starts: u64,
}

/// Walks the path and makes all checks.
fn walk<'t, 'r, 'a>(mut walk: Walk<'t, 'r, 'a>, path: &[SpanIndex]) -> Result<Walk<'t, 'r, 'a>, Invalid> {
    let trace = walk.trace;
    let mut current = path[0];
    let mut rest = path[1..].iter().copied().peekable();
    let mut is_final_cold_start = false;
    while let Some(next) = rest.next() {
        if let Some(initialization) = initialization(trace, next) {
            walk.cold_starts += 1;
            if trace.is_asynchronous(next) {
                walk.cold_trigger(current, next, initialization)?;
            } else {
                walk.cold_start(current, next, initialization)?;
            }
            is_final_cold_start = rest.next_if_eq(&initialization).is_some() && rest.peek().is_none();
        } else if trace.is_asynchronous(next) {
            walk.trigger(current, next)?;
        } else if trace.span(next).flags.cold_start && trace.parent(next) == Some(current) {
            walk.cold_start_without_span(current, next)?;
        } else if trace.parent(next) == Some(current) {
            walk.piece(current, trace.node(current).start_us, trace.node(next).start_us)?;
        } else {
            walk.climb_to(current, next)?;
        }
        current = next;
    }
    let reached = walk.climb_out(current, is_final_cold_start)?;
    walk.check_end(current, reached)?;
    walk.check_sums(path)?;
    Ok(walk)
}

/// The child of a function that shows a cold start.
fn initialization(trace: &Trace<'_>, span: SpanIndex) -> Option<SpanIndex> {
    if !trace.node(span).role.is_function() {
        return None;
    }
    trace.children(span).iter().copied().find(|&child| trace.node(child).is_initialization)
}

impl<'t, 'r, 'a> Walk<'t, 'r, 'a> {
    pub(super) fn new(
        trace: &'t Trace<'a>,
        rules: &'r Activities,
        length: usize,
        as_published: bool,
    ) -> Self {
        let mut parts = Parts::default();
        parts.add(Activity::Unclassified, 0);
        Self {
            trace,
            rules,
            as_published,
            activities: vec![None; trace.spans().len()],
            pieces: Vec::with_capacity(length + 8),
            limit: limit(trace),
            parts,
            reached: trace.node(trace.root()).start_us,
            cold_starts: 0,
        }
    }

    fn add(&mut self, span: SpanIndex, activity: Activity, start: i64, end: i64) -> Result<(), Invalid> {
        if self.pieces.len() == self.limit {
            return Err(Invalid::TooLong { limit: self.limit });
        }
        self.pieces.push(Piece { start, end, activity, span });
        self.parts.add(activity, end - start);
        self.reached += end - start;
        if self.reached != end {
            let span = self.id(span);
            return Err(Invalid::Gap { span, off: end - self.reached });
        }
        Ok(())
    }

    /// Time that belongs to the activity of a span.
    fn piece(&mut self, span: SpanIndex, start: i64, end: i64) -> Result<(), Invalid> {
        let activity = self.activity(span);
        self.add(span, activity, start, end)
    }

    /// The activity of a span's own time.
    pub(super) fn activity(&mut self, span: SpanIndex) -> Activity {
        let (trace, rules, as_published) = (self.trace, self.rules, self.as_published);
        inherit(trace, span, &mut self.activities, |here| {
            let is_unknown = as_published && trace.node(here).is_restore;
            let name = if is_unknown { ANY_NAME } else { &*trace.span(here).name };
            rules.of_named(trace, here, name)
        })
    }

    fn whole(&mut self, span: SpanIndex) -> Result<(), Invalid> {
        let node = self.trace.node(span);
        self.piece(span, node.start_us, node.end_us)
    }

    /// To a function that was not running yet: it is initialized before its own time starts.
    fn cold_start(
        &mut self,
        current: SpanIndex,
        function: SpanIndex,
        initialization: SpanIndex,
    ) -> Result<(), Invalid> {
        let from = self.trace.node(current).start_us;
        let (start, end) = (self.trace.node(initialization).start_us, self.trace.node(initialization).end_us);
        self.add(function, Activity::ContainerInitialization, from, start)?;
        self.add(initialization, Activity::RuntimeInitialization, start, end)?;
        self.piece(current, end, self.trace.node(function).start_us)
    }

    /// To a function that the current span only sets off, without a service between them, and that was not running.
    fn cold_trigger(
        &mut self,
        current: SpanIndex,
        function: SpanIndex,
        initialization: SpanIndex,
    ) -> Result<(), Invalid> {
        self.trigger(current, initialization)?;
        let (start, end) = (self.trace.node(initialization).start_us, self.trace.node(initialization).end_us);
        self.add(initialization, Activity::RuntimeInitialization, start, end)?;
        self.add(function, Activity::Trigger, end, self.trace.node(function).start_us)
    }

    /// To a function of which is known that it was not running yet, but not how long which initialization took.
    fn cold_start_without_span(&mut self, current: SpanIndex, function: SpanIndex) -> Result<(), Invalid> {
        let (from, to) = (self.trace.node(current).start_us, self.trace.node(function).start_us);
        self.add(function, Activity::ContainerInitialization, from, to)
    }

    /// To a span that the current one only sets off.
    fn trigger(&mut self, current: SpanIndex, next: SpanIndex) -> Result<(), Invalid> {
        let (from, to) = (self.trace.node(current), self.trace.node(next).start_us);
        let (start, end) = (from.start_us, from.end_us.min(to));
        if start - to > THRESHOLD {
            return Err(Invalid::StartsBeforeCause {
                span: self.id(current),
                next: self.id(next),
                early: start - to,
            });
        }
        self.piece(current, start, end)?;
        self.add(next, Activity::Trigger, end, to)
    }

    /// To a synchronous span elsewhere in the tree: up as far as parents end before it starts, then across.
    fn climb_to(&mut self, current: SpanIndex, next: SpanIndex) -> Result<(), Invalid> {
        self.whole(current)?;
        let next_node = self.trace.node(next);
        let mut here = current;
        while let Some(parent) = self.trace.parent(here) {
            if self.trace.node(parent).end > next_node.start {
                break;
            }
            self.piece(parent, self.trace.node(here).end_us, self.trace.node(parent).end_us)?;
            here = parent;
        }
        self.piece(next_node.parent.unwrap_or(next), self.trace.node(here).end_us, next_node.start_us)
    }

    /// From the last span up; returns the last parent on the way.
    fn climb_out(&mut self, last: SpanIndex, is_cold_start: bool) -> Result<Option<SpanIndex>, Invalid> {
        self.whole(last)?;
        let mut reached = None;
        let mut here = last;
        while let Some(parent) = self.trace.parent(here) {
            let (node, parent_node) = (self.trace.node(here), self.trace.node(parent));
            let goes_on =
                if is_cold_start { parent_node.end >= node.end } else { !self.trace.is_asynchronous(here) };
            if !goes_on {
                break;
            }
            self.piece(parent, node.end_us, parent_node.end_us)?;
            reached = Some(parent);
            here = parent;
        }
        Ok(reached)
    }

    fn check_end(&self, current: SpanIndex, reached: Option<SpanIndex>) -> Result<(), Invalid> {
        let trace = self.trace;
        if reached.is_none() && trace.may_end_in_leaf() && current == trace.last() {
            return Ok(());
        }
        let reached = reached.ok_or_else(|| Invalid::EndsNowhere { span: self.id(current) })?;
        let last = trace.last();
        // Equal, not within a margin: both are what the same service wrote.
        let same_end = trace.node(reached).end.total_cmp(&trace.node(last).end).is_eq();
        if reached == last || reached == trace.root() || same_end {
            Ok(())
        } else {
            Err(Invalid::WrongEnd { reached: self.id(reached), last: self.id(last) })
        }
    }

    fn check_sums(&self, path: &[SpanIndex]) -> Result<(), Invalid> {
        let (parts, duration) = (self.parts.sum(), microseconds(self.trace.duration));
        if (parts - duration).abs() >= MARGIN {
            return Err(Invalid::PartsMismatch { parts, duration });
        }
        let initializations =
            path.iter().filter(|&&span| self.trace.node(span).is_initialization).count() as u64;
        if initializations != self.cold_starts {
            return Err(Invalid::ColdStartsMismatch { counted: self.cold_starts, initializations });
        }
        Ok(())
    }

    fn id(&self, span: SpanIndex) -> String {
        self.trace.span(span).id.to_string()
    }

    pub(super) fn into_analysis(
        self,
        path: Vec<SpanIndex>,
        rule: Option<Rule>,
        url: Url,
    ) -> Analysis<&'t str> {
        let flagged: BTreeSet<SpanIndex> =
            path.iter().copied().filter(|&span| self.trace.span(span).flags.cold_start).collect();
        let cold_starts = self.cold_starts + flagged.len() as u64;
        let row = BreakdownRow::new(self.trace, &path, self.parts, cold_starts, url);
        Analysis { row, path, pieces: self.pieces, rule, differs_from_study: false, repaired: None }
    }
}
