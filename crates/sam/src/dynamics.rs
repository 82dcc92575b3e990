//! The words for what a local target imitates of a cloud when it is told to: delays and faults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Of the standard normal distribution: 99 of 100 values lie below it.
const Z_99: f64 = 2.326_347_874_040_841;

/// How long something takes: always the same, or drawn from a log-normal distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delay {
    /// The same each time.
    Fixed(Duration),
    /// The median is above zero, and the 99th percentile not below it.
    LogNormal {
        /// Half of the values lie below it.
        median: Duration,
        /// 99 of 100 values lie below it.
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

/// The delays and faults to imitate; by default none. Rates are from 0 to 1: the share of cases.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dynamics {
    /// The same seed gives the same delays and faults.
    pub seed: u64,
    /// What the start of a function's instance takes longer.
    pub cold_start: Option<Delay>,
    /// How long an event is on its way to a function.
    pub trigger: Option<Delay>,
    /// What a call of a service takes longer.
    pub service: Option<Delay>,
    /// Invocations that fail instead of reaching the function.
    pub function_error: f64,
    /// Calls that are refused as one too many.
    pub throttle: f64,
    /// Events and messages that are lost on their way.
    pub lost_message: f64,
    /// Calls of a service that take two seconds longer.
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
