//! Traces that links connect: small cases, and what must hold of all.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::num::NonZeroUsize;

use serde_json::{Value, json};

use crate::io::analyze::{AnalyzeOptions, analyze_file};
use crate::io::browse;
use crate::io::linked::Linked;
use crate::io::split::Texts;
use crate::method::Method;
use crate::path::breakdown::Activity;
use crate::read::LONGEST;
use crate::read::sort::Room;
use crate::read::xray::Documents;
use crate::row::{BreakdownRow, read_breakdown};

/// A trace as X-Ray gives it: from the first start to the last end.
fn line(id: &str, segments: &[Value]) -> String {
    let times = |key: &'static str| segments.iter().map(move |segment| segment[key].as_f64().unwrap());
    let start = times("start_time").fold(f64::INFINITY, f64::min);
    let end = times("end_time").fold(0.0, f64::max);
    let documents: Vec<Value> = segments
        .iter()
        .map(|segment| json!({ "Id": segment["id"], "Document": segment.to_string() }))
        .collect();
    json!({ "Id": id, "Duration": end - start, "Segments": documents }).to_string()
}

fn links(to: &[(&str, &str)]) -> Value {
    let link = |(trace, span): &(&str, &str)| json!({ "trace_id": trace, "id": span, "attributes": {} });
    to.iter().map(link).collect()
}

/// A request whose function sends a message 20 ms after its start, by the span `NAMEs`.
fn sender(id: &str, name: &str, start: f64) -> String {
    let span = |what: &str| format!("{name}{what}");
    let call = json!({ "id": span("s"), "name": "SQS", "origin": "AWS::SQS::Queue", "start_time": start + 0.02, "end_time": start + 0.03 });
    line(
        id,
        &[
            json!({ "id": span("g"), "name": "api", "origin": "AWS::ApiGateway::Stage", "start_time": start, "end_time": start + 0.05 }),
            json!({ "id": span("l"), "parent_id": span("g"), "name": "f", "origin": "AWS::Lambda", "start_time": start + 0.005, "end_time": start + 0.045 }),
            json!({ "id": span("f"), "parent_id": span("l"), "name": "f", "origin": "AWS::Lambda::Function",
                    "start_time": start + 0.01, "end_time": start + 0.04, "subsegments": [call] }),
        ],
    )
}

/// An invocation that was waited for in a queue from `start` on for 100 ms and takes 200 ms; it sends by `NAMEs` itself.
fn receiver(id: &str, name: &str, start: f64, to: &[(&str, &str)]) -> String {
    let span = |what: &str| format!("{name}{what}");
    let begun = start + 0.1;
    let call = json!({ "id": span("s"), "name": "SQS", "origin": "AWS::SQS::Queue", "start_time": begun + 0.1, "end_time": begun + 0.12 });
    line(
        id,
        &[
            json!({ "id": span("q"), "name": "queue", "origin": "AWS::SQS::Queue", "start_time": start, "end_time": begun, "links": links(to) }),
            json!({ "id": span("l"), "parent_id": span("q"), "name": "g", "origin": "AWS::Lambda", "start_time": begun,
                    "end_time": begun + 0.2, "links": links(to) }),
            json!({ "id": span("f"), "parent_id": span("l"), "name": "g", "origin": "AWS::Lambda::Function",
                    "start_time": begun + 0.01, "end_time": begun + 0.19, "links": links(to), "subsegments": [call] }),
        ],
    )
}

/// A sender without a queue's span that says what it caused, by a segment or by a subsegment.
fn announcing(by_segment: bool) -> String {
    let link = json!([{ "trace_id": "1-b", "id": "rq", "attributes": { "aws.xray.reserved.reference_type": "child" } }]);
    let mut call = json!({ "id": "sc", "name": "Invocation", "start_time": 0.01, "end_time": 0.04 });
    let mut segment = json!({ "id": "sf", "name": "f", "origin": "AWS::ECS::Container", "start_time": 0.0, "end_time": 0.05 });
    let carrier = if by_segment { &mut segment } else { &mut call };
    carrier["links"] = link;
    segment["subsegments"] = json!([call]);
    line("1-a", &[segment])
}

#[test]
fn a_sender_may_name_the_receivers() {
    for by_segment in [false, true] {
        for to in [&[][..], &[("1-a", "sf")]] {
            let lines = [announcing(by_segment), receiver("1-b", "r", 0.2, to)];
            for lines in [lines.to_vec(), lines.iter().rev().cloned().collect()] {
                let found = analyzed(&lines, true);
                assert_eq!(found.rows.len(), 1, "{}", found.invalid);
                assert_eq!(found.rows[0].trace_id, "1-a");
                // It is the sender's link that leads to a receiver, not the wait in a queue.
                assert_eq!(found.rows[0].longest_path_names.last().unwrap(), "SQS");
                assert_eq!(analyzed(&lines, false).rows.len(), 2);
            }
        }
    }
}

