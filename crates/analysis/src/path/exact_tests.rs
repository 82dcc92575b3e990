use proptest::prelude::*;
use serde_json::{Value, json};

use crate::invalid::Invalid;
use crate::method::Method;
use crate::path::breakdown::{Activity, Algorithm, Analysis, Piece};
use crate::path::{critical_path, firm};
use crate::read::{otlp, xray};
use crate::span::{Recorded, SpanIndex, Trace};

/// Of a span: id, id of its parent, origin, start and end in milliseconds.
type TimedSpan<'s> = (&'s str, &'s str, &'s str, f64, f64);

const GATEWAY: &str = "AWS::ApiGateway::Stage";
const LAMBDA: &str = "AWS::Lambda";
const FUNCTION: &str = "AWS::Lambda::Function";
const TABLE: &str = "AWS::DynamoDB::Table";

/// The spans as segments of X-Ray. What is written `id:name` has this name.
fn trace_of(spans: &[TimedSpan<'_>]) -> String {
    let end = spans.iter().map(|span| span.4).fold(0.0, f64::max);
    let segments: Vec<Value> = spans
        .iter()
        .map(|&(id, parent, origin, start, end)| {
            let (id, name) = id.split_once(':').unwrap_or((id, id));
            let parent = (!parent.is_empty()).then_some(parent);
            let origin = (!origin.is_empty()).then_some(origin);
            let document = json!({ "id": id, "parent_id": parent, "name": name, "origin": origin,
                                   "start_time": start / 1e3, "end_time": end / 1e3 });
            json!({ "Document": document.to_string() })
        })
        .collect();
    json!({ "Id": "1-a", "Duration": end / 1e3, "Segments": segments }).to_string()
}

fn analyze(spans: &[TimedSpan<'_>]) -> Result<Analysis, Invalid> {
    Method::default().analyze_text(&trace_of(spans)).map_err(|rejected| rejected.reason)
}

/// `names` are those of the path; `parts` are in milliseconds.
#[track_caller]
fn check(spans: &[TimedSpan<'_>], names: &str, parts: &[(Activity, f64)]) -> Analysis {
    let analysis = analyze(spans).unwrap();
    assert_eq!(analysis.row.longest_path_names.join(" "), names);
    let found: Vec<(Activity, f64)> = analysis
        .row
        .parts
        .iter()
        .filter_map(|(activity, part)| Some((activity, part.filter(|&part| part != 0)? as f64 / 1e3)))
        .collect();
    assert_eq!(found, parts);
    analysis
}

#[test]
fn of_children_side_by_side_those_are_on_the_path_that_hold_their_parent_up() {
    // What ends before c starts overlaps: only b holds c up.
    let spans = [
        ("r", "", FUNCTION, 0.0, 710.0),
        ("a", "r", TABLE, 10.0, 310.0),
        ("b", "r", TABLE, 10.0, 410.0),
        ("c", "r", TABLE, 500.0, 700.0),
    ];
    let analysis =
        check(&spans, "r b c", &[(Activity::Computation, 110.0), (Activity::ExternalService, 600.0)]);
    assert!(analysis.differs_from_study);
    let study = Method { algorithm: Algorithm::Study, ..Method::default() };
    let published = study.analyze_text(&trace_of(&spans)).unwrap();
    assert_eq!(published.row.longest_path_names.join(" "), "r a b c");
    assert!(published.row.part(Activity::Computation).unwrap() < 0);
}

#[test]
fn what_only_ends_first_is_off_the_path_though_it_is_slower() {
    let spans = [
        ("r", "", GATEWAY, 0.0, 100.0),
        ("a", "r", TABLE, 5.0, 94.0),
        ("b", "r", TABLE, 60.0, 98.0),
        ("c", "r", TABLE, 10.0, 55.0),
    ];
    check(&spans, "r c b", &[(Activity::Orchestration, 17.0), (Activity::ExternalService, 83.0)]);
}

#[test]
fn siblings_that_overlap_by_the_resolution_of_a_clock_follow_each_other() {
    let spans =
        |end| [("r", "", GATEWAY, 0.0, 100.0), ("a", "r", TABLE, 10.0, end), ("b", "r", TABLE, 50.0, 90.0)];
    let both = [(Activity::Orchestration, 20.0), (Activity::ExternalService, 80.0)];
    for end in [50.0, 51.0, 52.0] {
        check(&spans(end), "r a b", &both);
    }
    check(&spans(52.001), "r b", &[(Activity::Orchestration, 60.0), (Activity::ExternalService, 40.0)]);
    // 2 % of their parent would be all of a short one.
    let spans =
        [("r", "", GATEWAY, 0.0, 100.0), ("a", "r", TABLE, 50.0, 51.0), ("b", "r", TABLE, 50.0, 90.0)];
    check(&spans, "r b", &[(Activity::Orchestration, 60.0), (Activity::ExternalService, 40.0)]);
}

#[test]
fn asynchronous_children_are_followed_where_they_lead_to_the_end() {
    let spans = [
        ("r", "", GATEWAY, 0.0, 50.0),
        ("m", "r", LAMBDA, 6.0, 60.0),
        ("a", "r", LAMBDA, 5.0, 45.0),
        ("n", "a", LAMBDA, 70.0, 300.0),
        ("f", "n", FUNCTION, 80.0, 290.0),
    ];
    let parts = [(Activity::Orchestration, 65.0), (Activity::Trigger, 25.0), (Activity::Computation, 210.0)];
    check(&spans, "r a n f", &parts);
}

#[test]
fn a_wait_before_the_asynchronous_child_that_leads_to_the_end_is_on_the_path() {
    let spans = [
        ("r", "", FUNCTION, 0.0, 50.0),
        ("l", "r", LAMBDA, 70.0, 76.0),
        ("d:Dwell Time", "l", "", 70.0, 90.0),
        ("a", "l", "", 92.0, 200.0),
        ("f", "a", FUNCTION, 95.0, 199.0),
    ];
    let parts = [
        (Activity::Orchestration, 4.0),
        (Activity::Trigger, 22.0),
        (Activity::Computation, 154.0),
        (Activity::Queueing, 20.0),
    ];
    assert!(!check(&spans, "r l Dwell Time a f", &parts).differs_from_study);
}

#[test]
fn a_part_that_ends_within_the_margin_after_the_duration_is_cut() {
    let spans = [("r", "", GATEWAY, 0.0, 35.0), ("a", "r", TABLE, 10.0, 35.189)];
    let row = analyze(&spans).unwrap().row;
    assert_eq!((row.parts.sum(), row.duration), (35_189, 35_189));
    let mut trace: Value = serde_json::from_str(&trace_of(&spans)).unwrap();
    trace["Duration"] = json!(0.035);
    let row = Method::default().analyze_text(&trace.to_string()).unwrap().row;
    assert_eq!((row.parts.sum(), row.duration), (35_000, 35_000));
}

#[test]
fn a_function_may_go_on_after_its_response() {
    // At the end of the trace, and in its middle.
    let spans = [
        ("r", "", GATEWAY, 0.0, 100.0),
        ("l", "r", LAMBDA, 10.0, 98.0),
        ("f", "l", FUNCTION, 20.0, 105.0),
        ("o:Overhead", "f", "", 70.0, 105.0),
    ];
    let parts = [(Activity::Orchestration, 20.0), (Activity::Computation, 50.0), (Activity::Overhead, 35.0)];
    check(&spans, "r l f Overhead", &parts);
    let spans = [
        ("r", "", GATEWAY, 0.0, 100.0),
        ("l", "r", LAMBDA, 10.0, 30.0),
        ("f", "l", FUNCTION, 12.0, 60.0),
        ("o:Overhead", "f", "", 40.0, 60.0),
        ("b", "r", TABLE, 35.0, 95.0),
    ];
    let parts =
        [(Activity::Orchestration, 22.0), (Activity::Computation, 18.0), (Activity::ExternalService, 60.0)];
    check(&spans, "r l f b", &parts);
}

#[test]
fn every_start_of_a_function_is_counted_and_none_twice() {
    let function = |more: &[TimedSpan<'static>]| {
        let mut spans = vec![
            ("l", "", LAMBDA, 0.0, 6_000.0),
            ("f", "l", FUNCTION, 5_000.0, 5_990.0),
            ("i:Invocation", "f", "", 5_001.0, 5_990.0),
        ];
        spans.extend(more);
        spans
    };
    let cold = |names: &str, more: &[TimedSpan<'static>], orchestration, runtime, cold_starts| {
        let parts = [
            (Activity::Orchestration, orchestration),
            (Activity::ContainerInitialization, 200.0),
            (Activity::RuntimeInitialization, runtime),
            (Activity::Computation, 990.0),
        ];
        let analysis = check(&function(more), names, &parts);
        assert_eq!(analysis.row.num_cold_starts, cold_starts);
    };
    let initialization = ("n:Initialization", "f", "", 200.0, 4_900.0);
    cold("l f Initialization Invocation", &[initialization], 110.0, 4_700.0, 1);
    cold("l f Restore Invocation", &[("n:Restore", "f", "", 200.0, 4_900.0)], 110.0, 4_700.0, 1);
    // Another part before the function, side by side with its initialization.
    let extension = ("e:Extension", "f", "", 300.0, 900.0);
    cold("l f Initialization Invocation", &[extension, initialization], 110.0, 4_700.0, 1);
    // The first one was broken off.
    let twice =
        [("m:Initialization", "f", "", 200.0, 2_000.0), ("n:Initialization", "f", "", 2_100.0, 4_900.0)];
    cold("l f Initialization Initialization Invocation", &twice, 210.0, 4_600.0, 2);
    let restored = [initialization, ("s:Restore", "f", "", 4_910.0, 4_990.0)];
    cold("l f Initialization Restore Invocation", &restored, 30.0, 4_780.0, 2);
    // By the published algorithm, a snapshot is nothing known.
    let text = trace_of(&function(&[("n:Restore", "f", "", 200.0, 4_900.0)]));
    let study = Method { algorithm: Algorithm::Study, ..Method::default() };
    let row = study.analyze_text(&text).unwrap().row;
    assert_eq!((row.num_cold_starts, row.part(Activity::Unclassified)), (0, Some(4_700_000)));
}

#[test]
fn an_initialization_that_begins_with_its_function_differs_from_the_study() {
    // There, it has a container's start of no length.
    let spans = [
        ("r", "", GATEWAY, 0.0, 100.0),
        ("f", "r", FUNCTION, 0.0, 10.0),
        ("i:Initialization", "f", "", 0.0, 0.0),
        ("t", "f", TABLE, 0.0, 1.0),
    ];
    assert!(analyze(&spans).unwrap().differs_from_study);
    let text = trace_of(&spans);
    let study = Method { algorithm: Algorithm::Study, ..Method::default() };
    let published = study.analyze_text(&text).unwrap().row;
    assert_ne!(published, Method::default().analyze_text(&text).unwrap().row);
}

#[test]
fn a_trace_of_one_segment_is_whole_unless_its_function_is_missing() {
    check(&[("r", "", "AWS::EC2::Instance", 0.0, 100.0)], "r", &[(Activity::Computation, 100.0)]);
    let reason = analyze(&[("r", "", LAMBDA, 0.0, 100.0)]).unwrap_err();
    assert_eq!(reason.code(), "ends_nowhere");
}

#[test]
fn a_span_that_ends_before_it_starts_is_invalid() {
    let spans = |end| [("r", "", GATEWAY, 0.0, 100.0), ("a", "r", TABLE, 50.0, end)];
    assert_eq!(analyze(&spans(40.0)).unwrap_err().code(), "ends_before_start");
    check(&spans(49.5), "r a", &[(Activity::Orchestration, 100.0)]);
}

#[test]
fn spans_in_a_circle_are_off_the_path_unless_the_end_is_beneath_them() {
    let spans = |end| {
        [
            ("r", "", GATEWAY, 0.0, 500.0),
            ("c", "r", TABLE, 100.0, 400.0),
            ("x", "y", TABLE, 200.0, 300.0),
            ("y", "x", TABLE, 200.0, end),
        ]
    };
    let parts = [(Activity::Orchestration, 200.0), (Activity::ExternalService, 300.0)];
    check(&spans(300.0), "r c", &parts);
    assert_eq!(analyze(&spans(600.0)).unwrap_err().code(), "parent_loop");
}

#[test]
fn the_url_is_that_of_the_gateway_that_was_called() {
    let segment = |id: &str, parent: Option<&str>, start: f64, end: f64| {
        let document = json!({ "id": id, "parent_id": parent, "name": id, "origin": GATEWAY, "start_time": start,
                               "end_time": end, "http": { "request": { "url": format!("https://{id}/") } } });
        json!({ "Document": document.to_string() })
    };
    let (front, back) = (segment("front", None, 0.0, 1.0), segment("back", Some("front"), 0.25, 0.75));
    let url = |algorithm, segments: [&Value; 2]| {
        let text = json!({ "Id": "1-a", "Duration": 1.0, "Segments": segments }).to_string();
        Method { algorithm, ..Method::default() }.analyze_text(&text).unwrap().row.url
    };
    for segments in [[&front, &back], [&back, &front]] {
        assert_eq!(url(Algorithm::Exact, segments), "https://front/");
    }
    assert_eq!(url(Algorithm::Study, [&front, &back]), "https://back/");
}

/// Where a span lies in its parent, in thousandths of the parent's time, and how it runs.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) parent: usize,
    pub(crate) start: i64,
    pub(crate) length: i64,
    pub(crate) kind: u8,
}

pub(crate) fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let shape = (any::<prop::sample::Index>(), 0..=1_000_i64, 0..=1_000_i64, 0..=12_u8);
    prop::collection::vec(shape, 1..24).prop_map(|all| {
        let shapes = all.into_iter().enumerate().map(|(place, (parent, start, length, kind))| Shape {
            parent: parent.index(place + 1),
            start,
            length,
            kind,
        });
        shapes.collect()
    })
}

/// A span with its times in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) parent: Option<usize>,
    pub(crate) origin: &'static str,
    pub(crate) name: String,
    pub(crate) start: i64,
    pub(crate) end: i64,
}

