//! What a run has measured so far: where it lies, and in numbers.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use sb_analysis::{Summaries, summarize_groups};
use sb_plan::graph::RunGraph;
use sb_plan::plan::Plan;
use sb_plan::run_state::RunState;

/// The folders of a run's last invocations, by application.
pub(crate) fn invocations(plan: &Plan, graph: &RunGraph, state: &RunState) -> BTreeMap<String, Vec<PathBuf>> {
    let mut folders: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let mut seen = HashSet::new();
    for step in graph.graph.node_weights().filter(|step| step.trial.is_some()) {
        if let Some(logs) = state.step(&step.id).and_then(|past| past.logs.clone()) {
            let entry = &plan.entries[graph.deployments[step.deployment].entry];
            if seen.insert(logs.clone()) {
                folders.entry(entry.application.clone()).or_default().push(logs);
            }
        }
    }
    folders
}

/// A summary of each application of which something was measured, or several: one for each combination of factor levels
/// and labels.
pub(crate) fn summaries(folders: &BTreeMap<String, Vec<PathBuf>>) -> Summaries {
    let mut all = Summaries::default();
    for (application, folders) in folders {
        let found = summarize_groups(application, folders);
        all.groups.extend(found.groups);
        all.left_out.extend(found.left_out);
    }
    all
}
