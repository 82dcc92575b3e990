//! From invocations per minute, as production traces have them, to invocations per second.
//!
//! Within a minute, the seconds follow a path of fractional Brownian motion ([`super::noise`]), lifted above zero.
//! Each second's share of its minute is the path's height there. The path is drawn over the whole trace, its skipped
//! part included, so that skipping does not change what remains.

use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::noise;

/// Of the path: how long a deviation lasts. The value of the study, for traffic that is alike on many time scales.
const HURST: f64 = 0.8;

const MINUTE: usize = 60;

/// How a trace's rates are changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// As traced: every whole minute has exactly the invocations of its source.
    None,
    /// Every rate times the factor: the total is exactly the scaled total of the source, rounded.
    Factor(f64),
    /// The mean over the kept seconds becomes this many per second: the total is exactly
    /// round(rate × seconds), and each minute has its share of it within one.
    Rate(f64),
    /// High rates grow more than low ones: a second's rate x becomes x · f^min(x/p, 1), where p is the 95th percentile of
    /// the kept seconds. So the 95th percentile is scaled by the whole factor, and nothing by more.
    CompoundFactor(f64),
    /// Compound, with the factor that would bring the mean to this rate if it were linear. The mean that results
    /// is lower.
    CompoundRate(f64),
}

/// Invocations in each second after the first `skip` seconds. `per_minute` holds the invocations of each
/// minute of the source, none negative.
pub fn per_second(per_minute: &[f64], skip: usize, scaling: Scaling, seed: u64) -> Vec<u32> {
    let rates = rates(per_minute, skip, seed);
    let seconds = rates.len() as f64;
    let sum: f64 = rates.iter().sum();
    if sum <= 0.0 {
        return vec![0; rates.len()];
    }
    match scaling {
        Scaling::None => by_minute(&rates, skip, 1.0, None),
        Scaling::Factor(factor) => by_minute(&rates, skip, factor, Some(sum * factor)),
        Scaling::Rate(rate) => by_minute(&rates, skip, rate * seconds / sum, Some(rate * seconds)),
        Scaling::CompoundFactor(factor) => whole(&compound(&rates, factor)),
        Scaling::CompoundRate(rate) => whole(&compound(&rates, rate * seconds / sum)),
    }
}

/// The rates that [`per_second`] makes whole numbers of: as scaled, and with the fluctuation within minutes. The arguments are
/// the same.
pub fn rates_per_second(per_minute: &[f64], skip: usize, scaling: Scaling, seed: u64) -> Vec<f64> {
    let rates = rates(per_minute, skip, seed);
    let sum: f64 = rates.iter().sum();
    if sum <= 0.0 {
        return rates;
    }
    let to_rate = |rate: f64| rate * rates.len() as f64 / sum;
    let linear = |factor: f64| rates.iter().map(|rate| rate * factor).collect();
    match scaling {
        Scaling::None => linear(1.0),
        Scaling::Factor(factor) => linear(factor),
        Scaling::Rate(rate) => linear(to_rate(rate)),
        Scaling::CompoundFactor(factor) => compound(&rates, factor),
        Scaling::CompoundRate(rate) => compound(&rates, to_rate(rate)),
    }
}

/// The sum of [`per_second`], of whole minutes that are kept, where it does not depend on the path. None, too, where it is
/// so near to the middle between two whole numbers that rounding within the path decides.
pub fn total(per_minute: &[f64], scaling: Scaling) -> Option<u64> {
    let rounded = |value: f64| {
        let is_clear = (value.fract() - 0.5).abs() > 1e-6 + value * 1e-9 && value < f64::from(u32::MAX) / 2.0;
        is_clear.then(|| value.round() as u64)
    };
    let sum: f64 = per_minute.iter().sum();
    if sum <= 0.0 {
        return Some(0);
    }
    match scaling {
        Scaling::None => per_minute.iter().map(|minute| rounded(*minute)).sum(),
        Scaling::Factor(factor) => rounded(sum * factor),
        Scaling::Rate(rate) => rounded(rate * (per_minute.len() * MINUTE) as f64),
        Scaling::CompoundFactor(_) | Scaling::CompoundRate(_) => None,
    }
}

