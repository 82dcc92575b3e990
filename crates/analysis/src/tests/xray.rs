//! Small traces with breakdowns computed by hand, and properties of generated ones: by the study's algorithm, which must stay
//! as it was published. That of the definition is tested beside it.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::invalid::Rejected;
use crate::io::analyze::{AnalyzeOptions, analyze, analyze_file, analyze_in_chunks};
use crate::io::results::AnalysisSummary;
use crate::method::Method;
use crate::path::breakdown::Activity::{
    Computation, ContainerInitialization, ExternalService, Orchestration, Overhead, Queueing,
    RuntimeInitialization, Trigger, Unclassified,
};
use crate::path::breakdown::{Activity, Algorithm, Analysis};
use crate::path::critical_path::Rule;
use crate::row::read_breakdown;

fn study() -> Method {
    Method { algorithm: Algorithm::Study, ..Method::default() }
}

fn analyze_text(text: &str) -> Result<Analysis, Rejected> {
    study().analyze_text(text)
}

/// Id, parent's id or nothing, name, origin or nothing, start and end in milliseconds.
type MillisecondSpan<'a> = (&'a str, &'a str, &'a str, &'a str, f64, f64);

const GATEWAY: &str = "AWS::ApiGateway::Stage";
const LAMBDA: &str = "AWS::Lambda";
const FUNCTION: &str = "AWS::Lambda::Function";
const BUCKET: &str = "AWS::S3::Bucket";
const TABLE: &str = "AWS::DynamoDB::Table";

fn document((id, parent, name, origin, start, end): MillisecondSpan<'_>) -> Value {
    let mut document = json!({ "id": id, "name": name, "start_time": start / 1e3, "end_time": end / 1e3 });
    for (key, value) in [("parent_id", parent), ("origin", origin)] {
        if !value.is_empty() {
            document[key] = json!(value);
        }
    }
    document
}

/// One line of traces.json.
fn line(id: &str, duration: impl serde::Serialize, documents: &[Value]) -> String {
    let segments: Vec<Value> = documents
        .iter()
        .map(|document| json!({ "Id": document["id"], "Document": document.to_string() }))
        .collect();
    json!({ "Id": id, "Duration": duration, "LimitExceeded": false, "Segments": segments }).to_string()
}

