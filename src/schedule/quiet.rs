//! `quiet`: a load is not disturbed by work of ours. What the rule counts, and what it refuses within one run;
//! [`super::machine`] holds the same against other runs.

use sb_plan::graph::Step;

/// What a step does to the machine and to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Pauses and the like: they hold no slot and disturb nobody.
    Free,
    /// Deploys, cleans up, or works on traces: a load should not run beside it.
    Work,
    /// Sends load.
    Invoke,
}

pub(super) fn class(step: &Step) -> Class {
    if step.pause().is_some() {
        Class::Free
    } else if step.is_invoke() {
        Class::Invoke
    } else {
        Class::Work
    }
}

/// The steps of this run that run, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RunningCounts {
    pub(super) working: u32,
    pub(super) invoking: u32,
}

impl RunningCounts {
    pub(super) fn start(&mut self, step: &Step) {
        match class(step) {
            Class::Free => {}
            Class::Work => self.working += 1,
            Class::Invoke => self.invoking += 1,
        }
    }

    pub(super) fn end(&mut self, step: &Step) {
        match class(step) {
            Class::Free => {}
            Class::Work => self.working -= 1,
            Class::Invoke => self.invoking -= 1,
        }
    }
}

/// What stands behind a step that waits for the other kind to end, within one choice. Whichever comes first in rank
/// goes first: a step that must wait holds back the other kind behind it, or it would wait for ever.
#[derive(Default)]
pub(super) struct HeldBack {
    loads: bool,
    work: bool,
}

impl HeldBack {
    /// Whether a load may not start now, with `quiet` or without.
    pub(super) fn refuses_load(&mut self, quiet: bool, running: RunningCounts) -> bool {
        let disturbed = quiet && running.working > 0;
        self.work |= disturbed && !self.loads;
        disturbed || self.loads
    }

    /// Whether work may not start now.
    pub(super) fn refuses_work(&mut self, quiet: bool, running: RunningCounts) -> bool {
        let disturbs = quiet && running.invoking > 0;
        self.loads |= disturbs && !self.work;
        disturbs || self.work
    }

    /// A load waits for other runs: work of this run that stands behind it waits with it.
    pub(super) fn hold_work(&mut self) {
        self.work = true;
    }
}
