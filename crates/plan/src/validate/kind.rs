//! Which kind of file one is. A file of another kind than is meant gets one problem that says so, instead of one for each
//! of its keys.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use crate::manifest::problem::{Problem, Report, Source, Span};
use crate::manifest::tree::{Kind, Node};

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Manifest,
    Plan,
    Workload,
    Load,
    SamTemplate,
    PythonProgram,
}

impl FileKind {
    /// Those that are told by the keys at their top.
    const BY_KEYS: [Self; 5] = [Self::SamTemplate, Self::Manifest, Self::Plan, Self::Workload, Self::Load];

    /// With its article.
    fn name(self) -> &'static str {
        match self {
            Self::Manifest => "the manifest of an application",
            Self::Plan => "a plan",
            Self::Workload => "a workload",
            Self::Load => "a load",
            Self::SamTemplate => "a SAM or CloudFormation template",
            Self::PythonProgram => "a Python program",
        }
    }

    /// Keys that only this kind has at its top.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Manifest => &["benchmark", "targets", "deploy", "cleanup"],
            Self::Plan => &["plan", "applications", "matrix", "trials"],
            Self::Workload => &["requests", "sequences", "script"],
            Self::Load => {
                &["iterations", "constant", "users", "stages", "pattern", "csv", "bursts", "k6_options"]
            }
            Self::SamTemplate => &["AWSTemplateFormatVersion", "Resources", "Transform"],
            Self::PythonProgram => &[],
        }
    }

    /// What to do with such a file, at this path, where another kind is meant.
    fn help(self, path: &Path, wanted: Self) -> String {
        let file = pasted(path);
        match (self, wanted) {
            (Self::Manifest, Self::Plan) => format!(
                "run this application by itself with `sb test --file {file}`, or name the file as `manifest` in the \
                 [[applications]] of a plan"
            ),
            (Self::Manifest, Self::SamTemplate) => {
                format!("deploy this application with `sb prepare --file {file}`, or name the template itself")
            }
            (Self::Manifest, _) => format!("`sb test --file {file}` takes it"),
            (Self::Plan, Self::Manifest) => {
                format!("run it with `sb run {file}`; here a file such as benchmark.toml is needed")
            }
            (Self::Plan, _) => format!("`sb run {file}` takes it"),
            (Self::Workload, _) => {
                "name it in the manifest of an application: `workload = \"FILE\"`; it is checked with that manifest"
                    .to_owned()
            }
            (Self::Load, _) => {
                format!("send it with `sb invoke --load {file}`, or write its keys below [load] in a plan")
            }
            (Self::SamTemplate, _) => format!(
                "`sb new --from {file}` writes a benchmark.toml for it; the `local` step of a manifest deploys it"
            ),
            (Self::PythonProgram, _) => {
                "say in a benchmark.toml how the application is deployed, loaded and removed; in the folder of a SAM template, \
                 `sb new` writes one"
                    .to_owned()
            }
        }
    }
}

/// The kind of a file by the keys at its top, where that is certainly not the one that is meant; and the key that shows it.
fn other_kind(keys: &[(String, Span)], wanted: FileKind) -> Option<(FileKind, Span)> {
    let shows = |kind: FileKind| keys.iter().find(|(key, _)| kind.keys().contains(&key.as_str()));
    if shows(wanted).is_some() {
        return None;
    }
    FileKind::BY_KEYS.into_iter().find_map(|kind| Some((kind, shows(kind)?.1.clone())))
}

/// A file as it was read, unless it is of another kind: then what was wrong with it is of no interest.
pub(super) fn expect(
    path: &Path,
    wanted: FileKind,
    (node, report): (Option<Node>, Report),
) -> (Option<Node>, Report) {
    let is_python = path.extension().is_some_and(|end| end == "py");
    let found = match &node {
        _ if is_python && !report.source.text().is_empty() => Some((FileKind::PythonProgram, 0..0)),
        Some(Node { value: Kind::Table(entries), .. }) => {
            let keys: Vec<_> = entries.iter().map(|(key, _)| (key.value.clone(), key.span.clone())).collect();
            other_kind(&keys, wanted)
        }
        Some(_) => None,
        None => other_kind(&keys_of_text(report.source.text()), wanted),
    };
    let Some((kind, span)) = found else { return (node, report) };
    let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    let message = format!("`{name}` is {}, not {}", kind.name(), wanted.name());
    let problem = Problem::error("wrong-file", message).help(kind.help(path, wanted));
    let (problem, text) = if kind == FileKind::PythonProgram {
        (problem, "")
    } else {
        (problem.at(&span, format!("only {} has this", kind.name())), report.source.text())
    };
    let mut only = Report::new(Arc::new(Source::new(path, text)));
    only.push(problem);
    (None, only)
}

/// What is wrong with a file that is meant to be a SAM template and is another file of `sb`. None: it may be one.
pub fn not_a_template(path: &Path, text: &str) -> Option<Problem> {
    let empty = Report::new(Arc::new(Source::new(path, text)));
    let (_, mut found) = expect(path, FileKind::SamTemplate, (None, empty));
    found.problems.pop()
}

/// The keys at the top of a text that cannot be parsed, as far as lines show them: tables of TOML, keys of YAML and JSON.
fn keys_of_text(text: &str) -> Vec<(String, Span)> {
    const DEEPEST_OF_JSON: usize = 4;
    let mut keys = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        let inner = line.trim_start();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let (opening, is_top) = match inner.as_bytes().first() {
            Some(b'[') => (inner.len() - inner.trim_start_matches('[').len(), indent == 0),
            Some(b'"') => (1, indent <= DEEPEST_OF_JSON),
            _ => (0, indent == 0),
        };
        let word: &str = inner[opening..].split(|c| !is_word(c)).next().unwrap_or_default();
        let after = inner[opening + word.len()..].trim_start_matches('"').trim_start();
        let ends = if opening > 0 && inner.starts_with('[') {
            after.starts_with([']', '.'])
        } else {
            after.starts_with(':')
        };
        if is_top && ends && !word.is_empty() {
            let from = start + indent + opening;
            keys.push((word.to_owned(), from..from + word.len()));
        }
        start += line.len();
    }
    keys
}

/// A path as it can be pasted into a shell.
fn pasted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@%,:".contains(c));
    if is_plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_texts_that_cannot_be_parsed() {
        let names = |text: &str| keys_of_text(text).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(
            names("[plan]\nname = \n[[applications]]\n[targets.aws]\n"),
            ["plan", "applications", "targets"]
        );
        assert_eq!(names("Resources:\n  F: !Ref [\n# Transform:\n"), ["Resources"]);
        assert_eq!(names("{\n  \"Resources\": {\n      \"deploy\": {}\n"), ["Resources"]);
        assert_eq!(names("é[plan\n\"x\n[\n\n"), [""; 0]);
        let text = "a = [\n[[plan]]\n";
        let (_, span) = keys_of_text(text).remove(0);
        assert_eq!(&text[span], "plan");
    }
}
