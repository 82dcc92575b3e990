//! `sb shell`: a shell where a step would run.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::init::images;
use super::output::{Failed, accept};
use super::{Outcome, passthrough, single};
use crate::container::Opening;
use crate::execute::{Attempt, StepPerformer, Workplace, WorkplaceError, explain, workplace};
use crate::exit_code::Exit;
use crate::role;
use crate::run::new_run_id;
use crate::schedule;
use crate::settings::Settings;
use crate::terminal::Terminal;
use sb_plan::benchmark::{Action, Benchmark, Environment, Image, Images, ManifestStep, Phase, Target};
use sb_plan::graph::{Step, StepKind};
use sb_plan::id::{DeploymentId, StepId};
use sb_plan::manifest::read::Disk;
use sb_plan::plan::Overrides;
use sb_plan::plan::expand;
use sb_plan::validate;

pub(super) async fn shell(
    terminal: &Terminal,
    settings: &Settings,
    image: Option<&str>,
    step: Option<&str>,
    argv: Vec<String>,
) -> Outcome {
    let manifest = settings.manifest()?;
    let benchmark = accept(terminal, validate::benchmark(&Disk, &manifest))?;
    let name = single::target(settings, &benchmark)?;
    let target = &benchmark.targets[&name];
    let found = step.map(|step| find(&benchmark, &name, step)).transpose()?;
    let mut environment = match &found {
        Some(step) => step.environment.clone(),
        // The most that a step of the target may have.
        None => Environment {
            image: benchmark.images.get(Images::STEP).cloned(),
            credentials: target.credentials.clone(),
            ..Environment::default()
        },
    };
    if let Some(image) = image {
        environment.image = Some(named(&benchmark, image)?);
    }
    let overrides = Overrides {
        params: settings.params.clone(),
        executor: settings.executor,
        environment: settings.environment.clone(),
        ..Overrides::default()
    };
    let plan = accept(terminal, validate::single(Arc::clone(&benchmark), &name, None, &overrides))?;
    let workspace = settings.workspace(&manifest);
    let run = new_run_id("shell");
    let id = DeploymentId::new(format!("{}@{name}", benchmark.name));
    let store = super::status::look(terminal, settings, &workspace)?;
    let row = store.deployment(&id).await?;
    let deployment = &expand(&plan).deployments[0];
    let stored = row.map(|row| (&store, row));
    let (deployed, values) = schedule::look_at(&plan, deployment, id, &run, stored)
        .map_err(|error| Failed::message(Exit::Store, error.to_string()))?;
    let (notices, _) = mpsc::unbounded_channel();
    let step = StepId::new(format!("{}@{name}/shell", benchmark.name));
    let attempt = Attempt {
        run: run.clone(),
        step: Step { id: step, deployment: 0, trial: None, rank: 0, kind: StepKind::GetTraces },
        number: 1,
        again: false,
        reattach: false,
        lost_boot: false,
        deployment: deployed,
        values: Arc::new(values),
        secrets: Arc::default(),
        logs: None,
        evidence: None,
        holds: vec![],
        cancel: CancellationToken::new(),
        notices,
    };
    let performer = StepPerformer::new(plan.executor, workspace.clone(), role::program(), images(settings)?);
    let tell = |line: String| terminal.say(&line);
    let made = workplace(&performer, &attempt, &environment, argv, &tell).await.map_err(refused)?;
    match made {
        Workplace::Host { argv, env, workdir } => {
            let mut command = tokio::process::Command::new(&argv[0]);
            command.args(&argv[1..]).envs(env).current_dir(&workdir);
            passthrough::run_here(command).await.map_err(|error| {
                let message = format!("cannot start `{}` in `{}`: {error}", argv[0], workdir.display());
                Failed::message(Exit::Failed, message)
            })
        }
        Workplace::Container(command) => {
            let home = workspace.shell(&run);
            DirBuilder::new().recursive(true).mode(0o700).create(&home)?;
            let size = terminal.is_interactive().then(|| terminal.size());
            let opening = Opening { terminal: size, files: None, folder: Some(&home) };
            let engine = performer.reach_engine().await.map_err(|error| refused(error.into()))?;
            let ended = match engine.open(&command, &opening).await {
                Ok(session) => passthrough::pass_through(terminal, session).await,
                Err(error) => Err(refused(error.into())),
            };
            let _ = std::fs::remove_dir_all(&home);
            ended
        }
    }
}

