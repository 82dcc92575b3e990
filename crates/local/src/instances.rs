//! Function instances: started on demand, one invocation at a time each, kept for a while.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use parking_lot::Mutex;
use sb_daemon::{Lifetime, Stopper};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use super::clock::{Clock, Stamp};
use super::containers::Container;
use super::context::new_segment_id;
use super::dynamics::Dynamics;
use super::http::MAX_PAYLOAD;
use super::orphans::{self, InstanceProcesses};
use super::process::{Launch, Process, Spawner};
use super::runtime_api::{self, InstanceEvent, Job, Port};
use super::runtimes::Program;

/// Lambda gives 10 s to initialize, and then the function's own timeout once more.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// From this on a start is slow. An interpreter on a machine that is not busy takes less.
const SLOW_START: Duration = Duration::from_secs(1);

/// One function: what it is, and its instances.
pub(super) struct Function {
    pub spec: sb_sam::Function,
    pub program: Program,
    pub folder: PathBuf,
    pub environment: BTreeMap<String, String>,
    pub log: PathBuf,
    /// Set by ReservedConcurrentExecutions; otherwise the account's limit alone holds.
    pub reserved: Option<Arc<Semaphore>>,
    idle: Mutex<Vec<Instance>>,
}

/// The right to one concurrent execution.
pub(super) struct Permit {
    _account: OwnedSemaphorePermit,
    _reserved: Option<OwnedSemaphorePermit>,
    _events: Option<OwnedSemaphorePermit>,
}

/// When the instances were begun that are being started now.
#[derive(Default)]
pub(super) struct Starts {
    begun: Mutex<Vec<Instant>>,
    /// Told when one of them is ready or has failed, and when an instance is idle again.
    changed: Notify,
}

/// A start that is under way, until this is dropped.
struct Start(Arc<Machine>, Instant);

impl Start {
    fn begin(machine: &Arc<Machine>) -> Self {
        let now = Instant::now();
        machine.starts.begun.lock().push(now);
        Self(Arc::clone(machine), now)
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        let mut begun = self.0.starts.begun.lock();
        if let Some(place) = begun.iter().position(|time| *time == self.1) {
            begun.swap_remove(place);
        }
        drop(begun);
        self.0.starts.changed.notify_waiters();
    }
}

impl Starts {
    /// Whether one more would only make the others take longer: there are more than processors, and they are slow.
    fn are_slow(&self) -> bool {
        let begun = self.begun.lock();
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        begun.len() >= 2 * processors && begun.iter().any(|time| time.elapsed() > SLOW_START)
    }
}

/// Who waits for the answer of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A client of the gateway.
    Gateway,
    /// A client of the Invoke API, which may be another function.
    InvokeApi,
}

/// How one invocation went.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The function's answer, or its error as a JSON document.
    pub result: Result<Bytes, Bytes>,
    /// Start and end of the initialization, when a new instance was needed.
    pub initialization: Option<(Stamp, Stamp)>,
    /// When the function was given the event; none when it never was.
    pub delivered: Option<Stamp>,
    pub answered: Stamp,
}

/// What all instances share.
pub(super) struct Machine {
    pub clock: Clock,
    pub spawner: Spawner,
    pub account: Arc<Semaphore>,
    /// Of the account's executions, those that events may take: a wave of events leaves room for requests.
    pub events: Arc<Semaphore>,
    /// Where the target declares no limit: those of calls that do not come through the gateway.
    pub undeclared: Option<Arc<Semaphore>>,
    /// Instances that are being started.
    pub starts: Starts,
    /// All live processes, so that none is left at the end.
    pub processes: Mutex<Vec<Process>>,
    pub dynamics: Dynamics,
}

struct Instance {
    process: Process,
    jobs: mpsc::Sender<Job>,
    events: mpsc::UnboundedReceiver<InstanceEvent>,
    /// Ends the instance's Runtime API when dropped.
    _api: Stopper,
    last_used: Instant,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.process.kill();
    }
}

