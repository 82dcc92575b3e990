//! What must hold of every prediction, on drawn traces and on small ones that a person can check.

use proptest::prelude::*;
use serde_json::json;

use super::change::Change;
use super::figures::TrialOfTrace;
use super::model::{Effects, Model, ModelSpan, Scratch};
use super::traces::{Candidate, WhatIf};
use crate::method::Method;
use crate::path::activities::Activities;
use crate::path::breakdown::Activity;
use crate::path::exact::tests::{Built, EPOCH, build, has_small_overlaps, shapes, xray_text};
use crate::span::Trace;

const GATEWAY: &str = "AWS::ApiGateway::Stage";
const FUNCTION: &str = "AWS::Lambda::Function";
const LAMBDA: &str = "AWS::Lambda";
const TABLE: &str = "AWS::DynamoDB::Table";
const STORAGE: &str = "AWS::S3";

/// Of a span: name (also its id), name of its parent, origin, start and end in milliseconds.
type TimedSpan<'s> = (&'s str, &'s str, &'s str, f64, f64);

fn text_of(id: &str, spans: &[TimedSpan<'_>]) -> String {
    let end = spans.iter().map(|span| span.4).fold(0.0, f64::max);
    let segment = |&(name, parent, origin, start, end): &TimedSpan<'_>| {
        let parent = (!parent.is_empty()).then_some(parent);
        let origin = (!origin.is_empty()).then_some(origin);
        // What is written `id:name` has this name.
        let (id, name) = name.split_once(':').unwrap_or((name, name));
        let document = json!({ "id": id, "parent_id": parent, "name": name, "origin": origin,
                               "start_time": start / 1e3, "end_time": end / 1e3 });
        json!({ "Document": document.to_string() })
    };
    let segments: Vec<_> = spans.iter().map(segment).collect();
    json!({ "Id": id, "Duration": end / 1e3, "Segments": segments }).to_string()
}

fn with_trace<T>(text: &str, look: impl FnOnce(&Trace<'_>) -> T) -> T {
    let look = |trace: &Trace<'_>, analysis: Result<_, _>| {
        assert!(analysis.is_ok(), "{analysis:?}");
        look(trace)
    };
    Method::default().inspect_text(text, look).unwrap_or_else(|rejected| panic!("{}", rejected.reason))
}

fn what_if(texts: &[String]) -> WhatIf {
    let mut what_if = WhatIf::default();
    for text in texts {
        with_trace(text, |trace| what_if.add(trace, TrialOfTrace::default()));
    }
    what_if
}

fn change(options: &str) -> Change {
    let mut change = Change::default();
    for option in options.split(' ').filter(|option| !option.is_empty()) {
        match option.strip_prefix("activity:") {
            Some(activity) => change.add_activity(activity).unwrap(),
            None if option == "no-cold-starts" => change.no_cold_starts = true,
            None => change.add_operation(option).unwrap(),
        }
    }
    change
}

