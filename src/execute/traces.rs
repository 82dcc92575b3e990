//! Traces of an invocation: fetched by the ids that were sent with the load, then analysed.

use std::path::Path;
use std::time::Duration;

use super::step::Executor;
use super::{Attempt, Finished};
use crate::event::{FailureClass, Notice, Outcome};
use crate::measurement::{INVOCATIONS_FILE, InvocationReader};
use crate::provider::aws::{self, XrayConfig};
use crate::provider::local;
use crate::trace::analyze;
use crate::validate::Traces;

pub const TRACES_FILE: &str = "traces.json";

/// How long traces may take to become complete, after the plan's own wait.
const DEADLINE: Duration = Duration::from_mins(2);
/// The embedded runtime has its traces at once; only asynchronous work may still be under way.
const LOCAL_DEADLINE: Duration = Duration::from_secs(20);

pub(super) async fn get(executor: &Executor, attempt: &Attempt) -> Finished {
    let Some(logs) = &attempt.logs else {
        let message = "there is no invocation to get traces of: run `sb invoke` first";
        return Outcome::failed(FailureClass::Step, message).into();
    };
    let ids = match trace_ids(&logs.join(INVOCATIONS_FILE)) {
        Ok(ids) => ids,
        Err(error) => return Outcome::failed(FailureClass::Step, error).into(),
    };
    let target = attempt.deployment.benchmark.targets.get(&attempt.deployment.target);
    let (config, deadline) = match target.map_or(Traces::None, |target| target.traces) {
        Traces::None => return Outcome::Succeeded.into(),
        Traces::Xray => {
            let region = attempt.values["params"]["region"].as_str().map(str::to_owned);
            (XrayConfig { endpoint: None, region }, DEADLINE)
        }
        Traces::Local => match local::find(&executor.local_state(attempt)) {
            Some(runtime) => {
                (XrayConfig { endpoint: Some(runtime.xray_endpoint), region: None }, LOCAL_DEADLINE)
            }
            None => {
                let message = "the embedded runtime is not running, and its traces went with it: deploy and invoke again";
                return Outcome::failed(FailureClass::Step, message).into();
            }
        },
    };
    let step = attempt.step.id.clone();
    let progress = |now: aws::FetchProgress| {
        let message = format!("{} of {} traces", now.complete, now.expected);
        let _ = attempt.notices.send(Notice::Progress { step: step.clone(), message });
    };
    let file = logs.join(TRACES_FILE);
    let fetched = tokio::select! {
        fetched = aws::fetch_traces(&config, &ids, deadline, &file, &progress) => fetched,
        () = attempt.cancel.cancelled() => return Outcome::Cancelled.into(),
    };
    match fetched {
        Ok(report) if report.expected > 0 && report.found == 0 => {
            let message = format!("none of the {} traces was found", report.expected);
            Outcome::failed(FailureClass::Step, message).into()
        }
        Ok(report) => {
            if !report.missing.is_empty() || report.incomplete > 0 {
                let message = format!(
                    "{} of {} traces found, {} of them incomplete, {} missing",
                    report.found,
                    report.expected,
                    report.incomplete,
                    report.missing.len()
                );
                let _ = attempt.notices.send(Notice::Progress { step: attempt.step.id.clone(), message });
            }
            Outcome::Succeeded.into()
        }
        Err(error @ aws::FetchError::Throttled { .. }) => {
            Outcome::failed(FailureClass::Throttled, error.to_string()).into()
        }
        Err(error) => Outcome::failed(FailureClass::Step, error.to_string()).into(),
    }
}

/// The trace ids of all invocations that were sent, in the order of the file.
fn trace_ids(invocations: &Path) -> Result<Vec<String>, String> {
    let read = || -> Result<Vec<String>, crate::measurement::MeasurementError> {
        let mut ids = Vec::new();
        for row in InvocationReader::new(std::fs::File::open(invocations)?)? {
            let row = row?;
            if row.sent.is_some() {
                ids.push(row.trace_id);
            }
        }
        Ok(ids)
    };
    read().map_err(|error| format!("`{}`: {error}", invocations.display()))
}

pub(super) async fn analyze(attempt: &Attempt) -> Finished {
    let Some(logs) = attempt.logs.clone() else {
        let message = "there is no invocation to analyse: run `sb invoke` and `sb get-traces` first";
        return Outcome::failed(FailureClass::Step, message).into();
    };
    let file = logs.join(TRACES_FILE);
    let analysed =
        tokio::task::spawn_blocking(move || analyze::analyze_file(&file, &analyze::Options::default())).await;
    match analysed {
        Ok(Ok(summary)) if summary.valid == 0 && summary.invalid > 0 => {
            let reasons: Vec<_> =
                summary.reasons.iter().map(|(reason, count)| format!("{count} × {reason}")).collect();
            let message = format!("none of {} traces is valid: {}", summary.invalid, reasons.join(", "));
            Outcome::failed(FailureClass::Step, message).into()
        }
        Ok(Ok(_)) => Outcome::Succeeded.into(),
        Ok(Err(error)) => {
            let message = format!("cannot analyse the traces in `{}`: {error}", logs.display());
            Outcome::failed(FailureClass::Step, message).into()
        }
        Err(error) => Outcome::failed(FailureClass::NotStarted, error.to_string()).into(),
    }
}
