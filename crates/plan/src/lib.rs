//! From manifests and plans to a checked graph of steps. Pure: no clock, no network.

#![warn(missing_docs)]
#![warn(unreachable_pub)]

pub mod benchmark;
pub mod event;
pub mod graph;
pub mod id;
pub mod manifest;
pub mod plan;
pub mod run_state;
pub mod validate;
