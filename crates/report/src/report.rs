//! A report: the tables, the groups, and what to know about them.

use std::panic::resume_unwind;
use std::thread;

use serde::Serialize;

use crate::note::Note;
use crate::read::Dataset;
use crate::table::Table;
use crate::tables;
use crate::tables::groups::{Group, groups};

/// Everything that a report says in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The version of this shape: [`Report::VERSION`].
    pub version: u32,
    /// Whether the definitions of the published study were used.
    pub as_published: bool,
    /// How many executions were read.
    pub executions: u64,
    /// What was left out, and what to know.
    pub notes: Vec<Note>,
    /// By application, request type, label, factors and cold-start status.
    pub groups: Vec<Group>,
    /// All tables; those that are empty, too.
    pub tables: Vec<Table>,
}

impl Report {
    /// The version that is written.
    pub const VERSION: u32 = 1;

    /// Computes everything.
    pub fn new(dataset: &Dataset) -> Self {
        let ((mut all, notes), groups) = thread::scope(|scope| {
            let groups = scope.spawn(|| groups(dataset));
            let tables = tables::all(dataset);
            (tables, groups.join().unwrap_or_else(|panic| resume_unwind(panic)))
        });
        all.extend(tables::groups::tables(&groups));
        Self {
            version: Self::VERSION,
            as_published: dataset.as_published,
            executions: dataset.executions.len() as u64,
            notes: dataset.notes.iter().cloned().chain(notes).collect(),
            groups,
            tables: all,
        }
    }

    /// A table by the name of its files, without their ending.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}
