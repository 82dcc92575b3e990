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

/// How many harsh random traces are drawn: `SB_RANDOM_TRACES`, or few enough for every run of the tests.
pub(crate) fn count_of_random_traces() -> u32 {
    std::env::var("SB_RANDOM_TRACES").ok().and_then(|count| count.parse().ok()).unwrap_or(400)
}
