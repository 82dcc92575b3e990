//! Sorts more than memory holds: what is beyond a limit goes, in sorted runs, into a file that has no name.
//!
//! The file is unlinked as soon as it is open, so that the kernel removes it whichever way the process ends. What stays
//! below the limit touches no disk.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering as Atomic};

use super::input::with_path;

/// Where runs go, and how many bytes are held before.
#[derive(Clone, Debug)]
pub(super) struct Room {
    pub(super) folder: PathBuf,
    pub(super) bytes: usize,
}

/// Bytes that are held of all records, unless told otherwise.
const ROOM: usize = 24 << 20;

impl Room {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), bytes: ROOM }
    }

    /// In the folder of a file.
    pub(super) fn beside(file: &Path) -> Self {
        Self::new(file.parent().unwrap_or(Path::new("")))
    }

    /// Everything is held.
    pub(super) fn unlimited() -> Self {
        Self { folder: PathBuf::new(), bytes: usize::MAX }
    }

    /// Bytes that are read of each of so many runs at once.
    fn buffer(&self, runs: usize) -> usize {
        (self.bytes / runs.max(1)).clamp(1 << 12, 1 << 18)
    }
}

/// Sorted by key, then by order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) order: u64,
    pub(super) value: Vec<u8>,
}

impl Ord for Record {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.key, self.order).cmp(&(&other.key, other.order))
    }
}

impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Lengths of key and value, and the order.
const HEAD: usize = 4 + 4 + 8;

/// Where a record's key and value lie in the bytes that are held.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    key: u32,
    value: u32,
    order: u64,
}

impl Place {
    fn key(self, held: &[u8]) -> &[u8] {
        &held[self.at..self.at + self.key as usize]
    }

    fn value(self, held: &[u8]) -> &[u8] {
        let from = self.at + self.key as usize;
        &held[from..from + self.value as usize]
    }
}

/// Takes records in any order.
#[derive(Debug)]
pub(super) struct Sorter {
    room: Room,
    held: Vec<u8>,
    places: Vec<Place>,
    spilled: Option<Spilled>,
}

#[derive(Debug)]
struct Spilled {
    file: File,
    /// What it was called for a moment; for errors.
    path: PathBuf,
    /// Where each run ends; the first one starts at 0.
    ends: Vec<u64>,
}

impl Sorter {
    pub(super) fn new(room: Room) -> Self {
        Self { room, held: Vec::new(), places: Vec::new(), spilled: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.spilled.is_none()
    }

    pub(super) fn push(&mut self, key: &[u8], order: u64, value: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "a record beyond 4 GiB");
        let (key_length, value_length) =
            (u32::try_from(key.len()).map_err(too_long)?, u32::try_from(value.len()).map_err(too_long)?);
        let length = key.len() + value.len() + size_of::<Place>();
        let held = self.held.len() + self.places.len() * size_of::<Place>();
        if !self.places.is_empty() && held + length > self.room.bytes {
            self.spill()?;
        }
        self.places.push(Place { at: self.held.len(), key: key_length, value: value_length, order });
        self.held.extend_from_slice(key);
        self.held.extend_from_slice(value);
        Ok(())
    }

    /// Nothing can be added any more.
    pub(super) fn sort(mut self) -> io::Result<Sorted> {
        if self.spilled.is_some() && !self.places.is_empty() {
            self.spill()?;
        }
        let Self { room, held, mut places, spilled } = self;
        sort_places(&held, &mut places);
        Ok(Sorted { room, held, places, spilled })
    }

    fn spill(&mut self) -> io::Result<()> {
        sort_places(&self.held, &mut self.places);
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(Spilled::create(&self.room.folder)?),
        };
        spilled.write(&self.held, &self.places)?;
        self.held.clear();
        self.places.clear();
        Ok(())
    }
}

fn sort_places(held: &[u8], places: &mut [Place]) {
    places.sort_by(|left, right| (left.key(held), left.order).cmp(&(right.key(held), right.order)));
}

impl Spilled {
    fn create(folder: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Atomic::Relaxed);
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
        Ok(Self { file, path, ends: Vec::new() })
    }

    fn write(&mut self, held: &[u8], places: &[Place]) -> io::Result<()> {
        let mut written = self.ends.last().copied().unwrap_or_default();
        let mut write = || {
            let mut out = BufWriter::with_capacity(1 << 18, &self.file);
            for &place in places {
                out.write_all(&place.key.to_le_bytes())?;
                out.write_all(&place.value.to_le_bytes())?;
                out.write_all(&place.order.to_le_bytes())?;
                out.write_all(place.key(held))?;
                out.write_all(place.value(held))?;
                written += HEAD as u64 + u64::from(place.key) + u64::from(place.value);
            }
            out.flush()
        };
        write().map_err(|error| with_path(&error, "write", &self.path))?;
        self.ends.push(written);
        Ok(())
    }
}