pub(crate) const EPOCH: i64 = 1_700_000_000_000_000;

/// Sound traces: synchronous parts lie within their parents; others are initialized, go on after their responses, or are set
/// off and end later.
pub(crate) fn build(shapes: &[Shape], is_synchronous: bool) -> Vec<Built> {
    let span =
        |parent, origin, name: &str, start, end| Built { parent, origin, name: name.to_owned(), start, end };
    let mut spans = vec![span(None, GATEWAY, "root", EPOCH, EPOCH + 10_000_000)];
    for (place, shape) in shapes.iter().enumerate() {
        let parent = spans[shape.parent].clone();
        let length = parent.end - parent.start;
        let start = parent.start + length * shape.start / 1_000;
        let end = start + (parent.end - start) * shape.length / 1_000;
        let origins = [TABLE, LAMBDA, "AWS::SNS", ""];
        let (mut origin, mut name) = (origins[usize::from(shape.kind) % 4], format!("n{place}"));
        let (mut start, mut end) = (start, end);
        if !is_synchronous {
            match shape.kind {
                8 => end = parent.end + 2_000 + length * shape.length / 300,
                9 if parent.origin == LAMBDA => (origin, end) = (FUNCTION, parent.end + shape.length * 20),
                10 => (origin, name) = (FUNCTION, "f".to_owned()),
                11 if parent.origin == FUNCTION => {
                    name = ["Initialization", "Restore"][usize::from(shape.start % 2 == 0)].to_owned();
                    let before = spans[parent.parent.unwrap_or(0)].start;
                    start = before + (parent.start - before).max(0) * shape.start / 1_000;
                    end = start + (parent.start - start).max(0) * shape.length / 1_000;
                    origin = "";
                }
                // Clocks that differ a little.
                12 => start = (start - shape.length).max(EPOCH),
                _ => {}
            }
        }
        spans.push(Built { parent: Some(shape.parent), origin, name, start, end: end.max(start) });
    }
    spans
}

