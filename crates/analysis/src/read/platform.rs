//! Platforms whose own spans no export has: on AWS Lambda, functions are children of X-Ray's spans. Where several parents are
//! missing, the platform's spans are inferred by time, and marked by their name and origin.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::otlp::{ConnectedSpan, SpanKind};
use crate::span::{Flags, OTEL_FUNCTION, Parent, Span};

/// The origin of an inferred span.
const INFERRED: &str = "OTel::Inferred";

/// The most spans that are inferred in a trace: where more are missing, spans were lost.
const MOST: usize = 256;

/// Seconds by which clocks may differ.
const CLOCKS_DIFFER: f64 = 0.01;

/// Adds the missing parents of functions: each stands between its function and the call that fits in time. A function that no call
/// fits stays as it is; but where no span is without a parent, the first one is the root.
pub(super) fn infer(items: &mut Vec<ConnectedSpan>) {
    let places: HashMap<String, usize> =
        items.iter().enumerate().map(|(place, item)| (item.span.id.to_string(), place)).collect();
    // For each missing parent the functions beneath it.
    let mut missing: Vec<(String, Vec<usize>)> = Vec::new();
    for (place, item) in items.iter().enumerate() {
        let Parent::Id(parent) = &item.span.parent else { continue };
        if places.contains_key(&**parent) {
            continue;
        }
        if item.span.origin.as_deref() != Some(OTEL_FUNCTION) {
            return;
        }
        match missing.iter_mut().find(|(id, _)| id == parent) {
            Some((_, functions)) => functions.push(place),
            None => missing.push((parent.to_string(), vec![place])),
        }
    }
    let has_root = items.iter().any(|item| item.span.parent == Parent::None);
    if missing.is_empty() || missing.len() > MOST || (!has_root && missing.len() < 2) {
        return;
    }
    let start = |place: usize, items: &[ConnectedSpan]| items[place].span.start;
    let first = |functions: &[usize], items: &[ConnectedSpan]| {
        functions.iter().map(|&place| start(place, items)).fold(f64::INFINITY, f64::min)
    };
    missing.sort_by(|(left, left_functions), (right, right_functions)| {
        first(left_functions, items).total_cmp(&first(right_functions, items)).then_with(|| left.cmp(right))
    });
    let parent_place = |items: &[ConnectedSpan], place: usize| match &items[place].span.parent {
        Parent::Id(id) => places.get(&**id).copied(),
        Parent::None | Parent::Enclosing(_) => None,
    };
    let answered: HashSet<usize> = (0..items.len())
        .filter(|&place| matches!(items[place].kind, SpanKind::Server | SpanKind::Consumer))
        .filter_map(|place| parent_place(items, place))
        .collect();
    let parents: Vec<Option<usize>> = (0..items.len()).map(|place| parent_place(items, place)).collect();
    let tops = tops(&parents);
    let mut taken: HashSet<usize> = answered;
    let mut hung: HashMap<usize, usize> = HashMap::new();
    let mut inferred = Vec::new();
    for (number, (id, functions)) in missing.iter().enumerate() {
        if number == 0 && !has_root {
            for &place in functions {
                items[place].span.parent = Parent::None;
            }
            continue;
        }
        let start = first(functions, items);
        let end = functions.iter().map(|&place| items[place].span.end).fold(f64::NEG_INFINITY, f64::max);
        let is_beneath = |place: usize| {
            let climb = std::iter::successors(Some(tops[place]), |top| hung.get(top).map(|&call| tops[call]));
            climb.take(missing.len() + 1).any(|top| functions.contains(&top))
        };
        // The call that holds the function best: one that lasts as long, else a message, and of these the latest.
        let call = (0..items.len())
            .filter(|&place| matches!(items[place].kind, SpanKind::Client | SpanKind::Producer))
            .filter(|place| !taken.contains(place))
            .filter(|&place| items[place].span.start <= start + CLOCKS_DIFFER && !is_beneath(place))
            .max_by(|&left, &right| {
                let key = |place: usize| {
                    let span = &items[place].span;
                    (span.end + CLOCKS_DIFFER >= end, items[place].kind == SpanKind::Producer)
                };
                let (left_span, right_span) = (&items[left].span, &items[right].span);
                key(left)
                    .cmp(&key(right))
                    .then(left_span.start.total_cmp(&right_span.start))
                    .then_with(|| right_span.id.cmp(&left_span.id))
            });
        let Some(call) = call else { continue };
        taken.insert(call);
        let cause = &items[call].span;
        for &place in functions {
            hung.insert(place, call);
        }
        let name = format!("inferred: {}", items[functions[0]].span.name);
        inferred.push(ConnectedSpan {
            kind: if items[call].kind == SpanKind::Producer { SpanKind::Consumer } else { SpanKind::Server },
            link: None,
            span: Span {
                id: Cow::Owned(id.clone()),
                name: Cow::Owned(name),
                origin: Some(Cow::Borrowed(INFERRED)),
                url: None,
                start,
                end,
                flags: Flags::default(),
                parent: Parent::Id(Cow::Owned(cause.id.to_string())),
            },
        });
    }
    items.append(&mut inferred);
}

/// The span at the top of the tree of each span. A circle has no top; one of its spans stands for it.
fn tops(parents: &[Option<usize>]) -> Vec<usize> {
    let mut tops: Vec<Option<usize>> = vec![None; parents.len()];
    for place in 0..parents.len() {
        let mut way = Vec::new();
        let mut here = place;
        let top = loop {
            if let Some(top) = tops[here] {
                break top;
            }
            // Marked while it is on the way, so that a circle ends.
            tops[here] = Some(here);
            way.push(here);
            match parents[here] {
                Some(parent) => here = parent,
                None => break here,
            }
        };
        for here in way {
            tops[here] = Some(top);
        }
    }
    tops.into_iter().enumerate().map(|(place, top)| top.unwrap_or(place)).collect()
}
