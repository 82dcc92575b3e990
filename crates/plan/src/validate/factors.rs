//! Factors that change something: an experiment must not compare a thing with itself under two names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::benchmark::Action;
use crate::manifest::decode::Map;
use crate::manifest::load::LoadOrName;
use crate::manifest::plan::PlanFile;
use crate::manifest::problem::{Problem, Report};
use crate::manifest::tree::Spanned;
use crate::manifest::values::{Or, Scalar};
use crate::plan::{Entry, Overrides, Point};
use crate::validate::load::{self, first_line};
use crate::validate::plan::Application;
use sb_workload::template::Template;

/// Reports each factor that makes no difference to an application, and values on the command line that would make a factor or a label a lie.
pub(super) fn check(
    file: &PlanFile,
    applications: &[Application<'_>],
    entries: &[Entry],
    overrides: &Overrides,
    report: &mut Report,
) {
    let before = report.problems.len();
    overridden(file, applications, overrides, report);
    unsent(file, applications, report);
    let Some(matrix) = &file.matrix else { return };
    if report.problems[before..].iter().any(Problem::is_error) {
        return;
    }
    let used: Vec<BTreeSet<String>> = applications.iter().map(|one| paths(file, one)).collect();
    for (index, (name, levels)) in matrix.factors.iter().enumerate() {
        let path = format!("matrix.{}", name.value);
        let idle: Vec<&str> = entries
            .iter()
            .zip(&used)
            .filter(|(entry, used)| has_levels(entry, index) && !changes(entry, index, used.contains(&path)))
            .map(|(entry, _)| entry.application.as_str())
            .collect();
        let nowhere = !used.iter().any(|used| used.contains(&path));
        if idle.is_empty() && !nowhere {
            continue;
        }
        let of = if nowhere || idle.len() == entries.len() {
            String::new()
        } else {
            format!(" of `{}`", idle.join("`, `"))
        };
        let wire = format!("[params] SOME_PARAMETER = \"{{{{matrix.{}}}}}\"", name.value);
        report.push(
            Problem::error("unused-factor", format!("the factor `{}` changes nothing{of}", name.value))
                .at(&name.span, "no parameter that a step reads, no load and no start depends on it")
                .at(
                    &levels.span,
                    if idle.is_empty() { "what it says would not be so" } else { "every level would measure the same" },
                )
                .help(format!(
                    "use it, for example with `{wire}`, or remove it; `repetitions` in [trials] measures the same again, and \
                     `exclude` in [matrix] leaves one level to an application that does not know it"
                )),
        );
    }
}

/// The placeholders on which the deployments and loads of an application depend. Labels only describe.
fn paths(file: &PlanFile, application: &Application<'_>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut add = |template: &Template| found.extend(template.paths().map(str::to_owned));
    let read = application.benchmark.read_params.get(&application.target);
    for (name, template) in templates_of_params(file, application) {
        if read.is_some_and(|read| read.contains(name)) {
            add(template);
        }
    }
    let choice = application.raw.load.as_ref().or(file.load.as_ref()).filter(|_| sends(application));
    match choice.map(|choice| &choice.value) {
        None => {}
        Some(LoadOrName::Inline(raw)) => {
            for template in load::templates(raw) {
                add(&template.value);
            }
        }
        Some(LoadOrName::Name(name)) => {
            add(&name.value);
            let named = file.loads.iter().flat_map(Map::iter);
            let chosen =
                named.filter(|(given, _)| !name.value.is_literal() || given.value == name.value.source());
            for (_, raw) in chosen {
                for template in load::templates(raw) {
                    add(&template.value);
                }
            }
        }
    }
    if let Some(Spanned { value: Or::Template(template), .. }) =
        file.trials.as_ref().and_then(|trials| trials.start.as_ref())
    {
        add(template);
    }
    found
}

/// Whether some invoke step of the application sends the load.
fn sends(application: &Application<'_>) -> bool {
    let target = application.benchmark.targets.get(&application.target);
    target.is_some_and(|target| target.invoke.iter().any(|step| matches!(step.action, Action::Load)))
}

/// Loads that no step sends. A plan's own load may be meant for others of its applications.
fn unsent(file: &PlanFile, applications: &[Application<'_>], report: &mut Report) {
    const HELP: &str = "write `load = true` in an invoke step instead of `run`, or remove the load";
    for application in applications.iter().filter(|application| !sends(application)) {
        if let Some(load) = &application.raw.load {
            report.push(
                Problem::warning(
                    "unused-load",
                    format!("no invoke step of `{}` sends this load", application.name),
                )
                .at(&first_line(&load.span, report), "nothing sends it")
                .help(HELP),
            );
        }
    }
    let Some(load) = &file.load else { return };
    let (senders, idle): (Vec<_>, Vec<_>) =
        applications.iter().filter(|application| application.raw.load.is_none()).partition(|one| sends(one));
    if idle.is_empty() {
        return;
    }
    let names: BTreeSet<&str> = idle.iter().map(|application| application.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let message = format!("no invoke step of `{}` sends this load", names.join("`, `"));
    let problem = if senders.is_empty() {
        Problem::warning("unused-load", message).help(HELP)
    } else {
        Problem::warning("unused-load", message).help(
            "write `load = true` in an invoke step instead of `run`, or give the load to the applications that send it",
        )
    };
    let label = if senders.is_empty() { "nothing sends it" } else { "not sent there" };
    report.push(problem.at(&first_line(&load.span, report), label));
}

/// Those that are in force: what an application says comes before what the plan says.
fn templates_of_params<'a>(
    file: &'a PlanFile,
    application: &Application<'a>,
) -> BTreeMap<&'a String, &'a Template> {
    let mut params: BTreeMap<&String, &Spanned<Or<Scalar>>> = BTreeMap::new();
    for (name, value) in [&file.params, &application.raw.params].into_iter().flatten().flat_map(Map::iter) {
        params.insert(&name.value, value);
    }
    let template = |(name, value): (&'a String, &'a Spanned<Or<Scalar>>)| match &value.value {
        Or::Template(template) => Some((name, template)),
        Or::Value(_) => None,
    };
    params.into_iter().filter_map(template).collect()
}

/// A parameter that follows a factor, or something that a label shows, is not for the command line.
fn overridden(file: &PlanFile, applications: &[Application<'_>], overrides: &Overrides, report: &mut Report) {
    let shown: BTreeSet<&str> =
        file.labels.iter().flat_map(Map::iter).flat_map(|(_, label)| label.value.paths()).collect();
    let mut said = BTreeSet::new();
    for application in applications {
        let templates = templates_of_params(file, application);
        for (name, _) in &overrides.params {
            let Some(template) = templates.get(name) else { continue };
            let lie = template.paths().find(|path| path.starts_with("matrix.") || shown.contains(path));
            if let Some(path) = lie.filter(|_| said.insert(name)) {
                report.push(
                    Problem::error(
                        "invalid-override",
                        format!("`-p {name}=…` overrides a parameter that follows `{path}` in the plan"),
                    )
                    .help(format!(
                        "points and labels would say one thing and be another: leave `-p {name}` out, or change `{path}` in the plan"
                    )),
                );
            }
        }
    }
}

fn has_levels(entry: &Entry, factor: usize) -> bool {
    let level = |point: &Point| point.factors.get(factor).map(|(_, level)| level.clone());
    let first = entry.points.first().and_then(level);
    entry.points.iter().any(|point| level(point) != first)
}

/// Whether some pair of points that differ in this factor only is measured differently. Without such a pair, being `used`
/// will do.
fn changes(entry: &Entry, factor: usize, used: bool) -> bool {
    if !used {
        return false;
    }
    let mut seen: HashMap<String, &Point> = HashMap::new();
    let mut compared = false;
    for point in &entry.points {
        let others = point.factors.iter().enumerate().filter(|(index, _)| *index != factor);
        let key = others.map(|(_, (_, level))| level.clone()).collect::<Value>().to_string();
        if let Some(first) = seen.get(&key) {
            compared = true;
            let same_load = Arc::ptr_eq(&first.load, &point.load) || first.load == point.load;
            if !same_load || first.params != point.params || first.start != point.start {
                return true;
            }
        } else {
            seen.insert(key, point);
        }
    }
    !compared
}
