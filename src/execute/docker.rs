//! Commands in containers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::background::LOG_LIMIT;
use super::command::{PreparedCommand, STATE_VARIABLE, manifest_folder, outcome_of};
use super::image_progress::ensure_image;
use super::step::StepPerformer;
use super::{Attempt, Deployed, credentials};
use crate::command_exit::{CommandExit, Found};
use crate::container::{
    BACKGROUND_LABEL, ContainerCommand, ContainerError, Engine, HOME, Image, Mount, RUN_LABEL, STATE_LABEL,
    state_label,
};
use sb_plan::benchmark::{Action, Environment, Images};
use sb_plan::event::{FailureClass, Outcome};
use sb_plan::graph::{RunGraph, Step};
use sb_plan::id::RunId;

/// Where a command finds the folder of the state that is its own. The state itself is hidden from containers.
const STATE_FOLDER: &str = "/sb-state";

impl StepPerformer {
    /// The engine, connected once.
    ///
    /// # Errors
    /// No engine answers.
    pub(crate) async fn reach_engine(&self) -> Result<&Engine, ContainerError> {
        self.engine.get_or_try_init(Engine::connect).await
    }

    /// The address of the engine, if one is in use.
    pub(crate) fn engine_host(&self) -> Option<&str> {
        self.engine.get().map(Engine::host)
    }

    /// Before anything is deployed: the engine answers, and has the volumes of the credentials that the graph's steps
    /// ask for.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub(crate) async fn prepare_engine(&self, graph: &RunGraph) -> Result<(), ContainerError> {
        let engine = self.reach_engine().await?;
        for step in graph.graph.node_weights().filter_map(Step::manifest) {
            credentials::check(engine, &step.environment.credentials).await?;
            for recovery in &step.recover {
                credentials::check(engine, &recovery.environment.credentials).await?;
            }
        }
        Ok(())
    }

    /// Leaves no container of a run whose steps have all ended.
    pub(crate) async fn leave_engine(&self, run: &RunId) -> Result<(), ContainerError> {
        match self.engine.get() {
            Some(engine) => engine.sweep(run.as_str()).await,
            None => Ok(()),
        }
    }
}

pub(super) async fn run(
    performer: &StepPerformer,
    attempt: &Attempt,
    prepared: PreparedCommand,
    environment: &Environment,
    folder: &Path,
) -> Outcome {
    let timeout = prepared.timeout;
    match Box::pin(patiently(performer, attempt, &prepared, environment, folder)).await {
        Ok(Some(exit)) => outcome_of(&exit, timeout),
        Ok(None) | Err(ContainerError::Gone { .. }) => Outcome::Interrupted,
        Err(error) if error.is_unreachable() => {
            Outcome::failed(FailureClass::EngineUnreachable, error.to_string())
        }
        Err(error) => Outcome::failed(FailureClass::NotStarted, credentials::explain(&error)),
    }
}

/// An engine that goes away is waited for, and what became of the container found out when it is back.
async fn patiently(
    performer: &StepPerformer,
    attempt: &Attempt,
    prepared: &PreparedCommand,
    environment: &Environment,
    folder: &Path,
) -> Result<Option<CommandExit>, ContainerError> {
    let engine = performer.reach_engine().await?;
    let waiting = AtomicBool::new(false);
    let tell = || {
        waiting.store(true, Ordering::Relaxed);
        progress(attempt, format!("waiting for the Docker engine at {}…", engine.host()));
    };
    let mut known = KnownAttempt { begun: attempt.reattach, asked: false };
    loop {
        match try_run(performer, engine, attempt, prepared, environment, folder, &mut known).await {
            Err(error) if error.is_connection() => engine.until_it_answers(&tell).await?,
            other => return other,
        }
        if waiting.swap(false, Ordering::Relaxed) {
            progress(attempt, "the Docker engine answers again".to_owned());
        }
        known.begun = true;
    }
}

/// What a runner knows of an attempt.
struct KnownAttempt {
    /// An earlier runner, or this one before the engine went away, may have started it.
    begun: bool,
    /// This one has asked for the container to be started.
    asked: bool,
}

fn progress(attempt: &Attempt, message: String) {
    attempt.tell(&message);
}

