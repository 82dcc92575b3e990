//! Which of the steps that could start may start now: pure choice under the plan's limits.

use std::collections::{BTreeMap, HashMap};

use crate::graph::{Step, StepKind};
use crate::validate::Plan;

/// What a step does to the machine and to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The limits of a plan, and what is taken of them.
#[derive(Debug)]
pub(super) struct Slots {
    deploy: u32,
    invoke: u32,
    quiet: bool,
    locks: BTreeMap<String, u32>,
    working: u32,
    invoking: u32,
    /// Deployments being made, each with its number of running deploy steps.
    deploying: HashMap<usize, u32>,
    taken: HashMap<String, u32>,
}

impl Slots {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            deploy: plan.concurrency.deploy.max(1),
            invoke: plan.concurrency.invoke.max(1),
            quiet: plan.concurrency.quiet,
            locks: plan.locks.clone(),
            working: 0,
            invoking: 0,
            deploying: HashMap::new(),
            taken: HashMap::new(),
        }
    }

    pub(super) fn take(&mut self, step: &Step) {
        match class(step) {
            Class::Free => {}
            Class::Work => self.working += 1,
            Class::Invoke => self.invoking += 1,
        }
        if step.is_deploy() && step.pause().is_none() {
            *self.deploying.entry(step.deployment).or_default() += 1;
        }
        for lock in locks(step) {
            *self.taken.entry(lock.clone()).or_default() += 1;
        }
    }

    pub(super) fn release(&mut self, step: &Step) {
        match class(step) {
            Class::Free => {}
            Class::Work => self.working -= 1,
            Class::Invoke => self.invoking -= 1,
        }
        if let Some(count) = self.deploying.get_mut(&step.deployment)
            && step.is_deploy()
            && step.pause().is_none()
        {
            *count -= 1;
            if *count == 0 {
                self.deploying.remove(&step.deployment);
            }
        }
        for lock in locks(step) {
            if let Some(count) = self.taken.get_mut(lock) {
                *count -= 1;
            }
        }
    }

    /// Takes slots for those that may start now, going through `ready` from the first to the last.
    ///
    /// With `quiet`, load and work exclude each other. Whichever comes first in rank goes first: a step that must
    /// wait for the other kind to end holds back what stands behind it, or it would wait for ever.
    pub(super) fn choose<'a, K: Copy>(&mut self, ready: impl Iterator<Item = (K, &'a Step)>) -> Vec<K> {
        let mut chosen = Vec::new();
        let (mut hold_loads, mut hold_work) = (false, false);
        for (key, step) in ready {
            let free = match class(step) {
                Class::Free => true,
                Class::Invoke => {
                    let disturbed = self.quiet && self.working > 0;
                    hold_work |= disturbed && !hold_loads;
                    self.invoking < self.invoke && !disturbed && !hold_loads
                }
                Class::Work => {
                    let disturbs = self.quiet && self.invoking > 0;
                    hold_loads |= disturbs && !hold_work;
                    !disturbs && !hold_work && self.may_deploy(step)
                }
            };
            let unlocked = locks(step).all(|lock| {
                self.taken.get(lock).copied().unwrap_or(0) < self.locks.get(lock).copied().unwrap_or(1)
            });
            if free && unlocked {
                self.take(step);
                chosen.push(key);
            }
        }
        chosen
    }

    fn may_deploy(&self, step: &Step) -> bool {
        !step.is_deploy()
            || self.deploying.contains_key(&step.deployment)
            || self.deploying.len() < self.deploy as usize
    }
}

/// The locks that a step takes: like slots, a pause takes none.
pub(super) fn locks(step: &Step) -> impl Iterator<Item = &String> {
    match &step.kind {
        StepKind::Manifest(manifest) if step.pause().is_none() => manifest.locks.iter(),
        _ => [].iter(),
    }
}
