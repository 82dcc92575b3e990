//! Starts and ends the processes of function instances.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

use super::containers::Running;
use super::launch::{LAUNCH, NO_LIMIT};

/// What to start.
pub(super) struct Launch {
    pub command: Vec<OsString>,
    pub environment: BTreeMap<String, String>,
    pub folder: PathBuf,
    /// The most data it may have.
    pub memory_bytes: Option<u64>,
    /// Standard output and error are appended here.
    pub log: File,
    /// What the command runs, where that is a container.
    pub container: Option<Running>,
}

/// Starts processes from one thread that lives as long as the runtime: the kernel sends a parent's death signal
/// when the *thread* that forked ends, and worker threads may end early.
#[derive(Clone)]
pub(super) struct Spawner {
    orders: mpsc::Sender<(Launch, oneshot::Sender<io::Result<Child>>)>,
}

impl Spawner {
    /// Must be called within a tokio runtime.
    pub(crate) fn start() -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<(Launch, oneshot::Sender<io::Result<Child>>)>();
        let runtime = tokio::runtime::Handle::current();
        std::thread::Builder::new().name("spawner".to_owned()).spawn(move || {
            let _guard = runtime.enter();
            for (launch, reply) in inbox {
                // Nobody waits for the reply any more when the runtime stops: the child is killed on drop.
                let _ = reply.send(spawn(launch));
            }
        })?;
        Ok(Self { orders })
    }

    pub(crate) async fn spawn(&self, launch: Launch) -> io::Result<(Process, Child)> {
        let gone = || io::Error::other("the local target is stopping");
        let container = launch.container.clone();
        let (reply, answer) = oneshot::channel();
        self.orders.send((launch, reply)).map_err(|_| gone())?;
        let child = answer.await.map_err(|_| gone())??;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)).ok_or_else(gone)?;
        let process = Process { group, alive: Arc::new(AtomicBool::new(true)), container };
        Ok((process, child))
    }
}

fn spawn(launch: Launch) -> io::Result<Child> {
    let errors = launch.log.try_clone()?;
    Command::new("/proc/self/exe")
        .arg(LAUNCH)
        .arg(std::process::id().to_string())
        .arg(launch.memory_bytes.map_or_else(|| NO_LIMIT.to_owned(), |bytes| bytes.to_string()))
        .args(&launch.command)
        .env_clear()
        .envs(&launch.environment)
        .current_dir(&launch.folder)
        .stdin(Stdio::null())
        .stdout(launch.log)
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
}

/// A function's process and its group.
#[derive(Clone)]
pub(super) struct Process {
    group: Pid,
    alive: Arc<AtomicBool>,
    container: Option<Running>,
}

impl Process {
    /// Ends the process and whatever it started. Harmless when it has ended.
    pub(crate) fn kill(&self) {
        if self.alive.load(Ordering::Acquire) {
            // Before it has become the leader of its group only the process itself exists.
            if kill_process_group(self.group, Signal::KILL).is_err() {
                let _ = kill_process(self.group, Signal::KILL);
            }
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.alive, &other.alive)
    }

    /// Waits for the end, takes leftover members of the group along, and says how it ended, in Lambda's words.
    pub(crate) async fn wait(&self, mut child: Child) -> String {
        let status = child.wait().await;
        let _ = kill_process_group(self.group, Signal::KILL);
        self.alive.store(false, Ordering::Release);
        if let Some(container) = &self.container {
            container.remove().await;
        }
        status.map_or_else(|error| error.to_string(), describe)
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match signal_hook::low_level::signal_name(signal) {
            Some(name) => format!("signal: {name}"),
            None => format!("signal: {signal}"),
        },
        (None, None) => "unknown status".to_owned(),
    }
}