/// No second of [`per_second`] has more invocations than this, which takes no path: a second has at most all of its minute.
/// Infinite where that says nothing.
pub fn most_per_second(per_minute: &[f64], skip: usize, scaling: Scaling) -> f64 {
    let seconds = (per_minute.len() * MINUTE).saturating_sub(skip) as f64;
    // Of the first kept minute, a part may be skipped.
    let highest = per_minute.iter().skip(skip / MINUTE).copied().fold(0.0, f64::max);
    let least_sum: f64 = per_minute.iter().skip(skip.div_ceil(MINUTE)).sum();
    if highest <= 0.0 {
        return 0.0;
    }
    // (A sum of nothing may be -0.)
    let to_rate = |rate: f64| if least_sum > 0.0 { rate * seconds / least_sum } else { f64::INFINITY };
    let factor = match scaling {
        Scaling::None => 1.0,
        Scaling::Factor(factor) => factor,
        Scaling::Rate(rate) => to_rate(rate),
        // x · f^y with y from 0 to 1 is nothing above x or x · f.
        Scaling::CompoundFactor(factor) => factor.max(1.0),
        Scaling::CompoundRate(rate) => to_rate(rate).max(1.0),
    };
    // Shares are rounded up at most.
    highest * factor + 2.0
}

/// The rate of each kept second: its share of its minute.
fn rates(per_minute: &[f64], skip: usize, seed: u64) -> Vec<f64> {
    let seconds = per_minute.len() * MINUTE;
    let mut path = noise::motion(seconds, HURST, &mut ChaCha8Rng::seed_from_u64(seed));
    let lowest = path.iter().copied().fold(f64::INFINITY, f64::min);
    for (minute, heights) in per_minute.iter().zip(path.chunks_mut(MINUTE)) {
        for height in &mut *heights {
            *height -= lowest;
        }
        let sum: f64 = heights.iter().sum();
        for height in heights {
            *height = if sum > 0.0 { *height / sum * minute } else { minute / MINUTE as f64 };
        }
    }
    path.drain(..skip.min(seconds));
    path
}

/// Whole numbers of which the minutes' totals are exact. With a `total`, the minutes divide it by largest
/// remainder; without, each has its own.
fn by_minute(rates: &[f64], skip: usize, factor: f64, total: Option<f64>) -> Vec<u32> {
    // A skip that is no whole number of minutes leaves the rest of one.
    let first = (MINUTE - skip % MINUTE) % MINUTE;
    let (rest, minutes) = rates.split_at(first.min(rates.len()));
    let minutes: Vec<&[f64]> =
        [rest].into_iter().filter(|rest| !rest.is_empty()).chain(minutes.chunks(MINUTE)).collect();
    let quotas: Vec<f64> = minutes.iter().map(|rates| rates.iter().sum::<f64>() * factor).collect();
    let totals = match total {
        Some(total) => largest_remainder(&quotas, total.round()),
        None => quotas.iter().map(|quota| quota.round()).collect(),
    };
    minutes.iter().zip(totals).flat_map(|(rates, total)| divide(rates, total)).collect()
}

/// Hamilton's method: every share is its quota rounded down, and what is left over goes, one each, to those
/// that lost most. `total` is a whole number, and the sum of the quotas but for rounding.
fn largest_remainder(quotas: &[f64], total: f64) -> Vec<f64> {
    // A quota may miss a whole number by rounding alone: it is that number.
    let floor = |quota: f64| (quota + 1e-9 * quota.max(1.0)).floor();
    let mut shares: Vec<f64> = quotas.iter().map(|quota| floor(*quota)).collect();
    let left = total - shares.iter().sum::<f64>();
    let mut order: Vec<usize> = (0..quotas.len()).filter(|&place| quotas[place] > 0.0).collect();
    order.sort_by(|&a, &b| (quotas[b] - shares[b]).total_cmp(&(quotas[a] - shares[a])));
    for place in order.into_iter().take(left.max(0.0) as usize) {
        shares[place] += 1.0;
    }
    shares
}

