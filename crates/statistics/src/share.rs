//! Shares: how many of some requests or traces have a property.

use statrs::distribution::{ChiSquared, ContinuousCDF as _};

use crate::critical::{normal_quantile, upper};
use crate::{FEWEST_UNITS, Interval, Level, student_quantile};

/// A share with its interval. Both are in 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share {
    /// How many have the property, as a part of all.
    pub value: f64,
    /// Where the share of all possible trials lies.
    pub interval: Interval,
}

impl Share {
    /// The share of what several trials counted: for each trial, how many have the property, and of how many. `None`
    /// where nothing was counted.
    ///
    /// The interval is that of Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (1927). It
    /// stays within 0 to 1, and has a width also where none or all have the property. It takes requests for independent.
    /// Where the trials vary by more than independent requests would on average, the number of requests is divided by this
    /// factor, the design effect, and the critical value is that of Student's distribution. Korn and Graubard, "Confidence
    /// Intervals for Proportions with Small Expected Number of Positive Counts Estimated from Survey Data" (1998), do so with
    /// another interval. Of two trials it takes more: that a chi-squared test at 10 % finds them different. They hardly say how
    /// much trials differ, and a single trial does not say it at all.
    ///
    /// Counts are whole numbers, so no interval holds the truth with exactly the promised probability: it varies with the share
    /// (Brown, Cai and DasGupta, "Interval Estimation for a Binomial Proportion", 2001). The README says by how much.
    pub fn of(trials: &[(u64, u64)], confidence: Level) -> Option<Self> {
        let counted = || trials.iter().filter(|(_, whole)| *whole > 0);
        let part: u64 = counted().map(|(part, whole)| (*part).min(*whole)).sum();
        let whole: u64 = counted().map(|(_, whole)| whole).sum();
        if whole == 0 {
            return None;
        }
        let number = whole as f64;
        let value = part as f64 / number;
        let independent = value * (1.0 - value) / number;
        let units = counted().count() as f64;
        let squares: f64 =
            counted().map(|(part, whole)| ((*part).min(*whole) as f64 - value * *whole as f64).powi(2)).sum();
        let between = if units > 1.0 { squares / (number * number) * units / (units - 1.0) } else { 0.0 };
        let effect = if independent > 0.0 { between / independent } else { 0.0 };
        let varies = effect > 1.0 && (units >= FEWEST_UNITS as f64 || is_beyond_chance(effect, units - 1.0));
        let (effective, critical) = if varies {
            (number / effect, student_quantile(upper(confidence), units - 1.0)?)
        } else {
            (number, normal_quantile(upper(confidence)))
        };
        Some(Self { value, interval: wilson(value, effective, critical) })
    }
}

/// Whether independent requests would give such a design effect in less than one of ten cases.
fn is_beyond_chance(effect: f64, degrees: f64) -> bool {
    ChiSquared::new(degrees).is_ok_and(|chance| chance.sf(effect * degrees) < 0.1)
}

