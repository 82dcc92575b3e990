//! `sb analyze-triggers`: how long the triggers of Azure and AWS take.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;

use super::Outcome;
use super::trace::{refuse_common_results, with_progress};
use crate::exit_code::Exit;
use crate::printable::counted;
use crate::settings::Settings;
use crate::terminal::Terminal;
use sb_analysis::{INVALID_FILE, Quantiles, TRIGGER_FILE, analyze_triggers, find_traces};

/// Measures the triggers in files of traces; the results go beside each.
pub(super) fn analyze(terminal: &Terminal, settings: &Settings, files: &[PathBuf]) -> Outcome {
    let mut results = Vec::new();
    let files = find_traces(files)?;
    refuse_common_results(&files)?;
    for file in files {
        let summary = with_progress(terminal, &file, |progress| analyze_triggers(&file, progress))?;
        let written = [TRIGGER_FILE, INVALID_FILE].map(|name| file.with_file_name(name));
        if settings.json() {
            results.push(json!({
                "file": file,
                "trigger": written[0],
                "invalid_traces": written[1],
                "valid": summary.valid,
                "invalid": summary.invalid,
                "triggers": summary.triggers,
            }));
            continue;
        }
        let mut text = Vec::new();
        writeln!(
            text,
            "{}: {} valid, {}",
            file.display(),
            summary.valid,
            counted(summary.invalid, "invalid trace")
        )?;
        for (trigger, latency) in &summary.triggers {
            writeln!(
                text,
                "  {trigger}: {}, {} with a cold start",
                counted(latency.traces, "trace"),
                latency.cold
            )?;
            for (label, Quantiles { p50, p95, p99 }) in [
                ("call to receiver (t3 - t2)", latency.trigger_ms),
                ("receiver to its code (t4 - t3)", latency.start_ms),
                ("all (t4 - t1)", latency.total_ms),
            ] {
                writeln!(text, "    {label:<31}p50 {p50:>9.1}   p95 {p95:>9.1}   p99 {p99:>9.1} ms")?;
            }
        }
        for path in written {
            writeln!(text, "  wrote {}", path.display())?;
        }
        terminal.data(&String::from_utf8_lossy(&text))?;
    }
    if settings.json() {
        terminal.data(&format!("{:#}", json!({ "version": 1, "files": results })))?;
    }
    Ok(Exit::Done)
}
