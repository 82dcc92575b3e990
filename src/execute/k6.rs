//! A load that k6 sends: on this machine, in a container, or in containers of several engines that share it.
//!
//! One process is in charge of it, as of every load: it starts k6, reads what k6 writes, and outlives the runner. It
//! holds the load's locks meanwhile, and tells k6 to stop when it is told itself.

mod containers;
mod relay;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use sb_durable::{Durability, Options};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::containers::Container;
pub(super) use self::containers::{Containers, remove_leftovers};
use self::relay::Relay;
use crate::container::ContainerError;
use sb_load::k6::{self, Collecting, Share};
use sb_load::{LoadError, LoadLock, LoadProcess, OPTIONS_FILE, Progress, Results};
use sb_measurement::{LoadSummary, Redactor, Timestamp, counted};
use sb_workload::Load;
use sb_workload::k6_options::{k6_options, overlay};
use sb_workload::schedule::planned;

/// The hidden argument under which this program has k6 send load.
pub(crate) const K6_ARGUMENT: &str = "internal-k6";

/// Told again, k6 ends at once instead of gracefully.
const ASK_AGAIN: Duration = Duration::from_secs(3);
const HEAR_TOO: Duration = Duration::from_secs(1);
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Everything that such a load needs. Holds values that may be secret: a file of it must be readable by its owner only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct K6Spec {
    pub script: PathBuf,
    pub env: BTreeMap<String, String>,
    /// Laid over those of the load.
    pub options: Value,
    pub load: Load,
    /// Where the result files go: it exists, and has none of them yet.
    pub folder: PathBuf,
    /// The script and `folder` must lie below it when they are used, whatever links have been made since.
    #[serde(default)]
    pub root: Option<PathBuf>,
    /// What k6 reads and writes, in a folder of its own for each.
    pub work: PathBuf,
    /// Texts that must not appear in the result files.
    pub secrets: Vec<String>,
    pub locks: Vec<LoadLock>,
    /// A folder with logs of what is loaded, which explain failures.
    #[serde(default)]
    pub function_logs: Option<PathBuf>,
    /// None: the `k6` of this machine.
    pub containers: Option<Containers>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum K6Error {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error("load generator {address}: {source}")]
    Generator { address: String, source: ContainerError },
    #[error(
        "there is no program `k6` in PATH: `sb doctor` shows how to install it; \
         or run the steps in containers with `--executor docker`"
    )]
    Missing,
    #[error(
        "`k6 version` says `{found}`, and {}.{} or newer is needed: update it, or run the steps in containers with `--executor docker`",
        k6::OLDEST.0, k6::OLDEST.1
    )]
    TooOld { found: String },
    #[error("k6 cannot be started: {0}; is it executable, and is there memory left?")]
    Start(io::Error),
    #[error("k6 cannot use the script `{}`: {message}", script.display())]
    Script { script: PathBuf, message: String },
    #[error(
        "the options in the script `{}` set {}, which k6 would take instead of the load: remove that from the script, or \
         give it as the load: `k6_options = \"options.json\"`",
        script.display(), keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
    )]
    OwnLoad { script: PathBuf, keys: Vec<&'static str> },
    #[error("k6 sent nothing: {0}")]
    SentNothing(String),
    #[error("the load was cancelled before it began")]
    Cancelled,
}

/// Has k6 send the load that `spec` describes (JSON of a [`K6Spec`]); as [`sb_load::run_from_file`].
pub(crate) fn run_k6(spec: &Path, progress_file: &Path) -> Result<LoadSummary, K6Error> {
    let mut spec: K6Spec = sb_load::read_spec(spec)?;
    let results = Results::open(spec.root.as_deref(), &spec.folder)?;
    spec.folder = results.path();
    let about = LoadProcess {
        folder: spec.folder.clone(),
        locks: spec.locks.clone(),
        function_logs: spec.function_logs.clone(),
        secrets: spec.secrets.clone(),
    };
    sb_load::as_process(&about, progress_file, async |progress, cancel| drive(&spec, progress, cancel).await)
        .map_err(|error| match error {
            K6Error::Load(error) => K6Error::Load(results.named(error)),
            other => other,
        })
}

/// A k6 that runs.
enum Hand {
    Process(u32),
    Container(Box<Container>),
}

