//! Reads OpenTelemetry traces in OTLP's JSON form (`resourceSpans`, `scopeSpans`, `spans`), and those of Jaeger, Zipkin and
//! others, which [`super::shapes`] finds in their documents. There may be any number of documents, each with spans of any
//! number of traces; [`super::gather`] collects the spans of each trace.
//!
//! The origin of a span follows its kind and the semantic conventions:
//!
//! | span | origin |
//! |---|---|
//! | with `faas.trigger`, `faas.invocation_id` …; SERVER or CONSUMER on a platform for functions | `OTel::Function` |
//! | SERVER or CONSUMER of a gateway, or of a workflow service (`cloud.resource_id`, `durabletask.type`) | `OTel::Gateway`, `OTel::Workflow` |
//! | other SERVER, CONSUMER | `OTel::Service::NAME`, with the `service.name` |
//! | CLIENT with `faas.invoked_name`, or with a traced receiver beneath it | `OTel::Invocation` |
//! | with `db.system` | `OTel::Database` |
//! | PRODUCER; CLIENT with `messaging.system`; receiving messages | `OTel::Messaging` |
//! | other CLIENT | `OTel::Client` |
//! | of a durable execution | [`super::durable`] |
//! | other INTERNAL | none: a part of its parent |
//!
//! A receiver (SERVER, CONSUMER) without a parent in its trace may link to exactly one other span of the export, as consumers of messages
//! do. It becomes the child of that span. If that span belongs to another trace, the two traces are one. What links to several
//! spans, such as a batch of messages, stays a trace of its own. So do traces that link to each other in a circle.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use serde::de::DeserializeSeed as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::invalid::{Invalid, Rejected};
use crate::read::caller::forget_unknown_caller;
use crate::read::durable;
use crate::read::fused;
use crate::read::gather::{Gathering, Prepared};
use crate::read::platform;
use crate::read::shapes::DocumentSeed;
use crate::read::sort::Room;
use crate::read::source::documents;
use crate::read::time::seconds_of_nanoseconds;
use crate::span::{Flags, OTEL_FUNCTION, Parent, Precision, Recorded, Span};

const CLIENT: &str = "OTel::Client";
pub(super) const INVOCATION: &str = "OTel::Invocation";
pub(super) const WORKFLOW: &str = "OTel::Workflow";
const MESSAGING: &str = "OTel::Messaging";

/// Reads the traces of an OpenTelemetry export, sorted by trace id, then what could not be read.
///
/// A receiver without a parent that links to exactly one span of the export becomes the child of that span. If the span
/// belongs to another trace, the two traces are one.
pub fn read(text: &str) -> Vec<Result<Recorded<'static>, Rejected>> {
    let mut gathering = Gathering::new(Room::unlimited());
    let mut traces = Vec::new();
    let gathered = documents(text)
        .into_iter()
        .zip(1..)
        .try_for_each(|(document, number)| gathering.add_all(prepare(document, number)))
        .and_then(|()| gathering.finish())
        .and_then(|gathered| {
            gathered.for_each(|trace| {
                traces.push(trace);
                true
            })
        });
    if let Err(error) = gathered {
        traces.push(Err(Rejected { id: None, reason: Invalid::Malformed { detail: error.to_string() } }));
    }
    traces
}

