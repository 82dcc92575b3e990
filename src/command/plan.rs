//! `sb plan show` and `sb plan graph`.

use super::Outcome;
use super::output::{Failed, accept};
use crate::cli::{OutputFormat, PlanCommand};
use crate::exit_code::Exit;
use crate::graph::{self, Format, Parts, RunGraph};
use crate::manifest::read::Disk;
use crate::plan::expand;
use crate::settings::{Settings, absolute};
use crate::terminal::Terminal;
use crate::validate::{self, Overrides, Plan};

pub(super) fn plan(terminal: &Terminal, settings: &Settings, command: PlanCommand) -> Outcome {
    let mut text = String::new();
    let written = match command {
        PlanCommand::Show { plan } => {
            let (plan, graph) = build(terminal, settings, &plan)?;
            if settings.json() {
                graph::render(&graph, Format::Json, &mut text)
            } else {
                let trials: usize = graph.deployments.iter().map(|deployment| deployment.trials.len()).sum();
                text = format!(
                    "{}: {} deployments, {trials} trials, {} steps; {} order, seed {}\n\n",
                    plan.name,
                    graph.deployments.len(),
                    graph.graph.node_count(),
                    serde_json::to_value(plan.order)
                        .ok()
                        .and_then(|o| o.as_str().map(str::to_owned))
                        .unwrap_or_default(),
                    plan.seed
                );
                graph::tree(&graph, &mut text)
            }
        }
        PlanCommand::Graph { plan } => {
            let format = match settings.format {
                OutputFormat::Text
                | OutputFormat::Dot
                | OutputFormat::Parquet
                | OutputFormat::Csv
                | OutputFormat::K6 => Format::Dot,
                OutputFormat::Mermaid => Format::Mermaid,
                OutputFormat::Json => Format::Json,
            };
            graph::render(&build(terminal, settings, &plan)?.1, format, &mut text)
        }
    };
    written.map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
    terminal.data(&text)?;
    Ok(Exit::Done)
}

fn build(
    terminal: &Terminal,
    settings: &Settings,
    path: &std::path::Path,
) -> Result<(Plan, RunGraph), Failed> {
    let overrides = Overrides {
        params: settings.params.clone(),
        executor: settings.executor,
        seed: None,
        environment: settings.environment.clone(),
    };
    let plan = accept(terminal, validate::plan(&Disk, &absolute(path), &overrides))?;
    let graph = graph::build(&plan, expand(&plan), Parts::ALL);
    Ok((plan, graph))
}
