//! Reads OpenTelemetry traces in OTLP's JSON form (`resourceSpans`, `scopeSpans`, `spans`): any number of documents, each
//! with spans of any number of traces. Spans are grouped by trace id, so all documents are read first.
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
//! | other INTERNAL | none: a part of its parent |
//!
//! A receiver (SERVER, CONSUMER) without a parent that links to exactly one other span of the export, as consumers of
//! messages do, becomes the child of that span; if that belongs to another trace, the two traces are one. What links to
//! several, such as a batch of messages, stays a trace of its own.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::caller::forget_unknown_caller;
use super::invalid::Invalid;
use super::source::documents;
use super::span::{Flags, OTEL_FUNCTION, Parent, Recorded, Span};
use super::time::seconds_of_nanoseconds;
use super::xray::Rejected;

/// Seconds by which a cause may seem to start after its effect.
const CLOCKS_DIFFER: f64 = 0.01;

const CLIENT: &str = "OTel::Client";
const INVOCATION: &str = "OTel::Invocation";

/// The traces of a text, in the order in which their first spans come, then what could not be read.
pub fn read(text: &str) -> Vec<Result<Recorded<'static>, Rejected>> {
    let mut export = Export::default();
    for (place, document) in documents(text).into_iter().enumerate() {
        export.add(document, place + 1);
    }
    export.finish()
}

/// Spans of many documents, grouped by trace.
#[derive(Default)]
struct Export {
    traces: Vec<Group>,
    places: HashMap<String, usize>,
    unreadable: Vec<Rejected>,
}

#[derive(Default)]
struct Group {
    id: String,
    items: Vec<Item>,
    defect: Option<Invalid>,
}

