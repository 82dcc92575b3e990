//! One tree for TOML and YAML: every node and key knows its bytes in the source.
//!
//! Both formats are parsed into this tree, and only the tree is decoded. So both carry the same model, and a problem
//! points at the same kind of place in either. TOML goes on after a syntax error and may report several.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::options::DuplicateKeyPolicy;
use toml::de::{DeTable, DeValue};

use crate::manifest::problem::{Problem, Report, Source, Span};

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<T> std::ops::Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

pub(crate) type Node = Spanned<Kind>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// In the order of the file.
    Table(Vec<(Spanned<String>, Node)>),
    Array(Vec<Node>),
    String(String),
    Integer(i64),
    /// Always finite.
    Float(f64),
    Boolean(bool),
    /// YAML's `null` or nothing after a colon.
    Null,
}

impl Kind {
    /// With its article, for "expected …, found …".
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Table(_) => "a table",
            Self::Array(_) => "an array",
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Null => "nothing",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Toml,
    Yaml,
}

impl Syntax {
    /// By the file's extension; anything that is not `.yaml` or `.yml` counts as TOML.
    pub(crate) fn of(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => Self::Yaml,
            _ => Self::Toml,
        }
    }
}

/// Parses bytes; None when no tree can be made. The report holds the text and what is wrong with it.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> (Option<Node>, Report) {
    let text = match text(path, bytes) {
        Ok(text) => text,
        Err(report) => return (None, report),
    };
    let mut report = Report::new(Arc::new(Source::new(path, text)));
    let node = match Syntax::of(path) {
        Syntax::Toml => from_toml(text, &mut report),
        Syntax::Yaml => from_yaml(text, &mut report),
    };
    (node, report)
}

/// Bytes as a text. The report says where they are none.
pub(crate) fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, Report> {
    match std::str::from_utf8(bytes) {
        // A byte-order mark is not part of the text; TOML and YAML would each complain in their own way.
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let valid = error.valid_up_to();
            let mut report = Report::new(Arc::new(Source::new(path, &String::from_utf8_lossy(bytes))));
            report.push(
                Problem::error("not-utf8", "the file is not UTF-8 text")
                    .at(&(valid..valid + '\u{fffd}'.len_utf8()), "this byte cannot be read")
                    .help("save the file as UTF-8"),
            );
            Err(report)
        }
    }
}

fn syntax(message: impl Into<String>) -> Problem {
    Problem::error("syntax", message)
}

fn from_toml(text: &str, report: &mut Report) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(text);
    // A key that is given twice leaves the rest as it is.
    let failed = report_errors(errors, report);
    let span = 0..text.len();
    let value = toml_table(table.into_inner(), report);
    (!failed).then_some(Node { value, span })
}

/// What is wrong with a text as TOML, whatever its values mean.
pub(crate) fn toml_errors(path: &Path, text: &str) -> Vec<Problem> {
    let mut report = Report::new(Arc::new(Source::new(path, text)));
    let (_, errors) = DeTable::parse_recoverable(text);
    report_errors(errors, &mut report);
    report.problems
}

/// True: what was read is not all of the text.
fn report_errors(errors: Vec<toml::de::Error>, report: &mut Report) -> bool {
    let mut failed = false;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
        let is_duplicate = message.contains("duplicate key");
        failed |= !is_duplicate;
        let code = if is_duplicate { "duplicate-key" } else { "syntax" };
        report.push(
            Problem::error(code, format!("this is not TOML: {message}"))
                .at(&span, "here")
                .help("https://toml.io explains the format; a key may be given once"),
        );
    }
    failed
}

fn toml_table(table: DeTable<'_>, report: &mut Report) -> Kind {
    let mut entries: Vec<_> = table
        .into_iter()
        .map(|(key, value)| {
            let span = key.span();
            let key = Spanned { value: key.into_inner().into_owned(), span };
            let span = value.span();
            let value = toml_value(value.into_inner(), &span, report);
            (key, Node { value, span })
        })
        .collect();
    entries.sort_by_key(|(key, _)| key.span.start);
    Kind::Table(entries)
}

fn toml_value(value: DeValue<'_>, span: &Span, report: &mut Report) -> Kind {
    match value {
        DeValue::String(text) => Kind::String(text.into_owned()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).map_or_else(
            |_| {
                report.push(number_too_large(span));
                Kind::Integer(0)
            },
            Kind::Integer,
        ),
        DeValue::Float(float) => finite(float.as_str().parse().unwrap_or(f64::NAN), span, report),
        DeValue::Boolean(boolean) => Kind::Boolean(boolean),
        DeValue::Datetime(date) => {
            report.push(
                syntax("dates and times have no meaning here")
                    .at(span, "a date")
                    .help(format!("write it as a string: \"{date}\"")),
            );
            Kind::String(date.to_string())
        }
        DeValue::Array(items) => Kind::Array(
            items
                .into_iter()
                .map(|item| {
                    let span = item.span();
                    Node { value: toml_value(item.into_inner(), &span, report), span }
                })
                .collect(),
        ),
        DeValue::Table(table) => toml_table(table, report),
    }
}

fn number_too_large(span: &Span) -> Problem {
    syntax("the number is too large").at(span, "beyond 64 bits").help("use a smaller number, or a string")
}

