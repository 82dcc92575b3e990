//! Reads JSON that is the content of a JSON string where it stands, without decoding it first.
//!
//! A document in a string has its quotes written as `\"` and its backslashes as `\\`; few have more to escape. So the
//! same reader finds its way in both, given another notation of strings. What this notation does not know is an error
//! here although it may be sound, such as a line break between values. Then the document must be decoded
//! ([`Reader::string_into`]) and read as plain JSON. What is read here is what would be read so.

use std::borrow::Cow;
use std::marker::PhantomData;

use crate::read::json::{JsonError, Notation, Reader};

/// JSON within a JSON string.
pub(crate) struct Embedded;

impl Notation for Embedded {
    const QUOTE: &'static [u8] = b"\\\"";
    const BACKSLASH: &'static [u8] = b"\\\\";

    /// The others are control characters, which stand in no string.
    fn is_white_space(byte: u8) -> bool {
        byte == b' '
    }

    /// At the quote that ends the string around.
    fn at_end(reader: &mut Reader<'_, Self>) -> bool {
        reader.skip_whitespace();
        reader.byte() == Some(b'"')
    }

    fn string<'a>(reader: &mut Reader<'a, Self>) -> Result<Cow<'a, str>, JsonError> {
        let start = reader.at;
        let stop = reader.plain_run();
        if reader.rest().starts_with(Self::QUOTE) {
            reader.at += Self::QUOTE.len();
            return Ok(Cow::Borrowed(&reader.text[start..stop]));
        }
        let mut decoded = reader.text[start..stop].to_owned();
        while let Some(character) = reader.special()? {
            decoded.push(character);
            let from = reader.at;
            let to = reader.plain_run();
            decoded.push_str(&reader.text[from..to]);
        }
        Ok(Cow::Owned(decoded))
    }

    fn skip_string(reader: &mut Reader<'_, Self>) -> Result<(), JsonError> {
        loop {
            reader.plain_run();
            if reader.special()?.is_none() {
                return Ok(());
            }
        }
    }
}

impl<'a> Reader<'a, Embedded> {
    /// Calls `read` for the content of the string that comes next, and passes over it.
    pub(crate) fn within_string<T>(
        outer: &mut Reader<'a>,
        read: impl FnOnce(&mut Self) -> Result<T, JsonError>,
    ) -> Result<T, JsonError> {
        outer.expect(b'"', "expected a string")?;
        let open = std::mem::take(&mut outer.open);
        let mut inner = Self { text: outer.text, at: outer.at, open, notation: PhantomData };
        let found = read(&mut inner)?;
        inner.end()?;
        outer.at = inner.at + 1;
        outer.open = inner.open;
        Ok(found)
    }

