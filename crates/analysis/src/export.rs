//! Traces for other tools, the critical path marked.
//!
//! | format | who reads it |
//! |---|---|
//! | Chrome's trace events | Perfetto, `chrome://tracing` |
//! | speedscope | speedscope: the critical path alone, as stacks over time |
//! | Jaeger | Jaeger, and `sb` itself |
//! | folded stacks | tools for flame graphs: the critical path alone |

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::aggregate::tree::{Stack, folded};
use crate::operation::Operation;
use crate::path::breakdown::{Activity, Analysis};
use crate::span::{SpanIndex, Trace, microseconds};
use crate::what_if::traces::rank_of;

/// A trace that can be explained, to be written for other tools.
#[derive(Clone, Copy, Debug)]
pub struct TraceExport<'t, 'a> {
    trace: &'t Trace<'a>,
    analysis: &'t Analysis,
}

impl<'t, 'a> TraceExport<'t, 'a> {
    /// Of a trace and what the analysis makes of it.
    pub fn new(trace: &'t Trace<'a>, analysis: &'t Analysis) -> Self {
        Self { trace, analysis }
    }

    /// Microseconds that each span has on the critical path, by activity.
    fn on_path(&self) -> BTreeMap<SpanIndex, BTreeMap<Activity, i64>> {
        let mut spent: BTreeMap<SpanIndex, BTreeMap<Activity, i64>> = BTreeMap::new();
        for &span in &self.analysis.path {
            spent.entry(span).or_default();
        }
        for piece in &self.analysis.pieces {
            *spent.entry(piece.span).or_default().entry(piece.activity).or_default() +=
                piece.end - piece.start;
        }
        spent
    }

    /// Chrome's trace events, in microseconds since the epoch. The first track has the pieces of the critical path. The others have the spans,
    /// those that overlap on tracks of their own; the category of a span on the path is `critical_path`.
    pub fn chrome(&self) -> Value {
        let (trace, on_path) = (self.trace, self.on_path());
        let mut events = vec![
            json!({ "name": "process_name", "ph": "M", "pid": 1, "tid": 0, "args": { "name": trace.id } }),
            json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": 0, "args": { "name": "critical path" } }),
        ];
        for piece in self.analysis.pieces.iter().filter(|piece| piece.end > piece.start) {
            events.push(json!({
                "name": piece.activity.name(), "cat": "critical_path", "ph": "X", "pid": 1, "tid": 0,
                "ts": piece.start, "dur": piece.end - piece.start,
                "args": { "span": trace.span(piece.span).name },
            }));
        }
        for (span, track) in tracks(trace) {
            let here = trace.span(span);
            let (start, end) = times(trace, span);
            let spent = on_path.get(&span);
            let mut args = Map::new();
            args.insert("id".to_owned(), json!(here.id));
            args.insert("service".to_owned(), json!(here.origin));
            args.insert("on_critical_path".to_owned(), json!(spent.is_some()));
            for (activity, time) in spent.into_iter().flatten() {
                args.insert(format!("critical_path_us.{}", activity.name()), json!(time));
            }
            let flags = here.flags;
            if flags.error || flags.fault || flags.throttle {
                args.insert("failed".to_owned(), json!(true));
            }
            events.push(json!({
                "name": here.name, "cat": if spent.is_some() { "critical_path" } else { "off_path" }, "ph": "X",
                "pid": 1, "tid": track, "ts": start, "dur": end - start, "args": args,
            }));
        }
        json!({ "displayTimeUnit": "ms", "traceEvents": events })
    }

    /// The critical path as stacks over time.
    pub fn stacks(&self) -> Vec<Stack> {
        let pieces = self.analysis.pieces.iter().filter(|piece| piece.end > piece.start);
        pieces
            .map(|piece| {
                let up = std::iter::successors(Some(piece.span), |&span| self.trace.parent(span));
                let name = |span: SpanIndex| {
                    let span = self.trace.span(span);
                    let service = span.origin.as_deref().unwrap_or_default().to_owned();
                    Operation { name: span.name.to_string(), service }.to_string()
                };
                let mut frames: Vec<String> = up.map(name).collect();
                frames.reverse();
                if piece.activity.is_before() {
                    frames.push(format!("[{}]", piece.activity.name()));
                }
                let microseconds = (piece.end - piece.start) as u64;
                Stack { frames, activity: piece.activity, microseconds }
            })
            .collect()
    }

