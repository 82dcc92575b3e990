//! What the HTTP servers of the runtime share beyond those of any daemon.

use std::future::Future;

use hyper::StatusCode;
use sb_daemon::Lifetime;

pub(crate) use sb_daemon::http::{Answer, bytes, json, listen, read_body, serve, serve_own, serve_peer};

/// Lambda's limit for a request or a response of a synchronous invocation, in bytes.
pub(super) const MAX_PAYLOAD: usize = 6 * 1024 * 1024;

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
