//! Values of trials: what was measured together is drawn together.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use crate::sorted::check_finite;
use crate::{Level, NotFinite};

/// The values that one trial measured, and in which deployment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial<'v> {
    /// Any number that the trials of one deployment share, and no others.
    pub deployment: usize,
    /// What was measured, in any order.
    pub values: &'v [f64],
}

/// Of so many units there is an interval.
///
/// Two say next to nothing of how they differ: the factor of their 95 % interval is 12.7, and that of three is 4.3. Two whose
/// figures happen to be equal would even seem not to vary at all.
pub const FEWEST_UNITS: usize = 3;

/// A figure of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// The arithmetic mean.
    Mean,
    /// The quantile of [`Sorted::quantile`](crate::Sorted::quantile).
    Quantile(Level),
}

/// What is drawn as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A deployment with all of its trials: there are at least two.
    Deployment,
    /// A trial: all are of one deployment.
    Trial,
}

/// The values of trials, ready to be resampled.
///
/// Requests of a trial share a deployment, a warm instance, a noisy neighbour. To draw them one by one would take them for
/// independent, and give intervals that are too narrow. So whole units are drawn: deployments where there are two or more,
/// otherwise trials. What is inside a unit stays as it is: to draw there, too, would count its variance twice (Davison and
/// Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
///
/// Trials without values do not count. Memory is linear in the values.
#[derive(Clone, Debug)]
pub struct Trials {
    /// All values in ascending order, each with the number of its unit.
    values: Vec<(f64, u32)>,
    /// For each unit, how many values it has.
    counts: Vec<u32>,
    /// For each unit, the sum of the distances of its values from `middle`.
    sums: Vec<f64>,
    /// A value in the middle, so that sums keep their digits.
    middle: f64,
    /// For each block of values and each unit, how many values the unit has before the block.
    before: Vec<u32>,
    /// How many values a block has.
    block: usize,
    unit: Unit,
    trials: usize,
    /// The values are whole multiples of it. 0: nobody asked, or they are of nothing coarse.
    step: f64,
}

