#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

pub mod benchmark;
pub mod event;
pub mod format;
pub mod graph;
pub mod id;
pub mod manifest;
pub mod plan;
pub mod rules;
pub mod run_state;
pub mod validate;
