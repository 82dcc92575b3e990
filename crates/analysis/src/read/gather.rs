//! Gathers the spans of each trace of an OpenTelemetry export, and joins traces that links connect. The spans of a trace may
//! be spread over the documents of the export in any order. However large the export is, memory holds some buffers and the
//! longest trace; [`super::sort`] sorts the rest outside of memory.
//!
//! Traces are sorted by their id, and so do not depend on the order of the export. What cannot be read follows them.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::io;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::LONGEST;
use super::otlp::{ConnectedSpan, ExportedSpan, SpanKind, join, parent_id};
use super::sort::{Matching, Record, Records, Room, Sorted, Sorter};
use crate::invalid::{Invalid, Rejected};
use crate::span::{Flags, Parent, Recorded, Span};

/// Seconds by which a cause may seem to start after its effect.
const CLOCKS_DIFFER: f64 = 0.01;

/// What is wrong with a trace of too many bytes, in place of its spans.
pub(super) const TOO_LONG: &str = "it is longer than a trace may be";
/// Before what an answer says that has a part of a trace only.
pub(super) const PARTIAL: &str = "partial: ";

/// What was found in a document, as it is kept until its trace is complete.
pub(crate) enum Prepared {
    Span {
        trace_id: String,
        value: Vec<u8>,
        /// Where that may make it part of another trace.
        cause: Option<Cause>,
    },
    Lost(String),
}

/// What a span links to in another trace.
pub(crate) struct Cause {
    trace: String,
    span: String,
    /// When the span that links starts.
    start: f64,
    /// Its parent counts, if that is in its own trace.
    parent: Option<String>,
}

impl Prepared {
    /// `number` is that of the document.
    pub(crate) fn new(found: ExportedSpan, number: u64) -> Self {
        match found {
            ExportedSpan::Span { trace_id, span: Ok(item) } => {
                let cause = item.cause().filter(|(trace, _)| *trace != trace_id);
                let cause = cause.map(|(trace, span)| Cause {
                    trace: trace.clone(),
                    span: span.clone(),
                    start: item.span.start,
                    parent: parent_id(&item).map(str::to_owned),
                });
                Self::Span { value: Kept::from(*item).encode(), trace_id, cause }
            }
            ExportedSpan::Span { trace_id, span: Err(detail) } => {
                Self::Span { trace_id, value: Kept::Defect(detail).encode(), cause: None }
            }
            ExportedSpan::Lost(detail) => Self::damaged(number, &detail),
        }
    }

    pub(crate) fn damaged(number: u64, detail: &str) -> Self {
        Self::Lost(format!("document {number} of the file: {detail}"))
    }
}

/// A span in the file.
#[derive(Serialize, Deserialize)]
enum Kept {
    Span {
        id: String,
        name: String,
        origin: Option<String>,
        url: Option<String>,
        /// The bits of the numbers: not every double can be written in JSON.
        start: u64,
        end: u64,
        /// error, fault, throttle, in progress, cold start, linked, from queue
        flags: [bool; 7],
        parent: Option<String>,
        kind: SpanKind,
        link: Option<(String, String)>,
    },
    /// What is wrong with a span makes its trace invalid.
    Defect(String),
}

impl Kept {
    fn encode(&self) -> Vec<u8> {
        // Strings, numbers and lists of them can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn decode(value: &[u8]) -> io::Result<Self> {
        Ok(serde_json::from_slice(value)?)
    }
}

impl From<ConnectedSpan> for Kept {
    fn from(ConnectedSpan { span, kind, link }: ConnectedSpan) -> Self {
        let Flags { error, fault, throttle, in_progress, cold_start, linked, from_queue, .. } = span.flags;
        Self::Span {
            id: span.id.into_owned(),
            name: span.name.into_owned(),
            origin: span.origin.map(Cow::into_owned),
            url: span.url.map(Cow::into_owned),
            start: span.start.to_bits(),
            end: span.end.to_bits(),
            flags: [error, fault, throttle, in_progress, cold_start, linked, from_queue],
            parent: match span.parent {
                Parent::Id(id) => Some(id.into_owned()),
                Parent::None | Parent::Enclosing(_) => None,
            },
            kind,
            link,
        }
    }
}

