//! What is fetched once for all runtimes of a user, kept in `$XDG_CACHE_HOME/sb` or `~/.cache/sb`.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use super::LocalError;

/// A folder of the cache.
pub(super) struct Kept {
    pub folder: PathBuf,
}

impl Kept {
    pub fn named(name: &str) -> Result<Self, LocalError> {
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
            .ok_or_else(|| {
                LocalError::Fetch(format!("there is no home folder to keep {name} in: set XDG_CACHE_HOME"))
            })?;
        Ok(Self { folder: cache.join("sb").join(name) })
    }

    /// A new, empty folder that [`Kept::replace`] makes the one that is kept: whoever finds that finds all of it.
    pub fn begin(&self) -> Result<PathBuf, LocalError> {
        let new = self.folder.with_added_extension(std::process::id().to_string());
        fs::create_dir_all(&new).map_err(LocalError::io("make", &new))?;
        Ok(new)
    }

    /// Ends what [`Kept::begin`] began.
    pub fn replace(&self, new: PathBuf, made: Result<(), String>) -> Result<(), LocalError> {
        if made.is_ok() {
            let _ = fs::remove_dir_all(&self.folder);
            // Fails when another one was faster; then that is there.
            let _ = fs::rename(&new, &self.folder);
        }
        let _ = fs::remove_dir_all(new);
        made.map_err(LocalError::Fetch)
    }

    pub fn unusable(&self) -> LocalError {
        let folder = self.folder.display();
        LocalError::Fetch(format!("what was fetched into `{folder}` cannot be used: remove the folder"))
    }
}

/// Runs a command; when it fails, what it said.
pub(super) async fn run(command: &mut Command) -> Result<(), String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let ran = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let ran = ran.map_err(|error| format!("`{program}`: {error}"))?;
    if ran.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(if ran.stderr.is_empty() { &ran.stdout } else { &ran.stderr });
    Err(format!("`{program}`: {}", said.trim().chars().take(600).collect::<String>()))
}
