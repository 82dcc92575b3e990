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
    while Instant::now() < until && !is_quiet(spans) {
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

fn is_quiet(spans: &Path) -> bool {
    let changed = std::fs::metadata(spans).and_then(|data| data.modified());
    // A clock that was set back makes no file grow.
    changed.is_ok_and(|changed| SystemTime::now().duration_since(changed).map_or(true, |age| age > QUIET))
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
