//! The notations of the published dataset: its files were written by Python, so durations, lists and numbers look
//! as Python prints them.

use std::fmt::Write as _;

/// `H:MM:SS`, `H:MM:SS.ffffff` where there are fractions, `D day(s), ` in front beyond a day. Negative durations
/// count from the day before: minus a millisecond is `-1 day, 23:59:59.999000`.
pub fn format_duration(microseconds: i64) -> String {
    let mut out = String::with_capacity(16);
    push_duration(&mut out, microseconds);
    out
}

pub(crate) fn push_duration(out: &mut String, microseconds: i64) {
    let days = microseconds.div_euclid(DAY);
    // Within a day, so nothing is lost.
    let rest = microseconds.rem_euclid(DAY).unsigned_abs();
    if days != 0 {
        push(out, format_args!("{days} day{}, ", if days.abs() == 1 { "" } else { "s" }));
    }
    let (seconds, fraction) = (rest / SECOND.unsigned_abs(), rest % SECOND.unsigned_abs());
    push_integer(out, seconds / 3600);
    push_digits::<3>(out, ':', seconds / 60 % 60);
    push_digits::<3>(out, ':', seconds % 60);
    if fraction != 0 {
        push_digits::<7>(out, '.', fraction);
    }
}

/// A mark, then the number with zeros in front, in so many characters together.
fn push_digits<const LENGTH: usize>(out: &mut String, mark: char, mut number: u64) {
    let mut text = [mark; LENGTH];
    for place in text[1..].iter_mut().rev() {
        *place = char::from(b'0' + (number % 10) as u8);
        number /= 10;
    }
    out.extend(text);
}

pub(crate) fn push_integer(out: &mut String, number: u64) {
    if number < 10 {
        out.push(char::from(b'0' + number as u8));
    } else {
        push(out, format_args!("{number}"));
    }
}

/// Reads what [`format_duration`] writes, in microseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (days, time) = match text.split_once(", ") {
        Some((days, time)) => {
            let days = days.strip_suffix(" days").or_else(|| days.strip_suffix(" day"))?;
            (days.parse::<i64>().ok()?, time)
        }
        None => (0, text),
    };
    let (hours, time) = time.split_once(':')?;
    let (minutes, time) = time.split_once(':')?;
    let (seconds, fraction) = match time.split_once('.') {
        Some((seconds, fraction)) if fraction.len() == 6 => (seconds, digits(fraction)?),
        Some(_) => return None,
        None => (time, 0),
    };
    let (hours, minutes, seconds) = (digits(hours)?, digits(minutes)?, digits(seconds)?);
    if hours >= 24 || minutes >= 60 || seconds >= 60 {
        return None;
    }
    let within_day = ((hours * 60 + minutes) * 60 + seconds) * SECOND + fraction;
    days.checked_mul(DAY)?.checked_add(within_day)
}

/// Up to nine digits and nothing else.
fn digits(text: &str) -> Option<i64> {
    let fits = (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// The shortest decimal that reads back to the same double: `1606220832.0`, `1e-05`.
pub(crate) fn push_number(out: &mut String, number: f64) {
    let start = out.len();
    push(out, format_args!("{number:?}"));
    // Rust and Python switch to exponents at the same sizes, but Python writes their sign and two digits.
    if let Some(at) = out[start..].find('e') {
        let exponent = out.split_off(start + at + 1);
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', &*exponent), |digits| ('-', digits));
        push(out, format_args!("{sign}{digits:0>2}"));
    }
}

/// `['AWS::Lambda', "it's"]`
pub(crate) fn push_list(out: &mut String, items: impl IntoIterator<Item = impl AsRef<str>>) {
    out.push('[');
    for (place, item) in items.into_iter().enumerate() {
        if place > 0 {
            out.push_str(", ");
        }
        push_string(out, item.as_ref());
    }
    out.push(']');
}

/// In single quotes, unless these occur and double ones do not.
fn push_string(out: &mut String, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'\'' && byte != b'\\') {
        out.push('\'');
        out.push_str(text);
        out.push('\'');
        return;
    }
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            _ if character == quote => {
                out.push('\\');
                out.push(quote);
            }
            ' '..='~' => out.push(character),
            _ if is_printable(character) => out.push(character),
            _ => match u32::from(character) {
                code @ ..=0xff => push(out, format_args!("\\x{code:02x}")),
                code @ ..=0xffff => push(out, format_args!("\\u{code:04x}")),
                code => push(out, format_args!("\\U{code:08x}")),
            },
        }
    }
    out.push(quote);
}

