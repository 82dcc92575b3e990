//! The files of the disk, with what they hold: by which a run notices that one of them was edited.
//!
//! A folder (the code of a function) is a list of its files, each with a checksum. Compared are those that were there
//! when the run started, and new ones. What tools make is marked: in a git work tree what git ignores, elsewhere what
//! lies below folders such as `target` and `node_modules`. Steps that deploy or clean up may build. So a changed
//! product or a new file is no edit when it was written while such a step ran. New products never are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::UNIX_EPOCH;

use sha2::{Digest as _, Sha256};

use super::request::Sources;
use sb_plan::manifest::read::{Disk, Files};

/// The disk, whose contents are texts as far as they are short, and else checksums.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// What was there when the run started.
    kept: Sources,
    /// When steps deployed or cleaned up, from and to, milliseconds since the epoch.
    building: Vec<(i64, i64)>,
}

/// A text up to this length is kept, so that its difference can be shown.
const SHORT: u64 = 64 * 1024;
/// So many files of a folder are listed.
const LISTED: usize = 1000;
/// So many bytes of products are compared, as far as they are no more than [`LISTED`].
const MOST_MADE: u64 = 64 << 20;
/// Where there is no git to say so: folders beside code that tools fill.
const MADE: &[&str] = &["node_modules", "target", "build", "dist", "out", "bin", "obj", "venv"];
/// Caches of code, and results of invocations.
const NEVER: &[&str] = &["__pycache__", "logs", ".git", ".sb"];
/// Before the checksum of what tools make.
const MARK: &str = "made ";

impl Measured {
    /// A folder of which nothing was edited since holds what it held.
    pub(super) fn since(kept: &Sources, building: Vec<(i64, i64)>) -> Self {
        Self { kept: kept.clone(), building }
    }

    /// Whether a folder among these holds something else, edited or made.
    pub(super) fn has_other_folders(kept: &Sources) -> bool {
        kept.iter().any(|(path, text)| path.is_dir() && listing(path) != *text)
    }
}

impl Files for Measured {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Disk.read(path)
    }

    fn exists(&self, path: &Path) -> bool {
        Disk.exists(path)
    }

    fn is_folder(&self, path: &Path) -> bool {
        Disk.is_folder(path)
    }

    fn is_special(&self, path: &Path) -> bool {
        Disk.is_special(path)
    }

    fn link(&self, path: &Path) -> Option<PathBuf> {
        Disk.link(path)
    }

    fn canonical(&self, path: &Path) -> PathBuf {
        Disk.canonical(path)
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        Disk.names(folder)
    }

    fn contents(&self, path: &Path) -> Option<String> {
        let found = fs::metadata(path).ok()?;
        if found.is_dir() {
            let now = listing(path);
            return Some(match self.kept.get(path) {
                Some(kept) if !self.is_edited(path, kept, &now) => kept.clone(),
                _ => now,
            });
        }
        if !found.is_file() {
            return None;
        }
        if found.len() <= SHORT
            && let Ok(text) = sb_durable::read_regular_text(path)
        {
            return Some(text);
        }
        Some(format!("sha256 {}\n", checksum(path)))
    }
}

/// Whether this stands for what a file holds, and is not all of it.
pub(super) fn is_checksum(contents: &str) -> bool {
    contents
        .strip_prefix("sha256 ")
        .is_some_and(|rest| rest.trim_end().len() >= 64 && !rest.trim_end().contains('\n'))
}

