//! Which folders are executions, and what their paths say.

use std::fs;
use std::path::{Component, Path, PathBuf};

use sb_analysis::{BREAKDOWN_FILE, TRACE_FILES};
use sb_measurement::INVOCATIONS_FILE;

use super::{CONFIG_FILE, DatasetError, K6_FILE, RUN_FILE};
use crate::note::Note;

/// Executions are not looked for further down.
const DEEPEST: usize = 16;

/// The folder of an execution.
pub(super) struct Found {
    pub(super) folder: PathBuf,
    /// Below the dataset's folder, with `/`.
    pub(super) logs_path: String,
}

/// The executions at or below a folder, in ascending order of their paths.
pub(super) fn executions(root: &Path, notes: &mut Vec<Note>) -> Result<Vec<Found>, DatasetError> {
    let mut found = Vec::new();
    if is_execution(root, true) {
        found.push(root.to_owned());
    } else {
        list(root).map_err(|source| DatasetError::Folder { path: root.to_owned(), source })?;
        collect(root, 0, &mut found, notes);
    }
    let whole = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    Ok(found
        .into_iter()
        .map(|folder| Found { logs_path: logs_path(&folder, root, &whole), folder })
        .collect())
}

fn is_execution(folder: &Path, may_be_traces_alone: bool) -> bool {
    let has = |name: &&str| folder.join(name).is_file();
    [CONFIG_FILE, RUN_FILE, INVOCATIONS_FILE, BREAKDOWN_FILE, K6_FILE].iter().any(has)
        || may_be_traces_alone && TRACE_FILES.iter().any(has)
}

/// The folders in a folder, in ascending order of their names. Links are not followed: they may lead in a circle.
fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut inside = Vec::new();
    for item in fs::read_dir(folder)? {
        let item = item?;
        let name = item.file_name();
        let name = name.to_string_lossy();
        if item.file_type()?.is_dir() && !name.starts_with('.') && name != "node_modules" {
            inside.push(item.path());
        }
    }
    inside.sort();
    Ok(inside)
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>, notes: &mut Vec<Note>) {
    let inside = match list(folder) {
        Ok(inside) => inside,
        Err(error) => {
            notes.push(Note::warning(folder, format!("the folder cannot be read: {error}")));
            return;
        }
    };
    let is_logs = folder.file_name().is_some_and(|name| name == "logs");
    for inner in inside {
        if is_execution(&inner, is_logs) {
            found.push(inner);
        } else if depth < DEEPEST {
            collect(&inner, depth + 1, found, notes);
        }
    }
}

/// The path below the dataset's folder: below `raw` where the published layout has it, else below the folder that was given.
fn logs_path(folder: &Path, root: &Path, whole: &Path) -> String {
    let below = folder.strip_prefix(root).unwrap_or(folder);
    let full = whole.join(below);
    let names: Vec<String> = full
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect();
    match names.iter().rposition(|name| name == "raw") {
        Some(at) => names[at + 1..].join("/"),
        None => {
            // The application's folder is part of it, also where `logs` or one execution was given.
            let given = names.len() - below.components().count().min(names.len());
            let application =
                names.iter().rposition(|name| name == "logs").map_or(given, |at| at.saturating_sub(1));
            names[given.min(application).min(names.len().saturating_sub(1))..].join("/")
        }
    }
}

/// The folder of invocation patterns near a folder.
pub(super) fn patterns(root: &Path) -> Option<PathBuf> {
    let whole = root.canonicalize().ok()?;
    whole.ancestors().take(4).map(|above| above.join("workload_traces")).find(|folder| folder.is_dir())
}

impl Found {
    /// The folder of the application: above `logs`.
    fn application(&self) -> Option<PathBuf> {
        let whole = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        let parent = whole.parent()?;
        let is_logs = parent.file_name().is_some_and(|name| name == "logs");
        Some(if is_logs { parent.parent()? } else { parent }.to_owned())
    }

    /// The name of the application's folder, for want of a better one.
    pub(super) fn application_folder(&self) -> String {
        let name =
            self.application().and_then(|folder| Some(folder.file_name()?.to_string_lossy().into_owned()));
        name.unwrap_or_else(|| "unknown".to_owned())
    }

    /// The path of the benchmark file below the dataset's folder.
    pub(super) fn benchmark_file(&self, application: &str) -> String {
        let files =
            self.application().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        let mut names: Vec<String> = files
            .map(|file| file.file_name().to_string_lossy().into_owned())
            .filter(|name| name == "benchmark.toml" || name.ends_with("_benchmark.py"))
            .collect();
        names.sort();
        let name = names.into_iter().next().unwrap_or_else(|| match application {
            // The names of these two in the published dataset.
            "realworld_backend" => "realworld_benchmark.py".to_owned(),
            "thumbnail_generator" => "thumbnail_benchmark.py".to_owned(),
            other => format!("{other}_benchmark.py"),
        });
        let above = self.logs_path.rsplit_once('/').map_or("", |(above, _)| above);
        let above = above.strip_suffix("logs").unwrap_or(above);
        let above = above.strip_suffix('/').unwrap_or(above);
        if above.is_empty() { name } else { format!("{above}/{name}") }
    }
}