    /// The critical path as folded stacks, in microseconds.
    pub fn folded(&self) -> String {
        folded(&self.stacks())
    }

    /// The critical path for speedscope, in the order of time.
    pub fn speedscope(&self) -> Value {
        speedscope(&[(self.trace.id.to_string(), self.stacks())])
    }

    /// A document as Jaeger's API gives it. Spans on the critical path have the tag `critical_path`, and the microseconds of each activity.
    /// An id that is none of W3C's is replaced by one that is derived from it, and kept as the tag `id`.
    pub fn jaeger(&self) -> Value {
        let (trace, on_path) = (self.trace, self.on_path());
        let trace_id = trace_id(&trace.id);
        let mut processes: BTreeMap<String, String> = BTreeMap::new();
        let mut spans = Vec::with_capacity(trace.spans().len());
        for index in trace.indices() {
            let span = trace.span(index);
            let next = format!("p{}", processes.len() + 1);
            let process = processes.entry(service_of(trace, index)).or_insert(next).clone();
            let (start, end) = times(trace, index);
            let mut tags =
                vec![json!({ "key": "span.kind", "type": "string", "value": kind_of(trace, index) })];
            let mut tag = |key: &str, kind: &str, value: Value| {
                tags.push(json!({ "key": key, "type": kind, "value": value }));
            };
            if trace.node(index).role.is_function() {
                tag("faas.trigger", "string", json!("other"));
                if span.flags.cold_start {
                    tag("faas.coldstart", "bool", json!(true));
                }
            }
            if let Some(origin) = &span.origin {
                tag("origin", "string", json!(origin));
            }
            if !is_span_id(&span.id) {
                tag("id", "string", json!(span.id));
            }
            if span.flags.error || span.flags.fault || span.flags.throttle {
                tag("error", "bool", json!(true));
            }
            if let Some(spent) = on_path.get(&index) {
                tag("critical_path", "bool", json!(true));
                for (activity, time) in spent {
                    tag(&format!("critical_path_us.{}", activity.name()), "int64", json!(time));
                }
            }
            let reference = |parent: SpanIndex| {
                let kind = if trace.is_asynchronous(index) { "FOLLOWS_FROM" } else { "CHILD_OF" };
                json!({ "refType": kind, "traceID": trace_id, "spanID": span_id(&trace.span(parent).id) })
            };
            spans.push(json!({
                "traceID": trace_id, "spanID": span_id(&span.id), "operationName": span.name, "flags": 1,
                "references": trace.parent(index).map(reference).into_iter().collect::<Vec<_>>(),
                "startTime": start, "duration": end - start, "tags": tags, "logs": [], "processID": process,
                "warnings": null,
            }));
        }
        let processes: Map<String, Value> = processes
            .into_iter()
            .map(|(name, id)| (id, json!({ "serviceName": name, "tags": [] })))
            .collect();
        let document =
            json!({ "traceID": trace_id, "spans": spans, "processes": processes, "warnings": null });
        json!({ "data": [document], "total": 1, "limit": 0, "offset": 0, "errors": null })
    }
}

/// Profiles for speedscope, each with its name: stacks in the order in which they are to be drawn, in microseconds.
pub fn speedscope(profiles: &[(String, Vec<Stack>)]) -> Value {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut frames = Vec::new();
    let mut written = Vec::with_capacity(profiles.len());
    for (name, stacks) in profiles {
        let (mut samples, mut weights, mut sum) = (Vec::new(), Vec::new(), 0_u64);
        for stack in stacks {
            let sample: Vec<usize> = stack
                .frames
                .iter()
                .map(|frame| {
                    *numbers.entry(frame).or_insert_with(|| {
                        frames.push(json!({ "name": frame }));
                        frames.len() - 1
                    })
                })
                .collect();
            samples.push(sample);
            weights.push(stack.microseconds);
            sum += stack.microseconds;
        }
        written.push(json!({
            "type": "sampled", "name": name, "unit": "microseconds", "startValue": 0, "endValue": sum,
            "samples": samples, "weights": weights,
        }));
    }
    json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json", "exporter": "sb",
        "shared": { "frames": frames }, "profiles": written,
    })
}

