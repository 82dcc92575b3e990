//! What can be wrong with a figure.

use thiserror::Error;

/// Why a figure or a document could not be made.
#[derive(Debug, Error)]
pub enum FigureError {
    /// A figure has nothing to draw.
    #[error("figure `{figure}` has no drawing: give it at least one variant")]
    NoVariant {
        /// Its id.
        figure: String,
    },
    /// Two figures or variants would have the same files.
    #[error("two figures have the id `{id}`: their files would replace each other; give one another id")]
    SameId {
        /// The id.
        id: String,
    },
    /// A row of a table has too many or too few cells.
    #[error(
        "row {row} of table `{table}` of figure `{figure}` has {found} cells, but there are {columns} columns"
    )]
    Ragged {
        /// The id of the figure.
        figure: String,
        /// The caption of the table.
        table: String,
        /// The number of the row, from 1.
        row: usize,
        /// How many cells it has.
        found: usize,
        /// How many it should have.
        columns: usize,
    },
    /// A row of bars has too many or too few values.
    #[error("row `{row}` of figure `{figure}` has {found} values, but there are {columns} parts")]
    Parts {
        /// The id of the figure.
        figure: String,
        /// The name of the row.
        row: String,
        /// How many values it has.
        found: usize,
        /// How many it should have.
        columns: usize,
    },
    /// A picture drawn elsewhere cannot be read.
    #[error("the SVG cannot be embedded: {0}")]
    Prepared(String),
    /// A picture cannot be turned into another format.
    #[error("figure `{figure}` cannot be written as {format}: {reason}")]
    Convert {
        /// The name of the file, without its ending.
        figure: String,
        /// `PNG` or `PDF`.
        format: &'static str,
        /// What the converter says.
        reason: String,
    },
}
