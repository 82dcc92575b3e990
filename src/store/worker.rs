//! The thread that owns the connection.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use rusqlite::{Connection, Row, Transaction, params};
use tokio::sync::oneshot;

use super::rows::{Debt, DeploymentRow, RunRow};
use super::{Change, StoreError};
use crate::workspace::Workspace;
use sb_plan::event::{Event, Record, Verdict};
use sb_plan::id::{DeploymentId, RunId};
use sb_plan::run_state::RunState;

type StoreReply<T> = oneshot::Sender<Result<T, StoreError>>;

pub(super) enum StoreRequest {
    CreateRun { run: RunRow, reply: StoreReply<()> },
    Append { changes: Vec<Change>, reply: StoreReply<()> },
    Runs { reply: StoreReply<Vec<RunRow>> },
    Run { id: RunId, reply: StoreReply<Option<RunRow>> },
    Events { run: RunId, reply: StoreReply<Vec<Record>> },
    Fold { run: RunId, reply: StoreReply<RunState> },
    Owes { run: RunId, reply: StoreReply<bool> },
    EventsAfter { run: RunId, number: i64, limit: u32, reply: StoreReply<Vec<(i64, Record)>> },
    Deployments { reply: StoreReply<Vec<DeploymentRow>> },
}

/// Every migration, in order; the number of those applied is SQLite's `user_version`.
const MIGRATIONS: &[&str] =
    &[include_str!("migrations/0001_journal.sql"), include_str!("migrations/0002_ended_runs.sql")];

/// At most this many appends share a transaction.
const BATCH: usize = 256;

/// Bytes that must be free on the disk before anything is written.
const ROOM: u128 = 1024 * 1024;

pub(super) fn start(workspace: &Workspace) -> Result<mpsc::Sender<StoreRequest>, StoreError> {
    let (folder, path) = (workspace.folder(), workspace.database());
    let open = |message: String| StoreError::Open { path: path.clone(), message };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| open(error.to_string()))?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        // State is never meant for version control; failing to say so is harmless.
        let _ = std::fs::write(ignore, "*\n");
    }
    let failed = |error: rusqlite::Error| {
        if is_corrupt(&error) { corrupt(&path, &error) } else { open(error.to_string()) }
    };
    // What SQLite makes beside it has the same mode. Where it cannot be done, opening says why.
    if let Ok(database) = sb_durable::private().append(true).create(true).open(&path) {
        let _ = database.set_permissions(Permissions::from_mode(0o600));
    }
    let mut connection = Connection::open(&path).map_err(failed)?;
    configure(&connection).map_err(failed)?;
    migrate(&mut connection, &path)?;
    let (sender, requests) = mpsc::channel();
    std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || Worker { connection, path }.serve(&requests))
        .map_err(|error| StoreError::Open { path: folder.to_owned(), message: error.to_string() })?;
    Ok(sender)
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

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(30))?;
    // Plans that do not depend on what is bound: without it many a statement is compiled anew for each row.
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", "ON")
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let open = |error: rusqlite::Error| {
        if is_corrupt(&error) {
            return corrupt(path, &error);
        }
        StoreError::Open { path: path.to_owned(), message: error.to_string() }
    };
    let version = |connection: &Connection| -> rusqlite::Result<i64> {
        connection.query_row("PRAGMA user_version", [], |row| row.get(0))
    };
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if version(connection).map_err(open)? == known {
        return Ok(());
    }
    // Another process may migrate at the same moment: look again once the write lock is ours.
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(open)?;
    let found = version(&transaction).map_err(open)?;
    if found > known {
        return Err(StoreError::Newer { path: path.to_owned(), found, known });
    }
    for sql in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(sql).map_err(open)?;
    }
    transaction.pragma_update(None, "user_version", known).map_err(open)?;
    transaction.commit().map_err(open)
}