impl From<Kept> for Result<ConnectedSpan, String> {
    fn from(kept: Kept) -> Self {
        match kept {
            Kept::Span { id, name, origin, url, start, end, flags, parent, kind, link } => {
                let [error, fault, throttle, in_progress, cold_start, linked, from_queue] = flags;
                let span = Span {
                    id: Cow::Owned(id),
                    name: Cow::Owned(name),
                    origin: origin.map(Cow::Owned),
                    url: url.map(Cow::Owned),
                    start: f64::from_bits(start),
                    end: f64::from_bits(end),
                    flags: Flags {
                        error,
                        fault,
                        throttle,
                        in_progress,
                        cold_start,
                        linked,
                        from_queue,
                        ..Flags::default()
                    },
                    parent: parent.map_or(Parent::None, |id| Parent::Id(Cow::Owned(id))),
                };
                Ok(ConnectedSpan { span, kind, link })
            }
            Kept::Defect(detail) => Err(detail),
        }
    }
}

/// Takes spans in any order.
pub(crate) struct Gathering {
    room: Room,
    /// By trace.
    spans: Sorter,
    /// Spans that may hang on one of another trace, by their own trace.
    causes: Sorter,
    lost: Sorter,
    next: u64,
    /// Spans of documents that turned out to be damaged.
    withdrawn: Vec<Range<u64>>,
}

impl Gathering {
    pub(crate) fn new(room: Room) -> Self {
        let sorter = || Sorter::new(room.clone());
        let (spans, causes, lost) = (sorter(), sorter(), sorter());
        Self { room, spans, causes, lost, next: 0, withdrawn: Vec::new() }
    }

    pub(crate) fn add_all(&mut self, prepared: Vec<Prepared>) -> io::Result<()> {
        prepared.into_iter().try_for_each(|prepared| self.add(prepared))
    }

    pub(crate) fn add(&mut self, prepared: Prepared) -> io::Result<()> {
        let order = self.next;
        self.next += 1;
        match prepared {
            Prepared::Lost(detail) => self.lost.push(b"", order, detail.as_bytes()),
            Prepared::Span { trace_id, value, cause } => {
                if let Some(Cause { trace, span, start, parent }) = cause {
                    let cause = serde_json::to_vec(&(trace, span, start.to_bits(), parent))?;
                    self.causes.push(trace_id.as_bytes(), order, &cause)?;
                }
                self.spans.push(trace_id.as_bytes(), order, &value)
            }
        }
    }

    /// How many have been added.
    pub(crate) fn count(&self) -> u64 {
        self.next
    }

    /// Takes back what was added since there were `count`.
    pub(crate) fn withdraw(&mut self, count: u64) {
        self.withdrawn.push(count..self.next);
    }

    pub(crate) fn finish(self) -> io::Result<Gathered> {
        let Self { room, spans, causes, lost, withdrawn, .. } = self;
        let has_causes = !causes.is_empty();
        let nothing = || Sorter::new(room.clone()).sort();
        let mut gathered = Gathered {
            spans: spans.sort()?,
            moved: nothing()?,
            guests: nothing()?,
            lost: lost.sort()?,
            withdrawn,
        };
        if has_causes {
            let hung = gathered.without_parent(&causes.sort()?, &room)?;
            let hung = first_of_each(&gathered.hang(&hung, &room)?, &room)?;
            let moved = follow(&hung, &room)?;
            let guests = gathered.move_traces(&hung, &moved, &room)?;
            (gathered.moved, gathered.guests) = (moved, guests);
        }
        Ok(gathered)
    }
}

/// The traces of an export.
pub(crate) struct Gathered {
    /// By trace, in the order in which they came.
    spans: Sorted,
    /// Traces that are part of others: by trace, the one that it is part of.
    moved: Sorted,
    /// The spans of those traces, by the trace that they are part of.
    guests: Sorted,
    lost: Sorted,
    withdrawn: Vec<Range<u64>>,
}

