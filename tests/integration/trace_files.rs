//! `sb analyze-traces FILE…` and `sb trace` on files of every sort.

use std::io::Write as _;

use crate::workspace::Workspace;

fn trace(id: &str, milliseconds: u32) -> String {
    let end = f64::from(milliseconds) / 1e3;
    let span = |text: String| serde_json::json!({ "Document": text });
    let root = format!(
        r#"{{"id":"r","name":"api","origin":"AWS::ApiGateway::Stage","start_time":0,"end_time":{end}}}"#
    );
    let service = format!(
        r#"{{"id":"l","parent_id":"r","name":"hello","origin":"AWS::Lambda","start_time":0.001,"end_time":{}}}"#,
        end - 0.001
    );
    serde_json::json!({ "Id": id, "Duration": end, "Segments": [span(root), span(service)] }).to_string()
}

#[test]
fn compressed_files_in_folders_give_the_same_rows() {
    let work = Workspace::new();
    let text = format!("{}\n{}\n", trace("1-a", 20), trace("1-b", 30));
    work.write("plain/traces.json", &text);
    std::fs::create_dir_all(work.path().join("zst/deep")).unwrap();
    std::fs::create_dir(work.path().join("gz")).unwrap();
    let compressed = zstd::encode_all(text.as_bytes(), 1).unwrap();
    std::fs::write(work.path().join("zst/deep/traces.json.zst"), compressed).unwrap();
    let file = std::fs::File::create(work.path().join("gz/traces.json.gz")).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap();

    work.sb(&["analyze-traces", ".", "--write", "both", "--jobs", "2"]).expect(0);
    let expected = work.read("plain/trace_breakdown.csv");
    assert_eq!(expected.lines().count(), 3);
    for folder in ["gz", "zst/deep"] {
        assert_eq!(work.read(&format!("{folder}/trace_breakdown.csv")), expected, "{folder}");
        assert!(work.path().join(folder).join("trace_breakdown.parquet").is_file());
    }
    let cut = std::fs::read(work.path().join("gz/traces.json.gz")).unwrap();
    std::fs::write(work.path().join("gz/traces.json.gz"), &cut[..cut.len() - 9]).unwrap();
    let failed = work.sb(&["analyze-traces", "gz"]).expect(1);
    assert!(
        failed.stderr.contains("traces.json.gz") && failed.stderr.contains("cut off"),
        "{}",
        failed.stderr
    );
    assert_eq!(work.read("gz/trace_breakdown.csv"), expected, "results stay when an analysis fails");
}

#[test]
fn hostile_lines_are_invalid_traces_and_nothing_else() {
    let work = Workspace::new();
    let nested = format!(r#"{{"Id":"1-n","x":{}}}"#, "[".repeat(100_000));
    let good = trace("1-g", 20);
    let mut text = [
        &nested,
        "{\"Id\":\"1-h\",\"Duration\":1e308,\"Segments\":[]}",
        "NaN",
        "{\"Duration\":Infinity}",
        &good,
    ]
    .join("\n")
    .into_bytes();
    text.extend_from_slice(b"\n\xff\xfe{\n");
    work.write("traces.json", "");
    std::fs::write(work.path().join("traces.json"), text).unwrap();
    let ran = work.sb(&["analyze-traces", "traces.json"]).expect(0);
    assert!(ran.stdout.contains("1 valid, 5 invalid traces"), "{}", ran.stdout);
}

#[test]
fn a_file_that_was_cut_off_is_told() {
    let work = Workspace::new();
    let span = |id: &str| {
        format!(
            r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{"traceId":"{}","spanId":"0000000000000001","name":"a","kind":2,
               "startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000001000000000"}}]}}]}}]}}"#,
            id.repeat(32)
        )
        .replace('\n', "")
    };
    let whole = format!("{}\n{}\n", span("a"), span("b"));
    work.write("whole.json", &whole);
    work.write("half.json", &whole[..whole.len() - 40]);
    work.write("none.json", &span("a")[..100]);
    let analyze = |file: &str, code| work.sb(&["analyze-traces", file, "--format", "json"]).expect(code);
    let said = |ran: &crate::workspace::Ran| ran.stderr.contains("ends within a document: it was cut off");
    assert!(!said(&analyze("whole.json", 0)));
    let half = analyze("half.json", 0);
    assert!(said(&half) && half.stdout.contains("\"valid\": 1"), "{}{}", half.stdout, half.stderr);
    let none = analyze("none.json", 1);
    assert!(said(&none) && none.stdout.contains("\"none.json\""), "{}{}", none.stdout, none.stderr);
}

#[test]
fn what_cannot_be_read_or_written_is_said_with_its_path() {
    let work = Workspace::new();
    work.write("empty/traces.json", "");
    work.write("other/notes.txt", "");
    work.sb(&["analyze-traces", "empty"]).expect(0);
    for (path, expected) in [("absent.json", "absent.json"), ("other", "there is no traces.json in `other`")]
    {
        let failed = work.sb(&["analyze-traces", path]).expect(1);
        assert!(failed.stderr.contains(expected), "{}", failed.stderr);
    }
    work.write("a/one.json", "");
    work.write("a/two.json", "");
    let failed = work.sb(&["analyze-traces", "a/one.json", "a/two.json"]).expect(2);
    assert!(failed.stderr.contains("replace each other"), "{}", failed.stderr);
}

