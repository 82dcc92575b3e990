//! What k6 needs to run a script, and what it leaves: its CSV in our files, its summary in our shape.
//!
//! k6 writes a CSV of every measurement while it runs. [`Collecting`] reads it as it grows, row by row, so that
//! memory does not grow with the load. It writes `k6_metrics.csv` and `invocations.csv`. The first has the same rows,
//! with times in whole seconds as in the published dataset, and without secrets. Whoever runs k6, and where, is no
//! matter here.

mod collect;
mod module;
mod rows;

use std::path::Path;

use serde_json::Value;

use super::summary::{k6_verdict, summarize};
use sb_measurement::{LoadSummary, Times, Timestamp, counted};
use sb_workload::Tolerances;

pub use collect::{Collected, Collecting};
pub use module::{MODULE_FILE, MODULE_TEXT, place_module};

/// The oldest k6 whose options and output are known to be understood.
pub const OLDEST: (u32, u32) = (1, 0);
/// In the folder that k6 writes to: its options.
pub const OPTIONS: &str = "options.json";
/// In that folder: its metrics, as CSV.
pub const METRICS: &str = "metrics.csv";
/// In that folder: what it says at its end.
pub const SUMMARY: &str = "summary.json";

/// The exit code of k6 when thresholds failed (its `errext/exitcodes`).
pub const THRESHOLDS_FAILED: i32 = 99;
/// The exit code of k6 when it was stopped.
pub const STOPPED: i32 = 105;

/// One of several k6 that share a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// From 0.
    pub number: usize,
    /// How many share the load.
    pub of: usize,
}

/// The arguments of `k6 run`: nothing that may be secret is among them. `folder` is where k6 finds its options and
/// writes, as k6 sees it.
pub fn run_arguments(script: &str, folder: &str, share: Share, tells_progress: bool) -> Vec<String> {
    let mut arguments = vec![
        "run".to_owned(),
        format!("--config={folder}/{OPTIONS}"),
        format!("--summary-export={folder}/{SUMMARY}"),
        "--out=csv".to_owned(),
        // No server beside the measurement: two k6 on a machine would want the same port.
        "--address=".to_owned(),
        "--no-usage-report".to_owned(),
        "--no-color".to_owned(),
    ];
    if !tells_progress {
        arguments.push("--quiet".to_owned());
    }
    if share.of > 1 {
        let points: Vec<String> = (0..=share.of)
            .map(|point| match point {
                0 => "0".to_owned(),
                last if last == share.of => "1".to_owned(),
                inside => format!("{inside}/{}", share.of),
            })
            .collect();
        arguments.push(format!("--execution-segment={}:{}", points[share.number], points[share.number + 1]));
        arguments.push(format!("--execution-segment-sequence={}", points.join(",")));
    }
    arguments.push(script.to_owned());
    arguments
}

/// The arguments that make k6 read a script and tell its options, without running it.
pub fn inspect_arguments(script: &str) -> Vec<String> {
    ["inspect", "--include-system-env-vars", "--address=", "--no-color", script].map(str::to_owned).to_vec()
}

/// What makes k6 write a CSV that [`Collecting`] reads. By environment: a comma in the path would end an argument.
pub fn run_environment(folder: &str) -> [(String, String); 3] {
    [
        ("K6_CSV_FILENAME".to_owned(), format!("{folder}/{METRICS}")),
        ("K6_CSV_TIME_FORMAT".to_owned(), "unix_micro".to_owned()),
        ("K6_CSV_SAVE_INTERVAL".to_owned(), "250ms".to_owned()),
    ]
}

/// The options that a script sets itself and that say when to send: k6 would take them instead of those it is given.
pub fn own_load(inspected: &str) -> Vec<&'static str> {
    let options: Value = serde_json::from_str(inspected).unwrap_or_default();
    let when = ["scenarios", "stages", "vus", "duration", "iterations", "executionSegment"];
    when.into_iter().filter(|key| !options[key].is_null()).collect()
}

