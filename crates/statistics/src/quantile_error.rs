//! Quantiles of one sample with their standard error, where all values are independent of each other.

use crate::beta_cells::weights;
use crate::critical::{normal_quantile, upper};
use crate::{Level, Sorted};

/// A confidence interval. Its unit is that of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// From the lower to the upper end.
    pub fn width(&self) -> f64 {
        self.high - self.low
    }

    /// Whether a value is in it, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The weighted mean of the values that matter, and the weighted mean of their squared distances from it.
fn moments(sample: &Sorted, a: f64, b: f64) -> (f64, f64) {
    let (first, cells) = weights(sample.len(), a, b);
    let pairs = || cells.iter().zip(&sample.values()[first..]);
    // Around a value in the middle, so that values which lie close together lose no digits.
    let middle = sample.values()[first + cells.len() / 2];
    let mean_off: f64 = pairs().map(|(weight, value)| weight * (value - middle)).sum();
    let squares: f64 = pairs().map(|(weight, value)| weight * (value - middle - mean_off).powi(2)).sum();
    (middle + mean_off, squares)
}

/// The quantile as a weighted mean of all values; `None` without values.
///
/// Harrell and Davis, "A new distribution-free quantile estimator", Biometrika 69 (1982). The weight of value `i` of `n`
/// is what a beta distribution with `(n+1)p` and `(n+1)(1-p)` gives to the cell from `(i-1)/n` to `i/n`.
pub fn harrell_davis(sample: &Sorted, level: Level) -> Option<f64> {
    let above = (sample.len() + 1) as f64;
    (!sample.is_empty()).then(|| moments(sample, above * level.get(), above * (1.0 - level.get())).0)
}

/// The standard error of a quantile; `None` where there are too few values for this level (fewer than three for the median).
///
/// Maritz and Jarrett, "A note on estimating the variance of the sample median", JASA 73 (1978), as Wilcox gives it for
/// any quantile: with `m = floor(np + 0.5)`, the weights are those of a beta distribution with `m - 1` and `n - m`.
pub fn maritz_jarrett(sample: &Sorted, level: Level) -> Option<f64> {
    let n = sample.len() as f64;
    let m = (n * level.get() + 0.5).floor();
    let (a, b) = (m - 1.0, n - m);
    (a > 0.0 && b > 0.0).then(|| moments(sample, a, b).1.sqrt())
}

/// The interval of a quantile: Harrell-Davis, and on both sides Maritz-Jarrett times the normal critical value.
///
/// `None` where there is no standard error. It holds where the values are independent. Requests of one trial are
/// not: for them, resample trials.
pub fn quantile_interval(sample: &Sorted, level: Level, confidence: Level) -> Option<Interval> {
    let half = normal_quantile(upper(confidence)) * maritz_jarrett(sample, level)?;
    let middle = harrell_davis(sample, level)?;
    Some(Interval { low: middle - half, high: middle + half })
}

/// The width of [`quantile_interval`] as a percentage of the quantile: how precisely it is known.
///
/// `None` where that cannot be said: fewer than three values, too few for the level, or a quantile of 0. It is 0 where all
/// values are equal.
pub fn relative_width(sample: &Sorted, level: Level, confidence: Level) -> Option<f64> {
    if sample.len() < 3 {
        return None;
    }
    if sample.all_equal() {
        return Some(0.0);
    }
    let middle = harrell_davis(sample, level)?;
    let half = normal_quantile(upper(confidence)) * maritz_jarrett(sample, level)?;
    (middle != 0.0).then(|| 2.0 * half / middle.abs() * 100.0)
}

/// The relative width as the study prints it, in percent. Use [`relative_width`] for anything else.
///
/// It differs in five points: fewer than two values give -1; no standard error gives "not a number"; the ends are cut at 0;
/// the divisor is rounded to five decimals, which distorts below 10 ms where the values are seconds; and a divisor of 0
/// gives 0. An `alpha` above one half counts as `1 - alpha`.
pub fn relative_width_as_published(sample: &Sorted, level: Level, alpha: f64) -> f64 {
    if sample.len() < 2 {
        return -1.0;
    }
    if sample.all_equal() {
        return 0.0;
    }
    let alpha = if alpha > 0.5 { 1.0 - alpha } else { alpha };
    let (Some(middle), Some(critical)) = (harrell_davis(sample, level), Level::new(1.0 - alpha / 2.0)) else {
        return f64::NAN;
    };
    let divisor = (middle * 1e5).round_ties_even() / 1e5;
    if divisor == 0.0 {
        return 0.0;
    }
    let Some(error) = maritz_jarrett(sample, level) else {
        return f64::NAN;
    };
    let half = normal_quantile(critical) * error;
    // Not as a difference of the ends where neither is cut: next to a large quantile, that loses the digits of a small error.
    let width = if middle >= half { 2.0 * half } else { (middle + half).max(0.0) };
    width / divisor * 100.0
}

#[cfg(test)]
mod tests;
