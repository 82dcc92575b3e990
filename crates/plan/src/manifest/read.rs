//! Where manifests come from: the disk, memory, or what an earlier run read.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// What validation asks of a file system. Paths are absolute.
pub trait Files {
    /// The content of a file.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Whether there is a file or folder at this path.
    fn exists(&self, path: &Path) -> bool;
    /// Whether there is a folder at this path.
    fn is_folder(&self, path: &Path) -> bool;
    /// Whether there is something else, such as a pipe, which has no content to count on.
    fn is_special(&self, path: &Path) -> bool {
        let _ = path;
        false
    }
    /// What a path leads to where it is a link itself, as the link has it.
    fn link(&self, path: &Path) -> Option<PathBuf> {
        let _ = path;
        None
    }
    /// The path with links followed; the path itself where there are none or it does not exist.
    fn canonical(&self, path: &Path) -> PathBuf;
    /// The names of what lies in a folder; none where it cannot be listed.
    fn names(&self, folder: &Path) -> Vec<String> {
        let _ = folder;
        vec![]
    }
    /// What a file or folder holds, in a text that differs when that does. None where nobody keeps contents, or there is
    /// nothing at this path.
    fn contents(&self, path: &Path) -> Option<String> {
        let _ = path;
        None
    }
}

/// The largest file that is read, in bytes: templates and traces of a load may be long.
pub const LARGEST: u64 = 16 << 20;

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    /// Of a regular file of at most [`LARGEST`] bytes: a pipe would wait for ever, and a device has no end.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        sb_durable::read_regular(path, LARGEST)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn is_special(&self, path: &Path) -> bool {
        path.metadata().is_ok_and(|about| !about.is_file() && !about.is_dir())
    }

    fn link(&self, path: &Path) -> Option<PathBuf> {
        path.read_link().ok()
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        path.canonicalize().unwrap_or_else(|_| normal(path))
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let items = std::fs::read_dir(folder).into_iter().flatten().flatten();
        items.map(|item| item.file_name().to_string_lossy().into_owned()).collect()
    }
}

/// The real file system, where each file is looked at once, however often it is asked for: for a check of many manifests that is
/// over before anything changes. Folders above them, in particular, are followed once.
#[derive(Debug, Default)]
pub struct Once {
    canonical: Mutex<HashMap<PathBuf, PathBuf>>,
    /// None: there is nothing.
    kinds: Mutex<HashMap<PathBuf, Option<FileKind>>>,
    texts: Mutex<HashMap<PathBuf, Arc<Vec<u8>>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Regular,
    Folder,
    Special,
}

/// In bytes: larger ones, such as traces of a load, are read when they are asked for.
const LARGEST_KEPT: usize = 256 << 10;

impl Once {
    fn kind(&self, path: &Path) -> Option<FileKind> {
        if let Some(known) = self.kinds.lock().get(path) {
            return *known;
        }
        let kind = path.metadata().ok().map(|about| match about.file_type() {
            kind if kind.is_file() => FileKind::Regular,
            kind if kind.is_dir() => FileKind::Folder,
            _ => FileKind::Special,
        });
        self.kinds.lock().insert(path.to_owned(), kind);
        kind
    }

    /// What a path leads to when its folder is followed, and it is no link itself. None: all of it must be followed.
    fn beneath(&self, path: &Path) -> Option<PathBuf> {
        let is_plain =
            path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
        let (folder, name) = (path.parent()?, path.file_name()?);
        let place = is_plain.then(|| self.canonical(folder).join(name))?;
        // Neither a link nor missing.
        let is_no_link =
            std::fs::read_link(&place).is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput);
        is_no_link.then_some(place)
    }
}

