//! The critical path by definition: at each moment, from the end of a trace back to its start, what its end waited for.
//!
//! It goes back from the end of a span. First comes the child that ended last. Next, of those that ended before this
//! one started, comes the one that ended last, and so on. In between is the span's own time. Asynchronous children
//! are followed by the study's rule: those that lead to the span that ends last, and those that end before these
//! start. So the pieces of time never overlap, are never negative, and add up to the time from the first start to the
//! last end.
//!
//! Clocks differ, and a trace may say more than can be true:
//!
//! - A child that overlaps the next one a little still happens before it ([`follows`]). The
//!   overlap is the first one's time.
//! - Time of a child outside of its parent does not count. An asynchronous child, and what initializes a function, are outside
//!   of their parents by nature.
//! - What a function does after its response counts where nothing else ends later.

use super::activities::Activities;
use super::breakdown::{Activity, Analysis, Piece, THRESHOLD, Walk};
use super::critical_path::{self, Rule};
use crate::invalid::Invalid;
use crate::row::Url;
use crate::span::{SpanIndex, Trace};

/// Siblings may overlap by this part of their parent's time …
const OF_PARENT: i64 = 50;
/// … and by this part of the shorter one's, and still follow each other.
const OF_SHORTER: i64 = 10;

/// Explains a trace.
pub(super) fn explain<'t>(
    trace: &'t Trace<'_>,
    activities: &Activities,
) -> Result<Analysis<&'t str>, Invalid> {
    if let Some(span) = trace.indices().find(|&span| trace.ends_before_it_starts(span)) {
        let node = trace.node(span);
        let (span, early) = (trace.span(span).id.to_string(), node.start_us - node.end_us);
        return Err(Invalid::EndsBeforeStart { span, early });
    }
    let exact = ExactPath::of(trace);
    let mut steps = Steps {
        walk: Walk::new(trace, activities, exact.path.len(), false),
        exact: &exact,
        is_cut: exact.is_cut,
    };
    steps.walk_along()?;
    let Steps { walk, is_cut, .. } = steps;
    // The study finds the start of a container before an initialization that begins no earlier than its function, too.
    let starts_late = |span: SpanIndex| {
        trace.node(span).is_initialization && trace.initializes(span) && !trace.initializes_before(span)
    };
    let differs = is_cut
        || exact.path.iter().any(|&span| starts_late(span))
        || critical_path::critical_path(trace, Rule::Published)
            .is_ok_and(|published| published != exact.path);
    let mut analysis = walk.into_analysis(exact.path, None, Url::Called);
    analysis.differs_from_study = differs;
    Ok(analysis)
}

/// Does a child end before the next one, `later`, starts? Clocks have a resolution: it may also overlap the next one by up
/// to 2 % of their parent's time that is not more than 10 % of the shorter one's. All are microseconds.
pub(crate) fn follows((start, end): (i64, i64), later: (i64, i64), of_parent: i64) -> bool {
    let overlap = end - later.0;
    let shorter = (end - start).min(later.1 - later.0);
    overlap <= 0 || (overlap * OF_PARENT <= of_parent && overlap * OF_SHORTER <= shorter)
}

/// The spans of the path from the root on, each once, and the time of each that counts.
struct ExactPath<'t, 'a> {
    trace: &'t Trace<'a>,
    path: Vec<SpanIndex>,
    /// Start and end in microseconds, by place; of spans off the path as they were recorded.
    times: Vec<(i64, i64)>,
    /// The span with which the trace ends.
    last: SpanIndex,
    /// As [`Trace::ends_with_root`], and nothing asynchronous leads to the last span.
    ends_with_root: bool,
    /// Whether time of a span on the path does not count, which the study's algorithm counts.
    is_cut: bool,
}

impl<'t, 'a> ExactPath<'t, 'a> {
    fn of(trace: &'t Trace<'a>) -> Self {
        let times =
            trace.indices().map(|span| (trace.node(span).start_us, trace.node(span).end_us)).collect();
        let last = trace.last_of_equal();
        let mut exact = Self { trace, path: Vec::new(), times, last, ends_with_root: false, is_cut: false };
        let mut way: Vec<SpanIndex> = std::iter::successors(Some(last), |&span| trace.parent(span)).collect();
        let leads_up = way.iter().all(|&span| !trace.is_asynchronous(span));
        exact.ends_with_root = leads_up && trace.ends_with_root();
        if exact.ends_with_root {
            exact.last = trace.root();
        }
        for step in way.windows(2) {
            let (child, parent) = (step[0], step[1]);
            // What goes on after its caller has ended, and yet is no work of its own, holds the caller's caller up.
            let is_late = exact.end(child) > exact.end(parent);
            if is_late && !exact.ends_with_root && !trace.is_asynchronous(child) {
                exact.times[parent.get()].1 = exact.end(child);
                exact.is_cut = true;
            }
        }
        let is_below_root = way.pop() == Some(trace.root());
        let mut way = if is_below_root { way } else { Vec::new() };
        // In reverse on the stack: the first of several children is visited first.
        let mut open = vec![trace.root()];
        while let Some(span) = open.pop() {
            exact.path.push(span);
            let wanted = way.pop_if(|next| trace.parent(*next) == Some(span));
            exact.open_children(span, wanted, &mut open);
        }
        exact
    }

