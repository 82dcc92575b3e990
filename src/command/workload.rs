//! `sb workload`: looks at loads without sending anything.

use std::path::Path;

use serde_json::json;

use super::Outcome;
use super::output::Failed;
use super::single::resolve_load;
use crate::cli::{LoadArguments, OutputFormat, WorkloadCommand};
use crate::exit_code::Exit;
use crate::settings::Settings;
use crate::terminal::Terminal;
use sb_analysis::Rates;
use sb_load::DEFAULT_MAX_IN_FLIGHT;
use sb_measurement::{INVOCATIONS_FILE, Invocation, InvocationReader};
use sb_workload::k6_options::k6_options;
use sb_workload::schedule::{Planned, planned};
use sb_workload::{Load, LoadShape};

pub(super) fn workload(terminal: &Terminal, settings: &Settings, command: WorkloadCommand) -> Outcome {
    match command {
        WorkloadCommand::Show { load, svg } => show(terminal, settings, load, svg.as_deref()),
        WorkloadCommand::Generate { load } => generate(terminal, settings, load),
    }
}

fn show(terminal: &Terminal, settings: &Settings, load: LoadArguments, svg: Option<&Path>) -> Outcome {
    let folder = load.load.as_deref().map(Path::new).filter(|path| path.is_dir());
    let rates = match folder {
        Some(folder) => Rates::measured(folder.display().to_string(), &invocations(folder)?),
        None => {
            let title = title(&load);
            let load = open_load(terminal, load)?;
            let Planned::Open(schedule) = planned(&load) else { return Err(no_rates(&load)) };
            let length = planned(&load).length().unwrap_or_default();
            let total = schedule.total();
            Rates::planned(title, schedule, total, length)
        }
    };
    if let Some(path) = svg {
        let mut image = String::new();
        rates.to_svg(&mut image).map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
        std::fs::write(path, image).map_err(|error| {
            Failed::helped(
                Exit::Failed,
                format!("cannot write `{}`: {error}", path.display()),
                "name a file in a folder that exists",
            )
        })?;
        terminal.say(&format!("wrote {}", path.display()));
        return Ok(Exit::Done);
    }
    if settings.json() {
        let series = rates.series.iter().map(|series| {
            json!({
                "name": series.name,
                "per_second": rates.figures(series),
                "counts": series.counts,
            })
        });
        let value = json!({ "interval_s": rates.interval, "series": series.collect::<Vec<_>>() });
        terminal.data(&value.to_string())?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    rates
        .to_terminal(&mut text, terminal.width())
        .map_err(|error| Failed::message(Exit::Failed, error.to_string()))?;
    terminal.data(text.trim_end())?;
    Ok(Exit::Done)
}

fn generate(terminal: &Terminal, settings: &Settings, load: LoadArguments) -> Outcome {
    if settings.format == OutputFormat::K6 {
        let load = resolve_load(terminal, load)?;
        terminal.data(&format!("{:#}", k6_options(&load, DEFAULT_MAX_IN_FLIGHT)))?;
        return Ok(Exit::Done);
    }
    let load = open_load(terminal, load)?;
    let Planned::Open(schedule) = planned(&load) else { return Err(no_rates(&load)) };
    let length = planned(&load).length().unwrap_or_default().as_secs_f64();
    let mut counts = vec![0_u64; (length.ceil() as usize).max(1)];
    let last = counts.len() - 1;
    for time in schedule {
        counts[(time.as_secs_f64() as usize).min(last)] += 1;
    }
    if settings.json() {
        terminal.data(&json!({ "invocations_per_second": counts }).to_string())?;
        return Ok(Exit::Done);
    }
    let mut text = "second,invocations".to_owned();
    for (second, count) in counts.iter().enumerate() {
        text.push_str(&format!("\n{second},{count}"));
    }
    terminal.data(&text)?;
    Ok(Exit::Done)
}

/// A load whose invocations have planned times.
fn open_load(terminal: &Terminal, arguments: LoadArguments) -> Result<Load, Failed> {
    if arguments.load.is_none() && arguments.load_file.is_none() && arguments.k6_options.is_none() {
        return Err(Failed::helped(
            Exit::Usage,
            "which load?",
            "name a pattern (`sb workload show fluctuating`), a CSV file, or a load with --load FILE",
        ));
    }
    resolve_load(terminal, arguments)
}

fn no_rates(load: &Load) -> Failed {
    Failed::helped(
        Exit::Usage,
        match load.shape {
            LoadShape::Users { .. } => "users have no planned rate: each sends when it was answered",
            LoadShape::K6(_) => "only k6 knows the rates of options of its own",
            _ => "iterations have no rate: each is sent when the one before was answered",
        },
        "name a pattern, a CSV file, or `constant --rate 20 --duration 90s`",
    )
}

fn title(load: &LoadArguments) -> String {
    let name = load.load.clone().or_else(|| load.load_file.as_ref().map(|file| file.display().to_string()));
    let scale = match (load.rate, load.scale_factor) {
        (Some(rate), _) => format!(" at {rate} per second"),
        (None, Some(factor)) => format!(" × {factor}"),
        (None, None) => String::new(),
    };
    let speed = load.speed.map(|speed| format!(", {speed} times faster")).unwrap_or_default();
    format!("{}{scale}{speed}", name.unwrap_or_default())
}

fn invocations(folder: &Path) -> Result<Vec<Invocation>, Failed> {
    let path = folder.join(INVOCATIONS_FILE);
    let failed = |message: String| {
        Failed::helped(
            Exit::Failed,
            format!("cannot read `{}`: {message}", path.display()),
            "name the folder of an invocation, such as logs/2026-01-31_12-00-00",
        )
    };
    let file = sb_durable::open_regular(&path).map_err(|error| failed(error.to_string()))?;
    let reader = InvocationReader::new(file).map_err(|error| failed(error.to_string()))?;
    let rows: Result<Vec<Invocation>, _> = reader.collect();
    let rows = rows.map_err(|error| failed(error.to_string()))?;
    if rows.is_empty() { Err(failed("it has no invocations".to_owned())) } else { Ok(rows) }
}
