//! The loop that fetches traces by their ids, from whichever service. Many requests are in flight, at an adaptive
//! pace. Complete traces are stored at once. The others are asked for again until a deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::pace::{Pace, back_off};
use super::retrieval::{Partial, Retrieval};

/// Asks services by HTTPS, or by HTTP where an endpoint says so.
pub(super) type HttpsClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// A client that trusts what this machine trusts; else why there is none.
pub(super) fn https_client<B: Body + Send>() -> Result<HttpsClient<B>, String>
where
    B::Data: Send,
{
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| format!("cannot read this machine's certificates: {error}"))?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

const REQUESTS_IN_FLIGHT: usize = 64;
/// Between asking for the same traces again: doubled from the first to the last.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LAST_DELAY: Duration = Duration::from_secs(15);
/// Tries of one request in a round. Throttled ones count only where nothing is answered at all.
const TRIES: u32 = 4;
/// So often may every request fail without an answer until the service counts as unreachable.
const SILENT_ROUNDS: u32 = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchProgress {
    pub expected: usize,
    /// Complete so far.
    pub complete: usize,
    /// How often the remaining ones have been asked for.
    pub rounds: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{service} refused the request: {reason} (check {check})")]
    Refused { service: &'static str, reason: String, check: &'static str },
    #[error("{service} cannot be reached: {reason} (check credentials, region and network)")]
    Unreachable { service: &'static str, reason: String },
    #[error(
        "{service} answered nothing but that it is asked too much: {reason} (try again later, with fewer trials at once)"
    )]
    Throttled { service: &'static str, reason: String },
    #[error("cannot write `{}`: {source} (check that the folder exists and has room)", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// A service that keeps traces.
pub(super) struct Service {
    pub(super) name: &'static str,
    /// What a refusal may come from.
    pub(super) check: &'static str,
    /// Why a trace may be missing.
    pub(super) unknown: &'static str,
    pub(super) ids_per_request: usize,
    /// How long a trace of which nothing is there may still come, from the first request for it. None: until the deadline.
    pub(super) absent_for: Option<Duration>,
}

/// A trace as it is written.
pub(super) struct Fetched {
    pub(super) id: String,
    /// One line of JSON.
    pub(super) text: String,
    /// Why it is not complete.
    pub(super) defect: Option<String>,
}

/// Why a request has no answer.
pub(super) enum Failure {
    /// Asking again would not help.
    Refused(String),
    /// The service is there, but cannot answer now.
    Busy(String),
    /// The service was asked too much too fast; and how long it wants to be left alone, where it says so.
    Throttled(String, Option<Duration>),
    /// No answer at all.
    Silence(String),
}

/// Fetches traces with `fetch` and writes them to `out`, one per line, sorted by id, all or nothing, with a report
/// beside them. What an earlier call has stored beside `out` before it was killed is not fetched again.
///
/// Traces that are absent or not complete are asked for again until `deadline` has passed since the call; what is there
/// by then is written. The first round is never cut short: however many traces there are, each is asked for.
pub(super) async fn collect<F: Future<Output = Result<Vec<Fetched>, Failure>>>(
    service: &Service,
    (source, trace_ids): (&str, &[String]),
    deadline: Duration,
    out: &Path,
    fetch: impl Fn(Vec<String>) -> F,
    progress: &(dyn Fn(FetchProgress) + Send + Sync),
) -> Result<Retrieval, FetchError> {
    let unwritable = |source| FetchError::Write { path: out.to_owned(), source };
    let until = Instant::now() + deadline;
    let all: BTreeSet<&str> = trace_ids.iter().map(String::as_str).collect();
    let mut partial = Partial::open(out).map_err(unwritable)?;
    let pace = Pace::new();
    let asked =
        ask_for(service, &all, &mut partial, &pace, until, &fetch, progress).await?.map_err(unwritable)?;
    let (requests, throttled) = pace.counts();
    let mut report = Retrieval {
        version: 1,
        source: source.to_owned(),
        expected: all.len(),
        by_time: 0,
        linked: 0,
        found: 0,
        incomplete: asked.incomplete,
        missing: asked.missing,
        resumed: asked.resumed,
        requests,
        throttled,
    };
    report.found = partial.finish(&|id| all.contains(id)).map_err(unwritable)?;
    report.write(out).map_err(unwritable)?;
    Ok(report)
}

/// What asking for traces has come to.
pub(super) struct Asked {
    /// What is not complete, and why.
    pub(super) incomplete: BTreeMap<String, String>,
    /// What is not there, and why.
    pub(super) missing: BTreeMap<String, String>,
    /// How many were stored, complete, before.
    pub(super) resumed: usize,
}

/// Asks for traces until all are stored and complete, or until a time; each at least once. An error within is one of the file.
pub(super) async fn ask_for<F: Future<Output = Result<Vec<Fetched>, Failure>>>(
    service: &Service,
    all: &BTreeSet<&str>,
    partial: &mut Partial,
    pace: &Pace,
    until: Instant,
    fetch: &impl Fn(Vec<String>) -> F,
    progress: &(dyn Fn(FetchProgress) + Send + Sync),
) -> Result<io::Result<Asked>, FetchError> {
    let begun = Instant::now();
    let expected = all.len();
    let mut pending: BTreeSet<&str> = all.iter().copied().filter(|id| !partial.is_complete(id)).collect();
    let resumed = expected - pending.len();
    let mut incomplete: BTreeMap<String, String> = BTreeMap::new();
    let mut delay = FIRST_DELAY;
    // Whether anything, and whether traces, were answered since the call.
    let (mut answered, mut heard) = (false, false);
    let mut trouble: Option<Failure> = None;
    let mut rounds = 0;
    while !pending.is_empty() {
        let ids: Vec<String> = pending.iter().map(|&id| id.to_owned()).collect();
        let batches: Vec<Vec<String>> = ids.chunks(service.ids_per_request).map(<[String]>::to_vec).collect();
        let mut answers = futures_util::stream::iter(batches)
            .map(|batch| ask(batch, fetch, pace, until))
            .buffer_unordered(REQUESTS_IN_FLIGHT);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(traces) => {
                    (answered, heard) = (true, true);
                    for trace in traces {
                        // A service that gives what was not asked for gives nothing of this invocation.
                        let Some(&id) = pending.get(&*trace.id) else { continue };
                        if let Err(error) = partial.put(id, trace.defect.is_none(), trace.text.as_bytes()) {
                            return Ok(Err(error));
                        }
                        match trace.defect {
                            None => {
                                pending.remove(id);
                                incomplete.remove(id);
                            }
                            Some(defect) => {
                                incomplete.insert(id.to_owned(), defect);
                            }
                        }
                    }
                }
                Err(Failure::Refused(reason)) => {
                    return Err(FetchError::Refused { service: service.name, reason, check: service.check });
                }
                Err(failure) => {
                    answered |= !matches!(failure, Failure::Silence(_));
                    trouble = Some(failure);
                }
            }
            progress(FetchProgress { expected, complete: expected - pending.len(), rounds });
        }
        rounds += 1;
        progress(FetchProgress { expected, complete: expected - pending.len(), rounds });
        let left = until.saturating_duration_since(Instant::now());
        if let Some(Failure::Silence(reason)) = &trouble
            && !answered
            && (rounds >= SILENT_ROUNDS || left.is_zero())
        {
            return Err(FetchError::Unreachable { service: service.name, reason: reason.clone() });
        }
        let are_lost = heard
            && service.absent_for.is_some_and(|patience| begun.elapsed() >= patience)
            && pending.iter().all(|id| !partial.contains(id));
        if pending.is_empty() || left.is_zero() || are_lost {
            break;
        }
        tokio::time::sleep(delay.min(left)).await;
        delay = (delay * 2).min(LAST_DELAY);
    }
    let why = match trouble {
        Some(Failure::Throttled(reason, _)) if !heard => {
            return Err(FetchError::Throttled { service: service.name, reason });
        }
        Some(Failure::Busy(reason)) if !heard => format!("{} failed: {reason}", service.name),
        _ => service.unknown.to_owned(),
    };
    for &id in &pending {
        if partial.contains(id) && !incomplete.contains_key(id) {
            incomplete.insert(id.to_owned(), "it was not complete before an interruption".to_owned());
        }
    }
    let missing = pending.iter().filter(|id| !partial.contains(id));
    let missing = missing.map(|&id| (id.to_owned(), why.clone())).collect();
    Ok(Ok(Asked { incomplete, missing, resumed }))
}

/// Asks for something, again after failures that may pass.
pub(super) async fn ask<B: Clone, R, F: Future<Output = Result<R, Failure>>>(
    what: B,
    fetch: &impl Fn(B) -> F,
    pace: &Pace,
    until: Instant,
) -> Result<R, Failure> {
    let mut tries = 0;
    loop {
        pace.turn().await;
        tries += 1;
        let failure = match fetch(what.clone()).await {
            Ok(answer) => {
                pace.answered();
                return Ok(answer);
            }
            Err(failure) => failure,
        };
        let mut pause = back_off(tries);
        match &failure {
            Failure::Refused(_) => return Err(failure),
            Failure::Throttled(_, wanted) => {
                pace.throttled();
                pause = pause.max(wanted.unwrap_or_default());
                if tries >= TRIES && Instant::now() + pause >= until {
                    return Err(failure);
                }
            }
            Failure::Busy(_) | Failure::Silence(_) if tries >= TRIES => return Err(failure),
            Failure::Busy(_) | Failure::Silence(_) => {}
        }
        tokio::time::sleep(pause).await;
    }
}
