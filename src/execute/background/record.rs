//! Which attempt keeps a background step alive: a record for each step of a deployment, durable before the start.
//!
//! The deployment may outlive its run (`sb prepare`), and be cleaned up by another one. The attempt's folder belongs to
//! the run; this record leads from the deployment to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::attempt::{ExitRecord, read_json, write_json};
use crate::container::has_container;
use crate::host;
use crate::workspace::Workspace;
use sb_durable::Durability;
use sb_plan::id::{DeploymentId, RunId, StepId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackgroundRecord {
    /// Of this shape: 1.
    version: u32,
    /// As the manifest calls the step.
    pub name: String,
    pub run: RunId,
    pub step: StepId,
    pub attempt: u32,
    /// None: a process of this machine.
    pub container: Option<BackgroundContainer>,
    /// Steps after it may have begun.
    pub ready: bool,
}

/// Where a background step runs that is no process of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackgroundContainer {
    pub name: String,
    /// The address of its engine.
    pub engine: String,
}

impl BackgroundRecord {
    pub(super) fn new(
        name: &str,
        run: &RunId,
        step: &StepId,
        attempt: u32,
        container: Option<BackgroundContainer>,
    ) -> Self {
        let (run, step) = (run.clone(), step.clone());
        Self { version: 1, name: name.to_owned(), run, step, attempt, container, ready: false }
    }

    pub(super) fn read(
        workspace: &Workspace,
        deployment: &DeploymentId,
        name: &str,
    ) -> io::Result<Option<Self>> {
        read_json(&workspace.background(deployment).join(file(name)))
    }

    /// When this returns, the record survives a loss of power.
    pub(super) fn write(&self, workspace: &Workspace, deployment: &DeploymentId) -> io::Result<()> {
        let folder = workspace.background(deployment);
        fs::create_dir_all(&folder)?;
        write_json(&folder, &file(&self.name), self, Durability::Disk)
    }

    /// To be called when nothing of the attempt runs any more.
    pub(super) fn remove(&self, workspace: &Workspace, deployment: &DeploymentId) -> io::Result<()> {
        let folder = workspace.background(deployment);
        match fs::remove_file(folder.join(file(&self.name))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // Not while another step has its record there.
        let _ = fs::remove_dir(folder);
        Ok(())
    }

    /// All of a deployment, by name.
    pub(crate) fn all(workspace: &Workspace, deployment: &DeploymentId) -> io::Result<Vec<Self>> {
        let folder = workspace.background(deployment);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                found.extend(read_json(&path)?);
            }
        }
        found.sort_by(|one: &Self, two: &Self| one.name.cmp(&two.name));
        Ok(found)
    }

    /// Of the attempt.
    pub(crate) fn folder(&self, workspace: &Workspace) -> PathBuf {
        workspace.attempt(&self.run, &self.step, self.attempt)
    }

    /// Whether it is this attempt that keeps the step alive.
    pub(crate) fn is_of(&self, run: &RunId, step: &StepId, attempt: u32) -> bool {
        self.run == *run && self.step == *step && self.attempt == attempt
    }

    /// For messages: where its output is.
    pub(super) fn log(&self, workspace: &Workspace) -> PathBuf {
        self.folder(workspace).join(crate::attempt::LOG_FILE)
    }
}

fn file(name: &str) -> String {
    format!("{name}.json")
}

/// Whether the attempt in a folder goes on, for somebody who only looks. Of a container, as far as the last runner has
/// seen: the engine is not asked.
pub(crate) fn is_alive(folder: &Path) -> bool {
    let ended = ExitRecord::read(folder).is_ok_and(|record| record.is_some());
    !ended && (has_container(folder) || host::is_running(folder))
}

/// The last lines that a step has printed, for a message.
pub(super) fn last_lines(log: &Path) -> Option<String> {
    const LINES: usize = 3;
    let bytes = crate::attempt::tail(log).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    (!last.is_empty()).then(|| last.join(" | "))
}
