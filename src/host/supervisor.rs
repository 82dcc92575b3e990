//! The process between a runner and a command: it outlives the runner, and writes down how the command ended.
//!
//! One thread, one `poll` over its signals and the command's two pipes. Attempts come as [`Assignment`]s on stdin, so
//! the secrets in a command's environment never touch a disk; stdout carries [`Reply`]s back. It works on one attempt
//! at a time, and takes the next one only when nothing of the last is left. It ends when its stdin does: then nobody
//! can give it work any more.

use std::fs::File;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus};
use sb_durable::Durability;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::claim::{self, Claim, FileId, Process};
use super::{CancelRequest, HostCommand, LOCK_FILE};
use crate::attempt::{self, ExitRecord, KeptLog, LOG_FILE, STDOUT_FILE};
use crate::command_exit::CommandExit;
use crate::inherited;

/// What a supervisor is asked to run, as one line of JSON. Without its line feed it was not asked: the runner died
/// while it wrote.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Assignment {
    /// The attempt's folder, absolute.
    pub(super) dir: PathBuf,
    pub(super) command: HostCommand,
}

/// The line that comes in the place of an order when the runner keeps the end of the last attempt elsewhere.
pub(super) const VOUCHED: &[u8] = b"vouched\n";

/// What the supervisor tells the process that started it, one line of JSON each. An attempt is answered with
/// `Refused`, or with `Failed`, or with `Claimed`, then `Ended`, then `Free`; where one is missing, the supervisor
/// has ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// The attempt is ours, whatever becomes of the runner; the command starts now.
    Claimed,
    /// The attempt belongs to another supervisor. This one is free again.
    Refused,
    Failed {
        message: String,
    },
    /// How it ended, as `exit.json` says. It is on its way to the disk, no more: who depends on the end makes it
    /// durable first (the journal does), or waits for it there.
    Ended(CommandExit),
    /// `exit.json` is durable, and the next attempt may come.
    Free,
}

/// The body of the hidden process `sb internal-supervise`: for every order that comes on stdin it claims the attempt,
/// runs the command and records its end.
///
/// An attempt that has been claimed before is refused, and nothing is run.
pub fn supervise() -> io::Result<()> {
    let signals = Signals::hear()?;
    // Away from the runner's terminal. It fails only for the leader of a process group, which has left it.
    let _ = rustix::process::setsid();
    // Orphans of the command become our children, so that we know when the last one has ended.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut claim = Claim::of_this_process()?;
    let mut orders = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        orders.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Ok(());
        }
        if line == VOUCHED {
            continue;
        }
        // A request to stop that came when the last attempt was over is not meant for this one.
        signals.drain()?;
        let claimed = serde_json::from_slice(&line).map_err(io::Error::from).and_then(|order: Assignment| {
            let attempt = claimed(&order, claim.clone(), &signals)?;
            Ok(attempt.map(|attempt| (attempt, order)))
        });
        match claimed {
            Ok(Some((attempt, order))) => {
                answer(&Reply::Claimed)?;
                if attempt.run(&order.command)? == Others::StillThere {
                    // They are not ours to kill, nor to take for children of the next command.
                    return Ok(());
                }
                answer(&Reply::Free)?;
                claim.number += 1;
            }
            Ok(None) => answer(&Reply::Refused)?,
            Err(error) => {
                answer(&Reply::Failed { message: error.to_string() })?;
                return Err(error);
            }
        }
    }
}

/// How long a disk may keep us from recording an end, unless the runner vouches for it. Without the record, a later runner
/// takes the attempt for interrupted, and runs again what may have succeeded; while we wait, it waits for us.
const DISK_PATIENCE: Duration = Duration::from_hours(1);

struct ClaimedAttempt<'a> {
    /// The attempt's folder by its descriptor: it may be moved while the command runs.
    dir: PathBuf,
    folder: File,
    claim: Claim,
    signals: &'a Signals,
    output: CopiedOutput,
    /// Held until the end is recorded: who can take it before knows that we are dead.
    _lock: File,
}

