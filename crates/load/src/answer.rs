//! What the author of a request wants of its answer: checks, and values for the requests after it.

use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::LoadError;
use super::http1::{Keep, LARGEST_BODY};
use sb_workload::{ExtractSource, Request};

/// What has been extracted within a sequence so far, the newest last.
pub(super) type Extracted = Vec<(Arc<str>, Value)>;

/// Checks and extractions of one request.
pub(super) struct Wanted {
    status: Vec<u16>,
    contains: Option<String>,
    json: Vec<(String, Value)>,
    regex: Option<Regex>,
    extract: Vec<(Arc<str>, Source)>,
    cookies: bool,
}

enum Source {
    Json(String),
    Regex(Regex),
    Header(String, Option<Regex>),
}

/// An answer that is complete.
pub(super) struct Given<'a> {
    pub(super) status: u16,
    pub(super) fields: &'a [(String, String)],
    pub(super) body: &'a [u8],
    pub(super) body_cut: bool,
}

impl Wanted {
    pub(super) fn new(request: &Request, cookies: bool) -> Result<Self, LoadError> {
        let compiled = |pattern: &String| {
            Regex::new(pattern)
                .map_err(|_| LoadError::Pattern { request: request.name.clone(), pattern: pattern.clone() })
        };
        let extract = request.extract.iter().map(|extract| {
            let source = match &extract.source {
                ExtractSource::Json(pointer) => Source::Json(pointer.clone()),
                ExtractSource::Regex(pattern) => Source::Regex(compiled(pattern)?),
                ExtractSource::Header { name, regex } => {
                    Source::Header(name.clone(), regex.as_ref().map(compiled).transpose()?)
                }
            };
            Ok((Arc::from(extract.name.as_str()), source))
        });
        Ok(Self {
            status: request.expect.status.clone(),
            contains: request.expect.contains.clone(),
            json: request.expect.json.clone(),
            regex: request.expect.regex.as_ref().map(compiled).transpose()?,
            extract: extract.collect::<Result<_, LoadError>>()?,
            cookies,
        })
    }

    /// What must be kept of an answer to look at it.
    pub(super) fn keep(&self) -> Keep {
        let in_body = |(_, source): &(_, Source)| !matches!(source, Source::Header(..));
        let in_fields = |(_, source): &(_, Source)| matches!(source, Source::Header(..));
        Keep {
            fields: self.cookies || self.extract.iter().any(in_fields),
            body: self.contains.is_some()
                || !self.json.is_empty()
                || self.regex.is_some()
                || self.extract.iter().any(in_body),
        }
    }

    /// Whether the request's `expect` accepts this status; without one, all of 2xx and 3xx.
    pub(super) fn accepts(&self, status: u16) -> bool {
        if self.status.is_empty() { (200..400).contains(&status) } else { self.status.contains(&status) }
    }

    /// Checks an answer, and adds what is taken from it. The error says what is wrong with it, and is empty when the
    /// status says enough.
    pub(super) fn examine(&self, given: &Given<'_>, extracted: &mut Extracted) -> Result<(), String> {
        if !self.accepts(given.status) {
            return Err(String::new());
        }
        if !self.keep().body && self.extract.is_empty() {
            return Ok(());
        }
        if given.body_cut {
            return Err(format!("the body is longer than {LARGEST_BODY} bytes"));
        }
        let text = String::from_utf8_lossy(given.body);
        if let Some(part) = self.contains.as_ref().filter(|part| !text.contains(part.as_str())) {
            return Err(format!("the body does not hold `{part}`"));
        }
        if let Some(pattern) = self.regex.as_ref().filter(|pattern| !pattern.is_match(&text)) {
            return Err(format!("nothing in the body matches `{pattern}`"));
        }
        let wants_json =
            !self.json.is_empty() || self.extract.iter().any(|(_, source)| matches!(source, Source::Json(_)));
        let document: Value = if wants_json {
            serde_json::from_str(&text).map_err(|error| format!("the body is not JSON: {error}"))?
        } else {
            Value::Null
        };
        for (pointer, expected) in &self.json {
            match document.pointer(pointer) {
                Some(found) if alike(found, expected) => {}
                Some(_) => return Err(format!("`{pointer}` is not {expected}")),
                None => return Err(format!("nothing is at `{pointer}`")),
            }
        }
        for (name, source) in &self.extract {
            let value = match source {
                Source::Json(pointer) => document
                    .pointer(pointer)
                    .cloned()
                    .ok_or_else(|| format!("no `{name}`: nothing is at `{pointer}`"))?,
                Source::Regex(pattern) => found(pattern, &text)
                    .ok_or_else(|| format!("no `{name}`: nothing in the body matches `{pattern}`"))?,
                Source::Header(header, pattern) => {
                    let field = given.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(header));
                    let (_, value) =
                        field.ok_or_else(|| format!("no `{name}`: the answer has no header `{header}`"))?;
                    match pattern {
                        None => Value::from(value.as_str()),
                        Some(pattern) => found(pattern, value).ok_or_else(|| {
                            format!("no `{name}`: nothing in `{header}` matches `{pattern}`")
                        })?,
                    }
                }
            };
            extracted.push((Arc::clone(name), value));
        }
        Ok(())
    }
}

