//! What Terraform and OpenTofu say of themselves: one object of JSON in each line ("Machine-Readable UI" of Terraform).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

/// In the folder of the state: what the program has said.
pub(super) const EVENTS_FILE: &str = "events.jsonl";
/// In the folder of the state: what it printed when it was made ready.
pub(super) const INIT_FILE: &str = "init.log";

/// Bytes that are read at once, and the longest line that counts.
const MOST: u64 = 4 << 20;
/// Characters of a cause.
const LONGEST: usize = 800;
/// Resources of which the time is kept.
const MOST_RESOURCES: usize = 10_000;

/// A resource that was made, changed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Resource {
    pub resource: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub action: String,
    pub milliseconds: u64,
}

/// What has been read so far.
pub(super) struct Events {
    file: PathBuf,
    at: u64,
    rest: Vec<u8>,
    /// When the work on a resource began, in milliseconds.
    begun: BTreeMap<String, i64>,
    resources: Vec<Resource>,
    first_error: Option<String>,
}

impl Events {
    /// Those from a byte of a file on, which need not be there yet.
    pub(super) fn since(file: &Path, at: u64) -> Self {
        Self {
            file: file.to_owned(),
            at,
            rest: Vec::new(),
            begun: BTreeMap::new(),
            resources: Vec::new(),
            first_error: None,
        }
    }

    /// What has come since the last call, in words.
    pub(super) fn read(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        let Ok(mut file) = File::open(&self.file) else { return words };
        if file.seek(SeekFrom::Start(self.at)).is_err() {
            return words;
        }
        loop {
            let before = self.rest.len();
            // What cannot be read now is read the next time.
            let read = file.by_ref().take(MOST).read_to_end(&mut self.rest).unwrap_or(0);
            self.at += (self.rest.len() - before) as u64;
            if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
                let later = self.rest.split_off(end + 1);
                let lines = std::mem::replace(&mut self.rest, later);
                for line in lines.split(|byte| *byte == b'\n') {
                    if let Ok(event) = serde_json::from_slice::<Value>(line) {
                        words.extend(self.take(&event));
                    }
                }
            } else if self.rest.len() as u64 > MOST {
                self.rest.clear();
            }
            if (read as u64) < MOST {
                return words;
            }
        }
    }

    /// The resources in the order in which they were done.
    pub(super) fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// The first error, with its place.
    pub(super) fn first_error(&self) -> Option<String> {
        self.first_error.clone()
    }

    fn take(&mut self, event: &Value) -> Option<String> {
        let kind = event["type"].as_str().unwrap_or_default();
        if kind == "diagnostic" {
            if event["diagnostic"]["severity"] == "error" && self.first_error.is_none() {
                self.first_error = Some(cause(&event["diagnostic"]));
            }
            return None;
        }
        let hook = &event["hook"];
        let address = hook["resource"]["addr"].as_str()?.to_owned();
        let now = event["@timestamp"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let now = now.map(jiff::Timestamp::as_millisecond);
        let action = hook["action"].as_str().unwrap_or_default();
        let (doing, done) = match action {
            "create" => ("is being created", "created"),
            "update" => ("is being updated", "updated"),
            "delete" => ("is being destroyed", "destroyed"),
            _ => return None,
        };
        match kind {
            "apply_start" => {
                if let Some(now) = now {
                    self.begun.insert(address.clone(), now);
                }
                Some(format!("{address} {doing}"))
            }
            "apply_complete" | "apply_errored" => {
                let begun = self.begun.remove(&address);
                let whole = hook["elapsed_seconds"].as_u64().unwrap_or(0) * 1000;
                let took = begun.zip(now).and_then(|(begun, now)| u64::try_from(now - begun).ok());
                let milliseconds = took.unwrap_or(whole);
                if kind == "apply_complete" && self.resources.len() < MOST_RESOURCES {
                    self.resources.push(Resource {
                        resource: address.clone(),
                        kind: hook["resource"]["resource_type"].as_str().unwrap_or_default().to_owned(),
                        action: action.to_owned(),
                        milliseconds,
                    });
                }
                let done = if kind == "apply_complete" { done } else { "failed" };
                Some(format!("{address} {done} after {:.1} s", milliseconds as f64 / 1000.0))
            }
            _ => None,
        }
    }
}

/// A diagnostic in one line: resource, place, and the program's words.
fn cause(diagnostic: &Value) -> String {
    let text =
        |value: &Value| value.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let address = text(&diagnostic["address"]);
    let file = text(&diagnostic["range"]["filename"]);
    let place = match (file.as_str(), diagnostic["range"]["start"]["line"].as_u64()) {
        ("", _) => String::new(),
        (file, Some(line)) => format!("{file}, line {line}"),
        (file, None) => file.to_owned(),
    };
    let whose = match (address.as_str(), place.as_str()) {
        ("", "") => String::new(),
        ("", place) => format!("{place}: "),
        (address, "") => format!("`{address}`: "),
        (address, place) => format!("`{address}` ({place}): "),
    };
    let said = [text(&diagnostic["summary"]), text(&diagnostic["detail"])];
    let said: Vec<&str> = said.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    cut(&format!("{whose}{}", said.join(": ")))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The first error in what was printed when the program was made ready: the paragraph that begins so, and the next.
pub(super) fn of_init(file: &Path) -> Option<String> {
    let text = std::fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&text);
    let plain: Vec<&str> =
        text.lines().map(|line| line.trim_start_matches(['│', '╷', '╵', ' ']).trim()).collect();
    let start = plain.iter().position(|line| line.starts_with("Error: "))?;
    let mut paragraphs = plain[start..].split(|line| line.is_empty()).filter(|lines| !lines.is_empty());
    let first = paragraphs.next()?.join(" ");
    let second = paragraphs.next().map(|lines| format!(": {}", lines.join(" "))).unwrap_or_default();
    Some(cut(&format!("{}{second}", first.trim_start_matches("Error: "))))
}

