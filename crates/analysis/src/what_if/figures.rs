//! Durations in three figures, each with how precisely it is known.

use std::collections::BTreeMap;

use sb_statistics::{
    Bootstrap, FEWEST_UNITS, Interval, Level, Sorted, Statistic, Trial, Trials, quantile_interval,
    student_quantile,
};
use serde::Serialize;

/// Which trial a trace is of: traces of one trial are drawn together when intervals are made, and trials of one deployment, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrialOfTrace {
    /// Any number that the trials of one deployment share.
    pub deployment: u32,
    /// Any number that the traces of one trial share, and no other trial has.
    pub trial: u32,
}

/// What an interval takes for independent of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalUnit {
    /// The traces: there is one trial, so nothing is known of how trials differ.
    Trace,
    /// Whole trials, or deployments where there are several.
    Trial,
}

/// Mean, median and 99th percentile of durations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The arithmetic mean.
    pub mean: Figure,
    /// The median.
    pub p50: Figure,
    /// The 99th percentile.
    pub p99: Figure,
}

/// A figure in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figure {
    /// Of all traces.
    pub ms: f64,
    /// Where it is with 95 % confidence: from, to. `None` where too few traces or trials say how it varies: two trials are too
    /// few, and for a quantile, at least ten traces must lie beyond it.
    pub interval_ms: Option<[f64; 2]>,
}

impl Figures {
    /// Of durations in microseconds, without intervals; zero without any.
    pub(super) fn of(durations: &[(TrialOfTrace, i64)]) -> Self {
        let mut values: Vec<f64> = durations.iter().map(|(_, duration)| *duration as f64 / 1e3).collect();
        let figure = |value: Option<f64>| Figure { ms: value.unwrap_or_default(), interval_ms: None };
        match Sorted::sort(&mut values) {
            Ok(sorted) => Self {
                mean: figure(sorted.mean()),
                p50: figure(sorted.quantile(Level::MEDIAN)),
                p99: figure(sorted.quantile(Level::P99)),
            },
            // Whole numbers are finite.
            Err(_) => Self { mean: figure(None), p50: figure(None), p99: figure(None) },
        }
    }

    /// [`Self::of`], with intervals.
    pub(super) fn with_intervals(durations: &[(TrialOfTrace, i64)]) -> Self {
        let mut figures = Self::of(durations);
        let mut by_trial: BTreeMap<TrialOfTrace, Vec<f64>> = BTreeMap::new();
        for &(trial, duration) in durations {
            by_trial.entry(trial).or_default().push(duration as f64 / 1e3);
        }
        let trials: Vec<Trial<'_>> = by_trial
            .iter()
            .map(|(trial, values)| Trial { deployment: trial.deployment as usize, values })
            .collect();
        let Ok(drawn) = Trials::new(&trials) else { return figures };
        let drawn = drawn.measured_in(1.0);
        let several = trials.len() > 1;
        if several && drawn.units() < FEWEST_UNITS {
            return figures;
        }
        let interval = |statistic: Statistic| -> Option<Interval> {
            if !drawn.suffice(statistic) {
                return None;
            }
            match (statistic, several) {
                (_, true) => Some(Bootstrap::default().estimate(&drawn, statistic)?.interval),
                (Statistic::Mean, false) => interval_of_mean(&drawn),
                (Statistic::Quantile(level), false) => {
                    let values: Vec<f64> = drawn.values().collect();
                    quantile_interval(&Sorted::of(&values).ok()?, level, Level::P95)
                }
            }
        };
        for (figure, statistic) in [
            (&mut figures.mean, Statistic::Mean),
            (&mut figures.p50, Statistic::Quantile(Level::MEDIAN)),
            (&mut figures.p99, Statistic::Quantile(Level::P99)),
        ] {
            // A duration is never below zero.
            figure.interval_ms = interval(statistic).map(|found| [found.low.max(0.0), found.high]);
        }
        figures
    }

    /// What the intervals of these durations take for independent.
    pub(super) fn unit(durations: &[(TrialOfTrace, i64)]) -> IntervalUnit {
        let first = durations.first().map(|(trial, _)| trial);
        let several = durations.iter().any(|(trial, _)| Some(trial) != first);
        if several { IntervalUnit::Trial } else { IntervalUnit::Trace }
    }
}

/// Of independent values: Student's.
fn interval_of_mean(values: &Trials) -> Option<Interval> {
    let count = values.len() as f64;
    let mean = values.estimate(Statistic::Mean)?;
    let variance = values.values().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let half = student_quantile(Level::new(0.975)?, count - 1.0)? * (variance / count).sqrt();
    Some(Interval { low: mean - half, high: mean + half })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durations(trials: u32, each: i64) -> Vec<(TrialOfTrace, i64)> {
        let values = (0..trials).flat_map(|trial| {
            let trial = TrialOfTrace { deployment: 0, trial };
            (0..each).map(move |value| (trial, 100_000 + value * 1_000 + i64::from(trial.trial) * 5_000))
        });
        values.collect()
    }

    #[test]
    fn an_interval_needs_enough_beyond_it() {
        let few = Figures::with_intervals(&durations(1, 100));
        assert_eq!(few.p99.interval_ms, None);
        let [low, high] = few.p50.interval_ms.unwrap();
        assert!(low < few.p50.ms && few.p50.ms < high, "{few:?}");
        assert!((few.mean.ms - 149.5).abs() < 1e-9 && few.mean.interval_ms.unwrap()[0] > 140.0, "{few:?}");
        let many = Figures::with_intervals(&durations(1, 1_000));
        let [low, high] = many.p99.interval_ms.unwrap();
        assert!(low < many.p99.ms && many.p99.ms < high, "{many:?}");
        let one = Figures::with_intervals(&durations(1, 1));
        assert_eq!((one.p50.ms.to_bits(), one.mean.interval_ms), (100.0_f64.to_bits(), None));
    }

    #[test]
    fn two_trials_say_nothing_of_how_trials_differ() {
        let known = |trials| Figures::with_intervals(&durations(trials, 200)).mean.interval_ms.is_some();
        assert_eq!([1, 2, 3].map(known), [true, false, true]);
    }

    #[test]
    fn trials_that_differ_are_known_less_precisely_than_their_traces() {
        let all = durations(5, 200);
        let width = |figure: Figure| figure.interval_ms.map(|[low, high]| high - low).unwrap();
        let by_trial = Figures::with_intervals(&all);
        let as_one: Vec<_> = all.iter().map(|(_, value)| (TrialOfTrace::default(), *value)).collect();
        assert!(width(by_trial.mean) > 1.5 * width(Figures::with_intervals(&as_one).mean), "{by_trial:?}");
        assert_eq!((Figures::unit(&all), Figures::unit(&as_one)), (IntervalUnit::Trial, IntervalUnit::Trace));
        assert_eq!(Figures::of(&all).mean.ms.to_bits(), by_trial.mean.ms.to_bits());
    }
}
