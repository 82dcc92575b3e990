//! Where runs whose journal is gone have measured. The folder of an invocation says in `run.json` which attempt it belongs
//! to. It lies in `logs` beside the manifest, and the record of the run names its manifests.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::identity::Relocation;
use super::rows::{DeploymentRow, RunRow};
use sb_plan::id::{DeploymentId, RunId, StepId};

/// In bytes: `run.json` has a line for each factor and label of a trial.
const LARGEST: u64 = 1 << 20;

/// Folders of invocations, by the attempt that made them.
#[derive(Debug, Default)]
pub(super) struct Invocations {
    folders: HashMap<(RunId, StepId, u32), PathBuf>,
    /// Of each deployment, the one that was begun last.
    last: HashMap<DeploymentId, Last>,
}

#[derive(Debug)]
struct Last {
    folder: PathBuf,
    run: RunId,
    /// When its run was begun.
    created_ms: i64,
}

/// What is read of `run.json`.
#[derive(Deserialize)]
struct RunFile {
    run: RunId,
    deployment: DeploymentId,
    step: StepId,
    attempt: u32,
}

/// What is read of the record of a run: the texts of its files by their paths, and those before changes were accepted.
#[derive(Deserialize)]
struct Asked {
    sources: HashMap<PathBuf, String>,
    #[serde(default)]
    earlier: Vec<HashMap<PathBuf, String>>,
}

/// The invocations of these runs that are still there. Every folder is looked at once, however many runs there are. What
/// cannot be read is left out: it was not measured by these runs, or nothing can be shown of it.
pub(super) fn find(runs: &[RunRow], relocation: &Relocation) -> Invocations {
    let wanted: HashMap<&RunId, i64> = runs.iter().map(|run| (&run.id, run.created_ms)).collect();
    let mut places = BTreeSet::new();
    for run in runs {
        let Ok(Asked { sources, earlier }) = serde_json::from_str(&run.request) else { continue };
        for mut path in sources.into_keys().chain(earlier.into_iter().flat_map(HashMap::into_keys)) {
            relocation.path(&mut path);
            places.insert(path.with_file_name("logs"));
        }
    }
    let mut found = Invocations::default();
    for place in places {
        // A copy that someone made of a folder has a longer name, and comes later.
        for folder in folders(&place) {
            let Some(ran) = read(&folder) else { continue };
            let Some(&created_ms) = wanted.get(&ran.run) else { continue };
            let key = (ran.run.clone(), ran.step, ran.attempt);
            if found.folders.contains_key(&key) {
                continue;
            }
            // Their names are times.
            let last = Last { folder: folder.clone(), run: ran.run, created_ms };
            match found.last.entry(ran.deployment) {
                Entry::Vacant(entry) => drop(entry.insert(last)),
                Entry::Occupied(mut entry) if folder.file_name() > entry.get().folder.file_name() => {
                    entry.insert(last);
                }
                Entry::Occupied(_) => {}
            }
            found.folders.insert(key, folder);
        }
    }
    found
}

impl Invocations {
    /// The folder that an attempt has left.
    pub(super) fn folder(&self, run: &RunId, step: &StepId, attempt: u32) -> Option<PathBuf> {
        self.folders.get(&(run.clone(), step.clone(), attempt)).cloned()
    }

    /// That of the last invocation since a deployment was opened. One of the same name may have been there before.
    pub(super) fn last_of(&self, deployment: &DeploymentRow) -> Option<PathBuf> {
        let last = self.last.get(&deployment.id)?;
        let is_since = last.run == deployment.run || last.created_ms >= deployment.opened_ms;
        is_since.then(|| last.folder.clone())
    }
}

/// The folders in one, links left out, in the order of their names.
fn folders(place: &Path) -> Vec<PathBuf> {
    let items = fs::read_dir(place).into_iter().flatten().flatten();
    let mut folders: Vec<_> = items
        .filter(|item| item.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|item| item.path())
        .collect();
    folders.sort();
    folders
}

fn read(folder: &Path) -> Option<RunFile> {
    let bytes = sb_durable::read_regular(&folder.join("run.json"), LARGEST).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows::Debt;
    use serde_json::{Map, json};

    fn row(id: &str, manifest: &Path) -> RunRow {
        let request = json!({ "sources": { manifest.to_str().unwrap(): "text" } }).to_string();
        RunRow { id: RunId::new(id), created_ms: 0, request, ended: None }
    }

    fn keep(folder: &Path, run: &str, attempt: u32) {
        fs::create_dir_all(folder).unwrap();
        let text = json!({ "version": 2, "run": run, "deployment": "a@local", "step": "a.1/t1/load", "attempt": attempt });
        fs::write(folder.join("run.json"), text.to_string()).unwrap();
    }

    #[test]
    fn invocations_are_found_beside_the_manifests_of_their_runs_and_by_nothing_but_their_own_words() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        keep(&logs.join("2026-01-01_00-00-00"), "r1", 1);
        keep(&logs.join("2026-01-01_00-00-09"), "r1", 2);
        keep(&logs.join("2026-01-01_00-00-09-copy"), "r1", 2);
        keep(&logs.join("2026-01-01_00-00-10"), "another", 1);
        fs::create_dir(logs.join("empty")).unwrap();
        fs::create_dir(logs.join("odd")).unwrap();
        fs::write(logs.join("odd/run.json"), "{\"run\": 7").unwrap();
        let runs =
            [row("r1", &folder.path().join("benchmark.toml")), row("r2", Path::new("/nowhere/plan.toml"))];
        let found = find(&runs, &Relocation::default());
        let of = |run: &str, attempt| found.folder(&RunId::new(run), &StepId::new("a.1/t1/load"), attempt);
        assert_eq!(of("r1", 1), Some(logs.join("2026-01-01_00-00-00")));
        assert_eq!(of("r1", 2), Some(logs.join("2026-01-01_00-00-09")));
        assert_eq!(of("r1", 3), None);
        assert_eq!(of("another", 1), None);
        let deployed = |run: &str, opened_ms| DeploymentRow {
            id: DeploymentId::new("a@local"),
            run: RunId::new(run),
            benchmark: "a".into(),
            target: "local".into(),
            manifest: folder.path().join("benchmark.toml"),
            opened_ms,
            debt: Debt::Owed,
            params: Map::new(),
            outputs: Map::new(),
            logs: None,
        };
        let last = Some(logs.join("2026-01-01_00-00-09"));
        assert_eq!(found.last_of(&deployed("r1", 5)), last);
        assert_eq!(found.last_of(&deployed("r0", 0)), last);
        // It was opened after that run.
        assert_eq!(found.last_of(&deployed("r0", 5)), None);
    }
}
