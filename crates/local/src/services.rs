//! The services behind an application's tables, buckets, queues and topics: moto's server, in a process beside the runtime.
//!
//! It needs a Python with moto of the version below. A `python3` that has it is used; otherwise a virtual environment is made
//! once, in `$XDG_CACHE_HOME/sb` or `~/.cache/sb`, from PyPI. What it keeps, it keeps in memory: all is gone with the runtime.

use std::fs::{self};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::LocalError;
use super::cache::{self, Kept};
use super::orphans;
use sb_sam::{Definition, Service, ServiceResource};

const MOTO: &str = "5.2.1";
/// Renders mapping templates.
const AIRSPEED: &str = "0.7.1";
/// These two and all that they need, with hashes.
const REQUIREMENTS: &str = include_str!("moto-requirements.txt");
const SCRIPTS: [(&str, &str); 3] = [
    ("services.py", include_str!("services.py")),
    ("state_machines.py", include_str!("state_machines.py")),
    ("integrations.py", include_str!("integrations.py")),
];
/// To import moto and make all resources; a busy machine may take long.
const READY_WITHIN: Duration = Duration::from_mins(1);

pub(super) struct Services {
    /// `127.0.0.1:PORT`
    pub address: String,
    process: Child,
    /// Its end ends the process.
    _input: ChildStdin,
}

/// Where state machines find the application, and send their segments.
pub(super) struct Addresses<'a> {
    /// `http://127.0.0.1:PORT`
    pub services: &'a str,
    /// `127.0.0.1:PORT`
    pub control: &'a str,
    /// `127.0.0.1:PORT`
    pub daemon: &'a str,
}

