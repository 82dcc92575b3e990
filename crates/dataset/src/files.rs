//! The files of a dataset: in a folder, alone, or inside a tar or zip archive; plain or compressed.
//!
//! The first bytes of a file, not its name, say how it is compressed. An archive is read from its start to its end, once
//! for each question: nothing is unpacked to the disk.

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::DatasetError;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const XZ: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
const ZIP: &[u8] = b"PK\x03\x04";
/// Where a tar archive says that it is one.
const TAR: (usize, &[u8]) = (257, b"ustar");
const RAR: &[u8] = b"Rar!";
const SEVEN_ZIP: &[u8] = &[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c];
/// The first byte of a pickle of protocol 2 or later, and the protocols that there are.
const PICKLE: (u8, std::ops::RangeInclusive<u8>) = (0x80, 2..=5);

/// Bytes that are looked at to recognize a form; what a tar archive needs.
const START: u64 = 512;

/// Takes a file, with its place among the wanted ones and its name.
pub(crate) type TakeFile<'a> = &'a (dyn Fn(usize, &str, &mut dyn Read) -> Result<(), DatasetError> + Sync);

/// Where a dataset lies.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    path: PathBuf,
    kind: Kind,
    /// Of an archive or folder, relative to it and with `/`; of a file alone, its name.
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    Alone,
    Tar,
    Zip,
}

impl Files {
    /// Whether a path is one of the files, or the archive that holds them.
    pub(crate) fn include(&self, path: &Path) -> bool {
        let Ok(path) = fs::canonicalize(path) else { return false };
        let is_it = |file: &Path| fs::canonicalize(file).is_ok_and(|file| file == path);
        match self.kind {
            Kind::Folder => self.names.iter().any(|name| is_it(&self.path.join(name))),
            Kind::Zip | Kind::Tar | Kind::Alone => is_it(&self.path),
        }
    }

    pub(crate) fn open(path: &Path) -> Result<Self, DatasetError> {
        let failed = |error| DatasetError::io(path, error);
        if fs::metadata(path).map_err(failed)?.is_dir() {
            let mut names = Vec::new();
            list(path, "", 0, &mut names)?;
            names.sort();
            return Ok(Self { path: path.to_owned(), kind: Kind::Folder, names });
        }
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a folder")));
        }
        let mut start = Vec::new();
        File::open(path).and_then(|file| file.take(START).read_to_end(&mut start)).map_err(failed)?;
        if start.starts_with(ZIP) {
            let archive = File::open(path).map_err(failed)?;
            let archive = zip::ZipArchive::new(BufReader::new(archive))
                .map_err(|error| failed(io::Error::other(error)))?;
            let mut names = Vec::new();
            for name in archive.file_names() {
                let name = name.map_err(|error| failed(io::Error::other(error)))?;
                if !name.ends_with('/') {
                    names.push(name.into_owned());
                }
            }
            names.sort();
            return Ok(Self { path: path.to_owned(), kind: Kind::Zip, names });
        }
        let mut start = Vec::new();
        decompressed(Box::new(File::open(path).map_err(failed)?))
            .and_then(|reader| reader.take(START).read_to_end(&mut start))
            .map_err(failed)?;
        if start.get(TAR.0..).is_some_and(|bytes| bytes.starts_with(TAR.1)) {
            let mut found = Self { path: path.to_owned(), kind: Kind::Tar, names: Vec::new() };
            let mut names = Vec::new();
            found.each_of_tar(&mut |name, _| {
                names.push(name.to_owned());
                Ok(())
            })?;
            names.sort();
            found.names = names;
            return Ok(found);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { path: path.to_owned(), kind: Kind::Alone, names: vec![name] })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// As errors and headers name it.
    pub(crate) fn shown(&self, name: &str) -> String {
        match self.kind {
            Kind::Folder => self.path.join(name).display().to_string(),
            Kind::Alone => self.path.display().to_string(),
            Kind::Tar | Kind::Zip => format!("{}:{name}", self.path.display()),
        }
    }

