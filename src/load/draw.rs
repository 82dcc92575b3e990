//! What differs from invocation to invocation: the choice of the request, numbers, ids.
//!
//! The choice and `request.random` come from ChaCha8 (rand's `ChaCha8Rng::seed_from_u64`), drawn in the order of
//! the plan: the same seed and workload give the same sequence on every machine. Trace ids and `request.uuid` are
//! fresh in each run, or two trials with one seed would overwrite each other's traces and objects.

use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use crate::measurement::Timestamp;

/// One invocation's share of chance.
#[derive(Clone, Debug, Default)]
pub(super) struct Draw {
    /// From 1, in the order of the plan.
    pub(super) number: u64,
    /// Which request of the workload.
    pub(super) choice: usize,
    pub(super) random: u32,
    pub(super) trace_id: String,
    pub(super) unique: u128,
}

impl Draw {
    /// A random UUID: version 4 of RFC 9562. The same one wherever this invocation asks.
    pub(super) fn uuid(&self) -> String {
        let bits = self.unique & !(0xf << 76) | (0x4 << 76);
        let bits = bits & !(0b11 << 62) | (0b10 << 62);
        let hex = format!("{bits:032x}");
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}

/// Draws invocation after invocation.
pub(super) struct Draws {
    seeded: ChaCha8Rng,
    fresh: ChaCha8Rng,
    /// Ends of the requests' intervals, as shares: the last is 1.
    ends: Vec<f64>,
    next_number: u64,
}

impl Draws {
    /// `weights` must be above 0; there is at least one.
    pub(super) fn new(seed: u64, weights: impl Iterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        let mut ends: Vec<f64> = weights
            .map(|weight| {
                sum += weight;
                sum
            })
            .collect();
        for end in &mut ends {
            *end /= sum;
        }
        Self { seeded: ChaCha8Rng::seed_from_u64(seed), fresh: rand::make_rng(), ends, next_number: 1 }
    }

    pub(super) fn draw(&mut self, planned: Timestamp) -> Draw {
        let point: f64 = self.seeded.random();
        let choice = self.ends.partition_point(|end| *end <= point).min(self.ends.len().saturating_sub(1));
        let number = self.next_number;
        self.next_number += 1;
        let id = self.fresh.random::<u128>() >> 32;
        Draw {
            number,
            choice,
            random: self.seeded.next_u32(),
            trace_id: format!("1-{:08x}-{id:024x}", planned.seconds()),
            unique: self.fresh.random(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn draws(seed: u64, weights: &[f64], count: usize) -> Vec<Draw> {
        let mut draws = Draws::new(seed, weights.iter().copied());
        (0..count).map(|_| draws.draw(Timestamp::from_micros(0x5759_e988 * 1_000_000))).collect()
    }

    #[test]
    fn a_seed_fixes_choices_and_random_numbers_but_no_ids() {
        let pairs = |seed| -> Vec<(usize, u32)> {
            draws(seed, &[1.0, 1.0], 50).iter().map(|draw| (draw.choice, draw.random)).collect()
        };
        assert_eq!(pairs(11), pairs(11));
        assert_ne!(pairs(11), pairs(12));
        let ids = |draws: Vec<Draw>| draws.into_iter().map(|draw| draw.trace_id).collect::<HashSet<_>>();
        assert!(ids(draws(11, &[1.0], 50)).is_disjoint(&ids(draws(11, &[1.0], 50))));
    }

    #[test]
    fn requests_are_chosen_by_weight() {
        let mut counts = [0_i32; 3];
        for draw in draws(1, &[1.0, 0.5, 2.5], 40_000) {
            counts[draw.choice] += 1;
        }
        // Expected 10,000, 5,000, 25,000; five standard deviations are below 500.
        assert!((counts[0] - 10_000).abs() < 500 && (counts[1] - 5_000).abs() < 500, "{counts:?}");
    }

    #[test]
    fn ids_have_their_prescribed_shape() {
        for draw in draws(3, &[1.0], 100) {
            let parts: Vec<&str> = draw.trace_id.split('-').collect();
            assert_eq!((parts[0], parts[1], parts[2].len()), ("1", "5759e988", 24));
            let uuid = draw.uuid();
            let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12]);
            assert_eq!(&uuid[14..15], "4");
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        }
    }
}
