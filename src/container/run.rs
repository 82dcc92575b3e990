//! One command in one container: start, wait, find again, stop, clean away.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::future::pending;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bollard::errors::Error as ApiError;
use bollard::models::{
    ContainerCreateBody, ContainerState, ContainerStateStatusEnum, ContainerSummaryStateEnum, HostConfig,
    HostConfigLogConfig, Mount as ApiMount, MountTmpfsOptions, MountType, MountVolumeOptions,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, KillContainerOptions, ListContainersOptions,
    LogsOptions, RemoveContainerOptions, StartContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt as _;
use sb_durable::Durability;
use serde::{Deserialize, Serialize};

use super::fate::ContainerEnd;
use super::output::Output;
use super::{ContainerError, Engine, api, engine_message, is_connection, status_of};
use crate::attempt::{self, ExitRecord};
use crate::command_exit::{CommandExit, Found};

/// A command to run in a container. Its environment may hold secrets (anyone who may talk to the engine can read
/// it while the container exists); its arguments must not.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContainerCommand {
    /// An id or a reference of an image that the engine has.
    pub image: String,
    /// None: the image's own. Empty: none.
    pub entrypoint: Option<Vec<String>>,
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Absolute, in the container. None: the image's own.
    pub workdir: Option<String>,
    pub mounts: Vec<Mount>,
    /// Must exist: see [`Engine::has_volume`].
    #[serde(default)]
    pub volumes: Vec<Volume>,
    /// Folders in memory, absolute, that any user may write.
    #[serde(default)]
    pub in_memory: Vec<String>,
    /// `user`, `uid` or `uid:gid`. None: who runs this program, so that files in mounted folders belong to them; HOME
    /// is then an empty writable folder that lives as long as the container, unless `env` sets it.
    pub user: Option<String>,
    /// A network of the engine, `host` or `none`. None: the engine's default.
    pub network: Option<String>,
    /// Of processor time; above 0.
    pub cpus: Option<f64>,
    /// Without swap.
    pub memory_bytes: Option<u64>,
    /// At least [`RUN_LABEL`] and [`STATE_LABEL`], by which orphans are found, `sb.step` and `sb.attempt`.
    pub labels: BTreeMap<String, String>,
    /// From the start of the container; then it is stopped.
    pub timeout: Option<Duration>,
    /// From the polite signal (TERM) to the other one (KILL).
    pub grace: Duration,
    /// Bytes of its output that are kept at least, of those that came last. None: all is kept.
    #[serde(default)]
    pub log_limit: Option<u64>,
}

/// A file or folder of this machine in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mount {
    /// Absolute; must exist.
    pub source: PathBuf,
    /// Absolute.
    pub target: String,
    pub read_only: bool,
}

/// A named volume of the engine in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Volume {
    pub name: String,
    /// Absolute.
    pub target: String,
    /// Otherwise it can only be read.
    #[serde(default)]
    pub writable: bool,
}

/// A container that carries the label `sb.run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Orphan {
    pub id: String,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub running: bool,
}

impl std::fmt::Debug for ContainerCommand {
    /// Without the values of the environment: they may be secrets.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ContainerCommand")
            .field("image", &self.image)
            .field("entrypoint", &self.entrypoint)
            .field("argv", &self.argv)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("workdir", &self.workdir)
            .field("mounts", &self.mounts)
            .field("volumes", &self.volumes)
            .field("in_memory", &self.in_memory)
            .field("user", &self.user)
            .field("network", &self.network)
            .field("cpus", &self.cpus)
            .field("memory_bytes", &self.memory_bytes)
            .field("labels", &self.labels)
            .field("timeout", &self.timeout)
            .field("grace", &self.grace)
            .field("log_limit", &self.log_limit)
            .finish()
    }
}

