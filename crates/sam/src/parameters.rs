//! The values of a template's parameters.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::tree::Node;
use super::{Problem, Reader, Severity, entries};

/// What `Ref` of a parameter gives.
#[derive(Default)]
pub(super) struct Parameters {
    pub values: BTreeMap<String, String>,
    /// Those whose value is a list, its items separated by commas.
    pub lists: BTreeSet<String>,
}

impl Reader<'_> {
    pub(super) fn parameters(&mut self, overrides: &BTreeMap<String, String>) -> Parameters {
        let mut parameters = Parameters::default();
        for entry in entries(self.root.get("Parameters")) {
            let default = entry.node.get("Default").map(|node| node.as_text().unwrap_or_default().to_owned());
            match overriding(overrides, &entry.key).cloned().or(default) {
                Some(value) => {
                    parameters.values.insert(entry.key.clone(), value);
                }
                None => self.error(None, entry.line, without_value(&entry.key)),
            }
            if is_list(kind(&entry.node)) {
                parameters.lists.insert(entry.key.clone());
            }
        }
        parameters
    }
}

/// The value given for a parameter of a template: under its name, or under the name as manifests write it
/// (`memory_size` for `MemorySize`).
pub(super) fn overriding<'a>(overrides: &'a BTreeMap<String, String>, name: &str) -> Option<&'a String> {
    overrides
        .get(name)
        .or_else(|| overrides.iter().find(|(given, _)| plain(given) == plain(name)).map(|(_, value)| value))
}

fn plain(name: &str) -> String {
    name.replace(['_', '-'], "").to_ascii_lowercase()
}

fn without_value(name: &str) -> String {
    format!("parameter `{name}` has no value: give it a `Default`, or set a parameter of that name")
}

/// Parameters that nothing gives a value: see [`super::Template::missing_parameters`].
pub(super) fn missing(root: &Node, given: &BTreeMap<String, String>) -> Vec<Problem> {
    let missing = entries(root.get("Parameters"))
        .iter()
        .filter(|entry| entry.node.get("Default").is_none() && overriding(given, &entry.key).is_none());
    let problem = |line, message| Problem { severity: Severity::Error, resource: None, line, message };
    missing.map(|entry| problem(entry.line, without_value(&entry.key))).collect()
}

/// What CloudFormation would refuse: see [`super::Template::refused_parameters`].
pub(super) fn refused(root: &Node, given: &BTreeMap<String, String>) -> Vec<Problem> {
    let refused = entries(root.get("Parameters")).iter().filter_map(|entry| {
        let default = entry.node.get("Default").and_then(Node::as_text);
        let value = overriding(given, &entry.key).map(String::as_str).or(default)?;
        let reason = refusal(&entry.node, value)?;
        let message = format!("parameter `{}` is `{value}`: {reason}", entry.key);
        Some(Problem { severity: Severity::Error, resource: None, line: entry.line, message })
    });
    refused.collect()
}

/// The names among those given that stand for no parameter of a template, which has `known` ones.
pub(super) fn unknown(known: &[String], given: &BTreeMap<String, String>) -> Vec<String> {
    let unknown = given.keys().filter(|name| !known.iter().any(|known| plain(known) == plain(name)));
    unknown.cloned().collect()
}

fn kind(declaration: &Node) -> &str {
    declaration.get("Type").and_then(Node::as_text).unwrap_or("String")
}

/// `CommaDelimitedList`, `List<Number>` and the lists of AWS's own types.
fn is_list(kind: &str) -> bool {
    kind == "CommaDelimitedList"
        || kind.starts_with("List<")
        || kind.ends_with('>') && kind.contains("<List<")
}

/// The items of a parameter that is a list.
pub(super) fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim)
}

/// `1 character`, `2 characters`.
fn characters(count: f64) -> String {
    let count = count.to_string();
    format!("{count} character{}", if count == "1" { "" } else { "s" })
}

