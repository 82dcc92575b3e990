//! What becomes of a run when its files change: which results still hold, what runs again, what must be cleaned up
//! first as it was defined before. Pure: the same files and journal give the same answer.
//!
//! Three rules. A result holds while the definition of its step is the same, and with it those of all steps that it
//! builds on. A deployment whose parameters change, or which is gone from the plan, is cleaned up as it was defined
//! before. A deployment that no longer stands is deployed again when a trial of it is still to run, and such a trial
//! runs from its beginning: what was measured on two deployments is never mixed.

use std::collections::{BTreeSet, HashMap, HashSet};

use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef as _;

use super::{RunGraph, Step, StepKind, Wait};
use crate::event::{Failure, Outcome};
use crate::id::StepId;
use crate::plan::Deployment;
use crate::run_state::{RunState, StepPhase, StepState};
use crate::validate::{self, Action, Entry, OnInterrupt, Plan, Retry};

/// A run as its files define it.
#[derive(Clone, Copy)]
pub struct Definition<'a> {
    pub plan: &'a Plan,
    pub graph: &'a RunGraph,
}

/// What there is of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Never opened, or cleaned up.
    Gone,
    /// Opened, but nothing was deployed.
    Open,
    /// Its cleanup is owed.
    Owed,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Steps whose definition is another one; in the order of the graph.
    pub changed: Vec<StepId>,
    pub new: Vec<StepId>,
    pub gone: Vec<StepId>,
    /// Keys of the plan that changed without changing a step.
    pub settings: Vec<&'static str>,
    /// Steps that count as not yet run, though they have begun or ended.
    pub again: Vec<StepId>,
    /// Deployments (of the old graph) that are to be cleaned up as they were defined before.
    pub retired: BTreeSet<usize>,
    /// Steps (of the old graph) that run, and must not any more.
    pub stopped: Vec<StepId>,
    /// Keys of deployments that are opened anew.
    pub reopened: Vec<String>,
}

impl Change {
    /// Nothing is to be ended before the run can go on.
    pub fn is_ready(&self) -> bool {
        self.retired.is_empty() && self.stopped.is_empty()
    }
}

pub fn compare(
    old: Definition<'_>,
    new: Definition<'_>,
    state: &RunState,
    redeploys: bool,
    standing: &dyn Fn(&Deployment) -> Standing,
) -> Change {
    let mut change = Change { settings: settings(old.plan, new.plan), ..Change::default() };
    let olds: HashMap<&str, usize> =
        old.graph.deployments.iter().enumerate().map(|(index, old)| (old.key.as_str(), index)).collect();
    let mut kept = HashSet::new();
    let mut nodes = vec![Vec::new(); new.graph.deployments.len()];
    for index in new.graph.graph.node_indices() {
        nodes[new.graph.graph[index].deployment].push(index);
    }
    for (index, deployment) in new.graph.deployments.iter().enumerate() {
        let before = olds.get(deployment.key.as_str()).copied();
        kept.extend(before);
        let compared = Compared { old, new, state, redeploys, before, nodes: &nodes[index] };
        compared.add_to(&mut change, deployment, standing(deployment));
    }
    for (index, deployment) in old.graph.deployments.iter().enumerate() {
        if !kept.contains(&index) && standing(deployment) == Standing::Owed {
            change.retired.insert(index);
        }
    }
    for step in old.graph.graph.node_weights() {
        if new.graph.find(&step.id).is_none() {
            change.gone.push(step.id.clone());
        }
    }
    // What runs in a deployment that is cleaned up is stopped with it; anything else that must not go on by itself.
    let again: HashSet<&StepId> = change.again.iter().collect();
    for step in old.graph.graph.node_weights() {
        let runs = state.step(&step.id).is_some_and(|past| past.phase == StepPhase::Running);
        if runs && (again.contains(&step.id) || new.graph.find(&step.id).is_none()) {
            change.stopped.push(step.id.clone());
        }
    }
    change
}

