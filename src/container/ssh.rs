//! An engine on another machine, reached as the `docker` command does: `ssh HOST docker system dial-stdio` connects its
//! standard streams to the engine's socket there.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker};
use hyper::Uri;
use hyper_util::client::legacy::{Client, connect};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tower_service::Service;

/// A login takes a second or so: a connection that is not needed waits this long for its next use.
const KEPT: Duration = Duration::from_secs(30);

/// A client whose connections are ssh processes. Nothing is connected yet.
pub(super) fn client(host: &str, timeout_seconds: u64) -> Result<Docker, bollard::errors::Error> {
    let arguments = arguments(host)
        .ok_or_else(|| bollard::errors::Error::UnsupportedURISchemeError { uri: host.to_owned() })?;
    let pool: Client<Dialer, _> = Client::builder(TokioExecutor::new())
        .pool_idle_timeout(KEPT)
        .pool_timer(hyper_util::rt::TokioTimer::new())
        .build(Dialer { arguments: arguments.into() });
    let send = move |request: BollardRequest| {
        let answer = pool.request(request);
        async move { answer.await.map_err(bollard::errors::Error::from) }
    };
    // The name goes into a header that no engine reads.
    Docker::connect_with_custom_transport(send, Some("http://docker"), timeout_seconds, API_DEFAULT_VERSION)
}

/// What ssh is told for `ssh://[user@]host[:port][/path of the socket there]`. None: it names no host.
fn arguments(url: &str) -> Option<Vec<String>> {
    let rest = url.strip_prefix("ssh://")?;
    let (place, socket) = rest.split_once('/').map_or((rest, ""), |(place, path)| (place, path));
    let (user, place) = place.rsplit_once('@').map_or((None, place), |(user, place)| (Some(user), place));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
        _ => (place, None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() || host.starts_with('-') || user.is_some_and(|user| user.contains(':')) {
        return None;
    }
    // Nobody is there to answer a question.
    let mut words = vec!["-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-T"];
    for (option, value) in [("-l", user), ("-p", port)] {
        words.extend(value.into_iter().flat_map(|value| [option, value]));
    }
    words.extend(["--", host, "docker"]);
    let there = format!("unix:///{socket}");
    if !socket.is_empty() {
        words.extend(["--host", &there]);
    }
    words.extend(["system", "dial-stdio"]);
    Some(words.into_iter().map(str::to_owned).collect())
}

/// Starts one ssh per connection.
#[derive(Clone)]
struct Dialer {
    arguments: Arc<[String]>,
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<SshLine>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<TokioIo<SshLine>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(SshLine::open(&self.arguments).map(TokioIo::new))
    }
}

/// One connection: the streams of an ssh, which ends with it.
struct SshLine {
    to: ChildStdin,
    from: ChildStdout,
    /// Whether a request has been sent. Until then nothing is read, so that an ssh that ends at once fails the
    /// request that waits for it, with what ssh said, and not an idle connection that nobody asks.
    asked: bool,
    answered: bool,
    /// Who waits to read until a request has been sent.
    reader: Option<Waker>,
    /// The last line that ssh said.
    complaint: JoinHandle<String>,
    /// The same, once it is known.
    complained: Option<String>,
    _ssh: Child,
}

impl SshLine {
    fn open(arguments: &[String]) -> io::Result<Self> {
        let mut ssh = Command::new("ssh")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A Ctrl-C at the terminal is for the runner, which still needs the engine to stop what runs there.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot start `ssh`: {error}")))?;
        let streams = (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take());
        let (Some(to), Some(from), Some(said)) = streams else {
            return Err(io::Error::other("ssh has no standard streams"));
        };
        Ok(Self {
            to,
            from,
            asked: false,
            answered: false,
            reader: None,
            complaint: tokio::spawn(last_line(said)),
            complained: None,
            _ssh: ssh,
        })
    }

    /// Why an ssh ended that never brought an answer.
    fn poll_complaint(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let why = match &self.complained {
            Some(why) => why,
            None => {
                let said = ready!(Pin::new(&mut self.complaint).poll(context));
                self.complained.insert(said.unwrap_or_else(|error| error.to_string()))
            }
        };
        let message = format!("ssh ended before the engine answered: {why}");
        Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, message))
    }

    /// The result of a write, or why there is nobody to write to.
    fn written<T>(&mut self, result: io::Result<T>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        match result {
            Err(_) if !self.answered => self.poll_complaint(context).map(Err),
            result => Poll::Ready(result),
        }
    }
}

async fn last_line(said: ChildStderr) -> String {
    let mut lines = BufReader::new(said).lines();
    let mut last = "it said nothing".to_owned();
    while let Ok(Some(line)) = lines.next_line().await {
        if !line.trim().is_empty() {
            line.trim().clone_into(&mut last);
        }
    }
    last
}

impl connect::Connection for SshLine {
    fn connected(&self) -> connect::Connected {
        connect::Connected::new()
    }
}

impl AsyncRead for SshLine {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.from).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.answered = true;
        } else if !self.answered {
            return self.poll_complaint(context).map(Err);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SshLine {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        let result = ready!(Pin::new(&mut self.to).poll_write(context, bytes));
        self.written(result, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.to).poll_flush(context));
        self.written(result, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.to).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<&str>) {
        let words = arguments(url).map(|words| words.join(" "));
        let expected = expected.map(|rest| format!("-o BatchMode=yes -o ConnectTimeout=30 -T {rest}"));
        assert_eq!(words, expected, "{url}");
    }

    #[test]
    fn an_address_becomes_the_arguments_of_ssh() {
        check("ssh://far", Some("-- far docker system dial-stdio"));
        check("ssh://me@far:2222", Some("-l me -p 2222 -- far docker system dial-stdio"));
        check("ssh://me@[::1]:22", Some("-l me -p 22 -- ::1 docker system dial-stdio"));
        check("ssh://far/run/d.sock", Some("-- far docker --host unix:///run/d.sock system dial-stdio"));
        check("ssh://", None);
        check("ssh://-oProxyCommand=x", None);
        check("ssh://me:secret@far", None);
        check("tcp://far", None);
    }
}