    fn start(&self, span: SpanIndex) -> i64 {
        self.times[span.get()].0
    }

    fn end(&self, span: SpanIndex) -> i64 {
        self.times[span.get()].1
    }

    /// Puts the children that are on the path onto the stack, the last one first.
    fn open_children(&mut self, span: SpanIndex, wanted: Option<SpanIndex>, open: &mut Vec<SpanIndex>) {
        let trace = self.trace;
        let mut later = wanted;
        if let Some(wanted) = wanted {
            let start = trace.node(wanted).start_us;
            let is_before = trace.initializes_before(wanted);
            let start = if is_before { start } else { start.max(self.start(span)) };
            let end = self.end(wanted);
            let end = if self.ends_with_root { end.min(self.end(span)) } else { end };
            self.set(wanted, start, end.max(start));
            open.push(wanted);
        }
        let mut rest = trace.children(span);
        while let Some(&child) = rest.last() {
            // Of children with the same times, ids decide, not the order of the file.
            let is_same = |other: &&SpanIndex| {
                let (node, other) = (trace.node(child), trace.node(**other));
                (node.start_us, node.end_us) == (other.start_us, other.end_us)
            };
            let count = rest.iter().rev().take_while(is_same).count();
            let (before, same) = rest.split_at(rest.len() - count);
            rest = before;
            if count == 1 {
                self.open_child(span, child, wanted, &mut later, open);
                continue;
            }
            let mut same = same.to_vec();
            same.sort_by_key(|&child| &*trace.span(child).id);
            for child in same {
                self.open_child(span, child, wanted, &mut later, open);
            }
        }
    }

    fn open_child(
        &mut self,
        span: SpanIndex,
        child: SpanIndex,
        wanted: Option<SpanIndex>,
        later: &mut Option<SpanIndex>,
        open: &mut Vec<SpanIndex>,
    ) {
        let is_asynchronous = self.trace.is_asynchronous(child);
        // Of asynchronous children, a wait or an attempt may come before the one that leads to the end. A message's receiver
        // never does.
        let comes_before = later.is_some() && !self.trace.span(child).flags.from_queue;
        if wanted == Some(child) || (is_asynchronous && !comes_before) {
            return;
        }
        let (from, mut to) = self.times[span.get()];
        if is_asynchronous {
            to = to.max(self.end(child));
        }
        let (start, end) = self.times[child.get()];
        let end = end.max(start);
        let initializes = self.trace.initializes_before(child);
        let (start, mut end) = if initializes {
            (start, end.min(to))
        } else if end < from || start > to || (end == from && start < from) {
            return;
        } else {
            (start.max(from), end.min(to))
        };
        if let Some(later) = *later {
            let limit = self.occupied_from(later);
            let follows = follows((start, end), (limit, self.end(later)), to - from);
            if !follows && !initializes {
                return;
            }
            // A function is initialized before its parts run, whatever clocks say.
            if initializes || self.trace.is_asynchronous(later) {
                end = end.min(limit);
            } else if end > limit {
                let later_end = self.end(later);
                self.set(later, end, later_end);
            }
        }
        self.set(child, start.min(end), end);
        open.push(child);
        *later = Some(child);
    }

    /// When a child starts to take time: a function, when its initialization starts.
    fn occupied_from(&self, span: SpanIndex) -> i64 {
        let start = self.start(span);
        if !self.trace.node(span).role.is_function() {
            return start;
        }
        let initializations = self.trace.children(span).iter().copied();
        initializations
            .filter(|&child| self.trace.initializes_before(child))
            .fold(start, |first, child| first.min(self.trace.node(child).start_us))
    }

    fn set(&mut self, span: SpanIndex, start: i64, end: i64) {
        let times = &mut self.times[span.get()];
        self.is_cut |= *times != (start, end);
        *times = (start, end);
    }
}

/// Where the walk along the path is.
struct Steps<'t, 'r, 'a, 'p> {
    walk: Walk<'t, 'r, 'a>,
    exact: &'p ExactPath<'t, 'a>,
    is_cut: bool,
}

