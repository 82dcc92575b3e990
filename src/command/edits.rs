//! A run whose plan or manifests were edited since it was started: the difference, what it means, and going on with
//! either. What counts is what the files say, not how: a comment is no edit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::engine::{Begun, Planned, Request, Sources, Work, executor_of, read_private};
use super::output::{Failed, show_problems};
use crate::exit_code::Exit;
use crate::schedule::{End, Policy, now_ms};
use crate::store::{self, Debt, Store, event};
use crate::terminal::{Style, Terminal};
use sb_plan::event::Event;
use sb_plan::graph::change::{Change, Definition, Standing, compare};
use sb_plan::graph::{self, Parts, RunGraph};
use sb_plan::id::{DeploymentId, RunId, StepId};
use sb_plan::manifest::problem::Problem;
use sb_plan::manifest::read::{Disk, Recording};
use sb_plan::plan::{Deployment, expand};
use sb_plan::run_state::{RunState, StepPhase};
use sb_plan::validate::Plan;

/// What to do with a run whose files were edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edited {
    /// Show the difference, and leave it to the user.
    Refuse,
    /// Go on with the files as they are now.
    Accept,
    /// Go on with the files as they were.
    AsStarted,
}

/// The run as it goes on.
pub(super) async fn settle(begun: &Begun<'_>, request: Request, files: Edited) -> Result<Planned, Failed> {
    let run = begun.run;
    let state = begun.store.state(run).await?;
    let (plan, _) = request.rebuild(begun.terminal, begun.store, run)?;
    if state.changing && files != Edited::Accept {
        let message = format!("a change of the files of {run} was accepted, and is not complete");
        let help = format!("`sb resume {run} --accept-changes` completes it, with the files as they are now");
        return Err(Failed::helped(Exit::Failed, message, help));
    }
    let texts = edited_files(&request.sources);
    let edit = if texts.is_empty() && !state.changing {
        None
    } else if files == Edited::AsStarted {
        for path in texts.keys() {
            let path = path.display();
            begun.terminal.say(&format!("note: `{path}` has changed; the run goes on as it was started"));
        }
        None
    } else {
        read(begun, &request, &plan, &texts, state.changing)?
    };
    let Some((sources, edited)) = edit else {
        let graph = Standings::read(begun.store, &request, run).await?.graph(&plan, request.parts);
        return Ok(Planned { run: run.clone(), request, plan, graph, state });
    };
    if files == Edited::Accept {
        return accept(begun, request, plan, sources, edited).await;
    }
    for (path, now) in &texts {
        show_difference(begun.terminal, path, &request.sources[path], now.as_deref());
    }
    begun.terminal.say(&meaning(&Edit::read(begun, &request, &plan, &edited).await?));
    let message = format!("the files of {run} have changed since it was started");
    let help = "add --accept-changes to go on with the files as they are now, or --as-started to go on with them as they were";
    Err(Failed::helped(Exit::Failed, message, help))
}

/// Files whose text is another one now; None for those that cannot be read any more.
fn edited_files(sources: &Sources) -> BTreeMap<PathBuf, Option<String>> {
    let mut edited = BTreeMap::new();
    for (path, text) in sources {
        let now = std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        if now.as_ref() != Some(text) {
            edited.insert(path.clone(), now);
        }
    }
    edited
}

/// The plan as the files define it now; None when that is what they defined before.
fn read(
    begun: &Begun<'_>,
    request: &Request,
    plan: &Plan,
    texts: &BTreeMap<PathBuf, Option<String>>,
    changing: bool,
) -> Result<Option<(Sources, Plan)>, Failed> {
    let private = read_private(&begun.store.run_folder(begun.run))?;
    let files = Recording::new(Disk);
    let mut checked = request.plan(&files, &private);
    checked.problems.retain(Problem::is_error);
    show_problems(begun.terminal, &checked.problems);
    let Some(edited) = checked.value else {
        let message = format!("the files of {} have changed, and are not valid any more", begun.run);
        let help = "correct them, or add --as-started to go on with what the run was started with";
        return Err(Failed::helped(Exit::InvalidManifest, message, help));
    };
    if edited == *plan && !changing {
        for path in texts.keys() {
            let path = path.display();
            begun.terminal.say(&format!("note: `{path}` has changed, but not what the run is made of"));
        }
        return Ok(None);
    }
    Ok(Some((files.into_texts(), edited)))
}

/// What there is of the run's deployments.
struct Standings<'a> {
    run: &'a RunId,
    request: &'a Request,
    rows: HashMap<DeploymentId, Standing>,
}

