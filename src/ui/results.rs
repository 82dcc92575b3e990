//! What a run has measured so far, as `sb report --format json` says it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::live::Live;
use crate::watch::measured::summaries;
use sb_plan::id::RunId;

/// While a run goes on, looking at its results takes at most this share of the time.
const SHARE: u32 = 10;

/// Reads the results of one run at a time, and the same results once.
#[derive(Default)]
pub(super) struct Results {
    last: Arc<Mutex<Option<Known>>>,
}

struct Known {
    run: RunId,
    /// Of the last event that was known.
    number: i64,
    value: Value,
    at: Instant,
    took: Duration,
}

impl Results {
    pub(super) async fn of(&self, live: &Live) -> std::io::Result<Value> {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        let (run, number, folders) = {
            let watched = live.watched.read().await;
            (watched.row.id.clone(), watched.number(), watched.invocations())
        };
        if let Some(known) = &*last
            && known.run == run
            && (known.number == number || known.at.elapsed() < known.took * SHARE)
        {
            return Ok(known.value.clone());
        }
        let began = Instant::now();
        let read = tokio::task::spawn_blocking(move || summaries(&folders)).await?;
        let left_out: Vec<String> = read.left_out.iter().map(|folder| folder.error.to_string()).collect();
        if read.groups.is_empty() && !left_out.is_empty() {
            return Err(std::io::Error::other(left_out.join("; ")));
        }
        let value = json!({ "version": 1, "applications": read.groups, "left_out": left_out });
        *last = Some(Known { run, number, value: value.clone(), at: Instant::now(), took: began.elapsed() });
        Ok(value)
    }
}
