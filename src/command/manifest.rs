//! `sb validate`: every manifest and plan, all problems at once.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Outcome;
use super::output::{Failed, show_problems};
use crate::exit_code::Exit;
use crate::settings::{Settings, is_benchmark};
use crate::terminal::Terminal;
use crate::workspace::absolute;
use sb_plan::manifest::problem::Problem;
use sb_plan::manifest::read::{Disk, Files as _};
use sb_plan::plan::Overrides;
use sb_plan::validate;

/// Folders that hold no manifests of the user's own.
const SKIPPED: &[&str] = &["target", "node_modules", "logs", "schemas"];
const DEEPEST: usize = 12;

pub(super) fn validate(terminal: &Terminal, settings: &Settings, paths: &[PathBuf]) -> Outcome {
    let files = in_reach(settings, paths)?;
    let mut problems: Vec<Problem> = Vec::new();
    for file in &files {
        if let Some(problem) = validate::leads_out(&Disk, file) {
            problems.push(problem);
            continue;
        }
        let path = absolute(file);
        problems.extend(if is_plan(&path) {
            validate::plan(&Disk, &path, &Overrides::default()).problems
        } else {
            validate::benchmark(&Disk, &path).problems
        });
    }
    // A manifest's problems come again through each plan that uses it.
    let mut seen = std::collections::HashSet::new();
    problems.retain(|problem| {
        let file = problem.source.as_ref().map(|source| source.path.clone());
        let place = problem.labels.first().map(|(span, _)| span.start);
        seen.insert((file, place, problem.severity as u8, problem.code, problem.message.clone()))
    });
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    if settings.json() {
        let files: Vec<_> = files.iter().map(|file| absolute(file)).collect();
        let problems: Vec<_> = problems.iter().map(Problem::to_json).collect();
        terminal.data(&format!("{:#}", json!({ "version": 1, "files": files, "problems": problems })))?;
    } else {
        show_problems(terminal, &problems);
        if errors == 0 {
            let count = files.len();
            terminal.say(&format!("{count} file{} checked, no errors", if count == 1 { "" } else { "s" }));
        }
    }
    Ok(if errors == 0 { Exit::Done } else { Exit::InvalidManifest })
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
            return Err(Failed::message(Exit::Usage, format!("there is no `{}`", path.display())));
        }
    }
    if files.is_empty() {
        let help = "a manifest is called benchmark.toml (or .yaml), a plan lies in a folder called plans";
        return Err(Failed::helped(Exit::Usage, "there are no manifests or plans here", help));
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn search(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for item in std::fs::read_dir(folder)? {
        let item = item?;
        let name = item.file_name().to_string_lossy().into_owned();
        let path = item.path();
        let kind = item.file_type()?;
        if kind.is_dir() && depth > 0 && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
            search(&path, depth - 1, files)?;
        } else if kind.is_file() && (is_benchmark(&name) || in_plans(&path)) {
            files.push(path);
        }
    }
    Ok(())
}

fn in_plans(path: &Path) -> bool {
    let manifest =
        path.extension().is_some_and(|end| ["toml", "yaml", "yml"].iter().any(|known| end == *known));
    manifest && absolute(path).parent().and_then(Path::file_name).is_some_and(|folder| folder == "plans")
}

/// Whether a file is the manifest of an application by what it says of itself.
pub(super) fn is_application(path: &Path) -> bool {
    !is_plan(path)
        && Disk.read(path).is_ok_and(|text| {
            let text = String::from_utf8_lossy(&text);
            text.lines().any(|line| line.trim_end() == "[benchmark]" || line.trim_end() == "benchmark:")
        })
}

/// A file is a plan when it has a `[plan]` table; one that cannot be read at all goes by its place.
pub(super) fn is_plan(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if is_benchmark(&name) {
        return false;
    }
    in_plans(path)
        || Disk.read(path).is_ok_and(|text| {
            let text = String::from_utf8_lossy(&text);
            text.lines().any(|line| line.trim_end() == "[plan]" || line.trim_end() == "plan:")
        })
}