impl Services {
    /// Starts the server and makes the resources.
    pub(crate) async fn start(
        python: &Path,
        state_dir: &Path,
        (region, account): (&str, &str),
        here: Addresses<'_>,
        resources: &[ServiceResource],
    ) -> Result<Self, LocalError> {
        for (name, text) in SCRIPTS {
            let script = state_dir.join(name);
            fs::write(&script, text).map_err(LocalError::io("write", &script))?;
        }
        let path = state_dir.join("services.log");
        let log = sb_durable::private()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(LocalError::io("write", &path))?;
        let mut process = Command::new(python)
            .arg("-u")
            .arg(state_dir.join(SCRIPTS[0].0))
            .env("MOTO_ACCOUNT_ID", account)
            .env("AWS_REGION", region)
            .env("SB_SERVICES", here.services)
            .env("SB_CONTROL", here.control)
            .env("SB_DAEMON", here.daemon)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env(orphans::MARK, state_dir)
            .env_remove("AWS_ENDPOINT_URL")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(LocalError::io("start", python))?;
        let (Some(mut input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(LocalError::Services("its process has no pipes".to_owned()));
        };
        let orders = Value::Array(resources.iter().filter_map(order).collect());
        let exchange = async {
            let mut line = String::new();
            input.write_all(format!("{orders}\n").as_bytes()).await?;
            BufReader::new(output).read_line(&mut line).await?;
            Ok::<_, std::io::Error>(line)
        };
        let see = format!("see `{}`", path.display());
        let line = tokio::time::timeout(READY_WITHIN, exchange)
            .await
            .map_err(|_| {
                LocalError::Services(format!("not ready within {} s; {see}", READY_WITHIN.as_secs()))
            })?
            .map_err(|error| LocalError::Services(format!("{error}; {see}")))?;
        match serde_json::from_str(&line) {
            Ok(Ready::Port(port)) => {
                Ok(Self { address: format!("127.0.0.1:{port}"), process, _input: input })
            }
            Ok(Ready::Error(error)) => Err(LocalError::Services(error)),
            Err(_) => Err(LocalError::Services(format!("their process ended; {see}"))),
        }
    }

    /// Returns when the process has ended, with what is to be said of that.
    pub(crate) async fn ended(mut self) -> String {
        let status = self.process.wait().await;
        let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("the services have ended ({how}): what functions ask of them fails from now on")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ready {
    Port(u16),
    Error(String),
}

/// What the process is to make; none for what a stand-in provides.
fn order(resource: &ServiceResource) -> Option<Value> {
    let mut order =
        json!({ "logical_id": resource.logical_id, "name": resource.name, "line": resource.line });
    match &resource.service {
        Service::S3Bucket { versioned } => {
            order["kind"] = json!("bucket");
            order["versioned"] = json!(versioned);
        }
        Service::DynamoDbTable { definition, expires_by } => {
            order["kind"] = json!("table");
            order["definition"] = definition.clone();
            order["expires_by"] = json!(expires_by);
        }
        Service::StateMachine { definition: Definition::Inline(definition), express } => {
            order["kind"] = json!("machine");
            order["definition"] = definition.clone();
            order["type"] = json!(if *express { "EXPRESS" } else { "STANDARD" });
        }
        Service::KinesisStream { shards } => {
            order["kind"] = json!("stream");
            order["shards"] = json!(shards);
        }
        Service::SqsQueue { attributes } => {
            order["kind"] = json!("queue");
            order["attributes"] = json!(attributes);
        }
        Service::SnsTopic { fifo, .. } => {
            order["kind"] = json!("topic");
            order["fifo"] = json!(fifo);
        }
        // A stand-in is the one; the other has been read with the template, and is inline.
        Service::RekognitionCollection
        | Service::StateMachine { definition: Definition::File { .. }, .. } => return None,
    }
    Some(order)
}

/// A Python that has moto; where there is none, one is made, which takes a minute or so.
pub(super) async fn python() -> Result<PathBuf, LocalError> {
    let python3 = PathBuf::from("python3");
    if has_moto(&python3).await {
        return Ok(python3);
    }
    let program = |folder: &Path| folder.join("bin/python");
    let kept = Kept::named(&format!("moto-{MOTO}"))?;
    if has_moto(&program(&kept.folder)).await {
        return Ok(program(&kept.folder));
    }
    let _lock = kept.lock().await?;
    if !has_moto(&program(&kept.folder)).await {
        let new = kept.begin()?;
        let made = make(&program(&new), &new).await;
        kept.replace(new, made)?;
        if !has_moto(&program(&kept.folder)).await {
            return Err(kept.unusable());
        }
    }
    Ok(program(&kept.folder))
}

async fn make(program: &Path, folder: &Path) -> Result<(), String> {
    let help = |error| {
        format!(
            "the application has tables, buckets, queues or topics, and moto, which has them here, could not be installed from PyPI: {error}; install python3 with venv, or `pip install 'moto[server]=={MOTO}' 'airspeed=={AIRSPEED}'` for the python3 on the PATH"
        )
    };
    cache::run(Command::new("python3").args(["-m", "venv"]).arg(folder)).await.map_err(help)?;
    // What was not there when the list was made is not run, whatever the index offers under a name.
    let list = folder.join("requirements.txt");
    std::fs::write(&list, REQUIREMENTS).map_err(|error| format!("`{}`: {error}", list.display()))?;
    let mut pip = Command::new(program);
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--require-hashes",
        "--no-deps",
    ]);
    pip.arg("--requirement").arg(list);
    cache::run(&mut pip).await.map_err(help)
}

/// Whether moto is here already: on the PATH, or in the cache.
pub async fn has_services() -> bool {
    let kept = Kept::named(&format!("moto-{MOTO}")).ok().map(|kept| kept.folder.join("bin/python"));
    has_moto(Path::new("python3")).await
        || match kept {
            Some(python) => has_moto(&python).await,
            None => false,
        }
}

async fn has_moto(python: &Path) -> bool {
    let look = format!(
        "import importlib.metadata as m, airspeed, flask, werkzeug, boto3; raise SystemExit(m.version('moto') != '{MOTO}')"
    );
    let mut command = Command::new(python);
    command.args(["-c", &look]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_what_is_looked_for() {
        for (name, version) in [("moto", MOTO), ("airspeed", AIRSPEED)] {
            assert!(REQUIREMENTS.contains(&format!("\n{name}=={version} \\")), "{name}");
        }
        let packages = REQUIREMENTS.lines().filter(|line| line.contains("==") && !line.starts_with('#'));
        assert!(packages.clone().count() > 40);
        assert!(packages.into_iter().all(|line| line.ends_with('\\')), "each has hashes");
    }
}
