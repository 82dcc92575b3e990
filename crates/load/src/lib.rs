#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod answer;
mod busy;
mod causes;
mod closed_loop;
#[cfg(test)]
mod closed_loop_tests;
mod connect;
mod cookies;
mod draw;
mod http1;
pub mod k6;
mod lane;
mod latency_log;
mod pace;
mod pool;
mod prepare;
mod process;
mod record;
mod rows;
mod send;
mod summary;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod workload_tests;

use std::fmt;
use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use self::draw::Draws;
use self::lane::{Counted, Group, Share, Shared};
use self::latency_log::LatencyLog;
use self::pace::Clock;
use self::prepare::Values;
use self::record::{Block, Recorder, Tally, percentiles};
use sb_measurement::{LoadSummary, Percentiles};
use sb_workload::k6_options::k6_options;
use sb_workload::schedule::{Planned, planned};
use sb_workload::{Load, Workload};

pub use self::causes::FunctionLogs;
pub use self::connect::TlsSetupError;
pub use self::process::{
    LoadProcess, Results, as_process, check_room, connections, needed, read_spec, run_from_file,
};
pub use self::record::times;

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
    /// What is sent.
    pub workload: Workload,
    /// When it is sent.
    pub load: Load,
    /// Where the result files go: it exists, and has none of them yet.
    pub folder: PathBuf,
    /// Body files and `folder` must lie below it when they are opened, whatever links have been made since; none: they may lie
    /// anywhere.
    #[serde(default)]
    pub root: Option<PathBuf>,
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
    /// A folder with logs of what is loaded (`NAME.log`), which explain failures.
    #[serde(default)]
    pub function_logs: Option<PathBuf>,
}

/// A file that a load locks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadLock {
    /// The file, which is made where it is missing.
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
    /// Invocations that the load has in all; `None` where that is not known.
    pub planned: Option<u64>,
    /// Requests that have left, answered or not.
    pub sent: u64,
    /// Complete answers, as expected or not.
    pub answered: u64,
    /// Not answered as expected, whether they were sent or not.
    pub failed: u64,
    /// Due but never sent, because too many were under way.
    pub dropped: u64,
    /// Sent, and neither answered nor given up yet.
    pub in_flight: u64,
    /// Latency of answers as expected so far, from the moment of sending, in milliseconds; `None` before the first.
    pub p50_ms: Option<f64>,
    /// As `p50_ms`.
    pub p95_ms: Option<f64>,
    /// As `p50_ms`.
    pub p99_ms: Option<f64>,
    /// Seconds since the load began.
    pub elapsed_s: f64,
    /// Seconds that the sending takes by plan; `None` for iterations.
    pub expected_s: Option<f64>,
}

/// Why a load could not be sent, or not be measured. Requests that fail are results, not errors.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum LoadError {
    #[error("the workload has no requests; add at least one `[[workload.requests]]`")]
    NoRequests,
    #[error("cannot lock `{}`, which keeps loads of this machine apart: {source}; nothing was sent", path.display())]
    Lock { path: PathBuf, source: io::Error },
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
    #[error("request `{request}`: `{pattern}` is not a regular expression")]
    Pattern { request: String, pattern: String },
    #[error("https cannot be used: {0}")]
    Tls(#[from] TlsSetupError),
    #[error("cannot create {}: {source}; each invocation needs a folder of its own that exists and can be written", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error(
        "cannot record the results: {0}; the load was stopped, since it could not be measured: is the disk full?"
    )]
    Record(io::Error),
    #[error(
        "cannot start the load's threads or signal handlers: {0}; check the limits on processes and memory"
    )]
    Start(io::Error),
    #[error("the load's {thread} thread ended without a result; this is a defect of sb, please report it")]
    ThreadLost { thread: &'static str },
    #[error("cannot read the description of the load from {}: {problem}; start loads through `sb invoke` or `sb run`", path.display())]
    Spec { path: PathBuf, problem: String },
    #[error(
        "the load needs {needed} connections at once, and this process may open {room} (its limit of open files is {limit}): \
         raise the limit with `ulimit -n {}`, or lower the rate, the size of bursts or `expected_latency`",
        limit - room + needed
    )]
    Room { needed: u64, room: u64, limit: u64 },
    #[error("options for k6 drive scripts only; use another load, or a workload with a script")]
    OptionsOfK6,
    #[error("cannot read the script {}: {source}; check the path and its permissions", path.display())]
    Script { path: PathBuf, source: io::Error },
    #[error(
        "{} is not the module that sb writes there, and the script imports it: rename yours, or remove it to get that of sb",
        path.display()
    )]
    ForeignModule { path: PathBuf },
    #[error("cannot write {}: {source}; check the space and permissions of the folder", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// A thread more for so many invocations per second: it takes two thirds of a processor then. Fewer threads wake up less
