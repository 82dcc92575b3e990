//! Which folder a state is. A workspace that was moved is used where it is now, and a copy of one is not taken for
//! it.
//!
//! `.sb/identity.json` says where the state was last worked on. The same device and inode under another path: it was moved.
//! Another inode, while the state of the same id is still at the path from before: it is a copy. What a copy has not
//! ended is the original's to end, whose steps may be running. A move within a file system keeps the inode. So another
//! inode of the same device is a copy even if nothing is at that path any more: the original went elsewhere.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rand::RngExt as _;
use rusqlite::Connection;
use sb_durable::{Durability, Options};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StoreError;
use super::tables::unwritten;
use super::worker::Access;
use crate::attempt;
use crate::workspace::{Workspace, kernel, this_host};
use sb_plan::event::{Event, Record};

/// The content of `.sb/identity.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    /// Of this shape: 1.
    version: u32,
    /// Of the state, copies included.
    id: String,
    /// Of the folder `.sb`.
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Of the machine, until it is started again.
    boot: String,
    host: String,
    /// Where the workspace was before, oldest first. What the journal says of paths there holds for those here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<PathBuf>,
}

/// What the folder is, compared with the last time.
enum Found {
    /// Nothing was noted yet.
    New,
    Same,
    Moved,
    /// Of this one, which is still there, or was on another machine.
    Copy(PathBuf),
    /// Of one that was here, and is now elsewhere or removed.
    Stray(PathBuf),
}

impl Identity {
    fn here(workspace: &Workspace) -> io::Result<Self> {
        let path = fs::canonicalize(workspace.folder())?;
        let found = fs::metadata(&path)?;
        Ok(Self {
            version: 1,
            id: String::new(),
            path,
            device: found.dev(),
            inode: found.ino(),
            boot: kernel("random/boot_id"),
            host: this_host(),
            earlier: vec![],
        })
    }

    fn read(folder: &Path) -> io::Result<Option<Self>> {
        match attempt::read_json(&folder.join(FILE)) {
            // Content that a loss of power took is none.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
            read => read,
        }
    }

    fn found(&self, before: Option<&Self>, workspace: &Workspace) -> Found {
        let Some(before) = before else { return Found::New };
        let same_machine = self.boot == before.boot || self.host == before.host;
        // The numbers of devices hold until the machine is started again.
        let same_folder =
            self.inode == before.inode && (self.device == before.device || self.boot != before.boot);
        // The original may have been moved since: what runs in it says where it is.
        if !same_folder && let Some(original) = held_elsewhere(workspace) {
            return Found::Copy(original);
        }
        if self.path == before.path {
            let is_same = same_machine || same_folder;
            return if is_same { Found::Same } else { Found::Copy(before.path.clone()) };
        }
        if same_folder && same_machine {
            return Found::Moved;
        }
        let original = Self::read(&before.path).ok().flatten();
        if !same_machine || original.is_some_and(|original| original.id == before.id) {
            return Found::Copy(before.path.clone());
        }
        if self.device == before.device && self.boot == before.boot {
            return Found::Stray(before.path.clone());
        }
        // To another file system.
        Found::Moved
    }
}

/// The state whose runs are driven at this moment by the processes that the locks of this one name: the locks that they
/// hold are other files.
fn held_elsewhere(workspace: &Workspace) -> Option<PathBuf> {
    let runs = fs::read_dir(workspace.runs()).ok()?;
    runs.flatten().find_map(|run| {
        let lock = run.path().join("lock");
        let ours = fs::metadata(&lock).ok()?;
        let process: u32 = fs::read_to_string(&lock).ok()?.trim().parse().ok()?;
        let end = Path::new("runs").join(run.file_name()).join("lock");
        let open = fs::read_dir(format!("/proc/{process}/fd")).ok()?;
        open.flatten().find_map(|item| {
            let path = fs::read_link(item.path()).ok()?;
            let state = path.ancestors().nth(3).filter(|_| path.ends_with(&end))?;
            let theirs = fs::metadata(item.path()).ok()?;
            let is_ours = (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino());
            (!is_ours).then(|| state.to_owned())
        })
    })
}

const FILE: &str = "identity.json";
/// Made by people who decide that a copy goes on in the place of its original; removed when it does.
const TAKE_OVER: &str = "take-over";

