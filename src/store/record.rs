//! Records beside the journal, which do not depend on it. They say whose cleanup is owed, what each run was asked
//! for, how far its journal has come, and how it ended. A journal that was emptied, damaged, lost or put back from an
//! old copy is found out by them, and rebuilt from them.
//!
//! | file | written | says |
//! |---|---|---|
//! | `.sb/owed/DEPLOYMENT.json` | when the debt is in the journal, before the first deploy step; removed before it is paid there | what stands |
//! | `.sb/runs/RUN/paid` | a line each, before that record is removed | what was cleaned up |
//! | `.sb/runs/RUN/request.json` | before the run is in the journal | what the run is |
//! | `.sb/runs/RUN/ended` | when the run has ended | how it ended |
//! | `.sb/runs/RUN/journal` | after each transaction, not durably | so many events were in the journal |

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use sb_durable::Options;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::checksum;
use super::rows::{DeploymentRow, RunRow};
use crate::workspace::Workspace;
use sb_plan::event::Verdict;
use sb_plan::id::{DeploymentId, RunId};

/// A file that proves that its content is what was written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    /// Of this shape: 1.
    version: u32,
    /// JSON.
    content: String,
    checksum: u32,
}

/// What a run was asked for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunRecord {
    created_ms: i64,
    request: String,
}

/// The record of a deployment.
pub(super) struct OwedRecord {
    pub(super) path: PathBuf,
    pub(super) deployment: DeploymentId,
    /// None: the file is damaged.
    pub(super) row: Option<DeploymentRow>,
}

fn write(path: &Path, content: &impl Serialize) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let content = serde_json::to_string(content)?;
    let sealed = Sealed { version: 1, checksum: checksum::of(&content), content };
    Ok(sb_durable::write(path, Options::new().private(), &serde_json::to_vec(&sealed)?)?)
}

/// None when it is damaged.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let Ok(sealed) = serde_json::from_slice::<Sealed>(&fs::read(path)?) else { return Ok(None) };
    if sealed.version != 1 || checksum::of(&sealed.content) != sealed.checksum {
        return Ok(None);
    }
    Ok(serde_json::from_str(&sealed.content).ok())
}

/// Durable when it returns.
pub(super) fn keep_owed(workspace: &Workspace, row: &DeploymentRow) -> io::Result<()> {
    write(&workspace.owed_file(&row.id), row)
}

