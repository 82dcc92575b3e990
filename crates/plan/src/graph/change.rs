//! What becomes of a run when its files change. Some results still hold, some steps run again, and some deployments
//! are first cleaned up by their old definition. Pure: the same files and journal give the same answer.
//!
//! Three rules. A result holds while the definition of its step is the same, and with it those of all steps that it
//! builds on. A deployment whose parameters change, or which is gone from the plan, is cleaned up as it was defined
//! before. A deployment that is gone is deployed again when a trial of it is still to run. Such a trial runs from its
//! beginning: what was measured on two deployments is never mixed.

use std::collections::{BTreeSet, HashMap, HashSet};

use petgraph::Direction;
use petgraph::graph::NodeIndex;
use petgraph::visit::EdgeRef as _;

use super::{RunGraph, Step, StepKind, Wait};
use crate::benchmark::{Action, ManifestStep, OnInterrupt, Retry};
use crate::event::{Failure, Outcome};
use crate::id::StepId;
use crate::plan::{Deployment, Entry, Plan};
use crate::run_state::{RunState, StepPhase, StepState};

/// A run as its files define it.
#[derive(Clone, Copy)]
pub struct Definition<'a> {
    /// The checked plan.
    pub plan: &'a Plan,
    /// The graph that was built from it.
    pub graph: &'a RunGraph,
}

/// What there is of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Never opened, or cleaned up.
    Gone,
    /// Opened, but nothing was deployed.
    Open,
    /// Its cleanup is owed.
    Owed,
}

/// What the changed files mean for a run that has begun.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// Steps whose definition is another one; in the order of the graph.
    pub changed: Vec<StepId>,
    /// Steps that only the changed files have.
    pub new: Vec<StepId>,
    /// Steps that only the earlier files had.
    pub gone: Vec<StepId>,
    /// Keys of the plan that changed without changing a step.
    pub settings: Vec<&'static str>,
    /// Steps that count as not yet run, though they have begun or ended.
    pub again: Vec<StepId>,
    /// Deployments (of the old graph) that are to be cleaned up as they were defined before.
    pub retired: BTreeSet<usize>,
    /// Steps (of the old graph) that run, and must not any more.
    pub stopped: Vec<StepId>,
    /// Keys of deployments that are opened anew.
    pub reopened: Vec<String>,
}

impl Change {
    /// Nothing is to be ended before the run can go on.
    pub fn is_ready(&self) -> bool {
        self.retired.is_empty() && self.stopped.is_empty()
    }
}

/// What still holds of a run when its files have changed.
///
/// `redeploys` says whether the run deploys at all, and `standing` what there is of a deployment of the changed files.
pub fn compare(
    old: Definition<'_>,
    new: Definition<'_>,
    state: &RunState,
    redeploys: bool,
    standing: &dyn Fn(&Deployment) -> Standing,
) -> Change {
    let mut change = Change { settings: settings(old.plan, new.plan), ..Change::default() };
    let olds: HashMap<&str, usize> =
        old.graph.deployments.iter().enumerate().map(|(index, old)| (old.key.as_str(), index)).collect();
    let mut kept = HashSet::new();
    let mut nodes = vec![Vec::new(); new.graph.deployments.len()];
    for index in new.graph.graph.node_indices() {
        nodes[new.graph.graph[index].deployment].push(index);
    }
    for (index, deployment) in new.graph.deployments.iter().enumerate() {
        let before = olds.get(deployment.key.as_str()).copied();
        kept.extend(before);
        let compared = Compared { old, new, state, redeploys, before, nodes: &nodes[index] };
        compared.add_to(&mut change, deployment, standing(deployment));
    }
    for (index, deployment) in old.graph.deployments.iter().enumerate() {
        if !kept.contains(&index) && standing(deployment) == Standing::Owed {
            change.retired.insert(index);
        }
    }
    for step in old.graph.graph.node_weights() {
        if new.graph.find(&step.id).is_none() {
            change.gone.push(step.id.clone());
        }
    }
    // What runs in a deployment that is cleaned up is stopped with it; anything else that must not go on by itself.
    let again: HashSet<&StepId> = change.again.iter().collect();
    for step in old.graph.graph.node_weights() {
        let runs = state.step(&step.id).is_some_and(|past| past.phase == StepPhase::Running);
        if runs && (again.contains(&step.id) || new.graph.find(&step.id).is_none()) {
            change.stopped.push(step.id.clone());
        }
    }
    change
}

