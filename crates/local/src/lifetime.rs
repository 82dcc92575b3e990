//! Starting, finding and stopping the daemon. The lock on `runtime.lock` says whether it lives: the kernel drops it
//! with the process, so that a process id is never taken for a runtime that is gone.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::daemon::read_application;
use super::{LocalError, LocalRuntime, LocalSpec, SERVE, containers, java, orphans, services, trace_log};

/// Time to start, the services included; the functions themselves start on demand.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
/// How much of the log an error quotes, in bytes.
const TAIL: u64 = 4096;

pub fn spec_file(state_dir: &Path) -> PathBuf {
    state_dir.join("local.json")
}

pub fn runtime_file(state_dir: &Path) -> PathBuf {
    state_dir.join("runtime.json")
}

pub(super) fn lock_file(state_dir: &Path) -> PathBuf {
    state_dir.join("runtime.lock")
}

pub fn log_file(state_dir: &Path) -> PathBuf {
    state_dir.join("runtime.log")
}

/// Starts the local target, detached, and waits until it answers. One that already runs from the same state folder is returned
/// as it is, unless it runs something else than is asked for, which is an error.
///
/// `sb_binary` is this program: it is started again as the daemon.
pub async fn up(spec: LocalSpec, sb_binary: &Path) -> Result<LocalRuntime, LocalError> {
    fs::create_dir_all(&spec.state_dir).map_err(LocalError::io("make", &spec.state_dir))?;
    let state_dir = fs::canonicalize(&spec.state_dir).map_err(LocalError::io("find", &spec.state_dir))?;
    let template = fs::canonicalize(&spec.template).map_err(LocalError::io("find", &spec.template))?;
    let text = fs::read(&template).map_err(LocalError::io("read", &template))?;
    let template_sha256 = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut spec = LocalSpec { state_dir: state_dir.clone(), template, template_sha256, ..spec };
    let begun = Instant::now();
    while let Some(runtime) = find(&state_dir) {
        // One that was killed just now holds its lock for a moment longer.
        if answers(&runtime).await || begun.elapsed() > GRACE {
            if let Some(reason) = runtime.broken {
                return Err(LocalError::Broken { state_dir, reason });
            }
            return match difference(&state_dir, &spec) {
                Some(difference) => Err(LocalError::RunsOtherwise { state_dir, difference }),
                None => Ok(runtime),
            };
        }
        tokio::time::sleep(POLL).await;
    }
    // A template that cannot be used is reported by the daemon, at its place.
    let here = "http://127.0.0.1";
    if let Ok(application) = read_application(&spec, here, here) {
        if application.has_services() {
            spec.services = Some(services::python().await?);
        }
        if let Some(containers) = &mut spec.options.containers {
            containers.ready(&application.functions).await?;
        } else if application.functions.iter().any(|function| function.runtime.starts_with("java")) {
            spec.java_client = Some(java::client().await?);
        }
    }
    if !is_the_same(&state_dir, &spec) {
        trace_log::forget(&state_dir);
    }
    let client = spec.options.containers.as_ref().and_then(|containers| containers.client.as_deref());
    if let Some(earlier) = client_of(&state_dir).filter(|earlier| Some(earlier.as_str()) != client) {
        // The new runtime would not look for what a killed one has left there.
        containers::end(&earlier, &state_dir).await;
    }
    start(SERVE, &state_dir, &spec, sb_binary).await
}

/// Whether the runtime says anything at all: the sockets of one that was killed still take connections while the kernel tidies up.
async fn answers(runtime: &LocalRuntime) -> bool {
    let address = runtime.lambda_endpoint.trim_start_matches("http://");
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
        stream.read(&mut [0; 64]).await
    };
    matches!(tokio::time::timeout(GRACE / 2, ask).await, Ok(Ok(1..)))
}

/// The command line by which functions of what was last started from this folder ran in containers.
fn client_of(state_dir: &Path) -> Option<String> {
    last_spec(state_dir)?.options.containers?.client
}

fn last_spec(state_dir: &Path) -> Option<LocalSpec> {
    fs::read(spec_file(state_dir)).ok().and_then(|text| serde_json::from_slice(&text).ok())
}

/// Whether what was last started from this folder is the same deployment; otherwise what is left of it is of no use.
fn is_the_same(state_dir: &Path, spec: &LocalSpec) -> bool {
    last_spec(state_dir).is_some_and(|earlier| {
        (earlier.template, earlier.parameters, earlier.name)
            == (spec.template.clone(), spec.parameters.clone(), spec.name.clone())
    })
}

/// In what the running one differs from what is asked for.
fn difference(state_dir: &Path, spec: &LocalSpec) -> Option<&'static str> {
    let mut running = last_spec(state_dir)?;
    // Found out when it started.
    if let (Some(running), Some(containers)) = (&mut running.options.containers, &spec.options.containers) {
        running.client.clone_from(&containers.client);
    }
    if running.template != spec.template {
        Some("another template")
    } else if running.template_sha256 != spec.template_sha256 {
        Some("its template as it was before it was edited")
    } else if running.parameters != spec.parameters {
        Some("other parameters")
    } else if running.name != spec.name {
        Some("another name")
    } else if running.options.stand_ins != spec.options.stand_ins {
        Some("other stand-ins for services")
    } else if running.options != spec.options {
        Some("other settings")
    } else {
        None
    }
}

