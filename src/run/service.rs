//! The runs of a workspace: from what was asked for to the end of every step, and again after a crash.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand::RngExt as _;
use tokio::sync::mpsc::UnboundedSender;

use super::change::{self, Edited};
use super::contents::Measured;
use super::error::RunError;
use super::events::{Control, RunEvent};
use super::left::Left;
use super::perform::{Ready, Work, reach, shared};
use super::request::{Given, Request, What};
use crate::schedule::{self, End, Past, Policy, now_ms};
use crate::store::{Debt, Lock, LockError, RunRow, Store, event};
use crate::workspace::{Workspace, absolute};
use sb_plan::benchmark::Images;
use sb_plan::event::{Event, StopCause, Verdict};
use sb_plan::graph::{self, RunGraph};
use sb_plan::id::{DeploymentId, RunId};
use sb_plan::manifest::problem::Problem;
use sb_plan::manifest::read::Recording;
use sb_plan::plan::expand;
use sb_plan::plan::{Plan, Prices};
use sb_plan::run_state::RunState;

/// What runs need besides their workspace.
pub struct Setup {
    /// The program whose copies supervise steps, mostly [`crate::role::program`]; see [`crate::role::take`].
    pub program: PathBuf,
    /// Read when a run is about to be driven, and not before.
    pub tables: Box<dyn Fn() -> Result<Tables, RunError> + Send + Sync>,
}

/// Data that runs look things up in.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Default images of containers.
    pub images: Images,
    /// By which a plan's budget of money is spent.
    pub prices: Prices,
}

impl Setup {
    /// With the tables that are built in.
    pub fn new(program: PathBuf) -> Self {
        let built_in = || Ok(Tables { images: Images::built_in(), prices: Prices::built_in() });
        Self { program, tables: Box::new(built_in) }
    }
}

/// The runs of one workspace.
pub struct Runs {
    store: Store,
    setup: Setup,
}

/// What was asked for, with its files checked. Nothing has been written.
pub struct Draft {
    request: Request,
    given: Given,
    plan: Plan,
    graph: RunGraph,
    warnings: Vec<Problem>,
    anew: bool,
}

/// A run that may begin: nobody else works on its deployment.
pub struct Prepared<'a> {
    runs: &'a Runs,
    draft: Draft,
    unfinished: Vec<RunId>,
    locks: Vec<Lock>,
}

/// A run that was driven.
#[derive(Clone, Debug)]
pub struct Driven {
    /// Its id.
    pub run: RunId,
    /// How it ended, or that it was left.
    pub end: End,
    /// The folders of the last invocations of each application.
    pub folders: BTreeMap<String, Vec<PathBuf>>,
}

/// What there is to resume.
pub enum Resumed<'a> {
    /// Every run has ended.
    Nothing,
    /// This one has, and nothing of it is left to do.
    Ended { run: RunId, measurement: Verdict, cleanup: Verdict },
    /// This one has, and what failed was kept on purpose.
    Kept(RunId),
    /// It goes on with [`Ready::drive`].
    Ready(Box<Ready<'a>>),
}

/// What became of a run's owed cleanup.
pub enum CleanedUp {
    /// The run owes none.
    NothingOwed(RunId),
    Ended {
        run: RunId,
        cleanup: Verdict,
    },
    /// Left before it was done.
    Left(RunId),
}

impl Draft {
    /// Reads and checks the files of a run.
    ///
    /// # Errors
    /// They are not valid, or an environment variable is missing from which a parameter takes its value.
    pub fn check(mut request: Request, given: Given) -> Result<Self, RunError> {
        let files = Recording::new(Measured::default());
        let checked = request.check(&files, &given);
        let Some(plan) = checked.value else { return Err(RunError::Invalid(checked.problems)) };
        let (sources, contents) = files.into_parts();
        request.sources = sources;
        request.contents = Some(contents);
        if request.parts.deploy {
            let missing = schedule::missing_variables(&plan, &|name| std::env::var(name));
            if !missing.is_empty() {
                return Err(RunError::MissingVariables { missing, warnings: checked.problems });
            }
        }
        let graph = graph::build(&plan, expand(&plan), request.parts);
        Ok(Self { request, given, plan, graph, warnings: checked.problems, anew: false })
    }

