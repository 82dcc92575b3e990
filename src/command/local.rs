//! `sb local`: the embedded function runtime by itself.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Outcome;
use super::output::Failed;
use crate::cli::LocalCommand;
use crate::execute::local_folder;
use crate::exit_code::Exit;
use crate::provider::local::{self, LocalSpec};
use crate::settings::{Settings, absolute};
use crate::terminal::Terminal;

pub(super) async fn local(terminal: &Terminal, settings: &Settings, command: LocalCommand) -> Outcome {
    let state = settings.state_folder(Path::new("."));
    match command {
        LocalCommand::Up { template, name } => {
            let mut parameters = std::collections::BTreeMap::new();
            parameters.extend(settings.params.iter().cloned());
            let spec = LocalSpec {
                state_dir: local_folder(&state, &name),
                template: absolute(&template),
                parameters,
                name,
                services: None,
                java_client: None,
                options: local::Options::default(),
            };
            let runtime = local::up(spec, &std::env::current_exe()?).await.map_err(failed)?;
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
            let folder = local_folder(&state, &name);
            if local::find(&folder).is_none() {
                terminal.say(&format!("the runtime `{name}` is not running"));
            }
            local::down(&folder).await.map_err(failed)?;
        }
        LocalCommand::Status => {
            let mut rows = Vec::new();
            for folder in folders(&state) {
                if let Some(runtime) = local::find(&folder) {
                    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
                    rows.push((name.unwrap_or_default(), runtime));
                }
            }
            if settings.json() {
                let rows: Vec<_> = rows
                    .iter()
                    .map(|(name, runtime)| json!({ "name": name, "endpoint": runtime.endpoint, "aws_endpoint": runtime.aws_endpoint, "pid": runtime.pid }))
                    .collect();
                terminal.data(&format!("{:#}", json!({ "version": 1, "runtimes": rows })))?;
            } else if rows.is_empty() {
                terminal.say("no runtime is running");
            } else {
                let lines: Vec<_> = rows
                    .iter()
                    .map(|(name, runtime)| format!("{name}  {}  process {}", runtime.endpoint, runtime.pid))
                    .collect();
                terminal.data(&lines.join("\n"))?;
            }
        }
        LocalCommand::Logs { function, name } => {
            let folder = local_folder(&state, &name);
            let log = match &function {
                Some(function) => folder.join("functions").join(format!("{function}.log")),
                None => folder.join("runtime.log"),
            };
            let text = std::fs::read(&log).map_err(|error| {
                let message = format!("cannot read `{}`: {error}", log.display());
                Failed::helped(Exit::Failed, message, logs_there_are(&state, &folder, &name))
            })?;
            terminal.data(&String::from_utf8_lossy(&text))?;
        }
    }
    Ok(Exit::Done)
}

/// What could have been meant: the functions of the runtime, or else the runtimes.
fn logs_there_are(state: &Path, folder: &Path, name: &str) -> String {
    let names = |paths: Vec<PathBuf>| {
        let names =
            paths.iter().filter_map(|path| Some(format!("`{}`", path.file_stem()?.to_string_lossy())));
        names.collect::<Vec<_>>().join(", ")
    };
    let mut functions: Vec<_> = std::fs::read_dir(folder.join("functions"))
        .map(|items| items.flatten().map(|item| item.path()).collect())
        .unwrap_or_default();
    functions.sort();
    if !functions.is_empty() {
        return format!("functions of the runtime `{name}` with a log: {}", names(functions));
    }
    let runtimes =
        names(folders(state).iter().filter_map(|path| path.file_name()).map(PathBuf::from).collect());
    if runtimes.is_empty() {
        "no runtime was ever started here: start one with `sb local up` or `sb prepare`".to_owned()
    } else {
        format!("choose a runtime with --name: {runtimes}")
    }
}

fn folders(state: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<_> = std::fs::read_dir(state.join("local"))
        .map(|items| items.flatten().map(|item| item.path()).collect())
        .unwrap_or_default();
    folders.sort();
    folders
}

fn failed(error: local::LocalError) -> Failed {
    Failed::message(Exit::Failed, error.to_string())
}
