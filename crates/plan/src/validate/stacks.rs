//! Steps with `sam`: written out as what they are on each target's platform, and with the cleanup that they imply.
//!
//! On the local target such a step is a `local` one, and all that is checked of those is checked of it.

use crate::manifest::benchmark::{
    BenchmarkFile, LocalFile, PlatformWord, SamFile, StepFile, TargetFile, TracesFile, TracesWord,
};
use crate::manifest::problem::{Problem, Report, Span};
use crate::manifest::read::Files;
use crate::manifest::tree::Spanned;
use crate::manifest::values::OneOrMany;
use crate::validate::bicep::{self, Bicep};
use crate::validate::cdk::Cdk;
use crate::validate::check::ManifestFolder;
use crate::validate::terraform::Terraform;
use crate::validate::tools::{self, Surroundings};

/// Where a target is: as it says, or as its traces, its credentials and its name say.
fn platform(name: &str, target: &TargetFile) -> PlatformWord {
    if let Some(platform) = &target.platform {
        return platform.value;
    }
    let traces = target.traces.as_ref().map(|traces| &traces.value);
    match traces {
        Some(TracesFile::Word(TracesWord::Local)) => return PlatformWord::Local,
        Some(TracesFile::Word(TracesWord::Xray)) => return PlatformWord::Aws,
        _ => {}
    }
    let of = |word: &str| match word {
        "aws" => Some(PlatformWord::Aws),
        "azure" => Some(PlatformWord::Azure),
        "google" | "gcp" => Some(PlatformWord::Google),
        "local" => Some(PlatformWord::Local),
        _ => None,
    };
    // Credentials of several clouds tell nothing.
    let mut asked = target.credentials.iter().flatten().filter_map(|name| of(&name.value));
    match (asked.next(), asked.next()) {
        (Some(only), None) => only,
        _ => of(name).unwrap_or(PlatformWord::None),
    }
}

/// The manifest with its `sam`, `bicep`, `cdk` and `terraform` steps written out.
pub(super) fn written_out(
    file: &BenchmarkFile,
    files: &dyn Files,
    place: &ManifestFolder,
    report: &mut Report,
) -> BenchmarkFile {
    let mut whole = file.clone();
    let targets: Vec<(&str, PlatformWord)> = file
        .targets
        .iter()
        .map(|(name, target)| (name.value.as_str(), platform(&name.value, &target.value)))
        .collect();
    let each = |steps: &Option<Vec<Spanned<StepFile>>>, report: &mut Report| {
        let steps = steps.as_ref()?.iter();
        Some(steps.flat_map(|step| by_platform(step, &targets, report)).collect::<Vec<_>>())
    };
    whole.deploy = each(&file.deploy, report);
    whole.cleanup = each(&file.cleanup, report);
    let implied = implied(file, &targets);
    if !implied.is_empty() {
        whole.cleanup.get_or_insert_default().extend(implied);
    }
    without_deploy(&whole, &targets, report);
    bicep::check_shared_groups(whole.deploy.as_deref().unwrap_or_default(), report);
    let ceilings = file.targets.iter().map(|(name, target)| {
        let allowed = target.value.credentials.clone().unwrap_or_default();
        (name.value.clone(), allowed)
    });
    let around = Surroundings {
        files,
        place,
        targets: &targets,
        ceilings: &ceilings.collect(),
        params: file.params.as_ref(),
    };
    tools::write_out::<Bicep>(&mut whole, &around, report);
    tools::write_out::<Cdk>(&mut whole, &around, report);
    tools::write_out::<Terraform>(&mut whole, &around, report);
    whole
}

/// A step with `sam`, for the targets of each platform; any other as it is.
fn by_platform(
    step: &Spanned<StepFile>,
    targets: &[(&str, PlatformWord)],
    report: &mut Report,
) -> Vec<Spanned<StepFile>> {
    let Some(sam) = &step.value.sam else { return vec![step.clone()] };
    let names = names_of(&step.value, targets, &sam.span);
    let (mut local, mut stack) = (Vec::new(), Vec::new());
    for name in names {
        match targets.iter().find(|(known, _)| *known == name.value).map(|(_, platform)| *platform) {
            Some(PlatformWord::Local) => local.push(name),
            // That a target is not known is said once.
            Some(PlatformWord::Aws) | None => stack.push(name),
            Some(PlatformWord::Azure | PlatformWord::Google | PlatformWord::None) => {
                let message =
                    format!("`sam` deploys to AWS or to the local target, and `{}` is neither", name.value);
                report.push(Problem::error("step-action", message).at(&sam.span, "not on this target").help(
                    format!(
                        "limit the step to other targets with `target`, or write `platform = \"aws\"` in [targets.{}]",
                        name.value
                    ),
                ));
            }
        }
    }
    let mut steps = Vec::new();
    if !local.is_empty() {
        let mut of_local = step.clone();
        let file = sam.value.clone();
        of_local.value.target = Some(OneOrMany(local));
        // Two actions are reported where a stack is made of it.
        of_local.value.local = step.value.local.clone().or(Some(Spanned {
            value: LocalFile {
                template: file.template,
                parameters: file.parameters,
                services: file.services,
                down: file.down,
            },
            span: sam.span.clone(),
        }));
        if step.value.local.is_none() {
            of_local.value.sam = None;
        }
        steps.push(of_local);
    }
    if !stack.is_empty() {
        let mut of_stack = step.clone();
        of_stack.value.target = Some(OneOrMany(stack));
        // `sb` deploys as whoever runs it is known to AWS.
        if step.value.credentials.is_none() {
            of_stack.value.credentials =
                Some(vec![Spanned { value: "aws".to_owned(), span: sam.span.clone() }]);
        }
        steps.push(of_stack);
    }
    steps
}

