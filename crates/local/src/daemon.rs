//! The daemon's body: from a spec to listening sockets, until a signal ends it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sb_daemon::{DaemonError, Journal, Lifetime, Signals, detach};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;

use super::aws_proxy::AwsProxy;
use super::clock::Clock;
use super::code::Code;
use super::dynamics::Dynamics;
use super::gateway::{self, Gateway};
use super::http;
use super::instances::{Function, Machine, Starts};
use super::invoke::Runtime;
use super::lifetime::{daemon, spec_file};
use super::process::Spawner;
use super::recorder::{Limits, Recorder};
use super::runtimes::{Program, Runtimes};
use super::service_client::ServiceClient;
use super::services::{Addresses, Services};
use super::sources::Sources;
use super::stand_in::StandIns;
use super::trace_log::TraceLog;
use super::{LocalError, LocalRuntime, LocalSpec, containers, invoke_api, orphans, otlp, udp};
use sb_sam::{LocalSettings, Template};

/// The first argument that makes `sb` the daemon; the second is the state folder.
pub const SERVE: &str = "internal-local";

/// Executions at once that Lambda gives an account.
const OF_AN_ACCOUNT: usize = 1000;
const REGION: &str = "us-east-1";
const ACCOUNT: &str = "000000000000";
/// How often idle instances are looked at.
const RETIRE_EVERY: Duration = Duration::from_secs(1);
/// How long open connections may take to finish after a stop.
const DRAIN: Duration = Duration::from_secs(2);

/// The sockets.
struct Sockets {
    gateway: TcpListener,
    control: TcpListener,
    daemon: UdpSocket,
    aws: TcpListener,
    otlp: TcpListener,
}

/// Runs the local target of a state folder (with the spec that [`super::up`] wrote there) until SIGTERM or SIGINT.
///
/// # Errors
/// The template cannot be used, another process serves the folder already, or the services do not start.
///
/// Boxed: the body of an `async fn` is compiled in the crate that awaits it, and this one, with all that it awaits, is
/// to be compiled here, as this crate's profile says.
pub fn serve(state_dir: &Path) -> Pin<Box<dyn Future<Output = Result<(), LocalError>> + '_>> {
    Box::pin(async move {
        detach();
        let journal = daemon(state_dir).journal()?;
        // An error is told by the caller, whose standard error is the same log.
        run(state_dir, &journal).await
    })
}

