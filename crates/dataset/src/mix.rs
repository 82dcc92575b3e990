//! A few functions that together behave as all of them do.
//!
//! Distances are Wasserstein's first: how far the values of one distribution must be moved, on average, to become those
//! of the other. Drawing many samples and keeping the one with the smallest distance is the method of InVitro's sampler
//! (Ustiugov et al., "Enabling In-Vitro Serverless Systems Research", SESAME 2023). Here a sample is improved by exchanging
//! single functions instead.

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::seq::index;
use serde::Serialize;

use crate::model::Key;

/// Shorter durations count as this, in seconds: datasets round them to milliseconds, down to zero.
pub const SHORTEST: f64 = 0.001;

/// A function that may be chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Which function.
    pub key: Key,
    /// Its invocations in each minute of the window; at least one in all.
    pub minutes: Vec<u64>,
    /// Its mean duration in seconds; none where the dataset does not say.
    pub duration: Option<f64>,
    /// Its mean memory in MB; none where the dataset does not say.
    pub memory: Option<f64>,
}

impl Candidate {
    /// What an invocation uses: its duration, times its memory where that is known.
    fn use_of_one(&self) -> Option<f64> {
        self.duration.map(|duration| duration * self.memory.unwrap_or(1.0))
    }

    /// Its invocations in the window.
    pub fn total(&self) -> u64 {
        self.minutes.iter().sum()
    }
}

/// How far a sample is from all functions. Zero: the distributions are equal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distance {
    /// Of the functions' invocations in a minute: the mean over the minutes, in units of the mean of all functions.
    pub minute: f64,
    /// Of the functions' mean rates, in units of the mean of all functions.
    pub rate: f64,
    /// Of the times between two invocations of a function, in powers of ten; each function has the same weight. The
    /// invocations of a minute count as evenly spread. None: no function has two invocations.
    pub inter_arrival: Option<f64>,
    /// Of the functions' mean durations, in powers of ten. None: no duration is known.
    pub duration: Option<f64>,
    /// Of what functions use in a minute, which is count times duration, times memory where the candidates have it: the mean over the
    /// minutes, in units of the mean of all functions. None: no duration is known.
    pub work: Option<f64>,
}

impl Distance {
    /// What is made small: the sum of those that are known.
    pub fn sum(&self) -> f64 {
        let known = [self.inter_arrival, self.duration, self.work];
        self.minute + self.rate + known.into_iter().flatten().sum::<f64>()
    }
}

/// Functions that stand for all.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    /// Places among the candidates, in order.
    pub chosen: Vec<usize>,
    /// How far the choice is from all candidates.
    pub distance: Distance,
    /// How far as many functions are that were drawn at random with the same seed.
    pub at_random: Distance,
}

/// A distribution that samples are compared with.
struct Population {
    /// In order.
    values: Vec<f64>,
    /// Sums of the values before each place, and of all.
    sums: Vec<f64>,
}

impl Population {
    fn new(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let mut sum = 0.0;
        let mut sums = vec![0.0];
        sums.extend(values.iter().map(|value| {
            sum += value;
            sum
        }));
        Self { values, sums }
    }

    fn mean(&self) -> f64 {
        self.sums.last().copied().unwrap_or_default() / self.values.len() as f64
    }

    /// The integral of the quantile function from 0 to `share`.
    fn below(&self, share: f64) -> f64 {
        let place = share * self.values.len() as f64;
        let whole = (place as usize).min(self.values.len());
        let part = self.values.get(whole).map_or(0.0, |value| (place - whole as f64) * value);
        (self.sums[whole] + part) / self.values.len() as f64
    }

