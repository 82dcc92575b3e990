//! Arguments and environment, resolved: where the state is, which manifest is meant.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::cli::{Given, OutputFormat};
use crate::store::expect_own;
use crate::terminal::Missing;
use crate::workspace::{Workspace, absolute, quoted};
use sb_plan::plan::Executor;

/// What the common options mean.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub file: Option<PathBuf>,
    pub target: Option<String>,
    pub executor: Option<Executor>,
    pub format: OutputFormat,
    pub params: Vec<(String, String)>,
    pub state_dir: Option<PathBuf>,
    pub verbose: bool,
    /// SB_PRICES: a price table for estimates of cost.
    pub prices: Option<PathBuf>,
    /// SB_IMAGES: a table of default images.
    pub images: Option<PathBuf>,
    /// The tmux session that was made around this run.
    pub inside_tmux: Option<String>,
    /// The `SB_PARAM_NAME` variables.
    pub environment: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum SettingsError {
    #[error("`{argument}` is not NAME=VALUE")]
    #[diagnostic(help("write a parameter as -p memory_size=2048"))]
    Param { argument: String },
    #[error("the environment variable {name} is not UTF-8 text")]
    #[diagnostic(help("set it to text, unset it, or give the parameter with -p NAME=VALUE"))]
    NotText { name: String },
    #[error("there is no manifest in `{}`", folder.display())]
    #[diagnostic(help("go to an application's folder, or name the manifest with --file"))]
    NoManifest { folder: PathBuf },
    #[error("`{}` has several manifests: {}", folder.display(), names.join(", "))]
    #[diagnostic(help("name one with --file"))]
    SeveralManifests { folder: PathBuf, names: Vec<String> },
    #[error("cannot read the folder `{}`: {source}", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    #[error("there is no state here, and several below: {}", .0.join(", "))]
    #[diagnostic(help("go to the folder of one, or name it: --state-dir {}", .0[0]))]
    SeveralWorkspaces(Vec<String>),
}

impl Settings {
    pub(crate) fn resolve(given: Given) -> Result<Self, SettingsError> {
        let params = given
            .params
            .into_iter()
            .map(|argument| match argument.split_once('=') {
                Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
                _ => Err(SettingsError::Param { argument }),
            })
            .collect::<Result<_, _>>()?;
        let mut environment = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with("SB_PARAM_")) else { continue };
            let not_text = |_| SettingsError::NotText { name: name.to_owned() };
            environment.insert(name.to_owned(), value.into_string().map_err(not_text)?);
        }
        let file = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(Self {
            file: given.file,
            target: given.target,
            executor: given.executor,
            format: given.format,
            params,
            state_dir: given.state_dir,
            verbose: given.verbose,
            prices: file("SB_PRICES"),
            images: file("SB_IMAGES"),
            inside_tmux: given.inside_tmux,
            environment,
        })
    }

    /// Whether a script reads the output.
    pub(crate) fn json(&self) -> bool {
        self.format == OutputFormat::Json
    }

    /// The manifest that is meant: `--file`, or the only one in the working directory.
    pub(crate) fn manifest(&self) -> Result<PathBuf, SettingsError> {
        if let Some(file) = &self.file {
            return Ok(absolute(file));
        }
        let folder = absolute(Path::new("."));
        let unreadable = |source| SettingsError::Folder { folder: folder.clone(), source };
        let mut names = Vec::new();
        for item in std::fs::read_dir(&folder).map_err(unreadable)? {
            let name = item.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
            if is_benchmark(&name) {
                names.push(name);
            }
        }
        names.sort();
        match names.as_slice() {
            [] => Err(SettingsError::NoManifest { folder }),
            [name] => Ok(folder.join(name)),
            _ => Err(SettingsError::SeveralManifests { folder, names }),
        }
    }

    /// The workspace for work on `beside`: `--state-dir`, or the one to which `beside` belongs.
    pub(crate) fn workspace(&self, beside: &Path) -> Workspace {
        match &self.state_dir {
            Some(folder) => Workspace::at(&absolute(folder)),
            None => Workspace::of(beside),
        }
    }

    /// What commands lack that are to concern this workspace and what is meant here, when they are pasted.
    pub(crate) fn missing_in_commands(&self, workspace: &Workspace) -> Missing {
        let mut missing = Missing::default();
        let here = Workspace::of(Path::new("."));
        // One that is another user's is used only where it is named.
        if workspace.folder() != here.folder() || (workspace.is_named() && expect_own(&here).is_err()) {
            missing.state = format!(" --state-dir {}", quoted(workspace.folder()));
        }
        if let Some(file) = &self.file {
            missing.manifest = format!(" --file {}", quoted(&absolute(file)));
        }
        if let Some(target) = &self.target {
            missing.target = format!(" --target {}", quoted(Path::new(target)));
        }
        if let Some(executor) = self.executor {
            missing.executor = format!(" --executor {executor}");
        }
        missing
    }

    /// The workspace of the working directory.
    pub(crate) fn workspace_here(&self) -> Workspace {
        self.workspace(Path::new("."))
    }

    /// The workspace that is looked at where no file says which one: that of the working directory. If there is none, the only
    /// one below it: outside of a git work tree, the state of a plan is beside the plan.
    pub(crate) fn known_workspace(&self) -> Result<Workspace, SettingsError> {
        let here = self.workspace_here();
        if self.state_dir.is_some() || here.folder().exists() {
            return Ok(here);
        }
        let below = Workspace::below(Path::new("."));
        match below.as_slice() {
            [] => Ok(here),
            [one] => Ok(one.clone()),
            several => {
                const NAMED: usize = 5;
                let mut names: Vec<_> =
                    several.iter().take(NAMED).map(|workspace| quoted(workspace.folder())).collect();
                if several.len() > NAMED {
                    names.push(format!("{} more", several.len() - NAMED));
                }
                Err(SettingsError::SeveralWorkspaces(names))
            }
        }
    }
}

/// `benchmark.toml`, `benchmark.yaml`, `thumbnails.benchmark.toml` …
pub(crate) fn is_benchmark(name: &str) -> bool {
    ["benchmark.toml", "benchmark.yaml", "benchmark.yml"]
        .iter()
        .any(|end| name == *end || name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')))
}
