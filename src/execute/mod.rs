//! Executing one attempt of one step: container, host process, load, local runtime or provider call.
//!
//! [`Execute`] has two versions: [`step::StepPerformer`] does the work, [`fake::Fake`] plays a script in tests of the
//! scheduler.

mod background;
mod command;
pub(crate) mod credentials;
mod decide;
mod docker;
#[cfg(test)]
pub(crate) mod fake;
mod files;
mod image_progress;
mod k6;
mod known_secrets;
mod load;
mod local;
mod otlp;
mod outputs;
mod shell;
mod stack;
mod step;
mod throttling;
mod tool;
mod traces;
mod wait_for;

pub(crate) use background::record::{BackgroundRecord, is_alive};
pub(crate) use credentials::explain;
pub(crate) use decide::Evidence;
pub(crate) use docker::image;
pub(crate) use image_progress::ensure_image;
pub(crate) use k6::{K6_ARGUMENT, run_k6};
pub(crate) use known_secrets::KnownSecrets;
pub(crate) use load::{LOAD_ARGUMENT, PROGRESS_FILE};
pub(crate) use shell::{Workplace, WorkplaceError, workplace};
pub(crate) use step::StepPerformer;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::attempt::hide_in_folder;
use sb_plan::benchmark::Benchmark;
use sb_plan::event::{Notice, Outcome};
use sb_plan::graph::Step;
use sb_plan::id::{DeploymentId, RunId};
use sb_plan::plan::Start;
use sb_workload::Load;

/// One attempt of a step, with all that it may use.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub run: RunId,
    pub step: Step,
    /// Counted from 1.
    pub number: u32,
    /// The attempt before failed or was lost.
    pub again: bool,
    /// An earlier runner began this attempt: find out what became of it before doing anything.
    pub reattach: bool,
    /// It did so before this machine was started: no process is left, and the disk may have kept nothing of it.
    pub lost_boot: bool,
    pub deployment: Arc<Deployed>,
    /// What templates may use: `params`, `outputs`, `benchmark`, `target`, `run`, `trial`, `logs_dir`.
    pub values: Arc<Value>,
    pub secrets: Arc<KnownSecrets>,
    /// Folder of the invocation, for the steps of a trial.
    pub logs: Option<PathBuf>,
    /// For the steps that decide on further trials.
    pub evidence: Option<Evidence>,
    /// Files that the process of a load locks as long as it sends; whether alone, or together with other loads.
    pub holds: Vec<(PathBuf, bool)>,
    /// Set when the step should end early; it then cleans up after itself and reports [`Outcome::Cancelled`].
    pub cancel: CancellationToken,
    pub notices: UnboundedSender<Notice>,
}

impl Attempt {
    /// Takes secrets out of what a daemon that has ended left behind: functions print what they are given.
    pub(super) async fn hide_in_state(&self, folder: &Path) {
        let (folder, secrets) = (folder.to_owned(), Arc::clone(&self.secrets));
        if !secrets.redactor.is_empty() {
            // Where that fails, only the user can read the files in any case.
            let hide = move || hide_in_folder(&folder, &secrets.redactor);
            let _ = tokio::task::spawn_blocking(hide).await;
        }
    }

    /// Tells how far it is.
    pub(super) fn tell(&self, message: &str) {
        let message = self.secrets.redactor.text(message).into_owned();
        // A runner that is ending hears nothing more.
        let _ = self.notices.send(Notice::Progress { step: self.step.id.clone(), message });
    }
}

/// The deployment that a step works on.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub id: DeploymentId,
    pub application: String,
    pub target: String,
    pub benchmark: Arc<Benchmark>,
    pub load: Arc<Load>,
    /// What the traces of a trial must show.
    pub start: Option<Start>,
    /// Levels of the plan's factors.
    pub factors: BTreeMap<String, Value>,
    pub labels: BTreeMap<String, String>,
    pub seed: u64,
    pub plan: String,
    pub lost: Vec<LostSecret>,
}

/// A secret parameter of a deployment whose value is not there any more: its file is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LostSecret {
    pub name: String,
    /// How it can be given again.
    pub way_out: String,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Finished {
    pub outcome: Outcome,
    pub outputs: BTreeMap<String, Produced>,
    /// Why the trial must not be used, though the step succeeded.
    pub invalid: Vec<String>,
    /// Secrets that a failed attempt made: no later step has them, but its log may.
    pub lost_secrets: Vec<Value>,
}

/// A value that a step made for later ones.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Produced {
    pub value: Value,
    pub secret: bool,
}

impl From<Outcome> for Finished {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, outputs: BTreeMap::new(), invalid: Vec::new(), lost_secrets: Vec::new() }
    }
}

pub(crate) type Executing = Pin<Box<dyn Future<Output = Finished> + Send>>;

pub(crate) trait Execute: Send + Sync {
    fn execute(self: Arc<Self>, attempt: Attempt) -> Executing;

    /// Makes the folder of a new invocation beside a manifest, one that did not exist before.
    fn new_logs_folder(&self, root: &Path, manifest: &Path) -> io::Result<PathBuf>;

    /// Of the machine that steps run on, until it is started again.
    fn boot_id(&self) -> io::Result<String>;

    /// Where the output of an attempt is logged.
    fn log_of(&self, run: &RunId, step: &Step, attempt: u32) -> PathBuf;
}
