//! Analyses a file of traces: rows for those that are valid, reasons for those that are not.
//!
//! The input is read in bounded batches of whole lines, the lines of a batch are analysed in parallel, and the
//! results are written in the order of the lines.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::breakdown::Analysis;
use super::critical_path::Rule;
use super::invalid::Invalid;
use super::method::Method;
use super::otlp;
use super::row::{INVALID_HEADER, write_invalid};
use super::source::Source;
use super::xray::{self, Documents, Rejected};

/// Bytes of input that are held at a time, a longer line apart.
const BATCH: u64 = 16 << 20;

/// Lines that one thread takes at a time.
const LINES_PER_TASK: usize = 64;

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
    input: impl BufRead,
    breakdown: impl Write,
    invalid: impl Write,
    progress: &dyn Fn(u64),
) -> io::Result<Summary> {
    analyze_by(&Method::default(), BATCH, input, breakdown, invalid, progress)
}

#[cfg(test)]
pub(super) fn analyze_in_batches(
    batch_size: u64,
    input: impl BufRead,
    breakdown: impl Write,
    invalid: impl Write,
    progress: &dyn Fn(u64),
) -> io::Result<Summary> {
    analyze_by(&Method::default(), batch_size, input, breakdown, invalid, progress)
}

/// Like [`analyze`], as `method` says; `batch_size` is in bytes.
pub(super) fn analyze_by(
    method: &Method,
    batch_size: u64,
    mut input: impl BufRead,
    mut breakdown: impl Write,
    mut invalid: impl Write,
    progress: &dyn Fn(u64),
) -> io::Result<Summary> {
    let mut method = method.clone();
    breakdown.write_all(method.header().as_bytes())?;
    invalid.write_all(INVALID_HEADER.as_bytes())?;
    let mut summary = Summary::default();
    let mut batch = Vec::new();
    let mut bytes = 0;
    let mut lines = 0;
    while read_batch(batch_size, &mut input, &mut batch)? {
        if bytes == 0 {
            strip_byte_order_mark(&mut batch);
            method.source = method.source.resolve(&batch);
            if method.source == Source::Otlp {
                input.read_to_end(&mut batch)?;
                write_export(&method, &batch, &mut breakdown, &mut invalid, &mut summary)?;
                progress(batch.len() as u64);
                break;
            }
            if is_spread_over_lines(&batch) {
                input.read_to_end(&mut batch)?;
                let texts = split_values(&batch);
                write_results(&method, &texts, 0, &mut breakdown, &mut invalid, &mut summary)?;
                progress(batch.len() as u64);
                break;
            }
        }
        let texts = split_lines(&batch);
        write_results(&method, &texts, lines, &mut breakdown, &mut invalid, &mut summary)?;
        lines += texts.len() as u64;
        bytes += batch.len() as u64;
        progress(bytes);
    }
    breakdown.flush()?;
    invalid.flush()?;
    Ok(summary)
}

/// Analyses one trace; for other features than the files, too.
pub fn analyze_text(text: &str) -> Result<Analysis, Rejected> {
    Method::default().analyze_text(text)
}

/// Where [`analyze_file`] writes; each defaults to the dataset's name beside the input.
#[derive(Default)]
pub struct Options<'a> {
    pub breakdown: Option<PathBuf>,
    pub invalid: Option<PathBuf>,
    /// Told how many bytes of input are done.
    pub progress: Option<&'a dyn Fn(u64)>,
    /// How traces are read and explained.
    pub method: Method,
}

/// Analyses a file into `trace_breakdown.csv` and `invalid_traces.csv` beside it. Each is complete or absent: it is
/// written under another name first.
pub fn analyze_file(path: &Path, options: &Options<'_>) -> io::Result<Summary> {
    let input = File::open(path).map_err(|error| with_path(&error, "read", path))?;
    let input = BufReader::with_capacity(1 << 20, input);
    let target = |given: &Option<PathBuf>, name| given.clone().unwrap_or_else(|| path.with_file_name(name));
    let breakdown = Replacement::create(target(&options.breakdown, "trace_breakdown.csv"))?;
    let invalid = Replacement::create(target(&options.invalid, "invalid_traces.csv"))?;
    let progress = options.progress.unwrap_or(&|_| {});
    let summary = analyze_by(&options.method, BATCH, input, &breakdown.file, &invalid.file, progress)?;
    breakdown.finish()?;
    invalid.finish()?;
    Ok(summary)
}

/// The same kind of error, with the path that it is about.
pub(super) fn with_path(error: &io::Error, verb: &str, path: &Path) -> io::Error {
    io::Error::new(
        error.kind(),
        format!("cannot {verb} `{}` ({error}); check the path and its permissions", path.display()),
    )
}

/// Reads whole lines, about `size` bytes of them; false at the end of the input.
fn read_batch(size: u64, input: &mut impl BufRead, batch: &mut Vec<u8>) -> io::Result<bool> {
    batch.clear();
    input.by_ref().take(size).read_to_end(batch)?;
    if batch.last().is_some_and(|&byte| byte != b'\n') {
        input.read_until(b'\n', batch)?;
    }
    Ok(!batch.is_empty())
}

fn split_lines(batch: &[u8]) -> Vec<&[u8]> {
    let mut from = 0;
    let ends = memchr::memchr_iter(b'\n', batch).chain((batch.last() != Some(&b'\n')).then_some(batch.len()));
    ends.map(|end| &batch[std::mem::replace(&mut from, end + 1)..end]).collect()
}

