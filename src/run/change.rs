//! A run whose plan or manifests were edited since it was started: what was edited, what it means, and going on with
//! either. What counts is what the files say, not how: a comment is no edit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use sb_durable::Options;
use tokio::sync::mpsc::UnboundedSender;

use super::contents::{Measured, is_checksum};
use super::error::RunError;
use super::events::{Control, RunEvent};
use super::left::Left;
use super::perform::{Work, reach};
use super::request::{Given, Request, Sources};
use super::service::Runs;
use crate::attempt::EXIT_FILE;
use crate::printable::counted;
use crate::schedule::{End, Past, Policy, now_ms};
use crate::store::{self, Debt, Store, event};
use sb_plan::benchmark::Sent;
use sb_plan::event::{Event, Record};
use sb_plan::graph::change::{Change, Definition, Standing, compare};
use sb_plan::graph::{self, Parts, RunGraph};
use sb_plan::id::{DeploymentId, RunId, StepId};
use sb_plan::manifest::problem::Problem;
use sb_plan::manifest::read::{Files as _, Kept, LARGEST, Recording};
use sb_plan::plan::Plan;
use sb_plan::plan::{Deployment, expand};
use sb_plan::run_state::{RunState, StepPhase};
use sb_workload::{Body, Workload};

/// What to do with a run whose files were edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    /// Refuse with the difference, and leave it to the user.
    Refuse,
    /// Go on with the files as they are now.
    Accept,
    /// Go on with the files as they were.
    AsStarted,
}

/// A file of a run that is not what it was.
#[derive(Clone, Debug)]
pub struct FileEdit {
    /// Absolute.
    pub path: PathBuf,
    /// As the run keeps it.
    pub before: String,
    /// None: it cannot be read any more.
    pub now: Option<String>,
}

/// What a change of the files means for a run, to be read by people.
#[derive(Clone, Debug)]
pub struct Consequences(String);

impl fmt::Display for Consequences {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A run as it goes on.
pub(super) struct Settled {
    pub(super) request: Request,
    pub(super) plan: Plan,
    pub(super) graph: RunGraph,
    pub(super) past: Past,
    pub(super) state: RunState,
}

impl Settled {
    fn new(request: Request, plan: Plan, left: Left) -> Self {
        let Left { graph, state, past } = left;
        Self { request, plan, graph, past, state }
    }
}

/// What the files of a run hold.
struct Held {
    sources: Sources,
    contents: Sources,
}

/// A run that this process holds, and those who watch it.
struct HeldRun<'a> {
    runs: &'a Runs,
    run: &'a RunId,
    events: &'a UnboundedSender<RunEvent>,
    control: &'a Control,
}

impl HeldRun<'_> {
    fn store(&self) -> &Store {
        self.runs.store()
    }

    fn tell(&self, event: RunEvent) {
        // Fails where nobody watches.
        let _ = self.events.send(event);
    }
}

pub(super) async fn settle(
    runs: &Runs,
    run: &RunId,
    request: Request,
    files: Edited,
    events: &UnboundedSender<RunEvent>,
    control: &Control,
) -> Result<Settled, RunError> {
    let held = HeldRun { runs, run, events, control };
    let files_now = files_since(held.store(), run, &request).await?;
    let texts = edited_files(&request, &files_now);
    if texts.is_empty() || files == Edited::AsStarted {
        let mut restored = HashSet::new();
        let plan = || {
            let mut plan = request.planned(held.store(), run)?;
            restored = restore_bodies(&held, &request, &mut plan, &texts)?;
            Ok(plan)
        };
        let (plan, left) = Left::read(held.store(), run, &request, request.parts, plan).await?;
        if !left.state.changing {
            if !texts.is_empty() {
                expect_kept(&held, &request, &files_now, &texts, &restored).await?;
            }
            for path in texts.keys() {
                held.tell(RunEvent::GoesOnAsStarted(path.clone()));
            }
            return Ok(Settled::new(request, plan, left));
        }
    }
    let changing = is_changing(held.store(), run).await?;
    if changing && files != Edited::Accept {
        return Err(RunError::ChangeIncomplete { run: run.clone() });
    }
    let plan = request.planned(held.store(), run)?;
    let Some((edited, now)) = read(&held, &request, files_now, &plan, &texts, changing)? else {
        let (plan, left) = Left::read(held.store(), run, &request, request.parts, || Ok(plan)).await?;
        return Ok(Settled::new(request, plan, left));
    };
    if files == Edited::Accept {
        return accept(&held, request, plan, edited, now).await;
    }
    let consequences = meaning(&Edit::read(&held, &request, &plan, &edited).await?);
    let edits = texts
        .into_iter()
        .map(|(path, now)| FileEdit { before: request.kept(&path).unwrap_or_default().to_owned(), path, now })
        .collect();
    Err(RunError::Changed { run: run.clone(), edits, consequences })
}

