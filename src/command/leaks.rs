//! `sb leaks`: deployments whose cleanup is owed, and containers that nobody waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::Outcome;
use super::output::Failed;
use super::status::{background, deployment_json, open};
use crate::container::{
    BACKGROUND_LABEL, ContainerError, Engine, Orphan, RUN_LABEL, STATE_LABEL, state_label,
};
use crate::exit_code::Exit;
use crate::run::{Request, What, engine_of, open_run_of};
use crate::settings::Settings;
use crate::store::{Debt, DeploymentRow, LockError, Store, expect_own};
use crate::terminal::Terminal;
use crate::workspace::{Workspace, quoted};
use sb_plan::id::{RunId, StepId};

/// Which containers are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remove {
    None,
    /// Those that nothing can take up again.
    Ended,
    /// Those of runs that can be resumed, too; never those of a live runner.
    All,
}

/// A container of this workspace whose run has no live runner.
struct Left {
    container: Orphan,
    run: RunId,
    of: Of,
}

/// What a left container's run is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Ended,
    /// A resumed run takes the container up again.
    Resumable,
    /// The state knows nothing of it: it was deleted, most likely.
    Unknown,
}

impl Of {
    fn word(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Resumable => "resumable",
            Self::Unknown => "unknown",
        }
    }
}

/// What the state knows of the runs.
struct EngineRuns {
    /// Whether each has ended.
    ended: BTreeMap<RunId, bool>,
    /// Engines of runs that have not ended and have no live runner.
    engines: BTreeMap<RunId, String>,
    any_engine: bool,
}

pub(super) async fn leaks(terminal: &Terminal, settings: &Settings, remove: Remove) -> Outcome {
    match known(terminal, settings, remove).await {
        Err(failed) if failed.exit == Exit::Store => {
            failed.show(terminal);
            recorded(terminal, settings)
        }
        outcome => outcome,
    }
}

/// Where the state cannot be read: what the records beside it say.
fn recorded(terminal: &Terminal, settings: &Settings) -> Outcome {
    let workspace = settings.known_workspace()?;
    if expect_own(&workspace).is_err() {
        return Ok(Exit::Store);
    }
    let (rows, damaged) = Store::recorded(&workspace)?;
    if settings.json() {
        let rows: Vec<_> = rows.iter().map(deployment_json).collect();
        let all = json!({ "version": 1, "complete": false, "deployments": rows, "damaged": damaged, "containers": [] });
        terminal.data(&format!("{all:#}"))?;
    } else {
        let mut text = String::new();
        for row in &rows {
            let _ = writeln!(text, "{}  {}", row.id, row.manifest.display());
            let _ = writeln!(
                text,
                "  owed by its record; when the state is mended, `sb leaks` says how it is paid"
            );
        }
        for id in &damaged {
            let _ = writeln!(text, "{id}\n  may be owed: its record is damaged");
        }
        terminal.data(&text)?;
    }
    Ok(if rows.is_empty() && damaged.is_empty() { Exit::Store } else { Exit::CleanupOwed })
}

