//! One request and what came of it: sent, answered or failed, with every phase on the clock.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes};
use hyper::{Request, Version};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::connect::{ConnectFailure, Connection, Connector};
use super::prepare::{Message, Prepared};
use crate::measurement::Outcome;

/// Idle connections are closed before the load balancers of the clouds do it (60 s at AWS): a request that meets the
/// other side's close would count as reset.
const IDLE: Duration = Duration::from_secs(50);

pub(super) type HttpClient = Client<Connector, Full<Bytes>>;

pub(super) fn client(connector: Connector) -> HttpClient {
    Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .build(connector)
}

/// How a request went.
pub(super) struct Exchanged {
    pub(super) sent: Instant,
    /// The last byte of the answer, or the moment of failure.
    pub(super) ended: Instant,
    pub(super) status: Option<u16>,
    pub(super) outcome: Outcome,
    /// Why it failed, for `k6_metrics.csv`; empty otherwise.
    pub(super) error: String,
    pub(super) version: Option<Version>,
    pub(super) tls_version: Option<String>,
    pub(super) phases: Phases,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
}

/// The phases of a request as k6 defines them. `blocked` includes `connecting` and `tls_handshaking`, which are zero
/// on a connection that was open already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phases {
    pub(super) blocked: Duration,
    pub(super) connecting: Duration,
    pub(super) tls_handshaking: Duration,
    pub(super) sending: Duration,
    pub(super) waiting: Duration,
    pub(super) receiving: Duration,
}

impl Phases {
    /// k6's `http_req_duration`: without the time to get a connection.
    pub(super) fn duration(&self) -> Duration {
        self.sending + self.waiting + self.receiving
    }
}

/// What is known of the answer so far: it outlives a timeout that cuts the exchange off.
#[derive(Default)]
struct Answer {
    status: Option<u16>,
    version: Option<Version>,
    connection: Option<Arc<Connection>>,
    head: Option<Instant>,
}

/// Sends one request and reads its answer to the end. Redirects are not followed, nothing is sent twice.
pub(super) async fn send(
    client: &HttpClient,
    prepared: &Prepared,
    message: Message,
    timeout: Duration,
    abort: &CancellationToken,
) -> Exchanged {
    let mut request = Request::new(Full::new(message.body));
    *request.method_mut() = prepared.method.clone();
    *request.uri_mut() = message.url.uri;
    *request.headers_mut() = message.headers;

    let mut answer = Answer::default();
    let sent = Instant::now();
    let (mut outcome, mut error) = tokio::select! {
        exchanged = tokio::time::timeout(timeout, exchange(client, request, &mut answer)) => match exchanged {
            Ok(Ok(())) => (Outcome::Ok, String::new()),
            Ok(Err(failure)) => classify(&*failure),
            Err(_) => (Outcome::Timeout, "request timeout".to_owned()),
        },
        () = abort.cancelled() => (Outcome::Cancelled, "the load was cancelled".to_owned()),
    };
    let ended = Instant::now();
    if let (Outcome::Ok, Some(status)) = (outcome, answer.status)
        && !prepared.accepts(status)
    {
        (outcome, error) = (Outcome::FailedCheck, String::new());
    }
    let (bytes_sent, bytes_received) =
        answer.connection.as_ref().map_or((0, 0), |connection| connection.take_bytes());
    Exchanged {
        sent,
        ended,
        status: answer.status,
        outcome,
        error,
        version: answer.version,
        tls_version: answer
            .connection
            .as_ref()
            .and_then(|connection| connection.opened_with()?.tls_version.clone()),
        phases: phases(&answer, outcome, sent, ended),
        bytes_sent,
        bytes_received,
    }
}

async fn exchange(
    client: &HttpClient,
    request: Request<Full<Bytes>>,
    answer: &mut Answer,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let response = client.request(request).await?;
    answer.head = Some(Instant::now());
    answer.status = Some(response.status().as_u16());
    answer.version = Some(response.version());
    answer.connection = response.extensions().get::<Arc<Connection>>().cloned();
    let mut body = response.into_body();
    while !body.is_end_stream() {
        match body.frame().await {
            // The content is not kept: only its end matters.
            Some(frame) => drop(frame?),
            None => break,
        }
    }
    Ok(())
}

