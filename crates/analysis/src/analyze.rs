//! Analyses files of traces: rows for those that are valid, reasons for those that are not.
//!
//! The input is read in bounded chunks of whole traces; threads take one chunk after the other, and the results are
//! written in the order of the input. Where the spans of a trace may be spread over the file, they are gathered first
//! ([`super::gather`]). Memory depends on the number of threads and the longest trace (at most [`LONGEST`] bytes), not
//! on the size of the file.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use super::breakdown::Analysis;
use super::columnar::{Entry, Table};
use super::critical_path::Rule;
use super::gather::{Gathered, Gathering, Group, Prepared};
use super::input::{Input, Named, Position};
use super::invalid::Invalid;
use super::linked::{self, Linked};
use super::method::Method;
use super::otlp;
use super::output::Replacement;
use super::parallel::in_order;
#[cfg(feature = "parquet")]
use super::requests::Requests;
use super::row::{INVALID_HEADER, write_invalid};
use super::sorted::Room;
use super::source::{Source, documents};
use super::span::{Recorded, Trace};
use super::split::{CHUNK, Chunk, Long, Texts};
use super::xray::{self, Documents, Rejected};

pub use super::split::LONGEST;

/// Bytes of rows that most chunks come to at most.
const ROWS: usize = 1 << 16;

/// How an analysis ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub valid: u64,
    pub invalid: u64,
    /// Invalid traces per [`Invalid::code`].
    pub reasons: BTreeMap<&'static str, u64>,
    /// Valid traces that only the paper's rule explains ([`Rule::Paper`]).
    pub by_paper_rule: u64,
    /// Valid traces that were invalid before they were repaired.
    pub repaired: u64,
}

impl Summary {
    fn add(&mut self, other: Self) {
        self.valid += other.valid;
        self.invalid += other.invalid;
        self.by_paper_rule += other.by_paper_rule;
        self.repaired += other.repaired;
        for (code, count) in other.reasons {
            *self.reasons.entry(code).or_default() += count;
        }
    }
}

/// Reads traces, one per line or spread over several lines, and writes a row for each to one of the outputs,
/// headers included. `progress` is told how many bytes of input are done.
///
/// Whatever is wrong with a trace makes that trace invalid and nothing else; errors are those of the files.
pub fn analyze(
    input: impl Read + Send + 'static,
    breakdown: impl Write,
    invalid: impl Write,
    progress: &dyn Fn(u64),
) -> io::Result<Summary> {
    analyze_by(&Method::default(), input, breakdown, invalid, progress)
}

/// Like [`analyze`], as `method` says.
pub(super) fn analyze_by(
    method: &Method,
    input: impl Read + Send + 'static,
    breakdown: impl Write,
    invalid: impl Write,
    progress: &dyn Fn(u64),
) -> io::Result<Summary> {
    let input = Input::new(input)?;
    let position = input.position();
    let writer = Writer { rows: Some(breakdown), table: None::<Table<io::Sink>>, invalid };
    let room = Room::new(&std::env::temp_dir());
    run_any(input, &position, default_jobs(), method, room, writer, progress)
}

/// With other limits than the usual ones, for tests.
#[cfg(test)]
pub(super) fn analyze_in_chunks(
    chunk: usize,
    jobs: usize,
    input: Vec<u8>,
    breakdown: impl Write,
    invalid: impl Write,
) -> io::Result<Summary> {
    let texts = Texts::with_limits(io::Cursor::new(input), chunk, LONGEST);
    let writer = Writer { rows: Some(breakdown), table: None::<Table<io::Sink>>, invalid };
    let jobs = NonZeroUsize::new(jobs).unwrap_or(NonZeroUsize::MIN);
    run(texts, &Position::default(), jobs, &Method::default(), writer, &|_| {})
}

/// An OpenTelemetry export with other limits than the usual ones, for tests.
#[cfg(test)]
pub(super) fn analyze_gathered(
    (chunk, longest, jobs): (usize, usize, usize),
    room: Room,
    input: Vec<u8>,
    breakdown: impl Write,
    invalid: impl Write,
) -> io::Result<Summary> {
    let texts = Texts::with_limits(Cursor::new(input), chunk, longest);
    let (rows, table) = (Some(breakdown), None::<Table<io::Sink>>);
    let writer = Writer { rows, table, invalid };
    let jobs = NonZeroUsize::new(jobs).unwrap_or(NonZeroUsize::MIN);
    let (position, progress) = (Position::default(), &|_| {});
    let gathered = gather(texts, jobs, room, &position, progress)?;
    let method = Method { source: Source::Otlp, ..Method::default() };
    run_gathered(&gathered, &position, jobs, &method, writer, progress)
}

/// Analyses one trace; for other features than the files, too.
pub fn analyze_text(text: &str) -> Result<Analysis, Rejected> {
    Method::default().analyze_text(text)
}

