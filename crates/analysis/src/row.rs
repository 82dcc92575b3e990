//! The rows of trace_breakdown.csv and invalid_traces.csv, in the published dataset's format, so that notebooks
//! written for it keep working.

use std::io::{self, Read};

use crate::invalid::Invalid;
use crate::path::breakdown::{Activity, Parts};
use crate::python::{parse_duration, parse_list, push_duration, push_integer, push_list, push_number};
use crate::span::{SpanIndex, Trace, microseconds};
use sb_measurement::{of_cell, to_cell};

pub use crate::python::format_duration;

/// The first line of trace_breakdown.csv.
pub const BREAKDOWN_HEADER: &str = "trace_id,start_time,end_time,duration,url,num_cold_starts,errors,throttles,faults,\
                                    services,longest_path_names,orchestration,trigger,container_initialization,\
                                    runtime_initialization,computation,queing,overhead,external_service,unclassified\r\n";

/// The first line of invalid_traces.csv.
pub(crate) const INVALID_HEADER: &str = "trace_id,message\r\n";

/// One valid trace: a row of trace_breakdown.csv. Its texts may be borrowed from the trace.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakdownRow<S = String> {
    /// The id of the trace.
    pub trace_id: S,
    /// Seconds since the epoch.
    pub start_time: f64,
    /// Seconds since the epoch.
    pub end_time: f64,
    /// Microseconds, as the tracer gave it.
    pub duration: i64,
    /// Empty where the trace has no gateway.
    pub url: S,
    /// Cold starts on the critical path.
    pub num_cold_starts: u64,
    /// How many spans are flagged as the caller's error.
    pub errors: u64,
    /// How many spans are flagged as throttled.
    pub throttles: u64,
    /// How many spans are flagged as the service's fault.
    pub faults: u64,
    /// The origins of all spans that have one.
    pub services: Vec<S>,
    /// The names of the spans on the critical path.
    pub longest_path_names: Vec<S>,
    /// Microseconds per activity.
    pub parts: Parts,
}

/// Which gateway's URL is that of the trace, where several have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Url {
    /// That of the gateway nearest to the root: the one that was called.
    Called,
    /// The last one in the order of the file, as in the published dataset.
    Last,
}

impl<'t> BreakdownRow<&'t str> {
    pub(crate) fn new(
        trace: &'t Trace<'_>,
        path: &[SpanIndex],
        parts: Parts,
        num_cold_starts: u64,
        url: Url,
    ) -> Self {
        let mut row = Self {
            trace_id: &trace.id,
            start_time: trace.span(trace.root()).start,
            end_time: trace.span(trace.last()).end,
            duration: microseconds(trace.duration),
            url: self::url(trace, url),
            num_cold_starts,
            errors: 0,
            throttles: 0,
            faults: 0,
            services: services(trace),
            longest_path_names: path.iter().map(|&span| &*trace.span(span).name).collect(),
            parts,
        };
        for span in trace.spans() {
            row.errors += u64::from(span.flags.error);
            row.throttles += u64::from(span.flags.throttle);
            row.faults += u64::from(span.flags.fault);
        }
        row
    }

    pub(crate) fn into_owned(self) -> BreakdownRow {
        self.with_texts(|text| (*text).to_owned())
    }
}

/// Empty where no span has one.
fn url<'t>(trace: &'t Trace<'_>, which: Url) -> &'t str {
    let mut with_url = trace.indices().filter(|&span| trace.span(span).url.is_some());
    let found = match which {
        Url::Last => with_url.last(),
        Url::Called => match (with_url.next(), with_url.next()) {
            (Some(first), Some(second)) => [first, second]
                .into_iter()
                .chain(with_url)
                .min_by(|&left, &right| trace.by_depth(left, right)),
            (first, _) => first,
        },
    };
    found.and_then(|span| trace.span(span).url.as_deref()).unwrap_or_default()
}

impl BreakdownRow {
    pub(crate) fn as_borrowed(&self) -> BreakdownRow<&str> {
        self.with_texts(String::as_str)
    }
}

