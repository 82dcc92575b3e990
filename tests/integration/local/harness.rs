//! An application on the local target, ended with the test whatever happens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustix::process::{Pid, Signal};
use sb_local::{LocalRuntime, LocalSpec};
use sb_sam::LocalSettings;
use serde_json::Value;
use tempfile::TempDir;

pub(super) struct App {
    folder: TempDir,
    pub runtime: LocalRuntime,
    client: Client<HttpConnector, Full<Bytes>>,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    pub text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A spec with short delays.
pub(super) fn spec(template: &Path, state_dir: &Path) -> LocalSpec {
    LocalSpec {
        state_dir: state_dir.to_owned(),
        template: template.to_owned(),
        parameters: BTreeMap::from([("Word".to_owned(), "given".to_owned())]),
        name: "app".to_owned(),
        template_sha256: String::new(),
        services: None,
        java_client: None,
        options: LocalSettings { retry_delay: Duration::from_millis(50), ..LocalSettings::default() },
    }
}

pub(super) fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(super) fn sb() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_sb"))
}

impl App {
    /// The tests' own application.
    pub(super) async fn start() -> Self {
        Self::of("tests/integration/local/template.yaml").await
    }

    pub(super) async fn of(template: &str) -> Self {
        Self::with(template, |_| {}).await
    }

    /// An application with options of its own.
    pub(super) async fn with(template: &str, change: impl FnOnce(&mut LocalSettings)) -> Self {
        Self::given(template, |spec| change(&mut spec.options)).await
    }

    /// An application with a spec of its own.
    pub(super) async fn given(template: &str, change: impl FnOnce(&mut LocalSpec)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut spec = spec(&here(template), &folder.path().join("state"));
        change(&mut spec);
        let runtime = sb_local::up(spec, None, sb()).await.unwrap();
        Self { folder, runtime, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A file for functions to write into.
    pub(super) fn note(&self) -> PathBuf {
        self.folder.path().join("note")
    }

    pub(super) async fn request(
        &self,
        method: &str,
        url: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.try_request(method, url, body, headers).await.unwrap()
    }

    pub(super) async fn try_request(
        &self,
        method: &str,
        url: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, hyper_util::client::legacy::Error> {
        self.send(method, url, body.as_bytes().to_vec(), headers).await
    }

    /// A request whose body is no text.
    pub(super) async fn send(
        &self,
        method: &str,
        url: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Result<Answer, hyper_util::client::legacy::Error> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(body));
        let (parts, body) = self.client.request(request.body(body).unwrap()).await?.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, text })
    }

    pub(super) async fn invoke(&self, function: &str, event: &Value, headers: &[(&str, &str)]) -> Answer {
        let url = format!("{}/2015-03-31/functions/{function}/invocations", self.runtime.lambda_endpoint);
        self.request("POST", &url, &event.to_string(), headers).await
    }

    /// Traces as X-Ray gives them, fetched with the real client until they are complete.
    pub(super) async fn traces(
        &self,
        ids: &[String],
        deadline: Duration,
    ) -> (sb::provider::retrieval::Retrieval, Vec<Value>) {
        let config = sb::provider::aws::XrayConfig {
            endpoint: Some(self.runtime.xray_endpoint.clone()),
            ..Default::default()
        };
        let out = self.folder.path().join("traces.json");
        let report = sb::provider::aws::fetch_traces(&config, ids, deadline, &out, &|_| {}).await.unwrap();
        let lines = std::fs::read_to_string(out).unwrap();
        (report, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(runtime) = sb_local::find(&self.state_dir()) {
            kill(i64::from(runtime.pid));
        }
    }
}

pub(super) fn kill(pid: i64) {
    rustix::process::kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// Whether a process runs; one that has ended but was not waited for does not.
pub(super) fn is_alive(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// The functions' own ids in a note.
pub(super) fn read_pids(note: &Path) -> Vec<i64> {
    let text = std::fs::read_to_string(note).unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
}

/// All ids in a note, those of the functions' children among them.
pub(super) fn read_all_pids(note: &Path) -> Vec<i64> {
    let text = std::fs::read_to_string(note).unwrap_or_default();
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

#[track_caller]
pub(super) fn wait_until(what: &str, condition: impl Fn() -> bool) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        for _ in 0..500 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("waited in vain for {what} at {place}");
    }
}
