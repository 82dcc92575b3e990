//! A load as a process of its own: described by one file, seen through another, stopped by a signal.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sb_durable::{Durability, HeldFolder, Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::busy::Busy;
use super::causes::FunctionLogs;
use super::{LoadError, LoadLock, LoadSpec, Progress, run};
use sb_measurement::{LoadSummary, Outcome, Redactor, SUMMARY_FILE, counted};
use sb_workload::{HttpVersion, Load, LoadShape, Workload, http};

/// The progress file starts anew with its latest line when it grows beyond this many bytes.
const PROGRESS_FILE_LIMIT: u64 = 256 * 1024;

/// Files that a load opens besides its connections: results, runtimes, name resolution.
const OWN_FILES: u64 = 16;

/// Runs the load that `spec` describes (JSON of a [`LoadSpec`]) until its end, SIGTERM or SIGINT.
///
/// Progress goes to `progress_file`, one JSON object ([`Progress`]) per line. The file stays below a bound: now and then
/// it is replaced by one that has only the latest line, so open it anew for each look and take the last complete
/// line. At the end `load_summary.json` appears in the load's folder, complete at once.
///
/// Makes its own async runtime: do not call it from within one. Raises this process's limit on open files as far as it
/// may go, since every request under way may need a connection.
///
/// # Errors
/// Those of [`run`], and files that cannot be read or written. A progress file that fails later on is given up, the load
/// goes on.
pub fn run_from_file(spec: &Path, progress_file: &Path) -> Result<LoadSummary, LoadError> {
    let mut spec: LoadSpec = read_spec(spec)?;
    let results = Results::open(spec.root.as_deref(), &spec.folder)?;
    spec.folder = results.path();
    let about = LoadProcess {
        folder: spec.folder.clone(),
        locks: spec.locks.clone(),
        function_logs: spec.function_logs.clone(),
        secrets: spec.secrets.clone(),
    };
    as_process(&about, progress_file, async |progress, cancel| {
        if let Some(needed) = needed(&spec.workload, &spec.load) {
            check_room(needed.min(spec.max_in_flight))?;
        }
        run(spec, progress, cancel).await
    })
    .map_err(|error| results.named(error))
}

/// A folder that a load writes to. A load takes long, and somebody may put a link in the place of the folder meanwhile: what is
/// written lands in the folder that was there when the load began.
#[derive(Debug)]
pub struct Results {
    held: Option<HeldFolder>,
    folder: PathBuf,
}

impl Results {
    /// Opens the folder, which must lie below `root`; none: it may lie anywhere.
    ///
    /// # Errors
    /// [`LoadError::Create`]: it is not there, or leads out of the root.
    pub fn open(root: Option<&Path>, folder: &Path) -> Result<Self, LoadError> {
        let open = |root| HeldFolder::beneath(root, folder);
        let held = root.map(open).transpose();
        let held = held.map_err(|source| LoadError::Create { path: folder.to_owned(), source })?;
        Ok(Self { held, folder: folder.to_owned() })
    }

    /// By which it is written to, in this process.
    pub fn path(&self) -> PathBuf {
        self.held.as_ref().map_or_else(|| self.folder.clone(), HeldFolder::path)
    }

    /// The error with the name that people know the folder by.
    pub fn named(&self, error: LoadError) -> LoadError {
        let name = |path: PathBuf| match path.strip_prefix(self.path()) {
            Ok(inside) => self.folder.join(inside),
            Err(_) => path,
        };
        match error {
            LoadError::Create { path, source } => LoadError::Create { path: name(path), source },
            LoadError::Write { path, source } => LoadError::Write { path: name(path), source },
            LoadError::ForeignModule { path } => LoadError::ForeignModule { path: name(path) },
            other => other,
        }
    }
}

/// Connections that a load needs at once, where it says so itself: bursts and users do, and so does `expected_latency`.
pub fn connections(load: &Load) -> Option<u64> {
    match load.shape {
        LoadShape::Bursts { .. } | LoadShape::Replay(_) | LoadShape::Users { .. } => {}
        LoadShape::K6(_) | LoadShape::Iterations { .. } => return None,
        LoadShape::Constant { .. } | LoadShape::Stages { .. } | LoadShape::Trace(_) => {
            load.expected_latency?;
        }
    }
    Some(load.peak_concurrency().ceil() as u64)
}

