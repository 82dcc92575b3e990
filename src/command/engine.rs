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
use super::edits::{self, Edited};
use super::manifest::is_application;
use super::output::{Failed, accept};
use super::{estimate, init};
use super::{preflight, report, status, tmux};
use crate::cli::Confirm;
use crate::execute::{self, Execute, Executor};
use crate::exit_code::Exit;
use crate::progress;
use crate::schedule::{self, End, Job, Naming, Policy, Stop, now_ms};
use crate::settings::{Settings, absolute};
use crate::store::{Debt, Lock, RunRow, Shared, Store, machine_folder};
use crate::terminal::Terminal;
use sb_plan::event::Verdict;
use sb_plan::graph::{self, Parts, RunGraph};
use sb_plan::id::{DeploymentId, RunId};
use sb_plan::manifest::problem::{Checked, Problem};
use sb_plan::manifest::read::{Disk, Files, Kept, Recording};
use sb_plan::plan::expand;
use sb_plan::run_state::RunState;
use sb_plan::validate::{self, Overrides, Plan};
use sb_workload::Load;

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
    /// `--keep-on-failure`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) keep_on_failure: bool,
    /// The text of every manifest and plan that was read.
    pub(super) sources: Sources,
    /// What `sources` was before changes of the files were accepted, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) earlier: Vec<Sources>,
}

pub(super) type Sources = BTreeMap<PathBuf, String>;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum What {
    Plan { path: PathBuf },
    Single { manifest: PathBuf, target: String, deployment: DeploymentId, load: Option<Box<Load>> },
}

/// Overrides may hold secrets: they are kept in a file of their own that only the user can read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Private {
    params: Vec<(String, String)>,
    environment: BTreeMap<String, String>,
}

impl Request {
    pub(super) fn plan(&self, files: &dyn Files, private: &Private) -> Checked<Plan> {
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
                        let mut single =
                            validate::single(benchmark, target, load.as_deref().cloned(), &overrides);
                        single.problems.splice(0..0, checked.problems);
                        single
                    }
                    None => Checked { value: None, problems: checked.problems },
                }
            }
        }
    }

    pub(super) fn naming(&self) -> Naming {
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
    keep_on_failure: bool,
    confirm: &Confirm,
) -> Outcome {
    let path = absolute(path);
    if is_application(&path) {
        return Err(Failed::helped(
            Exit::Usage,
            format!("`{}` is the manifest of an application, and no plan", path.display()),
            format!(
                "`sb test -f {}` takes it through its life once; a plan names it under `applications`",
                path.display()
            ),
        ));
    }
    let request = Request {
        version: 1,
        parts: Parts::ALL,
        executor: settings.executor.map(place_name),
        seed,
        keep_on_failure,
        sources: BTreeMap::new(),
        earlier: vec![],
        what: What::Plan { path: path.clone() },
    };
    start(terminal, settings, request, &path, Some(confirm)).await
}

