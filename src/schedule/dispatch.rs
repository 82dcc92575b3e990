//! The loop: what is ready starts, what ends is journaled, what waits is woken.

use std::cmp::Reverse;
use std::collections::hash_map::{Entry, HashMap};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashSet};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt as _;
use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::deployments::LiveDeployment;
use super::machine::Machine;
use super::ready::{ReadySteps, Slots};
use super::spending::Spending;
use super::tally::{Standing, Tally, is_forgiven};
use super::{Driven, End, Job, ScheduleError, Stop};
use crate::attempt;
use crate::execute::{Attempt, Evidence, Finished, KnownSecrets};
use crate::store::{AwaitedLock, Change, Debt, event};
use sb_plan::event::{Event, FailureClass, Notice, Outcome, Record, StopCause};
use sb_plan::graph::{Step, StepKind, Wait};
use sb_plan::plan::Start;
use sb_plan::run_state::RunState;

/// Runs what is left of a run. `state` is what its events so far come to (nothing for a new run).
pub(crate) async fn drive(
    job: Job,
    state: &RunState,
    mut stops: mpsc::UnboundedReceiver<Stop>,
) -> Result<Driven, ScheduleError> {
    let mut dispatch = Dispatch::new(job, state);
    let ended = dispatch.run(state, &mut stops).await;
    if ended.is_err() {
        // What has happened should be known, whatever stopped us from going on.
        let _ = dispatch.save().await;
    }
    dispatch.hidden().await;
    ended.map(|end| Driven { end, folders: dispatch.folders() })
}

/// All that can wake the loop.
enum Wake {
    Ended(Vec<(NodeIndex, Finished)>),
    Due,
    /// A lock that another run held may be free.
    Retry,
    Stop(Stop),
    OutOfTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepStatus {
    Waiting,
    ReadySteps,
    /// A pause, or a delay before another attempt.
    Timed,
    Running,
    Ended,
}

pub(super) struct Node {
    pub(super) status: StepStatus,
    /// Steps before this one that have not ended.
    pub(super) pending: u32,
    /// A step before this one that did not succeed, and should have.
    pub(super) blocked_by: Option<NodeIndex>,
    pub(super) attempts: u32,
    pub(super) failures: u32,
    pub(super) interruptions: u32,
    /// The attempt before failed or was lost.
    pub(super) again: bool,
    /// When the last attempt began.
    pub(super) begun: Instant,
    /// This runner began the last attempt, and not an earlier one.
    pub(super) is_own: bool,
    pub(super) succeeded: bool,
    /// It was stopped before it began.
    pub(super) never_began: bool,
    /// The folder of the invocation that the last attempt belongs to.
    pub(super) logs: Option<Arc<Path>>,
}

/// A step, and which of its attempts, from 1.
type AttemptKey = (NodeIndex, u32);

pub(super) struct Dispatch {
    pub(super) job: Job,
    pub(super) nodes: Vec<Node>,
    ready: ReadySteps,
    /// Ready, and not yet asked whether they are hopeless.
    fresh: Vec<NodeIndex>,
    /// Under which stop those that are ready have been asked.
    asked_under: Option<StopCause>,
    /// When timed steps go on. By a clock that nobody sets: only what the journal holds is told in times of day.
    timers: BinaryHeap<Reverse<(Instant, NodeIndex)>>,
    slots: Slots,
    machine: Machine,
    tasks: JoinSet<(NodeIndex, Finished)>,
    cancels: HashMap<NodeIndex, CancellationToken>,
    pub(super) live: HashMap<usize, LiveDeployment>,
    /// The folder of each trial's current invocation.
    pub(super) logs: HashMap<(usize, usize), Arc<Path>>,
    /// Invocations that are begun, and can only fail: their folder could not be made.
    without_logs: HashMap<NodeIndex, String>,
    /// Trials of which a step has started.
    pub(super) begun: BTreeSet<(usize, usize)>,
    /// Cleanup steps of each deployment that have not ended, and whether one failed.
    cleanup_left: Vec<(u32, bool)>,
    /// Deployments that are kept, because of this step; and whether the journal knows.
    pub(super) kept: HashMap<usize, (NodeIndex, bool)>,
    stopping: Option<StopCause>,
    /// Ended in memory; what hangs on them is still to be looked at.
    pub(super) settling: Vec<NodeIndex>,
    /// Steps that have not ended.
    open: usize,
    pub(super) errors: u32,
    tally: Tally,
    spending: Spending,
    pub(super) deadline: Option<Instant>,
    /// What the journal must hold before anything further starts. An end and the start that follows from it
    /// share a transaction.
    pub(super) unsaved: Vec<Change>,
    /// Attempts whose logs may show secrets. The logs are cleared once the journal is saved: before, another runner may have to read outputs from them.
    pub(super) secretive: Vec<(Vec<AttemptKey>, Arc<KnownSecrets>)>,
    /// Hides them, and then tells of what has happened until then.
    hiding: Option<JoinHandle<()>>,
    /// Ends that the journal does not hold yet. They are told when it does, and the logs that an excerpt is taken from show no secret.
    untold: Vec<Notice>,
}

impl Dispatch {
    fn new(job: Job, state: &RunState) -> Self {
        let graph = &job.graph.graph;
        let begun = Instant::now();
        let mut cleanup_left = vec![(0, false); job.graph.deployments.len()];
        let nodes = graph
            .node_indices()
            .map(|index| {
                if graph[index].is_cleanup() {
                    cleanup_left[graph[index].deployment].0 += 1;
                }
                Node {
                    status: StepStatus::Waiting,
                    pending: 0,
                    blocked_by: None,
                    attempts: 0,
                    failures: 0,
                    interruptions: 0,
                    again: false,
                    begun,
                    is_own: false,
                    never_began: false,
                    succeeded: false,
                    logs: None,
                }
            })
            .collect::<Vec<_>>();
        Self {
            slots: Slots::new(&job.plan),
            machine: Machine::new(job.shared.clone(), &job.plan),
            open: nodes.len(),
            nodes,
            ready: ReadySteps::default(),
            fresh: Vec::new(),
            asked_under: None,
            timers: BinaryHeap::new(),
            tasks: JoinSet::new(),
            cancels: HashMap::new(),
            live: HashMap::new(),
            logs: HashMap::new(),
            without_logs: HashMap::new(),
            begun: BTreeSet::new(),
            cleanup_left,
            kept: HashMap::new(),
            stopping: if job.policy.retire.is_some() {
                Some(StopCause::User)
            } else {
                state.stopped.as_ref().map(|(cause, _)| *cause)
            },
            settling: Vec::new(),
            errors: job.past.errors,
            tally: job.past.tally.clone(),
            spending: Spending::before(&job, state),
            deadline: None,
            unsaved: Vec::new(),
            secretive: Vec::new(),
            hiding: None,
            untold: Vec::new(),
            job,
        }
    }