/// often, and share connections better.
const LANE_RATE: f64 = 40_000.0;

/// How fast answers are for which a closed loop gets more threads: those of a server in the same room.
const FASTEST_ANSWER: Duration = Duration::from_millis(1);

/// Sends the whole load, reporting progress five times per second and once at the end.
///
/// Writes `invocations.csv`, `k6_metrics.csv`, `latency.hlog` and `workload_options.json` into the folder of `spec`, as
/// results come in.
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
    let values = Values::new(spec.values, &spec.secrets);
    let settings = spec.workload.settings.clone();
    let choices = prepare::prepare(&spec.workload, &values, spec.root.as_deref())?;
    if choices.is_empty() {
        return Err(LoadError::NoRequests);
    }
    let needs_tls = choices.iter().flat_map(|choice| &choice.requests).any(prepare::Prepared::needs_tls);
    let connector = Arc::new(connect::Connector::new(needs_tls, &settings)?);
    let draws = |choices: &[prepare::Choice]| {
        let draws = Draws::new(spec.seed, choices.iter().map(|choice| choice.weight));
        if spec.load.each_once { draws.each_once() } else { draws }
    };

    let clock = Clock::new();
    let plan = planned(&spec.load);
    if matches!(plan, Planned::Unknown) {
        return Err(LoadError::OptionsOfK6);
    }
    let total = plan.total();
    let expected = plan.length();
    let with_k6 = settings.k6_metrics;
    let recorder = Recorder::create(&spec.folder, with_k6)?;
    write_options(&spec.folder, &spec.load, spec.max_in_flight)?;
    let began = Instant::now();
    let mut latency_log = LatencyLog::create(&spec.folder, began, expected)?;
    let (writer, queue) = mpsc::channel(record::QUEUE);
    let written = start_recorder(recorder, queue)?;

    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    // Whoever drops this future stops the load.
    let _in_the_end = (stop.clone().drop_guard(), abort.clone().drop_guard());
    let shared = Arc::new(Shared {
        choices,
        values,
        settings,
        connector,
        clock,
        max_in_flight: spec.max_in_flight,
        in_flight: AtomicU64::new(0),
        stop: stop.clone(),
        abort: abort.clone(),
    });
    let mut threads = Vec::new();
    let mut lanes: Vec<Arc<Counted>> = Vec::new();
    let users = match &plan {
        Planned::Users { users, think_time, speed, .. } => Some((*users, think_time.mean().div_f64(*speed))),
        _ => None,
    };
    for share in shares(plan, began + LEAD, spec.seed) {
        let counted = Arc::new(Counted::new());
        lanes.push(Arc::clone(&counted));
        let (shared, writer) = (Arc::clone(&shared), writer.clone());
        let draws = draws(&shared.choices);
        let thread = std::thread::Builder::new()
            .name(format!("load-send-{}", lanes.len()))
            .spawn(move || lane::run(shared, counted, writer, draws, share))
            .map_err(LoadError::Start)?;
        threads.push(thread);
    }
    // Weak: the writer ends with the last thread that sends, and this one must not keep it alive.
    let under_way = writer.downgrade();
    drop(writer);

    let mut tally = Tally::new();
    let mut collect = |tally: &mut Tally| {
        for lane in &lanes {
            let mut counted = lane.tally.lock();
            latency_log.add(&counted)?;
            tally.collect(&mut counted);
        }
        Ok::<_, LoadError>(())
    };
    let mut report = |tally: &Tally, latency: Option<Percentiles>| {
        let sent: u64 = lanes.iter().map(|lane| lane.sent.load(Ordering::Relaxed)).sum();
        progress(Progress {
            planned: total,
            sent,
            answered: tally.answered,
            failed: tally.failed,
            dropped: tally.dropped,
            in_flight: shared.in_flight.load(Ordering::Relaxed),
            p50_ms: latency.map(|latency| latency.p50),
            p95_ms: latency.map(|latency| latency.p95),
            p99_ms: latency.map(|latency| latency.p99),
            elapsed_s: began.elapsed().as_secs_f64(),
            expected_s: expected.map(|length| length.as_secs_f64()),
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
                stop.cancel();
                match give_up_at {
                    None => give_up_at = Some(tokio::time::Instant::now() + CANCEL_GRACE),
                    Some(_) => abort.cancel(),
                }
            }
            _ = ticks.tick() => {
                collect(&mut tally)?;
                report(&tally, percentiles(&tally.latency));
                tick_count += 1;
                if with_k6 && tick_count.is_multiple_of(5) && let Some(writer) = under_way.upgrade() {
                    let (busy, most) = match users {
                        Some((users, _)) => (users, users),
                        None => (shared.in_flight.load(Ordering::Relaxed), spec.max_in_flight),
                    };
                    // A full queue means that rows are being written anyway.
                    let _ = writer.try_send(record::under_way(clock, busy, most));
                }
            }
        }
    };
    result.unwrap_or(Err(LoadError::ThreadLost { thread: "recording" }))?;
    for thread in threads {
        // The last of their senders is gone, so they are about to end.
        thread.join().map_err(|_| LoadError::ThreadLost { thread: "sending" })?.map_err(LoadError::Start)?;
    }
    collect(&mut tally)?;
    latency_log.write()?;
    let times = record::times(&spec.folder)?;
    // Whoever looks on sees at the end what the files say.
    report(&tally, times.latency.percentiles());

    let mut summary = summary::summarize(
        &tally,
        &times,
        total,
        give_up_at.is_some(),
        &spec.load.tolerances,
        clock.time(began),
        clock.time(Instant::now()),
    );
    if let Some((users, think_time)) = users {
        closed_loop::describe(&mut summary, &tally, users, think_time);
    }
    Ok(summary)
}

