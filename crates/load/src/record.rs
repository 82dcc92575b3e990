//! Where results go: files and a tally for progress and summary. Memory does not grow with the load.
//!
//! Each sending thread counts into a tally of its own and writes its rows into memory. Blocks of rows go to one
//! thread that writes them out. A request counts as under way until there is room for its rows. So a slow disk shows
//! as dropped or late invocations, and memory does not grow.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::mpsc;

use super::LoadError;
use super::pace::Clock;
use super::rows::{self, Row};
use super::send::Exchanged;
use sb_measurement::{
    COLUMNS, INVOCATIONS_FILE, Invocation, MeasurementError, Outcome, Percentiles, Times, Timestamp,
};

pub(super) const K6_FILE: &str = "k6_metrics.csv";

/// How many blocks may wait to be written.
pub(super) const QUEUE: usize = 64;

/// From this many bytes on, a block is handed over.
const BLOCK: usize = 96 * 1024;

/// Rows of both files, whole ones only.
#[derive(Default)]
pub(super) struct Block {
    pub(super) invocations: Vec<u8>,
    pub(super) k6: Vec<u8>,
}

/// The rows of one sending thread.
pub(super) struct Rows {
    block: RefCell<Block>,
    /// A place to work in.
    tags: RefCell<Vec<u8>>,
    writer: mpsc::Sender<Block>,
    with_k6: bool,
    /// The writer has given up.
    lost: Cell<bool>,
}

impl Rows {
    pub(super) fn new(writer: mpsc::Sender<Block>, with_k6: bool) -> Self {
        Self { block: RefCell::default(), tags: RefCell::default(), writer, with_k6, lost: Cell::new(false) }
    }

    /// Waits until there is room for more; false when results can no longer be recorded.
    pub(super) async fn room(&self) -> bool {
        while !self.lost.get() && self.is_full() {
            match self.writer.reserve().await {
                // Another may have handed it over meanwhile.
                Ok(place) if self.is_full() => {
                    place.send(self.block.take());
                }
                Ok(_) => {}
                Err(_) => self.lost.set(true),
            }
        }
        !self.lost.get()
    }

    fn is_full(&self) -> bool {
        let block = self.block.borrow();
        block.invocations.len().max(block.k6.len()) >= BLOCK
    }

    /// Hands over what there is.
    pub(super) async fn flush(&self) {
        let is_empty = {
            let block = self.block.borrow();
            block.invocations.is_empty() && block.k6.is_empty()
        };
        if !is_empty {
            match self.writer.reserve().await {
                Ok(place) => place.send(self.block.take()),
                Err(_) => self.lost.set(true),
            }
        }
    }

    /// A request that is over, sent or not.
    pub(super) fn request(&self, row: &Row<'_>, sent: Option<(&Exchanged, Timestamp, &[u8])>) {
        let mut block = self.block.borrow_mut();
        if block.invocations.capacity() == 0 {
            block.invocations.reserve(BLOCK / 4);
        }
        row.write(&mut block.invocations);
        if self.with_k6
            && let Some((exchanged, ended, url)) = sent
        {
            rows::k6_request(&mut block.k6, &mut self.tags.borrow_mut(), ended, row, url, exchanged);
        }
    }

    /// An invocation that is over.
    pub(super) fn iteration(&self, ended: Timestamp, took: Duration) {
        if self.with_k6 {
            rows::k6_iteration(&mut self.block.borrow_mut().k6, ended, took);
        }
    }

    /// An invocation that was due at this time and not sent.
    pub(super) fn dropped(&self, row: &Row<'_>, due: Timestamp) {
        self.request(row, None);
        if self.with_k6 {
            rows::k6_dropped(&mut self.block.borrow_mut().k6, due);
        }
    }
}

/// Reasons of failed checks that are told apart.
const MOST_REASONS: usize = 5;

