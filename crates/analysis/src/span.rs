//! The span model: the spans of one trace as a tree, whichever tracer recorded them.
//!
//! Only [`Trace::new`] makes a [`Trace`]. It checks what every later step relies on: each parent exists, there are no
//! loops, the root starts first, and the times are real.

use std::borrow::Cow;
use std::collections::hash_map::Entry;

use foldhash::{HashMap, HashMapExt as _, HashSet};

use crate::invalid::Invalid;

/// Times that differ by this many microseconds or less count as equal: X-Ray rounds some times to milliseconds.
pub(crate) const MARGIN: i64 = 1_001;

/// The place of a span in [`Trace::spans`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanIndex(u32);

impl SpanIndex {
    /// The place, from 0.
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// One timed operation. Strings are borrowed from the text that it was read from where possible.
#[derive(Clone, Debug, PartialEq)]
pub struct Span<'a> {
    /// Unique in the trace.
    pub id: Cow<'a, str>,
    /// What the operation is called.
    pub name: Cow<'a, str>,
    /// The kind of service, such as `AWS::Lambda::Function`; parts of a service have none.
    pub origin: Option<Cow<'a, str>>,
    /// The request's URL.
    pub url: Option<Cow<'a, str>>,
    /// Seconds since the epoch.
    pub start: f64,
    /// Seconds since the epoch.
    pub end: f64,
    /// What the tracer says of it beside its times.
    pub flags: Flags,
    /// What it is part of.
    pub parent: Parent<'a>,
}

/// How a span names the one that it is part of.
#[derive(Clone, Debug, PartialEq)]
pub enum Parent<'a> {
    /// It is a root.
    None,
    /// The span in which its document is nested, by place in the same list.
    Enclosing(usize),
    /// The id of any span of the trace.
    Id(Cow<'a, str>),
}

/// That a span was caused by one of another trace, which is not its parent, or that it caused one there.
#[derive(Clone, Debug, PartialEq)]
pub struct Link<'a> {
    /// The place of the span that carries it.
    pub from: usize,
    /// Whether it leads from the cause to what it caused (`aws.xray.reserved.reference_type` is `child`).
    pub to_child: bool,
    /// The trace that it leads to.
    pub trace: Cow<'a, str>,
    /// The span there; empty where it is not given.
    pub span: Cow<'a, str>,
}

/// What a tracer says of a span beside its times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent statements, named as in the documents")]
pub struct Flags {
    /// The caller's error: a status from 400 to 499.
    pub error: bool,
    /// The service's fault.
    pub fault: bool,
    /// Refused because of a limit: status 429.
    pub throttle: bool,
    /// It has not ended.
    pub in_progress: bool,
    /// It had to be initialized first, which no span of its own reports.
    pub cold_start: bool,
    /// It carries links, and they count ([`Method::join_linked`](crate::Method::join_linked)).
    pub linked: bool,
    /// It handles a message: its parent, which sent the message, does not wait for it.
    pub from_queue: bool,
    /// It answers a call from another machine, whose clock may differ.
    pub from_afar: bool,
}

/// What a tracer recorded of one trace; not checked yet.
#[derive(Clone, Debug)]
pub struct Recorded<'a> {
    /// The trace's id.
    pub id: Cow<'a, str>,
    /// Seconds; `None` where the trace is still being written.
    pub duration: Option<f64>,
    /// In the order of the file.
    pub spans: Vec<Span<'a>>,
    /// What its spans say of other traces, in the order of the documents. (Those of OpenTelemetry are followed when a trace
    /// is gathered.)
    pub links: Vec<Link<'a>>,
    /// How exactly the tracer records times.
    pub precision: Precision,
    /// X-Ray left out parts of the trace, since it is too large for X-Ray (`LimitExceeded`).
    pub limit_exceeded: bool,
}

/// How exactly a tracer records times: by how much a part may end after its parent and still be within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// X-Ray rounds some times to milliseconds: 1.001 ms, between doubles, as in the study.
    XRay,
    /// 1.001 ms: times of clocks that count milliseconds.
    Milliseconds,
    /// 1 µs. Between machines, whose clocks differ, it is 1.001 ms.
    Microseconds,
}

