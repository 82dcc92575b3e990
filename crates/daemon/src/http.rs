//! A small HTTP server on loopback: the accept loop, bodies, answers.

use std::convert::Infallible;
use std::future::Future;
use std::io;
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

use crate::Lifetime;

/// An answer whose body is there as a whole.
pub type Answer = Response<Full<Bytes>>;

/// Listens on the address of an earlier daemon (`http://127.0.0.1:PORT`), if that is still free, or on any port of
/// 127.0.0.1: who knows the earlier address keeps it over a restart.
///
/// # Errors
/// The loopback interface has no free port.
pub async fn listen(earlier: Option<&str>) -> io::Result<TcpListener> {
    let port = earlier.and_then(|url| url.strip_prefix("http://127.0.0.1:")?.parse().ok()).unwrap_or(0_u16);
    match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("127.0.0.1", 0)).await,
    }
}

/// Accepts connections until `lifetime` ends, and answers every request with what `handler` says.
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
///
/// # Errors
/// The status to answer with: 413 for a body that is too long, 400 for one that cannot be read.
pub async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, StatusCode> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &Value) -> Answer {
    let mut answer = bytes(status, Bytes::from(value.to_string()));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// An answer of any type: the caller sets `Content-Type`.
pub fn bytes(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer
}
