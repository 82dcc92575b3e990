//! Fused traces: functions of OpenTelemetry within X-Ray's spans of the platform.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::io::analyze::{AnalyzeOptions, analyze, analyze_fused};
use crate::io::fused::{are_parts_of_traces, for_each_fused_trace};
use crate::io::measured::for_each_measured_together;
use crate::method::Method;
use crate::path::breakdown::{Activity, Analysis};
use crate::report::waterfall::Waterfall;
use crate::row::{BreakdownRow, read_breakdown};

/// What of a chain is drawn at random.
#[derive(Clone, Copy, Debug)]
struct Chain {
    number: u64,
    /// Milliseconds that each function works before it sends on.
    work: u64,
    /// Milliseconds that a message waits in the queue, and an event on the bus.
    wait: u64,
    is_cold: bool,
    /// By how many microseconds the functions' clocks are ahead.
    ahead: i64,
    /// The bus does not pass the context of the sender on: X-Ray names a parent that nobody has.
    is_lost: bool,
}

const SECONDS: u64 = 1_700_000_000;

/// Segments of X-Ray, by trace, and spans of OpenTelemetry: a gateway, a function that sends to a queue, one that takes its
/// messages and publishes to a bus, and one that the bus calls.
struct Documents {
    xray: Vec<String>,
    otlp: String,
}

fn xray_id(trace: u64) -> String {
    format!("1-{SECONDS:08x}-{trace:024x}")
}

fn w3c(trace: u64) -> String {
    format!("{SECONDS:08x}{trace:024x}")
}

impl Chain {
    /// `at` is in milliseconds after the chain's start.
    fn seconds(self, at: f64) -> f64 {
        (SECONDS + self.number * 100) as f64 + at / 1e3
    }

    fn nanoseconds(self, at: f64) -> String {
        let start = i128::from(SECONDS + self.number * 100) * 1_000_000_000;
        let after = (at * 1e6).round() as i128 + i128::from(self.ahead) * 1_000;
        (start + after).to_string()
    }

    fn id(self, kind: u64) -> String {
        format!("{:08x}{kind:08x}", self.number + 1)
    }

