//! What is wrong with a file, where, and what to do about it.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use miette::{LabeledSpan, MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};
use serde_json::json;

use crate::manifest::tree::{Kind, Node};

/// In bytes, of a line that is shown with a problem.
const LONGEST_LINE: usize = 400;

/// In bytes: characters of a text are counted once for all pieces, and then within one.
const PIECE: usize = 1 << 10;

/// Bytes of a source text.
pub type Span = Range<usize>;

/// One thing that is wrong (or doubtful) in a manifest or plan.
#[derive(Clone, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Stable, for scripts: `unknown-key`.
    pub code: &'static str,
    /// Lower case, one sentence, with the names in question.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
    /// The file, unless the problem comes from the command line.
    pub source: Option<Arc<Source>>,
    /// Places in the source; the first is the problem's own place.
    pub labels: Vec<(Span, String)>,
    /// Changes of the source that together certainly are what was meant; none where that is not certain.
    pub fix: Vec<Fix>,
}

/// A part of a source, and what should stand in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What is replaced, in bytes.
    pub span: Span,
    /// By what.
    pub text: String,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and probably says something that was not meant.
    Warning,
    /// Nothing is wrong; worth knowing.
    Note,
}

/// The text of a file, shared by the problems in it.
#[derive(Debug)]
pub struct Source {
    /// The file, absolute.
    pub path: PathBuf,
    text: Box<str>,
    /// Where each line starts; made when it is asked for.
    lines: OnceLock<Vec<usize>>,
    /// How many characters begin before each piece of [`PIECE`] bytes; made when it is asked for. A line may be as long as the
    /// file and have thousands of problems.
    characters: OnceLock<Vec<usize>>,
}

impl Source {
    /// The text of the file at this path.
    pub fn new(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.into(), lines: OnceLock::new(), characters: OnceLock::new() }
    }

    /// Whether the file is one of YAML, by its name.
    pub(crate) fn is_yaml(&self) -> bool {
        self.path.extension().is_some_and(|end| end == "yaml" || end == "yml")
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text().len());
        while !self.text().is_char_boundary(end) {
            end -= 1;
        }
        let starts = self.starts();
        let line = starts.partition_point(|start| *start <= end);
        (line, self.characters_before(end) - self.characters_before(starts[line - 1]) + 1)
    }

    /// How many characters begin before a byte.
    fn characters_before(&self, at: usize) -> usize {
        let bytes = self.text.as_bytes();
        // Every byte of UTF-8 but those that go on with a character.
        let count = |bytes: &[u8]| bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        let pieces = self.characters.get_or_init(|| {
            let mut before = 0;
            let add = |piece| {
                let so_far = before;
                before += count(piece);
                so_far
            };
            bytes.chunks(PIECE).map(add).collect()
        });
        let piece = (at / PIECE).min(pieces.len().saturating_sub(1));
        pieces.get(piece).copied().unwrap_or(0) + count(&bytes[piece * PIECE..at])
    }

    fn starts(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let after = |(index, _)| index + 1;
            std::iter::once(0).chain(self.text().match_indices('\n').map(after)).collect()
        })
    }

    /// What stands in a line (from 1), without the space around it; empty at the end of the text when there is no such line.
    pub(crate) fn line(&self, number: usize) -> Span {
        let (starts, text) = (self.starts(), self.text());
        let Some(&start) = starts.get(number.saturating_sub(1)) else { return text.len()..text.len() };
        let line = &text[start..starts.get(number.max(1)).map_or(text.len(), |next| next - 1)];
        let indent = line.len() - line.trim_start().len();
        start + indent..start + indent + line.trim().len()
    }
}

/// Only the lines that are asked for are looked at: a file may have thousands of problems.
impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (starts, text) = (self.starts(), self.text());
        let line_of = |at: usize| starts.partition_point(|start| *start <= at).saturating_sub(1);
        let first = line_of(span.offset()).saturating_sub(before + 1);
        let last = line_of(span.offset() + span.len()) + after + 2;
        let (from, to) = (starts[first], starts.get(last).copied().unwrap_or(text.len()));
        let inner = SourceSpan::from((span.offset() - from, span.len()));
        let found = text[from..to].read_span(&inner, before, after)?;
        let place = SourceSpan::from((found.span().offset() + from, found.span().len()));
        Ok(Box::new(MietteSpanContents::new_named(
            self.path.display().to_string(),
            found.data(),
            place,
            found.line() + first,
            found.column(),
            found.line_count() + first,
        )))
    }
}

