//! The graph of a run: steps and named edges, one acyclic graph for all deployments.

mod build;
pub mod change;
mod render;
mod step;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use petgraph::graph::{DiGraph, NodeIndex};

pub use build::{Parts, build};
pub use render::{Format, render, tree};
pub use step::{Step, StepKind};

use crate::id::StepId;
use crate::plan::Deployment;

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wait {
    /// The step before must have succeeded; otherwise this one is skipped.
    ForSuccess,
    /// The step before must have ended, in whatever way. A skipped step has ended.
    ForEnd,
}

/// The steps of a run. Node indices are dense and follow the order of building.
#[derive(Clone, Debug)]
pub struct RunGraph {
    pub graph: DiGraph<Step, Wait>,
    pub deployments: Vec<Deployment>,
    by_id: HashMap<StepId, NodeIndex>,
}

impl RunGraph {
    pub fn find(&self, id: &StepId) -> Option<NodeIndex> {
        self.by_id.get(id).copied()
    }

    /// The graph of these steps alone, with the edges between them. Deployments keep their indices.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&Step) -> bool) -> Self {
        let graph =
            self.graph.filter_map(|_, step| wanted(step).then(|| step.clone()), |_, wait| Some(*wait));
        let by_id = graph.node_indices().map(|index| (graph[index].id.clone(), index)).collect();
        Self { graph, deployments: self.deployments.clone(), by_id }
    }
}