/// Start and end in microseconds since the epoch; what ends before it starts, by the precision of a clock, takes no time.
fn times(trace: &Trace<'_>, span: SpanIndex) -> (i64, i64) {
    let here = trace.span(span);
    let start = microseconds(here.start);
    (start, microseconds(here.end).max(start))
}

/// A track for each span, from 1, so that those of a track are within each other or apart.
fn tracks(trace: &Trace<'_>) -> Vec<(SpanIndex, usize)> {
    let mut order: Vec<SpanIndex> = trace.indices().collect();
    order.sort_by_cached_key(|&span| {
        let (start, end) = times(trace, span);
        (start, std::cmp::Reverse(end), depth(trace, span), trace.span(span).id.to_string())
    });
    // Of each track, the ends of the spans that are open, the outermost first.
    let mut open: Vec<Vec<i64>> = Vec::new();
    let mut placed: BTreeMap<SpanIndex, usize> = BTreeMap::new();
    let mut found = Vec::with_capacity(order.len());
    for span in order {
        let (start, end) = times(trace, span);
        let fits = |ends: &mut Vec<i64>| {
            while ends.pop_if(|open| *open <= start && *open < end.max(start + 1)).is_some() {}
            ends.last().is_none_or(|&around| end <= around)
        };
        let of_parent = trace.parent(span).and_then(|parent| placed.get(&parent).copied());
        let first = of_parent.filter(|&track| fits(&mut open[track]));
        // Only some tracks are tried: a trace with thousands of parallel spans has as many.
        let track = first.or_else(|| (0..open.len().min(MOST_TRACKS)).find(|&track| fits(&mut open[track])));
        let track = track.unwrap_or_else(|| {
            open.push(Vec::new());
            open.len() - 1
        });
        open[track].push(end);
        placed.insert(span, track);
        found.push((span, track + 1));
    }
    found
}

/// So many tracks are looked at for one that is free.
const MOST_TRACKS: usize = 64;

fn depth(trace: &Trace<'_>, span: SpanIndex) -> usize {
    std::iter::successors(trace.parent(span), |&span| trace.parent(span)).take(1_000).count()
}

/// The service that a span is a part of.
fn service_of(trace: &Trace<'_>, span: SpanIndex) -> String {
    let mut up = std::iter::successors(Some(span), |&span| trace.parent(span));
    let with_service = up.find(|&span| trace.span(span).origin.is_some());
    Operation::of(trace.span(with_service.unwrap_or(span))).to_string()
}

