//! Steps with `terraform`: written out as commands of Terraform or OpenTofu, and with the cleanup that they imply.
//!
//! Each deployment has a state of its own. The program that runs the commands says where in `SB_TOOL_STATE`, and has written the
//! values of the variables there. The folder that is deployed may be that of several deployments at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::benchmark::{Tool, ToolValue};
use crate::manifest::benchmark::{PlatformWord, ProgramWord, StepFile, TerraformFile};
use crate::manifest::decode::{Map, Text};
use crate::manifest::problem::{Problem, Report, Span, suggest};
use crate::manifest::read::{Files, normal};
use crate::manifest::tree::Spanned;
use crate::manifest::values::OneOrMany;
use crate::validate::check::ManifestFolder;
use crate::validate::hcl::Declared;
use crate::validate::tools::{Asked, CommandLine, Surroundings, command, literal_word, output, tried_again};
use sb_workload::template::Template;

/// `terraform = { … }`, by Terraform or by OpenTofu.
pub(super) struct Terraform;

/// `$tool` and `$folder` are set before. The state lies in a folder that this user alone can enter. A request to stop goes to the
/// program alone: it ends what it has begun, and writes down what it has made.
const BEGIN: &str = r#"state=$SB_TOOL_STATE/terraform.tfstate
export TF_DATA_DIR="$SB_TOOL_STATE/data" TF_IN_AUTOMATION=1 TF_INPUT=0 CHECKPOINT_DISABLE=1
unset TF_WORKSPACE
program=
stopped=
trap 'stopped=143; if [ -n "$program" ]; then kill -TERM "$program"; else exit 143; fi' TERM INT
# Reads what the program says of itself: all of it is kept, and its messages are shown.
narrate() {
    umask 077
    while IFS= read -r line; do
        case $line in *'"summary":"Deprecated flag: -state"'*) continue ;; esac
        printf '%s\n' "$line" >> "$SB_TOOL_STATE/events.jsonl"
        text=${line#*'"@message":"'}
        printf '%s\n' "${text%%'","@module"'*}" >&2
    done
}
ends() {
    while :; do
        ended=0
        wait "$1" || ended=$?
        kill -0 "$1" 2> /dev/null || return "$ended"
    done
}
with_events() {
    rm -f "$SB_TOOL_STATE/pipe"
    mkfifo "$SB_TOOL_STATE/pipe"
    narrate < "$SB_TOOL_STATE/pipe" &
    reader=$!
    "$tool" -chdir="$folder" "$@" > "$SB_TOOL_STATE/pipe" &
    program=$!
    code=0
    ends "$program" || code=$?
    program=
    ends "$reader" || true
    rm -f "$SB_TOOL_STATE/pipe"
    # One that was not killed has written down what it has made.
    [ "$code" -ge 128 ] || printf '{"type":"ended"}\n' >> "$SB_TOOL_STATE/events.jsonl"
    [ -z "$stopped" ] || exit "$stopped"
    return "$code"
}
begin() {
    code=0
    (umask 077 && : > "$SB_TOOL_STATE/init.log")
    "$tool" -chdir="$folder" init -input=false -no-color > "$SB_TOOL_STATE/init.log" 2>&1 &
    program=$!
    ends "$program" || code=$?
    program=
    cat "$SB_TOOL_STATE/init.log" >&2
    [ -z "$stopped" ] || exit "$stopped"
    return "$code"
}
left() {
    [ ! -s "$state" ] || "$tool" -chdir="$folder" state list -state="$state"
}
"#;

const UP: &str = r#"begin
with_events apply -json -auto-approve -input=false -lock-timeout=5m -state="$state" -var-file="$SB_TOOL_STATE/variables.tfvars"
"$tool" -chdir="$folder" output -json -state="$state"
"#;