/// Divides a plan among threads.
fn shares(plan: Planned, start: Instant, seed: u64) -> Vec<Share> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = |rate: f64| ((rate / LANE_RATE).ceil() as usize).clamp(1, processors);
    match plan {
        Planned::Unknown => vec![],
        Planned::Closed { total } => vec![Share::InTurn { total }],
        Planned::Open(schedule) => {
            let of = threads(schedule.peak_rate());
            let share = |first| Share::Open { schedule: schedule.clone(), first, of, start };
            (0..of).map(share).collect()
        }
        Planned::Users { users, length, think_time, speed } => {
            let end = start.checked_add(length).unwrap_or(start);
            let each = FASTEST_ANSWER + think_time.mean().div_f64(speed);
            let of = threads(users as f64 / each.as_secs_f64()) as u64;
            let begun = Arc::new(AtomicU64::new(0));
            let group = Group { think_time, speed, start, end, seed, begun };
            let share = |number| Share::Users {
                users: users * number / of..users * (number + 1) / of,
                group: group.clone(),
            };
            (0..of).map(share).collect()
        }
    }
}

fn write_options(folder: &std::path::Path, load: &Load, max_vus: u64) -> Result<(), LoadError> {
    let path = folder.join(OPTIONS_FILE);
    let text = format!("{:#}\n", k6_options(load, max_vus));
    let options = sb_durable::Options::new().survives(sb_durable::Durability::Processes);
    sb_durable::write(&path, options, text.as_bytes())
        .map_err(|error| LoadError::Create { path, source: error.source })
}

fn start_recorder(
    recorder: Recorder,
    queue: mpsc::Receiver<Block>,
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
