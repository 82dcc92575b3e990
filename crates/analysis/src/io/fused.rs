//! Several files as one: spans of X-Ray in some, of OpenTelemetry in others, of the same traces ([`crate::read::fused`]).

use std::io::{self, Cursor, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::browse::{default_jobs, recognize};
use super::export::gather_into;
use super::input::{Input, Named, Position, STANDARD_INPUT, with_format_of};
use super::parallel::in_order;
use super::split::{Chunk, Texts};
use crate::invalid::Rejected;
use crate::read::fused;
use crate::read::gather::{Gathered, Gathering, Prepared};
use crate::read::sort::Room;
use crate::read::source::Source;
use crate::read::xray::Documents;
use crate::span::Recorded;

/// Do these files hold parts of the same traces? They do when one is of X-Ray and another of OpenTelemetry.
///
/// # Errors
/// A file cannot be read, or is of no known format.
pub fn are_parts_of_traces(paths: &[PathBuf]) -> io::Result<bool> {
    if paths.len() < 2 || paths.iter().any(|path| path == Path::new(STANDARD_INPUT)) {
        return Ok(false);
    }
    let mut sources = Vec::new();
    for path in paths {
        sources.push(open(path)?.2);
    }
    Ok(sources.contains(&Source::Xray) && sources.contains(&Source::Otlp))
}

/// Calls `each` for the traces of which the files of X-Ray and OpenTelemetry hold parts, by id, until it says to stop (false).
///
/// # Errors
/// A file cannot be read, or is of another format.
pub fn for_each_fused_trace(
    paths: &[PathBuf],
    each: impl FnMut(Result<Recorded<'_>, Rejected>) -> bool,
) -> io::Result<()> {
    let room = Room::in_folder(&std::env::temp_dir());
    gather_files(paths, default_jobs(), room, &|_| {})?.for_each(each)
}

/// Gathers the spans of all files. `progress` gets the number of bytes of them that are done.
pub(super) fn gather_files(
    paths: &[PathBuf],
    jobs: NonZeroUsize,
    room: Room,
    progress: &dyn Fn(u64),
) -> io::Result<Gathered> {
    let mut gathering = Gathering::new(room);
    let mut done = 0;
    for path in paths {
        let (start, input, source) = open(path)?;
        let position = input.input.position();
        let progress = |bytes| progress(done + bytes);
        let texts = Texts::new(Cursor::new(start).chain(input));
        match source {
            Source::Otlp => gather_into(&mut gathering, texts, jobs, &position, &progress)?,
            Source::Xray => gather_xray(&mut gathering, texts, jobs, &position, &progress)?,
            Source::AppInsights | Source::Auto => {
                let message = format!(
                    "`{}` is of Application Insights: only traces of X-Ray and OpenTelemetry are joined; name it alone",
                    path.display()
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
        done += position.bytes();
    }
    gathering.finish()
}

fn open(path: &Path) -> io::Result<(Vec<u8>, Named<'_>, Source)> {
    let mut input = Named { input: Input::open(path)?, path };
    let (start, source) = recognize(&mut input, Source::Auto).map_err(|error| with_format_of(error, path))?;
    Ok((start, input, source))
}

fn gather_xray(
    gathering: &mut Gathering,
    mut texts: Texts<impl io::Read + Send>,
    jobs: NonZeroUsize,
    position: &Position,
    progress: &dyn Fn(u64),
) -> io::Result<()> {
    in_order(
        jobs,
        |(chunk, _): &mut (Chunk, Documents)| texts.read(chunk),
        |(chunk, documents)| {
            let numbered = (0..chunk.texts().len()).zip(chunk.first..);
            let prepared =
                numbered.flat_map(|(place, number)| match chunk.whole_text(place).map(std::str::from_utf8) {
                    Some(Ok("")) => Vec::new(),
                    Some(Ok(text)) => fused::prepare(text, number, documents),
                    Some(Err(error)) => vec![Prepared::damaged(number, &error.to_string())],
                    None => {
                        let start = chunk.text(place).unwrap_or_default();
                        vec![fused::prepare_too_long(start, number, documents)]
                    }
                });
            prepared.collect::<Vec<_>>()
        },
        &mut |prepared| {
            gathering.add_all(prepared)?;
            progress(position.bytes());
            Ok(())
        },
    )
}
