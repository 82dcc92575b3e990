//! From k6's CSV, as it grows, to the files of an invocation.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read};
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use csv::ByteRecord;
use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::oneshot;

use super::rows::{About, Block, Blocks, Request};
use crate::record::{K6_FILE, Tally, create, percentiles};
use crate::{LoadError, Progress};
use sb_measurement::{
    INVOCATIONS_FILE, Invocation, InvocationWriter, Outcome, Redactor, Timestamp, is_formula,
};

/// How often a file that has ended, but will grow, is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What was read of the growing file is given back to the disk in pieces of this size.
const PIECE: u64 = 16 << 20;

/// What was read so far.
pub struct Collected {
    pub(crate) tally: Tally,
    /// Runs of the script that came to their end.
    pub iterations: u64,
    /// Requests without a trace id.
    pub untraced: u64,
    /// Checks that failed in runs of the script that had sent no request before.
    pub loose_checks: u64,
}

impl Collected {
    fn new() -> Self {
        Self { tally: Tally::new(), iterations: 0, untraced: 0, loose_checks: 0 }
    }

    /// HTTP requests whose rows were read.
    pub fn requests(&self) -> u64 {
        self.tally.sent + self.tally.not_sent
    }
}

/// A thread that reads what k6 writes.
pub struct Collecting {
    shared: Arc<Mutex<Collected>>,
    /// k6 has ended: what is there is all.
    complete: Arc<AtomicBool>,
    written: oneshot::Receiver<Result<(), LoadError>>,
}

impl Collecting {
    /// Reads these files, of several k6 in the order of their times, and writes into `folder`, which has no results yet.
    /// Texts in `secrets` do not appear there. Files that are not there yet are waited for, until
    /// [`Collecting::finish`].
    ///
    /// # Errors
    /// The folder cannot be written, or has results.
    pub fn start(files: &[PathBuf], folder: &Path, secrets: &[String]) -> Result<Self, LoadError> {
        let collected = Collected::new();
        let shared = Arc::new(Mutex::new(collected));
        let complete = Arc::new(AtomicBool::new(false));
        let sources: Vec<Growing> =
            files.iter().map(|path| Growing::new(path.clone(), Arc::clone(&complete))).collect();
        let mut writer = Writer {
            invocations: InvocationWriter::new(BufWriter::new(create(folder, INVOCATIONS_FILE)?))
                .map_err(|error| LoadError::Record(error.into()))?,
            metrics: csv::Writer::from_writer(BufWriter::new(create(folder, K6_FILE)?)),
            redactor: Redactor::new(secrets),
            number: 0,
            waiting: VecDeque::new(),
            settled: 0,
            last: HashMap::new(),
            shared: Arc::clone(&shared),
        };
        let (done, written) = oneshot::channel();
        std::thread::Builder::new()
            .name("load-k6".to_owned())
            .spawn(move || {
                let _ = done.send(writer.run(sources).map_err(|error| LoadError::Record(error.into())));
            })
            .map_err(LoadError::Start)?;
        Ok(Self { shared, complete, written })
    }

    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.shared.lock()
    }

    /// How far the load is.
    pub fn progress(&self, planned: Option<u64>, began: Instant, expected_s: Option<f64>) -> Progress {
        let now = self.lock();
        let latency = percentiles(&now.tally.latency);
        Progress {
            planned: planned.map(|planned| planned.max(now.iterations + now.tally.dropped)),
            sent: now.tally.sent,
            answered: now.tally.answered,
            failed: now.tally.failed,
            dropped: now.tally.dropped,
            // k6 tells of a request when it is over.
            in_flight: 0,
            p50_ms: latency.map(|latency| latency.p50),
            p95_ms: latency.map(|latency| latency.p95),
            p99_ms: latency.map(|latency| latency.p99),
            elapsed_s: began.elapsed().as_secs_f64(),
            expected_s,
        }
    }

    /// k6 has ended: reads the rest, and returns when all is written.
    ///
    /// # Errors
    /// What was read could not be written.
    pub async fn finish(mut self) -> Result<Collected, LoadError> {
        self.complete.store(true, Ordering::Release);
        (&mut self.written).await.unwrap_or(Err(LoadError::ThreadLost { thread: "collecting" }))?;
        Ok(std::mem::replace(&mut *self.shared.lock(), Collected::new()))
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        self.complete.store(true, Ordering::Release);
    }
}

struct Writer {
    invocations: InvocationWriter<BufWriter<File>>,
    metrics: csv::Writer<BufWriter<File>>,
    redactor: Redactor,
    number: u64,
    /// Requests in the order in which they ended, from the first on about which the script may still say something.
    waiting: VecDeque<Waiting>,
    /// How many are no longer waiting.
    settled: u64,
    /// By k6 and run of the script: its last request, counted from the first of all.
    last: HashMap<(usize, String), u64>,
    shared: Arc<Mutex<Collected>>,
}

/// A request whose run of the script goes on: a check may fail because of it.
struct Waiting {
    row: Invocation,
    is_final: bool,
}

impl Writer {
    fn run(&mut self, sources: Vec<Growing>) -> Result<(), csv::Error> {
        let mut readers = Vec::new();
        let mut time_column = 1;
        for source in sources {
            let mut blocks = Blocks::new(source);
            // Several k6 are of one version, and have the same columns.
            if let Some(header) = blocks.header()? {
                time_column = blocks.time_column();
                if readers.is_empty() {
                    self.metrics.write_byte_record(&header)?;
                }
                readers.push(blocks.peekable());
            }
        }
        let mut flushed = Instant::now();
        while let Some(next) = earliest(&mut readers) {
            let (source, block) = next?;
            self.block(source, block, time_column)?;
            if flushed.elapsed() > Duration::from_secs(1) {
                self.flush()?;
                flushed = Instant::now();
            }
        }
        for waiting in &mut self.waiting {
            waiting.is_final = true;
        }
        self.write_settled()?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), csv::Error> {
        self.invocations.flush()?;
        self.metrics.flush()?;
        Ok(())
    }

