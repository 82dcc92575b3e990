//! Background steps: commands that a deployment needs beside it, such as a database, alive from their deploy step to the
//! end of the deployment's cleanup.
//!
//! The attempt is like any other: a supervised process or a labelled container, with a folder of its own. But its
//! step ends when the command is ready. From then on, [`record`] leads every runner and command from the deployment
//! to the attempt. [`living`] ends the steps beside it when it ends.

pub(super) mod living;
mod ready;
pub(super) mod record;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::living::{BackgroundEnd, Ends, ended};
use self::ready::Probe;
use self::record::{BackgroundContainer, BackgroundRecord, last_lines};
use super::command::{self, GRACE, PreparedCommand};
use super::docker::{self, Begun};
use super::step::StepPerformer;
use super::{Attempt, Finished, throttling};
use crate::attempt::hide_in_folder;
use crate::command_exit::{CommandExit, Found};
use crate::container::{ContainerError, Engine};
use crate::host::{self, HostCommand, HostError};
use sb_plan::benchmark::{Action, Background, ManifestStep, Target};
use sb_plan::event::{FailureClass, Outcome};
use sb_plan::plan::Executor;

/// Of a log that grows for days, so many bytes are kept.
pub(super) const LOG_LIMIT: u64 = 16 << 20;

const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Starts the command, and returns when it is ready; it runs on.
pub(super) async fn start(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    what: &Background,
    folder: &Path,
) -> Finished {
    match try_start(performer, attempt, step, what, folder).await {
        Ok(finished) => finished,
        Err(outcome) => command::finished(attempt, step, throttling::told_apart(outcome, folder), folder),
    }
}

async fn try_start(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    what: &Background,
    folder: &Path,
) -> Result<Finished, Outcome> {
    let prepared = command::prepare(attempt, &what.command, &step.environment, None)
        .map_err(|error| Outcome::failed(FailureClass::Step, error.to_string()))?;
    let on_host = performer.executor == Executor::Host;
    let probe = Probe::of(attempt, &what.ready, on_host)?;
    let workspace = &performer.workspace;
    let deployment = &attempt.deployment.id;
    let before = BackgroundRecord::read(workspace, deployment, &step.name).map_err(cannot_record)?;
    // Of an attempt that failed, or of an earlier deployment of the same name.
    if let Some(before) = before.filter(|it| !it.is_of(&attempt.run, &attempt.step.id, attempt.number)) {
        stop_recorded(performer, attempt, &before).await?;
    }
    if !attempt.reattach
        && let Some(taken) = probe.is_taken().await
    {
        return Err(Outcome::failed(FailureClass::NotStarted, taken));
    }
    let container = if on_host {
        None
    } else {
        let engine = performer.reach_engine().await.map_err(|error| container_failed(&error))?;
        Some(BackgroundContainer { name: docker::name(attempt, folder), engine: engine.host().to_owned() })
    };
    let mut record =
        BackgroundRecord::new(&step.name, &attempt.run, &attempt.step.id, attempt.number, container);
    record.write(workspace, deployment).map_err(cannot_record)?;
    if on_host {
        begin_process(performer, attempt, prepared, folder).await?;
    } else {
        begin_container(performer, attempt, step, &prepared, folder).await?;
    }
    let ends = performer.ends_of(&record).await.map_err(|error| container_failed(&error))?;
    let waited = until_ready(performer, attempt, step, what, &probe, ends, folder).await;
    let recorded = match waited {
        Ok(finished) => {
            record.ready = true;
            record.write(workspace, deployment).map_err(cannot_record).map(|()| finished)
        }
        Err(outcome) => Err(outcome),
    };
    match recorded {
        Ok(finished) => Ok(finished),
        // It failed, so nothing of it may run on.
        Err(outcome) => {
            stop_recorded(performer, attempt, &record).await?;
            Err(outcome)
        }
    }
}

/// Under a supervisor of its own, or taken up again.
async fn begin_process(
    performer: &StepPerformer,
    attempt: &Attempt,
    prepared: PreparedCommand,
    folder: &Path,
) -> Result<(), Outcome> {
    let command = HostCommand {
        argv: prepared.argv,
        env: prepared.env,
        clear_env: false,
        workdir: prepared.workdir,
        timeout: None,
        grace: GRACE,
        log_limit: Some(LOG_LIMIT),
        ends_sessions: true,
        asks_leader: false,
    };
    let not_started = |error: HostError| Outcome::failed(FailureClass::NotStarted, error.to_string());
    let found = if attempt.reattach { host::look(folder).map_err(not_started)? } else { Found::NotStarted };
    match found {
        Found::Gone => Err(Outcome::Interrupted),
        // Claimed or not: that nobody claimed it may be what the restart left of it.
        Found::NotStarted if attempt.lost_boot => Err(Outcome::Interrupted),
        Found::Running | Found::Ended(_) => Ok(()),
        Found::NotStarted => match performer.background_supervisors.start(folder, &command).await {
            Ok(_) | Err(HostError::AlreadyStarted { .. }) => Ok(()),
            Err(error) => Err(not_started(error)),
        },
    }
}