/// Divides a whole number over seconds in proportion to their rates. Not by largest remainder: that would
/// put the few invocations of a quiet minute side by side at its highest point. The running sum is rounded instead, so they
/// are spread, each second is within one of its share, and the sum is exact.
fn divide(rates: &[f64], total: f64) -> Vec<u32> {
    let sum: f64 = rates.iter().sum();
    let scale = if sum > 0.0 { total / sum } else { 0.0 };
    let mut counts = whole_parts(rates.iter().map(|rate| rate * scale));
    // The last running sum may miss the total by rounding.
    let counted: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    if let Some(last) = counts.iter_mut().rev().find(|count| **count > 0) {
        *last = (f64::from(*last) + total - counted).max(0.0) as u32;
    }
    counts
}

fn whole(rates: &[f64]) -> Vec<u32> {
    whole_parts(rates.iter().copied())
}

/// Rounds the running sum and takes the differences.
fn whole_parts(rates: impl Iterator<Item = f64>) -> Vec<u32> {
    let (mut sum, mut before) = (0.0, 0.0);
    rates
        .map(|rate| {
            sum += rate;
            let now = f64::round(sum);
            let count = now - before;
            before = now;
            count as u32
        })
        .collect()
}

fn compound(rates: &[f64], factor: f64) -> Vec<f64> {
    let high = percentile(rates, 0.95);
    rates
        .iter()
        .map(|rate| {
            let power = if high > 0.0 { (rate / high).min(1.0) } else { 1.0 };
            rate * factor.powf(power)
        })
        .collect()
}