    fn block(&mut self, source: usize, block: Block, time_column: usize) -> Result<(), csv::Error> {
        let seconds = block.time.seconds().to_string();
        for record in &block.records {
            let shown = record.iter().enumerate().map(|(column, field)| {
                if column == time_column {
                    return seconds.as_bytes().into();
                }
                match self.redactor.bytes(field) {
                    formula if is_formula(&formula) => [b"'", &*formula].concat().into(),
                    text => text,
                }
            });
            let record: ByteRecord = shown.collect();
            self.metrics.write_byte_record(&record)?;
        }
        let run = (source, block.run);
        match block.about {
            About::Request(request) => {
                // A check is about the request before it.
                self.settle(&run);
                let row = self.invocation(request);
                self.last.insert(run, self.settled + self.waiting.len() as u64);
                self.waiting.push_back(Waiting { row, is_final: false });
            }
            About::FailedCheck => {
                let place = self.last.get(&run).map(|number| (number - self.settled) as usize);
                match place.and_then(|place| self.waiting.get_mut(place)) {
                    Some(Waiting { row, .. }) if row.outcome == Outcome::Ok => {
                        row.outcome = Outcome::FailedCheck;
                    }
                    Some(_) => {}
                    None => self.shared.lock().loose_checks += 1,
                }
            }
            About::Dropped(1) => {
                let row = self.dropped(block.time);
                self.waiting.push_back(Waiting { row, is_final: true });
            }
            // At the end of a scenario: those that it did not come to.
            About::Dropped(count) => {
                let mut collected = self.shared.lock();
                collected.tally.add_dropped(count);
            }
            About::Iterations(count) => {
                self.settle(&run);
                self.shared.lock().iterations += count;
            }
            About::Other => {}
        }
        self.write_settled()
    }

    /// Nothing more will be said about the last request of this run.
    fn settle(&mut self, run: &(usize, String)) {
        let place = self.last.remove(run).map(|number| (number - self.settled) as usize);
        if let Some(waiting) = place.and_then(|place| self.waiting.get_mut(place)) {
            waiting.is_final = true;
        }
    }

    /// Writes the rows that are final, in their order.
    fn write_settled(&mut self) -> Result<(), csv::Error> {
        while let Some(Waiting { row, .. }) = self.waiting.pop_front_if(|waiting| waiting.is_final) {
            self.settled += 1;
            let mut collected = self.shared.lock();
            match row.outcome {
                Outcome::Dropped => collected.tally.add_dropped(1),
                _ => collected.tally.add_unplanned(&row),
            }
            collected.untraced += u64::from(row.sent.is_some() && row.trace_id.is_empty());
            drop(collected);
            self.invocations.write(&row)?;
        }
        Ok(())
    }

    fn invocation(&mut self, request: Request) -> Invocation {
        self.number += 1;
        Invocation {
            invocation: self.number,
            request: self.redactor.text(&request.name).into_owned(),
            planned: None,
            sent: request.is_sent().then(|| request.sent()),
            answered: request.is_answered().then_some(request.ended),
            status: request.status(),
            outcome: request.outcome(),
            trace_id: request.trace_id,
        }
    }

    fn dropped(&mut self, time: Timestamp) -> Invocation {
        self.number += 1;
        Invocation {
            invocation: self.number,
            request: String::new(),
            trace_id: String::new(),
            planned: Some(time),
            sent: None,
            answered: None,
            status: None,
            outcome: Outcome::Dropped,
        }
    }
}

/// The next block of the source whose next block is earliest, and which source that is.
fn earliest<R: Read>(readers: &mut [Peekable<Blocks<R>>]) -> Option<Result<(usize, Block), csv::Error>> {
    let mut first: Option<(usize, Timestamp)> = None;
    for (index, reader) in readers.iter_mut().enumerate() {
        match reader.peek() {
            Some(Ok(block)) if first.is_none_or(|(_, time)| block.time < time) => {
                first = Some((index, block.time));
            }
            Some(Ok(_)) | None => {}
            Some(Err(_)) => return reader.next().map(|next| next.map(|block| (index, block))),
        }
    }
    first.and_then(|(index, _)| readers[index].next().map(|next| next.map(|block| (index, block))))
}

/// A file that grows while it is read, and ends when it is said to be complete.
struct Growing {
    path: PathBuf,
    file: Option<File>,
    complete: Arc<AtomicBool>,
    read: u64,
    given_back: u64,
}

impl Growing {
    fn new(path: PathBuf, complete: Arc<AtomicBool>) -> Self {
        Self { path, file: None, complete, read: 0, given_back: 0 }
    }

    /// Twice the space of a long load would be a lot: what was read needs none any more. As far as the disk can do it.
    fn give_back(&mut self) {
        if self.read - self.given_back < PIECE {
            return;
        }
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if let Ok(file) = OpenOptions::new().write(true).open(&self.path) {
            let _ = fallocate(&file, how, self.given_back, self.read - self.given_back);
        }
        self.given_back = self.read;
    }
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // In this order: what is written before it is said to be complete is read.
            let is_complete = self.complete.load(Ordering::Acquire);
            if self.file.is_none() {
                match File::open(&self.path) {
                    Ok(file) => self.file = Some(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
            let count = self.file.as_mut().map_or(Ok(0), |file| file.read(buffer))?;
            if count > 0 || is_complete {
                self.read += count as u64;
                self.give_back();
                return Ok(count);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}
