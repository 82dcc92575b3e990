//! Folders that replace others, whole or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::{WriteError, partial_name};

/// A folder that is filled beside another, and takes its place when it is complete. It leaves nothing behind otherwise.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let target = folder.path().join("results");
/// let new = sb_durable::FolderReplacement::create(&target)?;
/// std::fs::write(new.path().join("a.csv"), "x\n1\n")?;
/// new.place()?;
/// assert_eq!(std::fs::read(target.join("a.csv"))?, b"x\n1\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct FolderReplacement {
    temporary: PathBuf,
    target: PathBuf,
    is_placed: bool,
}

impl FolderReplacement {
    /// Creates the temporary folder beside `target`, and the folders above it.
    ///
    /// # Errors
    /// What the file system refuses; a path such as `.`, which has no folder beside it that could take its place.
    pub fn create(target: &Path) -> Result<Self, WriteError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        // `results/` and `results` are one folder.
        let target: PathBuf = target.components().collect();
        if target.file_name().is_none() {
            let what = "a folder is not replaced from inside: name it from the folder above";
            return Err(WriteError::of(&target)(io::Error::new(io::ErrorKind::InvalidInput, what)));
        }
        if let Some(above) = target.parent().filter(|above| !above.as_os_str().is_empty()) {
            fs::create_dir_all(above).map_err(WriteError::of(&target))?;
        }
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let temporary = target.with_file_name(partial_name(&target, std::process::id(), number));
            match fs::create_dir(&temporary) {
                Ok(()) => return Ok(Self { temporary, target, is_placed: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(WriteError::of(&target)(error)),
            }
        }
    }

    /// The folder to fill.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Takes the place of the target, whose content is then removed. Whoever looks sees the old folder or the new one.
    ///
    /// # Errors
    /// What the file system refuses. The old folder is then still there.
    pub fn place(mut self) -> Result<(), WriteError> {
        let exchanged = renameat_with(CWD, &self.temporary, CWD, &self.target, RenameFlags::EXCHANGE);
        match exchanged {
            Ok(()) => self.is_placed = true,
            Err(Errno::NOENT) => {
                fs::rename(&self.temporary, &self.target).map_err(WriteError::of(&self.target))?;
                self.is_placed = true;
                return Ok(());
            }
            // The file system cannot exchange: for a moment, there is no folder.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                let mut aside = self.temporary.clone().into_os_string();
                aside.push(".old");
                let aside = PathBuf::from(aside);
                fs::rename(&self.target, &aside).map_err(WriteError::of(&self.target))?;
                fs::rename(&self.temporary, &self.target)
                    .inspect_err(|_| {
                        // Back to where it was, or nothing better can be done.
                        let _ = fs::rename(&aside, &self.target);
                    })
                    .map_err(WriteError::of(&self.target))?;
                self.is_placed = true;
                self.temporary = aside;
            }
            Err(error) => return Err(WriteError::of(&self.target)(error.into())),
        }
        // What was there before.
        remove(&self.temporary);
        Ok(())
    }
}

impl Drop for FolderReplacement {
    fn drop(&mut self) {
        if !self.is_placed {
            remove(&self.temporary);
        }
    }
}

/// Nothing better can be done about a folder that cannot be removed.
fn remove(path: &Path) {
    let _ = match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|item| item.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_not_replaced_from_inside() {
        for path in [".", "..", "/", "src/.."] {
            let error = FolderReplacement::create(Path::new(path)).unwrap_err().to_string();
            assert!(error.ends_with("name it from the folder above"), "{path}: {error}");
        }
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let above = tempfile::tempdir().unwrap();
        let target = above.path().join("deep/out");
        for name in ["first", "second"] {
            let new = FolderReplacement::create(&target.join("")).unwrap();
            fs::write(new.path().join(name), name).unwrap();
            new.place().unwrap();
            assert_eq!(names(&target), [name]);
        }
        assert_eq!(names(&above.path().join("deep")), ["out"], "nothing is left behind");
    }

    #[test]
    fn what_is_given_up_leaves_nothing_and_changes_nothing() {
        let above = tempfile::tempdir().unwrap();
        let target = above.path().join("out");
        fs::create_dir(&target).unwrap();
        let new = FolderReplacement::create(&target).unwrap();
        fs::write(new.path().join("x"), "x").unwrap();
        drop(new);
        assert_eq!((names(above.path()), names(&target).len()), (vec!["out".to_owned()], 0));
    }

    #[test]
    fn a_link_is_replaced_and_what_it_leads_to_stays() {
        let above = tempfile::tempdir().unwrap();
        let (elsewhere, target) = (above.path().join("elsewhere"), above.path().join("out"));
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("kept"), "").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &target).unwrap();
        FolderReplacement::create(&target).unwrap().place().unwrap();
        assert_eq!((names(&elsewhere).len(), names(&target).len()), (1, 0));
    }
}
