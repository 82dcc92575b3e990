//! Steps as host processes, under a small supervisor that outlives the runner.
//!
//! An attempt has a folder, made by the caller and used for nothing else. [`Supervisors`] start this same program
//! again as `sb internal-supervise` ([`supervise`]). It claims the attempt, and runs the command in its own session
//! and process group. It leaves in the folder:
//!
//! | file | content |
//! |---|---|
//! | `lock` | locked (flock) as long as the supervisor lives and works on the attempt |
//! | `claim.json` | which processes run it, with their start times and the boot they belong to |
//! | `output.log` | stdout and stderr, in the order in which they came |
//! | `stdout` | stdout alone |
//! | `cancel` | the wish to stop it |
//! | `exit.json` | how it ended ([`ExitRecord`]); written last, durably |
//!
//! All of them are readable by their owner alone. The command itself, whose environment may hold secrets, is
//! handed over through a pipe and stored nowhere.
//!
//! A supervisor that has recorded an end takes the next attempt of the same runner. Starting one takes longer than
//! everything else about a short step. It has one attempt at a time, and one that can get no further attempt ends.

mod claim;
mod pool;
mod supervisor;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::Signal;
use sb_durable::Durability;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use claim::boot_id;
pub use pool::{Running, Supervisors};
pub use supervisor::supervise;

use self::claim::Claim;
use crate::attempt::{self, ExitRecord};
use crate::command_exit::{CommandExit, Found};
use crate::inherited;

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
    /// Bytes that its log may have before the beginning is given up, and that are kept of its standard output. None: all is kept.
    #[serde(default)]
    pub log_limit: Option<u64>,
    /// Whether processes that made a session of their own end with it, too. Otherwise they have left on purpose.
    #[serde(default)]
    pub ends_sessions: bool,
    /// Whether the polite signal goes to the program alone, which passes it on to whom it concerns, and not to its group.
    #[serde(default)]
    pub asks_leader: bool,
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
            .field("log_limit", &self.log_limit)
            .field("ends_sessions", &self.ends_sessions)
            .field("asks_leader", &self.asks_leader)
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
    #[error("cannot start the supervisor `{}`: {source}; {}", binary.display(), way_out(source))]
    Supervisor { binary: PathBuf, source: io::Error },
    #[error(
        "process {pid} of the attempt in `{}` was started in the workspace that this one is a copy of: clean up there, or end the process and try again",
        dir.display()
    )]
    OfOriginal { dir: PathBuf, pid: i32 },
    #[error("the supervisor could not take over the attempt in `{}`: {message}; is the folder writable?", dir.display())]
    Refused { dir: PathBuf, message: String },
    #[error("cannot read or write the attempt's folder `{}`: {source}; it must exist and be writable", dir.display())]
    Folder { dir: PathBuf, source: io::Error },
}

/// What to do where no supervisor can be started.
fn way_out(error: &io::Error) -> &'static str {
    if inherited::is_exhaustion(error) {
        return "the limit on processes (`ulimit -u`) or on open files (`ulimit -n`) is reached: end other processes, or raise it";
    }
    "is this program still where it was started from?"
}

/// [`Supervisors::start`] for a single attempt, whose supervisor ends with it.
pub async fn start(dir: &Path, command: &HostCommand, sb_binary: &Path) -> Result<(), HostError> {
    Supervisors::new(sb_binary.to_owned(), dir.to_owned()).start(dir, command).await.map(drop)
}