    async fn run(
        &mut self,
        state: &RunState,
        stops: &mut mpsc::UnboundedReceiver<Stop>,
    ) -> Result<End, ScheduleError> {
        self.take_over(state).await?;
        loop {
            self.settle();
            self.start_ready().await?;
            if self.open == 0 {
                return self.finish().await;
            }
            match self.wake(stops).await {
                Wake::Ended(ended) => self.end_attempts(ended).await?,
                Wake::Due => self.fire_timers(),
                Wake::Retry => {}
                Wake::Stop(Stop::Finish) => {
                    self.stop(StopCause::User, "stopped by a signal".to_owned()).await?;
                }
                Wake::Stop(Stop::Leave) => return Ok(End::Left),
                Wake::OutOfTime => {
                    self.stop(StopCause::Budget, "the plan's time budget is used up".to_owned()).await?;
                }
            }
        }
    }

    pub(super) fn make_ready(&mut self, index: NodeIndex) {
        self.nodes[index.index()].status = StepStatus::ReadySteps;
        self.ready.insert(&self.job.graph.graph[index], index);
        self.fresh.push(index);
    }

    pub(super) fn time(&mut self, index: NodeIndex, left: Duration) {
        self.nodes[index.index()].status = StepStatus::Timed;
        self.timers.push(Reverse((after(left), index)));
    }

