//! Invocations per second: as a pattern has them, as planned, as sent, and as traced.

use serde_json::Value;

use crate::config::{Config, Skip};

/// k6's scenario whose options are the plan.
const SCENARIO: &str = "benchmark_scenario";

/// No plan lasts longer: a week in seconds.
const LONGEST: f64 = 7.0 * 86_400.0;

/// The planned rates of a `workload_options.json` as published: stages of whole seconds, minutes, or a millisecond. `None`: it plans
/// no rates, or in a way that the published analysis does not know.
pub(crate) fn planned_as_published(options: &Value) -> Option<Vec<f64>> {
    let stages = options.get("scenarios")?.get(SCENARIO)?.get("stages")?.as_array()?;
    let mut rates = Vec::new();
    for stage in stages {
        let (target, duration) = (stage.get("target")?.as_f64()?, stage.get("duration")?.as_str()?);
        let seconds = if let Some(number) = duration.strip_suffix("ms") {
            usize::from(number.parse::<u64>().ok()? == 1)
        } else if let Some(number) = duration.strip_suffix('s') {
            number.parse().ok()?
        } else {
            number_of_minutes(duration)?.checked_mul(60)?
        };
        if seconds as f64 + rates.len() as f64 > LONGEST {
            return None;
        }
        rates.resize(rates.len() + seconds, target);
    }
    Some(without_leading_zeros(rates, 1))
}

fn number_of_minutes(text: &str) -> Option<usize> {
    text.strip_suffix('m')?.parse().ok()
}

/// The planned rates of a `workload_options.json`: of every executor that has a rate, in any notation of durations, ramps included.
/// Each is the mean of the second. `None`: it plans no rates.
pub(crate) fn planned(options: &Value) -> Option<Vec<f64>> {
    let scenario = options.get("scenarios")?.get(SCENARIO)?;
    let unit = match scenario.get("timeUnit") {
        Some(unit) => k6_duration(unit)?,
        None => 1.0,
    };
    let rate = |value: Option<&Value>| value.and_then(Value::as_f64).map(|rate| rate / unit);
    let mut pieces = Vec::new();
    if let Some(stages) = scenario.get("stages").and_then(Value::as_array) {
        let mut from = rate(scenario.get("startRate"));
        for stage in stages {
            let (to, duration) = (rate(stage.get("target"))?, k6_duration(stage.get("duration")?)?);
            // Without a rate to start from, the first one holds from the beginning.
            pieces.push((duration, from.unwrap_or(to), to));
            from = Some(to);
        }
    } else {
        let rate = rate(scenario.get("rate"))?;
        pieces.push((k6_duration(scenario.get("duration")?)?, rate, rate));
    }
    Some(without_leading_zeros(mean_per_second(&pieces)?, 1))
}

/// The mean rate of each second of a rate that goes in straight lines: pieces with a duration in seconds, and the rates at
/// both ends.
fn mean_per_second(pieces: &[(f64, f64, f64)]) -> Option<Vec<f64>> {
    let total: f64 = pieces.iter().map(|(duration, ..)| duration).sum();
    if !total.is_finite() || total > LONGEST {
        return None;
    }
    // Whole durations are sums of milliseconds, which doubles do not all hold.
    let mut rates = vec![0.0; (total - 1e-6).ceil().max(0.0) as usize];
    let mut start = 0.0;
    for &(duration, from, to) in pieces {
        let end = start + duration;
        let at = |time: f64| if duration > 0.0 { from + (to - from) * (time - start) / duration } else { to };
        let mut second = start.floor();
        while second < end {
            let (low, high) = (second.max(start), (second + 1.0).min(end));
            if let Some(rate) = rates.get_mut(second as usize)
                && high > low
            {
                *rate += f64::midpoint(at(low), at(high)) * (high - low);
            }
            second += 1.0;
        }
        start = end;
    }
    Some(rates)
}

/// A duration as k6 has it, in seconds: `1m30s`, `500ms`, `1h`, `1.5s`, or a number of milliseconds.
fn k6_duration(value: &Value) -> Option<f64> {
    let text = match value {
        Value::String(text) => text.trim(),
        other => return other.as_f64().filter(|millis| *millis >= 0.0).map(|millis| millis / 1000.0),
    };
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units = [
            ("ms", 1e-3),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("ns", 1e-9),
            ("d", 86_400.0),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ];
        let Some((unit, seconds)) = units.into_iter().find(|(unit, _)| rest.starts_with(unit)) else {
            // A number alone is milliseconds.
            return (rest.is_empty() && total == 0.0).then_some(number / 1000.0);
        };
        total += number * seconds;
        rest = &rest[unit.len()..];
    }
    (!text.is_empty()).then_some(total)
}