struct Found {
    rows: Vec<BreakdownRow>,
    invalid: String,
}

fn analyzed(lines: &[String], join_linked: bool) -> Found {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("traces.json");
    std::fs::write(&path, lines.join("\n")).unwrap();
    let method = Method { join_linked, ..Method::default() };
    analyze_file(&path, &AnalyzeOptions { method, ..AnalyzeOptions::default() }).unwrap();
    let rows = std::fs::File::open(folder.path().join("trace_breakdown.csv")).unwrap();
    let invalid = std::fs::read_to_string(folder.path().join("invalid_traces.csv")).unwrap();
    Found { rows: read_breakdown(rows).unwrap(), invalid: invalid.lines().skip(1).collect() }
}

/// Which traces there are joined, in the order of the file, and how long each lasts, in milliseconds.
#[track_caller]
fn check(lines: &[String], expected: &[(&str, i64)]) -> Vec<BreakdownRow> {
    let Found { rows, invalid } = analyzed(lines, true);
    assert_eq!(invalid, "");
    let found: Vec<_> = rows.iter().map(|row| (row.trace_id.as_str(), row.duration / 1_000)).collect();
    assert_eq!(found, expected);
    rows
}

#[test]
fn a_receiver_becomes_part_of_its_senders_trace_and_its_wait_is_queueing() {
    let lines = [receiver("1-b", "b", 10.025, &[("1-a", "as")]), sender("1-a", "a", 10.0)];
    let rows = check(&lines, &[("1-a", 325)]);
    let part = |activity| rows[0].part(activity).unwrap_or_default() / 1_000;
    // Gateway and two services; two functions; the first one's call of the queue until the message was there.
    let found =
        [Activity::Orchestration, Activity::Computation, Activity::ExternalService, Activity::Queueing]
            .map(part);
    assert_eq!(found, [30, 170, 25, 100]);
    assert_eq!(analyzed(&lines, false).rows.len(), 2);
}

#[test]
fn chains_are_followed_and_a_batch_is_part_of_each_sender() {
    let lines = [
        sender("1-a", "a", 10.0),
        sender("1-b", "b", 10.01),
        receiver("1-c", "c", 10.025, &[("1-a", "as"), ("1-b", "bs")]),
        receiver("1-d", "d", 10.225, &[("1-c", "cs")]),
    ];
    check(&lines, &[("1-a", 525), ("1-b", 515)]);
    // A trace that links to two traces of one whole hangs on the first.
    let both = receiver("1-e", "e", 10.225, &[("1-a", "as"), ("1-c", "cs")]);
    check(&[sender("1-a", "a", 10.0), receiver("1-c", "c", 10.025, &[("1-a", "as")]), both], &[("1-a", 525)]);
}

#[test]
fn the_waits_of_other_senders_messages_are_left_out() {
    // As the local target has it: a segment for the wait of each message, and the function below the one that waited longest.
    let wait = |id: &str, start: f64, to: (&str, &str)| {
        json!({ "id": id, "name": "queue", "origin": "AWS::SQS::Queue", "start_time": start, "end_time": 10.5, "links": links(&[to]),
                "subsegments": [{ "id": format!("{id}d"), "name": "Dwell Time", "start_time": start, "end_time": 10.5 }] })
    };
    let all = links(&[("1-a", "as"), ("1-b", "bs"), ("1-x", "xs")]);
    let service = json!({ "id": "l", "parent_id": "q3", "name": "g", "origin": "AWS::Lambda", "start_time": 10.51, "end_time": 10.7, "links": all });
    let function = json!({ "id": "f", "parent_id": "l", "name": "g", "origin": "AWS::Lambda::Function", "start_time": 10.52, "end_time": 10.69 });
    let waits = [
        wait("q1", 10.025, ("1-a", "as")),
        wait("q2", 10.225, ("1-b", "bs")),
        wait("q3", 9.0, ("1-x", "xs")),
        service,
        function,
    ];
    let lines = [sender("1-a", "a", 10.0), sender("1-b", "b", 10.2), line("1-c", &waits)];
    let rows = check(&lines, &[("1-a", 700), ("1-b", 500)]);
    let waited: Vec<_> =
        rows.iter().map(|row| row.part(Activity::Queueing).unwrap_or_default() / 1_000).collect();
    assert_eq!(waited, [475, 275]);
}

