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
    /// It cannot be said: a side has fewer than two units.
    Unknown,
}

/// Judges changes that are looked at together: with this confidence, none of those called up or down is a false alarm.
///
/// The p-values are corrected for their number by [`holm`]. So a change can be unseen although its own interval, which is
/// not corrected, leaves out "no change".
pub fn judge(changes: &[Change], confidence: Level) -> Vec<Judgement> {
    let known: Vec<f64> = changes.iter().filter_map(|change| change.p_value).collect();
    let mut corrected = holm(&known).into_iter();
    let alpha = 1.0 - confidence.get();
    let one = |change: &Change| match change.p_value.and_then(|_| corrected.next()) {
        None => Judgement::Unknown,
        Some(p_value) if p_value > alpha => Judgement::Unseen,
        Some(_) if change.second > change.first => Judgement::Up,
        Some(_) => Judgement::Down,
    };
    changes.iter().map(one).collect()
}

/// p-values corrected for being looked at together, in the order given: with a corrected value of 0.05 at most, the probability
/// of any false alarm is 0.05 at most.
///
/// Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).
pub fn holm(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&one, &other| p_values[one].total_cmp(&p_values[other]));
    let mut corrected = vec![1.0; p_values.len()];
    let mut largest: f64 = 0.0;
    for (rank, &at) in order.iter().enumerate() {
        largest = largest.max((p_values[at] * (p_values.len() - rank) as f64).min(1.0));
        corrected[at] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_are_corrected_as_holm_says() {
        // 0.01 * 4, 0.02 * 3, max(0.06, 0.03 * 2), 0.5 * 1.
        let expected = [0.06, 0.04, 0.5, 0.06];
        for (found, expected) in holm(&[0.02, 0.01, 0.5, 0.03]).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
        assert!(holm(&[]).is_empty());
        assert!(holm(&[0.9, 0.8]).iter().all(|&value| value.to_bits() == 1.0_f64.to_bits()));
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
