//! From a [`Workload`] with templates to requests that are ready to send. Whatever can be wrong with a request is found
//! here, before the first one leaves.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, USER_AGENT};
use serde_json::Value;

use super::LoadError;
use super::answer::{self, Extracted, Wanted};
use super::cookies::{self, Jar};
use super::draw::Draw;
use super::rows;
use sb_measurement::Redactor;
use sb_workload::http::{self, HttpUrl};
use sb_workload::template::{Context, Template, lookup_in};
use sb_workload::{Body, Request, Settings, TraceHeader, Workload};

/// The headers that carry the trace id: X-Ray's, and that of W3C Trace Context.
pub(super) const TRACE_HEADER: HeaderName = HeaderName::from_static("x-amzn-trace-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What an invocation may be: one request, or several in turn.
pub(super) struct Choice {
    pub(super) requests: Vec<Prepared>,
    pub(super) weight: f64,
    pub(super) is_sequence: bool,
}

/// Everything of one request type that does not change from invocation to invocation.
pub(super) struct Prepared {
    pub(super) name: Arc<str>,
    pub(super) method: Method,
    url: Text<Url>,
    headers: Vec<(HeaderName, Text<HeaderValue>)>,
    body: Text<Bytes>,
    pub(super) wanted: Wanted,
    pub(super) timeout: Duration,
    trace_header: TraceHeader,
    close: bool,
    /// What all its rows in result files have in common.
    pub(super) labels: rows::Labels,
}

/// A text that is known, or one that depends on `request.…` or `extracted.…` and is rendered for each invocation.
enum Text<T> {
    Fixed(T),
    PerInvocation { template: Template, context: Context },
}

/// Where a request goes, and what files may say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) tls: bool,
    /// Without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// As the `Host` header has it.
    authority: String,
    pub(super) path: String,
    /// As a field of a CSV row: secret values blotted out, extracted ones by name.
    pub(super) shown: Vec<u8>,
}

/// The values that templates may use.
pub(super) struct Values {
    tables: Value,
    redactor: Redactor,
}

/// The values of one request of one invocation.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) values: &'a Values,
    pub(super) draw: &'a Draw,
    pub(super) extracted: &'a Extracted,
}

impl Values {
    pub(super) fn new(tables: Value, secrets: &[String]) -> Self {
        Self { tables, redactor: Redactor::new(secrets) }
    }
}

impl Scope<'_> {
    fn lookup(&self, path: &str, request: &str) -> Option<Value> {
        if let Some(name) = path.strip_prefix("extracted.") {
            return answer::lookup(self.extracted, name);
        }
        match path.strip_prefix("request.") {
            Some("uuid") => Some(Value::from(self.draw.uuid())),
            Some("number") => Some(Value::from(self.draw.number)),
            Some("name") => Some(Value::from(request)),
            Some("random") => Some(Value::from(self.draw.random)),
            Some(_) => None,
            None => lookup_in(&self.values.tables, path),
        }
    }
}

/// Reads body files and renders whatever does not depend on the single invocation; the rest is tried once.
pub(super) fn prepare(
    workload: &Workload,
    values: &Values,
    root: Option<&Path>,
) -> Result<Vec<Choice>, LoadError> {
    let single = workload.requests.iter().map(|request| {
        let prepared = Prepared::new(request, "", &Extracted::new(), workload, values, root)?;
        Ok(Choice { requests: vec![prepared], weight: request.weight, is_sequence: false })
    });
    let sequences = workload.sequences.iter().map(|sequence| {
        let mut extracted = Extracted::new();
        let mut requests = Vec::with_capacity(sequence.requests.len());
        for request in &sequence.requests {
            requests.push(Prepared::new(request, &sequence.name, &extracted, workload, values, root)?);
            for extract in &request.extract {
                extracted.push((Arc::from(extract.name.as_str()), Value::from(STAND_IN)));
            }
        }
        Ok(Choice { requests, weight: sequence.weight, is_sequence: true })
    });
    single.chain(sequences).collect()
}

/// In place of a value that will be extracted, when a request is tried.
const STAND_IN: &str = "http://127.0.0.1/";

