//! A daemon's own log: one line per notable event, with the time.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

/// A log that several threads append to. Clones write to the same file.
#[derive(Clone, Debug)]
pub struct Journal {
    file: Arc<Mutex<File>>,
}

impl Journal {
    /// Opens a log, and makes it where there is none.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = sb_durable::private().create(true).append(true).open(path)?;
        Ok(Self { file: Arc::new(Mutex::new(file)) })
    }

    /// Appends a line. A full disk must not stop the daemon: a line that cannot be written is lost.
    pub fn note(&self, message: &str) {
        let line = format!("{} {message}\n", jiff::Timestamp::now());
        let _ = self.file.lock().write_all(line.as_bytes());
    }
}
