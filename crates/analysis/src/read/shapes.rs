//! The shapes in which tools give spans, read while the document is read: only what cannot be understood yet is kept.
//!
//! | keys | shape |
//! |---|---|
//! | `resourceSpans` or `batches`, also within `trace` or `result` | OTLP, Tempo, Jaeger's API v3 |
//! | `spans` and `processes`, also within `data` | Jaeger |
//! | `traceId` and `id`, in lists | Zipkin v2 |
//! | `projectId`, `traceId` and `spans`, also within `traces` | Google Cloud Trace, API v1 |
//! | `traceId` and `spanId` | a span by itself, as CloudWatch keeps it in `aws/spans`; in `Spans`, as it gives it back |
//! | `resourceLogs`, `resourceMetrics`, `resourceProfiles` | OTLP without spans |
//!
//! Keys of OTLP may be written in either case (`resource_spans`). A document may be a list of documents.
//!
//! An answer may say that it is not complete: `status` of Tempo, `warnings` of a trace and `errors` of an answer of Jaeger. Its
//! traces are then no valid ones, since nobody knows what is missing.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;

use serde::Deserialize as _;
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

use super::gather::PARTIAL;
use super::otlp::{Attributes, ExportedSpan, attributes, id, span_of, whole_number};

/// Gets each span that is found.
type Each<'e> = &'e RefCell<&'e mut dyn FnMut(ExportedSpan)>;

/// Keys of spans that stand by themselves, and of Zipkin's.
const OF_SPANS: [&str; 20] = [
    "traceId",
    "trace_id",
    "spanId",
    "span_id",
    "parentSpanId",
    "parent_span_id",
    "startTimeUnixNano",
    "start_time_unix_nano",
    "endTimeUnixNano",
    "end_time_unix_nano",
    "resource",
    "attributes",
    "status",
    "links",
    "id",
    "parentId",
    "timestamp",
    "duration",
    "localEndpoint",
    "tags",
];

/// Is this a key by which a document of spans is known?
pub(super) fn is_key(key: &str) -> bool {
    is_list_of_resources(key)
        || is_without_spans(key)
        || matches!(
            key,
            "projectId"
                | "traceId"
                | "trace_id"
                | "traceID"
                | "data"
                | "trace"
                | "result"
                | "spans"
                | "processes"
        )
}

fn is_list_of_resources(key: &str) -> bool {
    matches!(key, "resourceSpans" | "resource_spans" | "batches")
}

fn is_without_spans(key: &str) -> bool {
    matches!(
        key,
        "resourceLogs"
            | "resource_logs"
            | "resourceMetrics"
            | "resource_metrics"
            | "resourceProfiles"
            | "resource_profiles"
    )
}

/// A document of any shape.
#[derive(Clone, Copy)]
pub(super) struct DocumentSeed<'e>(pub(super) Each<'e>);

