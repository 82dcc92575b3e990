//! `sb` runs serverless-application benchmarks that are declared, not programmed, and tells where the time goes.
//!
//! The library is what a program needs that runs plans without a terminal: [`run`] starts, resumes and cleans up runs of
//! a [`workspace`], whose steps are supervised by copies of the program ([`role`]). Manifests, plans, traces and loads
//! have crates of their own.
//!
//! Read the modules in this order: words ([`workspace`], [`command_exit`]), the files of an [`attempt`], the adapters to
//! the world ([`host`], `container`, [`provider`], `store`), the engine (`execute`, `schedule`), [`run`], and what
//! people see (`progress`, `watch`, `ui`, [`command`]). `ARCHITECTURE.md` has the table of which may import which.

pub mod attempt;
pub mod command_exit;
mod exit_code;
pub mod workspace;

mod container;
pub mod host;
pub mod provider;
mod store;

mod execute;
mod schedule;

pub mod role;
pub mod run;

mod progress;
mod terminal;

mod cli;
pub mod command;
mod inherited;
mod printable;
mod settings;
mod ui;
mod watch;
