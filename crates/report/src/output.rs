//! A report as a folder of files.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Component, Path, PathBuf};

use sb_analysis::{PlainCells, write_parquet};
use sb_durable::{FolderReplacement, WriteError, files_below};
use serde::{Deserialize, Serialize};

use crate::note::Note;
use crate::parallel;
use crate::report::Report;
use crate::summary::summary;
use crate::table::{Cells, Table};

/// In the folder of a report: what it is, and which files it has. A folder without this file is none of ours, and is not
/// replaced.
const ABOUT_FILE: &str = "report.json";
/// What the file says of itself. A `report.json` of another program does not.
const KIND: &str = "sb report";

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A report must not be written there.
    #[error("{} {problem}", path.display())]
    Taken {
        /// The folder that was asked for.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}; is there room on the disk, and may the folder be written?", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The folder cannot take its place.
    #[error("{0}; is the folder above it writable?")]
    Place(#[from] WriteError),
}

/// The folder of a report while it is filled. It takes its place when it is complete; dropped before, it leaves nothing.
#[derive(Debug)]
pub struct Output {
    folder: FolderReplacement,
    target: PathBuf,
    about: OnceCell<About>,
}

/// What `report.json` says.
#[derive(Debug, Serialize)]
struct About {
    kind: &'static str,
    version: u32,
    sb_version: String,
    as_published: bool,
    executions: u64,
    tables: Vec<AboutTable>,
    notes: Vec<Note>,
    /// Every file of the folder, this one included, as paths below it. Only these are removed with the report.
    files: Vec<String>,
}

#[derive(Debug, Serialize)]
struct AboutTable {
    name: &'static str,
    about: &'static str,
    rows: usize,
}

/// What tells a report of ours, and its files, from everything else.
#[derive(Deserialize)]
struct Known {
    kind: String,
    files: Vec<String>,
}

impl Output {
    /// Begins the folder `target`, which may be missing, empty, or an earlier report without further files. `inputs` are the
    /// folders that the report is about.
    ///
    /// # Errors
    /// Something else is there; the folder is an input, or one is inside the other; the folder above cannot be written.
    pub fn create(target: &Path, inputs: &[PathBuf]) -> Result<Self, OutputError> {
        check_apart(target, inputs)?;
        check_free(target)?;
        Ok(Self {
            folder: FolderReplacement::create(target)?,
            target: target.to_owned(),
            about: OnceCell::new(),
        })
    }

    /// Where further files belong, until the folder takes its place.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `tables/NAME.csv` and `tables/NAME.parquet` of every table, and `summary.md`. `report.json` follows with
    /// [`place`](Self::place), for it names every file of the folder.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, report: &Report, sb_version: &str) -> Result<(), OutputError> {
        let tables = self.path().join("tables");
        fs::create_dir(&tables).map_err(|source| OutputError::Write { path: tables.clone(), source })?;
        let written = parallel::map(&report.tables, |_, table| {
            write_file(&tables.join(format!("{}.csv", table.name)), |file| table.write_csv(file))?;
            write_file(&tables.join(format!("{}.parquet", table.name)), |file| table.write_parquet(file))
        });
        written.into_iter().collect::<Result<(), _>>()?;
        write_file(&self.path().join("summary.md"), |file| file.write_all(summary(report).as_bytes()))?;
        let tables = report.tables.iter().map(|table| AboutTable {
            name: table.name,
            about: table.about,
            rows: table.rows(),
        });
        // A second call would have failed at the folder of tables.
        let _ = self.about.set(About {
            kind: KIND,
            version: Report::VERSION,
            sb_version: sb_version.to_owned(),
            as_published: report.as_published,
            executions: report.executions,
            tables: tables.collect(),
            notes: report.notes.clone(),
            files: Vec::new(),
        });
        Ok(())
    }

    /// Writes `report.json`, and takes the place of what was there.
    ///
    /// # Errors
    /// What the file system refuses, or a foreign file that came into the folder meanwhile. What was there is then still there.
    pub fn place(mut self) -> Result<(), OutputError> {
        if let Some(mut about) = self.about.take() {
            let path = self.path().join(ABOUT_FILE);
            let unread = |source| OutputError::Write { path: path.clone(), source };
            about.files = files_below(self.path()).map_err(unread)?;
            about.files.push(ABOUT_FILE.to_owned());
            about.files.sort();
            write_file(&path, |file| {
                serde_json::to_writer_pretty(&mut *file, &about)?;
                file.write_all(b"\n")
            })?;
        }
        // The report took its time: look again before anything is removed.
        check_free(&self.target)?;
        Ok(self.folder.place()?)
    }
}

