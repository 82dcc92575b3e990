use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::io::{self, Read as _};

use aho_corasick::{AhoCorasick, Input, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// Takes secret values out of what is written for others to read, in the forms in which programs write them:
/// as they are, escaped as in JSON, percent-encoded, as form data, in Base64; and of a value with several lines each line.
///
/// ```
/// let redactor = sb_measurement::Redactor::new(["pass&word"]);
/// assert_eq!(redactor.text("GET /?key=pass%26word"), "GET /?key=***");
/// assert_eq!(redactor.text("nothing here"), "nothing here");
/// ```
#[derive(Clone, Default)]
pub struct Redactor {
    forms: Option<AhoCorasick>,
}

impl Redactor {
    /// What stands in the place of a secret.
    pub const MARK: &str = "***";
    /// Bytes that a secret must have to be searched for: shorter ones are everywhere.
    pub const MIN_LENGTH: usize = 4;
    /// The same for a secret of digits alone, which must not be taken for a number.
    pub const MIN_DIGITS: usize = 8;

    /// A redactor of these values. It searches once for all of them; the longest that begins at a place is taken.
    pub fn new<Secret: AsRef<str>>(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut forms = BTreeSet::new();
        for secret in secrets {
            let secret = secret.as_ref();
            add_forms(secret, &mut forms);
            if secret.contains('\n') {
                secret.lines().for_each(|line| add_forms(line.trim(), &mut forms));
            }
        }
        if forms.is_empty() {
            return Self::default();
        }
        let forms = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(forms);
        Self { forms: Some(forms.expect("secrets have fewer than 2^31 bytes")) }
    }

    /// Whether there is nothing to search for.
    pub fn is_empty(&self) -> bool {
        self.forms.is_none()
    }

    /// The text without secrets.
    pub fn text<'text>(&self, text: &'text str) -> Cow<'text, str> {
        match &self.forms {
            Some(forms) if forms.is_match(text) => {
                let marks = vec![Self::MARK; forms.patterns_len()];
                Cow::Owned(forms.replace_all(text, &marks))
            }
            _ => Cow::Borrowed(text),
        }
    }

    /// The bytes without secrets.
    pub fn bytes<'bytes>(&self, bytes: &'bytes [u8]) -> Cow<'bytes, [u8]> {
        match &self.forms {
            Some(forms) if forms.is_match(bytes) => {
                let marks = vec![Self::MARK; forms.patterns_len()];
                Cow::Owned(forms.replace_all_bytes(bytes, &marks))
            }
            _ => Cow::Borrowed(bytes),
        }
    }

    /// Copies all that there is to read, without secrets, in memory that does not depend on its length. Returns how many
    /// secrets there were.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn copy(&self, mut from: impl io::Read, mut to: impl io::Write) -> io::Result<u64> {
        /// As much as is read at once.
        const CHUNK: usize = 1 << 16;
        let Some(forms) = &self.forms else { return io::copy(&mut from, &mut to).map(|_| 0) };
        let (mut held, mut count, mut at_end) = (Vec::new(), 0, false);
        while !at_end {
            at_end = from.by_ref().take(CHUNK as u64).read_to_end(&mut held)? == 0;
            // What begins later may go on beyond what was read.
            let complete =
                if at_end { held.len() } else { held.len().saturating_sub(forms.max_pattern_len()) };
            let mut done = 0;
            while let Some(found) = forms.find(Input::new(&held).range(done..))
                && found.start() < complete
            {
                to.write_all(&held[done..found.start()])?;
                to.write_all(Self::MARK.as_bytes())?;
                done = found.end();
                count += 1;
            }
            let copied = complete.max(done);
            to.write_all(&held[done..copied])?;
            held.drain(..copied);
        }
        Ok(count)
    }
}

/// Without the secrets.
impl fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Redactor").finish_non_exhaustive()
    }
}

/// Nobody's secret, and everywhere: a file of results without them is no JSON any more.
const WORDS_OF_JSON: [&str; 3] = ["null", "true", "false"];

fn add_forms(secret: &str, forms: &mut BTreeSet<String>) {
    let is_number = secret.bytes().all(|byte| byte.is_ascii_digit());
    let shortest = if is_number { Redactor::MIN_DIGITS } else { Redactor::MIN_LENGTH };
    if secret.len() < shortest || WORDS_OF_JSON.contains(&secret) {
        return;
    }
    let json = json_escaped(secret, false);
    // Go's encoder, which Terraform and many others use, and JSON for web pages.
    for marks in [&['<', '>', '&'][..], &['<', '>', '&', '\u{2028}', '\u{2029}'], &['<', '>', '&', '\'', '=']]
    {
        let escaped: String = json.chars().fold(String::new(), |mut text, letter| {
            if marks.contains(&letter) {
                push_unit(&mut text, letter as u16);
            } else {
                text.push(letter);
            }
            text
        });
        forms.insert(json_escaped(&escaped, false));
        forms.insert(escaped);
    }
    forms.insert(json_escaped(secret, true));
    // JSON within JSON, as traces keep their segments.
    forms.insert(json_escaped(&json, false));
    forms.insert(json);
    // Who keeps which characters as they are differs: RFC 3986's unreserved ones, and those of encodeURIComponent.
    for kept in ["-_.~", "-_.!~*'()", "-_.*", "-_.~/", "-_.~:/?@!$&'()*+,;="] {
        let encoded = percent_encoded(secret, kept);
        forms.insert(lower_hex(&encoded));
        forms.insert(encoded.replace("%20", "+"));
        forms.insert(encoded);
    }
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        forms.insert(engine.encode(secret));
    }
    // As a part of something longer, such as `user:password`: what of it does not depend on its neighbours.
    for before in 0..3 {
        let bytes = [&[0; 2][..before], secret.as_bytes()].concat();
        let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            if let Some(part) = engine.encode(&bytes).get(own.clone()).filter(|part| part.len() >= 6) {
                forms.insert(part.to_owned());
            }
        }
    }
    forms.insert(secret.to_owned());
}

