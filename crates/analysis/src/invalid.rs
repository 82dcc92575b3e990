//! Why a trace has no latency breakdown: a closed list, each with a stable code and a sentence.

use super::row::format_duration;

/// A reason to leave a trace out of the analysis. Durations are in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("the trace cannot be read ({detail}); fetch it again")]
    Malformed { detail: String },
    #[error("the trace has no duration, so it was still being written; fetch it again later")]
    NoDuration,
    #[error("span {span} is still in progress; wait longer before fetching the traces")]
    InProgress { span: String },
    #[error(
        "the time {seconds} lies outside of the years 1 to 9999; check the clock of the service that sent it"
    )]
    TimeOutOfRange { seconds: String },
    #[error("span {span} is sent twice, with different parents; give each span an id of its own")]
    ConflictingParents { span: String },
    #[error(
        "span {span} refers to the parent {parent}, which is missing; wait longer before fetching the traces"
    )]
    MissingParent { span: String, parent: String },
    #[error("no span is without a parent, so the trace has no root; wait longer before fetching the traces")]
    NoRoot,
    #[error(
        "the root {root} does not start first, {first} does; check that all services are connected in one trace and \
         that their clocks agree"
    )]
    RootNotFirst { root: String, first: String },
    #[error(
        "the duration {} differs from the time between the first start and the last end, {}; check that all services \
         are connected in one trace and that their clocks agree",
        format_duration(*duration), format_duration(*between)
    )]
    DurationMismatch { duration: i64, between: i64 },
    #[error("span {span} is its own ancestor; correct the parent ids of the instrumentation")]
    ParentLoop { span: String },
    #[error(
        "the asynchronous span {next} starts {} before the span {span} that leads to it; check that their clocks agree",
        format_duration(*early)
    )]
    StartsBeforeCause { span: String, next: String, early: i64 },
    #[error(
        "the critical path does not explain the time around span {span}: it is off by {}; check that clocks agree \
         and that no span is missing",
        format_duration(*off)
    )]
    Gap { span: String, off: i64 },
    #[error(
        "the critical path ends with span {span}, from which nothing leads up to the end of the trace; check that \
         no span is missing"
    )]
    EndsNowhere { span: String },
    #[error(
        "the critical path leads to span {reached}, but {last} ends last; check that no span is missing and that \
         clocks agree"
    )]
    WrongEnd { reached: String, last: String },
    #[error(
        "the parts add up to {}, the trace took {}; check that no span is missing and that clocks agree",
        format_duration(*parts), format_duration(*duration)
    )]
    PartsMismatch { parts: i64, duration: i64 },
    #[error(
        "{counted} cold starts were found, but {initializations} initializations lie on the critical path; check that \
         no span is missing"
    )]
    ColdStartsMismatch { counted: u64, initializations: u64 },
    #[error("the critical path is longer than {limit} steps; correct the repeated spans of zero length")]
    TooLong { limit: usize },
}

impl Invalid {
    /// The stable name of the reason, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::NoDuration => "no_duration",
            Self::InProgress { .. } => "in_progress",
            Self::TimeOutOfRange { .. } => "time_out_of_range",
            Self::ConflictingParents { .. } => "conflicting_parents",
            Self::MissingParent { .. } => "missing_parent",
            Self::NoRoot => "no_root",
            Self::RootNotFirst { .. } => "root_not_first",
            Self::DurationMismatch { .. } => "duration_mismatch",
            Self::ParentLoop { .. } => "parent_loop",
            Self::StartsBeforeCause { .. } => "starts_before_cause",
            Self::Gap { .. } => "gap",
            Self::EndsNowhere { .. } => "ends_nowhere",
            Self::WrongEnd { .. } => "wrong_end",
            Self::PartsMismatch { .. } => "parts_mismatch",
            Self::ColdStartsMismatch { .. } => "cold_starts_mismatch",
            Self::TooLong { .. } => "too_long",
        }
    }

    /// The column `message` of invalid_traces.csv: `code: sentence`.
    pub fn message(&self) -> String {
        format!("{}: {self}", self.code())
    }
}
