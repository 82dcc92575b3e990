//! The thread that owns the connection.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::connection::{self, Place};
use super::identity::Relocation;
use super::record::{self, Progress};
use super::rows::{Debt, DeploymentRow, RunRow};
use super::tables::{
    Appended, RUNS, RowError, apply, each, each_event, insert_run, read_deployment, read_deployments,
    read_run, run_row, unread, unwritten,
};
use super::{Change, StoreError};
use crate::workspace::Workspace;
use sb_plan::event::{Event, Record};
use sb_plan::id::{DeploymentId, RunId};
use sb_plan::run_state::RunState;

type StoreReply<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum StoreRequest {
    CreateRun { run: RunRow, reply: StoreReply<()> },
    ExpectInPlace { reply: StoreReply<()> },
    Append { changes: Vec<Change>, reply: StoreReply<()> },
    Runs { reply: StoreReply<Vec<RunRow>> },
    Run { id: RunId, reply: StoreReply<Option<RunRow>> },
    Events { run: RunId, reply: StoreReply<Vec<Record>> },
    Fold { run: RunId, reply: StoreReply<RunState> },
    EventsAfter { run: RunId, number: i64, limit: u32, reply: StoreReply<Vec<(i64, Record)>> },
    Read { run: RunId, records: tokio::sync::mpsc::Sender<Vec<Record>>, reply: StoreReply<()> },
    Deployments { wanted: Wanted, reply: StoreReply<Vec<DeploymentRow>> },
}

/// Which deployments are read.
pub(super) type Wanted = Box<dyn Fn(&DeploymentId, Debt) -> bool + Send>;

/// Events that are handed over together, and how many times that may wait for the one who takes them.
const TOGETHER: usize = 4096;
pub(super) const AHEAD: usize = 32;

/// At most this many appends share a transaction.
const BATCH: usize = 256;

/// Bytes that must be free on the disk before anything is written.
const ROOM: u128 = 1024 * 1024;

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// To work: the state is made where it is missing.
    Write,
    /// To look: nothing is made, and a file system that cannot be written to is good enough.
    Read,
}

/// The thread that owns the connection. Dropped, it ends, and with it the connection: what the log holds is then in the
/// one file.
pub(super) struct StoreThread {
    sender: Option<mpsc::Sender<StoreRequest>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// What was found wrong with the state and mended, for people.
    pub(super) notes: Vec<String>,
    /// It is a copy, only to be looked at.
    pub(super) copied: Option<StoreError>,
}

impl StoreThread {
    /// Fails when the thread has ended.
    pub(super) fn send(&self, request: StoreRequest) -> Result<(), mpsc::SendError<StoreRequest>> {
        match &self.sender {
            Some(sender) => sender.send(request),
            None => Err(mpsc::SendError(request)),
        }
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            // A panic has been told where it happened.
            let _ = thread.join();
        }
    }
}

pub(super) fn start(workspace: &Workspace, access: Access) -> Result<StoreThread, StoreError> {
    let opened = connection::open(workspace, access)?;
    let (sender, requests) = mpsc::channel();
    let worker = Worker {
        connection: opened.connection,
        workspace: workspace.clone(),
        path: workspace.database(),
        place: opened.place,
        relocation: opened.relocation,
        progress: Progress::default(),
        left_word: false,
    };
    let thread = std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || worker.serve(&requests))
        .map_err(|error| StoreError::Open { path: workspace.database(), message: error.to_string() })?;
    Ok(StoreThread { sender: Some(sender), thread: Some(thread), notes: opened.notes, copied: opened.copied })
}

/// Fails when the disk is nearly full. What is left belongs to the steps that are running: the ends of those are
/// found in their folders later on.
pub(super) fn room(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(path);
    // A file system that does not say how full it is is taken at its word when it refuses a write.
    let Ok(disk) = rustix::fs::statvfs(folder) else { return Ok(()) };
    let left = u128::from(disk.f_bavail) * u128::from(disk.f_frsize);
    if left >= ROOM || disk.f_blocks == 0 {
        return Ok(());
    }
    let message = format!(
        "the disk is full: {} KiB are left, and {} KiB are kept for what is running",
        left / 1024,
        ROOM / 1024
    );
    Err(StoreError::Write { path: path.to_owned(), message })
}

struct Worker {
    connection: Connection,
    workspace: Workspace,
    path: PathBuf,
    /// None: it is in memory, or cannot be written to.
    place: Option<Place>,
    relocation: Relocation,
    progress: Progress,
    /// The state is gone, and what stands was written down.
    left_word: bool,
}

impl Worker {
    fn serve(mut self, requests: &mpsc::Receiver<StoreRequest>) {
        let mut next = requests.recv().ok();
        while let Some(request) = next.take() {
            next = match request {
                StoreRequest::Append { changes, reply } => self.append_together(changes, reply, requests),
                other => {
                    self.answer(other);
                    None
                }
            };
            if next.is_none() {
                next = requests.recv().ok();
            }
        }
    }

