//! What is sent: requests with their placeholders.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::manifest::decode::Map;
use crate::manifest::problem::{Problem, Report};
use crate::manifest::read::Files;
use crate::manifest::template::{Context, Piece, Template};
use crate::manifest::tree::Spanned;
use crate::manifest::workload::{RequestFile, StatusFile, WorkloadFile};
use crate::validate::check::{self, Place};
use crate::validate::template::{Role, Scope, User};
use crate::validate::{Phase, step};
use crate::workload::{Body, Expect, Request, Workload};

/// Checks a raw workload. `place` is the folder of the file that holds it.
pub fn workload(
    file: &WorkloadFile,
    files: &dyn Files,
    place: &Place,
    scope: &Scope,
    targets: &[String],
    report: &mut Report,
) -> Workload {
    if file.requests.value.is_empty() {
        report.push(
            Problem::error("sb::validate::workload", "the workload has no requests")
                .at(&file.requests.span, "empty")
                .help("add a [[workload.requests]] table with `name` and `url`"),
        );
    }
    let user = User { phase: Phase::Invoke, step: None, request: true, targets };
    let mut requests: Vec<Request> = Vec::new();
    for raw in &file.requests.value {
        let request = request(&raw.value, files, place, report);
        if let Some(index) = requests.iter().position(|earlier| earlier.name == request.name) {
            report.push(
                Problem::error(
                    "sb::validate::duplicate",
                    format!("two requests are called `{}`", request.name),
                )
                .at(&raw.value.name.span, "again")
                .at(&file.requests.value[index].value.name.span, "first")
                .help("reports group by this name: give each request its own"),
            );
        }
        for template in std::iter::once(&raw.value.url)
            .chain(raw.value.headers.iter().flat_map(Map::iter).map(|(_, value)| value))
            .chain(&raw.value.body)
        {
            scope.check(template, Role::Plain, user, report);
        }
        requests.push(request);
    }
    let timeout = file
        .timeout
        .as_ref()
        .map_or(Duration::from_secs(30), |timeout| check::duration(timeout, true, report));
    Workload { requests, timeout }
}

fn request(file: &RequestFile, files: &dyn Files, place: &Place, report: &mut Report) -> Request {
    check::name(&file.name.value, &file.name.span, "a request", report);
    step::url(&file.url, report);
    if let Some(weight) = file.weight.as_ref().filter(|weight| !(weight.value > 0.0 && weight.value <= 1e9)) {
        report.push(
            Problem::error("sb::validate::range", "the weight of a request is above 0")
                .at(&weight.span, "outside of 0 to 1e9")
                .help("use 1 for equal shares, 2 for twice as often; remove the request to never send it"),
        );
    }
    let headers = headers(file, report);
    let body = body(file, &headers, files, place, report);
    let method = match &file.method {
        None if body == Body::Empty => "GET".to_owned(),
        None => "POST".to_owned(),
        Some(method) => {
            if method.value.is_empty() || !method.value.chars().all(|c| c.is_ascii_uppercase() || c == '-') {
                report.push(
                    Problem::error(
                        "sb::validate::method",
                        format!("`{}` is not an HTTP method", method.value),
                    )
                    .at(&method.span, "methods are upper-case words")
                    .help(format!(
                        "write \"{}\"",
                        match method.value.to_ascii_uppercase() {
                            upper if !upper.is_empty() && upper.chars().all(|c| c.is_ascii_uppercase()) =>
                                upper,
                            _ => "GET".to_owned(),
                        }
                    )),
                );
            }
            method.value.clone()
        }
    };
    let status = file.expect.iter().flat_map(|expect| match &expect.status {
        StatusFile::One(status) => std::slice::from_ref(status),
        StatusFile::Many(list) => list.as_slice(),
    });
    Request {
        name: file.name.value.clone(),
        weight: file.weight.as_ref().map_or(1.0, |weight| weight.value),
        method,
        url: file.url.value.clone(),
        headers,
        body,
        expect: Expect { status: status.map(|status| check::status(status, report)).collect() },
    }
}

fn headers(file: &RequestFile, report: &mut Report) -> Vec<(String, Template)> {
    let mut headers: Vec<(String, Template)> = Vec::new();
    for (name, value) in file.headers.iter().flat_map(Map::iter) {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        let problem = if name.value.is_empty() || !name.value.chars().all(token) {
            Some(format!("`{}` cannot be the name of a header", name.value))
        } else if headers.iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(&name.value)) {
            Some(format!("the header `{}` is given twice", name.value))
        } else {
            None
        };
        if let Some(message) = problem {
            report.push(
                Problem::error("sb::validate::header", message)
                    .at(&name.span, "this header")
                    .help("use letters, digits and `-`, each name once (case does not count)"),
            );
        }
        let control =
            |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains(['\r', '\n', '\0']));
        if value.value.pieces().iter().any(control) {
            report.push(
                Problem::error("sb::validate::header", "a header cannot hold a line break")
                    .at(&value.span, "holds a line break or NUL")
                    .help("write the value on one line"),
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
    place: &Place,
    report: &mut Report,
) -> Body {
    match (&file.body, &file.body_file) {
        (Some(body), Some(path)) => {
            report.push(
                Problem::error("sb::validate::body", "the request has both `body` and `body_file`")
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
            Problem::warning("sb::validate::json", format!("the body looks like JSON but is not: {error}"))
                .at(&body.span, "this body")
                .help(
                    "strings need their own quotes: {\"id\": \"{{request.uuid}}\"}; for another format, say so in a Content-Type header",
                ),
        );
    }
}

/// The workload's own folder, inside the benchmark's root.
pub fn place_of(path: &Path, benchmark: &Place) -> Place {
    Place { folder: path.parent().unwrap_or(path).to_owned(), root: benchmark.root.clone() }
}
