//! Functions in containers: AWS's base images for Lambda, or others that behave like them, run by Docker's or Podman's command line.
//!
//! Run with the handler as its argument, such an image starts its client of the Runtime API. It finds the code in
//! `/var/task`. It shares this machine's network, so that it reaches the runtime on the loopback interface.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{getgid, getuid};
use sb_sam::Containers;
use tokio::process::Command;

use super::LocalError;
use super::cache;
use super::code::Code;

/// On every container: the state folder.
const LABEL: &str = "sb.local";
/// How long the engine may take to remove containers.
const GONE_WITHIN: Duration = Duration::from_secs(20);
/// Where images expect the code.
pub(super) const TASK: &str = "/var/task";
/// What the command line itself needs from this process's environment.
const CLIENT: [&str; 9] = [
    "PATH",
    "HOME",
    "XDG_RUNTIME_DIR",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "CONTAINER_HOST",
];

/// What runs a function.
pub(super) struct Container {
    client: String,
    image: String,
    /// Between `run` and the image.
    options: Vec<OsString>,
    /// After the image.
    arguments: Vec<OsString>,
}

/// A container that runs.
#[derive(Clone)]
pub(super) struct Running {
    client: String,
    name: String,
}

/// The image in which functions of a runtime run.
fn image(containers: &Containers, runtime: &str) -> Result<String, String> {
    if let Some(image) = containers.images.get(runtime) {
        return Ok(image.clone());
    }
    let (language, version) = match runtime.split_once('.') {
        Some(("provided", version)) => ("provided", version),
        _ => {
            let at = runtime.find(|c: char| c.is_ascii_digit()).unwrap_or(runtime.len());
            let (language, version) = runtime.split_at(at);
            (language, version.strip_suffix(".x").unwrap_or(version))
        }
    };
    if language.is_empty() || version.is_empty() || language == "go" {
        return Err(format!(
            "there is no image for runtime `{runtime}`: name one, or write a runtime that AWS supports"
        ));
    }
    Ok(format!("public.ecr.aws/lambda/{language}:{version}"))
}

/// Finds the command line and makes every image that the functions need ready: pulls those that are not here.
pub(super) async fn ready(
    containers: &mut Containers,
    functions: &[sb_sam::Function],
) -> Result<(), LocalError> {
    let mut said = String::new();
    for client in ["docker", "podman"] {
        match cache::run(Command::new(client).arg("version")).await {
            Ok(()) => containers.client = Some(client.to_owned()),
            Err(error) => said += &format!("; {error}"),
        }
        if containers.client.is_some() {
            break;
        }
    }
    let Some(client) = &containers.client else {
        return Err(LocalError::Fetch(format!("functions in containers need Docker or Podman{said}")));
    };
    // What has no image is told with its place, later.
    let images = functions.iter().filter_map(|function| image(containers, &function.runtime).ok());
    for image in images.collect::<BTreeSet<_>>() {
        if cache::run(Command::new(client).args(["image", "inspect", &image])).await.is_err() {
            cache::run(Command::new(client).args(["pull", "--quiet", &image])).await.map_err(|error| {
                LocalError::Fetch(format!(
                    "image `{image}` is not here and cannot be pulled: {error}; name another for its runtime \
                         (`--image RUNTIME=IMAGE`, `function_images` in a manifest), or load it with \
                         `{client} load`"
                ))
            })?;
        }
    }
    Ok(())
}

/// How a function is run.
pub(super) fn container(
    containers: &Containers,
    function: &sb_sam::Function,
    code: &Code,
    state_dir: &Path,
) -> Result<Container, String> {
    let client = containers.client.clone().ok_or("nobody has looked for Docker")?;
    let image = image(containers, &function.runtime)?;
    let mut mount = OsString::from("type=bind,source=");
    let (source, target) = match &code.file {
        None => (&code.folder, TASK.to_owned()),
        Some(file) => (file, format!("{TASK}/lib/function.jar")),
    };
    if source.to_string_lossy().contains([',', '"']) {
        return Err(format!(
            "`{}` cannot be mounted: its path has a comma or a quotation mark",
            source.display()
        ));
    }
    mount.push(source);
    mount.push(format!(",target={target},readonly"));
    let mut label = OsString::from(format!("{LABEL}="));
    label.push(state_dir);
    let user = format!("{}:{}", getuid().as_raw(), getgid().as_raw());
    let memory = format!("{}m", function.memory_mib);
    let mut options: Vec<OsString> = Vec::new();
    for word in ["--rm", "--network", "host", "--user", &user, "--memory", &memory, "--workdir", TASK] {
        options.push(word.into());
    }
    options.extend(["--label".into(), label, "--mount".into(), mount]);
    let arguments = if function.runtime.starts_with("provided") {
        options.extend(["--entrypoint".into(), format!("{TASK}/bootstrap").into()]);
        Vec::new()
    } else {
        vec![function.handler.clone().into()]
    };
    Ok(Container { client, image, options, arguments })
}

