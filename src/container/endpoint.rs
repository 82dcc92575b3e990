//! Which engine is meant: found as the `docker` command finds it, so that both talk to the same one.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// An address of an engine, before anybody has tried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `unix://…`, `tcp://…` or `ssh://…`.
    pub(super) host: String,
    /// Who says so.
    pub(super) from: String,
    pub(super) tls: Option<Tls>,
}

/// PEM files of a connection over TLS in which both sides show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) ca: PathBuf,
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EndpointError {
    #[error(
        "there is no Docker context `{name}` (named {from}; looked for `{}`): `docker context ls` lists them; \
         choose one with DOCKER_CONTEXT, or name an engine with DOCKER_HOST",
        file.display()
    )]
    NoContext { name: String, from: String, file: PathBuf },
    #[error("cannot read `{}`: {message}; correct it, or name an engine with DOCKER_HOST", file.display())]
    Unreadable { file: PathBuf, message: String },
    #[error(
        "the Docker context `{name}` does not check the engine's certificate (`skip-tls-verify`), which sb does not do: \
         give the context the engine's CA, or reach the engine with ssh://"
    )]
    Unchecked { name: String },
    #[error("DOCKER_API_VERSION is `{value}`, which is not a version such as 1.41: correct it, or unset it")]
    Version { value: String },
}

/// The engine's socket where nothing else is said.
const DEFAULT: &str = "unix:///var/run/docker.sock";
/// The context that stands for having none.
const NO_CONTEXT: &str = "default";

impl Endpoint {
    /// DOCKER_HOST wins over DOCKER_CONTEXT, which wins over the `currentContext` of the configuration.
    ///
    /// `variable` gives the value of an environment variable.
    pub(super) fn find(variable: impl Fn(&str) -> Option<String>) -> Result<Self, EndpointError> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let config = given("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| given("HOME").map(|home| Path::new(&home).join(".docker")));
        if let Some(host) = given("DOCKER_HOST") {
            return Ok(Self { from: "from DOCKER_HOST".to_owned(), ..Self::at(&host, variable) });
        }
        let default = || Self {
            host: DEFAULT.to_owned(),
            from: "the default; neither DOCKER_HOST nor a Docker context names another".to_owned(),
            tls: None,
        };
        let Some(config) = config else { return Ok(default()) };
        let (name, from) = match given("DOCKER_CONTEXT") {
            Some(name) => (name, "by DOCKER_CONTEXT".to_owned()),
            None => {
                let file = config.join("config.json");
                let current = read::<ConfigFile>(&file)?.and_then(|config| config.current_context);
                match current.filter(|name| !name.is_empty()) {
                    Some(name) => (name, format!("in {}", file.display())),
                    None => return Ok(default()),
                }
            }
        };
        if name == NO_CONTEXT { Ok(default()) } else { Self::of_context(&config, name, from) }
    }

    /// An address of the user's own, with the certificates that DOCKER_TLS_VERIFY asks for.
    pub(super) fn at(host: &str, variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let folder = || {
            let home = || given("HOME").map(|home| Path::new(&home).join(".docker"));
            let config = || given("DOCKER_CONFIG").map(PathBuf::from).or_else(home);
            given("DOCKER_CERT_PATH").map(PathBuf::from).or_else(config)
        };
        let tls = given("DOCKER_TLS_VERIFY").filter(|_| is_tcp(host)).and_then(|_| folder());
        Self {
            host: host.to_owned(),
            from: "a load generator".to_owned(),
            tls: tls.map(|folder| Tls::in_folder(&folder)),
        }
    }

    fn of_context(config: &Path, name: String, from: String) -> Result<Self, EndpointError> {
        let id = hex::encode(Sha256::digest(&name));
        let file = config.join("contexts/meta").join(&id).join("meta.json");
        let docker = read::<ContextFile>(&file)?.and_then(|context| context.endpoints.docker);
        let Some(docker) = docker else { return Err(EndpointError::NoContext { name, from, file }) };
        if docker.skip_tls_verify {
            return Err(EndpointError::Unchecked { name });
        }
        let folder = config.join("contexts/tls").join(id).join("docker");
        let host = if docker.host.is_empty() { DEFAULT.to_owned() } else { docker.host };
        let tls = (is_tcp(&host) && folder.is_dir()).then(|| Tls::in_folder(&folder));
        Ok(Self { host, from: format!("from the Docker context `{name}`, named {from}"), tls })
    }

    /// Whether paths mean the same to the engine as to us, as far as one can tell from its address.
    pub(super) fn is_local(&self) -> bool {
        match self.host.split_once("://") {
            Some(("unix", _)) => true,
            Some((_, rest)) if is_tcp(&self.host) => {
                ["localhost", "127.", "[::1]"].iter().any(|name| rest.starts_with(name))
            }
            _ => false,
        }
    }
}

impl Tls {
    fn in_folder(folder: &Path) -> Self {
        Self { ca: folder.join("ca.pem"), cert: folder.join("cert.pem"), key: folder.join("key.pem") }
    }
}

