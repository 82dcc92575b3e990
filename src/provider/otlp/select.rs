//! The traces of an invocation out of a file of spans, which may still grow.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::super::app_insights::operation_id;
use super::super::collect::FetchProgress;
use super::super::retrieval::{Retrieval, replace};

/// SDKs export every 5 s: a file that has not grown for longer has all that was recorded.
const QUIET: Duration = Duration::from_secs(6);
const POLL: Duration = Duration::from_millis(250);

#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    #[error("there are no spans in `{}`: {source} (does the application export to it?)", path.display())]
    Spans { path: PathBuf, source: io::Error },
    #[error("the traces cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// Writes the traces with these ids out of `spans` to `out`, one per line, by id, all or nothing, with a report beside
/// them. Waits until the file has not grown for a while (at most until `deadline` has passed).
///
/// # Errors
/// The file of spans cannot be read, or `out` not be written.
pub async fn select_traces(
    spans: &Path,
    trace_ids: &[String],
    deadline: Duration,
    out: &Path,
    progress: &(dyn Fn(FetchProgress) + Send + Sync),
) -> Result<Retrieval, SelectError> {
    let until = Instant::now() + deadline;
    let wanted: HashSet<String> = trace_ids.iter().map(|id| operation_id(id)).collect();
    progress(FetchProgress { expected: wanted.len(), complete: 0, rounds: 0 });
    let mut growth = Growth::of(spans);
    while Instant::now() < until && !growth.has_stopped(spans) {
        tokio::time::sleep(POLL).await;
    }
    std::fs::metadata(spans).map_err(|source| SelectError::Spans { path: spans.to_owned(), source })?;
    let (spans, out) = (spans.to_owned(), out.to_owned());
    let report = tokio::task::spawn_blocking(move || write(&spans, &wanted, &out)).await;
    let report = report.map_err(io::Error::other)??;
    let complete = report.found - report.incomplete.len();
    progress(FetchProgress { expected: report.expected, complete, rounds: 1 });
    Ok(report)
}

/// Whether a file grows, by a clock that nobody sets. Only what was before the first look is told by times of day.
struct Growth {
    length: Option<u64>,
    last: Instant,
}

impl Growth {
    fn of(file: &Path) -> Self {
        let found = std::fs::metadata(file).ok();
        let changed = found.as_ref().and_then(|found| found.modified().ok());
        // A file of the future has just been written, as far as anybody knows.
        let age = changed.and_then(|changed| SystemTime::now().duration_since(changed).ok());
        let now = Instant::now();
        let last = age.and_then(|age| now.checked_sub(age)).unwrap_or(now);
        Self { length: found.map(|found| found.len()), last }
    }

    fn has_stopped(&mut self, file: &Path) -> bool {
        let length = std::fs::metadata(file).ok().map(|found| found.len());
        if length != self.length {
            *self = Self { length, last: Instant::now() };
        }
        length.is_some() && self.last.elapsed() > QUIET
    }
}

fn write(spans: &Path, wanted: &HashSet<String>, out: &Path) -> io::Result<Retrieval> {
    let mut report =
        Retrieval { version: 1, source: "otlp".to_owned(), expected: wanted.len(), ..Retrieval::default() };
    let mut found = HashSet::new();
    let folder = out.parent().unwrap_or(Path::new(""));
    replace(out, |file| {
        sb_analysis::select_traces(spans, wanted, folder, &mut |trace| {
            file.write_all(trace.text.as_bytes())?;
            file.write_all(b"\n")?;
            report.incomplete.extend(trace.defect.map(|defect| (trace.id.clone(), defect)));
            found.insert(trace.id);
            Ok(())
        })
    })?;
    report.found = found.len();
    let missing = wanted.iter().filter(|id| !found.contains(*id));
    let why = "no span of it has arrived: the application does not record it, or does not export it here";
    report.missing = missing.map(|id| (id.clone(), why.to_owned())).collect::<BTreeMap<_, _>>();
    report.write(out)?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_grows_until_it_has_not_for_a_while_whatever_the_time_of_day_says() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = |at: SystemTime| file.as_file().set_modified(at).unwrap();
        written(SystemTime::now() - Duration::from_hours(1));
        let mut growth = Growth::of(file.path());
        assert!(growth.has_stopped(file.path()));
        std::fs::write(file.path(), "more").unwrap();
        assert!(!growth.has_stopped(file.path()), "it has just grown");
        written(SystemTime::now() + Duration::from_hours(1));
        assert!(!Growth::of(file.path()).has_stopped(file.path()), "the clock was set back");
        let nothing = file.path().with_extension("none");
        assert!(!Growth::of(&nothing).has_stopped(&nothing));
    }
}
