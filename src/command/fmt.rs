//! `sb fmt`: manifests and plans in one layout.

use std::path::{Path, PathBuf};

use super::Outcome;
use super::fix::write;
use super::manifest::{Reach, in_reach};
use super::output::{show_change, show_problems};
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::workspace::absolute;
use sb_plan::format::format;
use sb_plan::manifest::problem::Problem;
use sb_plan::manifest::read::Disk;
use sb_plan::validate;

/// Lays the files out; with `check`, only shows what would change, and fails when something would.
pub(super) fn fmt(terminal: &Terminal, settings: &Settings, paths: &[PathBuf], check: bool) -> Outcome {
    let (mut changed, mut left_alone, mut invalid, mut count) = (0, 0, 0, 0);
    let Reach { files: found, unreadable } = in_reach(settings, paths)?;
    show_problems(terminal, &unreadable);
    for file in found {
        let is_toml = file.extension().is_some_and(|end| end == "toml");
        if !is_toml {
            left_alone += 1;
            if paths.contains(&file) {
                terminal.say(&format!("{}: not TOML, left as it is", file.display()));
            }
            continue;
        }
        count += 1;
        match laid_out(&file) {
            Ok(None) => {}
            Ok(Some((before, after))) => {
                changed += 1;
                if check {
                    show_change(terminal, &file, &before, &after);
                } else {
                    write(&file, &before, &after)?;
                    terminal.say(&format!("formatted {}", file.display()));
                }
            }
            Err(problems) => {
                invalid += 1;
                show_problems(terminal, &problems);
            }
        }
    }
    let yaml = match left_alone {
        0 => String::new(),
        count => {
            format!(
                "; {} of YAML left as {}",
                counted(count, "file"),
                if count == 1 { "it is" } else { "they are" }
            )
        }
    };
    let refused = if invalid == 0 {
        String::new()
    } else {
        format!("; {} left as found, because of errors", counted(invalid, "file"))
    };
    let done = match (check, changed) {
        (_, 0) => format!("{} checked, nothing to change", counted(count, "file")),
        (true, _) => format!("{} of {} would change: `sb fmt` does it", changed, counted(count, "file")),
        (false, _) => format!("{changed} of {} changed", counted(count, "file")),
    };
    terminal.say(&format!("{done}{refused}{yaml}"));
    Ok(match (invalid + unreadable.len(), check && changed > 0) {
        (0, false) => Exit::Done,
        (0, true) => Exit::Failed,
        _ => Exit::InvalidManifest,
    })
}

/// What a file holds and what it should hold; none where that is the same.
fn laid_out(file: &Path) -> Result<Option<(String, String)>, Vec<Problem>> {
    let before = validate::text(&Disk, file)?;
    let after = format(&absolute(file), &before)?;
    Ok((after != before).then_some((before, after)))
}
