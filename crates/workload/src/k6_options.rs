//! The k6 options that describe the same load: written beside every invocation, whichever engine ran it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Load, LoadShape};

/// The name of the only scenario, the one of the published dataset.
pub const SCENARIO: &str = "benchmark_scenario";

/// `{"scenarios": {"benchmark_scenario": …}}` for `load`, its `speed` applied.
///
/// k6 knows only whole rates, so fractions are expressed by a longer `timeUnit` (half an invocation per second
/// is one per `2s`), and the seconds of a trace by jumps between level stages. Virtual users are made in advance
/// for the highest rate and the expected latency (Little's law); `max_vus` is the most that k6 may add.
pub fn k6_options(load: &Load, max_vus: u64) -> Value {
    let users = Users { latency: load.expected_latency().as_secs_f64(), most: max_vus };
    let scenario = match &load.shape {
        LoadShape::Iterations { iterations } => json!({
            "executor": "shared-iterations",
            "vus": 1,
            "iterations": iterations,
            "maxDuration": "24h",
        }),
        LoadShape::Constant { rate, duration } => {
            let rate = rate * load.speed;
            let unit = time_unit([rate]);
            users.given(
                rate,
                json!({
                    "executor": "constant-arrival-rate",
                    "rate": per_unit(rate, unit),
                    "timeUnit": seconds(unit as f64),
                    "duration": seconds(duration.as_secs_f64() / load.speed),
                }),
            )
        }
        LoadShape::Stages { start_rate, stages } => {
            let rates =
                || stages.iter().map(|stage| stage.target).chain([*start_rate]).map(|rate| rate * load.speed);
            let unit = time_unit(rates());
            let stages: Vec<Value> = stages
                .iter()
                .map(|stage| {
                    json!({
                        "target": per_unit(stage.target * load.speed, unit),
                        "duration": duration_text(stage.duration, load.speed),
                    })
                })
                .collect();
            users.given(
                rates().fold(0.0, f64::max),
                json!({
                    "executor": "ramping-arrival-rate",
                    "startRate": per_unit(start_rate * load.speed, unit),
                    "timeUnit": seconds(unit as f64),
                    "stages": stages,
                }),
            )
        }
        LoadShape::Trace(trace) => {
            let counts = trace.per_second();
            let highest = counts.iter().copied().max().unwrap_or(0);
            users.given(
                f64::from(highest) * load.speed,
                json!({
                    "executor": "ramping-arrival-rate",
                    "startRate": counts.first(),
                    "timeUnit": seconds(1.0 / load.speed),
                    "stages": steps(&counts, load.speed),
                }),
            )
        }
        LoadShape::Bursts { size, at } => return bursts(*size, at, load.speed),
        LoadShape::Replay(replay) => return bursts(1, &replay.at, load.speed),
        // How long a user thinks is the script's to say.
        LoadShape::Users { users, duration, .. } => json!({
            "executor": "constant-vus",
            "vus": users,
            "duration": duration_text(*duration, load.speed),
        }),
        LoadShape::K6(options) => return options.clone(),
    };
    json!({ "scenarios": { SCENARIO: scenario } })
}

/// A scenario for each of these times, with so many users who invoke once.
fn bursts(size: u64, at: &[Duration], speed: f64) -> Value {
    let scenarios = at.iter().enumerate().map(|(number, at)| {
        let name = if number == 0 { SCENARIO.to_owned() } else { format!("{SCENARIO}_{}", number + 1) };
        let burst = json!({
            "executor": "per-vu-iterations",
            "vus": size,
            "iterations": 1,
            "startTime": duration_text(*at, speed),
        });
        (name, burst)
    });
    json!({ "scenarios": scenarios.collect::<serde_json::Map<_, _>>() })
}

