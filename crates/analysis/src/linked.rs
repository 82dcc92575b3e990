//! Finds out which traces of a file are part of others, since their segments link to them: the invocations of functions that take
//! messages from a queue, which X-Ray records as traces of their own.
//!
//! The file is read three times: for what links to what; for the texts of the parts, which go to where they belong; and for the rest, with
//! which they are joined. What is beyond a limit goes through files ([`super::sorted`]), so that memory does not grow with the file.

use std::cell::Cell;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::Path;

use super::analyze::LONGEST;
use super::input::{Input, Named, Position};
use super::parallel::in_order;
use super::sorted::{Matching, Record, Room, Sorted, Sorter};
use super::source::Source;
use super::span::Recorded;
use super::split::{Chunk, Texts};
use super::xray::{self, Documents, Rejected};
use super::{analyze, joined};

/// The longest chain of traces that is followed. Beyond it lie circles and what feeds itself.
const LONGEST_CHAIN: u64 = 256;

/// Bits of an order for the number of a text.
const NUMBER_BITS: u32 = 48;

/// What the traces of a file link to. They are known by the numbers of their texts.
struct Index {
    room: Room,
    /// By id: the numbers.
    traces: Sorter,
    /// By the id that is linked to: the number of the trace that does so.
    links: Sorter,
}

impl Index {
    fn new(room: Room) -> Self {
        let sorter = || Sorter::new(room.clone());
        let (traces, links) = (sorter(), sorter());
        Self { room, traces, links }
    }

    fn add(&mut self, number: u64, id: &str, linked: &[String]) -> io::Result<()> {
        self.traces.push(id.as_bytes(), number, b"")?;
        linked.iter().try_for_each(|trace| self.links.push(trace.as_bytes(), number, b""))
    }

    /// Which traces are part of which: by the number of the part, in the order of the links between, the number of the whole.
    ///
    /// The whole is one that links to nothing that is there. From it, chains are followed link by link; of several ways to the same
    /// trace the shortest counts. What no chain from a whole leads to, such as a circle, is part of nothing.
    fn places(self) -> io::Result<Sorted> {
        let Self { room, traces, links } = self;
        let sorter = || Sorter::new(room.clone());
        let (edges, receivers) = edges(&traces.sort()?, &links.sort()?, &room)?;
        let mut reached = tops(&edges, &receivers, &room)?;
        let mut known = sorter().sort()?;
        let mut places = sorter();
        for depth in 1..=LONGEST_CHAIN {
            let found = follow(&reached, &edges, &room)?;
            let (mut next, mut all) = (sorter(), sorter());
            let mut before = Matching::new(&known)?;
            let mut records = found.records()?;
            let mut last = None;
            let mut is_over = true;
            while let Some(Record { key, .. }) = records.next()? {
                if last.as_ref() == Some(&key) || before.next(&key)?.is_some() {
                    continue;
                }
                is_over = false;
                let (part, whole) = key.split_at(8);
                next.push(part, 0, whole)?;
                places.push(part, depth, whole)?;
                all.push(&key, 0, b"")?;
                last = Some(key);
            }
            if is_over {
                break;
            }
            let mut records = known.records()?;
            while let Some(record) = records.next()? {
                all.push(&record.key, 0, b"")?;
            }
            (reached, known) = (next.sort()?, all.sort()?);
        }
        places.sort()
    }
}

/// The links between traces that are there: by the number of the one that is linked to, the numbers of those that do so, which are also
/// given on their own.
fn edges(traces: &Sorted, links: &Sorted, room: &Room) -> io::Result<(Sorted, Sorted)> {
    let (mut edges, mut receivers) = (Sorter::new(room.clone()), Sorter::new(room.clone()));
    let mut traces = Matching::new(traces)?;
    let mut current: (Vec<u8>, Vec<u64>) = Default::default();
    let mut records = links.records()?;
    while let Some(Record { key, order: receiver, .. }) = records.next()? {
        if current.0 != key {
            let mut numbers = Vec::new();
            while let Some(trace) = traces.next(&key)? {
                numbers.push(trace.order);
            }
            current = (key, numbers);
        }
        for sender in &current.1 {
            edges.push(&sender.to_be_bytes(), receiver, b"")?;
            receivers.push(&receiver.to_be_bytes(), 0, b"")?;
        }
    }
    Ok((edges.sort()?, receivers.sort()?))
}

