//! Fused traces: clients and the platform from X-Ray, functions from OpenTelemetry, in one trace. On AWS Lambda, X-Ray alone has the
//! services around a function, and the function's own SDK sends what it does to whoever collects OpenTelemetry.
//!
//! Spans are joined, in this order:
//!
//! 1. By the id of the trace: `1-5759e988-bd862e3fe1be46a994272793` of X-Ray is `5759e988bd862e3fe1be46a994272793` of W3C.
//! 2. By the ids of parents: a function's parent is X-Ray's span of the function, and a service's parent is the call within a
//!    function.
//! 3. By links, as those of OpenTelemetry: a message's receiver is a part of its sender's trace.
//! 4. By time, where an id leads nowhere. A function is a part of X-Ray's function that was running then, of the same name where
//!    there are several. A service is what the latest call before it led to, of those that nothing answers yet.
//!
//! A span that both have is taken from OpenTelemetry, whose times are more exact. A function of OpenTelemetry within one of X-Ray has no
//! origin of its own: it is a part of it, and lies within its invocation. Who was not running is known from X-Ray.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::gather::{Prepared, TOO_LONG};
use super::otlp::{ConnectedSpan, ExportedSpan, SpanKind, parent_id};
use super::xray::{self, Documents};
use crate::invalid::Rejected;
use crate::span::{OTEL_FUNCTION, Parent, Recorded};

/// X-Ray's origin of functions.
const FUNCTION: &str = "AWS::Lambda::Function";

/// Seconds by which clocks may differ.
const CLOCKS_DIFFER: f64 = 0.01;

/// The most spans of a trace that are joined by time: where more are missing, spans were lost.
const MOST: usize = 256;

/// The spans of one trace of X-Ray, as those of an export. `number` is that of the text in its file.
pub(crate) fn prepare(text: &str, number: u64, documents: &mut Documents) -> Vec<Prepared> {
    let recorded = xray::record(text, documents).and_then(|recorded| match recorded.check_delivered() {
        Ok(()) => Ok(recorded),
        Err(reason) => Err(Rejected { id: Some(recorded.id.into_owned()), reason }),
    });
    match recorded {
        Ok(recorded) => exported(recorded.into_owned())
            .into_iter()
            .map(|(trace_id, span)| {
                let span = Ok(Box::new(span));
                Prepared::new(ExportedSpan::Span { trace_id, span }, number)
            })
            .collect(),
        Err(Rejected { id: Some(id), reason }) => {
            let found = ExportedSpan::Span { trace_id: w3c_id(&id), span: Err(reason.message()) };
            vec![Prepared::new(found, number)]
        }
        Err(Rejected { id: None, reason }) => vec![Prepared::damaged(number, &reason.message())],
    }
}

/// The start of a trace of X-Ray that is longer than the limit. Its id may be found there.
pub(crate) fn prepare_too_long(start: &[u8], number: u64, documents: &mut Documents) -> Prepared {
    match xray::id_in_start(start, documents) {
        Some(id) => {
            let span = Err(TOO_LONG.to_owned());
            Prepared::new(ExportedSpan::Span { trace_id: w3c_id(&id), span }, number)
        }
        None => Prepared::damaged(number, TOO_LONG),
    }
}

fn exported(recorded: Recorded<'static>) -> Vec<(String, ConnectedSpan)> {
    let trace = w3c_id(&recorded.id);
    let ids: Vec<Cow<'static, str>> = recorded.spans.iter().map(|span| span.id.clone()).collect();
    let mut causes = HashMap::new();
    for link in recorded.links.into_iter().filter(|link| !link.to_child) {
        causes.entry(link.from).or_insert_with(|| (w3c_id(&link.trace), link.span.to_ascii_lowercase()));
    }
    let spans = recorded.spans.into_iter().enumerate().map(|(place, mut span)| {
        if let Parent::Enclosing(outer) = span.parent {
            span.parent = ids.get(outer).map_or(Parent::None, |id| Parent::Id(id.clone()));
        }
        let link = causes.remove(&place);
        span.flags.linked = link.is_some();
        (trace.clone(), ConnectedSpan { span, kind: SpanKind::Platform, link })
    });
    spans.collect()
}