/// The version in what `k6 version` prints: `k6 v1.1.0 (commit/…)`.
pub fn version(printed: &str) -> Option<(u32, u32)> {
    let mut numbers = printed.split_once(" v")?.1.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The last error in what k6 wrote, without the marks of its log.
pub fn error_in(line: &str) -> Option<String> {
    let (_, message) = line.split_once("level=error msg=")?;
    let Some(quoted) = message.strip_prefix('"') else {
        return message.split(' ').next().map(str::to_owned);
    };
    let mut text = String::new();
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => break,
            '\\' => match letters.next() {
                Some('n' | 't') => text.push(' '),
                Some(other) => text.push(other),
                None => {}
            },
            other => text.push(other),
        }
    }
    Some(text.trim().to_owned())
}

/// What k6 says at its end (`--summary-export`).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// `http_req_duration: p(95)<500`
    pub failed_thresholds: Vec<String>,
    /// HTTP requests that were sent.
    pub requests: u64,
}

/// None: there is no such file, or nobody can read it.
pub fn exported(path: &Path) -> Option<Exported> {
    let summary: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let metrics = summary["metrics"].as_object()?;
    let mut failed_thresholds = Vec::new();
    for (metric, values) in metrics {
        for (threshold, failed) in values["thresholds"].as_object().into_iter().flatten() {
            if failed.as_bool() == Some(true) {
                failed_thresholds.push(format!("{metric}: {threshold}"));
            }
        }
    }
    failed_thresholds.sort();
    let requests = metrics.get("http_reqs").and_then(|reqs| reqs["count"].as_u64()).unwrap_or(0);
    Some(Exported { failed_thresholds, requests })
}

/// The tags that k6 gives to its measurements, with those that tell of which run of the script they are: so a failed check
/// finds its request. These two are metadata, which costs k6 no memory.
pub const SYSTEM_TAGS: [&str; 16] = [
    "proto",
    "subproto",
    "status",
    "method",
    "url",
    "name",
    "group",
    "check",
    "error",
    "error_code",
    "tls_version",
    "scenario",
    "service",
    "expected_response",
    "vu",
    "iter",
];

/// What went wrong in a run of the script, in a line of k6's log: it threw.
pub fn thrown_in(line: &str) -> Option<String> {
    let is_of_a_run = line.contains(" executor=") && line.contains(" scenario=");
    error_in(line).filter(|_| is_of_a_run)
}

/// What a run of k6 was, beside its measurements.
pub struct Ran {
    /// By plan; none: only k6 knew.
    pub planned: Option<u64>,
    /// Stopped from outside before its end.
    pub cancelled: bool,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Why it must not be used.
    pub invalid: Vec<String>,
    /// What to know about it, though it may be used.
    pub notes: Vec<String>,
    /// How many runs of the script threw, and what the first of them did.
    pub thrown: Option<(u64, String)>,
}

/// The summary of a load that k6 sent.
pub fn summary(collected: &Collected, times: &Times, ran: Ran, tolerances: &Tolerances) -> LoadSummary {
    let mut summary =
        summarize(&collected.tally, times, ran.planned, ran.cancelled, tolerances, ran.started, ran.ended);
    summary.iterations = Some(collected.iterations);
    summary.invalid = ran.invalid;
    summary.notes = ran.notes;
    let runs = collected.iterations.max(1) as f64;
    let mut say = |count: u64, sentence: String| {
        let judged = if count as f64 / runs > tolerances.max_error_rate {
            &mut summary.invalid
        } else {
            &mut summary.notes
        };
        judged.push(sentence);
    };
    if let Some((count, message)) = ran.thrown {
        say(
            count,
            format!("The script threw in {count} of {}: {message}", counted(collected.iterations, "run")),
        );
    }
    if collected.loose_checks > 0 {
        let count = collected.loose_checks;
        say(
            count,
            format!(
                "{} failed in runs of the script that had sent no request before.",
                counted(count, "check")
            ),
        );
    }
    let verdict = k6_verdict(&summary, tolerances);
    summary.invalid.extend(verdict);
    let (sent, untraced) = (summary.sent, collected.untraced);
    if untraced > 0 && untraced == sent {
        summary.notes.push(format!(
            "None of the {} carried a trace id, so no trace can be told to be theirs: the script can import `http` from \
             './{MODULE_FILE}' instead of 'k6/http'.",
            counted(sent, "request")
        ));
    } else if untraced > 0 {
        summary.notes.push(format!("{untraced} of {} carried no trace id.", counted(sent, "request")));
    }
    summary
}

#[cfg(test)]
mod tests;
