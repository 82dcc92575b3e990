//! What a workload can say, against real sockets: sequences, checks, HTTP versions, TLS, headers, files.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::tests::*;
use super::*;
use sb_measurement::Outcome;
use sb_workload::pattern::Pattern;
use sb_workload::schedule::planned;
use sb_workload::template::Template;
use sb_workload::upscale::Scaling;
use sb_workload::{
    Body, Expect, Extract, ExtractSource, HttpVersion, LoadShape, Request, Sequence, TraceHeader, TraceLoad,
};

fn extracting(name: &str, source: ExtractSource) -> Vec<Extract> {
    vec![Extract { name: name.to_owned(), source }]
}

/// Three requests, of which each uses what the ones before gave.
fn sequence(address: std::net::SocketAddr) -> Sequence {
    let base = format!("http://{address}");
    let login = Request {
        extract: extracting("id", ExtractSource::Json("/items/0/id".to_owned())),
        ..request("login", &format!("{base}/login"))
    };
    let find = Request {
        extract: extracting(
            "place",
            ExtractSource::Header { name: "Location".to_owned(), regex: Some("[0-9]+".to_owned()) },
        ),
        ..request("find", &format!("{base}/find/{{{{extracted.id}}}}?n={{{{request.number}}}}"))
    };
    let take = Request {
        method: "POST".to_owned(),
        headers: vec![("x-id".to_owned(), Template::parse("{{extracted.id}}").unwrap())],
        body: Body::Text {
            template: Template::parse(r#"{"place": {{extracted.place}}}"#).unwrap(),
            json: true,
        },
        ..request("take", &format!("{base}/take"))
    };
    Sequence { name: "checkout".to_owned(), weight: 1.0, requests: vec![login, find, take] }
}

fn of_sequence(sequence: Sequence, iterations: u64) -> Trial {
    let mut trial = Trial::new(vec![], LoadShape::Iterations { iterations });
    trial.spec.workload.sequences = vec![sequence];
    trial
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_passes_values_on_and_each_request_has_a_row_and_a_trace_of_its_own() {
    let (address, seen) = http_server(|| Duration::from_millis(20)).await;
    let trial = of_sequence(sequence(address), 2);
    let summary = trial.run().await;
    assert_eq!((summary.planned, summary.sent, summary.answered, summary.failed), (Some(2), 6, 6, 0));
    assert!(summary.invalid.is_empty(), "{:?}", summary.invalid);

    let arrived = seen.requests();
    let paths: Vec<&str> = arrived.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(
        paths,
        ["/login", "/find/id%201?n=1", "/take", "/login", "/find/id%204?n=2", "/take"],
        "values are quoted for where they stand"
    );
    assert_eq!((arrived[2].1["x-id"].as_str(), arrived[2].2.as_str()), ("id 1", r#"{"place": 2}"#));
    assert!(arrived.iter().all(|(_, headers, _)| !headers.contains_key("cookie")), "cookies are off");

    let rows = trial.rows();
    let found: Vec<(u64, &str)> = rows.iter().map(|row| (row.invocation, row.request.as_str())).collect();
    assert_eq!(found, [(1, "login"), (1, "find"), (1, "take"), (2, "login"), (2, "find"), (2, "take")]);
    let ids: std::collections::HashSet<&str> = rows.iter().map(|row| row.trace_id.as_str()).collect();
    assert_eq!(ids.len(), 6);
    for pair in rows[..3].windows(2) {
        assert_eq!(pair[1].planned, pair[0].answered, "due when the one before is answered");
    }
    let k6 = trial.k6_rows();
    let count = |metric: &str| k6.iter().filter(|row| row["metric_name"] == metric).count();
    assert_eq!((count("http_reqs"), count("iterations")), (6, 2));
    let find = k6.iter().find(|row| row["name"] == "find").unwrap();
    assert_eq!(
        (find["group"].as_str(), find["url"].as_str()),
        ("::checkout", format!("http://{address}/find/~id?n=1").as_str())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_ends_with_its_first_failure_and_the_rest_is_counted_as_skipped() {
    let (address, seen) = http_server(|| Duration::ZERO).await;
    let mut broken = sequence(address);
    broken.requests[0].extract = extracting("id", ExtractSource::Json("/nothing/here".to_owned()));
    let trial = of_sequence(broken, 3);
    let summary = trial.run().await;
    assert_eq!((summary.planned, summary.sent, summary.answered, summary.failed), (Some(3), 3, 3, 3));
    assert_eq!(summary.outcomes[&Outcome::FailedCheck], 3);
    assert_eq!(
        summary.outcome_text(Outcome::is_failure),
        "failed_check 3: HTTP 200 ×3 (no `id`: nothing is at `/nothing/here` ×3)"
    );
    assert_eq!(summary.outcomes[&Outcome::Skipped], 6);
    assert_eq!(seen.requests().len(), 3);
    let rows = trial.rows();
    assert!(rows.iter().filter(|row| row.outcome == Outcome::Skipped).all(|row| row.sent.is_none()));
    let why = trial.k6_rows().into_iter().find(|row| row["metric_name"] == "http_req_failed").unwrap();
    assert_eq!(why["error"], "no `id`: nothing is at `/nothing/here`");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_stay_within_a_sequence_where_they_are_wanted() {
    let (address, seen) = http_server(|| Duration::ZERO).await;
    let mut trial = of_sequence(sequence(address), 2);
    trial.spec.workload.settings.cookies = true;
    trial.run().await;
    let cookies: Vec<Option<String>> =
        seen.requests().into_iter().map(|(_, mut headers, _)| headers.remove("cookie")).collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        cookies,
        [None, some("session=1"), some("session=2"), None, some("session=4"), some("session=5")]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_and_sequences_are_chosen_by_weight_and_bursts_leave_together() {
    let (address, seen) = http_server(|| Duration::ZERO).await;
    let at = vec![Duration::ZERO, Duration::from_millis(300)];
    let alone = Request { weight: 3.0, ..request("alone", &format!("http://{address}/alone")) };
    let mut trial = Trial::new(vec![alone], LoadShape::Bursts { size: 100, at });
    trial.spec.workload.sequences = vec![sequence(address)];
    let summary = trial.run().await;
    let count = |path: &str| seen.requests().iter().filter(|(found, ..)| found == path).count();
    let (alone, login) = (count("/alone"), count("/login"));
    assert_eq!(alone + login, 200);
    // Expected 150; six standard deviations are 37.
    assert!((113..=187).contains(&alone), "{alone}");
    assert_eq!((login, summary.failed), (count("/take"), 0));
    let mut planned: Vec<i64> = trial
        .rows()
        .iter()
        .filter(|row| ["alone", "login"].contains(&row.request.as_str()))
        .map(|row| row.planned.unwrap().micros())
        .collect();
    planned.sort_unstable();
    planned.dedup();
    assert_eq!(planned.len(), 2, "each burst has one planned time");
    assert_eq!(planned[1] - planned[0], 300_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_checked_and_each_request_has_its_own_patience() {
    let (address, _) = http_server(|| Duration::from_millis(100)).await;
    let url = format!("http://{address}/");
    let check = |name: &str, expect: Expect| Request { expect, ..request(name, &url) };
    let json = |value: i64| Expect { json: vec![("/answer".to_owned(), value.into())], ..Expect::default() };
    let mut trial = Trial::new(vec![], LoadShape::Iterations { iterations: 1 });
    let sequences = [
        check("good", json(1)),
        check("bad", Expect { contains: Some("nothing".to_owned()), ..Expect::default() }),
        check("regex", Expect { regex: Some(r#""answer":\d"#.to_owned()), ..Expect::default() }),
        Request { timeout: Some(Duration::from_millis(10)), ..request("hasty", &url) },
    ];
    for (number, request) in sequences.into_iter().enumerate() {
        trial = Trial::new(vec![request], LoadShape::Iterations { iterations: 1 });
        let outcomes = trial.run().await.outcomes;
        let expected = [Outcome::Ok, Outcome::FailedCheck, Outcome::Ok, Outcome::Timeout][number];
        assert_eq!(outcomes.into_keys().collect::<Vec<_>>(), [expected]);
    }
    assert!(trial.k6_rows().iter().any(|row| row["error"] == "request timeout"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_reuse_every_request_has_a_connection_of_its_own() {
    let (address, seen) = http_server(|| Duration::ZERO).await;
    let mut trial = Trial::new(
        vec![request("get", &format!("http://{address}/"))],
        LoadShape::Iterations { iterations: 5 },
    );
    trial.spec.workload.settings.connection_reuse = false;
    assert_eq!(trial.run().await.failed, 0);
    assert_eq!(seen.connections.load(Ordering::Relaxed), 5);
    assert!(seen.requests().iter().all(|(_, headers, _)| headers["connection"] == "close"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_trace_id_goes_by_the_header_that_is_wanted() {
    let (address, seen) = http_server(|| Duration::ZERO).await;
    for (header, xray, parent) in [
        (TraceHeader::Xray, true, false),
        (TraceHeader::Traceparent, false, true),
        (TraceHeader::Both, true, true),
        (TraceHeader::None, false, false),
    ] {
        let mut trial = Trial::new(
            vec![request("get", &format!("http://{address}/"))],
            LoadShape::Iterations { iterations: 1 },
        );
        trial.spec.workload.settings.trace_header = header;
        trial.run().await;
        let id = trial.rows()[0].trace_id.clone();
        assert_eq!(id.is_empty(), header == TraceHeader::None);
        let (_, headers, _) = seen.requests().pop().unwrap();
        let expected = xray.then(|| format!("Root={id};Sampled=1"));
        assert_eq!(headers.get("x-amzn-trace-id"), expected.as_ref());
        let sent = headers.get("traceparent").map(|value| value[3..35].to_owned());
        assert_eq!(sent, parent.then(|| id[2..].replace('-', "")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_shares_connections_and_opens_more_where_requests_would_wait() {
    let (address, seen) = http_server(|| Duration::from_millis(600)).await;
    let at = vec![Duration::ZERO];
    let mut trial =
        Trial::new(vec![request("get", &format!("http://{address}/a"))], LoadShape::Bursts { size: 250, at });
    trial.spec.workload.settings.http_version = Some(HttpVersion::Http2);
    let summary = trial.run().await;
    assert_eq!(summary.outcomes.into_iter().collect::<Vec<_>>(), [(Outcome::Ok, 250)]);
    assert_eq!(seen.connections.load(Ordering::Relaxed), 3, "at most 100 requests at once on each");
    let (_, headers, _) = &seen.requests()[0];
    assert!(headers["x-amzn-trace-id"].starts_with("Root=1-"));
    let row = &trial.k6_rows()[0];
    assert_eq!((row["proto"].as_str(), row["status"].as_str()), ("HTTP/2.0", "200"));

    // A server that does not know HTTP/2.
    let old = raw_server(|mut stream| async move {
        use tokio::io::AsyncWriteExt as _;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    trial =
        Trial::new(vec![request("get", &format!("http://{old}/"))], LoadShape::Iterations { iterations: 2 });
    trial.spec.workload.settings.http_version = Some(HttpVersion::Http2);
    assert_eq!(trial.run().await.outcomes.into_iter().collect::<Vec<_>>(), [(Outcome::Protocol, 2)]);
}

/// A server with a certificate of a CA of its own, and the CA's certificate as PEM.
async fn tls_server() -> (std::net::SocketAddr, Arc<Seen>, String) {
    let mut authority = rcgen::CertificateParams::new(vec![]).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let shared = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&shared));
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, seen, || Duration::ZERO).await;
                }
            });
        }
    });
    (address, seen, authority_pem)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_trusts_a_named_authority_or_none_and_agrees_on_the_version_of_http() {
    let (address, seen, authority) = tls_server().await;
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, authority).unwrap();
    let url = format!("https://localhost:{}/", address.port());
    let trial = |name: &str| {
        let mut trial = Trial::new(vec![request(name, &url)], LoadShape::Iterations { iterations: 3 });
        trial.spec.workload.settings.ca_file = Some(ca_file.clone());
        trial
    };

    let trusting = trial("trusting");
    assert_eq!(trusting.run().await.failed, 0);
    let row = &trusting.k6_rows()[0];
    assert_eq!((row["proto"].as_str(), row["tls_version"].as_str()), ("HTTP/2.0", "tls1.3"));
    let handshakes = trusting
        .k6_rows()
        .into_iter()
        .filter(|row| row["metric_name"] == "http_req_tls_handshaking" && row["metric_value"] != "0.000000");
    assert_eq!(handshakes.count(), 1, "one handshake for three requests");

    let mut old = trial("old");
    old.spec.workload.settings.http_version = Some(HttpVersion::Http1);
    assert_eq!(old.run().await.failed, 0);
    assert_eq!(old.k6_rows()[0]["proto"], "HTTP/1.1");
    assert_eq!(seen.requests().len(), 6);

    let mut careless = trial("careless");
    careless.spec.workload.settings.ca_file = None;
    careless.spec.workload.settings.verify_certificates = false;
    assert_eq!(careless.run().await.failed, 0);

    let mut strict = trial("strict");
    strict.spec.workload.settings.ca_file = None;
    match run(strict.spec.clone(), |_| {}, CancellationToken::new()).await {
        Ok(summary) => assert_eq!(summary.outcomes.into_keys().collect::<Vec<_>>(), [Outcome::Tls]),
        // A system without any certificates.
        Err(error) => assert!(matches!(error, LoadError::Tls(TlsSetupError::NoRoots)), "{error}"),
    }

    std::fs::write(&ca_file, "no certificate").unwrap();
    let error = run(trial("wrong").spec.clone(), |_| {}, CancellationToken::new()).await.unwrap_err();
    assert!(error.to_string().contains("ca.pem"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_is_answered_before_it_is_read() {
    let early = raw_server(|mut stream| async move {
        use tokio::io::AsyncWriteExt as _;
        let _ = stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    let body = Body::Text { template: Template::parse(&"x".repeat(20_000_000)).unwrap(), json: false };
    let large = Request { method: "POST".to_owned(), body, ..request("large", &format!("http://{early}/")) };
    let trial = Trial::new(vec![large], LoadShape::Iterations { iterations: 1 });
    let summary = trial.run().await;
    assert_eq!(summary.outcomes.into_keys().collect::<Vec<_>>(), [Outcome::FailedCheck]);
    assert_eq!(trial.rows()[0].status, Some(413));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_of_latencies_reads_back_as_what_was_measured() {
    let (address, _) = http_server(|| Duration::from_millis(5)).await;
    let mut trial = Trial::new(vec![request("get", &format!("http://{address}/"))], constant(100.0, 1.5));
    trial.spec.workload.settings.k6_metrics = false;
    let summary = trial.run().await;
    assert!(!trial.folder.path().join(record::K6_FILE).exists());

    let log = std::fs::read(trial.folder.path().join(latency_log::LATENCY_FILE)).unwrap();
    let mut sums = std::collections::BTreeMap::new();
    let mut intervals = 0;
    for entry in IntervalLogIterator::new(&log) {
        let LogEntry::Interval(interval) = entry.unwrap() else { continue };
        intervals += 1;
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::STANDARD.decode(interval.encoded_histogram()).unwrap();
        let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
        let sum = sums.entry(interval.tag().unwrap().to_string()).or_insert_with(record::histogram);
        sum.add(&histogram).unwrap();
    }
    assert!(intervals >= 4, "one a second, for each of the two");
    let rows = trial.rows();
    type Time = fn(&sb_measurement::Invocation) -> Option<i64>;
    let times: [(&str, Time); 2] =
        [("sent", |row| row.latency_micros()), ("planned", |row| row.latency_from_planned_micros())];
    for (tag, time) in times {
        let found = percentiles(&sums[tag]).unwrap();
        let mut exact: Vec<i64> = rows.iter().filter_map(time).collect();
        exact.sort_unstable();
        // The histogram has three digits, and the value at the nearest rank.
        for (found, q) in [(found.p50, 0.5), (found.p99, 0.99), (found.max, 1.0)] {
            let exact = exact[sb_measurement::nearest_rank(exact.len(), q) - 1] as f64 / 1e3;
            assert!((exact..=exact * 1.001).contains(&found), "{tag}: {found} for {exact}");
        }
    }
    let max = |of: Option<sb_measurement::Percentiles>| of.unwrap().max;
    assert!(max(summary.latency_from_planned_ms) >= max(summary.latency_ms));
    assert_eq!(sums["sent"].len(), 150);
}

/// The four patterns at a mean of 20 per second, a minute played in a quarter of a second: what was planned, by the
/// second of the plan, is what the files say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_are_sent_as_planned_to_the_last_invocation() {
    const SPEED: f64 = 240.0;
    let (address, seen) = http_server(|| Duration::ZERO).await;
    for pattern in [Pattern::Steady, Pattern::Fluctuating, Pattern::Spikes, Pattern::Jump] {
        let trace = TraceLoad {
            name: pattern.to_string(),
            per_minute: pattern.per_minute().iter().map(|count| f64::from(*count)).collect(),
            skip: Duration::from_mins(3),
            scaling: Scaling::Rate(20.0),
            seed: 7,
            arrivals: sb_workload::ArrivalProcess::Even,
            origin: sb_workload::Origin::default(),
        };
        let per_second = trace.per_second();
        let mut trial =
            Trial::new(vec![request("get", &format!("http://{address}/"))], LoadShape::Trace(trace));
        trial.spec.load.speed = SPEED;
        trial.spec.workload.settings.k6_metrics = false;
        trial.spec.workload.timeout = Duration::from_mins(1);
        let before = seen.requests().len();
        let summary = trial.run().await;
        assert_eq!((summary.planned, summary.sent, summary.dropped), (Some(20_400), 20_400, 0), "{pattern}");
        assert_eq!(
            summary.answered + summary.failed - summary.outcomes.get(&Outcome::FailedCheck).unwrap_or(&0),
            20_400
        );
        assert_eq!(seen.requests().len() - before, summary.answered as usize);

        let mut rows = trial.rows();
        rows.sort_unstable_by_key(|row| row.invocation);
        // The start is that of the first planned time, which is known from the plan.
        let Planned::Open(mut schedule) = planned(&trial.spec.load) else { unreachable!() };
        let first = schedule.next().unwrap().as_secs_f64() * 1e6;
        let start = rows[0].planned.unwrap().micros() as f64 - first;
        let mut found = vec![0_u32; per_second.len()];
        for row in &rows {
            // A microsecond here is a quarter of a millisecond there.
            let second = (row.planned.unwrap().micros() as f64 - start + 1.0) * SPEED / 1e6;
            found[(second as usize).min(per_second.len() - 1)] += 1;
        }
        assert_eq!(found, per_second, "{pattern}");
    }
}
