//! The traces of the local target: platform segments, and what SDKs send, merged when they are read.
//!
//! Memory is bounded by [`Limits`]: above it the oldest traces go, and are counted. With a [`TraceLog`] all is kept on disk, too, before
//! whoever waits for the invocation gets the answer.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value};

use super::clock::{Clock, wall_micros};
use super::context::{is_hex, trace_id, trace_number};
use super::exported;
use super::inferred;
use super::segment::{Head, Segment};
use super::trace_log::TraceLog;

/// Documents of one trace beyond this are dropped, as X-Ray does, and the trace is flagged `LimitExceeded`.
const MAX_TRACE_BYTES: usize = 500 * 1024;

/// Seconds by which a function's clock may be behind that of the runtime, which counts on from its own start.
const CLOCKS_DIFFER: f64 = 0.01;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub traces: usize,
    /// Of document text, all traces together.
    pub bytes: usize,
}

pub(super) struct Recorder {
    clock: Clock,
    limits: Limits,
    log: Option<TraceLog>,
    traces: Mutex<Traces>,
}

#[derive(Default)]
struct Traces {
    /// Entries are small, so that the table grows quickly: all invocations wait for it.
    by_id: HashMap<u128, Box<Trace>>,
    by_start: BTreeSet<Place>,
    bytes: usize,
    evicted: u64,
}

/// Where a trace is among all: its start in microseconds since 1970, and its id.
pub(super) type Place = (i64, u128);

struct Trace {
    /// When the first of its documents began, in microseconds since 1970.
    start: i64,
    /// From stamps to microseconds since 1970.
    offset: i64,
    open: Vec<Head>,
    /// Finished segments, and segments that came from outside.
    segments: Vec<Document>,
    /// Subsegments that came on their own.
    subsegments: Vec<Document>,
    bytes: usize,
    limit_exceeded: bool,
}

struct Document {
    id: String,
    text: String,
}

/// A trace as the X-Ray API gives it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    pub id: String,
    /// Segments, each with its subsegments: those without a parent by start, the latest first, then the others, the earliest first.
    pub documents: Vec<Value>,
    pub start: f64,
    pub end: f64,
    pub limit_exceeded: bool,
    pub in_progress: bool,
}

/// Why a document was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(&'static str);

impl Recorder {
    pub(crate) fn new(clock: Clock, limits: Limits) -> Self {
        Self { clock, limits, log: None, traces: Mutex::default() }
    }

    /// From now on keeps all in the log as well; `left` is what was in it.
    pub(crate) fn with_log(mut self, log: TraceLog, left: &[Value]) -> Self {
        self = self.with(left);
        self.log = Some(log);
        self
    }

    /// With documents that were kept.
    pub(crate) fn with(self, kept: &[Value]) -> Self {
        for document in kept {
            // What cannot be taken now was refused then.
            let _ = self.receive(document);
        }
        self
    }

    /// Tells the log that the runtime stops.
    pub(crate) fn stopped(&self) {
        if let Some(log) = &self.log {
            log.stopped();
        }
    }

    fn keep_on_disk(&self, document: &str) {
        if let Some(log) = &self.log {
            log.append(document);
        }
    }

    /// Notes that a segment has begun: until it is closed, its trace is not complete.
    pub(crate) fn open(&self, trace: &str, head: Head) {
        let Some(id) = trace_number(trace) else { return };
        let mut traces = self.lock();
        let entry = self.trace(&mut traces, id);
        let document = self.log.as_ref().map(|_| head.in_progress(trace, entry.offset).to_string());
        let start = head.start.0 + entry.offset;
        entry.open.push(head);
        traces.begins(id, start);
        drop(traces);
        self.keep_on_disk(&document.unwrap_or_default());
    }