/// Rates without the zeros at their beginning; `block` values are cut together. Nothing but zeros stays as it is.
fn without_leading_zeros(rates: Vec<f64>, block: usize) -> Vec<f64> {
    match rates.iter().position(|rate| *rate != 0.0) {
        Some(zeros) => rates[(zeros.div_ceil(block) * block).min(rates.len())..].to_vec(),
        None => rates,
    }
}

/// The file of the pattern that an execution follows, below the folder of patterns: those of the published analysis, or those
/// that the load was made of.
pub(crate) fn pattern_file(config: &Config, as_published: bool) -> Option<Vec<String>> {
    if let Some(trace) = config.workload_trace.as_deref().filter(|trace| *trace != "null") {
        let mut parts = trace.rsplit('/').filter(|part| !part.is_empty());
        let name = parts.next()?;
        return Some(vec![match parts.next() {
            Some(folder) => format!("{folder}/{name}"),
            None => name.to_owned(),
        }]);
    }
    let kind = config.workload_type.as_deref()?;
    let plain = kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if kind == "custom" || config.type_is_number || !plain {
        return None;
    }
    // The load was generated from `20min_picks`; the published analysis compares it with another selection.
    let published = format!("20min_20rps/{kind}.csv");
    let used = format!("20min_picks/{kind}.csv");
    Some(if as_published { vec![published] } else { vec![used, published] })
}

/// The counts per minute of a file of a pattern: one number a line, below a title.
pub(crate) fn per_minute(text: &str) -> Option<Vec<f64>> {
    // Lines that begin with `#` say where the numbers are from.
    let lines = text.lines().map(|line| line.trim().trim_matches('"'));
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut numbers = Vec::new();
    for (place, line) in lines.enumerate() {
        match line.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => numbers.push(number),
            _ if place == 0 => {}
            _ => return None,
        }
    }
    (numbers.len() as f64 * 60.0 <= LONGEST).then_some(numbers)
}

/// The rates of a pattern: each minute in sixty equal seconds, the seconds that are skipped set to zero, and leading zeros
/// cut off. As published, every minute with a leading zero is cut off.
pub(crate) fn pattern(config: &Config, per_minute: &[f64], as_published: bool) -> Vec<f64> {
    let factor = if as_published { 1.0 } else { scaling(config, per_minute) };
    let mut rates: Vec<f64> =
        per_minute.iter().flat_map(|count| std::iter::repeat_n(count * factor / 60.0, 60)).collect();
    let skipped = match config.seconds_to_skip {
        Skip::Seconds(seconds) => seconds.max(0.0) as usize,
        // A setting without a value skips everything in the published analysis.
        Skip::Null if as_published => rates.len(),
        Skip::Null | Skip::Missing => 0,
    };
    let skipped = skipped.min(rates.len());
    rates[..skipped].fill(0.0);
    without_leading_zeros(rates, if as_published { 60 } else { 1 })
}

/// The rates of the pattern that a load of ours follows, on the time of the load: of the minutes, what `skip_s` leaves is kept, its
/// time is divided by `speed`, and its rates are multiplied by it. Their sum is what the load was planned to send, if that is
/// known (`planned`), or else what its scaling makes of the part that is kept. Leading zeros are cut off. `None`: it would last
/// longer than a week.
pub(crate) fn pattern_of_load(
    config: &Config,
    load: &Value,
    per_minute: &[f64],
    planned: Option<f64>,
) -> Option<Vec<f64>> {
    let number = |of: &Value, name: &str| of.get(name).and_then(Value::as_f64);
    let skipped = number(load, "skip_s").unwrap_or(match config.seconds_to_skip {
        Skip::Seconds(seconds) => seconds,
        Skip::Null | Skip::Missing => 0.0,
    });
    let seconds = per_minute.iter().flat_map(|count| std::iter::repeat_n(count / 60.0, 60));
    let rates: Vec<f64> = seconds.skip(skipped.max(0.0) as usize).collect();
    let kept: f64 = rates.iter().sum();
    let scaling = load.get("scaling").unwrap_or(&Value::Null);
    let rate = number(scaling, "rate_per_s").or(config.scale_rate);
    let factor = number(scaling, "factor").or_else(|| config.scale_factor.parse().ok());
    let by_scaling = || match (rate, factor) {
        (Some(rate), _) => rate * rates.len() as f64,
        (None, factor) => kept * factor.unwrap_or(1.0),
    };
    let total = planned.unwrap_or_else(by_scaling);
    let factor = if kept > 0.0 && total.is_finite() { total / kept } else { 1.0 };
    let speed = number(load, "speed").filter(|speed| *speed > 0.0).unwrap_or(1.0);
    let pieces: Vec<(f64, f64, f64)> = without_leading_zeros(rates, 1)
        .into_iter()
        .map(|rate| (1.0 / speed, rate * factor * speed, rate * factor * speed))
        .collect();
    mean_per_second(&pieces)
}

