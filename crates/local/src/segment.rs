//! Segments and subsegments in the shape in which X-Ray returns them.

use serde_json::{Map, Value, json};

use super::clock::{Stamp, seconds};

/// What went wrong in a span, as X-Ray flags it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// 4xx.
    pub error: bool,
    /// 429; an error too.
    pub throttle: bool,
    /// 5xx, or the function failed.
    pub fault: bool,
}

impl Flags {
    pub(crate) const FAULT: Self = Self { error: false, throttle: false, fault: true };

    pub(crate) fn of_status(status: u16) -> Self {
        Self { error: (400..500).contains(&status), throttle: status == 429, fault: status >= 500 }
    }

    pub(crate) fn of_failure(failed: bool) -> Self {
        if failed { Self::FAULT } else { Self::default() }
    }

    /// Each flag, and how X-Ray calls it.
    pub(crate) fn named(self) -> [(&'static str, bool); 3] {
        [("error", self.error), ("throttle", self.throttle), ("fault", self.fault)]
    }
}

/// A finished segment.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub head: Head,
    pub end: Stamp,
    pub flags: Flags,
    /// `http`, `aws`, `resource_arn` …
    pub fields: Map<String, Value>,
    pub subsegments: Vec<Subsegment>,
}

/// What is known of a segment from its start.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub id: String,
    pub name: String,
    pub parent: Option<String>,
    pub origin: &'static str,
    pub start: Stamp,
}

#[derive(Clone, Debug)]
pub(super) struct Subsegment {
    pub id: String,
    pub name: String,
    pub namespace: Option<&'static str>,
    pub start: Stamp,
    pub end: Stamp,
    pub flags: Flags,
    pub fields: Map<String, Value>,
}

impl Head {
    /// The document of a segment that has not ended.
    pub(crate) fn in_progress(&self, trace: &str, offset: i64) -> Value {
        let mut document = self.document(trace, offset);
        document.insert("in_progress".to_owned(), Value::Bool(true));
        Value::Object(document)
    }

    fn document(&self, trace: &str, offset: i64) -> Map<String, Value> {
        let mut document = Map::new();
        document.insert("id".to_owned(), json!(self.id));
        document.insert("name".to_owned(), json!(self.name));
        document.insert("start_time".to_owned(), json!(seconds(self.start.0 + offset)));
        document.insert("trace_id".to_owned(), json!(trace));
        if let Some(parent) = &self.parent {
            document.insert("parent_id".to_owned(), json!(parent));
        }
        document.insert("origin".to_owned(), json!(self.origin));
        document
    }
}

impl Segment {
    pub(crate) fn document(&self, trace: &str, offset: i64) -> Value {
        let mut document = self.head.document(trace, offset);
        document.insert("end_time".to_owned(), json!(seconds(self.end.0 + offset)));
        finish(&mut document, self.flags, &self.fields);
        if !self.subsegments.is_empty() {
            let children = self.subsegments.iter().map(|child| child.document(offset)).collect();
            document.insert("subsegments".to_owned(), Value::Array(children));
        }
        Value::Object(document)
    }
}

impl Subsegment {
    fn document(&self, offset: i64) -> Value {
        let mut document = Map::new();
        document.insert("id".to_owned(), json!(self.id));
        document.insert("name".to_owned(), json!(self.name));
        document.insert("start_time".to_owned(), json!(seconds(self.start.0 + offset)));
        document.insert("end_time".to_owned(), json!(seconds(self.end.0 + offset)));
        if let Some(namespace) = self.namespace {
            document.insert("namespace".to_owned(), json!(namespace));
        }
        finish(&mut document, self.flags, &self.fields);
        Value::Object(document)
    }
}

fn finish(document: &mut Map<String, Value>, flags: Flags, fields: &Map<String, Value>) {
    for (name, set) in flags.named() {
        if set {
            document.insert(name.to_owned(), Value::Bool(true));
        }
    }
    document.extend(fields.clone());
}

/// The fields of an object literal.
pub(super) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
