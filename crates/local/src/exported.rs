//! Spans of OpenTelemetry as documents of X-Ray, so that they lie within the runtime's own traces.
//!
//! AWS does the same with spans that it gets by OTLP. What a span says in OpenTelemetry's
//! [semantic conventions](https://opentelemetry.io/docs/specs/semconv/) becomes the field of X-Ray with that meaning:
//!
//! | span | document |
//! |---|---|
//! | with a parent | a subsegment of its own, which finds its parent when the trace is read |
//! | without one | a segment |
//! | call of AWS (`rpc.system`: `aws-api`, or `messaging.system`: `aws_sqs` …) | of namespace `aws`, named after the service |
//! | another call (kinds client and producer) | of namespace `remote`, named after the host; `sql` for such a database |
//! | entry of a function (kinds server and consumer, `faas.invocation_id`) | with `aws.request_id`, by which it finds its invocation |
//! | links | links |
//! | status and attributes | `error`, `throttle`, `fault`, and `metadata` |

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::clock::seconds;
use super::context::{is_hex, trace_id};
use super::segment::Flags;

/// How documents made of spans begin `aws.xray.sdk`.
const SDK: &str = "opentelemetry";

/// Databases that understand SQL, as the conventions call them.
const SQL: [&str; 12] = [
    "postgresql",
    "mysql",
    "mariadb",
    "mssql",
    "microsoft.sql_server",
    "oracle",
    "oracle.db",
    "sqlite",
    "db2",
    "redshift",
    "cockroachdb",
    "other_sql",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow)]
    resource_spans: Vec<OfResource<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfResource<'a> {
    resource: Option<Resource>,
    #[serde(borrow, default)]
    scope_spans: Vec<OfScope<'a>>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
