//! Durable executions: workflows whose code runs in several invocations of a function, each of which replays what is done. Two
//! instrumentations of OpenTelemetry are public, and look like this:
//!
//! - **AWS's plugins of the Durable Execution SDKs** (JavaScript, Python). `Workflow` is the root, with `durable.execution.arn`. Each
//!   invocation of the function has a span with `faas.invocation_id`, and `durable.invocation.first` says whether it is the first. Each
//!   operation has one with `durable.operation.type` (STEP, WAIT, CONTEXT, CHAINED_INVOKE, CALLBACK), and each attempt of an
//!   operation one with `durable.operation.attempt`. By `InvocationOtelPlugin`, operations are parts of the invocation. By
//!   `ExecutionOtelPlugin`, they are parts of the workflow, beside the invocations. What is replayed has no span again.
//! - **Microsoft's Durable Task** (Durable Functions, Durable Task SDKs). `durabletask.type` is `orchestration`, `activity`, `timer` or
//!   `event`. An orchestration has one span, whatever was replayed. An activity has one of the caller (CLIENT) and one of the
//!   worker (SERVER).
//!
//! | span | origin | activity |
//! |---|---|---|
//! | `Workflow`, `durabletask.type` = `orchestration` | `OTel::Workflow` | orchestration |
//! | operation STEP or CONTEXT, around its attempts and parts | `OTel::DurableOperation` | orchestration |
//! | attempt of an operation | `OTel::DurableStep` | computation |
//! | operation WAIT or CALLBACK; `timer`, `event` | `OTel::DurableWait` | orchestration |
//! | operation CHAINED_INVOKE | `OTel::Invocation` | orchestration |
//! | invocation, the first | `OTel::Function` | computation |
//! | invocation, a later one: outside of operations, it replays | `OTel::DurableReplay` | overhead |

use std::borrow::Cow;
use std::collections::HashMap;

use super::otlp::{Attributes, ConnectedSpan, INVOCATION, WORKFLOW, parent_id};
use crate::span::{OTEL_FUNCTION, Parent};

const OPERATION: &str = "OTel::DurableOperation";
const STEP: &str = "OTel::DurableStep";
const WAIT: &str = "OTel::DurableWait";
const REPLAY: &str = "OTel::DurableReplay";

/// Seconds by which an operation may end after the invocation in which it ran: clocks have a resolution.
const RESOLUTION: f64 = 0.002;

/// The origin of a span of a durable execution, by its own attributes; none for any other.
pub(super) fn origin(own: &Attributes) -> Option<&'static str> {
    let word = |key: &str| own.get(key).map(|word| word.to_ascii_uppercase());
    if let Some(kind) = word("durable.operation.type") {
        return Some(match kind.as_str() {
            "WAIT" | "CALLBACK" => WAIT,
            _ if own.contains_key("durable.operation.attempt") => STEP,
            "CHAINED_INVOKE" => INVOCATION,
            _ => OPERATION,
        });
    }
    if own.contains_key("durable.execution.arn") {
        let is_later = word("durable.invocation.first").is_some_and(|first| first == "FALSE");
        return match own.contains_key("faas.invocation_id") {
            true if is_later => Some(REPLAY),
            // A function, as any other.
            true => None,
            false => Some(WORKFLOW),
        };
    }
    matches!(word("durabletask.type")?.as_str(), "TIMER" | "EVENT").then_some(WAIT)
}

/// Operations that were recorded beside the invocation in which they ran become parts of it. What outlasts an invocation, such as
/// a wait, stays beside them.
pub(super) fn lay_within_invocations(items: &mut [ConnectedSpan]) {
    let is_of = |item: &ConnectedSpan, origins: &[&str]| {
        item.span.origin.as_deref().is_some_and(|origin| origins.contains(&origin))
    };
    let operations = [OPERATION, STEP, WAIT, INVOCATION];
    if !items.iter().any(|item| is_of(item, &operations[..3])) {
        return;
    }
    // By parent: start, end and id of its invocations, which follow one another.
    let mut invocations: HashMap<String, Vec<(f64, f64, String)>> = HashMap::new();
    for item in items.iter().filter(|item| is_of(item, &[OTEL_FUNCTION, REPLAY])) {
        if let Some(parent) = parent_id(item) {
            let times = (item.span.start, item.span.end, item.span.id.to_string());
            invocations.entry(parent.to_owned()).or_default().push(times);
        }
    }
    for found in invocations.values_mut() {
        found.sort_by(|left, right| left.0.total_cmp(&right.0).then_with(|| left.2.cmp(&right.2)));
    }
    for item in items.iter_mut().filter(|item| is_of(item, &operations)) {
        let Some(found) = parent_id(item).and_then(|parent| invocations.get(parent)) else { continue };
        let before = found.partition_point(|(start, ..)| *start <= item.span.start + RESOLUTION);
        if let Some((_, end, id)) = before.checked_sub(1).map(|last| &found[last])
            && item.span.end <= end + RESOLUTION
        {
            item.span.parent = Parent::Id(Cow::Owned(id.clone()));
        }
    }
}
