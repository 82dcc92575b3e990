//! Texts of others in CSV files. A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula. A
//! formula can send what is in the sheet elsewhere.

use std::borrow::Cow;

/// The text as a cell: with an apostrophe before it where it would be a formula. Numbers are numbers.
pub fn to_cell(text: &str) -> Cow<'_, str> {
    if is_formula(text.as_bytes()) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// The text that [`to_cell`] made this cell of.
pub fn of_cell(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|text| is_formula(text.as_bytes())).unwrap_or(cell)
}

/// Whether a cell with this text needs the apostrophe of [`to_cell`]: also one that has apostrophes before a formula already,
/// for otherwise [`of_cell`] would take one of them.
pub fn is_formula(text: &[u8]) -> bool {
    let quotes = text.iter().take_while(|byte| **byte == b'\'').count();
    let text = &text[quotes..];
    let begins = text.first().is_some_and(|first| b"=+-@\t\r\n".contains(first));
    begins && !str::from_utf8(text).is_ok_and(|text| text.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_texts_and_come_back() {
        for text in ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", "'=1", "''\r"] {
            let cell = to_cell(text);
            assert!(cell.starts_with('\''), "{text:?}");
            assert_eq!(of_cell(&cell), text);
        }
        for text in ["", "get", "-1.5", "+3", "'quoted", "'-1.5", "1-2", "a=b"] {
            assert_eq!(to_cell(text), text);
            assert_eq!(of_cell(text), text);
        }
    }
}
