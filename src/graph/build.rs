//! From trials to the graph. Which steps exist, what each waits for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use petgraph::graph::{DiGraph, NodeIndex};

use super::{RunGraph, Step, StepKind, Wait};
use crate::id::StepId;
use crate::plan::Expansion;
use crate::validate::{self, Plan, Traces};

/// Which parts of the life cycle a run consists of: all of them for a plan, one for `sb prepare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    pub deploy: bool,
    pub invoke: bool,
    pub get_traces: bool,
    pub analyze: bool,
    pub cleanup: bool,
}

impl Parts {
    pub const ALL: Self = Self { deploy: true, invoke: true, get_traces: true, analyze: true, cleanup: true };
    pub const NONE: Self =
        Self { deploy: false, invoke: false, get_traces: false, analyze: false, cleanup: false };

    #[must_use]
    pub fn with_cleanup(self) -> Self {
        Self { cleanup: true, ..self }
    }
}

pub fn build(plan: &Plan, expansion: Expansion, parts: Parts) -> RunGraph {
    let mut builder = Builder {
        graph: DiGraph::new(),
        by_id: HashMap::new(),
        plan,
        parts,
        deployment: 0,
        prefix: String::new(),
    };
    let Expansion { deployments, chains } = expansion;
    for chain in chains {
        let mut before: Vec<NodeIndex> = Vec::new();
        for index in chain {
            builder.deployment = index;
            builder.prefix.clone_from(&deployments[index].key);
            before = builder.deployment(&deployments[index], &before);
        }
    }
    RunGraph { graph: builder.graph, deployments, by_id: builder.by_id }
}

struct Builder<'a> {
    graph: DiGraph<Step, Wait>,
    by_id: HashMap<StepId, NodeIndex>,
    plan: &'a Plan,
    parts: Parts,
    deployment: usize,
    prefix: String,
}

impl Builder<'_> {
    /// Adds all steps of a deployment; returns those that end it.
    fn deployment(&mut self, deployment: &crate::plan::Deployment, before: &[NodeIndex]) -> Vec<NodeIndex> {
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
        let trial_parts = self.parts.invoke || self.parts.get_traces || self.parts.analyze;
        for (index, trial) in deployment.trials.iter().enumerate().filter(|_| trial_parts) {
            let pause = if index == 0 {
                self.plan.timing.before_invoke
            } else {
                self.plan.timing.before_invoke.max(self.plan.timing.min_idle)
            };
            let ends = self.trial(index, trial.number, trial.rank, target, pause, &gate);
            // The next trial needs the deployment, and waits for the end of this trial, good or bad.
            gate.clone_from(&deployed);
            gate.extend(ends.iter().map(|&node| (node, Wait::ForEnd)));
            everything.extend(ends);
        }
        if self.parts.cleanup {
            let gate: Vec<_> = if everything.is_empty() {
                gate
            } else {
                everything.iter().map(|&node| (node, Wait::ForEnd)).collect()
            };
            let ends = self.steps(&target.cleanup, None, last_rank, &gate, "cleanup", Wait::ForEnd);
            if !ends.is_empty() {
                return ends;
            }
        }
        if everything.is_empty() { before.to_vec() } else { everything }
    }

    fn trial(
        &mut self,
        index: usize,
        number: u32,
        rank: u32,
        target: &validate::Target,
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
        steps: &[Arc<validate::Step>],
        trial: Option<usize>,
        rank: u32,
        before: &[(NodeIndex, Wait)],
        phase: &str,
        between: Wait,
    ) -> Vec<NodeIndex> {
        let mut by_name: HashMap<&str, NodeIndex> = HashMap::new();
        let mut needed: Vec<NodeIndex> = Vec::new();
        let mut all = Vec::with_capacity(steps.len());
        for step in steps {
            let needs: Vec<_> = step
                .needs
                .iter()
                .filter_map(|name| by_name.get(name.as_str()))
                .map(|&node| (node, between))
                .collect();
            needed.extend(needs.iter().map(|&(node, _)| node));
            // Only steps without needs wait for the gate itself: the others reach it through what they need.
            let waits = if needs.is_empty() { before } else { needs.as_slice() };
            let kind = StepKind::Manifest(Arc::clone(step));
            let node = self.add(format!("{phase}/{}", step.name), trial, rank, kind, waits);
            by_name.insert(&step.name, node);
            all.push(node);
        }
        all.retain(|node| !needed.contains(node));
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
        let node =
            self.graph.add_node(Step { id: id.clone(), deployment: self.deployment, trial, rank, kind });
        for &(before, wait) in waits {
            self.graph.add_edge(before, node, wait);
        }
        self.by_id.insert(id, node);
        node
    }
}