/// How long a trace would take, in milliseconds.
#[track_caller]
fn check(spans: &[TimedSpan<'_>], options: &str, expected: f64) {
    let after = what_if(&[text_of("1-a", spans)]).predict(&change(options)).unwrap().after.mean.ms;
    assert!((after - expected).abs() < 0.0015, "{options}: {after} instead of {expected}");
}

#[test]
fn what_runs_one_after_another_adds_up() {
    let spans = [
        ("r", "", GATEWAY, 0.0, 100.0),
        ("f", "r", FUNCTION, 10.0, 90.0),
        ("a", "f", TABLE, 20.0, 40.0),
        ("b", "f", STORAGE, 50.0, 80.0),
    ];
    for (options, expected) in [
        ("", 100.0),
        ("a=0.5", 90.0),
        ("b=2", 130.0),
        ("a=0.5 b=0", 60.0),
        ("S3=0", 70.0),
        ("f=0.5", 85.0),
        ("f=gone", 20.0),
        ("r=0", 80.0),
        (".*=0.1", 10.0),
        (".*=3", 300.0),
        ("activity:computation=0", 70.0),
        ("activity:external_service=0.5", 75.0),
        ("activity:external_service=0.5 b=2", 90.0),
        // Of 10 + 10 + 50 + 30.
        ("activity:orchestration=10", 280.0),
    ] {
        check(&spans, options, expected);
    }
}

#[test]
fn of_what_runs_side_by_side_the_slowest_counts() {
    let spans = [
        ("r", "", FUNCTION, 0.0, 100.0),
        ("a", "r", TABLE, 10.0, 50.0),
        ("b", "r", STORAGE, 10.0, 70.0),
        ("c", "r", TABLE, 80.0, 90.0),
    ];
    for (options, expected) in [
        ("a=0", 100.0),
        ("a=1.5", 100.0),
        // 10 ms longer than b.
        ("a=1.75", 110.0),
        // a is the slower one then: until 50 instead of 70.
        ("b=0.5", 80.0),
        ("b=gone", 80.0),
        ("b=0.9", 94.0),
        ("a=0.5 b=0.5", 70.0),
        ("c=2", 110.0),
    ] {
        check(&spans, options, expected);
    }
}

#[test]
fn workers_that_take_turns_stay_in_turn() {
    // Two at a time: c starts when a ends, d when b does.
    let spans = [
        ("r", "", FUNCTION, 0.0, 90.0),
        ("a", "r", TABLE, 0.0, 30.0),
        ("b", "r", STORAGE, 0.0, 40.0),
        ("c", "r", TABLE, 30.0, 60.0),
        ("d", "r", STORAGE, 40.0, 90.0),
    ];
    check(&spans, "a=0.1", 90.0);
    check(&spans, "b=0.75 d=0.2", 60.0);
    // c is 30 ms later then, and d still follows b.
    check(&spans, "a=2", 90.0);
    check(&spans, "a=3", 120.0);
}

#[test]
fn what_was_only_set_off_moves_with_its_cause() {
    let spans = [
        ("r", "", GATEWAY, 0.0, 100.0),
        ("f", "r", FUNCTION, 10.0, 90.0),
        // Handed over while the function works, and long after it.
        ("m", "f", LAMBDA, 50.0, 250.0),
        ("n", "m", LAMBDA, 300.0, 500.0),
        ("g", "n", FUNCTION, 310.0, 490.0),
    ];
    for (options, expected) in [
        ("", 500.0),
        // 40 ms of its work come before it hands over.
        ("f=0.5", 480.0),
        ("r=0", 490.0),
        ("g=0.5", 410.0),
        // Before n, 50 ms are the trigger's, and m does nothing but wait for 200 ms.
        ("activity:trigger=0", 450.0),
        ("m=0.5", 400.0),
        ("n=gone", 250.0),
        ("m=gone", 100.0),
        ("f=2", 540.0),
    ] {
        check(&spans, options, expected);
    }
}

#[test]
fn a_receiver_waits_for_the_wait_before_it() {
    let spans = [
        ("r", "", FUNCTION, 0.0, 50.0),
        ("l", "r", LAMBDA, 70.0, 76.0),
        ("d:Dwell Time", "l", "", 70.0, 90.0),
        ("a", "l", "", 92.0, 200.0),
        ("f", "a", FUNCTION, 95.0, 199.0),
    ];
    check(&spans, "activity:queing=0.5", 190.0);
    // Then for the end of l, 6 ms later.
    check(&spans, "activity:queing=0", 186.0);
    check(&spans, "f=0.5", 148.0);
    check(&spans, "r=0", 150.0);
}

#[test]
fn without_cold_starts_a_function_starts_as_it_does_when_warm() {
    let cold = [
        ("r", "", GATEWAY, 0.0, 500.0),
        ("l", "r", LAMBDA, 10.0, 490.0),
        ("f", "l", FUNCTION, 400.0, 480.0),
        ("i:Initialization", "f", "", 100.0, 390.0),
    ];
    // Nothing is known of warm starts: the container takes no time, and neither does its runtime.
    check(&cold, "no-cold-starts", 120.0);
    check(&cold, "activity:runtime_initialization=0", 210.0);
    check(&cold, "Initialization=0.5", 355.0);
    // What the platform does is none of the function's work.
    check(&cold, "f=0.5", 460.0);
    check(&cold, "f=gone", 40.0);
    let warm =
        [("r", "", GATEWAY, 0.0, 100.0), ("l", "r", LAMBDA, 10.0, 90.0), ("f", "l", FUNCTION, 15.0, 80.0)];
    let all = what_if(&[text_of("1-a", &cold), text_of("1-b", &warm)]);
    let after = all.predict(&change("no-cold-starts")).unwrap().after;
    // 5 ms of the 90 remain.
    assert!((after.mean.ms - 112.5).abs() < 0.001, "{after:?}");
}

#[test]
fn a_caller_waits_for_what_was_done_by_its_end_alone() {
    // The function goes on after its response: its caller does not wait for what comes then.
    let spans = [
        ("r", "", GATEWAY, 0.0, 200.0),
        ("l", "r", LAMBDA, 10.0, 98.0),
        ("f", "l", FUNCTION, 20.0, 150.0),
        ("v:Invocation", "f", "", 20.0, 90.0),
        ("o:Overhead", "f", "", 90.0, 150.0),
        ("x", "r", STORAGE, 120.0, 190.0),
    ];
    check(&spans, "f=0.5", 165.0);
    check(&spans, "activity:overhead=0", 200.0 - 8.0);
    check(&spans, "x=0", 150.0);
    check(&spans, "x=0 activity:overhead=0", 122.0);
}

#[test]
fn a_pattern_that_fits_nothing_is_an_error_that_names_what_there_is() {
    let spans = [("r", "", GATEWAY, 0.0, 100.0), ("a", "r", TABLE, 20.0, 40.0)];
    let all = what_if(&[text_of("1-a", &spans)]);
    let message = all.predict(&change("S3=0.5")).unwrap_err().to_string();
    assert!(message.contains("`S3`") && message.contains("`a (DynamoDB::Table)`"), "{message}");
    assert!(WhatIf::default().predict(&Change::default()).is_err());
}

#[test]
fn the_ranking_tries_operations_activities_and_cold_starts() {
    let spans = [
        ("r", "", GATEWAY, 0.0, 500.0),
        ("l", "r", LAMBDA, 10.0, 490.0),
        ("f", "l", FUNCTION, 400.0, 480.0),
        ("i:Initialization", "f", "", 100.0, 390.0),
        ("a", "f", TABLE, 410.0, 470.0),
        // Off the path.
        ("b", "f", STORAGE, 410.0, 460.0),
    ];
    let ranked = what_if(&[text_of("1-a", &spans)]).rank(10);
    let names: Vec<String> = ranked.iter().map(|ranked| ranked.what.describe()).collect();
    assert_eq!(names[0], "no cold starts");
    assert_eq!(names[1], "all runtime_initialization");
    // What the platform records of each function is an activity. With a faster a, b takes over: all calls bring more than a.
    assert!(!names.contains(&"Initialization".to_owned()));
    let place = |name: &str| names.iter().position(|other| other == name).unwrap();
    assert!(place("all external_service") < place("a (DynamoDB::Table)"));
    assert!(!names.contains(&"b (S3)".to_owned()), "{names:?}");
    // Four operations would bring as much as all computation; none of them stands for another.
    for name in ["f (Lambda::Function)", "a (DynamoDB::Table)", "l (Lambda)", "r (ApiGateway::Stage)"] {
        place(name);
    }
    assert!(!names.contains(&"all computation".to_owned()), "{names:?}");
    for pair in ranked.windows(2) {
        assert!(pair[0].gain() >= pair[1].gain());
    }
    for ranked in &ranked {
        let Candidate::Operation(operation) = &ranked.what else { continue };
        // What the table tells to type gives what the table says.
        let typed = ranked.what.option();
        let pattern = typed.strip_prefix("--operation '").and_then(|rest| rest.strip_suffix('\'')).unwrap();
        let mut change = Change::default();
        change.add_operation(pattern).unwrap();
        let again = what_if(&[text_of("1-a", &spans)]).predict(&change).unwrap();
        assert_eq!(again, ranked.prediction, "{operation}");
    }
}

#[test]
fn a_sample_does_not_depend_on_the_order() {
    let text = |number: usize| {
        let end = 10.0 + number as f64;
        text_of(&format!("1-{number:08}"), &[("r", "", GATEWAY, 0.0, end), ("a", "r", TABLE, 1.0, end - 1.0)])
    };
    let texts: Vec<String> = (0..400).map(text).collect();
    let sample = |texts: &[&String]| {
        let mut what_if = WhatIf::default();
        what_if.most_spans = 100;
        for text in texts {
            with_trace(text, |trace| what_if.add(trace, TrialOfTrace::default()));
        }
        assert_eq!((what_if.added(), what_if.sampled()), (400, 50));
        what_if.predict(&Change::default()).unwrap().before
    };
    let forward = sample(&texts.iter().collect::<Vec<_>>());
    assert_eq!(forward, sample(&texts.iter().rev().collect::<Vec<_>>()));
    // The mean of all is 209.5, with a standard deviation of 115: that of 50 is within 2.5 standard errors.
    assert!((forward.mean.ms - 209.5).abs() < 41.0, "{forward:?}");
}

/// One factor for all work of some spans, by place in the model.
struct Chosen<'m> {
    factor: f64,
    is_chosen: &'m dyn Fn(&ModelSpan) -> bool,
    of_activities: f64,
}

