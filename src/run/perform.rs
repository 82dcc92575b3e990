//! Steps are executed: by the scheduler, with what executes them in reach.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc::{self, UnboundedSender};

use super::error::RunError;
use super::events::{Control, RunEvent};
use super::request::Request;
use super::service::{Driven, Runs};
use crate::execute::{self, Execute, StepPerformer};
use crate::inherited;
use crate::schedule::{self, End, Job, Naming, Past, Policy, Stop};
use crate::store::{Lock, Shared, Store, machine_folder};
use sb_plan::benchmark::Action;
use sb_plan::graph::{Parts, RunGraph};
use sb_plan::id::RunId;
use sb_plan::plan::{Executor, Plan};
use sb_plan::run_state::RunState;

/// A run that this process holds, with everything in reach that its steps need.
pub struct Ready<'a> {
    pub(super) runs: &'a Runs,
    pub(super) run: RunId,
    /// None: it is written when the run begins.
    pub(super) fresh: Option<super::request::Given>,
    pub(super) request: Request,
    pub(super) plan: Plan,
    pub(super) graph: RunGraph,
    pub(super) past: Past,
    pub(super) state: RunState,
    pub(super) performer: Arc<StepPerformer>,
    /// Of the run, once it exists, and of its deployment, where it has a name.
    pub(super) locks: Vec<Lock>,
}

impl Ready<'_> {
    /// The checked plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The parts of the life cycle that run.
    pub fn parts(&self) -> Parts {
        self.request.parts
    }

    /// Runs what is left of the run to its end, or until `control` stops it.
    ///
    /// # Errors
    /// The state cannot be written, or the run belongs to another container engine. What has begun goes on under its
    /// supervisors, and [`Runs::resume`] takes it up.
    pub async fn drive(
        mut self,
        events: &UnboundedSender<RunEvent>,
        control: &Control,
    ) -> Result<Driven, RunError> {
        if let Some(given) = self.fresh.take() {
            self.locks.push(self.runs.record(&self.run, &self.request, &given).await?);
        }
        let Self { runs, run, fresh: _, request, plan, graph, past, state, performer, locks: _locks } = self;
        let policy = Policy { keep_on_failure: request.keep_on_failure, retire: None };
        let work = Work { plan, graph, past, parts: request.parts, policy, naming: request.naming(), state };
        let schedule::Driven { end, folders } = work.perform(runs, &run, performer, events, control).await?;
        Ok(Driven { run, end, folders })
    }
}

/// What the scheduler is to do of a run.
pub(super) struct Work {
    pub(super) plan: Plan,
    pub(super) graph: RunGraph,
    /// What the graph leaves out.
    pub(super) past: Past,
    pub(super) parts: Parts,
    pub(super) policy: Policy,
    pub(super) naming: Naming,
    pub(super) state: RunState,
}

impl Work {
    pub(super) async fn perform(
        self,
        runs: &Runs,
        run: &RunId,
        performer: Arc<StepPerformer>,
        events: &UnboundedSender<RunEvent>,
        control: &Control,
    ) -> Result<schedule::Driven, RunError> {
        let Self { plan, graph, past, parts, policy, naming, state } = self;
        let store = runs.store();
        let prices = (runs.setup().tables)()?.prices;
        keep_engine(store, run, &performer)?;
        // Fails where nobody watches.
        let _ = events.send(RunEvent::Begun {
            run: run.clone(),
            steps: graph.graph.node_count() + past.steps,
            folder: store.folder().to_owned(),
        });
        let (notices, mut told) = mpsc::unbounded_channel();
        let watchers = events.clone();
        let forwarded = tokio::spawn(async move {
            while let Some(notice) = told.recv().await {
                let _ = watchers.send(RunEvent::Step(notice));
            }
        });
        let (stop, stops) = mpsc::unbounded_channel();
        let mut asked = control.listen();
        let stopping = tokio::spawn(async move {
            let mut next = Stop::Finish;
            while !matches!(asked.recv().await, Err(tokio::sync::broadcast::error::RecvError::Closed)) {
                if stop.send(next).is_err() {
                    return;
                }
                next = Stop::Leave;
            }
        });
        let job = Job {
            run: run.clone(),
            plan,
            graph,
            past,
            parts,
            policy,
            naming,
            store: store.clone(),
            shared: shared(store, run),
            executor: Arc::clone(&performer) as Arc<dyn Execute>,
            prices,
            notices,
        };
        // On a thread of the runtime, where the ends of steps arrive, too: to wake this one for each takes its time.
        let driven = match tokio::spawn(async move { schedule::drive(job, &state, stops).await }).await {
            Ok(driven) => driven,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        stopping.abort();
        let _ = forwarded.await;
        if matches!(&driven, Ok(driven) if matches!(driven.end, End::Ended { .. })) {
            performer.close().await;
            if let Err(error) = performer.leave_engine(run).await {
                let _ = events.send(RunEvent::ContainersLeft(error.to_string()));
            }
        }
        driven.map_err(|error| RunError::Drive { run: run.clone(), folder: store.folder().to_owned(), error })
    }
}

/// What a run shares with others.
pub(super) fn shared(store: &Store, run: &RunId) -> Shared {
    let folder = machine_folder(std::env::var_os("SB_LOCKS").as_deref());
    Shared::new(store.workspace(), folder, run.clone())
}

/// The container engine that has a run's containers, if it has any.
pub(crate) fn engine_of(store: &Store, run: &RunId) -> Option<String> {
    let text = std::fs::read_to_string(store.workspace().engine_file(run)).ok()?;
    Some(text.trim().to_owned())
}

/// A run stays with its engine: to another one its containers would seem to be gone, and their steps would run twice.
fn keep_engine(store: &Store, run: &RunId, performer: &StepPerformer) -> Result<(), RunError> {
    let Some(host) = performer.engine_host() else { return Ok(()) };
    let file: PathBuf = store.workspace().engine_file(run);
    match engine_of(store, run) {
        Some(known) if known != host => {
            Err(RunError::OtherEngine { run: run.clone(), known, host: host.to_owned(), file })
        }
        Some(_) => Ok(()),
        None => Ok(sb_durable::write(&file, sb_durable::Options::new(), format!("{host}\n").as_bytes())
            .map_err(std::io::Error::from)?),
    }
}

/// What executes the run's steps, in reach: better to say that an engine or credentials are missing than to let a step
/// fail in the middle of a deployment.
pub(super) async fn reach(
    runs: &Runs,
    plan: &Plan,
    graph: &RunGraph,
) -> Result<Arc<StepPerformer>, RunError> {
    // Before it is asked how many steps have room beside each other.
    inherited::raise_open_files();
    let setup = runs.setup();
    let workspace = runs.store().workspace().clone();
    let performer =
        StepPerformer::new(plan.executor, workspace, setup.program.clone(), (setup.tables)()?.images);
    if plan.executor == Executor::Docker && runs_commands(graph) {
        let prepared = performer.prepare_engine(graph).await;
        prepared.map_err(|error| RunError::Engine(execute::explain(&error)))?;
    }
    Ok(Arc::new(performer))
}

fn runs_commands(graph: &RunGraph) -> bool {
    graph.graph.node_weights().any(|step| {
        step.manifest()
            .is_some_and(|step| step.action.command().is_some() || step.action == Action::StopBackground)
    })
}
