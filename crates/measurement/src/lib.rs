//! What a load leaves behind: one [`Invocation`] per row of `invocations.csv`, and a [`LoadSummary`]. The load engine
//! writes them, reports and trace collection read them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The file of rows, and that of the summary, in the folder of an invocation.
pub const INVOCATIONS_FILE: &str = "invocations.csv";
pub const SUMMARY_FILE: &str = "load_summary.json";

/// One invocation: a row of `invocations.csv`. Rows come in the order in which invocations ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// From 1, in the order of the plan.
    pub invocation: u64,
    /// The request's name, which is also its type.
    pub request: String,
    /// `1-<8 hex digits>-<24 hex digits>`, as X-Ray has it.
    /// Empty: nothing tells which trace it is, as of a k6 script that tags no requests.
    pub trace_id: String,
    /// `None`: only the generator knew, as k6 does.
    pub planned: Option<Timestamp>,
    /// When the request was handed to the HTTP client (before a connection is looked for); `None`: never sent.
    pub sent: Option<Timestamp>,
    /// When the last byte of the answer was there; `None`: no complete answer.
    pub answered: Option<Timestamp>,
    /// The status code, also where the rest of the answer never came.
    pub status: Option<u16>,
    pub outcome: Outcome,
}

impl Invocation {
    /// Microseconds from sent to answered.
    pub fn latency_micros(&self) -> Option<i64> {
        Some(self.answered?.micros() - self.sent?.micros())
    }

    /// Microseconds from the planned time to answered: includes what the load generator or a full queue added, so
    /// a stalled server shows in every invocation that was due meanwhile.
    pub fn latency_from_planned_micros(&self) -> Option<i64> {
        Some(self.answered?.micros() - self.planned?.micros())
    }
}

/// The id of a trace as [`Invocation::trace_id`] has it: tracers that follow W3C write the same as 32 hexadecimal digits.
pub fn sent_id(trace_id: &str) -> Cow<'_, str> {
    if trace_id.len() == 32 && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let id = trace_id.to_ascii_lowercase();
        return Cow::Owned(format!("1-{}-{}", &id[..8], &id[8..]));
    }
    Cow::Borrowed(trace_id)
}

/// How an invocation ended. The names are stable: they stand in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A complete answer that met the request's `expect`.
    Ok,
    /// A complete answer that did not.
    FailedCheck,
    /// No complete answer within the workload's timeout.
    Timeout,
    /// Nobody listens at the address.
    Refused,
    /// No connection for another reason: no route, network down.
    Unreachable,
    /// The connection was reset or closed before the answer was complete.
    Reset,
    /// The host name could not be resolved.
    Dns,
    /// The TLS handshake failed.
    Tls,
    /// What came back is not HTTP.
    Protocol,
    /// This machine ran out of file descriptors, ports or memory: a fault of the load generator.
    Exhausted,
    /// Never sent: too many requests were under way.
    Dropped,
    /// Never sent: an earlier request of its sequence failed.
    Skipped,
    /// Sent, then given up because the load was cancelled.
    Cancelled,
}

impl Outcome {
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::FailedCheck,
        Self::Timeout,
        Self::Refused,
        Self::Unreachable,
        Self::Reset,
        Self::Dns,
        Self::Tls,
        Self::Protocol,
        Self::Exhausted,
        Self::Dropped,
        Self::Skipped,
        Self::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::FailedCheck => "failed_check",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Reset => "reset",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::Exhausted => "exhausted",
            Self::Dropped => "dropped",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the request may have reached the application, so that a trace of it can be expected.
    pub fn may_leave_a_trace(self) -> bool {
        match self {
            Self::Ok | Self::FailedCheck | Self::Timeout | Self::Reset | Self::Protocol | Self::Cancelled => {
                true
            }
            Self::Refused
            | Self::Unreachable
            | Self::Dns
            | Self::Tls
            | Self::Exhausted
            | Self::Dropped
            | Self::Skipped => false,
        }
    }

    /// Sent, and not answered as expected.
    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Ok | Self::Dropped | Self::Skipped)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// A point in time: whole microseconds since 1970-01-01 UTC. Written as seconds with six decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        write!(out, "{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