/// A span and what it takes to connect it.
struct Item {
    span: Span<'static>,
    kind: SpanKind,
    links: Vec<Link>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SpanKind {
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl SpanKind {
    /// As a number or as a name; unspecified is internal.
    fn of(value: &Value) -> Self {
        match (value.as_i64(), value.as_str()) {
            (Some(2), _) | (_, Some("SPAN_KIND_SERVER")) => Self::Server,
            (Some(3), _) | (_, Some("SPAN_KIND_CLIENT")) => Self::Client,
            (Some(4), _) | (_, Some("SPAN_KIND_PRODUCER")) => Self::Producer,
            (Some(5), _) | (_, Some("SPAN_KIND_CONSUMER")) => Self::Consumer,
            _ => Self::Internal,
        }
    }

    fn is_receiver(self) -> bool {
        matches!(self, Self::Server | Self::Consumer)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DocumentFile {
    #[serde(alias = "batches")]
    resource_spans: Vec<ResourceSpansFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpansFile {
    resource: Option<ResourceFile>,
    #[serde(alias = "instrumentationLibrarySpans")]
    scope_spans: Option<Vec<ScopeSpansFile>>,
}

#[derive(Deserialize)]
struct ResourceFile {
    attributes: Option<Vec<AttributeFile>>,
}

#[derive(Deserialize)]
struct ScopeSpansFile {
    /// Each is read on its own, so that a damaged one touches its own trace only.
    spans: Option<Vec<Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpanFile {
    span_id: String,
    parent_span_id: Option<String>,
    name: String,
    #[serde(default)]
    kind: Value,
    start_time_unix_nano: Value,
    #[serde(default)]
    end_time_unix_nano: Value,
    status: Option<StatusFile>,
    attributes: Option<Vec<AttributeFile>>,
    links: Option<Vec<Link>>,
}

#[derive(Deserialize)]
struct StatusFile {
    #[serde(default)]
    code: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    trace_id: String,
    span_id: String,
}

#[derive(Deserialize)]
struct AttributeFile {
    key: String,
    #[serde(default)]
    value: Value,
}

/// Attributes as texts; lists and objects are left out.
type Attributes = HashMap<String, String>;

fn attributes(files: Option<Vec<AttributeFile>>) -> Attributes {
    let text = |value: &Value| match value.as_object()?.values().next()? {
        Value::String(text) => Some(text.clone()),
        plain @ (Value::Bool(_) | Value::Number(_)) => Some(plain.to_string()),
        _ => None,
    };
    let files = files.unwrap_or_default();
    files.into_iter().filter_map(|file| Some((file.key, text(&file.value)?))).collect()
}

impl Export {
    fn add(&mut self, text: &str, number: usize) {
        let document: DocumentFile = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(error) => return self.lose(number, &error.to_string()),
        };
        for resource_spans in document.resource_spans {
            let resource = attributes(resource_spans.resource.and_then(|resource| resource.attributes));
            for scope_spans in resource_spans.scope_spans.unwrap_or_default() {
                for value in scope_spans.spans.unwrap_or_default() {
                    self.add_span(value, &resource, number);
                }
            }
        }
    }

    fn lose(&mut self, number: usize, detail: &str) {
        let detail = format!("document {number} of the file: {detail}");
        self.unreadable.push(Rejected { id: None, reason: Invalid::Malformed { detail } });
    }

    fn add_span(&mut self, value: Value, resource: &Attributes, number: usize) {
        let trace_id = value["traceId"].as_str().filter(|id| !id.is_empty()).map(normal_id);
        let Some(trace_id) = trace_id else {
            return self.lose(number, "a span has no traceId");
        };
        let place = *self.places.entry(trace_id.clone()).or_insert_with(|| {
            self.traces.push(Group { id: trace_id, ..Group::default() });
            self.traces.len() - 1
        });
        let group = &mut self.traces[place];
        match read_span(value, resource) {
            Ok(item) => group.items.push(item),
            Err(detail) => group.defect = Some(Invalid::Malformed { detail }),
        }
    }

    fn finish(mut self) -> Vec<Result<Recorded<'static>, Rejected>> {
        self.follow_links();
        let traces =
            self.traces.into_iter().filter(|group| group.defect.is_some() || !group.items.is_empty());
        traces.map(Group::finish).chain(self.unreadable.into_iter().map(Err)).collect()
    }

    /// Connects spans without a parent to the one span that they link to.
    fn follow_links(&mut self) {
        // The place of the trace of each span, and when the span starts.
        let mut owners: HashMap<(&str, &str), (usize, f64)> = HashMap::new();
        for (place, group) in self.traces.iter().enumerate() {
            for item in &group.items {
                owners.insert((&group.id, &item.span.id), (place, item.span.start));
            }
        }
        // From group and item to the group of the linked span and its id.
        let mut edges = Vec::new();
        for (place, group) in self.traces.iter().enumerate() {
            let roots = group.items.iter().filter(|item| item.span.parent == Parent::None).count();
            for (at, item) in group.items.iter().enumerate() {
                let is_start = item.span.parent == Parent::None && item.kind.is_receiver();
                let ([link], true) = (item.links.as_slice(), is_start) else { continue };
                let (trace, span) = (normal_id(&link.trace_id), normal_id(&link.span_id));
                let Some(&(owner, start)) = owners.get(&(&*trace, &*span)) else { continue };
                // The only root of a trace cannot hang on its own trace, nor an effect on what comes after it.
                if (owner != place || roots > 1) && start <= item.span.start + CLOCKS_DIFFER {
                    edges.push((place, at, owner, span));
                }
            }
        }
        let mut joined_to: Vec<usize> = (0..self.traces.len()).collect();
        let mut is_own_root = vec![true; self.traces.len()];
        for (place, at, owner, span) in edges {
            let root = follow(&joined_to, owner);
            if owner != place {
                // Traces that link to each other in a circle stay apart, and so do those that start in several places.
                if root == follow(&joined_to, place) || !std::mem::replace(&mut is_own_root[place], false) {
                    continue;
                }
                joined_to[place] = root;
            }
            self.traces[place].items[at].span.parent = Parent::Id(Cow::Owned(span));
        }
        for place in 0..self.traces.len() {
            let root = follow(&joined_to, place);
            if root != place {
                let items = std::mem::take(&mut self.traces[place].items);
                let defect = self.traces[place].defect.take();
                self.traces[root].items.extend(items);
                self.traces[root].defect = self.traces[root].defect.take().or(defect);
            }
        }
    }
}

fn follow(joined_to: &[usize], place: usize) -> usize {
    let mut here = place;
    while joined_to[here] != here {
        here = joined_to[here];
    }
    here
}

impl Group {
    fn finish(self) -> Result<Recorded<'static>, Rejected> {
        if let Some(reason) = self.defect {
            return Err(Rejected { id: Some(self.id), reason });
        }
        let parent_of = |item: &Item| match &item.span.parent {
            Parent::Id(id) => Some(id.clone()),
            Parent::None | Parent::Enclosing(_) => None,
        };
        let called: HashSet<_> =
            self.items.iter().filter(|item| item.kind == SpanKind::Server).filter_map(parent_of).collect();
        let initialized: HashSet<_> = self
            .items
            .iter()
            .filter(|item| item.span.name == "Initialization")
            .filter_map(parent_of)
            .collect();
        let mut spans: Vec<Span<'static>> = self.items.into_iter().map(|item| item.span).collect();
        for span in &mut spans {
            if span.origin.as_deref() == Some(CLIENT) && called.contains(&span.id) {
                span.origin = Some(Cow::Borrowed(INVOCATION));
            }
            span.flags.cold_start &= !initialized.contains(&span.id);
        }
        forget_unknown_caller(&mut spans);
        for span in &mut spans {
            if span.parent != Parent::None {
                span.url = None;
            }
        }
        Ok(Recorded::measured(Cow::Owned(self.id), spans))
    }
}

fn read_span(value: Value, resource: &Attributes) -> Result<Item, String> {
    let file: SpanFile = serde_json::from_value(value).map_err(|error| format!("a span: {error}"))?;
    let span_id = normal_id(&file.span_id);
    let own = attributes(file.attributes);
    let kind = SpanKind::of(&file.kind);
    let start = nanoseconds(&file.start_time_unix_nano)
        .filter(|&start| start != 0)
        .ok_or_else(|| format!("span {span_id} has no startTimeUnixNano"))?;
    // A span that has not ended has no end, or zero.
    let end = nanoseconds(&file.end_time_unix_nano).filter(|&end| end != 0);
    let has_failed = file.status.is_some_and(|status| {
        status.code.as_i64() == Some(2) || status.code.as_str() == Some("STATUS_CODE_ERROR")
    });
    let status = first(&own, &["http.response.status_code", "http.status_code"]);
    let status: Option<i64> = status.and_then(|status| status.parse().ok());
    let mut flags = if has_failed || status.is_some_and(|status| status >= 400) {
        Flags::of_failure(status)
    } else {
        Flags::default()
    };
    flags.in_progress = end.is_none();
    let origin = origin(kind, &own, resource);
    flags.cold_start = origin.as_deref() == Some(OTEL_FUNCTION)
        && own.get("faas.coldstart").is_some_and(|cold| cold == "true");
    let parent = file.parent_span_id.filter(|parent| parent.bytes().any(|byte| byte != b'0'));
    let span = Span {
        id: Cow::Owned(span_id),
        name: Cow::Owned(file.name),
        origin,
        url: first(&own, &["url.full", "http.url"]).map(|url| Cow::Owned(url.to_owned())),
        start: seconds_of_nanoseconds(start),
        end: end.map_or(f64::NAN, seconds_of_nanoseconds),
        flags,
        parent: parent.map_or(Parent::None, |parent| Parent::Id(Cow::Owned(normal_id(&parent)))),
    };
    Ok(Item { span, kind, links: file.links.unwrap_or_default() })
}

/// Ids are hexadecimal in either case; others, such as base64, stay as they are.
fn normal_id(id: &str) -> String {
    if id.bytes().all(|byte| byte.is_ascii_hexdigit()) { id.to_ascii_lowercase() } else { id.to_owned() }
}

/// A 64-bit integer, which JSON exports write as a string or as a number.
fn nanoseconds(value: &Value) -> Option<i128> {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
    number.map(i128::from)
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
    if matches!(kind, SpanKind::Client | SpanKind::Producer) {
        let is_messaging = kind == SpanKind::Producer || own.contains_key("messaging.system");
        return Some(match () {
            () if own.contains_key("faas.invoked_name") => INVOCATION,
            () if is_database => "OTel::Database",
            () if is_messaging => "OTel::Messaging",
            () => CLIENT,
        });
    }
    let operation = first(own, &["messaging.operation.type", "messaging.operation"]);
    if kind == SpanKind::Consumer && operation == Some("receive") {
        return Some("OTel::Messaging");
    }
    if either("durabletask.type").is_some_and(|kind| kind == "orchestration") {
        return Some("OTel::Workflow");
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
        () if names_one_of(&WORKFLOWS) => Some("OTel::Workflow"),
        () => FUNCTION_PLATFORMS.contains(&&*platform).then_some(OTEL_FUNCTION),
    }
}
