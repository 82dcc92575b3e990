//! Runs: from what was asked for to the end of every step, and again after a crash.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::RngExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::Outcome;
use super::output::{Failed, accept};
use super::status;
use crate::execute::{Execute, Executor};
use crate::exit_code::Exit;
use crate::graph::{self, Parts, RunGraph};
use crate::id::{DeploymentId, RunId};
use crate::manifest::problem::{Checked, Problem};
use crate::manifest::read::{Disk, Files, Kept, Recording};
use crate::plan::expand;
use crate::progress;
use crate::run_state::RunState;
use crate::schedule::{self, End, Job, Naming, Stop, now_ms};
use crate::settings::{Settings, absolute};
use crate::store::{Lock, RunRow, Shared, Store, machine_folder};
use crate::terminal::Terminal;
use crate::validate::{self, Overrides, Plan};
use crate::workload::Load;

/// What was asked for: stored with the run, so that a resumed run is the run that was started, whatever has become
/// of its files.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// Of this shape: 1.
    pub(super) version: u32,
    pub(super) what: What,
    pub(super) parts: Parts,
    /// `--executor`, where it was given.
    pub(super) executor: Option<String>,
    pub(super) seed: Option<u64>,
    /// The text of every manifest and plan that was read.
    pub(super) sources: BTreeMap<PathBuf, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum What {
    Plan { path: PathBuf },
    Single { manifest: PathBuf, target: String, deployment: DeploymentId, load: Option<Load> },
}

/// Overrides may hold secrets: they are kept in a file of their own that only the user can read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Private {
    params: Vec<(String, String)>,
    environment: BTreeMap<String, String>,
}

impl Request {
    fn plan(&self, files: &dyn Files, private: &Private) -> Checked<Plan> {
        let overrides = Overrides {
            params: private.params.clone(),
            executor: self.executor.as_deref().and_then(place),
            seed: self.seed,
            environment: private.environment.clone(),
        };
        match &self.what {
            What::Plan { path } => validate::plan(files, path, &overrides),
            What::Single { manifest, target, load, .. } => {
                let checked = validate::benchmark(files, manifest);
                match checked.value {
                    Some(benchmark) => {
                        let mut single = validate::single(benchmark, target, load.clone(), &overrides);
                        single.problems.splice(0..0, checked.problems);
                        single
                    }
                    None => Checked { value: None, problems: checked.problems },
                }
            }
        }
    }

    fn naming(&self) -> Naming {
        match &self.what {
            What::Plan { .. } => Naming::OfRun,
            What::Single { deployment, .. } => Naming::Named(deployment.clone()),
        }
    }

    /// What was asked for, in a word or two.
    pub(super) fn title(&self) -> String {
        match &self.what {
            What::Plan { path } => path.display().to_string(),
            What::Single { deployment, .. } => deployment.to_string(),
        }
    }

    pub(super) fn read(row: &RunRow) -> Result<Self, Failed> {
        serde_json::from_str(&row.request).map_err(|error| {
            let message = format!("run {} was stored in a form that this sb cannot read: {error}", row.id);
            Failed::message(Exit::Store, message)
        })
    }

    /// The run's graph as it was planned, and its plan.
    pub(super) fn rebuild(
        &self,
        terminal: &Terminal,
        store: &Store,
        run: &RunId,
    ) -> Result<(Plan, RunGraph), Failed> {
        let private = read_private(&store.run_folder(run))?;
        let files = Kept::new(self.sources.clone(), Disk);
        let mut checked = self.plan(&files, &private);
        // Its warnings were shown when the run began.
        checked.problems.retain(Problem::is_error);
        let plan = accept(terminal, checked)?;
        let graph = graph::build(&plan, expand(&plan), self.parts);
        Ok((plan, graph))
    }
}

pub(super) async fn run_plan(
    terminal: &Terminal,
    settings: &Settings,
    path: &Path,
    seed: Option<u64>,
) -> Outcome {
    let path = absolute(path);
    let request = Request {
        version: 1,
        parts: Parts::ALL,
        executor: settings.executor.map(place_name),
        seed,
        sources: BTreeMap::new(),
        what: What::Plan { path: path.clone() },
    };
    start(terminal, settings, request, &path).await
}