impl Effects for Chosen<'_> {
    fn factor(&self, span: &ModelSpan) -> Option<f64> {
        Some(if (self.is_chosen)(span) { self.factor } else { 1.0 })
    }

    fn is_gone(&self, _: &ModelSpan) -> bool {
        false
    }

    fn of_activity(&self, _: Activity) -> f64 {
        self.of_activities
    }

    fn warm_start(&self, _: &ModelSpan) -> Option<i64> {
        None
    }
}

/// The model of drawn spans; operations are numbered by the places of the spans.
fn drawn(spans: &[Built], look: impl FnOnce(&Trace<'_>, &Model)) {
    let order: Vec<usize> = (0..spans.len()).collect();
    with_trace(&xray_text(spans, &order), |trace| {
        let model = Model::of(trace, &Activities::default(), &mut |span| span.get() as u32);
        look(trace, &model);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_factor_of_one_changes_nothing(shapes in shapes()) {
        drawn(&build(&shapes, false), |trace, model| {
            let effects = Chosen { factor: 1.0, is_chosen: &|_| true, of_activities: 1.0 };
            let origin = trace.node(trace.root()).start_us;
            for (span, (start, end)) in model.spans.iter().zip(model.times_with(&effects)) {
                let node = trace.node(span.index);
                assert_eq!((start, end), (node.start_us - origin, node.end_us - origin), "{}", trace.span(span.index).name);
            }
            assert_eq!(model.duration_with(&effects, &mut Scratch::default()), model.duration);
            assert_eq!(model.spans.len(), trace.spans().len());
        });
    }

    #[test]
    fn what_is_faster_makes_no_moment_later(shapes in shapes(), chosen in any::<u32>(), factor in 0.0..1.0_f64) {
        drawn(&build(&shapes, false), |trace, model| {
            let is_chosen = |span: &ModelSpan| chosen >> (span.operation % 32) & 1 == 1;
            let effects = Chosen { factor, is_chosen: &is_chosen, of_activities: 1.0 };
            let origin = trace.node(trace.root()).start_us;
            for (span, (start, end)) in model.spans.iter().zip(model.times_with(&effects)) {
                let node = trace.node(span.index);
                assert!(start <= node.start_us - origin && end <= node.end_us - origin);
            }
            assert!(model.duration_with(&effects, &mut Scratch::default()) <= model.duration);
        });
    }

    #[test]
    fn what_is_faster_off_the_path_changes_nothing(shapes in shapes(), factor in 0.0..1.0_f64) {
        drawn(&build(&shapes, false), |_, model| {
            let on_path: Vec<usize> = model.gaps_on_path().into_iter().map(|(owner, ..)| owner).collect();
            let on_path: Vec<u32> = on_path.into_iter().map(|place| model.spans[place].operation).collect();
            let is_chosen = |span: &ModelSpan| !on_path.contains(&span.operation);
            let effects = Chosen { factor, is_chosen: &is_chosen, of_activities: 1.0 };
            assert_eq!(model.duration_with(&effects, &mut Scratch::default()), model.duration);
        });
    }

    #[test]
    fn the_way_back_is_the_critical_path(shapes in shapes()) {
        // Without overlaps that are within the tolerance: those of the path are cut, and those of the model are kept.
        let shapes: Vec<_> = shapes
            .into_iter()
            .map(|mut shape| {
                shape.start = shape.start / 125 * 125;
                shape.length = (shape.length / 250 * 250).max(250);
                shape
            })
            .collect();
        let spans = build(&shapes, true);
        drawn(&spans, |trace, model| {
            if has_small_overlaps(trace) {
                return;
            }
            let mut expected = [0_i64; Activity::ALL.len()];
            let analysis = Method::default().explain_trace(trace).unwrap();
            for piece in &analysis.pieces {
                expected[piece.activity as usize] += piece.end - piece.start;
            }
            let mut found = [0_i64; Activity::ALL.len()];
            for (_, activity, gap) in model.gaps_on_path() {
                found[activity as usize] += gap;
            }
            assert_eq!(found.iter().sum::<i64>(), model.duration);
            assert_eq!(found, expected);
        });
    }

    #[test]
    fn everything_in_half_of_its_time_takes_half_of_the_time(shapes in shapes()) {
        drawn(&build(&shapes, true), |_, model| {
            let effects = Chosen { factor: 1.0, is_chosen: &|_| false, of_activities: 0.5 };
            let halved = model.duration_with(&effects, &mut Scratch::default());
            // Each gap on the way is rounded, and overlaps are kept as they are.
            let most = i64::try_from(model.spans.len()).unwrap() * 2;
            let kept: i64 = model.overlaps();
            assert!((halved - model.duration / 2).abs() <= most + kept, "{halved} of {}", model.duration);
        });
    }

    #[test]
    fn a_chain_gives_the_sum(lengths in prop::collection::vec((0..5_000_i64, 0..5_000_i64), 1..30), chosen in any::<u32>()) {
        let root = |end| Built { parent: None, origin: GATEWAY, name: "root".to_owned(), start: EPOCH, end };
        let mut spans = vec![root(EPOCH)];
        let mut at = EPOCH;
        for (number, (before, length)) in lengths.iter().enumerate() {
            let start = at + before;
            at = start + length;
            spans.push(Built { parent: Some(0), origin: TABLE, name: format!("n{number}"), start, end: at });
        }
        spans[0].end = at;
        let is_chosen = |span: &ModelSpan| span.operation > 0 && chosen >> (span.operation % 32) & 1 == 1;
        let expected: i64 = lengths.iter().enumerate().map(|(number, (before, length))| {
            let is_chosen = chosen >> ((number + 1) % 32) & 1 == 1;
            before + if is_chosen { (*length as f64 * 0.25).round() as i64 } else { *length }
        }).sum();
        drawn(&spans, |_, model| {
            let effects = Chosen { factor: 0.25, is_chosen: &is_chosen, of_activities: 1.0 };
            assert_eq!(model.duration_with(&effects, &mut Scratch::default()), expected);
        });
    }
}

#[test]
fn a_deep_trace_needs_no_stack_and_a_wide_one_no_square() {
    let count = 60_000;
    let deep: Vec<Built> = (0..count)
        .map(|place| Built {
            parent: (place > 0).then(|| place as usize - 1),
            origin: if place % 2 == 0 { LAMBDA } else { FUNCTION },
            name: format!("n{place}"),
            // Each ends a little later than its parent, within the margin.
            start: EPOCH + place,
            end: EPOCH + 10 * count + place,
        })
        .collect();
    let wide: Vec<Built> = (0..count)
        .map(|place| Built {
            parent: (place > 0).then_some(0),
            origin: TABLE,
            name: "n".to_owned(),
            start: EPOCH + place,
            end: EPOCH + if place == 0 { 10 * count } else { 5 * count + place },
        })
        .collect();
    for spans in [deep, wide] {
        drawn(&spans, |_, model| {
            assert!(model.len() < 20 * count as usize, "{}", model.len());
            let effects = Chosen { factor: 0.5, is_chosen: &|_| true, of_activities: 1.0 };
            assert!(model.duration_with(&effects, &mut Scratch::default()) <= model.duration);
        });
    }
}
