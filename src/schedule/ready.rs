//! Which of the steps that could start may start now: pure choice under the plan's limits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use petgraph::graph::{DiGraph, NodeIndex};

use super::quiet::{Class, HeldBack, RunningCounts, class};
use sb_plan::graph::{Step, StepKind, Wait};
use sb_plan::plan::Plan;

/// The limits of a plan, and what is taken of them.
#[derive(Debug)]
pub(super) struct Slots {
    deploy: u32,
    invoke: u32,
    quiet: bool,
    locks: BTreeMap<String, u32>,
    running: RunningCounts,
    /// Deployments being made, each with its number of running deploy steps.
    deploying: HashMap<usize, u32>,
    taken: HashMap<String, u32>,
}

impl Slots {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            deploy: plan.concurrency.deploy.max(1),
            invoke: plan.concurrency.invoke.max(1),
            quiet: plan.concurrency.quiet,
            locks: plan.locks.clone(),
            running: RunningCounts::default(),
            deploying: HashMap::new(),
            taken: HashMap::new(),
        }
    }

    pub(super) fn take(&mut self, step: &Step) {
        self.running.start(step);
        if deploys(step) {
            *self.deploying.entry(step.deployment).or_default() += 1;
        }
        for lock in locks(step) {
            *self.taken.entry(lock.clone()).or_default() += 1;
        }
    }

    pub(super) fn release(&mut self, step: &Step) {
        self.running.end(step);
        if let Some(count) = self.deploying.get_mut(&step.deployment)
            && deploys(step)
        {
            *count -= 1;
            if *count == 0 {
                self.deploying.remove(&step.deployment);
            }
        }
        for lock in locks(step) {
            if let Some(count) = self.taken.get_mut(lock) {
                *count -= 1;
            }
        }
    }

    /// How many steps of this run are running.
    pub(super) fn running(&self) -> RunningCounts {
        self.running
    }

    /// Takes slots for those that may start now, in the order of their rank, and takes them out of `ready`. `claim`
    /// has the last word: what other runs hold.
    ///
    /// With `quiet`, load and work exclude each other, as [`super::quiet`] says.
    ///
    /// Within one choice slots are only taken, so what refuses one step of a queue refuses those behind it: the
    /// effort goes with what is chosen, not with what is ready.
    pub(super) fn choose(
        &mut self,
        ready: &mut ReadySteps,
        graph: &DiGraph<Step, Wait>,
        claim: &mut impl FnMut(NodeIndex, &Step) -> ClaimAnswer,
    ) -> Vec<NodeIndex> {
        let mut chosen = Vec::new();
        let mut held = HeldBack::default();
        let mut streams: Vec<QueueStream> = ready
            .queues
            .keys()
            .map(|key| QueueStream { source: Source::Queue(key.clone()), after: None })
            .collect();
        let mut at_deploy_limit = false;
        loop {
            let heads = streams.iter().enumerate().filter_map(|(at, stream)| Some((ready.next(stream)?, at)));
            let Some((place, at)) = heads.min() else { return chosen };
            let step = &graph[place.1];
            match self.judge(step, &mut held, || claim(place.1, step)) {
                Judgement::Start => {
                    self.take(step);
                    ready.remove(step, place);
                    chosen.push(place.1);
                    streams[at].after = Some(place);
                }
                Judgement::DeployLimit => {
                    streams.swap_remove(at);
                    if !at_deploy_limit {
                        at_deploy_limit = true;
                        // No further deployment begins; those that have begun go on.
                        let begun = self.deploying.keys().map(|&deployment| Source::Deployment(deployment));
                        streams.extend(begun.map(|source| QueueStream { source, after: Some(place) }));
                    }
                }
                Judgement::Refused => match streams[at].source {
                    Source::Queue(_) => drop(streams.swap_remove(at)),
                    Source::Deployment(_) => streams[at].after = Some(place),
                },
            }
        }
    }

    fn judge(&self, step: &Step, held: &mut HeldBack, claim: impl FnOnce() -> ClaimAnswer) -> Judgement {
        let unlocked = locks(step).all(|lock| {
            self.taken.get(lock).copied().unwrap_or(0) < self.locks.get(lock).copied().unwrap_or(1)
        });
        if !unlocked {
            return Judgement::Refused;
        }
        match class(step) {
            Class::Free => {}
            Class::Invoke => {
                let refused = held.refuses_load(self.quiet, self.running);
                if refused || self.running.invoking >= self.invoke {
                    return Judgement::Refused;
                }
            }
            Class::Work => {
                if held.refuses_work(self.quiet, self.running) {
                    return Judgement::Refused;
                }
                if !self.may_deploy(step) {
                    return Judgement::DeployLimit;
                }
            }
        }
        match claim() {
            ClaimAnswer::Taken => Judgement::Start,
            ClaimAnswer::Busy => Judgement::Refused,
            ClaimAnswer::Disturbed => {
                held.hold_work();
                Judgement::Refused
            }
        }
    }

    fn may_deploy(&self, step: &Step) -> bool {
        !step.is_deploy()
            || self.deploying.contains_key(&step.deployment)
            || self.deploying.len() < self.deploy as usize
    }
}

