//! Makes one trace of several that links connect: that of a sender, and those of its receivers, of theirs, and so on.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::span::{Link, MARGIN, Parent, Recorded, Span, between_first_and_last, microseconds};

/// Hangs each of `guests` on the target of its first link among the traces before it; `host` is the first of these. A guest
/// that links to none of them is left out. So is a top of a guest that links to other traces only: it shows how long the
/// message of another sender waited.
///
/// The trace's id is the host's. It lasts from the first start to the last end of all.
pub(crate) fn join(host: Recorded<'static>, guests: Vec<Recorded<'static>>) -> Recorded<'static> {
    let id = host.id.clone();
    let mut joined = Joined {
        owners: HashMap::new(),
        traces: HashMap::new(),
        renamed: HashMap::new(),
        spans: Vec::new(),
        links: Vec::new(),
        is_timed: true,
        off: 0,
    };
    let precision = host.precision;
    let mut limit_exceeded = host.limit_exceeded;
    let tops = host.spans.iter().enumerate().filter(|(_, span)| span.parent == Parent::None);
    let tops = tops.map(|(place, _)| (place, String::new())).collect();
    joined.add(host, &tops);
    for guest in guests {
        let hung = joined.hang(&guest);
        if !hung.is_empty() {
            limit_exceeded |= guest.limit_exceeded;
            joined.add(guest, &hung);
        }
    }
    let duration = between_first_and_last(&joined.spans)
        // What is wrong with the duration of a part is wrong with that of the whole.
        .map(|seconds| seconds + joined.off as f64 / 1e6)
        .or(Some(0.0))
        .filter(|_| joined.is_timed);
    let Joined { spans, links, .. } = joined;
    Recorded { id, duration, spans, links, precision, limit_exceeded }
}

struct Joined {
    /// Of each span's id the trace that has it.
    owners: HashMap<String, String>,
    /// Of each trace the ids of its spans, as it has them, and of its top here.
    traces: HashMap<String, (HashSet<String>, String)>,
    /// Spans whose id another trace had already, by trace and id.
    renamed: HashMap<(String, String), String>,
    spans: Vec<Span<'static>>,
    links: Vec<Link<'static>>,
    is_timed: bool,
    /// Microseconds by which the duration of a part is not the time between its first start and last end.
    off: i64,
}

impl Joined {
    /// The span on which each top of a trace hangs, by the place of the top. It is empty where there is no such span. Tops
    /// that are not in it are those of other senders.
    fn hang(&self, guest: &Recorded<'_>) -> BTreeMap<usize, String> {
        let mut carriers: HashMap<usize, Option<String>> = HashMap::new();
        let mut trees: HashMap<usize, String> = HashMap::new();
        let mut first = None;
        let links = || guest.links.iter().filter(|link| !link.to_child);
        for (link, top) in links().zip(tops(&guest.spans, links().map(|link| link.from))) {
            let target = self.target(link);
            let carried = carriers.entry(link.from).or_default();
            *carried = carried.take().or_else(|| target.clone());
            if let Some(target) = target {
                first.get_or_insert_with(|| target.clone());
                trees.entry(top).or_insert(target);
            }
        }
        // What a sender's span says that it caused counts where the receiver does not name its cause.
        let caused = self.links.iter().find(|link| link.to_child && link.trace == guest.id);
        let cause = caused.map(|link| self.spans[link.from].id.to_string());
        let Some(first) = first.or(cause) else { return BTreeMap::new() };
        let all = || (0..guest.spans.len()).filter(|&place| guest.spans[place].parent == Parent::None);
        let hung: BTreeMap<usize, String> = all()
            .filter_map(|top| {
                let target = match carriers.get(&top) {
                    Some(own) => own.clone()?,
                    // It belongs to the same trace, and so to the same cause.
                    None => trees.get(&top).unwrap_or(&first).clone(),
                };
                Some((top, target))
            })
            .collect();
        if hung.is_empty() { all().map(|top| (top, first.clone())).collect() } else { hung }
    }

