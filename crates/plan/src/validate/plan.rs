//! Plans: every application at every point of the matrix, with its parameters, labels and load evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::manifest::decode::{Decode as _, Map};
use crate::manifest::plan::{ApplicationFile, FigureWord, MatrixFile, OrderWord, PlanFile, TrialsFile};
use crate::manifest::problem::{Checked, LeftOut, Problem, Report, Span, suggest};
use crate::manifest::read::{Files, boundary, lies_in, normal};
use crate::manifest::tree::Spanned;
use crate::manifest::values::Period;
use crate::validate::benchmark::without_repeats;
use crate::validate::load::default_load;

use crate::benchmark::{Benchmark, Charge, ManifestStep, SamTemplates, Script, Sent};
use crate::plan::{
    Budget, Concurrency, Entry, LatencyFigure, Order, Overrides, Plan, Point, Prices, Timing, Until,
};
use crate::rules::{Depends, rule};
use crate::validate::echo::without_echoes;
use crate::validate::kind::{self, FileKind};
use crate::validate::script;
use crate::validate::shared::{Benchmarks, ReadBenchmark};
use crate::validate::{check, factors, idle, matrix, requests, step, together};
use sb_workload::Load;
use sb_workload::schedule::total;

/// Reads and checks a plan with all its benchmarks. A relative path counts from the working directory.
pub fn plan(files: &dyn Files, path: &Path, overrides: &Overrides) -> Checked<Plan> {
    plan_with(files, path, overrides, &SamTemplates::default())
}

/// As [`plan`], where some SAM templates were parsed already.
pub fn plan_with(
    files: &dyn Files,
    path: &Path,
    overrides: &Overrides,
    known: &SamTemplates,
) -> Checked<Plan> {
    plan_sharing(files, path, overrides, &Benchmarks::knowing(known))
}

/// As [`plan`], with benchmarks that are read once for several plans.
pub fn plan_sharing(
    files: &dyn Files,
    path: &Path,
    overrides: &Overrides,
    benchmarks: &Benchmarks,
) -> Checked<Plan> {
    let path = check::absolute(path);
    let (node, mut report) = kind::expect(&path, FileKind::Plan, check::open_named(files, &path));
    let decoded = node.and_then(|node| Some((PlanFile::decode(&node, &mut report)?, node)));
    let Some((file, node)) = decoded else {
        return Checked::new(None, report.problems);
    };
    let decoded = report.problems.len();
    let mut checker = PlanChecker {
        files,
        boundary: boundary(files, &path),
        path,
        overrides,
        report,
        others: Vec::new(),
        benchmarks,
        used: BTreeMap::new(),
        loads: BTreeMap::new(),
        excluded: Vec::new(),
        generators: None,
    };
    let plan = checker.check(&file);
    checker.limit(&plan, &file);
    checker.check_cost(&plan, &file);
    let elsewhere: Vec<LeftOut> = checker.used.values().flat_map(|read| read.left_out.clone()).collect();
    without_echoes(&mut checker.report, decoded, &node, &elsewhere);
    without_repeats(&mut checker.report.problems);
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
                "unknown-target",
                format!("the benchmark `{}` has no target `{target}`", benchmark.name),
            )
            .help(suggest(target, "targets", benchmark.targets.keys().map(String::as_str))),
        );
    }
    let mut load = load.unwrap_or_else(default_load);
    overrides.tolerances.apply(&mut load);
    problems.extend(script::mismatch(benchmark.workload.as_ref(), &load));
    let mut params = overrides.of_environment(&benchmark, &mut problems);
    params.extend(overrides.of_command_line(&benchmark, &mut problems));
    overrides.report_unknown(&[benchmark.as_ref()], &mut problems);
    let point =
        Point { factors: Vec::new(), params, labels: BTreeMap::new(), load: Arc::new(load), start: None };
    if let Some(message) = requests::at_point(&benchmark, target, &point) {
        problems.push(
            Problem::error("invalid-request", message)
                .help("correct the parameters that were given for it (`-p`, or the environment)"),
        );
    }
    let plan = Plan {
        path: benchmark.path.clone(),
        name: benchmark.name.clone(),
        description: benchmark.description.clone(),
        executor: overrides.executor.unwrap_or_default(),
        entries: vec![Entry {
            application: benchmark.name.clone(),
            target: target.to_owned(),
            benchmark,
            points: vec![point],
        }],
        repetitions: 1,
        trials_per_deployment: 1,
        until: None,
        order: Order::Sequential,
        seed: overrides.seed.unwrap_or(0),
        timing: Timing::default(),
        concurrency: Concurrency { deploy: 1, invoke: 1, quiet: true, together: false },
        locks: BTreeMap::new(),
        budget: Budget::default(),
    };
    Checked::new(Some(plan), problems)
}

