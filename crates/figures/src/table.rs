//! The table behind a figure.

/// Rows and columns of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What the table holds.
    pub caption: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each with one cell per column. An empty cell is an unknown value.
    pub rows: Vec<Vec<String>>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its heading, with the unit where there is one.
    pub name: String,
    /// Numbers are aligned to the right.
    pub is_number: bool,
}

impl Table {
    /// A table without rows. A name that starts with `#` is that of a column of numbers; the `#` is not part of it.
    pub fn new(caption: &str, columns: &[&str]) -> Self {
        let column = |name: &&str| match name.strip_prefix('#') {
            Some(name) => Column { name: name.to_owned(), is_number: true },
            None => Column { name: (*name).to_owned(), is_number: false },
        };
        Self { caption: caption.to_owned(), columns: columns.iter().map(column).collect(), rows: Vec::new() }
    }

    /// The table as CSV (RFC 4180), with a line of headings. A text that a spreadsheet would take for a formula gets a
    /// single quote before it. Control characters are replaced, but not line ends and tabs.
    pub fn to_csv(&self) -> Vec<u8> {
        let mut out = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
        let mut write = |row: &mut dyn Iterator<Item = String>| {
            // Writing to memory cannot fail.
            let _ = out.write_record(row);
        };
        write(&mut self.columns.iter().map(|column| harmless(&column.name)));
        for row in &self.rows {
            write(&mut row.iter().map(|cell| harmless(cell)));
        }
        out.into_inner().unwrap_or_default()
    }
}

/// A cell that no spreadsheet executes, and no terminal obeys: numbers stay as they are.
fn harmless(cell: &str) -> String {
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    let shown = cell.replace(is_control, "\u{fffd}");
    let is_formula = shown.starts_with(['=', '+', '-', '@', '\t']) && shown.parse::<f64>().is_err();
    if is_formula { format!("'{shown}") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csv_quotes_what_needs_it_and_disarms_formulas() {
        let mut table = Table::new("t", &["name", "#value [ms]"]);
        table.rows.push(vec!["a,\"b\"\n".to_owned(), "-1.5".to_owned()]);
        table.rows.push(vec!["=HYPERLINK(1)".to_owned(), String::new()]);
        let text = String::from_utf8(table.to_csv()).unwrap();
        assert_eq!(text, "name,value [ms]\n\"a,\"\"b\"\"\n\",-1.5\n'=HYPERLINK(1),\n");
        table.rows = vec![vec!["\u{1b}[31mred\u{7}\u{9b}m\r\0é\ta".to_owned(), "1".to_owned()]];
        let text = String::from_utf8(table.to_csv()).unwrap();
        assert_eq!(text, "name,value [ms]\n\u{fffd}[31mred\u{fffd}\u{fffd}m\u{fffd}\u{fffd}é\ta,1\n");
        assert!(table.columns[1].is_number && !table.columns[0].is_number);
    }
}
