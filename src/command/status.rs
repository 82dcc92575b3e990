//! What was done, and how far it is: `sb status`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Outcome;
use super::history::history;
use super::output::Failed;
use super::watch;
use crate::execute::{BackgroundRecord, is_alive};
use crate::exit_code::Exit;
use crate::run::{Request, find_run};
use crate::settings::Settings;
use crate::store::{Debt, DeploymentRow, RunRow, Store};
use crate::terminal::Terminal;
use crate::watch::Watched;
use crate::watch::overview::{Overview, describe};
use crate::workspace::Workspace;
use sb_plan::event::Verdict;
use sb_plan::graph::{Parts, RunGraph, Step};
use sb_plan::id::{RunId, StepId};
use sb_plan::run_state::StepState;

/// Runs that `sb status` lists.
const RUNS: usize = 20;
/// A run of more steps is summarized, unless all of them are asked for.
const STEPS: usize = 200;

/// The state of the workspace of the working directory, to look at it.
pub(super) fn open(terminal: &Terminal, settings: &Settings) -> Result<Store, Failed> {
    let workspace = settings.known_workspace()?;
    if workspace.folder() != settings.workspace_here().folder() {
        terminal.say(&format!("note: there is no state here; this is `{}`", workspace.folder().display()));
    }
    look(terminal, settings, &workspace)
}

/// The state of a workspace, to look at it.
pub(super) fn look(terminal: &Terminal, settings: &Settings, workspace: &Workspace) -> Result<Store, Failed> {
    terminal.complete_commands(|| settings.missing_in_commands(workspace));
    let store = Store::look(workspace)?;
    tell(terminal, store.notes());
    Ok(store)
}

/// What was wrong with the state.
pub(super) fn tell(terminal: &Terminal, notes: &[String]) {
    for note in notes {
        terminal.say(&format!("note: {note}"));
    }
}

/// The newest run.
pub(super) async fn last_run(store: &Store) -> Result<RunRow, Failed> {
    store.runs().await?.into_iter().next().ok_or_else(|| {
        Failed::helped(
            Exit::Failed,
            "there is no run in this workspace yet",
            "start one with `sb run PLAN` or `sb test`",
        )
    })
}

/// What a run is at, in a word or two, and what it waits for.
fn word(store: &Store, row: &RunRow, waits_for: Option<&str>) -> String {
    match (&row.ended, store.runner_of(&row.id), waits_for) {
        (Some((measurement, Verdict::None)), ..) => measurement.to_string(),
        (Some((Verdict::None, cleanup)), ..) => format!("cleanup {cleanup}"),
        (Some((measurement, cleanup)), ..) => format!("{measurement}; cleanup {cleanup}"),
        (None, Some(runner), Some(why)) => format!("waiting {why} (process {runner})"),
        (None, Some(runner), None) => format!("running (process {runner})"),
        (None, None, _) => "not ended: `sb resume` goes on".to_owned(),
    }
}

