//! The durable journal: SQLite, one database per workspace (`.sb/state.db`).
//!
//! One thread owns the connection. Appends that arrive together share one transaction, so that many steps side
//! by side cost one flush. WAL with `synchronous=FULL`: what [`Store::append`] has confirmed survives a power cut.
//!
//! Beside it stand records that do not depend on it ([`record`]). Whenever the state is opened, it is compared with them
//! ([`reconcile`]): that nothing is owed is only said when it is known.

mod checksum;
mod connection;
mod identity;
mod invocations;
mod lock;
mod reconcile;
mod record;
mod rows;
mod secrets;
mod shared;
mod tables;
#[cfg(test)]
mod tests;
mod waiting;
mod worker;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

pub(crate) use connection::expect_own;
pub(crate) use lock::{Lock, LockError, is_worked_in};
pub(crate) use rows::{Debt, DeploymentRow, RunRow};
pub(crate) use secrets::Secrets;
pub(crate) use shared::{Guard, Shared, Taken, machine_folder};
pub(crate) use waiting::AwaitedLock;

use crate::workspace::{Workspace, quoted};
use sb_plan::event::{Event, Record};
use sb_plan::id::{DeploymentId, RunId};
use sb_plan::run_state::RunState;

#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot open the state `{}`: {message}; correct it, move it away to begin anew, or choose another folder with --state-dir", path.display())]
    Open { path: PathBuf, message: String },
    #[error(
        "the state `{}` was written by a newer sb (its format is {found}, this sb knows up to {known}): use that sb, or another --state-dir",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("cannot write the state `{}`: {message}; its folder must be writable and have room", path.display())]
    Write { path: PathBuf, message: String },
    #[error("cannot read the state `{}`: {message}", path.display())]
    Read { path: PathBuf, message: String },
    #[error(
        "the state `{}` is damaged: {message}; put back a copy of it, or move it away with `{}`; what is owed is then known from the records beside it",
        path.display(), move_away(path)
    )]
    Corrupt { path: PathBuf, message: String },
    #[error(
        "the state `{}` has lost what it knew of {what}; put back a copy of it, or look yourself for what is deployed, and then remove `{}` to begin anew",
        path.display(), path.parent().unwrap_or(path).display()
    )]
    Lost { path: PathBuf, what: String },
    #[error(
        "the state `{}` was removed or replaced while it was in use; what it knew to be deployed was written down again: `sb leaks` lists it",
        path.display()
    )]
    Removed { path: PathBuf },
    #[error(
        "the state `{}` belongs to another user ({owner}), who could have sb run commands as you: to begin one of your own, give another folder with \
         --state-dir; if you trust it, give it with `--state-dir {}`",
        path.display(), quoted(path)
    )]
    Foreign { path: PathBuf, owner: u32 },
    #[error("other users may write to the state `{}`: forbid it with `chmod go-w {}`, or give another folder with --state-dir", path.display(), quoted(path))]
    Writable { path: PathBuf },
    #[error(
        "the state `{}` is a copy of `{}`, where what it has not ended goes on and is owed: `sb leaks --state-dir {}` lists that; remove this one with \
         `rm -r {}`; if that one will never be used again, `touch {}` and the same command again let this one take its place",
        path.display(), original.display(), quoted(original), quoted(path), quoted(take_over)
    )]
    Copied { path: PathBuf, original: PathBuf, take_over: PathBuf },
    #[error(
        "the state `{}` is a copy of the one that was at `{}`, which was moved or removed since; what it has not ended belongs to that one: if it was \
         moved, go on where it is now; if it is gone, `touch {}` and the same command again let this one take its place",
        path.display(), earlier.display(), quoted(take_over)
    )]
    Strayed { path: PathBuf, earlier: PathBuf, take_over: PathBuf },
    #[error("the state `{}` was moved to `{}` while it was in use", path.display(), now.display())]
    Moved { path: PathBuf, now: PathBuf },
}

/// A command that moves a damaged database away, with its log.
fn move_away(path: &Path) -> String {
    let folder = path.parent().unwrap_or(path);
    let aside = format!("damaged-{}", jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S"));
    let aside = quoted(&folder.join(aside));
    format!("mkdir {aside} && mv {}* {aside}", quoted(path))
}

/// A handle on the workspace's state; cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    workspace: Workspace,
    thread: Arc<worker::StoreThread>,
}