pub(crate) fn xray_text(spans: &[Built], order: &[usize]) -> String {
    let end = spans.iter().map(|span| span.end).max().unwrap_or(EPOCH);
    let segments: Vec<Value> = order
        .iter()
        .map(|&place| {
            let span = &spans[place];
            let document = json!({
                "id": format!("{place:016x}"), "parent_id": span.parent.map(|parent| format!("{parent:016x}")),
                "name": span.name, "origin": (!span.origin.is_empty()).then_some(span.origin),
                "start_time": span.start as f64 / 1e6, "end_time": span.end as f64 / 1e6,
            });
            json!({ "Document": document.to_string() })
        })
        .collect();
    json!({ "Id": "1-a", "Duration": (end - EPOCH) as f64 / 1e6, "Segments": segments }).to_string()
}

fn otlp_text(spans: &[Built], order: &[usize]) -> String {
    let lines: Vec<String> = order
        .iter()
        .map(|&place| {
            let span = &spans[place];
            let kind = match span.origin {
                LAMBDA => 3,
                GATEWAY | FUNCTION => 2,
                "" => 1,
                _ => 4,
            };
            let span = json!({
                "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": format!("{:016x}", place + 1), "kind": kind,
                "parentSpanId": span.parent.map(|parent| format!("{:016x}", parent + 1)), "name": span.name,
                "startTimeUnixNano": (span.start * 1_000).to_string(), "endTimeUnixNano": (span.end * 1_000).to_string(),
            });
            json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string()
        })
        .collect();
    lines.join("\n")
}

