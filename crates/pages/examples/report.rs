//! Writes a report with its figures: `cargo run -p sb-pages --example report -- OUT FOLDER…`.

use std::error::Error;
use std::path::PathBuf;

use sb_figures::FileWriter;
use sb_pages::{Source, document};
use sb_report::{Options, Report, read};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let out = arguments.next().ok_or("name a folder to write to, and folders of executions")?;
    let folders: Vec<PathBuf> = arguments.collect();
    let report = Report::new(&read(&folders, &Options::default())?);
    let page = document(&Source { figures: Some("figures".to_owned()), ..Source::new(&report) });
    std::fs::create_dir_all(out.join("figures"))?;
    std::fs::write(out.join("report.html"), page.html()?)?;
    let writer = FileWriter::new();
    for figure in page.figures() {
        for file in writer.files(figure)? {
            std::fs::write(out.join("figures").join(file.name), file.bytes)?;
        }
    }
    Ok(())
}
