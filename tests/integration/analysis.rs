//! The analysis of files that other tools wrote.

use serde_json::{Value, json};

use crate::workspace::Workspace;

/// A function that calls a database, whose clock is late: the call seems to start 4 ms before the function.
fn spans() -> String {
    let span = |id: &str, parent: &str, name: &str, kind: u8, attribute: &str, start: u64, end: u64| {
        json!({ "traceId": "4bf9", "spanId": id, "parentSpanId": parent, "name": name, "kind": kind,
                "startTimeUnixNano": (start * 1_000_000).to_string(), "endTimeUnixNano": (end * 1_000_000).to_string(),
                "attributes": [{ "key": attribute, "value": { "stringValue": "x" } }] })
    };
    let spans = [
        span("a", "", "hello", 2, "faas.trigger", 1_000, 1_100),
        span("b", "a", "items", 3, "db.system", 996, 1_080),
    ];
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] }).to_string()
}

#[test]
fn spans_of_opentelemetry_are_analysed_as_the_options_say() {
    let work = Workspace::new();
    work.write("traces.json", &spans());
    work.write("rules.toml", "[origins]\n\"OTel::Database\" = \"queing\"\n");
    let refused = work.sb(&["analyze-traces", "traces.json"]).expect(0);
    assert!(refused.stdout.contains("0 valid, 1 invalid trace"), "{}", refused.stdout);
    assert_eq!(work.read("trace_breakdown.csv").lines().count(), 1);
    let arguments = [
        "analyze-traces",
        "traces.json",
        "--repair",
        "clock-skew",
        "--activities",
        "rules.toml",
        "--format",
        "json",
    ];
    let analysed = work.sb(&arguments).expect(0);
    let told: Value = serde_json::from_str(&analysed.stdout).unwrap();
    assert_eq!((&told["files"][0]["valid"], &told["files"][0]["repaired"]), (&json!(1), &json!(1)));
    let breakdown = work.read("trace_breakdown.csv");
    let (header, row) = breakdown.trim_end().split_once("\r\n").unwrap();
    let field = |name: &str| {
        let place = header.split(',').position(|column| column == name).unwrap();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(row.as_bytes());
        reader.records().next().unwrap().unwrap()[place].to_owned()
    };
    assert_eq!(header.rsplit(',').next(), Some("repaired"));
    assert_eq!(field("longest_path_names"), "['hello', 'items']");
    assert_eq!(field("queing"), "0:00:00.080000");
    assert_eq!(field("computation"), "0:00:00.020000");
    assert_eq!(field("repaired"), "0:00:00.004000");
    let wrong = work.sb(&["analyze-traces", "traces.json", "--source", "xray"]).expect(2);
    assert!(wrong.stderr.contains("it looks like OpenTelemetry"), "{}", wrong.stderr);
    let beside = work.sb(&["analyze-traces", "traces.json", "-"]).expect(2);
    assert!(beside.stderr.contains("write it into a file first"), "{}", beside.stderr);
}

#[test]
fn options_of_an_analysis_are_checked() {
    let work = Workspace::new();
    work.write("traces.json", &spans());
    work.write("rules.toml", "[origins]\nx = \"waiting\"\n");
    for (arguments, expected) in [
        (&["analyze-traces", "traces.json", "--activities", "rules.toml"][..], "line 2, column 5"),
        (&["analyze-traces", "traces.json", "--activities", "absent.toml"], "absent.toml"),
        (&["analyze-traces", "traces.json", "--repair-limit", "5ms"], "--repair <WHAT>"),
        (&["analyze-traces", "--algorithm", "firm"], "<FILES>"),
    ] {
        let refused = work.sb(arguments).expect(2);
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
    }
    assert!(!work.path().join("trace_breakdown.csv").exists());
}

#[test]
fn triggers_are_measured_by_type() {
    let work = Workspace::new();
    let row = |kind: &str, name: &str, millisecond: u32, operation: &str| {
        json!([kind, name, format!("2022-04-15T21:58:52.{millisecond:03}Z"), 10, operation, "{}"])
    };
    let mut rows =
        vec![row("dependency", "queue_trigger", 50, "i"), row("request", "QueueTrigger", 173, "r")];
    rows.extend((0..6).map(|number| row("dependency", &format!("receiver{number}"), 180 + number, "r")));
    let columns = ["itemType", "name", "timestamp", "duration", "operation_Id", "customDimensions"];
    let columns: Vec<Value> = columns.iter().map(|name| json!({ "name": name })).collect();
    let trace = json!({ "attrs": { "rootTraceId": "i", "traceId": "r" }, "tables": [{ "columns": columns, "rows": rows }] });
    work.write("traces.json", &format!("{trace}\n{{}}\n"));
    let measured = work.sb(&["analyze-triggers", "traces.json"]).expect(0);
    for expected in ["1 valid, 1 invalid trace", "queue: 1 trace,", "call to receiver (t3 - t2)", "123.0"] {
        assert!(measured.stdout.contains(expected), "{expected}: {}", measured.stdout);
    }
    assert!(work.read("trigger.csv").contains("\r\ni,r,2022-04-15 21:58:52.040000+00:00,"));
    assert_eq!(work.read("invalid_traces.csv").lines().count(), 2);
    let told: Value =
        serde_json::from_str(&work.sb(&["analyze-triggers", ".", "--format", "json"]).expect(0).stdout)
            .unwrap();
    assert_eq!(told["files"][0]["triggers"]["queue"]["total_ms"]["p50"], json!(140.0));
}