    /// Skips and cancels what cannot start any more, until nothing changes.
    fn settle(&mut self) {
        let mut changes = Vec::new();
        loop {
            while let Some(ended) = self.settling.pop() {
                let succeeded = self.nodes[ended.index()].succeeded;
                let after: Vec<_> = self
                    .job
                    .graph
                    .graph
                    .edges_directed(ended, Direction::Outgoing)
                    .map(|edge| (edge.target(), *edge.weight()))
                    .collect();
                for (index, wait) in after {
                    let node = &mut self.nodes[index.index()];
                    if node.status != StepStatus::Waiting {
                        continue;
                    }
                    node.pending -= 1;
                    if wait == Wait::ForSuccess && !succeeded {
                        node.blocked_by.get_or_insert(ended);
                    }
                    if node.pending == 0 {
                        self.make_ready(index);
                    }
                }
            }
            if self.asked_under != self.stopping {
                // What was worth starting may no longer be.
                self.asked_under = self.stopping;
                self.fresh = self.ready.iter().collect();
            }
            let mut fresh = std::mem::take(&mut self.fresh);
            fresh.retain(|&index| {
                self.nodes[index.index()].status == StepStatus::ReadySteps && self.hopeless(index)
            });
            if fresh.is_empty() {
                break;
            }
            for index in fresh {
                let step = &self.job.graph.graph[index];
                self.ready.remove(step, (step.rank, index));
                // What would come after a step that was stopped before it began is stopped, too: nothing went wrong.
                let blocked_by = self.nodes[index.index()].blocked_by;
                if let Some(because) = blocked_by.filter(|step| !self.nodes[step.index()].never_began) {
                    let because = self.job.graph.graph[because].id.clone();
                    changes.extend(self.end(index, 0, Outcome::Skipped { because }, vec![]));
                } else {
                    let deployment = self.job.graph.graph[index].deployment;
                    if self.job.graph.graph[index].is_cleanup() && self.is_kept(deployment) {
                        changes.extend(self.tell_kept(deployment));
                    }
                    // Stopped before it began: the journal needs no line for each of perhaps a million steps.
                    self.mark_ended(index, &Outcome::Cancelled, false);
                }
            }
        }
        self.unsaved.append(&mut changes);
    }

    /// A ready step that must not start.
    fn hopeless(&self, index: NodeIndex) -> bool {
        if self.nodes[index.index()].blocked_by.is_some() {
            return true;
        }
        let step = &self.job.graph.graph[index];
        if step.is_cleanup() && self.is_kept(step.deployment) {
            return true;
        }
        match self.stopping {
            None => false,
            Some(_) if step.is_cleanup() => !self.owed(step.deployment),
            Some(StopCause::User) => true,
            Some(StopCause::Budget) => {
                !step.trial.is_some_and(|trial| self.begun.contains(&(step.deployment, trial)))
            }
        }
    }

    pub(super) fn owed(&self, deployment: usize) -> bool {
        self.live.get(&deployment).is_some_and(|live| live.row.debt == Debt::Owed)
    }

    async fn start_ready(&mut self) -> Result<(), ScheduleError> {
        self.machine.begin();
        let machine = &mut self.machine;
        let chosen = self
            .slots
            .choose(&mut self.ready, &self.job.graph.graph, &mut |index, step| machine.claim(index, step));
        for (index, why) in self.machine.end() {
            let step = self.job.graph.graph[index].id.clone();
            let _ = self.job.notices.send(Notice::Waiting { step, why });
        }
        if let Some(waiting) = self.machine.change() {
            let awaited = |(index, why): (NodeIndex, String)| AwaitedLock {
                step: self.job.graph.graph[index].id.clone(),
                why,
            };
            self.job.store.keep_waiting(&self.job.run, waiting.into_iter().map(awaited).collect());
        }
        if chosen.is_empty() {
            return self.save().await;
        }
        let now = now_ms();
        let mut changes = Vec::new();
        for &index in &chosen {
            let step = self.job.graph.graph[index].clone();
            self.open_deployment(&step, now, &mut changes)?;
            let folder = self.logs_for(index, &step, &mut changes);
            let logs = folder.as_deref().map(Path::to_path_buf);
            let node = &mut self.nodes[index.index()];
            node.attempts += 1;
            node.logs = folder;
            node.begun = Instant::now();
            node.is_own = true;
            let is_pause = step.pause().is_some();
            node.status = if is_pause { StepStatus::Timed } else { StepStatus::Running };
            let up_ms = is_pause.then(up_ms);
            let started = Event::StepStarted { step: step.id.clone(), attempt: node.attempts, logs, up_ms };
            changes.push(event(&self.job.run, now, started));
        }
        self.unsaved.append(&mut changes);
        self.save().await?;
        for index in chosen {
            let step = &self.job.graph.graph[index];
            if let Some(trial) = step.trial {
                self.begun.insert((step.deployment, trial));
            }
            if let Some(pause) = step.pause() {
                let until_ms = now.saturating_add(millis(pause));
                let _ = self.job.notices.send(Notice::Pausing { step: step.id.clone(), until_ms });
                self.time(index, pause);
            } else {
                self.spawn(index, false, false);
            }
        }
        Ok(())
    }

