//! Who may ask, and for what.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::live::Live;
use super::{Site, step, stream};

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;
pub(super) type Answer = Response<Body>;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// With every answer: nothing from elsewhere is loaded, nobody else may embed or read it, nothing is kept.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

pub(super) async fn answer(site: &Arc<Site>, request: &Request<Incoming>) -> Answer {
    let mut answer = route(site, request).await;
    for (name, value) in HEADERS {
        // A report has a policy of its own: its style and script are in it.
        answer.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    answer
}

async fn route(site: &Arc<Site>, request: &Request<Incoming>) -> Answer {
    if !sb_daemon::http::is_from_here(request.headers()) {
        return text(StatusCode::FORBIDDEN, "open it as 127.0.0.1 or localhost\n");
    }
    let path = request.uri().path();
    let (token, page) = path.strip_prefix('/').unwrap_or_default().split_once('/').unwrap_or_default();
    if !bool::from(token.as_bytes().ct_eq(site.token.as_bytes())) {
        return text(StatusCode::FORBIDDEN, "open the address that `sb ui` printed, with all of its path\n");
    }
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "this page is only to be looked at\n");
    }
    match page {
        "" => asset(HTML, "text/html; charset=utf-8"),
        "page.css" => asset(STYLE, "text/css; charset=utf-8"),
        "page.js" => asset(SCRIPT, "text/javascript; charset=utf-8"),
        "runs" => match site.runs.list().await {
            Ok(list) => json(&list),
            Err(error) => failed(&error),
        },
        _ => {
            let (id, page) =
                page.strip_prefix("run/").and_then(|rest| rest.split_once('/')).unwrap_or_default();
            match site.runs.get(&decoded(id)).await {
                Ok(Some(live)) => of_run(site, &live, page, request.uri().query().unwrap_or_default()).await,
                Ok(None) => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
                Err(error) => failed(&error),
            }
        }
    }
}

/// A page about one run.
async fn of_run(site: &Site, live: &Arc<Live>, page: &str, asked: &str) -> Answer {
    let query = query(asked);
    let number = |name: &str| query.get(name).and_then(|value| value.parse::<usize>().ok());
    match page {
        "graph" => bytes(live.graph().clone(), "application/json"),
        "events" => stream::events(live),
        "results" => {
            site.results.of(live).await.map_or_else(|error| failed(&error), |results| json(&results))
        }
        "report" => match site.reports.of(live).await {
            Ok(Some(page)) => report(page),
            Ok(None) => {
                text(StatusCode::CONFLICT, "the run goes on: its report is there when it has ended\n")
            }
            Err(error) => failed(&error),
        },
        "step" => {
            let found = match number("step") {
                Some(index) => {
                    step::describe(live, index, number("attempt").map(|attempt| attempt as u32)).await
                }
                None => None,
            };
            found.map_or_else(|| text(StatusCode::NOT_FOUND, "there is no such step\n"), |step| json(&step))
        }
        "traces" | "trace" => {
            let folder = match number("step") {
                Some(index) => live.logs_of(index).await,
                None => None,
            };
            let Some(folder) = folder else {
                return text(StatusCode::NOT_FOUND, "this step has no traces\n");
            };
            if page == "traces" {
                let list = site.traces.list(folder).await;
                return list.map_or_else(|error| failed(&error), |list| json(&list));
            }
            match site.traces.waterfall(folder, query.get("id").cloned().unwrap_or_default()).await {
                Ok(Some(image)) => bytes(image.into(), "image/svg+xml"),
                Ok(None) => text(StatusCode::NOT_FOUND, "there is no such trace\n"),
                Err(error) => failed(&error),
            }
        }
        _ => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
    }
}

/// `a=1&b=%2f`, the last of equal names.
fn query(text: &str) -> HashMap<String, String> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect()
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

fn failed(error: &dyn std::error::Error) -> Answer {
    text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n"))
}

pub(super) fn text(status: StatusCode, text: &str) -> Answer {
    let mut answer = bytes(text.to_owned().into(), "text/plain; charset=utf-8");
    *answer.status_mut() = status;
    answer
}

fn json(value: &Value) -> Answer {
    bytes(value.to_string().into(), "application/json")
}

/// A page that brings its own style and script: only these are allowed.
fn report(page: Bytes) -> Answer {
    let policy = format!("{}; frame-ancestors 'none'", sb_figures::page_policy());
    let Ok(policy) = HeaderValue::from_str(&policy) else {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the policy of the report cannot be sent\n");
    };
    let mut answer = bytes(page, "text/html; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    answer
}

fn asset(text: &'static str, kind: &'static str) -> Answer {
    bytes(Bytes::from_static(text.as_bytes()), kind)
}

fn bytes(bytes: Bytes, kind: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(bytes).boxed_unsync());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let found = query("id=a%2Fb%20c+d&step=5&odd=%zz%4&&x");
        assert_eq!(found["id"], "a/b c d");
        assert_eq!(found["step"], "5");
        assert_eq!(found["odd"], "%zz%4");
        assert_eq!(found.len(), 3);
    }
}
