//! `sb logs`: what the steps of a run print, also while they run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Outcome;
use super::output::Failed;
use super::status::{Wanted, find_step, watched};
use super::watch::{Alone, left};
use crate::cli::LogsArguments;
use crate::exit_code::Exit;
use crate::printable::{Unfinished, counted};
use crate::settings::Settings;
use crate::terminal::{Terminal, is_gone};
use crate::watch::Watched;
use crate::watch::files::Growing;
use crate::watch::overview::describe;
use crate::workspace::quoted;
use sb_plan::benchmark::Action;
use sb_plan::event::{Event, Failure, Outcome as StepOutcome};
use sb_plan::graph::Step;
use sb_plan::id::StepId;
use sb_plan::run_state::{StepPhase, StepState};

/// How often logs and journal are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub(super) async fn logs(terminal: &Terminal, settings: &Settings, arguments: LogsArguments) -> Outcome {
    let LogsArguments { step, follow, run, attempt } = arguments;
    let wanted = match (run.as_deref(), &step) {
        (Some(run), _) => Wanted::Named(run),
        (None, Some(step)) => Wanted::With(step),
        (None, None) => Wanted::Newest,
    };
    let mut watched = watched(terminal, settings, wanted).await?;
    watched.refresh(|_, _| {}).await?;
    let outcome = match (step, follow) {
        (Some(step), false) => {
            print(terminal, &watched, find_step(&watched.graph, &watched.row.id, &step)?, attempt)
        }
        (Some(step), true) => {
            let step = find_step(&watched.graph, &watched.row.id, &step)?.clone();
            follow_step(terminal, &mut watched, &step, attempt).await
        }
        (None, false) => print_last(terminal, &watched),
        (None, true) => follow_all(terminal, &mut watched).await,
    };
    match outcome {
        // `sb logs -f | head` ends when head has enough.
        Err(Ended::ReaderGone) => Ok(Exit::Done),
        Err(Ended::Failed(failed)) => Err(failed),
        Ok(exit) => Ok(exit),
    }
}

/// Why there is nothing more to print.
enum Ended {
    ReaderGone,
    Failed(Failed),
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Self {
        if is_gone(&error) {
            return Self::ReaderGone;
        }
        Self::Failed(error.into())
    }
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

impl From<crate::store::StoreError> for Ended {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Failed(error.into())
    }
}

fn print(terminal: &Terminal, watched: &Watched, step: &Step, attempt: Option<u32>) -> Result<Exit, Ended> {
    let last = watched.past(step).map_or(0, |past| past.attempts);
    let attempt = attempt.unwrap_or(last);
    let log = watched.log_of(step, attempt);
    // What runs within sb prints nothing: why it failed is in the journal.
    if attempt == last
        && !log.exists()
        && let Some(failure) = failure(watched, step)
    {
        terminal.data(&failure.message)?;
        return Ok(Exit::Done);
    }
    // Neither does it when all is well.
    if attempt == last && last > 0 && !log.exists() && runs_inside(step) {
        explain(terminal, watched, step);
        return Ok(Exit::Done);
    }
    let mut file = std::fs::File::open(&log).map_err(|error| {
        let message = format!("{} has no log ({}: {error})", step.id, log.display());
        let help = match last {
            0 => "it has not started".to_owned(),
            last => format!("it has had {}", counted(last, "attempt")),
        };
        Failed::helped(Exit::Failed, message, help)
    })?;
    terminal.copy(&mut file)?;
    Ok(Exit::Done)
}

/// Whether `sb` itself does the step's work, and no command that could print anything.
fn runs_inside(step: &Step) -> bool {
    step.manifest().is_none_or(|of| {
        of.action.command().is_none() && !matches!(of.action, Action::Load | Action::Background(_))
    })
}

/// Functions whose logs are named.
const NAMED: usize = 10;

