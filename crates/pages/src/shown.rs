//! Tables of a report as tables of a document, and numbers in words.

use sb_figures::{Column, Table};
use sb_report::{Cell, Kind};

/// A table as it is.
pub(crate) fn shown(table: &sb_report::Table) -> Table {
    let columns = table.columns.iter().map(|column| Column {
        name: column.name.to_string(),
        is_number: matches!(column.kind(), Kind::Integer | Kind::Float),
    });
    let rows =
        (0..table.rows()).map(|row| table.columns.iter().map(|column| text(&column.cell(row))).collect());
    Table { caption: table.about.to_owned(), columns: columns.collect(), rows: rows.collect() }
}

/// A cell as in the CSV file of its table.
pub(crate) fn text(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.as_deref().unwrap_or_default().to_owned(),
        Cell::Integer(number) => number.map_or(String::new(), |number| number.to_string()),
        Cell::Float(Some(number)) => float(*number),
        Cell::Float(None) => String::new(),
        Cell::Boolean(value) => value.map_or(String::new(), |value| value.to_string()),
    }
}

/// The shortest decimal that reads back to the same number.
pub(crate) fn float(number: f64) -> String {
    if number.is_nan() { "nan".to_owned() } else { format!("{number:?}") }
}

/// Nanoseconds as milliseconds.
pub(crate) fn millis(nanos: i64) -> f64 {
    nanos as f64 / 1e6
}

/// A column of a table by row: texts, and numbers.
pub(crate) struct Rows<'a> {
    table: &'a sb_report::Table,
}

impl<'a> Rows<'a> {
    /// A table of a report that has rows.
    pub(crate) fn of(report: &'a sb_report::Report, name: &str) -> Option<Self> {
        report.table(name).filter(|table| table.rows() > 0).map(|table| Self { table })
    }

    pub(crate) fn count(&self) -> usize {
        self.table.rows()
    }

    /// Empty where there is no such column or no value.
    pub(crate) fn text(&self, row: usize, column: &str) -> String {
        self.table.column(column).map_or(String::new(), |column| text(&column.cell(row)))
    }

    /// None where there is no such column or no value.
    pub(crate) fn number(&self, row: usize, column: &str) -> Option<f64> {
        match self.table.column(column)?.cell(row) {
            Cell::Integer(number) => number.map(|number| number as f64),
            Cell::Float(number) => number,
            Cell::Text(_) | Cell::Boolean(_) => None,
        }
    }
}
