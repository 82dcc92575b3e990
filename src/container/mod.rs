//! Steps in containers, on a Docker engine: the only place that names bollard.
//!
//! A container outlives the runner, and is found again by its name. The engine keeps its output until the end of the
//! step is recorded. Only then is it removed. An attempt's folder holds the same files as that of a host step:
//! `output.log`, `stdout` and, last, `exit.json`.

mod context;
mod endpoint;
mod errand;
mod fate;
mod ignore;
mod image;
mod network;
mod output;
mod run;
mod session;
mod ssh;
mod volume;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bollard::errors::Error as ApiError;
use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use parking_lot::Mutex;
use tokio::task::JoinSet;

pub(crate) use context::ContextError;
pub(crate) use endpoint::EndpointError;
pub(crate) use errand::Luggage;
pub(crate) use image::{Image, ImageProgress};
pub(crate) use run::{
    BACKGROUND_LABEL, ContainerCommand, HOME, Mount, Orphan, RUN_LABEL, STATE_LABEL, Volume, has_container,
    state_label,
};
pub(crate) use session::{Opening, Piece, Session};
pub(crate) use volume::Files;

use endpoint::Endpoint;

/// A Docker engine that answers. Clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    docker: Docker,
    endpoint: Arc<Endpoint>,
    /// How long it may be out of reach.
    patience: Duration,
    /// Answers Docker's requests, with a few habits of its own.
    is_podman: bool,
    /// Rings when an attempt is asked to stop: those who wait look whether it was theirs.
    cancelled: Arc<tokio::sync::Notify>,
    /// One per image, so that steps that start together make it once.
    making: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
    /// Ids of images that the engine had when it was asked: by name.
    images: Arc<Mutex<HashMap<String, String>>>,
    /// The engine was out of reach, or an earlier runner began some of the containers: it may have had another life since.
    doubt: Arc<AtomicBool>,
    /// Removals of containers whose end is recorded.
    removing: Arc<Mutex<JoinSet<Result<(), ContainerError>>>>,
    /// Of its machine, in Docker's words.
    architecture: Option<String>,
    networks: Arc<network::Networks>,
}

