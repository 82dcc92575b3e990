//! A small HTTP server on loopback: the accept loop, bodies, answers.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::Lifetime;
use crate::peer::Peer;

/// A body comes over loopback, whole: one that trickles in would hold its connection and memory for ever.
const SLOWEST_BODY: Duration = Duration::from_secs(30);

/// A client that says nothing for so long is left: a request, the first or a later one, begins by then.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// So many connections at once has a port that answers this user only. Each holds a descriptor and memory.
const MOST_CONNECTIONS: usize = 512;

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

/// Accepts connections until `lifetime` ends, and answers every request with what `handler` says, whoever asks.
pub async fn serve<Handler, Answering>(listener: TcpListener, lifetime: Lifetime, handler: Handler)
where
    Handler: Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Answer> + Send + 'static,
{
    accept(listener, lifetime, Guard::None, handler).await;
}

/// As [`serve`], and answers only processes of this user, and no request that a web page makes: see [`is_from_here`].
pub async fn serve_own<Handler, Answering>(listener: TcpListener, lifetime: Lifetime, handler: Handler)
where
    Handler: Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Answer> + Send + 'static,
{
    accept(listener, lifetime, Guard::Own, handler).await;
}

/// As [`serve_own`], and answers only connections whose other end, a socket of this inode, `is_peer` accepts. Where the
/// system does not say whose connections there are, it is not asked.
pub async fn serve_peer<Handler, Answering>(
    listener: TcpListener,
    lifetime: Lifetime,
    is_peer: impl Fn(u64) -> bool + Send + Sync + 'static,
    handler: Handler,
) where
    Handler: Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Answer> + Send + 'static,
{
    accept(listener, lifetime, Guard::Peer(Arc::new(is_peer)), handler).await;
}

/// Whether a request names this machine as its host, and comes from no web page of elsewhere: a page that a browser shows can send
/// requests to every port of this machine, directly or by a name of its own that leads here.
pub fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    text(HOST).is_some_and(is_loopback)
        && text(ORIGIN).is_none_or(|origin| origin.strip_prefix("http://").is_some_and(is_loopback))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "127.0.0.1" | "[::1]") || name.eq_ignore_ascii_case("localhost")
}

/// Who is answered.
#[derive(Clone)]
enum Guard {
    None,
    Own,
    Peer(Arc<dyn Fn(u64) -> bool + Send + Sync>),
}

impl Guard {
    /// Why no request of a connection is answered.
    fn refusal(&self, peer: impl FnOnce() -> Peer) -> Option<&'static str> {
        if matches!(self, Self::None) {
            return None;
        }
        let peer = peer();
        match (self, peer) {
            _ if !peer.is_own() => Some("this port answers only the user who started it"),
            (Self::Peer(is_peer), Peer::Socket { inode, .. }) if !is_peer(inode) => {
                Some("this port answers only the process that it was made for")
            }
            _ => None,
        }
    }

    /// Why a request is not answered.
    fn refuses(&self, headers: &HeaderMap) -> Option<&'static str> {
        (!matches!(self, Self::None) && !is_from_here(headers))
            .then_some("call it as 127.0.0.1 or localhost, and not from a web page")
    }
}

async fn accept<Handler, Answering>(listener: TcpListener, lifetime: Lifetime, guard: Guard, handler: Handler)
where
    Handler: Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Answer> + Send + 'static,
{
    let most = match guard {
        Guard::None => usize::MAX,
        Guard::Own | Guard::Peer(_) => MOST_CONNECTIONS,
    };
    accept_at_most(most, listener, lifetime, guard, handler).await;
}

