//! The folder of a workspace's state, `.sb`, and every path below it. Nothing else knows these names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use sb_plan::id::{DeploymentId, RunId, StepId, file_name};

/// The folder tree that shares one `.sb`. Cheap to clone; nothing is made or read until a path is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    folder: Arc<Path>,
    /// It was named, and not found from a path in it.
    is_named: bool,
}

impl Workspace {
    /// The workspace whose state is in this folder.
    pub fn at(folder: &Path) -> Self {
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        Self { folder: folder.into(), is_named: true }
    }

    /// The workspace to which a file or folder belongs: the nearest ancestor's `.sb`, else one at the root of the git
    /// work tree, else one beside it.
    pub fn of(path: &Path) -> Self {
        let start = absolute(if path.is_dir() { path } else { path.parent().unwrap_or(path) });
        let found = start.ancestors().map(|folder| folder.join(".sb")).find(|folder| folder.is_dir());
        let at_root =
            || start.ancestors().find(|folder| folder.join(".git").exists()).map(|root| root.join(".sb"));
        let folder = found.or_else(at_root).unwrap_or_else(|| start.join(".sb"));
        Self { folder: folder.into(), is_named: false }
    }

    /// The workspaces that are in folders below one, in the order of their paths: those of three levels, and of folders that are
    /// neither hidden nor links, and only those of this user. Stops after some thousand folders.
    pub(crate) fn below(folder: &Path) -> Vec<Self> {
        use std::os::unix::fs::MetadataExt as _;
        const DEEPEST: usize = 3;
        const MOST: usize = 5_000;
        let mut found = Vec::new();
        let mut level = vec![absolute(folder)];
        let mut seen = 0;
        for _ in 0..DEEPEST {
            let mut next = Vec::new();
            for folder in level {
                for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                    let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
                    if is_hidden || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        continue;
                    }
                    seen += 1;
                    if seen > MOST {
                        return found;
                    }
                    let state = entry.path().join(".sb");
                    if let Ok(about) = std::fs::symlink_metadata(&state)
                        && about.is_dir()
                    {
                        // One that is another user's is used only where it is named.
                        if about.uid() != rustix::process::geteuid().as_raw() {
                            continue;
                        }
                        found.push(Self { folder: state.into(), is_named: false });
                    } else {
                        next.push(entry.path());
                    }
                }
            }
            level = next;
        }
        found.sort_by(|left, right| left.folder.cmp(&right.folder));
        found
    }

    /// Whether its folder was named, which is to trust it.
    pub(crate) fn is_named(&self) -> bool {
        self.is_named
    }

    /// `.sb` itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The journal and what is deployed. Without it, nothing was run here yet.
    pub fn database(&self) -> PathBuf {
        self.folder.join("state.db")
    }

    /// The locks that plans name: `NAME.SLOT`.
    pub(crate) fn named_locks(&self) -> PathBuf {
        self.folder.join("locks")
    }

    /// Of a run: its lock, its files, its attempts.
    pub fn run(&self, run: &RunId) -> PathBuf {
        self.runs().join(run.as_str())
    }

    /// The folders of all runs.
    pub(crate) fn runs(&self) -> PathBuf {
        self.folder.join("runs")
    }

    /// What a run was asked for: a record beside the journal.
    pub(crate) fn request_file(&self, run: &RunId) -> PathBuf {
        self.run(run).join("request.json")
    }

    /// How many events of a run the journal has held.
    pub(crate) fn progress_file(&self, run: &RunId) -> PathBuf {
        self.run(run).join("journal")
    }

    /// What steps of a run wait for, as its runner says.
    pub(crate) fn waiting_file(&self, run: &RunId) -> PathBuf {
        self.run(run).join("waiting.json")
    }

    /// How a run ended: a record beside the journal.
    pub(crate) fn ended_file(&self, run: &RunId) -> PathBuf {
        self.run(run).join("ended")
    }

    /// Deployments that a run opened and that were cleaned up: a record beside the journal.
    pub(crate) fn paid_file(&self, run: &RunId) -> PathBuf {
        self.run(run).join("paid")
    }

    /// Records of the deployments whose cleanup is owed, beside the journal.
    pub(crate) fn owed(&self) -> PathBuf {
        self.folder.join("owed")
    }

    /// The record of one.
    pub(crate) fn owed_file(&self, deployment: &DeploymentId) -> PathBuf {
        self.owed().join(format!("{}.json", file_name(deployment.as_str())))
    }

    /// Held by the runner of a run; holds its process number.
    pub(crate) fn run_lock(&self, run: &RunId) -> PathBuf {
        self.run(run).join("lock")
    }

    /// The address of the container engine that has a run's containers.
    pub(crate) fn engine_file(&self, run: &RunId) -> PathBuf {
        self.run(run).join("engine")
    }

    /// Parameters that were given to a run: they may be secrets.
    pub(crate) fn overrides_file(&self, run: &RunId) -> PathBuf {
        self.run(run).join("overrides.json")
    }

    /// Of one attempt of a step: its claim, its log, its end.
    pub(crate) fn attempt(&self, run: &RunId, step: &StepId, attempt: u32) -> PathBuf {
        self.run(run).join("steps").join(step.as_str()).join(attempt.to_string())
    }

    /// Held by whoever works on a named deployment.
    pub(crate) fn deployment_lock(&self, deployment: &DeploymentId) -> PathBuf {
        self.deployments().join(format!("{}.lock", file_name(deployment.as_str())))
    }

    /// The locks of all named deployments.
    pub(crate) fn deployments(&self) -> PathBuf {
        self.folder.join("deployments")
    }

    /// Held by the run of a plan, and by who is about to begin one.
    pub(crate) fn plan_lock(&self, plan: &Path) -> PathBuf {
        let digest = Sha256::digest(absolute(plan).as_os_str().as_encoded_bytes());
        self.folder.join("plans").join(format!("{}.lock", hex::encode(&digest[..8])))
    }

    /// Secret parameters and outputs of a deployment.
    pub(crate) fn secrets_file(&self, deployment: &DeploymentId) -> PathBuf {
        self.folder.join("secrets").join(format!("{}.json", file_name(deployment.as_str())))
    }

    /// The local target of a deployment: its state, its log, its functions' logs.
    pub(crate) fn local_target(&self, deployment: &str) -> PathBuf {
        self.folder.join("local").join(file_name(deployment))
    }

    /// The folders of all local targets, sorted; none where they cannot be read.
    pub(crate) fn local_targets(&self) -> Vec<PathBuf> {
        let mut folders: Vec<_> = std::fs::read_dir(self.folder.join("local"))
            .map(|items| items.flatten().map(|item| item.path()).collect())
            .unwrap_or_default();
        folders.sort();
        folders
    }

    /// The receiver of OpenTelemetry of a deployment: its state, its log, the spans that arrived.
    pub(crate) fn receiver(&self, deployment: &DeploymentId) -> PathBuf {
        self.folder.join("otlp").join(file_name(deployment.as_str()))
    }

    /// Which attempts keep the background steps of a deployment alive.
    pub(crate) fn background(&self, deployment: &DeploymentId) -> PathBuf {
        self.folder.join("background").join(file_name(deployment.as_str()))
    }

    /// How the stacks of a deployment are called.
    pub(crate) fn stacks(&self, deployment: &DeploymentId) -> PathBuf {
        self.folder.join("stacks").join(file_name(deployment.as_str()))
    }

    /// The states of the tools that have deployed something of a deployment, by step.
    pub(crate) fn tools(&self, deployment: &DeploymentId) -> PathBuf {
        self.folder.join("tools").join(file_name(deployment.as_str()))
    }

    /// Steps of a deployment that have deployed what their own records say, and whose cleanup has not removed it.
    pub(crate) fn left_by_steps(&self, deployment: &DeploymentId) -> Vec<String> {
        let folders = [self.stacks(deployment), self.tools(deployment)];
        let items =
            folders.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
        let mut steps: Vec<_> =
            items.filter_map(|item| Some(item.path().file_stem()?.to_string_lossy().into_owned())).collect();
        steps.sort();
        steps.dedup();
        steps
    }

    /// Commands on their way into a tmux session.
    pub(crate) fn tmux(&self) -> PathBuf {
        self.folder.join("tmux")
    }

    /// The home of a shell in a container.
    pub(crate) fn shell(&self, run: &RunId) -> PathBuf {
        self.folder.join("shells").join(run.as_str())
    }

    /// What containers see in the place of the state, which holds the secrets of every deployment.
    pub(crate) fn empty_folder(&self) -> PathBuf {
        self.folder.join("empty")
    }

    /// Made and removed to see whether files can be made here.
    pub(crate) fn probe(&self) -> PathBuf {
        self.folder.join(format!(".probe.{}", std::process::id()))
    }
}

