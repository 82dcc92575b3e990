#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod axis;
mod curves;
mod document;
mod error;
mod figure;
mod file;
mod palette;
mod png;
mod prepared;
mod rows;
mod surface;
mod table;
mod text;

#[cfg(test)]
mod tests;

pub use document::{Document, Item, Section, page_policy};
pub use error::FigureError;
pub use figure::{
    Axis, Bars, Chart, Curve, Figure, Id, Lane, Layout, Mark, Order, PANELS_IN_FILES, Panel, Panels, Part,
    ROWS_IN_FILES, Row, Scale, Shape, Span, Timeline, Variant,
};
pub use file::{ENDINGS, FigureFile, FileWriter};
pub use palette::Tone;
pub use prepared::Prepared;
pub use table::{Column, Table};
pub use text::number;
