//! The end of background steps, noticed when it comes: one watcher for each that this runner has to do with.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::select_all;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::super::step::StepPerformer;
use super::super::{Attempt, Finished};
use super::record::{BackgroundRecord, last_lines};
use crate::command_exit::{CommandExit, Found};
use crate::container::{ContainerError, Engine};
use crate::host::{self, HostError};
use sb_plan::benchmark::Action;
use sb_plan::event::{FailureClass, Outcome};
use sb_plan::graph::StepKind;

/// How the command of a background step ended.
#[derive(Clone, Debug)]
pub(super) struct BackgroundEnd {
    /// None: it is gone, and nobody knows how it ended.
    pub(super) exit: Option<CommandExit>,
    how: String,
}

impl BackgroundEnd {
    fn gone(how: impl Into<String>) -> Self {
        Self { exit: None, how: how.into() }
    }

    /// In a few words, in parentheses.
    pub(super) fn how(&self) -> &str {
        &self.how
    }
}

impl From<CommandExit> for BackgroundEnd {
    fn from(exit: CommandExit) -> Self {
        Self { how: exit.to_string(), exit: Some(exit) }
    }
}

/// Becomes something when the command has ended.
pub(super) type Ends = watch::Receiver<Option<BackgroundEnd>>;

/// By the attempt's folder.
#[derive(Default)]
pub(in super::super) struct Watchers(Mutex<HashMap<PathBuf, Ends>>);

impl StepPerformer {
    /// Tells when a background step ends. It must have been started, by whichever runner.
    pub(super) async fn ends_of(&self, record: &BackgroundRecord) -> Result<Ends, ContainerError> {
        let folder = record.folder(&self.workspace);
        if let Some(known) = self.watchers.0.lock().get(&folder) {
            return Ok(known.clone());
        }
        let engine = match &record.container {
            Some(container) => Some((self.engine_of(container).await?.clone(), container.name.clone())),
            None => None,
        };
        // What has ended before is known at once: nothing begins beside it.
        let before = match &engine {
            Some((engine, name)) => ended_container(engine, &folder, name).await?,
            None => ended_process(&folder),
        };
        // Two that ask at once share one watcher: of a container, only one may read the output.
        let mut watchers = self.watchers.0.lock();
        let ends = watchers.entry(folder.clone()).or_insert_with(|| {
            let (tell, ends) = watch::channel(before.clone());
            if before.is_some() {
                return ends;
            }
            tokio::spawn(async move {
                let end = match engine {
                    Some((engine, name)) => end_of_container(&engine, &folder, &name).await,
                    None => end_of_process(&folder).await,
                };
                let _ = tell.send(Some(end));
            });
            ends
        });
        Ok(ends.clone())
    }
}

const GONE: &str =
    "it is gone: it was killed together with its supervisor, or this machine was started again";
const GONE_CONTAINER: &str = "its container was stopped or removed by something else than `sb`";

fn ended_process(folder: &Path) -> Option<BackgroundEnd> {
    match host::look(folder) {
        Ok(Found::Running) => None,
        Ok(Found::Ended(exit)) => Some(exit.into()),
        Ok(Found::Gone | Found::NotStarted) => Some(BackgroundEnd::gone(GONE)),
        Err(error) => Some(BackgroundEnd::gone(error.to_string())),
    }
}

async fn ended_container(
    engine: &Engine,
    folder: &Path,
    name: &str,
) -> Result<Option<BackgroundEnd>, ContainerError> {
    Ok(match engine.look(folder, name).await? {
        Found::Running => None,
        Found::Ended(exit) => Some(exit.into()),
        Found::Gone | Found::NotStarted => Some(BackgroundEnd::gone(GONE_CONTAINER)),
    })
}

