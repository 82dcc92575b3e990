//! What a reader of a report must know: what was left out or could not be read, and why.

use std::path::{Path, PathBuf};

use serde::Serialize;

/// How much a note matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Something to know.
    Remark,
    /// Data was left out, so that figures may be wrong.
    Warning,
}

/// Something to know about the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// How much it matters.
    pub weight: Weight,
    /// The file or folder that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The line of the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What it is, and what to do where something can be done.
    pub message: String,
}

impl Note {
    /// Data of a file or folder that was left out.
    pub(crate) fn warning(path: &Path, message: impl Into<String>) -> Self {
        Self { weight: Weight::Warning, path: Some(path.to_owned()), line: None, message: message.into() }
    }

    /// Something to know about a file or folder.
    pub(crate) fn remark(path: &Path, message: impl Into<String>) -> Self {
        Self { weight: Weight::Remark, ..Self::warning(path, message) }
    }

    /// Something to know that is about no single file.
    pub(crate) fn general(message: impl Into<String>) -> Self {
        Self { weight: Weight::Remark, path: None, line: None, message: message.into() }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(path) = &self.path {
            write!(out, "{}", path.display())?;
            if let Some(line) = self.line {
                write!(out, ", line {line}")?;
            }
            write!(out, ": ")?;
        }
        write!(out, "{}", self.message)
    }
}

/// Rows of a file that could not be used: the first few by name, all of them counted.
#[derive(Default)]
pub(crate) struct BadRows {
    count: u64,
    first: Vec<(u64, String)>,
}

/// As many of a file are named.
const NAMED: usize = 5;

impl BadRows {
    pub(crate) fn add(&mut self, line: u64, problem: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push((line, problem()));
        }
    }

    pub(crate) fn into_notes(self, path: &Path) -> Vec<Note> {
        self.into_notes_of(path, "the row is left out")
    }

    /// As [`into_notes`](Self::into_notes), with what becomes of such a row.
    pub(crate) fn into_notes_of(self, path: &Path, consequence: &str) -> Vec<Note> {
        let mut notes: Vec<Note> = self
            .first
            .into_iter()
            .map(|(line, problem)| Note {
                line: Some(line),
                ..Note::warning(path, format!("{problem}; {consequence}"))
            })
            .collect();
        if self.count > notes.len() as u64 {
            let message =
                format!("{} rows are like this, of which the first are named; {consequence}", self.count);
            notes.push(Note::warning(path, message));
        }
        notes
    }
}
