//! From trials to the graph. Which steps exist, what each waits for.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use petgraph::Direction::Incoming;
use petgraph::graph::{DiGraph, NodeIndex};

use super::{RunGraph, Step, StepKind, Wait};
use crate::benchmark::{ManifestStep, Target, Traces};
use crate::event::DECISION;
use crate::id::StepId;
use crate::plan::{Deployment, Expansion, Plan, Until};

/// Which parts of the life cycle a run consists of: all of them for a plan, one for `sb prepare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// The deploy steps.
    pub deploy: bool,
    /// The invoke steps.
    pub invoke: bool,
    /// Fetching the traces of each trial.
    pub get_traces: bool,
    /// Analysing them.
    pub analyze: bool,
    /// The cleanup steps.
    pub cleanup: bool,
}

impl Parts {
    /// The whole life cycle.
    pub const ALL: Self = Self { deploy: true, invoke: true, get_traces: true, analyze: true, cleanup: true };
    /// No step at all.
    pub const NONE: Self =
        Self { deploy: false, invoke: false, get_traces: false, analyze: false, cleanup: false };

    /// The same parts, and cleanup.
    #[must_use]
    pub fn with_cleanup(self) -> Self {
        Self { cleanup: true, ..self }
    }
}

/// The steps of these deployments, and their edges. Always the same for the same plan; never a cycle.
pub fn build(plan: &Plan, expansion: Expansion, parts: Parts) -> RunGraph {
    build_without(plan, expansion, parts, &|_| false)
}

/// As [`build`], without the steps of deployments that are over. What follows one of them follows those before it.
pub fn build_without(
    plan: &Plan,
    expansion: Expansion,
    parts: Parts,
    is_over: &dyn Fn(usize) -> bool,
) -> RunGraph {
    let left = expansion.chains.iter().flatten().filter(|&&index| !is_over(index));
    let steps = left.map(|&index| most_steps(plan, &expansion.deployments[index])).sum();
    let round = u32::try_from(expansion.chains.len()).unwrap_or(u32::MAX);
    let mut builder = Builder::new(plan, parts, round, steps);
    let Expansion { deployments, chains } = expansion;
    // Deployments at the same place of their chains: their first loads may have to begin together.
    let mut rounds: Vec<Vec<Beginning>> = Vec::new();
    for chain in chains {
        let mut before: Vec<NodeIndex> = Vec::new();
        for (place, index) in chain.into_iter().enumerate() {
            if is_over(index) {
                continue;
            }
            builder.deployment = index;
            builder.prefix.clone_from(&deployments[index].key);
            before = builder.deployment(&deployments[index], &before);
            if plan.concurrency.together {
                rounds.resize_with(rounds.len().max(place + 1), Vec::new);
                rounds[place].push(std::mem::take(&mut builder.beginning));
            }
        }
    }
    for round in &rounds {
        builder.begin_together(round);
    }
    RunGraph { graph: builder.graph, deployments, by_id: OnceLock::new() }
}

/// The steps of one deployment alone, in the order of the graph, as far as they do not depend on the others: without
/// the ranks of what follows a load.
pub(super) fn steps_of(
    plan: &Plan,
    deployments: &[Deployment],
    index: usize,
    parts: Parts,
) -> impl Iterator<Item = Step> {
    let deployment = &deployments[index];
    let mut builder = Builder::new(plan, parts, 0, most_steps(plan, deployment));
    builder.deployment = index;
    builder.prefix.clone_from(&deployment.key);
    builder.deployment(deployment, &[]);
    builder.graph.into_nodes_edges().0.into_iter().map(|node| node.weight)
}

/// How many steps a deployment has, at most.
fn most_steps(plan: &Plan, deployment: &Deployment) -> usize {
    let entry = &plan.entries[deployment.entry];
    entry.benchmark.targets.get(&entry.target).map_or(0, |target| {
        // A trial has its invoke steps, two pauses, two steps for its traces, and a decision.
        let trial = if target.traces == Traces::None { 1 } else { 4 } + target.invoke.len();
        let trial = trial + usize::from(plan.until.is_some());
        target.deploy.len() + deployment.trials.len() * trial + target.cleanup.len()
    })
}

/// Of a deployment, what its loads wait for where they begin together.
#[derive(Default)]
struct Beginning {
    /// The steps that end its deploy phase.
    deployed: Vec<NodeIndex>,
    /// The first steps of its first trial.
    first: Vec<NodeIndex>,
}