/// Of all deployments together; a graph of them takes about 4 GB.
const MOST_TRIALS: u64 = 1_000_000;

pub(super) struct PlanChecker<'a> {
    pub(super) files: &'a dyn Files,
    pub(super) path: PathBuf,
    /// What the plan may refer to.
    pub(super) boundary: PathBuf,
    pub(super) overrides: &'a Overrides,
    pub(super) report: Report,
    /// Problems in benchmarks and of the command line.
    pub(super) others: Vec<Problem>,
    benchmarks: &'a Benchmarks,
    /// Those that the plan uses, by path.
    used: BTreeMap<PathBuf, Arc<ReadBenchmark>>,
    /// Loads that were checked, by their name and what their placeholders gave; the plan's own has no name.
    pub(super) loads: BTreeMap<(String, Vec<String>), Arc<Load>>,
    /// Where the applications without a point name their manifests.
    pub(super) excluded: Vec<Span>,
    /// None: those that workloads name.
    generators: Option<Vec<String>>,
}

/// An application whose manifest and target are known.
pub(super) struct Application<'a> {
    pub(super) raw: &'a ApplicationFile,
    pub(super) name: String,
    pub(super) benchmark: Arc<Benchmark>,
    pub(super) target: String,
}

impl PlanChecker<'_> {
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
        let mut matrix_file = file.matrix.clone().unwrap_or_default();
        if !complete {
            matrix_file = MatrixFile { factors: matrix_file.factors, ..MatrixFile::default() };
        }
        let matrix = matrix::matrix(&matrix_file, &names, &targets, &mut self.report);
        let entries: Vec<Entry> =
            applications.iter().map(|application| self.entry(file, application, &matrix)).collect();
        self.check_excluded(file, &applications);
        for raw in &file.applications.value {
            if !applications.iter().any(|read| std::ptr::eq(read.raw, &raw const raw.value)) {
                self.check_unread(file, &raw.value, &matrix);
            }
        }
        // What is wrong elsewhere may be why a factor does nothing.
        let mut found = self.report.problems.iter().chain(&self.others);
        if complete && !found.any(|problem| problem.is_error() && may_hide_use(problem)) {
            factors::check(file, &applications, &entries, self.overrides, &mut self.report);
        }
        let benchmarks: Vec<&Benchmark> = applications.iter().map(|one| one.benchmark.as_ref()).collect();
        if complete {
            idle::check(file, &applications, &mut self.report);
            self.overrides.report_unknown(&benchmarks, &mut self.others);
        }

        let cost_usd = self.cost_budget(file, &entries);
        let until = file.trials.as_ref().and_then(|trials| self.until(trials));
        if let Some((until, max)) = until {
            self.reachable(file, until, max, &entries);
        }
        // Of an application that could not be read, nobody knows what its load waits for.
        let together = complete && together::check(file, &applications, &locks, &mut self.report);
        let report = &mut self.report;
        let trials = file.trials.as_ref();
        let timing = file.timing.as_ref();
        let concurrency = file.concurrency.as_ref();
        let budget = file.budget.as_ref();
        Plan {
            path: self.path.clone(),
            name: file.plan.name.value.clone(),
            description: file.plan.description.clone().unwrap_or_default(),
            executor: self.overrides.executor.or(file.plan.executor).unwrap_or_default(),
            entries,
            repetitions: small(
                trials.and_then(|trials| trials.repetitions.as_ref()),
                "the number of repetitions",
                report,
            ),
            trials_per_deployment: match until {
                Some((_, most)) => most,
                None => small(
                    trials.and_then(|trials| trials.per_deployment.as_ref()),
                    "the number of trials per deployment",
                    report,
                ),
            },
            until: until.map(|(until, _)| until),
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
                together,
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

    /// When trials are precise enough, and how many there are at most.
    fn until(&mut self, trials: &TrialsFile) -> Option<(Until, u32)> {
        let file = trials.until.as_ref()?;
        let report = &mut self.report;
        if let Some(fixed) = &trials.per_deployment {
            report.push(
                Problem::error(
                    "invalid-until",
                    "`per_deployment` and `until` both say how many trials there are",
                )
                .at(&fixed.span, "not together with `until`")
                .help("keep `per_deployment` for a fixed number, or `until` with its `max`"),
            );
        }
        let mut share = |number: &Spanned<f64>, least: f64, most: f64, what: &str, range: &str| {
            if !(least..=most).contains(&number.value) || number.value == 0.0 {
                report.push(
                    Problem::error("out-of-range", format!("{what} cannot be {}", number.value))
                        .at(&number.span, format!("not {range}"))
                        .help(format!("use a number {range}")),
                );
            }
            number.value
        };
        let relative_width =
            share(&file.relative_width, 0.0, 1.0, "the relative width", "above 0 and at most 1");
        let confidence = file
            .confidence
            .as_ref()
            .map_or(0.95, |number| share(number, 0.5, 0.999, "the confidence", "from 0.5 to 0.999"));
        let count = |number: &Spanned<i64>, what: &str, report: &mut Report| {
            u32::try_from(check::count(number, 2..=10_000, what, report)).unwrap_or(2)
        };
        let max = count(&file.max, "the largest number of trials", report);
        let min =
            file.min.as_ref().map_or(3, |number| count(number, "the smallest number of trials", report));
        let in_range = |number: &Spanned<i64>| (2..=10_000).contains(&number.value);
        if min >= max && in_range(&file.max) && file.min.as_ref().is_none_or(in_range) {
            let given = file.min.as_ref().unwrap_or(&file.max);
            report.push(
                Problem::error(
                    "invalid-until",
                    format!("at least {min} and at most {max} trials leave nothing to decide"),
                )
                .at(&given.span, "`min` must be below `max`")
                .help("lower `min` (3 unless given), raise `max`, or use `per_deployment`"),
            );
        }
        let of = match file.of {
            FigureWord::Mean => LatencyFigure::Mean,
            FigureWord::P50 => LatencyFigure::P50,
            FigureWord::P90 => LatencyFigure::P90,
            FigureWord::P95 => LatencyFigure::P95,
            FigureWord::P99 => LatencyFigure::P99,
        };
        Some((Until { of, relative_width, confidence, min }, max))
    }

    /// A measure that no deployment can reach ends nothing: all its trials are done, as without it.
    fn reachable(&mut self, file: &PlanFile, until: Until, max: u32, entries: &[Entry]) {
        let Some(given) = file.trials.as_ref().and_then(|trials| trials.until.as_ref()) else { return };
        for entry in entries {
            let hopeless = entry.points.iter().find(|point| until.fewest(entry, point) > u64::from(max));
            let Some(point) = hopeless.filter(|_| until.min < max) else { continue };
            let (of, application) = (until.of.name(), &entry.application);
            let help = match total(&point.load).map(|sent| sent.saturating_mul(u64::from(max))) {
                Some(all) if all < until.answers(entry) => format!(
                    "raise `max` to {} or more, make the load longer, or ask for a figure of fewer answers: {of} needs {} \
                     of each type of requests, and {max} trials send {all} in all",
                    until.fewest(entry, point),
                    until.of.answers()
                ),
                _ => format!(
                    "raise `max` to {} or more: an interval needs 3 trials that count, and the first of \
                     `start = \"cold_then_warm\"` does not",
                    until.fewest(entry, point)
                ),
            };
            self.report.push(
                Problem::error(
                    "invalid-until",
                    format!("the trials of `{application}` can never be precise enough for {of}"),
                )
                .at(&given.max.span, "too few")
                .help(help),
            );
        }
    }

    /// What cannot be held in memory, nor ended in a lifetime, is a mistake in a number.
    fn limit(&mut self, plan: &Plan, file: &PlanFile) {
        let trials = plan.trials();
        if trials > MOST_TRIALS {
            self.report.push(
                Problem::error("out-of-range", format!("the plan has {trials} trials"))
                    .at(&file.plan.name.span, format!("more than {MOST_TRIALS}"))
                    .help("lower `repetitions` or `per_deployment`, drop levels of the matrix, or split the plan"),
            );
        }
    }

    /// A limit on the cost can only be kept where the cost is known.
    fn cost_budget(&mut self, file: &PlanFile, entries: &[Entry]) -> Option<f64> {
        let limit = file.budget.as_ref()?.cost_usd.as_ref()?;
        if !(limit.value > 0.0 && limit.value.is_finite()) {
            self.report.push(
                Problem::error("out-of-range", format!("the budget cannot be {} USD", limit.value))
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
                        "unknown-cost",
                        format!("what the target `{name}` of `{}` costs is not known", entry.benchmark.name),
                    )
                    .at(&limit.span, "cannot be kept")
                    .help(format!("declare [targets.{name}.usage] in {path}, or remove `cost_usd`")),
                );
            }
        }
        Some(limit.value)
    }

    /// By declared usage and the price table, what the plan costs.
    fn check_cost(&mut self, plan: &Plan, file: &PlanFile) {
        let limit = file.budget.as_ref().and_then(|budget| budget.cost_usd.as_ref());
        let (Some(limit), true) = (limit, plan.trials() <= MOST_TRIALS) else { return };
        let prices = Prices::built_in();
        let usd: f64 = plan.entries.iter().map(|entry| cost(plan, entry, &prices)).sum();
        if usd > limit.value {
            let message = format!("the plan costs about {usd:.2} USD, and its budget is {} USD", limit.value);
            self.report.push(
                Problem::warning("over-budget", message).at(&limit.span, "is reached before the end").help(format!(
                    "raise `cost_usd`, or make the plan smaller; `sb plan estimate {}` shows what costs how much",
                    self.path.file_name().unwrap_or_default().to_string_lossy()
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
                Problem::error("no-application", "the plan has no applications")
                    .at(&file.applications.span, "empty")
                    .help("add an [[applications]] table with `manifest`"),
            );
        }
        let mut applications: Vec<Application<'a>> = Vec::new();
        let mut index_of: BTreeMap<String, usize> = BTreeMap::new();
        for raw in &file.applications.value {
            let Some(application) = self.application(&raw.value, locks) else { continue };
            let name_span = raw.value.name.as_ref().map_or(&raw.value.manifest.span, |name| &name.span);
            check::name(&application.name, name_span, "an application", &mut self.report);
            let first = index_of.get(&application.name).map(|index| &applications[*index]);
            if let Some(first) = first {
                let first = first.raw.name.as_ref().map_or(&first.raw.manifest.span, |name| &name.span);
                self.report.push(
                    Problem::error(
                        "duplicate-name",
                        format!("two applications are called `{}`", application.name),
                    )
                    .at(name_span, "again")
                    .at(first, "first")
                    .help("give one of them a `name` of its own"),
                );
            }
            index_of.entry(application.name.clone()).or_insert(applications.len());
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
                Problem::error("unknown-lock", format!("unknown lock `{}`", lock.value))
                    .at(&lock.span, "not in [locks]")
                    .help(suggest(&lock.value, "locks", locks.keys().map(String::as_str))),
            );
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let manifest = normal(&folder.join(&raw.manifest.value));
        let boundary = &self.boundary;
        if !lies_in(self.files, &manifest, boundary) {
            self.report.push(
                Problem::error(
                    "outside-root",
                    format!("the manifest `{}` lies outside of {}", raw.manifest.value, boundary.display()),
                )
                .at(&raw.manifest.span, "is not read")
                .help(match common(&self.path, &manifest) {
                    Some(folder) => format!(
                        "keep plans and applications in one git work tree: `git init {folder}` makes one around both; or put \
                         the plan into a folder called `plans` beside them"
                    ),
                    None => "keep plans and applications in one git work tree".to_owned(),
                }),
            );
            return None;
        }
        if !self.files.exists(&manifest) {
            self.report.push(
                Problem::error(
                    "missing-file",
                    format!("the manifest `{}` does not exist", raw.manifest.value),
                )
                .at(&raw.manifest.span, "no such file")
                .help(format!("paths count from the plan's folder: {} is missing", manifest.display())),
            );
            return None;
        }
        if self.files.is_folder(&manifest) {
            self.report.push(
                Problem::error("missing-file", format!("the manifest `{}` is a folder", raw.manifest.value))
                    .at(&raw.manifest.span, "this is a folder")
                    .help("name the manifest in it: \"…/benchmark.toml\""),
            );
            return None;
        }
        let read = self.used.entry(manifest.clone()).or_insert_with(|| {
            let read = self.benchmarks.get(self.files, &manifest);
            self.others.extend(read.problems.iter().cloned());
            read
        });
        let mut benchmark = read.benchmark.clone().filter(|benchmark| !benchmark.targets.is_empty())?;
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
                "unknown-target",
                format!("the benchmark `{}` has no target `{}`", benchmark.name, target.value),
            )
            .at(&target.span, "not in its [targets]")
            .help(suggest(&target.value, "targets", names)),
            None if benchmark.targets.len() == 1 => return benchmark.targets.keys().next().cloned(),
            None => Problem::error(
                "unknown-target",
                format!("the benchmark `{}` has several targets", benchmark.name),
            )
            .at(&raw.manifest.span, "which one?")
            .help(format!("add `target = …` ({})", suggest("", "targets", names))),
        };
        self.report.push(problem);
        None
    }
}

