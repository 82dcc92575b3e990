//! What a plan will take before it is run: time, invocations, money. Pure.
//!
//! The duration is that of a simulated run, with the graph's own edges and ranks and the scheduler's own choice
//! ([`Slots`]). The duration of a step is known (pauses, loads of a planned length), measured (the median of earlier
//! runs) or assumed ([`Assumptions`]). Nothing fails and nothing is tried again in it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use petgraph::Direction;
use petgraph::graph::NodeIndex;
use serde::Serialize;

use super::quiet::{Class, class};
use super::ready::{ClaimAnswer, ReadySteps, Slots, locks};
use sb_plan::benchmark::{Action, Charge, Traces};
use sb_plan::graph::{RunGraph, Step, StepKind};
use sb_plan::plan::{Plan, Prices};
use sb_workload::schedule::{expected_total, planned};
use sb_workload::{Load, LoadShape};

/// The prediction for a plan.
#[derive(Clone, Debug)]
pub(crate) struct Estimate {
    pub deployments: usize,
    pub trials: usize,
    pub steps: usize,
    /// Requests that loads plan to send; what `run` steps send is not known.
    pub invocations: u64,
    /// How that is known: users in a closed loop send as many as answers of an assumed duration let them.
    pub invocations_basis: Basis,
    /// From the start of the run to its end.
    pub makespan: Duration,
    /// No order of the steps can be faster than any of these; the longest first.
    pub bounds: Vec<Bound>,
    /// All steps one after another.
    pub sequential: Duration,
    /// Steps by what they do and how their durations are known.
    pub kinds: Vec<Kind>,
    pub costs: Vec<TargetCost>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// For people: `the loads, 1 at a time`.
    pub what: String,
    pub duration: Duration,
}

/// Steps that do the same, with durations from the same kind of source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub what: String,
    pub basis: Basis,
    pub count: u64,
    pub total: Duration,
}

/// Why a step's duration is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Basis {
    /// The plan says so.
    Known,
    /// The median of earlier runs.
    Measured,
    /// A guess by kind of step.
    Assumed,
}

/// What one target costs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TargetCost {
    pub target: String,
    /// US dollars; none: not declared, hence not known.
    pub usd: Option<f64>,
    /// Nothing of a cloud is used.
    pub free: bool,
    /// Units of the price table and their cost in US dollars, by name.
    pub items: BTreeMap<String, (f64, f64)>,
}

/// Durations of steps that are neither planned nor measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assumptions {
    /// A command that deploys; none: 90 s where it deploys to a cloud, else as any command.
    deploy: Option<Duration>,
    /// A command that cleans up; none: 60 s in a cloud, else as any command.
    cleanup: Option<Duration>,
    command: Duration,
    /// Starting or stopping the local target.
    local: Duration,
    /// None: 5 s for a cloud, else 300 ms.
    wait_for: Option<Duration>,
    /// Fetching the traces of a trial; none: 10 s from a cloud, else 100 ms.
    get_traces: Option<Duration>,
    analyze_traces: Duration,
    /// One invocation of a load that sends one after another.
    invocation: Duration,
    /// From the start of a load step to the first request, and from the last to its end.
    load_margin: Duration,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum AssumptionError {
    #[error("`{0}` is no assumption: write NAME=DURATION, such as deploy=90s")]
    Form(String),
    #[error("there is no assumption called `{0}`: there are {names}", names = NAMES.join(", "))]
    Name(String),
    #[error("`{0}` is not a duration of at most a year: write a number with a unit, such as 90s")]
    Duration(String),
}

const NAMES: [&str; 9] = [
    "deploy",
    "cleanup",
    "command",
    "local",
    "wait_for",
    "get_traces",
    "analyze_traces",
    "invocation",
    "load_margin",
];

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            deploy: None,
            cleanup: None,
            command: Duration::from_secs(1),
            local: Duration::from_millis(300),
            wait_for: None,
            get_traces: None,
            analyze_traces: Duration::from_millis(100),
            invocation: Duration::from_secs(1),
            load_margin: Duration::from_millis(50),
        }
    }
}

