//! A table: named columns of one type each, which become CSV, Parquet and JSON.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{SerializeSeq, Serializer};

use sb_measurement::to_cell;

/// The cells of a column. `None` is "no value": an empty field of CSV, a null of Parquet and JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Texts.
    Text(Vec<Option<Arc<str>>>),
    /// Whole numbers.
    Integer(Vec<Option<i64>>),
    /// Doubles; `NaN` and infinities are values (`nan`, `inf`), and null in JSON, which has none.
    Float(Vec<Option<f64>>),
    /// `true` or `false`.
    Boolean(Vec<Option<bool>>),
}

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A text, or none.
    Text(Option<Arc<str>>),
    /// A whole number, or none.
    Integer(Option<i64>),
    /// A double, or none.
    Float(Option<f64>),
    /// A truth value, or none.
    Boolean(Option<bool>),
}

impl Cell {
    /// A text; an empty one is no value.
    pub fn text(text: &str) -> Self {
        Self::Text((!text.is_empty()).then(|| text.into()))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<&String> for Cell {
    fn from(text: &String) -> Self {
        Self::text(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::text(&text)
    }
}

impl From<Arc<str>> for Cell {
    fn from(text: Arc<str>) -> Self {
        Self::Text((!text.is_empty()).then_some(text))
    }
}

impl From<Option<Arc<str>>> for Cell {
    fn from(text: Option<Arc<str>>) -> Self {
        Self::Text(text)
    }
}

impl From<Option<&str>> for Cell {
    fn from(text: Option<&str>) -> Self {
        Self::Text(text.map(Into::into))
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Float(Some(number))
    }
}

impl From<Option<f64>> for Cell {
    fn from(number: Option<f64>) -> Self {
        Self::Float(number)
    }
}

impl From<i64> for Cell {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        // No count comes near the limit.
        Self::Integer(Some(i64::try_from(number).unwrap_or(i64::MAX)))
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::from(number as u64)
    }
}

impl From<Option<i64>> for Cell {
    fn from(number: Option<i64>) -> Self {
        Self::Integer(number)
    }
}

impl From<Option<u64>> for Cell {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Integer(None), Self::from)
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Self {
        Self::Boolean(Some(value))
    }
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Texts.
    Text,
    /// Whole numbers.
    Integer,
    /// Doubles.
    Float,
    /// `true` or `false`.
    Boolean,
}

/// A column and its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name, unique in the table.
    pub name: Arc<str>,
    /// One per row.
    pub cells: Cells,
}

impl Column {
    fn new(name: &str, kind: Kind) -> Self {
        let cells = match kind {
            Kind::Text => Cells::Text(Vec::new()),
            Kind::Integer => Cells::Integer(Vec::new()),
            Kind::Float => Cells::Float(Vec::new()),
            Kind::Boolean => Cells::Boolean(Vec::new()),
        };
        Self { name: shown(name.into()), cells }
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        match self.cells {
            Cells::Text(_) => Kind::Text,
            Cells::Integer(_) => Kind::Integer,
            Cells::Float(_) => Kind::Float,
            Cells::Boolean(_) => Kind::Boolean,
        }
    }

    /// The cell of a row; no value where there is no such row.
    pub fn cell(&self, row: usize) -> Cell {
        match &self.cells {
            Cells::Text(cells) => Cell::Text(cells.get(row).cloned().flatten()),
            Cells::Integer(cells) => Cell::Integer(cells.get(row).copied().flatten()),
            Cells::Float(cells) => Cell::Float(cells.get(row).copied().flatten()),
            Cells::Boolean(cells) => Cell::Boolean(cells.get(row).copied().flatten()),
        }
    }

    fn len(&self) -> usize {
        match &self.cells {
            Cells::Text(cells) => cells.len(),
            Cells::Integer(cells) => cells.len(),
            Cells::Float(cells) => cells.len(),
            Cells::Boolean(cells) => cells.len(),
        }
    }

    fn push(&mut self, cell: Cell) {
        match (&mut self.cells, cell) {
            (Cells::Text(cells), Cell::Text(cell)) => cells.push(cell.map(shown)),
            (Cells::Integer(cells), Cell::Integer(cell)) => cells.push(cell),
            (Cells::Float(cells), Cell::Float(cell)) => cells.push(cell),
            (Cells::Float(cells), Cell::Integer(cell)) => cells.push(cell.map(|number| number as f64)),
            (Cells::Boolean(cells), Cell::Boolean(cell)) => cells.push(cell),
            (cells, cell) => unreachable!("column `{}` has {cells:?} and gets {cell:?}", self.name),
        }
    }

    /// Appends a cell's field, ready for CSV.
    fn write_field(&self, row: usize, out: &mut String) {
        match &self.cells {
            Cells::Text(cells) => {
                if let Some(text) = cells.get(row).and_then(Option::as_deref) {
                    push_field(out, text);
                }
            }
            Cells::Integer(cells) => {
                if let Some(number) = cells.get(row).copied().flatten() {
                    let _ = write!(out, "{number}");
                }
            }
            Cells::Float(cells) => match cells.get(row).copied().flatten() {
                None => {}
                Some(number) if number.is_nan() => out.push_str("nan"),
                // The shortest decimal that reads back to the same double.
                Some(number) => {
                    let _ = write!(out, "{number:?}");
                }
            },
            Cells::Boolean(cells) => {
                if let Some(value) = cells.get(row).copied().flatten() {
                    out.push_str(if value { "true" } else { "false" });
                }
            }
        }
    }
}