    /// Reads what does not stand for itself in a string; `None` for the closing quote.
    fn special(&mut self) -> Result<Option<char>, JsonError> {
        let [b'\\', kind, after @ ..] = self.rest() else {
            return Err(self.error("not the content of a string"));
        };
        self.at += 2;
        match (kind, after) {
            (b'"', _) => return Ok(None),
            (b'/', _) => return Ok(Some('/')),
            // An escape sequence of the document; what has to be escaped in it is so once more.
            (b'\\', [b'\\', same @ (b'"' | b'\\'), ..]) => {
                self.at += 2;
                return Ok(Some(char::from(*same)));
            }
            (b'\\', [b'/' | b'b' | b'f' | b'n' | b'r' | b't' | b'u', ..]) => return self.escape().map(Some),
            // One of the string around; below are characters that mean something in the document.
            (b'u', _) => {
                let character = self.unicode_escape(b"\\")?;
                if character >= '\u{80}' {
                    return Ok(Some(character));
                }
            }
            _ => {}
        }
        Err(self.error("an escape sequence to be decoded first"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::json::Decoded;

    /// The string in a document: as it stands within a string, and decoded first.
    fn outcomes(literal: &str) -> (Option<String>, Option<String>) {
        let mut decoded = Decoded::default();
        let mut reader = Reader::new(literal);
        let text = reader.string_into(&mut decoded).and_then(|()| reader.end()).ok();
        let expected = text.and_then(|()| {
            let mut reader = Reader::new(decoded.text(0, decoded.len()).unwrap());
            let string = reader.string().ok()?.into_owned();
            reader.end().ok().map(|()| string)
        });
        let mut outer = Reader::new(literal);
        let found = Reader::within_string(&mut outer, |reader| reader.string().map(Cow::into_owned))
            .and_then(|string| outer.end().map(|()| string));
        let mut outer = Reader::new(literal);
        let skipped = Reader::within_string(&mut outer, Reader::skip_value).and_then(|()| outer.end());
        assert_eq!(found.is_ok(), skipped.is_ok(), "{literal}");
        (found.ok(), expected)
    }

    #[test]
    fn a_string_within_a_string_is_what_decoding_twice_gives() {
        for inner in [
            "plain",
            "",
            "é日🦀",
            "a\"b\\c/d\n\t\u{8}\u{c}\r",
            "\u{1}",
            "long enough for several words \"\\ \" ",
        ] {
            let document = serde_json::to_string(inner).unwrap();
            let literal = serde_json::to_string(&document).unwrap();
            assert_eq!(outcomes(&literal), (Some(inner.to_owned()), Some(inner.to_owned())), "{literal}");
        }
        for (literal, expected) in [
            (r#""\"\u00e9\ud83e\udd80\"""#, "é🦀"),
            (r#""\"\\u00e9\\ud83e\\udd80\\u0022\"""#, "é🦀\""),
            (r#""\"a\/b\\/c\"""#, "a/b/c"),
            (r#"" \"spaces around\" ""#, "spaces around"),
        ] {
            assert_eq!(
                outcomes(literal),
                (Some(expected.to_owned()), Some(expected.to_owned())),
                "{literal}"
            );
        }
    }

    #[test]
    fn what_means_something_in_the_document_is_decoded_first() {
        for literal in
            [r#""\n\"line break\"""#, r#""\u0022quotes\u0022""#, r#""\"a\u005c\"\"""#, r#""\"\\\u0022\"""#]
        {
            let (found, expected) = outcomes(literal);
            assert_eq!(found, None, "{literal}");
            assert!(expected.is_some(), "{literal}");
        }
    }

    #[test]
    fn what_is_damaged_is_an_error() {
        for literal in [
            r#""\"open"#,
            r#""\ua\"""#,
            r#""\"open""#,
            r#""\"a\\""#,
            r#""\"\\x\"""#,
            r#""\"a"\"""#,
            r#""\"\ud83d\\udd80\"""#,
            r#""\"\\ud83d\"""#,
            r#""\"two\" \"strings\"""#,
            "\"\\\"a\u{1}\\\"\"",
            r#"\"bare\""#,
        ] {
            assert_eq!(outcomes(literal), (None, None), "{literal}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_read_otherwise_than_decoded(
            content in r#"(\\"|\\\\|\\\\\\"|\\\\\\\\|[a-zé u0-9{}:,]|\\[/nu]|\\\\[/nu]|\\u00[0-9a-f]{2}|\\\\u[0-9a-f]{4}|"|\\){0,24}"#
        ) {
            for literal in [format!("\"{content}\""), format!("\"\\\"{content}\\\"\"")] {
                let mut outer = Reader::new(&literal);
                let skipped = Reader::within_string(&mut outer, Reader::skip_value).and_then(|()| outer.end());
                if skipped.is_ok() {
                    let document: String = serde_json::from_str(&literal).unwrap();
                    let value: serde_json::Value = serde_json::from_str(&document).unwrap();
                    if value.is_string() {
                        let (found, expected) = outcomes(&literal);
                        proptest::prop_assert_eq!(&found, &expected);
                        proptest::prop_assert_eq!(found.as_deref(), value.as_str());
                    }
                }
            }
        }
    }
}