/// A span of a document, or what is lost of it.
pub(crate) enum ExportedSpan {
    Span { trace_id: String, span: Result<Box<ConnectedSpan>, String> },
    Lost(Cow<'static, str>),
}

/// All spans of a document, or what is wrong with it.
pub(crate) fn prepare(text: &str, number: u64) -> Vec<Prepared> {
    let mut prepared = Vec::new();
    let read = for_each_span(&mut serde_json::Deserializer::from_str(text), &mut |found| {
        prepared.push(Prepared::new(found, number));
    });
    if let Err(error) = read {
        prepared = vec![Prepared::damaged(number, &error.to_string())];
    }
    prepared
}

/// Calls `each` for the spans of a document while it is read. After an error, they are those before it.
pub(crate) fn for_each_span<'de, R: serde_json::de::Read<'de>>(
    document: &mut serde_json::Deserializer<R>,
    each: &mut dyn FnMut(ExportedSpan),
) -> Result<(), serde_json::Error> {
    DocumentSeed(&RefCell::new(each)).deserialize(document)
}

/// A span and what it takes to connect it.
pub(crate) struct ConnectedSpan {
    pub(crate) span: Span<'static>,
    pub(crate) kind: SpanKind,
    /// Trace and span that it links to, where there is but one.
    pub(crate) link: Option<(String, String)>,
}

impl ConnectedSpan {
    /// What caused it, where no parent says so: it has none, or the parent was not exported.
    pub(crate) fn cause(&self) -> Option<&(String, String)> {
        self.link.as_ref().filter(|_| self.kind.is_receiver() || self.kind == SpanKind::Platform)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SpanKind {
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
    /// A span of X-Ray ([`fused`]).
    Platform,
}

impl SpanKind {
    /// As a number or as a name; unspecified is internal.
    fn of(value: &Value) -> Self {
        let name = value.as_str().unwrap_or_default().to_ascii_uppercase();
        match (value.as_i64(), name.strip_prefix("SPAN_KIND_").unwrap_or(&name)) {
            (Some(2), _) | (_, "SERVER") => Self::Server,
            (Some(3), _) | (_, "CLIENT") => Self::Client,
            (Some(4), _) | (_, "PRODUCER") => Self::Producer,
            (Some(5), _) | (_, "CONSUMER") => Self::Consumer,
            _ => Self::Internal,
        }
    }

    fn is_receiver(self) -> bool {
        matches!(self, Self::Server | Self::Consumer)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpanFile {
    #[serde(alias = "span_id")]
    span_id: Value,
    #[serde(default, alias = "parent_span_id")]
    parent_span_id: Value,
    name: String,
    #[serde(default)]
    kind: Value,
    #[serde(alias = "start_time_unix_nano")]
    start_time_unix_nano: Value,
    #[serde(default, alias = "end_time_unix_nano")]
    end_time_unix_nano: Value,
    #[serde(default)]
    status: Value,
    #[serde(default)]
    attributes: Value,
    links: Option<Vec<LinkFile>>,
    /// Of Jaeger: its parent does not wait for it.
    #[serde(default)]
    follows_from: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LinkFile {
    #[serde(alias = "trace_id")]
    trace_id: Value,
    #[serde(alias = "span_id")]
    span_id: Value,
}

/// Attributes as texts; lists and objects are left out.
pub(super) type Attributes = HashMap<String, String>;

/// Of a list of keys and values, whose values may say their type, or of an object.
pub(super) fn attributes(value: &Value) -> Attributes {
    fn text(value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.clone()),
            plain @ (Value::Bool(_) | Value::Number(_)) => Some(plain.to_string()),
            Value::Object(typed) => match typed.values().next()? {
                Value::Object(typed) => {
                    typed.values().next().filter(|value| !value.is_object()).and_then(text)
                }
                value => text(value),
            },
            Value::Null | Value::Array(_) => None,
        }
    }
    match value {
        Value::Array(list) => list
            .iter()
            .filter_map(|entry| Some((entry["key"].as_str()?.to_owned(), text(&entry["value"])?)))
            .collect(),
        Value::Object(object) => {
            object.iter().filter_map(|(key, value)| Some((key.clone(), text(value)?))).collect()
        }
        _ => Attributes::new(),
    }
}

/// An id as text, or as a list of bytes; none where it is empty.
pub(super) fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(normal_id(text)),
        Value::Array(bytes) => {
            let byte = |byte: &Value| Some(format!("{:02x}", u8::try_from(byte.as_u64()?).ok()?));
            bytes.iter().map(byte).collect()
        }
        _ => None,
    }
    .filter(|id| !id.is_empty())
}

pub(super) fn span_of(value: Value, resource: &Attributes) -> ExportedSpan {
    match id(&value["traceId"]).or_else(|| id(&value["trace_id"])) {
        Some(trace_id) => ExportedSpan::Span { trace_id, span: read_span(value, resource).map(Box::new) },
        None => ExportedSpan::Lost(Cow::Borrowed("a span has no traceId")),
    }
}

/// Makes a trace of its spans and of those of other traces that were joined to it.
pub(crate) fn join(id: String, mut items: Vec<ConnectedSpan>) -> Recorded<'static> {
    separate_shared_ids(&mut items);
    let is_of_xray = items.iter().all(|item| item.kind == SpanKind::Platform);
    let is_fused = fused::connect(&mut items);
    durable::lay_within_invocations(&mut items);
    platform::infer(&mut items);
    mark_waiting(&mut items);
    let called: HashSet<_> = items
        .iter()
        .filter(|item| item.kind == SpanKind::Server || is_service_of_platform(item))
        .filter_map(parent_id)
        .map(str::to_owned)
        .collect();
    let is_start = |item: &&ConnectedSpan| matches!(&*item.span.name, "Initialization" | "Restore");
    let initialized: HashSet<_> =
        items.iter().filter(is_start).filter_map(parent_id).map(str::to_owned).collect();
    let mut spans: Vec<Span<'static>> = items.into_iter().map(|item| item.span).collect();
    for span in &mut spans {
        if span.origin.as_deref() == Some(CLIENT) && called.contains(&*span.id) {
            span.origin = Some(Cow::Borrowed(INVOCATION));
        }
        span.flags.cold_start &= !initialized.contains(&*span.id);
    }
    forget_unknown_caller(&mut spans);
    for span in &mut spans {
        if span.parent != Parent::None {
            span.url = None;
        }
    }
    let mut recorded = Recorded::measured(Cow::Owned(id), spans);
    if is_of_xray {
        recorded.precision = Precision::XRay;
    } else if is_fused {
        // X-Ray rounds some of its times to milliseconds.
        recorded.precision = Precision::Milliseconds;
    }
    recorded
}

/// A span of X-Ray that runs what a caller calls.
fn is_service_of_platform(item: &ConnectedSpan) -> bool {
    const CALLED: [&str; 4] = ["AWS::ApiGateway", "AWS::Lambda", "AWS::StepFunctions", "AWS::EC"];
    let origin = item.span.origin.as_deref().unwrap_or_default();
    item.kind == SpanKind::Platform && CALLED.iter().any(|called| origin.starts_with(called))
}

pub(crate) fn parent_id(item: &ConnectedSpan) -> Option<&str> {
    match &item.span.parent {
        Parent::Id(id) => Some(id),
        Parent::None | Parent::Enclosing(_) => None,
    }
}

/// Client and server may share one id, as B3 allows. Then the server is the client's child, and what is beneath this id is
/// beneath the server.
fn separate_shared_ids(items: &mut [ConnectedSpan]) {
    let of_kind = |kind: SpanKind| -> HashSet<String> {
        items.iter().filter(|item| item.kind == kind).map(|item| item.span.id.to_string()).collect()
    };
    let shared: HashSet<String> = &of_kind(SpanKind::Client) & &of_kind(SpanKind::Server);
    if shared.is_empty() {
        return;
    }
    let server = |id: &str| format!("{id}/server");
    for item in items {
        if item.kind == SpanKind::Server && shared.contains(&*item.span.id) {
            let id = server(&item.span.id);
            item.span.parent = Parent::Id(std::mem::replace(&mut item.span.id, Cow::Owned(id)));
        } else if let Some(id) = parent_id(item).filter(|&id| shared.contains(id)) {
            item.span.parent = Parent::Id(Cow::Owned(server(id)));
        }
    }
}

/// Who waits for whom: nobody for the receiver of a message. Who answers a client has another clock.
fn mark_waiting(items: &mut [ConnectedSpan]) {
    let mut senders = HashSet::new();
    let mut clients = HashSet::new();
    for item in &*items {
        if item.kind == SpanKind::Producer || item.span.origin.as_deref() == Some(MESSAGING) {
            senders.insert(item.span.id.to_string());
        } else if item.kind == SpanKind::Client {
            clients.insert(item.span.id.to_string());
        }
    }
    let receives = |item: &&mut ConnectedSpan| {
        item.kind.is_receiver() || item.span.flags.linked || is_service_of_platform(item)
    };
    for item in items.iter_mut().filter(receives) {
        let Some(parent) = parent_id(item) else { continue };
        let (from_queue, from_afar) = (senders.contains(parent), clients.contains(parent));
        item.span.flags.from_queue |= from_queue;
        item.span.flags.from_afar = from_afar;
    }
}

fn read_span(value: Value, resource: &Attributes) -> Result<ConnectedSpan, String> {
    let file: SpanFile = serde_json::from_value(value).map_err(|error| format!("a span: {error}"))?;
    let span_id = id(&file.span_id).ok_or("a span has no spanId")?;
    let own = attributes(&file.attributes);
    let kind = SpanKind::of(&file.kind);
    let time = |value: &Value, key: &str| {
        nanoseconds(value).map_err(|()| format!("span {span_id} has `{value}` as its {key}"))
    };
    let start = time(&file.start_time_unix_nano, "start (startTimeUnixNano)")?
        .ok_or_else(|| format!("span {span_id} has no startTimeUnixNano"))?;
    // A span that has not ended has no end, or zero.
    let end = time(&file.end_time_unix_nano, "end (endTimeUnixNano)")?;
    let code = file.status.get("code").unwrap_or(&file.status);
    let has_failed = code.as_i64() == Some(2)
        || code.as_str().is_some_and(|code| code.to_ascii_uppercase().ends_with("ERROR"));
    let status = first(&own, &["http.response.status_code", "http.status_code"]);
    let status: Option<i64> = status.and_then(|status| status.parse().ok());
    let mut flags = if has_failed || status.is_some_and(|status| status >= 400) {
        Flags::of_failure(status)
    } else {
        Flags::default()
    };
    flags.in_progress = end.is_none();
    flags.from_queue = file.follows_from;
    let origin = origin(kind, &own, resource);
    flags.cold_start = origin.as_deref() == Some(OTEL_FUNCTION)
        && own.get("faas.coldstart").is_some_and(|cold| cold == "true");
    let parent = id(&file.parent_span_id).filter(|parent| parent.bytes().any(|byte| byte != b'0'));
    let span = Span {
        id: Cow::Owned(span_id),
        name: Cow::Owned(file.name),
        origin,
        url: first(&own, &["url.full", "http.url"]).map(|url| Cow::Owned(url.to_owned())),
        start: seconds_of_nanoseconds(start),
        end: end.map_or(f64::NAN, seconds_of_nanoseconds),
        flags,
        parent: parent.map_or(Parent::None, |parent| Parent::Id(Cow::Owned(parent))),
    };
    let link = match file.links.unwrap_or_default().as_slice() {
        [link] => id(&link.trace_id).zip(id(&link.span_id)),
        _ => None,
    };
    Ok(ConnectedSpan { span, kind, link })
}

/// Ids are hexadecimal in either case; others, such as base64, stay as they are.
pub(crate) fn normal_id(id: &str) -> String {
    if id.bytes().all(|byte| byte.is_ascii_hexdigit()) { id.to_ascii_lowercase() } else { id.to_owned() }
}

/// A time, which JSON exports write as a string or as a number; some write it as a double. None where there is none, or zero.
/// Any number is a time here, so that one that no trace can have makes the trace invalid.
fn nanoseconds(value: &Value) -> Result<Option<i128>, ()> {
    if value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty()) {
        return Ok(None);
    }
    let fraction = || value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let time = whole_number(value)
        .or_else(|| fraction().filter(|number: &f64| !number.is_nan()).map(|number| number.round() as i128));
    time.map(|time| Some(time).filter(|&time| time != 0)).ok_or(())
}

