//! One trace in the shapes in which tools give it: each must give the same row.

use std::io::Cursor;

use serde_json::{Value, json};

use crate::io::analyze::analyze;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// The id of the trace, the parts of its breakdown, and the number of invalid ones.
fn found(text: &str) -> (Vec<String>, u64) {
    let mut rows = Vec::new();
    let input = Cursor::new(text.as_bytes().to_vec());
    let summary = analyze(input, &mut rows, std::io::sink(), &|_| {}).unwrap();
    let rows = String::from_utf8(rows).unwrap();
    (rows.lines().skip(1).map(str::to_owned).collect(), summary.invalid)
}

#[track_caller]
fn check(what: &str, value: &Value, expected: &[String]) {
    assert_eq!(found(&value.to_string()), (expected.to_vec(), 0), "{what}: {value}");
    let pretty = serde_json::to_string_pretty(value).unwrap();
    assert_eq!(found(&pretty), (expected.to_vec(), 0), "{what}, over lines: {pretty}");
}

fn segments() -> [Value; 2] {
    [
        json!({ "id": "a", "name": "web \\ \"x\"", "origin": "AWS::EC2::Instance", "start_time": 1.0, "end_time": 1.5 }),
        json!({ "id": "b", "parent_id": "a", "name": "items", "origin": "AWS::DynamoDB::Table", "start_time": 1.1, "end_time": 1.3 }),
    ]
}

#[test]
fn xray_is_read_as_tools_give_it() {
    let [first, second] = segments();
    let trace = |segments: Value| json!({ "Id": "1-a", "Duration": 0.5, "LimitExceeded": false, "Segments": segments });
    let embedded = |document: &Value| json!({ "Id": document["id"], "Document": document.to_string() });
    let as_object = |document: &Value| json!({ "Id": document["id"], "Document": document });
    let usual = trace(json!([embedded(&first), embedded(&second)]));
    let (expected, invalid) = found(&usual.to_string());
    assert_eq!((expected.len(), invalid), (1, 0));
    check("the usual form", &usual, &expected);
    check("raw data of the console", &trace(json!([as_object(&first), as_object(&second)])), &expected);
    check("both", &trace(json!([as_object(&first), embedded(&second)])), &expected);
    check("segments as they are", &trace(json!([first, second])), &expected);
    let retrieved = json!({ "Id": "1-a", "Duration": 0.5, "Spans": [embedded(&first), embedded(&second)] });
    let twice = [expected.clone(), expected.clone()].concat();
    check("a list", &json!([usual, usual]), &twice);
    check(
        "an answer",
        &json!({ "UnprocessedTraceIds": [], "Traces": [usual, usual], "NextToken": "Traces" }),
        &twice,
    );
    check(
        "a retrieval",
        &json!({ "RetrievalStatus": "COMPLETE", "TraceFormat": "XRAY", "Traces": [retrieved] }),
        &expected,
    );
    let pages = format!("{}\n{}\n", json!({ "Traces": [usual] }), json!({ "Traces": [usual] }));
    assert_eq!(found(&pages), (twice, 0));
}

/// The row of the documents, of which one may be in progress, or nothing and the reason.
fn settled(documents: &[&Value]) -> Result<String, String> {
    let segments: Vec<Value> = documents
        .iter()
        .map(|document| json!({ "Id": document["id"], "Document": document.to_string() }))
        .collect();
    let text = json!({ "Id": "1-a", "Duration": 0.5, "Segments": segments }).to_string();
    let (mut rows, mut invalid) = (Vec::new(), Vec::new());
    analyze(Cursor::new(text.into_bytes()), &mut rows, &mut invalid, &|_| {}).unwrap();
    let first = |csv: Vec<u8>| String::from_utf8(csv).unwrap().lines().nth(1).map(str::to_owned);
    first(rows).ok_or_else(|| first(invalid).unwrap_or_default())
}