/// Path and pieces by ids.
type Told = (Vec<String>, Vec<(i64, i64, &'static str, String)>);

fn told(trace: &Trace<'_>, analysis: &Analysis) -> Told {
    let id = |span: SpanIndex| trace.span(span).id.to_string();
    let piece = |piece: &Piece| (piece.start, piece.end, piece.activity.name(), id(piece.span));
    (analysis.path.iter().copied().map(id).collect(), analysis.pieces.iter().map(piece).collect())
}

fn explain(recorded: Recorded<'_>) -> Told {
    let found = Method::default().inspect(recorded, |trace, analysis| {
        let analysis = analysis.unwrap_or_else(|reason| panic!("{reason}"));
        let (start, end) = (trace.node(trace.root()).start_us, trace.node(trace.last()).end_us);
        let mut reached = start;
        for piece in &analysis.pieces {
            assert!(piece.start == reached && piece.end >= piece.start, "{piece:?} after {reached}");
            reached = piece.end;
        }
        assert_eq!(reached, end);
        assert_eq!(analysis.row.parts.sum(), end - start);
        let mut once = analysis.path.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), analysis.path.len(), "each span is on the path once");
        told(trace, &analysis)
    });
    found.unwrap_or_else(|rejected| panic!("{}", rejected.reason))
}

