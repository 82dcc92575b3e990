//! Foreign text on a terminal: what steps print, what servers answer, names in files. It must not move the cursor, set
//! the title, answer in the user's place or hide what follows it.

use std::borrow::Cow;

/// A text as part of a line: without control characters, colours included.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_special) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Control('\t' | '\n') => out.push(' '),
            Piece::Control(_) | Piece::Sequence(_) => {}
        }
    }
    Cow::Owned(out)
}

/// Lines as they may go to a terminal: without control characters but line ends and tabs; with `colours` or without.
/// Nothing but colours and emphasis is left, so that the worst that foreign text can do is to be red.
pub(crate) fn printable_lines(text: &str, colours: bool) -> Cow<'_, str> {
    if !text.contains(|c| is_special(c) && !matches!(c, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Control(kept @ ('\t' | '\n')) => out.push(kept),
            Piece::Sequence(sequence) if colours && is_style(sequence) => out.push_str(sequence),
            Piece::Control(_) | Piece::Sequence(_) => {}
        }
    }
    Cow::Owned(out)
}

/// Lines as they may go to a file or a program: without escape sequences. Other characters may be data.
pub(crate) fn without_sequences(text: &str) -> Cow<'_, str> {
    if !text.contains('\x1b') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Control(kept) => out.push(kept),
            Piece::Sequence(_) => {}
        }
    }
    Cow::Owned(out)
}

pub(crate) use sb_measurement::counted;

/// A number with so many decimals; a zero has no sign.
pub(crate) fn decimal(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(zero) if zero.bytes().all(|byte| matches!(byte, b'0' | b'.')) => zero.to_owned(),
        _ => text,
    }
}

/// Foreign bytes that come in pieces: a character or a sequence may be cut, and is kept until the rest of it has come.
#[derive(Debug, Default)]
pub(crate) struct Unfinished {
    rest: Vec<u8>,
}

impl Unfinished {
    /// In bytes. A sequence that is longer is given up: what follows it is text.
    const LONGEST: usize = 4096;

    /// As [`printable_lines`], of all that is finished.
    pub(crate) fn printable(&mut self, piece: &[u8], colours: bool) -> String {
        self.rest.extend_from_slice(piece);
        let cut = match str::from_utf8(&self.rest) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.rest.utf8_chunks().last().map_or(0, |last| {
                let is_cut = !last.invalid().is_empty() && last.invalid()[0] >= 0xc0;
                self.rest.len() - if is_cut { last.invalid().len() } else { 0 }
            }),
        };
        let character = self.rest.split_off(cut);
        let bytes = std::mem::replace(&mut self.rest, character);
        let text = String::from_utf8_lossy(&bytes);
        let line = text.rfind('\n').map_or(0, |end| end + 1);
        // Sequences end with their line.
        let last = pieces(&text[line..]).last();
        let open = match last {
            Some(Piece::Sequence(sequence)) if is_cut(sequence) => sequence,
            _ => "",
        };
        let finished = &text[..text.len() - open.len()];
        if open.len() < Self::LONGEST {
            self.rest.splice(..0, open.bytes());
        }
        printable_lines(finished, colours).into_owned()
    }
}

/// Whether what may come next belongs to the sequence.
fn is_cut(found: &str) -> bool {
    ['m', '\x07'].iter().any(|more| sequence(&format!("{found}{more}")) > found.len())
}

enum Piece<'a> {
    Text(&'a str),
    Control(char),
    /// From its first character to its last.
    Sequence(&'a str),
}

/// Control characters, and those that change the direction of what follows.
fn is_special(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn pieces(mut rest: &str) -> impl Iterator<Item = Piece<'_>> {
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let (length, piece): (usize, fn(&str) -> Piece<'_>) = match first {
            '\x1b' | '\u{9b}' | '\u{9d}' | '\u{90}' => (sequence(rest), |text| Piece::Sequence(text)),
            special if is_special(special) => {
                (special.len_utf8(), |text| Piece::Control(text.chars().next().unwrap_or_default()))
            }
            _ => (rest.find(is_special).unwrap_or(rest.len()), |text| Piece::Text(text)),
        };
        let (this, after) = rest.split_at(length);
        rest = after;
        Some(piece(this))
    })
}