async fn known(terminal: &Terminal, settings: &Settings, remove: Remove) -> Outcome {
    let store = open(terminal, settings)?;
    let mut owed = Vec::new();
    let rows = store.unpaid().await?;
    for row in &rows {
        // What a live runner works on is not leaked.
        if row.debt == Debt::Owed && store.runner_of(&row.run).is_none() {
            owed.push(row.clone());
        }
    }
    let in_use = rows.iter().filter(|row| row.debt == Debt::Owed).count() - owed.len();
    let runs = runs(&store).await?;
    let (left, blind) = match containers(terminal, &store, &rows, &runs, remove).await {
        Ok(found) => found,
        Err(error) => {
            terminal.say(&format!("note: containers were not looked for: {error}"));
            (vec![], !runs.engines.is_empty())
        }
    };
    if settings.json() {
        let mut rows = Vec::new();
        for row in &owed {
            let mut value = deployment_json(row);
            value["kept_because"] = json!(kept(&store, row).await?);
            rows.push(value);
        }
        let containers: Vec<_> = left.iter().map(container_json).collect();
        let all = json!({ "version": 1, "deployments": rows, "containers": containers });
        terminal.data(&format!("{all:#}"))?;
    } else if owed.is_empty() && left.is_empty() {
        if !store.workspace().database().exists() {
            terminal.say(&format!(
                "nothing was run yet in {}: there is no deployment to know of",
                store.folder().display()
            ));
        } else if in_use > 0 {
            terminal.say(&format!(
                "nothing is left behind; deployments of runs that go on: {in_use} (`{}` lists them)",
                terminal.command("status")
            ));
        } else if !blind {
            terminal.say("nothing is owed: every deployment was cleaned up, and no container is left");
        }
    } else {
        let mut text = String::new();
        for row in &owed {
            let _ = writeln!(text, "{}  {}", row.id, row.manifest.display());
            text.push_str(&background(terminal, store.workspace(), row));
            if let Some(because) = kept(&store, row).await? {
                let _ = writeln!(
                    text,
                    "  kept on failure: {because} failed (`{}`)",
                    terminal.command(&format!("why {because} --run {}", row.run))
                );
            }
            let _ = writeln!(text, "  {}", way_out(terminal, &store, row).await?);
        }
        for left in &left {
            let running = if left.container.running { "running" } else { "not running" };
            let _ = writeln!(text, "container {}  {running}", left.container.name);
            let run = &left.run;
            let _ = match left.of {
                Of::Ended => writeln!(
                    text,
                    "  its run {run} has ended; remove it with: {}",
                    terminal.command("leaks --remove")
                ),
                Of::Unknown => {
                    writeln!(
                        text,
                        "  the state does not know its run {run}; remove it with: {}",
                        terminal.command("leaks --remove")
                    )
                }
                Of::Resumable => writeln!(
                    text,
                    "  belongs to run {run}, which can be resumed: {} ({} ends it)",
                    terminal.command(&format!("resume {run}")),
                    terminal.command("leaks --remove --force"),
                ),
            };
        }
        terminal.data(&text)?;
    }
    let clean = owed.is_empty() && left.is_empty() && !blind;
    Ok(if clean { Exit::Done } else { Exit::CleanupOwed })
}

async fn runs(store: &Store) -> Result<EngineRuns, Failed> {
    let mut runs = EngineRuns { ended: BTreeMap::new(), engines: BTreeMap::new(), any_engine: false };
    for row in store.runs().await? {
        let ended = row.ended.is_some();
        if let Some(engine) = engine_of(store, &row.id) {
            runs.any_engine = true;
            if !ended && store.runner_of(&row.id).is_none() {
                runs.engines.insert(row.id.clone(), engine);
            }
        }
        runs.ended.insert(row.id, ended);
    }
    Ok(runs)
}

/// The containers that are left when those that should be are removed, and whether some may be where we cannot look.
async fn containers(
    terminal: &Terminal,
    store: &Store,
    rows: &[DeploymentRow],
    runs: &EngineRuns,
    remove: Remove,
) -> Result<(Vec<Left>, bool), ContainerError> {
    if !runs.any_engine && remove == Remove::None {
        return Ok((vec![], false));
    }
    let engine = Engine::connect().await?;
    let mut blind = false;
    for (run, host) in runs.engines.iter().filter(|(_, host)| *host != engine.host()) {
        blind = true;
        terminal.say(&format!(
            "note: run {run} has its containers on another container engine; look there with: DOCKER_HOST={host} sb leaks"
        ));
    }
    let mine = state_label(store.folder());
    let owed: BTreeSet<&str> =
        rows.iter().filter(|row| row.debt == Debt::Owed).map(|row| row.id.as_str()).collect();
    let mut left = Vec::new();
    for container in engine.list_orphans(RUN_LABEL, None).await? {
        let run = RunId::new(container.labels.get(RUN_LABEL).map_or("", String::as_str));
        let ended = runs.ended.get(&run).copied();
        // A copy knows the runs of its original, whose containers are none of its own.
        if (ended.is_none() || store.expect_original().is_err())
            && container.labels.get(STATE_LABEL) != Some(&mine)
        {
            continue;
        }
        if store.runner_of(&run).is_some() {
            continue;
        }
        // It goes with its deployment.
        if container.labels.get(BACKGROUND_LABEL).is_some_and(|deployment| owed.contains(deployment.as_str()))
        {
            continue;
        }
        let of = match ended {
            Some(true) => Of::Ended,
            Some(false) => Of::Resumable,
            None => Of::Unknown,
        };
        left.push(Left { container, run, of });
    }
    let mut kept = Vec::new();
    for one in left {
        let wanted = match one.of {
            Of::Ended | Of::Unknown => remove != Remove::None,
            Of::Resumable => remove == Remove::All,
        };
        // A runner that takes the run up meanwhile keeps its container.
        let lock = match one.of {
            Of::Ended | Of::Resumable if wanted => match store.lock_run(&one.run) {
                Ok(lock) => Some(lock),
                Err(LockError::Held { .. }) => continue,
                Err(LockError::Io { .. }) => None,
            },
            _ => None,
        };
        if wanted {
            engine.remove(&one.container.id).await?;
            terminal.say(&format!("removed container {}", one.container.name));
        } else {
            kept.push(one);
        }
        drop(lock);
    }
    Ok((kept, blind))
}