/// None: the container is gone, and nobody knows how it ended.
async fn try_run(
    performer: &StepPerformer,
    engine: &Engine,
    attempt: &Attempt,
    prepared: &PreparedCommand,
    environment: &Environment,
    folder: &Path,
    known: &mut KnownAttempt,
) -> Result<Option<CommandExit>, ContainerError> {
    let name = name(attempt, folder);
    match begin(performer, engine, attempt, prepared, environment, folder, known).await? {
        Begun::Gone => return Ok(None),
        Begun::Ended(exit) => return Ok(Some(exit)),
        Begun::Cancelled => return Ok(Some(CommandExit::Cancelled)),
        Begun::Running => {}
    }
    match until_ended(engine, attempt, folder, &name, prepared.grace).await {
        Ok(exit) => Ok(Some(exit)),
        Err(error @ (ContainerError::Gone { .. } | ContainerError::NotStarted { .. })) => Err(error),
        Err(error) if error.is_connection() => Err(error),
        // The step counts as failed from here on, so nothing of it may run on.
        Err(error) => {
            let _ = engine.remove(&name).await;
            Err(error)
        }
    }
}

/// What became of an attempt that should run.
pub(super) enum Begun {
    Running,
    Ended(CommandExit),
    /// Nobody knows how it ended.
    Gone,
    /// Nothing was started.
    Cancelled,
}

/// Starts the attempt's container unless it was started before. An engine that goes away is waited for.
pub(super) async fn begin_patiently(
    performer: &StepPerformer,
    attempt: &Attempt,
    prepared: &PreparedCommand,
    environment: &Environment,
    folder: &Path,
) -> Result<Begun, ContainerError> {
    let engine = performer.reach_engine().await?;
    let mut known = KnownAttempt { begun: attempt.reattach, asked: false };
    loop {
        match begin(performer, engine, attempt, prepared, environment, folder, &mut known).await {
            Err(error) if error.is_connection() => engine.until_it_answers(&|| {}).await?,
            other => return other,
        }
        known.begun = true;
    }
}

