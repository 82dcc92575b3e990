//! Everything that touches files: folders, compression, threads, spilled records, outputs. The rest of the crate knows
//! none of it.

pub(crate) mod analyze;
pub(crate) mod browse;
pub(crate) mod cut;
pub(crate) mod folders;
pub(crate) mod fused;
pub(crate) mod input;
pub(crate) mod linked;
pub(crate) mod measured;
pub(crate) mod results;
pub(crate) mod select;
pub(crate) mod sides;
pub(crate) mod split;
pub(crate) mod triggers;

mod beside;
mod export;
mod output;
mod parallel;
mod protobuf;
mod spill;
mod unwrap;

/// The rows of the valid traces, beside a file of traces; the name is the published dataset's.
pub const BREAKDOWN_FILE: &str = "trace_breakdown.csv";
/// The same rows with real types.
#[cfg(feature = "parquet")]
pub const PARQUET_FILE: &str = "trace_breakdown.parquet";
/// The ids of the invalid traces, each with a reason; the name is the published dataset's.
pub const INVALID_FILE: &str = "invalid_traces.csv";
