//! Clouds, and the local target that stands in for one.

pub mod account;
pub mod app_insights;
pub mod aws;
pub mod collect;
pub mod otlp;
pub mod retrieval;
pub mod sampling;

mod pace;