/// Waits for the end of the attempt in `dir`, whichever process started it. Dropping the future leaves nothing
/// behind; the command runs on.
pub async fn wait(dir: &Path) -> Result<CommandExit, HostError> {
    let dir = &absolute(dir)?;
    loop {
        if let Some(record) = recorded(dir)? {
            return Ok(record.exit);
        }
        let claim = claim_of(dir)?.ok_or_else(|| HostError::NotStarted { dir: dir.clone() })?;
        match claim.supervisor_handle().map_err(folder(dir))? {
            Some(supervisor) => ended(supervisor).await.map_err(folder(dir))?,
            // A supervisor that cannot be seen from here, in another container for example.
            None => {
                while is_locked(dir).map_err(folder(dir))? && recorded(dir)?.is_none() {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            }
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

/// What became of the attempt in `dir`. [`Found::NotStarted`] is certain only under the boot in which it may have been
/// started: a claim need not outlive the machine. Before [`Found::Gone`] is returned, what is left of the command is
/// killed (this takes milliseconds; up to five seconds if the kernel holds a process).
pub fn look(dir: &Path) -> Result<Found, HostError> {
    look_absolute(&absolute(dir)?)
}

/// Asks for the attempt in `dir` to be stopped: TERM to its process group, KILL after `grace`. Returns at once;
/// [`wait`] tells how it ended ([`CommandExit::Cancelled`], unless it had ended before). An attempt that has not begun
/// ends without running its command. Asking again may shorten the grace period.
pub async fn cancel(dir: &Path, grace: Duration) -> Result<(), HostError> {
    let dir = &absolute(dir)?;
    CancelRequest { grace }.write(dir).map_err(folder(dir))?;
    // An attempt that has ended may have left its supervisor to another one.
    if recorded(dir)?.is_some() {
        return Ok(());
    }
    // In this order: a supervisor claims first and then looks for the request, so one of us sees the other. That of the
    // attempt that this one is a copy of is not ours to stop.
    if let Some(claim) = claim_of(dir)?
        && claim.is_of(dir).map_err(folder(dir))?
        && let Some(supervisor) = claim.supervisor_handle().map_err(folder(dir))?
    {
        claim::ignore_missing(rustix::process::pidfd_send_signal(supervisor, Signal::TERM))
            .map_err(folder(dir))?;
    }
    Ok(())
}

/// Refuses an attempt that runs for the workspace that this one is a copy of: it cannot be stopped from here.
pub(crate) fn refuse_original(dir: &Path) -> Result<(), HostError> {
    let Some(claim) = claim_of(dir)? else { return Ok(()) };
    let ours = || Ok(recorded(dir)?.is_some() || claim.is_of(dir).map_err(folder(dir))?);
    if ours()? || claim.supervisor_handle().map_err(folder(dir))?.is_none() {
        return Ok(());
    }
    Err(HostError::OfOriginal { dir: dir.to_owned(), pid: claim.supervisor.pid })
}

/// Whether the program of the attempt in `dir` was started, whatever became of it.
pub(crate) fn has_begun(dir: &Path) -> bool {
    claim_of(dir).is_ok_and(|claim| claim.is_some_and(|claim| claim.child.is_some()))
}

/// Whether the attempt in `dir` runs, for somebody who only looks: unlike [`look`], it ends nothing.
pub(crate) fn is_running(dir: &Path) -> bool {
    let alive = || -> Result<bool, HostError> {
        let Some(claim) = claim_of(dir)? else { return Ok(false) };
        Ok(recorded(dir)?.is_none() && is_alive(&claim).map_err(folder(dir))?)
    };
    alive().unwrap_or(false)
}

fn look_absolute(dir: &Path) -> Result<Found, HostError> {
    const PATIENCE: Duration = Duration::from_secs(5);
    if let Some(record) = recorded(dir)? {
        return Ok(Found::Ended(record.exit));
    }
    let Some(claim) = claim_of(dir)? else { return Ok(Found::NotStarted) };
    if !claim.is_of(dir).map_err(folder(dir))? {
        // What runs is the original's, and so is what is left of it.
        if is_alive(&claim).map_err(folder(dir))? {
            return Ok(Found::Running);
        }
        return Ok(Found::Gone);
    }
    let give_up = Instant::now() + PATIENCE;
    // Only ever tried once there is a claim: a supervisor that is about to claim must find the lock free.
    while is_locked(dir).map_err(folder(dir))? {
        // Somebody holds the lock: a supervisor, even if it cannot be seen from here, in another container for example.
        if is_alive(&claim).map_err(folder(dir))? || Instant::now() >= give_up {
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

/// A record without its content is one whose way to the disk was cut off by a loss of power: of another boot, so
/// that its claim tells the rest.
fn recorded(dir: &Path) -> Result<Option<ExitRecord>, HostError> {
    let is_torn = |error: &io::Error| {
        let json = error.get_ref().and_then(|error| error.downcast_ref::<serde_json::Error>());
        json.is_some_and(|error| error.is_eof() || error.is_syntax())
    };
    match ExitRecord::read(dir) {
        Err(error) if is_torn(&error) => Ok(None),
        read => read.map_err(folder(dir)),
    }
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
        attempt::read_json(&dir.join(CANCEL_FILE))
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        attempt::write_json(dir, CANCEL_FILE, self, Durability::Processes)
    }
}
