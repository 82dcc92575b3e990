//! A temporary workspace in which tests run `sb` as a user would.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Workspace {
    folder: tempfile::TempDir,
}

#[derive(Debug)]
pub(crate) struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Workspace {
    /// An empty git work tree.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("sb-test-").tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(".git")).expect("a folder");
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().expect("the folder")
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    /// Copies a folder of the project, results left out.
    pub(crate) fn copy(&self, name: &str) {
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name), &self.path().join(name));
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sb"));
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SB_") {
                command.env_remove(name);
            }
        }
        // Runs share the machine with those of the same user: tests are not to wait for each other.
        command.env("SB_LOCKS", self.path().join(".runtime"));
        command
    }

    #[track_caller]
    pub(crate) fn sb(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().expect("sb starts"))
    }

    /// Runs in a folder of the workspace.
    #[track_caller]
    pub(crate) fn sb_in(&self, folder: &str, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).current_dir(self.path().join(folder)).output().expect("sb starts"))
    }

    /// Starts a runner whose output goes to a file.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        let log = std::fs::File::create(self.path().join("runner.log")).expect("a file");
        self.command(arguments)
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("sb starts")
    }

    /// Whether a file comes to hold a text in time.
    pub(crate) fn appears(&self, name: &str, text: &str) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            if self.read(name).contains(text) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Every file below the workspace whose content holds the text.
    pub(crate) fn files_with(&self, text: &str) -> Vec<PathBuf> {
        let has_text = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        self.files().into_iter().filter(|path| std::fs::read(path).is_ok_and(has_text)).collect()
    }

    /// All files in the workspace, its state included.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path()];
        while let Some(folder) = folders.pop() {
            for item in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = item.path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found
    }

    /// Processes whose arguments or working folder name the workspace.
    pub(crate) fn processes(&self) -> Vec<String> {
        let name = self.path().to_string_lossy().into_owned();
        let mut found = Vec::new();
        for item in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(arguments) = std::fs::read(item.path().join("cmdline")) else { continue };
            let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
            let folder = std::fs::read_link(item.path().join("cwd")).unwrap_or_default();
            if arguments.contains(&name) || folder.starts_with(&name) {
                found.push(format!("{}: {arguments}", item.file_name().to_string_lossy()));
            }
        }
        found
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n{}\n{}", self.stdout, self.stderr);
        self
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        if from.file_name().is_some_and(|name| name == "logs" || name == "__pycache__") {
            return;
        }
        std::fs::create_dir_all(to).expect("a folder");
        for item in std::fs::read_dir(from).expect("a folder").flatten() {
            copy(&item.path(), &to.join(item.file_name()));
        }
    } else {
        std::fs::copy(from, to).expect("a file");
    }
}
