//! Analyses files of traces: rows for those that are valid, reasons for those that are not.
//!
//! The input is read in bounded chunks of whole traces. Threads take one chunk after the other. The results are
//! written in the order of the input. Where the spans of a trace may be spread over the file, they are gathered first
//! ([`crate::read::gather`]). Memory depends on the number of threads and the longest trace (at most 32 MiB), not on
//! the size of the file.

use std::io::{self, Cursor, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

#[cfg(feature = "parquet")]
use super::PARQUET_FILE;
use super::browse::{default_jobs, open_texts, recognize};
use super::export::gather;
use super::fused::gather_files;
use super::input::{Input, Named, Position, with_format_of};
use super::linked::{Linked, LinkedTrace};
use super::output::Replacement;
use super::parallel::in_order;
use super::results::{AnalysisSummary, Results, Tables, Task, Writer, add_result, analyze_chunk};
use super::split::{CHUNK, Chunk, Texts};
use super::{BREAKDOWN_FILE, INVALID_FILE};
use crate::columnar::Table;
use crate::method::Method;
use crate::read::gather::{Gathered, GatheredTrace};
use crate::read::sort::Room;
use crate::read::source::Source;
use crate::read::xray::Documents;
#[cfg(feature = "parquet")]
use crate::requests::Requests;

/// Reads traces, one per line or spread over several lines, and writes a row for each to one of the outputs,
/// headers included. `progress` gets the number of bytes of input that are done.
///
/// Whatever is wrong with a trace makes that trace invalid and nothing else.
///
/// # Errors
/// The input cannot be read, or an output not be written.
pub fn analyze(
    input: impl Read + Send + 'static,
    breakdown: impl Write,
    invalid: impl Write,
    progress: &dyn Fn(u64),
) -> io::Result<AnalysisSummary> {
    analyze_by(&Method::default(), input, breakdown, invalid, progress)
}

/// Like [`analyze`], as `method` says.
pub(crate) fn analyze_by(
    method: &Method,
    input: impl Read + Send + 'static,
    breakdown: impl Write,
    invalid: impl Write,
    progress: &dyn Fn(u64),
) -> io::Result<AnalysisSummary> {
    let input = Input::new(input)?;
    let position = input.position();
    let writer = Writer { rows: Some(breakdown), table: None::<Table<io::Sink>>, invalid };
    let room = Room::in_folder(&std::env::temp_dir());
    run_any(input, &position, default_jobs(), method, room, writer, progress)
}

/// With other limits than the usual ones, for tests.
#[cfg(test)]
pub(crate) fn analyze_in_chunks(
    chunk: usize,
    jobs: usize,
    input: Vec<u8>,
    breakdown: impl Write,
    invalid: impl Write,
) -> io::Result<AnalysisSummary> {
    let texts = Texts::with_limits(io::Cursor::new(input), chunk, crate::read::LONGEST);
    let writer = Writer { rows: Some(breakdown), table: None::<Table<io::Sink>>, invalid };
    let jobs = NonZeroUsize::new(jobs).unwrap_or(NonZeroUsize::MIN);
    run(texts, &Position::default(), jobs, &Method::default(), writer, &|_| {})
}

/// An OpenTelemetry export with other limits than the usual ones, for tests.
#[cfg(test)]
pub(crate) fn analyze_gathered(
    (chunk, longest, jobs): (usize, usize, usize),
    room: Room,
    input: Vec<u8>,
    breakdown: impl Write,
    invalid: impl Write,
) -> io::Result<AnalysisSummary> {
    let texts = Texts::with_limits(Cursor::new(input), chunk, longest);
    let (rows, table) = (Some(breakdown), None::<Table<io::Sink>>);
    let writer = Writer { rows, table, invalid };
    let jobs = NonZeroUsize::new(jobs).unwrap_or(NonZeroUsize::MIN);
    let (position, progress) = (Position::default(), &|_| {});
    let gathered = gather(texts, jobs, room, &position, progress)?;
    let method = Method { source: Source::Otlp, ..Method::default() };
    run_gathered(&gathered, &position, jobs, &method, writer, progress)
}

/// Where [`analyze_file`] writes, each defaulting to the dataset's name beside the input, and how.
#[derive(Default)]
pub struct AnalyzeOptions<'a> {
    /// The rows of valid traces [default: [`BREAKDOWN_FILE`]].
    pub breakdown: Option<PathBuf>,
    /// The same rows as Parquet [default: [`PARQUET_FILE`]].
    #[cfg(feature = "parquet")]
    pub parquet: Option<PathBuf>,
    /// The ids of invalid traces with the reasons [default: [`INVALID_FILE`]].
    pub invalid: Option<PathBuf>,
    /// Which of the two tables of valid traces are written.
    pub tables: Tables,
    /// Threads [default: one per processor].
    pub jobs: Option<NonZeroUsize>,
    /// Gets the number of bytes of input that are done, compressed as they lie in the file.
    pub progress: Option<&'a dyn Fn(u64)>,
    /// How traces are read and explained.
    pub method: Method,
}