/// What changes together with events, in the same transaction.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Event {
        run: RunId,
        record: Record,
    },
    Open(DeploymentRow),
    Debt {
        deployment: DeploymentId,
        debt: Debt,
    },
    Outputs {
        deployment: DeploymentId,
        outputs: serde_json::Map<String, serde_json::Value>,
    },
    Params {
        deployment: DeploymentId,
        params: serde_json::Map<String, serde_json::Value>,
    },
    Logs {
        deployment: DeploymentId,
        logs: PathBuf,
    },
    /// What was asked for is something else from here on.
    Request {
        run: RunId,
        request: String,
    },
    /// The deployment is opened anew when something is deployed again. Nothing may be owed for it.
    Forget(DeploymentId),
}

impl Store {
    /// Opens the state of a workspace, made when it is missing.
    pub(crate) fn open(workspace: &Workspace) -> Result<Self, StoreError> {
        Self::open_for(workspace, worker::Access::Write)
    }

    /// Opens the state of a workspace to look at it. Where there is none, none is made: it is as an empty one.
    pub(crate) fn look(workspace: &Workspace) -> Result<Self, StoreError> {
        Self::open_for(workspace, worker::Access::Read)
    }

    fn open_for(workspace: &Workspace, access: worker::Access) -> Result<Self, StoreError> {
        let thread = Arc::new(worker::start(workspace, access)?);
        Ok(Self { workspace: workspace.clone(), thread })
    }

    /// What was found wrong with the state when it was opened, and mended; for people.
    pub(crate) fn notes(&self) -> &[String] {
        &self.thread.notes
    }

    /// That it is not the copy of a state which is still there: what that one has not ended is not to be ended here.
    pub(crate) fn expect_original(&self) -> Result<(), StoreError> {
        self.thread.copied.clone().map_or(Ok(()), Err)
    }

    /// The state that this one is a copy of, where something of it is not ended.
    pub(crate) fn original(&self) -> Option<&Path> {
        match &self.thread.copied {
            Some(StoreError::Copied { original, .. }) => Some(original),
            _ => None,
        }
    }

    /// What lets this state take the place of its original, if it is the copy of one that nobody knows the place of.
    pub(crate) fn take_over(&self) -> Option<&Path> {
        match &self.thread.copied {
            Some(StoreError::Strayed { take_over, .. }) => Some(take_over),
            _ => None,
        }
    }

    /// Deployments that are owed by the records beside a state, whether that can be read or not; and the names of those
    /// whose record is damaged.
    pub(crate) fn recorded(
        workspace: &Workspace,
    ) -> std::io::Result<(Vec<DeploymentRow>, Vec<DeploymentId>)> {
        let (mut rows, mut damaged) = (vec![], vec![]);
        for record in record::owed(workspace)? {
            match record.row {
                Some(row) => rows.push(row),
                None => damaged.push(record.deployment),
            }
        }
        Ok((rows, damaged))
    }

    /// Where everything of the workspace lies.
    pub(crate) fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// The folder of the state, `.sb`.
    pub(crate) fn folder(&self) -> &Path {
        self.workspace.folder()
    }

    pub(crate) async fn create_run(&self, run: RunRow) -> Result<(), StoreError> {
        self.ask(|reply| worker::StoreRequest::CreateRun { run, reply }).await
    }

    /// Returns when all changes are durable: all or none.
    pub(crate) async fn append(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        self.ask(|reply| worker::StoreRequest::Append { changes, reply }).await
    }

    /// Newest first.
    pub(crate) async fn runs(&self) -> Result<Vec<RunRow>, StoreError> {
        self.ask(|reply| worker::StoreRequest::Runs { reply }).await
    }

    pub(crate) async fn run(&self, id: &RunId) -> Result<Option<RunRow>, StoreError> {
        let id = id.clone();
        self.ask(|reply| worker::StoreRequest::Run { id, reply }).await
    }

    pub(crate) async fn events(&self, run: &RunId) -> Result<Vec<Record>, StoreError> {
        let run = run.clone();
        self.ask(|reply| worker::StoreRequest::Events { run, reply }).await
    }

    /// At most `limit` events behind the one with this number, each with its own; 0 is before the first. Numbers rise
    /// by one within a run: for those who follow a run that another process works on.
    pub(crate) async fn events_after(
        &self,
        run: &RunId,
        number: i64,
        limit: u32,
    ) -> Result<Vec<(i64, Record)>, StoreError> {
        let run = run.clone();
        self.ask(|reply| worker::StoreRequest::EventsAfter { run, number, limit, reply }).await
    }

    /// Begins to read all events of a run, a good many at a time.
    pub(crate) fn read(&self, run: &RunId) -> Result<Reading, StoreError> {
        let (records, coming) = mpsc::channel(worker::AHEAD);
        let (reply, end) = oneshot::channel();
        let request = worker::StoreRequest::Read { run: run.clone(), records, reply };
        self.thread.send(request).map_err(|_| self.gone())?;
        Ok(Reading { coming, end, gone: self.gone() })
    }

