//! `sb status --watch`: a run that another process works on, until it ends.

use std::time::{Duration, Instant};

use serde_json::json;
use unicode_width::UnicodeWidthChar;

use super::Outcome;
use crate::exit_code::Exit;
use crate::printable::{self, printable};
use crate::run::Request;
use crate::schedule::forecast::about;
use crate::schedule::now_ms;
use crate::settings::Settings;
use crate::terminal::{Style, Terminal, is_gone};
use crate::watch::Watched;
use crate::watch::overview::{Column, Counts, Overview, elapsed, load_line};
use sb_plan::event::{Event, Outcome as StepOutcome, Record};
use sb_plan::run_state::{RunState, StepPhase, StepState};

/// How often the run is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Without a terminal, how often a load tells how far it is.
const QUIET_LOAD: Duration = Duration::from_secs(10);
/// A run without a runner is given up after this long: one that takes it up may be about to start.
pub(super) const GONE: Duration = Duration::from_secs(5);
/// Running and failed steps in a summary that is printed once.
const SHOWN: usize = 20;
/// Columns where no screen limits them.
const WIDE: usize = 240;

pub(super) async fn watch(terminal: &Terminal, settings: &Settings, mut watched: Watched) -> Outcome {
    let lively = terminal.coloured && !settings.json();
    let mut screen = terminal.screen();
    let mut tick = tokio::time::interval(LOOK_AGAIN);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut alone = Alone::default();
    let mut first = true;
    let mut load_told = Instant::now();
    loop {
        tick.tick().await;
        // Before the journal is read: who leaves has written all that it will write.
        let runner = watched.runner();
        let mut news = Vec::new();
        watched
            .refresh(|record, state| {
                // What had happened before is in the first summary.
                if !first && !lively {
                    news.push(change(record, state, settings.json()));
                }
            })
            .await?;
        if lively {
            let (rows, columns) = screen.size();
            match screen.draw(&frame(terminal, &watched, rows - 1, columns)) {
                Err(error) if is_gone(&error) => return Ok(Exit::Done),
                drawn => drawn?,
            }
        } else {
            if first && !settings.json() {
                let columns = if terminal.coloured { terminal.width() } else { WIDE };
                terminal.data(&summary(&watched, columns).join("\n"))?;
            } else if first {
                let now = json!({
                    "version": 1, "run": watched.row.id, "at_ms": now_ms(),
                    "summary": Overview::of(&watched), "remaining_ms": remaining_ms(&watched),
                });
                news.push(now.to_string());
            }
            if load_told.elapsed() >= QUIET_LOAD {
                load_told = Instant::now();
                news.extend(loads(&watched, settings.json()));
            }
            for line in news.iter().filter(|line| !line.is_empty()) {
                terminal.data(line)?;
            }
        }
        first = false;
        if terminal.is_abandoned() {
            return Ok(Exit::Done);
        }
        if let Some((measurement, cleanup)) = watched.state.ended {
            return Ok(Exit::of_run(measurement, cleanup));
        }
        if alone.for_long(runner) {
            return Ok(left(terminal, &watched));
        }
    }
}

/// For how long no process has worked on the run.
#[derive(Default)]
pub(super) struct Alone(Option<Instant>);

impl Alone {
    pub(super) fn for_long(&mut self, runner: Option<u32>) -> bool {
        if runner.is_some() {
            self.0 = None;
            return false;
        }
        self.0.get_or_insert_with(Instant::now).elapsed() >= GONE
    }
}

/// Says that nobody works on the run any more.
pub(super) fn left(terminal: &Terminal, watched: &Watched) -> Exit {
    let run = &watched.row.id;
    terminal
        .say(&format!("the runner of {run} is gone, and the run has not ended: `sb resume {run}` goes on"));
    Exit::Interrupted
}

