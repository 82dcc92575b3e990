//! A load in numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{MeasurementError, Outcome, RowCounts, Times, Timestamp};

/// The name of the summary's file in the folder of an invocation.
pub const SUMMARY_FILE: &str = "load_summary.json";

/// A load in numbers: `load_summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSummary {
    /// The version of this shape: [`LoadSummary::VERSION`].
    pub version: u32,
    /// Invocations that the load has by plan. A cancelled load leaves some of them neither sent nor dropped. `None`: there
    /// was no number, since users sent as many as the answers let them, or only k6 knew it.
    pub planned: Option<u64>,
    /// Requests of which at least one byte left this machine.
    pub sent: u64,
    /// Complete answers, as expected or not.
    pub answered: u64,
    /// Not answered as expected, whether they were sent or not: every outcome but `ok`, `dropped` and `skipped`.
    pub failed: u64,
    /// Requests that failed before a byte of them left: no connection could be opened.
    #[serde(default)]
    pub not_sent: u64,
    /// Due but never sent, because too many requests were under way.
    pub dropped: u64,
    /// How invocations ended, by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// The status codes of the answers with the outcome `failed_check`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_statuses: BTreeMap<u16, u64>,
    /// What was wrong with answers of the outcome `failed_check`, with counts: ``the body does not hold `ready` ``. A status
    /// has none where the author names none: an error of HTTP says enough. Of very many different reasons, only the first that
    /// were met are here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub failed_checks: BTreeMap<String, u64>,
    /// Of answers as expected, from the moment of sending. `None`: there were none.
    pub latency_ms: Option<Percentiles>,
    /// Of answers as expected, from the planned time; `None` also where that is not known.
    pub latency_from_planned_ms: Option<Percentiles>,
    /// Of complete answers that were not as expected, from the moment of sending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_latency_ms: Option<Percentiles>,
    /// Sent minus planned, over all that were sent. `None`: nothing was sent, or nothing was due at a planned time (users in a
    /// closed loop), or k6 sent it, which does not report it.
    pub lateness_ms: Option<Lateness>,
    /// When the load began.
    pub started: Timestamp,
    /// When its last invocation had ended.
    pub ended: Timestamp,
    /// Whether it was stopped before its end.
    pub cancelled: bool,
    /// Of a script: how often it ran to its end. It may send several requests each time, or none, so `planned` and
    /// `dropped` count its runs, and `sent`, `answered` and `failed` its requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u64>,
    /// Of users in a closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_loop: Option<ClosedLoop>,
    /// What to know about a measurement that may be used: one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why the measurement must not be used, one sentence with numbers per reason; empty: it is valid.
    pub invalid: Vec<String>,
}

impl LoadSummary {
    /// The version that is written.
    pub const VERSION: u32 = 1;

    /// Whether the rows of the load are all there. Rows that the summary does not count are no error: both are counted alike, so
    /// only a loss is possible.
    ///
    /// # Errors
    /// More requests were sent, or answered, than there are rows of: the file lost some after the load had ended.
    pub fn check_rows(&self, rows: RowCounts) -> Result<(), MeasurementError> {
        let load = RowCounts { sent: self.sent, answered: self.answered };
        if load.sent > rows.sent || load.answered > rows.answered {
            return Err(MeasurementError::Missing { rows, load });
        }
        Ok(())
    }

    /// Takes over times in the place of those that it has.
    pub fn set_times(&mut self, times: &Times) {
        self.latency_ms = times.latency.percentiles();
        self.latency_from_planned_ms = times.latency_from_planned.percentiles();
        self.failed_latency_ms = times.failed_latency.percentiles();
        self.lateness_ms = times.lateness.lateness();
    }

    /// Each outcome of `which` with its count, and the status codes and checks behind `failed_check`:
    /// ``failed_check 5: HTTP 200 ×3, HTTP 502 ×2 (the body does not hold `ready` ×3); reset 1``. Empty: there is none.
    pub fn outcome_text(&self, which: impl Fn(Outcome) -> bool) -> String {
        let shown = self.outcomes.iter().filter(|(outcome, _)| which(**outcome)).map(|(outcome, count)| {
            let statuses: Vec<String> = match outcome {
                Outcome::FailedCheck => self
                    .failed_statuses
                    .iter()
                    .map(|(status, count)| format!("HTTP {status} ×{count}"))
                    .collect(),
                _ => vec![],
            };
            let colon = if statuses.is_empty() { "" } else { ": " };
            let checks: Vec<String> = match outcome {
                Outcome::FailedCheck => {
                    self.failed_checks.iter().map(|(reason, count)| format!("{reason} ×{count}")).collect()
                }
                _ => vec![],
            };
            let checks = if checks.is_empty() { String::new() } else { format!(" ({})", checks.join(", ")) };
            format!("{outcome} {count}{colon}{}{checks}", statuses.join(", "))
        });
        shown.collect::<Vec<_>>().join("; ")
    }
}

/// What the latencies of a closed loop leave out. A user who waits for a slow answer sends nothing meanwhile, so the
/// requests that would have met the same stall are missing: coordinated omission.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedLoop {
    /// How many users sent.
    pub users: u64,
    /// The mean that the load has for the time between an answer and the next invocation, in milliseconds.
    pub think_time_ms: f64,
    /// How often a user would send if every answer took as long as the median: the median, for each request of an
    /// invocation, and the think time, in milliseconds. `None`: there was no answer as expected.
    pub interval_ms: Option<f64>,
    /// The latencies with the requests that are missing, by the method of HdrHistogram (G. Tene,
    /// `copyCorrectedForCoordinatedOmission`): a latency above the interval stands for further ones that are shorter by one
    /// interval, two, and so on. At most 0.1 % above.
    pub corrected_latency_ms: Option<Percentiles>,
}

/// Milliseconds, linear between two measured values ([`quantile_place`](crate::quantile_place)). While a load is under way,
/// they are values of a histogram with three significant digits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Percentiles {
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The highest value.
    pub max: f64,
}

/// Milliseconds, as [`Percentiles`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lateness {
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The highest value.
    pub max: f64,
}
