//! Quantiles at the nearest rank: values that were measured, never interpolated ones.

use sb_measurement::nearest_rank;
use serde::{Deserialize, Serialize};

/// The median, the 95th and the 99th percentile, in milliseconds.
///
/// They are nearest-rank: the smallest value such that at least the share `q` of all values is not above it.
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
        let at = |q| Some(*values.get(nearest_rank(values.len(), q) - 1)? as f64 / 1e3);
        Some(Self { p50: at(0.5)?, p95: at(0.95)?, p99: at(0.99)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values_at_the_nearest_rank() {
        #[track_caller]
        fn check(count: i64, expected: [f64; 3]) {
            let mut values: Vec<i64> = (1..=count).rev().map(|value| value * 1000).collect();
            let found = Quantiles::of_micros(&mut values).unwrap();
            assert_eq!([found.p50, found.p95, found.p99].map(f64::to_bits), expected.map(f64::to_bits));
        }
        check(1, [1.0, 1.0, 1.0]);
        check(2, [1.0, 2.0, 2.0]);
        check(20, [10.0, 19.0, 20.0]);
        check(100, [50.0, 95.0, 99.0]);
        check(101, [51.0, 96.0, 100.0]);
        assert_eq!(Quantiles::of_micros(&mut []), None);
    }
}
