//! The page and the pictures of a report: `sb report --output`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use sb_figures::{Figure, FigureError, FileWriter};
use sb_pages::{Course, Paths, Source, document};
use sb_report::Report;

use super::output::Failed;
use crate::exit_code::Exit;

/// Where the page is in the folder of a report, and where its pictures and tables are.
const PAGE: &str = "report.html";
const FIGURES: &str = "figures";
const TABLES: &str = "tables";

impl From<FigureError> for Failed {
    fn from(error: FigureError) -> Self {
        Self::message(Exit::Failed, error.to_string())
    }
}

/// What a report is about, for its title.
pub(super) struct About {
    pub(super) title: String,
    /// The run, if the report is about one.
    pub(super) course: Option<Course>,
}

/// Writes the page and the pictures into a folder, and says how many figures there are.
pub(super) fn write(folder: &Path, report: &Report, about: About, paths: &Paths) -> Result<usize, Failed> {
    let source = Source {
        title: about.title,
        course: about.course,
        paths: Some(paths),
        figures: Some(FIGURES.to_owned()),
        tables: Some(TABLES.to_owned()),
        ..Source::new(report)
    };
    let page = document(&source);
    write_file(&folder.join(PAGE), page.html()?.as_bytes())?;
    let pictures = folder.join(FIGURES);
    fs::create_dir(&pictures).map_err(|error| not_written(&pictures, &error))?;
    let figures: Vec<&Figure> = page.figures().collect();
    write_pictures(&pictures, &figures)?;
    Ok(figures.len())
}

/// One variant of a figure after the other, on all processors: a picture takes a while to draw.
fn write_pictures(folder: &Path, figures: &[&Figure]) -> Result<(), Failed> {
    let writer = FileWriter::new();
    let next = AtomicUsize::new(0);
    let variants: Vec<_> =
        figures.iter().flat_map(|figure| figure.variants.iter().map(|variant| (*figure, variant))).collect();
    let work = || -> Result<(), Failed> {
        while let Some((figure, variant)) = variants.get(next.fetch_add(1, Ordering::Relaxed)) {
            for file in writer.files_of(figure, variant)? {
                write_file(&folder.join(file.name), &file.bytes)?;
            }
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(variants.len().max(1));
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(|worker| {
            let died =
                |_| Failed::message(Exit::Failed, "a picture could not be drawn: this is a fault of sb");
            worker.join().unwrap_or_else(|panic| Err(died(panic)))
        });
        ended.collect()
    })
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failed> {
    fs::write(path, bytes).map_err(|error| not_written(path, &error))
}

fn not_written(path: &Path, error: &std::io::Error) -> Failed {
    let help = "is there room on the disk, and may the folder be written?";
    Failed::helped(Exit::Failed, format!("cannot write {}: {error}", path.display()), help)
}

/// The title of a report about folders.
pub(super) fn title_of(folders: &[PathBuf]) -> String {
    match folders {
        [one] => format!("Report of {}", one.display()),
        many => format!("Report of {} folders", many.len()),
    }
}
