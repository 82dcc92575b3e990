//! One step of a manifest: its action, environment and outputs, whatever the target.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::benchmark::{
    Action, Image, LocalSettings, ManifestStep, OnInterrupt, Param, ParamSource, Phase, Retry, WaitFor,
};
use crate::manifest::benchmark::{LocalFile, OnInterruptWord, RunFile, StepFile, WaitForFile};
use crate::manifest::decode::{Map, Text};
use crate::manifest::problem::{Problem, Report, Source, Span, suggest};
use crate::manifest::read::Files;
use crate::manifest::tree::Spanned;
use crate::validate::check::{self, ManifestFolder};
use crate::validate::environment::command;
use crate::validate::output::output as checked_output;
use crate::validate::retry::retry as checked_retry;
use crate::validate::stand_in;
use crate::validate::template::{Role, Scope, User};
use sb_workload::template::{Context, Piece, Template, plain_text};

/// What steps of one manifest share.
pub(super) struct Steps<'a> {
    pub files: &'a dyn Files,
    pub place: &'a ManifestFolder,
    pub images: &'a BTreeMap<String, Image>,
    pub params: &'a BTreeMap<String, Param>,
    /// Credentials that each target allows.
    pub ceilings: &'a BTreeMap<String, Vec<String>>,
}

/// A step before it is known what comes before it.
pub(super) struct Draft<'a> {
    pub raw: &'a Spanned<StepFile>,
    /// `needs` is empty.
    pub step: ManifestStep,
    pub targets: Vec<String>,
    /// Names of the outputs, of a local step those of its template.
    pub output_names: Vec<String>,
}

