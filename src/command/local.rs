//! `sb local`: the local target by itself.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Outcome;
use super::output::Failed;
use crate::cli::LocalCommand;
use crate::exit_code::Exit;
use crate::role;
use crate::settings::Settings;
use crate::store::expect_own;
use crate::terminal::Terminal;
use crate::watch::files::Growing;
use crate::workspace::{Workspace, absolute};
use sb_local::LocalSpec;
use sb_plan::validate::{refused_service, refused_url};
use sb_sam::{Containers, LocalSettings, Template};

/// A start that takes longer is explained.
const SAY_AFTER: std::time::Duration = std::time::Duration::from_secs(3);
/// How often a log is looked at.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(250);

pub(super) async fn local(terminal: &Terminal, settings: &Settings, command: LocalCommand) -> Outcome {
    let workspace = settings.workspace_here();
    expect_own(&workspace)?;
    match command {
        LocalCommand::Up { template, name, containers, image, service } => {
            if let Some(manifest) = &settings.file {
                return Err(Failed::helped(
                    Exit::Usage,
                    format!(
                        "`sb local up` starts a template, and has no use for the manifest `{}`",
                        manifest.display()
                    ),
                    "name the template with `--template`; `sb prepare -f MANIFEST` deploys by a manifest",
                ));
            }
            let mut parameters = std::collections::BTreeMap::new();
            parameters.extend(settings.params.iter().cloned());
            let model = only_declared(&template, &parameters)?;
            let stand_ins = stand_ins(service)?;
            let spec = LocalSpec {
                state_dir: workspace.local_target(&name),
                template: absolute(&template),
                parameters,
                name,
                template_sha256: String::new(),
                services: None,
                java_client: None,
                options: LocalSettings {
                    containers: containers
                        .then(|| Containers { images: image.into_iter().collect(), client: None }),
                    stand_ins,
                    ..LocalSettings::default()
                },
            };
            let sb = role::program();
            let mut starting = std::pin::pin!(sb_local::up(spec, model.as_ref(), &sb));
            let started = match tokio::time::timeout(SAY_AFTER, &mut starting).await {
                Ok(started) => started,
                Err(_) => {
                    terminal.say("starting; the first time, the services (moto) or the client for Java are fetched, which takes a minute or so");
                    starting.await
                }
            };
            let runtime = started.map_err(failed)?;
            if settings.json() {
                let all = json!({
                    "version": 1, "endpoint": runtime.endpoint, "lambda_endpoint": runtime.lambda_endpoint,
                    "xray_endpoint": runtime.xray_endpoint, "aws_endpoint": runtime.aws_endpoint, "outputs": runtime.outputs, "pid": runtime.pid,
                });
                terminal.data(&format!("{all:#}"))?;
            } else {
                let mut text = format!(
                    "endpoint = {}\nlambda_endpoint = {}\nxray_endpoint = {}\n",
                    runtime.endpoint, runtime.lambda_endpoint, runtime.xray_endpoint
                );
                if let Some(endpoint) = &runtime.aws_endpoint {
                    text += &format!("aws_endpoint = {endpoint}\n");
                }
                for (name, value) in &runtime.outputs {
                    text += &format!("outputs.{name} = {value}\n");
                }
                terminal.data(&text)?;
            }
        }
        LocalCommand::Down { name } => {
            let folder = workspace.local_target(&name);
            if sb_local::find(&folder).is_none() {
                terminal.say(&format!("the local target `{name}` is not running"));
            }
            sb_local::down(&folder).await.map_err(failed)?;
        }
        LocalCommand::Status => {
            let mut rows = Vec::new();
            for folder in workspace.local_targets() {
                if let Some(runtime) = sb_local::find(&folder) {
                    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
                    rows.push((name.unwrap_or_default(), runtime));
                }
            }
            if settings.json() {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(name, runtime)| json!({ "name": name, "endpoint": runtime.endpoint, "aws_endpoint": runtime.aws_endpoint, "functions": runtime.functions, "pid": runtime.pid, "broken": runtime.broken }))
                    .collect();
                terminal.data(&format!("{:#}", json!({ "version": 1, "runtimes": rows })))?;
            } else if rows.is_empty() {
                terminal.say("no local target is running");
            } else {
                let lines: Vec<_> = rows
                    .iter()
                    .map(|(name, runtime)| {
                        let mut lines = format!("{name}  {}  process {}", runtime.endpoint, runtime.pid);
                        if let Some(services) = &runtime.aws_endpoint {
                            lines += &format!("\n  services   {services}");
                        }
                        if let Some(reason) = &runtime.broken {
                            lines += &format!("\n  broken     {reason}");
                        }
                        if !runtime.functions.is_empty() {
                            lines += &format!("\n  functions  {}", runtime.functions.join(", "));
                        }
                        lines
                    })
                    .collect();
                terminal.data(&lines.join("\n"))?;
            }
        }
        LocalCommand::Trace { id, limit, name } => {
            return trace(terminal, settings, &workspace.local_target(&name), &name, id, limit).await;
        }
        LocalCommand::Logs { function, follow, name } => {
            let folder = workspace.local_target(&name);
            let log = match &function {
                Some(function) => sb_local::function_logs(&folder).join(format!("{function}.log")),
                None => folder.join("runtime.log"),
            };
            let mut file = std::fs::File::open(&log).map_err(|error| {
                let message = format!("cannot read `{}`: {error}", log.display());
                Failed::helped(Exit::Failed, message, logs_there_are(&workspace, &folder, &name))
            })?;
            if follow {
                self::follow(terminal, &folder, log).await?;
            } else {
                terminal.copy(&mut file)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// Stand-ins that are usable, as far as their names and URLs tell.
fn stand_ins(given: Vec<(String, String)>) -> Result<std::collections::BTreeMap<String, String>, Failed> {
    let mut stand_ins = std::collections::BTreeMap::new();
    for (service, url) in given {
        if let Some(refused) = refused_service(&service).or_else(|| refused_url(&service, &url)) {
            return Err(Failed::helped(Exit::Usage, refused.message, refused.help));
        }
        if let Some(other) = stand_ins.insert(service.clone(), url) {
            let message = format!("`--service {service}=…` is given twice, first with {other}");
            return Err(Failed::helped(Exit::Usage, message, "remove one of them"));
        }
    }
    Ok(stand_ins)
}

/// The template, where it can be read. A parameter that it does not have would silently change nothing.
fn only_declared(
    template: &Path,
    given: &std::collections::BTreeMap<String, String>,
) -> Result<Option<Template>, Failed> {
    let text = sb_durable::read_regular_text(template).unwrap_or_default();
    // What cannot be read is told when it is started.
    let Ok(model) = Template::parse(text) else { return Ok(None) };
    let unknown = model.unknown_parameters(given);
    if unknown.is_empty() {
        return Ok(Some(model));
    }
    let known = model.parameter_names();
    let message = format!("`{}` has no parameter `{}`", template.display(), unknown.join("`, `"));
    let help = if known.is_empty() {
        "it has none at all: add it under `Parameters:`, or leave it out".to_owned()
    } else {
        format!("its parameters are: {}", known.join(", "))
    };
    Err(Failed::helped(Exit::Usage, message, help))
}

/// Prints a log as it grows, until the local target is gone and all of it is printed.
async fn follow(terminal: &Terminal, folder: &Path, log: PathBuf) -> std::io::Result<()> {
    let mut growing = Growing::new(log);
    loop {
        let runs = sb_local::find(folder).is_some();
        let new = growing.next(runs)?;
        if terminal.is_abandoned() {
            return Ok(());
        }
        if !new.is_empty() {
            terminal.data(&String::from_utf8_lossy(&new))?;
        } else if runs {
            tokio::time::sleep(LOOK_AGAIN).await;
        } else {
            return Ok(());
        }
    }
}

async fn trace(
    terminal: &Terminal,
    settings: &Settings,
    folder: &Path,
    name: &str,
    id: Option<String>,
    limit: usize,
) -> Outcome {
    let runtime = sb_local::find(folder).ok_or_else(|| {
        Failed::helped(
            Exit::Failed,
            format!("the local target `{name}` is not running"),
            "choose one with --name: `sb local status` lists them; the traces of a run are in its `logs` folder",
        )
    })?;
    let wanted = if id.is_some() { 10 } else { limit };
    let traces = sb_local::latest_traces(&runtime, id.as_deref().unwrap_or_default(), wanted).await;
    let traces = traces.map_err(failed)?;
    // The readers of traces read files.
    let file = folder.join(format!("shown.{}.json", std::process::id()));
    std::fs::write(&file, &traces)?;
    let shown = shown(terminal, settings, &file, id.as_deref(), &traces);
    let _ = std::fs::remove_file(&file);
    shown
}

fn shown(terminal: &Terminal, settings: &Settings, file: &Path, id: Option<&str>, traces: &[u8]) -> Outcome {
    let files = [file.to_owned()];
    match id {
        None if traces.is_empty() && !settings.json() => {
            terminal.say("there is no trace yet");
            Ok(Exit::Done)
        }
        None => super::trace::list(terminal, settings, &files, None, false),
        Some(id) if traces.is_empty() => Err(Failed::helped(
            Exit::Failed,
            format!("the local target has no trace `{id}`"),
            "`sb local trace` lists the latest",
        )),
        Some(id) => {
            let found = super::trace::find(&files, id, false)?;
            if settings.json() {
                let lines = traces.split(|byte| *byte == b'\n');
                let values = lines.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
                for value in values.filter(|value| value["Id"] == *found.id) {
                    terminal.data(&format!("{value:#}"))?;
                }
                return Ok(Exit::Done);
            }
            super::trace::show(terminal, found, None)
        }
    }
}

/// What could have been meant: the functions of the local target, or else the local targets.
fn logs_there_are(workspace: &Workspace, folder: &Path, name: &str) -> String {
    let names = |paths: Vec<PathBuf>| {
        let names =
            paths.iter().filter_map(|path| Some(format!("`{}`", path.file_stem()?.to_string_lossy())));
        names.collect::<Vec<_>>().join(", ")
    };
    let mut functions: Vec<_> = std::fs::read_dir(sb_local::function_logs(folder))
        .map(|items| items.flatten().map(|item| item.path()).collect())
        .unwrap_or_default();
    functions.sort();
    if !functions.is_empty() {
        return format!("functions of the local target `{name}` with a log: {}", names(functions));
    }
    let runtimes = names(
        workspace.local_targets().iter().filter_map(|path| path.file_name()).map(PathBuf::from).collect(),
    );
    if runtimes.is_empty() {
        "no local target was ever started here: start one with `sb local up` or `sb prepare`".to_owned()
    } else {
        format!("choose a local target with --name: {runtimes}")
    }
}

fn failed(error: sb_local::LocalError) -> Failed {
    Failed::message(Exit::Failed, error.to_string())
}
