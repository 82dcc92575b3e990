//! The Lambda Runtime API, one server per function instance.
//!
//! Protocol: <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>, version 2018-06-01. A client of the
//! protocol knows only a host and a port, so each instance has a port of its own.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use super::clock::{Clock, Stamp};
use sb_daemon::Lifetime;

use super::http::{self, Answer, MAX_PAYLOAD};
use super::orphans::InstanceProcesses;

/// One invocation on its way to an instance.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub request_id: String,
    pub payload: Bytes,
    pub timeout: std::time::Duration,
    pub arn: String,
    pub trace: String,
    pub client_context: Option<String>,
}

/// What an instance does, in order.
#[derive(Debug)]
pub(super) enum InstanceEvent {
    /// It asks for work: the first time, its initialization has ended.
    Ready(Stamp),
    /// It was given its job.
    Delivered(Stamp),
    Response(Stamp, Bytes),
    /// The function failed; the body describes the error.
    Error(Stamp, Bytes),
    /// The answer was larger than Lambda takes.
    TooLarge(Stamp),
    /// It could not start; the body describes the error.
    InitError(Stamp, Bytes),
    /// The process has ended, for the reason given.
    Exited(Stamp, String),
}

/// The instance's side of the channels.
pub(super) struct Port {
    pub jobs: AsyncMutex<mpsc::Receiver<Job>>,
    pub events: mpsc::UnboundedSender<InstanceEvent>,
    pub current: Mutex<Option<String>>,
    pub clock: Clock,
}

/// Serves one instance until `lifetime` ends. Nobody else takes its events or answers in its place: only processes of the
/// instance connect, or, where they are in a container, processes of this user.
pub(super) async fn serve(
    listener: TcpListener,
    lifetime: Lifetime,
    port: Arc<Port>,
    instance: Option<InstanceProcesses>,
) {
    let answer = move |request| {
        let port = port.clone();
        async move { port.answer(request).await }
    };
    match instance {
        Some(instance) => {
            http::serve_peer(listener, lifetime, move |inode| instance.has(inode), answer).await;
        }
        None => http::serve_own(listener, lifetime, answer).await,
    }
}

impl Port {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let Some(rest) = path.strip_prefix("/2018-06-01/runtime/") else {
            return refuse(StatusCode::NOT_FOUND, "unknown path");
        };
        match (request.method(), rest.split('/').collect::<Vec<_>>().as_slice()) {
            (&Method::GET, ["invocation", "next"]) => self.next().await,
            (&Method::POST, ["invocation", id, "response"]) => {
                let id = (*id).to_owned();
                self.finish(&id, request, InstanceEvent::Response).await
            }
            (&Method::POST, ["invocation", id, "error"]) => {
                let id = (*id).to_owned();
                self.finish(&id, request, InstanceEvent::Error).await
            }
            (&Method::POST, ["init", "error"]) => {
                match http::read_body(request.into_body(), MAX_PAYLOAD).await {
                    Ok(body) => self.accept(InstanceEvent::InitError(self.clock.now(), body)),
                    Err(status) => refuse(status, "the error could not be read"),
                }
            }
            _ => refuse(StatusCode::NOT_FOUND, "unknown path"),
        }
    }

    async fn next(&self) -> Answer {
        let _ = self.events.send(InstanceEvent::Ready(self.clock.now()));
        let Some(job) = self.jobs.lock().await.recv().await else {
            return refuse(StatusCode::GONE, "this instance is not needed any more");
        };
        let deadline = super::clock::wall_micros() / 1000
            + i64::try_from(job.timeout.as_millis()).unwrap_or(i64::MAX / 2);
        let answer = Response::builder()
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("Lambda-Runtime-Aws-Request-Id", &job.request_id)
            .header("Lambda-Runtime-Deadline-Ms", deadline)
            .header("Lambda-Runtime-Invoked-Function-Arn", &job.arn)
            .header("Lambda-Runtime-Trace-Id", &job.trace);
        let answer = match &job.client_context {
            Some(context) => answer.header("Lambda-Runtime-Client-Context", context),
            None => answer,
        };
        *self.current.lock() = Some(job.request_id);
        let _ = self.events.send(InstanceEvent::Delivered(self.clock.now()));
        answer
            .body(Full::new(job.payload))
            .unwrap_or_else(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR, "the event has an unusable header"))
    }

    /// Takes the outcome of the current invocation; any other id is refused.
    async fn finish(
        &self,
        id: &str,
        request: Request<Incoming>,
        event: fn(Stamp, Bytes) -> InstanceEvent,
    ) -> Answer {
        let body = http::read_body(request.into_body(), MAX_PAYLOAD).await;
        {
            let mut current = self.current.lock();
            if current.as_deref() != Some(id) {
                return refuse(StatusCode::BAD_REQUEST, "this is not the current invocation");
            }
            *current = None;
        }
        match body {
            Ok(body) => self.accept(event(self.clock.now(), body)),
            Err(status) => {
                let _ = self.events.send(InstanceEvent::TooLarge(self.clock.now()));
                refuse(status, "the response is too large")
            }
        }
    }

    fn accept(&self, event: InstanceEvent) -> Answer {
        let _ = self.events.send(event);
        http::json(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
    }
}

fn refuse(status: StatusCode, message: &str) -> Answer {
    http::json(status, &json!({ "errorType": "InvalidRequest", "errorMessage": message }))
}