/// A deployment of the new graph.
struct Compared<'a> {
    old: Definition<'a>,
    new: Definition<'a>,
    state: &'a RunState,
    redeploys: bool,
    /// The same deployment in the old graph.
    before: Option<usize>,
    nodes: &'a [NodeIndex],
}

impl Compared<'_> {
    fn add_to(&self, change: &mut Change, deployment: &Deployment, standing: Standing) {
        let replaced = self.redeploys
            && self.before.is_some_and(|before| {
                let before = &self.old.graph.deployments[before];
                !same_parameters(self.old.plan, before, self.new.plan, deployment)
            });
        let mut again: HashSet<NodeIndex> = HashSet::new();
        let mut open = false;
        let (mut changed, mut cleanup_begun) = (HashSet::new(), false);
        for &index in self.nodes {
            let step = &self.new.graph.graph[index];
            let past = self.past(index);
            let Some(before) = self.old.graph.find(&step.id) else {
                change.new.push(step.id.clone());
                if !step.is_cleanup() {
                    again.insert(index);
                }
                continue;
            };
            let before = &self.old.graph.graph[before];
            if replaced || !self.same(before, step, past) {
                change.changed.push(step.id.clone());
                changed.insert(index);
            }
            if step.is_cleanup() {
                cleanup_begun |= past.is_some_and(|past| past.phase != StepPhase::Waiting);
                continue;
            }
            match past.map_or(&StepPhase::Waiting, |past| &past.phase) {
                _ if changed.contains(&index) => {
                    again.insert(index);
                }
                StepPhase::Ended(Outcome::Cancelled | Outcome::Interrupted) => {
                    again.insert(index);
                }
                StepPhase::Waiting | StepPhase::Running | StepPhase::Retrying(_) => open = true,
                StepPhase::Ended(_) => {}
            }
        }
        self.spread(&mut again);
        let active = open || !again.is_empty();
        let ruined = active && cleanup_begun && standing == Standing::Owed;
        if (replaced || ruined) && standing == Standing::Owed {
            change.retired.extend(self.before);
        }
        if replaced {
            again = self.nodes.iter().copied().collect();
        } else if active && (ruined || standing == Standing::Gone) && self.redeploys {
            self.deploy_again(&mut again);
        } else if standing == Standing::Owed {
            again.extend(changed);
        }
        let again: Vec<_> = self.nodes.iter().filter(|index| again.contains(index)).copied().collect();
        let again: Vec<_> = again
            .into_iter()
            .filter(|&index| self.past(index).is_some_and(|past| past.phase != StepPhase::Waiting))
            .map(|index| self.new.graph.graph[index].id.clone())
            .collect();
        if replaced || (active && standing == Standing::Gone && !again.is_empty() && self.redeploys) {
            change.reopened.push(deployment.key.clone());
        }
        change.again.extend(again);
    }

    fn past(&self, index: NodeIndex) -> Option<&StepState> {
        self.state.step(&self.new.graph.graph[index].id)
    }

    /// What needs a step that runs again runs again.
    fn spread(&self, again: &mut HashSet<NodeIndex>) {
        let mut queue: Vec<_> = again.iter().copied().collect();
        while let Some(index) = queue.pop() {
            for edge in self.new.graph.graph.edges_directed(index, Direction::Outgoing) {
                let step = &self.new.graph.graph[edge.target()];
                let same = step.deployment == self.new.graph.graph[index].deployment && !step.is_cleanup();
                if same && *edge.weight() == Wait::ForSuccess && again.insert(edge.target()) {
                    queue.push(edge.target());
                }
            }
        }
    }

    /// The deployment does not stand any more: deploying, cleaning up, and every trial that is not complete.
    fn deploy_again(&self, again: &mut HashSet<NodeIndex>) {
        let incomplete: HashSet<_> = self
            .nodes
            .iter()
            .filter(|&&index| again.contains(&index) || !self.has_ended(index))
            .filter_map(|&index| self.new.graph.graph[index].trial)
            .collect();
        again.extend(self.nodes.iter().filter(|&&index| match self.new.graph.graph[index].trial {
            Some(trial) => incomplete.contains(&trial),
            None => true,
        }));
    }

    fn has_ended(&self, index: NodeIndex) -> bool {
        self.past(index).is_some_and(|past| matches!(past.phase, StepPhase::Ended(_)))
    }

    /// Whether what has become of the step before holds for what it is now.
    fn same(&self, before: &Step, now: &Step, past: Option<&StepState>) -> bool {
        let target = |side: Definition<'_>, step: &Step| {
            let entry = entry(side.plan, &side.graph.deployments[step.deployment]);
            entry.benchmark.targets.get(&entry.target).map(|target| target.traces)
        };
        match (&before.kind, &now.kind) {
            (StepKind::Manifest(one), StepKind::Manifest(two)) => {
                let load = matches!(two.action, Action::Load);
                let command = matches!(two.action, Action::Run(_));
                let failed = past.is_some_and(|past| {
                    matches!(&past.phase, StepPhase::Ended(Outcome::Failed(Failure { .. })))
                });
                // Tried differently, a step that failed may succeed; one that succeeded would do the same.
                let same = if failed { one == two } else { work(one) == work(two) };
                same && (!load || self.same_load(before, now))
                    && (!command || self.old.plan.executor == self.new.plan.executor)
            }
            (StepKind::GetTraces, StepKind::GetTraces) => target(self.old, before) == target(self.new, now),
            (StepKind::AnalyzeTraces, StepKind::AnalyzeTraces)
            | (StepKind::Pause { .. }, StepKind::Pause { .. }) => true,
            _ => false,
        }
    }

    fn same_load(&self, before: &Step, now: &Step) -> bool {
        let (one, two) =
            (&self.old.graph.deployments[before.deployment], &self.new.graph.deployments[now.deployment]);
        let (old, new) = (entry(self.old.plan, one), entry(self.new.plan, two));
        old.points[one.point].load == new.points[two.point].load
            && old.benchmark.workload == new.benchmark.workload
            && self.old.plan.seed == self.new.plan.seed
    }
}

