//! Steps with `bicep`: written out as commands of `az`, and with the cleanup that they imply.
//!
//! Each deployment has a resource group of its own, and everything of its template lies in it. So the group's deletion
//! removes everything. The group carries a tag with its own name: a group without that tag is never touched.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::benchmark::Tool;
use crate::manifest::benchmark::{BicepFile, ParamFile, PlatformWord, StepFile};
use crate::manifest::decode::Map;
use crate::manifest::problem::{Problem, Report, Span};
use crate::manifest::tree::Spanned;
use crate::manifest::values::OneOrMany;
use crate::validate::sam::unknown_parameters;
use crate::validate::tools::{
    Asked, CommandLine, Surroundings, command, is_secret, literal_word, output, shell_word, tried_again,
};
use sb_workload::template::{Piece, Template};

/// The image with `az`, and the credentials that it uses.
const AZURE: &str = "azure";
/// Names of resource groups have no others.
const OF_GROUPS: &str = "-_.()";
/// Characters of the name of a resource group (Azure Resource Manager, "Naming rules and restrictions").
const LONGEST_GROUP: usize = 90;

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

/// `bicep = { … }`, by the command line of Azure.
pub(super) struct Bicep;

impl CommandLine for Bicep {
    const TOOL: Tool = Tool::Bicep;
    const WHAT: &'static str = "a Bicep template";
    const REMOVES: &'static str = "deletes the resource group";
    const PLATFORM: Option<(PlatformWord, &'static str, &'static str)> =
        Some((PlatformWord::Azure, "Azure", "azure"));

    fn asked(step: &StepFile) -> Option<(&Span, Asked)> {
        let Spanned { value: file, span } = step.bicep.as_ref()?;
        let has_values = file.group.is_some() || file.location.is_some() || file.parameters.is_some();
        let asked = match (&file.template, &file.down) {
            (Some(_), None) => Asked::Deploy,
            (None, Some(down)) if down.value && !has_values => Asked::Remove,
            _ => Asked::Unclear,
        };
        Some((span, asked))
    }

    /// The commands that make the group, and in it what the template says.
    fn deploy(step: &mut StepFile, around: &Surroundings<'_>, report: &mut Report) {
        let Some(Spanned { value: file, span }) = step.bicep.clone() else { return };
        let Some(template) = &file.template else { return };
        let span = &span;
        let path = around.place.existing(around.files, template, false, "the Bicep template", report);
        let group = required(file.group.as_ref(), "group", "sb-shop-{{params.deploy_id}}", span, report);
        let location = required(file.location.as_ref(), "location", "eastus", span, report);
        check_group(file.group.as_ref(), around.params, report);
        let text = around.files.read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).ok();
        let declared = text.as_deref().map(Declarations::read);
        let values = declared.as_ref().map_or_else(String::new, |declared| {
            let names: Vec<String> = declared.parameters.iter().map(|(name, _)| name.clone()).collect();
            unknown_parameters(file.parameters.as_ref(), &names, "no `param` of this name", report);
            values(declared, file.parameters.as_ref(), around.params, span, report)
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
        step.run = Some(command(&script, span));
        if step.outputs.is_none() {
            let outputs = declared.into_iter().flat_map(|declared| declared.outputs);
            step.outputs = Some(Map(outputs.map(|name| output(name, false, span)).collect()));
        }
        with_az(step, span);
    }

    /// The commands that delete the group. They are tried again: Azure's index of tags lags behind.
    fn remove(step: &mut StepFile, deploy: &StepFile, span: &Span) {
        // Without a group, the deploy step was reported.
        let group = deploy.bicep.as_ref().and_then(|bicep| bicep.value.group.as_ref());
        let Some(group) = group else { return step.target = Some(OneOrMany(Vec::new())) };
        let script = format!("{BEGIN}group={}\n{FIND}{DELETE}", shell_word(&group.value));
        step.bicep.get_or_insert_with(|| Spanned {
            value: BicepFile { template: None, group: None, location: None, parameters: None, down: None },
            span: span.clone(),
        });
        step.run = Some(command(&script, span));
        tried_again(step, span);
        with_az(step, span);
    }
}

/// Two steps of one target with one group: the cleanup of the first deletes what the second has deployed.
pub(super) fn check_shared_groups(steps: &[Spanned<StepFile>], report: &mut Report) {
    let group = |step: &Spanned<StepFile>| step.value.bicep.as_ref().and_then(|it| it.value.group.clone());
    let mut known: BTreeMap<String, Vec<&Spanned<StepFile>>> = BTreeMap::new();
    for step in steps {
        let Some(named) = group(step) else { continue };
        let others = known.entry(named.value.source().to_owned()).or_default();
        let shares = |other: &Spanned<StepFile>| match (&step.value.target, &other.value.target) {
            (Some(here), Some(there)) => {
                here.0.iter().any(|name| there.0.iter().any(|other| other.value == name.value))
            }
            _ => true,
        };
        if let Some(other) = others.iter().find(|other| shares(other)) {
            let message = format!(
                "the steps `{}` and `{}` deploy into the same resource group",
                other.value.name.value, step.value.name.value
            );
            report.push(Problem::error("step-action", message).at(&named.span, "the cleanup of either deletes both").help(
                "give each step a group of its own, or make one template of both: `module` includes another template",
            ));
        }
        others.push(step);
    }
}

fn with_az(step: &mut StepFile, span: &Span) {
    let azure = || Spanned { value: AZURE.to_owned(), span: span.clone() };
    step.image.get_or_insert_with(azure);
    step.credentials.get_or_insert_with(|| vec![azure()]);
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
    let length: usize = group.value.pieces().iter().map(|piece| shortest(piece, params)).sum();
    if length > LONGEST_GROUP {
        let message = format!("the name of the resource group has {length} characters or more");
        report.push(
            Problem::error("step-action", message)
                .at(&group.span, format!("Azure takes {LONGEST_GROUP}"))
                .help("shorten it, or the values in it"),
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

/// The fewest characters that a part of a name comes to, as far as the manifest tells.
fn shortest(piece: &Piece, params: Option<&Map<Spanned<ParamFile>>>) -> usize {
    match piece {
        Piece::Literal(text) => text.chars().count(),
        Piece::Value { path, .. } => {
            let param = path.strip_prefix("params.").and_then(|name| params?.get(name));
            match param.map(|param| &param.value) {
                Some(ParamFile::Source(source)) => {
                    let digits =
                        source.random_hex.as_ref().and_then(|digits| usize::try_from(digits.value).ok());
                    digits.unwrap_or(0)
                }
                // A plan may give it a shorter one.
                Some(ParamFile::Value(_)) | None => 0,
            }
        }
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