/// Pieces of output that are written together, where as many have arrived.
const PIECES: usize = 1024;
/// The run that a container works for.
pub(crate) const RUN_LABEL: &str = "sb.run";
/// The workspace that the run belongs to ([`state_label`]): several, of several machines, may share an engine.
pub(crate) const STATE_LABEL: &str = "sb.state";
const TIMEOUT_LABEL: &str = "sb.timeout_ms";
const GRACE_LABEL: &str = "sb.grace_ms";
const LOG_LIMIT_LABEL: &str = "sb.log_limit";
/// The deployment that a container is kept alive for, beyond the end of its step.
pub(crate) const BACKGROUND_LABEL: &str = "sb.background";
/// HOME of commands that run as the caller: a mount that should be in their home goes below it.
pub(crate) const HOME: &str = "/sb-home";
const HOME_FOLDER: &str = "home";
/// Written before the container starts: without it and without the container, nothing was started.
const CREATED_FILE: &str = "container.json";
const CANCEL_FILE: &str = "cancel";
const TIMED_OUT_FILE: &str = "timed_out";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Created {
    version: u32,
    id: String,
    name: String,
}

/// The content of `cancel` and `timed_out`: when the container was told to stop, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StopOrder {
    asked_unix_ms: u64,
    grace_ms: u64,
}

impl StopOrder {
    fn now(grace: Duration) -> Self {
        Self { asked_unix_ms: unix_ms_now(), grace_ms: millis(grace) }
    }

    fn kill_at(self) -> u64 {
        self.asked_unix_ms.saturating_add(self.grace_ms)
    }
}

/// What the engine says about a container that exists.
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) state: ContainerState,
    labels: HashMap<String, String>,
    pub(super) has_memory_limit: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Created,
    Running,
    Ended,
}

impl Seen {
    fn phase(&self) -> Phase {
        match self.state.status {
            Some(ContainerStateStatusEnum::CREATED) => Phase::Created,
            Some(
                ContainerStateStatusEnum::EXITED
                | ContainerStateStatusEnum::DEAD
                | ContainerStateStatusEnum::REMOVING,
            ) => Phase::Ended,
            _ => Phase::Running,
        }
    }

    fn label_number(&self, label: &str) -> Option<u64> {
        self.labels.get(label)?.parse().ok()
    }

    /// Where its output is kept.
    fn output(&self, dir: &Path) -> Result<Output, ContainerError> {
        Output::open(dir, self.label_number(LOG_LIMIT_LABEL)).map_err(folder(dir))
    }

    /// Unix milliseconds.
    fn time(text: Option<&str>) -> Option<u64> {
        let time: jiff::Timestamp = text?.parse().ok()?;
        u64::try_from(time.as_millisecond()).ok().filter(|time| *time > 0)
    }

    pub(super) fn started(&self) -> Option<u64> {
        Self::time(self.state.started_at.as_deref())
    }

    pub(super) fn finished(&self) -> Option<u64> {
        Self::time(self.state.finished_at.as_deref())
    }
}

impl Engine {
    /// Creates and starts the container `name` for the attempt in `dir`, which must exist and be used for nothing else,
    /// and returns the container's id. A name is letters, digits, `_`, `.` and `-`, not first. Whatever happens to this process from then on, [`Engine::look`] and
    /// [`Engine::wait`] tell how the command ended.
    ///
    /// A program that is not in the image, and an attempt that was cancelled before, are ends ([`CommandExit`]), not errors.
    pub(crate) async fn start(
        &self,
        dir: &Path,
        command: &ContainerCommand,
        name: &str,
    ) -> Result<String, ContainerError> {
        let dir = &absolute(dir)?;
        let already = || ContainerError::AlreadyStarted { name: name.to_owned() };
        if ExitRecord::read(dir).map_err(folder(dir))?.is_some() {
            return Err(already());
        }
        if !is_fresh(dir) {
            self.clear_idle(dir, name).await?;
        }
        if read::<StopOrder>(dir, CANCEL_FILE)?.is_some() {
            record(dir, CommandExit::Cancelled, None, None)?;
            return Ok(name.to_owned());
        }
        self.borrow_network(name, command).await;
        loop {
            let id = match self.create(dir, command, name).await {
                Ok(id) => id,
                Err(ContainerError::Refused { .. }) if self.has_lost_network(name).await? => continue,
                Err(error) => {
                    self.networks.give_back(name);
                    return Err(error);
                }
            };
            let created = Created { version: 1, id: id.clone(), name: name.to_owned() };
            attempt::write_json(dir, CREATED_FILE, &created, Durability::Disk).map_err(folder(dir))?;
            match self.docker.start_container(&id, None::<StartContainerOptions>).await {
                Ok(()) => return Ok(id),
                Err(error) if status_of(&error).is_some() => {
                    if self.has_lost_network(name).await? {
                        // In this order: between the two it is one that was never started.
                        forget(dir, CREATED_FILE)?;
                        if !self.remove_idle(&id).await? {
                            return Err(already());
                        }
                        continue;
                    }
                    remove_home(dir);
                    record(dir, CommandExit::SpawnFailed { message: engine_message(&error) }, None, None)?;
                    self.remove(&id).await?;
                    self.networks.give_back(name);
                    return Ok(id);
                }
                Err(error) => return Err(api(format!("starting container `{name}`"))(error)),
            }
        }
    }

