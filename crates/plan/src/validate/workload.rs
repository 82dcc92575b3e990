//! What is sent: requests with their placeholders.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::benchmark::Phase;
use crate::manifest::decode::Map;
use crate::manifest::problem::{Problem, Report, Span, did_you_mean};
use crate::manifest::read::Files;
use crate::manifest::tree::Spanned;
use crate::manifest::workload::{HttpVersionWord, RequestFile, TraceHeaderWord, WorkloadFile};
use crate::validate::check::{self, ManifestFolder};
use crate::validate::requests::{self, Part};
use crate::validate::template::{Role, Scope, User};
use crate::validate::{answer, step};
use sb_workload::http::METHODS;
use sb_workload::template::{Context, Piece, Template};
use sb_workload::{Body, HttpVersion, Request, Sequence, Settings, TraceHeader, Workload};

/// Checks a raw workload. `place` is the folder of the file that holds it.
pub(super) fn workload(
    file: &WorkloadFile,
    files: &dyn Files,
    place: &ManifestFolder,
    scope: &Scope,
    targets: &[String],
    span: &Span,
    report: &mut Report,
) -> Workload {
    let no_requests = file.requests.as_ref().is_none_or(|requests| requests.value.is_empty());
    let no_sequences = file.sequences.as_ref().is_none_or(|sequences| sequences.value.is_empty());
    if no_requests && no_sequences {
        let span = file.requests.as_ref().map_or(span, |requests| &requests.span);
        report.push(
            Problem::error("nothing-to-send", "the workload has no requests").at(span, "sends nothing").help(
                "add a [[workload.requests]] table with `name` and `url`, or a k6 script: `script = \"workload.js\"`",
            ),
        );
    }
    let settings = settings(file, files, place, report);
    let known = |path: &str| scope.constants.get(path).cloned();
    let mut checker =
        WorkloadChecker { files, place, scope, targets, settings: &settings, known: &known, report };
    let requests = checker.requests(file.requests.as_ref(), false);
    let sequences = checker.sequences(file);
    let timeout = file
        .timeout
        .as_ref()
        .map_or(Duration::from_secs(30), |timeout| check::duration(timeout, true, report));
    Workload { requests, sequences, timeout, settings }
}

/// What checks of requests need to know, and where their problems go.
struct WorkloadChecker<'a> {
    files: &'a dyn Files,
    place: &'a ManifestFolder,
    scope: &'a Scope,
    targets: &'a [String],
    settings: &'a Settings,
    /// Values that are known before anything has run.
    known: &'a dyn Fn(&str) -> Option<Value>,
    report: &'a mut Report,
}

