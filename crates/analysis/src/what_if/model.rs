//! One trace as moments that wait for each other.
//!
//! Each start and each end of a span is a *moment*. A moment comes a *gap* of somebody's own work after the last of those
//! that it waits for. So a trace is a system of "the latest of these, plus that", and is computed anew in one pass. With
//! unchanged gaps it gives the recorded times; with shorter gaps no moment can be later.
//!
//! Which moment waits for which is read from the recorded order, as the exact critical path does
//! ([`crate::Algorithm::Exact`]):
//!
//! - A child waits for the sibling that was the last to end before it started, else for its parent's start. It also waits for
//!   those that had ended earlier and that no other sibling had followed: they may take over. Siblings may overlap as little
//!   as there, and still follow each other.
//! - The end of a span waits for its synchronous children.
//! - An asynchronous child waits for its parent's start, and also for its end where it started after it.
//! - A function waits for its initialization.
//! - Of a child that goes on after its parent has ended, the parent waited for what was done by then.

use std::cmp::Reverse;

use crate::path::activities::Activities;
use crate::path::breakdown::Activity;
use crate::path::exact::follows;
use crate::span::{SpanIndex, Trace, microseconds};

/// How many siblings that overlap the start of a span are looked at: a sound trace has one or two.
const MOST_OVERLAPS: usize = 32;

/// A trace, ready to be computed anew. Times are in microseconds after the start of the trace.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    moments: Vec<Moment>,
    /// What the moments wait for, those of one moment together.
    waits: Vec<Wait>,
    /// Parents before their children.
    pub(crate) spans: Vec<ModelSpan>,
    /// Recorded.
    pub(crate) duration: i64,
    /// The latest recorded moment.
    latest: i64,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    /// The end of its range in `waits`.
    waits_to: u32,
    /// Whose own work the gap is.
    owner: u32,
    activity: Activity,
    gap: i64,
}

/// That a moment comes no earlier than another one, less `early` where clocks differ.
#[derive(Clone, Copy, Debug)]
struct Wait {
    moment: u32,
    early: i64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct ModelSpan {
    /// The place in the trace.
    #[cfg(test)]
    pub(crate) index: SpanIndex,
    /// A number that the caller's table gave.
    pub(crate) operation: u32,
    /// By place in [`Model::spans`]; the root is its own.
    pub(crate) parent: u32,
    /// Whether it is a part of its parent's operation ([`Effects`]).
    pub(crate) is_part: bool,
    pub(crate) is_function: bool,
    /// Whether it starts a function that was not running.
    pub(crate) initializes: bool,
    /// Whether it started cold.
    pub(crate) is_cold: bool,
    start: u32,
    end: u32,
}

/// What becomes of the gaps of a trace.
pub(crate) trait Effects {
    /// By what the own work of a span is multiplied.
    fn factor(&self, span: &ModelSpan) -> Option<f64>;
    /// Whether a span and all beneath it take no time.
    fn is_gone(&self, span: &ModelSpan) -> bool;
    /// By what the time of an activity is multiplied.
    fn of_activity(&self, activity: Activity) -> f64;
    /// How long the start of a span takes that is not to be cold; `None`: it stays cold.
    fn warm_start(&self, span: &ModelSpan) -> Option<i64>;
}

/// What is reused from trace to trace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    times: Vec<i64>,
    factors: Vec<f64>,
    gone: Vec<bool>,
}

impl Model {
    /// Of a trace that can be explained; `number` gives operations their numbers.
    pub(crate) fn of(
        trace: &Trace<'_>,
        activities: &Activities,
        number: &mut dyn FnMut(SpanIndex) -> u32,
    ) -> Self {
        let origin = trace.node(trace.root()).start_us;
        let mut builder = Builder {
            trace,
            origin,
            activities: activities.of_all(trace),
            places: vec![u32::MAX; trace.spans().len()],
            recorded: Vec::with_capacity(trace.spans().len() * 3),
            budget: trace.spans().len() * 8 + 64,
            model: Self {
                moments: Vec::with_capacity(trace.spans().len() * 3),
                waits: Vec::with_capacity(trace.spans().len() * 4),
                spans: Vec::with_capacity(trace.spans().len()),
                duration: microseconds(trace.duration),
                latest: 0,
            },
        };
        builder.build(number);
        let mut model = builder.model;
        let ends = model.spans.iter().map(|span| builder.recorded[span.end as usize]);
        model.latest = ends.max().unwrap_or(0);
        model.moments.shrink_to_fit();
        model.waits.shrink_to_fit();
        model
    }

