//! Loads against real sockets on the loopback interface.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicUsize;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use sb_measurement::{INVOCATIONS_FILE, Invocation, InvocationReader, Outcome, SUMMARY_FILE};
use sb_workload::template::Template;
use sb_workload::{Body, Expect, LoadShape, Request, Stage};

/// A request as it arrived: path and query, headers, body.
pub(super) type Arrived = (String, HashMap<String, String>, String);

/// What a test server saw.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) connections: AtomicUsize,
    requests: Mutex<Vec<Arrived>>,
}

impl Seen {
    pub(super) fn requests(&self) -> Vec<Arrived> {
        self.requests.lock().clone()
    }
}

/// An HTTP server that answers `200`, or the status that ends the path, after what `delay` says.
/// It ends with the test's runtime.
pub(super) async fn http_server(
    delay: impl Fn() -> Duration + Clone + Send + Sync + 'static,
) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            shared.connections.fetch_add(1, Ordering::Relaxed);
            let (seen, delay) = (Arc::clone(&shared), delay.clone());
            tokio::spawn(serve(stream, seen, delay));
        }
    });
    (address, seen)
}

/// Serves one connection, HTTP/1 or HTTP/2. Each answer has the number of the request in its body, as the name of a
/// place, and in a cookie.
pub(super) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    seen: Arc<Seen>,
    delay: impl Fn() -> Duration + Clone + Send + Sync + 'static,
) {
    let service = service_fn(move |request: HttpRequest<Incoming>| {
        let (seen, delay) = (Arc::clone(&seen), delay.clone());
        async move {
            let path = request.uri().path_and_query().map_or("", |path| path.as_str()).to_owned();
            let headers = request
                .headers()
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_str().unwrap().to_owned()))
                .collect();
            let body = request.into_body().collect().await?.to_bytes();
            let body = String::from_utf8(body.to_vec()).unwrap();
            let status = path.rsplit('/').next().and_then(|last| last.parse().ok()).unwrap_or(200);
            let number = {
                let mut requests = seen.requests.lock();
                requests.push((path, headers, body));
                requests.len()
            };
            tokio::time::sleep(delay()).await;
            let answer = json!({ "answer": number, "items": [{ "id": format!("id {number}") }] });
            let response = Response::builder()
                .status(status)
                .header("location", format!("/place/{number}"))
                .header("set-cookie", format!("session={number}; Path=/"));
            Ok::<_, hyper::Error>(response.body(Full::new(Bytes::from(answer.to_string()))).unwrap())
        }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

/// A server that treats every connection as `behave` says.
pub(super) async fn raw_server<F>(behave: fn(TcpStream) -> F) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                behave(stream).await;
            });
        }
    });
    address
}

pub(super) fn request(name: &str, url: &str) -> Request {
    Request {
        name: name.to_owned(),
        weight: 1.0,
        method: "GET".to_owned(),
        url: Template::parse(url).unwrap(),
        headers: vec![],
        body: Body::Empty,
        expect: Expect::default(),
        timeout: None,
        extract: vec![],
    }
}

pub(super) fn constant(rate: f64, seconds: f64) -> LoadShape {
    LoadShape::Constant { rate, duration: Duration::from_secs_f64(seconds) }
}

pub(super) struct Trial {
    pub(super) folder: TempDir,
    pub(super) spec: LoadSpec,
}

impl Trial {
    pub(super) fn new(requests: Vec<Request>, shape: LoadShape) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spec = LoadSpec {
            function_logs: None,
            locks: vec![],
            workload: Workload { requests, timeout: Duration::from_secs(10), ..Workload::default() },
            load: Load::new(shape),
            folder: folder.path().to_owned(),
            root: None,
            seed: 7,
            values: json!({}),
            secrets: vec![],
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
        };
        Self { folder, spec }
    }

    pub(super) async fn run(&self) -> LoadSummary {
        run(self.spec.clone(), |_| {}, CancellationToken::new()).await.unwrap()
    }

    pub(super) fn rows(&self) -> Vec<Invocation> {
        rows(self.folder.path())
    }

    /// The rows of k6_metrics.csv: column name to value.
    pub(super) fn k6_rows(&self) -> Vec<BTreeMap<String, String>> {
        let mut csv = csv::Reader::from_path(self.folder.path().join("k6_metrics.csv")).unwrap();
        csv.deserialize().map(Result::unwrap).collect()
    }
}