async fn run(state_dir: &Path, journal: &Journal) -> Result<(), LocalError> {
    let this = daemon(state_dir);
    let held = Arc::new(this.lock()?);
    let spec: LocalSpec = this.read(spec_file(state_dir))?;
    let mut signals = Signals::new()?;

    // Left over where the earlier runtime was killed.
    let earlier: Option<LocalRuntime> = this.last();
    let leftover = orphans::end(state_dir);
    if leftover > 0 {
        journal.note(&format!(
            "processes of the earlier runtime or of its functions that were ended: {leftover}"
        ));
    }
    let client = spec.options.containers.as_ref().and_then(|containers| containers.client.clone());
    if let Some(client) = &client {
        let leftover = containers::end(client, state_dir).await;
        if leftover > 0 {
            journal.note(&format!("containers of the earlier runtime that were removed: {leftover}"));
        }
    }
    let earlier_otlp = earlier.as_ref().and_then(|runtime| runtime.otlp_endpoint.rsplit_once('/'));
    let sockets = Sockets {
        gateway: http::listen(earlier.as_ref().map(|runtime| runtime.endpoint.as_str()))
            .await
            .map_err(DaemonError::Listen)?,
        control: http::listen(earlier.as_ref().map(|runtime| runtime.lambda_endpoint.as_str()))
            .await
            .map_err(DaemonError::Listen)?,
        daemon: UdpSocket::bind("127.0.0.1:0").await.map_err(DaemonError::Listen)?,
        aws: http::listen(earlier.as_ref().and_then(|runtime| runtime.aws_endpoint.as_deref()))
            .await
            .map_err(DaemonError::Listen)?,
        otlp: http::listen(earlier_otlp.map(|(address, _)| address)).await.map_err(DaemonError::Listen)?,
    };
    // Functions in containers may run as other users: whoever knows the address may send.
    let token = earlier_otlp
        .map_or_else(|| format!("{:032x}", rand::random::<u128>()), |(_, token)| token.to_owned());
    let otlp = format!("http://{}/{token}", sockets.otlp.local_addr().map_err(DaemonError::Listen)?);
    let address = sockets.gateway.local_addr().map_err(DaemonError::Listen)?;
    let endpoint = format!("http://{address}");
    let control = format!("http://{}", sockets.control.local_addr().map_err(DaemonError::Listen)?);
    let daemon = sockets.daemon.local_addr().map_err(DaemonError::Listen)?.to_string();

    let aws = format!("http://{}", sockets.aws.local_addr().map_err(DaemonError::Listen)?);
    let text = sb_durable::read_regular(&spec.template, crate::LARGEST_TEMPLATE)
        .map_err(LocalError::io("read", &spec.template))?;
    let application = evaluate(&parse(&spec.template, text)?, &spec, &endpoint, &aws)?;
    for warning in &application.warnings {
        journal.note(&format!("warning: {warning}"));
    }
    let (lifetime, mut stopper) = Lifetime::new();
    let clock = Clock::new();
    let stand_ins = StandIns::new(&spec.options.stand_ins)?;
    let services = match (&spec.services, application.has_services()) {
        (_, false) => None,
        (None, true) => return Err(LocalError::Services("nobody has looked for moto".to_owned())),
        (Some(python), true) => {
            let here =
                Addresses { services: &aws, control: control.trim_start_matches("http://"), daemon: &daemon };
            let resources = &application.resources;
            Some(Services::start(python, state_dir, (REGION, ACCOUNT), here, resources).await?)
        }
    };
    let is_asked = services.is_some() || !stand_ins.is_empty() || application.has_buses();
    let aws_endpoint = is_asked.then_some(aws);
    let endpoints =
        Endpoints { control: &control, daemon: &daemon, otlp: &otlp, aws: aws_endpoint.as_deref() };
    let functions = make_functions(&spec, &application, endpoints, journal)?;
    let options = &spec.options;
    let concurrency = options.concurrency.unwrap_or(LocalSettings::CONCURRENCY) as usize;
    let machine = Arc::new(Machine {
        clock,
        spawner: Spawner::start().map_err(LocalError::io("start threads for", state_dir))?,
        account: Arc::new(Semaphore::new(concurrency)),
        events: Arc::new(Semaphore::new(concurrency.div_ceil(2))),
        undeclared: options.concurrency.is_none().then(|| Arc::new(Semaphore::new(OF_AN_ACCOUNT))),
        starts: Starts::default(),
        processes: Mutex::default(),
        dynamics: Dynamics::new(options.dynamics.clone()),
    });
    let runtime = Arc::new(Runtime {
        machine: machine.clone(),
        recorder: recorder(state_dir, clock, options, journal)?,
        functions,
        region: REGION.to_owned(),
        account: ACCOUNT.to_owned(),
        queue: Arc::new(Semaphore::new(options.queue as usize)),
        retry_delay: options.retry_delay,
        dead_letters: state_dir.join("dead-letters.jsonl"),
        journal: journal.clone(),
        services: services.as_ref().map(|services| ServiceClient::new(&services.address, REGION)),
        // Messages of events that failed go to moto's queues and topics: with stand-ins alone there are none.
        aws: aws_endpoint
            .as_deref()
            .filter(|_| services.is_some())
            .map(|aws| ServiceClient::new(aws.trim_start_matches("http://"), REGION)),
    });
    let sources = Sources::start(&runtime, &application, &lifetime);
    let proxy = aws_endpoint.as_ref().map(|_| {
        let services = services.as_ref().map(|services| services.address.clone());
        Arc::new(AwsProxy::new(runtime.clone(), sources, services, stand_ins))
    });
    start_servers(sockets, &lifetime, &runtime, application.routes, address, proxy, token);
    let keep_alive = options.keep_alive;
    let retiring = runtime.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(RETIRE_EVERY).await;
            retiring.functions.values().for_each(|function| function.retire(keep_alive));
        }
    });
    let said = LocalRuntime {
        endpoint: endpoint.clone(),
        xray_endpoint: control.clone(),
        lambda_endpoint: control.clone(),
        aws_endpoint: aws_endpoint.clone(),
        otlp_endpoint: otlp,
        outputs: application.outputs.into_iter().collect(),
        functions: runtime.functions.keys().cloned().collect(),
        pid: std::process::id(),
        broken: None,
    };
    this.write(this.ready_file(), &said)?;
    let watched = services.map(|services| {
        let (journal, held, this) = (journal.clone(), held.clone(), this.clone());
        tokio::spawn(async move {
            let reason = services.ended().await;
            journal.note(&reason);
            if held.is_in_place()
                && let Err(error) =
                    this.write(this.ready_file(), &LocalRuntime { broken: Some(reason), ..said })
            {
                journal.note(&error.to_string());
            }
        })
    });
    let services = aws_endpoint.map(|endpoint| format!(", services {endpoint}")).unwrap_or_default();
    journal
        .note(&format!("ready: gateway {endpoint}, control {control}, X-Ray daemon {daemon}/udp{services}"));

    let received = tokio::select! {
        signal = signals.received() => signal,
        () = held.lost() => "the state folder was removed",
    };
    journal.note(&format!("{received}: stopping"));
    // Ready no more, then told to stop: whoever waits for an answer gets one.
    let ours = held.is_in_place();
    if ours {
        let _ = fs::remove_file(this.ready_file());
    }
    stopper.stop();
    drop(lifetime);
    runtime.functions.values().for_each(|function| function.clear());
    machine.kill_all();
    stopper.drained(DRAIN).await;
    if let Some(watched) = watched {
        watched.abort();
    }
    machine.kill_all();
    // Those in a folder that was made anew may be another runtime's.
    if let Some(client) = client.as_ref().filter(|_| ours) {
        containers::end(client, state_dir).await;
    }
    runtime.recorder.stopped();
    let unfinished = options.queue as usize - runtime.queue.available_permits();
    journal.note(&format!(
        "stopped; asynchronous events that were not finished: {unfinished}; traces dropped for lack of room: {}",
        runtime.recorder.evicted()
    ));
    Ok(())
}

