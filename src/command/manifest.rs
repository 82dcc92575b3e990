//! `sb validate`: every manifest and plan, all problems at once.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use serde_json::json;

use super::Outcome;
use super::fix;
use super::output::{Failed, show_each};
use super::problems::Found;
use crate::cli::OutputFormat;
use crate::exit_code::Exit;
use crate::printable;
use crate::settings::{Settings, is_benchmark};
use crate::terminal::Terminal;
use crate::workspace::absolute;
use sb_plan::manifest::problem::{Problem, Severity, Source};
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
    let given = given(settings, paths)?;
    let mut unreadable = Vec::new();
    let are_many = given.len() > 1 || given.iter().any(|path| path.is_dir());
    let checked = check(are_many, |found| unreadable = search(&given, found));
    if checked.is_empty() && unreadable.is_empty() {
        return Err(nothing_here());
    }
    let (files, mut problems) = checked.in_order();
    if manner.fix && fix::all(terminal, &problems)? {
        (_, problems) = check(are_many, |found| files.iter().cloned().for_each(found)).in_order();
    }
    problems.splice(0..0, unreadable);
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
    let number = printable::counted::<usize>;
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

/// Files as they were found, where each lies, and its problems and those of the files that it names.
struct CheckedFiles(Vec<(PathBuf, PathBuf, Vec<Problem>)>);

impl CheckedFiles {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the files lie and all problems, each once: a manifest's come again through each plan that uses it.
    fn in_order(mut self) -> (Vec<PathBuf>, Vec<Problem>) {
        self.0.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let (mut files, mut problems) = (Vec::new(), Vec::new());
        for (_, file, of_file) in self.0 {
            files.push(file);
            problems.extend(of_file);
        }
        let mut seen = HashSet::new();
        problems.retain(|problem: &Problem| {
            let file = problem.source.as_ref().map(|source| source.path.clone());
            let place = problem.labels.first().map(|(span, _)| span.start);
            seen.insert((file, place, problem.severity as u8, problem.code, problem.message.clone()))
        });
        (files, problems)
    }
}

/// Files that were found and are still to be checked: one thread looks for more while the others check.
#[derive(Default)]
struct Queue {
    state: Mutex<QueueState>,
    more: Condvar,
}

#[derive(Default)]
struct QueueState {
    files: VecDeque<PathBuf>,
    /// No more will come.
    is_complete: bool,
}

impl Queue {
    fn push(&self, file: PathBuf) {
        self.state.lock().files.push_back(file);
        self.more.notify_one();
    }

    fn complete(&self) {
        self.state.lock().is_complete = true;
        self.more.notify_all();
    }

    /// The next file, as soon as there is one. None: that was all.
    fn pop(&self) -> Option<PathBuf> {
        let mut state = self.state.lock();
        loop {
            match state.files.pop_front() {
                None if !state.is_complete => self.more.wait(&mut state),
                next => return next,
            }
        }
    }
}

/// Ends the search also where it panics: nobody must wait for more.
struct Completing<'a>(&'a Queue);

impl Drop for Completing<'_> {
    fn drop(&mut self) {
        self.0.complete();
    }
}

