//! The runner's side: supervisors that are started when they are needed, and used again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::supervisor::{Assignment, Reply, VOUCHED};
use super::{HostCommand, HostError, SUPERVISE_ARGUMENT, absolute, cancel, claim_of, recorded, wait};
use crate::command_exit::CommandExit;
use crate::inherited;

/// Starts commands under supervisors of its own. When it is dropped (or its process dies), supervisors without work
/// end at once, and the others with their attempts.
pub struct Supervisors {
    binary: PathBuf,
    shown: PathBuf,
    idle: Arc<Idle>,
    /// Each ends when its supervisor has.
    processes: Mutex<Vec<JoinHandle<()>>>,
}

/// An attempt that runs. Dropping it leaves the command running, and its supervisor ends with it.
pub struct Running {
    dir: PathBuf,
    /// It can get no other attempt as long as it is held here: a request to stop cannot meet the wrong one.
    supervisor: Option<Supervisor>,
    idle: Arc<Idle>,
}

impl Supervisors {
    /// `binary` is the program whose `main` hands [`SUPERVISE_ARGUMENT`] to [`supervise`](super::supervise). `shown`
    /// stands in the list of processes, so that people see whose the supervisors are.
    pub fn new(binary: PathBuf, shown: PathBuf) -> Self {
        Self { binary, shown, idle: Arc::new(Idle::open()), processes: Mutex::default() }
    }

    /// Starts `command` as the attempt in `dir`, which must exist. When this returns, the attempt is claimed:
    /// whatever happens to this process, [`look`](super::look) and [`wait`](super::wait) tell how the command ended, as long as
    /// the machine runs. A loss of power may take the claim along: see [`look`](super::look).
    ///
    /// An attempt is started once, however often this is called: a second call is an error, unless the two meet
    /// before either is claimed (a runner that was killed while starting, and its successor), in which case exactly
    /// one of them runs the command and both succeed.
    pub async fn start(&self, dir: &Path, command: &HostCommand) -> Result<Running, HostError> {
        let dir = absolute(dir)?;
        if claim_of(&dir)?.is_some() || recorded(&dir)?.is_some() {
            return Err(HostError::AlreadyStarted { dir });
        }
        let order = Assignment { dir: dir.clone(), command: command.clone() };
        let mut order = serde_json::to_vec(&order).map_err(|error| self.failed(error.into()))?;
        order.push(b'\n');
        let mut running = Running { dir, supervisor: None, idle: Arc::clone(&self.idle) };
        loop {
            let idle = self.idle.take();
            let was_idle = idle.is_some();
            let mut supervisor = match idle {
                Some(supervisor) => supervisor,
                None => self.spawn_patiently().await?,
            };
            match supervisor.order(&order).await {
                Some(Reply::Claimed) => {
                    running.supervisor = Some(supervisor);
                    return Ok(running);
                }
                // Though it was not claimed a moment ago: a start that was under way came first, for this same attempt.
                Some(Reply::Refused) => {
                    self.idle.put(supervisor);
                    return Ok(running);
                }
                Some(Reply::Failed { message }) => {
                    return Err(HostError::Refused { dir: running.dir, message });
                }
                // It died: after it had claimed the attempt, or waiting for work, or so early that the next would, too.
                _ if claim_of(&running.dir)?.is_some() => return Ok(running),
                _ if was_idle => {}
                _ => {
                    let message = format!("`{} {SUPERVISE_ARGUMENT}` gave no answer", self.binary.display());
                    return Err(HostError::Refused { dir: running.dir, message });
                }
            }
        }
    }

    /// Ends the supervisors, none of which should have work, and returns when they have ended. A runner that
    /// cannot call this leaves them to end a moment after itself. To be called when every end that was returned is kept
    /// elsewhere: supervisors that cannot record theirs give that up.
    pub async fn close(&self) {
        /// What a busy disk may need to record a last end.
        const PATIENCE: Duration = Duration::from_secs(5);
        self.idle.close();
        let processes = std::mem::take(&mut *unpoisoned(&self.processes));
        let _ = tokio::time::timeout(PATIENCE, futures_util::future::join_all(processes)).await;
    }

    /// Waits a while for room where the system has none for another process or its pipes: what runs ends, and makes
    /// room.
    async fn spawn_patiently(&self) -> Result<Supervisor, HostError> {
        const PATIENCE: Duration = Duration::from_mins(1);
        const PAUSE: Duration = Duration::from_millis(200);
        let give_up = Instant::now() + PATIENCE;
        loop {
            match self.spawn() {
                Err(HostError::Supervisor { source, .. })
                    if inherited::is_exhaustion(&source) && Instant::now() < give_up =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                spawned => return spawned,
            }
        }
    }