/// As [`connections`], of requests that the native load generator sends. Over HTTP/2 many share a connection, and over https
/// the server chooses the version: then nobody knows.
pub fn needed(workload: &Workload, load: &Load) -> Option<u64> {
    let may_share = workload.settings.http_version == Some(HttpVersion::Http2)
        || workload.settings.http_version.is_none()
            && workload.urls().any(|url| !http::begins(url.source(), "http://"));
    connections(load).filter(|_| !may_share)
}

/// Whether a process that is started here, and raises its limit of open files as far as it may, can open `needed`
/// connections.
///
/// # Errors
/// [`LoadError::Room`].
pub fn check_room(needed: u64) -> Result<(), LoadError> {
    // Unlimited has no number.
    let Some(limit) = getrlimit(Resource::Nofile).maximum else { return Ok(()) };
    let open = fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
    let room = limit.saturating_sub(open + OWN_FILES);
    if needed <= room { Ok(()) } else { Err(LoadError::Room { needed, room, limit }) }
}

/// What the process of a load needs, whoever sends.
#[derive(Debug)]
pub struct LoadProcess {
    /// Where results go.
    pub folder: PathBuf,
    /// Locked while load is sent.
    pub locks: Vec<LoadLock>,
    /// A folder with logs of what is loaded, which explain failures.
    pub function_logs: Option<PathBuf>,
    /// Blotted out in what is taken from them.
    pub secrets: Vec<String>,
}

/// Sends a load as this process: `send` reports progress to what it is given, and ends early when it is told to.
///
/// # Errors
/// Those of `send`, and files that cannot be written.
pub fn as_process<E: From<LoadError>>(
    about: &LoadProcess,
    progress_file: &Path,
    send: impl AsyncFnOnce(&mut (dyn FnMut(Progress) + Send), CancellationToken) -> Result<LoadSummary, E>,
) -> Result<LoadSummary, E> {
    raise_file_limit();
    let busy = Busy::begin();
    let function_logs = about.function_logs.as_deref().map(FunctionLogs::new);
    // Only looks on: what sends has threads of its own.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LoadError::Start)?;
    let (mut summary, _held) = runtime.block_on(async {
        let cancel = CancellationToken::new();
        cancel_on_signals(&cancel).map_err(LoadError::Start)?;
        let held = hold(&about.locks, &cancel).await?;
        let mut file = ProgressFile::create(progress_file)?;
        Ok::<_, E>((send(&mut |progress| file.append(&progress), cancel).await?, held))
    })?;
    summary.notes.extend(busy.sentence(&summary));
    if let Some(logs) = function_logs {
        logs.explain(&mut summary, &Redactor::new(&about.secrets));
    }
    tell_failures(&summary);
    write_summary(&about.folder, &summary)?;
    Ok(summary)
}

/// The description of a load that a runner left for its process.
pub fn read_spec<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, LoadError> {
    let wrong = |problem: String| LoadError::Spec { path: path.to_owned(), problem };
    let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
}

/// Best effort: where it fails, requests beyond the limit are counted as `exhausted`, and the measurement is invalid.
fn raise_file_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Waits until all are locked; a load that is stopped meanwhile sends nothing, and holds no more than it has.
///
/// Its runner holds locks of its own for the same purpose, so there is something to wait for only if that one died just
/// before, and another run came in between. Where a file cannot be locked, nothing is sent: what else sends load could not
/// be known.
async fn hold(locks: &[LoadLock], cancel: &CancellationToken) -> Result<Vec<File>, LoadError> {
    const LOOK_AGAIN: Duration = Duration::from_millis(20);
    let mut held = Vec::new();
    for LoadLock { path, alone } in locks {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let unusable = |source| LoadError::Lock { path: path.clone(), source };
        let file = options.open(path).map_err(unusable)?;
        loop {
            match if *alone { file.try_lock() } else { file.try_lock_shared() } {
                Ok(()) => break held.push(file),
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
                Err(TryLockError::WouldBlock) if cancel.is_cancelled() => return Ok(held),
                Err(TryLockError::WouldBlock) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }
    Ok(held)
}

fn cancel_on_signals(cancel: &CancellationToken) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let cancel = cancel.clone();
        tokio::spawn(async move {
            if signals.recv().await.is_some() {
                cancel.cancel();
            }
        });
    }
    Ok(())
}

