//! Where a target's traces come from, and the steps that this takes.

use std::sync::Arc;

use super::benchmark::built_in_step;
use super::template::{Maker, Role, Scope, TargetScope, User};
use crate::benchmark::{Action, AppInsights, CloudTrace, Phase, RECEIVER_OUTPUT, Target, Traces};
use crate::manifest::benchmark::{TracesFile, TracesSourceFile, TracesWord};
use crate::manifest::problem::{Problem, Report, Span};
use crate::manifest::tree::Spanned;
use sb_workload::template::Template;

/// The steps that start and stop the receiver of OpenTelemetry.
pub(super) const RECEIVER: &str = "otlp-receiver";

/// By default, the output that has the application's id.
const APPLICATION: &str = "outputs.app_insights_id";

/// By default, the output that has the id of Google's project.
const PROJECT: &str = "outputs.google_project";

pub(super) fn checked(raw: &Spanned<TracesFile>, report: &mut Report) -> Traces {
    let source = match &raw.value {
        TracesFile::Word(word) => {
            return match word {
                TracesWord::Xray => Traces::Xray,
                TracesWord::TransactionSearch => Traces::TransactionSearch,
                TracesWord::AppInsights => Traces::AppInsights(Box::new(AppInsights {
                    application: Template::value(APPLICATION),
                    api_key: None,
                    token: None,
                    endpoint: None,
                })),
                TracesWord::Google => Traces::Google(Box::new(CloudTrace {
                    project: Template::value(PROJECT),
                    token: None,
                    endpoint: None,
                })),
                TracesWord::Otlp => Traces::Otlp(None),
                TracesWord::Local => Traces::Local,
                TracesWord::None => Traces::None,
            };
        }
        TracesFile::Source(source) => source,
    };
    let TracesSourceFile { app_insights, api_key, token, endpoint, google, otlp } = &**source;
    let plain =
        |template: &Option<Spanned<Template>>| template.as_ref().map(|template| template.value.clone());
    let problem = |message: &str, help: &str| {
        Problem::error("invalid-traces", message).at(&raw.span, "here").help(help)
    };
    match (app_insights, google, otlp) {
        (Some(application), None, None) => {
            if let (Some(_), Some(token)) = (api_key, token) {
                report.push(
                    Problem::error("invalid-traces", "there are an API key and a token")
                        .at(&token.span, "one of them is enough")
                        .help("keep one of them"),
                );
            }
            Traces::AppInsights(Box::new(AppInsights {
                application: application.value.clone(),
                api_key: plain(api_key),
                token: plain(token),
                endpoint: plain(endpoint),
            }))
        }
        (None, Some(project), None) => {
            if let Some(key) = api_key {
                report.push(
                    Problem::error("invalid-traces", "Cloud Trace has no API keys")
                        .at(&key.span, "here")
                        .help("give `token`, or set SB_GOOGLE_TOKEN to what `gcloud auth print-access-token` prints"),
                );
            }
            Traces::Google(Box::new(CloudTrace {
                project: project.value.clone(),
                token: plain(token),
                endpoint: plain(endpoint),
            }))
        }
        (None, None, Some(file)) => {
            if api_key.is_some() || token.is_some() || endpoint.is_some() {
                report.push(problem(
                    "a file of spans needs neither credentials nor an endpoint",
                    "keep `otlp` only",
                ));
            }
            Traces::Otlp(Some(file.value.clone()))
        }
        _ => {
            report.push(problem(
                "traces come from exactly one of `app_insights`, `google` and `otlp`",
                "write `traces = { otlp = \"spans.json\" }`, or a word such as `traces = \"otlp\"`",
            ));
            Traces::None
        }
    }
}

/// What is in them must be known when a load has ended.
pub(super) fn check_templates(raw: &Spanned<TracesFile>, target: &str, scope: &Scope, report: &mut Report) {
    let targets = [target.to_owned()];
    let user = User { phase: Phase::Invoke, step: None, request: None, targets: &targets };
    match &raw.value {
        TracesFile::Word(word @ (TracesWord::AppInsights | TracesWord::Google)) => {
            let path = if matches!(word, TracesWord::Google) { PROJECT } else { APPLICATION };
            let template = Spanned { value: Template::value(path), span: raw.span.clone() };
            scope.check(&template, Role::Plain, user, report);
        }
        TracesFile::Word(_) => {}
        TracesFile::Source(source) => {
            let TracesSourceFile { app_insights, api_key, token, endpoint, google, otlp } = &**source;
            for template in [app_insights, api_key, token, endpoint, google, otlp].into_iter().flatten() {
                scope.check(template, Role::Plain, user, report);
            }
        }
    }
}

/// The receiver runs from before the first deploy step to after the last cleanup step.
pub(super) fn add_receiver(target: &mut Target, scope: &mut TargetScope, span: &Span, report: &mut Report) {
    if target.deploy.iter().chain(&target.cleanup).any(|step| step.name == RECEIVER) {
        report.push(
            Problem::error("duplicate-name", format!("`traces = \"otlp\"` adds steps called `{RECEIVER}`"))
                .at(span, "in this target")
                .help("rename the step of that name"),
        );
        return;
    }
    for step in target.deploy.iter_mut().filter(|step| step.needs.is_empty()) {
        Arc::make_mut(step).needs.push(RECEIVER.to_owned());
    }
    scope.order.entry(Phase::Deploy).or_default().begin_with(RECEIVER);
    let maker = Maker {
        phase: Phase::Deploy,
        step: RECEIVER.to_owned(),
        secret: false,
        has_default: false,
        may_fail: false,
    };
    scope.outputs.entry(RECEIVER_OUTPUT.to_owned()).or_insert(maker);
    let names = target.cleanup.iter().map(|step| step.name.clone()).collect();
    target.deploy.insert(0, Arc::new(built_in_step(Phase::Deploy, RECEIVER, Action::OtlpUp, Vec::new())));
    target.cleanup.push(Arc::new(built_in_step(Phase::Cleanup, RECEIVER, Action::OtlpDown, names)));
}
