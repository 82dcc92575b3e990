//! Performs steps for real: one match on what a step is.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::background::living::{Companions, Watchers, beside, spoiled};
use super::{
    Attempt, Execute, Executing, Finished, KnownSecrets, LostSecret, background, command, decide, files,
    load, local, otlp, stack, tool, traces, wait_for,
};
use crate::container::Engine;
use crate::host::Supervisors;
use crate::inherited;
use crate::workspace::Workspace;
use sb_durable::Durability;
use sb_measurement::Redactor;
use sb_plan::benchmark::{Action, Images, ManifestStep};
use sb_plan::event::{FailureClass, Outcome};
use sb_plan::graph::{Step, StepKind};
use sb_plan::id::RunId;
use sb_plan::plan::Executor;

/// Performs steps on this machine or in Docker.
pub(crate) struct StepPerformer {
    /// Where commands run.
    pub executor: Executor,
    pub workspace: Workspace,
    /// This program: supervisors are copies of it.
    pub sb: PathBuf,
    /// Default images.
    pub images: Images,
    pub(super) supervisors: Supervisors,
    /// Of background steps: they outlive this runner on purpose, so nobody waits for them at its end.
    pub(super) background_supervisors: Supervisors,
    pub(super) watchers: Watchers,
    pub(super) engine: OnceCell<Engine>,
    /// As many attempts as this process has descriptors for.
    room: Semaphore,
}

/// Open files of an attempt: two pipes and the process of its supervisor, and one for a file that is read meanwhile. In a
/// container: the connections to the engine.
fn files_of_an_attempt(executor: Executor) -> usize {
    if executor == Executor::Host { 4 } else { 6 }
}

/// How many attempts have room beside each other, where a process may have so many open files.
fn room(executor: Executor, open_files: usize) -> usize {
    // A runner has about 20 files beside: its state, locks and the terminal. Steps that fetch traces have connections.
    let beside = (open_files / 4).clamp(48, 256);
    let attempts = open_files.saturating_sub(beside) / files_of_an_attempt(executor);
    attempts.clamp(4, Semaphore::MAX_PERMITS)
}

impl StepPerformer {
    pub(crate) fn new(executor: Executor, workspace: Workspace, sb: PathBuf, images: Images) -> Self {
        let supervisors = Supervisors::new(sb.clone(), workspace.folder().to_owned());
        let background_supervisors = Supervisors::new(sb.clone(), workspace.folder().to_owned());
        let watchers = Watchers::default();
        let room = Semaphore::new(room(executor, inherited::open_files()));
        Self {
            executor,
            workspace,
            sb,
            images,
            supervisors,
            background_supervisors,
            watchers,
            engine: OnceCell::new(),
            room,
        }
    }

    /// To be called when no step runs any more: returns when nothing that was started for steps is left.
    pub(crate) async fn close(&self) {
        self.supervisors.close().await;
    }

    /// The attempt's own folder: claim, log, exit.
    pub(super) fn folder(&self, run: &RunId, step: &Step, attempt: u32) -> PathBuf {
        self.workspace.attempt(run, &step.id, attempt)
    }

    pub(super) fn local_state(&self, attempt: &Attempt) -> PathBuf {
        self.workspace.local_target(attempt.deployment.id.as_str())
    }

    /// Where the receiver of OpenTelemetry of a deployment keeps its state and what arrived.
    pub(super) fn receiver_state(&self, attempt: &Attempt) -> PathBuf {
        self.workspace.receiver(&attempt.deployment.id)
    }

