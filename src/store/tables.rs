//! The rows of the database: written, read, and compared with their checksums.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::checksum::{Checksum, Damage, Verifier};
use super::rows::{Debt, DeploymentRow, RunRow};
use super::{Change, StoreError};
use sb_plan::event::{Event, Record, Verdict};
use sb_plan::id::{DeploymentId, RunId};

pub(super) const RUNS: &str = "SELECT id, created_ms, request, measurement, cleanup, checksum FROM runs";
const DEPLOYMENTS: &str =
    "SELECT id, run_id, benchmark, target, manifest, opened_ms, debt, params, outputs, logs, checksum
    FROM deployments";

#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("unknown word `{0}`")]
    Word(String),
    #[error(transparent)]
    Events(#[from] Damage),
    #[error("{0} is not what was written")]
    Changed(String),
}

/// Whether it is what the database holds that is wrong, and not the disk, its permissions or who else works with it: our
/// statements are right, so a table, a column or a type that is missing was damaged.
pub(super) fn is_corrupt(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::SystemIoFailure => failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ,
            ErrorCode::PermissionDenied
            | ErrorCode::OperationAborted
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory
            | ErrorCode::ReadOnly
            | ErrorCode::OperationInterrupted
            | ErrorCode::DiskFull
            | ErrorCode::CannotOpen
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::ApiMisuse
            | ErrorCode::NoLargeFileSupport
            | ErrorCode::AuthorizationForStatementDenied => false,
            _ => true,
        },
        rusqlite::Error::ToSqlConversionFailure(_) | rusqlite::Error::InvalidPath(_) => false,
        _ => true,
    }
}

pub(super) fn unwritten(path: &Path, error: &rusqlite::Error) -> StoreError {
    if is_corrupt(error) {
        return corrupt(path, error);
    }
    StoreError::Write { path: path.to_owned(), message: error.to_string() }
}

pub(super) fn corrupt(path: &Path, error: &impl ToString) -> StoreError {
    StoreError::Corrupt { path: path.to_owned(), message: error.to_string() }
}

pub(super) fn unread(path: &Path, error: RowError) -> StoreError {
    match error {
        RowError::Sql(error) if !is_corrupt(&error) => {
            StoreError::Read { path: path.to_owned(), message: error.to_string() }
        }
        error => corrupt(path, &error),
    }
}

pub(super) fn each<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    mut parse: impl FnMut(&Row<'_>) -> Result<T, RowError>,
) -> Result<Vec<T>, RowError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(parse(row)?);
    }
    Ok(all)
}

