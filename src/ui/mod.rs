//! `sb ui`: a live page about the runs of a workspace. Its reader has a browser on this machine, or at the other end
//! of a tunnel.
//!
//! Loopback only. Everything is below a random path, which is as good as a password. The `Host` must name this
//! machine: otherwise a web site could have a browser ask for the page under a name of its own (DNS rebinding). A
//! run's journal is read once a second, however many watch it ([`live`]). What a viewer gets is bounded ([`stream`]).
//! The page itself is in this program, and loads nothing from elsewhere.

mod http;
mod live;
mod report;
mod results;
mod runs;
mod step;
mod stream;
mod traces;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rand::RngExt as _;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::watch::Watched;

/// Connections at once; a browser needs up to six for a page.
const CONNECTIONS: usize = 128;

/// A page that waits for viewers.
pub(crate) struct Page {
    listener: TcpListener,
    site: Arc<Site>,
}

/// One that is open.
struct Connection {
    task: AbortHandle,
    /// It has shown the token.
    is_viewer: Arc<AtomicBool>,
}

/// What requests are answered from.
struct Site {
    /// The first part of every path.
    token: String,
    runs: runs::Runs,
    results: results::Results,
    reports: report::Reports,
    traces: traces::Traces,
}

impl Page {
    /// Listens on 127.0.0.1; port 0 takes one that is free. The page begins with the run that is given.
    pub(crate) async fn bind(watched: Watched, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let token = format!("{:032x}", rand::rng().random::<u128>());
        let (results, traces) = (results::Results::default(), traces::Traces::default());
        let reports = report::Reports::default();
        let site = Site { token, runs: runs::Runs::new(watched), results, reports, traces };
        Ok(Self { listener, site: Arc::new(site) })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Where the page is, the token included.
    pub(crate) fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}/{}/", self.address()?, self.site.token))
    }

    /// Serves until the future is dropped.
    pub(crate) async fn serve(self) -> Infallible {
        let mut open: VecDeque<Connection> = VecDeque::new();
        loop {
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of file descriptors, most likely: wait for some to be closed.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            open.retain(|connection| !connection.task.is_finished());
            if open.len() >= CONNECTIONS {
                // Who says nothing, or does not know the token, must not keep viewers out.
                let stranger = open.iter().position(|it| !it.is_viewer.load(Ordering::Relaxed));
                if let Some(oldest) = open.remove(stranger.unwrap_or(0)) {
                    oldest.task.abort();
                }
            }
            let site = Arc::clone(&self.site);
            let is_viewer = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&is_viewer);
            let task = tokio::spawn(async move {
                let service = service_fn(move |request| {
                    let (site, seen) = (Arc::clone(&site), Arc::clone(&seen));
                    async move {
                        let answer = http::answer(&site, &request).await;
                        seen.fetch_or(answer.status() != StatusCode::FORBIDDEN, Ordering::Relaxed);
                        Ok::<_, Infallible>(answer)
                    }
                });
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .serve_connection(TokioIo::new(stream), service);
                // A broken connection is the viewer's affair.
                let _ = serving.await;
            });
            open.push_back(Connection { task: task.abort_handle(), is_viewer });
        }
    }
}
