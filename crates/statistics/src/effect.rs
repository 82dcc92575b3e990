use crate::Trials;

/// How often a value of one sample is above a value of the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EffectSize {
    /// The probability that a value of the second sample is above one of the first, ties counted half: Vargha and Delaney's A,
    /// between 0 and 1. It is 0.5 where neither tends to be above.
    ///
    /// Vargha and Delaney, "A Critique and Improvement of the CL Common Language Effect Size Statistics" (2000).
    pub above: f64,
    /// Cliff's delta, between -1 and 1: `2 above - 1`. It is positive where the second sample tends to be above.
    pub delta: f64,
}

impl EffectSize {
    /// Of two samples; `None` where one has no values. Time is linear, as both are sorted.
    pub fn of(first: &Trials, second: &Trials) -> Option<Self> {
        if first.is_empty() || second.is_empty() {
            return None;
        }
        // Twice the pairs in which the second is above, ties once; exact up to 2^63 pairs.
        let mut pairs: u128 = 0;
        let mut below = first.values().peekable();
        let (mut smaller, mut not_above) = (0_u64, 0_u64);
        let mut equal = first.values().peekable();
        for value in second.values() {
            while below.next_if(|other| *other < value).is_some() {
                smaller += 1;
            }
            while equal.next_if(|other| *other <= value).is_some() {
                not_above += 1;
            }
            pairs += u128::from(smaller) + u128::from(not_above);
        }
        let above = pairs as f64 / 2.0 / first.len() as f64 / second.len() as f64;
        Some(Self { above, delta: 2.0 * above - 1.0 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Trial;

    fn of(first: &[f64], second: &[f64]) -> Option<EffectSize> {
        let trials = |values| Trials::new(&[Trial { deployment: 0, values }]).unwrap();
        EffectSize::of(&trials(first), &trials(second))
    }

    #[test]
    fn an_effect_says_which_tends_to_be_above() {
        assert_eq!(of(&[1.0, 2.0], &[3.0, 4.0]), Some(EffectSize { above: 1.0, delta: 1.0 }));
        assert_eq!(of(&[3.0, 4.0], &[1.0, 2.0]), Some(EffectSize { above: 0.0, delta: -1.0 }));
        assert_eq!(of(&[1.0, 1.0], &[1.0]), Some(EffectSize { above: 0.5, delta: 0.0 }));
        assert_eq!(of(&[], &[1.0]), None);
    }

    proptest! {
        #[test]
        fn an_effect_is_the_share_of_pairs(
            first in prop::collection::vec(0_u8..9, 1..30),
            second in prop::collection::vec(0_u8..9, 1..30),
        ) {
            let mut above = 0.0;
            for one in &first {
                for other in &second {
                    above += f64::from(u8::from(other > one)) + f64::from(u8::from(other == one)) / 2.0;
                }
            }
            above /= (first.len() * second.len()) as f64;
            let values = |sample: &[u8]| sample.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
            let found = of(&values(&first), &values(&second)).unwrap();
            prop_assert!((found.above - above).abs() < 1e-12);
        }
    }
}
