//! The points of one application of a plan: its parameters, labels, load and start, evaluated at each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::benchmark::Traces;
use crate::manifest::decode::Map;
use crate::manifest::load::{LoadFile, LoadOrName};
use crate::manifest::plan::{ApplicationFile, PlanFile, StartWord};
use crate::manifest::problem::{Problem, Span, suggest};
use crate::manifest::tree::Spanned;
use crate::manifest::values::{Or, Scalar};
use crate::plan::{Entry, Factors, Matrix, Point, Start, describe};
use crate::validate::load::{self, Values, default_load, first_line};
use crate::validate::overrides::accept;
use crate::validate::plan::{Application, PlanChecker};
use crate::validate::{check, requests, script, template};
use sb_workload::Load;
use sb_workload::template::Template;

impl PlanChecker<'_> {
    pub(super) fn entry(&mut self, file: &PlanFile, application: &Application<'_>, matrix: &Matrix) -> Entry {
        let benchmark = &application.benchmark;
        let (vars, known) = names(application.raw, matrix);

        let environment = self.overrides.of_environment(benchmark, &mut self.others);
        let command_line = self.overrides.of_command_line(benchmark, &mut self.others);
        let mut params: Vec<(&Spanned<String>, &Spanned<Or<Scalar>>)> = Vec::new();
        for (name, value) in [&file.params, &application.raw.params].into_iter().flatten().flat_map(Map::iter)
        {
            if self.check_param(name, value, application, &known) {
                params.push((name, value));
            }
        }
        let labels: Vec<(&Spanned<String>, &Spanned<Template>)> =
            file.labels.iter().flat_map(Map::iter).map(|(name, value)| (name, value)).collect();
        for (name, label) in &labels {
            check::name(&name.value, &name.span, "a label", &mut self.report);
            template::check_plain(label, &known, &mut self.report);
        }
        let choice = application.raw.load.as_ref().or(file.load.as_ref());
        // A value that is not defined would be reported again at every point.
        let choice = choice.filter(|choice| self.check_load(file, choice, &known));
        self.check_start(file, application, &known);
        let mut entry = Entry {
            application: application.name.clone(),
            benchmark: Arc::clone(benchmark),
            target: application.target.clone(),
            points: Vec::new(),
        };
        let mut failed: BTreeSet<usize> = BTreeSet::new();
        let points = matrix.points(&application.name, &application.target);
        if points.is_empty() {
            self.excluded.push(application.raw.manifest.span.clone());
        }
        for factors in points {
            let lookup = |path: &str| value_at(path, &factors, &vars, &application.name, &application.target);
            let mut point_params = environment.clone();
            for (name, value) in &params {
                // One report for a parameter, not one for each point.
                if failed.contains(&value.span.start) {
                    continue;
                }
                let evaluated = match &value.value {
                    Or::Value(scalar) => Ok(scalar.0.clone()),
                    Or::Template(template) => template.evaluate(&lookup).map_err(|error| error.to_string()),
                };
                let param = &benchmark.params[&name.value];
                let accepted = evaluated.and_then(|value| {
                    accept(param, &value).map_err(|expected| {
                        format!(
                            "the parameter `{}` of `{}` is {expected}, not {value}",
                            name.value, benchmark.name
                        )
                    })
                });
                match accepted {
                    Ok(value) => drop(point_params.insert(name.value.clone(), value)),
                    Err(message) => {
                        failed.insert(value.span.start);
                        let at = if matches!(value.value, Or::Template(_)) {
                            describe(&factors)
                        } else {
                            String::new()
                        };
                        self.report.push(
                            Problem::error("invalid-param", format!("{message}{at}"))
                                .at(&value.span, "of another type")
                                .help(format!("the manifest {} declares the type", benchmark.path.display())),
                        );
                    }
                }
            }
            point_params.extend(command_line.clone());
            let point_labels = labels.iter().filter_map(|(name, label)| {
                let value = label.value.render(sb_workload::template::Context::Plain, &lookup).ok()?;
                Some((name.value.clone(), value))
            });
            let labels = point_labels.collect();
            let before = self.report.problems.len();
            let Some(load) = self.load(file, choice, &lookup, &factors) else {
                if self.report.problems.len() > before {
                    break;
                }
                continue;
            };
            if let Some(problem) = script::mismatch(benchmark.workload.as_ref(), &load) {
                let span = choice.map_or(&application.raw.manifest.span, |choice| &choice.span);
                self.report.push(problem.at(&first_line(span, &self.report), "this load"));
            }
            let start = self.start(file, &lookup, &factors);
            if self.report.problems.len() > before {
                break;
            }
            let point = Point { factors, params: point_params, labels, load, start };
            // The manifest's own values were checked with it.
            let fault = if point.params.is_empty() {
                None
            } else {
                requests::at_point(benchmark, &application.target, &point)
            };
            if let Some(message) = fault {
                self.report.push(
                    Problem::error("invalid-request", format!("{message}{}", describe(&point.factors)))
                        .at(&application.raw.manifest.span, "with the parameters that it is given here")
                        .help(
                            "correct the parameters of the plan, of the command line or of the environment",
                        ),
                );
                break;
            }
            entry.points.push(point);
        }
        entry
    }

    /// Applications without a point: beside others it may be meant, and alone there is nothing to run.
    pub(super) fn check_excluded(&mut self, file: &PlanFile, applications: &[Application<'_>]) {
        let is_wrong = |problem: &Problem| problem.code == "invalid-matrix" && problem.is_error();
        if self.report.problems.iter().any(is_wrong) {
            return;
        }
        let excluded = std::mem::take(&mut self.excluded);
        if !excluded.is_empty() && excluded.len() == file.applications.value.len() {
            let rules = file.matrix.iter().flat_map(|matrix| &matrix.exclude);
            let problem = rules.fold(
                Problem::error(
                    "invalid-matrix",
                    "every point of the plan is excluded: there is nothing to run",
                ),
                |problem, rule| problem.at(&rule.span, "leaves out"),
            );
            self.report.push(problem.help("loosen `exclude` in [matrix], or give the factors more levels"));
            return;
        }
        let is_excluded = |one: &&Application<'_>| excluded.contains(&one.raw.manifest.span);
        for application in applications.iter().filter(is_excluded) {
            self.report.push(
                Problem::warning(
                    "invalid-matrix",
                    format!("every point of the application `{}` is excluded", application.name),
                )
                .at(&application.raw.manifest.span, "never runs")
                .help("remove the application, or loosen `exclude` in [matrix]"),
            );
        }
    }

    /// What can be known of an application whose manifest or target is not: placeholders, labels and loads.
    pub(super) fn check_unread(&mut self, file: &PlanFile, raw: &ApplicationFile, matrix: &Matrix) {
        let (vars, known) = names(raw, matrix);
        for (_, value) in [&file.params, &raw.params].into_iter().flatten().flat_map(Map::iter) {
            if let Or::Template(template) = &value.value {
                let template = Spanned { value: template.clone(), span: value.span.clone() };
                template::check_plain(&template, &known, &mut self.report);
            }
        }
        for (name, label) in file.labels.iter().flat_map(Map::iter) {
            check::name(&name.value, &name.span, "a label", &mut self.report);
            template::check_plain(label, &known, &mut self.report);
        }
        self.check_start_words(file, &known);
        let choice = raw.load.as_ref().or(file.load.as_ref());
        let Some(choice) = choice.filter(|choice| self.check_load(file, choice, &known)) else { return };
        let name = raw.name.as_ref().map_or("", |name| &name.value);
        let target = raw.target.as_ref().map_or("", |target| &target.value);
        for factors in matrix.points(name, target) {
            let lookup = |path: &str| value_at(path, &factors, &vars, name, target);
            let before = self.report.problems.len();
            self.load(file, Some(choice), &lookup, &factors);
            self.start(file, &lookup, &factors);
            if self.report.problems.len() > before {
                break;
            }
        }
    }

    /// Whether the benchmark has this parameter and a plan may set it.
    fn check_param(
        &mut self,
        name: &Spanned<String>,
        value: &Spanned<Or<Scalar>>,
        application: &Application<'_>,
        known: &BTreeSet<String>,
    ) -> bool {
        let benchmark = &application.benchmark;
        let Some(param) = benchmark.params.get(&name.value) else {
            self.report.push(
                Problem::error(
                    "unknown-param",
                    format!("the benchmark `{}` has no parameter `{}`", benchmark.name, name.value),
                )
                .at(&name.span, format!("not in the [params] of `{}`", application.name))
                .help(suggest(
                    &name.value,
                    "parameters",
                    benchmark.params.keys().map(String::as_str),
                )),
            );
            return false;
        };
        if param.secret {
            self.report.push(
                Problem::error("secret-in-plan", format!("the parameter `{}` is secret", name.value))
                    .at(&name.span, "a plan is stored with its results")
                    .help("set it by the environment, and leave it out of the plan"),
            );
            return false;
        }
        let Or::Template(template) = &value.value else { return true };
        let template = Spanned { value: template.clone(), span: value.span.clone() };
        template::check_plain(&template, known, &mut self.report)
    }

    /// Checks the placeholders and names of a load, before any point. True: all of them are defined.
    fn check_load(
        &mut self,
        file: &PlanFile,
        choice: &Spanned<LoadOrName>,
        known: &BTreeSet<String>,
    ) -> bool {
        let mut defined = true;
        let named = match &choice.value {
            LoadOrName::Inline(load) => vec![load.as_ref()],
            LoadOrName::Name(name) if name.value.is_literal() => {
                file.loads.iter().filter_map(|loads| loads.get(name.value.source())).collect()
            }
            LoadOrName::Name(name) => {
                defined &= template::check_plain(name, known, &mut self.report);
                file.loads.iter().flat_map(Map::iter).map(|(_, load)| load).collect()
            }
        };
        for template in named.into_iter().flat_map(load::templates) {
            defined &= template::check_plain(&template, known, &mut self.report);
        }
        defined
    }

    /// The load at one point. None: reported, unless the same was reported before.
    fn load(
        &mut self,
        file: &PlanFile,
        choice: Option<&Spanned<LoadOrName>>,
        lookup: &dyn Fn(&str) -> Option<Value>,
        factors: &Factors,
    ) -> Option<Arc<Load>> {
        let Some(choice) = choice else {
            let tolerances = self.overrides.tolerances;
            // No load of a file has this key: it has no placeholder.
            let key = (String::new(), vec!["the default".to_owned()]);
            let default = self.loads.entry(key).or_insert_with(|| {
                let mut load = default_load();
                tolerances.apply(&mut load);
                Arc::new(load)
            });
            return Some(Arc::clone(default));
        };
        match &choice.value {
            LoadOrName::Inline(raw) => {
                let name = format!("\n{}", choice.span.start);
                self.resolve(&name, raw, &choice.span, lookup, factors)
            }
            LoadOrName::Name(name) => {
                let text =
                    name.value.render(sb_workload::template::Context::Plain, lookup).unwrap_or_default();
                let Some(raw) = file.loads.as_ref().and_then(|all| all.get(&text)) else {
                    let known = file.loads.iter().flat_map(Map::names).collect::<Vec<_>>();
                    let at = if name.value.is_literal() { String::new() } else { describe(factors) };
                    self.report.push(
                        Problem::error("unknown-load", format!("unknown load `{text}`{at}"))
                            .at(&name.span, "not in [loads]")
                            .help(suggest(&text, "loads", known)),
                    );
                    return None;
                };
                self.resolve(&text, raw, &name.span, lookup, factors)
            }
        }
    }

    fn resolve(
        &mut self,
        name: &str,
        raw: &LoadFile,
        span: &Span,
        lookup: &dyn Fn(&str) -> Option<Value>,
        factors: &Factors,
    ) -> Option<Arc<Load>> {
        // Without placeholders it is the same at every point, of which there may be very many.
        let fixed = (name.to_owned(), Vec::new());
        if let Some(load) = self.loads.get(&fixed) {
            return Some(Arc::clone(load));
        }
        let templates = load::templates(raw);
        let given = templates.iter().map(|template| {
            template.value.render(sb_workload::template::Context::Plain, lookup).unwrap_or_default()
        });
        let key = (name.to_owned(), given.collect());
        if let Some(load) = self.loads.get(&key) {
            return Some(Arc::clone(load));
        }
        let point = if templates.is_empty() { String::new() } else { describe(factors) };
        let folder = self.path.parent().unwrap_or(&self.path);
        let boundary = Some(self.boundary.as_path());
        let values = Values { lookup, point: &point, files: self.files, folder, boundary };
        let mut load = load::resolve(raw, span, &values, &mut self.report)?;
        self.overrides.tolerances.apply(&mut load);
        let load = Arc::new(load);
        self.loads.insert(key, Arc::clone(&load));
        Some(load)
    }

    /// What trials must find at one point. None: nothing is asked for, or a problem was reported.
    fn start(
        &mut self,
        file: &PlanFile,
        lookup: &dyn Fn(&str) -> Option<Value>,
        factors: &Factors,
    ) -> Option<Start> {
        let start = file.trials.as_ref()?.start.as_ref()?;
        let template = match &start.value {
            Or::Value(StartWord::Cold) => return Some(Start::Cold),
            Or::Value(StartWord::Warm) => return Some(Start::Warm),
            Or::Value(StartWord::ColdThenWarm) => return Some(Start::ColdThenWarm),
            Or::Template(template) => template,
        };
        let text = template.render(sb_workload::template::Context::Plain, lookup).ok()?;
        match text.as_str() {
            "cold" => Some(Start::Cold),
            "warm" => Some(Start::Warm),
            "cold_then_warm" => Some(Start::ColdThenWarm),
            _ => {
                let at = describe(factors);
                self.report.push(
                    Problem::error("invalid-start", format!("trials cannot start `{text}`{at}"))
                        .at(&start.span, "not a word that is known here")
                        .help(suggest(&text, "starts", ["cold", "warm", "cold_then_warm"])),
                );
                None
            }
        }
    }

    /// Whether what trials must find can be seen at all.
    fn check_start(&mut self, file: &PlanFile, application: &Application<'_>, known: &BTreeSet<String>) {
        let Some(start) = file.trials.as_ref().and_then(|trials| trials.start.as_ref()) else { return };
        self.check_start_words(file, known);
        let target = application.benchmark.targets.get(&application.target);
        if target.is_some_and(|target| target.traces == Traces::None) {
            self.report.push(
                Problem::error(
                    "invalid-start",
                    format!("cold starts of `{}` cannot be seen: it has no traces", application.name),
                )
                .at(&start.span, "checked against the traces of each trial")
                .help(format!(
                    "set `traces` in [targets.{}] of {}, or remove `start`",
                    application.target,
                    application.benchmark.path.display()
                )),
            );
        }
    }

    fn check_start_words(&mut self, file: &PlanFile, known: &BTreeSet<String>) {
        let Some(start) = file.trials.as_ref().and_then(|trials| trials.start.as_ref()) else { return };
        if let Or::Template(template) = &start.value {
            let template = Spanned { value: template.clone(), span: start.span.clone() };
            template::check_plain(&template, known, &mut self.report);
        }
    }
}

/// The variables of an application, and the paths of all that its placeholders may name.
fn names(raw: &ApplicationFile, matrix: &Matrix) -> (BTreeMap<String, Value>, BTreeSet<String>) {
    let vars: BTreeMap<String, Value> = raw
        .vars
        .iter()
        .flat_map(Map::iter)
        .map(|(name, value)| (name.value.clone(), value.0.clone()))
        .collect();
    let mut known: BTreeSet<String> = matrix.names().iter().map(|name| format!("matrix.{name}")).collect();
    known.extend(vars.keys().map(|name| format!("vars.{name}")));
    known.extend(["application".to_owned(), "target".to_owned()]);
    (vars, known)
}

/// What a placeholder stands for at one point.
fn value_at(
    path: &str,
    factors: &Factors,
    vars: &BTreeMap<String, Value>,
    application: &str,
    target: &str,
) -> Option<Value> {
    match path.split_once('.') {
        Some(("matrix", name)) => {
            factors.iter().find(|(factor, _)| factor == name).map(|(_, level)| level.clone())
        }
        Some(("vars", name)) => vars.get(name).cloned(),
        _ if path == "application" => Some(Value::from(application)),
        _ if path == "target" => Some(Value::from(target)),
        _ => None,
    }
}
