//! Waiting until an HTTP endpoint answers as expected.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::{Attempt, Deployed, Finished};
use sb_load::FunctionLogs;
use sb_plan::benchmark::{Action, WaitFor};
use sb_plan::event::{FailureClass, Outcome};
use sb_workload::template::{Context, lookup_in};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const ONE_REQUEST: Duration = Duration::from_secs(10);

/// `function_logs`: a folder with the logs of functions that may answer, of which one may say why they do not.
pub(super) async fn wait_for(attempt: &Attempt, wait: &WaitFor, function_logs: Option<&Path>) -> Finished {
    let lookup = |path: &str| lookup_in(&attempt.values, path);
    let url = match wait.http.render(Context::Url, &lookup) {
        Ok(url) => url,
        Err(error) => return Outcome::failed(FailureClass::Step, error.to_string()).into(),
    };
    let endpoint = match Endpoint::of(&url, wait.status) {
        Ok(endpoint) => endpoint,
        Err(failed) => return failed.into(),
    };
    let logs = function_logs.map(FunctionLogs::new);
    let deadline = Instant::now() + wait.timeout;
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = tokio::select! {
            asked = endpoint.ask() => asked,
            () = attempt.cancel.cancelled() => return Outcome::Cancelled.into(),
        };
        let Err(found) = asked else { return Outcome::Succeeded.into() };
        let is_error = found.starts_with("it answers 5");
        let causes = match logs.as_ref().filter(|_| is_error) {
            Some(logs) => logs.errors(&attempt.secrets.redactor),
            None => Vec::new(),
        };
        let found = std::iter::once(found).chain(causes).collect::<Vec<_>>().join(". ");
        // It is asked a last time when its time is over.
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let limit = humantime::format_duration(wait.timeout);
            let hint = if is_error { log_hint(&attempt.deployment, function_logs) } else { String::new() };
            let message = format!("{url} did not answer {} within {limit}: {found}{hint}", wait.status);
            return Outcome::failed(FailureClass::TimedOut, message).into();
        }
        let message = format!("waiting for {url}: {found}");
        attempt.tell(&message);
        tokio::select! {
            () = tokio::time::sleep(pause.min(left)) => {}
            () = attempt.cancel.cancelled() => return Outcome::Cancelled.into(),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A URL, and the status that it should answer with.
pub(super) struct Endpoint {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    uri: hyper::Uri,
    status: u16,
}

impl Endpoint {
    pub(super) fn of(url: &str, status: u16) -> Result<Self, Outcome> {
        let uri = url
            .parse()
            .map_err(|error| Outcome::failed(FailureClass::Step, format!("`{url}` is not a URL: {error}")))?;
        let connector = HttpsConnectorBuilder::new().with_native_roots().map_err(|error| {
            let message = format!("cannot read this machine's certificates: {error}");
            Outcome::failed(FailureClass::NotStarted, message)
        })?;
        let connector = connector.https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), uri, status })
    }

    /// Asks once; the error is what was found instead.
    pub(super) async fn ask(&self) -> Result<(), String> {
        match tokio::time::timeout(ONE_REQUEST, self.client.get(self.uri.clone())).await {
            Ok(Ok(response)) if response.status().as_u16() == self.status => Ok(()),
            Ok(Ok(response)) => Err(format!("it answers {}", response.status())),
            Ok(Err(error)) => Err(format!("no answer ({})", root_cause(&error))),
            Err(_) => Err("it does not answer".to_owned()),
        }
    }
}

/// The local target keeps what its functions print, such as why one cannot be loaded.
fn log_hint(deployment: &Deployed, function_logs: Option<&Path>) -> String {
    let target = deployment.benchmark.targets.get(&deployment.target);
    let local =
        target.is_some_and(|it| it.deploy.iter().any(|step| matches!(step.action, Action::LocalUp(_))));
    if local {
        let logs = function_logs.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten();
        let mut names: Vec<String> = logs
            .flatten()
            .filter_map(|log| Some(log.file_name().to_str()?.strip_suffix(".log")?.to_owned()))
            .collect();
        names.sort();
        let id = &deployment.id;
        match names.first() {
            Some(function) => format!("; `sb local logs {function} --name {id}` shows a log"),
            None => format!("; `sb local logs --name {id}` shows a log"),
        }
    } else {
        String::new()
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