    /// Nothing of the command runs yet.
    async fn create(
        &self,
        dir: &Path,
        command: &ContainerCommand,
        name: &str,
    ) -> Result<String, ContainerError> {
        let mut body = body_of(command, dir, self.log(command.log_limit))?;
        if let (Some(network), Some(host)) = (self.borrowed_network(name), &mut body.host_config) {
            host.network_mode = Some(network);
        }
        let options = CreateContainerOptions { name: Some(name.to_owned()), ..Default::default() };
        let mut answer = self.docker.create_container(Some(options.clone()), body.clone()).await;
        if answer.as_ref().is_err_and(is_taken) {
            self.clear_idle(dir, name).await?;
            answer = self.docker.create_container(Some(options), body).await;
        }
        answer.map(|created| created.id).map_err(|error| {
            remove_home(dir);
            match status_of(&error) {
                // A start of a runner that was killed in between arrived after all.
                Some(_) if is_taken(&error) => ContainerError::AlreadyStarted { name: name.to_owned() },
                Some(status) => {
                    if status == 404 {
                        self.forget_images();
                    }
                    self.refused(name, &error)
                }
                None => api(format!("creating container `{name}`"))(error),
            }
        })
    }

    /// Waits for the end of the container `name`, whoever started it, keeps its output in `dir`, records its end there
    /// and removes it. One at a time per attempt. Dropping the future leaves the container running, and the next call
    /// goes on where this one stopped.
    ///
    /// When the folder cannot be written, the container is killed: nobody could tell how it ended.
    ///
    /// The time limit is counted from the container's start, by the engine's clock, and enforced while someone waits.
    ///
    /// # Errors
    /// [`ContainerError::Gone`] when something else than the command, this program and the kernel ended it: somebody who
    /// stopped or removed the container, or the end of the engine itself. When the connection breaks
    /// ([`ContainerError::is_connection`]), wait again once the engine answers.
    pub(crate) async fn wait(&self, dir: &Path, name: &str) -> Result<CommandExit, ContainerError> {
        let dir = &absolute(dir)?;
        match self.wait_once(dir, name).await {
            Err(ContainerError::Folder { source, .. }) => self.give_up(dir, name, &source).await,
            other => other,
        }
    }

    /// What became of the attempt in `dir`, whose container is `name`. Of a container that has ended, the output is
    /// kept and the end recorded on the way.
    pub(crate) async fn look(&self, dir: &Path, name: &str) -> Result<Found, ContainerError> {
        self.doubt.store(true, Ordering::Relaxed);
        let dir = &absolute(dir)?;
        if let Some(record) = ExitRecord::read(dir).map_err(folder(dir))? {
            // We may have been killed between the record and this.
            self.remove(name).await?;
            return Ok(Found::Ended(record.exit));
        }
        match self.inspect(name).await? {
            None if is_fresh(dir) => Ok(Found::NotStarted),
            None => Ok(Found::Gone),
            Some(seen) => match seen.phase() {
                Phase::Created => Ok(Found::NotStarted),
                Phase::Running => Ok(Found::Running),
                Phase::Ended => Ok(match self.finish(dir, name, &seen).await? {
                    Some(exit) => Found::Ended(exit),
                    None => Found::Gone,
                }),
            },
        }
    }

