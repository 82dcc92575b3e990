//! Background steps: what of a step must be said, and what cannot be, when its command stays until the cleanup.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::benchmark::built_in_step;
use super::check;
use super::output::regex;
use super::requests;
use super::step::url;
use super::template::{Role, Scope, User};
use crate::benchmark::{
    Action, Background, Command, Output, OutputSource, Param, Phase, ReadyCondition, Target,
};
use crate::manifest::benchmark::{OutputFile, PortFile, ReadyConditionFile, ReadyFile, StepFile};
use crate::manifest::decode::Map;
use crate::manifest::problem::{Problem, Report, Span};
use crate::manifest::tree::Spanned;
use sb_workload::template::Template;

/// The cleanup step that stops the background steps of a deployment.
const STOP: &str = "background";

/// As of `wait_for`.
const READY_WITHIN: Duration = Duration::from_mins(2);

/// The rule that all of these break.
const CODE: &str = "background-step";

/// The action of a step with `background = true`.
pub(super) fn action(
    phase: Phase,
    file: &StepFile,
    at: &Span,
    command: Command,
    params: &BTreeMap<String, Param>,
    report: &mut Report,
) -> Action {
    if phase != Phase::Deploy {
        report.push(
            Problem::error(CODE, "`background = true` belongs to deploy steps")
                .at(at, "not here")
                .help("move the step to [[deploy]]: it is kept alive until the deployment's cleanup has run"),
        );
    }
    if let Some(timeout) = &file.timeout {
        report.push(
            Problem::error(CODE, "a background step has no `timeout`: it runs until the cleanup")
                .at(&timeout.span, "has no meaning here")
                .help("say how long it may take to be ready: `ready = { port = 5432, timeout = \"1m\" }`"),
        );
    }
    let (ready, ready_within) = match &file.ready {
        Some(ready) => condition(ready, params, report),
        // That it stands in another phase was said.
        None if phase != Phase::Deploy => (ReadyCondition::AtOnce, READY_WITHIN),
        None => {
            report.push(
                Problem::error(
                    CODE,
                    format!("the step `{}` does not say when it is ready", file.name.value),
                )
                .at(at, "needs `ready`")
                .help("add `ready = { http = \"http://…\" }`, `{ port = 5432 }` or `{ log = \"listening\" }`; or `ready = \"at_once\"`"),
            );
            (ReadyCondition::AtOnce, READY_WITHIN)
        }
    };
    Action::Background(Box::new(Background { command, ready, ready_within }))
}

/// `ready` without `background = true`.
pub(super) fn reject_ready(file: &StepFile, report: &mut Report) {
    if let Some(ready) = &file.ready {
        report.push(
            Problem::error(CODE, "`ready` belongs to background steps")
                .at(&ready.span, "has no effect here")
                .help("add `background = true` to a step with `run`, or remove `ready`"),
        );
    }
}

fn condition(
    ready: &Spanned<ReadyFile>,
    params: &BTreeMap<String, Param>,
    report: &mut Report,
) -> (ReadyCondition, Duration) {
    let ReadyFile::When(file) = &ready.value else { return (ReadyCondition::AtOnce, READY_WITHIN) };
    let ReadyConditionFile { http, status, port, log, timeout } = &**file;
    let within = timeout.as_ref().map_or(READY_WITHIN, |timeout| check::duration(timeout, true, report));
    if let Some(status) = status.as_ref().filter(|_| http.is_none()) {
        report.push(
            Problem::error(CODE, "`status` is that of a URL")
                .at(&status.span, "has no effect here")
                .help("add `http = \"http://…\"`, or remove `status`"),
        );
    }
    let condition = match (http, port, log) {
        (Some(http), None, None) => {
            let known = |path: &str| requests::constant(params.get(path.strip_prefix("params.")?)?);
            url(http, &known, report);
            ReadyCondition::Http {
                url: http.value.clone(),
                status: status.as_ref().map_or(200, |status| check::status(status, report)),
            }
        }
        (None, Some(port), None) => ReadyCondition::Port(port_of(port, params, report)),
        (None, None, Some(pattern)) => {
            regex(pattern, report);
            ReadyCondition::Log(pattern.value.clone())
        }
        _ => {
            report.push(
                Problem::error(CODE, "`ready` takes exactly one of `http`, `port` and `log`")
                    .at(&ready.span, "not one condition")
                    .help("keep one of them, such as `{ port = 5432 }`; or write `ready = \"at_once\"`"),
            );
            ReadyCondition::AtOnce
        }
    };
    (condition, within)
}