impl Problem {
    /// An error without a place; see [`at`](Self::at).
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        debug_assert!(crate::rules::rule(code).is_some(), "{code} is not in RULES");
        let message = message.into();
        Self {
            severity: Severity::Error,
            code,
            message,
            help: None,
            source: None,
            labels: Vec::new(),
            fix: Vec::new(),
        }
    }

    /// As [`error`](Self::error), for what is probably not meant.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// As [`error`](Self::error), for what is worth knowing.
    pub fn note(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(code, message) }
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a place; the first one added is the problem's own.
    #[must_use]
    pub fn at(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.labels.push((span.clone(), label.into()));
        self
    }

    /// Adds the change that certainly mends it.
    #[must_use]
    pub(crate) fn fixed_by(mut self, span: &Span, text: impl Into<String>) -> Self {
        self.fix.push(Fix { span: span.clone(), text: text.into() });
        self
    }

    /// As [`fixed_by`](Self::fixed_by), for a key. One of a table in TOML may stand in several headers: `[[deply]]`.
    #[must_use]
    pub(crate) fn renamed(mut self, source: &Source, span: &Span, meant: &str) -> Self {
        let text = source.text();
        self = self.fixed_by(span, meant);
        let starts = source.starts();
        let line = starts[starts.partition_point(|start| *start <= span.start).saturating_sub(1)];
        let lead = text[line..span.start].trim_start();
        let (above, Some(key)) = (lead.trim_start_matches('['), text.get(span.clone())) else { return self };
        if above.len() == lead.len() {
            return self;
        }
        let mut start = 0;
        for header in text.split_inclusive('\n') {
            let path = header.trim_start().trim_start_matches('[');
            let at = start + header.len() - path.len() + above.len();
            let is_header = header.trim_start().starts_with('[') && at > span.start;
            let rest = path.strip_prefix(above).and_then(|rest| rest.strip_prefix(key));
            if is_header && rest.is_some_and(|rest| rest.starts_with(['.', ']'])) {
                self = self.fixed_by(&(at..at + key.len()), meant);
            }
            start += header.len();
        }
        self
    }

    /// As [`fixed_by`](Self::fixed_by), for a text at the problem's place that should be another one.
    #[must_use]
    pub(crate) fn respelt(self, source: &Source, text: &str, meant: &str) -> Self {
        let Some((span, _)) = self.labels.first() else { return self };
        // A text with escapes stands otherwise in the source.
        let found = source.text().get(span.clone()).and_then(|shown| shown.find(text));
        match found.filter(|_| !text.is_empty()) {
            Some(at) => {
                let from = span.start + at;
                self.fixed_by(&(from..from + text.len()), meant)
            }
            None => self,
        }
    }

    /// Whether the file cannot be used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Line and column of the problem's own place, from 1; none for the command line or a whole file.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        let (source, (span, _)) = (self.source.as_ref()?, self.labels.first()?);
        Some(source.line_column(span.start))
    }

    /// The same problem in a source without endless lines, which no screen can show: of each, a part around the first place.
    #[must_use]
    pub fn for_screen(&self) -> Self {
        let mut shown = self.clone();
        let Some(source) =
            self.source.as_ref().filter(|it| it.text().lines().any(|it| it.len() > LONGEST_LINE))
        else {
            return shown;
        };
        let mut text = String::new();
        // Of each line: where it starts before and after, which part of it is left, and what stands before that part.
        let mut parts: Vec<(usize, usize, Span, usize)> = Vec::new();
        let mut start = 0;
        for line in source.text().split_inclusive('\n') {
            let places = self.labels.iter().flat_map(|(span, _)| [span.start, span.end]);
            let first =
                places.filter(|at| (start..start + line.len()).contains(at)).min().map_or(0, |at| at - start);
            let body = line.trim_end_matches('\n').len();
            let part = if body > LONGEST_LINE {
                let boundary = |mut at: usize| {
                    while !line.is_char_boundary(at) {
                        at -= 1;
                    }
                    at
                };
                let from = boundary(first.saturating_sub(LONGEST_LINE / 4));
                from..boundary(body.min(from + LONGEST_LINE))
            } else {
                0..body
            };
            let lead = if part.start > 0 { "…" } else { "" };
            let trail = if part.end < body { "…" } else { "" };
            parts.push((start, text.len(), part.clone(), lead.len()));
            text += lead;
            text += &line[part];
            text += trail;
            text += &line[body..];
            start += line.len();
        }
        let moved = |at: usize| {
            let index = parts.partition_point(|(start, ..)| *start <= at).saturating_sub(1);
            let Some((start, new, part, lead)) = parts.get(index) else { return 0 };
            // The end of a line is behind its last letter, whatever was left out before.
            new + lead + (at - start).clamp(part.start, part.end + 1) - part.start
        };
        for (span, _) in &mut shown.labels {
            let (from, to) = (moved(span.start).min(text.len()), moved(span.end).min(text.len()));
            *span = from..to.max(from);
        }
        shown.source = Some(Arc::new(Source::new(&source.path, &text)));
        shown
    }

    /// For `--format json`: `file`, `line`, `column`, `end_line`, `end_column` (null where unknown), `severity`, `code`,
    /// `message`, `label`, `help`, `fixable`.
    pub fn to_json(&self) -> serde_json::Value {
        let (line, column) = self.line_column().unzip();
        let (end_line, end_column) = self.end().unzip();
        json!({
            "file": self.source.as_ref().map(|source| source.path.display().to_string()),
            "line": line,
            "column": column,
            "end_line": end_line,
            "end_column": end_column,
            "severity": self.severity.word(),
            "code": self.code,
            "message": self.message,
            "label": self.labels.first().map(|(_, label)| label),
            "help": self.help,
            "fixable": !self.fix.is_empty(),
        })
    }

    /// Line and column after the problem's own place.
    pub fn end(&self) -> Option<(usize, usize)> {
        let (source, (span, _)) = (self.source.as_ref()?, self.labels.first()?);
        Some(source.line_column(span.end))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl miette::Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Note => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_deref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() {
            return None;
        }
        Some(Box::new(self.labels.iter().enumerate().map(|(index, (span, label))| {
            let label = Some(label.clone()).filter(|label| !label.is_empty());
            if index == 0 {
                LabeledSpan::new_primary_with_span(label, span.clone())
            } else {
                LabeledSpan::new_with_span(label, span.clone())
            }
        })))
    }
}

