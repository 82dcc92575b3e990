//! What was done: `sb status`, `report`, `logs`, and the end of a run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::Outcome;
use super::engine::{Request, What};
use super::output::Failed;
use crate::event::Verdict;
use crate::execute::{Execute as _, Executor};
use crate::exit_code::Exit;
use crate::graph::{RunGraph, Step};
use crate::id::RunId;
use crate::report::{summary, table};
use crate::run_state::{RunState, StepPhase};
use crate::schedule::Naming;
use crate::settings::Settings;
use crate::store::{Debt, DeploymentRow, RunRow, Store};
use crate::terminal::{Style, Terminal};
use crate::validate::Plan;

pub(super) fn open(settings: &Settings) -> Result<Store, Failed> {
    Ok(Store::open(&settings.state_folder(Path::new(".")))?)
}

/// A run by its id, or by a part of it that only one has.
pub(super) async fn find_run(store: &Store, name: &str) -> Result<RunRow, Failed> {
    let mut found: Vec<_> =
        store.runs().await?.into_iter().filter(|row| row.id.as_str().contains(name)).collect();
    if let Some(exact) = found.iter().position(|row| row.id.as_str() == name) {
        return Ok(found.swap_remove(exact));
    }
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => Err(Failed::helped(
            Exit::Usage,
            format!("there is no run `{name}`"),
            "`sb status` lists the runs",
        )),
        _ => {
            let names: Vec<_> = found.iter().map(|row| row.id.to_string()).collect();
            Err(Failed::helped(Exit::Usage, format!("`{name}` could be several runs"), names.join(", ")))
        }
    }
}

pub(super) async fn last_run(store: &Store) -> Result<RunRow, Failed> {
    store.runs().await?.into_iter().next().ok_or_else(|| {
        Failed::helped(
            Exit::Failed,
            "there is no run in this workspace yet",
            "start one with `sb run PLAN` or `sb test`",
        )
    })
}

/// The last run that sent load.
async fn last_measured(store: &Store) -> Result<RunRow, Failed> {
    for row in store.runs().await? {
        if Request::read(&row)?.parts.invoke {
            return Ok(row);
        }
    }
    last_run(store).await
}

/// What a run is at, in a word or two.
fn word(store: &Store, run: &RunId, state: &RunState) -> String {
    match (&state.ended, store.runner_of(run)) {
        (Some((measurement, Verdict::None)), _) => measurement.to_string(),
        (Some((Verdict::None, cleanup)), _) => format!("cleanup {cleanup}"),
        (Some((measurement, cleanup)), _) => format!("{measurement}; cleanup {cleanup}"),
        (None, Some(runner)) => format!("running (process {runner})"),
        (None, None) => "not ended: `sb resume` goes on".to_owned(),
    }
}

