//! trace_breakdown.parquet: the columns of trace_breakdown.csv with real types, and the request type.
//!
//! Times are timestamps in microseconds (UTC), durations and parts are microseconds as 64-bit integers, services and
//! names are lists of strings. `url`, `request` and the parts are null where there are none. Where traces may be
//! repaired, a column `repaired` says by how many microseconds times were moved. It is null for traces that were not
//! repaired.
//!
//! The file is written with Parquet's own column writers. Arrow, which its other writer needs, costs more to build
//! than the rest of this crate.

mod cell;
mod column;
mod plain;

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use self::cell::Cell;
use self::column::Column;
use super::path::breakdown::Activity;
use super::path::repair::COLUMN;
use super::requests::Requests;
use super::row::BreakdownRow;

pub use self::plain::{PlainCells, write_parquet};

/// Rows of a row group, whose cells are held in memory until it is written: some megabytes.
const ROW_GROUP: usize = 32_768;

/// The name of the whole schema, as Arrow's writers give it.
const SCHEMA: &str = "arrow_schema";

/// A row, and by how many microseconds times were moved in all where the trace was valid only then.
pub(super) struct Entry {
    pub(super) row: BreakdownRow,
    pub(super) repaired: Option<i64>,
}

/// Writes rows as Parquet.
pub(super) struct Table<W: Write + Send> {
    groups: RowGroups<W>,
    cells: Vec<Cell>,
    requests: Requests,
}

impl<W: Write + Send> Table<W> {
    pub(super) fn new(out: W, with_repairs: bool, requests: Requests) -> io::Result<Self> {
        let (columns, cells) = columns(with_repairs)
            .into_iter()
            .map(|(name, cell)| (Column::new(name, cell.kind()), cell))
            .unzip();
        Ok(Self { groups: RowGroups::new(out, columns)?, cells, requests })
    }

    pub(super) fn add(&mut self, entries: Vec<Entry>) -> io::Result<()> {
        for entry in entries {
            for (column, cell) in self.groups.columns.iter_mut().zip(&self.cells) {
                cell.add(column, &entry, &self.requests);
            }
            self.groups.end_row()?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> io::Result<()> {
        self.groups.finish()
    }
}

/// Columns that are written group by group of rows.
struct RowGroups<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Column>,
    /// Rows that the columns hold.
    rows: usize,
}

impl<W: Write + Send> RowGroups<W> {
    fn new(out: W, columns: Vec<Column>) -> io::Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .build();
        let schema = schema(&columns).map_err(plain)?;
        let writer = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties)).map_err(plain)?;
        Ok(Self { writer, columns, rows: 0 })
    }

    /// Every column has got its cell of a row.
    fn end_row(&mut self) -> io::Result<()> {
        self.rows += 1;
        if self.rows == ROW_GROUP {
            self.write().map_err(plain)?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        if self.rows > 0 {
            self.write().map_err(plain)?;
        }
        self.writer.close().map(drop).map_err(plain)
    }

    /// Writes the rows that the columns hold, as a row group.
    fn write(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            if let Some(mut writer) = group.next_column()? {
                column.write(&mut writer)?;
                writer.close()?;
            }
        }
        self.rows = 0;
        group.close().map(drop)
    }
}

/// The columns of the table, in their order.
fn columns(with_repairs: bool) -> Vec<(&'static str, Cell)> {
    let mut columns = vec![
        ("trace_id", Cell::Text(|entry| &entry.row.trace_id)),
        ("start_time", Cell::Time(|entry| entry.row.start_time)),
        ("end_time", Cell::Time(|entry| entry.row.end_time)),
        ("duration", Cell::Integer(|entry| entry.row.duration)),
        ("url", Cell::TextOrNull(|entry, _| Some(entry.row.url.as_str()).filter(|url| !url.is_empty()))),
        ("num_cold_starts", Cell::Integer(|entry| count(entry.row.num_cold_starts))),
        ("errors", Cell::Integer(|entry| count(entry.row.errors))),
        ("throttles", Cell::Integer(|entry| count(entry.row.throttles))),
        ("faults", Cell::Integer(|entry| count(entry.row.faults))),
        ("services", Cell::Texts(|entry| &entry.row.services)),
        ("longest_path_names", Cell::Texts(|entry| &entry.row.longest_path_names)),
    ];
    columns.extend(Activity::ALL.map(|activity| (activity.name(), Cell::Part(activity))));
    columns.push(("request", Cell::TextOrNull(|entry, requests| requests.get(&entry.row.trace_id))));
    if with_repairs {
        columns.push((COLUMN, Cell::IntegerOrNull(|entry| entry.repaired)));
    }
    columns
}

