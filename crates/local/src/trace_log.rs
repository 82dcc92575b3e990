//! The file of traces in the state folder: what is recorded is appended at once, so that it outlives a runtime that is killed.
//!
//! There is one document of X-Ray per line, first as it was when its segment began (`in_progress`). Between them is a
//! line for each start and stop of a runtime. Two files take turns, so that together they stay below the limit. When
//! the newer is full, the older is removed on a thread of its own. A file system can need a second to give up so many
//! blocks, and recording waits for the file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use sb_daemon::Journal;

const NEWER: &str = "traces.jsonl";
const OLDER: &str = "traces.1.jsonl";
/// Being removed.
const OLDEST: &str = "traces.2.jsonl";

pub(super) struct TraceLog {
    state_dir: PathBuf,
    /// Of one file, in bytes.
    limit: u64,
    file: Mutex<Open>,
    journal: Journal,
}

struct Open {
    /// None: the last write failed, and none is tried again.
    file: Option<File>,
    bytes: u64,
}

/// What earlier runtimes of the same deployment left.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Left {
    pub documents: Vec<Value>,
    /// Set when the runtime before did not stop, but was ended: what it had begun and not finished, by function.
    pub lost: Option<Lost>,
    /// Lines that were no documents: a torn one at the end, after a crash.
    pub unreadable: usize,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub process: u32,
    /// Invocations whose caller waited, by function.
    pub requests: BTreeMap<String, usize>,
    /// Asynchronous events that had been accepted, by function.
    pub events: BTreeMap<String, usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mark {
    Started(u32),
    Stopped(u32),
}

