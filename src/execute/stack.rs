//! Stacks on AWS as steps: up, and down.
//!
//! How a stack is called is drawn once and written down before AWS hears of it. So a later runner, or another command, finds the
//! stack that an earlier one has begun.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use sb_durable::Durability;
use sb_plan::benchmark::{ManifestStep, StackUp, Synthesis};
use sb_plan::event::{FailureClass, Outcome};
use sb_workload::template::{Context, lookup_in, plain_text};
use serde_json::json;

use super::command::{self, PreparedCommand};
use super::step::StepPerformer;
use super::{Attempt, Finished, Produced};
use crate::attempt::{self, ExitRecord, KeptLog, LOG_FILE, STDOUT_FILE};
use crate::provider::stacks::assembly;
use crate::provider::stacks::deploy::{Wanted, deploy};
use crate::provider::stacks::remove::{note, remove};
use crate::provider::stacks::{
    Aws, BENCHMARK_TAG, Class, DEPLOYMENT_TAG, HOST_TAG, Names, RUN_TAG, StackError, TARGET_TAG,
    WORKSPACE_TAG, tag_value,
};
use crate::workspace::this_host;

/// What CloudFormation takes: 50, less those of its own.
const MOST_TAGS: usize = 45;
/// In the attempt's folder: how long each resource took.
const RESOURCES_FILE: &str = "resources.json";
/// In the attempt's folder, as long as it is needed: what the CDK's synthesis writes.
const ASSEMBLY_FOLDER: &str = "assembly";

pub(super) async fn up(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    what: &StackUp,
    folder: &Path,
) -> Finished {
    let log = match Log::create(attempt, folder) {
        Ok(log) => log,
        Err(error) => return failed(error),
    };
    if let Some(synthesis) = &what.synthesis {
        // A request to stop is for its command, and the step ends when that has ended.
        match synthesized(performer, attempt, step, synthesis, folder, &log).await {
            Ok(Outcome::Succeeded) => {}
            Ok(outcome) => return outcome.into(),
            Err(error) => return failed(error),
        }
    }
    let finished = tokio::select! {
        finished = deployed(performer, attempt, step, what, folder, &log) => finished.unwrap_or_else(failed),
        // What CloudFormation has begun goes on; the cleanup ends it.
        () = attempt.cancel.cancelled() => Outcome::Cancelled.into(),
    };
    // The bucket has what is needed of it, and another attempt makes it anew.
    let _ = std::fs::remove_dir_all(folder.join(ASSEMBLY_FOLDER));
    finished
}

pub(super) async fn down(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    folder: &Path,
) -> Finished {
    tokio::select! {
        finished = removed(performer, attempt, step, folder) => finished.unwrap_or_else(failed),
        () = attempt.cancel.cancelled() => Outcome::Cancelled.into(),
    }
}

