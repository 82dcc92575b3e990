//! Checks that many keys share: names, durations, counts, paths. Each reports and goes on with a harmless value, so
//! that one problem does not hide the next. `Checked` withholds the result when anything was reported.

use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::benchmark::CREDENTIALS;
use crate::manifest::decode::Text;
use crate::manifest::problem::{Problem, Report, Source, Span, did_you_mean, suggest};
use crate::manifest::read::{Files, boundary, lies_in, normal};
use crate::manifest::tree::{self, Kind, Node, Spanned};
use crate::manifest::values::Period;

/// In bytes: a thousand times a usual one.
const LARGEST_MANIFEST: usize = 2 << 20;

/// Longer than any benchmark: a year.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// What is wrong with a file that a person names, or that lies in a folder that they name: a link that leads out of
/// where it lies may be a trap in somebody's repository, and no line of what it leads to may be shown.
pub fn leads_out(files: &dyn Files, path: &Path) -> Option<Problem> {
    let path = absolute(path);
    let boundary = boundary(files, &path);
    if lies_in(files, &path, &boundary) {
        return None;
    }
    let message = format!("`{}` is a link that leads out of {}", path.display(), boundary.display());
    let target = files.canonical(&path);
    Some(
        Problem::error("outside-root", message)
            .help(format!("name the file itself, if you trust it: {}", target.display())),
    )
}

/// As [`open`], a file that no other file names.
pub(super) fn open_named(files: &dyn Files, path: &Path) -> (Option<Node>, Report) {
    let Some(problem) = leads_out(files, path) else { return open(files, path) };
    let mut report = Report::new(Arc::new(Source::new(path, "")));
    report.push(problem);
    (None, report)
}

/// Reads and parses a file; the report holds what is wrong with it.
pub(super) fn open(files: &dyn Files, path: &Path) -> (Option<Node>, Report) {
    match read(files, path) {
        Ok(bytes) => tree::parse(path, &bytes),
        Err(problem) => {
            let mut report = Report::new(Arc::new(Source::new(path, "")));
            report.push(*problem);
            (None, report)
        }
    }
}

/// What a file holds.
fn read(files: &dyn Files, path: &Path) -> Result<Vec<u8>, Box<Problem>> {
    let too_large = || {
        let message = format!("`{}` is larger than {} KiB", path.display(), LARGEST_MANIFEST >> 10);
        let problem = Problem::error("unreadable-file", message);
        problem.help("no manifest, plan or workload that people write is: name the right file, or split it")
    };
    match files.read(path) {
        Ok(bytes) if bytes.len() <= LARGEST_MANIFEST => Ok(bytes),
        Ok(_) => Err(Box::new(too_large())),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => Err(Box::new(too_large())),
        Err(error) => {
            let shown = path.display();
            let link = files.link(path).filter(|_| !files.exists(path));
            let (reason, help) = match (link, error.kind()) {
                (_, ErrorKind::PermissionDenied) => (error.to_string(), "let it be read".to_owned()),
                (Some(to), ErrorKind::NotFound) => (
                    format!("it is a link to `{}`, and there is no such file", to.display()),
                    "correct the link, or remove it".to_owned(),
                ),
                (Some(to), _) => (
                    format!("it is a link to `{}`, and the links lead back to each other", to.display()),
                    "replace one of the links by the file".to_owned(),
                ),
                (None, _) if files.is_folder(path) => (
                    "it is a folder".to_owned(),
                    "name a file in this folder, or rename the folder".to_owned(),
                ),
                (None, _) if files.is_special(path) => {
                    ("it is not a regular file".to_owned(), "name the file itself".to_owned())
                }
                (None, ErrorKind::NotFound) => match look_alike(files, path) {
                    Some(other) => (error.to_string(), format!("did you mean `{}`?", other.display())),
                    None => (error.to_string(), "check the path".to_owned()),
                },
                (None, _) => (error.to_string(), "check the path and its permissions".to_owned()),
            };
            let message = format!("cannot read `{shown}`: {reason}");
            Err(Box::new(Problem::error("unreadable-file", message).help(help)))
        }
    }
}

/// The text of a manifest or plan that a person names, as validation reads it: without the mark that some editors write at
/// the beginning.
///
/// # Errors
/// The file cannot be read, leads out of where it lies, is larger than 2 MiB, or is no UTF-8.
pub fn text(files: &dyn Files, path: &Path) -> Result<String, Vec<Problem>> {
    if let Some(problem) = leads_out(files, path) {
        return Err(vec![problem]);
    }
    let path = absolute(path);
    let bytes = read(files, &path).map_err(|problem| vec![*problem])?;
    tree::text(&path, &bytes).map(str::to_owned).map_err(|report| report.problems)
}