struct Builder<'a> {
    graph: DiGraph<Step, Wait>,
    /// Of the deployment that was added last.
    beginning: Beginning,
    plan: &'a Plan,
    parts: Parts,
    deployment: usize,
    prefix: String,
    /// One trial of every chain. What follows a load ranks that much later than the load, hence behind the loads
    /// of the other chains that are ready: with `quiet` it is then done for many trials at once, between two loads,
    /// and not after each. The next load of its own chain waits for it, so it is never late by more than a round.
    round: u32,
}

impl<'a> Builder<'a> {
    fn new(plan: &'a Plan, parts: Parts, round: u32, steps: usize) -> Self {
        let graph = DiGraph::with_capacity(steps, steps + steps / 2);
        let beginning = Beginning::default();
        Self { graph, beginning, plan, parts, deployment: 0, prefix: String::new(), round }
    }

    /// Lets the first trials of a round begin when all of its deployments have ended, well or badly. Edges lead from one place
    /// of the chains to the same place of others, so they close no circle.
    fn begin_together(&mut self, round: &[Beginning]) {
        for (place, own) in round.iter().enumerate() {
            let others = round.iter().enumerate().filter(|(other, _)| *other != place);
            for (_, other) in others {
                for &first in &own.first {
                    for &deployed in &other.deployed {
                        self.graph.add_edge(deployed, first, Wait::ForEnd);
                    }
                }
            }
        }
    }

    /// Adds all steps of a deployment; returns those that end it.
    fn deployment(&mut self, deployment: &Deployment, before: &[NodeIndex]) -> Vec<NodeIndex> {
        let entry = &self.plan.entries[deployment.entry];
        let Some(target) = entry.benchmark.targets.get(&entry.target) else { return before.to_vec() };
        let first_rank = deployment.trials.first().map_or(0, |trial| trial.rank);
        let last_rank = deployment.trials.last().map_or(0, |trial| trial.rank);

        let mut gate: Vec<(NodeIndex, Wait)> = before.iter().map(|&node| (node, Wait::ForEnd)).collect();
        let mut everything: Vec<NodeIndex> = Vec::new();
        if self.parts.deploy {
            let ends = self.steps(&target.deploy, None, first_rank, &gate, "deploy", Wait::ForSuccess);
            everything.extend(&ends);
            if !ends.is_empty() {
                gate = ends.iter().map(|&node| (node, Wait::ForSuccess)).collect();
            }
        }
        let deployed = gate.clone();
        self.beginning = Beginning { deployed: everything.clone(), first: Vec::new() };
        let mut decided: Option<NodeIndex> = None;
        let trial_parts = self.parts.invoke || self.parts.get_traces || self.parts.analyze;
        for (index, trial) in deployment.trials.iter().enumerate().filter(|_| trial_parts) {
            let pause = if index == 0 {
                self.plan.timing.before_invoke
            } else {
                self.plan.timing.before_invoke.max(self.plan.timing.min_idle)
            };
            let behind = self.graph.node_count();
            let ends = self.trial(index, trial.number, trial.rank, target, pause, &gate);
            if index == 0 && self.plan.concurrency.together {
                let of_trial = (behind..self.graph.node_count()).map(NodeIndex::new);
                self.beginning.first = of_trial
                    .filter(|&node| {
                        self.graph.neighbors_directed(node, Incoming).all(|before| before.index() < behind)
                    })
                    .collect();
            }
            // The next trial needs the deployment, and waits for the end of this trial, good or bad.
            gate.clone_from(&deployed);
            let over: Vec<_> = ends.iter().map(|&node| (node, Wait::ForEnd)).collect();
            everything.extend(ends);
            match self.plan.until.filter(|until| self.decides(*until, index, deployment)) {
                None => gate.extend(over),
                Some(_) => {
                    // Skipped with everything after it once an earlier decision was that there are enough.
                    let waits: Vec<_> =
                        over.into_iter().chain(decided.map(|node| (node, Wait::ForSuccess))).collect();
                    let rank = trial.rank.saturating_add(self.round);
                    let name = format!("t{}/{DECISION}", trial.number);
                    let node = self.add(name, Some(index), rank, StepKind::Decide, &waits);
                    gate.push((node, Wait::ForSuccess));
                    everything.push(node);
                    decided = Some(node);
                }
            }
        }
        if self.parts.cleanup {
            let gate: Vec<_> = if everything.is_empty() {
                gate
            } else {
                everything.iter().map(|&node| (node, Wait::ForEnd)).collect()
            };
            let rank = last_rank.saturating_add(self.round);
            let ends = self.steps(&target.cleanup, None, rank, &gate, "cleanup", Wait::ForEnd);
            if !ends.is_empty() {
                return ends;
            }
        }
        if everything.is_empty() { before.to_vec() } else { everything }
    }

