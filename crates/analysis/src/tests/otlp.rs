//! What OpenTelemetry exports say beyond single spans: who waits for whom, ids that are shared or sent twice, parents that no
//! export has.

use serde_json::{Value, json};

use crate::method::Method;
use crate::path::breakdown::Activity;
use crate::read::otlp;
use crate::row::BreakdownRow;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Trace, id, id of the parent or nothing, name, kind, start and end in microseconds.
type ExportSpan = (&'static str, &'static str, &'static str, &'static str, u8, i64, i64);

fn span((trace, id, parent, name, kind, start, end): ExportSpan) -> Value {
    let time = |microseconds: i64| (1_700_000_000_000_000_000 + microseconds * 1_000).to_string();
    json!({ "traceId": trace, "spanId": id, "parentSpanId": parent, "name": name, "kind": kind,
            "startTimeUnixNano": time(start), "endTimeUnixNano": time(end) })
}

fn document(spans: &[Value]) -> String {
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] }).to_string()
}

/// A row of each trace, in the order of the ids; of an invalid one the code.
fn rows(text: &str) -> Vec<Result<BreakdownRow, &'static str>> {
    let explain = |recorded| Method::default().explain(recorded);
    otlp::read(text)
        .into_iter()
        .map(|trace| {
            trace.and_then(explain).map(|analysis| analysis.row).map_err(|invalid| invalid.reason.code())
        })
        .collect()
}

#[track_caller]
fn row(spans: &[Value]) -> BreakdownRow {
    let mut found = rows(&document(spans));
    assert_eq!(found.len(), 1);
    found.remove(0).unwrap()
}

#[test]
fn a_consumer_never_holds_its_producer_up() {
    let spans =
        [(TRACE, "1", "", "publish", 4, 0, 300_000), (TRACE, "2", "1", "consume", 5, 100_000, 200_000)];
    let row = row(&spans.map(span));
    assert_eq!(row.longest_path_names, ["publish"]);
    assert_eq!(row.part(Activity::ExternalService), Some(300_000));
}

#[test]
fn a_trace_of_microseconds_is_read_as_one_that_is_slower() {
    for factor in [1, 10, 1_000] {
        let spans = [
            (TRACE, "1", "", "GET /", 2, 0, 280 * factor),
            (TRACE, "2", "1", "send", 4, 130 * factor, 132 * factor),
            (TRACE, "3", "2", "receive", 5, 290 * factor, 292 * factor),
            (TRACE, "4", "3", "handle", 1, 297 * factor, 330 * factor),
        ];
        let row = row(&spans.map(span));
        assert_eq!(row.longest_path_names, ["GET /", "send", "receive", "handle"], "{factor}");
        assert_eq!(row.part(Activity::Trigger), Some((290 - 132 + 297 - 292) * factor), "{factor}");
    }
}

#[test]
fn a_server_whose_clock_differs_from_its_clients_holds_it_up() {
    let spans = [
        (TRACE, "1", "", "web", 2, 0, 10_001),
        (TRACE, "2", "1", "GET", 3, 1_001, 8_001),
        (TRACE, "3", "2", "stock", 2, 1_501, 8_301),
    ];
    assert_eq!(row(&spans.map(span)).longest_path_names, ["web", "GET", "stock"]);
}

#[test]
fn a_client_and_a_server_may_share_an_id() {
    let spans = [
        (TRACE, "1", "", "web", 2, 0, 100_000),
        (TRACE, "2", "1", "call", 3, 10_000, 90_000),
        (TRACE, "2", "1", "stock", 2, 20_000, 80_000),
        (TRACE, "3", "2", "query", 3, 30_000, 70_000),
    ];
    for spans in [spans, [spans[2], spans[3], spans[1], spans[0]]] {
        assert_eq!(row(&spans.map(span)).longest_path_names, ["web", "call", "stock", "query"]);
    }
}

#[test]
fn a_span_whose_caller_is_unknown_may_be_sent_twice() {
    let spans = [(TRACE, "1", "99", "web", 2, 0, 100_000), (TRACE, "2", "1", "call", 3, 10_000, 90_000)];
    let text = document(&spans.map(span));
    assert_eq!(rows(&format!("{text}\n{text}")), rows(&text));
    assert!(rows(&text)[0].is_ok());
}

#[test]
fn a_link_counts_where_the_parent_was_not_exported() {
    let other = "1bf7651916cd43dd8448eb211c803111";
    let mut consumer = span((other, "3", "77", "process", 5, 500_000, 700_000));
    consumer["links"] = json!([{ "traceId": TRACE, "spanId": "2" }]);
    let spans = [(TRACE, "1", "", "web", 2, 0, 100_000), (TRACE, "2", "1", "send", 4, 40_000, 60_000)];
    let mut spans: Vec<Value> = spans.into_iter().map(span).collect();
    spans.push(consumer);
    let joined = row(&spans);
    assert_eq!((joined.trace_id.as_str(), joined.part(Activity::Trigger)), (TRACE, Some(440_000)));
    // Where it was exported, it counts.
    spans.push(span((other, "77", "", "poll", 1, 400_000, 800_000)));
    assert_eq!(rows(&document(&spans)).len(), 2);
}