fn kind_of(trace: &Trace<'_>, span: SpanIndex) -> &'static str {
    let origin = trace.span(span).origin.as_deref();
    match origin {
        None => "internal",
        _ if trace.node(span).role.is_function() || trace.parent(span).is_none() => "server",
        Some(_) => "client",
    }
}

fn is_span_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn span_id(id: &str) -> String {
    if is_span_id(id) { id.to_ascii_lowercase() } else { format!("{:016x}", rank_of(id)) }
}

/// `1-5759e988-bd862e3fe1be46a994272793` of X-Ray is `5759e988bd862e3fe1be46a994272793`.
fn trace_id(id: &str) -> String {
    let digits: String = id.strip_prefix("1-").unwrap_or(id).chars().filter(|&it| it != '-').collect();
    if digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return digits.to_ascii_lowercase();
    }
    format!("{:016x}{:016x}", rank_of(id), rank_of(&format!("{id} ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::method::Method;
    use crate::read::otlp;

    /// A function calls two services side by side, and hands over to another function.
    fn text() -> String {
        let segments = [
            ("r", "", "api", "AWS::ApiGateway::Stage", 0, 100),
            ("l", "r", "front", "AWS::Lambda", 5, 95),
            ("f", "l", "front", "AWS::Lambda::Function", 40, 90),
            ("i", "f", "Initialization", "", 10, 38),
            ("a", "f", "get", "AWS::S3", 45, 70),
            ("b", "f", "put; all", "AWS::DynamoDB::Table", 45, 80),
            ("n", "f", "back", "AWS::Lambda", 82, 300),
            ("g", "n", "back", "AWS::Lambda::Function", 120, 290),
        ]
        .map(|(id, parent, name, origin, start, end)| {
            let parent = (!parent.is_empty()).then_some(parent);
            let origin = (!origin.is_empty()).then_some(origin);
            let document = json!({ "id": id, "parent_id": parent, "name": name, "origin": origin,
                                   "start_time": 1_700_000_000.0 + f64::from(start) / 1e3,
                                   "end_time": 1_700_000_000.0 + f64::from(end) / 1e3 });
            json!({ "Document": document.to_string() })
        });
        json!({ "Id": "1-5759e988-bd862e3fe1be46a994272793", "Duration": 0.3, "Segments": segments })
            .to_string()
    }

    fn exported<T>(look: impl FnOnce(TraceExport<'_, '_>) -> T) -> T {
        let look = |trace: &Trace<'_>, analysis: Result<Analysis, _>| {
            look(TraceExport::new(trace, &analysis.unwrap()))
        };
        Method::default().inspect_text(&text(), look).unwrap()
    }

    /// Name, parent's name, start and end of each span, and the names on the path.
    type Seen = (Vec<(String, Option<String>, i64, i64)>, Vec<String>);

    fn seen(trace: &Trace<'_>, analysis: Result<Analysis, crate::invalid::Invalid>) -> Seen {
        let name = |span: SpanIndex| trace.span(span).name.to_string();
        let mut spans: Vec<_> = trace
            .indices()
            .map(|span| {
                (name(span), trace.parent(span).map(name), times(trace, span).0, times(trace, span).1)
            })
            .collect();
        spans.sort();
        (spans, analysis.unwrap().row.longest_path_names)
    }

    #[test]
    fn our_own_reader_reads_what_jaeger_gets() {
        let written = exported(|export| export.jaeger().to_string());
        let mut read = otlp::read(&written);
        assert_eq!(read.len(), 1);
        let recorded = read.remove(0).unwrap();
        assert_eq!(recorded.id, "5759e988bd862e3fe1be46a994272793");
        let again = Method::default().inspect(recorded, seen).unwrap();
        let first = Method::default().inspect_text(&text(), seen).unwrap();
        assert_eq!(again, first);
        assert_eq!(written.matches("\"critical_path\"").count(), 7, "all but `get`");
    }

    #[test]
    fn events_of_a_track_are_within_each_other_or_apart() {
        let chrome = exported(|export| export.chrome());
        let events = chrome["traceEvents"].as_array().unwrap();
        let complete: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
        let times = |event: &Value| {
            let start = event["ts"].as_i64().unwrap();
            (start, start + event["dur"].as_i64().unwrap())
        };
        for one in &complete {
            assert!(one["name"].is_string() && one["cat"].is_string() && one["pid"] == 1);
            for other in complete.iter().filter(|other| other["tid"] == one["tid"]) {
                let ((start, end), (from, to)) = (times(one), times(other));
                let apart = end <= from || to <= start;
                let within = (start <= from && to <= end) || (from <= start && end <= to);
                assert!(apart || within, "{one} {other}");
            }
        }
        let path: i64 =
            complete.iter().filter(|event| event["tid"] == 0).map(|it| it["dur"].as_i64().unwrap()).sum();
        assert_eq!(path, 300_000);
        let off: Vec<&Value> = complete.iter().filter(|it| it["cat"] == "off_path").copied().collect();
        assert!(off.len() == 1 && off[0]["name"] == "get" && off[0]["args"]["on_critical_path"] == false);
        assert_eq!(complete.iter().filter(|event| event["tid"] != 0).count(), 8);
    }

    #[test]
    fn stacks_are_the_critical_path() {
        let (folded, speedscope) = exported(|export| (export.folded(), export.speedscope()));
        insta::assert_snapshot!(folded);
        let profile = &speedscope["profiles"][0];
        let (samples, weights) =
            (profile["samples"].as_array().unwrap(), profile["weights"].as_array().unwrap());
        assert_eq!(samples.len(), weights.len());
        let frames = speedscope["shared"]["frames"].as_array().unwrap().len() as u64;
        assert!(samples.iter().flat_map(|it| it.as_array().unwrap()).all(|it| it.as_u64().unwrap() < frames));
        assert_eq!(weights.iter().map(|it| it.as_u64().unwrap()).sum::<u64>(), 300_000);
        assert_eq!(profile["endValue"], 300_000);
    }
}
