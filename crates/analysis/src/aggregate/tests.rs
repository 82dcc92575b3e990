//! Trees of small traces that a person can check.

use serde_json::json;

use super::flame::FlameGraph;
use super::tree::{PathTree, folded};
use crate::method::Method;
use crate::path::breakdown::Activity;

const GATEWAY: &str = "AWS::ApiGateway::Stage";
const FUNCTION: &str = "AWS::Lambda::Function";
const STORAGE: &str = "AWS::S3";

/// Of a span: name (also its id), name of its parent, origin, start and end in milliseconds.
type TimedSpan<'s> = (&'s str, &'s str, &'s str, f64, f64);

pub(super) fn add(tree: &mut PathTree, id: &str, spans: &[TimedSpan<'_>]) {
    let end = spans.iter().map(|span| span.4).fold(0.0, f64::max);
    let segment = |&(name, parent, origin, start, end): &TimedSpan<'_>| {
        let parent = (!parent.is_empty()).then_some(parent);
        let document = json!({ "id": name, "parent_id": parent, "name": name, "origin": origin,
                               "start_time": start / 1e3, "end_time": end / 1e3 });
        json!({ "Document": document.to_string() })
    };
    let segments: Vec<_> = spans.iter().map(segment).collect();
    let text = json!({ "Id": id, "Duration": end / 1e3, "Segments": segments }).to_string();
    Method::default().inspect_text(&text, |trace, analysis| tree.add(trace, &analysis.unwrap(), 0)).unwrap();
}

fn shop(tree: &mut PathTree, id: &str, call: f64) {
    add(
        tree,
        id,
        &[
            ("GET /orders/17", "", GATEWAY, 0.0, 50.0 + call),
            ("f", "GET /orders/17", FUNCTION, 10.0, 40.0 + call),
            ("get", "f", STORAGE, 20.0, 20.0 + call),
            // Off the path.
            ("beside", "f", STORAGE, 20.0, 20.0 + call / 2.0),
        ],
    );
}

#[test]
fn equal_operations_at_one_place_are_one_node() {
    let mut tree = PathTree::default();
    for (id, call) in [("1-a", 10.0), ("1-b", 30.0), ("1-c", 20.0)] {
        shop(&mut tree, id, call);
    }
    let rows = tree.rows();
    let seen: Vec<(usize, &str, u64, f64, f64)> = rows
        .iter()
        .map(|row| (row.depth, row.name.as_str(), row.traces, row.total_ms.round(), row.own_ms.round()))
        .collect();
    assert_eq!(
        seen,
        [(0, "GET /orders/{n}", 3, 210.0, 60.0), (1, "f", 3, 150.0, 90.0), (2, "get", 3, 60.0, 60.0)]
    );
    assert_eq!(rows[2].per_trace_ms.p50.to_bits(), 20.0_f64.to_bits());
    assert!((rows[2].per_trace_ms.p99 - 29.8).abs() < 1e-9);
    assert!((rows[2].share - 60.0 / 210.0).abs() < 1e-9);
    assert_eq!(rows[2].activities, [(Activity::ExternalService, 60.0)]);
    assert!((tree.total_ms() - rows.iter().map(|row| row.own_ms).sum::<f64>()).abs() < 1e-6);
    assert_eq!(
        folded(&tree.stacks()),
        "GET /orders/{n} (ApiGateway::Stage) 60000\n\
         GET /orders/{n} (ApiGateway::Stage);f (Lambda::Function) 90000\n\
         GET /orders/{n} (ApiGateway::Stage);f (Lambda::Function);get (S3) 60000\n"
    );
}

#[test]
fn a_trace_lasts_as_long_as_its_row_says() {
    let mut tree = PathTree::default();
    let document = json!({ "id": "a", "name": "a", "start_time": 1.0, "end_time": 1.1004 });
    let segments = [json!({ "Document": document.to_string() })];
    let text = json!({ "Id": "1-a", "Duration": 0.1, "Segments": segments }).to_string();
    let method = Method::default();
    method.inspect_text(&text, |trace, analysis| tree.add(trace, &analysis.unwrap(), 0)).unwrap();
    let row = method.analyze_text(&text).unwrap().row;
    assert_eq!((row.duration, row.parts.sum()), (100_000, 100_400));
    assert_eq!(tree.durations_ms().unwrap().p50.to_bits(), 100.0_f64.to_bits());
    assert_eq!(tree.typical(100.0, 1)[0].duration, 100_000);
    // Shares are of the paths, so that they add up.
    assert!((tree.rows()[0].share - 1.0).abs() < 1e-9);
}

