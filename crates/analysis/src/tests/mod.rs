//! Tests of whole analyses: from the text of a tracer to rows.

mod fused;
mod layers;
mod linked;
mod oracle;
mod otlp;
mod published_cases;
mod shapes;
mod sources;
mod xray;