/// The values of the share that the observed one does not contradict.
fn wilson(value: f64, number: f64, critical: f64) -> Interval {
    let square = critical * critical;
    let middle = value + square / (2.0 * number);
    let half = critical * (value * (1.0 - value) / number + square / (4.0 * number * number)).sqrt();
    let whole = 1.0 + square / number;
    // Rounding must not leave out an end that is the value itself.
    let low = if value <= 0.0 { 0.0 } else { ((middle - half) / whole).max(0.0) };
    let high = if value >= 1.0 { 1.0 } else { ((middle + half) / whole).min(1.0) };
    Interval { low, high }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::ChaCha8Rng;
    use rand_distr::{Beta, Binomial as Draw, Distribution as _};
    use statrs::distribution::{Binomial, Discrete as _};

    use super::*;

    /// Figures of scipy 1.17.1: `scipy.stats.binomtest(part, whole).proportion_ci(method="wilson")`.
    #[test]
    fn the_interval_of_one_trial_is_that_of_scipy() {
        #[track_caller]
        fn check(part: u64, whole: u64, low: f64, high: f64) {
            let found = Share::of(&[(part, whole)], Level::P95).unwrap().interval;
            assert!((found.low - low).abs() < 1e-12 && (found.high - high).abs() < 1e-12, "{found:?}");
        }
        check(7, 20, 0.181_191_824_101_082_1, 0.567_145_723_314_763_7);
        check(0, 30, 0.0, 0.113_513_393_173_968_75);
        check(30, 30, 0.886_486_606_826_031_2, 1.0);
        check(3, 1000, 0.001_020_783_881_138_618_6, 0.008_783_014_053_503_173);
        assert_eq!(Share::of(&[], Level::P95), None);
        assert_eq!(Share::of(&[(0, 0)], Level::P95), None);
    }

    #[test]
    fn trials_that_differ_say_less_than_their_requests() {
        let width = |trials: &[(u64, u64)]| Share::of(trials, Level::P95).unwrap().interval.width();
        // One failure of two trials says nothing of how they differ.
        assert!(width(&[(1, 80), (0, 76)]) < 0.04);
        let alike = width(&[(10, 100), (11, 100), (9, 100), (10, 100)]);
        assert!((alike - width(&[(40, 400)])).abs() < 1e-12, "trials that differ by less than chance");
        assert!(width(&[(0, 100), (40, 100), (0, 100), (0, 100)]) > 5.0 * alike);
        // Without any failure nothing says that trials differ.
        let none = Share::of(&[(0, 100), (0, 300)], Level::P95).unwrap();
        assert!(none.value == 0.0 && none.interval.low == 0.0 && none.interval.high < 0.01, "{none:?}");
    }

    /// The part of intervals of so many requests that hold the true share, exactly: the sum over all possible counts.
    fn coverage(requests: u64, share: f64) -> f64 {
        let counts = Binomial::new(share, requests).unwrap();
        let holds =
            |part: &u64| Share::of(&[(*part, requests)], Level::P95).unwrap().interval.contains(share);
        (0..=requests).filter(holds).map(|part| counts.pmf(part)).sum()
    }

    /// The README has these figures. They are those of the same sums in Python, with scipy 1.17.1.
    #[test]
    fn intervals_of_one_trial_cover_the_share_as_wilsons_do() {
        #[track_caller]
        fn check(requests: u64, mean: f64, least: f64, most: f64) {
            let all: Vec<f64> =
                (1..100).map(|percent| coverage(requests, f64::from(percent) / 100.0)).collect();
            let found = all.iter().sum::<f64>() / all.len() as f64;
            assert!((found - mean).abs() < 1e-4, "{found}");
            let ends =
                all.iter().fold((1.0, 0.0), |(low, high): (f64, f64), one| (low.min(*one), high.max(*one)));
            assert!((ends.0 - least).abs() < 1e-4 && (ends.1 - most).abs() < 1e-4, "{ends:?}");
        }
        check(20, 0.9538, 0.9245, 0.9831);
        check(100, 0.9492, 0.9206, 0.9716);
        check(1000, 0.9498, 0.9457, 0.9635);
    }

    /// How many of so many intervals hold the true share, on average over shares from 2 to 50 %. Each trial has a share of its
    /// own, which varies by `spread` of the deviation that a single request has.
    fn covered(trials: usize, spread: f64) -> f64 {
        const ROUNDS: usize = 1000;
        const SHARES: [f64; 6] = [0.02, 0.05, 0.1, 0.2, 0.3, 0.5];
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut hits = 0;
        for share in SHARES {
            let parts = 1.0 / (spread * spread) - 1.0;
            let own = (spread > 0.0).then(|| Beta::new(share * parts, (1.0 - share) * parts).unwrap());
            for _ in 0..ROUNDS {
                let counts: Vec<(u64, u64)> = (0..trials)
                    .map(|_| {
                        let share = own.as_ref().map_or(share, |own| own.sample(&mut random));
                        (Draw::new(100, share).unwrap().sample(&mut random), 100)
                    })
                    .collect();
                hits += usize::from(Share::of(&counts, Level::P95).unwrap().interval.contains(share));
            }
        }
        hits as f64 / (ROUNDS * SHARES.len()) as f64
    }

    #[test]
    fn intervals_of_trials_cover_the_share() {
        for trials in [3, 5, 10, 30] {
            let all = [0.0, 0.05, 0.1, 0.2].map(|spread| covered(trials, spread));
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            assert!((0.93..=0.97).contains(&mean), "{trials} trials: {all:?}");
            assert!(all.iter().all(|found| (0.91..=0.98).contains(found)), "{trials} trials: {all:?}");
        }
        // Two trials that differ much look alike too often.
        let two = [0.0, 0.05, 0.2].map(|spread| covered(2, spread));
        assert!(two[0] > 0.93 && two[1] > 0.92 && two[2] < 0.85, "{two:?}");
    }
}
