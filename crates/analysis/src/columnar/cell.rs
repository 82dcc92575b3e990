//! What a column of trace_breakdown.parquet takes of a row.

use super::Entry;
use super::column::{Column, Kind};
use crate::path::breakdown::Activity;
use crate::requests::Requests;
use crate::span::microseconds;

/// What a column takes of a row.
#[derive(Clone, Copy)]
pub(super) enum Cell {
    Text(fn(&Entry) -> &str),
    TextOrNull(for<'a> fn(&'a Entry, &'a Requests) -> Option<&'a str>),
    Texts(fn(&Entry) -> &[String]),
    Integer(fn(&Entry) -> i64),
    IntegerOrNull(fn(&Entry) -> Option<i64>),
    /// Microseconds of an activity, or null.
    Part(Activity),
    /// Seconds since the epoch.
    Time(fn(&Entry) -> f64),
}

impl Cell {
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::TextOrNull(_) => Kind::TextOrNull,
            Self::Texts(_) => Kind::Texts,
            Self::Integer(_) => Kind::Integer,
            Self::IntegerOrNull(_) | Self::Part(_) => Kind::IntegerOrNull,
            Self::Time(_) => Kind::Time,
        }
    }

    /// Gives a column its cell of a row.
    pub(super) fn add(self, column: &mut Column, entry: &Entry, requests: &Requests) {
        match self {
            Self::Text(text) => column.text(text(entry)),
            Self::TextOrNull(text) => column.text_or_null(text(entry, requests)),
            Self::Texts(texts) => column.list(texts(entry)),
            Self::Integer(integer) => column.integer(integer(entry)),
            Self::IntegerOrNull(integer) => column.integer_or_null(integer(entry)),
            Self::Part(activity) => column.integer_or_null(entry.row.part(activity)),
            Self::Time(seconds) => column.integer(microseconds(seconds(entry))),
        }
    }
}
