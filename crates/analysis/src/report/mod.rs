//! What people and scripts get to see after the fact: from the files of invocations to a summary ([`summary`]), from there
//! to a table for the terminal ([`table`]) or to JSON (the summary's own serde form).

pub mod rates;
pub mod summary;
pub mod table;
pub mod waterfall;
pub mod waterfall_svg;
