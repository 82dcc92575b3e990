//! The files of the disk, with what they hold: by which a run notices that one of them was edited.

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use sb_plan::manifest::read::{Disk, Files};

/// The disk, whose contents are texts as far as they are short, and else checksums.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Measured;

/// A text up to this length is kept, so that its difference can be shown.
const SHORT: u64 = 64 * 1024;
/// So many files of a folder are listed.
const LISTED: usize = 1000;
/// Beside the code, and not of it: what tools make there.
const MADE: &[&str] =
    &["__pycache__", "node_modules", "logs", "target", "build", "dist", "out", "bin", "obj", "venv"];

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

    fn canonical(&self, path: &Path) -> PathBuf {
        Disk.canonical(path)
    }

    fn contents(&self, path: &Path) -> Option<String> {
        let found = fs::metadata(path).ok()?;
        if found.is_dir() {
            return Some(listing(path));
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

/// A line for each file of a folder, or one for all where there are too many. What begins with a dot is left out, and
/// what tools make; in a folder that holds a manifest, steps write too, and only sources count.
fn listing(folder: &Path) -> String {
    let mut files = Vec::new();
    collect(folder, &mut files);
    files.sort();
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
    }
    let line = |path: &PathBuf| {
        format!("{}  {}\n", checksum(path), path.strip_prefix(folder).unwrap_or(path).display())
    };
    if files.len() <= LISTED {
        return files.iter().map(line).collect();
    }
    let mut all = Sha256::new();
    for path in &files {
        all.update(line(path).as_bytes());
    }
    format!("sha256 of {} files {}\n", files.len(), hex::encode(all.finalize()))
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
        if name.starts_with('.') || MADE.contains(&name.as_ref()) || name.ends_with(".pyc") {
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
        let contents = || Measured.contents(folder.path()).unwrap();
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
        assert_eq!(Measured.contents(&folder.path().join("src/app.py")).unwrap(), "2");
        write("long", &"x".repeat(100_000));
        assert!(Measured.contents(&folder.path().join("long")).unwrap().starts_with("sha256 "));
        assert_eq!(Measured.contents(&folder.path().join("missing")), None);
    }
}
