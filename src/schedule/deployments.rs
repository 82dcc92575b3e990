//! Deployments as the scheduler holds them: parameters drawn once, outputs that grow, secrets kept apart.

use std::collections::{BTreeMap, BTreeSet};
use std::env::VarError;
use std::path::Path;
use std::sync::Arc;

use petgraph::graph::NodeIndex;
use rand::RngExt as _;
use serde_json::{Map, Value, json};

use super::ScheduleError;
use crate::execute::{Deployed, KnownSecrets, LostSecret, Produced};
use crate::store::{Debt, DeploymentRow, Secrets, Store};
use sb_plan::benchmark::{Param, ParamSource};
use sb_plan::id::{DeploymentId, RunId, TrialId};
use sb_plan::plan::{Deployment, Entry, Plan, Point};
use sb_plan::validate::param_variable;

/// A deployment in use.
pub(super) struct LiveDeployment {
    pub(super) row: DeploymentRow,
    pub(super) deployed: Arc<Deployed>,
    secrets: Secrets,
    pub(super) known_secrets: Arc<KnownSecrets>,
    /// Attempts that have ended: what becomes known to be a secret must not stay in their logs.
    pub(super) ended: Vec<(NodeIndex, u32)>,
}

/// A named deployment as it is stored, or where there is none as far as its manifest tells, and what templates may use of it:
/// for somebody who looks around in it, so nothing is drawn or written.
pub(crate) fn look_at(
    plan: &Plan,
    deployment: &Deployment,
    id: DeploymentId,
    run: &RunId,
    stored: Option<(&Store, DeploymentRow)>,
) -> Result<(Arc<Deployed>, Value), ScheduleError> {
    let live = match stored {
        Some((store, row)) => LiveDeployment::adopt(plan, deployment, row, store, false)?,
        None => {
            let entry = &plan.entries[deployment.entry];
            let point = &entry.points[deployment.point];
            let mut params = Map::new();
            for (name, param) in &entry.benchmark.params {
                let value = match (point.params.get(name), &param.source) {
                    (Some(value), _) | (None, ParamSource::Value(value)) => value.clone(),
                    (None, ParamSource::RandomHex(_) | ParamSource::Env { .. }) => continue,
                };
                params.insert(name.clone(), value);
            }
            let row = DeploymentRow {
                id,
                run: run.clone(),
                benchmark: entry.benchmark.name.clone(),
                target: entry.target.clone(),
                manifest: entry.benchmark.path.clone(),
                opened_ms: 0,
                debt: Debt::Open,
                params,
                outputs: Map::new(),
                logs: None,
            };
            LiveDeployment::assemble(plan, entry, point, row, Secrets::default())
        }
    };
    let values = live.values(run, None, live.row.logs.as_deref());
    Ok((live.deployed, values))
}

/// What an environment variable holds.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Result<String, VarError>;

/// A parameter without a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingVariable {
    /// Which, and why.
    pub message: String,
    /// How else it can be given: `-p NAME=VALUE`, or the variable `SB_PARAM_NAME` for a secret, which no command line may hold.
    pub way: String,
    pub is_secret: bool,
}

/// The parameters that have no value, because a variable of the environment is not set or cannot be read.
pub(crate) fn missing_variables(plan: &Plan, environment: Lookup<'_>) -> Vec<MissingVariable> {
    let mut missing = BTreeSet::new();
    for entry in &plan.entries {
        for (name, param) in &entry.benchmark.params {
            let ParamSource::Env { variable, default } = &param.source else { continue };
            let why = match environment(variable) {
                Err(VarError::NotPresent) if default.is_none() => "is not set",
                Err(VarError::NotUnicode(_)) => "is not UTF-8 text",
                _ => continue,
            };
            if entry.points.iter().any(|point| !point.params.contains_key(name)) {
                missing.insert(MissingVariable {
                    message: format!(
                        "parameter `{name}` of `{}` takes its value from the environment variable {variable}, which {why}",
                        entry.application
                    ),
                    way: if param.secret { param_variable(name) } else { format!("-p {name}=VALUE") },
                    is_secret: param.secret,
                });
            }
        }
    }
    missing.into_iter().collect()
}

