//! From the tree to the raw shapes: `shape!`, `choice!` and `words!` declare a type, its decoder and its JSON
//! Schema in one place, so they cannot drift apart.
//!
//! Decoding reports every problem it meets and goes on: what is optional and wrong is left out, so that the rest
//! can still be checked. A report with errors means that the shape is incomplete.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::manifest::problem::{MOST_NAMES, Problem, Report, Span, did_you_mean, suggest};
use crate::manifest::tree::{Kind, Node, Spanned};

/// A raw shape. None means that a problem was reported.
pub(crate) trait Decode: Sized {
    fn decode(node: &Node, report: &mut Report) -> Option<Self>;

    /// The value of a key that is not there; None: the key is required.
    fn absent() -> Option<Self> {
        None
    }
}

/// Declares a table: its keys (a type of `Option<…>` makes a key optional).
macro_rules! shape {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty, )*
        }
    ) => {
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $(#[$meta])*
        $vis struct $name {
            $( $(#[$field_meta])* $vis $field: $type, )*
        }

        impl $crate::manifest::decode::Decode for $name {
            fn decode(
                node: &$crate::manifest::tree::Node,
                report: &mut $crate::manifest::problem::Report,
            ) -> Option<Self> {
                let table = $crate::manifest::decode::Table::open(
                    node,
                    &[ $( stringify!($field), )* ],
                    report,
                )?;
                $( let $field: Option<$type> = table.field(stringify!($field), report); )*
                Some(Self { $( $field: $field?, )* })
            }
        }
    };
}

/// Declares a value that may have one of several kinds.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident: $expected:literal {
            $( $(#[$variant_meta:meta])* $( $kind:ident )|+ => $variant:ident($type:ty), )*
        }
    ) => {
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(untagged)]
        $(#[$meta])*
        $vis enum $name {
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

/// Declares a closed set of words.
macro_rules! words {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )*
        }
    ) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema)]
        $(#[$meta])*
        $vis enum $name {
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
                    report,
                )
            }
        }
    };
}

pub(crate) use {choice, shape, words};

/// An open table: hands out its keys.
pub(crate) struct Table<'a> {
    entries: &'a [(Spanned<String>, Node)],
    span: &'a Span,
}

impl<'a> Table<'a> {
    /// Reports keys that are not `known`.
    pub(crate) fn open(node: &'a Node, known: &[&'static str], report: &mut Report) -> Option<Self> {
        let Kind::Table(entries) = &node.value else {
            return wrong_type(node, "a table", report);
        };
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.value.as_str())) {
            report.push(
                Problem::error("sb::manifest::unknown_key", format!("unknown key `{}`", key.value))
                    .at(&key.span, "not known here")
                    .help(suggest(&key.value, "known keys", known.iter().copied())),
            );
        }
        Some(Self { entries, span: &node.span })
    }

    /// The value of a key; reports one that is missing but required.
    pub(crate) fn field<T: Decode>(&self, name: &str, report: &mut Report) -> Option<T> {
        if let Some((_, value)) = self.entries.iter().find(|(key, _)| key.value == name) {
            return T::decode(value, report);
        }
        let absent = T::absent();
        if absent.is_none() {
            // A table may span many lines; its first line is enough to find it.
            let text = report.source.text().get(self.span.clone()).unwrap_or_default();
            let first_line = text.find('\n').unwrap_or(text.len());
            let span = self.span.start..self.span.start + first_line;
            let near = self.entries.iter().take(MOST_NAMES).map(|(key, _)| key.value.as_str());
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
}

/// Reports a value of the wrong kind.
pub(crate) fn wrong_type<T>(node: &Node, expected: &str, report: &mut Report) -> Option<T> {
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
pub(crate) fn word<T: Copy>(node: &Node, words: &[(&'static str, T)], report: &mut Report) -> Option<T> {
    let Kind::String(text) = &node.value else {
        return wrong_type(node, "a string", report);
    };
    if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
        return Some(*value);
    }
    report.push(
        Problem::error("sb::manifest::unknown_word", format!("unknown value `{text}`"))
            .at(&node.span, "not one of the known words")
            .help(suggest(text, "known values", words.iter().map(|(word, _)| *word))),
    );
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
pub(crate) struct Map<T>(pub Vec<(Spanned<String>, T)>);

impl<T> Map<T> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Spanned<String>, T)> {
        self.0.iter()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(key, _)| key.value == name).map(|(_, value)| value)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
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

pub(crate) type Text = Spanned<String>;

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
