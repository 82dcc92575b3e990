//! Files that take their place when they are complete.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use crate::io::input::with_path;

/// A file that takes its place when it is complete, and leaves nothing behind otherwise. After a kill, what is left
/// is a hidden file, which the next analysis into the same folder removes.
pub(crate) struct Replacement {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    is_finished: bool,
}

impl Replacement {
    pub(crate) fn create(target: PathBuf) -> io::Result<Self> {
        remove_leftovers(&target);
        let temporary = target.with_file_name(partial_name(&target, &std::process::id().to_string()));
        let file = File::create(&temporary).map_err(|error| with_path(&error, "write", &target))?;
        Ok(Self { file, temporary, target, is_finished: false })
    }

    /// Finishes all of them: they wait for the disk together, and none takes its place before all are safe there.
    pub(crate) fn finish_all(files: Vec<Self>) -> io::Result<()> {
        thread::scope(|scope| {
            let waiting: Vec<_> = files.iter().map(|file| scope.spawn(|| file.sync())).collect();
            let mut joined = waiting.into_iter().map(thread::ScopedJoinHandle::join);
            joined.try_for_each(|outcome| outcome.unwrap_or_else(|panic| resume_unwind(panic)))
        })?;
        files.into_iter().try_for_each(Self::take_place)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_all().map_err(|error| with_path(&error, "write", &self.target))
    }

    fn take_place(mut self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.target)
            .map_err(|error| with_path(&error, "write", &self.target))?;
        self.is_finished = true;
        Ok(())
    }
}

impl Write for &Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.file).write(bytes).map_err(|error| with_path(&error, "write", &self.target))
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.file).flush()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_finished {
            // Nothing better can be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// `.trace_breakdown.csv.1234.partial`
fn partial_name(target: &Path, process: &str) -> OsString {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{process}.partial"));
    name
}

/// Removes what killed processes left of the same file. Where /proc does not list the processes, it stays.
fn remove_leftovers(target: &Path) {
    if !Path::new("/proc/self").exists() {
        return;
    }
    let Some(name) = target.file_name() else { return };
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let prefix = format!(".{}.", name.to_string_lossy());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".partial"));
        if process.is_some_and(|id| id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists()) {
            // Only tidiness: a leftover does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}
