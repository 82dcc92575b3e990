//! Template values: the `{{path}}` placeholders that manifests and plans may hold.
//!
//! The syntax is Handlebars', parsed by its crate: `{{path}}`, and `{{{path}}}` for a raw value. `\{{` stands for two
//! braces that are meant as they are, and `\\{{path}}` for a backslash before a value. There are no blocks, helpers,
//! partials, comments or whitespace control, so other text between placeholders reaches the result byte for byte. A
//! value is quoted for the context it lands in ([`Context`]). That is why rendering is done here: what a placeholder
//! becomes depends on its place.
//!
//! Handlebars' own rendering cannot do that: its escape function sees the text of a value alone. It does not know the
//! text around a placeholder: the base of a URL, a word of a command, a redirect. Nor does it know whether the value
//! is a string. It also takes all values as one document, which every request would change. In strict mode, a URL
//! with three values then takes 11 µs instead of 3.7 µs.

use handlebars::template::{HelperTemplate, TemplateElement};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where a rendered string goes, and so how values in it are quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// Environment variables, argv words, labels, paths: the value as it is.
    Plain,
    /// A shell command line: values are single-quoted for `sh`.
    Shell,
    /// A URL: a value at the very start is the base, as it is; later ones are percent-encoded.
    Url,
    /// Inside a JSON document: strings are escaped (the author writes the quotes around them).
    Json,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Text that stays as it is.
    Literal(String),
    /// A placeholder.
    Value {
        /// Names joined by dots: `outputs.endpoint`.
        path: String,
        /// Whether the value is not quoted for where it lands.
        raw: bool,
    },
}

/// A parsed string with placeholders. Serialized as its source text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The braces do not match, or hold no path.
    #[error("{message}")]
    Syntax {
        /// What is wrong, for people.
        message: String,
    },
    /// The braces hold what Handlebars knows and templates here do not have.
    #[error(
        "`{found}` is not a plain value: only `{{{{path.to.value}}}}` is allowed, no blocks, helpers or partials"
    )]
    NotAValue {
        /// What stands between the braces.
        found: String,
    },
}

/// A placeholder that has no value, or none that can stand there, when it was rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{{{{{path}}}}}` {reason}")]
pub struct Undefined {
    /// The placeholder's path: `params.memory_size`.
    pub path: String,
    /// What is wrong with it, for people.
    pub reason: &'static str,
}

const NO_VALUE: &str = "has no value here";
const HOLDS_NUL: &str =
    "holds a NUL byte, which neither a command nor an environment can carry: remove it from the value";
const LIKE_AN_OPTION: &str = "starts with `-` and would be read as an option of the command: pass it through \
                              `env`, as `--name={{…}}`, or after `--`";

impl Template {
    /// One placeholder by itself.
    pub fn value(path: &str) -> Self {
        let pieces = vec![Piece::Value { path: path.to_owned(), raw: false }];
        Self { source: format!("{{{{{path}}}}}"), pieces }
    }

