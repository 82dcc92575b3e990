//! Small commands: schema, completions, version, wait, and the analysis of files.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::CommandFactory as _;
use serde_json::json;

use super::Outcome;
use super::output::Failed;
use crate::cli::{Cli, MethodArguments, RepairKind, SchemaKind};
use crate::exit_code::Exit;
use crate::manifest::schema;
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::trace::activities::Activities;
use crate::trace::analyze::{self, Options};
use crate::trace::method::Method;
use crate::trace::repair::Repair;

pub(super) fn schema(terminal: &Terminal, kind: SchemaKind) -> Outcome {
    let kind = match kind {
        SchemaKind::Benchmark => schema::SchemaKind::Benchmark,
        SchemaKind::Plan => schema::SchemaKind::Plan,
        SchemaKind::Workload => schema::SchemaKind::Workload,
    };
    terminal.data(&schema::schema(kind))?;
    Ok(Exit::Done)
}

pub(super) fn completions(terminal: &Terminal, shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sb", &mut script);
    terminal.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

pub(super) fn version(terminal: &Terminal, settings: &Settings) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    let text =
        if settings.json() { json!({ "version": version }).to_string() } else { format!("sb {version}") };
    terminal.data(&text)?;
    Ok(Exit::Done)
}

pub(super) fn wait(terminal: &Terminal, duration: Duration) {
    let end = Instant::now() + duration;
    let bar = terminal
        .lively
        .then(|| terminal.bars().add(indicatif::ProgressBar::new(duration.as_millis() as u64)));
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::sleep(left.min(Duration::from_millis(100)));
        if let Some(bar) = &bar {
            bar.set_position((duration.saturating_sub(left)).as_millis() as u64);
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// Analyses files of traces; the results go beside each.
pub(super) fn analyze(
    terminal: &Terminal,
    settings: &Settings,
    files: &[PathBuf],
    arguments: &MethodArguments,
) -> Outcome {
    let options = Options { method: method(arguments)?, ..Options::default() };
    let mut results = Vec::new();
    for file in files {
        let file = if file.is_dir() { file.join("traces.json") } else { file.clone() };
        let summary = analyze::analyze_file(&file, &options).map_err(|error| {
            Failed::message(Exit::Failed, format!("cannot analyse `{}`: {error}", file.display()))
        })?;
        if settings.json() {
            results.push(json!({
                "file": file,
                "breakdown": file.with_file_name("trace_breakdown.csv"),
                "invalid_traces": file.with_file_name("invalid_traces.csv"),
                "valid": summary.valid,
                "invalid": summary.invalid,
                "reasons": summary.reasons,
                "repaired": summary.repaired,
            }));
        } else {
            let mut text = Vec::new();
            writeln!(
                text,
                "{}: {} valid, {} invalid traces",
                file.display(),
                summary.valid,
                summary.invalid
            )?;
            for (reason, count) in &summary.reasons {
                writeln!(text, "  {count} × {reason}")?;
            }
            if summary.repaired > 0 {
                writeln!(text, "  {} of the valid ones were repaired", summary.repaired)?;
            }
            writeln!(text, "  wrote {}", file.with_file_name("trace_breakdown.csv").display())?;
            writeln!(text, "  wrote {}", file.with_file_name("invalid_traces.csv").display())?;
            terminal.data(&String::from_utf8_lossy(&text))?;
        }
    }
    if settings.json() {
        terminal.data(&format!("{:#}", json!({ "version": 1, "files": results })))?;
    }
    Ok(Exit::Done)
}

/// What the options mean.
fn method(arguments: &MethodArguments) -> Result<Method, Failed> {
    let activities = match &arguments.activities {
        Some(path) => {
            Activities::read(path).map_err(|error| Failed::message(Exit::Usage, error.to_string()))?
        }
        None => Activities::default(),
    };
    let repair = arguments.repair.map(|RepairKind::ClockSkew| Repair {
        limit: i64::try_from(arguments.repair_limit.as_micros()).unwrap_or(i64::MAX),
    });
    Ok(Method { source: arguments.source, algorithm: arguments.algorithm, activities, repair })
}
