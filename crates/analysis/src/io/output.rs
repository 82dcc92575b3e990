//! Files that take their place when they are complete, with the errors that an analysis reports.

use std::io::{self, Write};
use std::path::Path;

use sb_durable::{Options, WriteError};

use crate::io::input::with_path;

/// A file that takes its place when it is complete, and leaves nothing behind otherwise. After a kill, what is left
/// is a hidden file, which the next analysis into the same folder removes.
pub(crate) struct Replacement(sb_durable::Replacement);

impl Replacement {
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        sb_durable::remove_leftovers(target);
        sb_durable::Replacement::create(target, Options::new()).map(Self).map_err(reported)
    }

    /// Finishes all of them: they wait for the disk together, and none takes its place before all are safe there.
    pub(crate) fn finish_all(files: impl IntoIterator<Item = Self>) -> io::Result<()> {
        let files = files.into_iter().map(|file| file.0).collect();
        sb_durable::Replacement::place_all(files).map_err(reported)
    }
}

impl Write for &Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes).map_err(|error| with_path(&error, "write", self.0.target()))
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.0).flush()
    }
}

fn reported(error: WriteError) -> io::Error {
    with_path(&error.source, "write", &error.path)
}
