use thiserror::Error;

use crate::Level;

/// A value that no statistic can be made of.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
pub enum NotFinite {
    /// A value is infinite or not a number.
    #[error("value {at} of the sample is {value}: only finite numbers can be measured")]
    Value {
        /// Its place in the sample, from 0.
        at: usize,
        /// What it is.
        value: f64,
    },
    /// A sample that was said to be in ascending order is not.
    #[error("value {at} of the sample is smaller than the one before it: sort the sample first")]
    Order {
        /// The place of the smaller value, from 0.
        at: usize,
    },
}

/// Finite values in ascending order: what every function here that needs an order asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sorted<'v>(&'v [f64]);

impl<'v> Sorted<'v> {
    /// Sorts the values in place.
    ///
    /// # Errors
    ///
    /// A value is infinite or not a number.
    pub fn sort(values: &'v mut [f64]) -> Result<Self, NotFinite> {
        check_finite(values)?;
        values.sort_unstable_by(f64::total_cmp);
        Ok(Self(values))
    }

    /// Takes values that are sorted already; this is checked.
    ///
    /// # Errors
    ///
    /// A value is infinite, not a number, or smaller than the one before it.
    pub fn of(values: &'v [f64]) -> Result<Self, NotFinite> {
        check_finite(values)?;
        match values.windows(2).position(|pair| pair[1] < pair[0]) {
            Some(before) => Err(NotFinite::Order { at: before + 1 }),
            None => Ok(Self(values)),
        }
    }

    /// The values.
    pub fn values(&self) -> &'v [f64] {
        self.0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The arithmetic mean; `None` without values.
    ///
    /// Deviations from the middle value are added, so values that lie close together lose no digits.
    pub fn mean(&self) -> Option<f64> {
        let middle = *self.0.get(self.0.len() / 2)?;
        let deviations: f64 = self.0.iter().map(|value| value - middle).sum();
        Some(middle + deviations / self.0.len() as f64)
    }

    /// The quantile at position `level * (n - 1)`, linear between its neighbours; `None` without values.
    ///
    /// Type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages" (1996): the default of NumPy, pandas and R.
    pub fn quantile(&self, level: Level) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
        let position = level.get() * last as f64;
        let below = position.floor();
        let low = self.0[below as usize];
        let high = self.0[(below as usize + 1).min(last)];
        Some(low + (high - low) * (position - below))
    }

    /// Whether no value differs from another; true without values.
    pub(crate) fn all_equal(&self) -> bool {
        self.0.first() == self.0.last()
    }
}

pub(crate) fn check_finite(values: &[f64]) -> Result<(), NotFinite> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => Err(NotFinite::Value { at, value: values[at] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        #[track_caller]
        fn check(values: &[f64], level: f64, expected: f64) {
            let found = Sorted::of(values).unwrap().quantile(Level::new(level).unwrap()).unwrap();
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
        check(&[3.0], 0.99, 3.0);
        check(&[1.0, 2.0], 0.5, 1.5);
        check(&[1.0, 2.0, 4.0], 0.5, 2.0);
        check(&[1.0, 2.0, 4.0], 0.75, 3.0);
        check(&[0.0, 10.0, 20.0, 30.0, 40.0], 0.99, 39.6);
        assert_eq!(Sorted::of(&[]).unwrap().quantile(Level::MEDIAN), None);
    }

    #[test]
    fn a_mean_of_close_values_keeps_its_digits() {
        let values = [1e9 + 0.25; 1000];
        assert_eq!(Sorted::of(&values).unwrap().mean(), Some(1e9 + 0.25));
        assert_eq!(Sorted::of(&[1.0, 2.0, 6.0]).unwrap().mean(), Some(3.0));
        assert_eq!(Sorted::of(&[]).unwrap().mean(), None);
    }

    #[test]
    fn what_is_no_sample_is_refused() {
        assert_eq!(Sorted::of(&[1.0, 0.5]), Err(NotFinite::Order { at: 1 }));
        let infinite = Err(NotFinite::Value { at: 1, value: f64::INFINITY });
        assert_eq!(Sorted::of(&[1.0, f64::INFINITY]), infinite);
        assert!(Sorted::sort(&mut [f64::NAN]).is_err());
        assert_eq!(Sorted::sort(&mut [2.0, 1.0]).unwrap().values(), [1.0, 2.0]);
    }
}