/// Traces that are linked to and do not link to any that is there: by number, the same number.
fn tops(edges: &Sorted, receivers: &Sorted, room: &Room) -> io::Result<Sorted> {
    let mut tops = Sorter::new(room.clone());
    let mut receivers = Matching::new(receivers)?;
    let mut last = None;
    let mut records = edges.records()?;
    while let Some(Record { key, .. }) = records.next()? {
        if last.as_ref() != Some(&key) && receivers.next(&key)?.is_none() {
            tops.push(&key, 0, &key)?;
        }
        last = Some(key);
    }
    tops.sort()
}

/// One link further: by part and whole.
fn follow(reached: &Sorted, edges: &Sorted, room: &Room) -> io::Result<Sorted> {
    let mut found = Sorter::new(room.clone());
    let mut edges = Matching::new(edges)?;
    let mut current: (Vec<u8>, Vec<u64>) = Default::default();
    let mut records = reached.records()?;
    while let Some(Record { key, value: whole, .. }) = records.next()? {
        if current.0 != key {
            let mut receivers = Vec::new();
            while let Some(edge) = edges.next(&key)? {
                receivers.push(edge.order);
            }
            current = (key, receivers);
        }
        for part in &current.1 {
            found.push(&[part.to_be_bytes().as_slice(), &whole].concat(), 0, b"")?;
        }
    }
    found.sort()
}

/// The traces of a file of which some are part of others.
pub(super) struct Linked {
    /// By the number of a part: the number of the whole.
    places: Sorted,
    /// By the number of a whole: the texts of its parts, in the order of the links between.
    parts: Sorted,
}

