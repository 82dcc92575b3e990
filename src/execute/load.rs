//! The load of a trial: a supervised process of its own, so that it outlives this one and is not disturbed by it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::k6::{self, Containers, K6_ARGUMENT, K6Spec};
use super::step::StepPerformer;
use super::{Attempt, Finished, command, docker, files};
use crate::container::Mount;
use crate::host::HostCommand;
use sb_load::{LoadLock, LoadSpec, Progress};
use sb_measurement::{LoadSummary, SUMMARY_FILE};
use sb_plan::benchmark::{ManifestStep, Script, Sent};
use sb_plan::event::{FailureClass, LoadProgress, Notice, Outcome};
use sb_plan::plan::Executor;
use sb_workload::template::{Context, Undefined, lookup_in};

/// The hidden argument under which this program sends load.
pub(crate) const LOAD_ARGUMENT: &str = "internal-load";

/// In the attempt's folder: what k6 reads and writes.
const K6_FOLDER: &str = "k6";
const SPEC_FILE: &str = "load.json";
/// In the attempt's folder: how far its load is, a [`Progress`] a line, the latest last.
pub(crate) const PROGRESS_FILE: &str = "progress.jsonl";
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub(super) async fn run(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    folder: &Path,
) -> Finished {
    let (Some(logs), Some(sent)) = (&attempt.logs, &attempt.deployment.benchmark.workload) else {
        return Outcome::failed(FailureClass::Step, "the manifest has no [workload] to send").into();
    };
    let outcome = match sent {
        Sent::Requests(workload) => {
            let spec = LoadSpec {
                workload: (**workload).clone(),
                load: (*attempt.deployment.load).clone(),
                folder: logs.clone(),
                root: Some(attempt.deployment.benchmark.root.clone()),
                seed: seed(attempt),
                values: (*attempt.values).clone(),
                secrets: attempt.secrets.texts().map(str::to_owned).collect(),
                locks: locks(attempt),
                max_in_flight: sb_load::DEFAULT_MAX_IN_FLIGHT,
                function_logs: function_logs(performer, attempt),
            };
            supervised(performer, attempt, step, folder, LOAD_ARGUMENT, &spec).await
        }
        Sent::Script(script) => {
            let spec = match k6_spec(performer, attempt, step, script, logs, folder) {
                Ok(spec) => spec,
                Err(error) => return Outcome::failed(FailureClass::Step, error.to_string()).into(),
            };
            let outcome = supervised(performer, attempt, step, folder, K6_ARGUMENT, &spec).await;
            if !outcome.is_success()
                && let Some(containers) = &spec.containers
            {
                // Of a process that could not do it itself.
                k6::remove_leftovers(containers).await;
            }
            outcome
        }
    };
    finish(attempt, outcome, logs, folder)
}

/// A load in a process of its own, or what became of one that an earlier runner started.
async fn supervised(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    folder: &Path,
    argument: &str,
    spec: &impl Serialize,
) -> Outcome {
    let spec_path = folder.join(SPEC_FILE);
    let progress_path = folder.join(PROGRESS_FILE);
    if (!attempt.reattach || !spec_path.exists())
        && let Err(error) = write_private(&spec_path, spec)
    {
        let message = format!("cannot write `{}`: {error}", spec_path.display());
        return Outcome::failed(FailureClass::NotStarted, message);
    }
    let word = |path: &Path| path.to_string_lossy().into_owned();
    let command = HostCommand {
        log_limit: None,
        ends_sessions: false,
        argv: vec![word(&performer.sb), argument.to_owned(), word(&spec_path), word(&progress_path)],
        env: std::collections::BTreeMap::new(),
        clear_env: false,
        workdir: command::manifest_folder(attempt).to_owned(),
        timeout: step.timeout,
        grace: command::GRACE,
        asks_leader: false,
    };
    let sending = command::on_host(performer, attempt, &command, folder);
    let outcome = tokio::select! {
        outcome = sending => outcome,
        never = watch(attempt, &progress_path) => match never {},
    };
    let _ = std::fs::remove_file(&spec_path);
    outcome
}

