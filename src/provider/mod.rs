//! Clouds, and the local target that stands in for one.

pub mod account;
pub mod aws;
pub mod local;
pub mod sampling;