/// Checks, records and drives a new run.
pub(super) async fn start(
    terminal: &Terminal,
    settings: &Settings,
    mut request: Request,
    beside: &Path,
) -> Outcome {
    let private = Private { params: settings.params.clone(), environment: settings.environment.clone() };
    let files = Recording::new(Disk);
    let plan = accept(terminal, request.plan(&files, &private))?;
    request.sources = files.into_texts();
    let graph = graph::build(&plan, expand(&plan), request.parts);
    if request.parts.deploy {
        let missing = schedule::missing_variables(&plan, &|name| std::env::var(name));
        if !missing.is_empty() {
            let help = "set the variables to text, or give the parameters with -p NAME=VALUE";
            return Err(Failed::helped(Exit::InvalidManifest, missing.join("\n"), help));
        }
    }
    let store = Store::open(&settings.state_folder(beside))?;
    let _deployment_lock = lock_deployment(&store, &request)?;
    if let What::Single { deployment, .. } = &request.what
        && let Some(open) = open_run_of(&store, deployment).await?
    {
        let message =
            format!("run {open} of `{deployment}` has not ended: a step of it may still be running");
        let help = format!("`sb resume {open}` goes on with it, and Ctrl-C there stops it and cleans up");
        return Err(Failed::helped(Exit::Failed, message, help));
    }
    let run = new_run_id(&plan.name);
    let lock = store.lock_run(&run)?;
    write_private(&store.run_folder(&run), &private)?;
    let row = RunRow {
        id: run.clone(),
        created_ms: now_ms(),
        request: serde_json::to_string(&request).map_err(std::io::Error::from)?,
        ended: None,
    };
    store.create_run(row).await?;
    drive(terminal, settings, &store, lock, Planned { run, request, plan, graph, state: RunState::default() })
        .await
}

/// The last run on a named deployment, if it has not ended: its runner was killed, or has left it.
pub(super) async fn open_run_of(store: &Store, deployment: &DeploymentId) -> Result<Option<RunId>, Failed> {
    for row in store.runs().await? {
        // One that this program cannot read cannot be resumed by it either.
        let Ok(request) = Request::read(&row) else { continue };
        if matches!(&request.what, What::Single { deployment: of, .. } if of == deployment) {
            return Ok(row.ended.is_none().then_some(row.id));
        }
    }
    Ok(None)
}

fn lock_deployment(store: &Store, request: &Request) -> Result<Option<Lock>, Failed> {
    match &request.what {
        What::Single { deployment, .. } => Ok(Some(store.lock_deployment(deployment)?)),
        What::Plan { .. } => Ok(None),
    }
}

pub(super) async fn resume(terminal: &Terminal, settings: &Settings, run: Option<String>) -> Outcome {
    let store = Store::open(&settings.state_folder(Path::new(".")))?;
    let row = match run {
        Some(name) => status::find_run(&store, &name).await?,
        None => match store.runs().await?.into_iter().find(|row| row.ended.is_none()) {
            Some(row) => row,
            None => {
                terminal
                    .say("every run has ended: nothing to resume (`sb leaks` lists cleanups that failed)");
                return Ok(Exit::Done);
            }
        },
    };
    let lock = store.lock_run(&row.id)?;
    // Read again: the runner that held the lock a moment ago may have ended the run.
    let ended = store.run(&row.id).await?.and_then(|row| row.ended);
    if let Some((measurement, cleanup)) = ended
        && !store.owes(&row.id).await?
    {
        terminal.say(&format!("{} has ended ({measurement}; cleanup {cleanup}): nothing to resume", row.id));
        return Ok(Exit::of_run(measurement, cleanup));
    }
    let state = store.state(&row.id).await?;
    let request = Request::read(&row)?;
    let _deployment_lock = lock_deployment(&store, &request)?;
    for (path, text) in &request.sources {
        if std::fs::read(path).map_or(true, |now| now != text.as_bytes()) {
            terminal.say(&format!(
                "note: `{}` has changed since the run was started; it goes on as it was started",
                path.display()
            ));
        }
    }
    let (plan, graph) = request.rebuild(terminal, &store, &row.id)?;
    terminal.say(&format!("resuming {} ({})", row.id, request.title()));
    drive(terminal, settings, &store, lock, Planned { run: row.id, request, plan, graph, state }).await
}

struct Planned {
    run: RunId,
    request: Request,
    plan: Plan,
    graph: RunGraph,
    state: RunState,
}

