//! What retrieving traces has in common, wherever they are kept. A durable file holds what was fetched, so that a
//! killed retrieval continues where it was. A report says what was expected and found.

use crate::printable::counted;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use sb_durable::{Options, Replacement};
use serde::{Deserialize, Serialize};

/// The report, beside the traces.
pub const RETRIEVAL_FILE: &str = "trace_retrieval.json";

/// What was expected and what was found of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retrieval {
    pub version: u32,
    /// Where the traces were kept: `xray`, `transaction_search`, `local`, `app_insights`, `google`, `otlp`.
    pub source: String,
    /// Different trace ids asked for.
    pub expected: usize,
    /// Of those expected, known by the time when they began alone: invocations were sent without an id.
    #[serde(default)]
    pub by_time: usize,
    /// Of those expected, found by links to the others.
    #[serde(default)]
    pub linked: usize,
    /// Traces written, incomplete ones among them.
    pub found: usize,
    /// Written, but not complete when the deadline came; and why.
    pub incomplete: BTreeMap<String, String>,
    /// Not written; and why.
    pub missing: BTreeMap<String, String>,
    /// Of those found, fetched before an interruption.
    pub resumed: usize,
    pub requests: u64,
    /// Requests that were answered by being throttled.
    pub throttled: u64,
}

impl Retrieval {
    /// What people should know: nothing where all is there.
    pub fn shortfall(&self) -> Option<String> {
        if self.incomplete.is_empty() && self.missing.is_empty() {
            return None;
        }
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in self.incomplete.values().chain(self.missing.values()) {
            *reasons.entry(reason).or_default() += 1;
        }
        let reasons: Vec<_> = reasons.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
        Some(format!(
            "{} of {} found, {} of them incomplete, {} missing: {}",
            self.found,
            counted(self.expected, "trace"),
            self.incomplete.len(),
            self.missing.len(),
            reasons.join(", ")
        ))
    }

    /// Writes the report beside the traces.
    pub fn write(&self, traces: &Path) -> io::Result<()> {
        let target = traces.with_file_name(RETRIEVAL_FILE);
        replace(&target, |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            file.write_all(b"\n")
        })
    }

    /// The report beside the traces, where there is one.
    pub fn read(traces: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(traces.with_file_name(RETRIEVAL_FILE)).ok()?).ok()
    }
}

/// How long what was fetched may wait for the disk: a machine that stops loses no more. A process that ends loses nothing.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Where a trace lies in the file, its text only.
#[derive(Clone, Copy, Debug)]
struct Stored {
    at: u64,
    length: usize,
    is_complete: bool,
}

/// What has been fetched, in a file beside the traces to which lines are only added: `+ID {…}`, or `-ID {…}` where the
/// trace is not complete. Only where each lies is held in memory. A line that was cut off is as if never written.
pub struct Partial {
    path: PathBuf,
    out: PathBuf,
    file: File,
    end: u64,
    stored: BTreeMap<String, Stored>,
    synced: Instant,
}

impl Partial {
    /// Opens what an earlier retrieval into `out` has left, or starts anew.
    pub fn open(out: &Path) -> io::Result<Self> {
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let path = out.with_file_name(name);
        let mut file =
            // A step may have put a link there, which is not followed.
            sb_durable::private()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)?;
        let mut stored = BTreeMap::new();
        let mut end = 0;
        let mut line = Vec::new();
        let mut reader = BufReader::new(&file);
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            let Some((id, found)) = read_line(&line, end) else { break };
            stored.insert(id, found);
            end += length as u64;
        }
        file.set_len(end)?;
        file.seek(SeekFrom::Start(end))?;
        Ok(Self { path, out: out.to_owned(), file, end, stored, synced: Instant::now() })
    }

    pub fn is_complete(&self, id: &str) -> bool {
        self.stored.get(id).is_some_and(|stored| stored.is_complete)
    }

    pub fn contains(&self, id: &str) -> bool {
        self.stored.contains_key(id)
    }

    /// Stores a trace, whose text is one line, in the place of an earlier version.
    pub fn put(&mut self, id: &str, is_complete: bool, text: &[u8]) -> io::Result<()> {
        if let Some(known) = self.stored.get(id)
            && known.length == text.len()
            && known.is_complete == is_complete
            && self.text(*known)? == text
        {
            return Ok(());
        }
        let sign: &[u8] = if is_complete { b"+" } else { b"-" };
        let line = [sign, id.as_bytes(), b" ", text, b"\n"].concat();
        self.file.write_all(&line)?;
        let at = self.end + 2 + id.len() as u64;
        self.stored.insert(id.to_owned(), Stored { at, length: text.len(), is_complete });
        self.end += line.len() as u64;
        if self.synced.elapsed() > SYNC_EVERY {
            self.file.sync_data()?;
            self.synced = Instant::now();
        }
        Ok(())
    }

    /// The ids of what is stored.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.stored.keys().map(String::as_str)
    }

    /// A trace as it was stored; empty where it is not.
    pub(super) fn read(&self, id: &str) -> io::Result<Vec<u8>> {
        self.stored.get(id).map_or(Ok(Vec::new()), |&stored| self.text(stored))
    }

    fn text(&self, stored: Stored) -> io::Result<Vec<u8>> {
        let mut text = vec![0; stored.length];
        self.file.read_exact_at(&mut text, stored.at)?;
        Ok(text)
    }

    /// Writes the traces that are `wanted`, one a line, sorted by id, all or nothing; then there is no partial file.
    /// Returns how many there are.
    pub fn finish(self, wanted: &dyn Fn(&str) -> bool) -> io::Result<usize> {
        let mut count = 0;
        replace(&self.out, |file| {
            for (_, &stored) in self.stored.iter().filter(|(id, _)| wanted(id)) {
                file.write_all(&self.text(stored)?)?;
                file.write_all(b"\n")?;
                count += 1;
            }
            Ok(())
        })?;
        fs::remove_file(&self.path)?;
        Ok(count)
    }
}