fn refused(error: WorkplaceError) -> Failed {
    match &error {
        WorkplaceError::Prepare(_) => Failed::helped(
            Exit::Failed,
            error.to_string(),
            "deploy the application first (`sb prepare`), or leave out --step",
        ),
        WorkplaceError::Container(error) => Failed::message(Exit::Failed, explain(error)),
        WorkplaceError::Workdir { .. } => Failed::message(Exit::Failed, error.to_string()),
    }
}

fn steps(target: &Target) -> impl Iterator<Item = &ManifestStep> {
    target.deploy.iter().chain(&target.invoke).chain(&target.cleanup).map(Arc::as_ref)
}

/// `deploy/stack`
fn full(step: &ManifestStep) -> String {
    let phase = match step.phase {
        Phase::Deploy => "deploy",
        Phase::Invoke => "invoke",
        Phase::Cleanup => "cleanup",
    };
    format!("{phase}/{}", step.name)
}

fn has_name(step: &ManifestStep, wanted: &str) -> bool {
    step.name == wanted || full(step) == wanted
}

/// `stack`, or `deploy/stack` where several phases have one.
fn find<'a>(benchmark: &'a Benchmark, name: &str, wanted: &str) -> Result<&'a ManifestStep, Failed> {
    let target = &benchmark.targets[name];
    let matching: Vec<_> = steps(target).filter(|step| has_name(step, wanted)).collect();
    match matching.as_slice() {
        [step] if step.action.command().is_some() => Ok(step),
        [step] => {
            let what = without_command(&step.action);
            let message =
                format!("the step `{}` of the target `{name}` runs no command: it {what}", full(step));
            Err(Failed::helped(Exit::Usage, message, others(benchmark, name, wanted)))
        }
        [] => {
            let names: Vec<_> = steps(target).map(full).collect();
            let help = format!("its steps are: {}", names.join(", "));
            Err(Failed::helped(Exit::Usage, format!("the target has no step `{wanted}`"), help))
        }
        several => {
            let names: Vec<_> = several.iter().map(|step| full(step)).collect();
            let help = format!("say which: {}", names.join(", "));
            Err(Failed::helped(Exit::Usage, format!("several steps are called `{wanted}`"), help))
        }
    }
}

/// What a step does that needs no shell.
fn without_command(action: &Action) -> &'static str {
    match action {
        Action::Run(_) | Action::Background(_) | Action::Tool(_) => "runs a command",
        Action::Wait(_) => "waits",
        Action::WaitFor(_) => "asks a URL until it answers",
        Action::Load => "sends the load",
        Action::LocalUp(_) => "starts the local target",
        Action::LocalDown { .. } => "stops the local target",
        Action::StackUp(_) => "deploys a stack on AWS, as `sb` itself",
        Action::StackDown => "removes a stack on AWS, as `sb` itself",
        Action::OtlpUp => "starts the receiver of OpenTelemetry",
        Action::OtlpDown => "stops the receiver of OpenTelemetry",
        Action::StopBackground => "stops the background steps",
    }
}

/// In whose place a shell can be opened: a step of this name elsewhere, another step here, or none.
fn others(benchmark: &Benchmark, name: &str, wanted: &str) -> String {
    let with_command = |target: &Target| -> Vec<String> {
        steps(target).filter(|step| step.action.command().is_some()).map(full).collect()
    };
    let elsewhere = benchmark.targets.iter().find_map(|(other, target)| {
        let found = steps(target).find(|step| has_name(step, wanted) && step.action.command().is_some())?;
        (other != name).then(|| format!("`sb shell --target {other} --step {}`", full(found)))
    });
    let here = with_command(&benchmark.targets[name]);
    let here = match here.as_slice() {
        [] => "`sb shell` without --step opens one with the credentials of the target".to_owned(),
        names => format!("steps of `{name}` that run commands: {}", names.join(", ")),
    };
    match elsewhere {
        Some(command) => format!("{command} opens the one of another target; {here}"),
        None => here,
    }
}

/// An alias of the manifest, a name of the table of defaults, or a reference.
fn named(benchmark: &Benchmark, image: &str) -> Result<Image, Failed> {
    if let Some(known) = benchmark.images.get(image) {
        return Ok(known.clone());
    }
    if Images::has(image) {
        return Ok(Image::Default(image.to_owned()));
    }
    if sb_plan::benchmark::is_image_reference(image) {
        return Ok(Image::Reference(image.to_owned()));
    }
    Err(Failed::helped(
        Exit::Usage,
        format!("`{image}` is not an image"),
        "use an alias of [images], or a reference such as \"debian:12\"",
    ))
}
