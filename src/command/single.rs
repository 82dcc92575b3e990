//! `sb prepare`, `invoke`, `get-traces`, `analyze-traces`, `cleanup`, `test`: parts of the same graph, on a
//! deployment that persists between them.

use std::path::Path;

use super::output::{Failed, accept, accept_arguments};
use super::status::look;
use super::{Outcome, run};
use crate::cli::LoadArguments;
use crate::exit_code::Exit;
use crate::run::{Request, What};
use crate::settings::Settings;
use crate::store::{Debt, DeploymentRow};
use crate::terminal::Terminal;
use crate::workspace::absolute;
use sb_plan::benchmark::{Benchmark, Sent};
use sb_plan::graph::Parts;
use sb_plan::id::DeploymentId;
use sb_plan::manifest::read::Disk;
use sb_plan::plan::{Executor, GivenTolerances};
use sb_plan::validate;
use sb_workload::{Load, LoadShape};
use serde_json::Value;

pub(super) async fn part(terminal: &Terminal, settings: &Settings, parts: Parts) -> Outcome {
    start(terminal, settings, parts, None, GivenTolerances::default(), false).await
}

/// Load on a deployment that stands.
pub(super) async fn invoke(
    terminal: &Terminal,
    settings: &Settings,
    load: LoadArguments,
    tolerances: GivenTolerances,
) -> Outcome {
    start(terminal, settings, Parts { invoke: true, ..Parts::NONE }, Some(load), tolerances, false).await
}

/// The whole life cycle once.
pub(super) async fn test(
    terminal: &Terminal,
    settings: &Settings,
    load: LoadArguments,
    tolerances: GivenTolerances,
    keep_on_failure: bool,
) -> Outcome {
    start(terminal, settings, Parts::ALL, Some(load), tolerances, keep_on_failure).await
}

async fn start(
    terminal: &Terminal,
    settings: &Settings,
    parts: Parts,
    load: Option<LoadArguments>,
    tolerances: GivenTolerances,
    keep_on_failure: bool,
) -> Outcome {
    let manifest = settings.manifest()?;
    let says_how_many = load.as_ref().is_some_and(LoadArguments::says_how_many);
    let mut load = load.map(|arguments| resolve_load(terminal, arguments)).transpose()?;
    let mut checked = validate::benchmark(&Disk, &manifest);
    if checked.value.is_some() {
        // Warnings are shown when the run is checked as a whole.
        checked.problems.clear();
    }
    let benchmark = accept(terminal, checked)?;
    let target = target(settings, &benchmark)?;
    if parts.invoke
        && !parts.deploy
        && benchmark.workload.is_none()
        && benchmark.targets[&target].invoke.is_empty()
    {
        let message = format!("`{}` has nothing to invoke on target `{target}`", benchmark.name);
        let help =
            "add `[[workload.requests]]` with a name and a url, or an `[[invoke]]` step, to its manifest";
        return Err(Failed::helped(Exit::InvalidManifest, message, help));
    }
    let deployment = DeploymentId::new(format!("{}@{target}", benchmark.name));
    let mut executor = settings.executor;
    if parts.deploy {
        let store = look(terminal, settings, &settings.workspace(&benchmark.path))?;
        if let Some(row) = store.deployment(&deployment).await?.filter(|row| row.debt == Debt::Owed) {
            expect_kept(&row, &settings.params)?;
            if parts == Parts::ALL {
                terminal.say(&format!(
                    "note: `{deployment}` is deployed already: it is deployed anew, and removed at the end"
                ));
            }
        }
    }
    if !parts.deploy {
        let deployed_with = expect_deployed(terminal, settings, &benchmark, &deployment, parts).await?;
        // What was deployed with other tools is hardly found by these.
        executor = executor.or(deployed_with);
        if !settings.params.is_empty() {
            let help = "use `sb config set NAME VALUE`, or `sb cleanup` and then `sb prepare -p NAME=VALUE`";
            return Err(Failed::helped(
                Exit::Usage,
                "parameters belong to the deployment, which exists",
                help,
            ));
        }
    }
    if let (Some(load), true, Some(Sent::Requests(workload))) = (&mut load, parts.deploy, &benchmark.workload)
    {
        // A test is to find out whether everything works, so it leaves nothing to chance.
        load.each_once = true;
        if !says_how_many {
            load.shape = LoadShape::Iterations { iterations: workload.choices() as u64 };
        }
    }
    let load = load.map(Box::new);
    let request = Request::new(What::Single { manifest, target, deployment, load }, parts)
        .executor(executor)
        .tolerances(tolerances)
        .keep_on_failure(keep_on_failure)
        .templates(benchmark.templates.clone());
    run::start(terminal, settings, request, false, None).await
}

