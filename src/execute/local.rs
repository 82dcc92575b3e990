//! The local target as a step: up, and down.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::step::StepPerformer;
use super::{Attempt, Finished, Produced};
use sb_durable::{Durability, Options};
use sb_local::LocalSpec;
use sb_plan::benchmark::{LocalUp, ManifestStep};
use sb_plan::event::{FailureClass, Outcome};
use sb_sam::LocalSettings;
use sb_workload::template::{Context, Template, lookup_in, plain_text};

pub(super) async fn up(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    what: &LocalUp,
) -> Finished {
    let LocalUp { template, parameters, services, settings, failures } = what;
    let folder = performer.local_state(attempt);
    if let Some(failed) = on_purpose(&folder, "deploy", *failures) {
        return failed;
    }
    let params = attempt.values["params"].as_object().cloned().unwrap_or_default();
    let mut values: BTreeMap<String, String> =
        params.iter().map(|(name, value)| (name.clone(), plain_text(value))).collect();
    for (name, value) in parameters {
        match value.render(Context::Plain, &|path| lookup_in(&attempt.values, path)) {
            Ok(value) => values.insert(name.clone(), value),
            Err(error) => return Outcome::failed(FailureClass::NotStarted, error.to_string()).into(),
        };
    }
    let stand_ins = match stand_ins(services, attempt) {
        Ok(stand_ins) => stand_ins,
        Err(message) => return Outcome::failed(FailureClass::NotStarted, message).into(),
    };
    // What the template has no use for may be secret, and stays out of the runtime's files.
    let known = &attempt.deployment.benchmark.templates;
    let model = sb_durable::read_regular_text(template).ok().and_then(|text| known.get(template, &text).ok());
    if let Some(model) = &model {
        let unknown = model.unknown_parameters(&values);
        values.retain(|name, _| !unknown.contains(name));
    }
    let spec = LocalSpec {
        state_dir: folder,
        template: template.clone(),
        parameters: values,
        name: attempt.deployment.application.clone(),
        template_sha256: String::new(),
        services: None,
        java_client: None,
        options: LocalSettings { stand_ins, ..settings.clone() },
    };
    let runtime = tokio::select! {
        runtime = sb_local::up(spec, model.as_deref(), &performer.sb) => runtime,
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
            let invoke = Produced { value: runtime.lambda_endpoint.into(), secret: false };
            outputs.insert("lambda_endpoint".into(), invoke);
            if let Some(endpoint) = runtime.aws_endpoint {
                outputs.insert("aws_endpoint".into(), Produced { value: endpoint.into(), secret: false });
            }
            for (name, output) in &step.outputs {
                if let Some(produced) = outputs.get_mut(name) {
                    produced.secret = output.secret;
                }
            }
            Finished { outputs, ..Outcome::Succeeded.into() }
        }
        Err(error) => Outcome::failed(FailureClass::NotStarted, error.to_string()).into(),
    }
}

/// URLs of stand-ins by service, with their values.
fn stand_ins(
    services: &BTreeMap<String, Template>,
    attempt: &Attempt,
) -> Result<BTreeMap<String, String>, String> {
    let urls = services.iter().map(|(service, url)| {
        let url = url.render(Context::Plain, &|path| lookup_in(&attempt.values, path));
        let url = url.map_err(|error| error.to_string())?;
        match sb_plan::validate::refused_url(service, &url) {
            Some(refused) => Err(format!("{}; {}", refused.message, refused.help)),
            None => Ok((service.clone(), url)),
        }
    });
    urls.collect()
}

/// A fault that the target declares: the first attempts fail, whichever runs make them. They are counted beside the runtime's files.
fn on_purpose(folder: &Path, key: &str, failures: u32) -> Option<Finished> {
    if failures == 0 {
        return None;
    }
    let counter = folder.join(format!("failed-{key}s"));
    let failed: u32 = fs::read_to_string(&counter).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    if failed >= failures {
        // The next deployment begins anew.
        let _ = fs::remove_file(&counter);
        return None;
    }
    let number = failed + 1;
    let options = Options::new().private().survives(Durability::Processes);
    let counted = fs::create_dir_all(folder).and_then(|()| {
        sb_durable::write(&counter, options, number.to_string().as_bytes()).map_err(std::io::Error::from)
    });
    let message = match counted {
        Ok(()) => {
            format!("attempt {number} of {failures} that fail on purpose (`faults.{key}` of the target)")
        }
        Err(error) => error.to_string(),
    };
    Some(Outcome::failed(FailureClass::Step, message).into())
}

pub(super) async fn down(performer: &StepPerformer, attempt: &Attempt, failures: u32) -> Finished {
    let folder = performer.local_state(attempt);
    if let Some(failed) = on_purpose(&folder, "cleanup", failures) {
        return failed;
    }
    match sb_local::down(&folder).await {
        Ok(()) => {
            attempt.hide_in_state(&folder).await;
            Outcome::Succeeded.into()
        }
        Err(error) => Outcome::failed(FailureClass::Step, error.to_string()).into(),
    }
}
