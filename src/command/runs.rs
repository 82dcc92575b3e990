//! `sb runs`: every run of the workspace in a line.

use std::fmt::Write as _;

use serde_json::json;

use super::Outcome;
use super::output::Failed;
use super::status::open;
use crate::exit_code::Exit;
use crate::host::boot_id;
use crate::run::Request;
use crate::schedule::{now_ms, up_ms};
use crate::settings::Settings;
use crate::store::{RunRow, Store};
use crate::terminal::Terminal;
use crate::watch::overview::elapsed;
use sb_plan::event::Verdict;
use sb_plan::run_state::{RunState, StepPhase};

/// A run in a line.
struct RunLine {
    row: RunRow,
    title: Option<String>,
    state: RunState,
    /// The live process that works on it.
    runner: Option<u32>,
    /// What all of it waits for: a lock that another run holds.
    waits_for: Option<String>,
    ended_steps: usize,
    /// None where the plan can no longer be read.
    steps: Option<usize>,
}

impl RunLine {
    async fn read(store: &Store, row: RunRow) -> Result<Self, Failed> {
        let state = store.state(&row.id).await?;
        let ended_steps =
            state.steps.values().filter(|past| matches!(past.phase, StepPhase::Ended(_))).count();
        let request = Request::read(&row).ok();
        // When a run ends, all of its steps have ended: only one that has not needs its plan to be read anew.
        let steps = if state.ended.is_some() {
            Some(ended_steps)
        } else {
            let planned = request.as_ref().map(|request| request.rebuild(store, &row.id));
            planned.and_then(Result::ok).map(|(_, graph)| graph.graph.node_count())
        };
        let runner = store.runner_of(&row.id);
        let waits_for = store.waits_for(&row.id, &state);
        let title = request.map(|request| request.title());
        Ok(Self { row, title, state, runner, waits_for, ended_steps, steps })
    }

    fn word(&self) -> &'static str {
        match (&self.state.ended, self.runner) {
            (Some(_), _) => "ended",
            (None, Some(_)) if self.waits_for.is_some() => "waiting",
            (None, Some(_)) => "running",
            (None, None) => "left",
        }
    }

    /// Milliseconds from its start to its end, or until now; of a run that was left, to its last event.
    fn duration_ms(&self) -> i64 {
        // What the clock says, which may have been set meanwhile.
        let by_clock = |until: i64| (until - self.row.created_ms).max(0);
        let until_now = boot_id().ok().and_then(|boot| self.state.since_start(&boot, up_ms()));
        match self.word() {
            "running" | "waiting" => until_now.unwrap_or_else(|| by_clock(now_ms())),
            "ended" => self.state.lasted_ms.unwrap_or_else(|| by_clock(self.state.last_ms)),
            _ => by_clock(self.state.last_ms).min(until_now.unwrap_or(i64::MAX)),
        }
    }
}

pub(super) async fn runs(terminal: &Terminal, settings: &Settings, limit: usize) -> Outcome {
    let store = open(terminal, settings)?;
    let rows = store.runs().await?;
    let older = rows.len().saturating_sub(limit);
    let mut lines = Vec::new();
    for row in rows.into_iter().take(limit) {
        lines.push(RunLine::read(&store, row).await?);
    }
    if settings.json() {
        let runs: Vec<_> = lines
            .iter()
            .map(|line| {
                json!({
                    "id": line.row.id,
                    "title": line.title,
                    "created_ms": line.row.created_ms,
                    "duration_ms": line.duration_ms(),
                    "state": line.word(),
                    "measurement": line.state.ended.map(|(measurement, _)| measurement),
                    "cleanup": line.state.ended.map(|(_, cleanup)| cleanup),
                    "steps_ended": line.ended_steps,
                    "steps": line.steps,
                    "runner": line.runner,
                    "waits_for": line.waits_for,
                })
            })
            .collect();
        terminal.data(&format!("{:#}", json!({ "version": 1, "runs": runs, "older": older })))?;
    } else if lines.is_empty() && older == 0 {
        terminal.say(&format!("no runs yet in {}", store.folder().display()));
    } else {
        terminal.data(&table(&lines, older))?;
    }
    Ok(Exit::Done)
}

fn table(lines: &[RunLine], older: usize) -> String {
    let names = lines.iter().map(|line| line.row.id.as_str().len()).max().unwrap_or(0).max(3);
    let mut text = format!(
        "{:<names$}  {:<19}  {:>8}  {:>13}  {:<8}  {:<12}  {:<9}  PLAN\n",
        "RUN", "STARTED (UTC)", "TIME", "STEPS", "STATE", "MEASUREMENT", "CLEANUP"
    );
    for line in lines {
        let started = jiff::Timestamp::from_millisecond(line.row.created_ms)
            .map_or_else(|_| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string());
        let steps = line.steps.map_or_else(|| "?".to_owned(), |steps| steps.to_string());
        let (measurement, cleanup) = line
            .state
            .ended
            .map_or(("-", "-"), |(measurement, cleanup)| (short(measurement), short(cleanup)));
        let waits = line.waits_for.as_ref().map_or_else(String::new, |why| format!(", waiting {why}"));
        let runner = line.runner.map_or_else(String::new, |runner| format!("  (process {runner}{waits})"));
        let title = line.title.as_deref().unwrap_or("(stored by another version of sb)");
        let _ = writeln!(
            text,
            "{:<names$}  {started:<19}  {:>8}  {:>13}  {:<8}  {measurement:<12}  {cleanup:<9}  {title}{runner}",
            line.row.id,
            elapsed(line.duration_ms()),
            format!("{}/{steps}", line.ended_steps),
            line.word(),
        );
    }
    if older > 0 {
        let _ = writeln!(text, "… and {older} older ones (--limit N)");
    }
    if lines.iter().any(|line| line.word() == "left") {
        text.push_str("\nleft: its runner is gone; `sb resume RUN` goes on\n");
    }
    text
}

fn short(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Complete => "complete",
        Verdict::Invalid => "invalid",
        Verdict::Failed => "failed",
        Verdict::Cancelled => "cancelled",
        Verdict::Kept => "kept",
        Verdict::None => "-",
    }
}
