//! `sb validate`: every manifest and plan, all problems at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::Outcome;
use super::fix;
use super::output::{Failed, show_each};
use super::problems::Found;
use crate::cli::OutputFormat;
use crate::exit_code::Exit;
use crate::settings::{Settings, is_benchmark};
use crate::terminal::Terminal;
use crate::workspace::absolute;
use sb_plan::manifest::problem::{Problem, Severity};
use sb_plan::manifest::read::{Disk, Files as _, Once};
use sb_plan::plan::Overrides;
use sb_plan::validate;

/// Folders that hold no manifests of the user's own.
const SKIPPED: &[&str] = &["target", "node_modules", "logs", "schemas"];
const DEEPEST: usize = 12;

/// How manifests are checked.
#[derive(Clone, Copy)]
pub(super) struct Manner {
    /// Warnings fail, too.
    pub(super) strict: bool,
    /// What is certain is corrected.
    pub(super) fix: bool,
}

pub(super) fn validate(
    terminal: &Terminal,
    settings: &Settings,
    paths: &[PathBuf],
    manner: Manner,
) -> Outcome {
    // A link out of its work tree is not followed: it is refused under its own name.
    let path = |file: &PathBuf| match validate::leads_out(&Disk, file) {
        Some(_) => std::path::absolute(file).unwrap_or_else(|_| file.clone()),
        None => absolute(file),
    };
    let files: Vec<PathBuf> = in_reach(settings, paths)?.iter().map(path).collect();
    let mut problems = check(&files);
    if manner.fix && fix::all(terminal, &problems)? {
        problems = check(&files);
    }
    let folder = absolute(Path::new("."));
    let found = Found { files: &files, problems: &problems, folder: &folder, strict: manner.strict };
    let failed = problems.iter().filter(|problem| found.fails(problem)).count();
    match settings.format {
        OutputFormat::Json => {
            let problems: Vec<_> = problems.iter().map(Problem::to_json).collect();
            terminal.data(&format!("{:#}", json!({ "version": 1, "files": files, "problems": problems })))?;
        }
        OutputFormat::Github if problems.is_empty() => {}
        OutputFormat::Github => terminal.data(&found.github())?,
        OutputFormat::Sarif => terminal.data(&format!("{:#}", found.sarif()))?,
        OutputFormat::Junit => terminal.data(&found.junit())?,
        _ => {
            show_each(terminal, &problems);
            terminal.say(&counted(files.len(), &problems, manner.strict));
            if let Some(problem) = problems.first() {
                let fixable = problems.iter().any(|problem| !problem.fix.is_empty());
                let fix = if fixable { "; `sb validate --fix` corrects what is certain" } else { "" };
                terminal.say(&format!("`sb explain {}` says why there is such a rule{fix}", problem.code));
            }
        }
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::InvalidManifest })
}

/// `3 files checked: 1 error, 2 warnings`
fn counted(files: usize, problems: &[Problem], strict: bool) -> String {
    let number = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let of = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let errors = if errors == 0 { "no errors".to_owned() } else { number(errors, "error") };
    let checked = number(files, "file");
    match warnings {
        0 => format!("{checked} checked, {errors}"),
        _ => {
            let fail = if strict { "; with `--strict`, warnings fail, too" } else { "" };
            format!("{checked} checked, {errors}, {}{fail}", number(warnings, "warning"))
        }
    }
}

/// The problems of these files and of those that they name, in the order of the files. All processors share the work, and a
/// manifest that several plans use is read once.
fn check(files: &[PathBuf]) -> Vec<Problem> {
    let (benchmarks, disk) = (validate::Benchmarks::default(), Once::default());
    let next = AtomicUsize::new(0);
    let work = || {
        reserve(4 << 20);
        let mut found = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = files.get(index) else { return found };
            let problems = if is_plan(path) {
                validate::plan_sharing(&disk, path, &Overrides::default(), &benchmarks).problems
            } else {
                benchmarks.benchmark(&disk, path).problems
            };
            found.push((index, problems));
        }
    };
    keep_memory();
    let processors = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
    let mut found = std::thread::scope(|scope| {
        let others: Vec<_> = (1..processors).map(|_| scope.spawn(work)).collect();
        let mut found = work();
        for other in others {
            match other.join() {
                Ok(more) => found.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        found
    });
    // The process ends soon. Giving back what was read, piece by piece, takes a twentieth of the time of the check.
    std::mem::forget((benchmarks, disk));
    found.sort_by_key(|(index, _)| *index);
    let mut problems: Vec<Problem> = found.into_iter().flat_map(|(_, problems)| problems).collect();
    // A manifest's problems come again through each plan that uses it.
    let mut seen = std::collections::HashSet::new();
    problems.retain(|problem| {
        let file = problem.source.as_ref().map(|source| source.path.clone());
        let place = problem.labels.first().map(|(span, _)| span.start);
        seen.insert((file, place, problem.severity as u8, problem.code, problem.message.clone()))
    });
    problems
}

/// Has the allocator keep what it gets. glibc asks the kernel for each page of a thread's memory, and gives it back after each
/// file. It keeps up to twice the largest piece that was given back to the kernel at once.
fn keep_memory() {
    reserve(16 << 20);
}

/// Has a thread ask for its memory once: for so many bytes, none of which is touched.
fn reserve(bytes: usize) {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(bytes)));
}

