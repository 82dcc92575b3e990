//! The rows of `invocations.csv`, written and read.

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::{Invocation, Outcome, SUMMARY_FILE, Timestamp, of_cell, to_cell};

/// The name of the file of rows in the folder of an invocation.
pub const INVOCATIONS_FILE: &str = "invocations.csv";

/// Why an `invocations.csv` cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MeasurementError {
    /// The file cannot be read.
    #[error("cannot read the invocations: {0}; is the file complete and readable?")]
    Read(#[from] io::Error),
    /// The text is no CSV.
    #[error("invocations.csv is not valid CSV: {0}; restore the file or run the invocation again")]
    Csv(#[from] csv::Error),
    /// The columns are not [`COLUMNS`].
    #[error(
        "invocations.csv begins with the columns `{found}` instead of `{expected}`: it was written by another tool or version"
    )]
    Header {
        /// The columns of the file.
        found: String,
        /// [`COLUMNS`].
        expected: String,
    },
    /// A field is not what its column holds, or contradicts another one.
    #[error(
        "invocations.csv, line {line}: column `{column}`: {problem}; restore the file or run the invocation again"
    )]
    Value {
        /// The line of the file, from 1; the header is the first.
        line: u64,
        /// The column's name.
        column: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The load's summary counts more requests than there are rows of them.
    #[error(
        "invocations.csv has {} requests that were sent, {} of them answered, but {SUMMARY_FILE} says {} and {}: rows are missing; \
         restore the file or run the invocation again",
        rows.sent,
        rows.answered,
        load.sent,
        load.answered
    )]
    Missing {
        /// What the rows say.
        rows: RowCounts,
        /// What the summary says.
        load: RowCounts,
    },
}

/// How many requests were sent and answered, by rows or by the summary of their load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Requests of which at least one byte left this machine.
    pub sent: u64,
    /// Complete answers, as expected or not.
    pub answered: u64,
}

impl RowCounts {
    /// Counts one row more.
    pub fn add(&mut self, row: &Invocation) {
        self.sent += u64::from(row.sent.is_some());
        self.answered += u64::from(row.latency_micros().is_some());
    }
}

/// The columns of `invocations.csv`.
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
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn new(destination: W) -> Result<Self, csv::Error> {
        let mut csv = csv::Writer::from_writer(destination);
        csv.write_record(COLUMNS)?;
        Ok(Self { csv })
    }

    /// Writes a row; it may stay in a buffer until [`flush`](Self::flush).
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn write(&mut self, row: &Invocation) -> Result<(), csv::Error> {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        self.csv.write_record([
            row.invocation.to_string().as_str(),
            &to_cell(&row.request),
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

    /// Hands all rows to the destination.
    ///
    /// # Errors
    /// The destination cannot be written.
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
    /// Reads the header.
    ///
    /// # Errors
    /// The source cannot be read, or begins with other columns.
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
        request: of_cell(&record[1]).to_owned(),
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
}