#[test]
fn links_to_what_is_not_there_leave_a_trace_as_it_is() {
    check(
        &[
            sender("1-a", "a", 10.0),
            receiver("1-b", "b", 10.025, &[("1-x", "xs")]),
            receiver("1-c", "c", 10.025, &[("1-x", "xs"), ("1-a", "as")]),
        ],
        &[("1-a", 325), ("1-b", 300)],
    );
    // A span that was not recorded: the trace is known all the same, and what began later hangs on its top.
    check(&[sender("1-a", "a", 10.0), receiver("1-b", "b", 10.06, &[("1-a", "lost")])], &[("1-a", 360)]);
}

#[test]
fn circles_stay_apart_and_stop_nothing() {
    let circle =
        [receiver("1-b", "b", 10.025, &[("1-c", "cs")]), receiver("1-c", "c", 10.225, &[("1-b", "bs")])];
    let own = receiver("1-d", "d", 10.0, &[("1-d", "ds")]);
    check(&[circle[0].clone(), own, circle[1].clone()], &[("1-b", 300), ("1-d", 300), ("1-c", 300)]);
    // What leads into a circle from outside takes it in.
    let entered = receiver("1-b", "b", 10.025, &[("1-c", "cs"), ("1-a", "as")]);
    check(&[sender("1-a", "a", 10.0), entered, circle[1].clone()], &[("1-a", 525)]);
}

#[test]
fn spans_of_two_traces_may_have_the_same_id() {
    check(&[sender("1-a", "x", 10.0), receiver("1-b", "x", 10.025, &[("1-a", "xs")])], &[("1-a", 325)]);
    let lines = [
        sender("1-a", "x", 10.0),
        receiver("1-b", "x", 10.025, &[("1-a", "xs")]),
        receiver("1-c", "x", 10.225, &[("1-b", "xs")]),
    ];
    check(&lines, &[("1-a", 525)]);
}

#[test]
fn links_of_another_shape_are_none() {
    for shape in [
        json!(7),
        json!("x"),
        json!({ "trace_id": "1-a" }),
        json!([]),
        json!([7, { "id": "as" }, { "trace_id": 1, "id": "as" }]),
    ] {
        let text = receiver("1-b", "b", 10.025, &[]);
        let mut value: Value = serde_json::from_str(&text).unwrap();
        let mut document: Value =
            serde_json::from_str(value["Segments"][0]["Document"].as_str().unwrap()).unwrap();
        document["links"] = shape;
        value["Segments"][0]["Document"] = json!(document.to_string());
        check(&[sender("1-a", "a", 10.0), value.to_string()], &[("1-a", 50), ("1-b", 300)]);
    }
    // A link need not name the span.
    let part = receiver("1-b", "b", 10.06, &[("1-a", "as")]).replace("\\\"id\\\":\\\"as\\\",", "");
    check(&[sender("1-a", "a", 10.0), part], &[("1-a", 360)]);
}

#[test]
fn a_part_that_is_not_complete_makes_the_whole_invalid_and_a_damaged_one_stays_alone() {
    let part = receiver("1-b", "b", 10.025, &[("1-a", "as")]);
    let unfinished =
        part.replacen("\\\"name\\\":\\\"g\\\"", "\\\"name\\\":\\\"g\\\",\\\"in_progress\\\":true", 1);
    let Found { rows, invalid } = analyzed(&[sender("1-a", "a", 10.0), unfinished], true);
    assert_eq!((rows.len(), invalid.starts_with("1-a,")), (0, true), "{invalid}");
    let damaged = part.replacen("\"Duration\"", "\"Duration\" 7 ", 1);
    let Found { rows, invalid } = analyzed(&[sender("1-a", "a", 10.0), damaged], true);
    assert_eq!((rows.len(), invalid.starts_with("1-b,")), (1, true), "{invalid}");
    let mut too_short: Value = serde_json::from_str(&part).unwrap();
    too_short["Duration"] = json!(0.2);
    let too_short = too_short.to_string();
    let Found { invalid, .. } = analyzed(&[sender("1-a", "a", 10.0), too_short], true);
    assert!(invalid.starts_with("1-a,") && invalid.contains("duration"), "{invalid}");
}

#[test]
fn an_input_that_can_be_read_once_only_is_refused() {
    let error = Linked::of_file(
        std::path::Path::new("/dev/null"),
        crate::read::source::Source::Auto,
        NonZeroUsize::MIN,
        std::path::Path::new("/nowhere"),
        &|_| {},
    )
    .err()
    .unwrap();
    assert!(error.to_string().contains("read several times"), "{error}");
}

