//! What is written down and has no effect, and what stays behind: images and credentials that nobody asks for, targets that
//! nothing cleans up.

use std::collections::{BTreeMap, BTreeSet};

use crate::benchmark::{Action, Images, Phase, Sent, Target};
use crate::manifest::benchmark::{BenchmarkFile, WorkloadOrPath};
use crate::manifest::decode::Map;
use crate::manifest::problem::{Problem, Report};
use crate::validate::benchmark::PhaseDrafts;
use crate::validate::load::first_line;

/// Warns of what has no effect.
pub(super) fn check(
    file: &BenchmarkFile,
    phases: &[PhaseDrafts<'_>],
    targets: &BTreeMap<String, Target>,
    workload: Option<&Sent>,
    report: &mut Report,
) {
    images(file, phases, workload, report);
    unsent(file, targets, report);
    credentials(file, phases, report);
    for (name, raw) in file.targets.iter() {
        // Background steps end with the deployment by themselves.
        let of_target = |phase: Phase| {
            let drafts = phases.iter().filter(move |one| one.phase == phase).flat_map(|one| &one.drafts);
            let drafts = drafts.filter(|draft| draft.targets.contains(&name.value));
            drafts.filter(|draft| !matches!(draft.step.action, Action::Background(_))).count()
        };
        if targets.contains_key(&name.value) && of_target(Phase::Deploy) > 0 && of_target(Phase::Cleanup) == 0
        {
            let message = format!("nothing removes what is deployed to the target `{}`", name.value);
            let span = if name.span.is_empty() { &raw.span } else { &name.span };
            report.push(
                Problem::warning("no-cleanup", message)
                    .at(span, "has deploy steps and no cleanup step")
                    .help("add a [[cleanup]] step that removes it; for a `local` step: `local = { down = true }`"),
            );
        }
    }
}

/// The parameter that AWS's services are asked by, whether a step names it or not.
const REGION: &str = "region";

/// Warns of parameters that nothing reads: changing them would change nothing. `read` is by target.
pub(super) fn params(
    file: &BenchmarkFile,
    targets: &BTreeMap<String, Target>,
    read: &BTreeMap<String, BTreeSet<String>>,
    report: &mut Report,
) {
    // Without a step nothing asks for anything; a template that cannot be read may have parameters of these names, and a
    // parameter that cannot name others may name them.
    let has_steps =
        targets.values().any(|it| it.deploy.iter().chain(&it.invoke).chain(&it.cleanup).next().is_some());
    let is_open = |code: &str| {
        ["invalid-param", "invalid-template", "missing-file", "outside-root", "undefined-value"]
            .contains(&code)
    };
    let hidden = report.problems.iter().any(|problem| problem.is_error() && is_open(problem.code));
    if !has_steps || hidden {
        return;
    }
    for (name, _) in file.params.iter().flat_map(Map::iter) {
        if name.value == REGION || read.values().any(|read| read.contains(&name.value)) {
            continue;
        }
        report.push(
            Problem::warning("unused-param", format!("nothing reads the parameter `{}`", name.value))
                .at(&name.span, "has no effect")
                .help(format!(
                    "write `{{{{params.{}}}}}` in a step, in a request or in `parameters` of a `local` step, or remove it",
                    name.value
                )),
        );
    }
}

/// Warns of a workload that no target sends. A target without invoke steps sends it by itself.
fn unsent(file: &BenchmarkFile, targets: &BTreeMap<String, Target>, report: &mut Report) {
    let Some(workload) = &file.workload else { return };
    let sends = |target: &Target| target.invoke.iter().any(|step| matches!(step.action, Action::Load));
    if targets.is_empty() || targets.values().any(sends) {
        return;
    }
    report.push(
        Problem::warning("unused-workload", "no invoke step sends the requests of this workload")
            .at(&first_line(&workload.span, report), "nothing sends it")
            .help("write `load = true` in an [[invoke]] step instead of `run`, or remove the workload"),
    );
}

fn images(file: &BenchmarkFile, phases: &[PhaseDrafts<'_>], workload: Option<&Sent>, report: &mut Report) {
    let steps = phases.iter().flat_map(|phase| &phase.drafts).map(|draft| &draft.raw.value);
    let recoveries = steps.clone().flat_map(|step| step.recover.iter().flatten());
    let mut used: BTreeSet<&str> =
        steps.filter_map(|step| step.image.as_ref()).map(|image| image.value.as_str()).collect();
    used.extend(
        recoveries.filter_map(|recovery| recovery.value.image.as_ref()).map(|image| image.value.as_str()),
    );
    match file.workload.as_ref().map(|workload| &workload.value) {
        Some(WorkloadOrPath::Inline(workload)) => {
            used.extend(workload.image.as_ref().map(|image| image.value.as_str()));
        }
        // A file of its own may name any of them.
        Some(WorkloadOrPath::Path(_)) if matches!(workload, Some(Sent::Script(_)) | None) => return,
        _ => {}
    }
    // A name that is not known may be meant to be one of them.
    if report.problems.iter().any(|problem| problem.code == "unknown-image") {
        return;
    }
    for (name, image) in file.images.iter().flat_map(Map::iter) {
        // Those of the table of default images are used without being named.
        if !used.contains(name.value.as_str()) && !Images::has(&name.value) {
            report.push(
                Problem::warning("unused-image", format!("no step uses the image `{}`", name.value))
                    .at(&name.span, "has no effect")
                    .at(&image.span, "")
                    .help(format!("name it in a step, `image = \"{}\"`, or remove it", name.value)),
            );
        }
    }
}

fn credentials(file: &BenchmarkFile, phases: &[PhaseDrafts<'_>], report: &mut Report) {
    for (target, raw) in file.targets.iter() {
        let drafts = phases.iter().flat_map(|phase| &phase.drafts);
        let drafts: Vec<_> = drafts.filter(|draft| draft.targets.contains(&target.value)).collect();
        // Without a step nothing asks for anything.
        if drafts.is_empty() {
            continue;
        }
        let asked: BTreeSet<&str> = drafts
            .iter()
            .flat_map(|draft| {
                let recovered =
                    draft.step.recover.iter().flat_map(|recovery| &recovery.environment.credentials);
                draft.step.environment.credentials.iter().chain(recovered)
            })
            .map(String::as_str)
            .collect();
        for allowed in raw.value.credentials.iter().flatten().filter(|it| !asked.contains(it.value.as_str()))
        {
            report.push(
                Problem::warning(
                    "unused-credentials",
                    format!(
                        "no step of the target `{}` asks for `{}` credentials",
                        target.value, allowed.value
                    ),
                )
                .at(&allowed.span, "allowed, and never asked for")
                .help(format!(
                    "add `credentials = [\"{}\"]` to the steps that need them, or remove it here",
                    allowed.value
                )),
            );
        }
    }
}
