//! The folder of an invocation, and what describes it there.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use sb_durable::{Durability, Options};
use serde_json::{Map, Value, json};

use super::{Attempt, beneath};

/// Makes `logs/<yyyy-mm-dd_HH-MM-SS>/` (UTC) beside a manifest; `-2` and so on is appended when the second is taken. A
/// `logs` that leads out of the root is refused: a step may have made a link of it.
pub(super) fn new_logs_folder(root: &Path, manifest: &Path) -> io::Result<PathBuf> {
    let logs = manifest.with_file_name("logs");
    let inside = below(root, &logs)?;
    let beside = beneath::folder(root, inside.parent().unwrap_or(Path::new("")))?;
    made(rustix::fs::mkdirat(&beside, "logs", Mode::from_raw_mode(0o777)))?;
    let folder = beneath::folder(root, inside).map_err(|error| about(&logs, &error))?;
    let start = jiff::Timestamp::now().strftime("%Y-%m-%d_%H-%M-%S").to_string();
    for number in 1.. {
        let name = if number == 1 { start.clone() } else { format!("{start}-{number}") };
        if made(rustix::fs::mkdirat(&folder, &name, Mode::from_raw_mode(0o777)))? {
            return Ok(logs.join(name));
        }
    }
    Err(io::Error::other("no free name"))
}

/// Whether a folder that was made below the root is still reached there.
pub(super) fn still_beneath(root: &Path, folder: &Path) -> io::Result<()> {
    beneath::folder(root, below(root, folder)?).map(drop)
}

/// The path below the root, as the manifest was checked.
fn below<'a>(root: &Path, path: &'a Path) -> io::Result<&'a Path> {
    path.strip_prefix(root)
        .map_err(|_| io::Error::other(format!("it is not below the root `{}`", root.display())))
}

/// False: it was there before.
fn made(folder: rustix::io::Result<()>) -> io::Result<bool> {
    match folder {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
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
    // Whatever is in their place is replaced and not followed.
    let write = |name: &str, text: &str| {
        let options = Options::new().survives(Durability::Processes);
        sb_durable::write(&logs.join(name), options, secrets.redactor.text(text).as_bytes())
    };
    write("sb_config.yml", &yaml)?;
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
    Ok(write("run.json", &format!("{run:#}\n"))?)
}
