//! Files for what sorting does not hold in memory ([`crate::read::sort`]).
//!
//! A file is unlinked as soon as it is open. So the kernel removes it however the process ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::input::with_path;
use crate::read::sort::{Overflow, Room};

/// Bytes that are held in memory of all records: 24 MiB.
const HELD: usize = 24 << 20;

impl Room {
    /// What memory does not hold goes into files in a folder.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self::spilling_into(folder, HELD)
    }

    /// The same in the folder of a file.
    pub(crate) fn beside(file: &Path) -> Self {
        Self::in_folder(file.parent().unwrap_or(Path::new("")))
    }

    /// Holds so many bytes in memory.
    pub(crate) fn spilling_into(folder: &Path, bytes: usize) -> Self {
        let folder = folder.to_owned();
        Self::new(bytes, move || Ok(Box::new(SpillFile::create(&folder)?)))
    }
}

struct SpillFile {
    file: File,
    /// The name that it had before it was unlinked, for errors.
    path: PathBuf,
}

impl SpillFile {
    fn create(folder: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".traces-{}-{number}.partial", std::process::id()));
        let open = || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)?;
            fs::remove_file(&path)?;
            Ok(file)
        };
        let file = open().map_err(|error| with_path(&error, "write", &path))?;
        Ok(Self { file, path })
    }
}

impl Write for SpillFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| with_path(&error, "write", &self.path))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Overflow for SpillFile {
    fn read_exact_at(&self, out: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_exact_at(out, at).map_err(|error| with_path(&error, "read", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::sort::{Matching, Record, Sorter};

    proptest::proptest! {
        #[test]
        fn records_come_in_order_whatever_the_room(
            keys in proptest::collection::vec("[a-c]{0,3}", 0..60),
            bytes in 0..2_000_usize,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(Room::spilling_into(folder.path(), bytes));
            let mut expected = Vec::new();
            for (order, key) in keys.iter().enumerate() {
                let value = key.repeat(order).into_bytes();
                sorter.push(key.as_bytes(), order as u64, &value).unwrap();
                expected.push(Record { key: key.clone().into_bytes(), order: order as u64, value });
            }
            expected.sort();
            let sorted = sorter.sort().unwrap();
            proptest::prop_assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
            for _ in 0..2 {
                let mut records = sorted.records().unwrap();
                let found: Vec<_> = std::iter::from_fn(|| records.next().unwrap()).collect();
                proptest::prop_assert_eq!(&found, &expected);
            }
        }
    }

    #[test]
    fn matching_records_are_found_by_growing_keys() {
        let mut sorter = Sorter::new(Room::in_folder("/nowhere".as_ref()));
        for (order, key) in ["c", "a", "c", "d"].into_iter().enumerate() {
            sorter.push(key.as_bytes(), order as u64, b"").unwrap();
        }
        let sorted = sorter.sort().unwrap();
        let mut matching = Matching::new(&sorted).unwrap();
        let mut orders = |key: &str| {
            let found = std::iter::from_fn(|| matching.next(key.as_bytes()).unwrap());
            found.map(|record| record.order).collect::<Vec<_>>()
        };
        assert_eq!([orders("b"), orders("c"), orders("e")], [vec![], vec![0, 2], vec![]]);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let mut sorter = Sorter::new(Room::spilling_into("/nowhere".as_ref(), 0));
        sorter.push(b"a", 0, b"").unwrap();
        let message = sorter.push(b"b", 1, b"").unwrap_err().to_string();
        assert!(message.contains("cannot write `/nowhere/.traces-"), "{message}");
    }
}