impl Steps<'_> {
    /// Checks what does not depend on other steps.
    pub(super) fn draft<'a>(
        &self,
        phase: Phase,
        raw: &'a Spanned<StepFile>,
        report: &mut Report,
    ) -> Draft<'a> {
        let file = &raw.value;
        check::name(&file.name.value, &file.name.span, "a step", report);
        let targets = self.targets(file, report);
        let action = self.action(phase, raw, report);
        let environment = self.environment(file, &targets, report);
        let is_command = matches!(action, Some(Action::Run(_)));
        if action.is_some() && !is_command {
            reject_command_keys(file, report);
        }
        let mut output_names: Vec<String> = Vec::new();
        let mut outputs = BTreeMap::new();
        for (name, output) in file.outputs.iter().flat_map(Map::iter) {
            check::name(&name.value, &name.span, "an output", report);
            output_names.push(name.value.clone());
            outputs.insert(name.value.clone(), checked_output(output, self.files, self.place, report));
        }
        if let Some(Action::LocalUp { template, parameters, .. }) = &action {
            output_names.extend(self.local_outputs(template, parameters, file, &targets, report));
        }
        let recover = file.recover.iter().flatten();
        let recover =
            recover.map(|recovery| self.recovery(recovery, &environment, &targets, report)).collect();
        let fails_interrupted = file.on_interrupt == Some(OnInterruptWord::Fail);
        let step = ManifestStep {
            phase,
            name: file.name.value.clone(),
            needs: Vec::new(),
            action: action.unwrap_or(Action::Wait(Duration::ZERO)),
            environment,
            timeout: file.timeout.as_ref().map(|timeout| check::duration(timeout, true, report)),
            retry: match &file.retry {
                Some(retry) => checked_retry(retry, report),
                // What runs again after an interruption may run again here. An invocation is never repeated unasked.
                None if is_command && phase != Phase::Invoke && !fails_interrupted => Retry::when_throttled(),
                None => Retry::once(),
            },
            allow_failure: file.allow_failure.unwrap_or(false),
            recover,
            outputs,
            on_interrupt: if fails_interrupted { OnInterrupt::Fail } else { OnInterrupt::Rerun },
            locks: locks(file.locks.as_ref(), report),
        };
        Draft { raw, step, targets, output_names }
    }

    fn targets(&self, file: &StepFile, report: &mut Report) -> Vec<String> {
        let Some(given) = &file.target else {
            return self.ceilings.keys().cloned().collect();
        };
        let mut targets = Vec::new();
        for target in &given.0 {
            if !self.ceilings.contains_key(&target.value) {
                report.push(
                    Problem::error(
                        "sb::validate::unknown_target",
                        format!("unknown target `{}`", target.value),
                    )
                    .at(&target.span, "not in [targets]")
                    .help(suggest(
                        &target.value,
                        "targets",
                        self.ceilings.keys().map(String::as_str),
                    )),
                );
            } else if !targets.contains(&target.value) {
                targets.push(target.value.clone());
            }
        }
        targets
    }

    /// The one action. None: reported.
    fn action(&self, phase: Phase, raw: &Spanned<StepFile>, report: &mut Report) -> Option<Action> {
        let file = &raw.value;
        let given: Vec<(&str, &Span)> = [
            file.run.as_ref().map(|value| ("run", &value.span)),
            file.wait.as_ref().map(|value| ("wait", &value.span)),
            file.wait_for.as_ref().map(|value| ("wait_for", &value.span)),
            file.load.as_ref().map(|value| ("load", &value.span)),
            file.local.as_ref().map(|value| ("local", &value.span)),
        ]
        .into_iter()
        .flatten()
        .collect();
        if let [(first, first_at), (second, second_at), ..] = given.as_slice() {
            report.push(
                Problem::error(
                    "sb::validate::action",
                    format!("the step `{}` has both `{first}` and `{second}`", file.name.value),
                )
                .at(second_at, "a second action")
                .at(first_at, "the first action")
                .help("a step has exactly one action: make two steps of it"),
            );
            return None;
        }
        if let Some(run) = &file.run {
            return Some(Action::Run(command(run, file.shell.as_ref(), report)));
        }
        if let Some(wait) = &file.wait {
            return Some(Action::Wait(check::duration(wait, false, report)));
        }
        if let Some(wait_for) = &file.wait_for {
            return Some(Action::WaitFor(wait_for_answer(&wait_for.value, report)));
        }
        if let Some(load) = &file.load {
            let problem = if phase != Phase::Invoke {
                Some(("`load` belongs to invoke steps", "move the step to [[invoke]]"))
            } else if !load.value {
                Some(("`load = false` does nothing", "write `load = true`, or remove the step"))
            } else {
                None
            };
            if let Some((message, help)) = problem {
                report.push(
                    Problem::error("sb::validate::action", message).at(&load.span, "not here").help(help),
                );
            }
            return Some(Action::Load);
        }
        if let Some(local) = &file.local {
            return self.local(phase, local, report);
        }
        report.push(
            Problem::error("sb::validate::action", format!("the step `{}` does nothing", file.name.value))
                .at(&file.name.span, "a step without an action")
                .help("add exactly one of `run`, `wait`, `wait_for`, `load` (invoke only) and `local`"),
        );
        None
    }

    fn local(&self, phase: Phase, local: &Spanned<LocalFile>, report: &mut Report) -> Option<Action> {
        let (message, help) = match (&local.value.template, &local.value.down) {
            (Some(template), None) if phase == Phase::Deploy => {
                let template = self.place.existing(self.files, template, false, "the SAM template", report);
                let values = |map: &Option<Map<Spanned<Template>>>| {
                    let values = map.iter().flat_map(Map::iter);
                    values.map(|(name, value)| (name.value.clone(), value.value.clone())).collect()
                };
                stand_in::check(&local.value, report);
                return Some(Action::LocalUp {
                    template,
                    parameters: values(&local.value.parameters),
                    services: values(&local.value.services),
                    settings: LocalSettings::default(),
                });
            }
            (None, Some(down))
                if phase == Phase::Cleanup
                    && down.value
                    && local.value.parameters.is_none()
                    && local.value.services.is_none() =>
            {
                return Some(Action::LocalDown { failures: 0 });
            }
            (None, _) if local.value.services.is_some() => (
                "`services` are those that a template's functions call",
                "write them beside `template`, in the step that deploys it",
            ),
            (None, _) if local.value.parameters.is_some() => (
                "`parameters` are those of a template",
                "write them beside `template`, in the step that deploys it",
            ),
            (Some(_), None) => {
                ("`local = { template = … }` belongs to deploy steps", "move the step to [[deploy]]")
            }
            (None, Some(down)) if !down.value => {
                ("`down = false` does nothing", "write `local = { down = true }` in a cleanup step")
            }
            (None, Some(_)) => {
                ("`local = { down = true }` belongs to cleanup steps", "move the step to [[cleanup]]")
            }
            _ => (
                "`local` takes either `template` or `down`",
                "write `{ template = \"template.yaml\" }` to deploy and `{ down = true }` to clean up",
            ),
        };
        report.push(Problem::error("sb::validate::action", message).at(&local.span, "not here").help(help));
        None
    }

    fn local_outputs(
        &self,
        template: &Path,
        parameters: &BTreeMap<String, Template>,
        file: &StepFile,
        targets: &[String],
        report: &mut Report,
    ) -> Vec<String> {
        let mut names = vec!["endpoint".to_owned()];
        let Some(local) = &file.local else { return names };
        if let Some(outputs) = &file.outputs
            && let Some((name, _)) = outputs.0.first()
        {
            report.push(
                Problem::error("sb::validate::output", "a `local` step has the outputs of its template")
                    .at(&name.span, "writes nothing that could be read")
                    .help("remove `outputs`, or add them to `Outputs:` of the template"),
            );
        }
        // A file that cannot be read was reported with its path.
        let Ok(bytes) = self.files.read(template) else { return names };
        let text = String::from_utf8_lossy(&bytes);
        match sb_sam::output_names(&text) {
            Ok(more) => {
                names.extend(more.into_iter().filter(|name| name != "endpoint" && name != "aws_endpoint"));
                let has_services = self.sam_problems(template, parameters, &text, local, targets, report);
                if has_services || local.value.services.is_some() {
                    names.push("aws_endpoint".to_owned());
                }
                unknown_parameters(local, &text, report);
            }
            Err(message) => report.push(
                Problem::error("sb::validate::sam", format!("the SAM template cannot be used: {message}"))
                    .at(&local.span, "this template")
                    .help(format!("correct {}", template.display())),
            ),
        }
        names
    }

    /// The values for a template's parameters that the manifest alone determines.
    fn known_values(&self, parameters: &BTreeMap<String, Template>) -> BTreeMap<String, String> {
        let known = |param: &Param| match &param.source {
            ParamSource::Value(value) => Some(value.clone()),
            ParamSource::RandomHex(_) | ParamSource::Env { .. } => None,
        };
        let look = |path: &str| self.params.get(path.strip_prefix("params.")?).and_then(known);
        let own =
            self.params.iter().filter_map(|(name, param)| Some((name.clone(), plain_text(&known(param)?))));
        let given = parameters.iter().filter_map(|(name, template)| {
            Some((name.clone(), template.render(Context::Plain, &look).ok()?))
        });
        own.chain(given).collect()
    }

    /// What the embedded runtime does not provide of a template, at its place in the template. Where the benchmark
    /// has other targets too, that is no fault of the manifest. True: it has tables or buckets, or may have.
    fn sam_problems(
        &self,
        template: &Path,
        parameters: &BTreeMap<String, Template>,
        text: &str,
        local: &Spanned<LocalFile>,
        targets: &[String],
        report: &mut Report,
    ) -> bool {
        let of_benchmark = |name: &str| self.params.get(name.strip_prefix("params.")?).map(likely);
        let value = |path: &str| Some(of_benchmark(path).unwrap_or_else(|| "1".to_owned()).into());
        let mut likely: BTreeMap<String, String> =
            self.params.iter().map(|(name, param)| (name.clone(), likely(param))).collect();
        likely.extend(parameters.iter().filter_map(|(name, template)| {
            Some((name.clone(), template.render(Context::Plain, &value).ok()?))
        }));
        let place = sb_sam::Place {
            region: "us-east-1".to_owned(),
            account: "123456789012".to_owned(),
            stack: "stack".to_owned(),
            api_base: "http://127.0.0.1".to_owned(),
            aws_base: "http://127.0.0.1".to_owned(),
        };
        let stand_ins = local.value.services.as_ref().map_or(&[][..], |services| &services.0);
        // Warnings are of things that the application works without: the runtime's own log has them.
        let (mut problems, has_services) = match sb_sam::application(text, &likely, &place) {
            Ok(application) => {
                let given: Vec<&str> = stand_ins.iter().map(|(name, _)| name.value.as_str()).collect();
                (application.without_stand_in(&given), application.has_services())
            }
            Err(problems) => (problems, true),
        };
        problems.extend(sb_sam::refused_parameters(text, &self.known_values(parameters)));
        problems.retain(|found| found.severity != sb_sam::Severity::Warning);
        if problems.is_empty() {
            return has_services;
        }
        let elsewhere = self.ceilings.keys().any(|target| !targets.contains(target));
        if elsewhere && problems.iter().all(|found| found.severity == sb_sam::Severity::Unsupported) {
            let message = format!(
                "target `{}` cannot be deployed: the embedded runtime does not have everything that {} needs",
                targets.join("`, `"),
                template.file_name().unwrap_or_default().to_string_lossy()
            );
            problems.dedup_by_key(|found| found.resource.clone());
            let missing: Vec<String> = problems
                .iter()
                .map(|found| match &found.resource {
                    Some(resource) => format!("`{resource}` (line {})", found.line),
                    None => format!("what line {} says", found.line),
                })
                .collect();
            report.push(
                Problem::note("sb::validate::sam", message)
                    .at(&local.span, "refused when it is deployed")
                    .help(format!(
                        "other targets are not concerned. It does not have: {}",
                        missing.join(", ")
                    )),
            );
            return true;
        }
        let source = Arc::new(Source::new(template, text));
        for found in problems {
            let message = match &found.resource {
                Some(resource) => format!("resource `{resource}`: {}", found.message),
                None => found.message,
            };
            let mut problem = Problem::error("sb::validate::sam", message);
            let start: usize =
                text.split_inclusive('\n').take(found.line.saturating_sub(1)).map(str::len).sum();
            let line = text[start..].lines().next().unwrap_or_default();
            let indent = line.len() - line.trim_start().len();
            problem = problem.at(&(start + indent..start + line.trim_end().len()), "");
            problem.source = Some(Arc::clone(&source));
            if !report.problems.iter().any(|known| known.to_json() == problem.to_json()) {
                report.problems.push(problem);
            }
        }
        true
    }

    /// Checks the placeholders of a step, now that all outputs are known.
    pub(super) fn check_templates(draft: &Draft<'_>, scope: &Scope, report: &mut Report) {
        let file = &draft.raw.value;
        let user = User {
            phase: draft.step.phase,
            step: Some(&draft.step.name),
            request: None,
            targets: &draft.targets,
        };
        let mut command = |run: &Spanned<RunFile>| match &run.value {
            RunFile::Shell(template) => {
                let template = Spanned { value: template.clone(), span: run.span.clone() };
                scope.check(&template, Role::ShellString, user, report);
            }
            RunFile::Argv(words) => {
                for word in words {
                    scope.check(word, Role::ArgvWord, user, report);
                }
            }
        };
        if let Some(run) = &file.run {
            command(run);
        }
        for recovery in file.recover.iter().flatten() {
            command(&recovery.value.run);
        }
        let recoveries = file.recover.iter().flatten().map(|recovery| &recovery.value);
        let envs = recoveries.clone().filter_map(|recovery| recovery.env.as_ref()).chain(&file.env);
        for (_, template) in envs.flat_map(Map::iter) {
            scope.check(template, Role::Plain, user, report);
        }
        for workdir in recoveries.filter_map(|recovery| recovery.workdir.as_ref()).chain(&file.workdir) {
            scope.check(workdir, Role::FileName, user, report);
        }
        if let Some(wait_for) = &file.wait_for {
            scope.check(&wait_for.value.http, Role::Plain, user, report);
        }
        let local = file.local.iter().map(|local| &local.value);
        let values = local.flat_map(|local| local.parameters.iter().chain(&local.services));
        for (_, template) in values.flat_map(Map::iter) {
            scope.check(template, Role::Plain, user, report);
        }
    }
}