/// An integer, as a number or as a text.
pub(super) fn whole_number(value: &Value) -> Option<i128> {
    let number = value.as_u64().map(i128::from).or_else(|| value.as_i64().map(i128::from));
    number.or_else(|| value.as_str()?.trim().parse().ok())
}

fn first<'m>(attributes: &'m Attributes, keys: &[&str]) -> Option<&'m str> {
    keys.iter().find_map(|&key| attributes.get(key)).map(String::as_str)
}

/// Attributes that only the invocation of a function has.
const OF_FUNCTIONS: [&str; 6] = [
    "faas.trigger",
    "faas.coldstart",
    "faas.invocation_id",
    "faas.execution",
    "faas.time",
    "faas.document.operation",
];

const FUNCTION_PLATFORMS: [&str; 7] = [
    "aws_lambda",
    "azure_functions",
    "azure.functions",
    "gcp_cloud_functions",
    "alibaba_cloud_fc",
    "tencent_cloud_scf",
    "ibm_cloud_functions",
];

/// Parts of the ids of cloud resources, in lower case.
const GATEWAYS: [&str; 4] =
    [":apigateway:", ":execute-api:", "/microsoft.apimanagement/", "apigateway.googleapis.com"];
const WORKFLOWS: [&str; 3] = [":states:", "/microsoft.logic/workflows", "workflows.googleapis.com"];