/// Checks, records and drives a new run.
pub(super) async fn start(
    terminal: &Terminal,
    settings: &Settings,
    mut request: Request,
    beside: &Path,
    confirm: Option<&Confirm>,
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
    if let Some(limits) = confirm {
        let prices = estimate::prices(settings)?;
        estimate::confirm(terminal, &plan, &graph, &store, &prices, limits).await?;
    }
    let executor = executor_of(settings, &store, &plan, &graph).await?;
    preflight::warn(terminal, &plan, request.parts).await;
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
    drive(
        terminal,
        settings,
        &store,
        lock,
        Planned { run, request, plan, graph, state: RunState::default() },
        executor,
    )
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

/// Goes on with a run. `files` says what to do if those of the run have been edited since.
pub(super) async fn resume(
    terminal: &Terminal,
    settings: &Settings,
    run: Option<String>,
    files: Edited,
) -> Outcome {
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
    let row = store.run(&row.id).await?.unwrap_or(row);
    let request = Request::read(&row)?;
    if let Some((measurement, cleanup)) = row.ended {
        let owes = store.owes(&row.id).await?;
        let named = matches!(request.what, What::Single { .. });
        if !owes && (files != Edited::Accept || named) {
            let text = format!("{} has ended ({measurement}; cleanup {cleanup}): nothing to resume", row.id);
            terminal.say(&text);
            return Ok(Exit::of_run(measurement, cleanup));
        }
        if files != Edited::Accept && owes_only_what_is_kept(&store, &row.id).await? {
            terminal.say(&format!(
                "{} has ended; what failed was kept on purpose: `sb cleanup {}` removes it",
                row.id, row.id
            ));
            return Ok(Exit::CleanupOwed);
        }
    }
    let _deployment_lock = lock_deployment(&store, &request)?;
    let begun = Begun { terminal, settings, store: &store, run: &row.id };
    let planned = edits::settle(&begun, request, files).await?;
    terminal.say(&format!("resuming {} ({})", row.id, planned.request.title()));
    let executor = executor_of(settings, &store, &planned.plan, &planned.graph).await?;
    drive(terminal, settings, &store, lock, planned, executor).await
}

/// Cleans up whatever a run that has ended still owes, what it kept on purpose included.
pub(super) async fn pay(terminal: &Terminal, settings: &Settings, run: &str) -> Outcome {
    let store = Store::open(&settings.state_folder(Path::new(".")))?;
    let row = status::find_run(&store, run).await?;
    let _lock = store.lock_run(&row.id)?;
    if !store.owes(&row.id).await? {
        terminal.say(&format!("{} owes no cleanup", row.id));
        return Ok(Exit::Done);
    }
    if row.ended.is_none() {
        let help = format!("`sb resume {}` goes on with it, and Ctrl-C there stops it and cleans up", row.id);
        return Err(Failed::helped(Exit::Failed, format!("{} has not ended", row.id), help));
    }
    let request = Request::read(&row)?;
    let _deployment_lock = lock_deployment(&store, &request)?;
    let (plan, graph) = request.rebuild(terminal, &store, &row.id)?;
    let executor = executor_of(settings, &store, &plan, &graph).await?;
    let work = Work {
        plan,
        graph,
        parts: request.parts.with_cleanup(),
        policy: Policy::default(),
        naming: request.naming(),
        state: store.state(&row.id).await?,
    };
    let begun = Begun { terminal, settings, store: &store, run: &row.id };
    Ok(match work.perform(&begun, executor).await? {
        End::Ended { cleanup, .. } => {
            terminal.say(&format!("run {}: cleanup {cleanup}", row.id));
            Exit::of_run(Verdict::None, cleanup)
        }
        End::Left => Exit::Interrupted,
    })
}

async fn owes_only_what_is_kept(store: &Store, run: &RunId) -> Result<bool, Failed> {
    let kept = store.state(run).await?.kept;
    let deployments = store.deployments().await?;
    let mut owed = deployments.iter().filter(|row| row.run == *run && row.debt == Debt::Owed);
    Ok(owed.all(|row| kept.contains_key(&row.id)))
}

/// A run that this process holds.
pub(super) struct Begun<'a> {
    pub(super) terminal: &'a Terminal,
    pub(super) settings: &'a Settings,
    pub(super) store: &'a Store,
    pub(super) run: &'a RunId,
}

pub(super) struct Planned {
    pub(super) run: RunId,
    pub(super) request: Request,
    pub(super) plan: Plan,
    pub(super) graph: RunGraph,
    pub(super) state: RunState,
}

async fn drive(
    terminal: &Terminal,
    settings: &Settings,
    store: &Store,
    _lock: Lock,
    planned: Planned,
    executor: Arc<Executor>,
) -> Outcome {
    let Planned { run, request, plan, graph, state } = planned;
    let policy = Policy { keep_on_failure: request.keep_on_failure, retire: None };
    let work = Work { plan, graph, parts: request.parts, policy, naming: request.naming(), state };
    match work.perform(&Begun { terminal, settings, store, run: &run }, executor).await? {
        End::Ended { measurement, cleanup } => {
            report::finish(terminal, settings, store, &run, measurement, cleanup).await
        }
        End::Left => {
            terminal.say(&format!(
                "left {run}; steps that were running go on by themselves; `sb resume` cleans up after them"
            ));
            Ok(Exit::Interrupted)
        }
    }
}

/// What the scheduler is to do of a run.
pub(super) struct Work {
    pub(super) plan: Plan,
    pub(super) graph: RunGraph,
    pub(super) parts: Parts,
    pub(super) policy: Policy,
    pub(super) naming: Naming,
    pub(super) state: RunState,
}

