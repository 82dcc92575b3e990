//! Analyses a file of traces with the crate `sb-analysis`: how many traces can be explained, and where the time of the
//! slowest one goes.
//!
//! ```sh
//! cargo run --example analyze -- traces.json
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use sb_analysis::{Analysis, Method, Trace, for_each_trace};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do where the error cannot be shown either.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("name a file of traces: analyze FILE")?;
    let found = Found::read(Path::new(&file))?;
    found.write(&mut io::stdout().lock())?;
    Ok(())
}

/// What a file of traces comes to.
#[derive(Default)]
struct Found {
    valid: u64,
    /// Invalid traces by the code of the reason.
    invalid: BTreeMap<&'static str, u64>,
    slowest: Option<Slowest>,
}

/// The slowest trace that can be explained.
struct Slowest {
    id: String,
    analysis: Analysis,
    /// The names of the spans of [`Analysis::pieces`].
    names: Vec<String>,
}

impl Found {
    fn read(file: &Path) -> io::Result<Self> {
        let mut found = Self::default();
        let method = Method::default();
        for_each_trace(file, "", |recorded| {
            let explained = recorded.and_then(|recorded| {
                method
                    .inspect(recorded, |trace, analysis| analysis.map(|analysis| found.add(trace, analysis)))
            });
            // Spans that form no tree, or a tree that the critical path does not explain.
            let reason = match explained {
                Ok(Ok(())) => None,
                Ok(Err(reason)) => Some(reason),
                Err(rejected) => Some(rejected.reason),
            };
            if let Some(reason) = reason {
                *found.invalid.entry(reason.code()).or_default() += 1;
            }
            true
        })?;
        Ok(found)
    }

    fn add(&mut self, trace: &Trace<'_>, analysis: Analysis) {
        self.valid += 1;
        let longest = self.slowest.as_ref().map(|slowest| slowest.analysis.row.duration);
        if longest.is_none_or(|longest| analysis.row.duration > longest) {
            let names = analysis.pieces.iter().map(|piece| trace.span(piece.span).name.to_string()).collect();
            self.slowest = Some(Slowest { id: trace.id.to_string(), analysis, names });
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{} valid, {} invalid traces", self.valid, self.invalid.values().sum::<u64>())?;
        for (code, count) in &self.invalid {
            writeln!(out, "  {count} × {code}")?;
        }
        match &self.slowest {
            Some(slowest) => slowest.write(out),
            None => Ok(()),
        }
    }
}

impl Slowest {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let row = &self.analysis.row;
        writeln!(out, "\nthe slowest: {}, {} ms", self.id, milliseconds(row.duration))?;
        writeln!(out, "\ncritical path: {}", row.longest_path_names.join(" > "))?;
        let start = self.analysis.pieces.first().map_or(0, |piece| piece.start);
        for (piece, name) in self.analysis.pieces.iter().zip(&self.names) {
            let (from, length) = (milliseconds(piece.start - start), milliseconds(piece.end - piece.start));
            writeln!(out, "{from:>12} ms {length:>12} ms  {:<24}  {name}", piece.activity.name())?;
        }
        writeln!(out, "\nbreakdown")?;
        for (activity, part) in row.parts.iter() {
            let Some(part) = part.filter(|part| *part != 0) else { continue };
            let share = 100.0 * part as f64 / row.duration as f64;
            writeln!(out, "{:>12} ms {share:>13.1} %  {}", milliseconds(part), activity.name())?;
        }
        Ok(())
    }
}

fn milliseconds(microseconds: i64) -> String {
    format!("{:.3}", microseconds as f64 / 1e3)
}