/// A run in a word or two.
pub(super) fn state_word(watched: &Watched) -> String {
    match (&watched.state.ended, &watched.state.stopped, watched.runner()) {
        (Some((measurement, cleanup)), ..) => match cleanup {
            sb_plan::event::Verdict::None => measurement.to_string(),
            cleanup => format!("{measurement}; cleanup {cleanup}"),
        },
        (None, Some((_, why)), Some(_)) => format!("stopping: {why}"),
        (None, None, Some(runner)) => match watched.waits_for() {
            Some(why) => format!("waiting {why} (process {runner})"),
            None => format!("running (process {runner})"),
        },
        (None, _, None) => "not ended: `sb resume` goes on".to_owned(),
    }
}

/// `, about 17 min left`; nothing where that is not known.
pub(super) fn rest(watched: &Watched) -> String {
    watched.remaining(now_ms()).map_or_else(String::new, |rest| format!(", {} left", about(rest)))
}

pub(super) fn remaining_ms(watched: &Watched) -> Option<i64> {
    watched.remaining(now_ms()).map(millis)
}

/// The summary of a run that is printed once.
pub(super) fn summary(watched: &Watched, width: usize) -> Vec<String> {
    body(watched, SHOWN, SHOWN, width).into_iter().map(|(_, line)| line).collect()
}

/// What fits on a screen.
fn frame(terminal: &Terminal, watched: &Watched, rows: usize, columns: usize) -> Vec<String> {
    let applications = watched.plan.entries.len();
    let fixed = applications.min(MOST_APPLICATIONS) + 9;
    let room = rows.saturating_sub(fixed);
    let failed = (room / 3).min(5);
    let mut lines = body(watched, room.saturating_sub(failed), failed, columns);
    lines.truncate(rows);
    lines
        .into_iter()
        .map(|(style, line)| match style {
            Some(style) => terminal.paint_data(style, &line),
            None => line,
        })
        .collect()
}

/// Applications that have a line of their own.
const MOST_APPLICATIONS: usize = 30;

fn body(watched: &Watched, running: usize, failed: usize, columns: usize) -> Vec<(Option<Style>, String)> {
    let overview = Overview::of(watched);
    let now = now_ms();
    let state = &watched.state;
    let goes_on = state.ended.is_none() && watched.runner().is_some();
    let until = if goes_on { now } else { state.last_ms };
    let title = Request::read(&watched.row).map_or_else(|_| String::new(), |request| request.title());
    let mut lines = Vec::new();
    let mut line = |style, text: String| lines.push((style, fitted(&text, columns)));
    let style = match state.ended {
        Some((measurement, cleanup)) if Exit::of_run(measurement, cleanup) == Exit::Done => Style::Good,
        Some(_) => Style::Bad,
        None => Style::Strong,
    };
    line(Some(style), format!("{}  {}", watched.row.id, state_word(watched)));
    line(None, format!("{title}  {}{}", elapsed(until - watched.row.created_ms), rest(watched)));
    line(None, counted(&overview.steps));
    line(None, String::new());
    let names = overview.applications.iter().map(|application| application.name.chars().count());
    let names = names.max().unwrap_or(0).clamp(11, columns.saturating_sub(4 * 17).max(11));
    let room = (columns.saturating_sub(names) / 4).saturating_sub(2).clamp(7, 15);
    let head: String = Column::ALL.iter().map(|column| format!("  {:<room$}", column.name())).collect();
    line(Some(Style::Faint), format!("{:<names$}{head}", "application"));
    for application in overview.applications.iter().take(MOST_APPLICATIONS) {
        let cells: String = application
            .phases
            .iter()
            .map(|counts| format!("  {:<room$}", fitted(&cell(counts), room)))
            .collect();
        let bad = application.phases.iter().any(|counts| counts.failed > 0);
        let name = fitted(&application.name, names);
        line(bad.then_some(Style::Bad), format!("{name:<names$}{cells}"));
    }
    if overview.applications.len() > MOST_APPLICATIONS {
        line(None, format!("… and {} more", overview.applications.len() - MOST_APPLICATIONS));
    }
    let runs = watched.running();
    if !runs.is_empty() {
        line(None, String::new());
        line(Some(Style::Faint), "running".to_owned());
        for (step, past) in runs.iter().take(running) {
            let took = elapsed(now - past.started_ms.unwrap_or(now));
            let words = step.pause().map_or_else(
                || watched.last_words(step, past.attempts).unwrap_or_default(),
                |pause| format!("of {}", humantime::format_duration(pause)),
            );
            let again =
                if past.attempts > 1 { format!(", attempt {}", past.attempts) } else { String::new() };
            let rest = watched.rest_of(step, past, now);
            let rest = rest.map_or_else(String::new, |rest| format!("  {} left", elapsed(millis(rest))));
            line(None, format!("  {} ({}{again})  {took}{rest}  {words}", step.id, step.action_name()));
        }
        if runs.len() > running {
            line(None, format!("  … and {} more", runs.len() - running));
        }
    }
    let broken = broken(watched);
    if !broken.is_empty() && failed > 0 {
        line(None, String::new());
        line(Some(Style::Faint), "failed, the last first".to_owned());
        for (step, message) in broken.iter().take(failed) {
            line(Some(Style::Bad), format!("  {step}: {message}"));
        }
        if broken.len() > failed {
            line(None, format!("  … and {} more", broken.len() - failed));
        }
    }
    lines
}

