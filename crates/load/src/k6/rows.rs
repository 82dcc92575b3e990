//! Reads k6's CSV: the rows of one request belong together, every other row stands for itself.

use std::collections::VecDeque;
use std::io::Read;

use csv::ByteRecord;

use sb_measurement::{Outcome, Timestamp};

/// Rows that belong together.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) time: Timestamp,
    pub(super) records: Vec<ByteRecord>,
    pub(super) about: About,
    /// Which run of the script it belongs to: a virtual user and its iteration. Empty: k6 did not say.
    pub(super) run: String,
}

#[derive(Debug, PartialEq)]
pub(super) enum About {
    Request(Request),
    /// A `check()` of the script failed.
    FailedCheck,
    Iterations(u64),
    Dropped(u64),
    Other,
}

/// One HTTP request, as its rows tell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) name: String,
    /// Empty: none.
    pub(super) trace_id: String,
    pub(super) ended: Timestamp,
    /// Milliseconds.
    blocked: f64,
    duration: f64,
    /// Until it was written; 0: it never was.
    sending: f64,
    status: u16,
    error_code: u32,
    /// k6 has no code for the limits of its machine.
    is_exhausted: bool,
    /// Whether the script takes it for a success.
    expected: Option<bool>,
}

impl Request {
    /// When it was handed to the HTTP client. k6's `blocked` includes connecting and the TLS handshake.
    pub(super) fn sent(&self) -> Timestamp {
        Timestamp::from_micros(self.ended.micros() - ((self.blocked + self.duration) * 1e3).round() as i64)
    }

    pub(super) fn status(&self) -> Option<u16> {
        (100..1000).contains(&self.status).then_some(self.status)
    }

    /// By k6's error codes (<https://grafana.com/docs/k6/latest/javascript-api/error-codes/>). Those from 1400 on are
    /// statuses of complete answers.
    pub(super) fn outcome(&self) -> Outcome {
        match self.error_code {
            _ if self.is_exhausted => Outcome::Exhausted,
            0 | 1400..=1599 if self.status().is_some() => {
                let is_fine = self.expected.unwrap_or((200..400).contains(&self.status));
                if is_fine { Outcome::Ok } else { Outcome::FailedCheck }
            }
            1050 | 1211 => Outcome::Timeout,
            1100..=1199 => Outcome::Dns,
            1212 => Outcome::Refused,
            1220 | 1201 => Outcome::Reset,
            1200..=1299 => Outcome::Unreachable,
            1300..=1399 => Outcome::Tls,
            _ => Outcome::Protocol,
        }
    }

    /// Without a connection nothing can have left; within one, k6 knows when the request had been written.
    pub(super) fn is_sent(&self) -> bool {
        match self.outcome() {
            Outcome::Refused | Outcome::Unreachable | Outcome::Dns | Outcome::Tls | Outcome::Exhausted => {
                false
            }
            _ => self.sending > 0.0 || self.is_answered(),
        }
    }

    pub(super) fn is_answered(&self) -> bool {
        matches!(self.outcome(), Outcome::Ok | Outcome::FailedCheck)
    }
}

/// What Go calls the errors EMFILE (and ENFILE), EADDRNOTAVAIL, ENOBUFS and ENOMEM.
const EXHAUSTED: [&str; 4] = [
    "too many open files",
    "cannot assign requested address",
    "no buffer space available",
    "cannot allocate memory",
];

/// Where the columns are; k6 leaves out those that the option `systemTags` does.
#[derive(Debug)]
struct Columns {
    count: usize,
    metric: usize,
    time: usize,
    value: usize,
    name: Option<usize>,
    url: Option<usize>,
    status: Option<usize>,
    error: Option<usize>,
    error_code: Option<usize>,
    expected: Option<usize>,
    tags: Option<usize>,
    metadata: Option<usize>,
}

/// The blocks of a CSV, in its order. A last row that is cut off, as of a k6 that was killed, is left out, and so is a
/// request whose rows are not all there.
pub(super) struct Blocks<R: Read> {
    csv: csv::Reader<R>,
    columns: Option<Columns>,
    /// A row that was read and belongs to the next block.
    ahead: VecDeque<ByteRecord>,
}

impl<R: Read> Blocks<R> {
    pub(super) fn new(source: R) -> Self {
        let csv = csv::ReaderBuilder::new()
            .flexible(true)
            .buffer_capacity(1 << 16)
            .has_headers(false)
            .from_reader(source);
        Self { csv, columns: None, ahead: VecDeque::new() }
    }

    /// The names of the columns. None: the file is empty. Returns when the first line is there.
    pub(super) fn header(&mut self) -> Result<Option<ByteRecord>, csv::Error> {
        let mut header = ByteRecord::new();
        if !self.csv.read_byte_record(&mut header)? {
            return Ok(None);
        }
        let find = |name: &str| header.iter().position(|column| column == name.as_bytes());
        if let (Some(metric), Some(time), Some(value)) =
            (find("metric_name"), find("timestamp"), find("metric_value"))
        {
            self.columns = Some(Columns {
                count: header.len(),
                metric,
                time,
                value,
                name: find("name"),
                url: find("url"),
                status: find("status"),
                error: find("error"),
                error_code: find("error_code"),
                expected: find("expected_response"),
                tags: find("extra_tags"),
                metadata: find("metadata"),
            });
        }
        Ok(Some(header))
    }