pub(super) fn names_of(
    step: &StepFile,
    targets: &[(&str, PlatformWord)],
    span: &Span,
) -> Vec<Spanned<String>> {
    match &step.target {
        Some(given) => given.0.clone(),
        None => targets
            .iter()
            .map(|(name, _)| Spanned { value: (*name).to_owned(), span: span.clone() })
            .collect(),
    }
}

pub(super) fn runs_on(step: &StepFile, target: &str) -> bool {
    step.target.as_ref().is_none_or(|targets| targets.0.iter().any(|name| name.value == target))
}

/// The cleanup of templates that the manifest does not write out: what was deployed last goes first.
fn implied(file: &BenchmarkFile, targets: &[(&str, PlatformWord)]) -> Vec<Spanned<StepFile>> {
    let mut implied = Vec::new();
    for step in file.deploy.iter().flatten().rev() {
        let Some(sam) = &step.value.sam else { continue };
        for (target, platform) in targets.iter().filter(|(target, _)| runs_on(&step.value, target)) {
            let mut written = file.cleanup.iter().flatten();
            let name = &step.value.name.value;
            if !written.any(|other| other.value.name.value == *name && runs_on(&other.value, target)) {
                implied.extend(removal(step, target, *platform, &sam.span));
            }
        }
    }
    implied
}

/// The cleanup step of a deploy step on one target. None: nothing is deployed there, which was reported.
fn removal(
    step: &Spanned<StepFile>,
    target: &str,
    platform: PlatformWord,
    span: &Span,
) -> Option<Spanned<StepFile>> {
    let at = |value: &str| Spanned { value: value.to_owned(), span: span.clone() };
    let down = Some(Spanned { value: true, span: span.clone() });
    let (mut local, mut sam, mut credentials) = (None, None, None);
    match platform {
        PlatformWord::Local => {
            let value = LocalFile { template: None, parameters: None, services: None, down };
            local = Some(Spanned { value, span: span.clone() });
        }
        PlatformWord::Aws => {
            let value = SamFile { template: None, parameters: None, services: None, down };
            sam = Some(Spanned { value, span: span.clone() });
            credentials = Some(vec![at("aws")]);
        }
        PlatformWord::Azure | PlatformWord::Google | PlatformWord::None => return None,
    }
    let mut removal = without_action(&step.value, vec![at(target)], &step.span);
    removal.value.local = local;
    removal.value.sam = sam;
    removal.value.credentials = credentials;
    Some(removal)
}

/// A step of the same name, on these targets, with nothing to do.
pub(super) fn without_action(
    step: &StepFile,
    targets: Vec<Spanned<String>>,
    span: &Span,
) -> Spanned<StepFile> {
    let value = StepFile {
        name: step.name.clone(),
        target: Some(OneOrMany(targets)),
        needs: None,
        run: None,
        background: None,
        ready: None,
        wait: None,
        wait_for: None,
        load: None,
        local: None,
        sam: None,
        bicep: None,
        cdk: None,
        terraform: None,
        image: None,
        shell: None,
        env: None,
        workdir: None,
        user: None,
        network: None,
        limits: None,
        credentials: None,
        timeout: None,
        retry: None,
        allow_failure: None,
        recover: None,
        outputs: None,
        on_interrupt: None,
        locks: None,
    };
    Spanned { value, span: span.clone() }
}

/// Reports cleanup steps that remove a stack which no deploy step makes: they go by its name.
fn without_deploy(file: &BenchmarkFile, targets: &[(&str, PlatformWord)], report: &mut Report) {
    let makes = |name: &str, target: &str| {
        let mut steps = file.deploy.iter().flatten();
        steps.any(|step| {
            step.value.sam.is_some() && step.value.name.value == name && runs_on(&step.value, target)
        })
    };
    for step in file.cleanup.iter().flatten() {
        let Some(sam) = &step.value.sam else { continue };
        let name = &step.value.name.value;
        let on = targets.iter().filter(|(target, _)| runs_on(&step.value, target));
        for (target, _) in on.filter(|(target, _)| !makes(name, target)) {
            let message = format!("no deploy step called `{name}` makes a stack on the target `{target}`");
            report.push(
                Problem::error("step-action", message)
                    .at(&sam.span, "removes the stack of the step of its own name")
                    .help("give it the name of the deploy step with `sam`, or remove it: the cleanup is implied"),
            );
        }
    }
}
