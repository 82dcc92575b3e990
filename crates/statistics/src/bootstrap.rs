//! Intervals of figures, and of what differs between two sets of trials.

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use crate::critical::upper;
use crate::{FEWEST_UNITS, Interval, Level, Statistic, Trials, student_quantile};

/// How intervals are made.
///
/// Units of [`Trials`] are drawn with replacement. The standard error is the standard deviation of the figure over all
/// resamples, times `sqrt(units / (units - 1))`, because resamples of few units vary too little. The interval is the
/// figure plus and minus this error times the critical value of Student's distribution. Hesterberg, "What Teachers Should
/// Know About the Bootstrap" (2015), shows both corrections. Figures above 0 are treated as logarithms: durations and
/// their ratios are skewed. Percentiles of the resamples are not used: of ten units they cover some 90 % where 95 % were
/// asked for, and of five some 83 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// How many resamples are drawn.
    pub resamples: usize,
    /// What the draws depend on: the same seed gives the same intervals.
    pub seed: u64,
    /// How sure an interval is.
    pub confidence: Level,
}

impl Default for Bootstrap {
    /// 2000 resamples, and intervals of 95 %.
    fn default() -> Self {
        Self { resamples: 2000, seed: 20_220_111, confidence: Level::P95 }
    }
}

/// A figure, and how precisely it is known. The unit is that of the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The figure of all values.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// The degrees of freedom of this error.
    pub degrees: f64,
    /// How far the rounding of the values can move the figure. The interval is so much wider on each side. 0 where
    /// [`Trials::measured_in`] was not asked.
    pub rounding: f64,
    /// Where the figure of all possible trials lies.
    pub interval: Interval,
    /// On which scale the interval has the value in its middle.
    pub scale: Scale,
}

/// On which scale an interval was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// On that of the values.
    Linear,
    /// On that of their logarithms: all resampled figures are above 0.
    Logarithmic,
}

impl Estimate {
    /// The width of the interval as a share of the value: 0.05 is 5 %. `None` where the value is 0.
    pub fn relative_width(&self) -> Option<f64> {
        (self.value != 0.0).then(|| self.interval.width() / self.value.abs())
    }
}

/// What differs between a first and a second set of trials.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The figure of the first.
    pub first: f64,
    /// The figure of the second.
    pub second: f64,
    /// Second less first. `None` with fewer than [`FEWEST_UNITS`] units on a side: how much a figure varies is then unknown.
    pub difference: Option<Estimate>,
    /// Second divided by first. `None`, too, where a figure of a resample is not above 0.
    pub ratio: Option<Estimate>,
    /// How often units that do not differ would give a change at least this large: a two-sided p-value, of the ratio where
    /// there is one, otherwise of the difference.
    pub p_value: Option<f64>,
}

impl Bootstrap {
    /// A figure with its interval; `None` with fewer than [`FEWEST_UNITS`] units.
    pub fn estimate(&self, trials: &Trials, statistic: Statistic) -> Option<Estimate> {
        let value = trials.estimate(statistic)?;
        let mut figures = trials.resample(statistic, self.resamples, self.seed);
        let degrees = trials.units().checked_sub(1)? as f64;
        let rounding = trials.rounding(statistic);
        if value > 0.0 && to_logarithms([&mut figures]) {
            return self
                .around(value.ln(), corrected_error(&figures, trials)?, degrees, rounding / value)
                .map(Estimate::raised);
        }
        self.around(value, corrected_error(&figures, trials)?, degrees, rounding)
    }

    /// What changed from the first to the second; `None` where one has no values.
    pub fn change(&self, first: &Trials, second: &Trials, statistic: Statistic) -> Option<Change> {
        let (from, to) = (first.estimate(statistic)?, second.estimate(statistic)?);
        let mut of_first = first.resample(statistic, self.resamples, self.seed);
        // Another stream: the two sides are independent of each other.
        let mut of_second = second.resample(statistic, self.resamples, self.seed.wrapping_add(1));
        let rounding = [first, second].map(|side| side.rounding(statistic));
        let between = |[from, to]: [f64; 2], of_first: &[f64], of_second: &[f64], rounding: f64| {
            let errors = [corrected_error(of_first, first)?, corrected_error(of_second, second)?];
            let (error, degrees) = combined(errors, [first.units(), second.units()]);
            self.around(to - from, error, degrees, rounding)
        };
        let difference = between([from, to], &of_first, &of_second, rounding[0] + rounding[1]);
        let logarithms = from > 0.0 && to > 0.0 && to_logarithms([&mut of_first, &mut of_second]);
        let ratio = if logarithms {
            let rounding = rounding[0] / from + rounding[1] / to;
            between([from.ln(), to.ln()], &of_first, &of_second, rounding)
        } else {
            None
        };
        Some(Change {
            first: from,
            second: to,
            difference,
            ratio: ratio.map(Estimate::raised),
            p_value: ratio.or(difference).map(|estimate| p_value(&estimate)),
        })
    }

