//! What many changes say when they are looked at together.

use crate::{Change, Level};

/// What a change says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The figure went up.
    Up,
    /// The figure went down.
    Down,
    /// No difference was seen. There may be one that is smaller than the interval.
    Unseen,
    /// It cannot be said: a side has fewer than [`FEWEST_UNITS`](crate::FEWEST_UNITS).
    Unknown,
}

/// Judges changes that are looked at together, with a confidence such as 0.95: where nothing changed at all, something is called
/// up or down in 5 % of cases at most. Where something did, 5 % of what is called so are false alarms on average.
///
/// The p-values are corrected for their number by [`benjamini_hochberg`]. So a change can be unseen although its own
/// interval, which is not corrected, leaves out "no change".
pub fn judge(changes: &[Change], confidence: Level) -> Vec<Judgement> {
    let known: Vec<f64> = changes.iter().filter_map(|change| change.p_value).collect();
    let mut corrected = benjamini_hochberg(&known).into_iter();
    let alpha = 1.0 - confidence.get();
    let one = |change: &Change| match change.p_value.and_then(|_| corrected.next()) {
        None => Judgement::Unknown,
        Some(p_value) if p_value > alpha => Judgement::Unseen,
        Some(_) if change.second > change.first => Judgement::Up,
        Some(_) => Judgement::Down,
    };
    changes.iter().map(one).collect()
}

/// p-values corrected for being looked at together, in the order given: of those with a corrected value of 0.05 at most, 5 % are
/// false alarms on average. It holds, too, for values that rise together, as figures of one run do.
///
/// Benjamini and Hochberg, "Controlling the False Discovery Rate" (1995); Benjamini and Yekutieli (2001) for dependent
/// values. Holm's correction, which allows no false alarm at all, finds a change of all figures much less often.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&one, &other| p_values[one].total_cmp(&p_values[other]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut smallest: f64 = 1.0;
    for (rank, &at) in order.iter().enumerate().rev() {
        smallest = smallest.min(p_values[at] * p_values.len() as f64 / (rank + 1) as f64);
        corrected[at] = smallest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of scipy 1.17.1: `scipy.stats.false_discovery_control`.
    #[test]
    fn p_values_are_corrected_as_scipy_does() {
        let found = benjamini_hochberg(&[0.02, 0.01, 0.5, 0.03, 0.031, 0.9]);
        for (found, expected) in found.into_iter().zip([0.0465, 0.0465, 0.6, 0.0465, 0.0465, 0.9]) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
        assert!(benjamini_hochberg(&[]).is_empty());
    }

    #[test]
    fn each_change_is_judged_with_regard_to_the_others() {
        let change = |second, p_value| Change { first: 1.0, second, difference: None, ratio: None, p_value };
        let changes = [
            change(2.0, Some(0.001)),
            change(9.0, None),
            change(0.5, Some(0.001)),
            // By itself it would count.
            change(1.5, Some(0.04)),
            change(1.0, Some(1.0)),
        ];
        use Judgement::{Down, Unknown, Unseen, Up};
        assert_eq!(judge(&changes, Level::P95), [Up, Unknown, Down, Unseen, Unseen]);
        assert_eq!(judge(&changes[3..4], Level::P95), [Up]);
    }
}