/// With linear interpolation between the two nearest ranks (Hyndman and Fan's type 7, as in NumPy and R).
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len().saturating_sub(1)) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(0.0);
    let (low, high) = (at(place.floor()), at(place.ceil()));
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pattern::Pattern;

    fn source(pattern: Pattern) -> Vec<f64> {
        pattern.per_minute().iter().map(|count| f64::from(*count)).collect()
    }

    proptest! {
        #[test]
        fn running_sums_of_whole_numbers_are_those_of_the_rates(
            source in prop::collection::vec(0.0..5000.0_f64, 1..20),
            skip in 0_usize..400,
            kind in 0..5,
            factor in 0.01..30.0_f64,
            seed in 0_u64..1000,
        ) {
            let scaling = match kind {
                0 => Scaling::None,
                1 => Scaling::Factor(factor),
                2 => Scaling::Rate(factor),
                3 => Scaling::CompoundFactor(factor),
                _ => Scaling::CompoundRate(factor),
            };
            let rates = rates_per_second(&source, skip, scaling, seed);
            let counts = per_second(&source, skip, scaling, seed);
            prop_assert_eq!(rates.len(), counts.len());
            // Each minute is rounded by itself, and up to twenty of them add up.
            let (mut rate, mut count) = (0.0, 0.0);
            for (own_rate, own_count) in rates.into_iter().zip(counts) {
                rate += own_rate;
                count += f64::from(own_count);
                prop_assert!((rate - count).abs() <= 21.0, "{} {}", rate, count);
            }
        }

        #[test]
        fn no_second_has_more_than_the_most(
            source in prop::collection::vec(0.0..5000.0_f64, 1..20),
            skip in 0_usize..400,
            kind in 0..5,
            factor in 0.01..30.0_f64,
            seed in 0_u64..1000,
        ) {
            let scaling = match kind {
                0 => Scaling::None,
                1 => Scaling::Factor(factor),
                2 => Scaling::Rate(factor),
                3 => Scaling::CompoundFactor(factor),
                _ => Scaling::CompoundRate(factor),
            };
            let highest = per_second(&source, skip, scaling, seed).into_iter().max().unwrap_or(0);
            prop_assert!(f64::from(highest) <= most_per_second(&source, skip, scaling));
        }
    }

    #[test]
    fn the_most_of_a_pattern_is_far_below_what_a_machine_can_send() {
        for pattern in Pattern::ALL {
            assert!(
                most_per_second(&source(pattern), 180, Scaling::Rate(20.0)) < 20_000.0,
                "{}",
                pattern.name()
            );
        }
    }

    fn total(counts: &[u32]) -> u64 {
        counts.iter().map(|count| u64::from(*count)).sum()
    }

    fn minutes(counts: &[u32]) -> Vec<u64> {
        counts.chunks(MINUTE).map(total).collect()
    }

    #[test]
    fn as_traced_every_minute_has_the_invocations_of_its_source() {
        for pattern in Pattern::ALL {
            for skip in [0, 3] {
                let counts = per_second(&source(pattern), skip * MINUTE, Scaling::None, 1);
                let expected: Vec<u64> = pattern.per_minute()[skip..].iter().map(|&n| n.into()).collect();
                assert_eq!(minutes(&counts), expected, "{pattern}");
            }
        }
    }

    #[test]
    fn a_rate_is_the_exact_mean_of_what_is_kept() {
        for pattern in Pattern::ALL {
            for rate in [0.1, 20.0, 37.5, 50.0] {
                let counts = per_second(&source(pattern), 180, Scaling::Rate(rate), 3);
                let seconds = (pattern.per_minute().len() - 3) * MINUTE;
                assert_eq!(counts.len(), seconds);
                let seconds = seconds as f64;
                assert_eq!(total(&counts), (rate * seconds).round() as u64, "{pattern} at {rate}");
                let kept = &pattern.per_minute()[3..];
                let sum: f64 = kept.iter().copied().map(f64::from).sum();
                for (found, source) in minutes(&counts).into_iter().zip(kept) {
                    let share = f64::from(*source) * rate * seconds / sum;
                    assert!((found as f64 - share).abs() <= 1.0, "{pattern} at {rate}: {found} for {share}");
                }
            }
        }
    }

    /// What the study's generator did to these minutes, read off its output for a mean of 50 per second; its rounding
    /// of every second is the difference.
    #[test]
    fn compound_scaling_agrees_with_the_generator_of_the_study() {
        let cases = [
            (Pattern::Fluctuating, 3.147, [(3, 3062.0), (8, 3580.0), (10, 1814.0), (16, 2016.0)]),
            (Pattern::Steady, 8.573, [(3, 2323.0), (9, 2327.0), (12, 2290.0), (15, 2206.0)]),
            (Pattern::Spikes, 32.72, [(6, 7561.0), (7, 433.0), (11, 10326.0), (17, 240.0)]),
        ];
        for (pattern, factor, expected) in cases {
            let counts = minutes(&per_second(&source(pattern), 0, Scaling::CompoundFactor(factor), 5));
            for (minute, count) in expected {
                let ratio = counts[minute] as f64 / count;
                assert!(
                    (0.75..1.35).contains(&ratio),
                    "{pattern}, minute {minute}: {} for {count}",
                    counts[minute]
                );
            }
        }
    }

    #[test]
    fn a_compound_factor_scales_the_95th_percentile_by_the_whole_and_low_rates_by_less() {
        let rates = rates(&source(Pattern::Jump), 180, 9);
        let scaled = compound(&rates, 8.0);
        let ratio = percentile(&scaled, 0.95) / percentile(&rates, 0.95);
        // Between two ranks the percentile is interpolated, before and after.
        assert!((ratio - 8.0).abs() < 1e-3, "{ratio}");
        for (before, after) in rates.iter().zip(&scaled) {
            assert!(*after <= before * 8.0 * (1.0 + 1e-12) && *after >= *before);
        }
        let all = total(&whole(&scaled)) as f64;
        assert!((all - scaled.iter().sum::<f64>()).abs() <= 0.5, "keeps what it makes");
    }

    #[test]
    fn few_invocations_of_a_minute_are_spread_over_it() {
        let counts = per_second(&[3.0; 10], 0, Scaling::None, 2);
        for minute in counts.chunks(MINUTE) {
            let places: Vec<usize> = (0..MINUTE).filter(|&second| minute[second] > 0).collect();
            assert!(places.len() == 3 && places[2] - places[0] > 10, "{places:?}");
        }
    }

    #[test]
    fn seconds_move_within_a_minute_and_another_seed_moves_them_otherwise() {
        let first = per_second(&[6000.0; 5], 0, Scaling::None, 1);
        let spread = first.iter().max().unwrap() - first.iter().min().unwrap();
        assert!(spread > 10, "{first:?}");
        assert_eq!(first, per_second(&[6000.0; 5], 0, Scaling::None, 1));
        assert_ne!(first, per_second(&[6000.0; 5], 0, Scaling::None, 2));
        // What is skipped does not change the rest.
        assert_eq!(first[60..], per_second(&[6000.0; 5], 60, Scaling::None, 1));
    }

    #[test]
    fn nothing_is_made_of_nothing() {
        assert_eq!(per_second(&[0.0, 0.0], 0, Scaling::Rate(5.0), 1), vec![0; 120]);
        assert_eq!(per_second(&[5.0], 60, Scaling::None, 1), Vec::<u32>::new());
    }

    fn scalings() -> impl Strategy<Value = Scaling> {
        prop_oneof![
            Just(Scaling::None),
            (0.01..100.0f64).prop_map(Scaling::Factor),
            (0.01..500.0f64).prop_map(Scaling::Rate),
            (0.1..40.0f64).prop_map(Scaling::CompoundFactor),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn totals_are_exact_whatever_the_source(
            source in proptest::collection::vec(0..3000u32, 1..30),
            skip in 0..240usize,
            scaling in scalings(),
            seed: u64,
        ) {
            let source: Vec<f64> = source.into_iter().map(f64::from).collect();
            let counts = per_second(&source, skip, scaling, seed);
            prop_assert_eq!(counts.len(), (source.len() * 60).saturating_sub(skip));
            let kept = rates(&source, skip, seed);
            let sum: f64 = kept.iter().sum();
            if sum > 0.0 {
                match scaling {
                    Scaling::None if skip % 60 == 0 => {
                        let expected: Vec<u64> = source[skip / 60..].iter().map(|count| *count as u64).collect();
                        prop_assert_eq!(minutes(&counts), expected);
                    }
                    Scaling::Factor(factor) => prop_assert_eq!(total(&counts), (sum * factor).round() as u64),
                    Scaling::Rate(rate) => {
                        prop_assert_eq!(total(&counts), (rate * kept.len() as f64).round() as u64);
                    }
                    Scaling::CompoundFactor(factor) => {
                        let all: f64 = compound(&kept, factor).iter().sum();
                        prop_assert!((total(&counts) as f64 - all).abs() <= 0.5 + 1e-6 * all);
                    }
                    Scaling::None | Scaling::CompoundRate(_) => {}
                }
            }
        }

        #[test]
        fn every_linear_minute_is_within_one_of_its_share(
            source in proptest::collection::vec(0..3000u32, 1..30),
            factor in 0.01..100.0f64,
            seed: u64,
        ) {
            let source: Vec<f64> = source.into_iter().map(f64::from).collect();
            let counts = per_second(&source, 0, Scaling::Factor(factor), seed);
            for (found, source) in minutes(&counts).into_iter().zip(&source) {
                prop_assert!((found as f64 - source * factor).abs() <= 1.0 + 1e-6);
            }
            let sum: f64 = source.iter().sum();
            if sum > 0.0 {
                let total = factor * source.len() as f64 * 60.0;
                let counts = per_second(&source, 0, Scaling::Rate(factor), seed);
                for (found, source) in minutes(&counts).into_iter().zip(&source) {
                    prop_assert!((found as f64 - source / sum * total).abs() <= 1.0 + 1e-6);
                }
            }
        }
    }
}
