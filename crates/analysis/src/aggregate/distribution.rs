//! Times of which quantiles are asked, in bounded memory.

use hdrhistogram::Histogram;
use sb_measurement::nearest_rank;

use crate::quantiles::Quantiles;

/// So many values are kept as they are. Of more, a histogram with three significant digits is.
const MOST_EXACT: usize = 4096;

/// Times in microseconds.
#[derive(Clone, Debug)]
pub(crate) enum Distribution {
    Exact(Vec<u64>),
    Histogram(Box<Histogram<u32>>),
}

impl Default for Distribution {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Distribution {
    pub(crate) fn add(&mut self, value: i64) {
        // Times on an exact path are never negative.
        let value = u64::try_from(value).unwrap_or(0);
        match self {
            Self::Histogram(histogram) => record(histogram, value),
            Self::Exact(values) => {
                values.push(value);
                if values.len() > MOST_EXACT
                    && let Some(histogram) = to_histogram(values)
                {
                    *self = Self::Histogram(histogram);
                }
            }
        }
    }

    /// At the nearest rank; `None` without values.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        let of = |at: &dyn Fn(f64) -> u64| {
            let at = |share| at(share) as f64 / 1e3;
            Quantiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
        };
        match self {
            Self::Exact(values) if values.is_empty() => None,
            Self::Exact(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable();
                Some(of(&|share| sorted[nearest_rank(sorted.len(), share) - 1]))
            }
            Self::Histogram(histogram) => Some(of(&|share| histogram.value_at_quantile(share))),
        }
    }
}

fn to_histogram(values: &[u64]) -> Option<Box<Histogram<u32>>> {
    // It grows with the values, and three digits are within its range.
    let mut histogram = Histogram::<u32>::new(3).ok()?;
    histogram.auto(true);
    for &value in values {
        record(&mut histogram, value);
    }
    Some(Box::new(histogram))
}

fn record(histogram: &mut Histogram<u32>, value: u64) {
    // It cannot grow for ever: what is beyond counts as the largest value.
    if histogram.record(value).is_err() {
        histogram.saturating_record(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_values_are_within_a_thousandth() {
        let mut distribution = Distribution::default();
        assert_eq!(distribution.quantiles(), None);
        for value in 1..=100 {
            distribution.add(value * 1_000);
        }
        let exact = distribution.quantiles().unwrap();
        assert_eq!(
            [exact.p50, exact.p95, exact.p99].map(f64::to_bits),
            [50.0_f64, 95.0, 99.0].map(f64::to_bits)
        );
        let mut distribution = Distribution::default();
        for value in 1..=100_000 {
            distribution.add(value * 37);
        }
        assert!(matches!(distribution, Distribution::Histogram(_)));
        let found = distribution.quantiles().unwrap();
        for (found, expected) in [(found.p50, 1850.0), (found.p95, 3515.0), (found.p99, 3663.0)] {
            assert!((found / expected - 1.0).abs() < 0.001, "{found} instead of {expected}");
        }
    }
}