    /// The duration that the trace would have, in microseconds.
    pub(crate) fn duration_with(&self, effects: &dyn Effects, scratch: &mut Scratch) -> i64 {
        self.compute(effects, scratch);
        let latest = self.spans.iter().map(|span| scratch.times[span.end as usize]).max().unwrap_or(0);
        (self.duration + latest - self.latest).max(0)
    }

    /// Start and end that each span would have, in microseconds after the start of the trace, in the order of `spans`.
    #[cfg(test)]
    pub(crate) fn times_with(&self, effects: &dyn Effects) -> Vec<(i64, i64)> {
        let mut scratch = Scratch::default();
        self.compute(effects, &mut scratch);
        let time = |moment: u32| scratch.times[moment as usize];
        self.spans.iter().map(|span| (time(span.start), time(span.end))).collect()
    }

    /// By how much moments come before what they wait for, in microseconds.
    #[cfg(test)]
    pub(crate) fn overlaps(&self) -> i64 {
        self.waits.iter().map(|wait| wait.early).sum()
    }

    /// How many moments and waits there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.moments.len() + self.waits.len()
    }

    fn compute(&self, effects: &dyn Effects, scratch: &mut Scratch) {
        let Scratch { times, factors, gone } = scratch;
        times.clear();
        factors.clear();
        gone.clear();
        for (place, span) in self.spans.iter().enumerate() {
            let parent = span.parent as usize;
            let is_root = parent == place;
            let inherited = if span.is_part && !is_root { factors[parent] } else { 1.0 };
            factors.push(effects.factor(span).unwrap_or(inherited));
            gone.push((!is_root && gone[parent]) || effects.is_gone(span));
        }
        let mut from = 0;
        for moment in &self.moments {
            let waits = &self.waits[from..moment.waits_to as usize];
            from = moment.waits_to as usize;
            let latest = waits.iter().map(|wait| times[wait.moment as usize] - wait.early).max().unwrap_or(0);
            let owner = moment.owner as usize;
            let mut gap = moment.gap;
            if gap > 0 {
                if moment.activity == Activity::ContainerInitialization
                    && let Some(warm) = effects.warm_start(&self.spans[owner])
                {
                    gap = gap.min(warm);
                }
                // What comes before a span is no work of its operation.
                let of_owner = if moment.activity.is_before() { 1.0 } else { factors[owner] };
                gap = scaled(gap, of_owner * effects.of_activity(moment.activity));
                if gone[owner] {
                    gap = 0;
                }
            }
            times.push(latest + gap);
        }
    }

    /// Where the recorded time goes: each gap on the way from the end back to the start, with its owner (by place in `spans`).
    pub(crate) fn gaps_on_path(&self) -> Vec<(usize, Activity, i64)> {
        let mut scratch = Scratch::default();
        self.compute(&Unchanged, &mut scratch);
        let times = &scratch.times;
        let last = self.spans.iter().max_by_key(|span| times[span.end as usize]);
        let mut found = Vec::new();
        let mut next = last.map(|span| span.end as usize);
        while let Some(here) = next {
            let moment = self.moments[here];
            if moment.gap > 0 {
                found.push((moment.owner as usize, moment.activity, moment.gap));
            }
            let from = if here == 0 { 0 } else { self.moments[here - 1].waits_to as usize };
            let waits = &self.waits[from..moment.waits_to as usize];
            let latest = waits.iter().max_by_key(|wait| times[wait.moment as usize] - wait.early);
            next = latest.map(|wait| wait.moment as usize);
        }
        found.reverse();
        found
    }

    /// How long it took until a span started that was warm: from what it waited for, in microseconds.
    pub(crate) fn start_gap(&self, span: &ModelSpan) -> i64 {
        self.moments[span.start as usize].gap
    }
}

fn scaled(gap: i64, factor: f64) -> i64 {
    // A factor of 1 must not round.
    if factor.to_bits() == 1.0_f64.to_bits() { gap } else { (gap as f64 * factor).round() as i64 }
}

/// Nothing changes.
pub(crate) struct Unchanged;

impl Effects for Unchanged {
    fn factor(&self, _: &ModelSpan) -> Option<f64> {
        None
    }

    fn is_gone(&self, _: &ModelSpan) -> bool {
        false
    }

    fn of_activity(&self, _: Activity) -> f64 {
        1.0
    }

    fn warm_start(&self, _: &ModelSpan) -> Option<i64> {
        None
    }
}

