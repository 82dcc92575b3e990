//! How manifests and plans in TOML are laid out: `sb fmt`.
//!
//! The layout changes only what stands between values. Keys, their order, values as they are written, and comments stay.
//!
//! - Tables and keys begin at the margin. One blank line stands before a table, and before the comment that belongs to it.
//! - `=` has one space on each side, and so have the braces of an inline table within. Brackets of arrays have none.
//! - An array or inline table in one line stays in one line. In one of several lines, the lines stay, each is indented by
//!   four spaces, and a comma follows the last item.
//! - Several blank lines become one. Spaces at the ends of lines go. A comment behind a value keeps its distance.
//! - The file ends with one line end.

use std::fmt::Write as _;
use std::path::Path;

use toml_parser::Source;
use toml_parser::lexer::{Token, TokenKind};

use crate::manifest::problem::Problem;
use crate::manifest::tree;

const INDENT: usize = 4;

/// Lays out a TOML file. Doing so again changes nothing.
///
/// # Errors
/// The text cannot be read as TOML: what is wrong with it, and where. `path` names it in problems.
pub fn format(path: &Path, text: &str) -> Result<String, Vec<Problem>> {
    let (mark, body) = match text.strip_prefix('\u{feff}') {
        Some(body) => ("\u{feff}", body),
        None => ("", text),
    };
    let errors = tree::toml_errors(path, body);
    if !errors.is_empty() {
        return Err(errors);
    }
    let tokens: Vec<Token> = Source::new(body).lex().collect();
    let layout = Layout { text: body, tokens: &tokens, at: 0 };
    let mut out = layout.document();
    // Strings of several lines keep theirs.
    if let Some(first) = tokens.iter().find(|token| token.kind() == TokenKind::Newline)
        && body[first.span().start()..first.span().end()].starts_with('\r')
    {
        out = with_carriage_returns(&out);
    }
    let out = format!("{mark}{out}");
    if values(text) != values(&out) {
        let message = "the layout of this file would change a value, so it is left as it is";
        return Err(vec![Problem::error("syntax", message).help("please report this, with the file")]);
    }
    Ok(out)
}

/// What a text holds, for comparison: also of numbers that do not equal themselves.
fn values(text: &str) -> Option<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    toml::from_str::<toml::Table>(text).ok().map(|table| format!("{table:?}"))
}

/// A line end of Windows for each of the layout's; those within strings are as they were.
fn with_carriage_returns(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    for token in Source::new(text).lex() {
        let span = token.span();
        match token.kind() {
            TokenKind::Newline => out.push_str("\r\n"),
            _ => out.push_str(&text[span.start()..span.end()]),
        }
    }
    out
}

/// What stands between two statements.
enum Between {
    Blank,
    Comment(String),
}

/// What stands in an array or an inline table.
enum Inside {
    Item(String),
    /// With the spaces before it, if it stands behind something.
    Comment(String),
}

