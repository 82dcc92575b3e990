//! `sb new`: a folder with an application that works, to start from.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::Outcome;
use super::output::{Failed, accept};
use crate::exit_code::Exit;
use crate::terminal::Terminal;
use crate::workspace::{absolute, quoted};
use sb_plan::manifest::read::Disk;
use sb_plan::validate;

/// What is written, by its path in the new folder.
const FILES: [(&str, &str); 8] = [
    ("benchmark.toml", include_str!("new/benchmark.toml")),
    // Editors find it by the first line of the manifest.
    ("benchmark.schema.json", include_str!("../../schemas/benchmark.schema.json")),
    ("template.yaml", include_str!("new/template.yaml")),
    ("README.md", include_str!("new/README.md")),
    ("functions/hello.py", include_str!("new/functions/hello.py")),
    ("functions/tracing.py", include_str!("../../examples/async-pipeline/src/tracing.py")),
    ("functions/tests/test_hello.py", include_str!("new/functions/tests/test_hello.py")),
    (".gitignore", include_str!("new/gitignore")),
];
const TARGETS: [&str; 2] = ["aws", "local"];
/// Names of resources are made of it, of which a function's have 64 characters at most.
const LONGEST_SLUG: usize = 40;

/// The targets where none is asked for.
pub(super) const BOTH: &str = "aws,local";

pub(super) fn new(terminal: &Terminal, folder: &Path, targets: &str) -> Outcome {
    let usage = |message: String, help: &str| Failed::helped(Exit::Usage, message, help);
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if !validate::is_name(name) {
        let message = format!("`{}` cannot be the name of an application", folder.display());
        return Err(usage(message, "use 1 to 64 letters, digits, `-` and `_`, not starting with `-`"));
    }
    let targets: Vec<&str> = targets.split(',').map(str::trim).collect();
    if let Some(unknown) = targets.iter().find(|target| !TARGETS.contains(target)) {
        let message = format!("there is no template for a target `{unknown}`");
        return Err(usage(message, "use `--target aws`, `--target local` or `--target aws,local`"));
    }
    write(folder, name, &targets)?;
    accept(terminal, validate::benchmark(&Disk, &absolute(&folder.join("benchmark.toml"))))?;
    terminal.say(&format!("wrote {} files to {}. Next:", FILES.len(), folder.display()));
    terminal.say(&format!("    cd {}", folder.display()));
    for target in targets {
        terminal.say(&format!("    sb test --target {target} --executor host"));
    }
    Ok(Exit::Done)
}

/// A new application has a name and targets; a manifest for a template has neither: its folder names it, and it is for
/// the local target. The words are accepted by the command line, so that the error can say which of both is meant.
pub(super) fn contradiction(folder: Option<&Path>, from: Option<&Path>) -> Failed {
    let template = || from.map(quoted).unwrap_or_default();
    match (folder, from) {
        (Some(folder), Some(_)) => Failed::helped(
            Exit::Usage,
            "a NAME and `--from` were given: a manifest for a template is named after the template's folder",
            format!(
                "for the manifest: `sb new --from {}`; for a new application: `sb new {}`",
                template(),
                quoted(folder)
            ),
        ),
        (None, Some(_)) => Failed::helped(
            Exit::Usage,
            "`--from` and `--target` were given: a manifest for a template is for the local target",
            format!(
                "leave `--target` out: `sb new --from {}`; add a cloud target to the manifest as `sb new NAME --target \
                 aws` writes it",
                template()
            ),
        ),
        _ => Failed::helped(
            Exit::Usage,
            "`--target` is for a new application, and there is no NAME for one",
            "name the application: `sb new shop --target aws`; for a manifest beside the SAM template of this folder, \
             leave `--target` out: `sb new`",
        ),
    }
}

/// Makes the folder beside its place first: it is there as a whole, or not at all.
fn write(folder: &Path, name: &str, targets: &[&str]) -> Result<(), Failed> {
    let draft = folder.with_file_name(format!(".sb-new-{}", std::process::id()));
    let written = fill(&draft, name, targets).and_then(|()| fs::rename(&draft, folder));
    written.map_err(|error| {
        // It is ours, and may be there in part.
        let _ = fs::remove_dir_all(&draft);
        match error.kind() {
            // Renaming takes the place of nothing, or of an empty folder.
            ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists | ErrorKind::NotADirectory => {
                let message = format!("`{}` is there already, and nothing is overwritten", folder.display());
                Failed::helped(Exit::Usage, message, "choose another name, or remove it")
            }
            _ => Failed::message(Exit::Failed, format!("cannot write `{}`: {error}", folder.display())),
        }
    })
}

fn fill(draft: &Path, name: &str, targets: &[&str]) -> io::Result<()> {
    fs::create_dir(draft)?;
    for (path, text) in FILES {
        let path = draft.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, filled(text, name, targets))?;
    }
    Ok(())
}

/// A file of the template: with the name in it, and without the parts of targets that were not asked for. Such a part
/// stands between the lines `#[TARGET]` and `#[end]`.
fn filled(text: &str, name: &str, targets: &[&str]) -> String {
    let mut lines = String::with_capacity(text.len());
    let mut kept = true;
    for line in text.lines() {
        match line.strip_prefix("#[").and_then(|rest| rest.strip_suffix(']')) {
            Some("end") => kept = true,
            Some(target) => kept = targets.contains(&target),
            None if kept => {
                lines.push_str(line);
                lines.push('\n');
            }
            None => {}
        }
    }
    lines.replace("__NAME__", name).replace("__SLUG__", &slug(name))
}

/// The name as resources may have it: lower case, with hyphens.
fn slug(name: &str) -> String {
    let slug: String = name.to_ascii_lowercase().replace('_', "-").chars().take(LONGEST_SLUG).collect();
    slug.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_resources_are_lower_case_and_short() {
        assert_eq!(slug("My_App2"), "my-app2");
        assert_eq!(slug("_x_"), "x");
        let bucket = format!("sb-{}-0123456789-code", slug(&"a".repeat(64)));
        assert!(bucket.len() <= 63, "{bucket}");
    }

    #[test]
    fn parts_of_other_targets_are_left_out() {
        let text = "a\n#[aws]\nb\n#[end]\n#[local]\nc\n#[end]\n__NAME__ __SLUG__\n";
        assert_eq!(filled(text, "N", &["aws"]), "a\nb\nN n\n");
        assert_eq!(filled(text, "N", &["local"]), "a\nc\nN n\n");
        for (path, text) in FILES {
            let text = filled(text, "n", &TARGETS);
            assert!(
                !text.contains("#[") && !text.contains("__NAME__") && !text.contains("__SLUG__"),
                "{path}"
            );
        }
    }
}