impl Activity {
    /// Is this time before a span starts, which is attributed to the span and yet is no work of it?
    pub(crate) fn is_before(self) -> bool {
        matches!(self, Self::Trigger | Self::ContainerInitialization)
    }

    /// Is this work of the platform, not of the function that it is recorded in?
    fn is_of_platform(self) -> bool {
        matches!(
            self,
            Self::ContainerInitialization | Self::RuntimeInitialization | Self::Queueing | Self::Overhead
        )
    }
}

struct Builder<'t, 'a> {
    trace: &'t Trace<'a>,
    origin: i64,
    activities: Vec<Activity>,
    /// Of the trace's spans, their places in the model.
    places: Vec<u32>,
    /// The recorded time of each moment.
    recorded: Vec<i64>,
    /// How many more moments may be made of what goes on after its parent's end.
    budget: usize,
    model: Model,
}

/// A span that is being laid out.
struct Open {
    span: SpanIndex,
    place: u32,
    stage: Stage,
    /// What its first moment waits for.
    entry: Vec<u32>,
    entry_owner: (u32, Activity),
    children: Children,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Initializations,
    Synchronous,
    Asynchronous,
}

/// The children of one stage, and which of them have ended.
#[derive(Default)]
struct Children {
    /// By when they start to take time.
    by_start: Vec<SpanIndex>,
    next: usize,
    /// Those that others may wait for, by end.
    by_end: Vec<SpanIndex>,
    passed: usize,
    /// The end of the one that was passed last …
    last: Option<u32>,
    /// … and when those had ended that were passed before it, and that no sibling had followed.
    rest: Option<u32>,
}

impl Builder<'_, '_> {
    fn start(&self, span: SpanIndex) -> i64 {
        self.trace.node(span).start_us - self.origin
    }

    fn end(&self, span: SpanIndex) -> i64 {
        self.trace.node(span).end_us - self.origin
    }

    /// Makes a moment that was recorded at `time`.
    fn moment(&mut self, time: i64, waits: &[u32], owner: u32, activity: Activity) -> u32 {
        let latest = waits.iter().map(|&wait| self.recorded[wait as usize]).max().unwrap_or(0);
        for &moment in waits {
            let early = (self.recorded[moment as usize] - time).max(0);
            self.model.waits.push(Wait { moment, early });
        }
        let waits_to = self.model.waits.len() as u32;
        self.model.moments.push(Moment { waits_to, owner, activity, gap: (time - latest).max(0) });
        self.recorded.push(time);
        self.recorded.len() as u32 - 1
    }

    fn build(&mut self, number: &mut dyn FnMut(SpanIndex) -> u32) {
        let root = self.trace.root();
        let mut open = vec![self.open(root, 0, Vec::new(), (0, Activity::Unclassified), number)];
        while let Some(mut here) = open.pop() {
            if let Some(&child) = here.children.by_start.get(here.children.next) {
                here.children.next += 1;
                let (waits, owner) = self.entry(&mut here, child);
                let child = self.open(child, here.place, waits, owner, number);
                open.push(here);
                open.push(child);
                continue;
            }
            match here.stage {
                Stage::Initializations => self.begin(&mut here),
                Stage::Synchronous => self.finish(&mut here),
                Stage::Asynchronous => continue,
            }
            open.push(here);
        }
    }

    fn open(
        &mut self,
        span: SpanIndex,
        parent: u32,
        entry: Vec<u32>,
        entry_owner: (u32, Activity),
        number: &mut dyn FnMut(SpanIndex) -> u32,
    ) -> Open {
        let trace = self.trace;
        let place = self.model.spans.len() as u32;
        self.places[span.get()] = place;
        let of_platform = self.activities[span.get()].is_of_platform();
        self.model.spans.push(ModelSpan {
            #[cfg(test)]
            index: span,
            operation: number(span),
            parent,
            is_part: trace.span(span).origin.is_none() && !of_platform,
            is_function: trace.node(span).role.is_function(),
            initializes: trace.initializes(span),
            is_cold: trace.span(span).flags.cold_start,
            start: u32::MAX,
            end: u32::MAX,
        });
        let initializations = trace.children(span).iter().copied();
        let initializations: Vec<SpanIndex> =
            initializations.filter(|&child| trace.initializes_before(child)).collect();
        self.model.spans[place as usize].is_cold |= !initializations.is_empty();
        let children = self.children(initializations.clone(), initializations);
        Open { span, place, stage: Stage::Initializations, entry, entry_owner, children }
    }