impl FromStr for Timestamp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        decimal(text, 6)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a time in epoch seconds with six decimals"))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a load was, in numbers: `load_summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSummary {
    /// The version of this shape: [`LoadSummary::VERSION`].
    pub version: u32,
    /// Invocations that the load has by plan. A cancelled load leaves some of them neither sent nor dropped.
    pub planned: u64,
    pub sent: u64,
    /// Complete answers, as expected or not.
    pub answered: u64,
    /// Sent, and not answered as expected: every outcome but `ok` and `dropped`.
    pub failed: u64,
    /// Due but never sent, because too many requests were under way.
    pub dropped: u64,
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Of complete answers, from the moment of sending. `None`: nothing was answered.
    pub latency_ms: Option<Percentiles>,
    /// Of complete answers, from the planned time; `None` also where that is not known.
    pub latency_from_planned_ms: Option<Percentiles>,
    /// Sent minus planned, over all that were sent. `None`: nothing was sent, or k6 sent it, which does not tell.
    pub lateness_ms: Option<Lateness>,
    pub started: Timestamp,
    pub ended: Timestamp,
    pub cancelled: bool,
    /// Of a script: how often it ran to its end. It may send several requests each time, or none, so `planned` and
    /// `dropped` count its runs, and `sent`, `answered` and `failed` its requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u64>,
    /// What to know about the measurement, though it may be used: one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Why the measurement must not be used, one sentence with numbers per reason; empty: it is valid.
    pub invalid: Vec<String>,
}

impl LoadSummary {
    pub const VERSION: u32 = 1;
}

/// Milliseconds. The value at a percentile is at most 0.1 % above the true one (a histogram with three significant
/// digits); the maximum likewise.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

/// Milliseconds, with the precision of [`Percentiles`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lateness {
    pub p50: f64,
    pub p99: f64,
    pub max: f64,
}

#[derive(Debug, thiserror::Error)]
pub enum MeasurementError {
    #[error("cannot read the invocations: {0}; is the file complete and readable?")]
    Read(#[from] io::Error),
    #[error("invocations.csv is not valid CSV: {0}; restore the file or run the invocation again")]
    Csv(#[from] csv::Error),
    #[error(
        "invocations.csv begins with the columns `{found}` instead of `{expected}`: it was written by another tool or version"
    )]
    Header { found: String, expected: String },
    #[error(
        "invocations.csv, line {line}: column `{column}`: {problem}; restore the file or run the invocation again"
    )]
    Value { line: u64, column: &'static str, problem: String },
}

/// Columns of `invocations.csv`.
pub const COLUMNS: [&str; 10] = [
    "invocation",
    "request",
    "trace_id",
    "planned",
    "sent",
    "answered",
    "latency_ms",
    "latency_from_planned_ms",
    "status",
    "outcome",
];

/// Writes `invocations.csv`, row by row.
pub struct InvocationWriter<W: Write> {
    csv: csv::Writer<W>,
}

impl<W: Write> InvocationWriter<W> {
    /// Writes the header at once.
    pub fn new(destination: W) -> Result<Self, csv::Error> {
        let mut csv = csv::Writer::from_writer(destination);
        csv.write_record(COLUMNS)?;
        Ok(Self { csv })
    }

    pub fn write(&mut self, row: &Invocation) -> Result<(), csv::Error> {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        self.csv.write_record([
            row.invocation.to_string().as_str(),
            &row.request,
            &row.trace_id,
            &time(row.planned),
            &time(row.sent),
            &time(row.answered),
            &milliseconds(row.latency_micros()),
            &milliseconds(row.latency_from_planned_micros()),
            &row.status.map(|status| status.to_string()).unwrap_or_default(),
            row.outcome.name(),
        ])
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.csv.flush()
    }
}

/// Reads `invocations.csv`, row by row and strictly. A last line without a line end, as a killed process leaves it,
/// is no row; [`cut_off`](InvocationReader::cut_off) returns it.
pub struct InvocationReader<R: Read> {
    rows: csv::StringRecordsIntoIter<io::Take<R>>,
    line: u64,
    cut_off: Option<String>,
}

impl<R: Read + Seek> InvocationReader<R> {
    pub fn new(mut source: R) -> Result<Self, MeasurementError> {
        let (complete, cut_off) = last_line_end(&mut source)?;
        source.seek(SeekFrom::Start(0))?;
        let mut csv = csv::Reader::from_reader(source.take(complete));
        let header = csv.headers()?;
        if header.iter().ne(COLUMNS) {
            return Err(MeasurementError::Header {
                found: header.iter().collect::<Vec<_>>().join(","),
                expected: COLUMNS.join(","),
            });
        }
        Ok(Self { rows: csv.into_records(), line: 1, cut_off })
    }
}

