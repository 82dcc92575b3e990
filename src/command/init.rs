//! `sb init`: images before they are needed, and what a cloud account has to be told once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use unicode_width::UnicodeWidthStr as _;

use super::Outcome;
use super::manifest::{Reach, in_reach, is_plan};
use super::output::{Failed, show_problems};
use crate::cli::Provider;
use crate::container::{Engine, Image};
use crate::execute::{ensure_image, explain, image};
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::run::RunError;
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::workspace::absolute;
use sb_plan::benchmark::{Action, Benchmark, Images, Sent};
use sb_plan::manifest::read::Disk;
use sb_plan::plan::{Executor, Overrides};
use sb_plan::validate;

/// The built-in default images, with those of SB_IMAGES in their place.
pub(super) fn images(settings: &Settings) -> Result<Images, RunError> {
    let Some(path) = &settings.images else { return Ok(Images::built_in()) };
    let text = sb_durable::read_regular_text(path).map_err(|error| {
        let message = format!("cannot read `{}`, which SB_IMAGES names: {error}", path.display());
        RunError::Table { message, help: Some("correct the path, or unset SB_IMAGES".to_owned()) }
    })?;
    let with = Images::built_in().with(&text);
    with.map_err(|error| RunError::Table { message: format!("{}: {error}", path.display()), help: None })
}

pub(super) async fn init(
    terminal: &Terminal,
    settings: &Settings,
    provider: Option<Provider>,
    xray_sampling: bool,
    region: Option<&str>,
) -> Outcome {
    match provider {
        None => get_images(terminal, settings).await,
        Some(Provider::Aws) if xray_sampling => super::sampling::create(terminal, settings, region).await,
        Some(Provider::Aws) => Err(Failed::helped(
            Exit::Usage,
            "there is nothing to set up for AWS without saying what",
            "say `sb init aws --xray-sampling`; credentials come from `sb login aws`",
        )),
        Some(_) => Err(Failed::helped(
            Exit::Usage,
            "only AWS has something to set up",
            "credentials come from `sb login PROVIDER`; `sb init` alone gets the images",
        )),
    }
}

/// An image that something needs.
struct Need {
    image: Image,
    /// A reference, or the Dockerfile.
    name: String,
    purposes: Vec<String>,
}

async fn get_images(terminal: &Terminal, settings: &Settings) -> Outcome {
    let benchmarks = benchmarks(terminal, settings)?;
    if let Some(target) = &settings.target
        && !benchmarks.iter().any(|benchmark| benchmark.targets.contains_key(target))
    {
        let names: BTreeSet<_> = benchmarks.iter().flat_map(|found| found.targets.keys()).cloned().collect();
        let message = format!("no manifest here has a target `{target}`");
        let help = format!("their targets are: {}", Vec::from_iter(names).join(", "));
        return Err(Failed::helped(Exit::Usage, message, help));
    }
    if settings.executor == Some(Executor::Host) {
        terminal.say("with the host executor, steps run on this machine: no image is needed");
        return Ok(Exit::Done);
    }
    let needs = needs(&benchmarks, settings.target.as_deref(), &images(settings)?);
    if needs.is_empty() {
        terminal.say("no step runs a command: no image is needed");
        return Ok(Exit::Done);
    }
    let engine = Engine::connect().await.map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
    let mut rows = Vec::new();
    let mut failed = 0;
    for (number, need) in needs.iter().enumerate() {
        terminal.say(&format!("{} of {}: {}", number + 1, needs.len(), need.name));
        let worked = AtomicBool::new(false);
        let tell = |line: String| {
            worked.store(true, Ordering::Relaxed);
            terminal.say(&line);
        };
        let made = ensure_image(&engine, &need.image, &tell).await;
        let state = match (&made, &need.image) {
            (Err(_), _) => "failed",
            (Ok(_), _) if !worked.load(Ordering::Relaxed) => "there",
            (Ok(_), Image::Reference(_)) => "pulled",
            (Ok(_), Image::Build { .. }) => "built",
        };
        let problem = made.as_ref().err().map(explain);
        if let Some(problem) = &problem {
            failed += 1;
            terminal.say(problem);
        }
        rows.push((need, state, made.ok(), problem));
    }
    let text = if settings.json() {
        let images: Vec<_> = rows
            .iter()
            .map(|(need, state, id, problem)| {
                json!({ "image": need.name, "for": need.purposes, "state": state, "id": id, "problem": problem })
            })
            .collect();
        format!("{:#}", json!({ "version": 1, "images": images }))
    } else {
        let width = rows.iter().map(|(need, ..)| need.name.width()).max().unwrap_or(0);
        let mut text = String::new();
        for (need, state, ..) in &rows {
            let (first, rest) =
                need.purposes.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
            let pad = width - need.name.width();
            let _ = writeln!(text, "{}{:pad$}  {state:<6}  {first}", need.name, "");
            for purpose in rest {
                let _ = writeln!(text, "{:width$}          {purpose}", "");
            }
        }
        text
    };
    terminal.data(&text)?;
    if failed > 0 {
        return Err(Failed::message(
            Exit::Failed,
            format!("{failed} of {} could not be had", counted(rows.len(), "image")),
        ));
    }
    Ok(Exit::Done)
}

