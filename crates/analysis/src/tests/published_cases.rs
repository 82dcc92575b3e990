//! The situations with which two other tools test their critical paths, drawn anew with times of our own: the 9 of Jaeger's user
//! interface, and the 25 of CRISP. Each is either the same here, or differs for a reason of the design: `docs/traces.md` has the
//! table.

use serde_json::{Value, json};

use crate::method::Method;
use crate::read::otlp;

/// Id, id of the parent or nothing, start and end in milliseconds. With `~` before the parent's id, it only follows from it.
/// `!` after the id: it failed.
type Drawn = (&'static str, &'static str, i64, i64);

/// Milliseconds that each span has on the path, in the order in which they come.
type Times = &'static [(&'static str, i64)];

enum Here {
    /// As there.
    Same,
    /// Other times, which these are.
    Other(Times),
    /// Invalid for this reason.
    Invalid(&'static str),
}

use Here::{Invalid, Other, Same};

/// What it is, the spans, the times there, and what is different here.
type Case = (&'static str, &'static [Drawn], Times, Here);

fn jaeger(spans: &[Drawn]) -> String {
    let spans: Vec<Value> = spans
        .iter()
        .map(|&(id, parent, start, end)| {
            let (id, failed) = id.strip_suffix('!').map_or((id, false), |id| (id, true));
            let (parent, kind) = parent.strip_prefix('~').map_or((parent, "CHILD_OF"), |id| (id, "FOLLOWS_FROM"));
            let reference = json!({ "refType": kind, "traceID": "a", "spanID": parent });
            json!({ "traceID": "a", "spanID": id, "operationName": id, "processID": "p", "startTime": 1_000_000_000 + start * 1_000,
                    "duration": (end - start) * 1_000, "references": if parent.is_empty() { json!([]) } else { json!([reference]) },
                    "tags": [{ "key": "span.kind", "value": "server" }, { "key": "error", "value": failed }] })
        })
        .collect();
    json!({ "data": [{ "traceID": "a", "spans": spans, "processes": { "p": { "serviceName": "s" } } }] })
        .to_string()
}

#[track_caller]
fn check((what, spans, there, here): &Case) {
    let mut traces = otlp::read(&jaeger(spans));
    assert_eq!(traces.len(), 1, "{what}");
    let found = Method::default().inspect(traces.remove(0).unwrap(), |trace, analysis| {
        let analysis = analysis?;
        let mut times: Vec<(String, i64)> = Vec::new();
        for piece in &analysis.pieces {
            let id = trace.span(piece.span).id.to_string();
            let length = piece.end - piece.start;
            match times.iter_mut().find(|(known, _)| *known == id) {
                Some((_, time)) => *time += length,
                None => times.push((id, length)),
            }
        }
        times.retain(|(_, time)| *time > 0);
        Ok(times)
    });
    let found = found.and_then(|times| times.map_err(|reason| crate::invalid::Rejected { id: None, reason }));
    let expected = match here {
        Same => *there,
        Other(times) => {
            assert_ne!(times, there, "{what}");
            times
        }
        Invalid(code) => {
            assert_eq!(found.unwrap_err().reason.code(), *code, "{what}");
            return;
        }
    };
    let found = found.unwrap_or_else(|rejected| panic!("{what}: {}", rejected.reason));
    let mut found: Vec<(&str, i64)> = found.iter().map(|(id, time)| (&**id, *time)).collect();
    found.sort_unstable();
    let microseconds: Vec<(&str, i64)> = expected.iter().map(|&(id, time)| (id, time * 1_000)).collect();
    assert_eq!(found, microseconds, "{what}");
}

const OF_JAEGER: [Case; 9] = [
    (
        "calls one after the other",
        &[("a", "", 0, 90), ("b", "a", 12, 30), ("c", "a", 41, 52)],
        &[("a", 61), ("b", 18), ("c", 11)],
        Same,
    ),
    (
        "calls that overlap: the one that ends last",
        &[("a", "", 0, 90), ("b", "a", 8, 47), ("c", "a", 19, 63)],
        &[("a", 46), ("c", 44)],
        Same,
    ),
    (
        "a child after its parent",
        &[("a", "", 0, 35), ("b", "a", 60, 140)],
        &[("a", 35)],
        Other(&[("a", 35), ("b", 25 + 80)]),
    ),
    (
        "a child after its parent, with a child of its own",
        &[("a", "", 0, 35), ("b", "a", 45, 95), ("c", "b", 50, 64)],
        &[("a", 35)],
        Other(&[("a", 35), ("b", 10 + 36), ("c", 14)]),
    ),
    (
        "a child that only follows from its parent",
        &[("a", "", 0, 35), ("b", "~a", 9, 21)],
        &[("a", 35)],
        Same,
    ),
    (
        "a child that outlasts the root, and a grandchild that starts too early",
        &[("a", "", 0, 35), ("b", "a", 18, 41), ("c", "b", 12, 27)],
        &[("a", 18), ("b", 8), ("c", 9)],
        Other(&[("a", 18), ("b", 14), ("c", 9)]),
    ),
    (
        "child and grandchild each outlast their parents",
        &[("a", "", 0, 35), ("b", "a", 18, 41), ("c", "b", 24, 50)],
        &[("a", 18), ("b", 6), ("c", 11)],
        Other(&[("a", 18), ("b", 6), ("c", 26)]),
    ),
    (
        "a child around its parent",
        &[("a", "", 12, 35), ("b", "a", 4, 41)],
        &[("b", 23)],
        Invalid("root_not_first"),
    ),
    (
        "a child before its parent",
        &[("a", "", 12, 35), ("b", "a", 1, 6)],
        &[("a", 23)],
        Invalid("root_not_first"),
    ),
];

const CHAIN: &[Drawn] = &[
    ("a", "", 0, 240),
    ("b!", "a", 15, 110),
    ("c", "b", 30, 45),
    ("d!", "b", 55, 65),
    ("e!", "b", 75, 90),
    ("f!", "a", 125, 215),
    ("g", "f", 140, 205),
    ("h!", "g", 150, 172),
    ("i!", "g", 181, 193),
];

const TWO_LEVELS: Times =
    &[("a", 100), ("b", 150), ("c", 50), ("d", 50), ("e", 50), ("f", 150), ("g", 50), ("h", 50), ("i", 50)];

const OF_CRISP: [Case; 25] = [
    ("1: a span", &[("a", "", 0, 80)], &[("a", 80)], Same),
    ("2: a call", &[("a", "", 0, 80), ("b", "a", 8, 49)], &[("a", 39), ("b", 41)], Same),
    ("3: a call as long as its caller", &[("a", "", 0, 80), ("b", "a", 0, 80)], &[("b", 80)], Same),
    (
        "4: a call within a call",
        &[("a", "", 0, 80), ("b", "a", 8, 49), ("c", "b", 16, 25)],
        &[("a", 39), ("b", 32), ("c", 9)],
        Same,
    ),
    (
        "5: the same call three times",
        &[("a", "", 0, 90), ("b", "a", 9, 27), ("c", "a", 36, 45), ("d", "a", 54, 81)],
        &[("a", 36), ("b", 18), ("c", 9), ("d", 27)],
        Same,
    ),
    (
        "6: three calls",
        &[("a", "", 0, 95), ("b", "a", 7, 26), ("c", "a", 35, 45), ("d", "a", 50, 81)],
        &[("a", 35), ("b", 19), ("c", 10), ("d", 31)],
        Same,
    ),
    (
        "7: a call that outlasts its caller",
        &[("a", "", 0, 90), ("b", "a", 9, 99), ("c", "b", 36, 45)],
        &[("a", 9), ("b", 72), ("c", 9)],
        Other(&[("a", 9), ("b", 81), ("c", 9)]),
    ),
    (
        "8: a call within a call outlasts both",
        &[("a", "", 0, 90), ("b", "a", 9, 63), ("c", "b", 18, 108)],
        &[("a", 36), ("b", 9), ("c", 45)],
        Other(&[("a", 9), ("b", 9), ("c", 90)]),
    ),
    (
        "9: a call after its caller has ended",
        &[("a", "", 0, 90), ("b", "a", 99, 144), ("c", "b", 108, 135), ("d", "a", 54, 81)],
        &[("a", 63), ("d", 27)],
        Other(&[("a", 54), ("b", 18 + 18), ("c", 27), ("d", 27)]),
    ),
    (
        "10: calls that overlap by the resolution of a clock",
        &[("a", "", 0, 900), ("b", "a", 9, 189), ("c", "a", 188, 278), ("d", "a", 277, 547)],
        &[("a", 360), ("b", 180), ("c", 90), ("d", 270)],
        Other(&[("a", 9 + 353), ("b", 180), ("c", 89), ("d", 269)]),
    ),
    ("11: a call that fails", &[("a", "", 0, 90), ("b!", "a", 27, 54)], &[("a", 63), ("b", 27)], Same),
    (
        "12: of calls side by side, the one off the path fails",
        &[("a", "", 0, 90), ("b", "a", 9, 63), ("c!", "b", 22, 41), ("d", "b", 27, 45)],
        &[("a", 36), ("b", 36), ("d", 18)],
        Same,
    ),
    (
        "13: of calls side by side, the one on the path fails",
        &[("a", "", 0, 90), ("b", "a", 9, 63), ("c", "b", 22, 41), ("d!", "b", 27, 45)],
        &[("a", 36), ("b", 36), ("d", 18)],
        Same,
    ),
    (
        "14: three calls, each overlaps the next one; the last one fails",
        &[("a", "", 0, 72), ("b", "a", 9, 27), ("c", "a", 18, 41), ("d!", "a", 36, 58)],
        &[("a", 32), ("b", 18), ("d", 22)],
        Same,
    ),
    (
        "15: six calls, of which five fail",
        &[
            ("a", "", 0, 90),
            ("b!", "a", 9, 18),
            ("c!", "a", 22, 31),
            ("d!", "a", 36, 45),
            ("e!", "a", 49, 58),
            ("f!", "a", 63, 72),
            ("g", "a", 76, 90),
        ],
        &[("a", 31), ("b", 9), ("c", 9), ("d", 9), ("e", 9), ("f", 9), ("g", 14)],
        Same,
    ),
    (
        "16: calls in sequence and side by side, some fail, one of them deep",
        &[
            ("a", "", 0, 99),
            ("b", "a", 9, 18),
            ("c", "a", 13, 31),
            ("d!", "a", 27, 36),
            ("e!", "a", 45, 54),
            ("f", "a", 63, 90),
            ("g!", "f", 72, 81),
        ],
        &[("a", 45), ("b", 9), ("d", 9), ("e", 9), ("f", 18), ("g", 9)],
        Same,
    ),
    (
        "17: the root fails, and calls within",
        &[("a!", "", 0, 90), ("b", "a", 18, 63), ("c!", "b", 27, 45), ("d!", "a", 72, 81)],
        &[("a", 36), ("b", 27), ("c", 18), ("d", 9)],
        Same,
    ),
    (
        "18: failures on three levels",
        CHAIN,
        &[("a", 55), ("b", 55), ("c", 15), ("d", 10), ("e", 15), ("f", 25), ("g", 31), ("h", 22), ("i", 12)],
        Same,
    ),
    (
        "19: calls that overlap a little and all fail",
        &[("a", "", 0, 540), ("b!", "a", 9, 189), ("c!", "a", 185, 275), ("d!", "a", 270, 540)],
        &[("b", 180), ("c", 90), ("d", 270)],
        Other(&[("a", 9), ("b", 180), ("c", 86), ("d", 265)]),
    ),
    (
        "20: of calls that overlap a little, the second does not fail",
        &[("a", "", 0, 540), ("b!", "a", 9, 189), ("c", "a", 185, 275), ("d!", "a", 270, 540)],
        &[("b", 180), ("c", 90), ("d", 270)],
        Other(&[("a", 9), ("b", 180), ("c", 86), ("d", 265)]),
    ),
    (
        "21: of calls that overlap a little, the first does not fail",
        &[("a", "", 0, 540), ("b", "a", 9, 189), ("c!", "a", 185, 275), ("d!", "a", 270, 540)],
        &[("b", 180), ("c", 90), ("d", 270)],
        Other(&[("a", 9), ("b", 180), ("c", 86), ("d", 265)]),
    ),
    (
        "22: the same call fails three times",
        &[("a", "", 0, 270), ("b!", "a", 45, 90), ("c!", "a", 135, 180), ("d!", "a", 225, 270)],
        &[("a", 135), ("b", 45), ("c", 45), ("d", 45)],
        Same,
    ),
    (
        "23: calls that go on though each of theirs fails",
        &[
            ("a", "", 0, 700),
            ("b", "a", 50, 350),
            ("c!", "b", 100, 150),
            ("d!", "b", 200, 250),
            ("e!", "b", 300, 350),
            ("f", "a", 400, 700),
            ("g!", "f", 450, 500),
            ("h!", "f", 550, 600),
            ("i!", "f", 650, 700),
        ],
        TWO_LEVELS,
        Same,
    ),
    (
        "24: the second of them fails, too",
        &[
            ("a", "", 0, 700),
            ("b", "a", 50, 350),
            ("c!", "b", 100, 150),
            ("d!", "b", 200, 250),
            ("e!", "b", 300, 350),
            ("f!", "a", 400, 700),
            ("g!", "f", 450, 500),
            ("h!", "f", 550, 600),
            ("i!", "f", 650, 700),
        ],
        TWO_LEVELS,
        Same,
    ),
    (
        "25: the second of them fails, though none of its calls does",
        &[
            ("a", "", 0, 700),
            ("b", "a", 50, 350),
            ("c!", "b", 100, 150),
            ("d!", "b", 200, 250),
            ("e!", "b", 300, 350),
            ("f!", "a", 400, 700),
            ("g", "f", 450, 500),
            ("h", "f", 550, 600),
            ("i", "f", 650, 700),
        ],
        TWO_LEVELS,
        Same,
    ),
];

#[test]
fn situations_of_other_tools_are_the_same_or_differ_by_design() {
    OF_JAEGER.iter().chain(&OF_CRISP).for_each(check);
    let same = |cases: &[Case]| cases.iter().filter(|case| matches!(case.3, Same)).count();
    assert_eq!((same(&OF_JAEGER), same(&OF_CRISP)), (3, 18), "docs/traces.md says how many");
}