impl Machine {
    /// The right to run `function` for somebody who waits for the answer; none: throttled.
    ///
    /// Where no limit was declared, requests wait for room: the account that they are measured for has a far higher limit,
    /// and a slow or busy machine would meet ours by its slowness alone. What a function calls must not wait for it, which
    /// has a place itself.
    pub(crate) async fn admit_caller(&self, function: &Function, caller: Caller) -> Option<Permit> {
        if self.dynamics.throttle(&function.spec.name) {
            return None;
        }
        let reserved = match &function.reserved {
            Some(semaphore) => Some(semaphore.clone().try_acquire_owned().ok()?),
            None => None,
        };
        let account = match (&self.undeclared, caller) {
            (None, _) => self.account.clone().try_acquire_owned().ok()?,
            (Some(_), Caller::Gateway) => self.account.clone().acquire_owned().await.ok()?,
            (Some(calls), Caller::InvokeApi) => calls.clone().try_acquire_owned().ok()?,
        };
        Some(Permit { _account: account, _reserved: reserved, _events: None })
    }

    /// The right to run `function` for an event now; none: it has to wait.
    pub(crate) fn admit_event(&self, function: &Function) -> Option<Permit> {
        if self.dynamics.throttle(&function.spec.name) {
            return None;
        }
        let events = self.events.clone().try_acquire_owned().ok()?;
        let reserved = match &function.reserved {
            Some(semaphore) => Some(semaphore.clone().try_acquire_owned().ok()?),
            None => None,
        };
        let account = self.account.clone().try_acquire_owned().ok()?;
        Some(Permit { _account: account, _reserved: reserved, _events: Some(events) })
    }

    /// Ends every process of every function.
    pub(crate) fn kill_all(&self) {
        for process in self.processes.lock().drain(..) {
            process.kill();
        }
    }

    async fn start(self: &Arc<Self>, function: &Function) -> io::Result<Instance> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut environment = function.environment.clone();
        environment.insert("AWS_LAMBDA_RUNTIME_API".to_owned(), listener.local_addr()?.to_string());
        let id = new_segment_id();
        environment.insert(orphans::INSTANCE.to_owned(), id.clone());
        let log = sb_durable::private().create(true).append(true).open(&function.log)?;
        let folder = function.folder.clone();
        let launch = match &function.program {
            Program::Process { command, limited } => {
                let memory_bytes = limited.then_some(function.spec.memory_mib * 1024 * 1024);
                Launch { command: command.clone(), environment, folder, memory_bytes, log, container: None }
            }
            Program::Container(container) => {
                let name = format!("sb-local-{}-{id}", function.spec.name);
                Launch {
                    command: container.command(&name, &environment),
                    environment: Container::environment(&environment),
                    folder,
                    memory_bytes: None,
                    log,
                    container: Some(container.running(name)),
                }
            }
        };
        let (process, child) = self.spawner.spawn(launch).await?;
        self.processes.lock().push(process.clone());

        let (jobs, inbox) = mpsc::channel(1);
        let (sender, events) = mpsc::unbounded_channel();
        let port = Arc::new(Port {
            jobs: AsyncMutex::new(inbox),
            events: sender.clone(),
            current: Mutex::default(),
            clock: self.clock,
        });
        // Nobody waits for these connections: they end with the process.
        let (lifetime, api) = Lifetime::new();
        let instance = matches!(function.program, Program::Process { .. })
            .then(|| InstanceProcesses::new(child.id().unwrap_or_default(), &id));
        tokio::spawn(runtime_api::serve(listener, lifetime, port, instance));
        let (machine, watched) = (self.clone(), process.clone());
        tokio::spawn(async move {
            let how = watched.wait(child).await;
            machine.processes.lock().retain(|other| !other.is(&watched));
            let _ = sender.send(InstanceEvent::Exited(machine.clock.now(), how));
            // What it has put into sessions of its own is not in its group. Looking through all processes takes a moment.
            let _ = tokio::task::spawn_blocking(move || orphans::end_instance(&id)).await;
        });
        Ok(Instance { process, jobs, events, _api: api, last_used: Instant::now() })
    }
}

impl Function {
    pub(crate) fn new(
        spec: sb_sam::Function,
        program: Program,
        folder: PathBuf,
        environment: BTreeMap<String, String>,
        log: PathBuf,
    ) -> Self {
        let reserved = spec.reserved_concurrency.map(|limit| Arc::new(Semaphore::new(limit as usize)));
        Self { spec, program, folder, environment, log, reserved, idle: Mutex::default() }
    }

