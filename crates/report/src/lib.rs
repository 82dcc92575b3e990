#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod config;
mod execution;
mod experiment;
mod figures;
mod note;
mod numbers;
mod output;
mod parallel;
mod precision;
mod rates;
mod read;
mod report;
mod series;
mod summary;
mod table;
mod tables;
mod units;
mod warping;
mod workload;

#[cfg(test)]
mod tests;

pub use note::{Note, Weight};
pub use output::{Output, OutputError};
pub use precision::{FigurePrecision, Verdict};
pub use read::{
    Dataset, DatasetError, DistinctExecutions, ExecutionFolder, Options, analyze_folder,
    distinct_execution_folders, execution_folders, read,
};
pub use report::Report;
pub use table::{Cell, Cells, Column, Kind, Table};
pub use tables::groups::{ActivityFigures, Figures, Group, GroupKey, GroupShare, GroupShares};
pub use units::Status;
