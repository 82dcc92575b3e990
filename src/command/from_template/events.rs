//! The sample events that SAM keeps beside a template, `events/*.json`: which route they are of, and what they send.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use sb_sam::{Function, Route};

/// In bytes: what people write by hand is smaller.
const LARGEST: u64 = 64 << 10;
/// What cannot stand in a path or query. `%` can: it begins an escape.
const IN_URL: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'#')
    .add(b'\\')
    .add(b'^')
    .add(b'|')
    .add(b'{')
    .add(b'}');
const IN_PATH: &AsciiSet = &IN_URL.add(b'?');
/// What cannot stand in a single value of a path or query.
const IN_VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The sample events, by the names of their files.
#[derive(Default)]
pub(super) struct Events(Vec<(String, Value)>);

/// What a request sends according to a sample event.
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    pub method: String,
    /// Below the stage, as a URL has it. None: the event does not say.
    pub path: Option<String>,
    /// As a URL has it, without `?`; empty without one.
    pub query: String,
    pub body: SampleBody,
    pub content_type: Option<String>,
}

#[derive(Debug, PartialEq)]
pub(super) enum SampleBody {
    Text(String),
    /// The event says that there is none.
    Absent,
    /// The event does not say.
    Unknown,
    /// It is no text; the file of the event.
    Binary(String),
}

impl Events {
    /// Files that are no events are passed over.
    pub(super) fn read(folder: &Path) -> Self {
        let mut found: Vec<_> = std::fs::read_dir(folder.join("events"))
            .map(|items| items.flatten().map(|item| item.path()).collect())
            .unwrap_or_default();
        found.sort();
        let event = |path: &std::path::PathBuf| {
            let bytes = sb_durable::read_regular(path, LARGEST).ok()?;
            Some((path.file_stem()?.to_string_lossy().into_owned(), serde_json::from_slice(&bytes).ok()?))
        };
        Self(found.iter().filter_map(event).collect())
    }

    /// What the first event of this route sends. The event names its route, or its path leads there past all others.
    pub(super) fn of_route(&self, route: &Route, routes: &[Route]) -> Option<Sample> {
        self.0.iter().find_map(|(file, event)| sample(file, event, route, routes))
    }

    /// The event that is called as the function is, or the only one.
    pub(super) fn of_function(&self, function: &Function) -> Option<String> {
        let plain = |name: &str| {
            name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
        };
        let wanted = plain(&function.logical_id);
        let named = self.0.iter().find(|(name, _)| {
            let name = plain(name);
            !name.is_empty() && (wanted.starts_with(&name) || name.starts_with(&wanted))
        });
        let only = (self.0.len() == 1).then(|| self.0.first()).flatten();
        named.or(only).map(|(_, event)| event.to_string())
    }
}

fn sample(file: &str, event: &Value, route: &Route, routes: &[Route]) -> Option<Sample> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let key = text("/routeKey").or(text("/requestContext/routeKey"));
    let (key_method, key_path) = key
        .map(|key| key.split_once(' ').unwrap_or(("ANY", key)))
        .map_or((None, None), |(a, b)| (Some(a), Some(b)));
    let method = text("/httpMethod")
        .or(text("/requestContext/http/method"))
        .or(text("/requestContext/httpMethod"))
        .or(key_method.filter(|method| *method != "ANY"))?
        .to_ascii_uppercase();
    if route.method != method && route.method != "ANY" {
        return None;
    }
    let asked = text("/path").or(text("/rawPath")).filter(|path| path.starts_with('/'));
    let found = asked.and_then(|path| sb_local::find_route(routes, &method, path));
    let is_known = |name: &&str| routes.iter().any(|route| route.path == *name);
    let named = text("/resource").or(key_path).filter(is_known);
    let is_found = found.as_ref().is_some_and(|found| std::ptr::eq(found.route, route));
    let is_named = named.is_some_and(|name| name == route.path);
    // A name that the template does not have says nothing: tools fill in `/{proxy+}`.
    if !(is_named || named.is_none() && is_found) {
        return None;
    }
    // Some write the route's pattern as the path.
    let concrete = asked.filter(|path| !path.contains('{') || *path != route.path);
    let alone = concrete.and_then(|path| sb_local::find_route(std::slice::from_ref(route), &method, path));
    let path = alone
        .map(|found| utf8_percent_encode(&found.path, IN_PATH).to_string())
        .or_else(|| filled(route, event));
    let header = |name: &str| {
        let headers = event.get("headers")?.as_object()?;
        headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?.1.as_str()
    };
    let is_plain = |text: &&str| !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    Some(Sample {
        method,
        path,
        query: query(event),
        body: body(file, event),
        content_type: header("content-type").filter(is_plain).map(str::to_owned),
    })
}

