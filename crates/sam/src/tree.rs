//! YAML (and so JSON) as a tree that keeps lines, with CloudFormation's short tags written out:
//! `!Sub x` reads as `{"Fn::Sub": "x"}`.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

/// More than any template needs; bounds what aliases can unfold to.
const MAX_NODES: usize = 200_000;
const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub value: Value,
    /// 1-based.
    pub line: usize,
    /// Where a scalar stands in the text, its quotation marks included, in bytes. None: it is a block of text, has a tag, is a
    /// copy by an alias, or is none at all.
    pub place: Option<Range<usize>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    /// A scalar in quotation marks, a block of text, or what an evaluated scalar gives.
    Text(String),
    /// A scalar as it stands: what it means depends on the property.
    Plain(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub line: usize,
    pub node: Node,
}

/// What is wrong, and on which line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub line: usize,
    pub message: String,
    /// Nothing is wrong with it: the local target does not have it.
    pub unsupported: bool,
}

impl Fault {
    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into(), unsupported: false }
    }

    pub(crate) fn unsupported(line: usize, message: impl Into<String>) -> Self {
        Self { unsupported: true, ..Self::new(line, message) }
    }
}

impl Node {
    /// A value that stands nowhere in the text.
    pub(crate) fn new(line: usize, value: Value) -> Self {
        Self { value, line, place: None }
    }

    pub(crate) fn text(line: usize, text: impl Into<String>) -> Self {
        Self::new(line, Value::Text(text.into()))
    }

    /// As something else: what it was written as stands elsewhere.
    fn without_places(mut self) -> Self {
        self.place = None;
        match &mut self.value {
            Value::List(items) => {
                *items = std::mem::take(items).into_iter().map(Self::without_places).collect();
            }
            Value::Map(entries) => {
                for entry in entries {
                    let node = std::mem::replace(&mut entry.node, Self::new(entry.line, Value::Null));
                    entry.node = node.without_places();
                }
            }
            Value::Null | Value::Text(_) | Value::Plain(_) => {}
        }
        self
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// The entries of a mapping; none for anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Plain(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }
}

/// Reads one document.
pub(super) fn parse(source: &str) -> Result<Node, Fault> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(source) {
        let (event, span) = event.map_err(|error| Fault::new(error.marker().line(), error.info()))?;
        builder.take(event, &span)?;
    }
    builder.document.ok_or_else(|| {
        Fault::new(1, "the file is empty: a SAM template has at least a `Resources` section".to_owned())
    })
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    document: Option<Node>,
}

/// A collection whose end has not been met.
struct Open {
    line: usize,
    anchor: usize,
    tag: Option<String>,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, usize)> },
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Fault> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(..) if self.document.is_some() => {
                Err(Fault::new(line, "a second document starts here: keep one template per file"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let null = plain && matches!(text.as_ref(), "" | "~" | "null" | "Null");
                let value = match (null, plain) {
                    (true, _) => Value::Null,
                    (false, true) => Value::Plain(text.into_owned()),
                    (false, false) => Value::Text(text.into_owned()),
                };
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let place = span.byte_range().filter(|_| tag.is_none() && !is_block);
                self.finish(Node { value, line, place }, anchor, tag.as_deref().and_then(intrinsic))
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(line, anchor, tag.as_deref(), Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.open(line, anchor, tag.as_deref(), Content::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let value = match open.content {
                    Content::List(items) => Value::List(items),
                    Content::Map { entries, .. } => Value::Map(entries),
                };
                self.finish(Node::new(open.line, value), open.anchor, open.tag)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().ok_or_else(|| {
                    Fault::new(line, "this alias lies inside its own anchor: write the value out")
                })?;
                self.nodes += count(&node);
                self.finish(node.without_places(), 0, None)
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, line: usize, anchor: usize, tag: Option<&Tag>, content: Content) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::new(
                line,
                format!("nested deeper than {MAX_DEPTH} levels: flatten the template"),
            ));
        }
        self.open.push(Open { line, anchor, tag: tag.and_then(intrinsic), content });
        Ok(())
    }

    fn finish(&mut self, node: Node, anchor: usize, tag: Option<String>) -> Result<(), Fault> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(Fault::new(node.line, format!("more than {MAX_NODES} values: use fewer aliases")));
        }
        let line = node.line;
        let node = match tag {
            Some(key) => Node::new(line, Value::Map(vec![Entry { key, line, node }])),
            None => node,
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.document = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => {
                if let Some((key, line)) = key.take() {
                    entries.push(Entry { key, line, node });
                    return Ok(());
                }
                let text = node.as_text().ok_or_else(|| Fault::new(line, "a key must be plain text"))?;
                if let Some(earlier) = entries.iter().find(|entry| entry.key == text) {
                    let message = format!("`{text}` was set on line {} already: keep one", earlier.line);
                    return Err(Fault::new(line, message));
                }
                *key = Some((text.to_owned(), line));
            }
        }
        Ok(())
    }
}

fn count(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(count).sum(),
        Value::Map(entries) => entries.iter().map(|entry| count(&entry.node)).sum(),
        _ => 0,
    }
}

/// `!Ref` and `!Condition` stand for keys of their own name, every other local tag for `Fn::NAME`.
fn intrinsic(tag: &Tag) -> Option<String> {
    if tag.handle() != "!" || tag.suffix().is_empty() {
        return None;
    }
    Some(match tag.suffix() {
        name @ ("Ref" | "Condition") => name.to_owned(),
        name => format!("Fn::{name}"),
    })
}
