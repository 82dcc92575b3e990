//! What a run has measured so far: where it lies, and in numbers.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use sb_analysis::{Summaries, summarize_groups};
use sb_durable::leads_out;
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
            // As for the runner: a step may have put a link in the place of the folder.
            if seen.insert(logs.clone()) && leads_out(&entry.benchmark.root, &logs).is_none() {
                folders.entry(entry.application.clone()).or_default().push(logs);
            }
        }
    }
    folders
}

/// Folders of invocations that are not read, since they lead out of the root of their benchmark by now, and why.
pub(crate) fn led_out(plan: &Plan, graph: &RunGraph, state: &RunState) -> BTreeMap<PathBuf, String> {
    let steps = graph.graph.node_weights().filter(|step| step.trial.is_some());
    let led_out = steps.filter_map(|step| {
        let logs = state.step(&step.id).and_then(|past| past.logs.clone())?;
        let entry = &plan.entries[graph.deployments[step.deployment].entry];
        let error = leads_out(&entry.benchmark.root, &logs)?;
        Some((logs, error.to_string()))
    });
    led_out.collect()
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