/// Refuses a folder that holds anything but a report of ours.
fn check_free(target: &Path) -> Result<(), OutputError> {
    let known = |bytes: &[u8]| {
        let known: Known = serde_json::from_slice(bytes).ok()?;
        (known.kind == KIND).then_some(known.files)
    };
    sb_durable::expect_own(target, ABOUT_FILE, "report", known)
        .map_err(|problem| OutputError::Taken { path: target.to_owned(), problem })
}

/// Refuses a folder that is an input, holds one, or lies in one.
fn check_apart(target: &Path, inputs: &[PathBuf]) -> Result<(), OutputError> {
    let out = resolved(target);
    for input in inputs {
        let read = resolved(input);
        let relation = if out == read {
            "is"
        } else if read.starts_with(&out) {
            "holds"
        } else if out.starts_with(&read) {
            "lies in"
        } else {
            continue;
        };
        let problem = format!(
            "{relation} the folder {}, which the report is about; name a folder outside of it",
            input.display()
        );
        return Err(OutputError::Taken { path: target.to_owned(), problem });
    }
    Ok(())
}

/// The path without links and dots, as far as it is there; the rest as it is written.
fn resolved(path: &Path) -> PathBuf {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut found = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::ParentDir => {
                found.pop();
            }
            Component::CurDir => {}
            other => {
                found.push(other);
                // Also in the middle: what `..` leads to depends on the links before it.
                if let Ok(real) = found.canonicalize() {
                    found = real;
                }
            }
        }
    }
    found
}

fn write_file(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), OutputError> {
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        fill(&mut file)?;
        file.flush()
    });
    written.map_err(|source| OutputError::Write { path: path.to_owned(), source })
}