impl<S> BreakdownRow<S> {
    fn with_texts<'s, T>(&'s self, text: impl Fn(&'s S) -> T) -> BreakdownRow<T> {
        BreakdownRow {
            trace_id: text(&self.trace_id),
            start_time: self.start_time,
            end_time: self.end_time,
            duration: self.duration,
            url: text(&self.url),
            num_cold_starts: self.num_cold_starts,
            errors: self.errors,
            throttles: self.throttles,
            faults: self.faults,
            services: self.services.iter().map(&text).collect(),
            longest_path_names: self.longest_path_names.iter().map(&text).collect(),
            parts: self.parts,
        }
    }
}

impl<S: AsRef<str>> BreakdownRow<S> {
    /// Microseconds spent on an activity on the critical path; `None` where it got no piece of time.
    pub fn part(&self, activity: Activity) -> Option<i64> {
        self.parts.get(activity)
    }

    /// Appends the row, its line end included.
    pub fn write(&self, out: &mut String) {
        push_field(out, self.trace_id.as_ref());
        out.push(',');
        push_number(out, self.start_time);
        out.push(',');
        push_number(out, self.end_time);
        out.push(',');
        push_field_of(out, |out| push_duration(out, self.duration));
        out.push(',');
        push_field(out, self.url.as_ref());
        for count in [self.num_cold_starts, self.errors, self.throttles, self.faults] {
            out.push(',');
            push_integer(out, count);
        }
        for list in [&self.services, &self.longest_path_names] {
            out.push(',');
            push_field_of(out, |out| push_list(out, list));
        }
        for (_, part) in self.parts.iter() {
            out.push(',');
            if let Some(part) = part {
                push_field_of(out, |out| push_duration(out, part));
            }
        }
        out.push_str("\r\n");
    }
}

/// Each origin in the order in which its span is first met: itself, then the parent that it refers to.
fn services<'t>(trace: &'t Trace<'_>) -> Vec<&'t str> {
    let mut met = vec![false; trace.spans().len()];
    let mut services = Vec::new();
    for span in trace.indices() {
        for span in [Some(span), trace.parent(span)].into_iter().flatten() {
            if !std::mem::replace(&mut met[span.get()], true)
                && let Some(origin) = &trace.span(span).origin
            {
                services.push(&**origin);
            }
        }
    }
    services
}

/// Appends a row of invalid_traces.csv.
pub(crate) fn write_invalid(out: &mut String, trace_id: &str, reason: &Invalid) {
    push_field(out, trace_id);
    out.push(',');
    push_field(out, &reason.message());
    out.push_str("\r\n");
}

/// In quotes only where needed, and never a formula.
fn push_field(out: &mut String, field: &str) {
    let field = &*to_cell(field);
    if needs_quotes(field) {
        push_quoted(out, field);
    } else {
        out.push_str(field);
    }
}

/// What `write` appends becomes a field.
fn push_field_of(out: &mut String, write: impl FnOnce(&mut String)) {
    let start = out.len();
    write(out);
    if needs_quotes(&out[start..]) {
        let field = out.split_off(start);
        push_quoted(out, &field);
    }
}

fn needs_quotes(field: &str) -> bool {
    field.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'))
}

fn push_quoted(out: &mut String, field: &str) {
    out.push('"');
    for (place, part) in field.split('"').enumerate() {
        if place > 0 {
            out.push_str("\"\"");
        }
        out.push_str(part);
    }
    out.push('"');
}

