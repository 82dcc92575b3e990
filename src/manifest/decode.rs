//! From the tree to the raw shapes: `shape!`, `choice!` and `words!` declare a type, its decoder and its JSON
//! Schema in one place, so they cannot drift apart.
//!
//! Decoding reports every problem it meets and goes on: what is optional and wrong is left out, so that the rest
//! can still be checked. A report with errors means that the shape is incomplete.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::manifest::problem::{Problem, Report, Span, did_you_mean, suggest};
use crate::manifest::template::Template;
use crate::manifest::tree::{Kind, Node, Spanned};

/// A raw shape. None means that a problem was reported.
pub trait Decode: Sized {
    fn decode(node: &Node, report: &mut Report) -> Option<Self>;

    /// The value of a key that is not there; None: the key is required.
    fn absent() -> Option<Self> {
        None
    }
}

/// Declares a table: its keys (a type of `Option<…>` makes a key optional), and keys that this version does
/// not support, each with what works instead.
macro_rules! shape {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty, )*
        }
        $( unsupported { $( $key:literal => $instead:literal, )* } )?
    ) => {
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $(#[$meta])*
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $type, )*
        }

        impl $crate::manifest::decode::Decode for $name {
            fn decode(
                node: &$crate::manifest::tree::Node,
                report: &mut $crate::manifest::problem::Report,
            ) -> Option<Self> {
                let table = $crate::manifest::decode::Table::open(
                    node,
                    &[ $( stringify!($field), )* ],
                    &[ $( $( ($key, $instead), )* )? ],
                    report,
                )?;
                $( let $field: Option<$type> = table.field(stringify!($field), report); )*
                table.close()?;
                Some(Self { $( $field: $field?, )* })
            }
        }
    };
}

/// Declares a value that may have one of several kinds.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident: $expected:literal {
            $( $(#[$variant_meta:meta])* $( $kind:ident )|+ => $variant:ident($type:ty), )*
        }
    ) => {
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(untagged)]
        $(#[$meta])*
        pub enum $name {
            $( $(#[$variant_meta])* $variant($type), )*
        }

        impl $crate::manifest::decode::Decode for $name {
            fn decode(
                node: &$crate::manifest::tree::Node,
                report: &mut $crate::manifest::problem::Report,
            ) -> Option<Self> {
                match &node.value {
                    $( $( $crate::manifest::tree::Kind::$kind(..) )|+ => {
                        $crate::manifest::decode::Decode::decode(node, report).map(Self::$variant)
                    } )*
                    _ => $crate::manifest::decode::wrong_type(node, $expected, report),
                }
            }
        }
    };
}

/// Declares a closed set of words, and words that this version does not support.
macro_rules! words {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )*
        }
        $( unsupported { $( $key:literal => $instead:literal, )* } )?
    ) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
        $(#[$meta])*
        pub enum $name {
            $( $(#[$variant_meta])* #[schemars(rename = $word)] $variant, )*
        }

        impl $crate::manifest::decode::Decode for $name {
            fn decode(
                node: &$crate::manifest::tree::Node,
                report: &mut $crate::manifest::problem::Report,
            ) -> Option<Self> {
                $crate::manifest::decode::word(
                    node,
                    &[ $( ($word, Self::$variant), )* ],
                    &[ $( $( ($key, $instead), )* )? ],
                    report,
                )
            }
        }
    };
}

pub(crate) use {choice, shape, words};

/// An open table: hands out its keys.
pub struct Table<'a> {
    entries: &'a [(Spanned<String>, Node)],
    span: &'a Span,
    holds_unsupported: bool,
}

