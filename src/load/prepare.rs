//! From a [`Workload`] with templates to requests that are ready to send. Whatever can be wrong with a request is found
//! here, before the first one leaves.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Uri};
use serde_json::Value;

use super::LoadError;
use super::draw::Draw;
use crate::manifest::template::{Context, Template, lookup_in};
use crate::workload::{Body, Request, Workload};

/// The header that carries the trace id; X-Ray's name for it.
pub(super) const TRACE_HEADER: HeaderName = HeaderName::from_static("x-amzn-trace-id");
/// The one of W3C, for OpenTelemetry and Azure, with the same id.
const W3C_HEADER: HeaderName = HeaderName::from_static("traceparent");

/// Everything of one request type that does not change from invocation to invocation.
pub(super) struct Prepared {
    pub(super) name: Arc<str>,
    pub(super) method: Method,
    url: Text<Url>,
    headers: Vec<(HeaderName, Text<HeaderValue>)>,
    body: Text<Bytes>,
    accepted: Vec<u16>,
    pub(super) needs_tls: bool,
}

/// A text that is known, or one that depends on `request.…` and is rendered for each invocation.
enum Text<T> {
    Fixed(T),
    PerInvocation { template: Template, context: Context },
}

/// Where a request goes, and what files may say about it.
#[derive(Clone)]
pub(super) struct Url {
    pub(super) uri: Uri,
    /// The URL with secret values blotted out.
    pub(super) shown: Arc<str>,
}

/// The values that templates may use.
pub(super) struct Values {
    tables: Value,
    secrets: Vec<String>,
}

impl Values {
    pub(super) fn new(tables: Value, secrets: &[String]) -> Self {
        let mut secrets: Vec<String> = secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .flat_map(|secret| [secret.clone(), percent_encoded(secret)])
            .collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self { tables, secrets }
    }

    fn lookup(&self, path: &str, request: &str, draw: &Draw) -> Option<Value> {
        match path.strip_prefix("request.") {
            Some("uuid") => Some(Value::from(draw.uuid())),
            Some("number") => Some(Value::from(draw.number)),
            Some("name") => Some(Value::from(request)),
            Some("random") => Some(Value::from(draw.random)),
            Some(_) => None,
            None => lookup_in(&self.tables, path),
        }
    }

    fn blot_out<'text>(&self, text: &'text str) -> Cow<'text, str> {
        let mut shown = Cow::Borrowed(text);
        for secret in &self.secrets {
            if shown.contains(secret.as_str()) {
                shown = Cow::Owned(shown.replace(secret.as_str(), "***"));
            }
        }
        shown
    }
}

/// What one invocation sends.
pub(super) struct Message {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Prepared {
    /// Reads body files and renders whatever does not depend on the single invocation; the rest is tried once.
    pub(super) fn all(workload: &Workload, values: &Values) -> Result<Vec<Self>, LoadError> {
        workload.requests.iter().map(|request| Self::new(request, values)).collect()
    }

    fn new(request: &Request, values: &Values) -> Result<Self, LoadError> {
        let name = request.name.clone();
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| LoadError::Method { request: name.clone(), method: request.method.clone() })?;
        let trial = Draw::default();
        let render = |place: &str, template: &Template, context: Context| {
            template.render(context, &|path| values.lookup(path, &name, &trial)).map_err(|undefined| {
                LoadError::Undefined { request: name.clone(), place: place.to_owned(), path: undefined.path }
            })
        };

        let url = to_url(&render("url", &request.url, Context::Url)?, values).map_err(|reason| {
            LoadError::Url { request: name.clone(), template: request.url.source().to_owned(), reason }
        })?;
        let needs_tls = url.uri.scheme_str() == Some("https");
        let url = Text::new(&request.url, Context::Url, url);

        let mut headers = Vec::with_capacity(request.headers.len() + 1);
        for (header, template) in &request.headers {
            let wrong = |problem: &str| LoadError::Header {
                request: name.clone(),
                header: header.clone(),
                problem: problem.to_owned(),
            };
            let key =
                HeaderName::from_bytes(header.as_bytes()).map_err(|_| wrong("is not a valid header name"))?;
            if key == TRACE_HEADER {
                return Err(wrong("is set by sb for every invocation; remove it from the request"));
            }
            let value = render(&format!("header `{header}`"), template, Context::Plain)?;
            let value = to_header(&value).ok_or_else(|| {
                wrong("has control characters (such as a line end) in its value; remove them")
            })?;
            headers.push((key, Text::new(template, Context::Plain, value)));
        }
        if !headers.iter().any(|(key, _)| *key == USER_AGENT) {
            let agent = HeaderValue::from_static(concat!("sb/", env!("CARGO_PKG_VERSION")));
            headers.push((USER_AGENT, Text::Fixed(agent)));
        }

