//! What the files of a Terraform folder declare, as far as their blocks say it without being evaluated.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::manifest::read::{Files, lies_in};

/// What a folder declares.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Declared {
    /// Of `variable` blocks, by name.
    pub variables: BTreeMap<String, Variable>,
    /// Of `output` blocks, by name: whether it is sensitive.
    pub outputs: BTreeMap<String, bool>,
    /// Where its state would be kept instead of in a file: the file, and `backend "s3"` or `cloud`.
    pub backend: Option<(String, String)>,
    /// Whether any file was there.
    pub has_files: bool,
    /// The first file that is a link out of the root: none of it is read.
    pub led_out: Option<String>,
}

/// A variable of a folder.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Variable {
    pub has_default: bool,
    /// Its values are lists, maps or objects: they are written as expressions.
    pub is_structure: bool,
}

impl Declared {
    /// Reads the files of a folder, in the order of their names. `ends` are those of their names, the first of which wins
    /// where two files are called alike otherwise. What lies outside of `root` is not read.
    pub(super) fn read(files: &dyn Files, folder: &Path, root: &Path, ends: &[&str]) -> Self {
        let mut declared = Self::default();
        let mut names = files.names(folder);
        names.sort();
        let end_of = |name: &str| ends.iter().find(|end| name.ends_with(**end)).copied();
        for name in &names {
            let Some(end) = end_of(name) else { continue };
            let stem = &name[..name.len() - end.len()];
            let is_replaced = ends
                .iter()
                .take_while(|other| **other != end)
                .any(|other| names.contains(&format!("{stem}{other}")));
            if is_replaced {
                continue;
            }
            declared.has_files = true;
            let path = folder.join(name);
            if !lies_in(files, &path, root) {
                declared.led_out = declared.led_out.take().or_else(|| Some(name.clone()));
                continue;
            }
            let Ok(bytes) = files.read(&path) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            if end.contains("json") {
                declared.add_json(name, &text);
            } else {
                declared.add(name, &text);
            }
        }
        declared
    }

    fn add(&mut self, file: &str, text: &str) {
        let tokens = tokens(text);
        let mut at = 0;
        while at < tokens.len() {
            let Some((kind, label, body, end)) = block(&tokens, at) else {
                at += 1;
                continue;
            };
            self.block(file, kind, label, body);
            at = end;
        }
    }

    fn block(&mut self, file: &str, kind: &str, label: Option<&str>, body: &[Token<'_>]) {
        match (kind, label) {
            ("variable", Some(name)) => {
                let known = self.variables.entry(name.to_owned()).or_default();
                for (key, value) in attributes(body) {
                    match key {
                        "default" => known.has_default = true,
                        "type" => known.is_structure |= value.iter().any(Token::is_structure),
                        _ => {}
                    }
                }
            }
            ("output", Some(name)) => {
                let is_sensitive = attributes(body).iter().any(|(key, value)| {
                    // What is computed may be true.
                    *key == "sensitive" && !matches!(value, [Token::Word("false")])
                });
                *self.outputs.entry(name.to_owned()).or_default() |= is_sensitive;
            }
            ("terraform", None) => {
                let mut at = 0;
                while at < body.len() {
                    let Some((kind, label, _, end)) = block(body, at) else {
                        at += 1;
                        continue;
                    };
                    let found = match (kind, label) {
                        ("cloud", _) => Some("cloud".to_owned()),
                        ("backend", Some(label)) => Some(format!("backend \"{label}\"")),
                        _ => None,
                    };
                    self.backend = self.backend.take().or(found.map(|found| (file.to_owned(), found)));
                    at = end;
                }
            }
            _ => {}
        }
    }

    /// The form in JSON: "JSON Configuration Syntax" of Terraform.
    fn add_json(&mut self, file: &str, text: &str) {
        let Ok(Value::Object(top)) = serde_json::from_str(text) else { return };
        let entries = |kind: &str| top.get(kind).map(entries).unwrap_or_default();
        for (name, block) in entries("variable") {
            let known = self.variables.entry(name.to_owned()).or_default();
            for value in objects(block) {
                known.has_default |= value.get("default").is_some();
                let of_type = value.get("type").and_then(Value::as_str).unwrap_or_default();
                known.is_structure |= tokens(of_type).iter().any(Token::is_structure);
            }
        }
        for (name, block) in entries("output") {
            let mut marks = objects(block).into_iter().filter_map(|value| value.get("sensitive"));
            *self.outputs.entry(name.to_owned()).or_default() |= marks.any(|it| *it != Value::Bool(false));
        }
        for (name, value) in entries("terraform") {
            let found = match name {
                "cloud" => Some("cloud".to_owned()),
                "backend" => self::entries(value).first().map(|(label, _)| format!("backend \"{label}\"")),
                _ => None,
            };
            self.backend = self.backend.take().or(found.map(|found| (file.to_owned(), found)));
        }
    }
}

/// The members of an object, or of all objects of a list, and of lists in it: blocks may be written in either way.
fn entries(blocks: &Value) -> Vec<(&str, &Value)> {
    match blocks {
        Value::Array(several) => several.iter().flat_map(entries).collect(),
        Value::Object(one) => one.iter().map(|(name, value)| (name.as_str(), value)).collect(),
        _ => vec![],
    }
}

/// The objects of a block's value: one, or several.
fn objects(block: &Value) -> Vec<&Value> {
    match block {
        Value::Array(several) => several.iter().flat_map(objects).collect(),
        one => vec![one],
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// A string, or a text of several lines, without what is around it.
    Text(&'a str),
    Open,
    Close,
    Equals,
    Line,
    Other,
}

impl Token<'_> {
    /// Of a type.
    fn is_structure(&self) -> bool {
        matches!(self, Self::Word("list" | "set" | "map" | "object" | "tuple"))
    }
}

/// A block that begins here: its kind, its first label, what is in it, and where it ends.
fn block<'t, 'a>(
    tokens: &'t [Token<'a>],
    start: usize,
) -> Option<(&'a str, Option<&'a str>, &'t [Token<'a>], usize)> {
    let Token::Word(kind) = *tokens.get(start)? else { return None };
    if start > 0 && tokens[start - 1] != Token::Line {
        return None;
    }
    let mut at = start + 1;
    let mut label = None;
    while let Token::Text(text) | Token::Word(text) = *tokens.get(at)? {
        label = label.or(Some(text));
        at += 1;
    }
    if *tokens.get(at)? != Token::Open {
        return None;
    }
    let inside = at + 1;
    let mut depth = 1_usize;
    at = inside;
    while let Some(token) = tokens.get(at) {
        match token {
            Token::Open => depth += 1,
            Token::Close => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((kind, label, &tokens[inside..at], at + 1));
        }
        at += 1;
    }
    Some((kind, label, &tokens[inside..], tokens.len()))
}