/// Checks what `find` finds. All processors share the work, and a manifest that several plans use is read once.
fn check(are_many: bool, find: impl FnOnce(&mut dyn FnMut(PathBuf))) -> CheckedFiles {
    let (benchmarks, disk, queue) = (validate::Benchmarks::default(), Once::default(), Queue::default());
    let work = || {
        reserve(4 << 20);
        let mut checked = Vec::new();
        while let Some(found) = queue.pop() {
            // A link out of its work tree is not followed: it is refused under its own name.
            let path = std::path::absolute(&found).unwrap_or_else(|_| found.clone());
            let path = if validate::leads_out(&disk, &path).is_some() { path } else { disk.canonical(&path) };
            let problems = if is_plan(&path) {
                validate::plan_sharing(&disk, &path, &Overrides::default(), &benchmarks).problems
            } else {
                benchmarks.benchmark(&disk, &path).problems
            };
            checked.push((found, path, problems));
        }
        checked
    };
    keep_memory();
    let processors = if are_many { std::thread::available_parallelism().map_or(1, usize::from) } else { 1 };
    let checked = std::thread::scope(|scope| {
        let others: Vec<_> = (1..processors).map(|_| scope.spawn(work)).collect();
        let mut seen = HashSet::new();
        let completing = Completing(&queue);
        find(&mut |file: PathBuf| {
            if seen.insert(file.clone()) {
                queue.push(file);
            }
        });
        drop(completing);
        let mut checked = work();
        for other in others {
            match other.join() {
                Ok(more) => checked.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        checked
    });
    // The process ends soon. Giving back what was read, piece by piece, takes a twentieth of the time of the check.
    std::mem::forget((benchmarks, disk));
    CheckedFiles(checked)
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

/// The manifests and plans that are meant.
pub(super) struct Reach {
    /// In the order of their paths.
    pub(super) files: Vec<PathBuf>,
    /// Of each folder in which nobody could look for more.
    pub(super) unreadable: Vec<Problem>,
}

/// The manifests and plans that are meant: those named, or all below the folder. A folder that cannot be read hides only what
/// lies in it.
pub(super) fn in_reach(settings: &Settings, paths: &[PathBuf]) -> Result<Reach, Failed> {
    let mut files = Vec::new();
    let unreadable = search(&given(settings, paths)?, &mut |file| files.push(file));
    if files.is_empty() && unreadable.is_empty() {
        return Err(nothing_here());
    }
    files.sort();
    files.dedup();
    Ok(Reach { files, unreadable })
}

fn nothing_here() -> Failed {
    let help = "a manifest is called benchmark.toml (or .yaml), a plan is in a folder called plans";
    Failed::helped(Exit::Usage, "there are no manifests or plans here", help)
}

/// The files and folders that are meant, each of which is there.
fn given(settings: &Settings, paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failed> {
    let given = match (&settings.file, paths) {
        (Some(file), []) => vec![file.clone()],
        (_, []) => vec![PathBuf::from(".")],
        (_, paths) => paths.to_vec(),
    };
    // One that cannot be looked at is an error under its own name, and so is a link to nothing.
    let is_there = |path: &Path| path.is_symlink() || path.try_exists().unwrap_or(true);
    let Some(missing) = given.iter().find(|path| !is_there(path)) else {
        return Ok(given);
    };
    let message = format!("there is no `{}`", missing.display());
    Err(match validate::look_alike(&Disk, missing) {
        Some(other) => Failed::helped(Exit::Usage, message, format!("did you mean `{}`?", other.display())),
        None => Failed::message(Exit::Usage, message),
    })
}

/// Finds the manifests and plans among and below what was given. Returns a problem for each folder that cannot be read.
fn search(given: &[PathBuf], found: &mut dyn FnMut(PathBuf)) -> Vec<Problem> {
    let mut search = Search { found, unreadable: Vec::new() };
    for path in given {
        if path.is_dir() {
            search.below(path, DEEPEST);
        } else {
            (search.found)(path.clone());
        }
    }
    search.unreadable
}

struct Search<'a> {
    found: &'a mut dyn FnMut(PathBuf),
    unreadable: Vec<Problem>,
}

impl Search<'_> {
    fn below(&mut self, folder: &Path, depth: usize) {
        let items = match std::fs::read_dir(folder) {
            Ok(items) => items,
            Err(error) => return self.cannot_read(folder, &error),
        };
        for item in items {
            let (item, kind) = match item.and_then(|item| Ok((item.file_type()?, item))) {
                Ok((kind, item)) => (item, kind),
                Err(error) => return self.cannot_read(folder, &error),
            };
            let name = item.file_name();
            let name = name.to_string_lossy();
            if kind.is_dir() && !is_benchmark(&name) {
                // What a fuzzer has made: thousands of files, and manifests only that are broken on purpose.
                let is_fuzzed = folder.ends_with("fuzz") && ["artifacts", "corpus"].contains(&name.as_ref());
                if depth > 0 && !name.starts_with('.') && !SKIPPED.contains(&name.as_ref()) && !is_fuzzed {
                    self.below(&item.path(), depth - 1);
                }
            } else if is_manifest(&name) && (is_benchmark(&name) || in_plans(&item.path())) {
                // Whatever has such a name is meant to be one: what cannot be read is refused under it. A link of a file is
                // checked, or refused when it leads out. Other files, of which there may be very many, are not looked at.
                (self.found)(item.path());
            }
        }
    }

    fn cannot_read(&mut self, folder: &Path, error: &std::io::Error) {
        let path = absolute(folder);
        let message = format!("cannot read the folder `{}`: {error}", path.display());
        let mut problem = Problem::error("unreadable-file", message)
            .help("let it be read, or name the files and folders that are to be checked");
        problem.source = Some(Arc::new(Source::new(&path, "")));
        self.unreadable.push(problem);
    }
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
