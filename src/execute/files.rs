//! The folder of an invocation, and what describes it there.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Attempt;

/// Makes `logs/<yyyy-mm-dd_HH-MM-SS>/` (UTC) beside a manifest; `-2` and so on is appended when the second is taken.
pub(super) fn new_logs_folder(manifest: &Path) -> io::Result<PathBuf> {
    let logs = manifest.with_file_name("logs");
    std::fs::create_dir_all(&logs)?;
    let start = jiff::Timestamp::now().strftime("%Y-%m-%d_%H-%M-%S").to_string();
    for number in 1.. {
        let name = if number == 1 { start.clone() } else { format!("{start}-{number}") };
        let folder = logs.join(name);
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            result => return result.map(|()| folder),
        }
    }
    Err(io::Error::other("no free name"))
}

/// Writes `sb_config.yml` and `run.json`: what an invocation was, without secrets.
pub(super) fn describe(attempt: &Attempt, logs: &Path) -> io::Result<()> {
    let (deployment, secrets) = (&attempt.deployment, &attempt.secrets);
    let public = |table: &str| -> Map<String, Value> {
        let values = attempt.values.get(table).and_then(Value::as_object).cloned().unwrap_or_default();
        values.into_iter().filter(|(name, _)| !secrets.names.contains(name)).collect()
    };
    let config = json!({
        "app": deployment.application,
        "benchmark": deployment.benchmark.name,
        "target": deployment.target,
        "params": public("params"),
        "outputs": public("outputs"),
        "labels": deployment.labels,
    });
    // JSON strings are YAML strings, so values are written as JSON, one top-level key a line.
    let mut yaml = String::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        yaml.push_str(&format!("{key}: {value}\n"));
    }
    std::fs::write(logs.join("sb_config.yml"), secrets.redactor.text(&yaml).as_bytes())?;
    let run = json!({
        "version": 1,
        "run": attempt.run,
        "plan": deployment.plan,
        "deployment": deployment.id,
        "trial": attempt.values["trial"]["id"],
        "step": attempt.step.id,
        "attempt": attempt.number,
        "seed": deployment.seed,
        "load": *deployment.load,
        "sb_version": env!("CARGO_PKG_VERSION"),
    });
    std::fs::write(logs.join("run.json"), secrets.redactor.text(&format!("{run:#}\n")).as_bytes())
}
