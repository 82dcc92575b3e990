//! What a plan writes down and nothing uses: loads that no application names, limits that nothing takes, values that no
//! placeholder reads. It is often misspelt, or was meant for what is no longer there.

use std::collections::BTreeSet;

use crate::manifest::decode::Map;
use crate::manifest::load::{LoadFile, LoadOrName};
use crate::manifest::plan::PlanFile;
use crate::manifest::problem::{Problem, Report};
use crate::manifest::tree::Spanned;
use crate::manifest::values::Or;
use crate::validate::load::{self, first_line};
use crate::validate::plan::Application;

/// Warns of it; all applications of the plan must have been read.
pub(super) fn check(file: &PlanFile, applications: &[Application<'_>], report: &mut Report) {
    if applications.is_empty() {
        return;
    }
    loads(file, applications, report);
    locks(file, applications, report);
    vars(file, applications, report);
}

fn loads(file: &PlanFile, applications: &[Application<'_>], report: &mut Report) {
    let is_common = applications.iter().any(|application| application.raw.load.is_none());
    if let Some(load) = file.load.as_ref().filter(|_| !is_common) {
        report.push(
            Problem::warning(
                "unused-load",
                "every application has a load of its own, so nothing sends this one",
            )
            .at(&first_line(&load.span, report), "nothing sends it")
            .help("remove it, or remove `load` from the applications that should send it"),
        );
    }
    let chosen = applications.iter().filter_map(|application| application.raw.load.as_ref());
    let mut named = BTreeSet::new();
    for load in chosen.chain(&file.load) {
        match &load.value {
            LoadOrName::Inline(_) => {}
            LoadOrName::Name(name) if name.value.is_literal() => {
                named.insert(name.value.source().to_owned());
            }
            // The point of the matrix says which.
            LoadOrName::Name(_) => return,
        }
    }
    // One that is not known may be meant to be one of these.
    if report.problems.iter().any(|problem| problem.code == "unknown-load") {
        return;
    }
    let loads = file.loads.iter().flat_map(Map::iter).map(|(name, _)| name);
    warn(
        loads,
        |name| named.contains(name),
        report,
        "unused-load",
        |name| Idle {
            message: format!("no application sends the load `{name}`"),
            label: "nothing names it",
            help: format!(
                "write `load = \"{name}\"` in [[applications]] or at the top of the plan, or remove it"
            ),
        },
    );
}

/// What is said of a name that nothing uses.
struct Idle {
    message: String,
    label: &'static str,
    help: String,
}

/// Warns of each name that is not used.
fn warn<'a>(
    names: impl Iterator<Item = &'a Spanned<String>>,
    is_used: impl Fn(&str) -> bool,
    report: &mut Report,
    code: &'static str,
    words: impl Fn(&str) -> Idle,
) {
    for name in names.filter(|name| !is_used(&name.value)) {
        let Idle { message, label, help } = words(&name.value);
        report.push(Problem::warning(code, message).at(&name.span, label).help(help));
    }
}

fn locks(file: &PlanFile, applications: &[Application<'_>], report: &mut Report) {
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for application in applications {
        taken.extend(application.raw.locks.iter().flatten().map(|lock| lock.value.as_str()));
        if let Some(target) = application.benchmark.targets.get(&application.target) {
            let steps = target.deploy.iter().chain(&target.invoke).chain(&target.cleanup);
            taken.extend(steps.flat_map(|step| &step.locks).map(String::as_str));
        }
    }
    // One that is not known may be meant to be one of these.
    if report.problems.iter().any(|problem| problem.code == "unknown-lock") {
        return;
    }
    let locks = file.locks.iter().flat_map(Map::iter).map(|(name, _)| name);
    warn(
        locks,
        |name| taken.contains(name),
        report,
        "unused-lock",
        |name| Idle {
            message: format!("no step takes the lock `{name}`"),
            label: "limits nothing",
            help: format!(
                "write `locks = [\"{name}\"]` in the [[applications]] or steps that it should limit, or remove it"
            ),
        },
    );
}

fn vars(file: &PlanFile, applications: &[Application<'_>], report: &mut Report) {
    let read = paths(file, applications);
    let vars = applications.iter().filter_map(|one| one.raw.vars.as_ref()).flat_map(Map::iter);
    // Another application may have a value only so that a placeholder of the plan holds everywhere.
    let is_read = |name: &str| read.contains(&format!("vars.{name}"));
    warn(vars.map(|(name, _)| name), is_read, report, "unused-var", |name| Idle {
        message: format!("nothing reads the value `{name}`"),
        label: "has no effect",
        help: format!(
            "write `{{{{vars.{name}}}}}` in a parameter, a load or a label of the plan, or remove it"
        ),
    });
}

/// The paths of all placeholders of a plan.
fn paths(file: &PlanFile, applications: &[Application<'_>]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let own = applications.iter().filter_map(|application| application.raw.params.as_ref());
    for (_, value) in file.params.iter().chain(own).flat_map(Map::iter) {
        if let Or::Template(template) = &value.value {
            found.extend(template.paths().map(str::to_owned));
        }
    }
    for (_, label) in file.labels.iter().flat_map(Map::iter) {
        found.extend(label.value.paths().map(str::to_owned));
    }
    let mut loads: Vec<&LoadFile> = file.loads.iter().flat_map(Map::iter).map(|(_, raw)| raw).collect();
    let chosen = applications.iter().filter_map(|application| application.raw.load.as_ref());
    for load in chosen.chain(&file.load) {
        match &load.value {
            LoadOrName::Inline(raw) => loads.push(raw),
            LoadOrName::Name(name) => found.extend(name.value.paths().map(str::to_owned)),
        }
    }
    for template in loads.into_iter().flat_map(load::templates) {
        found.extend(template.value.paths().map(str::to_owned));
    }
    if let Some(Spanned { value: Or::Template(template), .. }) =
        file.trials.as_ref().and_then(|trials| trials.start.as_ref())
    {
        found.extend(template.paths().map(str::to_owned));
    }
    found
}