    fn children(&self, mut by_start: Vec<SpanIndex>, mut by_end: Vec<SpanIndex>) -> Children {
        let start = |span: SpanIndex| self.occupied_from(span);
        let end = |span: SpanIndex| self.end(span).max(start(span));
        // Of those with the same times, ids decide, not the order of the file; on the way back the first is met first.
        let id = |span: SpanIndex| &*self.trace.span(span).id;
        by_start.sort_by_cached_key(|&span| (start(span), end(span), id(span)));
        by_end.sort_by_cached_key(|&span| (end(span), start(span), Reverse(id(span))));
        Children { by_start, next: 0, by_end, passed: 0, last: None, rest: None }
    }

    /// When a span starts to take time: a function, when its initialization starts.
    fn occupied_from(&self, span: SpanIndex) -> i64 {
        let start = self.start(span);
        if !self.trace.node(span).role.is_function() {
            return start;
        }
        let children = self.trace.children(span).iter().copied();
        children
            .filter(|&child| self.trace.initializes_before(child))
            .fold(start, |first, child| first.min(self.start(child)))
    }

    /// The ends that what starts at a time waits for, of the children that had ended by then.
    fn ended_by(&mut self, children: &mut Children, time: i64) -> Vec<u32> {
        let mut ended = Vec::new();
        while let Some(&child) = children.by_end.get(children.passed) {
            // One that was not laid out yet, of several without length at the same time, comes after this one.
            let place = self.places[child.get()] as usize;
            let end = self.model.spans.get(place).map_or(u32::MAX, |span| span.end);
            if self.end(child).max(self.occupied_from(child)) > time || end == u32::MAX {
                break;
            }
            children.passed += 1;
            ended.push(end);
        }
        if let Some(last) = ended.pop() {
            // The one that was the last so far was followed by somebody, so it is left out from now on.
            children.last = Some(last);
            if !ended.is_empty() {
                ended.extend(children.rest);
                let latest = ended.iter().map(|&end| self.recorded[end as usize]).max().unwrap_or(0);
                children.rest = Some(match ended.as_slice() {
                    &[only] => only,
                    all => self.moment(latest, all, 0, Activity::Unclassified),
                });
            }
        }
        children.rest.into_iter().chain(children.last).collect()
    }

    /// Siblings that end a little after a child has started, and still come before it.
    fn overlapping(&self, parent: SpanIndex, children: &Children, child: SpanIndex) -> Vec<u32> {
        let whole = self.end(parent) - self.start(parent);
        let times = (self.occupied_from(child), self.end(child));
        let later = children.by_end[children.passed..].iter().take(MOST_OVERLAPS);
        later
            .filter(|&&other| other != child && follows((self.start(other), self.end(other)), times, whole))
            .filter_map(|other| {
                let place = self.places[other.get()];
                let end = self.model.spans.get(place as usize)?.end;
                (end != u32::MAX).then_some(end)
            })
            .collect()
    }

    /// What the first moment of a child waits for, and whose the time before it is.
    fn entry(&mut self, here: &mut Open, child: SpanIndex) -> (Vec<u32>, (u32, Activity)) {
        let (span, place) = (here.span, here.place);
        let time = self.occupied_from(child);
        let mut waits = self.ended_by(&mut here.children, time);
        let is_first = waits.is_empty();
        if here.stage == Stage::Initializations {
            if is_first {
                waits.clone_from(&here.entry);
                let (_, activity) = here.entry_owner;
                let activity = match activity {
                    Activity::Trigger => Activity::Trigger,
                    _ => Activity::ContainerInitialization,
                };
                return (waits, (place, activity));
            }
            return (waits, here.entry_owner);
        }
        waits.extend(self.overlapping(span, &here.children, child));
        let parent = self.model.spans[place as usize];
        if waits.is_empty() {
            waits.push(parent.start);
        }
        // The child's place is the next one.
        let next = self.model.spans.len() as u32;
        let own = (place, self.activities[span.get()]);
        if here.stage == Stage::Asynchronous {
            let is_after = time >= self.end(span);
            if is_after {
                waits.push(parent.end);
            }
            let owner = if is_first && !is_after { own } else { (next, Activity::Trigger) };
            return (waits, owner);
        }
        let is_cold = is_first && self.trace.span(child).flags.cold_start;
        (waits, if is_cold { (next, Activity::ContainerInitialization) } else { own })
    }