/// Compares the folder with the last time, and notes what it is now. Returns why it is only to be looked at, if it is.
///
/// # Errors
/// It is a copy with something that the original is to end, and is to be worked with.
pub(super) fn settle(
    connection: &Connection,
    workspace: &Workspace,
    access: Access,
    notes: &mut Vec<String>,
) -> Result<(Relocation, Option<StoreError>), StoreError> {
    let folder = workspace.folder();
    let io = |error: io::Error| StoreError::Read { path: folder.join(FILE), message: error.to_string() };
    let mut here = Identity::here(workspace).map_err(io)?;
    let before = Identity::read(folder).map_err(io)?;
    let found = here.found(before.as_ref(), workspace);
    let take_over = folder.join(TAKE_OVER);
    let path = folder.to_owned();
    let is_copy = match &found {
        Found::Copy(original) => {
            Some(StoreError::Copied { path, original: original.clone(), take_over: take_over.clone() })
        }
        Found::Stray(earlier) => {
            Some(StoreError::Strayed { path, earlier: earlier.clone(), take_over: take_over.clone() })
        }
        Found::New | Found::Same | Found::Moved => None,
    };
    if let Some(error) = is_copy
        && !take_over.exists()
        && has_open(connection, workspace)?
    {
        if access == Access::Write {
            return Err(error);
        }
        notes.push(error.to_string());
        return Ok((Relocation::default(), Some(error)));
    }
    match &before {
        Some(before) => {
            here.id.clone_from(&before.id);
            here.earlier.clone_from(&before.earlier);
            if here.path != before.path {
                here.earlier.push(before.path.clone());
            }
        }
        None => here.id = format!("{:016x}", rand::rng().random::<u64>()),
    }
    let now = here.path.clone();
    let mut seen = std::collections::HashSet::new();
    here.earlier.retain(|path| *path != now && seen.insert(path.clone()));
    if access == Access::Write && before.as_ref() != Some(&here) {
        let text = serde_json::to_vec(&here).map_err(|error| io(error.into()))?;
        let options = Options::new().private().survives(Durability::Processes);
        sb_durable::write(&folder.join(FILE), options, &text).map_err(|error| StoreError::Write {
            path: folder.join(FILE),
            message: error.source.to_string(),
        })?;
        if matches!(found, Found::Moved) {
            notes.push(format!(
                "the workspace was moved from `{}`; what was done there goes on here",
                before
                    .as_ref()
                    .map_or(&here.path, |before| &before.path)
                    .parent()
                    .unwrap_or(&here.path)
                    .display()
            ));
        }
        // Should it stay, it says what is so by now.
        let _ = fs::remove_file(take_over);
    }
    Ok((Relocation::new(&here), None))
}

/// Whether something is to be ended: a run, or a deployment.
fn has_open(connection: &Connection, workspace: &Workspace) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM runs WHERE measurement IS NULL)
                   OR EXISTS (SELECT 1 FROM deployments WHERE debt = 'owed')";
    connection.query_row(sql, [], |row| row.get(0)).map_err(|error| unwritten(&workspace.database(), &error))
}

/// Paths of a workspace that was moved, as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Relocation {
    /// Folders in which the workspace's `.sb` was.
    earlier: Vec<PathBuf>,
    now: PathBuf,
}

impl Relocation {
    fn new(here: &Identity) -> Self {
        let root = |path: &PathBuf| path.parent().unwrap_or(path).to_owned();
        Self { earlier: here.earlier.iter().map(root).collect(), now: root(&here.path) }
    }

    /// As far as is noted beside the database, for what is read before [`settle`] has decided.
    pub(super) fn of(workspace: &Workspace) -> Self {
        let (here, before) = (Identity::here(workspace), Identity::read(workspace.folder()));
        let (Ok(mut here), Ok(Some(before))) = (here, before) else { return Self::default() };
        here.earlier = before.earlier;
        if here.path != before.path {
            here.earlier.push(before.path);
        }
        Self::new(&here)
    }

    pub(super) fn path(&self, path: &mut PathBuf) {
        if let Some(now) = self.moved(path) {
            *path = now;
        }
    }

    fn moved(&self, path: &Path) -> Option<PathBuf> {
        let rest = self.earlier.iter().find_map(|earlier| path.strip_prefix(earlier).ok())?;
        // A path below where the workspace is now may lie below where it was, too.
        let is_here = path.starts_with(&self.now);
        (!is_here).then(|| if rest.as_os_str().is_empty() { self.now.clone() } else { self.now.join(rest) })
    }

    pub(super) fn record(&self, record: &mut Record) {
        if let Event::StepStarted { logs: Some(logs), .. } = &mut record.event {
            self.path(logs);
        }
    }

    /// What a run was asked for: its paths, and not the texts of its files.
    pub(super) fn request(&self, request: &mut String) {
        if self.earlier.is_empty() {
            return;
        }
        if let Ok(Value::Object(mut all)) = serde_json::from_str(request) {
            for (key, value) in &mut all {
                match (key.as_str(), &mut *value) {
                    ("sources" | "contents", sources) => self.keys(sources),
                    ("earlier", Value::Array(all)) => all.iter_mut().for_each(|sources| self.keys(sources)),
                    _ => self.values(value),
                }
            }
            *request = Value::Object(all).to_string();
        }
    }

    fn keys(&self, sources: &mut Value) {
        let Value::Object(texts) = sources else { return };
        *texts = std::mem::take(texts)
            .into_iter()
            .map(|(path, text)| match self.moved(Path::new(&path)) {
                Some(now) => (now.to_string_lossy().into_owned(), text),
                None => (path, text),
            })
            .collect();
    }

    fn values(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(now) = self.moved(Path::new(text.as_str())) {
                    *text = now.to_string_lossy().into_owned();
                }
            }
            Value::Array(all) => all.iter_mut().for_each(|value| self.values(value)),
            Value::Object(all) => all.values_mut().for_each(|value| self.values(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_moved_workspace_are_those_of_where_it_is_now() {
        let relocation =
            Relocation { earlier: vec!["/w/old".into(), "/w/older".into()], now: "/w/old/new".into() };
        let mut request =
            r#"{"what":{"plan":{"path":"/w/old/p.toml"}},"sources":{"/w/older/a":"/w/old/x","/other":""}}"#
                .to_owned();
        relocation.request(&mut request);
        assert_eq!(
            request,
            r#"{"what":{"plan":{"path":"/w/old/new/p.toml"}},"sources":{"/w/old/new/a":"/w/old/x","/other":""}}"#
        );
        for (before, now) in [
            ("/w/old", "/w/old/new"),
            ("/w/older/logs/1", "/w/old/new/logs/1"),
            ("/w/oldest/x", "/w/oldest/x"),
            ("/w/old/new/x", "/w/old/new/x"),
        ] {
            let mut path = PathBuf::from(before);
            relocation.path(&mut path);
            assert_eq!(path, Path::new(now));
        }
    }
}