/// What other runs on this machine say to the start of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimAnswer {
    /// It may start; what it needs is held.
    Taken,
    Busy,
    /// A load waits until the work of others ends: work of this run that stands behind it waits with it.
    Disturbed,
}

enum Judgement {
    Start,
    Refused,
    /// As many deployments are being made as may be.
    DeployLimit,
}

/// Smaller goes first.
pub(super) type Place = (u32, NodeIndex);

/// Steps that could start, queued with those that only the same conditions keep from it.
#[derive(Debug, Default)]
pub(super) struct ReadySteps {
    queues: BTreeMap<QueueKey, BTreeSet<Place>>,
    /// The deploy steps among them, by deployment: one that is being made goes on when no other may begin.
    deploys: HashMap<usize, BTreeSet<Place>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct QueueKey {
    class: Class,
    deploys: bool,
    locks: Vec<String>,
}

impl QueueKey {
    fn of(step: &Step) -> Self {
        Self { class: class(step), deploys: deploys(step), locks: locks(step).cloned().collect() }
    }
}

/// Goes through the steps of a source, from the first to the last.
struct QueueStream {
    source: Source,
    after: Option<Place>,
}

enum Source {
    Queue(QueueKey),
    Deployment(usize),
}

impl ReadySteps {
    pub(super) fn insert(&mut self, step: &Step, index: NodeIndex) {
        let place = (step.rank, index);
        self.queues.entry(QueueKey::of(step)).or_default().insert(place);
        if deploys(step) {
            self.deploys.entry(step.deployment).or_default().insert(place);
        }
    }

