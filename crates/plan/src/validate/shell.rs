//! Finds the placeholders of a shell string that stand where quoting a value cannot protect it.
//!
//! A value in a `run` string becomes a single-quoted word. That is safe in plain code, and in `$( )`, even within
//! double quotes. Added quotes would be text within the author's own quotes, comments and here-documents. Within
//! backticks, `${ }` and `$(( ))` the value would be read once more. This scanner follows the quoting rules of POSIX
//! `sh` (XCU 2.2 and 2.7.4) and of `$'…'`. Where it cannot follow, it says so rather than guess.

use sb_workload::template::{Piece, Template};

/// Why a placeholder cannot stand where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trap {
    SingleQuotes,
    DoubleQuotes,
    Comment,
    HereDocument,
    Backticks,
    Expansion,
    Arithmetic,
    /// Directly after an unquoted backslash or dollar sign.
    Escaped,
    /// After something that this scanner does not follow.
    Unclear,
}

impl Trap {
    /// "stands …"
    pub(super) fn place(self) -> &'static str {
        match self {
            Self::SingleQuotes => "inside single quotes",
            Self::DoubleQuotes => "inside double quotes",
            Self::Comment => "in a comment, which a line break in the value would end",
            Self::HereDocument => "in a here-document",
            Self::Backticks => "between backticks",
            Self::Expansion => "inside `${…}`",
            Self::Arithmetic => "in arithmetic (`$((…))`, `((…))` or `$[…]`)",
            Self::Escaped => "directly after `\\` or `$`",
            Self::Unclear => "after shell syntax too tangled to follow",
        }
    }
}

/// The placeholders (index among all placeholders of the template) that stand in a trap. Raw ones are the
/// author's own affair.
pub(super) fn traps(template: &Template) -> Vec<(usize, Trap)> {
    let mut scanner = Scanner::default();
    let mut found = Vec::new();
    let mut index = 0;
    for piece in template.pieces() {
        match piece {
            Piece::Literal(text) => scanner.literal(text),
            Piece::Value { raw, .. } => {
                if let Some(trap) = scanner.trap().filter(|_| !raw) {
                    found.push((index, trap));
                }
                scanner.value();
                index += 1;
            }
        }
    }
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// `$( … )` and `( … )`.
    Parentheses,
    Double,
    Single,
    /// `$'…'`
    AnsiC,
    Backticks,
    Expansion,
    Arithmetic,
    /// Parentheses within arithmetic.
    Group,
    /// `$[ … ]` of bash, and brackets within.
    Brackets,
    Comment,
    HereDocument,
}

#[derive(Debug)]
struct HereDocument {
    delimiter: String,
    strip_tabs: bool,
}

#[derive(Debug)]
struct Scanner {
    stack: Vec<Frame>,
    /// The next character starts a word.
    word_start: bool,
    /// The last character of the text so far was an unquoted `\` or `$`.
    dangling: bool,
    unclear: bool,
    /// Announced on this line, read from the next line on.
    pending: Vec<HereDocument>,
    /// The here-document's line so far.
    line: String,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            stack: Vec::new(),
            word_start: true,
            dangling: false,
            unclear: false,
            pending: Vec::new(),
            line: String::new(),
        }
    }
}

impl Scanner {
    fn trap(&self) -> Option<Trap> {
        if self.unclear {
            return Some(Trap::Unclear);
        }
        let trap = match self.stack.last() {
            Some(Frame::Single | Frame::AnsiC) => Some(Trap::SingleQuotes),
            Some(Frame::Double) => Some(Trap::DoubleQuotes),
            Some(Frame::Comment) => Some(Trap::Comment),
            Some(Frame::HereDocument) => Some(Trap::HereDocument),
            Some(Frame::Expansion) => Some(Trap::Expansion),
            Some(Frame::Arithmetic | Frame::Group | Frame::Brackets) => Some(Trap::Arithmetic),
            Some(Frame::Backticks) => Some(Trap::Backticks),
            Some(Frame::Parentheses) | None => None,
        };
        // Whatever lies between backticks is read twice.
        let read_twice = self.stack.contains(&Frame::Backticks).then_some(Trap::Backticks);
        trap.or(read_twice).or_else(|| self.dangling.then_some(Trap::Escaped))
    }

    fn value(&mut self) {
        self.word_start = false;
        self.dangling = false;
        self.line.push('\u{1}');
    }

    fn literal(&mut self, text: &str) {
        let characters: Vec<char> = text.chars().collect();
        let mut at = 0;
        self.dangling = false;
        while at < characters.len() {
            at += self.step(&characters[at..]);
        }
    }