    /// The distance of a sample, in order: the area between the two quantile functions.
    fn distance(&self, sample: &[f64]) -> f64 {
        let (all, own) = (self.values.len() as f64, sample.len() as f64);
        let mut area = 0.0;
        let mut below_from = 0.0;
        for (place, value) in sample.iter().enumerate() {
            let (from, to) = (place as f64 / own, (place + 1) as f64 / own);
            // Up to here the population's quantiles do not exceed the value.
            let crossing = self.values.partition_point(|other| other <= value) as f64 / all;
            let crossing = crossing.clamp(from, to);
            let (below_crossing, below_to) = (self.below(crossing), self.below(to));
            area += value * (crossing - from) - (below_crossing - below_from);
            area += (below_to - below_crossing) - value * (to - crossing);
            below_from = below_to;
        }
        area
    }
}

/// Times between invocations, as shares of bins of their logarithm.
const BINS: usize = 600;
/// Bins of a power of ten.
const BINS_PER_DECADE: f64 = 50.0;
/// The power of ten at which the first bin begins: 10⁻⁵ s.
const FIRST_DECADE: f64 = -5.0;

/// The bins that a function's times between invocations fall into, with their shares.
fn gaps(minutes: &[u64], mut add: impl FnMut(usize, f64)) {
    let total: u64 = minutes.iter().sum();
    if total < 2 {
        return;
    }
    let mut put = |seconds: f64, times: u64| {
        let bin = (seconds.log10() - FIRST_DECADE) * BINS_PER_DECADE;
        add((bin.max(0.0) as usize).min(BINS - 1), times as f64 / (total - 1) as f64);
    };
    let mut before: Option<(usize, u64)> = None;
    for (minute, count) in minutes.iter().copied().enumerate().filter(|(_, count)| *count > 0) {
        if let Some((earlier, its_count)) = before {
            let minutes = (minute - earlier - 1) as f64 + 0.5 / its_count as f64 + 0.5 / count as f64;
            put(60.0 * minutes, 1);
        }
        if count > 1 {
            put(60.0 / count as f64, count - 1);
        }
        before = Some((minute, count));
    }
}

/// Shares of bins, added up over functions.
struct Gaps {
    bins: Vec<f64>,
    functions: f64,
}

impl Gaps {
    fn new() -> Self {
        Self { bins: vec![0.0; BINS], functions: 0.0 }
    }

    /// Adds a function (`sign` 1) or takes it away (-1).
    fn add(&mut self, minutes: &[u64], sign: f64) {
        let mut has_gaps = false;
        gaps(minutes, |bin, share| {
            self.bins[bin] += sign * share;
            has_gaps = true;
        });
        if has_gaps {
            self.functions += sign;
        }
    }

    fn distance(&self, other: &Self) -> Option<f64> {
        if self.functions < 0.5 || other.functions < 0.5 {
            return None;
        }
        let (mut difference, mut area) = (0.0_f64, 0.0);
        for (own, others) in self.bins.iter().zip(&other.bins) {
            difference += own / self.functions - others / other.functions;
            area += difference.abs();
        }
        Some(area / BINS_PER_DECADE)
    }
}

fn decades(duration: f64) -> f64 {
    duration.max(SHORTEST).log10()
}

/// All candidates, as samples are compared with them.
struct All<'a> {
    candidates: &'a [Candidate],
    minutes: Vec<Population>,
    rates: Population,
    gaps: Gaps,
    durations: Option<Population>,
    /// Of the functions whose duration is known, in each minute.
    work: Vec<Population>,
}

/// The mean of distances, in units of the populations' mean. None: nothing is known, or all of it is zero.
fn relative(all: &[Population], samples: &[Vec<f64>]) -> Option<f64> {
    let mean: f64 = all.iter().map(Population::mean).sum();
    let distance: f64 = all.iter().zip(samples).map(|(all, own)| all.distance(own)).sum();
    (mean > 0.0).then(|| distance / mean)
}