impl Steps<'_, '_, '_, '_> {
    /// From one span of the path to the next, as the study does.
    fn walk_along(&mut self) -> Result<(), Invalid> {
        let (exact, trace) = (self.exact, self.walk.trace);
        let mut current = exact.path[0];
        let mut rest = exact.path[1..].iter().copied().peekable();
        while let Some(next) = rest.next() {
            let is_asynchronous = trace.is_asynchronous(next);
            let mut is_cold = false;
            while let Some(initialization) =
                rest.next_if(|&span| trace.parent(span) == Some(next) && trace.initializes_before(span))
            {
                match (is_cold, is_asynchronous) {
                    (false, true) => self.trigger(current, initialization)?,
                    (true, true) => self.add(next, Activity::Trigger, exact.start(initialization)),
                    (false, false) => {
                        self.add(next, Activity::ContainerInitialization, exact.start(initialization));
                    }
                    (true, false) => self.own(current, exact.start(initialization)),
                }
                self.add(initialization, Activity::RuntimeInitialization, exact.end(initialization));
                self.walk.cold_starts += 1;
                self.is_cut |= trace.node(initialization).is_restore;
                is_cold = true;
            }
            let start = exact.start(next);
            let is_child = trace.parent(next) == Some(current);
            match () {
                () if is_cold && is_asynchronous => self.add(next, Activity::Trigger, start),
                () if is_cold => self.own(current, start),
                () if is_asynchronous => self.trigger(current, next)?,
                () if is_child && trace.span(next).flags.cold_start => {
                    self.add(next, Activity::ContainerInitialization, start);
                }
                () if is_child => self.own(current, start),
                () => self.climb_to(current, next),
            }
            self.walk.cold_starts += u64::from(trace.initializes(next));
            self.is_cut |= trace.node(next).is_restore;
            current = next;
        }
        self.climb_out(current)
    }

    /// Time up to `end` that belongs to an activity; none, where the path is there already.
    fn add(&mut self, span: SpanIndex, activity: Activity, end: i64) {
        let start = self.walk.reached;
        self.is_cut |= end < start;
        let end = end.max(start);
        self.walk.pieces.push(Piece { start, end, activity, span });
        self.walk.parts.add(activity, end - start);
        self.walk.reached = end;
    }

    /// Time up to `end` that belongs to the activity of a span.
    fn own(&mut self, span: SpanIndex, end: i64) {
        let activity = self.walk.activity(span);
        self.add(span, activity, end);
    }

    fn trigger(&mut self, current: SpanIndex, next: SpanIndex) -> Result<(), Invalid> {
        let trace = self.walk.trace;
        let function = trace.parent(next).filter(|_| trace.initializes_before(next));
        if let Some(cause) = trace.parent(function.unwrap_or(next)) {
            let early = trace.node(cause).start_us - trace.node(next).start_us;
            if early > THRESHOLD {
                let id = |span| trace.span(span).id.to_string();
                return Err(Invalid::StartsBeforeCause { span: id(cause), next: id(next), early });
            }
        }
        let start = self.exact.start(next);
        self.own(current, self.exact.end(current).min(start));
        self.add(next, Activity::Trigger, start);
        Ok(())
    }

    /// Up to the parent of the next span, and across to this one.
    fn climb_to(&mut self, current: SpanIndex, next: SpanIndex) {
        let trace = self.walk.trace;
        let meeting = trace.parent(next);
        self.own(current, self.exact.end(current));
        let mut here = current;
        while let Some(parent) = trace.parent(here).filter(|_| trace.parent(here) != meeting) {
            self.own(parent, self.exact.end(parent));
            here = parent;
        }
        self.own(meeting.unwrap_or(next), self.exact.start(next));
    }

    /// From the last span of the path up to the root, or to an asynchronous span.
    fn climb_out(&mut self, current: SpanIndex) -> Result<(), Invalid> {
        let (exact, trace) = (self.exact, self.walk.trace);
        self.own(current, exact.end(current));
        let mut here = current;
        while let Some(parent) = trace.parent(here).filter(|_| !trace.is_asynchronous(here)) {
            self.own(parent, exact.end(parent));
            here = parent;
        }
        let id = |span| trace.span(span).id.to_string();
        if here == current && trace.lacks_parts(current) {
            return Err(Invalid::EndsNowhere { span: id(current) });
        }
        if self.walk.reached != trace.node(exact.last).end_us {
            return Err(Invalid::WrongEnd { reached: id(here), last: id(exact.last) });
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "exact_tests.rs"]
pub(crate) mod tests;
