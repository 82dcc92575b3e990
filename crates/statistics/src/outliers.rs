use crate::{Level, Sorted};

/// How many values lie far out. They are counted, never dropped.
///
/// A value is far out if it is more than three times the distance between the quartiles below the lower or above the upper
/// quartile: Tukey's outer fences ("Exploratory Data Analysis", 1977, section 2D).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outliers {
    /// How many are far below.
    pub low: usize,
    /// How many are far above.
    pub high: usize,
}

impl Outliers {
    /// Of a sample; none without values.
    pub fn of(sample: &Sorted) -> Self {
        let quartile = |probability| sample.quantile(Level::new(probability)?);
        let (Some(lower), Some(upper)) = (quartile(0.25), quartile(0.75)) else { return Self::default() };
        let far = 3.0 * (upper - lower);
        let values = sample.values();
        Self {
            low: values.partition_point(|&value| value < lower - far),
            high: values.len() - values.partition_point(|&value| value <= upper + far),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_far_from_the_quartiles_are_counted() {
        let of = |values: &[f64]| Outliers::of(&Sorted::of(values).unwrap());
        assert_eq!(of(&[]), Outliers::default());
        assert_eq!(of(&[-100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 11.0]), Outliers { low: 1, high: 0 });
        // The quartiles are 1 and 3, so the fences are -5 and 9; a value on a fence is inside.
        assert_eq!(of(&[0.0, 1.0, 2.0, 3.0, 9.0]), Outliers { low: 0, high: 0 });
        assert_eq!(of(&[0.0, 1.0, 2.0, 3.0, 9.1]), Outliers { low: 0, high: 1 });
    }
}
