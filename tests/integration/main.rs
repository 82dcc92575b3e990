//! The integration tests, in one binary: the program as users meet it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod analysis;
mod commands;
mod crashes;
mod docker;
mod docs;
mod engines;
mod host;
mod layers;
mod local;
mod new;
mod planning;
mod policy;
mod stress;
mod tmux;
mod trace_files;
mod ui;
mod watch;
mod workspace;
mod xray_fetch;