async fn deployed(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    what: &StackUp,
    folder: &Path,
    log: &Log<'_>,
) -> Result<Finished, StackError> {
    let tell = |line: &str| log.tell(line);
    let region = attempt.values["params"]["region"].as_str().filter(|region| !region.is_empty());
    let known = names(performer, attempt, step)?;
    let is_new = known.is_none();
    let mut names = known.unwrap_or_else(|| {
        let benchmark = &attempt.deployment.benchmark.name;
        Names::draw(benchmark, attempt.deployment.id.as_str(), region.map(str::to_owned))
    });
    let aws = Aws::open(names.region.as_deref()).await?;
    if is_new {
        // A region that there is not, or that nobody reaches, would be asked at every cleanup, for ever.
        aws.expect_answer(&names.stack).await?;
    }
    keep(performer, attempt, step, &names)?;
    let of_cdk = match &what.synthesis {
        Some(synthesis) => {
            let assembly = folder.join(ASSEMBLY_FOLDER);
            Some(assembly::read(&assembly, synthesis.stack.as_deref(), &names.bucket)?)
        }
        None => None,
    };
    let unusable = |problem: sb_sam::Problem| other(format!("the template cannot be used: {problem}"));
    let model = match &of_cdk {
        Some(of_cdk) => Arc::new(sb_sam::Template::parse(of_cdk.template.clone()).map_err(unusable)?),
        None => {
            let text = sb_durable::read_regular_text(&what.template)
                .map_err(|error| other(format!("cannot read `{}`: {error}", what.template.display())))?;
            attempt.deployment.benchmark.templates.get(&what.template, &text).map_err(unusable)?
        }
    };
    let file = match &of_cdk {
        Some(of_cdk) => format!("the template of `{}`", of_cdk.name).into(),
        None => what.template.file_name().unwrap_or_default().to_string_lossy(),
    };
    let files = of_cdk.as_ref().map(|of_cdk| of_cdk.files.as_slice()).unwrap_or_default();
    let wanted = Wanted {
        names: &names,
        model: &model,
        file: &file,
        folder: what.template.parent().unwrap_or(Path::new("/")),
        root: &attempt.deployment.benchmark.root,
        parameters: model.given_parameters(&values(attempt, what)?),
        tags: tags(performer, attempt, &names),
        files,
        scratch: folder,
    };
    let deployed = deploy(&aws, &wanted, &tell).await?;
    // For a cleanup that finds the stack deleted by someone else.
    note(&aws, &mut names).await?;
    keep(performer, attempt, step, &names)?;
    let resources: Vec<_> = deployed
        .took
        .iter()
        .map(
            |took| json!({ "resource": took.resource, "type": took.kind, "milliseconds": took.milliseconds }),
        )
        .collect();
    let record =
        json!({ "version": 1, "stack": names.stack, "region": names.region, "resources": resources });
    attempt::write_json(folder, RESOURCES_FILE, &record, Durability::Processes)
        .map_err(|error| other(format!("cannot write to `{}`: {error}", folder.display())))?;
    if what.synthesis.is_some() {
        // What the synthesis printed is in the log; what the manifest takes its outputs from is this.
        attempt::write_json(folder, STDOUT_FILE, &deployed.outputs, Durability::Processes)
            .map_err(|error| other(format!("cannot write to `{}`: {error}", folder.display())))?;
        return Ok(command::finished(attempt, step, Outcome::Succeeded, folder));
    }
    let endpoint = model.endpoint_output().and_then(|name| deployed.outputs.get(&name).cloned());
    let mut outputs: BTreeMap<String, Produced> = BTreeMap::new();
    if let Some(endpoint) = endpoint {
        outputs.insert("endpoint".to_owned(), produced(attempt, endpoint.trim_end_matches('/').to_owned()));
    }
    for name in model.output_names() {
        // One of a condition that does not hold is not there.
        if let Some(value) = deployed.outputs.get(&name) {
            outputs.insert(name, produced(attempt, value.clone()));
        }
    }
    Ok(Finished { outputs, ..Outcome::Succeeded.into() })
}

async fn removed(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    folder: &Path,
) -> Result<Finished, StackError> {
    // Names are written down before anything is made: without them, nothing was.
    let Some(mut names) = names(performer, attempt, step)? else { return Ok(Outcome::Succeeded.into()) };
    let log = Log::create(attempt, folder)?;
    let tell = |line: &str| log.tell(line);
    let aws = Aws::open(names.region.as_deref()).await?;
    let keep = |names: &Names| keep(performer, attempt, step, names);
    remove(&aws, &mut names, &keep, &tell).await?;
    let file = record(performer, attempt, step);
    std::fs::remove_file(&file)
        .map_err(|error| other(format!("cannot remove `{}`: {error}", file.display())))?;
    // Stays as long as other steps have stacks.
    let _ = std::fs::remove_dir(performer.workspace.stacks(&attempt.deployment.id));
    Ok(Outcome::Succeeded.into())
}

/// Makes the template, under a supervisor or in a container, in a folder of its own within that of the attempt.
async fn synthesized(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    synthesis: &Synthesis,
    folder: &Path,
    log: &Log<'_>,
) -> Result<Outcome, StackError> {
    let (own, assembly) = (folder.join("synthesis"), folder.join(ASSEMBLY_FOLDER));
    log.tell("synthesizes the application");
    // An earlier runner had got further, and has removed what was synthesized.
    if attempt.reattach
        && !assembly.exists()
        && ExitRecord::read(&own).is_ok_and(|record| record.is_some())
        && let Err(error) = std::fs::remove_dir_all(&own)
    {
        return Err(other(format!("cannot remove `{}`: {error}", own.display())));
    }
    for folder in [&own, &assembly] {
        std::fs::create_dir_all(folder)
            .map_err(|error| other(format!("cannot make `{}`: {error}", folder.display())))?;
    }
    let prepared = command::prepare(attempt, &synthesis.command, &step.environment, step.timeout)
        .map_err(|error| other(error.to_string()))?;
    let prepared = PreparedCommand { state: Some(assembly), ..prepared };
    let outcome = command::execute(performer, attempt, prepared, &step.environment, &own).await;
    let printed = attempt::tail(&own.join(LOG_FILE)).unwrap_or_default();
    let printed = String::from_utf8_lossy(&printed);
    log.write(&printed);
    let Outcome::Failed(failure) = &outcome else { return Ok(outcome) };
    let cause = printed.lines().map(str::trim).find(|line| line.contains("Error:") || line.contains("ERROR"));
    Ok(match cause.filter(|_| failure.class == FailureClass::Step) {
        Some(cause) => Outcome::failed(failure.class, format!("the CDK's synthesis failed: {cause}")),
        None => outcome,
    })
}