/// As the inside of a JSON string; with everything beyond ASCII as `\u` escapes, as Python writes it, or as it is.
fn json_escaped(text: &str, ascii: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{8}' => escaped.push_str("\\b"),
            '\u{c}' => escaped.push_str("\\f"),
            control if control < ' ' => push_unit(&mut escaped, control as u16),
            other if ascii && !other.is_ascii() => {
                other.encode_utf16(&mut [0; 2]).iter().for_each(|unit| push_unit(&mut escaped, *unit));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

fn push_unit(text: &mut String, unit: u16) {
    let _ = write!(text, "\\u{unit:04x}");
}

fn percent_encoded(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The same with the digits of `%2F` in lower case.
fn lower_hex(encoded: &str) -> String {
    let mut digits = 0;
    let lowered = encoded.chars().map(|character| {
        let is_digit = digits > 0;
        digits = if character == '%' { 2 } else { digits - i32::from(is_digit) };
        if is_digit { character.to_ascii_lowercase() } else { character }
    });
    lowered.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_encoders_for_web_pages_write_is_known() {
        check(&["a<b>&c\"d"], r#"{"x":"a\u003cb\u003e\u0026c\"d"}"#, r#"{"x":"***"}"#);
        check(&["a<b>&c\"d"], r#""{\"x\":\"a\\u003cb\\u003e\\u0026c\\\"d\"}""#, r#""{\"x\":\"***\"}""#);
    }

    #[track_caller]
    fn check(secrets: &[&str], text: &str, expected: &str) {
        let redactor = Redactor::new(secrets);
        assert_eq!(redactor.text(text), expected);
        assert_eq!(redactor.bytes(text.as_bytes()), expected.as_bytes());
        let mut copied = Vec::new();
        let found = redactor.copy(text.as_bytes(), &mut copied).unwrap();
        assert_eq!(copied, expected.as_bytes());
        assert_eq!(found > 0, text != expected);
    }

    #[test]
    fn secrets_are_found_in_every_form_in_which_programs_write_them() {
        let secret = "p\"ä/ &x?";
        check(&[secret], "a p\"ä/ &x? b", "a *** b");
        check(&[secret], r#"{"a": "p\"ä/ &x?"}"#, r#"{"a": "***"}"#);
        check(&[secret], r#"{"a": "p\"\u00e4/ &x?"}"#, r#"{"a": "***"}"#);
        check(&[secret], r#"{"a": "{\"b\": \"p\\\"ä/ &x?\"}"}"#, r#"{"a": "{\"b\": \"***\"}"}"#);
        check(&[secret], "?k=p%22%C3%A4%2F%20%26x%3F&", "?k=***&");
        check(&[secret], "?k=p%22%c3%a4%2f%20%26x%3f&", "?k=***&");
        check(&[secret], "k=p%22%C3%A4%2F+%26x%3F", "k=***");
        check(&[secret], "/p%22%C3%A4/%20%26x%3F", "/***");
        check(&[secret], "Basic cCLDpC8gJng/ and cCLDpC8gJng_", "Basic *** and ***");
        for before in ["", "u", "us", "user", "user:", "a longer user:"] {
            let text = STANDARD.encode(format!("{before}hush-hush-hush{before}"));
            let shown = Redactor::new(["hush-hush-hush"]).text(&text).into_owned();
            assert!(shown.contains("***") && shown.len() < text.len() - 10, "{before}: {text} {shown}");
        }
    }

    #[test]
    fn of_two_secrets_the_longer_is_taken_and_each_line_of_one_is_one() {
        check(&["token", "token-of-a"], "token-of-a token", "*** ***");
        check(&["-----BEGIN-----\nabcdefgh\n"], "only abcdefgh here", "only *** here");
    }

    #[test]
    fn what_is_too_short_to_be_told_from_other_text_is_left() {
        check(&["abc", "", "1234567"], "abc 1234567", "abc 1234567");
        check(&["abcd", "12345678"], "abcd 12345678", "*** ***");
        check(
            &["null", "true", "false"],
            r#"{"a":null,"b":true,"c":false}"#,
            r#"{"a":null,"b":true,"c":false}"#,
        );
    }

    #[test]
    fn a_secret_at_any_edge_of_what_is_read_at_once_is_found_and_the_longer_one_taken() {
        let redactor = Redactor::new(["secret", "secret-of-many-words"]);
        for before in (1 << 16) - 25..(1 << 16) + 2 {
            let filling = "x".repeat(before);
            let text = format!("{filling}secret-of-many-words, secret");
            let mut copied = Vec::new();
            assert_eq!(redactor.copy(text.as_bytes(), &mut copied).unwrap(), 2);
            assert!(copied == format!("{filling}***, ***").into_bytes(), "{before} bytes before it");
        }
    }

    #[test]
    fn nothing_to_hide_changes_nothing_and_debug_hides_what_there_is() {
        check(&[], "text", "text");
        assert!(Redactor::new(["", "a"]).is_empty());
        assert!(!format!("{:?}", Redactor::new(["hush-hush"])).contains("hush"));
    }
}
