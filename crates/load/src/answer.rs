//! What the author of a request wants of its answer: checks, and values for the requests after it.

use std::borrow::Cow;
use std::io::Read;
use std::sync::Arc;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use regex::Regex;
use serde_json::Value;

use super::LoadError;
use super::http1::{Keep, LARGEST_BODY};
use sb_workload::{ExtractSource, Request, document};

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
        let body = self.contains.is_some()
            || !self.json.is_empty()
            || self.regex.is_some()
            || self.extract.iter().any(in_body);
        // A field says how the body is encoded.
        Keep { fields: body || self.cookies || self.extract.iter().any(in_fields), body }
    }

    /// Whether the request's `expect` accepts this status; without one, all of 2xx and 3xx.
    pub(super) fn accepts(&self, status: u16) -> bool {
        if self.status.is_empty() { (200..400).contains(&status) } else { self.status.contains(&status) }
    }

    /// Checks an answer, and adds what is taken from it. The error says what is wrong with it, and is empty when the
    /// status says enough: an error of HTTP where the author names no status.
    pub(super) fn examine(&self, given: &Given<'_>, extracted: &mut Extracted) -> Result<(), String> {
        if !self.accepts(given.status) {
            return Err(match self.status.as_slice() {
                [] => String::new(),
                expected => {
                    let expected: Vec<String> = expected.iter().map(u16::to_string).collect();
                    format!("expected {}", expected.join(" or "))
                }
            });
        }
        if !self.keep().body && self.extract.is_empty() {
            return Ok(());
        }
        if given.body_cut {
            return Err(format!("the body is longer than {LARGEST_BODY} bytes"));
        }
        let body = decoded(given)?;
        let text = document::text(&body);
        if let Some(part) = self.contains.as_ref().filter(|part| !text.contains(part.as_str())) {
            return Err(format!("the body does not hold `{part}`"));
        }
        if let Some(pattern) = self.regex.as_ref().filter(|pattern| !pattern.is_match(&text)) {
            return Err(format!("nothing in the body matches `{pattern}`"));
        }
        let not_json = |error| format!("the body is not JSON: {error}");
        for (pointer, expected) in &self.json {
            match document::value_at(&text, pointer).map_err(not_json)? {
                Some(found) if alike(&found, expected) => {}
                Some(_) => return Err(format!("`{pointer}` is not {expected}")),
                None => return Err(format!("nothing is at `{pointer}`")),
            }
        }
        for (name, source) in &self.extract {
            let value = match source {
                Source::Json(pointer) => match document::exact_at(&text, pointer).map_err(not_json)? {
                    // Sent on, it would be a text without letters.
                    Some(Value::Null) => return Err(format!("no `{name}`: null is at `{pointer}`")),
                    Some(value) => value,
                    None => return Err(format!("no `{name}`: nothing is at `{pointer}`")),
                },
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

/// The body as it was before it was compressed for the way.
fn decoded<'a>(given: &Given<'a>) -> Result<Cow<'a, [u8]>, String> {
    let codings = given.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
    let codings: Vec<&str> = codings.flat_map(|(_, value)| value.split(',')).map(str::trim).collect();
    let mut body = Cow::Borrowed(given.body);
    // The last one was applied last. Without a body there is nothing that was encoded.
    for coding in codings.into_iter().rev().filter(|_| !given.body.is_empty()) {
        let mut out = Vec::new();
        let mut inflate = |reader: &mut dyn Read| reader.take(LARGEST_BODY as u64 + 1).read_to_end(&mut out);
        let read = match coding.to_ascii_lowercase().as_str() {
            "" | "identity" => continue,
            "gzip" | "x-gzip" => inflate(&mut MultiGzDecoder::new(&*body)),
            // By the standard with the head of zlib, by some servers without.
            "deflate" if body.first().is_some_and(|first| first & 0x0f == 8) => {
                inflate(&mut ZlibDecoder::new(&*body))
            }
            "deflate" => inflate(&mut DeflateDecoder::new(&*body)),
            other => {
                return Err(format!(
                    "the body is encoded as `{other}`, which cannot be read: ask for gzip by the header `Accept-Encoding`"
                ));
            }
        };
        read.map_err(|error| format!("the body is not {coding}, as its header says: {error}"))?;
        if out.len() > LARGEST_BODY {
            return Err(format!("the body is longer than {LARGEST_BODY} bytes"));
        }
        body = Cow::Owned(out);
    }
    Ok(body)
}

/// 1 and 1.0 are one number, though JSON values of different kinds.
fn alike(found: &Value, expected: &Value) -> bool {
    found == expected || (found.is_number() && found.as_f64() == expected.as_f64())
}

fn found(pattern: &Regex, text: &str) -> Option<Value> {
    let captures = pattern.captures(text)?;
    // A group that has no part in a match has no value; without a group, all that matches is the value.
    captures.get(usize::from(captures.len() > 1)).map(|part| Value::from(part.as_str()))
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
        let status = |status: &[u16]| Expect { status: status.to_vec(), ..Expect::default() };
        check(status(&[201]), BODY, Err("expected 201"));
        check(status(&[201, 202]), BODY, Err("expected 201 or 202"));
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
        let null = wanted(Expect::default(), &[("id", ExtractSource::Json("/token=xyz".to_owned()))]);
        assert_eq!(examined(&null, 200, BODY).unwrap_err(), "no `id`: null is at `/token=xyz`");
        let optional = wanted(Expect::default(), &[("id", ExtractSource::Regex("done(x)?".to_owned()))]);
        assert!(examined(&optional, 200, BODY).unwrap_err().starts_with("no `id`: "));
        let large = wanted(Expect::default(), &[("id", ExtractSource::Json("/n".to_owned()))]);
        let extracted = examined(&large, 200, br#"{"n": 12345678901234567890123}"#).unwrap();
        assert_eq!(lookup(&extracted, "id"), Some(json!("12345678901234567890123")));
        let price = wanted(
            Expect { json: vec![("/n".to_owned(), json!(1.1))], ..Expect::default() },
            &[("id", ExtractSource::Json("/n".to_owned()))],
        );
        let extracted = examined(&price, 200, br#"{"n": 1.10}"#).unwrap();
        assert_eq!(lookup(&extracted, "id"), Some(json!("1.10")), "sent on as it came");
    }

    #[test]
    fn bodies_are_decoded_before_they_are_looked_into() {
        use flate2::Compression;
        use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};

        let wants = wanted(
            Expect { json: vec![("/n".to_owned(), json!(3))], ..Expect::default() },
            &[("id", ExtractSource::Json("/items/0/id".to_owned()))],
        );
        assert!(wants.keep().fields, "the header says how it is encoded");
        let examined = |coding: &str, body: &[u8]| {
            let fields = [("Content-Encoding".to_owned(), coding.to_owned())];
            let mut extracted = Extracted::new();
            wants.examine(&Given { status: 200, fields: &fields, body, body_cut: false }, &mut extracted)
        };
        let through = |mut reader: Box<dyn Read>| {
            let mut out = Vec::new();
            reader.read_to_end(&mut out).unwrap();
            out
        };
        let gzip = through(Box::new(GzEncoder::new(BODY, Compression::fast())));
        let zlib = through(Box::new(ZlibEncoder::new(BODY, Compression::fast())));
        let raw = through(Box::new(DeflateEncoder::new(BODY, Compression::fast())));
        let twice =
            through(Box::new(GzEncoder::new(std::io::Cursor::new(zlib.clone()), Compression::fast())));
        let mark = [b"\xef\xbb\xbf", BODY].concat();
        for (coding, body) in [
            ("identity", BODY),
            ("", &mark),
            ("gzip", &gzip),
            ("X-GZIP", &gzip),
            ("deflate", &zlib),
            ("deflate", &raw),
            ("deflate, gzip", &twice),
        ] {
            assert_eq!(examined(coding, body), Ok(()), "{coding}");
        }
        assert!(examined("gzip", BODY).unwrap_err().contains("the body is not gzip"));
        assert!(examined("br", BODY).unwrap_err().contains("`br`, which cannot be read"));
        let bomb = through(Box::new(GzEncoder::new(std::io::repeat(0).take(1 << 25), Compression::best())));
        assert!(examined("gzip", &bomb).unwrap_err().contains("is longer than"));
    }
}
