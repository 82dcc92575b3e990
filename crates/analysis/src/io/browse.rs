//! Files of traces, one trace after the other, for those who look at single traces.

use std::io::{self, Cursor, Read};
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread;

use super::export::gather;
use super::input::{Input, Named, Position, with_format_of};
use super::linked::Linked;
use super::split::{Chunk, Texts};
use crate::invalid::Rejected;
use crate::method::Method;
use crate::read::sort::Room;
use crate::read::source::{Source, UnknownFormat};
use crate::read::xray::Documents;
use crate::span::Recorded;

/// Calls `each` for the traces of a file, one after the other, until it says to stop (false). Those whose text does not
/// contain `part` may be left out.
///
/// # Errors
/// The file cannot be read. What is wrong with a trace is given to `each`.
pub fn for_each_trace(
    path: &Path,
    part: &str,
    mut each: impl FnMut(Result<Recorded<'_>, Rejected>) -> bool,
) -> io::Result<()> {
    let mut input = Named { input: Input::open(path)?, path };
    let position = input.input.position();
    let (start, source) = recognize(&mut input, Source::Auto).map_err(|error| with_format_of(error, path))?;
    let mut texts = Texts::new(Cursor::new(start).chain(input));
    if source == Source::Otlp {
        // The folder of the file need not be one to write into.
        let room = Room::in_folder(&std::env::temp_dir());
        return gather(texts, default_jobs(), room, &position, &|_| {})?.for_each(each);
    }
    let method = Method { source, ..Method::default() };
    let (mut chunk, mut documents) = (Chunk::default(), Documents::default());
    while texts.read(&mut chunk)? {
        for text in chunk.texts() {
            if text.is_empty() || memchr::memmem::find(text, part.as_bytes()).is_none() {
                continue;
            }
            let recorded = match std::str::from_utf8(text) {
                Ok(text) => method.record(text, &mut documents),
                Err(error) => Err(Rejected::not_utf8(error)),
            };
            if !each(recorded) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// [`for_each_trace`], traces that links connect joined ([`Method::join_linked`]).
///
/// # Errors
/// The file cannot be read, or is none that can be read several times.
pub fn for_each_joined_trace(
    path: &Path,
    part: &str,
    mut each: impl FnMut(Result<Recorded<'_>, Rejected>) -> bool,
) -> io::Result<()> {
    let Some(linked) = Linked::of_file(path, Source::Auto, default_jobs(), &std::env::temp_dir(), &|_| {})?
    else {
        return for_each_trace(path, part, each);
    };
    let mut traces = linked.traces(open_texts(path)?.0)?;
    let mut documents = Documents::default();
    while let Some(trace) = traces.next()? {
        if memchr::memmem::find(&trace.text, part.as_bytes()).is_none() {
            continue;
        }
        let recorded = trace.join(&mut documents).map(|mut recorded| {
            recorded.mark_linked();
            recorded
        });
        if !each(recorded) {
            break;
        }
    }
    Ok(())
}

/// A file of texts from its start, and how far it has been read.
pub(crate) fn open_texts(path: &Path) -> io::Result<(Texts<Named<'_>>, Position)> {
    let input = Input::open(path)?;
    let position = input.position();
    Ok((Texts::new(Named { input, path }), position))
}

/// Reads enough of an input to see what wrote it.
pub(crate) fn recognize(input: &mut impl Read, source: Source) -> io::Result<(Vec<u8>, Source)> {
    const ENOUGH: u64 = 1 << 20;
    let mut start = Vec::new();
    input.take(ENOUGH).read_to_end(&mut start)?;
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start);
    if let Some(found) = source.contradicted(text) {
        return Err(io::Error::new(io::ErrorKind::Unsupported, UnknownFormat::other(source, found)));
    }
    match source.find(text) {
        Some(source) => Ok((start, source)),
        None if text.trim_ascii().is_empty() => Ok((start, Source::Xray)),
        None => Err(io::Error::new(io::ErrorKind::Unsupported, UnknownFormat::of(text))),
    }
}

/// One thread per processor.
pub(super) fn default_jobs() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