    /// Opens the step's deployment if it is not open, and records the debt before the first deploy step.
    fn open_deployment(
        &mut self,
        step: &Step,
        now: i64,
        changes: &mut Vec<Change>,
    ) -> Result<(), ScheduleError> {
        let job = &self.job;
        let deployment = &job.graph.deployments[step.deployment];
        let live = match self.live.entry(step.deployment) {
            Entry::Occupied(live) => live.into_mut(),
            Entry::Vacant(place) => {
                let id = job.naming.name(&job.run, deployment);
                let live = LiveDeployment::open(&job.plan, deployment, id, &job.run, &job.store, now)?;
                changes.push(Change::Open(live.row.clone()));
                place.insert(live)
            }
        };
        if step.is_deploy() && live.row.debt != Debt::Owed {
            self.spending.deployment(job, step.deployment);
            live.row.debt = Debt::Owed;
            let deployment = live.row.id.clone();
            changes.push(event(&job.run, now, Event::DebtRecorded { deployment: deployment.clone() }));
            changes.push(Change::Debt { deployment, debt: Debt::Owed });
        }
        Ok(())
    }

    /// The invocation's folder: a new one when an invocation begins, or begins again.
    fn logs_for(&mut self, index: NodeIndex, step: &Step, changes: &mut Vec<Change>) -> Option<Arc<Path>> {
        let trial = step.trial?;
        let known = self.logs.get(&(step.deployment, trial));
        let again = self.nodes[index.index()].attempts > 0;
        if !step.is_invoke() || step.pause().is_some() || (known.is_some() && !again) {
            return known.cloned();
        }
        let live = self.live.get_mut(&step.deployment)?;
        let (root, manifest) = (&live.deployed.benchmark.root, &live.deployed.benchmark.path);
        let logs = match self.job.executor.new_logs_folder(root, manifest) {
            Ok(logs) => logs,
            Err(error) => {
                let beside = manifest.display();
                let message = format!("cannot make a folder for the invocation beside `{beside}`: {error}");
                self.without_logs.insert(index, message);
                return None;
            }
        };
        live.row.logs = Some(logs.clone());
        changes.push(Change::Logs { deployment: live.row.id.clone(), logs: logs.clone() });
        let logs: Arc<Path> = logs.into();
        self.logs.insert((step.deployment, trial), Arc::clone(&logs));
        Some(logs)
    }

    /// The folders of the last invocations of each application, in the order of the plan.
    fn folders(&self) -> BTreeMap<String, Vec<PathBuf>> {
        let Job { plan, graph, past, .. } = &self.job;
        let nodes = graph.graph.node_weights().zip(&self.nodes);
        let now = nodes.filter_map(|(step, node)| Some((step.deployment, node.logs.as_deref()?)));
        let mut all: Vec<(usize, &Path)> = past
            .folders
            .iter()
            .map(|(deployment, folder)| (*deployment, folder.as_path()))
            .chain(now)
            .collect();
        all.sort_by_key(|(deployment, _)| *deployment);
        let (mut seen, mut folders) = (HashSet::new(), BTreeMap::new());
        for (deployment, folder) in all {
            if seen.insert(folder) {
                let application = &plan.entries[graph.deployments[deployment].entry].application;
                folders.entry(application.clone()).or_insert_with(Vec::new).push(folder.to_owned());
            }
        }
        folders
    }

    /// Takes up an attempt that an earlier runner began.
    pub(super) fn reattach(&mut self, index: NodeIndex, lost_boot: bool) {
        self.slots.take(&self.job.graph.graph[index]);
        self.machine.reclaim(index, &self.job.graph.graph[index]);
        self.nodes[index.index()].status = StepStatus::Running;
        self.spawn(index, true, lost_boot);
    }