impl Flags {
    /// What a failure with this status code means: 429 is a throttle, other codes from 400 to 499 are the caller's
    /// error, everything else is a fault. X-Ray flags its spans so.
    pub(crate) fn of_failure(status: Option<i64>) -> Self {
        match status {
            Some(429) => Self { error: true, throttle: true, ..Self::default() },
            Some(400..=499) => Self { error: true, ..Self::default() },
            _ => Self { fault: true, ..Self::default() },
        }
    }
}

impl<'a> Recorded<'a> {
    /// For tracers that record no duration of traces: from the first start to the last end.
    ///
    /// The spans, whose parents must be given by id, are put into an order of their own, so that the analysis does not
    /// depend on that of the file: roots first, then by start, the longer one first, then by id.
    pub(crate) fn measured(id: Cow<'a, str>, mut spans: Vec<Span<'a>>) -> Self {
        spans.sort_by(|left, right| {
            let is_part = |span: &Span<'_>| span.parent != Parent::None;
            is_part(left)
                .cmp(&is_part(right))
                .then(left.start.total_cmp(&right.start))
                .then(right.end.total_cmp(&left.end))
                .then_with(|| left.id.cmp(&right.id))
        });
        let duration = between_first_and_last(&spans)
            // What is wrong with the times is found with the spans.
            .or((!spans.is_empty()).then_some(0.0));
        let is_whole = |seconds: f64| !in_range(seconds) || microseconds(seconds) % 1_000 == 0;
        let is_coarse = spans.iter().all(|span| is_whole(span.start) && is_whole(span.end));
        let precision = if is_coarse { Precision::Milliseconds } else { Precision::Microseconds };
        Self { id, duration, spans, links: Vec::new(), precision, limit_exceeded: false }
    }

    /// Lets the links that spans carry count.
    pub(crate) fn mark_linked(&mut self) {
        for link in self.links.iter().filter(|link| !link.to_child) {
            self.spans[link.from].flags.linked = true;
        }
    }

    /// Did the tracer deliver all of the trace?
    pub(crate) fn check_delivered(&self) -> Result<(), Invalid> {
        if self.limit_exceeded { Err(Invalid::LimitExceeded) } else { Ok(()) }
    }

    /// Of spans with one id, lets the one that ends last stand for all, whatever their order in the file. The study takes the
    /// last one of the file. Returns whether these differ.
    ///
    /// Records of X-Ray with one id are of one segment, which X-Ray sends whenever it changes. Of other tracers they are one
    /// span only if they have one name and one start.
    pub(crate) fn choose_repeated(&mut self) -> Result<bool, Invalid> {
        let mut ids: HashSet<&str> = HashSet::with_capacity_and_hasher(self.spans.len(), <_>::default());
        if self.spans.iter().all(|span| ids.insert(&*span.id)) {
            return Ok(false);
        }
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, span) in self.spans.iter().enumerate() {
            places.entry(span.id.to_string()).or_default().push(place);
        }
        let mut differs = false;
        for (id, places) in places {
            let (Some(&first), Some(&last)) = (places.first(), places.last()) else { continue };
            let is_other = |&place: &usize| {
                let (span, first) = (&self.spans[place], &self.spans[first]);
                span.name != first.name || span.start.total_cmp(&first.start).is_ne()
            };
            if self.precision != Precision::XRay && places.iter().any(is_other) {
                return Err(Invalid::ConflictingSpans { span: id });
            }
            let chosen = places.into_iter().max_by(|&left, &right| {
                let (left, right) = (&self.spans[left], &self.spans[right]);
                // Of equal ends, any rule does that does not depend on the order.
                let rest = |span: &Span<'a>| {
                    let Flags { error, fault, throttle, cold_start, linked, .. } = span.flags;
                    let texts = (span.name.clone(), span.origin.clone(), span.url.clone());
                    (texts, error, fault, throttle, cold_start, linked)
                };
                (left.end.total_cmp(&right.end))
                    .then(right.start.total_cmp(&left.start))
                    .then_with(|| rest(left).cmp(&rest(right)))
            });
            // All of these places become one span, the last of them: which span is at which does not matter beyond that.
            if let Some(chosen) = chosen.filter(|&chosen| chosen != last) {
                differs |= self.spans[chosen] != self.spans[last];
                self.spans.swap(chosen, last);
            }
        }
        Ok(differs)
    }

    /// For what outlives the text.
    pub fn into_owned(self) -> Recorded<'static> {
        fn own(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        let spans = self.spans.into_iter().map(|span| Span {
            id: own(span.id),
            name: own(span.name),
            origin: span.origin.map(own),
            url: span.url.map(own),
            start: span.start,
            end: span.end,
            flags: span.flags,
            parent: match span.parent {
                Parent::None => Parent::None,
                Parent::Enclosing(place) => Parent::Enclosing(place),
                Parent::Id(id) => Parent::Id(own(id)),
            },
        });
        let links = self.links.into_iter().map(|link| Link {
            from: link.from,
            to_child: link.to_child,
            trace: own(link.trace),
            span: own(link.span),
        });
        let (duration, precision) = (self.duration, self.precision);
        let (spans, links) = (spans.collect(), links.collect());
        Recorded { id: own(self.id), duration, spans, links, precision, limit_exceeded: self.limit_exceeded }
    }

    /// Joins the spans to a tree.
    ///
    /// # Errors
    /// As [`Trace::new`].
    pub fn join(self) -> Result<Trace<'a>, Invalid> {
        let trace = Trace::new(self.id, self.duration, self.spans)?;
        Ok(Trace { precision: self.precision, ..trace })
    }
}