struct OfScope<'a> {
    #[serde(borrow, default)]
    spans: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exported {
    trace_id: String,
    span_id: String,
    #[serde(default)]
    parent_span_id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    kind: u8,
    start_time_unix_nano: Value,
    end_time_unix_nano: Option<Value>,
    #[serde(default)]
    attributes: Vec<Attribute>,
    #[serde(default)]
    links: Vec<ExportedLink>,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Attribute {
    key: String,
    /// One field, named after its type: `stringValue`, `intValue` …
    #[serde(default)]
    value: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExportedLink {
    trace_id: String,
    span_id: String,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    code: u8,
}

const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const PRODUCER: u8 = 4;
const CONSUMER: u8 = 5;
/// The status of what failed.
const FAILED: u8 = 2;

/// Calls `take` with each span of a message as a document, or with what is wrong with it.
///
/// # Errors
/// The text is no message of spans.
pub(super) fn each(text: &str, mut take: impl FnMut(Result<Value, String>)) -> Result<(), String> {
    let message: Message<'_> = serde_json::from_str(text)
        .map_err(|error| format!("no message of OTLP with `resourceSpans`: {error}"))?;
    for of_resource in message.resource_spans {
        let resource = of_resource.resource.map(|resource| resource.attributes).unwrap_or_default();
        let language = resource.iter().find(|attribute| attribute.key == "telemetry.sdk.language");
        let sdk = match language.and_then(|attribute| attribute.value.get("stringValue")?.as_str()) {
            Some(language) => format!("{SDK} for {language}"),
            None => SDK.to_owned(),
        };
        for span in of_resource.scope_spans.iter().flat_map(|of_scope| &of_scope.spans) {
            let read: Result<Exported, _> = serde_json::from_str(span.get());
            take(read.map_err(|error| error.to_string()).and_then(|span| document(&span, &sdk)));
        }
    }
    Ok(())
}

/// The id of the request that the function whose entry this document is was working on.
pub(super) fn request_of_entry(document: &Value) -> Option<&str> {
    let aws = document.get("aws")?;
    let is_exported = aws.pointer("/xray/sdk")?.as_str()?.starts_with(SDK);
    aws.get("request_id")?.as_str().filter(|_| is_exported && document.get("namespace").is_none())
}

fn document(span: &Exported, sdk: &str) -> Result<Value, String> {
    let is_id = |text: &str, digits| is_hex(text, digits) && text.bytes().any(|digit| digit != b'0');
    let trace = |text: &str| u128::from_str_radix(text, 16).ok().filter(|_| is_id(text, 32)).map(trace_id);
    let id = span.trace_id.as_str();
    let trace_id = trace(id)
        .ok_or_else(|| format!("`traceId` is `{id}`: it must be 32 hex digits, not all of them 0"))?;
    let id = span.span_id.as_str();
    if !is_id(id, 16) {
        return Err(format!("`spanId` is `{id}`: it must be 16 hex digits, not all of them 0"));
    }
    let start = micros(&span.start_time_unix_nano).ok_or("`startTimeUnixNano` is no time")?;
    let end = span.end_time_unix_nano.as_ref().and_then(micros).ok_or("`endTimeUnixNano` is no time")?;
    let attributes = Attributes::of(&span.attributes);
    let mut fields = fields(span, &attributes);
    let aws = fields.entry("aws").or_insert_with(|| json!({}));
    aws["xray"] = json!({ "sdk": sdk });
    let mut document = Map::new();
    document.insert("id".to_owned(), json!(id.to_ascii_lowercase()));
    document.insert("trace_id".to_owned(), json!(trace_id));
    document.insert("start_time".to_owned(), json!(seconds(start)));
    document.insert("end_time".to_owned(), json!(seconds(end)));
    let parent = span.parent_span_id.as_str();
    if is_id(parent, 16) {
        document.insert("type".to_owned(), json!("subsegment"));
        document.insert("parent_id".to_owned(), json!(parent.to_ascii_lowercase()));
    }
    document.extend(fields);
    let links: Vec<Value> = span
        .links
        .iter()
        .filter(|link| is_id(&link.span_id, 16))
        .filter_map(|link| {
            let id = link.span_id.to_ascii_lowercase();
            Some(json!({ "trace_id": trace(&link.trace_id)?, "id": id, "attributes": {} }))
        })
        .collect();
    if !links.is_empty() {
        document.insert("links".to_owned(), links.into());
    }
    for (name, set) in flags(span, &attributes).named() {
        if set {
            document.insert(name.to_owned(), json!(true));
        }
    }
    if !attributes.0.is_empty() {
        document.insert("metadata".to_owned(), json!({ "default": attributes.0 }));
    }
    Ok(Value::Object(document))
}

/// Name, namespace, and what was called.
fn fields(span: &Exported, attributes: &Attributes<'_>) -> Map<String, Value> {
    let own = if span.name.is_empty() { "span" } else { &span.name };
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    if let Some(http) = http(attributes) {
        set("http", http);
    }
    if !matches!(span.kind, CLIENT | PRODUCER) {
        set("name", json!(own));
        let request = attributes.text(&["faas.invocation_id", "faas.execution"]);
        if let Some(request) = request.filter(|_| matches!(span.kind, SERVER | CONSUMER)) {
            set("aws", json!({ "request_id": request }));
        }
        return fields;
    }
    if let Some(service) = aws_service(attributes) {
        set("name", json!(service));
        set("namespace", json!("aws"));
        set("aws", aws(attributes));
        return fields;
    }
    let host = attributes.text(&["peer.service", "server.address", "net.peer.name"]);
    let host = host.or_else(|| {
        let url = attributes.text(&URL)?;
        url.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(rest))
    });
    set("namespace", json!("remote"));
    let system = attributes.text(&["db.system.name", "db.system"]);
    let Some(system) = system.filter(|system| SQL.contains(system)) else {
        set("name", json!(host.unwrap_or(own)));
        return fields;
    };
    let database = attributes.text(&["db.namespace", "db.name"]).unwrap_or(system);
    set("name", json!(host.map_or_else(|| database.to_owned(), |host| format!("{database}@{host}"))));
    let mut sql = json!({ "database_type": system });
    if let Some(query) = attributes.text(&["db.query.text", "db.statement"]) {
        sql["sanitized_query"] = json!(query);
    }
    set("sql", sql);
    fields
}

/// The name of the called service of AWS, as X-Ray's SDKs have it.
fn aws_service<'a>(attributes: &'a Attributes<'_>) -> Option<&'a str> {
    if attributes.text(&["rpc.system", "rpc.system.name"]) == Some("aws-api") {
        return attributes.text(&["rpc.service"]);
    }
    if attributes
        .text(&["db.system.name", "db.system"])
        .is_some_and(|db| matches!(db, "dynamodb" | "aws.dynamodb"))
    {
        return Some("DynamoDB");
    }
    match attributes.text(&["messaging.system"])? {
        "aws_sqs" | "AmazonSQS" => Some("SQS"),
        "aws_sns" | "aws.sns" => Some("SNS"),
        "aws_eventbridge" | "aws.eventbridge" => Some("EventBridge"),
        "aws_kinesis" | "aws.kinesis" => Some("Kinesis"),
        _ => None,
    }
}

fn aws(attributes: &Attributes<'_>) -> Value {
    let mut aws = Map::new();
    for (field, names) in [
        ("operation", &["rpc.method", "messaging.operation.name", "messaging.operation"][..]),
        ("region", &["aws.region", "cloud.region"]),
        ("request_id", &["aws.request_id"]),
        ("bucket_name", &["aws.s3.bucket"]),
        ("queue_url", &["aws.sqs.queue.url", "aws.queue_url", "messaging.url"]),
        ("topic_arn", &["aws.sns.topic.arn"]),
        ("table_name", &["aws.dynamodb.table_name"]),
    ] {
        if let Some(text) = attributes.text(names) {
            aws.insert(field.to_owned(), json!(text));
        }
    }
    let tables = attributes.0.get("aws.dynamodb.table_names").and_then(|tables| tables.get(0));
    if let Some(table) = tables {
        aws.insert("table_name".to_owned(), table.clone());
    }
    aws.into()
}

const URL: [&str; 2] = ["url.full", "http.url"];

fn http(attributes: &Attributes<'_>) -> Option<Value> {
    let mut http = Map::new();
    let mut request = Map::new();
    for (field, names) in [("method", ["http.request.method", "http.method"]), ("url", URL)] {
        if let Some(text) = attributes.text(&names) {
            request.insert(field.to_owned(), json!(text));
        }
    }
    if !request.is_empty() {
        http.insert("request".to_owned(), request.into());
    }
    if let Some(status) = attributes.status() {
        http.insert("response".to_owned(), json!({ "status": status }));
    }
    (!http.is_empty()).then(|| http.into())
}

fn flags(span: &Exported, attributes: &Attributes<'_>) -> Flags {
    let by_status = attributes.status().map(Flags::of_status).unwrap_or_default();
    let has_failed = span.status.as_ref().is_some_and(|status| status.code == FAILED);
    if has_failed && by_status == Flags::default() { Flags::FAULT } else { by_status }
}

/// By name, without the words for their types.
struct Attributes<'a>(BTreeMap<&'a str, Value>);