fn explain_xray(text: &str) -> Told {
    explain(xray::record(text, &mut xray::Documents::default()).unwrap())
}

fn explain_otlp(text: &str) -> Told {
    let mut traces = otlp::read(text);
    assert_eq!(traces.len(), 1);
    explain(traces.remove(0).unwrap())
}

fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&place| (place as u64 + 1).wrapping_mul(seed | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    order
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn pieces_are_whole_and_no_order_matters(shapes in shapes(), seed in any::<u64>()) {
        let spans = build(&shapes, false);
        let (in_order, other): (Vec<usize>, _) = ((0..spans.len()).collect(), shuffled(spans.len(), seed));
        prop_assert_eq!(explain_xray(&xray_text(&spans, &in_order)), explain_xray(&xray_text(&spans, &other)));
        prop_assert_eq!(explain_otlp(&otlp_text(&spans, &in_order)), explain_otlp(&otlp_text(&spans, &other)));
    }

    #[test]
    fn of_synchronous_spans_the_path_is_that_of_firm(shapes in shapes()) {
        // Without overlaps that are within the tolerance, which FIRM does not have.
        let shapes: Vec<Shape> = shapes
            .into_iter()
            .map(|shape| Shape { start: shape.start / 125 * 125, length: (shape.length / 250 * 250).max(250), ..shape })
            .collect();
        let spans = build(&shapes, true);
        let text = xray_text(&spans, &(0..spans.len()).collect::<Vec<_>>());
        let mut documents = xray::Documents::default();
        let trace = xray::record(&text, &mut documents).unwrap().join().unwrap();
        let exact = super::ExactPath::of(&trace);
        if has_small_overlaps(&trace) {
            return Ok(());
        }
        let times = |path: &[SpanIndex]| -> Vec<(i64, i64)> {
            path.iter().map(|&span| (trace.node(span).start_us, trace.node(span).end_us)).collect()
        };
        prop_assert_eq!(times(&exact.path), times(&firm::critical_path(&trace)));
    }

    #[test]
    fn a_row_that_does_not_differ_is_the_published_one(shapes in shapes()) {
        let spans = build(&shapes, false);
        let text = xray_text(&spans, &(0..spans.len()).collect::<Vec<_>>());
        let analysis = Method::default().analyze_text(&text).unwrap();
        let study = Method { algorithm: Algorithm::Study, ..Method::default() };
        if let (false, Ok(published)) = (analysis.differs_from_study, study.analyze_text(&text)) {
            prop_assert_eq!(analysis.row, published.row);
        }
        let mut documents = xray::Documents::default();
        let trace = xray::record(&text, &mut documents).unwrap().join().unwrap();
        if let Ok(path) = critical_path::critical_path(&trace, critical_path::Rule::Published) {
            prop_assert!(analysis.differs_from_study || path == analysis.path);
        }
    }
}

