//! Server-sent events: all that is known first, then what has changed. A viewer that reads slowly gets fewer, newer
//! states, never a queue of old ones. One that comes back after its network was gone begins anew.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Response;
use hyper::StatusCode;
use hyper::body::{Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;

use super::http::{Answer, text};
use super::live::{Course, LOOK_AGAIN, Live, Snapshot};
use crate::printable::printable;
use crate::schedule::now_ms;
use crate::store::StoreError;
use sb_load::Progress;

/// Viewers at once.
const VIEWERS: usize = 32;
/// Something is sent at least this often, so that tunnels and browsers know that the line is alive.
const ALIVE: Duration = Duration::from_secs(15);
/// Milliseconds after which a browser comes back.
const RETRY: u32 = 2000;

pub(super) fn events(live: &Arc<Live>) -> Answer {
    let receiver = live.subscribe();
    if live.viewers() > VIEWERS {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many viewers: close another window\n");
    }
    let viewer = Viewer { receiver, last: None };
    let watching = (viewer, Some(Arc::clone(live)));
    let body = StreamBody::new(stream::unfold(watching, |(mut viewer, mut live)| async move {
        let text = match viewer.next(live.as_ref()?).await {
            Ok(text) => text,
            // The last that is said; the browser comes back, and may find that it can be read again.
            Err(error) => {
                live = None;
                let problem = printable(&error.to_string()).into_owned();
                format!("retry: {RETRY}\nevent: problem\ndata: {}\n\n", json!(problem))
            }
        };
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), (viewer, live)))
    }));
    let mut answer = Response::new(BodyExt::boxed_unsync(body));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer
}

struct Viewer {
    receiver: Receiver<Arc<Snapshot>>,
    /// What this viewer knows.
    last: Option<Arc<Snapshot>>,
}

impl Viewer {
    /// Waits for something to say.
    async fn next(&mut self, live: &Live) -> Result<String, StoreError> {
        let since = Instant::now();
        loop {
            live.look_again().await?;
            if let Some(text) = self.news() {
                return Ok(text);
            }
            if since.elapsed() >= ALIVE {
                return Ok(": still here\n\n".to_owned());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// What this viewer does not know yet.
    fn news(&mut self) -> Option<String> {
        if self.last.is_some() && !self.receiver.has_changed().unwrap_or(false) {
            return None;
        }
        let now = Arc::clone(&self.receiver.borrow_and_update());
        let text = message(self.last.as_deref(), &now);
        self.last = Some(now);
        Some(text)
    }
}

/// From one state to another; from nothing, all of it.
fn message(before: Option<&Snapshot>, now: &Snapshot) -> String {
    let mut data = json!({ "now_ms": now_ms(), "about": now.about });
    match before {
        None => data["marks"] = Value::String(now.marks.iter().map(|&mark| char::from(mark)).collect()),
        Some(before) => {
            let pairs = before.marks.iter().zip(now.marks.iter()).enumerate();
            let changed: Vec<_> = pairs
                .filter(|(_, (old, new))| old != new)
                .map(|(index, (_, new))| json!([index, char::from(*new).to_string()]))
                .collect();
            data["changed"] = Value::Array(changed);
        }
    }
    data["loads"] = Value::Array(loads(before.map(|before| &*before.loads), &now.loads));
    let retry = if before.is_none() { format!("retry: {RETRY}\n") } else { String::new() };
    format!("{retry}id: {}\nevent: run\ndata: {data}\n\n", now.number)
}

/// Loads that went on, and nothing of those that are not shown any more; `from` says how many points the viewer has already, and 0 begins anew.
fn loads(before: Option<&BTreeMap<usize, Course>>, now: &BTreeMap<usize, Course>) -> Vec<Value> {
    let mut said = Vec::new();
    for (step, course) in now {
        let known = before.and_then(|before| before.get(step)).map_or(&[][..], |course| &course.points);
        if known == course.points {
            continue;
        }
        // Points have been thinned out, or another attempt began: all of it again.
        let from = if course.points.starts_with(known) { known.len() } else { 0 };
        let points: Vec<_> = course.points[from..].iter().map(point).collect();
        said.push(json!({ "step": step, "from": from, "points": points }));
    }
    said
}

pub(super) fn point(point: &Progress) -> Value {
    json!([
        point.elapsed_s,
        point.planned,
        point.sent,
        point.answered,
        point.failed,
        point.dropped,
        point.p50_ms,
        point.p95_ms,
        point.p99_ms,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(number: i64, marks: &str) -> Snapshot {
        Snapshot { number, marks: Arc::new(marks.as_bytes().to_vec()), ..Snapshot::default() }
    }

    fn data(message: &str) -> Value {
        let line = message.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn all_comes_first_then_what_has_changed() {
        let first = message(None, &snapshot(5, "swww"));
        assert!(first.starts_with("retry: 2000\nid: 5\nevent: run\ndata: {") && first.ends_with("}\n\n"));
        assert_eq!(data(&first)["marks"], "swww");
        let next = message(Some(&snapshot(5, "swww")), &snapshot(7, "ssrw"));
        assert!(next.starts_with("id: 7\n"), "{next}");
        assert_eq!(data(&next)["changed"], json!([[1, "s"], [2, "r"]]));
        assert!(data(&next).get("marks").is_none());
    }

    #[test]
    fn a_slow_viewer_gets_the_newest_state_and_no_queue() {
        let sender = tokio::sync::watch::Sender::new(Arc::new(snapshot(1, "ww")));
        let mut viewer = Viewer { receiver: sender.subscribe(), last: None };
        assert_eq!(data(&viewer.news().unwrap())["marks"], "ww");
        assert_eq!(viewer.news(), None);
        sender.send_replace(Arc::new(snapshot(2, "rw")));
        sender.send_replace(Arc::new(snapshot(3, "sw")));
        sender.send_replace(Arc::new(snapshot(4, "sr")));
        let text = viewer.news().unwrap();
        assert!(text.starts_with("id: 4\n"), "{text}");
        assert_eq!(data(&text)["changed"], json!([[0, "s"], [1, "r"]]));
        assert_eq!(viewer.news(), None);
    }
}