/// A resource that was begun to be made, and of which no end was said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Begun {
    pub address: String,
    /// It takes the place of another of the same address.
    pub replaces: bool,
}

/// What has become of the resources that were begun to be made.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    /// Those without an end. A program that ended by itself has written down what it has made.
    pub never_ended: Vec<Begun>,
    /// Whether any was finished.
    pub any: bool,
}

pub(super) fn made(file: &Path) -> Made {
    let Ok(text) = std::fs::read(file) else { return Made::default() };
    let mut open: BTreeSet<String> = BTreeSet::new();
    let mut replaced: BTreeSet<String> = BTreeSet::new();
    let mut any = false;
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(event) = serde_json::from_slice::<Value>(line) else { continue };
        let address = || event["hook"]["resource"]["addr"].as_str().map(str::to_owned);
        match event["type"].as_str() {
            Some("ended") => {
                open.clear();
                replaced.clear();
            }
            Some("planned_change") if event["change"]["action"] == "replace" => {
                replaced.extend(event["change"]["resource"]["addr"].as_str().map(str::to_owned));
            }
            Some("apply_start") if event["hook"]["action"] == "create" => {
                open.extend(address());
            }
            Some(kind @ ("apply_complete" | "apply_errored")) if event["hook"]["action"] != "delete" => {
                address().map(|it| open.remove(&it));
                any |= kind == "apply_complete" && event["hook"]["action"] == "create";
            }
            _ => {}
        }
    }
    let begun = open.into_iter().map(|address| Begun { replaces: replaced.contains(&address), address });
    Made { never_ended: begun.collect(), any }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"@level":"info","@message":"Terraform 1.11.4","@timestamp":"2026-11-30T22:13:36.937428Z","type":"version"}
{"@timestamp":"2026-11-30T22:13:36.945938Z","hook":{"resource":{"addr":"a.x","resource_type":"a"},"action":"create"},"type":"apply_start"}
{"@timestamp":"2026-11-30T22:13:37.955114Z","hook":{"resource":{"addr":"a.x","resource_type":"a"},"action":"create","elapsed_seconds":1},"type":"apply_complete"}
{"@timestamp":"2026-11-30T22:13:38.000000Z","hook":{"resource":{"addr":"a.y","resource_type":"a"},"action":"create","elapsed_seconds":2},"type":"apply_errored"}
{"type":"diagnostic","diagnostic":{"severity":"warning","summary":"Deprecated"}}
{"type":"diagnostic","diagnostic":{"severity":"error","summary":"it  failed","detail":"exit\n 3","address":"a.y","range":{"filename":"main.tf","start":{"line":7}}}}
{"type":"diagnostic","diagnostic":{"severity":"error","summary":"execution halted"}}
not json
"#;

    #[test]
    fn events_are_read_as_they_come_and_say_how_long_each_resource_took() {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("events");
        let mut events = Events::since(&file, 0);
        assert_eq!(events.read(), Vec::<String>::new());
        let mut said = Vec::new();
        // In pieces that end anywhere.
        for end in [10, 200, 300, LINES.len() - 20, LINES.len()] {
            std::fs::write(&file, &LINES[..end]).unwrap();
            said.extend(events.read());
        }
        assert_eq!(said, ["a.x is being created", "a.x created after 1.0 s", "a.y failed after 2.0 s"]);
        let expected = Resource {
            resource: "a.x".to_owned(),
            kind: "a".to_owned(),
            action: "create".to_owned(),
            milliseconds: 1010,
        };
        assert_eq!(events.resources(), [expected]);
        assert_eq!(events.first_error().unwrap(), "`a.y` (main.tf, line 7): it failed: exit 3");
        assert_eq!(made(&file), Made { never_ended: vec![], any: true });
        let mut later = Events::since(&file, LINES.len() as u64);
        assert_eq!((later.read().len(), later.first_error()), (0, None));
    }

    #[test]
    fn a_program_that_could_not_be_made_ready_says_why() {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join("init");
        let text = "Initializing provider plugins...\n\n╷\n│ Error: Failed to query available provider packages\n│ \n│ Could not retrieve the list of\n\
                    │ available versions: no route\n╵\n";
        std::fs::write(&file, text).unwrap();
        assert_eq!(
            of_init(&file).unwrap(),
            "Failed to query available provider packages: Could not retrieve the list of available versions: no route"
        );
        std::fs::write(&file, "all is well\n").unwrap();
        assert_eq!(of_init(&file), None);
        assert_eq!(of_init(&work.path().join("none")), None);
    }
}