/// A deployment of the new graph.
struct Compared<'a> {
    old: Definition<'a>,
    new: Definition<'a>,
    state: &'a RunState,
    redeploys: bool,
    /// The same deployment in the old graph.
    before: Option<usize>,
    nodes: &'a [NodeIndex],
}

impl Compared<'_> {
    fn add_to(&self, change: &mut Change, deployment: &Deployment, standing: Standing) {
        let replaced = self.redeploys
            && self.before.is_some_and(|before| {
                let before = &self.old.graph.deployments[before];
                !same_parameters(self.old.plan, before, self.new.plan, deployment)
            });
        let mut again: HashSet<NodeIndex> = HashSet::new();
        let mut open = false;
        let (mut changed, mut cleanup_begun) = (HashSet::new(), false);
        for &index in self.nodes {
            let step = &self.new.graph.graph[index];
            let past = self.past(index);
            let Some(before) = self.old.graph.find(&step.id) else {
                change.new.push(step.id.clone());
                if !step.is_cleanup() {
                    again.insert(index);
                }
                continue;
            };
            let before = &self.old.graph.graph[before];
            if replaced || !self.same(before, step, past) {
                change.changed.push(step.id.clone());
                changed.insert(index);
            }
            if step.is_cleanup() {
                cleanup_begun |= past.is_some_and(|past| past.phase != StepPhase::Waiting);
                continue;
            }
            match past.map_or(&StepPhase::Waiting, |past| &past.phase) {
                _ if changed.contains(&index) => {
                    again.insert(index);
                }
                StepPhase::Ended(Outcome::Cancelled | Outcome::Interrupted) => {
                    again.insert(index);
                }
                StepPhase::Waiting | StepPhase::Running | StepPhase::Retrying(_) => open = true,
                StepPhase::Ended(_) => {}
            }
        }
        self.spread(&mut again);
        let active = open || !again.is_empty();
        let ruined = active && cleanup_begun && standing == Standing::Owed;
        if (replaced || ruined) && standing == Standing::Owed {
            change.retired.extend(self.before);
        }
        if replaced {
            again = self.nodes.iter().copied().collect();
        } else if active && (ruined || standing == Standing::Gone) && self.redeploys {
            self.deploy_again(&mut again);
        } else if standing == Standing::Owed {
            again.extend(changed);
        }
        let again: Vec<_> = self.nodes.iter().filter(|index| again.contains(index)).copied().collect();
        let again: Vec<_> = again
            .into_iter()
            .filter(|&index| self.past(index).is_some_and(|past| past.phase != StepPhase::Waiting))
            .map(|index| self.new.graph.graph[index].id.clone())
            .collect();
        if replaced || (active && standing == Standing::Gone && !again.is_empty() && self.redeploys) {
            change.reopened.push(deployment.key.clone());
        }
        change.again.extend(again);
    }

    fn past(&self, index: NodeIndex) -> Option<&StepState> {
        self.state.step(&self.new.graph.graph[index].id)
    }

    /// What needs a step that runs again runs again.
    fn spread(&self, again: &mut HashSet<NodeIndex>) {
        let mut queue: Vec<_> = again.iter().copied().collect();
        while let Some(index) = queue.pop() {
            for edge in self.new.graph.graph.edges_directed(index, Direction::Outgoing) {
                let step = &self.new.graph.graph[edge.target()];
                let same = step.deployment == self.new.graph.graph[index].deployment && !step.is_cleanup();
                if same && *edge.weight() == Wait::ForSuccess && again.insert(edge.target()) {
                    queue.push(edge.target());
                }
            }
        }
    }

    /// The deployment does not stand any more: deploying, cleaning up, and every trial that is not complete.
    fn deploy_again(&self, again: &mut HashSet<NodeIndex>) {
        let incomplete: HashSet<_> = self
            .nodes
            .iter()
            .filter(|&&index| again.contains(&index) || !self.has_ended(index))
            .filter_map(|&index| self.new.graph.graph[index].trial)
            .collect();
        again.extend(self.nodes.iter().filter(|&&index| match self.new.graph.graph[index].trial {
            Some(trial) => incomplete.contains(&trial),
            None => true,
        }));
    }

    fn has_ended(&self, index: NodeIndex) -> bool {
        self.past(index).is_some_and(|past| matches!(past.phase, StepPhase::Ended(_)))
    }

    /// Whether what has become of the step before holds for what it is now.
    fn same(&self, before: &Step, now: &Step, past: Option<&StepState>) -> bool {
        let target = |side: Definition<'_>, step: &Step| {
            let entry = entry(side.plan, &side.graph.deployments[step.deployment]);
            entry
                .benchmark
                .targets
                .get(&entry.target)
                .map(|target| (target.traces.clone(), target.join_linked))
        };
        match (&before.kind, &now.kind) {
            (StepKind::Manifest(one), StepKind::Manifest(two)) => {
                let load = matches!(two.action, Action::Load);
                let command = two.action.command().is_some();
                let failed = past.is_some_and(|past| {
                    matches!(&past.phase, StepPhase::Ended(Outcome::Failed(Failure { .. })))
                });
                // Tried differently, a step that failed may succeed; one that succeeded would do the same.
                let same = if failed { one == two } else { work(one) == work(two) };
                same && (!load || self.same_load(before, now))
                    && (!command || self.old.plan.executor == self.new.plan.executor)
            }
            (StepKind::GetTraces, StepKind::GetTraces)
            | (StepKind::AnalyzeTraces, StepKind::AnalyzeTraces) => {
                target(self.old, before) == target(self.new, now)
            }
            (StepKind::Pause { .. }, StepKind::Pause { .. }) => true,
            // What one decided by another measure is decided again.
            (StepKind::Decide, StepKind::Decide) => self.old.plan.until == self.new.plan.until,
            _ => false,
        }
    }

    fn same_load(&self, before: &Step, now: &Step) -> bool {
        let (one, two) =
            (&self.old.graph.deployments[before.deployment], &self.new.graph.deployments[now.deployment]);
        let (old, new) = (entry(self.old.plan, one), entry(self.new.plan, two));
        old.points[one.point].load == new.points[two.point].load
            && old.benchmark.workload == new.benchmark.workload
            && old.benchmark.contents == new.benchmark.contents
            && self.old.plan.seed == self.new.plan.seed
    }
}