    /// Asks for the attempt to be stopped: TERM now, KILL after `grace` (by the one who waits, or who waits next). Returns
    /// at once; [`Engine::wait`] tells how it ended. An attempt that has not begun ends without running its command.
    pub(crate) async fn cancel(&self, dir: &Path, name: &str, grace: Duration) -> Result<(), ContainerError> {
        let dir = &absolute(dir)?;
        let mut stop = StopOrder::now(grace);
        if let Some(earlier) = read::<StopOrder>(dir, CANCEL_FILE)? {
            // A second request may shorten the grace period, and never lengthens it.
            let kill_at = stop.kill_at().min(earlier.kill_at());
            stop = StopOrder { grace_ms: kill_at.saturating_sub(earlier.asked_unix_ms), ..earlier };
        }
        attempt::write_json(dir, CANCEL_FILE, &stop, Durability::Processes).map_err(folder(dir))?;
        self.kill(name, "SIGTERM").await?;
        self.cancelled.notify_waiters();
        Ok(())
    }

    /// Every container of the engine that carries this label ([`RUN_LABEL`], for all of this tool), with this value if one
    /// is given: after all attempts of a run were looked at, what is left belongs to nobody.
    pub(crate) async fn list_orphans(
        &self,
        label: &str,
        value: Option<&str>,
    ) -> Result<Vec<Orphan>, ContainerError> {
        let label = value.map_or_else(|| label.to_owned(), |value| format!("{label}={value}"));
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
        let found = self.docker.list_containers(Some(options)).await.map_err(api("listing containers"))?;
        let orphan = |one: bollard::models::ContainerSummary| Orphan {
            id: one.id.unwrap_or_default(),
            name: one
                .names
                .and_then(|names| names.into_iter().next())
                .map(|name| name.trim_start_matches('/').to_owned())
                .unwrap_or_default(),
            labels: one.labels.unwrap_or_default().into_iter().collect(),
            running: one.state == Some(ContainerSummaryStateEnum::RUNNING),
        };
        Ok(found.into_iter().map(orphan).collect())
    }