    fn spawn(&mut self, index: NodeIndex, reattach: bool, lost_boot: bool) {
        let job = &self.job;
        let step = job.graph.graph[index].clone();
        let number = self.nodes[index.index()].attempts;
        if let Some(message) = self.without_logs.remove(&index) {
            self.tasks
                .spawn(async move { (index, Outcome::failed(FailureClass::NotStarted, message).into()) });
            return;
        }
        let Some(live) = self.live.get(&step.deployment) else {
            // A journal that lacks the deployment of a step that ran in it: nothing sensible can be executed.
            let message = "the state does not know the deployment of this step".to_owned();
            self.tasks
                .spawn(async move { (index, Outcome::failed(FailureClass::NotStarted, message).into()) });
            return;
        };
        let deployment = &job.graph.deployments[step.deployment];
        let logs = step.trial.and_then(|trial| self.logs.get(&(step.deployment, trial))).cloned();
        let trial = step.trial.map(|trial| (&deployment.trials[trial].id, deployment.trials[trial].number));
        let cancel = CancellationToken::new();
        if self.stopping == Some(StopCause::User) && !step.is_cleanup() {
            cancel.cancel();
        }
        let _ = job.notices.send(Notice::Started {
            step: step.id.clone(),
            action: step.action_name(),
            attempt: number,
            log: job.executor.log_of(&job.run, &step, number),
            reattached: reattach,
        });
        let attempt = Attempt {
            run: job.run.clone(),
            number,
            again: self.nodes[index.index()].again,
            reattach,
            lost_boot,
            deployment: Arc::clone(&live.deployed),
            values: Arc::new(live.values(&job.run, trial, logs.as_deref())),
            secrets: Arc::clone(&live.known_secrets),
            logs: logs.as_deref().map(Path::to_path_buf),
            evidence: self.evidence(&step),
            holds: self.machine.while_loading(&step),
            cancel: cancel.clone(),
            notices: job.notices.clone(),
            step,
        };
        self.cancels.insert(index, cancel);
        let executing = AssertUnwindSafe(Arc::clone(&job.executor).execute(attempt)).catch_unwind();
        self.tasks.spawn(async move {
            let finished = executing.await.unwrap_or_else(|_| {
                let message = "sb itself failed while it executed this step; please report it";
                Outcome::failed(FailureClass::NotStarted, message).into()
            });
            (index, finished)
        });
    }

    /// For a step that decides on further trials: the folders of the trials so far. A first trial that is to be cold, unlike
    /// the others, does not count.
    fn evidence(&self, step: &Step) -> Option<Evidence> {
        let (StepKind::Decide, Some(until), Some(last)) = (&step.kind, self.job.plan.until, step.trial)
        else {
            return None;
        };
        let deployment = &self.job.graph.deployments[step.deployment];
        let point = &self.job.plan.entries[deployment.entry].points[deployment.point];
        let first = usize::from(point.start == Some(Start::ColdThenWarm));
        let folders = (first..=last).filter_map(|trial| self.logs.get(&(step.deployment, trial)));
        Some(Evidence { until, folders: folders.map(|folder| folder.to_path_buf()).collect() })
    }

    async fn wake(&mut self, stops: &mut mpsc::UnboundedReceiver<Stop>) -> Wake {
        let due = self.timers.peek().map(|Reverse((due, _))| due.saturating_duration_since(Instant::now()));
        let out_of_time = self.deadline.filter(|_| self.stopping.is_none());
        let out_of_time = out_of_time.map(|at| at.saturating_duration_since(Instant::now()));
        tokio::select! {
            Some(stop) = stops.recv() => Wake::Stop(stop),
            Some(ended) = self.tasks.join_next() => {
                let mut all = Vec::new();
                let mut next = Some(ended);
                while let Some(ended) = next {
                    all.extend(ended.ok());
                    next = self.tasks.try_join_next();
                }
                Wake::Ended(all)
            }
            () = sleep(due) => Wake::Due,
            () = sleep(self.machine.retry()) => Wake::Retry,
            () = sleep(out_of_time) => Wake::OutOfTime,
        }
    }

    fn fire_timers(&mut self) {
        let now = Instant::now();
        let mut changes = Vec::new();
        while let Some(Reverse((due, index))) = self.timers.peek().copied() {
            if due > now {
                break;
            }
            self.timers.pop();
            if self.nodes[index.index()].status != StepStatus::Timed {
                continue;
            }
            if self.job.graph.graph[index].pause().is_some() {
                let attempt = self.nodes[index.index()].attempts;
                changes.extend(self.end(index, attempt, Outcome::Succeeded, vec![]));
            } else {
                self.make_ready(index);
            }
        }
        self.unsaved.append(&mut changes);
    }