impl WorkloadChecker<'_> {
    /// A list of requests. Those of a sequence know what the ones before have extracted.
    fn requests(
        &mut self,
        list: Option<&Spanned<Vec<Spanned<RequestFile>>>>,
        in_sequence: bool,
    ) -> Vec<Request> {
        let list = list.map_or(&[][..], |list| &list.value);
        let mut requests: Vec<Request> = Vec::new();
        let mut index_of: HashMap<String, usize> = HashMap::new();
        let mut extracted: Vec<String> = Vec::new();
        for raw in list {
            let request = request(&raw.value, self.files, self.place, self.known, self.report);
            self.check_headers(&raw.value, &request);
            let first = index_of.get(&request.name).copied();
            index_of.entry(request.name.clone()).or_insert(requests.len());
            if let Some(index) = first {
                self.report.push(
                    Problem::error("duplicate-name", format!("two requests are called `{}`", request.name))
                        .at(&raw.value.name.span, "again")
                        .at(&list[index].value.name.span, "first")
                        .help("reports group by this name: give each request its own"),
                );
            }
            let user =
                User { phase: Phase::Invoke, step: None, request: Some(&extracted), targets: self.targets };
            for template in std::iter::once(&raw.value.url)
                .chain(raw.value.headers.iter().flat_map(Map::iter).map(|(_, value)| value))
                .chain(&raw.value.body)
            {
                self.scope.check(template, Role::Request, user, self.report);
            }
            if in_sequence {
                if let Some(weight) = &raw.value.weight {
                    self.report.push(
                        Problem::error("sequence-weight", "a request of a sequence has no weight of its own")
                            .at(&weight.span, "would have no effect")
                            .help("give the sequence a `weight`, or split it"),
                    );
                }
            } else if let Some((name, _)) = raw.value.extract.iter().flat_map(Map::iter).next() {
                self.report.push(
                    Problem::error("unused-extract", "nothing can use a value that is extracted here")
                        .at(&name.span, "extracted by a request outside of sequences")
                        .help("make it the first request of a [[workload.sequences]], with those that use the value after it"),
                );
            }
            extracted.extend(request.extract.iter().map(|extract| extract.name.clone()));
            requests.push(request);
        }
        requests
    }

    fn check_headers(&mut self, raw: &RequestFile, request: &Request) {
        let mut refused: Vec<(usize, String)> = Vec::new();
        for fault in requests::faults(request, self.settings, self.known) {
            // The URL was checked where it was read.
            if let Part::Header(index) = fault.part {
                refused.push((index, fault.reason));
            }
        }
        let names = request.headers.iter().map(|(name, _)| name).enumerate();
        for (index, _) in names.filter(|(_, name)| requests::is_lost_over_http2(name, self.settings)) {
            refused.push((
                index,
                "does not exist in HTTP/2, which `http_version` asks for; remove it".to_owned(),
            ));
        }
        let fields: Vec<_> = raw.headers.iter().flat_map(Map::iter).collect();
        for (index, reason) in refused {
            let (name, value) = fields[index];
            let is_said = |problem: &Problem| {
                problem.labels.iter().any(|(span, _)| *span == name.span || *span == value.span)
            };
            if !self.report.problems.iter().rev().take(4).any(is_said) {
                self.report.push(
                    Problem::error("invalid-header", format!("the header `{}` {reason}", name.value))
                        .at(&name.span, "cannot be sent")
                        .help("`sb` frames messages itself and adds the trace id; other headers are yours"),
                );
            }
        }
    }

    fn sequences(&mut self, file: &WorkloadFile) -> Vec<Sequence> {
        let mut names: HashMap<&str, &Span> = HashMap::new();
        let mut sequences = Vec::new();
        for raw in file.sequences.iter().flat_map(|list| &list.value) {
            let name = &raw.value.name;
            check::name(&name.value, &name.span, "a sequence", self.report);
            if let Some(first) = names.get(name.value.as_str()) {
                self.report.push(
                    Problem::error("duplicate-name", format!("two sequences are called `{}`", name.value))
                        .at(&name.span, "again")
                        .at(first, "first")
                        .help("give each its own name"),
                );
            }
            names.entry(&name.value).or_insert(&name.span);
            weight(raw.value.weight.as_ref(), "a sequence", self.report);
            if raw.value.requests.value.is_empty() {
                self.report.push(
                    Problem::error("nothing-to-send", "the sequence has no requests")
                        .at(&raw.value.requests.span, "empty")
                        .help("add a [[workload.sequences.requests]] table with `name` and `url`"),
                );
            }
            sequences.push(Sequence {
                name: name.value.clone(),
                weight: raw.value.weight.as_ref().map_or(1.0, |weight| weight.value),
                requests: self.requests(Some(&raw.value.requests), true),
            });
        }
        sequences
    }
}