impl Prepared {
    fn new(
        request: &Request,
        sequence: &str,
        extracted: &Extracted,
        workload: &Workload,
        values: &Values,
        root: Option<&Path>,
    ) -> Result<Self, LoadError> {
        let settings: &Settings = &workload.settings;
        let name = request.name.clone();
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| LoadError::Method { request: name.clone(), method: request.method.clone() })?;
        let draw = Draw::default();
        let scope = Scope { values, draw: &draw, extracted };
        let render = |place: &str, template: &Template, context: Context| {
            template.render(context, &|path| scope.lookup(path, &name)).map_err(|undefined| {
                LoadError::Undefined { request: name.clone(), place: place.to_owned(), path: undefined.path }
            })
        };

        let url = render("url", &request.url, Context::Url)?;
        let url = to_url(&url, &values.redactor.text(&url)).map_err(|reason| LoadError::Url {
            request: name.clone(),
            template: request.url.source().to_owned(),
            reason,
        })?;
        let url = Text::new(&request.url, Context::Url, url);

        let mut headers = Vec::with_capacity(request.headers.len() + 1);
        for (header, template) in &request.headers {
            let wrong = |problem: &str| LoadError::Header {
                request: name.clone(),
                header: header.clone(),
                problem: problem.to_owned(),
            };
            if let Some(problem) = http::refused_header(header, settings.trace_header) {
                return Err(wrong(problem));
            }
            let key = HeaderName::from_bytes(header.as_bytes()).map_err(|error| wrong(&error.to_string()))?;
            let value = render(&format!("header `{header}`"), template, Context::Plain)?;
            if let Some(problem) = http::refused_header_value(header, &value) {
                return Err(wrong(problem));
            }
            let value = to_header(&value).ok_or_else(|| wrong("cannot be sent"))?;
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
            Body::File(path) => {
                let read = match root {
                    // A step may have made a link of it since the manifest was checked.
                    Some(root) => sb_durable::read_beneath(root, path),
                    None => sb_durable::read_regular(path, u64::MAX),
                };
                Text::Fixed(Bytes::from(read.map_err(|source| LoadError::BodyFile {
                    request: name.clone(),
                    path: path.clone(),
                    source,
                })?))
            }
        };