    async fn end_attempts(&mut self, ended: Vec<(NodeIndex, Finished)>) -> Result<(), ScheduleError> {
        for (index, finished) in ended {
            self.cancels.remove(&index);
            // Left as begun, it is started by the next runner, as the same attempt.
            if matches!(&finished.outcome, Outcome::Failed(failure) if failure.class == FailureClass::NotStarted)
            {
                self.job.store.check_writable().await?;
            }
            self.slots.release(&self.job.graph.graph[index]);
            self.spending.attempt(&self.job, &self.job.graph.graph[index]);
            self.machine.release(index, self.slots.running());
            let changes = self.end_attempt(index, finished)?;
            self.unsaved.extend(changes);
        }
        if let Some(limit) = self.job.plan.budget.errors
            && self.errors >= limit
            && self.stopping.is_none()
        {
            let why = format!(
                "{} failed or {} interrupted, and the plan's error budget is {limit}",
                match self.errors {
                    1 => "1 attempt has".to_owned(),
                    errors => format!("{errors} attempts have"),
                },
                if self.errors == 1 { "was" } else { "were" }
            );
            self.stop(StopCause::Budget, why).await?;
        }
        if let Some(why) = self.spending.used_up(&self.job)
            && self.stopping.is_none()
        {
            self.stop(StopCause::Budget, why).await?;
        }
        Ok(())
    }

    fn end_attempt(
        &mut self,
        index: NodeIndex,
        mut finished: Finished,
    ) -> Result<Vec<Change>, ScheduleError> {
        let step = self.job.graph.graph[index].clone();
        let attempt = self.nodes[index.index()].attempts;
        let mut changes = Vec::new();
        let mut outputs = BTreeMap::new();
        if let Some(live) = self.live.get_mut(&step.deployment) {
            let known_before = live.known_secrets.texts().count();
            if !finished.lost_secrets.is_empty() {
                Arc::make_mut(&mut live.known_secrets).add_unnamed(&finished.lost_secrets);
            }
            if !finished.outputs.is_empty() {
                outputs = live.add_outputs(std::mem::take(&mut finished.outputs), &self.job.store)?;
                let outputs = live.row.outputs.clone();
                changes.push(Change::Outputs { deployment: live.row.id.clone(), outputs });
            }
            let known = &live.known_secrets;
            finished.outcome = known.hide_in(finished.outcome);
            for reason in &mut finished.invalid {
                *reason = known.redactor.text(reason).into_owned();
            }
            let learned = known.texts().count() > known_before;
            // What runs on is written to: its log is cleared when it is stopped.
            let runs_on = step.is_background() && finished.outcome.is_success();
            if !runs_on {
                live.ended.push((index, attempt));
            }
            if !known.redactor.is_empty() && !live.ended.is_empty() {
                let from = if learned { 0 } else { live.ended.len() - 1 };
                self.secretive.push((live.ended[from..].to_vec(), Arc::clone(known)));
            }
        }
        let stopped = self.stopping == Some(StopCause::User) && !step.is_cleanup();
        let (outcome, retry) = self.judge(index, finished.outcome);
        if let Some(delay) = retry.filter(|_| !stopped) {
            let now = now_ms();
            self.nodes[index.index()].again = true;
            self.untold.push(Notice::Retrying {
                step: step.id.clone(),
                attempt,
                outcome: outcome.clone(),
                delay,
            });
            self.time(index, delay);
            let ended = Event::StepEnded {
                step: step.id,
                attempt,
                outcome,
                outputs: BTreeMap::new(),
                invalid: vec![],
                took_ms: self.took(index, attempt).map(whole_millis),
                retry: true,
            };
            changes.push(event(&self.job.run, now, ended));
            return Ok(changes);
        }
        let mut ended = self.end(index, attempt, outcome, finished.invalid);
        if let Some(Change::Event {
            record: Record { event: Event::StepEnded { outputs: place, .. }, .. },
            ..
        }) = ended.first_mut()
        {
            *place = outputs;
        }
        changes.extend(ended);
        Ok(changes)
    }

    /// How long an attempt took. One that an earlier runner began may have ended long before its end was found: what supervised
    /// it knows. None: nothing does, or there was no attempt.
    fn took(&self, index: NodeIndex, attempt: u32) -> Option<Duration> {
        let node = &self.nodes[index.index()];
        if attempt == 0 {
            return None;
        }
        if node.is_own {
            return Some(node.begun.elapsed());
        }
        let log = self.job.executor.log_of(&self.job.run, &self.job.graph.graph[index], attempt);
        let record = attempt::ExitRecord::read(log.parent()?).ok()??;
        Some(Duration::from_millis(record.ended_unix_ms.saturating_sub(record.started_unix_ms)))
    }

