//! The runs of the workspace, those that are shown as [`Live`].

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::live::Live;
use crate::run::{Request, RunError};
use crate::store::{Store, StoreError};
use crate::watch::Watched;
use sb_plan::id::RunId;

/// Runs that are in memory at once. More can be watched: whoever watches one holds it.
const OPEN: usize = 4;
/// Runs that are listed, the newest ones.
const LISTED: usize = 200;

pub(super) struct Runs {
    store: Store,
    /// The run that the page shows first.
    first: RunId,
    /// The one that was asked for last is the last.
    open: Mutex<Vec<Arc<Live>>>,
}

impl Runs {
    pub(super) fn new(watched: Watched) -> Self {
        let (store, first) = (watched.store().clone(), watched.row.id.clone());
        Self { store, first, open: Mutex::new(vec![Arc::new(Live::new(watched))]) }
    }

    /// Every run in a line, the newest first.
    pub(super) async fn list(&self) -> Result<Value, StoreError> {
        let rows = self.store.runs().await?;
        let older = rows.len().saturating_sub(LISTED);
        let mut runs = Vec::new();
        for row in rows.iter().take(LISTED) {
            let waits_for = self.store.awaited_by(&row.id).await?;
            let state = match (&row.ended, self.store.runner_of(&row.id)) {
                (Some(_), _) => "ended",
                (None, Some(_)) if waits_for.is_some() => "waiting",
                (None, Some(_)) => "running",
                (None, None) => "left",
            };
            runs.push(json!({
                "id": row.id,
                "title": Request::read(row).ok().map(|request| request.title()),
                "created_ms": row.created_ms,
                "state": state,
                "waits_for": waits_for,
                "measurement": row.ended.map(|(measurement, _)| measurement.to_string()),
                "cleanup": row.ended.map(|(_, cleanup)| cleanup.to_string()),
            }));
        }
        Ok(json!({ "version": 1, "first": self.first, "runs": runs, "older": older }))
    }

    /// One of them, as it is now; none of this name, none.
    pub(super) async fn get(&self, id: &str) -> Result<Option<Arc<Live>>, RunError> {
        let mut open = self.open.lock().await;
        let live = match open.iter().position(|live| live.id().as_str() == id) {
            Some(index) => open.remove(index),
            None => {
                let Some(row) = self.store.runs().await?.into_iter().find(|row| row.id.as_str() == id) else {
                    return Ok(None);
                };
                let store = self.store.clone();
                // The graph of a large run takes a second to plan.
                let opened = tokio::task::spawn_blocking(move || Watched::open(store, row)).await;
                Arc::new(Live::new(opened.map_err(std::io::Error::other)??))
            }
        };
        open.push(Arc::clone(&live));
        if open.len() > OPEN {
            open.remove(0);
        }
        drop(open);
        live.look_again().await?;
        Ok(Some(live))
    }
}
