//! The graph as text: DOT, Mermaid, JSON, and the tree of `sb plan show`.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use petgraph::Direction::Incoming;
use petgraph::graph::{EdgeIndex, NodeIndex};
use petgraph::visit::EdgeRef;
use serde_json::json;

use super::{RunGraph, Wait};

/// A form in which a graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Graphviz.
    Dot,
    /// Mermaid.
    Mermaid,
    /// An object with `steps` and `edges`; its `version` is 1.
    Json,
}

/// Writes the graph.
///
/// # Errors
/// The writer refuses.
pub fn render(run: &RunGraph, format: Format, out: &mut impl Write) -> fmt::Result {
    match format {
        Format::Dot => dot(run, out),
        Format::Mermaid => mermaid(run, out),
        Format::Json => writeln!(out, "{:#}", as_json(run)),
    }
}

fn dot(run: &RunGraph, out: &mut impl Write) -> fmt::Result {
    writeln!(out, "digraph run {{\n  rankdir = LR;\n  node [shape = box];")?;
    for step in run.graph.node_weights() {
        let id = escape(step.id.as_str());
        writeln!(out, "  \"{id}\" [label = \"{id}\\n{}\"];", step.action_name())?;
    }
    for edge in run.graph.edge_references() {
        let (from, to) = (&run.graph[edge.source()].id, &run.graph[edge.target()].id);
        let style = match edge.weight() {
            _ if is_together(run, edge.id()) => " [style = dotted, label = \"together\"]",
            Wait::ForSuccess => "",
            Wait::ForEnd => " [style = dashed, label = \"for end\"]",
        };
        writeln!(out, "  \"{}\" -> \"{}\"{style};", escape(from.as_str()), escape(to.as_str()))?;
    }
    writeln!(out, "}}")
}

fn mermaid(run: &RunGraph, out: &mut impl Write) -> fmt::Result {
    writeln!(out, "flowchart LR")?;
    for node in run.graph.node_indices() {
        let step = &run.graph[node];
        let id = step.id.as_str().replace('"', "#quot;");
        writeln!(out, "  n{}[\"{id}<br>{}\"]", node.index(), step.action_name())?;
    }
    for edge in run.graph.edge_references() {
        let arrow = match edge.weight() {
            _ if is_together(run, edge.id()) => "-. together .->",
            Wait::ForSuccess => "-->",
            Wait::ForEnd => "-. for end .->",
        };
        writeln!(out, "  n{} {arrow} n{}", edge.source().index(), edge.target().index())?;
    }
    Ok(())
}

fn as_json(run: &RunGraph) -> serde_json::Value {
    let steps: Vec<_> = run
        .graph
        .node_weights()
        .map(|step| {
            let deployment = &run.deployments[step.deployment];
            json!({
                "id": step.id,
                "action": step.action_name(),
                "phase": step.phase(),
                "deployment": deployment.key,
                "trial": step.trial.map(|trial| deployment.trials[trial].id.clone()),
                "rank": step.rank,
            })
        })
        .collect();
    let edges: Vec<_> = run
        .graph
        .edge_references()
        .map(|edge| {
            json!({
                "from": run.graph[edge.source()].id,
                "to": run.graph[edge.target()].id,
                "wait": edge.weight(),
                "together": is_together(run, edge.id()),
            })
        })
        .collect();
    json!({ "version": 1, "steps": steps, "edges": edges })
}

/// Whether an edge lets loads begin together: a trial waits for what other deployments need before theirs.
fn is_together(run: &RunGraph, edge: EdgeIndex) -> bool {
    run.graph.edge_endpoints(edge).is_some_and(|(from, to)| {
        let (from, to) = (&run.graph[from], &run.graph[to]);
        from.deployment != to.deployment && from.trial.is_none() && to.trial.is_some()
    })
}

/// The deployments that a step waits for so that loads begin together, in words; none if it does not.
fn others(run: &RunGraph, node: NodeIndex) -> Option<String> {
    let edges = run.graph.edges_directed(node, Incoming).filter(|edge| is_together(run, edge.id()));
    let others: BTreeSet<usize> = edges.map(|edge| run.graph[edge.source()].deployment).collect();
    match others.len() {
        0 => None,
        few @ 1..=3 => {
            let names: Vec<&str> = others.iter().map(|other| run.deployments[*other].key.as_str()).collect();
            Some(match few {
                1 => names[0].to_owned(),
                _ => format!("{} and {}", names[..few - 1].join(", "), names[few - 1]),
            })
        }
        many => Some(format!("{many} other deployments")),
    }
}

/// Deployments, trials and steps as an indented tree, for people.
pub fn tree(run: &RunGraph, out: &mut impl Write) -> fmt::Result {
    let mut by_deployment = vec![Vec::new(); run.deployments.len()];
    for node in run.graph.node_indices() {
        by_deployment[run.graph[node].deployment].push(node);
    }
    for (deployment, nodes) in run.deployments.iter().zip(by_deployment) {
        writeln!(out, "{}", deployment.key)?;
        for (index, &node) in nodes.iter().enumerate() {
            let step = &run.graph[node];
            let branch = if index + 1 == nodes.len() { "└─" } else { "├─" };
            let name = step.id.as_str().strip_prefix(&deployment.key).unwrap_or(step.id.as_str());
            write!(out, "{branch} {:<28} {}", name.trim_start_matches('/'), step.action_name())?;
            if let Some(pause) = step.pause() {
                write!(out, " {}", humantime::format_duration(pause))?;
            }
            if let Some(others) = others(run, node) {
                write!(out, ", together with {others}")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
