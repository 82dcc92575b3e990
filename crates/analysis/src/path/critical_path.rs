//! The critical path: the spans that decide how long a trace takes.
//!
//! Algorithm 1 of Scheuner et al., "Let's Trace It: Fine-Grained Serverless Benchmarking for Synchronous and Asynchronous
//! Applications". The paper and the published analyzer differ in one rule; see [`Rule`].

use crate::invalid::Invalid;
use crate::span::{SpanIndex, Trace};

/// How the algorithm treats an asynchronous child that is not the last one to end: where the published analyzer and the
/// paper differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Like any other child: visited when it ends before the last child starts. So does the published analyzer.
    Published,
    /// Visited exactly when it is next on the way to the span that ends last. So says the paper.
    Paper,
}

/// The most steps that one path may take: far beyond real traces, but repeated spans of zero length double the path
/// at each level.
pub(crate) fn limit(trace: &Trace<'_>) -> usize {
    (1 << 20) + 8 * trace.spans().len()
}

/// The spans of the critical path, from the root, in the order in which they are walked. A span of zero length
/// can come twice.
pub(crate) fn critical_path(trace: &Trace<'_>, rule: Rule) -> Result<Vec<SpanIndex>, Invalid> {
    // The way from the span that ends last up to its root: the top is where the path must lead next.
    let mut way: Vec<SpanIndex> =
        std::iter::successors(Some(trace.last()), |&span| trace.parent(span)).collect();
    let mut path = Vec::new();
    let mut visits = vec![Visit::start(trace.root(), &mut path, &mut way)];
    let limit = limit(trace);
    let mut steps = 0;
    while let Some(visit) = visits.last_mut() {
        steps += 1;
        if steps > limit {
            return Err(Invalid::TooLong { limit });
        }
        match visit.next_child(trace, rule, path[path.len() - 1], way.last().copied()) {
            Step::Into(child) => {
                let visit = Visit::start(child, &mut path, &mut way);
                visits.push(visit);
            }
            Step::Past => {}
            Step::Done => {
                visits.pop();
            }
        }
    }
    Ok(path)
}

/// A span whose children are being looked at: a frame of the recursion in Algorithm 1, kept on the heap since
/// traces may be deep.
struct Visit {
    span: SpanIndex,
    /// How many children were looked at; the last child is looked at twice.
    seen: usize,
}

enum Step {
    Into(SpanIndex),
    Past,
    Done,
}

impl Visit {
    fn start(span: SpanIndex, path: &mut Vec<SpanIndex>, way: &mut Vec<SpanIndex>) -> Self {
        path.push(span);
        if way.last() == Some(&span) {
            way.pop();
        }
        Self { span, seen: 0 }
    }

    /// Looks at one child. `newest` is the end of the path, `wanted` the next span on the way to the last one.
    fn next_child(
        &mut self,
        trace: &Trace<'_>,
        rule: Rule,
        newest: SpanIndex,
        wanted: Option<SpanIndex>,
    ) -> Step {
        let children = trace.children(self.span);
        let Some(&last) = children.last() else { return Step::Done };
        let is_open = trace.node(newest).end <= trace.node(self.span).end;
        let seen = self.seen;
        self.seen += 1;
        let visit = if let Some(&child) = children.get(seen) {
            if rule == Rule::Paper && child != last && trace.is_asynchronous(child) {
                (wanted == Some(child)).then_some(child)
            } else {
                let is_before_last = trace.node(child).end <= trace.node(last).start;
                if !is_before_last && rule == Rule::Published {
                    // Children are ordered by their ends: no later one can be before the last one either.
                    self.seen = children.len();
                }
                (is_before_last && is_open).then_some(child)
            }
        } else if seen == children.len() {
            let goes_on = if trace.is_asynchronous(last) { wanted == Some(last) } else { is_open };
            goes_on.then_some(last)
        } else {
            return Step::Done;
        };
        visit.map_or(Step::Past, Step::Into)
    }
}
