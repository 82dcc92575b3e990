//! Texts in pictures: escaped, measured, shortened, and numbers that people can read.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// The font of the pictures. A text without a font would be missing in PNG and PDF without a word.
pub(crate) const FONT: &[u8] = include_bytes!("../fonts/DejaVuSans.ttf");

/// The name of the font.
pub(crate) const FONT_FAMILY: &str = "DejaVu Sans";

static FACE: LazyLock<Option<ttf_parser::Face<'static>>> =
    LazyLock::new(|| ttf_parser::Face::parse(FONT, 0).ok());

/// How wide a text is at a size, in pixels.
pub(crate) fn width(text: &str, size: f64) -> f64 {
    let Some(face) = FACE.as_ref() else { return text.chars().count() as f64 * size * 0.6 };
    let units: u32 = text
        .chars()
        .map(|letter| face.glyph_index(letter).unwrap_or_default())
        .filter_map(|glyph| face.glyph_hor_advance(glyph))
        .map(u32::from)
        .sum();
    f64::from(units) * size / f64::from(face.units_per_em())
}

/// Whether the font has a character.
pub(crate) fn has_glyph(letter: char) -> bool {
    FACE.as_ref().is_some_and(|face| face.glyph_index(letter).is_some())
}

/// For text and attributes of XML and HTML. What XML forbids altogether becomes the replacement character.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(printable(other)),
        }
    }
    out
}

/// A character that can be shown on one line and cannot change the order of the others.
fn printable(letter: char) -> char {
    match letter {
        '\n' | '\t' | '\r' => ' ',
        '\u{fffe}' | '\u{ffff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other if other.is_control() => '\u{fffd}',
        other => other,
    }
}

/// A text that can be shown: without control characters, and of bounded length.
pub(crate) fn clean(text: &str, characters: usize) -> String {
    let mut out: String = text.chars().take(characters).map(printable).collect();
    if text.chars().nth(characters).is_some() {
        out.push('…');
    }
    out
}

/// A text that is at most so wide, in pixels; the end is cut, and an ellipsis says so.
pub(crate) fn fitted(text: &str, size: f64, room: f64) -> String {
    let text = clean(text, 200);
    if width(&text, size) <= room {
        return text;
    }
    let mut out = String::new();
    let mut used = width("…", size);
    for letter in text.chars() {
        used += width(letter.encode_utf8(&mut [0; 4]), size);
        if used > room {
            break;
        }
        out.push(letter);
    }
    out.push('…');
    out
}

/// The lines of a text that is to be at most so wide, in pixels.
pub(crate) fn wrapped(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in clean(text, 1000).split_whitespace() {
        let word = fitted(word, size, room);
        match lines.last_mut() {
            Some(line) if width(&format!("{line} {word}"), size) <= room => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// A number with about four digits that matter: `1,234`, `12.35`, `0.001235`. Without trailing zeros.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "unknown".to_owned()
        } else {
            format!("{}∞", if value < 0.0 { "−" } else { "" })
        };
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs();
    if !(1e-6..1e15).contains(&size) {
        return format!("{value:.3e}").replace('-', "−");
    }
    let before = size.log10().floor() as i32;
    let digits = usize::try_from((3 - before).clamp(0, 10)).unwrap_or(0);
    let mut text = format!("{size:.digits$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    let (whole, rest) = text.split_once('.').map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut out = String::new();
    if value < 0.0 {
        out.push('−');
    }
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        let _ = write!(out, ".{rest}");
    }
    out
}

/// A number with its unit.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    if unit.is_empty() { number(value) } else { format!("{} {unit}", number(value)) }
}

/// A coordinate with two decimals, without trailing zeros.
pub(crate) fn place(value: f64) -> String {
    let mut text = format!("{value:.2}");
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    if text == "-0" { "0".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_that_matter() {
        let check = |value: f64, text: &str| assert_eq!(number(value), text, "{value}");
        check(0.0, "0");
        check(1_234_567.0, "1,234,567");
        check(1234.56, "1,235");
        check(12.345_6, "12.35");
        check(12.0, "12");
        check(-0.001_234_56, "−0.001235");
        check(99_999.6, "100,000");
        check(1e-9, "1.000e−9");
        check(f64::NAN, "unknown");
        check(f64::INFINITY, "∞");
    }

    #[test]
    fn texts_are_escaped_and_lose_what_xml_forbids() {
        assert_eq!(
            escaped("<a b=\"c\">&'\u{0}\u{1b}\u{202e}x\ny"),
            "&lt;a b=&quot;c&quot;&gt;&amp;&#39;\u{fffd}\u{fffd}\u{fffd}x y"
        );
    }

    #[test]
    fn a_text_is_cut_to_its_room() {
        let long = "x".repeat(10_000);
        let cut = fitted(&long, 12.0, 100.0);
        assert!(cut.ends_with('…') && width(&cut, 12.0) <= 100.0 && cut.len() > 10, "{cut}");
        assert_eq!(fitted("short", 12.0, 100.0), "short");
        assert_eq!(wrapped("one two three", 12.0, 60.0), ["one two", "three"]);
    }

    #[test]
    fn the_font_has_the_letters_of_figures() {
        for letter in "abcXYZ0189 µäéßΔλЖ–—…−≤≥×→%[]()|".chars() {
            assert!(has_glyph(letter), "{letter}");
        }
        // Twelve pixels of an em: the width of DejaVu Sans' zero is 0.636 em.
        assert!((width("0", 12.0) - 7.63).abs() < 0.02, "{}", width("0", 12.0));
    }
}