    /// Runs one invocation on an idle instance, or on a new one.
    pub(crate) async fn run(&self, machine: &Arc<Machine>, _permit: Permit, job: Job) -> Outcome {
        loop {
            let (instance, started) = match self.take_idle_or_wait(machine).await {
                Some(instance) => (instance, None),
                None => match self.start(machine).await {
                    Ok((instance, begun, start)) => (instance, Some((begun, start))),
                    Err(error) => {
                        let message =
                            format!("the process of `{}` could not be started: {error}", self.spec.name);
                        self.write_log(&message);
                        return Outcome {
                            result: Err(failure("Runtime.StartError", &message)),
                            initialization: None,
                            delivered: None,
                            answered: machine.clock.now(),
                        };
                    }
                },
            };
            let is_new = started.is_some();
            let (outcome, instance) = self.drive(machine, instance, job.clone(), started).await;
            if !is_new && outcome.delivered.is_none() && instance.is_none() {
                // The instance died while it was idle, which is no fault of this invocation.
                continue;
            }
            self.report(&job.request_id, &outcome);
            if let Some(mut instance) = instance {
                instance.last_used = Instant::now();
                self.idle().push(instance);
                machine.starts.changed.notify_waiters();
            }
            return outcome;
        }
    }

    /// A new instance, and when its initialization began: a declared delay belongs to it.
    async fn start(&self, machine: &Arc<Machine>) -> io::Result<(Instance, Stamp, Start)> {
        let start = Start::begin(machine);
        let begun = machine.clock.now();
        machine.dynamics.cold_start(&self.spec.name).await;
        Ok((machine.start(self).await?, begun, start))
    }

    /// Gives the job to the instance and follows its events. The instance comes back when it can be used again.
    async fn drive(
        &self,
        machine: &Arc<Machine>,
        mut instance: Instance,
        job: Job,
        started: Option<(Stamp, Start)>,
    ) -> (Outcome, Option<Instance>) {
        let (started, mut start) = started.unzip();
        let request_id = job.request_id.clone();
        let timeout = self.spec.timeout;
        let mut outcome = Outcome {
            result: Ok(Bytes::new()),
            initialization: None,
            delivered: None,
            answered: machine.clock.now(),
        };
        let mut deadline = tokio::time::Instant::now() + INIT_LIMIT + timeout;
        // The mailbox is empty: an instance has one job at a time.
        let _ = instance.jobs.try_send(job);
        let (answered, result, usable) = loop {
            let event = tokio::select! {
                event = instance.events.recv() => event,
                () = tokio::time::sleep_until(deadline) => {
                    let limit = if outcome.delivered.is_some() { timeout } else { INIT_LIMIT + timeout };
                    let message = format!("{request_id} Task timed out after {:.2} seconds", limit.as_secs_f64());
                    self.write_log(&message);
                    break (machine.clock.now(), Err(failure("Sandbox.Timedout", &format!("RequestId: {request_id} Error: Task timed out after {:.2} seconds", limit.as_secs_f64()))), false);
                }
            };
            match event {
                Some(InstanceEvent::Ready(at)) => {
                    drop(start.take());
                    if outcome.initialization.is_none() && outcome.delivered.is_none() {
                        outcome.initialization = started.map(|start| (start, at));
                    }
                }
                Some(InstanceEvent::Delivered(at)) => {
                    outcome.delivered = Some(at);
                    deadline = tokio::time::Instant::now() + timeout;
                }
                Some(InstanceEvent::Response(at, body)) => break (at, Ok(body), true),
                Some(InstanceEvent::Error(at, body)) => break (at, Err(body), true),
                Some(InstanceEvent::TooLarge(at)) => {
                    let message = format!(
                        "Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD} bytes)."
                    );
                    self.write_log(&format!("RequestId: {request_id} Error: {message}"));
                    // Lambda's clients end when their answer is refused.
                    break (at, Err(failure("Function.ResponseSizeTooLarge", &message)), false);
                }
                Some(InstanceEvent::InitError(at, body)) => break (at, Err(body), false),
                Some(InstanceEvent::Exited(at, how)) => {
                    let message = format!("RequestId: {request_id} Error: Runtime exited with error: {how}");
                    self.write_log(&message);
                    break (at, Err(failure("Runtime.ExitError", &message)), false);
                }
                None => {
                    break (
                        machine.clock.now(),
                        Err(failure("Runtime.ExitError", "the instance is gone")),
                        false,
                    );
                }
            }
        };
        if outcome.initialization.is_none() {
            outcome.initialization = started.map(|start| (start, answered));
        }
        outcome.answered = answered;
        outcome.result = result;
        (outcome, usable.then_some(instance))
    }

    /// Ends instances that have been idle for longer than `keep_alive`.
    pub(crate) fn retire(&self, keep_alive: Duration) {
        self.idle().retain(|instance| instance.last_used.elapsed() < keep_alive);
    }