/// Shows the spans of one trace, and what the analysis makes of them, to `view`.
///
/// # Errors
/// Where there is no tree of spans. A tree that cannot be explained is shown with the reason.
pub fn view<T>(
    recorded: Recorded<'_>,
    view: impl FnOnce(&Trace<'_>, Result<Analysis, Invalid>) -> T,
) -> Result<T, Rejected> {
    let id = recorded.id.to_string();
    let trace = recorded.join().map_err(|reason| Rejected { id: Some(id), reason })?;
    let analysis = Method::default().explain_trace(&trace);
    Ok(view(&trace, analysis))
}

/// [`view`] of the one trace in a text.
pub fn view_text<T>(
    text: &str,
    look: impl FnOnce(&Trace<'_>, Result<Analysis, Invalid>) -> T,
) -> Result<T, Rejected> {
    view(Method::default().record(text, &mut Documents::default())?, look)
}

/// Calls `each` for the traces of a file, one after the other, until it says to stop (false). Those whose text does not
/// contain `part` may be left out.
pub fn for_each_trace(
    path: &Path,
    part: &str,
    mut each: impl FnMut(Result<Recorded<'_>, Rejected>) -> bool,
) -> io::Result<()> {
    let mut input = Named { input: Input::open(path)?, path };
    let position = input.input.position();
    let (start, source) = recognize(&mut input, Source::Auto)?;
    let mut texts = Texts::new(Cursor::new(start).chain(input));
    if source == Source::Otlp {
        // The folder of the file need not be one to write into.
        let room = Room::new(&std::env::temp_dir());
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
                Err(error) => Err(not_utf8(error)),
            };
            if !each(recorded) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// [`for_each_trace`], traces that links connect joined ([`Method::join_linked`]).
pub fn for_each_joined_trace(
    path: &Path,
    part: &str,
    mut each: impl FnMut(Result<Recorded<'_>, Rejected>) -> bool,
) -> io::Result<()> {
    let Some(linked) = Linked::of_file(path, Source::Auto, default_jobs(), &std::env::temp_dir(), &|_| {})?
    else {
        return for_each_trace(path, part, each);
    };
    let mut groups = linked.groups(open_texts(path)?.0)?;
    let mut documents = Documents::default();
    while let Some(group) = groups.next()? {
        if memchr::memmem::find(&group.text, part.as_bytes()).is_none() {
            continue;
        }
        let recorded = group.join(&mut documents).map(|mut recorded| {
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
pub(super) fn open_texts(path: &Path) -> io::Result<(Texts<Named<'_>>, Position)> {
    let input = Input::open(path)?;
    let position = input.position();
    Ok((Texts::new(Named { input, path }), position))
}

/// Which tables of the valid traces are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// trace_breakdown.csv
    pub csv: bool,
    /// trace_breakdown.parquet
    #[cfg(feature = "parquet")]
    pub parquet: bool,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            csv: true,
            #[cfg(feature = "parquet")]
            parquet: false,
        }
    }
}

/// Where [`analyze_file`] writes, each defaulting to the dataset's name beside the input, and how.
#[derive(Default)]
pub struct Options<'a> {
    pub breakdown: Option<PathBuf>,
    #[cfg(feature = "parquet")]
    pub parquet: Option<PathBuf>,
    pub invalid: Option<PathBuf>,
    pub tables: Tables,
    /// Threads [default: one per processor].
    pub jobs: Option<NonZeroUsize>,
    /// Told how many bytes of input are done, compressed as they lie in the file.
    pub progress: Option<&'a dyn Fn(u64)>,
    /// How traces are read and explained.
    pub method: Method,
}

/// Analyses a file, compressed or not, into trace_breakdown.csv and invalid_traces.csv beside it, or into Parquet.
/// Each is complete or absent: it is written under another name first.
pub fn analyze_file(path: &Path, options: &Options<'_>) -> io::Result<Summary> {
    let input = Input::open(path)?;
    let create = |wanted: bool, given: &Option<PathBuf>, name| {
        let target = given.clone().unwrap_or_else(|| path.with_file_name(name));
        wanted.then(|| Replacement::create(&target)).transpose()
    };
    let breakdown = create(options.tables.csv, &options.breakdown, "trace_breakdown.csv")?;
    #[cfg(feature = "parquet")]
    let columns = create(options.tables.parquet, &options.parquet, "trace_breakdown.parquet")?;
    #[cfg(not(feature = "parquet"))]
    let columns = None::<Replacement>;
    let invalid = create(true, &options.invalid, "invalid_traces.csv")?;
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
    let linked = if method.join_linked {
        // Read twice: half of the work.
        let folder = path.parent().unwrap_or(Path::new(""));
        Linked::of_file(path, method.source, jobs, folder, &|bytes| progress(bytes / 2))?
    } else {
        None
    };
    let summary = if let Some(linked) = linked {
        let (texts, position) = open_texts(path)?;
        let length = std::fs::metadata(path)?.len();
        let progress = |bytes| progress(u64::midpoint(length, bytes));
        run_linked(&linked, texts, &position, jobs, method, writer, &progress)?
    } else {
        let position = input.position();
        let room = Room::beside(path);
        run_any(Named { input, path }, &position, jobs, method, room, writer, progress)?
    };
    Replacement::finish_all([breakdown, columns, invalid].into_iter().flatten())?;
    Ok(summary)
}

fn default_jobs() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// The outputs.
struct Writer<R, T: Write + Send, I> {
    rows: Option<R>,
    table: Option<Table<T>>,
    invalid: I,
}

impl<R: Write, T: Write + Send, I: Write> Writer<R, T, I> {
    fn tables(&self) -> Tables {
        Tables {
            csv: self.rows.is_some(),
            #[cfg(feature = "parquet")]
            parquet: self.table.is_some(),
        }
    }

    fn start(&mut self, method: &Method) -> io::Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.write_all(method.header().as_bytes())?;
        }
        self.invalid.write_all(INVALID_HEADER.as_bytes())
    }

    fn add(&mut self, results: Results) -> io::Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.write_all(results.breakdown.as_bytes())?;
        }
        if let Some(table) = &mut self.table {
            table.add(results.rows)?;
        }
        self.invalid.write_all(results.invalid.as_bytes())
    }

    fn finish(mut self) -> io::Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.flush()?;
        }
        if let Some(table) = self.table {
            table.finish()?;
        }
        self.invalid.flush()
    }
}