const DOWN: &str = r#"resources=$(left)
if [ -n "$resources" ]; then
    begin
    with_events apply -destroy -json -auto-approve -input=false -lock-timeout=5m -state="$state" -var-file="$SB_TOOL_STATE/variables.tfvars"
    resources=$(left)
    [ -z "$resources" ] || { echo "still in the state: $resources" >&2; exit 1; }
fi
rm -rf "$SB_TOOL_STATE/data"
"#;

impl CommandLine for Terraform {
    const TOOL: Tool = Tool::Terraform;
    const WHAT: &'static str = "a Terraform folder";
    const REMOVES: &'static str = "destroys what is in the state";
    const PLATFORM: Option<(PlatformWord, &'static str, &'static str)> = None;

    fn asked(step: &StepFile) -> Option<(&Span, Asked)> {
        let Spanned { value: file, span } = step.terraform.as_ref()?;
        let has_values = file.variables.is_some() || file.program.is_some();
        let asked = match (&file.dir, &file.down) {
            (Some(_), None) => Asked::Deploy,
            (None, Some(down)) if down.value && !has_values => Asked::Remove,
            _ => Asked::Unclear,
        };
        Some((span, asked))
    }

    fn deploy(step: &mut StepFile, around: &Surroundings<'_>, report: &mut Report) {
        let Some(Spanned { value: file, span }) = step.terraform.clone() else { return };
        let Some(dir) = &file.dir else { return };
        let program = program(&file);
        let before = report.problems.len();
        let folder = around.place.existing(around.files, dir, true, "the Terraform folder", report);
        let is_there = report.problems.len() == before;
        let declared = Declared::read(around.files, &folder, &around.place.root, ends(program));
        if is_there && !declared.has_files {
            let message = format!("the Terraform folder `{}` has no file that ends with `.tf`", dir.value);
            report.push(
                Problem::error("missing-file", message)
                    .at(&dir.span, "nothing to deploy")
                    .help("name the folder that holds the configuration"),
            );
        }
        if let Some(name) = &declared.led_out {
            let message = format!("`{name}` of the Terraform folder is a link that leads out of the root");
            report.push(
                Problem::error("outside-root", message)
                    .at(&dir.span, format!("not inside {}", around.place.root.display()))
                    .help("copy the file into the folder"),
            );
        }
        if let Some((file, what)) = &declared.backend {
            let message = format!("`{what}` in `{file}` keeps the state elsewhere");
            report.push(Problem::error("step-action", message).at(&dir.span, "two deployments would share it").help(
                "remove the block: `sb` keeps a state for each deployment, until its cleanup has destroyed everything",
            ));
        }
        if is_there && declared.has_files {
            let variables = values(&declared, &file, around, &span, report);
            if let Some(table) = &mut step.terraform {
                table.value.variables = Some(variables);
            }
            if step.outputs.is_none() {
                let outputs = declared.outputs.into_iter();
                let outputs = outputs.map(|(name, is_secret)| output(name, is_secret, &span));
                step.outputs = Some(Map(outputs.collect()));
            }
        }
        step.run = Some(command(&script(program, dir, UP), &span));
        with_image(step, program, &span);
    }

    /// What cannot be destroyed at once may be so later: a bucket that a service still writes to.
    fn remove(step: &mut StepFile, deploy: &StepFile, span: &Span) {
        let Some(file) = deploy.terraform.as_ref().map(|it| &it.value) else { return };
        let Some(dir) = &file.dir else { return step.target = Some(OneOrMany(Vec::new())) };
        let program = program(file);
        step.terraform.get_or_insert_with(|| Spanned {
            value: TerraformFile { dir: None, variables: None, program: None, down: None },
            span: span.clone(),
        });
        step.run = Some(command(&script(program, dir, DOWN), span));
        tried_again(step, span);
        with_image(step, program, span);
    }
}

fn program(file: &TerraformFile) -> ProgramWord {
    file.program.as_ref().map_or(ProgramWord::Terraform, |program| program.value)
}

