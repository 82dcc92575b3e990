//! Means and quantiles of durations, by the study's definitions: whole nanoseconds, fractions dropped.

use sb_statistics::{Level, Sorted, relative_width, relative_width_as_published};

/// The quantiles of the study's tables, by the names of their columns.
pub(crate) const QUANTILES: [(&str, f64); 12] = [
    ("q0", 0.0),
    ("q0.01", 0.01),
    ("q0.05", 0.05),
    ("q0.1", 0.1),
    ("q0.25", 0.25),
    ("q0.5", 0.5),
    ("q0.75", 0.75),
    ("q0.8", 0.8),
    ("q0.9", 0.9),
    ("q0.95", 0.95),
    ("q0.99", 0.99),
    ("q1", 1.0),
];

/// Mean, median and 99th percentile of some durations, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Aggregates {
    pub(crate) mean: i64,
    pub(crate) p50: i64,
    pub(crate) p99: i64,
}

impl Aggregates {
    pub(crate) fn all(self) -> [i64; 3] {
        [self.mean, self.p50, self.p99]
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        let difference = |a: i64, b: i64| a.saturating_sub(b);
        Self {
            mean: difference(self.mean, other.mean),
            p50: difference(self.p50, other.p50),
            p99: difference(self.p99, other.p99),
        }
    }

    pub(crate) fn sum(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            mean: sum.mean.saturating_add(one.mean),
            p50: sum.p50.saturating_add(one.p50),
            p99: sum.p99.saturating_add(one.p99),
        })
    }
}

/// Of durations in units of so many nanoseconds: 1000 for microseconds. The order of the values is changed. `None`: there are none.
pub(crate) fn aggregates(values: &mut [i64], nanos: i64) -> Option<Aggregates> {
    if values.is_empty() {
        return None;
    }
    let sum: i128 = values.iter().map(|value| i128::from(*value)).sum();
    // Rounds towards zero, as the study does.
    let mean = i64::try_from(sum * i128::from(nanos) / values.len() as i128).unwrap_or(i64::MAX);
    let in_nanos = |value: i64| value as f64 * nanos as f64;
    let p99 = quantile(values, 0.99, in_nanos)? as i64;
    let p50 = quantile(values, 0.5, in_nanos)? as i64;
    Some(Aggregates { mean, p50, p99 })
}

/// The mean, without rounding.
pub(crate) fn mean(values: &[i64]) -> Option<f64> {
    let sum: i128 = values.iter().copied().map(i128::from).sum();
    (!values.is_empty()).then(|| sum as f64 / values.len() as f64)
}

/// A quantile at the position q·(n − 1), linear between its neighbours in the unit that `convert` gives. The order of the values
/// is changed.
pub(crate) fn quantile(values: &mut [i64], q: f64, convert: impl Fn(i64) -> f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let position = q * last as f64;
    let low = (position.floor() as usize).min(last);
    let (_, at, above) = values.select_nth_unstable(low);
    let at = convert(*at);
    let above = above.iter().copied().min().map_or(at, convert);
    Some(between(at, above, position - low as f64))
}

/// As [`quantile`], of values in ascending order.
pub(crate) fn sorted_quantile(values: &[f64], q: f64) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let position = q * last as f64;
    let low = (position.floor() as usize).min(last);
    Some(between(values[low], values[(low + 1).min(last)], position - low as f64))
}

/// A fraction of the way from one number to the next.
fn between(low: f64, high: f64, fraction: f64) -> f64 {
    low + (high - low) * fraction
}

/// Microseconds as seconds, in ascending order.
pub(crate) fn sorted_seconds(mut micros: Vec<i64>) -> Vec<f64> {
    micros.sort_unstable();
    micros.into_iter().map(|micros| micros as f64 / 1e6).collect()
}