/// Why a value cannot be that of a parameter, by the
/// [properties](https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html) of its declaration.
/// A pattern that only Java's regular expressions have (one that looks around) is held against nothing.
fn refusal(declaration: &Node, value: &str) -> Option<String> {
    let kind = kind(declaration);
    let text = |key: &str| declaration.get(key).and_then(Node::as_text);
    let limit = |key: &str| text(key).and_then(|text| text.parse::<f64>().ok());
    let pattern = text("AllowedPattern").and_then(|pattern| Regex::new(&format!("^(?:{pattern})$")).ok());
    let allowed: Option<Vec<&str>> = declaration
        .get("AllowedValues")
        .and_then(Node::as_list)
        .map(|values| values.iter().filter_map(Node::as_text).collect());
    let check = |item: &str| {
        if let Some(allowed) = &allowed
            && !allowed.contains(&item)
        {
            return Some(format!("it must be one of {}", allowed.join(", ")));
        }
        if pattern.as_ref().is_some_and(|pattern| !pattern.is_match(item)) {
            return Some(format!("it must match `{}`", text("AllowedPattern").unwrap_or_default()));
        }
        if kind.contains("Number") {
            let Ok(number) = item.parse::<f64>() else { return Some("it must be a number".to_owned()) };
            return match (limit("MinValue"), limit("MaxValue")) {
                (Some(least), _) if number < least => Some(format!("it must be at least {least}")),
                (_, Some(most)) if number > most => Some(format!("it must be at most {most}")),
                _ => None,
            };
        }
        let length = item.chars().count() as f64;
        match (limit("MinLength"), limit("MaxLength")) {
            (Some(least), _) if length < least => Some(format!("it needs at least {}", characters(least))),
            (_, Some(most)) if length > most => Some(format!("it has more than {}", characters(most))),
            _ => None,
        }
    };
    let reason = if is_list(kind) { items(value).find_map(check) } else { check(value) }?;
    Some(match text("ConstraintDescription") {
        Some(description) => format!("{reason} ({description})"),
        None => reason,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Template;
    use super::*;

    #[track_caller]
    fn check(declaration: &str, value: &str, expected: Option<&str>) {
        let source = format!("Parameters:\n  P: {{{declaration}}}\n");
        let given = BTreeMap::from([("p".to_owned(), value.to_owned())]);
        let refused = Template::parse(source).unwrap().refused_parameters(&given);
        let found = refused.first().map(|problem| (problem.line, problem.message.as_str()));
        let expected = expected.map(|reason| format!("parameter `P` is `{value}`: {reason}"));
        assert_eq!(found, expected.as_deref().map(|message| (2, message)), "{declaration}");
    }

    #[test]
    fn values_are_held_to_their_declaration() {
        check("Type: String", "", None);
        check("Type: Number", "1.5", None);
        check("Type: Number", "many", Some("it must be a number"));
        check("Type: Number, MinValue: 1, MaxValue: 10", "10", None);
        check("Type: Number, MinValue: 1, MaxValue: 10", "50", Some("it must be at most 10"));
        check("Type: Number, MinValue: 1", "-1", Some("it must be at least 1"));
        check("Type: String, AllowedValues: [dev, prod]", "prod", None);
        check("Type: String, AllowedValues: [dev, prod]", "zz", Some("it must be one of dev, prod"));
        check("Type: Number, AllowedValues: [1, 2]", "2", None);
        check("Type: String, AllowedPattern: '[a-z]+'", "ab", None);
        check("Type: String, AllowedPattern: '[a-z]+'", "abC", Some("it must match `[a-z]+`"));
        check("Type: String, MinLength: 2", "ü", Some("it needs at least 2 characters"));
        check("Type: String, MaxLength: 2", "üüü", Some("it has more than 2 characters"));
        check("Type: 'List<Number>'", "1, 2", None);
        check("Type: 'List<Number>'", "1,x", Some("it must be a number"));
        let declaration = "Type: CommaDelimitedList, AllowedValues: [a, b], ConstraintDescription: letters";
        check(declaration, "a, b", None);
        check(declaration, "a,c", Some("it must be one of a, b (letters)"));
    }

    #[test]
    fn names_that_a_template_does_not_have_are_found() {
        let given = ["memory_size", "MemorySize", "Bogus"].map(|name| (name.to_owned(), String::new()));
        assert_eq!(unknown(&["MemorySize".to_owned()], &given.into()), ["Bogus"]);
    }
}
