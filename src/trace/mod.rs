//! Traces: spans, critical path, latency breakdown. Pure.
//!
//! A tracer's file becomes [`span::Trace`]s ([`xray`]), of each of which the [`critical_path`] is extracted and
//! divided into activities ([`breakdown`]); [`analyze`] does so for files, into [`row`]s.
//!
//! The method, and the format of the files, are those of "Let's Trace It: Fine-Grained Serverless Benchmarking for
//! Synchronous and Asynchronous Applications" and its published dataset.

pub mod analyze;
pub mod breakdown;
pub mod columnar;
pub mod critical_path;
pub mod input;
pub mod invalid;
pub mod requests;
pub mod row;
pub mod span;
pub mod xray;

mod json;
mod output;
mod python;
mod split;

#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod tests;
