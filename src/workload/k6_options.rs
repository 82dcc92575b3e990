//! The k6 options that describe the same load: written beside every invocation, whichever engine ran it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Load, LoadShape};

/// The name of the only scenario, the one of the published dataset.
pub const SCENARIO: &str = "benchmark_scenario";

/// `{"scenarios": {"benchmark_scenario": …}}` for `load`, its `speed` applied.
///
/// k6 knows only whole rates, so fractions are expressed by a longer `timeUnit` (half an invocation per second
/// is one per `2s`). `max_vus` is the most requests that may be under way at once. One virtual user is allocated
/// in advance; k6 makes the others when they are needed.
pub fn k6_options(load: &Load, max_vus: u64) -> Value {
    let scenario = match &load.shape {
        LoadShape::Iterations { iterations } => json!({
            "executor": "shared-iterations",
            "vus": 1,
            "iterations": iterations,
            "maxDuration": "24h",
        }),
        LoadShape::Constant { rate, duration } => {
            let unit = time_unit([rate * load.speed]);
            json!({
                "executor": "constant-arrival-rate",
                "rate": per_unit(rate * load.speed, unit),
                "timeUnit": seconds(unit as f64),
                "duration": seconds(duration.as_secs_f64() / load.speed),
                "preAllocatedVUs": 1,
                "maxVUs": max_vus,
            })
        }
        LoadShape::Stages { start_rate, stages } => {
            let rates = stages.iter().map(|stage| stage.target).chain([*start_rate]);
            let unit = time_unit(rates.map(|rate| rate * load.speed));
            let stages: Vec<Value> = stages
                .iter()
                .map(|stage| {
                    json!({
                        "target": per_unit(stage.target * load.speed, unit),
                        "duration": duration_text(stage.duration, load.speed),
                    })
                })
                .collect();
            json!({
                "executor": "ramping-arrival-rate",
                "startRate": per_unit(start_rate * load.speed, unit),
                "timeUnit": seconds(unit as f64),
                "preAllocatedVUs": 1,
                "maxVUs": max_vus,
                "stages": stages,
            })
        }
    };
    json!({ "scenarios": { SCENARIO: scenario } })
}

/// The shortest of these units, in seconds, in which all rates are whole; the longest where none is.
fn time_unit(rates: impl IntoIterator<Item = f64>) -> u64 {
    const UNITS: [u64; 11] = [1, 2, 3, 4, 5, 10, 60, 100, 1_000, 3_600, 100_000];
    let rates: Vec<f64> = rates.into_iter().collect();
    let whole = |unit: u64| {
        rates.iter().all(|rate| {
            let scaled = rate * unit as f64;
            (scaled - scaled.round()).abs() <= 1e-9 * scaled.abs().max(1.0)
        })
    };
    UNITS.into_iter().find(|unit| whole(*unit)).unwrap_or(UNITS[UNITS.len() - 1])
}

fn per_unit(rate: f64, unit: u64) -> u64 {
    (rate * unit as f64).round() as u64
}

fn duration_text(duration: Duration, speed: f64) -> String {
    seconds(duration.as_secs_f64() / speed)
}

/// `90s`, `500ms`, `1.25ms`: k6 reads Go's durations.
fn seconds(seconds: f64) -> String {
    if seconds.fract() == 0.0 {
        return format!("{seconds}s");
    }
    let milliseconds = (seconds * 1e9).round() / 1e6;
    format!("{milliseconds}ms")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Stage, Tolerances};

    #[track_caller]
    fn check(shape: LoadShape, speed: f64, expected: Value) {
        let load = Load { shape, speed, tolerances: Tolerances::default() };
        assert_eq!(k6_options(&load, 100)["scenarios"]["benchmark_scenario"], expected);
    }

    #[test]
    fn each_shape_becomes_its_executor() {
        check(
            LoadShape::Iterations { iterations: 3 },
            9.0,
            json!({ "executor": "shared-iterations", "vus": 1, "iterations": 3, "maxDuration": "24h" }),
        );
        check(
            LoadShape::Constant { rate: 20.0, duration: Duration::from_secs(90) },
            1.0,
            json!({ "executor": "constant-arrival-rate", "rate": 20, "timeUnit": "1s", "duration": "90s",
                    "preAllocatedVUs": 1, "maxVUs": 100 }),
        );
        check(
            LoadShape::Stages {
                start_rate: 0.5,
                stages: vec![Stage { target: 4.0, duration: Duration::from_millis(1500) }],
            },
            1.0,
            json!({ "executor": "ramping-arrival-rate", "startRate": 1, "timeUnit": "2s",
                    "preAllocatedVUs": 1, "maxVUs": 100, "stages": [ { "target": 8, "duration": "1500ms" } ] }),
        );
    }

    #[test]
    fn speed_raises_rates_and_shortens_durations() {
        check(
            LoadShape::Constant { rate: 0.3, duration: Duration::from_mins(1) },
            120.0,
            json!({ "executor": "constant-arrival-rate", "rate": 36, "timeUnit": "1s", "duration": "500ms",
                    "preAllocatedVUs": 1, "maxVUs": 100 }),
        );
    }

    #[test]
    fn fractions_of_a_rate_are_kept_by_a_longer_time_unit() {
        for (rate, per, unit) in
            [(1.0 / 3.0, 1, "3s"), (0.25, 1, "4s"), (12.34, 1234, "100s"), (0.017, 17, "1000s")]
        {
            check(
                LoadShape::Constant { rate, duration: Duration::from_secs(1) },
                1.0,
                json!({ "executor": "constant-arrival-rate", "rate": per, "timeUnit": unit, "duration": "1s",
                        "preAllocatedVUs": 1, "maxVUs": 100 }),
            );
        }
    }
}