        let body = match &request.body {
            Body::Empty => Text::Fixed(Bytes::new()),
            Body::Text { template, json } => {
                let context = if *json { Context::Json } else { Context::Plain };
                Text::new(template, context, Bytes::from(render("body", template, context)?))
            }
            Body::File(path) => Text::Fixed(Bytes::from(std::fs::read(path).map_err(|source| {
                LoadError::BodyFile { request: name.clone(), path: path.clone(), source }
            })?)),
        };

        let accepted = request.expect.status.clone();
        Ok(Self { name: name.into(), method, url, headers, body, accepted, needs_tls })
    }

    /// What this invocation sends. The error is what a template made of this invocation's values; since all were
    /// tried before, it takes a value that changes its kind.
    pub(super) fn message(&self, draw: &Draw, values: &Values) -> Result<Message, String> {
        let render = |template: &Template, context: Context| {
            template
                .render(context, &|path| values.lookup(path, &self.name, draw))
                .map_err(|undefined| undefined.to_string())
        };
        let url = match &self.url {
            Text::Fixed(url) => url.clone(),
            Text::PerInvocation { template, context } => to_url(&render(template, *context)?, values)?,
        };
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 2);
        for (key, value) in &self.headers {
            let value = match value {
                Text::Fixed(value) => value.clone(),
                Text::PerInvocation { template, context } => to_header(&render(template, *context)?)
                    .ok_or_else(|| format!("header `{key}` has control characters"))?,
            };
            headers.append(key.clone(), value);
        }
        let trace = HeaderValue::try_from(format!("Root={};Sampled=1", draw.trace_id))
            .map_err(|error| error.to_string())?;
        headers.insert(TRACE_HEADER, trace);
        if let Some(parent) = traceparent(&draw.trace_id) {
            headers.insert(W3C_HEADER, HeaderValue::try_from(parent).map_err(|error| error.to_string())?);
        }
        let body = match &self.body {
            Text::Fixed(body) => body.clone(),
            Text::PerInvocation { template, context } => Bytes::from(render(template, *context)?),
        };
        Ok(Message { url, headers, body })
    }

    /// Whether the request's `expect` accepts this status; without one, all of 2xx and 3xx.
    pub(super) fn accepts(&self, status: u16) -> bool {
        if self.accepted.is_empty() { (200..400).contains(&status) } else { self.accepted.contains(&status) }
    }
}

impl<T> Text<T> {
    fn new(template: &Template, context: Context, rendered: T) -> Self {
        if template.paths().any(|path| path.starts_with("request.")) {
            Self::PerInvocation { template: template.clone(), context }
        } else {
            Self::Fixed(rendered)
        }
    }
}

/// Of a trace id such as `1-5759e988-bd862e3fe1be46a994272793`. The parent is the load itself, which exports no span.
fn traceparent(trace_id: &str) -> Option<String> {
    let id = trace_id.strip_prefix("1-")?.replace('-', "");
    let parent = id.get(16..32)?;
    Some(format!("00-{id}-{parent}-01"))
}

fn to_url(text: &str, values: &Values) -> Result<Url, String> {
    let uri: Uri = text.parse().map_err(|error: hyper::http::uri::InvalidUri| error.to_string())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err("it must begin with `http://` or `https://` and a host".to_owned());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("a user or password in it would not be sent; use an `Authorization` header".to_owned());
    }
    Ok(Url { uri, shown: values.blot_out(text).into() })
}

