//! The traces of an invocation: a list, and one of them as an image.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use sb_analysis::{
    Analysis, Invalid, Method, Recorded, Rejected, Requests, TRACE_FILES, Trace, Waterfall, for_each_trace,
    microseconds,
};

/// Traces in each list.
const LISTED: usize = 15;
/// Traces that are looked at for a list; a file may have millions.
const LOOKED_AT: usize = 20_000;

/// Reads one file at a time, and the same file once.
#[derive(Default)]
pub(super) struct Traces {
    last: Arc<Mutex<Option<(TraceKey, Value)>>>,
}

/// A file as it was.
#[derive(Clone, PartialEq)]
struct TraceKey {
    path: PathBuf,
    length: u64,
    changed: Option<SystemTime>,
}

struct TraceLine {
    id: String,
    /// Microseconds.
    duration: Option<i64>,
    shown: Value,
}

impl Traces {
    /// The slowest and the last traces in the folder of an invocation; of none, empty lists.
    pub(super) async fn list(&self, folder: PathBuf) -> io::Result<Value> {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        blocking(move || {
            let Some(path) = file_in(&folder) else { return Ok(lists(Vec::new(), Vec::new(), 0, false)) };
            let data = fs::metadata(&path)?;
            let key = TraceKey { length: data.len(), changed: data.modified().ok(), path };
            if let Some((known, value)) = &*last
                && *known == key
            {
                return Ok(value.clone());
            }
            let value = read(&key.path)?;
            *last = Some((key, value.clone()));
            Ok(value)
        })
        .await
    }

    /// A trace as SVG.
    pub(super) async fn waterfall(&self, folder: PathBuf, id: String) -> io::Result<Option<String>> {
        // One at a time, as for lists.
        let turn = Arc::clone(&self.last).lock_owned().await;
        blocking(move || {
            let _turn = turn;
            let Some(path) = file_in(&folder).filter(|_| !id.is_empty()) else { return Ok(None) };
            let mut image = None;
            for_each_trace(&path, &id, |recorded| {
                let recorded = recorded.ok().filter(|recorded| recorded.id == *id);
                let goes_on = recorded.is_none();
                image = recorded.and_then(draw);
                goes_on
            })?;
            Ok(image)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn file_in(folder: &Path) -> Option<PathBuf> {
    TRACE_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

fn read(path: &Path) -> io::Result<Value> {
    let requests = Requests::beside(path)?;
    let mut slowest: Vec<TraceLine> = Vec::new();
    let mut last: Vec<Value> = Vec::new();
    let mut count = 0;
    let mut more = false;
    for_each_trace(path, "", |recorded| {
        if count == LOOKED_AT {
            more = true;
            return false;
        }
        count += 1;
        let line = describe(recorded, &requests);
        last.push(line.shown.clone());
        if last.len() >= 2 * LISTED {
            last.drain(..LISTED);
        }
        slowest.push(line);
        if slowest.len() >= 10 * LISTED {
            keep_slowest(&mut slowest);
        }
        true
    })?;
    keep_slowest(&mut slowest);
    last.drain(..last.len().saturating_sub(LISTED));
    last.reverse();
    Ok(lists(slowest.into_iter().map(|line| line.shown).collect(), last, count, more))
}

fn lists(slowest: Vec<Value>, last: Vec<Value>, count: usize, more: bool) -> Value {
    json!({ "version": 1, "count": count, "more": more, "slowest": slowest, "last": last })
}

/// The id decides between equal durations.
fn keep_slowest(lines: &mut Vec<TraceLine>) {
    lines.sort_by(|left, right| right.duration.cmp(&left.duration).then_with(|| left.id.cmp(&right.id)));
    lines.truncate(LISTED);
}

fn describe(recorded: Result<Recorded<'_>, Rejected>, requests: &Requests) -> TraceLine {
    let look = |trace: &Trace<'_>, analysis: Result<Analysis, Invalid>| {
        let (cold_starts, reason) = match analysis {
            Ok(analysis) => (Some(analysis.row.num_cold_starts), None),
            Err(reason) => (None, Some(reason.code().to_owned())),
        };
        (
            trace.id.to_string(),
            Some(microseconds(trace.duration)),
            cold_starts,
            requests.failed(trace),
            reason,
        )
    };
    let seen = recorded.and_then(|recorded| Method::default().inspect(recorded, look));
    let (id, duration, cold_starts, failed, reason) = seen.unwrap_or_else(|rejected| {
        let reason = rejected.reason.code().to_owned();
        (rejected.id.unwrap_or_default(), None, None, false, Some(reason))
    });
    let shown = json!({
        "id": id, "duration_us": duration, "request": requests.get(&id), "cold_starts": cold_starts,
        "failed": failed, "reason": reason,
    });
    TraceLine { id, duration, shown }
}

fn draw(recorded: Recorded<'_>) -> Option<String> {
    let waterfall =
        Method::default().inspect(recorded, |trace, analysis| Waterfall::new(trace, &analysis)).ok()?;
    let mut image = String::new();
    waterfall.to_svg(&mut image).ok()?;
    Some(image)
}
