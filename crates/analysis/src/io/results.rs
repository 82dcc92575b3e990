//! What an analysis writes: rows of valid traces, reasons of invalid ones, and how many there are of each.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::split::Chunk;
use crate::columnar::{Entry, Table};
use crate::invalid::{Invalid, Rejected};
use crate::method::Method;
use crate::path::breakdown::Analysis;
use crate::path::critical_path::Rule;
use crate::read::xray::{self, Documents};
use crate::row::{INVALID_HEADER, write_invalid};
use crate::span::Recorded;

/// Bytes that are reserved for the rows of a chunk: most chunks have fewer.
const ROWS: usize = 1 << 16;

/// How an analysis of a file ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnalysisSummary {
    /// Traces with a row in the breakdown.
    pub valid: u64,
    /// Traces without one.
    pub invalid: u64,
    /// Invalid traces per [`Invalid::code`].
    pub reasons: BTreeMap<&'static str, u64>,
    /// Valid traces that only the paper's rule explains ([`Rule::Paper`]).
    pub by_paper_rule: u64,
    /// Valid traces in which the study's algorithm has another path or other times ([`Analysis::differs_from_study`]).
    pub differs_from_study: u64,
    /// Valid traces that were invalid before they were repaired.
    pub repaired: u64,
}

impl AnalysisSummary {
    pub(super) fn add(&mut self, other: Self) {
        self.valid += other.valid;
        self.invalid += other.invalid;
        self.by_paper_rule += other.by_paper_rule;
        self.differs_from_study += other.differs_from_study;
        self.repaired += other.repaired;
        for (code, count) in other.reasons {
            *self.reasons.entry(code).or_default() += count;
        }
    }
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

/// The outputs.
pub(super) struct Writer<R, T: Write + Send, I> {
    pub(super) rows: Option<R>,
    pub(super) table: Option<Table<T>>,
    pub(super) invalid: I,
}

impl<R: Write, T: Write + Send, I: Write> Writer<R, T, I> {
    pub(super) fn tables(&self) -> Tables {
        Tables {
            csv: self.rows.is_some(),
            #[cfg(feature = "parquet")]
            parquet: self.table.is_some(),
        }
    }

    pub(super) fn start(&mut self, method: &Method) -> io::Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.write_all(method.header().as_bytes())?;
        }
        self.invalid.write_all(INVALID_HEADER.as_bytes())
    }

    pub(super) fn add(&mut self, results: Results) -> io::Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.write_all(results.breakdown.as_bytes())?;
        }
        if let Some(table) = &mut self.table {
            table.add(results.rows)?;
        }
        self.invalid.write_all(results.invalid.as_bytes())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
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
pub(super) struct Task<'a> {
    pub(super) method: &'a Method,
    pub(super) tables: Tables,
}

/// The results of one chunk.
#[derive(Default)]
pub(super) struct Results {
    tables: Tables,
    breakdown: String,
    rows: Vec<Entry>,
    invalid: String,
    pub(super) summary: AnalysisSummary,
    /// Bytes of the input read when the chunk was complete.
    pub(super) position: u64,
}

impl Results {
    pub(super) fn new(tables: Tables, position: u64) -> Self {
        Self { tables, position, ..Self::default() }
    }

    pub(super) fn explain(&mut self, method: &Method, recorded: Result<Recorded<'_>, Rejected>) {
        let explained = recorded
            .and_then(|recorded| method.explain_with(recorded, |analysis| self.add(method, analysis)));
        if let Err(rejected) = explained {
            self.add_invalid(&rejected);
        }
    }

    fn add(&mut self, method: &Method, analysis: Analysis<&str>) {
        self.summary.valid += 1;
        self.summary.repaired += u64::from(analysis.repaired.is_some());
        self.summary.by_paper_rule += u64::from(analysis.rule == Some(Rule::Paper));
        self.summary.differs_from_study += u64::from(analysis.differs_from_study);
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

pub(super) fn analyze_chunk(
    chunk: &Chunk,
    task: Task<'_>,
    position: u64,
    documents: &mut Documents,
) -> Results {
    let mut results = Results::new(task.tables, position);
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
pub(super) fn add_result(
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
        Err(error) => Err(Rejected::not_utf8(error)),
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

/// The start of a trace that is longer than the limit. Its id may be found there.
fn too_long(start: &[u8], documents: &mut Documents) -> Rejected {
    Rejected { id: xray::id_in_start(start, documents), reason: Invalid::longer_than_the_limit() }
}
