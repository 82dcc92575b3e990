//! How traces are read and shown.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

/// A format of traces, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum SourceWord {
    /// Recognized by the first document
    Auto,
    /// AWS X-Ray, as BatchGetTraces returns traces: one per line
    Xray,
    /// Azure Application Insights, results of queries: one trace per line
    AppInsights,
    /// OpenTelemetry: exports of traces, in JSON or protobuf
    Otlp,
}

impl From<SourceWord> for sb_analysis::Source {
    fn from(word: SourceWord) -> Self {
        match word {
            SourceWord::Auto => Self::Auto,
            SourceWord::Xray => Self::Xray,
            SourceWord::AppInsights => Self::AppInsights,
            SourceWord::Otlp => Self::Otlp,
        }
    }
}

/// An algorithm, as it is typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AlgorithmWord {
    /// By definition, walked back from the end: parts never overlap and are never negative
    Exact,
    /// The study's, as published: the same rows as its analyzer
    #[value(alias = "servitrace")]
    Study,
    /// FIRM's, for synchronous traces only, to compare with
    Firm,
}

impl From<AlgorithmWord> for sb_analysis::Algorithm {
    fn from(word: AlgorithmWord) -> Self {
        match word {
            AlgorithmWord::Exact => Self::Exact,
            AlgorithmWord::Study => Self::Study,
            AlgorithmWord::Firm => Self::Firm,
        }
    }
}