async fn drive(
    terminal: &Terminal,
    settings: &Settings,
    store: &Store,
    _lock: Lock,
    planned: Planned,
) -> Outcome {
    let Planned { run, request, plan, graph, state } = planned;
    let place = plan.executor.unwrap_or(validate::Executor::Docker);
    let sb = std::env::current_exe()?;
    let executor = Arc::new(Executor::new(place, store.folder().to_owned(), sb));
    if place == validate::Executor::Docker && runs_commands(&graph) {
        refuse_credentials(&graph)?;
        executor.reach_engine().await.map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
    }
    terminal.say(&format!(
        "run {run}: {} steps; state in {}",
        graph.graph.node_count(),
        store.folder().display()
    ));
    let (notices, watched) = mpsc::unbounded_channel();
    let steps = graph.graph.node_count() as u64;
    let shown = tokio::spawn(progress::show(terminal.clone(), steps, settings.verbose, watched));
    let (stop, stops) = mpsc::unbounded_channel();
    let signals = tokio::spawn(watch_signals(stop));
    let executor: Arc<dyn Execute> = executor;
    let job = Job {
        run: run.clone(),
        plan: plan.clone(),
        graph,
        parts: request.parts,
        naming: request.naming(),
        store: store.clone(),
        shared: Shared::new(
            store.folder(),
            machine_folder(std::env::var_os("XDG_RUNTIME_DIR").as_deref()),
            run.clone(),
        ),
        executor,
        notices,
    };
    let end = schedule::drive(job, &state, stops).await;
    signals.abort();
    let _ = shown.await;
    match end {
        Ok(End::Ended { measurement, cleanup }) => {
            status::finish(terminal, settings, store, &run, measurement, cleanup).await
        }
        Ok(End::Left) => {
            terminal.say(&format!(
                "left {run}; steps that were running go on by themselves; `sb resume` goes on"
            ));
            Ok(Exit::Interrupted)
        }
        Err(error) => {
            let help = format!("`sb resume {run}` goes on; what is deployed is remembered (`sb leaks`)");
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!("\n{cause}"));
            Err(Failed::helped(Exit::Store, format!("{error}{cause}"), help))
        }
    }
}

fn runs_commands(graph: &RunGraph) -> bool {
    graph
        .graph
        .node_weights()
        .any(|step| step.manifest().is_some_and(|step| matches!(step.action, validate::Action::Run(_))))
}

/// Containers get no credentials yet: better to say so than to let the step fail in the middle of a deployment.
fn refuse_credentials(graph: &RunGraph) -> Result<(), Failed> {
    let asking = graph
        .graph
        .node_weights()
        .find(|step| step.manifest().is_some_and(|step| !step.environment.credentials.is_empty()));
    asking.map_or(Ok(()), |step| {
        let message =
            format!("step `{}` asks for credentials, which containers do not get in this version", step.id);
        Err(Failed::helped(
            Exit::Failed,
            message,
            "run with `--executor host`: steps then use your own files and environment",
        ))
    })
}

/// INT and TERM stop the run, a second time leaves it; HUP (the terminal is gone) changes nothing.
async fn watch_signals(stop: mpsc::UnboundedSender<Stop>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return;
    };
    let mut next = Stop::Finish;
    loop {
        tokio::select! {
            Some(()) = interrupt.recv() => {}
            Some(()) = terminate.recv() => {}
            Some(()) = hang_up.recv() => continue,
        }
        if stop.send(next).is_err() {
            return;
        }
        next = Stop::Leave;
    }
}

/// `20260131-120000-quickstart-7f3a`: sorts by time, and no two are alike.
fn new_run_id(name: &str) -> RunId {
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    RunId::new(format!("{now}-{name}-{:04x}", rand::rng().random_range(0..=0xffff_u32)))
}

const PRIVATE_FILE: &str = "overrides.json";

fn write_private(folder: &Path, private: &Private) -> Result<(), Failed> {
    if private.params.is_empty() && private.environment.is_empty() {
        return Ok(());
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(folder.join(PRIVATE_FILE))?;
    file.write_all(&serde_json::to_vec(private).map_err(std::io::Error::from)?)?;
    Ok(file.sync_all()?)
}

fn read_private(folder: &Path) -> Result<Private, Failed> {
    match std::fs::read(folder.join(PRIVATE_FILE)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).map_err(std::io::Error::from)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Private::default()),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn place_name(place: validate::Executor) -> String {
    match place {
        validate::Executor::Docker => "docker".to_owned(),
        validate::Executor::Host => "host".to_owned(),
    }
}

fn place(name: &str) -> Option<validate::Executor> {
    match name {
        "docker" => Some(validate::Executor::Docker),
        "host" => Some(validate::Executor::Host),
        _ => None,
    }
}