struct Layout<'a> {
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Layout<'a> {
    fn kind(&self) -> TokenKind {
        self.tokens.get(self.at).map_or(TokenKind::Eof, Token::kind)
    }

    /// The text of the next token, which is passed.
    fn take(&mut self) -> &'a str {
        let text = self.tokens.get(self.at).map(|token| &self.text[token.span().start()..token.span().end()]);
        self.at += 1;
        text.unwrap_or_default()
    }

    /// Spaces and tabs, if they come next.
    fn spaces(&mut self) -> &'a str {
        if self.kind() == TokenKind::Whitespace { self.take() } else { "" }
    }

    fn document(mut self) -> String {
        let mut out = String::with_capacity(self.text.len());
        let mut between: Vec<Between> = Vec::new();
        loop {
            self.spaces();
            match self.kind() {
                TokenKind::Eof => break,
                TokenKind::Newline => {
                    self.take();
                    between.push(Between::Blank);
                }
                TokenKind::Comment => {
                    between.push(Between::Comment(self.take().trim_end().to_owned()));
                    self.line_end();
                }
                TokenKind::LeftSquareBracket => {
                    let header = self.header();
                    own_paragraph(&mut between, out.is_empty());
                    flush(&mut out, &mut between);
                    out += &header;
                    self.rest_of_line(&mut out);
                }
                _ => {
                    flush(&mut out, &mut between);
                    out += &self.key_value(0);
                    self.rest_of_line(&mut out);
                }
            }
        }
        while matches!(between.last(), Some(Between::Blank)) {
            between.pop();
        }
        flush(&mut out, &mut between);
        out
    }

    fn line_end(&mut self) {
        if self.kind() == TokenKind::Newline {
            self.take();
        }
    }

    /// A comment behind a statement, and the end of its line.
    fn rest_of_line(&mut self, out: &mut String) {
        let distance = self.spaces();
        if self.kind() == TokenKind::Comment {
            let _ = write!(out, "{}{}", apart(distance), self.take().trim_end());
        }
        out.push('\n');
        self.line_end();
    }

    /// `[a.b]` or `[[a.b]]`, without spaces.
    fn header(&mut self) -> String {
        let mut header = String::new();
        loop {
            match self.kind() {
                TokenKind::Newline | TokenKind::Comment | TokenKind::Eof => return header,
                TokenKind::Whitespace => drop(self.take()),
                TokenKind::RightSquareBracket => {
                    header += self.take();
                    if self.kind() != TokenKind::RightSquareBracket {
                        return header;
                    }
                }
                _ => header += self.take(),
            }
        }
    }

    fn key_value(&mut self, indent: usize) -> String {
        let mut text = String::new();
        while !matches!(self.kind(), TokenKind::Equals | TokenKind::Eof | TokenKind::Newline) {
            let part = self.take();
            if !part.trim().is_empty() {
                text += part;
            }
        }
        self.take();
        text += " = ";
        self.spaces();
        text + &self.value(indent)
    }

    fn value(&mut self, indent: usize) -> String {
        match self.kind() {
            TokenKind::LeftSquareBracket => self.container(indent, ["[", "]"], TokenKind::RightSquareBracket),
            TokenKind::LeftCurlyBracket => self.container(indent, ["{", "}"], TokenKind::RightCurlyBracket),
            TokenKind::Atom | TokenKind::Dot => {
                // A number with a fraction, or a date and a time, are several tokens.
                let mut text = String::new();
                loop {
                    match self.kind() {
                        TokenKind::Atom | TokenKind::Dot => text += self.take(),
                        TokenKind::Whitespace if self.is_time_behind(&text) => text += self.take(),
                        _ => return text,
                    }
                }
            }
            _ => self.take().to_owned(),
        }
    }

    /// Whether a space stands within a date and time: `1979-05-27 07:32:00`.
    fn is_time_behind(&self, text: &str) -> bool {
        let next = self.tokens.get(self.at + 1);
        let is_date = text.len() == 10 && text.as_bytes()[4] == b'-';
        is_date && next.is_some_and(|token| token.kind() == TokenKind::Atom)
    }

    /// Whether what is opened next has a line end of its own: those of what is in it do not count. (Nesting is limited.)
    fn is_long(&self) -> bool {
        let mut depth = 0_usize;
        for token in &self.tokens[self.at..] {
            match token.kind() {
                TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket => depth += 1,
                TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket if depth <= 1 => return false,
                TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => depth -= 1,
                TokenKind::Newline if depth == 1 => return true,
                _ => {}
            }
        }
        false
    }

    fn container(&mut self, indent: usize, [open, close]: [&str; 2], end: TokenKind) -> String {
        let is_long = self.is_long();
        self.take();
        let mut parts: Vec<(usize, Inside)> = Vec::new();
        let (mut breaks, mut distance) = (0, "");
        let inner = if is_long { indent + INDENT } else { indent };
        loop {
            match self.kind() {
                TokenKind::Eof => break,
                kind if kind == end => {
                    self.take();
                    break;
                }
                TokenKind::Whitespace => distance = self.take(),
                TokenKind::Newline => {
                    self.take();
                    breaks += 1;
                }
                TokenKind::Comma => drop(self.take()),
                TokenKind::Comment => {
                    let comment = self.take().trim_end();
                    let before = if breaks == 0 { apart(distance) } else { String::new() };
                    parts.push((std::mem::take(&mut breaks), Inside::Comment(before + comment)));
                }
                _ => {
                    let item = if end == TokenKind::RightCurlyBracket {
                        self.key_value(inner)
                    } else {
                        self.value(inner)
                    };
                    parts.push((std::mem::take(&mut breaks), Inside::Item(item)));
                }
            }
            if self.kind() != TokenKind::Comment && !matches!(self.kind(), TokenKind::Whitespace) {
                distance = "";
            }
        }
        if is_long { several_lines(&parts, indent, open, close) } else { one_line(&parts, open, close) }
    }
}

fn one_line(parts: &[(usize, Inside)], open: &str, close: &str) -> String {
    let items: Vec<&str> = parts
        .iter()
        .map(|(_, part)| match part {
            Inside::Item(text) | Inside::Comment(text) => text.as_str(),
        })
        .collect();
    let space = if open == "{" && !items.is_empty() { " " } else { "" };
    format!("{open}{space}{}{space}{close}", items.join(", "))
}