fn finite(number: f64, span: &Span, report: &mut Report) -> Kind {
    if number.is_finite() {
        return Kind::Float(number);
    }
    report.push(syntax("the number is not finite").at(span, "here").help("write a finite number"));
    Kind::Float(0.0)
}

fn from_yaml(text: &str, report: &mut Report) -> Option<Node> {
    let options = serde_yaml::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        // Duplicates are reported below: all of them, with both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
        budget: serde_yaml::budget! {
            max_nodes: 200_000,
            max_depth: 64,
            max_documents: 1,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: 100_000 },
    };
    match serde_yaml::from_str_with_options::<serde_yaml::Spanned<YamlValue>>(text, options) {
        Ok(value) => {
            let mut node = yaml_node(value, report);
            if node.value == Kind::Null {
                node.value = Kind::Table(Vec::new());
            }
            Some(node)
        }
        Err(error) => {
            let span = error.location().map_or(0..0, |location| yaml_span(location, text));
            let message = error.without_snippet().to_string();
            // The place is shown beside the text.
            let message = message.lines().next().unwrap_or_default();
            let message = message.split(" at line ").next().unwrap_or_default();
            report.push(
                syntax(format!("this is not YAML that can be read: {message}"))
                    .at(&span, "here")
                    .help("check the indentation and the quotes around this place"),
            );
            None
        }
    }
}

/// The bytes of a location; of a syntax error only line and column are known.
fn yaml_span(location: serde_yaml::Location, text: &str) -> Span {
    let bytes = location.span();
    if let (Some(offset), Some(length)) = (bytes.byte_offset(), bytes.byte_len()) {
        let start = (offset as usize).min(text.len());
        return start..(start + length as usize).min(text.len());
    }
    let (line, column) = (location.line() as usize, location.column() as usize);
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let inside: usize = text[before..].chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
    before + inside..before + inside
}

fn yaml_node(value: serde_yaml::Spanned<YamlValue>, report: &mut Report) -> Node {
    let source = Arc::clone(&report.source);
    let span = yaml_span(value.referenced, source.text());
    let value = match value.value {
        YamlValue::Null => Kind::Null,
        YamlValue::Boolean(boolean) => Kind::Boolean(boolean),
        YamlValue::Integer(integer) => Kind::Integer(integer),
        YamlValue::TooLarge => {
            report.push(number_too_large(&span));
            Kind::Integer(0)
        }
        // The parser reads integers beyond 64 bits as floats, and so would lose digits.
        YamlValue::Float(_) if is_digits(source.text().get(span.clone()).unwrap_or_default()) => {
            report.push(number_too_large(&span));
            Kind::Integer(0)
        }
        YamlValue::Float(float) => finite(float, &span, report),
        YamlValue::String(text) => Kind::String(text),
        YamlValue::Array(items) => {
            Kind::Array(items.into_iter().map(|item| yaml_node(item, report)).collect())
        }
        YamlValue::Table(items) => {
            let mut entries: Vec<(Spanned<String>, Node)> = Vec::with_capacity(items.len());
            let mut known: HashMap<String, Span> = HashMap::with_capacity(items.len());
            for (key, value) in items {
                let span = yaml_span(key.referenced, source.text());
                if let Some(first) = known.get(&key.value) {
                    report.push(
                        Problem::error("duplicate-key", format!("the key `{}` is given twice", key.value))
                            .at(&span, "again")
                            .at(first, "first")
                            .help("remove one of them"),
                    );
                    continue;
                }
                known.insert(key.value.clone(), span.clone());
                entries.push((Spanned { value: key.value, span }, yaml_node(value, report)));
            }
            Kind::Table(entries)
        }
    };
    Node { value, span }
}

fn is_digits(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

type YamlNode = serde_yaml::Spanned<YamlValue>;

/// What serde hands over, before keys and numbers are checked.
enum YamlValue {
    Null,
    Boolean(bool),
    Integer(i64),
    TooLarge,
    Float(f64),
    String(String),
    Array(Vec<YamlNode>),
    Table(Vec<(serde_yaml::Spanned<String>, YamlNode)>),
}

impl<'de> Deserialize<'de> for YamlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = YamlValue;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<YamlValue, E> {
        Ok(YamlValue::Null)
    }

    fn visit_none<E>(self) -> Result<YamlValue, E> {
        Ok(YamlValue::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<YamlValue, D::Error> {
        YamlValue::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<YamlValue, E> {
        Ok(YamlValue::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<YamlValue, E> {
        Ok(YamlValue::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<YamlValue, E> {
        Ok(i64::try_from(value).map_or(YamlValue::TooLarge, YamlValue::Integer))
    }

    fn visit_i128<E>(self, _: i128) -> Result<YamlValue, E> {
        Ok(YamlValue::TooLarge)
    }

    fn visit_u128<E>(self, _: u128) -> Result<YamlValue, E> {
        Ok(YamlValue::TooLarge)
    }

    fn visit_f64<E>(self, value: f64) -> Result<YamlValue, E> {
        Ok(YamlValue::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<YamlValue, E> {
        Ok(YamlValue::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<YamlValue, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(YamlValue::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<YamlValue, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = items.next_entry()? {
            table.push(entry);
        }
        Ok(YamlValue::Table(table))
    }
}
