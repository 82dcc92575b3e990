//! A version of `Execute` that plays a script, for tests of the scheduler.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::{Attempt, Execute, Executing, Finished};
use sb_plan::event::Outcome;
use sb_plan::graph::Step;
use sb_plan::id::RunId;

/// Ends each attempt as scripted (success by default) after a while, and remembers what it was asked.
#[derive(Default)]
pub(crate) struct Fake {
    /// For a step id: how its attempts end, the first attempt first; the last one repeats.
    pub script: HashMap<String, Vec<Finished>>,
    pub takes: HashMap<String, Duration>,
    pub log: Mutex<Vec<String>>,
    /// Where the logs of attempts are said to be.
    pub logs: PathBuf,
    running: AtomicUsize,
    pub most_running: AtomicUsize,
    folders: AtomicUsize,
}

impl Fake {
    /// `start ID n`, `reattach ID n` (`recover ID n` after a restart of the machine), `end ID n`, in the order in which it happened.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().clone()
    }

    fn note(&self, line: String) {
        self.log.lock().push(line);
    }
}

impl Execute for Fake {
    fn execute(self: Arc<Self>, attempt: Attempt) -> Executing {
        Box::pin(async move {
            let id = attempt.step.id.as_str().to_owned();
            let word = match (attempt.reattach, attempt.lost_boot) {
                (false, _) => "start",
                (true, false) => "reattach",
                (true, true) => "recover",
            };
            self.note(format!("{word} {id} {}", attempt.number));
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_running.fetch_max(running, Ordering::SeqCst);
            let takes = self.takes.get(&id).copied().unwrap_or(Duration::from_millis(1));
            let cancelled = tokio::select! {
                () = tokio::time::sleep(takes) => false,
                () = attempt.cancel.cancelled() => true,
            };
            self.running.fetch_sub(1, Ordering::SeqCst);
            self.note(format!("end {id} {}", attempt.number));
            if cancelled {
                return Outcome::Cancelled.into();
            }
            let attempts = self.script.get(&id);
            let index = attempt.number as usize - 1;
            attempts
                .and_then(|attempts| attempts.get(index).or(attempts.last()))
                .cloned()
                .unwrap_or_else(|| Outcome::Succeeded.into())
        })
    }

    fn new_logs_folder(&self, _root: &Path, manifest: &Path) -> io::Result<PathBuf> {
        let number = self.folders.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(manifest.with_file_name("logs").join(number.to_string()))
    }

    fn boot_id(&self) -> io::Result<String> {
        Ok("this boot".to_owned())
    }

    fn log_of(&self, _run: &RunId, step: &Step, attempt: u32) -> PathBuf {
        self.logs.join(format!("{}/{attempt}.log", step.id))
    }
}
