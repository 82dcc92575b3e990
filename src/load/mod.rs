//! Sends a load: every request at its planned time, whether or not the ones before were answered (an open loop), and
//! every answer measured both from the moment of sending and from the planned time, so that a stall of the
//! server is not hidden by a generator that waits for it (coordinated omission).
//!
//! A thread paces (`pace`), tasks send ([`send`]), a thread writes ([`record`]). All that can be wrong with a request
//! is found before the first one leaves (`prepare`).

mod connect;
mod draw;
mod k6_csv;
mod pace;
mod prepare;
mod process;
mod record;
mod send;
mod summary;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::draw::{Draw, Draws};
use self::pace::{Clock, Pacer, Stop};
use self::prepare::{Prepared, Values};
use self::record::{Ended, Record, Recorder, SharedTally};
use self::send::{Exchanged, HttpClient};
use crate::measurement::{LoadSummary, Outcome};
use crate::workload::k6_options::k6_options;
use crate::workload::schedule::{Planned, Schedule, planned};
use crate::workload::{Load, Workload};

pub use self::process::run_from_file;

/// The options file that is written beside the results.
pub const OPTIONS_FILE: &str = "workload_options.json";

/// Requests that may be under way at once when the caller does not say.
pub const DEFAULT_MAX_IN_FLIGHT: u64 = 10_000;

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// How long a cancelled load waits for the answers that are under way.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// Between the start and the first planned request: the pacing thread is ready by then.
const LEAD: Duration = Duration::from_millis(20);

/// Everything that a load needs. Holds values that may be secret: a file of it must be readable by its owner only.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadSpec {
    pub workload: Workload,
    pub load: Load,
    /// Where the result files go: it exists, and has none of them yet.
    pub folder: PathBuf,
    /// Fixes the choice of requests and `request.random`.
    pub seed: u64,
    /// The tables of template values: `params`, `outputs`, `benchmark`, `target`, `run`, `trial`, `logs_dir`.
    pub values: Value,
    /// Texts that must not appear in the result files; they are blotted out of URLs there.
    #[serde(default)]
    pub secrets: Vec<String>,
    /// Locked in this order before the first request, and until the last has ended: whoever else sends load on this
    /// machine sees that this one does, even when its runner is dead.
    #[serde(default)]
    pub locks: Vec<LoadLock>,
    /// Requests under way beyond which an invocation is dropped instead of sent.
    #[serde(default = "default_max_in_flight")]
    pub max_in_flight: u64,
}

/// A file that a load locks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadLock {
    pub path: PathBuf,
    /// Excludes every other load, instead of those alone that exclude others.
    pub alone: bool,
}

/// Without the values and secrets, so that it may be logged.
impl fmt::Debug for LoadSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("LoadSpec")
            .field("folder", &self.folder)
            .field("load", &self.load)
            .field("seed", &self.seed)
            .field("max_in_flight", &self.max_in_flight)
            .finish_non_exhaustive()
    }
}

fn default_max_in_flight() -> u64 {
    DEFAULT_MAX_IN_FLIGHT
}

