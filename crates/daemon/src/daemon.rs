//! Starting, finding and stopping a daemon. The lock says whether the daemon lives, since the kernel drops it with
//! the process. So another process of the same id is never taken for a daemon that is gone.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::lock::Holder;
use crate::{DaemonError, Journal, Lock};

/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// How long the lock may be held without saying by whom.
const SETTLE: Duration = Duration::from_secs(1);
/// How much of the log an error quotes, in bytes.
const TAIL: u64 = 4096;

/// The daemon of a state folder, whether it runs or not.
#[derive(Clone, Debug)]
pub struct Daemon {
    name: &'static str,
    state_dir: PathBuf,
}

impl Daemon {
    /// Names the daemon of a folder: one runs per folder. `name` is for errors, and follows an article: "local target".
    pub fn new(name: &'static str, state_dir: impl Into<PathBuf>) -> Self {
        Self { name, state_dir: state_dir.into() }
    }

    /// `runtime.json`: how the daemon can be used. It has the member `pid`.
    pub fn ready_file(&self) -> PathBuf {
        self.state_dir.join("runtime.json")
    }

    /// `runtime.log`: what the daemon notes, and what it wrote to its standard output and error.
    pub fn log_file(&self) -> PathBuf {
        self.state_dir.join("runtime.log")
    }

    fn lock_file(&self) -> PathBuf {
        self.state_dir.join("runtime.lock")
    }

    /// Starts `program ARGUMENT STATE_DIR`, detached, and waits until it has written its [`Daemon::ready_file`].
    /// The folder exists. Where another call was faster, its daemon is returned.
    ///
    /// # Errors
    /// The program cannot be started, ends, or is not ready in time.
    pub async fn start<R: DeserializeOwned>(
        &self,
        program: &Path,
        argument: &str,
        ready_within: Duration,
    ) -> Result<R, DaemonError> {
        let log = self.log_file();
        let output = sb_durable::private()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(DaemonError::io("write", &log))?;
        let earlier = output.metadata().map_or(0, |log| log.len());
        let errors = output.try_clone().map_err(DaemonError::io("write", &log))?;
        let mut child = tokio::process::Command::new(program)
            .arg0(std::env::args_os().next().unwrap_or_default())
            .arg(argument)
            .arg(&self.state_dir)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(DaemonError::io("start", program))?;
        let begun = Instant::now();
        loop {
            if let Some(ready) = self.find() {
                // Dropped, not ended: tokio reaps it when its time comes.
                return Ok(ready);
            }
            let ended = child.try_wait().map_err(DaemonError::io("watch", program))?;
            let reason = match ended {
                // Another call was faster, and its daemon is still getting ready.
                Some(_) if self.holder().is_some() && begun.elapsed() < ready_within => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                Some(status) => format!("its process ended ({status})"),
                None if begun.elapsed() > ready_within => {
                    // Not ready in time: nobody will use it.
                    let _ = child.kill().await;
                    format!("no answer within {} s", ready_within.as_secs())
                }
                None => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
            };
            let tail = tail(&log, earlier);
            return Err(DaemonError::NotReady { daemon: self.name, reason, tail, log });
        }
    }

    /// How the daemon that runs now can be used; none where none is ready.
    pub fn find<R: DeserializeOwned>(&self) -> Option<R> {
        let holder = self.holder()?;
        let ready: Value = self.last()?;
        // A file of an earlier daemon may lie there while the next one is starting.
        (ready["pid"] == holder).then(|| serde_json::from_value(ready).ok()).flatten()
    }

    /// How the daemon that ran last could be used, where it did not end in order, or still runs.
    pub fn last<R: DeserializeOwned>(&self) -> Option<R> {
        fs::read(self.ready_file()).ok().and_then(|text| serde_json::from_slice(&text).ok())
    }

    /// The process id of the daemon that runs now, ready or not.
    pub fn holder(&self) -> Option<u32> {
        match Lock::holder(&self.lock_file()) {
            Holder::Process(pid) => Some(pid),
            Holder::Nobody | Holder::Unknown => None,
        }
    }