/// Which run a command means.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'a> {
    /// This one, by its id or a part of it.
    Named(&'a str),
    /// The newest that has this step: `sb cleanup` after a measurement is a run of its own.
    With(&'a str),
    /// The newest that is asked about: one that cleaned up well is not, and neither is one that only looked at what another had
    /// measured.
    Newest,
}

/// The run that is meant.
pub(super) async fn wanted_run(store: &Store, wanted: Wanted<'_>) -> Result<RunRow, Failed> {
    let is_wanted = |row: &RunRow| -> bool {
        let Ok(request) = Request::read(row) else { return false };
        match wanted {
            Wanted::With(step) => {
                let graph = request.rebuild(store, &row.id).map(|(_, graph)| graph);
                graph.is_ok_and(|graph| graph.graph.node_weights().any(|it| it.id.as_str().ends_with(step)))
            }
            _ => {
                let Parts { deploy, invoke, cleanup, .. } = request.parts;
                let measures = deploy || invoke;
                let cleaned = row.ended.is_some_and(|(_, cleanup)| cleanup == Verdict::Complete);
                measures || row.ended.is_none() || (cleanup && !cleaned)
            }
        }
    };
    match wanted {
        Wanted::Named(name) => Ok(find_run(store, name).await?),
        Wanted::With(_) | Wanted::Newest => {
            let found = store.runs().await?.into_iter().take(RUNS).find(is_wanted);
            match found {
                Some(row) => Ok(row),
                None => last_run(store).await,
            }
        }
    }
}

/// The run that a command means, ready to be watched: its plan is read as the run keeps it, its journal not yet.
pub(super) async fn watched(
    terminal: &Terminal,
    settings: &Settings,
    wanted: Wanted<'_>,
) -> Result<Watched, Failed> {
    let store = open(terminal, settings)?;
    let row = wanted_run(&store, wanted).await?;
    let mut watched = Watched::open(store.clone(), row)?;
    watched.history = history(&store, &watched.plan).await?;
    Ok(watched)
}

pub(super) async fn status(
    terminal: &Terminal,
    settings: &Settings,
    run: Option<String>,
    watch: bool,
    all: bool,
) -> Outcome {
    if watch {
        return watch::watch(
            terminal,
            settings,
            watched(terminal, settings, run.as_deref().map_or(Wanted::Newest, Wanted::Named)).await?,
        )
        .await;
    }
    if run.is_some() || all {
        let mut watched =
            watched(terminal, settings, run.as_deref().map_or(Wanted::Newest, Wanted::Named)).await?;
        watched.refresh(|_, _| {}).await?;
        return steps(terminal, settings, &watched, all);
    }
    let store = open(terminal, settings)?;
    let rows = store.runs().await?;
    let mut runs = Vec::new();
    for row in rows.iter().take(RUNS) {
        runs.push((row, store.awaited_by(&row.id).await?));
    }
    let deployments: Vec<_> =
        store.unpaid().await?.into_iter().filter(|row| row.debt == Debt::Owed).collect();
    if settings.json() {
        let runs: Vec<_> = runs
            .iter()
            .map(|(row, waits_for)| {
                json!({
                    "id": row.id,
                    "created_ms": row.created_ms,
                    "title": Request::read(row).map(|request| request.title()).ok(),
                    "runner": store.runner_of(&row.id),
                    "waits_for": waits_for,
                    "measurement": row.ended.map(|(measurement, _)| measurement),
                    "cleanup": row.ended.map(|(_, cleanup)| cleanup),
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
    for (row, waits_for) in &runs {
        let _ = writeln!(text, "{}  {}", row.id, word(&store, row, waits_for.as_deref()));
    }
    if rows.len() > RUNS {
        let _ = writeln!(text, "… and {} older ones (`sb runs --limit N`)", rows.len() - RUNS);
    }
    if !deployments.is_empty() {
        let _ = writeln!(text, "\nDeployed (cleanup owed):");
        for row in &deployments {
            let _ = writeln!(text, "  {}  {}", row.id, row.manifest.display());
            text.push_str(&background(terminal, store.workspace(), row));
        }
    }
    if !text.is_empty() {
        terminal.data(&text)?;
    }
    Ok(Exit::Done)
}

fn steps(terminal: &Terminal, settings: &Settings, watched: &Watched, all: bool) -> Outcome {
    if settings.json() {
        terminal.data(&format!("{:#}", steps_json(watched)))?;
        return Ok(Exit::Done);
    }
    if !all && watched.graph.graph.node_count() > STEPS {
        let mut text = watch::summary(watched, terminal.width()).join("\n");
        let _ = write!(text, "\n\nevery step: sb status {} --all", watched.row.id);
        terminal.data(&text)?;
        return Ok(Exit::Done);
    }
    let rest = watch::rest(watched);
    let mut text = format!("{}  {}{rest}\n", watched.row.id, watch::state_word(watched));
    let waits = watched.waits();
    for step in watched.steps() {
        let past = watched.past(step);
        let attempts = past.map_or(0, |past| past.attempts);
        let again = if attempts > 1 { format!(" (attempt {attempts})") } else { String::new() };
        let runs_on = if watched.runs_on(step) { ", runs in the background" } else { "" };
        let state = state_of(watched, step, &waits);
        let _ = writeln!(text, "  {:<44} {state}{runs_on}{again}", step.id);
    }
    terminal.data(&text)?;
    Ok(Exit::Done)
}

/// What a step is at, and what it waits for where another run keeps it.
fn state_of(watched: &Watched, step: &Step, waits: &BTreeMap<StepId, String>) -> String {
    let state = describe(watched.past(step).map(|past| &past.phase));
    waits.get(&step.id).map_or_else(|| state.clone(), |why| format!("{state} {why}"))
}

fn steps_json(watched: &Watched) -> Value {
    let waits = watched.waits();
    let steps: Vec<_> = watched
        .steps()
        .map(|step| {
            let past = watched.past(step);
            json!({
                "id": step.id,
                "action": step.action_name(),
                "state": state_of(watched, step, &waits),
                "in_background": watched.runs_on(step),
                "attempts": past.map_or(0, |past| past.attempts),
                "started_ms": past.and_then(|past| past.started_ms),
                "ended_ms": past.and_then(|past| past.ended_ms),
                "took_ms": past.and_then(StepState::duration_ms),
                "logs": past.and_then(|past| past.logs.clone()),
            })
        })
        .collect();
    json!({
        "version": 1,
        "run": watched.row.id,
        "state": watch::state_word(watched),
        "remaining_ms": watch::remaining_ms(watched),
        "waits_for": watched.waits_for(),
        "summary": Overview::of(watched),
        "steps": steps,
    })
}

/// A step by its id, or by an end of it that only one has.
pub(super) fn find_step<'a>(graph: &'a RunGraph, run: &RunId, name: &str) -> Result<&'a Step, Failed> {
    const NAMED: usize = 10;
    let steps = graph.graph.node_weights();
    let mut found: Vec<_> = steps.filter(|step| step.id.as_str().ends_with(name)).collect();
    if let Some(exact) = found.iter().position(|step| step.id.as_str() == name) {
        return Ok(found.swap_remove(exact));
    }
    match found.as_slice() {
        [step] => Ok(step),
        [] => {
            let help = format!("`sb status {run} --all` lists the steps");
            Err(Failed::helped(Exit::Usage, format!("{run} has no step `{name}`"), help))
        }
        _ => {
            let mut names: Vec<_> = found.iter().take(NAMED).map(|step| step.id.to_string()).collect();
            if found.len() > NAMED {
                names.push(format!("and {} more", found.len() - NAMED));
            }
            Err(Failed::helped(Exit::Usage, format!("`{name}` could be several steps"), names.join(", ")))
        }
    }
}

/// The background steps of a deployment, a line each.
pub(super) fn background(terminal: &Terminal, workspace: &Workspace, row: &DeploymentRow) -> String {
    let mut text = String::new();
    for record in BackgroundRecord::all(workspace, &row.id).unwrap_or_default() {
        let state = if is_alive(&record.folder(workspace)) { "runs" } else { "has ended" };
        let logs = terminal.command(&format!("logs {} --run {}", record.step, record.run));
        let _ = writeln!(text, "    background step `{}` {state} (`{logs}`)", record.name);
    }
    text
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
