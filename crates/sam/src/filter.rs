//! Which events reach a function or a queue: filter policies of topics, filter criteria of queues and streams. Both are written in the
//! patterns of EventBridge.

use serde_json::Value as Json;

/// A pattern: an event that has what all its fields ask for.
///
/// Operators are those that both services have: see
/// [filter policies](https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html) and
/// [filter criteria](https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html).
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    fields: Vec<(String, Wanted)>,
    /// `$or`: one of these besides.
    one_of: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq)]
enum Wanted {
    Within(Pattern),
    /// One of them.
    Values(Vec<Test>),
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    /// A text, `true`, `false`, `null`.
    Is(Json),
    Number(f64),
    Prefix(String),
    Suffix(String),
    /// In lower case.
    IgnoringCase(String),
    Exists(bool),
    /// `<`, `<=`, `=`, `>=` or `>`, and a number.
    Numeric(Vec<(String, f64)>),
    Not(Vec<Test>),
}

impl Pattern {
    /// Reads a pattern, which is a JSON object.
    ///
    /// # Errors
    /// Says what is wrong with a pattern that cannot be read.
    pub fn read(pattern: &Json) -> Result<Self, String> {
        let object = pattern.as_object().filter(|object| !object.is_empty());
        let object =
            object.ok_or_else(|| format!("`{pattern}`: a pattern is an object with at least one field"))?;
        let mut read = Self { fields: Vec::new(), one_of: Vec::new() };
        for (name, wanted) in object {
            match wanted {
                Json::Array(patterns) if name == "$or" => {
                    read.one_of = patterns.iter().map(Self::read).collect::<Result<_, _>>()?;
                }
                Json::Array(tests) if !tests.is_empty() => {
                    let tests = tests.iter().map(Test::read).collect::<Result<_, _>>()?;
                    read.fields.push((name.clone(), Wanted::Values(tests)));
                }
                Json::Object(_) => read.fields.push((name.clone(), Wanted::Within(Self::read(wanted)?))),
                _ => {
                    return Err(format!(
                        "`{name}` must be a list of what it may be, or an object: not `{wanted}`"
                    ));
                }
            }
        }
        Ok(read)
    }

    /// Whether it looks into a field, rather than at it as a whole.
    pub fn looks_into(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, wanted)| name == field && matches!(wanted, Wanted::Within(_)))
            || self.one_of.iter().any(|pattern| pattern.looks_into(field))
    }

    /// Whether the event has what all fields ask for.
    pub fn matches(&self, event: &Json) -> bool {
        self.fields.iter().all(|(name, wanted)| {
            let found = event.get(name);
            match wanted {
                Wanted::Within(pattern) => pattern.matches(found.unwrap_or(&Json::Null)),
                Wanted::Values(tests) => tests.iter().any(|test| test.holds(found)),
            }
        }) && (self.one_of.is_empty() || self.one_of.iter().any(|pattern| pattern.matches(event)))
    }
}

impl Test {
    fn read(test: &Json) -> Result<Self, String> {
        let Some(object) = test.as_object() else {
            return match test {
                Json::Number(number) => Ok(Self::Number(number.as_f64().unwrap_or(f64::NAN))),
                Json::Array(_) => Err(format!("`{test}`: a list within a list")),
                other => Ok(Self::Is(other.clone())),
            };
        };
        let mut operators = object.iter();
        let (Some((operator, operand)), None) = (operators.next(), operators.next()) else {
            return Err(format!("`{test}`: one operator is needed, such as `{{\"prefix\": \"a\"}}`"));
        };
        let text = || {
            let text = operand.as_str().map(str::to_owned);
            text.ok_or_else(|| format!("`{operator}` needs a text, not `{operand}`"))
        };
        Ok(match operator.as_str() {
            "prefix" => Self::Prefix(text()?),
            "suffix" => Self::Suffix(text()?),
            "equals-ignore-case" => Self::IgnoringCase(text()?.to_lowercase()),
            "exists" => {
                let exists = operand.as_bool();
                Self::Exists(exists.ok_or_else(|| format!("`exists` needs true or false, not `{operand}`"))?)
            }
            "numeric" => Self::Numeric(comparisons(operand)?),
            "anything-but" => match operand {
                Json::Array(tests) if !tests.is_empty() => {
                    Self::Not(tests.iter().map(Self::read).collect::<Result<_, _>>()?)
                }
                one => Self::Not(vec![Self::read(one)?]),
            },
            _ => {
                return Err(format!(
                    "`{operator}` is no operator of patterns that the local target has: prefix, suffix, equals-ignore-case, \
                     anything-but, numeric and exists are"
                ));
            }
        })
    }