    /// Drops all idle instances, and with them their processes.
    pub(crate) fn clear(&self) {
        self.idle().clear();
    }

    /// An instance that is idle, or becomes so while starts are slow; none: one is to be started.
    ///
    /// Lambda starts an instance for every request that finds none idle, and so does this. On a machine that is too busy for
    /// that, each start would make all others take longer, until requests time out: then what is there is waited for.
    async fn take_idle_or_wait(&self, machine: &Machine) -> Option<Instance> {
        /// Time alone makes starts slow.
        const LOOK_AGAIN: Duration = Duration::from_millis(100);
        loop {
            let changed = machine.starts.changed.notified();
            if let Some(instance) = self.take_idle() {
                return Some(instance);
            }
            if machine.undeclared.is_none() || !machine.starts.are_slow() {
                return None;
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
        }
    }

    /// The instance used last; those that ended meanwhile are dropped.
    fn take_idle(&self) -> Option<Instance> {
        let mut idle = self.idle();
        while let Some(instance) = idle.pop() {
            if instance.process.is_alive() {
                return Some(instance);
            }
        }
        None
    }

    fn idle(&self) -> parking_lot::MutexGuard<'_, Vec<Instance>> {
        self.idle.lock()
    }

    fn report(&self, request_id: &str, outcome: &Outcome) {
        let milliseconds = |from: Stamp, to: Stamp| (to.0 - from.0) as f64 / 1e3;
        let duration = outcome.delivered.map_or(0.0, |from| milliseconds(from, outcome.answered));
        let mut line = format!("REPORT RequestId: {request_id}\tDuration: {duration:.2} ms");
        if let Some((start, end)) = outcome.initialization {
            let _ = write!(line, "\tInit Duration: {:.2} ms", milliseconds(start, end));
        }
        if let Err(document) = &outcome.result {
            let _ = write!(line, "\tStatus: error\tError: {}", in_a_line(document));
        }
        self.write_log(&line);
    }

    /// Appends a line to the function's log; a full disk must not fail an invocation.
    pub(crate) fn write_log(&self, line: &str) {
        let file: io::Result<File> = sb_durable::private().create(true).append(true).open(&self.log);
        let _ = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }
}

/// The type and message of an error document, in one line.
fn in_a_line(document: &[u8]) -> String {
    const LONGEST: usize = 500;
    let error = serde_json::from_slice::<serde_json::Value>(document).unwrap_or_default();
    let text = |key: &str| error.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    let (kind, message) = (text("errorType"), text("errorMessage"));
    let line = match (kind, message) {
        ("", "") => String::from_utf8_lossy(document).into_owned(),
        ("", one) | (one, "") => one.to_owned(),
        (kind, message) => match place_of_syntax(kind, &error) {
            Some(place) => format!("{kind}: {message} ({place})"),
            None => format!("{kind}: {message}"),
        },
    };
    line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST).collect()
}

/// `/app/index.js:3`, where a file of Node's cannot be read: its message does not say where, as that of Python does, and no
/// line of the code has run.
fn place_of_syntax<'a>(kind: &str, error: &'a serde_json::Value) -> Option<&'a str> {
    let first = error.get("trace")?.get(0)?.as_str()?;
    let (path, line) = first.rsplit_once(':')?;
    let is_place = path.contains('/') && !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
    (kind.ends_with("SyntaxError") && is_place).then_some(first)
}

/// An error document as Lambda writes it.
pub(super) fn failure(kind: &str, message: &str) -> Bytes {
    Bytes::from(json!({ "errorType": kind, "errorMessage": message }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_a_line_says_where_code_cannot_be_read_and_nothing_of_other_traces() {
        let line = |kind: &str, first: &str| {
            let document =
                json!({ "errorType": kind, "errorMessage": "it is bad", "trace": [first, "code"] });
            in_a_line(document.to_string().as_bytes())
        };
        let syntax = "Runtime.UserCodeSyntaxError";
        assert_eq!(line(syntax, "/app/index.js:3"), format!("{syntax}: it is bad (/app/index.js:3)"));
        assert_eq!(
            line("SyntaxError", "file:///app/index.mjs:12"),
            "SyntaxError: it is bad (file:///app/index.mjs:12)"
        );
        assert_eq!(line(syntax, "SyntaxError: it is bad"), format!("{syntax}: it is bad"));
        assert_eq!(line("Error", "/app/index.js:3"), "Error: it is bad");
        assert_eq!(in_a_line(b"{\"errorType\": \"A\"}"), "A");
    }
}