impl Gathered {
    /// Calls `each` for all traces and what could not be read, until it says to stop (false).
    pub(crate) fn for_each(
        &self,
        mut each: impl FnMut(Result<Recorded<'static>, Rejected>) -> bool,
    ) -> io::Result<()> {
        let mut traces = self.traces()?;
        while let Some(trace) = traces.next()? {
            if !each(trace.finish()?) {
                break;
            }
        }
        Ok(())
    }

    /// Which traces are part of these: for each, the one that it is part of.
    pub(crate) fn parts_of(
        &self,
        traces: &HashSet<String, impl BuildHasher>,
    ) -> io::Result<HashMap<String, String>> {
        let mut parts = HashMap::new();
        let mut moved = self.moved.records()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        while let Some(record) = moved.next()? {
            let target = text(&record.value);
            if traces.contains(&target) {
                parts.insert(text(&record.key), target);
            }
        }
        Ok(parts)
    }

    pub(crate) fn traces(&self) -> io::Result<GatheredTraces<'_>> {
        Ok(GatheredTraces {
            own: OwnTraces::new(self)?,
            moved: Matching::new(&self.moved)?,
            guests: Matching::new(&self.guests)?,
            lost: self.lost.records()?,
        })
    }

    /// Of the spans that link to other traces those whose parent is not in their own, by the trace that they link to.
    fn without_parent(&self, causes: &Sorted, room: &Room) -> io::Result<Sorted> {
        let mut found = Sorter::new(room.clone());
        let mut causes = Matching::new(causes)?;
        let mut traces = OwnTraces::new(self)?;
        while let Some(trace) = traces.next()? {
            let mut starts = None;
            while let Some(record) = causes.next(&trace.id)? {
                let starts = match &mut starts {
                    Some(starts) => starts,
                    none => none.insert(trace.starts()?),
                };
                let (target, span, start, parent): (String, String, u64, Option<String>) =
                    serde_json::from_slice(&record.value)?;
                if parent.is_none_or(|parent| !starts.contains_key(&parent)) {
                    let effect = serde_json::to_vec(&(span, &*String::from_utf8_lossy(&trace.id), start))?;
                    found.push(target.as_bytes(), record.order, &effect)?;
                }
            }
        }
        found.sort()
    }

    /// Which spans can hang on what they link to, in other traces: by trace, the span's place, and where it hangs.
    fn hang(&self, causes: &Sorted, room: &Room) -> io::Result<Sorted> {
        let mut hung = Sorter::new(room.clone());
        let mut causes = Matching::new(causes)?;
        let mut traces = OwnTraces::new(self)?;
        while let Some(trace) = traces.next()? {
            let mut starts = None;
            while let Some(effect) = causes.next(&trace.id)? {
                let starts = match &mut starts {
                    Some(starts) => starts,
                    none => none.insert(trace.starts()?),
                };
                let (span, linking, start): (String, String, u64) = serde_json::from_slice(&effect.value)?;
                let is_before = |cause: &f64| *cause <= f64::from_bits(start) + CLOCKS_DIFFER;
                if !self.is_withdrawn(effect.order) && starts.get(&span).is_some_and(is_before) {
                    let target = serde_json::to_vec(&(&*String::from_utf8_lossy(&trace.id), span))?;
                    hung.push(linking.as_bytes(), effect.order, &target)?;
                }
            }
        }
        hung.sort()
    }

    /// The spans of traces that moved, by where they moved to.
    fn move_traces(&self, hung: &Sorted, moved: &Sorted, room: &Room) -> io::Result<Sorted> {
        let mut guests = Sorter::new(room.clone());
        let (mut hung, mut moved) = (Matching::new(hung)?, Matching::new(moved)?);
        let mut traces = OwnTraces::new(self)?;
        while let Some(trace) = traces.next()? {
            let (Some(target), Some(hung)) = (moved.next(&trace.id)?, hung.next(&trace.id)?) else {
                continue;
            };
            let (_, cause): (String, String) = serde_json::from_slice(&hung.value)?;
            let orders: Vec<u64> = trace.spans.iter().map(|(order, _)| *order).collect();
            for (order, item) in orders.into_iter().zip(trace.decode()?) {
                let item = item.map(|mut item| {
                    if order == hung.order {
                        item.span.parent = Parent::Id(Cow::Owned(cause.clone()));
                    }
                    item
                });
                guests.push(&target.value, order, &item.map_or_else(Kept::Defect, Kept::from).encode())?;
            }
        }
        guests.sort()
    }