    /// Whether it is decided after this trial if another one is needed.
    fn decides(&self, until: Until, index: usize, deployment: &Deployment) -> bool {
        let done = index + 1;
        self.parts.invoke && done >= until.min as usize && done < deployment.trials.len()
    }

    fn trial(
        &mut self,
        index: usize,
        number: u32,
        rank: u32,
        target: &Target,
        pause: Duration,
        before: &[(NodeIndex, Wait)],
    ) -> Vec<NodeIndex> {
        let prefix = format!("t{number}");
        let mut gate = before.to_vec();
        if self.parts.invoke {
            if !pause.is_zero() && !target.invoke.is_empty() {
                let kind = StepKind::Pause { duration: pause, why: "settle" };
                let node = self.add(format!("{prefix}/settle"), Some(index), rank, kind, &gate);
                gate = vec![(node, Wait::ForSuccess)];
            }
            let phase = format!("{prefix}/invoke");
            let ends = self.steps(&target.invoke, Some(index), rank, &gate, &phase, Wait::ForSuccess);
            if !ends.is_empty() {
                gate = ends.into_iter().map(|node| (node, Wait::ForSuccess)).collect();
            }
        }
        let rank = rank.saturating_add(self.round);
        if target.traces != Traces::None {
            if self.parts.get_traces {
                let pause = self.plan.timing.before_traces;
                if self.parts.invoke && !pause.is_zero() {
                    let kind = StepKind::Pause { duration: pause, why: "wait for traces" };
                    let node = self.add(format!("{prefix}/wait-for-traces"), Some(index), rank, kind, &gate);
                    gate = vec![(node, Wait::ForSuccess)];
                }
                let node =
                    self.add(format!("{prefix}/get-traces"), Some(index), rank, StepKind::GetTraces, &gate);
                gate = vec![(node, Wait::ForSuccess)];
            }
            if self.parts.analyze {
                let name = format!("{prefix}/analyze-traces");
                let node = self.add(name, Some(index), rank, StepKind::AnalyzeTraces, &gate);
                gate = vec![(node, Wait::ForSuccess)];
            }
        }
        gate.into_iter().map(|(node, _)| node).collect()
    }

    /// Adds the steps of one phase; returns those that no other step of the phase needs. They end the phase: a
    /// step ends, or is skipped, only after everything that it waits for has ended.
    fn steps(
        &mut self,
        steps: &[Arc<ManifestStep>],
        trial: Option<usize>,
        rank: u32,
        before: &[(NodeIndex, Wait)],
        phase: &str,
        between: Wait,
    ) -> Vec<NodeIndex> {
        let mut all: Vec<NodeIndex> = Vec::with_capacity(steps.len());
        let mut needed = vec![false; steps.len()];
        for (index, step) in steps.iter().enumerate() {
            let mut needs = Vec::new();
            for name in &step.needs {
                // Most need the step before.
                if let Some(place) = steps[..index].iter().rposition(|earlier| earlier.name == *name) {
                    needed[place] = true;
                    needs.push((all[place], between));
                }
            }
            // Only steps without needs wait for the gate itself: the others reach it through what they need.
            let waits = if needs.is_empty() { before } else { needs.as_slice() };
            let kind = StepKind::Manifest(Arc::clone(step));
            let node = self.add(format!("{phase}/{}", step.name), trial, rank, kind, waits);
            all.push(node);
        }
        let mut needed = needed.into_iter();
        all.retain(|_| needed.next() == Some(false));
        all
    }

    fn add(
        &mut self,
        name: String,
        trial: Option<usize>,
        rank: u32,
        kind: StepKind,
        waits: &[(NodeIndex, Wait)],
    ) -> NodeIndex {
        let id = StepId::new(format!("{}/{name}", self.prefix));
        let node = self.graph.add_node(Step { id, deployment: self.deployment, trial, rank, kind });
        for &(before, wait) in waits {
            self.graph.add_edge(before, node, wait);
        }
        node
    }
}