fn settings(file: &WorkloadFile, files: &dyn Files, place: &ManifestFolder, report: &mut Report) -> Settings {
    let ca_file = file.tls.as_ref().and_then(|tls| tls.ca_file.as_ref());
    let verify = file.tls.as_ref().and_then(|tls| tls.verify.as_ref());
    if let (Some(verify), Some(ca_file)) = (verify.filter(|verify| !verify.value), ca_file) {
        report.push(
            Problem::error("unused-certificate", "every certificate will do, and one is named")
                .at(&verify.span, "no certificate is checked")
                .at(&ca_file.span, "has no effect")
                .help("keep `ca_file`, which is the safer way"),
        );
    }
    if file.cookies == Some(true)
        && file.sequences.as_ref().is_none_or(|sequences| sequences.value.is_empty())
    {
        report.push(
            Problem::warning("unused-cookies", "cookies are kept within a sequence, and there is none")
                .help("write the requests that share cookies as [[workload.sequences.requests]], or leave `cookies` out"),
        );
    }
    Settings {
        http_version: file.http_version.map(|version| match version {
            HttpVersionWord::Http1 => HttpVersion::Http1,
            HttpVersionWord::Http2 => HttpVersion::Http2,
        }),
        connection_reuse: file.connection_reuse.unwrap_or(true),
        ca_file: ca_file.map(|path| place.existing(files, path, false, "the file of certificates", report)),
        verify_certificates: verify.is_none_or(|verify| verify.value),
        trace_header: match file.trace_header {
            Some(TraceHeaderWord::Xray) => TraceHeader::Xray,
            Some(TraceHeaderWord::Traceparent) => TraceHeader::Traceparent,
            None | Some(TraceHeaderWord::Both) => TraceHeader::Both,
            Some(TraceHeaderWord::None) => TraceHeader::None,
        },
        cookies: file.cookies.unwrap_or(false),
        k6_metrics: file.k6_metrics.unwrap_or(true),
    }
}

fn weight(weight: Option<&Spanned<f64>>, what: &str, report: &mut Report) {
    if let Some(weight) = weight.filter(|weight| !(weight.value > 0.0 && weight.value <= 1e9)) {
        report.push(
            Problem::error("out-of-range", format!("the weight of {what} is above 0"))
                .at(&weight.span, "outside of 0 to 1e9")
                .help(format!(
                    "use 1 for equal shares, 2 for twice as often; remove {what} to never send it"
                )),
        );
    }
}

fn request(
    file: &RequestFile,
    files: &dyn Files,
    place: &ManifestFolder,
    known: &dyn Fn(&str) -> Option<Value>,
    report: &mut Report,
) -> Request {
    check::name(&file.name.value, &file.name.span, "a request", report);
    step::url(&file.url, known, report);
    weight(file.weight.as_ref(), "a request", report);
    let headers = headers(file, report);
    let body = body(file, &headers, files, place, report);
    let method = method(file, &body, report);
    Request {
        name: file.name.value.clone(),
        weight: file.weight.as_ref().map_or(1.0, |weight| weight.value),
        method,
        url: file.url.value.clone(),
        headers,
        body,
        expect: file.expect.as_ref().map(|file| answer::expect(file, report)).unwrap_or_default(),
        timeout: file.timeout.as_ref().map(|timeout| check::duration(timeout, true, report)),
        extract: answer::extract(file, report),
    }
}

fn method(file: &RequestFile, body: &Body, report: &mut Report) -> String {
    let Some(method) = &file.method else {
        return if *body == Body::Empty { "GET" } else { "POST" }.to_owned();
    };
    if method.value.is_empty() || !method.value.chars().all(|c| c.is_ascii_uppercase() || c == '-') {
        let upper = method.value.to_ascii_uppercase();
        let usable = !upper.is_empty() && upper.chars().all(|c| c.is_ascii_uppercase());
        let mut problem =
            Problem::error("invalid-method", format!("`{}` is not an HTTP method", method.value))
                .at(&method.span, "methods are upper-case words")
                .help(format!("write \"{}\"", if usable { &upper } else { "GET" }));
        if METHODS.contains(&upper.as_str()) {
            problem = problem.respelt(&report.source, &method.value, &upper);
        }
        report.push(problem);
    } else if !METHODS.contains(&method.value.as_str()) {
        let near = did_you_mean(&method.value, METHODS);
        let mut problem =
            Problem::error("invalid-method", format!("`{}` is not an HTTP method", method.value))
                .at(&method.span, "no server knows it")
                .help(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "use a registered method, such as GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS"
                        .to_owned(),
                });
        if let Some(near) = near {
            problem = problem.respelt(&report.source, &method.value, near);
        }
        report.push(problem);
    }
    method.value.clone()
}

