#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod beta_cells;
mod critical;
mod distance;
mod level;
#[cfg(test)]
mod oracle;
mod quantile_error;
mod sorted;

pub use critical::{normal_quantile, student_quantile};
pub use distance::warping_distance;
pub use level::Level;
pub use quantile_error::{
    Interval, harrell_davis, maritz_jarrett, quantile_interval, relative_width, relative_width_as_published,
};
pub use sorted::{NotFinite, Sorted};
