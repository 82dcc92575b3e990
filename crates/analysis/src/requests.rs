//! Which type of request each trace belongs to, and whether that failed.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek};
use std::sync::Arc;

use sb_measurement::{InvocationReader, MeasurementError, sent_id};

use crate::span::Trace;

/// Request types by trace id.
#[derive(Clone, Debug, Default)]
pub struct Requests(HashMap<String, Known>);

#[derive(Clone, Debug)]
struct Known {
    name: Arc<str>,
    failed: bool,
}

impl Requests {
    /// Reads an `invocations.csv`.
    pub(crate) fn read(invocations: impl Read + Seek) -> Result<Self, MeasurementError> {
        let mut names: HashSet<Arc<str>> = HashSet::new();
        let mut by_trace = HashMap::new();
        for row in InvocationReader::new(invocations)? {
            let row = row?;
            let name = match names.get(row.request.as_str()) {
                Some(name) => name.clone(),
                None => {
                    let name: Arc<str> = row.request.into();
                    names.insert(name.clone());
                    name
                }
            };
            if !row.trace_id.is_empty() {
                by_trace.insert(row.trace_id, Known { name, failed: row.outcome.is_failure() });
            }
        }
        Ok(Self(by_trace))
    }

    /// The type of the request that a trace belongs to; `None` where no invocation is known of it.
    pub fn get(&self, trace_id: &str) -> Option<&str> {
        self.0.get(&*sent_id(trace_id)).map(|known| &*known.name)
    }

    /// Whether the invocation of a trace failed. Where none is known of it, what its first span says.
    pub fn failed(&self, trace: &Trace<'_>) -> bool {
        let known = self.0.get(&*sent_id(&trace.id)).map(|known| known.failed);
        known.unwrap_or_else(|| {
            let flags = trace.span(trace.root()).flags;
            flags.error || flags.fault || flags.throttle
        })
    }
}
