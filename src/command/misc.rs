//! Small commands: schema, version, wait.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Outcome;
use crate::cli::SchemaKind;
use crate::exit_code::Exit;
use crate::settings::Settings;
use crate::terminal::Terminal;
use sb_plan::manifest::schema;

pub(super) fn schema(terminal: &Terminal, kind: SchemaKind) -> Outcome {
    let kind = match kind {
        SchemaKind::Benchmark => schema::SchemaKind::Benchmark,
        SchemaKind::Plan => schema::SchemaKind::Plan,
        SchemaKind::Workload => schema::SchemaKind::Workload,
    };
    terminal.data(schema::schema(kind))?;
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
