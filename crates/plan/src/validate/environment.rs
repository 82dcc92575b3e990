//! What a command is, and where and as what it runs: image, shell, variables, limits, credentials.

use std::collections::BTreeMap;

use crate::benchmark::{Command, Environment, Image, Images, Limits, Recovery, is_image_reference};
use crate::manifest::benchmark::{LimitsFile, RecoverFile, RunFile, StepFile};
use crate::manifest::decode::{Map, Text};
use crate::manifest::problem::{Problem, Report, Span, did_you_mean};
use crate::manifest::tree::Spanned;
use crate::validate::check;
use crate::validate::step::Steps;
use sb_workload::template::Template;

/// Shells whose quoting is that of `sh`.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "ash", "ksh", "zsh", "busybox"];

impl Steps<'_> {
    pub(super) fn environment(
        &self,
        file: &StepFile,
        targets: &[String],
        report: &mut Report,
    ) -> Environment {
        Environment {
            image: match &file.image {
                Some(image) => image_of(self.images, image, report),
                None => self.images.get(Images::STEP).cloned(),
            },
            shell: shell(file.shell.as_ref(), report),
            env: variables(file.env.as_ref(), report),
            workdir: file.workdir.as_ref().map(|workdir| workdir.value.clone()),
            user: file.user.clone(),
            network: file.network.clone(),
            limits: file.limits.as_ref().map(|limits| self::limits(limits, report)).unwrap_or_default(),
            credentials: self.credentials(file.credentials.as_ref(), targets, report),
        }
    }

    pub(super) fn recovery(
        &self,
        recovery: &Spanned<RecoverFile>,
        step: &Environment,
        targets: &[String],
        report: &mut Report,
    ) -> Recovery {
        let file = &recovery.value;
        let mut environment = step.clone();
        if let Some(image) = &file.image {
            environment.image = image_of(self.images, image, report);
        }
        if file.shell.is_some() {
            environment.shell = shell(file.shell.as_ref(), report);
        }
        environment.env.extend(variables(file.env.as_ref(), report));
        if let Some(workdir) = &file.workdir {
            environment.workdir = Some(workdir.value.clone());
        }
        environment.user = file.user.clone().or(environment.user);
        environment.network = file.network.clone().or(environment.network);
        if let Some(limits) = &file.limits {
            environment.limits = self::limits(limits, report);
        }
        if file.credentials.is_some() {
            environment.credentials = self.credentials(file.credentials.as_ref(), targets, report);
        }
        Recovery { command: command(&file.run, file.shell.as_ref(), report), environment }
    }

    fn credentials(&self, names: Option<&Vec<Text>>, targets: &[String], report: &mut Report) -> Vec<String> {
        let mut checked = Vec::new();
        for target in targets {
            let ceiling = self.ceilings.get(target).map(|allowed| (target.as_str(), allowed.as_slice()));
            checked = check::credentials(names, ceiling, report);
        }
        checked
    }
}

/// An alias or a reference. A bare word is taken for a misspelt alias rather than for a public image of
/// that name.
pub(super) fn image_of(images: &BTreeMap<String, Image>, image: &Text, report: &mut Report) -> Option<Image> {
    if let Some(known) = images.get(&image.value) {
        return Some(known.clone());
    }
    if Images::has(&image.value) {
        return Some(Image::Default(image.value.clone()));
    }
    let problem = if !is_image_reference(&image.value) {
        Problem::error("unknown-image", format!("`{}` is not an image", image.value))
    } else if image.value.contains(['/', ':', '@']) {
        return Some(Image::Reference(image.value.clone()));
    } else {
        Problem::error("unknown-image", format!("no alias `{}` in [images]", image.value))
    };
    let near = did_you_mean(&image.value, images.keys().map(String::as_str));
    report.push(problem.at(&image.span, "neither an alias nor a full reference").help(match near {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!(
            "add the alias to [images], or write a reference with its tag: \"{}:latest\"",
            if is_image_reference(&image.value) { image.value.as_str() } else { "alpine" }
        ),
    }));
    None
}

pub(super) fn command(
    run: &Spanned<RunFile>,
    shell: Option<&Spanned<Vec<String>>>,
    report: &mut Report,
) -> Command {
    match &run.value {
        RunFile::Shell(template) => {
            if template.source().trim().is_empty() {
                report.push(empty_command(&run.span));
            }
            let quotes_like_sh = shell.is_none_or(|shell| {
                shell.value.iter().any(|word| SHELLS.contains(&word.rsplit('/').next().unwrap_or(word)))
            });
            if !quotes_like_sh && !template.is_literal() {
                report.push(
                    Problem::error("foreign-shell", "values can be quoted for `sh` and its kin only")
                        .at(&run.span, "holds placeholders, but another program reads it")
                        .help("pass the values by environment: `env = { NAME = \"{{…}}\" }`, and read NAME in the command"),
                );
            }
            Command::Shell(template.clone())
        }
        RunFile::Argv(words) => {
            if words.first().is_none_or(|word| word.value.source().is_empty()) {
                report.push(empty_command(&run.span));
            }
            Command::Argv(words.iter().map(|word| word.value.clone()).collect())
        }
    }
}

fn empty_command(span: &Span) -> Problem {
    Problem::error("step-action", "the command is empty")
        .at(span, "nothing to run")
        .help("write a shell string such as \"make deploy\", or words such as [\"make\", \"deploy\"]")
}

fn shell(given: Option<&Spanned<Vec<String>>>, report: &mut Report) -> Vec<String> {
    let Some(shell) = given else {
        return vec!["sh".to_owned(), "-c".to_owned()];
    };
    if shell.value.is_empty() || shell.value[0].is_empty() {
        report.push(
            Problem::error("empty-shell", "the shell is empty")
                .at(&shell.span, "no program")
                .help("write [\"sh\", \"-c\"] or [\"bash\", \"-euo\", \"pipefail\", \"-c\"]"),
        );
    }
    shell.value.clone()
}

pub(super) fn variables(
    env: Option<&Map<Spanned<Template>>>,
    report: &mut Report,
) -> BTreeMap<String, Template> {
    let mut variables = BTreeMap::new();
    for (name, template) in env.into_iter().flat_map(Map::iter) {
        let plain = name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.value.starts_with(|c: char| c.is_ascii_digit())
            && !name.value.is_empty();
        if !plain {
            report.push(
                Problem::error(
                    "invalid-variable",
                    format!("`{}` cannot be the name of an environment variable", name.value),
                )
                .at(&name.span, "not a valid name")
                .help("use letters, digits and `_`, not starting with a digit"),
            );
        }
        variables.insert(name.value.clone(), template.value.clone());
    }
    variables
}

fn limits(file: &LimitsFile, report: &mut Report) -> Limits {
    if let Some(cpus) = file.cpus.as_ref().filter(|cpus| !(0.01..=1024.0).contains(&cpus.value)) {
        report.push(
            Problem::error("out-of-range", "the number of processors is out of range")
                .at(&cpus.span, "outside of 0.01 to 1024")
                .help("use a number such as 0.5 or 2"),
        );
    }
    // Docker's own minimum.
    if let Some(memory) = file.memory.as_ref().filter(|memory| memory.value.0 < 6 << 20) {
        report.push(
            Problem::error("out-of-range", "the memory is too small for a container")
                .at(&memory.span, "below 6 MiB")
                .help("a plain number counts bytes; write \"512MiB\" for mebibytes"),
        );
    }
    Limits {
        cpus: file.cpus.as_ref().map(|cpus| cpus.value),
        memory_bytes: file.memory.as_ref().map(|memory| memory.value.0),
    }
}