    /// Reads a text with placeholders.
    ///
    /// # Errors
    /// A placeholder is not closed, or holds more than the path of a value.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        let (template, errors) = Self::parse_all(source);
        errors.into_iter().next().map_or(Ok(template), Err)
    }

    /// As [`parse`](Self::parse), with every error, up to a hundred. What cannot be read stays in the template as text, so
    /// that the placeholders beside it can be checked.
    pub fn parse_all(source: &str) -> (Self, Vec<TemplateError>) {
        const MOST: usize = 100;
        let mut pieces: Vec<Piece> = Vec::new();
        let mut errors: Vec<TemplateError> = Vec::new();
        let mut rest = source;
        // Tag by tag: handlebars takes the square of the time for a long text.
        while let Some(at) = rest.find("{{") {
            let text = &rest[..at];
            let escapes = at - text.trim_end_matches('\\').len();
            push_literal(&mut pieces, &text[..at - escapes]);
            let tag = &rest[at..];
            if errors.len() >= MOST {
                break;
            }
            let length = match escapes {
                1 if tag.starts_with("{{{{") => 4,
                1 => 2,
                _ => {
                    let opened = tag.bytes().take(4).take_while(|byte| *byte == b'{').count();
                    let close = &"}}}}"[..opened];
                    let end = tag.find(close);
                    // One that is opened within this one is a placeholder by itself.
                    let inner = tag[opened..end.unwrap_or(tag.len())].find("{{").map(|at| at + opened);
                    match (end, inner) {
                        (Some(end), None) => end + close.len(),
                        (_, inner) => {
                            let text = &tag[..inner.unwrap_or(tag.len())];
                            errors.push(not_closed(text, close));
                            push_literal(&mut pieces, text);
                            rest = &tag[text.len()..];
                            continue;
                        }
                    }
                }
            };
            let tag = &rest[at - escapes..at + length];
            if let Err(error) = push_tag(&mut pieces, tag) {
                errors.push(error);
                push_literal(&mut pieces, tag);
            }
            rest = &rest[at + length..];
        }
        push_literal(&mut pieces, rest);
        // Whitespace control would change the text between placeholders behind the author's back.
        let has_values = pieces.iter().any(|piece| matches!(piece, Piece::Value { .. }));
        if has_values && (source.contains("{{~") || source.contains("~}}")) {
            errors.push(TemplateError::NotAValue { found: "{{~ … ~}}".to_owned() });
        }
        (Self { source: source.to_owned(), pieces }, errors)
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The parts, in the order of the text.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The paths of all placeholders, in order, with repeats.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value { path, .. } => Some(path.as_str()),
            Piece::Literal(_) => None,
        })
    }

    /// Whether it has no placeholder.
    pub fn is_literal(&self) -> bool {
        self.paths().next().is_none()
    }

    /// The path, when the whole string is exactly one placeholder: then the value keeps its type.
    fn single_path(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Value { path, .. }] => Some(path),
            _ => None,
        }
    }

    /// Renders with `lookup` giving the value of each path.
    ///
    /// # Errors
    /// A placeholder without a value; a NUL byte in a plain or shell value; in a shell, a string that starts with
    /// `-` at the start of a word (quotes do not stop a command from reading it as an option), unless `--`
    /// stands before it or the placeholder is raw.
    pub fn render(
        &self,
        context: Context,
        lookup: &dyn Fn(&str) -> Option<Value>,
    ) -> Result<String, Undefined> {
        let mut out = String::with_capacity(self.source.len());
        let mut in_string = false;
        for (index, piece) in self.pieces.iter().enumerate() {
            let (path, raw) = match piece {
                Piece::Literal(text) => {
                    out.push_str(text);
                    in_string = ends_in_string(text, in_string);
                    continue;
                }
                Piece::Value { path, raw } => (path, *raw),
            };
            let failed = |reason| Undefined { path: path.clone(), reason };
            let value = lookup(path).ok_or_else(|| failed(NO_VALUE))?;
            let text = plain_text(&value);
            if matches!(context, Context::Plain | Context::Shell) && text.contains('\0') {
                return Err(failed(HOLDS_NUL));
            }
            match context {
                Context::Plain => out.push_str(&text),
                _ if raw => out.push_str(&text),
                Context::Shell => {
                    if value.is_string() && text.starts_with('-') && !may_start_with_dash(&out) {
                        return Err(failed(LIKE_AN_OPTION));
                    }
                    let before_redirect = matches!(
                        self.pieces.get(index + 1),
                        Some(Piece::Literal(next)) if next.starts_with(['<', '>'])
                    );
                    push_shell_quoted(&mut out, &text, before_redirect);
                }
                Context::Url if index == 0 => out.push_str(&text),
                Context::Url => out.push_str(&percent_encoded(&text)),
                // A table whose numbers would lose digits is its own text, and stands in a document as the table that it is.
                Context::Json if !in_string && is_json_text(&text) => out.push_str(&text),
                Context::Json => push_json_escaped(&mut out, &value),
            }
        }
        Ok(out)
    }

    /// Renders in plain context, keeping the type of the value when the string is exactly one placeholder.
    pub fn evaluate(&self, lookup: &dyn Fn(&str) -> Option<Value>) -> Result<Value, Undefined> {
        match self.single_path() {
            Some(path) => lookup(path).ok_or_else(|| Undefined { path: path.to_owned(), reason: NO_VALUE }),
            None => self.render(Context::Plain, lookup).map(Value::String),
        }
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(source: String) -> Result<Self, TemplateError> {
        Self::parse(&source)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> String {
        template.source
    }
}

/// Looks a dotted path up in nested tables: `params.region` in `{"params": {"region": …}}`.
pub fn lookup_in(values: &Value, path: &str) -> Option<Value> {
    path.split('.').try_fold(values, |value, key| value.get(key)).cloned()
}

/// A value as text: strings without quotes, everything else as JSON writes it.
pub fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Literal(before)) => before.push_str(text),
        _ => pieces.push(Piece::Literal(text.to_owned())),
    }
}

