//! What a run tells those who started it, and how they stop it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::broadcast;

use super::change::Consequences;
use sb_plan::event::Notice;
use sb_plan::id::RunId;

/// What happens while a run is started, resumed or cleaned up. A closed enum: a watcher matches all of it.
#[derive(Debug)]
pub enum RunEvent {
    /// A file of the run has changed since; the run goes on as it was started.
    GoesOnAsStarted(PathBuf),
    /// A file of the run has changed since, but not what the run is made of.
    ChangedWithoutEffect(PathBuf),
    /// Changed files were accepted, and this follows from them.
    Accepted(Consequences),
    /// What the changed files leave no place for is stopped and cleaned up first.
    Retiring,
    /// An earlier run is taken up again; `title` is what it was asked for.
    Resuming { run: RunId, title: String },
    /// Steps begin to run.
    Begun {
        run: RunId,
        /// Of the graph, those included that have ended earlier.
        steps: usize,
        /// The folder of the state.
        folder: PathBuf,
    },
    /// What happens to steps, once they have begun.
    Step(Notice),
    /// The run has ended, and the container engine could not be asked whether containers are left.
    ContainersLeft(String),
}

/// Stops a run from outside: the first time it starts nothing new and cleans up; the second time it leaves at once, and
/// steps that run go on under their supervisors. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Control {
    asked: broadcast::Sender<()>,
    was_asked: Arc<AtomicBool>,
}

impl Control {
    pub fn new() -> Self {
        Self { asked: broadcast::Sender::new(8), was_asked: Arc::default() }
    }

    /// Asks what runs now to stop. Nothing happens when nothing runs.
    pub fn stop(&self) {
        self.was_asked.store(true, Ordering::Relaxed);
        // Fails only when nothing runs.
        let _ = self.asked.send(());
    }

    pub(super) fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::Relaxed)
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<()> {
        self.asked.subscribe()
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}
