//! Steps in containers, on a Docker engine: the only place that names bollard.
//!
//! A container outlives the runner: it is found again by its name, its output is kept by the engine until the end
//! of the step is recorded, and only then is it removed. An attempt's folder holds the same files as that of a
//! host step: `output.log`, `stdout` and, last, `exit.json`.

mod context;
mod ignore;
mod image;
mod output;
mod run;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as ApiError;

pub use context::ContextError;
pub use ignore::IgnoreError;
pub use image::{Image, ImageProgress};
pub use run::{ContainerCommand, HOME, Mount, Orphan};

/// A Docker engine that answers. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
    /// Rings when an attempt is asked to stop: those who wait look whether it was theirs.
    cancelled: Arc<tokio::sync::Notify>,
    /// One per image, so that steps that start together make it once.
    making: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

/// An engine on this machine answers at once; one behind a slow line in a second or two.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContainerError {
    #[error(
        "no Docker engine answers at `{host}` ({from}): {message}; start Docker, set DOCKER_HOST to an engine (unix:// or tcp://), \
         or run the steps on this machine with `--executor host`"
    )]
    NoEngine { host: String, from: &'static str, message: String },
    #[error(
        "cannot get image `{reference}`: {message}; check its name, and that this machine reaches its registry"
    )]
    Pull { reference: String, message: String },
    #[error("building `{}` failed: {message}\n{tail}\ncorrect the Dockerfile, or see the log above for the command that failed", dockerfile.display())]
    Build {
        dockerfile: PathBuf,
        message: String,
        /// The last lines that the build printed.
        tail: String,
    },
    #[error(transparent)]
    Context(#[from] ContextError),
    #[error(
        "the engine refused to create container `{name}`: {message}; check the step's image, user, network, limits and mounts"
    )]
    Refused { name: String, message: String },
    #[error(
        "container `{name}` was started before: wait for it, or give a new attempt its own name and folder"
    )]
    AlreadyStarted { name: String },
    #[error("container `{name}` was not started: start it before waiting for it")]
    NotStarted { name: String },
    #[error(
        "container `{name}` is gone, and how it ended was not recorded (was it removed by hand?): see output.log in `{}`, \
         then decide whether the step may run again",
        dir.display()
    )]
    Gone { name: String, dir: PathBuf },
    #[error("the Docker engine failed while {doing}: {source}; see the engine's own log")]
    Api { doing: String, source: ApiError },
    #[error("cannot read or write the attempt's folder `{}`: {source}; it must exist and be writable", dir.display())]
    Folder { dir: PathBuf, source: io::Error },
}

impl Engine {
    /// Finds the engine that DOCKER_HOST names (`unix://…` or `tcp://…`, default `unix:///var/run/docker.sock`) and
    /// agrees with it on a version of its interface.
    pub async fn connect() -> Result<Self, ContainerError> {
        match std::env::var("DOCKER_HOST") {
            Ok(host) if !host.is_empty() => Self::connect_to(&host, "from DOCKER_HOST").await,
            _ => Self::connect_to("unix:///var/run/docker.sock", "the default; DOCKER_HOST is not set").await,
        }
    }

    async fn connect_to(host: &str, from: &'static str) -> Result<Self, ContainerError> {
        let no_engine = |message| ContainerError::NoEngine { host: host.to_owned(), from, message };
        let refused = |error: ApiError| no_engine(why_unreachable(&error));
        let docker = Docker::connect_with_host(host).map_err(refused)?;
        let answer = tokio::time::timeout(CONNECT_WITHIN, docker.negotiate_version()).await;
        let silent = |_| no_engine(format!("no answer within {} s", CONNECT_WITHIN.as_secs()));
        let docker = answer.map_err(silent)?.map_err(refused)?;
        Ok(Self { docker, cancelled: Arc::default(), making: Arc::default() })
    }

    /// The lock of one image.
    fn making(&self, image: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(making.entry(image.to_owned()).or_default())
    }
}

/// The cause alone, without the layers of the client around it.
fn why_unreachable(error: &ApiError) -> String {
    if let ApiError::DockerResponseServerError { status_code, message } = error {
        // A web server that is no engine sends a page.
        return match message.trim().lines().next() {
            Some(line) if !line.starts_with('<') => format!("it answers {status_code}: {line}"),
            _ => format!("it answers {status_code}, as no Docker engine does"),
        };
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let denied = cause
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    let hint = if denied { " (its users are the members of the group `docker`)" } else { "" };
    format!("{cause}{hint}")
}

fn api(doing: impl Into<String>) -> impl FnOnce(ApiError) -> ContainerError {
    let doing = doing.into();
    |source| ContainerError::Api { doing, source }
}

/// What the engine answered, without the library's words around it.
fn engine_message(error: &ApiError) -> String {
    match error {
        ApiError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        ApiError::DockerStreamError { error } => error.trim().to_owned(),
        other => with_causes(other),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

fn status_of(error: &ApiError) -> Option<u16> {
    match error {
        ApiError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
