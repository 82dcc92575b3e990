//! Finds out which traces of a file are part of others because their segments link to them. X-Ray records the invocation of a
//! function that takes messages from a queue as such a trace of its own.
//!
//! The file is read three times: for the links, for the texts of the parts, and for the other traces. The parts are
//! joined with these. What is beyond a limit goes through files ([`crate::read::sort`]), so that memory does not grow
//! with the file.

use std::cell::Cell;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::Path;

use super::browse::{open_texts, recognize};
use super::input::{Input, Named, Position, STANDARD_INPUT};
use super::parallel::in_order;
use super::split::{Chunk, Texts};
use crate::invalid::{Invalid, Rejected};
use crate::read::sort::{Matching, Record, Room, Sorted, Sorter};
use crate::read::source::Source;
use crate::read::xray::{self, Documents};
use crate::read::{LONGEST, joined};
use crate::span::Recorded;

/// The longest chain of traces that is followed. Beyond it lie circles and what feeds itself.
const LONGEST_CHAIN: u64 = 256;

/// Bits of an order for the number of a text.
const NUMBER_BITS: u32 = 48;

/// The number of a text, the id of its trace, the traces that caused it, and those that it caused.
type TraceLinks = (u64, String, Vec<String>, Vec<String>);

/// What the traces of a file link to. They are known by the numbers of their texts.
struct Index {
    room: Room,
    /// By id: the numbers.
    traces: Sorter,
    /// By the id that is linked to: the number of the trace that does so.
    links: Sorter,
    /// The same of links to what a trace caused.
    caused: Sorter,
}

impl Index {
    fn new(room: Room) -> Self {
        let sorter = || Sorter::new(room.clone());
        let (traces, links, caused) = (sorter(), sorter(), sorter());
        Self { room, traces, links, caused }
    }

    fn add(&mut self, (number, id, causes, caused): &TraceLinks) -> io::Result<()> {
        self.traces.push(id.as_bytes(), *number, b"")?;
        causes.iter().try_for_each(|trace| self.links.push(trace.as_bytes(), *number, b""))?;
        caused.iter().try_for_each(|trace| self.caused.push(trace.as_bytes(), *number, b""))
    }

    fn has_links(&self) -> bool {
        !self.links.is_empty() || !self.caused.is_empty()
    }