async fn accept_at_most<Handler, Answering>(
    most: usize,
    listener: TcpListener,
    lifetime: Lifetime,
    guard: Guard,
    handler: Handler,
) where
    Handler: Fn(Request<Incoming>) -> Answering + Clone + Send + Sync + 'static,
    Answering: Future<Output = Answer> + Send + 'static,
{
    let places = Arc::new(Places { most, taken: Mutex::default() });
    loop {
        let accepted = tokio::select! {
            () = lifetime.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // Out of file descriptors, most likely: wait for some to be closed.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Some(place) = Places::take(&places) else { continue };
        // Small answers must not wait for acknowledgements; failing to say so only costs time.
        let _ = stream.set_nodelay(true);
        let (lifetime, handler, guard) = (lifetime.clone(), handler.clone(), guard.clone());
        let here = stream.local_addr();
        tokio::spawn(async move {
            let seat = &place.seat;
            let refusal = guard.refusal(|| match here {
                Ok(here) => Peer::of(peer, here),
                Err(_) => Peer::Elsewhere { loopback: true },
            });
            let service = service_fn(move |request: Request<Incoming>| {
                let answering = match refusal.or_else(|| guard.refuses(request.headers())) {
                    None => Ok(handler(request)),
                    Some(message) => Err(json(StatusCode::FORBIDDEN, &json!({ "message": message }))),
                };
                let busy = Busy::of(seat);
                async move {
                    let _busy = busy;
                    match answering {
                        Ok(answering) => Ok::<_, Infallible>(answering.await),
                        Err(refused) => Ok(refused),
                    }
                }
            });
            let mut connection = pin!(
                http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(LONGEST_SILENCE)
                    .serve_connection(TokioIo::new(stream), service)
            );
            tokio::select! {
                // A broken connection is the client's affair.
                _ = connection.as_mut() => return,
                () = seat.leave.notified() => {
                    // Between two requests nothing is lost.
                    if !seat.is_busy() {
                        return;
                    }
                    connection.as_mut().graceful_shutdown();
                }
                () = lifetime.stopped() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
}

/// The connections of a port that has a bounded number of them. Somebody may open many and leave them: another one takes the
/// place of the one that has been silent longest. Without a bound they are not counted.
struct Places {
    most: usize,
    /// By a number that no other connection has.
    taken: Mutex<(u64, HashMap<u64, Arc<Seat>>)>,
}

/// A connection among its like, until it ends.
struct Place {
    places: Arc<Places>,
    number: Option<u64>,
    seat: Arc<Seat>,
}

struct Seat {
    /// A request is being answered.
    busy: AtomicBool,
    silent_since: Mutex<Instant>,
    leave: Notify,
}

impl Seat {
    fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }
}

impl Places {
    /// None: all connections are being answered.
    fn take(places: &Arc<Self>) -> Option<Place> {
        let seat = Arc::new(Seat {
            busy: AtomicBool::new(false),
            silent_since: Mutex::new(Instant::now()),
            leave: Notify::new(),
        });
        if places.most == usize::MAX {
            return Some(Place { places: Arc::clone(places), number: None, seat });
        }
        let (next, taken) = &mut *places.taken.lock();
        if taken.len() >= places.most {
            let silent = taken.iter().filter(|(_, other)| !other.is_busy());
            let longest = *silent.min_by_key(|(_, other)| *other.silent_since.lock())?.0;
            if let Some(left) = taken.remove(&longest) {
                left.leave.notify_one();
            }
        }
        *next += 1;
        taken.insert(*next, Arc::clone(&seat));
        Some(Place { places: Arc::clone(places), number: Some(*next), seat })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.places.taken.lock().1.remove(&number);
        }
    }
}

/// A request that is being answered, until the answer is there or nobody waits for it.
struct Busy(Arc<Seat>);

impl Busy {
    fn of(seat: &Arc<Seat>) -> Self {
        seat.busy.store(true, Ordering::Release);
        Self(Arc::clone(seat))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.silent_since.lock() = Instant::now();
        self.0.busy.store(false, Ordering::Release);
    }
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// The status to answer with: 413 for a body that is too long, 408 for one that takes more than half a minute, 400 for one
/// that cannot be read.
pub async fn read_body(body: Incoming, limit: usize) -> Result<Bytes, StatusCode> {
    match tokio::time::timeout(SLOWEST_BODY, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(Err(_)) => Err(StatusCode::BAD_REQUEST),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in ["127.0.0.1", "127.0.0.1:8400", "localhost:1", "LocalHost", "[::1]:9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil:80", "127.0.0.1:x", "::1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[tokio::test]
    async fn a_port_of_ones_own_has_a_bounded_number_of_connections() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let listener = listen(None).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (lifetime, _stopper) = Lifetime::new();
        let (begun, mut began) = tokio::sync::mpsc::unbounded_channel();
        let answer = move |request: Request<Incoming>| {
            let begun = begun.clone();
            async move {
                if request.uri().path() == "/never" {
                    begun.send(()).unwrap();
                    std::future::pending::<()>().await;
                }
                json(StatusCode::OK, &json!("here"))
            }
        };
        tokio::spawn(accept_at_most(8, listener, lifetime, Guard::Own, answer));
        let ask = async || {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            // A server that closes the connection at once may do so before the request is written.
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").await;
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            answer
        };
        let mut idle = Vec::new();
        for _ in 0..8 {
            idle.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        // The one that has been silent longest makes room.
        for _ in 0..3 {
            let answer = ask().await;
            assert!(answer.ends_with("\"here\""), "{answer}");
        }
        let mut byte = [0];
        let first = tokio::time::timeout(Duration::from_secs(5), idle[0].read(&mut byte)).await;
        assert!(matches!(first, Ok(Ok(0) | Err(_))), "{first:?}");
        let last = tokio::time::timeout(Duration::from_millis(50), idle[7].read(&mut byte)).await;
        assert!(last.is_err(), "it is still open: {last:?}");
        // Those that wait for an answer stay.
        for _ in 0..8 {
            let mut waits = tokio::net::TcpStream::connect(address).await.unwrap();
            waits.write_all(b"GET /never HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await.unwrap();
            began.recv().await.unwrap();
            idle.push(waits);
        }
        assert_eq!(ask().await, "", "closed without an answer");
        let waits = tokio::time::timeout(Duration::from_millis(50), idle[8].read(&mut byte)).await;
        assert!(waits.is_err(), "{waits:?}");
    }

    #[test]
    fn a_site_that_asks_is_refused_whatever_the_host() {
        let check = |host: Option<&'static str>, origin: Option<&'static str>, expected: bool| {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(HOST, HeaderValue::from_static(host));
            }
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_from_here(&headers), expected, "{host:?} {origin:?}");
        };
        check(Some("127.0.0.1:8400"), None, true);
        check(Some("127.0.0.1:8400"), Some("http://127.0.0.1:8400"), true);
        check(Some("127.0.0.1:8400"), Some("https://evil.example"), false);
        check(Some("127.0.0.1:8400"), Some("null"), false);
        check(Some("evil.example"), None, false);
        check(None, None, false);
    }
}
