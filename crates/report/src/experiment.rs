//! Which experiment an execution belongs to.

use crate::execution::Execution;

/// An experiment of the study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Experiment {
    /// Where the time goes: exp1.
    Latency,
    /// How much load an application takes: exp2.
    Levels,
    /// What the pattern of invocations does: exp3.
    Patterns,
    Other,
}

/// The label of the study's executions of exp1, which is the whole label.
const LATENCY: &str = "exp1_latency_breakdown_4x_burst20";
/// How the labels of exp2 and exp3 begin.
const LEVELS: &str = "exp2_load_levels";
const PATTERNS: &str = "exp3_workload_types_20min";

impl Experiment {
    /// By the label; of our own runs also by the name of the plan. Any other run of ours shows where its time goes.
    pub(crate) fn of(execution: &Execution, as_published: bool) -> Self {
        let label = execution.config.label().unwrap_or_default();
        if label == LATENCY {
            return Self::Latency;
        }
        if label.starts_with(LEVELS) {
            return Self::Levels;
        }
        if label.starts_with(PATTERNS) {
            return Self::Patterns;
        }
        if as_published || !execution.is_ours {
            return Self::Other;
        }
        let plan = execution.config.plan.as_deref().unwrap_or_default();
        if plan.starts_with("exp2") {
            Self::Levels
        } else if plan.starts_with("exp3") {
            Self::Patterns
        } else {
            Self::Latency
        }
    }
}