/// The manifests and plans that are meant: those named, or all below the folder.
pub(super) fn in_reach(settings: &Settings, paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failed> {
    let here = [PathBuf::from(".")];
    let given = match (&settings.file, paths) {
        (Some(file), []) => vec![file.clone()],
        (_, []) => here.to_vec(),
        (_, paths) => paths.to_vec(),
    };
    let mut files = Vec::new();
    for path in &given {
        if path.is_dir() {
            search(path, DEEPEST, &mut files)?;
        } else if path.exists() {
            files.push(path.clone());
        } else {
            let message = format!("there is no `{}`", path.display());
            return Err(match validate::look_alike(&Disk, path) {
                Some(other) => {
                    Failed::helped(Exit::Usage, message, format!("did you mean `{}`?", other.display()))
                }
                None => Failed::message(Exit::Usage, message),
            });
        }
    }
    if files.is_empty() {
        let help = "a manifest is called benchmark.toml (or .yaml), a plan is in a folder called plans";
        return Err(Failed::helped(Exit::Usage, "there are no manifests or plans here", help));
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn search(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for item in std::fs::read_dir(folder)? {
        let item = item?;
        let name = item.file_name();
        let name = name.to_string_lossy();
        let kind = item.file_type()?;
        if kind.is_dir() {
            // What a fuzzer has made: thousands of files, and manifests only that are broken on purpose.
            let is_fuzzed = folder.ends_with("fuzz") && ["artifacts", "corpus"].contains(&name.as_ref());
            if depth > 0 && !name.starts_with('.') && !SKIPPED.contains(&name.as_ref()) && !is_fuzzed {
                search(&item.path(), depth - 1, files)?;
            }
        } else if is_manifest(&name) && (kind.is_file() || kind.is_symlink()) {
            // Folders may have very many other files, which are not looked at any further.
            let path = item.path();
            // Links of folders are not followed; one of a file is checked, or refused when it leads out.
            if (is_benchmark(&name) || in_plans(&path)) && (kind.is_file() || path.is_file()) {
                files.push(path);
            }
        }
    }
    Ok(())
}

/// Whether a file of this name may be a manifest or a plan.
fn is_manifest(name: &str) -> bool {
    [".toml", ".yaml", ".yml"].iter().any(|end| name.ends_with(end))
}

fn in_plans(path: &Path) -> bool {
    let manifest =
        path.extension().is_some_and(|end| ["toml", "yaml", "yml"].iter().any(|known| end == *known));
    if !manifest {
        return false;
    }
    // Where the folder has no name of its own (`x.toml`, `../x.toml`), its path has.
    let is_plans = |path: &Path| path.parent().and_then(Path::file_name).map(|folder| folder == "plans");
    is_plans(path).or_else(|| is_plans(&absolute(path))).unwrap_or(false)
}

/// A file is a plan when it has a `plan` table; one that cannot be read at all goes by its place.
pub(super) fn is_plan(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if is_benchmark(&name) {
        return false;
    }
    in_plans(path) || validate::is_plan(&Disk, path).unwrap_or_else(|| has_line(path, ["[plan]", "plan:"]))
}

fn has_line(path: &Path, lines: [&str; 2]) -> bool {
    Disk.read(path).is_ok_and(|text| {
        let text = String::from_utf8_lossy(&text);
        text.lines().any(|line| lines.contains(&line.trim_end()))
    })
}
