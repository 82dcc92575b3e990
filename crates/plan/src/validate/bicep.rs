//! Steps with `bicep`: written out as commands of `az`, and with the cleanup that they imply.
//!
//! Each deployment has a resource group of its own, and everything of its template lies in it. So the group's deletion
//! removes everything. The group carries a tag with its own name: a group without that tag is never touched.

use std::fmt::Write as _;

use crate::manifest::benchmark::{
    BenchmarkFile, BicepFile, OutputFile, ParamFile, PlatformWord, RetryFile, RunFile, StepFile,
};
use crate::manifest::decode::{Map, Text};
use crate::manifest::problem::{Problem, Report, Span};
use crate::manifest::read::Files;
use crate::manifest::tree::Spanned;
use crate::manifest::values::{OneOrMany, Period};
use crate::validate::check::ManifestFolder;
use crate::validate::sam::unknown_parameters;
use crate::validate::stacks::{names_of, runs_on, without_action};
use crate::validate::step::{CLEANUP_ATTEMPTS, CLEANUP_PAUSE};
use sb_workload::template::{Piece, Template};

/// The image with `az`, and the credentials that it uses.
const AZURE: &str = "azure";
/// Names of resource groups have no others.
const OF_GROUPS: &str = "-_.()";

const BEGIN: &str = "set -eu
# az writes to the folder that it reads, which a container sees read-only.
if [ -d \"$HOME/.azure\" ] && [ ! -w \"$HOME/.azure\" ]; then
    AZURE_CONFIG_DIR=$(mktemp -d)
    cp -R \"$HOME/.azure/.\" \"$AZURE_CONFIG_DIR\"
    export AZURE_CONFIG_DIR
fi
";

/// `$group` is set before.
const FIND: &str = "found=$(az group exists --name \"$group\")
if [ \"$found\" = true ]; then
    owner=$(az group show --name \"$group\" --query 'tags.\"sb-deployment\"' --output tsv)
    [ \"$owner\" = \"$group\" ] || {
        echo \"the resource group $group has no tag sb-deployment=$group: it was not made by this step, and is left alone\" >&2
        exit 1
    }
";

const DELETE: &str = "    az group delete --name \"$group\" --yes
fi
resources=$(az resource list --tag sb-deployment=\"$group\" --query '[].id' --output tsv)
groups=$(az group list --tag sb-deployment=\"$group\" --query '[].id' --output tsv)
[ -z \"$resources$groups\" ] || { echo \"still there: $resources $groups\" >&2; exit 1; }
";

/// What the steps of a manifest are written out with.
pub(super) struct Surroundings<'a> {
    pub files: &'a dyn Files,
    pub place: &'a ManifestFolder,
    pub targets: &'a [(&'a str, PlatformWord)],
}

/// Writes out the steps with `bicep`. Those that have another action, or belong elsewhere, stay as they are: they are
/// reported with all other actions.
pub(super) fn write_out(file: &mut BenchmarkFile, around: &Surroundings<'_>, report: &mut Report) {
    let declared: Vec<Spanned<StepFile>> = file.deploy.iter().flatten().cloned().collect();
    let made: Vec<&Spanned<StepFile>> = declared.iter().filter(|step| template_of(step).is_some()).collect();
    if let Some(cleanup) = &mut file.cleanup {
        for step in cleanup.iter_mut() {
            remove_by_written(step, &made, around, report);
        }
        cleanup.retain(|step| !is_nothing(&step.value));
    }
    let mut implied = Vec::new();
    for step in made.iter().rev() {
        let targets = on_azure(step, around);
        let is_written = |target: &Text| {
            let mut steps = file.cleanup.iter().flatten();
            steps.any(|other| {
                other.value.name.value == step.value.name.value && runs_on(&other.value, &target.value)
            })
        };
        let targets: Vec<Text> = targets.into_iter().filter(|target| !is_written(target)).collect();
        if let Some(group) = step.value.bicep.as_ref().and_then(|bicep| bicep.value.group.as_ref())
            && !targets.is_empty()
        {
            let mut removal = without_action(&step.value, targets, &step.span);
            let StepFile { image, env, user, network, limits, credentials, .. } = step.value.clone();
            removal.value = StepFile { image, env, user, network, limits, credentials, ..removal.value };
            deletes(&mut removal.value, group, &group.span);
            implied.push(removal);
        }
    }
    if !implied.is_empty() {
        file.cleanup.get_or_insert_default().extend(implied);
    }
    if let Some(deploy) = &mut file.deploy {
        for step in deploy.iter_mut().filter(|step| template_of(step).is_some()) {
            make(step, file.params.as_ref(), around, report);
        }
        deploy.retain(|step| !is_nothing(&step.value));
    }
}

/// A step whose only action is a template.
fn template_of(step: &Spanned<StepFile>) -> Option<&Spanned<BicepFile>> {
    let bicep = step.value.bicep.as_ref().filter(|_| has_no_other_action(&step.value))?;
    Some(bicep).filter(|bicep| bicep.value.template.is_some() && bicep.value.down.is_none())
}

fn has_no_other_action(step: &StepFile) -> bool {
    step.run.is_none()
        && step.wait.is_none()
        && step.wait_for.is_none()
        && step.load.is_none()
        && step.local.is_none()
        && step.sam.is_none()
}

/// A step that was reported, and of which nothing is left that could be checked.
fn is_nothing(step: &StepFile) -> bool {
    step.target.as_ref().is_some_and(|targets| targets.0.is_empty())
}

fn on_azure(step: &Spanned<StepFile>, around: &Surroundings<'_>) -> Vec<Text> {
    let span = step.value.bicep.as_ref().map_or(&step.span, |bicep| &bicep.span);
    let names = names_of(&step.value, around.targets, span).into_iter();
    let is_azure = |name: &str| around.targets.contains(&(name, PlatformWord::Azure));
    names.filter(|name| is_azure(&name.value)).collect()
}

/// Limits a step to the targets on Azure, and reports the others.
fn limit_to_azure(step: &mut Spanned<StepFile>, around: &Surroundings<'_>, report: &mut Report) {
    let Some(span) = step.value.bicep.as_ref().map(|bicep| bicep.span.clone()) else { return };
    for name in names_of(&step.value, around.targets, &span) {
        let other = around.targets.iter().find(|(known, _)| *known == name.value);
        if other.is_some_and(|(_, platform)| *platform != PlatformWord::Azure) {
            let message = format!("`bicep` deploys to Azure, and `{}` is another platform", name.value);
            report.push(Problem::error("step-action", message).at(&span, "not on this target").help(format!(
                "limit the step to other targets with `target`, or write `platform = \"azure\"` in [targets.{}]",
                name.value
            )));
        }
    }
    // That a target is not known is said once.
    let unknown = names_of(&step.value, around.targets, &span);
    let unknown =
        unknown.into_iter().filter(|name| around.targets.iter().all(|(known, _)| *known != name.value));
    let targets = on_azure(step, around).into_iter().chain(unknown).collect();
    step.value.target = Some(OneOrMany(targets));
}

/// A deploy step as the commands that make the group, and in it what the template says.
fn make(
    step: &mut Spanned<StepFile>,
    params: Option<&Map<Spanned<ParamFile>>>,
    around: &Surroundings<'_>,
    report: &mut Report,
) {
    limit_to_azure(step, around, report);
    reject_keys(&step.value, report);
    let Some(bicep) = step.value.bicep.take() else { return };
    let span = &bicep.span;
    let file = &bicep.value;
    let Some(template) = &file.template else { return };
    let path = around.place.existing(around.files, template, false, "the Bicep template", report);
    let group = required(file.group.as_ref(), "group", "sb-shop-{{params.deploy_id}}", span, report);
    let location = required(file.location.as_ref(), "location", "eastus", span, report);
    check_group(file.group.as_ref(), params, report);
    let text = around.files.read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).ok();
    let declared = text.as_deref().map(Declarations::read);
    let values = declared.as_ref().map_or_else(String::new, |declared| {
        let names: Vec<String> = declared.parameters.iter().map(|(name, _)| name.clone()).collect();
        unknown_parameters(file.parameters.as_ref(), &names, "no `param` of this name", report);
        values(declared, file.parameters.as_ref(), params, span, report)
    });
    let mut script = format!("{BEGIN}group={}\n{FIND}", shell_word(&group));
    let _ = write!(
        script,
        "else\n    az group create --name \"$group\" --location {} --output none \\\n        --tags sb-deployment=\"$group\" sb-benchmark={{{{benchmark.name}}}} sb-run={{{{run.id}}}}\nfi\n",
        shell_word(&location),
    );
    let _ = writeln!(
        script,
        "az deployment group create --resource-group \"$group\" --name main --template-file {} \\\n    --query properties.outputs --output json{values}",
        literal_word(&template.value),
    );
    step.value.run = Some(command(&script, span));
    if step.value.outputs.is_none() {
        let outputs = declared.into_iter().flat_map(|declared| declared.outputs);
        step.value.outputs = Some(Map(outputs.map(|name| output(name, span)).collect()));
    }
    with_az(&mut step.value, span);
}

/// A cleanup step with `down`, as the commands that delete the group of the deploy step of its name.
fn remove_by_written(
    step: &mut Spanned<StepFile>,
    made: &[&Spanned<StepFile>],
    around: &Surroundings<'_>,
    report: &mut Report,
) {
    let is_down = |bicep: &Spanned<BicepFile>| {
        let file = &bicep.value;
        file.down.as_ref().is_some_and(|down| down.value)
            && file.template.is_none()
            && file.group.is_none()
            && file.location.is_none()
            && file.parameters.is_none()
    };
    let span = match &step.value.bicep {
        Some(bicep) if has_no_other_action(&step.value) && is_down(bicep) => bicep.span.clone(),
        _ => return,
    };
    limit_to_azure(step, around, report);
    reject_keys(&step.value, report);
    let targets = on_azure(step, around);
    let makes = |deploy: &&&Spanned<StepFile>, target: &Text| {
        deploy.value.name.value == step.value.name.value && runs_on(&deploy.value, &target.value)
    };
    let mut group = None;
    for target in &targets {
        match made.iter().find(|deploy| makes(deploy, target)) {
            Some(deploy) => {
                let of_step = deploy.value.bicep.as_ref();
                group = group.or(of_step.and_then(|bicep| bicep.value.group.clone()));
            }
            None => report.push(
                Problem::error(
                    "step-action",
                    format!(
                        "no deploy step called `{}` deploys a Bicep template on the target `{}`",
                        step.value.name.value, target.value
                    ),
                )
                .at(&span, "deletes the resource group of the step of its own name")
                .help(
                    "give it the name of the deploy step with `bicep`, or remove it: the cleanup is implied",
                ),
            ),
        }
    }
    step.value.bicep = None;
    match group {
        Some(group) => deletes(&mut step.value, &group, &span),
        // Reported, here or at the deploy step.
        None => step.value.target = Some(OneOrMany(Vec::new())),
    }
}

/// Makes a step of cleanup the one that deletes a group. It is tried again: Azure's index of tags lags behind.
fn deletes(step: &mut StepFile, group: &Spanned<Template>, span: &Span) {
    let script = format!("{BEGIN}group={}\n{FIND}{DELETE}", shell_word(&group.value));
    step.run = Some(command(&script, span));
    if step.retry.is_none() {
        let at = |value| Spanned { value, span: span.clone() };
        step.retry = Some(RetryFile {
            attempts: at(i64::from(CLEANUP_ATTEMPTS)),
            delay: Some(Spanned { value: Period(CLEANUP_PAUSE), span: span.clone() }),
            backoff: None,
            max_delay: None,
            on: None,
        });
    }
    with_az(step, span);
}

fn with_az(step: &mut StepFile, span: &Span) {
    let azure = || Spanned { value: AZURE.to_owned(), span: span.clone() };
    step.image.get_or_insert_with(azure);
    step.credentials.get_or_insert_with(|| vec![azure()]);
}

fn command(script: &str, span: &Span) -> Spanned<RunFile> {
    // What cannot be read stays as it is, and was reported where it is written.
    let (template, _) = Template::parse_all(script);
    Spanned { value: RunFile::Shell(template), span: span.clone() }
}

fn output(name: String, span: &Span) -> (Spanned<String>, Spanned<OutputFile>) {
    let at = |value: String| Spanned { value, span: span.clone() };
    let value = OutputFile {
        json: Some(at(format!("/{name}/value"))),
        regex: None,
        line: None,
        stdout: None,
        file: None,
        default: None,
        secret: None,
    };
    (at(name), Spanned { value, span: span.clone() })
}

fn required(
    given: Option<&Spanned<Template>>,
    key: &str,
    example: &str,
    span: &Span,
    report: &mut Report,
) -> Template {
    if let Some(given) = given {
        return given.value.clone();
    }
    report.push(
        Problem::error("missing-key", format!("a `bicep` step needs `{key}`"))
            .at(span, format!("without `{key}`"))
            .help(format!("add it: `{key} = \"{example}\"`")),
    );
    Template::parse_all("none").0
}

/// A group that two deployments share would be deleted by the first that is cleaned up.
fn check_group(
    group: Option<&Spanned<Template>>,
    params: Option<&Map<Spanned<ParamFile>>>,
    report: &mut Report,
) {
    let Some(group) = group else { return };
    let is_drawn = |path: &str| {
        let param = path.strip_prefix("params.").and_then(|name| params?.get(name));
        matches!(param.map(|param| &param.value), Some(ParamFile::Source(source)) if source.random_hex.is_some())
    };
    if !group.value.paths().any(is_drawn) {
        report.push(
            Problem::error("step-action", "deployments would have the same resource group")
                .at(&group.span, "nothing in it differs by deployment")
                .help(
                    "add a parameter that is drawn for each deployment, `deploy_id = { random_hex = 10 }`, and write \
                     it into the name: \"sb-shop-{{params.deploy_id}}\"",
                ),
        );
    }
    let literals = group.value.pieces().iter().filter_map(|piece| match piece {
        Piece::Literal(text) => Some(text),
        Piece::Value { .. } => None,
    });
    let wrong =
        literals.flat_map(|text| text.chars()).find(|c| !c.is_alphanumeric() && !OF_GROUPS.contains(*c));
    if let Some(wrong) = wrong {
        report.push(
            Problem::error("step-action", format!("the name of a resource group cannot hold `{wrong}`"))
                .at(&group.span, "not a name of a resource group")
                .help("use letters, digits, `-`, `_`, `.` and round brackets"),
        );
    }
}

/// Keys that a step written out as a command would have, and this one cannot.
fn reject_keys(step: &StepFile, report: &mut Report) {
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
    if let Some((name, _)) = step.outputs.as_ref().and_then(|outputs| outputs.0.first()) {
        report.push(
            Problem::error("invalid-output", "a `bicep` step has the outputs of its template")
                .at(&name.span, "writes nothing else that could be read")
                .help("remove `outputs`, or add an `output` to the template"),
        );
    }
}

/// The words with the values of a template's parameters: those of the step, then the benchmark's of the same names.
fn values(
    declared: &Declarations,
    given: Option<&Map<Spanned<Template>>>,
    params: Option<&Map<Spanned<ParamFile>>>,
    span: &Span,
    report: &mut Report,
) -> String {
    let mut words = String::new();
    for (name, has_default) in &declared.parameters {
        let by_benchmark = || {
            let mut params = params.into_iter().flat_map(Map::iter);
            let (found, _) =
                params.find(|(param, value)| camel(&param.value) == *name && !is_secret(&value.value))?;
            Some(Template::value(&format!("params.{}", found.value)))
        };
        match given.and_then(|given| given.get(name)).map(|value| value.value.clone()).or_else(by_benchmark) {
            Some(value) => {
                let _ = write!(words, " {name}={}", shell_word(&value));
            }
            None if *has_default => {}
            None => report.push(
                Problem::error("invalid-template", format!("the template's parameter `{name}` has no value"))
                    .at(span, "deploys it")
                    .help(format!(
                        "add it to `parameters`, or give `param {name}` a default in the template"
                    )),
            ),
        }
    }
    if words.is_empty() { words } else { format!(" \\\n    --parameters{words}") }
}

fn is_secret(param: &ParamFile) -> bool {
    matches!(param, ParamFile::Source(source) if source.secret == Some(true))
}

/// `deploy_id` as `deployId`, by which Bicep templates call it.
fn camel(name: &str) -> String {
    let mut words = name.split(['_', '-']).filter(|word| !word.is_empty());
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        camel.push_str(&first.to_uppercase());
        camel.push_str(rest);
    }
    camel
}

/// A template as one word for the shell. Its own text is quoted here, its values where the command is made.
fn shell_word(template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Literal(text) => literal_word(text),
        Piece::Value { path, .. } => format!("{{{{{path}}}}}"),
    };
    template.pieces().iter().map(piece).collect()
}

