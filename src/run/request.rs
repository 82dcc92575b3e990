//! What was asked for: stored with the run, so that a resumed run is the run that was started, whatever has become of
//! its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sb_durable::Options;
use serde::{Deserialize, Serialize};

use super::contents::Measured;
use super::error::RunError;
use crate::schedule::Naming;
use crate::store::{RunRow, Store};
use sb_plan::benchmark::SamTemplates;
use sb_plan::graph::{self, Parts, RunGraph};
use sb_plan::id::{DeploymentId, RunId};
use sb_plan::manifest::problem::{Checked, Problem};
use sb_plan::manifest::read::{Files, Kept};
use sb_plan::plan::expand;
use sb_plan::plan::{Executor, GivenTolerances, Overrides, Plan};
use sb_plan::validate;
use sb_workload::Load;

/// A run as it was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Of this shape: 1.
    pub(crate) version: u32,
    pub(crate) what: What,
    pub(crate) parts: Parts,
    /// `--executor`, where it was given.
    pub(crate) executor: Option<Executor>,
    pub(crate) seed: Option<u64>,
    #[serde(default)]
    pub(crate) tolerances: GivenTolerances,
    /// `--keep-on-failure`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) keep_on_failure: bool,
    /// The text of every manifest and plan that was read.
    pub(crate) sources: Sources,
    /// What other files of the run held: bodies, scripts, templates, the code of functions. None: an earlier version of sb
    /// did not look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contents: Option<Sources>,
    /// What `sources` was before changes of the files were accepted, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) earlier: Vec<Sources>,
    /// SAM templates that this process has parsed already.
    #[serde(skip)]
    pub(super) templates: SamTemplates,
}

pub(crate) type Sources = BTreeMap<PathBuf, String>;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// A whole plan.
    Plan { path: PathBuf },
    /// A part of the life cycle of one deployment, which persists between commands.
    Single { manifest: PathBuf, target: String, deployment: DeploymentId, load: Option<Box<Load>> },
}

/// Parameters that were given for a run. They may be secrets: they are kept in a file of their own that only the user
/// can read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Name and value, as `-p NAME=VALUE`.
    pub params: Vec<(String, String)>,
    /// The `SB_PARAM_NAME` variables.
    pub environment: BTreeMap<String, String>,
}

impl Request {
    /// A whole plan, as its file (absolute) and nothing else says.
    pub fn plan(path: PathBuf) -> Self {
        Self::new(What::Plan { path }, Parts::ALL)
    }

    pub(crate) fn new(what: What, parts: Parts) -> Self {
        Self {
            version: 1,
            what,
            parts,
            executor: None,
            seed: None,
            tolerances: GivenTolerances::default(),
            keep_on_failure: false,
            sources: BTreeMap::new(),
            contents: None,
            earlier: vec![],
            templates: SamTemplates::default(),
        }
    }

    /// Where commands run, whatever the plan says.
    #[must_use]
    pub fn executor(mut self, executor: Option<Executor>) -> Self {
        self.executor = executor;
        self
    }

    /// The seed of everything drawn at random, whatever the plan says.
    #[must_use]
    pub fn seed(mut self, seed: Option<u64>) -> Self {
        self.seed = seed;
        self
    }

    /// What makes a trial invalid, whatever the loads say.
    #[must_use]
    pub fn tolerances(mut self, tolerances: GivenTolerances) -> Self {
        self.tolerances = tolerances;
        self
    }

    /// Whether a deployment on which something failed is left as it is, to be looked at.
    #[must_use]
    pub fn keep_on_failure(mut self, keep: bool) -> Self {
        self.keep_on_failure = keep;
        self
    }

    /// What need not be parsed again.
    #[must_use]
    pub(crate) fn templates(mut self, templates: SamTemplates) -> Self {
        self.templates = templates;
        self
    }

    /// What a file held when the run was started, as far as that is known.
    pub(crate) fn kept(&self, path: &Path) -> Option<&str> {
        let contents = || self.contents.as_ref().and_then(|contents| contents.get(path));
        self.sources.get(path).or_else(contents).map(String::as_str)
    }

    /// The file that was named: a plan or a manifest.
    pub(crate) fn file(&self) -> &Path {
        match &self.what {
            What::Plan { path } => path,
            What::Single { manifest, .. } => manifest,
        }
    }

    pub(crate) fn check(&self, files: &dyn Files, given: &Given) -> Checked<Plan> {
        let overrides = Overrides {
            params: given.params.clone(),
            executor: self.executor,
            seed: self.seed,
            tolerances: self.tolerances,
            environment: given.environment.clone(),
        };
        match &self.what {
            What::Plan { path } => validate::plan_with(files, path, &overrides, &self.templates),
            What::Single { manifest, target, load, .. } => {
                let checked = validate::benchmark_with(files, manifest, &self.templates);
                match checked.value {
                    Some(benchmark) => {
                        let mut single =
                            validate::single(benchmark, target, load.as_deref().cloned(), &overrides);
                        single.problems.splice(0..0, checked.problems);
                        single
                    }
                    None => Checked { value: None, problems: checked.problems },
                }
            }
        }
    }

    pub(crate) fn naming(&self) -> Naming {
        match &self.what {
            What::Plan { .. } => Naming::OfRun,
            What::Single { deployment, .. } => Naming::Named(deployment.clone()),
        }
    }

    /// What was asked for, in a word or two.
    pub(crate) fn title(&self) -> String {
        match &self.what {
            What::Plan { path } => path.display().to_string(),
            What::Single { deployment, .. } => deployment.to_string(),
        }
    }

    pub(crate) fn read(row: &RunRow) -> Result<Self, RunError> {
        serde_json::from_str(&row.request).map_err(|error| RunError::Stored { run: row.id.clone(), error })
    }

    /// The run's graph as it was planned, and its plan.
    pub(crate) fn rebuild(&self, store: &Store, run: &RunId) -> Result<(Plan, RunGraph), RunError> {
        let plan = self.planned(store, run)?;
        let graph = graph::build(&plan, expand(&plan), self.parts);
        Ok((plan, graph))
    }

    /// The run's plan as it was.
    pub(crate) fn planned(&self, store: &Store, run: &RunId) -> Result<Plan, RunError> {
        let given = Given::read(store, run)?;
        let files = Kept::new(self.sources.clone(), Measured::default()).with_contents(self.contents.clone());
        let mut checked = self.check(&files, &given);
        // Its warnings were shown when the run began.
        checked.problems.retain(Problem::is_error);
        checked.value.ok_or(RunError::Invalid(checked.problems))
    }
}

impl Given {
    pub(super) fn write(&self, store: &Store, run: &RunId) -> std::io::Result<()> {
        if self.params.is_empty() && self.environment.is_empty() {
            return Ok(());
        }
        let path = store.workspace().overrides_file(run);
        Ok(sb_durable::write(&path, Options::new().private(), &serde_json::to_vec(self)?)?)
    }

    pub(super) fn read(store: &Store, run: &RunId) -> std::io::Result<Self> {
        match std::fs::read(store.workspace().overrides_file(run)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }
}
