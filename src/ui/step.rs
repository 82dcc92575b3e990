//! One step: its attempts, and the end of a log.

use serde_json::{Value, json};

use super::live::Live;
use crate::printable::printable;
use crate::watch::overview::{Mark, describe as in_words};
use crate::watch::{files, is_load};
use sb_plan::run_state::StepPhase;

/// Bytes of a log that are shown.
const LOG: u64 = 32 * 1024;

/// The step at a place in the graph; `attempt`: whose log, the last one's unless it is given.
pub(super) async fn describe(live: &Live, index: usize, attempt: Option<u32>) -> Option<Value> {
    let (mut value, log) = {
        let watched = live.watched.read().await;
        let step = watched.step_at(index)?;
        let past = watched.past(step);
        let mut attempts: Vec<_> = watched
            .earlier(&step.id)
            .iter()
            .map(|attempt| {
                json!({
                    "number": attempt.number,
                    "started_ms": attempt.started_ms,
                    "ended_ms": attempt.ended_ms,
                    "took_ms": attempt.took_ms,
                    "state": attempt.outcome.to_string(),
                })
            })
            .collect();
        // The last attempt, unless it is among those that another one follows.
        if let Some(past) =
            past.filter(|past| past.attempts > 0 && !matches!(past.phase, StepPhase::Retrying(_)))
        {
            attempts.push(json!({
                "number": past.attempts,
                "started_ms": past.started_ms,
                "ended_ms": past.ended_ms,
                "took_ms": past.took_ms,
                "state": in_words(Some(&past.phase)),
            }));
        }
        let last = past.map_or(0, |past| past.attempts);
        let shown = attempt.filter(|attempt| (1..=last).contains(attempt)).unwrap_or(last);
        let log = (shown > 0).then(|| watched.log_of(step, shown));
        let state = match watched.waits().remove(&step.id) {
            Some(why) => format!("waiting {why}"),
            None => in_words(past.map(|past| &past.phase)),
        };
        let value = json!({
            "version": 1,
            "id": step.id,
            "action": step.action_name(),
            "mark": Mark::of(past).letter().to_string(),
            "state": state,
            "invalid": past.map(|past| past.invalid.clone()).unwrap_or_default(),
            "attempts": attempts,
            "attempt": shown,
            "folder": past.and_then(|past| past.logs.clone()),
            "log_file": log,
            "course": is_load(step)
                .then(|| watched.course_of(step, shown).iter().map(super::stream::point).collect::<Vec<_>>()),
        });
        (value, log)
    };
    if let Some(log) = log {
        let read = tokio::task::spawn_blocking(move || {
            let length = std::fs::metadata(&log).map_or(0, |data| data.len());
            (files::tail(&log, LOG).ok(), length)
        });
        let (text, length) = read.await.unwrap_or_default();
        value["log"] = json!(text.map(|text| without_control(&text)));
        value["log_bytes"] = json!(length);
    }
    Some(value)
}

/// Line by line without what moves a cursor.
fn without_control(text: &str) -> String {
    text.lines().map(|line| printable(line).into_owned() + "\n").collect()
}
