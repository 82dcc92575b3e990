//! Connections that know their times: name resolution, TCP and TLS each on the clock, and every byte that passes.
//!
//! The HTTP client pools connections and does not tell which request caused which; so each connection carries a
//! [`Connection`] record that the client hands back with every response, and the first response claims the
//! cost of opening it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect as pool;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_service::Service;

/// How long a resolved address is used, and how long a failure to resolve is believed.
const DNS_KEPT: Duration = Duration::from_mins(1);
const DNS_FAILURE_KEPT: Duration = Duration::from_secs(1);

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Opens connections for the pool.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: Tcp,
    /// `None`: no request needs TLS, so the root certificates were not read.
    https: Option<HttpsConnector<Tcp>>,
}

impl Connector {
    /// With `tls`, reads the system's root certificates: fails where there are none, or they cannot be read.
    pub(super) fn new(tls: bool) -> io::Result<Self> {
        let tcp = Tcp { resolver: Arc::default() };
        let https = if tls {
            let builder =
                HttpsConnectorBuilder::new().with_native_roots()?.https_only().enable_all_versions();
            Some(builder.wrap_connector(tcp.clone()))
        } else {
            None
        };
        Ok(Self { tcp, https })
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFailure {
    #[error("lookup: {0}")]
    Dns(io::Error),
    #[error("dial: {0}")]
    Tcp(io::Error),
    #[error("tls: {0}")]
    Tls(Box<dyn std::error::Error + Send + Sync>),
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<Wire>>;
    type Error = ConnectFailure;
    type Future = Answer<Self::Response, ConnectFailure>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let plain = uri.scheme_str() == Some("http");
        let (mut tcp, https) = (self.tcp.clone(), self.https.clone());
        Box::pin(async move {
            let stream = match https {
                _ if plain => MaybeHttpsStream::Http(tcp.call(uri).await?),
                Some(mut https) => {
                    https.call(uri).await.map_err(|error| match error.downcast::<ConnectFailure>() {
                        Ok(failure) => *failure,
                        Err(other) => ConnectFailure::Tls(other),
                    })?
                }
                None => return Err(ConnectFailure::Tls("no request began with https at the start".into())),
            };
            let (connection, tls_version) = match &stream {
                MaybeHttpsStream::Http(wire) => (&wire.inner().connection, None),
                MaybeHttpsStream::Https(tls) => {
                    let (tcp, session) = tls.inner().get_ref();
                    let version = session.protocol_version().map(|version| format!("{version:?}"));
                    (&tcp.inner().inner().connection, version)
                }
            };
            connection.opened(tls_version);
            Ok(stream)
        })
    }
}

/// What a connection knows of itself.
#[derive(Debug)]
pub(super) struct Connection {
    /// How long TCP took, name resolution excluded.
    pub(super) connecting: Duration,
    tcp_ready: Instant,
    opened: OnceLock<Opened>,
    claimed: AtomicBool,
    written: AtomicU64,
    read: AtomicU64,
    exchanges: Mutex<[Option<Exchange>; 2]>,
}

#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) tls_handshaking: Duration,
    /// As rustls names it: `TLSv1_3`. `None` without TLS.
    pub(super) tls_version: Option<String>,
}

/// One request and its answer on an HTTP/1 connection, where they never overlap with others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) first_write: Instant,
    pub(super) last_write: Instant,
    pub(super) first_read: Option<Instant>,
}

impl Connection {
    fn new(connecting: Duration) -> Self {
        Self {
            connecting,
            tcp_ready: Instant::now(),
            opened: OnceLock::new(),
            claimed: AtomicBool::new(false),
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
            exchanges: Mutex::new([None; 2]),
        }
    }

    fn opened(&self, tls_version: Option<String>) {
        let tls_handshaking = if tls_version.is_some() { self.tcp_ready.elapsed() } else { Duration::ZERO };
        let _ = self.opened.set(Opened { tls_handshaking, tls_version });
        // What passed so far was the handshake, no exchange.
        *self.lock() = [None; 2];
    }

    /// `None` while it is being opened.
    pub(super) fn opened_with(&self) -> Option<&Opened> {
        self.opened.get()
    }