impl Table {
    /// Writes it as Parquet, with the types of its columns.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn write_parquet(&self, out: impl io::Write + Send) -> io::Result<()> {
        let columns: Vec<(&str, PlainCells<'_>)> = self
            .columns
            .iter()
            .map(|column| {
                let cells = match &column.cells {
                    Cells::Text(cells) => PlainCells::Text(cells),
                    Cells::Integer(cells) => PlainCells::Integer(cells),
                    Cells::Float(cells) => PlainCells::Double(cells),
                    Cells::Boolean(cells) => PlainCells::Boolean(cells),
                };
                (&*column.name, cells)
            })
            .collect();
        write_parquet(out, &columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn report() -> Report {
        let mut table = Table::new("small", "One row.", &[("a", Kind::Text), ("b", Kind::Float)]);
        table.push(["x".into(), 0.5.into()]);
        Report {
            version: Report::VERSION,
            as_published: false,
            executions: 0,
            notes: Vec::new(),
            groups: Vec::new(),
            tables: vec![table],
        }
    }

    fn write(target: &Path) -> Result<(), OutputError> {
        let output = Output::create(target, &[])?;
        output.write(&report(), "1.2.3")?;
        fs::create_dir(output.path().join("figures")).unwrap();
        fs::write(output.path().join("figures/a.svg"), "<svg/>").unwrap();
        output.place()
    }

    #[test]
    fn a_report_replaces_a_report_and_nothing_else() {
        let above = tempfile::tempdir().unwrap();
        let target = above.path().join("out");
        for _ in 0..2 {
            write(&target).unwrap();
        }
        assert_eq!(fs::read_to_string(target.join("tables/small.csv")).unwrap(), "a,b\nx,0.5\n");
        assert!(fs::read(target.join("tables/small.parquet")).unwrap().starts_with(b"PAR1"));
        let about: serde_json::Value =
            serde_json::from_slice(&fs::read(target.join(ABOUT_FILE)).unwrap()).unwrap();
        assert_eq!((&about["tables"][0]["rows"], &about["sb_version"]), (&1.into(), &"1.2.3".into()));
        let files = ["figures/a.svg", ABOUT_FILE, "summary.md", "tables/small.csv", "tables/small.parquet"];
        assert_eq!((&about["kind"], &about["files"]), (&KIND.into(), &serde_json::json!(files)));

        let foreign = above.path().join("mine");
        fs::create_dir(&foreign).unwrap();
        drop(Output::create(&foreign, &[]).unwrap());
        fs::write(foreign.join("thesis.txt"), "all of it").unwrap();
        let error = Output::create(&foreign, &[]).unwrap_err().to_string();
        assert!(error.contains("no report of sb; name another folder"), "{error}");
        let error = Output::create(&foreign.join("thesis.txt"), &[]).unwrap_err().to_string();
        assert!(error.contains("thesis.txt is there already"), "{error}");
        assert_eq!(fs::read_to_string(foreign.join("thesis.txt")).unwrap(), "all of it");
    }

    #[test]
    fn files_of_others_are_never_removed() {
        let above = tempfile::tempdir().unwrap();
        let target = above.path().join("out");
        // Other programs write files of this name, too.
        fs::create_dir(&target).unwrap();
        fs::write(target.join("thesis.tex"), "t").unwrap();
        for other in ["{}", "[", r#"{ "kind": "jest", "files": ["thesis.tex"] }"#] {
            fs::write(target.join(ABOUT_FILE), other).unwrap();
            let error = write(&target).unwrap_err().to_string();
            assert!(error.contains("is no report of sb"), "{other}: {error}");
        }
        assert_eq!(fs::read_to_string(target.join("thesis.tex")).unwrap(), "t");

        fs::remove_dir_all(&target).unwrap();
        write(&target).unwrap();
        fs::write(target.join("figures/mynotes.txt"), "n").unwrap();
        fs::create_dir(target.join("empty")).unwrap();
        let error = write(&target).unwrap_err().to_string();
        assert!(
            error.contains("holds files that are not of a report: empty/, figures/mynotes.txt; move"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(target.join("figures/mynotes.txt")).unwrap(), "n");
        fs::remove_file(target.join("figures/mynotes.txt")).unwrap();
        fs::remove_dir(target.join("empty")).unwrap();

        // It came while the report was made.
        let output = Output::create(&target, &[]).unwrap();
        output.write(&report(), "1.2.3").unwrap();
        fs::write(target.join("late.txt"), "l").unwrap();
        assert!(output.place().unwrap_err().to_string().contains("late.txt"));
        assert_eq!(fs::read_to_string(target.join("late.txt")).unwrap(), "l");
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_report_is_apart_from_what_it_is_about() {
        let above = tempfile::tempdir().unwrap();
        let raw = above.path().join("data/raw");
        fs::create_dir_all(&raw).unwrap();
        let link = above.path().join("link");
        std::os::unix::fs::symlink(&raw, &link).unwrap();
        let check = |target: PathBuf, expected: Option<&str>| {
            let found = Output::create(&target, &[above.path().join("other"), raw.join(".")]);
            match (found, expected) {
                (Ok(_), None) => {}
                (Err(error), Some(expected)) => {
                    let error = error.to_string();
                    assert!(error.contains(expected) && error.contains("outside of it"), "{error}");
                }
                (found, expected) => panic!("{}: {found:?} instead of {expected:?}", target.display()),
            }
        };
        check(raw.clone(), Some("is the folder"));
        check(raw.join("new/out"), Some("lies in the folder"));
        check(link.join("out"), Some("lies in the folder"));
        check(link, Some("is the folder"));
        check(above.path().join("data"), Some("holds the folder"));
        check(above.path().join("other/../data/raw"), Some("is the folder"));
        check(above.path().join("data/raw-report"), None);
        assert_eq!(fs::read_dir(&raw).unwrap().count(), 0);
    }
}