    /// The start of a span, and its synchronous children.
    fn begin(&mut self, here: &mut Open) {
        let (trace, span) = (self.trace, here.span);
        let start = self.start(span);
        let has_initializations = !here.children.by_start.is_empty();
        let mut waits = here.entry.clone();
        if has_initializations {
            waits.extend(self.ended_by(&mut here.children, start));
            let late = here.children.by_end[here.children.passed..].iter();
            waits.extend(late.map(|late| self.model.spans[self.places[late.get()] as usize].end));
        }
        let (owner, activity) = here.entry_owner;
        let moment = self.moment(start, &waits, owner, activity);
        self.model.spans[here.place as usize].start = moment;
        let children = trace.children(span).iter().copied();
        let children: Vec<SpanIndex> = children
            .filter(|&child| !trace.initializes_before(child) && !trace.is_asynchronous(child))
            .collect();
        here.children = self.children(children.clone(), children);
        here.stage = Stage::Synchronous;
    }

    /// The end of a span, and its asynchronous children.
    fn finish(&mut self, here: &mut Open) {
        let (trace, span) = (self.trace, here.span);
        let end = self.end(span);
        let start = self.model.spans[here.place as usize].start;
        let mut waits = Vec::new();
        for child in std::mem::take(&mut here.children.by_end) {
            if self.end(child) <= end {
                waits.push(self.model.spans[self.places[child.get()] as usize].end);
            } else {
                waits.extend(self.progress(child, end));
            }
        }
        if waits.is_empty() {
            waits.push(start);
        }
        let moment = self.moment(end, &waits, here.place, self.activities[span.get()]);
        self.model.spans[here.place as usize].end = moment;
        let is_asynchronous =
            |&child: &SpanIndex| trace.is_asynchronous(child) && !trace.initializes_before(child);
        let by_start: Vec<SpanIndex> = trace.children(span).iter().copied().filter(is_asynchronous).collect();
        here.stage = Stage::Asynchronous;
        if by_start.is_empty() {
            here.children = Children::default();
            return;
        }
        // Nobody waits for the receiver of a message.
        let children = trace.children(span).iter().copied();
        let by_end = children.filter(|&child| {
            let is_receiver = trace.is_asynchronous(child) && trace.span(child).flags.from_queue;
            !trace.initializes_before(child) && !is_receiver
        });
        here.children = self.children(by_start, by_end.collect());
    }

    /// The moment at which a span that ends later had done what it had done by a time; none where it had not started.
    fn progress(&mut self, span: SpanIndex, time: i64) -> Option<u32> {
        let mut open = match self.unfinished(span, time)? {
            Progress::Open(unfinished) => vec![unfinished],
            Progress::Known(moment) => return Some(moment),
        };
        while let Some(mut here) = open.pop() {
            if let Some(part) = here.late.pop() {
                let progress = self.unfinished(part, time);
                if let Some(Progress::Known(moment)) = progress {
                    here.waits.push(moment);
                }
                open.push(here);
                if let Some(Progress::Open(part)) = progress {
                    open.push(part);
                }
                continue;
            }
            let place = self.places[here.span.get()];
            let moment = self.moment(time, &here.waits, place, self.activities[here.span.get()]);
            match open.last_mut() {
                Some(whole) => whole.waits.push(moment),
                None => return Some(moment),
            }
        }
        None
    }

    fn unfinished(&mut self, span: SpanIndex, time: i64) -> Option<Progress> {
        if self.start(span) >= time {
            return None;
        }
        let ModelSpan { start, end, .. } = self.model.spans[self.places[span.get()] as usize];
        let parts = self.trace.children(span);
        if self.budget <= parts.len() {
            // Clocks that are far off, at each level: all of it counts.
            return Some(Progress::Known(end));
        }
        self.budget -= parts.len() + 1;
        let (mut waits, mut late) = (vec![start], Vec::new());
        for &part in parts {
            if self.trace.is_asynchronous(part) || self.trace.initializes_before(part) {
                continue;
            }
            if self.end(part) <= time {
                waits.push(self.model.spans[self.places[part.get()] as usize].end);
            } else {
                late.push(part);
            }
        }
        Some(Progress::Open(Unfinished { span, waits, late }))
    }
}

/// A span that has not ended at some time.
struct Unfinished {
    span: SpanIndex,
    waits: Vec<u32>,
    /// Its parts that have not ended, either.
    late: Vec<SpanIndex>,
}

enum Progress {
    Open(Unfinished),
    Known(u32),
}
