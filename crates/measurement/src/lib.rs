#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod cell;
mod invocation;
mod outcome;
mod redactor;
mod request_types;
mod rows;
mod summary;
mod times;
mod timestamp;
mod words;

pub use cell::{is_formula, of_cell, to_cell};
pub use invocation::{Invocation, sent_id};
pub use outcome::Outcome;
pub use redactor::Redactor;
pub use request_types::{
    IMAGE, NO_REQUEST, RequestType, RequestTypes, STUDY_APPLICATIONS, TypeId, UNKNOWN_REQUEST, image_type,
    names_of,
};
pub use rows::{COLUMNS, INVOCATIONS_FILE, InvocationReader, InvocationWriter, MeasurementError, RowCounts};
pub use summary::{ClosedLoop, Lateness, LoadSummary, Percentiles, SUMMARY_FILE};
pub use times::{Distribution, Times, nearest_rank, quantile_place};
pub use timestamp::Timestamp;
pub use words::counted;
