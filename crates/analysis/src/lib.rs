//! Traces: spans, critical path, latency breakdown. Pure.
//!
//! A tracer's file becomes [`span::Trace`]s ([`xray`], [`app_insights`], [`otlp`]; [`source`] tells them apart), of each
//! of which the [`critical_path`] is extracted and divided into activities ([`breakdown`], by the table in
//! [`activities`]); [`analyze`] does so for files, into [`row`]s, as a [`method`] says. [`repair`] recovers traces whose
//! clocks differ a little; [`firm`] is another algorithm to compare with; [`triggers`] measures Azure's triggers.
//!
//! The method, and the format of the files, are those of "Let's Trace It: Fine-Grained Serverless Benchmarking for
//! Synchronous and Asynchronous Applications" and its published dataset.

pub mod activities;
pub mod analyze;
pub mod app_insights;
pub mod breakdown;
pub mod critical_path;
pub mod firm;
pub mod input;
pub mod invalid;
pub mod method;
pub mod otlp;
pub mod repair;
pub mod report;
pub mod requests;
pub mod row;
pub mod select;
pub mod source;
pub mod span;
pub mod triggers;
pub mod xray;

mod caller;
#[cfg(feature = "parquet")]
mod columnar;
#[cfg(not(feature = "parquet"))]
#[path = "columnar_absent.rs"]
mod columnar;
mod embedded;
mod gather;
mod joined;
mod json;
mod linked;
mod output;
mod parallel;
mod python;
mod sorted;
mod split;
mod time;

#[cfg(test)]
mod linked_tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod tests;