fn port_of(port: &Spanned<PortFile>, params: &BTreeMap<String, Param>, report: &mut Report) -> Template {
    let number = match &port.value {
        PortFile::Number(number) => *number,
        PortFile::Value(template) if template.is_literal() => template.source().parse().unwrap_or(-1),
        PortFile::Value(template) => {
            let known = |path: &str| requests::constant(params.get(path.strip_prefix("params.")?)?);
            if let Some(reason) = requests::port_fault(template, &known) {
                report.push(
                    Problem::error("out-of-range", reason)
                        .at(&port.span, "by the parameter's own value")
                        .help("correct the value in [params], or write the port here"),
                );
            }
            return template.clone();
        }
    };
    check::count(
        &Spanned { value: number, span: port.span.clone() },
        1..=i64::from(u16::MAX),
        "a port",
        report,
    );
    Template::parse(&number.to_string()).unwrap_or_else(|_| Template::value("port"))
}

/// What it has printed is looked at when it is ready: nothing that is known only at the end of it can be an output.
pub(super) fn check_outputs(
    outputs: Option<&Map<Spanned<OutputFile>>>,
    checked: &BTreeMap<String, Output>,
    report: &mut Report,
) {
    for (name, raw) in outputs.iter().flat_map(|outputs| outputs.iter()) {
        let source = match checked.get(&name.value).map(|output| &output.source) {
            Some(OutputSource::Stdout) => "all of standard output",
            Some(OutputSource::Json(_)) => "standard output as one JSON document",
            Some(OutputSource::Line(line)) if *line < 0 => "a line counted from the end",
            _ => continue,
        };
        report.push(
            Problem::error(
                CODE,
                format!("`{}` is {source}, which a background step completes only at its end", name.value),
            )
            .at(&raw.span, "not known when the step is ready")
            .help("use `regex`, `line` counted from 1, or `file`: what is there when the step is ready"),
        );
    }
}

/// The placeholders of `ready`.
pub(super) fn check_templates(file: &StepFile, scope: &Scope, user: User<'_>, report: &mut Report) {
    let Some(ReadyFile::When(ready)) = file.ready.as_ref().map(|ready| &ready.value) else { return };
    if let Some(http) = &ready.http {
        scope.check(http, Role::Plain, user, report);
    }
    if let Some(Spanned { value: PortFile::Value(template), span }) = &ready.port {
        let template = Spanned { value: template.clone(), span: span.clone() };
        scope.check(&template, Role::Plain, user, report);
    }
}

/// After all that the manifest cleans up, its background steps are stopped.
pub(super) fn add_stop(target: &mut Target, span: &Span, report: &mut Report) {
    if !target.deploy.iter().any(|step| matches!(step.action, Action::Background(_))) {
        return;
    }
    if target.cleanup.iter().any(|step| step.name == STOP) {
        report.push(
            Problem::error("duplicate-name", format!("background steps add a cleanup step called `{STOP}`"))
                .at(span, "in this target")
                .help("rename the step of that name"),
        );
        return;
    }
    let names = target.cleanup.iter().map(|step| step.name.clone()).collect();
    target.cleanup.push(Arc::new(built_in_step(Phase::Cleanup, STOP, Action::StopBackground, names)));
}
