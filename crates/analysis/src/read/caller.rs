//! Traces that were started by a caller whose own span was not exported, such as a load generator.

use std::collections::HashSet;

use crate::span::{Parent, Span};

/// Makes the span whose parent is missing the root, where no span is without a parent and only this one has a parent
/// that is missing: its caller sent the trace's id but no spans. With several such spans, spans are lost, and the trace
/// stays as it is.
pub(crate) fn forget_unknown_caller(spans: &mut [Span<'_>]) {
    let ids: HashSet<&str> = spans.iter().map(|span| &*span.id).collect();
    // A span may be exported twice.
    let mut orphans: Vec<usize> = Vec::new();
    for (place, span) in spans.iter().enumerate() {
        match &span.parent {
            Parent::None => return,
            Parent::Id(id) if !ids.contains(&**id) => {
                if orphans.first().is_some_and(|&first| spans[first].id != span.id) {
                    return;
                }
                orphans.push(place);
            }
            Parent::Id(_) | Parent::Enclosing(_) => {}
        }
    }
    for place in orphans {
        spans[place].parent = Parent::None;
    }
}