/// Counts and distributions of one sending thread, since they were last collected.
pub(super) struct Tally {
    /// Invocations that have begun.
    pub(super) begun: u64,
    /// Requests that are over, of which something left.
    pub(super) sent: u64,
    /// Requests that are over, of which nothing left.
    pub(super) not_sent: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
    /// Of answers that failed a check.
    failed_statuses: BTreeMap<u16, u64>,
    /// Why, where the status does not say it.
    failed_checks: BTreeMap<String, u64>,
    outcomes: [u64; Outcome::ALL.len()],
    pub(super) latency: Histogram<u64>,
    pub(super) latency_from_planned: Histogram<u64>,
    pub(super) failed_latency: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            begun: 0,
            sent: 0,
            not_sent: 0,
            answered: 0,
            failed: 0,
            dropped: 0,
            failed_statuses: BTreeMap::new(),
            failed_checks: BTreeMap::new(),
            outcomes: [0; Outcome::ALL.len()],
            latency: histogram(),
            latency_from_planned: histogram(),
            failed_latency: histogram(),
        }
    }

    pub(super) fn add(&mut self, row: &Row<'_>) {
        self.dropped += u64::from(row.outcome == Outcome::Dropped);
        self.add_outcome(row.outcome, row.status, row.sent.is_some());
        let Some(sent) = row.sent else { return };
        if let Some(answered) = row.answered {
            self.add_latency(row.outcome, answered.micros() - sent.micros());
            if let (Outcome::Ok, Some(planned)) = (row.outcome, row.planned) {
                record(&mut self.latency_from_planned, answered.micros() - planned.micros());
            }
        }
    }

    /// A request of a script: when it was due, only k6 knew.
    pub(super) fn add_unplanned(&mut self, request: &Invocation) {
        self.add_outcome(request.outcome, request.status, request.sent.is_some());
        if let Some(latency) = request.latency_micros() {
            self.add_latency(request.outcome, latency);
        }
    }

    fn add_latency(&mut self, outcome: Outcome, micros: i64) {
        self.answered += 1;
        record(if outcome == Outcome::Ok { &mut self.latency } else { &mut self.failed_latency }, micros);
    }

    fn add_outcome(&mut self, outcome: Outcome, status: Option<u16>, is_sent: bool) {
        self.outcomes[outcome as usize] += 1;
        self.failed += u64::from(outcome.is_failure());
        self.sent += u64::from(is_sent);
        self.not_sent += u64::from(!is_sent && outcome.is_failure());
        if let (Outcome::FailedCheck, Some(status)) = (outcome, status) {
            *self.failed_statuses.entry(status).or_default() += 1;
        }
    }

    /// A reason can hold what a server sent, so that there may be as many reasons as answers.
    pub(super) fn add_failed_check(&mut self, reason: &str, count: u64) {
        if let Some(known) = self.failed_checks.get_mut(reason) {
            *known += count;
        } else if self.failed_checks.len() < MOST_REASONS {
            self.failed_checks.insert(reason.to_owned(), count);
        }
    }

    /// Invocations that were not sent.
    pub(super) fn add_dropped(&mut self, count: u64) {
        self.outcomes[Outcome::Dropped as usize] += count;
        self.dropped += count;
    }

    /// Takes over all that `other` has counted.
    pub(super) fn collect(&mut self, other: &mut Self) {
        for (mine, others) in [
            (&mut self.begun, &mut other.begun),
            (&mut self.sent, &mut other.sent),
            (&mut self.not_sent, &mut other.not_sent),
            (&mut self.answered, &mut other.answered),
            (&mut self.failed, &mut other.failed),
            (&mut self.dropped, &mut other.dropped),
        ]
        .into_iter()
        .chain(self.outcomes.iter_mut().zip(&mut other.outcomes))
        {
            *mine += std::mem::take(others);
        }
        for (status, count) in std::mem::take(&mut other.failed_statuses) {
            *self.failed_statuses.entry(status).or_default() += count;
        }
        for (reason, count) in std::mem::take(&mut other.failed_checks) {
            self.add_failed_check(&reason, count);
        }
        for (mine, others) in [
            (&mut self.latency, &mut other.latency),
            (&mut self.latency_from_planned, &mut other.latency_from_planned),
            (&mut self.failed_latency, &mut other.failed_latency),
        ] {
            if !others.is_empty() {
                // Fails only for a histogram that may not grow.
                let _ = mine.add(&*others);
                others.reset();
            }
        }
    }

    pub(super) fn outcomes(&self) -> BTreeMap<Outcome, u64> {
        Outcome::ALL
            .into_iter()
            .map(|outcome| (outcome, self.outcomes[outcome as usize]))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    pub(super) fn failed_statuses(&self) -> BTreeMap<u16, u64> {
        self.failed_statuses.clone()
    }

    pub(super) fn failed_checks(&self) -> BTreeMap<String, u64> {
        self.failed_checks.clone()
    }
}

