//! From the tree to the raw shapes. `shape!`, `choice!` and `words!` declare a type, its decoder and its JSON Schema
//! in one place, so they cannot drift apart.
//!
//! Decoding reports every problem it meets and goes on: what is optional and wrong is left out, so that the rest
//! can still be checked. A report with errors means that the shape is incomplete.

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::manifest::problem::{Fix, MOST_NAMES, Problem, Report, Source, Span, did_you_mean, suggest};
use crate::manifest::tree::{Kind, Node, Spanned};

/// A raw shape. None means that a problem was reported.
pub(crate) trait Decode: Sized {
    fn decode(node: &Node, report: &mut Report) -> Option<Self>;

    /// The value of a key that is not there; None: the key is required.
    fn absent() -> Option<Self> {
        None
    }

    /// What stands for a required value that is missing or wrong, once that was reported, so that everything else can
    /// be checked. Nobody hears of it again: see `validate::echo`.
    fn stand_in(at: &Span) -> Option<Self> {
        let _ = at;
        Self::absent()
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
        #[derive(Clone, Debug)]
        #[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
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

            fn stand_in(at: &$crate::manifest::problem::Span) -> Option<Self> {
                Some(Self { $( $field: $crate::manifest::decode::Decode::stand_in(at)?, )* })
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
        #[derive(Clone, Debug)]
        #[cfg_attr(test, derive(schemars::JsonSchema), schemars(untagged))]
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

            fn stand_in(at: &$crate::manifest::problem::Span) -> Option<Self> {
                None$( .or_else(|| $crate::manifest::decode::Decode::stand_in(at).map(Self::$variant)) )*
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
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        $(#[$meta])*
        $vis enum $name {
            $( $(#[$variant_meta])* #[cfg_attr(test, schemars(rename = $word))] $variant, )*
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

            fn stand_in(_: &$crate::manifest::problem::Span) -> Option<Self> {
                [ $( Self::$variant, )* ].first().copied()
            }
        }
    };
}

pub(crate) use {choice, shape, words};

/// An open table: hands out its keys.
pub(crate) struct Table<'a> {
    entries: &'a [(Spanned<String>, Node)],
    span: &'a Span,
    /// Keys that are not known, and are near to one that is and is not given: what they hold is read as that one's.
    misspelt: Vec<Misspelt<'a>>,
}

struct Misspelt<'a> {
    meant: &'static str,
    entry: &'a (Spanned<String>, Node),
    /// Where its problem is in the report.
    problem: usize,
}

impl<'a> Table<'a> {
    /// Reports keys that are not `known`.
    pub(crate) fn open(node: &'a Node, known: &[&'static str], report: &mut Report) -> Option<Self> {
        let Kind::Table(entries) = &node.value else {
            return wrong_type(node, "a table", report);
        };
        let mut misspelt: Vec<Misspelt<'a>> = Vec::new();
        for entry in entries.iter().filter(|(key, _)| !known.contains(&key.value.as_str())) {
            let key = &entry.0;
            let mut problem = Problem::error("unknown-key", format!("unknown key `{}`", key.value))
                .at(&key.span, "not known here")
                .help(match near_key(&key.value, known) {
                    Some(near) => suggest(near, "known keys", known.iter().copied()),
                    None => suggest(&key.value, "known keys", known.iter().copied()),
                });
            // A table with thousands of mistakes is read as well.
            let few = misspelt.len() < MOST_NAMES && entries.len() < 10 * MOST_NAMES;
            let near = near_key(&key.value, known).filter(|_| few);
            let near = near.and_then(|near| known.iter().find(|name| **name == near));
            let is_free = |name: &str| {
                entries.iter().all(|(key, _)| key.value != name)
                    && misspelt.iter().all(|other| other.meant != name)
            };
            if let Some(meant) = near.filter(|name| is_free(name)) {
                problem = problem.renamed(&report.source, &key.span, meant);
                misspelt.push(Misspelt { meant, entry, problem: report.problems.len() });
            } else {
                report.leave_out(key.span.start, key, Some(&entry.1));
            }
            report.push(problem);
        }
        Some(Self { entries, span: &node.span, misspelt })
    }

    /// The value of a key. One that is missing but required, or wrong, is reported, and left out or stood in for.
    pub(crate) fn field<T: Decode>(&self, name: &str, report: &mut Report) -> Option<T> {
        if let Some((key, value)) = self.entries.iter().find(|(key, _)| key.value == name) {
            return T::decode(value, report).or_else(|| {
                report.leave_out(key.span.start, key, Some(value));
                T::stand_in(&value.span)
            });
        }
        if let Some(misspelt) = self.misspelt.iter().find(|misspelt| misspelt.meant == name) {
            return Self::guessed(misspelt, report);
        }
        let absent = T::absent();
        if absent.is_some() {
            return absent;
        }
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
            Problem::error("missing-key", format!("the key `{name}` is missing"))
                .at(&span, format!("needs `{name}`"))
                .help(help),
        );
        report.leave_out(span.start, name, None);
        T::stand_in(&span)
    }

    /// The value of a misspelt key, where it is one that the key which is meant could have.
    fn guessed<T: Decode>(misspelt: &Misspelt<'_>, report: &mut Report) -> Option<T> {
        let (key, value) = misspelt.entry;
        let before = (report.problems.len(), report.left_out.len());
        let decoded = T::decode(value, report);
        let at_value =
            |problem: &Problem| problem.labels.first().is_some_and(|(span, _)| *span == value.span);
        let fits = decoded.is_some() && !report.problems[before.0..].iter().any(at_value);
        if fits {
            return decoded;
        }
        report.problems.truncate(before.0);
        report.left_out.truncate(before.1);
        report.problems[misspelt.problem].fix.clear();
        report.leave_out(key.span.start, key, Some(value));
        T::stand_in(&value.span)
    }
}

/// What other tools, and people, call some of the keys.
const SYNONYMS: [(&str, &str); 10] = [
    ("command", "run"),
    ("cmd", "run"),
    ("depends", "needs"),
    ("depends_on", "needs"),
    ("environment", "env"),
    ("environment_variables", "env"),
    ("parameters", "params"),
    ("setup", "deploy"),
    ("teardown", "cleanup"),
    ("tear_down", "cleanup"),
];

/// The known key that is meant: one that is spelt nearly so, or that others call so.
fn near_key<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let synonym = || {
        let (_, meant) = SYNONYMS.iter().find(|(other, _)| key.eq_ignore_ascii_case(other))?;
        known.iter().copied().find(|name| name == meant)
    };
    synonym().or_else(|| did_you_mean(key, known.iter().copied()))
}