impl<R: Read> InvocationReader<R> {
    /// The partly written last line, if there is one.
    pub fn cut_off(&self) -> Option<&str> {
        self.cut_off.as_deref()
    }
}

impl<R: Read> Iterator for InvocationReader<R> {
    type Item = Result<Invocation, MeasurementError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.rows.next()?;
        self.line += 1;
        let line = self.line;
        Some(record.map_err(MeasurementError::from).and_then(|record| parse(&record, line)))
    }
}

/// The offset behind the last line end, and the text after it.
fn last_line_end<R: Read + Seek>(source: &mut R) -> io::Result<(u64, Option<String>)> {
    const BLOCK: u64 = 4096;
    let length = source.seek(SeekFrom::End(0))?;
    let mut tail = Vec::new();
    let mut begin = length;
    while begin > 0 {
        let size = begin.min(BLOCK);
        begin -= size;
        source.seek(SeekFrom::Start(begin))?;
        let mut block = Vec::new();
        source.by_ref().take(size).read_to_end(&mut block)?;
        let line_end = block.iter().rposition(|byte| *byte == b'\n');
        tail.splice(0..0, block[line_end.map_or(0, |at| at + 1)..].iter().copied());
        if line_end.is_some() {
            break;
        }
    }
    let cut_off = (!tail.is_empty()).then(|| String::from_utf8_lossy(&tail).into_owned());
    Ok((length - tail.len() as u64, cut_off))
}

fn parse(record: &csv::StringRecord, line: u64) -> Result<Invocation, MeasurementError> {
    let wrong =
        |column: usize, problem: String| MeasurementError::Value { line, column: COLUMNS[column], problem };
    let number = |column: usize| {
        record[column]
            .parse::<u64>()
            .map_err(|_| wrong(column, format!("`{}` is not a whole number", &record[column])))
    };
    let optional = |column: usize| match &record[column] {
        "" => Ok(None),
        text => text.parse::<Timestamp>().map(Some).map_err(|problem| wrong(column, problem)),
    };
    let row = Invocation {
        invocation: number(0)?,
        request: record[1].to_owned(),
        trace_id: record[2].to_owned(),
        planned: optional(3)?,
        sent: optional(4)?,
        answered: optional(5)?,
        status: match &record[8] {
            "" => None,
            text => Some(
                text.parse::<u16>()
                    .ok()
                    .filter(|status| (100..1000).contains(status))
                    .ok_or_else(|| wrong(8, format!("`{text}` is not a status code")))?,
            ),
        },
        outcome: Outcome::ALL
            .into_iter()
            .find(|outcome| outcome.name() == &record[9])
            .ok_or_else(|| wrong(9, format!("`{}` is not a known outcome", &record[9])))?,
    };
    if row.answered.is_some() && row.sent.is_none() {
        return Err(wrong(5, "answered without having been sent".to_owned()));
    }
    for (column, micros) in [(6, row.latency_micros()), (7, row.latency_from_planned_micros())] {
        let expected = milliseconds(micros);
        if record[column] != *expected {
            return Err(wrong(column, format!("`{}`, but the times give `{expected}`", &record[column])));
        }
    }
    Ok(row)
}

/// Microseconds as milliseconds with three decimals; nothing for `None`.
fn milliseconds(micros: Option<i64>) -> String {
    let Some(micros) = micros else { return String::new() };
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    format!("{sign}{}.{:03}", micros / 1000, micros % 1000)
}