impl Files for Once {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if let Some(known) = self.texts.lock().get(path) {
            return Ok(known.to_vec());
        }
        let text = Disk.read(path)?;
        if text.len() <= LARGEST_KEPT {
            self.texts.lock().insert(path.to_owned(), Arc::new(text.clone()));
        }
        Ok(text)
    }

    fn exists(&self, path: &Path) -> bool {
        self.kind(path).is_some()
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.kind(path) == Some(FileKind::Folder)
    }

    fn is_special(&self, path: &Path) -> bool {
        self.kind(path) == Some(FileKind::Special)
    }

    fn link(&self, path: &Path) -> Option<PathBuf> {
        Disk.link(path)
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        if let Some(known) = self.canonical.lock().get(path) {
            return known.clone();
        }
        let found = self.beneath(path).unwrap_or_else(|| Disk.canonical(path));
        self.canonical.lock().insert(path.to_owned(), found.clone());
        found
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        Disk.names(folder)
    }

    fn contents(&self, path: &Path) -> Option<String> {
        Disk.contents(path)
    }
}

/// Files in memory, for tests and for texts that were kept. A folder exists when a file lies in it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Snapshot {
    /// Files by their absolute paths.
    pub fn new<P: Into<PathBuf>, T: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        Self { files: files.into_iter().map(|(path, text)| (path.into(), text.into())).collect() }
    }
}

impl Files for Snapshot {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path) || self.is_folder(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.files.keys().any(|file| file != path && file.starts_with(path))
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        normal(path)
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let beneath = self.files.keys().filter_map(|path| path.strip_prefix(folder).ok());
        let first = beneath.filter_map(|path| path.components().next());
        let mut names: Vec<String> =
            first.map(|name| name.as_os_str().to_string_lossy().into_owned()).collect();
        names.dedup();
        names
    }
}

/// Remembers the text of every file that was read, and the contents that were asked for, so that a run can keep its
/// sources.
#[derive(Debug, Default)]
pub struct Recording<F> {
    files: F,
    texts: Mutex<BTreeMap<PathBuf, String>>,
    contents: Mutex<BTreeMap<PathBuf, Option<String>>>,
}

impl<F> Recording<F> {
    /// Reads from these files, and remembers what was read.
    pub fn new(files: F) -> Self {
        Self { files, texts: Mutex::default(), contents: Mutex::default() }
    }

    /// The texts by path, as they were read.
    pub fn into_texts(self) -> BTreeMap<PathBuf, String> {
        self.into_parts().0
    }

    /// The texts by path, and the contents.
    pub fn into_parts(self) -> (BTreeMap<PathBuf, String>, BTreeMap<PathBuf, String>) {
        let contents = self.contents.into_inner().into_iter().filter_map(|(path, text)| Some((path, text?)));
        (self.texts.into_inner(), contents.collect())
    }
}

impl<F: Files> Files for Recording<F> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = self.files.read(path)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.texts.lock().insert(path.to_owned(), text);
        Ok(bytes)
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.exists(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.files.is_folder(path)
    }

    fn is_special(&self, path: &Path) -> bool {
        self.files.is_special(path)
    }

    fn link(&self, path: &Path) -> Option<PathBuf> {
        self.files.link(path)
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        self.files.canonical(path)
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        self.files.names(folder)
    }

    fn contents(&self, path: &Path) -> Option<String> {
        // Once each: several applications may use the same.
        let mut contents = self.contents.lock();
        contents.entry(path.to_owned()).or_insert_with(|| self.files.contents(path)).clone()
    }
}

/// Texts that were kept come first, whatever has become of the files; everything else is as it is below. A run
/// is resumed over this: its manifests are those it started with, its images and bodies lie on the disk.
#[derive(Debug)]
pub struct Kept<F> {
    texts: Snapshot,
    /// None: those of the files below.
    contents: Option<BTreeMap<PathBuf, String>>,
    below: F,
}

impl<F> Kept<F> {
    /// These texts by absolute path, above other files.
    pub fn new(texts: BTreeMap<PathBuf, String>, below: F) -> Self {
        Self { texts: Snapshot::new(texts), contents: None, below }
    }