impl<'a> All<'a> {
    fn new(candidates: &'a [Candidate]) -> Self {
        let length = candidates.first().map_or(0, |candidate| candidate.minutes.len());
        let minutes: Vec<Population> = (0..length)
            .map(|minute| Population::new(candidates.iter().map(|one| one.minutes[minute] as f64).collect()))
            .collect();
        let rates = Population::new(candidates.iter().map(|one| one.total() as f64).collect());
        let mut gaps = Gaps::new();
        for one in candidates {
            gaps.add(&one.minutes, 1.0);
        }
        let timed: Vec<(&Candidate, f64)> =
            candidates.iter().filter_map(|one| Some((one, one.use_of_one()?))).collect();
        let durations: Vec<f64> = candidates.iter().filter_map(|one| one.duration).map(decades).collect();
        let work = |minute: usize| {
            Population::new(
                timed.iter().map(|(one, use_of_one)| one.minutes[minute] as f64 * use_of_one).collect(),
            )
        };
        Self {
            minutes,
            rates,
            gaps,
            work: if timed.is_empty() { Vec::new() } else { (0..length).map(work).collect() },
            durations: (!timed.is_empty()).then(|| Population::new(durations)),
            candidates,
        }
    }

    fn distance(&self, sample: &Sample) -> Distance {
        let durations = self.durations.as_ref().filter(|_| !sample.durations.is_empty());
        Distance {
            minute: relative(&self.minutes, &sample.minutes).unwrap_or(0.0),
            rate: self.rates.distance(&sample.totals) / self.rates.mean(),
            inter_arrival: sample.gaps.distance(&self.gaps),
            duration: durations.map(|all| all.distance(&sample.durations)),
            work: durations.and_then(|_| relative(&self.work, &sample.work)),
        }
    }
}

/// The values of a sample, each list in order.
struct Sample {
    minutes: Vec<Vec<f64>>,
    totals: Vec<f64>,
    gaps: Gaps,
    durations: Vec<f64>,
    work: Vec<Vec<f64>>,
}

impl Sample {
    fn new(all: &All<'_>, chosen: &[usize]) -> Self {
        let mut sample = Self {
            minutes: vec![Vec::new(); all.minutes.len()],
            totals: Vec::new(),
            gaps: Gaps::new(),
            durations: Vec::new(),
            work: vec![Vec::new(); all.work.len()],
        };
        for place in chosen {
            sample.add(&all.candidates[*place]);
        }
        sample
    }

    fn add(&mut self, one: &Candidate) {
        for (values, count) in self.minutes.iter_mut().zip(&one.minutes) {
            insert(values, *count as f64);
        }
        insert(&mut self.totals, one.total() as f64);
        self.gaps.add(&one.minutes, 1.0);
        if let (Some(duration), Some(use_of_one)) = (one.duration, one.use_of_one()) {
            insert(&mut self.durations, decades(duration));
            for (values, count) in self.work.iter_mut().zip(&one.minutes) {
                insert(values, *count as f64 * use_of_one);
            }
        }
    }

    fn remove(&mut self, one: &Candidate) {
        for (values, count) in self.minutes.iter_mut().zip(&one.minutes) {
            remove(values, *count as f64);
        }
        remove(&mut self.totals, one.total() as f64);
        self.gaps.add(&one.minutes, -1.0);
        if let (Some(duration), Some(use_of_one)) = (one.duration, one.use_of_one()) {
            remove(&mut self.durations, decades(duration));
            for (values, count) in self.work.iter_mut().zip(&one.minutes) {
                remove(values, *count as f64 * use_of_one);
            }
        }
    }
}

fn insert(values: &mut Vec<f64>, value: f64) {
    values.insert(values.partition_point(|other| *other < value), value);
}

fn remove(values: &mut Vec<f64>, value: f64) {
    values.remove(values.partition_point(|other| *other < value));
}

/// Exchanges that are tried for each function of a sample, and values that are compared in all of them: large samples are near
/// from the start, so fewer are tried.
const TRIED_PER_FUNCTION: usize = 200;
const COMPARED: usize = 40_000_000;

