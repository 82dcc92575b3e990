//! The database is compared with the records beside it whenever it is opened. What it has lost is found, and written
//! into it again as far as the records say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::identity::Relocation;
use super::invocations::{self, Invocations};
use super::lock;
use super::record::{self, EndRecord, OwedRecord, Progress, RunFolder};
use super::rows::{Debt, DeploymentRow, RunRow};
use super::tables::{Appended, apply, insert_run, read_deployment, unread, unwritten};
use super::{Change, StoreError, event};
use crate::attempt::{EXIT_FILE, ExitRecord};
use crate::command_exit::CommandExit;
use crate::printable::counted;
use crate::workspace::Workspace;
use sb_plan::event::{Event, FailureClass, Outcome, StopCause, Verdict};
use sb_plan::id::{DeploymentId, RunId, StepId};

/// What the records prove and the database does not know.
struct Lost {
    /// Runs that are not in it, although something was done in them.
    runs: Vec<RunId>,
    /// Deployments that are owed, of which it says something else.
    deployments: Vec<DeploymentRow>,
    /// Records that cannot be read, of deployments that are not owed by it.
    damaged: Vec<OwedRecord>,
    /// Runs of which it has held more events: so many now, so many once.
    behind: Vec<(RunId, i64, i64)>,
    /// Deployments that are owed by it and have no record that can be read.
    unrecorded: Vec<DeploymentRow>,
    /// Deployments that are owed by it, and were cleaned up since: it is an old copy.
    paid: Vec<DeploymentRow>,
}

impl Lost {
    fn is_nothing(&self) -> bool {
        self.runs.is_empty() && self.deployments.is_empty() && self.damaged.is_empty()
    }
}

/// Compares, and mends where the database can be written to. Returns what people should know.
///
/// # Errors
/// Something is lost, and cannot be made good.
pub(super) fn reconcile(
    connection: &Connection,
    workspace: &Workspace,
    mend: bool,
) -> Result<Vec<String>, StoreError> {
    let path = workspace.database();
    let failed = |error: rusqlite::Error| unwritten(&path, &error);
    let mut lost = compare(connection, workspace)?;
    let mut notes = Vec::new();
    if !mend && !lost.is_nothing() {
        return Err(lost_for_good(workspace, &lost));
    }
    if mend && !(lost.is_nothing() && lost.unrecorded.is_empty() && lost.paid.is_empty()) {
        // Once more while nobody else writes: what is compared here changes while others work.
        let transaction =
            Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(failed)?;
        lost = compare(&transaction, workspace)?;
        let mut ends = Vec::new();
        if !lost.is_nothing() {
            Restored { notes, ends } = restore(&transaction, workspace, &lost)?;
        }
        for row in &lost.paid {
            ends.extend(pay(&transaction, row).map_err(failed)?);
        }
        for row in &lost.unrecorded {
            record::keep_owed(workspace, row).map_err(|error| StoreError::Write {
                path: workspace.owed_file(&row.id),
                message: error.to_string(),
            })?;
        }
        transaction.commit().map_err(failed)?;
        let mut progress = Progress::default();
        for (run, events) in ends {
            // A run that is written anew has fewer events than before. Should it fail, that is told once more.
            let _ = progress.note(workspace, &run, events);
        }
    }
    for row in &lost.paid {
        notes.push(format!(
            "the state `{}` says that the cleanup of `{}` is owed; it was cleaned up since, as `{}` says: the state is an old copy",
            path.display(),
            row.id,
            workspace.paid_file(&row.run).display()
        ));
    }
    for (run, now, once) in &lost.behind {
        notes.push(format!(
            "the state `{}` has lost the end of run {run}: it held {}, and holds {now}. What the steps since then \
             have left in their folders is taken up from there",
            path.display(),
            counted(*once, "event")
        ));
    }
    Ok(notes)
}