/// No count comes near the limit of signed integers.
fn count(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn schema(columns: &[Column]) -> Result<Type, ParquetError> {
    let fields = columns.iter().map(|column| column.field().map(Arc::new));
    Type::group_type_builder(SCHEMA).with_fields(fields.collect::<Result<_, _>>()?).build()
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
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::{Field, Row};
    use parquet::schema::printer::print_schema;

    use super::*;
    use crate::path::breakdown::Parts;
    use sb_measurement::{INVOCATIONS_FILE, Invocation, InvocationWriter, Outcome, Timestamp};

    #[test]
    fn rows_read_back_with_their_types() {
        let count = 33_000;
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
        let mut table = Table::new(&mut bytes, true, requests).unwrap();
        table.add(entries.collect()).unwrap();
        table.finish().unwrap();

        let reader = read(bytes);
        let mut read = 0;
        for record in reader.get_row_iter(None).unwrap() {
            let record = record.unwrap();
            let column = |name: &str| cell(&record, name);
            let row = &rows[read];
            let row_number = i64::try_from(read).unwrap();
            assert_eq!(column("trace_id"), Field::Str(row.trace_id.clone()));
            let url = if row.url.is_empty() { Field::Null } else { Field::Str(row.url.clone()) };
            assert_eq!(column("url"), url);
            assert_eq!(column("start_time"), Field::TimestampMicros(1_619_793_031_466_451));
            assert_eq!(column("end_time"), Field::TimestampMicros(1_619_793_032_500_000));
            assert_eq!(column("duration"), Field::Long(row.duration));
            assert_eq!(column("num_cold_starts"), Field::Long(2));
            assert_eq!(column("faults"), Field::Long(1));
            assert_eq!(texts(&column("services")), row.services);
            assert_eq!(texts(&column("longest_path_names")), row.longest_path_names);
            assert_eq!(column("computation"), Field::Long(row_number));
            assert_eq!(column("external_service"), Field::Long(-row_number));
            assert_eq!(column("trigger"), Field::Null);
            let request = format!("type {}", row_number % 2);
            let expected = if row_number % 5 == 0 { Field::Str(request) } else { Field::Null };
            assert_eq!(column("request"), expected);
            let expected = if row_number % 7 == 0 { Field::Long(row_number) } else { Field::Null };
            assert_eq!(column("repaired"), expected);
            read += 1;
        }
        assert_eq!(read, rows.len());
        let groups = reader.metadata().row_groups().iter().map(|group| usize::try_from(group.num_rows()));
        assert_eq!(groups.map(Result::unwrap).collect::<Vec<_>>(), [ROW_GROUP, rows.len() - ROW_GROUP]);
    }

    #[test]
    fn a_table_without_rows_has_its_columns() {
        let mut bytes = Vec::new();
        Table::new(&mut bytes, false, Requests::default()).unwrap().finish().unwrap();
        let reader = read(bytes);
        let schema = reader.metadata().file_metadata().schema();
        let names: Vec<_> = schema.get_fields().iter().map(|field| field.name()).collect();
        let csv = super::super::row::BREAKDOWN_HEADER.trim_end();
        assert_eq!(names.join(","), format!("{csv},request"));
    }

    #[test]
    fn the_types_are_those_that_readers_know() {
        let mut bytes = Vec::new();
        Table::new(&mut bytes, true, Requests::default()).unwrap().finish().unwrap();
        let mut printed = Vec::new();
        print_schema(&mut printed, read(bytes).metadata().file_metadata().schema());
        insta::assert_snapshot!(String::from_utf8(printed).unwrap(), @r"
        message arrow_schema {
          REQUIRED BYTE_ARRAY trace_id (STRING);
          REQUIRED INT64 start_time (TIMESTAMP(MICROS,true));
          REQUIRED INT64 end_time (TIMESTAMP(MICROS,true));
          REQUIRED INT64 duration;
          OPTIONAL BYTE_ARRAY url (STRING);
          REQUIRED INT64 num_cold_starts;
          REQUIRED INT64 errors;
          REQUIRED INT64 throttles;
          REQUIRED INT64 faults;
          REQUIRED group services (LIST) {
            REPEATED group list {
              OPTIONAL BYTE_ARRAY item (STRING);
            }
          }
          REQUIRED group longest_path_names (LIST) {
            REPEATED group list {
              OPTIONAL BYTE_ARRAY item (STRING);
            }
          }
          OPTIONAL INT64 orchestration;
          OPTIONAL INT64 trigger;
          OPTIONAL INT64 container_initialization;
          OPTIONAL INT64 runtime_initialization;
          OPTIONAL INT64 computation;
          OPTIONAL INT64 queing;
          OPTIONAL INT64 overhead;
          OPTIONAL INT64 external_service;
          OPTIONAL INT64 unclassified;
          OPTIONAL BYTE_ARRAY request (STRING);
          OPTIONAL INT64 repaired;
        }
        ");
    }

    fn read(bytes: Vec<u8>) -> SerializedFileReader<bytes::Bytes> {
        SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap()
    }

    #[track_caller]
    fn cell(record: &Row, name: &str) -> Field {
        record.get_column_iter().find(|(column, _)| *column == name).unwrap().1.clone()
    }

    #[track_caller]
    fn texts(list: &Field) -> Vec<String> {
        let Field::ListInternal(list) = list else { panic!("{list} is no list") };
        list.elements()
            .iter()
            .map(|text| match text {
                Field::Str(text) => text.clone(),
                other => panic!("{other} is no text"),
            })
            .collect()
    }
}