/// Says that a step prints nothing, and where the logs of a local target are, which it has started.
fn explain(terminal: &Terminal, watched: &Watched, step: &Step) {
    if !step.manifest().is_some_and(|of| matches!(of.action, Action::LocalUp(_))) {
        terminal.say(&format!("{} prints nothing: sb itself does its work", step.id));
        return;
    }
    let deployment = watched.deployment_of(step);
    let name = quoted(Path::new(deployment.as_str()));
    terminal.say(&format!(
        "{} prints nothing: it starts the local target `{deployment}`, which has the logs",
        step.id
    ));
    let folder = watched.store().workspace().local_target(deployment.as_str());
    if !folder.is_dir() {
        terminal.say("they were removed with its state");
        return;
    }
    let command = |words: &str| terminal.command(&format!("local logs {words}--name {name}"));
    terminal.say(&format!("  of the target itself:  {}", command("")));
    let files = std::fs::read_dir(sb_local::function_logs(&folder)).into_iter().flatten().flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let mut functions: Vec<String> =
        names.filter_map(|name| name.strip_suffix(".log").map(str::to_owned)).collect();
    functions.sort();
    for function in functions.iter().take(NAMED) {
        terminal.say(&format!("  of a function:         {}", command(&format!("{function} "))));
    }
    if functions.len() > NAMED {
        terminal.say(&format!("  and of {}", counted(functions.len() - NAMED, "more function")));
    }
    if functions.is_empty() {
        terminal.say("  of functions: none was called yet");
    }
}

/// Why a step failed, or failed the last time.
fn failure<'a>(watched: &'a Watched, step: &Step) -> Option<&'a Failure> {
    match &watched.past(step)?.phase {
        StepPhase::Ended(StepOutcome::Failed(failure))
        | StepPhase::Retrying(StepOutcome::Failed(failure)) => Some(failure),
        _ => None,
    }
}

/// What runs; else what failed last; else what ended last.
fn print_last(terminal: &Terminal, watched: &Watched) -> Result<Exit, Ended> {
    let mut chosen = watched.running();
    chosen.retain(|(step, past)| watched.log_of(step, past.attempts).exists());
    if chosen.is_empty() {
        let last = |wanted: &dyn Fn(&StepState) -> bool| {
            watched
                .state
                .steps
                .iter()
                .filter(|(_, past)| past.attempts > 0 && wanted(past))
                .filter_map(|(id, past)| Some((watched.step(id)?, past)))
                .filter(|(step, past)| {
                    watched.log_of(step, past.attempts).exists() || failure(watched, step).is_some()
                })
                .max_by_key(|(_, past)| past.ended_ms)
        };
        let failed = |past: &StepState| {
            matches!(
                past.phase,
                StepPhase::Ended(StepOutcome::Failed(_)) | StepPhase::Retrying(StepOutcome::Failed(_))
            )
        };
        chosen.extend(last(&failed).or_else(|| last(&|_| true)));
    }
    if chosen.is_empty() {
        terminal.say(&format!("no step of {} has printed anything yet", watched.row.id));
    }
    for (step, past) in chosen {
        terminal.say(&format!("==> {} ({}) <==", step.id, describe(Some(&past.phase))));
        print(terminal, watched, step, None)?;
    }
    Ok(Exit::Done)
}

/// A log that is printed as it grows.
struct Followed {
    growing: Growing,
    unfinished: Unfinished,
}

impl Followed {
    fn new(path: PathBuf) -> Self {
        Self { growing: Growing::new(path), unfinished: Unfinished::default() }
    }
}

/// Writes all that a log holds by now.
fn drain(terminal: &Terminal, log: &mut Followed, whole: bool) -> Result<bool, Ended> {
    let mut any = false;
    loop {
        let bytes = log.growing.next(whole)?;
        if bytes.is_empty() {
            return Ok(any);
        }
        any = true;
        terminal.foreign(&mut log.unfinished, &bytes)?;
    }
}