/// Reports a value of the wrong kind.
pub(crate) fn wrong_type<T>(node: &Node, expected: &str, report: &mut Report) -> Option<T> {
    // A number that is too large, or a date, was reported when the file was read.
    let is_said = |problem: &Problem| problem.labels.first().is_some_and(|(span, _)| *span == node.span);
    if report.problems.iter().take(MOST_NAMES).any(is_said) {
        return None;
    }
    let found = node.value.name();
    let help = match &node.value {
        Kind::Integer(number) if expected.contains("duration") => {
            format!("say the unit: \"{number}s\" or \"{number}m\"")
        }
        Kind::Integer(_) | Kind::Float(_) | Kind::Boolean(_) if expected.contains("string") => {
            let text = report.source.text().get(node.span.clone()).unwrap_or_default();
            format!("put it in quotes: \"{text}\"")
        }
        Kind::String(text)
            if (expected.contains("number") && text.parse::<f64>().is_ok())
                || (expected.contains("boolean") && ["true", "false"].contains(&text.as_str())) =>
        {
            format!("write it without quotes if that is what is meant: {text}")
        }
        Kind::String(_) if expected.contains("boolean") => "write true or false".to_owned(),
        _ => format!("write {expected} here"),
    };
    let mut problem = Problem::error("wrong-type", format!("expected {expected}, found {found}"))
        .at(&node.span, format!("this is {found}"))
        .help(help);
    if let Some(meant) = without_quotes(&node.value, expected) {
        problem = problem.fixed_by(&node.span, meant);
    }
    report.push(problem);
    None
}

/// Says how a list of tables is written, to somebody who has written one table.
fn one_table(problem: &mut Problem, source: &Source, span: &Span) {
    let header = source.text().get(span.clone()).unwrap_or_default();
    let name = header.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    problem.help = Some(match name.filter(|name| !name.contains(['[', ']', '\n'])) {
        Some(name) => {
            problem.fix.push(Fix { span: span.clone(), text: format!("[{header}]") });
            format!("there may be several of them: write `[[{name}]]`, with two brackets, above each")
        }
        None if source.is_yaml() => {
            "there may be several of them: begin each with `- `, as the items of a list".to_owned()
        }
        None => "there may be several of them: put each into a list, `[{ … }]`".to_owned(),
    });
}