impl Assumptions {
    /// Takes one as it is typed: `deploy=90s`.
    pub(crate) fn set(&mut self, text: &str) -> Result<(), AssumptionError> {
        let (name, value) = text.split_once('=').ok_or_else(|| AssumptionError::Form(text.to_owned()))?;
        let duration = humantime::parse_duration(value.trim())
            .ok()
            .filter(|duration| *duration <= Duration::from_hours(365 * 24))
            .ok_or_else(|| AssumptionError::Duration(value.to_owned()))?;
        match name.trim() {
            "deploy" => self.deploy = Some(duration),
            "cleanup" => self.cleanup = Some(duration),
            "command" => self.command = duration,
            "local" => self.local = duration,
            "wait_for" => self.wait_for = Some(duration),
            "get_traces" => self.get_traces = Some(duration),
            "analyze_traces" => self.analyze_traces = duration,
            "invocation" => self.invocation = duration,
            "load_margin" => self.load_margin = duration,
            other => return Err(AssumptionError::Name(other.to_owned())),
        }
        Ok(())
    }

    fn of(&self, step: &Step, target: &sb_plan::benchmark::Target, in_cloud: bool) -> Duration {
        let cloud_or =
            |cloud: u64, other: Duration| if in_cloud { Duration::from_secs(cloud) } else { other };
        match &step.kind {
            StepKind::Pause { duration, .. } => *duration,
            StepKind::GetTraces => self.get_traces.unwrap_or(match target.traces {
                Traces::AppInsights(_) | Traces::Google(_) => Duration::from_mins(3),
                Traces::Xray | Traces::TransactionSearch => Duration::from_secs(10),
                Traces::Local | Traces::Otlp(_) | Traces::None => Duration::from_millis(100),
            }),
            StepKind::AnalyzeTraces => self.analyze_traces,
            StepKind::Decide => Duration::from_millis(100),
            StepKind::Manifest(manifest) => match &manifest.action {
                Action::Run(_) | Action::Background(_) | Action::Tool(_) if step.is_deploy() => {
                    self.deploy.unwrap_or(cloud_or(90, self.command))
                }
                Action::Run(_) | Action::Tool(_) if step.is_cleanup() => {
                    self.cleanup.unwrap_or(cloud_or(60, self.command))
                }
                Action::Run(_)
                | Action::Tool(_)
                | Action::Background(_)
                | Action::Load
                | Action::StopBackground => self.command,
                Action::Wait(duration) => *duration,
                Action::WaitFor(_) => self.wait_for.unwrap_or(cloud_or(5, Duration::from_millis(300))),
                Action::StackUp(_) => self.deploy.unwrap_or(Duration::from_secs(90)),
                Action::StackDown => self.cleanup.unwrap_or(Duration::from_mins(1)),
                Action::LocalUp(_) | Action::LocalDown { .. } | Action::OtlpUp | Action::OtlpDown => {
                    self.local
                }
            },
        }
    }
}

/// How long steps took in earlier runs, by benchmark, target and step.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    taken: HashMap<(String, String), HashMap<String, Vec<u64>>>,
}

impl History {
    /// Adds a step that succeeded. `step` is its id without the deployment's key and the trial: `deploy/stack`.
    pub(crate) fn add(&mut self, benchmark: &str, target: &str, step: &str, milliseconds: u64) {
        let of = self.taken.entry((benchmark.to_owned(), target.to_owned())).or_default();
        of.entry(without_trial(step).to_owned()).or_default().push(milliseconds);
    }

    /// The lower median, milliseconds.
    fn median(&self, benchmark: &str, target: &str, step: &Step) -> Option<u64> {
        if self.taken.is_empty() {
            return None;
        }
        let of = self.taken.get(&(benchmark.to_owned(), target.to_owned()))?;
        let name = match &step.kind {
            StepKind::Manifest(manifest) => match manifest.phase {
                sb_plan::benchmark::Phase::Deploy => &format!("deploy/{}", manifest.name),
                sb_plan::benchmark::Phase::Invoke => &format!("invoke/{}", manifest.name),
                sb_plan::benchmark::Phase::Cleanup => &format!("cleanup/{}", manifest.name),
            },
            StepKind::GetTraces => "get-traces",
            StepKind::AnalyzeTraces => "analyze-traces",
            StepKind::Decide => "decide",
            StepKind::Pause { .. } => return None,
        };
        let mut taken = of.get(name)?.clone();
        let middle = taken.len().checked_sub(1)? / 2;
        Some(*taken.select_nth_unstable(middle).1)
    }
}

