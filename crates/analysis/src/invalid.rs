//! Why a trace has no latency breakdown: a closed list, each with a stable code and a sentence.

use crate::read::LONGEST;
use crate::row::format_duration;

/// A trace that cannot be analysed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Absent where the text is damaged before the id.
    pub id: Option<String>,
    /// What is wrong with it.
    pub reason: Invalid,
}

impl Rejected {
    /// A text that is no UTF-8.
    pub(crate) fn not_utf8(error: std::str::Utf8Error) -> Self {
        Self { id: None, reason: Invalid::Malformed { detail: error.to_string() } }
    }
}

/// A reason to leave a trace out of the analysis. Durations are in microseconds; spans are named by their ids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The text is no trace.
    #[error("the trace cannot be read ({detail}); fetch it again")]
    Malformed {
        /// What is wrong, and where.
        detail: String,
    },
    /// The text of the trace is longer than the readers take.
    #[error(
        "the trace is longer than {} MiB, the most that is read of one trace; record fewer spans in it, or fewer attributes",
        limit >> 20
    )]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// X-Ray did not deliver the trace.
    #[error(
        "X-Ray did not deliver the trace: it is among the `UnprocessedTraceIds` of the answer; fetch it again"
    )]
    Unprocessed,
    /// X-Ray delivered a part of the trace.
    #[error(
        "X-Ray delivered a part of the trace only (`LimitExceeded`): it is larger than X-Ray's limit; record fewer \
         segments in it"
    )]
    LimitExceeded,
    /// An answer says of itself that it is not complete.
    #[error(
        "the answer has a part of the trace only, as it says itself ({said}); ask again, for less at once or when all parts of \
         the store answer"
    )]
    Partial {
        /// What it says.
        said: String,
    },
    /// The tracer gave no duration.
    #[error("the trace has no duration, so it was still being written; fetch it again later")]
    NoDuration,
    /// A span has not ended.
    #[error("span {span} is still in progress; wait longer before fetching the traces")]
    InProgress {
        /// The span.
        span: String,
    },
    /// A time or a duration is no time of the years 1 to 9999.
    #[error(
        "the time {seconds} lies outside of the years 1 to 9999; check the clock of the service that sent it"
    )]
    TimeOutOfRange {
        /// The time, in seconds since the epoch.
        seconds: String,
    },
    /// Two spans with one id have different parents.
    #[error("span {span} is sent twice, with different parents; give each span an id of its own")]
    ConflictingParents {
        /// The id of both.
        span: String,
    },
    /// Two spans with one id have different names or starts.
    #[error("span {span} is sent twice, with different names or starts; give each span an id of its own")]
    ConflictingSpans {
        /// The id of both.
        span: String,
    },
    /// A span names a parent that is not in the trace.
    #[error(
        "span {span} refers to the parent {parent}, which is missing; fetch or export the spans of all services, and \
         wait longer before that"
    )]
    MissingParent {
        /// The span.
        span: String,
        /// The parent that it names.
        parent: String,
    },
    /// Every span has a parent, or there is no span.
    #[error("no span is without a parent, so the trace has no root; wait longer before fetching the traces")]
    NoRoot,
    /// Another span than the root starts first.
    #[error(
        "the root {root} does not start first, {first} does; check that all services are connected in one trace and \
         that their clocks agree"
    )]
    RootNotFirst {
        /// The span without a parent.
        root: String,
        /// The span that starts first.
        first: String,
    },
    /// The tracer's duration is not the time between first start and last end.
    #[error(
        "the duration {} differs from the time between the first start and the last end, {}; check that all services \
         are connected in one trace and that their clocks agree",
        format_duration(*duration), format_duration(*between)
    )]
    DurationMismatch {
        /// As the tracer gave it.
        duration: i64,
        /// From the first start to the last end.
        between: i64,
    },
    /// Parents form a circle.
    #[error("span {span} is its own ancestor; correct the parent ids of the instrumentation")]
    ParentLoop {
        /// A span of the circle.
        span: String,
    },
    /// An asynchronous span starts more than 10 ms before what caused it.
    #[error(
        "the asynchronous span {next} starts {} before the span {span} that leads to it; check that their clocks agree",
        format_duration(*early)
    )]
    StartsBeforeCause {
        /// The span that leads to the asynchronous one.
        span: String,
        /// The asynchronous span.
        next: String,
        /// By how much it starts too early.
        early: i64,
    },
    /// A span ends before it starts.
    #[error(
        "span {span} ends {} before it starts; correct the clock of the service that recorded it, or recover such traces \
         with `--repair clock-skew`",
        format_duration(*early)
    )]
    EndsBeforeStart {
        /// The span.
        span: String,
        /// By how much it ends too early.
        early: i64,
    },
    /// Two pieces of time on the critical path do not follow each other.
    #[error(
        "the critical path does not explain the time around span {span}: it is off by {}; check that clocks agree \
         and that no span is missing",
        format_duration(*off)
    )]
    Gap {
        /// The span of the later piece.
        span: String,
        /// The end of that piece minus the end that the pieces add up to.
        off: i64,
    },
    /// The last span of the critical path has no synchronous parent to return to.
    #[error(
        "the critical path ends with span {span}, from which nothing leads up to the end of the trace; check that \
         no span is missing"
    )]
    EndsNowhere {
        /// The last span of the path.
        span: String,
    },
    /// The critical path leads to another end than that of the trace.
    #[error(
        "the critical path leads to span {reached}, but {last} ends last; check that no span is missing and that \
         clocks agree"
    )]
    WrongEnd {
        /// The span that the path leads to.
        reached: String,
        /// The span that ends last.
        last: String,
    },
    /// The parts of the breakdown are not the duration.
    #[error(
        "the parts add up to {}, the trace took {}; check that no span is missing and that clocks agree",
        format_duration(*parts), format_duration(*duration)
    )]
    PartsMismatch {
        /// The sum of the parts.
        parts: i64,
        /// The duration of the trace.
        duration: i64,
    },
    /// Not every initialization on the critical path belongs to a cold start.
    #[error(
        "{counted} cold starts were found, but {initializations} initializations lie on the critical path; check that \
         no span is missing"
    )]
    ColdStartsMismatch {
        /// Cold starts that the walk along the path found.
        counted: u64,
        /// Spans named `Initialization` on the path.
        initializations: u64,
    },
    /// The critical path repeats spans beyond a limit, or the trace has too many spans.
    #[error("the critical path is longer than {limit} steps; correct the repeated spans of zero length")]
    TooLong {
        /// The limit.
        limit: usize,
    },
}

impl Invalid {
    /// A trace that is longer than the limit of the readers.
    pub(crate) fn longer_than_the_limit() -> Self {
        Self::TooLarge { limit: LONGEST }
    }

    /// The stable name of the reason, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::Unprocessed => "unprocessed",
            Self::LimitExceeded => "limit_exceeded",
            Self::Partial { .. } => "partial",
            Self::NoDuration => "no_duration",
            Self::InProgress { .. } => "in_progress",
            Self::TimeOutOfRange { .. } => "time_out_of_range",
            Self::ConflictingParents { .. } => "conflicting_parents",
            Self::ConflictingSpans { .. } => "conflicting_spans",
            Self::MissingParent { .. } => "missing_parent",
            Self::NoRoot => "no_root",
            Self::RootNotFirst { .. } => "root_not_first",
            Self::DurationMismatch { .. } => "duration_mismatch",
            Self::ParentLoop { .. } => "parent_loop",
            Self::StartsBeforeCause { .. } => "starts_before_cause",
            Self::EndsBeforeStart { .. } => "ends_before_start",
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
