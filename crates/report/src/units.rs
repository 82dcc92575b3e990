//! Traces by application and request type, and their cold-start status.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use sb_analysis::ColdState;

use crate::execution::{Execution, Traces};
use sb_measurement::STUDY_APPLICATIONS;

/// Whether the functions on a trace's path had to start. Where the trace itself is not there, the one of its type with the most cold
/// starts says how many functions may be on the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// All of them.
    Cold,
    /// Some of them.
    Partial,
    /// None.
    Warm,
}

impl Status {
    /// All, in alphabetical order.
    pub const ALL: [Self; 3] = [Self::Cold, Self::Partial, Self::Warm];

    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Partial => "partial",
            Self::Warm => "warm",
        }
    }
}

/// The status of a trace by its cold starts, where the trace of its type with the most has `most`.
pub(crate) fn status_of(cold_starts: u32, most: u32) -> Status {
    match cold_starts {
        0 => Status::Warm,
        count if count == most => Status::Cold,
        _ => Status::Partial,
    }
}

/// The traces of one application and request type.
pub(crate) struct Unit<'d> {
    pub(crate) application: Arc<str>,
    pub(crate) request_type: Arc<str>,
    pub(crate) parts: Vec<UnitPart<'d>>,
    /// Cold starts of the trace with the most.
    most: u32,
}

/// Those of one execution.
pub(crate) struct UnitPart<'d> {
    pub(crate) execution: &'d Execution,
    pub(crate) traces: &'d Traces,
    /// The places of the traces; one that counts twice is there twice.
    pub(crate) rows: Vec<u32>,
}

/// The units of some executions. `keep` decides on single traces. In the order of the study's applications, then of the types.
pub(crate) fn units<'d>(executions: &[&'d Execution], keep: impl Fn(&Traces, u32) -> bool) -> Vec<Unit<'d>> {
    let mut all: BTreeMap<(usize, Arc<str>, Arc<str>), Vec<UnitPart<'d>>> = BTreeMap::new();
    for execution in executions {
        let Some(traces) = &execution.traces else { continue };
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); execution.types.len()];
        for (row, kind) in traces.places() {
            if keep(traces, row)
                && let Some(rows) = rows.get_mut(kind as usize)
            {
                rows.push(row);
            }
        }
        let known = STUDY_APPLICATIONS.iter().position(|name| **name == *execution.application);
        for (kind, rows) in execution.types.iter().zip(rows) {
            if !rows.is_empty() {
                let key =
                    (known.unwrap_or(STUDY_APPLICATIONS.len()), execution.application.clone(), kind.clone());
                all.entry(key).or_default().push(UnitPart { execution, traces, rows });
            }
        }
    }
    let units = all.into_iter().map(|((_, application, request_type), parts)| {
        let cold_starts = |part: &UnitPart<'_>| part.rows.iter().map(|row| part.cold_starts(*row)).max();
        let most = parts.iter().filter_map(cold_starts).max().unwrap_or_default();
        Unit { application, request_type, parts, most }
    });
    units.collect()
}

impl UnitPart<'_> {
    /// Functions on the path; `None`: it is not known.
    fn functions(&self, row: u32) -> Option<u32> {
        self.traces.functions.get(row as usize).copied().filter(|count| *count > 0)
    }

    fn cold_starts(&self, row: u32) -> u32 {
        self.traces.cold_starts.get(row as usize).copied().unwrap_or_default()
    }

    /// How long a trace lasted, in microseconds.
    pub(crate) fn duration(&self, row: u32) -> i64 {
        self.traces.durations.get(row as usize)
    }
}

impl Unit<'_> {
    pub(crate) fn status(&self, part: &UnitPart<'_>, row: u32) -> Status {
        let cold_starts = part.cold_starts(row);
        match part.functions(row) {
            None => status_of(cold_starts, self.most),
            Some(functions) => match ColdState::of_counts(cold_starts.into(), functions.into()) {
                ColdState::Cold => Status::Cold,
                ColdState::Partial => Status::Partial,
                ColdState::Warm => Status::Warm,
            },
        }
    }

    /// The rows of each part that have a status.
    pub(crate) fn with_status(&self, status: Status) -> Vec<(&UnitPart<'_>, Vec<u32>)> {
        let parts = self.parts.iter().map(|part| {
            let rows = part.rows.iter().copied().filter(|row| self.status(part, *row) == status);
            (part, rows.collect())
        });
        parts.collect()
    }

    /// Where one trace alone has the most cold starts, or one in a hundred of those that started cold, the others count as
    /// partial: a retry may have started a function twice. Returns how many are cold and partial then. Traces that are there
    /// themselves do not count: they say how many functions are on their paths.
    pub(crate) fn few_cold(&self) -> Option<FewCold> {
        let (mut cold, mut partial) = (0, 0);
        for part in &self.parts {
            for row in part.rows.iter().filter(|row| part.functions(**row).is_none()) {
                match self.status(part, *row) {
                    Status::Cold => cold += 1,
                    Status::Partial => partial += 1,
                    Status::Warm => {}
                }
            }
        }
        let is_few = cold <= 1 || cold * 100 <= cold + partial;
        (partial > 0 && is_few).then_some(FewCold { cold, partial, most: self.most })
    }
}

/// How few traces decide on what is cold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FewCold {
    /// Traces with the most cold starts.
    pub(crate) cold: usize,
    /// Traces with fewer, but at least one.
    pub(crate) partial: usize,
    /// Cold starts of the trace with the most.
    pub(crate) most: u32,
}