fn strip_byte_order_mark(batch: &mut Vec<u8>) {
    if batch.starts_with(b"\xef\xbb\xbf") {
        batch.drain(..3);
    }
}

/// Is this a file whose traces are printed over several lines? Then the first line ends within a value, and the
/// second does not start one. (A damaged first line of an ordinary file is followed by an ordinary line.)
fn is_spread_over_lines(batch: &[u8]) -> bool {
    let mut lines =
        batch.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let Some(first) = lines.next().filter(|line| line.starts_with(b"{")) else { return false };
    let is_complete = std::str::from_utf8(first).is_ok_and(|text| xray::value_length(text).is_some());
    !is_complete && lines.next().is_some_and(|second| !second.starts_with(b"{"))
}

/// The values of a file whose traces are spread over lines. After a damaged one, the next is expected where a line
/// starts with a brace.
fn split_values(text: &[u8]) -> Vec<&[u8]> {
    let mut rest = text.trim_ascii();
    let mut values = Vec::new();
    while !rest.is_empty() {
        let whole = std::str::from_utf8(rest).ok().and_then(xray::value_length);
        let length = whole.unwrap_or_else(|| {
            rest.windows(2).position(|pair| pair == b"\n{").map_or(rest.len(), |line_end| line_end + 1)
        });
        let (value, after) = rest.split_at(length);
        values.push(value);
        rest = after.trim_ascii_start();
    }
    values
}

/// What one task makes of its lines.
#[derive(Default)]
struct Results {
    breakdown: String,
    invalid: String,
    summary: Summary,
}

/// Analyses the texts in parallel and writes the results in order. `before` texts were analysed already.
fn write_results(
    method: &Method,
    texts: &[&[u8]],
    before: u64,
    breakdown: &mut impl Write,
    invalid: &mut impl Write,
    summary: &mut Summary,
) -> io::Result<()> {
    let results: Vec<Results> = texts
        .par_chunks(LINES_PER_TASK)
        .enumerate()
        .map_init(Documents::default, |documents, (chunk, texts)| {
            let mut results = Results::default();
            for (place, text) in texts.iter().enumerate() {
                let number = before + (chunk * LINES_PER_TASK + place) as u64 + 1;
                add_result(method, text.trim_ascii(), number, documents, &mut results);
            }
            results
        })
        .collect();
    write_in_order(results, breakdown, invalid, summary)
}

/// Analyses an export whose traces may be spread over documents.
fn write_export(
    method: &Method,
    text: &[u8],
    breakdown: &mut impl Write,
    invalid: &mut impl Write,
    summary: &mut Summary,
) -> io::Result<()> {
    let results: Vec<Results> = otlp::read(&String::from_utf8_lossy(text))
        .into_par_iter()
        .map(|recorded| {
            let mut results = Results::default();
            add_outcome(recorded.and_then(|recorded| method.explain(recorded)), method, &mut results);
            results
        })
        .collect();
    write_in_order(results, breakdown, invalid, summary)
}

fn write_in_order(
    results: Vec<Results>,
    breakdown: &mut impl Write,
    invalid: &mut impl Write,
    summary: &mut Summary,
) -> io::Result<()> {
    for result in results {
        breakdown.write_all(result.breakdown.as_bytes())?;
        invalid.write_all(result.invalid.as_bytes())?;
        summary.add(result.summary);
    }
    Ok(())
}

/// Analyses one text, the `number`th of the file; an empty one is passed over.
fn add_result(method: &Method, text: &[u8], number: u64, documents: &mut Documents, results: &mut Results) {
    if text.is_empty() {
        return;
    }
    let outcome = match std::str::from_utf8(text) {
        Ok(text) => method.analyze_with(text, documents),
        Err(error) => Err(Rejected { id: None, reason: Invalid::Malformed { detail: error.to_string() } }),
    };
    let numbered = outcome.map_err(|rejected| match rejected {
        Rejected { id: None, reason: Invalid::Malformed { detail } } => {
            let detail = format!("number {number} of the file: {detail}");
            Rejected { id: None, reason: Invalid::Malformed { detail } }
        }
        other => other,
    });
    add_outcome(numbered, method, results);
}

fn add_outcome(outcome: Result<Analysis, Rejected>, method: &Method, results: &mut Results) {
    let summary = &mut results.summary;
    match outcome {
        Ok(analysis) => {
            method.write_row(&analysis, &mut results.breakdown);
            summary.valid += 1;
            summary.repaired += u64::from(analysis.repaired.is_some());
            summary.by_paper_rule += u64::from(analysis.rule == Rule::Paper);
        }
        Err(Rejected { id, reason }) => {
            write_invalid(&mut results.invalid, &id.unwrap_or_default(), &reason);
            summary.invalid += 1;
            *summary.reasons.entry(reason.code()).or_default() += 1;
        }
    }
}

/// A file that takes its place when it is complete, and leaves nothing behind otherwise.
pub(super) struct Replacement {
    pub(super) file: File,
    temporary: PathBuf,
    target: PathBuf,
    is_finished: bool,
}

impl Replacement {
    pub(super) fn create(target: PathBuf) -> io::Result<Self> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.partial", std::process::id()));
        let temporary = target.with_file_name(name);
        let file = File::create(&temporary).map_err(|error| with_path(&error, "write", &target))?;
        Ok(Self { file, temporary, target, is_finished: false })
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.temporary, &self.target))
            .map_err(|error| with_path(&error, "write", &self.target))?;
        self.is_finished = true;
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_finished {
            // Nothing better can be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