impl Linked {
    /// Of a file of X-Ray's; none of another one. What memory does not hold goes through files in `folder`. `progress` is
    /// told how many bytes of the file are done.
    pub(super) fn of_file(
        path: &Path,
        source: Source,
        jobs: NonZeroUsize,
        folder: &Path,
        progress: &dyn Fn(u64),
    ) -> io::Result<Option<Self>> {
        let mut start = Named { input: Input::open(path)?, path };
        if !std::fs::metadata(path)?.is_file() {
            let message = format!(
                "to join linked traces, `{}` is read several times: write it into a file first",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        if analyze::recognize(&mut start, source)?.1 != Source::Xray {
            return Ok(None);
        }
        let position = Cell::new(Position::default());
        let open = || {
            let (texts, at) = analyze::open_texts(path)?;
            position.set(at);
            Ok(texts)
        };
        Self::find(&open, jobs, &Room::new(folder), &|| {
            let at = position.take();
            progress(at.bytes());
            position.set(at);
        })
        .map(Some)
    }

    /// Reads the file twice; `open` opens it anew. `progress` is called while it is read for the first time.
    pub(super) fn find<R: Read + Send>(
        open: &dyn Fn() -> io::Result<Texts<R>>,
        jobs: NonZeroUsize,
        room: &Room,
        progress: &dyn Fn(),
    ) -> io::Result<Self> {
        // What links to what is sorted in several ways at once.
        let mut index = Index::new(Room { bytes: room.bytes / 4, ..room.clone() });
        let mut texts = open()?;
        in_order(
            jobs,
            |(chunk, _): &mut (Chunk, Documents)| texts.read(chunk),
            |(chunk, documents)| {
                let found = (0..chunk.texts().len()).filter_map(|place| {
                    let (number, text) = (chunk.first + place as u64, chunk.whole_text(place)?);
                    let text = std::str::from_utf8(text).ok()?;
                    let (id, linked) = xray::linked_traces(text, documents)?;
                    Some((number, id, linked))
                });
                found.collect::<Vec<_>>()
            },
            &mut |found: Vec<(u64, String, Vec<String>)>| {
                progress();
                found.iter().try_for_each(|(number, id, linked)| index.add(*number, id, linked))
            },
        )?;
        let places =
            if index.links.is_empty() { Sorter::new(room.clone()).sort()? } else { index.places()? };
        let mut parts = Sorter::new(room.clone());
        let mut known = Matching::new(&places)?;
        let mut texts = open()?;
        let mut chunk = Chunk::default();
        while !places.is_empty() && texts.read(&mut chunk)? {
            for at in 0..chunk.texts().len() {
                let number = chunk.first + at as u64;
                while let Some(place) = known.next(&number.to_be_bytes())? {
                    let order = (place.order << NUMBER_BITS) | number;
                    parts.push(&place.value, order, chunk.whole_text(at).unwrap_or_default())?;
                }
            }
        }
        Ok(Self { places, parts: parts.sort()? })
    }

    /// The traces of the same file, joined.
    pub(super) fn groups<R: Read>(&self, texts: Texts<R>) -> io::Result<Groups<'_, R>> {
        Ok(Groups {
            texts,
            chunk: Chunk::default(),
            at: 0,
            places: Matching::new(&self.places)?,
            parts: Matching::new(&self.parts)?,
        })
    }
}

/// A trace and its parts, as texts.
#[derive(Default)]
pub(super) struct Group {
    pub(super) number: u64,
    pub(super) text: Vec<u8>,
    pub(super) is_cut: bool,
    parts: Vec<Vec<u8>>,
    bytes: usize,
}

impl Group {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_parts(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The trace with its parts.
    pub(super) fn join(&self, documents: &mut Documents) -> Result<Recorded<'static>, Rejected> {
        let whole = record(&self.text, documents)?;
        if !self.has_parts() {
            return Ok(whole);
        }
        if self.bytes > LONGEST {
            let reason = analyze::longer_than_the_limit();
            return Err(Rejected { id: Some(whole.id.into_owned()), reason });
        }
        // What could not be read was not found to link to anything.
        let parts = self.parts.iter().filter_map(|text| record(text, documents).ok());
        let parts: Vec<_> = parts.collect();
        Ok(joined::join(whole, parts))
    }
}

fn record(text: &[u8], documents: &mut Documents) -> Result<Recorded<'static>, Rejected> {
    let text = std::str::from_utf8(text).map_err(analyze::not_utf8)?;
    xray::record(text, documents).map(Recorded::into_owned)
}

/// Goes through the traces that are part of no other, in the order of the file.
pub(super) struct Groups<'l, R> {
    texts: Texts<R>,
    chunk: Chunk,
    /// Texts of the chunk that are done.
    at: usize,
    places: Matching<'l>,
    parts: Matching<'l>,
}

impl<R: Read> Groups<'_, R> {
    pub(super) fn next(&mut self) -> io::Result<Option<Group>> {
        loop {
            let count = self.chunk.texts().len();
            if self.at == count {
                self.at = 0;
                if !self.texts.read(&mut self.chunk)? {
                    return Ok(None);
                }
                continue;
            }
            let place = self.at;
            self.at += 1;
            let number = self.chunk.first + place as u64;
            let mut is_part = false;
            while self.places.next(&number.to_be_bytes())?.is_some() {
                is_part = true;
            }
            let Some(text) = self.chunk.text(place).filter(|text| !is_part && !text.is_empty()) else {
                continue;
            };
            let is_cut = self.chunk.whole_text(place).is_none();
            let mut group =
                Group { number, text: text.to_vec(), is_cut, parts: Vec::new(), bytes: text.len() };
            while let Some(part) = self.parts.next(&number.to_be_bytes())? {
                group.bytes += part.value.len();
                if group.bytes <= LONGEST {
                    group.parts.push(part.value);
                }
            }
            return Ok(Some(group));
        }
    }
}