/// With the traces that an earlier runtime of this deployment has left; what it has lost is told.
fn recorder(
    state_dir: &Path,
    clock: Clock,
    options: &LocalSettings,
    journal: &Journal,
) -> Result<Recorder, LocalError> {
    let (log, left) = TraceLog::open(state_dir, options.trace_bytes as u64, journal)
        .map_err(LocalError::io("read the traces in", state_dir))?;
    if let Some(lost) = &left.lost {
        journal.note(&lost.to_string());
    }
    if !left.documents.is_empty() || left.unreadable > 0 {
        journal.note(&format!(
            "documents of traces read again: {}; torn lines left out: {}",
            left.documents.len(),
            left.unreadable
        ));
    }
    let limits = Limits { traces: options.traces, bytes: options.trace_bytes };
    Ok(Recorder::new(clock, limits).with_log(log, &left.documents))
}

fn start_servers(
    sockets: Sockets,
    lifetime: &Lifetime,
    runtime: &Arc<Runtime>,
    routes: Vec<sb_sam::Route>,
    address: std::net::SocketAddr,
    proxy: Option<Arc<AwsProxy>>,
    token: String,
) {
    let gateway = Arc::new(Gateway { runtime: runtime.clone(), routes, address });
    let life = lifetime.clone();
    tokio::spawn(http::serve(sockets.gateway, lifetime.clone(), move |request| {
        http::detached(life.clone(), gateway::answer(gateway.clone(), request))
    }));
    let (life, own) = (lifetime.clone(), runtime.clone());
    tokio::spawn(http::serve_own(sockets.control, lifetime.clone(), move |request| {
        http::detached(life.clone(), invoke_api::answer(own.clone(), request))
    }));
    let receiving = runtime.clone();
    tokio::spawn(http::serve(sockets.otlp, lifetime.clone(), move |request| {
        let (runtime, token) = (receiving.clone(), token.clone());
        async move { otlp::answer(&runtime, &token, request).await }
    }));
    if let Some(proxy) = proxy {
        let life = lifetime.clone();
        tokio::spawn(http::serve_own(sockets.aws, lifetime.clone(), move |request| {
            http::detached(life.clone(), proxy.clone().answer(request))
        }));
    }
    tokio::spawn(udp::receive(sockets.daemon, lifetime.clone(), runtime.clone()));
}