    /// Kills and removes a container and its unnamed volumes, by name or id; one that is not there is no error.
    pub(crate) async fn remove(&self, container: &str) -> Result<(), ContainerError> {
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        match self.docker.remove_container(container, Some(options)).await {
            Ok(()) => Ok(()),
            // 409: somebody else is removing it right now.
            Err(error) if matches!(status_of(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(api(format!("removing container `{container}`"))(error)),
        }
    }

    /// False if the container is running after all: a start that was on its way has arrived.
    async fn remove_idle(&self, id: &str) -> Result<bool, ContainerError> {
        let options = RemoveContainerOptions { v: true, ..Default::default() };
        match self.docker.remove_container(id, Some(options)).await {
            Ok(()) => Ok(true),
            Err(error) if status_of(&error) == Some(404) => Ok(true),
            Err(error) if status_of(&error) == Some(409) => Ok(false),
            Err(error) => Err(api(format!("removing container `{id}`"))(error)),
        }
    }

    pub(super) async fn inspect(&self, name: &str) -> Result<Option<Seen>, ContainerError> {
        let mut asked = 0;
        let answer = loop {
            match self.docker.inspect_container(name, None::<InspectContainerOptions>).await {
                // Podman's word for a container that has ended and whose remains are being put away.
                Err(ApiError::JsonDataError { message, .. })
                    if message.contains("`stopped`") && asked < 100 =>
                {
                    asked += 1;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                answer => break answer,
            }
        };
        match answer {
            Ok(found) => Ok(Some(Seen {
                id: found.id.unwrap_or_else(|| name.to_owned()),
                state: found.state.unwrap_or_default(),
                labels: found.config.and_then(|config| config.labels).unwrap_or_default(),
                has_memory_limit: found.host_config.and_then(|host| host.memory).unwrap_or(0) > 0,
            })),
            Err(error) if status_of(&error) == Some(404) => Ok(None),
            Err(error) => Err(api(format!("looking at container `{name}`"))(error)),
        }
    }

    pub(super) async fn kill(&self, container: &str, signal: &str) -> Result<(), ContainerError> {
        let options = KillContainerOptions { signal: signal.to_owned() };
        match self.docker.kill_container(container, Some(options)).await {
            Ok(()) => Ok(()),
            // It is not there, or it has ended.
            Err(error) if matches!(status_of(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(api(format!("stopping container `{container}`"))(error)),
        }
    }

    /// The output cannot be kept, of which a full disk is the usual reason: the container has no use any more.
    async fn give_up(&self, dir: &Path, name: &str, why: &io::Error) -> Result<CommandExit, ContainerError> {
        self.kill(name, "SIGKILL").await?;
        attempt::make_room(dir);
        let exit = CommandExit::OutputLost { message: why.to_string() };
        record(dir, exit.clone(), None, None)?;
        remove_home(dir);
        self.remove(name).await?;
        self.networks.give_back(name);
        Ok(exit)
    }

    async fn wait_once(&self, dir: &Path, name: &str) -> Result<CommandExit, ContainerError> {
        let gone = || ContainerError::Gone { name: name.to_owned(), dir: dir.to_owned() };
        loop {
            if let Some(record) = ExitRecord::read(dir).map_err(folder(dir))? {
                return Ok(record.exit);
            }
            let seen = match self.inspect(name).await? {
                Some(seen) => seen,
                None if is_fresh(dir) => {
                    return Err(ContainerError::NotStarted { name: name.to_owned() });
                }
                None => return Err(gone()),
            };
            match seen.phase() {
                Phase::Created => return Err(ContainerError::NotStarted { name: name.to_owned() }),
                Phase::Running => self.follow(dir, &seen).await?,
                Phase::Ended => return self.finish(dir, name, &seen).await?.ok_or_else(gone),
            }
        }
    }

    /// Until the container has ended: keeps its output as it comes, and stops it when it is time.
    async fn follow(&self, dir: &Path, seen: &Seen) -> Result<(), ContainerError> {
        let until_ended = WaitContainerOptions { condition: "not-running".to_owned() };
        let mut end = pin!(self.docker.wait_container(&seen.id, Some(until_ended)));
        let mut output = seen.output(dir)?;
        let mut pieces = pin!(self.docker.logs(&seen.id, Some(logs(true))).ready_chunks(PIECES));
        let mut pieces_end = false;
        let deadline = match (seen.label_number(TIMEOUT_LABEL), seen.started()) {
            (Some(timeout), Some(started)) => deadline(started, timeout),
            _ => None,
        };
        let mut kill_at = None;
        let grace = Duration::from_millis(seen.label_number(GRACE_LABEL).unwrap_or(0));
        let mut killed = false;
        // Whoever asked may have been killed before the signal was sent: once more does no harm.
        if stop_of(dir)?.is_some() {
            self.kill(&seen.id, "SIGTERM").await?;
        }
        loop {
            // In this order: a request that comes after we looked rings.
            let rings = self.cancelled.notified();
            let mut rings = pin!(rings);
            rings.as_mut().enable();
            let stop = stop_of(dir)?;
            if let Some(stop) = stop
                && kill_at.is_none_or(|(known, _)| known != stop)
            {
                kill_at = Some((stop, self::deadline(stop.asked_unix_ms, stop.grace_ms)));
            }
            let alarm = match kill_at {
                Some(_) if killed => None,
                Some((_, at)) => at,
                None => deadline,
            };
            loop {
                tokio::select! {
                    biased;
                    ended = end.next() => return match ended {
                        Some(Err(error)) if is_connection(&error) => {
                            Err(api(format!("waiting for container `{}`", seen.id))(error))
                        }
                        // A code above 0 comes as an error. What it means, the engine tells when it is asked.
                        _ => Ok(()),
                    },
                    () = sleep_until(alarm) => break,
                    () = rings.as_mut() => break,
                    arrived = pieces.next(), if !pieces_end => {
                        // What is missing at an error is read when the container has ended.
                        pieces_end = arrived.as_ref().is_none_or(|pieces| pieces.iter().any(Result::is_err));
                        for piece in arrived.into_iter().flatten().map_while(Result::ok) {
                            output.push(&piece).map_err(folder(dir))?;
                        }
                        output.flush().map_err(folder(dir))?;
                    }
                }
            }
            if alarm.is_some_and(|at| at <= Instant::now()) {
                if stop.is_some() {
                    killed = true;
                    self.kill(&seen.id, "SIGKILL").await?;
                } else {
                    let stop = StopOrder::now(grace);
                    attempt::write_json(dir, TIMED_OUT_FILE, &stop, Durability::Processes)
                        .map_err(folder(dir))?;
                    self.kill(&seen.id, "SIGTERM").await?;
                }
            }
        }
    }

    /// Of a container that has ended: completes the output, records the end, and only then removes it (soon:
    /// [`Engine::settle`] waits for that). None: something else ended it, so nothing is recorded.
    async fn finish(
        &self,
        dir: &Path,
        name: &str,
        seen: &Seen,
    ) -> Result<Option<CommandExit>, ContainerError> {
        // First of all: the engine remembers events for a while only, and much output takes its time.
        let exit = exit_of(dir, seen, &[])?;
        let ours = matches!(exit, CommandExit::Cancelled | CommandExit::TimedOut | CommandExit::OutOfMemory);
        let end = if ours { ContainerEnd::Natural } else { self.how_it_ended(seen, &exit).await? };
        let mut pieces = pin!(self.docker.logs(&seen.id, Some(logs(false))));
        let mut next = pieces.next().await;
        if let Some(Err(error)) = &next
            && matches!(status_of(error), Some(404 | 409))
        {
            // Somebody is removing it, and its output with it: what is kept of that must do.
            remove_home(dir);
            self.networks.give_back(name);
            self.remove(&seen.id).await?;
            return Ok(None);
        }
        let mut output = seen.output(dir)?;
        while let Some(piece) = next {
            let piece = piece.map_err(api(format!("reading the output of container `{}`", seen.id)))?;
            output.push(&piece).map_err(folder(dir))?;
            next = pieces.next().await;
        }
        output.flush().map_err(folder(dir))?;
        let mut exit = exit_of(dir, seen, &output.stderr_tail)?;
        remove_home(dir);
        self.networks.give_back(name);
        match end {
            ContainerEnd::Foreign => {
                self.remove(&seen.id).await?;
                return Ok(None);
            }
            ContainerEnd::OutOfMemory => exit = CommandExit::OutOfMemory,
            ContainerEnd::Natural => {}
        }
        // Where the end cannot be recorded, it is known all the same: the runner's journal vouches for it, and until then
        // the container tells a later runner.
        if record(dir, exit.clone(), seen.started(), seen.finished()).is_ok() {
            self.remove_soon(seen.id.clone());
        }
        Ok(Some(exit))
    }

    /// What was left by a runner that was killed while it started the attempt: nothing has run in it.
    async fn clear_idle(&self, dir: &Path, name: &str) -> Result<(), ContainerError> {
        let already = || ContainerError::AlreadyStarted { name: name.to_owned() };
        match self.inspect(name).await? {
            Some(seen) if seen.phase() == Phase::Created && self.remove_idle(&seen.id).await? => {
                forget(dir, CREATED_FILE)
            }
            None if is_fresh(dir) => Ok(()),
            _ => Err(already()),
        }
    }

    pub(super) fn refused(&self, name: &str, error: &ApiError) -> ContainerError {
        let mut message = engine_message(error);
        if message.contains("bind source path does not exist") && !self.endpoint.is_local() {
            let host = self.host();
            message.push_str(&format!(
                " (the engine is at `{host}`, where the application's folder and the state folder must exist under the same paths)"
            ));
        }
        ContainerError::Refused { name: name.to_owned(), message }
    }
}

impl Engine {
    /// The only log that keeps bytes as they are; without rotation, so that all of it is there at the end, or with two
    /// files that are written in turn.
    pub(super) fn log(&self, limit: Option<u64>) -> HostConfigLogConfig {
        let size = limit.map(|limit| limit.to_string());
        if self.is_podman {
            let config = size.map(|size| HashMap::from([("max-size".to_owned(), size)]));
            return HostConfigLogConfig { typ: Some("k8s-file".to_owned()), config };
        }
        let files = if limit.is_some() { "2" } else { "1" };
        let size = size.unwrap_or_else(|| "1024g".to_owned());
        let options = [("max-size", size.as_str()), ("max-file", files), ("compress", "false")];
        let config = options.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        HostConfigLogConfig { typ: Some("local".to_owned()), config: Some(config) }
    }
}

/// The value of [`STATE_LABEL`] for a state folder of this machine.
pub(crate) fn state_label(state: &Path) -> String {
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}:{}", machine.trim(), state.display())
}

pub(super) fn body_of(
    command: &ContainerCommand,
    dir: &Path,
    log: HostConfigLogConfig,
) -> Result<ContainerCreateBody, ContainerError> {
    let mut env: Vec<String> = command.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut mounts: Vec<ApiMount> = command.mounts.iter().map(mount_of).collect();
    mounts.extend(command.in_memory.iter().map(|target| memory_of(target)));
    mounts.extend(command.volumes.iter().map(volume_of));
    let user = command.user.clone().unwrap_or_else(|| {
        format!("{}:{}", rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
    });
    if command.user.is_none() && !command.env.contains_key("HOME") {
        let source = make_home(dir, command).map_err(folder(dir))?;
        env.push(format!("HOME={HOME}"));
        mounts.insert(0, mount_of(&Mount { source, target: HOME.to_owned(), read_only: false }));
    }
    let mut labels: HashMap<String, String> = command.labels.clone().into_iter().collect();
    labels.insert(GRACE_LABEL.to_owned(), millis(command.grace).to_string());
    if let Some(limit) = command.log_limit {
        labels.insert(LOG_LIMIT_LABEL.to_owned(), limit.to_string());
    }
    if let Some(timeout) = command.timeout {
        labels.insert(TIMEOUT_LABEL.to_owned(), millis(timeout).to_string());
    }
    let memory = command.memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    // Podman takes an empty entrypoint for the image's own; any other replaces it, and the image's command with it.
    let (entrypoint, cmd) = match (&command.entrypoint, command.argv.split_first()) {
        (Some(none), Some((program, arguments))) if none.is_empty() => {
            (Some(vec![program.clone()]), arguments.to_vec())
        }
        (entrypoint, _) => (entrypoint.clone(), command.argv.clone()),
    };
    Ok(ContainerCreateBody {
        image: Some(command.image.clone()),
        entrypoint,
        cmd: Some(cmd),
        env: Some(env),
        working_dir: command.workdir.clone(),
        user: Some(user),
        labels: Some(labels),
        host_config: Some(HostConfig {
            mounts: Some(mounts),
            network_mode: command.network.clone(),
            nano_cpus: command.cpus.map(|cpus| (cpus * 1e9).round() as i64),
            memory,
            memory_swap: memory,
            log_config: Some(log),
            // Signals reach the command, which as the first process of a container would not die of them.
            init: Some(true),
            ..Default::default()
        }),
        ..Default::default()
    })
}

fn mount_of(mount: &Mount) -> ApiMount {
    ApiMount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..Default::default()
    }
}

fn memory_of(target: &str) -> ApiMount {
    ApiMount {
        typ: Some(MountType::TMPFS),
        target: Some(target.to_owned()),
        tmpfs_options: Some(MountTmpfsOptions { mode: Some(0o1777), ..Default::default() }),
        ..Default::default()
    }
}

fn volume_of(volume: &Volume) -> ApiMount {
    ApiMount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.name.clone()),
        target: Some(volume.target.clone()),
        read_only: Some(!volume.writable),
        // What the image has at that place must not end up in the volume.
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..Default::default() }),
        ..Default::default()
    }
}