/// Whether a change of the run's files was accepted, and is not complete.
async fn is_changing(store: &Store, run: &RunId) -> Result<bool, RunError> {
    let mut changing = false;
    let mut look = |record: Record| match record.event {
        Event::ChangeAccepted { .. } => changing = true,
        Event::PlanChanged { .. } => changing = false,
        _ => {}
    };
    store.read(run)?.each(&mut look).await?;
    Ok(changing)
}

/// The files as they are, by what the run has recorded and its steps may have built since.
async fn files_since(store: &Store, run: &RunId, request: &Request) -> Result<Measured, RunError> {
    let Some(contents) = &request.contents else { return Ok(Measured::default()) };
    if !Measured::has_other_folders(contents) {
        return Ok(Measured::since(contents, vec![]));
    }
    let (mut begun, mut building) = (HashMap::new(), Vec::new());
    let builds = |step: &StepId| ["/deploy/", "/cleanup/"].iter().any(|phase| step.as_str().contains(phase));
    store
        .read(run)?
        .each(|record| match record.event {
            Event::StepStarted { step, attempt, .. } if builds(&step) => {
                begun.insert(step, (record.at_ms, attempt));
            }
            Event::StepEnded { step, .. } => {
                building.extend(begun.remove(&step).map(|(from, _)| (from, record.at_ms)));
            }
            _ => {}
        })
        .await?;
    for (step, (from, attempt)) in begun {
        // It has ended under its supervisor, or still runs.
        let exit = store.workspace().attempt(run, &step, attempt).join(EXIT_FILE);
        let ended = std::fs::metadata(exit).and_then(|found| found.modified()).ok();
        let ended = ended.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        building.push((from, ended.map_or(i64::MAX, |at| i64::try_from(at.as_millis()).unwrap_or(i64::MAX))));
    }
    Ok(Measured::since(contents, building))
}

/// Files whose text is another one now; None for those that cannot be read any more.
fn edited_files(request: &Request, files: &Measured) -> BTreeMap<PathBuf, Option<String>> {
    let mut edited = BTreeMap::new();
    for (path, contents) in request.contents.iter().flatten() {
        let now = files.contents(path);
        if now.as_ref() != Some(contents) {
            edited.insert(path.clone(), now);
        }
    }
    // What was read as a text is shown as one.
    for (path, text) in &request.sources {
        let now = sb_durable::read_regular(path, LARGEST)
            .ok()
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if now.as_ref() != Some(text) {
            edited.insert(path.clone(), now);
        }
    }
    edited
}