/// The id of a trace in the notation of W3C; what is none of X-Ray's stays as it is.
pub(crate) fn w3c_id(id: &str) -> String {
    match id.strip_prefix("1-").and_then(|id| id.split_once('-')) {
        Some((time, rest)) if time.len() == 8 && rest.len() == 24 => {
            format!("{time}{rest}").to_ascii_lowercase()
        }
        _ => id.to_owned(),
    }
}

/// Connects the spans of X-Ray in a trace with those of OpenTelemetry. Returns whether there are both.
pub(super) fn connect(items: &mut Vec<ConnectedSpan>) -> bool {
    let is_platform = |item: &ConnectedSpan| item.kind == SpanKind::Platform;
    if !items.iter().any(is_platform) || items.iter().all(is_platform) {
        return false;
    }
    let exported: HashSet<String> =
        items.iter().filter(|item| !is_platform(item)).map(|item| item.span.id.to_string()).collect();
    items.retain(|item| !is_platform(item) || !exported.contains(&*item.span.id));
    let mut forest = Forest::of(items);
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|&left, &right| {
        let (left, right) = (&items[left].span, &items[right].span);
        left.start.total_cmp(&right.start).then_with(|| left.id.cmp(&right.id))
    });
    let is_function = |item: &ConnectedSpan| item.span.origin.as_deref() == Some(OTEL_FUNCTION);
    let functions: Vec<usize> = order.iter().copied().filter(|&place| is_function(&items[place])).collect();
    if functions.len() <= MOST {
        host(items, &functions, &mut forest);
    }
    answer(items, &order, &mut forest);
    lay_within_invocations(items, &mut forest);
    for place in functions {
        let has_host = forest.parents[place].is_some_and(|parent| is_platform(&items[parent]));
        if has_host {
            items[place].span.origin = None;
            items[place].span.flags.cold_start = false;
        }
    }
    true
}

/// The spans of a trace by their parents.
struct Forest {
    places: HashMap<String, usize>,
    parents: Vec<Option<usize>>,
}

impl Forest {
    fn of(items: &[ConnectedSpan]) -> Self {
        let places: HashMap<String, usize> =
            items.iter().enumerate().map(|(place, item)| (item.span.id.to_string(), place)).collect();
        let parent = |item| parent_id(item).and_then(|id| places.get(id).copied());
        let parents = items.iter().map(parent).collect();
        Self { places, parents }
    }

    /// Is the parent of a span one that nobody has?
    fn lacks_parent(&self, item: &ConnectedSpan) -> bool {
        parent_id(item).is_some_and(|id| !self.places.contains_key(id))
    }

    fn is_beneath(&self, span: usize, top: usize) -> bool {
        // A circle is left after as many steps as there are spans.
        let climb = std::iter::successors(Some(span), |&place| self.parents[place]);
        climb.take(self.parents.len()).any(|place| place == top)
    }

    fn hang(&mut self, items: &mut [ConnectedSpan], span: usize, parent: usize) {
        items[span].span.parent = Parent::Id(Cow::Owned(items[parent].span.id.to_string()));
        self.parents[span] = Some(parent);
    }
}

fn holds(outer: &ConnectedSpan, inner: &ConnectedSpan) -> bool {
    outer.span.start <= inner.span.start + CLOCKS_DIFFER && outer.span.end + CLOCKS_DIFFER >= inner.span.end
}