    /// Writes this append and those that wait behind it; returns the first request that is something else.
    fn append_together(
        &mut self,
        changes: Vec<Change>,
        reply: StoreReply<()>,
        requests: &mpsc::Receiver<StoreRequest>,
    ) -> Option<StoreRequest> {
        let mut batch = vec![(changes, reply)];
        let mut other = None;
        while batch.len() < BATCH {
            match requests.try_recv() {
                Ok(StoreRequest::Append { changes, reply }) => batch.push((changes, reply)),
                Ok(request) => {
                    other = Some(request);
                    break;
                }
                Err(_) => break,
            }
        }
        let changes: Vec<&Change> = batch.iter().flat_map(|(changes, _)| changes).collect();
        let result = self.write(&changes);
        for (_, reply) in batch {
            let _ = reply.send(result.clone());
        }
        other
    }

    /// Events and what changes with them, and the records beside the journal: a debt is in the journal before it has a
    /// record, and loses the record before it is paid there.
    fn write(&mut self, changes: &[&Change]) -> Result<(), StoreError> {
        self.expect_in_place()?;
        room(&self.path)?;
        let unrecorded = |path: PathBuf| {
            move |error: std::io::Error| StoreError::Write { path, message: error.to_string() }
        };
        let (mut touched, mut paid) = (Vec::new(), Vec::new());
        for change in changes {
            let (deployment, is_paid) = match change {
                Change::Open(row) => (&row.id, row.debt != Debt::Owed),
                Change::Debt { deployment, debt } => (deployment, *debt != Debt::Owed),
                Change::Outputs { deployment, .. } | Change::Params { deployment, .. } => (deployment, false),
                _ => continue,
            };
            if matches!(change, Change::Debt { debt: Debt::Paid, .. })
                && let Some(row) =
                    read_deployment(&self.connection, deployment).map_err(|error| self.unread(error))?
            {
                let path = self.workspace.paid_file(&row.run);
                record::keep_paid(&self.workspace, &row).map_err(unrecorded(path))?;
            }
            if is_paid {
                record::forget_owed(&self.workspace, deployment)
                    .map_err(unrecorded(self.workspace.owed_file(deployment)))?;
                paid.push(deployment);
            }
            if !touched.contains(&deployment) {
                touched.push(deployment);
            }
        }
        let written = self.commit(changes);
        if written.is_err() {
            // What was to be paid is still owed.
            let _ = self.keep_owed(&touched);
        }
        let ends = written?;
        self.expect_in_place()?;
        // Another process may have missed the record before the journal said that it is no longer needed.
        for deployment in paid {
            record::forget_owed(&self.workspace, deployment)
                .map_err(unrecorded(self.workspace.owed_file(deployment)))?;
        }
        self.keep_owed(&touched)?;
        for change in changes {
            if let Change::Request { run, .. } = change
                && let Some(row) = read_run(&self.connection, run).map_err(|error| self.unread(error))?
            {
                let path = self.workspace.request_file(run);
                record::keep_run(&self.workspace, &row).map_err(unrecorded(path))?;
            }
        }
        for change in changes {
            if let Change::Event {
                run,
                record: Record { at_ms, event: Event::RunEnded { measurement, cleanup, .. } },
            } = change
                && let Some((_, events)) = ends.iter().find(|(other, _)| other == run)
            {
                let (at_ms, measurement, cleanup, events) = (*at_ms, *measurement, *cleanup, *events);
                let end = record::EndRecord { at_ms, measurement, cleanup, events };
                // The journal holds it, and only its loss would show that this is missing.
                let _ = record::keep_end(&self.workspace, run, end);
            }
        }
        for (run, number) in ends {
            let path = self.workspace.progress_file(&run);
            self.progress.note(&self.workspace, &run, number).map_err(unrecorded(path))?;
        }
        if changes.iter().any(|change| matches!(change, Change::Event { record, .. } if matches!(record.event, Event::RunEnded { .. }))) {
            connection::checkpoint(&self.connection);
        }
        Ok(())
    }

    /// Returns the number of the last event of each run that got one.
    fn commit(&mut self, changes: &[&Change]) -> Result<Vec<(RunId, i64)>, StoreError> {
        let path = &self.path;
        let failed = |error: rusqlite::Error| unwritten(path, &error);
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed)?;
        let mut appended = Appended::default();
        for change in changes {
            apply(&transaction, change, &mut appended).map_err(failed)?;
        }
        let ends = appended.seal(&transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(ends)
    }

    /// The record of each of these deployments that is owed.
    fn keep_owed(&self, deployments: &[&DeploymentId]) -> Result<(), StoreError> {
        for &deployment in deployments {
            let row = read_deployment(&self.connection, deployment).map_err(|error| self.unread(error))?;
            if let Some(row) = row.filter(|row| row.debt == Debt::Owed) {
                record::keep_owed(&self.workspace, &row).map_err(|error| StoreError::Write {
                    path: self.workspace.owed_file(deployment),
                    message: error.to_string(),
                })?;
            }
        }
        Ok(())
    }