/// A deployment's name as CloudFormation would take it: it becomes part of function names.
fn stack_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// Parses the text of a template.
pub(super) fn parse(path: &Path, text: Vec<u8>) -> Result<Template, LocalError> {
    let source = String::from_utf8(text).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + memchr::memchr_iter(b'\n', &error.as_bytes()[..valid]).count();
        format!("line {line}: it is no UTF-8 text from byte {} of the file on", valid + 1)
    });
    source
        .and_then(|source| Template::parse(source).map_err(|problem| problem.to_string()))
        .map_err(|problem| LocalError::Template { path: path.to_owned(), problems: vec![problem] })
}

/// What a template is, where the local target listens at these addresses.
pub(super) fn evaluate(
    template: &Template,
    spec: &LocalSpec,
    endpoint: &str,
    aws_endpoint: &str,
) -> Result<sb_sam::Application, LocalError> {
    let place = sb_sam::Place {
        region: REGION.to_owned(),
        account: ACCOUNT.to_owned(),
        stack: stack_name(&spec.name),
        api_base: endpoint.to_owned(),
        aws_base: aws_endpoint.to_owned(),
    };
    let refused = |problems| LocalError::Template { path: spec.template.clone(), problems };
    let wrong = template.refused_parameters(&spec.parameters);
    if !wrong.is_empty() {
        return Err(refused(wrong.iter().map(ToString::to_string).collect()));
    }
    let mut application = template
        .application(&spec.parameters, &place)
        .map_err(|problems| refused(problems.iter().map(ToString::to_string).collect()))?;
    let given: Vec<&str> = spec.options.stand_ins.keys().map(String::as_str).collect();
    let missing = application.without_stand_in(&given);
    if !missing.is_empty() {
        return Err(refused(missing.iter().map(ToString::to_string).collect()));
    }
    let folder = spec.template.parent().unwrap_or(Path::new(""));
    read_definitions(&mut application, folder).map_err(refused)?;
    Ok(application)
}