/// `key = value` at the level of a block's body, each on a line of its own.
fn attributes<'t, 'a>(body: &'t [Token<'a>]) -> Vec<(&'a str, &'t [Token<'a>])> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut depth = 0_usize;
    while at < body.len() {
        match body[at] {
            Token::Open => depth += 1,
            Token::Close => depth = depth.saturating_sub(1),
            Token::Word(key) if depth == 0 && body.get(at + 1) == Some(&Token::Equals) => {
                let start = at + 2;
                let mut inner = 0_usize;
                let mut end = start;
                while let Some(token) = body.get(end) {
                    match token {
                        Token::Open => inner += 1,
                        Token::Close => inner = inner.saturating_sub(1),
                        Token::Line if inner == 0 => break,
                        _ => {}
                    }
                    end += 1;
                }
                found.push((key, &body[start..end]));
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Brackets of all kinds open and close alike: what is in them is of no interest.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\n' => {
                tokens.push(Token::Line);
                1
            }
            '#' => line_end(rest),
            '/' if rest.starts_with("//") => line_end(rest),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
            '"' => {
                let length = quoted(rest);
                tokens.push(Token::Text(rest[1..length].strip_suffix('"').unwrap_or(&rest[1..length])));
                length
            }
            '<' if rest.starts_with("<<") => match heredoc(rest) {
                Some(length) => {
                    tokens.push(Token::Text(&rest[..length]));
                    length
                }
                None => 2,
            },
            '{' | '(' | '[' => {
                tokens.push(Token::Open);
                1
            }
            '}' | ')' | ']' => {
                tokens.push(Token::Close);
                1
            }
            '=' if !rest.starts_with("==") && !rest.starts_with("=>") => {
                tokens.push(Token::Equals);
                1
            }
            c if c.is_alphanumeric() || c == '_' => {
                let is_inside = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
                let length = rest.find(|c: char| !is_inside(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(&rest[..length]));
                length
            }
            c if c.is_whitespace() => c.len_utf8(),
            c => {
                tokens.push(Token::Other);
                if rest.starts_with("==") || rest.starts_with("=>") { 2 } else { c.len_utf8() }
            }
        };
        rest = &rest[length..];
    }
    tokens
}

/// Up to the end of the line, which is none of a comment.
fn line_end(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// The length of a string, quotes included. What is written in `${…}` and `%{…}` of it may hold strings, too.
fn quoted(text: &str) -> usize {
    let bytes = text.as_bytes();
    // Of each `${`, how many brackets are open in it; of a string within it, none.
    let mut within: Vec<Option<usize>> = vec![None];
    let mut at = 1;
    while at < bytes.len() {
        match (bytes[at], within.last().copied().flatten()) {
            (b'\n', None) => return at,
            (b'\\', None) => at += 1,
            (b'$' | b'%', None) if bytes.get(at + 1) == Some(&b'{') => {
                if bytes[at - 1] == bytes[at] {
                    // Escaped.
                } else {
                    within.push(Some(0));
                    at += 1;
                }
            }
            (b'"', None) => {
                within.pop();
                if within.is_empty() {
                    return at + 1;
                }
            }
            (b'"', Some(_)) => within.push(None),
            (b'{', Some(open)) => replace_last(&mut within, open + 1),
            (b'}', Some(0)) => {
                within.pop();
            }
            (b'}', Some(open)) => replace_last(&mut within, open - 1),
            _ => {}
        }
        at += 1;
    }
    text.len()
}

fn replace_last(within: &mut [Option<usize>], open: usize) {
    if let Some(last) = within.last_mut() {
        *last = Some(open);
    }
}

/// The length of a text from `<<WORD` to the line that is `WORD` alone.
fn heredoc(text: &str) -> Option<usize> {
    let first = text.lines().next()?;
    let word = first.trim_start_matches('<').trim_start_matches('-').trim();
    if word.is_empty() || !word.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
        return None;
    }
    let mut length = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if index > 0 && line.trim() == word {
            return Some(length + line.trim_end_matches(['\n', '\r']).len());
        }
        length += line.len();
    }
    Some(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(text: &str) -> Declared {
        let mut declared = Declared::default();
        declared.add("main.tf", text);
        declared
    }

    #[test]
    fn variables_and_outputs_are_told_from_what_looks_like_them() {
        let found = declared(
            "# variable \"no1\" {}\n// variable \"no2\" {}\n/* variable \"no3\" {}\n*/\n\
             variable \"name\" { type = string }\nvariable \"size\" {\n  type = number\n  default = 3\n}\n\
             variable \"all\" {\n  type = map(object({ default = string }))\n  validation {\n    condition = var.all == 1\n    default = 1\n  }\n}\n\
             resource \"a\" \"b\" {\n  text = <<-EOT\n  variable \"no4\" {\n  EOT\n  other = \"${var.x ? \"}\" : \"variable {\"} $${ {\"\n\
             \x20 variable \"no5\" {}\n}\n\
             output \"url\" {\n  value = \"https://${local.host}/#x\"\n}\noutput \"key\" {\n  value = 1\n  sensitive = true\n}\n\
             output \"plain\" {\n  sensitive = false\n}\noutput \"maybe\" {\n  sensitive = var.x\n}\n",
        );
        let variables: Vec<_> = found
            .variables
            .iter()
            .map(|(name, it)| (name.as_str(), it.has_default, it.is_structure))
            .collect();
        assert_eq!(variables, [("all", false, true), ("name", false, false), ("size", true, false)]);
        let outputs: Vec<_> = found.outputs.iter().map(|(name, it)| (name.as_str(), *it)).collect();
        assert_eq!(outputs, [("key", true), ("maybe", true), ("plain", false), ("url", false)]);
        assert_eq!(found.backend, None);
    }

    #[test]
    fn a_backend_is_found_where_it_is_declared() {
        for (text, expected) in [
            (
                "terraform {\n  required_version = \">= 1\"\n  backend \"s3\" {\n    key = \"x\"\n  }\n}\n",
                Some("backend \"s3\""),
            ),
            (
                "terraform {\n  required_providers {\n    a = { source = \"b\" }\n  }\n  cloud {\n  }\n}",
                Some("cloud"),
            ),
            ("terraform {\n  required_providers {\n  }\n}\nlocals {\n  backend = 1\n}", None),
            ("module \"backend\" {\n  source = \"./cloud\"\n}", None),
        ] {
            let found = declared(text).backend.map(|(_, found)| found);
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn files_in_json_declare_the_same() {
        let mut found = Declared::default();
        found.add_json(
            "main.tf.json",
            r#"{"variable": {"a": {"type": "list(string)"}, "b": {"default": null}}, "output": [{"x": {"value": 1, "sensitive": true}}],
               "terraform": [{"required_version": "1"}, {"backend": [[{"s3": [{}]}]]}]}"#,
        );
        assert_eq!(found.variables["a"], Variable { has_default: false, is_structure: true });
        assert_eq!(found.variables["b"], Variable { has_default: true, is_structure: false });
        assert!(found.outputs["x"]);
        assert_eq!(found.backend, Some(("main.tf.json".to_owned(), "backend \"s3\"".to_owned())));
    }

    #[test]
    fn text_that_is_no_hcl_is_read_to_its_end() {
        for text in [
            "",
            "\"",
            "variable",
            "variable \"a\" {",
            "variable \"a\" { default = \"${",
            "<<",
            "<<EOT",
            "x = <<EOT\nnever closed",
            "}}}} {",
            "\"\\",
            "é = \"ü${\"ä\"}",
        ] {
            let _ = declared(text);
        }
        assert!(declared("variable \"a\" {").variables.contains_key("a"));
    }
}