    /// Which traces are part of which: by the number of the part, the number of the whole, in the order of the links between.
    ///
    /// The whole is a trace that links to no other trace of the file. From it, chains are followed link by link. Of several ways
    /// to the same trace, the shortest counts. A trace that no chain from a whole reaches, such as one in a circle, is no part.
    fn places(self) -> io::Result<Sorted> {
        let Self { room, traces, links, caused } = self;
        let sorter = || Sorter::new(room.clone());
        let (edges, receivers) = edges(&traces.sort()?, [&links.sort()?, &caused.sort()?], &room)?;
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

/// The links between traces of the file: by the number of the trace that is linked to, the numbers of those that link to it.
/// The latter are also given on their own.
fn edges(traces: &Sorted, [links, caused]: [&Sorted; 2], room: &Room) -> io::Result<(Sorted, Sorted)> {
    let (mut edges, mut receivers) = (Sorter::new(room.clone()), Sorter::new(room.clone()));
    for (links, to_child) in [(links, false), (caused, true)] {
        let mut traces = Matching::new(traces)?;
        let mut current: (Vec<u8>, Vec<u64>) = Default::default();
        let mut records = links.records()?;
        while let Some(Record { key, order: linking, .. }) = records.next()? {
            if current.0 != key {
                let mut numbers = Vec::new();
                while let Some(trace) = traces.next(&key)? {
                    numbers.push(trace.order);
                }
                current = (key, numbers);
            }
            for &linked in &current.1 {
                let (sender, receiver) = if to_child { (linking, linked) } else { (linked, linking) };
                edges.push(&sender.to_be_bytes(), receiver, b"")?;
                receivers.push(&receiver.to_be_bytes(), 0, b"")?;
            }
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
pub(crate) struct Linked {
    /// By the number of a part: the number of the whole.
    places: Sorted,
    /// By the number of a whole: the texts of its parts, in the order of the links between.
    parts: Sorted,
}

impl Linked {
    /// The linked traces of a file of X-Ray; none for a file of another tracer. What memory does not hold goes through files
    /// in `folder`. `progress` gets the number of bytes of the file that are done.
    pub(crate) fn of_file(
        path: &Path,
        source: Source,
        jobs: NonZeroUsize,
        folder: &Path,
        progress: &dyn Fn(u64),
    ) -> io::Result<Option<Self>> {
        let is_file = path != Path::new(STANDARD_INPUT) && std::fs::metadata(path)?.is_file();
        if !is_file {
            let message = format!(
                "to join linked traces, `{}` is read several times: write it into a file first",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut start = Named { input: Input::open(path)?, path };
        if recognize(&mut start, source)?.1 != Source::Xray {
            return Ok(None);
        }
        let position = Cell::new(Position::default());
        let open = || {
            let (texts, at) = open_texts(path)?;
            position.set(at);
            Ok(texts)
        };
        Self::find(&open, jobs, &Room::in_folder(folder), &|| {
            let at = position.take();
            progress(at.bytes());
            position.set(at);
        })
        .map(Some)
    }

    /// Reads the file twice; `open` opens it anew. `progress` is called while it is read for the first time.
    pub(crate) fn find<R: Read + Send>(
        open: &dyn Fn() -> io::Result<Texts<R>>,
        jobs: NonZeroUsize,
        room: &Room,
        progress: &dyn Fn(),
    ) -> io::Result<Self> {
        // What links to what is sorted in several ways at once.
        let mut index = Index::new(room.a_part(4));
        let mut texts = open()?;
        in_order(
            jobs,
            |(chunk, _): &mut (Chunk, Documents)| texts.read(chunk),
            |(chunk, documents)| {
                let found = (0..chunk.texts().len()).filter_map(|place| {
                    let (number, text) = (chunk.first + place as u64, chunk.whole_text(place)?);
                    let text = std::str::from_utf8(text).ok()?;
                    let (id, causes, caused) = xray::linked_traces(text, documents)?;
                    Some((number, id, causes, caused))
                });
                found.collect::<Vec<_>>()
            },
            &mut |found: Vec<TraceLinks>| {
                progress();
                found.iter().try_for_each(|links| index.add(links))
            },
        )?;
        let places = if index.has_links() { index.places()? } else { Sorter::new(room.clone()).sort()? };
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
    pub(crate) fn traces<R: Read>(&self, texts: Texts<R>) -> io::Result<LinkedTraces<'_, R>> {
        Ok(LinkedTraces {
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
pub(crate) struct LinkedTrace {
    pub(crate) number: u64,
    pub(crate) text: Vec<u8>,
    pub(crate) is_cut: bool,
    parts: Vec<Vec<u8>>,
    bytes: usize,
}

impl LinkedTrace {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn has_parts(&self) -> bool {
        !self.parts.is_empty()
    }

    /// The trace with its parts.
    pub(crate) fn join(&self, documents: &mut Documents) -> Result<Recorded<'static>, Rejected> {
        let whole = record(&self.text, documents)?;
        if !self.has_parts() {
            return Ok(whole);
        }
        if self.bytes > LONGEST {
            let reason = Invalid::longer_than_the_limit();
            return Err(Rejected { id: Some(whole.id.into_owned()), reason });
        }
        // What could not be read was not found to link to anything.
        let parts = self.parts.iter().filter_map(|text| record(text, documents).ok());
        let parts: Vec<_> = parts.collect();
        Ok(joined::join(whole, parts))
    }
}

fn record(text: &[u8], documents: &mut Documents) -> Result<Recorded<'static>, Rejected> {
    let text = std::str::from_utf8(text).map_err(Rejected::not_utf8)?;
    xray::record(text, documents).map(Recorded::into_owned)
}

/// Goes through the traces that are part of no other, in the order of the file.
pub(crate) struct LinkedTraces<'l, R> {
    texts: Texts<R>,
    chunk: Chunk,
    /// Texts of the chunk that are done.
    at: usize,
    places: Matching<'l>,
    parts: Matching<'l>,
}

impl<R: Read> LinkedTraces<'_, R> {
    pub(crate) fn next(&mut self) -> io::Result<Option<LinkedTrace>> {
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
            let mut trace =
                LinkedTrace { number, text: text.to_vec(), is_cut, parts: Vec::new(), bytes: text.len() };
            while let Some(part) = self.parts.next(&number.to_be_bytes())? {
                trace.bytes += part.value.len();
                if trace.bytes <= LONGEST {
                    trace.parts.push(part.value);
                }
            }
            return Ok(Some(trace));
        }
    }
}
