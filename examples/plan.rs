//! Reads a plan and says what a run of it would do: `cargo run --example plan -- plans/quickstart.toml`.
//!
//! It uses nothing of `sb` but the crates `sb-plan` and `sb-workload`: no run is started, and nothing is stored. A plan
//! with problems ends it with exit code 3.

use std::fmt::{self, Write};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sb_plan::graph::{Parts, RunGraph, build};
use sb_plan::manifest::problem::Problem;
use sb_plan::manifest::read::Disk;
use sb_plan::plan::{Overrides, Plan, expand};
use sb_plan::validate;
use sb_workload::schedule::planned;

fn main() -> io::Result<ExitCode> {
    let path =
        std::env::args_os().nth(1).map_or_else(|| PathBuf::from("plans/quickstart.toml"), PathBuf::from);
    let (text, code) = match describe(&path) {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(text) => (text, ExitCode::from(3)),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(code)
}

/// What a run of the plan does, or what is wrong with the plan.
fn describe(path: &Path) -> Result<String, String> {
    let checked = validate::plan(&Disk, path, &Overrides::default());
    let (plan, warnings) = checked.into_result().map_err(|problems| listed(&problems))?;
    let run = build(&plan, expand(&plan), Parts::ALL);
    let mut text = listed(&warnings);
    write_run(&plan, &run, &mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

/// One line per problem, as compilers write them, with the way out below.
fn listed(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        if let Some(source) = &problem.source {
            text += &format!("{}:", source.path.display());
        }
        if let Some((line, column)) = problem.line_column() {
            text += &format!("{line}:{column}:");
        }
        text += &format!(" {} [{}]\n", problem.message, problem.code);
        if let Some(help) = &problem.help {
            text += &format!("  {help}\n");
        }
    }
    text
}

fn write_run(plan: &Plan, run: &RunGraph, out: &mut impl Write) -> fmt::Result {
    writeln!(out, "{}: {} steps, executor {}", plan.name, run.graph.node_count(), plan.executor)?;
    for (index, deployment) in run.deployments.iter().enumerate() {
        let entry = &plan.entries[deployment.entry];
        let point = &entry.points[deployment.point];
        let load = planned(&point.load);
        writeln!(out, "\n{} ({} on {})", deployment.key, entry.benchmark.name, entry.target)?;
        match load.total() {
            Some(total) => write!(out, "  load: {total} invocations")?,
            None => write!(out, "  load: as many invocations as the answers allow")?,
        }
        match load.length() {
            Some(length) => writeln!(out, " in {length:?}")?,
            None => writeln!(out)?,
        }
        for trial in &deployment.trials {
            writeln!(out, "  trial {}", trial.id)?;
        }
        for node in run.graph.node_indices().filter(|&node| run.graph[node].deployment == index) {
            let step = &run.graph[node];
            let waits = run.graph.neighbors_directed(node, petgraph::Incoming).count();
            writeln!(out, "  step {} ({}), waits for {waits}", step.id, step.action_name())?;
        }
    }
    Ok(())
}
