//! Times of which quantiles are asked, in bounded memory.

use hdrhistogram::Histogram;

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

    /// `None` without values.
    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        match self {
            Self::Exact(values) => {
                let mut sorted = values.clone();
                sorted.sort_unstable();
                Quantiles::at(sorted.len(), 1e3, |place| sorted.get(place).map(|value| *value as f64))
            }
            Self::Histogram(histogram) => {
                let count = histogram.len();
                // The middle of the share of the value at that place, so that rounding leads to no other one.
                let value = |place: usize| {
                    Some(histogram.value_at_quantile((place as f64 + 0.5) / count as f64) as f64)
                };
                Quantiles::at(usize::try_from(count).ok()?, 1e3, value)
            }
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
        for (found, expected) in [(exact.p50, 50.5), (exact.p95, 95.05), (exact.p99, 99.01)] {
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        }
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