fn literal_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    // Braces in it are no placeholders.
    format!("'{}'", text.replace('\'', "'\\''").replace("{{", "\\{{"))
}

/// What a Bicep template declares.
#[derive(Debug, PartialEq, Eq)]
struct Declarations {
    /// Names of parameters, and whether each may be left out.
    parameters: Vec<(String, bool)>,
    /// Names of outputs.
    outputs: Vec<String>,
}

impl Declarations {
    fn read(text: &str) -> Self {
        let mut declared = Self { parameters: Vec::new(), outputs: Vec::new() };
        for line in plain_lines(text).lines() {
            let mut words = line.split_whitespace();
            let (Some(word), Some(name)) = (words.next(), words.next()) else { continue };
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            match word {
                "param" if is_name => {
                    let kind = words.next().unwrap_or_default();
                    let has_default = kind.ends_with('?') || line.contains('=');
                    declared.parameters.push((name.to_owned(), has_default));
                }
                "output" if is_name => declared.outputs.push(name.to_owned()),
                _ => {}
            }
        }
        declared
    }
}

/// The text without comments, and without what strings hold: lines that begin with a word are declarations.
fn plain_lines(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if let Some(inside) = rest.strip_prefix("'''") {
            inside.find("'''").map_or(rest.len(), |at| at + 6)
        } else if first == '\'' {
            string(rest)
        } else {
            plain.push(first);
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    plain
}

/// The length of a string of one line, quotes included. What is written in `${…}` of it may hold strings, too: each quote
/// ends or begins one, and none of them holds a line end.
fn string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return at,
            '\'' if !is_escaped => return at + 1,
            _ => is_escaped = c == '\\' && !is_escaped,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_told_from_comments_and_strings() {
        #[track_caller]
        fn check(text: &str, parameters: &[(&str, bool)], outputs: &[&str]) {
            let found = Declarations::read(text);
            let parameters: Vec<_> = parameters.iter().map(|(name, it)| ((*name).to_owned(), *it)).collect();
            assert_eq!(
                (found.parameters, found.outputs),
                (parameters, outputs.iter().map(ToString::to_string).collect())
            );
        }
        check("", &[], &[]);
        check(
            "param a string\nparam b int = 1\r\n  param c string?",
            &[("a", false), ("b", true), ("c", true)],
            &[],
        );
        check("param url string = 'http://x/*'\nparam b int", &[("url", true), ("b", false)], &[]);
        check(
            "/* param a string\n*/ output b string = 'it\\'s'\noutput c int = 1 // output d",
            &[],
            &["b", "c"],
        );
        check("var a = '''\nparam b string\n'''\noutput c string = a", &[], &["c"]);
        check("/* never closed\nparam a string", &[], &[]);
        check("var a = 'never closed\nparam b string", &[("b", false)], &[]);
        check("param\noutput\nparam a=b", &[], &[]);
    }

    #[test]
    fn parameters_have_the_names_of_bicep() {
        for (name, expected) in
            [("deploy_id", "deployId"), ("region", "region"), ("a_b-c", "aBC"), ("_x", "x"), ("a_éa", "aÉa")]
        {
            assert_eq!(camel(name), expected);
        }
    }
}