    /// Ends a step for good; returns what the journal must hold of it, the step's own event first.
    fn end(&mut self, index: NodeIndex, attempt: u32, outcome: Outcome, invalid: Vec<String>) -> Vec<Change> {
        let now = now_ms();
        let step = self.job.graph.graph[index].id.clone();
        let deployment = self.job.graph.graph[index].deployment;
        let took = self.took(index, attempt);
        // For people, who are better off with too long a time than with none.
        let at_most = if attempt == 0 { Duration::ZERO } else { self.nodes[index.index()].begun.elapsed() };
        self.untold.push(Notice::Ended {
            step: step.clone(),
            outcome: outcome.clone(),
            invalid: invalid.clone(),
            took: took.unwrap_or(at_most),
            log: self.job.executor.log_of(&self.job.run, &self.job.graph.graph[index], attempt),
        });
        self.mark_ended(index, &outcome, !invalid.is_empty());
        let outputs = BTreeMap::new();
        let took_ms = took.map(whole_millis);
        let ended = Event::StepEnded { step, attempt, outcome, outputs, invalid, took_ms, retry: false };
        let mut changes = vec![event(&self.job.run, now, ended)];
        if self.job.graph.graph[index].is_cleanup() {
            changes.extend(self.pay_debt(deployment, now));
        }
        changes
    }

    /// When the last cleanup step of a deployment has succeeded, nothing is owed any more.
    fn pay_debt(&mut self, deployment: usize, now: i64) -> Vec<Change> {
        let others = self.job.policy.retire.as_ref().is_some_and(|retired| !retired.contains(&deployment));
        if self.cleanup_left[deployment] != (0, false) || !self.job.parts.cleanup || others {
            return vec![];
        }
        let Some(live) = self.live.get_mut(&deployment).filter(|live| live.row.debt == Debt::Owed) else {
            return vec![];
        };
        // A step that is called otherwise now, or is in the manifest no more, has no cleanup that would have found them.
        if !self.job.store.workspace().left_by_steps(&live.row.id).is_empty() {
            return vec![];
        }
        live.row.debt = Debt::Paid;
        live.ended = Vec::new();
        let deployment = live.row.id.clone();
        vec![
            event(&self.job.run, now, Event::DebtPaid { deployment: deployment.clone() }),
            Change::Debt { deployment, debt: Debt::Paid },
        ]
    }

    /// Says what stays of a deployment whose cleanup steps have all succeeded: that of steps that the manifest does not have any
    /// more.
    fn tell_what_is_left(&mut self, deployment: usize) {
        if self.cleanup_left[deployment] != (0, false) || !self.job.parts.cleanup || !self.owed(deployment) {
            return;
        }
        let Some(live) = self.live.get(&deployment) else { return };
        let left = self.job.store.workspace().left_by_steps(&live.row.id);
        let Some(first) = left.first() else { return };
        let why = format!(
            "{}: what its step `{first}` has deployed is still there, and no cleanup step is called so: give the step its name \
             back in the manifest, and clean up again",
            live.row.id
        );
        self.tally.owe();
        self.untold.push(Notice::StillOwed { why });
    }

    /// Ends a step in memory.
    pub(super) fn mark_ended(&mut self, index: NodeIndex, outcome: &Outcome, invalid: bool) {
        let step = &self.job.graph.graph[index];
        let forgiven = is_forgiven(step);
        let succeeded = outcome.is_success() || (forgiven && matches!(outcome, Outcome::Failed(_)));
        let standing = Standing { owed: self.owed(step.deployment), kept: self.is_kept(step.deployment) };
        self.tally.end(step, outcome, invalid, standing);
        if step.is_cleanup() {
            let (left, failed) = &mut self.cleanup_left[step.deployment];
            *left -= 1;
            *failed |= !succeeded;
        } else if !forgiven && matches!(outcome, Outcome::Failed(_) | Outcome::Interrupted) {
            self.keep(index);
        }
        let node = &mut self.nodes[index.index()];
        node.status = StepStatus::Ended;
        node.succeeded = succeeded;
        node.never_began = node.attempts == 0 && matches!(outcome, Outcome::Cancelled);
        self.open -= 1;
        self.settling.push(index);
    }

    async fn stop(&mut self, cause: StopCause, why: String) -> Result<(), ScheduleError> {
        if self.stopping == Some(StopCause::User) {
            return Ok(());
        }
        self.stopping = Some(cause);
        let _ =
            self.job.notices.send(Notice::Stopping { why: why.clone(), cleans_up: self.job.parts.cleanup });
        self.unsaved.push(event(&self.job.run, now_ms(), Event::StopRequested { why, cause }));
        self.save().await?;
        let graph = &self.job.graph.graph;
        if cause == StopCause::User {
            for (index, cancel) in &self.cancels {
                if !graph[*index].is_cleanup() {
                    cancel.cancel();
                }
            }
        }
        self.end_hopeless_pauses();
        Ok(())
    }