    /// Reads the start of a file.
    pub(crate) fn start_of(&self, name: &str, length: usize) -> Result<Vec<u8>, DatasetError> {
        let start = Mutex::new(Vec::new());
        let wanted = [name.to_owned()];
        self.each(&wanted, 1, &|_, _, reader| {
            let mut bytes = Vec::new();
            let shown = PathBuf::from(self.shown(name));
            reader
                .take(length as u64)
                .read_to_end(&mut bytes)
                .map_err(|error| DatasetError::io(&shown, error))?;
            *start.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = bytes;
            Ok(())
        })?;
        Ok(start.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Gives each of the wanted files, decompressed, with its place in `wanted`: in any order, on several threads where
    /// they can be opened apart. The first error, in the order of `wanted`, ends it.
    pub(crate) fn each(
        &self,
        wanted: &[String],
        threads: usize,
        act: TakeFile<'_>,
    ) -> Result<(), DatasetError> {
        match self.kind {
            Kind::Tar => {
                let mut left = wanted.len();
                self.each_of_tar(&mut |name, reader| {
                    let Some(at) = wanted.iter().position(|wanted| wanted == name) else { return Ok(()) };
                    if left == 0 {
                        return Ok(());
                    }
                    left -= 1;
                    let mut reader = decompressed_within(reader)
                        .map_err(|error| DatasetError::io(Path::new(&self.shown(name)), error))?;
                    act(at, name, &mut reader)
                })
            }
            Kind::Folder | Kind::Alone | Kind::Zip => {
                let next = AtomicUsize::new(0);
                let stop = AtomicBool::new(false);
                let errors = Mutex::new(Vec::new());
                let work = || {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(name) = wanted.get(at).filter(|_| !stop.load(Ordering::Relaxed)) else {
                            break;
                        };
                        if let Err(error) = self.one(at, name, act) {
                            stop.store(true, Ordering::Relaxed);
                            errors
                                .lock()
                                .unwrap_or_else(std::sync::PoisonError::into_inner)
                                .push((at, error));
                        }
                    }
                };
                std::thread::scope(|scope| {
                    for _ in 1..threads.min(wanted.len()) {
                        scope.spawn(work);
                    }
                    work();
                });
                let errors = errors.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
                errors.into_iter().min_by_key(|(at, _)| *at).map_or(Ok(()), |(_, error)| Err(error))
            }
        }
    }

    fn one(&self, at: usize, name: &str, act: TakeFile<'_>) -> Result<(), DatasetError> {
        let shown = PathBuf::from(self.shown(name));
        let failed = |error| DatasetError::io(&shown, error);
        if self.kind == Kind::Zip {
            let file = File::open(&self.path).map_err(failed)?;
            let mut archive = zip::ZipArchive::new(BufReader::new(file))
                .map_err(|error| failed(io::Error::other(error)))?;
            let mut member = archive.by_name(name).map_err(|error| failed(io::Error::other(error)))?;
            let mut reader = decompressed_within(&mut member).map_err(failed)?;
            return act(at, name, &mut reader);
        }
        let path = if self.kind == Kind::Folder { self.path.join(name) } else { self.path.clone() };
        let file = File::open(&path).map_err(failed)?;
        let mut reader = decompressed(Box::new(file)).map_err(failed)?;
        act(at, name, &mut reader)
    }

    fn each_of_tar(
        &self,
        act: &mut dyn FnMut(&str, &mut dyn Read) -> Result<(), DatasetError>,
    ) -> Result<(), DatasetError> {
        let failed = |error| DatasetError::io(&self.path, error);
        let file = File::open(&self.path).map_err(failed)?;
        let mut archive = tar::Archive::new(decompressed(Box::new(file)).map_err(failed)?);
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let name = entry.path().map_err(failed)?.to_string_lossy().into_owned();
            act(name.strip_prefix("./").unwrap_or(&name), &mut entry)?;
        }
        Ok(())
    }
}

/// Folders of a published dataset lie at most this deep.
const DEEPEST: usize = 6;

fn list(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) -> Result<(), DatasetError> {
    for item in fs::read_dir(folder).map_err(|error| DatasetError::io(folder, error))? {
        let path = item.map_err(|error| DatasetError::io(folder, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_hidden = name.starts_with('.');
        if path.is_dir() {
            if depth < DEEPEST && !is_hidden && !leads_up(&path) {
                list(&path, &format!("{prefix}{name}/"), depth + 1, names)?;
            }
        } else if path.is_file() {
            names.push(format!("{prefix}{name}"));
        } else if fs::metadata(&path).is_ok() {
            // A pipe or a device may never end.
            let error = io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a folder");
            return Err(DatasetError::io(&path, error));
        } else if !is_hidden {
            // A link to nothing may stand for a file that is missing: nobody would notice a day less.
            fs::metadata(&path).map_err(|error| DatasetError::io(&path, error))?;
        }
    }
    Ok(())
}

/// Whether a folder is a link to one that it lies in: its files would be there twice.
fn leads_up(folder: &Path) -> bool {
    if !folder.is_symlink() {
        return false;
    }
    let (Ok(to), Some(Ok(from))) = (folder.canonicalize(), folder.parent().map(Path::canonicalize)) else {
        return false;
    };
    from.starts_with(to)
}

/// The name of a file without folders and without the ending of a compression.
pub(crate) fn bare(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    [".gz", ".zst", ".xz"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// A reader from its start, of which the first bytes are known.
struct Peeked<R> {
    start: Vec<u8>,
    whole: io::Chain<Cursor<Vec<u8>>, R>,
}

fn peeked<R: Read>(mut reader: R) -> io::Result<Peeked<R>> {
    let mut start = Vec::new();
    reader.by_ref().take(6).read_to_end(&mut start)?;
    refuse(&start)?;
    Ok(Peeked { whole: Cursor::new(start.clone()).chain(reader), start })
}

fn decompressed(reader: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let Peeked { start, whole } = peeked(reader)?;
    Ok(match start {
        start if start.starts_with(GZIP) => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        start if start.starts_with(ZSTD) => Box::new(zstd::Decoder::new(whole)?),
        start if start.starts_with(XZ) => Box::new(lzma_rust2::XzReader::new(BufReader::new(whole), true)),
        _ => Box::new(whole),
    })
}

/// As [`decompressed`], of what borrows the archive around it.
fn decompressed_within<'a>(reader: &'a mut dyn Read) -> io::Result<Box<dyn Read + 'a>> {
    let Peeked { start, whole } = peeked(reader)?;
    Ok(match start {
        start if start.starts_with(GZIP) => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        start if start.starts_with(ZSTD) => Box::new(zstd::Decoder::new(whole)?),
        start if start.starts_with(XZ) => Box::new(lzma_rust2::XzReader::new(BufReader::new(whole), true)),
        _ => Box::new(whole),
    })
}

/// Names what is known and is not read, instead of a wrong character in line 1.
fn refuse(start: &[u8]) -> io::Result<()> {
    let what = match start {
        start if start.starts_with(RAR) => {
            "it is a RAR archive: unpack it first, with `unrar x` or `bsdtar -xf`"
        }
        start if start.starts_with(SEVEN_ZIP) => "it is a 7z archive: unpack it first, with `7z x`",
        [first, protocol, ..] if *first == PICKLE.0 && PICKLE.1.contains(protocol) => {
            "it is a pickle, which runs code when it is read: convert it in a sandbox, as docs/datasets.md shows"
        }
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}