    fn around(&self, value: f64, error: f64, degrees: f64, rounding: f64) -> Option<Estimate> {
        let half = student_quantile(upper(self.confidence), degrees)? * error + rounding;
        let interval = Interval { low: value - half, high: value + half };
        Some(Estimate { value, error, degrees, rounding, interval, scale: Scale::Linear })
    }
}

impl Estimate {
    /// Of a logarithm, that of the figure itself.
    fn raised(self) -> Self {
        let value = self.value.exp();
        Self {
            value,
            error: value * self.error,
            degrees: self.degrees,
            rounding: value * self.rounding,
            interval: Interval { low: self.interval.low.exp(), high: self.interval.high.exp() },
            scale: Scale::Logarithmic,
        }
    }
}

/// Takes the logarithms of all figures, or of none where one is not above 0.
fn to_logarithms<const N: usize>(figures: [&mut Vec<f64>; N]) -> bool {
    let all = figures.iter().all(|figures| figures.iter().all(|&figure| figure > 0.0));
    if all {
        figures.into_iter().flatten().for_each(|figure| *figure = figure.ln());
    }
    all
}

/// The standard deviation of resampled figures, corrected for few units; `None` with fewer than [`FEWEST_UNITS`].
fn corrected_error(figures: &[f64], trials: &Trials) -> Option<f64> {
    if trials.units() < FEWEST_UNITS || figures.len() < 2 {
        return None;
    }
    let count = figures.len() as f64;
    // Around the first, so that figures which do not differ have no variance at all.
    let mean = figures[0] + figures.iter().map(|figure| figure - figures[0]).sum::<f64>() / count;
    let variance = figures.iter().map(|figure| (figure - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let units = trials.units() as f64;
    Some((variance * units / (units - 1.0)).sqrt())
}

/// The error of a difference, and its degrees of freedom.
///
/// Of as many units on both sides, they are Student's: then unequal variances hardly matter (Scheffé, "Practical Solutions of the
/// Behrens-Fisher Problem", 1970). Otherwise they are those of Welch, "The generalization of Student's problem" (1947).
fn combined(errors: [f64; 2], units: [usize; 2]) -> (f64, f64) {
    let variances = errors.map(|error| error * error);
    let total = variances[0] + variances[1];
    let parts: f64 =
        variances.iter().zip(units).map(|(variance, units)| variance * variance / (units - 1) as f64).sum();
    let degrees = if units[0] == units[1] || parts == 0.0 {
        (units[0] + units[1] - 2) as f64
    } else {
        total * total / parts
    };
    (total.sqrt(), degrees)
}

fn p_value(estimate: &Estimate) -> f64 {
    // What rounding alone can do is no evidence.
    let beyond = estimate.value.abs() - estimate.rounding;
    // A little more, as doubles do not hold the exact step.
    if beyond <= 1e-9 * estimate.rounding {
        return 1.0;
    }
    let distance = beyond / estimate.error;
    StudentsT::new(0.0, 1.0, estimate.degrees).map_or(1.0, |student| (2.0 * student.sf(distance)).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Trial;

    fn trials(values: &[Vec<f64>]) -> Trials {
        let trials: Vec<Trial<'_>> = values.iter().map(|values| Trial { deployment: 0, values }).collect();
        Trials::new(&trials).unwrap()
    }

    /// Of one value per trial, the error of the mean is the deviation of the values over the root of their number.
    #[test]
    fn the_error_of_a_mean_is_that_of_the_textbook() {
        let values = [4.1, 5.2, 3.9, 4.4, 4.9, 5.0, 4.2, 4.6];
        let trials = trials(&values.map(|value| vec![value]));
        let bootstrap = Bootstrap { resamples: 20_000, ..Bootstrap::default() };
        let found = bootstrap.estimate(&trials, Statistic::Mean).unwrap();
        let mean = values.iter().sum::<f64>() / 8.0;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 7.0).sqrt();
        let error = deviation / 8.0_f64.sqrt();
        assert!((found.value - mean).abs() < 1e-12);
        assert!((found.error / error - 1.0).abs() < 0.03, "{found:?}, {error}");
        assert_eq!(found.degrees.to_bits(), 7.0_f64.to_bits());
        let half = student_quantile(Level::new(0.975).unwrap(), 7.0).unwrap() * found.error;
        assert_eq!(found.scale, Scale::Logarithmic);
        assert!((found.interval.high - mean * (half / mean).exp()).abs() < 1e-9);
        // Around 0 there are no logarithms.
        let shifted = self::trials(&values.map(|value| vec![value - mean]));
        let found = bootstrap.estimate(&shifted, Statistic::Mean).unwrap();
        assert_eq!(found.scale, Scale::Linear);
        assert!((found.error / error - 1.0).abs() < 0.03, "{found:?}, {error}");
    }

    #[test]
    fn a_single_trial_says_nothing_of_its_variance() {
        let one = trials(&[(0..1000).map(f64::from).collect()]);
        let two = trials(&[vec![1.0, 2.0], vec![2.0, 3.0]]);
        let bootstrap = Bootstrap::default();
        assert_eq!(bootstrap.estimate(&one, Statistic::Mean), None);
        let change = bootstrap.change(&one, &two, Statistic::Mean).unwrap();
        assert_eq!(
            (change.first.to_bits(), change.second.to_bits()),
            (499.5_f64.to_bits(), 2.0_f64.to_bits())
        );
        assert_eq!((change.difference, change.ratio, change.p_value), (None, None, None));
        assert_eq!(bootstrap.change(&one, &trials(&[]), Statistic::Mean), None);
    }

    /// Two trials whose medians happen to be equal would have an interval without any width.
    #[test]
    fn two_trials_say_nothing_of_their_variance() {
        let of = |median: f64, count: usize| trials(&vec![vec![10.0, 11.0, median, 50.0, 60.0]; count]);
        let bootstrap = Bootstrap::default();
        let median = Statistic::Quantile(Level::MEDIAN);
        assert_eq!(bootstrap.estimate(&of(18.0, 2), median), None);
        for (first, second) in [(2, 2), (2, 9), (9, 2)] {
            let change = bootstrap.change(&of(18.0, first), &of(19.0, second), median).unwrap();
            assert_eq!((change.difference, change.ratio, change.p_value), (None, None, None));
        }
        assert!(bootstrap.change(&of(18.0, 3), &of(19.0, 3), median).unwrap().p_value.is_some());
    }

    #[test]
    fn an_interval_is_no_narrower_than_the_clock_allows() {
        let of = |median: f64| trials(&vec![vec![10.0, 11.0, median, 50.0, 60.0]; 3]).measured_in(1.0);
        let bootstrap = Bootstrap::default();
        let median = Statistic::Quantile(Level::MEDIAN);
        // 18 ms was anything from 17.5 to 18.5 ms.
        let found = bootstrap.estimate(&of(18.0), median).unwrap();
        assert!((found.interval.width() - 1.0).abs() < 1e-3, "{found:?}");
        assert_eq!(found.error.to_bits(), 0.0_f64.to_bits());
        let to = |second: f64| bootstrap.change(&of(18.0), &of(second), median).unwrap();
        let next = to(19.0);
        assert_eq!(next.p_value, Some(1.0), "{next:?}");
        assert!(next.ratio.unwrap().interval.contains(1.0), "{next:?}");
        assert!(to(20.0).p_value.unwrap() < 0.01, "two steps are more than rounding");
        // The same in tenths: a millisecond is then more than rounding.
        let fine = |median: f64| trials(&vec![vec![10.1, 11.0, median, 50.0, 60.0]; 3]).measured_in(1.0);
        assert!(bootstrap.change(&fine(18.0), &fine(19.0), median).unwrap().p_value.unwrap() < 0.01);
    }

    #[test]
    fn rounding_cancels_out_of_the_mean_of_values_that_spread() {
        let rounding = |values| trials(&vec![values; 3]).measured_in(1.0).rounding(Statistic::Mean).to_bits();
        assert_eq!(rounding(vec![18.0; 10]), 0.5_f64.to_bits());
        assert_eq!(rounding(vec![18.0, 19.0, 20.0, 21.0]), 0.0_f64.to_bits());
        assert_eq!(rounding(vec![18.123_456; 10]), 0.0_f64.to_bits(), "of no step");
    }

    #[test]
    fn a_figure_that_can_be_zero_has_a_difference_and_no_ratio() {
        let first = trials(&[vec![0.0; 10], vec![0.0; 10], vec![0.0; 10]]);
        let second = trials(&[vec![1.0; 10], vec![1.5; 10], vec![2.0; 10]]);
        let change = Bootstrap::default().change(&first, &second, Statistic::Mean).unwrap();
        assert_eq!(change.ratio, None);
        let difference = change.difference.unwrap();
        assert!((difference.value - 1.5).abs() < 1e-12, "{difference:?}");
        assert!((difference.degrees - 4.0).abs() < 1e-9, "{difference:?}");
        assert!(change.p_value.unwrap() < 0.05, "{change:?}");
    }

    #[test]
    fn without_any_variance_every_change_is_one() {
        let same = trials(&vec![vec![2.0; 10]; 3]);
        let other = trials(&vec![vec![3.0; 10]; 3]);
        let change = |second: &Trials| Bootstrap::default().change(&same, second, Statistic::Mean).unwrap();
        assert_eq!(change(&same).p_value, Some(1.0));
        assert_eq!(change(&other).p_value, Some(0.0));
        assert!((change(&other).ratio.unwrap().value - 1.5).abs() < 1e-12);
    }
}
