//! Template values: the `{{path}}` placeholders that manifests and plans may hold.
//!
//! The syntax is Handlebars', parsed by the `handlebars` crate; only values are accepted, no blocks, helpers or
//! partials. `{{{path}}}` is raw. A value is quoted for the context it lands in ([`Context`]), which is why
//! rendering is done here: what a placeholder becomes depends on where it stands.

use handlebars::template::{Parameter, TemplateElement};
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Literal(String),
    Value { path: String, raw: bool },
}

/// A parsed string with placeholders. Serialized as its source text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    source: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("{message}")]
    Syntax { message: String },
    #[error(
        "`{found}` is not a plain value: only `{{{{path.to.value}}}}` is allowed, no blocks, helpers or partials"
    )]
    NotAValue { found: String },
}

/// A placeholder without a value when it was rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{{{{{path}}}}}` has no value here")]
pub struct Undefined {
    pub path: String,
}

impl Template {
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        if !source.contains("{{") {
            let pieces = if source.is_empty() { vec![] } else { vec![Piece::Literal(source.to_owned())] };
            return Ok(Self { source: source.to_owned(), pieces });
        }
        let parsed = handlebars::Template::compile(source)
            .map_err(|error| TemplateError::Syntax { message: error.reason().to_string() })?;
        let mut pieces = Vec::with_capacity(parsed.elements.len());
        for element in parsed.elements {
            match element {
                TemplateElement::RawString(text) => pieces.push(Piece::Literal(text)),
                TemplateElement::Comment(_) => {}
                TemplateElement::Expression(value) if is_plain(&value) => {
                    pieces.push(Piece::Value { path: path_of(&value.name)?, raw: false });
                }
                TemplateElement::HtmlExpression(value) if is_plain(&value) => {
                    pieces.push(Piece::Value { path: path_of(&value.name)?, raw: true });
                }
                other => return Err(TemplateError::NotAValue { found: describe(&other) }),
            }
        }
        Ok(Self { source: source.to_owned(), pieces })
    }

    pub fn source(&self) -> &str {
        &self.source
    }

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

    pub fn is_literal(&self) -> bool {
        self.paths().next().is_none()
    }

    /// The path, when the whole string is exactly one placeholder: then the value keeps its type.
    pub fn single_path(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Value { path, .. }] => Some(path),
            _ => None,
        }
    }

    /// Renders with `lookup` giving the value of each path.
    pub fn render(
        &self,
        context: Context,
        lookup: &dyn Fn(&str) -> Option<Value>,
    ) -> Result<String, Undefined> {
        let mut out = String::with_capacity(self.source.len());
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Value { path, raw } => {
                    let value = lookup(path).ok_or_else(|| Undefined { path: path.clone() })?;
                    let text = plain_text(&value);
                    let at_start = out.is_empty();
                    match context {
                        Context::Plain => out.push_str(&text),
                        _ if *raw => out.push_str(&text),
                        Context::Shell => push_shell_quoted(&mut out, &text),
                        Context::Url if at_start => out.push_str(&text),
                        Context::Url => push_percent_encoded(&mut out, &text),
                        Context::Json => push_json_escaped(&mut out, &value, &text),
                    }
                }
            }
        }
        Ok(out)
    }

    /// Renders in plain context, keeping the type of the value when the string is exactly one placeholder.
    pub fn evaluate(&self, lookup: &dyn Fn(&str) -> Option<Value>) -> Result<Value, Undefined> {
        match self.single_path() {
            Some(path) => lookup(path).ok_or_else(|| Undefined { path: path.to_owned() }),
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

fn is_plain(value: &handlebars::template::HelperTemplate) -> bool {
    value.params.is_empty() && value.hash.is_empty() && !value.block
}

fn path_of(name: &Parameter) -> Result<String, TemplateError> {
    let text = name.as_name().unwrap_or_default();
    let plain = !text.is_empty()
        && text.split('.').all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        });
    if plain { Ok(text.to_owned()) } else { Err(TemplateError::NotAValue { found: format!("{name:?}") }) }
}

fn describe(element: &TemplateElement) -> String {
    match element {
        TemplateElement::Expression(helper)
        | TemplateElement::HtmlExpression(helper)
        | TemplateElement::HelperBlock(helper) => {
            format!(
                "{{{{{}{} …}}}}",
                if helper.block { "#" } else { "" },
                helper.name.as_name().unwrap_or("…")
            )
        }
        TemplateElement::PartialExpression(_) | TemplateElement::PartialBlock(_) => "{{> …}}".to_owned(),
        _ => "{{* …}}".to_owned(),
    }
}

/// A value as text: strings without quotes, everything else as JSON writes it.
pub fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn push_shell_quoted(out: &mut String, text: &str) {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(harmless) {
        out.push_str(text);
        return;
    }
    out.push('\'');
    out.push_str(&text.replace('\'', r"'\''"));
    out.push('\'');
}

fn push_percent_encoded(out: &mut String, text: &str) {
    use std::fmt::Write as _;
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

fn push_json_escaped(out: &mut String, value: &Value, text: &str) {
    if matches!(value, Value::String(_)) {
        let quoted = Value::String(text.to_owned()).to_string();
        out.push_str(&quoted[1..quoted.len() - 1]);
    } else {
        out.push_str(text);
    }
}