fn exit_of(dir: &Path, seen: &Seen, stderr_tail: &[u8]) -> Result<CommandExit, ContainerError> {
    let code = seen.state.exit_code.unwrap_or(-1);
    // Told to stop after it had ended: that did not change how it ended.
    let before_the_end = |stop: Option<StopOrder>| {
        stop.is_some_and(|stop| seen.finished().is_none_or(|finished| stop.asked_unix_ms <= finished))
    };
    let cancelled = before_the_end(read(dir, CANCEL_FILE)?);
    let timed_out = before_the_end(read(dir, TIMED_OUT_FILE)?);
    Ok(match code {
        _ if timed_out => CommandExit::TimedOut,
        _ if cancelled => CommandExit::Cancelled,
        0 => CommandExit::Code(0),
        _ if seen.state.oom_killed == Some(true) => CommandExit::OutOfMemory,
        126 | 127 if let Some(message) = init_complaint(stderr_tail) => CommandExit::NoCommand { message },
        129..=192 => CommandExit::Signal(code as i32 - 128),
        _ => CommandExit::Code(code as i32),
    })
}

/// The container's init says so when it finds no program: `[FATAL tini (7)] exec nope failed: No such file or directory`.
fn init_complaint(stderr_tail: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr_tail);
    let complaint = text.lines().last()?.strip_prefix("[FATAL tini")?.split_once("] ")?.1;
    Some(format!("{complaint}: is the program in the image, and executable for this user?"))
}