/// The path of a placeholder as nearly all are written, `{{params.size}}`, for which no grammar is needed. None: ask the grammar.
fn usual_path(tag: &str) -> Option<&str> {
    // Words that the grammar reads in another way.
    const OTHERS: [&str; 7] = ["as", "else", "false", "null", "this", "true", "undefined"];
    let path = tag.strip_prefix("{{")?.strip_suffix("}}")?.trim_matches(' ');
    let is_usual = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
            && !OTHERS.contains(&part)
    };
    (path.contains('.') && path.split('.').all(is_usual)).then_some(path)
}

/// One tag, with the backslashes before it.
fn push_tag(pieces: &mut Vec<Piece>, tag: &str) -> Result<(), TemplateError> {
    if let Some(path) = usual_path(tag) {
        pieces.push(Piece::Value { path: path.to_owned(), raw: false });
        return Ok(());
    }
    push_parsed(pieces, tag)
}

fn push_parsed(pieces: &mut Vec<Piece>, tag: &str) -> Result<(), TemplateError> {
    let parsed =
        handlebars::Template::compile(tag).map_err(|_| TemplateError::NotAValue { found: first_tag(tag) })?;
    for element in parsed.elements {
        match element {
            TemplateElement::RawString(text) => push_literal(pieces, &text),
            TemplateElement::Expression(value) => {
                pieces.push(Piece::Value { path: path_of(&value)?, raw: false });
            }
            TemplateElement::HtmlExpression(value) => {
                pieces.push(Piece::Value { path: path_of(&value)?, raw: true });
            }
            _ => return Err(TemplateError::NotAValue { found: first_tag(tag) }),
        }
    }
    Ok(())
}

/// The dotted path of a placeholder that is a plain value.
fn path_of(value: &HelperTemplate) -> Result<String, TemplateError> {
    let path = value.name.as_name().unwrap_or_default();
    let plain = value.params.is_empty()
        && value.hash.is_empty()
        && path.split('.').all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        });
    if plain {
        Ok(path.to_owned())
    } else {
        Err(TemplateError::NotAValue { found: format!("{{{{{path} …}}}}") })
    }
}

/// A placeholder that is opened, and ends neither before the next one nor before the end of the text.
fn not_closed(tag: &str, close: &str) -> TemplateError {
    let shown: String = tag.trim_end().chars().take(30).collect();
    TemplateError::Syntax { message: format!("`{shown}` is not closed by `{close}`") }
}

/// The first tag of a template, as it is written.
fn first_tag(source: &str) -> String {
    let tag = source.find("{{").map_or(source, |start| &source[start..]);
    let end = tag.find("}}").map_or(tag.len(), |end| end + 2);
    tag[..end].to_owned()
}

/// Whether a value at the end of `before` may start with `-`: inside a word, or after the end of the options.
fn may_start_with_dash(before: &str) -> bool {
    let starts_word = before.is_empty() || before.ends_with([' ', '\t', '\n', ';', '&', '|', '(']);
    !starts_word || before.trim_end().ends_with(" --")
}

fn push_shell_quoted(out: &mut String, text: &str, before_redirect: bool) {
    // Bare, `a=b` in front of a command would be an assignment, `done` a keyword, and `2` before `>` a
    // file descriptor.
    const KEYWORDS: [&str; 18] = [
        "if", "then", "else", "elif", "fi", "do", "done", "case", "esac", "while", "until", "for", "in",
        "select", "function", "time", "coproc", "exec",
    ];
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c);
    if !text.is_empty() && !before_redirect && text.chars().all(harmless) && !KEYWORDS.contains(&text) {
        out.push_str(text);
        return;
    }
    out.push('\'');
    out.push_str(&text.replace('\'', r"'\''"));
    out.push('\'');
}