/// Collects the problems of one source.
#[derive(Debug)]
pub(crate) struct Report {
    /// The source.
    pub source: Arc<Source>,
    /// What was found, in the order in which it was found.
    pub problems: Vec<Problem>,
    /// What the shape that was decoded lacks, since it was wrong or could not be understood.
    pub left_out: Vec<LeftOut>,
}

/// A value that was reported when it was decoded, and is not in the shape: what seems to be missing later may be an echo of it.
#[derive(Clone, Debug)]
pub(crate) struct LeftOut {
    /// Where, in bytes of the source.
    pub at: usize,
    /// Its key; empty for an item of a list.
    pub key: String,
    /// The keys and texts in it: names that others may refer to.
    pub names: Vec<String>,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(source: Arc<Source>) -> Self {
        Self { source, problems: Vec::new(), left_out: Vec::new() }
    }

    /// Notes that the shape lacks what stands at this key.
    pub(crate) fn leave_out(&mut self, at: usize, key: &str, value: Option<&Node>) {
        fn collect(node: &Node, names: &mut Vec<String>) {
            match &node.value {
                _ if names.len() > MOST_NAMES => {}
                Kind::Table(entries) => {
                    for (key, value) in entries {
                        names.push(key.value.clone());
                        collect(value, names);
                    }
                }
                Kind::Array(items) => items.iter().for_each(|item| collect(item, names)),
                Kind::String(text) if text.len() <= LONGEST_NAME => names.push(text.clone()),
                _ => {}
            }
        }
        let mut names = Vec::new();
        if let Some(value) = value {
            collect(value, &mut names);
        }
        self.left_out.push(LeftOut { at, key: key.to_owned(), names });
    }

    /// Adds a problem of this source.
    pub(crate) fn push(&mut self, mut problem: Problem) {
        if self.source.is_yaml() {
            problem.help = problem.help.map(|help| in_yaml(&help));
            for (_, label) in &mut problem.labels {
                *label = in_yaml(label);
            }
        }
        problem.source = Some(Arc::clone(&self.source));
        self.problems.push(problem);
    }
}

/// A checked value with everything that was found on the way.
#[derive(Clone, Debug)]
pub struct Checked<T> {
    /// None exactly when a problem is an error.
    pub value: Option<T>,
    /// Errors and warnings, sorted by file and place.
    pub problems: Vec<Problem>,
}

