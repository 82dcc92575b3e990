//! How often the rules are right, on windows that are made hard: noise, trends, few requests, a part of a weekly cycle.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use rand_distr::{Distribution as _, Normal, Poisson};

use super::classify::{Confusion, PatternClass, classify, read_labels};

const MINUTES: usize = 20;

/// A window whose pattern is known because it was made so.
fn made(pattern: PatternClass, random: &mut ChaCha8Rng) -> Vec<u64> {
    let few = random.random_bool(0.25);
    let mean = if few { random.random_range(4.0..25.0) } else { 10_f64.powf(random.random_range(1.8..4.0)) };
    // At most 15 % up or down over the window, straight or as a part of a slow cycle.
    let slope = if random.random_bool(0.5) { random.random_range(-0.15..0.15) } else { 0.0 };
    let is_cycle = random.random_bool(0.3);
    let phase = random.random_range(0.0..std::f64::consts::TAU);
    let drift = |minute: usize| {
        let time = minute as f64 / MINUTES as f64 - 0.5;
        if is_cycle { 1.0 + 0.4 * (phase + time * 0.35).sin() } else { 1.0 + slope * time }
    };
    let noise = match pattern {
        PatternClass::Fluctuating if few => random.random_range(0.5..0.9),
        PatternClass::Fluctuating => random.random_range(0.09..0.35),
        PatternClass::Steady => random.random_range(0.002..0.04),
        _ => random.random_range(0.005..0.08),
    };
    let normal = Normal::new(1.0, noise).unwrap();
    let change_at = random.random_range(5..=MINUTES - 5);
    let ratio: f64 = if few { random.random_range(2.5..5.0) } else { random.random_range(1.5..4.0) };
    let (before, after) = if random.random_bool(0.5) { (1.0, ratio) } else { (ratio, 1.0) };
    let every = random.random_range(4..=9);
    let width = random.random_range(1..=2);
    let first = random.random_range(0..every);
    let peak = if few { 4.0 } else { 1.0 };
    let floor = if random.random_bool(0.5) { 0.0 } else { random.random_range(0.02..0.2) };
    (0..MINUTES)
        .map(|minute| {
            let level = match pattern {
                PatternClass::Spikes if (minute + first) % every < width => peak,
                PatternClass::Spikes => floor,
                PatternClass::Jump => {
                    if minute < change_at {
                        before
                    } else {
                        after
                    }
                }
                _ => 1.0,
            };
            let rate = (mean * drift(minute) * level * normal.sample(random)).max(0.0);
            // Few invocations come one by one, so chance is a part of what is counted.
            let count = if few && rate > 0.0 { Poisson::new(rate).unwrap().sample(random) } else { rate };
            count.round() as u64
        })
        .collect()
}

fn measured(seeds: std::ops::Range<u64>) -> Confusion {
    let mut confusion = Confusion::default();
    for seed in seeds {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for pattern in PatternClass::STUDY {
            for _ in 0..25 {
                confusion.add(pattern, classify(&made(pattern, &mut random)).pattern);
            }
        }
    }
    confusion
}

/// The rules were set with seeds below 5,000. The seeds here were looked at when the rules were done.
#[test]
fn hard_patterns_of_held_back_seeds_are_recognized() {
    let found = measured(5000..5100);
    let table: Vec<String> = PatternClass::STUDY
        .iter()
        .map(|truth| {
            let row = PatternClass::STUDY.map(|pattern| format!("{:>6}", found.count(*truth, pattern)));
            format!("{:>12} {}", truth.name(), row.join(" "))
        })
        .collect();
    let (all, right) = found.totals();
    let share = right as f64 / all as f64;
    assert_eq!(all, 10_000);
    assert!(share > 0.98, "{right} of {all}\n{}", table.join("\n"));
    for pattern in PatternClass::STUDY {
        assert!(found.count(pattern, pattern) > 2400, "{}", table.join("\n"));
    }
}

#[track_caller]
fn check(minutes: &[u64], pattern: PatternClass) {
    let found = classify(minutes);
    assert_eq!(found.pattern, pattern, "{found:?}");
}

#[test]
fn plain_windows_have_the_pattern_that_a_person_sees() {
    check(&[0; 20], PatternClass::Idle);
    check(&[100; 20], PatternClass::Steady);
    check(&[1; 20], PatternClass::Steady);
    check(&[1000], PatternClass::Steady);
    check(&[], PatternClass::Idle);
    let trend: Vec<u64> = (0..20).map(|minute| 1000 + 10 * minute).collect();
    check(&trend, PatternClass::Steady);
    let mut one = [10; 20];
    one[7] = 300;
    check(&one, PatternClass::Spikes);
    let every_fifth: Vec<u64> = (0..20).map(|minute| if minute % 5 == 0 { 90 } else { 0 }).collect();
    check(&every_fifth, PatternClass::Spikes);
    let down: Vec<u64> = (0..20).map(|minute| if minute < 12 { 500 } else { 200 }).collect();
    check(&down, PatternClass::Jump);
    let wild: Vec<u64> = (0..20_u64).map(|minute| 100 + minute * 37 % 61).collect();
    check(&wild, PatternClass::Fluctuating);
}

#[test]
fn labels_are_read_and_mistakes_have_their_line() {
    let labels = read_labels("HashFunction,time1,time2\na,steady,\n\"b\",\"jump\",\"spikes\"\n").unwrap();
    assert_eq!(labels[0].patterns, [Some(PatternClass::Steady), None]);
    assert_eq!(labels[1].function, "b");
    assert_eq!(labels[1].patterns, [Some(PatternClass::Jump), Some(PatternClass::Spikes)]);
    for (text, wrong) in [
        ("", "line 1: the columns"),
        ("HashFunction\n", "line 1: the columns"),
        ("HashFunction,time2\n", "line 1: the columns"),
        ("HashFunction,time1\na,smooth\n", "line 2: `smooth` is none of"),
        ("HashFunction,time1\na,steady\na,jump\n", "line 3: `a` has a label"),
        ("HashFunction,time1\na,steady,jump\n", "line 2: it has 3 cells"),
    ] {
        let error = read_labels(text).unwrap_err();
        assert!(error.starts_with(wrong), "{error}");
    }
}