#[test]
fn a_span_that_has_ended_replaces_its_record_in_progress() {
    let [first, second] = segments();
    let whole = settled(&[&first, &second]).unwrap();
    let mut begun = first.clone();
    begun.as_object_mut().unwrap().remove("end_time");
    begun["in_progress"] = json!(true);
    for documents in [[&begun, &first, &second], [&first, &begun, &second], [&first, &second, &begun]] {
        assert_eq!(settled(&documents).as_ref(), Ok(&whole), "{documents:?}");
    }
    // Its parts end with it: one that is only in the record is replaced with it, one that has ended stays.
    let part = json!({ "id": "c", "name": "part", "start_time": 1.2, "end_time": 1.25 });
    let open = json!({ "id": "d", "name": "open", "start_time": 1.3, "in_progress": true });
    let mut with_parts = begun.clone();
    with_parts["subsegments"] = json!([open, part]);
    let mut ended = first.clone();
    ended["subsegments"] = json!([part]);
    let expected = settled(&[&ended, &second]).unwrap();
    for documents in [[&with_parts, &first, &second], [&ended, &second, &with_parts]] {
        assert_eq!(settled(&documents).as_ref(), Ok(&expected), "{documents:?}");
    }
    // What never ends is in progress, and what lacks a field is not excused by another span.
    assert!(settled(&[&begun, &second]).unwrap_err().contains("in_progress: span a "));
    let mut nameless = second.clone();
    nameless.as_object_mut().unwrap().remove("name");
    assert!(settled(&[&begun, &first, &nameless]).unwrap_err().contains("span b has no `name`"));
}

#[test]
fn flags_and_times_of_other_types_are_read_as_the_study_reads_them() {
    // Any value is a statement, as in Python: nothing empty, and no zero, affirms.
    let [first, second] = segments();
    let plain = settled(&[&first, &second]).unwrap();
    let flagged = |value: Value| {
        let mut document = second.clone();
        document["fault"] = value;
        settled(&[&first, &document]).unwrap()
    };
    let fault = flagged(json!(true));
    assert_ne!(fault, plain);
    for value in [json!(1), json!(0.5), json!("true"), json!("false"), json!([0]), json!({ "a": null })] {
        assert_eq!(flagged(value.clone()), fault, "{value}");
    }
    for value in [json!(0), json!(0.0), json!(""), json!([]), json!({}), json!(null), json!(false)] {
        assert_eq!(flagged(value.clone()), plain, "{value}");
    }
    let mut begun = second.clone();
    begun["in_progress"] = json!(1);
    assert!(settled(&[&first, &begun]).unwrap_err().contains("in_progress: span b "));
    // A time is a number, whole or not; a text is none.
    let timed = |start: Value| {
        let mut document = first.clone();
        document["start_time"] = start;
        settled(&[&document, &second])
    };
    assert_eq!(timed(json!(1)).unwrap(), plain);
    assert!(timed(json!("1")).unwrap_err().contains("malformed"));
}

