//! Commands of the manifest: rendered, run on the host or in a container, their outputs captured.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::step::StepPerformer;
use super::{Attempt, Finished, Produced, outputs, throttling};
use crate::attempt::STDOUT_FILE;
use crate::command_exit::{CommandExit, Found, signal_in_words};
use crate::host::{self, HostCommand, Running};
use sb_plan::benchmark::{Command, Environment, ManifestStep};
use sb_plan::event::{FailureClass, Outcome};
use sb_plan::plan::Executor;
use sb_workload::template::{Context, Template, Undefined, lookup_in, plain_text};

/// From the polite signal to the other one.
pub(super) const GRACE: Duration = Duration::from_secs(10);

pub(super) async fn run(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    command: &Command,
    folder: &Path,
) -> Finished {
    let outcome = match prepare(attempt, command, &step.environment, step.timeout) {
        Ok(prepared) => {
            let outcome = execute(performer, attempt, prepared, &step.environment, folder).await;
            throttling::told_apart(outcome, folder)
        }
        Err(error) => Outcome::failed(FailureClass::Step, error.to_string()),
    };
    finished(attempt, step, outcome, folder)
}

/// What a command comes to that has ended so, with its outputs.
pub(super) fn finished(attempt: &Attempt, step: &ManifestStep, outcome: Outcome, folder: &Path) -> Finished {
    let failed = |outcome: Outcome| {
        let secret = step.outputs.values().any(|output| output.secret);
        let lost = || written(attempt, folder, |written| outputs::lost_secrets(&step.outputs, written));
        Finished { lost_secrets: if secret { lost() } else { Vec::new() }, ..outcome.into() }
    };
    if !outcome.is_success() {
        return failed(outcome);
    }
    match captured(attempt, step, folder) {
        Ok(outputs) => Finished { outputs, ..outcome.into() },
        Err(message) => failed(Outcome::failed(FailureClass::Step, message)),
    }
}

/// The outputs of a command, or which one is missing and why.
pub(super) fn captured(
    attempt: &Attempt,
    step: &ManifestStep,
    folder: &Path,
) -> Result<BTreeMap<String, Produced>, String> {
    written(attempt, folder, |written| outputs::capture(&step.outputs, written))
}

fn written<T>(attempt: &Attempt, folder: &Path, read: impl FnOnce(outputs::Written<'_>) -> T) -> T {
    let stdout = folder.join(STDOUT_FILE);
    let root = &attempt.deployment.benchmark.root;
    read(outputs::Written { stdout: &stdout, root, folder: manifest_folder(attempt) })
}

/// Runs the recovery commands before another attempt. A recovery that fails does not stop the attempt: whether
/// the step works now is for the step to say.
pub(super) async fn recover(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    folder: &Path,
) -> Result<(), Box<Finished>> {
    for (index, recovery) in step.recover.iter().enumerate() {
        let folder = folder.join(format!("recover-{}", index + 1));
        let made = std::fs::create_dir_all(&folder);
        let outcome = match (made, prepare(attempt, &recovery.command, &recovery.environment, step.timeout)) {
            (Ok(()), Ok(prepared)) => {
                execute(performer, attempt, prepared, &recovery.environment, &folder).await
            }
            (Err(error), _) => Outcome::failed(FailureClass::NotStarted, error.to_string()),
            (_, Err(error)) => Outcome::failed(FailureClass::Step, error.to_string()),
        };
        if matches!(outcome, Outcome::Cancelled | Outcome::Interrupted) {
            return Err(Box::new(outcome.into()));
        }
    }
    Ok(())
}

/// A command with its templates rendered.
pub(super) struct PreparedCommand {
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) workdir: PathBuf,
    pub(super) timeout: Option<Duration>,
    /// From the polite signal to the other one.
    pub(super) grace: Duration,
    /// A folder of the state that the command may write to, and finds by [`STATE_VARIABLE`]. Such a command passes a request to
    /// stop on by itself.
    pub(super) state: Option<PathBuf>,
}

/// Says where a command finds the folder that is its own.
pub(super) const STATE_VARIABLE: &str = "SB_TOOL_STATE";

pub(super) fn prepare(
    attempt: &Attempt,
    command: &Command,
    environment: &Environment,
    timeout: Option<Duration>,
) -> Result<PreparedCommand, PrepareError> {
    let shows_secret = Cell::new(false);
    let lookup = |path: &str| {
        let value = lookup_in(&attempt.values, path);
        let is_shown = value.as_ref().is_some_and(|value| attempt.secrets.are_in_text(&plain_text(value)));
        shows_secret.set(shows_secret.get() || is_shown);
        value
    };
    let plain = |template: &Template| template.render(Context::Plain, &lookup);
    let argv = match command {
        Command::Shell(line) => {
            let mut argv = environment.shell.clone();
            if argv.is_empty() {
                argv = vec!["sh".to_owned(), "-c".to_owned()];
            }
            argv.push(line.render(Context::Shell, &lookup)?);
            argv
        }
        Command::Argv(words) => words.iter().map(plain).collect::<Result<Vec<_>, _>>()?,
    };
    // Validation refuses secrets that are declared; what only contains one becomes a secret when it is made. A cleanup is owed
    // all the same.
    if shows_secret.get() && !attempt.step.is_cleanup() {
        return Err(PrepareError::Secret);
    }
    let mut env = identity(attempt);
    env.extend(super::otlp::environment(attempt));
    for (name, value) in &environment.env {
        env.insert(name.clone(), plain(value)?);
    }
    let folder = manifest_folder(attempt);
    let workdir = match &environment.workdir {
        Some(workdir) => folder.join(plain(workdir)?),
        None => folder.to_owned(),
    };
    Ok(PreparedCommand { argv, env, workdir, timeout, grace: GRACE, state: None })
}

