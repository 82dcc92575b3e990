//! What the verdicts of a run are made of: measurement and cleanup, counted apart.

use sb_plan::event::{Outcome, Verdict};

#[derive(Default)]
pub(super) struct Tally {
    pub(super) measurement: Count,
    pub(super) cleanup: Count,
    /// A trial must not be used.
    pub(super) invalid: bool,
    /// A deployment was kept on purpose.
    pub(super) kept: bool,
}

#[derive(Default)]
pub(super) struct Count {
    ended: u32,
    failed: bool,
    cancelled: bool,
}

impl Count {
    /// A step has ended; `forgiven` when its failure is allowed. What was skipped is the consequence of something
    /// else that is counted.
    pub(super) fn add(&mut self, outcome: &Outcome, forgiven: bool) {
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

impl Tally {
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
