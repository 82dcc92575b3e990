//! `sb plan show` and `sb plan graph`; `sb plan estimate` has a file of its own.

use std::fmt::Write as _;

use serde_json::json;

use super::Outcome;
use super::output::{Failed, accept};
use crate::cli::{OutputFormat, PlanCommand};
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::workspace::absolute;
use sb_plan::graph::{self, Format, Parts, RunGraph};
use sb_plan::manifest::read::Disk;
use sb_plan::plan::{Order, Overrides, Plan, expand};
use sb_plan::validate;

pub(super) fn plan(terminal: &Terminal, settings: &Settings, command: PlanCommand) -> Outcome {
    let mut text = String::new();
    let written = match command {
        PlanCommand::Show { plan, summary } => {
            let (plan, graph) = build(terminal, settings, &plan)?;
            let (deployments, steps) = (graph.deployments.len(), graph.graph.node_count());
            let trials: usize = graph.deployments.iter().map(|deployment| deployment.trials.len()).sum();
            if settings.json() && summary {
                let counts = json!({
                    "version": 1,
                    "plan": plan.name,
                    "deployments": deployments,
                    "trials": trials,
                    "fewest_trials": plan.shortest().map(|shortest| shortest.trials()),
                    "steps": steps,
                    "order": plan.order,
                    "seed": plan.seed,
                    "together": plan.concurrency.together,
                });
                writeln!(text, "{counts:#}")
            } else if settings.json() {
                graph::render(&graph, Format::Json, &mut text)
            } else {
                let order = match plan.order {
                    Order::Sequential => "sequential",
                    Order::Interleaved => "interleaved",
                    Order::Random => "random",
                };
                let fewest = plan.shortest().map(|shortest| format!("{} to ", shortest.trials()));
                text = format!(
                    "{}: {}, {}{}, {}; {order} order, seed {}{}\n",
                    plan.name,
                    counted(deployments, "deployment"),
                    fewest.unwrap_or_default(),
                    counted(trials, "trial"),
                    counted(steps, "step"),
                    plan.seed,
                    if plan.concurrency.together { "; the loads of a round begin together" } else { "" }
                );
                if summary { Ok(()) } else { writeln!(text).and_then(|()| graph::tree(&graph, &mut text)) }
            }
        }
        PlanCommand::Graph { plan } => {
            let format = match settings.format {
                OutputFormat::Mermaid => Format::Mermaid,
                OutputFormat::Json => Format::Json,
                // The option has no other values.
                _ => Format::Dot,
            };
            graph::render(&build(terminal, settings, &plan)?.1, format, &mut text)
        }
        // Needs the state, and was dispatched before.
        PlanCommand::Estimate { .. } => return Ok(Exit::Usage),
    };
    written.map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
    terminal.data(&text)?;
    Ok(Exit::Done)
}

pub(super) fn build(
    terminal: &Terminal,
    settings: &Settings,
    path: &std::path::Path,
) -> Result<(Plan, RunGraph), Failed> {
    let overrides = Overrides {
        params: settings.params.clone(),
        executor: settings.executor,
        seed: None,
        tolerances: sb_plan::plan::GivenTolerances::default(),
        environment: settings.environment.clone(),
    };
    let plan = accept(terminal, validate::plan(&Disk, &absolute(path), &overrides))?;
    let graph = graph::build(&plan, expand(&plan), Parts::ALL);
    Ok((plan, graph))
}
