//! The embedded runtime as a step: up, and down.

use std::collections::BTreeMap;
use std::path::Path;

use super::step::Executor;
use super::{Attempt, Finished, Produced};
use crate::event::{FailureClass, Outcome};
use crate::manifest::template::{Context, Template, lookup_in, plain_text};
use crate::provider::local::{self, LocalSpec};
use crate::validate::{self, LocalSettings};

pub(super) async fn up(
    executor: &Executor,
    attempt: &Attempt,
    step: &validate::Step,
    template: &Path,
    parameters: &BTreeMap<String, Template>,
    settings: &LocalSettings,
) -> Finished {
    if attempt.number <= settings.failing_deploys {
        return on_purpose("deploy", attempt, settings.failing_deploys);
    }
    let defaults = local::Options::default();
    let params = attempt.values["params"].as_object().cloned().unwrap_or_default();
    let mut values: BTreeMap<String, String> =
        params.iter().map(|(name, value)| (name.clone(), plain_text(value))).collect();
    for (name, value) in parameters {
        match value.render(Context::Plain, &|path| lookup_in(&attempt.values, path)) {
            Ok(value) => values.insert(name.clone(), value),
            Err(error) => return Outcome::failed(FailureClass::NotStarted, error.to_string()).into(),
        };
    }
    let spec = LocalSpec {
        state_dir: executor.local_state(attempt),
        template: template.to_owned(),
        parameters: values,
        name: attempt.deployment.application.clone(),
        services: None,
        java_client: None,
        options: local::Options {
            concurrency: settings.concurrency.unwrap_or(defaults.concurrency),
            keep_alive: settings.keep_alive.unwrap_or(defaults.keep_alive),
            dynamics: settings.dynamics.clone(),
            ..defaults
        },
    };
    let runtime = tokio::select! {
        runtime = local::up(spec, &executor.sb) => runtime,
        () = attempt.cancel.cancelled() => return Outcome::Cancelled.into(),
    };
    match runtime {
        Ok(runtime) => {
            let mut outputs: BTreeMap<String, Produced> = runtime
                .outputs
                .into_iter()
                .map(|(name, value)| (name, Produced { value: value.into(), secret: false }))
                .collect();
            outputs.insert("endpoint".into(), Produced { value: runtime.endpoint.into(), secret: false });
            if let Some(endpoint) = runtime.aws_endpoint {
                outputs.insert("aws_endpoint".into(), Produced { value: endpoint.into(), secret: false });
            }
            for (name, output) in &step.outputs {
                if let Some(produced) = outputs.get_mut(name) {
                    produced.secret = output.secret;
                }
            }
            Finished { outcome: Outcome::Succeeded, outputs, invalid: vec![] }
        }
        Err(error) => Outcome::failed(FailureClass::NotStarted, error.to_string()).into(),
    }
}

/// A fault that the target declares. The n-th attempt fails whoever runs it: a resumed run goes on where it was.
fn on_purpose(key: &str, attempt: &Attempt, failures: u32) -> Finished {
    let message = format!(
        "attempt {} of {failures} that fail on purpose (`faults.{key}` of the target)",
        attempt.number
    );
    Outcome::failed(FailureClass::Step, message).into()
}

pub(super) async fn down(executor: &Executor, attempt: &Attempt, failures: u32) -> Finished {
    if attempt.number <= failures {
        return on_purpose("cleanup", attempt, failures);
    }
    match local::down(&executor.local_state(attempt)).await {
        Ok(()) => Outcome::Succeeded.into(),
        Err(error) => Outcome::failed(FailureClass::Step, error.to_string()).into(),
    }
}