/// Bodies that were edited, and are known as they were: they are sent from a copy. Returns their paths.
fn restore_bodies(
    held: &HeldRun<'_>,
    request: &Request,
    plan: &mut Plan,
    texts: &BTreeMap<PathBuf, Option<String>>,
) -> Result<HashSet<PathBuf>, RunError> {
    let contents: BTreeMap<_, _> = request.contents.iter().flatten().collect();
    let folder = held.store().workspace().run(held.run).join("files");
    let mut copies: HashMap<PathBuf, PathBuf> = HashMap::new();
    for entry in &mut plan.entries {
        let Some(Sent::Requests(workload)) = &entry.benchmark.workload else { continue };
        let mut workload = Workload::clone(workload);
        let sequences = workload.sequences.iter_mut().flat_map(|sequence| &mut sequence.requests);
        for sent in workload.requests.iter_mut().chain(sequences) {
            let Body::File(path) = &mut sent.body else { continue };
            if !texts.contains_key(path) {
                continue;
            }
            let Some(text) = contents.get(path).filter(|text| !is_checksum(text)) else { continue };
            if !copies.contains_key(path) {
                std::fs::create_dir_all(&folder)?;
                let copy = folder.join(format!("body-{}", copies.len() + 1));
                sb_durable::write(&copy, Options::new().private(), text.as_bytes())
                    .map_err(std::io::Error::from)?;
                copies.insert(path.clone(), copy);
            }
            *path = copies[path].clone();
        }
        Arc::make_mut(&mut entry.benchmark).workload = Some(Sent::Requests(Arc::new(workload)));
    }
    Ok(copies.into_keys().collect())
}

/// Bodies, scripts, templates and code are read from the disk when a step needs them: a run goes on as it was started
/// only if those that steps still need are what they were, or were restored.
async fn expect_kept(
    held: &HeldRun<'_>,
    request: &Request,
    files: &Measured,
    texts: &BTreeMap<PathBuf, Option<String>>,
    restored: &HashSet<PathBuf>,
) -> Result<(), RunError> {
    let Some(contents) = &request.contents else { return Ok(()) };
    let given = Given::read(held.store(), held.run)?;
    let now = contents.iter().filter_map(|(path, kept)| {
        let now = if restored.contains(path) { Some(kept.clone()) } else { files.contents(path) };
        Some((path.clone(), now?))
    });
    let now = Some(now.collect());
    let files = Kept::new(request.sources.clone(), Measured::default()).with_contents(now);
    let plan = &request.planned(held.store(), held.run)?;
    let mut checked = request.clone().templates(plan.templates()).check(&files, &given);
    checked.problems.retain(Problem::is_error);
    let Some(now) = checked.value else {
        return Err(RunError::ChangedInvalid { run: held.run.clone(), problems: checked.problems });
    };
    let edit = Edit::read(held, request, plan, &now).await?;
    let is_needed =
        |step: &&StepId| !edit.state.step(step).is_some_and(|past| matches!(past.phase, StepPhase::Ended(_)));
    match edit.change.changed.iter().find(is_needed) {
        None => Ok(()),
        Some(step) => Err(RunError::NotKept {
            run: held.run.clone(),
            step: step.clone(),
            files: texts
                .keys()
                .filter(|path| contents.contains_key(*path) && !restored.contains(*path))
                .cloned()
                .collect(),
        }),
    }
}

/// The plan as the files define it now, and what they hold; None when that is what they defined before.
fn read(
    held: &HeldRun<'_>,
    request: &Request,
    files: Measured,
    plan: &Plan,
    texts: &BTreeMap<PathBuf, Option<String>>,
    changing: bool,
) -> Result<Option<(Plan, Held)>, RunError> {
    let given = Given::read(held.store(), held.run)?;
    let files = Recording::new(files);
    let mut checked = request.clone().templates(plan.templates()).check(&files, &given);
    checked.problems.retain(Problem::is_error);
    let Some(edited) = checked.value else {
        return Err(RunError::ChangedInvalid { run: held.run.clone(), problems: checked.problems });
    };
    if edited == *plan && !changing {
        for path in texts.keys() {
            held.tell(RunEvent::ChangedWithoutEffect(path.clone()));
        }
        return Ok(None);
    }
    let (sources, contents) = files.into_parts();
    Ok(Some((edited, Held { sources, contents })))
}

