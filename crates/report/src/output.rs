//! A report as a folder of files.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use sb_analysis::{PlainCells, write_parquet};
use sb_durable::{FolderReplacement, WriteError};
use serde::Serialize;

use crate::note::Note;
use crate::parallel;
use crate::report::Report;
use crate::summary::summary;
use crate::table::{Cells, Table};

/// In the folder of a report: what it is. A folder without this file is none of ours, and is not replaced.
const ABOUT_FILE: &str = "report.json";

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Something else is there.
    #[error("{} is there already and is no report of sb; name another folder, or remove this one", path.display())]
    Taken {
        /// The folder that was asked for.
        path: PathBuf,
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
}

/// What `report.json` says.
#[derive(Serialize)]
struct About<'a> {
    version: u32,
    sb_version: &'a str,
    as_published: bool,
    executions: u64,
    tables: Vec<AboutTable<'a>>,
    notes: &'a [Note],
}

#[derive(Serialize)]
struct AboutTable<'a> {
    name: &'a str,
    about: &'a str,
    rows: usize,
}

impl Output {
    /// Begins the folder `target`, which may be missing, empty, or an earlier report.
    ///
    /// # Errors
    /// Something else is there, or the folder above cannot be written.
    pub fn create(target: &Path) -> Result<Self, OutputError> {
        let is_free = match fs::read_dir(target) {
            Ok(mut inside) => inside.next().is_none() || target.join(ABOUT_FILE).is_file(),
            Err(error) => error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(target).is_err(),
        };
        if !is_free {
            return Err(OutputError::Taken { path: target.to_owned() });
        }
        Ok(Self { folder: FolderReplacement::create(target)? })
    }

    /// Where further files belong, until the folder takes its place.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `tables/NAME.csv` and `tables/NAME.parquet` of every table, `summary.md`, and `report.json`.
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
        let about = About {
            version: Report::VERSION,
            sb_version,
            as_published: report.as_published,
            executions: report.executions,
            tables: report
                .tables
                .iter()
                .map(|table| AboutTable { name: table.name, about: table.about, rows: table.rows() })
                .collect(),
            notes: &report.notes,
        };
        write_file(&self.path().join(ABOUT_FILE), |file| {
            serde_json::to_writer_pretty(&mut *file, &about)?;
            file.write_all(b"\n")
        })
    }

    /// Takes the place of what was there.
    ///
    /// # Errors
    /// What the file system refuses. What was there is then still there.
    pub fn place(self) -> Result<(), OutputError> {
        Ok(self.folder.place()?)
    }
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

    #[test]
    fn a_report_replaces_a_report_and_nothing_else() {
        let above = tempfile::tempdir().unwrap();
        let target = above.path().join("out");
        for _ in 0..2 {
            let output = Output::create(&target).unwrap();
            output.write(&report(), "1.2.3").unwrap();
            output.place().unwrap();
        }
        assert_eq!(fs::read_to_string(target.join("tables/small.csv")).unwrap(), "a,b\nx,0.5\n");
        assert!(fs::read(target.join("tables/small.parquet")).unwrap().starts_with(b"PAR1"));
        let about: serde_json::Value =
            serde_json::from_slice(&fs::read(target.join(ABOUT_FILE)).unwrap()).unwrap();
        assert_eq!((&about["tables"][0]["rows"], &about["sb_version"]), (&1.into(), &"1.2.3".into()));

        let foreign = above.path().join("mine");
        fs::create_dir(&foreign).unwrap();
        drop(Output::create(&foreign).unwrap());
        fs::write(foreign.join("thesis.txt"), "all of it").unwrap();
        let error = Output::create(&foreign).unwrap_err().to_string();
        assert!(error.contains("no report of sb; name another folder"), "{error}");
        let error = Output::create(&foreign.join("thesis.txt")).unwrap_err().to_string();
        assert!(error.contains("thesis.txt is there already"), "{error}");
        assert_eq!(fs::read_to_string(foreign.join("thesis.txt")).unwrap(), "all of it");
    }
}
