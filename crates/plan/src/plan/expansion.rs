//! From a checked plan to deployments and trials, in the order in which they should run.

use std::collections::HashSet;

use super::order;
use super::{Plan, Point};
use crate::id::TrialId;

/// An application deployed once, with the trials that run on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// Unique in the plan and the same every time: `thumbnails.pattern=jump.2`.
    pub key: String,
    /// Index into [`Plan::entries`].
    pub entry: usize,
    /// Index into the entry's points.
    pub point: usize,
    /// Counted from 1.
    pub repetition: u32,
    /// One after another; at least one.
    pub trials: Vec<Trial>,
}

/// One measurement on a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// Unique in the run, and the same every time.
    pub id: TrialId,
    /// Counted from 1 on its deployment.
    pub number: u32,
    /// Smaller ranks go first where several could.
    pub rank: u32,
}

/// The deployments of each application, in the order in which they follow each other; the applications run
/// side by side unless the order is sequential.
#[derive(Clone, Debug, PartialEq)]
pub struct Expansion {
    /// In the order of the file: entries, repetitions, points.
    pub deployments: Vec<Deployment>,
    /// Chains of indices into `deployments`: each deployment begins when the one before it in its chain has been
    /// cleaned up, so that an application is deployed once at a time.
    pub chains: Vec<Vec<usize>>,
}

impl Expansion {
    /// Lets these deployments go first in their chains, in the order that they have: what stands already is finished
    /// before anything else of its application is deployed.
    pub fn finish_first(&mut self, standing: impl Fn(&Deployment) -> bool) {
        for chain in &mut self.chains {
            chain.sort_by_key(|&index| !standing(&self.deployments[index]));
        }
    }
}

/// The deployments and trials of a plan, in the order that it asks for. Always the same for the same plan.
pub fn expand(plan: &Plan) -> Expansion {
    let mut deployments = Vec::new();
    let mut keys = HashSet::new();
    let mut chains = Vec::with_capacity(plan.entries.len());
    for (entry_index, entry) in plan.entries.iter().enumerate() {
        let mut chain = Vec::new();
        for repetition in 1..=plan.repetitions {
            for (point_index, point) in entry.points.iter().enumerate() {
                let key = unique(key(&entry.application, point, repetition), &mut keys);
                let trials = (1..=plan.trials_per_deployment)
                    .map(|number| Trial { id: TrialId::new(format!("{key}/t{number}")), number, rank: 0 })
                    .collect();
                chain.push(deployments.len());
                deployments.push(Deployment {
                    key,
                    entry: entry_index,
                    point: point_index,
                    repetition,
                    trials,
                });
            }
        }
        chains.push(chain);
    }
    let mut expansion = Expansion { deployments, chains };
    order::arrange(&mut expansion, plan.order, plan.seed);
    expansion
}

/// Levels may look alike in a key (`"a b"` and `"a/b"`, `1` and `"1"`): later ones get `~2`, `~3` …
fn unique(key: String, keys: &mut HashSet<String>) -> String {
    let mut found = key.clone();
    let mut number = 1;
    while !keys.insert(found.clone()) {
        number += 1;
        found = format!("{key}~{number}");
    }
    found
}

fn key(application: &str, point: &Point, repetition: u32) -> String {
    use std::fmt::Write as _;
    let mut key = application.to_owned();
    for (factor, level) in &point.factors {
        let text = sb_workload::template::plain_text(level);
        let level: String =
            text.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
        let _ = write!(key, ".{factor}={level}");
    }
    let _ = write!(key, ".{repetition}");
    key
}