fn other(message: String) -> StackError {
    StackError { class: Class::Other, message }
}

fn failed(error: StackError) -> Finished {
    let class = match error.class {
        Class::Throttled => FailureClass::Throttled,
        // Something may have been made, also where no answer came: none of these is a step that has not begun. And neither
        // permissions nor quotas nor names come by waiting.
        Class::Unreachable
        | Class::Limit
        | Class::Exists
        | Class::Unauthorised
        | Class::NoCapacity
        | Class::Other => FailureClass::Step,
    };
    Outcome::failed(class, error.message).into()
}

fn produced(attempt: &Attempt, value: String) -> Produced {
    let value = value.into();
    Produced { secret: attempt.secrets.are_in(&value), value }
}

/// Where it is written down how the stack of a step is called.
fn record(performer: &StepPerformer, attempt: &Attempt, step: &ManifestStep) -> PathBuf {
    performer.workspace.stacks(&attempt.deployment.id).join(format!("{}.json", step.name))
}

fn names(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
) -> Result<Option<Names>, StackError> {
    let file = record(performer, attempt, step);
    attempt::read_json(&file).map_err(|error| {
        other(format!(
            "cannot read `{}`, which says how the stack is called: {error}; `sb leaks --account` finds it by its tags",
            file.display()
        ))
    })
}

fn keep(
    performer: &StepPerformer,
    attempt: &Attempt,
    step: &ManifestStep,
    names: &Names,
) -> Result<(), StackError> {
    let folder = performer.workspace.stacks(&attempt.deployment.id);
    std::fs::create_dir_all(&folder)
        .and_then(|()| attempt::write_json(&folder, &format!("{}.json", step.name), names, Durability::Disk))
        .map_err(|error| other(format!("cannot write to `{}`: {error}", folder.display())))
}

/// The benchmark's parameters, and before them those of the step.
fn values(attempt: &Attempt, what: &StackUp) -> Result<BTreeMap<String, String>, StackError> {
    let params = attempt.values["params"].as_object().cloned().unwrap_or_default();
    let mut values: BTreeMap<String, String> =
        params.iter().map(|(name, value)| (name.clone(), plain_text(value))).collect();
    for (name, value) in &what.parameters {
        let value = value.render(Context::Plain, &|path| lookup_in(&attempt.values, path));
        values.insert(name.clone(), value.map_err(|error| other(error.to_string()))?);
    }
    Ok(values)
}

/// Of the stack and, by CloudFormation, of its resources. The plan's labels are tags of their own names.
fn tags(performer: &StepPerformer, attempt: &Attempt, names: &Names) -> Vec<(String, String)> {
    let own = [
        (DEPLOYMENT_TAG, names.deployment.clone()),
        (RUN_TAG, tag_value(attempt.run.as_str())),
        (BENCHMARK_TAG, tag_value(&attempt.deployment.benchmark.name)),
        (TARGET_TAG, tag_value(&attempt.deployment.target)),
        (WORKSPACE_TAG, tag_value(&performer.workspace.folder().to_string_lossy())),
        (HOST_TAG, tag_value(&this_host())),
    ];
    let labels = attempt.deployment.labels.iter();
    // Those that begin so are AWS's, and ours.
    let labels = labels.filter(|(name, _)| !name.starts_with("aws:") && !name.starts_with("sb:"));
    own.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(labels.map(|(name, value)| (tag_value(name), tag_value(value))))
        .take(MOST_TAGS)
        .collect()
}

/// What happens is told to whoever watches, and logged.
struct Log<'a> {
    attempt: &'a Attempt,
    file: Arc<Mutex<KeptLog>>,
}

impl<'a> Log<'a> {
    fn create(attempt: &'a Attempt, folder: &Path) -> Result<Self, StackError> {
        let path = folder.join(LOG_FILE);
        let file = KeptLog::create(&path, None)
            .map_err(|error| other(format!("cannot write to `{}`: {error}", path.display())))?;
        Ok(Self { attempt, file: Arc::new(Mutex::new(file)) })
    }

    fn tell(&self, line: &str) {
        self.attempt.tell(line);
        self.write(&format!("{line}\n"));
    }

    fn write(&self, text: &str) {
        let text = self.attempt.secrets.redactor.text(text).into_owned();
        // A disk that is full does not end a deployment.
        let _ = self.file.lock().write(text.as_bytes());
    }
}
