//! One request and what came of it: sent, answered or failed, with every phase on the clock.

use std::error::Error;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::Version;
use rustix::io::Errno;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::answer::{Extracted, Given};
use super::connect::{ConnectFailure, Counts, Stream};
use super::cookies::{self, Jar};
use super::http1::{Answer, Garbage, LARGEST_BODY};
use super::pool::{Connection, Http1, Http2, Pool};
use super::prepare::{Prepared, Scope, Url};
use sb_measurement::Outcome;

/// How a request went.
pub(super) struct Exchanged {
    /// When it was handed over, before a connection was looked for.
    pub(super) begun: Instant,
    /// At least one byte of it left.
    pub(super) is_sent: bool,
    /// The last byte of the answer, or the moment of failure.
    pub(super) ended: Instant,
    pub(super) status: Option<u16>,
    pub(super) outcome: Outcome,
    /// Why it failed, for `k6_metrics.csv`; empty otherwise.
    pub(super) error: String,
    pub(super) version: Option<Version>,
    /// In k6's spelling.
    pub(super) tls_version: &'static str,
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

/// What is known of an exchange so far: it outlives a timeout that cuts the exchange off.
struct Seen {
    is_sent: bool,
    answer: Answer,
    version: Option<Version>,
    tls_version: &'static str,
    connecting: Duration,
    tls_handshaking: Duration,
    counts: Option<Rc<Counts>>,
    /// When there was a connection, when the request had left, and when the answer began.
    begun: Option<Instant>,
    written: Option<Instant>,
    first_read: Option<Instant>,
}

/// Why there is no complete answer.
pub(super) enum Failure {
    Connect(ConnectFailure),
    Io(io::Error),
    Closed,
    Garbage(Garbage),
    Http2(hyper::Error),
    NoHttp2,
    /// A template made something that cannot be sent.
    Unsendable(String),
}

/// What a request goes with.
pub(super) struct Luggage<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) url: &'a Url,
    pub(super) jar: Option<&'a mut Jar>,
    /// Called when the first byte of it has left.
    pub(super) on_sent: &'a dyn Fn(),
}

/// Sends one request and reads its answer to the end. Redirects are not followed, nothing is sent twice.
///
/// What the answer gives to the requests after it is added to `extracted`.
pub(super) async fn send(
    pool: &Pool,
    prepared: &Prepared,
    luggage: Luggage<'_>,
    extracted: &mut Extracted,
    abort: &CancellationToken,
) -> Exchanged {
    let Luggage { scope, url, mut jar, on_sent } = luggage;
    let to_head = prepared.method == hyper::Method::HEAD;
    let mut seen = Seen {
        is_sent: false,
        answer: Answer::new(to_head, prepared.wanted.keep()),
        version: None,
        tls_version: "",
        connecting: Duration::ZERO,
        tls_handshaking: Duration::ZERO,
        counts: None,
        begun: None,
        written: None,
        first_read: None,
    };
    let handed_over = Instant::now();
    let exchange = exchange(pool, prepared, url, jar.as_deref(), scope, &mut seen, on_sent);
    let (mut outcome, mut error) = tokio::select! {
        biased;
        exchanged = tokio::time::timeout(prepared.timeout, exchange) => match exchanged {
            Ok(Ok(())) => (Outcome::Ok, String::new()),
            Ok(Err(failure)) => failure.classify(),
            Err(_) => (Outcome::Timeout, "request timeout".to_owned()),
        },
        () = abort.cancelled() => (Outcome::Cancelled, "the load was cancelled".to_owned()),
    };
    let ended = Instant::now();
    if let (Outcome::Ok, Some(status)) = (outcome, seen.answer.status) {
        let answer = &seen.answer;
        if let Some(jar) = &mut jar {
            jar.take_from(url, &answer.fields, cookies::now());
        }
        let given = Given { status, fields: &answer.fields, body: &answer.body, body_cut: answer.body_cut };
        if let Err(problem) = prepared.wanted.examine(&given, extracted) {
            (outcome, error) = (Outcome::FailedCheck, problem);
        }
    }
    let (bytes_sent, bytes_received) = seen.counts.as_ref().map_or((0, 0), |counts| counts.take());
    Exchanged {
        begun: handed_over,
        is_sent: seen.is_sent,
        ended,
        status: seen.answer.status,
        outcome,
        error,
        version: seen.version,
        tls_version: seen.tls_version,
        phases: phases(&seen, outcome, handed_over, ended),
        bytes_sent,
        bytes_received,
    }
}