/// The route's path with the parameters of the event. None: it lacks one.
fn filled(route: &Route, event: &Value) -> Option<String> {
    let value =
        |name: &str| event.get("pathParameters")?.get(name)?.as_str().filter(|value| !value.is_empty());
    let parts = route.path.split('/').map(|part| {
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            return Some(utf8_percent_encode(part, IN_PATH).to_string());
        };
        Some(match name.strip_suffix('+') {
            Some(name) => utf8_percent_encode(value(name)?, IN_PATH).to_string(),
            None => utf8_percent_encode(value(name)?, IN_VALUE).to_string(),
        })
    });
    if !route.path.starts_with('/') {
        return None;
    }
    Some(parts.collect::<Option<Vec<_>>>()?.join("/"))
}

/// `rawQueryString` is as it was sent; the values of the other forms are decoded.
fn query(event: &Value) -> String {
    let encode = |text: &str| utf8_percent_encode(text, IN_VALUE).to_string();
    if let Some(raw) = event.get("rawQueryString").and_then(Value::as_str).filter(|raw| !raw.is_empty()) {
        return utf8_percent_encode(raw, IN_URL).to_string();
    }
    let fields = ["multiValueQueryStringParameters", "queryStringParameters"];
    let filled = |name: &&str| event.get(*name)?.as_object().filter(|fields| !fields.is_empty());
    let Some(fields) = fields.iter().find_map(filled) else { return String::new() };
    let pairs = fields.iter().flat_map(|(name, value)| {
        let values = value.as_array().map_or_else(|| std::slice::from_ref(value), Vec::as_slice);
        values.iter().filter_map(move |value| {
            let value = match value {
                Value::String(text) => text.clone(),
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => return None,
            };
            Some(format!("{}={}", encode(name), encode(&value)))
        })
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn body(file: &str, event: &Value) -> SampleBody {
    let text = match event.get("body") {
        None => return SampleBody::Unknown,
        Some(Value::Null) => return SampleBody::Absent,
        Some(Value::String(text)) => text,
        // Written out by hand: API Gateway passes a text.
        Some(other) => return SampleBody::Text(other.to_string()),
    };
    if event.get("isBase64Encoded").and_then(Value::as_bool) != Some(true) {
        return SampleBody::Text(text.clone());
    }
    let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    // TOML, and the templates of a manifest, hold no NUL.
    match decoded.filter(|text| !text.contains('\0')) {
        Some(text) => SampleBody::Text(text),
        None => SampleBody::Binary(format!("events/{file}.json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn route(method: &str, path: &str) -> Route {
        Route {
            function: "F".to_owned(),
            integration: None,
            format: sb_sam::Format::Rest,
            method: method.to_owned(),
            path: path.to_owned(),
            api: "Api".to_owned(),
            stage: "Prod".to_owned(),
        }
    }

    /// Which of the routes take the event, and where they send it.
    #[track_caller]
    fn check(event: Value, expected: &[(usize, &str, &str, SampleBody)]) {
        let routes = [
            route("GET", "/orders/{id}"),
            route("GET", "/orders/new"),
            route("ANY", "/v2/orders/{id}"),
            route("POST", "/orders"),
        ];
        let events = Events(vec![("e".to_owned(), event)]);
        let found = routes.iter().enumerate().filter_map(|(index, route)| {
            let sample = events.of_route(route, &routes)?;
            let query = if sample.query.is_empty() { String::new() } else { format!("?{}", sample.query) };
            Some((index, sample.method, format!("{}{query}", sample.path.unwrap_or_default()), sample.body))
        });
        let found: Vec<_> = found.collect();
        let seen: Vec<_> =
            found.iter().map(|(i, method, url, body)| (*i, method.as_str(), url.as_str(), body)).collect();
        let wanted: Vec<_> =
            expected.iter().map(|(i, method, url, body)| (*i, *method, *url, body)).collect();
        assert_eq!(seen, wanted);
    }

    #[test]
    fn an_event_belongs_to_the_route_that_its_path_or_its_name_leads_to() {
        use SampleBody::{Absent, Unknown};
        check(
            json!({"httpMethod": "GET", "path": "/orders/42", "queryStringParameters": {"q": "a b&c", "n": 2}, "body": null}),
            &[(0, "GET", "/orders/42?q=a%20b%26c&n=2", Absent)],
        );
        check(json!({"httpMethod": "GET", "path": "/orders/new"}), &[(1, "GET", "/orders/new", Unknown)]);
        check(json!({"httpMethod": "GET", "path": "/Prod/orders/7"}), &[(0, "GET", "/orders/7", Unknown)]);
        check(
            json!({"httpMethod": "get", "resource": "/orders/{id}", "path": "/orders/{id}", "pathParameters": {"id": "a/b"}}),
            &[(0, "GET", "/orders/a%2Fb", Unknown)],
        );
        check(
            json!({"httpMethod": "GET", "resource": "/orders/{id}", "pathParameters": {"id": "a/b"}}),
            &[(0, "GET", "/orders/a%2Fb", Unknown)],
        );
        check(json!({"httpMethod": "GET", "resource": "/orders/{id}"}), &[(0, "GET", "", Unknown)]);
        check(
            json!({"routeKey": "ANY /v2/orders/{id}", "rawPath": "/v2/orders/77", "rawQueryString": "a=1&b={{x}}",
                   "requestContext": {"http": {"method": "PUT"}}}),
            &[(2, "PUT", "/v2/orders/77?a=1&b=%7B%7Bx%7D%7D", Unknown)],
        );
        check(
            json!({"httpMethod": "GET", "resource": "/{proxy+}", "path": "/orders/9",
                   "multiValueQueryStringParameters": {"t": ["a", "b"]}, "queryStringParameters": {"t": "b"}}),
            &[(0, "GET", "/orders/9?t=a&t=b", Unknown)],
        );
        check(json!({"httpMethod": "DELETE", "path": "/orders/42"}), &[]);
        check(json!({"httpMethod": "GET", "path": "/path/to/resource", "resource": "/{proxy+}"}), &[]);
        check(json!(["no event"]), &[]);
    }

    #[test]
    fn bodies_are_decoded_where_the_event_says_that_they_are_encoded() {
        let text = |body: &str| SampleBody::Text(body.to_owned());
        let post = |body: Value, encoded: bool| json!({"httpMethod": "POST", "path": "/orders", "body": body, "isBase64Encoded": encoded});
        check(post(json!("eyJhIjoxfQ=="), true), &[(3, "POST", "/orders", text("{\"a\":1}"))]);
        check(post(json!("eyJhIjoxfQ=="), false), &[(3, "POST", "/orders", text("eyJhIjoxfQ=="))]);
        check(post(json!({"a": 1}), false), &[(3, "POST", "/orders", text("{\"a\":1}"))]);
        let binary = || SampleBody::Binary("events/e.json".to_owned());
        check(post(json!("//79"), true), &[(3, "POST", "/orders", binary())]);
        check(post(json!("no base64!"), true), &[(3, "POST", "/orders", binary())]);
    }
}