/// `t12/invoke/load` is `invoke/load`.
fn without_trial(step: &str) -> &str {
    match step.split_once('/') {
        Some((trial, rest))
            if trial.strip_prefix('t').is_some_and(|number| number.parse::<u32>().is_ok()) =>
        {
            rest
        }
        _ => step,
    }
}

pub(crate) fn estimate(
    plan: &Plan,
    run: &RunGraph,
    assumptions: &Assumptions,
    history: &History,
    prices: &Prices,
) -> Estimate {
    let mut durations = Durations::new(plan, assumptions, history);
    let mut invocations = vec![0; plan.entries.len()];
    let mut kinds: BTreeMap<(&'static str, &'static str, Basis), (u64, u64)> = BTreeMap::new();
    let mut taken = Vec::with_capacity(run.graph.node_count());
    for step in run.graph.node_weights() {
        let deployment = &run.deployments[step.deployment];
        let (milliseconds, basis, sent) = durations.of(step, deployment.entry, deployment.point);
        invocations[deployment.entry] += sent;
        let phase = if step.is_deploy() {
            "deploy"
        } else if step.is_cleanup() {
            "cleanup"
        } else {
            ""
        };
        let kind = kinds.entry((phase, step.action_name(), basis)).or_default();
        *kind = (kind.0 + 1, kind.1 + milliseconds);
        taken.push(milliseconds);
    }
    let kinds = kinds.into_iter().map(|((phase, action, basis), (count, total))| Kind {
        what: if phase.is_empty() { action.to_owned() } else { format!("{phase}: {action}") },
        basis,
        count,
        total: Duration::from_millis(total),
    });
    let points = plan.entries.iter().flat_map(|entry| &entry.points);
    let is_planned = |load: &Load| !matches!(load.shape, LoadShape::Users { .. } | LoadShape::K6(_));
    let all_planned = points.into_iter().all(|point| is_planned(&point.load));
    let mut bounds = bounds(plan, run, &taken);
    bounds.sort_by_key(|bound| Reverse(bound.duration));
    Estimate {
        deployments: run.deployments.len(),
        trials: run.deployments.iter().map(|deployment| deployment.trials.len()).sum(),
        steps: run.graph.node_count(),
        invocations: invocations.iter().sum(),
        invocations_basis: if all_planned { Basis::Known } else { Basis::Assumed },
        makespan: Duration::from_millis(simulate(plan, run, &taken)),
        bounds,
        sequential: Duration::from_millis(taken.iter().sum()),
        kinds: kinds.collect(),
        costs: costs(plan, run, &invocations, prices),
    }
}

impl Estimate {
    /// Shorter than this no run of the plan can be, however it is ordered.
    pub(crate) fn lower_bound(&self) -> Duration {
        self.bounds.first().map_or(Duration::ZERO, |bound| bound.duration)
    }

    /// US dollars; none when a cloud's cost is not known.
    pub(crate) fn usd(&self) -> Option<f64> {
        self.costs.iter().map(|cost| cost.usd).sum()
    }
}

/// The cost in US dollars of a trial's load of an entry at a point, and of a deployment of it: nothing where it
/// is not known.
pub(super) fn unit_costs(plan: &Plan, entry: usize, point: usize, prices: &Prices) -> (f64, f64) {
    let entry = &plan.entries[entry];
    match entry.benchmark.targets.get(&entry.target).map(|target| target.charge(&entry.target)) {
        Some(Charge::Declared(usage)) => {
            let load = &entry.points[point].load;
            let invocations = expected_total(load, load.expected_latency()).unwrap_or(0.0);
            (prices.of(&usage.per_invocation) * invocations, prices.of(&usage.per_deployment))
        }
        _ => (0.0, 0.0),
    }
}

