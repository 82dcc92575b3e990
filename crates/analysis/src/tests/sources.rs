//! The same traces written in the formats of three tracers, and what is particular to each.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::io::analyze::{analyze, analyze_gathered};
use crate::io::results::AnalysisSummary;
use crate::method::Method;
use crate::method::analyze_text;
use crate::path::breakdown::Activity::{
    self, Computation, ContainerInitialization, ExternalService, Orchestration, RuntimeInitialization,
    Trigger,
};
use crate::path::breakdown::Analysis;
use crate::read::otlp;
use crate::read::sort::Room;
use crate::read::source::Source;

/// What a service is, whichever tracer records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    Gateway,
    Workflow,
    Function,
    Queue,
    Database,
    /// Part of a service.
    Part,
}

/// Id, parent's id or nothing, name, service, start and end in milliseconds.
type ServiceSpan = (&'static str, &'static str, &'static str, Service, f64, f64);

/// An HTTP request to a function, which reads twice from a database.
const SYNCHRONOUS: [ServiceSpan; 5] = [
    ("a1", "", "api", Service::Gateway, 0.0, 100.0),
    ("a2", "a1", "hello", Service::Function, 20.0, 80.0),
    ("a3", "a2", "prepare", Service::Part, 22.0, 30.0),
    ("a4", "a2", "items", Service::Database, 30.25, 50.125),
    ("a5", "a2", "users", Service::Database, 55.0, 70.0),
];

/// A function puts a message into a queue, which starts a workflow, which calls a second function.
const ASYNCHRONOUS: [ServiceSpan; 6] = [
    ("b1", "", "api", Service::Gateway, 0.0, 50.0),
    ("b2", "b1", "upload", Service::Function, 10.0, 45.0),
    ("b3", "b2", "jobs", Service::Queue, 20.0, 38.0),
    ("b4", "b3", "process", Service::Workflow, 60.0, 200.0),
    ("b5", "b4", "resize", Service::Function, 80.0, 190.0),
    ("b6", "b5", "thumbnails", Service::Database, 100.0, 150.0),
];

/// Milliseconds after this one, in nanoseconds since the epoch.
const EPOCH: i128 = 1_650_059_932_000_000_000;

fn nanoseconds(milliseconds: f64) -> i128 {
    EPOCH + (milliseconds * 1e6) as i128
}

/// X-Ray has names for the parts of a function's own time; other parts of a function are unclassified there.
fn part_name(service: Service, name: &'static str) -> &'static str {
    if service == Service::Part && name != "Initialization" { "Invocation" } else { name }
}

fn xray(id: &str, spans: &[ServiceSpan]) -> String {
    let seconds = |milliseconds: f64| nanoseconds(milliseconds) as f64 / 1e9;
    let documents: Vec<Value> = spans
        .iter()
        .map(|&(id, parent, name, service, start, end)| {
            let origin = match service {
                Service::Gateway => Some("AWS::ApiGateway::Stage"),
                Service::Workflow => Some("AWS::StepFunctions::StateMachine"),
                Service::Function => Some("AWS::Lambda::Function"),
                Service::Queue => Some("AWS::SQS::Queue"),
                Service::Database => Some("AWS::DynamoDB::Table"),
                Service::Part => None,
            };
            let name = part_name(service, name);
            let parent = (!parent.is_empty()).then_some(parent);
            let document = json!({ "id": id, "parent_id": parent, "name": name, "origin": origin,
                                   "start_time": seconds(start), "end_time": seconds(end) });
            json!({ "Document": document.to_string() })
        })
        .collect();
    let end = spans.iter().map(|span| span.5).fold(0.0, f64::max);
    json!({ "Id": id, "Duration": end / 1e3, "Segments": documents }).to_string()
}

const COLUMNS: [&str; 12] = [
    "itemType",
    "id",
    "operation_ParentId",
    "operation_Id",
    "name",
    "timestamp",
    "duration",
    "success",
    "resultCode",
    "type",
    "cloud_RoleName",
    "customDimensions",
];

fn time(milliseconds: f64) -> String {
    jiff::Timestamp::from_nanosecond(nanoseconds(milliseconds)).unwrap().to_string()
}

fn insights_row(operation: &str, (id, parent, name, service, start, end): ServiceSpan) -> Value {
    let (item, kind) = match service {
        Service::Gateway | Service::Workflow | Service::Function => ("request", ""),
        Service::Queue => ("dependency", "Azure queue"),
        Service::Database => ("dependency", "Azure DocumentDB"),
        Service::Part => ("dependency", "InProc"),
    };
    let role = if service == Service::Gateway { "shop.azure-api.net West Europe" } else { "app" };
    let dimensions =
        if service == Service::Workflow { r#"{"durabletask.type":"orchestration"}"# } else { "{}" };
    let name = part_name(service, name);
    let parent = if parent.is_empty() { operation } else { parent };
    json!([
        item,
        id,
        parent,
        operation,
        name,
        time(start),
        end - start,
        "True",
        "200",
        kind,
        role,
        dimensions
    ])
}

fn insights_table(rows: &[Value]) -> Value {
    let columns: Vec<Value> = COLUMNS.iter().map(|name| json!({ "name": name, "type": "string" })).collect();
    json!({ "name": "PrimaryResult", "columns": columns, "rows": rows })
}

fn app_insights(id: &str, spans: &[ServiceSpan]) -> String {
    let rows: Vec<Value> = spans.iter().map(|&span| insights_row(id, span)).collect();
    json!({ "tables": [insights_table(&rows)] }).to_string()
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn otlp_span(trace: &str, (id, parent, name, service, start, end): ServiceSpan) -> Value {
    let (kind, attributes) = match service {
        Service::Gateway => {
            (2, vec![attribute("cloud.resource_id", "arn:aws:apigateway:eu-west-1::/restapis/shop")])
        }
        Service::Workflow => {
            (5, vec![attribute("cloud.resource_id", "arn:aws:states:eu-west-1:1:stateMachine:process")])
        }
        Service::Function => (2, vec![attribute("faas.trigger", "http")]),
        Service::Queue => (4, vec![attribute("messaging.system", "aws_sqs")]),
        Service::Database => (3, vec![attribute("db.system.name", "postgresql")]),
        Service::Part => (1, vec![]),
    };
    let name = part_name(service, name);
    json!({ "traceId": trace, "spanId": id, "parentSpanId": parent, "name": name, "kind": kind,
            "startTimeUnixNano": nanoseconds(start).to_string(), "endTimeUnixNano": nanoseconds(end).to_string(),
            "attributes": attributes, "status": {} })
}

fn otlp_document(spans: &[Value]) -> String {
    json!({ "resourceSpans": [{ "resource": { "attributes": [attribute("service.name", "shop")] },
                                "scopeSpans": [{ "scope": { "name": "test" }, "spans": spans }] }] })
    .to_string()
}

fn otlp(id: &str, spans: &[ServiceSpan]) -> String {
    otlp_document(&spans.iter().map(|&span| otlp_span(id, span)).collect::<Vec<_>>())
}

#[track_caller]
fn explain(text: &str) -> Analysis {
    match analyze_text(text) {
        Ok(analysis) => analysis,
        Err(rejected) => panic!("{}\n{text}", rejected.reason.message()),
    }
}

#[track_caller]
fn check_invalid(text: &str, code: &str) {
    let reason = analyze_text(text).unwrap_err().reason;
    assert_eq!(reason.code(), code, "{}", reason.message());
}

/// Milliseconds of the activities that got any.
fn parts(analysis: &Analysis) -> BTreeMap<Activity, f64> {
    let parts = analysis.row.parts.iter();
    parts
        .filter_map(|(activity, part)| Some((activity, part.filter(|&part| part != 0)? as f64 / 1e3)))
        .collect()
}

/// All three tracers give this path and these parts, in milliseconds.
#[track_caller]
fn check_all(spans: &[ServiceSpan], path: &[&str], cold_starts: u64, expected: &[(Activity, f64)]) {
    let id = "4bf92f3577b34da6a3ce929d0e0e4736";
    for text in [xray(id, spans), app_insights(id, spans), otlp(id, spans)] {
        let analysis = explain(&text);
        assert_eq!(analysis.row.trace_id, id);
        assert_eq!(analysis.row.longest_path_names, path, "{text}");
        assert_eq!(parts(&analysis), expected.iter().copied().collect(), "{text}");
        assert_eq!((analysis.row.errors, analysis.row.num_cold_starts), (0, cold_starts));
    }
}

#[test]
fn three_tracers_agree_on_a_synchronous_trace() {
    check_all(
        &SYNCHRONOUS,
        &["api", "hello", "Invocation", "items", "users"],
        0,
        &[
            (Orchestration, 20.0 + 20.0),
            (Computation, 2.0 + 8.0 + 0.25 + 4.875 + 10.0),
            (ExternalService, 19.875 + 15.0),
        ],
    );
}

#[test]
fn three_tracers_agree_on_an_asynchronous_trace() {
    check_all(
        &ASYNCHRONOUS,
        &["api", "upload", "jobs", "process", "resize", "thumbnails"],
        0,
        &[
            (Orchestration, 10.0 + 20.0 + 10.0),
            (Computation, 10.0 + 20.0 + 40.0),
            (ExternalService, 18.0 + 50.0),
            (Trigger, 22.0),
        ],
    );
}

#[test]
fn three_tracers_agree_on_a_cold_start_where_all_record_the_initialization() {
    let spans = [
        ("d1", "", "api", Service::Gateway, 0.0, 100.0),
        ("d2", "d1", "hello", Service::Function, 60.0, 90.0),
        ("d3", "d2", "Initialization", Service::Part, 30.0, 55.0),
        ("d4", "d2", "items", Service::Database, 65.0, 80.0),
    ];
    check_all(
        &spans,
        &["api", "hello", "Initialization", "items"],
        1,
        &[
            (ContainerInitialization, 30.0),
            (RuntimeInitialization, 25.0),
            (Orchestration, 5.0 + 10.0),
            (Computation, 5.0 + 10.0),
            (ExternalService, 15.0),
        ],
    );
}

/// A function that a queue triggers without a service around it that is traced, too.
const QUEUE: [ServiceSpan; 4] = [
    ("c1", "", "upload", Service::Function, 0.0, 50.0),
    ("c2", "c1", "jobs", Service::Queue, 20.0, 38.0),
    ("c3", "c2", "resize", Service::Function, 60.0, 200.0),
    ("c4", "c3", "thumbnails", Service::Database, 100.0, 150.0),
];

#[test]
fn a_function_may_be_asynchronous_where_no_service_is_traced_around_it() {
    for text in [app_insights("op", &QUEUE), otlp("0af7", &QUEUE)] {
        let analysis = explain(&text);
        assert_eq!(analysis.row.longest_path_names, ["upload", "jobs", "resize", "thumbnails"]);
        let expected = [(Computation, 20.0 + 40.0 + 50.0), (ExternalService, 18.0 + 50.0), (Trigger, 22.0)];
        assert_eq!(parts(&analysis), expected.into_iter().collect(), "{text}");
    }
    // X-Ray traces the service: there, the end of a function never counts, and it holds its caller up.
    let analysis = explain(&xray("1-a", &QUEUE));
    assert_eq!(parts(&analysis), [(Computation, 110.0), (ExternalService, 90.0)].into_iter().collect());
}

#[test]
fn a_trace_may_end_with_a_function_that_has_no_parts() {
    for count in [1, 3] {
        let spans = &QUEUE[..count];
        for text in [app_insights("op", spans), otlp("0af7", spans)] {
            let analysis = explain(&text);
            assert_eq!(analysis.row.longest_path_names, ["upload", "jobs", "resize"][..count]);
            assert_eq!(analysis.row.parts.sum(), analysis.row.duration);
            let computation = if count == 1 { 50.0 } else { 20.0 + 140.0 };
            assert_eq!(parts(&analysis).get(&Computation), Some(&computation));
        }
    }
}

#[test]
fn an_initialization_after_a_queue_comes_after_the_trigger() {
    let spans =
        [QUEUE[0], QUEUE[1], QUEUE[2], QUEUE[3], ("c5", "c3", "Initialization", Service::Part, 52.0, 58.0)];
    // Only OpenTelemetry has names of its own for parts here.
    let text = otlp("0af7", &spans).replace("\"Invocation\"", "\"Initialization\"");
    let analysis = explain(&text);
    assert_eq!(analysis.row.num_cold_starts, 1);
    let expected = [
        (Computation, 20.0 + 40.0 + 50.0),
        (ExternalService, 18.0 + 50.0),
        (Trigger, 14.0 + 2.0),
        (RuntimeInitialization, 6.0),
    ];
    assert_eq!(parts(&analysis), expected.into_iter().collect());
}

#[test]
fn a_cold_start_that_is_only_flagged_is_container_initialization() {
    let flagged = json!({ "key": "faas.coldstart", "value": { "boolValue": true } });
    let flag = |spans: &[ServiceSpan], place: usize| {
        let mut values: Vec<Value> = spans.iter().map(|&span| otlp_span("0af7", span)).collect();
        values[place]["attributes"].as_array_mut().unwrap().push(flagged.clone());
        explain(&otlp_document(&values))
    };
    let synchronous = flag(&SYNCHRONOUS, 1);
    assert_eq!(synchronous.row.num_cold_starts, 1);
    let expected = [
        (ContainerInitialization, 20.0),
        (Orchestration, 20.0),
        (Computation, 25.125),
        (ExternalService, 34.875),
    ];
    assert_eq!(parts(&synchronous), expected.into_iter().collect());
    // After a queue it cannot be distinguished from waiting.
    let asynchronous = flag(&QUEUE, 2);
    assert_eq!(asynchronous.row.num_cold_starts, 1);
    assert_eq!(parts(&asynchronous).get(&Trigger), Some(&22.0));
    // Nothing is known before the root.
    assert_eq!(flag(&QUEUE, 0).row.num_cold_starts, 1);
}

#[test]
fn a_row_that_mentions_a_cold_start_makes_its_request_cold() {
    for (parent, dimensions, expected) in [
        ("a2", json!(r#"{"EventName":"ColdStart"}"#), 1),
        ("", json!({ "ColdStart": "true" }), 1),
        ("", json!({ "ColdStart": "False" }), 0),
        ("", json!("{}"), 0),
    ] {
        let mut rows: Vec<Value> = SYNCHRONOUS.iter().map(|&span| insights_row("op", span)).collect();
        rows.push(json!([
            "trace",
            null,
            parent,
            "op",
            null,
            time(21.0),
            null,
            null,
            null,
            null,
            "app",
            dimensions
        ]));
        let analysis = explain(&json!({ "tables": [insights_table(&rows)] }).to_string());
        assert_eq!(analysis.row.num_cold_starts, expected, "{dimensions}");
        let container = parts(&analysis).get(&ContainerInitialization).copied();
        assert_eq!(container, (expected == 1).then_some(20.0), "{dimensions}");
    }
}

#[test]
fn rows_may_come_in_tables_of_their_own() {
    let one = explain(&app_insights("op", &SYNCHRONOUS));
    let of_type = |wanted: &str, name: &str| {
        let rows = SYNCHRONOUS.iter().map(|&span| insights_row("op", span));
        let rows: Vec<Value> = rows.filter(|row| row[0] == wanted).collect();
        let mut table = insights_table(&rows);
        table["name"] = json!(name);
        // Without the column that gives the type.
        table["columns"][0]["name"] = json!("unused");
        table
    };
    let tables = [of_type("dependency", "dependencies"), of_type("request", "requests")];
    assert_eq!(explain(&json!({ "tables": tables }).to_string()), one);
}

#[test]
fn services_without_functions_are_known_by_their_names() {
    let mut spans: Vec<Value> = SYNCHRONOUS.iter().map(|&span| otlp_span("0af7", span)).collect();
    spans[0]["attributes"] = json!([]);
    spans[1]["attributes"] = json!([]);
    let text = otlp_document(&spans);
    let analysis = explain(&text);
    assert_eq!(analysis.row.services[..2], ["OTel::Service::shop", "OTel::Service::shop"]);
    let expected = [(Computation, 65.125), (ExternalService, 34.875)];
    assert_eq!(parts(&analysis), expected.into_iter().collect());
    let rules = "[origins]\n\"OTel::Service::shop\" = \"orchestration\"";
    let activities = Method::default().activities.extended(rules, "test").unwrap();
    let analysis = Method { activities, ..Method::default() }.analyze_text(&text).unwrap();
    assert_eq!(parts(&analysis).get(&Orchestration), Some(&65.125));
    // The resource of a platform for functions makes its receivers functions.
    let on_lambda = text.replace(
        r#"{"key":"service.name","#,
        r#"{"key":"cloud.platform","value":{"stringValue":"aws_lambda"}},{"key":"service.name","#,
    );
    assert_eq!(explain(&on_lambda).row.services[0], "OTel::Function");
}

#[test]
fn a_trigger_that_carries_no_context_connects_two_operations() {
    let invoker: [ServiceSpan; 2] = [
        ("t1", "", "upload", Service::Function, 0.0, 50.0),
        // Its timestamp is its end.
        ("t2", "t1", "queue_trigger", Service::Queue, 38.0, 56.0),
    ];
    let receiver: [ServiceSpan; 2] = [
        ("t3", "", "QueueTrigger", Service::Function, 60.0, 200.0),
        ("t4", "t3", "thumbnails", Service::Database, 100.0, 150.0),
    ];
    let mut rows: Vec<Value> = invoker.iter().map(|&span| insights_row("root", span)).collect();
    let other: Vec<Value> = receiver.iter().map(|&span| insights_row("child", span)).collect();
    let attrs = json!({ "rootTraceId": "root", "traceId": "child" });
    let text =
        json!({ "attrs": attrs, "tables": [insights_table(&rows), insights_table(&other)] }).to_string();
    let analysis = explain(&text);
    assert_eq!(analysis.row.trace_id, "root");
    assert_eq!(analysis.row.longest_path_names, ["upload", "queue_trigger", "QueueTrigger", "thumbnails"]);
    let expected = [(Computation, 20.0 + 40.0 + 50.0), (ExternalService, 18.0 + 50.0), (Trigger, 22.0)];
    assert_eq!(parts(&analysis), expected.into_iter().collect());
    // With two such calls it is not known which one it was.
    rows.push(insights_row("root", ("t9", "t1", "blob_trigger", Service::Queue, 20.0, 21.0)));
    let text =
        json!({ "attrs": attrs, "tables": [insights_table(&rows), insights_table(&other)] }).to_string();
    assert!(analyze_text(&text).is_err());
}

#[test]
fn calls_of_what_is_traced_are_orchestration_and_others_external() {
    let trace = [
        ("r", "", "app", 1, vec![attribute("faas.trigger", "http")], 0.0, 100.0),
        ("c", "r", "GET", 3, vec![], 10.0, 50.0),
        ("s", "c", "GET /inner", 2, vec![], 20.0, 40.0),
        ("d", "r", "GET", 3, vec![], 60.0, 90.0),
    ];
    let spans: Vec<Value> = trace
        .into_iter()
        .map(|(id, parent, name, kind, attributes, start, end)| {
            let mut value = otlp_span("0af7", ("", "", "", Service::Part, start, end));
            value["spanId"] = json!(id);
            value["parentSpanId"] = json!(parent);
            value["name"] = json!(name);
            value["kind"] = json!(kind);
            value["attributes"] = json!(attributes);
            value
        })
        .collect();
    let analysis = explain(&otlp_document(&spans));
    let expected = [(Orchestration, 20.0), (Computation, 10.0 + 20.0 + 20.0), (ExternalService, 30.0)];
    assert_eq!(parts(&analysis), [expected[0], (Computation, 50.0), expected[2]].into_iter().collect());

    let mut rows: Vec<Value> = [
        ("r", "", "app", Service::Function, 0.0, 100.0),
        ("c", "r", "GET", Service::Database, 10.0, 50.0),
        ("s", "c", "inner", Service::Function, 20.0, 40.0),
        ("d", "r", "GET", Service::Database, 60.0, 90.0),
    ]
    .into_iter()
    .map(|span| insights_row("op", span))
    .collect();
    for place in [1, 3] {
        rows[place][9] = json!("Http");
    }
    let analysis = explain(&json!({ "tables": [insights_table(&rows)] }).to_string());
    assert_eq!(parts(&analysis), expected.into_iter().collect());
    assert_eq!(
        analysis.row.services,
        ["Azure::Functions::Function", "Azure::Invocation", "Azure::Functions::Function", "Azure::Http"]
    );
}

#[test]
fn a_caller_that_sent_no_spans_is_no_part_of_the_trace() {
    for text in [app_insights("op", &SYNCHRONOUS), otlp("0af7", &SYNCHRONOUS)] {
        let called = text
            .replace(r#""request","a1","op""#, r#""request","a1","k6""#)
            .replace(r#""parentSpanId":"","#, r#""parentSpanId":"b7ad","#);
        assert_ne!(called, text);
        assert_eq!(explain(&called), explain(&text));
        // Two spans with a missing parent: something was lost.
        let lost = called
            .replace(r#""dependency","a4","a2""#, r#""dependency","a4","gone""#)
            .replace(r#""spanId":"a4","parentSpanId":"a2""#, r#""spanId":"a4","parentSpanId":"dead""#);
        assert_ne!(lost, called);
        check_invalid(&lost, "missing_parent");
    }
}

#[test]
fn failures_are_errors_throttles_and_faults() {
    for (code, flags) in [(200, (0, 0, 0)), (404, (1, 0, 0)), (429, (1, 1, 0)), (503, (0, 0, 1))] {
        let mut rows: Vec<Value> = SYNCHRONOUS.iter().map(|&span| insights_row("op", span)).collect();
        rows[3][7] = json!(code < 400);
        rows[3][8] = json!(code);
        let insights = explain(&json!({ "tables": [insights_table(&rows)] }).to_string()).row;
        let mut spans: Vec<Value> = SYNCHRONOUS.iter().map(|&span| otlp_span("0af7", span)).collect();
        let status = json!({ "key": "http.response.status_code", "value": { "intValue": code.to_string() } });
        spans[3]["attributes"].as_array_mut().unwrap().push(status);
        let otlp = explain(&otlp_document(&spans)).row;
        for row in [insights, otlp] {
            assert_eq!((row.errors, row.throttles, row.faults), flags, "{code}");
        }
    }
    let mut spans: Vec<Value> = SYNCHRONOUS.iter().map(|&span| otlp_span("0af7", span)).collect();
    spans[3]["status"] = json!({ "code": "STATUS_CODE_ERROR" });
    assert_eq!(explain(&otlp_document(&spans)).row.faults, 1);
}

fn run(text: &str) -> (Vec<String>, Vec<String>, AnalysisSummary) {
    let (mut breakdown, mut invalid) = (Vec::new(), Vec::new());
    let summary =
        analyze(std::io::Cursor::new(text.to_owned().into_bytes()), &mut breakdown, &mut invalid, &|_| {})
            .unwrap();
    let lines = |bytes| String::from_utf8(bytes).unwrap().lines().skip(1).map(str::to_owned).collect();
    (lines(breakdown), lines(invalid), summary)
}

#[test]
fn spans_are_grouped_by_trace_over_all_documents() {
    let (first, second) = ("0af1", "0AF2");
    let whole = format!("{}\n{}\n", otlp(first, &SYNCHRONOUS), otlp(second, &ASYNCHRONOUS));
    let mut documents = Vec::new();
    for (place, &span) in ASYNCHRONOUS.iter().enumerate() {
        let mut spans = vec![otlp_span(second, span)];
        if let Some(&span) = SYNCHRONOUS.get(place) {
            spans.insert(0, otlp_span(first, span));
        }
        documents.push(otlp_document(&spans));
    }
    let (expected, _, summary) = run(&whole);
    assert_eq!((summary.valid, summary.invalid), (2, 0));
    assert!(expected[1].starts_with("0af2,"), "{}", expected[1]);
    assert_eq!(run(&documents.join("\n")).0, expected);
    let pretty: Vec<String> = documents
        .iter()
        .map(|text| serde_json::to_string_pretty(&serde_json::from_str::<Value>(text).unwrap()).unwrap())
        .collect();
    assert_eq!(run(&pretty.join("\n")).0, expected);
}

#[test]
fn what_is_wrong_with_a_span_touches_its_own_trace_only() {
    let mut spans: Vec<Value> = SYNCHRONOUS.iter().map(|&span| otlp_span("0af1", span)).collect();
    for (key, value, code) in [
        ("startTimeUnixNano", json!("soon"), "malformed"),
        ("startTimeUnixNano", json!("99999999999999999999"), "ends_before_start"),
        ("startTimeUnixNano", json!("999999999999999999999"), "time_out_of_range"),
        ("endTimeUnixNano", json!("0"), "in_progress"),
        ("name", json!(7), "malformed"),
        ("spanId", Value::Null, "malformed"),
    ] {
        let good = spans[4][key].clone();
        spans[4][key] = value;
        let both: Vec<Value> =
            spans.iter().cloned().chain(SYNCHRONOUS.iter().map(|&span| otlp_span("0af2", span))).collect();
        let text = format!("{}\n{{\"resourceSpans\":7}}\n{{\"resou\n", otlp_document(&both));
        let (breakdown, invalid, summary) = run(&text);
        assert_eq!((summary.valid, summary.invalid), (1, 3), "{key}");
        assert!(breakdown[0].starts_with("0af2,"));
        assert!(invalid[0].replace('"', "").starts_with(&format!("0af1,{code}: ")), "{key}: {}", invalid[0]);
        assert!(invalid[1].contains("document 2 of the file"), "{}", invalid[1]);
        assert!(invalid[2].contains("document 3 of the file"), "{}", invalid[2]);
        spans[4][key] = good;
    }
}

#[test]
fn a_link_makes_two_traces_one() {
    let one = explain(&otlp("0af1", &QUEUE));
    let mut spans: Vec<Value> = QUEUE[..2].iter().map(|&span| otlp_span("0af1", span)).collect();
    let mut consumer = otlp_span("0af2", QUEUE[2]);
    consumer["parentSpanId"] = json!("");
    consumer["links"] = json!([{ "traceId": "0AF1", "spanId": "C2" }]);
    let last = otlp_span("0af2", QUEUE[3]);
    spans.extend([consumer.clone(), last.clone()]);
    assert_eq!(explain(&otlp_document(&spans)), one);
    spans.reverse();
    assert_eq!(explain(&otlp_document(&spans)).row.parts, one.row.parts);
    // A batch of messages belongs to no single trace.
    consumer["links"] = json!([{ "traceId": "0af1", "spanId": "c2" }, { "traceId": "0af1", "spanId": "c1" }]);
    let apart = [otlp_span("0af1", QUEUE[0]), otlp_span("0af1", QUEUE[1]), consumer.clone(), last.clone()];
    assert_eq!(otlp::read(&otlp_document(&apart)).len(), 2);
    check_invalid(&otlp_document(&apart), "malformed");
    // A cause starts before its effect: other links do not count.
    consumer["links"] = json!([{ "traceId": "0af1", "spanId": "c1" }]);
    let mut root = otlp_span("0af1", QUEUE[0]);
    root["links"] = json!([{ "traceId": "0af2", "spanId": "c4" }]);
    let circle = explain(&otlp_document(&[last.clone(), root, otlp_span("0af1", QUEUE[1]), consumer]));
    assert_eq!((&*circle.row.trace_id, &*circle.row.longest_path_names[0]), ("0af1", "upload"));
    // Within one trace: the span that has no parent hangs on what it links to.
    let mut within: Vec<Value> = QUEUE.iter().map(|&span| otlp_span("0af1", span)).collect();
    within[2]["parentSpanId"] = json!("");
    within[2]["links"] = json!([{ "traceId": "0af1", "spanId": "c2" }]);
    assert_eq!(explain(&otlp_document(&within)), one);
}

#[test]
fn a_damaged_result_of_a_query_is_invalid_alone() {
    let good = app_insights("op", &SYNCHRONOUS);
    for (from, to) in [
        ("\"rows\":", "\"lines\":"),
        ("\"columns\":", "\"header\":"),
        ("\"tables\":[", "\"tables\":[7,"),
        ("2022-04-15", "someday"),
        (",60.0,", ",\"long\","),
        ("\"tables\"", "\"error\":{},\"tables\""),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        let (breakdown, invalid, summary) = run(&format!("{good}\n{bad}\n{good}\n"));
        assert_eq!((summary.valid, summary.invalid), (2, 1), "{to}");
        assert_eq!(breakdown[0], breakdown[1]);
        assert!(invalid[0].contains("malformed: "), "{}", invalid[0]);
    }
    check_invalid(&json!({ "tables": [insights_table(&[])] }).to_string(), "malformed");
}

/// Rows and reasons of an OpenTelemetry export, analysed with these limits.
fn run_gathered(text: &str, limits: (usize, usize, usize), bytes: usize) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    let room = Room::spilling_into(folder.path(), bytes);
    let (mut breakdown, mut invalid) = (Vec::new(), Vec::new());
    analyze_gathered(limits, room, text.as_bytes().to_vec(), &mut breakdown, &mut invalid).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "files are left");
    (String::from_utf8(breakdown).unwrap(), String::from_utf8(invalid).unwrap())
}

/// Traces that hang on each other by links: the consumer of `traces[place]` links to the producer of `traces[to]`, one
/// level deeper each. The spans of all of them.
fn linked(links: &[Option<usize>]) -> Vec<Value> {
    let id = |place: usize| format!("{:04x}", (place * 40_503) % 65_536);
    let spans = links.iter().enumerate().flat_map(|(place, link)| {
        let at = place as f64;
        let mut consumer = otlp_span(&id(place), ("c1", "", "work", Service::Function, at, at + 0.6));
        if let Some(to) = link {
            consumer["links"] = json!([{ "traceId": id(*to), "spanId": format!("c2{to:04x}") }]);
        }
        let mut producer = otlp_span(&id(place), ("c2", "", "send", Service::Queue, at + 0.1, at + 0.3));
        (consumer["spanId"], producer["spanId"]) =
            (json!(format!("c1{place:04x}")), json!(format!("c2{place:04x}")));
        (consumer["kind"], producer["parentSpanId"]) = (json!(5), consumer["spanId"].clone());
        [consumer, producer]
    });
    spans.collect()
}

#[test]
fn a_chain_of_links_is_one_trace_of_its_first_one_and_a_circle_stays_apart() {
    let ids = |links: &[Option<usize>]| {
        let (rows, invalid) = run_gathered(&otlp_document(&linked(links)), (1 << 20, 1 << 20, 2), 1 << 24);
        assert_eq!(invalid.lines().count(), 1, "{invalid}");
        let rows = rows.lines().skip(1);
        rows.map(|row| row.split(',').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let chain: Vec<_> = (0..100_usize).map(|place| place.checked_sub(1)).collect();
    assert_eq!(ids(&chain), ["0000"]);
    assert_eq!(ids(&[None, Some(0), Some(0), None]).len(), 2);
    assert_eq!(ids(&[Some(1), Some(0)]).len(), 2);
    assert_eq!(ids(&[Some(0)]).len(), 1);
    // A cause does not come after its effect.
    let late: Vec<_> = (0..12_usize).map(|place| (place == 0).then_some(11)).collect();
    assert_eq!(ids(&late).len(), 12);
}

#[test]
fn a_document_that_is_longer_than_a_trace_may_be_is_read_piece_by_piece() {
    let spans: Vec<Value> = (0..40)
        .flat_map(|trace| SYNCHRONOUS.iter().map(move |&span| otlp_span(&format!("0a{trace:02}"), span)))
        .collect();
    let (long, short) = (otlp_document(&spans), otlp("0b00", &SYNCHRONOUS));
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<Value>(&long).unwrap()).unwrap();
    let late = long.replacen("{\"resourceSpans\":[{", "{\"resourceSpans\":[{\"schemaUrl\":\"\",", 1);
    for (text, valid) in [
        (format!("{long}\n{short}\n"), 41),
        (format!("{short}\n{late}\n{long}"), 41),
        (format!("{pretty}\n{pretty}\n{short}\n"), 41),
        (format!("{pretty}{long}\n"), 40),
        // What is damaged anywhere gives no spans at all.
        (format!("{}\n{short}\n", &long[..long.len() - 2]), 1),
        (format!("{}\n{short}\n", &pretty[..pretty.len() - 3]), 1),
        (format!("{short}\n{}\u{1}\"\n{short}", &long[..5_000]), 1),
    ] {
        let expected = run_gathered(&text, (1 << 20, 1 << 24, 1), 1 << 24);
        assert_eq!(expected.0.lines().count(), valid + 1, "{}", expected.1);
        for limits in [(300, 3_000, 1), (64, 3_000, 2), (3_000, 3_000, 3)] {
            let found = run_gathered(&text, limits, 2_000);
            assert_eq!(found.0, expected.0);
            let has_lost = |(_, invalid): &(String, String)| invalid.lines().count() > 1;
            assert_eq!(has_lost(&found), has_lost(&expected), "{}", found.1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn gathering_depends_neither_on_room_nor_on_jobs_nor_on_the_order_of_spans(
        (spans, order) in proptest::collection::vec(proptest::option::of(0..12_usize), 1..12)
            .prop_map(|links| {
                let count = links.len();
                linked(&links.into_iter().map(|link| link.filter(|to| *to < count)).collect::<Vec<_>>())
            })
            .prop_flat_map(|spans| (Just(spans.clone()), Just(spans).prop_shuffle())),
        (bytes, chunk, jobs, each) in (0..3_000_usize, 1..2_000_usize, 1..4_usize, 1..5_usize),
    ) {
        let document = |spans: &[Value]| otlp_document(spans);
        let expected = run_gathered(&document(&spans), (1 << 20, 1 << 24, 1), usize::MAX);
        let spread: Vec<String> = order.chunks(each).map(document).collect();
        let limits = (chunk.min(3_000), 3_000, jobs);
        prop_assert_eq!(run_gathered(&spread.join("\n"), limits, bytes), expected);
    }

    #[test]
    fn the_order_of_spans_does_not_matter(
        (spans, order) in prop_oneof![
            Just(SYNCHRONOUS.to_vec()), Just(ASYNCHRONOUS.to_vec()), Just(QUEUE.to_vec()),
        ].prop_flat_map(|spans| (Just(spans.clone()), Just(spans).prop_shuffle())),
    ) {
        for write in [xray, app_insights, otlp] {
            let (expected, found) = (
                analyze_text(&write("0af7", &spans)),
                analyze_text(&write("0af7", &order)),
            );
            match (expected, found) {
                (Ok(expected), Ok(found)) => {
                    let sorted = |row: &crate::row::BreakdownRow| {
                        let mut row = row.clone();
                        // X-Ray's come in the order of the file.
                        row.services.sort();
                        row
                    };
                    prop_assert_eq!(sorted(&expected.row), sorted(&found.row));
                    let times = |analysis: &Analysis| -> Vec<_> {
                        analysis.pieces.iter().map(|piece| (piece.start, piece.end, piece.activity)).collect()
                    };
                    prop_assert_eq!(times(&expected), times(&found));
                }
                (expected, found) => prop_assert_eq!(expected.map(|_| ()), found.map(|_| ())),
            }
        }
    }

    #[test]
    fn damage_to_one_document_is_only_its_own(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        which in 0..2_usize,
    ) {
        let write = if which == 0 { app_insights } else { otlp };
        let (damaged, good) = (write("0af7", &QUEUE), write("cccc", &SYNCHRONOUS));
        let mut bytes = damaged.into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        bytes.push(b'\n');
        bytes.extend_from_slice(good.as_bytes());
        for source in [Source::AppInsights, Source::Otlp] {
            let method = Method { source, ..Method::default() };
            let (mut breakdown, mut invalid) = (Vec::new(), Vec::new());
            let input = std::io::Cursor::new(bytes.clone());
            let summary = crate::io::analyze::analyze_by(&method, input, &mut breakdown, &mut invalid, &|_| {});
            let is_its_own = (source == Source::Otlp) == (which == 1);
            prop_assert_eq!(summary.is_ok(), is_its_own);
            let is_found = String::from_utf8(breakdown).unwrap().contains("\ncccc,");
            // A line break in place of a bracket looks like a document spread over lines: what follows may be a part of it, so it
            // is not taken for a trace, and that is said.
            let is_lost = byte == b'\n' && String::from_utf8(invalid).unwrap().lines().count() > 1;
            prop_assert!(is_found == is_its_own || (is_its_own && is_lost));
        }
    }
}

/// A line break at any place of a document: the next one is found, or the lost ones are said.
#[test]
fn a_line_break_anywhere_loses_nothing_in_silence() {
    for (source, write) in
        [(Source::AppInsights, app_insights as fn(&str, &[_]) -> String), (Source::Otlp, otlp)]
    {
        let (damaged, good) = (write("0af7", &QUEUE), write("cccc", &SYNCHRONOUS));
        for place in (0..damaged.len()).filter(|&place| damaged.is_char_boundary(place)) {
            let text = format!("{}\n{}\n{good}", &damaged[..place], &damaged[place + 1..]);
            let method = Method { source, ..Method::default() };
            let (mut breakdown, mut invalid) = (Vec::new(), Vec::new());
            let input = std::io::Cursor::new(text);
            crate::io::analyze::analyze_by(&method, input, &mut breakdown, &mut invalid, &|_| {}).unwrap();
            let is_found = String::from_utf8(breakdown).unwrap().contains("\ncccc,");
            let is_said = String::from_utf8(invalid).unwrap().lines().count() > 1;
            assert!(is_found || is_said, "a line break at {place} of {source:?}");
        }
    }
}
