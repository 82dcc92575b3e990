//! When a background step is ready: asked again and again until it is.

use std::path::Path;
use std::time::Duration;

use regex::Regex;
use tokio::net::TcpStream;

use super::super::Attempt;
use super::super::wait_for::Endpoint;
use crate::attempt;
use crate::host;
use sb_plan::benchmark::ReadyCondition;
use sb_plan::event::{FailureClass, Outcome};
use sb_workload::template::{Context, lookup_in};

/// A condition with its values.
pub(super) enum Probe {
    /// Whether it is a process of this machine, which then has begun.
    AtOnce {
        on_host: bool,
    },
    Endpoint {
        url: String,
        endpoint: Box<Endpoint>,
    },
    Port(u16),
    Log(Regex),
}

/// This machine's own addresses: servers bind one, the other or both.
const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];
const ONE_TRY: Duration = Duration::from_secs(2);

impl Probe {
    pub(super) fn of(attempt: &Attempt, condition: &ReadyCondition, on_host: bool) -> Result<Self, Outcome> {
        let lookup = |path: &str| lookup_in(&attempt.values, path);
        let failed = |message: String| Outcome::failed(FailureClass::Step, message);
        match condition {
            ReadyCondition::AtOnce => Ok(Self::AtOnce { on_host }),
            ReadyCondition::Http { url, status } => {
                let url = url.render(Context::Url, &lookup).map_err(|error| failed(error.to_string()))?;
                let endpoint = Box::new(Endpoint::of(&url, *status)?);
                Ok(Self::Endpoint { url, endpoint })
            }
            ReadyCondition::Port(port) => {
                let port = port.render(Context::Plain, &lookup).map_err(|error| failed(error.to_string()))?;
                match port.parse() {
                    Ok(0) | Err(_) => {
                        Err(failed(format!("`ready.port` is `{port}`, which is no port from 1 to 65535")))
                    }
                    Ok(port) => Ok(Self::Port(port)),
                }
            }
            ReadyCondition::Log(pattern) => {
                Regex::new(pattern).map(Self::Log).map_err(|error| failed(error.to_string()))
            }
        }
    }

    /// Whether it would be taken for ready though it was never started, because something else answers in its place.
    pub(super) async fn is_taken(&self) -> Option<String> {
        let Self::Port(port) = self else { return None };
        listens(*port).await.then(|| {
            format!("something else listens on port {port} already: end it (`ss -ltnp 'sport = :{port}'` shows it), or choose another port")
        })
    }

    /// Asks once; the error is what is still missing.
    pub(super) async fn ask(&self, folder: &Path) -> Result<(), String> {
        match self {
            Self::AtOnce { on_host: true } if !host::has_begun(folder) => {
                Err("its program is being started".to_owned())
            }
            Self::AtOnce { .. } => Ok(()),
            Self::Endpoint { url, endpoint } => {
                endpoint.ask().await.map_err(|found| format!("{url}: {found}"))
            }
            Self::Port(port) if listens(*port).await => Ok(()),
            Self::Port(port) => Err(format!("nothing listens on port {port}")),
            Self::Log(pattern) => {
                let log = std::fs::read(folder.join(attempt::LOG_FILE)).unwrap_or_default();
                if pattern.is_match(&String::from_utf8_lossy(&log)) {
                    Ok(())
                } else {
                    Err(format!("it has printed nothing that matches `{pattern}`"))
                }
            }
        }
    }
}

async fn listens(port: u16) -> bool {
    for address in LOOPBACK {
        let connecting = TcpStream::connect((address, port));
        if matches!(tokio::time::timeout(ONE_TRY, connecting).await, Ok(Ok(_))) {
            return true;
        }
    }
    false
}