pub(super) struct Durations<'a> {
    plan: &'a Plan,
    assumptions: &'a Assumptions,
    history: &'a History,
    /// By entry and step (the address of the manifest's step, or which of the plan's own).
    steps: HashMap<(usize, usize), (u64, Basis)>,
    /// By entry and point: milliseconds, their basis, and requests.
    loads: HashMap<(usize, usize), (u64, Basis, u64)>,
}

impl<'a> Durations<'a> {
    pub(super) fn new(plan: &'a Plan, assumptions: &'a Assumptions, history: &'a History) -> Self {
        Self { plan, assumptions, history, steps: HashMap::new(), loads: HashMap::new() }
    }

    /// Milliseconds, why, and requests sent.
    pub(super) fn of(&mut self, step: &Step, entry_index: usize, point: usize) -> (u64, Basis, u64) {
        if let Some(pause) = step.pause() {
            return (millis(pause), Basis::Known, 0);
        }
        let entry = &self.plan.entries[entry_index];
        let identity = match &step.kind {
            StepKind::Manifest(manifest) if matches!(manifest.action, Action::Load) => {
                let assumptions = self.assumptions;
                return *self.loads.entry((entry_index, point)).or_insert_with(|| {
                    let load = &entry.points[point].load;
                    let planned = planned(load);
                    let latency = load.expected_latency.unwrap_or(assumptions.invocation);
                    let requests = expected_total(load, latency).unwrap_or(0.0).round() as u64;
                    let margin = millis(assumptions.load_margin);
                    match planned.length() {
                        Some(length) => (millis(length).saturating_add(margin), Basis::Known, requests),
                        None => {
                            let one = millis(assumptions.invocation);
                            let all = one.saturating_mul(requests).saturating_add(margin);
                            (all, Basis::Assumed, requests)
                        }
                    }
                });
            }
            StepKind::Manifest(manifest) => Arc::as_ptr(manifest).addr(),
            StepKind::Pause { .. } => 0,
            StepKind::GetTraces => 1,
            StepKind::AnalyzeTraces => 2,
            StepKind::Decide => 3,
        };
        let (assumptions, history) = (self.assumptions, self.history);
        let (milliseconds, basis) = *self.steps.entry((entry_index, identity)).or_insert_with(|| {
            if let Some(measured) = history.median(&entry.benchmark.name, &entry.target, step) {
                return (measured, Basis::Measured);
            }
            let assumed = entry.benchmark.targets.get(&entry.target).map_or(assumptions.command, |target| {
                assumptions.of(step, target, target.charge(&entry.target) != Charge::Free)
            });
            (millis(assumed), Basis::Assumed)
        });
        (milliseconds, basis, 0)
    }
}

/// Runs the graph on a clock of its own; milliseconds until the last step has ended.
pub(super) fn simulate(plan: &Plan, run: &RunGraph, taken: &[u64]) -> u64 {
    let graph = &run.graph;
    let mut slots = Slots::new(plan);
    let mut pending: Vec<u32> = graph
        .node_indices()
        .map(|index| graph.edges_directed(index, Direction::Incoming).count() as u32)
        .collect();
    let mut ready = ReadySteps::default();
    for index in graph.node_indices().filter(|index| pending[index.index()] == 0) {
        ready.insert(&graph[index], index);
    }
    let mut running: BinaryHeap<Reverse<(u64, NodeIndex)>> = BinaryHeap::new();
    let mut now = 0;
    loop {
        for index in slots.choose(&mut ready, graph, &mut |_, _| ClaimAnswer::Taken) {
            running.push(Reverse((now + taken[index.index()], index)));
        }
        let Some(&Reverse((next, _))) = running.peek() else { return now };
        now = next;
        while let Some(&Reverse((at, index))) = running.peek()
            && at == now
        {
            running.pop();
            slots.release(&graph[index]);
            for after in graph.neighbors_directed(index, Direction::Outgoing) {
                pending[after.index()] -= 1;
                if pending[after.index()] == 0 {
                    ready.insert(&graph[after], after);
                }
            }
        }
    }
}

