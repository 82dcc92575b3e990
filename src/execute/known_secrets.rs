//! The secrets of a deployment, as far as they are known: none of them may be written for others to read.

use std::collections::BTreeSet;

use sb_measurement::Redactor;
use sb_plan::event::{Failure, Outcome};
use sb_workload::template::plain_text;
use serde_json::Value;

/// Secret parameters and outputs of a deployment. Secrets grow while it is deployed: each attempt has those of its beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownSecrets {
    /// Of parameters and outputs.
    pub names: BTreeSet<String>,
    pub redactor: Redactor,
    texts: Texts,
}

/// The values, as commands get them.
#[derive(Clone, Default)]
struct Texts(BTreeSet<String>);

/// Without the secrets.
impl std::fmt::Debug for Texts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} secrets", self.0.len())
    }
}

impl KnownSecrets {
    pub(crate) fn add<'a>(&mut self, values: impl IntoIterator<Item = (&'a String, &'a Value)>) {
        for (name, value) in values {
            self.names.insert(name.clone());
            self.texts.0.insert(plain_text(value));
            add_texts(value, &mut self.texts.0);
        }
        self.redactor = Redactor::new(&self.texts.0);
    }

    /// Adds values that have no name, of steps that failed.
    pub(crate) fn add_unnamed<'a>(&mut self, values: impl IntoIterator<Item = &'a Value>) {
        values.into_iter().for_each(|value| add_texts(value, &mut self.texts.0));
        self.redactor = Redactor::new(&self.texts.0);
    }

    /// Every text that must not be shown.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.0.iter().map(String::as_str)
    }

    /// Whether a value would show a secret to who sees it, an URL with a token in it for example.
    pub(crate) fn are_in(&self, value: &Value) -> bool {
        match value {
            Value::Array(values) => values.iter().any(|value| self.are_in(value)),
            Value::Object(values) => values.values().any(|value| self.are_in(value)),
            Value::Null | Value::Bool(_) => false,
            Value::Number(_) | Value::String(_) => {
                let text = plain_text(value);
                // Whole values are compared, however short they are.
                self.texts.0.contains(&text) && !text.is_empty() || self.are_in_text(&text)
            }
        }
    }

    /// Whether a text that holds more than a value shows one.
    pub(crate) fn are_in_text(&self, text: &str) -> bool {
        self.redactor.text(text) != text
    }

    /// How an attempt ended, without secrets in the message.
    pub(crate) fn hide_in(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Failed(failure) => Outcome::Failed(Failure {
                message: self.redactor.text(&failure.message).into_owned(),
                ..failure
            }),
            other => other,
        }
    }
}

/// Each text of a structured value is a secret of its own.
fn add_texts(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| add_texts(value, texts)),
        Value::Object(values) => values.values().for_each(|value| add_texts(value, texts)),
        Value::Null | Value::Bool(_) => {}
        Value::Number(_) | Value::String(_) => {
            texts.insert(plain_text(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sb_plan::event::FailureClass;
    use serde_json::json;

    #[test]
    fn values_messages_and_parts_of_structured_secrets_are_hidden() {
        let mut known = KnownSecrets::default();
        let secret = json!({"user": "somebody", "keys": ["hush-1", 7]});
        known.add([(&"access".to_owned(), &secret)]);
        assert!(known.are_in(&json!("https://somebody@example.org")));
        assert!(known.are_in(&json!(["x", {"y": "hush-1"}])));
        assert!(known.are_in(&json!(7)), "a whole value, however short");
        assert!(!known.are_in(&json!("a text with 7 in it")));
        let outcome = known.hide_in(Outcome::failed(FailureClass::Step, "no answer from ?key=hush-1"));
        assert_eq!(outcome, Outcome::failed(FailureClass::Step, "no answer from ?key=***"));
        assert!(!format!("{known:?}").contains("hush-1"));
    }
}