/// Takes out what was recorded of spans while they were in progress, where the same spans have ended: tracers send both, in any
/// order. What lies within such a record and is still in progress goes with it, since the later record replaces it as a whole.
/// What has ended within it becomes a part of the span as it ended.
pub(crate) fn settle<'a>(spans: Vec<Span<'a>>, links: Vec<Link<'a>>) -> (Vec<Span<'a>>, Vec<Link<'a>>) {
    if spans.iter().all(|span| !span.flags.in_progress) {
        return (spans, links);
    }
    let ended: HashSet<Cow<'a, str>> =
        spans.iter().filter(|span| !span.flags.in_progress).map(|span| span.id.clone()).collect();
    // Of each span that is taken out, the id of the span that stands for it.
    let mut replaced: Vec<Option<Cow<'a, str>>> = Vec::with_capacity(spans.len());
    for span in &spans {
        let enclosing = match span.parent {
            Parent::Enclosing(outer) => replaced.get(outer).and_then(Option::as_ref),
            Parent::None | Parent::Id(_) => None,
        };
        let stands_for = match ended.contains(&span.id) {
            _ if !span.flags.in_progress => None,
            true => Some(span.id.clone()),
            false => enclosing.cloned(),
        };
        replaced.push(stands_for);
    }
    let mut next = 0;
    let mut places = Vec::with_capacity(spans.len());
    for replaced in &replaced {
        places.push(next);
        next += usize::from(replaced.is_none());
    }
    let kept = spans.into_iter().zip(&replaced).filter(|(_, replaced)| replaced.is_none());
    let kept = kept.map(|(span, _)| {
        let parent = match span.parent {
            Parent::Enclosing(outer) => match replaced.get(outer) {
                Some(Some(id)) => Parent::Id(id.clone()),
                _ => Parent::Enclosing(places.get(outer).copied().unwrap_or(outer)),
            },
            other => other,
        };
        Span { parent, ..span }
    });
    let spans = kept.collect();
    let links = links.into_iter().filter(|link| replaced[link.from].is_none());
    let links = links.map(|link| Link { from: places[link.from], ..link });
    (spans, links.collect())
}

/// Seconds from the first start to the last end, in whole microseconds; none where there are no such times.
pub(crate) fn between_first_and_last(spans: &[Span<'_>]) -> Option<f64> {
    let start = spans.iter().map(|span| span.start).fold(f64::INFINITY, f64::min);
    let end = spans.iter().map(|span| span.end).fold(f64::NEG_INFINITY, f64::max);
    (in_range(start) && in_range(end)).then(|| (microseconds(end) - microseconds(start)) as f64 / 1e6)
}

/// What an origin means for the analysis, beside its activity ([`crate::path::activities`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// AWS::Lambda::Function: the function's own time, which the service around it records too.
    Function,
    /// A function of a tracer that records no service around it.
    StandaloneFunction,
    Other,
}