/// What is made of each chunk.
#[derive(Clone, Copy)]
struct Task<'a> {
    method: &'a Method,
    tables: Tables,
}

/// What one chunk comes to.
#[derive(Default)]
struct Results {
    tables: Tables,
    breakdown: String,
    rows: Vec<Entry>,
    invalid: String,
    summary: Summary,
    /// Bytes of the input read when the chunk was complete.
    position: u64,
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
) -> io::Result<Summary> {
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

/// Reads enough of an input to tell what wrote it.
pub(super) fn recognize(input: &mut impl Read, source: Source) -> io::Result<(Vec<u8>, Source)> {
    const ENOUGH: u64 = 1 << 20;
    let mut start = Vec::new();
    input.take(ENOUGH).read_to_end(&mut start)?;
    let source = source.resolve(start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start));
    Ok((start, source))
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
) -> io::Result<Summary> {
    let task = Task { method, tables: writer.tables() };
    let mut summary = Summary::default();
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
    summary: &mut Summary,
    writer: &mut Writer<R, T, I>,
    progress: &dyn Fn(u64),
) -> io::Result<()> {
    summary.add(std::mem::take(&mut results.summary));
    let position = results.position;
    writer.add(results)?;
    progress(position);
    Ok(())
}

/// [`gather`] for those who wait for nothing else.
pub(super) fn gather_export(texts: Texts<impl Read + Send>, room: Room) -> io::Result<Gathered> {
    gather(texts, default_jobs(), room, &Position::default(), &|_| {})
}

/// Gathers the spans of an OpenTelemetry export, in whichever of its documents they are.
fn gather(
    texts: Texts<impl Read + Send>,
    jobs: NonZeroUsize,
    room: Room,
    position: &Position,
    progress: &dyn Fn(u64),
) -> io::Result<Gathered> {
    let mut gathering = Gathering::new(room);
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
        gather_long(long, &mut gathering)?;
        progress(position.bytes());
    }
    gathering.finish()
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

/// Analyses what was gathered, in the order of the traces' ids.
fn run_gathered<R: Write, T: Write + Send, I: Write>(
    gathered: &Gathered,
    position: &Position,
    jobs: NonZeroUsize,
    method: &Method,
    writer: Writer<R, T, I>,
    progress: &dyn Fn(u64),
) -> io::Result<Summary> {
    let mut groups = gathered.groups()?;
    let next = || Ok(groups.next()?.map(|group| (group.bytes(), group)));
    let work = |group: Group, _: &mut Documents, results: &mut Results| {
        let outcome = group.finish()?;
        results.explain(method, outcome);
        Ok(())
    };
    run_groups(next, work, position, jobs, method, writer, progress)
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
) -> io::Result<Summary> {
    let mut groups = linked.groups(texts)?;
    let next = || Ok(groups.next()?.map(|group| (group.bytes(), group)));
    let method = &Method { source: Source::Xray, ..method.clone() };
    let work = |group: linked::Group, documents: &mut Documents, results: &mut Results| {
        if group.has_parts() {
            results.explain(method, group.join(documents));
        } else {
            add_result(method, &group.text, group.is_cut, group.number, documents, results);
        }
        Ok(())
    };
    run_groups(next, work, position, jobs, method, writer, progress)
}

