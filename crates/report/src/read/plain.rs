//! Whether rows are so plain that every reader takes them alike.
//!
//! A folder with a damaged row counts in no figure, and the readers of summaries say what is damaged. They look at more columns
//! than the readers here, and are slower. So that no file is read twice, rows are looked at as they pass. Where all are plain,
//! the slower readers would find nothing, and are not asked. Otherwise they decide. So plain must never be wider than what they
//! take, and may be narrower: a number with an exponent is a number, but not a plain one.

use memchr::{memchr, memchr_iter, memchr2};

use super::number::fixed;
use super::records::{Fields, Record};

/// Whether a record that was split has no byte and no quote that readers could take in different ways.
pub(super) fn record(record: Record<'_>, fields: &Fields) -> bool {
    let bytes = record.bytes;
    if record.is_broken || memchr2(b'\r', b'\n', bytes).is_some() || std::str::from_utf8(bytes).is_err() {
        return false;
    }
    !record.has_quotes
        || (0..fields.len()).all(|place| {
            let range = fields.range(place);
            let is_quoted = range.start > 0 && bytes[range.start - 1] == b'"';
            let is_closed = !is_quoted
                || (bytes.get(range.end) == Some(&b'"')
                    && matches!(bytes.get(range.end + 1), None | Some(b',')));
            is_closed && memchr(b'"', &bytes[range]).is_none()
        })
}

/// The same of a record that was not split, for it has so many columns and no quotes.
pub(super) fn unsplit(record: Record<'_>, columns: usize) -> bool {
    let bytes = record.bytes;
    !record.is_broken
        && !record.has_quotes
        && memchr_iter(b',', bytes).count() + 1 == columns
        && memchr(b'\r', bytes).is_none()
        && std::str::from_utf8(bytes).is_ok()
}

/// Digits, and perhaps a point and further digits.
pub(super) fn number(text: &[u8]) -> bool {
    let (whole, fraction) = match memchr(b'.', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"0"[..]),
    };
    digits(whole) && digits(fraction)
}

/// A whole number, 0 and up.
pub(super) fn count(text: &[u8]) -> bool {
    text.len() <= 9 && digits(text)
}

fn digits(text: &[u8]) -> bool {
    (1..=15).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

/// Less than a day: `0:00:01` or `0:00:01.500000`.
pub(super) fn duration(text: &[u8]) -> bool {
    let (clock, fraction) = match memchr(b'.', text) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &b"000000"[..]),
    };
    let is_below = |tens: u8, ones: u8, most: u8| (b'0'..=most).contains(&tens) && ones.is_ascii_digit();
    let is_clock = match clock {
        [hour, b':', rest @ ..] if hour.is_ascii_digit() => rest,
        [b'0' | b'1', hour, b':', rest @ ..] if hour.is_ascii_digit() => rest,
        [b'2', b'0'..=b'3', b':', rest @ ..] => rest,
        _ => return false,
    };
    matches!(is_clock, [a, b, b':', c, d] if is_below(*a, *b, b'5') && is_below(*c, *d, b'5'))
        && fraction.len() == 6
        && digits(fraction)
}

/// A list of texts as Python writes it, without escapes and without another kind of quote: `['a', 'b']`.
pub(super) fn list(text: &[u8]) -> bool {
    let Some(mut rest) = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]")) else {
        return false;
    };
    if rest.is_empty() {
        return true;
    }
    loop {
        let Some(item) = rest.strip_prefix(b"'") else { return false };
        let Some(end) = memchr(b'\'', item) else { return false };
        if memchr2(b'\\', b'"', &item[..end]).is_some() {
            return false;
        }
        match &item[end + 1..] {
            [] => return true,
            [b',', b' ', after @ ..] => rest = after,
            _ => return false,
        }
    }
}

/// A time in seconds with six decimals.
pub(super) fn time(text: &[u8]) -> bool {
    text.len() > 7 && text[text.len() - 7] == b'.' && number(text)
}

/// Microseconds as milliseconds with three decimals, and nothing for `None`.
pub(super) fn millis(text: &[u8], micros: Option<i64>) -> bool {
    let Some(micros) = micros else { return text.is_empty() };
    let is_short = matches!(text, [b'1'..=b'9', ..] | [b'0', b'.', ..]);
    is_short && text.len() > 4 && text[text.len() - 4] == b'.' && fixed(text, 3) == Some(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_what_no_reader_takes_in_another_way() {
        for (text, expected) in [
            ("1642000000.5", true),
            ("7", true),
            ("7.", false),
            (".5", false),
            ("-1", false),
            ("+1", false),
            ("1e3", false),
            ("nan", false),
            ("", false),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text}");
        }
        for (text, expected) in [
            ("0:00:00", true),
            ("23:59:59.999999", true),
            ("0:00:01.5", false),
            ("24:00:00", false),
            ("0:60:00", false),
            ("1:1:1", false),
            ("1 day, 0:00:00", false),
        ] {
            assert_eq!(duration(text.as_bytes()), expected, "{text}");
        }
        for (text, expected) in [
            ("[]", true),
            ("['a']", true),
            ("['a', 'b é']", true),
            ("['a','b']", false),
            ("['a', ]", false),
            ("['a\\n']", false),
            ("[\"it's\"]", false),
            ("['a'", false),
        ] {
            assert_eq!(list(text.as_bytes()), expected, "{text}");
        }
        for (text, micros, expected) in [
            ("", None, true),
            ("20.000", Some(20_000), true),
            ("0.001", Some(1), true),
            ("20.000", None, false),
            ("20.001", Some(20_000), false),
            ("020.000", Some(20_000), false),
            ("20.0", Some(20_000), false),
            ("-1.000", Some(-1000), false),
        ] {
            assert_eq!(millis(text.as_bytes(), micros), expected, "{text}");
        }
        assert!(time(b"10.000000") && !time(b"10.00000") && !time(b".000000"));
    }
}