/// Why a command cannot be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error(transparent)]
    Undefined(#[from] Undefined),
    #[error(
        "a value in the command contains a secret, and every user of the machine can read arguments: pass it by `env`, and use \
         the variable in the command"
    )]
    Secret,
}

/// By which a command can tell what it is part of, wherever it runs; the manifest's own `env` wins.
pub(super) fn identity(attempt: &Attempt) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("SB_RUN".to_owned(), attempt.run.to_string()),
        ("SB_STEP".to_owned(), attempt.step.id.to_string()),
        ("SB_ATTEMPT_NUMBER".to_owned(), attempt.number.to_string()),
    ])
}

pub(super) fn manifest_folder(attempt: &Attempt) -> &Path {
    attempt.deployment.benchmark.path.parent().unwrap_or(Path::new("/"))
}

pub(super) async fn execute(
    performer: &StepPerformer,
    attempt: &Attempt,
    mut prepared: PreparedCommand,
    environment: &Environment,
    folder: &Path,
) -> Outcome {
    let timeout = prepared.timeout;
    match performer.executor {
        Executor::Host => {
            if let Some(state) = &prepared.state {
                prepared.env.insert(STATE_VARIABLE.to_owned(), state.to_string_lossy().into_owned());
            }
            let command = HostCommand {
                argv: prepared.argv,
                env: prepared.env,
                clear_env: false,
                workdir: prepared.workdir,
                timeout,
                grace: prepared.grace,
                log_limit: None,
                ends_sessions: false,
                asks_leader: prepared.state.is_some(),
            };
            on_host(performer, attempt, &command, folder).await
        }
        Executor::Docker => super::docker::run(performer, attempt, prepared, environment, folder).await,
    }
}

/// Runs a command under its supervisor, or takes up what an earlier runner started.
pub(super) async fn on_host(
    performer: &StepPerformer,
    attempt: &Attempt,
    command: &HostCommand,
    folder: &Path,
) -> Outcome {
    let found = if attempt.reattach { host::look(folder) } else { Ok(Found::NotStarted) };
    let exit = match found {
        Ok(Found::Gone) => return Outcome::Interrupted,
        // Claimed or not: that nobody claimed it may be what the restart left of it.
        Ok(Found::NotStarted) if attempt.lost_boot => return Outcome::Interrupted,
        Ok(Found::Ended(exit)) => Ok(exit),
        Ok(Found::Running) => wait(attempt, Running::found(folder), command.grace).await,
        Ok(Found::NotStarted) => match performer.supervisors.start(folder, command).await {
            Ok(running) => wait(attempt, running, command.grace).await,
            // Started by a runner whose journal has lost it since (a torn write): it is this very attempt.
            Err(host::HostError::AlreadyStarted { .. }) => {
                wait(attempt, Running::found(folder), command.grace).await
            }
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match exit {
        Ok(exit) => outcome_of(&exit, command.timeout),
        Err(host::HostError::Gone { .. }) => Outcome::Interrupted,
        Err(error) => Outcome::failed(FailureClass::NotStarted, error.to_string()),
    }
}

async fn wait(
    attempt: &Attempt,
    mut running: Running,
    grace: Duration,
) -> Result<CommandExit, host::HostError> {
    tokio::select! {
        exit = running.wait() => return exit,
        () = attempt.cancel.cancelled() => {}
    }
    running.cancel(grace).await?;
    running.wait().await
}

pub(super) fn outcome_of(exit: &CommandExit, timeout: Option<Duration>) -> Outcome {
    match exit {
        CommandExit::Code(0) => Outcome::Succeeded,
        CommandExit::Cancelled => Outcome::Cancelled,
        CommandExit::TimedOut => {
            let limit = timeout
                .map_or_else(String::new, |limit| format!(" of {}", humantime::format_duration(limit)));
            Outcome::failed(FailureClass::TimedOut, format!("it did not end within its timeout{limit}"))
        }
        CommandExit::OutOfMemory => Outcome::failed(FailureClass::OutOfMemory, "it ran out of memory"),
        CommandExit::SpawnFailed { message } => Outcome::failed(FailureClass::NotStarted, message.clone()),
        CommandExit::NoCommand { message } => Outcome::failed(FailureClass::NoCommand, message.clone()),
        // By these codes a shell says so: POSIX, Shell Command Language, "Exit Status for Commands".
        CommandExit::Code(127) => {
            let message = "exit code 127: a command was not found; the end of its log names it, and `sb doctor` shows what this machine has";
            Outcome::failed(FailureClass::NoCommand, message)
        }
        CommandExit::Code(126) => {
            let message = "exit code 126: a command may not be executed; the end of its log names it";
            Outcome::failed(FailureClass::NoCommand, message)
        }
        // So does a shell whose command was ended by a signal: 128 and its number.
        CommandExit::Code(code @ 129..=159) => {
            let signal = signal_in_words(code - 128);
            let message = format!("exit code {code}: a command of it was ended by {signal}");
            Outcome::failed(FailureClass::Step, message)
        }
        CommandExit::Code(_) | CommandExit::Signal(_) | CommandExit::OutputLost { .. } => {
            Outcome::failed(FailureClass::Step, exit.to_string())
        }
    }
}