    /// The span that a link leads to; the top of its trace where that was recorded without the span.
    fn target(&self, link: &Link<'_>) -> Option<String> {
        let (spans, top) = self.traces.get(&*link.trace)?;
        let span = &*link.span;
        Some(if spans.contains(span) { self.name(&link.trace, span) } else { top.clone() })
    }

    /// What a span of a trace is called here.
    fn name(&self, trace: &str, span: &str) -> String {
        let renamed = self.renamed.get(&(trace.to_owned(), span.to_owned()));
        renamed.cloned().unwrap_or_else(|| span.to_owned())
    }

    /// Adds a trace, its tops where they hang (nowhere, where that is empty), without other tops.
    fn add(&mut self, trace: Recorded<'static>, hung: &BTreeMap<usize, String>) {
        self.measure(trace.duration, &trace.spans);
        let id = trace.id.to_string();
        // The new place of each span; none where its top is left out.
        let mut places: Vec<Option<usize>> = Vec::with_capacity(trace.spans.len());
        let mut next = self.spans.len();
        for (place, span) in trace.spans.iter().enumerate() {
            let stays = match span.parent {
                Parent::None => hung.contains_key(&place),
                Parent::Enclosing(outer) => places[outer].is_some(),
                Parent::Id(_) => true,
            };
            places.push(stays.then_some(next));
            next += usize::from(stays);
        }
        let with = |stays: bool| {
            let spans = trace.spans.iter().zip(&places).filter(move |(_, place)| place.is_some() == stays);
            spans.map(|(span, _)| span.id.to_string()).collect::<HashSet<String>>()
        };
        let (ids, left_out) = (with(true), with(false));
        for span in &ids {
            let owner = self.owners.entry(span.clone()).or_insert_with(|| id.clone());
            if *owner != id {
                self.renamed.insert((id.clone(), span.clone()), format!("{id}/{span}"));
            }
        }
        let top = hung.keys().next().copied().unwrap_or_default();
        let top = trace.spans.get(top).map(|span| self.name(&id, &span.id)).unwrap_or_default();
        for ((place, span), stays) in trace.spans.into_iter().enumerate().zip(&places) {
            if stays.is_none() {
                continue;
            }
            let parent = match span.parent {
                Parent::None => match hung.get(&place) {
                    Some(target) if !target.is_empty() => Parent::Id(Cow::Owned(target.clone())),
                    _ => Parent::None,
                },
                Parent::Enclosing(outer) => places[outer].map_or(Parent::None, Parent::Enclosing),
                Parent::Id(parent) if left_out.contains(&*parent) && !ids.contains(&*parent) => {
                    Parent::Id(Cow::Owned(top.clone()))
                }
                Parent::Id(parent) => Parent::Id(Cow::Owned(self.name(&id, &parent))),
            };
            let name = self.name(&id, &span.id);
            self.spans.push(Span { id: Cow::Owned(name), parent, ..span });
        }
        let links = trace.links.into_iter();
        self.links.extend(links.filter_map(|link| Some(Link { from: places[link.from]?, ..link })));
        self.traces.insert(id, (ids, top));
    }

    fn measure(&mut self, duration: Option<f64>, spans: &[Span<'_>]) {
        match (duration, between_first_and_last(spans)) {
            (Some(duration), Some(between)) => {
                let off = microseconds(duration) - microseconds(between);
                if off.abs() > MARGIN.max(self.off.abs()) {
                    self.off = off;
                }
            }
            (None, _) => self.is_timed = false,
            // Times that are none are found with the spans.
            (Some(_), None) => {}
        }
    }
}

/// The span at the top of the tree in which each of the `wanted` spans is, by place.
fn tops(spans: &[Span<'_>], wanted: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, span) in spans.iter().enumerate() {
        places.entry(&span.id).or_insert(place);
    }
    let parent = |place: usize| match &spans[place].parent {
        Parent::None => None,
        Parent::Enclosing(parent) => Some(*parent),
        Parent::Id(id) => places.get(&**id).copied(),
    };
    // A circle is left after as many steps as there are spans.
    let climb = |place| std::iter::successors(Some(place), |&place| parent(place)).take(spans.len()).last();
    wanted.map(|place| climb(place).unwrap_or(place)).collect()
}
