//! Starting, finding and stopping the local target.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sb_daemon::Daemon;
use sb_sam::Template;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::daemon::{evaluate, parse};
use super::{LocalError, LocalRuntime, LocalSpec, SERVE, containers, java, orphans, services, trace_log};

/// Time to start, the services included; the functions themselves start on demand.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// Time for what was told to end, before one gives up waiting for it.
const GRACE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// The local target of a state folder, as a daemon.
pub(super) fn daemon(state_dir: &Path) -> Daemon {
    Daemon::new("local target", state_dir)
}

pub(super) fn spec_file(state_dir: &Path) -> PathBuf {
    state_dir.join("local.json")
}

/// Starts the local target, detached, and waits until it answers. One that already runs from the same state folder is returned
/// as it is, unless it runs something else than is asked for, which is an error.
///
/// `known` is the template, where the caller has parsed it; one that was edited since is parsed anew. `sb_binary` is this
/// program: it is started again as the daemon.
///
/// # Errors
/// The template cannot be used, what it needs cannot be fetched, or the daemon does not become ready.
pub async fn up(
    spec: LocalSpec,
    known: Option<&Template>,
    sb_binary: &Path,
) -> Result<LocalRuntime, LocalError> {
    fs::create_dir_all(&spec.state_dir).map_err(LocalError::io("make", &spec.state_dir))?;
    let state_dir = fs::canonicalize(&spec.state_dir).map_err(LocalError::io("find", &spec.state_dir))?;
    let template = fs::canonicalize(&spec.template).map_err(LocalError::io("find", &spec.template))?;
    let text = sb_durable::read_regular(&template, crate::LARGEST_TEMPLATE)
        .map_err(LocalError::io("read", &template))?;
    let template_sha256 = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
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
    let parsed;
    let model = match known {
        Some(known) if known.source().as_bytes() == text => Ok(known),
        _ => {
            parsed = parse(&spec.template, text);
            parsed.as_ref()
        }
    };
    if let Ok(model) = model
        && let Ok(application) = evaluate(model, &spec, here, here)
    {
        if application.has_services() {
            spec.services = Some(services::python().await?);
        }
        if let Some(containers) = &mut spec.options.containers {
            containers::ready(containers, &application.functions).await?;
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
    let daemon = daemon(&state_dir);
    daemon.write(spec_file(&state_dir), &spec)?;
    Ok(daemon.start(sb_binary, SERVE, READY_WITHIN).await?)
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

pub(super) fn last_spec(state_dir: &Path) -> Option<LocalSpec> {
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

/// The local target that runs from this state folder and is ready.
pub fn find(state_dir: &Path) -> Option<LocalRuntime> {
    daemon(state_dir).find()
}

/// Stops the local target and waits for its end; then no process and no port of it is left. Nothing to do is fine.
///
/// # Errors
/// Its process survives SIGKILL.
pub async fn down(state_dir: &Path) -> Result<(), LocalError> {
    let daemon = daemon(state_dir);
    // A killed one takes its functions along: the kernel sends them SIGKILL.
    daemon.stop().await?;
    if let Ok(folder) = fs::canonicalize(state_dir) {
        // Its own processes were told to end with it, which takes those with much memory a moment.
        let begun = Instant::now();
        while orphans::end(&folder) > 0 && begun.elapsed() < GRACE && daemon.holder().is_none() {
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
