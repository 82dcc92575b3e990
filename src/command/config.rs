//! `sb config`: the values of a deployment.

use serde_json::{Value, json};

use super::output::{Failed, accept};
use super::{Outcome, single};
use crate::cli::ConfigCommand;
use crate::exit_code::Exit;
use crate::settings::Settings;
use crate::store::{Change, Debt, Store};
use crate::terminal::Terminal;
use sb_plan::id::DeploymentId;
use sb_plan::manifest::read::Disk;
use sb_plan::validate;
use sb_workload::template::plain_text;

pub(super) async fn config(terminal: &Terminal, settings: &Settings, command: ConfigCommand) -> Outcome {
    let manifest = settings.manifest()?;
    let benchmark = accept(terminal, validate::benchmark(&Disk, &manifest))?;
    let target = single::target(settings, &benchmark)?;
    let id = DeploymentId::new(format!("{}@{target}", benchmark.name));
    let workspace = settings.workspace(&manifest);
    let store = Store::look(&workspace)?;
    let missing = || {
        Failed::helped(
            Exit::Failed,
            format!("`{id}` was never deployed: it has no values"),
            "deploy it with `sb prepare`",
        )
    };
    let mut row = store.deployment(&id).await?.ok_or_else(missing)?;
    let mut secrets = store.secrets(&id)?;
    match command {
        ConfigCommand::Show => {
            if settings.json() {
                let all = json!({
                    "version": 1, "deployment": id, "deployed": row.debt == Debt::Owed,
                    "params": row.params, "outputs": row.outputs,
                    "secret": secrets.params.keys().chain(secrets.outputs.keys()).collect::<Vec<_>>(),
                    "logs": row.logs,
                });
                terminal.data(&format!("{all:#}"))?;
            } else {
                let lines = |table: &str, values: &serde_json::Map<String, Value>| {
                    values
                        .iter()
                        .map(|(name, value)| format!("{table}.{name} = {}\n", plain_text(value)))
                        .collect::<String>()
                };
                let hidden = |table: &str, values: &std::collections::BTreeMap<String, Value>| {
                    values.keys().map(|name| format!("{table}.{name} (secret)\n")).collect::<String>()
                };
                let mut text = lines("params", &row.params) + &hidden("params", &secrets.params);
                text += &(lines("outputs", &row.outputs) + &hidden("outputs", &secrets.outputs));
                if let Some(logs) = &row.logs {
                    text += &format!("logs_dir = {}\n", logs.display());
                }
                if text.is_empty() {
                    terminal.say(&format!("`{id}` has no values"));
                } else {
                    terminal.data(&text)?;
                }
            }
        }
        ConfigCommand::Get { name } => {
            let plain = name.strip_prefix("params.").or(name.strip_prefix("outputs.")).unwrap_or(&name);
            let value = (row.params.get(plain).filter(|_| !name.starts_with("outputs.")))
                .or(row.outputs.get(plain).filter(|_| !name.starts_with("params.")))
                .or(secrets.params.get(plain))
                .or(secrets.outputs.get(plain));
            let value = value.ok_or_else(|| {
                Failed::helped(
                    Exit::Failed,
                    format!("`{id}` has no value `{name}`"),
                    "`sb config show` lists them",
                )
            })?;
            terminal.value(&if settings.json() { value.to_string() } else { plain_text(value) })?;
        }
        ConfigCommand::Set { name, value } => {
            let store = Store::open(&workspace)?;
            let _lock = store.lock_deployment(&id)?;
            let name = name.strip_prefix("params.").unwrap_or(&name).to_owned();
            let overrides =
                sb_plan::plan::Overrides { params: vec![(name.clone(), value)], ..Default::default() };
            // The same check as for -p: the parameter exists, and the value has its type.
            let plan = accept(terminal, validate::single(benchmark.clone(), &target, None, &overrides))?;
            let value = plan.entries[0].points[0].params[&name].clone();
            if benchmark.params.get(&name).is_some_and(|param| param.secret) {
                secrets.params.insert(name, value);
                store.keep_secrets(&id, &secrets)?;
            } else {
                row.params.insert(name, value);
                store.append(vec![Change::Params { deployment: id, params: row.params }]).await?;
            }
        }
    }
    Ok(Exit::Done)
}