/// The relative width of the confidence interval of the median at 95 %, of seconds in ascending order. `None`: there are too few.
pub(crate) fn median_width(seconds: &[f64], as_published: bool) -> Option<f64> {
    let sample = Sorted::of(seconds).ok()?;
    if as_published {
        Some(relative_width_as_published(&sample, Level::MEDIAN, 0.05))
    } else {
        // Of a median of zero nothing is a part.
        relative_width(&sample, Level::MEDIAN, Level::P95).filter(|width| width.is_finite())
    }
}

/// A ratio of two whole numbers, rounded to two decimals: to the nearest decimal of the double's exact value, as Python rounds.
pub(crate) fn ratio(part: i64, whole: i64) -> f64 {
    round_exactly(part as f64 / whole as f64)
}

/// To two decimals, by the exact value of the double; a tie goes to the even digit.
fn round_exactly(value: f64) -> f64 {
    // A double has a finite decimal expansion, which this prints in full; a tie is a single 5 behind the second decimal.
    let exact = format!("{value:.60}");
    let Some(dot) = exact.find('.') else { return value };
    let digits = &exact.as_bytes()[dot + 1..];
    let is_tie = digits[2] == b'5' && digits[3..].iter().all(|digit| *digit == b'0');
    if is_tie && (digits[1] - b'0').is_multiple_of(2) {
        return exact[..dot + 3].parse().unwrap_or(value);
    }
    let nearest = format!("{value:.2}");
    match nearest.parse::<f64>() {
        // Whichever way the library takes ties, this one goes away from zero.
        Ok(rounded) if is_tie && rounded.abs() < value.abs() => rounded + 0.01_f64.copysign(value),
        Ok(rounded) => rounded,
        Err(_) => value,
    }
}

/// To some decimals by multiplying, rounding half to even, and dividing, as numpy does.
pub(crate) fn round_scaled(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round_ties_even() / scale
}

/// What is written on a bar: milliseconds, cut to microseconds and rounded half to even, where the share is above 3 %.
pub(crate) fn bar_label(nanos: i64, share: f64) -> String {
    if share > 0.03 {
        format!("{}", ((nanos / 1000) as f64 / 1000.0).round_ties_even() as i64)
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_between_their_neighbours() {
        let mut values = [5, 1, 3, 2, 4];
        let plain = |value: i64| value as f64;
        assert_eq!(quantile(&mut values, 0.5, plain), Some(3.0));
        assert_eq!(quantile(&mut values, 0.125, |value| plain(value) * 1000.0), Some(1500.0));
        assert_eq!(quantile(&mut values, 1.0, plain), Some(5.0));
        assert_eq!(quantile(&mut [], 0.5, plain), None);
        assert_eq!(sorted_quantile(&[1.0, 2.0], 0.25), Some(1.25));
        assert_eq!(aggregates(&mut [-1, -2], 1), Some(Aggregates { mean: -1, p50: -1, p99: -1 }));
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "rounded figures are exact")]
    fn ratios_are_rounded_as_python_does() {
        // Ties are those that a double holds exactly.
        for (part, whole, expected) in [
            (1, 8, 0.12),
            (3, 8, 0.38),
            (5, 8, 0.62),
            (7, 8, 0.88),
            (-1, 8, -0.12),
            (1, 3, 0.33),
            (2, 3, 0.67),
            (9, 200, 0.04),
            (1, 1, 1.0),
        ] {
            assert_eq!(ratio(part, whole), expected, "{part}/{whole}");
        }
        assert_eq!(round_scaled(0.125, 2), 0.12);
        assert_eq!(round_scaled(2.5, 0), 2.0);
    }

    #[test]
    fn bars_have_labels_above_three_percent() {
        for (nanos, share, expected) in [
            (12_345_678, 0.5, "12"),
            (12_345_678, 0.03, ""),
            (13_500_000, 0.1, "14"),
            (12_500_000, 0.1, "12"),
            (500_999, 0.2, "0"),
            (-12_345_678, 0.4, "-12"),
            (1, f64::NAN, ""),
        ] {
            assert_eq!(bar_label(nanos, share), expected, "{nanos} {share}");
        }
    }
}