impl Role {
    fn of(origin: Option<&str>) -> Self {
        match origin {
            Some("AWS::Lambda::Function") => Self::Function,
            Some(AZURE_FUNCTION | OTEL_FUNCTION) => Self::StandaloneFunction,
            _ => Self::Other,
        }
    }

    pub(crate) fn is_function(self) -> bool {
        self != Self::Other
    }
}

/// The origin that the reader of Application Insights gives to functions.
pub(crate) const AZURE_FUNCTION: &str = "Azure::Functions::Function";

/// The origin that the reader of OpenTelemetry gives to functions.
pub(crate) const OTEL_FUNCTION: &str = "OTel::Function";

/// A span's time in whole microseconds and its place in the tree: what the hot loops read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) start: f64,
    pub(crate) end: f64,
    pub(crate) start_us: i64,
    pub(crate) end_us: i64,
    pub(crate) parent: Option<SpanIndex>,
    pub(crate) role: Role,
    pub(crate) is_initialization: bool,
    /// Of a function that starts from a snapshot. The study does not know it.
    pub(crate) is_restore: bool,
    children_from: u32,
    children_to: u32,
}

/// A complete, consistent trace.
#[derive(Debug)]
pub struct Trace<'a> {
    /// The trace's id.
    pub id: Cow<'a, str>,
    /// Seconds, as the tracer gave it.
    pub duration: f64,
    spans: Vec<Span<'a>>,
    nodes: Vec<Node>,
    /// All children, those of one parent together, by (end, start).
    children: Vec<SpanIndex>,
    root: SpanIndex,
    last: SpanIndex,
    precision: Precision,
}

impl<'a> Trace<'a> {
    /// Joins spans to a tree and checks it. `duration` is in seconds; spans are in the order of the file.
    ///
    /// A span id that comes twice is one span: the later one replaces the earlier one.
    ///
    /// # Errors
    /// There is no duration, a span is in progress, a time is out of range, a parent is missing or conflicting, there is no
    /// root or it does not start first, the duration is not the time between first start and last end, or parents form a
    /// circle.
    pub fn new(id: Cow<'a, str>, duration: Option<f64>, spans: Vec<Span<'a>>) -> Result<Self, Invalid> {
        let duration = duration.ok_or(Invalid::NoDuration)?;
        if let Some(span) = spans.iter().find(|span| span.flags.in_progress) {
            return Err(Invalid::InProgress { span: span.id.to_string() });
        }
        for seconds in spans.iter().flat_map(|span| [span.start, span.end]).chain([duration]) {
            if !in_range(seconds) {
                return Err(Invalid::TimeOutOfRange { seconds: format!("{seconds:?}") });
            }
        }
        if spans.len() >= u32::MAX as usize {
            return Err(Invalid::TooLong { limit: u32::MAX as usize });
        }
        let (spans, parents) = resolve_parents(spans)?;
        let (mut nodes, root) = make_nodes(&spans, &parents)?;
        let (first, last) = first_and_last(&nodes).ok_or(Invalid::NoRoot)?;
        // Several may start together: their order in the file says nothing.
        if nodes[root.get()].start > nodes[first.get()].start {
            return Err(Invalid::RootNotFirst {
                root: spans[root.get()].id.to_string(),
                first: spans[first.get()].id.to_string(),
            });
        }
        let between = nodes[last.get()].end_us - nodes[root.get()].start_us;
        let duration_us = microseconds(duration);
        if (duration_us - between).abs() > MARGIN {
            return Err(Invalid::DurationMismatch { duration: duration_us, between });
        }
        leave_loops(&spans, &mut nodes, last)?;
        let children = sort_children(&mut nodes);
        Ok(Self { id, duration, spans, nodes, children, root, last, precision: Precision::XRay })
    }

