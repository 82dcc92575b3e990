use std::fmt;

/// A probability strictly between 0 and 1: which quantile is meant, or how sure an interval is.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Level(f64);

impl Level {
    /// One half: the median.
    pub const MEDIAN: Self = Self(0.5);
    /// 0.9.
    pub const P90: Self = Self(0.9);
    /// 0.95.
    pub const P95: Self = Self(0.95);
    /// 0.99.
    pub const P99: Self = Self(0.99);

    /// `None` unless `0 < probability < 1`.
    pub fn new(probability: f64) -> Option<Self> {
        (probability > 0.0 && probability < 1.0).then_some(Self(probability))
    }

    /// The probability.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// As a percentile where it is a plain one: `p50`, `p99.9`.
impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Six decimals of a percent, so that 0.999 is p99.9 and not p99.90000000000001.
        let percent = (self.0 * 1e8).round() / 1e6;
        write!(out, "p{percent}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_probabilities_between_none_and_all_are_levels() {
        for wrong in [0.0, 1.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Level::new(wrong), None, "{wrong}");
        }
        assert_eq!(Level::new(0.5), Some(Level::MEDIAN));
    }

    #[test]
    fn a_level_is_written_as_a_percentile() {
        let written = |p: f64| Level::new(p).unwrap().to_string();
        assert_eq!(
            [0.5, 0.99, 0.999, 0.07, 0.29].map(written),
            ["p50", "p99", "p99.9", "p7", "p29"].map(str::to_owned)
        );
    }
}
