//! An X-Ray that knows every trace it is asked for, at its own pace: with latency, pages, throttling and failures.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Summaries are of traces that begin before.
pub(crate) const LAST_SECOND: f64 = 400.0;

/// How it answers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manners {
    pub latency: Duration,
    /// Requests in any second beyond which it throttles.
    pub most_per_second: Option<usize>,
    /// Every so many requests fail with status 500.
    pub failing: Option<u64>,
    /// Whether the last trace of a request comes on a page of its own.
    pub pages: bool,
}

#[derive(Default)]
pub(crate) struct Seen {
    requests: AtomicU64,
    recent: Mutex<std::collections::VecDeque<Instant>>,
    /// The ids of each request.
    pub asked: Mutex<Vec<Vec<String>>>,
    /// The length of each window of summaries in seconds, and the first trace of the page.
    pub windows: Mutex<Vec<(f64, usize)>>,
}

/// Serves until the runtime ends; returns where.
pub(crate) async fn serve(manners: Manners) -> (String, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Seen::default());
    let shared = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = shared.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let seen = seen.clone();
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let (status, body) = seen.answer(manners, &serde_json::from_slice(&body).unwrap()).await;
                    let answer = Response::builder().status(status);
                    Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(body.to_string()))).unwrap())
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (endpoint, seen)
}

impl Seen {
    async fn answer(&self, manners: Manners, request: &Value) -> (u16, Value) {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(manners.latency).await;
        if manners.most_per_second.is_some_and(|most| self.is_too_fast(most)) {
            return (429, json!({ "__type": "ThrottledException", "Message": "Rate exceeded" }));
        }
        if manners.failing.is_some_and(|every| number % every == every - 1) {
            return (500, json!({ "Message": "try again" }));
        }
        if let Some(start) = request["StartTime"].as_f64() {
            return (200, self.summaries(start..request["EndTime"].as_f64().unwrap(), &request["NextToken"]));
        }
        let ids: Vec<String> = serde_json::from_value(request["TraceIds"].clone()).unwrap();
        let first_page = if manners.pages { ids.len().saturating_sub(1) } else { ids.len() };
        let is_first = request["NextToken"].is_null();
        let page = if is_first { &ids[..first_page] } else { &ids[first_page..] };
        let token = (is_first && first_page < ids.len()).then_some("more");
        let traces: Vec<Value> = page.iter().map(|id| trace(id)).collect();
        if is_first {
            self.asked.lock().unwrap().push(ids);
        }
        (200, json!({ "Traces": traces, "UnprocessedTraceIds": [], "NextToken": token }))
    }

    /// A hundred a page, of traces that begin 100 a second, and 500 a second in the first, until [`LAST_SECOND`].
    fn summaries(&self, window: std::ops::Range<f64>, token: &Value) -> Value {
        let begun = |number: usize| {
            let number = f64::from(u32::try_from(number).unwrap());
            if number < 500.0 { number / 500.0 } else { (number - 400.0) / 100.0 }
        };
        let all = (0..).take_while(|number| begun(*number) < LAST_SECOND);
        // Both ends belong to a window, as with X-Ray.
        let inside: Vec<usize> =
            all.filter(|number| (window.start..=window.end).contains(&begun(*number))).collect();
        let from: usize = token.as_str().map_or(0, |token| token.parse().unwrap());
        let page = &inside[from..inside.len().min(from + 100)];
        let summaries: Vec<Value> = page.iter().map(|number| json!({ "Id": id(*number) })).collect();
        let next = (from + page.len() < inside.len()).then(|| (from + page.len()).to_string());
        self.windows.lock().unwrap().push((window.end - window.start, from));
        json!({ "TraceSummaries": summaries, "NextToken": next })
    }

    fn is_too_fast(&self, most: usize) -> bool {
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap();
        while recent.front().is_some_and(|at| now.duration_since(*at) > Duration::from_secs(1)) {
            recent.pop_front();
        }
        if recent.len() < most {
            recent.push_back(now);
            return false;
        }
        true
    }
}

pub(crate) fn id(number: usize) -> String {
    format!("1-5759e988-{number:024x}")
}

fn trace(id: &str) -> Value {
    let root = json!({ "id": "53995c3f42cd8ad8", "name": "api", "trace_id": id, "start_time": 1.0, "end_time": 1.5,
                       "origin": "AWS::ApiGateway::Stage" });
    let function = json!({ "id": "53995c3f42cd8ad9", "name": "work", "trace_id": id, "start_time": 1.1,
                           "end_time": 1.4, "parent_id": "53995c3f42cd8ad8", "origin": "AWS::Lambda" });
    let segments: Vec<Value> = [root, function]
        .into_iter()
        .map(|document| json!({ "Id": document["id"], "Document": document.to_string() }))
        .collect();
    json!({ "Id": id, "Duration": 0.5, "Segments": segments })
}