    /// Notes that an event was accepted: its segment, as far as it is known.
    pub(crate) fn accept(&self, trace: &str, segment: &Segment) {
        let Some(id) = trace_number(trace) else { return };
        let mut traces = self.lock();
        let entry = self.trace(&mut traces, id);
        entry.open.push(segment.head.clone());
        let mut document = segment.document(trace, entry.offset);
        let start = segment.head.start.0 + entry.offset;
        traces.begins(id, start);
        drop(traces);
        document["in_progress"] = Value::Bool(true);
        self.keep_on_disk(&document.to_string());
    }

    /// Notes that what happened in a trace sets off more, a moment later: until [`Self::no_longer_expect`], it is not complete.
    /// A trace of which nothing is known stays unknown.
    pub(crate) fn expect(&self, trace: &str, head: Head) {
        let Some(id) = trace_number(trace) else { return };
        if let Some(trace) = self.lock().by_id.get_mut(&id) {
            trace.open.push(head);
        }
    }

    /// What was expected has come, or does not come.
    pub(crate) fn no_longer_expect(&self, trace: &str, id: &str) {
        let Some(number) = trace_number(trace) else { return };
        if let Some(trace) = self.lock().by_id.get_mut(&number) {
            trace.open.retain(|head| head.id != id);
        }
    }

    /// Records a finished segment.
    pub(crate) fn close(&self, trace: &str, segment: &Segment) {
        let Some(id) = trace_number(trace) else { return };
        let mut traces = self.lock();
        let entry = self.trace(&mut traces, id);
        entry.open.retain(|head| head.id != segment.head.id);
        let document =
            Document { id: segment.head.id.clone(), text: segment.document(trace, entry.offset).to_string() };
        let text = self.log.as_ref().map(|_| document.text.clone());
        let start = segment.head.start.0 + entry.offset;
        traces.begins(id, start);
        self.keep(&mut traces, id, document, true);
        drop(traces);
        self.keep_on_disk(&text.unwrap_or_default());
    }

    /// Takes a segment or subsegment document of an SDK. A later document with the same id replaces the earlier.
    pub(crate) fn receive(&self, document: &Value) -> Result<(), Refused> {
        let text = |key: &str| document.get(key).and_then(Value::as_str);
        let id = text("id").filter(|id| is_hex(id, 16)).ok_or(Refused("`id` must be 16 hex digits"))?;
        let trace =
            text("trace_id").and_then(trace_number).ok_or(Refused("`trace_id` is missing or malformed"))?;
        let start = document.get("start_time").and_then(Value::as_f64).filter(|_| text("name").is_some());
        let start = micros(start.ok_or(Refused("`name` and `start_time` are needed"))?);
        let is_segment = text("type") != Some("subsegment");
        if !is_segment && !text("parent_id").is_some_and(|id| is_hex(id, 16)) {
            return Err(Refused("a subsegment on its own needs `parent_id`"));
        }
        let text = document.to_string();
        self.keep_on_disk(&text);
        let mut traces = self.lock();
        self.trace(&mut traces, trace);
        traces.begins(trace, start);
        self.keep(&mut traces, trace, Document { id: id.to_owned(), text }, is_segment);
        Ok(())
    }

    pub(crate) fn view(&self, id: &str) -> Option<View> {
        let number = trace_number(id)?;
        self.lock().by_id.get(&number).map(|trace| trace.view(id))
    }

    /// The traces whose id begins so, at most `limit`, the latest last.
    pub(crate) fn latest(&self, prefix: &str, limit: usize) -> Vec<View> {
        let traces = self.lock();
        let places = traces.by_start.iter().rev().filter(|(_, id)| trace_id(*id).starts_with(prefix));
        let mut views: Vec<View> = places.take(limit).filter_map(|place| traces.view(*place)).collect();
        views.reverse();
        views
    }

