//! k6 in containers: one on the engine that runs the steps, or one on each of several engines, with its share of the load.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::relay::{self, Relay};
use super::{K6Error, K6Spec, ProcessEnd, ProcessEnds, check_script, make_folder, unusable, write};
use crate::container::{ContainerCommand, ContainerError, Engine, Image, ImageProgress, Luggage, Mount};
use sb_load::k6::{self, Share};

/// Where k6 reads its options and writes, in a container.
const RESULTS: &str = "/sb-k6";
/// Where the folder of the script is, in a container of an engine elsewhere.
const SCRIPTS: &str = "/sb-script";
/// What of that folder is no part of a script: results, state and history.
const LEFT_OUT: [&str; 3] = ["logs", ".sb", ".git"];
const GRACE: Duration = Duration::from_secs(10);

/// In which containers a load is sent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(
    clippy::unsafe_derive_deserialize,
    reason = "it is in the macros of the async runtime, and about nothing of this"
)]
#[serde(deny_unknown_fields)]
pub(crate) struct Containers {
    /// Addresses of engines that share the load; empty: the engine that runs the steps.
    pub generators: Vec<String>,
    pub image: Image,
    /// What their names begin with: unique for the attempt.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    /// Of the engine that runs the steps.
    pub mounts: Vec<Mount>,
    pub user: Option<String>,
    pub network: Option<String>,
    pub cpus: Option<f64>,
    pub memory_bytes: Option<u64>,
}

/// One that was made, and has not started.
pub(super) struct Container {
    pub(super) engine: Engine,
    pub(super) name: String,
    pub(super) address: String,
    number: usize,
    /// Its files are not ours: they were brought there, and are fetched.
    pub(super) is_elsewhere: bool,
}

impl Containers {
    fn count(&self) -> usize {
        self.generators.len().max(1)
    }

    fn name(&self, number: usize) -> String {
        format!("{}-k6-{number}", self.name)
    }

    fn name_of_check(&self) -> String {
        format!("{}-k6-check", self.name)
    }

    async fn engine(&self, number: usize) -> Result<Engine, K6Error> {
        match self.generators.get(number) {
            None => Ok(Engine::connect().await?),
            Some(address) => Engine::connect_at(address).await.map_err(at(address)),
        }
    }

    /// Makes all of them, with the script in them; nothing has started when this returns, and the script is known to be one.
    pub(super) async fn make(
        &self,
        spec: &K6Spec,
        options: &Value,
        text: &str,
        cancel: &CancellationToken,
    ) -> Result<Vec<Container>, K6Error> {
        let making = try_join_all((0..self.count()).map(|number| self.make_one(spec, text, number)));
        let made = tokio::select! {
            made = making => made?,
            () = cancel.cancelled() => return Err(K6Error::Cancelled),
        };
        if let Some((first, image)) = made.first() {
            check_script(spec, options, &self.inspect(spec, text, first, image).await?)?;
        }
        Ok(made.into_iter().map(|(container, _)| container).collect())
    }

    async fn make_one(
        &self,
        spec: &K6Spec,
        text: &str,
        number: usize,
    ) -> Result<(Container, String), K6Error> {
        let engine = self.engine(number).await?;
        let address = engine.host().to_owned();
        let tell = |progress: ImageProgress| {
            if let ImageProgress::Building { line } = progress {
                relay::say(&format!("{address}: {line}"));
            }
        };
        let image = engine.ensure_image(&self.image, &tell).await.map_err(at(&address))?;
        let is_elsewhere = !self.generators.is_empty();
        let folder = spec.work.join(number.to_string());
        make_folder(&folder)?;
        write(&folder.join(k6::OPTIONS), text)?;
        let share = Share { number, of: self.count() };
        let arguments = k6::run_arguments(&Self::script(spec, is_elsewhere), RESULTS, share, is_elsewhere);
        let container = Container { engine, name: self.name(number), address, number, is_elsewhere };
        self.create(spec, text, &container, &container.name, arguments, image.clone()).await?;
        Ok((container, image))
    }

    /// As k6 in the container finds it.
    fn script(spec: &K6Spec, is_elsewhere: bool) -> String {
        if !is_elsewhere {
            return spec.script.to_string_lossy().into_owned();
        }
        let name = spec.script.file_name().unwrap_or_default();
        Path::new(SCRIPTS).join(name).to_string_lossy().into_owned()
    }

