//! Who ended a container, and what is left of those that have ended.
//!
//! The exit code alone does not say. A program that is told to stop may end with 0, and an engine that stops takes
//! its containers with it. The engine's events do, as long as it remembers them: it forgets all when it restarts, and
//! the older ones when there are many.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bollard::query_parameters::EventsOptions;
use futures_util::StreamExt as _;
use tokio::task::JoinSet;

use super::run::Seen;
use super::{BACKGROUND_LABEL, ContainerError, Engine, RUN_LABEL, api, is_connection};
use crate::command_exit::CommandExit;

/// Who ended a container that we did not stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContainerEnd {
    /// The command itself, or what ran in the container.
    Natural,
    /// The kernel, for its memory limit.
    OutOfMemory,
    /// Somebody who talked to the engine, or the engine as it stopped.
    Foreign,
}

/// So many events an engine keeps: with fewer, it has told all since it began.
const KEPT_EVENTS: usize = 256;
/// An event may come a little after the end that it is about, on a busy machine.
const LATE: Duration = Duration::from_secs(1);
/// What an engine has kept it tells without such pauses.
const SILENCE: Duration = Duration::from_millis(300);

/// What the engine's events say about the end of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Story {
    killed: bool,
    out_of_memory: bool,
    died: bool,
}

impl Engine {
    pub(super) async fn how_it_ended(
        &self,
        seen: &Seen,
        exit: &CommandExit,
    ) -> Result<ContainerEnd, ContainerError> {
        // It has no process that could take its containers with it.
        if self.is_podman {
            return Ok(ContainerEnd::Natural);
        }
        // The engine may hear of the end before it hears why: the reason is then a little later still.
        let expects_memory = *exit == CommandExit::Signal(9) && seen.has_memory_limit;
        let story = self.story(seen, expects_memory).await?;
        if !story.died {
            // Told to stop by an engine that then stopped, or killed by one that found it when it began.
            let abrupt = matches!(exit, CommandExit::Signal(9 | 15) | CommandExit::Code(255));
            let foreign = story.killed || abrupt || self.has_restarted_since(seen).await?;
            return Ok(if foreign { ContainerEnd::Foreign } else { ContainerEnd::Natural });
        }
        Ok(match story {
            Story { out_of_memory: true, .. } if *exit == CommandExit::Signal(9) => ContainerEnd::OutOfMemory,
            Story { killed: true, .. } => ContainerEnd::Foreign,
            _ => ContainerEnd::Natural,
        })
    }

    /// Of a container that has ended.
    async fn story(&self, seen: &Seen, expects_memory: bool) -> Result<Story, ContainerError> {
        let wanted = ["die", "kill", "oom"].map(str::to_owned).to_vec();
        let options = EventsOptions {
            since: Some(seconds(seen.started().unwrap_or(0))),
            until: None,
            filters: Some(HashMap::from([
                ("container".to_owned(), vec![seen.id.clone()]),
                ("event".to_owned(), wanted),
            ])),
        };
        let mut events = pin!(self.docker.events(Some(options)));
        let mut story = Story::default();
        let listen = async {
            while let Some(event) = events.next().await {
                match event.map_err(api("reading the engine's events"))?.action.as_deref() {
                    Some("die" | "died") => story.died = true,
                    Some("kill") => story.killed = true,
                    Some("oom") => story.out_of_memory = true,
                    _ => {}
                }
                if story.died && (story.out_of_memory || !expects_memory) {
                    break;
                }
            }
            // A new life of an engine stops the containers that it finds, and may tell that it did after they have died.
            if self.doubt.load(Ordering::Relaxed) && story.died && !story.killed {
                while let Ok(Some(event)) = tokio::time::timeout(SILENCE, events.next()).await {
                    let event = event.map_err(api("reading the engine's events"))?;
                    story.killed |= event.action.as_deref() == Some("kill");
                }
            }
            Ok(())
        };
        match tokio::time::timeout(2 * LATE, listen).await {
            // An engine without events tells nothing.
            Ok(Err(ContainerError::Api { source, doing })) if is_connection(&source) => {
                Err(ContainerError::Api { doing, source })
            }
            _ => Ok(story),
        }
    }

    /// Whether the engine that saw the container end is another life of the one that answers now, as far as it can be told.
    async fn has_restarted_since(&self, seen: &Seen) -> Result<bool, ContainerError> {
        // Without an end in time, so that clocks that differ hide nothing: what is kept comes at once, then there is silence.
        let options = EventsOptions { since: Some("0".to_owned()), until: None, filters: None };
        let mut events = pin!(self.docker.events(Some(options)));
        let ended_ns =
            i64::try_from(seen.finished().unwrap_or(0).saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        let begun = Instant::now();
        let mut count = 0;
        while begun.elapsed() < LATE
            && let Ok(Some(event)) = tokio::time::timeout(SILENCE, events.next()).await
        {
            match event {
                Ok(event) => {
                    count += 1;
                    // It lived before the container ended, or it keeps so many that it may have forgotten that it did.
                    if event.time_nano.is_some_and(|time| time < ended_ns) || count >= KEPT_EVENTS {
                        return Ok(false);
                    }
                }
                Err(error) if is_connection(&error) => return Err(api("reading the engine's events")(error)),
                // An engine without events tells nothing.
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Removes a container whose end is recorded, while the run goes on.
    pub(super) fn remove_soon(&self, id: String) {
        let engine = self.clone();
        let mut removing = self.removing.lock();
        // What has been removed needs no place any more.
        while removing.try_join_next().is_some() {}
        removing.spawn(async move { engine.remove(&id).await });
    }

    /// Returns when the containers of all attempts whose end was told are removed, or could not be.
    pub(crate) async fn settle(&self) {
        let removing = std::mem::replace(&mut *self.removing.lock(), JoinSet::new());
        removing.join_all().await;
    }

    /// Removes every container of a run that has ended: those that [`Engine::settle`] waits for, and those that a runner
    /// left that was killed.
    pub(crate) async fn sweep(&self, run: &str) -> Result<(), ContainerError> {
        self.settle().await;
        for orphan in self.list_orphans(RUN_LABEL, Some(run)).await? {
            // It belongs to its deployment, which may outlive the run.
            if orphan.labels.contains_key(BACKGROUND_LABEL) {
                continue;
            }
            self.remove(&orphan.id).await?;
        }
        Ok(())
    }
}

fn seconds(unix_ms: u64) -> String {
    (unix_ms / 1000).to_string()
}