fn several_lines(parts: &[(usize, Inside)], indent: usize, open: &str, close: &str) -> String {
    let mut text = open.to_owned();
    let margin = " ".repeat(indent + INDENT);
    let mut after_comment = false;
    for (index, (breaks, part)) in parts.iter().enumerate() {
        let is_item = matches!(part, Inside::Item(_));
        if *breaks > 0 || after_comment || (index == 0 && is_item) {
            text += if *breaks > 1 && index > 0 && !(after_comment && *breaks < 2) { "\n\n" } else { "\n" };
            text += &margin;
        } else if is_item {
            text.push(' ');
        }
        match part {
            Inside::Item(item) => {
                let _ = write!(text, "{item},");
            }
            Inside::Comment(comment) => text += comment,
        }
        after_comment = !is_item;
    }
    let _ = write!(text, "\n{}{close}", " ".repeat(indent));
    text
}

/// The spaces before a comment behind something: as they are, and at least one.
fn apart(distance: &str) -> String {
    if distance.is_empty() || distance.contains('\t') { " ".to_owned() } else { distance.to_owned() }
}

/// A blank line before a table and the comments that stand right above it.
fn own_paragraph(between: &mut Vec<Between>, is_first: bool) {
    let attached = between.iter().rev().take_while(|part| matches!(part, Between::Comment(_))).count();
    let at = between.len() - attached;
    let is_apart = at > 0 && matches!(between[at - 1], Between::Blank);
    if !is_apart && !is_first {
        between.insert(at, Between::Blank);
    }
}