impl<'de> DeserializeSeed<'de> for DocumentSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, document: D) -> Result<(), D::Error> {
        document.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for DocumentSeed<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object with `resourceSpans`, or with spans of another shape")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut is_export = false;
        let mut span = Map::new();
        let mut jaeger: Option<Vec<Value>> = None;
        let mut processes = Value::Null;
        let mut is_google = false;
        let mut answer = AnswerState::default();
        while let Some(key) = map.next_key::<String>()? {
            match &*key {
                key if is_list_of_resources(key) => {
                    is_export = true;
                    map.next_value_seed(ListOf(ResourceSeed(self.0)))?;
                }
                "projectId" => {
                    is_google = true;
                    map.next_value::<IgnoredAny>()?;
                }
                "trace" => {
                    is_export = true;
                    // Who asks for one trace gets no other.
                    let mut note = |found| {
                        if let ExportedSpan::Span { trace_id, .. } = &found {
                            answer.trace.get_or_insert_with(|| trace_id.clone());
                        }
                        (self.0.borrow_mut())(found);
                    };
                    map.next_value_seed(DocumentSeed(&RefCell::new(&mut note)))?;
                }
                "traces" | "result" | "data" => {
                    is_export = true;
                    map.next_value_seed(self)?;
                }
                "traceID" => answer.trace = id(&map.next_value()?),
                "message" => answer.message = map.next_value()?,
                "warnings" => answer.warnings = map.next_value()?,
                "errors" => answer.errors = map.next_value()?,
                "spans" => jaeger = map.next_value()?,
                "processes" => processes = map.next_value()?,
                "Spans" => {
                    is_export = true;
                    self.retrieved(map.next_value()?);
                }
                key if is_without_spans(key) => {
                    is_export = true;
                    map.next_value::<IgnoredAny>()?;
                }
                key if OF_SPANS.contains(&key) || matches!(key, "name" | "kind") => {
                    span.insert(key.to_owned(), map.next_value()?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        answer.status = span.get("status").cloned().unwrap_or_default();
        if is_export || jaeger.is_some() {
            answer.defects().for_each(|defect| (self.0.borrow_mut())(defect));
        }
        if let Some(spans) = jaeger {
            for found in spans {
                self.found(if is_google {
                    google_span(&found, &span["traceId"])
                } else {
                    jaeger_span(&found, &processes)
                });
            }
            return Ok(());
        }
        let has = |key: &str| span.contains_key(key);
        if (has("traceId") && has("spanId")) || (has("trace_id") && has("span_id")) {
            self.alone(Value::Object(span));
            return Ok(());
        }
        if has("traceId") && has("id") {
            self.found(zipkin_span(&Value::Object(span)));
            return Ok(());
        }
        if is_export { Ok(()) } else { Err(serde::de::Error::missing_field("resourceSpans")) }
    }
}

/// What an answer says of itself.
#[derive(Default)]
struct AnswerState {
    /// The trace that it is about, where that is one.
    trace: Option<String>,
    /// Of Tempo: `PARTIAL`, with a message.
    status: Value,
    message: Value,
    /// Of a trace of Jaeger.
    warnings: Value,
    /// Of an answer of Jaeger: each may name a trace.
    errors: Value,
}

impl AnswerState {
    /// For each trace that is not complete, why.
    fn defects(self) -> impl Iterator<Item = ExportedSpan> {
        let Self { trace, status, message, warnings, errors } = self;
        let defect = |trace: Option<String>, said: String| match trace {
            Some(trace_id) => ExportedSpan::Span { trace_id, span: Err(format!("{PARTIAL}{said}")) },
            None => ExportedSpan::Lost(Cow::Owned(format!("an answer is not complete ({said})"))),
        };
        let is_partial =
            status == 1 || status.as_str().is_some_and(|word| word.eq_ignore_ascii_case("partial"));
        let partial = is_partial.then(|| match message.as_str().filter(|message| !message.is_empty()) {
            Some(message) => format!("status PARTIAL, {message}"),
            None => "status PARTIAL".to_owned(),
        });
        let list = |value: Value| match value {
            Value::Array(list) => list,
            _ => Vec::new(),
        };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let warnings = list(warnings);
        let warned = (!warnings.is_empty())
            .then(|| format!("warnings: {}", warnings.iter().map(text).collect::<Vec<_>>().join("; ")));
        let of_trace = partial.into_iter().chain(warned).map(move |said| defect(trace.clone(), said));
        let of_answer = list(errors).into_iter().map(move |error| {
            let said = error.get("msg").map_or_else(|| error.to_string(), text);
            defect(error.get("traceID").and_then(id), format!("errors: {said}"))
        });
        of_trace.chain(of_answer)
    }
}

impl DocumentSeed<'_> {
    fn found(self, (span, resource): (Value, Attributes)) {
        (self.0.borrow_mut())(span_of(span, &resource));
    }

    fn alone(self, span: Value) {
        let resource = attributes(&span["resource"]["attributes"]);
        self.found((span, resource));
    }

    /// `[{"Id": …, "Document": "…"}]`
    fn retrieved(self, spans: Vec<Value>) {
        for span in spans {
            match span["Document"].as_str().map(serde_json::from_str) {
                Some(Ok(span)) => self.alone(span),
                _ => (self.0.borrow_mut())(ExportedSpan::Lost(Cow::Borrowed(
                    "a span has no Document that can be read",
                ))),
            }
        }
    }
}

/// Nanoseconds from microseconds, which may be written as numbers or texts; none where it is neither. What is beyond all times
/// stays beyond them, and what is negative stays negative: such a span is invalid.
fn nanoseconds(microseconds: &Value) -> Option<i128> {
    whole_number(microseconds).map(|whole| whole.saturating_mul(1_000)).or_else(|| {
        let number = microseconds.as_f64().or_else(|| microseconds.as_str()?.trim().parse().ok())?;
        Some((number * 1e3).round() as i128)
    })
}

/// Start and end in nanoseconds; without a duration, the span has not ended. What is no number stays as it is, so that
/// whoever reads the span can name it.
fn times(start: &Value, duration: &Value) -> (Value, Value) {
    let text = |nanoseconds: i128| Value::String(nanoseconds.to_string());
    let (from, length) = (nanoseconds(start), nanoseconds(duration));
    let end = match (from, length) {
        (Some(from), Some(length)) => text(from.saturating_add(length)),
        _ => duration.clone(),
    };
    (from.map_or_else(|| start.clone(), text), end)
}

/// As a span of OTLP, with the attributes of its service.
fn zipkin_span(span: &Value) -> (Value, Attributes) {
    let (start, end) = times(&span["timestamp"], &span["duration"]);
    let has_failed = span["tags"]["error"].as_str().is_some_and(|error| error != "false");
    let service = &span["localEndpoint"]["serviceName"];
    let resource = attributes(&json!({ "service.name": service }));
    let span = json!({
        "traceId": span["traceId"], "spanId": span["id"], "parentSpanId": span["parentId"],
        "name": span["name"].as_str().unwrap_or_default(), "kind": span["kind"],
        "startTimeUnixNano": start, "endTimeUnixNano": end, "attributes": span["tags"],
        "status": if has_failed { json!("ERROR") } else { Value::Null },
    });
    (span, resource)
}

/// As a span of OTLP; ids of spans are decimal numbers. The attributes of its service are among its labels.
fn google_span(span: &Value, trace: &Value) -> (Value, Attributes) {
    let id = |value: &Value| {
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        number.filter(|&number| number != 0).map(|number: u64| format!("{number:016x}"))
    };
    // What is no time stays as it is, so that whoever reads the span can name it.
    let time = |value: &Value| {
        let time = value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        time.map_or_else(|| value.clone(), |time| Value::String(time.as_nanosecond().to_string()))
    };
    let labels = attributes(&span["labels"]);
    let mut own = Map::new();
    for (key, value) in &labels {
        // As Google's own libraries call them.
        let key = match key.as_str() {
            "/http/status_code" => "http.status_code",
            "/http/url" => "http.url",
            other => other,
        };
        own.insert(key.to_owned(), json!(value));
    }
    let has_failed = labels.contains_key("/error/message") || labels.contains_key("/error/name");
    let kind = span["kind"].as_str().and_then(|kind| kind.strip_prefix("RPC_")).unwrap_or_default();
    let span = json!({
        "traceId": trace, "spanId": id(&span["spanId"]), "parentSpanId": id(&span["parentSpanId"]),
        "name": span["name"].as_str().unwrap_or_default(), "kind": kind,
        "startTimeUnixNano": time(&span["startTime"]), "endTimeUnixNano": time(&span["endTime"]), "attributes": own,
        "status": if has_failed { json!("ERROR") } else { Value::Null },
    });
    (span, labels)
}

/// As a span of OTLP, with the attributes of its process.
fn jaeger_span(span: &Value, processes: &Value) -> (Value, Attributes) {
    let (start, end) = times(&span["startTime"], &span["duration"]);
    let own = attributes(&span["tags"]);
    let by_id = span["processID"].as_str().map(|id| &processes[id]);
    let process = by_id.filter(|process| process.is_object()).unwrap_or(&span["process"]);
    let mut resource = attributes(&process["tags"]);
    if let Some(service) = process["serviceName"].as_str() {
        resource.insert("service.name".to_owned(), service.to_owned());
    }
    let trace = &span["traceID"];
    let (within, links): (Vec<&Value>, Vec<&Value>) = span["references"]
        .as_array()
        .into_iter()
        .flatten()
        .partition(|reference| reference["traceID"] == *trace || reference["traceID"].is_null());
    let is_child = |reference: &&&Value| reference["refType"] == "CHILD_OF";
    let child_of = within.iter().find(is_child);
    // Who only follows from a span is not waited for.
    let follows = child_of.is_none() && !within.is_empty();
    let parent = child_of.or(within.first()).map_or(&span["parentSpanID"], |found| &found["spanID"]);
    let links: Vec<Value> = links
        .into_iter()
        .map(|link| json!({ "traceId": link["traceID"], "spanId": link["spanID"] }))
        .collect();
    let has_failed = own.get("error").is_some_and(|error| error != "false")
        || own.get("otel.status_code").is_some_and(|code| code == "ERROR");
    let span = json!({
        "traceId": trace, "spanId": span["spanID"], "parentSpanId": parent,
        "name": span["operationName"].as_str().unwrap_or_default(), "kind": own.get("span.kind"),
        "startTimeUnixNano": start, "endTimeUnixNano": end, "attributes": span["tags"], "links": links, "followsFrom": follows,
        "status": if has_failed { json!("ERROR") } else { Value::Null },
    });
    (span, resource)
}

/// `{"resource": {...}, "scopeSpans": [...]}`
#[derive(Clone, Copy)]
struct ResourceSeed<'e>(Each<'e>);

impl<'de> DeserializeSeed<'de> for ResourceSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, resource: D) -> Result<(), D::Error> {
        resource.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ResourceSeed<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object with `scopeSpans`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut resource = None;
        // Spans that come before their resource wait for it.
        let mut waiting = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match &*key {
                "resource" => {
                    let value: Value = map.next_value()?;
                    resource = Some(attributes(&value["attributes"]));
                }
                "scopeSpans"
                | "scope_spans"
                | "instrumentationLibrarySpans"
                | "instrumentation_library_spans" => {
                    let mut add = |value: Value| match &resource {
                        Some(resource) => (self.0.borrow_mut())(span_of(value, resource)),
                        None => waiting.push(value),
                    };
                    map.next_value_seed(ListOf(ScopeSeed(&RefCell::new(&mut add))))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let resource = resource.unwrap_or_default();
        for value in waiting {
            (self.0.borrow_mut())(span_of(value, &resource));
        }
        Ok(())
    }
}

/// `{"spans": [...]}`. Each span is read on its own, so that a damaged one touches its own trace only.
#[derive(Clone, Copy)]
struct ScopeSeed<'e>(&'e RefCell<&'e mut dyn FnMut(Value)>);

impl<'de> DeserializeSeed<'de> for ScopeSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, scope: D) -> Result<(), D::Error> {
        scope.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ScopeSeed<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object with `spans`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "spans" {
                map.next_value_seed(ListOf(SpanSeed(self.0)))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct SpanSeed<'e>(&'e RefCell<&'e mut dyn FnMut(Value)>);

impl<'de> DeserializeSeed<'de> for SpanSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, span: D) -> Result<(), D::Error> {
        (self.0.borrow_mut())(Value::deserialize(span)?);
        Ok(())
    }
}

/// A list, or null, of what a seed reads.
struct ListOf<S>(S);

impl<'de, S: DeserializeSeed<'de, Value = ()> + Copy> DeserializeSeed<'de> for ListOf<S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, list: D) -> Result<(), D::Error> {
        list.deserialize_any(self)
    }
}

impl<'de, S: DeserializeSeed<'de, Value = ()> + Copy> Visitor<'de> for ListOf<S> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(self.0)?.is_some() {}
        Ok(())
    }
}