fn trace(spans: &[MillisecondSpan<'_>]) -> String {
    let start = spans.iter().map(|span| span.4).fold(f64::INFINITY, f64::min);
    let end = spans.iter().map(|span| span.5).fold(f64::NEG_INFINITY, f64::max);
    let documents: Vec<Value> = spans.iter().copied().map(document).collect();
    line("1-a", (end - start) / 1e3, &documents)
}

/// The trace is valid, its path goes over these ids, and its parts are these, in milliseconds. An activity that
/// is not given has no piece (`unclassified`: zero).
#[track_caller]
fn check(spans: &[MillisecondSpan<'_>], path: &str, parts: &[(Activity, f64)]) -> Analysis {
    let analysis = match analyze_text(&trace(spans)) {
        Ok(analysis) => analysis,
        Err(rejected) => panic!("{}", rejected.reason.message()),
    };
    let ids: Vec<&str> = analysis.path.iter().map(|span| spans[span.get()].0).collect();
    assert_eq!(ids.join(" "), path);
    for activity in Activity::ALL {
        let default = (activity == Unclassified).then_some(0);
        let given = parts.iter().find(|part| part.0 == activity).map(|part| (part.1 * 1e3).round() as i64);
        assert_eq!(analysis.row.part(activity), given.or(default), "{activity:?}");
    }
    assert_pieces_lead_from_start_to_end(&analysis);
    analysis
}

#[track_caller]
fn assert_pieces_lead_from_start_to_end(analysis: &Analysis) {
    for pair in analysis.pieces.windows(2) {
        assert_eq!(pair[0].end, pair[1].start);
    }
    let (first, last) = (analysis.pieces.first().unwrap(), analysis.pieces.last().unwrap());
    let off = (last.end - first.start) - analysis.row.duration;
    assert!(off.abs() <= 1_001, "off by {off} microseconds");
    assert_eq!(last.end - first.start, analysis.row.parts.sum());
}

#[track_caller]
fn check_invalid(text: &str, code: &str) {
    match analyze_text(text) {
        Ok(analysis) => panic!("valid: {:?}", analysis.row),
        Err(rejected) => {
            let message = rejected.reason.message();
            assert!(message.starts_with(&format!("{code}: ")), "{message}");
        }
    }
}

const SYNCHRONOUS: [MillisecondSpan<'static>; 6] = [
    ("r", "", "api", GATEWAY, 0.0, 100.0),
    ("l", "r", "hello", LAMBDA, 10.0, 90.0),
    ("f", "l", "hello", FUNCTION, 20.0, 80.0),
    ("i", "f", "Invocation", "", 21.0, 70.0),
    ("o", "f", "Overhead", "", 72.0, 79.0),
    ("d", "i", "items", TABLE, 30.0, 50.0),
];

#[test]
fn a_synchronous_trace_is_divided_among_its_services() {
    let analysis = check(
        &SYNCHRONOUS,
        "r l f i d o",
        &[
            (Orchestration, 10.0 + 10.0 + 10.0 + 10.0),
            // Before the call, around it within the invocation, after it, and after the overhead.
            (Computation, 1.0 + 9.0 + 20.0 + 2.0 + 1.0),
            (ExternalService, 20.0),
            (Overhead, 7.0),
        ],
    );
    assert_eq!(analysis.rule, Some(Rule::Published));
    assert_eq!(analysis.row.services, [GATEWAY, LAMBDA, FUNCTION, TABLE]);
    assert_eq!(analysis.row.longest_path_names, ["api", "hello", "hello", "Invocation", "items", "Overhead"]);
}

/// A function writes to a bucket, which sets off a second one; `shift` moves the second.
fn asynchronous(shift: f64) -> [MillisecondSpan<'static>; 8] {
    [
        ("r", "", "api", GATEWAY, 0.0, 50.0),
        ("l", "r", "upload", LAMBDA, 5.0, 45.0),
        ("f", "l", "upload", FUNCTION, 10.0, 40.0),
        ("x", "f", "bucket", BUCKET, 20.0, 38.0),
        ("m", "x", "resize", LAMBDA, 60.0 + shift, 200.0),
        ("w", "m", "Dwell Time", "", 60.0 + shift, 70.0),
        ("a", "m", "Attempt #1", "", 70.0, 199.0),
        ("g", "a", "resize", FUNCTION, 80.0, 198.0),
    ]
}

#[test]
fn time_until_an_asynchronous_function_starts_is_trigger_and_its_dwell_time_queueing() {
    check(
        &asynchronous(0.0),
        "r l f x m w a g",
        &[
            (Orchestration, 5.0 + 5.0 + 0.0 + 0.0 + 10.0 + 1.0 + 1.0),
            (Computation, 10.0 + 118.0),
            (ExternalService, 18.0),
            (Trigger, 22.0),
            (Queueing, 10.0),
        ],
    );
}

#[test]
fn an_asynchronous_function_may_start_before_its_cause_ends() {
    check(
        &asynchronous(-30.0),
        "r l f x m w a g",
        &[
            (Orchestration, 22.0),
            (Computation, 128.0),
            (ExternalService, 10.0),
            (Trigger, 0.0),
            (Queueing, 40.0),
        ],
    );
}

#[test]
fn clocks_may_differ_by_ten_milliseconds_between_cause_and_effect() {
    let analysis = check(
        &asynchronous(-50.0),
        "r l f x m w a g",
        &[
            (Orchestration, 22.0),
            (Computation, 128.0),
            (ExternalService, -10.0),
            (Trigger, 0.0),
            (Queueing, 60.0),
        ],
    );
    let mut row = String::new();
    analysis.row.write(&mut row);
    assert!(row.contains(r#","-1 day, 23:59:59.990000","#), "{row}");
    check_invalid(&trace(&asynchronous(-50.001)), "starts_before_cause");
}

const COLD: [MillisecondSpan<'static>; 5] = [
    ("r", "", "api", GATEWAY, 0.0, 100.0),
    ("l", "r", "hello", LAMBDA, 10.0, 95.0),
    ("f", "l", "hello", FUNCTION, 60.0, 90.0),
    ("n", "f", "Initialization", "", 30.0, 55.0),
    ("i", "f", "Invocation", "", 61.0, 85.0),
];

#[test]
fn a_cold_start_is_container_and_runtime_initialization() {
    let parts = [
        (Orchestration, 10.0 + 5.0 + 5.0 + 5.0),
        (ContainerInitialization, 20.0),
        (RuntimeInitialization, 25.0),
        (Computation, 30.0),
    ];
    let followed = check(&COLD, "r l f n i", &parts);
    assert_eq!(followed.row.num_cold_starts, 1);
    let last = check(&COLD[..4], "r l f n", &parts);
    assert_eq!(last.row.num_cold_starts, 1);
}

#[test]
fn both_functions_of_an_asynchronous_trace_can_start_cold() {
    let spans = [
        ("r", "", "api", GATEWAY, 0.0, 50.0),
        ("l", "r", "upload", LAMBDA, 1.0, 49.0),
        ("f", "l", "upload", FUNCTION, 20.0, 48.0),
        ("n", "f", "Initialization", "", 5.0, 18.0),
        ("x", "f", "bucket", BUCKET, 30.0, 40.0),
        ("m", "x", "resize", LAMBDA, 60.0, 200.0),
        ("a", "m", "Attempt #1", "", 60.0, 199.0),
        ("g", "a", "resize", FUNCTION, 100.0, 198.0),
        ("o", "g", "Initialization", "", 70.0, 90.0),
    ];
    let analysis = check(
        &spans,
        "r l f n x m a g o",
        &[
            (Orchestration, 1.0 + 2.0 + 0.0 + 10.0 + 1.0 + 1.0),
            (ContainerInitialization, 4.0 + 10.0),
            (RuntimeInitialization, 13.0 + 20.0),
            (Computation, 10.0 + 98.0),
            (ExternalService, 10.0),
            (Trigger, 20.0),
        ],
    );
    assert_eq!(analysis.row.num_cold_starts, 2);
}

#[test]
fn a_cold_start_off_the_critical_path_is_not_counted_but_one_on_it_must_be() {
    let mut spans = COLD;
    // The root is a function: its initialization lies on the path, but nothing came before the function.
    spans[0] = ("r", "", "api", FUNCTION, 0.0, 100.0);
    spans[3] = ("n", "r", "Initialization", "", 0.0, 5.0);
    check_invalid(&trace(&spans), "cold_starts_mismatch");
    // In parallel with the last child: off the path.
    spans[0] = ("r", "", "api", GATEWAY, 0.0, 100.0);
    spans[3] = ("n", "r", "Initialization", "", 0.0, 15.0);
    let analysis = check(&spans, "r l f i", &[(Orchestration, 70.0), (Computation, 30.0)]);
    assert_eq!(analysis.row.num_cold_starts, 0);
}

#[test]
fn a_last_child_of_zero_length_is_walked_twice() {
    check(
        &[("r", "", "api", GATEWAY, 0.0, 10.0), ("z", "r", "mark", "", 5.0, 5.0)],
        "r z z",
        &[(Orchestration, 10.0)],
    );
}

#[test]
fn zero_length_spans_within_each_other_do_not_exhaust_memory() {
    let ids: Vec<String> = (0..60).map(|place| format!("z{place}")).collect();
    let mut spans = vec![("r", "", "api", GATEWAY, 0.0, 10.0)];
    for place in 0..ids.len() {
        let parent = if place == 0 { "r" } else { &ids[place - 1] };
        spans.push((&ids[place], parent, "mark", "", 5.0, 5.0));
    }
    check_invalid(&trace(&spans), "too_long");
}

#[test]
fn the_papers_rule_explains_what_the_published_one_cannot() {
    let spans = [
        ("r", "", "api", GATEWAY, 0.0, 10.0),
        // Sets off what ends last, but another asynchronous child ends later than itself.
        ("a", "r", "topic", "AWS::SNS", 5.0, 100.0),
        ("b", "r", "other", LAMBDA, 8.0, 200.0),
        ("m", "a", "resize", LAMBDA, 150.0, 300.0),
        ("g", "m", "resize", FUNCTION, 160.0, 300.0),
    ];
    let analysis = check(
        &spans,
        "r a m g",
        &[(Orchestration, 5.0 + 10.0), (Trigger, 0.0 + 50.0), (ExternalService, 95.0), (Computation, 140.0)],
    );
    assert_eq!(analysis.rule, Some(Rule::Paper));
}

#[test]
fn activities_follow_origin_name_and_parent() {
    for (origin, name, expected) in [
        ("", "anything", Orchestration),
        ("AWS::StepFunctions::StateMachine", "machine", Orchestration),
        ("AWS::stepfunctions", "machine", Orchestration),
        ("AWS::STEPFUNCTIONS", "machine", Orchestration),
        ("AWS::S3", "s3", ExternalService),
        ("AWS::SQS::Queue", "queue", ExternalService),
        ("AWS::SNS", "topic", ExternalService),
        ("Database::SQL", "sql", ExternalService),
        ("AWS::Kinesis", "stream", ExternalService),
        ("AWS::rekognition", "faces", ExternalService),
        ("AWS::EC2::Instance", "server", Computation),
        ("AWS::ECS::Container", "container", Computation),
        ("AWS::ElasticBeanstalk::Environment", "environment", Computation),
        ("AWS::Events", "bus", Orchestration),
        ("AWS::Unheard::Of", "thing", Unclassified),
    ] {
        let spans = [("r", "", "api", GATEWAY, 0.0, 10.0), ("c", "r", name, origin, 2.0, 9.0)];
        let expected = if expected == Orchestration {
            vec![(Orchestration, 10.0)]
        } else {
            vec![(Orchestration, 3.0), (expected, 7.0)]
        };
        check(&spans, "r c", &expected);
    }
    for (name, expected) in [
        ("Overhead", Overhead),
        ("Invocation", Computation),
        ("Dwell Time", Queueing),
        ("other", Unclassified),
    ] {
        let spans = [("r", "", "f", FUNCTION, 0.0, 10.0), ("c", "r", name, "", 2.0, 9.0)];
        let expected = if expected == Computation {
            vec![(Computation, 10.0)]
        } else {
            vec![(Computation, 3.0), (expected, 7.0)]
        };
        check(&spans, "r c", &expected);
    }
}

#[test]
fn of_several_roots_the_one_that_starts_first_counts() {
    let mut spans = SYNCHRONOUS.to_vec();
    for place in [0, SYNCHRONOUS.len()] {
        spans.insert(place, ("other", "", "lost", LAMBDA, 5.0, 60.0));
        check(
            &spans,
            "r l f i d o",
            &[(Orchestration, 40.0), (Computation, 33.0), (ExternalService, 20.0), (Overhead, 7.0)],
        );
        spans.remove(place);
    }
}

#[test]
fn flags_are_counted_and_the_url_is_the_gateways() {
    let mut documents: Vec<Value> = SYNCHRONOUS.into_iter().map(document).collect();
    documents[0]["http"] =
        json!({ "request": { "url": "https://a/\"b\",\\c", "method": "GET" }, "response": 7 });
    documents[1]["http"] = json!({ "request": { "url": "https://inner" } });
    documents[2]["http"] = json!("of another shape");
    for (place, flag) in
        [(0, "error"), (1, "error"), (2, "error"), (1, "fault"), (2, "fault"), (3, "throttle")]
    {
        documents[place][flag] = json!(true);
    }
    documents[4]["fault"] = json!(false);
    documents[4]["throttle"] = json!(null);
    let row = analyze_text(&line("1-a", 0.1, &documents)).unwrap().row;
    assert_eq!((row.errors, row.faults, row.throttles), (3, 2, 1));
    assert_eq!(row.url, "https://a/\"b\",\\c");
}

#[test]
fn subsegments_belong_to_the_span_around_them_wherever_the_key_stands() {
    let nested = r#"{"subsegments":[{"subsegments":[],"id":"i","name":"Invocation","start_time":0.002,"end_time":0.007,
        "parent_id":"ignored"},{"id":"o","subsegments":null,"name":"Overhead","start_time":0.008,"end_time":0.009}],
        "id":"f","name":"f","origin":"AWS::Lambda::Function","start_time":0.0,"end_time":0.010,"parent_id":null}"#;
    let text = json!({ "Segments": [{ "Document": nested }], "Duration": 0.01, "Id": "1-a" }).to_string();
    let row = analyze_text(&text).unwrap().row;
    assert_eq!(row.longest_path_names, ["f", "Invocation", "Overhead"]);
    assert_eq!((row.part(Computation), row.part(Overhead)), (Some(9_000), Some(1_000)));
}

#[test]
fn a_span_sent_twice_is_one_span() {
    let mut documents: Vec<Value> = SYNCHRONOUS.into_iter().map(document).collect();
    let once = analyze_text(&line("1-a", 0.1, &documents)).unwrap();
    documents.push(documents[3].clone());
    documents.insert(4, documents[2].clone());
    assert_eq!(analyze_text(&line("1-a", 0.1, &documents)).unwrap(), once);
    documents[4]["parent_id"] = json!("r");
    check_invalid(&line("1-a", 0.1, &documents), "conflicting_parents");
}

#[test]
fn a_trace_that_cannot_be_explained_says_why() {
    let documents: Vec<Value> = SYNCHRONOUS.into_iter().map(document).collect();
    check_invalid(&line("1-a", Value::Null, &documents), "no_duration");
    check_invalid(&line("1-a", 0.1, &[]), "no_root");
    check_invalid(&line("1-a", 0.101_002, &documents), "duration_mismatch");
    check_invalid(&line("1-a", 1e300, &documents), "time_out_of_range");
    let changed = |place: usize, key: &str, value: Value| {
        let mut documents = documents.clone();
        documents[place][key] = value;
        line("1-a", 0.1, &documents)
    };
    check_invalid(&changed(3, "in_progress", json!(true)), "in_progress");
    check_invalid(&changed(5, "parent_id", json!("gone")), "missing_parent");
    check_invalid(&changed(0, "parent_id", json!("d")), "no_root");
    check_invalid(&changed(1, "start_time", json!(-1.0)), "root_not_first");
    check_invalid(&changed(3, "end_time", json!(1e300)), "time_out_of_range");
    check_invalid(&trace(&SYNCHRONOUS[..1]), "ends_nowhere");
    // The asynchronous part hangs on a span that is not on the way: the path stays in the synchronous part.
    let mut spans = asynchronous(0.0);
    spans[4].1 = "r";
    spans[3] = ("x", "r", "bucket", BUCKET, 20.0, 300.0);
    check_invalid(&trace(&spans), "ends_nowhere");
}

#[test]
fn a_path_that_misses_the_span_that_ends_last_is_no_explanation() {
    let spans = [
        ("r", "", "api", GATEWAY, 0.0, 10.0),
        ("l", "r", "upload", LAMBDA, 5.0, 100.0),
        // Sets off what ends last, but runs beside a sibling that ends later.
        ("x", "l", "bucket", BUCKET, 20.0, 60.0),
        ("y", "l", "items", TABLE, 30.0, 90.0),
        ("m", "x", "resize", LAMBDA, 70.0, 300.0),
    ];
    check_invalid(&trace(&spans), "wrong_end");
}

#[test]
fn parts_may_miss_the_duration_by_less_than_the_margin() {
    let documents: Vec<Value> = SYNCHRONOUS.into_iter().map(document).collect();
    assert!(analyze_text(&line("1-a", 0.101, &documents)).is_ok());
    check_invalid(&line("1-a", 0.101_001, &documents), "parts_mismatch");
}

#[test]
fn a_malformed_trace_is_invalid_and_keeps_its_id() {
    let good = trace(&SYNCHRONOUS);
    for (from, to) in [
        (r#""Duration":0.1"#, r#""Duration":NaN"#),
        (r#""Duration":0.1"#, r#""Duration":1e999"#),
        (r#""Duration":0.1"#, r#""Duration":"0.1""#),
        (r#""Segments":["#, r#""Segments":[{},"#),
        (r#""Segments":["#, r#""Segments":[7,"#),
        (r#"\"id\":\"f\""#, r#"\"id\":7"#),
        (r#"\"id\":\"f\","#, ""),
        (r#"\"name\":\"items\","#, ""),
        (r#"\"end_time\":0.05"#, r#"\"end_time\":null"#),
        (r#"\"end_time\":0.05"#, r#"\"end_time\":\"later\""#),
        (r#"\"end_time\":0.05"#, r#"\"end_time\":0.05,\"subsegments\":{}"#),
        (r#"\"end_time\":0.05"#, r#"\"end_time\":0.05,\"subsegments\":[],\"subsegments\":[]"#),
        (r#"\"end_time\":0.05"#, r#"\"end_time\":0.05]"#),
        (r#"{\"id\":\"f\""#, r#"[{\"id\":\"f\""#),
        ("]}", "]"),
        ("]}", "]}}"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        check_invalid(&bad, "malformed");
        assert_eq!(analyze_text(&bad).unwrap_err().id.as_deref(), Some("1-a"), "{bad}");
    }
    for bad in ["", "{}", "[]", "null", "7", "{", r#"{"Id":7}"#, r#"{"Duration":1}"#] {
        check_invalid(bad, "malformed");
    }
}

#[test]
fn a_hundred_thousand_levels_are_no_problem() {
    let levels: usize = 100_000;
    let mut nested = String::new();
    for level in 0..levels {
        let (start, end) = (level as f64 / 1e6, 1.0 - level as f64 / 1e6);
        write!(
            nested,
            r#"{{"id":"{level}","name":"n","start_time":{start},"end_time":{end},"subsegments":["#
        )
        .unwrap();
    }
    nested.push_str(&"]}".repeat(levels));
    let text = json!({ "Id": "1-a", "Duration": 1.0, "Segments": [{ "Document": nested }] }).to_string();
    let analysis = analyze_text(&text).unwrap();
    assert_eq!(analysis.path.len(), levels);
    assert_eq!(analysis.row.part(Unclassified), Some(1_000_000));

    let levels = 20_000;
    let ids: Vec<String> = (0..levels).map(|level| level.to_string()).collect();
    let chain: Vec<Value> = (0..levels)
        .map(|level| {
            let parent = if level == 0 { "" } else { &ids[level - 1] };
            document((&ids[level], parent, "n", "", level as f64, 200_000.0 - level as f64))
        })
        .collect();
    let analysis = analyze_text(&line("1-a", 200.0, &chain)).unwrap();
    assert_eq!(analysis.path.len(), levels);
}

#[test]
fn columns_and_stored_names_of_activities_agree() {
    for activity in Activity::ALL {
        assert_eq!(json!(activity), json!(activity.name()));
    }
    let columns = Activity::ALL.map(Activity::name).join(",") + "\r\n";
    assert!(crate::row::BREAKDOWN_HEADER.ends_with(&columns));
}

fn run(traces: &[u8]) -> (String, String, AnalysisSummary) {
    let (mut breakdown, mut invalid) = (Vec::new(), Vec::new());
    let summary = analyze(io::Cursor::new(traces.to_vec()), &mut breakdown, &mut invalid, &|_| {}).unwrap();
    (String::from_utf8(breakdown).unwrap(), String::from_utf8(invalid).unwrap(), summary)
}

#[test]
fn a_damaged_line_does_not_touch_the_others() {
    let good = trace(&SYNCHRONOUS);
    let mut file = format!("\u{feff}{}\r\n\n{good}\n", &good[..good.len() / 2]).into_bytes();
    file.extend_from_slice(b"\xff\xfe\n");
    file.extend_from_slice(good.as_bytes());
    let (breakdown, invalid, summary) = run(&file);
    assert_eq!((summary.valid, summary.invalid), (2, 2));
    assert_eq!(summary.reasons.into_iter().collect::<Vec<_>>(), [("malformed", 2)]);
    assert_eq!(breakdown.lines().count(), 3);
    let invalid: Vec<&str> = invalid.lines().collect();
    assert_eq!(invalid[0], "trace_id,message");
    assert!(invalid[1].starts_with("1-a,malformed: "), "{}", invalid[1]);
    assert!(
        invalid[2].starts_with(",malformed: the trace cannot be read (number 4 of the file: "),
        "{}",
        invalid[2]
    );
}

#[test]
fn traces_may_be_spread_over_lines() {
    let good = trace(&SYNCHRONOUS);
    let pretty =
        |text: &str| serde_json::to_string_pretty(&serde_json::from_str::<Value>(text).unwrap()).unwrap();
    let (expected, _, _) = run(format!("{good}\n{good}\n").as_bytes());
    let damaged = "{\n  \"Id\": \"1-b\",\n  \"Duration\": x\n}";
    let (breakdown, invalid, summary) =
        run(format!("{}\n{damaged}\n{}\n", pretty(&good), pretty(&good)).as_bytes());
    assert_eq!(breakdown, expected);
    assert_eq!((summary.valid, summary.invalid), (2, 1));
    assert!(invalid.contains("1-b,malformed: "), "{invalid}");
}

#[test]
fn an_empty_file_gives_headers_alone() {
    for text in ["", "\n\n"] {
        let (breakdown, invalid, summary) = run(text.as_bytes());
        assert_eq!(summary, AnalysisSummary::default());
        assert_eq!((breakdown.lines().count(), invalid.lines().count()), (1, 1));
    }
}

#[test]
fn files_are_written_beside_the_input_and_nothing_else_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces.json");
    let text = format!("{}\n{}\n", trace(&SYNCHRONOUS), trace(&SYNCHRONOUS[..1]));
    fs::write(&path, &text).unwrap();
    fs::write(folder.path().join("trace_breakdown.csv"), "of an earlier analysis").unwrap();
    let seen = RefCell::new(Vec::new());
    let progress = |bytes| seen.borrow_mut().push(bytes);
    let summary =
        analyze_file(&path, &AnalyzeOptions { progress: Some(&progress), ..AnalyzeOptions::default() })
            .unwrap();
    assert_eq!((summary.valid, summary.invalid), (2, 0));
    assert_eq!(*seen.borrow(), [text.len() as u64]);
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["invalid_traces.csv", "trace_breakdown.csv", "traces.json"]);
    let rows = read_breakdown(fs::File::open(folder.path().join("trace_breakdown.csv")).unwrap()).unwrap();
    assert_eq!(rows[0], analyze_text(&trace(&SYNCHRONOUS)).unwrap().row);

    let absent = folder.path().join("absent.json");
    let error = analyze_file(&absent, &AnalyzeOptions::default()).unwrap_err().to_string();
    assert!(error.contains(absent.to_str().unwrap()), "{error}");
}

#[test]
fn a_breakdown_that_cannot_be_read_says_where() {
    let (good, _, _) = run(trace(&SYNCHRONOUS).as_bytes());
    for (from, to, expected) in [
        ("queing", "queueing", "no column `queing`"),
        ("0:00:00.100000", "0.1", "row 1: `0.1` is no duration (H:MM:SS.ffffff) (column `duration`)"),
        ("['api'", "['api", "(column `longest_path_names`)"),
    ] {
        let bad = good.replacen(from, to, 1);
        let message = read_breakdown(bad.as_bytes()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

/// Draws a random but valid trace: spans that follow each other within their parents, cold starts, and functions
/// that are set off asynchronously one after the other.
struct Draw<'a> {
    choices: std::iter::Cycle<std::slice::Iter<'a, u8>>,
    documents: Vec<Value>,
    /// Cold starts on the way, which is all of the trace.
    cold_starts: u64,
}

impl Draw<'_> {
    fn choose(&mut self, limit: u64) -> u64 {
        u64::from(*self.choices.next().unwrap()) % limit
    }

    fn span(&mut self, parent: &str, name: &str, origin: &str, start: u64, end: u64) -> String {
        let id = self.documents.len().to_string();
        self.documents.push(document((&id, parent, name, origin, start as f64, end as f64)));
        id
    }

    /// Fills a span with others; returns the id of the last one that an asynchronous one can hang on.
    fn fill(&mut self, parent: &str, start: u64, end: u64, depth: u64) -> String {
        let mut last = parent.to_owned();
        let mut from = start;
        for _ in 0..self.choose(4) {
            let length = (end - from) / 2;
            if length < 20 || depth == 0 {
                break;
            }
            let (start, end) = (from + self.choose(5), from + 5 + length);
            let origin = ["", LAMBDA, BUCKET, TABLE, "AWS::Unheard::Of"][self.choose(5) as usize];
            let name = ["Dwell Time", "Overhead", "it's", "a \"b\", c"][self.choose(4) as usize];
            last = if self.choose(3) == 0 {
                self.function(parent, start, end, depth)
            } else {
                let id = self.span(parent, name, origin, start, end);
                self.fill(&id, start, end, depth - 1)
            };
            // The time between two spans is long enough for the margin.
            from = end + 3 + self.choose(4);
        }
        last
    }

    fn function(&mut self, parent: &str, start: u64, end: u64, depth: u64) -> String {
        let lambda = self.span(parent, "λ", LAMBDA, start, end);
        let cold = end - start > 40 && self.choose(2) == 0;
        let from = if cold { start + 20 } else { start + 2 };
        let function = self.span(&lambda, "λ", FUNCTION, from, end - 2);
        if cold {
            self.span(&function, "Initialization", "", start + 5, start + 15);
            self.cold_starts += 1;
        }
        self.fill(&function, from + 1, end - 3, depth.saturating_sub(1))
    }
}

/// The line, and its number of cold starts.
fn drawn(id: &str, choices: &[u8]) -> (String, u64) {
    let mut draw = Draw { choices: choices.iter().cycle(), documents: Vec::new(), cold_starts: 0 };
    let mut end = 1_000;
    let root = draw.span("", "api", GATEWAY, 0, end);
    let mut last = draw.function(&root, 5, end - 5, 4);
    for _ in 0..draw.choose(3) {
        let start = end + 20;
        end = start + 400;
        last = draw.function(&last, start, end, 2);
    }
    (line(id, end as f64 / 1e3, &draw.documents), draw.cold_starts)
}

/// One in ten is invalid.
static LINES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let line = |number: u8| {
        let (text, _) = drawn(&format!("1-{number:03}"), &[number, number / 3, 7, number / 7]);
        if number.is_multiple_of(10) { text.replace(r#""Duration":"#, r#""Duration":1"#) } else { text }
    };
    (0..150).map(line).collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parts_add_up_to_the_duration(choices in prop::collection::vec(any::<u8>(), 1..60)) {
        let (text, cold_starts) = drawn("1-a", &choices);
        let analysis = analyze_text(&text).map_err(|rejected| {
            TestCaseError::fail(format!("{}\n{text}", rejected.reason.message()))
        })?;
        prop_assert_eq!(analysis.row.parts.sum(), analysis.row.duration);
        prop_assert_eq!(analysis.row.num_cold_starts, cold_starts);
        assert_pieces_lead_from_start_to_end(&analysis);
        let mut file = String::from(crate::row::BREAKDOWN_HEADER);
        analysis.row.write(&mut file);
        prop_assert_eq!(read_breakdown(file.as_bytes()).unwrap(), vec![analysis.row]);
    }

    #[test]
    fn the_order_of_segments_does_not_matter(
        choices in prop::collection::vec(any::<u8>(), 1..60),
        order in prop::collection::vec(any::<u32>(), 200),
    ) {
        let (text, _) = drawn("1-a", &choices);
        let expected = analyze_text(&text).unwrap();
        let mut line: Value = serde_json::from_str(&text).unwrap();
        let mut segments = line["Segments"].as_array().unwrap().clone();
        let mut keys = order.iter().cycle();
        segments.sort_by_cached_key(|_| *keys.next().unwrap());
        line["Segments"] = json!(segments);
        let found = analyze_text(&line.to_string()).unwrap();
        let times = |analysis: &Analysis| -> Vec<_> {
            analysis.pieces.iter().map(|piece| (piece.start, piece.end, piece.activity)).collect()
        };
        prop_assert_eq!(times(&found), times(&expected));
        prop_assert_eq!(&found.row.longest_path_names, &expected.row.longest_path_names);
        // These alone are listed in the order of the file.
        let sorted = |analysis: &Analysis| {
            let mut row = analysis.row.clone();
            row.services.sort();
            row
        };
        prop_assert_eq!(sorted(&found), sorted(&expected));
    }

    #[test]
    fn rows_depend_neither_on_the_order_of_lines_nor_on_batches(
        order in Just((0..150_usize).collect::<Vec<_>>()).prop_shuffle(),
        batch_size in 1..200_000_usize,
        jobs in 1..5_usize,
    ) {
        let lines = &*LINES;
        let (breakdown, invalid, summary) = run((lines.join("\n") + "\n").as_bytes());
        let shuffled: Vec<&str> = order.iter().map(|&place| lines[place].as_str()).collect();
        let (mut other_breakdown, mut other_invalid) = (Vec::new(), Vec::new());
        let other_summary = analyze_in_chunks(
            batch_size, jobs, shuffled.join("\n").into_bytes(), &mut other_breakdown, &mut other_invalid,
        ).unwrap();
        prop_assert_eq!(summary.valid, 135);
        prop_assert_eq!(&summary, &other_summary);
        let in_order = |text: &[u8]| -> Vec<usize> {
            let rows = std::str::from_utf8(text).unwrap().lines().skip(1);
            rows.map(|row| row[2..5].parse().unwrap()).collect()
        };
        let expected: Vec<usize> = order.iter().copied().filter(|number| number % 10 != 0).collect();
        prop_assert_eq!(in_order(&other_breakdown), expected);
        for (ours, other) in [(breakdown, other_breakdown), (invalid, other_invalid)] {
            let sorted = |text: &str| {
                let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
                rows.sort();
                rows
            };
            prop_assert_eq!(sorted(&ours), sorted(std::str::from_utf8(&other).unwrap()));
        }
    }

    #[test]
    fn damage_to_one_trace_is_only_its_own(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>().prop_filter("a line end makes two lines", |&byte| byte != b'\n'),
    ) {
        let good = trace(&asynchronous(0.0));
        let mut damaged = good.clone().into_bytes();
        let place = place.index(damaged.len());
        damaged[place] = byte;
        let file = [good.as_bytes(), b"\n", &damaged, b"\n", good.as_bytes()].concat();
        let (breakdown, _, summary) = run(&file);
        prop_assert_eq!(summary.valid + summary.invalid, 3);
        let rows: Vec<&str> = breakdown.lines().collect();
        prop_assert_eq!(rows[1], *rows.last().unwrap());
        let (expected, _, _) = run(good.as_bytes());
        prop_assert_eq!(rows[1], expected.lines().nth(1).unwrap());
    }
}
