//! What an earlier `sb dataset mix` has written, and whether somebody has changed it since.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use sb_plan::manifest::read::Kept;
use sha2::{Digest as _, Sha256};

use crate::command::output::Failed;
use crate::exit_code::Exit;
use crate::workspace::absolute;

/// How a plan begins that may be written anew.
pub(super) const MADE_BY: &str = "# Made by `sb dataset mix`:";
/// A line of the plan with the checksum of all its other lines.
const OWN: &str = "# checksum: ";
/// A line for each file beside the plan.
const FILE: &str = "# file: ";

/// The files of a mix: the plan, and what lies in the folder of its name.
pub(super) struct Files {
    /// Begins with [`MADE_BY`].
    pub plan: String,
    /// By their names in the folder.
    pub beside: BTreeMap<String, String>,
}

fn checksum(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..12])
}

impl Files {
    /// The plan, with the checksums by which a later mix knows that nobody has changed anything.
    pub(super) fn sealed_plan(&self) -> String {
        let (first, rest) = self.plan.split_once('\n').unwrap_or((&self.plan, ""));
        let mut files = String::new();
        for (name, text) in &self.beside {
            let _ = writeln!(files, "{FILE}{} {name}", checksum(text.as_bytes()));
        }
        let own = checksum(format!("{first}\n{files}{rest}").as_bytes());
        format!("{first}\n{OWN}{own}\n{files}{rest}")
    }

    /// The files as they will be, above those that are there.
    pub(super) fn above<F>(&self, below: F, output: &Path, folder: &Path) -> Kept<F> {
        let beside = self.beside.iter().map(|(name, text)| (absolute(&folder.join(name)), text.clone()));
        let all = beside.chain([(absolute(output), self.sealed_plan())]);
        Kept::new(all.collect(), below)
    }

    /// Writes everything into the place of an earlier mix, and removes those of its files that are not written anew. With `force`,
    /// what was changed is replaced; a plan of somebody else never is.
    ///
    /// # Errors
    /// Something would be lost: then nothing is written. Or a file cannot be written.
    pub(super) fn write(&self, output: &Path, folder: &Path, force: bool) -> Result<(), Refusal> {
        let beside = self.beside.keys().map(|name| folder.join(name));
        for path in [output.to_owned(), folder.to_owned()].into_iter().chain(beside) {
            if std::fs::symlink_metadata(&path).is_ok_and(|about| about.is_symlink()) {
                let what = format!("`{}` is a link: what is written would lie elsewhere", path.display());
                return Err(Refusal {
                    exit: Exit::Usage,
                    what,
                    help: "name another plan with --output, or remove the link",
                });
            }
        }
        for name in self.beside.keys() {
            let path = folder.join(name);
            if std::fs::metadata(&path).is_ok_and(|about| !about.is_file()) {
                let what = format!("`{}` is there, and is no regular file", path.display());
                return Err(Refusal {
                    exit: Exit::Usage,
                    what,
                    help: "remove it, or name another plan with --output",
                });
            }
        }
        let earlier = earlier(output, force)?;
        let is_ours = |name: &str, bytes: &[u8]| earlier.get(name).is_some_and(|own| *own == checksum(bytes));
        for (name, text) in self.beside.iter().filter(|_| !force) {
            let path = folder.join(name);
            if std::fs::read(&path).is_ok_and(|bytes| bytes != text.as_bytes() && !is_ours(name, &bytes)) {
                let what = format!("`{}` is there, and is not as `sb dataset mix` wrote it", path.display());
                return Err(Refusal { exit: Exit::Usage, what, help: FORCE });
            }
        }
        std::fs::create_dir_all(folder).map_err(|error| Refusal::io("create", folder, &error))?;
        for name in earlier.keys().filter(|name| !self.beside.contains_key(*name)) {
            let path = folder.join(name);
            if std::fs::read(&path).is_ok_and(|bytes| is_ours(name, &bytes)) {
                std::fs::remove_file(&path).map_err(|error| Refusal::io("remove", &path, &error))?;
            }
        }
        let write = |path: &Path, text: &str| {
            sb_durable::write(path, sb_durable::Options::new(), text.as_bytes())
                .map_err(|error| Refusal::io("write", path, &error.source))
        };
        for (name, text) in &self.beside {
            write(&folder.join(name), text)?;
        }
        write(output, &self.sealed_plan())
    }
}

const FORCE: &str = "name another plan with --output, or replace it with --force";

/// Why nothing was written.
#[derive(Debug)]
pub(super) struct Refusal {
    exit: Exit,
    what: String,
    help: &'static str,
}

impl Refusal {
    fn io(doing: &str, path: &Path, error: &dyn std::fmt::Display) -> Self {
        let what = format!("cannot {doing} `{}`: {error}", path.display());
        Self { exit: Exit::Failed, what, help: "name another place with --output" }
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::helped(refusal.exit, refusal.what, refusal.help)
    }
}

/// The checksums of the files of an earlier mix, if there is one.
fn earlier(output: &Path, force: bool) -> Result<BTreeMap<String, String>, Refusal> {
    let Ok(bytes) = std::fs::read(output) else { return Ok(BTreeMap::new()) };
    let text = String::from_utf8_lossy(&bytes);
    if !text.starts_with(MADE_BY) {
        let what = format!("`{}` is there, and is no plan of `sb dataset mix`", output.display());
        return Err(Refusal { exit: Exit::Usage, what, help: "name another file with --output" });
    }
    if !force && !is_unchanged(&text) {
        let what = format!("`{}` was changed since it was made", output.display());
        return Err(Refusal { exit: Exit::Usage, what, help: FORCE });
    }
    Ok(files_of(&text))
}

