//! `sb local`: the local target by itself.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Outcome;
use super::output::{Failed, show_problems};
use crate::cli::LocalCommand;
use crate::exit_code::Exit;
use crate::printable::Unfinished;
use crate::role;
use crate::settings::Settings;
use crate::store::expect_own;
use crate::terminal::{Terminal, is_gone};
use crate::watch::files::Growing;
use crate::workspace::{Workspace, absolute, quoted};
use sb_local::LocalSpec;
use sb_plan::validate::{self, refused_service, refused_url};
use sb_sam::{Containers, LocalSettings, Template};

/// What a local target is called that `sb local up` starts without a name.
const DEFAULT_NAME: &str = "local";
/// A start that takes longer is explained.
const SAY_AFTER: std::time::Duration = std::time::Duration::from_secs(3);
/// How often a log is looked at.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(250);

pub(super) async fn local(terminal: &Terminal, settings: &Settings, command: LocalCommand) -> Outcome {
    let workspace = settings.workspace_here();
    expect_own(&workspace)?;
    terminal.complete_commands(|| settings.missing_in_commands(&workspace));
    match command {
        LocalCommand::Up { template, name, containers, image, service } => {
            let mut parameters = std::collections::BTreeMap::new();
            parameters.extend(settings.params.iter().cloned());
            expect_template(terminal, &template)?;
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
            let name = chosen(terminal, &workspace, name, "trace")?;
            return trace(terminal, settings, &workspace.local_target(&name), &name, id, limit).await;
        }
        LocalCommand::Logs { function, follow, name } => {
            let name = chosen(terminal, &workspace, name, "logs")?;
            let folder = workspace.local_target(&name);
            let log = match &function {
                Some(function) => function_log(terminal, &folder, &name, function)?,
                None => folder.join("runtime.log"),
            };
            let mut file = std::fs::File::open(&log).map_err(|error| {
                let message = format!("cannot read `{}`: {error}", log.display());
                Failed::message(Exit::Failed, message)
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

/// Refuses a manifest or plan in the place of a SAM template.
pub(super) fn expect_template(terminal: &Terminal, template: &Path) -> Result<(), Failed> {
    let text = sb_durable::read_regular_text(template).unwrap_or_default();
    let Some(problem) = validate::not_a_template(&absolute(template), &text) else { return Ok(()) };
    show_problems(terminal, &[problem]);
    Err(Failed::said(Exit::InvalidManifest))
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
    let (mut growing, mut unfinished, mut last) = (Growing::new(log), Unfinished::default(), b'\n');
    loop {
        let runs = sb_local::find(folder).is_some();
        let new = growing.next(runs)?;
        if terminal.is_abandoned() {
            return Ok(());
        }
        if !new.is_empty() {
            last = new.last().copied().unwrap_or(last);
            match terminal.foreign(&mut unfinished, &new) {
                Err(error) if is_gone(&error) => return Ok(()),
                other => other?,
            }
        } else if runs {
            tokio::time::sleep(LOOK_AGAIN).await;
        } else {
            return if last == b'\n' { Ok(()) } else { terminal.raw(b"\n") };
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
            "`sb local status` lists those that run; `sb trace list` lists the traces of the last run",
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
    let files = [vec![file.to_owned()]];
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

/// The local target that is meant: the one that was named, or `local`, or the only one that there is. `command` is
/// what another one would be named to.
fn chosen(
    terminal: &Terminal,
    workspace: &Workspace,
    named: Option<String>,
    command: &str,
) -> Result<String, Failed> {
    let known: Vec<_> = workspace
        .local_targets()
        .iter()
        .filter_map(|folder| Some((name_of(folder)?, sb_local::find(folder).is_some())))
        .collect();
    let running: Vec<_> = known.iter().filter(|(_, runs)| *runs).map(|(name, _)| name).collect();
    let all: Vec<_> = known.iter().map(|(name, _)| name).collect();
    let is_known = |name: &str| all.iter().any(|known| *known == name);
    match named {
        Some(name) if is_known(&name) => return Ok(name),
        Some(_) => {}
        None if running.iter().any(|name| *name == DEFAULT_NAME) => return Ok(DEFAULT_NAME.to_owned()),
        None => match (running.as_slice(), all.as_slice()) {
            ([only], _) | ([], [only]) => return Ok((*only).clone()),
            ([], _) if is_known(DEFAULT_NAME) => return Ok(DEFAULT_NAME.to_owned()),
            _ => {}
        },
    }
    let offered = if running.is_empty() { &all } else { &running };
    let message = match (&named, offered.is_empty()) {
        (Some(name), _) => format!("there is no local target `{name}` in this workspace"),
        (None, true) => "no local target was started in this workspace".to_owned(),
        (None, false) => "there are several local targets in this workspace".to_owned(),
    };
    let help = if offered.is_empty() {
        "start one: `sb local up` in a folder with a SAM template, or `sb prepare` in an application's folder"
            .to_owned()
    } else {
        let commands = offered.iter().map(|name| {
            format!("`{}`", terminal.command(&format!("local {command} --name {}", quoted(Path::new(name)))))
        });
        format!("use one of: {}", commands.collect::<Vec<_>>().join(", "))
    };
    Err(Failed::helped(Exit::Failed, message, help))
}

fn name_of(folder: &Path) -> Option<String> {
    Some(folder.file_name()?.to_string_lossy().into_owned())
}

/// The log of a function: by its name, or by its name in the template, with which its name ends.
fn function_log(terminal: &Terminal, folder: &Path, name: &str, wanted: &str) -> Result<PathBuf, Failed> {
    let logs = sb_local::function_logs(folder);
    let mut functions: Vec<_> = std::fs::read_dir(&logs)
        .map(|items| items.flatten().map(|item| item.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    functions.sort();
    let functions: Vec<_> = functions.iter().filter_map(|file| file.strip_suffix(".log")).collect();
    let named: Vec<_> = match functions.iter().find(|function| **function == wanted) {
        Some(function) => vec![*function],
        None => {
            let end = format!("-{wanted}");
            functions.iter().copied().filter(|function| function.ends_with(&end)).collect()
        }
    };
    if let [function] = named.as_slice() {
        return Ok(logs.join(format!("{function}.log")));
    }
    let message = format!("the local target `{name}` has no log of a function `{wanted}`");
    let help = if functions.is_empty() {
        "none of its functions was called yet".to_owned()
    } else {
        let commands = functions.iter().map(|function| {
            let name = quoted(Path::new(name));
            format!("`{}`", terminal.command(&format!("local logs {function} --name {name}")))
        });
        format!("functions with a log: {}", commands.collect::<Vec<_>>().join(", "))
    };
    Err(Failed::helped(Exit::Failed, message, help))
}

fn failed(error: sb_local::LocalError) -> Failed {
    Failed::message(Exit::Failed, error.to_string())
}
