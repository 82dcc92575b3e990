//! Finds the placeholders of a shell string that stand where quoting a value cannot protect it.
//!
//! A value in a `run` string becomes a single-quoted word. That is safe in plain code, and in `$( )`, even within
//! double quotes. Added quotes would be text within the author's own quotes, comments and here-documents. Within
//! backticks, `${ }` and `$(( ))` the value would be read once more. This scanner follows the quoting rules of POSIX
//! `sh` (XCU 2.2 and 2.7.4) and of `$'…'`. Where it cannot follow, it says so rather than guess.
//!
//! Bash reads some words once more although they are quoted: as arithmetic (`let`, `[[ … -eq … ]]`, subscripts, whatever is
//! assigned after `declare -i`) and as names of variables (`unset`, `read`, `printf -v`). Both may have a subscript, and the
//! commands in a subscript are run: `a[$(date)]`. The shells ksh and zsh read the numbers of `[ … -eq … ]` so, too. Every shell
//! reads code once more that it is given as a word: by `eval`, `trap` and `sh -c`. So do other programs ([`reader`]): `ssh`,
//! `watch` and `parallel` give their words to another shell, and `python3 -c`, `perl -e` or `awk` have a language of their own.

mod reader;

use sb_workload::template::{Piece, Template};

use self::reader::Reader;

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
    /// As a number in `[ … -eq … ]`, which ksh and zsh alone evaluate.
    Number,
    /// As the name of a variable.
    Name,
    /// As code: by `eval`, `trap`, the option `-c` of a shell, or what gives its words to a shell of this machine.
    Code,
    /// As code: by the shell of another machine, which has no variables of this one.
    Remote,
    /// As code in the language of another program.
    Program,
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
            Self::Arithmetic => {
                "in arithmetic (`$((…))`, `((…))`, `$[…]`, `let`, `[[ … -eq … ]]`, `a[…]=` or after `declare -i`)"
            }
            Self::Number => "as a number in `[ … -eq … ]`, which this shell evaluates",
            Self::Code => {
                "in code that a shell reads once more (`eval`, `trap`, `sh -c`, `flock -c`, `watch`, `parallel`)"
            }
            Self::Remote => "in what `ssh` gives to a shell of another machine, which reads it once more",
            Self::Program => {
                "in code that a program reads (`awk`, `python3 -c`, `perl -e`, `node -e` and the like)"
            }
            Self::Name => "as the name of a variable, in whose brackets commands are run",
            Self::Escaped => "directly after `\\` or `$`",
            Self::Unclear => "after shell syntax too tangled to follow",
        }
    }
}

/// Whether the shell of these words evaluates the numbers of `[ … -eq … ]`: then commands in a subscript are run.
pub(super) fn evaluates_numbers<'w>(words: impl IntoIterator<Item = &'w str>) -> bool {
    words.into_iter().any(|word| {
        let name = word.rsplit('/').next().unwrap_or(word);
        ["ksh", "mksh", "ksh93", "oksh", "zsh"].contains(&name)
    })
}

/// The placeholders (index among all placeholders of the template) that stand in a trap. Raw ones are the
/// author's own affair.
pub(super) fn traps(template: &Template) -> Vec<(usize, Trap)> {
    let mut scanner = Scanner::default();
    let mut index = 0;
    for piece in template.pieces() {
        match piece {
            Piece::Literal(text) => scanner.literal(text),
            Piece::Value { raw, .. } => {
                scanner.value((!raw).then_some(index));
                index += 1;
            }
        }
    }
    scanner.found.sort_unstable_by_key(|(index, _)| *index);
    scanner.found
}