    fn spawn(&self) -> Result<Supervisor, HostError> {
        let mut process = tokio::process::Command::new(&self.binary)
            .arg0(std::env::args_os().next().unwrap_or_default())
            .arg(SUPERVISE_ARGUMENT)
            .arg(&self.shown)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| self.failed(error))?;
        if let Some(supervisor) = process.id() {
            // It has got no order yet: what it starts is started under this limit.
            inherited::give_back_open_files(supervisor);
        }
        let (Some(orders), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(self.failed(std::io::Error::other("it has no pipes")));
        };
        // Reaps it when it ends. Should this runtime end first, init does.
        let ends = tokio::spawn(async move { drop(process.wait().await) });
        let mut processes = unpoisoned(&self.processes);
        processes.retain(|process| !process.is_finished());
        processes.push(ends);
        Ok(Supervisor { orders, answers: BufReader::new(answers), line: Vec::new() })
    }

    fn failed(&self, source: std::io::Error) -> HostError {
        HostError::Supervisor { binary: self.binary.clone(), source }
    }
}

impl Running {
    /// The attempt in `dir`, which another runner has started.
    pub fn found(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), supervisor: None, idle: Arc::default() }
    }

    /// Waits for its end. May be dropped and called again.
    ///
    /// The end that this returns is known to every process, and may reach the disk a moment later than this returns.
    pub async fn wait(&mut self) -> Result<CommandExit, HostError> {
        if let Some(supervisor) = &mut self.supervisor {
            let answer = supervisor.answer().await;
            let supervisor = self.supervisor.take();
            if let (Some(Reply::Ended(exit)), Some(mut supervisor)) = (answer, supervisor) {
                let idle = Arc::clone(&self.idle);
                tokio::spawn(async move {
                    let answer = tokio::select! {
                        answer = supervisor.answer() => answer,
                        () = idle.closed.cancelled() => supervisor.vouch().await,
                    };
                    if answer == Some(Reply::Free) {
                        idle.put(supervisor);
                    }
                });
                return Ok(exit);
            }
        }
        wait(&self.dir).await
    }

    /// [`cancel`](super::cancel) for this attempt.
    pub async fn cancel(&self, grace: Duration) -> Result<(), HostError> {
        cancel(&self.dir, grace).await
    }
}

/// This side of a supervisor's pipes; closing them ends it after its attempt.
struct Supervisor {
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// The answer so far, kept here because whoever waits for it may be dropped.
    line: Vec<u8>,
}

impl Supervisor {
    async fn order(&mut self, order: &[u8]) -> Option<Reply> {
        // One that fails early says so in its answer; that it did not read all of this is no news then.
        let _ = self.orders.write_all(order).await;
        self.answer().await
    }

    /// Tells it that the end of its attempt is kept elsewhere.
    async fn vouch(&mut self) -> Option<Reply> {
        self.order(VOUCHED).await
    }

    /// The next answer; none if the supervisor has ended.
    async fn answer(&mut self) -> Option<Reply> {
        self.answers.read_until(b'\n', &mut self.line).await.ok()?;
        let answer = serde_json::from_slice(&self.line).ok();
        self.line.clear();
        answer
    }
}

/// Supervisors without work; none are kept once it is closed.
#[derive(Default)]
struct Idle {
    supervisors: Mutex<Option<Vec<Supervisor>>>,
    closed: CancellationToken,
}

impl Idle {
    /// Each takes about a megabyte: as many as are likely to be needed again at the same moment.
    const MOST: usize = 32;

    fn open() -> Self {
        Self { supervisors: Mutex::new(Some(Vec::new())), closed: CancellationToken::new() }
    }

    fn take(&self) -> Option<Supervisor> {
        unpoisoned(&self.supervisors).as_mut()?.pop()
    }

    fn put(&self, supervisor: Supervisor) {
        if let Some(idle) = unpoisoned(&self.supervisors).as_mut()
            && idle.len() < Self::MOST
        {
            idle.push(supervisor);
        }
    }

    fn close(&self) {
        unpoisoned(&self.supervisors).take();
        self.closed.cancel();
    }
}

/// A list is whole after every single change of it.
fn unpoisoned<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    list.lock()
}