/// Records in order, to be gone through as often as is needed.
#[derive(Debug)]
pub(super) struct Sorted {
    room: Room,
    held: Vec<u8>,
    places: Vec<Place>,
    spilled: Option<Spilled>,
}

impl Sorted {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.spilled.is_none()
    }

    pub(super) fn records(&self) -> io::Result<Records<'_>> {
        let mut runs = Vec::new();
        if let Some(spilled) = &self.spilled {
            let buffer = self.room.buffer(spilled.ends.len());
            let mut at = 0;
            for &end in &spilled.ends {
                runs.push(Run { spilled, at, end, buffer: Vec::new(), used: 0, wanted: buffer });
                at = end;
            }
        }
        let mut heads = BinaryHeap::with_capacity(runs.len());
        for (place, run) in runs.iter_mut().enumerate() {
            heads.extend(run.next()?.map(|record| Reverse((record, place))));
        }
        Ok(Records { held: &self.held, places: self.places.iter(), runs, heads })
    }
}

/// Goes through records in order.
pub(super) struct Records<'s> {
    held: &'s [u8],
    places: std::slice::Iter<'s, Place>,
    runs: Vec<Run<'s>>,
    heads: BinaryHeap<Reverse<(Record, usize)>>,
}

impl Records<'_> {
    pub(super) fn next(&mut self) -> io::Result<Option<Record>> {
        // Either all records are held or all are in runs.
        if let Some(&place) = self.places.next() {
            let (key, value) = (place.key(self.held).to_vec(), place.value(self.held).to_vec());
            return Ok(Some(Record { key, order: place.order, value }));
        }
        let Some(Reverse((record, run))) = self.heads.pop() else { return Ok(None) };
        let following = self.runs[run].next()?;
        self.heads.extend(following.map(|record| Reverse((record, run))));
        Ok(Some(record))
    }
}

/// A sorted part of the file.
struct Run<'s> {
    spilled: &'s Spilled,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    used: usize,
    wanted: usize,
}

impl Run<'_> {
    fn next(&mut self) -> io::Result<Option<Record>> {
        if self.used == self.buffer.len() && self.at == self.end {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        head.copy_from_slice(self.take(HEAD)?);
        let [k0, k1, k2, k3, v0, v1, v2, v3, order @ ..] = head;
        let key = u32::from_le_bytes([k0, k1, k2, k3]) as usize;
        let value = u32::from_le_bytes([v0, v1, v2, v3]) as usize;
        let (key, value) = (self.take(key)?.to_vec(), self.take(value)?.to_vec());
        Ok(Some(Record { key, order: u64::from_le_bytes(order), value }))
    }

    fn take(&mut self, length: usize) -> io::Result<&[u8]> {
        if self.buffer.len() - self.used < length {
            self.buffer.drain(..self.used);
            self.used = 0;
            let from = self.buffer.len();
            let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
            let more = self.wanted.max(length - from).min(left);
            self.buffer.resize(from + more, 0);
            self.spilled
                .file
                .read_exact_at(&mut self.buffer[from..], self.at)
                .map_err(|error| with_path(&error, "read", &self.spilled.path))?;
            self.at += more as u64;
        }
        let range = self.used..self.used + length;
        self.used += length;
        self.buffer.get(range).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}

/// Goes through records of which it is asked by growing keys: one side of a merge.
pub(super) struct Matching<'s> {
    records: Records<'s>,
    ahead: Option<Record>,
}

impl<'s> Matching<'s> {
    pub(super) fn new(sorted: &'s Sorted) -> io::Result<Self> {
        let mut records = sorted.records()?;
        let ahead = records.next()?;
        Ok(Self { records, ahead })
    }

    /// The next record with this key; those with smaller keys are passed over.
    pub(super) fn next(&mut self, key: &[u8]) -> io::Result<Option<Record>> {
        while self.ahead.as_ref().is_some_and(|record| *record.key < *key) {
            self.ahead = self.records.next()?;
        }
        if self.ahead.as_ref().is_none_or(|record| record.key != key) {
            return Ok(None);
        }
        let following = self.records.next()?;
        Ok(std::mem::replace(&mut self.ahead, following))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn records_come_in_order_whatever_the_room(
            keys in proptest::collection::vec("[a-c]{0,3}", 0..60),
            bytes in 0..2_000_usize,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut sorter = Sorter::new(Room { folder: folder.path().to_owned(), bytes });
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
        let mut sorter = Sorter::new(Room { folder: "/nowhere".into(), bytes: 1 << 20 });
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
        let mut sorter = Sorter::new(Room { folder: "/nowhere".into(), bytes: 0 });
        sorter.push(b"a", 0, b"").unwrap();
        let message = sorter.push(b"b", 1, b"").unwrap_err().to_string();
        assert!(message.contains("cannot write `/nowhere/.traces-"), "{message}");
    }
}