/// Named limits.
pub(super) fn locks(names: Option<&Vec<Text>>, report: &mut Report) -> Vec<String> {
    names
        .into_iter()
        .flatten()
        .map(|name| {
            check::lock(&name.value, &name.span, report);
            name.value.clone()
        })
        .collect()
}

/// A URL must say its protocol, or begin with a value that does.
pub(super) fn url(template: &Spanned<Template>, report: &mut Report) {
    let problem = match template.value.pieces().first() {
        Some(Piece::Value { .. }) => None,
        Some(Piece::Literal(text)) if text.starts_with("http://") || text.starts_with("https://") => None,
        Some(Piece::Literal(_)) => Some("the URL does not begin with `http://` or `https://`"),
        None => Some("the URL is empty"),
    };
    if let Some(message) = problem {
        report.push(
            Problem::error("sb::validate::url", message)
                .at(&template.span, "not a full URL")
                .help("write \"http://…\", or begin with a value: \"{{outputs.endpoint}}/path\""),
        );
    }
}

fn wait_for_answer(file: &WaitForFile, report: &mut Report) -> WaitFor {
    url(&file.http, report);
    WaitFor {
        http: file.http.value.clone(),
        status: file.status.as_ref().map_or(200, |status| check::status(status, report)),
        timeout: file
            .timeout
            .as_ref()
            .map_or(Duration::from_mins(2), |timeout| check::duration(timeout, true, report)),
    }
}