/// Steps that failed or are to be tried again, the last first.
fn broken(watched: &Watched) -> Vec<(&sb_plan::id::StepId, String)> {
    let mut broken: Vec<_> = watched
        .state
        .steps
        .iter()
        .filter_map(|(id, past)| match &past.phase {
            StepPhase::Ended(StepOutcome::Failed(failure)) => {
                Some((past.ended_ms, id, printable(&failure.message).into_owned()))
            }
            StepPhase::Retrying(outcome) => {
                Some((past.ended_ms, id, format!("to be tried again; {}", printable(&outcome.to_string()))))
            }
            _ => None,
        })
        .collect();
    broken.sort_by(|left, right| right.0.cmp(&left.0).then_with(|| left.1.cmp(right.1)));
    broken.into_iter().map(|(_, id, message)| (id, message)).collect()
}

fn counted(counts: &Counts) -> String {
    let mut text = format!("{} of {} ended", counts.ended, printable::counted(counts.total, "step"));
    for (count, word) in [
        (counts.running, "running"),
        (counts.retrying, "to be tried again"),
        (counts.failed, "failed"),
        (counts.skipped, "skipped"),
        (counts.stopped, "stopped"),
        (counts.invalid, "of invalid trials"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    text
}

/// `3/12 2 run 1 bad`
fn cell(counts: &Counts) -> String {
    if counts.total == 0 {
        return "-".to_owned();
    }
    let mut text = format!("{}/{}", counts.ended, counts.total);
    let bad = counts.failed + counts.stopped;
    if bad > 0 {
        text.push_str(&format!(" ✗{bad}"));
    }
    let running = counts.running + counts.retrying;
    if running > 0 {
        text.push_str(&format!(" ●{running}"));
    }
    text
}

/// An event as a line; nothing for those that say nothing to people.
fn change(record: &Record, state: &RunState, as_json: bool) -> String {
    if as_json {
        return json!({ "version": 1, "at_ms": record.at_ms, "event": record.event }).to_string();
    }
    match &record.event {
        Event::RunnerStarted { pid, .. } => format!("{:<10} process {pid}", "runner"),
        Event::StepStarted { step, attempt, .. } => {
            let again = if *attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
            format!("{:<10} {step}{again}", "started")
        }
        Event::StepEnded { step, outcome, retry, attempt, .. } => {
            let took = state.step(step).and_then(StepState::duration_ms);
            let took = took.map_or_else(String::new, |took| format!(" ({:.1} s)", took as f64 / 1e3));
            match outcome {
                _ if *retry => format!("{:<10} {step}: attempt {attempt} {outcome}", "retrying"),
                StepOutcome::Succeeded => format!("{:<10} {step}{took}", "done"),
                StepOutcome::Failed(failure) => {
                    format!("{:<10} {step}{took}: {}", "failed", failure.message)
                }
                StepOutcome::Enough { why } => format!("{:<10} {step}{took}: {why}", "enough"),
                StepOutcome::Skipped { .. } => {
                    let because = outcome.to_string();
                    let because = because.strip_prefix("skipped").unwrap_or_default();
                    format!("{:<10} {step}{because}", "skipped")
                }
                StepOutcome::Cancelled | StepOutcome::Interrupted => {
                    format!("{:<10} {step}", outcome.to_string())
                }
            }
        }
        Event::StopRequested { why, .. } => format!("{:<10} {why}", "stopping"),
        Event::RunEnded { measurement, cleanup, .. } => {
            format!("{:<10} measurement {measurement}; cleanup {cleanup}", "ended")
        }
        Event::DeploymentKept { deployment, because } => {
            format!("{:<10} {deployment}, because {because} failed", "kept")
        }
        Event::ChangeAccepted { .. } => format!("{:<10} the files of the run were edited", "changing"),
        Event::PlanChanged { again, .. } => {
            let run = if again.len() == 1 { "runs" } else { "run" };
            let steps = printable::counted(again.len(), "step");
            format!("{:<10} files as they are now; {steps} {run} again", "changed")
        }
        Event::DebtRecorded { .. } | Event::DebtPaid { .. } => String::new(),
    }
}

/// How far the loads are that run.
fn loads(watched: &Watched, as_json: bool) -> Vec<String> {
    watched
        .running()
        .into_iter()
        .filter_map(|(step, past)| {
            let load = watched.load_of(step, past.attempts)?;
            Some(if as_json {
                json!({ "version": 1, "at_ms": now_ms(), "step": step.id, "load": load }).to_string()
            } else {
                format!("{:<10} {}: {}", "", step.id, load_line(&load))
            })
        })
        .collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// At most so many columns.
fn fitted(text: &str, columns: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for character in text.chars() {
        let width = character.width().unwrap_or(0);
        if used + width > columns {
            // The last one gives its place to the mark that something is missing.
            while used + 1 > columns {
                used -= out.pop().and_then(UnicodeWidthChar::width).unwrap_or(1).min(used);
                if used == 0 {
                    break;
                }
            }
            out.push('…');
            return out;
        }
        out.push(character);
        used += width;
    }
    out
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use sb_plan::event::{Failure, FailureClass};
    use sb_plan::id::StepId;

    #[test]
    fn a_line_never_takes_more_columns_than_there_are() {
        for text in ["", "short", "exactly ten", "日本語の名前です", "a日b本c語d"] {
            for columns in 1..14 {
                let line = fitted(text, columns);
                assert!(line.width() <= columns, "{line:?} in {columns}");
                assert_eq!(line == text, text.width() <= columns, "{line:?} in {columns}");
            }
        }
    }

    #[track_caller]
    fn check(events: Vec<Event>, expected: &str) {
        let mut state = RunState::default();
        let mut last = String::new();
        for (second, event) in (0..).zip(events) {
            let record = Record { at_ms: second * 1500, event };
            state.apply(&record);
            last = change(&record, &state, false);
        }
        assert_eq!(last, expected);
    }

    #[test]
    fn every_change_is_a_line() {
        let step = || StepId::new("a/deploy/stack");
        let started = |attempt| Event::StepStarted { step: step(), attempt, logs: None, up_ms: None };
        let ended = |outcome, retry| Event::StepEnded {
            step: step(),
            attempt: 1,
            outcome,
            outputs: std::collections::BTreeMap::new(),
            invalid: vec![],
            took_ms: None,
            retry,
        };
        let failure =
            || StepOutcome::Failed(Failure { class: FailureClass::Step, message: "exit code 3".to_owned() });
        check(vec![started(1)], "started    a/deploy/stack");
        check(vec![started(2)], "started    a/deploy/stack (attempt 2)");
        check(vec![started(1), ended(StepOutcome::Succeeded, false)], "done       a/deploy/stack (1.5 s)");
        check(vec![started(1), ended(failure(), false)], "failed     a/deploy/stack (1.5 s): exit code 3");
        check(
            vec![started(1), ended(failure(), true)],
            "retrying   a/deploy/stack: attempt 1 failed: exit code 3",
        );
        check(
            vec![ended(StepOutcome::Skipped { because: StepId::new("x") }, false)],
            "skipped    a/deploy/stack, because x did not succeed",
        );
        check(vec![ended(StepOutcome::Cancelled, false)], "cancelled  a/deploy/stack");
    }
}
