//! The words for what a local target imitates of a cloud when it is told to: delays and faults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Of the standard normal distribution: 99 of 100 values lie below it.
const Z_99: f64 = 2.326_347_874_040_841;

/// How long something takes: always the same, or drawn from a log-normal distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delay {
    Fixed(Duration),
    /// The median is above zero, and the 99th percentile not below it.
    LogNormal {
        median: Duration,
        p99: Duration,
    },
}

impl Delay {
    /// The value where the standard normal distribution has `z`.
    pub fn at(self, z: f64) -> Duration {
        match self {
            Self::Fixed(duration) => duration,
            Self::LogNormal { median, p99 } => {
                let sigma = (p99.as_secs_f64() / median.as_secs_f64()).ln() / Z_99;
                Duration::try_from_secs_f64(median.as_secs_f64() * (sigma * z).exp()).unwrap_or(p99)
            }
        }
    }
}

/// Rates are from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dynamics {
    pub seed: u64,
    pub cold_start: Option<Delay>,
    pub trigger: Option<Delay>,
    pub service: Option<Delay>,
    pub function_error: f64,
    pub throttle: f64,
    pub lost_message: f64,
    pub slow_service: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_normal_delay_has_its_median_and_its_99th_percentile() {
        let delay = Delay::LogNormal { median: Duration::from_millis(200), p99: Duration::from_secs(1) };
        let check = |z: f64, expected: f64| {
            assert!((delay.at(z).as_secs_f64() - expected).abs() < 1e-6, "{z}: {:?}", delay.at(z));
        };
        check(0.0, 0.2);
        check(Z_99, 1.0);
        check(-Z_99, 0.04);
        assert_eq!(Delay::Fixed(Duration::from_millis(7)).at(3.0), Duration::from_millis(7));
    }
}