/// How traces are read and explained; for files that are named.
#[derive(Debug, Args)]
pub(crate) struct MethodArguments {
    /// Format of the files
    #[arg(long, value_name = "FORMAT", default_value = "auto", requires = "files")]
    pub source: SourceWord,
    /// How the critical path is extracted
    #[arg(long, value_name = "NAME", default_value = "exact", requires = "files")]
    pub algorithm: AlgorithmWord,
    /// TOML file with your own rules for which activity a span belongs to; docs/traces.md describes it
    #[arg(long, value_name = "FILE", requires = "files")]
    pub activities: Option<PathBuf>,
    /// Repair traces that are invalid only for this reason; adds the column `repaired`
    #[arg(long, value_name = "WHAT", requires = "files")]
    pub repair: Option<RepairKind>,
    /// Longest time by which a repair moves a span's start or end
    #[arg(long, value_name = "DURATION", default_value = "10ms", requires = "repair", value_parser = humantime::parse_duration)]
    pub repair_limit: Duration,
    /// Join traces that are linked, such as sender and receiver of a message (X-Ray)
    #[arg(long, requires = "files")]
    pub join_linked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RepairKind {
    /// Clocks that differ by a few milliseconds
    ClockSkew,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WrittenTables {
    Csv,
    Parquet,
    Both,
}

/// Which functions may start cold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColdStartsWord {
    /// No function starts cold
    None,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Draw a trace as a waterfall
    #[command(
        after_help = "Examples:\n  sb trace show 1-5fbcfa0a\n  sb trace show 1-5fbcfa0a logs/2026-01-31_12-00-00 --svg trace.svg"
    )]
    Show {
        /// The trace's id, or its beginning
        id: String,
        /// Trace files, or folders with trace files; of X-Ray and OpenTelemetry together: joined [default: the last invocation's]
        file: Vec<PathBuf>,
        /// Write an SVG image to this file instead
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        /// Include linked traces, such as the receiver's of a message
        #[arg(long)]
        join_linked: bool,
    },
    /// Print the critical path of a trace, piece by piece
    #[command(after_help = "Example:\n  sb trace path 1-5fbcfa0a")]
    Path {
        /// The trace's id, or its beginning
        id: String,
        /// Trace files, or folders with trace files; of X-Ray and OpenTelemetry together: joined [default: the last invocation's]
        file: Vec<PathBuf>,
        /// Include linked traces, such as the receiver's of a message
        #[arg(long)]
        join_linked: bool,
    },
    /// Merge the critical paths of many traces into one tree of operations
    #[command(
        after_help = "Groups: app, request, cold (cold, partial or warm), or the name of a factor or label.\n\n\
        Examples:\n  \
        sb trace aggregate                                     the last run's\n  \
        sb trace aggregate --group-by app,cold                 a tree for each application, cold and warm\n  \
        sb trace aggregate --format svg --output flame.svg     a flame graph\n  \
        sb trace aggregate logs/after --against logs/before    what changed, and where on the path\n  \
        sb trace aggregate logs/after --against logs/before --format svg --output difference.svg"
    )]
    Aggregate {
        /// Runs, trace files, or folders with trace files; of X-Ray and OpenTelemetry together: joined [default: the last run's]
        #[arg(value_name = "RUN|PATH")]
        what: Vec<PathBuf>,
        /// What to compare with; may be repeated
        #[arg(long, value_name = "RUN|PATH")]
        against: Vec<PathBuf>,
        /// One tree for each value of these, separated by commas
        #[arg(long, value_name = "KEY", value_delimiter = ',')]
        group_by: Vec<String>,
        /// Join linked traces into one
        #[arg(long)]
        join_linked: bool,
        /// Write to this file instead
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Predict what changes of some operations would bring, or rank the changes that would help most
    #[command(after_help = "Without a change, it ranks the ten changes that would help most.\n\n\
        PATTERN is a regular expression for the whole of a name (resize), a service (S3), or both (Lambda::Function resize).\n\
        docs/what-if.md says how it predicts, and what it takes for granted.\n\n\
        Examples:\n  \
        sb trace what-if\n  \
        sb trace what-if --operation S3=0.5                    S3 in half of its time\n  \
        sb trace what-if --operation 'resize.*=2' --operation cache=gone\n  \
        sb trace what-if --activity queing=0 --cold-starts none")]
    WhatIf {
        /// Runs, trace files, or folders with trace files; of X-Ray and OpenTelemetry together: joined [default: the last run's]
        #[arg(value_name = "RUN|PATH")]
        what: Vec<PathBuf>,
        /// Multiply the own time of operations, or take them away with all beneath them (`gone`); may be repeated
        #[arg(long, value_name = "PATTERN=FACTOR")]
        operation: Vec<String>,
        /// Multiply the time of an activity, a column of trace_breakdown.csv; may be repeated
        #[arg(long, value_name = "ACTIVITY=FACTOR")]
        activity: Vec<String>,
        /// Let no function start cold
        #[arg(long, value_name = "WHICH")]
        cold_starts: Option<ColdStartsWord>,
        /// Join linked traces into one
        #[arg(long)]
        join_linked: bool,
    },
    /// Write a trace for other tools, its critical path marked
    #[command(
        after_help = "Formats: chrome (Perfetto, chrome://tracing), speedscope, jaeger (also read by sb), folded (for flame graphs).\n\n\
        Examples:\n  \
        sb trace export 1-5fbcfa0a --output trace.json         for https://ui.perfetto.dev\n  \
        sb trace export 1-5fbcfa0a --format jaeger > jaeger.json"
    )]
    Export {
        /// The trace's id, or its beginning
        id: String,
        /// Trace files, or folders with trace files; of X-Ray and OpenTelemetry together: joined [default: the last invocation's]
        file: Vec<PathBuf>,
        /// Include linked traces, such as the receiver's of a message
        #[arg(long)]
        join_linked: bool,
        /// Write to this file instead
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List traces
    #[command(after_help = "Examples:\n  sb trace list\n  sb trace list --slowest 5")]
    List {
        /// Trace files, or folders with trace files; of X-Ray and OpenTelemetry together: joined [default: the last invocation's]
        file: Vec<PathBuf>,
        /// List only the N slowest, the slowest first
        #[arg(long, value_name = "N")]
        slowest: Option<usize>,
        /// Join linked traces into one
        #[arg(long)]
        join_linked: bool,
    },
}