fn container_json(left: &Left) -> serde_json::Value {
    let label = |name: &str| left.container.labels.get(name);
    json!({
        "id": left.container.id,
        "name": left.container.name,
        "running": left.container.running,
        "run": left.run,
        "run_is": left.of.word(),
        "step": label("sb.step"),
        "attempt": label("sb.attempt").and_then(|number| number.parse::<u32>().ok()),
    })
}

/// The step whose failure a deployment is kept for, if it is.
async fn kept(store: &Store, row: &DeploymentRow) -> Result<Option<StepId>, Failed> {
    Ok(store.state(&row.run).await?.kept.remove(&row.id))
}

/// Whether a run cleans up at its end.
async fn pays(store: &Store, run: &RunId) -> Result<bool, Failed> {
    let row = store.run(run).await?;
    Ok(row.map(|row| Request::read(&row)).transpose()?.is_some_and(|request| request.parts.cleanup))
}

/// How the debt of a deployment is paid.
async fn way_out(terminal: &Terminal, store: &Store, row: &DeploymentRow) -> Result<String, Failed> {
    if let Some(original) = store.original() {
        return Ok(format!("owed by the original: sb leaks --state-dir {}", quoted(original)));
    }
    if let Some(take_over) = store.take_over() {
        let again = terminal.command("leaks");
        return Ok(format!(
            "owed by the original, wherever it is; if it is gone: touch {} && {again}",
            quoted(take_over)
        ));
    }
    let Some(run) = store.run(&row.run).await? else { return Ok("its run is not known".to_owned()) };
    let state = store.state(&row.run).await?;
    let ended = run.ended.is_some();
    let request = Request::read(&run)?;
    let resume = |run: &RunId| terminal.command(&format!("resume {run}"));
    Ok(match &request.what {
        _ if ended && state.kept.contains_key(&row.id) => {
            format!("remove it with: {}", terminal.command(&format!("cleanup {}", row.run)))
        }
        _ if state.changing => {
            format!("pay with: {}", terminal.command(&format!("resume {} --accept-changes", row.run)))
        }
        What::Plan { .. } if ended => {
            let status = terminal.command(&format!("status {}", row.run));
            format!("its cleanup failed (see `{status}`); try it again with: {}", resume(&row.run))
        }
        What::Plan { .. } => format!("pay with: {}", resume(&row.run)),
        What::Single { manifest, target, deployment, .. } => match open_run_of(store, deployment).await? {
            // A part of the life cycle without a cleanup goes on with its own work, and pays nothing.
            Some(open) if !pays(store, &open).await? => {
                format!("pay with: {}", terminal.command(&format!("cleanup {open}")))
            }
            Some(open) => format!("pay with: {}", resume(&open)),
            // The state keeps what its cleanup needs.
            None if !manifest.is_file() => {
                format!("pay with: {}", terminal.command(&format!("cleanup {}", row.run)))
            }
            None => {
                let (manifest, target) = (quoted(manifest), quoted(Path::new(target)));
                let executor =
                    request.executor.map_or_else(String::new, |word| format!(" --executor {word}"));
                let state = if Workspace::of(&row.manifest).folder() == store.folder() {
                    String::new()
                } else {
                    format!(" --state-dir {}", quoted(store.folder()))
                };
                format!("pay with: sb cleanup --file {manifest} --target {target}{executor}{state}")
            }
        },
    })
}
