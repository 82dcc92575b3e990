//! Sorts more than memory holds: what is beyond a limit goes, in sorted runs, into an [`Overflow`], which the caller
//! provides. Below the limit no overflow is made.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

/// Bytes that are kept outside of memory. They are written once, at the end, and read anywhere.
pub(crate) trait Overflow: Write + Send + Sync {
    /// Fills `out` with the bytes from `at` on.
    fn read_exact_at(&self, out: &mut [u8], at: u64) -> io::Result<()>;
}

type MakeOverflow = dyn Fn() -> io::Result<Box<dyn Overflow>> + Send + Sync;

/// How many bytes are held in memory, and what takes those beyond.
#[derive(Clone)]
pub(crate) struct Room {
    bytes: usize,
    overflow: Arc<MakeOverflow>,
}

impl Room {
    /// `overflow` is called for each sorter that needs one.
    pub(crate) fn new(
        bytes: usize,
        overflow: impl Fn() -> io::Result<Box<dyn Overflow>> + Send + Sync + 'static,
    ) -> Self {
        Self { bytes, overflow: Arc::new(overflow) }
    }

    /// Everything is held.
    pub(crate) fn unlimited() -> Self {
        Self::new(usize::MAX, || Err(io::ErrorKind::OutOfMemory.into()))
    }

    /// Room for one of so many sorters that work at once.
    pub(crate) fn a_part(&self, of: usize) -> Self {
        Self { bytes: self.bytes / of, overflow: Arc::clone(&self.overflow) }
    }

    /// Bytes that are read of each of so many runs at once.
    fn buffer(&self, runs: usize) -> usize {
        (self.bytes / runs.max(1)).clamp(1 << 12, 1 << 18)
    }
}

/// Sorted by key, then by order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Vec<u8>,
    pub(crate) order: u64,
    pub(crate) value: Vec<u8>,
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
pub(crate) struct Sorter {
    room: Room,
    held: Vec<u8>,
    places: Vec<Place>,
    spilled: Option<Spilled>,
}

struct Spilled {
    overflow: Box<dyn Overflow>,
    /// Where each run ends; the first one starts at 0.
    ends: Vec<u64>,
}

impl Sorter {
    pub(crate) fn new(room: Room) -> Self {
        Self { room, held: Vec::new(), places: Vec::new(), spilled: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.spilled.is_none()
    }

    pub(crate) fn push(&mut self, key: &[u8], order: u64, value: &[u8]) -> io::Result<()> {
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
    pub(crate) fn sort(mut self) -> io::Result<Sorted> {
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
            none => none.insert(Spilled { overflow: (self.room.overflow)()?, ends: Vec::new() }),
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
    fn write(&mut self, held: &[u8], places: &[Place]) -> io::Result<()> {
        let mut written = self.ends.last().copied().unwrap_or_default();
        let mut out = BufWriter::with_capacity(1 << 18, &mut *self.overflow);
        for &place in places {
            out.write_all(&place.key.to_le_bytes())?;
            out.write_all(&place.value.to_le_bytes())?;
            out.write_all(&place.order.to_le_bytes())?;
            out.write_all(place.key(held))?;
            out.write_all(place.value(held))?;
            written += HEAD as u64 + u64::from(place.key) + u64::from(place.value);
        }
        out.flush()?;
        drop(out);
        self.ends.push(written);
        Ok(())
    }
}

/// Records in order, to be gone through as often as is needed.
pub(crate) struct Sorted {
    room: Room,
    held: Vec<u8>,
    places: Vec<Place>,
    spilled: Option<Spilled>,
}

impl Sorted {
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty() && self.spilled.is_none()
    }

    pub(crate) fn records(&self) -> io::Result<Records<'_>> {
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
pub(crate) struct Records<'s> {
    held: &'s [u8],
    places: std::slice::Iter<'s, Place>,
    runs: Vec<Run<'s>>,
    heads: BinaryHeap<Reverse<(Record, usize)>>,
}

impl Records<'_> {
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
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

/// A sorted part of the overflow.
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
            self.spilled.overflow.read_exact_at(&mut self.buffer[from..], self.at)?;
            self.at += more as u64;
        }
        let range = self.used..self.used + length;
        self.used += length;
        self.buffer.get(range).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}

/// Goes through records of which it is asked by growing keys: one side of a merge.
pub(crate) struct Matching<'s> {
    records: Records<'s>,
    ahead: Option<Record>,
}

impl<'s> Matching<'s> {
    pub(crate) fn new(sorted: &'s Sorted) -> io::Result<Self> {
        let mut records = sorted.records()?;
        let ahead = records.next()?;
        Ok(Self { records, ahead })
    }

    /// The next record with this key; those with smaller keys are passed over.
    pub(crate) fn next(&mut self, key: &[u8]) -> io::Result<Option<Record>> {
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
