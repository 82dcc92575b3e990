//! A small pull reader of JSON text, for trace documents.
//!
//! It differs from a general parser in what traces need. Values of no interest are checked and skipped without being
//! built. Strings are borrowed. Nesting costs no call stack: a document a million levels deep is an ordinary one. A
//! document within a string is read where it is ([`crate::read::embedded`]).

use std::borrow::Cow;
use std::marker::PhantomData;

/// What is wrong with a text, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub(crate) struct JsonError {
    pub(crate) what: &'static str,
    pub(crate) at: usize,
}

pub(crate) struct Reader<'a, N = Plain> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
    /// The closing brackets that a value being skipped still waits for.
    pub(crate) open: Vec<u8>,
    pub(crate) notation: PhantomData<N>,
}

/// How JSON is written down: as itself, or once more within a string.
pub(crate) trait Notation: Sized {
    /// What starts and ends strings.
    const QUOTE: &'static [u8];
    /// What starts an escape sequence.
    const BACKSLASH: &'static [u8];

    fn is_white_space(byte: u8) -> bool;

    /// True where only white space is left.
    fn at_end(reader: &mut Reader<'_, Self>) -> bool;

    /// The string whose opening quote was passed.
    fn string<'a>(reader: &mut Reader<'a, Self>) -> Result<Cow<'a, str>, JsonError>;

    /// Passes over the string whose opening quote was passed.
    fn skip_string(reader: &mut Reader<'_, Self>) -> Result<(), JsonError>;
}

/// JSON as it is.
pub(crate) struct Plain;

impl Notation for Plain {
    const QUOTE: &'static [u8] = b"\"";
    const BACKSLASH: &'static [u8] = b"\\";

    fn is_white_space(byte: u8) -> bool {
        matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
    }

    fn at_end(reader: &mut Reader<'_>) -> bool {
        reader.skip_whitespace();
        reader.at == reader.text.len()
    }

    fn string<'a>(reader: &mut Reader<'a>) -> Result<Cow<'a, str>, JsonError> {
        let start = reader.at;
        let stop = reader.plain_run();
        if reader.byte() == Some(b'"') {
            reader.at += 1;
            return Ok(Cow::Borrowed(&reader.text[start..stop]));
        }
        let mut decoded = reader.text[start..stop].to_owned();
        reader.rest_of_string(&mut decoded)?;
        Ok(Cow::Owned(decoded))
    }

    fn skip_string(reader: &mut Reader<'_>) -> Result<(), JsonError> {
        loop {
            reader.plain_run();
            match reader.byte() {
                Some(b'"') => {
                    reader.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    reader.at += 1;
                    reader.escape()?;
                }
                Some(_) => return Err(reader.error("a control character in a string")),
                None => return Err(reader.error("unexpected end of a string")),
            }
        }
    }
}

/// Decoded strings, one after the other. Its room is kept when it is cleared.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    /// Longer than what is used: words are written whole.
    bytes: Vec<u8>,
    used: usize,
}

impl Decoded {
    /// A trace beyond this size does not keep its room for the following ones.
    const KEPT: usize = 4 << 20;

    pub(crate) fn clear(&mut self) {
        self.used = 0;
        if self.bytes.len() > Self::KEPT {
            self.bytes = Vec::new();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// A part that starts and ends between characters.
    pub(crate) fn text(&self, from: usize, to: usize) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(&self.bytes[from..to.min(self.used)])
    }

    /// Appends what is decoded already.
    pub(crate) fn push(&mut self, text: &str) {
        self.put(text.as_bytes());
    }

    fn make_room(&mut self, more: usize) {
        if self.bytes.len() - self.used < more {
            self.bytes.resize((2 * self.bytes.len()).max(self.used + more).max(1 << 12), 0);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.make_room(bytes.len());
        self.bytes[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
    }
}

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, open: Vec::new(), notation: PhantomData }
    }

