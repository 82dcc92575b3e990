#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod aggregate;
#[cfg(feature = "parquet")]
mod columnar;
#[cfg(not(feature = "parquet"))]
#[path = "columnar_absent.rs"]
mod columnar;
mod export;
mod invalid;
mod io;
mod method;
mod operation;
mod path;
mod python;
mod quantiles;
mod read;
mod report;
mod requests;
mod row;
mod span;
mod triggers;
mod what_if;

#[cfg(test)]
mod tests;

#[cfg(feature = "parquet")]
pub use columnar::{PlainCells, write_parquet};

// A trace and its explanation.
pub use invalid::{Invalid, Rejected};
pub use method::{Method, analyze_text};
pub use path::activities::{Activities, ActivitiesError};
pub use path::breakdown::{Activity, Algorithm, Analysis, Parts, Piece};
pub use path::critical_path::Rule;
pub use path::repair::Repair;
pub use row::{BREAKDOWN_HEADER, BreakdownRow, RowError, format_duration, read_breakdown};

// Its spans.
pub use read::otlp::read as read_otlp;
pub use read::otlp_protobuf::{MalformedExport, to_json as otlp_json_of_protobuf};
pub use read::source::{Source, UnknownFormat};
pub use read::xray::{Documents, linked_traces};
pub use span::{Flags, Link, Parent, Precision, Recorded, Span, SpanIndex, Trace, microseconds};

// Files of traces.
#[cfg(feature = "parquet")]
pub use io::PARQUET_FILE;
pub use io::analyze::{AnalyzeOptions, analyze, analyze_file, analyze_fused};
pub use io::browse::{for_each_joined_trace, for_each_trace};
pub use io::cut::ends_within_document;
pub use io::fused::{are_parts_of_traces, for_each_fused_trace};
pub use io::input::{TRACE_FILES, find_traces};
pub use io::measured::{
    ColdState, GroupKey, Measured, Setting, for_each_measured, for_each_measured_together, for_each_path,
};
pub use io::results::{AnalysisSummary, Tables};
pub use io::select::{SelectedTrace, select_traces};
pub use io::{BREAKDOWN_FILE, INVALID_FILE};
pub use requests::Requests;

// Reports: an application in numbers, a trace as a picture, invocations over time.
pub use io::folders::{
    LeftOut, ReportError, Summaries, check_folder, check_small_files, invalid_reasons, summarize,
    summarize_groups,
};
pub use io::sides::{application_folder, invocation_folders, measure};
pub use quantiles::Quantiles;
pub use report::Ink;
pub use report::comparison::{
    ComparedGroup, Comparison, FarOut, FigureChange, Finding, GroupChange, LoneGroup, Quantity,
    QuantityChange, Ranged, Regression, RunMeasurements, RunSide, Start, VanishedGroup,
};
pub use report::comparison_text::{comparison_markdown, comparison_text};
pub use report::markdown::markdown_text;
pub use report::rates::{RateFigures, Rates, Series};
pub use report::summary::{
    ApplicationSummary, LoadFigures, RequestFigures, RequestTraceFigures, TraceBreakdown, TraceFigures,
};
pub use report::table::render_summaries;
pub use report::waterfall::{Waterfall, WaterfallRow, printable};

// The critical paths of many traces at once.
pub use aggregate::difference::PathDifference;
pub use aggregate::flame::FlameGraph;
pub use aggregate::tree::{PathRow, PathTree, Stack, folded};
pub use aggregate::typical::TypicalTrace;

// A trace for other tools.
pub use export::{TraceExport, speedscope};

// What a change would bring.
pub use operation::Operation;
pub use what_if::change::{Change, ChangeError, Effect, OperationPattern};
pub use what_if::figures::{Figure, Figures, IntervalUnit, TrialOfTrace};
pub use what_if::traces::{Candidate, Prediction, Ranked, WhatIf};

// How long Azure's triggers take.
pub use io::triggers::{TRIGGER_FILE, analyze_triggers};
pub use triggers::{TriggerLatency, TriggerSummary};
