//! What is taken from the things a step wrote.

use std::path::PathBuf;

use crate::benchmark::{Output, OutputSource};
use crate::manifest::benchmark::OutputFile;
use crate::manifest::decode::Text;
use crate::manifest::problem::{Problem, Report};
use crate::manifest::read::Files;
use crate::manifest::tree::Spanned;
use crate::validate::check::ManifestFolder;

/// Exactly one source, and one that works.
pub(super) fn output(
    output: &Spanned<OutputFile>,
    files: &dyn Files,
    place: &ManifestFolder,
    report: &mut Report,
) -> Output {
    let file = &output.value;
    let given: Vec<&str> = [
        (file.json.is_some() && file.file.is_none()).then_some("json"),
        file.regex.as_ref().map(|_| "regex"),
        file.line.as_ref().map(|_| "line"),
        file.stdout.as_ref().map(|_| "stdout"),
        file.file.as_ref().map(|_| "file"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if given.len() != 1 {
        let message = match given.as_slice() {
            [first, second, ..] => format!("the output has both `{first}` and `{second}`"),
            _ => "the output has no source".to_owned(),
        };
        report.push(
            Problem::error("invalid-output", message).at(&output.span, "needs exactly one source").help(
                "use one of `json`, `regex`, `line`, `stdout = true`, and `file` (with or without `json`)",
            ),
        );
    }
    if let Some(pointer) = &file.json {
        pointer_syntax(pointer, report);
    }
    let source = if let Some(path) = &file.file {
        place.inside(files, path, "the output file", report);
        OutputSource::File {
            path: PathBuf::from(&path.value),
            json: file.json.as_ref().map(|pointer| pointer.value.clone()),
        }
    } else if let Some(pointer) = &file.json {
        OutputSource::Json(pointer.value.clone())
    } else if let Some(pattern) = &file.regex {
        regex(pattern, report);
        OutputSource::Regex(pattern.value.clone())
    } else if let Some(line) = &file.line {
        if line.value == 0 {
            report.push(
                Problem::error("invalid-output", "there is no line 0")
                    .at(&line.span, "lines count from 1")
                    .help("use 1 for the first line, -1 for the last"),
            );
        }
        OutputSource::Line(line.value)
    } else {
        if let Some(stdout) = file.stdout.as_ref().filter(|stdout| !stdout.value) {
            report.push(
                Problem::error("invalid-output", "`stdout = false` gives nothing")
                    .at(&stdout.span, "no source")
                    .help("write `stdout = true`"),
            );
        }
        OutputSource::Stdout
    };
    Output {
        source,
        default: file.default.as_ref().map(|default| default.0.clone()),
        secret: file.secret.unwrap_or(false),
    }
}

pub(super) fn pointer_syntax(pointer: &Text, report: &mut Report) {
    if !pointer.value.is_empty() && !pointer.value.starts_with('/') {
        let fixed = pointer.value.trim_start_matches(['$', '.']).replace('.', "/");
        report.push(
            Problem::error("invalid-pointer", format!("`{}` is not a JSON pointer", pointer.value))
                .at(&pointer.span, "does not start with `/`")
                .help(format!("write \"/{fixed}\"; an empty string means the whole document")),
        );
    }
}

/// A pattern that finds one value.
pub(super) fn regex(pattern: &Text, report: &mut Report) {
    let problem = match regex::Regex::new(&pattern.value) {
        Err(error) => {
            // The last line says what is wrong; the lines before repeat the pattern.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Problem::error("invalid-regex", format!("the regular expression cannot be used: {reason}")).help(
                "the syntax is that of https://docs.rs/regex; there are no look-arounds or back-references",
            )
        }
        Ok(compiled) if compiled.captures_len() > 2 => Problem::error(
            "invalid-regex",
            format!(
                "the regular expression has {} groups, but one value is taken",
                compiled.captures_len() - 1
            ),
        )
        .help("keep one group in parentheses and write the others as `(?:…)`"),
        Ok(_) => return,
    };
    report.push(problem.at(&pattern.span, "this pattern"));
}