    /// Takes the next characters; how many.
    fn step(&mut self, rest: &[char]) -> usize {
        let next = rest.get(1).copied();
        match self.stack.last().copied() {
            None | Some(Frame::Parentheses | Frame::Backticks) => self.code(rest),
            Some(Frame::Single) => {
                if rest[0] == '\'' {
                    self.stack.pop();
                }
                1
            }
            Some(Frame::AnsiC) => match rest[0] {
                '\\' => self.escape(rest),
                '\'' => self.pop(),
                _ => 1,
            },
            Some(Frame::Double) => match rest[0] {
                '"' => self.pop(),
                '\\' => self.escape(rest),
                '`' => self.push(Frame::Backticks, 1),
                '$' => self.dollar(rest, true),
                _ => 1,
            },
            Some(Frame::Expansion) => match rest[0] {
                '}' => self.pop(),
                '\\' => self.escape(rest),
                '"' => self.push(Frame::Double, 1),
                '`' => self.push(Frame::Backticks, 1),
                '$' => self.dollar(rest, true),
                // Quotes here mean one thing within double quotes and another without.
                '\'' => self.lost(),
                _ => 1,
            },
            Some(Frame::Brackets) => match rest[0] {
                ']' => self.pop(),
                '[' => self.push(Frame::Brackets, 1),
                '$' => self.dollar(rest, true),
                '\'' | '"' | '`' | '\\' => self.lost(),
                _ => 1,
            },
            Some(frame @ (Frame::Arithmetic | Frame::Group)) => match (rest[0], next) {
                (')', _) if frame == Frame::Group => self.pop(),
                (')', Some(')')) => self.pop() + 1,
                ('(', _) => self.push(Frame::Group, 1),
                ('$', _) => self.dollar(rest, true),
                // Rather a subshell within a substitution: `$((cd x; ls) | wc)`.
                ('\'' | '"' | '`' | '\\', _) => self.lost(),
                _ => 1,
            },
            Some(Frame::Comment) => {
                if rest[0] == '\n' {
                    self.stack.pop();
                    return self.code(rest);
                }
                1
            }
            Some(Frame::HereDocument) => self.here_document(rest[0]),
        }
    }

    fn code(&mut self, rest: &[char]) -> usize {
        let at_word_start = std::mem::replace(&mut self.word_start, false);
        match rest[0] {
            '\'' => self.push(Frame::Single, 1),
            '"' => self.push(Frame::Double, 1),
            '\\' => {
                // A continued line: as if the two characters were not there.
                self.word_start = at_word_start && rest.get(1) == Some(&'\n');
                self.escape(rest)
            }
            '$' => self.dollar(rest, false),
            '`' if self.stack.last() == Some(&Frame::Backticks) => self.pop(),
            '`' => self.push(Frame::Backticks, 1),
            '#' if at_word_start => self.push(Frame::Comment, 1),
            // A command of bash that evaluates what is in it, or a subshell in a subshell.
            '(' if at_word_start && rest.get(1) == Some(&'(') => self.push(Frame::Arithmetic, 2),
            '(' => {
                self.word_start = true;
                self.push(Frame::Parentheses, 1)
            }
            ')' => {
                // Without an open parenthesis: the end of a pattern of `case`.
                if self.stack.last() == Some(&Frame::Parentheses) {
                    self.stack.pop();
                }
                self.word_start = true;
                1
            }
            '<' if continues(&rest[1..]) => self.lost(),
            '<' if rest.starts_with(&['<', '<', '<']) => 3,
            '<' if rest.get(1) == Some(&'<') => self.announce(rest),
            '\n' => {
                self.word_start = true;
                if !self.pending.is_empty() {
                    self.line.clear();
                    self.stack.push(Frame::HereDocument);
                }
                1
            }
            character => {
                self.word_start = character.is_whitespace() || ";&|<>".contains(character);
                // A pattern's `)` inside `$( )` cannot be told from the end of the substitution.
                let letters = rest.iter().zip(['c', 'a', 's', 'e']).take_while(|(a, b)| *a == b).count();
                let is_case = at_word_start
                    && ((letters == 4 && rest.get(4).is_none_or(|c| c.is_whitespace()))
                        || (letters > 0 && (letters == rest.len() || continues(&rest[letters..]))));
                if is_case && !self.stack.is_empty() {
                    self.unclear = true;
                }
                1
            }
        }
    }

    fn push(&mut self, frame: Frame, length: usize) -> usize {
        self.stack.push(frame);
        // What is substituted starts with a command.
        self.word_start = matches!(frame, Frame::Parentheses | Frame::Backticks);
        length
    }

    fn pop(&mut self) -> usize {
        self.stack.pop();
        self.word_start = false;
        1
    }

    fn escape(&mut self, rest: &[char]) -> usize {
        if rest.len() == 1 {
            self.dangling = true;
        }
        2
    }

    /// Gives up following.
    fn lost(&mut self) -> usize {
        self.unclear = true;
        1
    }

