//! Steps as host processes, under a small supervisor that outlives the runner.
//!
//! An attempt has a folder, made by the caller and used for nothing else. [`start`] starts this same program
//! again as `sb internal-supervise FOLDER` ([`supervise`]), which claims the attempt, runs the command in its own
//! session and process group, and leaves in the folder
//!
//! | file | content |
//! |---|---|
//! | `lock` | locked (flock) as long as the supervisor lives |
//! | `claim.json` | which processes run it, with their start times and the boot they belong to |
//! | `output.log` | stdout and stderr, in the order in which they came |
//! | `stdout` | stdout alone |
//! | `cancel` | the wish to stop it |
//! | `exit.json` | how it ended ([`ExitRecord`](crate::exit::ExitRecord)); written last, durably |
//!
//! All of them are readable by their owner alone. The command itself, whose environment may hold secrets, is
//! handed over through a pipe and stored nowhere.

mod claim;
mod supervisor;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Interest};

pub use supervisor::supervise;

use self::claim::Claim;
use self::supervisor::Answer;
use crate::exit::{self, Durability, Exit, ExitRecord, Found};

/// The hidden argument under which this program is a supervisor.
pub const SUPERVISE_ARGUMENT: &str = "internal-supervise";

const LOCK_FILE: &str = "lock";
const CANCEL_FILE: &str = "cancel";

/// A command to run on this machine. Its environment may hold secrets; its arguments must not, since every user
/// of the machine sees those.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCommand {
    /// The program and its arguments. A program without a slash is looked up in the command's own PATH, one with
    /// a slash is relative to `workdir`.
    pub argv: Vec<String>,
    /// Added to the inherited environment, or all of it with `clear_env`. `SB_ATTEMPT` is set by the supervisor.
    pub env: BTreeMap<String, String>,
    pub clear_env: bool,
    pub workdir: PathBuf,
    /// From the start of the program; then it is stopped.
    pub timeout: Option<Duration>,
    /// From the polite signal (TERM) to the other one (KILL).
    pub grace: Duration,
}

impl std::fmt::Debug for HostCommand {
    /// Without the values of the environment: they may be secrets.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("HostCommand")
            .field("argv", &self.argv)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("clear_env", &self.clear_env)
            .field("workdir", &self.workdir)
            .field("timeout", &self.timeout)
            .field("grace", &self.grace)
            .finish()
    }
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    #[error("the attempt in `{}` was started before: wait for it, or give a new attempt its own folder", dir.display())]
    AlreadyStarted { dir: PathBuf },
    #[error("nothing was started in `{}`: start it before waiting for it", dir.display())]
    NotStarted { dir: PathBuf },
    #[error(
        "the supervisor of the attempt in `{}` ended without recording how its command ended (was it killed, or the machine restarted?): \
         see output.log there, then decide whether the step may run again",
        dir.display()
    )]
    Gone { dir: PathBuf },
    #[error("cannot start the supervisor `{}`: {source}; is this program still where it was started from?", binary.display())]
    Supervisor { binary: PathBuf, source: io::Error },
    #[error("the supervisor could not take over the attempt in `{}`: {message}; is the folder writable?", dir.display())]
    Refused { dir: PathBuf, message: String },
    #[error("cannot read or write the attempt's folder `{}`: {source}; it must exist and be writable", dir.display())]
    Folder { dir: PathBuf, source: io::Error },
}

/// Starts `command` as the attempt in `dir`, which must exist. When this returns, the attempt is claimed durably:
/// whatever happens to this process, [`look`] and [`wait`] tell how the command ended.
///
/// An attempt is started once, however often this is called: a second call is an error, unless the two meet
/// before either is claimed (a runner that was killed while starting, and its successor), in which case exactly
/// one of them runs the command and both succeed.
///
/// `sb_binary` is the program whose `main` hands [`SUPERVISE_ARGUMENT`] to [`supervise`].
pub async fn start(dir: &Path, command: &HostCommand, sb_binary: &Path) -> Result<(), HostError> {
    let dir = &absolute(dir)?;
    if claim_of(dir)?.is_some() || recorded(dir)?.is_some() {
        return Err(HostError::AlreadyStarted { dir: dir.clone() });
    }
    let failed = |source| HostError::Supervisor { binary: sb_binary.to_owned(), source };
    let text = serde_json::to_vec(command).map_err(|error| failed(error.into()))?;
    let mut supervisor = tokio::process::Command::new(sb_binary)
        .arg(SUPERVISE_ARGUMENT)
        .arg(dir)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let (stdin, stdout) = (supervisor.stdin.take(), supervisor.stdout.take());
    // Reaps it when it ends. Should this runtime end first, init does.
    tokio::spawn(async move { supervisor.wait().await });

    let mut line = String::new();
    if let (Some(mut stdin), Some(stdout)) = (stdin, stdout) {
        // A supervisor that fails early says so in its answer; that it did not read all of this is no news then.
        let _ = stdin.write_all(&text).await;
        drop(stdin);
        BufReader::new(stdout).read_line(&mut line).await.map_err(failed)?;
    }
    match serde_json::from_str(&line) {
        // Refused, though it was not claimed a moment ago: a start that was under way came first, for this same
        // attempt.
        Ok(Answer::Claimed | Answer::Refused) => Ok(()),
        Ok(Answer::Failed { message }) => Err(HostError::Refused { dir: dir.clone(), message }),
        Err(_) => Err(HostError::Refused {
            dir: dir.clone(),
            message: format!("`{} {SUPERVISE_ARGUMENT}` gave no answer", sb_binary.display()),
        }),
    }
}