impl LiveDeployment {
    /// Draws the parameters of a new deployment. Secrets are durable when this returns.
    pub(super) fn open(
        plan: &Plan,
        deployment: &Deployment,
        id: DeploymentId,
        run: &RunId,
        store: &Store,
        now_ms: i64,
    ) -> Result<Self, ScheduleError> {
        let entry = &plan.entries[deployment.entry];
        let point = &entry.points[deployment.point];
        let mut params = Map::new();
        let mut secrets = Secrets::default();
        for (name, param) in &entry.benchmark.params {
            let value = match (point.params.get(name), &param.source) {
                (Some(value), _) | (None, ParamSource::Value(value)) => value.clone(),
                (None, ParamSource::RandomHex(digits)) => random_hex(*digits).into(),
                (None, ParamSource::Env { variable, default }) => std::env::var(variable)
                    .ok()
                    .or_else(|| default.clone())
                    .ok_or_else(|| ScheduleError::Variable {
                        parameter: name.clone(),
                        variable: variable.clone(),
                    })?
                    .into(),
            };
            if param.secret {
                secrets.params.insert(name.clone(), value);
            } else {
                params.insert(name.clone(), value);
            }
        }
        store.keep_secrets(&id, &secrets).map_err(ScheduleError::Secrets)?;
        let row = DeploymentRow {
            id,
            run: run.clone(),
            benchmark: entry.benchmark.name.clone(),
            target: entry.target.clone(),
            manifest: entry.benchmark.path.clone(),
            opened_ms: now_ms,
            debt: Debt::Open,
            params,
            outputs: Map::new(),
            logs: None,
        };
        Ok(Self::assemble(plan, entry, point, row, secrets))
    }

    /// Takes up a deployment that an earlier command or runner opened. Secret parameters that are not kept any more are taken anew
    /// from where they came from, or from the environment, and kept again where `keep` says so.
    pub(super) fn adopt(
        plan: &Plan,
        deployment: &Deployment,
        row: DeploymentRow,
        store: &Store,
        keep: bool,
    ) -> Result<Self, ScheduleError> {
        let entry = &plan.entries[deployment.entry];
        let point = &entry.points[deployment.point];
        let mut secrets = store.secrets(&row.id).map_err(ScheduleError::Secrets)?;
        if take_again(entry, point, &row, &mut secrets, &|name| std::env::var(name)) && keep {
            store.keep_secrets(&row.id, &secrets).map_err(ScheduleError::Secrets)?;
        }
        Ok(Self::assemble(plan, entry, point, row, secrets))
    }

    fn assemble(plan: &Plan, entry: &Entry, point: &Point, row: DeploymentRow, secrets: Secrets) -> Self {
        let deployed = Deployed {
            id: row.id.clone(),
            application: entry.application.clone(),
            target: entry.target.clone(),
            benchmark: Arc::clone(&entry.benchmark),
            load: Arc::clone(&point.load),
            start: point.start,
            factors: point.factors.iter().cloned().collect(),
            labels: point.labels.clone(),
            seed: plan.seed,
            plan: plan.name.clone(),
            lost: lost(entry, &row, &secrets),
        };
        let mut known = KnownSecrets::default();
        known.add(secrets.params.iter().chain(&secrets.outputs));
        Self { row, deployed: Arc::new(deployed), secrets, known_secrets: Arc::new(known), ended: Vec::new() }
    }