/// Finds the function of X-Ray for each of OpenTelemetry whose parent is missing, or is the call that led to X-Ray's function.
fn host(items: &mut [ConnectedSpan], functions: &[usize], forest: &mut Forest) {
    let hosts: Vec<usize> = (0..items.len())
        .filter(|&place| {
            items[place].kind == SpanKind::Platform && items[place].span.origin.as_deref() == Some(FUNCTION)
        })
        .collect();
    let mut taken: HashSet<usize> = functions.iter().filter_map(|&place| forest.parents[place]).collect();
    for &function in functions {
        let is_lost = forest.lacks_parent(&items[function]);
        // The call of which the span is a part, though X-Ray has the services between: of OpenTelemetry, or the service or the
        // call of X-Ray whose id the event had.
        let caller = forest.parents[function];
        if !is_lost && caller.is_none() {
            continue;
        }
        let item = &items[function];
        let found = hosts
            .iter()
            .copied()
            .filter(|host| !taken.contains(host) && holds(&items[*host], item))
            .filter(|&host| !forest.is_beneath(host, function))
            .filter(|&host| {
                let above = std::iter::successors(forest.parents[host], |&place| forest.parents[place]);
                is_lost || above.take(2).any(|place| Some(place) == caller)
            })
            .max_by(|&left, &right| {
                let key = |host: usize| items[host].span.name == item.span.name;
                let (left_span, right_span) = (&items[left].span, &items[right].span);
                key(left)
                    .cmp(&key(right))
                    .then(left_span.start.total_cmp(&right_span.start))
                    .then(right_span.end.total_cmp(&left_span.end))
                    .then_with(|| right_span.id.cmp(&left_span.id))
            });
        if let Some(host) = found {
            taken.insert(host);
            forest.hang(items, function, host);
        }
    }
}

/// Finds the call for each service of X-Ray whose caller is missing.
fn answer(items: &mut [ConnectedSpan], order: &[usize], forest: &mut Forest) {
    let is_call = |item: &ConnectedSpan| matches!(item.kind, SpanKind::Client | SpanKind::Producer);
    let lost: Vec<usize> = order
        .iter()
        .copied()
        .filter(|&place| items[place].kind == SpanKind::Platform && forest.lacks_parent(&items[place]))
        .collect();
    if lost.is_empty() || lost.len() > MOST {
        return;
    }
    let is_service = |item: &ConnectedSpan| {
        matches!(item.kind, SpanKind::Platform | SpanKind::Server | SpanKind::Consumer)
    };
    let mut answered: HashSet<usize> = (0..items.len())
        .filter(|&place| is_service(&items[place]))
        .filter_map(|place| forest.parents[place])
        .collect();
    for service in lost {
        let item = &items[service];
        let call = (0..items.len())
            .filter(|&place| is_call(&items[place]) && !answered.contains(&place))
            .filter(|&place| items[place].span.start <= item.span.start + CLOCKS_DIFFER)
            .filter(|&place| !forest.is_beneath(place, service))
            .max_by(|&left, &right| {
                let key = |place: usize| {
                    let call = &items[place];
                    (call.span.end + CLOCKS_DIFFER >= item.span.end, call.kind == SpanKind::Producer)
                };
                let (left_span, right_span) = (&items[left].span, &items[right].span);
                key(left)
                    .cmp(&key(right))
                    .then(left_span.start.total_cmp(&right_span.start))
                    .then_with(|| right_span.id.cmp(&left_span.id))
            });
        if let Some(call) = call {
            answered.insert(call);
            forest.hang(items, service, call);
        }
    }
}

/// What a function does is a part of its invocation, which X-Ray records beside it.
fn lay_within_invocations(items: &mut [ConnectedSpan], forest: &mut Forest) {
    let mut invocations: HashMap<usize, Vec<usize>> = HashMap::new();
    for (place, item) in items.iter().enumerate() {
        if item.kind == SpanKind::Platform
            && item.span.name == "Invocation"
            && let Some(function) = forest.parents[place]
        {
            invocations.entry(function).or_default().push(place);
        }
    }
    for place in 0..items.len() {
        let Some(function) = forest.parents[place].filter(|_| items[place].kind != SpanKind::Platform) else {
            continue;
        };
        let around = invocations.get(&function).into_iter().flatten().copied();
        let around = around.filter(|&invocation| holds(&items[invocation], &items[place]));
        if let Some(invocation) =
            around.min_by(|&left, &right| items[left].span.id.cmp(&items[right].span.id))
        {
            forest.hang(items, place, invocation);
        }
    }
}
