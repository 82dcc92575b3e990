//! The runtime's own log: one line per notable thing, with the time, in `runtime.log`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

#[derive(Clone)]
pub struct Journal {
    file: Arc<Mutex<File>>,
}

impl Journal {
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Arc::new(Mutex::new(file)) })
    }

    /// A full disk must not stop the runtime: a line that cannot be written is lost.
    pub fn note(&self, message: &str) {
        let line = format!("{} {message}\n", jiff::Timestamp::now());
        let _ = self.file.lock().write_all(line.as_bytes());
    }
}