fn flush(out: &mut String, between: &mut Vec<Between>) {
    for part in between.drain(..) {
        match part {
            Between::Blank if out.is_empty() || out.ends_with("\n\n") => {}
            Between::Blank => out.push('\n'),
            Between::Comment(comment) => {
                let _ = writeln!(out, "{comment}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(before: &str, after: &str) {
        let path = Path::new("/x/benchmark.toml");
        let formatted = format(path, before).unwrap_or_else(|problems| panic!("{before}: {problems:?}"));
        assert_eq!(formatted, after, "{before}");
        assert_eq!(format(path, &formatted).unwrap(), after, "a second time");
        assert_eq!(values(before), values(after));
    }

    #[test]
    fn statements_begin_at_the_margin_with_one_space_around_the_sign() {
        check("a=1", "a = 1\n");
        check("  a   =\t 1   \n\tb . c  = 'x'\n", "a = 1\nb.c = 'x'\n");
        check("\n\n\na = 1\n\n\n\nb = 2\n\n\n", "a = 1\n\nb = 2\n");
        check(
            "\"a b\".'c' = 1.5e3\nd = 1979-05-27 07:32:00.5Z\n",
            "\"a b\".'c' = 1.5e3\nd = 1979-05-27 07:32:00.5Z\n",
        );
        check("", "");
        check("# only\n\n", "# only\n");
    }

    #[test]
    fn tables_are_paragraphs_and_their_comments_stay_with_them() {
        check("[ a . b ]\nx = 1\n[[ c ]]#here\ny=2", "[a.b]\nx = 1\n\n[[c]] #here\ny = 2\n");
        check(
            "x = 1\n# of the table\n# in two lines\n[a]\n",
            "x = 1\n\n# of the table\n# in two lines\n[a]\n",
        );
        check("# of the file\n\n# of the table\n[a]\n", "# of the file\n\n# of the table\n[a]\n");
        check("[a]\n[a.b]\n\n\n   # apart\n\n[c]\n", "[a]\n\n[a.b]\n\n# apart\n\n[c]\n");
    }

    #[test]
    fn arrays_and_inline_tables_keep_their_lines() {
        check("a=[1,2 , 3,]\nb={x=1,y = {}}\nc=[ ]\n", "a = [1, 2, 3]\nb = { x = 1, y = {} }\nc = []\n");
        check("a = [\n1,2,\n\n\n3 ]\n", "a = [\n    1, 2,\n\n    3,\n]\n");
        check(
            "a = [ # all\n1,   # one\n# two\n2\n# end\n]\n",
            "a = [ # all\n    1,   # one\n    # two\n    2,\n    # end\n]\n",
        );
        check("a = [1 # one\n, 2]\n", "a = [\n    1, # one\n    2,\n]\n");
        check("a = [[1,\n2],[3]]\n", "a = [[\n    1,\n    2,\n], [3]]\n");
        check("a = [\n]\n", "a = [\n]\n");
        check("a = { b = [\n{x=1},\n[2],\n] }\n", "a = { b = [\n    { x = 1 },\n    [2],\n] }\n");
    }

    #[test]
    fn values_stay_as_they_are_written() {
        check("a = '''\n  x  \n\n\n\ty'''   # c  \n", "a = '''\n  x  \n\n\n\ty'''   # c\n");
        check("a = \"\"\"\nx \\\n   y\"\"\"\n", "a = \"\"\"\nx \\\n   y\"\"\"\n");
        check("a = 0xFF_00\nb = +inf\nc = \"\\u00e9\"\n", "a = 0xFF_00\nb = +inf\nc = \"\\u00e9\"\n");
        check("a=1\r\nb='''\r\nx\ny'''\r\n", "a = 1\r\nb = '''\r\nx\ny'''\r\n");
        check("\u{feff}a=1", "\u{feff}a = 1\n");
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_place() {
        let problems = format(Path::new("/x/plan.toml"), "a = 1\nb = [1,\n").unwrap_err();
        assert!(problems[0].code == "syntax" && problems[0].line_column().is_some(), "{problems:?}");
        assert_eq!(format(Path::new("/x/plan.toml"), "a = 1\na = 2\n").unwrap_err()[0].code, "duplicate-key");
    }

    fn spaces() -> impl Strategy<Value = String> {
        "[ \t]{0,3}"
    }

    fn line_end() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[ ]{0,2}\n{1,3}",
            1 => "[ ]{0,2}#[ a-z=\\[\\]{}\"',]{0,12}\n",
        ]
    }

    /// Spaces, line ends and comments, as they may stand in an array.
    fn trivia() -> impl Strategy<Value = String> {
        prop_oneof![4 => spaces(), 1 => line_end()]
    }

    fn scalar() -> impl Strategy<Value = String> {
        prop_oneof![
            "[1-9][0-9]{0,3}",
            "[1-9]\\.[0-9]{1,2}",
            Just("true".to_owned()),
            Just("1979-05-27 07:32:00".to_owned()),
            Just("1979-05-27".to_owned()),
            "\"[a-z #,=\\[\\]{}.]{0,8}\"",
            "'[a-z #,=\\[\\]{}.\\\\]{0,8}'",
            "'''[a-z #,=\n\t ]{0,12}'''",
            "\"\"\"[a-z #,=\n\t ]{0,12}\"\"\"",
        ]
    }

    fn value() -> impl Strategy<Value = String> {
        scalar().prop_recursive(3, 16, 4, |inner| {
            let array =
                (prop::collection::vec((trivia(), inner.clone(), trivia()), 0..4), trivia(), any::<bool>());
            let array = array.prop_map(|(items, end, comma)| {
                let items: Vec<_> =
                    items.iter().map(|(before, item, after)| format!("{before}{item}{after}")).collect();
                let comma = if comma && !items.is_empty() { "," } else { "" };
                format!("[{}{comma}{end}]", items.join(","))
            });
            let table =
                prop::collection::vec((spaces(), spaces(), inner, spaces()), 0..3).prop_map(|items| {
                    let items: Vec<_> = items
                        .iter()
                        .enumerate()
                        .map(|(index, (before, around, item, after))| {
                            format!("{before}k{index}{around}={around}{item}{after}")
                        })
                        .collect();
                    format!("{{{}}}", items.join(","))
                });
            prop_oneof![array, table]
        })
    }

    proptest! {
        #[test]
        fn no_value_changes_and_a_second_time_changes_nothing(
            lines in prop::collection::vec((0_u8..4, spaces(), spaces(), value(), line_end()), 0..12)
        ) {
            let mut text = String::new();
            for (index, (kind, before, around, value, end)) in lines.iter().enumerate() {
                match kind {
                    0 => text += &format!("{before}[{around}t{index}{around}.{around}u]{end}"),
                    1 => text += &format!("{before}[[{around}list{around}]]{end}"),
                    2 => text += end.trim_start_matches(' '),
                    _ => text += &format!("{before}k{index}{around}={around}{value}{end}"),
                }
            }
            let path = Path::new("/x/benchmark.toml");
            let once = format(path, &text).map_err(|problems| TestCaseError::fail(format!("{text:?}: {problems:?}")))?;
            prop_assert_eq!(values(&text), values(&once));
            prop_assert!(values(&text).is_some());
            let twice = format(path, &once).map_err(|problems| TestCaseError::fail(format!("{once:?}: {problems:?}")))?;
            prop_assert_eq!(&twice, &once);
            let comments = |text: &str| {
                Source::new(text).lex().filter(|token| token.kind() == TokenKind::Comment).count()
            };
            prop_assert_eq!(comments(&text), comments(&once));
            prop_assert!(once.is_empty() || (once.ends_with('\n') && !once.ends_with("\n\n")) || once.ends_with("'''\n") || once.ends_with("\"\"\"\n"));
        }
    }
}