impl<T> Checked<T> {
    /// Withholds the value when there is an error, and sorts the problems.
    pub fn new(value: Option<T>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_cached_key(|problem| {
            let place = problem.labels.first().map(|(span, _)| span.start);
            (problem.source.as_ref().map(|source| source.path.clone()), place)
        });
        let failed = problems.iter().any(Problem::is_error);
        Self { value: value.filter(|_| !failed), problems }
    }

    /// The value with the warnings, or all problems.
    pub fn into_result(self) -> Result<(T, Vec<Problem>), Vec<Problem>> {
        match self.value {
            Some(value) => Ok((value, self.problems)),
            None => Err(self.problems),
        }
    }
}

/// Advice that is written in TOML, as somebody who writes YAML needs it: `[targets.aws]` is `targets.aws`, and `a = 1` in
/// backticks is `a: 1`.
fn in_yaml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, part) in text.split('`').enumerate() {
        let is_code = index % 2 == 1;
        if index > 0 {
            out.push('`');
        }
        let part = without_headers(part, is_code);
        // Variables of a command (`A=b`) have no spaces around the sign.
        out.push_str(&if is_code && !part.starts_with("sb ") { part.replace(" = ", ": ") } else { part });
    }
    out
}

/// `[a.b]` and `[[a.b]]` without brackets; other brackets stay.
fn without_headers(text: &str, is_code: bool) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find('[') {
        let inner = rest[at..].trim_start_matches('[');
        let open = rest.len() - at - inner.len();
        let name = inner.find(']').map(|end| &inner[..end]).unwrap_or_default();
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let close = &"]]"[..open.min(2)];
        out.push_str(&rest[..at]);
        if is_name && open <= 2 && inner[name.len()..].starts_with(close) {
            let quote = if is_code { "" } else { "`" };
            out.push_str(&format!("{quote}{name}{quote}"));
            rest = &inner[name.len() + close.len()..];
            // `[params] a = 1` in one line.
            if is_code && rest.contains(" = ") {
                out.push(':');
            }
        } else {
            out.push_str(&rest[at..at + open]);
            rest = inner;
        }
    }
    out.push_str(rest);
    out
}

/// Among how many names of a file the nearest one is looked for: a file with thousands of names and of mistakes is read as well.
pub(crate) const MOST_NAMES: usize = 100;
/// How many names a message lists.
const MOST_LISTED: usize = 40;
/// Nothing longer is a slip of a name.
const LONGEST_NAME: usize = 128;

/// ``; did you mean `…`?`` for the known name nearest to `wrong`, if one is near enough.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if wrong.len() > LONGEST_NAME {
        return None;
    }
    let enough = (wrong.chars().count() / 3).max(1);
    let lower = wrong.to_lowercase();
    known
        .into_iter()
        .filter(|name| name.len() <= LONGEST_NAME)
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= enough || is_shortened(wrong, name))
        .min_by_key(|(distance, name)| (*distance, strsim::damerau_levenshtein(wrong, name)))
        .map(|(_, name)| name)
}

fn is_shortened(wrong: &str, name: &str) -> bool {
    let (short, long) = if wrong.len() < name.len() { (wrong, name) } else { (name, wrong) };
    short.len() >= 3 && long.starts_with(short)
}

