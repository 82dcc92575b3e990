//! What is wrong with a request whatever happens before it: found here, and not after a deployment that was paid for.

use serde_json::Value;

use crate::benchmark::{Action, Benchmark, ManifestStep, Param, ParamSource, ReadyCondition, Sent};
use crate::plan::Point;
use sb_workload::http;
use sb_workload::template::{Context, Piece, Template, plain_text};
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
    if let Some(fault) = url_fault(&request.url, known) {
        found.push(Fault { part: Part::Url, reason: fault.reason });
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
pub(super) fn url_fault(
    template: &Template,
    known: &dyn Fn(&str) -> Option<Value>,
) -> Option<http::UrlFault> {
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
                let value = plain_text(&value);
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

/// Why a template gives no TCP port. None: it gives one, or its values are not known yet.
pub(super) fn port_fault(template: &Template, known: &dyn Fn(&str) -> Option<Value>) -> Option<String> {
    let text = template.render(Context::Plain, known).ok()?;
    let is_port = text.parse::<u16>().is_ok_and(|port| port > 0);
    (!is_port).then(|| format!("`{text}` is no port: it takes a number from 1 to 65535"))
}

/// What is wrong with the requests and steps of a benchmark at a point of a plan, in the words of a message.
pub(super) fn at_point(benchmark: &Benchmark, target: &str, point: &Point) -> Option<String> {
    let value =
        |name: &str| point.params.get(name).cloned().or_else(|| constant(benchmark.params.get(name)?));
    let known = |path: &str| value(path.strip_prefix("params.")?);
    in_requests(benchmark, &known).or_else(|| {
        let target = benchmark.targets.get(target)?;
        let mut steps = target.deploy.iter().chain(&target.invoke).chain(&target.cleanup);
        steps.find_map(|step| in_step(benchmark, step, &known))
    })
}

/// What is wrong with a step, of what its author checks when it is written down as a number or a URL.
fn in_step(
    benchmark: &Benchmark,
    step: &ManifestStep,
    known: &dyn Fn(&str) -> Option<Value>,
) -> Option<String> {
    let name = &step.name;
    let url = |url: &Template| {
        let fault = url_fault(url, known)?;
        Some(format!("the URL of the step `{name}` cannot be used: {}", fault.reason))
    };
    match &step.action {
        Action::WaitFor(wait) => url(&wait.http),
        Action::Background(background) => match &background.ready {
            ReadyCondition::Http { url: http, .. } => url(http),
            ReadyCondition::Port(port) => {
                let reason = port_fault(port, known)?;
                Some(format!("the step `{name}` waits for a port, and {reason}"))
            }
            ReadyCondition::AtOnce | ReadyCondition::Log(_) => None,
        },
        action => {
            let (path, parameters) = action.template()?;
            let model = benchmark.templates.parsed(path)?;
            let own = benchmark
                .params
                .keys()
                .filter_map(|name| Some((name.clone(), plain_text(&known(&format!("params.{name}"))?))));
            let given = parameters.iter().filter_map(|(name, template)| {
                Some((name.clone(), template.render(Context::Plain, known).ok()?))
            });
            let refused = model.refused_parameters(&own.chain(given).collect());
            let problem = refused.first()?;
            Some(format!("the template of the step `{name}` takes other values: {}", problem.message))
        }
    }
}

fn in_requests(benchmark: &Benchmark, known: &dyn Fn(&str) -> Option<Value>) -> Option<String> {
    let Some(Sent::Requests(workload)) = &benchmark.workload else { return None };
    let Workload { requests, sequences, settings, .. } = &**workload;
    let all = requests.iter().chain(sequences.iter().flat_map(|sequence| &sequence.requests));
    all.flat_map(|request| {
        faults(request, settings, known).into_iter().map(|fault| match fault.part {
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