fn entry<'a>(plan: &'a Plan, deployment: &Deployment) -> &'a Entry {
    &plan.entries[deployment.entry]
}

/// What every template of a deployment may use.
fn same_parameters(old: &Plan, before: &Deployment, new: &Plan, now: &Deployment) -> bool {
    let (one, two) = (entry(old, before), entry(new, now));
    let (old, new) = (&one.benchmark, &two.benchmark);
    one.target == two.target
        && old.path == new.path
        && old.name == new.name
        && old.root == new.root
        && old.params == new.params
        && one.points[before.point].params == two.points[now.point].params
}

/// The step without what only says how its failure is met.
fn work(step: &ManifestStep) -> ManifestStep {
    ManifestStep {
        timeout: None,
        retry: Retry::once(),
        allow_failure: false,
        recover: vec![],
        on_interrupt: OnInterrupt::Rerun,
        locks: vec![],
        ..step.clone()
    }
}

fn settings(old: &Plan, new: &Plan) -> Vec<&'static str> {
    [
        (old.executor == new.executor, "executor"),
        (old.repetitions == new.repetitions, "trials.repetitions"),
        (old.trials_per_deployment == new.trials_per_deployment, "trials.per_deployment"),
        (old.until == new.until, "trials.until"),
        (old.order == new.order, "trials.order"),
        (old.seed == new.seed, "trials.seed"),
        (old.timing == new.timing, "timing"),
        (old.concurrency == new.concurrency, "concurrency"),
        (old.locks == new.locks, "locks"),
        (old.budget == new.budget, "budget"),
    ]
    .into_iter()
    .filter_map(|(same, name)| (!same).then_some(name))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Record};
    use crate::graph::{Parts, build};
    use crate::manifest::read::Snapshot;
    use crate::plan::{Overrides, expand};
    use crate::validate;

    const MANIFEST: &str = r#"
