//! Analyses files of traces: rows for those that are valid, reasons for those that are not.
//!
//! The input is read in bounded chunks of whole traces; threads take one chunk after the other, and the results are
//! written in the order of the input. Memory depends on the number of threads and the longest trace
//! (at most [`LONGEST`] bytes), not on the size of the file.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::breakdown::Analysis;
use super::columnar::{Entry, Table};
use super::critical_path::Rule;
use super::input::{Input, Position, with_path};
use super::invalid::Invalid;
use super::method::Method;
use super::otlp;
use super::output::Replacement;
use super::requests::Requests;
use super::row::{INVALID_HEADER, write_invalid};
use super::source::Source;
use super::span::Trace;
use super::split::{Chunk, Texts};
use super::xray::{self, Documents, Rejected};

pub use super::split::LONGEST;

/// Chunks per thread that may wait for an earlier one to be written.
const AHEAD: u64 = 4;

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
    let writer = Writer {
        rows: Some(breakdown),
        table: None::<Table<io::Sink>>,
        requests: Requests::default(),
        invalid,
    };
    run_any(input, &position, default_jobs(), method, writer, progress)
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
    let writer = Writer {
        rows: Some(breakdown),
        table: None::<Table<io::Sink>>,
        requests: Requests::default(),
        invalid,
    };
    let jobs = NonZeroUsize::new(jobs).unwrap_or(NonZeroUsize::MIN);
    run(texts, &Position::default(), jobs, &Method::default(), writer, &|_| {})
}

/// Analyses one trace; for other features than the files, too.
pub fn analyze_text(text: &str) -> Result<Analysis, Rejected> {
    Method::default().analyze_text(text)
}

/// Shows the spans of one trace, and what the analysis makes of them, to `view`.
///
/// # Errors
/// Where the text is no tree of spans. A tree that cannot be explained is shown with the reason.
pub fn view_text<T>(
    text: &str,
    view: impl FnOnce(&Trace<'_>, Result<Analysis, Invalid>) -> T,
) -> Result<T, Rejected> {
    let mut documents = Documents::default();
    let method = Method::default();
    let recorded = method.record(text, &mut documents)?;
    let id = recorded.id.to_string();
    let trace = recorded.join().map_err(|reason| Rejected { id: Some(id), reason })?;
    let analysis = method.explain_trace(&trace);
    Ok(view(&trace, analysis))
}

/// The id of a trace; none where the text is damaged before it.
pub fn id_of(text: &str) -> Option<String> {
    match Method::default().record(text, &mut Documents::default()) {
        Ok(recorded) => Some(recorded.id.into_owned()),
        Err(rejected) => rejected.id,
    }
}

/// Calls `each` for the traces of a file, one after the other and with their texts, until it says to stop (false).
pub fn for_each_text(path: &Path, mut each: impl FnMut(&str) -> bool) -> io::Result<()> {
    let unreadable = |error| with_path(&error, "read", path);
    let mut texts = Texts::new(Input::open(path)?);
    let mut chunk = Chunk::default();
    while texts.read(&mut chunk).map_err(unreadable)? {
        for text in chunk.texts().filter_map(|text| std::str::from_utf8(text).ok()) {
            if !text.is_empty() && !each(text) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Which tables of the valid traces are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// trace_breakdown.csv
    pub csv: bool,
    /// trace_breakdown.parquet
    pub parquet: bool,
}

impl Default for Tables {
    fn default() -> Self {
        Self { csv: true, parquet: false }
    }
}

/// Where [`analyze_file`] writes, each defaulting to the dataset's name beside the input, and how.
#[derive(Default)]
pub struct Options<'a> {
    pub breakdown: Option<PathBuf>,
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
        wanted.then(|| Replacement::create(target)).transpose()
    };
    let Tables { csv, parquet } = options.tables;
    let breakdown = create(csv, &options.breakdown, "trace_breakdown.csv")?;
    let table = create(parquet, &options.parquet, "trace_breakdown.parquet")?;
    let invalid = create(true, &options.invalid, "invalid_traces.csv")?;
    let requests = if parquet { Requests::beside(path)? } else { Requests::default() };
    let writer = Writer {
        rows: breakdown.as_ref(),
        table: table.as_ref().map(|file| Table::new(file, options.method.repair.is_some())).transpose()?,
        requests,
        invalid: invalid
            .as_ref()
            .map_or_else(|| Box::new(io::sink()) as Box<dyn Write>, |file| Box::new(file)),
    };
    let position = input.position();
    let jobs = options.jobs.unwrap_or_else(default_jobs);
    let input = Named { input, path };
    let progress = options.progress.unwrap_or(&|_| {});
    let summary = run_any(input, &position, jobs, &options.method, writer, progress)?;
    Replacement::finish_all([breakdown, table, invalid].into_iter().flatten().collect())?;
    Ok(summary)
}

fn default_jobs() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// An input whose errors name its path.
struct Named<'a> {
    input: Input,
    path: &'a Path,
}

impl Read for Named<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.input.read(out).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => with_path(&error, "read", self.path),
        })
    }
}

/// The outputs.
struct Writer<R, T: Write + Send, I> {
    rows: Option<R>,
    table: Option<Table<T>>,
    requests: Requests,
    invalid: I,
}

