//! Which program runs a function: an interpreter with a client of the Runtime API, or the function's own `bootstrap`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::LocalError;
use crate::manifest::sam;

const PYTHON_CLIENT: &str = include_str!("bootstrap.py");
const NODE_CLIENT: &str = include_str!("bootstrap.mjs");

/// The clients of the Runtime API that come with `sb`, and the interpreters of this machine.
pub(super) struct Runtimes {
    python_client: PathBuf,
    node_client: PathBuf,
    /// By runtime; each is looked for once.
    pythons: BTreeMap<String, Option<Python>>,
    has_node: Option<bool>,
}

impl Runtimes {
    /// Puts the clients into the state folder, for the functions' processes to run.
    pub fn write(state_dir: &Path) -> Result<Self, LocalError> {
        let write = |name: &str, text: &str| {
            let path = state_dir.join(name);
            fs::write(&path, text).map_err(LocalError::io("write", &path))?;
            Ok(path)
        };
        Ok(Self {
            python_client: write("bootstrap.py", PYTHON_CLIENT)?,
            node_client: write("bootstrap.mjs", NODE_CLIENT)?,
            pythons: BTreeMap::new(),
            has_node: None,
        })
    }

    /// Program and arguments of the process of a function whose code lies in `folder`.
    pub fn command(&mut self, function: &sam::Function, folder: &Path) -> Result<Vec<OsString>, String> {
        let runtime = function.runtime.as_str();
        if runtime.starts_with("python3.") {
            self.python(runtime, &function.handler)
        } else if runtime.starts_with("nodejs") {
            self.node(runtime, &function.handler, folder)
        } else if runtime.starts_with("provided") {
            let program = folder.join("bootstrap");
            if is_executable(&program) {
                return Ok(vec![program.into()]);
            }
            Err(format!(
                "runtime `{runtime}` needs an executable file `bootstrap` in CodeUri: build the function first"
            ))
        } else {
            Err(format!(
                "runtime `{runtime}` is not supported by the local target: python3.x, nodejs* and provided.* are"
            ))
        }
    }

    fn python(&mut self, runtime: &str, handler: &str) -> Result<Vec<OsString>, String> {
        let found = self.pythons.entry(runtime.to_owned()).or_insert_with(|| Python::find(runtime));
        let python = found.as_ref().ok_or_else(|| {
            format!("neither `{runtime}` nor `python3` can be run here: install one of them")
        })?;
        let mut command: Vec<OsString> = vec![python.program.clone().into(), "-u".into()];
        if python.has_client {
            command.extend(["-m".into(), "awslambdaric".into(), handler.into()]);
        } else {
            command.push(self.python_client.clone().into());
        }
        Ok(command)
    }

    fn node(&mut self, runtime: &str, handler: &str, folder: &Path) -> Result<Vec<OsString>, String> {
        if !*self.has_node.get_or_insert_with(|| runs("node", &["-e", ""])) {
            return Err(format!(
                "runtime `{runtime}` needs `node`, which cannot be run here: install Node.js"
            ));
        }
        let own = folder.join("node_modules/.bin/aws-lambda-ric");
        if is_executable(&own) {
            return Ok(vec![own.into(), handler.into()]);
        }
        Ok(vec!["node".into(), self.node_client.clone().into()])
    }
}

/// A Python that can be run.
struct Python {
    program: String,
    /// Whether AWS's own Runtime API client is installed.
    has_client: bool,
}

impl Python {
    /// The version asked for; failing that, whatever `python3` is.
    fn find(runtime: &str) -> Option<Self> {
        let program = [runtime, "python3"].into_iter().find(|program| runs(program, &["-c", ""]))?;
        let has_client = runs(program, &["-c", "import awslambdaric"]);
        Some(Self { program: program.to_owned(), has_client })
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
