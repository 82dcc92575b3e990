//! Which program runs a function: an interpreter with a client of the Runtime API, or the function's own `bootstrap`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::code::Code;
use super::containers::Container;
use super::{LocalError, java};

const PYTHON_CLIENT: &str = include_str!("bootstrap.py");
const NODE_CLIENT: &str = include_str!("bootstrap.mjs");

/// The clients of the Runtime API that come with `sb`, and the interpreters of this machine.
pub(super) struct Runtimes {
    python_client: PathBuf,
    node_client: PathBuf,
    /// By runtime; each is looked for once.
    pythons: BTreeMap<String, Option<Python>>,
    has_node: Option<bool>,
    has_java: Option<bool>,
    java_client: Option<PathBuf>,
}

/// What runs a function.
pub(super) enum Program {
    Process {
        /// Program and arguments.
        command: Vec<OsString>,
        /// Whether the function's memory size limits the data of its process. A virtual machine for Java reserves far more than it
        /// uses and would not start: its heap is limited instead.
        limited: bool,
    },
    Container(Container),
}

impl std::fmt::Display for Program {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process { command, .. } => {
                let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
                out.write_str(&words.join(" "))
            }
            Self::Container(container) => container.fmt(out),
        }
    }
}

impl Runtimes {
    /// Puts the clients into the state folder, for the functions' processes to run.
    pub(crate) fn write(state_dir: &Path, java_client: Option<PathBuf>) -> Result<Self, LocalError> {
        let write = |name: &str, text: &str| {
            let path = state_dir.join(name);
            fs::write(&path, text).map_err(LocalError::io("write", &path))?;
            Ok::<_, LocalError>(path)
        };
        Ok(Self {
            python_client: write("bootstrap.py", PYTHON_CLIENT)?,
            node_client: write("bootstrap.mjs", NODE_CLIENT)?,
            pythons: BTreeMap::new(),
            has_node: None,
            has_java: None,
            java_client,
        })
    }

    /// What runs a function with this code.
    pub(crate) fn program(&mut self, function: &sb_sam::Function, code: &Code) -> Result<Program, String> {
        let runtime = function.runtime.as_str();
        let limited = !runtime.starts_with("java");
        let command = if runtime.starts_with("python3.") {
            self.python(runtime, &function.handler)
        } else if runtime.starts_with("nodejs") {
            self.node(runtime, &function.handler, &code.folder)
        } else if runtime.starts_with("java") {
            self.java(function, code)
        } else if runtime.starts_with("provided") {
            bootstrap(runtime, &code.folder)
        } else if runtime == "go1.x" {
            Err("runtime `go1.x` has ended, on AWS too: write `provided.al2023`, and build the same program (with github.com/aws/aws-lambda-go) as `bootstrap`".to_owned())
        } else {
            Err(format!(
                "runtime `{runtime}` is not supported by the local target: python3.x, nodejs*, java* and provided.* are"
            ))
        };
        Ok(Program::Process { command: command?, limited })
    }

    /// A function whose handler is in no file would start, and fail at its first request.
    pub(crate) fn expect_handler(&mut self, function: &sb_sam::Function, code: &Code) -> Result<(), String> {
        if let Some(fault) = function.handler_fault() {
            return Err(fault);
        }
        let Some(files) = function.handler_files() else { return Ok(()) };
        if files.iter().any(|file| code.folder.join(file).is_file()) {
            return Ok(());
        }
        // A module of Python may be one that is installed here, or built for this version (`app.cpython-313-x86_64-linux-gnu.so`).
        if function.runtime.starts_with("python3.")
            && let Some(Some(python)) = self.pythons.get(&function.runtime)
            && let Some((module, _)) = function.handler.rsplit_once('.')
            && python.finds(&module.replace('/', "."), &code.folder)
        {
            return Ok(());
        }
        let expected = files.first().map(String::as_str).unwrap_or_default();
        Err(format!(
            "its handler `{}` is in none of the files of CodeUri: there is no `{expected}` in {}; \
             build the function first, and deploy what was built (`sam build` makes .aws-sam/build/template.yaml)",
            function.handler,
            code.folder.display()
        ))
    }

    fn java(&mut self, function: &sb_sam::Function, code: &Code) -> Result<Vec<OsString>, String> {
        if !*self.has_java.get_or_insert_with(|| runs("java", &["-version"])) {
            let runtime = &function.runtime;
            return Err(format!(
                "runtime `{runtime}` needs `java`, which cannot be run here: install a JDK or a JRE; `sb doctor` shows how"
            ));
        }
        let client =
            self.java_client.as_deref().ok_or("the client of the Runtime API for Java is missing: `sb local up` fetches it from Maven Central when it starts")?;
        Ok(java::command(function, code.file.as_ref().unwrap_or(&code.folder), client))
    }

    fn python(&mut self, runtime: &str, handler: &str) -> Result<Vec<OsString>, String> {
        let found = self.pythons.entry(runtime.to_owned()).or_insert_with(|| Python::find(runtime));
        let python = found.as_ref().ok_or_else(|| {
            format!("neither `{runtime}` nor `python3` can be run here: install one of them; `sb doctor` shows how")
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
                "runtime `{runtime}` needs `node`, which cannot be run here: install Node.js; `sb doctor` shows how"
            ));
        }
        let own = folder.join("node_modules/.bin/aws-lambda-ric");
        if is_executable(&own) {
            return Ok(vec![own.into(), handler.into()]);
        }
        Ok(vec!["node".into(), self.node_client.clone().into()])
    }
}

fn bootstrap(runtime: &str, folder: &Path) -> Result<Vec<OsString>, String> {
    let program = folder.join("bootstrap");
    if is_executable(&program) {
        return Ok(vec![program.into()]);
    }
    Err(format!(
        "runtime `{runtime}` needs an executable file `bootstrap` in CodeUri: build the function first"
    ))
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
        // What a name leads to may be a script that looks for the interpreter (as pyenv's): every cold start would pay for it.
        let program = interpreter(program).unwrap_or_else(|| program.to_owned());
        let has_client = runs(&program, &["-c", "import awslambdaric"]);
        Some(Self { program, has_client })
    }
}

impl Python {
    /// Whether it would find a module, which it does not run (but it does run the packages around it).
    fn finds(&self, module: &str, folder: &Path) -> bool {
        const LOOK: &str = "import importlib.util, sys; sys.path.insert(0, sys.argv[1]); \
                            sys.exit(importlib.util.find_spec(sys.argv[2]) is None)";
        let mut command = Command::new(&self.program);
        command.args(["-c", LOOK]).arg(folder).arg(module);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

/// The interpreter itself, as it says.
fn interpreter(program: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(["-c", "import sys; print(sys.executable)"]).stdin(Stdio::null()).stderr(Stdio::null());
    let said = command.output().ok().filter(|output| output.status.success())?;
    let path = String::from_utf8(said.stdout).ok()?.trim().to_owned();
    is_executable(Path::new(&path)).then_some(path)
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