    /// In the order of the file, without repetitions.
    pub fn spans(&self) -> &[Span<'a>] {
        &self.spans
    }

    /// The span at a place.
    pub fn span(&self, index: SpanIndex) -> &Span<'a> {
        &self.spans[index.get()]
    }

    /// What a span is part of; `None` for a root.
    pub fn parent(&self, index: SpanIndex) -> Option<SpanIndex> {
        self.node(index).parent
    }

    /// Ordered by end, then start.
    pub fn children(&self, index: SpanIndex) -> &[SpanIndex] {
        let node = self.node(index);
        &self.children[node.children_from as usize..node.children_to as usize]
    }

    /// The span without a parent; the one that starts first, where there are several.
    pub fn root(&self) -> SpanIndex {
        self.root
    }

    /// The span that ends last; the first one, where several do.
    pub fn last(&self) -> SpanIndex {
        self.last
    }

    /// Does this span end after its parent, by more than the tracer's [`Precision`], or handle a message of it? The end of
    /// a function never counts so: the service around it may stop its clock earlier.
    pub fn is_asynchronous(&self, index: SpanIndex) -> bool {
        let node = self.node(index);
        let Some(parent) = node.parent.filter(|_| node.role != Role::Function) else { return false };
        let (flags, parent) = (self.span(index).flags, self.node(parent));
        let late = node.end_us - parent.end_us;
        match self.precision {
            // In whole microseconds first: the difference of doubles counts only at the margin itself.
            Precision::XRay if late == MARGIN => node.end - parent.end > MARGIN as f64 / 1e6,
            Precision::XRay => late > MARGIN,
            Precision::Milliseconds => flags.from_queue || late > MARGIN,
            Precision::Microseconds if flags.from_afar => late > MARGIN,
            Precision::Microseconds => flags.from_queue || late > 1,
        }
    }

    /// Does this span end before it starts, by more than the tracer's precision?
    pub(crate) fn ends_before_it_starts(&self, index: SpanIndex) -> bool {
        let node = self.node(index);
        let margin = if self.precision == Precision::Microseconds { 1 } else { MARGIN };
        node.start_us - node.end_us > margin
    }

    /// Does the tracer's duration end with the root, although another span ends later, by no more than the margin?
    pub(crate) fn ends_with_root(&self) -> bool {
        let (root, last) = (self.node(self.root), self.node(self.last));
        let duration = microseconds(self.duration);
        let off = |end: i64| (end - root.start_us - duration).abs();
        self.precision == Precision::XRay
            && last.end_us - root.end_us <= MARGIN
            && off(root.end_us) < off(last.end_us)
    }

    /// A span that ends last, whatever the order of the file: the one nearest to the root.
    pub(crate) fn last_of_equal(&self) -> SpanIndex {
        let end = self.node(self.last).end;
        // Times are finite, and these were copied.
        let mut equal = self.indices().filter(|&span| self.node(span).end.total_cmp(&end).is_eq());
        match (equal.next(), equal.next()) {
            (Some(first), Some(second)) => [first, second]
                .into_iter()
                .chain(equal)
                .min_by(|&left, &right| self.by_depth(left, right))
                .unwrap_or(self.last),
            _ => self.last,
        }
    }

    /// The one nearer to its root first, then by start and id.
    pub(crate) fn by_depth(&self, left: SpanIndex, right: SpanIndex) -> std::cmp::Ordering {
        let depth = |span| std::iter::successors(Some(span), |&span| self.parent(span)).count();
        let start = |span| self.node(span).start;
        depth(left)
            .cmp(&depth(right))
            .then_with(|| start(left).total_cmp(&start(right)))
            .then_with(|| self.span(left).id.cmp(&self.span(right).id))
    }

    /// Is this the start of a function that was not running: the initialization of its runtime, or what restores a
    /// snapshot of it?
    pub(crate) fn initializes(&self, index: SpanIndex) -> bool {
        let node = self.node(index);
        (node.is_initialization || node.is_restore)
            && node.parent.is_some_and(|parent| self.node(parent).role.is_function())
    }

    /// Like [`Self::initializes`], before the time of the function itself.
    pub(crate) fn initializes_before(&self, index: SpanIndex) -> bool {
        let node = self.node(index);
        self.initializes(index)
            && node.parent.is_some_and(|parent| node.start_us < self.node(parent).start_us)
    }

    /// Must this span have parts? With X-Ray, the service around a function is a span too.
    pub(crate) fn lacks_parts(&self, index: SpanIndex) -> bool {
        self.precision == Precision::XRay
            && self.span(index).origin.as_deref() == Some("AWS::Lambda")
            && self.children(index).is_empty()
    }

    /// Whether a trace may end with an asynchronous span that has no parts: with X-Ray it may not, by the study's algorithm.
    pub(crate) fn may_end_in_leaf(&self) -> bool {
        self.precision != Precision::XRay
    }

    pub(crate) fn node(&self, index: SpanIndex) -> &Node {
        &self.nodes[index.get()]
    }

    /// All places, in the order of the file.
    pub fn indices(&self) -> impl Iterator<Item = SpanIndex> + use<> {
        (0..self.spans.len() as u32).map(SpanIndex)
    }
}

