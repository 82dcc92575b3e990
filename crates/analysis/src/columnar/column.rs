//! One column: what it takes of each row, its type, and the cells of the row group at hand.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::Type;

use super::Entry;
use crate::path::breakdown::Activity;
use crate::requests::Requests;
use crate::span::microseconds;

/// What a column takes of a row.
#[derive(Clone, Copy)]
pub(super) enum Cell {
    Text(fn(&Entry) -> &str),
    TextOrNull(for<'a> fn(&'a Entry, &'a Requests) -> Option<&'a str>),
    Texts(fn(&Entry) -> &[String]),
    Integer(fn(&Entry) -> i64),
    IntegerOrNull(fn(&Entry) -> Option<i64>),
    /// Microseconds of an activity, or null.
    Part(Activity),
    /// Seconds since the epoch.
    Time(fn(&Entry) -> f64),
}

/// A column and its cells of one row group.
pub(super) struct Column {
    name: &'static str,
    cell: Cell,
    /// Of a column of integers or times, those that are not null.
    integers: Vec<i64>,
    /// Of a column of texts or lists of them, those that are not null.
    texts: Texts,
    levels: Levels,
}

/// Parquet's levels: which cells are null, and where lists begin.
#[derive(Default)]
struct Levels {
    definition: Vec<i16>,
    repetition: Vec<i16>,
}

/// Texts, end to end: one allocation instead of one each.
#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Column {
    pub(super) fn new(name: &'static str, cell: Cell) -> Self {
        Self { name, cell, integers: Vec::new(), texts: Texts::default(), levels: Levels::default() }
    }

    /// Its type: as Arrow's writers give it, so that all readers see the same table.
    pub(super) fn field(&self) -> Result<Type, ParquetError> {
        let primitive = |name, physical, logical, repetition| {
            Type::primitive_type_builder(name, physical)
                .with_logical_type(logical)
                .with_repetition(repetition)
                .build()
        };
        let text =
            |name, repetition| primitive(name, Physical::BYTE_ARRAY, Some(LogicalType::String), repetition);
        let integer = |repetition| primitive(self.name, Physical::INT64, None, repetition);
        match self.cell {
            Cell::Text(_) => text(self.name, Repetition::REQUIRED),
            Cell::TextOrNull(_) => text(self.name, Repetition::OPTIONAL),
            Cell::Texts(_) => {
                let item = Arc::new(text("item", Repetition::OPTIONAL)?);
                let list = Type::group_type_builder("list")
                    .with_repetition(Repetition::REPEATED)
                    .with_fields(vec![item])
                    .build()?;
                Type::group_type_builder(self.name)
                    .with_repetition(Repetition::REQUIRED)
                    .with_logical_type(Some(LogicalType::List))
                    .with_fields(vec![Arc::new(list)])
                    .build()
            }
            Cell::Integer(_) => integer(Repetition::REQUIRED),
            Cell::IntegerOrNull(_) | Cell::Part(_) => integer(Repetition::OPTIONAL),
            Cell::Time(_) => {
                let utc = Some(LogicalType::timestamp(true, TimeUnit::MICROS));
                primitive(self.name, Physical::INT64, utc, Repetition::REQUIRED)
            }
        }
    }

    /// Takes its cell of a row.
    pub(super) fn add(&mut self, entry: &Entry, requests: &Requests) {
        match self.cell {
            Cell::Text(text) => self.texts.push(text(entry)),
            Cell::TextOrNull(text) => {
                let text = text(entry, requests);
                self.levels.nullable(text.is_some());
                if let Some(text) = text {
                    self.texts.push(text);
                }
            }
            Cell::Texts(texts) => {
                let texts = texts(entry);
                self.levels.list(texts.len());
                for text in texts {
                    self.texts.push(text);
                }
            }
            Cell::Integer(integer) => self.integers.push(integer(entry)),
            Cell::IntegerOrNull(integer) => self.integer_or_null(integer(entry)),
            Cell::Part(activity) => self.integer_or_null(entry.row.part(activity)),
            Cell::Time(seconds) => self.integers.push(microseconds(seconds(entry))),
        }
    }

    fn integer_or_null(&mut self, integer: Option<i64>) {
        self.levels.nullable(integer.is_some());
        self.integers.extend(integer);
    }

    /// Writes its cells, and begins anew.
    pub(super) fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = &self.levels;
        let definition = (!levels.definition.is_empty()).then_some(&*levels.definition);
        let repetition = (!levels.repetition.is_empty()).then_some(&*levels.repetition);
        match self.cell {
            Cell::Text(_) | Cell::TextOrNull(_) | Cell::Texts(_) => {
                let texts = self.texts.take();
                writer.typed::<ByteArrayType>().write_batch(&texts, definition, repetition)?;
            }
            Cell::Integer(_) | Cell::IntegerOrNull(_) | Cell::Part(_) | Cell::Time(_) => {
                writer.typed::<Int64Type>().write_batch(&self.integers, definition, repetition)?;
            }
        }
        self.integers.clear();
        self.levels.definition.clear();
        self.levels.repetition.clear();
        Ok(())
    }
}

impl Levels {
    /// A cell that may be null.
    fn nullable(&mut self, is_there: bool) {
        self.definition.push(i16::from(is_there));
    }

    /// A list, of whose items none is null: an empty one has one level and no value.
    fn list(&mut self, items: usize) {
        let (definition, count) = if items == 0 { (0, 1) } else { (2, items) };
        self.definition.resize(self.definition.len() + count, definition);
        self.repetition.push(0);
        self.repetition.resize(self.definition.len(), 1);
    }
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.ends.push(self.bytes.len());
    }

    /// The texts, of which none is left.
    fn take(&mut self) -> Vec<ByteArray> {
        let bytes = ByteArray::from(std::mem::take(&mut self.bytes));
        let mut start = 0;
        let texts = self.ends.drain(..).map(|end| {
            let text = bytes.slice(start, end - start);
            start = end;
            text
        });
        texts.collect()
    }
}