impl Work {
    pub(super) async fn perform(self, begun: &Begun<'_>, executor: Arc<Executor>) -> Result<End, Failed> {
        let Begun { terminal, settings, store, run } = *begun;
        let Self { plan, graph, parts, policy, naming, state } = self;
        keep_engine(store, run, &executor)?;
        terminal.say(&format!(
            "run {run}: {} steps; state in {}",
            graph.graph.node_count(),
            store.folder().display()
        ));
        if let Some(session) = &settings.inside_tmux {
            tmux::show_log(session, store.folder(), run);
        }
        let (notices, watched) = mpsc::unbounded_channel();
        let steps = graph.graph.node_count() as u64;
        let shown = tokio::spawn(progress::show(terminal.clone(), steps, settings.verbose, watched));
        let (stop, stops) = mpsc::unbounded_channel();
        let signals = tokio::spawn(watch_signals(stop));
        let job = Job {
            run: run.clone(),
            plan,
            graph,
            parts,
            policy,
            naming,
            store: store.clone(),
            shared: Shared::new(
                store.folder(),
                machine_folder(std::env::var_os("XDG_RUNTIME_DIR").as_deref()),
                run.clone(),
            ),
            executor: Arc::clone(&executor) as Arc<dyn Execute>,
            prices: estimate::prices(settings)?,
            notices,
        };
        // On a thread of the runtime, where the ends of steps arrive, too: to wake this one for each takes its time.
        let end = match tokio::spawn(async move { schedule::drive(job, &state, stops).await }).await {
            Ok(end) => end,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        signals.abort();
        let _ = shown.await;
        if matches!(end, Ok(End::Ended { .. })) {
            executor.close().await;
            if let Err(error) = executor.leave_engine(run).await {
                terminal.say(&format!("note: containers may be left (`sb leaks` lists them): {error}"));
            }
        }
        end.map_err(|error| {
            let help = if store.folder().is_dir() {
                format!("`sb resume {run}` goes on; what is deployed is remembered (`sb leaks`)")
            } else {
                format!(
                    "`{}` is gone, and with it what sb knew of this run: look yourself for what it has deployed",
                    store.folder().display()
                )
            };
            let cause =
                std::error::Error::source(&error).map_or_else(String::new, |cause| format!("\n{cause}"));
            Failed::helped(Exit::Store, format!("{error}{cause}"), help)
        })
    }
}

fn runs_commands(graph: &RunGraph) -> bool {
    graph
        .graph
        .node_weights()
        .any(|step| step.manifest().is_some_and(|step| matches!(step.action, validate::Action::Run(_))))
}

const ENGINE_FILE: &str = "engine";

/// The engine that has a run's containers, if it has any.
pub(super) fn engine_of(store: &Store, run: &RunId) -> Option<String> {
    let text = std::fs::read_to_string(store.run_folder(run).join(ENGINE_FILE)).ok()?;
    Some(text.trim().to_owned())
}

/// A run stays with its engine: to another one its containers would seem to be gone, and their steps would run twice.
fn keep_engine(store: &Store, run: &RunId, executor: &Executor) -> Result<(), Failed> {
    let Some(host) = executor.engine_host() else { return Ok(()) };
    match engine_of(store, run) {
        Some(known) if known != host => {
            let message =
                format!("run {run} has its containers on the engine at `{known}`, not on that at `{host}`");
            let file = store.run_folder(run).join(ENGINE_FILE);
            let help = format!(
                "go on with: DOCKER_HOST={known} sb resume {run}; if both are the same engine, remove `{}`",
                file.display()
            );
            Err(Failed::helped(Exit::Failed, message, help))
        }
        Some(_) => Ok(()),
        None => Ok(std::fs::write(store.run_folder(run).join(ENGINE_FILE), format!("{host}\n"))?),
    }
}

/// What executes the run's steps, in reach: better to say that an engine or credentials are missing than to let a step
/// fail in the middle of a deployment.
pub(super) async fn executor_of(
    settings: &Settings,
    store: &Store,
    plan: &Plan,
    graph: &RunGraph,
) -> Result<Arc<Executor>, Failed> {
    let place = plan.executor.unwrap_or(validate::Executor::Docker);
    let executor =
        Executor::new(place, store.folder().to_owned(), std::env::current_exe()?, init::images(settings)?);
    if place == validate::Executor::Docker && runs_commands(graph) {
        let prepared = executor.prepare_engine(graph).await;
        prepared.map_err(|error| Failed::message(Exit::Failed, execute::explain(&error)))?;
    }
    Ok(Arc::new(executor))
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
pub(super) fn new_run_id(name: &str) -> RunId {
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

pub(super) fn read_private(folder: &Path) -> Result<Private, Failed> {
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
