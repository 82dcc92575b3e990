//! The rows of `invocations.csv` and `k6_metrics.csv`, written straight into bytes: at high rates this is a large part of
//! what a request costs.
//!
//! `k6_metrics.csv` has the columns of k6's own CSV output, so that notebooks written for it read it. As in k6, there
//! is one row per metric and request. Durations are milliseconds, and sizes are bytes. `timestamp` is the whole
//! second since the epoch at which the request ended. The column `name` has the request's name, `group` that of its
//! sequence. `extra_tags` has the trace's id as the published dataset has it, `xray_header=Root=ID`, by which its
//! readers join requests and traces.

use std::time::Duration;

use hyper::Version;

use super::send::Exchanged;
use sb_measurement::{Outcome, Timestamp, is_formula};
use sb_workload::k6_options::SCENARIO;

/// Columns of `k6_metrics.csv`.
pub(super) const K6_HEADER: &str = "metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,name,proto,scenario,service,status,subproto,tls_version,url,extra_tags\n";

/// What all rows of one type of request have in common, as CSV fields.
pub(super) struct Labels {
    name: Vec<u8>,
    method: Vec<u8>,
    group: Vec<u8>,
}

impl Labels {
    pub(super) fn new(name: &str, method: &str, sequence: &str) -> Self {
        let field = |text: &str| {
            let mut field = Vec::new();
            push_field(&mut field, text.as_bytes());
            field
        };
        let group = if sequence.is_empty() { String::new() } else { format!("::{sequence}") };
        Self { name: field(name), method: field(method), group: field(&group) }
    }
}

/// One request, sent or not, as a row of `invocations.csv`.
pub(super) struct Row<'a> {
    pub(super) invocation: u64,
    pub(super) labels: &'a Labels,
    /// `None`: none was sent.
    pub(super) trace_id: Option<[u8; 35]>,
    /// `None`: it was not due at any time, since its user sent it when the one before was over.
    pub(super) planned: Option<Timestamp>,
    pub(super) sent: Option<Timestamp>,
    pub(super) answered: Option<Timestamp>,
    pub(super) status: Option<u16>,
    pub(super) outcome: Outcome,
}

impl Row<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        push_decimal(out, self.invocation);
        out.push(b',');
        out.extend_from_slice(&self.labels.name);
        out.push(b',');
        if let Some(id) = &self.trace_id {
            out.extend_from_slice(id);
        }
        out.push(b',');
        if let Some(planned) = self.planned {
            push_fixed(out, planned.micros(), 6);
        }
        out.push(b',');
        if let Some(sent) = self.sent {
            push_fixed(out, sent.micros(), 6);
        }
        out.push(b',');
        if let Some(answered) = self.answered {
            push_fixed(out, answered.micros(), 6);
        }
        out.push(b',');
        if let Some((answered, sent)) = self.answered.zip(self.sent) {
            push_fixed(out, answered.micros() - sent.micros(), 3);
        }
        out.push(b',');
        if let Some((answered, planned)) = self.answered.zip(self.planned) {
            push_fixed(out, answered.micros() - planned.micros(), 3);
        }
        out.push(b',');
        if let Some(status) = self.status {
            push_decimal(out, u64::from(status));
        }
        out.push(b',');
        out.extend_from_slice(self.outcome.name().as_bytes());
        out.push(b'\n');
    }
}

/// The rows of one request in `k6_metrics.csv`.
pub(super) fn k6_request(
    out: &mut Vec<u8>,
    tags: &mut Vec<u8>,
    ended: Timestamp,
    request: &Row<'_>,
    url: &[u8],
    exchanged: &Exchanged,
) {
    let labels = request.labels;
    let expected = exchanged.outcome == Outcome::Ok;
    // Everything after the value is alike in all rows of the request.
    tags.clear();
    tags.push(b',');
    tags.push(b',');
    push_field(tags, exchanged.error.as_bytes());
    tags.push(b',');
    if let Some(code) = error_code(exchanged) {
        push_decimal(tags, u64::from(code));
    }
    tags.extend_from_slice(if expected { b",true," } else { b",false," });
    tags.extend_from_slice(&labels.group);
    tags.push(b',');
    tags.extend_from_slice(&labels.method);
    tags.push(b',');
    tags.extend_from_slice(&labels.name);
    tags.push(b',');
    tags.extend_from_slice(protocol(exchanged.version).as_bytes());
    tags.push(b',');
    tags.extend_from_slice(SCENARIO.as_bytes());
    tags.extend_from_slice(b",,");
    push_decimal(tags, u64::from(exchanged.status.unwrap_or(0)));
    tags.extend_from_slice(b",,");
    tags.extend_from_slice(exchanged.tls_version.as_bytes());
    tags.push(b',');
    tags.extend_from_slice(url);
    tags.push(b',');
    if let Some(id) = &request.trace_id {
        tags.extend_from_slice(b"xray_header=Root=");
        tags.extend_from_slice(id);
    }
    tags.push(b'\n');

    let phases = &exchanged.phases;
    let mut seconds = Vec::with_capacity(16);
    push_fixed(&mut seconds, ended.seconds(), 0);
    let mut row = |metric: &str, value: Value| {
        out.extend_from_slice(metric.as_bytes());
        out.push(b',');
        out.extend_from_slice(&seconds);
        out.push(b',');
        value.push(out);
        out.extend_from_slice(tags);
    };
    row("http_reqs", Value::Whole(1));
    row("http_req_duration", Value::Time(phases.duration()));
    row("http_req_blocked", Value::Time(phases.blocked));
    row("http_req_connecting", Value::Time(phases.connecting));
    row("http_req_tls_handshaking", Value::Time(phases.tls_handshaking));
    row("http_req_sending", Value::Time(phases.sending));
    row("http_req_waiting", Value::Time(phases.waiting));
    row("http_req_receiving", Value::Time(phases.receiving));
    row("http_req_failed", Value::Whole(u64::from(!expected)));
    k6_untagged(out, "data_sent", ended, Value::Whole(exchanged.bytes_sent));
    k6_untagged(out, "data_received", ended, Value::Whole(exchanged.bytes_received));
}

