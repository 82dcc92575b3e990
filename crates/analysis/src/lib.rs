#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

#[cfg(feature = "parquet")]
mod columnar;
#[cfg(not(feature = "parquet"))]
#[path = "columnar_absent.rs"]
mod columnar;
mod invalid;
mod io;
mod method;
mod path;
mod python;
mod quantiles;
mod read;
mod report;
mod requests;
mod row;
mod span;
mod triggers;

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
pub use read::source::{Source, UnknownFormat};
pub use read::xray::{Documents, linked_traces};
pub use span::{Flags, Link, Parent, Precision, Recorded, Span, SpanIndex, Trace, microseconds};

// Files of traces.
#[cfg(feature = "parquet")]
pub use io::PARQUET_FILE;
pub use io::analyze::{AnalyzeOptions, analyze, analyze_file};
pub use io::browse::{for_each_joined_trace, for_each_trace};
pub use io::input::{TRACE_FILES, find_traces};
pub use io::results::{AnalysisSummary, Tables};
pub use io::select::{SelectedTrace, select_traces};
pub use io::{BREAKDOWN_FILE, INVALID_FILE};
pub use requests::Requests;

// Reports: an application in numbers, a trace as a picture, invocations over time.
pub use io::folders::{ReportError, summarize, summarize_groups};
pub use quantiles::Quantiles;
pub use report::Ink;
pub use report::rates::{RateFigures, Rates, Series};
pub use report::summary::{
    ApplicationSummary, LoadFigures, RequestFigures, RequestTraceFigures, TraceBreakdown, TraceFigures,
};
pub use report::table::render_summaries;
pub use report::waterfall::{Waterfall, WaterfallRow, printable};

// How long Azure's triggers take.
pub use io::triggers::{TRIGGER_FILE, analyze_triggers};
pub use triggers::{TriggerLatency, TriggerSummary};