        let labels = rows::Labels::new(&name, method.as_str(), sequence);
        Ok(Self {
            wanted: Wanted::new(request, settings.cookies && !sequence.is_empty())?,
            timeout: request.timeout.unwrap_or(workload.timeout),
            trace_header: settings.trace_header,
            close: !settings.connection_reuse,
            name: name.into(),
            method,
            url,
            headers,
            body,
            labels,
        })
    }

    /// Whether https may be needed: it is not known where a URL leads that is extracted.
    pub(super) fn needs_tls(&self) -> bool {
        match &self.url {
            Text::Fixed(url) => url.tls,
            Text::PerInvocation { template, .. } => {
                let source = template.source();
                source.starts_with("{{")
                    || source.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("https:"))
            }
        }
    }

    /// Whether the rows of this request have a trace id.
    pub(super) fn is_traced(&self) -> bool {
        self.trace_header != TraceHeader::None
    }

    fn render(&self, template: &Template, context: Context, scope: Scope<'_>) -> Result<String, String> {
        template
            .render(context, &|path| scope.lookup(path, &self.name))
            .map_err(|undefined| undefined.to_string())
    }

    /// Where this invocation goes. The error is what a template made of this invocation's values; since all were
    /// tried before, it takes a value that changes its kind.
    pub(super) fn url(&self, scope: Scope<'_>) -> Result<Cow<'_, Url>, String> {
        let (template, context) = match &self.url {
            Text::Fixed(url) => return Ok(Cow::Borrowed(url)),
            Text::PerInvocation { template, context } => (template, *context),
        };
        let url = self.render(template, context, scope)?;
        let shown = if template.paths().any(|path| path.starts_with("extracted.")) {
            // What is extracted may be a secret, and is another one each time.
            let names: Extracted = scope
                .extracted
                .iter()
                .map(|(name, _)| (Arc::clone(name), Value::from(&*format!("~{name}"))))
                .collect();
            Cow::Owned(self.render(template, context, Scope { extracted: &names, ..scope })?)
        } else {
            Cow::Borrowed(url.as_str())
        };
        to_url(&url, &scope.values.redactor.text(&shown)).map(Cow::Owned)
    }

    pub(super) fn body(&self, scope: Scope<'_>) -> Result<Cow<'_, Bytes>, String> {
        match &self.body {
            Text::Fixed(body) => Ok(Cow::Borrowed(body)),
            Text::PerInvocation { template, context } => {
                Ok(Cow::Owned(Bytes::from(self.render(template, *context, scope)?)))
            }
        }
    }

    /// Gives every header of the request to `each`, but for those that depend on the version of HTTP.
    fn for_each_header(
        &self,
        url: &Url,
        jar: Option<&Jar>,
        scope: Scope<'_>,
        mut each: impl FnMut(&HeaderName, &[u8]),
    ) -> Result<(), String> {
        for (key, value) in &self.headers {
            match value {
                Text::Fixed(value) => each(key, value.as_bytes()),
                Text::PerInvocation { template, context } => {
                    let value = to_header(&self.render(template, *context, scope)?)
                        .ok_or_else(|| format!("header `{key}` has control characters"))?;
                    each(key, value.as_bytes());
                }
            }
        }
        if let Some(cookies) = jar.and_then(|jar| jar.header(url, cookies::now())) {
            each(&COOKIE, cookies.as_bytes());
        }
        let (xray, traceparent) = match self.trace_header {
            TraceHeader::Xray => (true, false),
            TraceHeader::Traceparent => (false, true),
            TraceHeader::Both => (true, true),
            TraceHeader::None => (false, false),
        };
        if xray {
            let mut value = *b"Root=1-00000000-000000000000000000000000;Sampled=1";
            value[5..40].copy_from_slice(&scope.draw.trace_id.xray());
            each(&TRACE_HEADER, &value);
        }
        if traceparent {
            each(&TRACEPARENT, &scope.draw.trace_id.traceparent(scope.draw.unique));
        }
        Ok(())
    }

    /// Methods for which a request without a body says so.
    fn may_have_a_body(&self) -> bool {
        matches!(self.method, Method::POST | Method::PUT | Method::PATCH)
    }

    /// Writes the request as HTTP/1.1 has it, body included.
    pub(super) fn write_http1(
        &self,
        out: &mut Vec<u8>,
        url: &Url,
        jar: Option<&Jar>,
        scope: Scope<'_>,
    ) -> Result<(), String> {
        let body = self.body(scope)?;
        out.extend_from_slice(self.method.as_str().as_bytes());
        out.push(b' ');
        out.extend_from_slice(url.path.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        if !self.headers.iter().any(|(key, _)| *key == HOST) {
            push_field(out, &HOST, url.authority.as_bytes());
        }
        self.for_each_header(url, jar, scope, |key, value| push_field(out, key, value))?;
        if !body.is_empty() || self.may_have_a_body() {
            out.extend_from_slice(b"content-length: ");
            rows::push_decimal(out, body.len() as u64);
            out.extend_from_slice(b"\r\n");
        }
        if self.close {
            push_field(out, &CONNECTION, b"close");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&body);
        Ok(())
    }

    /// The request as HTTP/2 has it.
    pub(super) fn to_http2(
        &self,
        url: &Url,
        jar: Option<&Jar>,
        scope: Scope<'_>,
    ) -> Result<hyper::Request<http_body_util::Full<Bytes>>, String> {
        let body = self.body(scope)?.into_owned();
        let scheme = if url.tls { "https" } else { "http" };
        // HTTP/2 has a field of its own for the host.
        let mut host = None;
        let mut fields = hyper::HeaderMap::new();
        self.for_each_header(url, jar, scope, |key, value| {
            if *key == HOST {
                host = String::from_utf8(value.to_vec()).ok();
            } else if let Ok(value) = HeaderValue::from_bytes(value)
                && *key != CONNECTION
            {
                fields.append(key.clone(), value);
            }
        })?;
        let authority = host.as_deref().unwrap_or(&url.authority);
        let mut request = hyper::Request::builder()
            .method(self.method.clone())
            .version(hyper::Version::HTTP_2)
            .uri(format!("{scheme}://{authority}{}", url.path))
            .body(http_body_util::Full::new(body))
            .map_err(|error| error.to_string())?;
        *request.headers_mut() = fields;
        Ok(request)
    }
}

fn push_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

impl<T> Text<T> {
    fn new(template: &Template, context: Context, rendered: T) -> Self {
        let changes = |path: &str| path.starts_with("request.") || path.starts_with("extracted.");
        if template.paths().any(changes) {
            Self::PerInvocation { template: template.clone(), context }
        } else {
            Self::Fixed(rendered)
        }
    }
}

/// `shown`: the same URL as files may show it.
pub(super) fn to_url(text: &str, shown: &str) -> Result<Url, String> {
    let HttpUrl { tls, host, port, authority, path } = http::url(text).map_err(|fault| fault.reason)?;
    let mut field = Vec::new();
    rows::push_field(&mut field, shown.as_bytes());
    Ok(Url { tls, host, port, authority, path, shown: field })
}

fn to_header(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use sb_workload::Expect;

    fn request(url: &str, header: (&str, &str), body: Body) -> Request {
        Request {
            name: "up load".to_owned(),
            weight: 1.0,
            method: "POST".to_owned(),
            url: Template::parse(url).unwrap(),
            headers: vec![(header.0.to_owned(), Template::parse(header.1).unwrap())],
            body,
            expect: Expect::default(),
            timeout: None,
            extract: vec![],
        }
    }

    fn values() -> Values {
        let tables = json!({
            "outputs": { "endpoint": "http://127.0.0.1:9/base", "quote": "say \"hi\"\n" },
            "params": { "size": 1024, "key": "s/cret" },
        });
        Values::new(tables, &["s/cret".to_owned(), String::new()])
    }

    fn prepared(request: &Request) -> Result<Prepared, LoadError> {
        Prepared::new(request, "", &Extracted::new(), &Workload::default(), &values(), None)
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
        let prepared = prepared(&request).unwrap();
        let draw = Draw { number: 7, random: 42, ..Draw::default() };
        let values = values();
        let scope = Scope { values: &values, draw: &draw, extracted: &Extracted::new() };
        let url = prepared.url(scope).unwrap();
        let path = "/base/up%20load/7?q=say%20%22hi%22%0A&key=s%2Fcret";
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("127.0.0.1", 9, path));
        let shown = "http://127.0.0.1:9/base/up%20load/7?q=say%20%22hi%22%0A&key=***";
        assert_eq!(String::from_utf8_lossy(&url.shown), shown);
        let mut message = Vec::new();
        prepared.write_http1(&mut message, &url, None, scope).unwrap();
        let body = r#"{"text": "say \"hi\"\n", "size": 1024, "n": 42}"#;
        let expected = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:9\r\nx-size: 1024\r\nuser-agent: sb/{}\r\n\
             x-amzn-trace-id: Root=1-00000000-000000000000000000000000;Sampled=1\r\n\
             traceparent: 00-00000000000000000000000000000000-0000000000000001-01\r\ncontent-length: {}\r\n\r\n{body}",
            env!("CARGO_PKG_VERSION"),
            body.len(),
        );
        assert_eq!(String::from_utf8_lossy(&message), expected);
        let request = prepared.to_http2(&url, None, scope).unwrap();
        assert_eq!(request.uri().to_string(), format!("http://127.0.0.1:9{path}"));
        assert_eq!(request.headers()["x-size"], "1024");
    }

    #[test]
    fn faults_are_found_before_anything_is_sent() {
        #[track_caller]
        fn check(url: &str, header: (&str, &str), body: Body, expected: &str) {
            let error = prepared(&request(url, header, body)).err().unwrap().to_string();
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
        check(good, ("Content-Length", "5"), Body::Empty, "is set by sb");
        check(good, header, Body::File("/does/not/exist".into()), "/does/not/exist");
    }
}
