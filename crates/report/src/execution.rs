//! One execution: a folder of requests and traces, as columns of numbers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;
use crate::numbers::Numbers;
use crate::read::NO_LATENCY;
use crate::workload::Workload;
use sb_measurement::TypeId;

/// The activities, in the order of the study's tables; what is not classified is the last.
pub(crate) const ACTIVITIES: [&str; 9] = [
    "computation",
    "external_service",
    "orchestration",
    "trigger",
    "queing",
    "overhead",
    "runtime_initialization",
    "container_initialization",
    "unclassified",
];
/// How many of them the study's tables have.
pub(crate) const SHOWN: usize = 8;

/// One execution.
#[derive(Debug, Default)]
pub(crate) struct Execution {
    /// The application's name.
    pub(crate) application: Arc<str>,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// The folder's path below the dataset's, with `/`.
    pub(crate) logs_path: String,
    /// The path of the benchmark file below the dataset's folder.
    pub(crate) app_path: String,
    /// Written by our own program, not in the published layout.
    pub(crate) is_ours: bool,
    pub(crate) config: Config,
    /// `None`: there is no file of requests.
    pub(crate) sent: Option<Sent>,
    /// `None`: there are no analysed traces.
    pub(crate) traces: Option<Traces>,
    pub(crate) invalid: u64,
    /// Why its load must not be used, a sentence each. Empty also where nothing judges it, and with the study's definitions.
    pub(crate) invalid_load: Vec<String>,
    /// Names of the types of requests, by number; [`Traces::kinds`] and [`Sent::kinds`] refer to it.
    pub(crate) types: Vec<Arc<str>>,
    /// Planned invocations per second, by the options of the load.
    pub(crate) planned: Option<Vec<f64>>,
    /// Invocations per second of the pattern that the load follows.
    pub(crate) pattern: Option<Vec<f64>>,
    /// The minutes of the dataset that the load was made of.
    pub(crate) workload: Option<Workload>,
}

/// Times and how often each occurs, in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Times {
    all: Vec<(i64, u64)>,
}

impl Times {
    pub(crate) fn of_counts(counts: BTreeMap<i64, u64>) -> Self {
        Self { all: counts.into_iter().collect() }
    }

    pub(crate) fn of_all(mut times: Vec<i64>) -> Self {
        times.sort_unstable();
        let mut all: Vec<(i64, u64)> = Vec::new();
        for time in times {
            match all.last_mut() {
                Some((last, count)) if *last == time => *count += 1,
                _ => all.push((time, 1)),
            }
        }
        Self { all }
    }

    /// The first one, in microseconds since the epoch.
    pub(crate) fn first(&self) -> Option<i64> {
        self.all.first().map(|(time, _)| *time)
    }

    /// Microseconds from the first to the last.
    pub(crate) fn span(&self) -> Option<i64> {
        Some(self.all.last()?.0.saturating_sub(self.first()?))
    }

    /// Microseconds since the first, with counts, in ascending order.
    pub(crate) fn relative(&self) -> impl Iterator<Item = (i64, u64)> + Clone + '_ {
        let first = self.first().unwrap_or_default();
        self.all.iter().map(move |(time, count)| (time.saturating_sub(first), *count))
    }
}

/// The requests of an execution: one entry each in every column.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// When they ended, in microseconds since the epoch.
    pub(crate) times: Times,
    pub(crate) kinds: Vec<TypeId>,
    /// Nanoseconds; [`NO_LATENCY`] where there was no answer.
    pub(crate) latency_nanos: Numbers,
    pub(crate) failed: Vec<bool>,
    /// Requests that never left the load generator, `dropped` among them.
    pub(crate) not_sent: u64,
    pub(crate) dropped: u64,
    pub(crate) unanswered: u64,
    /// When requests were due, where that was written down.
    pub(crate) planned: Option<Times>,
}

impl Sent {
    /// How many were sent.
    pub(crate) fn count(&self) -> u64 {
        self.kinds.len() as u64
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failed.iter().filter(|failed| **failed).count() as u64
    }

    /// The latencies of those that pass a test, in nanoseconds.
    pub(crate) fn latencies(&self, passes: impl Fn(usize) -> bool) -> Vec<i64> {
        let all = self.latency_nanos.iter().enumerate();
        all.filter(|(place, nanos)| *nanos != NO_LATENCY && passes(*place)).map(|(_, nanos)| nanos).collect()
    }
}

/// Bits of [`Traces::flags`].
pub(crate) mod flag {
    /// The caller's error.
    pub(crate) const ERROR: u8 = 1;
    pub(crate) const THROTTLE: u8 = 2;
    /// The service's fault.
    pub(crate) const FAULT: u8 = 4;
    /// The trace's request failed. Where nothing is known of the request, one of the others.
    pub(crate) const FAILED: u8 = 8;
}

/// The valid traces of an execution: one entry each in every column.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    /// Microseconds since the epoch.
    pub(crate) first_start: Option<i64>,
    /// Microseconds since the first start.
    pub(crate) starts: Numbers,
    /// Microseconds.
    pub(crate) durations: Numbers,
    /// Microseconds on the critical path, by activity; zero where an activity is not on it.
    pub(crate) parts: [Numbers; ACTIVITIES.len()],
    pub(crate) cold_starts: Vec<u32>,
    /// Functions on the critical path, by the traces themselves; 0 where it is not known. Empty: it is known of none.
    pub(crate) functions: Vec<u32>,
    pub(crate) flags: Vec<u8>,
    pub(crate) kinds: Vec<TypeId>,
    /// Traces that count a second time, as those with several requests do in the published analysis: the trace's place,
    /// and the type of the further request.
    pub(crate) again: Vec<(u32, TypeId)>,
}

impl Traces {
    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.durations.len() as u64
    }

    /// How many have one of these flags.
    pub(crate) fn flagged(&self, flags: u8) -> u64 {
        self.flags.iter().filter(|found| **found & flags != 0).count() as u64
    }

    /// Places and types, those that count again included.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u32, TypeId)> + '_ {
        (0_u32..).zip(self.kinds.iter().copied()).chain(self.again.iter().copied())
    }

    pub(crate) fn shrink(&mut self) {
        self.starts.shrink();
        self.durations.shrink();
        for part in &mut self.parts {
            part.shrink();
        }
        self.cold_starts.shrink_to_fit();
        self.flags.shrink_to_fit();
        self.kinds.shrink_to_fit();
    }
}
