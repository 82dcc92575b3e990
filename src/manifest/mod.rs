//! The files users write: raw shapes of `benchmark.toml` and plans, read with the place of every value.

pub mod sam;
pub mod template;