/// What there is of the run's deployments.
struct Standings<'a> {
    run: &'a RunId,
    request: &'a Request,
    rows: HashMap<DeploymentId, Standing>,
}

impl<'a> Standings<'a> {
    async fn read(store: &Store, request: &'a Request, run: &'a RunId) -> Result<Self, RunError> {
        let rows = store.deployments().await?.into_iter().map(|row| {
            let standing = match row.debt {
                Debt::Open => Standing::Open,
                Debt::Owed => Standing::Owed,
                Debt::Paid => Standing::Gone,
            };
            (row.id, standing)
        });
        Ok(Self { run, request, rows: rows.collect() })
    }

    fn of(&self, deployment: &Deployment) -> Standing {
        let name = self.request.naming().name(self.run, deployment);
        self.rows.get(&name).copied().unwrap_or(Standing::Gone)
    }

    /// The graph in which deployments that stand are finished before others of their application begin.
    fn graph(&self, plan: &Plan, parts: Parts) -> RunGraph {
        let mut expansion = expand(plan);
        expansion.finish_first(|deployment| self.of(deployment) == Standing::Owed);
        graph::build(plan, expansion, parts)
    }
}

/// A run's definition before and after.
struct Edit<'a> {
    old: &'a Plan,
    old_graph: RunGraph,
    new_graph: RunGraph,
    change: Change,
    state: RunState,
}

impl<'a> Edit<'a> {
    async fn read(
        held: &HeldRun<'_>,
        request: &Request,
        old: &'a Plan,
        new: &Plan,
    ) -> Result<Self, RunError> {
        let state = held.store().state(held.run).await?;
        let standings = Standings::read(held.store(), request, held.run).await?;
        let old_graph = standings.graph(old, request.parts);
        let new_graph = standings.graph(new, request.parts);
        let change = compare(
            Definition { plan: old, graph: &old_graph },
            Definition { plan: new, graph: &new_graph },
            &state,
            request.parts.deploy,
            &|deployment| standings.of(deployment),
        );
        Ok(Self { old, old_graph, new_graph, change, state })
    }
}

/// Ends what the files leave no place for, and takes the run over to the files as they are now.
async fn accept(
    held: &HeldRun<'_>,
    request: Request,
    old: Plan,
    new: Plan,
    now: Held,
) -> Result<Settled, RunError> {
    let mut edit = Edit::read(held, &request, &old, &new).await?;
    held.tell(RunEvent::Accepted(meaning(&edit)));
    if !edit.change.is_ready() {
        retire(held, &request, edit).await?;
        edit = Edit::read(held, &request, &old, &new).await?;
        if !edit.change.is_ready() {
            return Err(RunError::NotRetired { run: held.run.clone() });
        }
    }
    let request = Request {
        earlier: request.earlier.iter().chain([&request.sources]).cloned().collect(),
        sources: now.sources,
        contents: Some(now.contents),
        ..request
    };
    let version = u32::try_from(request.earlier.len() + 1).unwrap_or(u32::MAX);
    let changed = Event::PlanChanged { version, again: edit.change.again.clone() };
    let text = serde_json::to_string(&request).map_err(std::io::Error::from)?;
    let mut changes = vec![
        event(held.run, now_ms(), changed),
        store::Change::Request { run: held.run.clone(), request: text },
    ];
    let reopened: HashSet<&String> = edit.change.reopened.iter().collect();
    for deployment in &edit.new_graph.deployments {
        if reopened.contains(&deployment.key) {
            changes.push(store::Change::Forget(request.naming().name(held.run, deployment)));
        }
    }
    held.store().append(changes).await?;
    drop(edit);
    let (plan, left) = Left::read(held.store(), held.run, &request, request.parts, || Ok(new)).await?;
    Ok(Settled::new(request, plan, left))
}