/// The version of the engine's interface that DOCKER_API_VERSION asks for: major and minor.
pub(super) fn version_asked_for(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<(usize, usize)>, EndpointError> {
    let Some(value) = variable("DOCKER_API_VERSION").filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    version(&value).map(Some).ok_or(EndpointError::Version { value })
}

/// `1.41` as two numbers.
pub(super) fn version(text: &str) -> Option<(usize, usize)> {
    let (major, minor) = text.trim_start_matches('v').split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn is_tcp(host: &str) -> bool {
    ["tcp://", "http://", "https://"].iter().any(|scheme| host.starts_with(scheme))
}

/// The part of `config.json` that counts here.
#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext", default)]
    current_context: Option<String>,
}

/// The part of a context's `meta.json` that counts here.
#[derive(Deserialize)]
struct ContextFile {
    #[serde(rename = "Endpoints", default)]
    endpoints: Endpoints,
}

#[derive(Default, Deserialize)]
struct Endpoints {
    #[serde(default)]
    docker: Option<DockerEndpoint>,
}

#[derive(Deserialize)]
struct DockerEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

fn read<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<Option<T>, EndpointError> {
    let unreadable = |message| EndpointError::Unreadable { file: file.to_owned(), message };
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration folder with a context `far` (ssh), `sealed` (TLS) and `open` (TLS unchecked).
    fn config(current: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("config.json"),
            format!(r#"{{"auths":{{}},"currentContext":"{current}"}}"#),
        )
        .unwrap();
        for (name, host, unchecked) in [
            ("far", "ssh://me@far:2222", false),
            ("sealed", "tcp://sealed:2376", false),
            ("open", "tcp://open:2376", true),
        ] {
            let id = hex::encode(Sha256::digest(name));
            let meta = dir.path().join("contexts/meta").join(&id);
            std::fs::create_dir_all(&meta).unwrap();
            let text = format!(
                r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}","SkipTLSVerify":{unchecked}}}}}}}"#
            );
            std::fs::write(meta.join("meta.json"), text).unwrap();
            if name == "sealed" {
                std::fs::create_dir_all(dir.path().join("contexts/tls").join(&id).join("docker")).unwrap();
            }
        }
        dir
    }

    fn find(current: &str, variables: &[(&str, &str)]) -> Result<Endpoint, EndpointError> {
        let dir = config(current);
        Endpoint::find(|name| match name {
            "DOCKER_CONFIG" => Some(dir.path().to_string_lossy().into_owned()),
            _ => variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()),
        })
    }

    #[track_caller]
    fn check(current: &str, variables: &[(&str, &str)], host: &str, from: &str, tls: bool, local: bool) {
        let found = find(current, variables).unwrap();
        assert_eq!((found.host.as_str(), found.tls.is_some(), found.is_local()), (host, tls, local));
        assert!(found.from.contains(from), "{}", found.from);
    }

    #[test]
    fn an_engine_is_found_as_the_docker_command_finds_it() {
        check("", &[], DEFAULT, "the default", false, true);
        check("default", &[], DEFAULT, "the default", false, true);
        check("far", &[], "ssh://me@far:2222", "`far`, named in /", false, false);
        check("far", &[("DOCKER_CONTEXT", "default")], DEFAULT, "the default", false, true);
        check("far", &[("DOCKER_CONTEXT", "sealed")], "tcp://sealed:2376", "by DOCKER_CONTEXT", true, false);
        let both = [("DOCKER_CONTEXT", "sealed"), ("DOCKER_HOST", "unix:///a.sock")];
        check("far", &both, "unix:///a.sock", "DOCKER_HOST", false, true);
        check("far", &[("DOCKER_HOST", "")], "ssh://me@far:2222", "`far`", false, false);
        let sealed = [("DOCKER_HOST", "tcp://127.0.0.1:2376"), ("DOCKER_TLS_VERIFY", "1")];
        check("", &sealed, "tcp://127.0.0.1:2376", "DOCKER_HOST", true, true);
        check("", &sealed[..1], "tcp://127.0.0.1:2376", "DOCKER_HOST", false, true);
    }

    #[test]
    fn certificates_lie_where_the_docker_command_has_them() {
        let sealed = [
            ("DOCKER_HOST", "tcp://a:2376"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", "/certificates"),
        ];
        let tls = find("", &sealed).unwrap().tls.unwrap();
        assert_eq!(tls, Tls::in_folder(Path::new("/certificates")));
        assert!(find("", &sealed[..2]).unwrap().tls.unwrap().ca.ends_with("ca.pem"));
    }

    #[test]
    fn a_context_that_cannot_be_used_is_named() {
        let missing = find("gone", &[]).unwrap_err().to_string();
        assert!(missing.contains("`gone`") && missing.contains("docker context ls"), "{missing}");
        let unchecked = find("far", &[("DOCKER_CONTEXT", "open")]).unwrap_err().to_string();
        assert!(unchecked.contains("`open`") && unchecked.contains("ssh://"), "{unchecked}");
        let broken = find("\"", &[]).unwrap_err().to_string();
        assert!(broken.contains("config.json`"), "{broken}");
    }

    #[test]
    fn the_version_of_the_interface_can_be_chosen() {
        let asked = |value: &str| version_asked_for(|_| Some(value.to_owned()));
        assert_eq!(asked("1.40").unwrap(), Some((1, 40)));
        assert_eq!(asked("").unwrap(), None);
        for wrong in ["1", "one.two", "1.40.1"] {
            assert!(asked(wrong).unwrap_err().to_string().contains(wrong));
        }
    }
}