/// The trace of a whole line that starts at `from`.
fn read_line(line: &[u8], from: u64) -> Option<(String, Stored)> {
    let (&sign, rest) = line.strip_suffix(b"\n")?.split_first()?;
    let is_complete = match sign {
        b'+' => true,
        b'-' => false,
        _ => return None,
    };
    let space = rest.iter().position(|&byte| byte == b' ')?;
    let (id, text) = (std::str::from_utf8(&rest[..space]).ok()?, &rest[space + 1..]);
    // What a machine that stopped has left may be zeros.
    let is_object = text.starts_with(b"{") && text.ends_with(b"}");
    let stored = Stored { at: from + 2 + space as u64, length: text.len(), is_complete };
    is_object.then(|| (id.to_owned(), stored))
}

/// Writes a file so that readers see all of it or what was there before, whatever happens.
pub(super) fn replace(
    target: &Path,
    write: impl FnOnce(&mut BufWriter<&Replacement>) -> io::Result<()>,
) -> io::Result<()> {
    // Who asks for it says which file it is.
    sb_durable::write_with(target, Options::new(), write).map_err(|error| error.source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_found_again_wherever_the_file_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("traces.json");
        let mut partial = Partial::open(&out).unwrap();
        let texts = [("b", false, "{\"b\":1}"), ("a", true, "{\"a\":2}"), ("b", true, "{\"b\":\"longer\"}")];
        for (id, is_complete, text) in texts {
            partial.put(id, is_complete, text.as_bytes()).unwrap();
        }
        drop(partial);
        let file = folder.path().join("traces.json.partial");
        let whole = fs::read(&file).unwrap();
        for length in 0..=whole.len() {
            fs::write(&file, &whole[..length]).unwrap();
            let mut partial = Partial::open(&out).unwrap();
            let lines = whole[..length].split(|&byte| byte == b'\n').count() - 1;
            assert_eq!(partial.contains("b"), lines >= 1, "{length}");
            assert_eq!((partial.is_complete("a"), partial.is_complete("b")), (lines >= 2, lines >= 3));
            partial.put("c", true, b"{}").unwrap();
            assert_eq!(partial.finish(&|id| id != "c").unwrap(), lines.min(2));
            let expected = ["", "{\"b\":1}\n", "{\"a\":2}\n{\"b\":1}\n", "{\"a\":2}\n{\"b\":\"longer\"}\n"];
            assert_eq!(fs::read_to_string(&out).unwrap(), expected[lines]);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
        fs::write(&file, [&whole[..], &[0; 100], b"\n+z {}\n"].concat()).unwrap();
        assert!(!Partial::open(&out).unwrap().contains("z"), "nothing behind what was lost counts");
        assert_eq!(fs::metadata(&file).unwrap().len(), whole.len() as u64);
    }

    #[test]
    fn the_same_incomplete_trace_is_stored_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut partial = Partial::open(&folder.path().join("traces.json")).unwrap();
        for _ in 0..5 {
            partial.put("a", false, b"{}").unwrap();
        }
        assert_eq!(fs::read_to_string(folder.path().join("traces.json.partial")).unwrap(), "-a {}\n");

        // A step has put a link there.
        let (linked, target) = (folder.path().join("linked.json"), folder.path().join("of-the-host"));
        fs::write(&target, "text").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join("linked.json.partial")).unwrap();
        assert!(Partial::open(&linked).is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "text");
    }

    #[test]
    fn a_shortfall_is_told_with_its_reasons() {
        let reasons =
            |ids: &[&str], reason: &str| ids.iter().map(|&id| (id.to_owned(), reason.to_owned())).collect();
        let mut report = Retrieval { expected: 5, found: 5, ..Retrieval::default() };
        assert_eq!(report.shortfall(), None);
        report.found = 3;
        report.missing = reasons(&["a", "b"], "unknown");
        report.incomplete = reasons(&["c"], "a span is in progress");
        assert_eq!(
            report.shortfall().unwrap(),
            "3 of 5 traces found, 1 of them incomplete, 2 missing: 1 × a span is in progress, 2 × unknown"
        );
    }
}
