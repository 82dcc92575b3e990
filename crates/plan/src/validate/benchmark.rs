//! `benchmark.toml`: from the raw file to a checked [`Benchmark`].

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::benchmark::{
    Action, Benchmark, Environment, Image, ManifestStep, OnInterrupt, Param, ParamSource, Phase, Retry,
    SamTemplates, Sent, Target, Traces, Usage, is_image_reference,
};
use crate::manifest::benchmark::{
    BenchmarkFile, HeaderFile, ImageFile, ParamFile, ParamSourceFile, TargetFile, WorkloadOrPath,
};
use crate::manifest::decode::{Decode as _, Map};
use crate::manifest::problem::{Checked, Problem, Report, Span, suggest};
use crate::manifest::read::Files;
use crate::manifest::tree::Spanned;
use crate::manifest::values::OneOrMany;
use crate::manifest::workload::WorkloadFile;
use crate::validate::background;
use crate::validate::check::{self, ManifestFolder};
use crate::validate::contents;
use crate::validate::echo::without_echoes;
use crate::validate::kind::{self, FileKind};
use crate::validate::load::first_line;
use crate::validate::local;
use crate::validate::precedence::{self, PhaseOrder};
use crate::validate::requests;
use crate::validate::script::{Around, sent};
use crate::validate::shared::{Benchmarks, ReadBenchmark};
use crate::validate::stacks;
use crate::validate::step::{Draft, Steps};
use crate::validate::template::{Maker, Scope, TargetScope};
use crate::validate::traces;
use crate::validate::unused;
use crate::validate::usage;
use crate::validate::workload::place_of;

/// Reads and checks a benchmark with everything it refers to. A relative path counts from the working directory.
pub fn benchmark(files: &dyn Files, path: &Path) -> Checked<Arc<Benchmark>> {
    benchmark_with(files, path, &SamTemplates::default())
}

/// As [`benchmark`], where some SAM templates were parsed already.
pub fn benchmark_with(files: &dyn Files, path: &Path, known: &SamTemplates) -> Checked<Arc<Benchmark>> {
    Benchmarks::knowing(known).benchmark(files, path)
}

/// Reads and checks a manifest.
pub(super) fn read(files: &dyn Files, path: &Path, known: &Mutex<SamTemplates>) -> ReadBenchmark {
    let (node, mut report) = kind::expect(path, FileKind::Manifest, check::open(files, path));
    let decoded = node.and_then(|node| Some((BenchmarkFile::decode(&node, &mut report)?, node)));
    let Some((file, node)) = decoded else {
        return ReadBenchmark { benchmark: None, problems: report.problems, left_out: Vec::new() };
    };
    let decoded = report.problems.len();
    let path = path.to_owned();
    let mut checker = BenchmarkChecker { files, path, report, others: Vec::new(), known };
    let benchmark = checker.check(&file);
    without_echoes(&mut checker.report, decoded, &node, &[]);
    let mut problems = checker.report.problems;
    problems.extend(checker.others);
    without_repeats(&mut problems);
    ReadBenchmark { benchmark: Some(Arc::new(benchmark)), problems, left_out: checker.report.left_out }
}

/// A step of several targets is checked for each; what is wrong on all of them is said once.
pub(super) fn without_repeats(problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    problems.retain(|problem| {
        let source = problem.source.as_ref().map(|source| source.path.clone());
        let start = problem.labels.first().map(|(span, _)| span.start);
        seen.insert((source, start, problem.code, problem.message.clone()))
    });
}

/// How many steps of a circle a message names.
const MOST_IN_CIRCLE: usize = 10;
/// More are a mistake: every step may run on each of them.
const MOST_TARGETS: usize = 50;

struct BenchmarkChecker<'a> {
    files: &'a dyn Files,
    path: PathBuf,
    report: Report,
    /// Problems in other files.
    others: Vec<Problem>,
    /// SAM templates that were parsed for other benchmarks.
    known: &'a Mutex<SamTemplates>,
}

/// The steps of one phase.
pub(super) struct PhaseDrafts<'a> {
    pub phase: Phase,
    pub drafts: Vec<Draft<'a>>,
}

