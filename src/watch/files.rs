//! What the folder of an attempt tells while it runs.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::printable::printable;
use sb_load::Progress;

/// Bytes at the end of a file in which its last lines are looked for.
const TAIL: u64 = 4096;
/// Bytes of a log that are read at once.
const AT_ONCE: u64 = 64 * 1024;

/// The latest complete line of a load's progress file.
pub(crate) fn load_progress(path: &Path) -> Option<Progress> {
    let text = tail(path, TAIL).ok()?;
    let whole = text.rfind('\n').map(|end| &text[..end])?;
    whole.lines().rev().find_map(|line| serde_json::from_str(line).ok())
}

/// What a load's progress file still holds of its course: a point a second, and the latest. The file is bounded.
pub(crate) fn load_course(path: &Path) -> Vec<Progress> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut course: Vec<Progress> = Vec::new();
    let mut latest = None;
    for point in text.lines().filter_map(|line| serde_json::from_str::<Progress>(line).ok()) {
        if course.last().is_none_or(|last| point.elapsed_s >= last.elapsed_s + 1.0) {
            course.push(point);
            latest = None;
        } else if course.last().is_some_and(|last| point.elapsed_s > last.elapsed_s) {
            latest = Some(point);
        }
    }
    course.extend(latest);
    course
}

/// The last line of a log that says something, without control characters.
pub(crate) fn last_line(path: &Path) -> Option<String> {
    let text = tail(path, TAIL).ok()?;
    let line = text.lines().rfind(|line| !line.trim().is_empty())?;
    Some(printable(line.trim()).into_owned())
}

/// At most the last `bytes` of a file; a first line that is cut is left out.
pub(crate) fn tail(path: &Path, bytes: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = length.saturating_sub(bytes);
    file.seek(SeekFrom::Start(from))?;
    let mut found = Vec::new();
    file.take(bytes).read_to_end(&mut found)?;
    let text = String::from_utf8_lossy(&found);
    let cut = if from == 0 { 0 } else { text.find('\n').map_or(0, |end| end + 1) };
    Ok(text[cut..].to_owned())
}

/// A log that is read as it grows.
#[derive(Debug)]
pub(crate) struct Growing {
    path: PathBuf,
    read: u64,
}

impl Growing {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// What has come since the last time, a bounded piece of it; empty when nothing has, or there is no file yet.
    /// `whole`: up to the end of the last line only, unless a line is longer than a piece.
    pub(crate) fn next(&mut self, whole: bool) -> io::Result<Vec<u8>> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        // Its beginning was given up: what is kept begins anew.
        if file.metadata()?.len() < self.read {
            self.read = 0;
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.take(AT_ONCE).read_to_end(&mut bytes)?;
        if whole && (bytes.len() as u64) < AT_ONCE {
            let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            bytes.truncate(end);
        }
        self.read += bytes.len() as u64;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_latest_complete_line_of_a_load_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.jsonl");
        assert_eq!(load_progress(&path), None);
        let line = |sent: u64| {
            format!(
                "{{\"planned\":9000,\"sent\":{sent},\"answered\":0,\"failed\":0,\"dropped\":0,\"in_flight\":0,\
                 \"p50_ms\":null,\"p95_ms\":null,\"p99_ms\":null,\"elapsed_s\":1.0,\"expected_s\":null}}\n"
            )
        };
        let lines: String = (0..500).map(line).collect();
        std::fs::write(&path, format!("{lines}{{\"planned\":1")).unwrap();
        assert_eq!(load_progress(&path).map(|progress| progress.sent), Some(499));
        assert_eq!(load_course(&path).len(), 1, "a point a second");
        std::fs::write(&path, "{\"planned\":1").unwrap();
        assert_eq!(load_progress(&path), None, "a line that is being written is no line");
    }

    #[test]
    fn the_last_line_of_a_log_cannot_touch_the_screen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "one\n\x1b[31mtwo\x1b[0m\tthree\x07\r\n  \n").unwrap();
        assert_eq!(last_line(&path).as_deref(), Some("two three"));
    }

    #[test]
    fn the_tail_of_a_long_file_begins_with_a_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let text: String = (0..1000).map(|number| format!("line {number}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        let tail = tail(&path, 100).unwrap();
        assert!(
            tail.starts_with("line 989\n") && tail.ends_with("line 999\n") && tail.len() <= 100,
            "{tail}"
        );
        assert_eq!(super::tail(&path, 1 << 20).unwrap(), text);
    }

    #[test]
    fn a_growing_log_is_read_once_and_in_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut growing = Growing::new(path.clone());
        assert!(growing.next(true).unwrap().is_empty());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(growing.next(true).unwrap(), b"one\n");
        assert_eq!(growing.next(true).unwrap(), b"");
        file.write_all(b"o\nthree").unwrap();
        assert_eq!(growing.next(true).unwrap(), b"two\n");
        assert_eq!(growing.next(false).unwrap(), b"three");
        let long = vec![b'x'; 3 * AT_ONCE as usize];
        file.write_all(&long).unwrap();
        assert_eq!(growing.next(true).unwrap().len() as u64, AT_ONCE, "a line without end is not held back");
    }
}