fn claimed<'a>(
    order: &Assignment,
    mut claim: Claim,
    signals: &'a Signals,
) -> io::Result<Option<ClaimedAttempt<'a>>> {
    let dir = &order.dir;
    let lock = sb_durable::private().write(true).create(true).truncate(false).open(dir.join(LOCK_FILE))?;
    loop {
        // Under the lock this is the truth; without it, it says whether the one who holds the lock has claimed yet.
        let locked = match lock.try_lock() {
            Ok(()) => true,
            Err(std::fs::TryLockError::WouldBlock) => false,
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        };
        match (Claim::read(dir)?, locked) {
            (Some(_), _) => return Ok(None),
            (None, true) => break,
            // It takes less than a millisecond from the lock to the claim, unless its owner dies on the way.
            (None, false) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
    let output = CopiedOutput::create(dir, order.command.log_limit)?;
    claim.lock = Some(FileId::of(&lock.metadata()?));
    claim.ends_sessions = order.command.ends_sessions;
    // It need not outlive this machine: who is asked after another start of it knows that no process is left.
    claim.write(dir, Durability::Processes)?;
    let folder = File::open(dir)?;
    let dir = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    Ok(Some(ClaimedAttempt { dir, folder, claim, signals, output, _lock: lock }))
}

/// Signals, as bytes that can be waited for: nothing that a terminal or a dying session sends ends us. A program that we
/// start has none of it.
struct Signals {
    /// Somebody asks us to stop.
    stop: UnixStream,
    /// A child has ended, or something that we do not care for.
    others: UnixStream,
}

impl Signals {
    fn hear() -> io::Result<Self> {
        let heard = |signals: &[i32]| -> io::Result<UnixStream> {
            let (heard, told) = UnixStream::pair()?;
            heard.set_nonblocking(true)?;
            for signal in signals {
                signal_hook::low_level::pipe::register(*signal, told.try_clone()?)?;
            }
            Ok(heard)
        };
        Ok(Self { stop: heard(&[SIGTERM])?, others: heard(&[SIGCHLD, SIGHUP, SIGINT, SIGQUIT])? })
    }

    /// Reads what arrived; true if we were asked to stop.
    fn drain(&self) -> io::Result<bool> {
        let emptied = |mut heard: &UnixStream| {
            let mut is_any = false;
            let mut bytes = [0; 64];
            loop {
                match heard.read(&mut bytes) {
                    Ok(0) => return Ok(is_any),
                    Ok(_) => is_any = true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(is_any),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        };
        emptied(&self.others)?;
        emptied(&self.stop)
    }
}

/// A runner that has died in the meantime is no reason to stop.
fn answer(answer: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    let _ = out.write_all(&line).and_then(|()| out.flush());
    Ok(())
}

impl ClaimedAttempt<'_> {
    /// Returns when the end is recorded, durably; says whether anything is left of the command.
    fn run(mut self, command: &HostCommand) -> io::Result<Others> {
        let (started, clock) = (SystemTime::now(), Instant::now());
        let exit = if CancelRequest::read(&self.dir)?.is_some() {
            CommandExit::Cancelled
        } else {
            match spawn(command, &self.claim) {
                Ok(child) => {
                    let group = Pid::from_child(&child);
                    self.watch(command, child).inspect_err(|_| {
                        // Without us nobody would stop it.
                        let _ = rustix::process::kill_process_group(group, Signal::KILL);
                    })?
                }
                Err(exit) => exit,
            }
        };
        let exit = match self.output.keep() {
            Err(error) => CommandExit::OutputLost { message: error.to_string() },
            Ok(()) => exit,
        };
        // The clock may be set while the command runs: how long it ran must not depend on it.
        let record = ExitRecord::new(exit, started, started + clock.elapsed());
        if matches!(record.exit, CommandExit::OutputLost { .. }) {
            attempt::make_room(&self.dir);
        }
        let shown = record.show(&self.dir);
        // Before the disk has it, or whether it takes it at all: the runner's journal goes to the disk at the same time,
        // and vouches for the end from then on. Without a runner it is this file that does, so it is made durable in
        // any case.
        answer(&Reply::Ended(record.exit.clone()))?;
        if shown.is_err() && self.insist(&record)? == Insisted::Vouched {
            return reap_others();
        }
        ExitRecord::keep(&self.dir)?;
        reap_others()
    }

    /// Records an end that could not be recorded at first.
    fn insist(&self, record: &ExitRecord) -> io::Result<Insisted> {
        const PAUSE: Duration = Duration::from_millis(500);
        let give_up = Instant::now() + DISK_PATIENCE;
        let mut has_runner = true;
        loop {
            if has_runner {
                // Nothing else comes on standard input before the attempt is over: its end, or that word.
                let input = io::stdin();
                let mut told = [PollFd::new(&input, PollFlags::IN)];
                if rustix::event::poll(&mut told, Some(&timespec(PAUSE))).is_ok_and(|ready| ready > 0) {
                    let mut word = [0; VOUCHED.len()];
                    match rustix::io::read(&input, &mut word) {
                        Ok(0) | Err(_) => has_runner = false,
                        Ok(_) => return Ok(Insisted::Vouched),
                    }
                }
            } else {
                std::thread::sleep(PAUSE);
            }
            match record.show(&self.dir) {
                // Whoever removed the folder wants to know no more.
                Err(_)
                    if Instant::now() < give_up
                        && self.folder.metadata().is_ok_and(|folder| folder.nlink() > 0) => {}
                result => return result.map(|()| Insisted::Recorded),
            }
        }
    }

    fn watch(&mut self, command: &HostCommand, mut child: Child) -> io::Result<CommandExit> {
        let pid = Pid::from_child(&child);
        let mut stopping = Stopping::new(pid, command);
        self.claim.child = Process::of(pid.as_raw_pid())?;
        // Not worth the command's life on a full disk: what is left of it is found by its session, too.
        let _ = self.claim.write(&self.dir, Durability::Processes);

        let mut pipes = Pipes::of(&mut child)?;
        let status = loop {
            let ready = pipes.wait(self.signals, stopping.next_deadline())?;
            for stream in ready.streams {
                pipes.copy(stream, &mut self.output)?;
            }
            let asked = ready.signal && self.signals.drain()?;
            // First whether it has ended: a request that comes after the end does not change how it ended.
            if ready.signal
                && let Some(status) = reap(pid)?
            {
                break status;
            }
            if asked {
                let request = CancelRequest::read(&self.dir).ok().flatten();
                let grace = request.map_or(command.grace, |request| request.grace);
                stopping.begin(CommandExit::Cancelled, grace)?;
            }
            stopping.pass_deadlines()?;
        };
        self.end_leftovers(&mut pipes)?;
        pipes.copy_rest(&mut self.output)?;
        Ok(stopping.reason.unwrap_or_else(|| exit_of(status)))
    }

    /// What the command leaves running is killed, in its group (by [`reap`]) and in its session (here). A program
    /// that made a session of its own has left on purpose, unless the command ends sessions, too. Returns when they have
    /// ended.
    fn end_leftovers(&mut self, pipes: &mut Pipes) -> io::Result<()> {
        const PATIENCE: Duration = Duration::from_secs(5);
        let give_up = Instant::now() + PATIENCE;
        while reap_others()? == Others::StillThere && Instant::now() < give_up {
            let left = self.claim.leftovers()?;
            if left.is_empty() && reap_others()? == Others::StillThere {
                return Ok(());
            }
            for (process, _) in left {
                process.kill()?;
            }
            let soon = Instant::now() + Duration::from_millis(1);
            let ready = pipes.wait(self.signals, Some(soon))?;
            for stream in ready.streams {
                pipes.copy(stream, &mut self.output)?;
            }
            self.signals.drain()?;
        }
        Ok(())
    }
}

fn spawn(command: &HostCommand, claim: &Claim) -> Result<Child, CommandExit> {
    let Some((program, arguments)) = command.argv.split_first() else {
        return Err(CommandExit::SpawnFailed {
            message: "the command is empty: give it a program to run".to_owned(),
        });
    };
    let mut process = Command::new(program);
    if command.clear_env {
        process.env_clear();
    }
    process
        .args(arguments)
        .envs(&command.env)
        .env(claim::MARKER, claim.marker())
        .current_dir(&command.workdir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    process.spawn().map_err(|error| {
        let workdir = command.workdir.display();
        match error.kind() {
            _ if !command.workdir.is_dir() => CommandExit::SpawnFailed {
                message: format!(
                    "the working directory `{workdir}` does not exist: create it in an earlier step"
                ),
            },
            io::ErrorKind::NotFound => CommandExit::NoCommand {
                message: format!(
                    "program `{program}` (or the interpreter that it names) was not found: install it, or correct PATH; `sb doctor` shows what this machine has"
                ),
            },
            io::ErrorKind::PermissionDenied => CommandExit::NoCommand {
                message: format!(
                    "program `{program}` is not executable, or `{workdir}` may not be entered: check their permissions"
                ),
            },
            _ if inherited::is_exhaustion(&error) => CommandExit::SpawnFailed {
                message: format!(
                    "program `{program}` could not be started: {error}; the limit on processes (`ulimit -u`) or on open files \
                     (`ulimit -n`) is reached: end other processes, or raise it"
                ),
            },
            _ => CommandExit::SpawnFailed {
                message: format!("program `{program}` could not be started: {error}"),
            },
        }
    })
}

/// The way from a request to stop to the end: TERM to the group, a grace period, KILL.
struct Stopping {
    group: Pid,
    asks_leader: bool,
    timeout_at: Option<Instant>,
    grace: Duration,
    kill_at: Option<Instant>,
    /// Why we stop it; nothing while it may run.
    reason: Option<CommandExit>,
}

impl Stopping {
    fn new(group: Pid, command: &HostCommand) -> Self {
        // A time limit beyond what the clock can express is none.
        let timeout_at = command.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        Self {
            group,
            asks_leader: command.asks_leader,
            timeout_at,
            grace: command.grace,
            kill_at: None,
            reason: None,
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        if self.reason.is_some() { self.kill_at } else { self.timeout_at }
    }

    /// A second request may shorten the grace period, and never lengthens it.
    fn begin(&mut self, reason: CommandExit, grace: Duration) -> io::Result<()> {
        let kill_at = Instant::now().checked_add(grace);
        if self.reason.is_none() {
            self.reason = Some(reason);
            self.kill_at = kill_at;
            self.signal(Signal::TERM)
        } else {
            self.kill_at = self.kill_at.min(kill_at).or(self.kill_at).or(kill_at);
            Ok(())
        }
    }

    fn pass_deadlines(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.reason.is_none() && self.timeout_at.is_some_and(|at| at <= now) {
            self.begin(CommandExit::TimedOut, self.grace)?;
        }
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.signal(Signal::KILL)?;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        // The program was not reaped yet: its number is its own.
        let sent = if self.asks_leader && signal == Signal::TERM {
            rustix::process::kill_process(self.group, signal)
        } else {
            rustix::process::kill_process_group(self.group, signal)
        };
        claim::ignore_missing(sent)
    }
}

/// The command's status, once it has ended; then what was left of its group has been sent KILL. Orphans that
/// became ours are reaped on the way.
fn reap(child: Pid) -> io::Result<Option<WaitStatus>> {
    let only_look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // Before the command is reaped: afterwards the number of its group may be given to someone else.
    let has_ended = rustix::process::waitid(WaitId::Pid(child), only_look)?.is_some();
    if has_ended {
        claim::ignore_missing(rustix::process::kill_process_group(child, Signal::KILL))?;
    }
    loop {
        match rustix::process::wait(WaitOptions::NOHANG)? {
            Some((pid, status)) if pid == child => {
                if !has_ended {
                    claim::ignore_missing(rustix::process::kill_process_group(child, Signal::KILL))?;
                }
                return Ok(Some(status));
            }
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

/// How an end was kept after all.
#[derive(PartialEq, Eq)]
enum Insisted {
    Recorded,
    /// By the runner.
    Vouched,
}

#[derive(PartialEq, Eq)]
enum Others {
    StillThere,
    None,
}

fn reap_others() -> io::Result<Others> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Others::StillThere),
            Err(Errno::CHILD) => return Ok(Others::None),
            Err(error) => return Err(error.into()),
        }
    }
}

fn exit_of(status: WaitStatus) -> CommandExit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => CommandExit::Code(code),
        (None, Some(signal)) => CommandExit::Signal(signal),
        // Neither can be seen without options that we do not set; no success is invented from it.
        (None, None) => CommandExit::Code(-1),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OutputStream {
    Stdout,
    Stderr,
}

/// The reading ends of the command's output. Closed ones are `None`.
struct Pipes {
    stdout: Option<File>,
    stderr: Option<File>,
    buffer: Box<[u8]>,
}

struct ReadyStreams {
    signal: bool,
    streams: Vec<OutputStream>,
}

impl Pipes {
    fn of(child: &mut Child) -> io::Result<Self> {
        let stdout = child.stdout.take().map(|pipe| File::from(std::os::fd::OwnedFd::from(pipe)));
        let stderr = child.stderr.take().map(|pipe| File::from(std::os::fd::OwnedFd::from(pipe)));
        for pipe in [&stdout, &stderr].into_iter().flatten() {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self { stdout, stderr, buffer: vec![0; 64 * 1024].into_boxed_slice() })
    }

    fn get(&mut self, stream: OutputStream) -> &mut Option<File> {
        match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        }
    }

    /// Waits for a signal, for output or for the deadline.
    fn wait(&self, signals: &Signals, deadline: Option<Instant>) -> io::Result<ReadyStreams> {
        let mut sources: Vec<(Option<OutputStream>, BorrowedFd<'_>)> =
            vec![(None, signals.stop.as_fd()), (None, signals.others.as_fd())];
        for (stream, pipe) in [(OutputStream::Stdout, &self.stdout), (OutputStream::Stderr, &self.stderr)] {
            if let Some(pipe) = pipe {
                sources.push((Some(stream), pipe.as_fd()));
            }
        }
        let mut polled: Vec<PollFd<'_>> =
            sources.iter().map(|(_, source)| PollFd::from_borrowed_fd(*source, PollFlags::IN)).collect();
        let timeout = deadline.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        match rustix::event::poll(&mut polled, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = polled.iter().zip(&sources).filter(|(poll, _)| !poll.revents().is_empty());
        let ready: Vec<Option<OutputStream>> = ready.map(|(_, (stream, _))| *stream).collect();
        Ok(ReadyStreams { signal: ready.contains(&None), streams: ready.into_iter().flatten().collect() })
    }

    /// Moves at most one buffer; closes the pipe at its end. False when there was nothing to move.
    fn copy(&mut self, stream: OutputStream, output: &mut CopiedOutput) -> io::Result<bool> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let slot = self.get(stream);
        let read = slot.as_mut().map_or(Ok(0), |pipe| pipe.read(&mut buffer));
        let moved = match read {
            Ok(0) => {
                *slot = None;
                Ok(false)
            }
            Ok(length) => {
                output.write(stream, &buffer[..length]);
                Ok(true)
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(false)
            }
            Err(error) => Err(error),
        };
        self.buffer = buffer;
        moved
    }

    /// What the pipes still hold. All writers have ended, but for programs that left the session: those may
    /// write on, and are not waited for.
    fn copy_rest(&mut self, output: &mut CopiedOutput) -> io::Result<()> {
        /// More than a pipe can hold (1 MiB, pipe(7)).
        const MOST_BUFFERS: usize = 32;
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            for _ in 0..MOST_BUFFERS {
                if !self.copy(stream, output)? {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

struct CopiedOutput {
    log: KeptLog,
    stdout: File,
    /// Bytes of standard output that are still kept.
    stdout_left: u64,
    /// The first failure to write. The pipes are emptied all the same: a full disk must not block the command.
    lost: Option<io::Error>,
    is_empty: bool,
}

impl CopiedOutput {
    fn create(dir: &Path, limit: Option<u64>) -> io::Result<Self> {
        let stdout = dir.join(STDOUT_FILE);
        let stdout = sb_durable::private().write(true).create(true).truncate(true).open(stdout)?;
        let log = KeptLog::create(&dir.join(LOG_FILE), limit)?;
        Ok(Self { log, stdout, stdout_left: limit.unwrap_or(u64::MAX), lost: None, is_empty: true })
    }

    fn write(&mut self, stream: OutputStream, bytes: &[u8]) {
        if self.lost.is_some() {
            return;
        }
        self.is_empty = false;
        let mut written = self.log.write(bytes);
        if stream == OutputStream::Stdout {
            let kept = usize::try_from(self.stdout_left).unwrap_or(usize::MAX).min(bytes.len());
            self.stdout_left -= kept as u64;
            written = written.and_then(|()| self.stdout.write_all(&bytes[..kept]));
        }
        self.lost = written.err();
    }

    /// Makes it durable: an end that is on disk must not outlive the output that it vouches for.
    fn keep(&mut self) -> io::Result<()> {
        match self.lost.take() {
            Some(error) => Err(error),
            None if self.is_empty => Ok(()),
            None => self.log.sync().and_then(|()| self.stdout.sync_data()),
        }
    }
}