fn compare(connection: &Connection, workspace: &Workspace) -> Result<Lost, StoreError> {
    let path = workspace.database();
    let unlisted = |error: std::io::Error| StoreError::Read {
        path: workspace.folder().to_owned(),
        message: error.to_string(),
    };
    // The records first: what they say is in the database by then.
    let owed = record::owed(workspace).map_err(unlisted)?;
    let folders = record::run_folders(workspace).map_err(unlisted)?;
    let moment = Moment::read(connection).map_err(|error| unwritten(&path, &error))?;
    let mut lost = Lost {
        runs: vec![],
        deployments: vec![],
        damaged: vec![],
        behind: vec![],
        unrecorded: vec![],
        paid: vec![],
    };
    for RunFolder { id, events, begun } in folders {
        match moment.runs.get(&id) {
            None if begun || events > 0 => lost.runs.push(id),
            Some(&now) if now < events => lost.behind.push((id, now, events)),
            _ => {}
        }
    }
    let mut recorded = BTreeSet::new();
    for record in owed {
        recorded.extend(record.row.as_ref().map(|row| row.id.clone()));
        if moment.owed.contains(&record.deployment) {
            continue;
        }
        if record.row.as_ref().is_some_and(|row| is_in_hand(workspace, row)) {
            continue;
        }
        match record.row {
            Some(row) => {
                if !moment.runs.contains_key(&row.run) && !lost.runs.contains(&row.run) {
                    lost.runs.push(row.run.clone());
                }
                lost.deployments.push(row);
            }
            None => lost.damaged.push(record),
        }
    }
    for id in moment.owed.difference(&recorded) {
        if let Some(row) = read_deployment(connection, id).map_err(|error| unread(&path, error))?
            && row.debt == Debt::Owed
            && !is_in_hand(workspace, &row)
        {
            // A record that cannot be read is no sign that it was removed.
            let has_record = workspace.owed_file(&row.id).exists();
            if !has_record && record::is_paid(workspace, &row) {
                lost.paid.push(row);
            } else {
                lost.unrecorded.push(row);
            }
        }
    }
    Ok(lost)
}

/// Whether a live process works on a deployment: between two of its steps, journal and record may differ.
fn is_in_hand(workspace: &Workspace, row: &DeploymentRow) -> bool {
    lock::is_held(&workspace.run_lock(&row.run)) || lock::is_held(&workspace.deployment_lock(&row.id))
}

/// What the database says at one moment.
struct Moment {
    /// The number of events of each run.
    runs: HashMap<RunId, i64>,
    owed: BTreeSet<DeploymentId>,
}

impl Moment {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut runs = HashMap::new();
        let mut statement = connection.prepare(
            "SELECT id, (SELECT coalesce(max(number), 0) FROM events WHERE run_id = runs.id) FROM runs NOT INDEXED",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            runs.insert(RunId::new(row.get::<_, String>(0)?), row.get(1)?);
        }
        let mut owed = BTreeSet::new();
        let mut statement =
            connection.prepare("SELECT id FROM deployments NOT INDEXED WHERE debt = 'owed'")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            owed.insert(DeploymentId::new(row.get::<_, String>(0)?));
        }
        Ok(Self { runs, owed })
    }
}

struct Restored {
    /// For people.
    notes: Vec<String>,
    /// The number of events of each run that got some.
    ends: Vec<(RunId, i64)>,
}

/// Writes down that a deployment is cleaned up; returns the number of the last event of its run.
fn pay(transaction: &Transaction<'_>, row: &DeploymentRow) -> rusqlite::Result<Vec<(RunId, i64)>> {
    let mut appended = Appended::default();
    let deployment = row.id.clone();
    let paid = event(&row.run, now_ms(), Event::DebtPaid { deployment: deployment.clone() });
    for change in [paid, Change::Debt { deployment, debt: Debt::Paid }] {
        apply(transaction, &change, &mut appended)?;
    }
    appended.seal(transaction)
}