    /// Waits until there is room. None: the attempt is not wanted any more, and nothing of it was started.
    async fn room_for(&self, attempt: &Attempt) -> Option<SemaphorePermit<'_>> {
        if let Ok(room) = self.room.try_acquire() {
            return Some(room);
        }
        attempt.tell(&format!("waiting for room: {} open files are allowed", inherited::open_files()));
        tokio::select! {
            room = self.room.acquire() => room.ok(),
            // What an earlier runner started is not stopped by looking away.
            () = attempt.cancel.cancelled(), if !attempt.reattach => None,
        }
    }

    /// A step is of no use without the background steps that it counts on.
    async fn perform(&self, attempt: &Attempt) -> Finished {
        let Some(_room) = self.room_for(attempt).await else { return Outcome::Cancelled.into() };
        let mut finished = self.perform_beside(attempt).await;
        if let Outcome::Failed(failure) = &mut finished.outcome {
            explain_lost(&attempt.deployment.lost, &mut failure.message);
        }
        finished
    }

    async fn perform_beside(&self, attempt: &Attempt) -> Finished {
        match Companions::of(self, attempt).await {
            Err(finished) => *finished,
            Ok(companions) if companions.is_empty() => self.perform_alone(attempt).await,
            Ok(mut companions) => match companions.has_ended(self) {
                Some(why) if !attempt.reattach => spoiled(attempt, Outcome::Cancelled.into(), why),
                _ => {
                    let perform = async |attempt: Attempt| self.perform_alone(&attempt).await;
                    beside(self, attempt, &mut companions, perform).await
                }
            },
        }
    }

    async fn perform_alone(&self, attempt: &Attempt) -> Finished {
        if background::is_orphaned(self, attempt) {
            let stopped = Box::pin(background::stop(self, attempt)).await;
            if !stopped.outcome.is_success() {
                return stopped;
            }
        }
        let folder = self.folder(&attempt.run, &attempt.step, attempt.number);
        if let Err(error) = std::fs::create_dir_all(&folder) {
            let message = format!("cannot make the folder `{}`: {error}", folder.display());
            return Outcome::failed(FailureClass::NotStarted, message).into();
        }
        if let Some(logs) = &attempt.logs
            && let Err(error) = files::held(attempt, logs)
        {
            let message = format!("cannot use the folder of results `{}`: {error}", logs.display());
            return Outcome::failed(FailureClass::Step, message).into();
        }
        if let Some(message) = files::leads_out(attempt) {
            return Outcome::failed(FailureClass::Step, message).into();
        }
        match &attempt.step.kind {
            StepKind::Manifest(step) => {
                let finished = self.manifest_step(attempt, step, &folder).await;
                if let Some(logs) = &attempt.logs {
                    let mut secrets = KnownSecrets::clone(&attempt.secrets);
                    let produced = finished.outputs.values().filter(|it| it.secret).map(|it| &it.value);
                    secrets.add_unnamed(produced.chain(&finished.lost_secrets));
                    // The step itself may have put a link in the place of the folder.
                    match files::held(attempt, logs) {
                        Ok(logs) => {
                            let name = format!("{}.log", step.name);
                            let keep = move || keep_log(&folder, &logs.path().join(name), &secrets.redactor);
                            // A log may have hundreds of megabytes, and other steps go on meanwhile.
                            let _ = tokio::task::spawn_blocking(keep).await;
                        }
                        Err(error) => attempt.tell(&format!(
                            "its log is not kept in the folder of results `{}`: {error}",
                            logs.display()
                        )),
                    }
                }
                finished
            }
            StepKind::GetTraces => traces::get(self, attempt).await,
            StepKind::AnalyzeTraces => traces::analyze(attempt).await,
            StepKind::Decide => decide::decide(attempt, &folder).await,
            // Pauses belong to the scheduler.
            StepKind::Pause { .. } => Outcome::Succeeded.into(),
        }
    }

    async fn manifest_step(&self, attempt: &Attempt, step: &ManifestStep, folder: &Path) -> Finished {
        if attempt.again
            && let Err(finished) = command::recover(self, attempt, step, folder).await
        {
            return *finished;
        }
        if let Some(logs) = attempt.logs.as_ref().filter(|_| attempt.step.is_invoke())
            && let Err(error) = files::describe(attempt, logs)
        {
            let message = format!("cannot write to `{}`: {error}", logs.display());
            return Outcome::failed(FailureClass::NotStarted, message).into();
        }
        let action = async {
            match &step.action {
                Action::Background(what) => {
                    Box::pin(background::start(self, attempt, step, what, folder)).await
                }
                Action::StopBackground => Box::pin(background::stop(self, attempt)).await,
                Action::Run(what) => command::run(self, attempt, step, what, folder).await,
                Action::Tool(what) => Box::pin(tool::run(self, attempt, step, what, folder)).await,
                Action::WaitFor(wait) => {
                    wait_for::wait_for(attempt, wait, load::function_logs(self, attempt).as_deref()).await
                }
                Action::Load => load::run(self, attempt, step, folder).await,
                Action::LocalUp(what) => local::up(self, attempt, step, what).await,
                Action::LocalDown { failures } => local::down(self, attempt, *failures).await,
                Action::StackUp(what) => Box::pin(stack::up(self, attempt, step, what, folder)).await,
                Action::StackDown => Box::pin(stack::down(self, attempt, step, folder)).await,
                Action::OtlpUp => otlp::up(self, attempt).await,
                Action::OtlpDown => otlp::down(self, attempt).await,
                Action::Wait(_) => Outcome::Succeeded.into(),
            }
        };
        // Commands and loads have their limit under their supervisor, where it outlives this process.
        let limit = match step.action {
            Action::Run(_) | Action::Tool(_) | Action::Load | Action::Background(_) => None,
            _ => step.timeout,
        };
        within(limit, action).await
    }
}

/// Adds to what a step failed for how to give a secret again that it lacks.
fn explain_lost(lost: &[LostSecret], message: &mut String) {
    let named = lost.iter().filter(|secret| message.contains(&format!("{{{{params.{}}}}}", secret.name)));
    let ways: Vec<&str> = named.map(|secret| secret.way_out.as_str()).collect();
    for way in ways {
        message.push_str("; ");
        message.push_str(way);
    }
}

async fn within(limit: Option<Duration>, action: impl Future<Output = Finished>) -> Finished {
    let Some(limit) = limit else { return action.await };
    tokio::time::timeout(limit, action).await.unwrap_or_else(|_| {
        let message = format!("it did not end within its timeout of {}", humantime::format_duration(limit));
        Outcome::failed(FailureClass::TimedOut, message).into()
    })
}

/// A copy of the step's log, without secrets, beside the results of its invocation. The original stays: losing the copy is no harm.
fn keep_log(folder: &Path, copy: &Path, redactor: &Redactor) {
    let log = folder.join(crate::attempt::LOG_FILE);
    if log.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        let options = sb_durable::Options::new().private().survives(Durability::Processes);
        let _ = sb_durable::write_with(copy, options, |out| redactor.copy(File::open(log)?, out).map(|_| ()));
    }
}

impl Execute for StepPerformer {
    fn execute(self: Arc<Self>, attempt: Attempt) -> Executing {
        Box::pin(async move { self.perform(&attempt).await })
    }

    fn new_logs_folder(&self, root: &Path, manifest: &Path) -> io::Result<PathBuf> {
        files::new_logs_folder(root, manifest)
    }

    fn boot_id(&self) -> io::Result<String> {
        crate::host::boot_id()
    }

    fn log_of(&self, run: &RunId, step: &Step, attempt: u32) -> PathBuf {
        self.folder(run, step, attempt).join(crate::attempt::LOG_FILE)
    }
}