/// As [`traps`], of a command given as words, which no shell reads: the placeholders (word, and index among those of the word)
/// in what the command itself reads as code, such as `sh -c`.
pub(super) fn traps_in_words<'t>(words: impl IntoIterator<Item = &'t Template>) -> Vec<(usize, usize, Trap)> {
    let mut found = Vec::new();
    let mut reader = Reader::default();
    let (mut name, mut before): (Option<String>, String) = (None, String::new());
    for (number, template) in words.into_iter().enumerate() {
        let mut word = String::new();
        let mut index = 0;
        for piece in template.pieces() {
            match piece {
                Piece::Literal(text) => word.push_str(text),
                Piece::Value { raw, .. } => {
                    if let Some(trap) = reader.reads(&word, &before).filter(|_| !raw) {
                        found.push((number, index, trap));
                    }
                    word.push(SOMETHING);
                    index += 1;
                }
            }
        }
        reader = reader.after(&word, &before, name.as_deref());
        name.get_or_insert_with(|| word.clone());
        before = word;
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
    /// The command at hand, and those in which it is substituted.
    commands: Vec<Command>,
    /// A variable was declared whose values are read as arithmetic, or as names.
    reads_values: bool,
    found: Vec<(usize, Trap)>,
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
            commands: vec![Command::default()],
            reads_values: false,
            found: Vec::new(),
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

    /// `index`: of a placeholder that is quoted.
    fn value(&mut self, index: Option<usize>) {
        if let Some(index) = index {
            // Whatever is no trap so far stands in code.
            let reads_values = self.reads_values;
            let code = || self.commands.last().and_then(Command::reads_code);
            // What its own quotes make of it is read by another shell.
            let here = self.trap().map(|trap| match trap {
                Trap::SingleQuotes | Trap::DoubleQuotes => code().unwrap_or(trap),
                other => other,
            });
            let in_command = || self.commands.last_mut().and_then(|it| it.trap(index, reads_values));
            let trap = here.or_else(in_command);
            if let Some(trap) = trap {
                self.found.push((index, trap));
            }
        }
        self.word_start = false;
        self.dangling = false;
        self.line.push('\u{1}');
        self.letter('\u{1}');
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
                    return 1;
                }
                self.letter(rest[0])
            }
            Some(Frame::AnsiC) => match rest[0] {
                '\\' => self.escape(rest),
                '\'' => self.pop(),
                character => self.letter(character),
            },
            Some(Frame::Double) => match rest[0] {
                '"' => self.pop(),
                '\\' => self.escape(rest),
                '`' => self.push(Frame::Backticks, 1),
                '$' => self.dollar(rest, true),
                character => self.letter(character),
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
            // After what an array cannot hold, bash begins anew with the next line, even with one within quotes.
            '(' | ';' | '&' | '|' | '<' | '>' if self.commands.last().is_some_and(|it| it.is_list) => {
                self.lost()
            }
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
            // A test groups within itself.
            '(' if self.commands.last().is_some_and(Command::is_test) => {
                self.word_start = true;
                self.word_end(Some('('));
                1
            }
            ')' if self.commands.last().is_some_and(Command::is_test) => {
                self.word_start = true;
                self.word_end(Some(')'));
                1
            }
            '(' => {
                let is_list = self.commands.last().is_some_and(|command| command.word.ends_with('='));
                self.push(Frame::Parentheses, 1);
                if let Some(command) = self.commands.last_mut() {
                    command.is_list = is_list;
                }
                1
            }
            ')' => {
                // Without an open parenthesis: the end of a pattern of `case`.
                if self.stack.last() == Some(&Frame::Parentheses) {
                    self.pop();
                } else {
                    self.word_end(Some(')'));
                }
                self.word_start = true;
                1
            }
            '<' if continues(&rest[1..]) => self.lost(),
            '<' if rest.starts_with(&['<', '<', '<']) => {
                self.word_end(None);
                self.redirect();
                3
            }
            '<' if rest.get(1) == Some(&'<') => self.announce(rest),
            '\n' => {
                self.word_start = true;
                self.word_end(Some('\n'));
                if !self.pending.is_empty() {
                    self.line.clear();
                    self.stack.push(Frame::HereDocument);
                }
                1
            }
            character => {
                self.word_start = character.is_whitespace() || ";&|<>".contains(character);
                if self.word_start {
                    // `2>&1` and `&>file` end no command.
                    let redirects = character == '&'
                        && (rest.get(1) == Some(&'>')
                            || self.commands.last().is_some_and(Command::redirects_now));
                    self.word_end(Some(character).filter(|it| ";&|".contains(*it) && !redirects));
                    if "<>".contains(character) {
                        self.redirect();
                    }
                } else {
                    self.letter(character);
                }
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
        if self.word_start {
            self.commands.push(Command::default());
        }
        length
    }

    fn pop(&mut self) -> usize {
        let frame = self.stack.pop();
        self.word_start = false;
        if matches!(frame, Some(Frame::Parentheses | Frame::Backticks)) {
            self.word_end(Some(')'));
            self.commands.pop();
        }
        if !matches!(frame, Some(Frame::Double | Frame::AnsiC)) {
            self.letter(SOMETHING);
        }
        1
    }

    fn letter(&mut self, character: char) -> usize {
        // A word of megabytes is not read again at each of its values.
        if let Some(command) = self.commands.last_mut().filter(|it| it.word.len() < LONGEST_WORD) {
            command.word.push(character);
        }
        1
    }

    /// The next word is a file, and none of the command's. In a test it is compared.
    fn redirect(&mut self) {
        if let Some(command) = self.commands.last_mut() {
            command.redirects = !command.is_test();
        }
    }

    /// `by`: what ends more than the word.
    fn word_end(&mut self, by: Option<char>) {
        if let Some(command) = self.commands.last_mut() {
            self.reads_values |= command.word_end(by, &mut self.found);
        }
    }

    fn escape(&mut self, rest: &[char]) -> usize {
        match rest.get(1) {
            None => self.dangling = true,
            Some('\n') => {}
            Some(character) => _ = self.letter(*character),
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
            (Some('$'), _) => {
                self.letter('$');
                2
            }
            _ => self.letter('$'),
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

/// A simple command as far as it has been read.
#[derive(Debug, Default)]
struct Command {
    /// The first word that is no assignment.
    name: Option<String>,
    /// The letters of the word at hand, without its quotes; a value is one letter.
    word: String,
    /// The word before it, and how many there were since the name.
    before: String,
    count: usize,
    /// All option letters so far.
    options: String,
    /// The elements of an array: `a=( … )`.
    is_list: bool,
    /// The word at hand is where something is redirected to.
    redirects: bool,
    /// In a test: the values of the comparison at hand, and whether it compares numbers or asks about a name.
    values: Vec<usize>,
    reads: Option<Trap>,
    /// In a plain test: the word before, which looked like a comparison of numbers, is compared as text if `]` follows.
    may_be_text: bool,
    /// Whether one of its words was the name of what reads code, and what comes of that for the word at hand.
    reader: Reader,
}

/// In a word, in place of what is substituted.
const SOMETHING: char = '\u{2}';
/// In bytes, of what is kept of a word.
const LONGEST_WORD: usize = 1024;
/// Words after which a command begins.
const BEFORE_COMMANDS: [&str; 15] = [
    "if", "then", "else", "elif", "do", "while", "until", "!", "{", "time", "command", "builtin", "exec",
    "nohup", "coproc",
];
/// Commands whose words are names and assignments.
const DECLARING: [&str; 6] = ["declare", "typeset", "local", "export", "readonly", "integer"];
/// Commands that read words of theirs as arithmetic or names.
const READING: [&str; 11] =
    ["let", "unset", "read", "mapfile", "readarray", "getopts", "printf", "wait", "test", "eval", "trap"];
/// What compares numbers in a test.
const OF_NUMBERS: [&str; 6] = ["-eq", "-ne", "-lt", "-le", "-gt", "-ge"];
/// What compares texts in a test.
const OF_TEXTS: [&str; 5] = ["=", "==", "!=", "<", ">"];

impl Command {
    /// Within `[[ … ]]`.
    fn is_test(&self) -> bool {
        self.name.as_deref() == Some("[[")
    }

    /// Within `[ … ]`, or after `test`.
    fn is_plain_test(&self) -> bool {
        self.name.as_deref().is_some_and(|name| name == "[" || name == "test")
    }

    /// As what code the word at hand is read, if it is.
    fn reads_code(&self) -> Option<Trap> {
        let by_shell = match self.name.as_deref() {
            Some("eval") => true,
            Some("trap") => self.count == 0 || (self.count == 1 && self.before == "--"),
            _ => false,
        };
        if by_shell { Some(Trap::Code) } else { self.reader.reads(&self.word, &self.before) }
    }

    fn redirects_now(&self) -> bool {
        self.redirects && self.word.is_empty()
    }

    /// What a value is read as that comes next in the word at hand.
    fn trap(&mut self, index: usize, reads_values: bool) -> Option<Trap> {
        if self.redirects {
            return None;
        }
        if let Some(trap) = self.reads_code() {
            return Some(trap);
        }
        if std::mem::take(&mut self.may_be_text) {
            // More follows than `]`.
            return Some(Trap::Number);
        }
        let in_brackets = self.word.rfind('[').filter(|open| !self.word[*open..].contains(']'));
        let is_assignment = is_assignment(&self.word);
        let Some(name) = self.name.as_deref() else {
            return match in_brackets {
                Some(open) if is_name(&self.word[..open]) || (self.is_list && open == 0) => {
                    Some(Trap::Arithmetic)
                }
                _ => (is_assignment && reads_values).then_some(Trap::Arithmetic),
            };
        };
        let follows = |options: &[&str]| options.contains(&self.before.as_str());
        // Options with a value of their own, also at the end of several: `read -rp TEXT`.
        let follows_one_of =
            |letters: &str| self.before.starts_with('-') && self.before.ends_with(|it| letters.contains(it));
        match name {
            "let" => Some(Trap::Arithmetic),
            "[[" if self.reads.is_none() => {
                self.values.push(index);
                None
            }
            "[[" => self.reads,
            "[" | "test" if follows(&["-v", "-R"]) => Some(Trap::Name),
            "[" | "test" => {
                if self.reads.is_none() {
                    self.values.push(index);
                }
                self.reads
            }
            "printf" => {
                let is_attached = self.count == 0 && self.word.starts_with("-v");
                (is_attached || (self.count == 1 && follows(&["-v"]))).then_some(Trap::Name)
            }
            "wait" => (follows(&["-p"]) || self.word.starts_with("-p")).then_some(Trap::Name),
            "unset" => Some(Trap::Name),
            "read" => (!follows_one_of("ptnNdiu")).then_some(Trap::Name),
            "mapfile" | "readarray" => (!follows_one_of("dnsuc")).then_some(Trap::Name),
            "getopts" => (self.count > 0).then_some(Trap::Name),
            name if DECLARING.contains(&name) && !is_assignment => Some(Trap::Name),
            name if DECLARING.contains(&name) => {
                (reads_values || self.declares() || self.options.contains(['a', 'A']))
                    .then_some(Trap::Arithmetic)
            }
            _ => None,
        }
    }

    /// Whether it declares variables whose values are read as arithmetic, or as names.
    fn declares(&self) -> bool {
        match self.name.as_deref() {
            Some("integer") => true,
            Some("declare" | "typeset" | "local") => self.options.contains(['i', 'n']),
            Some("export" | "readonly") => self.options.contains('i'),
            _ => false,
        }
    }

    /// Ends the word, and with it what `by` ends. Whether variables are declared from here on whose values are read.
    fn word_end(&mut self, by: Option<char>, found: &mut Vec<(usize, Trap)>) -> bool {
        let word = std::mem::take(&mut self.word);
        let mut declares = false;
        if !word.is_empty() && !self.redirects {
            self.reader = self.reader.after(&word, &self.before, self.name.as_deref());
        }
        if word.is_empty() {
        } else if std::mem::take(&mut self.redirects) {
            if by.is_some() {
                *self = Self { is_list: self.is_list, ..Self::default() };
            }
            return false;
        } else if word == "{" {
            // The body of a function, too.
            *self = Self::default();
            return false;
        } else if self.is_test() {
            let reads = match word.as_str() {
                word if OF_NUMBERS.contains(&word) => Some(Trap::Arithmetic),
                "-v" | "-R" => Some(Trap::Name),
                _ => None,
            };
            if let Some(trap) = reads {
                found.extend(self.values.drain(..).map(|index| (index, trap)));
                self.reads = Some(trap);
            }
        } else if self.name.is_some() {
            if let Some(letters) = word.strip_prefix(['-', '+']) {
                self.options.push_str(letters);
            }
            if self.is_plain_test() {
                let may_be_text = std::mem::take(&mut self.may_be_text);
                if may_be_text && word != "]" {
                    found.extend(self.values.drain(..).map(|index| (index, Trap::Number)));
                    self.reads = Some(Trap::Number);
                } else if OF_NUMBERS.contains(&word.as_str())
                    && self.count == 2
                    && OF_TEXTS.contains(&self.before.as_str())
                {
                    // `[ {{x}} = -eq ]`: of three words, the second compares.
                    self.may_be_text = true;
                } else if OF_NUMBERS.contains(&word.as_str()) {
                    found.extend(self.values.drain(..).map(|index| (index, Trap::Number)));
                    self.reads = Some(Trap::Number);
                } else if ["-a", "-o"].contains(&word.as_str()) {
                    self.values.clear();
                    self.reads = None;
                }
            }
            declares = self.declares();
            self.count += 1;
        } else if !self.is_list
            && !is_assignment(&word)
            && !word.ends_with(SOMETHING)
            && !BEFORE_COMMANDS.contains(&word.as_str())
        {
            // What a substitution before it leaves may be nothing: `$1read`.
            let end = |name: &&&str| word.contains(['$', SOMETHING]) && word.ends_with(**name);
            let known = READING.iter().chain(&DECLARING).find(end);
            self.name = Some(known.map_or_else(|| word.clone(), |name| (*name).to_owned()));
        }
        let ends_test = self.is_test() && word == "]]";
        if self.is_test() && !ends_test {
            if by.is_some() {
                self.values.clear();
                self.reads = None;
            }
        } else if ends_test || by.is_some() {
            *self = Self { is_list: self.is_list, ..Self::default() };
        } else if !word.is_empty() {
            self.before = word;
        }
        declares
    }
}

/// Whether a word begins as an assignment: `NAME=`, `NAME+=` or `NAME[…]=`.
fn is_assignment(word: &str) -> bool {
    let Some((left, _)) = word.split_once('=') else { return false };
    let left = left.strip_suffix('+').unwrap_or(left);
    match left.split_once('[') {
        Some((name, rest)) => rest.ends_with(']') && is_name(name),
        None => is_name(left),
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
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
    const HOSTILE: [&str; 5] = [
        "a[$(: > broken-out)]",
        "a[$(: > broken-out)]=1",
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

    #[track_caller]
    fn check_words(words: &[&str], expected: &[(usize, usize, Trap)]) {
        let templates: Vec<Template> = words.iter().map(|word| Template::parse(word).unwrap()).collect();
        assert_eq!(traps_in_words(&templates), expected, "{words:?}");
    }

    #[test]
    fn commands_in_words_read_code_too() {
        check_words(&["sh", "-c", "echo {{a}} {{b}}"], &[(2, 0, Trap::Code), (2, 1, Trap::Code)]);
        check_words(&["/bin/bash", "-euc", "{{a}}", "{{b}}"], &[(2, 0, Trap::Code)]);
        check_words(&["env", "A=1", "sh", "-c", "{{a}}"], &[(4, 0, Trap::Code)]);
        check_words(&["python3", "-c", "print({{a}})", "{{b}}"], &[(2, 0, Trap::Program)]);
        check_words(&["ssh", "-p", "22", "{{a}}", "rm {{b}}"], &[(4, 0, Trap::Remote)]);
        // The code follows the last option.
        check_words(&["sh", "-c", "-e", "echo {{a}}"], &[(3, 0, Trap::Code)]);
        check_words(&["sh", "-c", "--", "{{a}}", "{{b}}"], &[(3, 0, Trap::Code)]);
        check_words(&["bash", "-c", "-o", "pipefail", "+x", "{{a}}", "sh", "{{b}}"], &[(5, 0, Trap::Code)]);
        check_words(&["env", "-S", "sh -c {{a}}"], &[(2, 0, Trap::Code)]);
        check_words(&["env", "-u", "A", "--split-string={{a}}"], &[(3, 0, Trap::Code)]);
        check_words(&["docker", "run", "-v", "/bin:/bash", "-c", "{{a}}", "image"], &[]);
        // Meant to be code.
        check_words(&["sh", "-c", "{{{a}}}"], &[]);
        check_words(&["sh", "-c", "echo \"$1\"", "sh", "{{a}}"], &[]);
        check_words(&["echo", "sh", "-c", "{{a}}"], &[]);
        check_words(&["{{a}}", "-c", "{{b}}"], &[]);
        check_words(&["python3", "tool.py", "-c", "{{a}}"], &[]);
        check_words(&[], &[]);
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
    fn bash_reads_arithmetic_and_names_once_more() {
        for arithmetic in [
            "[[ {{a}} -eq 1 ]]",
            "if [[ -n x && ( 1 -ge {{a}} ) ]]; then :; fi",
            "[[ ! {{a}} -ne 1 ]]",
            "[[ {{a}} -lt 1 ]]",
            "[[ {{a}} -le 1 ]]",
            "[[ 3 -gt 0{{a}} ]]",
            "let {{a}}",
            "let x={{a}}",
            "let 'x=1' {{a}}",
            "x=1 let {{a}}",
            "true && let {{a}}",
            "b[{{a}}]=1",
            "b[1+{{a}}]=1",
            "b[{{a}}]+=1",
            "b=([{{a}}]=1)",
            "declare -i n={{a}}",
            "typeset -i n={{a}}",
            "local -ri n={{a}}",
            "declare -i n; n={{a}}",
            "declare -i n\nexport n={{a}}",
            "declare -a n={{a}}",
            "(( {{a}} ))",
            "for (( i = 0; i < {{a}}; i++ )); do :; done",
            "echo $(let {{a}})",
            "x=$(let {{a}})",
            "if true; then let {{a}}; fi",
            "f() { let {{a}}; }",
            "function f { let {{a}}; }",
            "f() { :; }; let {{a}}",
            "> file let {{a}}",
            "let x=1 2>&1 {{a}}",
            "[[ 1 < 2 && {{a}} -eq 1 ]]",
            "\"let\" {{a}}",
            "'let' {{a}}",
            "l\\et {{a}}",
        ] {
            check(arithmetic, &[Trap::Arithmetic]);
        }
        for name in [
            "unset {{a}}",
            "unset -v x {{a}}",
            "read {{a}}",
            "read -r x {{a}} < file",
            "read -a {{a}}",
            "printf -v {{a}} %s x",
            "test -v {{a}}",
            "[ -v {{a}} ]",
            "[[ -v {{a}} ]]",
            "declare {{a}}",
            "export {{a}}",
            "mapfile {{a}}",
            "getopts ab {{a}}",
            "$1read {{a}}",
            "${x}unset {{a}}",
        ] {
            check(name, &[Trap::Name]);
        }
        check("echo ${x:{{a}}}", &[Trap::Expansion]);
        check("a=(a=({{a}}))", &[Trap::Unclear]);
        check("a=(x; {{a}})", &[Trap::Unclear]);
        for plain in [
            "[[ {{a}} == x ]]",
            "[[ {{a}} == x && 1 -eq 1 ]]",
            "[[ 1 -eq 1 || -n {{a}} ]]",
            "[[ 1 -eq 1 ]] && echo {{a}}",
            "[ {{a}} = x -a 1 -gt 3 ]",
            "[ 1 -gt 3 -o -n {{a}} ]",
            "[ 1 -gt 3 ] && echo {{a}}",
            "test {{a}} = x",
            "[ -v x ] && echo {{a}}",
            "echo let {{a}}",
            "let x=1; echo {{a}}",
            "ls b[{{a}}]",
            "x={{a}}",
            "x={{a}} make let {{a}}",
            "export X={{a}} Y={{a}}",
            "local x={{a}}",
            "declare -r x={{a}}; echo {{a}}",
            "x=({{a}} b)",
            "read -rp {{a}} x",
            "read x < {{a}}",
            "read x <<< {{a}}",
            "while read -r x; do echo {{a}}; done < {{a}}",
            "unset x > {{a}}",
            "f() { echo {{a}}; }",
            "printf {{a}} x -v",
            "printf '%s\\n' -v {{a}} x",
            "make unset {{a}}",
            "echo -eq {{a}}",
            "x=$(let y=1; echo {{a}}) echo {{a}}",
            "(let x=1); echo {{a}}",
            "declare -i n; echo {{a}} n={{a}}",
        ] {
            check(plain, &[]);
        }
    }

    #[test]
    fn numbers_of_a_plain_test_are_told_apart() {
        for number in [
            "[ {{a}} -eq 1 ]",
            "if [ 1 -gt {{a}} ]; then :; fi",
            "test {{a}} -ne 1",
            "[ -n x -a {{a}} -lt 1 ]",
            "[ = -eq {{a}} ]",
            "[ {{a}} = -eq 1 ]",
            "[ x = -eq {{a}} ]",
            "[ x = -a {{a}} -eq 1 ]",
        ] {
            check(number, &[Trap::Number]);
        }
        for text in ["[ {{a}} = -eq ]", "test {{a}} != -lt && echo {{a}}", "[ {{a}} = -eq ] && echo {{a}}"] {
            check(text, &[]);
        }
        for (shell, evaluates) in [
            (vec!["sh", "-c"], false),
            (vec!["bash", "-ec"], false),
            (vec!["zsh", "-c"], true),
            (vec!["/usr/bin/env", "ksh", "-c"], true),
            (vec!["/bin/mksh", "-c"], true),
            (vec![], false),
        ] {
            assert_eq!(evaluates_numbers(shell.into_iter()), evaluates);
        }
    }

    #[test]
    fn code_is_read_once_more() {
        for code in [
            "eval {{a}}",
            "eval echo {{a}}",
            "x=1 eval 'echo' {{a}}",
            "true && eval \"echo {{a}}\"",
            "trap {{a}} EXIT",
            "trap -- {{a}} EXIT",
            "sh -c {{a}}",
            "/bin/bash -c {{a}}",
            "bash -ec {{a}}",
            "bash -e -c 'echo {{a}}'",
            "bash -o pipefail -c \"echo {{a}}\"",
            "bash --norc -c {{a}}",
            "env X=1 sh -c {{a}}",
            "exec sh -c {{a}}",
            "find . -exec sh -c 'ls {{a}}' \\;",
            "su nobody -c {{a}}",
            "echo $(sh -c {{a}})",
        ] {
            check(code, &[Trap::Code]);
        }
        for plain in [
            "echo sh -c {{a}}",
            "printf '%s\\n' bash -c {{a}}",
            "grep -r sh -c {{a}}",
            "sh -c 'echo \"$1\"' sh {{a}}",
            "sh -c true {{a}}; echo {{a}}",
            "bash {{a}}",
            "bash -e {{a}} -c",
            "sh ./x.sh -c {{a}}",
            "trap 'echo' {{a}}",
            "gcc -c {{a}}",
            "echo eval {{a}}",
            "sh -c true > {{a}}",
        ] {
            check(plain, &[]);
        }
    }

    #[test]
    fn programs_that_give_their_words_to_a_shell_read_them_once_more() {
        for code in [
            "watch {{a}}",
            "watch 'ls {{a}}'",
            "watch -n 5 -d ls {{a}}",
            "flock lock -c {{a}}",
            "flock -w 5 lock -c 'ls {{a}}'",
            "flock --exclusive lock --command \"ls {{a}}\"",
            "script -q -c {{a}} /dev/null",
            "parallel {{a}} ::: 1 2",
            "parallel -j 4 'echo {{a}}' {} ::: 1 2",
            "parallel ::: {{a}}",
            "ls | xargs sh -c {{a}}",
            "ls | xargs -I {} bash -c 'echo {} {{a}}'",
            "timeout 5 watch {{a}}",
            "sudo -n flock lock sh -c {{a}}",
        ] {
            check(code, &[Trap::Code]);
        }
        for remote in [
            "ssh host {{a}}",
            "ssh host ls {{a}}",
            "ssh -i key -p 22 user@host 'ls {{a}}'",
            "ssh -o StrictHostKeyChecking=no host \"ls {{a}}\"",
            "ssh host -p 22 ls -l {{a}}",
            "timeout 5 /usr/bin/ssh -tt host {{a}}",
            "sshpass -e ssh host {{a}}",
        ] {
            check(remote, &[Trap::Remote]);
        }
        for plain in [
            "ssh {{a}} uptime",
            "ssh -i {{a}} -l {{a}} -p {{a}} {{a}}@host uptime",
            "ssh host -p {{a}} uptime",
            "ssh host uptime > {{a}}",
            "ssh host uptime; echo {{a}}",
            "flock {{a}} ls {{a}}",
            "flock -w {{a}} lock ls -c {{a}}",
            "watch -n {{a}} ls",
            "watch -x ls {{a}}",
            "parallel -j {{a}} gzip ::: {{a}} {{a}}",
            "git remote add ssh {{a}}",
            "apt-get install -y watch parallel {{a}}",
            "ls | xargs rm {{a}}",
        ] {
            check(plain, &[]);
        }
    }

    #[test]
    fn programs_of_a_language_read_code_once_more() {
        for code in [
            "python3 -c {{a}}",
            "python3 -c \"print('{{a}}')\"",
            "python3.12 -I -X dev -Wc 'print({{a}})'",
            "/usr/bin/python -uc 'print({{a}})'",
            "perl -e {{a}}",
            "perl -MJSON -lane 'print {{a}}'",
            "perl -e 1 -e {{a}}",
            "ruby -rjson -e 'puts {{a}}'",
            "php -r {{a}}",
            "node -e {{a}}",
            "node --eval \"log({{a}})\"",
            "node -r ./x.js -p '{{a}}'",
            "node --eval={{a}}",
            "awk \"{ print {{a}} }\" file",
            "awk {{a}} file",
            "gawk -F , -v x=1 '{ print {{a}} }' file",
            "ls | busybox awk '/{{a}}/'",
            "env X=1 python3 -c {{a}}",
        ] {
            check(code, &[Trap::Program]);
        }
        for plain in [
            "python3 -c 'import sys; print(sys.argv[1])' {{a}}",
            "python3 x.py -c {{a}}",
            "python3 -m http.server {{a}} -c {{a}}",
            "python3 -W {{a}} x.py {{a}}",
            "perl -MFile::Temp x.pl {{a}}",
            "perl -e 'print @ARGV' {{a}}",
            "node x.js -e {{a}}",
            "awk '{ print $1 }' {{a}}",
            "awk -v x={{a}} -F {{a}} '{ print x }' file",
            "awk -f {{a}} {{a}}",
            "apt-get install -y awk {{a}}",
            "pip install python -e {{a}}",
            "echo python3 -c {{a}}",
        ] {
            check(plain, &[]);
        }
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
    const FRAGMENTS: [&str; 60] = [
        "{{a}}", "{{a}}", "{{a}}", " ", "\n", "'", "\"", "`", "\\", "$", "$(", ")", "(", "{", "}", "${x:-",
        "$((", "))", "#", " #", "<<E", "<<'E'", "\nE\n", "<<-E", "$'", "; ", " case ", " in a) ", ";; esac",
        "<<<", ">", "echo ", "x", "&&", "$[", "]", "[", "((", "[[ ", " ]]", " -eq ", "1", "let ", "declare ",
        "-i ", "-n ", "n", "n=", "a=(", "unset ", "read ", "printf ", "-v ", "test ", "export ", "; n=",
        "eval ", "trap ", "sh ", "-c ",
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