fn k6_spec(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    script: &Script,
    logs: &Path,
    folder: &Path,
) -> Result<K6Spec, Undefined> {
    let lookup = |path: &str| lookup_in(&attempt.values, path);
    let mut env = command::identity(attempt);
    for (name, value) in &script.env {
        env.insert(name.clone(), value.render(Context::Plain, &lookup)?);
    }
    let in_containers = performer.executor == Executor::Docker || !script.generators.is_empty();
    let environment = &step.environment;
    let containers = in_containers.then(|| {
        // A load reads the application's files, and writes to its own folder only.
        let read_only = |mount| Mount { read_only: true, ..mount };
        Containers {
            generators: script.generators.clone(),
            image: docker::image(Some(&script.image), &performer.images),
            name: docker::name(attempt, folder),
            labels: docker::labels(performer, attempt),
            mounts: docker::mounts(performer, attempt).into_iter().map(read_only).collect(),
            user: environment.user.clone(),
            network: environment.network.clone().or_else(|| docker::default_network(&attempt.deployment)),
            cpus: environment.limits.cpus,
            memory_bytes: environment.limits.memory_bytes,
        }
    });
    Ok(K6Spec {
        script: script.path.clone(),
        env,
        options: script.options.clone(),
        load: (*attempt.deployment.load).clone(),
        folder: logs.to_owned(),
        root: Some(attempt.deployment.benchmark.root.clone()),
        work: folder.join(K6_FOLDER),
        secrets: attempt.secrets.texts().map(str::to_owned).collect(),
        locks: locks(attempt),
        function_logs: function_logs(performer, attempt),
        containers,
    })
}

/// Where the functions of a local target write.
pub(super) fn function_logs(performer: &StepPerformer, attempt: &Attempt) -> Option<PathBuf> {
    let folder = sb_local::function_logs(&performer.local_state(attempt));
    folder.is_dir().then_some(folder)
}

fn locks(attempt: &Attempt) -> Vec<LoadLock> {
    attempt.holds.iter().map(|(path, alone)| LoadLock { path: path.clone(), alone: *alone }).collect()
}

fn finish(attempt: &Attempt, outcome: Outcome, logs: &Path, folder: &Path) -> Finished {
    match outcome {
        Outcome::Succeeded => {}
        Outcome::Failed(failure) if failure.class == FailureClass::Step => {
            // What went wrong stands at the end of what the process wrote.
            let log = crate::attempt::tail(&folder.join(crate::attempt::LOG_FILE)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let message = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or(&failure.message);
            return Outcome::failed(failure.class, message).into();
        }
        other => return other.into(),
    }
    let summary = files::held(attempt, logs)
        .and_then(|logs| std::fs::read(logs.path().join(SUMMARY_FILE)))
        .map_err(|error| error.to_string())
        .and_then(|bytes| serde_json::from_slice::<LoadSummary>(&bytes).map_err(|error| error.to_string()));
    if let Ok(summary) = &summary {
        let summary = Box::new(summary.clone());
        // Now it is known when the load began and ended. Without these times the results are complete.
        let _ = files::describe(attempt, logs);
        let step = attempt.step.id.clone();
        let _ = attempt.notices.send(Notice::Loaded { step, summary, folder: logs.to_owned() });
    }
    match summary {
        Ok(summary) if summary.planned != Some(0) && summary.answered == 0 => {
            let why = match summary.invalid.first() {
                _ if !summary.outcomes.is_empty() => format!(": {}", summary.outcome_text(|_| true)),
                // A script that sends nothing has said why.
                Some(reason) => format!(": {reason}"),
                None => String::new(),
            };
            Outcome::failed(FailureClass::Step, format!("no invocation was answered{why}")).into()
        }
        Ok(summary) => Finished { invalid: summary.invalid, ..Outcome::Succeeded.into() },
        Err(error) => {
            let message = format!("the load left no readable summary in `{}`: {error}", logs.display());
            Outcome::failed(FailureClass::Step, message).into()
        }
    }
}

/// Each attempt of each trial draws differently, and the same plan with the same seed draws the same.
fn seed(attempt: &Attempt) -> u64 {
    use sha2::Digest as _;
    let mut hash = sha2::Sha256::new();
    hash.update(attempt.deployment.seed.to_le_bytes());
    hash.update(attempt.step.id.as_str());
    let bytes = hash.finalize();
    bytes.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte))
}

fn write_private(path: &Path, spec: &impl Serialize) -> std::io::Result<()> {
    let mut file = sb_durable::private().write(true).create(true).truncate(true).open(path)?;
    file.write_all(&serde_json::to_vec(spec)?)
}

/// Tells how far the load is, as its process writes it.
async fn watch(attempt: &Attempt, progress: &Path) -> std::convert::Infallible {
    let mut last = None;
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let Ok(text) = std::fs::read_to_string(progress) else { continue };
        let newest = text.lines().rev().find_map(|line| serde_json::from_str::<Progress>(line).ok());
        let Some(newest) = newest else { continue };
        let now = LoadProgress {
            planned: newest.planned,
            sent: newest.sent,
            answered: newest.answered,
            failed: newest.failed,
            dropped: newest.dropped,
            p50_ms: newest.p50_ms,
            p99_ms: newest.p99_ms,
        };
        if last.replace(now) != Some(now) {
            let _ = attempt.notices.send(Notice::Loading { step: attempt.step.id.clone(), progress: now });
        }
    }
}