/// Lays options over others: tables are merged key by key, anything else is replaced.
pub fn overlay(options: &mut Value, over: &Value) {
    match (options, over) {
        (Value::Object(options), Value::Object(over)) => {
            for (key, value) in over {
                overlay(options.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (options, over) => *options = over.clone(),
    }
}

/// How many virtual users these options have at most, each of which waits for one answer at a time; 1 where they say nothing.
pub(crate) fn most_users(options: &Value) -> f64 {
    let users = |of: &Value| {
        let steps = of["stages"].as_array().into_iter().flatten().filter(|_| of["executor"] == "ramping-vus");
        let ramp = steps.filter_map(|stage| stage["target"].as_f64()).fold(0.0, f64::max);
        ["maxVUs", "preAllocatedVUs", "vus", "startVUs"]
            .iter()
            .filter_map(|key| of[key].as_f64())
            .fold(ramp, f64::max)
    };
    let scenarios = options["scenarios"].as_object().into_iter().flatten();
    scenarios.map(|(_, scenario)| users(scenario)).sum::<f64>().max(users(options)).max(1.0)
}

/// How many virtual users a scenario with an arrival rate gets.
struct Users {
    /// Seconds.
    latency: f64,
    most: u64,
}

impl Users {
    /// Adds them to the scenario. `rate`: the highest, per second.
    fn given(&self, rate: f64, mut scenario: Value) -> Value {
        let needed = ((rate * self.latency).ceil() as u64).max(1);
        scenario["preAllocatedVUs"] = json!(needed);
        scenario["maxVUs"] = json!(self.most.max(needed));
        scenario
    }
}

/// Equal seconds as one level stage, with a jump (a stage of no length) to each new level.
fn steps(counts: &[u32], speed: f64) -> Vec<Value> {
    let mut stages = Vec::new();
    for run in counts.chunk_by(|a, b| a == b) {
        if !stages.is_empty() {
            stages.push(json!({ "target": run[0], "duration": "0s" }));
        }
        stages.push(json!({ "target": run[0], "duration": seconds(run.len() as f64 / speed) }));
    }
    stages
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
    use crate::Stage;

    #[track_caller]
    fn check(shape: LoadShape, speed: f64, expected: Value) {
        let expected_latency = Some(Duration::from_millis(500));
        let load = Load { speed, expected_latency, ..Load::new(shape) };
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
                    "preAllocatedVUs": 10, "maxVUs": 100 }),
        );
        check(
            LoadShape::Users {
                users: 7,
                duration: Duration::from_secs(30),
                think_time: crate::users::ThinkTime::Fixed(Duration::from_secs(1)),
            },
            2.0,
            json!({ "executor": "constant-vus", "vus": 7, "duration": "15s" }),
        );
        check(
            LoadShape::Stages {
                start_rate: 0.5,
                stages: vec![Stage { target: 4.0, duration: Duration::from_millis(1500) }],
            },
            1.0,
            json!({ "executor": "ramping-arrival-rate", "startRate": 1, "timeUnit": "2s",
                    "preAllocatedVUs": 2, "maxVUs": 100, "stages": [ { "target": 8, "duration": "1500ms" } ] }),
        );
    }

    #[test]
    fn speed_raises_rates_and_shortens_durations() {
        check(
            LoadShape::Constant { rate: 0.3, duration: Duration::from_mins(1) },
            120.0,
            json!({ "executor": "constant-arrival-rate", "rate": 36, "timeUnit": "1s", "duration": "500ms",
                    "preAllocatedVUs": 18, "maxVUs": 100 }),
        );
    }

    #[test]
    fn fractions_of_a_rate_are_kept_by_a_longer_time_unit() {
        for (rate, per, unit, users) in
            [(1.0 / 3.0, 1, "3s", 1), (0.25, 1, "4s", 1), (12.34, 1234, "100s", 7), (0.017, 17, "1000s", 1)]
        {
            check(
                LoadShape::Constant { rate, duration: Duration::from_secs(1) },
                1.0,
                json!({ "executor": "constant-arrival-rate", "rate": per, "timeUnit": unit, "duration": "1s",
                        "preAllocatedVUs": users, "maxVUs": 100 }),
            );
        }
    }

    #[test]
    fn a_trace_becomes_level_stages_with_jumps_between_them() {
        let counts = [3, 3, 3, 700, 0, 0];
        let expected = json!([
            { "target": 3, "duration": "1500ms" },
            { "target": 700, "duration": "0s" }, { "target": 700, "duration": "500ms" },
            { "target": 0, "duration": "0s" }, { "target": 0, "duration": "1s" },
        ]);
        assert_eq!(Value::from(steps(&counts, 2.0)), expected);
    }

    #[test]
    fn enough_virtual_users_are_made_for_the_highest_second_of_a_trace() {
        let trace = crate::TraceLoad {
            name: "made".to_owned(),
            per_minute: vec![6000.0, 60.0],
            skip: Duration::ZERO,
            scaling: crate::upscale::Scaling::None,
            seed: 1,
            arrivals: crate::ArrivalProcess::Even,
            origin: crate::Origin::default(),
        };
        let highest = trace.per_second().into_iter().max().unwrap();
        let load = Load {
            speed: 2.0,
            expected_latency: Some(Duration::from_secs(3)),
            ..Load::new(LoadShape::Trace(trace))
        };
        let scenario = &k6_options(&load, 100)["scenarios"]["benchmark_scenario"];
        assert_eq!(scenario["preAllocatedVUs"], highest * 2 * 3);
        assert_eq!(scenario["maxVUs"], highest * 2 * 3, "more than asked for, since they are needed");
        assert_eq!(scenario["timeUnit"], "500ms");
    }

    #[test]
    fn each_burst_is_a_scenario_of_its_own() {
        let shape = LoadShape::Bursts { size: 20, at: vec![Duration::ZERO, Duration::from_mins(1)] };
        let load = Load::new(shape);
        let burst = |start: &str| json!({ "executor": "per-vu-iterations", "vus": 20, "iterations": 1, "startTime": start });
        let expected = json!({ "benchmark_scenario": burst("0s"), "benchmark_scenario_2": burst("60s") });
        assert_eq!(k6_options(&load, 100)["scenarios"], expected);
    }

    #[test]
    fn the_users_of_options_are_those_of_their_scenarios() {
        let of = |options: Value| most_users(&options);
        assert!((of(json!({})) - 1.0).abs() < 1e-9);
        assert!((of(json!({ "vus": 7 })) - 7.0).abs() < 1e-9);
        let ramp = json!({ "executor": "ramping-vus", "startVUs": 2, "stages": [{ "target": 30 }, { "target": 1 }] });
        let arrivals = json!({ "executor": "ramping-arrival-rate", "preAllocatedVUs": 5, "stages": [{ "target": 900 }] });
        assert!((of(json!({ "scenarios": { "a": ramp, "b": arrivals } })) - 35.0).abs() < 1e-9);
    }

    #[test]
    fn options_are_laid_over_others_key_by_key() {
        let mut options = json!({ "scenarios": { "a": { "vus": 1, "iterations": 3 } }, "batch": [1, 2] });
        overlay(&mut options, &json!({ "scenarios": { "a": { "vus": 2 } }, "batch": 5, "new": {} }));
        let expected = json!({ "scenarios": { "a": { "vus": 2, "iterations": 3 } }, "batch": 5, "new": {} });
        assert_eq!(options, expected);
    }
}
