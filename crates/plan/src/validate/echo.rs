//! What is not said: that something is missing which was reported as wrong, and so is not there.
//!
//! A shape is decoded without what is wrong in it, or with a stand-in. All other checks go on, and each rule says on
//! what else it depends ([`Depends`]). "Unknown step" may be an echo when a step could not be read; "not a valid
//! name" is none.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};

use crate::manifest::problem::{LeftOut, Problem, Report};
use crate::manifest::tree::{Kind, Node};
use crate::rules::{Depends, rule};

/// Takes echoes out of a report: of the problems after the first `decoded`, which are those of decoding. `elsewhere` is what was
/// left out of other files on which this one depends.
pub(super) fn without_echoes(report: &mut Report, decoded: usize, root: &Node, elsewhere: &[LeftOut]) {
    let start = |problem: &Problem| problem.labels.first().map(|(span, _)| span.start);
    // A cleanup that is implied has the keys of its deploy step, and their mistakes.
    let (mut index, mut known) = (0, HashSet::new());
    report.problems.retain(|problem| {
        index += 1;
        let is_new =
            start(problem).is_none_or(|at| known.insert((at, problem.code, problem.message.clone())));
        is_new || index <= decoded
    });
    // What is wrong is not called unused, or dear, as well.
    let wrong: BTreeSet<usize> =
        report.problems.iter().filter(|problem| problem.is_error()).filter_map(start).collect();
    report
        .problems
        .retain(|problem| problem.is_error() || start(problem).is_none_or(|at| !wrong.contains(&at)));
    if decoded == 0 && report.left_out.is_empty() && elsewhere.is_empty() {
        return;
    }
    let said: HashSet<usize> =
        report.problems[..decoded].iter().filter(|problem| problem.is_error()).filter_map(start).collect();
    let (mut index, here, source) = (0, std::mem::take(&mut report.left_out), report.source.clone());
    let mut places: Vec<usize> = here.iter().map(|out| out.at).collect();
    places.sort_unstable();
    let (tables, missing) = (OnceCell::new(), Missing::new(here.iter().chain(elsewhere)));
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
                let tables = tables.get_or_init(|| Ranges::of(root));
                let (from, to) = place.map_or((0, usize::MAX), |at| tables.table_around(at));
                places.get(places.partition_point(|at| *at < from)).is_some_and(|at| *at < to)
            }
            Depends::Names(names) => {
                let span = problem.labels.first().map(|(span, _)| span.clone()).unwrap_or_default();
                let text = source.text().get(span).unwrap_or_default();
                missing.may_be(text, names)
            }
            Depends::File => !here.is_empty() || !elsewhere.is_empty(),
        };
        !is_echo
    });
    report.left_out = here;
}

/// What was left out, by the names that others may refer to: a file may have thousands of mistakes.
struct Missing<'a> {
    keys: HashSet<&'a str>,
    names: HashSet<&'a str>,
}

impl<'a> Missing<'a> {
    fn new(all: impl Iterator<Item = &'a LeftOut>) -> Self {
        let mut missing = Self { keys: HashSet::new(), names: HashSet::new() };
        for out in all {
            missing.keys.insert(&out.key);
            missing.names.extend(out.names.iter().map(String::as_str));
        }
        missing
    }

    /// Whether it may have held what `text` refers to.
    fn may_be(&self, text: &str, tables: &[&str]) -> bool {
        let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        let mut words = text.split(|c| !is_part(c)).filter(|word| !word.is_empty());
        // A nameless step may be any step.
        self.keys.contains("name")
            || tables.iter().any(|table| self.keys.contains(table))
            || words.any(|word| self.keys.contains(word) || self.names.contains(word))
    }
}

/// How far a value and those in it reach in the text.
struct Ranges {
    is_table: bool,
    /// From the first to the last byte of the value and all that is in it.
    reach: (usize, usize),
    within: Vec<Self>,
    /// Where another of `within` begins to be the smallest around a place, and which; none: there is none.
    around: Vec<(usize, Option<usize>)>,
}

impl Ranges {
    fn of(node: &Node) -> Self {
        let mut reach = (node.span.start, node.span.end.max(node.span.start + 1));
        let mut add = |(from, to): (usize, usize)| reach = (reach.0.min(from), reach.1.max(to));
        let within: Vec<Self> = match &node.value {
            Kind::Table(entries) => entries
                .iter()
                .map(|(key, value)| {
                    add((key.span.start, key.span.end));
                    Self::of(value)
                })
                .collect(),
            Kind::Array(items) => items.iter().map(Self::of).collect(),
            _ => Vec::new(),
        };
        for value in &within {
            add(value.reach);
        }
        Self { is_table: matches!(node.value, Kind::Table(_)), reach, around: around(&within), within }
    }

    /// From where to where the innermost table around a place reaches.
    fn table_around(&self, at: usize) -> (usize, usize) {
        let (mut found, mut value) = ((0, usize::MAX), self);
        loop {
            let index = value.around.partition_point(|(start, _)| *start <= at);
            let inner = index.checked_sub(1).and_then(|index| value.around[index].1);
            let Some(inner) = inner else { return found };
            value = &value.within[inner];
            if value.is_table {
                found = value.reach;
            }
        }
    }
}

/// Which of several values is the smallest around a place. A table that is written in parts reaches over what stands between
/// them.
fn around(values: &[Ranges]) -> Vec<(usize, Option<usize>)> {
    let mut edges: Vec<(usize, bool, usize)> = Vec::with_capacity(2 * values.len());
    for (index, value) in values.iter().enumerate() {
        edges.push((value.reach.0, true, index));
        edges.push((value.reach.1, false, index));
    }
    edges.sort_unstable();
    let mut open: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut found: Vec<(usize, Option<usize>)> = Vec::with_capacity(edges.len());
    for (at, begins, index) in edges {
        let (from, to) = values[index].reach;
        if begins {
            open.insert((to - from, index));
        } else {
            open.remove(&(to - from, index));
        }
        let smallest = open.first().map(|(_, index)| *index);
        match found.last_mut() {
            Some(last) if last.0 == at => last.1 = smallest,
            _ => found.push((at, smallest)),
        }
    }
    found
}