    /// The place of the times, which the caller rewrites.
    pub(super) fn time_column(&self) -> usize {
        self.columns.as_ref().map_or(1, |columns| columns.time)
    }

    fn row(&mut self) -> Result<Option<ByteRecord>, csv::Error> {
        if let Some(record) = self.ahead.pop_front() {
            return Ok(Some(record));
        }
        let count = self.columns.as_ref().map_or(0, |columns| columns.count);
        let mut record = ByteRecord::new();
        while self.csv.read_byte_record(&mut record)? {
            if record.len() == count {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn block(&mut self) -> Result<Option<Block>, csv::Error> {
        loop {
            let Some(first) = self.row()? else { return Ok(None) };
            let Some(columns) = &self.columns else { return Ok(None) };
            let Some(time) = columns.time_of(&first) else { continue };
            let metric = first.get(columns.metric).unwrap_or_default();
            let about = match metric {
                b"http_reqs" => {
                    let (request, run) = (columns.request(&first, time), columns.run(&first));
                    return self.request(request, run, first).map(Some);
                }
                b"checks" if columns.value_of(&first) == 0.0 => About::FailedCheck,
                b"iterations" => About::Iterations(columns.value_of(&first) as u64),
                b"dropped_iterations" => About::Dropped(columns.value_of(&first) as u64),
                _ => About::Other,
            };
            let run = columns.run(&first);
            return Ok(Some(Block { time, records: vec![first], about, run }));
        }
    }

    /// The rows that follow `http_reqs` with the same time, until one of another kind.
    fn request(&mut self, mut request: Request, run: String, first: ByteRecord) -> Result<Block, csv::Error> {
        let mut records = vec![first];
        let mut has_duration = false;
        while let Some(row) = self.row()? {
            let Some(columns) = &self.columns else { break };
            let metric = row.get(columns.metric).unwrap_or_default();
            if !metric.starts_with(b"http_req_") || columns.time_of(&row) != Some(request.ended) {
                self.ahead.push_back(row);
                break;
            }
            match metric {
                b"http_req_duration" => {
                    request.duration = columns.value_of(&row);
                    has_duration = true;
                }
                b"http_req_blocked" => request.blocked = columns.value_of(&row),
                b"http_req_sending" => request.sending = columns.value_of(&row),
                _ => {}
            }
            records.push(row);
        }
        let time = request.ended;
        let about = if has_duration { About::Request(request) } else { About::Other };
        Ok(Block { time, records, about, run })
    }
}

impl<R: Read> Iterator for Blocks<R> {
    type Item = Result<Block, csv::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.block().transpose()
    }
}

impl Columns {
    fn text(record: &ByteRecord, column: Option<usize>) -> &str {
        column.and_then(|column| record.get(column)).map_or("", |field| str::from_utf8(field).unwrap_or(""))
    }

    fn time_of(&self, record: &ByteRecord) -> Option<Timestamp> {
        Self::text(record, Some(self.time)).parse().ok().map(Timestamp::from_micros)
    }

    /// None and nonsense count as 0.
    fn value_of(&self, record: &ByteRecord) -> f64 {
        let value: f64 = Self::text(record, Some(self.value)).parse().unwrap_or(0.0);
        if value.is_finite() { value } else { 0.0 }
    }

    /// `vu=2&iter=7`, in whichever order.
    fn run(&self, record: &ByteRecord) -> String {
        let pairs = || Self::text(record, self.metadata).split('&');
        let of = |name: &str| pairs().find_map(|pair| pair.strip_prefix(name));
        match (of("vu="), of("iter=")) {
            (Some(user), Some(iteration)) => format!("{user}/{iteration}"),
            _ => String::new(),
        }
    }

    fn request(&self, record: &ByteRecord, ended: Timestamp) -> Request {
        let text = |column: Option<usize>| Self::text(record, column);
        let name = Some(text(self.name)).filter(|name| !name.is_empty()).unwrap_or(text(self.url));
        let trace_id = [self.metadata, self.tags].into_iter().find_map(|column| {
            let pairs = text(column).split('&');
            pairs.into_iter().find_map(|pair| pair.strip_prefix("trace_id="))
        });
        let is_id =
            |id: &&str| id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        Request {
            name: name.to_owned(),
            trace_id: trace_id.filter(is_id).unwrap_or_default().to_owned(),
            ended,
            blocked: 0.0,
            duration: 0.0,
            sending: 0.0,
            status: text(self.status).parse().unwrap_or(0),
            error_code: text(self.error_code).parse().unwrap_or(0),
            is_exhausted: EXHAUSTED.iter().any(|words| text(self.error).contains(words)),
            expected: match text(self.expected) {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
        }
    }
}
