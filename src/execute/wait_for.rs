//! Waiting until an HTTP endpoint answers as expected.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::{Attempt, Deployed, Finished};
use sb_plan::benchmark::{Action, WaitFor};
use sb_plan::event::{FailureClass, Outcome};
use sb_workload::template::{Context, lookup_in};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const ONE_REQUEST: Duration = Duration::from_secs(10);

pub(super) async fn wait_for(attempt: &Attempt, wait: &WaitFor) -> Finished {
    let lookup = |path: &str| lookup_in(&attempt.values, path);
    let url = match wait.http.render(Context::Url, &lookup) {
        Ok(url) => url,
        Err(error) => return Outcome::failed(FailureClass::Step, error.to_string()).into(),
    };
    let uri: hyper::Uri = match url.parse() {
        Ok(uri) => uri,
        Err(error) => {
            return Outcome::failed(FailureClass::Step, format!("`{url}` is not a URL: {error}")).into();
        }
    };
    let connector = match hyper_rustls::HttpsConnectorBuilder::new().with_native_roots() {
        Ok(builder) => builder.https_or_http().enable_http1().build(),
        Err(error) => {
            let message = format!("cannot read this machine's certificates: {error}");
            return Outcome::failed(FailureClass::NotStarted, message).into();
        }
    };
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let deadline = Instant::now() + wait.timeout;
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = tokio::time::timeout(ONE_REQUEST, client.get(uri.clone())).await;
        let found = match answer {
            Ok(Ok(response)) if response.status().as_u16() == wait.status => {
                return Outcome::Succeeded.into();
            }
            Ok(Ok(response)) => format!("it answers {}", response.status()),
            Ok(Err(error)) => format!("no answer ({})", root_cause(&error)),
            Err(_) => "it does not answer".to_owned(),
        };
        if Instant::now() + pause > deadline {
            let limit = humantime::format_duration(wait.timeout);
            let hint =
                if found.starts_with("it answers 5") { log_hint(&attempt.deployment) } else { String::new() };
            let message = format!("{url} did not answer {} within {limit}: {found}{hint}", wait.status);
            return Outcome::failed(FailureClass::TimedOut, message).into();
        }
        let message = format!("waiting for {url}: {found}");
        attempt.tell(&message);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = attempt.cancel.cancelled() => return Outcome::Cancelled.into(),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The local target keeps what its functions print, such as why one cannot be loaded.
fn log_hint(deployment: &Deployed) -> String {
    let target = deployment.benchmark.targets.get(&deployment.target);
    let local =
        target.is_some_and(|it| it.deploy.iter().any(|step| matches!(step.action, Action::LocalUp(_))));
    if local {
        format!("; a function's log is shown by `sb local logs FUNCTION --name {}`", deployment.id)
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