    /// Whether the run begins although one of the same plan goes on, or has not ended and still has something deployed.
    #[must_use]
    pub fn anew(self, anew: bool) -> Self {
        Self { anew, ..self }
    }

    /// What is doubtful about the files, though they are valid.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

impl Runs {
    /// Opens the state of a workspace, which is made where it is missing.
    ///
    /// # Errors
    /// The state cannot be opened.
    pub fn open(workspace: &Workspace, setup: Setup) -> Result<Self, RunError> {
        Ok(Self { store: Store::open(workspace)?, setup })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Takes the deployment of a run, so that nobody else works on it.
    ///
    /// # Errors
    /// Somebody does, or a run on it has not ended; or one of the same plan goes on, or was left by its runner with
    /// something deployed.
    pub async fn prepare(&self, draft: Draft) -> Result<Prepared<'_>, RunError> {
        let mut locks: Vec<_> = self.lock_deployment(&draft.request)?.into_iter().collect();
        if let What::Single { deployment, .. } = &draft.request.what
            && let Some(run) = open_run_of(&self.store, deployment).await?
        {
            return Err(RunError::DeploymentInUse { run, deployment: deployment.clone() });
        }
        let unfinished = match &draft.request.what {
            What::Plan { path } => {
                let unfinished = self.unfinished(path, draft.anew).await?;
                match self.store.lock_plan(path) {
                    Ok(lock) => locks.push(lock),
                    Err(LockError::Held { .. }) if draft.anew => {}
                    Err(error) => return Err(error.into()),
                }
                unfinished
            }
            What::Single { .. } => vec![],
        };
        Ok(Prepared { runs: self, draft, unfinished, locks })
    }

    /// Runs of a plan that have not ended and have no runner, the newest first.
    async fn unfinished(&self, plan: &Path, anew: bool) -> Result<Vec<RunId>, RunError> {
        if !anew {
            expect_none_alive(&self.store, plan).await?;
        }
        let mut unfinished = Vec::new();
        for row in open_runs_of(&self.store, plan).await? {
            if self.store.runner_of(&row.id).is_some() {
                continue;
            }
            if !anew && self.store.owes(&row.id).await? {
                return Err(RunError::Unfinished { run: row.id, plan: plan.to_owned() });
            }
            unfinished.push(row.id);
        }
        Ok(unfinished)
    }

    /// Starts a run and drives it to its end: [`prepare`](Self::prepare), [`Prepared::reach`] and [`Ready::drive`].
    ///
    /// # Errors
    /// As theirs.
    pub async fn start(
        &self,
        draft: Draft,
        events: &UnboundedSender<RunEvent>,
        control: &Control,
    ) -> Result<Driven, RunError> {
        self.prepare(draft).await?.reach().await?.drive(events, control).await
    }

    /// Goes on with a run; with the newest that has not ended where none is named. `files` says what to do if those of
    /// the run have been edited since. With [`Edited::Accept`], what the changes leave no place for is stopped and
    /// cleaned up before this returns.
    ///
    /// # Errors
    /// Another process holds the run, its files were edited, or what it needs is not in reach.
    pub async fn resume(
        &self,
        run: Option<&str>,
        files: Edited,
        events: &UnboundedSender<RunEvent>,
        control: &Control,
    ) -> Result<Resumed<'_>, RunError> {
        let store = &self.store;
        let row = match run {
            Some(name) => self.find(name).await?,
            None => match store.runs().await?.into_iter().find(|row| row.ended.is_none()) {
                Some(row) => row,
                None => return Ok(Resumed::Nothing),
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
                return Ok(Resumed::Ended { run: row.id, measurement, cleanup });
            }
            if files != Edited::Accept && self.owes_only_what_is_kept(&row.id).await? {
                return Ok(Resumed::Kept(row.id));
            }
        }
        let locks = self.lock_deployment(&request)?.into_iter().chain([lock]).collect();
        let settled = change::settle(self, &row.id, request, files, events, control).await?;
        let resuming = RunEvent::Resuming { run: row.id.clone(), title: settled.request.title() };
        let _ = events.send(resuming);
        let performer = reach(self, &settled.plan, &settled.graph).await?;
        Ok(Resumed::Ready(Box::new(Ready {
            runs: self,
            run: row.id,
            fresh: None,
            request: settled.request,
            plan: settled.plan,
            graph: settled.graph,
            past: settled.past,
            state: settled.state,
            performer,
            locks,
        })))
    }