/// As the table above says; `None` for a part of its parent.
fn origin(kind: SpanKind, own: &Attributes, resource: &Attributes) -> Option<Cow<'static, str>> {
    fixed_origin(kind, own, resource).map(Cow::Borrowed).or_else(|| {
        let name = resource.get("service.name").map_or("unknown", String::as_str);
        kind.is_receiver().then(|| Cow::Owned(format!("OTel::Service::{name}")))
    })
}

/// `None` for parts, and for receivers that are neither functions nor services of a platform.
fn fixed_origin(kind: SpanKind, own: &Attributes, resource: &Attributes) -> Option<&'static str> {
    let either =
        |key: &str| own.get(key).or_else(|| resource.get(key)).map(|value| value.to_ascii_lowercase());
    let is_database = first(own, &["db.system.name", "db.system"]).is_some();
    if let Some(origin) = durable::origin(own) {
        return Some(origin);
    }
    if matches!(kind, SpanKind::Client | SpanKind::Producer) {
        let is_messaging = kind == SpanKind::Producer || own.contains_key("messaging.system");
        return Some(match () {
            () if own.contains_key("faas.invoked_name") => INVOCATION,
            () if is_database => "OTel::Database",
            () if is_messaging => MESSAGING,
            () => CLIENT,
        });
    }
    let operation = first(own, &["messaging.operation.type", "messaging.operation"]);
    if kind == SpanKind::Consumer && operation == Some("receive") {
        return Some(MESSAGING);
    }
    if either("durabletask.type").is_some_and(|kind| kind == "orchestration") {
        return Some(WORKFLOW);
    }
    if first(own, &OF_FUNCTIONS).is_some() {
        return Some(OTEL_FUNCTION);
    }
    if !kind.is_receiver() {
        return is_database.then_some("OTel::Database");
    }
    let resource_id = either("cloud.resource_id").unwrap_or_default();
    let names_one_of = |parts: &[&str]| parts.iter().any(|part| resource_id.contains(part));
    let platform = either("cloud.platform").unwrap_or_default();
    match () {
        () if names_one_of(&GATEWAYS) => Some("OTel::Gateway"),
        () if names_one_of(&WORKFLOWS) => Some(WORKFLOW),
        () => FUNCTION_PLATFORMS.contains(&&*platform).then_some(OTEL_FUNCTION),
    }
}