    fn documents(self) -> Documents {
        let work = self.work as f64;
        let cold = if self.is_cold { 200.0 } else { 0.0 };
        let segment = |kind: u64, parent: Option<&str>, origin: &str, name: &str, from: f64, to: f64| {
            let mut document = json!({ "id": self.id(kind), "name": name, "origin": origin,
                                       "start_time": self.seconds(from), "end_time": self.seconds(to) });
            if let Some(parent) = parent {
                document["parent_id"] = json!(parent);
            }
            document
        };
        let part = |kind: u64, name: &str, from: f64, to: f64| json!({ "id": self.id(kind), "name": name, "start_time": self.seconds(from), "end_time": self.seconds(to) });
        // The service, the function and its parts; the function runs from `from` on and works twice, around what it sends.
        let lambda = |kind: u64, parent: &str, name: &str, from: f64, links: &Value| {
            let (start, end) = (from + 8.0 + cold, from + 10.0 + cold + 2.0 * work);
            let mut service = segment(kind, Some(parent), "AWS::Lambda", name, from, end + 4.0);
            let mut function = segment(
                kind + 1,
                Some(&self.id(kind)),
                "AWS::Lambda::Function",
                name,
                start - 1.0,
                end + 3.0,
            );
            let mut parts = vec![
                part(kind + 2, "Invocation", start - 0.5, end + 1.0),
                part(kind + 3, "Overhead", end + 1.2, end + 2.8),
            ];
            if self.is_cold {
                parts.push(part(kind + 4, "Initialization", from + 20.0, from + 180.0));
            }
            function["subsegments"] = json!(parts);
            if !links.is_null() {
                service["links"] = links.clone();
            }
            vec![service, function]
        };
        let span = |kind: u64,
                    trace: u64,
                    parent: &str,
                    name: &str,
                    word: u64,
                    from: f64,
                    to: f64,
                    key: &str| {
            json!({ "traceId": w3c(trace), "spanId": self.id(kind), "parentSpanId": parent, "name": name, "kind": word,
                    "startTimeUnixNano": self.nanoseconds(from), "endTimeUnixNano": self.nanoseconds(to),
                    "attributes": [{ "key": key, "value": { "stringValue": "x" } }] })
        };
        let (first, second) = (2 * self.number + 1, 2 * self.number + 2);
        // When each function's own code begins.
        let a = 10.0 + 8.0 + cold;
        let waiting = a + work + 2.0;
        let taken = waiting + self.wait as f64;
        let b = taken + 8.0 + cold;
        let called = b + work + self.wait as f64 + 1.0;
        let c = called + 8.0 + cold;
        let mut of_first =
            vec![segment(1, None, "AWS::ApiGateway::Stage", "api", 0.0, a + 2.0 * work + 12.0)];
        of_first.extend(lambda(10, &self.id(1), "first", 10.0, &Value::Null));
        let link = json!([{ "trace_id": xray_id(first), "id": self.id(102), "attributes": {} }]);
        let mut queue = segment(2, None, "AWS::SQS::Queue", "jobs", waiting, taken);
        queue["links"] = link.clone();
        let mut of_second = vec![queue];
        of_second.extend(lambda(20, &self.id(2), "second", taken, &link));
        let caller = if self.is_lost { "00000000000000ff".to_owned() } else { self.id(104) };
        of_second.extend(lambda(30, &caller, "third", called, &Value::Null));
        let trace = |id: u64, documents: &[Value]| {
            let times = |key: &str| {
                documents.iter().filter_map(|document| document[key].as_f64()).collect::<Vec<_>>()
            };
            let start = times("start_time").into_iter().fold(f64::INFINITY, f64::min);
            let end = times("end_time").into_iter().fold(0.0, f64::max);
            let segments: Vec<Value> =
                documents.iter().map(|document| json!({ "Document": document.to_string() })).collect();
            json!({ "Id": xray_id(id), "Duration": end - start, "Segments": segments }).to_string()
        };
        let faas = "faas.invocation_id";
        let spans = [
            span(101, first, &self.id(11), "first", 2, a, a + 2.0 * work + 1.0, faas),
            span(102, first, &self.id(101), "jobs publish", 4, a + work, a + work + 1.0, "messaging.system"),
            span(103, second, &self.id(21), "second", 2, b, b + 2.0 * work + 1.0, faas),
            span(104, second, &self.id(103), "bus publish", 4, b + work, b + work + 1.0, "messaging.system"),
            span(105, second, &self.id(31), "third", 2, c, c + 2.0 * work + 1.0, faas),
            span(106, second, &self.id(105), "items", 3, c + 1.0, c + work, "db.system"),
        ];
        let resource =
            json!({ "attributes": [{ "key": "cloud.platform", "value": { "stringValue": "aws_lambda" } }] });
        Documents {
            xray: vec![trace(first, &of_first), trace(second, &of_second)],
            otlp: json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": spans }] }] })
                .to_string(),
        }
    }
}

fn files(folder: &tempfile::TempDir, chains: &[Chain], is_reversed: bool) -> Vec<PathBuf> {
    let documents: Vec<Documents> = chains.iter().map(|chain| chain.documents()).collect();
    let mut xray: Vec<&str> = documents.iter().flat_map(|chain| &chain.xray).map(String::as_str).collect();
    let mut otlp: Vec<&str> = documents.iter().map(|chain| &*chain.otlp).collect();
    let paths = ["xray.json", "otlp.json"].map(|name| folder.path().join(name));
    let mut paths = paths.to_vec();
    if is_reversed {
        xray.reverse();
        otlp.reverse();
    }
    fs::write(&paths[0], xray.join("\n")).unwrap();
    fs::write(&paths[1], otlp.join("\n")).unwrap();
    if is_reversed {
        paths.reverse();
    }
    paths
}

fn fused(chains: &[Chain], is_reversed: bool) -> (Vec<BreakdownRow>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let paths = files(&folder, chains, is_reversed);
    assert!(are_parts_of_traces(&paths).unwrap());
    let breakdown = folder.path().join("rows.csv");
    let options = AnalyzeOptions { breakdown: Some(breakdown.clone()), ..AnalyzeOptions::default() };
    let summary = analyze_fused(&paths, &options).unwrap();
    let rows = read_breakdown(fs::File::open(breakdown).unwrap()).unwrap();
    assert_eq!(rows.len() as u64, summary.valid);
    (rows, summary.invalid)
}

/// The rows of one source alone.
fn alone(texts: &[String]) -> Vec<BreakdownRow> {
    let mut rows = Vec::new();
    let input = std::io::Cursor::new(texts.join("\n").into_bytes());
    analyze(input, &mut rows, std::io::sink(), &|_| {}).unwrap();
    read_breakdown(&*rows).unwrap()
}

