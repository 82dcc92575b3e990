//! Any table as Parquet: columns of one type each, with nulls.

use std::io::{self, Write};
use std::sync::Arc;

use super::RowGroups;
use super::column::{Column, Kind};

/// The cells of a column; `None` is a null.
#[derive(Clone, Copy, Debug)]
pub enum PlainCells<'a> {
    /// Texts.
    Text(&'a [Option<Arc<str>>]),
    /// Whole numbers.
    Integer(&'a [Option<i64>]),
    /// Doubles.
    Double(&'a [Option<f64>]),
    /// Truth values.
    Boolean(&'a [Option<bool>]),
}

impl PlainCells<'_> {
    fn kind(self) -> Kind {
        match self {
            Self::Text(_) => Kind::TextOrNull,
            Self::Integer(_) => Kind::IntegerOrNull,
            Self::Double(_) => Kind::DoubleOrNull,
            Self::Boolean(_) => Kind::BooleanOrNull,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Text(cells) => cells.len(),
            Self::Integer(cells) => cells.len(),
            Self::Double(cells) => cells.len(),
            Self::Boolean(cells) => cells.len(),
        }
    }
}

/// Writes a table as Parquet, compressed with Zstandard: columns by name, each with a cell for every row. A column that is
/// shorter than the first ends in nulls.
///
/// # Errors
/// The destination cannot be written.
pub fn write_parquet(out: impl Write + Send, columns: &[(&str, PlainCells<'_>)]) -> io::Result<()> {
    let rows = columns.first().map_or(0, |(_, cells)| cells.len());
    let written = columns.iter().map(|(name, cells)| Column::new(name, cells.kind())).collect();
    let mut groups = RowGroups::new(out, written)?;
    for row in 0..rows {
        for (column, (_, cells)) in groups.columns.iter_mut().zip(columns) {
            match cells {
                PlainCells::Text(cells) => column.text_or_null(cells.get(row).and_then(Option::as_deref)),
                PlainCells::Integer(cells) => column.integer_or_null(cells.get(row).copied().flatten()),
                PlainCells::Double(cells) => column.double_or_null(cells.get(row).copied().flatten()),
                PlainCells::Boolean(cells) => column.boolean_or_null(cells.get(row).copied().flatten()),
            }
        }
        groups.end_row()?;
    }
    groups.finish()
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field;

    use super::*;

    #[test]
    fn cells_and_nulls_read_back() {
        let texts: Vec<Option<Arc<str>>> = vec![Some("a".into()), None, Some("".into())];
        let integers = [None, Some(i64::MIN), Some(3)];
        let doubles = [Some(0.5), Some(f64::INFINITY), None];
        let booleans = [Some(true)];
        let mut out = Vec::new();
        let columns = [
            ("text", PlainCells::Text(&texts)),
            ("integer", PlainCells::Integer(&integers)),
            ("double", PlainCells::Double(&doubles)),
            ("boolean", PlainCells::Boolean(&booleans)),
        ];
        write_parquet(&mut out, &columns).unwrap();
        let reader = SerializedFileReader::new(bytes::Bytes::from(out)).unwrap();
        let found: Vec<Vec<Field>> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| row.unwrap().get_column_iter().map(|(_, field)| field.clone()).collect())
            .collect();
        let text = |text: &str| Field::Str(text.to_owned());
        let expected = [
            vec![text("a"), Field::Null, Field::Double(0.5), Field::Bool(true)],
            vec![Field::Null, Field::Long(i64::MIN), Field::Double(f64::INFINITY), Field::Null],
            vec![text(""), Field::Long(3), Field::Null, Field::Null],
        ];
        assert_eq!(found, expected);
    }
}