/// As it looks inside a URL: all but letters, digits and `-._~` as `%XX`.
pub fn percent_encoded(text: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Whether a text is a table or a list of JSON, and all of it.
fn is_json_text(text: &str) -> bool {
    text.starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Whether a piece of JSON ends within a string, when it begins within one or not.
fn ends_in_string(text: &str, mut in_string: bool) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => _ = bytes.next(),
            _ => {}
        }
    }
    in_string
}

fn push_json_escaped(out: &mut String, value: &Value) {
    let written = value.to_string();
    match value {
        Value::String(_) => out.push_str(&written[1..written.len() - 1]),
        _ => out.push_str(&written),
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Template {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    /// Values that would break out of careless quoting.
    const HOSTILE: [&str; 22] = [
        "",
        "plain",
        "two words",
        "'; touch /tmp/broken-out; '",
        "\"; touch /tmp/broken-out; \"",
        "$(touch /tmp/broken-out)",
        "`touch /tmp/broken-out`",
        "line one\nline two\n",
        "a\r\nSet-Cookie: b",
        "*",
        "~",
        "!!",
        "\\",
        "\\'",
        "PATH=/nowhere",
        "# comment",
        "$HOME ${HOME} $'x'",
        "&& || ; | < > ( ) { }",
        "ü 日本 🦀\u{2028}",
        "done",
        "%s%n{{params.x}}",
        "../../etc/passwd?x=1&y=2#z",
    ];

    fn render(source: &str, context: Context, value: impl Into<Value>) -> Result<String, Undefined> {
        let value = value.into();
        Template::parse(source).unwrap().render(context, &|path| (path == "v").then(|| value.clone()))
    }

    /// What `sh` makes of a command line.
    fn shell(line: &str) -> String {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn what_cannot_be_read_hides_nothing_beside_it() {
        let check = |source: &str, paths: &[&str], messages: &[&str]| {
            let (template, errors) = Template::parse_all(source);
            assert_eq!(template.paths().collect::<Vec<_>>(), paths, "{source}");
            let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(errors.len(), messages.len(), "{source}: {errors:?}");
            for (error, message) in errors.iter().zip(messages) {
                assert!(error.contains(message), "{source}: {error}");
            }
        };
        check("{{a}} {{b}} {{", &["a", "b"], &["`{{` is not closed"]);
        check("{{a.x {{b}} {{c}}", &["b", "c"], &["`{{a.x` is not closed by `}}`"]);
        check("{{a}} {{#if b}} {{c}}", &["a", "c"], &["`{{#if b}}` is not a plain value"]);
        check(
            "{{#if a}} {{b c}} {{{d}} {{e}}",
            &["e"],
            &["{{#if a}}", "{{b …}}", "`{{{d}}` is not closed by `}}}`"],
        );
        check(r"\{{ {{a}}", &["a"], &[]);
        let many = "{{".repeat(100_000);
        assert!(Template::parse_all(&many).1.len() <= 100);
    }

    #[test]
    fn values_reach_a_real_shell_as_they_are() {
        for value in HOSTILE {
            let line = render("printf %s {{v}}", Context::Shell, value).unwrap();
            assert_eq!(shell(&line), value, "{line}");
            let line = render("printf %s \"$(printf '[%s]' --x={{v}})\"", Context::Shell, value).unwrap();
            assert_eq!(shell(&line), format!("[--x={value}]"), "{line}");
            let line = render("f() { printf %s \"$1\"; }; f a{{v}}b{{v}}", Context::Shell, value).unwrap();
            assert_eq!(shell(&line), format!("a{value}b{value}"), "{line}");
        }
        assert!(!std::path::Path::new("/tmp/broken-out").exists());
    }

    #[test]
    fn a_value_is_never_an_assignment_a_keyword_or_a_redirection() {
        for (source, value) in
            [("{{v}} true", "PATH=/nowhere"), ("{{v}}", "if"), ("{{v}}", "while"), ("{{v}}", "case")]
        {
            let line = render(source, Context::Shell, value).unwrap();
            let output = Command::new("sh").args(["-c", &line]).output().unwrap();
            assert_eq!(output.status.code(), Some(127), "{line} is a command that does not exist");
        }
        let line = render("printf %s {{v}}>&1", Context::Shell, 2).unwrap();
        assert_eq!(shell(&line), "2");
    }

    #[test]
    fn a_value_is_not_taken_for_an_option() {
        for (source, value, fits) in [
            ("rm {{v}}", "-rf", false),
            ("{{v}}", "-rf", false),
            ("x;{{v}}", "-rf", false),
            ("rm -- {{v}}", "-rf", true),
            ("x --y={{v}}", "-rf", true),
            ("x {{{v}}}", "-rf", true),
            ("x {{v}}", "a-b", true),
        ] {
            assert_eq!(render(source, Context::Shell, value).is_ok(), fits, "{source}");
        }
        assert_eq!(render("x {{v}}", Context::Shell, -5).unwrap(), "x -5");
    }

    #[test]
    fn nul_has_no_place_in_commands_and_environments() {
        for source in ["{{v}}", "{{{v}}}"] {
            assert!(render(source, Context::Shell, "a\0b").is_err());
            assert!(render(source, Context::Plain, "a\0b").is_err());
        }
        assert_eq!(render("http://x/{{v}}", Context::Url, "a\0b").unwrap(), "http://x/a%00b");
        assert_eq!(render("\"{{v}}\"", Context::Json, "a\0b").unwrap(), "\"a\\u0000b\"");
    }

    #[test]
    fn values_in_a_url_stay_one_part_of_it() {
        for value in HOSTILE {
            let url = render("http://host/a/{{v}}?q={{v}}", Context::Url, value).unwrap();
            let rest = url.strip_prefix("http://host/a/").unwrap();
            let (path, query) = rest.split_once("?q=").unwrap();
            for part in [path, query] {
                assert!(part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)), "{part}");
                assert_eq!(decoded(part), value);
            }
        }
        assert_eq!(
            render("{{v}}/x/{{v}}", Context::Url, "http://h:1").unwrap(),
            "http://h:1/x/http%3A%2F%2Fh%3A1"
        );
        let template = Template::parse("{{a}}{{b}}").unwrap();
        let lookup = |path: &str| Some(Value::from(if path == "a" { "" } else { "http://evil" }));
        assert_eq!(template.render(Context::Url, &lookup).unwrap(), "http%3A%2F%2Fevil");
    }

    fn decoded(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'%' {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            } else {
                bytes.push(byte);
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn values_in_json_stay_one_string() {
        for value in HOSTILE {
            let json = render(r#"{"a": "<{{v}}>", "b": ["{{v}}"]}"#, Context::Json, value).unwrap();
            let parsed: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(parsed, serde_json::json!({"a": format!("<{value}>"), "b": [value]}));
        }
        let json = render(r#"{"n": {{v}}}"#, Context::Json, 1.5).unwrap();
        assert_eq!(json, r#"{"n": 1.5}"#);
        assert_eq!(render("[{{v}}]", Context::Json, Value::Null).unwrap(), "[null]");
    }

    #[test]
    fn a_text_of_json_is_a_value_outside_of_strings_and_a_text_within() {
        let exact = r#"{"x":12345678901234567890123}"#;
        let json = render(r#"{"a\"": {{v}}, "b": "{{v}}"}"#, Context::Json, exact).unwrap();
        assert_eq!(json, format!(r#"{{"a\"": {exact}, "b": "{}"}}"#, exact.replace('"', "\\\"")));
        let json = render(r#"{"a": {{v}}}"#, Context::Json, r#"{"x":1}, "b": {"y":2}"#).unwrap();
        assert!(serde_json::from_str::<Value>(&json).is_err(), "no more than one value: {json}");
    }

    #[test]
    fn only_plain_values_are_placeholders() {
        for source in [
            "{{#if x}}",
            "{{/if}}",
            "{{else if x}}",
            "{{> p}}",
            "{{! comment }}",
            "{{~v~}}",
            "{{v|upper}}",
            "{{a b}}",
            "{{ }}",
            "{{}}",
            "{{a..b}}",
            "{{.a}}",
            "{{../a}}",
            "{{[a]}}",
            "{{@root}}",
            "{{{{raw}}}}",
            "{{v",
            "{{{v}}",
            "x {{",
        ] {
            assert!(Template::parse(source).is_err(), "{source}");
        }
    }

    #[track_caller]
    fn check(source: &str, rendered: &str) {
        let template = Template::parse(source).unwrap();
        assert_eq!(template.render(Context::Plain, &|_| Some(Value::from("V"))).unwrap(), rendered);
        assert_eq!(template.source(), source);
    }

    /// What handlebars makes of the whole text at once.
    fn at_once(source: &str) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        for element in handlebars::Template::compile(source).ok()?.elements {
            match element {
                TemplateElement::RawString(text) => push_literal(&mut pieces, &text),
                TemplateElement::Expression(value) => {
                    pieces.push(Piece::Value { path: path_of(&value).ok()?, raw: false });
                }
                TemplateElement::HtmlExpression(value) => {
                    pieces.push(Piece::Value { path: path_of(&value).ok()?, raw: true });
                }
                _ => return None,
            }
        }
        Some(pieces)
    }

    proptest! {
        #[test]
        fn usual_placeholders_are_what_the_grammar_says(
            path in "(this|else|as|null|true|[a-zA-Z_][a-zA-Z0-9_]{0,5}|[0-9]{1,2}|)(\\.(this|else|as|null|true|[a-zA-Z][a-zA-Z0-9_]{0,5}|[0-9]|)){0,3}",
            before in "[ ]{0,2}",
            after in "[ ]{0,2}",
        ) {
            let tag = format!("{{{{{before}{path}{after}}}}}");
            if let Some(found) = usual_path(&tag) {
                let mut pieces = Vec::new();
                prop_assert_eq!(push_parsed(&mut pieces, &tag), Ok(()));
                prop_assert_eq!(pieces, vec![Piece::Value { path: found.to_owned(), raw: false }]);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn tag_by_tag_is_as_at_once(
            words in proptest::collection::vec(
                prop_oneof![
                    Just("{{a.b}}"), Just("{{{c}}}"), Just("{{ d }}"), Just("{"), Just("}"), Just("\\"), Just("é "), Just("\n"),
                    Just("{{"), Just("}}"), Just("x"), Just("{{else}}"), Just("{{#if}}"),
                ],
                0..8,
            )
        ) {
            let source = words.concat();
            if let Ok(template) = Template::parse(&source) {
                prop_assert_eq!(Some(template.pieces().to_vec()), at_once(&source), "{}", source);
            } else {
                // Whitespace control is refused beyond what handlebars refuses.
                prop_assert_eq!(at_once(&source), None, "{}", source);
            }
        }
    }

    #[test]
    fn text_between_placeholders_is_kept() {
        check("", "");
        check(" a {{v}}\n\n{{ v.w }}\t", " a V\n\nV\t");
        check("{{{v}}}{{v}}}", "VV}");
        check(r"docker ps --format '\{{.Names}}' {{v}}", "docker ps --format '{{.Names}}' V");
        check(r"a\{{{v}}}", "a{{{v}}}");
        check(r"a\\{{v}}", r"a\V");
        check("{ {v} } }}", "{ {v} } }}");
    }

    #[test]
    fn a_single_placeholder_keeps_its_type() {
        let evaluate =
            |source: &str| Template::parse(source).unwrap().evaluate(&|_| Some(Value::from(7))).unwrap();
        assert_eq!(evaluate("{{v}}"), 7);
        assert_eq!(evaluate("{{v}} "), "7 ");
        assert!(Template::parse("{{v}}").unwrap().evaluate(&|_| None).is_err());
    }

    proptest! {
        #[test]
        fn any_value_reaches_the_shell_as_it_is(value in "[^\0]{0,40}") {
            prop_assume!(!value.starts_with('-'));
            let line = render("printf %s {{v}}", Context::Shell, value.as_str()).unwrap();
            prop_assert_eq!(shell(&line), value);
        }

        #[test]
        fn any_text_parses_or_fails_but_never_panics(source in r"[\\{}a.~ ü]{0,30}") {
            if let Ok(template) = Template::parse(&source) {
                let text = serde_json::to_string(&template).unwrap();
                prop_assert_eq!(serde_json::from_str::<Template>(&text).unwrap(), template);
            }
        }
    }
}
