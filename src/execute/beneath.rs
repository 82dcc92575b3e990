//! Files below a folder, and nowhere else. A step may have made links since its manifest was checked, and links that
//! a container made are followed on this machine.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens `path`, which is relative to `root`, for reading. Links are followed as long as they stay below the root.
pub(super) fn open(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    resolve(root, path, OFlags::RDONLY | OFlags::NONBLOCK)
}

/// As [`open`], a folder in which things are to be made.
pub(super) fn folder(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    resolve(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

fn resolve(root: &Path, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let top = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let found = match by_kernel(&top, path, flags) {
        // Kernels before 5.6, and containers that refuse the call.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(top, path, flags),
        found => found,
    };
    found.map_err(|error| match error {
        Errno::XDEV => io::Error::other(format!("it leads out of the root `{}`", root.display())),
        other => other.into(),
    })
}

fn by_kernel(top: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    // Refused while somebody renames something below the root.
    const TRIES: usize = 100;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let mut found = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        found = rustix::fs::openat2(top, path, flags | OFlags::CLOEXEC, Mode::empty(), beneath);
        if !matches!(found, Err(Errno::AGAIN)) {
            break;
        }
    }
    found
}

/// What the kernel does, by hand: no link is followed but by us, and a folder above is one that we came through.
fn step_by_step(top: OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    const MOST_LINKS: usize = 40;
    let mut way = vec![top];
    let mut links = 0;
    let mut rest: VecDeque<OsString> = words(path)?;
    loop {
        let here = way.last().ok_or(Errno::XDEV)?.as_fd();
        let Some(name) = rest.pop_front() else {
            return rustix::fs::openat(here, ".", flags | OFlags::CLOEXEC, Mode::empty());
        };
        if name == ".." {
            way.pop();
            if way.is_empty() {
                return Err(Errno::XDEV);
            }
            continue;
        }
        let found = rustix::fs::statat(here, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP);
            }
            let target = rustix::fs::readlinkat(here, &name, Vec::new())?;
            for word in words(Path::new(&OsString::from_vec(target.into_bytes())))?.into_iter().rev() {
                rest.push_front(word);
            }
            continue;
        }
        let same = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if rest.is_empty() {
            return rustix::fs::openat(here, &name, flags | same, Mode::empty());
        }
        let next = rustix::fs::openat(here, &name, OFlags::PATH | OFlags::DIRECTORY | same, Mode::empty())?;
        way.push(next);
    }
}

/// The names of a path that begins at the folder at hand.
fn words(path: &Path) -> Result<VecDeque<OsString>, Errno> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(Ok(name.to_owned())),
            Component::ParentDir => Some(Ok(OsStr::new("..").to_owned())),
            Component::CurDir => None,
            Component::RootDir | Component::Prefix(_) => Some(Err(Errno::XDEV)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_below_the_root_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("app/deep")).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        fs::write(root.join("value"), "value").unwrap();
        for (link, target) in [
            ("app/within", "../value"),
            ("app/out", "../../secret"),
            ("app/absolute", "/etc/hostname"),
            ("app/up", ".."),
            ("app/loop", "loop"),
            ("app/chain", "deep/../within"),
            ("gone", "nowhere"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let top = || rustix::fs::open(&root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let text = |found: Result<OwnedFd, Errno>| {
            let mut text = String::new();
            found.map(|file| File::from(file).read_to_string(&mut text).map(|_| text).unwrap_or_default())
        };
        for (path, expected) in [
            ("value", Ok("value")),
            ("./app/deep/../../value", Ok("value")),
            ("app/within", Ok("value")),
            ("app/chain", Ok("value")),
            ("app/up/app/up/value", Ok("value")),
            ("app/out", Err(Errno::XDEV)),
            ("app/absolute", Err(Errno::XDEV)),
            ("app/up/../secret", Err(Errno::XDEV)),
            ("../secret", Err(Errno::XDEV)),
            ("/etc/hostname", Err(Errno::XDEV)),
            ("app/loop", Err(Errno::LOOP)),
            ("gone", Err(Errno::NOENT)),
            ("value/below", Err(Errno::NOTDIR)),
        ] {
            let expected = expected.map(str::to_owned);
            let path = Path::new(path);
            assert_eq!(text(step_by_step(top(), path, OFlags::RDONLY)), expected, "{}", path.display());
            match by_kernel(&top(), path, OFlags::RDONLY) {
                Err(Errno::NOSYS | Errno::PERM) => {}
                found => assert_eq!(text(found), expected, "{}: the kernel", path.display()),
            }
        }
        assert!(
            super::folder(&root, Path::new("")).is_ok() && super::folder(&root, Path::new("app/up")).is_ok()
        );
        let out = open(&root, Path::new("app/out")).unwrap_err().to_string();
        assert!(out.starts_with("it leads out of the root `/"), "{out}");
    }
}
