//! Quantiles of times, in the one definition of the project.

use sb_measurement::quantile_place;
use serde::{Deserialize, Serialize};

/// The median, the 95th and the 99th percentile, in milliseconds.
///
/// They are linear between two measured values ([`quantile_place`]).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
}

impl Quantiles {
    /// Of values in microseconds, which are sorted in place; `None` where there are none.
    pub(crate) fn of_micros(values: &mut [i64]) -> Option<Self> {
        values.sort_unstable();
        Self::at(values.len(), 1e3, |place| values.get(place).map(|value| *value as f64))
    }

    /// Of so many values in ascending order, by their places from 0. `unit` of them are a millisecond. `None` where there are none.
    pub(crate) fn at(count: usize, unit: f64, value: impl Fn(usize) -> Option<f64>) -> Option<Self> {
        let last = count.checked_sub(1)?;
        let at = |q| {
            let (place, fraction) = quantile_place(count, q);
            let (low, high) = (value(place)?, value((place + 1).min(last))?);
            // Whole nanoseconds, as in the summary of a load.
            Some(((low + (high - low) * fraction) * (1e6 / unit)).round() / 1e6)
        };
        Some(Self { p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_between_their_neighbours() {
        #[track_caller]
        fn check(count: i64, expected: [f64; 3]) {
            let mut values: Vec<i64> = (1..=count).rev().map(|value| value * 1000).collect();
            let found = Quantiles::of_micros(&mut values).unwrap();
            let found = [found.p50, found.p95, found.p99];
            let is_near = |(found, expected): (&f64, &f64)| (found - expected).abs() < 1e-9;
            assert!(found.iter().zip(&expected).all(is_near), "{found:?}");
        }
        check(1, [1.0, 1.0, 1.0]);
        // As numpy.percentile has them.
        check(2, [1.5, 1.95, 1.99]);
        check(20, [10.5, 19.05, 19.81]);
        check(100, [50.5, 95.05, 99.01]);
        check(101, [51.0, 96.0, 100.0]);
        assert_eq!(Quantiles::of_micros(&mut []), None);
    }
}