pub(super) fn rows(folder: &Path) -> Vec<Invocation> {
    let file = fs::File::open(folder.join(INVOCATIONS_FILE)).unwrap();
    let reader = InvocationReader::new(file).unwrap();
    assert_eq!(reader.cut_off(), None);
    reader.map(Result::unwrap).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constant_load_sends_every_invocation_once_at_its_time() {
    let (address, seen) = http_server(|| Duration::ZERO).await;
    let trial = Trial::new(vec![request("get", &format!("http://{address}/a"))], constant(200.0, 1.0));
    let summary = trial.run().await;
    assert_eq!(
        (summary.planned, summary.sent, summary.answered, summary.failed, summary.dropped),
        (Some(200), 200, 200, 0, 0)
    );
    assert_eq!(summary.outcomes, BTreeMap::from([(Outcome::Ok, 200)]));
    assert!(summary.invalid.is_empty() && !summary.cancelled);

    let rows = trial.rows();
    assert_eq!(rows.iter().map(|row| row.invocation).collect::<HashSet<_>>(), (1..=200).collect());
    let first = rows.iter().map(|row| row.planned.unwrap().micros()).min().unwrap();
    for row in &rows {
        let offset = row.planned.unwrap().micros() - first;
        let expected = (i64::try_from(row.invocation).unwrap() - 1) * 5_000;
        assert!((offset - expected).abs() <= 1, "invocation {} is planned at {offset} µs", row.invocation);
        assert!(row.sent >= row.planned, "sent early");
        assert_eq!((row.status, row.outcome), (Some(200), Outcome::Ok));
    }
    // Generous, since other tests share the processor; how exact the pacer is has a test of its own.
    let lateness = summary.lateness_ms.unwrap();
    assert!(lateness.p50 < 20.0, "{lateness:?}");

    let sent: HashSet<String> =
        rows.into_iter().map(|row| format!("Root={};Sampled=1", row.trace_id)).collect();
    let arrived: HashSet<String> =
        seen.requests().into_iter().map(|(_, headers, _)| headers["x-amzn-trace-id"].clone()).collect();
    assert_eq!(sent.len(), 200);
    assert_eq!(sent, arrived);
    // An answer takes a fraction of the 5 ms between requests: connections are used again.
    assert!(seen.connections.load(Ordering::Relaxed) < 100, "{:?} connections", seen.connections);
}

/// A server that answers nothing from 0.5 s to 2.5 s after its start: what was due meanwhile, at t, is answered after
/// 2.5 s − t, and a hundred per second are due. Latencies from the planned time must show that, whatever the load generator did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_two_seconds_shows_in_the_latencies_from_planned_time_as_theory_says() {
    let now = || i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
    let begin = now() + 500_000;
    let end = begin + 2_000_000;
    let delay = move || {
        let now = now();
        if (begin..end).contains(&now) { Duration::from_micros((end - now) as u64) } else { Duration::ZERO }
    };
    let (address, _) = http_server(delay).await;
    let trial = Trial::new(vec![request("get", &format!("http://{address}/"))], constant(100.0, 3.0));
    let summary = trial.run().await;
    assert_eq!((summary.sent, summary.answered), (300, 300));

    let rows = trial.rows();
    let stalled: Vec<&Invocation> =
        rows.iter().filter(|row| (begin..end).contains(&row.planned.unwrap().micros())).collect();
    assert!((199..=201).contains(&stalled.len()), "{} were due meanwhile", stalled.len());
    let mut by_theory = 0;
    let mut found = 0;
    for row in &stalled {
        let expected = end - row.planned.unwrap().micros();
        let latency = row.latency_from_planned_micros().unwrap();
        // Whatever another process did to this one can only add to it.
        assert!(latency >= expected - 1000, "{latency} instead of {expected}");
        by_theory += expected;
        found += latency;
    }
    assert!((by_theory / 200 - 1_000_000).abs() < 20_000, "a second on average: {by_theory}");
    assert!(found < by_theory * 3 / 2, "{found} for {by_theory}");
    // Two thirds of the load: its median lies half a second above the shortest third.
    let from_planned = summary.latency_from_planned_ms.unwrap();
    assert!(from_planned.max >= 1980.0 && from_planned.p50 >= 480.0, "{from_planned:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_counted_by_kind() {
    async fn check(url: String, outcome: Outcome, status: Option<u16>) {
        let mut trial = Trial::new(vec![request("get", &url)], constant(50.0, 0.1));
        trial.spec.workload.timeout = Duration::from_secs(1);
        let summary = trial.run().await;
        assert_eq!(summary.outcomes, BTreeMap::from([(outcome, 5)]), "{url}");
        let answered = if outcome == Outcome::FailedCheck { 5 } else { 0 };
        let sent = if matches!(outcome, Outcome::Refused | Outcome::Dns | Outcome::Tls) { 0 } else { 5 };
        assert_eq!((summary.sent, summary.not_sent, summary.failed), (sent, 5 - sent, 5), "{url}");
        assert_eq!(summary.answered, answered, "{url}");
        assert_eq!(summary.invalid.len(), 1, "{:?}", summary.invalid);
        for row in trial.rows() {
            assert_eq!(
                (row.outcome, row.status, row.sent.is_some(), row.answered.is_some()),
                (outcome, status, sent > 0, answered > 0),
                "{url}"
            );
        }
        let failed: Vec<_> =
            trial.k6_rows().into_iter().filter(|row| row["metric_name"] == "http_req_failed").collect();
        assert_eq!(failed.len(), 5);
        for row in failed {
            assert_eq!(
                (row["metric_value"].as_str(), row["expected_response"].as_str()),
                ("1.000000", "false")
            );
            assert_eq!(row["error"].is_empty(), outcome == Outcome::FailedCheck);
        }
    }

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check(format!("http://{nobody}/"), Outcome::Refused, None).await;

    let (address, _) = http_server(|| Duration::ZERO).await;
    check(format!("http://{address}/500"), Outcome::FailedCheck, Some(500)).await;
    check(format!("https://{address}/"), Outcome::Tls, None).await;

    let closing = raw_server(|stream| async move { drop(stream) }).await;
    check(format!("http://{closing}/"), Outcome::Reset, None).await;

    let half = raw_server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    })
    .await;
    check(format!("http://{half}/"), Outcome::Reset, Some(200)).await;

    let garbage = raw_server(|mut stream| async move {
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    check(format!("http://{garbage}/"), Outcome::Protocol, None).await;

    let endless = raw_server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x-again: and again\r\n").await.is_ok() {}
    })
    .await;
    check(format!("http://{endless}/"), Outcome::Protocol, None).await;

    let resets = raw_server(|stream| async move {
        // With bytes unread and no time to linger, closing is a reset.
        stream.set_zero_linger().unwrap();
        drop(stream);
    })
    .await;
    check(format!("http://{resets}/"), Outcome::Reset, None).await;

    let trickles = raw_server(|mut stream| async move {
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n".iter().chain(std::iter::repeat(&b'x'))
        {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    check(format!("http://{trickles}/"), Outcome::Timeout, Some(200)).await;

    let silent = raw_server(|stream| async move {
        tokio::time::sleep(Duration::from_secs(30)).await;
        drop(stream);
    })
    .await;
    check(format!("http://{silent}/"), Outcome::Timeout, None).await;

    let stuck = raw_server(|mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        tokio::time::sleep(Duration::from_secs(30)).await;
    })
    .await;
    check(format!("http://{stuck}/"), Outcome::Timeout, Some(200)).await;

    // No label may be that long, so the resolver refuses it without asking anyone.
    check(format!("http://{}.invalid/", "a".repeat(64)), Outcome::Dns, None).await;
}

/// The kernel keeps as many connections as a listener accepts, and leaves others without an answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_connection_never_opens_was_not_sent() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _fills_the_queue = TcpStream::connect(address).await.unwrap();
    let mut trial = Trial::new(vec![request("get", &format!("http://{address}/"))], constant(50.0, 0.1));
    trial.spec.workload.timeout = Duration::from_millis(500);
    let mut last = None;
    let summary =
        run(trial.spec.clone(), |progress| last = Some(progress), CancellationToken::new()).await.unwrap();
    assert_eq!(summary.outcomes, BTreeMap::from([(Outcome::Timeout, 5)]));
    assert_eq!((summary.sent, summary.not_sent, summary.failed), (0, 5, 5));
    assert!(trial.rows().iter().all(|row| row.sent.is_none()));
    assert_eq!(last.unwrap().sent, 0, "what is seen live agrees");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_check_names_the_status() {
    let (address, _) = http_server(|| Duration::ZERO).await;
    let requests = ["500", "502", "200"].map(|path| request(path, &format!("http://{address}/{path}")));
    let summary = Trial::new(requests.to_vec(), constant(100.0, 0.5)).run().await;
    let [bad, worse] = [500, 502].map(|status| summary.failed_statuses[&status]);
    let expected = format!("failed_check {}: HTTP 500 ×{bad}, HTTP 502 ×{worse}", bad + worse);
    assert_eq!(summary.outcome_text(Outcome::is_failure), expected);
    assert!(summary.invalid[0].contains(&expected), "{:?}", summary.invalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_check_of_a_body_says_which() {
    let (address, _) = http_server(|| Duration::ZERO).await;
    let mut wanting = request("get", &format!("http://{address}/200"));
    wanting.expect.contains = Some("zzz".to_owned());
    let summary = Trial::new(vec![wanting], LoadShape::Iterations { iterations: 2 }).run().await;
    let expected = "failed_check 2: HTTP 200 ×2 (the body does not hold `zzz` ×2)";
    assert_eq!(summary.outcome_text(Outcome::is_failure), expected);
    assert!(summary.invalid[0].contains(expected), "{:?}", summary.invalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_check_names_the_status_that_was_expected() {
    let (address, _) = http_server(|| Duration::ZERO).await;
    let mut wanting = request("post", &format!("http://{address}/200"));
    wanting.expect.status = vec![201];
    let summary = Trial::new(vec![wanting], LoadShape::Iterations { iterations: 1 }).run().await;
    let expected = "failed_check 1: HTTP 200 ×1 (expected 201 ×1)";
    assert_eq!(summary.outcome_text(Outcome::is_failure), expected);
    assert!(summary.invalid[0].contains(expected), "{:?}", summary.invalid);
}

#[test]
fn reasons_without_end_are_not_kept() {
    let (mut all, mut one) = (record::Tally::new(), record::Tally::new());
    for number in 0..100 {
        one.add_failed_check(&format!("{number}"), 1);
    }
    all.add_failed_check("0", 2);
    all.collect(&mut one);
    assert_eq!(all.failed_checks().len(), 5);
    assert_eq!(all.failed_checks()["0"], 3);
    assert!(one.failed_checks().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (address, seen) = http_server(|| Duration::ZERO).await;
    let trial = Trial::new(
        vec![request("get", &format!("http://{address}/302"))],
        LoadShape::Iterations { iterations: 3 },
    );
    let summary = trial.run().await;
    assert_eq!(summary.outcomes, BTreeMap::from([(Outcome::Ok, 3)]));
    assert_eq!(seen.requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iterations_follow_each_other_on_one_connection() {
    let (address, seen) = http_server(|| Duration::from_millis(20)).await;
    let trial = Trial::new(
        vec![request("get", &format!("http://{address}/"))],
        LoadShape::Iterations { iterations: 10 },
    );
    let summary = trial.run().await;
    assert_eq!((summary.planned, summary.answered), (Some(10), 10));
    let rows = trial.rows();
    assert!(rows.windows(2).all(|pair| pair[1].sent >= pair[0].answered), "{rows:?}");
    assert_eq!(seen.connections.load(Ordering::Relaxed), 1);
    assert!(summary.latency_ms.unwrap().p50 >= 20.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ramp_played_faster_sends_all_in_less_time() {
    let (address, _) = http_server(|| Duration::ZERO).await;
    let stages = vec![Stage { target: 2.0, duration: Duration::from_mins(1) }];
    let mut trial = Trial::new(
        vec![request("get", &format!("http://{address}/"))],
        LoadShape::Stages { start_rate: 0.0, stages },
    );
    trial.spec.load.speed = 120.0;
    let summary = trial.run().await;
    assert_eq!((summary.planned, summary.answered), (Some(60), 60));
    let rows = trial.rows();
    let planned =
        |number: u64| rows.iter().find(|row| row.invocation == number).unwrap().planned.unwrap().micros();
    // Arrivals are √(60 n) s into the ramp, 120 times faster here: 64.5 ms and 500 ms.
    let between = planned(60) - planned(1);
    assert!((between - 435_450).abs() < 10, "{between}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn templates_and_files_make_the_requests_that_arrive() {
    let (address, seen) = http_server(|| Duration::ZERO).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "from a file").unwrap();
    let text = Body::Text { template: Template::parse(r#"{"n": {{request.number}}}"#).unwrap(), json: true };
    let mut first = Request {
        method: "POST".to_owned(),
        body: text,
        weight: 3.0,
        headers: vec![("X-Token".to_owned(), Template::parse("{{params.token}}").unwrap())],
        ..request("first", "{{outputs.endpoint}}/first/{{request.uuid}}?t={{params.token}}")
    };
    first.expect.status = vec![200];
    let second = Request {
        method: "PUT".to_owned(),
        body: Body::File(file.path().to_owned()),
        ..request("second", "{{outputs.endpoint}}/second")
    };
    let mut trial = Trial::new(vec![first, second], constant(400.0, 0.5));
    trial.spec.values = json!({ "outputs": { "endpoint": format!("http://{address}") }, "params": { "token": "t0p&secret" } });
    trial.spec.secrets = vec!["t0p&secret".to_owned()];
    trial.run().await;

    let seen = seen.requests();
    let firsts: Vec<_> = seen.iter().filter(|(path, ..)| path.starts_with("/first/")).collect();
    // 150 expected; five standard deviations are 31.
    assert!((119..=181).contains(&firsts.len()), "{}", firsts.len());
    assert_eq!(firsts.iter().map(|(path, ..)| path).collect::<HashSet<_>>().len(), firsts.len());
    assert!(firsts.iter().all(|(path, ..)| path.ends_with("?t=t0p%26secret")));
    assert!(firsts.iter().all(|(_, headers, _)| headers["x-token"] == "t0p&secret"));
    let numbers: HashSet<String> = trial
        .rows()
        .into_iter()
        .filter(|row| row.request == "first")
        .map(|row| format!("{{\"n\": {}}}", row.invocation))
        .collect();
    assert_eq!(firsts.iter().map(|(_, _, body)| body.clone()).collect::<HashSet<_>>(), numbers);
    assert!(seen.iter().any(|(path, _, body)| path == "/second" && body == "from a file"));

    for entry in fs::read_dir(trial.folder.path()).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains("t0p"), "the secret is in a result file");
    }
    assert!(trial.k6_rows().iter().any(|row| row["url"].ends_with("?t=***") && row["name"] == "first"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_metrics_of_k6_add_up() {
    let (address, _) = http_server(|| Duration::from_millis(30)).await;
    let trial = Trial::new(
        vec![request("get", &format!("http://{address}/a"))],
        LoadShape::Iterations { iterations: 4 },
    );
    trial.run().await;
    let k6 = trial.k6_rows();
    let by_trace: HashSet<String> = k6
        .iter()
        .filter(|row| row["metric_name"] == "http_req_duration")
        .map(|row| row["extra_tags"].replace("xray_header=Root=", ""))
        .collect();
    assert_eq!(
        by_trace,
        trial.rows().into_iter().map(|row| row.trace_id).collect(),
        "requests have their traces' ids"
    );
    let values = |metric: &str| -> Vec<f64> {
        k6.iter()
            .filter(|row| row["metric_name"] == metric)
            .map(|row| row["metric_value"].parse().unwrap())
            .collect()
    };
    assert_eq!(values("http_reqs"), [1.0; 4]);
    assert_eq!(values("iterations"), [1.0; 4]);
    assert_eq!(values("http_req_failed"), [0.0; 4]);
    let connecting = values("http_req_connecting");
    assert!(connecting[0] > 0.0 && connecting[1..] == [0.0; 3], "{connecting:?}");
    for index in 0..4 {
        let at = |metric: &str| values(metric)[index];
        let sum = at("http_req_sending") + at("http_req_waiting") + at("http_req_receiving");
        assert!((at("http_req_duration") - sum).abs() < 1e-5);
        assert!((at("iteration_duration") - sum - at("http_req_blocked")).abs() < 20.0);
        assert!(at("http_req_waiting") >= 29.0, "{}", at("http_req_waiting"));
        assert!(at("data_sent") > 50.0 && at("data_received") > 50.0);
    }
    let row = &k6[0];
    let url = format!("http://{address}/a");
    for (column, expected) in [
        ("method", "GET"),
        ("name", "get"),
        ("proto", "HTTP/1.1"),
        ("scenario", "benchmark_scenario"),
        ("status", "200"),
        ("expected_response", "true"),
        ("error_code", ""),
        ("url", &url),
    ] {
        assert_eq!(row[column], expected, "{column}");
    }
    assert_eq!(row["timestamp"], trial.rows()[0].answered.unwrap().seconds().to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invocations_beyond_the_limit_are_dropped_and_counted() {
    let (address, seen) = http_server(|| Duration::from_millis(1500)).await;
    let mut trial = Trial::new(vec![request("get", &format!("http://{address}/"))], constant(100.0, 0.2));
    trial.spec.max_in_flight = 5;
    trial.spec.load.tolerances.max_dropped = 0.1;
    let summary = trial.run().await;
    assert_eq!((summary.planned, summary.sent, summary.dropped, summary.failed), (Some(20), 5, 15, 0));
    assert_eq!(summary.outcomes, BTreeMap::from([(Outcome::Ok, 5), (Outcome::Dropped, 15)]));
    assert_eq!(summary.invalid.len(), 1);
    assert_eq!(seen.requests().len(), 5);
    let rows = trial.rows();
    assert_eq!(rows.iter().filter(|row| row.sent.is_none() && row.outcome == Outcome::Dropped).count(), 15);
    assert_eq!(trial.k6_rows().iter().filter(|row| row["metric_name"] == "dropped_iterations").count(), 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_stops_at_once_and_keeps_the_answers_that_still_come() {
    let (address, seen) = http_server(|| Duration::from_millis(300)).await;
    let trial = Trial::new(vec![request("get", &format!("http://{address}/"))], constant(50.0, 600.0));
    let cancel = CancellationToken::new();
    let mut reports = Vec::new();
    let stop = cancel.clone();
    let begin = Instant::now();
    let summary = run(
        trial.spec.clone(),
        |progress| {
            if progress.answered > 0 {
                stop.cancel();
            }
            reports.push(progress);
        },
        cancel,
    )
    .await
    .unwrap();
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert!(summary.cancelled);
    assert_eq!(summary.planned, Some(30_000));
    assert!(summary.sent > 5 && summary.sent < 2_000, "{summary:?}");
    assert_eq!(summary.answered, summary.sent, "answers within the grace period count");
    assert_eq!(seen.requests().len() as u64, summary.sent);
    assert_eq!(trial.rows().len() as u64, summary.sent);
    assert!(summary.invalid[0].starts_with("The load was cancelled after"));
    let last = reports.last().unwrap();
    assert_eq!((last.sent, last.answered, last.in_flight), (summary.sent, summary.answered, 0));
    assert!(last.p50_ms.unwrap() >= 300.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_gives_up_answers_that_do_not_come() {
    let (address, _) = http_server(|| Duration::from_mins(10)).await;
    let mut trial = Trial::new(vec![request("get", &format!("http://{address}/"))], constant(10.0, 600.0));
    trial.spec.workload.timeout = Duration::from_mins(10);
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    let begin = Instant::now();
    let summary = run(
        trial.spec.clone(),
        |progress| {
            if progress.sent > 2 {
                stop.cancel();
            }
        },
        cancel,
    )
    .await
    .unwrap();
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(summary.outcomes, BTreeMap::from([(Outcome::Cancelled, summary.sent)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_load_stops_it() {
    let (address, seen) = http_server(|| Duration::ZERO).await;
    let trial = Trial::new(vec![request("get", &format!("http://{address}/"))], constant(100.0, 600.0));
    let load = run(trial.spec.clone(), |_| {}, CancellationToken::new());
    assert!(tokio::time::timeout(Duration::from_millis(300), load).await.is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = seen.requests().len();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(before > 0);
    assert_eq!(seen.requests().len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_faulty_request_stops_the_load_before_anything_is_sent() {
    let (address, seen) = http_server(|| Duration::ZERO).await;
    let good = request("good", &format!("http://{address}/"));
    let bad = request("bad", "{{outputs.endpoint}}/");
    let trial = Trial::new(vec![good, bad], constant(100.0, 1.0));
    let error = run(trial.spec.clone(), |_| {}, CancellationToken::new()).await.unwrap_err();
    assert!(
        matches!(&error, LoadError::Undefined { request, path, .. } if request == "bad" && path == "outputs.endpoint")
    );
    assert_eq!(seen.connections.load(Ordering::Relaxed), 0);
    assert_eq!(fs::read_dir(trial.folder.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_never_written_over_earlier_ones() {
    let (address, _) = http_server(|| Duration::ZERO).await;
    let trial = Trial::new(
        vec![request("get", &format!("http://{address}/"))],
        LoadShape::Iterations { iterations: 1 },
    );
    trial.run().await;
    let error = run(trial.spec.clone(), |_| {}, CancellationToken::new()).await.unwrap_err();
    assert!(matches!(error, LoadError::Create { .. }), "{error}");
    assert_eq!(trial.rows().len(), 1);
}

#[test]
fn a_load_runs_from_a_file_and_leaves_a_summary() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (address, _) = runtime.block_on(http_server(|| Duration::ZERO));
    let trial = Trial::new(vec![request("get", &format!("http://{address}/"))], constant(50.0, 0.5));
    let spec = trial.folder.path().join("spec.json");
    let progress = trial.folder.path().join("progress.jsonl");
    fs::write(&spec, serde_json::to_vec(&trial.spec).unwrap()).unwrap();
    let summary = run_from_file(&spec, &progress).unwrap();
    assert_eq!(summary.answered, 25);
    let stored = fs::read(trial.folder.path().join(SUMMARY_FILE)).unwrap();
    assert_eq!(serde_json::from_slice::<LoadSummary>(&stored).unwrap(), summary);
    let lines = fs::read_to_string(&progress).unwrap();
    let last: Progress = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((last.planned, last.sent, last.answered), (Some(25), 25, 25));
    assert!(lines.lines().count() >= 3);

    fs::write(&spec, "{}").unwrap();
    assert!(matches!(run_from_file(&spec, &progress).unwrap_err(), LoadError::Spec { .. }));
}
