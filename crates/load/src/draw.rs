//! What differs from invocation to invocation: the choice of the request, numbers, ids.
//!
//! The choice and `request.random` come from ChaCha8 (rand's `ChaCha8Rng::seed_from_u64`), drawn in the order of the
//! plan. So the same seed and workload give the same sequence on every machine. Trace ids and `request.uuid` are
//! fresh in each run, or two trials with one seed would overwrite each other's traces and objects.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use sb_measurement::Timestamp;
use sb_workload::users::ThinkTime;

/// One invocation's share of chance.
#[derive(Clone, Debug, Default)]
pub(super) struct Draw {
    /// From 1, in the order of the plan.
    pub(super) number: u64,
    /// Which request of the workload.
    pub(super) choice: usize,
    pub(super) random: u32,
    pub(super) trace_id: TraceId,
    pub(super) unique: u128,
}

/// `1-<8 hex digits>-<24 hex digits>`: X-Ray's form of a 128-bit trace id that begins with the epoch second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TraceId(u128);

impl TraceId {
    fn new(seconds: i64, random: u128) -> Self {
        Self(u128::from(seconds as u32) << 96 | random >> 32)
    }

    /// As X-Ray writes it.
    pub(super) fn xray(self) -> [u8; 35] {
        let digits = hex(self.0);
        let mut text = [b'-'; 35];
        text[0] = b'1';
        text[2..10].copy_from_slice(&digits[..8]);
        text[11..].copy_from_slice(&digits[8..]);
        text
    }

    /// The `traceparent` of W3C Trace Context, sampled, with a parent that is made of `unique`.
    pub(super) fn traceparent(self, unique: u128) -> [u8; 55] {
        let mut text = [b'-'; 55];
        text[..2].copy_from_slice(b"00");
        text[3..35].copy_from_slice(&hex(self.0));
        // All zeros would be no parent.
        text[36..52].copy_from_slice(&hex((unique >> 64) | 1)[16..]);
        text[53..].copy_from_slice(b"01");
        text
    }
}

fn hex(value: u128) -> [u8; 32] {
    let mut text = [0; 32];
    // Fails only for a text of another length.
    let _ = hex::encode_to_slice(value.to_be_bytes(), &mut text);
    text
}

impl Draw {
    /// A random UUID: version 4 of RFC 9562. The same one wherever this invocation asks.
    pub(super) fn uuid(&self) -> String {
        uuid::Builder::from_random_bytes(self.unique.to_be_bytes()).into_uuid().to_string()
    }
}

/// Makes ids, other ones in each run.
pub(super) struct Ids {
    fresh: ChaCha8Rng,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self { fresh: rand::make_rng() }
    }

    /// Gives a request new ids.
    pub(super) fn renew(&mut self, draw: &mut Draw, planned: Timestamp) {
        draw.trace_id = TraceId::new(planned.seconds(), self.fresh.random());
        draw.unique = self.fresh.random();
    }
}

