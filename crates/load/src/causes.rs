//! Why requests failed, as far as logs of this machine say it: those of the functions on the local target.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use sb_measurement::{LoadSummary, Redactor};

/// What precedes the error in the line that the local target writes after each execution that failed.
const REPORTED: &str = "\tStatus: error\tError: ";

/// Of a log, what the load added to it is read up to this many bytes.
const MOST: u64 = 4 << 20;
/// Logs that a summary names.
const NAMED: usize = 3;
/// Letters of an error that a summary has.
const LONGEST: usize = 300;

/// The logs of a folder (`NAME.log`), as long as they were when a load or something else began that calls the functions.
#[derive(Debug)]
pub struct FunctionLogs {
    folder: PathBuf,
    before: BTreeMap<PathBuf, u64>,
}

impl FunctionLogs {
    /// Remembers how long the logs are now. A folder that is not there has none.
    pub fn new(folder: &Path) -> Self {
        let before =
            logs(folder).map(|path| (path.clone(), fs::metadata(path).map_or(0, |about| about.len())));
        Self { folder: folder.to_owned(), before: before.collect() }
    }

    /// Adds to a load in which requests failed what the logs say first of it.
    pub(super) fn explain(&self, summary: &mut LoadSummary, redactor: &Redactor) {
        if summary.failed == 0 {
            return;
        }
        let sentences = self.errors(redactor);
        // Beside what they explain.
        let place = if summary.invalid.is_empty() { &mut summary.notes } else { &mut summary.invalid };
        place.extend(sentences);
    }

    /// A sentence for each of the first logs that have got an error since: the first one, of at most 300 letters, without secrets.
    pub fn errors(&self, redactor: &Redactor) -> Vec<String> {
        let mut paths: Vec<PathBuf> = logs(&self.folder).collect();
        paths.sort();
        let found = paths.iter().filter_map(|path| {
            let from = self.before.get(path).copied().unwrap_or(0);
            let error = first_error(path, from).ok()??;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            Some(format!("The log of the function `{name}` says first: {}", redactor.text(&error)))
        });
        found.take(NAMED).collect()
    }
}

fn logs(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let items = fs::read_dir(folder).into_iter().flatten().flatten().map(|item| item.path());
    items.filter(|path| path.extension().is_some_and(|end| end == "log"))
}

/// What the target reports of the first execution that failed; else the first line that speaks of an error.
fn first_error(path: &Path, from: u64) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(error_in(&String::from_utf8_lossy(&bytes)))
}

fn error_in(text: &str) -> Option<String> {
    let reported = text.lines().find_map(|line| line.split_once(REPORTED).map(|(_, error)| error));
    let speaks = |line: &&str| {
        let line = line.to_ascii_lowercase();
        ["error", "exception", "panic", "malformed proxy response"].iter().any(|word| line.contains(word))
    };
    let line = reported.or_else(|| text.lines().find(speaks))?;
    Some(line.trim().chars().take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_of_a_log_is_what_the_target_reports_or_a_line_that_speaks_of_one() {
        let reported = "Traceback\n  a\nValueError: no\nREPORT RequestId: 1\tDuration: 2 ms\tStatus: error\tError: ValueError: no\n";
        assert_eq!(error_in(reported).as_deref(), Some("ValueError: no"));
        assert_eq!(
            error_in("fine\n[ERROR] the table is gone\nREPORT\n").as_deref(),
            Some("[ERROR] the table is gone")
        );
        assert_eq!(
            error_in("START\nmalformed proxy response: it is no object\nREPORT\n").as_deref(),
            Some("malformed proxy response: it is no object")
        );
        assert_eq!(error_in("fine\nREPORT\n"), None);
    }

    #[test]
    fn only_what_a_load_added_explains_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("app-F.log");
        fs::write(&log, "an old error\n").unwrap();
        let logs = FunctionLogs::new(folder.path());
        let said = || fs::read_to_string(&log).unwrap();
        let mut summary = crate::summary::tests::summary();
        logs.explain(&mut summary, &Redactor::new([""; 0]));
        assert_eq!(summary.notes, [""; 0]);
        fs::write(&log, said() + "error: key hunter2\n").unwrap();
        logs.explain(&mut summary, &Redactor::new(["hunter2"]));
        assert_eq!(summary.notes, ["The log of the function `app-F` says first: error: key ***"]);
        summary.invalid.push("11 failed.".to_owned());
        logs.explain(&mut summary, &Redactor::new([""; 0]));
        assert_eq!(summary.invalid.len(), 2, "beside what it explains");
        summary.failed = 0;
        logs.explain(&mut summary, &Redactor::new([""; 0]));
        assert_eq!(summary.invalid.len(), 2);
    }
}