/// Analyses a file, compressed or not, into trace_breakdown.csv and invalid_traces.csv beside it, or into Parquet.
/// Each is complete or absent: it is written under another name first.
///
/// # Errors
/// The file cannot be read, or a result not be written.
pub fn analyze_file(path: &Path, options: &AnalyzeOptions<'_>) -> io::Result<AnalysisSummary> {
    analyze_files(path, None, options)
}

/// Like [`analyze_file`], of files that hold parts of the same traces: some of X-Ray, others of OpenTelemetry. The results lie
/// beside the first one.
///
/// # Errors
/// There is no file, one cannot be read or is of another format, or a result not be written.
pub fn analyze_fused(paths: &[PathBuf], options: &AnalyzeOptions<'_>) -> io::Result<AnalysisSummary> {
    let first =
        paths.first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file is given"))?;
    analyze_files(first, Some(paths), options)
}

/// Analyses the file at `path`, or all of those that are `fused`.
fn analyze_files(
    path: &Path,
    fused: Option<&[PathBuf]>,
    options: &AnalyzeOptions<'_>,
) -> io::Result<AnalysisSummary> {
    let input = Input::open(path)?;
    let create = |wanted: bool, given: &Option<PathBuf>, name| {
        let target = given.clone().unwrap_or_else(|| path.with_file_name(name));
        wanted.then(|| Replacement::create(&target)).transpose()
    };
    let breakdown = create(options.tables.csv, &options.breakdown, BREAKDOWN_FILE)?;
    #[cfg(feature = "parquet")]
    let columns = create(options.tables.parquet, &options.parquet, PARQUET_FILE)?;
    #[cfg(not(feature = "parquet"))]
    let columns = None::<Replacement>;
    let invalid = create(true, &options.invalid, INVALID_FILE)?;
    #[cfg(feature = "parquet")]
    let table = columns
        .as_ref()
        .map(|file| Table::new(file, options.method.repair.is_some(), Requests::beside(path)?))
        .transpose()?;
    #[cfg(not(feature = "parquet"))]
    let table = None::<Table<io::Sink>>;
    let writer = Writer {
        rows: breakdown.as_ref(),
        table,
        invalid: invalid
            .as_ref()
            .map_or_else(|| Box::new(io::sink()) as Box<dyn Write>, |file| Box::new(file)),
    };
    let jobs = options.jobs.unwrap_or_else(default_jobs);
    let progress = options.progress.unwrap_or(&|_| {});
    let method = &options.method;
    let linked = if method.join_linked && fused.is_none() {
        // Read twice: half of the work.
        let folder = path.parent().unwrap_or(Path::new(""));
        Linked::of_file(path, method.source, jobs, folder, &|bytes| progress(bytes / 2))
            .map_err(|error| with_format_of(error, path))?
    } else {
        None
    };
    let summary = if let Some(paths) = fused {
        let gathered = gather_files(paths, jobs, Room::beside(path), progress)?;
        let method = Method { source: Source::Otlp, ..method.clone() };
        run_gathered(&gathered, &Position::default(), jobs, &method, writer, &|_| {})?
    } else if let Some(linked) = linked {
        let (texts, position) = open_texts(path)?;
        let length = std::fs::metadata(path)?.len();
        let progress = |bytes| progress(u64::midpoint(length, bytes));
        run_linked(&linked, texts, &position, jobs, method, writer, &progress)?
    } else {
        let position = input.position();
        let room = Room::beside(path);
        run_any(Named { input, path }, &position, jobs, method, room, writer, progress)
            .map_err(|error| with_format_of(error, path))?
    };
    Replacement::finish_all([breakdown, columns, invalid].into_iter().flatten())?;
    Ok(summary)
}

/// Finds out what the input is, and analyses it: in chunks, or, where the spans of a trace may be spread over documents,
/// when all of them are gathered.
fn run_any<R: Write, T: Write + Send, I: Write>(
    mut input: impl Read + Send,
    position: &Position,
    jobs: NonZeroUsize,
    method: &Method,
    room: Room,
    writer: Writer<R, T, I>,
    progress: &dyn Fn(u64),
) -> io::Result<AnalysisSummary> {
    let (start, source) = recognize(&mut input, method.source)?;
    let method = Method { source, ..method.clone() };
    let texts = Texts::new(Cursor::new(start).chain(input));
    match source {
        Source::Otlp => {
            let gathered = gather(texts, jobs, room, position, progress)?;
            run_gathered(&gathered, position, jobs, &method, writer, progress)
        }
        _ => run(texts, position, jobs, &method, writer, progress),
    }
}

