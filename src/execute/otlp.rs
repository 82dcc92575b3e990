//! The receiver of OpenTelemetry as a step: up, and down.

use std::collections::BTreeMap;

use super::step::StepPerformer;
use super::{Attempt, Finished, Produced};
use crate::provider::otlp;
use sb_daemon::DaemonError;
use sb_plan::benchmark::{RECEIVER_OUTPUT, Traces};
use sb_plan::event::{FailureClass, Outcome};

pub(super) async fn up(performer: &StepPerformer, attempt: &Attempt) -> Finished {
    let state = performer.receiver_state(attempt);
    let receiver = tokio::select! {
        receiver = otlp::up(&state, &performer.sb) => receiver,
        () = attempt.cancel.cancelled() => return Outcome::Cancelled.into(),
    };
    match receiver {
        Ok(receiver) => {
            let endpoint = Produced { value: receiver.endpoint.into(), secret: false };
            let outputs = BTreeMap::from([(RECEIVER_OUTPUT.to_owned(), endpoint)]);
            Finished { outputs, ..Outcome::Succeeded.into() }
        }
        Err(error) => Outcome::failed(FailureClass::NotStarted, said(&error)).into(),
    }
}

/// Its traces go with the deployment: what was asked for has been written to the folders of the invocations.
pub(super) async fn down(performer: &StepPerformer, attempt: &Attempt) -> Finished {
    let folder = performer.receiver_state(attempt);
    match otlp::down(&folder).await {
        Ok(()) => {
            attempt.hide_in_state(&folder).await;
            Outcome::Succeeded.into()
        }
        Err(error) => Outcome::failed(FailureClass::Step, said(&error)).into(),
    }
}

/// The error, and whose it is, where it does not say so itself.
fn said(error: &DaemonError) -> String {
    match error {
        DaemonError::Io { .. } | DaemonError::Listen(_) => format!("the {}: {error}", otlp::NAME),
        _ => error.to_string(),
    }
}

/// How applications find the receiver, as OpenTelemetry's SDKs read it.
pub(super) fn environment(attempt: &Attempt) -> Vec<(String, String)> {
    let target = attempt.deployment.benchmark.targets.get(&attempt.deployment.target);
    let has_receiver = target.is_some_and(|target| target.traces == Traces::Otlp(None));
    let endpoint = attempt.values["outputs"][RECEIVER_OUTPUT].as_str().filter(|_| has_receiver);
    let Some(endpoint) = endpoint else { return Vec::new() };
    [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}