    /// Pauses and delays end now, unless they lead to something that is still to be done.
    pub(super) fn end_hopeless_pauses(&mut self) {
        let mut timed: Vec<NodeIndex> = self.timers.iter().map(|Reverse((_, index))| *index).collect();
        timed.retain(|&index| self.nodes[index.index()].status == StepStatus::Timed);
        let mut changes = Vec::new();
        for index in timed {
            let attempt = self.nodes[index.index()].attempts;
            if self.hopeless(index) {
                changes.extend(self.end(index, attempt, Outcome::Cancelled, vec![]));
            }
        }
        self.unsaved.append(&mut changes);
    }

    /// Everything has ended: the verdicts, in the journal unless this was only the end of an earlier definition.
    async fn finish(&mut self) -> Result<End, ScheduleError> {
        let now = now_ms();
        let mut changes = Vec::new();
        for deployment in 0..self.cleanup_left.len() {
            changes.extend(self.pay_debt(deployment, now));
            self.tell_what_is_left(deployment);
        }
        let (measurement, cleanup) = self.tally.verdicts();
        if self.job.policy.retire.is_none() {
            changes.push(event(
                &self.job.run,
                now,
                Event::RunEnded { measurement, cleanup, up_ms: Some(up_ms()) },
            ));
        }
        self.unsaved.append(&mut changes);
        self.save().await?;
        Ok(End::Ended { measurement, cleanup })
    }

    /// Makes everything noted so far durable.
    pub(super) async fn save(&mut self) -> Result<(), ScheduleError> {
        if self.unsaved.is_empty() {
            return Ok(());
        }
        self.job.store.append(std::mem::take(&mut self.unsaved)).await?;
        self.hide_and_tell();
        Ok(())
    }

    /// Takes secrets out of what attempts have written, and then tells of what has happened. A log may have hundreds of megabytes:
    /// the run goes on meanwhile.
    fn hide_and_tell(&mut self) {
        let notices: Vec<Notice> = self.untold.drain(..).collect();
        let is_idle = self.hiding.as_ref().is_none_or(JoinHandle::is_finished);
        if self.secretive.is_empty() && is_idle {
            for notice in notices {
                let _ = self.job.notices.send(notice);
            }
            return;
        }
        let Job { executor, run, graph, .. } = &self.job;
        let log_of = |(index, attempt): AttemptKey| executor.log_of(run, &graph.graph[index], attempt);
        let secretive: Vec<(Vec<PathBuf>, Arc<KnownSecrets>)> = self
            .secretive
            .drain(..)
            .map(|(attempts, secrets)| (attempts.into_iter().map(log_of).collect(), secrets))
            .collect();
        let hide = move || {
            for (logs, secrets) in secretive {
                for folder in logs.iter().filter_map(|log| log.parent()) {
                    // Where that fails, only the user can read the files in any case.
                    let _ = attempt::hide_in_folder(folder, &secrets.redactor);
                }
            }
        };
        // One after the other: two may be about the same folder, and people hear of steps in their order.
        let (before, teller) = (self.hiding.take(), self.job.notices.clone());
        self.hiding = Some(tokio::spawn(async move {
            if let Some(before) = before {
                unless_it_panicked(before.await);
            }
            unless_it_panicked(tokio::task::spawn_blocking(hide).await);
            for notice in notices {
                let _ = teller.send(notice);
            }
        }));
    }

    /// Returns when all secrets are hidden, and all was told.
    pub(super) async fn hidden(&mut self) {
        if let Some(hiding) = self.hiding.take() {
            unless_it_panicked(hiding.await);
        }
    }
}

fn unless_it_panicked(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        resume_unwind(panic);
    }
}

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// Milliseconds since the machine was started, sleep included.
pub(crate) fn up_ms() -> i64 {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    up.tv_sec.saturating_mul(1000).saturating_add(up.tv_nsec / 1_000_000)
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What the clock cannot express is never.
pub(super) fn after(left: Duration) -> Instant {
    const NEVER: Duration = Duration::from_hours(24 * 365 * 30);
    Instant::now().checked_add(left).unwrap_or_else(|| Instant::now() + NEVER)
}

/// Sleeps that long, or for ever.
async fn sleep(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