/// Seconds in whole microseconds; half a microsecond goes to the even neighbour.
pub fn microseconds(seconds: f64) -> i64 {
    seconds.trunc() as i64 * 1_000_000 + (seconds.fract() * 1e6).round_ties_even() as i64
}

/// The years 1 to 9999. NaN is outside.
fn in_range(seconds: f64) -> bool {
    (-62_135_596_800.0..253_402_300_800.0).contains(&seconds)
}

pub(crate) type Resolved<'a> = (Vec<Span<'a>>, Vec<Option<SpanIndex>>);

/// The parent of each span, repeated spans merged.
pub(crate) fn resolve_parents(spans: Vec<Span<'_>>) -> Result<Resolved<'_>, Invalid> {
    let mut places = HashMap::with_capacity(spans.len());
    // For each span the place of the one that stands for it: the first with its id.
    let mut stands_for = Vec::with_capacity(spans.len());
    for (place, span) in spans.iter().enumerate() {
        stands_for.push(match places.entry(&*span.id) {
            Entry::Vacant(free) => {
                free.insert(place);
                place
            }
            Entry::Occupied(taken) => *taken.get(),
        });
    }
    let mut parents = Vec::with_capacity(spans.len());
    for span in &spans {
        let missing = |parent: String| Invalid::MissingParent { span: span.id.to_string(), parent };
        parents.push(match &span.parent {
            Parent::None => None,
            Parent::Enclosing(place) => {
                Some(*stands_for.get(*place).ok_or_else(|| missing(format!("at place {place}")))?)
            }
            Parent::Id(id) => Some(*places.get(&**id).ok_or_else(|| missing(id.to_string()))?),
        });
    }
    if places.len() == spans.len() {
        return Ok((spans, parents.into_iter().map(|parent| parent.map(to_index)).collect()));
    }
    drop(places);
    merge(spans, &parents, &stands_for)
}

fn merge<'a>(
    spans: Vec<Span<'a>>,
    parents: &[Option<usize>],
    stands_for: &[usize],
) -> Result<Resolved<'a>, Invalid> {
    let mut new_place: Vec<usize> = Vec::with_capacity(spans.len());
    let mut merged: Vec<Span<'a>> = Vec::new();
    let mut merged_parents: Vec<Option<usize>> = Vec::new();
    for (place, span) in spans.into_iter().enumerate() {
        if stands_for[place] == place {
            new_place.push(merged.len());
            merged.push(span);
            merged_parents.push(parents[place]);
            continue;
        }
        let target = new_place[stands_for[place]];
        new_place.push(target);
        match (merged_parents[target], parents[place]) {
            (Some(earlier), Some(later)) if earlier != later => {
                return Err(Invalid::ConflictingParents { span: span.id.to_string() });
            }
            (earlier, later) => merged_parents[target] = later.or(earlier),
        }
        merged[target] = span;
    }
    let parents = merged_parents.into_iter().map(|parent| parent.map(|place| to_index(new_place[place])));
    Ok((merged, parents.collect()))
}

fn to_index(place: usize) -> SpanIndex {
    SpanIndex(place as u32)
}

