//! Readers: from a tracer's text to the spans that it recorded ([`crate::Recorded`]).

pub(crate) mod app_insights;
pub(crate) mod fused;
pub(crate) mod gather;
pub(crate) mod joined;
pub(crate) mod otlp;
pub(crate) mod otlp_protobuf;
pub(crate) mod sort;
pub(crate) mod source;
pub(crate) mod xray;

mod caller;
mod durable;
mod embedded;
mod json;
mod platform;
mod shapes;
mod time;

/// The most bytes of one trace: 32 MiB. A longer one is invalid. X-Ray itself stores no trace above half a mebibyte.
pub(crate) const LONGEST: usize = 32 << 20;