/// A trace_breakdown.csv that cannot be read back. Rows count from 1, the header apart.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// It is no CSV, or cannot be read.
    #[error("the breakdown cannot be read: {0}; analyse the traces again")]
    Csv(#[from] csv::Error),
    /// A column is not there.
    #[error("the breakdown has no column `{column}`; analyse the traces again")]
    MissingColumn {
        /// Its name.
        column: &'static str,
    },
    /// A field is not what its column holds.
    #[error(
        "row {row}: `{text}` is no {expected} (column `{column}`); correct it or analyse the traces again"
    )]
    Field {
        /// The row, from 1.
        row: usize,
        /// The column's name.
        column: &'static str,
        /// What the field holds.
        text: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl From<io::Error> for RowError {
    fn from(error: io::Error) -> Self {
        Self::Csv(error.into())
    }
}

/// Reads a trace_breakdown.csv, ours or the published dataset's; columns may come in any order, and unknown ones
/// are passed over.
///
/// # Errors
/// The input cannot be read, lacks a column, or has a field that is not what its column holds.
pub fn read_breakdown(input: impl Read) -> Result<Vec<BreakdownRow>, RowError> {
    let mut rows = Vec::new();
    for_each_row(input, |row| rows.push(row))?;
    Ok(rows)
}

/// Gives each row of a trace_breakdown.csv on as it is read.
pub(crate) fn for_each_row(input: impl Read, mut take: impl FnMut(BreakdownRow)) -> Result<(), RowError> {
    let mut reader = csv::Reader::from_reader(input);
    let columns = Columns::find(reader.headers()?)?;
    let mut record = csv::StringRecord::new();
    let mut number = 1;
    while reader.read_record(&mut record)? {
        take(columns.row(&record, number)?);
        number += 1;
    }
    Ok(())
}

/// Reads the trace ids of an invalid_traces.csv; empty where the id could not be read.
pub(crate) fn read_invalid(input: impl Read) -> Result<Vec<String>, RowError> {
    let mut reader = csv::Reader::from_reader(input);
    let column = place_of(reader.headers()?, "trace_id")?;
    reader.records().map(|record| Ok(of_cell(record?.get(column).unwrap_or_default()).to_owned())).collect()
}

const PLAIN: [&str; 11] = [
    "trace_id",
    "start_time",
    "end_time",
    "duration",
    "url",
    "num_cold_starts",
    "errors",
    "throttles",
    "faults",
    "services",
    "longest_path_names",
];

/// Where each column is.
fn place_of(header: &csv::StringRecord, column: &'static str) -> Result<usize, RowError> {
    header.iter().position(|name| name == column).ok_or(RowError::MissingColumn { column })
}

struct Columns {
    plain: [usize; PLAIN.len()],
    parts: [usize; Activity::ALL.len()],
}

impl Columns {
    fn find(header: &csv::StringRecord) -> Result<Self, RowError> {
        let place = |column| place_of(header, column);
        let mut columns = Self { plain: [0; PLAIN.len()], parts: [0; Activity::ALL.len()] };
        for (found, column) in columns.plain.iter_mut().zip(PLAIN) {
            *found = place(column)?;
        }
        for (found, activity) in columns.parts.iter_mut().zip(Activity::ALL) {
            *found = place(activity.name())?;
        }
        Ok(columns)
    }

    fn row(&self, record: &csv::StringRecord, number: usize) -> Result<BreakdownRow, RowError> {
        let [id, start, end, duration, url, cold_starts, errors, throttles, faults, services, names] =
            std::array::from_fn(|place| Field {
                row: number,
                column: PLAIN[place],
                text: record.get(self.plain[place]).unwrap_or_default(),
            });
        let mut parts = Parts::default();
        for (activity, &place) in Activity::ALL.into_iter().zip(&self.parts) {
            let field =
                Field { column: activity.name(), text: record.get(place).unwrap_or_default(), ..duration };
            if !field.text.is_empty() {
                parts.set(activity, Some(field.duration()?));
            }
        }
        Ok(BreakdownRow {
            trace_id: of_cell(id.text).to_owned(),
            start_time: start.number()?,
            end_time: end.number()?,
            duration: duration.duration()?,
            url: of_cell(url.text).to_owned(),
            num_cold_starts: cold_starts.count()?,
            errors: errors.count()?,
            throttles: throttles.count()?,
            faults: faults.count()?,
            services: services.list()?,
            longest_path_names: names.list()?,
            parts,
        })
    }
}

#[derive(Clone, Copy)]
struct Field<'a> {
    row: usize,
    column: &'static str,
    text: &'a str,
}

impl Field<'_> {
    fn number(self) -> Result<f64, RowError> {
        self.expect("time in seconds", self.text.parse().ok().filter(|number: &f64| number.is_finite()))
    }

    fn count(self) -> Result<u64, RowError> {
        self.expect("count", self.text.parse().ok())
    }

    fn duration(self) -> Result<i64, RowError> {
        self.expect("duration (H:MM:SS.ffffff)", parse_duration(self.text))
    }

    fn list(self) -> Result<Vec<String>, RowError> {
        self.expect("list of strings", parse_list(self.text))
    }

    fn expect<T>(self, expected: &'static str, value: Option<T>) -> Result<T, RowError> {
        let Self { row, column, text } = self;
        value.ok_or_else(|| RowError::Field { row, column, text: text.to_owned(), expected })
    }
}