/// An iteration: all requests of an invocation.
pub(super) fn k6_iteration(out: &mut Vec<u8>, ended: Timestamp, took: Duration) {
    k6_untagged(out, "iteration_duration", ended, Value::Time(took));
    k6_untagged(out, "iterations", ended, Value::Whole(1));
}

pub(super) fn k6_dropped(out: &mut Vec<u8>, time: Timestamp) {
    k6_untagged(out, "dropped_iterations", time, Value::Whole(1));
}

/// `under_way` requests stand for busy virtual users, `most` for those that there may be.
pub(super) fn k6_virtual_users(out: &mut Vec<u8>, time: Timestamp, under_way: u64, most: u64) {
    for (metric, value) in [("vus", under_way), ("vus_max", most)] {
        k6_metric(out, metric, time, Value::Whole(value));
        out.extend_from_slice(b",,,,,,,,,,,,,,,\n");
    }
}

fn k6_untagged(out: &mut Vec<u8>, metric: &str, time: Timestamp, value: Value) {
    k6_metric(out, metric, time, value);
    out.extend_from_slice(b",,,,,,,,,");
    out.extend_from_slice(SCENARIO.as_bytes());
    out.extend_from_slice(b",,,,,,\n");
}

fn k6_metric(out: &mut Vec<u8>, metric: &str, time: Timestamp, value: Value) {
    out.extend_from_slice(metric.as_bytes());
    out.push(b',');
    push_fixed(out, time.seconds(), 0);
    out.push(b',');
    value.push(out);
}

/// A metric's value, always with six decimals.
#[derive(Clone, Copy)]
enum Value {
    Whole(u64),
    /// In milliseconds.
    Time(Duration),
}

impl Value {
    fn push(self, out: &mut Vec<u8>) {
        match self {
            Self::Whole(value) => {
                push_decimal(out, value);
                out.extend_from_slice(b".000000");
            }
            Self::Time(time) => push_fixed(out, i64::try_from(time.as_nanos()).unwrap_or(i64::MAX), 6),
        }
    }
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
        Outcome::Protocol | Outcome::Exhausted | Outcome::Dropped | Outcome::Skipped | Outcome::Cancelled => {
            Some(1000)
        }
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

pub(super) fn push_decimal(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// A whole number of units, of which 10^`places` make one: 1500 with 3 places is `1.500`.
fn push_fixed(out: &mut Vec<u8>, value: i64, places: usize) {
    if value < 0 {
        out.push(b'-');
    }
    let mut value = value.unsigned_abs();
    let mut digits = [b'0'; 24];
    let mut start = digits.len();
    for place in 0.. {
        if place == places && places > 0 {
            start -= 1;
            digits[start] = b'.';
        }
        if place > places && value == 0 {
            break;
        }
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits[start..]);
}

/// A text as a CSV field, in quotes where it needs them.
pub(super) fn push_field(out: &mut Vec<u8>, text: &[u8]) {
    let cell;
    let text = if is_formula(text) {
        cell = [b"'", text].concat();
        &cell[..]
    } else {
        text
    };
    if !text.iter().any(|byte| b",\"\r\n".contains(byte)) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use sb_measurement::{Invocation, InvocationReader};

    fn fixed(value: i64, places: usize) -> String {
        let mut out = Vec::new();
        push_fixed(&mut out, value, places);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_as_the_reader_of_the_file_writes_them() {
        assert_eq!(fixed(0, 6), "0.000000");
        assert_eq!(fixed(-1, 6), "-0.000001");
        assert_eq!(fixed(1_764_000_000_123_456, 6), "1764000000.123456");
        assert_eq!(fixed(i64::MIN, 3), "-9223372036854775.808");
        assert_eq!(fixed(i64::MAX, 0), "9223372036854775807");
        assert_eq!(fixed(0, 0), "0");
        assert_eq!(fixed(10, 0), "10");
    }

    proptest! {
        #[test]
        fn rows_read_back_as_what_they_were(
            invocation: u64,
            name in "[ -~üé\r\n]{1,12}",
            due in -1_000_000_000_000_000_i64..2_000_000_000_000_000,
            is_planned: bool,
            sent in proptest::option::of(-10_000_000_i64..10_000_000),
            answered in proptest::option::of(0_i64..100_000_000),
            status in proptest::option::of(100_u16..1000),
        ) {
            let planned = is_planned.then(|| Timestamp::from_micros(due));
            let sent = sent.map(|late| Timestamp::from_micros(due + late));
            let answered = sent.zip(answered).map(|(sent, took)| Timestamp::from_micros(sent.micros() + took));
            let labels = Labels::new(&name, "GET", "");
            let trace_id = *b"1-0a1b2c3d-00112233445566778899aabb";
            let mut out = b"invocation,request,trace_id,planned,sent,answered,latency_ms,latency_from_planned_ms,status,outcome\n".to_vec();
            let row = Row {
                invocation, labels: &labels, trace_id: Some(trace_id), planned, sent, answered, status, outcome: Outcome::Ok,
            };
            row.write(&mut out);
            let expected = Invocation {
                invocation, request: name, trace_id: String::from_utf8(trace_id.to_vec()).unwrap(), planned, sent, answered,
                status, outcome: Outcome::Ok,
            };
            let read: Vec<_> = InvocationReader::new(std::io::Cursor::new(out)).unwrap().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read, vec![expected]);
        }
    }
}
