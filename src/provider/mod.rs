//! Clouds, and the local target that stands in for one.

pub mod aws;
pub mod local;