impl<'a> Table<'a> {
    /// Reports keys that are not `known`.
    pub fn open(
        node: &'a Node,
        known: &[&'static str],
        unsupported: &[(&'static str, &'static str)],
        report: &mut Report,
    ) -> Option<Self> {
        let Kind::Table(entries) = &node.value else {
            return wrong_type(node, "a table", report);
        };
        let mut holds_unsupported = false;
        for (key, _) in entries {
            if known.contains(&key.value.as_str()) {
                continue;
            }
            let unsupported = unsupported.iter().find(|(name, _)| *name == key.value);
            holds_unsupported |= unsupported.is_some();
            report.push(match unsupported {
                Some((name, instead)) => {
                    unsupported_problem(&format!("the key `{name}`"), &key.span, instead)
                }
                None => Problem::error("sb::manifest::unknown_key", format!("unknown key `{}`", key.value))
                    .at(&key.span, "not known here")
                    .help(suggest(&key.value, "known keys", known.iter().copied())),
            });
        }
        Some(Self { entries, span: &node.span, holds_unsupported })
    }

    /// The value of a key; reports one that is missing but required.
    pub fn field<T: Decode>(&self, name: &str, report: &mut Report) -> Option<T> {
        if let Some((_, value)) = self.entries.iter().find(|(key, _)| key.value == name) {
            return T::decode(value, report);
        }
        let absent = T::absent();
        if absent.is_none() {
            // A table may span many lines; its first line is enough to find it.
            let text = report.source.text().get(self.span.clone()).unwrap_or_default();
            let first_line = text.find('\n').unwrap_or(text.len());
            let span = self.span.start..self.span.start + first_line;
            let near = self.entries.iter().map(|(key, _)| key.value.as_str());
            let help = match did_you_mean(name, near) {
                Some(similar) => format!("is `{similar}` meant to be `{name}`?"),
                None => format!("add `{name} = …`"),
            };
            report.push(
                Problem::error("sb::manifest::missing_key", format!("the key `{name}` is missing"))
                    .at(&span, format!("needs `{name}`"))
                    .help(help),
            );
        }
        absent
    }

    /// None when a key that is not supported makes the table unusable.
    pub fn close(self) -> Option<()> {
        (!self.holds_unsupported).then_some(())
    }
}

fn unsupported_problem(what: &str, span: &Span, instead: &str) -> Problem {
    Problem::error("sb::manifest::unsupported", format!("this version does not support {what}"))
        .at(span, "not supported yet")
        .help(instead)
}

/// Reports a value of the wrong kind.
pub fn wrong_type<T>(node: &Node, expected: &str, report: &mut Report) -> Option<T> {
    let found = node.value.name();
    let help = match &node.value {
        Kind::Integer(number) if expected.contains("duration") => {
            format!("say the unit: \"{number}s\" or \"{number}m\"")
        }
        Kind::Integer(_) | Kind::Float(_) | Kind::Boolean(_) if expected.contains("string") => {
            let text = report.source.text().get(node.span.clone()).unwrap_or_default();
            format!("put it in quotes: \"{text}\"")
        }
        Kind::String(text) if expected.contains("number") || expected.contains("boolean") => {
            format!("write it without quotes if that is what is meant: {text}")
        }
        _ => format!("write {expected} here"),
    };
    let problem = Problem::error("sb::manifest::wrong_type", format!("expected {expected}, found {found}"))
        .at(&node.span, format!("this is {found}"))
        .help(help);
    report.push(problem);
    None
}

/// Picks one of a closed set of words.
pub fn word<T: Copy>(
    node: &Node,
    words: &[(&'static str, T)],
    unsupported: &[(&'static str, &'static str)],
    report: &mut Report,
) -> Option<T> {
    let Kind::String(text) = &node.value else {
        return wrong_type(node, "a string", report);
    };
    if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
        return Some(*value);
    }
    report.push(match unsupported.iter().find(|(name, _)| name == text) {
        Some((name, instead)) => unsupported_problem(&format!("the value `{name}`"), &node.span, instead),
        None => Problem::error("sb::manifest::unknown_word", format!("unknown value `{text}`"))
            .at(&node.span, "not one of the known words")
            .help(suggest(text, "known values", words.iter().map(|(word, _)| *word))),
    });
    None
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        Some(T::decode(node, report))
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Decode> Decode for Spanned<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        Some(Self { value: T::decode(node, report)?, span: node.span.clone() })
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        T::decode(node, report).map(Box::new)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::Array(items) = &node.value else {
            return wrong_type(node, "an array", report);
        };
        Some(items.iter().filter_map(|item| T::decode(item, report)).collect())
    }
}

/// A table with names of the author's choice, in the order of the file.
#[derive(Clone, Debug)]
pub struct Map<T>(pub Vec<(Spanned<String>, T)>);

impl<T> Map<T> {
    pub fn iter(&self) -> impl Iterator<Item = &(Spanned<String>, T)> {
        self.0.iter()
    }

    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(key, _)| key.value == name).map(|(_, value)| value)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.iter().map(|(key, _)| key.value.as_str())
    }
}

impl<T> Default for Map<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for Map<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::Table(entries) = &node.value else {
            return wrong_type(node, "a table", report);
        };
        let entries = entries.iter();
        Some(Self(
            entries.filter_map(|(key, value)| Some((key.clone(), T::decode(value, report)?))).collect(),
        ))
    }
}

impl<T: JsonSchema> JsonSchema for Map<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("MapOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": values })
    }
}