/// Every benchmark in reach, those that plans name among them.
fn benchmarks(terminal: &Terminal, settings: &Settings) -> Result<Vec<Arc<Benchmark>>, Failed> {
    let mut found: BTreeMap<PathBuf, Arc<Benchmark>> = BTreeMap::new();
    let Reach { files, unreadable: mut problems } = in_reach(settings, &[])?;
    for file in files {
        let path = absolute(&file);
        if is_plan(&path) {
            let checked = validate::plan(&Disk, &path, &Overrides::default());
            problems.extend(checked.problems);
            let benchmarks = checked.value.into_iter().flat_map(|plan| plan.entries);
            found.extend(benchmarks.map(|entry| (entry.benchmark.path.clone(), entry.benchmark)));
        } else {
            let checked = validate::benchmark(&Disk, &path);
            problems.extend(checked.problems);
            found.extend(checked.value.map(|benchmark| (benchmark.path.clone(), benchmark)));
        }
    }
    problems.retain(sb_plan::manifest::problem::Problem::is_error);
    if !problems.is_empty() {
        show_problems(terminal, &problems);
        return Err(Failed::said(Exit::InvalidManifest));
    }
    Ok(found.into_values().collect())
}

fn needs(benchmarks: &[Arc<Benchmark>], only: Option<&str>, defaults: &Images) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    let mut add = |wanted: Image, purpose: String| {
        let name = match &wanted {
            Image::Reference(reference) => reference.clone(),
            Image::Build { dockerfile, .. } => dockerfile.display().to_string(),
        };
        match needs.iter_mut().find(|need| need.image == wanted) {
            Some(need) if need.purposes.contains(&purpose) => {}
            Some(need) => need.purposes.push(purpose),
            None => needs.push(Need { image: wanted, name, purposes: vec![purpose] }),
        }
    };
    for benchmark in benchmarks {
        for (name, target) in
            benchmark.targets.iter().filter(|(name, _)| only.is_none_or(|only| only == *name))
        {
            for step in target.deploy.iter().chain(&target.invoke).chain(&target.cleanup) {
                let purpose = |what| format!("{}@{name}: {what} `{}`", benchmark.name, step.name);
                if step.action.command().is_some() {
                    add(image(step.environment.image.as_ref(), defaults), purpose("step"));
                }
                if let (Action::Load, Some(Sent::Script(script))) = (&step.action, &benchmark.workload) {
                    add(image(Some(&script.image), defaults), purpose("script of load"));
                }
                for recovery in &step.recover {
                    add(image(recovery.environment.image.as_ref(), defaults), purpose("recovery of step"));
                }
            }
            for provider in &target.credentials {
                let purpose =
                    format!("{} ({}@{name}: credentials)", defaults.purpose(provider), benchmark.name);
                add(Image::Reference(defaults.reference(provider).to_owned()), purpose);
            }
        }
    }
    needs
}