/// By how much the load was made larger than its pattern.
fn scaling(config: &Config, per_minute: &[f64]) -> f64 {
    let mean = per_minute.iter().sum::<f64>() / per_minute.len().max(1) as f64 / 60.0;
    match config.scale_rate.filter(|rate| *rate > 0.0 && mean > 0.0) {
        Some(rate) => rate / mean,
        None => config
            .scale_factor
            .parse()
            .ok()
            .filter(|factor: &f64| factor.is_finite() && *factor > 0.0)
            .unwrap_or(1.0),
    }
}

/// How many of some ascending relative times (in microseconds, with counts) are in each second.
///
/// Second `k` is from `k` up to, and without, `k + 1`. As published, it is after `k` up to and including `k + 1`; time 0 belongs
/// to second 0, and what is after the last whole second is in none.
pub(crate) fn per_second(times: impl Iterator<Item = (i64, u64)> + Clone, as_published: bool) -> Vec<f64> {
    const SECOND: i64 = 1_000_000;
    let Some((last, _)) = times.clone().last() else { return Vec::new() };
    let seconds = if as_published {
        (last.div_euclid(SECOND) + i64::from(last % SECOND != 0)) - 1
    } else {
        last / SECOND + 1
    };
    // Hostile times may be centuries apart: then there is no series.
    let Some(seconds) = usize::try_from(seconds).ok().filter(|seconds| *seconds as f64 <= LONGEST) else {
        return Vec::new();
    };
    let mut rates = vec![0.0; seconds];
    for (time, count) in times {
        let second = if as_published { (time - 1).max(0) / SECOND } else { time / SECOND };
        if let Some(rate) = usize::try_from(second).ok().and_then(|second| rates.get_mut(second)) {
            *rate += count as f64;
        }
    }
    rates
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stages(stages: &[(&str, f64)]) -> Value {
        let stages: Vec<Value> = stages
            .iter()
            .map(|(duration, target)| json!({ "duration": duration, "target": target }))
            .collect();
        json!({ "scenarios": { SCENARIO: { "stages": stages } } })
    }

    #[test]
    fn a_plan_of_steps_is_the_same_in_both_readings() {
        let options = stages(&[("2s", 0.0), ("3s", 0.0), ("1m", 0.0)]);
        assert_eq!(planned_as_published(&options).unwrap().len(), 65);
        assert_eq!(planned(&options).unwrap().len(), 65);
        let steady = stages(&[("2s", 5.0), ("1s", 5.0)]);
        assert_eq!(planned_as_published(&steady), Some(vec![5.0; 3]));
        assert_eq!(planned(&steady), Some(vec![5.0; 3]));
    }

    #[test]
    fn ramps_and_all_durations_count() {
        let options = json!({ "scenarios": { SCENARIO: {
            "startRate": 0, "timeUnit": "1m",
            "stages": [{ "duration": "2s", "target": 240 }, { "duration": "500ms", "target": 240 }],
        } } });
        assert_eq!(planned(&options), Some(vec![1.0, 3.0, 2.0]));
        let steady = json!({ "scenarios": { SCENARIO: { "rate": 5, "duration": "1m1s" } } });
        assert_eq!(planned(&steady), Some(vec![5.0; 61]));
        assert_eq!(planned_as_published(&steady), None);
        assert_eq!(planned_as_published(&stages(&[("1m30s", 1.0)])), None);
        assert_eq!(planned(&stages(&[("500h", 1.0)])), None, "too long");
        assert_eq!(planned(&stages(&[("x", 1.0)])), None);
        assert_eq!(planned(&json!({ "vus": 1 })), None);
    }

    #[test]
    fn durations_are_those_of_k6() {
        for (given, expected) in [
            (json!("1h2m3.5s"), Some(3723.5)),
            (json!("250ms"), Some(0.25)),
            (json!(1500), Some(1.5)),
            (json!("1500"), Some(1.5)),
            (json!(""), None),
            (json!("s"), None),
            (json!("5x"), None),
            (json!("1s5"), None),
        ] {
            assert_eq!(k6_duration(&given), expected, "{given}");
        }
    }

    #[track_caller]
    fn check_seconds(times: &[f64], published: &[f64], better: &[f64]) {
        let times = times.iter().map(|time| ((time * 1e6).round() as i64, 1));
        assert_eq!(per_second(times.clone(), true), published);
        assert_eq!(per_second(times, false), better);
    }

    #[test]
    fn a_second_holds_its_beginning_and_not_its_end() {
        check_seconds(&[0.0, 1.0, 1.0, 2.0, 3.0], &[3.0, 1.0], &[1.0, 2.0, 1.0, 1.0]);
        check_seconds(&[0.0, 0.25, 1.5], &[2.0], &[2.0, 1.0]);
        check_seconds(&[0.0, 0.5], &[], &[2.0]);
        check_seconds(&[0.0], &[], &[1.0]);
        check_seconds(&[], &[], &[]);
        check_seconds(&[0.0, 1e12], &[], &[]);
    }

    #[test]
    fn the_pattern_of_a_load_has_the_time_of_the_load_and_the_sum_of_its_plan() {
        let check = |load: Value, planned: Option<f64>, expected: &[(usize, f64)], length: usize| {
            let rates =
                pattern_of_load(&Config::default(), &load, &[0.0, 600.0, 60.0, 120.0], planned).unwrap();
            assert_eq!(rates.len(), length, "{load}");
            for (second, rate) in expected {
                assert!((rates[*second] - rate).abs() < 1e-6, "{load}: {second} of {rates:?}");
            }
            rates.iter().sum::<f64>()
        };
        let near = |sum: f64, expected: f64| assert!((sum - expected).abs() < 1e-6, "{sum} {expected}");
        // Leading zeros are cut off: at a speed of 60, each minute is a second.
        let plain = json!({ "skip_s": 0.0, "scaling": { "kind": "none" }, "speed": 60.0 });
        near(check(plain, None, &[(0, 600.0), (1, 60.0), (2, 120.0)], 3), 780.0);
        // One a second in the mean of the two minutes that are kept, and not of all four.
        let to_rate =
            json!({ "skip_s": 120.0, "scaling": { "kind": "linear", "rate_per_s": 1.0 }, "speed": 1.0 });
        near(check(to_rate, None, &[(0, 2.0 / 3.0), (119, 4.0 / 3.0)], 120), 120.0);
        let factor = json!({ "skip_s": 150.0, "scaling": { "kind": "linear", "factor": 0.5 }, "speed": 0.5 });
        near(check(factor, None, &[(0, 0.25), (60, 0.5), (179, 0.5)], 180), 75.0);
        // Of a compound scaling, only the planner knows the sum.
        let compound =
            json!({ "skip_s": 120.0, "scaling": { "kind": "compound", "factor": 9.0 }, "speed": 40.0 });
        near(check(compound, Some(300.0), &[(0, 40.0 * 100.0 / 60.0)], 3), 300.0);
    }

    #[test]
    fn patterns_are_cut_and_scaled() {
        let config = |skip, factor: &str| Config {
            seconds_to_skip: Skip::Seconds(skip),
            scale_factor: factor.to_owned(),
            ..Config::default()
        };
        let minutes = [60.0, 120.0];
        let lengths = |skip| {
            [true, false].map(|as_published| pattern(&config(skip, "1"), &minutes, as_published).len())
        };
        assert_eq!(lengths(0.0), [120, 120]);
        assert_eq!(lengths(90.0), [0, 30], "the published one loses whole minutes");
        assert_eq!(lengths(30.0), [60, 90]);
        let at = |config: &Config, second, as_published| {
            pattern(config, &minutes, as_published).get(second).copied()
        };
        assert_eq!(at(&config(0.0, "3"), 60, false), Some(6.0));
        assert_eq!(at(&config(0.0, "3"), 60, true), Some(2.0));
        let to_rate = Config { scale_rate: Some(30.0), ..Config::default() };
        assert_eq!(at(&to_rate, 0, false), Some(20.0));
        assert_eq!(per_minute("\"InvocationsPerMinute\"\n7\n\n9\n"), Some(vec![7.0, 9.0]));
        assert_eq!(per_minute("# file: d01.csv\n\"InvocationsPerMinute\"\n7\n"), Some(vec![7.0]));
        assert_eq!(per_minute("7\nx\n"), None);
    }
}