/// US dollars for all deployments and trials of an application; nothing where its usage is not declared.
fn cost(plan: &Plan, entry: &Entry, prices: &Prices) -> f64 {
    let target = entry.benchmark.targets.get(&entry.target);
    let Some(Charge::Declared(usage)) = target.map(|target| target.charge(&entry.target)) else { return 0.0 };
    let (invocation, deployment) = (prices.of(&usage.per_invocation), prices.of(&usage.per_deployment));
    let (deployments, trials) = (f64::from(plan.repetitions), f64::from(plan.trials_per_deployment));
    let of_point = |point: &Point| {
        deployments * (deployment + trials * invocation * total(&point.load).unwrap_or(0) as f64)
    };
    entry.points.iter().map(of_point).sum()
}

/// Whether a value may be used although nothing seems to use it, since this problem is where it would be.
fn may_hide_use(problem: &Problem) -> bool {
    rule(problem.code).is_none_or(|rule| rule.depends != Depends::Nothing)
        || ["syntax", "unreadable-file", "invalid-value", "template-syntax"].contains(&problem.code)
}

/// The benchmark with locks taken by each of its steps.
fn with_locks(benchmark: &Benchmark, locks: &[String]) -> Benchmark {
    let mut benchmark = benchmark.clone();
    let lock = |step: &mut Arc<ManifestStep>| {
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

/// The folder that both lie in, as a shell takes it. None: it is that of the whole machine.
fn common(one: &Path, other: &Path) -> Option<String> {
    let both = one.components().zip(other.components());
    let folder: PathBuf = both.take_while(|(left, right)| left == right).map(|(left, _)| left).collect();
    let text = folder.to_str().filter(|_| folder.parent().is_some())?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte);
    Some(if text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    })
}

fn pause(given: Option<&Spanned<Period>>, report: &mut Report) -> Duration {
    given.map_or(Duration::ZERO, |period| check::duration(period, false, report))
}

/// From 1 to 10000, default 1.
fn small(given: Option<&Spanned<i64>>, what: &str, report: &mut Report) -> u32 {
    let number = given.map_or(1, |number| check::count(number, 1..=10_000, what, report));
    u32::try_from(number).unwrap_or(1)
}
