use crate::critical::upper;
use crate::{Estimate, Level, Scale, student_quantile};

/// Whether a figure is known precisely enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Precision {
    /// Its interval is as narrow as asked for.
    Enough {
        /// The interval's width as a share of the figure.
        relative_width: f64,
    },
    /// More units are needed.
    More {
        /// The interval's width as a share of the figure.
        relative_width: f64,
        /// How many more units would probably do, if they vary as those so far. `None` where it would be more than a million, or
        /// where the values are rounded too coarsely for any number of units.
        units: Option<usize>,
    },
    /// It cannot be said: fewer than [`FEWEST_UNITS`](crate::FEWEST_UNITS) units, or a figure of 0.
    Unknown,
}

impl Precision {
    /// Compares an estimate with the relative width that is asked for, such as 0.05.
    ///
    /// `units` is how many units the estimate is of, and `confidence` that of its interval. The error of a figure falls
    /// with the square root of the number of units, and the critical value with its degrees of freedom.
    pub fn of(estimate: Option<&Estimate>, units: usize, confidence: Level, asked: f64) -> Self {
        let Some((estimate, relative_width)) =
            estimate.and_then(|estimate| Some((estimate, estimate.relative_width()?)))
        else {
            return Self::Unknown;
        };
        if relative_width <= asked {
            return Self::Enough { relative_width };
        }
        // The error of a single unit, as a share of the figure.
        let single = estimate.error * (units as f64).sqrt() / estimate.value.abs();
        let rounding = estimate.rounding / estimate.value.abs();
        let width = |half: f64| match estimate.scale {
            Scale::Linear => 2.0 * half,
            Scale::Logarithmic => half.exp() - (-half).exp(),
        };
        let suffices = |units: usize| {
            student_quantile(upper(confidence), (units - 1) as f64)
                .is_some_and(|critical| width(critical * single / (units as f64).sqrt() + rounding) <= asked)
        };
        Self::More {
            relative_width,
            units: first_that(units + 1, 1_000_000, suffices).map(|enough| enough - units),
        }
    }
}

/// The first number that suffices, where all larger ones do, too.
fn first_that(from: usize, most: usize, suffices: impl Fn(usize) -> bool) -> Option<usize> {
    if from > most || !suffices(most) {
        return None;
    }
    let (mut low, mut high) = (from, most);
    while low < high {
        let middle = usize::midpoint(low, high);
        if suffices(middle) { high = middle } else { low = middle + 1 }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bootstrap, Statistic, Trial, Trials};

    fn of(values: &[f64], asked: f64) -> Precision {
        let trials: Vec<Trial<'_>> = values.chunks(1).map(|values| Trial { deployment: 0, values }).collect();
        let trials = Trials::new(&trials).unwrap();
        let estimate = Bootstrap::default().estimate(&trials, Statistic::Mean);
        Precision::of(estimate.as_ref(), trials.units(), Level::P95, asked)
    }

    #[test]
    fn a_wide_interval_says_how_many_more() {
        let values = [9.0, 10.0, 11.0, 9.5, 10.5];
        // The deviation is 0.79, so 5 trials have 2.776 * 0.79 / sqrt(5) on each side: a width of 20 %.
        let Precision::More { relative_width, units: Some(more) } = of(&values, 0.1) else { panic!() };
        assert!((relative_width - 0.196).abs() < 0.01, "{relative_width}");
        // 12 trials: 2.201 * 0.79 / sqrt(12) = 0.502, a width of 10.04 %; 13: 9.6 %.
        assert!((7..=8).contains(&more), "{more}");
        assert!(matches!(of(&values, 0.2), Precision::Enough { .. }));
        let Precision::More { units, .. } = of(&values, 1e-5) else { panic!() };
        assert_eq!(units, None, "more than a million");
    }

    #[test]
    fn what_cannot_be_said_is_unknown() {
        assert_eq!(of(&[1.0], 0.1), Precision::Unknown);
        assert_eq!(of(&[], 0.1), Precision::Unknown);
        assert_eq!(of(&[-1.0, 0.0, 1.0], 0.1), Precision::Unknown, "the mean is 0");
        assert_eq!(of(&[2.0, 2.0], 0.1), Precision::Unknown, "two say nothing of how they differ");
        assert_eq!(of(&[2.0, 2.0, 2.0], 0.1), Precision::Enough { relative_width: 0.0 });
    }
}