/// "did you mean `a`? " when something is near, then "known LABEL: `a`, `b`".
pub(crate) fn suggest<'a>(
    wrong: &str,
    label: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    let mut names: Vec<String> =
        known.clone().into_iter().take(MOST_LISTED + 1).map(|name| format!("`{name}`")).collect();
    if names.len() > MOST_LISTED {
        "…".clone_into(&mut names[MOST_LISTED]);
    }
    let list = match names.len() {
        0 => format!("there are no {label} here"),
        _ => format!("{label}: {}", names.join(", ")),
    };
    match did_you_mean(wrong, known.into_iter().take(MOST_NAMES)) {
        Some(name) => format!("did you mean `{name}`? ({list})"),
        None => list,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_wherever_a_line_begins() {
        // Longer than several pieces, with characters of one to four bytes across their borders.
        let line = "aé€😀".repeat(1000);
        let text = format!("{line}\n{line}");
        let source = Source::new(Path::new("/x"), &text);
        let slow = |offset: usize| {
            let before = &text[..offset];
            let start = before.rfind('\n').map_or(0, |at| at + 1);
            (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
        };
        for offset in (0..text.len()).step_by(7).chain([text.len()]).filter(|at| text.is_char_boundary(*at)) {
            assert_eq!(source.line_column(offset), slow(offset), "{offset}");
        }
        assert_eq!(Source::new(Path::new("/x"), "").line_column(5), (1, 1));
    }

    #[test]
    fn many_places_in_one_long_line_take_no_time() {
        let text = "é".repeat(1 << 20);
        let source = Source::new(Path::new("/x"), &text);
        let begun = std::time::Instant::now();
        let places = (0..text.len()).step_by(64).map(|offset| source.line_column(offset).1);
        assert_eq!(places.max(), Some((text.len() - 64) / 2 + 1));
        // Counted from the start of the line each time, it takes half a minute where this is built for tests.
        assert!(begun.elapsed().as_secs() < 8, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_place_in_an_endless_line_can_be_shown() {
        let text = format!("a = 1\nb = \"{}ü{{{{x}}}}{}\"\nc = 2\n", "é".repeat(40_000), "z".repeat(40_000));
        let at = text.find("{{x}}").unwrap();
        let after = text.find("c = 2").unwrap();
        let mut problem =
            Problem::error("syntax", "wrong").at(&(at..at + 5), "here").at(&(after..after + 1), "and here");
        problem.source = Some(Arc::new(Source::new(Path::new("/x"), &text)));
        let shown = problem.for_screen();
        let source = shown.source.as_ref().unwrap();
        let places: Vec<&str> = shown.labels.iter().map(|(span, _)| &source.text()[span.clone()]).collect();
        assert_eq!(places, ["{{x}}", "c"]);
        assert!(source.text().lines().all(|line| line.len() < 2 * LONGEST_LINE));
        assert_eq!(shown.line_column().unwrap().0, 2);
        let mut out = String::new();
        miette::GraphicalReportHandler::new().render_report(&mut out, &shown).unwrap();
        assert!(out.contains("{{x}}") && out.contains("and here"), "{out}");
    }

    #[test]
    fn an_excerpt_of_a_long_file_is_what_all_of_it_would_show() {
        let text = format!("é = 1\n{}\r\n\nlast = é", "  key = \"value\"\n".repeat(60));
        let source = Source::new(Path::new("/x"), &text);
        let starts: Vec<usize> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
        for (from, to) in starts.iter().flat_map(|from| [0, 1, 5, 40].map(|more| (*from, from + more))) {
            for context in 0..3 {
                let span = SourceSpan::from((from, to - from));
                let shown = |code: &dyn SourceCode| {
                    let found = code.read_span(&span, context, context).ok()?;
                    Some((found.data().to_vec(), *found.span(), found.line(), found.column()))
                };
                assert_eq!(shown(&source), shown(&text.as_str()), "{from}..{to}");
            }
        }
        assert_eq!(&text[source.line(2)], "key = \"value\"");
        assert_eq!(&text[source.line(64)], "last = é");
        assert_eq!(source.line(99), text.len()..text.len());
    }

    #[test]
    fn advice_is_in_the_language_of_the_file() {
        for (toml, yaml) in [
            ("add a [[cleanup]] step", "add a `cleanup` step"),
            (
                "add one: `[targets.local]` with `traces = \"local\"`",
                "add one: `targets.local` with `traces: \"local\"`",
            ),
            ("write `{ env = \"KEY\" }`, or [\"a\", \"b\"]", "write `{ env: \"KEY\" }`, or [\"a\", \"b\"]"),
            ("`[params] A = \"{{matrix.rate}}\"`", "`params: A: \"{{matrix.rate}}\"`"),
            ("`sb prepare -p NAME=VALUE`, `needs = []`", "`sb prepare -p NAME=VALUE`, `needs: []`"),
            ("not in the [params] of `shop`", "not in the `params` of `shop`"),
        ] {
            assert_eq!(in_yaml(toml), yaml);
        }
        let mut report = Report::new(Arc::new(Source::new(Path::new("/x/benchmark.yaml"), "a: 1")));
        report.push(Problem::error("no-target", "x").at(&(0..1), "see [targets]").help("add `a = 1`"));
        assert_eq!(report.problems[0].help.as_deref(), Some("add `a: 1`"));
        assert_eq!(report.problems[0].labels[0].1, "see `targets`");
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let source = Source::new(Path::new("/x"), "é1\n\nab\n");
        assert_eq!(
            [0, 2, 4, 5, 7].map(|at| source.line_column(at)),
            [(1, 1), (1, 2), (2, 1), (3, 1), (3, 3)]
        );
        assert_eq!(source.line_column(99), (4, 1));
    }
}