#[test]
fn spans_of_a_platform_that_no_export_has_are_inferred() {
    let function = |mut span: Value| {
        span["attributes"] = json!([{ "key": "faas.invocation_id", "value": { "stringValue": "a" } }]);
        span
    };
    let spans = [
        function(span((TRACE, "1", "91", "front", 2, 0, 300_000))),
        span((TRACE, "2", "1", "GET", 3, 50_000, 250_000)),
        function(span((TRACE, "3", "92", "back", 2, 100_000, 200_000))),
        span((TRACE, "4", "3", "send", 4, 110_000, 120_000)),
        function(span((TRACE, "5", "93", "worker", 2, 400_000, 600_000))),
    ];
    let found = row(&spans);
    let names = ["front", "GET", "inferred: back", "back", "send", "inferred: worker", "worker"];
    assert_eq!(found.longest_path_names, names);
    assert!(found.services.iter().any(|service| service == "OTel::Inferred"));
    assert_eq!(found.part(Activity::Trigger), Some(280_000));
    // Other spans are not the platform's: they were lost.
    let mut lost = spans.to_vec();
    lost.push(span((TRACE, "6", "94", "query", 3, 130_000, 140_000)));
    assert_eq!(rows(&document(&lost)), [Err("missing_parent")]);
}

/// A durable execution of two invocations: a step that is tried twice, a wait between them, and a chained invocation.
fn durable(is_beside: bool) -> String {
    let attributes = |pairs: &[(&str, Value)]| -> Value {
        let pair = |(key, value): &(&str, Value)| json!({ "key": key, "value": value });
        pairs.iter().map(pair).collect()
    };
    let text = |text: &str| json!({ "stringValue": text });
    let of_execution = ("durable.execution.arn", text("arn"));
    let operation = |kind: &str| vec![of_execution.clone(), ("durable.operation.type", text(kind))];
    let attempt = |kind: &str| {
        [operation(kind), vec![("durable.operation.attempt", json!({ "intValue": "1" }))]].concat()
    };
    let invocation = |is_first: bool| {
        vec![
            of_execution.clone(),
            ("faas.invocation_id", text("i")),
            ("durable.invocation.first", json!({ "boolValue": is_first })),
        ]
    };
    let within = |invocation: &'static str| if is_beside { "w" } else { invocation };
    let spans = [
        (("t", "w", "", "Workflow", 1, 0, 1_000), vec![of_execution.clone()]),
        (("t", "i1", "w", "Invocation", 2, 10, 210), invocation(true)),
        (("t", "s", within("i1"), "fetch", 1, 20, 200), operation("STEP")),
        (("t", "a1", "s", "fetch attempt 1", 1, 30, 90), attempt("STEP")),
        (("t", "a2", "s", "fetch attempt 2", 1, 130, 190), attempt("STEP")),
        (("t", "p", "w", "cooldown", 1, 205, 700), operation("WAIT")),
        (("t", "i2", "w", "Invocation", 2, 710, 990), invocation(false)),
        (("t", "c", within("i2"), "charge", 1, 750, 980), operation("CHAINED_INVOKE")),
    ];
    let spans: Vec<Value> = spans
        .into_iter()
        .map(|((trace, id, parent, name, kind, start, end), pairs)| {
            let mut span = span((trace, id, parent, name, kind, start * 1_000, end * 1_000));
            span["attributes"] = attributes(&pairs);
            span
        })
        .collect();
    document(&spans)
}

#[test]
fn a_durable_execution_has_operations_waits_and_replays() {
    for is_beside in [false, true] {
        let found = rows(&durable(is_beside));
        let [Ok(row)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(
            row.longest_path_names.join(", "),
            "Workflow, Invocation, fetch, fetch attempt 1, fetch attempt 2, cooldown, Invocation, charge",
            "{is_beside}"
        );
        // The attempts and the first invocation around the step; the second invocation around its operation.
        assert_eq!(row.part(Activity::Overhead), Some(40_000 + 10_000));
        assert_eq!(row.part(Activity::Unclassified), Some(0));
        assert_eq!(row.parts.sum(), 1_000_000);
        let services = "OTel::Workflow OTel::Function OTel::DurableOperation OTel::DurableStep OTel::DurableStep \
                        OTel::DurableWait OTel::DurableReplay OTel::Invocation";
        assert_eq!(row.services.join(" "), services);
    }
}