impl Hand {
    /// As far as it goes: one that has ended hears nothing.
    async fn terminate(&self) {
        match self {
            Self::Process(id) => {
                if let Some(id) = i32::try_from(*id).ok().and_then(Pid::from_raw) {
                    let _ = rustix::process::kill_process(id, Signal::TERM);
                }
            }
            Self::Container(container) => {
                let _ = container.engine.signal(&container.name, "SIGTERM").await;
            }
        }
    }
}

/// How a k6 ended.
struct ProcessEnd {
    code: Option<i64>,
    /// What it said went wrong.
    message: Option<String>,
}

type ProcessEnds = JoinSet<(usize, Result<ProcessEnd, K6Error>)>;

async fn drive(
    spec: &K6Spec,
    progress: &mut (dyn FnMut(Progress) + Send),
    cancel: CancellationToken,
) -> Result<LoadSummary, K6Error> {
    let mut options = k6_options(&spec.load, sb_load::DEFAULT_MAX_IN_FLIGHT);
    options["systemTags"] = k6::SYSTEM_TAGS.into();
    overlay(&mut options, &spec.options);
    let text = format!("{options:#}\n");
    // A link in its place is replaced and not followed.
    let kept = Options::new().survives(Durability::Processes);
    sb_durable::write(&spec.folder.join(OPTIONS_FILE), kept, text.as_bytes())
        .map_err(|error| LoadError::Write { path: error.path, source: error.source })?;
    k6::place_module(&spec.script, spec.root.as_deref())?;
    let result = match &spec.containers {
        None => {
            if let Some(needed) = sb_load::connections(&spec.load) {
                sb_load::check_room(needed)?;
            }
            check_k6().await?;
            check_script(spec, &options, &inspect(spec).await?)?;
            send(spec, &text, Vec::new(), progress, cancel).await
        }
        Some(containers) => {
            let sent = async {
                let made = containers.make(spec, &options, &text, &cancel).await?;
                send(spec, &text, made, progress, cancel.clone()).await
            };
            let sent = sent.await;
            remove_leftovers(containers).await;
            sent
        }
    };
    // What was read is in the results; of a load that failed it may help to find out why.
    if result.is_ok() {
        let _ = std::fs::remove_dir_all(&spec.work);
    }
    result
}