struct ProgressFile {
    path: PathBuf,
    /// `None` after it could not be written: a load goes on without being watched.
    file: Option<File>,
    length: u64,
}

impl ProgressFile {
    fn create(path: &Path) -> Result<Self, LoadError> {
        let file = sb_durable::private().write(true).create(true).truncate(true).open(path);
        let file = file.map_err(|source| LoadError::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: Some(file), length: 0 })
    }

    fn append(&mut self, progress: &Progress) {
        if self.file.is_some() && self.try_append(progress).is_err() {
            self.file = None;
        }
    }

    fn try_append(&mut self, progress: &Progress) -> io::Result<()> {
        let mut line = serde_json::to_vec(progress)?;
        line.push(b'\n');
        if self.length + line.len() as u64 > PROGRESS_FILE_LIMIT {
            let options = Options::new().survives(Durability::Processes);
            sb_durable::write(&self.path, options, &line)?;
            self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
            self.length = line.len() as u64;
        } else if let Some(file) = &mut self.file {
            file.write_all(&line)?;
            self.length += line.len() as u64;
        }
        Ok(())
    }
}

/// Into the log of the step.
fn tell_failures(summary: &LoadSummary) {
    if summary.failed > 0 {
        let failures = summary.outcome_text(Outcome::is_failure);
        let mut text = format!(
            "{} of {} failed: {failures}\n",
            summary.failed,
            counted(summary.sent + summary.not_sent, "request")
        );
        for sentence in summary.notes.iter().chain(&summary.invalid) {
            text.push_str(sentence);
            text.push('\n');
        }
        // A log that cannot be written is no reason to lose the measurement.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// Complete and durable, or not there.
fn write_summary(folder: &Path, summary: &LoadSummary) -> Result<(), LoadError> {
    let path = folder.join(SUMMARY_FILE);
    let write = |out: &mut dyn io::Write| {
        serde_json::to_writer_pretty(&mut *out, summary)?;
        out.write_all(b"\n")
    };
    sb_durable::write_with(&path, Options::new(), |out| write(out))
        .map_err(|error| LoadError::Write { path: error.path, source: error.source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_that_says_what_it_needs_is_refused_where_it_does_not_fit() {
        let minute = Duration::from_mins(1);
        let constant = |latency: Option<u64>| Load {
            expected_latency: latency.map(Duration::from_millis),
            ..Load::new(LoadShape::Constant { rate: 100.0, duration: minute })
        };
        assert_eq!(connections(&constant(None)), None, "nobody knows how long answers take");
        assert_eq!(connections(&constant(Some(2500))), Some(250));
        assert_eq!(connections(&Load::new(LoadShape::Bursts { size: 7, at: vec![minute] })), Some(7));
        let think_time = sb_workload::users::ThinkTime::Fixed(minute);
        let users = LoadShape::Users { users: 9, duration: minute, think_time };
        assert_eq!(connections(&Load::new(users)), Some(9), "each waits for its answer");
        check_room(1).unwrap();
        let refused = check_room(u64::MAX).unwrap_err();
        assert!(matches!(refused, LoadError::Room { .. }), "{refused}");
    }

    /// A step may have put links in the place of what the manifest names.
    #[test]
    fn a_load_reads_and_writes_below_its_root_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        for made in [root.join("logs"), outside.join("logs")] {
            fs::create_dir_all(made).unwrap();
        }
        fs::write(outside.join("secret"), "root:x:0").unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), root.join("body")).unwrap();
        std::os::unix::fs::symlink(outside.join("logs"), root.join("linked")).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let spec = |body: &str, logs: &str| {
            let request = sb_workload::Request {
                name: "r".to_owned(),
                weight: 1.0,
                method: "POST".to_owned(),
                url: sb_workload::template::Template::parse(&url).unwrap(),
                headers: vec![],
                body: sb_workload::Body::File(root.join(body)),
                expect: sb_workload::Expect::default(),
                timeout: None,
                extract: vec![],
            };
            let timeout = Duration::from_millis(300);
            let spec = LoadSpec {
                workload: Workload { requests: vec![request], timeout, ..Workload::default() },
                load: Load::new(LoadShape::Iterations { iterations: 1 }),
                folder: root.join(logs),
                root: Some(root.clone()),
                seed: 1,
                values: serde_json::json!({}),
                secrets: vec![],
                locks: vec![],
                max_in_flight: 1,
                function_logs: None,
            };
            let path = folder.path().join("spec.json");
            fs::write(&path, serde_json::to_vec(&spec).unwrap()).unwrap();
            run_from_file(&path, &folder.path().join("progress"))
        };
        let refused = spec("body", "logs").unwrap_err().to_string();
        assert!(refused.contains("it leads out of the root") && refused.contains("body_file"), "{refused}");
        assert!(listener.accept().is_err(), "nothing was sent");
        fs::remove_file(root.join("body")).unwrap();
        fs::write(root.join("value"), "value").unwrap();
        std::os::unix::fs::symlink(root.join("value"), root.join("body")).unwrap();
        let refused = spec("body", "linked").unwrap_err().to_string();
        assert!(
            refused.contains("it leads out of the root") && refused.contains("/root/linked"),
            "{refused}"
        );
        assert_eq!(fs::read_dir(outside.join("logs")).unwrap().count(), 0);
        assert_eq!(spec("body", "logs").unwrap().sent, 1);
        assert!(root.join("logs").join(SUMMARY_FILE).exists());
        let again = spec("body", "logs").unwrap_err().to_string();
        assert!(again.contains("/root/logs/invocations.csv"), "the name that people know: {again}");
    }

    #[tokio::test]
    async fn a_load_waits_for_one_that_still_sends_and_can_be_stopped_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let locks = |alone| vec![LoadLock { path: folder.path().join("load"), alone }];
        let cancel = CancellationToken::new();
        let first = hold(&locks(false), &cancel).await.unwrap();
        assert_eq!(
            hold(&locks(false), &cancel).await.unwrap().len(),
            1,
            "those that are not alone stand each other"
        );
        let waits = tokio::time::timeout(Duration::from_millis(100), hold(&locks(true), &cancel)).await;
        assert!(waits.is_err());
        drop(first);
        let alone = hold(&locks(true), &cancel).await.unwrap();
        assert_eq!(alone.len(), 1);
        cancel.cancel();
        assert_eq!(hold(&locks(false), &cancel).await.unwrap().len(), 0);
        let nowhere = [LoadLock { path: folder.path().join("no/folder"), alone: true }];
        assert!(matches!(hold(&nowhere, &cancel).await, Err(LoadError::Lock { .. })));
    }

    #[test]
    fn the_progress_file_is_bounded_and_always_ends_with_the_latest_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.jsonl");
        let mut file = ProgressFile::create(&path).unwrap();
        let mut lines_before = 0;
        let mut replaced = 0;
        for sent in 0..4000 {
            let progress = Progress {
                planned: Some(4000),
                sent,
                answered: 0,
                failed: 0,
                dropped: 0,
                in_flight: 0,
                p50_ms: None,
                p95_ms: Some(1.25),
                p99_ms: None,
                elapsed_s: 0.5,
                expected_s: None,
            };
            file.append(&progress);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.len() as u64 <= PROGRESS_FILE_LIMIT && text.ends_with('\n'));
            let last: Progress = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            assert_eq!(last, progress);
            let lines = text.lines().count();
            replaced += usize::from(lines < lines_before);
            lines_before = lines;
        }
        assert!(replaced >= 1);
    }
}