    fn dollar(&mut self, rest: &[char], quoted: bool) -> usize {
        if continues(&rest[1..]) || (rest.get(1) == Some(&'(') && continues(&rest[2..])) {
            return self.lost();
        }
        match (rest.get(1), rest.get(2)) {
            (None, _) => {
                self.dangling = true;
                1
            }
            (Some('('), Some('(')) => self.push(Frame::Arithmetic, 3),
            (Some('('), _) => self.push(Frame::Parentheses, 2),
            (Some('{'), _) => self.push(Frame::Expansion, 2),
            (Some('['), _) => self.push(Frame::Brackets, 2),
            (Some('\''), _) if !quoted => self.push(Frame::AnsiC, 2),
            // `$$`, so that the second one does not begin anything.
            (Some('$'), _) => 2,
            _ => 1,
        }
    }

    /// `<<` or `<<-` and its delimiter.
    fn announce(&mut self, rest: &[char]) -> usize {
        let strip_tabs = rest.get(2) == Some(&'-');
        let mut at = if strip_tabs { 3 } else { 2 };
        while rest.get(at).is_some_and(|c| *c == ' ' || *c == '\t') {
            at += 1;
        }
        let mut delimiter = String::new();
        let mut quote = None;
        while let Some(&character) = rest.get(at) {
            // Shells differ on delimiters with such characters.
            self.unclear |= "$`\\(){}#".contains(character) || (character == '\n' && quote.is_some());
            match (character, quote) {
                (c, Some(open)) if c == open => quote = None,
                ('\'' | '"', None) => quote = Some(character),
                (c, None) if c.is_whitespace() || ";&|<>()".contains(c) => break,
                (c, _) => delimiter.push(c),
            }
            at += 1;
        }
        // A delimiter that is empty or reaches up to a placeholder could be anything.
        self.unclear |= delimiter.is_empty() || at == rest.len();
        self.pending.push(HereDocument { delimiter, strip_tabs });
        at
    }

    fn here_document(&mut self, character: char) -> usize {
        if character != '\n' {
            self.line.push(character);
        }
        let Some(document) = self.pending.first() else {
            self.stack.pop();
            return 1;
        };
        if character == '\n' {
            // A continued line joins the next one, unless the delimiter is quoted.
            self.unclear |= self.line.ends_with('\\');
            let line =
                if document.strip_tabs { self.line.trim_start_matches('\t') } else { self.line.as_str() };
            if line == document.delimiter {
                self.pending.remove(0);
                if self.pending.is_empty() {
                    self.stack.pop();
                    self.word_start = true;
                }
            }
            self.line.clear();
        }
        1
    }
}

