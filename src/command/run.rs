//! `sb run`, `sb resume`, `sb cleanup RUN`, and what they show.

use std::collections::HashMap;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use super::Outcome;
use super::history::history;
use super::output::{Failed, show_problems};
use super::status::tell;
use super::{estimate, init, preflight, report, tmux};
use crate::cli::Confirm;
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::progress::{self, Forecast};
use crate::role;
use crate::run::{
    CleanedUp, Control, Draft, Driven, Edited, End, Given, Ready, Request, Resumed, RunError, RunEvent, Runs,
    Setup, Tables,
};
use crate::schedule::forecast::{self, Past};
use crate::settings::Settings;
use crate::store::{Store, StoreError};
use crate::terminal::Terminal;
use crate::workspace::Workspace;
use sb_plan::benchmark::Sent;
use sb_plan::event::{Notice, Verdict};
use sb_plan::id::{RunId, StepId};
use sb_plan::plan::{Executor, Plan, Prices};
use sb_plan::run_state::StepPhase;

pub(super) async fn run_plan(
    terminal: &Terminal,
    settings: &Settings,
    request: Request,
    anew: bool,
    confirm: &Confirm,
) -> Outcome {
    start(terminal, settings, request, anew, Some(confirm)).await
}

/// Checks, records and drives a new run.
pub(super) async fn start(
    terminal: &Terminal,
    settings: &Settings,
    request: Request,
    anew: bool,
    confirm: Option<&Confirm>,
) -> Outcome {
    let given = Given { params: settings.params.clone(), environment: settings.environment.clone() };
    let workspace = settings.workspace(request.file());
    terminal.complete_commands(|| settings.missing_in_commands(&workspace));
    let draft = Draft::check(request, given)?.anew(anew);
    show_problems(terminal, draft.warnings());
    let runs = open(terminal, settings, &workspace)?;
    let prepared = runs.prepare(draft).await?;
    for run in prepared.unfinished() {
        let way_out = format!("`sb resume {run}` goes on with it; this is another one");
        terminal.say(&format!("note: run {run} of this plan has not ended: {way_out}"));
    }
    let (plan, graph) = (prepared.plan(), prepared.graph());
    let prices = if confirm.is_some() { estimate::prices(settings)? } else { Prices::built_in() };
    let predicted = estimate::predict(terminal, plan, graph, runs.store(), &prices).await?;
    if let Some(limits) = confirm {
        estimate::confirm(terminal, plan, &predicted, limits)?;
    }
    let ready = prepared.reach().await?;
    if ready.parts().invoke {
        expect_room(ready.plan())?;
    }
    preflight::warn(terminal, ready.plan(), ready.parts()).await;
    drive(terminal, settings, &runs, ready).await
}

/// A load that needs more connections than this machine may open is refused before anything is deployed for it.
fn expect_room(plan: &Plan) -> Result<(), Failed> {
    for entry in &plan.entries {
        let needed = entry.points.iter().filter_map(|point| match &entry.benchmark.workload {
            Some(Sent::Requests(workload)) => sb_load::needed(workload, &point.load),
            Some(Sent::Script(script)) if script.generators.is_empty() && plan.executor == Executor::Host => {
                sb_load::connections(&point.load)
            }
            Some(Sent::Script(_)) | None => None,
        });
        let needed = needed.max().unwrap_or_default().min(sb_load::DEFAULT_MAX_IN_FLIGHT);
        sb_load::check_room(needed)
            .map_err(|error| Failed::message(Exit::Failed, format!("`{}`: {error}", entry.application)))?;
    }
    Ok(())
}