/// Absolute, without `.` and with `..` resolved as far as folders exist.
pub fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// The name of this machine.
pub(crate) fn this_host() -> String {
    kernel("hostname")
}

/// What the kernel says of itself; empty where it does not.
pub(crate) fn kernel(name: &str) -> String {
    let text = std::fs::read_to_string(Path::new("/proc/sys/kernel").join(name)).unwrap_or_default();
    text.trim().to_owned()
}

/// A path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.,:=@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(folders: &[&str], path: &str, expected: &str) {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        for folder in folders {
            std::fs::create_dir_all(top.join(folder)).unwrap();
        }
        assert_eq!(Workspace::of(&top.join(path)).folder(), top.join(expected));
    }

    #[test]
    fn a_workspace_is_the_nearest_state_else_the_work_tree_else_the_folder() {
        check(&["a/.sb", "a/b/c", "a/b/.git"], "a/b/c", "a/.sb");
        check(&["a/.git", "a/b"], "a/b/plan.toml", "a/.sb");
        check(&["a/b"], "a/b/plan.toml", "a/b/.sb");
        check(&["a/b"], "a/b", "a/b/.sb");
    }

    #[test]
    fn names_with_odd_characters_stay_below_the_folder() {
        let workspace = Workspace::at(Path::new("/w/.sb"));
        assert_eq!(workspace.local_target("../x"), Path::new("/w/.sb/local/..%2fx"));
        let deployment = DeploymentId::new("a/b@local");
        assert_eq!(workspace.secrets_file(&deployment), Path::new("/w/.sb/secrets/a%2fb@local.json"));
    }
}