    /// Stops the daemon and waits for its end: SIGTERM, after 10 s SIGKILL. Nothing to do is fine.
    ///
    /// # Errors
    /// The process still lives 10 s after SIGKILL. Or the lock is held by another process than the one that took it, which
    /// is left alone.
    pub async fn stop(&self) -> Result<(), DaemonError> {
        let begun = Instant::now();
        let mut asked = None;
        let mut killed = false;
        loop {
            let pid = match Lock::holder(&self.lock_file()) {
                Holder::Nobody => break,
                Holder::Process(pid) => pid,
                // One that has just taken it writes itself into it in a moment.
                Holder::Unknown if begun.elapsed() < SETTLE => {
                    tokio::time::sleep(POLL).await;
                    continue;
                }
                Holder::Unknown => {
                    return Err(DaemonError::Unknown { daemon: self.name, lock: self.lock_file() });
                }
            };
            let signal = |signal| {
                let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
                let handle = process.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
                // Still the same once there is a handle of it: the number cannot have changed hands since.
                if let Some(handle) = handle
                    && self.holder() == Some(pid)
                {
                    let _ = pidfd_send_signal(handle, signal);
                }
            };
            if asked != Some(pid) {
                signal(Signal::TERM);
                asked = Some(pid);
            } else if begun.elapsed() > GRACE && !killed {
                signal(Signal::KILL);
                killed = true;
            } else if begun.elapsed() > GRACE * 2 {
                return Err(DaemonError::WillNotEnd { daemon: self.name, pid, lock: self.lock_file() });
            }
            tokio::time::sleep(POLL).await;
        }
        // Left over after a crash.
        let _ = fs::remove_file(self.ready_file());
        Ok(())
    }

    /// Takes the lock for this process, which is the daemon from now on.
    ///
    /// # Errors
    /// Another process is the daemon, or the folder cannot be written.
    pub fn lock(&self) -> Result<Lock, DaemonError> {
        let path = self.lock_file();
        match Lock::take(&path) {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(DaemonError::Running { daemon: self.name, state_dir: self.state_dir.clone() }),
            Err((action, source)) => Err(DaemonError::Io { action, path, source }),
        }
    }

    /// Opens the daemon's log.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn journal(&self) -> Result<Journal, DaemonError> {
        let log = self.log_file();
        Journal::open(&log).map_err(DaemonError::io("write", &log))
    }

    /// Reads a JSON file of the daemon.
    ///
    /// # Errors
    /// It cannot be read, or holds something else.
    pub fn read<T: DeserializeOwned>(&self, path: PathBuf) -> Result<T, DaemonError> {
        let text = fs::read(&path).map_err(DaemonError::io("read", &path))?;
        serde_json::from_slice(&text).map_err(|source| DaemonError::Malformed {
            daemon: self.name,
            path,
            source,
        })
    }

    /// Writes a JSON file of the daemon, so that readers see all of it or the one before. Only its owner can read it.
    ///
    /// # Errors
    /// The value has no form in JSON, or the file cannot be written.
    pub fn write(&self, path: PathBuf, value: &impl Serialize) -> Result<(), DaemonError> {
        let text = match serde_json::to_vec_pretty(value) {
            Ok(text) => text,
            Err(source) => return Err(DaemonError::Malformed { daemon: self.name, path, source }),
        };
        // Parameters may be secret.
        sb_durable::write(&path, sb_durable::Options::new().private(), &text)
            .map_err(|error| DaemonError::io("write", &path)(error.source))
    }
}

/// The end of what was written to the log after its first `earlier` bytes.
fn tail(log: &Path, earlier: u64) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL).max(earlier)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot be read: {error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_ends_is_told_with_its_name_and_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon::new("clock", folder.path());
        fs::write(daemon.log_file(), "of an earlier start\n").unwrap();
        // `ls FOLDER` with an argument that it refuses.
        let started = daemon.start::<Value>(Path::new("ls"), "--no-such-flag", Duration::from_mins(1)).await;
        let error = started.unwrap_err().to_string();
        assert!(
            error.starts_with("the clock did not become ready: its process ended (exit status: "),
            "{error}"
        );
        assert!(error.contains("no-such-flag") && !error.contains("earlier start"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_says_nothing_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "sleep 60\n").unwrap();
        // `sh SCRIPT FOLDER`
        let daemon = Daemon::new("clock", folder.path());
        let started = daemon
            .start::<Value>(Path::new("sh"), &script.to_string_lossy(), Duration::from_millis(50))
            .await;
        let error = started.unwrap_err().to_string();
        assert!(error.contains("no answer within 0 s"), "{error}");
    }

    #[tokio::test]
    async fn a_stranger_that_has_the_number_of_a_daemon_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon::new("clock", folder.path());
        let mut stranger = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let _held = daemon.lock().unwrap();
        // As an earlier program wrote it, or one that lives in a container.
        for number in [format!("{}", stranger.id()), format!("{} 7 boot", stranger.id())] {
            fs::write(daemon.lock_file(), number).unwrap();
            assert!(matches!(daemon.stop().await, Err(DaemonError::Unknown { .. })));
        }
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn files_of_something_else_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Daemon::new("clock", folder.path());
        let path = folder.path().join("spec.json");
        daemon.write(path.clone(), &7).unwrap();
        assert_eq!(daemon.read::<u32>(path.clone()).unwrap(), 7);
        let error = daemon.read::<String>(path.clone()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{}` is not a file of the clock: ", path.display())), "{error}");
        assert!(matches!(daemon.read::<u32>(folder.path().join("none")), Err(DaemonError::Io { .. })));
    }
}
