//! What is left of a run that goes on. A run of weeks has a million steps, of which a few are left. A deployment is
//! over when all of its steps have ended and no cleanup is owed. Only what its steps add up to is kept.

use std::collections::{HashMap, HashSet};

use super::build::steps_of;
use super::{Parts, Step};
use crate::event::{Event, Record};
use crate::id::{DeploymentId, StepId};
use crate::plan::{Deployment, Plan};
use crate::run_state::{RunState, StepPhase, StepState};

/// A run by its plan.
#[derive(Clone, Copy)]
pub struct Planned<'a> {
    /// The checked plan.
    pub plan: &'a Plan,
    /// Its deployments.
    pub deployments: &'a [Deployment],
    /// The parts of the life cycle that the run consists of.
    pub parts: Parts,
    /// How each deployment is called in events.
    pub name: &'a dyn Fn(&Deployment) -> DeploymentId,
}

/// Takes the events of a run in, and sets deployments aside that are over: each step of them goes to `ended`.
pub struct Rest<'a, F> {
    planned: Planned<'a>,
    ended: F,
    by_key: HashMap<&'a str, usize>,
    /// Of each deployment.
    progress: Vec<Progress>,
    /// So many steps a deployment of each entry of the plan has.
    steps: Vec<Option<usize>>,
    /// Every step has ended, and the cleanup is owed.
    awaiting: HashMap<DeploymentId, usize>,
    state: RunState,
    /// Set aside, and then something happened to it.
    resurrected: HashSet<usize>,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    /// So often a step has ended.
    ends: usize,
    is_over: bool,
    /// It is never set aside.
    is_held: bool,
}

/// What is left of a run.
#[derive(Debug)]
pub struct Remains {
    /// The run's state, without the steps of deployments that are over.
    pub state: RunState,
    /// Of each deployment: whether it is over.
    pub over: Vec<bool>,
}

impl<'a, F: FnMut(&Step, StepState)> Rest<'a, F> {
    /// Nothing has been read yet. Deployments in `held` are never set aside.
    pub fn new(planned: Planned<'a>, held: &HashSet<usize>, ended: F) -> Self {
        let Planned { plan, deployments, .. } = planned;
        let keys = deployments.iter().enumerate();
        let progress = (0..deployments.len())
            .map(|index| Progress { is_held: held.contains(&index), ..Progress::default() });
        Self {
            by_key: keys.map(|(index, deployment)| (deployment.key.as_str(), index)).collect(),
            progress: progress.collect(),
            steps: vec![None; plan.entries.len()],
            awaiting: HashMap::new(),
            state: RunState::default(),
            resurrected: HashSet::new(),
            planned,
            ended,
        }
    }

    /// Takes the next event in.
    pub fn take(&mut self, record: Record) {
        let mut ended = None;
        match &record.event {
            Event::StepStarted { step, .. } => self.touch(step),
            Event::StepEnded { step, retry, .. } => {
                self.touch(step);
                ended = self.deployment_of(step).filter(|_| !retry);
            }
            Event::PlanChanged { again, .. } => again.iter().for_each(|step| self.touch(step)),
            Event::DebtPaid { deployment } => ended = self.awaiting.remove(deployment),
            _ => {}
        }
        self.state.take(record);
        if let Some(index) = ended {
            self.progress[index].ends += 1;
            self.set_aside(index);
        }
    }

    /// After the last event.
    ///
    /// # Errors
    /// Something happened to these deployments after they had been set aside: read again, and hold them.
    pub fn end(mut self) -> Result<Remains, HashSet<usize>> {
        let owed: HashSet<&DeploymentId> =
            self.state.debts.iter().filter(|(_, owed)| **owed).map(|(deployment, _)| deployment).collect();
        if !owed.is_empty() {
            for (index, deployment) in self.planned.deployments.iter().enumerate() {
                if self.progress[index].is_over && owed.contains(&(self.planned.name)(deployment)) {
                    self.resurrected.insert(index);
                }
            }
        }
        if !self.resurrected.is_empty() {
            return Err(self.resurrected);
        }
        Ok(Remains {
            state: self.state,
            over: self.progress.iter().map(|progress| progress.is_over).collect(),
        })
    }