/// Goes through a run's events in order, one at a time: there may be millions. All are there, as they were written.
pub(super) fn each_event(
    connection: &Connection,
    run: &RunId,
    mut take: impl FnMut(Record),
) -> Result<(), RowError> {
    // Both at one moment: another process may append.
    let moment = connection.unchecked_transaction()?;
    let sql = "SELECT first, last, checksum FROM checksums WHERE run_id = ?1 ORDER BY last";
    let chunks = each(&moment, sql, [run.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut verifier = Verifier::new(0, chunks);
    let sql = "SELECT number, at_ms, event FROM events WHERE run_id = ?1 ORDER BY number";
    let mut statement = moment.prepare_cached(sql)?;
    let mut rows = statement.query([run.as_str()])?;
    while let Some(row) = rows.next()? {
        let (number, at_ms) = (row.get(0)?, row.get(1)?);
        let text = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        verifier.take(number, at_ms, text)?;
        take(Record { at_ms, event: Event::from_json(text)? });
    }
    Ok(verifier.end()?)
}

pub(super) fn read_run(connection: &Connection, id: &RunId) -> Result<Option<RunRow>, RowError> {
    Ok(each(connection, &format!("{RUNS} WHERE id = ?1"), [id.as_str()], run_row)?.pop())
}

pub(super) fn read_deployment(
    connection: &Connection,
    id: &DeploymentId,
) -> Result<Option<DeploymentRow>, RowError> {
    let sql = format!("{DEPLOYMENTS} WHERE id = ?1");
    let rows = each(connection, &sql, [id.as_str()], |row| deployment_row(row, &|_, _| true))?;
    Ok(rows.into_iter().flatten().next())
}

/// Those that are wanted, in the order in which they were opened. All are compared with their checksums.
pub(super) fn read_deployments(
    connection: &Connection,
    wanted: &dyn Fn(&DeploymentId, Debt) -> bool,
) -> Result<Vec<DeploymentRow>, RowError> {
    // Every row, and not what an index says of them.
    let sql = format!("{DEPLOYMENTS} NOT INDEXED");
    let mut rows = Vec::new();
    each(connection, &sql, [], |row| {
        rows.extend(deployment_row(row, wanted)?);
        Ok(())
    })?;
    rows.sort_by(|one, two| (one.opened_ms, &one.id).cmp(&(two.opened_ms, &two.id)));
    Ok(rows)
}

/// Fails when the row, but for its checksum at the end, is not the one that was written.
fn verify(row: &Row<'_>, checksum: usize, what: impl FnOnce() -> String) -> Result<(), RowError> {
    let expected: Option<u32> = row.get(checksum)?;
    if expected.is_some_and(|expected| checksum_of(row, checksum).is_ok_and(|found| found != expected)) {
        return Err(RowError::Changed(what()));
    }
    Ok(())
}

/// Of the first columns of a row.
fn checksum_of(row: &Row<'_>, columns: usize) -> rusqlite::Result<u32> {
    use rusqlite::types::ValueRef;
    let mut checksum = Checksum::default();
    for column in 0..columns {
        match row.get_ref(column)? {
            ValueRef::Null | ValueRef::Real(_) => checksum.add(b"\0null"),
            ValueRef::Integer(number) => checksum.add(&number.to_le_bytes()),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => checksum.add(bytes),
        }
    }
    Ok(checksum.value())
}

pub(super) fn run_row(row: &Row<'_>) -> Result<RunRow, RowError> {
    let verdict = |index: usize| -> Result<Option<Verdict>, RowError> {
        let word: Option<String> = row.get(index)?;
        word.map(|word| serde_json::from_value(word.clone().into()).map_err(|_| RowError::Word(word)))
            .transpose()
    };
    let id = RunId::new(row.get::<_, String>(0)?);
    verify(row, 5, || format!("the row of run {id}"))?;
    Ok(RunRow { id, created_ms: row.get(1)?, request: row.get(2)?, ended: verdict(3)?.zip(verdict(4)?) })
}

/// None: it is not wanted.
fn deployment_row(
    row: &Row<'_>,
    wanted: &dyn Fn(&DeploymentId, Debt) -> bool,
) -> Result<Option<DeploymentRow>, RowError> {
    let json =
        |index: usize| -> Result<_, RowError> { Ok(serde_json::from_str(&row.get::<_, String>(index)?)?) };
    let id = DeploymentId::new(row.get::<_, String>(0)?);
    verify(row, 10, || format!("the row of deployment `{id}`"))?;
    let debt: String = row.get(6)?;
    let debt = Debt::parse(&debt).ok_or(RowError::Word(debt))?;
    if !wanted(&id, debt) {
        return Ok(None);
    }
    Ok(Some(DeploymentRow {
        id,
        run: RunId::new(row.get::<_, String>(1)?),
        benchmark: row.get(2)?,
        target: row.get(3)?,
        manifest: row.get::<_, String>(4)?.into(),
        opened_ms: row.get(5)?,
        debt,
        params: json(7)?,
        outputs: json(8)?,
        logs: row.get::<_, Option<String>>(9)?.map(PathBuf::from),
    }))
}

/// What a transaction has changed, for the checksums.
#[derive(Default)]
pub(super) struct Appended {
    /// Of each run that got events: the first number, the last, and the checksum of all.
    events: Vec<(RunId, i64, i64, Checksum)>,
    runs: Vec<RunId>,
    deployments: Vec<DeploymentId>,
}

impl Appended {
    fn event(&mut self, run: &RunId, number: i64, at_ms: i64, event: &str) {
        let found = self.events.iter().position(|(of, ..)| of == run);
        let index = found.unwrap_or_else(|| {
            self.events.push((run.clone(), number, number, Checksum::default()));
            self.events.len() - 1
        });
        let (_, _, last, checksum) = &mut self.events[index];
        *last = number;
        checksum.add_event(at_ms, event);
    }

    fn run(&mut self, run: &RunId) {
        if !self.runs.contains(run) {
            self.runs.push(run.clone());
        }
    }

    fn deployment(&mut self, deployment: &DeploymentId) {
        if !self.deployments.contains(deployment) {
            self.deployments.push(deployment.clone());
        }
    }

    /// Writes the checksums; returns the last number of each run that got events.
    pub(super) fn seal(self, transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(RunId, i64)>> {
        for run in &self.runs {
            seal(transaction, "runs", RUNS, run.as_str())?;
        }
        for deployment in &self.deployments {
            seal(transaction, "deployments", DEPLOYMENTS, deployment.as_str())?;
        }
        let mut ends = Vec::new();
        for (run, first, last, checksum) in self.events {
            transaction
                .prepare_cached(
                    "INSERT INTO checksums (run_id, last, first, checksum) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![run.as_str(), last, first, checksum.value()])?;
            ends.push((run, last));
        }
        Ok(ends)
    }
}

/// Writes the checksum of a row; `columns` selects them, the checksum last.
fn seal(connection: &Connection, table: &str, columns: &str, id: &str) -> rusqlite::Result<()> {
    let checksum = connection
        .prepare_cached(&format!("{columns} WHERE id = ?1"))?
        .query_row([id], |row| checksum_of(row, row.as_ref().column_count() - 1))
        .optional()?;
    connection
        .prepare_cached(&format!("UPDATE {table} SET checksum = ?2 WHERE id = ?1"))?
        .execute(params![id, checksum])
        .map(|_| ())
}

pub(super) fn insert_run(transaction: &Transaction<'_>, run: &RunRow) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO runs (id, created_ms, request) VALUES (?1, ?2, ?3)",
        params![run.id.as_str(), run.created_ms, run.request],
    )?;
    seal(transaction, "runs", RUNS, run.id.as_str())
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

pub(super) fn apply(
    transaction: &Transaction<'_>,
    change: &Change,
    appended: &mut Appended,
) -> rusqlite::Result<()> {
    let json =
        |map: &serde_json::Map<String, serde_json::Value>| serde_json::Value::Object(map.clone()).to_string();
    let mut update = |sql: &str, deployment: &DeploymentId, value: &str| -> rusqlite::Result<()> {
        appended.deployment(deployment);
        transaction.prepare_cached(sql)?.execute(params![deployment.as_str(), value]).map(|_| ())
    };
    match change {
        Change::Event { run, record } => {
            let event = super::checksum::text_of(record)?;
            let number = transaction
                .prepare_cached(
                    "INSERT INTO events (run_id, number, at_ms, event)
                     VALUES (?1, (SELECT coalesce(max(number), 0) + 1 FROM events WHERE run_id = ?1), ?2, ?3)
                     RETURNING number",
                )?
                .query_row(params![run.as_str(), record.at_ms, event], |row| row.get(0))?;
            appended.event(run, number, record.at_ms, &event);
            match &record.event {
                Event::RunEnded { measurement, cleanup, .. } => {
                    appended.run(run);
                    end_run(transaction, run, Some((*measurement, *cleanup)))
                }
                // Whoever takes it up again may find more to do.
                Event::RunnerStarted { .. } => {
                    appended.run(run);
                    end_run(transaction, run, None)
                }
                _ => Ok(()),
            }
        }
        Change::Open(row) => {
            appended.deployment(&row.id);
            transaction
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
                .map(|_| ())
        }
        Change::Debt { deployment, debt } => {
            update("UPDATE deployments SET debt = ?2 WHERE id = ?1", deployment, debt.as_str())
        }
        Change::Outputs { deployment, outputs } => {
            update("UPDATE deployments SET outputs = ?2 WHERE id = ?1", deployment, &json(outputs))
        }
        Change::Params { deployment, params } => {
            update("UPDATE deployments SET params = ?2 WHERE id = ?1", deployment, &json(params))
        }
        Change::Request { run, request } => {
            appended.run(run);
            transaction
                .prepare_cached("UPDATE runs SET request = ?2 WHERE id = ?1")?
                .execute(params![run.as_str(), request])
                .map(|_| ())
        }
        Change::Forget(deployment) => transaction
            .prepare_cached("DELETE FROM deployments WHERE id = ?1 AND debt <> 'owed'")?
            .execute([deployment.as_str()])
            .map(|_| ()),
        Change::Logs { deployment, logs } => {
            update("UPDATE deployments SET logs = ?2 WHERE id = ?1", deployment, &logs.to_string_lossy())
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn what_the_database_holds_is_damaged_and_what_the_disk_refuses_is_not() {
        let failure = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        let typed = rusqlite::Error::InvalidColumnType(0, "id".to_owned(), rusqlite::types::Type::Null);
        assert!(is_corrupt(&typed));
        for code in [
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_ERROR,
            ffi::SQLITE_CONSTRAINT,
            ffi::SQLITE_IOERR_SHORT_READ,
        ] {
            assert!(is_corrupt(&failure(code)), "{code}");
        }
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_BUSY,
            ffi::SQLITE_PERM,
            ffi::SQLITE_CANTOPEN,
        ] {
            assert!(!is_corrupt(&failure(code)), "{code}");
        }
    }
}