/// Analyses what `next` gives, each with its bytes, by `work`.
fn run_groups<G: Send, R: Write, T: Write + Send, I: Write>(
    mut next: impl FnMut() -> io::Result<Option<(usize, G)>> + Send,
    work: impl Fn(G, &mut Documents, &mut Results) -> io::Result<()> + Sync,
    position: &Position,
    jobs: NonZeroUsize,
    method: &Method,
    mut writer: Writer<R, T, I>,
    progress: &dyn Fn(u64),
) -> io::Result<Summary> {
    let tables = writer.tables();
    let mut summary = Summary::default();
    writer.start(method)?;
    in_order(
        jobs,
        |(batch, _): &mut (Vec<G>, Documents)| {
            let mut bytes = 0;
            while bytes < CHUNK {
                let Some((length, group)) = next()? else { break };
                bytes += length;
                batch.push(group);
            }
            Ok(!batch.is_empty())
        },
        |(batch, documents)| {
            let mut results = Results { tables, position: position.bytes(), ..Results::default() };
            batch.drain(..).try_for_each(|group| work(group, documents, &mut results))?;
            Ok(results)
        },
        &mut |results: io::Result<Results>| add_results(results?, &mut summary, &mut writer, progress),
    )?;
    writer.finish()?;
    Ok(summary)
}

fn analyze_chunk(chunk: &Chunk, task: Task<'_>, position: u64, documents: &mut Documents) -> Results {
    let mut results = Results { tables: task.tables, position, ..Results::default() };
    if task.tables.csv {
        results.breakdown.reserve(ROWS);
    }
    let count = chunk.texts().len();
    for (place, text) in chunk.texts().enumerate() {
        let is_cut = chunk.is_cut && place + 1 == count;
        add_result(task.method, text, is_cut, chunk.first + place as u64, documents, &mut results);
    }
    results
}

/// Analyses one text, the `number`th of the file; an empty one is passed over.
fn add_result(
    method: &Method,
    text: &[u8],
    is_cut: bool,
    number: u64,
    documents: &mut Documents,
    results: &mut Results,
) {
    if text.is_empty() {
        return;
    }
    let outcome = match std::str::from_utf8(text) {
        _ if is_cut => Err(too_long(text, documents)),
        Ok(text) => method.analyze_with(text, documents, |analysis| results.add(method, analysis)),
        Err(error) => Err(not_utf8(error)),
    };
    match outcome {
        Ok(()) => {}
        Err(Rejected { id: None, reason: Invalid::Malformed { detail } }) => {
            let detail = format!("number {number} of the file: {detail}");
            results.add_invalid(&Rejected { id: None, reason: Invalid::Malformed { detail } });
        }
        Err(other) => results.add_invalid(&other),
    }
}

pub(super) fn not_utf8(error: std::str::Utf8Error) -> Rejected {
    Rejected { id: None, reason: Invalid::Malformed { detail: error.to_string() } }
}

impl Results {
    fn explain(&mut self, method: &Method, recorded: Result<Recorded<'_>, Rejected>) {
        let explained = recorded
            .and_then(|recorded| method.explain_with(recorded, |analysis| self.add(method, analysis)));
        if let Err(rejected) = explained {
            self.add_invalid(&rejected);
        }
    }

    fn add(&mut self, method: &Method, analysis: Analysis<&str>) {
        self.summary.valid += 1;
        self.summary.repaired += u64::from(analysis.repaired.is_some());
        self.summary.by_paper_rule += u64::from(analysis.rule == Rule::Paper);
        if self.tables.csv {
            method.write_row(&analysis, &mut self.breakdown);
        }
        #[cfg(feature = "parquet")]
        if self.tables.parquet {
            self.rows.push(Entry { row: analysis.row.into_owned(), repaired: analysis.repaired });
        }
    }

    fn add_invalid(&mut self, Rejected { id, reason }: &Rejected) {
        write_invalid(&mut self.invalid, id.as_deref().unwrap_or_default(), reason);
        self.summary.invalid += 1;
        *self.summary.reasons.entry(reason.code()).or_default() += 1;
    }
}

/// The start of a trace that is longer than the limit. Its id may be found there.
fn too_long(start: &[u8], documents: &mut Documents) -> Rejected {
    let valid = std::str::from_utf8(start)
        .unwrap_or_else(|error| std::str::from_utf8(&start[..error.valid_up_to()]).unwrap_or_default());
    let id = xray::read(valid, documents).err().and_then(|rejected| rejected.id);
    Rejected { id, reason: longer_than_the_limit() }
}

pub(super) fn longer_than_the_limit() -> Invalid {
    Invalid::Malformed { detail: format!("it is longer than {LONGEST} bytes") }
}