    async fn create(
        &self,
        spec: &K6Spec,
        text: &str,
        container: &Container,
        name: &str,
        arguments: Vec<String>,
        image: String,
    ) -> Result<(), K6Error> {
        let mut env = BTreeMap::from([("HOME".to_owned(), RESULTS.to_owned())]);
        env.extend(spec.env.clone());
        env.extend(k6::run_environment(RESULTS));
        let folder = spec.script.parent().unwrap_or(Path::new("/"));
        let mut mounts = Vec::new();
        if !container.is_elsewhere {
            mounts.extend(self.mounts.iter().cloned());
            mounts.push(Mount {
                source: spec.work.join(container.number.to_string()),
                target: RESULTS.to_owned(),
                read_only: false,
            });
        }
        let here = if container.is_elsewhere { SCRIPTS.into() } else { folder.to_string_lossy() };
        let command = ContainerCommand {
            log_limit: None,
            image,
            entrypoint: Some(vec![]),
            argv: [vec!["k6".to_owned()], arguments].concat(),
            env,
            workdir: Some(here.into_owned()),
            mounts,
            volumes: vec![],
            in_memory: vec![],
            user: Some(self.user.clone().unwrap_or_else(own_user)),
            network: self.network.clone(),
            cpus: self.cpus,
            memory_bytes: self.memory_bytes,
            labels: self.labels.clone(),
            timeout: None,
            grace: GRACE,
        };
        let failed = at(&container.address);
        container.engine.make(&command, name).await.map_err(failed)?;
        if container.is_elsewhere {
            let luggage = Luggage {
                folder,
                target: Path::new(SCRIPTS),
                left_out: &LEFT_OUT,
                results: Path::new(RESULTS),
                file: (k6::OPTIONS, text),
            };
            container.engine.bring(name, &luggage).await.map_err(at(&container.address))?;
        }
        Ok(())
    }

    /// The script's own options, as JSON.
    async fn inspect(
        &self,
        spec: &K6Spec,
        text: &str,
        first: &Container,
        image: &str,
    ) -> Result<String, K6Error> {
        let name = self.name_of_check();
        let arguments = k6::inspect_arguments(&Self::script(spec, first.is_elsewhere));
        self.create(spec, text, first, &name, arguments, image.to_owned()).await?;
        let mut said = Vec::new();
        let ended = async {
            first.engine.launch(&name).await?;
            first.engine.follow_to_end(&name, &mut |piece| said.extend_from_slice(piece)).await
        };
        let code = ended.await.map_err(at(&first.address))?;
        let said = String::from_utf8_lossy(&said);
        if code != 0 {
            return Err(unusable(spec, &said));
        }
        // What it warns of comes on the same way.
        Ok(said.lines().filter(|line| !line.starts_with("time=")).collect())
    }
}

/// Files in mounted folders belong to them.
fn own_user() -> String {
    format!("{}:{}", rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

fn at(address: &str) -> impl FnOnce(ContainerError) -> K6Error {
    let address = address.to_owned();
    |source| K6Error::Generator { address, source }
}

/// Starts all of them at the same time, and says by how much they may differ: the time from the first request to start one
/// to the last answer that one was.
pub(super) async fn start(
    containers: &[Container],
    relays: &[Relay],
    ends: &mut ProcessEnds,
) -> Result<Duration, K6Error> {
    let asked = Instant::now();
    let started = join_all(containers.iter().map(|container| container.engine.launch(&container.name))).await;
    let skew = asked.elapsed();
    for (started, container) in started.into_iter().zip(containers) {
        started.map_err(at(&container.address))?;
    }
    for (container, relay) in containers.iter().zip(relays) {
        let (engine, name, number) = (container.engine.clone(), container.name.clone(), container.number);
        let (mut stream, relay, address) = (relay.stream(), relay.clone(), container.address.clone());
        ends.spawn(async move {
            let ended = engine.follow_to_end(&name, &mut |piece| stream.push(piece)).await;
            stream.end();
            let end = ended.map(|code| ProcessEnd { code: Some(code), message: relay.message() });
            (number, end.map_err(at(&address)))
        });
    }
    Ok(skew)
}

impl Container {
    /// Brings what k6 wrote elsewhere here; what it did not write is missed later.
    pub(super) async fn fetch(&self, work: &Path) -> Result<(), K6Error> {
        if !self.is_elsewhere {
            return Ok(());
        }
        let folder: PathBuf = work.join(self.number.to_string());
        for file in [k6::METRICS, k6::SUMMARY] {
            let path = Path::new(RESULTS).join(file);
            match self.engine.fetch(&self.name, &path, &folder).await {
                // The one that went away makes the trial invalid; what the others measured is still worth having.
                Ok(_) => {}
                Err(error) if error.is_unreachable() || matches!(error, ContainerError::Gone { .. }) => break,
                Err(error) => return Err(at(&self.address)(error)),
            }
        }
        Ok(())
    }
}

/// Removes the containers of a load, of one that was killed as well. As far as its engines can be reached.
pub(in crate::execute) async fn remove_leftovers(containers: &Containers) {
    join_all((0..containers.count()).map(|number| async move {
        let Ok(engine) = containers.engine(number).await else { return };
        let _ = engine.remove(&containers.name(number)).await;
        if number == 0 {
            let _ = engine.remove(&containers.name_of_check()).await;
        }
    }))
    .await;
}
