//! The page and the pictures of a report: `sb report --output`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use sb_figures::{Chart, Document, Figure, FigureError, FileWriter, Variant};
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
    let pictures = folder.join(FIGURES);
    fs::create_dir(&pictures).map_err(|error| not_written(&pictures, &error))?;
    let variants = page.figures().flat_map(|figure| figure.variants.iter().map(move |of| (figure, of)));
    let mut parts: Vec<Part<'_>> = variants.map(|(figure, of)| Part::Picture(figure, of)).collect();
    // What takes longest comes first: curves have many points.
    parts.sort_by_key(|part| !matches!(part, Part::Picture(_, of) if matches!(of.chart, Chart::Panels(_))));
    parts.insert(0, Part::Page);
    write_parts(folder, &page, &parts)?;
    Ok(page.figures().count())
}

/// What is drawn and written by itself.
enum Part<'d> {
    Page,
    Picture(&'d Figure, &'d Variant),
}

/// One part after the other, on all processors: each takes a while to draw.
fn write_parts(folder: &Path, page: &Document, parts: &[Part<'_>]) -> Result<(), Failed> {
    let writer = FileWriter::new();
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), Failed> {
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            match part {
                Part::Page => write_file(&folder.join(PAGE), page.html()?.as_bytes())?,
                Part::Picture(figure, variant) => {
                    for file in writer.files_of(figure, variant)? {
                        write_file(&folder.join(FIGURES).join(file.name), &file.bytes)?;
                    }
                }
            }
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(parts.len());
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
