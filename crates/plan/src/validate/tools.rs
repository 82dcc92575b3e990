//! Steps that deploy with the command line of a tool: written out as its commands, and with the cleanup that they imply.
//!
//! What tools have in common is here, and each tool is a file beside this one. A step that was written out keeps the tool's
//! table. Its `run` has the very same place in the manifest, which no step that says both can have.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::benchmark;
use crate::manifest::benchmark::{
    BenchmarkFile, OutputFile, ParamFile, PlatformWord, RetryFile, RunFile, StepFile,
};
use crate::manifest::decode::{Map, Text};
use crate::manifest::problem::{Problem, Report, Span};
use crate::manifest::read::Files;
use crate::manifest::tree::Spanned;
use crate::manifest::values::{OneOrMany, Period};
use crate::validate::bicep::Bicep;
use crate::validate::cdk::Cdk;
use crate::validate::check::ManifestFolder;
use crate::validate::stacks::{names_of, runs_on, without_action};
use crate::validate::step::{CLEANUP_ATTEMPTS, CLEANUP_PAUSE};
use crate::validate::terraform::Terraform;
use sb_workload::template::{Piece, Template};

/// What the steps of a manifest are written out with.
pub(super) struct Surroundings<'a> {
    pub files: &'a dyn Files,
    pub place: &'a ManifestFolder,
    pub targets: &'a [(&'a str, PlatformWord)],
    /// The most that steps may ask for, by target.
    pub ceilings: &'a BTreeMap<String, Vec<Text>>,
    pub params: Option<&'a Map<Spanned<ParamFile>>>,
}

/// What the table of a tool in a step asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Deploy,
    /// `down = true`, and nothing else.
    Remove,
    /// Neither, or both.
    Unclear,
}

/// A tool. Its table in a step is called as the tool.
pub(super) trait CommandLine {
    const TOOL: benchmark::Tool;
    /// What it deploys, in a few words: "a Bicep template".
    const WHAT: &'static str;
    /// What its cleanup removes: "deletes the resource group".
    const REMOVES: &'static str;
    /// Where it deploys, in a word; none: everywhere.
    const PLATFORM: Option<(PlatformWord, &'static str, &'static str)>;

    /// Whether it declares its outputs, so that the manifest needs not.
    const DECLARES_OUTPUTS: bool = true;

    /// The place of its table in a step, and what that asks for.
    fn asked(step: &StepFile) -> Option<(&Span, Asked)>;

