//! Kinds of values that the files share: scalars, durations, sizes, templates, "one or many".

use std::time::Duration;

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use crate::manifest::decode::{Decode, wrong_type};
use crate::manifest::problem::{Problem, Report, Span};
use crate::manifest::tree::{Kind, Node};
use sb_workload::template::Template;

/// A value that a parameter, a variable or a factor level may have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scalar(pub Value);

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

    fn stand_in(_: &Span) -> Option<Self> {
        Some(Self(Value::from("")))
    }
}

#[cfg(test)]
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

/// The form of durations, as a pattern: of the units that there are, those that make sense here.
#[cfg(test)]
const PERIOD: &str = r"^\s*\d+(\.\d+)?\s*(ns|us|µs|ms|msec|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)(\s*\d+(\.\d+)?\s*(ns|us|µs|ms|msec|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?))*\s*$";

/// A duration as people write it: `"90s"`, `"2m"`, `"1h 30m"`, `"250ms"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period(pub Duration);

impl Period {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
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
                    Problem::error("invalid-duration", message)
                        .at(&node.span, "not a duration")
                        .help("write a number with a unit: \"250ms\", \"90s\", \"2m\", \"48h\""),
                );
            })
            .ok()
    }

    fn stand_in(_: &Span) -> Option<Self> {
        Some(Self(Duration::from_secs(1)))
    }
}

#[cfg(test)]
impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PERIOD, "examples": ["90s", "2m", "48h"] })
    }
}

/// Bytes: an integer, or a string such as `"512MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub u64);

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
                    Problem::error("invalid-size", format!("`{text}` is not a size"))
                        .at(&node.span, "not a size")
                        .help("write bytes as a number, or a string with a unit: \"512MiB\", \"2GB\""),
                );
                None
            }),
            _ => wrong_type(node, "a size: a number of bytes or a string", report),
        }
    }

    fn stand_in(_: &Span) -> Option<Self> {
        Some(Self(1 << 30))
    }
}

#[cfg(test)]
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

/// Any value, for a program that has its own words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Json(pub Value);

impl Decode for Json {
    fn decode(node: &Node, _: &mut Report) -> Option<Self> {
        fn value(node: &Node) -> Value {
            match &node.value {
                Kind::Table(entries) => {
                    entries.iter().map(|(key, node)| (key.value.clone(), value(node))).collect()
                }
                Kind::Array(items) => items.iter().map(value).collect(),
                Kind::String(text) => text.as_str().into(),
                Kind::Integer(integer) => (*integer).into(),
                Kind::Float(float) => (*float).into(),
                Kind::Boolean(boolean) => (*boolean).into(),
                Kind::Null => Value::Null,
            }
        }
        Some(Self(value(node)))
    }

    fn stand_in(_: &Span) -> Option<Self> {
        Some(Self(Value::Object(serde_json::Map::new())))
    }
}

#[cfg(test)]
impl JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Json".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

/// A value, or a string with `{{…}}` that becomes one.
#[derive(Clone, Debug)]
pub(crate) enum Or<T> {
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

    fn stand_in(at: &Span) -> Option<Self> {
        T::stand_in(at).map(Self::Value)
    }
}

#[cfg(test)]
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
        // The placeholders that can be read are checked as well.
        let (template, errors) = Self::parse_all(&text);
        for error in errors {
            report.push(
                Problem::error("template-syntax", error.to_string()).at(&node.span, "in this string").help(
                    "a placeholder is `{{path.to.value}}`; write `\\{{` for two braces that are meant as they are",
                ),
            );
        }
        Some(template)
    }

    fn stand_in(_: &Span) -> Option<Self> {
        Self::parse("").ok()
    }
}

/// One or several: `"a"` or `["a", "b"]`.
#[derive(Clone, Debug)]
pub(crate) struct OneOrMany<T>(pub Vec<T>);

impl<T: Decode> Decode for OneOrMany<T> {
    fn decode(node: &Node, report: &mut Report) -> Option<Self> {
        match &node.value {
            Kind::Array(_) => Vec::decode(node, report).map(Self),
            _ => T::decode(node, report).map(|one| Self(vec![one])),
        }
    }

    fn stand_in(_: &Span) -> Option<Self> {
        Some(Self(Vec::new()))
    }
}

#[cfg(test)]
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