/// The wholes with their parts, in the order in which they come, by ids.
fn wholes(lines: &[String], bytes: usize, chunk: usize, jobs: usize) -> Vec<(String, BTreeSet<String>)> {
    let text = lines.join("\n").into_bytes();
    let folder = tempfile::tempdir().unwrap();
    let room = Room::spilling_into(folder.path(), bytes);
    let open = || Ok(Texts::with_limits(io::Cursor::new(text.clone()), chunk, LONGEST));
    let linked = Linked::find(&open, NonZeroUsize::new(jobs).unwrap(), &room, &|| {}).unwrap();
    let mut groups = linked.traces(open().unwrap()).unwrap();
    let mut found = Vec::new();
    while let Some(group) = groups.next().unwrap() {
        let joined = group.join(&mut Documents::default()).unwrap();
        // The span `IDq` is that of trace ID.
        let parts = joined.spans.iter().filter_map(|span| span.id.strip_suffix('q').map(str::to_owned));
        found.push((joined.id.to_string(), parts.collect()));
    }
    found
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_links_to_whatever_each_trace_is_somewhere_and_no_whole_is_shorter_than_its_parts(
        edges in proptest::collection::vec(proptest::collection::vec(0..9_usize, 0..3), 1..9),
        bytes in 0..600_usize,
        chunk in 1..2_000_usize,
        jobs in 1..3_usize,
    ) {
        let count = edges.len();
        let name = |place: usize| format!("t{place}");
        let lines: Vec<String> = edges.iter().enumerate().map(|(place, to)| {
            let to: Vec<(String, String)> = to.iter().map(|&to| (name(to), format!("t{to}s"))).collect();
            let to: Vec<(&str, &str)> = to.iter().map(|(trace, span)| (&**trace, &**span)).collect();
            receiver(&name(place), &name(place), 10.0 + place as f64 / 4.0, &to)
        }).collect();

        // The same in memory: from each trace that links to nothing that is there, all that can be reached.
        let senders = |place: usize| edges[place].iter().copied().filter(move |&to| to < count && to != place);
        let is_whole = |place: &usize| senders(*place).next().is_none();
        let mut expected: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        for whole in (0..count).filter(is_whole) {
            let mut reached = BTreeSet::from([whole]);
            while let Some(next) = (0..count).find(|place| !reached.contains(place) && senders(*place).any(|to| reached.contains(&to))) {
                reached.insert(next);
            }
            expected.insert(whole, reached);
        }
        let placed: BTreeSet<usize> = expected.values().flatten().copied().collect();
        for alone in (0..count).filter(|place| !placed.contains(place)) {
            expected.insert(alone, BTreeSet::from([alone]));
        }
        let expected: Vec<_> = expected.into_iter().map(|(whole, parts)| (name(whole), parts.into_iter().map(name).collect())).collect();
        proptest::prop_assert_eq!(&wholes(&lines, bytes, chunk, jobs), &expected);

        let alone: BTreeMap<String, i64> = analyzed(&lines, false).rows.into_iter().map(|row| (row.trace_id, row.duration)).collect();
        let joined = analyzed(&lines, true);
        for row in &joined.rows {
            let (_, parts) = expected.iter().find(|(whole, _)| *whole == row.trace_id).unwrap();
            proptest::prop_assert!(parts.iter().all(|part| alone[part] <= row.duration));
        }
    }

    #[test]
    fn without_links_the_option_changes_nothing(starts in proptest::collection::vec(0..100_u32, 0..20), cut in 20..400_usize) {
        let mut lines: Vec<String> = starts.iter().enumerate().map(|(place, &start)| {
            let id = format!("1-{place}");
            if start % 3 == 0 { receiver(&id, "r", f64::from(start), &[]) } else { sender(&id, "s", f64::from(start)) }
        }).collect();
        lines.push(sender("1-cut", "s", 1.0)[..cut].to_owned());
        lines.push(String::new());
        let written = |join_linked| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("traces.json");
            std::fs::write(&path, lines.join("\n")).unwrap();
            let method = Method { join_linked, ..Method::default() };
            let summary = analyze_file(&path, &AnalyzeOptions { method, ..AnalyzeOptions::default() }).unwrap();
            let read = |name| std::fs::read_to_string(folder.path().join(name)).unwrap();
            let mut listed = Vec::new();
            browse::for_each_joined_trace(&path, "", |trace| {
                listed.push(trace.map(|trace| trace.id.to_string()).map_err(|rejected| rejected.id));
                true
            }).unwrap();
            (summary, read("trace_breakdown.csv"), read("invalid_traces.csv"), listed.len())
        };
        proptest::prop_assert_eq!(written(true), written(false));
    }
}