    /// Appends the decoded string to `out`.
    pub(crate) fn string_into(&mut self, out: &mut Decoded) -> Result<(), JsonError> {
        self.expect(b'"', "expected a string")?;
        let text = self.text.as_bytes();
        // Nothing decoded is longer than what it was decoded from.
        out.make_room(text.len() - self.at + 8);
        let (room, mut used, mut at) = (out.bytes.as_mut_slice(), out.used, self.at);
        // Documents within strings have an escaped quote every few bytes, so runs are too short for copies of any
        // length: words are copied whole, and what lies behind a stop is written over.
        while let (Some(word), Some(place)) =
            (text[at..].first_chunk::<8>(), room[used..].first_chunk_mut::<8>())
        {
            *place = *word;
            let stops = stops(u64::from_le_bytes(*word));
            if stops == 0 {
                used += 8;
                at += 8;
                continue;
            }
            let plain = stops.trailing_zeros() as usize / 8;
            used += plain;
            at += plain;
            match (text[at], text.get(at + 1)) {
                (b'"', _) => {
                    self.at = at + 1;
                    out.used = used;
                    return Ok(());
                }
                (b'\\', Some(&same @ (b'"' | b'\\' | b'/'))) => {
                    room[used] = same;
                    used += 1;
                    at += 2;
                }
                (stop, _) => {
                    self.at = at;
                    if stop != b'\\' {
                        return Err(self.error("a control character in a string"));
                    }
                    self.at += 1;
                    let character = self.escape()?;
                    at = self.at;
                    used += character.encode_utf8(&mut room[used..]).len();
                }
            }
        }
        // The last word may have ended within a character.
        while !self.text.is_char_boundary(at) {
            at -= 1;
            used -= 1;
        }
        self.at = at;
        out.used = used;
        let mut rest = String::new();
        self.rest_of_string(&mut rest)?;
        out.put(rest.as_bytes());
        Ok(())
    }

    fn rest_of_string(&mut self, out: &mut String) -> Result<(), JsonError> {
        let mut start = self.at;
        loop {
            let stop = self.plain_run();
            match self.byte() {
                Some(b'"') => {
                    out.push_str(&self.text[start..stop]);
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    out.push_str(&self.text[start..stop]);
                    start = stop + 1;
                    if let Some(b'"' | b'\\' | b'/') = self.text.as_bytes().get(start) {
                        // It stands for itself: the next run starts with it.
                        self.at = start + 1;
                    } else {
                        self.at = start;
                        out.push(self.escape()?);
                        start = self.at;
                    }
                }
                Some(_) => return Err(self.error("a control character in a string")),
                None => return Err(self.error("unexpected end of a string")),
            }
        }
    }
}

impl<'a, N: Notation> Reader<'a, N> {
    /// The place of the next byte to read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// True where only white space is left.
    pub(crate) fn at_end(&mut self) -> bool {
        N::at_end(self)
    }