async fn begin_container(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    prepared: &PreparedCommand,
    folder: &Path,
) -> Result<(), Outcome> {
    match docker::begin_patiently(performer, attempt, prepared, &step.environment, folder).await {
        Ok(Begun::Running | Begun::Ended(_)) => Ok(()),
        Ok(Begun::Gone) => Err(Outcome::Interrupted),
        Ok(Begun::Cancelled) => Err(Outcome::Cancelled),
        Err(error) => Err(container_failed(&error)),
    }
}

async fn until_ready(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    what: &Background,
    probe: &Probe,
    mut ends: Ends,
    folder: &Path,
) -> Result<Finished, Outcome> {
    let give_up = Instant::now() + what.ready_within;
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = tokio::select! {
            biased;
            end = ended(&mut ends) => return Err(ended_early(performer, &end, folder)),
            () = attempt.cancel.cancelled() => return Err(Outcome::Cancelled),
            asked = probe.ask(folder) => asked,
        };
        // What it writes on its way to being ready may come a moment after that.
        let missing = match asked.and_then(|()| command::captured(attempt, step, folder)) {
            Ok(outputs) if ends.borrow().is_none() => {
                return Ok(Finished { outputs, ..Outcome::Succeeded.into() });
            }
            Ok(_) => continue,
            Err(missing) => missing,
        };
        // It is asked a last time when its time is over.
        let left = give_up.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let limit = humantime::format_duration(what.ready_within);
            let message = format!("it was not ready within {limit}: {missing}");
            return Err(Outcome::failed(FailureClass::TimedOut, message));
        }
        attempt.tell(&format!("waiting until it is ready: {missing}"));
        tokio::select! {
            () = tokio::time::sleep(pause.min(left)) => {}
            _ = ended(&mut ends) => {}
            () = attempt.cancel.cancelled() => {}
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn ended_early(performer: &StepPerformer, end: &BackgroundEnd, folder: &Path) -> Outcome {
    let words = last_lines(&folder.join(crate::attempt::LOG_FILE))
        .map_or_else(String::new, |lines| format!("; it printed last: {lines}"));
    let class = match &end.exit {
        None => return Outcome::Interrupted,
        Some(CommandExit::Cancelled) => return Outcome::Cancelled,
        Some(exit) => match command::outcome_of(exit, None) {
            Outcome::Failed(failure) => failure.class,
            _ => FailureClass::Step,
        },
    };
    let hint = if matches!(&end.exit, Some(CommandExit::Code(0))) {
        let place = if performer.executor == Executor::Host { "program" } else { "container's program" };
        format!("; the {place} of a background step stays in the foreground")
    } else {
        String::new()
    };
    Outcome::failed(class, format!("it ended before it was ready ({}){words}{hint}", end.how()))
}

/// Whether a cleanup step has to stop background steps that its manifest no longer has, and no other step would stop.
pub(super) fn is_orphaned(performer: &StepPerformer, attempt: &Attempt) -> bool {
    let deployment = &attempt.deployment;
    let target = deployment.benchmark.targets.get(&deployment.target);
    let stops = |target: &Target| target.cleanup.iter().any(|step| step.action == Action::StopBackground);
    attempt.step.is_cleanup()
        && !target.is_some_and(stops)
        && performer.workspace.background(&deployment.id).exists()
}

/// Stops all background steps of the deployment: the last one first.
pub(super) async fn stop(performer: &StepPerformer, attempt: &Attempt) -> Finished {
    let deployment = &attempt.deployment;
    let mut records = match BackgroundRecord::all(&performer.workspace, &deployment.id) {
        Ok(records) => records,
        Err(error) => return cannot_record(error).into(),
    };
    let target = deployment.benchmark.targets.get(&deployment.target);
    let place = |record: &BackgroundRecord| {
        target.and_then(|target| target.deploy.iter().position(|step| step.name == record.name))
    };
    records.sort_by_key(|record| std::cmp::Reverse(place(record)));
    let mut failed = None;
    for record in &records {
        attempt.tell(&format!("stopping `{}`", record.name));
        match stop_recorded(performer, attempt, record).await {
            Ok(Some(end)) => attempt.tell(&format!("`{}` had ended before: {end}", record.name)),
            Ok(None) => {}
            Err(outcome) => failed = failed.or(Some(outcome)),
        }
    }
    failed.unwrap_or(Outcome::Succeeded).into()
}

/// Stops what a record leads to; says how it ended, where it did so by itself.
async fn stop_recorded(
    performer: &StepPerformer,
    attempt: &Attempt,
    record: &BackgroundRecord,
) -> Result<Option<String>, Outcome> {
    let folder = record.folder(&performer.workspace);
    let end = match &record.container {
        None => stop_process(&folder).await.map_err(|error| {
            let message = format!("cannot stop background step `{}`: {error}", record.name);
            Outcome::failed(FailureClass::Step, message)
        })?,
        Some(container) => {
            let engine = performer.engine_of(container).await.map_err(|error| container_failed(&error))?;
            stop_container(performer, record, engine, &container.name, &folder)
                .await
                .map_err(|error| container_failed(&error))?
        }
    };
    let secrets = Arc::clone(&attempt.secrets);
    if !secrets.redactor.is_empty() {
        // Where that fails, only the user can read the files in any case.
        let _ = tokio::task::spawn_blocking(move || hide_in_folder(&folder, &secrets.redactor)).await;
    }
    record.remove(&performer.workspace, &attempt.deployment.id).map_err(cannot_record)?;
    Ok(end)
}

/// None: it was stopped here, or never ran.
async fn stop_process(folder: &Path) -> Result<Option<String>, HostError> {
    if !folder.exists() {
        return Ok(None);
    }
    host::refuse_original(folder)?;
    // Before it is looked at: a start of a killed runner may still be under way, and then runs nothing.
    let before = host::look(folder)?;
    host::cancel(folder, GRACE).await?;
    match host::look(folder)? {
        Found::Running => match host::wait(folder).await {
            Ok(_) | Err(HostError::Gone { .. } | HostError::NotStarted { .. }) => {}
            Err(error) => return Err(error),
        },
        Found::NotStarted | Found::Ended(_) | Found::Gone => {}
    }
    Ok(match before {
        Found::Ended(exit) => Some(exit.to_string()),
        Found::Gone => Some("it is gone".to_owned()),
        Found::Running | Found::NotStarted => None,
    })
}

async fn stop_container(
    performer: &StepPerformer,
    record: &BackgroundRecord,
    engine: &Engine,
    name: &str,
    folder: &Path,
) -> Result<Option<String>, ContainerError> {
    loop {
        match try_stop_container(performer, record, engine, name, folder).await {
            Err(error) if error.is_connection() => engine.until_it_answers(&|| {}).await?,
            other => return other,
        }
    }
}

async fn try_stop_container(
    performer: &StepPerformer,
    record: &BackgroundRecord,
    engine: &Engine,
    name: &str,
    folder: &Path,
) -> Result<Option<String>, ContainerError> {
    if !folder.exists() {
        engine.remove(name).await?;
        return Ok(None);
    }
    engine.cancel(folder, name, GRACE).await?;
    match engine.look(folder, name).await? {
        Found::Running => {
            let mut ends = performer.ends_of(record).await?;
            ended(&mut ends).await;
            // Its watcher may have given up on the engine, and not seen its end.
            if engine.look(folder, name).await? == Found::Running {
                engine.wait(folder, name).await?;
            }
            Ok(None)
        }
        // A start of a killed runner may still be under way.
        Found::NotStarted => engine.remove(name).await.map(|()| None),
        Found::Ended(CommandExit::Cancelled) => Ok(None),
        Found::Ended(exit) => Ok(Some(exit.to_string())),
        Found::Gone => Ok(Some("its container is gone".to_owned())),
    }
}

impl StepPerformer {
    /// The engine that a background step's container was started on.
    async fn engine_of(&self, container: &BackgroundContainer) -> Result<&Engine, ContainerError> {
        let engine = self.reach_engine().await?;
        if engine.host() != container.engine {
            return Err(ContainerError::OtherEngine {
                name: container.name.clone(),
                engine: container.engine.clone(),
                host: engine.host().to_owned(),
            });
        }
        Ok(engine)
    }
}

fn cannot_record(error: std::io::Error) -> Outcome {
    Outcome::failed(
        FailureClass::NotStarted,
        format!("cannot read or write the record of a background step: {error}"),
    )
}

fn container_failed(error: &ContainerError) -> Outcome {
    if error.is_unreachable() {
        return Outcome::failed(FailureClass::EngineUnreachable, error.to_string());
    }
    Outcome::failed(FailureClass::NotStarted, super::credentials::explain(error))
}
