//! The report of a run that has ended, as a page.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::body::Bytes;
use tokio::sync::Mutex;

use super::live::Live;
use crate::watch::course::course;
use crate::watch::paths::critical_paths;
use sb_pages::{Source, document};
use sb_plan::id::RunId;
use sb_report::{Options, Report, read};

/// Makes one report at a time, and the same report once.
#[derive(Default)]
pub(super) struct Reports {
    last: Arc<Mutex<Option<KnownReport>>>,
}

struct KnownReport {
    run: RunId,
    /// Of the last event that was known.
    number: i64,
    page: Bytes,
}

impl Reports {
    /// None: the run goes on, and what it measured is not complete.
    pub(super) async fn of(&self, live: &Live) -> io::Result<Option<Bytes>> {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        let (run, number, folders, course) = {
            let watched = live.watched.read().await;
            if watched.state.ended.is_none() {
                return Ok(None);
            }
            let run = watched.row.id.clone();
            if let Some(known) = &*last
                && known.run == run
                && known.number == watched.number()
            {
                return Ok(Some(known.page.clone()));
            }
            let folders = watched.invocations();
            (run, watched.number(), folders, course(&watched))
        };
        let title = format!("Run {run}");
        let made = tokio::task::spawn_blocking(move || {
            // As `sb report` does: a damaged folder counts in no figure.
            let mut folders: Vec<_> =
                folders.into_values().flatten().filter(|folder| folder.is_dir()).collect();
            let options = Options { whole_folders: true, ..Options::default() };
            let dataset = read(&folders, &options).map_err(io::Error::other)?;
            let damaged: HashSet<&PathBuf> = dataset.left_out().iter().map(|(folder, _)| folder).collect();
            folders.retain(|folder| !damaged.contains(folder));
            let report = Report::new(&dataset);
            let paths = critical_paths(&folders);
            let source = Source { title, course: Some(course), paths: Some(&paths), ..Source::new(&report) };
            document(&source).html().map_err(io::Error::other)
        });
        let page = Bytes::from(made.await??);
        *last = Some(KnownReport { run, number, page: page.clone() });
        Ok(Some(page))
    }
}