    /// Traces that began in a period (seconds since 1970, both ends included), the earliest first, `limit` at most. `after` is where the page
    /// before ended; where this one ends comes along if there are more.
    pub(crate) fn between(
        &self,
        from: f64,
        to: f64,
        after: Option<Place>,
        limit: usize,
    ) -> (Vec<View>, Option<Place>) {
        let traces = self.lock();
        let first = match after {
            Some(place) => Bound::Excluded(place),
            None => Bound::Included((micros(from), 0)),
        };
        let last = micros(to);
        let mut places =
            traces.by_start.range((first, Bound::Unbounded)).take_while(|(start, _)| *start <= last);
        let page: Vec<Place> = places.by_ref().take(limit).copied().collect();
        let end = places.next().and(page.last().copied());
        (page.into_iter().filter_map(|place| traces.view(place)).collect(), end)
    }

    /// Traces that were dropped because the memory was full.
    pub(crate) fn evicted(&self) -> u64 {
        self.lock().evicted
    }

    fn lock(&self) -> MutexGuard<'_, Traces> {
        self.traces.lock()
    }

    /// The trace of this id, made when it is new.
    fn trace<'a>(&self, traces: &'a mut Traces, id: u128) -> &'a mut Trace {
        if !traces.by_id.contains_key(&id) {
            while traces.by_id.len() >= self.limits.traces {
                traces.evict_oldest();
            }
        }
        traces.by_id.entry(id).or_insert_with(|| {
            let start = wall_micros();
            traces.by_start.insert((start, id));
            Box::new(Trace {
                start,
                offset: self.clock.offset(),
                open: Vec::new(),
                segments: Vec::new(),
                subsegments: Vec::new(),
                bytes: 0,
                limit_exceeded: false,
            })
        })
    }

    fn keep(&self, traces: &mut Traces, id: u128, document: Document, is_segment: bool) {
        let Some(trace) = traces.by_id.get_mut(&id) else { return };
        let list = if is_segment { &mut trace.segments } else { &mut trace.subsegments };
        let added = document.text.len();
        let mut removed = 0;
        list.retain(|other| {
            let same = other.id == document.id;
            removed += if same { other.text.len() } else { 0 };
            !same
        });
        if trace.bytes - removed + added > MAX_TRACE_BYTES {
            trace.limit_exceeded = true;
            trace.bytes -= removed;
            traces.bytes -= removed;
            return;
        }
        list.push(document);
        trace.bytes = trace.bytes - removed + added;
        traces.bytes = traces.bytes - removed + added;
        while traces.bytes > self.limits.bytes && traces.by_id.len() > 1 {
            traces.evict_oldest();
        }
    }
}

impl Traces {
    fn evict_oldest(&mut self) {
        if let Some(trace) = self.by_start.pop_first().and_then(|(_, id)| self.by_id.remove(&id)) {
            self.bytes -= trace.bytes;
            self.evicted += 1;
        }
    }

    /// A document of the trace began then.
    fn begins(&mut self, id: u128, start: i64) {
        if let Some(trace) = self.by_id.get_mut(&id).filter(|trace| start < trace.start) {
            self.by_start.remove(&(trace.start, id));
            self.by_start.insert((start, id));
            trace.start = start;
        }
    }

    fn view(&self, (_, id): Place) -> Option<View> {
        self.by_id.get(&id).map(|trace| trace.view(&trace_id(id)))
    }
}

impl Trace {
    fn view(&self, id: &str) -> View {
        let parse = |document: &Document| serde_json::from_str::<Value>(&document.text).ok();
        let mut documents: Vec<Value> = self.segments.iter().filter_map(parse).collect();
        documents.extend(self.open.iter().map(|head| head.in_progress(id, self.offset)));
        let mut loose: Vec<Value> = self.subsegments.iter().filter_map(parse).collect();
        for document in &mut loose {
            enter(&documents, document);
        }
        attach(&mut documents, loose);
        for document in &mut documents {
            begin_after_parents(document, f64::NEG_INFINITY);
        }
        inferred::add(&mut documents, id);
        // What takes the last segment without a parent for the root, as the study's analyzer does, then takes the one that
        // started first: a batch of messages has one for each.
        documents.sort_by(|a, b| {
            let is_root = |document: &Value| document.get("parent_id").is_none();
            let by_start = number(a, "start_time").total_cmp(&number(b, "start_time"));
            let by_start = if is_root(a) && is_root(b) { by_start.reverse() } else { by_start };
            is_root(b).cmp(&is_root(a)).then(by_start)
        });
        let mut view = View {
            id: id.to_owned(),
            start: f64::INFINITY,
            end: f64::NEG_INFINITY,
            limit_exceeded: self.limit_exceeded,
            in_progress: false,
            documents: Vec::new(),
        };
        for document in &documents {
            view.measure(document);
        }
        view.documents = documents;
        view
    }
}

