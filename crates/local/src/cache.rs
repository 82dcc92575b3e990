//! What is fetched once for all runtimes of a user, kept in `$XDG_CACHE_HOME/sb` or `~/.cache/sb`.

use std::fs::{self, File, TryLockError};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::LocalError;

/// How often somebody else's fetching is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A folder of the cache.
pub(super) struct Kept {
    pub folder: PathBuf,
}

impl Kept {
    pub(crate) fn named(name: &str) -> Result<Self, LocalError> {
        let cache = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
            .ok_or_else(|| {
                LocalError::Fetch(format!("there is no home folder to keep {name} in: set XDG_CACHE_HOME"))
            })?;
        Ok(Self { folder: cache.join("sb").join(name) })
    }

    /// Waits until nobody else fetches it, in this process or another. Look again then: it may be there. The lock ends with the file.
    pub(crate) async fn lock(&self) -> Result<File, LocalError> {
        let path = self.folder.with_added_extension("lock");
        fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(LocalError::io("make", &path))?;
        let file = File::create(&path).map_err(LocalError::io("make", &path))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK_EVERY).await,
                Err(TryLockError::Error(error)) => return Err(LocalError::io("lock", &path)(error)),
            }
        }
    }

    /// A new, empty folder that [`Kept::replace`] makes the one that is kept: whoever finds that finds all of it. Only with the lock.
    pub(crate) fn begin(&self) -> Result<PathBuf, LocalError> {
        let new = self.folder.with_added_extension("new");
        // Of somebody who was killed.
        let _ = fs::remove_dir_all(&new);
        fs::create_dir_all(&new).map_err(LocalError::io("make", &new))?;
        Ok(new)
    }

    /// Ends what [`Kept::begin`] began.
    pub(crate) fn replace(&self, new: PathBuf, made: Result<(), String>) -> Result<(), LocalError> {
        let made = made.and_then(|()| {
            let _ = fs::remove_dir_all(&self.folder);
            fs::rename(&new, &self.folder).map_err(|error| format!("`{}`: {error}", self.folder.display()))
        });
        let _ = fs::remove_dir_all(new);
        made.map_err(LocalError::Fetch)
    }

    pub(crate) fn unusable(&self) -> LocalError {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_one_at_a_time_fetches_and_whoever_waited_finds_it() {
        let cache = tempfile::tempdir().unwrap();
        let fetched = std::sync::atomic::AtomicUsize::new(0);
        let fetch = async || {
            let kept = Kept { folder: cache.path().join("deep/thing") };
            let _lock = kept.lock().await.unwrap();
            if !kept.folder.join("done").exists() {
                let new = kept.begin().unwrap();
                assert!(!new.join("torn").exists());
                fs::write(new.join("torn"), "").unwrap();
                tokio::time::sleep(Duration::from_millis(150)).await;
                fetched.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                fs::write(new.join("done"), "").unwrap();
                kept.replace(new, Ok(())).unwrap();
            }
            assert!(kept.folder.join("done").exists());
        };
        // One that was killed half-way left something behind.
        fs::create_dir_all(cache.path().join("deep/thing.new/torn")).unwrap();
        tokio::join!(fetch(), fetch(), fetch());
        assert_eq!(fetched.into_inner(), 1);
    }
}
