//! The files users write: raw shapes of `benchmark.toml` and plans, read with the place of every value.
//!
//! A text becomes a [`tree`] whose nodes know their places in it. [`decode`] turns the tree into the raw shapes
//! ([`benchmark`], [`workload`], [`load`], [`plan`]) and reports what does not fit. `validate` gives the shapes their
//! meaning. [`schema`] tells editors about the same shapes.

mod arguments;
pub(crate) mod benchmark;
pub(crate) mod decode;
pub(crate) mod load;
pub(crate) mod plan;
pub mod problem;
pub mod read;
pub mod schema;
pub(crate) mod tree;
pub(crate) mod values;
pub(crate) mod workload;

pub use arguments::LoadArguments;
