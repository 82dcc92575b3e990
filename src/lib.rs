//! `sb` runs serverless-application benchmarks that are declared, not programmed, and tells where the time goes.
//!
//! Read the modules in this order: words ([`id`], [`event`], [`exit`], [`measurement`]), pure domains
//! ([`manifest`], [`workload`], [`trace`]), the pure pipeline ([`validate`], [`plan`], [`graph`]), the adapters
//! to the world ([`host`], [`container`], [`load`], [`provider`], [`store`]), the engine
//! ([`execute`], [`schedule`]) and what people see ([`progress`], [`report`], [`watch`], [`ui`], [`command`]).
//! `ARCHITECTURE.md` has the table of which layer may import which.

pub mod attempt;
pub mod command_exit;
pub mod exit_code;
pub mod workspace;

pub mod container;
pub mod host;
pub mod provider;
pub mod store;

pub mod execute;
pub mod role;
pub mod run;
pub mod schedule;

pub mod progress;
pub mod terminal;

pub mod cli;
pub mod command;
pub mod settings;
pub mod ui;
pub mod watch;