#[test]
fn spans_are_read_as_tools_give_them() {
    let (start, end) = (1_700_000_000_000_000_000_u64, 1_700_000_000_100_000_000_u64);
    let (from, to) = (1_700_000_000_020_000_000_u64, 1_700_000_000_080_000_000_u64);
    let service = json!([{ "key": "service.name", "value": { "stringValue": "web" } }]);
    let export = |spans: Value| json!({ "resourceSpans": [{ "resource": { "attributes": service }, "scopeSpans": [{ "spans": spans }] }] });
    let otlp = export(json!([
        { "traceId": TRACE, "spanId": "a1", "name": "GET", "kind": 2, "startTimeUnixNano": start.to_string(), "endTimeUnixNano": end.to_string() },
        { "traceId": TRACE, "spanId": "a2", "parentSpanId": "a1", "name": "query", "kind": "SPAN_KIND_CLIENT",
          "startTimeUnixNano": from.to_string(), "endTimeUnixNano": to.to_string(), "status": { "code": 2 },
          "attributes": [{ "key": "db.system", "value": { "stringValue": "mysql" } }] },
    ]));
    let (expected, invalid) = found(&otlp.to_string());
    assert_eq!((expected.len(), invalid), (1, 0));
    assert!(expected[0].contains("['OTel::Service::web', 'OTel::Database']"), "{}", expected[0]);

    check("a list of documents", &json!([otlp]), &expected);
    check("Tempo v1", &json!({ "batches": otlp["resourceSpans"] }), &expected);
    check("Tempo v2", &json!({ "trace": otlp, "status": "COMPLETE" }), &expected);
    check("Jaeger v3", &json!({ "result": otlp }), &expected);
    let bytes: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&TRACE[2 * at..2 * at + 2], 16).unwrap()).collect();
    let snake = json!({ "resource_spans": [{ "resource": { "attributes": [{ "key": "service.name", "value": { "string_value": "web" } }] },
        "scope_spans": [{ "spans": [
            { "trace_id": TRACE, "span_id": "a1", "name": "GET", "kind": "SERVER", "start_time_unix_nano": start, "end_time_unix_nano": end as f64 },
            { "trace_id": bytes, "span_id": [0xa2], "parent_span_id": [0xa1], "name": "query", "kind": 3,
              "start_time_unix_nano": from, "end_time_unix_nano": to, "status": { "code": "STATUS_CODE_ERROR" },
              "attributes": [{ "key": "db.system", "value": { "Value": { "StringValue": "mysql" } } }] },
        ] }] }] });
    check("keys with underscores", &snake, &expected);
    let row = |id: &str,
               parent: &str,
               name: &str,
               kind: &str,
               from: u64,
               to: u64,
               attributes: Value,
               status: &str| {
        json!({ "resource": { "attributes": { "service.name": "web" } }, "traceId": TRACE, "spanId": id, "parentSpanId": parent,
                "name": name, "kind": kind, "startTimeUnixNano": from, "endTimeUnixNano": to, "durationNano": to - from,
                "attributes": attributes, "status": { "code": status } })
    };
    let rows = [
        row("a1", "", "GET", "SERVER", start, end, json!({}), "UNSET"),
        row("a2", "a1", "query", "CLIENT", from, to, json!({ "db.system": "mysql", "rows": 3 }), "ERROR"),
    ];
    check("rows of aws/spans", &json!(rows), &expected);
    let spans: Vec<Value> =
        rows.iter().map(|row| json!({ "Id": row["spanId"], "Document": row.to_string() })).collect();
    check(
        "a retrieval",
        &json!({ "TraceFormat": "OTEL", "Traces": [{ "Id": TRACE, "Spans": spans }] }),
        &expected,
    );
    let zipkin = json!([
        { "traceId": TRACE, "id": "a1", "name": "GET", "kind": "SERVER", "timestamp": start / 1_000, "duration": 100_000,
          "localEndpoint": { "serviceName": "web" } },
        { "traceId": TRACE, "id": "a2", "parentId": "a1", "name": "query", "kind": "CLIENT", "timestamp": from / 1_000,
          "duration": 60_000, "localEndpoint": { "serviceName": "web" }, "tags": { "db.system": "mysql", "error": "gone" } },
    ]);
    check("Zipkin, spans", &zipkin, &expected);
    check("Zipkin, traces", &json!([zipkin]), &expected);
    let tag = |key: &str, value: Value| json!({ "key": key, "type": "string", "value": value });
    let jaeger = json!({ "data": [{ "traceID": TRACE, "spans": [
        { "traceID": TRACE, "spanID": "a1", "operationName": "GET", "references": [], "startTime": start / 1_000, "duration": 100_000,
          "tags": [tag("span.kind", json!("server"))], "processID": "p1" },
        { "traceID": TRACE, "spanID": "a2", "operationName": "query", "startTime": from / 1_000, "duration": 60_000,
          "references": [{ "refType": "CHILD_OF", "traceID": TRACE, "spanID": "a1" }], "processID": "p1",
          "tags": [tag("span.kind", json!("client")), tag("db.system", json!("mysql")), tag("error", json!(true))] },
    ], "processes": { "p1": { "serviceName": "web", "tags": [] } } }], "total": 0 });
    check("Jaeger", &jaeger, &expected);
    let google = json!({ "projectId": "p", "traceId": TRACE, "spans": [
        { "spanId": "161", "kind": "RPC_SERVER", "name": "GET", "startTime": "2023-11-14T22:13:20Z", "endTime": "2023-11-14T22:13:20.1Z",
          "labels": { "service.name": "web" } },
        { "spanId": "162", "parentSpanId": "161", "kind": "RPC_CLIENT", "name": "query", "startTime": "2023-11-14T22:13:20.020Z",
          "endTime": "2023-11-14T22:13:20.080000Z", "labels": { "service.name": "web", "db.system": "mysql", "/error/message": "gone" } },
    ] });
    check("Google Cloud Trace", &google, &expected);
    check("a list of Google Cloud Trace", &json!({ "traces": [google] }), &expected);
    let others = "{\"resourceLogs\":[{}]}\n{\"resourceMetrics\":[]}\n";
    assert_eq!(found(&format!("{others}{otlp}\n{others}")), (expected, 0));
}

