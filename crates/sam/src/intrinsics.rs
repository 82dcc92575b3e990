//! CloudFormation's intrinsic functions: from a tree with `Ref`, `Fn::Sub` … to plain values.

use std::collections::BTreeMap;

use super::Place;
use super::parameters::{Parameters, items};
use super::tree::{Entry, Fault, Node, Value};

/// What the names in a template stand for.
pub(super) struct Scope<'a> {
    pub place: &'a Place,
    pub parameters: Parameters,
    pub mappings: Option<&'a Node>,
    pub conditions: Option<&'a Node>,
    pub resources: BTreeMap<String, Referent>,
}

/// What a reference to a resource gives.
#[derive(Clone, Debug)]
pub(super) struct Referent {
    /// Value of `Ref`.
    pub reference: String,
    pub attributes: BTreeMap<String, String>,
}

type Resolved = Result<Option<Node>, Fault>;

impl Scope<'_> {
    /// The plain value of a node; none for `AWS::NoValue` and null.
    pub(crate) fn resolve(&self, node: &Node) -> Resolved {
        match &node.value {
            Value::Null => Ok(None),
            Value::Text(text) | Value::Plain(text) => Ok(Some(Node::text(node.line, self.localise(text)))),
            Value::List(items) => {
                let mut plain = Vec::with_capacity(items.len());
                for item in items {
                    plain.extend(self.resolve(item)?);
                }
                Ok(Some(Node::new(node.line, Value::List(plain))))
            }
            Value::Map(entries) => {
                if let [Entry { key, node: argument, line }] = entries.as_slice()
                    && (key == "Ref" || key.starts_with("Fn::"))
                {
                    return self.call(key, argument, *line);
                }
                let mut plain = Vec::with_capacity(entries.len());
                for entry in entries {
                    if let Some(node) = self.resolve(&entry.node)? {
                        plain.push(Entry { key: entry.key.clone(), line: entry.line, node });
                    }
                }
                Ok(Some(Node::new(node.line, Value::Map(plain))))
            }
        }
    }

    /// The plain text of a node; none for `AWS::NoValue` and null.
    pub(crate) fn text(&self, node: &Node) -> Result<Option<String>, Fault> {
        match self.resolve(node)? {
            None => Ok(None),
            Some(Node { value: Value::Text(text), .. }) => Ok(Some(text)),
            Some(other) => Err(Fault::new(node.line.min(other.line), "a single value is needed here")),
        }
    }

    /// Whether a named condition holds.
    pub(crate) fn holds(&self, name: &str, line: usize) -> Result<bool, Fault> {
        self.holds_within(name, line, 0)
    }

    fn holds_within(&self, name: &str, line: usize, depth: usize) -> Result<bool, Fault> {
        if depth > 32 {
            return Err(Fault::new(line, format!("condition `{name}` refers to itself: break the circle")));
        }
        let condition = self.conditions.and_then(|all| all.get(name)).ok_or_else(|| {
            Fault::new(line, format!("condition `{name}` is not defined: add it under `Conditions`"))
        })?;
        self.is_true(condition, depth + 1)
    }

    fn is_true(&self, node: &Node, depth: usize) -> Result<bool, Fault> {
        let [Entry { key, node: argument, line }] = node.entries() else {
            return Err(Fault::new(node.line, "a condition is one of Fn::Equals, Fn::Not, Fn::And, Fn::Or"));
        };
        let parts = argument.as_list().unwrap_or_default();
        match key.as_str() {
            "Condition" => self.holds_within(argument.as_text().unwrap_or_default(), *line, depth),
            "Fn::Equals" => {
                let [left, right] = parts else {
                    return Err(Fault::new(*line, "Fn::Equals takes two values"));
                };
                Ok(self.resolve(left)?.map(|node| node.value) == self.resolve(right)?.map(|node| node.value))
            }
            "Fn::Not" => match parts {
                [one] => Ok(!self.is_true(one, depth)?),
                _ => Err(Fault::new(*line, "Fn::Not takes a list of one condition")),
            },
            "Fn::And" => parts.iter().try_fold(true, |all, part| Ok(self.is_true(part, depth)? && all)),
            "Fn::Or" => parts.iter().try_fold(false, |any, part| Ok(self.is_true(part, depth)? || any)),
            other => Err(Fault::new(
                *line,
                format!("`{other}` is not a condition: use Fn::Equals, Fn::Not, Fn::And or Fn::Or"),
            )),
        }
    }

    fn call(&self, function: &str, argument: &Node, line: usize) -> Resolved {
        let parts = argument.as_list().unwrap_or_default();
        let text = |text: String| Ok(Some(Node::text(line, self.localise(&text))));
        match (function, parts) {
            ("Ref", _) => match argument.as_text() {
                Some("AWS::NoValue") => Ok(None),
                Some(name) if self.parameters.lists.contains(name) => {
                    let value = self.reference(name, line)?;
                    let items = items(&value).map(|item| Node::text(line, item)).collect();
                    Ok(Some(Node::new(line, Value::List(items))))
                }
                Some(name) => text(self.reference(name, line)?),
                None => Err(Fault::new(line, "Ref takes one name")),
            },
            ("Fn::GetAtt", []) => match argument.as_text().and_then(|text| text.split_once('.')) {
                Some((resource, attribute)) => text(self.attribute(resource, attribute, line)?),
                None => Err(Fault::new(line, "GetAtt takes `Resource.Attribute`")),
            },
            ("Fn::GetAtt", [resource, attribute]) => {
                let attribute = self.text(attribute)?.unwrap_or_default();
                text(self.attribute(resource.as_text().unwrap_or_default(), &attribute, line)?)
            }
            ("Fn::Sub", []) => match argument.as_text() {
                Some(pattern) => text(self.substitute(pattern, None, line)?),
                None => Err(Fault::new(line, "Sub takes a string, or a list of a string and a map")),
            },
            ("Fn::Sub", [pattern, own]) => {
                text(self.substitute(pattern.as_text().unwrap_or_default(), Some(own), line)?)
            }
            ("Fn::Join", [separator, items]) => {
                let separator = self.text(separator)?.unwrap_or_default();
                text(self.list(items)?.join(&separator))
            }
            ("Fn::Select", [index, items]) => {
                let index = self.text(index)?.and_then(|text| text.parse::<usize>().ok());
                let items = self.list(items)?;
                match index.and_then(|index| items.get(index)) {
                    Some(item) => text(item.clone()),
                    None => Err(Fault::new(line, format!("Select needs an index below {}", items.len()))),
                }
            }
            ("Fn::Split", [separator, whole]) => {
                let separator = self.text(separator)?.unwrap_or_default();
                let whole = self.text(whole)?.unwrap_or_default();
                let items = whole.split(separator.as_str()).map(|part| Node::text(line, part)).collect();
                Ok(Some(Node::new(line, Value::List(items))))
            }
            ("Fn::FindInMap", [map, first, second]) => {
                let (map, first, second) = (self.text(map)?, self.text(first)?, self.text(second)?);
                let found = self.mappings.and_then(|mappings| {
                    [&map, &first, &second]
                        .into_iter()
                        .try_fold(mappings, |node, key| node.get(key.as_deref().unwrap_or_default()))
                });
                match found {
                    Some(node) => self.resolve(node),
                    None => Err(Fault::new(
                        line,
                        format!(
                            "FindInMap finds nothing for `{}`, `{}`, `{}`: check `Mappings`",
                            map.unwrap_or_default(),
                            first.unwrap_or_default(),
                            second.unwrap_or_default()
                        ),
                    )),
                }
            }
            ("Fn::If", [condition, yes, no]) => {
                let holds = self.holds(condition.as_text().unwrap_or_default(), line)?;
                self.resolve(if holds { yes } else { no })
            }
            (other, _) => Err(Fault::unsupported(
                line,
                format!(
                    "`{other}` is not supported in this form: write the value out, or use Ref, GetAtt, Sub, Join, Select, Split, FindInMap or If"
                ),
            )),
        }
    }

    fn list(&self, node: &Node) -> Result<Vec<String>, Fault> {
        let plain = self.resolve(node)?;
        let items = plain
            .as_ref()
            .and_then(Node::as_list)
            .ok_or_else(|| Fault::new(node.line, "a list is needed here"))?;
        Ok(items.iter().filter_map(Node::as_text).map(str::to_owned).collect())
    }

    fn reference(&self, name: &str, line: usize) -> Result<String, Fault> {
        if let Some(value) = self.parameters.values.get(name) {
            return Ok(value.clone());
        }
        let place = self.place;
        Ok(match name {
            "AWS::Region" => place.region.clone(),
            "AWS::AccountId" => place.account.clone(),
            "AWS::StackName" => place.stack.clone(),
            "AWS::StackId" => format!(
                "arn:aws:cloudformation:{}:{}:stack/{}/local",
                place.region, place.account, place.stack
            ),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            _ => match self.resources.get(name) {
                Some(referent) => referent.reference.clone(),
                None => {
                    return Err(Fault::new(
                        line,
                        format!("`{name}` is neither a parameter nor a resource of this template"),
                    ));
                }
            },
        })
    }

    fn attribute(&self, resource: &str, attribute: &str, line: usize) -> Result<String, Fault> {
        let referent = self
            .resources
            .get(resource)
            .ok_or_else(|| Fault::new(line, format!("`{resource}` is not a resource of this template")))?;
        referent.attributes.get(attribute).cloned().ok_or_else(|| {
            Fault::unsupported(
                line,
                format!("the local target does not know the attribute `{attribute}` of `{resource}`"),
            )
        })
    }

    fn substitute(&self, pattern: &str, own: Option<&Node>, line: usize) -> Result<String, Fault> {
        let mut out = String::with_capacity(pattern.len());
        let mut rest = pattern;
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let Some(length) = rest[start..].find('}') else {
                return Err(Fault::new(line, "`${` without its `}`"));
            };
            let name = rest[start + 2..start + length].trim();
            if let Some(literal) = name.strip_prefix('!') {
                out.push_str("${");
                out.push_str(literal);
                out.push('}');
            } else if let Some(node) = own.and_then(|own| own.get(name)) {
                out.push_str(&self.text(node)?.unwrap_or_default());
            } else if let Some((resource, attribute)) = name.split_once('.') {
                out.push_str(&self.attribute(resource, attribute, line)?);
            } else {
                out.push_str(&self.reference(name, line)?);
            }
            rest = &rest[start + length + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// An API's public URL becomes the gateway's; its stage stays in the path, where the gateway takes it too.
    fn localise(&self, text: &str) -> String {
        const HOST: &str = ".execute-api.";
        let base = self.place.api_base.trim_end_matches('/');
        let mut out = String::new();
        let mut rest = text;
        while let Some(middle) = rest.find(HOST) {
            let end = rest[middle..].find(['/', '"', '\'', ' ', ',']).map_or(rest.len(), |at| middle + at);
            match rest[..middle].rfind("://") {
                Some(at) => {
                    out.push_str(rest[..at].trim_end_matches(|letter: char| letter.is_ascii_lowercase()));
                    out.push_str(base);
                }
                None => out.push_str(&rest[..end]),
            }
            rest = &rest[end..];
        }
        out.push_str(rest);
        out
    }
}
