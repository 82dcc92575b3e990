//! A build context: which files belong to it, their digest, and the tar stream that the engine builds from.

use std::fs::{self, Metadata};
use std::io::{self, Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::ignore::{IgnoreError, Rules};

/// The files of a context, in a fixed order.
#[derive(Debug)]
pub(super) struct Context {
    entries: Vec<Entry>,
    /// Where the Dockerfile is inside the tar stream.
    pub(super) dockerfile: String,
}

#[derive(Debug)]
struct Entry {
    /// In the tar stream.
    name: PathBuf,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Path(PathBuf),
    Text(Vec<u8>),
    /// One that anybody may write to.
    Folder,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ContextError {
    #[error(
        "cannot read `{}` for the build: {source}; correct the path or its permissions, or name it in .dockerignore",
        path.display()
    )]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
}

impl Context {
    pub(super) fn collect(root: &Path, dockerfile: &Path) -> Result<Self, ContextError> {
        let ignore_file = root.join(".dockerignore");
        let ignore_text = match sb_durable::read_regular_text(&ignore_file) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(ContextError::Read { path: ignore_file, source }),
        };
        let rules = Rules::parse(ignore_text.as_deref().unwrap_or_default())?;
        let mut found = Vec::new();
        walk(root, Path::new(""), &rules, &mut found)?;
        let mut entries: Vec<Entry> =
            found.into_iter().map(|name| Entry { content: Content::Path(root.join(&name)), name }).collect();

        let recipe = sb_durable::read_regular(dockerfile, u64::MAX).map_err(read_error(dockerfile))?;
        let inside = dockerfile.strip_prefix(root).ok().map(Path::to_owned);
        let name = if let Some(name) = inside {
            // The engine needs both, even if .dockerignore keeps them out of the image: it reads that file itself.
            for (name, content) in [
                (name.clone(), Some(recipe)),
                (PathBuf::from(".dockerignore"), ignore_text.map(String::into_bytes)),
            ] {
                let Some(content) = content else { continue };
                if !entries.iter().any(|entry| entry.name == name) {
                    entries.push(Entry { name, content: Content::Text(content) });
                }
            }
            name
        } else {
            // Sent under a name that nobody uses, and kept out of the image.
            let name = format!(".sb-dockerfile-{}", hex::encode(&Sha256::digest(&recipe)[..6]));
            let mut ignored = ignore_text.clone().unwrap_or_default();
            ignored.extend(["\n", &name, "\n"]);
            if ignore_text.is_none() {
                ignored.push_str(".dockerignore\n");
            }
            entries.retain(|entry| entry.name != Path::new(".dockerignore"));
            entries.push(Entry { name: PathBuf::from(&name), content: Content::Text(recipe) });
            let ignored = Content::Text(ignored.into_bytes());
            entries.push(Entry { name: PathBuf::from(".dockerignore"), content: ignored });
            PathBuf::from(name)
        };
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { entries, dockerfile: name.to_string_lossy().into_owned() })
    }

    /// The files of a folder for a container, below `prefix` there. What `.dockerignore` names stays here, and so does what
    /// lies at its top under a name in `left_out`.
    pub(super) fn of_folder(root: &Path, prefix: &Path, left_out: &[&str]) -> Result<Self, ContextError> {
        let ignored = sb_durable::read_regular_text(&root.join(".dockerignore")).unwrap_or_default();
        let mut found = Vec::new();
        walk(root, Path::new(""), &Rules::parse(&ignored)?, &mut found)?;
        found.retain(|name| !left_out.iter().any(|other| name.starts_with(other)));
        let mut entries: Vec<Entry> = found
            .into_iter()
            .map(|name| Entry { content: Content::Path(root.join(&name)), name: prefix.join(name) })
            .collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { entries, dockerfile: String::new() })
    }

    /// Adds a folder that anybody may write to, with one file.
    pub(super) fn add_folder(&mut self, folder: &Path, file: &str, text: Vec<u8>) {
        self.entries.push(Entry { name: folder.to_owned(), content: Content::Folder });
        self.entries.push(Entry { name: folder.join(file), content: Content::Text(text) });
    }

    /// Writes the tar stream and returns the digest of what went into it: names, kinds, permissions and contents.
    /// Times and owners do not count: they differ between checkouts of the same files.
    pub(super) fn write_tar(&self, out: impl Write) -> Result<[u8; 32], ContextError> {
        let mut digest = Sha256::new();
        let mut tar = tar::Builder::new(out);
        tar.mode(tar::HeaderMode::Complete);
        for entry in &self.entries {
            let path = match &entry.content {
                Content::Path(path) => path.as_path(),
                Content::Text(_) | Content::Folder => entry.name.as_path(),
            };
            append(&mut tar, &mut digest, entry).map_err(read_error(path))?;
        }
        tar.into_inner().and_then(|mut out| out.flush()).map_err(read_error(Path::new(".")))?;
        Ok(digest.finalize().into())
    }
}