/// A line for each file of a folder, or one for all where there are too many. In a folder that holds a manifest, steps
/// write too, and only sources count.
fn listing(folder: &Path) -> String {
    let (mut files, mut made) = files(folder);
    let is_shared = fs::read_dir(folder).is_ok_and(|items| {
        items.flatten().any(|item| {
            let name = item.file_name();
            ["benchmark.toml", "benchmark.yaml", "benchmark.yml"]
                .iter()
                .any(|end| name.to_string_lossy().ends_with(end))
        })
    });
    if is_shared {
        files.retain(|path| is_source(path));
        made.clear();
    }
    let line = |path: &PathBuf| {
        format!("{}  {}\n", checksum(path), path.strip_prefix(folder).unwrap_or(path).display())
    };
    let mut text = if files.len() <= LISTED {
        files.iter().map(line).collect()
    } else {
        format!("sha256 of {} files {}\n", files.len(), digest(files.iter().map(line)))
    };
    // Packages are many and large.
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |found| found.len());
    if made.len() <= LISTED && made.iter().map(size).sum::<u64>() <= MOST_MADE {
        text.extend(made.iter().map(|path| format!("{MARK}{}", line(path))));
    }
    text
}

fn digest(lines: impl Iterator<Item = String>) -> String {
    let mut all = Sha256::new();
    lines.for_each(|line| all.update(line.as_bytes()));
    hex::encode(all.finalize())
}

/// The lines of a listing by path: whether it is made, and its checksum.
fn lines(listing: &str) -> BTreeMap<&str, (bool, &str)> {
    listing
        .lines()
        .map(|line| {
            let (is_made, rest) = line.strip_prefix(MARK).map_or((false, line), |rest| (true, rest));
            let (checksum, path) = rest.split_once("  ").unwrap_or((rest, ""));
            (path, (is_made, checksum))
        })
        .collect()
}

impl Measured {
    fn is_edited(&self, folder: &Path, kept: &str, now: &str) -> bool {
        let (kept, now) = (lines(kept), lines(now));
        let is_built = |path: &str| {
            let written = fs::metadata(folder.join(path)).and_then(|found| found.modified());
            let written = written.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let at_ms = written.and_then(|at| i64::try_from(at.as_millis()).ok());
            at_ms.is_some_and(|at| self.building.iter().any(|(from, to)| (*from..=*to).contains(&at)))
        };
        let is_changed = |(path, (_, before)): (&&str, &(bool, &str))| match now.get(path) {
            Some((_, checksum)) if checksum == before => false,
            Some((true, _)) => !is_built(path),
            Some((false, _)) => true,
            // A product that is gone is made again.
            None => !kept[path].0,
        };
        let is_new = |(path, (is_made, _)): (&&str, &(bool, &str))| {
            !is_made && !kept.contains_key(*path) && !is_built(path)
        };
        kept.iter().any(is_changed) || now.iter().any(is_new)
    }
}

/// The files of a folder: those of people, and those that tools make. Sorted.
fn files(folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let mut all = Vec::new();
    collect(folder, &mut all);
    all.sort();
    let known = known_to_git(folder);
    let below = |path: &PathBuf| path.strip_prefix(folder).unwrap_or(path).to_owned();
    let has = |path: &PathBuf, is: &dyn Fn(&str) -> bool| {
        below(path).iter().any(|name| is(&name.to_string_lossy()))
    };
    let is_hidden = |name: &str| name.starts_with('.');
    let (mut code, mut made): (Vec<_>, Vec<_>) = all.into_iter().partition(|path| match &known {
        Some(known) => known.contains(&below(path)),
        None => !has(path, &|name| MADE.contains(&name)),
    });
    if known.is_none() {
        code.retain(|path| !has(path, &is_hidden));
    }
    made.retain(|path| !has(path, &is_hidden));
    (code, made)
}

/// What git does not ignore in a folder. None: it lies in no work tree, or there is no git.
fn known_to_git(folder: &Path) -> Option<BTreeSet<PathBuf>> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut git = Command::new("git");
    // No program that the work tree names.
    git.args([
        "-c",
        "core.fsmonitor=false",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        ".",
    ]);
    git.current_dir(folder).stdin(Stdio::null()).stderr(Stdio::null());
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        git.env_remove(variable);
    }
    let output = git.output().ok().filter(|output| output.status.success())?;
    let names = output.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Some(names.map(|name| PathBuf::from(std::ffi::OsString::from_vec(name.to_vec()))).collect())
}