impl TraceLog {
    /// Reads what is there, and goes on at its end. `limit` holds for both files together, in bytes.
    pub(crate) fn open(state_dir: &Path, limit: u64, journal: &Journal) -> io::Result<(Self, Left)> {
        let left = read(state_dir)?;
        let _ = fs::remove_file(state_dir.join(OLDEST));
        let mut file =
            sb_durable::private().create(true).read(true).append(true).open(state_dir.join(NEWER))?;
        let mut bytes = file.metadata()?.len();
        if bytes > 0 {
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                // A torn line must not take the next one along.
                file.write_all(b"\n")?;
                bytes += 1;
            }
        }
        let open = Mutex::new(Open { file: Some(file), bytes });
        let log =
            Self { state_dir: state_dir.to_owned(), limit: limit / 2, file: open, journal: journal.clone() };
        log.mark(&Mark::Started(std::process::id()));
        Ok((log, left))
    }

    /// Appends a document. A full disk must not stop the runtime: the journal tells it, and from then on nothing is kept.
    pub(crate) fn append(&self, document: &str) {
        let line = format!("{document}\n");
        let mut open = self.file.lock();
        if open.file.is_none() {
            return;
        }
        if let Err(error) = self.write(&mut open, line.as_bytes()) {
            open.file = None;
            self.journal.note(&format!(
                "cannot write `{}`: {error}; traces from now on are in memory alone, and lost if the local target is killed",
                self.state_dir.join(NEWER).display()
            ));
        }
    }

    fn write(&self, open: &mut Open, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if open.bytes + length > self.limit && open.bytes > 0 {
            *open = Open { file: Some(self.turn()?), bytes: 0 };
        }
        if let Some(file) = &mut open.file {
            file.write_all(line)?;
        }
        open.bytes += length;
        Ok(())
    }

    /// From now on nothing counts as lost.
    pub(crate) fn stopped(&self) {
        self.mark(&Mark::Stopped(std::process::id()));
    }

    fn mark(&self, mark: &Mark) {
        if let Ok(line) = serde_json::to_string(mark) {
            self.append(&line);
        }
    }

    fn turn(&self) -> io::Result<File> {
        let [newer, older, oldest] = [NEWER, OLDER, OLDEST].map(|name| self.state_dir.join(name));
        match fs::rename(&older, &oldest) {
            Ok(()) => {
                let remover = thread::Builder::new().name("traces".to_owned());
                // Without a thread it stays until the next turn.
                let _ = remover.spawn(|| fs::remove_file(oldest));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        fs::rename(&newer, older)?;
        sb_durable::private().create(true).append(true).open(newer)
    }
}

/// Removes what was kept: another deployment begins, or this one was cleaned up.
pub(super) fn forget(state_dir: &Path) {
    for name in [OLDEST, OLDER, NEWER] {
        let _ = fs::remove_file(state_dir.join(name));
    }
}

pub(super) fn read(state_dir: &Path) -> io::Result<Left> {
    let mut left = Left::default();
    // By segment: function, and whether it is an event.
    let mut begun: BTreeMap<String, (String, bool)> = BTreeMap::new();
    let mut running = None;
    for name in [OLDER, NEWER] {
        let file = match File::open(state_dir.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).split(b'\n') {
            let line = line?;
            if line.is_empty() {
                continue;
            }
            let Ok(document) = serde_json::from_slice::<Value>(&line) else {
                left.unreadable += 1;
                continue;
            };
            if let Ok(mark) = Mark::deserialize(&document) {
                begun.clear();
                running = match mark {
                    Mark::Started(process) => Some(process),
                    Mark::Stopped(_) => None,
                };
                continue;
            }
            let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
            if text("origin") == "AWS::Lambda" {
                if document["in_progress"] == true {
                    begun.insert(
                        text("id"),
                        (text("name"), document.pointer("/http/response/status").is_some()),
                    );
                } else {
                    begun.remove(&text("id"));
                }
            }
            left.documents.push(document);
        }
    }
    left.lost = running.map(|process| {
        let mut lost = Lost { process, ..Lost::default() };
        for (function, is_event) in begun.into_values() {
            let counts = if is_event { &mut lost.events } else { &mut lost.requests };
            *counts.entry(function).or_default() += 1;
        }
        lost
    });
    Ok(left)
}

impl std::fmt::Display for Lost {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "the local target before this one (process {}) was ended without a stop; lost are ",
            self.process
        )?;
        let total = |counts: &BTreeMap<String, usize>| counts.values().sum::<usize>();
        write!(
            out,
            "what was under way: invocations that were running ({}), asynchronous events that had been accepted ({})",
            total(&self.requests),
            total(&self.events)
        )?;
        for (function, count) in &self.requests {
            write!(out, "; {function}: {count} running")?;
        }
        for (function, count) in &self.events {
            write!(out, "; {function}: {count} accepted")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn segment(id: &str, in_progress: bool) -> Value {
        let mut segment = json!({ "id": id, "name": "f", "origin": "AWS::Lambda" });
        if in_progress {
            segment["in_progress"] = json!(true);
        }
        segment
    }

    fn open(folder: &Path, limit: u64) -> (TraceLog, Left) {
        let journal = Journal::open(&folder.join("runtime.log")).unwrap();
        TraceLog::open(folder, limit, &journal).unwrap()
    }

    fn ids(left: &Left) -> Vec<&str> {
        left.documents.iter().filter_map(|document| document["id"].as_str()).collect()
    }

    #[test]
    fn what_was_begun_and_not_finished_is_lost_once() {
        let folder = tempfile::tempdir().unwrap();
        let (log, left) = open(folder.path(), 1 << 20);
        assert_eq!(left, Left::default());
        let mut event = segment("c", true);
        event["http"] = json!({ "response": { "status": 202 } });
        for document in [segment("a", true), segment("b", true), event, segment("a", false)] {
            log.append(&document.to_string());
        }
        drop(log);
        let (log, left) = open(folder.path(), 1 << 20);
        assert_eq!(ids(&left), ["a", "b", "c", "a"]);
        let lost = left.lost.unwrap();
        let one = BTreeMap::from([("f".to_owned(), 1)]);
        assert_eq!((&lost.requests, &lost.events), (&one, &one));
        // That runtime stops: what it had begun is told by its own log.
        log.append(&segment("d", true).to_string());
        log.stopped();
        drop(log);
        assert_eq!(open(folder.path(), 1 << 20).1.lost, None);
    }

    #[test]
    fn a_torn_line_takes_nothing_else_along() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = open(folder.path(), 1 << 20);
        log.append(&segment("a", false).to_string());
        drop(log);
        let path = folder.path().join(NEWER);
        let mut text = fs::read_to_string(&path).unwrap();
        text += "{\"id\": \"torn";
        fs::write(&path, text).unwrap();
        let (log, left) = open(folder.path(), 1 << 20);
        assert_eq!((ids(&left), left.unreadable), (vec!["a"], 1));
        log.append(&segment("b", false).to_string());
        drop(log);
        assert_eq!(ids(&open(folder.path(), 1 << 20).1), ["a", "b"]);
    }

    #[test]
    fn both_files_together_stay_below_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = open(folder.path(), 1000);
        let ids_written: Vec<String> = (0..100).map(|index| format!("{index:03}")).collect();
        for id in &ids_written {
            log.append(&segment(id, false).to_string());
        }
        drop(log);
        let size = |name| fs::metadata(folder.path().join(name)).unwrap().len();
        assert!(size(NEWER) + size(OLDER) <= 1000);
        let left = read(folder.path()).unwrap();
        let kept = ids(&left);
        assert!(kept.len() >= 8, "{kept:?}");
        assert_eq!(kept, &ids_written[100 - kept.len()..], "the latest");
        // A runtime that was killed may have left what it was removing.
        fs::write(folder.path().join(OLDEST), "{}").unwrap();
        drop(open(folder.path(), 1000));
        assert!(!folder.path().join(OLDEST).exists());
        forget(folder.path());
        assert_eq!(read(folder.path()).unwrap(), Left::default());
    }

    #[test]
    fn a_log_that_cannot_be_written_is_told_once_and_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = open(folder.path(), 1000);
        // The older file cannot make room for the newer one.
        fs::create_dir(folder.path().join(OLDEST)).unwrap();
        for index in 0..100 {
            log.append(&segment(&format!("{index:03}"), false).to_string());
        }
        let said = fs::read_to_string(folder.path().join("runtime.log")).unwrap();
        assert!(said.contains("traces.jsonl`") && said.contains("in memory alone"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