    /// With the contents that were kept.
    #[must_use]
    pub fn with_contents(self, contents: Option<BTreeMap<PathBuf, String>>) -> Self {
        Self { contents, ..self }
    }
}

impl<F: Files> Files for Kept<F> {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.texts.read(path).or_else(|_| self.below.read(path))
    }

    fn exists(&self, path: &Path) -> bool {
        self.texts.exists(path) || self.below.exists(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.texts.is_folder(path) || self.below.is_folder(path)
    }

    /// By its letters: links were followed when the run began. One that a step has made since is met when it is used, and
    /// must not keep the run from being read and cleaned up.
    fn canonical(&self, path: &Path) -> PathBuf {
        normal(path)
    }

    /// Of the texts that were kept: others were not there, or nobody read them.
    fn names(&self, folder: &Path) -> Vec<String> {
        self.texts.names(folder)
    }

    fn contents(&self, path: &Path) -> Option<String> {
        match &self.contents {
            Some(contents) => contents.get(path).cloned(),
            None => self.below.contents(path),
        }
    }
}

/// What a plan or manifest in this file may refer to: the git work tree around it; without one the workspace (the folder
/// that has `.sb`); without that its own folder, or the one above where that is called `plans`.
pub(crate) fn boundary(files: &dyn Files, path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(path);
    let holding = |name: &str| folder.ancestors().find(|ancestor| files.exists(&ancestor.join(name)));
    let default = || match folder.parent() {
        Some(above) if folder.file_name().is_some_and(|name| name == "plans") => above,
        _ => folder,
    };
    if let Some(tree) = holding(".git") {
        return tree.to_owned();
    }
    // A plan that was run where there was no workspace has made one beside itself.
    holding(".sb").filter(|workspace| default().starts_with(workspace)).unwrap_or_else(default).to_owned()
}

/// Whether a path lies in a folder, links followed.
pub(crate) fn lies_in(files: &dyn Files, path: &Path, folder: &Path) -> bool {
    let followed = files.canonical(path);
    followed.starts_with(files.canonical(folder)) || (followed == path && path.starts_with(folder))
}

/// The path without `.` and `..`, by its letters alone.
pub fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_looked_at_once_is_what_the_disk_has() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let below = |name: &str| root.join(name);
        std::fs::create_dir_all(below("a/b")).unwrap();
        std::fs::write(below("a/b/file"), "text").unwrap();
        std::os::unix::fs::symlink(below("a"), below("link")).unwrap();
        std::os::unix::fs::symlink("b/file", below("a/inner")).unwrap();
        std::os::unix::fs::symlink("nowhere", below("a/broken")).unwrap();
        std::os::unix::fs::symlink("/etc", below("a/out")).unwrap();
        let once = Once::default();
        for name in [
            "",
            "a",
            "a/b",
            "a/b/file",
            "link",
            "link/b",
            "link/b/file",
            "link/inner",
            "a/inner",
            "a/broken",
            "a/broken/x",
            "a/out",
            "a/out/passwd",
            "gone",
            "gone/too",
            "link/gone",
            "a/../a/b",
            "a/./b",
            "a/b/file/x",
        ] {
            let path = below(name);
            for _ in 0..2 {
                assert_eq!(once.canonical(&path), Disk.canonical(&path), "{name}");
                assert_eq!(once.exists(&path), Disk.exists(&path), "{name}");
                assert_eq!(once.is_folder(&path), Disk.is_folder(&path), "{name}");
                assert_eq!(once.read(&path).ok(), Disk.read(&path).ok(), "{name}");
                assert_eq!(lies_in(&once, &path, &root), lies_in(&Disk, &path, &root), "{name}");
            }
        }
        std::fs::write(below("a/b/file"), "another").unwrap();
        assert_eq!(once.read(&below("a/b/file")).unwrap(), b"text");
    }
}