/// Writes what is lost into the database again.
fn restore(
    transaction: &Transaction<'_>,
    workspace: &Workspace,
    lost: &Lost,
) -> Result<Restored, StoreError> {
    let path = workspace.database();
    let failed = |error: rusqlite::Error| unwritten(&path, &error);
    let mut rows = lost.deployments.clone();
    for record in &lost.damaged {
        // A debt loses its record before it is paid: as long as there is one, it is owed.
        let row = read_deployment(transaction, &record.deployment).map_err(|error| unread(&path, error))?;
        rows.push(row.ok_or_else(|| lost_for_good(workspace, lost))?);
    }
    // The folder is made with the first debt, and stays: without it, the records are lost, too.
    let has_folder = workspace.owed().is_dir();
    let known = Known::new(workspace, &rows);
    let is_lost = |id: &RunId| !(has_folder && known.accounts_for(workspace, id));
    if lost.runs.iter().any(|id| has_deployed(workspace, id) && is_lost(id)) {
        return Err(lost_for_good(workspace, lost));
    }
    let mut runs = Vec::new();
    for id in &lost.runs {
        runs.push(record::run(workspace, id).ok_or_else(|| lost_for_good(workspace, lost))?);
    }
    let invocations = invocations::find(&runs, &Relocation::of(workspace));
    let mut changes = Vec::new();
    let mut notes = Vec::new();
    for run in &runs {
        let id = &run.id;
        insert_run(transaction, run).map_err(failed)?;
        let owed: Vec<_> = rows.iter().filter(|row| row.run == *id).map(|row| row.id.clone()).collect();
        changes.extend(history(workspace, run, &owed, &invocations));
        notes.push(format!(
            "the state `{}` had lost run {id}; it was written anew from `{}`",
            path.display(),
            workspace.run(id).display()
        ));
    }
    for mut row in rows {
        row.debt = Debt::Owed;
        // The record was written before the first load.
        if let Some(logs) = invocations.last_of(&row) {
            row.logs = Some(logs);
        }
        if !lost.runs.contains(&row.run) {
            changes.push(debt(&row.run, row.id.clone()));
        }
        notes.push(format!(
            "the state `{}` did not know that the cleanup of `{}` is owed; the record beside it did",
            path.display(),
            row.id
        ));
        changes.push(Change::Open(row));
    }
    let mut appended = Appended::default();
    for change in &changes {
        apply(transaction, change, &mut appended).map_err(failed)?;
    }
    Ok(Restored { notes, ends: appended.seal(transaction).map_err(failed)? })
}

fn debt(run: &RunId, deployment: DeploymentId) -> Change {
    event(run, now_ms(), Event::DebtRecorded { deployment })
}

/// The events of a run whose journal is gone, as far as they matter: what is owed, which attempts were begun and where they
/// measured, and that nothing new is to be measured.
fn history(
    workspace: &Workspace,
    run: &RunRow,
    owed: &[DeploymentId],
    invocations: &Invocations,
) -> Vec<Change> {
    let now = now_ms();
    let mut changes = vec![event(&run.id, now, Event::RunnerStarted { pid: 0, boot: None, up_ms: None })];
    changes.extend(owed.iter().map(|deployment| debt(&run.id, deployment.clone())));
    let mut attempts = BTreeMap::new();
    let steps = workspace.run(&run.id).join("steps");
    find_attempts(&steps, &steps, &mut attempts);
    let end = record::end(workspace, &run.id);
    let mut at_rest = true;
    for (step, attempt) in attempts {
        let folder = workspace.attempt(&run.id, &step, attempt);
        // A background step runs on when all has ended, and is no sign of a runner.
        at_rest &= folder.join(EXIT_FILE).exists() || is_in_background(workspace, owed, &step);
        let exit = ExitRecord::read(&folder).ok().flatten().filter(|_| end.is_some());
        let at_ms = exit.as_ref().map_or(now, |exit| millis(exit.started_unix_ms));
        let logs = invocations.folder(&run.id, &step, attempt);
        changes.push(event(
            &run.id,
            at_ms,
            Event::StepStarted { step: step.clone(), attempt, logs, up_ms: None },
        ));
        if let Some(end) = end {
            let at_ms = exit.as_ref().map_or(end.at_ms, |exit| millis(exit.ended_unix_ms));
            let ended = step_end(step, attempt, exit, end.measurement == Verdict::Complete);
            changes.push(event(&run.id, at_ms, ended));
        }
    }
    let why = "its journal was lost, and written anew from what its steps have left".to_owned();
    changes.push(event(&run.id, now, Event::StopRequested { why, cause: StopCause::User }));
    if let Some(EndRecord { at_ms, measurement, cleanup, .. }) = end {
        changes.push(event(&run.id, at_ms, Event::RunEnded { measurement, cleanup, up_ms: None }));
        return changes;
    }
    // Another command cleans up, or nothing is left to do.
    if at_rest && (owed.is_empty() || !cleans_up(run)) {
        let (measurement, cleanup) = (Verdict::Cancelled, Verdict::None);
        let ended = Event::RunEnded { measurement, cleanup, up_ms: None };
        changes.push(event(&run.id, now, ended));
    }
    changes
}

