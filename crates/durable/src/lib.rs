//! Files that appear complete or not at all.
//!
//! A file is written under a temporary name in the same folder, and renamed when it is complete. A reader sees the file
//! from before or the new one, never a part. [`Durability`] says what the new file survives.
//!
//! ```
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("state.json");
//! let private = sb_durable::Options::new().private();
//! sb_durable::write(&path, private, b"{\"version\":1}")?;
//! assert_eq!(std::fs::read(&path)?, b"{\"version\":1}");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The temporary file is created exclusively under a name of its own, so two writers never share one: the last one to
//! finish wins. It is removed when the write fails. A process that is killed leaves it behind, as
//! `.NAME.PROCESS-NUMBER.partial`. A symbolic link in place of the file is replaced; what it leads to stays as it is.
//!
//! Files that people name are read by [`open_regular`] and its like, which never wait for a pipe. [`read_beneath`] and its
//! like open what lies below a folder, whatever links somebody has made there.

#![deny(missing_docs)]

mod beneath;
mod folder;
mod own;
mod regular;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rustix::fs::OFlags;

pub use beneath::{
    HeldFolder, folder_beneath, leads_out, open_beneath, open_in_folder, read_beneath, text_in_folder,
};
pub use folder::FolderReplacement;
pub use own::{expect_own, files_below};
pub use regular::{open_regular, read_regular, read_regular_text};

/// What a written file survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The end of every process. After a loss of power the file may be the old one, empty, or missing.
    Processes,
    /// The end of the machine: the content and the name are on the disk when the write returns.
    Disk,
}

/// How a file is written: durable on the disk, and readable as the process's umask has it, unless told otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    durability: Durability,
    mode: u32,
}

impl Options {
    /// Survives the end of the machine; readable as the umask has it.
    pub const fn new() -> Self {
        Self { durability: Durability::Disk, mode: 0o666 }
    }

    /// Readable by the owner only (0600).
    #[must_use]
    pub const fn private(self) -> Self {
        Self { mode: 0o600, ..self }
    }

    /// What the file survives.
    #[must_use]
    pub const fn survives(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

/// A file that could not be written. What was at its path before is still there, unless the folder alone could not be
/// made durable.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct WriteError {
    /// The file that was to be written.
    pub path: PathBuf,
    /// Why it was not.
    pub source: io::Error,
}

impl WriteError {
    fn of(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { path: path.to_owned(), source }
    }
}

/// Keeps the kind of the error, and the path in its message.
impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        Self::new(error.source.kind(), error)
    }
}

/// Writes `bytes` to `target`.
///
/// # Errors
/// What the file system refuses, with the path. The file from before is then still there.
pub fn write(target: &Path, options: Options, bytes: &[u8]) -> Result<(), WriteError> {
    let replacement = Replacement::create(target, options)?;
    (&replacement).write_all(bytes).map_err(WriteError::of(target))?;
    replacement.place()
}

/// Options to open a file that only its owner may read: what opens it creates it so, and follows no link in its place.
pub fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Has `fill` write `target`, through a buffer.
///
/// # Errors
/// Those of `fill`, and what the file system refuses. The file from before is then still there.
pub fn write_with(
    target: &Path,
    options: Options,
    fill: impl FnOnce(&mut BufWriter<&Replacement>) -> io::Result<()>,
) -> Result<(), WriteError> {
    /// As much as is handed to the file system at once.
    const BUFFER: usize = 1 << 17;
    let replacement = Replacement::create(target, options)?;
    let mut buffered = BufWriter::with_capacity(BUFFER, &replacement);
    fill(&mut buffered).and_then(|()| buffered.flush()).map_err(WriteError::of(target))?;
    // Nothing is in it any more.
    drop(buffered);
    replacement.place()
}

/// A file that takes its place when it is complete, and leaves nothing behind otherwise.
#[derive(Debug)]
pub struct Replacement {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    durability: Durability,
    is_placed: bool,
}