impl View {
    fn measure(&mut self, span: &Value) {
        let start = number(span, "start_time");
        self.start = self.start.min(start);
        self.end = self.end.max(span.get("end_time").and_then(Value::as_f64).unwrap_or(start));
        self.in_progress |= span.get("in_progress") == Some(&Value::Bool(true));
        for child in children(span) {
            self.measure(child);
        }
    }

    /// Seconds from the first start to the last end.
    pub(crate) fn duration(&self) -> f64 {
        // Both are whole microseconds: so is what they span, and it prints shortly.
        ((self.end - self.start) * 1e6).round() / 1e6
    }
}

/// Puts the entry of a function, as an SDK of OpenTelemetry sent it, under the invocation of the same request. SDKs that take the
/// parent from the event name the span of whoever sent that, which may be in no trace.
fn enter(documents: &[Value], entry: &mut Value) {
    let Some(request) = exported::request_of_entry(entry) else { return };
    let of_origin = |origin: &'static str| {
        documents.iter().filter(move |document| document["origin"].as_str() == Some(origin))
    };
    let service = of_origin("AWS::Lambda").find(|document| document["aws"]["request_id"] == request);
    let Some(service) = service else { return };
    // An event that failed is tried again: each attempt has a function of its own.
    let above: Vec<&Value> = children(service).iter().chain([service]).map(|span| &span["id"]).collect();
    let start = number(entry, "start_time");
    let invocation = of_origin("AWS::Lambda::Function")
        .filter(|function| above.contains(&&function["parent_id"]))
        .flat_map(children)
        .filter(|part| part["name"] == "Invocation" && number(part, "start_time") <= start + CLOCKS_DIFFER)
        .max_by(|left, right| number(left, "start_time").total_cmp(&number(right, "start_time")));
    if let Some(invocation) = invocation {
        entry["parent_id"] = invocation["id"].clone();
    }
}

/// Puts subsegments that came on their own under their parents. Those without a parent in the trace stay apart.
fn attach(documents: &mut Vec<Value>, mut loose: Vec<Value>) {
    // Parents may be loose themselves: go on as long as that settles any.
    loop {
        let before = loose.len();
        loose.retain(|subsegment| {
            let parent = subsegment.get("parent_id").and_then(Value::as_str).unwrap_or_default();
            let Some(parent) = documents.iter_mut().find_map(|document| find(document, parent)) else {
                return true;
            };
            let mut child = subsegment.as_object().cloned().unwrap_or_default();
            for key in ["type", "trace_id", "parent_id"] {
                child.remove(key);
            }
            let list = parent.entry("subsegments").or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                // An SDK may send a subsegment within its parent first, unfinished, and on its own later.
                list.retain(|other| other.get("id") != child.get("id"));
                list.push(Value::Object(child));
            }
            false
        });
        if loose.is_empty() || loose.len() == before {
            break;
        }
    }
    documents.append(&mut loose);
}

/// A clock of whole milliseconds, as that of Node.js's SDK, may put a start up to a millisecond before the parent's: that span then
/// begins with its parent.
fn begin_after_parents(span: &mut Value, earliest: f64) {
    let begun = number(span, "start_time");
    let is_whole = ((begun * 1e3).round() / 1e3 - begun).abs() < 1e-7;
    let start = if is_whole && begun < earliest && earliest < begun + 1e-3 { earliest } else { begun };
    if start > begun {
        span["start_time"] = start.into();
        if let Some(end) = span.get("end_time").and_then(Value::as_f64) {
            span["end_time"] = end.max(start).into();
        }
    }
    if let Some(Value::Array(children)) = span.get_mut("subsegments") {
        for child in children {
            begin_after_parents(child, start);
        }
    }
}

