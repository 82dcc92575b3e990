//! What people and scripts see after the fact: an application in numbers ([`summary`]) and as a table for the terminal
//! ([`table`]), two runs beside each other ([`comparison`]), a trace as a waterfall, and invocations over time ([`rates`]). All of it is written to a writer or a string.

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