/// That no other value is asked for than a deployment has: it keeps its parameters until it is cleaned up.
fn expect_kept(row: &DeploymentRow, given: &[(String, String)]) -> Result<(), Failed> {
    for (name, value) in given {
        let kept = match row.params.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => continue,
        };
        let as_number = |text: &str| text.parse::<f64>().ok();
        let is_same =
            kept == *value || as_number(&kept).is_some_and(|number| Some(number) == as_number(value));
        if !is_same {
            return Err(Failed::helped(
                Exit::Usage,
                format!(
                    "`{}` is deployed with `{name}` = `{kept}`, and keeps it until it is cleaned up",
                    row.id
                ),
                format!(
                    "`sb cleanup`, and then the same command again; or `sb config set {name} {value}` and `sb prepare`"
                ),
            ));
        }
    }
    Ok(())
}

/// `--target`, or the only one.
pub(super) fn target(settings: &Settings, benchmark: &Benchmark) -> Result<String, Failed> {
    let names: Vec<&str> = benchmark.targets.keys().map(String::as_str).collect();
    match (&settings.target, names.as_slice()) {
        (Some(target), _) if benchmark.targets.contains_key(target) => Ok(target.clone()),
        (Some(target), _) => Err(Failed::helped(
            Exit::Usage,
            format!("`{}` has no target `{target}`", benchmark.name),
            format!("its targets are: {}", names.join(", ")),
        )),
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => Err(Failed::helped(
            Exit::Usage,
            format!("`{}` has several targets: {}", benchmark.name, names.join(", ")),
            "choose one with --target",
        )),
    }
}

/// Says with which executor it was deployed, if one was chosen.
async fn expect_deployed(
    terminal: &Terminal,
    settings: &Settings,
    benchmark: &Benchmark,
    deployment: &DeploymentId,
    parts: Parts,
) -> Result<Option<Executor>, Failed> {
    let store = look(terminal, settings, &settings.workspace(&benchmark.path))?;
    store.expect_original()?;
    let row = store.deployment(deployment).await?;
    if let Some(row) = &row
        && row.manifest != benchmark.path
        // One that is no longer there was moved.
        && row.manifest.exists()
        && !is_same_file(&row.manifest, &benchmark.path)
    {
        let message = format!(
            "the deployment `{deployment}` belongs to another manifest, `{}`",
            row.manifest.display()
        );
        let help = "two benchmarks of a workspace need different names; or use another --state-dir";
        return Err(Failed::helped(Exit::Failed, message, help));
    }
    let analysis_only = parts == Parts { analyze: true, ..Parts::NONE };
    let looks_only = !parts.deploy && !parts.invoke && !parts.cleanup;
    match row {
        // Refused before a run begins, which would be the last one.
        Some(DeploymentRow { logs: None, debt, .. })
            if looks_only && (debt == Debt::Owed || analysis_only) =>
        {
            let message = format!("`{deployment}` has no invocation yet whose traces there could be");
            let help = if debt == Debt::Owed {
                "send requests with `sb invoke`"
            } else {
                "run the whole life cycle with `sb test`, or name files of traces"
            };
            Err(Failed::helped(Exit::Failed, message, help))
        }
        Some(row) if row.debt == Debt::Owed || analysis_only => {
            let run = store.run(&row.run).await?;
            Ok(run.and_then(|run| Request::read(&run).ok()).and_then(|request| request.executor))
        }
        _ if parts.cleanup => {
            let message = format!("`{deployment}` is not deployed: there is nothing to clean up");
            Err(Failed::message(Exit::Failed, message))
        }
        _ => Err(Failed::helped(
            Exit::Failed,
            format!("`{deployment}` is not deployed"),
            "deploy it with `sb prepare`",
        )),
    }
}

fn is_same_file(one: &Path, two: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let file = |path: &Path| path.metadata().ok().map(|found| (found.dev(), found.ino()));
    file(one).is_some_and(|one| Some(one) == file(two))
}

pub(super) fn resolve_load(terminal: &Terminal, arguments: LoadArguments) -> Result<Load, Failed> {
    if let Some(file) = &arguments.load_file {
        return accept(terminal, validate::load_file(&Disk, &absolute(file)));
    }
    let arguments = sb_plan::manifest::LoadArguments {
        load: arguments.load,
        rate: arguments.rate,
        duration: arguments.duration,
        users: arguments.users,
        think_time: arguments.think_time,
        scale_factor: arguments.scale_factor,
        scale_type: arguments.scale_type,
        skip: arguments.skip,
        seed: arguments.load_seed,
        arrivals: arguments.arrivals,
        speed: arguments.speed,
        expected_latency: arguments.expected_latency,
        k6_options: arguments.k6_options,
        folder: absolute(Path::new(".")),
        ..sb_plan::manifest::LoadArguments::default()
    };
    accept_arguments(terminal, validate::load_arguments(&Disk, &arguments))
}