async fn send(
    spec: &K6Spec,
    options: &str,
    containers: Vec<Container>,
    progress: &mut (dyn FnMut(Progress) + Send),
    cancel: CancellationToken,
) -> Result<LoadSummary, K6Error> {
    let count = containers.len().max(1);
    let folders: Vec<PathBuf> = (0..count).map(|number| spec.work.join(number.to_string())).collect();
    let files: Vec<PathBuf> = folders.iter().map(|folder| folder.join(k6::METRICS)).collect();
    let is_here = containers.iter().all(|container| !container.is_elsewhere);
    let collecting = is_here.then(|| Collecting::start(&files, &spec.folder, &spec.secrets)).transpose()?;
    if cancel.is_cancelled() {
        return Err(K6Error::Cancelled);
    }

    let redactor = Redactor::new(&spec.secrets);
    let relays: Vec<Relay> = (0..count)
        .map(|number| {
            let prefix =
                containers.get(number).filter(|_| count > 1).map(|container| container.address.clone());
            Relay::new(prefix, redactor.clone())
        })
        .collect();
    let (began, started) = (Instant::now(), now());
    let mut ends = ProcessEnds::new();
    let mut notes = Vec::new();
    let hands: Vec<Hand> = if containers.is_empty() {
        vec![start_process(spec, &folders[0], options, &relays[0], &mut ends)?]
    } else {
        let skew = containers::start(&containers, &relays, &mut ends).await?;
        if count > 1 {
            notes.push(format!(
                "{count} load generators were started within {:.0} ms of each other.",
                skew.as_secs_f64() * 1e3
            ));
        }
        containers.into_iter().map(|container| Hand::Container(Box::new(container))).collect()
    };

    let plan = planned(&spec.load);
    let total = plan.total();
    let expected_s = plan.length().map(|length| length.as_secs_f64());
    let mut found: Vec<Option<Result<ProcessEnd, K6Error>>> = (0..count).map(|_| None).collect();
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    let mut ask_again = None;
    let mut stopping = false;
    let mut first_failed = None;
    let report = |collecting: Option<&Collecting>| match collecting {
        Some(collecting) => collecting.progress(total, began, expected_s),
        None => relay::progress(&relays, total, began, expected_s),
    };
    while !ends.is_empty() {
        let again = async {
            match ask_again {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(ended) = ends.join_next() => {
                let Ok((number, end)) = ended else { continue };
                let is_fine = matches!(&end, Ok(ProcessEnd { code: Some(code), .. }) if is_fine(*code));
                found[number] = Some(end);
                if !is_fine && !stopping {
                    // Its share is missing: what the others go on to send is no measurement.
                    stopping = true;
                    first_failed = Some(number);
                    terminate(&hands, &found).await;
                    ask_again = Some(tokio::time::Instant::now() + ASK_AGAIN);
                }
            }
            () = cancel.cancelled(), if !stopping => {
                stopping = true;
                // On this machine k6 is in our process group, and has been told as we were.
                if matches!(hands[0], Hand::Container(_)) {
                    terminate(&hands, &found).await;
                }
                ask_again = Some(tokio::time::Instant::now() + ASK_AGAIN);
            }
            () = again => {
                ask_again = None;
                terminate(&hands, &found).await;
            }
            _ = ticks.tick() => progress(report(collecting.as_ref())),
        }
    }
    let ended = now();
    let was_stopped = |end: &Option<Result<ProcessEnd, K6Error>>| matches!(end, Some(Ok(ProcessEnd { code: Some(code), .. })) if *code == i64::from(k6::STOPPED));
    if found.iter().any(was_stopped) {
        // On this machine it hears of a request to stop as we do, and may have ended before we have heard.
        let _ = tokio::time::timeout(HEAR_TOO, cancel.cancelled()).await;
    }
    for hand in &hands {
        if let Hand::Container(container) = hand {
            container.fetch(&spec.work).await?;
        }
    }
    let collecting = match collecting {
        Some(collecting) => collecting,
        None => Collecting::start(&files, &spec.folder, &spec.secrets)?,
    };
    let collected = collecting.finish().await?;

    let cancelled = cancel.is_cancelled();
    let mut failures = Vec::new();
    let mut invalid = Vec::new();
    for (number, end) in found.into_iter().enumerate() {
        let who = match &hands[number] {
            Hand::Container(container) if count > 1 => format!("load generator {}: ", container.address),
            _ => String::new(),
        };
        let words = match end {
            Some(Ok(ProcessEnd { code: Some(code), .. })) if is_fine(code) || cancelled => continue,
            // Of those that were stopped because of another one nothing need be said.
            end if was_stopped(&end) && first_failed != Some(number) => continue,
            Some(Ok(ProcessEnd { code, message })) => {
                let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
                let message = message.map(|message| format!(": {message}")).unwrap_or_default();
                format!("{who}k6 ended with {code}{message}")
            }
            Some(Err(error)) => format!("{who}{error}"),
            None => format!("{who}nobody knows how k6 ended"),
        };
        failures.push(words);
    }
    if collected.requests() == 0 && collected.iterations == 0 && !cancelled {
        if let Some(words) = failures.into_iter().next() {
            return Err(K6Error::SentNothing(words));
        }
    } else {
        let others = if count > 1 { "; the others were stopped" } else { "" };
        invalid.extend(failures.into_iter().map(|words| format!("{words}{others}.")));
    }
    let mut requests = 0;
    let mut is_known = true;
    for folder in &folders {
        match k6::exported(&folder.join(k6::SUMMARY)) {
            Some(exported) => {
                requests += exported.requests;
                invalid.extend(
                    exported.failed_thresholds.iter().map(|words| format!("The threshold {words} failed.")),
                );
            }
            None => is_known = false,
        }
    }
    if is_known && !cancelled && requests != collected.requests() {
        invalid.push(format!(
            "k6 counted {}, and its measurements hold {}: was a disk full?",
            counted(requests, "request"),
            collected.requests()
        ));
    }
    let ran = k6::Ran {
        planned: total,
        cancelled,
        started,
        ended,
        invalid,
        notes,
        thrown: relays.iter().filter_map(Relay::thrown).reduce(|one, other| (one.0 + other.0, one.1)),
    };
    let times = sb_load::times(&spec.folder)?;
    let summary = k6::summary(&collected, &times, ran, &spec.load.tolerances);
    progress(Progress {
        planned: summary.planned,
        sent: summary.sent,
        answered: summary.answered,
        failed: summary.failed,
        dropped: summary.dropped,
        in_flight: 0,
        p50_ms: summary.latency_ms.map(|latency| latency.p50),
        p95_ms: summary.latency_ms.map(|latency| latency.p95),
        p99_ms: summary.latency_ms.map(|latency| latency.p99),
        elapsed_s: began.elapsed().as_secs_f64(),
        expected_s,
    });
    for note in &summary.notes {
        relay::say(note);
    }
    Ok(summary)
}

/// Ended as it should, whatever its thresholds say.
fn is_fine(code: i64) -> bool {
    code == 0 || code == i64::from(k6::THRESHOLDS_FAILED)
}

/// All that have not ended.
async fn terminate(hands: &[Hand], found: &[Option<Result<ProcessEnd, K6Error>>]) {
    for (hand, end) in hands.iter().zip(found) {
        if end.is_none() {
            hand.terminate().await;
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
}

fn write(path: &Path, text: &str) -> Result<(), LoadError> {
    std::fs::write(path, text).map_err(|source| LoadError::Write { path: path.to_owned(), source })
}

fn make_folder(path: &Path) -> Result<(), LoadError> {
    std::fs::create_dir_all(path).map_err(|source| LoadError::Write { path: path.to_owned(), source })
}

/// What the script says of itself that the load does not allow.
fn check_script(spec: &K6Spec, options: &Value, inspected: &str) -> Result<(), K6Error> {
    let keys = k6::own_load(inspected);
    let is_given =
        ["scenarios", "stages", "vus", "duration", "iterations"].iter().any(|key| !options[key].is_null());
    if keys.is_empty() || !is_given {
        return Ok(());
    }
    Err(K6Error::OwnLoad { script: spec.script.clone(), keys })
}

/// The `k6` of this machine, without what the user's environment would change of the load.
fn k6_here(spec: &K6Spec) -> Command {
    let mut command = Command::new("k6");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("K6_") {
            command.env_remove(name);
        }
    }
    command.envs(&spec.env).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.current_dir(spec.script.parent().unwrap_or(Path::new("/")));
    command
}

async fn check_k6() -> Result<(), K6Error> {
    let output = Command::new("k6").arg("version").stdin(Stdio::null()).output().await.map_err(started)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let found = text.lines().next().unwrap_or_default().trim().to_owned();
    match k6::version(&found) {
        Some(version) if version >= k6::OLDEST => Ok(()),
        _ => Err(K6Error::TooOld { found }),
    }
}

fn started(error: io::Error) -> K6Error {
    if error.kind() == io::ErrorKind::NotFound { K6Error::Missing } else { K6Error::Start(error) }
}

/// The script's own options, as JSON.
async fn inspect(spec: &K6Spec) -> Result<String, K6Error> {
    let script = spec.script.to_string_lossy();
    let output = k6_here(spec).args(k6::inspect_arguments(&script)).output().await.map_err(started)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(unusable(spec, &String::from_utf8_lossy(&output.stderr)))
}

fn unusable(spec: &K6Spec, said: &str) -> K6Error {
    let message = said.lines().rev().find_map(k6::error_in);
    let last = || said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it says nothing").to_owned();
    let message = Redactor::new(&spec.secrets).text(&message.unwrap_or_else(last)).into_owned();
    K6Error::Script { script: spec.script.clone(), message }
}

fn start_process(
    spec: &K6Spec,
    folder: &Path,
    options: &str,
    relay: &Relay,
    ends: &mut ProcessEnds,
) -> Result<Hand, K6Error> {
    make_folder(folder)?;
    write(&folder.join(k6::OPTIONS), options)?;
    let place = folder.to_string_lossy();
    let script = spec.script.to_string_lossy();
    let mut child = k6_here(spec)
        .args(k6::run_arguments(&script, &place, Share { number: 0, of: 1 }, false))
        .envs(k6::run_environment(&place))
        .spawn()
        .map_err(started)?;
    let id = child.id().unwrap_or_default();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut out, mut err) = (relay.stream(), relay.stream());
    let relay = relay.clone();
    ends.spawn(async move {
        let reading = async {
            tokio::join!(
                async {
                    if let Some(mut stdout) = stdout {
                        pass_on(&mut stdout, &mut out).await;
                    }
                },
                async {
                    if let Some(mut stderr) = stderr {
                        pass_on(&mut stderr, &mut err).await;
                    }
                }
            )
        };
        let (status, _) = tokio::join!(child.wait(), reading);
        let end = status
            .map_err(K6Error::Start)
            .map(|status| ProcessEnd { code: status.code().map(i64::from), message: relay.message() });
        (0, end)
    });
    Ok(Hand::Process(id))
}

async fn pass_on(source: &mut (impl tokio::io::AsyncRead + Unpin), stream: &mut relay::RelayStream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = source.read(&mut buffer).await {
        stream.push(&buffer[..count]);
    }
    stream.end();
}
