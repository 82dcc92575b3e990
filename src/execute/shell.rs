//! The place that a command of a step would have, for somebody who wants to look around in it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::image_progress::ensure_image;
use super::step::StepPerformer;
use super::{Attempt, command, credentials, docker};
use crate::command_exit::CommandExit;
use crate::container::{ContainerCommand, ContainerError};
use sb_plan::benchmark::{Command, Environment};
use sb_plan::plan::Executor;

/// Where a command runs, made as for a step.
#[derive(Debug)]
pub(crate) enum Workplace {
    Host { argv: Vec<String>, env: BTreeMap<String, String>, workdir: PathBuf },
    Container(Box<ContainerCommand>),
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum WorkplaceError {
    #[error(transparent)]
    Prepare(#[from] command::PrepareError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error("{message}")]
    Workdir { message: String },
}

/// bash where there is one.
const SHELL: [&str; 3] = ["sh", "-c", "command -v bash > /dev/null 2>&1 && exec bash; exec sh"];

/// Makes the place of a step with this environment ready; `argv` is what runs there, a shell if it is empty.
///
/// # Errors
/// A value that the environment needs is not there, the engine or an image cannot be had, or credentials are missing.
pub(crate) async fn workplace(
    performer: &StepPerformer,
    attempt: &Attempt,
    environment: &Environment,
    argv: Vec<String>,
    tell: &(dyn Fn(String) + Send + Sync),
) -> Result<Workplace, WorkplaceError> {
    let mut prepared = command::prepare(attempt, &Command::Argv(vec![]), environment, None)?;
    prepared.argv = argv;
    if performer.executor == Executor::Host {
        if prepared.argv.is_empty() {
            let own = std::env::var("SHELL").ok().filter(|shell| !shell.is_empty());
            prepared.argv = vec![own.unwrap_or_else(|| "sh".to_owned())];
        }
        return Ok(Workplace::Host { argv: prepared.argv, env: prepared.env, workdir: prepared.workdir });
    }
    if prepared.argv.is_empty() {
        prepared.argv = SHELL.map(str::to_owned).to_vec();
    }
    let engine = performer.reach_engine().await?;
    if let Some(CommandExit::SpawnFailed { message }) = docker::missing_workdir(performer, attempt, &prepared)
    {
        return Err(WorkplaceError::Workdir { message });
    }
    credentials::check(engine, &environment.credentials).await?;
    let wanted = docker::image(environment.image.as_ref(), &performer.images);
    let image = ensure_image(engine, &wanted, tell).await?;
    let command = docker::container_command(performer, attempt, &prepared, environment, image);
    Ok(Workplace::Container(Box::new(command)))
}