/// A number or boolean that stands in quotes where only one without is possible.
fn without_quotes(value: &Kind, expected: &str) -> Option<String> {
    let Kind::String(text) = value else { return None };
    let fits = match expected {
        "a boolean" => text == "true" || text == "false",
        "a whole number" => text.parse::<i64>().is_ok_and(|number| number.to_string() == *text),
        "a number" => text.parse::<f64>().is_ok_and(|number| number.to_string() == *text),
        _ => false,
    };
    fits.then(|| text.clone())
}

/// Picks one of a closed set of words.
pub(crate) fn word<T: Copy>(node: &Node, words: &[(&'static str, T)], report: &mut Report) -> Option<T> {
    let Kind::String(text) = &node.value else {
        return wrong_type(node, "a string", report);
    };
    if let Some((_, value)) = words.iter().find(|(word, _)| word == text) {
        return Some(*value);
    }
    let known = words.iter().map(|(word, _)| *word);
    let mut problem = Problem::error("unknown-word", format!("unknown value `{text}`"))
        .at(&node.span, "not one of the known words")
        .help(suggest(text, "known values", known.clone()));
    if let Some(near) = did_you_mean(text, known) {
        problem = problem.respelt(&report.source, text, near);
    }
    report.push(problem);
    None
}

impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        T::decode(node, report).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Decode> Decode for Spanned<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        Some(Self { value: T::decode(node, report)?, span: node.span.clone() })
    }

    fn stand_in(at: &Span) -> Option<Self> {
        Some(Self { value: T::stand_in(at)?, span: at.clone() })
    }
}

#[cfg(test)]
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

    fn stand_in(at: &Span) -> Option<Self> {
        T::stand_in(at).map(Box::new)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        let Kind::Array(items) = &node.value else {
            let said = report.problems.len();
            let _: Option<Self> = wrong_type(node, "an array", report);
            if let (Kind::Table(_), Some(problem)) = (&node.value, report.problems.get_mut(said)) {
                one_table(problem, &report.source, &node.span);
            }
            // One that should stand in a list of one, such as `[deploy]` for `[[deploy]]`.
            let before = (report.problems.len(), report.left_out.len());
            let only = T::decode(node, report).map(|only| vec![only]);
            let at_node =
                |problem: &Problem| problem.labels.first().is_some_and(|(span, _)| *span == node.span);
            if only.is_none() || report.problems[before.0..].iter().any(at_node) {
                report.problems.truncate(before.0);
                report.left_out.truncate(before.1);
                return None;
            }
            return only;
        };
        let decode = |item| {
            let decoded = T::decode(item, report);
            if decoded.is_none() {
                report.leave_out(item.span.start, "", Some(item));
            }
            decoded
        };
        Some(items.iter().filter_map(decode).collect())
    }

    fn stand_in(_: &Span) -> Option<Self> {
        Some(Self::new())
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
        let decode = |(key, value): &(Spanned<String>, Node)| {
            let decoded = T::decode(value, report);
            if decoded.is_none() {
                report.leave_out(key.span.start, key, Some(value));
            }
            Some((key.clone(), decoded?))
        };
        Some(Self(entries.iter().filter_map(decode).collect()))
    }

    fn stand_in(_: &Span) -> Option<Self> {
        Some(Self::default())
    }
}

#[cfg(test)]
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

    fn stand_in(_: &Span) -> Option<Self> {
        Some(Self::new())
    }
}

impl Decode for bool {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::Boolean(boolean) => Some(*boolean),
            _ => wrong_type(node, "a boolean", report),
        }
    }

    fn stand_in(_: &Span) -> Option<Self> {
        Some(false)
    }
}

impl Decode for i64 {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::Integer(integer) => Some(*integer),
            _ => wrong_type(node, "a whole number", report),
        }
    }

    fn stand_in(_: &Span) -> Option<Self> {
        Some(0)
    }
}

impl Decode for u64 {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::Integer(integer) if *integer >= 0 => Some(integer.unsigned_abs()),
            Kind::Integer(_) => {
                report.push(
                    Problem::error("out-of-range", "the number is negative")
                        .at(&node.span, "below 0")
                        .help("use 0 or more"),
                );
                None
            }
            _ => wrong_type(node, "a whole number", report),
        }
    }

    fn stand_in(_: &Span) -> Option<Self> {
        Some(0)
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

    fn stand_in(_: &Span) -> Option<Self> {
        Some(0.0)
    }
}
