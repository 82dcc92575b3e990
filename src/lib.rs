//! `sb` runs serverless-application benchmarks that are declared, not programmed, and tells where the time goes.
//!
//! The library is what a program needs that runs plans without a terminal. [`run`] starts, resumes and cleans up runs
//! of a [`workspace`]. Copies of the program ([`role`]) supervise their steps. Manifests, plans, traces and loads
//! have crates of their own.
//!
//! Read the modules in this order. First come words ([`workspace`], [`command_exit`]) and the files of an
//! [`attempt`]. Next are the adapters to the world: [`host`], `container`, [`provider`], `store`. The engine is
//! `execute` and `schedule`, above it is [`run`]. What people see is in `progress`, `watch`, `ui` and [`command`].
//! `ARCHITECTURE.md` has the table of which may import which.

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