struct Worker {
    connection: Connection,
    path: PathBuf,
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
        let result = self.write(batch.iter().flat_map(|(changes, _)| changes));
        for (_, reply) in batch {
            let _ = reply.send(result.clone());
        }
        other
    }

    fn write<'a>(&mut self, changes: impl Iterator<Item = &'a Change>) -> Result<(), StoreError> {
        let path = &self.path;
        room(path)?;
        let failed = |error: rusqlite::Error| unwritten(path, &error);
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed)?;
        for change in changes {
            apply(&transaction, change).map_err(failed)?;
        }
        transaction.commit().map_err(failed)
    }

    fn answer(&mut self, request: StoreRequest) {
        match request {
            StoreRequest::Append { changes, reply } => {
                let _ = reply.send(self.write(changes.iter()));
            }
            StoreRequest::CreateRun { run, reply } => {
                let insert = || {
                    room(&self.path)?;
                    self.connection
                        .execute(
                            "INSERT INTO runs (id, created_ms, request) VALUES (?1, ?2, ?3)",
                            params![run.id.as_str(), run.created_ms, run.request],
                        )
                        .map(|_| ())
                        .map_err(|error| unwritten(&self.path, &error))
                };
                let _ = reply.send(insert());
            }
            StoreRequest::Runs { reply } => {
                let sql = "SELECT id, created_ms, request, measurement, cleanup FROM runs ORDER BY created_ms DESC, id DESC";
                let _ = reply.send(self.read(sql, [], run_row));
            }
            StoreRequest::Run { id, reply } => {
                let sql = "SELECT id, created_ms, request, measurement, cleanup FROM runs WHERE id = ?1";
                let _ = reply.send(self.read(sql, [id.as_str()], run_row).map(|mut rows| rows.pop()));
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
            StoreRequest::Owes { run, reply } => {
                let sql = "SELECT EXISTS (SELECT 1 FROM deployments WHERE run_id = ?1 AND debt = 'owed')";
                let owes = self.read(sql, [run.as_str()], |row| Ok(row.get::<_, bool>(0)?));
                let _ = reply.send(owes.map(|rows| rows.contains(&true)));
            }
            StoreRequest::EventsAfter { run, number, limit, reply } => {
                let sql = "SELECT number, at_ms, event FROM events WHERE run_id = ?1 AND number > ?2
                           ORDER BY number LIMIT ?3";
                let _ = reply.send(self.read(sql, params![run.as_str(), number, limit], |row| {
                    let text: String = row.get(2)?;
                    Ok((row.get(0)?, Record { at_ms: row.get(1)?, event: serde_json::from_str(&text)? }))
                }));
            }
            StoreRequest::Deployments { reply } => {
                let sql =
                    "SELECT id, run_id, benchmark, target, manifest, opened_ms, debt, params, outputs, logs
                           FROM deployments ORDER BY opened_ms, id";
                let _ = reply.send(self.read(sql, [], deployment_row));
            }
        }
    }

    /// Goes through a run's events in order, one at a time: there may be millions.
    fn each_event(&self, run: &RunId, mut take: impl FnMut(Record)) -> Result<(), StoreError> {
        let sql = "SELECT at_ms, event FROM events WHERE run_id = ?1 ORDER BY number";
        self.each(sql, [run.as_str()], |row| {
            let text = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            take(Record { at_ms: row.get(0)?, event: serde_json::from_str(text)? });
            Ok(())
        })
    }

    fn read<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        parse: impl Fn(&Row<'_>) -> Result<T, RowError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        self.each(sql, params, |row| {
            all.push(parse(row)?);
            Ok(())
        })?;
        Ok(all)
    }

    fn each(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        mut take: impl FnMut(&Row<'_>) -> Result<(), RowError>,
    ) -> Result<(), StoreError> {
        let inner = || -> Result<(), RowError> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params)?;
            while let Some(row) = rows.next()? {
                take(row)?;
            }
            Ok(())
        };
        inner().map_err(|error| match error {
            RowError::Sql(error) if is_corrupt(&error) => corrupt(&self.path, &error),
            RowError::Sql(error) => StoreError::Read { path: self.path.clone(), message: error.to_string() },
            RowError::Json(error) => {
                StoreError::Corrupt { path: self.path.clone(), message: error.to_string() }
            }
            RowError::Word(word) => {
                StoreError::Corrupt { path: self.path.clone(), message: format!("unknown word `{word}`") }
            }
        })
    }
}

fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

fn unwritten(path: &Path, error: &rusqlite::Error) -> StoreError {
    if is_corrupt(error) {
        return corrupt(path, error);
    }
    StoreError::Write { path: path.to_owned(), message: error.to_string() }
}

fn corrupt(path: &Path, error: &rusqlite::Error) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), message: error.to_string() }
}

#[derive(Debug, thiserror::Error)]
enum RowError {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("unknown word `{0}`")]
    Word(String),
}

fn run_row(row: &Row<'_>) -> Result<RunRow, RowError> {
    let verdict = |index: usize| -> Result<Option<Verdict>, RowError> {
        let word: Option<String> = row.get(index)?;
        word.map(|word| serde_json::from_value(word.clone().into()).map_err(|_| RowError::Word(word)))
            .transpose()
    };
    Ok(RunRow {
        id: RunId::new(row.get::<_, String>(0)?),
        created_ms: row.get(1)?,
        request: row.get(2)?,
        ended: verdict(3)?.zip(verdict(4)?),
    })
}