impl Exchanged {
    /// A request that could not be built.
    pub(super) fn unsendable(problem: String) -> Self {
        let now = Instant::now();
        Self {
            begun: now,
            is_sent: false,
            ended: now,
            status: None,
            outcome: Outcome::Protocol,
            error: problem,
            version: None,
            tls_version: "",
            phases: Phases::default(),
            bytes_sent: 0,
            bytes_received: 0,
        }
    }
}

fn phases(seen: &Seen, outcome: Outcome, handed_over: Instant, ended: Instant) -> Phases {
    let Some(begun) = seen.begun else {
        // k6 counts the time until it gives up as waiting.
        let waited = matches!(outcome, Outcome::Timeout | Outcome::Reset | Outcome::Protocol);
        let waiting = if waited { ended - handed_over } else { Duration::ZERO };
        return Phases { waiting, ..Phases::default() };
    };
    let written = seen.written.unwrap_or(ended);
    let first_read = seen.first_read.unwrap_or(ended);
    Phases {
        blocked: begun - handed_over,
        connecting: seen.connecting,
        tls_handshaking: seen.tls_handshaking,
        sending: written - begun,
        waiting: first_read.saturating_duration_since(written),
        receiving: ended.saturating_duration_since(first_read),
    }
}

async fn exchange(
    pool: &Pool,
    prepared: &Prepared,
    url: &Url,
    jar: Option<&Jar>,
    scope: Scope<'_>,
    seen: &mut Seen,
    on_sent: &dyn Fn(),
) -> Result<(), Failure> {
    let origin = pool.origin(url);
    let connection = match pool.idle(&origin).await {
        Some(connection) => connection,
        None => {
            let (connection, opened) = pool.open(&origin).await?;
            seen.connecting = opened.connecting;
            seen.tls_handshaking = opened.tls_handshaking;
            connection
        }
    };
    match connection {
        Connection::Http1(mut connection) => {
            connection.out.clear();
            prepared.write_http1(&mut connection.out, url, jar, scope).map_err(Failure::Unsendable)?;
            seen.tls_version = connection.tls_version;
            // Only what passes from here on is the request's: a handshake is not.
            connection.counts.take();
            seen.counts = Some(Rc::clone(&connection.counts));
            seen.begun = Some(Instant::now());
            over_http1(&mut connection, pool, seen, on_sent).await?;
            seen.version =
                Some(if seen.answer.minor_version == 0 { Version::HTTP_10 } else { Version::HTTP_11 });
            if seen.answer.reusable {
                pool.put_back(&origin, connection);
            }
            Ok(())
        }
        Connection::Http2(connection) => {
            let request = prepared.to_http2(url, jar, scope).map_err(Failure::Unsendable)?;
            seen.tls_version = connection.tls_version;
            seen.counts = Some(Rc::clone(&connection.counts));
            let now = Instant::now();
            seen.begun = Some(now);
            // Exchanges overlap on the connection: when one's bytes have left cannot be told.
            seen.written = Some(now);
            over_http2(connection, request, prepared, seen, on_sent).await.map_err(Failure::Http2)
        }
    }
}

/// Writes the request and reads the answer, side by side: a server may answer before it has read everything.
async fn over_http1(
    connection: &mut Http1,
    pool: &Pool,
    seen: &mut Seen,
    on_sent: &dyn Fn(),
) -> Result<(), Failure> {
    let mut written = 0;
    let mut write_failure = None;
    poll_fn(|context| {
        if seen.written.is_none() && write_failure.is_none() {
            match poll_write_all(&mut connection.stream, &connection.out, &mut written, context) {
                Poll::Ready(Ok(())) => seen.written = Some(Instant::now()),
                // The server may have said why before it closed.
                Poll::Ready(Err(error)) => write_failure = Some(error),
                Poll::Pending => {}
            }
            if !seen.is_sent && connection.counts.has_written() {
                seen.is_sent = true;
                on_sent();
            }
        }
        let mut scratch = pool.scratch.borrow_mut();
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut connection.stream).poll_read(context, &mut buffer) {
                Poll::Pending if write_failure.is_some() => {
                    // Nothing has been said, and nothing can be.
                    let error = write_failure.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into());
                    return Poll::Ready(Err(Failure::Io(error)));
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(Failure::Io(write_failure.take().unwrap_or(error))));
                }
                Poll::Ready(Ok(())) => {}
            }
            let bytes = buffer.filled();
            if bytes.is_empty() {
                let end = if seen.answer.closed() { Ok(()) } else { Err(Failure::Closed) };
                return Poll::Ready(end);
            }
            seen.first_read.get_or_insert_with(Instant::now);
            if let Err(garbage) = seen.answer.feed(bytes) {
                return Poll::Ready(Err(Failure::Garbage(garbage)));
            }
            if seen.answer.is_complete() {
                if seen.written.is_none() {
                    seen.answer.reusable = false;
                }
                return Poll::Ready(Ok(()));
            }
        }
    })
    .await
}

