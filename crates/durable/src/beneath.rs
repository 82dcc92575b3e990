//! Files below a folder, and nowhere else. A step may have made links since its manifest was checked, and links that
//! a container made are followed on this machine. A path is resolved in the moment in which it is opened.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens `path`, which is relative to `root`, for reading. Links are followed as long as they stay below the root.
///
/// # Errors
/// What the file system refuses; a link that is absolute or leads out of the root.
pub fn open_beneath(root: &Path, path: &Path) -> io::Result<File> {
    resolve(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).map(File::from)
}

/// Opens a regular file by its path. A link in its place is followed within the file's own folder, and nowhere else: who may
/// write into the folder cannot have another file read in its place.
///
/// # Errors
/// Those of [`open_beneath`]; what is no regular file.
pub fn open_in_folder(path: &Path) -> io::Result<File> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = open_beneath(folder, Path::new(name))?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

/// The text of a file, opened as by [`open_in_folder`].
///
/// # Errors
/// Those of [`open_in_folder`]; what is not UTF-8.
pub fn text_in_folder(path: &Path) -> io::Result<String> {
    io::read_to_string(open_in_folder(path)?)
}

/// The bytes of a regular file below `root`, by its whole path. Links are followed as long as they stay below the root,
/// absolute ones too.
///
/// # Errors
/// Those of [`open_beneath`]; what is no regular file.
pub fn read_beneath(root: &Path, path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = File::from(within(root, path, flags)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Why a path that begins with `root` must not be followed: it leads out of the root by now. What is not there leads nowhere,
/// and a path that does not begin with `root` was never below it.
pub fn leads_out(root: &Path, path: &Path) -> Option<io::Error> {
    path.strip_prefix(root).ok()?;
    within(root, path, OFlags::PATH).err().filter(|error| error.kind() == io::ErrorKind::Other)
}

/// A folder that stays the same one, whatever becomes of the path that led to it.
#[derive(Debug)]
pub struct HeldFolder {
    file: OwnedFd,
}

impl HeldFolder {
    /// Opens a folder below `root`, by its whole path. Links are followed as long as they stay below the root.
    ///
    /// # Errors
    /// What the file system refuses; a path that leads out of the root.
    pub fn beneath(root: &Path, folder: &Path) -> io::Result<Self> {
        Ok(Self { file: within(root, folder, OFlags::PATH | OFlags::DIRECTORY)? })
    }

    /// A path to the folder for as long as it is held, in this process. What is written there lands in the folder and nowhere
    /// else.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }
}

/// Opens a folder below `root` by its path relative to it: one in which things are to be made.
///
/// # Errors
/// Those of [`open_beneath`].
pub fn folder_beneath(root: &Path, path: &Path) -> io::Result<OwnedFd> {
    resolve(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// As [`resolve`], by the whole path.
fn within(root: &Path, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let direct = match path.strip_prefix(root) {
        Ok(inside) => resolve(root, inside, flags),
        Err(_) => Err(out_of(root)),
    };
    match direct {
        // An absolute link may lead below the root. It is followed by its letters, and its target opened as any other path: one
        // that is changed meanwhile leads out no more than it did.
        Err(error) if error.kind() == io::ErrorKind::Other => {
            let (top, target) = (root.canonicalize()?, path.canonicalize().map_err(|_| out_of(root))?);
            match target.strip_prefix(&top) {
                Ok(inside) => resolve(&top, inside, flags),
                Err(_) => Err(error),
            }
        }
        found => found,
    }
}

fn out_of(root: &Path) -> io::Error {
    io::Error::other(format!("it leads out of the root `{}`", root.display()))
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
        Errno::XDEV => out_of(root),
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
    use std::fs;
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
            folder_beneath(&root, Path::new("")).is_ok()
                && folder_beneath(&root, Path::new("app/up")).is_ok()
        );
        assert_eq!(text_in_folder(&root.join("value")).unwrap(), "value");
        symlink("value", root.join("beside")).unwrap();
        assert_eq!(text_in_folder(&root.join("beside")).unwrap(), "value");
        for (name, words) in
            [("app/within", "leads out of the root"), ("app/absolute", "leads out"), ("app", "not a regular")]
        {
            let refused = open_in_folder(&root.join(name)).unwrap_err().to_string();
            assert!(refused.contains(words), "{name}: {refused}");
        }
        assert_eq!(open_in_folder(&root.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        let out = open_beneath(&root, Path::new("app/out")).unwrap_err().to_string();
        assert!(out.starts_with("it leads out of the root `/"), "{out}");
    }
    #[test]
    fn a_path_is_followed_in_the_moment_in_which_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let body = root.join("app/body");
        fs::create_dir_all(root.join("app")).unwrap();
        fs::create_dir_all(folder.path().join("elsewhere")).unwrap();
        fs::write(folder.path().join("elsewhere/secret"), "secret").unwrap();
        fs::write(root.join("value"), "value").unwrap();
        let link = |target: &Path| {
            let _ = fs::remove_file(&body);
            symlink(target, &body).unwrap();
        };
        link(&root.join("value"));
        assert_eq!(read_beneath(&root, &body).unwrap(), b"value", "an absolute link below the root");
        assert!(leads_out(&root, &body).is_none());
        symlink(&root, folder.path().join("alias")).unwrap();
        assert_eq!(read_beneath(&root, &folder.path().join("alias/value")).unwrap(), b"value");
        for target in [folder.path().join("elsewhere/secret"), "../../elsewhere/secret".into(), "/etc".into()]
        {
            link(&target);
            let refused = read_beneath(&root, &body).unwrap_err().to_string();
            assert!(refused.starts_with("it leads out of the root"), "{refused}");
            assert!(leads_out(&root, &body).is_some(), "{}", target.display());
        }
        assert!(leads_out(&root, &root.join("gone")).is_none());
        assert!(leads_out(&root, Path::new("/etc/hostname")).is_none(), "never below it");
        assert!(read_beneath(&root, &root.join("app")).is_err());

        let logs = root.join("logs");
        fs::create_dir(&logs).unwrap();
        let held = HeldFolder::beneath(&root, &logs).unwrap();
        fs::rename(&logs, root.join("moved")).unwrap();
        symlink(folder.path().join("elsewhere"), &logs).unwrap();
        crate::write(&held.path().join("log"), crate::Options::new(), b"text").unwrap();
        assert_eq!(fs::read(root.join("moved/log")).unwrap(), b"text");
        assert!(!folder.path().join("elsewhere/log").exists());
        assert!(HeldFolder::beneath(&root, &logs).is_err());
    }
}