pub type Text = Spanned<String>;

impl Decode for String {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::String(text) => Some(text.clone()),
            _ => wrong_type(node, "a string", report),
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::Boolean(boolean) => Some(*boolean),
            _ => wrong_type(node, "a boolean", report),
        }
    }
}

impl Decode for i64 {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::Integer(integer) => Some(*integer),
            _ => wrong_type(node, "a whole number", report),
        }
    }
}

impl Decode for u64 {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::Integer(integer) if *integer >= 0 => Some(integer.unsigned_abs()),
            Kind::Integer(_) => {
                report.push(
                    Problem::error("sb::manifest::out_of_range", "the number is negative")
                        .at(&node.span, "below 0")
                        .help("use 0 or more"),
                );
                None
            }
            _ => wrong_type(node, "a whole number", report),
        }
    }
}

impl Decode for f64 {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::Integer(integer) => Some(*integer as Self),
            Kind::Float(float) => Some(*float),
            _ => wrong_type(node, "a number", report),
        }
    }
}

/// A value that a parameter, a variable or a factor level may have.
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar(pub Value);

impl Decode for Scalar {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        Some(Self(match &node.value {
            Kind::String(text) => Value::from(text.as_str()),
            Kind::Integer(integer) => Value::from(*integer),
            Kind::Float(float) => Value::from(*float),
            Kind::Boolean(boolean) => Value::from(*boolean),
            _ => return wrong_type(node, "a string, number or boolean", report),
        }))
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// A duration as people write it: `"90s"`, `"2m"`, `"1h 30m"`, `"250ms"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(pub Duration);

impl Period {
    pub fn parse(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| format!("`{text}` is not a duration: {error}"))
    }
}

impl Decode for Period {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::String(text) = &node.value else {
            return wrong_type(node, "a duration in quotes", report);
        };
        Self::parse(text)
            .map_err(|message| {
                report.push(
                    Problem::error("sb::manifest::duration", message)
                        .at(&node.span, "not a duration")
                        .help("write a number with a unit: \"250ms\", \"90s\", \"2m\", \"48h\""),
                );
            })
            .ok()
    }
}

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*[a-zA-Zµ]+" , "examples": ["90s", "2m", "48h"] })
    }
}

/// Bytes: an integer, or a string such as `"512MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl Size {
    /// Units: B, kB, MB, GB (powers of 1000), KiB, MiB, GiB (powers of 1024).
    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "kB" | "KB" => 1000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        let bytes = number.parse::<f64>().ok()? * factor as f64;
        (bytes.is_finite() && bytes < 1e18).then_some(Self(bytes as u64))
    }
}

impl Decode for Size {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::Integer(_) => u64::decode(node, report).map(Self),
            Kind::String(text) => Self::parse(text).or_else(|| {
                report.push(
                    Problem::error("sb::manifest::size", format!("`{text}` is not a size"))
                        .at(&node.span, "not a size")
                        .help("write bytes as a number, or a string with a unit: \"512MiB\", \"2GB\""),
                );
                None
            }),
            _ => wrong_type(node, "a size: a number of bytes or a string", report),
        }
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": r"^\d+(\.\d+)?\s*([kKMG]?B|[KMG]iB)?$", "examples": ["512MiB"] },
        ] })
    }
}

/// A value, or a string with `{{…}}` that becomes one.
#[derive(Clone, Debug)]
pub enum Or<T> {
    Value(T),
    Template(Template),
}

impl<T: Decode> Decode for Or<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::String(text) if text.contains("{{") => Template::decode(node, report).map(Self::Template),
            _ => T::decode(node, report).map(Self::Value),
        }
    }
}

impl<T: JsonSchema> JsonSchema for Or<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}OrTemplate", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [value, { "type": "string", "pattern": r"\{\{", "examples": ["{{matrix.rate}}"] }] })
    }
}

impl Decode for Template {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let text = String::decode(node, report)?;
        Self::parse(&text)
            .map_err(|error| {
                report.push(
                    Problem::error("sb::template::syntax", error.to_string())
                        .at(&node.span, "in this string")
                        .help(
                            "a placeholder is `{{path.to.value}}`; write `\\{{` for two braces that are meant as they are",
                        ),
                );
            })
            .ok()
    }
}

impl JsonSchema for Template {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// One or several: `"a"` or `["a", "b"]`.
#[derive(Clone, Debug)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T: Decode> Decode for OneOrMany<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::Array(_) => Vec::decode(node, report).map(Self),
            _ => T::decode(node, report).map(|one| Self(vec![one])),
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}