/// Stops and cleans up as it was defined before.
async fn retire(held: &HeldRun<'_>, request: &Request, edit: Edit<'_>) -> Result<(), RunError> {
    let naming = request.naming();
    let Edit { old, old_graph, change, .. } = edit;
    let retired =
        change.retired.iter().map(|&index| naming.name(held.run, &old_graph.deployments[index])).collect();
    let accepted = Event::ChangeAccepted { retired };
    held.store().append(vec![event(held.run, now_ms(), accepted)]).await?;
    let stopped: HashSet<_> = change.stopped.iter().collect();
    // A command for a part of the life cycle has no cleanup of its own, but here it may need one.
    let graph = graph::build(old, expand(old), request.parts.with_cleanup())
        .only(|step| change.retired.contains(&step.deployment) || stopped.contains(&step.id));
    held.tell(RunEvent::Retiring);
    let performer = reach(held.runs, old, &graph).await?;
    let work = Work {
        plan: old.clone(),
        graph,
        past: Past::default(),
        parts: request.parts.with_cleanup(),
        policy: Policy { keep_on_failure: false, retire: Some(change.retired) },
        naming,
        state: held.store().state(held.run).await?,
    };
    match work.perform(held.runs, held.run, performer, held.events, held.control).await?.end {
        // What was asked to stop starts nothing new.
        End::Ended { .. } if held.control.was_asked() => {
            Err(RunError::LeftWhileChanging { run: held.run.clone() })
        }
        End::Ended { .. } => Ok(()),
        End::Left => Err(RunError::LeftWhileChanging { run: held.run.clone() }),
    }
}

/// What a change of the files means for the run.
fn meaning(edit: &Edit<'_>) -> Consequences {
    const SHOWN: usize = 12;
    let change = &edit.change;
    let mut text = String::from("what it means:");
    let mut list = |what: &str, names: Vec<String>| {
        if names.is_empty() {
            return;
        }
        let _ = write!(text, "\n  {what}");
        for name in names.iter().take(SHOWN) {
            let _ = write!(text, "\n    {name}");
        }
        if names.len() > SHOWN {
            let _ = write!(text, "\n    … and {} more", names.len() - SHOWN);
        }
    };
    let again: HashSet<&StepId> = change.again.iter().collect();
    let names = |ids: &[StepId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let marked = |id: &StepId| {
        if again.contains(id) { format!("{id} (has run, and runs again)") } else { id.to_string() }
    };
    list("changed steps:", change.changed.iter().map(marked).collect());
    list("new steps:", names(&change.new));
    list("steps that are gone:", names(&change.gone));
    let changed: HashSet<&StepId> = change.changed.iter().collect();
    let follow: Vec<_> =
        change.again.iter().filter(|id| !changed.contains(id)).map(ToString::to_string).collect();
    list("run again, because of these:", follow);
    let old_key = |&index: &usize| edit.old_graph.deployments[index].key.clone();
    list("cleaned up first, as they were defined before:", change.retired.iter().map(old_key).collect());
    let stopped = change.stopped.iter().filter(|id| {
        !edit
            .old_graph
            .find(id)
            .is_some_and(|index| change.retired.contains(&edit.old_graph.graph[index].deployment))
    });
    list(
        "stopped, because they still run as they were defined before:",
        stopped.map(ToString::to_string).collect(),
    );
    list("deployed again:", change.reopened.clone());
    list("settings of the plan:", change.settings.iter().map(ToString::to_string).collect());
    let kept = edit
        .new_graph
        .graph
        .node_weights()
        .filter(|step| !again.contains(&step.id))
        .filter(|step| {
            edit.state.step(&step.id).is_some_and(|past| matches!(past.phase, StepPhase::Ended(_)))
        })
        .count();
    let total = counted(edit.new_graph.graph.node_count(), "step");
    let _ = match kept {
        1 => write!(text, "\n  1 of {total} has ended and keeps its result"),
        kept => write!(text, "\n  {kept} of {total} have ended and keep their results"),
    };
    Consequences(text)
}