/// A manifest or plan whose name is nearly that of this file, beside it or in `plans`; else one of its name in `plans`.
pub fn look_alike(files: &dyn Files, path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    let name = path.file_name()?.to_string_lossy();
    let is_manifest =
        |name: &String| [".toml", ".yaml", ".yml"].iter().any(|end| name.to_lowercase().ends_with(end));
    [folder.to_owned(), folder.join("plans")].into_iter().find_map(|folder| {
        let mut names = files.names(&folder);
        names.retain(|other| is_manifest(other) && folder.join(other) != path);
        names.sort();
        let found = did_you_mean(&name, names.iter().map(String::as_str))?.to_owned();
        Some(folder.join(found))
    })
}

/// Whether a file is a plan by the keys at its top. None: it has neither a plan's nor a benchmark's.
pub fn is_plan(files: &dyn Files, path: &Path) -> Option<bool> {
    let (node, _) = open(files, path);
    let Kind::Table(entries) = node?.value else { return None };
    let has = |name: &str| entries.iter().any(|(key, _)| key.value == name);
    let is_plan = has("plan") || has("applications");
    (is_plan || has("benchmark")).then_some(is_plan && !has("benchmark"))
}

/// The path made absolute: relative to the working directory, which is where the user typed it.
pub(super) fn absolute(path: &Path) -> PathBuf {
    normal(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

/// Whether benchmarks, steps, parameters and the like can be called so.
pub fn is_name(text: &str) -> bool {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    plain && !text.is_empty() && text.len() <= 64 && !text.starts_with('-')
}

/// A name that becomes part of file names, labels and ids: 1 to 64 letters, digits, `-`, `_`.
pub(super) fn name(text: &str, span: &Span, what: &str, report: &mut Report) {
    if is_name(text) {
        return;
    }
    report.push(
        Problem::error("invalid-name", format!("`{text}` cannot be the name of {what}"))
            .at(span, "not a valid name")
            .help("use 1 to 64 letters, digits, `-` and `_`, not starting with `-`"),
    );
}

/// The name of a lock: names in a row, joined by `/`, so that it can say whose quota it is: `aws/us-east-1`.
pub(super) fn lock(text: &str, span: &Span, report: &mut Report) {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    if text.len() > 64 || !text.split('/').all(plain) {
        report.push(
            Problem::error("invalid-name", format!("`{text}` cannot be the name of a lock"))
                .at(span, "not a valid name")
                .help(
                    "use at most 64 letters, digits, `-` and `_`, with `/` between parts: \"aws/us-east-1\"",
                ),
        );
    }
}

/// A duration of at most a year, and above zero where `positive`.
pub(super) fn duration(period: &Spanned<Period>, positive: bool, report: &mut Report) -> Duration {
    duration_value(period.value.0, &period.span, positive, "", report)
}

/// `point` is appended to the message.
pub(super) fn duration_value(
    value: Duration,
    span: &Span,
    positive: bool,
    point: &str,
    report: &mut Report,
) -> Duration {
    if value > LONGEST {
        report.push(
            Problem::error("duration-out-of-range", format!("the duration is longer than a year{point}"))
                .at(span, "too long")
                .help("use at most \"365d\""),
        );
        return LONGEST;
    }
    if positive && value.is_zero() {
        report.push(
            Problem::error("duration-out-of-range", format!("the duration is zero{point}"))
                .at(span, "must be above zero")
                .help("write a number above 0 with a unit: \"90s\", \"2m\""),
        );
    }
    value
}

/// A whole number in a range.
pub(super) fn count(
    number: &Spanned<i64>,
    range: RangeInclusive<i64>,
    what: &str,
    report: &mut Report,
) -> i64 {
    if range.contains(&number.value) {
        return number.value;
    }
    let (low, high) = (range.start(), range.end());
    report.push(
        Problem::error("out-of-range", format!("{what} cannot be {}", number.value))
            .at(&number.span, format!("outside of {low} to {high}"))
            .help(format!("use a number from {low} to {high}")),
    );
    *low
}

/// A status code that an answer can have.
pub(super) fn status(number: &Spanned<i64>, report: &mut Report) -> u16 {
    u16::try_from(count(number, 100..=599, "an HTTP status", report)).unwrap_or(200)
}

/// Known names of credentials, within the ceiling where there is one.
pub(super) fn credentials(
    names: Option<&Vec<Text>>,
    ceiling: Option<(&str, &[String])>,
    report: &mut Report,
) -> Vec<String> {
    let mut checked = Vec::new();
    for name in names.into_iter().flatten() {
        if !CREDENTIALS.contains(&name.value.as_str()) {
            report.push(
                Problem::error(
                    "invalid-credentials",
                    format!("`{}` is not a kind of credentials", name.value),
                )
                .at(&name.span, "not known")
                .help(suggest(&name.value, "known kinds", CREDENTIALS)),
            );
        } else if let Some((target, allowed)) = ceiling
            && !allowed.contains(&name.value)
        {
            report.push(
                Problem::error(
                    "invalid-credentials",
                    format!("the target `{target}` does not allow `{}` credentials", name.value),
                )
                .at(&name.span, "beyond the target's ceiling")
                .help(format!("add \"{}\" to `credentials` of [targets.{target}]", name.value)),
            );
        }
        checked.push(name.value.clone());
    }
    checked
}

/// Reports pipes, sockets and devices among files that are read later: a run would wait for a pipe until it is stopped.
pub(super) fn no_special(files: &dyn Files, paths: &[PathBuf], span: &Span, user: &str, report: &mut Report) {
    for path in paths.iter().filter(|path| files.is_special(path)) {
        report.push(
            Problem::error("missing-file", format!("`{}` is no regular file", path.display()))
                .at(span, format!("{user} reads a pipe, a socket or a device"))
                .help("put a regular file in its place"),
        );
    }
}

/// Folders and files that a manifest may refer to.
#[derive(Clone, Debug)]
pub(super) struct ManifestFolder {
    /// The manifest's folder, absolute.
    pub folder: PathBuf,
    /// Inside which its files lie, absolute.
    pub root: PathBuf,
}

impl ManifestFolder {
    /// A path in the manifest, as an absolute one. Reports placeholders and paths that leave the root.
    pub(super) fn inside(&self, files: &dyn Files, path: &Text, what: &str, report: &mut Report) -> PathBuf {
        let absolute = self.resolve(path, what, report);
        // A link may lead out; what does not exist (yet) has no links to follow.
        if !lies_in(files, &absolute, &self.root) {
            report.push(
                Problem::error("outside-root", format!("{what} `{}` lies outside of the root", path.value))
                    .at(&path.span, format!("not inside {}", self.root.display()))
                    .help("move it inside, or let `root` in [benchmark] name a parent folder"),
            );
        }
        absolute
    }

    /// As [`ManifestFolder::inside`], and it must be an existing file (or folder, where `folder`).
    pub(super) fn existing(
        &self,
        files: &dyn Files,
        path: &Text,
        folder: bool,
        what: &str,
        report: &mut Report,
    ) -> PathBuf {
        let before = report.problems.len();
        let absolute = self.inside(files, path, what, report);
        if report.problems.len() > before {
            return absolute;
        }
        if !files.exists(&absolute) {
            report.push(
                Problem::error("missing-file", format!("{what} `{}` does not exist", path.value))
                    .at(&path.span, "no such file or folder")
                    .help(format!("create {}, or correct the path", absolute.display())),
            );
        } else if files.is_special(&absolute) {
            report.push(
                Problem::error("missing-file", format!("{what} `{}` is no regular file", path.value))
                    .at(&path.span, "a pipe, a socket or a device")
                    .help("name a regular file"),
            );
        } else if files.is_folder(&absolute) != folder {
            let (wanted, found) = if folder { ("folder", "file") } else { ("file", "folder") };
            report.push(
                Problem::error(
                    "missing-file",
                    format!("{what} `{}` is a {found}, not a {wanted}", path.value),
                )
                .at(&path.span, format!("this is a {found}"))
                .help(format!("name a {wanted}")),
            );
        }
        absolute
    }

    fn resolve(&self, path: &Text, what: &str, report: &mut Report) -> PathBuf {
        if path.value.contains("{{") {
            report.push(
                Problem::error("invalid-path", format!("{what} cannot hold placeholders"))
                    .at(&path.span, "a path is known before anything runs")
                    .help("write the path out; a `run` step can choose files by its environment"),
            );
        } else if path.value.is_empty() || path.value.contains('\0') {
            report.push(
                Problem::error("invalid-path", format!("{what} is not a path"))
                    .at(&path.span, "empty, or with a NUL byte")
                    .help("write a path relative to this file"),
            );
        }
        normal(&self.folder.join(&path.value))
    }
}