/// Chooses `count` functions whose distributions are near those of all candidates; all of them, if there are no more. The
/// candidates must be in the order of their keys and have the same minutes: then the same seed gives the same choice.
pub fn mix(candidates: &[Candidate], count: usize, seed: u64) -> Mix {
    let all = All::new(candidates);
    let count = count.min(candidates.len());
    let mut random = rand::rngs::ChaCha8Rng::seed_from_u64(seed);
    let drawn = index::sample(&mut random, candidates.len(), count).into_vec();
    let at_random = all.distance(&Sample::new(&all, &drawn));

    // One function of each part of the candidates by their rate.
    let mut by_rate: Vec<usize> = (0..candidates.len()).collect();
    by_rate.sort_by_key(|place| candidates[*place].total());
    let part = |place: usize| place * candidates.len() / count.max(1);
    let mut ranks: Vec<usize> =
        (0..count).map(|place| random.random_range(part(place)..part(place + 1))).collect();
    let mut is_taken = vec![false; candidates.len()];
    for rank in &ranks {
        is_taken[*rank] = true;
    }
    let chosen: Vec<usize> = ranks.iter().map(|rank| by_rate[*rank]).collect();
    let mut sample = Sample::new(&all, &chosen);
    let mut distance = all.distance(&sample);

    let near = (candidates.len() / count.max(1)).max(8);
    let most = COMPARED / (count * (all.minutes.len() + all.work.len() + 2)).max(1);
    let tries = (TRIED_PER_FUNCTION * count).min(most.max(500));
    for _ in 0..if count < candidates.len() { tries } else { 0 } {
        let slot = random.random_range(0..count);
        let before = ranks[slot];
        let range = if random.random_bool(0.5) {
            before.saturating_sub(near)..(before + near + 1).min(candidates.len())
        } else {
            0..candidates.len()
        };
        let rank = random.random_range(range);
        if is_taken[rank] {
            continue;
        }
        let (old, new) = (&candidates[by_rate[before]], &candidates[by_rate[rank]]);
        sample.remove(old);
        sample.add(new);
        let found = all.distance(&sample);
        if found.sum() < distance.sum() {
            distance = found;
            ranks[slot] = rank;
            is_taken[before] = false;
            is_taken[rank] = true;
        } else {
            sample.remove(new);
            sample.add(old);
        }
    }
    let mut chosen: Vec<usize> = ranks.into_iter().map(|rank| by_rate[rank]).collect();
    chosen.sort_unstable();
    // Anew, without the rounding of many exchanges.
    let distance = all.distance(&Sample::new(&all, &chosen));
    Mix { chosen, distance, at_random }
}