fn find<'a>(span: &'a mut Value, id: &str) -> Option<&'a mut Map<String, Value>> {
    if span.get("id").and_then(Value::as_str) == Some(id) {
        return span.as_object_mut();
    }
    span.get_mut("subsegments")?.as_array_mut()?.iter_mut().find_map(|child| find(child, id))
}

fn children(span: &Value) -> &[Value] {
    span.get("subsegments").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

fn number(span: &Value, key: &str) -> f64 {
    span.get(key).and_then(Value::as_f64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Stamp;
    use crate::segment::Flags;

    const TRACE: &str = "1-5759e988-bd862e3fe1be46a994272793";
    const LIMITS: Limits = Limits { traces: 3, bytes: 1 << 20 };

    fn head(id: &str, parent: Option<&str>, start: i64) -> Head {
        Head {
            id: id.to_owned(),
            name: "f".to_owned(),
            parent: parent.map(str::to_owned),
            origin: "AWS::Lambda",
            start: Stamp(start),
        }
    }

    fn segment(id: &str, parent: Option<&str>, start: i64, end: i64) -> Segment {
        Segment {
            head: head(id, parent, start),
            end: Stamp(end),
            flags: Flags::default(),
            fields: Map::new(),
            subsegments: Vec::new(),
        }
    }

    fn subsegment(id: &str, parent: &str) -> Value {
        json!({ "id": id, "parent_id": parent, "trace_id": TRACE, "type": "subsegment", "name": "work",
                "start_time": 1.0, "end_time": 2.0 })
    }

    const A: &str = "aaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbb";
    const C: &str = "cccccccccccccccc";

    #[test]
    fn a_trace_is_in_progress_while_more_is_expected() {
        let recorder = Recorder::new(Clock::new(), LIMITS);
        recorder.expect(TRACE, head(B, Some(A), 20));
        assert_eq!(recorder.view(TRACE), None, "of which nothing is known");
        recorder.close(TRACE, &segment(A, None, 10, 30));
        let before = recorder.view(TRACE).unwrap();
        recorder.expect(TRACE, head(B, Some(A), 20));
        assert!(recorder.view(TRACE).unwrap().in_progress);
        recorder.no_longer_expect(TRACE, B);
        assert_eq!(recorder.view(TRACE).unwrap(), before);
    }

    #[test]
    fn a_trace_is_in_progress_until_every_open_segment_is_closed() {
        let recorder = Recorder::new(Clock::new(), LIMITS);
        recorder.open(TRACE, head(A, None, 10));
        assert!(recorder.view(TRACE).unwrap().in_progress);
        recorder.close(TRACE, &segment(A, None, 10, 1_000_020));
        let view = recorder.view(TRACE).unwrap();
        assert!(!view.in_progress);
        assert_eq!((view.documents.len(), view.duration().to_string().as_str()), (1, "1.00001"));
    }

    #[test]
    fn subsegments_find_their_parents_whatever_comes_first() {
        let recorder = Recorder::new(Clock::new(), LIMITS);
        recorder.receive(&subsegment(C, B)).unwrap();
        recorder.receive(&subsegment(B, A)).unwrap();
        recorder.close(TRACE, &segment(A, None, 10, 20));
        let view = recorder.view(TRACE).unwrap();
        assert_eq!(view.documents.len(), 1);
        let child = &view.documents[0]["subsegments"][0];
        assert_eq!((&child["id"], &child["subsegments"][0]["id"]), (&json!(B), &json!(C)));
        assert_eq!(child.get("parent_id"), None);
    }

    #[test]
    fn the_entry_of_a_function_is_under_the_invocation_of_its_request_and_attempt() {
        let recorder = Recorder::new(Clock::new(), LIMITS);
        let at = |id: u64| format!("{id:016x}");
        let send = |document: Value| recorder.receive(&document).unwrap();
        let segment = |id: u64, parent: u64, origin: &str, parts: Value| {
            json!({ "id": at(id), "parent_id": at(parent), "trace_id": TRACE, "name": "f", "origin": origin, "start_time": 1.0,
                    "end_time": 9.0, "aws": { "request_id": "r" }, "subsegments": parts })
        };
        let part = |id: u64, name: &str, start: f64| json!({ "id": at(id), "name": name, "start_time": start, "end_time": start + 1.0 });
        send(segment(1, 99, "AWS::Lambda", json!([part(2, "Attempt #1", 1.0), part(3, "Attempt #2", 5.0)])));
        send(segment(4, 2, "AWS::Lambda::Function", json!([part(5, "Invocation", 1.1)])));
        send(segment(6, 3, "AWS::Lambda::Function", json!([part(7, "Invocation", 5.1)])));
        let entry = |id: u64, request: &str, start: f64| {
            json!({ "id": at(id), "parent_id": at(98), "trace_id": TRACE, "type": "subsegment", "name": "f", "start_time": start,
                    "end_time": start + 0.1, "aws": { "request_id": request, "xray": { "sdk": "opentelemetry" } } })
        };
        for document in [entry(8, "r", 1.2), entry(9, "r", 5.2), entry(10, "other", 5.3)] {
            send(document);
        }
        let view = recorder.view(TRACE).unwrap();
        let of = |id: u64| {
            let mut place =
                view.documents.iter().flat_map(|document| children(document).iter().chain([document]));
            let found = place.find(|span| children(span).iter().any(|child| child["id"] == at(id)));
            found.map(|span| span["id"].as_str().unwrap().to_owned())
        };
        assert_eq!((of(8), of(9), of(10)), (Some(at(5)), Some(at(7)), None));
        assert!(view.documents.iter().any(|document| document["parent_id"] == at(98)), "of no request here");
    }

    #[test]
    fn a_subsegment_without_its_parent_stays_a_document_of_its_own() {
        let recorder = Recorder::new(Clock::new(), LIMITS);
        recorder.close(TRACE, &segment(A, None, 10, 20));
        recorder.receive(&subsegment(C, B)).unwrap();
        let view = recorder.view(TRACE).unwrap();
        assert!(view.documents.iter().any(|document| document["parent_id"] == json!(B)));
    }

    #[test]
    fn of_segments_without_a_parent_the_one_that_started_first_comes_last() {
        let recorder = Recorder::new(Clock::new(), LIMITS);
        recorder.close(TRACE, &segment("dddddddddddddddd", Some(A), 40, 50));
        for (id, start) in [(B, 20), (A, 10), (C, 15)] {
            recorder.close(TRACE, &segment(id, None, start, 30));
        }
        let view = recorder.view(TRACE).unwrap();
        let ids: Vec<_> = view.documents.iter().map(|document| document["id"].as_str().unwrap()).collect();
        assert_eq!(ids, [B, C, A, "dddddddddddddddd"]);
    }

    #[test]
    fn spans_timed_in_whole_milliseconds_begin_with_their_parents() {
        let recorder = Recorder::new(Clock::new(), LIMITS);
        let times = |span: &Value| (span["start_time"].as_f64().unwrap(), span["end_time"].as_f64().unwrap());
        let mut parent = json!({
            "id": format!("{:016x}", 1), "trace_id": TRACE, "name": "f", "start_time": 7.000_131, "end_time": 7.002_062, "subsegments": [
                { "id": format!("{:016x}", 2), "name": "ms", "start_time": 7.0, "end_time": 7.0, "subsegments": [
                    { "id": format!("{:016x}", 3), "name": "ms", "start_time": 7.0, "end_time": 7.002 },
                ] },
            ],
        });
        recorder.receive(&parent).unwrap();
        let view = recorder.view(TRACE).unwrap();
        let child = &children(&view.documents[0])[0];
        assert_eq!(times(child), (7.000_131, 7.000_131));
        assert_eq!(times(&children(child)[0]), (7.000_131, 7.002));
        assert_eq!((view.start, view.end), (7.000_131, 7.002_062));

        // A clock that is wrong, or exact, is left alone.
        for early in [6.999, 7.000_1] {
            parent["subsegments"][0]["start_time"] = early.into();
            recorder.receive(&parent).unwrap();
            assert_eq!(children(&recorder.view(TRACE).unwrap().documents[0])[0]["start_time"], early);
        }
    }

    #[test]
    fn the_later_document_of_an_id_replaces_the_earlier() {
        let recorder = Recorder::new(Clock::new(), LIMITS);
        recorder.close(TRACE, &segment(A, None, 10, 20));
        let mut unfinished = subsegment(B, A);
        unfinished["in_progress"] = json!(true);
        recorder.receive(&unfinished).unwrap();
        assert!(recorder.view(TRACE).unwrap().in_progress);
        recorder.receive(&subsegment(B, A)).unwrap();
        assert!(!recorder.view(TRACE).unwrap().in_progress);
    }

    #[test]
    fn above_the_limits_the_oldest_trace_goes_and_is_counted() {
        let recorder = Recorder::new(Clock::new(), LIMITS);
        let id = |index: usize| format!("1-5759e988-{index:024x}");
        for index in 0..5 {
            let start = 1000 * i64::try_from(index).unwrap();
            recorder.close(&id(index), &segment(A, None, start, start + 10));
        }
        assert_eq!(recorder.evicted(), 2);
        assert!(recorder.view(&id(1)).is_none() && recorder.view(&id(2)).is_some());
    }

    #[test]
    fn a_period_is_read_by_pages_in_the_order_of_starts() {
        let recorder = Recorder::new(Clock::new(), Limits { traces: 10, ..LIMITS });
        let id = |index: usize| format!("1-5759e988-{index:024x}");
        let send = |index: usize, start: f64| {
            let mut document = subsegment(A, B);
            (document["trace_id"], document["start_time"]) = (json!(id(index)), json!(start));
            recorder.receive(&document).unwrap();
        };
        for (index, start) in [(0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0), (4, 2.0)] {
            send(index, start);
        }
        let ids = |views: Vec<View>| views.into_iter().map(|view| view.id).collect::<Vec<_>>();
        let (first, end) = recorder.between(1.5, 3.0, None, 2);
        assert_eq!(ids(first), [id(2), id(4)]);
        // What comes between two pages moves nothing.
        send(5, 1.6);
        let (second, end) = recorder.between(1.5, 3.0, end, 2);
        assert_eq!((ids(second), end), (vec![id(1)], None));
        // A trace begins with the earliest of its documents.
        send(0, 2.5);
        assert_eq!(ids(recorder.between(1.5, 3.0, None, 9).0), [id(5), id(2), id(4), id(0), id(1)]);
        assert_eq!(ids(recorder.latest("1-5759e988-", 2)), [id(0), id(1)]);
    }

    #[test]
    fn a_trace_above_500_kb_is_cut_and_flagged() {
        let recorder = Recorder::new(Clock::new(), LIMITS);
        let mut large = subsegment(B, A);
        large["metadata"] = json!("x".repeat(300 * 1024));
        recorder.receive(&large).unwrap();
        assert!(!recorder.view(TRACE).unwrap().limit_exceeded);
        large["id"] = json!(C);
        recorder.receive(&large).unwrap();
        let view = recorder.view(TRACE).unwrap();
        assert!(view.limit_exceeded);
        assert_eq!(view.documents.len(), 1);
    }

    #[test]
    fn malformed_documents_are_refused() {
        let recorder = Recorder::new(Clock::new(), LIMITS);
        for key in ["id", "trace_id", "name", "start_time", "parent_id"] {
            let mut document = subsegment(B, A);
            document.as_object_mut().unwrap().remove(key);
            assert!(recorder.receive(&document).is_err(), "{key}");
        }
        assert!(recorder.view(TRACE).is_none());
    }
}