impl Trials {
    /// Sorts the values of all trials.
    ///
    /// # Errors
    ///
    /// A value is infinite or not a number; its place is the one in its trial.
    ///
    /// # Panics
    ///
    /// There are more than 2^32 values.
    pub fn new(trials: &[Trial<'_>]) -> Result<Self, NotFinite> {
        let with_values: Vec<&Trial<'_>> = trials.iter().filter(|trial| !trial.values.is_empty()).collect();
        let mut deployments: Vec<usize> = with_values.iter().map(|trial| trial.deployment).collect();
        deployments.sort_unstable();
        deployments.dedup();
        let unit = if deployments.len() > 1 { Unit::Deployment } else { Unit::Trial };
        let units = if unit == Unit::Deployment { deployments.len() } else { with_values.len() };
        let total = with_values.iter().map(|trial| trial.values.len()).sum();
        assert!(u32::try_from(total).is_ok(), "more than 2^32 values");
        let mut values = Vec::with_capacity(total);
        for (at, trial) in with_values.iter().enumerate() {
            check_finite(trial.values)?;
            let number = match unit {
                Unit::Deployment => deployments.partition_point(|&other| other < trial.deployment),
                Unit::Trial => at,
            };
            values.extend(trial.values.iter().map(|&value| (value, number as u32)));
        }
        values.sort_unstable_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        let middle = values.get(values.len() / 2).map_or(0.0, |value| value.0);
        // At least as long as there are units: so the table below is no larger than the values.
        let block = units.max(256);
        let (mut counts, mut sums, mut before) = (vec![0_u32; units], vec![0.0; units], Vec::new());
        for (at, &(value, unit)) in values.iter().enumerate() {
            if at % block == 0 {
                before.extend_from_slice(&counts);
            }
            counts[unit as usize] += 1;
            sums[unit as usize] += value - middle;
        }
        Ok(Self { values, counts, sums, middle, before, block, unit, trials: with_values.len(), step: 0.0 })
    }

    /// Finds out how coarse the clock was: the values are whole multiples of `coarsest`, or of a tenth, a hundredth or a
    /// thousandth of it. The intervals of figures are then no narrower than the clock allows. Counts are not measured with a
    /// clock: do not ask for them.
    #[must_use]
    pub fn measured_in(mut self, coarsest: f64) -> Self {
        let steps = [1.0, 1e1, 1e2, 1e3].map(|part| coarsest / part);
        let is_step = |step: f64| {
            self.values.iter().all(|(value, _)| {
                let count = value / step;
                // Doubles do not hold decimal fractions exactly.
                (count - count.round()).abs() <= 1e-6
            })
        };
        self.step = steps.into_iter().find(|&step| is_step(step)).unwrap_or(0.0);
        self
    }

    /// How far rounding to the step of the values can move a figure: half a step. Of a mean it cancels out where values are
    /// spread over at least a step: a standard deviation of half a step leaves an error of 0.2 % of a step.
    pub(crate) fn rounding(&self, statistic: Statistic) -> f64 {
        let cancels = match statistic {
            Statistic::Quantile(_) => false,
            Statistic::Mean => {
                let count = self.values.len() as f64;
                let mean = self.sums.iter().sum::<f64>() / count;
                let squares = self.values.iter().map(|(value, _)| (value - self.middle - mean).powi(2));
                (squares.sum::<f64>() / count).sqrt() >= self.step / 2.0
            }
        };
        if cancels { 0.0 } else { self.step / 2.0 }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// How many trials have values.
    pub fn trials(&self) -> usize {
        self.trials
    }

    /// What is drawn as a whole.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// How many units there are: how many independent measurements.
    pub fn units(&self) -> usize {
        self.counts.len()
    }

    /// All values in ascending order.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f64> + Clone {
        self.values.iter().map(|value| value.0)
    }

    /// Whether there are enough values for an interval of this figure: for a quantile, ten must lie beyond it.
    ///
    /// Simulated intervals of 95 % cover some 92 % with fewer, as resamples hardly differ in their last values, and 93 to 95 %
    /// with more.
    pub fn suffice(&self, statistic: Statistic) -> bool {
        match statistic {
            Statistic::Mean => true,
            Statistic::Quantile(level) => {
                let rarer = level.get().min(1.0 - level.get());
                // A thousandth more, as 1000 * (1 - 0.99) is less than 10 in doubles.
                self.len() as f64 * rarer >= 9.999
            }
        }
    }

    /// The figure of all values; `None` without values.
    pub fn estimate(&self, statistic: Statistic) -> Option<f64> {
        (!self.is_empty()).then(|| self.weighted(statistic, &vec![1; self.units()]))
    }

    /// The figure of as many resamples as asked for, in the order in which they were drawn. Each draws as many units as
    /// there are, with replacement. The same seed draws the same. Empty without values.
    pub fn resample(&self, statistic: Statistic, resamples: usize, seed: u64) -> Vec<f64> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut weights = vec![0_u32; self.units()];
        (0..resamples)
            .map(|_| {
                weights.fill(0);
                for _ in 0..self.units() {
                    weights[random.random_range(0..self.units())] += 1;
                }
                self.weighted(statistic, &weights)
            })
            .collect()
    }

    /// The figure of a sample that has each unit so many times.
    fn weighted(&self, statistic: Statistic, weights: &[u32]) -> f64 {
        let total: u64 =
            weights.iter().zip(&self.counts).map(|(&weight, &count)| product(weight, count)).sum();
        match statistic {
            Statistic::Mean => {
                let sum: f64 =
                    weights.iter().zip(&self.sums).map(|(&weight, sum)| f64::from(weight) * sum).sum();
                self.middle + sum / total as f64
            }
            Statistic::Quantile(level) => {
                let position = level.get() * (total - 1) as f64;
                let below = position.floor();
                let (low, high) = self.at_ranks(below as u64, (below as u64 + 1).min(total - 1), weights);
                low + (high - low) * (position - below)
            }
        }
    }

    /// The values at two neighbouring ranks of a weighted sample, from 0.
    fn at_ranks(&self, low: u64, high: u64, weights: &[u32]) -> (f64, f64) {
        let units = self.units();
        let before = |block: usize| -> u64 {
            let counts = &self.before[block * units..(block + 1) * units];
            weights.iter().zip(counts).map(|(&weight, &count)| product(weight, count)).sum()
        };
        // The last block before which there are at most `low` values.
        let (mut from, mut to) = (0, self.before.len() / units);
        while to - from > 1 {
            let middle = usize::midpoint(from, to);
            if before(middle) <= low { from = middle } else { to = middle }
        }
        let mut seen = before(from);
        let mut found = None;
        for &(value, unit) in &self.values[from * self.block..] {
            seen += u64::from(weights[unit as usize]);
            if found.is_none() && seen > low {
                found = Some(value);
            }
            if seen > high {
                return (found.unwrap_or(value), value);
            }
        }
        // Not reached: a rank is below the number of values.
        let last = self.values.last().map_or(f64::NAN, |value| value.0);
        (found.unwrap_or(last), last)
    }
}

