//! The graph of a run: steps and named edges, one acyclic graph for all deployments.

mod build;
pub mod change;
mod render;
pub mod rest;
mod step;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::OnceLock;

use petgraph::graph::{DiGraph, NodeIndex};

pub use build::{Parts, build, build_without};
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
    /// The steps, and what each waits for: an edge leads to the step that waits.
    pub graph: DiGraph<Step, Wait>,
    /// What [`Step::deployment`] counts.
    pub deployments: Vec<Deployment>,
    /// Made when a step is first looked for: planning needs none of it.
    by_id: OnceLock<HashMap<StepId, NodeIndex>>,
}

impl RunGraph {
    /// The node of a step. None: the graph has no step of this id.
    pub fn find(&self, id: &StepId) -> Option<NodeIndex> {
        let by_id = self.by_id.get_or_init(|| {
            self.graph.node_indices().map(|node| (self.graph[node].id.clone(), node)).collect()
        });
        by_id.get(id).copied()
    }

    /// The graph of these steps alone, with the edges between them. Deployments keep their indices.
    #[must_use]
    pub fn only(&self, wanted: impl Fn(&Step) -> bool) -> Self {
        let graph =
            self.graph.filter_map(|_, step| wanted(step).then(|| step.clone()), |_, wait| Some(*wait));
        Self { graph, deployments: self.deployments.clone(), by_id: OnceLock::new() }
    }
}