impl Container {
    /// Program and arguments that run a new container. Values of variables are taken from the environment in which they run ([`Self::environment`]),
    /// so that they are in no list of processes.
    pub(crate) fn command(&self, name: &str, variables: &BTreeMap<String, String>) -> Vec<OsString> {
        let mut words: Vec<OsString> =
            vec![self.client.clone().into(), "run".into(), "--name".into(), name.into()];
        words.extend(self.options.iter().cloned());
        for (variable, value) in variables {
            let given = if CLIENT.contains(&variable.as_str()) {
                format!("{variable}={value}")
            } else {
                variable.clone()
            };
            words.extend(["--env".into(), given.into()]);
        }
        words.push(self.image.clone().into());
        words.extend(self.arguments.iter().cloned());
        words
    }

    /// The function's variables, and what the command line needs.
    pub(crate) fn environment(variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut environment = variables.clone();
        for variable in CLIENT {
            match std::env::var(variable) {
                Ok(value) => environment.insert(variable.to_owned(), value),
                Err(_) => environment.remove(variable),
            };
        }
        environment
    }

    pub(crate) fn running(&self, name: String) -> Running {
        Running { client: self.client.clone(), name }
    }
}

impl std::fmt::Display for Container {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arguments: Vec<_> = self.arguments.iter().map(|word| word.to_string_lossy()).collect();
        write!(out, "a container of {} {}", self.image, arguments.join(" "))
    }
}

impl Running {
    /// Removes it, if it is still there: its command line can end without it.
    pub(crate) async fn remove(&self) {
        let mut remove = Command::new(&self.client);
        let _ = remove.args(["rm", "--force", &self.name]).stdin(Stdio::null()).output().await;
    }
}

/// Removes every container of a state folder, and says how many those were. One that is being removed already is waited for.
pub(super) async fn end(client: &str, state_dir: &Path) -> usize {
    let mut filter = OsString::from(format!("label={LABEL}="));
    filter.push(state_dir);
    let mut found = BTreeSet::new();
    let begun = Instant::now();
    while begun.elapsed() < GONE_WITHIN {
        let mut list = Command::new(client);
        list.args(["ps", "--all", "--quiet", "--filter"]).arg(&filter).stdin(Stdio::null());
        let text = list.output().await.map(|listed| listed.stdout).unwrap_or_default();
        let ids: Vec<String> = String::from_utf8_lossy(&text).split_whitespace().map(str::to_owned).collect();
        if ids.is_empty() {
            break;
        }
        let mut remove = Command::new(client);
        let _ = remove.args(["rm", "--force"]).args(&ids).stdin(Stdio::null()).output().await;
        found.extend(ids);
    }
    found.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(runtime: &str, expected: Option<&str>) {
        let containers =
            Containers { images: BTreeMap::from([("ruby3.4".to_owned(), "mine".to_owned())]), client: None };
        assert_eq!(image(&containers, runtime).ok().as_deref(), expected, "{runtime}");
    }

    #[test]
    fn images_are_awss_unless_another_is_named() {
        check("python3.12", Some("public.ecr.aws/lambda/python:3.12"));
        check("nodejs22.x", Some("public.ecr.aws/lambda/nodejs:22"));
        check("java8.al2", Some("public.ecr.aws/lambda/java:8.al2"));
        check("provided.al2023", Some("public.ecr.aws/lambda/provided:al2023"));
        check("ruby3.4", Some("mine"));
        for none in ["go1.x", "provided", ""] {
            check(none, None);
        }
    }

    #[test]
    fn values_of_variables_are_in_no_argument_unless_the_command_line_has_that_variable_itself() {
        let container = Container {
            client: "docker".into(),
            image: "i".into(),
            options: Vec::new(),
            arguments: vec!["a.b".into()],
        };
        let variables = BTreeMap::from(
            [("HOME", "/h"), ("KEY", "secret")].map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let words = container.command("n", &variables);
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        assert_eq!(words.join(" "), "docker run --name n --env HOME=/h --env KEY i a.b");
        assert_eq!(Container::environment(&variables)["KEY"], "secret");
    }
}
