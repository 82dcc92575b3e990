//! From spans to a breakdown: the critical path, and which activity each piece of time on it belongs to.

pub(crate) mod activities;
pub(crate) mod breakdown;
pub(crate) mod critical_path;
pub(crate) mod exact;
pub(crate) mod repair;

mod firm;