/// A load that is running, several times per second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Invocations that the load has in all.
    pub planned: u64,
    /// Requests that have left, answered or not.
    pub sent: u64,
    pub answered: u64,
    pub failed: u64,
    pub dropped: u64,
    pub in_flight: u64,
    /// Latency so far, from the moment of sending, in milliseconds; `None` before the first answer.
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    /// Seconds since the load began.
    pub elapsed_s: f64,
    /// Seconds that the sending takes by plan; `None` for iterations.
    pub expected_s: Option<f64>,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the workload has no requests; add at least one `[[workload.requests]]`")]
    NoRequests,
    #[error(
        "request `{request}`: `{{{{{path}}}}}` in its {place} has no value; define it, or see which step should have made it"
    )]
    Undefined { request: String, place: String, path: String },
    #[error("request `{request}`: `{method}` is not an HTTP method; use GET, POST, PUT …")]
    Method { request: String, method: String },
    #[error("request `{request}`: the URL made from `{template}` cannot be used: {reason}")]
    Url { request: String, template: String, reason: String },
    #[error("request `{request}`: header `{header}` {problem}")]
    Header { request: String, header: String, problem: String },
    #[error("request `{request}`: cannot read its body from {}: {source}; check `body_file`", path.display())]
    BodyFile { request: String, path: PathBuf, source: io::Error },
    #[error(
        "cannot read the system's root certificates, which https needs: {0}; install the `ca-certificates` package"
    )]
    Certificates(io::Error),
    #[error("cannot create {}: {source}; each invocation needs a folder of its own that exists and can be written", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error(
        "cannot record the results: {0}; the load was stopped, since it could not be measured: is the disk full?"
    )]
    Record(csv::Error),
    #[error(
        "cannot start the load's threads or signal handlers: {0}; check the limits on processes and memory"
    )]
    Start(io::Error),
    #[error("the load's {thread} thread ended without a result; this is a defect of sb, please report it")]
    ThreadLost { thread: &'static str },
    #[error("cannot read the description of the load from {}: {problem}; start loads through `sb invoke` or `sb run`", path.display())]
    Spec { path: PathBuf, problem: String },
    #[error("cannot write {}: {source}; check the space and permissions of the folder", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// What all parts of a running load share.
struct Engine {
    client: HttpClient,
    requests: Arc<[Prepared]>,
    values: Values,
    timeout: Duration,
    max_in_flight: u64,
    flow: Arc<Flow>,
    records: mpsc::Sender<Record>,
    abort: CancellationToken,
}

/// Counts that are ahead of the tally: that one knows an invocation when it is over.
#[derive(Default)]
struct Flow {
    sent: AtomicU64,
    in_flight: AtomicU64,
}

/// Sends the whole load, reporting progress five times per second and once at the end.
///
/// Writes `invocations.csv`, `k6_metrics.csv` and `workload_options.json` into the folder of `spec`, as results come in.
/// When `cancel` fires, nothing more is sent, answers under way have two seconds to arrive, and the summary
/// says `cancelled`. Requests that fail are results, not errors.
///
/// # Errors
/// A request that cannot be built (before anything is sent), or files that cannot be written (the load stops).
pub async fn run(
    spec: LoadSpec,
    mut progress: impl FnMut(Progress) + Send,
    cancel: CancellationToken,
) -> Result<LoadSummary, LoadError> {
    if spec.workload.requests.is_empty() {
        return Err(LoadError::NoRequests);
    }
    let values = Values::new(spec.values, &spec.secrets);
    let requests: Arc<[Prepared]> = Prepared::all(&spec.workload, &values)?.into();
    let needs_tls = requests.iter().any(|request| request.needs_tls);
    let client = send::client(connect::Connector::new(needs_tls).map_err(LoadError::Certificates)?);

    let clock = Clock::new();
    let tally = SharedTally::new();
    let recorder =
        Recorder::create(&spec.folder, Arc::clone(&requests), clock, tally.clone(), spec.max_in_flight)?;
    write_options(&spec.folder, &spec.load, spec.max_in_flight)?;
    let (records, queue) = mpsc::channel(record::QUEUE);
    let written = start_recorder(recorder, queue)?;

    // Weak: the writer ends with the last invocation, and progress must not keep it alive.
    let under_way = records.downgrade();
    let flow = Arc::new(Flow::default());
    let abort = CancellationToken::new();
    // Whoever drops this future stops the load.
    let _abort_in_the_end = abort.clone().drop_guard();
    let engine = Arc::new(Engine {
        client,
        requests,
        values,
        timeout: spec.workload.timeout,
        max_in_flight: spec.max_in_flight,
        flow: Arc::clone(&flow),
        records,
        abort: abort.clone(),
    });

    let draws = Draws::new(spec.seed, spec.workload.requests.iter().map(|request| request.weight));
    let plan = planned(&spec.load);
    let total = plan.total();
    let expected_s = plan.length().map(|length| length.as_secs_f64());
    let began = Instant::now();
    let sending = Sending::start(engine, plan, draws, clock, began + LEAD)?;
    let mut report = || {
        let tally = tally.lock();
        let latency = tally.latency();
        progress(Progress {
            planned: total,
            sent: flow.sent.load(Ordering::Relaxed).max(tally.sent),
            answered: tally.answered,
            failed: tally.failed,
            dropped: tally.dropped,
            in_flight: flow.in_flight.load(Ordering::Relaxed),
            p50_ms: latency.map(|latency| latency.p50),
            p95_ms: latency.map(|latency| latency.p95),
            p99_ms: latency.map(|latency| latency.p99),
            elapsed_s: began.elapsed().as_secs_f64(),
            expected_s,
        });
    };

    let mut written = std::pin::pin!(written);
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut tick_count = 0_u64;
    let mut give_up_at = None;
    let result = loop {
        let cancelled_or_late = async {
            match give_up_at {
                None => cancel.cancelled().await,
                Some(at) => tokio::time::sleep_until(at).await,
            }
        };
        tokio::select! {
            result = &mut written => break result,
            () = cancelled_or_late, if !abort.is_cancelled() => {
                sending.stop();
                match give_up_at {
                    None => give_up_at = Some(tokio::time::Instant::now() + CANCEL_GRACE),
                    Some(_) => abort.cancel(),
                }
            }
            _ = ticks.tick() => {
                report();
                tick_count += 1;
                if tick_count.is_multiple_of(5) && let Some(records) = under_way.upgrade() {
                    let requests = flow.in_flight.load(Ordering::Relaxed);
                    // A full queue means that rows are being written anyway.
                    let _ = records.try_send(Record::UnderWay { at: Instant::now(), requests });
                }
            }
        }
    };
    drop(sending);
    result.unwrap_or(Err(LoadError::ThreadLost { thread: "recording" }))?;
    report();

    let ended = Instant::now();
    let cancelled = give_up_at.is_some();
    let tally = tally.lock();
    Ok(summary::summarize(
        &tally,
        total,
        cancelled,
        &spec.load.tolerances,
        clock.time(began),
        clock.time(ended),
    ))
}

fn write_options(folder: &std::path::Path, load: &Load, max_vus: u64) -> Result<(), LoadError> {
    let path = folder.join(OPTIONS_FILE);
    let text = format!("{:#}\n", k6_options(load, max_vus));
    std::fs::write(&path, text).map_err(|source| LoadError::Create { path, source })
}

fn start_recorder(
    recorder: Recorder,
    queue: mpsc::Receiver<Record>,
) -> Result<oneshot::Receiver<Result<(), LoadError>>, LoadError> {
    let (done, written) = oneshot::channel();
    std::thread::Builder::new()
        .name("load-record".to_owned())
        .spawn(move || {
            // The load may have been given up: then nobody waits for the result.
            let _ = done.send(recorder.run(queue));
        })
        .map_err(LoadError::Start)?;
    Ok(written)
}

/// What makes the requests leave.
enum Sending {
    Paced { stop: Stop, thread: std::thread::JoinHandle<()> },
    InTurn { stop: Stop },
}

impl Sending {
    fn start(
        engine: Arc<Engine>,
        plan: Planned,
        draws: Draws,
        clock: Clock,
        start: Instant,
    ) -> Result<Self, LoadError> {
        let stop = Stop::new();
        match plan {
            Planned::Open(schedule) => {
                let runtime = tokio::runtime::Handle::current();
                let pacer_stop = stop.clone();
                let thread = std::thread::Builder::new()
                    .name("load-pace".to_owned())
                    .spawn(move || pace_all(engine, schedule, draws, clock, start, pacer_stop, &runtime))
                    .map_err(LoadError::Start)?;
                Ok(Self::Paced { stop, thread })
            }
            Planned::Closed { total } => {
                tokio::spawn(send_in_turn(engine, total, draws, clock, stop.clone()));
                Ok(Self::InTurn { stop })
            }
        }
    }

    /// Nothing more is sent.
    fn stop(&self) {
        match self {
            Self::Paced { stop, thread } => stop.set_and_wake(thread.thread()),
            Self::InTurn { stop } => stop.set(),
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Open loop: hands every invocation over at its time.
fn pace_all(
    engine: Arc<Engine>,
    schedule: Schedule,
    mut draws: Draws,
    clock: Clock,
    start: Instant,
    stop: Stop,
    runtime: &tokio::runtime::Handle,
) {
    let pacer = Pacer::on_this_thread(stop);
    for offset in schedule {
        // Drawing first: only the handing over is left to do at the due time.
        let Some(due) = start.checked_add(offset) else { return };
        let draw = draws.draw(clock.time(due));
        if !pacer.wait_until(due) {
            return;
        }
        if engine.flow.in_flight.load(Ordering::Relaxed) >= engine.max_in_flight {
            let dropped = Ended { draw, planned: due, exchanged: None };
            if engine.records.blocking_send(Record::Ended(Box::new(dropped))).is_err() {
                return;
            }
        } else {
            engine.flow.in_flight.fetch_add(1, Ordering::Relaxed);
            runtime.spawn(invoke(Arc::clone(&engine), draw, due));
        }
    }
}

/// Closed loop: the next invocation is due when the last one is over.
async fn send_in_turn(engine: Arc<Engine>, total: u64, mut draws: Draws, clock: Clock, stop: Stop) {
    for _ in 0..total {
        if stop.is_set() {
            return;
        }
        let due = Instant::now();
        let draw = draws.draw(clock.time(due));
        engine.flow.in_flight.fetch_add(1, Ordering::Relaxed);
        invoke(Arc::clone(&engine), draw, due).await;
    }
}

/// Sends one invocation and records what came of it. It counts as under way until the record is accepted.
async fn invoke(engine: Arc<Engine>, draw: Draw, planned: Instant) {
    let prepared = &engine.requests[draw.choice];
    engine.flow.sent.fetch_add(1, Ordering::Relaxed);
    let (exchanged, url) = match prepared.message(&draw, &engine.values) {
        Ok(message) => {
            let url = Arc::clone(&message.url.shown);
            (send::send(&engine.client, prepared, message, engine.timeout, &engine.abort).await, url)
        }
        Err(problem) => (Exchanged::unsendable(problem), Arc::from("")),
    };
    let ended = Ended { draw, planned, exchanged: Some((exchanged, url)) };
    // Fails only when the files cannot be written, which ends the load.
    let _ = engine.records.send(Record::Ended(Box::new(ended))).await;
    engine.flow.in_flight.fetch_sub(1, Ordering::Relaxed);
}

impl Exchanged {
    /// A request that could not be built.
    fn unsendable(problem: String) -> Self {
        let now = Instant::now();
        Self {
            sent: now,
            ended: now,
            status: None,
            outcome: Outcome::Protocol,
            error: problem,
            version: None,
            tls_version: None,
            phases: send::Phases::default(),
            bytes_sent: 0,
            bytes_received: 0,
        }
    }
}