/// Whether a plan is as it was written.
fn is_unchanged(plan: &str) -> bool {
    let Some((first, rest)) = plan.split_once('\n') else { return false };
    let sealed = rest.strip_prefix(OWN).and_then(|rest| rest.split_once('\n'));
    sealed.is_some_and(|(own, rest)| own == checksum(format!("{first}\n{rest}").as_bytes()))
}

/// The checksums of the files beside a plan, by their names. A name that leads elsewhere is none.
fn files_of(plan: &str) -> BTreeMap<String, String> {
    let lines = plan.lines().skip(2).map_while(|line| line.strip_prefix(FILE));
    let files = lines.filter_map(|line| line.split_once(' '));
    let is_plain = |name: &str| !name.contains(['/', '\\']) && !name.starts_with('.');
    files
        .filter(|(_, name)| is_plain(name))
        .map(|(checksum, name)| (name.to_owned(), checksum.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(plan: &str, beside: &[(&str, &str)]) -> Files {
        let beside = beside.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Files { plan: format!("{MADE_BY} x\n{plan}\n"), beside: beside.collect() }
    }

    #[test]
    fn nothing_is_written_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("elsewhere")).unwrap();
        let mix = files("a", &[("load-a.csv", "1")]);
        for (link, to) in [("mix", "elsewhere"), ("mix.toml", "new.toml"), ("mix/load-a.csv", "new.csv")] {
            if link.contains('/') {
                std::fs::create_dir(at("mix")).unwrap();
            }
            std::os::unix::fs::symlink(at(to), at(link)).unwrap();
            for force in [false, true] {
                let refused = mix.write(&at("mix.toml"), &at("mix"), force).unwrap_err();
                assert!(
                    refused.what.contains(&format!("{}` is a link", at(link).display())),
                    "{}",
                    refused.what
                );
            }
            assert_eq!(std::fs::read_dir(at("elsewhere")).unwrap().count(), 0);
            assert!(!at("new.toml").exists() && !at("new.csv").exists());
            std::fs::remove_file(at(link)).unwrap();
        }
        mix.write(&at("mix.toml"), &at("mix"), false).unwrap();
    }

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("mix")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("mix/load-a.csv")).status().unwrap().success());
        let mix = files("a", &[("load-a.csv", "1"), ("load-b.csv", "2")]);
        for force in [false, true] {
            let refused = mix.write(&at("mix.toml"), &at("mix"), force).unwrap_err();
            assert!(
                refused.what.contains("load-a.csv` is there, and is no regular file"),
                "{}",
                refused.what
            );
        }
        assert!(!at("mix.toml").exists() && !at("mix/load-b.csv").exists());
    }

    #[test]
    fn what_was_changed_is_written_over_only_when_forced() {
        let folder = tempfile::tempdir().unwrap();
        let (plan, beside) = (folder.path().join("mix.toml"), folder.path().join("mix"));
        let load = |name: &str| beside.join(name);
        let first = files("a", &[("load-a.csv", "1"), ("load-b.csv", "2")]);
        let second = files("b", &[("load-a.csv", "3")]);
        let written =
            |files: &Files, force| files.write(&plan, &beside, force).map_err(|refusal| refusal.what);
        written(&first, false).unwrap();
        // Nobody has changed anything: the second takes the place of the first, and leaves nothing of it.
        written(&second, false).unwrap();
        assert_eq!(std::fs::read_to_string(load("load-a.csv")).unwrap(), "3");
        assert!(!load("load-b.csv").exists());
        let text = std::fs::read_to_string(&plan).unwrap();
        assert!(is_unchanged(&text), "{text}");
        // A plan that was changed.
        std::fs::write(&plan, format!("{text}# mine\n")).unwrap();
        assert!(written(&first, false).unwrap_err().contains("was changed since it was made"));
        assert_eq!(std::fs::read_to_string(load("load-a.csv")).unwrap(), "3", "nothing was written");
        written(&first, true).unwrap();
        // A file of somebody else that looks like a load.
        std::fs::write(load("load-c.csv"), "# dataset: mine\n").unwrap();
        written(&second, false).unwrap();
        assert!(load("load-c.csv").exists() && !load("load-b.csv").exists());
        let third = files("c", &[("load-c.csv", "5")]);
        assert!(written(&third, false).unwrap_err().contains("is not as `sb dataset mix` wrote it"));
        assert!(is_unchanged(&std::fs::read_to_string(&plan).unwrap()), "the plan is as before");
        // A changed load that is not written anew stays.
        std::fs::write(load("load-a.csv"), "changed").unwrap();
        written(&third, true).unwrap();
        assert_eq!(std::fs::read_to_string(load("load-a.csv")).unwrap(), "changed");
        assert_eq!(std::fs::read_to_string(load("load-c.csv")).unwrap(), "5");
        // A plan of somebody else is left alone, forced or not.
        std::fs::write(&plan, "[plan]\n").unwrap();
        assert!(written(&first, true).unwrap_err().contains("is no plan of `sb dataset mix`"));
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let text = format!("{MADE_BY} x\n{OWN}0\n{FILE}1 ../a\n{FILE}2 .b\n{FILE}3 c d.csv\nx\n{FILE}4 e\n");
        assert_eq!(files_of(&text), BTreeMap::from([("c d.csv".to_owned(), "3".to_owned())]));
    }
}