fn append<W: Write>(tar: &mut tar::Builder<W>, digest: &mut Sha256, entry: &Entry) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    let metadata = match &entry.content {
        Content::Path(path) => Some(fs::symlink_metadata(path)?),
        Content::Text(_) | Content::Folder => None,
    };
    header.set_mode(metadata.as_ref().map_or(0o644, |metadata| metadata.mode() & 0o7777));
    header.set_mtime(metadata.as_ref().map_or(0, |metadata| u64::try_from(metadata.mtime()).unwrap_or(0)));
    let mut tell = |kind: &str, size: u64, mode: u32| {
        let name = entry.name.as_os_str().as_bytes();
        digest.update(format!("{kind} {mode:o} {size} {} ", name.len()));
        digest.update(name);
    };
    match (&entry.content, metadata.as_ref().map(Metadata::file_type)) {
        (Content::Path(path), Some(kind)) if kind.is_symlink() => {
            let target = fs::read_link(path)?;
            tell("link", target.as_os_str().len() as u64, 0);
            digest.update(target.as_os_str().as_bytes());
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, &entry.name, target)
        }
        (Content::Path(_), Some(kind)) if kind.is_dir() => {
            tell("folder", 0, header.mode()?);
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            tar.append_data(&mut header, &entry.name, io::empty())
        }
        (Content::Path(path), _) => {
            let size = metadata.map_or(0, |metadata| metadata.len());
            tell("file", size, header.mode()?);
            header.set_size(size);
            let mut content = Hashing { inner: sb_durable::open_regular(path)?.take(size), digest, read: 0 };
            tar.append_data(&mut header, &entry.name, &mut content)?;
            if content.read == size { Ok(()) } else { Err(io::Error::other("it changed while it was read")) }
        }
        (Content::Folder, _) => {
            tell("folder", 0, 0o777);
            header.set_mode(0o777);
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            tar.append_data(&mut header, &entry.name, io::empty())
        }
        (Content::Text(text), _) => {
            tell("file", text.len() as u64, 0o644);
            digest.update(text);
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, &entry.name, text.as_slice())
        }
    }
}

struct Hashing<'a, R> {
    inner: R,
    digest: &'a mut Sha256,
    read: u64,
}

impl<R: io::Read> io::Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.digest.update(&buffer[..length]);
        self.read += length as u64;
        Ok(length)
    }
}

