//! `k6_metrics.csv`: the measurements in the columns of k6's own CSV output, so that notebooks written for it read them.
//!
//! As in k6, there is one row per metric and request, durations are milliseconds, sizes bytes, and `timestamp` is the
//! whole epoch second at which the request ended. The column `name` has the request's name.

use std::io::{self, Write};
use std::time::Duration;

use hyper::Version;

use super::prepare::Prepared;
use super::send::Exchanged;
use crate::measurement::{Outcome, Timestamp};
use crate::workload::k6_options::SCENARIO;

const COLUMNS: [&str; 18] = [
    "metric_name",
    "timestamp",
    "metric_value",
    "check",
    "error",
    "error_code",
    "expected_response",
    "group",
    "method",
    "name",
    "proto",
    "scenario",
    "service",
    "status",
    "subproto",
    "tls_version",
    "url",
    "extra_tags",
];

pub(super) struct K6Writer<W: Write> {
    csv: csv::Writer<W>,
}

/// The tags that the rows of one request share.
#[derive(Default)]
struct Tags<'a> {
    error: &'a str,
    error_code: String,
    expected: &'a str,
    method: &'a str,
    name: &'a str,
    protocol: &'a str,
    status: String,
    tls_version: String,
    url: &'a str,
}

impl<W: Write> K6Writer<W> {
    pub(super) fn new(destination: W) -> Result<Self, csv::Error> {
        let mut csv = csv::Writer::from_writer(destination);
        csv.write_record(COLUMNS)?;
        Ok(Self { csv })
    }

    /// The rows of one request, which is also one iteration.
    pub(super) fn exchanged(
        &mut self,
        ended: Timestamp,
        prepared: &Prepared,
        url: &str,
        exchanged: &Exchanged,
    ) -> Result<(), csv::Error> {
        let expected = exchanged.outcome == Outcome::Ok;
        let tags = Tags {
            error: &exchanged.error,
            error_code: error_code(exchanged).map(|code| code.to_string()).unwrap_or_default(),
            expected: if expected { "true" } else { "false" },
            method: prepared.method.as_str(),
            name: &prepared.name,
            protocol: protocol(exchanged.version),
            status: exchanged.status.unwrap_or(0).to_string(),
            tls_version: exchanged.tls_version.as_deref().map(tls_version).unwrap_or_default(),
            url,
        };
        let phases = &exchanged.phases;
        let values = [
            ("http_reqs", 1.0),
            ("http_req_duration", milliseconds(phases.duration())),
            ("http_req_blocked", milliseconds(phases.blocked)),
            ("http_req_connecting", milliseconds(phases.connecting)),
            ("http_req_tls_handshaking", milliseconds(phases.tls_handshaking)),
            ("http_req_sending", milliseconds(phases.sending)),
            ("http_req_waiting", milliseconds(phases.waiting)),
            ("http_req_receiving", milliseconds(phases.receiving)),
            ("http_req_failed", if expected { 0.0 } else { 1.0 }),
        ];
        for (metric, value) in values {
            self.row(metric, ended, value, &tags)?;
        }
        self.untagged("data_sent", ended, exchanged.bytes_sent as f64)?;
        self.untagged("data_received", ended, exchanged.bytes_received as f64)?;
        self.untagged("iteration_duration", ended, milliseconds(exchanged.ended - exchanged.sent))?;
        self.untagged("iterations", ended, 1.0)
    }

    pub(super) fn dropped(&mut self, time: Timestamp) -> Result<(), csv::Error> {
        self.untagged("dropped_iterations", time, 1.0)
    }

    /// `under_way` requests stand for busy virtual users, `most` for those that there may be.
    pub(super) fn virtual_users(
        &mut self,
        time: Timestamp,
        under_way: u64,
        most: u64,
    ) -> Result<(), csv::Error> {
        for (metric, value) in [("vus", under_way), ("vus_max", most)] {
            let (time, value) = (time.seconds().to_string(), format!("{:.6}", value as f64));
            let mut record = [""; COLUMNS.len()];
            record[..3].copy_from_slice(&[metric, &time, &value]);
            self.csv.write_record(record)?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.csv.flush()
    }

    fn untagged(&mut self, metric: &str, time: Timestamp, value: f64) -> Result<(), csv::Error> {
        self.row(metric, time, value, &Tags::default())
    }

    fn row(&mut self, metric: &str, time: Timestamp, value: f64, tags: &Tags<'_>) -> Result<(), csv::Error> {
        self.csv.write_record([
            metric,
            &time.seconds().to_string(),
            &format!("{value:.6}"),
            "",
            tags.error,
            &tags.error_code,
            tags.expected,
            "",
            tags.method,
            tags.name,
            tags.protocol,
            SCENARIO,
            "",
            &tags.status,
            "",
            &tags.tls_version,
            tags.url,
            "",
        ])
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// k6's codes for what went wrong (<https://grafana.com/docs/k6/latest/javascript-api/error-codes/>).
fn error_code(exchanged: &Exchanged) -> Option<u16> {
    match exchanged.outcome {
        Outcome::Ok => None,
        Outcome::FailedCheck => exchanged.status.filter(|status| *status >= 400).map(|status| 1000 + status),
        Outcome::Timeout => Some(1050),
        Outcome::Dns => Some(1100),
        Outcome::Unreachable => Some(1210),
        Outcome::Refused => Some(1212),
        Outcome::Reset => Some(1220),
        Outcome::Tls => Some(1300),
        Outcome::Protocol | Outcome::Exhausted | Outcome::Dropped | Outcome::Cancelled => Some(1000),
    }
}

fn protocol(version: Option<Version>) -> &'static str {
    match version {
        Some(Version::HTTP_10) => "HTTP/1.0",
        Some(Version::HTTP_11) => "HTTP/1.1",
        Some(Version::HTTP_2) => "HTTP/2.0",
        _ => "",
    }
}

/// `TLSv1_3` in k6's spelling: `tls1.3`.
fn tls_version(rustls: &str) -> String {
    rustls.replace("TLSv", "tls").replace('_', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_versions_are_spelt_as_k6_does() {
        assert_eq!(tls_version("TLSv1_3"), "tls1.3");
    }
}
