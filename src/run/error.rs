//! Why a run could not be started, resumed or cleaned up.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::run::change::{Consequences, FileEdit};
use crate::schedule::{MissingVariable, ScheduleError};
use crate::store::{LockError, StoreError};
use crate::workspace::quoted;
use sb_plan::id::{DeploymentId, RunId, StepId};
use sb_plan::manifest::problem::Problem;

/// Each says what happened and, where there is one, the way out.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RunError {
    /// A manifest or plan is invalid; the problems say where.
    #[error("the plan and its manifests are not valid")]
    Invalid(Vec<Problem>),
    #[error("the files of {run} have changed, and are not valid any more")]
    #[diagnostic(help("correct them, or add --as-started to go on with what the run was started with"))]
    ChangedInvalid { run: RunId, problems: Vec<Problem> },
    #[error("the locks of this machine cannot be used, and loads of other runs could disturb this one: {0}")]
    #[diagnostic(help(
        "runs of a user see each other by locks in /tmp/sb-UID, or in the folder that SB_LOCKS names"
    ))]
    Locks(std::io::Error),
    #[error("{}", missing.iter().map(|one| one.message.as_str()).collect::<Vec<_>>().join("\n"))]
    #[diagnostic(help("{}", ways(missing)))]
    MissingVariables { missing: Vec<MissingVariable>, warnings: Vec<Problem> },
    #[error("run {run} of `{deployment}` has not ended: a step of it may still be running")]
    #[diagnostic(help("`sb resume {run}` goes on with it, and `sb cleanup {run}` stops it and cleans up"))]
    DeploymentInUse { run: RunId, deployment: DeploymentId },
    #[error("run {run} of `{}` has not ended, and what it deployed is still there", plan.display())]
    #[diagnostic(help(
        "`sb resume {run}` goes on with it, and `sb cleanup {run}` stops it and cleans up; `sb run {} --anew` begins another one beside it",
        quoted(plan)
    ))]
    Unfinished { run: RunId, plan: PathBuf },
    #[error("run {run} of `{}` is still running in process {runner}, so no other one is started", plan.display())]
    #[diagnostic(help(
        "`sb status {run} --watch` shows how far it is; `sb run {} --anew` begins another one beside it",
        quoted(plan)
    ))]
    Alive { run: RunId, plan: PathBuf, runner: u32 },
    #[error("{run} was left in the middle of a change of its files")]
    #[diagnostic(help(
        "`sb resume {run} --accept-changes` goes on with it, and Ctrl-C there stops it and cleans up"
    ))]
    Changing { run: RunId },
    #[error("there is no run `{name}`{}", if name.contains('/') { ", and no folder" } else { "" })]
    #[diagnostic(help("`sb runs` lists the runs"))]
    NoRun { name: String },
    #[error("`{name}` could be several runs")]
    #[diagnostic(help("{}", names.join(", ")))]
    SeveralRuns { name: String, names: Vec<String> },
    #[error("run {run} was stored in a form that this sb cannot read: {error}")]
    Stored { run: RunId, error: serde_json::Error },
    /// Nothing was said about what to do with edited files.
    #[error("the files of {run} have changed since it was started")]
    #[diagnostic(help(
        "`sb resume {run} --accept-changes` goes on with the files as they are now, and `sb resume {run} --as-started` with the files as they were"
    ))]
    Changed { run: RunId, edits: Vec<FileEdit>, consequences: Consequences },
    #[error("step {step} of {run} needs files that have changed: {}", listed(files))]
    #[diagnostic(help(
        "put them back, or go on with the files as they are now with `sb resume {run} --accept-changes`"
    ))]
    NotKept { run: RunId, step: StepId, files: Vec<PathBuf> },
    #[error("a change of the files of {run} was accepted, and is not complete")]
    #[diagnostic(help("`sb resume {run} --accept-changes` completes it, with the files as they are now"))]
    ChangeIncomplete { run: RunId },
    #[error("what the changed files no longer have could not be stopped and cleaned up")]
    #[diagnostic(help(
        "see `sb status {run}`; `--accept-changes` tries it again, also after you have put a part of the files back"
    ))]
    NotRetired { run: RunId },
    #[error("left; `sb resume {run} --accept-changes` goes on")]
    LeftWhileChanging { run: RunId },
    /// A table that the user named cannot be used.
    #[error("{message}")]
    Table {
        message: String,
        #[help]
        help: Option<String>,
    },
    /// The container engine, or credentials in it, are not in reach.
    #[error("{0}")]
    Engine(String),
    #[error("run {run} has its containers on the container engine at `{known}`, not on that at `{host}`")]
    #[diagnostic(help(
        "go on with: DOCKER_HOST={known} sb resume {run}; if both are the same engine, remove `{}`",
        file.display()
    ))]
    OtherEngine { run: RunId, known: String, host: String, file: PathBuf },
    /// The run could not go on.
    #[error("{error}{}", cause(error))]
    #[diagnostic(help("{}", after(run, folder, error)))]
    Drive { run: RunId, folder: PathBuf, error: ScheduleError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A secret is not given on the command line, which every process can read.
fn ways(missing: &[MissingVariable]) -> String {
    let of = |is_secret: bool| -> Vec<&str> {
        let ways: BTreeSet<&str> =
            missing.iter().filter(|one| one.is_secret == is_secret).map(|one| one.way.as_str()).collect();
        ways.into_iter().collect()
    };
    let (plain, secret) = (of(false), of(true));
    let mut help = "set the variables to text".to_owned();
    if !plain.is_empty() {
        let _ = write!(help, ", or give the parameters with {}", plain.join(" "));
    }
    if !secret.is_empty() {
        let _ = write!(help, ", or set {} to the secret", secret.join(", "));
    }
    help
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

fn cause(error: &ScheduleError) -> String {
    std::error::Error::source(error).map_or_else(String::new, |cause| format!("\n{cause}"))
}

fn after(run: &RunId, folder: &Path, error: &ScheduleError) -> String {
    match error {
        ScheduleError::Store(StoreError::Removed { .. }) => {
            format!(
                "`sb resume {run}` removes what is deployed; steps that still run end by themselves, unseen"
            )
        }
        ScheduleError::Store(StoreError::Moved { now, .. }) => {
            format!("`sb resume {run} --state-dir {}` goes on", quoted(now))
        }
        _ if folder.is_dir() => {
            format!("`sb resume {run}` goes on; what is deployed is remembered (`sb leaks`)")
        }
        _ => format!("`{}` is gone: look yourself for what the run has deployed", folder.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_secret_is_given_by_environment_and_other_parameters_by_option_too() {
        let one = |way: &str, is_secret| MissingVariable { message: "m".into(), way: way.into(), is_secret };
        let (plain, secret) = (one("-p size=VALUE", false), one("SB_PARAM_TOK", true));
        assert_eq!(
            ways(std::slice::from_ref(&secret)),
            "set the variables to text, or set SB_PARAM_TOK to the secret"
        );
        assert_eq!(
            ways(std::slice::from_ref(&plain)),
            "set the variables to text, or give the parameters with -p size=VALUE"
        );
        assert_eq!(
            ways(&[plain, secret]),
            "set the variables to text, or give the parameters with -p size=VALUE, or set SB_PARAM_TOK to the secret"
        );
    }
}
