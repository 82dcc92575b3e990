//! What a `local` step deploys: its SAM template, held against what the local target has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::benchmark::{Action, Param, ParamSource};
use crate::manifest::benchmark::{LocalFile, StepFile};
use crate::manifest::decode::Map;
use crate::manifest::problem::{Problem, Report, Source, Span, suggest};
use crate::manifest::read::{lies_in, normal};
use crate::manifest::tree::Spanned;
use crate::validate::contents;
use crate::validate::step::{Draft, Steps};
use crate::validate::template::Scope;
use sb_workload::template::{Context, Template, plain_text};

fn any_place() -> sb_sam::Place {
    sb_sam::Place {
        region: "us-east-1".to_owned(),
        account: "123456789012".to_owned(),
        stack: "stack".to_owned(),
        api_base: "http://127.0.0.1".to_owned(),
        aws_base: "http://127.0.0.1".to_owned(),
    }
}

impl Steps<'_> {
    /// The names of the outputs of a step that deploys a template, which is held against what the local target has.
    pub(super) fn local_outputs(
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
                Problem::error("invalid-output", "a `local` step has the outputs of its template")
                    .at(&name.span, "writes nothing that could be read")
                    .help("remove `outputs`, or add them to `Outputs:` of the template"),
            );
        }
        let Some(text) = self.template_text(template) else { return names };
        let parsed = self.templates.borrow_mut().keep(template, &text);
        match parsed {
            Ok(model) => {
                let more = model.output_names().into_iter();
                names.extend(more.filter(|name| name != "endpoint" && name != "aws_endpoint"));
                self.check_handlers(template, parameters, &model, &local.span, report);
                let has_services = self.sam_problems(template, parameters, &model, local, targets, report);
                if has_services || local.value.services.is_some() {
                    names.push("aws_endpoint".to_owned());
                }
                unknown_parameters(local, &model.parameter_names(), report);
            }
            Err(problem) => report.push(
                Problem::error("invalid-template", format!("the SAM template cannot be used: {problem}"))
                    .at(&local.span, "this template")
                    .help(format!("correct {}", template.display())),
            ),
        }
        names
    }

    /// The file that a function's handler names must be in its code, unless a command builds the code.
    fn check_handlers(
        &self,
        template: &Path,
        parameters: &BTreeMap<String, Template>,
        model: &sb_sam::Template,
        span: &Span,
        report: &mut Report,
    ) {
        let Ok(application) = model.application(&self.likely_values(parameters), &any_place()) else {
            return;
        };
        let folder = template.parent().unwrap_or(template);
        for function in &application.functions {
            let code = normal(&folder.join(&function.code));
            let names = handler_files(&function.runtime, &function.handler);
            let is_there = |name: &String| self.files.exists(&code.join(name));
            // What is not there yet, or is an archive, is made by a command.
            let known = lies_in(self.files, &code, &self.place.root) && self.files.is_folder(&code);
            if names.is_empty() || !known || names.iter().any(is_there) {
                continue;
            }
            let message = format!(
                "the function `{}` has no file for its handler `{}`",
                function.logical_id, function.handler
            );
            report.push(
                Problem::warning("missing-handler", message)
                    .at(span, format!("{}, line {}", file_name(template), function.line))
                    .help(format!(
                        "put `{}` into {}, or correct `Handler` or `CodeUri`",
                        names[0],
                        code.display()
                    )),
            );
        }
    }

    /// A local step hands the parameters on to those of its template that have their names.
    pub(super) fn read_by_template(&self, draft: &Draft<'_>, scope: &Scope) {
        let Action::LocalUp(up) = &draft.step.action else { return };
        let Some(text) = self.template_text(&up.template) else { return };
        let Ok(model) = self.templates.borrow_mut().keep(&up.template, &text) else { return };
        let mut read = scope.read_params.borrow_mut();
        for name in self.params.keys() {
            let given = BTreeMap::from([(name.clone(), String::new())]);
            if model.unknown_parameters(&given).is_empty() {
                for target in &draft.targets {
                    read.entry(target.clone()).or_default().insert(name.clone());
                }
            }
        }
    }

    fn template_text(&self, template: &Path) -> Option<String> {
        // One that lies elsewhere or cannot be read was reported with its path, and none of its lines may be shown.
        let bytes = Some(template).filter(|path| lies_in(self.files, path, &self.place.root))?;
        let bytes = self.files.read(bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What the template and the functions' code hold.
    pub(super) fn local_contents(
        &self,
        template: &Path,
        parameters: &BTreeMap<String, Template>,
    ) -> contents::Contents {
        let mut found = contents::of(self.files, [template.to_owned()]);
        if found.is_empty() {
            return found;
        }
        let Some(text) = self.template_text(template) else { return found };
        let parsed = self.templates.borrow_mut().keep(template, &text);
        let application =
            parsed.ok().map(|model| model.application(&self.likely_values(parameters), &any_place()));
        let folder = template.parent().unwrap_or(template);
        let code = application.and_then(Result::ok).map(|found| found.functions).unwrap_or_default();
        let code = code.iter().map(|function| normal(&folder.join(&function.code)));
        found.extend(contents::of(self.files, code));
        found
    }

    /// Values for a template's parameters: those that are not known are made up.
    fn likely_values(&self, parameters: &BTreeMap<String, Template>) -> BTreeMap<String, String> {
        let of_benchmark = |name: &str| self.params.get(name.strip_prefix("params.")?).map(likely);
        let value = |path: &str| Some(of_benchmark(path).unwrap_or_else(|| "1".to_owned()).into());
        let mut values: BTreeMap<String, String> =
            self.params.iter().map(|(name, param)| (name.clone(), likely(param))).collect();
        values.extend(parameters.iter().filter_map(|(name, template)| {
            Some((name.clone(), template.render(Context::Plain, &value).ok()?))
        }));
        values
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

    /// What the local target does not provide of a template, at its place in the template. Where the benchmark
    /// has other targets too, that is no fault of the manifest. True: it has tables or buckets, or may have.
    fn sam_problems(
        &self,
        template: &Path,
        parameters: &BTreeMap<String, Template>,
        model: &sb_sam::Template,
        local: &Spanned<LocalFile>,
        targets: &[String],
        report: &mut Report,
    ) -> bool {
        let (likely, place) = (self.likely_values(parameters), any_place());
        let stand_ins = local.value.services.as_ref().map_or(&[][..], |services| &services.0);
        // Warnings are of things that the application works without: the runtime's own log has them.
        let (mut problems, has_services) = match model.application(&likely, &place) {
            Ok(application) => {
                let given: Vec<&str> = stand_ins.iter().map(|(name, _)| name.value.as_str()).collect();
                (application.without_stand_in(&given), application.has_services())
            }
            Err(problems) => (problems, true),
        };
        problems.extend(model.refused_parameters(&self.known_values(parameters)));
        problems.retain(|found| found.severity != sb_sam::Severity::Warning);
        if problems.is_empty() {
            return has_services;
        }
        let elsewhere = self.ceilings.keys().any(|target| !targets.contains(target));
        if elsewhere && problems.iter().all(|found| found.severity == sb_sam::Severity::Unsupported) {
            let message = format!(
                "target `{}` cannot be deployed: the local target does not have everything that {} needs",
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
                Problem::note("invalid-template", message)
                    .at(&local.span, "refused when it is deployed")
                    .help(format!(
                        "other targets are not concerned. It does not have: {}",
                        missing.join(", ")
                    )),
            );
            return true;
        }
        let text = model.source();
        let source = Arc::new(Source::new(template, text));
        let mut seen = BTreeSet::new();
        for found in problems {
            if !seen.insert((found.line, found.resource.clone(), found.message.clone())) {
                continue;
            }
            let message = match &found.resource {
                Some(resource) => format!("resource `{resource}`: {}", found.message),
                None => found.message,
            };
            let mut problem = Problem::error("invalid-template", message);
            let start: usize =
                text.split_inclusive('\n').take(found.line.saturating_sub(1)).map(str::len).sum();
            let line = text[start..].lines().next().unwrap_or_default();
            let indent = line.len() - line.trim_start().len();
            problem = problem.at(&(start + indent..start + line.trim_end().len()), "");
            problem.source = Some(Arc::clone(&source));
            report.problems.push(problem);
        }
        true
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The files, one of which holds a handler, relative to the code. Empty: what is run is built first, or found otherwise.
fn handler_files(runtime: &str, handler: &str) -> Vec<String> {
    let Some((module, _)) = handler.rsplit_once('.') else { return vec![] };
    let ends: &[&str] = if runtime.starts_with("python") {
        &[".py", "/__init__.py"]
    } else if runtime.starts_with("nodejs") {
        &[".js", ".mjs", ".cjs", "/index.js", "/index.mjs"]
    } else {
        return vec![];
    };
    let module = if runtime.starts_with("python") { module.replace('.', "/") } else { module.to_owned() };
    ends.iter().map(|end| format!("{module}{end}")).collect()
}

/// Parameters given to a template that does not have them.
fn unknown_parameters(local: &Spanned<LocalFile>, known: &[String], report: &mut Report) {
    for (name, _) in local.value.parameters.iter().flat_map(Map::iter) {
        if !known.contains(&name.value) {
            let message = format!("the template has no parameter `{}`", name.value);
            report.push(
                Problem::error("invalid-template", message)
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
