#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod azure2019;
mod cells;
mod classify;
#[cfg(test)]
mod classify_tests;
mod dataset;
mod decimal;
mod error;
mod export;
mod files;
mod funnel;
mod lines;
mod mix;
mod model;
mod recognize;
mod sample;
mod sheet;
mod tall;
#[cfg(test)]
mod tests;

pub use classify::{Classified, Confusion, Features, Label, PatternClass, classify, read_labels};
pub use dataset::{Dataset, Empty, Format, Options};
pub use error::{DatasetError, Place};
pub use export::{COLUMN, Export, Wanted, export, in_line, original_lines};
pub use funnel::{ClassCount, Criteria, RATE_CLASSES, RateDays, STUDY_CLASSES, STUDY_EXTREME, Step, Summary};
pub use mix::{Candidate, Distance, Mix, SHORTEST, mix, scale_to};
pub use model::{DayTotals, FunctionTotals, Key, MINUTES_PER_DAY, Notes, SECONDS_PER_DAY, Totals, Window};
pub use sample::sample;
pub use sheet::{Sampled, contact_sheet, sampled_csv, window_svg, windows_csv};
