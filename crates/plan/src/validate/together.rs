//! Whether the loads of a plan can begin together: not every order, limit and step before a load allows it.

use std::collections::{BTreeMap, BTreeSet};

use crate::benchmark::{Action, ManifestStep};
use crate::manifest::plan::{OrderWord, PlanFile};
use crate::manifest::problem::{Problem, Report};
use crate::validate::plan::Application;
use sb_measurement::counted;

/// Applications whose loads begin together: each waits for all others.
const MOST_TOGETHER: i64 = 100;

/// A few names say enough.
const NAMED: usize = 3;

/// Whether loads begin together. Reports what keeps them from it.
pub(super) fn check(
    file: &PlanFile,
    applications: &[Application<'_>],
    locks: &BTreeMap<String, u32>,
    report: &mut Report,
) -> bool {
    let asked = file.concurrency.as_ref().and_then(|concurrency| concurrency.together.as_ref());
    let Some(asked) = asked.filter(|together| together.value) else { return false };
    let found = order(file).or_else(|| earlier_step(applications)).or_else(|| lock(applications, locks));
    let Some((label, help)) = found else { return true };
    report.push(
        Problem::error("invalid-together", "the loads of this plan cannot begin together")
            .at(&asked.span, label)
            .help(help),
    );
    false
}

/// What of the plan's own settings forbids it, and what to do.
fn order(file: &PlanFile) -> Option<(String, String)> {
    let trials = file.trials.as_ref();
    let applications = i64::try_from(file.applications.value.len()).unwrap_or(i64::MAX);
    let loads = file.concurrency.as_ref().and_then(|concurrency| concurrency.invoke.as_ref());
    let loads = loads.map_or(1, |loads| loads.value);
    let several = trials.is_some_and(|trials| {
        trials.until.is_some() || trials.per_deployment.as_ref().is_some_and(|count| count.value != 1)
    });
    let has_own_points =
        file.matrix.as_ref().is_some_and(|matrix| !(matrix.exclude.is_empty() && matrix.include.is_empty()));
    let (label, help) = if trials.and_then(|trials| trials.order) != Some(OrderWord::Interleaved) {
        (
            "in this order, applications do not run side by side in rounds",
            "set `order = \"interleaved\"` in `[trials]`".to_owned(),
        )
    } else if several {
        (
            "only the first trials of deployments could begin together",
            "set `repetitions` in `[trials]` instead: each has deployments of its own".to_owned(),
        )
    } else if has_own_points {
        (
            "the applications have different points",
            "leave `exclude` and `include` out of `[matrix]`, or make a plan for each".to_owned(),
        )
    } else if loads < applications {
        (
            "fewer loads are allowed than there are applications",
            format!("set `invoke = {applications}` beside it"),
        )
    } else if applications > MOST_TOGETHER {
        ("too many applications", format!("let at most {MOST_TOGETHER} applications begin together"))
    } else {
        return None;
    };
    Some((label.to_owned(), help))
}

/// The invoke steps of an application's target.
fn steps<'a>(application: &'a Application<'_>) -> impl Iterator<Item = &'a ManifestStep> {
    let target = application.benchmark.targets.get(&application.target);
    target.into_iter().flat_map(|target| &target.invoke).map(AsRef::as_ref)
}

/// The loads of an application that wait for no load before them.
fn first_loads<'a>(application: &'a Application<'_>) -> Vec<&'a ManifestStep> {
    // A step needs earlier ones only.
    let mut behind_a_load: BTreeSet<&str> = BTreeSet::new();
    let mut first = Vec::new();
    for step in steps(application) {
        let is_load = matches!(step.action, Action::Load);
        let is_behind = step.needs.iter().any(|name| behind_a_load.contains(name.as_str()));
        if is_load && !is_behind {
            first.push(step);
        }
        if is_load || is_behind {
            behind_a_load.insert(&step.name);
        }
    }
    first
}

/// A step that an application runs before its load, for a time that the others do not know.
fn earlier_step(applications: &[Application<'_>]) -> Option<(String, String)> {
    applications.iter().find_map(|application| {
        let before = first_loads(application).into_iter().find_map(|load| load.needs.first())?;
        Some((
            format!("`{}` runs the step `{before}` before its load", application.name),
            format!("make `{before}` a step of [[deploy]], or let the load need nothing with `needs = []`"),
        ))
    })
}

/// A lock that fewer loads can hold than take it.
fn lock(applications: &[Application<'_>], locks: &BTreeMap<String, u32>) -> Option<(String, String)> {
    let mut takers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for application in applications {
        for name in first_loads(application).into_iter().flat_map(|load| &load.locks) {
            takers.entry(name).or_default().insert(&application.name);
        }
    }
    takers.into_iter().find_map(|(name, takers)| {
        let limit = locks.get(name).copied().unwrap_or(1);
        (takers.len() as u64 > u64::from(limit)).then(|| {
            let mut shown: Vec<String> =
                takers.iter().take(NAMED).map(|taker| format!("`{taker}`")).collect();
            if takers.len() > NAMED {
                shown.push(counted(takers.len() - NAMED, "other"));
            }
            let last = shown.pop().unwrap_or_default();
            (
                format!(
                    "the loads of {} and {last} take the lock `{name}`, which {limit} at a time can hold",
                    shown.join(", ")
                ),
                format!("set `{name} = {}` in [locks], or let these loads not take it", takers.len()),
            )
        })
    })
}
