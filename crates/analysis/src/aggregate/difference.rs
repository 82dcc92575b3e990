//! What differs between the critical paths of two sets of traces, operation by operation.

use std::collections::BTreeMap;

use serde::Serialize;

use super::tree::PathTree;
use crate::path::breakdown::Activity;

/// An operation at its place of the tree, before and after. Times are in milliseconds per trace.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PathDifference {
    /// The operations from the root to this one.
    pub frames: Vec<String>,
    /// What the time is spent on.
    pub activity: Activity,
    /// Its own time on critical paths, divided by the number of traces; zero where it is on none.
    pub before_ms: f64,
    /// As `before_ms`.
    pub after_ms: f64,
}

impl PathDifference {
    /// After less before.
    pub fn change_ms(&self) -> f64 {
        self.after_ms - self.before_ms
    }
}

impl PathTree {
    /// What is different in another set of traces, the largest change first. Each side is divided by its number of traces, so the
    /// changes add up to the difference between the mean durations. Empty where a side has no traces.
    pub fn difference_to(&self, after: &Self) -> Vec<PathDifference> {
        let mut sides: BTreeMap<(Vec<String>, Activity), [f64; 2]> = BTreeMap::new();
        for (side, tree) in [self, after].into_iter().enumerate() {
            if tree.traces() == 0 {
                return Vec::new();
            }
            for stack in tree.stacks() {
                let time = stack.microseconds as f64 / 1e3 / tree.traces() as f64;
                sides.entry((stack.frames, stack.activity)).or_default()[side] += time;
            }
        }
        let mut found: Vec<PathDifference> = sides
            .into_iter()
            .map(|((frames, activity), [before_ms, after_ms])| PathDifference {
                frames,
                activity,
                before_ms,
                after_ms,
            })
            .collect();
        found.sort_by(|left, right| {
            right
                .change_ms()
                .abs()
                .total_cmp(&left.change_ms().abs())
                .then_with(|| left.frames.cmp(&right.frames))
        });
        found
    }
}