/// Waits for the end of the attempt in `dir`, whichever process started it. Dropping the future leaves nothing
/// behind; the command runs on.
pub async fn wait(dir: &Path) -> Result<Exit, HostError> {
    let dir = &absolute(dir)?;
    loop {
        if let Some(record) = recorded(dir)? {
            return Ok(record.exit);
        }
        let claim = claim_of(dir)?.ok_or_else(|| HostError::NotStarted { dir: dir.clone() })?;
        if let Some(supervisor) = claim.supervisor_handle().map_err(folder(dir))? {
            ended(supervisor).await.map_err(folder(dir))?;
        }
        match look_absolute(dir)? {
            Found::Ended(exit) => return Ok(exit),
            Found::NotStarted => return Err(HostError::NotStarted { dir: dir.clone() }),
            Found::Gone => return Err(HostError::Gone { dir: dir.clone() }),
            // Not seen, and cheap to allow for: its end and the end of its lock are not the same instant.
            Found::Running => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// What became of the attempt in `dir`. Before [`Found::Gone`] is returned, what is left of the command is
/// killed (this takes milliseconds; up to five seconds if the kernel holds a process).
pub fn look(dir: &Path) -> Result<Found, HostError> {
    look_absolute(&absolute(dir)?)
}

/// Asks for the attempt in `dir` to be stopped: TERM to its process group, KILL after `grace`. Returns at once;
/// [`wait`] tells how it ended ([`Exit::Cancelled`], unless it had ended before). An attempt that has not begun
/// ends without running its command. Asking again may shorten the grace period.
#[expect(
    clippy::unused_async,
    reason = "a container is asked over a connection: both read alike to the caller"
)]
pub async fn cancel(dir: &Path, grace: Duration) -> Result<(), HostError> {
    let dir = &absolute(dir)?;
    CancelRequest { grace }.write(dir).map_err(folder(dir))?;
    // In this order: a supervisor claims first and then looks for the request, so one of us sees the other.
    if let Some(claim) = claim_of(dir)?
        && let Some(supervisor) = claim.supervisor_handle().map_err(folder(dir))?
    {
        claim::ignore_missing(rustix::process::pidfd_send_signal(supervisor, Signal::TERM))
            .map_err(folder(dir))?;
    }
    Ok(())
}

fn look_absolute(dir: &Path) -> Result<Found, HostError> {
    const PATIENCE: Duration = Duration::from_secs(5);
    if let Some(record) = recorded(dir)? {
        return Ok(Found::Ended(record.exit));
    }
    let Some(claim) = claim_of(dir)? else { return Ok(Found::NotStarted) };
    let give_up = Instant::now() + PATIENCE;
    // Only ever tried once there is a claim: a supervisor that is about to claim must find the lock free.
    while is_locked(dir).map_err(folder(dir))? && Instant::now() < give_up {
        if is_alive(&claim).map_err(folder(dir))? {
            return Ok(Found::Running);
        }
        // A child that the supervisor was just starting shares its lock until it executes its program.
        std::thread::sleep(Duration::from_millis(1));
    }
    // It may have ended properly since we looked for its record.
    if let Some(record) = recorded(dir)? {
        return Ok(Found::Ended(record.exit));
    }
    let claim = claim_of(dir)?.unwrap_or(claim);
    claim.kill_leftovers(PATIENCE).map_err(folder(dir))?;
    Ok(Found::Gone)
}

fn is_alive(claim: &Claim) -> io::Result<bool> {
    let Some(supervisor) = claim.supervisor_handle()? else { return Ok(false) };
    let mut ended = [PollFd::new(&supervisor, PollFlags::IN)];
    Ok(rustix::event::poll(&mut ended, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0)
}

fn is_locked(dir: &Path) -> io::Result<bool> {
    let lock = match File::open(dir.join(LOCK_FILE)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(std::fs::TryLockError::WouldBlock) => Ok(true),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// A pidfd becomes readable when its process ends, whoever its parent is.
async fn ended(process: OwnedFd) -> io::Result<()> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe, for owners whose descriptor may change or close; an OwnedFd's does neither"
    )]
    let process = AsyncFd::with_interest(process, Interest::READABLE)?;
    process.readable().await?.retain_ready();
    Ok(())
}

fn absolute(dir: &Path) -> Result<PathBuf, HostError> {
    std::path::absolute(dir).map_err(folder(dir))
}

fn claim_of(dir: &Path) -> Result<Option<Claim>, HostError> {
    Claim::read(dir).map_err(folder(dir))
}

fn recorded(dir: &Path) -> Result<Option<ExitRecord>, HostError> {
    ExitRecord::read(dir).map_err(folder(dir))
}

fn folder(dir: &Path) -> impl FnOnce(io::Error) -> HostError {
    let dir = dir.to_owned();
    |source| HostError::Folder { dir, source }
}

/// The content of `cancel`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CancelRequest {
    grace: Duration,
}

impl CancelRequest {
    fn read(dir: &Path) -> io::Result<Option<Self>> {
        exit::read_json(&dir.join(CANCEL_FILE))
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        exit::write_json(dir, CANCEL_FILE, self, Durability::Processes)
    }
}