/// What makes a trace harsher than a sound one.
#[derive(Clone, Debug)]
struct Harsh {
    shapes: Vec<Shape>,
    /// Times are multiples of so many microseconds, so that many of them are the same.
    grid: i64,
    seed: u64,
}

fn harsh() -> impl Strategy<Value = Harsh> {
    let shape = (any::<prop::sample::Index>(), 0..=1_000_i64, 0..=1_000_i64, 0..=12_u8);
    let shapes = prop::collection::vec(shape, 1..90).prop_map(|all| {
        let shapes = all.into_iter().enumerate().map(|(place, (parent, start, length, kind))| Shape {
            // Half of the traces are wide, half are deep.
            parent: if kind % 2 == 0 { parent.index(place + 1) } else { place - place.min(parent.index(3)) },
            start,
            length,
            kind,
        });
        shapes.collect()
    });
    (shapes, prop::sample::select(vec![1, 1_000, 100_000, 2_500_000]), any::<u64>())
        .prop_map(|(shapes, grid, seed)| Harsh { shapes, grid, seed })
}

impl Harsh {
    fn spans(&self) -> Vec<Built> {
        let mut spans = build(&self.shapes, false);
        for span in &mut spans {
            let on_grid = |time: i64| EPOCH + (time - EPOCH) / self.grid * self.grid;
            (span.start, span.end) = (on_grid(span.start), on_grid(span.end));
        }
        spans
    }