fn deployment_row(row: &Row<'_>) -> Result<DeploymentRow, RowError> {
    let debt: String = row.get(6)?;
    let json =
        |index: usize| -> Result<_, RowError> { Ok(serde_json::from_str(&row.get::<_, String>(index)?)?) };
    Ok(DeploymentRow {
        id: DeploymentId::new(row.get::<_, String>(0)?),
        run: RunId::new(row.get::<_, String>(1)?),
        benchmark: row.get(2)?,
        target: row.get(3)?,
        manifest: row.get::<_, String>(4)?.into(),
        opened_ms: row.get(5)?,
        debt: Debt::parse(&debt).ok_or(RowError::Word(debt))?,
        params: json(7)?,
        outputs: json(8)?,
        logs: row.get::<_, Option<String>>(9)?.map(PathBuf::from),
    })
}

fn end_run(
    transaction: &Transaction<'_>,
    run: &RunId,
    ended: Option<(Verdict, Verdict)>,
) -> rusqlite::Result<()> {
    let word = |verdict: Verdict| {
        serde_json::to_value(verdict).ok().and_then(|word| word.as_str().map(str::to_owned))
    };
    let (measurement, cleanup) =
        ended.map_or((None, None), |(measurement, cleanup)| (word(measurement), word(cleanup)));
    transaction
        .prepare_cached("UPDATE runs SET measurement = ?2, cleanup = ?3 WHERE id = ?1")?
        .execute(params![run.as_str(), measurement, cleanup])
        .map(|_| ())
}

fn apply(transaction: &Transaction<'_>, change: &Change) -> rusqlite::Result<()> {
    let json =
        |map: &serde_json::Map<String, serde_json::Value>| serde_json::Value::Object(map.clone()).to_string();
    let update = |sql: &str, deployment: &DeploymentId, value: &str| -> rusqlite::Result<()> {
        transaction.prepare_cached(sql)?.execute(params![deployment.as_str(), value]).map(|_| ())
    };
    match change {
        Change::Event { run, record } => {
            let event = serde_json::to_string(&record.event)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
            transaction
                .prepare_cached(
                    "INSERT INTO events (run_id, number, at_ms, event)
                     VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM events WHERE run_id = ?1), ?2, ?3)",
                )?
                .execute(params![run.as_str(), record.at_ms, event])?;
            match &record.event {
                Event::RunEnded { measurement, cleanup } => {
                    end_run(transaction, run, Some((*measurement, *cleanup)))
                }
                // Whoever takes it up again may find more to do.
                Event::RunnerStarted { .. } => end_run(transaction, run, None),
                _ => Ok(()),
            }
        }
        Change::Open(row) => transaction
            .prepare_cached(
                "INSERT INTO deployments
                     (id, run_id, benchmark, target, manifest, opened_ms, debt, params, outputs, logs)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (id) DO UPDATE SET run_id = ?2, benchmark = ?3, target = ?4, manifest = ?5,
                     opened_ms = ?6, debt = ?7, params = ?8, outputs = ?9, logs = ?10",
            )?
            .execute(params![
                row.id.as_str(),
                row.run.as_str(),
                row.benchmark,
                row.target,
                row.manifest.to_string_lossy(),
                row.opened_ms,
                row.debt.as_str(),
                json(&row.params),
                json(&row.outputs),
                row.logs.as_ref().map(|path| path.to_string_lossy().into_owned()),
            ])
            .map(|_| ()),
        Change::Debt { deployment, debt } => {
            update("UPDATE deployments SET debt = ?2 WHERE id = ?1", deployment, debt.as_str())
        }
        Change::Outputs { deployment, outputs } => {
            update("UPDATE deployments SET outputs = ?2 WHERE id = ?1", deployment, &json(outputs))
        }
        Change::Params { deployment, params } => {
            update("UPDATE deployments SET params = ?2 WHERE id = ?1", deployment, &json(params))
        }
        Change::Request { run, request } => transaction
            .prepare_cached("UPDATE runs SET request = ?2 WHERE id = ?1")?
            .execute(params![run.as_str(), request])
            .map(|_| ()),
        Change::Forget(deployment) => transaction
            .prepare_cached("DELETE FROM deployments WHERE id = ?1 AND debt <> 'owed'")?
            .execute([deployment.as_str()])
            .map(|_| ()),
        Change::Logs { deployment, logs } => {
            update("UPDATE deployments SET logs = ?2 WHERE id = ?1", deployment, &logs.to_string_lossy())
        }
    }
}
