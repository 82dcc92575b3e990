//! trace_breakdown.parquet: the columns of trace_breakdown.csv with real types, and the request type.
//!
//! Times are timestamps in microseconds (UTC), durations and parts are microseconds as 64-bit integers, services and
//! names are lists of strings. `url`, `request` and the parts are null where there are none; so is `repaired`, by how
//! many microseconds times were moved, a column that is there where traces may be repaired.

use std::io::{self, Write};
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::breakdown::Activity;
use super::repair::COLUMN;
use super::requests::Requests;
use super::row::BreakdownRow;
use super::span::microseconds;

/// Rows that are turned into columns together.
const BATCH: usize = 4_096;

/// Rows of a row group, which is held in memory, encoded and compressed: some megabytes.
const ROW_GROUP: usize = 32_768;

/// A row, and by how many microseconds times were moved in all where the trace was valid only then.
pub(super) struct Entry {
    pub(super) row: BreakdownRow,
    pub(super) repaired: Option<i64>,
}

/// Writes rows as Parquet.
pub(super) struct Table<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: Arc<Schema>,
    with_repairs: bool,
    rows: Vec<Entry>,
}

impl<W: Write + Send> Table<W> {
    pub(super) fn new(out: W, with_repairs: bool) -> io::Result<Self> {
        let schema = Arc::new(schema(with_repairs));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .build();
        let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties)).map_err(plain)?;
        Ok(Self { writer, schema, with_repairs, rows: Vec::new() })
    }

    pub(super) fn add(&mut self, rows: Vec<Entry>, requests: &Requests) -> io::Result<()> {
        for row in rows {
            self.rows.push(row);
            if self.rows.len() == BATCH {
                self.write(requests)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(mut self, requests: &Requests) -> io::Result<()> {
        self.write(requests)?;
        self.writer.close().map(drop).map_err(plain)
    }

    fn write(&mut self, requests: &Requests) -> io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<&BreakdownRow> = self.rows.iter().map(|entry| &entry.row).collect();
        let mut columns: Vec<ArrayRef> = vec![
            strings(rows.iter().map(|row| Some(row.trace_id.as_str()))),
            times(rows.iter().map(|row| row.start_time)),
            times(rows.iter().map(|row| row.end_time)),
            integers(rows.iter().map(|row| Some(row.duration))),
            strings(rows.iter().map(|row| Some(row.url.as_str()).filter(|url| !url.is_empty()))),
            counts(rows.iter().map(|row| row.num_cold_starts)),
            counts(rows.iter().map(|row| row.errors)),
            counts(rows.iter().map(|row| row.throttles)),
            counts(rows.iter().map(|row| row.faults)),
            lists(rows.iter().map(|row| &row.services)),
            lists(rows.iter().map(|row| &row.longest_path_names)),
        ];
        columns.extend(Activity::ALL.map(|activity| integers(rows.iter().map(|row| row.part(activity)))));
        columns.push(strings(rows.iter().map(|row| requests.get(&row.trace_id))));
        if self.with_repairs {
            columns.push(integers(self.rows.iter().map(|entry| entry.repaired)));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(io::Error::other)?;
        self.rows.clear();
        self.writer.write(&batch).map_err(plain)
    }
}

fn schema(with_repairs: bool) -> Schema {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let mut fields = vec![
        Field::new("trace_id", DataType::Utf8, false),
        Field::new("start_time", time.clone(), false),
        Field::new("end_time", time, false),
        Field::new("duration", DataType::Int64, false),
        Field::new("url", DataType::Utf8, true),
    ];
    fields.extend(
        ["num_cold_starts", "errors", "throttles", "faults"]
            .map(|name| Field::new(name, DataType::Int64, false)),
    );
    fields.extend(["services", "longest_path_names"].map(|name| Field::new(name, list.clone(), false)));
    fields.extend(Activity::ALL.map(|activity| Field::new(activity.name(), DataType::Int64, true)));
    fields.push(Field::new("request", DataType::Utf8, true));
    if with_repairs {
        fields.push(Field::new(COLUMN, DataType::Int64, true));
    }
    Schema::new(fields)
}

fn strings<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    let mut builder = StringBuilder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

fn integers(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let mut builder = Int64Builder::new();
    values.for_each(|value| builder.append_option(value));
    Arc::new(builder.finish())
}

/// No count comes near the limit of signed integers.
fn counts(values: impl Iterator<Item = u64>) -> ArrayRef {
    integers(values.map(|count| i64::try_from(count).ok().or(Some(i64::MAX))))
}

fn times(seconds: impl Iterator<Item = f64>) -> ArrayRef {
    let mut builder = TimestampMicrosecondBuilder::new().with_timezone("UTC");
    seconds.for_each(|seconds| builder.append_value(microseconds(seconds)));
    Arc::new(builder.finish())
}

fn lists<'a>(values: impl Iterator<Item = &'a Vec<String>>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for list in values {
        for item in list {
            builder.values().append_value(item);
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// The file's own error where there is one, so that it keeps its kind.
fn plain(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::Array as _;
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::{Int64Type, TimestampMicrosecondType};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::breakdown::Parts;
    use sb_measurement::{INVOCATIONS_FILE, Invocation, InvocationWriter, Outcome, Timestamp};

    #[test]
    fn rows_read_back_with_their_types() {
        let count = 10_000;
        let rows: Vec<BreakdownRow> = (0..count)
            .map(|number| {
                let mut parts = Parts::default();
                parts.set(Activity::Computation, Some(number));
                parts.set(Activity::ExternalService, Some(-number));
                BreakdownRow {
                    trace_id: format!("1-{number}"),
                    start_time: 1_619_793_031.466_451,
                    end_time: 1_619_793_032.5,
                    duration: 1_033_549,
                    url: if number % 2 == 0 { String::new() } else { "https://a/b".to_owned() },
                    num_cold_starts: 2,
                    errors: 0,
                    throttles: 0,
                    faults: 1,
                    services: vec!["AWS::Lambda".to_owned(); (number % 3) as usize],
                    longest_path_names: vec!["it's".to_owned()],
                    parts,
                }
            })
            .collect();
        let mut bytes = Vec::new();
        let folder = tempfile::tempdir().unwrap();
        let mut invocations =
            InvocationWriter::new(std::fs::File::create(folder.path().join(INVOCATIONS_FILE)).unwrap())
                .unwrap();
        for number in (0..count).filter(|number| number % 5 == 0) {
            let invocation = Invocation {
                invocation: number.unsigned_abs() + 1,
                request: format!("type {}", number % 2),
                trace_id: format!("1-{number}"),
                planned: Some(Timestamp::from_micros(0)),
                sent: None,
                answered: None,
                status: None,
                outcome: Outcome::Dropped,
            };
            invocations.write(&invocation).unwrap();
        }
        invocations.flush().unwrap();
        let requests = Requests::beside(&folder.path().join("traces.json")).unwrap();
        let entries = rows
            .iter()
            .zip(0..)
            .map(|(row, number)| Entry { row: row.clone(), repaired: (number % 7 == 0).then_some(number) });
        let mut table = Table::new(&mut bytes, true).unwrap();
        table.add(entries.collect(), &requests).unwrap();
        table.finish(&requests).unwrap();

        let reader =
            ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap().build().unwrap();
        let mut read = 0;
        for batch in reader {
            let batch = batch.unwrap();
            let column = |name: &str| batch.column_by_name(name).unwrap().clone();
            let (ids, urls) = (column("trace_id"), column("url"));
            let (starts, durations) = (column("start_time"), column("duration"));
            let (services, computation) = (column("services"), column("computation"));
            let (external, trigger) = (column("external_service"), column("trigger"));
            let (request, repaired) = (column("request"), column("repaired"));
            for place in 0..batch.num_rows() {
                let row = &rows[read];
                let row_number = i64::try_from(read).unwrap();
                assert_eq!(ids.as_string::<i32>().value(place), row.trace_id);
                assert_eq!(urls.is_null(place), row.url.is_empty());
                assert_eq!(
                    starts.as_primitive::<TimestampMicrosecondType>().value(place),
                    1_619_793_031_466_451
                );
                assert_eq!(durations.as_primitive::<Int64Type>().value(place), row.duration);
                assert_eq!(services.as_list::<i32>().value(place).len(), row.services.len());
                assert_eq!(computation.as_primitive::<Int64Type>().value(place), row_number);
                assert_eq!(external.as_primitive::<Int64Type>().value(place), -row_number);
                assert!(trigger.is_null(place));
                let expected = (row_number % 5 == 0).then(|| format!("type {}", row_number % 2));
                let request = request.as_string::<i32>();
                assert_eq!(request.is_valid(place).then(|| request.value(place)), expected.as_deref());
                let repaired = repaired.as_primitive::<Int64Type>();
                let expected = (row_number % 7 == 0).then_some(row_number);
                assert_eq!(repaired.is_valid(place).then(|| repaired.value(place)), expected);
                read += 1;
            }
        }
        assert_eq!(read, rows.len());
    }

    #[test]
    fn a_table_without_rows_has_its_columns() {
        let mut bytes = Vec::new();
        Table::new(&mut bytes, false).unwrap().finish(&Requests::default()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
        let names: Vec<_> = reader.schema().fields().iter().map(|field| field.name().clone()).collect();
        let csv = super::super::row::BREAKDOWN_HEADER.trim_end();
        assert_eq!(names.join(","), format!("{csv},request"));
    }
}