    /// Adds outputs of a step. Secret ones are durable when this returns; the rest is in `row.outputs`, for the
    /// journal. What a secret is a part of is a secret, too.
    pub(super) fn add_outputs(
        &mut self,
        outputs: BTreeMap<String, Produced>,
        store: &Store,
    ) -> Result<BTreeMap<String, Value>, ScheduleError> {
        let known = Arc::make_mut(&mut self.known_secrets);
        known.add(outputs.iter().filter(|(_, produced)| produced.secret).map(|(name, it)| (name, &it.value)));
        let mut public = BTreeMap::new();
        let mut secret = BTreeMap::new();
        for (name, produced) in outputs {
            if produced.secret || known.are_in(&produced.value) {
                // A name has one value, whatever it was in an earlier deployment.
                self.row.outputs.remove(&name);
                secret.insert(name, produced.value);
            } else {
                self.secrets.outputs.remove(&name);
                self.row.outputs.insert(name.clone(), produced.value.clone());
                public.insert(name, produced.value);
            }
        }
        if !secret.is_empty() {
            known.add(&secret);
            self.secrets.outputs.extend(secret);
            store.keep_secrets(&self.row.id, &self.secrets).map_err(ScheduleError::Secrets)?;
        }
        Ok(public)
    }

    /// What templates may use.
    pub(super) fn values(&self, run: &RunId, trial: Option<(&TrialId, u32)>, logs: Option<&Path>) -> Value {
        let benchmark = &self.deployed.benchmark;
        let merge = |public: &Map<String, Value>, secret: &BTreeMap<String, Value>| {
            let mut all = public.clone();
            all.extend(secret.iter().map(|(name, value)| (name.clone(), value.clone())));
            Value::Object(all)
        };
        let mut values = json!({
            "benchmark": {
                "name": benchmark.name,
                "description": benchmark.description,
                "root": benchmark.root,
            },
            "params": merge(&self.row.params, &self.secrets.params),
            "outputs": merge(&self.row.outputs, &self.secrets.outputs),
            "target": self.deployed.target,
            "run": { "id": run },
        });
        if let Some((id, number)) = trial {
            values["trial"] = json!({ "id": id, "number": number });
        }
        if let Some(logs) = logs {
            values["logs_dir"] = json!(logs);
        }
        values
    }
}

/// Takes the secret parameters that a deployment lacks from where they came from, as far as that is still known: says whether any
/// was. What was drawn at random can only be given.
fn take_again(
    entry: &Entry,
    point: &Point,
    row: &DeploymentRow,
    secrets: &mut Secrets,
    environment: Lookup<'_>,
) -> bool {
    let kept = secrets.params.len();
    let lacking: Vec<(&String, &Param)> = missing(entry, row, secrets).collect();
    for (name, param) in lacking {
        let given = environment(&param_variable(name)).ok().map(Value::from);
        let value = given.or_else(|| match (point.params.get(name), &param.source) {
            (Some(value), _) | (None, ParamSource::Value(value)) => Some(value.clone()),
            (None, ParamSource::RandomHex(_)) => None,
            (None, ParamSource::Env { variable, default }) => {
                environment(variable).ok().or_else(|| default.clone()).map(Value::from)
            }
        });
        secrets.params.extend(value.map(|value| (name.clone(), value)));
    }
    secrets.params.len() > kept
}

/// The secret parameters that a deployment should have and has not.
fn missing<'a>(
    entry: &'a Entry,
    row: &DeploymentRow,
    secrets: &Secrets,
) -> impl Iterator<Item = (&'a String, &'a Param)> {
    let is_there = |name: &String| row.params.contains_key(name) || secrets.params.contains_key(name);
    entry.benchmark.params.iter().filter(move |(name, param)| param.secret && !is_there(name))
}

fn lost(entry: &Entry, row: &DeploymentRow, secrets: &Secrets) -> Vec<LostSecret> {
    let lost = missing(entry, row, secrets).map(|(name, _)| {
        let variable = param_variable(name);
        let way_out = format!(
            "the file with the secrets of {} is gone: give the secret again, with `read -rs {variable}; export {variable}; \
             sb cleanup {}`",
            row.id, row.run
        );
        LostSecret { name: name.clone(), way_out }
    });
    lost.collect()
}

/// `digits` lower-case hexadecimal digits.
fn random_hex(digits: usize) -> String {
    // Not the crate `hex`: it writes whole bytes, and this may be an odd number of digits.
    let mut generator = rand::rng();
    (0..digits).map(|_| char::from(b"0123456789abcdef"[generator.random_range(0..16)])).collect()
}
