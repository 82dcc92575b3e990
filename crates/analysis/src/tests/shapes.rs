//! One trace in the shapes in which tools give it: each must give the same row.

use std::io::Cursor;

use serde_json::{Value, json};

use crate::io::analyze::{analyze, analyze_by};
use crate::method::Method;
use crate::path::breakdown::Algorithm;
use crate::read::source::Source;

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

/// How many traces are valid, and the reasons of the others.
fn outcome(text: &str) -> (u64, Vec<(&'static str, u64)>) {
    outcome_by(&Method::default(), text)
}

fn outcome_by(method: &Method, text: &str) -> (u64, Vec<(&'static str, u64)>) {
    let input = Cursor::new(text.as_bytes().to_vec());
    let summary = analyze_by(method, input, std::io::sink(), std::io::sink(), &|_| {}).unwrap();
    (summary.valid, summary.reasons.into_iter().collect())
}

/// An export whose spans would be valid traces on their own.
fn export_of_two() -> Value {
    let span = |id: &str, end: &str| {
        json!({ "traceId": TRACE, "spanId": id, "name": "root", "kind": 2,
                "startTimeUnixNano": "1700000000000000000", "endTimeUnixNano": end })
    };
    let spans =
        [span("0000000000000001", "1700000001000000000"), span("0000000000000002", "1700000000500000000")];
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] })
}

