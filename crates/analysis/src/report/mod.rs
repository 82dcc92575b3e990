//! What people and scripts see after a run. [`summary`] is an application in numbers, [`table`] the same as a table
//! for the terminal. [`comparison`] shows two runs beside each other, and [`rates`] invocations over time. A trace is
//! drawn as a waterfall. All of it is written to a writer or a string.

pub(crate) mod comparison;
pub(crate) mod comparison_text;
pub(crate) mod markdown;
pub(crate) mod rates;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod waterfall;
pub(crate) mod waterfall_svg;

/// How text for the terminal looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Text alone, for files and pipes.
    Plain,
    /// With ANSI escapes for weight and colour.
    Coloured,
}