/// A token of RFC 9110.
pub(super) fn is_header_name(name: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(token)
}

fn headers(file: &RequestFile, report: &mut Report) -> Vec<(String, Template)> {
    let mut headers: Vec<(String, Template)> = Vec::new();
    let mut known = HashSet::new();
    for (name, value) in file.headers.iter().flat_map(Map::iter) {
        let problem = if !is_header_name(&name.value) {
            Some(format!("`{}` cannot be the name of a header", name.value))
        } else if !known.insert(name.value.to_ascii_lowercase()) {
            Some(format!("the header `{}` is given twice", name.value))
        } else {
            None
        };
        if let Some(message) = problem {
            report.push(
                Problem::error("invalid-header", message)
                    .at(&name.span, "this header")
                    .help("use letters, digits and `-`, each name once (case does not count)"),
            );
        }
        let holds = |wrong: &[char]| {
            let holds = |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains(wrong));
            value.value.pieces().iter().any(holds)
        };
        if holds(&['\r', '\n']) {
            report.push(
                Problem::error("invalid-header", "a header cannot hold a line break")
                    .at(&value.span, "holds a line break")
                    .help("write the value on one line"),
            );
        } else if holds(&['\0']) {
            report.push(
                Problem::error("invalid-header", "a header cannot hold a NUL byte")
                    .at(&value.span, "holds a NUL byte")
                    .help("remove the NUL byte (`\\u0000` in the file)"),
            );
        }
        headers.push((name.value.clone(), value.value.clone()));
    }
    headers
}

fn body(
    file: &RequestFile,
    headers: &[(String, Template)],
    files: &dyn Files,
    place: &ManifestFolder,
    report: &mut Report,
) -> Body {
    match (&file.body, &file.body_file) {
        (Some(body), Some(path)) => {
            report.push(
                Problem::error("two-bodies", "the request has both `body` and `body_file`")
                    .at(&path.span, "a second body")
                    .at(&body.span, "the first body")
                    .help("keep one of them"),
            );
            Body::Empty
        }
        (None, None) => Body::Empty,
        (None, Some(path)) => Body::File(place.existing(files, path, false, "the body file", report)),
        (Some(body), None) => {
            let said = headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("content-type"))
                .map(|(_, value)| value.source().contains("json"));
            let looks = matches!(
                body.value.pieces().first(),
                Some(Piece::Literal(text)) if text.trim_start().starts_with(['{', '['])
            );
            let json = said.unwrap_or(looks);
            if json {
                check_json(body, report);
            }
            Body::Text { template: body.value.clone(), json }
        }
    }
}

/// With numbers in place of unknown values, and words for those that are known to be words, it must be JSON.
fn check_json(body: &Spanned<Template>, report: &mut Report) {
    let stand_in = |path: &str| {
        Some(match path {
            "request.uuid" | "request.name" | "target" | "run.id" => Value::from("x"),
            _ => Value::from(0),
        })
    };
    let Ok(rendered) = body.value.render(Context::Json, &stand_in) else { return };
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&rendered) {
        report.push(
            Problem::warning("body-not-json", format!("the body looks like JSON but is not: {error}"))
                .at(&body.span, "this body")
                .help(
                    "strings need their own quotes: {\"id\": \"{{request.uuid}}\"}; for another format, say so in a Content-Type header",
                ),
        );
    }
}

/// The workload's own folder, inside the benchmark's root.
pub(super) fn place_of(path: &Path, benchmark: &ManifestFolder) -> ManifestFolder {
    ManifestFolder { folder: path.parent().unwrap_or(path).to_owned(), root: benchmark.root.clone() }
}
