//! Makes one trace of several that links connect: that of a sender, and those of its receivers, of theirs, and so on.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::span::{Link, MARGIN, Parent, Recorded, Span, between_first_and_last, microseconds};

/// Hangs each of `guests` on what its first link leads to among the traces before it, `host` being the first. What links to
/// none of them is left out.
///
/// The trace's id is the host's. It lasts from the first start to the last end of all.
pub(super) fn join(host: Recorded<'static>, guests: Vec<Recorded<'static>>) -> Recorded<'static> {
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
    let may_end_in_leaf = host.may_end_in_leaf;
    joined.add(host, &HashMap::new());
    for guest in guests {
        let hung = joined.hang(&guest);
        if !hung.is_empty() {
            let (guest, hung) = Joined::without_others(guest, hung);
            joined.add(guest, &hung);
        }
    }
    let duration = between_first_and_last(&joined.spans)
        // What is wrong with the duration of a part is wrong with that of the whole.
        .map(|seconds| seconds + joined.off as f64 / 1e6)
        .or(Some(0.0))
        .filter(|_| joined.is_timed);
    let Joined { spans, links, .. } = joined;
    Recorded { id, duration, spans, links, may_end_in_leaf }
}

/// Whether the span itself, rather than one below it, links to other traces.
fn carries_links(trace: &Recorded<'_>, place: usize) -> bool {
    trace.links.iter().any(|link| link.from == place)
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
    /// On which span each top of a trace hangs, by its place; empty where nothing is there to hang it on.
    fn hang(&self, guest: &Recorded<'_>) -> HashMap<usize, String> {
        let tops = tops(&guest.spans, guest.links.iter().map(|link| link.from));
        let mut hung = HashMap::new();
        let mut first = None;
        for (link, top) in guest.links.iter().zip(tops) {
            // A top that carries links hangs by these alone, and not by those of spans below it.
            if link.from != top && carries_links(guest, top) {
                continue;
            }
            let Some(target) = self.target(link) else { continue };
            first.get_or_insert_with(|| target.clone());
            hung.entry(top).or_insert(target);
        }
        if let Some(first) = first {
            // Tops that carry no link belong to the same trace, and so to the same cause.
            let others = guest.spans.iter().enumerate().filter(|(_, span)| span.parent == Parent::None);
            for (place, _) in others.filter(|(place, _)| !carries_links(guest, *place)) {
                hung.entry(place).or_insert_with(|| first.clone());
            }
        }
        hung
    }

    /// The trace without the tops that are only others' affair: of a batch of messages, those of other senders that waited in the
    /// queue. What hung below them hangs below the first top that stays.
    fn without_others(
        guest: Recorded<'static>,
        hung: HashMap<usize, String>,
    ) -> (Recorded<'static>, HashMap<usize, String>) {
        let is_other = |place: usize| guest.spans[place].parent == Parent::None && !hung.contains_key(&place);
        let mut stays: Vec<bool> = (0..guest.spans.len()).map(|place| !is_other(place)).collect();
        if stays.iter().all(|stays| *stays) {
            return (guest, hung);
        }
        let left_out: HashSet<String> = guest
            .spans
            .iter()
            .zip(&stays)
            .filter(|(_, stays)| !**stays)
            .map(|(span, _)| span.id.to_string())
            .collect();
        // The parts of a top come after it.
        for place in 0..guest.spans.len() {
            if let Parent::Enclosing(parent) = guest.spans[place].parent {
                stays[place] = stays[place] && stays[parent];
            }
        }
        let first = (0..guest.spans.len())
            .filter(|place| hung.contains_key(place) && carries_links(&guest, *place))
            .min();
        let first = first.or_else(|| hung.keys().copied().min());
        let first = first.map(|place| guest.spans[place].id.to_string()).unwrap_or_default();
        let mut moved = Vec::with_capacity(stays.len());
        let mut count = 0;
        for stays in &stays {
            moved.push(stays.then_some(count));
            count += usize::from(*stays);
        }
        let spans = guest.spans.into_iter().zip(&stays).filter(|(_, stays)| **stays).map(|(span, _)| {
            let parent = match span.parent {
                Parent::Enclosing(parent) => moved[parent].map_or(Parent::None, Parent::Enclosing),
                Parent::Id(id) if left_out.contains(&*id) => Parent::Id(Cow::Owned(first.clone())),
                parent => parent,
            };
            Span { parent, ..span }
        });
        let spans: Vec<Span<'static>> = spans.collect();
        let links = guest.links.into_iter().filter_map(|link| Some(Link { from: moved[link.from]?, ..link }));
        let hung = hung.into_iter().filter_map(|(place, target)| Some((moved[place]?, target))).collect();
        // It lasts from the first of what stays.
        let duration = guest.duration.and(between_first_and_last(&spans));
        let links = links.collect();
        (Recorded { spans, links, duration, id: guest.id, may_end_in_leaf: guest.may_end_in_leaf }, hung)
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

    /// Adds a trace, its tops where they hang.
    fn add(&mut self, trace: Recorded<'static>, hung: &HashMap<usize, String>) {
        let id = trace.id.into_owned();
        self.measure(trace.duration, &trace.spans);
        for span in &trace.spans {
            let owner = self.owners.entry(span.id.to_string()).or_insert_with(|| id.clone());
            if *owner != id {
                let key = (id.clone(), span.id.to_string());
                self.renamed.insert(key, format!("{id}/{}", span.id));
            }
        }
        let offset = self.spans.len();
        let top = trace.spans.iter().find(|span| span.parent == Parent::None).or(trace.spans.first());
        let top = top.map(|span| self.name(&id, &span.id)).unwrap_or_default();
        let ids = trace.spans.iter().map(|span| span.id.to_string()).collect();
        let tree = &*self;
        let spans = trace.spans.into_iter().enumerate().map(|(place, span)| {
            let parent = match span.parent {
                Parent::None => {
                    hung.get(&place).map_or(Parent::None, |target| Parent::Id(Cow::Owned(target.clone())))
                }
                Parent::Enclosing(place) => Parent::Enclosing(place + offset),
                Parent::Id(parent) => Parent::Id(Cow::Owned(tree.name(&id, &parent))),
            };
            Span { id: Cow::Owned(tree.name(&id, &span.id)), parent, ..span }
        });
        let spans: Vec<Span<'static>> = spans.collect();
        self.spans.extend(spans);
        self.links.extend(trace.links.into_iter().map(|link| Link { from: link.from + offset, ..link }));
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