/// The first request to stop, if there is one.
fn stop_of(dir: &Path) -> Result<Option<StopOrder>, ContainerError> {
    let (cancelled, timed_out) =
        (read::<StopOrder>(dir, CANCEL_FILE)?, read::<StopOrder>(dir, TIMED_OUT_FILE)?);
    Ok(cancelled.into_iter().chain(timed_out).min_by_key(|stop| stop.kill_at()))
}

fn logs(follow: bool) -> LogsOptions {
    LogsOptions { follow, stdout: true, stderr: true, ..Default::default() }
}

fn record(
    dir: &Path,
    exit: CommandExit,
    started: Option<u64>,
    ended: Option<u64>,
) -> Result<(), ContainerError> {
    let now = unix_ms_now();
    let ended = ended.unwrap_or(now);
    let time = |unix_ms| UNIX_EPOCH + Duration::from_millis(unix_ms);
    ExitRecord::new(exit, time(started.unwrap_or(ended)), time(ended)).write(dir).map_err(folder(dir))
}

/// Whether a container was started for the attempt.
pub(crate) fn has_container(dir: &Path) -> bool {
    !is_fresh(dir)
}

/// No container was ever started for the attempt: the file comes before the start.
fn is_fresh(dir: &Path) -> bool {
    !dir.join(CREATED_FILE).exists()
}