    fn deployment_of(&self, step: &StepId) -> Option<usize> {
        let (key, _) = step.as_str().split_once('/')?;
        self.by_key.get(key).copied()
    }

    fn touch(&mut self, step: &StepId) {
        if let Some(index) = self.deployment_of(step).filter(|&index| self.progress[index].is_over) {
            self.resurrected.insert(index);
        }
    }

    fn set_aside(&mut self, index: usize) {
        let Planned { plan, deployments, parts, name } = self.planned;
        let Progress { ends, is_over, is_held } = self.progress[index];
        let entry = deployments[index].entry;
        let steps_of = || steps_of(plan, deployments, index, parts);
        // All deployments of an entry have the same steps.
        let steps = *self.steps[entry].get_or_insert_with(|| steps_of().count());
        if is_over || is_held || ends < steps {
            return;
        }
        let id = name(&deployments[index]);
        if self.state.debts.get(&id) == Some(&true) {
            self.awaiting.insert(id, index);
            return;
        }
        let steps: Vec<Step> = steps_of().collect();
        let has_ended = |step: &Step| {
            self.state.step(&step.id).is_some_and(|past| matches!(past.phase, StepPhase::Ended(_)))
        };
        // It ended several times, and others have not.
        if !steps.iter().all(has_ended) {
            return;
        }
        self.progress[index].is_over = true;
        for step in &steps {
            if let Some(past) = self.state.steps.remove(&step.id) {
                (self.ended)(step, past);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use proptest::prelude::*;

    use super::*;
    use crate::event::{Failure, FailureClass, Outcome};
    use crate::manifest::read::Snapshot;
    use crate::plan::{Overrides, expand};
    use crate::validate;

    const MANIFEST: &str = "[benchmark]\nname = \"shop\"\n[targets.local]\ntraces = \"local\"\n\
        [[deploy]]\nname = \"stack\"\nrun = \"true\"\n[[invoke]]\nname = \"load\"\nrun = \"true\"\n\
        [[cleanup]]\nname = \"stack\"\nrun = \"true\"\n";
    const PLAN: &str = "[plan]\nname = \"p\"\n[[applications]]\nmanifest = \"shop/benchmark.toml\"\n\
        [[applications]]\nname = \"two\"\nmanifest = \"shop/benchmark.toml\"\n[trials]\nrepetitions = 2\n";

    fn plan() -> Plan {
        let files = Snapshot::new([("/w/shop/benchmark.toml", MANIFEST), ("/w/p.toml", PLAN)]);
        let checked = validate::plan(&files, Path::new("/w/p.toml"), &Overrides::default());
        checked.value.unwrap_or_else(|| panic!("{:#?}", checked.problems))
    }

    fn name(deployment: &Deployment) -> DeploymentId {
        DeploymentId::new(format!("r.{}", deployment.key))
    }

    /// What is left, and every step that was set aside.
    fn rest(plan: &Plan, records: &[Record]) -> (Remains, HashMap<StepId, StepState>) {
        let deployments = expand(plan).deployments;
        let planned = Planned { plan, deployments: &deployments, parts: Parts::ALL, name: &name };
        let mut held = HashSet::new();
        loop {
            let mut aside = HashMap::new();
            let mut rest = Rest::new(planned, &held, |step, past| {
                assert!(aside.insert(step.id.clone(), past).is_none(), "{} twice", step.id);
            });
            records.iter().cloned().for_each(|record| rest.take(record));
            match rest.end() {
                Ok(remains) => return (remains, aside),
                Err(resurrected) => {
                    assert!(resurrected.is_disjoint(&held));
                    held.extend(resurrected);
                }
            }
        }
    }

    /// Any order of events, sensible or not: what was set aside and what is left are the whole.
    #[track_caller]
    fn check(plan: &Plan, events: Vec<Event>) -> Vec<bool> {
        let records: Vec<_> = (0..).zip(events).map(|(at_ms, event)| Record { at_ms, event }).collect();
        let whole = RunState::fold(&records);
        let (Remains { mut state, over }, aside) = rest(plan, &records);
        let deployments = expand(plan).deployments;
        for (index, deployment) in deployments.iter().enumerate().filter(|(index, _)| over[*index]) {
            assert_ne!(whole.debts.get(&name(deployment)), Some(&true), "{deployment:?}");
            for step in steps_of(plan, &deployments, index, Parts::ALL) {
                assert!(matches!(whole.step(&step.id).unwrap().phase, StepPhase::Ended(_)), "{}", step.id);
                assert_eq!(whole.step(&step.id), aside.get(&step.id));
            }
        }
        state.steps.extend(aside);
        assert_eq!(state, whole);
        over
    }

    fn arbitrary(plan: &Plan) -> impl Strategy<Value = Event> + use<> {
        let deployments = expand(plan).deployments;
        let names: Vec<_> = deployments.iter().map(name).collect();
        let all = (0..deployments.len()).flat_map(|index| steps_of(plan, &deployments, index, Parts::ALL));
        let steps: Vec<_> = all.map(|step| step.id).collect();
        let step = proptest::sample::select(steps);
        let deployment = proptest::sample::select(names);
        let started =
            (step.clone(), 1u32..3, proptest::option::of("[ab]")).prop_map(|(step, attempt, logs)| {
                Event::StepStarted { step, attempt, logs: logs.map(PathBuf::from), up_ms: None }
            });
        let ended = (step.clone(), 0..8).prop_map(|(step, kind)| Event::StepEnded {
            step,
            attempt: 1,
            outcome: match kind {
                0 => Outcome::Failed(Failure { class: FailureClass::Step, message: "no".into() }),
                1 => Outcome::Interrupted,
                _ => Outcome::Succeeded,
            },
            outputs: BTreeMap::new(),
            invalid: vec![],
            took_ms: None,
            retry: kind == 1,
        });
        prop_oneof![
            6 => started,
            30 => ended,
            1 => deployment.clone().prop_map(|deployment| Event::DebtRecorded { deployment }),
            2 => deployment.prop_map(|deployment| Event::DebtPaid { deployment }),
            1 => proptest::collection::vec(step, 0..3)
                .prop_map(|again| Event::PlanChanged { version: 2, again }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_set_aside_and_what_is_left_are_the_whole(
            events in proptest::collection::vec(arbitrary(&plan()), 0..200)
        ) {
            check(&plan(), events);
        }
    }

    #[test]
    fn a_deployment_is_over_when_all_of_its_steps_have_ended_and_nothing_is_owed() {
        let plan = plan();
        let deployments = expand(&plan).deployments;
        let ended = |step: &Step| Event::StepEnded {
            step: step.id.clone(),
            attempt: 1,
            outcome: Outcome::Succeeded,
            outputs: BTreeMap::new(),
            invalid: vec![],
            took_ms: None,
            retry: false,
        };
        let mut events = vec![Event::DebtRecorded { deployment: name(&deployments[0]) }];
        events.extend(steps_of(&plan, &deployments, 0, Parts::ALL).map(|step| ended(&step)));
        assert_eq!(check(&plan, events.clone()), [false; 4], "it is owed");
        events.push(Event::DebtPaid { deployment: name(&deployments[0]) });
        assert_eq!(check(&plan, events.clone()), [true, false, false, false]);
        events.extend(steps_of(&plan, &deployments, 1, Parts::ALL).skip(1).map(|step| ended(&step)));
        assert_eq!(check(&plan, events.clone()), [true, false, false, false], "a step is left");
        events.push(Event::DebtRecorded { deployment: name(&deployments[0]) });
        assert_eq!(check(&plan, events), [false; 4], "owed again");
    }
}
