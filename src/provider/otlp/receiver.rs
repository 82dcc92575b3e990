//! The receiver's body: from a socket to a durable file, until a signal ends it.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::{Request, StatusCode};
use rand::RngExt as _;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use super::{Receiver, daemon, spans_file};
use sb_analysis::otlp_json_of_protobuf;
use sb_daemon::http::{self, Answer};
use sb_daemon::otlp::{self, Encoding, Export};
use sb_daemon::{DaemonError, Journal, Lifetime, Signals, detach};

/// The first argument that makes `sb` the receiver; the second is the state folder.
pub const SERVE: &str = "internal-otlp";

/// The most bytes of a request, compressed or not: as many as OpenTelemetry's own Collector takes.
const LONGEST: usize = 20 << 20;
/// Requests that wait for the disk; others wait for their turn.
const WAITING: usize = 64;
/// How long open connections may take to finish after a stop.
const DRAIN: Duration = Duration::from_secs(5);

/// A line, and who waits for it to be safe.
type Order = (Vec<u8>, oneshot::Sender<io::Result<()>>);

/// Runs the receiver of a state folder until SIGTERM or SIGINT.
pub async fn serve(state_dir: &Path) -> Result<(), DaemonError> {
    detach();
    let daemon = daemon(state_dir);
    let journal = daemon.journal()?;
    let _lock = daemon.lock()?;
    let mut signals = Signals::new()?;
    let earlier: Option<Receiver> = daemon.last();
    let earlier = earlier.as_ref().and_then(|receiver| receiver.endpoint.rsplit_once('/'));
    let listener = http::listen(earlier.map(|(address, _)| address)).await.map_err(DaemonError::Listen)?;
    let address = listener.local_addr().map_err(DaemonError::Listen)?;
    // Containers send as users of their own, so the user of a connection tells nothing: whoever knows the address may send.
    let token = earlier
        .map_or_else(|| format!("{:032x}", rand::rng().random::<u128>()), |(_, token)| token.to_owned());
    let endpoint = format!("http://{address}/{token}");
    let path = spans_file(state_dir);
    let spans = open(&path).map_err(DaemonError::io("write", &path))?;
    let (orders, inbox) = mpsc::channel(WAITING);
    let notes = journal.clone();
    let writer = std::thread::spawn(move || write(spans, inbox, &notes));

    let (lifetime, mut stopper) = Lifetime::new();
    tokio::spawn(http::serve(listener, lifetime.clone(), move |request| {
        let (orders, token) = (orders.clone(), token.clone());
        async move { answer(request, &token, &orders).await }
    }));
    let receiver = Receiver { endpoint: endpoint.clone(), pid: std::process::id() };
    daemon.write(daemon.ready_file(), &receiver)?;
    journal.note(&format!("ready: {endpoint}"));
    let received = signals.received().await;
    journal.note(&format!("{received}: stopping"));
    stopper.stop();
    drop(lifetime);
    stopper.drained(DRAIN).await;
    let _ = fs::remove_file(daemon.ready_file());
    if writer.is_finished() {
        journal.note("stopped");
    } else {
        journal.note("stopped; some requests were not finished");
    }
    Ok(())
}

/// What a machine that stopped has left of a line becomes a line of its own.
fn open(path: &Path) -> io::Result<File> {
    let mut file = sb_durable::private().read(true).append(true).create(true).open(path)?;
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Appends what is ordered until nobody can order any more; what has arrived together is synced together.
fn write(mut file: File, mut inbox: mpsc::Receiver<Order>, journal: &Journal) {
    while let Some(first) = inbox.blocking_recv() {
        let mut waiting = Vec::new();
        let mut next = Some(first);
        let length = file.metadata().map(|data| data.len());
        let mut written = Ok(());
        while let Some((line, reply)) = next {
            written = written.and_then(|()| file.write_all(&line));
            waiting.push(reply);
            next = if waiting.len() < WAITING { inbox.try_recv().ok() } else { None };
        }
        let written = written.and_then(|()| file.sync_data());
        if let Err(error) = &written {
            journal.note(&format!("spans cannot be written: {error}"));
            // A line that was cut off would take the next one with it.
            if let Ok(length) = length {
                let _ = file.set_len(length);
            }
        }
        for reply in waiting {
            let told = match &written {
                Ok(()) => Ok(()),
                Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
            };
            // Who has hung up sends it again.
            let _ = reply.send(told);
        }
    }
}

async fn answer(request: Request<Incoming>, token: &str, orders: &mpsc::Sender<Order>) -> Answer {
    let Export { spans, encoding } = match otlp::receive(request, token, LONGEST).await {
        Ok(export) => export,
        Err(refusal) => return refusal,
    };
    if let Some(spans) = spans {
        let line = match to_line(spans, encoding) {
            Ok(line) => line,
            Err(reason) => return otlp::refusal(StatusCode::BAD_REQUEST, &reason),
        };
        let (reply, safe) = oneshot::channel();
        let stored = match orders.send((line, reply)).await {
            Ok(()) => safe.await.is_ok_and(|written| written.is_ok()),
            Err(_) => false,
        };
        if !stored {
            // Exporters try again after this one.
            let message = "the spans cannot be stored; see runtime.log";
            return otlp::refusal(StatusCode::SERVICE_UNAVAILABLE, message);
        }
    }
    otlp::accepted(encoding, None)
}

/// A request as one line of JSON.
fn to_line(body: Bytes, encoding: Encoding) -> Result<Vec<u8>, String> {
    let export = match encoding {
        Encoding::Json => on_one_line(&body)?,
        Encoding::Protobuf => otlp_json_of_protobuf(body).map_err(|error| error.to_string())?,
    };
    let mut line = export.into_bytes();
    line.push(b'\n');
    Ok(line)
}

/// A request in JSON without the space between its tokens. It is checked, and never held as values: millions of empty ones fit into
/// a few bytes.
fn on_one_line(body: &[u8]) -> Result<String, String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Export<'a> {
        #[serde(borrow)]
        resource_spans: Option<&'a RawValue>,
    }
    let text = std::str::from_utf8(body).map_err(|error| format!("not JSON: {error}"))?;
    let export: Export<'_> = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    if !export.resource_spans.is_some_and(|spans| spans.get().starts_with('[')) {
        return Err("there is no list `resourceSpans`".to_owned());
    }
    let mut line = String::with_capacity(text.len() + 1);
    let (mut in_text, mut escaped) = (false, false);
    for letter in text.chars() {
        if in_text {
            in_text = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if letter.is_ascii_whitespace() {
            continue;
        } else {
            in_text = letter == '"';
        }
        line.push(letter);
    }
    Ok(line)
}