/// As `json.dumps(…, indent=0)` prints it.
fn without_indent(pretty: &str) -> String {
    pretty.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_part_of_a_document_that_is_cut_off_passes_for_a_trace() {
    let pretty = serde_json::to_string_pretty(&export_of_two()).unwrap();
    let flat = without_indent(&pretty);
    let tabs = pretty.replace("  ", "\t");
    let by_span = export_of_two().to_string().replace("{\"endTime", "\n{\"endTime");
    let zipkin = ["1", "2", "3"].map(|id| {
        json!({ "traceId": TRACE, "id": id, "name": "a", "kind": "SERVER", "timestamp": 1_700_000_000_000_000_u64, "duration": 1 })
    });
    let zipkin_lines = format!("[\n{}\n]", zipkin.map(|span| span.to_string()).join(",\n"));
    for whole in [&pretty, &flat, &tabs, &by_span] {
        assert_eq!(outcome(whole), (1, vec![]), "{whole}");
        for length in 1..whole.len() {
            if whole.is_char_boundary(length) && !whole[length..].trim().is_empty() {
                let cut = &whole[..length];
                // A start of less than a key says nothing of its format.
                if cut.contains("scopeSpans\"") {
                    assert_eq!(outcome(cut), (0, vec![("malformed", 1)]), "{cut}");
                }
            }
        }
    }
    assert_eq!(outcome(&zipkin_lines).1, vec![], "{zipkin_lines}");
    for length in zipkin_lines.find("\"2\"").unwrap()..zipkin_lines.len() {
        assert_eq!(
            outcome(&zipkin_lines[..length]),
            (0, vec![("malformed", 1)]),
            "{}",
            &zipkin_lines[..length]
        );
    }
    // The end of a file whose start is missing.
    let end = &pretty[pretty.find("        {\n").unwrap()..];
    assert_eq!(outcome(end).0, 0, "{end}");
    // What follows a damaged document is read.
    let other = export_of_two().to_string();
    for after in [format!("{pretty}\n"), format!("\n{other}\n")] {
        let cut = &pretty[..pretty.find("0000000000000002").unwrap()];
        let text = format!("{cut}\n{after}");
        assert_eq!(outcome(&text), (1, vec![("malformed", 1)]), "{text}");
    }
}

#[test]
fn times_that_no_span_can_have_are_no_time_at_all() {
    let jaeger = |start: Value, duration: Value| {
        json!({ "data": [{ "traceID": TRACE, "spans": [{ "traceID": TRACE, "spanID": "1", "operationName": "a",
            "startTime": start, "duration": duration, "processID": "p1" }], "processes": { "p1": { "serviceName": "s" } } }] })
    };
    let zipkin = |start: Value, duration: Value| {
        json!([{ "traceId": TRACE, "id": "1", "name": "a", "kind": "SERVER", "timestamp": start, "duration": duration,
                 "localEndpoint": { "serviceName": "s" } }])
    };
    let start = || json!(1_700_000_000_000_000_u64);
    for make in [&jaeger as &dyn Fn(Value, Value) -> Value, &zipkin] {
        for (from, length, expected) in [
            (start(), json!(100_000), None),
            (start(), json!("100000"), None),
            (start(), json!(0), None),
            (start(), json!(-100_000), Some("ends_before_start")),
            (start(), json!("-40000"), Some("ends_before_start")),
            (start(), json!(-40_000.5), Some("ends_before_start")),
            (start(), json!(1e308), Some("time_out_of_range")),
            (start(), json!(-1e308), Some("time_out_of_range")),
            // Nanoseconds by mistake.
            (json!(1_700_000_000_000_000_000_u64), json!(100_000_000), Some("time_out_of_range")),
            (json!(u64::MAX), json!(1), Some("time_out_of_range")),
            (start(), json!("soon"), Some("malformed")),
            (json!("now"), json!(1), Some("malformed")),
            (start(), Value::Null, Some("in_progress")),
        ] {
            let text = make(from, length).to_string();
            let expected = expected.map_or((1, vec![]), |code| (0, vec![(code, 1)]));
            assert_eq!(outcome(&text), expected, "{text}");
        }
    }
    for (end, code) in [
        (json!("-5"), "ends_before_start"),
        (json!("1e300"), "time_out_of_range"),
        (json!("soon"), "malformed"),
        (json!(""), "in_progress"),
    ] {
        let mut export = export_of_two();
        export["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["endTimeUnixNano"] = end;
        assert_eq!(outcome(&export.to_string()), (0, vec![(code, 1)]), "{export}");
    }
    let google = json!({ "projectId": "p", "traceId": TRACE, "spans": [{ "spanId": "1", "name": "a", "kind": "RPC_SERVER",
        "startTime": "2023-11-14T22:13:20Z", "endTime": "soon" }] });
    assert_eq!(outcome(&google.to_string()), (0, vec![("malformed", 1)]));
}

#[test]
fn an_answer_that_says_that_it_is_not_complete_has_no_valid_traces() {
    let mut export = export_of_two();
    export["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().unwrap().pop();
    let whole = outcome(&export.to_string());
    assert!(whole.0 > 0 && whole.1.is_empty(), "{whole:?}");
    let partial = (0, vec![("partial", 1)]);
    // Tempo, API v2: before or after the trace.
    let tempo = |status: &str| format!(r#"{{"trace": {export}, "metrics": {{}}, {status}}}"#);
    for complete in [r#""status": "COMPLETE""#, r#""status": 0, "message": """#, r#""message": "fine""#] {
        assert_eq!(outcome(&tempo(complete)), whole, "{complete}");
    }
    for status in [r#""status": "PARTIAL", "message": "too large""#, r#""status": 1"#] {
        assert_eq!(outcome(&tempo(status)), partial, "{status}");
        assert_eq!(outcome(&format!(r#"{{{status}, "trace": {export}}}"#)), partial, "{status}");
    }
    assert_eq!(
        outcome(r#"{"status": "PARTIAL", "trace": {"resourceSpans": []}}"#),
        (0, vec![("malformed", 1)])
    );
    // Jaeger: warnings of one trace do not touch the other.
    let trace = |id: &str, warnings: Value| {
        json!({ "traceID": id, "warnings": warnings, "processes": { "p": { "serviceName": "shop" } },
                "spans": [{ "traceID": id, "spanID": "a1", "operationName": "a", "startTime": 1_700_000_000_000_000_u64, "duration": 5,
                            "processID": "p", "warnings": ["clock skew adjusted"] }] })
    };
    let other = "0af7651916cd43dd8448eb211c80319d";
    for (warnings, errors, expected) in [
        (json!(null), json!(null), (2, vec![])),
        (json!([]), json!([]), (2, vec![])),
        (json!(["spans are missing"]), json!(null), (1, vec![("partial", 1)])),
        (
            json!(null),
            json!([{ "code": 500, "msg": "a shard is down", "traceID": other }]),
            (1, vec![("partial", 1)]),
        ),
        (json!(null), json!([{ "code": 500, "msg": "a shard is down" }]), (2, vec![("malformed", 1)])),
    ] {
        let answer = json!({ "data": [trace(TRACE, warnings), trace(other, json!(null))], "errors": errors });
        assert_eq!(outcome(&answer.to_string()), expected, "{answer}");
    }
    let mut ids = Vec::new();
    let input = Cursor::new(tempo(r#""status": "PARTIAL", "message": "too large""#).into_bytes());
    analyze(input, std::io::sink(), &mut ids, &|_| {}).unwrap();
    let ids = String::from_utf8(ids).unwrap();
    assert!(ids.contains("status PARTIAL, too large"), "{ids}");
}

#[test]
fn what_xray_did_not_deliver_is_counted() {
    let id = "1-6553f100-0af7651916cd43dd8448eb21";
    let documents = segments().map(|segment| json!({ "Document": segment.to_string() }));
    let trace =
        |limit: Value| json!({ "Id": id, "Duration": 0.5, "LimitExceeded": limit, "Segments": documents });
    let answer = json!({ "Traces": [], "UnprocessedTraceIds": [id] });
    for (answer, expected) in [
        (&answer, (0, vec![("unprocessed", 1)])),
        (
            &json!({ "UnprocessedTraceIds": [id, "1-b"], "Traces": [trace(json!(false))] }),
            (1, vec![("unprocessed", 2)]),
        ),
        (&json!({ "Traces": [trace(json!(null))], "UnprocessedTraceIds": [] }), (1, vec![])),
        (&trace(json!(true)), (0, vec![("limit_exceeded", 1)])),
        (&json!([trace(json!(true)), trace(json!(false))]), (1, vec![("limit_exceeded", 1)])),
    ] {
        assert_eq!(outcome(&answer.to_string()), expected, "{answer}");
        let pretty = serde_json::to_string_pretty(answer).unwrap();
        assert_eq!(outcome(&pretty), expected, "{pretty}");
    }
    let mut ids = Vec::new();
    let input = Cursor::new(answer.to_string().into_bytes());
    analyze(input, std::io::sink(), &mut ids, &|_| {}).unwrap();
    let ids = String::from_utf8(ids).unwrap();
    assert!(ids.contains(&format!("\r\n{id},unprocessed: ")), "{ids}");
    // The study's analyzer does not look at it.
    let study = Method { algorithm: Algorithm::Study, ..Method::default() };
    assert_eq!(outcome_by(&study, &trace(json!(true)).to_string()), (1, vec![]));
}

#[test]
fn a_file_of_another_format_than_was_named_is_refused() {
    let [first, _] = segments();
    let xray = json!({ "Id": "1-a", "Duration": 0.5, "Segments": [first] }).to_string();
    let texts = [
        (Source::Xray, xray),
        (Source::Otlp, export_of_two().to_string()),
        (Source::AppInsights, json!({ "tables": [] }).to_string()),
    ];
    for (named, _) in &texts {
        for (found, text) in &texts {
            let method = Method { source: *named, ..Method::default() };
            let input = Cursor::new(text.clone().into_bytes());
            let refused = analyze_by(&method, input, std::io::sink(), std::io::sink(), &|_| {}).err();
            assert_eq!(refused.is_some(), named != found, "{named:?}: {text}");
            if let Some(error) = refused {
                assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
                assert!(error.to_string().contains("leave `--source` out"), "{error}");
            }
        }
    }
}

#[test]
fn of_a_span_that_is_sent_again_the_one_that_ends_last_counts() {
    let xray = |ends: [f64; 2]| {
        let segments = ends.map(|end| {
            let document = json!({ "id": "1", "name": "a", "start_time": 1.0, "end_time": end });
            json!({ "Document": document.to_string() })
        });
        json!({ "Id": "1-a", "Duration": 2.0, "Segments": segments }).to_string()
    };
    let rows = found(&xray([2.0, 3.0]));
    assert_eq!((rows.0.len(), rows.1), (1, 0));
    assert_eq!(found(&xray([3.0, 2.0])), rows);
    let study = Method { algorithm: Algorithm::Study, ..Method::default() };
    assert_eq!(outcome_by(&study, &xray([3.0, 2.0])), (0, vec![("duration_mismatch", 1)]));

    let export = |change: &dyn Fn(&mut Value), reverse: bool| {
        let mut export = export_of_two();
        let spans = export["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array_mut().unwrap();
        spans[1]["spanId"] = json!("0000000000000001");
        change(&mut spans[1]);
        if reverse {
            spans.reverse();
        }
        export.to_string()
    };
    for reverse in [false, true] {
        let (rows, invalid) = found(&export(&|_| (), reverse));
        assert_eq!((rows.len(), invalid), (1, 0));
        assert!(rows[0].contains(",0:00:01,"), "{rows:?}");
        let other_name = export(&|span| span["name"] = json!("other"), reverse);
        assert_eq!(outcome(&other_name), (0, vec![("conflicting_spans", 1)]));
        let other_start = export(&|span| span["startTimeUnixNano"] = json!("1700000000100000000"), reverse);
        assert_eq!(outcome(&other_start), (0, vec![("conflicting_spans", 1)]));
    }
}