    fn holds(&self, found: Option<&Json>) -> bool {
        match (self, found) {
            (Self::Exists(wanted), found) => found.is_some() == *wanted,
            (_, None) => false,
            // Of a list, one is enough.
            (test, Some(Json::Array(items))) => items.iter().any(|item| test.holds(Some(item))),
            (Self::Is(value), Some(found)) => value == found,
            (Self::Number(number), Some(found)) => found.as_f64() == Some(*number),
            (Self::Prefix(text), Some(found)) => found.as_str().is_some_and(|found| found.starts_with(text)),
            (Self::Suffix(text), Some(found)) => found.as_str().is_some_and(|found| found.ends_with(text)),
            (Self::IgnoringCase(text), Some(found)) => {
                found.as_str().is_some_and(|found| found.to_lowercase() == *text)
            }
            (Self::Numeric(comparisons), Some(found)) => found.as_f64().is_some_and(|found| {
                comparisons.iter().all(|(operator, number)| {
                    found.partial_cmp(number).is_some_and(|order| match operator.as_str() {
                        "<" => order.is_lt(),
                        "<=" => order.is_le(),
                        ">" => order.is_gt(),
                        ">=" => order.is_ge(),
                        _ => order.is_eq(),
                    })
                })
            }),
            (Self::Not(tests), found) => !tests.iter().any(|test| test.holds(found)),
        }
    }
}

/// `[">", 0, "<=", 5]`
fn comparisons(operand: &Json) -> Result<Vec<(String, f64)>, String> {
    let wrong = || format!("`numeric` needs comparisons such as `[\">\", 0, \"<=\", 5]`, not `{operand}`");
    let pairs = operand.as_array().filter(|items| !items.is_empty() && items.len().is_multiple_of(2));
    let pairs = pairs.ok_or_else(wrong)?.chunks(2).map(|pair| {
        let operator = pair[0].as_str().filter(|text| ["<", "<=", "=", ">=", ">"].contains(text));
        Some((operator?.to_owned(), pair[1].as_f64()?))
    });
    pairs.collect::<Option<_>>().ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(pattern: Json, yes: &[Json], no: &[Json]) {
        let read = Pattern::read(&pattern).unwrap();
        for event in yes {
            assert!(read.matches(event), "{pattern} lets {event} through");
        }
        for event in no {
            assert!(!read.matches(event), "{pattern} keeps {event} back");
        }
    }

    #[test]
    fn events_match_when_they_have_what_every_field_asks_for() {
        check(
            json!({ "kind": ["order", "refund"], "price": [{ "numeric": [">", 0, "<=", 5] }] }),
            &[json!({ "kind": "order", "price": 5, "more": 1 }), json!({ "kind": "refund", "price": 0.1 })],
            &[
                json!({ "kind": "order", "price": 0 }),
                json!({ "kind": "gift", "price": 5 }),
                json!({ "kind": "order", "price": "5" }),
                json!({ "price": 5 }),
                json!(null),
            ],
        );
        check(
            json!({ "a": { "b": [{ "prefix": "x" }, { "suffix": "z" }, { "equals-ignore-case": "Été" }, 7, null, true] } }),
            &[
                json!({ "a": { "b": "xy" } }),
                json!({ "a": { "b": "yz" } }),
                json!({ "a": { "b": "ÉTÉ" } }),
                json!({ "a": { "b": 7.0 } }),
                json!({ "a": { "b": null } }),
                json!({ "a": { "b": true } }),
                json!({ "a": { "b": ["no", "xyz"] } }),
            ],
            &[
                json!({ "a": { "b": "y" } }),
                json!({ "a": { "b": false } }),
                json!({ "a": "x" }),
                json!({ "b": "x" }),
            ],
        );
        check(
            json!({ "a": [{ "exists": false }] }),
            &[json!({}), json!({ "b": 1 })],
            &[json!({ "a": null }), json!({ "a": "x" })],
        );
        check(
            json!({ "a": [{ "anything-but": ["x", 5] }], "b": [{ "anything-but": { "prefix": "no" } }] }),
            &[json!({ "a": "y", "b": "yes" }), json!({ "a": 6, "b": "" })],
            &[
                json!({ "a": "x", "b": "yes" }),
                json!({ "a": 5, "b": "yes" }),
                json!({ "a": "y", "b": "not" }),
                json!({}),
            ],
        );
        check(
            json!({ "on": [true], "$or": [{ "a": [1] }, { "b": [2], "c": [3] }] }),
            &[json!({ "on": true, "a": 1 }), json!({ "on": true, "b": 2, "c": 3 })],
            &[json!({ "on": true, "b": 2 }), json!({ "on": false, "a": 1 })],
        );
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_reason() {
        for (pattern, expected) in [
            (json!({}), "at least one field"),
            (json!([1]), "a pattern is an object"),
            (json!({ "a": "x" }), "`a` must be a list"),
            (json!({ "a": [] }), "`a` must be a list"),
            (json!({ "a": [[1]] }), "a list within a list"),
            (json!({ "a": [{ "prefix": 5 }] }), "`prefix` needs a text"),
            (json!({ "a": [{ "exists": "yes" }] }), "`exists` needs true or false"),
            (json!({ "a": [{ "numeric": ["<"] }] }), "`numeric` needs comparisons"),
            (json!({ "a": [{ "numeric": ["!", 5] }] }), "`numeric` needs comparisons"),
            (json!({ "a": [{ "cidr": "10.0.0.0/8" }] }), "`cidr` is no operator"),
            (json!({ "a": [{ "prefix": "a", "suffix": "b" }] }), "one operator"),
        ] {
            let error = Pattern::read(&pattern).unwrap_err();
            assert!(error.contains(expected), "{pattern}: {error}");
        }
    }
}
