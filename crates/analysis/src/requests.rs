//! Which type of request each trace belongs to: from the `invocations.csv` beside a file of traces.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::input::with_path;
use sb_measurement::{INVOCATIONS_FILE, InvocationReader, sent_id};

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
            if !row.trace_id.is_empty() {
                by_trace.insert(row.trace_id, name);
            }
        }
        Ok(Self(by_trace))
    }

    pub fn get(&self, trace_id: &str) -> Option<&str> {
        self.0.get(&*sent_id(trace_id)).map(|name| &**name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sb_measurement::{Invocation, InvocationWriter, Outcome, Timestamp};

    #[test]
    fn the_invocations_beside_the_traces_tell_the_types() {
        let folder = tempfile::tempdir().unwrap();
        let traces = folder.path().join("traces.json.gz");
        let known = |id: &str| Requests::beside(&traces).unwrap().get(id).map(str::to_owned);
        assert_eq!(known("1-a"), None, "there are no invocations");

        let mut writer =
            InvocationWriter::new(File::create(folder.path().join(INVOCATIONS_FILE)).unwrap()).unwrap();
        for (invocation, trace_id, request) in
            [(1, "1-a", "list"), (2, "1-b", "upload, \"large\""), (3, "1-c", "list")]
        {
            let time = Timestamp::from_micros(1_700_000_000_000_000);
            let row = Invocation {
                invocation,
                request: request.to_owned(),
                trace_id: trace_id.to_owned(),
                planned: Some(time),
                sent: Some(time),
                answered: Some(time),
                status: Some(200),
                outcome: Outcome::Ok,
            };
            writer.write(&row).unwrap();
        }
        writer.flush().unwrap();
        for (id, expected) in
            [("1-a", Some("list")), ("1-b", Some("upload, \"large\"")), ("1-c", Some("list")), ("1-d", None)]
        {
            assert_eq!(known(id).as_deref(), expected, "{id}");
        }
    }

    #[test]
    fn damaged_invocations_are_an_error_with_their_path() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(INVOCATIONS_FILE), "a,b\n1,2\n").unwrap();
        let message = Requests::beside(&folder.path().join("traces.json")).unwrap_err().to_string();
        assert!(message.contains(INVOCATIONS_FILE), "{message}");
    }
}