/// How names of files end that the program reads. OpenTofu prefers its own.
fn ends(program: ProgramWord) -> &'static [&'static str] {
    match program {
        ProgramWord::Terraform => &[".tf", ".tf.json"],
        ProgramWord::Tofu => &[".tofu", ".tofu.json", ".tf", ".tf.json"],
    }
}

fn script(program: ProgramWord, dir: &Text, what: &str) -> String {
    let tool = match program {
        ProgramWord::Terraform => "terraform",
        ProgramWord::Tofu => "tofu",
    };
    format!("set -eu\ntool={tool}\nfolder={}\n{BEGIN}{what}", literal_word(&dir.value))
}

fn with_image(step: &mut StepFile, program: ProgramWord, span: &Span) {
    let name = match program {
        ProgramWord::Terraform => "terraform",
        ProgramWord::Tofu => "tofu",
    };
    step.image.get_or_insert_with(|| Spanned { value: name.to_owned(), span: span.clone() });
}

/// The values of a folder's variables: those of the step, then the benchmark's of the same names.
fn values(
    declared: &Declared,
    file: &TerraformFile,
    around: &Surroundings<'_>,
    span: &Span,
    report: &mut Report,
) -> Map<Spanned<Template>> {
    let given = file.variables.iter().flat_map(Map::iter);
    for (name, _) in given.filter(|(name, _)| !declared.variables.contains_key(&name.value)) {
        let message = format!("the Terraform folder has no variable `{}`", name.value);
        let known = declared.variables.keys().map(String::as_str);
        report.push(
            Problem::error("invalid-template", message)
                .at(&name.span, "no `variable` of this name")
                .help(suggest(&name.value, "variables", known)),
        );
    }
    let mut values = Vec::new();
    for (name, variable) in &declared.variables {
        let of_step = file.variables.iter().flat_map(Map::iter).find(|(given, _)| given.value == *name);
        if let Some((given, value)) = of_step {
            values.push((given.clone(), value.clone()));
        } else if around.params.is_some_and(|params| params.get(name).is_some()) {
            let at = |value: String| Spanned { value, span: span.clone() };
            let value = Template::value(&format!("params.{name}"));
            values.push((at(name.clone()), Spanned { value, span: span.clone() }));
        } else if !variable.has_default {
            report.push(
                Problem::error("invalid-template", format!("the variable `{name}` has no value"))
                    .at(span, "deploys the folder that declares it")
                    .help(format!("add it to `variables`, or give `variable \"{name}\"` a `default`")),
            );
        }
    }
    Map(values)
}

/// The values of a step's variables, checked before, as they are written for the program.
pub(super) fn variables(
    file: &TerraformFile,
    files: &dyn Files,
    place: &ManifestFolder,
) -> BTreeMap<String, ToolValue> {
    let Some(dir) = &file.dir else { return BTreeMap::new() };
    let declared = Declared::read(files, &folder(dir, place), &place.root, ends(program(file)));
    let values = file.variables.iter().flat_map(Map::iter);
    values
        .map(|(name, value)| {
            let is_expression = declared.variables.get(&name.value).is_some_and(|it| it.is_structure);
            (name.value.clone(), ToolValue { value: value.value.clone(), is_expression })
        })
        .collect()
}

/// The folder that is deployed.
pub(super) fn folder(dir: &Text, place: &ManifestFolder) -> PathBuf {
    normal(&place.folder.join(&dir.value))
}

/// The files of a folder that say what is deployed. What its tool writes beside them is none of them, and neither are
/// `.tfvars`, which may hold secrets.
pub(super) fn sources(file: &TerraformFile, files: &dyn Files, place: &ManifestFolder) -> Vec<PathBuf> {
    let Some(dir) = &file.dir else { return vec![] };
    let folder = folder(dir, place);
    let is_source = |name: &String| ends(program(file)).iter().any(|end| name.ends_with(end));
    let mut names = files.names(&folder);
    names.sort();
    names.iter().filter(|name| is_source(name)).map(|name| folder.join(name)).collect()
}