fn is_source(path: &Path) -> bool {
    const ENDS: &[&str] = &[
        "cjs", "cs", "go", "java", "js", "jsx", "kt", "mjs", "php", "py", "rb", "rs", "scala", "sql", "ts",
        "tsx",
    ];
    path.extension().and_then(|end| end.to_str()).is_some_and(|end| ENDS.contains(&end))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for item in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = item.file_name();
        let name = name.to_string_lossy();
        if NEVER.contains(&name.as_ref()) || name.ends_with(".pyc") {
            continue;
        }
        // Links are not followed: what they lead to may be anything.
        match item.file_type() {
            Ok(kind) if kind.is_dir() => collect(&item.path(), files),
            Ok(kind) if kind.is_file() => files.push(item.path()),
            _ => {}
        }
    }
}

fn checksum(path: &Path) -> String {
    let mut digest = Sha256::new();
    let read = sb_durable::open_regular(path).and_then(|mut file| {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                length => digest.update(&buffer[..length]),
            }
        }
    });
    match read {
        Ok(()) => hex::encode(digest.finalize()),
        Err(error) => format!("unreadable ({})", error.kind()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_differ_when_a_file_does_and_not_with_what_tools_make() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let contents = || Measured::default().contents(folder.path()).unwrap();
        write("src/app.py", "1");
        write("data.bin", "1");
        let before = contents();
        assert_eq!(before.lines().count(), 2);
        write("__pycache__/app.pyc", "x");
        write(".sb/x", "x");
        assert_eq!(contents(), before);
        write("data.bin", "2");
        assert_ne!(contents(), before);
        write("benchmark.toml", "");
        let before = contents();
        write("data.bin", "3");
        assert_eq!(contents(), before, "steps may have written it");
        write("src/app.py", "2");
        assert_ne!(contents(), before);
        assert_eq!(Measured::default().contents(&folder.path().join("src/app.py")).unwrap(), "2");
        write("long", &"x".repeat(100_000));
        assert!(Measured::default().contents(&folder.path().join("long")).unwrap().starts_with("sha256 "));
        assert_eq!(Measured::default().contents(&folder.path().join("missing")), None);
    }

    fn git(folder: &Path, arguments: &[&str]) {
        assert!(Command::new("git").arg("-C").arg(folder).args(arguments).output().unwrap().status.success());
    }

    /// A change of these files after the run has started; `during`: while a step deploys.
    #[track_caller]
    fn check(with_git: bool, change: &[(&str, Option<&str>)], during: bool, is_edit: bool) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        if with_git {
            git(folder.path(), &["init", "-q"]);
            write(".gitignore", "target\n");
        }
        for name in ["app.py", "bin/tool.py", "target/app", "target/old"] {
            write(name, "1");
        }
        let path = folder.path().to_owned();
        let kept = Sources::from([(path.clone(), Measured::default().contents(&path).unwrap())]);
        for (name, text) in change {
            match text {
                Some(text) => write(name, text),
                None => fs::remove_file(folder.path().join(name)).unwrap(),
            }
        }
        let building = if during { vec![(0, i64::MAX)] } else { vec![] };
        let now = Measured::since(&kept, building).contents(&path).unwrap();
        assert_eq!(now != kept[&path], is_edit, "{change:?}: {now}");
    }

    #[test]
    fn an_edit_of_code_is_seen_and_what_a_build_makes_is_none() {
        for with_git in [false, true] {
            check(with_git, &[], false, false);
            check(with_git, &[("app.py", Some("2"))], true, true);
            check(with_git, &[("app.py", None)], true, true);
            check(with_git, &[("target/app", Some("2"))], true, false);
            check(with_git, &[("target/app", Some("2"))], false, true);
            check(with_git, &[("target/new", Some("2")), ("target/old", None)], false, false);
            check(with_git, &[("outputs.json", Some("2"))], true, false);
            check(with_git, &[("more.py", Some("2"))], false, true);
            check(with_git, &[("bin/tool.py", Some("2"))], false, true);
        }
        // What git does not ignore is nobody's product.
        check(true, &[("bin/tool.py", Some("2"))], true, true);
    }
}