/// Scales counts so that their sum is `total`. Every count, and the sum of every list, is within one of its share.
///
/// The running sum is rounded, so that rare invocations are kept by their share, and none is favoured.
pub fn scale_to(lists: &[&[u64]], total: u64) -> Vec<Vec<u64>> {
    let sum: u128 = lists.iter().flat_map(|counts| counts.iter()).map(|count| u128::from(*count)).sum();
    let mut running: u128 = 0;
    let mut given: u128 = 0;
    let mut scaled = |count: u64| {
        running += u128::from(count);
        let until = (running * u128::from(total) + sum / 2).checked_div(sum).unwrap_or(0);
        let own = until - given;
        given = until;
        // Never more than `total`.
        own as u64
    };
    lists.iter().map(|counts| counts.iter().map(|count| scaled(*count)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_distr::{Distribution as _, LogNormal};

    use super::*;

    /// By the definition: sorted samples of a common length.
    fn plain_distance(a: &[f64], b: &[f64]) -> f64 {
        let stretched = |values: &[f64], times: usize| {
            let mut values: Vec<f64> = values.iter().flat_map(|value| vec![*value; times]).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (a, b) = (stretched(a, b.len()), stretched(b, a.len()));
        a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64
    }

    proptest! {
        #[test]
        fn the_distance_is_wassersteins(
            all in prop::collection::vec(0_u16..50, 1..40),
            sample in prop::collection::vec(0_u16..50, 1..20),
        ) {
            let numbers = |values: &[u16]| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
            let mut sorted = numbers(&sample);
            sorted.sort_by(f64::total_cmp);
            let found = Population::new(numbers(&all)).distance(&sorted);
            prop_assert!((found - plain_distance(&numbers(&all), &sorted)).abs() < 1e-9);
        }

        #[test]
        fn scaled_counts_add_up_and_keep_their_shares(
            lists in prop::collection::vec(prop::collection::vec(0_u64..1000, 1..30), 1..8),
            total in 0_u64..100_000,
        ) {
            let views: Vec<&[u64]> = lists.iter().map(Vec::as_slice).collect();
            let scaled = scale_to(&views, total);
            let sum: u64 = lists.iter().flatten().sum();
            let given: u64 = scaled.iter().flatten().sum();
            prop_assert_eq!(given, if sum == 0 { 0 } else { total });
            for (counts, scaled) in lists.iter().zip(&scaled) {
                let share = |count: u64| count as f64 * total as f64 / (sum.max(1)) as f64;
                let (own, its): (u64, u64) = (counts.iter().sum(), scaled.iter().sum());
                prop_assert!((its as f64 - share(own)).abs() <= 1.0);
                for (count, scaled) in counts.iter().zip(scaled) {
                    prop_assert!((*scaled as f64 - share(*count)).abs() <= 1.0);
                }
            }
        }
    }

    #[test]
    fn times_between_invocations_are_those_of_evenly_spread_minutes() {
        let mut found = Vec::new();
        // 15 s apart in the first minute; from 52.5 s to 150 s; none behind it.
        gaps(&[4, 0, 1, 0], |bin, share| found.push((bin, share)));
        let bin = |seconds: f64| ((seconds.log10() - FIRST_DECADE) * BINS_PER_DECADE) as usize;
        assert_eq!(found, [(bin(15.0), 0.75), (bin(97.5), 0.25)]);
        gaps(&[0, 1, 0], |_, _| panic!("a single invocation is alone"));
    }

    fn functions(count: usize, seed: u64) -> Vec<Candidate> {
        let mut random = rand::rngs::ChaCha8Rng::seed_from_u64(seed);
        let rates = LogNormal::new(1.0, 2.0).unwrap();
        let durations = LogNormal::new(-1.0, 1.5).unwrap();
        let mut made = Vec::new();
        while made.len() < count {
            let rate: f64 = rates.sample(&mut random);
            let minutes: Vec<u64> =
                (0..10).map(|_| (rate * random.random_range(0.0..2.0)).round() as u64).collect();
            if minutes.iter().sum::<u64>() > 0 {
                let key = Key::new("o", "a", &format!("{:04}", made.len()), "http");
                let duration = Some(durations.sample(&mut random));
                made.push(Candidate { key, minutes, duration, memory: None });
            }
        }
        made
    }

    #[test]
    fn a_mix_is_nearer_than_the_best_of_sixteen_random_draws() {
        for seed in 0..3 {
            let candidates = functions(300, seed);
            let found = mix(&candidates, 12, seed);
            assert_eq!(found, mix(&candidates, 12, seed));
            let best =
                (0..16).map(|draw| mix_at_random(&candidates, 12, seed * 16 + draw)).fold(f64::MAX, f64::min);
            assert!(found.distance.sum() < best, "{found:?}, {best}");
            let places: std::collections::BTreeSet<_> = found.chosen.iter().collect();
            assert_eq!(places.len(), 12);
        }
    }

    fn mix_at_random(candidates: &[Candidate], count: usize, seed: u64) -> f64 {
        let all = All::new(candidates);
        let mut random = rand::rngs::ChaCha8Rng::seed_from_u64(seed);
        let drawn = index::sample(&mut random, candidates.len(), count).into_vec();
        all.distance(&Sample::new(&all, &drawn)).sum()
    }

    #[test]
    fn all_candidates_are_at_no_distance_of_themselves() {
        let candidates = functions(30, 7);
        let found = mix(&candidates, 100, 1);
        assert_eq!(found.chosen, (0..30).collect::<Vec<_>>());
        assert!(found.distance.sum() < 1e-9, "{found:?}");
        let one = mix(&candidates[..1], 1, 1);
        assert_eq!((one.chosen.len(), one.distance.sum() < 1e-9), (1, true));
        assert!(mix(&[], 5, 1).chosen.is_empty());
    }
}