#[test]
fn typical_traces_are_those_nearest_to_a_quantile() {
    let mut tree = PathTree::default();
    for number in 0..200 {
        shop(&mut tree, &format!("1-{number:03}"), 10.0 + f64::from(number));
    }
    let median = tree.durations_ms().unwrap().p50;
    let nearest = tree.typical(median, 3);
    assert_eq!(nearest[0].id, "1-099");
    assert!(nearest.iter().all(|trace| (trace.duration as f64 / 1e3 - median).abs() < 1.6), "{nearest:?}");
    assert_eq!(tree.typical(0.0, 1)[0].id, "1-000");
    assert_eq!(tree.typical(1e9, 1)[0].id, "1-199");
}

#[test]
fn many_names_do_not_explode_the_tree() {
    let mut tree = PathTree::default();
    for number in 0..700 {
        // Letters alone look like no id.
        let name: String =
            format!("{number:03}").bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
        add(&mut tree, "1-a", &[("r", "", GATEWAY, 0.0, 10.0), (&name, "r", STORAGE, 1.0, 9.0)]);
    }
    let rows = tree.rows();
    assert_eq!(rows.len(), 1 + 500 + 1);
    let others = rows.iter().find(|row| row.name == "(others)").unwrap();
    assert_eq!((others.traces, others.total_ms.round() as i64), (200, 1_600));

    let count = 1_000;
    let names: Vec<String> = (0..count).map(|place| format!("n{place}x")).collect();
    let spans: Vec<TimedSpan<'_>> = (0..count)
        .map(|place| {
            let parent = if place == 0 { "" } else { names[place - 1].as_str() };
            (names[place].as_str(), parent, STORAGE, 0.0, 2_000.0 - place as f64)
        })
        .collect();
    let mut tree = PathTree::default();
    add(&mut tree, "1-a", &spans);
    let rows = tree.rows();
    assert_eq!(rows.len(), 202);
    assert!((rows.iter().map(|row| row.own_ms).sum::<f64>() - 2_000.0).abs() < 1e-6);
}

#[test]
fn a_difference_adds_up_to_that_of_the_means() {
    let (mut before, mut after) = (PathTree::default(), PathTree::default());
    for number in 0..4 {
        shop(&mut before, &format!("1-{number}"), 10.0);
    }
    for number in 0..7 {
        shop(&mut after, &format!("1-{number}"), 25.0);
    }
    add(&mut after, "1-x", &[("other", "", GATEWAY, 0.0, 16.0)]);
    let difference = before.difference_to(&after);
    let change: f64 = difference.iter().map(super::difference::PathDifference::change_ms).sum();
    let mean = |tree: &PathTree| tree.total_ms() / tree.traces() as f64;
    assert!((change - (mean(&after) - mean(&before))).abs() < 1e-6);
    assert_eq!(difference[0].frames.last().unwrap(), "get (S3)");
    assert!((difference[0].change_ms() - (25.0 * 7.0 / 8.0 - 10.0)).abs() < 1e-6);
    assert!(before.difference_to(&PathTree::default()).is_empty());
    assert!(before.difference_to(&before).iter().all(|it| it.change_ms() == 0.0));

    let mut svg = String::new();
    FlameGraph::of_difference("a & b", &difference).to_svg(&mut svg).unwrap();
    assert!(svg.contains("a &amp; b") && svg.contains("slower") && svg.contains("(+11.875 ms)"), "{svg}");
}

#[test]
fn a_flame_graph_is_as_wide_as_its_times() {
    let mut tree = PathTree::default();
    shop(&mut tree, "1-a", 50.0);
    let mut svg = String::new();
    FlameGraph::new("shop", &tree.stacks(), tree.traces()).to_svg(&mut svg).unwrap();
    let widths: Vec<f64> = svg
        .lines()
        .filter(|line| line.starts_with("<g><title>"))
        .map(|line| {
            let width = line.split("width=\"").nth(1).unwrap().split('"').next().unwrap();
            width.parse().unwrap()
        })
        .collect();
    // 100 ms, 80 ms and 50 ms.
    assert_eq!(widths.iter().map(|width| width.round() as i64).collect::<Vec<_>>(), [1176, 941, 588]);
    assert!(!svg.contains("<script") && svg.matches("http").count() == 1, "the name space alone");
    insta::assert_snapshot!(svg);
}