    fn draws(&self, place: usize, one_in: u64) -> bool {
        let drawn = (place as u64 + 7).wrapping_mul(self.seed | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (drawn >> 32).is_multiple_of(one_in)
    }

    /// Parts lie within the document of their service, some documents come twice, and others were sent in progress, too.
    fn xray(&self, spans: &[Built], order: &[usize]) -> String {
        let is_nested = |place: usize| spans[place].origin.is_empty() && place > 0 && self.draws(place, 2);
        let mut documents: Vec<Option<Value>> = vec![None; spans.len()];
        // Parents come before their children in the list: the last ones are whole first.
        let mut parts: Vec<Vec<Value>> = vec![Vec::new(); spans.len()];
        for place in (0..spans.len()).rev() {
            let span = &spans[place];
            let mut document = json!({
                "id": format!("{place:016x}"), "name": span.name, "start_time": span.start as f64 / 1e6,
                "end_time": span.end as f64 / 1e6, "subsegments": std::mem::take(&mut parts[place]),
            });
            if !span.origin.is_empty() {
                document["origin"] = json!(span.origin);
            }
            match span.parent {
                Some(parent) if is_nested(place) => parts[parent].push(document),
                Some(parent) => {
                    document["parent_id"] = json!(format!("{parent:016x}"));
                    documents[place] = Some(document);
                }
                None => documents[place] = Some(document),
            }
        }
        let mut segments = Vec::new();
        for &place in order {
            let Some(document) = &documents[place] else { continue };
            if self.draws(place, 5) {
                let mut begun = document.clone();
                begun
                    .as_object_mut()
                    .unwrap()
                    .retain(|key, _| !matches!(key.as_str(), "end_time" | "subsegments"));
                begun["in_progress"] = json!(true);
                segments.push(json!({ "Document": begun.to_string() }));
            }
            for _ in 0..=usize::from(self.draws(place, 6)) {
                segments.push(json!({ "Document": document.to_string() }));
            }
        }
        if self.seed.is_multiple_of(2) {
            segments.reverse();
        }
        let end = spans.iter().map(|span| span.end).max().unwrap_or(EPOCH);
        json!({ "Id": "1-a", "Duration": (end - EPOCH) as f64 / 1e6, "Segments": segments }).to_string()
    }

    /// Some lines come twice.
    fn otlp(&self, spans: &[Built], order: &[usize]) -> String {
        let text = otlp_text(spans, order);
        let twice =
            |(line, &place): (&str, &usize)| [line].repeat(1 + usize::from(self.draws(place, 6))).join("\n");
        text.lines().zip(order).map(twice).collect::<Vec<_>>().join("\n")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::tests::count_of_random_traces()))]

    #[test]
    fn harsh_traces_have_whole_pieces_in_any_order(harsh in harsh()) {
        let spans = harsh.spans();
        let (in_order, other): (Vec<usize>, _) = ((0..spans.len()).collect(), shuffled(spans.len(), harsh.seed));
        prop_assert_eq!(explain_xray(&harsh.xray(&spans, &in_order)), explain_xray(&harsh.xray(&spans, &other)));
        prop_assert_eq!(explain_otlp(&harsh.otlp(&spans, &in_order)), explain_otlp(&harsh.otlp(&spans, &other)));
    }
}

pub(crate) fn has_small_overlaps(trace: &Trace<'_>) -> bool {
    trace.indices().any(|parent| {
        let children = trace.children(parent);
        let length = trace.node(parent).end_us - trace.node(parent).start_us;
        children.iter().any(|&left| {
            children.iter().any(|&right| {
                let overlap = trace.node(left).end_us - trace.node(right).start_us;
                let times = |span: SpanIndex| (trace.node(span).start_us, trace.node(span).end_us);
                let is_small = overlap > 0 && overlap * super::OF_PARENT <= length;
                left != right && (is_small || times(left) == times(right))
            })
        })
    })
}