async fn begin(
    performer: &StepPerformer,
    engine: &Engine,
    attempt: &Attempt,
    prepared: &PreparedCommand,
    environment: &Environment,
    folder: &Path,
    known: &mut KnownAttempt,
) -> Result<Begun, ContainerError> {
    let name = name(attempt, folder);
    let found = if known.begun { engine.look(folder, &name).await? } else { Found::NotStarted };
    match found {
        Found::Gone => return Ok(Begun::Gone),
        Found::Ended(exit) => return Ok(Begun::Ended(exit)),
        Found::Running => {}
        // The engine went away as it was asked to start the container, and may have forgotten that it did.
        Found::NotStarted if known.asked => {
            engine.remove(&name).await?;
            return Ok(Begun::Gone);
        }
        Found::NotStarted => {
            if let Some(missing) = missing_workdir(performer, attempt, prepared) {
                return Ok(Begun::Ended(missing));
            }
            credentials::check(engine, &environment.credentials).await?;
            let wanted = image(environment.image.as_ref(), &performer.images);
            let tell = |line| progress(attempt, line);
            let image = tokio::select! {
                image = ensure_image(engine, &wanted, &tell) => image?,
                () = attempt.cancel.cancelled() => return Ok(Begun::Cancelled),
            };
            let command = container_command(performer, attempt, prepared, environment, image);
            known.asked = true;
            match engine.start(folder, &command, &name).await {
                // The request of a runner that was killed in between arrived after all: it is this very attempt.
                Ok(_) | Err(ContainerError::AlreadyStarted { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Begun::Running)
}

/// What the engine is asked for; none: the image of steps that name none.
pub(crate) fn image(wanted: Option<&sb_plan::benchmark::Image>, defaults: &Images) -> Image {
    let default = |name: &str| Image::Reference(defaults.reference(name).to_owned());
    match wanted {
        None => default(Images::STEP),
        Some(sb_plan::benchmark::Image::Default(name)) => default(name),
        Some(sb_plan::benchmark::Image::Reference(reference)) => Image::Reference(reference.clone()),
        Some(sb_plan::benchmark::Image::Build { dockerfile, context, args }) => {
            Image::Build { dockerfile: dockerfile.clone(), context: context.clone(), args: args.clone() }
        }
    }
}

async fn until_ended(
    engine: &Engine,
    attempt: &Attempt,
    folder: &Path,
    name: &str,
    grace: Duration,
) -> Result<CommandExit, ContainerError> {
    tokio::select! {
        exit = engine.wait(folder, name) => return exit,
        () = attempt.cancel.cancelled() => {}
    }
    engine.cancel(folder, name, grace).await?;
    engine.wait(folder, name).await
}

/// The engine would make a missing working directory, and it would belong to root.
pub(super) fn missing_workdir(
    performer: &StepPerformer,
    attempt: &Attempt,
    prepared: &PreparedCommand,
) -> Option<CommandExit> {
    let shared = mounts(performer, attempt).iter().any(|mount| prepared.workdir.starts_with(&mount.source));
    (shared && !prepared.workdir.is_dir()).then(|| CommandExit::SpawnFailed {
        message: format!(
            "the working directory `{}` does not exist: create it in an earlier step",
            prepared.workdir.display()
        ),
    })
}

pub(super) fn container_command(
    performer: &StepPerformer,
    attempt: &Attempt,
    prepared: &PreparedCommand,
    environment: &Environment,
    image: String,
) -> ContainerCommand {
    let mut env = prepared.env.clone();
    // Another user's home is for the image to say, and then nobody knows where credentials belong.
    if environment.user.is_some() && !environment.credentials.is_empty() {
        env.entry("HOME".to_owned()).or_insert_with(|| HOME.to_owned());
    }
    let mut mounts = mounts(performer, attempt);
    if let Some(state) = &prepared.state {
        env.insert(STATE_VARIABLE.to_owned(), STATE_FOLDER.to_owned());
        mounts.push(Mount { source: state.clone(), target: STATE_FOLDER.to_owned(), read_only: false });
    }
    let home = env.get("HOME").map_or(HOME, String::as_str);
    ContainerCommand {
        log_limit: attempt.step.is_background().then_some(LOG_LIMIT),
        image,
        entrypoint: Some(vec![]),
        argv: prepared.argv.clone(),
        volumes: credentials::volumes(&environment.credentials, home),
        in_memory: vec![],
        env,
        workdir: Some(prepared.workdir.to_string_lossy().into_owned()),
        mounts,
        user: environment.user.clone(),
        network: environment.network.clone().or_else(|| default_network(&attempt.deployment)),
        cpus: environment.limits.cpus,
        memory_bytes: environment.limits.memory_bytes,
        labels: labels(performer, attempt),
        timeout: prepared.timeout,
        grace: prepared.grace,
    }
}

/// By which a container is found again.
pub(super) fn labels(performer: &StepPerformer, attempt: &Attempt) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (RUN_LABEL.to_owned(), attempt.run.to_string()),
        (STATE_LABEL.to_owned(), state_label(performer.workspace.folder())),
        ("sb.step".to_owned(), attempt.step.id.to_string()),
        ("sb.attempt".to_owned(), attempt.number.to_string()),
    ]);
    if attempt.step.is_background() {
        labels.insert(BACKGROUND_LABEL.to_owned(), attempt.deployment.id.to_string());
    }
    labels
}

/// The manifest's root, at the same path as on this machine, so that paths mean the same in both executors.
pub(super) fn mounts(performer: &StepPerformer, attempt: &Attempt) -> Vec<Mount> {
    let root = &attempt.deployment.benchmark.root;
    let mount = |source: &Path, target: &Path, read_only| Mount {
        source: source.to_owned(),
        target: target.to_string_lossy().into_owned(),
        read_only,
    };
    let mut mounts = vec![mount(root, root, false)];
    let manifest = manifest_folder(attempt);
    if !manifest.starts_with(root) {
        mounts.push(mount(manifest, manifest, false));
    }
    // The state holds the secrets of every deployment: where it lies inside the root, containers see an empty folder.
    if performer.workspace.folder().starts_with(root) {
        let empty = performer.workspace.empty_folder();
        if std::fs::create_dir_all(&empty).is_ok() {
            mounts.push(mount(&empty, performer.workspace.folder(), true));
        }
    }
    mounts
}

/// The local target listens on this machine's loopback only: containers of its applications share its network.
pub(super) fn default_network(deployment: &Deployed) -> Option<String> {
    let target = deployment.benchmark.targets.get(&deployment.target)?;
    let local = target.deploy.iter().any(|step| matches!(step.action, Action::LocalUp(_)));
    local.then(|| "host".to_owned())
}

/// Unique for the attempt: readable, and with a digest of what a name cannot hold.
pub(super) fn name(attempt: &Attempt, folder: &Path) -> String {
    use sha2::Digest as _;
    let id: String = attempt
        .step
        .id
        .as_str()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .take(80)
        .collect();
    let digest = sha2::Sha256::digest(folder.to_string_lossy().as_bytes());
    let digest: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("sb-{id}-{}-{digest}", attempt.number)
}