#[test]
fn what_was_measured_is_known_of_traces_of_both_sources() {
    let folder = tempfile::tempdir().unwrap();
    let chains = [WARM, Chain { number: 1, is_cold: true, ..WARM }];
    let paths = files(&folder, &chains, false);
    // It lies beside the second file of the group.
    let beside = folder.path().join("measured");
    fs::create_dir(&beside).unwrap();
    let moved = beside.join("otlp.json");
    fs::rename(&paths[1], &moved).unwrap();
    fs::write(
        beside.join("run.json"),
        json!({ "application": "shop", "factors": { "size": 2 } }).to_string(),
    )
    .unwrap();
    let sent = format!(
        "invocation,request,trace_id,planned,sent,answered,latency_ms,latency_from_planned_ms,status,outcome\n\
         1,buy,{},1.000000,1.000000,1.020000,20.000,20.000,200,ok\n",
        xray_id(1)
    );
    fs::write(beside.join("invocations.csv"), sent).unwrap();
    let mut found = Vec::new();
    let groups = [vec![paths[0].clone(), moved.clone()]];
    for_each_measured_together(
        &groups,
        false,
        &mut |trace, analysis, measured| {
            assert_eq!(measured.request, (trace.id == w3c(1)).then_some("buy"), "{}", trace.id);
            let size = measured.values.get("size").cloned();
            found.push((
                trace.id.to_string(),
                analysis.row.num_cold_starts,
                measured.application.to_owned(),
                size,
            ));
        },
        &mut |rejected| panic!("{rejected:?}"),
    )
    .unwrap();
    found.sort();
    let expected = |number, cold| (w3c(number), cold, "shop".to_owned(), Some("2".to_owned()));
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0], &found[1]), (&expected(1, 0), &expected(3, 3)), "{found:?}");
}

const WARM: Chain = Chain { number: 0, work: 20, wait: 50, is_cold: false, ahead: 0, is_lost: false };

const PATH: &str = "api first first Invocation first jobs publish jobs second second Invocation second bus publish third third \
                    Invocation third items Overhead";

#[test]
fn a_chain_through_a_queue_and_a_bus_is_one_trace_of_both_sources() {
    for chain in [WARM, Chain { is_cold: true, ..WARM }, Chain { is_lost: true, ..WARM }] {
        let (rows, invalid) = fused(&[chain], false);
        assert_eq!((rows.len(), invalid), (1, 0), "{chain:?}");
        let row = &rows[0];
        let expected = if chain.is_cold {
            PATH.replace(" Invocation", " Initialization Invocation")
        } else {
            PATH.to_owned()
        };
        assert_eq!(row.longest_path_names.join(" "), expected, "{chain:?}");
        assert_eq!(row.trace_id, w3c(1));
        assert_eq!(row.num_cold_starts, if chain.is_cold { 3 } else { 0 });
        assert_eq!(row.parts.sum(), row.duration);
        assert_eq!(row.part(Activity::Queueing), Some(50_000), "the wait in the queue is X-Ray's");
        assert_eq!(
            row.part(Activity::ExternalService),
            Some(1_000 + 1_000 + 19_000),
            "what functions call is OpenTelemetry's"
        );
    }
}

/// Which of X-Ray's spans a function names as its parent depends on where it takes the context from.
#[test]
fn a_function_is_a_part_of_its_invocation_whichever_span_of_the_platform_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let paths = files(&folder, &[WARM], false);
    let rows = |otlp: &str| {
        fs::write(&paths[1], otlp).unwrap();
        let breakdown = folder.path().join("rows.csv");
        let options = AnalyzeOptions { breakdown: Some(breakdown.clone()), ..AnalyzeOptions::default() };
        analyze_fused(&paths, &options).unwrap();
        read_breakdown(fs::File::open(breakdown).unwrap()).unwrap()
    };
    let otlp = fs::read_to_string(&paths[1]).unwrap();
    let expected = rows(&otlp);
    // The service that runs the function, the gateway that calls it, its invocation, and a span that nobody has.
    for other in [10, 1, 12, 999] {
        let (named, other) = (WARM.id(11), WARM.id(other));
        let changed =
            otlp.replace(&format!("\"parentSpanId\":\"{named}\""), &format!("\"parentSpanId\":\"{other}\""));
        assert_ne!(changed, otlp);
        assert_eq!(rows(&changed), expected, "{other}");
    }
}

