//! What is wrong with a dataset, and where.

use std::path::{Path, PathBuf};

/// A dataset that cannot be read, or a question that it cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// A file or folder cannot be opened or read.
    #[error("cannot read `{}`: {error}", path.display())]
    Io {
        /// The file or folder, or the archive that holds it.
        path: PathBuf,
        /// What the system, or the decompressor, says.
        error: std::io::Error,
    },
    /// A file does not have the form that its dataset is published in.
    #[error("{place}: {problem}")]
    Content {
        /// File, line and column.
        place: Place,
        /// What is wrong there.
        problem: String,
        /// What to do about it.
        help: String,
    },
    /// The files as a whole are not what they should be: a day is missing, or there are none.
    #[error("{problem}")]
    Files {
        /// What is wrong.
        problem: String,
        /// What to do about it.
        help: String,
    },
    /// The dataset is sound, and has no answer to what was asked.
    #[error("{problem}")]
    Request {
        /// What cannot be done.
        problem: String,
        /// What to do about it.
        help: String,
    },
}

impl DatasetError {
    pub(crate) fn io(path: &Path, error: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }

    pub(crate) fn content(place: Place, problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Content { place, problem: problem.into(), help: help.into() }
    }

    pub(crate) fn files(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Files { problem: problem.into(), help: help.into() }
    }

    pub(crate) fn request(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Request { problem: problem.into(), help: help.into() }
    }

    /// What to do about it.
    pub fn help(&self) -> &str {
        match self {
            Self::Io { .. } => "check that the file is there, is whole, and can be read; then try again",
            Self::Content { help, .. } | Self::Files { help, .. } | Self::Request { help, .. } => help,
        }
    }
}

/// A place in a file. Lines and columns count from 1; a column is a cell of the line, or a byte where cells are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, or `ARCHIVE:FILE`.
    pub file: String,
    /// The line.
    pub line: u64,
    /// The cell of the line, if one is to blame.
    pub column: Option<usize>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.column {
            Some(column) => write!(out, "{}, line {}, column {column}", self.file, self.line),
            None => write!(out, "{}, line {}", self.file, self.line),
        }
    }
}