fn entry<'a>(plan: &'a Plan, deployment: &Deployment) -> &'a Entry {
    &plan.entries[deployment.entry]
}

/// What every template of a deployment may use.
fn same_parameters(old: &Plan, before: &Deployment, new: &Plan, now: &Deployment) -> bool {
    let (one, two) = (entry(old, before), entry(new, now));
    let (old, new) = (&one.benchmark, &two.benchmark);
    one.target == two.target
        && old.path == new.path
        && old.name == new.name
        && old.root == new.root
        && old.params == new.params
        && one.points[before.point].params == two.points[now.point].params
}

/// The step without what only says how its failure is met.
fn work(step: &validate::Step) -> validate::Step {
    validate::Step {
        timeout: None,
        retry: Retry::once(),
        allow_failure: false,
        recover: vec![],
        on_interrupt: OnInterrupt::Rerun,
        locks: vec![],
        ..step.clone()
    }
}

fn settings(old: &Plan, new: &Plan) -> Vec<&'static str> {
    [
        (old.executor == new.executor, "executor"),
        (old.repetitions == new.repetitions, "trials.repetitions"),
        (old.trials_per_deployment == new.trials_per_deployment, "trials.per_deployment"),
        (old.order == new.order, "trials.order"),
        (old.seed == new.seed, "trials.seed"),
        (old.timing == new.timing, "timing"),
        (old.concurrency == new.concurrency, "concurrency"),
        (old.locks == new.locks, "locks"),
        (old.budget == new.budget, "budget"),
    ]
    .into_iter()
    .filter_map(|(same, name)| (!same).then_some(name))
    .collect()
}