/// Texts that are worked on together, and where the input was after them.
#[derive(Default)]
struct Batch {
    chunk: Chunk,
    position: u64,
    documents: Documents,
}

fn run<R: Write, T: Write + Send, I: Write>(
    mut texts: Texts<impl Read + Send>,
    position: &Position,
    jobs: NonZeroUsize,
    method: &Method,
    mut writer: Writer<R, T, I>,
    progress: &dyn Fn(u64),
) -> io::Result<AnalysisSummary> {
    let task = Task { method, tables: writer.tables() };
    let mut summary = AnalysisSummary::default();
    writer.start(method)?;
    in_order(
        jobs,
        |batch: &mut Batch| {
            let found = texts.read(&mut batch.chunk)?;
            batch.position = position.bytes();
            Ok(found)
        },
        |batch| analyze_chunk(&batch.chunk, task, batch.position, &mut batch.documents),
        &mut |results| add_results(results, &mut summary, &mut writer, progress),
    )?;
    writer.finish()?;
    Ok(summary)
}

fn add_results<R: Write, T: Write + Send, I: Write>(
    mut results: Results,
    summary: &mut AnalysisSummary,
    writer: &mut Writer<R, T, I>,
    progress: &dyn Fn(u64),
) -> io::Result<()> {
    summary.add(std::mem::take(&mut results.summary));
    let position = results.position;
    writer.add(results)?;
    progress(position);
    Ok(())
}

/// Analyses what was gathered, in the order of the traces' ids.
fn run_gathered<R: Write, T: Write + Send, I: Write>(
    gathered: &Gathered,
    position: &Position,
    jobs: NonZeroUsize,
    method: &Method,
    writer: Writer<R, T, I>,
    progress: &dyn Fn(u64),
) -> io::Result<AnalysisSummary> {
    let mut traces = gathered.traces()?;
    let next = || Ok(traces.next()?.map(|trace| (trace.bytes(), trace)));
    let work = |trace: GatheredTrace, _: &mut Documents, results: &mut Results| {
        let outcome = trace.finish()?;
        results.explain(method, outcome);
        Ok(())
    };
    run_traces(next, work, position, jobs, method, writer, progress)
}

/// Analyses the traces of a file of which some are part of others, in the order of the file.
fn run_linked<R: Write, T: Write + Send, I: Write>(
    linked: &Linked,
    texts: Texts<impl Read + Send>,
    position: &Position,
    jobs: NonZeroUsize,
    method: &Method,
    writer: Writer<R, T, I>,
    progress: &dyn Fn(u64),
) -> io::Result<AnalysisSummary> {
    let mut traces = linked.traces(texts)?;
    let next = || Ok(traces.next()?.map(|trace| (trace.bytes(), trace)));
    let method = &Method { source: Source::Xray, ..method.clone() };
    let work = |trace: LinkedTrace, documents: &mut Documents, results: &mut Results| {
        if trace.has_parts() {
            results.explain(method, trace.join(documents));
        } else {
            add_result(method, &trace.text, trace.is_cut, trace.number, documents, results);
        }
        Ok(())
    };
    run_traces(next, work, position, jobs, method, writer, progress)
}

/// Analyses what `next` gives, each with its number of bytes, by `work`.
fn run_traces<G: Send, R: Write, T: Write + Send, I: Write>(
    mut next: impl FnMut() -> io::Result<Option<(usize, G)>> + Send,
    work: impl Fn(G, &mut Documents, &mut Results) -> io::Result<()> + Sync,
    position: &Position,
    jobs: NonZeroUsize,
    method: &Method,
    mut writer: Writer<R, T, I>,
    progress: &dyn Fn(u64),
) -> io::Result<AnalysisSummary> {
    let tables = writer.tables();
    let mut summary = AnalysisSummary::default();
    writer.start(method)?;
    in_order(
        jobs,
        |(batch, _): &mut (Vec<G>, Documents)| {
            let mut bytes = 0;
            while bytes < CHUNK {
                let Some((length, trace)) = next()? else { break };
                bytes += length;
                batch.push(trace);
            }
            Ok(!batch.is_empty())
        },
        |(batch, documents)| {
            let mut results = Results::new(tables, position.bytes());
            batch.drain(..).try_for_each(|trace| work(trace, documents, &mut results))?;
            Ok(results)
        },
        &mut |results: io::Result<Results>| add_results(results?, &mut summary, &mut writer, progress),
    )?;
    writer.finish()?;
    Ok(summary)
}