/// A backslash before a line end, which the shell removes before it reads on.
fn continues(rest: &[char]) -> bool {
    rest.starts_with(&['\\', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use sb_workload::template::Context;

    /// Each creates a file when some part of it is read as code.
    const HOSTILE: [&str; 3] = [
        "';: > broken-out;'\";: > broken-out;\"$(: > broken-out)`: > broken-out`",
        "x\n: > broken-out\n",
        "x\nE\n: > broken-out\nx",
    ];
    /// Forty thousand were tried when this was written.
    const CASES: u32 = 200;

    #[track_caller]
    fn check(source: &str, expected: &[Trap]) {
        let template = Template::parse(source).unwrap();
        let found: Vec<Trap> = traps(&template).into_iter().map(|(_, trap)| trap).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn plain_words_are_safe() {
        check("echo {{a}} --x={{a}} pre{{a}}post; {{a}} | {{a}}\n{{a}}", &[]);
        check(r#"echo "x" 'y' {{a}} "z"{{a}}'w'{{a}}"#, &[]);
        check(r#"echo \" {{a}} \' {{a}} \# {{a}}"#, &[]);
    }

    #[test]
    fn the_authors_quotes_are_traps() {
        check("echo '{{a}}'", &[Trap::SingleQuotes]);
        check("echo \"{{a}}\"", &[Trap::DoubleQuotes]);
        check(r#"echo "\"{{a}}""#, &[Trap::DoubleQuotes]);
        check(r"echo 'a\' {{a}}", &[]);
        check(r"echo $'a\' {{a}}'", &[Trap::SingleQuotes]);
        check(r#"echo "it's {{a}}" {{a}}"#, &[Trap::DoubleQuotes]);
        check(r#"echo "$'{{a}}""#, &[Trap::DoubleQuotes]);
    }

    #[test]
    fn substitutions_start_afresh() {
        check(r#"echo "$(cat {{a}})" {{a}}"#, &[]);
        check(r#"echo "$(cat "{{a}}")""#, &[Trap::DoubleQuotes]);
        check(r#"echo "$(echo $(echo {{a}}) ")" {{a}})""#, &[]);
        check(r#"x=$( (cd {{a}}; ls) ) "{{a}}""#, &[Trap::DoubleQuotes]);
        check("echo `cat {{a}}` {{a}}", &[Trap::Backticks]);
        check("echo `cat $(ls {{a}})`", &[Trap::Backticks]);
    }

    #[test]
    fn expansions_and_arithmetic_are_traps() {
        check("echo ${x:-{{a}} } {{a}}", &[Trap::Expansion]);
        check("echo $(( 1 + {{a}} )) {{a}}", &[Trap::Arithmetic]);
        check("echo $(( (1 << 2) + 1 ))\n{{a}}", &[]);
        check("echo $[ 1 + {{a}} ] {{a}}", &[Trap::Arithmetic]);
        check("echo \"$[ a[1] + {{a}} ]\" {{a}}", &[Trap::Arithmetic]);
        check("(( {{a}} > 1 )) && echo {{a}}", &[Trap::Arithmetic]);
        check("( (echo {{a}}) )", &[]);
        check("echo $[ '{{a}}' ]", &[Trap::Unclear]);
        check("echo ${x:-'}'} {{a}}", &[Trap::Unclear]);
        check(r#"$((echo "))" "{{a}}") )"#, &[Trap::Unclear]);
    }

    #[test]
    fn comments_end_with_the_line() {
        check("ls # {{a}}\n{{a}}", &[Trap::Comment]);
        check("ls a#b {{a}} $# {{a}}", &[]);
        check("# it's\n{{a}}", &[]);
        check("x=$(# it's\n{{a}})", &[]);
    }

    #[test]
    fn here_documents_are_traps_until_their_delimiter() {
        check("cat <<EOF\n{{a}}\nEOF\n{{a}}", &[Trap::HereDocument]);
        check("cat <<-'E F' > x\n\tit's\n\tE F\n{{a}}", &[]);
        check("cat <<A <<B {{a}}\nA\n{{a}}\nB\n{{a}}", &[Trap::HereDocument]);
        check("cat <<EOF\n{{a}}EOF\nEOF{{a}}\nEOF\n{{a}}", &[Trap::HereDocument; 2]);
        check("cat <<< {{a}}", &[]);
        check("cat <<{{a}}\nx", &[Trap::Unclear]);
    }

    #[test]
    fn backslash_and_dollar_before_a_placeholder_are_traps() {
        check(r"echo \\{{a}}", &[Trap::Escaped]);
        check(r"echo \\\{{a}}", &[]);
        check("echo ${{a}}", &[Trap::Escaped]);
        check("echo $${{a}}", &[]);
    }

    #[test]
    fn case_inside_a_substitution_is_not_followed() {
        check("case x in a) echo {{a}};; esac", &[]);
        check(r#"echo "$(case x in a) echo "{{a}}";; esac)""#, &[Trap::Unclear]);
    }

    /// Fragments from which authors (and their mistakes) are made.
    const FRAGMENTS: [&str; 38] = [
        "{{a}}", "{{a}}", "{{a}}", " ", "\n", "'", "\"", "`", "\\", "$", "$(", ")", "(", "{", "}", "${x:-",
        "$((", "))", "#", " #", "<<E", "<<'E'", "\nE\n", "<<-E", "$'", "; ", " case ", " in a) ", ";; esac",
        "<<<", ">", "echo ", "x", "&&", "$[", "]", "[", "((",
    ];

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            cases: CASES,
            failure_persistence: None,
            ..proptest::prelude::ProptestConfig::default()
        })]

        /// Whatever a real shell makes of a text that the scanner accepts, the value does not become code.
        #[test]
        fn accepted_placeholders_cannot_be_broken_out_of(
            picks in proptest::collection::vec(0..FRAGMENTS.len(), 1..12),
        ) {
            let source: String = picks.iter().map(|pick| FRAGMENTS[*pick]).collect();
            let Ok(template) = Template::parse(&source) else { return Ok(()) };
            let raw = template.pieces().iter().any(|piece| matches!(piece, Piece::Value { raw: true, .. }));
            if raw || template.is_literal() || !traps(&template).is_empty() {
                return Ok(());
            }
            for name in ["sh", "bash"] {
                for value in HOSTILE {
                    let folder = tempfile::tempdir().unwrap();
                    let value = serde_json::Value::from(value);
                    let line = template.render(Context::Shell, &|_| Some(value.clone())).unwrap();
                    let output = std::process::Command::new(name)
                        .args(["-c", &line])
                        .current_dir(folder.path())
                        .stdin(std::process::Stdio::null())
                        .output();
                    proptest::prop_assert!(output.is_ok());
                    proptest::prop_assert!(!folder.path().join("broken-out").exists(), "{}: {:?}", name, line);
                }
            }
        }
    }
}