impl Replacement {
    /// Creates the temporary file beside `target`.
    ///
    /// # Errors
    /// What the file system refuses.
    pub fn create(target: &Path, options: Options) -> Result<Self, WriteError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut opening = OpenOptions::new();
        opening.write(true).create_new(true).mode(options.mode);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let temporary = target.with_file_name(partial_name(target, std::process::id(), number));
            match opening.open(&temporary) {
                Ok(file) => {
                    let (target, durability) = (target.to_owned(), options.durability);
                    return Ok(Self { file, temporary, target, durability, is_placed: false });
                }
                // Another process of this number: an earlier one, or one of another container.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(WriteError::of(target)(error)),
            }
        }
    }

    /// The file that it will replace.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Takes the place of the target, as durable as the options said.
    ///
    /// # Errors
    /// What the file system refuses, a full disk for example.
    pub fn place(self) -> Result<(), WriteError> {
        self.sync()?;
        let (target, durability) = (self.target.clone(), self.durability);
        self.rename()?;
        if durability == Durability::Disk { sync_folder(&target) } else { Ok(()) }
    }

    /// Places several files. They wait for the disk together, and none takes its place before all are safe there.
    ///
    /// # Errors
    /// The first that the file system refuses. Only when it refuses a rename may some of the files be new and others old.
    pub fn place_all(files: Vec<Self>) -> Result<(), WriteError> {
        thread::scope(|scope| {
            let waiting: Vec<_> = files.iter().map(|file| scope.spawn(|| file.sync())).collect();
            let mut joined = waiting.into_iter().map(thread::ScopedJoinHandle::join);
            joined.try_for_each(|outcome| outcome.unwrap_or_else(|panic| resume_unwind(panic)))
        })?;
        let mut durable: Vec<PathBuf> = Vec::new();
        for file in files {
            if file.durability == Durability::Disk
                && !durable.iter().any(|other| folder(other) == folder(&file.target))
            {
                durable.push(file.target.clone());
            }
            file.rename()?;
        }
        durable.iter().try_for_each(|target| sync_folder(target))
    }

    fn sync(&self) -> Result<(), WriteError> {
        match self.durability {
            Durability::Processes => Ok(()),
            Durability::Disk => self.file.sync_all().map_err(WriteError::of(&self.target)),
        }
    }

    fn rename(mut self) -> Result<(), WriteError> {
        fs::rename(&self.temporary, &self.target).map_err(WriteError::of(&self.target))?;
        self.is_placed = true;
        Ok(())
    }
}

impl Write for &Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.file).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.file).flush()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_placed {
            // Nothing better can be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// A rename is durable only with its folder.
fn sync_folder(target: &Path) -> Result<(), WriteError> {
    File::open(folder(target)).and_then(|folder| folder.sync_all()).map_err(WriteError::of(target))
}

fn folder(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `.trace_breakdown.csv.1234-0.partial`
fn partial_name(target: &Path, process: u32, number: u64) -> OsString {
    let mut name = partial_prefix(target);
    name.push(format!("{process}-{number}.partial"));
    name
}

/// `.trace_breakdown.csv.`, and not more of a long name than leaves room for what follows.
fn partial_prefix(target: &Path) -> OsString {
    const LONGEST: usize = 200;
    let name = target.file_name().unwrap_or_default().as_bytes();
    let mut prefix = OsString::from(".");
    prefix.push(OsStr::from_bytes(&name[..name.len().min(LONGEST)]));
    prefix.push(".");
    prefix
}

/// Removes what killed processes left of earlier writes to `target`. Where processes cannot be told from `/proc`, it stays.
pub fn remove_leftovers(target: &Path) {
    if !Path::new("/proc/self").exists() {
        return;
    }
    let prefix = partial_prefix(target);
    for entry in fs::read_dir(folder(target)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = writer_of(&name, &prefix);
        if process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            // Only tidiness: a leftover does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The process that wrote a temporary file. Earlier versions of `sb` gave no number after it.
fn writer_of(name: &OsStr, prefix: &OsStr) -> Option<u32> {
    let rest = name.as_bytes().strip_prefix(prefix.as_bytes())?.strip_suffix(b".partial")?;
    let rest = std::str::from_utf8(rest).ok()?;
    let (process, number) = rest.split_once('-').unwrap_or((rest, "0"));
    number.parse::<u64>().ok().and(process.parse().ok())
}

#[cfg(test)]
mod tests;