#[test]
fn each_source_alone_has_no_such_trace() {
    let documents = WARM.documents();
    let is_whole = |row: &BreakdownRow| row.longest_path_names.join(" ") == PATH;
    assert_eq!(alone(&documents.xray[1..]), [], "its third function has a parent that X-Ray has not");
    assert!(alone(&documents.xray).iter().all(|row| row.trace_id == xray_id(1)), "the first alone is whole");
    // OpenTelemetry alone has two traces. Where spans of the platform are missing, those that are inferred say so.
    let rows = alone(&[documents.otlp]);
    assert!(!rows.iter().any(is_whole) && rows.len() == 2, "{rows:?}");
    assert!(rows[1].services.iter().any(|origin| origin == "OTel::Inferred"), "{rows:?}");
}

#[test]
fn a_fused_trace_is_one_waterfall() {
    let folder = tempfile::tempdir().unwrap();
    let paths = files(&folder, &[WARM], false);
    let mut drawn = Vec::new();
    for_each_fused_trace(&paths, |recorded| {
        let waterfall = Method::default()
            .inspect(recorded.unwrap(), |trace, analysis| Waterfall::new(trace, &analysis))
            .unwrap();
        let mut out = String::new();
        waterfall.to_terminal(&mut out, 200, crate::report::Ink::Plain).unwrap();
        drawn.push(out);
        true
    })
    .unwrap();
    let [drawn] = drawn.as_slice() else { panic!("{} waterfalls", drawn.len()) };
    for name in ["api", "jobs publish", "bus publish", "items", "Overhead"] {
        assert!(drawn.contains(name), "{name} in\n{drawn}");
    }
}

#[test]
fn what_both_sources_have_is_one_span_and_another_format_is_refused() {
    let mut documents = WARM.documents();
    // X-Ray has the call of the database, too, and what it infers beneath.
    let mut trace: Value = serde_json::from_str(&documents.xray[1]).unwrap();
    let call = json!({ "id": WARM.id(106), "parent_id": WARM.id(105), "name": "items", "origin": "AWS::DynamoDB::Table",
                       "start_time": WARM.seconds(180.0), "end_time": WARM.seconds(181.0) });
    trace["Segments"].as_array_mut().unwrap().push(json!({ "Document": call.to_string() }));
    documents.xray[1] = trace.to_string();
    let folder = tempfile::tempdir().unwrap();
    let paths = ["xray.json", "otlp.json", "azure.json"].map(|name| folder.path().join(name));
    fs::write(&paths[0], documents.xray.join("\n")).unwrap();
    fs::write(&paths[1], documents.otlp).unwrap();
    fs::write(&paths[2], r#"{"tables":[]}"#).unwrap();
    let mut count = 0;
    for_each_fused_trace(&paths[..2], |recorded| {
        let recorded = recorded.unwrap();
        count += recorded.spans.iter().filter(|span| span.name == "items").count();
        assert!(
            Method::default()
                .explain(recorded)
                .is_ok_and(|analysis: Analysis| { analysis.row.longest_path_names.join(" ") == PATH })
        );
        true
    })
    .unwrap();
    assert_eq!(count, 1);
    let error = for_each_fused_trace(&paths, |_| true).unwrap_err().to_string();
    assert!(error.contains("azure.json") && error.contains("name it alone"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the times, at least 99 % are valid, and the order of files, lines and documents says nothing.
    #[test]
    fn fused_chains_are_valid_in_any_order(
        drawn in proptest::collection::vec((1_u64..400, 0_u64..2_000, any::<bool>(), -900_i64..900, any::<bool>()), 20),
    ) {
        let chains: Vec<Chain> = (0..)
            .zip(drawn)
            .map(|(number, (work, wait, is_cold, ahead, is_lost))| Chain { number, work, wait, is_cold, ahead, is_lost })
            .collect();
        let (rows, invalid) = fused(&chains, false);
        prop_assert_eq!((rows.len(), invalid), (chains.len(), 0));
        for row in &rows {
            prop_assert_eq!(row.parts.sum(), row.duration);
            prop_assert!(row.parts.iter().all(|(_, part)| part.is_none_or(|part| part >= 0)), "{:?}", row);
        }
        let mut reversed = fused(&chains, true).0;
        for (row, other) in rows.into_iter().zip(&mut reversed) {
            prop_assert_eq!(&row, other);
        }
    }
}