    /// Makes a deploy step the commands that deploy.
    fn deploy(step: &mut StepFile, around: &Surroundings<'_>, report: &mut Report);

    /// Makes a cleanup step the commands that remove what `deploy` has deployed. `deploy` is as the manifest says it.
    fn remove(step: &mut StepFile, deploy: &StepFile, span: &Span);
}

/// Writes out the steps with a tool. Those that have another action, or belong elsewhere, stay as they are: they are
/// reported with all other actions.
pub(super) fn write_out<T: CommandLine>(
    file: &mut BenchmarkFile,
    around: &Surroundings<'_>,
    report: &mut Report,
) {
    let declared: Vec<Spanned<StepFile>> = file.deploy.iter().flatten().cloned().collect();
    let made: Vec<&Spanned<StepFile>> = declared.iter().filter(|step| is::<T>(step, Asked::Deploy)).collect();
    if let Some(cleanup) = &mut file.cleanup {
        for step in cleanup.iter_mut().filter(|step| is::<T>(step, Asked::Remove)) {
            remove_by_written::<T>(step, &made, around, report);
        }
        cleanup.retain(|step| !is_nothing(&step.value));
    }
    let mut implied = Vec::new();
    for step in made.iter().rev() {
        let is_written = |target: &Text| {
            let mut steps = file.cleanup.iter().flatten();
            steps.any(|other| {
                other.value.name.value == step.value.name.value && runs_on(&other.value, &target.value)
            })
        };
        let targets: Vec<Text> =
            targets_of::<T>(step, around).into_iter().filter(|target| !is_written(target)).collect();
        let Some((span, _)) = T::asked(&step.value).filter(|_| !targets.is_empty()) else { continue };
        let mut removal = without_action(&step.value, targets, &step.span);
        let StepFile { image, env, user, network, limits, credentials, .. } = step.value.clone();
        removal.value = StepFile { image, env, user, network, limits, credentials, ..removal.value };
        T::remove(&mut removal.value, &step.value, span);
        implied.extend(by_credentials(removal, around));
    }
    if !implied.is_empty() {
        file.cleanup.get_or_insert_default().extend(implied);
    }
    if let Some(deploy) = &mut file.deploy {
        for step in deploy.iter_mut().filter(|step| is::<T>(step, Asked::Deploy)) {
            limit::<T>(step, around, report);
            reject_keys::<T>(&step.value, report);
            T::deploy(&mut step.value, around, report);
        }
        deploy.retain(|step| !is_nothing(&step.value));
        let is_ours = |step: &Spanned<StepFile>| is_written_out(&step.value) == Some(T::TOOL);
        let all = std::mem::take(deploy).into_iter();
        *deploy = all
            .flat_map(|step| if is_ours(&step) { by_credentials(step, around) } else { vec![step] })
            .collect();
    }
    if let Some(cleanup) = &mut file.cleanup {
        let is_ours = |step: &Spanned<StepFile>| is_written_out(&step.value) == Some(T::TOOL);
        let all = std::mem::take(cleanup).into_iter();
        *cleanup = all
            .flat_map(|step| if is_ours(&step) { by_credentials(step, around) } else { vec![step] })
            .collect();
    }
}

/// The tool whose commands a step is written out as. None: it is no such step, or it says another action beside.
pub(super) fn is_written_out(step: &StepFile) -> Option<benchmark::Tool> {
    let run = &step.run.as_ref()?.span;
    tables(step).into_iter().find(|(_, span)| *span == run).map(|(tool, _)| tool)
}

/// The tables of tools in a step.
pub(super) fn tables(step: &StepFile) -> Vec<(benchmark::Tool, &Span)> {
    [
        (benchmark::Tool::Bicep, step.bicep.as_ref().map(|it| &it.span)),
        (benchmark::Tool::Cdk, step.cdk.as_ref().map(|it| &it.span)),
        (benchmark::Tool::Terraform, step.terraform.as_ref().map(|it| &it.span)),
    ]
    .into_iter()
    .filter_map(|(tool, span)| Some((tool, span?)))
    .collect()
}

/// Reports a tool's table in a phase where it has no meaning, or with other keys than it takes there.
pub(super) fn misplaced(tool: benchmark::Tool, step: &StepFile, span: &Span, report: &mut Report) {
    let (key, example, asked) = match tool {
        benchmark::Tool::Bicep => {
            ("template", "template = \"main.bicep\", group = …, location = …", Bicep::asked(step))
        }
        benchmark::Tool::Cdk => ("dir", "dir = \"infra\"", Cdk::asked(step)),
        benchmark::Tool::Terraform => ("dir", "dir = \"infra\"", Terraform::asked(step)),
    };
    let name = tool.name();
    let (message, help) = match asked.map(|(_, asked)| asked) {
        Some(Asked::Deploy) => (
            format!("`{name} = {{ {key} = … }}` belongs to deploy steps"),
            "move the step to [[deploy]]".to_owned(),
        ),
        Some(Asked::Remove) => (
            format!("`{name} = {{ down = true }}` belongs to cleanup steps"),
            "move the step to [[cleanup]]".to_owned(),
        ),
        Some(Asked::Unclear) | None => (
            format!("`{name}` takes either `{key}`, with values for it, or `down = true`"),
            format!("write `{{ {example} }}` to deploy; its cleanup needs no step"),
        ),
    };
    report.push(Problem::error("step-action", message).at(span, "not here").help(help));
}

/// Whether a step has no action but the table of this tool, which asks for this.
fn is<T: CommandLine>(step: &Spanned<StepFile>, wanted: Asked) -> bool {
    let step = &step.value;
    let has_other = step.run.is_some()
        || step.wait.is_some()
        || step.wait_for.is_some()
        || step.load.is_some()
        || step.local.is_some()
        || step.sam.is_some()
        || tables(step).len() > 1;
    !has_other && T::asked(step).is_some_and(|(_, asked)| asked == wanted)
}

/// A step that was reported, and of which nothing is left that could be checked.
fn is_nothing(step: &StepFile) -> bool {
    step.target.as_ref().is_some_and(|targets| targets.0.is_empty())
}

/// The targets of a step to which the tool can deploy.
fn targets_of<T: CommandLine>(step: &Spanned<StepFile>, around: &Surroundings<'_>) -> Vec<Text> {
    let span = T::asked(&step.value).map_or(&step.span, |(span, _)| span);
    let names = names_of(&step.value, around.targets, span).into_iter();
    let fits = |name: &str| match T::PLATFORM {
        Some((platform, ..)) => around.targets.contains(&(name, platform)),
        None => around.targets.iter().any(|(known, _)| *known == name),
    };
    names.filter(|name| fits(&name.value)).collect()
}

/// Limits a step to the targets of the tool's platform, and reports the others.
fn limit<T: CommandLine>(step: &mut Spanned<StepFile>, around: &Surroundings<'_>, report: &mut Report) {
    let Some((span, _)) = T::asked(&step.value) else { return };
    let span = span.clone();
    let names = names_of(&step.value, around.targets, &span);
    if let Some((platform, called, word)) = T::PLATFORM {
        for name in &names {
            let other = around.targets.iter().find(|(known, _)| *known == name.value);
            if other.is_some_and(|(_, of)| *of != platform) {
                let message = format!(
                    "`{}` deploys to {called}, and `{}` is another platform",
                    T::TOOL.name(),
                    name.value
                );
                report.push(Problem::error("step-action", message).at(&span, "not on this target").help(format!(
                    "limit the step to other targets with `target`, or write `platform = \"{word}\"` in [targets.{}]",
                    name.value
                )));
            }
        }
    }
    // That a target is not known is said once.
    let unknown =
        names.into_iter().filter(|name| around.targets.iter().all(|(known, _)| *known != name.value));
    let targets = targets_of::<T>(step, around).into_iter().chain(unknown).collect();
    step.value.target = Some(OneOrMany(targets));
}

/// A cleanup step with `down`, as the commands that remove what the deploy step of its name deploys.
fn remove_by_written<T: CommandLine>(
    step: &mut Spanned<StepFile>,
    made: &[&Spanned<StepFile>],
    around: &Surroundings<'_>,
    report: &mut Report,
) {
    let Some((span, _)) = T::asked(&step.value) else { return };
    let span = span.clone();
    limit::<T>(step, around, report);
    reject_keys::<T>(&step.value, report);
    let makes = |deploy: &&&Spanned<StepFile>, target: &Text| {
        deploy.value.name.value == step.value.name.value && runs_on(&deploy.value, &target.value)
    };
    let mut deploy: Option<&StepFile> = None;
    for target in &targets_of::<T>(step, around) {
        match made.iter().find(|deploy| makes(deploy, target)) {
            Some(found) => deploy = deploy.or(Some(&found.value)),
            None => report.push(
                Problem::error(
                    "step-action",
                    format!(
                        "no deploy step called `{}` deploys {} on the target `{}`",
                        step.value.name.value,
                        T::WHAT,
                        target.value
                    ),
                )
                .at(&span, format!("{} of the step of its own name", T::REMOVES))
                .help(format!(
                    "give it the name of the deploy step with `{}`, or remove it: the cleanup is implied",
                    T::TOOL.name()
                )),
            ),
        }
    }
    match deploy {
        Some(deploy) => T::remove(&mut step.value, deploy, &span),
        // Reported, here or at the deploy step.
        None => step.value.target = Some(OneOrMany(Vec::new())),
    }
}

/// A step that names no credentials has those that its targets allow: one step for all targets that allow the same.
fn by_credentials(step: Spanned<StepFile>, around: &Surroundings<'_>) -> Vec<Spanned<StepFile>> {
    if step.value.credentials.is_some() {
        return vec![step];
    }
    let mut steps: Vec<Spanned<StepFile>> = Vec::new();
    for name in names_of(&step.value, around.targets, &step.span) {
        let allowed = around.ceilings.get(&name.value).cloned().unwrap_or_default();
        let names = |given: &[Text]| given.iter().map(|it| it.value.clone()).collect::<Vec<_>>();
        let alike = steps
            .iter_mut()
            .find(|other| names(other.value.credentials.as_deref().unwrap_or_default()) == names(&allowed));
        match alike.and_then(|other| other.value.target.as_mut()) {
            Some(targets) => targets.0.push(name),
            None => {
                let mut one = step.clone();
                one.value.target = Some(OneOrMany(vec![name]));
                one.value.credentials = Some(allowed);
                steps.push(one);
            }
        }
    }
    steps
}

/// Keys that a step written out as a command would have, and this one cannot.
fn reject_keys<T: CommandLine>(step: &StepFile, report: &mut Report) {
    let given = [
        ("shell", step.shell.as_ref().map(|it| &it.span)),
        ("workdir", step.workdir.as_ref().map(|it| &it.span)),
        ("background", step.background.as_ref().map(|it| &it.span)),
        ("ready", step.ready.as_ref().map(|it| &it.span)),
    ];
    for (key, span) in given.into_iter().filter_map(|(key, span)| Some((key, span?))) {
        report.push(
            Problem::error("step-action", format!("`{key}` belongs to steps with `run`"))
                .at(span, "has no effect here")
                .help(format!("remove `{key}`, or move it to a step with `run`")),
        );
    }
    if !T::DECLARES_OUTPUTS {
        return;
    }
    if let Some((name, _)) = step.outputs.as_ref().and_then(|outputs| outputs.0.first()) {
        let message = format!("a `{}` step has the outputs of what it deploys", T::TOOL.name());
        report.push(
            Problem::error("invalid-output", message)
                .at(&name.span, "writes nothing else that could be read")
                .help("remove `outputs`, or add an `output` to what is deployed"),
        );
    }
}

/// Tries a cleanup again, unless the manifest says how often: what a cloud has removed, it may still list for a while.
pub(super) fn tried_again(step: &mut StepFile, span: &Span) {
    if step.retry.is_none() {
        step.retry = Some(retry(CLEANUP_ATTEMPTS, CLEANUP_PAUSE, span));
    }
}

fn retry(attempts: u32, pause: Duration, span: &Span) -> RetryFile {
    RetryFile {
        attempts: Spanned { value: i64::from(attempts), span: span.clone() },
        delay: Some(Spanned { value: Period(pause), span: span.clone() }),
        backoff: None,
        max_delay: None,
        on: None,
    }
}

pub(super) fn command(script: &str, span: &Span) -> Spanned<RunFile> {
    // What cannot be read stays as it is, and was reported where it is written.
    let (template, _) = Template::parse_all(script);
    Spanned { value: RunFile::Shell(template), span: span.clone() }
}

/// An output of the tool, as its JSON on standard output has it: `{ NAME: { value: … } }`.
pub(super) fn output(name: String, secret: bool, span: &Span) -> (Spanned<String>, Spanned<OutputFile>) {
    let at = |value: String| Spanned { value, span: span.clone() };
    let value = OutputFile {
        json: Some(at(format!("/{name}/value"))),
        regex: None,
        line: None,
        stdout: None,
        file: None,
        default: None,
        secret: secret.then_some(true),
    };
    (at(name), Spanned { value, span: span.clone() })
}

/// Whether the value of a parameter is kept out of argument lists and logs.
pub(super) fn is_secret(param: &ParamFile) -> bool {
    matches!(param, ParamFile::Source(source) if source.secret == Some(true))
}

/// A template as one word for the shell. Its own text is quoted here, its values where the command is made.
pub(super) fn shell_word(template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Literal(text) => literal_word(text),
        Piece::Value { path, .. } => format!("{{{{{path}}}}}"),
    };
    template.pieces().iter().map(piece).collect()
}

/// A text as one word for the shell.
pub(super) fn literal_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    // Braces in it are no placeholders.
    format!("'{}'", text.replace('\'', "'\\''").replace("{{", "\\{{"))
}
