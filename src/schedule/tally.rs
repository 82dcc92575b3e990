//! What the verdicts of a run are made of: measurement and cleanup, counted apart.

use sb_plan::event::{Outcome, Verdict};
use sb_plan::graph::Step;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tally {
    measurement: Count,
    cleanup: Count,
    /// A trial must not be used.
    invalid: bool,
    /// A deployment was kept on purpose.
    kept: bool,
}

/// What there is of the deployment of a step that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Its cleanup is owed.
    pub(super) owed: bool,
    /// And it is kept on purpose.
    pub(super) kept: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Count {
    ended: u32,
    failed: bool,
    cancelled: bool,
}

impl Count {
    /// A step has ended; `forgiven` when its failure is allowed. What was skipped is the consequence of something
    /// else that is counted.
    fn add(&mut self, outcome: &Outcome, forgiven: bool) {
        self.ended += 1;
        self.cancelled |= matches!(outcome, Outcome::Cancelled);
        self.failed |= !forgiven && matches!(outcome, Outcome::Failed(_) | Outcome::Interrupted);
    }

    fn verdict(&self) -> Verdict {
        match self {
            Self { ended: 0, .. } => Verdict::None,
            Self { failed: true, .. } => Verdict::Failed,
            Self { cancelled: true, .. } => Verdict::Cancelled,
            _ => Verdict::Complete,
        }
    }
}

/// Whether the failure of a step is allowed.
pub(super) fn is_forgiven(step: &Step) -> bool {
    step.manifest().is_some_and(|step| step.allow_failure)
}

impl Tally {
    /// A step has ended.
    pub(super) fn end(&mut self, step: &Step, outcome: &Outcome, invalid: bool, standing: Standing) {
        let forgiven = is_forgiven(step);
        self.invalid |= invalid;
        if !step.is_cleanup() {
            self.measurement.add(outcome, forgiven);
        } else if matches!(outcome, Outcome::Cancelled) && standing.kept {
            self.kept = true;
        } else if !matches!(outcome, Outcome::Cancelled) || standing.owed {
            // A cleanup that was never owed is no debt: it counts neither way.
            self.cleanup.add(outcome, forgiven);
        }
    }

    /// The debt of a deployment stays, though its cleanup steps have succeeded.
    pub(super) fn owe(&mut self) {
        self.cleanup.ended += 1;
        self.cleanup.failed = true;
    }

    /// Of measurement and of cleanup.
    pub(super) fn verdicts(&self) -> (Verdict, Verdict) {
        let measurement = match self.measurement.verdict() {
            Verdict::Complete if self.invalid => Verdict::Invalid,
            other => other,
        };
        let cleanup = match self.cleanup.verdict() {
            Verdict::Complete | Verdict::None if self.kept => Verdict::Kept,
            other => other,
        };
        (measurement, cleanup)
    }
}
