//! Which type of request each trace belongs to: from the `invocations.csv` beside a file of traces.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::input::with_path;
use crate::measurement::{INVOCATIONS_FILE, InvocationReader};

/// Request types by trace id.
#[derive(Clone, Debug, Default)]
pub struct Requests(HashMap<String, Arc<str>>);

impl Requests {
    /// Reads the invocations beside a file of traces; knows nothing where there are none.
    pub fn beside(traces: &Path) -> io::Result<Self> {
        let path = traces.with_file_name(INVOCATIONS_FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(with_path(&error, "read", &path)),
        };
        let damaged = |error| with_path(&io::Error::new(io::ErrorKind::InvalidData, error), "read", &path);
        let mut names: HashSet<Arc<str>> = HashSet::new();
        let mut by_trace = HashMap::new();
        for row in InvocationReader::new(file).map_err(damaged)? {
            let row = row.map_err(damaged)?;
            let name = match names.get(row.request.as_str()) {
                Some(name) => name.clone(),
                None => {
                    let name: Arc<str> = row.request.into();
                    names.insert(name.clone());
                    name
                }
            };
            by_trace.insert(row.trace_id, name);
        }
        Ok(Self(by_trace))
    }

    pub fn get(&self, trace_id: &str) -> Option<&str> {
        self.0.get(trace_id).map(|name| &**name)
    }
}
