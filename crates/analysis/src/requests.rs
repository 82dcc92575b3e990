//! Which type of request each trace belongs to.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek};
use std::sync::Arc;

use sb_measurement::{InvocationReader, MeasurementError, sent_id};

/// Request types by trace id.
#[derive(Clone, Debug, Default)]
pub struct Requests(HashMap<String, Arc<str>>);

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
                by_trace.insert(row.trace_id, name);
            }
        }
        Ok(Self(by_trace))
    }

    /// The type of the request that a trace belongs to; `None` where no invocation is known of it.
    pub fn get(&self, trace_id: &str) -> Option<&str> {
        self.0.get(&*sent_id(trace_id)).map(|name| &**name)
    }
}