/// 1 and 1.0 are one number, though JSON values of different kinds.
fn alike(found: &Value, expected: &Value) -> bool {
    found == expected || (found.is_number() && found.as_f64() == expected.as_f64())
}

fn found(pattern: &Regex, text: &str) -> Option<Value> {
    let captures = pattern.captures(text)?;
    captures.get(1).or(captures.get(0)).map(|part| Value::from(part.as_str()))
}

/// Cookies that a sequence has been given (RFC 6265, in the small: by host, path and `Secure`; `Max-Age=0` deletes).
#[derive(Default)]
pub(super) struct Jar(Vec<Cookie>);

struct Cookie {
    host: String,
    path: String,
    secure: bool,
    name: String,
    value: String,
}

impl Jar {
    /// Takes the cookies of an answer from `host`.
    pub(super) fn take_from(&mut self, host: &str, path: &str, fields: &[(String, String)]) {
        for (_, text) in fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let mut parts = text.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let directory =
                path.split('?').next().unwrap_or("/").rsplit_once('/').map_or("", |(start, _)| start);
            let mut cookie = Cookie {
                host: host.to_owned(),
                path: if directory.is_empty() { "/" } else { directory }.to_owned(),
                secure: false,
                name: name.trim().to_owned(),
                value: value.trim().to_owned(),
            };
            let mut gone = false;
            for attribute in parts {
                let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
                if key.eq_ignore_ascii_case("path") && value.starts_with('/') {
                    value.clone_into(&mut cookie.path);
                } else if key.eq_ignore_ascii_case("secure") {
                    cookie.secure = true;
                } else if key.eq_ignore_ascii_case("max-age") {
                    gone = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0);
                }
            }
            self.0.retain(|old| {
                (&old.host, &old.path, &old.name) != (&cookie.host, &cookie.path, &cookie.name)
            });
            if !gone {
                self.0.push(cookie);
            }
        }
    }

    /// The `Cookie` header for a request; `None` when there is nothing to send.
    pub(super) fn header(&self, host: &str, path: &str, tls: bool) -> Option<String> {
        let fits = |cookie: &&Cookie| {
            let rest = path.strip_prefix(cookie.path.trim_end_matches('/'));
            cookie.host == host
                && (tls || !cookie.secure)
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
        };
        let pairs: Vec<String> =
            self.0.iter().filter(fits).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// A value as templates see it, by its name; the newest of a name counts.
pub(super) fn lookup(extracted: &Extracted, name: &str) -> Option<Value> {
    extracted.iter().rev().find(|(known, _)| &**known == name).map(|(_, value)| value.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use sb_workload::template::Template;
    use sb_workload::{Body, Expect, Extract};

    fn wanted(expect: Expect, extract: &[(&str, ExtractSource)]) -> Wanted {
        let extract = extract
            .iter()
            .map(|(name, source)| Extract { name: (*name).to_owned(), source: source.clone() })
            .collect();
        let request = Request {
            name: "get".to_owned(),
            weight: 1.0,
            method: "GET".to_owned(),
            url: Template::parse("http://127.0.0.1/").unwrap(),
            headers: vec![],
            body: Body::Empty,
            expect,
            timeout: None,
            extract,
        };
        Wanted::new(&request, false).unwrap()
    }

    const BODY: &[u8] = br#"{"status": "done", "n": 3, "items": [{"id": "a1"}], "token=xyz": null}"#;

    fn examined(wanted: &Wanted, status: u16, body: &[u8]) -> Result<Extracted, String> {
        let fields = [("Location".to_owned(), "/items/42?x".to_owned())];
        let mut extracted = Extracted::new();
        let given = Given { status, fields: &fields, body, body_cut: false };
        wanted.examine(&given, &mut extracted).map(|()| extracted)
    }

    #[test]
    fn every_success_and_redirect_is_expected_unless_the_author_says_which() {
        let accepted = |wanted: Wanted| -> Vec<u16> {
            [199, 200, 204, 302, 399, 400, 404, 500].into_iter().filter(|it| wanted.accepts(*it)).collect()
        };
        assert_eq!(accepted(wanted(Expect::default(), &[])), [200, 204, 302, 399]);
        assert_eq!(accepted(wanted(Expect { status: vec![404], ..Expect::default() }, &[])), [404]);
    }

    #[test]
    fn bodies_are_checked_in_all_that_is_said() {
        #[track_caller]
        fn check(expect: Expect, body: &[u8], expected: Result<(), &str>) {
            let found = examined(&wanted(expect, &[]), 200, body).map(|_| ());
            assert_eq!(found, expected.map_err(str::to_owned));
        }
        let contains = |part: &str| Expect { contains: Some(part.to_owned()), ..Expect::default() };
        check(contains("done"), BODY, Ok(()));
        check(contains("gone"), BODY, Err("the body does not hold `gone`"));
        check(contains("done"), b"\xff done \xfe", Ok(()));
        let json =
            |pointer: &str, value| Expect { json: vec![(pointer.to_owned(), value)], ..Expect::default() };
        check(json("/status", json!("done")), BODY, Ok(()));
        check(json("/n", json!(3.0)), BODY, Ok(()));
        check(json("/n", json!("3")), BODY, Err("`/n` is not \"3\""));
        check(json("/items/1/id", json!("a1")), BODY, Err("nothing is at `/items/1/id`"));
        let regex = |pattern: &str| Expect { regex: Some(pattern.to_owned()), ..Expect::default() };
        check(regex(r"token=\w+"), BODY, Ok(()));
        check(regex("^x"), BODY, Err("nothing in the body matches `^x`"));
        assert!(examined(&wanted(json("/a", json!(1)), &[]), 200, b"oops").unwrap_err().contains("not JSON"));
        assert_eq!(
            examined(&wanted(contains("done"), &[]), 500, BODY),
            Err(String::new()),
            "the status first"
        );
    }

    #[test]
    fn values_are_taken_from_bodies_and_headers() {
        let header = |regex: Option<&str>| ExtractSource::Header {
            name: "location".to_owned(),
            regex: regex.map(str::to_owned),
        };
        let all = wanted(
            Expect::default(),
            &[
                ("id", ExtractSource::Json("/items/0/id".to_owned())),
                ("token", ExtractSource::Regex(r"token=(\w+)".to_owned())),
                ("place", header(None)),
                ("number", header(Some(r"\d+"))),
            ],
        );
        let extracted = examined(&all, 200, BODY).unwrap();
        let values: Vec<Value> =
            ["id", "token", "place", "number"].iter().map(|name| lookup(&extracted, name).unwrap()).collect();
        assert_eq!(values, [json!("a1"), json!("xyz"), json!("/items/42?x"), json!("42")]);
        let missing = wanted(Expect::default(), &[("id", ExtractSource::Json("/nothing".to_owned()))]);
        assert_eq!(examined(&missing, 200, BODY).unwrap_err(), "no `id`: nothing is at `/nothing`");
    }

    #[test]
    fn cookies_go_back_where_they_came_from() {
        let set = |text: &str| vec![("Set-Cookie".to_owned(), text.to_owned())];
        let mut jar = Jar::default();
        jar.take_from("a", "/shop/cart?x=/y/", &set("session=1; HttpOnly"));
        jar.take_from("a", "/shop/cart", &set("all=2; Path=/"));
        jar.take_from("a", "/", &set("safe=3; Secure"));
        assert_eq!(jar.header("a", "/shop/buy", false).as_deref(), Some("session=1; all=2"));
        assert_eq!(jar.header("a", "/shopping", true).as_deref(), Some("all=2; safe=3"));
        assert_eq!(jar.header("b", "/shop", true), None);
        jar.take_from("a", "/shop/", &set("session=4"));
        jar.take_from("a", "/shop/", &set("all=; Path=/; Max-Age=0"));
        assert_eq!(jar.header("a", "/shop", false).as_deref(), Some("session=4"));
        jar.take_from("a", "/", &set("no pair"));
        assert_eq!(jar.header("a", "/", false), None);
    }
}