#[test]
fn a_span_of_jaeger_follows_from_another_trace() {
    let span = |trace: &str, id: &str, kind: &str, start: u64, duration: u64, references: Value| {
        json!({ "traceID": trace, "spanID": id, "operationName": id, "startTime": start, "duration": duration, "references": references,
                "tags": [{ "key": "span.kind", "type": "string", "value": kind }], "processID": "p" })
    };
    let trace = |span: Value| json!({ "data": [{ "spans": [span], "processes": {} }] }).to_string();
    let link = json!([{ "refType": "FOLLOWS_FROM", "traceID": "a", "spanID": "1" }]);
    let text = format!(
        "{}\n{}",
        trace(span("a", "1", "producer", 1_000_000, 10_000, json!([]))),
        trace(span("b", "2", "consumer", 2_000_000, 10_000, link))
    );
    let (rows, invalid) = found(&text);
    assert_eq!((rows.len(), invalid), (1, 0));
    assert!(rows[0].starts_with("a,") && rows[0].contains("['1', '2']"), "{}", rows[0]);
}

#[test]
fn application_insights_is_read_as_tools_give_it() {
    let names =
        ["timestamp", "id", "name", "itemType", "type", "operation_Id", "operation_ParentId", "duration"];
    let rows = [
        json!(["2021-04-29T22:41:14.000Z", "r1", "hello", "request", "", "op", "op", 100.0]),
        json!(["2021-04-29T22:41:14.020Z", "d1", "POST", "dependency", "HTTP", "op", "r1", 50.0]),
    ];
    let table = |names: &[&str], rows: &[Value]| {
        let columns: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
        json!({ "tables": [{ "name": "PrimaryResult", "columns": columns, "rows": rows }] })
    };
    let (expected, invalid) = found(&table(&names, &rows).to_string());
    assert_eq!((expected.len(), invalid), (1, 0));
    let objects: Vec<Value> = rows
        .iter()
        .map(|row| {
            names
                .iter()
                .zip(row.as_array().unwrap())
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect()
        })
        .collect();
    check("rows as objects", &json!(objects), &expected);
    let names =
        ["TimeGenerated", "Id", "Name", "Type", "DependencyType", "OperationId", "ParentId", "DurationMs"];
    let mut rows = rows;
    rows[0][3] = json!("AppRequests");
    rows[1][3] = json!("AppDependencies");
    check("Log Analytics", &table(&names, &rows), &expected);
}