impl<'a> Standings<'a> {
    async fn read(store: &Store, request: &'a Request, run: &'a RunId) -> Result<Self, Failed> {
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
    async fn read(begun: &Begun<'_>, request: &Request, old: &'a Plan, new: &Plan) -> Result<Self, Failed> {
        let state = begun.store.state(begun.run).await?;
        let standings = Standings::read(begun.store, request, begun.run).await?;
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
    begun: &Begun<'_>,
    request: Request,
    old: Plan,
    sources: Sources,
    new: Plan,
) -> Result<Planned, Failed> {
    let mut edit = Edit::read(begun, &request, &old, &new).await?;
    begun.terminal.say(&meaning(&edit));
    if !edit.change.is_ready() {
        retire(begun, &request, edit).await?;
        edit = Edit::read(begun, &request, &old, &new).await?;
        if !edit.change.is_ready() {
            let message = "what the changed files leave no place for could not be ended and cleaned up";
            let help = format!(
                "see `sb status {}`; `--accept-changes` tries it again, also after you have put a part of the files back",
                begun.run
            );
            return Err(Failed::helped(Exit::CleanupOwed, message, help));
        }
    }
    let request = Request {
        earlier: request.earlier.iter().chain([&request.sources]).cloned().collect(),
        sources,
        ..request
    };
    let version = u32::try_from(request.earlier.len() + 1).unwrap_or(u32::MAX);
    let changed = Event::PlanChanged { version, again: edit.change.again.clone() };
    let text = serde_json::to_string(&request).map_err(std::io::Error::from)?;
    let mut changes = vec![
        event(begun.run, now_ms(), changed),
        store::Change::Request { run: begun.run.clone(), request: text },
    ];
    let reopened: HashSet<&String> = edit.change.reopened.iter().collect();
    for deployment in &edit.new_graph.deployments {
        if reopened.contains(&deployment.key) {
            changes.push(store::Change::Forget(request.naming().name(begun.run, deployment)));
        }
    }
    begun.store.append(changes).await?;
    let state = begun.store.state(begun.run).await?;
    let graph = edit.new_graph;
    Ok(Planned { run: begun.run.clone(), request, plan: new, graph, state })
}

/// Stops and cleans up as it was defined before.
async fn retire(begun: &Begun<'_>, request: &Request, edit: Edit<'_>) -> Result<(), Failed> {
    let naming = request.naming();
    let Edit { old, old_graph, change, .. } = edit;
    let retired =
        change.retired.iter().map(|&index| naming.name(begun.run, &old_graph.deployments[index])).collect();
    let accepted = Event::ChangeAccepted { retired };
    begun.store.append(vec![event(begun.run, now_ms(), accepted)]).await?;
    let stopped: HashSet<_> = change.stopped.iter().collect();
    // A command for a part of the life cycle has no cleanup of its own, but here it may need one.
    let graph = graph::build(old, expand(old), request.parts.with_cleanup())
        .only(|step| change.retired.contains(&step.deployment) || stopped.contains(&step.id));
    begun.terminal.say("ending first what the changed files leave no place for");
    let executor = executor_of(begun.settings, begun.store, old, &graph).await?;
    let work = Work {
        plan: old.clone(),
        graph,
        parts: request.parts.with_cleanup(),
        policy: Policy { keep_on_failure: false, retire: Some(change.retired) },
        naming,
        state: begun.store.state(begun.run).await?,
    };
    match work.perform(begun, executor).await? {
        End::Ended { .. } => Ok(()),
        End::Left => Err(Failed::message(
            Exit::Interrupted,
            format!("left; `sb resume {} --accept-changes` goes on", begun.run),
        )),
    }
}

/// What a change of the files means for the run.
fn meaning(edit: &Edit<'_>) -> String {
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
    let total = edit.new_graph.graph.node_count();
    let _ = write!(text, "\n  {kept} of {total} steps have ended and keep their results");
    text
}

fn show_difference(terminal: &Terminal, path: &Path, before: &str, now: Option<&str>) {
    let name = path.display();
    let Some(now) = now else {
        terminal.say(&format!("{name}: cannot be read any more"));
        return;
    };
    let difference = TextDiff::from_lines(before, now);
    let text = difference
        .unified_diff()
        .context_radius(3)
        .header(&format!("{name} (of the run)"), &format!("{name} (now)"))
        .to_string();
    let painted: Vec<_> = text
        .lines()
        .map(|line| match line.as_bytes().first() {
            Some(b'+') => terminal.paint(Style::Good, line),
            Some(b'-') => terminal.paint(Style::Bad, line),
            _ => line.to_owned(),
        })
        .collect();
    terminal.say(&painted.join("\n"));
}
