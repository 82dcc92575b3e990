//! Where results go: files, row by row, and a tally for progress and summary. Memory does not grow with the load.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use tokio::sync::mpsc;

use super::k6_csv::K6Writer;
use super::pace::Clock;
use super::prepare::Prepared;
use super::send::Exchanged;
use super::{LoadError, draw::Draw};
use crate::measurement::{INVOCATIONS_FILE, Invocation, InvocationWriter, Lateness, Outcome, Percentiles};

pub(super) const K6_FILE: &str = "k6_metrics.csv";

/// How many results may wait to be written. A request counts as under way until its result is accepted here, so a
/// slow disk shows as dropped invocations, never as a heap that grows.
pub(super) const QUEUE: usize = 8192;

/// What the writer is told.
pub(super) enum Record {
    Ended(Box<Ended>),
    /// Once per second: the number of requests under way.
    UnderWay {
        at: Instant,
        requests: u64,
    },
}

/// One invocation that is over, sent or not.
pub(super) struct Ended {
    pub(super) draw: Draw,
    pub(super) planned: Instant,
    /// `None`: dropped. The text is the URL as files may show it.
    pub(super) exchanged: Option<(Exchanged, Arc<str>)>,
}

/// Counts and distributions so far.
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
    pub(super) outcomes: BTreeMap<Outcome, u64>,
    latency: Histogram<u64>,
    latency_from_planned: Histogram<u64>,
    lateness: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            sent: 0,
            answered: 0,
            failed: 0,
            dropped: 0,
            outcomes: BTreeMap::new(),
            latency: histogram(),
            latency_from_planned: histogram(),
            lateness: histogram(),
        }
    }

    fn add(&mut self, row: &Invocation) {
        *self.outcomes.entry(row.outcome).or_default() += 1;
        match row.sent {
            None => self.dropped += 1,
            Some(sent) => {
                self.sent += 1;
                record(&mut self.lateness, sent.micros() - row.planned.micros());
            }
        }
        self.failed += u64::from(row.outcome.is_failure());
        if let (Some(latency), Some(from_planned)) = (row.latency_micros(), row.latency_from_planned_micros())
        {
            self.answered += 1;
            record(&mut self.latency, latency);
            record(&mut self.latency_from_planned, from_planned);
        }
    }

    pub(super) fn latency(&self) -> Option<Percentiles> {
        percentiles(&self.latency)
    }

    pub(super) fn latency_from_planned(&self) -> Option<Percentiles> {
        percentiles(&self.latency_from_planned)
    }

    pub(super) fn lateness(&self) -> Option<Lateness> {
        percentiles(&self.lateness).map(|of| Lateness { p50: of.p50, p99: of.p99, max: of.max })
    }
}

/// Microseconds, three significant digits, growing up to what a u64 holds.
fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap_or_else(|error| unreachable!("three digits are supported: {error}"))
}

fn record(histogram: &mut Histogram<u64>, micros: i64) {
    // Fails only for a histogram that may not grow; `saturating_record` would not let it grow.
    let _ = histogram.record(u64::try_from(micros).unwrap_or(0));
}

fn percentiles(histogram: &Histogram<u64>) -> Option<Percentiles> {
    let at = |percentile: f64| histogram.value_at_percentile(percentile) as f64 / 1e3;
    (!histogram.is_empty()).then(|| Percentiles {
        p50: at(50.0),
        p90: at(90.0),
        p95: at(95.0),
        p99: at(99.0),
        max: histogram.max() as f64 / 1e3,
    })
}

/// A tally that the writer fills and others look at.
#[derive(Clone)]
pub(super) struct SharedTally(Arc<Mutex<Tally>>);

impl SharedTally {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Tally::new())))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the files of one load; runs on a thread of its own.
pub(super) struct Recorder {
    invocations: InvocationWriter<BufWriter<File>>,
    k6: K6Writer<BufWriter<File>>,
    requests: Arc<[Prepared]>,
    clock: Clock,
    tally: SharedTally,
    most_under_way: u64,
}

impl Recorder {
    pub(super) fn create(
        folder: &Path,
        requests: Arc<[Prepared]>,
        clock: Clock,
        tally: SharedTally,
        most_under_way: u64,
    ) -> Result<Self, LoadError> {
        let invocations =
            InvocationWriter::new(create(folder, INVOCATIONS_FILE)?).map_err(LoadError::Record)?;
        let k6 = K6Writer::new(create(folder, K6_FILE)?).map_err(LoadError::Record)?;
        Ok(Self { invocations, k6, requests, clock, tally, most_under_way })
    }

    /// Writes until all senders are gone, flushing once per second.
    pub(super) fn run(mut self, mut records: mpsc::Receiver<Record>) -> Result<(), LoadError> {
        while let Some(record) = records.blocking_recv() {
            match record {
                Record::Ended(ended) => self.ended(&ended).map_err(LoadError::Record)?,
                Record::UnderWay { at, requests } => {
                    let at = self.clock.time(at);
                    self.k6.virtual_users(at, requests, self.most_under_way).map_err(LoadError::Record)?;
                    self.flush()?;
                }
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), LoadError> {
        self.invocations
            .flush()
            .and_then(|()| self.k6.flush())
            .map_err(|error| LoadError::Record(error.into()))
    }

    fn ended(&mut self, ended: &Ended) -> Result<(), csv::Error> {
        let prepared = &self.requests[ended.draw.choice];
        let exchanged = ended.exchanged.as_ref().map(|(exchanged, _)| exchanged);
        let answered =
            exchanged.filter(|exchanged| matches!(exchanged.outcome, Outcome::Ok | Outcome::FailedCheck));
        let row = Invocation {
            invocation: ended.draw.number,
            request: prepared.name.to_string(),
            trace_id: ended.draw.trace_id.clone(),
            planned: self.clock.time(ended.planned),
            sent: exchanged.map(|exchanged| self.clock.time(exchanged.sent)),
            answered: answered.map(|exchanged| self.clock.time(exchanged.ended)),
            status: exchanged.and_then(|exchanged| exchanged.status),
            outcome: exchanged.map_or(Outcome::Dropped, |exchanged| exchanged.outcome),
        };
        self.tally.lock().add(&row);
        self.invocations.write(&row)?;
        match &ended.exchanged {
            Some((exchanged, url)) => {
                self.k6.exchanged(self.clock.time(exchanged.ended), prepared, url, exchanged)
            }
            None => self.k6.dropped(row.planned),
        }
    }
}

fn create(folder: &Path, name: &str) -> Result<BufWriter<File>, LoadError> {
    let path = folder.join(name);
    match File::create_new(&path) {
        Ok(file) => Ok(BufWriter::with_capacity(1 << 16, file)),
        Err(source) => Err(LoadError::Create { path, source }),
    }
}