/// A text without control characters but line ends and tabs: names come from elsewhere, and a table that is printed must not
/// command the terminal.
fn shown(text: Arc<str>) -> Arc<str> {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(is_control) { text.replace(is_control, "\u{fffd}").into() } else { text }
}

/// A text as a field: in quotes where it needs them, and never a formula.
fn push_field(out: &mut String, text: &str) {
    let text = &*to_cell(text);
    if !text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for (place, part) in text.split('"').enumerate() {
        if place > 0 {
            out.push_str("\"\"");
        }
        out.push_str(part);
    }
    out.push('"');
}

/// A table of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The name of its files, without their ending: `exp1_activities`.
    pub name: &'static str,
    /// What a row is, in a sentence.
    pub about: &'static str,
    /// Of the same length.
    pub columns: Vec<Column>,
}

impl Table {
    /// Without rows.
    pub fn new(name: &'static str, about: &'static str, columns: &[(&str, Kind)]) -> Self {
        let columns = columns.iter().map(|(name, kind)| Column::new(name, *kind)).collect();
        Self { name, about, columns }
    }

    /// Appends a row, which has a cell for each column, of its type. Control characters of texts are replaced, but not line
    /// ends and tabs.
    ///
    /// # Panics
    /// A row has other cells than the table has columns.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        let mut row = row.into_iter();
        for column in &mut self.columns {
            match row.next() {
                Some(cell) => column.push(cell),
                None => unreachable!("a row of `{}` ends before column `{}`", self.name, column.name),
            }
        }
        assert!(row.next().is_none(), "a row of `{}` has more cells than columns", self.name);
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }

    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| &*column.name == name)
    }

    /// Writes it as CSV: UTF-8, LF, the header first.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn write_csv(&self, mut out: impl Write) -> io::Result<()> {
        let mut text = String::with_capacity(1 << 16);
        for (place, column) in self.columns.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            push_field(&mut text, &column.name);
        }
        text.push('\n');
        for row in 0..self.rows() {
            for (place, column) in self.columns.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                column.write_field(row, &mut text);
            }
            text.push('\n');
            if text.len() > 1 << 15 {
                out.write_all(text.as_bytes())?;
                text.clear();
            }
        }
        out.write_all(text.as_bytes())
    }
}

/// `{"name", "about", "columns": [{"name", "kind"}], "rows": [[…]]}`.
impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        #[derive(Serialize)]
        struct Head<'a> {
            name: &'a str,
            kind: Kind,
        }
        struct Rows<'a>(&'a Table);
        struct Row<'a>(&'a Table, usize);
        impl Serialize for Rows<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut rows = serializer.serialize_seq(Some(self.0.rows()))?;
                for row in 0..self.0.rows() {
                    rows.serialize_element(&Row(self.0, row))?;
                }
                rows.end()
            }
        }
        impl Serialize for Row<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut cells = serializer.serialize_seq(Some(self.0.columns.len()))?;
                for column in &self.0.columns {
                    match column.cell(self.1) {
                        Cell::Text(text) => cells.serialize_element(&text.as_deref())?,
                        Cell::Integer(number) => cells.serialize_element(&number)?,
                        Cell::Float(number) => cells.serialize_element(&number)?,
                        Cell::Boolean(value) => cells.serialize_element(&value)?,
                    }
                }
                cells.end()
            }
        }
        let columns: Vec<_> =
            self.columns.iter().map(|column| Head { name: &column.name, kind: column.kind() }).collect();
        let mut table = serializer.serialize_struct("Table", 4)?;
        table.serialize_field("name", self.name)?;
        table.serialize_field("about", self.about)?;
        table.serialize_field("columns", &columns)?;
        table.serialize_field("rows", &Rows(self))?;
        table.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns = [("a", Kind::Text), ("b", Kind::Float), ("c", Kind::Integer), ("d", Kind::Boolean)];
        let mut table = Table::new("small", "One row per thing.", &columns);
        table.push(["x, \"y\"".into(), 0.1.into(), 3_i64.into(), true.into()]);
        table.push(["=1+1".into(), f64::NAN.into(), Cell::Integer(None), false.into()]);
        table.push(["".into(), f64::NEG_INFINITY.into(), (-1_i64).into(), Cell::Boolean(None)]);
        table
    }

    #[test]
    fn a_table_is_written_as_csv() {
        let mut out = Vec::new();
        table().write_csv(&mut out).unwrap();
        let expected = "a,b,c,d\n\"x, \"\"y\"\"\",0.1,3,true\n'=1+1,nan,,false\n,-inf,-1,\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn control_characters_of_names_are_replaced_in_every_form() {
        let mut table = Table::new("small", "One row.", &[("factor_\u{7}x", Kind::Text)]);
        table.push(["\u{1b}[31mred\u{1b}]0;title\u{7}\u{9b}m\r\0é\ta\nb".into()]);
        let mut out = Vec::new();
        table.write_csv(&mut out).unwrap();
        let text = "\u{fffd}[31mred\u{fffd}]0;title\u{fffd}\u{fffd}m\u{fffd}\u{fffd}é\ta\nb";
        assert_eq!(String::from_utf8(out).unwrap(), format!("factor_\u{fffd}x\n\"{text}\"\n"));
        assert_eq!(table.columns[0].cell(0), text.into());
    }

    #[test]
    fn a_table_is_json_with_its_types() {
        let json = serde_json::to_value(table()).unwrap();
        assert_eq!(json["columns"][1], serde_json::json!({ "name": "b", "kind": "float" }));
        assert_eq!(json["rows"][1], serde_json::json!(["=1+1", null, null, false]));
    }
}