/// Durable when it returns.
pub(super) fn forget_owed(workspace: &Workspace, deployment: &DeploymentId) -> io::Result<()> {
    let path = workspace.owed_file(deployment);
    match fs::remove_file(&path) {
        Ok(()) => File::open(workspace.owed())?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// A line of what was cleaned up: which deployment, and when it had been opened.
fn paid_line(row: &DeploymentRow) -> String {
    let what = format!("{} {}", row.opened_ms, row.id);
    format!("{:08x} {what}\n", checksum::of(&what))
}

/// Notes that the deployment was cleaned up: a journal that says otherwise later on is an old copy. Durable when it
/// returns.
pub(super) fn keep_paid(workspace: &Workspace, row: &DeploymentRow) -> io::Result<()> {
    let path = workspace.paid_file(&row.run);
    fs::create_dir_all(workspace.run(&row.run))?;
    let is_new = !path.exists();
    let mut file = sb_durable::private().append(true).create(true).open(&path)?;
    io::Write::write_all(&mut file, paid_line(row).as_bytes())?;
    file.sync_data()?;
    if is_new {
        File::open(workspace.run(&row.run))?.sync_all()?;
    }
    Ok(())
}

/// Whether the deployment was cleaned up since it was opened. What cannot be read proves nothing.
pub(super) fn is_paid(workspace: &Workspace, row: &DeploymentRow) -> bool {
    let line = paid_line(row);
    fs::read(workspace.paid_file(&row.run))
        .is_ok_and(|bytes| bytes.split_inclusive(|byte| *byte == b'\n').any(|found| found == line.as_bytes()))
}

/// Every deployment that was cleaned up, with the run that had opened it.
pub(super) fn paid(workspace: &Workspace) -> Vec<(RunId, DeploymentId)> {
    let mut found = Vec::new();
    for run in names(&workspace.runs()).unwrap_or_default().into_iter().map(RunId::new) {
        let text = fs::read_to_string(workspace.paid_file(&run)).unwrap_or_default();
        // A checksum, when it was opened, and its id.
        let ids = text.lines().filter_map(|line| line.splitn(3, ' ').nth(2));
        found.extend(ids.map(|id| (run.clone(), DeploymentId::new(id))));
    }
    found
}

/// Every deployment that is owed by its record, damaged records included; sorted.
pub(super) fn owed(workspace: &Workspace) -> io::Result<Vec<OwedRecord>> {
    let mut records = Vec::new();
    for name in names(&workspace.owed())? {
        let Some(stem) = name.strip_suffix(".json").filter(|_| !name.starts_with('.')) else { continue };
        let path = workspace.owed().join(&name);
        let row: Option<DeploymentRow> = match read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            read => read?,
        };
        let row = row.filter(|row| workspace.owed_file(&row.id) == path);
        let deployment =
            row.as_ref().map_or_else(|| DeploymentId::new(unescaped(stem)), |row| row.id.clone());
        records.push(OwedRecord { path, deployment, row });
    }
    records.sort_by(|one, two| one.path.cmp(&two.path));
    Ok(records)
}

/// The id of which [`sb_plan::id::file_name`] made this name.
fn unescaped(name: &str) -> String {
    percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned()
}

/// Durable when it returns.
pub(super) fn keep_run(workspace: &Workspace, row: &RunRow) -> io::Result<()> {
    let content = RunRecord { created_ms: row.created_ms, request: row.request.clone() };
    write(&workspace.request_file(&row.id), &content)
}

/// None when there is no record, or it is damaged.
pub(super) fn run(workspace: &Workspace, id: &RunId) -> Option<RunRow> {
    let RunRecord { created_ms, request } = read(&workspace.request_file(id)).ok()??;
    Some(RunRow { id: id.clone(), created_ms, request, ended: None })
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndRecord {
    pub(super) at_ms: i64,
    pub(super) measurement: Verdict,
    pub(super) cleanup: Verdict,
    /// So many events were in the journal then: with more of them, the run went on.
    pub(super) events: i64,
}

/// Durable when it returns.
pub(super) fn keep_end(workspace: &Workspace, run: &RunId, end: EndRecord) -> io::Result<()> {
    write(&workspace.ended_file(run), &end)
}

/// How a run ended, unless it went on since. None, too, when the record is damaged, or was not written by an earlier version.
pub(super) fn end(workspace: &Workspace, run: &RunId) -> Option<EndRecord> {
    let end: EndRecord = read(&workspace.ended_file(run)).ok()??;
    (end.events == events(workspace, run)).then_some(end)
}

/// What the folder of a run proves.
pub(super) struct RunFolder {
    pub(super) id: RunId,
    /// So many events were in the journal.
    pub(super) events: i64,
    /// A step has begun.
    pub(super) begun: bool,
}

pub(super) fn run_folders(workspace: &Workspace) -> io::Result<Vec<RunFolder>> {
    let mut found = Vec::new();
    for name in names(&workspace.runs())? {
        let id = RunId::new(name);
        let begun = workspace.run(&id).join("steps").is_dir();
        found.push(RunFolder { events: events(workspace, &id), begun, id });
    }
    found.sort_by(|one, two| one.id.cmp(&two.id));
    Ok(found)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let items = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        items => items?,
    };
    items.map(|item| Ok(item?.file_name().to_string_lossy().into_owned())).collect()
}

/// A file that does not hold a number is one whose content a loss of power took.
fn events(workspace: &Workspace, run: &RunId) -> i64 {
    let text = fs::read_to_string(workspace.progress_file(run)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// How far the journals of runs have come.
#[derive(Default)]
pub(super) struct Progress(HashMap<RunId, File>);

impl Progress {
    /// Says that the journal holds so many events of the run. It need not survive a loss of power: the journal does.
    pub(super) fn note(&mut self, workspace: &Workspace, run: &RunId, events: i64) -> io::Result<()> {
        if !self.0.contains_key(run) {
            let path = workspace.progress_file(run);
            let mut options = sb_durable::private();
            options.write(true).create(true).truncate(false);
            let file = match options.open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir_all(workspace.run(run))?;
                    options.open(&path)?
                }
                opened => opened?,
            };
            self.0.insert(run.clone(), file);
        }
        self.0[run].write_all_at(format!("{events:020}\n").as_bytes(), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows::Debt;
    use serde_json::Map;

    #[test]
    fn a_record_that_is_not_what_was_written_is_damaged_and_still_names_its_deployment() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let id = DeploymentId::new("a/b@local");
        let row = DeploymentRow {
            id: id.clone(),
            run: RunId::new("r"),
            benchmark: "b".into(),
            target: "local".into(),
            manifest: "/m".into(),
            opened_ms: 1,
            debt: Debt::Owed,
            params: Map::from_iter([("name".to_owned(), "x".into())]),
            outputs: Map::new(),
            logs: None,
        };
        keep_owed(&workspace, &row).unwrap();
        assert_eq!(owed(&workspace).unwrap()[0].row, Some(row));
        let path = workspace.owed_file(&id);
        let text = fs::read(&path).unwrap();
        for at in 0..text.len() {
            let mut damaged = text.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).unwrap();
            let found = owed(&workspace).unwrap();
            assert!(found[0].row.is_none(), "{}", String::from_utf8_lossy(&damaged));
            assert_eq!(found[0].deployment, id);
        }
        forget_owed(&workspace, &id).unwrap();
        assert!(owed(&workspace).unwrap().is_empty());
        forget_owed(&workspace, &id).unwrap();
    }
}
