//! One monotonic clock for everything that the runtime times.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since the clock was made. Only a trace turns it into a time of day, with an offset taken once
/// per trace: within a trace, steps of the system clock cannot make spans overlap, and between traces the
/// runtime follows the system clock that the functions read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(pub i64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    started: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now() }
    }

    pub(crate) fn now(&self) -> Stamp {
        Stamp(i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX))
    }

    /// What to add to a stamp for microseconds since 1970.
    pub(crate) fn offset(&self) -> i64 {
        wall_micros() - self.now().0
    }
}

pub(super) fn wall_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Seconds since 1970, exact to the microsecond.
pub(super) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
