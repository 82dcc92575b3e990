#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod beta_cells;
mod bootstrap;
mod critical;
mod distance;
mod effect;
mod judgement;
mod level;
#[cfg(test)]
mod oracle;
mod outliers;
mod precision;
mod quantile_error;
mod share;
#[cfg(test)]
mod simulation_tests;
mod sorted;
mod trials;

pub use bootstrap::{Bootstrap, Change, Estimate, Scale};
pub use critical::{normal_quantile, student_quantile};
pub use distance::warping_distance;
pub use effect::EffectSize;
pub use judgement::{Judgement, benjamini_hochberg, judge};
pub use level::Level;
pub use outliers::Outliers;
pub use precision::Precision;
pub use quantile_error::{
    Interval, harrell_davis, maritz_jarrett, quantile_interval, relative_width, relative_width_as_published,
};
pub use share::Share;
pub use sorted::{NotFinite, Sorted};
pub use trials::{FEWEST_UNITS, Statistic, Trial, Trials, Unit};