pub(super) async fn status(terminal: &Terminal, settings: &Settings, run: Option<String>) -> Outcome {
    let store = open(settings)?;
    if let Some(run) = run {
        let row = find_run(&store, &run).await?;
        return steps(terminal, settings, &store, &row).await;
    }
    const SHOWN: usize = 20;
    let rows = store.runs().await?;
    let mut runs = Vec::new();
    for row in rows.iter().take(SHOWN) {
        let state = RunState { ended: row.ended, ..RunState::default() };
        runs.push((row, word(&store, &row.id, &state), state));
    }
    let deployments: Vec<_> =
        store.deployments().await?.into_iter().filter(|row| row.debt == Debt::Owed).collect();
    if settings.json() {
        let runs: Vec<_> = runs
            .iter()
            .map(|(row, _, state)| {
                json!({
                    "id": row.id,
                    "created_ms": row.created_ms,
                    "title": Request::read(row).map(|request| request.title()).ok(),
                    "runner": store.runner_of(&row.id),
                    "measurement": state.ended.map(|(measurement, _)| measurement),
                    "cleanup": state.ended.map(|(_, cleanup)| cleanup),
                })
            })
            .collect();
        let deployments: Vec<_> = deployments.iter().map(deployment_json).collect();
        let all = json!({ "version": 1, "runs": runs, "deployments": deployments });
        terminal.data(&format!("{all:#}"))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    if runs.is_empty() {
        terminal.say(&format!("no runs yet in {}", store.folder().display()));
    }
    for (row, word, _) in &runs {
        let _ = writeln!(text, "{}  {word}", row.id);
    }
    if rows.len() > SHOWN {
        let _ = writeln!(text, "… and {} older ones", rows.len() - SHOWN);
    }
    if !deployments.is_empty() {
        let _ = writeln!(text, "\nDeployed (cleanup owed):");
        for row in &deployments {
            let _ = writeln!(text, "  {}  {}", row.id, row.manifest.display());
        }
    }
    if !text.is_empty() {
        terminal.data(&text)?;
    }
    Ok(Exit::Done)
}

async fn steps(terminal: &Terminal, settings: &Settings, store: &Store, row: &RunRow) -> Outcome {
    let state = store.state(&row.id).await?;
    let (_, graph) = Request::read(row)?.rebuild(terminal, store, &row.id)?;
    let describe = |phase: Option<&StepPhase>| match phase {
        None | Some(StepPhase::Waiting) => "waiting".to_owned(),
        Some(StepPhase::Running) => "running".to_owned(),
        Some(StepPhase::Retrying(outcome)) => format!("to be tried again; last attempt {outcome}"),
        Some(StepPhase::Ended(outcome)) => outcome.to_string(),
    };
    if settings.json() {
        let steps: Vec<_> = graph
            .graph
            .node_weights()
            .map(|step| {
                let past = state.step(&step.id);
                json!({
                    "id": step.id,
                    "action": step.action_name(),
                    "state": describe(past.map(|past| &past.phase)),
                    "attempts": past.map_or(0, |past| past.attempts),
                    "started_ms": past.and_then(|past| past.started_ms),
                    "ended_ms": past.and_then(|past| past.ended_ms),
                    "logs": past.and_then(|past| past.logs.clone()),
                })
            })
            .collect();
        let all =
            json!({ "version": 1, "run": row.id, "state": word(store, &row.id, &state), "steps": steps });
        terminal.data(&format!("{all:#}"))?;
        return Ok(Exit::Done);
    }
    let mut text = format!("{}  {}\n", row.id, word(store, &row.id, &state));
    for step in graph.graph.node_weights() {
        let past = state.step(&step.id);
        let attempts = past.map_or(0, |past| past.attempts);
        let again = if attempts > 1 { format!(" (attempt {attempts})") } else { String::new() };
        let _ = writeln!(text, "  {:<44} {}{again}", step.id, describe(past.map(|past| &past.phase)));
    }
    terminal.data(&text)?;
    Ok(Exit::Done)
}

pub(super) fn deployment_json(row: &DeploymentRow) -> serde_json::Value {
    json!({
        "id": row.id,
        "run": row.run,
        "benchmark": row.benchmark,
        "target": row.target,
        "manifest": row.manifest,
        "opened_ms": row.opened_ms,
        "debt": row.debt,
        "params": row.params,
        "outputs": row.outputs,
        "logs": row.logs,
    })
}

pub(super) async fn logs(
    terminal: &Terminal,
    settings: &Settings,
    step: &str,
    run: Option<String>,
) -> Outcome {
    let store = open(settings)?;
    let row = match run {
        Some(name) => find_run(&store, &name).await?,
        None => last_run(&store).await?,
    };
    let state = store.state(&row.id).await?;
    let (plan, graph) = Request::read(&row)?.rebuild(terminal, &store, &row.id)?;
    let step = find_step(&graph, &row.id, step)?;
    let attempt = state.step(&step.id).map_or(0, |past| past.attempts);
    let place = plan.executor.unwrap_or(crate::validate::Executor::Docker);
    let executor = Executor::new(place, store.folder().to_owned(), PathBuf::new());
    let log = executor.log_of(&row.id, step, attempt);
    let text = std::fs::read(&log).map_err(|error| {
        Failed::message(Exit::Failed, format!("{} has no log ({}: {error})", step.id, log.display()))
    })?;
    terminal.data(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

/// A step by its id, or by an end of it that only one has.
pub(super) fn find_step<'a>(graph: &'a RunGraph, run: &RunId, name: &str) -> Result<&'a Step, Failed> {
    let mut found: Vec<_> =
        graph.graph.node_weights().filter(|known| known.id.as_str().ends_with(name)).collect();
    if let Some(exact) = found.iter().position(|known| known.id.as_str() == name) {
        found = vec![found.swap_remove(exact)];
    }
    let names = || found.iter().map(|step| step.id.to_string()).collect::<Vec<_>>().join(", ");
    match found.as_slice() {
        [step] => Ok(*step),
        [] => {
            let help = format!("`sb status {run}` lists the steps");
            Err(Failed::helped(Exit::Usage, format!("{run} has no step `{name}`"), help))
        }
        _ => Err(Failed::helped(Exit::Usage, format!("`{name}` could be several steps"), names())),
    }
}

pub(super) async fn report(terminal: &Terminal, settings: &Settings, what: &[PathBuf]) -> Outcome {
    if !what.is_empty() && what.iter().all(|path| path.is_dir()) {
        return show_report(terminal, settings, &BTreeMap::from([("invocations".to_owned(), what.to_vec())]));
    }
    let store = open(settings)?;
    let row = match what {
        [] => last_measured(&store).await?,
        [name] => find_run(&store, &name.to_string_lossy()).await?,
        _ => return Err(Failed::message(Exit::Usage, "name one run, or folders of invocations")),
    };
    let state = store.state(&row.id).await?;
    let (plan, graph) = Request::read(&row)?.rebuild(terminal, &store, &row.id)?;
    show_report(terminal, settings, &folders(&plan, &graph, &state))
}

/// The folder of the last invocation of the workspace's last run that has traces.
pub(super) async fn last_traces(terminal: &Terminal, settings: &Settings) -> Result<PathBuf, Failed> {
    let store = open(settings)?;
    for row in store.runs().await? {
        let state = store.state(&row.id).await?;
        let (plan, graph) = Request::read(&row)?.rebuild(terminal, &store, &row.id)?;
        let found = folders(&plan, &graph, &state)
            .into_values()
            .flatten()
            .rfind(|folder| crate::trace::input::NAMES.iter().any(|name| folder.join(name).is_file()));
        if let Some(folder) = found {
            return Ok(folder);
        }
    }
    Err(Failed::helped(
        Exit::Failed,
        "no invocation of this workspace has traces yet",
        "fetch them with `sb get-traces`, or name a file of traces",
    ))
}

/// The folders of a run's last invocations, by application.
fn folders(plan: &Plan, graph: &RunGraph, state: &RunState) -> BTreeMap<String, Vec<PathBuf>> {
    let mut folders: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for step in graph.graph.node_weights().filter(|step| step.trial.is_some()) {
        if let Some(logs) = state.step(&step.id).and_then(|past| past.logs.clone()) {
            let entry = &plan.entries[graph.deployments[step.deployment].entry];
            let known = folders.entry(entry.application.clone()).or_default();
            if !known.contains(&logs) {
                known.push(logs);
            }
        }
    }
    folders
}

fn show_report(
    terminal: &Terminal,
    settings: &Settings,
    folders: &BTreeMap<String, Vec<PathBuf>>,
) -> Outcome {
    let mut summaries = Vec::new();
    for (application, folders) in folders {
        let measured: Vec<_> = folders
            .iter()
            .filter(|folder| folder.join(crate::measurement::INVOCATIONS_FILE).exists())
            .cloned()
            .collect();
        if measured.is_empty() {
            continue;
        }
        summaries.push(
            summary::summarize(application, &measured)
                .map_err(|error| Failed::message(Exit::Failed, error.to_string()))?,
        );
    }
    if summaries.is_empty() {
        terminal.say("nothing was measured");
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    if settings.json() {
        let _ = write!(text, "{:#}", json!({ "version": 1, "applications": summaries }));
    } else {
        let style = if terminal.coloured { table::Style::Coloured } else { table::Style::Plain };
        table::render(&mut text, &summaries, style)
            .map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
    }
    terminal.data(&text)?;
    Ok(Exit::Done)
}

/// The end of a run: what was measured, where it is, what is owed.
pub(super) async fn finish(
    terminal: &Terminal,
    settings: &Settings,
    store: &Store,
    run: &RunId,
    measurement: Verdict,
    cleanup: Verdict,
) -> Outcome {
    let Some(row) = store.run(run).await? else { return Ok(Exit::of_run(measurement, cleanup)) };
    let request = Request::read(&row)?;
    let state = store.state(run).await?;
    let (plan, graph) = request.rebuild(terminal, store, run)?;
    let folders = folders(&plan, &graph, &state);
    if request.parts.invoke || request.parts.analyze {
        show_report(terminal, settings, &folders)?;
    }
    if request.parts.deploy && !request.parts.cleanup && !settings.json() {
        show_outputs(terminal, store, &request, &graph, run).await?;
    }
    let mut written = Vec::new();
    for folder in folders.values().flatten() {
        written.push(format!("{}/", folder.display()));
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .map(|items| {
                items.flatten().map(|item| item.file_name().to_string_lossy().into_owned()).collect()
            })
            .unwrap_or_default();
        names.sort();
        written.push(format!("    {}", names.join("  ")));
    }
    if !written.is_empty() {
        terminal.say(&format!("{}\n  {}", terminal.paint(Style::Strong, "wrote"), written.join("\n  ")));
    }
    let exit = Exit::of_run(measurement, cleanup);
    let style = if exit == Exit::Done { Style::Good } else { Style::Bad };
    let cleaned = if cleanup == Verdict::None { String::new() } else { format!("; cleanup {cleanup}") };
    let measured = if measurement == Verdict::None { String::new() } else { format!(" {measurement}") };
    let text = format!("run {run}:{measured}{cleaned}");
    terminal.say(&terminal.paint(style, text.replace(":;", ":").as_str()));
    if request.parts.deploy && !request.parts.cleanup && exit != Exit::Done {
        terminal.say("what was deployed is still there: `sb cleanup` removes it");
    }
    if exit == Exit::CleanupOwed {
        let text = match cleanup {
            Verdict::Kept => format!("what failed is still deployed: `sb cleanup {run}` removes it"),
            _ => "something may still be deployed: `sb leaks` lists it".to_owned(),
        };
        terminal.say(&text);
    }
    Ok(exit)
}

async fn show_outputs(
    terminal: &Terminal,
    store: &Store,
    request: &Request,
    graph: &RunGraph,
    run: &RunId,
) -> Result<(), Failed> {
    let naming = match &request.what {
        What::Plan { .. } => Naming::OfRun,
        What::Single { deployment, .. } => Naming::Named(deployment.clone()),
    };
    for deployment in &graph.deployments {
        if let Some(row) = store.deployment(&naming.name(run, deployment)).await? {
            for (name, value) in &row.outputs {
                terminal.data(&format!("{name} = {}", crate::manifest::template::plain_text(value)))?;
            }
        }
    }
    Ok(())
}
