//! What follows from a failure: another attempt, or a deployment that is kept to be looked at.

use std::collections::BTreeSet;
use std::time::Duration;

use petgraph::graph::NodeIndex;
use sha2::{Digest as _, Sha256};

use super::dispatch::{Dispatch, Node, now_ms};
use crate::store::{Change, event};
use sb_plan::benchmark::{OnInterrupt, Retry};
use sb_plan::event::{Event, Failure, FailureClass, Outcome};
use sb_plan::graph::{Step, StepKind};
use sb_plan::id::RunId;

/// What a run does beyond its graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// A deployment of which a step failed is not cleaned up: its cleanup stays owed.
    pub keep_on_failure: bool,
    /// Only ends what an earlier definition of the run left: the steps of the graph that run are stopped, and these
    /// deployments are cleaned up. The run itself does not end with it.
    pub retire: Option<BTreeSet<usize>>,
}

/// How a step is tried again.
pub(crate) fn retry_of(step: &Step) -> Retry {
    match &step.kind {
        StepKind::Manifest(step) => step.retry.clone(),
        StepKind::GetTraces => Retry::when_throttled(),
        StepKind::Pause { .. } | StepKind::AnalyzeTraces | StepKind::Decide => Retry::once(),
    }
}

/// So many interruptions of a step are a failure: what ends every supervisor or container of it does so again.
const MOST_INTERRUPTIONS: u32 = 5;

/// The pause before the next attempt, after so many failures and interruptions of which this is the last. The same for
/// every runner of the run: one that takes over waits what is left of it.
pub(crate) fn pause_after(
    run: &RunId,
    step: &Step,
    failures: u32,
    interruptions: u32,
    outcome: &Outcome,
) -> Duration {
    match outcome {
        Outcome::Failed(Failure { class, .. }) => {
            retry_of(step).pause(failures, *class, spread(run, step, failures))
        }
        // 1 s, 2 s, 4 s, 8 s: memory or a disk that ran out may have recovered.
        Outcome::Interrupted => Duration::from_secs(1 << interruptions.saturating_sub(1).min(6)),
        _ => Duration::ZERO,
    }
}

/// Different for steps that failed at the same moment, and uniform.
fn spread(run: &RunId, step: &Step, failures: u32) -> u32 {
    let digest = Sha256::digest(format!("{run} {} {failures}", step.id));
    digest.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

impl Dispatch {
    /// What the end of an attempt counts as, and the pause before the next one if there is one.
    pub(super) fn judge(&mut self, index: NodeIndex, outcome: Outcome) -> (Outcome, Option<Duration>) {
        let step = self.job.graph.graph[index].clone();
        match outcome {
            Outcome::Interrupted => {
                let node = &mut self.nodes[index.index()];
                node.interruptions += 1;
                let (failures, interruptions) = (node.failures, node.interruptions);
                let message = if step.manifest().is_some_and(|step| step.on_interrupt == OnInterrupt::Fail) {
                    "it was interrupted, and the manifest says that this is a failure".to_owned()
                } else if interruptions >= MOST_INTERRUPTIONS {
                    format!(
                        "it was interrupted {interruptions} times: its supervisor or container ended, and nobody knows how the \
                         command did; look for what ends them (memory? disk?)"
                    )
                } else {
                    self.errors += 1;
                    let outcome = Outcome::Interrupted;
                    let pause = pause_after(&self.job.run, &step, failures, interruptions, &outcome);
                    return (outcome, Some(pause));
                };
                self.count_failure(index);
                (Outcome::failed(FailureClass::Step, message), None)
            }
            Outcome::Failed(failure) => {
                self.count_failure(index);
                let Node { failures, interruptions, .. } = self.nodes[index.index()];
                let again = retry_of(&step).again(failures, failure.class);
                let outcome = Outcome::Failed(failure);
                let pause =
                    again.then(|| pause_after(&self.job.run, &step, failures, interruptions, &outcome));
                (outcome, pause)
            }
            other => (other, None),
        }
    }

    fn count_failure(&mut self, index: NodeIndex) {
        self.nodes[index.index()].failures += 1;
        self.errors += 1;
    }

    /// Notes that a deployment is kept, because this step of it has failed.
    pub(super) fn keep(&mut self, index: NodeIndex) {
        if self.job.policy.keep_on_failure {
            self.kept.entry(self.job.graph.graph[index].deployment).or_insert((index, false));
        }
    }

    /// Whether the deployment is there and stays, though its cleanup could begin.
    pub(super) fn is_kept(&self, deployment: usize) -> bool {
        self.kept.contains_key(&deployment) && self.owed(deployment)
    }

    /// What the journal must hold of a kept deployment: once, when its cleanup could have begun.
    pub(super) fn tell_kept(&mut self, deployment: usize) -> Option<Change> {
        let (because, told) = self.kept.get_mut(&deployment)?;
        if std::mem::replace(told, true) {
            return None;
        }
        let because = self.job.graph.graph[*because].id.clone();
        let deployment = self.live.get(&deployment)?.row.id.clone();
        Some(event(&self.job.run, now_ms(), Event::DeploymentKept { deployment, because }))
    }
}
