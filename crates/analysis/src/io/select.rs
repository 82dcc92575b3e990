//! Some traces out of an OpenTelemetry export of any size, each as a document of its own, spans as they were recorded.
//! Traces that links make part of one that is wanted come with it.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::export::gather_export;
use super::input::{Input, Named};
use super::split::{Chunk, Texts};
use crate::invalid::Invalid;
use crate::method::Method;
use crate::read::otlp::normal_id;
use crate::read::sort::{Room, Sorter};
use crate::read::source::documents;

/// A trace that was wanted.
pub struct SelectedTrace {
    /// 32 hexadecimal digits in lower case.
    pub id: String,
    /// One line: `{"resourceSpans": […]}`.
    pub text: String,
    /// Why it is not complete.
    pub defect: Option<String>,
}

/// Calls `each` for the `wanted` traces (by their ids, in hexadecimal) in the export at `path`, by id. What does not fit
/// into memory goes through a file in `folder`. Damaged documents are passed over, and documents beyond 32 MiB.
pub fn select_traces(
    path: &Path,
    wanted: &HashSet<String, impl BuildHasher>,
    folder: &Path,
    each: &mut dyn FnMut(SelectedTrace) -> io::Result<()>,
) -> io::Result<()> {
    let open = || Ok::<_, io::Error>(Texts::new(Named { input: Input::open(path)?, path }));
    let parts = gather_export(open()?, Room::in_folder(folder))?.parts_of(wanted)?;
    let mut found = Sorter::new(Room::in_folder(folder));
    let mut order = 0;
    let mut texts = open()?;
    let mut chunk = Chunk::default();
    while texts.read(&mut chunk)? {
        for text in chunk.texts() {
            for document in documents(&String::from_utf8_lossy(text)) {
                let Ok(document) = serde_json::from_str::<Value>(document) else { continue };
                for (id, spans) in split(document, wanted, &parts) {
                    found.push(id.as_bytes(), order, spans.to_string().as_bytes())?;
                    order += 1;
                }
            }
        }
    }
    let found = found.sort()?;
    let mut records = found.records()?;
    let mut current: Option<(Vec<u8>, String)> = None;
    let mut finish = |current: Option<(Vec<u8>, String)>| match current {
        Some((id, list)) => {
            let text = format!("{{\"resourceSpans\":[{list}]}}");
            let defect = defect(&text);
            each(SelectedTrace { id: String::from_utf8_lossy(&id).into_owned(), text, defect })
        }
        None => Ok(()),
    };
    while let Some(record) = records.next()? {
        let spans = String::from_utf8_lossy(&record.value);
        match &mut current {
            Some((id, list)) if *id == record.key => {
                list.push(',');
                list.push_str(&spans);
            }
            _ => {
                let spans = spans.into_owned();
                finish(current.replace((record.key, spans)))?;
            }
        }
    }
    finish(current)
}

/// The spans of a document that belong to wanted traces, with their resource and scope, by those traces.
fn split(
    mut document: Value,
    wanted: &HashSet<String, impl BuildHasher>,
    parts: &HashMap<String, String>,
) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let take = |value: &mut Value, key: &str| match value.get_mut(key).map(Value::take) {
        Some(Value::Array(values)) => values,
        _ => Vec::new(),
    };
    for mut resource_spans in take(&mut document, "resourceSpans") {
        for mut scope_spans in take(&mut resource_spans, "scopeSpans") {
            let mut by_trace: HashMap<String, Vec<Value>> = HashMap::new();
            for span in take(&mut scope_spans, "spans") {
                let id = normal_id(span["traceId"].as_str().unwrap_or_default());
                let id = parts.get(&id).cloned().or_else(|| wanted.contains(&id).then_some(id));
                if let Some(id) = id {
                    by_trace.entry(id).or_default().push(span);
                }
            }
            for (id, spans) in by_trace {
                let scope = json!({ "scope": scope_spans["scope"], "spans": spans });
                found.push((id, json!({ "resource": resource_spans["resource"], "scopeSpans": [scope] })));
            }
        }
    }
    found
}

/// What more spans would mend.
fn defect(text: &str) -> Option<String> {
    match Method::default().inspect_text(text, |_, _| ()).err()?.reason {
        Invalid::InProgress { .. } => Some("a span is in progress".to_owned()),
        Invalid::MissingParent { .. } => Some("a parent is missing".to_owned()),
        Invalid::NoRoot => Some("its root is missing".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(trace: &str, id: &str, parent: &str, kind: u8, start: u64, link: Option<&str>) -> Value {
        let links: Vec<Value> =
            link.iter().map(|trace| json!({ "traceId": trace, "spanId": "a1" })).collect();
        json!({ "traceId": trace, "spanId": id, "parentSpanId": parent, "name": id, "kind": kind,
                "startTimeUnixNano": (start * 1_000_000 + 1).to_string(),
                "endTimeUnixNano": ((start + 5) * 1_000_000 + 1).to_string(), "links": links })
    }

    fn document(service: &str, spans: &[Value]) -> String {
        json!({ "resourceSpans": [{ "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
                                    "scopeSpans": [{ "spans": spans }] }] })
        .to_string()
    }

    #[test]
    fn wanted_traces_come_whole_with_what_they_caused_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spans.jsonl");
        let lines = [
            document("one", &[span("aa", "a1", "00f0", 2, 0, None), span("bb", "b1", "", 2, 0, None)]),
            "{\"resourceSp".to_owned(),
            document(
                "two",
                &[span("cc", "c1", "", 5, 3, Some("AA")), span("dd", "d1", "", 5, 3, Some("bb"))],
            ),
            document(
                "two",
                &[
                    span("AA", "a2", "a1", 1, 1, None),
                    span("ee", "e1", "e0", 2, 0, None),
                    span("ee", "e2", "e9", 2, 0, None),
                ],
            ),
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let wanted = ["aa", "ee", "ff"].map(str::to_owned).into();
        let mut found = Vec::new();
        select_traces(&path, &wanted, folder.path(), &mut |selected| {
            found.push((selected.id, selected.text, selected.defect));
            Ok(())
        })
        .unwrap();
        let ids: Vec<_> = found.iter().map(|(id, ..)| id.as_str()).collect();
        assert_eq!(ids, ["aa", "ee"]);
        let (_, text, defect) = &found[0];
        for expected in ["\"a1\"", "\"a2\"", "\"c1\"", "\"one\"", "\"two\""] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(!text.contains("b1") && !text.contains("d1"));
        assert_eq!(*defect, None);
        assert_eq!(found[1].2.as_deref(), Some("a parent is missing"));
    }
}