    fn create_run(&mut self, run: &RunRow) -> Result<(), StoreError> {
        self.expect_in_place()?;
        room(&self.path)?;
        record::keep_run(&self.workspace, run).map_err(|error| StoreError::Write {
            path: self.workspace.request_file(&run.id),
            message: error.to_string(),
        })?;
        let failed = |error: rusqlite::Error| unwritten(&self.path, &error);
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed)?;
        insert_run(&transaction, run).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.expect_in_place()
    }

    /// What is written to a file that nobody finds any more is lost: nothing is to begin upon it.
    fn expect_in_place(&mut self) -> Result<(), StoreError> {
        let Some(place) = &self.place else {
            let message = "it cannot be written to".to_owned();
            return Err(StoreError::Write { path: self.path.clone(), message });
        };
        if place.holds(&self.path) {
            return Ok(());
        }
        let path = self.path.clone();
        if let Some(now) = place.moved_to() {
            return Err(StoreError::Moved { path, now });
        }
        if !std::mem::replace(&mut self.left_word, true) {
            self.leave_word();
        }
        Err(StoreError::Removed { path })
    }

    /// The state was removed: what stands is written down anew where the next command looks for it. As far as that goes.
    fn leave_word(&self) {
        let folder = self.workspace.folder();
        if !folder.parent().is_some_and(Path::is_dir) {
            return;
        }
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(self.workspace.owed());
        let owed = read_deployments(&self.connection, &|_, debt| debt == Debt::Owed).unwrap_or_default();
        for run in each(&self.connection, RUNS, [], run_row).unwrap_or_default() {
            if run.ended.is_none() || owed.iter().any(|row| row.run == run.id) {
                let _ = record::keep_run(&self.workspace, &run);
            }
        }
        for row in &owed {
            let _ = record::keep_owed(&self.workspace, row);
        }
    }

    /// Goes through a run's events as they are to be read here.
    fn each_event(&self, run: &RunId, mut take: impl FnMut(Record)) -> Result<(), StoreError> {
        let read = each_event(&self.connection, run, |mut record| {
            self.relocation.record(&mut record);
            take(record);
        });
        read.map_err(|error| self.unread(error))
    }

    fn unread(&self, error: RowError) -> StoreError {
        unread(&self.path, error)
    }

    fn answer(&mut self, request: StoreRequest) {
        match request {
            StoreRequest::Append { changes, reply } => {
                let changes: Vec<&Change> = changes.iter().collect();
                let _ = reply.send(self.write(&changes));
            }
            StoreRequest::ExpectInPlace { reply } => {
                let _ = reply.send(self.expect_in_place());
            }
            StoreRequest::CreateRun { run, reply } => {
                let _ = reply.send(self.create_run(&run));
            }
            StoreRequest::Runs { reply } => {
                let sql = format!("{RUNS} ORDER BY created_ms DESC, id DESC");
                let rows = each(&self.connection, &sql, [], run_row).map(|mut rows| {
                    for row in &mut rows {
                        self.relocation.request(&mut row.request);
                    }
                    rows
                });
                let _ = reply.send(rows.map_err(|error| self.unread(error)));
            }
            StoreRequest::Run { id, reply } => {
                let row = read_run(&self.connection, &id).map(|mut row| {
                    if let Some(row) = &mut row {
                        self.relocation.request(&mut row.request);
                    }
                    row
                });
                let _ = reply.send(row.map_err(|error| self.unread(error)));
            }
            StoreRequest::Events { run, reply } => {
                let mut all = Vec::new();
                let read = self.each_event(&run, |record| all.push(record));
                let _ = reply.send(read.map(|()| all));
            }
            StoreRequest::Fold { run, reply } => {
                let mut state = RunState::default();
                let read = self.each_event(&run, |record| state.take(record));
                let _ = reply.send(read.map(|()| state));
            }
            StoreRequest::EventsAfter { run, number, limit, reply } => {
                let sql = "SELECT number, at_ms, event FROM events WHERE run_id = ?1 AND number > ?2
                           ORDER BY number LIMIT ?3";
                let read = each(&self.connection, sql, params![run.as_str(), number, limit], |row| {
                    let text: String = row.get(2)?;
                    let mut record = Record { at_ms: row.get(1)?, event: Event::from_json(&text)? };
                    self.relocation.record(&mut record);
                    Ok((row.get(0)?, record))
                });
                let _ = reply.send(read.map_err(|error| self.unread(error)));
            }
            StoreRequest::Read { run, records, reply } => {
                let mut batch = Vec::with_capacity(TOGETHER);
                let read = self.each_event(&run, |record| {
                    batch.push(record);
                    if batch.len() == TOGETHER {
                        // Fails where nobody waits for them any more.
                        let full = std::mem::replace(&mut batch, Vec::with_capacity(TOGETHER));
                        let _ = records.blocking_send(full);
                    }
                });
                let _ = records.blocking_send(batch);
                let _ = reply.send(read);
            }
            StoreRequest::Deployments { wanted, reply } => {
                let rows = read_deployments(&self.connection, &wanted).map(|mut rows| {
                    for row in &mut rows {
                        self.relocation.path(&mut row.manifest);
                        row.logs.iter_mut().for_each(|logs| self.relocation.path(logs));
                    }
                    rows
                });
                let _ = reply.send(rows.map_err(|error| self.unread(error)));
            }
        }
    }
}
