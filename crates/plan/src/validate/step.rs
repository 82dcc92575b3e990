//! One step of a manifest: its action, environment and outputs, whatever the target.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;

use crate::benchmark::{
    Action, Command, Environment, Image, LocalUp, ManifestStep, OnInterrupt, Param, Phase, Retry,
    SamTemplates, StackUp, Synthesis, Tool, ToolStep, WaitFor,
};
use crate::manifest::benchmark::{LocalFile, OnInterruptWord, RunFile, SamFile, StepFile, WaitForFile};
use crate::manifest::decode::{Map, Text};
use crate::manifest::problem::{Problem, Report, Span, suggest};
use crate::manifest::read::{Files, normal};
use crate::manifest::tree::Spanned;
use crate::validate::background;
use crate::validate::check::{self, ManifestFolder};
use crate::validate::contents;
use crate::validate::environment::command;
use crate::validate::output::output as checked_output;
use crate::validate::requests;
use crate::validate::retry::retry as checked_retry;
use crate::validate::sam::Evaluated;
use crate::validate::shell::evaluates_numbers;
use crate::validate::stand_in;
use crate::validate::template::{Role, Scope, User};
use crate::validate::{cdk, terraform, tools};
use sb_workload::http;
use serde_json::Value;

use sb_sam::LocalSettings;
use sb_workload::template::{Piece, Template};

/// Of a stack, unless the manifest says otherwise.
pub(super) const CLEANUP_ATTEMPTS: u32 = 3;
pub(super) const CLEANUP_PAUSE: Duration = Duration::from_secs(30);

/// What steps of one manifest share.
pub(super) struct Steps<'a> {
    pub files: &'a dyn Files,
    pub place: &'a ManifestFolder,
    pub images: &'a BTreeMap<String, Image>,
    pub params: &'a BTreeMap<String, Param>,
    /// Credentials that each target allows.
    pub ceilings: &'a BTreeMap<String, Vec<String>>,
    /// Those of this benchmark.
    pub templates: &'a RefCell<SamTemplates>,
    /// Those of all benchmarks that were read.
    pub known: &'a Mutex<SamTemplates>,
    /// What templates deploy with likely values.
    pub applications: Applications,
}