fn phases(answer: &Answer, outcome: Outcome, sent: Instant, ended: Instant) -> Phases {
    let Some((connection, head)) = answer.connection.as_ref().zip(answer.head) else {
        // Without an answer there is no connection to ask. k6 counts the time until it gives up as waiting.
        let waited = matches!(outcome, Outcome::Timeout | Outcome::Reset | Outcome::Protocol);
        let waiting = if waited { ended - sent } else { Duration::ZERO };
        return Phases { waiting, ..Phases::default() };
    };
    let mut phases = Phases::default();
    if connection.claim() {
        phases.connecting = connection.connecting;
        phases.tls_handshaking =
            connection.opened_with().map_or(Duration::ZERO, |opened| opened.tls_handshaking);
    }
    let exclusive = answer.version != Some(Version::HTTP_2);
    let exchange = if exclusive { connection.exchange(head) } else { None };
    if let Some(exchange) = exchange.filter(|exchange| exchange.first_write >= sent) {
        let first_read = exchange.first_read.unwrap_or(head);
        phases.blocked = exchange.first_write - sent;
        phases.sending = exchange.last_write.saturating_duration_since(exchange.first_write);
        phases.waiting = first_read.saturating_duration_since(exchange.last_write);
        phases.receiving = ended.saturating_duration_since(first_read);
    } else {
        // Exchanges overlap on an HTTP/2 connection: when one's bytes left cannot be told.
        phases.blocked = (phases.connecting + phases.tls_handshaking).min(head - sent);
        phases.waiting = (head - sent).saturating_sub(phases.blocked);
        phases.receiving = ended - head;
    }
    phases
}

/// Finds the cause in a chain of errors.
fn classify(failure: &(dyn Error + 'static)) -> (Outcome, String) {
    let mut cause = Some(failure);
    let mut innermost = failure;
    let mut outcome = None;
    while let Some(error) = cause {
        innermost = error;
        if let Some(failure) = error.downcast_ref::<ConnectFailure>() {
            return (of_connecting(failure), failure.to_string());
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            outcome = outcome.or_else(|| of_hyper(error));
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            outcome = Some(of_io(error));
        }
        cause = error.source();
    }
    (outcome.unwrap_or(Outcome::Protocol), innermost.to_string())
}

fn of_connecting(failure: &ConnectFailure) -> Outcome {
    match failure {
        ConnectFailure::Dns(error) if is_exhausted(error) => Outcome::Exhausted,
        ConnectFailure::Dns(_) => Outcome::Dns,
        ConnectFailure::Tls(_) => Outcome::Tls,
        ConnectFailure::Tcp(error) if is_exhausted(error) => Outcome::Exhausted,
        ConnectFailure::Tcp(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Outcome::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Outcome::Reset,
            _ => Outcome::Unreachable,
        },
    }
}

fn of_hyper(error: &hyper::Error) -> Option<Outcome> {
    if error.is_parse() {
        Some(Outcome::Protocol)
    } else if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        Some(Outcome::Reset)
    } else if error.is_timeout() {
        Some(Outcome::Timeout)
    } else {
        None
    }
}

fn of_io(error: &io::Error) -> Outcome {
    match error.kind() {
        _ if is_exhausted(error) => Outcome::Exhausted,
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Outcome::Protocol,
        io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Outcome::Unreachable
        }
        _ => Outcome::Reset,
    }
}

/// This machine's own limits: too many open files (here or system-wide), no free port, no memory.
fn is_exhausted(error: &io::Error) -> bool {
    use nix::errno::Errno;
    let codes = [Errno::EMFILE, Errno::ENFILE, Errno::EADDRNOTAVAIL, Errno::ENOBUFS, Errno::ENOMEM];
    error.raw_os_error().is_some_and(|code| codes.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn failures_to_connect_are_told_apart() {
        #[track_caller]
        fn check(failure: ConnectFailure, expected: Outcome) {
            assert_eq!(of_connecting(&failure), expected, "{failure}");
        }
        let system = |code: Errno| io::Error::from_raw_os_error(code as i32);
        check(ConnectFailure::Tcp(system(Errno::ECONNREFUSED)), Outcome::Refused);
        check(ConnectFailure::Tcp(system(Errno::ENETUNREACH)), Outcome::Unreachable);
        check(ConnectFailure::Tcp(system(Errno::ETIMEDOUT)), Outcome::Unreachable);
        check(ConnectFailure::Tcp(system(Errno::EMFILE)), Outcome::Exhausted);
        check(ConnectFailure::Tcp(system(Errno::EADDRNOTAVAIL)), Outcome::Exhausted);
        check(ConnectFailure::Tcp(system(Errno::ECONNRESET)), Outcome::Reset);
        check(ConnectFailure::Dns(io::Error::other("no such host")), Outcome::Dns);
        check(ConnectFailure::Tls("bad certificate".into()), Outcome::Tls);
    }
}
