//! Opens connections: name resolution, TCP and TLS, each on the clock, and every byte that passes counted.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
};

use sb_workload::{HttpVersion, Settings};

/// How long a resolved address is used, and how long a failure to resolve is believed.
const DNS_KEPT: Duration = Duration::from_mins(1);
const DNS_FAILURE_KEPT: Duration = Duration::from_secs(1);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFailure {
    #[error("lookup: {0}")]
    Dns(io::Error),
    #[error("dial: {0}")]
    Tcp(io::Error),
    #[error("tls: {0}")]
    Tls(io::Error),
}

/// Why no TLS can be spoken at all.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant says what it is")]
pub enum TlsSetupError {
    #[error("the system has no root certificates that can be read; install the `ca-certificates` package")]
    NoRoots,
    #[error("cannot read {}: {problem}; `ca_file` names a PEM file of certificates", path.display())]
    CaFile { path: PathBuf, problem: String },
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] TlsError),
}

/// What opens connections, for all threads of a load.
pub(super) struct Connector {
    resolver: Resolver,
    /// `None`: no request needs TLS, so the root certificates were not read.
    tls: Option<TlsConnector>,
}

/// A new connection, and what opening it took.
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) connecting: Duration,
    pub(super) tls_handshaking: Duration,
    /// The server agreed to HTTP/2 in the TLS handshake.
    pub(super) http2: bool,
}

impl Connector {
    /// With `tls`, reads the root certificates: fails where there are none, or they cannot be read.
    pub(super) fn new(tls: bool, settings: &Settings) -> Result<Self, TlsSetupError> {
        let tls = if tls { Some(TlsConnector::from(Arc::new(configuration(settings)?))) } else { None };
        Ok(Self { resolver: Resolver::default(), tls })
    }

    pub(super) async fn open(&self, host: &str, port: u16, tls: bool) -> Result<Opened, ConnectFailure> {
        let addresses = self.resolver.resolve(host, port).await.map_err(ConnectFailure::Dns)?;
        let begin = Instant::now();
        let stream = connect(&addresses).await.map_err(ConnectFailure::Tcp)?;
        stream.set_nodelay(true).map_err(ConnectFailure::Tcp)?;
        let connected = Instant::now();
        let connecting = connected - begin;
        let wire = Wire { stream, counts: Rc::default() };
        if !tls {
            let stream = Stream::Plain(wire);
            return Ok(Opened { stream, connecting, tls_handshaking: Duration::ZERO, http2: false });
        }
        let Some(connector) = &self.tls else {
            return Err(ConnectFailure::Tls(io::Error::other("no request began with https at the start")));
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| ConnectFailure::Tls(io::Error::other(error)))?;
        let stream = connector.connect(name, wire).await.map_err(ConnectFailure::Tls)?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream = Stream::Tls(Box::new(stream));
        Ok(Opened { stream, connecting, tls_handshaking: connected.elapsed(), http2 })
    }
}

fn configuration(settings: &Settings) -> Result<ClientConfig, TlsSetupError> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut configuration = if settings.verify_certificates {
        builder.with_root_certificates(roots(settings.ca_file.as_deref())?).with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth()
    };
    let protocols: &[&[u8]] = match settings.http_version {
        None => &[b"h2", b"http/1.1"],
        Some(HttpVersion::Http1) => &[b"http/1.1"],
        Some(HttpVersion::Http2) => &[b"h2"],
    };
    configuration.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(configuration)
}

/// Those of the system, and those that the workload names.
fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let wrong = |problem: String| TlsSetupError::CaFile { path: path.to_owned(), problem };
        let before = roots.len();
        let file = sb_durable::open_regular(path).map_err(|error| wrong(error.to_string()))?;
        for certificate in CertificateDer::pem_reader_iter(file) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
        if roots.len() == before {
            return Err(wrong("it has no certificate".to_owned()));
        }
    }
    if roots.is_empty() { Err(TlsSetupError::NoRoots) } else { Ok(roots) }
}

/// For test servers: takes whatever certificate there is, but checks that the server holds its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Bytes on the wire, TLS and HTTP framing included.
#[derive(Debug, Default)]
pub(super) struct Counts {
    written: Cell<u64>,
    read: Cell<u64>,
}

impl Counts {
    /// Whether anything was written since the last [`take`](Self::take).
    pub(super) fn has_written(&self) -> bool {
        self.written.get() > 0
    }

    /// Bytes (written, read) since the last call.
    pub(super) fn take(&self) -> (u64, u64) {
        (self.written.take(), self.read.take())
    }
}

/// A TCP connection that counts.
pub(super) struct Wire {
    stream: TcpStream,
    counts: Rc<Counts>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        self.counts.read.set(self.counts.read.get() + read as u64);
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.counts.written.set(self.counts.written.get() + written as u64);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A connection without or with TLS.
pub(super) enum Stream {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl Stream {
    pub(super) fn counts(&self) -> Rc<Counts> {
        let wire = match self {
            Self::Plain(wire) => wire,
            Self::Tls(stream) => stream.get_ref().0,
        };
        Rc::clone(&wire.counts)
    }

    /// In k6's spelling: `tls1.3`; empty without TLS.
    pub(super) fn tls_version(&self) -> &'static str {
        use tokio_rustls::rustls::ProtocolVersion;
        match self {
            Self::Plain(_) => "",
            Self::Tls(stream) => match stream.get_ref().1.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "tls1.3",
                Some(ProtocolVersion::TLSv1_2) => "tls1.2",
                _ => "",
            },
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
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
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let mut known = self.known.lock().await;
        let key = (host.to_owned(), port);
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