/// State machines whose definition lies in a file get it from there.
fn read_definitions(application: &mut sb_sam::Application, folder: &Path) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    for resource in &mut application.resources {
        let sb_sam::Service::StateMachine { definition, .. } = &mut resource.service else { continue };
        let sb_sam::Definition::File { path, substitutions, line } = definition else { continue };
        let read = fs::read_to_string(folder.join(&path))
            .map_err(|error| error.to_string())
            .and_then(|text| sb_sam::definition(&text, substitutions));
        match read {
            Ok(read) => *definition = sb_sam::Definition::Inline(read),
            Err(error) => problems.push(format!(
                "line {line}: resource `{}`: DefinitionUri `{path}`: {error}",
                resource.logical_id
            )),
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Where functions find what they call.
#[derive(Clone, Copy)]
struct Endpoints<'a> {
    control: &'a str,
    daemon: &'a str,
    /// The receiver of OpenTelemetry.
    otlp: &'a str,
    aws: Option<&'a str>,
}

/// Makes every function ready to be started, and reports all that cannot be.
fn make_functions(
    spec: &LocalSpec,
    application: &sb_sam::Application,
    endpoints: Endpoints<'_>,
    journal: &Journal,
) -> Result<BTreeMap<String, Arc<Function>>, LocalError> {
    let logs = super::function_logs(&spec.state_dir);
    fs::create_dir_all(&logs).map_err(LocalError::io("make", &logs))?;
    let mut runtimes = Runtimes::write(&spec.state_dir, spec.java_client.clone())?;
    let base = spec.template.parent().unwrap_or(Path::new("/"));
    let mut functions = BTreeMap::new();
    let mut problems = Vec::new();
    for function in &application.functions {
        let made = Code::find(base, function, &spec.state_dir).and_then(|code| {
            let program = match &spec.options.containers {
                None => {
                    let program = runtimes.program(function, &code)?;
                    runtimes.expect_handler(function, &code)?;
                    program
                }
                Some(containers) => {
                    Program::Container(containers::container(containers, function, &code, &spec.state_dir)?)
                }
            };
            Ok((code.folder, program))
        });
        match made {
            Err(message) => problems
                .push(format!("line {}: function `{}`: {message}", function.line, function.logical_id)),
            Ok((folder, program)) => {
                journal.note(&format!("function {} runs as: {program}", function.name));
                let mut environment = environment(function, &folder, endpoints);
                if let Program::Container(_) = program {
                    // Of the image, not of this machine.
                    environment.remove("PATH");
                    environment.remove("LAMBDA_RUNTIME_DIR");
                    environment.insert("LAMBDA_TASK_ROOT".to_owned(), containers::TASK.to_owned());
                }
                environment.insert(orphans::MARK.to_owned(), spec.state_dir.to_string_lossy().into_owned());
                let log = logs.join(format!("{}.log", function.name));
                let made = Function::new(function.clone(), program, folder, environment, log);
                functions.insert(function.name.clone(), Arc::new(made));
            }
        }
    }
    if problems.is_empty() {
        Ok(functions)
    } else {
        Err(LocalError::Template { path: spec.template.clone(), problems })
    }
}

/// What Lambda sets, and what leads SDKs to this runtime instead of AWS.
fn environment(
    function: &sb_sam::Function,
    folder: &Path,
    Endpoints { control, daemon, otlp, aws }: Endpoints<'_>,
) -> BTreeMap<String, String> {
    let name = function.name.as_str();
    let (daemon_host, daemon_port) = daemon.split_once(':').unwrap_or((daemon, ""));
    let memory = function.memory_mib.to_string();
    let log_group = format!("/aws/lambda/{name}");
    let folder = folder.to_string_lossy();
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let platform = [
        ("PATH", path.as_str()),
        ("LANG", "en_US.UTF-8"),
        ("TZ", ":UTC"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("_HANDLER", &function.handler),
        ("LAMBDA_TASK_ROOT", &folder),
        ("LAMBDA_RUNTIME_DIR", &folder),
        ("AWS_EXECUTION_ENV", &format!("AWS_Lambda_{}", function.runtime)),
        ("AWS_LAMBDA_FUNCTION_NAME", name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &log_group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "local"),
        ("AWS_REGION", REGION),
        ("AWS_DEFAULT_REGION", REGION),
        // Nothing here checks them; SDKs insist on having some.
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
        ("AWS_SESSION_TOKEN", "local"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_XRAY_DAEMON_ADDRESS", daemon),
        ("_AWS_XRAY_DAEMON_ADDRESS", daemon_host),
        ("_AWS_XRAY_DAEMON_PORT", daemon_port),
        ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
        ("AWS_ENDPOINT_URL_LAMBDA", control),
        ("AWS_ENDPOINT_URL_XRAY", control),
    ];
    let mut environment: BTreeMap<String, String> =
        platform.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    environment.extend(aws.map(|aws| ("AWS_ENDPOINT_URL".to_owned(), aws.to_owned())));
    environment.extend(function.environment.clone());
    otlp::lead(&mut environment, otlp);
    environment
}
