//! Writes the tables of a dataset, as `sb report DIR… --output OUT` does:
//! `cargo run --release -p sb-report --example tables -- OUT DIR…`.

use std::path::PathBuf;

use sb_report::{Options, Output, Report, read};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if paths.len() < 2 {
        return Err("usage: tables OUT DIR…".into());
    }
    let out = paths.remove(0);
    let report = Report::new(&read(&paths, &Options::default())?);
    let output = Output::create(&out, &paths)?;
    output.write(&report, env!("CARGO_PKG_VERSION"))?;
    Ok(output.place()?)
}
