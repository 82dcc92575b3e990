//! A run in a few lines: how far each application is in each phase, what runs, what failed.

use serde::Serialize;

use super::Watched;
use sb_load::Progress;
use sb_plan::benchmark::Phase;
use sb_plan::event::Outcome;
use sb_plan::graph::{Step, StepKind};
use sb_plan::run_state::{StepPhase, StepState};

/// What a step is for, as people see a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Column {
    Deploy,
    Invoke,
    Traces,
    Cleanup,
}

impl Column {
    pub(crate) const ALL: [Self; 4] = [Self::Deploy, Self::Invoke, Self::Traces, Self::Cleanup];

    pub(crate) fn of(step: &Step) -> Self {
        match (&step.kind, step.phase()) {
            (_, Some(Phase::Deploy)) => Self::Deploy,
            (_, Some(Phase::Invoke)) => Self::Invoke,
            (_, Some(Phase::Cleanup)) => Self::Cleanup,
            (StepKind::GetTraces | StepKind::AnalyzeTraces | StepKind::Decide, _) => Self::Traces,
            // A pause belongs to what comes after it.
            (StepKind::Pause { why, .. }, _) if why.contains("traces") => Self::Traces,
            _ => Self::Invoke,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Invoke => "invoke",
            Self::Traces => "traces",
            Self::Cleanup => "cleanup",
        }
    }
}

/// What a step is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Waiting,
    Running,
    Retrying,
    Succeeded,
    /// Succeeded, and its trial must not be used.
    Invalid,
    Failed,
    Skipped,
    /// Cancelled or interrupted.
    Stopped,
}

impl Mark {
    pub(crate) fn of(past: Option<&StepState>) -> Self {
        let Some(past) = past else { return Self::Waiting };
        match &past.phase {
            StepPhase::Waiting => Self::Waiting,
            StepPhase::Running => Self::Running,
            StepPhase::Retrying(_) => Self::Retrying,
            StepPhase::Ended(Outcome::Succeeded) if past.invalid.is_empty() => Self::Succeeded,
            StepPhase::Ended(Outcome::Succeeded) => Self::Invalid,
            StepPhase::Ended(Outcome::Enough { .. }) => Self::Succeeded,
            StepPhase::Ended(Outcome::Failed(_)) => Self::Failed,
            StepPhase::Ended(Outcome::Skipped { .. }) => Self::Skipped,
            StepPhase::Ended(Outcome::Cancelled | Outcome::Interrupted) => Self::Stopped,
        }
    }

    /// One character, the same for ever: the page of `sb ui` reads it.
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Waiting => 'w',
            Self::Running => 'r',
            Self::Retrying => 't',
            Self::Succeeded => 's',
            Self::Invalid => 'i',
            Self::Failed => 'f',
            Self::Skipped => 'k',
            Self::Stopped => 'c',
        }
    }

    pub(crate) fn has_ended(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running | Self::Retrying)
    }
}

/// Steps by what they are at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    pub total: u64,
    /// In whatever way.
    pub ended: u64,
    pub running: u64,
    /// To be tried again.
    pub retrying: u64,
    pub failed: u64,
    pub skipped: u64,
    pub stopped: u64,
    /// Of trials that must not be used.
    pub invalid: u64,
}

impl Counts {
    fn add(&mut self, mark: Mark) {
        self.total += 1;
        self.ended += u64::from(mark.has_ended());
        match mark {
            Mark::Running => self.running += 1,
            Mark::Retrying => self.retrying += 1,
            Mark::Failed => self.failed += 1,
            Mark::Skipped => self.skipped += 1,
            Mark::Stopped => self.stopped += 1,
            Mark::Invalid => self.invalid += 1,
            Mark::Waiting | Mark::Succeeded => {}
        }
    }
}

/// The steps of one application.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Application {
    pub name: String,
    /// In the order of [`Column::ALL`].
    pub phases: [Counts; 4],
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Overview {
    pub steps: Counts,
    pub applications: Vec<Application>,
}

impl Overview {
    pub(crate) fn of(watched: &Watched) -> Self {
        let entries = &watched.plan.entries;
        let mut steps = Counts::default();
        let mut applications: Vec<Application> = entries
            .iter()
            .map(|entry| Application { name: entry.application.clone(), phases: <[Counts; 4]>::default() })
            .collect();
        for step in watched.steps() {
            let mark = Mark::of(watched.past(step));
            steps.add(mark);
            let entry = watched.graph.deployments[step.deployment].entry;
            applications[entry].phases[Column::of(step) as usize].add(mark);
        }
        Self { steps, applications }
    }
}

/// How far a load is, in a line.
pub(crate) fn load_line(load: &Progress) -> String {
    let latency = match (load.p50_ms, load.p95_ms, load.p99_ms) {
        (Some(p50), Some(p95), Some(p99)) => format!(", p50 {p50:.1} p95 {p95:.1} p99 {p99:.1} ms"),
        _ => String::new(),
    };
    let of = load.planned.map(|planned| format!(" of {planned}")).unwrap_or_default();
    let dropped = if load.dropped > 0 { format!(", {} dropped", load.dropped) } else { String::new() };
    format!("{}{of} sent, {} answered, {} failed{dropped}{latency}", load.sent, load.answered, load.failed)
}

/// What a step is at, in words.
pub(crate) fn describe(phase: Option<&StepPhase>) -> String {
    match phase {
        None | Some(StepPhase::Waiting) => "waiting".to_owned(),
        Some(StepPhase::Running) => "running".to_owned(),
        Some(StepPhase::Retrying(outcome)) => format!("to be tried again; last attempt {outcome}"),
        Some(StepPhase::Ended(outcome)) => outcome.to_string(),
    }
}

/// `42s`, `3m 07s`, `2h 05m`: milliseconds for people, in at most seven characters up to a hundred hours.
pub(crate) fn elapsed(milliseconds: i64) -> String {
    let seconds = milliseconds.max(0) / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h {minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (milliseconds, text) in
            [(0, "0s"), (-5, "0s"), (59_999, "59s"), (187_000, "3m 07s"), (7_500_000, "2h 05m")]
        {
            assert_eq!(elapsed(milliseconds), text);
        }
    }

    #[test]
    fn every_mark_has_a_letter_of_its_own() {
        let marks = [
            Mark::Waiting,
            Mark::Running,
            Mark::Retrying,
            Mark::Succeeded,
            Mark::Invalid,
            Mark::Failed,
            Mark::Skipped,
            Mark::Stopped,
        ];
        let letters: std::collections::BTreeSet<char> = marks.iter().map(|mark| mark.letter()).collect();
        assert_eq!(letters.len(), marks.len());
    }
}
