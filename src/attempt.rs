//! The files of an attempt: its log, and `exit.json`, which keeps its end. The same wherever steps run.

mod kept_log;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sb_durable::{Durability, Options};
use sb_measurement::Redactor;
use serde::{Deserialize, Serialize};

use crate::command_exit::CommandExit;

pub(crate) use kept_log::KeptLog;

/// The content of `exit.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitRecord {
    /// Of this shape: 1.
    pub version: u32,
    pub exit: CommandExit,
    /// Milliseconds since the Unix epoch. For a command that never ran both are the time of the decision.
    pub started_unix_ms: u64,
    pub ended_unix_ms: u64,
}

/// In the attempt's folder: how it ended.
pub const EXIT_FILE: &str = "exit.json";
/// In the attempt's folder: stdout and stderr, in the order in which they came.
pub const LOG_FILE: &str = "output.log";
/// In the attempt's folder: stdout alone.
pub const STDOUT_FILE: &str = "stdout";

impl ExitRecord {
    pub fn new(exit: CommandExit, started: SystemTime, ended: SystemTime) -> Self {
        Self { version: 1, exit, started_unix_ms: unix_ms(started), ended_unix_ms: unix_ms(ended) }
    }

    /// The end of the attempt in `dir`, if it was recorded.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        read_json(&dir.join(EXIT_FILE))
    }

    /// Records the end: when this returns, it survives a loss of power.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        write_json(dir, EXIT_FILE, self, Durability::Disk)
    }

    /// Records the end for every process to see. Until [`ExitRecord::keep`] has returned, a loss of power may leave
    /// nothing of it, or a file without its content, which [`ExitRecord::read`] finds invalid.
    pub(crate) fn show(&self, dir: &Path) -> io::Result<()> {
        write_json(dir, EXIT_FILE, self, Durability::Processes)
    }

    /// When this returns, the end that was [shown](ExitRecord::show) survives a loss of power.
    pub(crate) fn keep(dir: &Path) -> io::Result<()> {
        File::open(dir.join(EXIT_FILE))?.sync_all()?;
        File::open(dir)?.sync_all()
    }
}

/// Of output that could not be kept whole the last part is given up, so that a full disk has room for the end.
pub(crate) fn make_room(dir: &Path) {
    const ROOM: u64 = 256 * 1024;
    for name in [LOG_FILE, STDOUT_FILE] {
        // As far as it goes: should it fail, the end waits for room as every other does.
        let _ = OpenOptions::new().write(true).open(dir.join(name)).and_then(|file| {
            let kept = file.metadata()?.len();
            file.set_len(kept.saturating_sub(ROOM))
        });
    }
}

/// The end of a log, where what went wrong is said. The whole of it may be larger than memory.
pub(crate) fn tail(log: &Path) -> io::Result<Vec<u8>> {
    const TAIL: u64 = 64 * 1024;
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(file.metadata()?.len().saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Takes secrets out of all files of a folder that nobody writes to any more, such as that of an attempt that has ended.
pub(crate) fn hide_in_folder(folder: &Path, redactor: &Redactor) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            hide_in_folder(&entry.path(), redactor)?;
        } else if kind.is_file() {
            hide_in_file(&entry.path(), redactor, Options::new().private())?;
        }
    }
    Ok(())
}

/// Takes secrets out of a file; one that has none stays as it is. Memory does not depend on its length.
pub(crate) fn hide_in_file(path: &Path, redactor: &Redactor, options: Options) -> io::Result<()> {
    let mut file = File::open(path)?;
    if redactor.copy(&file, io::sink())? == 0 {
        return Ok(());
    }
    file.rewind()?;
    Ok(sb_durable::write_with(path, options, |out| redactor.copy(file, out).map(|_| ()))?)
}

/// Writes `DIR/NAME` so that a reader sees all of it or none, readable by its owner alone.
pub(crate) fn write_json(
    dir: &Path,
    name: &str,
    value: &impl Serialize,
    durability: Durability,
) -> io::Result<()> {
    let options = Options::new().private().survives(durability);
    Ok(sb_durable::write(&dir.join(name), options, &serde_json::to_vec(value)?)?)
}

/// Reads a file that [`write_json`] wrote; `None` when there is none.
pub(crate) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_a_torn_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(ExitRecord::read(dir.path()).unwrap(), None);
        let started = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        let record = ExitRecord::new(CommandExit::Code(7), started, started + Duration::from_millis(5));
        record.write(dir.path()).unwrap();
        assert_eq!(ExitRecord::read(dir.path()).unwrap(), Some(record));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
        fs::write(dir.path().join(EXIT_FILE), r#"{"version":1,"#).unwrap();
        assert_eq!(ExitRecord::read(dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