    /// True for the first to ask: that request pays for opening the connection.
    pub(super) fn claim(&self) -> bool {
        !self.claimed.swap(true, Ordering::Relaxed)
    }

    /// Bytes (written, read) since the last call, TLS and HTTP framing included.
    pub(super) fn take_bytes(&self) -> (u64, u64) {
        (self.written.swap(0, Ordering::Relaxed), self.read.swap(0, Ordering::Relaxed))
    }

    /// The newest exchange that was answered by `head`, when the head of the answer was there. The connection may
    /// already serve the next request by the time this is asked.
    pub(super) fn exchange(&self, head: Instant) -> Option<Exchange> {
        self.lock()
            .iter()
            .flatten()
            .find(|exchange| exchange.first_read.is_some_and(|first_read| first_read <= head))
            .copied()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [Option<Exchange>; 2]> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wrote(&self, begin: Instant, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
        let mut exchanges = self.lock();
        match &mut exchanges[0] {
            Some(current) if current.first_read.is_none() => current.last_write = Instant::now(),
            latest => {
                let new = Exchange { first_write: begin, last_write: Instant::now(), first_read: None };
                let before = latest.replace(new);
                exchanges[1] = before;
            }
        }
    }

    fn has_read(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
        if let Some(current) = &mut self.lock()[0]
            && current.first_read.is_none()
        {
            current.first_read = Some(Instant::now());
        }
    }
}

/// A TCP connection that keeps its record.
pub(super) struct Wire {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl pool::Connection for Wire {
    fn connected(&self) -> pool::Connected {
        pool::Connected::new().extra(Arc::clone(&self.connection))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            self.connection.has_read(bytes);
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let begin = Instant::now();
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note_written(begin, &polled);
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let begin = Instant::now();
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note_written(begin, &polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Wire {
    fn note_written(&self, begin: Instant, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = polled
            && *bytes > 0
        {
            self.connection.wrote(begin, *bytes);
        }
    }
}

/// Resolves and connects, without TLS.
#[derive(Clone)]
struct Tcp {
    resolver: Arc<Resolver>,
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<Wire>;
    type Error = ConnectFailure;
    type Future = Answer<TokioIo<Wire>, ConnectFailure>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let resolver = Arc::clone(&self.resolver);
        Box::pin(async move {
            let host =
                uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
            let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            let addresses = resolver.resolve(host, port).await.map_err(ConnectFailure::Dns)?;
            let begin = Instant::now();
            let stream = connect(&addresses).await.map_err(ConnectFailure::Tcp)?;
            stream.set_nodelay(true).map_err(ConnectFailure::Tcp)?;
            let connection = Arc::new(Connection::new(begin.elapsed()));
            Ok(TokioIo::new(Wire { stream, connection }))
        })
    }
}

/// The first address that answers; the error of the last one when none does.
async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Names resolved by the system, remembered for a minute: thousands of connections that open at once ask once.
#[derive(Default)]
struct Resolver {
    known: tokio::sync::Mutex<HashMap<(String, u16), Known>>,
    turn: AtomicUsize,
}

struct Known {
    since: Instant,
    addresses: Result<Vec<SocketAddr>, (io::ErrorKind, String)>,
}

impl Resolver {
    /// All addresses of a host, beginning with another one each time.
    async fn resolve(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let mut known = self.known.lock().await;
        let key = (host, port);
        let fresh = known.get(&key).is_some_and(|entry| {
            entry.since.elapsed() < if entry.addresses.is_ok() { DNS_KEPT } else { DNS_FAILURE_KEPT }
        });
        if !fresh {
            let addresses = match tokio::net::lookup_host((key.0.as_str(), port)).await {
                Ok(addresses) => Ok(addresses.collect()),
                Err(error) => Err((error.kind(), error.to_string())),
            };
            known.insert(key.clone(), Known { since: Instant::now(), addresses });
        }
        match known.get(&key).map(|entry| &entry.addresses) {
            Some(Ok(addresses)) => {
                let mut addresses = addresses.clone();
                if !addresses.is_empty() {
                    let first = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len();
                    addresses.rotate_left(first);
                }
                Ok(addresses)
            }
            Some(Err((kind, message))) => Err(io::Error::new(*kind, message.clone())),
            None => Err(io::Error::other("not resolved")),
        }
    }
}
