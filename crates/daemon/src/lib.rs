#![doc = include_str!("../README.md")]
#![deny(missing_docs, unreachable_pub)]

mod daemon;
mod error;
pub mod http;
mod journal;
mod lifetime;
mod lock;
pub mod otlp;
mod peer;
mod signals;

pub use daemon::Daemon;
pub use error::DaemonError;
pub use journal::Journal;
pub use lifetime::{Lifetime, Stopper};
pub use lock::Lock;
pub use signals::{Signals, detach};
