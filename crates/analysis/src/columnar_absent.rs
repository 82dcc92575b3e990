//! Stands in for `columnar` where the feature `parquet` is off: there is no table, so no value of these types exists.

use std::convert::Infallible;
use std::io;
use std::marker::PhantomData;

/// A row of the table that is never written.
pub(super) enum Entry {}

/// The table that is never written.
pub(super) struct Table<W>(Infallible, PhantomData<W>);

impl<W> Table<W> {
    pub(super) fn add(&mut self, _: Vec<Entry>) -> io::Result<()> {
        match self.0 {}
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self.0 {}
    }
}