/// Goes on with a run. `files` says what to do if those of the run have been edited since.
pub(super) async fn resume(
    terminal: &Terminal,
    settings: &Settings,
    run: Option<&str>,
    files: Edited,
) -> Outcome {
    const NOTHING: &str = "every run has ended: nothing to resume (`sb leaks` lists cleanups that failed)";
    let workspace = settings.known_workspace()?;
    if !is_there(&workspace)? {
        return match run {
            None => {
                let folder = workspace.folder().with_file_name("");
                terminal.say(&format!("nothing was run yet in {}: nothing to resume", folder.display()));
                Ok(Exit::Done)
            }
            Some(name) => Err(RunError::NoRun { name: name.to_owned() }.into()),
        };
    }
    let runs = open(terminal, settings, &workspace)?;
    let (shown, events, control) = Shown::begin(terminal, settings, &runs);
    let resumed = runs.resume(run, files, &events, &control).await;
    drop(events);
    shown.end().await;
    match resumed? {
        Resumed::Nothing => {
            terminal.say(NOTHING);
            Ok(Exit::Done)
        }
        Resumed::Ended { run, measurement, cleanup } => {
            terminal.say(&format!("{run} has ended ({measurement}; cleanup {cleanup}): nothing to resume"));
            Ok(Exit::of_run(measurement, cleanup))
        }
        Resumed::Kept(run) => {
            terminal.say(&format!(
                "{run} has ended; what failed was kept on purpose: `sb cleanup {run}` removes it"
            ));
            Ok(Exit::CleanupOwed)
        }
        Resumed::Ready(ready) => drive(terminal, settings, &runs, *ready).await,
    }
}

/// Whether there is a state at all. One that may not be looked at is not none: its runs are unknown.
fn is_there(workspace: &Workspace) -> Result<bool, StoreError> {
    let path = workspace.folder();
    path.try_exists().map_err(|error| StoreError::Read { path: path.to_owned(), message: error.to_string() })
}

/// Cleans up whatever a run that has ended still owes.
pub(super) async fn clean_up(terminal: &Terminal, settings: &Settings, run: &str) -> Outcome {
    let workspace = settings.known_workspace()?;
    if !is_there(&workspace)? {
        return Err(RunError::NoRun { name: run.to_owned() }.into());
    }
    let runs = open(terminal, settings, &workspace)?;
    let (shown, events, control) = Shown::begin(terminal, settings, &runs);
    let cleaned = runs.clean_up(run, &events, &control).await;
    drop(events);
    shown.end().await;
    Ok(match cleaned? {
        CleanedUp::NothingOwed(run) => {
            terminal.say(&format!("{run} owes no cleanup"));
            Exit::Done
        }
        CleanedUp::Ended { run, cleanup } => {
            terminal.say(&format!("run {run}: cleanup {cleanup}"));
            Exit::of_run(Verdict::None, cleanup)
        }
        CleanedUp::Left(_) => Exit::Interrupted,
    })
}

fn open(terminal: &Terminal, settings: &Settings, workspace: &Workspace) -> Result<Runs, Failed> {
    terminal.complete_commands(|| settings.missing_in_commands(workspace));
    let settings = settings.clone();
    let tables =
        move || Ok(Tables { images: init::images(&settings)?, prices: estimate::prices(&settings)? });
    let setup = Setup { program: role::program(), tables: Box::new(tables) };
    let runs = Runs::open(workspace, setup)?;
    tell(terminal, runs.store().notes());
    Ok(runs)
}

async fn drive(terminal: &Terminal, settings: &Settings, runs: &Runs, ready: Ready<'_>) -> Outcome {
    let (shown, events, control) = Shown::begin(terminal, settings, runs);
    let driven = ready.drive(&events, &control).await;
    drop(events);
    shown.end().await;
    let Driven { run, end, folders } = driven?;
    match end {
        End::Ended { measurement, cleanup } => {
            report::finish(terminal, settings, runs.store(), &run, &folders, measurement, cleanup).await
        }
        End::Left => {
            terminal.say(&format!(
                "left {run}; steps that were running go on by themselves; `sb resume` cleans up after them"
            ));
            Ok(Exit::Interrupted)
        }
    }
}

/// What happens to a run, shown on the terminal.
struct Shown {
    task: JoinHandle<()>,
}

impl Shown {
    fn begin(
        terminal: &Terminal,
        settings: &Settings,
        runs: &Runs,
    ) -> (Self, UnboundedSender<RunEvent>, Control) {
        let (events, seen) = mpsc::unbounded_channel();
        let control = Control::new();
        let task =
            aside(show(terminal.clone(), settings.clone(), runs.store().clone(), control.clone(), seen));
        (Self { task }, events, control)
    }

    /// Returns when everything has been shown that was told.
    async fn end(self) {
        let _ = self.task.await;
    }
}

/// Does this on a thread of its own: a terminal or a pipe that takes nothing more (Ctrl-S, a pager) blocks who writes to
/// it, and must not hold up the run.
fn aside(shown: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(shown))
}

