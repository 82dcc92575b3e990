//! The integration tests, in one binary: the program as users meet it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod analysis;
mod background;
mod commands;
mod contents;
mod crashes;
mod docker;
mod docker_credentials;
mod docs;
mod engines;
mod examples;
mod failures;
mod from_template;
mod host;
mod host_credentials;
mod insights;
mod k6;
mod layers;
mod local;
mod moto;
mod moved;
mod new;
mod options;
mod other_engines;
mod otlp;
mod planning;
mod policy;
mod preflight;
mod pseudo_terminal;
mod remote;
mod secrets;
mod signals;
mod state;
mod stress;
mod tables;
mod tmux;
mod trace_files;
mod ui;
mod validate;
mod watch;
mod workspace;
mod xray_fetch;
mod xray_server;
