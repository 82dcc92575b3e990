//! Plans: every application at every point of the matrix, with its parameters, labels and load evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::manifest::decode::{Decode as _, Map};
use crate::manifest::load::{LoadFile, LoadOrName};
use crate::manifest::plan::{ApplicationFile, ExecutorWord, MatrixFile, OrderWord, PlanFile, StartWord};
use crate::manifest::problem::{Checked, Problem, Report, Span, suggest};
use crate::manifest::read::{Files, normal};
use crate::manifest::tree::Spanned;
use crate::manifest::values::{Or, Period, Scalar};
use crate::validate::load::{self, Values, default_load, first_line};
use crate::validate::matrix::{Factors, Matrix, describe};
use crate::validate::overrides::{Overrides, accept};
use crate::validate::script::{self, Script, Sent};
use crate::validate::{
    Benchmark, Budget, Charge, Concurrency, Entry, Executor, Order, Plan, Point, Start, Step, Timing, Traces,
    benchmark, check, step, template,
};
use sb_workload::Load;
use sb_workload::template::Template;

/// Reads and checks a plan with all its benchmarks. A relative path counts from the working directory.
pub fn plan(files: &dyn Files, path: &Path, overrides: &Overrides) -> Checked<Plan> {
    let path = check::absolute(path);
    let (node, mut report) = check::open(files, &path);
    let Some(file) = node.and_then(|node| PlanFile::decode(&node, &mut report)) else {
        return Checked::new(None, report.problems);
    };
    let decoded = report.problems.len();
    let mut checker = Checker {
        files,
        path,
        overrides,
        report,
        others: Vec::new(),
        benchmarks: BTreeMap::new(),
        generators: None,
    };
    let plan = checker.check(&file);
    check::without_echoes(&mut checker.report, decoded);
    let mut problems = checker.report.problems;
    problems.extend(checker.others);
    Checked::new(Some(plan), problems)
}

/// A plan of one application and one trial, for commands on a single deployment. Without a load: one invocation.
pub fn single(
    benchmark: Arc<Benchmark>,
    target: &str,
    load: Option<Load>,
    overrides: &Overrides,
) -> Checked<Plan> {
    let mut problems = Vec::new();
    if !benchmark.targets.contains_key(target) {
        problems.push(
            Problem::error(
                "sb::validate::unknown_target",
                format!("the benchmark `{}` has no target `{target}`", benchmark.name),
            )
            .help(suggest(target, "targets", benchmark.targets.keys().map(String::as_str))),
        );
    }
    let load = load.unwrap_or_else(default_load);
    problems.extend(script::mismatch(benchmark.workload.as_ref(), &load));
    let mut params = overrides.from_environment(&benchmark, &mut problems);
    params.extend(overrides.from_command_line(&benchmark, &mut problems));
    overrides.report_unknown(&[benchmark.as_ref()], &mut problems);
    let point =
        Point { factors: Vec::new(), params, labels: BTreeMap::new(), load: Arc::new(load), start: None };
    let plan = Plan {
        path: benchmark.path.clone(),
        name: benchmark.name.clone(),
        description: benchmark.description.clone(),
        executor: overrides.executor,
        entries: vec![Entry {
            application: benchmark.name.clone(),
            target: target.to_owned(),
            benchmark,
            points: vec![point],
        }],
        repetitions: 1,
        trials_per_deployment: 1,
        order: Order::Sequential,
        seed: overrides.seed.unwrap_or(0),
        timing: Timing::default(),
        concurrency: Concurrency { deploy: 1, invoke: 1, quiet: true },
        locks: BTreeMap::new(),
        budget: Budget::default(),
    };
    Checked::new(Some(plan), problems)
}

struct Checker<'a> {
    files: &'a dyn Files,
    path: PathBuf,
    overrides: &'a Overrides,
    report: Report,
    /// Problems in benchmarks and of the command line.
    others: Vec<Problem>,
    /// Read once each; None: with errors.
    benchmarks: BTreeMap<PathBuf, Option<Arc<Benchmark>>>,
    /// None: those that workloads name.
    generators: Option<Vec<String>>,
}

/// An application whose manifest and target are known.
struct Application<'a> {
    raw: &'a ApplicationFile,
    name: String,
    benchmark: Arc<Benchmark>,
    target: String,
}