    fn is_withdrawn(&self, order: u64) -> bool {
        self.withdrawn.iter().any(|range| range.contains(&order))
    }
}

fn first_of_each(sorted: &Sorted, room: &Room) -> io::Result<Sorted> {
    let mut firsts = Sorter::new(room.clone());
    let mut records = sorted.records()?;
    let mut last: Option<Vec<u8>> = None;
    while let Some(Record { key, order, value }) = records.next()? {
        if last.as_ref() != Some(&key) {
            firsts.push(&key, order, &value)?;
            last = Some(key);
        }
    }
    firsts.sort()
}

/// For each trace that hangs on another one, the trace at the end of that chain. In each round, every trace takes over
/// the target of its target, so that few rounds follow chains of any length. Traces that lead into a circle stay where they
/// are.
fn follow(hung: &Sorted, room: &Room) -> io::Result<Sorted> {
    let mut current = Sorter::new(room.clone());
    let mut records = hung.records()?;
    while let Some(record) = records.next()? {
        let (trace, _): (String, String) = serde_json::from_slice(&record.value)?;
        current.push(&record.key, 0, trace.as_bytes())?;
    }
    let mut current = current.sort()?;
    let mut open = u64::MAX;
    loop {
        let mut by_target = Sorter::new(room.clone());
        let mut records = current.records()?;
        let mut count = 0;
        while let Some(record) = records.next()? {
            by_target.push(&record.value, count, &record.key)?;
            count += 1;
        }
        let by_target = by_target.sort()?;
        let mut targets = Matching::new(&current)?;
        let mut known: Option<(Vec<u8>, Option<Vec<u8>>)> = None;
        let (mut arrived, mut further) = (Sorter::new(room.clone()), Sorter::new(room.clone()));
        let mut still_open = 0;
        let mut records = by_target.records()?;
        while let Some(Record { key: target, value: trace, .. }) = records.next()? {
            if known.as_ref().is_none_or(|(key, _)| *key != target) {
                let leads_to = targets.next(&target)?.map(|record| record.value);
                known = Some((target.clone(), leads_to));
            }
            match known.as_ref().and_then(|(_, leads_to)| leads_to.as_ref()) {
                Some(leads_to) => {
                    still_open += 1;
                    further.push(&trace, 0, leads_to)?;
                }
                None => {
                    arrived.push(&trace, 0, &target)?;
                    further.push(&trace, 0, &target)?;
                }
            }
        }
        // Of a chain, fewer are open after each round: those that remain lead into circles.
        if still_open == 0 || still_open >= open {
            return arrived.sort();
        }
        open = still_open;
        current = further.sort()?;
    }
}

/// Traces as their spans say, one after the other.
struct OwnTraces<'g> {
    gathered: &'g Gathered,
    records: Records<'g>,
    ahead: Option<Record>,
}

impl<'g> OwnTraces<'g> {
    fn new(gathered: &'g Gathered) -> io::Result<Self> {
        let mut traces = Self { gathered, records: gathered.spans.records()?, ahead: None };
        traces.advance()?;
        Ok(traces)
    }

    fn advance(&mut self) -> io::Result<Option<Record>> {
        let mut following = self.records.next()?;
        while following.as_ref().is_some_and(|record| self.gathered.is_withdrawn(record.order)) {
            following = self.records.next()?;
        }
        Ok(std::mem::replace(&mut self.ahead, following))
    }

    fn next(&mut self) -> io::Result<Option<GatheredTrace>> {
        let Some(first) = self.advance()? else { return Ok(None) };
        let mut trace = GatheredTrace { id: first.key.clone(), ..GatheredTrace::default() };
        trace.add(first);
        while self.ahead.as_ref().is_some_and(|record| record.key == trace.id) {
            if let Some(record) = self.advance()? {
                trace.add(record);
            }
        }
        Ok(Some(trace))
    }
}

/// Goes through the traces.
pub(crate) struct GatheredTraces<'g> {
    own: OwnTraces<'g>,
    moved: Matching<'g>,
    guests: Matching<'g>,
    lost: Records<'g>,
}