/// Keys that only mean something to a command.
fn reject_command_keys(file: &StepFile, report: &mut Report) {
    let mut given: Vec<(&str, &Span)> = Vec::new();
    given.extend(file.image.as_ref().map(|value| ("image", &value.span)));
    given.extend(file.shell.as_ref().map(|value| ("shell", &value.span)));
    given.extend(file.workdir.as_ref().map(|value| ("workdir", &value.span)));
    given.extend(file.env.iter().flat_map(Map::iter).take(1).map(|(name, _)| ("env", &name.span)));
    given.extend(file.credentials.iter().flatten().take(1).map(|name| ("credentials", &name.span)));
    if file.local.is_none() {
        given
            .extend(file.outputs.iter().flat_map(Map::iter).take(1).map(|(name, _)| ("outputs", &name.span)));
    }
    for (key, span) in given {
        report.push(
            Problem::error("sb::validate::action", format!("`{key}` belongs to steps with `run`"))
                .at(span, "has no effect here")
                .help(format!("remove `{key}`, or move it to a step with `run`")),
        );
    }
}

/// Parameters given to a template that does not have them.
fn unknown_parameters(local: &Spanned<LocalFile>, text: &str, report: &mut Report) {
    let known = sb_sam::parameter_names(text).unwrap_or_default();
    for (name, _) in local.value.parameters.iter().flat_map(Map::iter) {
        if !known.contains(&name.value) {
            let message = format!("the template has no parameter `{}`", name.value);
            report.push(
                Problem::error("sb::validate::sam", message)
                    .at(&name.span, "not under `Parameters:`")
                    .help(suggest(&name.value, "parameters", known.iter().map(String::as_str))),
            );
        }
    }
}

/// The value of a parameter as far as the manifest knows it.
fn likely(param: &Param) -> String {
    match &param.source {
        ParamSource::Value(value) => plain_text(value),
        ParamSource::RandomHex(digits) => "1".repeat(*digits),
        ParamSource::Env { default, .. } => default.clone().unwrap_or_else(|| "1".to_owned()),
    }
}