/// The end of a step of a run that has ended, as far as it is known. That a command ended with 0 does not prove that its step
/// succeeded: what it was to make may be missing.
fn step_end(step: StepId, attempt: u32, exit: Option<ExitRecord>, all_succeeded: bool) -> Event {
    let took_ms = exit.as_ref().map(|exit| exit.ended_unix_ms.saturating_sub(exit.started_unix_ms));
    let outcome = match exit.map(|exit| exit.exit) {
        _ if all_succeeded => Outcome::Succeeded,
        Some(CommandExit::Cancelled) => Outcome::Cancelled,
        Some(CommandExit::Code(0)) | None => Outcome::Interrupted,
        Some(exit) => Outcome::failed(FailureClass::Step, exit.to_string()),
    };
    let (outputs, invalid) = (BTreeMap::new(), vec![]);
    Event::StepEnded { step, attempt, outcome, outputs, invalid, took_ms, retry: false }
}

fn millis(unix_ms: u64) -> i64 {
    i64::try_from(unix_ms).unwrap_or(i64::MAX)
}

/// Whether a deployment keeps the step alive until its cleanup.
fn is_in_background(workspace: &Workspace, owed: &[DeploymentId], step: &StepId) -> bool {
    let records = owed.iter().filter_map(|deployment| fs::read_dir(workspace.background(deployment)).ok());
    records.flatten().flatten().any(|record| {
        let text = fs::read(record.path()).unwrap_or_default();
        let value = serde_json::from_slice::<serde_json::Value>(&text).unwrap_or_default();
        value["step"] == step.as_str()
    })
}

/// Whether a deploy step has begun: `DEPLOYMENT/deploy/STEP`.
fn has_deployed(workspace: &Workspace, run: &RunId) -> bool {
    let steps = workspace.run(run).join("steps");
    fs::read_dir(steps).into_iter().flatten().flatten().any(|item| item.path().join("deploy").is_dir())
}

/// Of which runs a record says what became of what they have deployed: it is owed, or was cleaned up.
struct Known {
    runs: BTreeSet<RunId>,
    /// There is a deployment with a name of its own, which may have its record from another run.
    has_named: bool,
}

impl Known {
    fn new(workspace: &Workspace, owed: &[DeploymentRow]) -> Self {
        let owed = owed.iter().map(|row| (row.run.clone(), row.id.clone()));
        let mut known = Self { runs: BTreeSet::new(), has_named: false };
        for (run, deployment) in record::paid(workspace).into_iter().chain(owed) {
            let key = deployment.as_str().strip_prefix(run.as_str());
            known.has_named |= !key.is_some_and(|key| key.starts_with('.'));
            known.runs.insert(run);
        }
        known
    }

    fn accounts_for(&self, workspace: &Workspace, run: &RunId) -> bool {
        self.has_named
            || self.runs.contains(run)
            || record::end(workspace, run).is_some_and(|end| end.cleanup == Verdict::Complete)
    }
}

fn cleans_up(run: &RunRow) -> bool {
    let request: serde_json::Value = serde_json::from_str(&run.request).unwrap_or_default();
    request.pointer("/parts/cleanup").and_then(serde_json::Value::as_bool).unwrap_or(true)
}

/// The last attempt of each step that has a folder: `STEP/NUMBER`, where the step's id may have slashes.
fn find_attempts(top: &Path, folder: &Path, found: &mut BTreeMap<StepId, u32>) {
    for item in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = item.path();
        if !path.is_dir() {
            continue;
        }
        let number = item.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        match (number, folder.strip_prefix(top).ok().and_then(Path::to_str)) {
            (Some(number), Some(step)) if !step.is_empty() => {
                let last = found.entry(StepId::new(step)).or_default();
                *last = number.max(*last);
            }
            _ => find_attempts(top, &path, found),
        }
    }
}

fn lost_for_good(workspace: &Workspace, lost: &Lost) -> StoreError {
    let mut what: Vec<String> = lost.runs.iter().map(|id| format!("run {id}")).collect();
    what.extend(lost.deployments.iter().map(|row| format!("the deployment `{}`", row.id)));
    what.extend(lost.damaged.iter().map(|record| {
        format!("the deployment `{}`, whose record `{}` is damaged", record.deployment, record.path.display())
    }));
    StoreError::Lost { path: workspace.database(), what: what.join(", ") }
}

fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