    /// The state of a run, folded from its events without holding them all.
    pub(crate) async fn state(&self, run: &RunId) -> Result<RunState, StoreError> {
        let run = run.clone();
        self.ask(|reply| worker::StoreRequest::Fold { run, reply }).await
    }

    /// Whether a deployment of this run is still to be cleaned up.
    pub(crate) async fn owes(&self, run: &RunId) -> Result<bool, StoreError> {
        Ok(self.unpaid().await?.iter().any(|row| row.run == *run && row.debt == Debt::Owed))
    }

    /// Whether files can be made in the state's folder just now: a step that could not be started because they
    /// cannot is not to blame.
    ///
    /// # Errors
    /// They cannot, and why.
    pub(crate) async fn check_writable(&self) -> Result<(), StoreError> {
        self.ask(|reply| worker::StoreRequest::ExpectInPlace { reply }).await?;
        let path = self.workspace.database();
        worker::room(&path)?;
        let probe = self.workspace.probe();
        sb_durable::private()
            .write(true)
            .create_new(true)
            .open(&probe)
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"probe"))
            .and_then(|()| std::fs::remove_file(&probe))
            .map_err(|error| StoreError::Write { path, message: error.to_string() })
    }

    pub(crate) async fn deployments(&self) -> Result<Vec<DeploymentRow>, StoreError> {
        self.deployments_that(|_, _| true).await
    }

    /// Deployments that were opened, and are not cleaned up.
    pub(crate) async fn unpaid(&self) -> Result<Vec<DeploymentRow>, StoreError> {
        self.deployments_that(|_, debt| debt != Debt::Paid).await
    }

    /// Those of these deployments that were opened.
    pub(crate) async fn deployments_of(
        &self,
        ids: HashSet<DeploymentId>,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        self.deployments_that(move |id, _| ids.contains(id)).await
    }

    pub(crate) async fn deployment(&self, id: &DeploymentId) -> Result<Option<DeploymentRow>, StoreError> {
        Ok(self.deployments_of(HashSet::from([id.clone()])).await?.pop())
    }

    async fn deployments_that(
        &self,
        wanted: impl Fn(&DeploymentId, Debt) -> bool + Send + 'static,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        self.ask(|reply| worker::StoreRequest::Deployments { wanted: Box::new(wanted), reply }).await
    }

    /// The one process that may work on this run.
    pub(crate) fn lock_run(&self, run: &RunId) -> Result<Lock, LockError> {
        lock::take(&self.workspace.run_lock(run), run.as_str())
    }

    /// The one process that may work on this deployment.
    pub(crate) fn lock_deployment(&self, deployment: &DeploymentId) -> Result<Lock, LockError> {
        lock::take(&self.workspace.deployment_lock(deployment), deployment.as_str())
    }

    /// The one process that runs this plan, as long as nobody asks for another.
    pub(crate) fn lock_plan(&self, plan: &Path) -> Result<Lock, LockError> {
        lock::take(&self.workspace.plan_lock(plan), &plan.display().to_string())
    }

    /// Whether a live process holds the run.
    pub(crate) fn runner_of(&self, run: &RunId) -> Option<u32> {
        lock::holder(&self.workspace.run_lock(run))
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> worker::StoreRequest,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.thread.send(request(reply)).map_err(|_| self.gone())?;
        answer.await.map_err(|_| self.gone())?
    }

    fn gone(&self) -> StoreError {
        StoreError::Write {
            path: self.folder().to_path_buf(),
            message: "the thread that owns it has ended".to_owned(),
        }
    }
}

/// The events of a run as they are read, in another thread. Until they are, or this is dropped, nothing else is answered.
pub(crate) struct Reading {
    coming: mpsc::Receiver<Vec<Record>>,
    end: oneshot::Receiver<Result<(), StoreError>>,
    gone: StoreError,
}

impl Reading {
    /// Gives each event to `take`, in order. All are there, as they were written.
    pub(crate) async fn each(mut self, mut take: impl FnMut(Record)) -> Result<(), StoreError> {
        while let Some(records) = self.coming.recv().await {
            records.into_iter().for_each(&mut take);
        }
        self.end.await.map_err(|_| self.gone)?
    }
}

/// A change that is just an event, stamped now by the caller.
pub(crate) fn event(run: &RunId, at_ms: i64, event: Event) -> Change {
    Change::Event { run: run.clone(), record: Record { at_ms, event } }
}
