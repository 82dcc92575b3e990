//! Exports of OpenTelemetry: the spans of a trace are gathered from whichever documents of the file hold them.

use std::io::{self, Read};
use std::num::NonZeroUsize;

use super::browse::default_jobs;
use super::input::Position;
use super::parallel::in_order;
use super::split::{Chunk, Long, Texts};
use crate::read::gather::{Gathered, Gathering, Prepared};
use crate::read::otlp;
use crate::read::sort::Room;
use crate::read::source::documents;

/// [`gather`] for those who wait for nothing else.
pub(crate) fn gather_export(texts: Texts<impl Read + Send>, room: Room) -> io::Result<Gathered> {
    gather(texts, default_jobs(), room, &Position::default(), &|_| {})
}

/// Gathers the spans of an OpenTelemetry export, in whichever of its documents they are.
pub(super) fn gather(
    texts: Texts<impl Read + Send>,
    jobs: NonZeroUsize,
    room: Room,
    position: &Position,
    progress: &dyn Fn(u64),
) -> io::Result<Gathered> {
    let mut gathering = Gathering::new(room);
    gather_into(&mut gathering, texts, jobs, position, progress)?;
    gathering.finish()
}

/// Adds the spans of an OpenTelemetry export to those that were gathered from others.
pub(super) fn gather_into(
    gathering: &mut Gathering,
    texts: Texts<impl Read + Send>,
    jobs: NonZeroUsize,
    position: &Position,
    progress: &dyn Fn(u64),
) -> io::Result<()> {
    let mut texts = texts.keeping_long();
    loop {
        in_order(
            jobs,
            |chunk: &mut Chunk| texts.read(chunk),
            |chunk| prepare_chunk(chunk),
            &mut |prepared| {
                gathering.add_all(prepared)?;
                progress(position.bytes());
                Ok(())
            },
        )?;
        let Some(long) = texts.long() else { break };
        gather_long(long, gathering)?;
        progress(position.bytes());
    }
    Ok(())
}

fn prepare_chunk(chunk: &Chunk) -> Vec<Prepared> {
    let texts = chunk.texts().zip(chunk.first..).filter(|(text, _)| !text.is_empty());
    let prepare = |(text, number): (&[u8], u64)| {
        let text = String::from_utf8_lossy(text);
        // Several documents may share a line.
        let prepared = documents(&text).into_iter().flat_map(|text| otlp::prepare(text, number));
        prepared.collect::<Vec<_>>()
    };
    texts.flat_map(prepare).collect()
}

/// A document that is longer than a trace may be: its spans are taken while it is read.
fn gather_long(mut long: Long<'_, impl Read>, gathering: &mut Gathering) -> io::Result<()> {
    let (before, number) = (gathering.count(), long.number);
    let mut failed = None;
    let mut document = serde_json::Deserializer::from_reader(&mut long);
    let read = otlp::for_each_span(&mut document, &mut |found| {
        if failed.is_none() {
            failed = gathering.add(Prepared::new(found, number)).err();
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let was_whole = match read {
        Ok(()) => true,
        Err(error) if error.is_io() => return Err(error.into()),
        Err(error) => {
            gathering.withdraw(before);
            gathering.add(Prepared::damaged(number, &error.to_string()))?;
            false
        }
    };
    long.finish(was_whole)
}
