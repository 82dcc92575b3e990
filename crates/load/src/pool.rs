//! The connections of one sending thread, by where they lead.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::connect::{Connector, Counts, Opened, Stream};
use super::prepare::Url;
use super::send::Failure;
use sb_workload::{HttpVersion, Settings};

/// Idle connections are closed before the load balancers of the clouds do it (60 s at AWS): a request that meets the
/// other side's close would count as reset.
const IDLE: Duration = Duration::from_secs(50);

/// Requests that share an HTTP/2 connection; beyond, another one is opened, so that none waits for others. A server may
/// allow fewer.
const STREAMS: usize = 100;

/// How much is read at once.
const READ: usize = 64 * 1024;

pub(super) struct Pool {
    connector: Arc<Connector>,
    http_version: Option<HttpVersion>,
    reuse: bool,
    origins: RefCell<Vec<Rc<Origin>>>,
    /// Where answers are read into, by all connections in turn.
    pub(super) scratch: RefCell<Vec<u8>>,
}

/// Where connections lead.
pub(super) struct Origin {
    host: String,
    port: u16,
    tls: bool,
    /// The one that was used last is used next, so that those beyond need grow old.
    idle: RefCell<Vec<Http1>>,
    shared: RefCell<Vec<Http2>>,
    /// HTTP/2 is spoken there.
    is_http2: Cell<bool>,
    /// Held while a connection is opened that others will share.
    opening: tokio::sync::Mutex<()>,
}

pub(super) enum Connection {
    Http1(Http1),
    Http2(Http2),
}

pub(super) struct Http1 {
    pub(super) stream: Stream,
    pub(super) counts: Rc<Counts>,
    pub(super) tls_version: &'static str,
    /// The request that is being sent.
    pub(super) out: Vec<u8>,
    idle_since: Instant,
}

#[derive(Clone)]
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<Full<Bytes>>,
    pub(super) counts: Rc<Counts>,
    pub(super) tls_version: &'static str,
    /// Counts those who have it.
    users: Rc<()>,
    /// What the server allows at once.
    most: Rc<Cell<usize>>,
}

/// What opening a connection took.
pub(super) struct Times {
    pub(super) connecting: Duration,
    pub(super) tls_handshaking: Duration,
}

impl Pool {
    pub(super) fn new(connector: Arc<Connector>, settings: &Settings) -> Self {
        Self {
            connector,
            http_version: settings.http_version,
            reuse: settings.connection_reuse,
            origins: RefCell::default(),
            scratch: RefCell::new(vec![0; READ]),
        }
    }

    pub(super) fn origin(&self, url: &Url) -> Rc<Origin> {
        let mut origins = self.origins.borrow_mut();
        let same = |origin: &&Rc<Origin>| {
            origin.port == url.port && origin.tls == url.tls && origin.host == url.host
        };
        if let Some(origin) = origins.iter().find(same) {
            return Rc::clone(origin);
        }
        let origin = Rc::new(Origin {
            host: url.host.clone(),
            port: url.port,
            tls: url.tls,
            idle: RefCell::default(),
            shared: RefCell::default(),
            is_http2: Cell::new(self.http_version == Some(HttpVersion::Http2)),
            opening: tokio::sync::Mutex::default(),
        });
        origins.push(Rc::clone(&origin));
        origin
    }

    /// A connection that is open already.
    pub(super) async fn idle(&self, origin: &Origin) -> Option<Connection> {
        if !self.reuse {
            return None;
        }
        if origin.is_http2.get() {
            return origin.shared().map(Connection::Http2);
        }
        loop {
            let mut connection = origin.idle.borrow_mut().pop()?;
            if connection.idle_since.elapsed() < IDLE && connection.is_silent().await {
                return Some(Connection::Http1(connection));
            }
        }
    }

    /// A new connection; over HTTP/2 one that another request has opened meanwhile will do.
    pub(super) async fn open(&self, origin: &Origin) -> Result<(Connection, Times), Failure> {
        let _alone = if self.reuse && origin.is_http2.get() {
            let alone = origin.opening.lock().await;
            if let Some(connection) = origin.shared() {
                let times = Times { connecting: Duration::ZERO, tls_handshaking: Duration::ZERO };
                return Ok((Connection::Http2(connection), times));
            }
            Some(alone)
        } else {
            None
        };
        let Opened { stream, connecting, tls_handshaking, http2 } =
            self.connector.open(&origin.host, origin.port, origin.tls).await?;
        let times = Times { connecting, tls_handshaking };
        let wanted = self.http_version == Some(HttpVersion::Http2);
        if wanted && origin.tls && !http2 {
            return Err(Failure::NoHttp2);
        }
        let (counts, tls_version) = (stream.counts(), stream.tls_version());
        if !wanted && !http2 {
            let connection =
                Http1 { stream, counts, tls_version, out: Vec::new(), idle_since: Instant::now() };
            return Ok((Connection::Http1(connection), times));
        }
        counts.take();
        let (sender, mut connection) = http2::Builder::new(OnThisThread)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::Http2)?;
        let most = Rc::new(Cell::new(STREAMS));
        let allowed = Rc::clone(&most);
        tokio::task::spawn_local(async move {
            // Its errors are those of the requests on it.
            let _ = poll_fn(|context| {
                allowed.set(connection.current_max_send_streams());
                Pin::new(&mut connection).poll(context)
            })
            .await;
        });
        let connection = Http2 { sender, counts, tls_version, users: Rc::new(()), most };
        if self.reuse {
            origin.is_http2.set(true);
            origin.shared.borrow_mut().push(connection.clone());
        }
        Ok((Connection::Http2(connection), times))
    }

    pub(super) fn put_back(&self, origin: &Origin, mut connection: Http1) {
        if self.reuse {
            connection.idle_since = Instant::now();
            // Of a large body.
            connection.out.clear();
            connection.out.shrink_to(READ);
            origin.idle.borrow_mut().push(connection);
        }
    }

    /// Closes what has been idle for long.
    pub(super) fn close_idle(&self) {
        for origin in &*self.origins.borrow() {
            origin.idle.borrow_mut().retain(|connection| connection.idle_since.elapsed() < IDLE);
            origin.shared.borrow_mut().retain(|connection| !connection.sender.is_closed());
        }
    }
}

impl Origin {
    /// The first HTTP/2 connection that has room.
    fn shared(&self) -> Option<Http2> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|connection| !connection.sender.is_closed());
        let room = |connection: &&Http2| {
            // One of the users is the list itself.
            Rc::strong_count(&connection.users) <= connection.most.get().clamp(1, STREAMS)
        };
        shared.iter().find(room).cloned()
    }
}

impl Http1 {
    /// Whether the other side has neither closed it nor said something unasked.
    async fn is_silent(&mut self) -> bool {
        poll_fn(|context| {
            let mut byte = [0];
            let mut buffer = ReadBuf::new(&mut byte);
            Poll::Ready(Pin::new(&mut self.stream).poll_read(context, &mut buffer).is_pending())
        })
        .await
    }
}

/// Runs what belongs to a connection on the thread that has it.
#[derive(Clone)]
struct OnThisThread;

impl<F: Future + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move { drop(future.await) });
    }
}