/// The length of the escape sequence at the beginning (ECMA-48, 5.3 to 5.6). One that does not end ends with its line.
fn sequence(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1).peekable();
    let kind = match text.chars().next() {
        Some('\u{9b}') => '[',
        Some('\u{9d}' | '\u{90}') => ']',
        _ => match characters.next() {
            None => return text.len(),
            // Two characters, with others in between: `ESC ( B`.
            Some((at, intermediate @ ' '..='/')) => {
                let end = characters.find(|(_, c)| !(' '..='/').contains(c));
                return end.map_or(text.len(), |(end, last)| match last {
                    '0'..='~' => end + last.len_utf8(),
                    _ => at + intermediate.len_utf8(),
                });
            }
            Some((_, kind @ ('[' | ']' | 'P' | 'X' | '^' | '_'))) => kind,
            Some((at, last @ '0'..='~')) => return at + last.len_utf8(),
            // Not the beginning of a sequence.
            Some((at, _)) => return at,
        },
    };
    if kind == '[' {
        for (at, character) in characters {
            match character {
                ' '..='?' => {}
                '@'..='~' => return at + 1,
                _ => return at,
            }
        }
        return text.len();
    }
    // A string: to BEL, or to ST in one of its forms.
    while let Some((at, character)) = characters.next() {
        match character {
            '\x07' | '\u{9c}' => return at + character.len_utf8(),
            '\x1b' => return characters.next_if(|(_, c)| *c == '\\').map_or(at, |(end, _)| end + 1),
            '\n' => return at,
            _ => {}
        }
    }
    text.len()
}

/// `ESC [ … m` that only colours or emphasizes: no background, nothing that hides.
fn is_style(sequence: &str) -> bool {
    let Some(numbers) = sequence.strip_prefix("\x1b[").and_then(|rest| rest.strip_suffix('m')) else {
        return false;
    };
    numbers.split(';').all(|number| {
        let number = if number.is_empty() { Ok(0) } else { number.parse::<u8>() };
        matches!(number, Ok(0..=4 | 22..=24 | 30..=37 | 39 | 90..=97))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural_and_no_zero_has_a_sign() {
        assert_eq!([0_u64, 1, 2].map(|count| counted(count, "step")), ["0 steps", "1 step", "2 steps"]);
        for (value, text) in [(-0.0004, "0.000"), (-0.0, "0.000"), (-0.0006, "-0.001"), (12.5, "12.500")] {
            assert_eq!(decimal(value, 3), text);
        }
        assert_eq!(decimal(f64::NEG_INFINITY, 3), "-inf");
    }

    #[track_caller]
    fn check(text: &str, line: &str, lines: &str, coloured: &str) {
        assert_eq!(printable(text), line);
        assert_eq!(printable_lines(text, false), lines);
        assert_eq!(printable_lines(text, true), coloured);
    }

    #[test]
    fn foreign_text_can_be_red_at_worst() {
        check("plain é ✓", "plain é ✓", "plain é ✓", "plain é ✓");
        check("a\tb\nc\r\n", "a b c ", "a\tb\nc\n", "a\tb\nc\n");
        check("\x1b[31mred\x1b[0m", "red", "red", "\x1b[31mred\x1b[0m");
        check("\x1b[1;91mred\x1b[m", "red", "red", "\x1b[1;91mred\x1b[m");
        for hostile in [
            "\x1b[2J",
            "\x1b[1;1H",
            "\x1b[8m",
            "\x1b[41m",
            "\x1b[31;8m",
            "\x1b]0;title\x07",
            "\x1b]52;c;aGk=\x1b\\",
            "\x1bP+q544e\x1b\\",
            "\x1b_x\u{9c}",
            "\x1bc",
            "\x1b(B",
            "\u{9b}2J",
            "\u{9d}0;title\u{9c}",
            "\x07",
            "\x08\x7f",
            "\u{202e}",
            "\u{2067}",
        ] {
            check(&format!("a{hostile}b"), "ab", "ab", "ab");
            if hostile.starts_with('\x1b') {
                assert_eq!(without_sequences(&format!("a\u{e9}{hostile}b\tc\r\n")), "a\u{e9}b\tc\r\n");
            }
        }
        let long = format!("a\x1b]0;{}\x07b\n", "t".repeat(300));
        for (text, expected) in [
            ("a\x1b[2Jb\x1b[31mred\x1b[0m é\x1b]0;t\x1b\\c\r\n", "ab\x1b[31mred\x1b[0m éc\n"),
            ("\x1bP+q54\x1b\\d\x1b(Be\u{9b}2Jf\x1b]52;c;aGk=\x07g\n", "defg\n"),
            (&long, "ab\n"),
            ("\x1b]0;open\nnext \x1b[8mhidden\n", "\nnext hidden\n"),
        ] {
            for size in 1..9 {
                let mut unfinished = Unfinished::default();
                let pieces = text.as_bytes().chunks(size);
                let shown: String = pieces.map(|piece| unfinished.printable(piece, true)).collect();
                assert_eq!(shown, expected, "in pieces of {size}");
            }
        }
        assert_eq!(Unfinished::default().printable(b"a\xffb", true), "a\u{fffd}b");
        let mut endless = Unfinished::default();
        for _ in 0..100 {
            endless.printable(format!("\x1b]{}", "x".repeat(100)).as_bytes(), true);
            assert!(endless.rest.len() <= 2 * Unfinished::LONGEST);
        }
        // What does not end, ends with its line.
        check("a\x1b]0;title\nb", "a b", "a\nb", "a\nb");
        check("a\x1b[31", "a", "a", "a");
        check("\x1b[3\u{e9}", "é", "é", "é");
    }
}