#[test]
fn files_of_xray_and_opentelemetry_that_are_named_together_are_joined() {
    let work = Workspace::new();
    let time = |milliseconds: u64| (1_700_000_000_000_000_000 + milliseconds * 1_000_000).to_string();
    let segment = |id: &str, parent: Option<&str>, origin: &str, start: f64, end: f64| {
        let document = serde_json::json!({ "id": id, "parent_id": parent, "name": "f", "origin": origin,
                                           "start_time": 1_700_000_000.0 + start, "end_time": 1_700_000_000.0 + end });
        serde_json::json!({ "Document": document.to_string() })
    };
    let segments = [
        segment("000000000000000a", None, "AWS::Lambda", 0.0, 0.1),
        segment("000000000000000b", Some("000000000000000a"), "AWS::Lambda::Function", 0.01, 0.09),
    ];
    let xray = serde_json::json!({ "Id": "1-6553f100-0af7651916cd43dd8448eb21", "Duration": 0.1, "Segments": segments });
    let span = |id: &str, parent: &str, name: &str, kind: u8, from: u64, to: u64, key: &str| {
        serde_json::json!({ "traceId": "6553f1000af7651916cd43dd8448eb21", "spanId": id, "parentSpanId": parent, "name": name,
                            "kind": kind, "startTimeUnixNano": time(from), "endTimeUnixNano": time(to),
                            "attributes": [{ "key": key, "value": { "stringValue": "x" } }] })
    };
    let spans = [
        span("000000000000000c", "000000000000000b", "handler", 2, 12, 88, "faas.invocation_id"),
        span("000000000000000d", "000000000000000c", "query", 3, 20, 60, "db.system"),
    ];
    let otlp = serde_json::json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": spans }] }] });
    work.write("traces/xray.json", &xray.to_string());
    work.write("traces/otlp.json", &otlp.to_string());
    let files = ["traces/otlp.json", "traces/xray.json"];
    let analysed = work.sb(&["analyze-traces", files[0], files[1], "--output", "out"]).expect(0).stdout;
    assert!(analysed.contains("1 valid, 0 invalid"), "{analysed}");
    let row = work.read("out/trace_breakdown.csv");
    assert!(row.contains("['f', 'f', 'handler', 'query']") && row.contains("0:00:00.040000"), "{row}");
    let shown =
        work.sb(&["trace", "show", "1-6553f100-0af7651916cd43dd8448eb21", files[0], files[1]]).expect(0);
    assert!(shown.stdout.contains("query") && shown.stdout.contains("handler"), "{}", shown.stdout);
    // Of one format, they would write the same results.
    work.write("traces/other.json", &xray.to_string());
    let failed = work.sb(&["analyze-traces", "traces/xray.json", "traces/other.json"]).expect(2);
    assert!(failed.stderr.contains("replace each other"), "{}", failed.stderr);
}

#[test]
fn single_traces_are_listed_drawn_and_explained() {
    let work = Workspace::new();
    work.write("traces.json", &format!("{}\n{}\nx\n", trace("1-aa", 20), trace("1-ab", 30)));
    let listed = work.sb(&["trace", "list", "traces.json", "--slowest", "1"]).expect(0);
    let lines: Vec<&str> = listed.stdout.lines().collect();
    assert!(lines[0].starts_with("trace ") && lines.len() == 2, "{}", listed.stdout);
    assert!(lines[1].starts_with("1-ab") && lines[1].ends_with(" valid"), "{}", listed.stdout);
    let analysed = work.sb(&["analyze-traces", "traces.json"]).expect(0).stdout;
    assert!(analysed.contains("critical path") && analysed.contains("p50 and p99 of all"), "{analysed}");
    let shown = work.sb(&["trace", "show", "1-aa", "traces.json"]).expect(0);
    assert!(shown.stdout.contains("● api") && shown.stdout.contains('█'), "{}", shown.stdout);
    assert!(!shown.stdout.contains('\x1b'), "no colours but on a terminal");
    let several = work.sb(&["trace", "show", "1-a", "traces.json"]).expect(2);
    assert!(several.stderr.contains("1-aa") && several.stderr.contains("1-ab"), "{}", several.stderr);
    let path = work.sb(&["trace", "path", "1-ab", "traces.json", "--format", "json"]).expect(0);
    let path: serde_json::Value = serde_json::from_str(&path.stdout).unwrap();
    assert_eq!(path["pieces"][0]["start_us"], 0);
    assert_eq!(path["pieces"].as_array().unwrap().last().unwrap()["end_us"], 30_000);
    work.sb(&["trace", "show", "1-ab", "traces.json", "--svg", "out.svg"]).expect(0);
    assert!(work.read("out.svg").starts_with("<svg "));
    work.sb(&["trace", "show", "1-c", "traces.json"]).expect(1);
}