impl<'a> Attributes<'a> {
    fn of(attributes: &'a [Attribute]) -> Self {
        Self(attributes.iter().map(|attribute| (attribute.key.as_str(), plain(&attribute.value))).collect())
    }

    /// The text of the first of these that there is.
    fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|&name| self.0.get::<str>(name)?.as_str()).filter(|text| !text.is_empty())
    }

    fn status(&self) -> Option<u16> {
        let names = ["http.response.status_code", "http.status_code"];
        let status = names.iter().find_map(|&name| self.0.get::<str>(name)?.as_u64())?;
        u16::try_from(status).ok()
    }
}

/// `{"intValue": "5"}` as 5.
fn plain(value: &Map<String, Value>) -> Value {
    let Some((kind, value)) = value.iter().next() else { return Value::Null };
    match (kind.as_str(), value) {
        ("intValue", Value::String(text)) => {
            text.parse::<i64>().map_or_else(|_| value.clone(), |number| json!(number))
        }
        ("arrayValue", Value::Object(array)) => {
            let items = array.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            items.iter().map(|item| item.as_object().map(plain).unwrap_or_default()).collect()
        }
        _ => value.clone(),
    }
}

/// Microseconds since 1970 of nanoseconds, which are a text or a number.
fn micros(nanos: &Value) -> Option<i64> {
    let nanos = match nanos {
        Value::String(text) => text.parse::<u64>().ok()?,
        number => number.as_u64()?,
    };
    i64::try_from(nanos.saturating_add(500) / 1000).ok().filter(|micros| *micros > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(key: &str, value: &str) -> Value {
        json!({ "key": key, "value": { "stringValue": value } })
    }

    fn span(kind: u8, attributes: &[Value]) -> Value {
        json!({ "traceId": "5759E988BD862E3FE1BE46A994272793", "spanId": "53995C3F42CD8AD8", "parentSpanId": "53995c3f42cd8ad9",
                "name": "own", "kind": kind, "attributes": attributes,
                "startTimeUnixNano": "1700000000000001499", "endTimeUnixNano": 1_700_000_000_000_002_500_u64 })
    }

    fn documents(spans: &[Value]) -> Vec<Result<Value, String>> {
        let resource = json!({ "attributes": [attribute("telemetry.sdk.language", "python")] });
        let message =
            json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": spans }] }] });
        let mut found = Vec::new();
        each(&message.to_string(), |document| found.push(document)).unwrap();
        found
    }

    fn one(span: &Value) -> Value {
        documents(std::slice::from_ref(span)).remove(0).unwrap()
    }

    #[test]
    fn a_span_is_a_subsegment_of_its_parent_exact_to_the_microsecond() {
        let document = one(&span(1, &[attribute("step", "two")]));
        assert_eq!(
            document,
            json!({ "id": "53995c3f42cd8ad8", "trace_id": "1-5759e988-bd862e3fe1be46a994272793", "type": "subsegment",
                    "parent_id": "53995c3f42cd8ad9", "name": "own", "start_time": 1_700_000_000.000_001, "end_time": 1_700_000_000.000_003,
                    "aws": { "xray": { "sdk": "opentelemetry for python" } }, "metadata": { "default": { "step": "two" } } })
        );
        let mut root = span(1, &[]);
        root["parentSpanId"] = json!("");
        let root = one(&root);
        assert!(root.get("parent_id").is_none() && root.get("type").is_none(), "{root}");
    }

    #[test]
    fn what_is_called_has_xrays_names() {
        let check = |kind: u8, attributes: &[Value], namespace: &str, name: &str| {
            let document = one(&span(kind, attributes));
            assert_eq!(
                (&document["namespace"], &document["name"]),
                (&json!(namespace), &json!(name)),
                "{document}"
            );
            document
        };
        let api = |service: &str| {
            [
                attribute("rpc.system", "aws-api"),
                attribute("rpc.service", service),
                attribute("rpc.method", "Do"),
            ]
        };
        assert_eq!(check(CLIENT, &api("S3"), "aws", "S3")["aws"]["operation"], "Do");
        check(PRODUCER, &[attribute("messaging.system", "aws_sqs")], "aws", "SQS");
        check(PRODUCER, &[attribute("messaging.system", "rabbitmq")], "remote", "own");
        let tables = json!({ "key": "aws.dynamodb.table_names", "value": { "arrayValue": { "values": [{ "stringValue": "items" }] } } });
        let table = check(CLIENT, &[attribute("db.system", "dynamodb"), tables], "aws", "DynamoDB");
        assert_eq!(table["aws"]["table_name"], "items");
        let postgres = [
            attribute("db.system", "postgresql"),
            attribute("db.name", "shop"),
            attribute("server.address", "db"),
        ];
        assert_eq!(
            check(CLIENT, &postgres, "remote", "shop@db")["sql"],
            json!({ "database_type": "postgresql" })
        );
        let redis = check(
            CLIENT,
            &[attribute("db.system", "redis"), attribute("server.address", "cache")],
            "remote",
            "cache",
        );
        assert_eq!(redis.get("sql"), None);
        let status = json!({ "key": "http.response.status_code", "value": { "intValue": "429" } });
        let call = check(
            CLIENT,
            &[attribute("url.full", "https://example.org/a?b"), status],
            "remote",
            "example.org",
        );
        assert_eq!(
            call["http"],
            json!({ "request": { "url": "https://example.org/a?b" }, "response": { "status": 429 } })
        );
        assert_eq!(
            (&call["throttle"], &call["error"], call.get("fault")),
            (&json!(true), &json!(true), None)
        );
    }

    #[test]
    fn the_entry_of_a_function_names_its_request_and_nothing_else_does() {
        let entry = one(&span(SERVER, &[attribute("faas.invocation_id", "r-1")]));
        assert_eq!(request_of_entry(&entry), Some("r-1"));
        for other in [
            one(&span(1, &[attribute("faas.invocation_id", "r-1")])),
            one(&span(
                CLIENT,
                &[
                    attribute("rpc.system", "aws-api"),
                    attribute("rpc.service", "S3"),
                    attribute("aws.request_id", "r-1"),
                ],
            )),
            json!({ "aws": { "request_id": "r-1" } }),
        ] {
            assert_eq!(request_of_entry(&other), None, "{other}");
        }
    }

    #[test]
    fn failures_and_links_are_kept() {
        let mut failed = span(1, &[]);
        failed["status"] = json!({ "code": 2, "message": "no" });
        failed["links"] = json!([
            { "traceId": "5759e988bd862e3fe1be46a994272794", "spanId": "AAAAAAAAAAAAAAAA" },
            { "traceId": "0", "spanId": "aaaaaaaaaaaaaaaa" },
        ]);
        let document = one(&failed);
        assert_eq!(document["fault"], true);
        let link = json!([{ "trace_id": "1-5759e988-bd862e3fe1be46a994272794", "id": "aaaaaaaaaaaaaaaa", "attributes": {} }]);
        assert_eq!(document["links"], link);
    }

    #[test]
    fn a_span_that_cannot_be_read_takes_no_other_along() {
        let broken = |key: &str, value: Value| {
            let mut broken = span(1, &[]);
            broken[key] = value;
            broken
        };
        let found = documents(&[
            broken("traceId", json!("0".repeat(32))),
            broken("spanId", json!("xyz")),
            broken("startTimeUnixNano", json!("soon")),
            broken("endTimeUnixNano", json!("0")),
            json!(7),
            span(1, &[]),
        ]);
        let reasons =
            ["`traceId` is", "`spanId` is `xyz`", "`startTimeUnixNano`", "`endTimeUnixNano`", "invalid type"];
        for (document, reason) in found.iter().zip(reasons) {
            assert!(document.as_ref().is_err_and(|said| said.contains(reason)), "{document:?}");
        }
        assert!(found[5].is_ok());
        for text in [
            "",
            "[]",
            "{}",
            r#"{"resourceSpans": 1}"#,
            r#"{"resourceSpans": [{"scopeSpans": [{"spans": [{]}]}]}"#,
        ] {
            assert!(each(text, |_| panic!("nothing is there")).is_err(), "{text}");
        }
    }
}
