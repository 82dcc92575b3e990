//! What virtual users do between two invocations: they think.

use std::time::Duration;

use rand::{Rng, RngExt as _};
use rand_distr::{Distribution as _, Exp1, StandardNormal};
use serde::{Deserialize, Serialize};

/// The 99th percentile of the standard normal distribution.
const Z_99: f64 = 2.326_347_874_040_841;

/// How long a user waits after an answer before it sends again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThinkTime {
    /// Always as long; zero: the user sends again at once.
    Fixed(Duration),
    /// Every length between the two is equally likely.
    Uniform {
        /// The shortest.
        min: Duration,
        /// The longest, not below `min`.
        max: Duration,
    },
    /// Exponential: mostly short, sometimes long. Many such users together send almost as a Poisson process does.
    Exponential {
        /// The mean, above zero.
        mean: Duration,
    },
    /// Log-normal: never near zero, with a long tail.
    LogNormal {
        /// Half are shorter; above zero.
        median: Duration,
        /// Of 100, 99 are shorter; not below `median`.
        p99: Duration,
    },
}

impl ThinkTime {
    /// The expected length: of a log-normal distribution median · exp(σ²/2), with σ = ln(p99 / median) / z₉₉.
    pub fn mean(&self) -> Duration {
        match self {
            Self::Fixed(length) => *length,
            Self::Uniform { min, max } => (*min + *max) / 2,
            Self::Exponential { mean } => *mean,
            Self::LogNormal { median, p99 } => {
                let sigma = sigma(*median, *p99);
                Duration::try_from_secs_f64(median.as_secs_f64() * (sigma * sigma / 2.0).exp())
                    .unwrap_or(Duration::MAX)
            }
        }
    }

    /// A length, drawn from `random`.
    pub fn draw(&self, random: &mut impl Rng) -> Duration {
        let seconds = match self {
            Self::Fixed(length) => return *length,
            Self::Uniform { min, max } => {
                let share: f64 = random.random();
                min.as_secs_f64() + share * (max.saturating_sub(*min)).as_secs_f64()
            }
            Self::Exponential { mean } => {
                let multiple: f64 = Exp1.sample(random);
                mean.as_secs_f64() * multiple
            }
            Self::LogNormal { median, p99 } => {
                let z: f64 = StandardNormal.sample(random);
                median.as_secs_f64() * (sigma(*median, *p99) * z).exp()
            }
        };
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

fn sigma(median: Duration, p99: Duration) -> f64 {
    (p99.as_secs_f64() / median.as_secs_f64()).ln() / Z_99
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    /// Seconds, sorted.
    fn drawn(think: &ThinkTime) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut drawn: Vec<f64> = (0..40_000).map(|_| think.draw(&mut random).as_secs_f64()).collect();
        drawn.sort_by(f64::total_cmp);
        drawn
    }

    /// The mean that is promised is the mean of what is drawn, and the median is where the distribution has it.
    #[track_caller]
    fn check(think: &ThinkTime, mean: f64, median: f64) {
        let drawn = drawn(think);
        let found = drawn.iter().sum::<f64>() / drawn.len() as f64;
        assert!((found / mean - 1.0).abs() < 0.02, "{think:?}: {found} instead of {mean}");
        assert!((think.mean().as_secs_f64() / mean - 1.0).abs() < 1e-6, "{think:?}: {:?}", think.mean());
        let middle = drawn[drawn.len() / 2];
        assert!((middle / median - 1.0).abs() < 0.03, "{think:?}: {middle} instead of {median}");
    }

    #[test]
    fn think_times_have_the_mean_and_the_shape_that_their_names_say() {
        let seconds = Duration::from_secs;
        check(&ThinkTime::Fixed(seconds(2)), 2.0, 2.0);
        check(&ThinkTime::Uniform { min: seconds(1), max: seconds(3) }, 2.0, 2.0);
        check(&ThinkTime::Exponential { mean: seconds(2) }, 2.0, 2.0 * 2f64.ln());
        let log_normal = ThinkTime::LogNormal { median: seconds(1), p99: seconds(4) };
        let sigma = 4f64.ln() / Z_99;
        check(&log_normal, (sigma * sigma / 2.0).exp(), 1.0);
        let p99 = drawn(&log_normal)[39_600];
        assert!((3.7..4.3).contains(&p99), "{p99}");
        assert_eq!(ThinkTime::Fixed(Duration::ZERO).draw(&mut rand::rng()), Duration::ZERO);
    }
}