/// What no order can undercut.
fn bounds(plan: &Plan, run: &RunGraph, taken: &[u64]) -> Vec<Bound> {
    let graph = &run.graph;
    let count = graph.node_count();
    // Longest chains that end with each step: of everything, of work alone, of deploy steps of one deployment alone.
    let (mut all, mut work, mut deploy) = (vec![0_u64; count], vec![0_u64; count], vec![0_u64; count]);
    let mut deploying = vec![0_u64; run.deployments.len()];
    let (mut longest, mut longest_work, mut loads) = (0, 0, 0);
    let mut held: BTreeMap<&str, u64> = BTreeMap::new();
    // Steps are built after what they wait for, so their order is a topological one.
    for index in graph.node_indices() {
        let (step, own, at) = (&graph[index], taken[index.index()], index.index());
        let kind = class(step);
        let deploys = step.is_deploy() && step.pause().is_none();
        for before in graph.neighbors_directed(index, Direction::Incoming) {
            all[at] = all[at].max(all[before.index()]);
            work[at] = work[at].max(work[before.index()]);
            if graph[before].deployment == step.deployment {
                deploy[at] = deploy[at].max(deploy[before.index()]);
            }
        }
        all[at] += own;
        work[at] += if kind == Class::Work { own } else { 0 };
        deploy[at] += if deploys { own } else { 0 };
        longest = longest.max(all[at]);
        longest_work = longest_work.max(work[at]);
        deploying[step.deployment] = deploying[step.deployment].max(deploy[at]);
        loads += if kind == Class::Invoke { own } else { 0 };
        for lock in locks(step) {
            *held.entry(lock).or_default() += own;
        }
    }
    let bound =
        |what: String, milliseconds: u64| Bound { what, duration: Duration::from_millis(milliseconds) };
    let (at_once, made) = (plan.concurrency.invoke.max(1), plan.concurrency.deploy.max(1));
    let mut bounds = vec![
        bound("the longest chain of steps".to_owned(), longest),
        bound(format!("invoking, {at_once} at a time"), loads / u64::from(at_once)),
        bound(format!("deploying, {made} at a time"), deploying.iter().sum::<u64>() / u64::from(made)),
    ];
    if plan.concurrency.quiet {
        let what = "invoking, and beside it the longest chain of other work (quiet)";
        bounds.push(bound(what.to_owned(), loads / u64::from(at_once) + longest_work));
    }
    for (lock, total) in held {
        let size = plan.locks.get(lock).copied().unwrap_or(1).max(1);
        bounds.push(bound(format!("the lock `{lock}`, {size} at a time"), total / u64::from(size)));
    }
    bounds
}

/// By target: its name says whose bill it is.
fn costs(plan: &Plan, run: &RunGraph, invocations: &[u64], prices: &Prices) -> Vec<TargetCost> {
    let mut deployments = vec![0_u64; plan.entries.len()];
    for deployment in &run.deployments {
        deployments[deployment.entry] += 1;
    }
    let mut costs: BTreeMap<&str, TargetCost> = BTreeMap::new();
    for (index, entry) in plan.entries.iter().enumerate() {
        let Some(target) = entry.benchmark.targets.get(&entry.target) else { continue };
        let cost = costs.entry(&entry.target).or_insert_with(|| TargetCost {
            target: entry.target.clone(),
            usd: Some(0.0),
            free: true,
            items: BTreeMap::new(),
        });
        let usage = match target.charge(&entry.target) {
            Charge::Free => continue,
            Charge::Unknown => {
                (cost.usd, cost.free) = (None, false);
                continue;
            }
            Charge::Declared(usage) => usage,
        };
        cost.free = false;
        for (units, times) in
            [(&usage.per_invocation, invocations[index]), (&usage.per_deployment, deployments[index])]
        {
            for (name, count) in units {
                let count = count * times as f64;
                let usd = prices.get(name).map_or(0.0, |price| price.of(count));
                let item = cost.items.entry(name.clone()).or_default();
                *item = (item.0 + count, item.1 + usd);
                cost.usd = cost.usd.map(|sum| sum + usd);
            }
        }
    }
    costs.into_values().collect()
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "estimate_tests.rs"]
mod tests;