/// The progress of one graph of steps, and the signals that stop it.
struct LiveProgress {
    notices: UnboundedSender<Notice>,
    progress: JoinHandle<()>,
    signals: JoinHandle<()>,
}

impl LiveProgress {
    async fn end(self) {
        self.signals.abort();
        drop(self.notices);
        let _ = self.progress.await;
    }
}

async fn show(
    terminal: Terminal,
    settings: Settings,
    store: Store,
    control: Control,
    mut events: UnboundedReceiver<RunEvent>,
) {
    let mut live: Option<LiveProgress> = None;
    while let Some(event) = events.recv().await {
        if !matches!(event, RunEvent::Step(_))
            && let Some(ended) = live.take()
        {
            ended.end().await;
        }
        match event {
            RunEvent::GoesOnAsStarted(path) => terminal.say(&format!(
                "note: `{}` has changed; the run continues with what it was started with",
                path.display()
            )),
            RunEvent::ChangedWithoutEffect(path) => terminal.say(&format!(
                "note: `{}` has changed, in a way that does not matter to the run",
                path.display()
            )),
            RunEvent::Accepted(consequences) => terminal.say(&consequences.to_string()),
            RunEvent::Retiring => {
                terminal.say("first stopping and cleaning up what the changed files no longer have");
            }
            RunEvent::Resuming { run, title } => terminal.say(&format!("resuming {run} ({title})")),
            RunEvent::Begun { run, steps, folder } => {
                terminal.say(&format!(
                    "run {run}: {}; state in {}",
                    counted(steps, "step"),
                    folder.display()
                ));
                if settings.inside_tmux.is_some() {
                    tmux::show_log(&folder, &run);
                }
                let (notices, watched) = mpsc::unbounded_channel();
                // Without it, the run goes on all the same.
                let forecast = forecast(&store, &run).await.ok();
                let shown =
                    progress::show(terminal.clone(), steps as u64, settings.verbose, forecast, watched);
                live = Some(LiveProgress {
                    notices,
                    progress: aside(shown),
                    signals: tokio::spawn(watch_signals(control.clone())),
                });
            }
            RunEvent::Step(notice) => {
                if let Some(live) = &live {
                    let _ = live.notices.send(notice);
                }
            }
            RunEvent::ContainersLeft(error) => {
                terminal.say(&format!("note: containers may be left (`sb leaks` lists them): {error}"));
            }
        }
    }
    if let Some(ended) = live {
        ended.end().await;
    }
}

/// What the run still takes, from what it has done before and what is told of it.
async fn forecast(store: &Store, run: &RunId) -> Result<Forecast, Failed> {
    let Some(row) = store.run(run).await? else { return Err(Failed::said(Exit::Failed)) };
    let (plan, graph) = Request::read(&row)?.rebuild(store, run)?;
    let state = store.state(run).await?;
    let history = history(store, &plan).await?;
    let mut ended: HashMap<StepId, Option<u64>> = HashMap::new();
    for (id, past) in &state.steps {
        if let StepPhase::Ended(_) = past.phase {
            ended.insert(id.clone(), None);
        }
    }
    let lengths = graph
        .graph
        .node_weights()
        .filter_map(|step| Some((step.id.clone(), forecast::planned_length(&plan, &graph, step)?)));
    Ok(Forecast {
        lengths: lengths.collect(),
        remaining: Box::new(move |seen| {
            for (step, took) in seen.ended {
                ended.insert(
                    step.clone(),
                    took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
                );
            }
            forecast::remaining(&plan, &graph, &history, &|step| match (
                ended.get(step),
                seen.running.get(step),
            ) {
                (_, Some(since)) => {
                    Past::Running { since: u64::try_from(since.as_millis()).unwrap_or(u64::MAX) }
                }
                (Some(took), None) => Past::Ended { took: *took },
                (None, None) => Past::Waiting,
            })
        }),
    })
}

/// INT and TERM stop the run, a second time leaves it; HUP (the terminal is gone) changes nothing.
async fn watch_signals(control: Control) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return;
    };
    loop {
        tokio::select! {
            Some(()) = interrupt.recv() => {}
            Some(()) = terminate.recv() => {}
            Some(()) = hang_up.recv() => continue,
        }
        control.stop();
    }
}
