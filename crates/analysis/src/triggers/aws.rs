//! The triggers of AWS, out of X-Ray's traces: each function that another function's call leads to.
//!
//! | time | what |
//! |---|---|
//! | t1, t2 | start and end of the call within the invoker |
//! | t3 | start of the service around the receiver (`AWS::Lambda`) |
//! | t4 | start of the receiver's invocation; of the function itself, where X-Ray has no `Invocation` |
//!
//! t5 to t9 are empty: a receiver of TriggerBench takes them itself. The type of a trigger is the service that the call leads through
//! first (`sqs`, `sns`, `s3`, `apigateway` …), or `lambda` for a call of the function itself.

use super::{InvalidTrigger, TriggerRow};
use crate::span::{Recorded, SpanIndex, Trace};

const FUNCTION: &str = "AWS::Lambda::Function";
const SERVICE: &str = "AWS::Lambda";
const INVOCATION: &str = "Invocation";

/// The triggers of a trace, in the order in which the receivers start.
pub(crate) fn read(mut recorded: Recorded<'_>) -> Vec<Result<TriggerRow, InvalidTrigger>> {
    let id = recorded.id.to_string();
    let invalid = |message: String| {
        vec![Err(InvalidTrigger { root_trace_id: id.clone(), receiver_trace_id: id.clone(), message })]
    };
    let checked = recorded.check_delivered().and_then(|()| recorded.choose_repeated());
    let trace = match checked.and_then(|_| recorded.join()) {
        Ok(trace) => trace,
        Err(reason) => return invalid(reason.message()),
    };
    let mut receivers: Vec<SpanIndex> = trace.indices().filter(|&span| is(&trace, span, FUNCTION)).collect();
    receivers.sort_by(|&left, &right| {
        let (left, right) = (trace.span(left), trace.span(right));
        left.start.total_cmp(&right.start).then_with(|| left.id.cmp(&right.id))
    });
    let rows: Vec<TriggerRow> = receivers.into_iter().filter_map(|receiver| row(&trace, receiver)).collect();
    if rows.is_empty() {
        return invalid(
"no_trigger: no function of the trace was called by another one; let one function set off another"
                .to_owned(),
        );
    }
    rows.into_iter().map(Ok).collect()
}

fn is(trace: &Trace<'_>, span: SpanIndex, origin: &str) -> bool {
    trace.span(span).origin.as_deref() == Some(origin)
}

/// None where no function called the receiver.
fn row(trace: &Trace<'_>, receiver: SpanIndex) -> Option<TriggerRow> {
    let mut way = Vec::new();
    let mut above = trace.parent(receiver);
    let invoker = loop {
        let here = above?;
        if is(trace, here, FUNCTION) {
            break here;
        }
        way.push(here);
        above = trace.parent(here);
    };
    // From the invoker on: its parts, the call, what this leads through, the service around the receiver.
    way.reverse();
    let call = way.iter().position(|&span| trace.span(span).name != INVOCATION)?;
    let service = way.iter().rposition(|&span| is(trace, span, SERVICE))?;
    let through = way[call..service].iter().find_map(|&span| trace.span(span).origin.as_deref());
    let trigger = match through {
        Some(origin) => origin.split("::").nth(1).unwrap_or(origin).to_lowercase(),
        // A call without a service that was recorded: as the call is named.
        None if call < service => trace.span(way[call]).name.to_lowercase(),
        None => "lambda".to_owned(),
    };
    let part = |named: &str| {
        trace
            .children(receiver)
            .iter()
            .copied()
            .filter(|&part| trace.span(part).name == named)
            .min_by(|&left, &right| trace.span(left).start.total_cmp(&trace.span(right).start))
    };
    let code = part(INVOCATION).unwrap_or(receiver);
    let start = |span: SpanIndex| nanoseconds(trace.span(span).start);
    let mut times = [None; 9];
    times[0] = Some(start(way[call]));
    times[1] = Some(nanoseconds(trace.span(way[call]).end));
    times[2] = Some(start(way[service]));
    times[3] = Some(start(code));
    let is_cold = |function: SpanIndex| trace.children(function).iter().any(|&part| trace.initializes(part));
    Some(TriggerRow {
        root_trace_id: trace.id.to_string(),
        child_trace_id: trace.id.to_string(),
        trigger,
        times,
        coldstart_f1: is_cold(invoker),
        coldstart_f2: is_cold(receiver),
    })
}

/// X-Ray's times have microseconds.
fn nanoseconds(seconds: f64) -> i128 {
    i128::from(crate::span::microseconds(seconds)) * 1_000
}