fn forget(dir: &Path, name: &str) -> Result<(), ContainerError> {
    match fs::remove_file(dir.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(folder(dir)(error)),
        _ => Ok(()),
    }
}

/// As far as it goes: what a program with other rights made there must not keep the step from ending.
pub(super) fn remove_home(dir: &Path) {
    let _ = fs::remove_dir_all(dir.join(HOME_FOLDER));
}

/// With the places for mounts below it: those that the engine makes would belong to root.
fn make_home(dir: &Path, command: &ContainerCommand) -> io::Result<PathBuf> {
    let home = dir.join(HOME_FOLDER);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&home)?;
    let mounts = command.mounts.iter().map(|mount| (&mount.target, mount.source.is_dir()));
    for (target, is_folder) in mounts.chain(command.volumes.iter().map(|volume| (&volume.target, true))) {
        let Ok(below) = Path::new(target).strip_prefix(HOME) else { continue };
        let place = home.join(below);
        if is_folder {
            fs::create_dir_all(place)?;
        } else {
            fs::create_dir_all(place.parent().unwrap_or(&home))?;
            fs::write(place, "")?;
        }
    }
    Ok(home)
}

/// A container of that name exists. Podman says so with another status than Docker.
fn is_taken(error: &ApiError) -> bool {
    match status_of(error) {
        Some(409) => true,
        Some(_) => engine_message(error).contains("already in use"),
        None => false,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// When a time is over that began at a time of day, by a clock that nobody sets. It is never further away than the whole
/// of it, whatever was done to the time of day. None: the clock cannot express it.
fn deadline(begun_unix_ms: u64, milliseconds: u64) -> Option<Instant> {
    let passed = unix_ms_now().saturating_sub(begun_unix_ms);
    Instant::now().checked_add(Duration::from_millis(milliseconds.saturating_sub(passed)))
}

fn read<T: for<'de> Deserialize<'de>>(dir: &Path, name: &str) -> Result<Option<T>, ContainerError> {
    attempt::read_json(&dir.join(name)).map_err(folder(dir))
}

fn absolute(dir: &Path) -> Result<PathBuf, ContainerError> {
    std::path::absolute(dir).map_err(folder(dir))
}

fn folder(dir: &Path) -> impl FnOnce(io::Error) -> ContainerError {
    let dir = dir.to_owned();
    |source| ContainerError::Folder { dir, source }
}

fn unix_ms_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
