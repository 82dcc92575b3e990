//! What is not said: that something is missing which was reported as wrong, and so is not there.
//!
//! A shape is decoded without what is wrong in it, or with a stand-in. All other checks go on, and each rule says on
//! what else it depends ([`Depends`]). "Unknown step" may be an echo when a step could not be read; "not a valid
//! name" is none.

use std::collections::BTreeSet;

use crate::manifest::problem::{LeftOut, Problem, Report};
use crate::manifest::tree::{Kind, Node};
use crate::rules::{Depends, rule};

/// Takes echoes out of a report: of the problems after the first `decoded`, which are those of decoding. `elsewhere` is what was
/// left out of other files on which this one depends.
pub(super) fn without_echoes(report: &mut Report, decoded: usize, root: &Node, elsewhere: &[LeftOut]) {
    let start = |problem: &Problem| problem.labels.first().map(|(span, _)| span.start);
    // What is wrong is not called unused, or dear, as well.
    let wrong: BTreeSet<usize> =
        report.problems.iter().filter(|problem| problem.is_error()).filter_map(start).collect();
    report
        .problems
        .retain(|problem| problem.is_error() || start(problem).is_none_or(|at| !wrong.contains(&at)));
    if decoded == 0 && report.left_out.is_empty() && elsewhere.is_empty() {
        return;
    }
    let said: Vec<usize> =
        report.problems[..decoded].iter().filter(|problem| problem.is_error()).filter_map(start).collect();
    let (mut index, here, source) = (0, std::mem::take(&mut report.left_out), report.source.clone());
    report.problems.retain(|problem| {
        index += 1;
        if index <= decoded {
            return true;
        }
        let place = start(problem);
        // The stand-in for a value is no better than the value.
        if place.is_some_and(|at| said.contains(&at)) {
            return false;
        }
        let is_echo = match rule(problem.code).map_or(Depends::File, |rule| rule.depends) {
            Depends::Nothing => false,
            Depends::Table => {
                let inside = place.map_or((0, usize::MAX), |at| table_around(root, at));
                here.iter().any(|out| inside.0 <= out.at && out.at < inside.1)
            }
            Depends::Names(tables) => {
                let span = problem.labels.first().map(|(span, _)| span.clone()).unwrap_or_default();
                let text = source.text().get(span).unwrap_or_default();
                here.iter().chain(elsewhere).any(|out| may_be(out, text, tables))
            }
            Depends::File => !here.is_empty() || !elsewhere.is_empty(),
        };
        !is_echo
    });
    report.left_out = here;
}

/// Whether what was left out may have held what `text` refers to.
fn may_be(out: &LeftOut, text: &str, tables: &[&str]) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut words = text.split(|c| !is_part(c));
    // A nameless step may be any step.
    out.key == "name"
        || tables.contains(&out.key.as_str())
        || words
            .any(|word| !word.is_empty() && (word == out.key || out.names.iter().any(|name| name == word)))
}

/// From where to where the innermost table around a place reaches.
fn table_around(root: &Node, at: usize) -> (usize, usize) {
    let mut found = (0, usize::MAX);
    let mut node = root;
    loop {
        let children: Vec<(&Node, (usize, usize))> = match &node.value {
            Kind::Table(entries) => entries.iter().map(|(_, value)| (value, reach(value))).collect(),
            Kind::Array(items) => items.iter().map(|item| (item, reach(item))).collect(),
            _ => return found,
        };
        // A table that is written in parts reaches over what stands between them.
        let inner = children.into_iter().filter(|(_, (from, to))| (*from..*to).contains(&at));
        let Some((next, range)) = inner.min_by_key(|(_, (from, to))| to - from) else { return found };
        if matches!(next.value, Kind::Table(_)) {
            found = range;
        }
        node = next;
    }
}

/// From the first to the last byte of a value and all that is in it.
fn reach(node: &Node) -> (usize, usize) {
    let mut range = (node.span.start, node.span.end.max(node.span.start + 1));
    let mut add = |(from, to): (usize, usize)| range = (range.0.min(from), range.1.max(to));
    match &node.value {
        Kind::Table(entries) => {
            for (key, value) in entries {
                add((key.span.start, key.span.end));
                add(reach(value));
            }
        }
        Kind::Array(items) => items.iter().for_each(|item| add(reach(item))),
        _ => {}
    }
    range
}
