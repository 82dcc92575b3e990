//! Reads of files that people name: what is no regular file is refused, and never waited for.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file for reading. A pipe without a writer would be waited for, and a device has no end.
///
/// # Errors
/// What the file system refuses; a folder; a pipe, a socket or a device.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // To open a pipe waits for its writer, unless this flag is set. It changes nothing for regular files.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

/// The bytes of a regular file that has at most `most`.
///
/// # Errors
/// Those of [`open_regular`]; a larger file.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let length = file.metadata()?.len();
    let too_large =
        || io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} MiB", most >> 20));
    if length > most {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    // Files below /proc have no length of their own.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(too_large()) } else { Ok(bytes) }
}

/// The text of a regular file. Only its size bounds the memory that this takes.
///
/// # Errors
/// Those of [`open_regular`]; what is not UTF-8.
pub fn read_regular_text(path: &Path) -> io::Result<String> {
    io::read_to_string(open_regular(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_read_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).unwrap();
        assert_eq!(read_regular(&at("link"), 4).unwrap(), b"text");
        assert_eq!(read_regular_text(&at("file")).unwrap(), "text");
        let refused = |path: &Path| read_regular(path, 1 << 20).unwrap_err().to_string();
        assert_eq!(refused(&at("pipe")), "it is not a regular file");
        assert_eq!(refused(Path::new("/dev/zero")), "it is not a regular file");
        assert_eq!(refused(folder.path()), "is a directory");
        std::fs::write(at("file"), vec![0; (1 << 20) + 1]).unwrap();
        assert_eq!(refused(&at("file")), "it is larger than 1 MiB");
        assert!(!read_regular(Path::new("/proc/self/status"), 1 << 20).unwrap().is_empty());
    }
}