    /// An error unless only white space is left.
    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        if self.at_end() { Ok(()) } else { Err(self.error("unexpected text after the value")) }
    }

    pub(crate) fn next(&mut self) -> Result<Next, JsonError> {
        match self.peek() {
            Some(b'{') => Ok(Next::Object),
            Some(b'[') => Ok(Next::Array),
            Some(byte) if byte == N::QUOTE[0] && self.rest().starts_with(N::QUOTE) => Ok(Next::String),
            Some(b't' | b'f') => Ok(Next::Boolean),
            Some(b'n') => Ok(Next::Null),
            Some(b'-' | b'0'..=b'9') => Ok(Next::Number),
            Some(_) => Err(self.error("not a JSON value")),
            None => Err(self.error("unexpected end")),
        }
    }

    /// Enters an object and reads its first key; `None` for an empty object, which is thereby left.
    pub(crate) fn first_key(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        self.expect(b'{', "expected an object")?;
        if self.accept(b'}') { Ok(None) } else { self.key().map(Some) }
    }

    /// Reads the next key after a value; `None` where the object ends.
    pub(crate) fn next_key(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        if self.accept(b',') {
            self.key().map(Some)
        } else {
            self.expect(b'}', "expected `,` or `}`")?;
            Ok(None)
        }
    }

    /// Enters an array; false for an empty one, which is thereby left.
    pub(crate) fn first_element(&mut self) -> Result<bool, JsonError> {
        self.expect(b'[', "expected an array")?;
        Ok(!self.accept(b']'))
    }

    /// True where another element follows, false where the array ends.
    pub(crate) fn next_element(&mut self) -> Result<bool, JsonError> {
        if self.accept(b',') {
            Ok(true)
        } else {
            self.expect(b']', "expected `,` or `]`")?;
            Ok(false)
        }
    }

    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if self.accept_quote() { N::string(self) } else { Err(self.unexpected("expected a string")) }
    }

    /// A finite number.
    pub(crate) fn number(&mut self) -> Result<f64, JsonError> {
        self.skip_whitespace();
        if let Some((number, length)) = short_decimal(self.rest()) {
            self.at += length;
            return Ok(number);
        }
        let start = self.at;
        self.skip_number()?;
        match self.text[start..self.at].parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(JsonError { what: "a number too large for a double", at: start }),
        }
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, JsonError> {
        if self.peek() == Some(b't') {
            self.literal("true")?;
            Ok(true)
        } else {
            self.literal("false")?;
            Ok(false)
        }
    }

    /// Checks and passes over a value of any kind.
    pub(crate) fn skip_value(&mut self) -> Result<(), JsonError> {
        self.open.clear();
        loop {
            match self.next()? {
                Next::Object => {
                    if self.enter(b'}') {
                        self.skip_key()?;
                        continue;
                    }
                }
                Next::Array => {
                    if self.enter(b']') {
                        continue;
                    }
                }
                Next::String => {
                    self.at += N::QUOTE.len();
                    N::skip_string(self)?;
                }
                Next::Number => self.skip_number()?,
                Next::Boolean => {
                    self.boolean()?;
                }
                Next::Null => self.literal("null")?,
            }
            loop {
                let Some(&close) = self.open.last() else { return Ok(()) };
                if self.accept(b',') {
                    if close == b'}' {
                        self.skip_key()?;
                    }
                    break;
                }
                self.expect(close, "expected `,` or a closing bracket")?;
                self.open.pop();
            }
        }
    }

    /// Passes over an opening bracket; false where its closing one follows at once, and was passed too.
    fn enter(&mut self, close: u8) -> bool {
        self.at += 1;
        if self.accept(close) {
            return false;
        }
        self.open.push(close);
        true
    }

    fn key(&mut self) -> Result<Cow<'a, str>, JsonError> {
        if !self.accept_quote() {
            return Err(self.error("expected a key"));
        }
        let key = N::string(self)?;
        self.expect(b':', "expected `:`")?;
        Ok(key)
    }

    fn skip_key(&mut self) -> Result<(), JsonError> {
        if !self.accept_quote() {
            return Err(self.error("expected a key"));
        }
        N::skip_string(self)?;
        self.expect(b':', "expected `:`")
    }

    /// Passes over the characters of a string that stand for themselves; returns where they end.
    pub(crate) fn plain_run(&mut self) -> usize {
        self.at += plain_length(&self.text.as_bytes()[self.at..]);
        self.at
    }

    /// Reads an escape sequence whose backslash was passed.
    pub(crate) fn escape(&mut self) -> Result<char, JsonError> {
        let Some(kind) = self.byte() else { return Err(self.error("unexpected end of a string")) };
        self.at += 1;
        Ok(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => return self.unicode_escape(N::BACKSLASH),
            _ => return Err(self.error("an unknown escape sequence")),
        })
    }

    /// Reads the digits of an escape sequence, and the second half of a pair, which has a backslash of its own.
    pub(crate) fn unicode_escape(&mut self, backslash: &[u8]) -> Result<char, JsonError> {
        let unit = self.four_digits()?;
        let code = if (0xD800..0xDC00).contains(&unit) {
            if self.rest().strip_prefix(backslash).is_none_or(|rest| rest.first() != Some(&b'u')) {
                return Err(self.error("half of a surrogate pair"));
            }
            self.at += backslash.len() + 1;
            let low = self.four_digits()?;
            if !(0xDC00..0xE000).contains(&low) {
                return Err(self.error("half of a surrogate pair"));
            }
            0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
        } else {
            unit
        };
        char::from_u32(code).ok_or_else(|| self.error("half of a surrogate pair"))
    }

    fn four_digits(&mut self) -> Result<u32, JsonError> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self.byte().and_then(|byte| char::from(byte).to_digit(16));
            let Some(digit) = digit else { return Err(self.error("expected four hexadecimal digits")) };
            value = value * 16 + digit;
            self.at += 1;
        }
        Ok(value)
    }

    fn skip_number(&mut self) -> Result<(), JsonError> {
        self.accept_here(b'-');
        let integer = self.at;
        self.digits()?;
        if self.text.as_bytes()[integer] == b'0' && self.at - integer > 1 {
            return Err(JsonError { what: "a number with a leading zero", at: integer });
        }
        if self.accept_here(b'.') {
            self.digits()?;
        }
        if self.accept_here(b'e') || self.accept_here(b'E') {
            if !self.accept_here(b'+') {
                self.accept_here(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.error("expected a digit"));
        }
        self.at += length;
        Ok(())
    }

    pub(crate) fn null(&mut self) -> Result<(), JsonError> {
        self.literal("null")
    }

    fn literal(&mut self, literal: &'static str) -> Result<(), JsonError> {
        self.skip_whitespace();
        if self.text.as_bytes()[self.at..].starts_with(literal.as_bytes()) {
            self.at += literal.len();
            Ok(())
        } else {
            Err(self.error("not a JSON value"))
        }
    }

    pub(crate) fn expect(&mut self, wanted: u8, what: &'static str) -> Result<(), JsonError> {
        if self.accept(wanted) { Ok(()) } else { Err(self.unexpected(what)) }
    }

    fn unexpected(&self, what: &'static str) -> JsonError {
        self.error(if self.at == self.text.len() { "unexpected end" } else { what })
    }

    /// Passes over white space and then a quote, if it comes next.
    fn accept_quote(&mut self) -> bool {
        self.skip_whitespace();
        let found = self.rest().starts_with(N::QUOTE);
        self.at += if found { N::QUOTE.len() } else { 0 };
        found
    }

    /// Passes over white space and then `wanted`, if it comes next.
    fn accept(&mut self, wanted: u8) -> bool {
        self.skip_whitespace();
        self.accept_here(wanted)
    }

    pub(crate) fn accept_here(&mut self, wanted: u8) -> bool {
        let found = self.byte() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn peek(&mut self) -> Option<u8> {
        self.skip_whitespace();
        self.byte()
    }

    pub(crate) fn skip_whitespace(&mut self) {
        while self.byte().is_some_and(N::is_white_space) {
            self.at += 1;
        }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    pub(crate) fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(crate) fn error(&self, what: &'static str) -> JsonError {
        JsonError { what, at: self.at }
    }
}

/// The high bit of each byte that is a quote, a backslash or a control character. The lowest such bit is exact, higher
/// ones may be borrowed.
fn stops(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const fn below(word: u64, limit: u64) -> u64 {
        word.wrapping_sub(EACH * limit) & !word & HIGH
    }
    below(word, 0x20) | below(word ^ (EACH * 0x22), 1) | below(word ^ (EACH * 0x5c), 1)
}

/// How many bytes come before the first quote, backslash or control character: eight at a time, since this is
/// where reading traces spends its time.
fn plain_length(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let stops = stops(u64::from_le_bytes(*word));
        if stops != 0 {
            return place * 8 + stops.trailing_zeros() as usize / 8;
        }
    }
    let is_stop = |&byte: &u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    words.len() * 8 + rest.iter().position(is_stop).unwrap_or(rest.len())
}

/// A number such as `1619793031.466451`, and how many bytes it has: what most times look like. Its digits are an integer
/// that a double holds exactly, as is the power of ten that divides it, so that one division gives the nearest double.
/// `None` for all others.
fn short_decimal(text: &[u8]) -> Option<(f64, usize)> {
    const POWERS: [f64; 17] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16];
    let digits = |value: &mut u64, from: usize| {
        // More digits make no integer that a double holds exactly.
        let rest = text.get(from..)?.iter().take(17);
        let mut length = 0;
        for digit in rest.map(|byte| byte.wrapping_sub(b'0')).take_while(|&digit| digit < 10) {
            *value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            length += 1;
        }
        (length > 0).then_some(length)
    };
    let mut value = 0;
    let whole = digits(&mut value, 0)?;
    let decimals = if text.get(whole) == Some(&b'.') { digits(&mut value, whole + 1)? } else { 0 };
    let length = whole + decimals + usize::from(decimals > 0);
    let has_leading_zero = text[0] == b'0' && whole > 1;
    let goes_on = matches!(text.get(length), Some(b'0'..=b'9' | b'.' | b'e' | b'E'));
    if whole + decimals > 17 || value >> 53 != 0 || has_leading_zero || goes_on {
        return None;
    }
    Some((value as f64 / POWERS.get(decimals)?, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_skips(text: &str, valid: bool) {
        let mut reader = Reader::new(text);
        let outcome = reader.skip_value().and_then(|()| reader.end());
        assert_eq!(outcome.is_ok(), valid, "{text}: {outcome:?}");
    }

    #[test]
    fn characters_of_several_bytes_may_stand_at_any_place() {
        for before in 0..20 {
            for character in ["ü", "日", "🦀", "\\\"", "\\u00fc"] {
                for after in 0..12 {
                    let text = format!("\"{}{character}{}\"", "x".repeat(before), "y".repeat(after));
                    let mut decoded = Decoded::default();
                    Reader::new(&text).string_into(&mut decoded).unwrap();
                    let expected: String = serde_json::from_str(&text).unwrap();
                    assert_eq!(decoded.text(0, decoded.len()).unwrap(), expected, "{text}");
                }
            }
        }
    }

    #[test]
    fn skips_what_is_json_and_refuses_what_is_not() {
        for text in [
            "{}",
            "[]",
            " [ 1 , -0.5e+7 , 0 , 1E9 ] ",
            r#"{"a":{"b":[{},[],null,true,false]},"c":"\"\\\/\b\f\n\r\t"}"#,
            r#""é\u00e9\ud83d\ude00""#,
            "1e999",
        ] {
            check_skips(text, true);
        }
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "[1 2]",
            "[1}",
            "{\"a\":1]",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "NaN",
            "Infinity",
            "-Infinity",
            "nul",
            "\"a",
            "\"\n\"",
            r#""\x""#,
            r#""\u12""#,
            r#""\ud83d""#,
            r#""\ud83d\u0041""#,
            r#""\ude00""#,
            "1 2",
            "'a'",
        ] {
            check_skips(text, false);
        }
    }

    #[test]
    fn agrees_with_serde_json_on_strings() {
        for text in [r#""plain""#, r#""a\"b\\c\/d\n\u0041\ud83d\ude00é""#, r#""""#] {
            let expected: String = serde_json::from_str(text).unwrap();
            assert_eq!(Reader::new(text).string().unwrap(), expected);
            let mut out = Decoded::default();
            out.put(b"kept ");
            Reader::new(text).string_into(&mut out).unwrap();
            assert_eq!(out.text(0, out.len()).unwrap(), format!("kept {expected}"));
        }
    }

    #[test]
    fn a_number_is_the_nearest_double_or_an_error() {
        for (text, expected) in
            [("1.6197930314664514E9", 1_619_793_031.466_451_4), ("0", 0.0), ("-12.5e-1", -1.25)]
        {
            assert_eq!(Reader::new(text).number().unwrap().to_bits(), f64::to_bits(expected));
        }
        for text in ["1e999", "NaN", "01", "1.", ".5", "1.e5", "", "1619793031.", "0000000000000000001"] {
            let mut reader = Reader::new(text);
            assert!(reader.number().and_then(|_| reader.end()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_million_levels_are_no_problem() {
        let levels = 1_000_000;
        check_skips(&("[".repeat(levels) + &"]".repeat(levels)), true);
        check_skips(&"[".repeat(levels), false);
    }

    proptest::proptest! {
        #[test]
        fn strings_are_those_of_serde_json(text in r#""([a-zé \\\\"/nu0-9]|\\\\[\\\\"/bfnrt]|\\\\u00[0-9a-f]{2}|\x1f){0,40}""#) {
            let theirs = serde_json::from_str::<String>(&text).ok();
            let mut reader = Reader::new(&text);
            let mut out = Decoded::default();
            let read = reader.string_into(&mut out).and_then(|()| reader.end());
            let ours = read.ok().map(|()| out.text(0, out.len()).unwrap().to_owned());
            proptest::prop_assert_eq!(&ours, &theirs);
            let mut reader = Reader::new(&text);
            let borrowed = reader.string().and_then(|string| reader.end().map(|()| string.into_owned())).ok();
            proptest::prop_assert_eq!(borrowed, theirs);
        }

        #[test]
        fn numbers_are_those_of_the_standard_library(text in r"-?(0|[1-9][0-9]{0,19})(\.[0-9]{1,19})?([eE][+-]?[0-9]{1,2})?") {
            let mut reader = Reader::new(&text);
            let number = reader.number().and_then(|number| reader.end().map(|()| number)).unwrap();
            proptest::prop_assert_eq!(number.to_bits(), text.parse::<f64>().unwrap().to_bits());
        }

        #[test]
        fn accepts_and_refuses_the_same_texts_as_serde_json(text in r#"[\[\]{}",:0-9eE+\-. a\\untrfalse]{0,24}"#) {
            let mut reader = Reader::new(&text);
            let ours = reader.skip_value().and_then(|()| reader.end()).is_ok();
            let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            proptest::prop_assert_eq!(ours, theirs);
        }
    }
}