impl BenchmarkChecker<'_> {
    fn check(&mut self, file: &BenchmarkFile) -> Benchmark {
        let folder = self.path.parent().map(Path::to_owned).unwrap_or_default();
        let root = self.root(file, &folder);
        let place = ManifestFolder { folder, root };
        let file = &stacks::written_out(file, self.files, &place, &mut self.report);
        let header = &file.benchmark;
        check::name(&header.name.value, &header.name.span, "a benchmark", &mut self.report);
        let params = self.params(file.params.as_ref());
        let images = self.images(file.images.as_ref(), &place);
        let ceilings = self.ceilings(&file.targets);
        let templates = RefCell::new(SamTemplates::default());
        let steps = Steps {
            files: self.files,
            place: &place,
            images: &images,
            params: &params,
            ceilings: &ceilings,
            templates: &templates,
            known: self.known,
            applications: RefCell::default(),
        };

        let mut phases = Vec::new();
        for (phase, raw) in
            [(Phase::Deploy, &file.deploy), (Phase::Invoke, &file.invoke), (Phase::Cleanup, &file.cleanup)]
        {
            let raw = raw.iter().flatten();
            let drafts = raw.map(|step| steps.draft(phase, step, &mut self.report)).collect();
            phases.push(PhaseDrafts { phase, drafts });
        }

        let mut scope = Scope {
            params: params.iter().map(|(name, param)| (name.clone(), param.secret)).collect(),
            constants: constants(header, &params),
            ..Scope::default()
        };
        let mut targets = BTreeMap::new();
        for (name, raw) in file.targets.iter().take(MOST_TARGETS) {
            let mut target = Target {
                credentials: ceilings.get(&name.value).cloned().unwrap_or_default(),
                traces: raw
                    .value
                    .traces
                    .as_ref()
                    .map_or(Traces::None, |raw| traces::checked(raw, &mut self.report)),
                join_linked: raw.value.join_linked.as_ref().is_some_and(|join| join.value),
                usage: self.usage(&raw.value),
                deploy: Vec::new(),
                invoke: Vec::new(),
                cleanup: Vec::new(),
            };
            if let Some(join) = raw.value.join_linked.as_ref().filter(|_| target.join_linked)
                && !matches!(target.traces, Traces::Xray | Traces::Local)
            {
                let message = "`join_linked` is for the traces of X-Ray and of the local target";
                self.report.push(Problem::error("invalid-traces", message).at(&join.span, "here").help(
                    "remove it, or write `traces = \"xray\"`: links of OpenTelemetry are followed anyway",
                ));
            }
            let mut target_scope = TargetScope::default();
            for PhaseDrafts { phase, drafts } in &phases {
                let drafts: Vec<&Draft<'_>> =
                    drafts.iter().filter(|draft| draft.targets.contains(&name.value)).collect();
                let ordered = self.order(&name.value, *phase, &drafts, &mut target_scope);
                match phase {
                    Phase::Deploy => target.deploy = ordered,
                    Phase::Invoke => target.invoke = ordered,
                    Phase::Cleanup => target.cleanup = ordered,
                }
            }
            if target.invoke.is_empty() && file.workload.is_some() {
                target.invoke.push(Arc::new(built_in_step(Phase::Invoke, "load", Action::Load, Vec::new())));
                target_scope.loads.push("load".to_owned());
                target_scope.order.insert(Phase::Invoke, PhaseOrder::new(["load"], vec![vec![]]));
            }
            local::settle(&raw.value, &mut target, &mut self.report);
            local::expect_traces(&raw.value, &target, &mut self.report);
            background::add_stop(&mut target, &name.span, &mut self.report);
            if target.traces == Traces::Otlp(None) {
                traces::add_receiver(&mut target, &mut target_scope, &name.span, &mut self.report);
            }
            scope.targets.insert(name.value.clone(), target_scope);
            targets.insert(name.value.clone(), target);
        }

        for (name, raw) in file.targets.iter() {
            if let Some(source) = &raw.value.traces {
                traces::check_templates(source, &name.value, &scope, &mut self.report);
            }
        }
        for draft in phases.iter().flat_map(|phase| &phase.drafts) {
            steps.read_by_template(draft, &scope);
            let is_built = phases
                .iter()
                .flat_map(|phase| &phase.drafts)
                .any(|other| other.step.phase == Phase::Deploy && other.step.action.command().is_some());
            let in_containers = |target: &str| {
                let raw = file.targets.get(target).and_then(|raw| raw.value.containers.as_ref());
                raw.is_some_and(|containers| containers.value)
            };
            steps.check_runtimes(draft, &in_containers, &mut self.report);
            if !is_built {
                steps.check_code(draft, &mut self.report);
                steps.check_assets(draft, &mut self.report);
            }
            Steps::check_templates(draft, &scope, &mut self.report);
            if file.workload.is_none()
                && draft.step.phase == Phase::Invoke
                && let Some(load) = &draft.raw.value.load
            {
                self.report.push(
                    Problem::error("nothing-to-send", "there is no workload to send")
                        .at(&load.span, "drives the workload")
                        .help("add a [workload] with [[workload.requests]]"),
                );
            }
        }
        let workload = file.workload.as_ref().and_then(|raw| self.workload(raw, &place, &images, &scope));
        for target in targets.values() {
            steps.check_routes(file, target, workload.as_ref(), &mut self.report);
        }
        unused::check(file, &phases, &targets, workload.as_ref(), &mut self.report);
        unused::params(file, &targets, &scope.read_params.borrow(), &mut self.report);
        let sent = workload.as_ref().map(|sent| contents::named_by_sent(sent, &place.root, self.files));
        let sent = sent.unwrap_or_default();
        if let Some(raw) = &file.workload {
            let span = first_line(&raw.span, &self.report);
            check::no_special(self.files, &sent, &span, "the workload", &mut self.report);
        }
        let contents = contents::of(self.files, sent);
        Benchmark {
            path: self.path.clone(),
            name: header.name.value.clone(),
            description: header.description.clone().unwrap_or_default(),
            root: place.root,
            params,
            images,
            targets,
            read_params: scope.read_params.into_inner(),
            workload,
            contents,
            templates: templates.into_inner(),
        }
    }

    /// The root lies inside the git work tree, or else inside the manifest's folder, and holds the manifest.
    fn root(&mut self, file: &BenchmarkFile, folder: &Path) -> PathBuf {
        let Some(given) = &file.benchmark.root else {
            return folder.to_owned();
        };
        let work_tree = folder.ancestors().find(|ancestor| self.files.exists(&ancestor.join(".git")));
        let limit =
            ManifestFolder { folder: folder.to_owned(), root: work_tree.unwrap_or(folder).to_owned() };
        let before = self.report.problems.len();
        let root = limit.existing(self.files, given, true, "the root", &mut self.report);
        for problem in &mut self.report.problems[before..] {
            if problem.code == "outside-root" {
                problem.message = format!("the root `{}` lies outside of the git work tree", given.value);
                problem.help = Some(match work_tree {
                    Some(tree) => format!("choose a folder inside {}", tree.display()),
                    None => {
                        "there is no git work tree here: run `git init` above the benchmark, or remove `root`"
                            .to_owned()
                    }
                });
            }
        }
        if self.report.problems.len() == before && !folder.starts_with(&root) {
            self.report.push(
                Problem::error("outside-root", "the manifest does not lie inside its own root")
                    .at(&given.span, "does not contain this file")
                    .help("use \".\" or a parent folder such as \"..\""),
            );
        }
        root
    }

    fn params(&mut self, file: Option<&Map<Spanned<ParamFile>>>) -> BTreeMap<String, Param> {
        let mut params = BTreeMap::new();
        for (name, raw) in file.into_iter().flat_map(Map::iter) {
            check::name(&name.value, &name.span, "a parameter", &mut self.report);
            let param = match &raw.value {
                ParamFile::Value(value) => {
                    if matches!(&value.0, Value::String(text) if text.contains("{{")) {
                        self.report.push(
                            Problem::error("invalid-param", "a parameter holds a plain value")
                                .at(&raw.span, "placeholders are not filled in here")
                                .help("combine values where they are used: \"thumbs-{{params.deploy_id}}\""),
                        );
                        // Its value is what it is not meant to be: nothing that uses it is to be measured by that.
                        let unknown = ParamSource::Value(Value::String(String::new()));
                        params.insert(name.value.clone(), Param { source: unknown, secret: false });
                        continue;
                    }
                    Param { source: ParamSource::Value(value.0.clone()), secret: false }
                }
                ParamFile::Source(source) => self.param_source(source, &raw.span),
            };
            params.insert(name.value.clone(), param);
        }
        params
    }

    fn param_source(&mut self, file: &ParamSourceFile, span: &Span) -> Param {
        let source = match (&file.env, &file.random_hex) {
            (Some(variable), None) => ParamSource::Env {
                variable: variable.value.clone(),
                default: file.default.as_ref().map(|default| default.value.clone()),
            },
            (None, Some(digits)) => {
                if let Some(default) = &file.default {
                    self.report.push(
                        Problem::error("invalid-param", "a random value has no default")
                            .at(&default.span, "belongs to `env`")
                            .help("remove `default`"),
                    );
                }
                let digits = check::count(digits, 1..=64, "the number of digits", &mut self.report);
                ParamSource::RandomHex(usize::try_from(digits).unwrap_or(1))
            }
            _ => {
                self.report.push(
                    Problem::error("invalid-param", "the parameter does not say where its value comes from")
                        .at(span, "needs exactly one of `env` and `random_hex`")
                        .help("write `{ env = \"MY_KEY\" }` or `{ random_hex = 10 }`, or a plain value"),
                );
                ParamSource::RandomHex(1)
            }
        };
        Param { source, secret: file.secret.unwrap_or(false) }
    }

    fn images(
        &mut self,
        file: Option<&Map<Spanned<ImageFile>>>,
        place: &ManifestFolder,
    ) -> BTreeMap<String, Image> {
        let mut images = BTreeMap::new();
        for (name, raw) in file.into_iter().flat_map(Map::iter) {
            check::name(&name.value, &name.span, "an image", &mut self.report);
            let image = match &raw.value {
                ImageFile::Reference(reference) => {
                    if !is_image_reference(reference) {
                        self.report.push(
                            Problem::error(
                                "unknown-image",
                                format!("`{reference}` is not an image reference"),
                            )
                            .at(&raw.span, "cannot be pulled")
                            .help("write \"name:tag\", \"registry/name:tag\", or a table with `dockerfile`"),
                        );
                    }
                    Image::Reference(reference.clone())
                }
                ImageFile::Build(build) => {
                    let report = &mut self.report;
                    let dockerfile =
                        place.existing(self.files, &build.dockerfile, false, "the Dockerfile", report);
                    let context = build.context.as_ref().map_or(place.folder.clone(), |context| {
                        place.existing(self.files, context, true, "the build context", report)
                    });
                    let args = build.args.iter().flat_map(Map::iter);
                    let args = args.map(|(name, value)| (name.value.clone(), value.clone())).collect();
                    Image::Build { dockerfile, context, args }
                }
            };
            images.insert(name.value.clone(), image);
        }
        images
    }

    fn ceilings(&mut self, targets: &Map<Spanned<TargetFile>>) -> BTreeMap<String, Vec<String>> {
        if targets.0.is_empty() {
            self.report.push(
                Problem::error("no-target", "the benchmark has no target")
                    .help("add one: `[targets.local]` with `traces = \"local\"`"),
            );
        }
        if let Some((name, _)) = targets.0.get(MOST_TARGETS) {
            self.report.push(
                Problem::error("out-of-range", format!("the benchmark has {} targets", targets.0.len()))
                    .at(&name.span, format!("one more than {MOST_TARGETS}"))
                    .help("give what differs between deployments of one kind by parameters"),
            );
        }
        targets
            .iter()
            .take(MOST_TARGETS)
            .map(|(name, target)| {
                check::name(&name.value, &name.span, "a target", &mut self.report);
                let allowed = check::credentials(target.value.credentials.as_ref(), None, &mut self.report);
                if let [only] = target.value.credentials.as_deref().unwrap_or_default()
                    && only.value == "pulumi"
                {
                    self.report.push(
                        Problem::warning(
                            "invalid-credentials",
                            "`pulumi` credentials reach Pulumi's own service, and no cloud",
                        )
                        .at(&only.span, "alone")
                        .help("add those of the cloud that it deploys to: [\"pulumi\", \"aws\"]"),
                    );
                }
                (name.value.clone(), allowed)
            })
            .collect()
    }

    fn usage(&mut self, target: &TargetFile) -> Option<Usage> {
        let declared = target.usage.is_some() || target.usage_per_deployment.is_some();
        declared.then(|| Usage {
            per_invocation: usage::units(target.usage.as_ref(), &mut self.report),
            per_deployment: usage::units(target.usage_per_deployment.as_ref(), &mut self.report),
        })
    }

    fn workload(
        &mut self,
        raw: &Spanned<WorkloadOrPath>,
        place: &ManifestFolder,
        images: &BTreeMap<String, Image>,
        scope: &Scope,
    ) -> Option<Sent> {
        let targets: Vec<String> = scope.targets.keys().cloned().collect();
        let span = first_line(&raw.span, &self.report);
        let around = Around { files: self.files, place, images, scope, targets: &targets, span: &span };
        let path = match &raw.value {
            WorkloadOrPath::Inline(file) => {
                return sent(file, &around, &mut self.report);
            }
            WorkloadOrPath::Path(path) => Spanned { value: path.clone(), span: raw.span.clone() },
        };
        let before = self.report.problems.len();
        let absolute = place.existing(self.files, &path, false, "the workload", &mut self.report);
        if self.report.problems.len() > before {
            return None;
        }
        let opened = check::open(self.files, &absolute);
        let (node, mut report) = kind::expect(&absolute, FileKind::Workload, opened);
        let decoded = node.and_then(|node| Some((WorkloadFile::decode(&node, &mut report)?, node)));
        let place = place_of(&absolute, place);
        let mut workload = None;
        if let Some((file, node)) = decoded {
            let decoded = report.problems.len();
            workload = sent(&file, &Around { place: &place, span: &(0..0), ..around }, &mut report);
            without_echoes(&mut report, decoded, &node, &self.report.left_out);
        }
        self.others.extend(report.problems);
        workload
    }

    /// The steps of one phase on one target in an order that satisfies `needs`; files them in the scope.
    fn order(
        &mut self,
        target: &str,
        phase: Phase,
        drafts: &[&Draft<'_>],
        scope: &mut TargetScope,
    ) -> Vec<Arc<ManifestStep>> {
        let mut index_of: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, draft) in drafts.iter().enumerate() {
            let name = draft.step.name.as_str();
            if let Some(earlier) = index_of.get(name) {
                scope.is_ambiguous = true;
                self.report.push(
                    Problem::error(
                        "duplicate-name",
                        format!(
                            "two {} steps are called `{name}` on the target `{target}`",
                            phase_name(phase)
                        ),
                    )
                    .at(&draft.raw.value.name.span, "again")
                    .at(&drafts[*earlier].raw.value.name.span, "first")
                    .help("rename one of them, or limit them to different targets with `target`"),
                );
            } else {
                index_of.insert(name, index);
            }
        }
        let needs: Vec<Vec<usize>> = drafts
            .iter()
            .enumerate()
            .map(|(index, draft)| match &draft.raw.value.needs {
                None => index.checked_sub(1).into_iter().collect(),
                Some(needs) => self.needs(target, draft, needs, &index_of),
            })
            .collect();

        let done = precedence::order(&needs);
        if done.len() < drafts.len() {
            self.cycle(drafts, &needs, &done);
        }
        let names = drafts.iter().map(|draft| draft.step.name.as_str());
        scope.order.insert(phase, PhaseOrder::new(names, needs.clone()));
        for draft in drafts {
            if matches!(draft.step.action, Action::Load) {
                scope.loads.push(draft.step.name.clone());
            }
            self.file_outputs(target, draft, scope);
        }
        done.iter()
            .map(|index| {
                let mut step = drafts[*index].step.clone();
                step.needs = needs[*index].iter().map(|need| drafts[*need].step.name.clone()).collect();
                Arc::new(step)
            })
            .collect()
    }

    fn needs(
        &mut self,
        target: &str,
        draft: &Draft<'_>,
        needs: &OneOrMany<Spanned<String>>,
        index_of: &BTreeMap<&str, usize>,
    ) -> Vec<usize> {
        let mut found = Vec::new();
        let mut known = HashSet::new();
        for need in &needs.0 {
            match index_of.get(need.value.as_str()) {
                Some(index) if known.insert(*index) => found.push(*index),
                Some(_) => {}
                None => {
                    let phase = phase_name(draft.step.phase);
                    self.report.push(
                        Problem::error(
                            "unknown-step",
                            format!(
                                "the step `{}` needs `{}`, but no {phase} step of that name runs on the target `{target}`",
                                draft.step.name, need.value
                            ),
                        )
                        .at(&need.span, "not found")
                        .help(if index_of.keys().any(|name| *name != draft.step.name) {
                            suggest(
                                &need.value,
                                &format!("{phase} steps on `{target}`"),
                                index_of.keys().copied().filter(|name| *name != draft.step.name),
                            )
                        } else {
                            format!(
                                "there is no other {phase} step on `{target}`: remove the name from `needs`, or add the step"
                            )
                        }),
                    );
                }
            }
        }
        found
    }

    /// Follows needs that are not met until a step comes up again.
    fn cycle(&mut self, drafts: &[&Draft<'_>], needs: &[Vec<usize>], done: &[usize]) {
        let done: HashSet<usize> = done.iter().copied().collect();
        let Some(start) = (0..drafts.len()).find(|step| !done.contains(step)) else { return };
        let mut walk = vec![start];
        let mut place = HashMap::from([(start, 0)]);
        let cycle = loop {
            let last = walk[walk.len() - 1];
            // A step that is not done has a need that is not done.
            let Some(next) = needs[last].iter().copied().find(|need| !done.contains(need)) else { return };
            walk.push(next);
            if let Some(at) = place.insert(next, walk.len() - 1) {
                break walk.split_off(at);
            }
        };
        let name = |step: &usize| format!("`{}`", drafts[*step].step.name);
        let mut names: Vec<String> = cycle.iter().take(MOST_IN_CIRCLE).map(name).collect();
        if cycle.len() > MOST_IN_CIRCLE {
            names.push("…".to_owned());
            names.extend(cycle.last().map(name));
        }
        let first = &drafts[cycle[0]].raw.value;
        let span = first
            .needs
            .as_ref()
            .and_then(|needs| needs.0.first())
            .map_or(&first.name.span, |need| &need.span);
        self.report.push(
            Problem::error("needs-cycle", format!("steps need each other: {}", names.join(" needs ")))
                .at(span, "part of the circle")
                .help("remove one of these `needs`; a step without `needs` waits for the one before it, `needs = []` for none"),
        );
    }

    fn file_outputs(&mut self, target: &str, draft: &Draft<'_>, scope: &mut TargetScope) {
        for name in &draft.output_names {
            let output = draft.step.outputs.get(name);
            let maker = Maker {
                phase: draft.step.phase,
                step: draft.step.name.clone(),
                secret: output.is_some_and(|output| output.secret),
                has_default: output.is_some_and(|output| output.default.is_some()),
                may_fail: draft.step.allow_failure,
            };
            let Some(earlier) = scope.outputs.get(name) else {
                scope.outputs.insert(name.clone(), maker);
                continue;
            };
            let raw = &draft.raw.value;
            let span = raw
                .outputs
                .iter()
                .flat_map(Map::iter)
                .find(|(key, _)| key.value == *name)
                .map_or(&raw.name.span, |(key, _)| &key.span);
            self.report.push(
                Problem::error(
                    "duplicate-name",
                    format!(
                        "the output `{name}` is made by both `{}` and `{}` on the target `{target}`",
                        earlier.step, maker.step
                    ),
                )
                .at(span, "again")
                .help(if draft.step.outputs.contains_key(name) {
                    format!("give the output another name in `{}`", draft.step.name)
                } else {
                    // Outputs that a template has.
                    format!(
                        "limit `{}` or `{}` to another target with `target`, or use one template",
                        earlier.step, draft.step.name
                    )
                }),
            );
        }
    }
}

fn constants(header: &HeaderFile, params: &BTreeMap<String, Param>) -> BTreeMap<String, Value> {
    let of_params = params
        .iter()
        .filter_map(|(name, param)| Some((format!("params.{name}"), requests::constant(param)?)));
    let name = ("benchmark.name".to_owned(), Value::from(header.name.value.as_str()));
    of_params.chain([name]).collect()
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Deploy => "deploy",
        Phase::Invoke => "invoke",
        Phase::Cleanup => "cleanup",
    }
}

/// A step that no manifest spells out.
pub(super) fn built_in_step(phase: Phase, name: &str, action: Action, needs: Vec<String>) -> ManifestStep {
    ManifestStep {
        phase,
        name: name.to_owned(),
        needs,
        action,
        contents: BTreeMap::new(),
        environment: Environment { shell: vec!["sh".to_owned(), "-c".to_owned()], ..Environment::default() },
        timeout: None,
        retry: Retry::once(),
        allow_failure: false,
        recover: Vec::new(),
        outputs: BTreeMap::new(),
        on_interrupt: OnInterrupt::Rerun,
        locks: Vec::new(),
    }
}
