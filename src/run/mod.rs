//! The life of a run, without a terminal: start it, go on with it after a crash or with changed files, clean up after
//! it. What happens is told to a channel of [`RunEvent`]s, and [`Control`] stops it.
//!
//! A plan that is to run goes through four types, each of which proves what the next one needs:
//!
//! | type | made by | what is known |
//! |---|---|---|
//! | [`Draft`] | [`Draft::check`] | its files are valid; nothing has been written |
//! | [`Prepared`] | [`Runs::prepare`] | nobody else works on its deployment |
//! | [`Ready`] | [`Prepared::reach`] or [`Runs::resume`] | the container engine and credentials are in reach |
//! | [`Driven`] | [`Ready::drive`] | how it ended |
//!
//! Steps run under supervisors that outlive the runner. They are copies of the program in [`Setup::program`], which
//! must begin with [`crate::role::take`]: `sb` does, and so can a program of yours.

mod change;
mod contents;
mod error;
mod events;
mod left;
mod perform;
mod request;
mod service;

pub use change::{Consequences, Edited, FileEdit};
pub use error::RunError;
pub use events::{Control, RunEvent};
pub use perform::Ready;
pub use request::{Given, Request, What};
pub use service::{CleanedUp, Draft, Driven, Prepared, Resumed, Runs, Setup, Tables};

pub use crate::schedule::{End, MissingVariable};

pub(crate) use perform::engine_of;
pub(crate) use service::{expect_none_alive, find_run, new_run_id, open_run_of};