fn product(weight: u32, count: u32) -> u64 {
    u64::from(weight) * u64::from(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Sorted;

    fn trials(values: &[(usize, Vec<f64>)]) -> Trials {
        let trials: Vec<Trial<'_>> =
            values.iter().map(|(deployment, values)| Trial { deployment: *deployment, values }).collect();
        Trials::new(&trials).unwrap()
    }

    #[test]
    fn deployments_are_drawn_where_there_are_two() {
        let one = trials(&[(7, vec![1.0]), (7, vec![2.0, 3.0]), (7, vec![])]);
        assert_eq!((one.unit(), one.units(), one.trials(), one.len()), (Unit::Trial, 2, 2, 3));
        let two = trials(&[(7, vec![1.0]), (9, vec![2.0, 3.0]), (7, vec![4.0])]);
        assert_eq!((two.unit(), two.units(), two.trials(), two.len()), (Unit::Deployment, 2, 3, 4));
    }

    #[test]
    fn requests_of_a_trial_are_drawn_together() {
        let trials = trials(&[(0, vec![1.0; 10]), (0, vec![2.0; 10])]);
        let mut means = trials.resample(Statistic::Mean, 2000, 1);
        assert_eq!(means, trials.resample(Statistic::Mean, 2000, 1), "the seed decides");
        assert_ne!(means, trials.resample(Statistic::Mean, 2000, 2));
        means.sort_by(f64::total_cmp);
        let share = means.iter().filter(|&&mean| mean < 1.1).count() as f64 / 2000.0;
        means.dedup();
        assert_eq!(means, [1.0, 1.5, 2.0]);
        assert!((share - 0.25).abs() < 0.03, "{share}");
    }

    #[test]
    fn no_values_have_no_figure() {
        let none = trials(&[(0, vec![])]);
        assert_eq!(none.estimate(Statistic::Mean), None);
        assert!(none.resample(Statistic::Mean, 10, 1).is_empty());
        let wrong = [Trial { deployment: 0, values: &[1.0, f64::NAN] }];
        assert!(matches!(Trials::new(&wrong), Err(NotFinite::Value { at: 1, .. })));
    }

    #[test]
    fn a_quantile_needs_values_beyond_it() {
        let of = |count: usize| trials(&[(0, vec![1.0; count])]);
        let p99 = Statistic::Quantile(Level::P99);
        assert!(of(1000).suffice(p99) && !of(999).suffice(p99));
        let median = Statistic::Quantile(Level::MEDIAN);
        assert!(of(20).suffice(median) && !of(19).suffice(median) && of(1).suffice(Statistic::Mean));
    }

    proptest! {
        /// A weighted figure is that of the sample with its units repeated.
        #[test]
        fn weights_stand_for_repeated_units(
            values in prop::collection::vec(prop::collection::vec(0_u16..500, 1..400), 1..5),
            weights in prop::collection::vec(0_u32..4, 5),
            level in 0.01_f64..0.99,
        ) {
            let units: Vec<(usize, Vec<f64>)> = values
                .iter()
                .enumerate()
                .map(|(at, values)| (at, values.iter().map(|&value| f64::from(value)).collect()))
                .collect();
            let mut weights = weights[..units.len()].to_vec();
            if weights.iter().all(|&weight| weight == 0) {
                weights[0] = 1;
            }
            let mut repeated: Vec<f64> = units
                .iter()
                .zip(&weights)
                .flat_map(|((_, values), &weight)| values.repeat(weight as usize))
                .collect();
            let sample = Sorted::sort(&mut repeated).unwrap();
            let level = Level::new(level).unwrap();
            let trials = trials(&units);
            let found = trials.weighted(Statistic::Quantile(level), &weights);
            prop_assert!((found - sample.quantile(level).unwrap()).abs() < 1e-9);
            let found = trials.weighted(Statistic::Mean, &weights);
            prop_assert!((found - sample.mean().unwrap()).abs() < 1e-9);
        }
    }
}