impl<R: Write, T: Write + Send, I: Write> Writer<R, T, I> {
    fn tables(&self) -> Tables {
        Tables { csv: self.rows.is_some(), parquet: self.table.is_some() }
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
            table.add(results.rows, &self.requests)?;
        }
        self.invalid.write_all(results.invalid.as_bytes())
    }

    fn finish(mut self) -> io::Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.flush()?;
        }
        if let Some(table) = self.table {
            table.finish(&self.requests)?;
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

/// Finds out what the input is, and analyses it: in bounded chunks, or, where the spans of a trace may be spread over
/// documents, as a whole.
fn run_any<R: Write, T: Write + Send, I: Write>(
    mut input: impl Read + Send,
    position: &Position,
    jobs: NonZeroUsize,
    method: &Method,
    mut writer: Writer<R, T, I>,
    progress: &dyn Fn(u64),
) -> io::Result<Summary> {
    const ENOUGH: u64 = 1 << 20;
    let mut start = Vec::new();
    input.by_ref().take(ENOUGH).read_to_end(&mut start)?;
    let source = method.source.resolve(start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&start));
    let method = Method { source, ..method.clone() };
    let mut input = Cursor::new(start).chain(input);
    if source != Source::Otlp {
        return run(Texts::new(input), position, jobs, &method, writer, progress);
    }
    let mut text = Vec::new();
    input.read_to_end(&mut text)?;
    let mut results = Results { tables: writer.tables(), position: position.bytes(), ..Results::default() };
    for recorded in otlp::read(&String::from_utf8_lossy(&text)) {
        let outcome = recorded
            .and_then(|recorded| method.explain_with(recorded, |analysis| results.add(&method, analysis)));
        if let Err(rejected) = outcome {
            results.add_invalid(&rejected);
        }
    }
    let summary = std::mem::take(&mut results.summary);
    writer.start(&method)?;
    writer.add(results)?;
    writer.finish()?;
    progress(position.bytes());
    Ok(summary)
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
    let mut add = |mut results: Results| {
        summary.add(std::mem::take(&mut results.summary));
        let position = results.position;
        writer.add(results)?;
        progress(position);
        io::Result::Ok(())
    };
    if jobs.get() == 1 {
        let (mut chunk, mut documents) = (Chunk::default(), Documents::default());
        while texts.read(&mut chunk)? {
            let position = position.bytes();
            add(analyze_chunk(&chunk, task, position, &mut documents))?;
        }
    } else {
        in_parallel(texts, position, jobs, task, &mut add)?;
    }
    writer.finish()?;
    Ok(summary)
}

/// Threads take chunks in turn; `add` gets the results in order, on this thread.
fn in_parallel(
    texts: Texts<impl Read + Send>,
    position: &Position,
    jobs: NonZeroUsize,
    task: Task<'_>,
    add: &mut dyn FnMut(Results) -> io::Result<()>,
) -> io::Result<()> {
    let queue = Queue {
        state: Mutex::new(State { texts, taken: 0, written: 0, is_over: false }),
        changed: Condvar::new(),
        ahead: AHEAD * jobs.get() as u64,
    };
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..jobs.get() {
            let (sender, queue) = (sender.clone(), &queue);
            scope.spawn(move || {
                // Also when the analysis panics: others must not wait for its chunk.
                let _end = EndOnDrop(queue);
                queue.work(position, task, &sender);
            });
        }
        drop(sender);
        let _end = EndOnDrop(&queue);
        write_in_order(&queue, &receiver, add)
    })
}

/// A chunk's number and what it comes to; an error of the input takes the place of a chunk.
type Numbered = (u64, io::Result<Results>);

fn write_in_order<R: Read>(
    queue: &Queue<R>,
    receiver: &Receiver<Numbered>,
    add: &mut dyn FnMut(Results) -> io::Result<()>,
) -> io::Result<()> {
    let mut early = BTreeMap::new();
    let mut next = 0;
    for (number, results) in receiver {
        early.insert(number, results);
        while let Some(results) = early.remove(&next) {
            add(results?)?;
            next += 1;
        }
        queue.lock().written = next;
        queue.changed.notify_all();
    }
    Ok(())
}

struct Queue<R> {
    state: Mutex<State<R>>,
    /// More was written, or all is over.
    changed: Condvar,
    ahead: u64,
}

struct State<R> {
    texts: Texts<R>,
    taken: u64,
    written: u64,
    is_over: bool,
}

impl<R: Read> Queue<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, position: &Position, task: Task<'_>, sender: &Sender<Numbered>) {
        let (mut chunk, mut documents) = (Chunk::default(), Documents::default());
        loop {
            let mut state = self.lock();
            while !state.is_over && state.taken >= state.written + self.ahead {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.is_over {
                return;
            }
            let found = state.texts.read(&mut chunk);
            let number = state.taken;
            state.taken += 1;
            state.is_over = !matches!(found, Ok(true));
            let position = position.bytes();
            drop(state);
            let results = match found {
                Ok(false) => return,
                Ok(true) => Ok(analyze_chunk(&chunk, task, position, &mut documents)),
                Err(error) => Err(error),
            };
            if sender.send((number, results)).is_err() {
                return;
            }
        }
    }
}

/// Ends the work of all threads when one of them can go on no more.
struct EndOnDrop<'a, R: Read>(&'a Queue<R>);

impl<R: Read> Drop for EndOnDrop<'_, R> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
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
        Err(error) => Err(Rejected { id: None, reason: Invalid::Malformed { detail: error.to_string() } }),
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

impl Results {
    fn add(&mut self, method: &Method, analysis: Analysis<&str>) {
        self.summary.valid += 1;
        self.summary.repaired += u64::from(analysis.repaired.is_some());
        self.summary.by_paper_rule += u64::from(analysis.rule == Rule::Paper);
        if self.tables.csv {
            method.write_row(&analysis, &mut self.breakdown);
        }
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
    Rejected { id, reason: Invalid::Malformed { detail: format!("it is longer than {LONGEST} bytes") } }
}
