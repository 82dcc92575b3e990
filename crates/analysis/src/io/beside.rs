//! What is read beside the traces: the types of their requests, and a table of activities.

use std::fs;
use std::io;
use std::path::Path;

use sb_measurement::INVOCATIONS_FILE;

use super::input::with_path;
use crate::path::activities::{Activities, ActivitiesError};
use crate::requests::Requests;

impl Requests {
    /// Reads the `invocations.csv` beside a file of traces; knows no types where there is none.
    ///
    /// # Errors
    /// The file of invocations cannot be read or is damaged; the message has its path.
    pub fn beside(traces: &Path) -> io::Result<Self> {
        let path = traces.with_file_name(INVOCATIONS_FILE);
        let file = match sb_durable::open_in_folder(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(with_path(&error, "read", &path)),
        };
        Self::read(file)
            .map_err(|error| with_path(&io::Error::new(io::ErrorKind::InvalidData, error), "read", &path))
    }
}

impl Activities {
    /// The defaults, extended and overridden by a TOML file; see [`Activities::extended`].
    ///
    /// # Errors
    /// The file cannot be read, or is not such a table.
    pub fn read(path: &Path) -> Result<Self, ActivitiesError> {
        let name = path.display().to_string();
        match fs::read_to_string(path) {
            Ok(text) => Self::default().extended(&text, &name),
            Err(source) => Err(ActivitiesError::Read { path: name, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use sb_measurement::{Invocation, InvocationWriter, Outcome, Timestamp};

    use super::*;
    use std::fs::File;

    #[test]
    fn the_invocations_beside_the_traces_give_the_types() {
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