/// Starts this program as a daemon, `sb ARGUMENT STATE_DIR`, which finds its spec in the folder, and waits until it says
/// how it can be used. The folder exists.
pub async fn start<R: DeserializeOwned>(
    argument: &str,
    state_dir: &Path,
    spec: &impl Serialize,
    sb_binary: &Path,
) -> Result<R, LocalError> {
    write_json(&spec_file(state_dir), spec)?;
    let log = log_file(state_dir);
    let output =
        OpenOptions::new().create(true).append(true).open(&log).map_err(LocalError::io("write", &log))?;
    let earlier = output.metadata().map_or(0, |log| log.len());
    let errors = output.try_clone().map_err(LocalError::io("write", &log))?;
    let mut child = tokio::process::Command::new(sb_binary)
        .arg(argument)
        .arg(state_dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(LocalError::io("start", sb_binary))?;
    let begun = Instant::now();
    loop {
        if let Some(runtime) = find_running(state_dir) {
            // Dropped, not ended: tokio reaps it when its time comes.
            return Ok(runtime);
        }
        let ended = child.try_wait().map_err(LocalError::io("watch", sb_binary))?;
        let reason = match ended {
            // Another call was faster, and its runtime is still getting ready.
            Some(_) if holder(state_dir).is_some() && begun.elapsed() < READY_WITHIN => {
                tokio::time::sleep(POLL).await;
                continue;
            }
            Some(status) => format!("its process ended ({status})"),
            None if begun.elapsed() > READY_WITHIN => {
                // Not ready in time: nobody will use it.
                let _ = child.kill().await;
                format!("no answer within {} s", READY_WITHIN.as_secs())
            }
            None => {
                tokio::time::sleep(POLL).await;
                continue;
            }
        };
        return Err(LocalError::NotReady { reason, tail: tail(&log, earlier), log });
    }
}

/// The local target that runs from this state folder and is ready.
pub fn find(state_dir: &Path) -> Option<LocalRuntime> {
    find_running(state_dir)
}

/// How the daemon that runs from this state folder can be used, with its `pid` among it.
pub fn find_running<R: DeserializeOwned>(state_dir: &Path) -> Option<R> {
    let holder = holder(state_dir)?;
    let text = fs::read(runtime_file(state_dir)).ok()?;
    let runtime: Value = serde_json::from_slice(&text).ok()?;
    // A file of an earlier runtime may lie there while the next one is starting.
    (runtime["pid"] == holder).then(|| serde_json::from_value(runtime).ok()).flatten()
}

/// Stops the local target and waits for its end; then no process and no port of it is left. Nothing to do is fine.
pub async fn down(state_dir: &Path) -> Result<(), LocalError> {
    let begun = Instant::now();
    let mut asked = None;
    let mut killed = false;
    while let Some(pid) = holder(state_dir) {
        // While the lock is held its holder lives: the number cannot belong to another process.
        let signal = |signal| {
            i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .is_some_and(|pid| kill_process(pid, signal).is_ok())
        };
        if asked != Some(pid) {
            signal(Signal::TERM);
            asked = Some(pid);
        } else if begun.elapsed() > GRACE && !killed {
            // Its functions go with it: the kernel sends them SIGKILL.
            signal(Signal::KILL);
            killed = true;
        } else if begun.elapsed() > GRACE * 2 {
            return Err(LocalError::WillNotEnd { pid, lock: lock_file(state_dir) });
        }
        tokio::time::sleep(POLL).await;
    }
    // Left over after a crash.
    let _ = fs::remove_file(runtime_file(state_dir));
    if let Ok(folder) = fs::canonicalize(state_dir) {
        // Its own processes were told to end with it, which takes those with much memory a moment.
        let begun = Instant::now();
        while orphans::end(&folder) > 0 && begun.elapsed() < GRACE && holder(&folder).is_none() {
            tokio::time::sleep(POLL).await;
        }
        if let Some(client) = client_of(&folder) {
            containers::end(&client, &folder).await;
        }
        trace_log::forget(&folder);
    }
    // Parameters may be secret: nobody needs them any more.
    let _ = fs::remove_file(spec_file(state_dir));
    Ok(())
}

/// The process that holds the lock of the state folder.
fn holder(state_dir: &Path) -> Option<u32> {
    let mut file = File::open(lock_file(state_dir)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        // Free (or not a lock at all): nobody runs. Dropping the file lets it go again.
        _ => return None,
    }
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Takes the lock for this process; it is held until the file is dropped.
pub fn lock(state_dir: &Path) -> Result<File, LocalError> {
    let path = lock_file(state_dir);
    let io = LocalError::io("lock", &path);
    let open = || OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = open().map_err(io)?;
    // Whoever looks for a runtime holds the lock for a moment: a few tries tell it from a runtime.
    for attempt in 0.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempt < 50 => std::thread::sleep(POLL / 4),
            Err(TryLockError::WouldBlock) => {
                return Err(LocalError::Running { state_dir: state_dir.to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(LocalError::io("lock", &path)(error)),
        }
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.write_all(std::process::id().to_string().as_bytes())?;
        file.flush()
    };
    write(&mut file).map_err(LocalError::io("write", &path))?;
    Ok(file)
}

/// Writes a file so that readers see all of it or the one before.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), LocalError> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|source| LocalError::Malformed { path: path.to_owned(), source })?;
    // Parameters may be secret.
    sb_durable::write(path, sb_durable::Options::new().private(), &text)
        .map_err(|error| LocalError::io("write", path)(error.source))
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