[benchmark]
name = "shop"
[params]
size = 1
[targets.aws]
traces = "xray"
[[deploy]]
name = "network"
run = "true"
[[deploy]]
name = "stack"
run = "deploy"
retry = { attempts = 2 }
[[workload.requests]]
name = "buy"
url = "http://127.0.0.1:1/"
[[cleanup]]
name = "stack"
run = "remove"
"#;

    const PLAN: &str = r#"
[plan]
name = "p"
executor = "host"
[[applications]]
name = "shop"
manifest = "shop/benchmark.toml"
[trials]
per_deployment = 2
[load]
iterations = 3
[timing]
before_invoke = "1s"
"#;

    fn defined(manifest: &str, text: &str) -> (Plan, RunGraph) {
        let files =
            Snapshot::new([("/w/.git/HEAD", ""), ("/w/shop/benchmark.toml", manifest), ("/w/p.toml", text)]);
        let checked = validate::plan(&files, std::path::Path::new("/w/p.toml"), &Overrides::default());
        assert!(checked.value.is_some(), "{:#?}", checked.problems);
        let plan = checked.value.unwrap();
        let graph = build(&plan, expand(&plan), Parts::ALL);
        (plan, graph)
    }

    /// How far the run was when its files were edited.
    #[derive(Clone, Copy)]
    enum At {
        /// The first trial is complete, the second one's invocation runs.
        SecondTrial,
        /// Deploying failed, twice.
        FailedDeploy,
        /// All has ended, and was cleaned up.
        End,
    }

    fn state(at: At) -> RunState {
        let mut records = Vec::new();
        let mut add = |id: &str, outcome: Option<Outcome>| {
            let step = StepId::new(format!("shop.1/{id}"));
            let mut push = |event| records.push(Record { at_ms: 1, event });
            push(Event::StepStarted { step: step.clone(), attempt: 1, logs: None, up_ms: None });
            if let Some(outcome) = outcome {
                let (outputs, invalid) = (std::collections::BTreeMap::new(), vec![]);
                push(Event::StepEnded {
                    step,
                    attempt: 1,
                    outcome,
                    outputs,
                    invalid,
                    took_ms: None,
                    retry: false,
                });
            }
        };
        let good = Some(Outcome::Succeeded);
        add("deploy/network", good.clone());
        if matches!(at, At::FailedDeploy) {
            add("deploy/stack", Some(Outcome::failed(crate::event::FailureClass::Step, "x")));
            return RunState::fold(&records);
        }
        add("deploy/stack", good.clone());
        for step in ["settle", "invoke/load", "get-traces", "analyze-traces"] {
            add(&format!("t1/{step}"), good.clone());
        }
        add("t2/settle", good.clone());
        if matches!(at, At::SecondTrial) {
            add("t2/invoke/load", None);
            return RunState::fold(&records);
        }
        for step in ["invoke/load", "get-traces", "analyze-traces"] {
            add(&format!("t2/{step}"), good.clone());
        }
        add("cleanup/stack", good);
        RunState::fold(&records)
    }

    #[track_caller]
    fn compared(at: At, manifest: &str, text: &str) -> Change {
        let (old_plan, old_graph) = defined(MANIFEST, PLAN);
        let (new_plan, new_graph) = defined(manifest, text);
        assert!(new_plan != old_plan, "nothing was edited");
        let standing = if matches!(at, At::End) { Standing::Gone } else { Standing::Owed };
        compare(
            Definition { plan: &old_plan, graph: &old_graph },
            Definition { plan: &new_plan, graph: &new_graph },
            &state(at),
            true,
            &|deployment| if deployment.key == "shop.1" { standing } else { Standing::Gone },
        )
    }

    #[track_caller]
    fn check(at: At, manifest: &str, text: &str, again: &[&str]) -> Change {
        let change = compared(at, manifest, text);
        let names: Vec<_> = change.again.iter().map(|id| id.as_str().trim_start_matches("shop.1/")).collect();
        assert_eq!(names, again, "{change:#?}");
        change
    }

    fn with(from: &str, to: &str) -> String {
        assert!(MANIFEST.contains(from));
        MANIFEST.replace(from, to)
    }

    fn planned(from: &str, to: &str) -> String {
        assert!(PLAN.contains(from));
        PLAN.replace(from, to)
    }

    const FIRST: [&str; 3] = ["t1/invoke/load", "t1/get-traces", "t1/analyze-traces"];

    #[test]
    fn another_load_is_sent_again_and_what_was_deployed_stays() {
        let mut again = FIRST.to_vec();
        again.push("t2/invoke/load");
        let change = check(At::SecondTrial, MANIFEST, &planned("iterations = 3", "iterations = 4"), &again);
        assert_eq!(change.stopped, [StepId::new("shop.1/t2/invoke/load")]);
        assert!(change.retired.is_empty() && change.reopened.is_empty());
    }

    #[test]
    fn a_deploy_step_that_changed_takes_all_that_needs_it_along() {
        let mut again = vec!["deploy/stack", "t1/settle"];
        again.extend(FIRST);
        again.extend(["t2/settle", "t2/invoke/load"]);
        let change = check(At::SecondTrial, &with("\"deploy\"", "\"deploy --fast\""), PLAN, &again);
        assert_eq!(change.changed, [StepId::new("shop.1/deploy/stack")]);
        assert!(change.retired.is_empty());
    }

    #[test]
    fn how_failures_are_met_changes_nothing_that_succeeded() {
        let patient = with("attempts = 2", "attempts = 9");
        assert!(check(At::SecondTrial, &patient, PLAN, &[]).changed.is_empty());
        check(At::FailedDeploy, &patient, PLAN, &["deploy/stack"]);
        let slow = check(At::SecondTrial, MANIFEST, &planned("\"1s\"", "\"2s\""), &[]);
        assert_eq!(slow.settings, ["timing"]);
    }

    #[test]
    fn other_parameters_are_another_deployment() {
        let change = compared(At::SecondTrial, &with("size = 1", "size = 2"), PLAN);
        assert_eq!(change.retired, BTreeSet::from([0]));
        assert_eq!(change.again.len(), 8, "all that has begun: {change:#?}");
        assert_eq!(change.reopened, ["shop.1"]);
        let change = compared(At::End, &with("size = 1", "size = 2"), PLAN);
        assert!(change.is_ready(), "nothing is owed: {change:#?}");
        assert_eq!(change.again.len(), 11, "with the cleanup: {change:#?}");
    }

    #[test]
    fn a_deployment_that_is_gone_is_retired_only_if_something_is_owed() {
        let other = planned("name = \"shop\"", "name = \"store\"");
        let change = compared(At::SecondTrial, MANIFEST, &other);
        assert_eq!(change.retired, BTreeSet::from([0]));
        assert_eq!(change.stopped, [StepId::new("shop.1/t2/invoke/load")]);
        assert_eq!((change.gone.len(), change.new.len()), (11, 11));
        assert!(compared(At::End, MANIFEST, &other).is_ready());
    }

    #[test]
    fn a_trial_more_is_deployed_for_again_once_all_was_cleaned_up() {
        let three = planned("per_deployment = 2", "per_deployment = 3");
        let change = check(At::SecondTrial, MANIFEST, &three, &[]);
        assert!(change.is_ready() && change.reopened.is_empty() && change.new.len() == 4, "{change:#?}");
        let change = check(At::End, MANIFEST, &three, &["deploy/network", "deploy/stack", "cleanup/stack"]);
        assert_eq!(change.reopened, ["shop.1"]);
    }

    #[test]
    fn another_measure_of_precision_is_decided_by_anew() {
        let until = |width: &str| {
            let until = format!("until = {{ of = \"mean\", relative_width = {width}, min = 2, max = 3 }}");
            defined(MANIFEST, &planned("per_deployment = 2", &until))
        };
        let mut records = Vec::new();
        let mut ended = |id: &str, outcome: Outcome| {
            let step = StepId::new(format!("shop.1/{id}"));
            let outputs = std::collections::BTreeMap::new();
            let started = Event::StepStarted { step: step.clone(), attempt: 1, logs: None, up_ms: None };
            let ended = Event::StepEnded {
                step,
                attempt: 1,
                outcome,
                outputs,
                invalid: vec![],
                took_ms: None,
                retry: false,
            };
            records.extend([started, ended].map(|event| Record { at_ms: 1, event }));
        };
        for step in ["deploy/network", "deploy/stack"] {
            ended(step, Outcome::Succeeded);
        }
        for trial in 1..=2 {
            for step in ["settle", "invoke/load", "get-traces", "analyze-traces"] {
                ended(&format!("t{trial}/{step}"), Outcome::Succeeded);
            }
        }
        ended("t2/decide", Outcome::Enough { why: "it is".to_owned() });
        ended("t3/settle", Outcome::Skipped { because: StepId::new("shop.1/t2/decide") });
        let state = RunState::fold(&records);
        let compared = |old: &(Plan, RunGraph), new: &(Plan, RunGraph)| {
            compare(
                Definition { plan: &old.0, graph: &old.1 },
                Definition { plan: &new.0, graph: &new.1 },
                &state,
                true,
                &|_| Standing::Owed,
            )
        };
        let (wide, narrow) = (until("0.1"), until("0.01"));
        let change = compared(&wide, &narrow);
        assert_eq!(change.again, ["shop.1/t2/decide", "shop.1/t3/settle"].map(StepId::new));
        assert_eq!(change.settings, ["trials.until"]);
        assert!(compared(&wide, &wide).again.is_empty());
    }

    #[test]
    fn a_trial_less_stops_what_runs_of_it() {
        let change =
            check(At::SecondTrial, MANIFEST, &planned("per_deployment = 2", "per_deployment = 1"), &[]);
        assert_eq!(change.stopped, [StepId::new("shop.1/t2/invoke/load")]);
        assert_eq!(change.gone.len(), 4);
    }

    #[test]
    fn a_cleanup_that_changed_runs_once_and_as_it_is_now() {
        let other = with("\"remove\"", "\"remove --all\"");
        let change = check(At::SecondTrial, &other, PLAN, &[]);
        assert_eq!(change.changed, [StepId::new("shop.1/cleanup/stack")]);
        assert!(check(At::End, &other, PLAN, &[]).is_ready(), "it was cleaned up");
    }

    #[test]
    fn a_trial_of_a_deployment_that_is_gone_begins_anew_when_a_part_of_it_is_missing() {
        // As if the machine had gone down while the second trial's traces were analysed, after a cleanup by hand.
        let (plan, graph) = defined(MANIFEST, PLAN);
        let mut state = state(At::End);
        state.steps.remove(&StepId::new("shop.1/t2/analyze-traces"));
        let side = Definition { plan: &plan, graph: &graph };
        let change = compare(side, side, &state, true, &|_| Standing::Gone);
        let names: Vec<_> = change.again.iter().map(StepId::as_str).collect();
        assert_eq!(
            names,
            [
                "shop.1/deploy/network",
                "shop.1/deploy/stack",
                "shop.1/t2/settle",
                "shop.1/t2/invoke/load",
                "shop.1/t2/get-traces",
                "shop.1/cleanup/stack"
            ]
        );
    }
}
