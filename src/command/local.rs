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
                options: local::Options::default(),
            };
            let runtime = local::up(spec, &std::env::current_exe()?).await.map_err(failed)?;
            if settings.json() {
                let all = json!({
                    "version": 1, "endpoint": runtime.endpoint, "lambda_endpoint": runtime.lambda_endpoint,
                    "xray_endpoint": runtime.xray_endpoint, "outputs": runtime.outputs, "pid": runtime.pid,
                });
                terminal.data(&format!("{all:#}"))?;
            } else {
                let mut text = format!(
                    "endpoint = {}\nlambda_endpoint = {}\nxray_endpoint = {}\n",
                    runtime.endpoint, runtime.lambda_endpoint, runtime.xray_endpoint
                );
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
                    .map(|(name, runtime)| json!({ "name": name, "endpoint": runtime.endpoint, "pid": runtime.pid }))
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
                Failed::message(Exit::Failed, format!("cannot read `{}`: {error}", log.display()))
            })?;
            terminal.data(&String::from_utf8_lossy(&text))?;
        }
    }
    Ok(Exit::Done)
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
