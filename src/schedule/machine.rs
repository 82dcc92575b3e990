//! What a run holds against other runs while its steps run: named locks, the sending of load, quiet.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use petgraph::graph::NodeIndex;

use super::quiet::{Class, RunningCounts, class};
use super::ready::{ClaimAnswer, locks};
use crate::store::{Guard, Shared, Taken};
use sb_plan::graph::Step;
use sb_plan::plan::Plan;

/// Between two looks at a lock that another run holds.
const RETRY: Duration = Duration::from_millis(250);

pub(super) struct Machine {
    shared: Shared,
    invoke_limit: u32,
    quiet_loads: bool,
    limits: BTreeMap<String, u32>,
    /// Held while any step of this run works.
    work: Option<Guard>,
    /// Held while any load of this run is sent.
    invoke: Option<Guard>,
    quiet: Option<Guard>,
    /// Held while a load of this run waits for quiet: new work of other runs waits behind it.
    next: Option<Guard>,
    named: HashMap<NodeIndex, Vec<Guard>>,
    /// What kept steps from starting at the last choice.
    refused: Vec<(NodeIndex, String)>,
    /// What was last told of each waiting step.
    told: HashMap<NodeIndex, String>,
    /// What other processes know of it; none: nothing was written yet, and an earlier runner may have left something.
    shown: Option<HashMap<NodeIndex, String>>,
    /// A load waited for quiet at the last choice.
    wants_quiet: bool,
    /// The machine's locks could not be used for work, and that has been told.
    without: bool,
}

impl Machine {
    pub(super) fn new(shared: Shared, plan: &Plan) -> Self {
        Self {
            shared,
            invoke_limit: plan.concurrency.invoke.max(1),
            quiet_loads: plan.concurrency.quiet,
            limits: plan.locks.clone(),
            work: None,
            invoke: None,
            quiet: None,
            next: None,
            named: HashMap::new(),
            refused: Vec::new(),
            told: HashMap::new(),
            shown: None,
            wants_quiet: false,
            without: false,
        }
    }

    /// Before steps are chosen.
    pub(super) fn begin(&mut self) {
        self.refused.clear();
        self.wants_quiet = false;
    }

    /// After steps were chosen: what is to be told, each thing once.
    pub(super) fn end(&mut self) -> Vec<(NodeIndex, String)> {
        if !self.wants_quiet {
            self.next = None;
        }
        let mut news = Vec::new();
        let before = std::mem::take(&mut self.told);
        for (index, why) in &self.refused {
            if before.get(index) != Some(why) {
                news.push((*index, why.clone()));
            }
            self.told.insert(*index, why.clone());
        }
        news
    }

    /// What each step waits for, in the order of the steps, where that has changed since it was asked for.
    pub(super) fn change(&mut self) -> Option<Vec<(NodeIndex, String)>> {
        if self.shown.as_ref() == Some(&self.told) {
            return None;
        }
        self.shown = Some(self.told.clone());
        let mut steps: Vec<_> = self.told.iter().map(|(index, why)| (*index, why.clone())).collect();
        steps.sort_unstable();
        Some(steps)
    }

    /// When to look again, if something is waited for.
    pub(super) fn retry(&self) -> Option<Duration> {
        (!self.refused.is_empty()).then_some(RETRY)
    }

    /// Takes all that the step needs, or nothing.
    pub(super) fn claim(&mut self, index: NodeIndex, step: &Step) -> ClaimAnswer {
        let mut named = Vec::new();
        for lock in locks(step) {
            let slots = self.limits.get(lock).copied().unwrap_or(1);
            match self.shared.named(lock, slots) {
                Ok(Taken::Held(guard)) => named.push(guard),
                Ok(Taken::Busy { holder }) => {
                    self.refused.push((index, format!("for lock `{lock}`, held by {holder}")));
                    return ClaimAnswer::Busy;
                }
                Err(error) => {
                    self.refused.push((index, format!("because lock `{lock}` cannot be used: {error}")));
                    return ClaimAnswer::Busy;
                }
            }
        }
        let claim = match class(step) {
            Class::Free => ClaimAnswer::Taken,
            // What was deployed must be cleaned up in any case.
            Class::Work => self.claim_work(index).unwrap_or_else(|error| {
                if !std::mem::replace(&mut self.without, true) {
                    let text = format!(
                        "no more for other runs on this machine, whose locks cannot be used: {error}"
                    );
                    self.refused.push((index, text));
                }
                ClaimAnswer::Taken
            }),
            // Nobody could tell whether anything disturbs the measurement.
            Class::Invoke => self.claim_invoke(index).unwrap_or_else(|error| {
                let text = format!("until the machine's locks can be used, which keep loads apart: {error}");
                self.refused.push((index, text));
                ClaimAnswer::Busy
            }),
        };
        if claim == ClaimAnswer::Taken {
            self.keep(index, named);
        }
        claim
    }