    pub(super) fn remove(&mut self, step: &Step, place: Place) {
        let key = QueueKey::of(step);
        if let Some(queue) = self.queues.get_mut(&key) {
            queue.remove(&place);
            if queue.is_empty() {
                self.queues.remove(&key);
            }
        }
        if let Some(steps) = self.deploys.get_mut(&step.deployment)
            && deploys(step)
        {
            steps.remove(&place);
            if steps.is_empty() {
                self.deploys.remove(&step.deployment);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = NodeIndex> {
        self.queues.values().flatten().map(|&(_, index)| index)
    }

    fn next(&self, stream: &QueueStream) -> Option<Place> {
        let steps = match &stream.source {
            Source::Queue(key) => self.queues.get(key)?,
            Source::Deployment(deployment) => self.deploys.get(deployment)?,
        };
        match stream.after {
            None => steps.first().copied(),
            Some(after) => steps.range((Bound::Excluded(after), Bound::Unbounded)).next().copied(),
        }
    }
}

/// Takes part in making its deployment, and holds a slot for it.
fn deploys(step: &Step) -> bool {
    step.is_deploy() && step.pause().is_none()
}

/// The locks that a step takes: like slots, a pause takes none.
pub(super) fn locks(step: &Step) -> impl Iterator<Item = &String> {
    match &step.kind {
        StepKind::Manifest(manifest) if step.pause().is_none() => manifest.locks.iter(),
        _ => [].iter(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use sb_plan::benchmark::{Action, Environment, ManifestStep, OnInterrupt, Phase, Retry};
    use sb_plan::id::StepId;

    fn slots(deploy: u32, invoke: u32, quiet: bool) -> Slots {
        Slots {
            deploy,
            invoke,
            quiet,
            locks: BTreeMap::new(),
            running: RunningCounts::default(),
            deploying: HashMap::new(),
            taken: HashMap::new(),
        }
    }

    fn step(phase: Phase, deployment: usize, rank: u32, locks: &[&str]) -> Step {
        let manifest = ManifestStep {
            phase,
            name: "s".to_owned(),
            needs: vec![],
            action: Action::LocalDown { failures: 0 },
            contents: BTreeMap::new(),
            environment: Environment::default(),
            timeout: None,
            retry: Retry::times(1, std::time::Duration::ZERO),
            allow_failure: false,
            recover: vec![],
            outputs: BTreeMap::new(),
            on_interrupt: OnInterrupt::Rerun,
            locks: locks.iter().map(|&lock| lock.to_owned()).collect(),
        };
        let id = StepId::new(format!("{deployment}/{rank}"));
        Step { id, deployment, trial: None, rank, kind: StepKind::Manifest(Arc::new(manifest)) }
    }

    fn ready(steps: Vec<Step>) -> (DiGraph<Step, Wait>, ReadySteps) {
        let mut graph = DiGraph::new();
        let mut ready = ReadySteps::default();
        for step in steps {
            let index = graph.add_node(step.clone());
            ready.insert(&step, index);
        }
        (graph, ready)
    }

    /// The numbers of the steps that are chosen, in order, when none is kept by other runs.
    #[track_caller]
    fn check(mut slots: Slots, steps: Vec<Step>, expected: &[usize]) {
        let (graph, mut ready) = ready(steps);
        let chosen = slots.choose(&mut ready, &graph, &mut |_, _| ClaimAnswer::Taken);
        assert_eq!(chosen.iter().map(|index| index.index()).collect::<Vec<_>>(), expected);
        assert_eq!(ready.iter().count(), graph.node_count() - expected.len());
    }

    #[test]
    fn steps_are_chosen_by_rank_under_the_limits() {
        use Phase::{Cleanup, Deploy, Invoke};
        let of = |phase, deployment, rank| step(phase, deployment, rank, &[]);
        check(slots(1, 1, false), vec![of(Deploy, 0, 2), of(Deploy, 1, 1), of(Deploy, 1, 3)], &[1, 2]);
        check(slots(9, 1, false), vec![of(Invoke, 0, 2), of(Invoke, 1, 1), of(Cleanup, 2, 3)], &[1, 2]);
        check(slots(9, 2, true), vec![of(Invoke, 0, 1), of(Deploy, 1, 2), of(Invoke, 2, 3)], &[0]);
        check(slots(9, 2, true), vec![of(Deploy, 0, 1), of(Invoke, 1, 2), of(Deploy, 2, 3)], &[0]);
        let locked = |rank, lock| step(Cleanup, 0, rank, &[lock]);
        check(slots(9, 1, false), vec![locked(1, "a"), locked(2, "a"), locked(3, "b")], &[0, 2]);
    }

    #[test]
    fn a_load_that_others_disturb_holds_back_the_work_behind_it() {
        let steps = vec![
            step(Phase::Cleanup, 0, 1, &[]),
            step(Phase::Invoke, 1, 2, &[]),
            step(Phase::Cleanup, 2, 3, &[]),
        ];
        for (says, expected) in [(ClaimAnswer::Disturbed, vec![0]), (ClaimAnswer::Busy, vec![0, 2])] {
            let (graph, mut ready) = ready(steps.clone());
            let chosen = slots(1, 1, false).choose(&mut ready, &graph, &mut |_, step| {
                if step.is_invoke() { says } else { ClaimAnswer::Taken }
            });
            assert_eq!(chosen.iter().map(|index| index.index()).collect::<Vec<_>>(), expected);
        }
    }

    /// Looking at all of them each time would take minutes.
    #[test]
    fn choosing_one_of_many_thousands_again_and_again_is_quick() {
        const MANY: usize = 20_000;
        let steps = (0..MANY).map(|number| step(Phase::Deploy, number, number as u32, &[])).collect();
        let (graph, mut ready) = ready(steps);
        let mut slots = slots(1, 1, true);
        let begun = std::time::Instant::now();
        for number in 0..MANY {
            let chosen = slots.choose(&mut ready, &graph, &mut |_, _| ClaimAnswer::Taken);
            assert_eq!(chosen, [NodeIndex::new(number)]);
            assert!(slots.choose(&mut ready, &graph, &mut |_, _| ClaimAnswer::Taken).is_empty());
            slots.release(&graph[chosen[0]]);
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