/// By the template's path and the values.
pub(super) type Applications = RefCell<BTreeMap<(PathBuf, BTreeMap<String, String>), Evaluated>>;

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
        let is_background = matches!(action, Some(Action::Background(_)));
        let command = action.as_ref().and_then(Action::command);
        let is_command = command.is_some();
        if action.is_some() && !is_command {
            reject_command_keys(file, report);
        }
        if !is_background {
            background::reject_ready(file, report);
        }
        let mut output_names: Vec<String> = Vec::new();
        let mut outputs = BTreeMap::new();
        for (name, output) in file.outputs.iter().flat_map(Map::iter) {
            check::name(&name.value, &name.span, "an output", report);
            output_names.push(name.value.clone());
            outputs.insert(name.value.clone(), checked_output(output, self.files, self.place, report));
        }
        if is_background {
            background::check_outputs(file.outputs.as_ref(), &outputs, report);
        }
        if let Some(Action::LocalUp(up)) = &action {
            output_names.extend(self.local_outputs(&up.template, &up.parameters, file, &targets, report));
        }
        if let Some(Action::StackUp(up)) = &action
            && up.synthesis.is_none()
        {
            output_names.extend(self.stack_outputs(&up.template, &up.parameters, file, report));
        }
        let recover = file.recover.iter().flatten();
        let recover =
            recover.map(|recovery| self.recovery(recovery, &environment, &targets, report)).collect();
        let contents = match (command, &action) {
            (Some(command), _) => {
                let folder = self.folder_of(&environment);
                let mut named = contents::named_by_command(command, &folder, &self.place.root, self.files);
                named.extend(file.cdk.as_ref().and_then(|cdk| cdk::folder(&cdk.value, self.place)));
                if let Some(terraform) = &file.terraform {
                    named.extend(terraform::sources(&terraform.value, self.files, self.place));
                }
                check::no_special(self.files, &named, &file.name.span, "this step", report);
                contents::of(self.files, named)
            }
            (None, action) => match action.as_ref().and_then(Action::template) {
                Some((template, parameters)) => self.template_contents(template, parameters),
                None => BTreeMap::new(),
            },
        };
        if let (Some(command), Some(run)) = (command, &file.run) {
            self.check_program(phase, command, &environment, &run.span, report);
        }
        let fails_interrupted = file.on_interrupt == Some(OnInterruptWord::Fail);
        let retry = match &file.retry {
            Some(retry) => checked_retry(retry, report),
            // What runs again after an interruption may run again here. An invocation is never repeated unasked.
            None if is_command && phase != Phase::Invoke && !fails_interrupted => Retry::when_throttled(),
            None if matches!(action, Some(Action::StackUp(_))) => Retry::when_throttled(),
            // What Lambda still logs when its function is gone comes some seconds later.
            None if matches!(action, Some(Action::StackDown)) => {
                Retry::times(CLEANUP_ATTEMPTS, CLEANUP_PAUSE)
            }
            None => Retry::once(),
        };
        let step = ManifestStep {
            phase,
            name: file.name.value.clone(),
            needs: Vec::new(),
            action: action.unwrap_or(Action::Wait(Duration::ZERO)),
            contents,
            environment,
            timeout: file.timeout.as_ref().map(|timeout| check::duration(timeout, true, report)),
            retry,
            allow_failure: file.allow_failure.unwrap_or(false),
            recover,
            outputs,
            on_interrupt: if fails_interrupted { OnInterrupt::Fail } else { OnInterrupt::Rerun },
            locks: locks(file.locks.as_ref(), report),
        };
        Draft { raw, step, targets, output_names }
    }

    /// A program of the application must be there, unless something makes it before.
    fn check_program(
        &self,
        phase: Phase,
        command: &Command,
        environment: &Environment,
        span: &Span,
        report: &mut Report,
    ) {
        let folder = normal(&self.folder_of(environment));
        let Some(program) = contents::missing_program(command, &folder, &self.place.root, self.files) else {
            return;
        };
        // What an earlier command names, it may make. Deployment may make what later phases run.
        let name = program.rsplit('/').next().unwrap_or(&program);
        let text = report.source.text();
        let before = if phase == Phase::Deploy { &text[..span.start] } else { text };
        let named = before.match_indices(name).any(|(at, _)| !span.contains(&at));
        if !named {
            let message = format!("the program `{program}` does not exist");
            report.push(Problem::warning("missing-script", message).at(span, "runs it").help(format!(
                "create {}, or correct the path, which counts from the step's `workdir`",
                normal(&folder.join(&program)).display()
            )));
        }
    }

    /// The working directory, as far as the manifest alone tells.
    fn folder_of(&self, environment: &Environment) -> PathBuf {
        match &environment.workdir {
            Some(workdir) => self.place.folder.join(workdir.source()),
            None => self.place.folder.clone(),
        }
    }

    fn targets(&self, file: &StepFile, report: &mut Report) -> Vec<String> {
        let Some(given) = &file.target else {
            return self.ceilings.keys().cloned().collect();
        };
        let mut targets = Vec::new();
        for target in &given.0 {
            if !self.ceilings.contains_key(&target.value) {
                report.push(
                    Problem::error("unknown-target", format!("unknown target `{}`", target.value))
                        .at(&target.span, "not in [targets]")
                        .help(suggest(&target.value, "targets", self.ceilings.keys().map(String::as_str))),
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
        let written_out = tools::is_written_out(file);
        let own_run = file.run.as_ref().filter(|_| written_out.is_none());
        let given: Vec<(&str, &Span)> = [
            own_run.map(|value| ("run", &value.span)),
            file.wait.as_ref().map(|value| ("wait", &value.span)),
            file.wait_for.as_ref().map(|value| ("wait_for", &value.span)),
            file.load.as_ref().map(|value| ("load", &value.span)),
            file.local.as_ref().map(|value| ("local", &value.span)),
            file.sam.as_ref().map(|value| ("sam", &value.span)),
        ]
        .into_iter()
        .flatten()
        .chain(tools::tables(file).into_iter().map(|(tool, span)| (tool.name(), span)))
        .collect();
        if let [(first, first_at), (second, second_at), ..] = given.as_slice() {
            report.push(
                Problem::error(
                    "step-action",
                    format!("the step `{}` has both `{first}` and `{second}`", file.name.value),
                )
                .at(second_at, "a second action")
                .at(first_at, "the first action")
                .help("a step has exactly one action: make two steps of it"),
            );
            return None;
        }
        if let Some(run) = &file.run {
            let command = command(run, file.shell.as_ref(), report);
            if let (Some(Tool::Cdk), Some(cdk)) = (written_out, &file.cdk) {
                let parameters = cdk.value.parameters.iter().flat_map(Map::iter);
                return Some(Action::StackUp(Box::new(StackUp {
                    template: cdk::folder(&cdk.value, self.place)?,
                    parameters: parameters
                        .map(|(name, value)| (name.value.clone(), value.value.clone()))
                        .collect(),
                    synthesis: Some(Synthesis {
                        command,
                        stack: cdk.value.stack.as_ref().map(|stack| stack.value.clone()),
                    }),
                })));
            }
            if let Some(tool) = written_out {
                let of_terraform = file.terraform.as_ref();
                let variables =
                    of_terraform.map(|it| terraform::variables(&it.value, self.files, self.place));
                let variables = variables.unwrap_or_default();
                return Some(Action::Tool(Box::new(ToolStep { tool, command, variables })));
            }
            return Some(match file.background.as_ref().filter(|background| background.value) {
                Some(at) => background::action(phase, file, &at.span, command, self.params, report),
                None => Action::Run(command),
            });
        }
        if let Some(wait) = &file.wait {
            return Some(Action::Wait(check::duration(wait, false, report)));
        }
        if let Some(wait_for) = &file.wait_for {
            return Some(Action::WaitFor(wait_for_answer(&wait_for.value, self.params, report)));
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
                report.push(Problem::error("step-action", message).at(&load.span, "not here").help(help));
            }
            return Some(Action::Load);
        }
        if let Some(local) = &file.local {
            return self.local(phase, local, report);
        }
        if let Some(sam) = &file.sam {
            return self.sam(phase, sam, report);
        }
        // Where such a step can work, it was written out.
        if let Some((tool, span)) = tools::tables(file).first() {
            tools::misplaced(*tool, file, span, report);
            return None;
        }
        report.push(
            Problem::error("step-action", format!("the step `{}` does nothing", file.name.value))
                .at(&file.name.span, "a step without an action")
                .help(
                    "add exactly one of `run`, `wait`, `wait_for`, `load` (invoke only), `local`, `sam`, `bicep`, `cdk` and `terraform`",
                ),
        );
        None
    }

    /// A template as a stack; on the local target, the step has become a `local` one before.
    fn sam(&self, phase: Phase, sam: &Spanned<SamFile>, report: &mut Report) -> Option<Action> {
        let file = &sam.value;
        let (message, help) = match (&file.template, &file.down) {
            (Some(template), None) if phase == Phase::Deploy => {
                let template = self.place.existing(self.files, template, false, "the SAM template", report);
                let parameters = file.parameters.iter().flat_map(Map::iter);
                let parameters =
                    parameters.map(|(name, value)| (name.value.clone(), value.value.clone())).collect();
                return Some(Action::StackUp(Box::new(StackUp { template, parameters, synthesis: None })));
            }
            (None, Some(down))
                if phase == Phase::Cleanup
                    && down.value
                    && file.parameters.is_none()
                    && file.services.is_none() =>
            {
                return Some(Action::StackDown);
            }
            (Some(_), None) => {
                ("`sam = { template = … }` belongs to deploy steps", "move the step to [[deploy]]")
            }
            (None, Some(down)) if down.value && phase != Phase::Cleanup => {
                ("`sam = { down = true }` belongs to cleanup steps", "move the step to [[cleanup]]")
            }
            _ => (
                "`sam` takes either `template`, with values for it, or `down = true`",
                "write `{ template = \"template.yaml\" }` to deploy; its cleanup needs no step",
            ),
        };
        report.push(Problem::error("step-action", message).at(&sam.span, "not here").help(help));
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
                return Some(Action::LocalUp(Box::new(LocalUp {
                    template,
                    parameters: values(&local.value.parameters),
                    services: values(&local.value.services),
                    settings: LocalSettings::default(),
                    failures: 0,
                })));
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
        report.push(Problem::error("step-action", message).at(&local.span, "not here").help(help));
        None
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
        let mut command = |run: &Spanned<RunFile>, shell: Option<&Spanned<Vec<String>>>| match &run.value {
            RunFile::Shell(template) => {
                let template = Spanned { value: template.clone(), span: run.span.clone() };
                let words = shell.into_iter().flat_map(|shell| &shell.value).map(String::as_str);
                let role = if evaluates_numbers(words) { Role::KornString } else { Role::ShellString };
                scope.check(&template, role, user, report);
            }
            RunFile::Argv(words) => scope.check_words(words, user, report),
        };
        if let Some(run) = &file.run {
            command(run, file.shell.as_ref());
        }
        for recovery in file.recover.iter().flatten() {
            let shell = recovery.value.shell.as_ref().or(file.shell.as_ref());
            command(&recovery.value.run, shell);
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
        background::check_templates(file, scope, user, report);
        let local = file.local.iter().map(|local| &local.value);
        let values = local.flat_map(|local| local.parameters.iter().chain(&local.services));
        // Stand-ins are the local target's: where a step deploys to it, they are checked there.
        let sam = file.sam.iter().flat_map(|sam| sam.value.parameters.iter());
        let of_terraform = file.terraform.iter().flat_map(|it| it.value.variables.iter());
        let of_cdk = file.cdk.iter().flat_map(|it| it.value.parameters.iter());
        let values = values.chain(sam).chain(of_terraform).chain(of_cdk);
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
pub(super) fn url(template: &Spanned<Template>, known: &dyn Fn(&str) -> Option<Value>, report: &mut Report) {
    let problem = match template.value.pieces().first() {
        Some(Piece::Value { .. }) => None,
        Some(Piece::Literal(text)) if http::begins(text, "http://") || http::begins(text, "https://") => None,
        Some(Piece::Literal(_)) => Some("the URL does not begin with `http://` or `https://`"),
        None => Some("the URL is empty"),
    };
    if let Some(message) = problem {
        report.push(
            Problem::error("invalid-url", message)
                .at(&template.span, "not a full URL")
                .help("write \"http://…\", or begin with a value: \"{{outputs.endpoint}}/path\""),
        );
    } else if let Some(http::UrlFault { reason, part }) = requests::url_fault(&template.value, known) {
        let source = template.value.source();
        let host =
            source.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""));
        let (message, help) = if source.contains("://") && (host.is_empty() || host.starts_with(':')) {
            (
                "the URL has no host".to_owned(),
                "write the host after `://`: \"http://127.0.0.1:8080/path\"".to_owned(),
            )
        } else if host.starts_with('[') && !host.contains(']') {
            let help = "close the address of IPv6: \"http://[::1]:8080/path\"".to_owned();
            ("the URL has a `[` without its `]`".to_owned(), help)
        } else {
            let form = "the form is `http://HOST:PORT/PATH?QUERY`, with letters that URLs allow".to_owned();
            (format!("the URL cannot be requested: {reason}"), form)
        };
        // The value of a parameter stands elsewhere.
        let shown = report.source.text().get(template.span.clone()).unwrap_or_default();
        let found = shown.find(&part).filter(|_| !part.is_empty());
        let (place, label) = match found.map(|at| template.span.start + at) {
            Some(from) => (from..from + part.len(), "this part"),
            None => (template.span.clone(), "not a URL"),
        };
        report.push(Problem::error("invalid-url", message).at(&place, label).help(help));
    }
}

fn wait_for_answer(file: &WaitForFile, params: &BTreeMap<String, Param>, report: &mut Report) -> WaitFor {
    let known = |path: &str| requests::constant(params.get(path.strip_prefix("params.")?)?);
    url(&file.http, &known, report);
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
    given.extend(file.background.as_ref().map(|value| ("background", &value.span)));
    given.extend(file.env.iter().flat_map(Map::iter).take(1).map(|(name, _)| ("env", &name.span)));
    // Steps with `sam` were given those of AWS when they were written out.
    let credentials = file.credentials.iter().flatten().filter(|_| file.sam.is_none());
    given.extend(credentials.take(1).map(|name| ("credentials", &name.span)));
    if file.local.is_none() && file.sam.is_none() {
        given
            .extend(file.outputs.iter().flat_map(Map::iter).take(1).map(|(name, _)| ("outputs", &name.span)));
    }
    for (key, span) in given {
        report.push(
            Problem::error("step-action", format!("`{key}` belongs to steps with `run`"))
                .at(span, "has no effect here")
                .help(format!("remove `{key}`, or move it to a step with `run`")),
        );
    }
}
