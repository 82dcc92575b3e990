//! The critical values of intervals.

use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

use crate::Level;

/// The value below which a standard normal variable is with probability `level`.
pub fn normal_quantile(level: Level) -> f64 {
    Normal::standard().inverse_cdf(level.get())
}

/// The value below which a variable of Student's distribution is with probability `level`; the normal one for infinitely many
/// degrees of freedom. `None` unless there is more than one half of a degree of freedom.
///
/// Fractions of a degree are allowed: Welch's rule for two variances gives such.
pub fn student_quantile(level: Level, degrees: f64) -> Option<f64> {
    match degrees {
        degrees if degrees.is_nan() || degrees <= 0.5 => None,
        // The library's inverse loses digits here. The expansion is formula 26.7.5 of Abramowitz and Stegun.
        degrees if degrees > 1000.0 => {
            let z = normal_quantile(level);
            let first = (z.powi(3) + z) / 4.0;
            let second = (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0;
            Some(z + (first + second / degrees) / degrees)
        }
        degrees => Some(StudentsT::new(0.0, 1.0, degrees).ok()?.inverse_cdf(level.get())),
    }
}

/// The level between which and its opposite an interval of this confidence lies: 0.975 for 0.95.
pub(crate) fn upper(confidence: Level) -> Level {
    // Half of something between 0 and 1, so it is between one half and 1, unless `confidence` is the last double below 1.
    Level::new(f64::midpoint(1.0, confidence.get())).unwrap_or(confidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of scipy 1.17.1: `scipy.stats.norm.ppf`, `scipy.stats.t.ppf`.
    #[test]
    fn critical_values_are_those_of_scipy() {
        #[track_caller]
        fn check(found: f64, expected: f64) {
            assert!((found - expected).abs() < 1e-9 * expected.abs(), "{found} is not {expected}");
        }
        let level = |p| Level::new(p).unwrap();
        check(normal_quantile(level(0.975)), 1.959_963_984_540_054);
        check(normal_quantile(level(0.995)), 2.575_829_303_548_900_4);
        check(normal_quantile(level(0.025)), -1.959_963_984_540_054_5);
        check(normal_quantile(level(0.9999)), 3.719_016_485_455_709);
        check(normal_quantile(level(0.6)), 0.253_347_103_135_799_7);
        check(student_quantile(level(0.975), 1.0).unwrap(), 12.706_204_736_174_694);
        check(student_quantile(level(0.975), 2.0).unwrap(), 4.302_652_729_749_462);
        check(student_quantile(level(0.975), 3.0).unwrap(), 3.182_446_305_283_707_8);
        check(student_quantile(level(0.975), 7.5).unwrap(), 2.333_039_626_864_974);
        check(student_quantile(level(0.995), 4.0).unwrap(), 4.604_094_871_349_992);
        check(student_quantile(level(0.975), 19.0).unwrap(), 2.093_024_054_408_308_7);
        check(student_quantile(level(0.9), 1.3).unwrap(), 2.425_947_410_787_918);
        check(student_quantile(level(0.975), 250.0).unwrap(), 1.969_498_393_421_153_2);
        check(student_quantile(level(0.025), 6.0).unwrap(), -2.446_911_851_144_979_4);
        check(student_quantile(level(0.975), 100_000.0).unwrap(), 1.959_987_707_534_609_5);
        check(student_quantile(level(0.999_99), 11.0).unwrap(), 7.097_355_559_150_562);
        assert_eq!(student_quantile(Level::P95, 0.0), None);
        assert_eq!(student_quantile(Level::P95, f64::NAN), None);
    }
}
