//! `just bench fetch`: how fast traces are fetched from an X-Ray that takes 50 ms for each answer, beside a client that
//! asks for five traces after the other. (`-- TRACES` for another number than 10,000; the sequential client asks for a
//! tenth of them.)

#![expect(clippy::unwrap_used, reason = "a measurement that fails may panic")]
#![expect(clippy::print_stdout, reason = "its results are what it prints")]

#[path = "../tests/integration/xray_server.rs"]
mod xray_server;

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sb::provider::aws::{XrayConfig, fetch_traces};
use serde_json::{Value, json};
use xray_server::Manners;

#[tokio::main]
async fn main() {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000_usize);
    let ids: Vec<String> = (0..count).map(xray_server::id).collect();
    let latency = Duration::from_millis(50);
    for (name, manners) in [
        ("50 ms an answer", Manners { latency, ..Manners::default() }),
        (
            "and throttled above 200 requests/s",
            Manners { latency, most_per_second: Some(200), ..Manners::default() },
        ),
    ] {
        let (endpoint, _) = xray_server::serve(manners).await;
        let sequential = one_after_the_other(&endpoint, &ids[..count / 10]).await * 10.0;
        let folder = tempfile::tempdir().unwrap();
        let config = XrayConfig { endpoint: Some(endpoint), ..XrayConfig::default() };
        let begun = Instant::now();
        let out = folder.path().join("traces.json");
        let report = fetch_traces(&config, &ids, Duration::from_mins(5), &out, &|_| {}).await.unwrap();
        let took = begun.elapsed().as_secs_f64();
        assert_eq!(report.shortfall(), None);
        println!(
            "{name}: {} of {count} traces in {took:.1} s, {} requests, {} throttled; one after the other {sequential:.0} s: {:.1} times as fast",
            report.found,
            report.requests,
            report.throttled,
            sequential / took
        );
    }
}

/// Seconds.
async fn one_after_the_other(endpoint: &str, ids: &[String]) -> f64 {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let begun = Instant::now();
    for batch in ids.chunks(5) {
        let body = Bytes::from(json!({ "TraceIds": batch }).to_string());
        let request = hyper::Request::post(format!("{endpoint}/Traces")).body(Full::new(body)).unwrap();
        let answer = client.request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["Traces"].as_array().unwrap().len(), batch.len());
    }
    begun.elapsed().as_secs_f64()
}