impl GatheredTraces<'_> {
    /// The next trace, or what could not be read.
    pub(crate) fn next(&mut self) -> io::Result<Option<GatheredTrace>> {
        while let Some(mut trace) = self.own.next()? {
            if self.moved.next(&trace.id)?.is_some() {
                continue;
            }
            while let Some(guest) = self.guests.next(&trace.id)? {
                trace.add_guest(guest);
            }
            return Ok(Some(trace));
        }
        let lost = self.lost.next()?;
        Ok(lost.map(|record| GatheredTrace { lost: Some(record.value), ..GatheredTrace::default() }))
    }
}

/// The spans of one trace, encoded, or what could not be read.
#[derive(Default)]
pub(crate) struct GatheredTrace {
    id: Vec<u8>,
    spans: Vec<(u64, Vec<u8>)>,
    /// Spans of other traces that are part of this one.
    guests: Vec<Vec<u8>>,
    bytes: usize,
    lost: Option<Vec<u8>>,
}

impl GatheredTrace {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, record: Record) {
        self.bytes += record.value.len();
        if !self.is_too_long() {
            self.spans.push((record.order, record.value));
        }
    }

    fn add_guest(&mut self, record: Record) {
        self.bytes += record.value.len();
        if !self.is_too_long() {
            self.guests.push(record.value);
        }
    }

    fn is_too_long(&self) -> bool {
        self.bytes > LONGEST
    }

    /// When each span starts.
    fn starts(&self) -> io::Result<HashMap<String, f64>> {
        let mut starts = HashMap::new();
        for (_, value) in &self.spans {
            if let Kept::Span { id, start, .. } = Kept::decode(value)? {
                starts.insert(id, f64::from_bits(start));
            }
        }
        Ok(starts)
    }

    /// The trace's own spans, connected by links within it.
    fn decode(self) -> io::Result<Vec<Result<ConnectedSpan, String>>> {
        if self.is_too_long() {
            return Ok(vec![Err(TOO_LONG.to_owned())]);
        }
        let mut items = self
            .spans
            .iter()
            .map(|(_, value)| Ok(Kept::decode(value)?.into()))
            .collect::<io::Result<Vec<_>>>()?;
        connect(&mut items, &self.id);
        Ok(items)
    }

    pub(crate) fn finish(mut self) -> io::Result<Result<Recorded<'static>, Rejected>> {
        let malformed = |detail: String| match detail.strip_prefix(PARTIAL) {
            Some(said) => Invalid::Partial { said: said.to_owned() },
            None if detail == TOO_LONG => Invalid::longer_than_the_limit(),
            None => Invalid::Malformed { detail },
        };
        if let Some(lost) = self.lost {
            let detail = String::from_utf8_lossy(&lost).into_owned();
            return Ok(Err(Rejected { id: None, reason: malformed(detail) }));
        }
        let id = String::from_utf8_lossy(&self.id).into_owned();
        let guests = std::mem::take(&mut self.guests);
        let mut items = self.decode()?;
        for guest in guests {
            items.push(Kept::decode(&guest)?.into());
        }
        Ok(match items.into_iter().collect() {
            Ok(items) => Ok(join(id, items)),
            Err(detail) => Err(Rejected { id: Some(id), reason: malformed(detail) }),
        })
    }
}

/// Hangs spans without a parent on the span of the same trace that they link to. The only root of a trace cannot hang on
/// its own trace.
fn connect(items: &mut [Result<ConnectedSpan, String>], id: &[u8]) {
    let sound = || items.iter().flatten();
    if sound().all(|item| item.cause().is_none_or(|(trace, _)| trace.as_bytes() != id)) {
        return;
    }
    let starts: HashMap<String, f64> =
        sound().map(|item| (item.span.id.to_string(), item.span.start)).collect();
    let is_top = |item: &ConnectedSpan| parent_id(item).is_none_or(|parent| !starts.contains_key(parent));
    if sound().filter(|item| is_top(item)).count() < 2 {
        return;
    }
    for item in items.iter_mut().flatten().filter(|item| is_top(item)) {
        let Some((trace, span)) = item.cause() else { continue };
        let is_before = |cause: &f64| *cause <= item.span.start + CLOCKS_DIFFER;
        if trace.as_bytes() == id && starts.get(span).is_some_and(is_before) {
            let span = span.clone();
            item.span.parent = Parent::Id(Cow::Owned(span));
        }
    }
}