/// An engine on this machine answers at once; one behind a slow line in a second or two.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// An engine that is being restarted, updated included, is back within this time.
const PATIENCE: Duration = Duration::from_mins(2);
/// Of one request, until its answer begins.
const ANSWER_WITHIN: u64 = 120;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ContainerError {
    #[error(
        "no Docker engine answers at `{host}` ({from}): {message}; start Docker, set DOCKER_HOST to an engine (unix://, tcp:// or ssh://), \
         or run the steps on this machine with `--executor host`; `sb doctor` shows what this machine has"
    )]
    NoEngine { host: String, from: String, message: String },
    #[error(
        "the Docker engine at `{host}` went away, and did not come back within {waited}: start it, then `sb resume` or run again"
    )]
    Unreachable { host: String, waited: humantime::FormattedDuration },
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("the engine has no volume `{volume}`: make it with `docker volume create {volume}`, and fill it")]
    NoVolume { volume: String },
    #[error("the volume `{volume}` is in use by {}: stop what uses it first", containers.join(", "))]
    VolumeInUse { volume: String, containers: Vec<String> },
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
    #[error(
        "container `{name}` is on the engine at {engine}, and the one in use is at {host}: run the same command with DOCKER_HOST={engine}"
    )]
    OtherEngine { name: String, engine: String, host: String },
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
    /// Finds the engine as the `docker` command does (DOCKER_HOST, DOCKER_CONTEXT, the configuration's context, or
    /// `unix:///var/run/docker.sock`), and agrees with it on a version of its interface.
    pub(crate) async fn connect() -> Result<Self, ContainerError> {
        let variable = |name: &str| std::env::var(name).ok();
        let version = endpoint::version_asked_for(variable)?;
        Self::connect_to(Endpoint::find(variable)?, version).await
    }

    /// The engine at an address, as DOCKER_HOST would have it.
    pub(crate) async fn connect_at(address: &str) -> Result<Self, ContainerError> {
        Self::connect_to(Endpoint::at(address, |name| std::env::var(name).ok()), None).await
    }

    async fn connect_to(endpoint: Endpoint, version: Option<(usize, usize)>) -> Result<Self, ContainerError> {
        let no_engine = |message| ContainerError::NoEngine {
            host: endpoint.host.clone(),
            from: endpoint.from.clone(),
            message,
        };
        let refused = |error: ApiError| no_engine(why_unreachable(&error));
        let docker = client(&endpoint).map_err(refused)?;
        let answer = tokio::time::timeout(CONNECT_WITHIN, docker.version()).await;
        let silent = |_| no_engine(format!("no answer within {} s", CONNECT_WITHIN.as_secs()));
        let about = answer.map_err(silent)?.map_err(refused)?;
        let spoken = about.api_version.as_deref().and_then(endpoint::version);
        let known = (API_DEFAULT_VERSION.major_version, API_DEFAULT_VERSION.minor_version);
        let (major, minor) = version.unwrap_or_else(|| spoken.map_or(known, |spoken| spoken.min(known)));
        let is_podman = about.components.is_some_and(|all| all.iter().any(|one| one.name.contains("Podman")));
        let prefix = format!("/v{major}.{minor}");
        let docker = docker.with_request_modifier(move |request| at_version(request, &prefix));
        if version.is_some() {
            // An engine refuses versions that it does not speak.
            docker.ping().await.map_err(refused)?;
        }
        Ok(Self {
            docker,
            endpoint: Arc::new(endpoint),
            patience: PATIENCE,
            is_podman,
            cancelled: Arc::default(),
            making: Arc::default(),
            images: Arc::default(),
            doubt: Arc::default(),
            removing: Arc::default(),
            architecture: about.arch,
            networks: Arc::default(),
        })
    }

    /// The address of the engine, as it was given.
    pub(crate) fn host(&self) -> &str {
        &self.endpoint.host
    }

    /// Returns when the engine answers; `tell` hears again and again that it does not yet.
    ///
    /// # Errors
    /// [`ContainerError::Unreachable`] after two minutes.
    pub(crate) async fn until_it_answers(
        &self,
        tell: &(dyn Fn() + Send + Sync),
    ) -> Result<(), ContainerError> {
        self.doubt.store(true, Ordering::Relaxed);
        self.networks.forget();
        let begun = Instant::now();
        loop {
            if matches!(tokio::time::timeout(CONNECT_WITHIN, self.docker.ping()).await, Ok(Ok(_))) {
                return Ok(());
            }
            if begun.elapsed() > self.patience {
                let waited = humantime::format_duration(self.patience);
                return Err(ContainerError::Unreachable { host: self.host().to_owned(), waited });
            }
            tell();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// The lock of one image.
    fn making(&self, image: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut making = self.making.lock();
        Arc::clone(making.entry(image.to_owned()).or_default())
    }
}

impl ContainerError {
    /// The connection broke, or the engine is not there at the moment: what was asked for may have happened.
    pub(crate) fn is_connection(&self) -> bool {
        matches!(self, Self::Api { source, .. } if is_connection(source))
    }

    /// There is no engine to talk to.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::NoEngine { .. } | Self::Unreachable { .. }) || self.is_connection()
    }
}

fn client(endpoint: &Endpoint) -> Result<Docker, ApiError> {
    let host = endpoint.host.as_str();
    match host.split_once("://") {
        Some(("unix", _)) => Docker::connect_with_unix(host, ANSWER_WITHIN, API_DEFAULT_VERSION),
        Some(("ssh", _)) => ssh::client(host, ANSWER_WITHIN),
        Some(("tcp" | "http" | "https", _)) => match &endpoint.tls {
            Some(tls) => Docker::connect_with_ssl(
                host,
                &tls.key,
                &tls.cert,
                &tls.ca,
                ANSWER_WITHIN,
                API_DEFAULT_VERSION,
            ),
            None => Docker::connect_with_http(host, ANSWER_WITHIN, API_DEFAULT_VERSION),
        },
        _ => Err(ApiError::UnsupportedURISchemeError { uri: host.to_owned() }),
    }
}

/// The library agrees on a version and then does not ask for it; an engine of another version may answer in another
/// shape.
fn at_version(request: BollardRequest, prefix: &str) -> BollardRequest {
    let (mut head, body) = request.into_parts();
    let mut parts = head.uri.clone().into_parts();
    if let Some(path) = parts.path_and_query.as_ref().filter(|path| !path.as_str().starts_with("/v1."))
        && let Ok(path) = format!("{prefix}{path}").parse()
    {
        parts.path_and_query = Some(path);
        if let Ok(uri) = hyper::Uri::from_parts(parts) {
            head.uri = uri;
        }
    }
    BollardRequest::from_parts(head, body)
}

/// The connection broke, or the engine is not there at the moment.
fn is_connection(error: &ApiError) -> bool {
    matches!(
        error,
        ApiError::HyperResponseError { .. }
            | ApiError::HyperLegacyError { .. }
            | ApiError::IOError { .. }
            | ApiError::RequestTimeoutError
            | ApiError::SocketNotFoundError(_)
    )
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