    /// Cleans up whatever a run still owes, what it kept on purpose included. One that was left by its runner is stopped
    /// first, and ends with this.
    ///
    /// # Errors
    /// Another process holds the run, another run of the deployment has not ended, a change of the run's files was begun, or what
    /// its cleanup needs is not in reach.
    pub async fn clean_up(
        &self,
        run: &str,
        events: &UnboundedSender<RunEvent>,
        control: &Control,
    ) -> Result<CleanedUp, RunError> {
        let store = &self.store;
        let row = self.find(run).await?;
        let _lock = store.lock_run(&row.id)?;
        // Read again: the runner that held the lock a moment ago may have ended the run.
        let row = store.run(&row.id).await?.unwrap_or(row);
        let request = Request::read(&row)?;
        let _deployment_lock = self.lock_deployment(&request)?;
        if let What::Single { deployment, .. } = &request.what
            && let Some(open) = open_run_of(store, deployment).await?.filter(|open| *open != row.id)
        {
            return Err(RunError::DeploymentInUse { run: open, deployment: deployment.clone() });
        }
        let owes = match &request.what {
            // Stopped between the invocations of what another run has deployed: nothing else can be done with that before.
            What::Single { deployment, .. } if row.ended.is_none() => {
                store.unpaid().await?.iter().any(|it| it.id == *deployment && it.debt == Debt::Owed)
            }
            _ => store.owes(&row.id).await?,
        };
        if !owes {
            return Ok(CleanedUp::NothingOwed(row.id));
        }
        // Whatever part of the life cycle the run was for.
        let parts = request.parts.with_cleanup();
        if row.ended.is_none() {
            if store.state(&row.id).await?.changing {
                return Err(RunError::Changing { run: row.id });
            }
            let (why, cause) = ("its cleanup was asked for".to_owned(), StopCause::User);
            store.append(vec![event(&row.id, now_ms(), Event::StopRequested { why, cause })]).await?;
        }
        let plan = || request.planned(store, &row.id);
        let (plan, left) = Left::read(store, &row.id, &request, parts, plan).await?;
        let Left { graph, past, state } = left;
        let performer = reach(self, &plan, &graph).await?;
        let work =
            Work { plan, graph, past, parts, policy: Policy::default(), naming: request.naming(), state };
        Ok(match work.perform(self, &row.id, performer, events, control).await?.end {
            End::Ended { cleanup, .. } => CleanedUp::Ended { run: row.id, cleanup },
            End::Left => CleanedUp::Left(row.id),
        })
    }

    /// A run by its id, or by a part of it that only one has.
    pub(crate) async fn find(&self, name: &str) -> Result<RunRow, RunError> {
        find_run(&self.store, name).await
    }

    /// Writes a new run down, and holds it.
    pub(super) async fn record(
        &self,
        run: &RunId,
        request: &Request,
        given: &Given,
    ) -> Result<Lock, RunError> {
        let lock = self.store.lock_run(run)?;
        given.write(&self.store, run)?;
        let row = RunRow {
            id: run.clone(),
            created_ms: now_ms(),
            request: serde_json::to_string(request).map_err(std::io::Error::from)?,
            ended: None,
        };
        self.store.create_run(row).await?;
        Ok(lock)
    }

    fn lock_deployment(&self, request: &Request) -> Result<Option<Lock>, RunError> {
        match &request.what {
            What::Single { deployment, .. } => Ok(Some(self.store.lock_deployment(deployment)?)),
            What::Plan { .. } => Ok(None),
        }
    }