/// Reads a decimal with exactly `places` digits after the point, scaled to a whole number.
fn decimal(text: &str, places: usize) -> Option<i64> {
    let (whole, fraction) = text.strip_prefix('-').unwrap_or(text).split_once('.')?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if fraction.len() != places || !digits(whole) || !digits(fraction) {
        return None;
    }
    let magnitude: i64 = format!("{whole}{fraction}").parse().ok()?;
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn row() -> Invocation {
        Invocation {
            invocation: 1,
            request: "upload, \"large\"".to_owned(),
            trace_id: "1-5759e988-bd862e3fe1be46a994272793".to_owned(),
            planned: Some(Timestamp::from_micros(1_700_000_000_000_000)),
            sent: Some(Timestamp::from_micros(1_700_000_000_000_042)),
            answered: Some(Timestamp::from_micros(1_700_000_000_012_345)),
            status: Some(201),
            outcome: Outcome::Ok,
        }
    }

    fn dropped() -> Invocation {
        Invocation {
            invocation: 2,
            sent: None,
            answered: None,
            status: None,
            outcome: Outcome::Dropped,
            ..row()
        }
    }

    fn written(rows: &[Invocation]) -> String {
        let mut bytes = Vec::new();
        let mut writer = InvocationWriter::new(&mut bytes).unwrap();
        for row in rows {
            writer.write(row).unwrap();
        }
        writer.flush().unwrap();
        drop(writer);
        String::from_utf8(bytes).unwrap()
    }

    fn read(text: &str) -> (Result<Vec<Invocation>, MeasurementError>, Option<String>) {
        match InvocationReader::new(Cursor::new(text)) {
            Ok(reader) => {
                let cut_off = reader.cut_off().map(str::to_owned);
                (reader.collect(), cut_off)
            }
            Err(error) => (Err(error), None),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let rows = vec![row(), dropped()];
        let text = written(&rows);
        assert_eq!(
            text.lines().nth(1).unwrap(),
            "1,\"upload, \"\"large\"\"\",1-5759e988-bd862e3fe1be46a994272793,1700000000.000000,1700000000.000042,\
             1700000000.012345,12.303,12.345,201,ok"
        );
        let (read, cut_off) = read(&text);
        assert_eq!(read.unwrap(), rows);
        assert_eq!(cut_off, None);
    }

    #[test]
    fn an_id_of_w3c_is_that_which_was_sent() {
        for (id, expected) in [
            ("5759E988bd862e3fe1be46a994272793", "1-5759e988-bd862e3fe1be46a994272793"),
            ("1-5759e988-bd862e3fe1be46a994272793", "1-5759e988-bd862e3fe1be46a994272793"),
            ("4bf9", "4bf9"),
            ("", ""),
        ] {
            assert_eq!(sent_id(id), expected);
        }
    }

    #[test]
    fn a_partly_written_last_line_is_reported_and_is_no_row() {
        let text = written(&[row(), dropped()]);
        let whole_rows = |text: &str| text.matches('\n').count().saturating_sub(1);
        let header = text.find('\n').unwrap();
        for length in header + 1..text.len() {
            let part = &text[..length];
            let (rows, cut_off) = read(part);
            assert_eq!(rows.unwrap().len(), whole_rows(part), "{part}");
            assert_eq!(cut_off.is_some(), !part.ends_with('\n'), "{part}");
        }
    }

    #[test]
    fn a_cut_off_line_longer_than_a_block_is_found_whole() {
        let tail = "9".repeat(10_000);
        let (rows, cut_off) = read(&(written(&[row()]) + &tail));
        assert_eq!((rows.unwrap().len(), cut_off.unwrap()), (1, tail));
    }

    #[test]
    fn damaged_rows_are_refused_with_their_place() {
        #[track_caller]
        fn check(from: &str, to: &str, expected: &str) {
            let text = written(&[row(), dropped()]);
            let damaged = text.replacen(from, to, 1);
            assert_ne!(text, damaged);
            let message = read(&damaged).0.unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        check("12.303", "12.304", "line 2: column `latency_ms`: `12.304`, but the times give `12.303`");
        check("1700000000.000042", "1700000000.00004", "column `sent`");
        check("1700000000.000042", "", "column `answered`: answered without");
        check(",ok", ",okay", "`okay` is not a known outcome");
        check("201", "20", "`20` is not a status code");
        check("\n2,", "\nx,", "line 3: column `invocation`: `x` is not a whole number");
        check("trace_id", "traceid", "another tool or version");
        check(",dropped", "", "not valid CSV");
    }

    #[test]
    fn every_outcome_has_the_same_name_in_csv_and_json() {
        for outcome in Outcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }

    #[test]
    fn times_keep_their_microseconds() {
        for (micros, text) in [
            (0, "0.000000"),
            (1_500_000, "1.500000"),
            (-1, "-0.000001"),
            (1_795_415_068_000_001, "1795415068.000001"),
        ] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
        for text in ["", "1", "1.5", "+1.000000", "1.0000000", "1e3.000000", "99999999999999.000000"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
