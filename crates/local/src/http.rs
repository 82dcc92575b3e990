//! What the HTTP servers of the runtime share: the accept loop, bodies, answers.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

pub type Answer = Response<Full<Bytes>>;

/// Lambda's limit for a request or a response of a synchronous invocation, in bytes.
pub(super) const MAX_PAYLOAD: usize = 6 * 1024 * 1024;

/// Ends servers: they stop accepting, and open connections finish what they are answering.
#[derive(Clone)]
pub struct Lifetime {
    stopping: watch::Receiver<bool>,
    /// Held by every connection: when all are gone, the receiver sees the end.
    _open: mpsc::Sender<()>,
}

impl Lifetime {
    pub fn new(stopping: watch::Receiver<bool>, open: mpsc::Sender<()>) -> Self {
        Self { stopping, _open: open }
    }

    /// Returns when the runtime is asked to stop.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that the sender is gone: that is a stop too.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}

/// Accepts connections until the runtime stops.
pub async fn serve<Handler, Answering>(listener: TcpListener, lifetime: Lifetime, handler: Handler)
where
    Handler: Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Answer> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            () = lifetime.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: wait for some to be closed.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Small answers must not wait for acknowledgements; failing to say so only costs time.
        let _ = stream.set_nodelay(true);
        let (lifetime, handler) = (lifetime.clone(), handler.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answering = handler(request);
                async move { Ok::<_, Infallible>(answering.await) }
            });
            let mut connection = pin!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service)
            );
            tokio::select! {
                // A broken connection is the client's affair.
                _ = connection.as_mut() => return,
                () = lifetime.stopped() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
}

/// Reads a whole body of at most `limit` bytes.
pub async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, StatusCode> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

pub fn json(status: StatusCode, value: &Value) -> Answer {
    let mut answer = bytes(status, Bytes::from(value.to_string()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

pub fn bytes(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer
}

/// Answers on a task of its own: a client that hangs up does not stop half-way what it asked for. When the runtime
/// stops, the client is told so.
pub(super) async fn detached(
    lifetime: Lifetime,
    answering: impl Future<Output = Answer> + Send + 'static,
) -> Answer {
    let stopping = || {
        json(
            StatusCode::SERVICE_UNAVAILABLE,
            &serde_json::json!({ "message": "the local target is stopping" }),
        )
    };
    tokio::select! {
        // The stop comes first: it also ends the function, and that must not look like its failure.
        biased;
        () = lifetime.stopped() => stopping(),
        answer = tokio::spawn(answering) => answer.unwrap_or_else(|_| {
            json(StatusCode::INTERNAL_SERVER_ERROR, &serde_json::json!({ "message": "Internal server error" }))
        }),
    }
}