async fn end_of_process(folder: &Path) -> BackgroundEnd {
    /// A folder that cannot be read for a moment, for want of descriptors most likely, says nothing of the process.
    const PAUSE: Duration = Duration::from_millis(500);
    loop {
        match host::wait(folder).await {
            Ok(exit) => return exit.into(),
            Err(HostError::Gone { .. } | HostError::NotStarted { .. }) => return BackgroundEnd::gone(GONE),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// An engine that goes away is waited for.
async fn end_of_container(engine: &Engine, folder: &Path, name: &str) -> BackgroundEnd {
    loop {
        match engine.wait(folder, name).await {
            Ok(exit) => return exit.into(),
            Err(ContainerError::Gone { .. } | ContainerError::NotStarted { .. }) => {
                return BackgroundEnd::gone(GONE_CONTAINER);
            }
            Err(error) if error.is_connection() => {
                if let Err(error) = engine.until_it_answers(&|| {}).await {
                    return BackgroundEnd::gone(error.to_string());
                }
            }
            Err(error) => {
                // Nobody would know any more whether it runs.
                let _ = engine.remove(name).await;
                return BackgroundEnd::gone(error.to_string());
            }
        }
    }
}

/// Waits for the end.
pub(super) async fn ended(ends: &mut Ends) -> BackgroundEnd {
    match ends.wait_for(Option::is_some).await {
        Ok(end) => end.clone().unwrap_or_else(|| BackgroundEnd::gone("nobody watches it")),
        Err(_) => BackgroundEnd::gone("nobody watches it"),
    }
}

/// The background steps that a step counts on.
pub(in super::super) struct Companions(Vec<Companion>);

struct Companion {
    record: BackgroundRecord,
    ends: Ends,
}

impl Companions {
    /// Those that are to be alive while `attempt` is performed.
    pub(in super::super) async fn of(
        performer: &StepPerformer,
        attempt: &Attempt,
    ) -> Result<Self, Box<Finished>> {
        let mut found = Vec::new();
        let step = &attempt.step;
        // Cleanup has to do with what has ended, too. Analyses and decisions have to do with files only.
        if step.is_cleanup()
            || matches!(step.kind, StepKind::AnalyzeTraces | StepKind::Decide | StepKind::Pause { .. })
        {
            return Ok(Self(found));
        }
        let deployment = &attempt.deployment;
        let target = deployment.benchmark.targets.get(&deployment.target);
        for known in target.iter().flat_map(|target| &target.deploy) {
            let is_itself = step.is_deploy() && step.manifest().is_some_and(|step| step.name == known.name);
            if !matches!(known.action, Action::Background(_)) || known.allow_failure || is_itself {
                continue;
            }
            let record = BackgroundRecord::read(&performer.workspace, &deployment.id, &known.name).map_err(
                |error| {
                    let message =
                        format!("cannot read the record of background step `{}`: {error}", known.name);
                    Box::new(Outcome::failed(FailureClass::NotStarted, message).into())
                },
            )?;
            match record.filter(|record| record.ready) {
                // Of an earlier deployment of the same name, until it is started again.
                Some(record) if step.is_deploy() && record.run != attempt.run => {}
                Some(record) => {
                    let ends = performer.ends_of(&record).await.map_err(|error| {
                        Box::new(Outcome::failed(FailureClass::EngineUnreachable, error.to_string()).into())
                    })?;
                    found.push(Companion { record, ends });
                }
                // It is being started, beside this one.
                None if step.is_deploy() => {}
                None => {
                    let message = format!(
                        "background step `{}` of the deployment does not run: deploy again, with `sb prepare` or a new run",
                        known.name
                    );
                    return Err(Box::new(Outcome::failed(FailureClass::Step, message).into()));
                }
            }
        }
        Ok(Self(found))
    }

    pub(in super::super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits until the first of them ends; says which, and how.
    pub(in super::super) async fn ended(&mut self, performer: &StepPerformer) -> String {
        if self.0.is_empty() {
            std::future::pending::<()>().await;
        }
        let waiting = self.0.iter_mut().map(|companion| {
            Box::pin(async {
                let end = ended(&mut companion.ends).await;
                (&companion.record, end)
            })
        });
        let ((record, end), _, _) = select_all(waiting).await;
        said(performer, record, &end)
    }

    /// What [`Companions::ended`] would say at once.
    pub(in super::super) fn has_ended(&self, performer: &StepPerformer) -> Option<String> {
        self.0.iter().find_map(|companion| {
            let end = companion.ends.borrow().clone();
            end.map(|end| said(performer, &companion.record, &end))
        })
    }
}

fn said(performer: &StepPerformer, record: &BackgroundRecord, end: &BackgroundEnd) -> String {
    let words = last_lines(&record.log(&performer.workspace))
        .map_or_else(String::new, |lines| format!("; it printed last: {lines}"));
    format!(
        "background step `{}` ended before the cleanup ({}){words}; see `sb logs {} --run {}`",
        record.name,
        end.how(),
        record.step,
        record.run
    )
}

/// What a step comes to whose companion ended: nothing that it measured counts.
pub(in super::super) fn spoiled(attempt: &Attempt, finished: Finished, why: String) -> Finished {
    if matches!(attempt.step.kind, StepKind::GetTraces) {
        let mut finished = finished;
        finished.invalid.push(why);
        return finished;
    }
    match finished.outcome {
        // Something else ended it, and says what follows.
        Outcome::Interrupted => finished,
        Outcome::Cancelled if attempt.cancel.is_cancelled() => finished,
        _ => {
            let secrets = finished.outputs.into_values().filter(|it| it.secret).map(|it| it.value);
            let lost_secrets = finished.lost_secrets.into_iter().chain(secrets).collect();
            Finished { lost_secrets, ..Outcome::failed(FailureClass::Step, why).into() }
        }
    }
}

/// Cancels a step whose companion ends, and says so: the rest of what it would do is of no use.
pub(in super::super) async fn beside<F: Future<Output = Finished>>(
    performer: &StepPerformer,
    attempt: &Attempt,
    companions: &mut Companions,
    perform: impl FnOnce(Attempt) -> F,
) -> Finished {
    let guarded = Attempt { cancel: attempt.cancel.child_token(), ..attempt.clone() };
    let cancel = guarded.cancel.clone();
    let mut performing = std::pin::pin!(perform(guarded));
    let why = tokio::select! {
        biased;
        why = companions.ended(performer) => why,
        finished = &mut performing => {
            return match companions.has_ended(performer) {
                Some(why) => spoiled(attempt, finished, why),
                None => finished,
            };
        }
    };
    // Traces are fetched all the same: they say what happened.
    if !matches!(attempt.step.kind, StepKind::GetTraces) {
        cancel.cancel();
    }
    let finished = performing.await;
    spoiled(attempt, finished, why)
}