fn poll_write_all(
    stream: &mut Stream,
    bytes: &[u8],
    written: &mut usize,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while *written < bytes.len() {
        match Pin::new(&mut *stream).poll_write(context, &bytes[*written..]) {
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(count)) => *written += count,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    // TLS keeps what it could not write yet.
    Pin::new(stream).poll_flush(context)
}

async fn over_http2(
    mut connection: Http2,
    request: hyper::Request<http_body_util::Full<hyper::body::Bytes>>,
    prepared: &Prepared,
    seen: &mut Seen,
    on_sent: &dyn Fn(),
) -> Result<(), hyper::Error> {
    let response = match connection.sender.try_send_request(request).await {
        Ok(response) => response,
        Err(mut error) => {
            // The request comes back if the connection was at its end before it.
            if error.take_message().is_none() {
                seen.is_sent = true;
                on_sent();
            }
            return Err(error.into_error());
        }
    };
    seen.is_sent = true;
    on_sent();
    seen.first_read = Some(Instant::now());
    seen.version = Some(response.version());
    seen.answer.status = Some(response.status().as_u16());
    let keep = prepared.wanted.keep();
    if keep.fields {
        let text =
            |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let fields = response.headers().iter().map(|(name, value)| (name.to_string(), text(value)));
        seen.answer.fields = fields.collect();
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        if let Some(data) = frame.data_ref().filter(|_| keep.body) {
            let kept = data.len().min(LARGEST_BODY - seen.answer.body.len());
            seen.answer.body_cut |= kept < data.len();
            seen.answer.body.extend_from_slice(&data[..kept]);
        }
    }
    Ok(())
}

impl From<ConnectFailure> for Failure {
    fn from(failure: ConnectFailure) -> Self {
        Self::Connect(failure)
    }
}

impl Failure {
    fn classify(self) -> (Outcome, String) {
        match self {
            Self::Connect(failure) => (of_connecting(&failure), failure.to_string()),
            Self::Io(error) => (of_io(&error), error.to_string()),
            Self::Closed => {
                (Outcome::Reset, "the connection was closed before the answer was complete".to_owned())
            }
            Self::Garbage(garbage) => (Outcome::Protocol, garbage.to_string()),
            Self::Http2(error) => of_http2(&error),
            Self::NoHttp2 => (Outcome::Protocol, "the server does not speak HTTP/2".to_owned()),
            Self::Unsendable(problem) => (Outcome::Protocol, problem),
        }
    }
}

/// Finds the cause in a chain of errors.
fn of_http2(failure: &hyper::Error) -> (Outcome, String) {
    let mut outcome = of_hyper(failure);
    let mut innermost: &(dyn Error + 'static) = failure;
    while let Some(error) = innermost.source() {
        innermost = error;
        if let Some(error) = error.downcast_ref::<io::Error>() {
            outcome = Some(of_io(error));
        }
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
    let codes = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_connect_are_told_apart() {
        #[track_caller]
        fn check(failure: ConnectFailure, expected: Outcome) {
            assert_eq!(of_connecting(&failure), expected, "{failure}");
        }
        let system = |code: Errno| io::Error::from(code);
        check(ConnectFailure::Tcp(system(Errno::CONNREFUSED)), Outcome::Refused);
        check(ConnectFailure::Tcp(system(Errno::NETUNREACH)), Outcome::Unreachable);
        check(ConnectFailure::Tcp(system(Errno::TIMEDOUT)), Outcome::Unreachable);
        check(ConnectFailure::Tcp(system(Errno::MFILE)), Outcome::Exhausted);
        check(ConnectFailure::Tcp(system(Errno::ADDRNOTAVAIL)), Outcome::Exhausted);
        check(ConnectFailure::Tcp(system(Errno::CONNRESET)), Outcome::Reset);
        check(ConnectFailure::Dns(io::Error::other("no such host")), Outcome::Dns);
        check(ConnectFailure::Tls(io::Error::other("bad certificate")), Outcome::Tls);
    }
}
