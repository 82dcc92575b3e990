//! Requests that no route of the local target's template answers: they would all fail.

use std::collections::BTreeSet;

use crate::benchmark::{Action, Sent, Target};
use crate::manifest::benchmark::{BenchmarkFile, WorkloadOrPath};
use crate::manifest::problem::{Problem, Report, Span, suggest};
use crate::validate::load::first_line;
use crate::validate::step::Steps;
use sb_sam::Route;
use sb_workload::Request;
use sb_workload::template::{Piece, Template};

/// The output that is the address of the local target's HTTP API.
const ENDPOINT: &str = "outputs.endpoint";
/// Stands for a value in a path: it may be anything, but ends no segment.
const ANY: char = '\0';

impl Steps<'_> {
    /// Warns of requests of a target that go to the local target's API, where no route has their method and path.
    pub(super) fn check_routes(
        &self,
        file: &BenchmarkFile,
        target: &Target,
        workload: Option<&Sent>,
        report: &mut Report,
    ) {
        let (Some(Sent::Requests(workload)), Some(raw)) = (workload, &file.workload) else { return };
        let mut ups = target.deploy.iter().filter_map(|step| match &step.action {
            Action::LocalUp(up) => Some(up),
            _ => None,
        });
        let (Some(up), None) = (ups.next(), ups.next()) else { return };
        let Some(application) = self.application(up) else { return };
        let names = || application.routes.iter().map(|route| format!("{} {}", route.method, route.path));
        let known: Vec<String> = names().collect::<BTreeSet<_>>().into_iter().collect();
        let sequences = workload.sequences.iter().flat_map(|sequence| &sequence.requests);
        for request in workload.requests.iter().chain(sequences) {
            let Some(path) = path_of(&request.url) else { continue };
            if application.routes.iter().any(|route| answers(route, &request.method, &path)) {
                continue;
            }
            let span = place(&raw.value, request).unwrap_or_else(|| first_line(&raw.span, report));
            let asked = format!("{} {}", request.method, path.replace(ANY, "{…}"));
            let message = format!("no route of the template answers `{asked}`");
            report.push(
                Problem::warning("unknown-route", message)
                    .at(&span, format!("asked of {}", up.template.display()))
                    .help(if known.is_empty() {
                        "the template has no HTTP route: invoke a function with POST \
                         `{{outputs.lambda_endpoint}}/2015-03-31/functions/NAME/invocations`"
                            .to_owned()
                    } else {
                        suggest(&asked, "routes", known.iter().map(String::as_str))
                    }),
            );
        }
    }
}

/// Where the URL of a request stands in the manifest. None: in another file.
fn place(workload: &WorkloadOrPath, request: &Request) -> Option<Span> {
    let WorkloadOrPath::Inline(file) = workload else { return None };
    let alone = file.requests.iter().flat_map(|list| &list.value);
    let sequences = file.sequences.iter().flat_map(|list| &list.value);
    let all = alone.chain(sequences.flat_map(|sequence| &sequence.value.requests.value));
    let mut found =
        all.filter(|raw| raw.value.url.value == request.url && raw.value.name.value == request.name);
    found.next().map(|raw| raw.value.url.span.clone())
}

/// The path of a URL that begins with the API's address, with [`ANY`] for values. None: it goes elsewhere, or a value in it may
/// be several segments.
fn path_of(url: &Template) -> Option<String> {
    let mut pieces = url.pieces().iter();
    match pieces.next() {
        Some(Piece::Value { path, .. }) if path == ENDPOINT => {}
        _ => return None,
    }
    let mut text = String::new();
    for piece in pieces {
        match piece {
            Piece::Literal(literal) => match literal.find(['?', '#']) {
                Some(end) => {
                    text.push_str(&literal[..end]);
                    break;
                }
                None => text.push_str(literal),
            },
            Piece::Value { raw: true, .. } => return None,
            Piece::Value { .. } => text.push(ANY),
        }
    }
    (text.is_empty() || text.starts_with('/')).then(|| if text.is_empty() { "/".to_owned() } else { text })
}

/// Whether a route has this method and path. The stage may stand in front, as in the URL of an API.
fn answers(route: &Route, method: &str, path: &str) -> bool {
    if route.method != method && route.method != "ANY" {
        return false;
    }
    let (stage, below) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    fits(&route.path, path) || (stage == route.stage && fits(&route.path, below))
}

fn fits(pattern: &str, path: &str) -> bool {
    if pattern == "$default" {
        return true;
    }
    let mut rest = path.trim_matches('/').split('/');
    for part in pattern.trim_matches('/').split('/') {
        let Some(given) = rest.next() else { return false };
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        match name {
            Some(name) if name.ends_with('+') => return !given.is_empty(),
            Some(_) if given.is_empty() => return false,
            Some(_) => {}
            None if given == part || may_be(given, part) => {}
            None => return false,
        }
    }
    rest.next().is_none()
}

/// Whether a segment with values in it may become this one.
fn may_be(given: &str, part: &str) -> bool {
    let mut rest = part;
    let mut pieces = given.split(ANY).peekable();
    let Some(first) = pieces.next().filter(|_| given.contains(ANY)) else { return false };
    let Some(after) = rest.strip_prefix(first) else { return false };
    rest = after;
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, url: &str, expected: bool) {
        let path = path_of(&Template::parse(&format!("{{{{outputs.endpoint}}}}{url}")).unwrap()).unwrap();
        let route = Route {
            function: "F".to_owned(),
            integration: None,
            format: sb_sam::Format::Rest,
            method: "GET".to_owned(),
            path: pattern.to_owned(),
            api: "Api".to_owned(),
            stage: "Prod".to_owned(),
        };
        assert_eq!(answers(&route, "GET", &path), expected, "{pattern} {url}");
        assert!(!answers(&route, "POST", &path));
    }

    #[test]
    fn paths_fit_routes_as_the_api_reads_them() {
        check("/orders", "/orders", true);
        check("/orders", "/orders/?page=1", true);
        check("/orders", "/Prod/orders", true);
        check("/orders", "/Test/orders", false);
        check("/orders", "/order", false);
        check("/orders/{id}", "/orders/{{request.uuid}}", true);
        check("/orders/{id}", "/orders/a-{{request.uuid}}.jpg", true);
        check("/orders/{id}", "/orders", false);
        check("/orders/{id}", "/orders/1/lines", false);
        check("/{proxy+}", "/a/b/c", true);
        check("/{proxy+}", "/", false);
        check("/", "", true);
        check("$default", "/what/ever", true);
        // A value may be what the route says.
        check("/orders/new", "/orders/{{params.what}}", true);
        check("/orders/new", "/orders/n{{params.what}}w", true);
        check("/orders/new", "/orders/o{{params.what}}", false);
        assert!(path_of(&Template::parse("http://127.0.0.1/orders").unwrap()).is_none());
        assert!(path_of(&Template::parse("{{outputs.endpoint}}{{{params.path}}}").unwrap()).is_none());
    }
}
