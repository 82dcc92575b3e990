//! Foreign texts in Markdown.

/// A foreign text, so that it is nothing but text in Markdown: no link, no markup, no cell of a table, no HTML. It is one line.
///
/// ```
/// assert_eq!(sb_analysis::markdown_text("a|b\n[x](http://e)"), "a\\|b \\[x\\](http://e)");
/// ```
pub fn markdown_text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => plain.push(' '),
            '|' | '*' | '_' | '`' | '[' | ']' | '<' | '>' | '\\' | '#' | '&' | '~' => {
                plain.push('\\');
                plain.push(c);
            }
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_texts_are_no_markdown() {
        for (text, expected) in [
            ("a|b\n<img>", "a\\|b \\<img\\>"),
            ("*_[x](http://e)", "\\*\\_\\[x\\](http://e)"),
            ("`&lt;` ~~x~~ \\|\u{1b}", "\\`\\&lt;\\` \\~\\~x\\~\\~ \\\\\\|"),
        ] {
            assert_eq!(markdown_text(text), expected, "{text}");
        }
    }
}