/// Draws invocation after invocation.
pub(super) struct Draws {
    seeded: ChaCha8Rng,
    ids: Ids,
    /// Ends of the requests' intervals, as shares: the last is 1.
    ends: Vec<f64>,
    /// How many invocations at the beginning go through the requests in their order.
    in_order: u64,
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
        Self { seeded: ChaCha8Rng::seed_from_u64(seed), ids: Ids::new(), ends, in_order: 0, next_number: 1 }
    }

    /// The first invocations send each request once, in the order of the workload.
    pub(super) fn each_once(mut self) -> Self {
        self.in_order = self.ends.len() as u64;
        self
    }

    pub(super) fn draw(&mut self, planned: Timestamp) -> Draw {
        let point: f64 = self.seeded.random();
        let number = self.next_number;
        let choice = match number.checked_sub(1).filter(|index| *index < self.in_order) {
            Some(index) => index as usize,
            None => self.ends.partition_point(|end| *end <= point).min(self.ends.len().saturating_sub(1)),
        };
        self.next_number += 1;
        let mut draw = Draw { number, choice, random: self.seeded.next_u32(), ..Draw::default() };
        self.ids.renew(&mut draw, planned);
        draw
    }

    /// Draws for one of several users, of whom each has a sequence of its own: what a user sends depends on the seed
    /// alone, and not on how fast the others were answered. Numbers are given from outside.
    pub(super) fn of_user(seed: u64, user: u64, weights: impl Iterator<Item = f64>) -> Self {
        let mut draws = Self::new(seed, weights);
        draws.seeded.set_stream(user.wrapping_add(1));
        draws
    }

    /// As [`draw`](Self::draw), with this number.
    pub(super) fn draw_numbered(&mut self, number: u64, begun: Timestamp) -> Draw {
        self.next_number = number;
        self.draw(begun)
    }

    /// How long the user thinks now.
    pub(super) fn think(&mut self, time: &ThinkTime) -> Duration {
        time.draw(&mut self.seeded)
    }

    /// Passes over one invocation, which another thread sends.
    pub(super) fn pass(&mut self) {
        let _: f64 = self.seeded.random();
        let _ = self.seeded.next_u32();
        self.next_number += 1;
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
        let ids =
            |draws: Vec<Draw>| draws.into_iter().map(|draw| draw.trace_id.xray()).collect::<HashSet<_>>();
        assert!(ids(draws(11, &[1.0], 50)).is_disjoint(&ids(draws(11, &[1.0], 50))));
    }

    #[test]
    fn each_request_is_sent_once_before_chance_chooses() {
        let weights = [1.0, 1e-6, 50.0];
        let by_chance = draws(7, &weights, 40);
        let mut in_order = Draws::new(7, weights.into_iter()).each_once();
        let covered: Vec<Draw> = (0..40).map(|_| in_order.draw(Timestamp::default())).collect();
        let choices = |draws: &[Draw]| draws.iter().map(|draw| draw.choice).collect::<Vec<_>>();
        assert_eq!(choices(&covered[..3]), [0, 1, 2]);
        assert_ne!(choices(&by_chance[..3]), [0, 1, 2]);
        // What follows is what it would have been, and so are the random numbers.
        assert_eq!(choices(&covered[3..]), choices(&by_chance[3..]));
        assert!(covered.iter().zip(&by_chance).all(|(one, other)| one.random == other.random));
    }

    #[test]
    fn what_is_passed_over_changes_nothing_for_the_others() {
        let mut all = Draws::new(3, [1.0, 2.0].into_iter());
        let mut every_other = Draws::new(3, [1.0, 2.0].into_iter());
        for _ in 0..50 {
            all.draw(Timestamp::default());
            every_other.pass();
            let (one, other) = (all.draw(Timestamp::default()), every_other.draw(Timestamp::default()));
            assert_eq!((one.number, one.choice, one.random), (other.number, other.choice, other.random));
        }
    }

    #[test]
    fn each_user_has_a_sequence_of_its_own_that_the_seed_fixes() {
        let of = |user| -> Vec<(usize, u32, Duration)> {
            let mut draws = Draws::of_user(7, user, [1.0, 1.0].into_iter());
            let think = ThinkTime::Exponential { mean: Duration::from_secs(1) };
            (0..20)
                .map(|number| {
                    let draw = draws.draw_numbered(number * 3, Timestamp::default());
                    assert_eq!(draw.number, number * 3);
                    (draw.choice, draw.random, draws.think(&think))
                })
                .collect()
        };
        assert_eq!(of(0), of(0));
        assert_ne!(of(0), of(1));
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
            let id = String::from_utf8(draw.trace_id.xray().to_vec()).unwrap();
            let parts: Vec<&str> = id.split('-').collect();
            assert_eq!((parts[0], parts[1], parts[2].len()), ("1", "5759e988", 24));
            let parent = String::from_utf8(draw.trace_id.traceparent(draw.unique).to_vec()).unwrap();
            let words: Vec<&str> = parent.split('-').collect();
            assert_eq!((words[0], words[3], words[2].len()), ("00", "01", 16));
            assert_eq!(words[1], format!("{}{}", parts[1], parts[2]), "the same id in both forms");
            let uuid = draw.uuid();
            let lengths: Vec<usize> = uuid.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12]);
            assert_eq!(&uuid[14..15], "4");
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        }
    }
}