/// Microseconds, three significant digits, growing up to what a u64 holds.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap_or_else(|error| unreachable!("three digits are supported: {error}"))
}

fn record(histogram: &mut Histogram<u64>, micros: i64) {
    // Fails only for a histogram that may not grow; `saturating_record` would not let it grow.
    let _ = histogram.record(u64::try_from(micros).unwrap_or(0));
}

pub(super) fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
    let at = |percentile: f64| histogram.value_at_percentile(percentile) as f64 / 1e3;
    (!histogram.is_empty()).then(|| Percentiles {
        p50: at(50.0),
        p90: at(90.0),
        p95: at(95.0),
        p99: at(99.0),
        max: histogram.max() as f64 / 1e3,
    })
}

/// The times of a load whose rows are all written.
///
/// # Errors
/// They cannot be read back.
pub fn times(folder: &Path) -> Result<Times, LoadError> {
    let read =
        File::open(folder.join(INVOCATIONS_FILE)).map_err(MeasurementError::from).and_then(Times::read);
    read.map_err(|error| LoadError::Record(io::Error::other(error)))
}

/// A tally that one thread fills and another collects.
pub(super) struct SharedTally(Mutex<Tally>);

impl SharedTally {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Tally::new()))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock()
    }
}

/// Writes the files of one load; runs on a thread of its own.
pub(super) struct Recorder {
    invocations: File,
    k6: Option<File>,
}

impl Recorder {
    pub(super) fn create(folder: &Path, with_k6: bool) -> Result<Self, LoadError> {
        let mut invocations = create(folder, INVOCATIONS_FILE)?;
        writeln!(invocations, "{}", COLUMNS.join(",")).map_err(LoadError::Record)?;
        let k6 = if with_k6 {
            let mut file = create(folder, K6_FILE)?;
            file.write_all(rows::K6_HEADER.as_bytes()).map_err(LoadError::Record)?;
            Some(file)
        } else {
            None
        };
        Ok(Self { invocations, k6 })
    }

    /// Writes until all senders are gone.
    pub(super) fn run(mut self, mut blocks: mpsc::Receiver<Block>) -> Result<(), LoadError> {
        while let Some(block) = blocks.blocking_recv() {
            self.write(&block).map_err(LoadError::Record)?;
        }
        Ok(())
    }

    fn write(&mut self, block: &Block) -> io::Result<()> {
        self.invocations.write_all(&block.invocations)?;
        self.k6.as_mut().map_or(Ok(()), |file| file.write_all(&block.k6))
    }
}

pub(super) fn create(folder: &Path, name: &str) -> Result<File, LoadError> {
    let path = folder.join(name);
    File::create_new(&path).map_err(|source| LoadError::Create { path, source })
}

/// A block that says how many requests are under way, for the time when it does not matter which thread sent them.
pub(super) fn under_way(clock: Clock, requests: u64, most: u64) -> Block {
    let mut block = Block::default();
    rows::k6_virtual_users(&mut block.k6, clock.time(std::time::Instant::now()), requests, most);
    block
}
