//! A log that may grow for days: of one with a limit, the last part is kept.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// So much of a log that has grown beyond its limit stays at least.
const KEPT: u64 = 1 << 20;

/// The file that the output of a command is written to.
#[derive(Debug)]
pub(crate) struct KeptLog {
    file: File,
    length: u64,
    /// Bytes that the file may have before its beginning is given up.
    limit: Option<u64>,
    /// Bytes that were given up.
    dropped: u64,
    /// Of the line that says so.
    head: u64,
}

impl KeptLog {
    /// An empty file.
    pub(crate) fn create(path: &Path, limit: Option<u64>) -> io::Result<Self> {
        let file = sb_durable::private().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Self { file, length: 0, limit, dropped: 0, head: 0 })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        match self.limit {
            Some(limit) if self.length > limit => self.drop_beginning(),
            _ => Ok(()),
        }
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// In the same file, since others read it as it grows: they see that it became shorter, and begin again.
    fn drop_beginning(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length.saturating_sub(KEPT)))?;
        let mut kept = Vec::new();
        self.file.read_to_end(&mut kept)?;
        let cut = kept.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let kept = &kept[cut..];
        self.dropped += self.length - self.head - kept.len() as u64;
        let head = format!("[sb: {} bytes of earlier output were dropped]\n", self.dropped);
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(head.as_bytes())?;
        self.file.write_all(kept)?;
        self.head = head.len() as u64;
        self.length = (head.len() + kept.len()) as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_with_a_limit_keeps_its_end_and_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let limit = 4 * KEPT;
        let mut log = KeptLog::create(&path, Some(limit)).unwrap();
        let mut written = 0;
        for number in 0..400_000_u32 {
            let line = format!("line {number:06} of a program that says a lot\n");
            log.write(line.as_bytes()).unwrap();
            written += line.len() as u64;
            assert!(log.length <= limit);
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.len() as u64, log.length);
        let (head, rest) = text.split_once('\n').unwrap();
        let dropped: u64 = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(head.ends_with("bytes of earlier output were dropped]"), "{head}");
        assert_eq!(dropped + rest.len() as u64, written);
        assert!(rest.starts_with("line ") && rest.ends_with("line 399999 of a program that says a lot\n"));
        assert!(rest.len() as u64 >= KEPT - 64);
    }

    #[test]
    fn a_log_without_a_limit_keeps_everything() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = KeptLog::create(&path, None).unwrap();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..6 {
            log.write(&piece).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 6 << 20);
    }
}
