//! What is wrong with a request whatever happens before it: found here, and not after a deployment that was paid for.

use serde_json::Value;

use crate::benchmark::{Benchmark, Param, ParamSource, Sent};
use crate::plan::Point;
use sb_workload::http;
use sb_workload::template::{Context, Piece, Template};
use sb_workload::{HttpVersion, Request, Settings, Workload};

/// A part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Url,
    /// By its place among the headers.
    Header(usize),
}

/// What is wrong with a part, after its name: `the URL of the request …`.
#[derive(Debug)]
pub(super) struct Fault {
    pub part: Part,
    pub reason: String,
}

/// The value of a parameter that is written down. An empty text waits for one that is given.
pub(super) fn constant(param: &Param) -> Option<Value> {
    match &param.source {
        ParamSource::Value(Value::String(text)) if text.is_empty() => None,
        ParamSource::Value(value) => Some(value.clone()),
        ParamSource::RandomHex(_) | ParamSource::Env { .. } => None,
    }
}

/// Faults that no later value can mend. `known` gives the values that are known.
pub(super) fn faults(
    request: &Request,
    settings: &Settings,
    known: &dyn Fn(&str) -> Option<Value>,
) -> Vec<Fault> {
    let mut found = Vec::new();
    if let Some(reason) = url_fault(&request.url, known) {
        found.push(Fault { part: Part::Url, reason });
    }
    for (index, (name, template)) in request.headers.iter().enumerate() {
        let value = template.render(Context::Plain, &|path| known(path).or_else(|| Some(Value::from("1"))));
        let reason = http::refused_header(name, settings.trace_header)
            .or_else(|| http::refused_header_value(name, value.as_deref().unwrap_or("\0")));
        if let Some(reason) = reason {
            found.push(Fault { part: Part::Header(index), reason: reason.to_owned() });
        }
    }
    found
}

/// Why a URL cannot be requested.
pub(super) fn url_fault(template: &Template, known: &dyn Fn(&str) -> Option<Value>) -> Option<String> {
    // The first piece may be any beginning of a URL; a later one may be a host, a port or a part of the path.
    let first = match template.pieces() {
        [Piece::Value { path, .. }, rest @ ..] if known(path).is_none() => match rest.first() {
            Some(Piece::Literal(text)) if text.starts_with("://") => "http",
            None => "http://1",
            Some(Piece::Literal(text)) if text.starts_with(['/', '?', ':', '#']) => "http://1",
            Some(_) => "http://1/",
        },
        [] => return None,
        _ => "",
    };
    let rest = if first.is_empty() { template.pieces() } else { &template.pieces()[1..] };
    let mut text = first.to_owned();
    for (index, piece) in rest.iter().enumerate() {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            Piece::Value { path, raw } => {
                let value = known(path).unwrap_or_else(|| Value::from("1"));
                let value = sb_workload::template::plain_text(&value);
                if *raw || (index == 0 && first.is_empty()) {
                    text.push_str(&value);
                } else {
                    text.push_str(&sb_workload::template::percent_encoded(&value));
                }
            }
        }
    }
    http::url(&text).err()
}

/// What is wrong with the requests of a benchmark at a point of a plan, in the words of a message.
pub(super) fn at_point(benchmark: &Benchmark, point: &Point) -> Option<String> {
    let Some(Sent::Requests(workload)) = &benchmark.workload else { return None };
    let known = |path: &str| {
        let name = path.strip_prefix("params.")?;
        point.params.get(name).cloned().or_else(|| constant(benchmark.params.get(name)?))
    };
    let Workload { requests, sequences, settings, .. } = &**workload;
    let all = requests.iter().chain(sequences.iter().flat_map(|sequence| &sequence.requests));
    all.flat_map(|request| {
        faults(request, settings, &known).into_iter().map(|fault| match fault.part {
            Part::Url => {
                format!("the URL of the request `{}` cannot be used: {}", request.name, fault.reason)
            }
            Part::Header(index) => {
                format!(
                    "the header `{}` of the request `{}` {}",
                    request.headers[index].0, request.name, fault.reason
                )
            }
        })
    })
    .next()
}

/// HTTP/2 has its own fields for what these say.
pub(super) fn is_lost_over_http2(name: &str, settings: &Settings) -> bool {
    let connection = ["connection", "keep-alive", "proxy-connection", "upgrade"];
    settings.http_version == Some(HttpVersion::Http2)
        && connection.iter().any(|header| name.eq_ignore_ascii_case(header))
}