/// The nodes, and of those without a parent the one that starts first.
fn make_nodes(spans: &[Span<'_>], parents: &[Option<SpanIndex>]) -> Result<(Vec<Node>, SpanIndex), Invalid> {
    let mut root: Option<SpanIndex> = None;
    let mut nodes: Vec<Node> = Vec::with_capacity(spans.len());
    for (place, (span, &parent)) in spans.iter().zip(parents).enumerate() {
        let is_first = |root: SpanIndex| {
            let key = |span: &Span<'_>| (span.start, -span.end);
            key(span)
                .partial_cmp(&key(&spans[root.get()]))
                .is_some_and(|order| order.then_with(|| span.id.cmp(&spans[root.get()].id)).is_lt())
        };
        if parent.is_none() && root.is_none_or(is_first) {
            root = Some(to_index(place));
        }
        nodes.push(Node {
            start: span.start,
            end: span.end,
            start_us: microseconds(span.start),
            end_us: microseconds(span.end),
            parent,
            role: Role::of(span.origin.as_deref()),
            is_initialization: span.name == "Initialization",
            is_restore: span.name == "Restore",
            children_from: 0,
            children_to: 0,
        });
    }
    Ok((nodes, root.ok_or(Invalid::NoRoot)?))
}

/// The first of those that start first, and the first of those that end last.
fn first_and_last(nodes: &[Node]) -> Option<(SpanIndex, SpanIndex)> {
    let (mut first, mut last) = (0, 0);
    for (place, node) in nodes.iter().enumerate() {
        if node.start < nodes[first].start {
            first = place;
        }
        if node.end > nodes[last].end {
            last = place;
        }
    }
    (!nodes.is_empty()).then(|| (to_index(first), to_index(last)))
}

/// Spans that are their own ancestors are beneath no root, and no path leads to them: those of a circle become roots of
/// their own. Where the span that ends last is beneath them, the trace cannot be explained.
fn leave_loops(spans: &[Span<'_>], nodes: &mut [Node], last: SpanIndex) -> Result<(), Invalid> {
    // A climb of as many steps as there are spans is in a circle.
    if let Some(span) = (0..nodes.len()).try_fold(last, |span, _| nodes[span.get()].parent) {
        return Err(Invalid::ParentLoop { span: spans[span.get()].id.to_string() });
    }
    // The start of the climb that first met each span: meeting one's own climb again is a loop.
    let mut met_from: Vec<u32> = vec![u32::MAX; nodes.len()];
    for start in 0..nodes.len() {
        let mut place = Some(to_index(start));
        while let Some(here) = place {
            if met_from[here.get()] == start as u32 {
                let mut circle = here;
                while let Some(parent) = nodes[circle.get()].parent.take() {
                    circle = parent;
                }
                break;
            }
            if met_from[here.get()] != u32::MAX {
                break;
            }
            met_from[here.get()] = start as u32;
            place = nodes[here.get()].parent;
        }
    }
    Ok(())
}

/// Lists the children of each node, by (end, start), ties in the order of the file.
fn sort_children(nodes: &mut [Node]) -> Vec<SpanIndex> {
    for place in 0..nodes.len() {
        if let Some(parent) = nodes[place].parent {
            nodes[parent.get()].children_to += 1;
        }
    }
    let mut from = 0;
    for node in nodes.iter_mut() {
        let count = node.children_to;
        node.children_from = from;
        node.children_to = from;
        from += count;
    }
    let mut children = vec![SpanIndex(0); from as usize];
    for place in 0..nodes.len() {
        if let Some(parent) = nodes[place].parent {
            let parent = &mut nodes[parent.get()];
            children[parent.children_to as usize] = to_index(place);
            parent.children_to += 1;
        }
    }
    for node in nodes.iter() {
        children[node.children_from as usize..node.children_to as usize].sort_by(|left, right| {
            let (left, right) = (&nodes[left.get()], &nodes[right.get()]);
            // Times are finite, so total order and order agree (-0.0 apart, which is no time of a trace).
            left.end.total_cmp(&right.end).then(left.start.total_cmp(&right.start))
        });
    }
    children
}