async fn follow_step(
    terminal: &Terminal,
    watched: &mut Watched,
    step: &Step,
    only: Option<u32>,
) -> Result<Exit, Ended> {
    let mut attempt = only.unwrap_or_else(|| watched.past(step).map_or(1, |past| past.attempts.max(1)));
    let mut log = Followed::new(watched.log_of(step, attempt));
    let mut alone = Alone::default();
    loop {
        let runner = watched.runner();
        watched.refresh(|_, _| {}).await?;
        let (attempts, phase) =
            watched.past(step).map_or((0, StepPhase::Waiting), |past| (past.attempts, past.phase.clone()));
        let runs_on = attempts == attempt && watched.runs_on(step);
        let over = attempts > attempt || (attempts == attempt && phase != StepPhase::Running && !runs_on);
        let mut news = drain(terminal, &mut log, false)?;
        if over {
            if attempts == attempt
                && let StepPhase::Ended(_) = phase
            {
                terminal.say(&format!("==> {} {} <==", step.id, describe(Some(&phase))));
                return Ok(Exit::Done);
            }
            if only.is_some() {
                return Ok(Exit::Done);
            }
            if attempts > attempt {
                attempt += 1;
                log = Followed::new(watched.log_of(step, attempt));
                terminal.say(&format!("==> {}, attempt {attempt} <==", step.id));
                news = true;
            }
        } else if matches!(phase, StepPhase::Ended(_)) && !runs_on {
            // It never came to this attempt.
            terminal.say(&format!("==> {} {} <==", step.id, describe(Some(&phase))));
            return Ok(Exit::Done);
        } else if watched.state.ended.is_some() && !runs_on {
            return Ok(Exit::Done);
        }
        if !news && !runs_on && alone.for_long(runner) {
            return Ok(left(terminal, watched));
        }
        if terminal.is_abandoned() {
            return Err(Ended::ReaderGone);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn follow_all(terminal: &Terminal, watched: &mut Watched) -> Result<Exit, Ended> {
    let mut open: BTreeMap<(StepId, u32), Followed> = BTreeMap::new();
    for (step, past) in watched.running() {
        let log = watched.log_of(step, past.attempts);
        open.insert((step.id.clone(), past.attempts), Followed::new(log));
    }
    terminal.say(&format!("following {}: what its steps print, until it ends", watched.row.id));
    let mut headed: Option<(StepId, u32)> = None;
    let mut alone = Alone::default();
    loop {
        let runner = watched.runner();
        let mut started = Vec::new();
        watched
            .refresh(|record, _| {
                if let Event::StepStarted { step, attempt, .. } = &record.event {
                    started.push((step.clone(), *attempt));
                }
            })
            .await?;
        for (step, attempt) in started {
            if let Some(known) = watched.step(&step) {
                let log = watched.log_of(known, attempt);
                open.entry((step, attempt)).or_insert_with(|| Followed::new(log));
            }
        }
        let mut news = false;
        let mut over = Vec::new();
        for (key, log) in &mut open {
            let running = watched
                .state
                .step(&key.0)
                .is_some_and(|past| past.attempts == key.1 && past.phase == StepPhase::Running);
            loop {
                let bytes = log.growing.next(running)?;
                if bytes.is_empty() {
                    break;
                }
                news = true;
                if headed.as_ref() != Some(key) {
                    terminal.raw(heading(headed.as_ref(), key).as_bytes())?;
                    headed = Some(key.clone());
                }
                terminal.foreign(&mut log.unfinished, &bytes)?;
                if !running && !bytes.ends_with(b"\n") {
                    terminal.raw(b"\n")?;
                }
            }
            if !running {
                over.push(key.clone());
            }
        }
        for key in over {
            open.remove(&key);
        }
        if let Some((measurement, cleanup)) = watched.state.ended {
            terminal.say(&format!("==> {} has ended: {measurement}; cleanup {cleanup} <==", watched.row.id));
            return Ok(Exit::Done);
        }
        if !news && alone.for_long(runner) {
            return Ok(left(terminal, watched));
        }
        if terminal.is_abandoned() {
            return Err(Ended::ReaderGone);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Several logs share standard output: like `tail`, each piece says whose it is.
fn heading(before: Option<&(StepId, u32)>, (step, attempt): &(StepId, u32)) -> String {
    let space = if before.is_some() { "\n" } else { "" };
    let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
    format!("{space}==> {step}{again} <==\n")
}
