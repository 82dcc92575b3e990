//! What a `local` step deploys: its SAM template, held against what the local target has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::benchmark::{Action, LocalUp, Param, ParamSource};
use crate::manifest::benchmark::{LocalFile, StepFile};
use crate::manifest::decode::Map;
use crate::manifest::problem::{Problem, Report, Source, suggest};
use crate::manifest::read::{lies_in, normal};
use crate::manifest::tree::Spanned;
use crate::validate::contents;
use crate::validate::kind::not_a_template;
use crate::validate::step::{Draft, Steps};
use crate::validate::template::Scope;
use sb_workload::template::{Context, Template, plain_text};

/// A template's application, or what is in its way.
pub(super) type Evaluated = Result<Arc<sb_sam::Application>, Arc<[sb_sam::Problem]>>;

/// Where a SAM template declares its parameters.
const OF_SAM: &str = "not under `Parameters:`";

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
        let mut names = vec!["endpoint".to_owned(), "lambda_endpoint".to_owned()];
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
        let parsed = self.parsed(template, &text);
        match parsed {
            Ok(model) => {
                let more = model.output_names().into_iter();
                names.extend(more.filter(|name| {
                    !["endpoint", "lambda_endpoint", "aws_endpoint"].contains(&name.as_str())
                }));
                let has_services = self.sam_problems(template, parameters, &model, local, targets, report);
                if has_services || local.value.services.is_some() {
                    names.push("aws_endpoint".to_owned());
                }
                unknown_parameters(local.value.parameters.as_ref(), &model.parameter_names(), OF_SAM, report);
            }
            Err(problem) => match not_a_template(template, &text) {
                Some(other) => report.problems.push(other),
                None => report.push(
                    Problem::error("invalid-template", format!("the SAM template cannot be used: {problem}"))
                        .at(&local.span, "this template")
                        .help(format!("correct {}", template.display())),
                ),
            },
        }
        names
    }

    /// The names of the outputs of a step that makes a stack of a template: the template's own, and `endpoint` where one of
    /// them is the base URL.
    pub(super) fn stack_outputs(
        &self,
        template: &Path,
        parameters: &BTreeMap<String, Template>,
        file: &StepFile,
        report: &mut Report,
    ) -> Vec<String> {
        let Some(sam) = &file.sam else { return Vec::new() };
        if let Some((name, _)) = file.outputs.as_ref().and_then(|outputs| outputs.0.first()) {
            report.push(
                Problem::error("invalid-output", "a `sam` step has the outputs of its template")
                    .at(&name.span, "writes nothing that could be read")
                    .help("remove `outputs`, or add them to `Outputs:` of the template"),
            );
        }
        let Some(text) = self.template_text(template) else { return Vec::new() };
        let model = match self.parsed(template, &text) {
            Ok(model) => model,
            Err(problem) => {
                match not_a_template(template, &text) {
                    Some(other) => report.problems.push(other),
                    None => report.push(
                        Problem::error(
                            "invalid-template",
                            format!("the SAM template cannot be used: {problem}"),
                        )
                        .at(&sam.span, "this template")
                        .help(format!("correct {}", template.display())),
                    ),
                }
                return Vec::new();
            }
        };
        unknown_parameters(sam.value.parameters.as_ref(), &model.parameter_names(), OF_SAM, report);
        let mut problems = model.assets().err().unwrap_or_default();
        problems.extend(model.missing_parameters(&self.likely_values(parameters)));
        problems.extend(model.refused_parameters(&self.known_values(parameters)));
        let source = Arc::new(Source::new(template, model.source()));
        report.problems.extend(problems.into_iter().map(|found| in_template(&source, found)));
        let mut names = model.output_names();
        if model.endpoint_output().is_some() && !names.iter().any(|name| name == "endpoint") {
            names.push("endpoint".to_owned());
        }
        names
    }

    /// Files that a stack needs, that are not there, and that nothing makes.
    pub(super) fn check_assets(&self, draft: &Draft<'_>, report: &mut Report) {
        let (Action::StackUp(up), Some(sam)) = (&draft.step.action, &draft.raw.value.sam) else { return };
        let Some(text) = self.template_text(&up.template) else { return };
        let Ok(model) = self.parsed(&up.template, &text) else { return };
        let folder = up.template.parent().unwrap_or(&up.template);
        for asset in model.assets().unwrap_or_default() {
            let path = normal(&folder.join(&asset.path));
            if self.files.exists(&path) {
                continue;
            }
            report.push(
                Problem::error("missing-file", format!("there is no {} `{}`", asset.property, asset.path))
                    .at(&sam.span, format!("line {} of its template", asset.line))
                    .help("correct the path in the template, or add a step before this one that builds it"),
            );
        }
    }

    /// A step that deploys a template hands the parameters on to those of its template that have their names.
    pub(super) fn read_by_template(&self, draft: &Draft<'_>, scope: &Scope) {
        let Some((template, _)) = draft.step.action.template() else { return };
        let Some(text) = self.template_text(template) else { return };
        let Ok(model) = self.parsed(template, &text) else { return };
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

    /// Code that is not there, and that nothing makes: no command runs before the step. What it would deploy could not start.
    pub(super) fn check_code(&self, draft: &Draft<'_>, report: &mut Report) {
        let (Action::LocalUp(up), Some(local)) = (&draft.step.action, &draft.raw.value.local) else { return };
        let Some(application) = self.application(up) else { return };
        let base = up.template.parent().unwrap_or(&up.template);
        for function in &application.functions {
            let code = normal(&base.join(&function.code));
            let missing = if self.files.is_special(&code) {
                Some(format!("its CodeUri `{}` is a pipe, a socket or a device", function.code))
            } else if !self.files.exists(&code) {
                Some(format!("there is no CodeUri `{}`", function.code))
            } else {
                let files = function.handler_files().filter(|_| self.files.is_folder(&code));
                files.filter(|files| !files.iter().any(|file| self.files.exists(&code.join(file)))).map(
                    |files| {
                        let expected = files.first().map(String::as_str).unwrap_or_default();
                        format!(
                            "its handler `{}` needs `{expected}` in `{}`",
                            function.handler, function.code
                        )
                    },
                )
            };
            let Some(missing) = missing else { continue };
            let message = format!("the function `{}` cannot start: {missing}", function.logical_id);
            // A person may build it before the run.
            let is_final = self.files.is_special(&code);
            let is_certain = self.nothing_builds(function, &code);
            let problem = if is_final {
                Problem::error("missing-file", message)
            } else if is_certain {
                Problem::error("missing-handler", message)
            } else {
                Problem::warning("missing-handler", message)
            };
            report.push(
                problem
                    .at(&local.span, format!("line {} of its template", function.line))
                    .help(if is_final {
                        "name a folder, or a zip archive"
                    } else if is_certain {
                        "correct `Handler` or `CodeUri` in the template"
                    } else {
                        "build it first (`sam build`, and deploy .aws-sam/build/template.yaml), or add a step before this \
                         one that does"
                    }),
            );
        }
    }

    /// Functions whose runtime the local target only has in containers. Where the benchmark has other targets too, that is no
    /// fault of the manifest. `in_containers`: whether a target runs its functions in containers.
    pub(super) fn check_runtimes(
        &self,
        draft: &Draft<'_>,
        in_containers: &dyn Fn(&str) -> bool,
        report: &mut Report,
    ) {
        let (Action::LocalUp(up), Some(local)) = (&draft.step.action, &draft.raw.value.local) else { return };
        let Some(target) = draft.targets.iter().find(|target| !in_containers(target)) else { return };
        let Some(application) = self.application(up) else { return };
        let elsewhere = self.ceilings.keys().any(|target| !draft.targets.contains(target));
        for function in application.functions.iter().filter(|function| !function.runs_without_container()) {
            let message = format!(
                "the function `{}` cannot start on the target `{target}`: its runtime is `{}`",
                function.logical_id, function.runtime
            );
            let problem = if elsewhere {
                Problem::note("invalid-template", message)
            } else {
                Problem::error("invalid-template", message)
            };
            // A name of a known runtime in other letters.
            let lower = function.runtime.to_ascii_lowercase();
            let respelt = sb_sam::Function { runtime: lower, ..function.clone() };
            if respelt.runtime != function.runtime && respelt.runs_without_container() {
                report.push(
                    problem
                        .at(&local.span, format!("line {} of its template", function.line))
                        .help(format!("write `{}`: names of runtimes are in lower case", respelt.runtime)),
                );
                continue;
            }
            let runtimes = "python3.x, nodejs*, java* or provided.*";
            report.push(problem.at(&local.span, format!("line {} of its template", function.line)).help(format!(
                "add `containers = true` to [targets.{target}], which needs Docker, or use a runtime that needs no container: \
                 {runtimes}"
            )));
        }
    }

    /// The application that a `local` step deploys, with likely values. None: its template cannot be used, which is reported.
    pub(super) fn application(&self, up: &LocalUp) -> Option<Arc<sb_sam::Application>> {
        self.application_of(&up.template, &up.parameters)
    }

    fn application_of(
        &self,
        template: &Path,
        parameters: &BTreeMap<String, Template>,
    ) -> Option<Arc<sb_sam::Application>> {
        let text = self.template_text(template)?;
        let model = self.parsed(template, &text).ok()?;
        self.evaluated(template, parameters, &model).ok()
    }

    /// A template. It is parsed once for all benchmarks that deploy it.
    fn parsed(&self, template: &Path, text: &str) -> Result<Arc<sb_sam::Template>, sb_sam::Problem> {
        self.templates.borrow_mut().keep(template, text, self.known)
    }

    /// What a template describes with likely values. Several checks ask for it, and it is evaluated once.
    fn evaluated(
        &self,
        template: &Path,
        parameters: &BTreeMap<String, Template>,
        model: &sb_sam::Template,
    ) -> Evaluated {
        let key = (template.to_owned(), self.likely_values(parameters));
        if let Some(known) = self.applications.borrow().get(&key) {
            return known.clone();
        }
        let application = model.application(&key.1, &sb_sam::Place::any());
        let application = application.map(Arc::new).map_err(Arc::from);
        self.applications.borrow_mut().insert(key, application.clone());
        application
    }

    /// Whether no build makes the handler: its code lies there in the language of the runtime, and nothing there is called as
    /// its module. Modules in packages may be installed from elsewhere.
    fn nothing_builds(&self, function: &sb_sam::Function, code: &Path) -> bool {
        let endings: &[&str] = match function.runtime.as_str() {
            runtime if runtime.starts_with("python3.") => &[".py"],
            runtime if runtime.starts_with("nodejs") => &[".js", ".mjs", ".cjs"],
            _ => return false,
        };
        let Some((module, _)) = function.handler.rsplit_once('.') else { return false };
        if module.contains(['.', '/']) {
            return false;
        }
        let names = self.files.names(code);
        names.iter().any(|name| endings.iter().any(|ending| name.ends_with(ending)))
            && !names.iter().any(|name| name.split('.').next() == Some(module) || name == "node_modules")
    }

    fn template_text(&self, template: &Path) -> Option<String> {
        // One that lies elsewhere or cannot be read was reported with its path, and none of its lines may be shown.
        let bytes = Some(template).filter(|path| lies_in(self.files, path, &self.place.root))?;
        let bytes = self.files.read(bytes).ok()?;
        let text = String::from_utf8(bytes);
        Some(text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// What the template and the functions' code hold.
    pub(super) fn template_contents(
        &self,
        template: &Path,
        parameters: &BTreeMap<String, Template>,
    ) -> contents::Contents {
        let mut found = contents::of(self.files, [template.to_owned()]);
        if found.is_empty() {
            return found;
        }
        let application = self.application_of(template, parameters);
        let folder = template.parent().unwrap_or(template);
        let code = application.iter().flat_map(|application| &application.functions);
        let code = code.map(|function| normal(&folder.join(&function.code)));
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
        let stand_ins = local.value.services.as_ref().map_or(&[][..], |services| &services.0);
        let (mut problems, has_services) = match self.evaluated(template, parameters, model) {
            Ok(application) => {
                let given: Vec<&str> = stand_ins.iter().map(|(name, _)| name.value.as_str()).collect();
                (application.without_stand_in(&given), application.has_services())
            }
            Err(problems) => (problems.to_vec(), true),
        };
        problems.extend(model.refused_parameters(&self.known_values(parameters)));
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
        let source = Arc::new(Source::new(template, model.source()));
        let mut seen = BTreeSet::new();
        for found in problems {
            if !seen.insert((found.line, found.resource.clone(), found.message.clone())) {
                continue;
            }
            report.problems.push(in_template(&source, found));
        }
        true
    }
}

/// A problem at its place in a template. All problems of a template share its text.
fn in_template(source: &Arc<Source>, found: sb_sam::Problem) -> Problem {
    let message = match &found.resource {
        Some(resource) => format!("resource `{resource}`: {}", found.message),
        None => found.message,
    };
    let mut problem = Problem::error("invalid-template", message).at(&source.line(found.line), "");
    problem.source = Some(Arc::clone(source));
    problem
}

/// Parameters given to a template that does not have them.
/// Reports values for parameters that a template does not have. `label` stands at each.
pub(super) fn unknown_parameters(
    given: Option<&Map<Spanned<Template>>>,
    known: &[String],
    label: &str,
    report: &mut Report,
) {
    for (name, _) in given.into_iter().flat_map(Map::iter) {
        if !known.contains(&name.value) {
            let message = format!("the template has no parameter `{}`", name.value);
            report.push(Problem::error("invalid-template", message).at(&name.span, label).help(suggest(
                &name.value,
                "parameters",
                known.iter().map(String::as_str),
            )));
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