    async fn owes_only_what_is_kept(&self, run: &RunId) -> Result<bool, RunError> {
        let kept = self.store.state(run).await?.kept;
        let unpaid = self.store.unpaid().await?;
        let mut owed = unpaid.iter().filter(|row| row.run == *run && row.debt == Debt::Owed);
        Ok(owed.all(|row| kept.contains_key(&row.id)))
    }
}

impl<'a> Prepared<'a> {
    /// Other runs of the same plan that have not ended and have no runner.
    pub fn unfinished(&self) -> &[RunId] {
        &self.unfinished
    }

    /// The checked plan.
    pub fn plan(&self) -> &Plan {
        &self.draft.plan
    }

    /// The steps that would run.
    pub fn graph(&self) -> &RunGraph {
        &self.draft.graph
    }

    /// Looks for what the steps need: the container engine, and credentials in it.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    pub async fn reach(self) -> Result<Ready<'a>, RunError> {
        let Self { runs, draft, unfinished: _, locks } = self;
        let Draft { request, given, plan, graph, warnings: _, anew: _ } = draft;
        let performer = reach(runs, &plan, &graph).await?;
        let run = new_run_id(&plan.name);
        if graph.graph.node_weights().any(sb_plan::graph::Step::is_invoke) {
            shared(runs.store(), &run).check().map_err(RunError::Locks)?;
        }
        let (fresh, past, state) = (Some(given), Past::default(), RunState::default());
        Ok(Ready { runs, run, fresh, request, plan, graph, past, state, performer, locks })
    }
}

/// A run by its id, or by a part of it that only one has.
pub(crate) async fn find_run(store: &Store, name: &str) -> Result<RunRow, RunError> {
    let mut found: Vec<_> =
        store.runs().await?.into_iter().filter(|row| row.id.as_str().contains(name)).collect();
    if let Some(exact) = found.iter().position(|row| row.id.as_str() == name) {
        return Ok(found.swap_remove(exact));
    }
    match found.len() {
        1 => Ok(found.swap_remove(0)),
        0 => Err(RunError::NoRun { name: name.to_owned() }),
        _ => {
            let names = found.iter().map(|row| row.id.to_string()).collect();
            Err(RunError::SeveralRuns { name: name.to_owned(), names })
        }
    }
}

/// Runs of a plan that have not ended, the newest first.
async fn open_runs_of(store: &Store, plan: &Path) -> Result<Vec<RunRow>, RunError> {
    let plan = absolute(plan);
    let is_of_plan = |row: &RunRow| {
        // One that this program cannot read cannot be resumed by it either.
        let request = Request::read(row).ok();
        request.is_some_and(|request| matches!(&request.what, What::Plan { path } if absolute(path) == plan))
    };
    Ok(store.runs().await?.into_iter().filter(|row| row.ended.is_none() && is_of_plan(row)).collect())
}

/// That no run of this plan has a live runner.
///
/// # Errors
/// One has.
pub(crate) async fn expect_none_alive(store: &Store, plan: &Path) -> Result<(), RunError> {
    for row in open_runs_of(store, plan).await? {
        if let Some(runner) = store.runner_of(&row.id) {
            return Err(RunError::Alive { run: row.id, plan: plan.to_owned(), runner });
        }
    }
    Ok(())
}

/// The last run on a named deployment, if it has not ended: its runner was killed, or has left it.
pub(crate) async fn open_run_of(store: &Store, deployment: &DeploymentId) -> Result<Option<RunId>, RunError> {
    for row in store.runs().await? {
        // One that this program cannot read cannot be resumed by it either.
        let Ok(request) = Request::read(&row) else { continue };
        if matches!(&request.what, What::Single { deployment: of, .. } if of == deployment) {
            return Ok(row.ended.is_none().then_some(row.id));
        }
    }
    Ok(None)
}

/// `20260131-120000-quickstart-7f3a`: sorts by time, and no two are alike.
pub(crate) fn new_run_id(name: &str) -> RunId {
    let now = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }).collect();
    RunId::new(format!("{now}-{name}-{:04x}", rand::rng().random_range(0..=0xffff_u32)))
}