    fn claim_work(&mut self, index: NodeIndex) -> io::Result<ClaimAnswer> {
        if self.work.is_none() && !self.without {
            match self.shared.work(self.next.is_some())? {
                Taken::Held(guard) => self.work = Some(guard),
                Taken::Busy { holder } => {
                    self.refused.push((index, format!("for lock `quiet`, held by {holder}")));
                    return Ok(ClaimAnswer::Busy);
                }
            }
        }
        Ok(ClaimAnswer::Taken)
    }

    fn claim_invoke(&mut self, index: NodeIndex) -> io::Result<ClaimAnswer> {
        let mut invoke = None;
        if self.invoke.is_none() {
            match self.shared.invoke(self.invoke_limit)? {
                Taken::Held(guard) => invoke = Some(guard),
                Taken::Busy { holder } => {
                    self.refused.push((index, format!("for lock `invoke`, held by {holder}")));
                    return Ok(ClaimAnswer::Busy);
                }
            }
        }
        if self.quiet_loads && self.quiet.is_none() {
            if self.next.is_none() {
                match self.shared.next_for_quiet()? {
                    Taken::Held(guard) => self.next = Some(guard),
                    Taken::Busy { holder } => {
                        self.refused.push((index, format!("for lock `quiet`, awaited by {holder}")));
                        return Ok(ClaimAnswer::Busy);
                    }
                }
            }
            match self.shared.quiet()? {
                Taken::Held(guard) => self.quiet = Some(guard),
                Taken::Busy { holder } => {
                    self.wants_quiet = true;
                    self.refused.push((index, format!("for lock `quiet`, held by {holder}")));
                    return Ok(ClaimAnswer::Disturbed);
                }
            }
        }
        if invoke.is_some() {
            self.invoke = invoke;
        }
        Ok(ClaimAnswer::Taken)
    }

    /// For a step that runs already, begun by an earlier runner: it takes what it can get.
    pub(super) fn reclaim(&mut self, index: NodeIndex, step: &Step) {
        let mut named = Vec::new();
        for lock in locks(step) {
            let slots = self.limits.get(lock).copied().unwrap_or(1);
            if let Ok(Taken::Held(guard)) = self.shared.named(lock, slots) {
                named.push(guard);
            }
        }
        let loads = class(step) == Class::Invoke;
        let lacks = if loads { self.invoke.is_none() } else { self.work.is_none() };
        if class(step) != Class::Free
            && lacks
            && let Ok((invoke, quiet_or_work)) = self.shared.again(loads, self.invoke_limit, self.quiet_loads)
        {
            if loads {
                self.invoke = invoke;
                self.quiet = quiet_or_work;
            } else {
                self.work = quiet_or_work;
            }
        }
        self.keep(index, named);
    }

    fn keep(&mut self, index: NodeIndex, named: Vec<Guard>) {
        if !named.is_empty() {
            self.named.insert(index, named);
        }
    }

    /// Of a step that has ended; `still` are those that run on.
    pub(super) fn release(&mut self, index: NodeIndex, still: RunningCounts) {
        self.named.remove(&index);
        if still.working == 0 {
            self.work = None;
        }
        if still.invoking == 0 {
            self.invoke = None;
            self.quiet = None;
        }
    }

    /// The files that a load locks itself as long as it sends, since it may outlive this process.
    pub(super) fn while_loading(&self, step: &Step) -> Vec<(PathBuf, bool)> {
        if class(step) != Class::Invoke {
            return vec![];
        }
        self.shared.while_loading(self.invoke_limit, self.quiet_loads)
    }
}