fn to_header(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

/// As a value looks inside a URL.
fn percent_encoded(text: &str) -> String {
    let lookup = |_: &str| Some(Value::from(text));
    Template::parse("-{{value}}")
        .ok()
        .and_then(|template| template.render(Context::Url, &lookup).ok())
        .map_or_else(|| text.to_owned(), |rendered| rendered[1..].to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workload::Expect;

    fn request(url: &str, header: (&str, &str), body: Body) -> Request {
        Request {
            name: "up load".to_owned(),
            weight: 1.0,
            method: "POST".to_owned(),
            url: Template::parse(url).unwrap(),
            headers: vec![(header.0.to_owned(), Template::parse(header.1).unwrap())],
            body,
            expect: Expect { status: vec![] },
        }
    }

    fn values() -> Values {
        let tables = json!({
            "outputs": { "endpoint": "http://127.0.0.1:9/base", "quote": "say \"hi\"\n" },
            "params": { "size": 1024, "key": "s/cret" },
        });
        Values::new(tables, &["s/cret".to_owned(), String::new()])
    }

    fn text(template: &str, json: bool) -> Body {
        Body::Text { template: Template::parse(template).unwrap(), json }
    }

    #[test]
    fn values_are_quoted_for_the_place_where_they_stand() {
        let request = request(
            "{{outputs.endpoint}}/{{request.name}}/{{request.number}}?q={{outputs.quote}}&key={{params.key}}",
            ("x-size", "{{params.size}}"),
            text(r#"{"text": "{{outputs.quote}}", "size": {{params.size}}, "n": {{request.random}}}"#, true),
        );
        let prepared = Prepared::new(&request, &values()).unwrap();
        let draw = Draw { number: 7, random: 42, trace_id: "1-0-0".to_owned(), ..Draw::default() };
        let message = prepared.message(&draw, &values()).unwrap();
        assert_eq!(
            message.url.uri.to_string(),
            "http://127.0.0.1:9/base/up%20load/7?q=say%20%22hi%22%0A&key=s%2Fcret"
        );
        assert_eq!(&*message.url.shown, "http://127.0.0.1:9/base/up%20load/7?q=say%20%22hi%22%0A&key=***");
        assert_eq!(message.headers["x-size"], "1024");
        assert_eq!(message.headers["x-amzn-trace-id"], "Root=1-0-0;Sampled=1");
        let parent = traceparent("1-5759e988-bd862e3fe1be46a994272793");
        assert_eq!(parent.as_deref(), Some("00-5759e988bd862e3fe1be46a994272793-e1be46a994272793-01"));
        assert_eq!(&message.body[..], br#"{"text": "say \"hi\"\n", "size": 1024, "n": 42}"#);
    }

    #[test]
    fn faults_are_found_before_anything_is_sent() {
        #[track_caller]
        fn check(url: &str, header: (&str, &str), body: Body, expected: &str) {
            let error = Prepared::new(&request(url, header, body), &values()).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("s/cret"), "{error}");
        }
        let good = "http://127.0.0.1:9/";
        let header = ("accept", "*/*");
        check("{{outputs.nothing}}/", header, Body::Empty, "`{{outputs.nothing}}` in its url has no value");
        check("{{outputs.endpoint}}/{{request.nothing}}", header, Body::Empty, "`{{request.nothing}}`");
        check(good, ("x-a", "{{params.nothing}}"), Body::Empty, "header `x-a`");
        check(good, header, text("{{target}}", false), "body");
        check("ftp://127.0.0.1/{{params.key}}", header, Body::Empty, "must begin with `http://`");
        check("/only/a/path", header, Body::Empty, "must begin with `http://`");
        check("http://me:secret@127.0.0.1/", header, Body::Empty, "`Authorization` header");
        check("http://127.0.0.1/a b", header, Body::Empty, "up load");
        check(good, ("x-a", "{{outputs.quote}}"), Body::Empty, "control characters");
        check(good, ("x a", ""), Body::Empty, "not a valid header name");
        check(good, ("X-Amzn-Trace-Id", "Root=1-0-0"), Body::Empty, "is set by sb");
        check(good, header, Body::File("/does/not/exist".into()), "/does/not/exist");
    }

    #[test]
    fn every_success_and_redirect_is_expected_unless_the_author_says_which() {
        let mut request = request("http://127.0.0.1:9/", ("accept", "*/*"), Body::Empty);
        let accepted = |request: &Request| -> Vec<u16> {
            let prepared = Prepared::new(request, &values()).unwrap();
            [199, 200, 204, 302, 399, 400, 404, 500]
                .into_iter()
                .filter(|status| prepared.accepts(*status))
                .collect()
        };
        assert_eq!(accepted(&request), [200, 204, 302, 399]);
        request.expect.status = vec![404];
        assert_eq!(accepted(&request), [404]);
    }
}
