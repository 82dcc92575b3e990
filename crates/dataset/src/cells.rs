//! Cells with quotation marks (RFC 4180). Names of functions may hold commas, quotation marks and line breaks.
//!
//! Published datasets have none of them, so readers take the quick way where a line has no quotation mark.

use std::borrow::Cow;

/// A name as a cell: in quotation marks where it needs them.
pub(crate) fn quoted(name: &str) -> Cow<'_, str> {
    if name.contains(['"', ',', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", name.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(name)
    }
}

/// Names as cells of a line.
pub(crate) fn line_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for (place, name) in names.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&quoted(name));
    }
    text
}

/// Whether a cell in quotation marks is still open at the end of a line. `is_open`: one was at its beginning.
pub(crate) fn is_open(line: &[u8], mut is_open: bool) -> bool {
    let mut is_start = !is_open;
    let mut place = 0;
    while let Some(byte) = line.get(place) {
        match byte {
            b'"' if is_open && line.get(place + 1) == Some(&b'"') => place += 1,
            b'"' if is_open => is_open = false,
            // Within a cell that begins without one, it is a letter like any other.
            b'"' if is_start => is_open = true,
            _ => {}
        }
        is_start = !is_open && *byte == b',';
        place += 1;
    }
    is_open
}

/// The cells of a record, without their quotation marks. A cell that is not closed ends with the record.
pub(crate) fn cells(record: &[u8]) -> Vec<Cow<'_, [u8]>> {
    if memchr::memchr(b'"', record).is_none() {
        return record.split(|byte| *byte == b',').map(Cow::Borrowed).collect();
    }
    let mut found = Vec::new();
    let mut rest = record;
    loop {
        let (cell, behind) = cell(rest);
        found.push(cell);
        match behind {
            Some(behind) => rest = behind,
            None => return found,
        }
    }
}

/// The first cell, and what is behind its comma.
fn cell(text: &[u8]) -> (Cow<'_, [u8]>, Option<&[u8]>) {
    let until_comma = |text: &[u8]| memchr::memchr(b',', text).unwrap_or(text.len());
    let behind = |end: usize| text.get(end + 1..);
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = until_comma(text);
        return (Cow::Borrowed(&text[..end]), behind(end));
    };
    let mut cell = Vec::new();
    let mut rest = quoted;
    while let Some(quote) = memchr::memchr(b'"', rest) {
        cell.extend_from_slice(&rest[..quote]);
        rest = &rest[quote + 1..];
        match rest.strip_prefix(b"\"") {
            Some(behind) => {
                cell.push(b'"');
                rest = behind;
            }
            None => {
                let end = until_comma(rest);
                cell.extend_from_slice(&rest[..end]);
                return (Cow::Owned(cell), rest.get(end + 1..));
            }
        }
    }
    cell.extend_from_slice(rest);
    (Cow::Owned(cell), None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(record: &str, expected: &[&str]) {
        let found = cells(record.as_bytes());
        let found: Vec<_> = found.iter().map(|cell| String::from_utf8_lossy(cell)).collect();
        assert_eq!(found, expected, "{record}");
    }

    #[test]
    fn cells_are_those_of_rfc_4180() {
        check("a,b", &["a", "b"]);
        check("", &[""]);
        check("\"a\",\"\",", &["a", "", ""]);
        check("\"a,\"\"b\"\"\",c", &["a,\"b\"", "c"]);
        check("\"a\nb\",c", &["a\nb", "c"]);
        // What is no cell in quotation marks is read as other programs read it.
        check("a\"b,\"c\"d,e", &["a\"b", "cd", "e"]);
        check("\"a,b", &["a,b"]);
        assert!(is_open(b"x,\"a", false) && is_open(b"b", true) && !is_open(b"b\",c", true));
        assert!(!is_open(b"\"a\"\"\"", false) && !is_open(b"a\"b", false) && is_open(b"\"a\"\"", false));
    }

    proptest! {
        #[test]
        fn names_come_back_from_their_line(names in prop::collection::vec("[a\",\n\r #é]{0,6}", 1..6)) {
            let line = line_of(names.iter().map(String::as_str));
            let found: Vec<String> =
                cells(line.as_bytes()).into_iter().map(|cell| String::from_utf8(cell.into_owned()).unwrap()).collect();
            prop_assert_eq!(&found, &names);
            let mut open = false;
            for part in line.split('\n') {
                open = is_open(part.as_bytes(), open);
            }
            prop_assert!(!open);
        }
    }
}
