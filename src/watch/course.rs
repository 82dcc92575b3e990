//! A run as its steps over time: when each waited, and when it ran.

use std::collections::BTreeMap;

use petgraph::Direction;
use petgraph::graph::NodeIndex;
use sb_pages::{Course, CourseSpan, CourseStep, SpanKind};
use sb_plan::event::Outcome;
use sb_plan::graph::{Step, StepKind};
use sb_plan::run_state::StepPhase;

use super::{Watched, is_load};

/// Steps that are shown: those that began first.
const SHOWN: usize = 1000;
/// A shorter wait is none: a runner needs a moment to begin a step, milliseconds.
const MOMENT: i64 = 500;

/// What the journal says of a run that was read. Steps that never began are not in it.
pub(crate) fn course(watched: &Watched) -> Course {
    let began = watched.row.created_ms;
    let seconds = |at: i64| (at - began) as f64 / 1000.0;
    let mut steps: BTreeMap<(i64, usize), CourseStep> = BTreeMap::new();
    let mut last = began;
    for past in watched.state.steps.values() {
        last = last.max(past.started_ms.unwrap_or(began)).max(past.ended_ms.unwrap_or(began));
    }
    for (index, step) in watched.steps().enumerate() {
        let Some(past) = watched.past(step).filter(|past| past.attempts > 0) else { continue };
        let mut spans = Vec::new();
        let mut attempts: Vec<(Option<i64>, Option<i64>, Option<&Outcome>)> = watched
            .earlier(&step.id)
            .iter()
            .map(|attempt| (attempt.started_ms, Some(attempt.ended_ms), Some(&attempt.outcome)))
            .collect();
        let outcome = match &past.phase {
            StepPhase::Ended(outcome) | StepPhase::Retrying(outcome) => Some(outcome),
            StepPhase::Waiting | StepPhase::Running => None,
        };
        if !matches!(past.phase, StepPhase::Retrying(_)) {
            attempts.push((past.started_ms, past.ended_ms, outcome));
        }
        let first = attempts.iter().find_map(|(started, _, _)| *started);
        let Some(first) = first else { continue };
        if let Some(ready) = ready(watched, index, began).filter(|ready| first - ready >= MOMENT) {
            spans.push(CourseSpan {
                from: seconds(ready),
                to: seconds(first),
                kind: SpanKind::Wait,
                what: String::new(),
            });
        }
        let count = attempts.len();
        for (number, (started, ended, outcome)) in attempts.into_iter().enumerate() {
            let Some(started) = started else { continue };
            let kind = match outcome {
                // A decision that enough was measured is one that succeeded.
                Some(outcome) if !outcome.is_success() && !matches!(outcome, Outcome::Enough { .. }) => {
                    SpanKind::Failed
                }
                _ => kind(step),
            };
            let attempt = if count > 1 { format!("attempt {}", number + 1) } else { String::new() };
            // What runs still has no end yet.
            let to = seconds(ended.unwrap_or(last).max(started));
            spans.push(CourseSpan { from: seconds(started), to, kind, what: attempt });
        }
        steps.insert((first, index), CourseStep { name: step.id.to_string(), spans });
    }
    let left_out = steps.len().saturating_sub(SHOWN);
    Course { steps: steps.into_values().take(SHOWN).collect(), left_out }
}

fn kind(step: &Step) -> SpanKind {
    match step.kind {
        StepKind::Pause { .. } => SpanKind::Pause,
        _ if is_load(step) => SpanKind::Load,
        _ if step.is_cleanup() => SpanKind::Cleanup,
        _ => SpanKind::Work,
    }
}

/// When everything that a step waits for had ended. None: some of it has not, or it ended before it is known.
fn ready(watched: &Watched, index: usize, began: i64) -> Option<i64> {
    let graph = &watched.graph.graph;
    graph.neighbors_directed(NodeIndex::new(index), Direction::Incoming).try_fold(began, |ready, before| {
        let past = watched.past(&graph[before])?;
        // A step that was skipped never started, and has no time of its own.
        match (past.ended_ms, &past.phase) {
            (Some(ended), _) => Some(ready.max(ended)),
            (None, StepPhase::Ended(_)) => Some(ready),
            (None, _) => None,
        }
    })
}