impl Checker<'_> {
    fn check(&mut self, file: &PlanFile) -> Plan {
        check::name(&file.plan.name.value, &file.plan.name.span, "a plan", &mut self.report);
        let generators = file.plan.load_generators.as_ref();
        self.generators = generators.map(|list| script::generators(list, &mut self.report));
        let locks = self.locks(file);
        let applications = self.applications(file, &locks);
        let names: Vec<&str> = applications.iter().map(|application| application.name.as_str()).collect();
        let targets: Vec<&str> = applications.iter().map(|application| application.target.as_str()).collect();
        // An application that could not be read would make rules about it look wrong.
        let complete = applications.len() == file.applications.value.len();
        let default_matrix = MatrixFile::default();
        let matrix_file = file.matrix.as_ref().filter(|_| complete).unwrap_or(&default_matrix);
        let matrix = Matrix::check(matrix_file, &names, &targets, &mut self.report);
        let entries = if complete {
            applications.iter().map(|application| self.entry(file, application, &matrix)).collect()
        } else {
            Vec::new()
        };
        let benchmarks: Vec<&Benchmark> = applications.iter().map(|one| one.benchmark.as_ref()).collect();
        if complete {
            self.overrides.report_unknown(&benchmarks, &mut self.others);
        }

        let cost_usd = self.cost_budget(file, &entries);
        let report = &mut self.report;
        let trials = file.trials.as_ref();
        let timing = file.timing.as_ref();
        let concurrency = file.concurrency.as_ref();
        let budget = file.budget.as_ref();
        Plan {
            path: self.path.clone(),
            name: file.plan.name.value.clone(),
            description: file.plan.description.clone().unwrap_or_default(),
            executor: self.overrides.executor.or(file.plan.executor.map(|word| match word {
                ExecutorWord::Docker => Executor::Docker,
                ExecutorWord::Host => Executor::Host,
            })),
            entries,
            repetitions: small(
                trials.and_then(|trials| trials.repetitions.as_ref()),
                "the number of repetitions",
                report,
            ),
            trials_per_deployment: small(
                trials.and_then(|trials| trials.per_deployment.as_ref()),
                "the number of trials per deployment",
                report,
            ),
            order: match trials.and_then(|trials| trials.order) {
                None | Some(OrderWord::Sequential) => Order::Sequential,
                Some(OrderWord::Interleaved) => Order::Interleaved,
                Some(OrderWord::Random) => Order::Random,
            },
            seed: self.overrides.seed.or(trials.and_then(|trials| trials.seed)).unwrap_or(0),
            timing: Timing {
                before_invoke: pause(timing.and_then(|timing| timing.before_invoke.as_ref()), report),
                before_traces: pause(timing.and_then(|timing| timing.before_traces.as_ref()), report),
                min_idle: pause(timing.and_then(|timing| timing.min_idle.as_ref()), report),
            },
            concurrency: Concurrency {
                deploy: small(
                    concurrency.and_then(|concurrency| concurrency.deploy.as_ref()),
                    "the number of deployments at once",
                    report,
                ),
                invoke: small(
                    concurrency.and_then(|concurrency| concurrency.invoke.as_ref()),
                    "the number of loads at once",
                    report,
                ),
                quiet: concurrency.and_then(|concurrency| concurrency.quiet).unwrap_or(true),
            },
            locks,
            budget: Budget {
                errors: budget
                    .and_then(|budget| budget.errors.as_ref())
                    .map(|errors| check::count(errors, 1..=1_000_000, "the number of errors", report))
                    .and_then(|errors| u32::try_from(errors).ok()),
                duration: budget
                    .and_then(|budget| budget.duration.as_ref())
                    .map(|duration| check::duration(duration, true, report)),
                cost_usd,
            },
        }
    }

    /// A limit on the cost can only be kept where the cost is known.
    fn cost_budget(&mut self, file: &PlanFile, entries: &[Entry]) -> Option<f64> {
        let limit = file.budget.as_ref()?.cost_usd.as_ref()?;
        if !(limit.value > 0.0 && limit.value.is_finite()) {
            self.report.push(
                Problem::error("sb::validate::range", format!("the budget cannot be {} USD", limit.value))
                    .at(&limit.span, "not above 0")
                    .help("use a number of US dollars above 0"),
            );
        }
        let mut seen = BTreeSet::new();
        for entry in entries {
            let target = entry.benchmark.targets.get(&entry.target);
            let unknown = target.is_some_and(|target| target.charge(&entry.target) == Charge::Unknown);
            if unknown && seen.insert((&entry.benchmark.path, &entry.target)) {
                let (name, path) = (&entry.target, entry.benchmark.path.display());
                self.report.push(
                    Problem::error(
                        "sb::validate::usage",
                        format!("what the target `{name}` of `{}` costs is not known", entry.benchmark.name),
                    )
                    .at(&limit.span, "cannot be kept")
                    .help(format!("declare [targets.{name}.usage] in {path}, or remove `cost_usd`")),
                );
            }
        }
        Some(limit.value)
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
                    Problem::error("sb::validate::start", format!("trials cannot start `{text}`{at}"))
                        .at(&start.span, "not a word that is known here")
                        .help(suggest(&text, "starts", ["cold", "warm", "cold_then_warm"])),
                );
                None
            }
        }
    }

    /// Whether what trials must find can be seen at all.
    fn check_start(&mut self, file: &PlanFile, application: &Application<'_>, known: &[String]) {
        let Some(start) = file.trials.as_ref().and_then(|trials| trials.start.as_ref()) else { return };
        if let Or::Template(template) = &start.value {
            let template = Spanned { value: template.clone(), span: start.span.clone() };
            template::check_plain(&template, known, &mut self.report);
        }
        let target = application.benchmark.targets.get(&application.target);
        if target.is_some_and(|target| target.traces == Traces::None) {
            self.report.push(
                Problem::error(
                    "sb::validate::start",
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

    fn locks(&mut self, file: &PlanFile) -> BTreeMap<String, u32> {
        let locks = file.locks.iter().flat_map(Map::iter);
        locks
            .map(|(name, limit)| {
                check::lock(&name.value, &name.span, &mut self.report);
                (name.value.clone(), small(Some(limit), "a limit", &mut self.report))
            })
            .collect()
    }

    fn applications<'a>(
        &mut self,
        file: &'a PlanFile,
        locks: &BTreeMap<String, u32>,
    ) -> Vec<Application<'a>> {
        if file.applications.value.is_empty() {
            self.report.push(
                Problem::error("sb::validate::no_application", "the plan has no applications")
                    .at(&file.applications.span, "empty")
                    .help("add an [[applications]] table with `manifest`"),
            );
        }
        let mut applications: Vec<Application<'a>> = Vec::new();
        for raw in &file.applications.value {
            let Some(application) = self.application(&raw.value, locks) else { continue };
            let name_span = raw.value.name.as_ref().map_or(&raw.value.manifest.span, |name| &name.span);
            check::name(&application.name, name_span, "an application", &mut self.report);
            if let Some(first) = applications.iter().find(|earlier| earlier.name == application.name) {
                let first = first.raw.name.as_ref().map_or(&first.raw.manifest.span, |name| &name.span);
                self.report.push(
                    Problem::error(
                        "sb::validate::duplicate",
                        format!("two applications are called `{}`", application.name),
                    )
                    .at(name_span, "again")
                    .at(first, "first")
                    .help("give one of them a `name` of its own"),
                );
            }
            applications.push(application);
        }
        applications
    }

    fn application<'a>(
        &mut self,
        raw: &'a ApplicationFile,
        locks: &BTreeMap<String, u32>,
    ) -> Option<Application<'a>> {
        let taken = step::locks(raw.locks.as_ref(), &mut self.report);
        for lock in raw.locks.iter().flatten().filter(|lock| !locks.contains_key(&lock.value)) {
            self.report.push(
                Problem::error("sb::validate::unknown_lock", format!("unknown lock `{}`", lock.value))
                    .at(&lock.span, "not in [locks]")
                    .help(suggest(&lock.value, "locks", locks.keys().map(String::as_str))),
            );
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let manifest = normal(&folder.join(&raw.manifest.value));
        if !self.files.exists(&manifest) {
            self.report.push(
                Problem::error(
                    "sb::validate::no_file",
                    format!("the manifest `{}` does not exist", raw.manifest.value),
                )
                .at(&raw.manifest.span, "no such file")
                .help(format!("paths count from the plan's folder: {} is missing", manifest.display())),
            );
            return None;
        }
        if !self.benchmarks.contains_key(&manifest) {
            let checked = benchmark(self.files, &manifest);
            self.others.extend(checked.problems);
            self.benchmarks.insert(manifest.clone(), checked.value);
        }
        let mut benchmark = self.benchmarks.get(&manifest).cloned().flatten()?;
        if let (Some(generators), Some(Sent::Script(script))) = (&self.generators, &benchmark.workload) {
            let script = Script { generators: generators.clone(), ..(**script).clone() };
            let sent = Some(Sent::Script(Arc::new(script)));
            benchmark = Arc::new(Benchmark { workload: sent, ..(*benchmark).clone() });
        }
        let target = self.target(raw, &benchmark)?;
        if !taken.is_empty() {
            benchmark = Arc::new(with_locks(&benchmark, &taken));
        }
        let name = raw.name.as_ref().map_or(&benchmark.name, |name| &name.value).clone();
        Some(Application { raw, name, benchmark, target })
    }

    fn target(&mut self, raw: &ApplicationFile, benchmark: &Benchmark) -> Option<String> {
        let names = benchmark.targets.keys().map(String::as_str);
        let problem = match &raw.target {
            Some(target) if benchmark.targets.contains_key(&target.value) => {
                return Some(target.value.clone());
            }
            Some(target) => Problem::error(
                "sb::validate::unknown_target",
                format!("the benchmark `{}` has no target `{}`", benchmark.name, target.value),
            )
            .at(&target.span, "not in its [targets]")
            .help(suggest(&target.value, "targets", names)),
            None if benchmark.targets.len() == 1 => return benchmark.targets.keys().next().cloned(),
            None => Problem::error(
                "sb::validate::unknown_target",
                format!("the benchmark `{}` has several targets", benchmark.name),
            )
            .at(&raw.manifest.span, "which one?")
            .help(format!("add `target = …` ({})", suggest("", "targets", names))),
        };
        self.report.push(problem);
        None
    }

    fn entry(&mut self, file: &PlanFile, application: &Application<'_>, matrix: &Matrix) -> Entry {
        let benchmark = &application.benchmark;
        let vars: BTreeMap<String, Value> = application
            .raw
            .vars
            .iter()
            .flat_map(Map::iter)
            .map(|(name, value)| (name.value.clone(), value.0.clone()))
            .collect();
        let mut known: Vec<String> = matrix.names().iter().map(|name| format!("matrix.{name}")).collect();
        known.extend(vars.keys().map(|name| format!("vars.{name}")));
        known.extend(["application".to_owned(), "target".to_owned()]);

        let environment = self.overrides.from_environment(benchmark, &mut self.others);
        let command_line = self.overrides.from_command_line(benchmark, &mut self.others);
        let before = self.report.problems.len();
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
        self.check_load(file, choice, &known);
        self.check_start(file, application, &known);
        let mut entry = Entry {
            application: application.name.clone(),
            benchmark: Arc::clone(benchmark),
            target: application.target.clone(),
            points: Vec::new(),
        };
        // Values that are not defined would be reported again at every point.
        if self.report.problems[before..].iter().any(Problem::is_error) {
            return entry;
        }

        let mut loads = Loads { default: None, fixed: BTreeMap::new() };
        let mut failed: BTreeSet<usize> = BTreeSet::new();
        for factors in matrix.points(&application.name, &application.target) {
            let lookup = |path: &str| match path.split_once('.') {
                Some(("matrix", name)) => {
                    factors.iter().find(|(factor, _)| factor == name).map(|(_, level)| level.clone())
                }
                Some(("vars", name)) => vars.get(name).cloned(),
                _ if path == "application" => Some(Value::from(application.name.as_str())),
                _ if path == "target" => Some(Value::from(application.target.as_str())),
                _ => None,
            };
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
                            Problem::error("sb::validate::param", format!("{message}{at}"))
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
            let Some(load) = self.load(file, choice, &lookup, &factors, &mut loads) else {
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
            entry.points.push(Point { factors, params: point_params, labels, load, start });
        }
        if entry.points.is_empty() && self.report.problems.len() == before {
            self.report.push(
                Problem::warning(
                    "sb::validate::matrix",
                    format!("every point of the application `{}` is excluded", application.name),
                )
                .at(&application.raw.manifest.span, "never runs")
                .help("remove the application, or loosen `exclude` in [matrix]"),
            );
        }
        entry
    }

    /// Whether the benchmark has this parameter and a plan may set it.
    fn check_param(
        &mut self,
        name: &Spanned<String>,
        value: &Spanned<Or<Scalar>>,
        application: &Application<'_>,
        known: &[String],
    ) -> bool {
        let benchmark = &application.benchmark;
        let Some(param) = benchmark.params.get(&name.value) else {
            self.report.push(
                Problem::error(
                    "sb::validate::unknown_param",
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
                Problem::error("sb::validate::secret", format!("the parameter `{}` is secret", name.value))
                    .at(&name.span, "a plan is stored with its results")
                    .help("set it by the environment, and leave it out of the plan"),
            );
            return false;
        }
        if let Or::Template(template) = &value.value {
            let template = Spanned { value: template.clone(), span: value.span.clone() };
            template::check_plain(&template, known, &mut self.report);
        }
        true
    }

    /// Checks the placeholders and names of a load, before any point.
    fn check_load(&mut self, file: &PlanFile, choice: Option<&Spanned<LoadOrName>>, known: &[String]) {
        let named = match choice.map(|choice| &choice.value) {
            None => return,
            Some(LoadOrName::Inline(load)) => vec![load.as_ref()],
            Some(LoadOrName::Name(name)) if name.value.is_literal() => {
                file.loads.iter().filter_map(|loads| loads.get(name.value.source())).collect()
            }
            Some(LoadOrName::Name(name)) => {
                template::check_plain(name, known, &mut self.report);
                file.loads.iter().flat_map(Map::iter).map(|(_, load)| load).collect()
            }
        };
        for template in named.into_iter().flat_map(load::templates) {
            template::check_plain(&template, known, &mut self.report);
        }
    }

    /// The load at one point. None: reported, unless the same was reported before.
    fn load(
        &mut self,
        file: &PlanFile,
        choice: Option<&Spanned<LoadOrName>>,
        lookup: &dyn Fn(&str) -> Option<Value>,
        factors: &Factors,
        loads: &mut Loads,
    ) -> Option<Arc<Load>> {
        let Some(choice) = choice else {
            return Some(Arc::clone(loads.default.get_or_insert_with(|| Arc::new(default_load()))));
        };
        match &choice.value {
            LoadOrName::Inline(raw) => self.resolve("", raw, &choice.span, lookup, factors, loads),
            LoadOrName::Name(name) => {
                let text =
                    name.value.render(sb_workload::template::Context::Plain, lookup).unwrap_or_default();
                let Some(raw) = file.loads.as_ref().and_then(|all| all.get(&text)) else {
                    let known = file.loads.iter().flat_map(Map::names).collect::<Vec<_>>();
                    let at = if name.value.is_literal() { String::new() } else { describe(factors) };
                    self.report.push(
                        Problem::error("sb::validate::unknown_load", format!("unknown load `{text}`{at}"))
                            .at(&name.span, "not in [loads]")
                            .help(suggest(&text, "loads", known)),
                    );
                    return None;
                };
                self.resolve(&text, raw, &name.span, lookup, factors, loads)
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
        loads: &mut Loads,
    ) -> Option<Arc<Load>> {
        if let Some(load) = loads.fixed.get(name) {
            return Some(Arc::clone(load));
        }
        let is_fixed = load::templates(raw).is_empty();
        let point = if is_fixed { String::new() } else { describe(factors) };
        let folder = self.path.parent().unwrap_or(&self.path);
        let values = Values { lookup, point: &point, files: self.files, folder };
        let load = Arc::new(load::resolve(raw, span, &values, &mut self.report)?);
        if is_fixed {
            loads.fixed.insert(name.to_owned(), Arc::clone(&load));
        }
        Some(load)
    }
}

/// Loads without placeholders are shared by all points.
struct Loads {
    default: Option<Arc<Load>>,
    /// By name; the plan's own has none.
    fixed: BTreeMap<String, Arc<Load>>,
}

/// The benchmark with locks taken by each of its steps.
fn with_locks(benchmark: &Benchmark, locks: &[String]) -> Benchmark {
    let mut benchmark = benchmark.clone();
    let lock = |step: &mut Arc<Step>| {
        let step = Arc::make_mut(step);
        for lock in locks.iter().filter(|lock| !step.locks.contains(lock)).collect::<Vec<_>>() {
            step.locks.push(lock.clone());
        }
    };
    for target in benchmark.targets.values_mut() {
        target.deploy.iter_mut().chain(&mut target.invoke).chain(&mut target.cleanup).for_each(lock);
    }
    benchmark
}

fn pause(given: Option<&Spanned<Period>>, report: &mut Report) -> Duration {
    given.map_or(Duration::ZERO, |period| check::duration(period, false, report))
}

/// From 1 to 10000, default 1.
fn small(given: Option<&Spanned<i64>>, what: &str, report: &mut Report) -> u32 {
    let number = given.map_or(1, |number| check::count(number, 1..=10_000, what, report));
    u32::try_from(number).unwrap_or(1)
}