/// Collects names relative to the root. Sockets, pipes and devices have no place in an image.
fn walk(root: &Path, folder: &Path, rules: &Rules, found: &mut Vec<PathBuf>) -> Result<(), ContextError> {
    let path = root.join(folder);
    for entry in fs::read_dir(&path).map_err(read_error(&path))? {
        let entry = entry.map_err(read_error(&path))?;
        // A state, which keeps secrets and is another one after each step.
        if entry.file_name() == ".sb" {
            continue;
        }
        let name = folder.join(entry.file_name());
        let kind = entry.file_type().map_err(read_error(&entry.path()))?;
        let text = name.to_string_lossy();
        let excluded = rules.excludes(&text);
        if kind.is_dir() {
            if !excluded || rules.may_hold_exceptions(&text) {
                walk(root, &name, rules, found)?;
            }
        } else if !kind.is_file() && !kind.is_symlink() {
            continue;
        }
        if !excluded {
            found.push(name);
        }
    }
    Ok(())
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> ContextError {
    let path = path.to_owned();
    |source| ContextError::Read { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    fn names(dir: &Path, dockerfile: &Path) -> Vec<String> {
        let mut bytes = Vec::new();
        Context::collect(dir, dockerfile).unwrap().write_tar(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        archive
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect()
    }

    fn digest(dir: &Path) -> [u8; 32] {
        Context::collect(dir, &dir.join("Dockerfile")).unwrap().write_tar(io::sink()).unwrap()
    }

    #[test]
    fn ignored_files_stay_out_but_the_recipe_does_not() {
        let dir = tree(&[
            ("Dockerfile", "FROM scratch"),
            (".dockerignore", "*\n!src/keep.txt\n"),
            ("src/keep.txt", "k"),
            ("src/drop.txt", "d"),
            ("secret", "s"),
        ]);
        std::os::unix::fs::symlink("/nowhere", dir.path().join("link")).unwrap();
        let all = names(dir.path(), &dir.path().join("Dockerfile"));
        assert_eq!(all, [".dockerignore", "Dockerfile", "src/keep.txt"]);
    }

    #[test]
    fn a_recipe_outside_of_the_context_is_sent_and_kept_out_of_the_image() {
        let dir = tree(&[("app/a", "1"), ("other/Dockerfile", "FROM scratch")]);
        let root = dir.path().join("app");
        let context = Context::collect(&root, &dir.path().join("other/Dockerfile")).unwrap();
        assert!(context.dockerfile.starts_with(".sb-dockerfile-"), "{}", context.dockerfile);
        let all = names(&root, &dir.path().join("other/Dockerfile"));
        assert_eq!(all, [".dockerignore", &context.dockerfile, "a"]);
        let ignored = match &context.entries[0].content {
            Content::Text(text) => String::from_utf8(text.clone()).unwrap(),
            Content::Path(_) | Content::Folder => panic!("it was made for this build"),
        };
        assert!(Rules::parse(&ignored).unwrap().excludes(&context.dockerfile));
        assert!(!root.join(".dockerignore").exists());
    }

    #[test]
    fn the_digest_follows_what_is_sent_and_nothing_else() {
        let files =
            [("Dockerfile", "FROM scratch"), (".dockerignore", "ignored"), ("a", "1"), ("ignored", "x")];
        let (dir, twin) = (tree(&files), tree(&files));
        let first = digest(dir.path());
        assert_eq!(first, digest(twin.path()), "another folder, other times");
        fs::write(dir.path().join("ignored"), "y").unwrap();
        assert_eq!(first, digest(dir.path()));
        let mut seen = vec![first];
        let mut changed = |what: &str| {
            let now = digest(dir.path());
            assert!(!seen.contains(&now), "{what} must change the digest");
            seen.push(now);
        };
        fs::write(dir.path().join("a"), "2").unwrap();
        changed("a content");
        fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        changed("a permission");
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        changed("a name");
        std::os::unix::fs::symlink("b", dir.path().join("c")).unwrap();
        changed("a link");
        fs::write(dir.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        changed("the recipe");
    }

    #[test]
    fn long_names_and_missing_files() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        let dir = tree(&[("Dockerfile", "FROM scratch"), (&long, "1")]);
        assert!(names(dir.path(), &dir.path().join("Dockerfile")).contains(&long));
        let error = Context::collect(dir.path(), &dir.path().join("No")).unwrap_err();
        assert!(error.to_string().contains("/No`"), "{error}");
    }

    #[test]
    fn a_state_and_its_secrets_are_in_no_image() {
        let dir = tree(&[
            ("Dockerfile", "FROM scratch"),
            (".sb/secrets/app@aws.json", "hush"),
            ("app/.sb/state.db", "x"),
            ("app/a", "1"),
        ]);
        let all = names(dir.path(), &dir.path().join("Dockerfile"));
        assert!(all.iter().any(|name| name == "app/a"), "{all:?}");
        assert!(!all.iter().any(|name| name.contains(".sb")), "{all:?}");
    }
}