/// Not a control, format, unassigned or separating character. The standard library follows the same rule when it
/// escapes a character inside of a string.
fn is_printable(character: char) -> bool {
    let mut after_a_letter = ['a'; 2];
    after_a_letter[1] = character;
    let text = String::from_iter(after_a_letter);
    text.escape_debug().eq(after_a_letter)
}

/// Reads what [`push_list`] writes.
pub(crate) fn parse_list(text: &str) -> Option<Vec<String>> {
    let mut rest = text.strip_prefix('[')?.strip_suffix(']')?;
    let mut items = Vec::new();
    while !rest.is_empty() {
        if !items.is_empty() {
            rest = rest.strip_prefix(", ")?;
        }
        let (item, after) = parse_string(rest)?;
        items.push(item);
        rest = after;
    }
    Some(items)
}

fn parse_string(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|&quote| quote == '\'' || quote == '"')?;
    let mut item = String::new();
    let mut characters = text[1..].chars();
    loop {
        match characters.next()? {
            '\\' => item.push(match characters.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'x' => code(&mut characters, 2)?,
                'u' => code(&mut characters, 4)?,
                'U' => code(&mut characters, 8)?,
                same @ ('\\' | '\'' | '"') => same,
                _ => return None,
            }),
            end if end == quote => return Some((item, characters.as_str())),
            other => item.push(other),
        }
    }
}

fn code(characters: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let mut value: u32 = 0;
    for _ in 0..digits {
        value = value.checked_mul(16)? + characters.next()?.to_digit(16)?;
    }
    char::from_u32(value)
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_look_as_in_the_dataset_and_read_back() {
        for (microseconds, text) in [
            (0, "0:00:00"),
            (1, "0:00:00.000001"),
            (14_963_000, "0:00:14.963000"),
            (3_600_000_000, "1:00:00"),
            (86_399_999_999, "23:59:59.999999"),
            (86_400_000_000, "1 day, 0:00:00"),
            (2 * 86_400_000_000 + 61_000_001, "2 days, 0:01:01.000001"),
            (-1_000, "-1 day, 23:59:59.999000"),
            (-86_400_000_000, "-1 day, 0:00:00"),
            (-86_400_000_001, "-2 days, 23:59:59.999999"),
        ] {
            assert_eq!(format_duration(microseconds), text);
            assert_eq!(parse_duration(text), Some(microseconds));
        }
        for text in
            ["", "1", "0:00", "0:60:00", "24:00:00", "0:00:00.1", "x days, 0:00:00", "0:00:+1", "0:00:00:00"]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn lists_look_as_in_the_dataset_and_read_back() {
        for (items, text) in [
            (vec![], "[]"),
            (vec!["AWS::Lambda", "it's"], r#"['AWS::Lambda', "it's"]"#),
            (vec![r#"both ' and ""#], r#"['both \' and "']"#),
            (vec![r#"only ""#, ""], r#"['only "', '']"#),
            (vec!["tab\t\n\r\\", "\u{0}\u{7f}\u{a0}\u{ad}"], r"['tab\t\n\r\\', '\x00\x7f\xa0\xad']"),
            (
                vec!["é日😀e\u{301}", "\u{2028}\u{e000}\u{10ffff}"],
                "['é日😀e\u{301}', '\\u2028\\ue000\\U0010ffff']",
            ),
        ] {
            let mut out = String::new();
            push_list(&mut out, &items);
            assert_eq!(out, text);
            assert_eq!(parse_list(text).unwrap(), items);
        }
        for text in ["", "[", "['a'", "['a' 'b']", "['a', ]", "['a]", r"['\q']", "[a]", r"['\ud800']"] {
            assert_eq!(parse_list(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_look_as_python_prints_them() {
        for (number, text) in [
            (1_606_220_832.0, "1606220832.0"),
            (1_619_794_900.885_188_6, "1619794900.8851886"),
            (0.0, "0.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1e100, "1e+100"),
        ] {
            let mut out = String::new();
            push_number(&mut out, number);
            assert_eq!(out, text);
        }
    }
}
