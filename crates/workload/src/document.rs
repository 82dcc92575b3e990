//! Values in texts that others have written: answers of servers, outputs of commands.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// Bytes as text: without the mark of byte order that some systems begin a text with, which also tells UTF-16.
pub fn text(bytes: &[u8]) -> Cow<'_, str> {
    let units = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair)).collect();
        Cow::Owned(String::from_utf16_lossy(&units))
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        bytes => String::from_utf8_lossy(bytes),
    }
}

/// The value at a JSON pointer (RFC 6901) of a text; `None`: nothing is there. A number that 64 bits cannot hold becomes a
/// text of its digits.
///
/// # Errors
/// The text is not JSON.
pub fn value_at(text: &str, pointer: &str) -> Result<Option<Value>, serde_json::Error> {
    raw_at(text, pointer)?.map(value_of).transpose()
}

fn raw_at<'a>(text: &'a str, pointer: &str) -> Result<Option<&'a RawValue>, serde_json::Error> {
    let mut found: &RawValue = serde_json::from_str(text)?;
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Ok(None);
    }
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let inner = match found.get().as_bytes().first() {
            Some(b'{') => serde_json::from_str::<HashMap<String, &RawValue>>(found.get())?.remove(&token),
            Some(b'[') if token == "0" || !token.starts_with(['0', '+']) => {
                let items: Vec<&RawValue> = serde_json::from_str(found.get())?;
                token.parse().ok().and_then(|index: usize| items.get(index).copied())
            }
            _ => None,
        };
        match inner {
            Some(inner) => found = inner,
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

fn value_of(found: &RawValue) -> Result<Value, serde_json::Error> {
    let written = found.get();
    if is_too_large(written) { Ok(Value::from(written)) } else { serde_json::from_str(written) }
}

/// As [`value_at`], for values that are handed on: a number that would be written in another way (`1.10`, `-0`, `1e3`)
/// becomes a text of its digits. A table or list that holds such a number becomes its text as it was written.
///
/// # Errors
/// The text is not JSON.
pub fn exact_at(text: &str, pointer: &str) -> Result<Option<Value>, serde_json::Error> {
    let Some(found) = raw_at(text, pointer)? else { return Ok(None) };
    Ok(Some(match value_of(found)? {
        Value::Number(number) if number.to_string() != found.get() => Value::from(found.get()),
        Value::Array(_) | Value::Object(_) if !keeps_numbers(found.get()) => Value::from(found.get()),
        value => value,
    }))
}

/// Whether all numbers in a text of JSON are written as they would be written anew.
fn keeps_numbers(written: &str) -> bool {
    let bytes = written.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while bytes.get(at).is_some_and(|byte| *byte != b'"') {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let end =
                    bytes[at..].iter().position(|byte| !is_part(byte)).map_or(bytes.len(), |end| at + end);
                let number = &written[at..end];
                let same = serde_json::from_str::<serde_json::Number>(number);
                if !same.is_ok_and(|same| same.to_string() == number) {
                    return false;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    true
}

/// Whether a number has digits that a 64-bit number would lose.
fn is_too_large(written: &str) -> bool {
    if !written.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return false;
    }
    if written.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) {
        return written.parse::<i64>().is_err() && written.parse::<u64>().is_err();
    }
    let digits = written.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_matches('0').len();
    // Every number of 17 digits, and no more, has a 64-bit one of its own; some have none that is finite.
    significant > 17 || !written.parse::<f64>().is_ok_and(f64::is_finite)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_found_as_json_pointers_say() {
        let text = r#"{"a": [{"b": 3}, 1.5], "": 0, "x/y": {"~": true}, "n": null, "é": "ü\n"}"#;
        let document: Value = serde_json::from_str(text).unwrap();
        for pointer in [
            "", "/a", "/a/0/b", "/a/1", "/a/01", "/a/2", "/a/-", "/", "/x~1y/~0", "/n", "/é", "a", "/a/0/b/c",
        ] {
            assert_eq!(value_at(text, pointer).unwrap(), document.pointer(pointer).cloned(), "{pointer}");
        }
        assert!(value_at("oops", "").is_err());
        assert!(value_at("{} x", "").is_err());
    }

    #[test]
    fn numbers_beyond_64_bits_keep_their_digits() {
        for number in [
            "18446744073709551616",
            "-9223372036854775809",
            "123456789012345678901234567890",
            "0.12345678901234567890123",
            "1e400",
        ] {
            assert_eq!(value_at(&format!("[{number}]"), "/0").unwrap(), Some(json!(number)), "{number}");
        }
        for (text, value) in [
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("1.10", json!(1.1)),
            ("0.1", json!(0.1)),
            ("100000000000000000000.0", json!(1e20)),
        ] {
            assert_eq!(value_at(text, "").unwrap(), Some(value), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_handed_on_keep_their_digits() {
        for (text, value) in [
            ("1.10", json!("1.10")),
            ("-0", json!("-0")),
            ("1e3", json!("1e3")),
            ("-0.50", json!("-0.50")),
            ("1.5", json!(1.5)),
            ("3", json!(3)),
            ("\"1.10\"", json!("1.10")),
        ] {
            assert_eq!(exact_at(&format!("[{text}]"), "/0").unwrap(), Some(value), "{text}");
        }
    }

    #[test]
    fn numbers_within_tables_and_lists_keep_their_digits() {
        for text in [
            r#"{"x":12345678901234567890123}"#,
            r#"{ "a": [ {"b\"1e3": 1.10} ] }"#,
            "[1, -0]",
            "[1e3]",
            "[0.1000000000000000055511151231257827]",
        ] {
            assert_eq!(exact_at(&format!("[{text}]"), "/0").unwrap(), Some(json!(text)), "{text}");
        }
        for text in
            [r#"{"x":1,"y":[-2.5,true,null],"z":"1.10 \\"}"#, r#"["1e3", 18446744073709551615]"#, "{}", "[]"]
        {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(exact_at(text, "").unwrap(), Some(value), "{text}");
        }
    }

    #[test]
    fn marks_of_byte_order_are_no_text() {
        assert_eq!(text(b"\xef\xbb\xbf{\"id\":1}"), "{\"id\":1}");
        assert_eq!(text(b"\xff\xfe{\0\xfc\0}\0"), "{ü}");
        assert_eq!(text(b"\xfe\xff\0{\0}"), "{}");
        assert_eq!(text("ü".as_bytes()), "ü");
    }
}
