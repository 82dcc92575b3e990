//! One column: its type, and the cells of the row group at hand.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::Type;

/// The type of a column.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    TextOrNull,
    Texts,
    Integer,
    IntegerOrNull,
    /// Microseconds since the epoch.
    Time,
    DoubleOrNull,
    BooleanOrNull,
}

/// A column and its cells of one row group.
pub(super) struct Column {
    name: String,
    kind: Kind,
    /// Of a column of integers or times, those that are not null.
    integers: Vec<i64>,
    doubles: Vec<f64>,
    booleans: Vec<bool>,
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
    pub(super) fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            integers: Vec::new(),
            doubles: Vec::new(),
            booleans: Vec::new(),
            texts: Texts::default(),
            levels: Levels::default(),
        }
    }

    /// Its type: as Arrow's writers give it, so that all readers see the same table.
    pub(super) fn field(&self) -> Result<Type, ParquetError> {
        let primitive = |name: &str, physical, logical, repetition| {
            Type::primitive_type_builder(name, physical)
                .with_logical_type(logical)
                .with_repetition(repetition)
                .build()
        };
        let text =
            |name, repetition| primitive(name, Physical::BYTE_ARRAY, Some(LogicalType::String), repetition);
        let plain = |physical, repetition| primitive(&self.name, physical, None, repetition);
        match self.kind {
            Kind::Text => text(&self.name, Repetition::REQUIRED),
            Kind::TextOrNull => text(&self.name, Repetition::OPTIONAL),
            Kind::Texts => {
                let item = Arc::new(text("item", Repetition::OPTIONAL)?);
                let list = Type::group_type_builder("list")
                    .with_repetition(Repetition::REPEATED)
                    .with_fields(vec![item])
                    .build()?;
                Type::group_type_builder(&self.name)
                    .with_repetition(Repetition::REQUIRED)
                    .with_logical_type(Some(LogicalType::List))
                    .with_fields(vec![Arc::new(list)])
                    .build()
            }
            Kind::Integer => plain(Physical::INT64, Repetition::REQUIRED),
            Kind::IntegerOrNull => plain(Physical::INT64, Repetition::OPTIONAL),
            Kind::DoubleOrNull => plain(Physical::DOUBLE, Repetition::OPTIONAL),
            Kind::BooleanOrNull => plain(Physical::BOOLEAN, Repetition::OPTIONAL),
            Kind::Time => {
                let utc = Some(LogicalType::timestamp(true, TimeUnit::MICROS));
                primitive(&self.name, Physical::INT64, utc, Repetition::REQUIRED)
            }
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.texts.push(text);
    }

    pub(super) fn text_or_null(&mut self, text: Option<&str>) {
        self.levels.nullable(text.is_some());
        if let Some(text) = text {
            self.texts.push(text);
        }
    }

    pub(super) fn list(&mut self, texts: &[String]) {
        self.levels.list(texts.len());
        for text in texts {
            self.texts.push(text);
        }
    }

    pub(super) fn integer(&mut self, integer: i64) {
        self.integers.push(integer);
    }

    pub(super) fn integer_or_null(&mut self, integer: Option<i64>) {
        self.levels.nullable(integer.is_some());
        self.integers.extend(integer);
    }

    pub(super) fn double_or_null(&mut self, double: Option<f64>) {
        self.levels.nullable(double.is_some());
        self.doubles.extend(double);
    }

    pub(super) fn boolean_or_null(&mut self, boolean: Option<bool>) {
        self.levels.nullable(boolean.is_some());
        self.booleans.extend(boolean);
    }

    /// Writes its cells, and begins anew.
    pub(super) fn write(&mut self, writer: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = &self.levels;
        let definition = (!levels.definition.is_empty()).then_some(&*levels.definition);
        let repetition = (!levels.repetition.is_empty()).then_some(&*levels.repetition);
        match self.kind {
            Kind::Text | Kind::TextOrNull | Kind::Texts => {
                let texts = self.texts.take();
                writer.typed::<ByteArrayType>().write_batch(&texts, definition, repetition)?;
            }
            Kind::Integer | Kind::IntegerOrNull | Kind::Time => {
                writer.typed::<Int64Type>().write_batch(&self.integers, definition, repetition)?;
            }
            Kind::DoubleOrNull => {
                writer.typed::<DoubleType>().write_batch(&self.doubles, definition, repetition)?;
            }
            Kind::BooleanOrNull => {
                writer.typed::<BoolType>().write_batch(&self.booleans, definition, repetition)?;
            }
        }
        self.integers.clear();
        self.doubles.clear();
        self.booleans.clear();
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
