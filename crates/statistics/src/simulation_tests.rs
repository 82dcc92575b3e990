//! What intervals promise, tried on measurements whose truth is known.

use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::*;

/// How a simulated run is made: latencies are log-normal, and each deployment and trial has a factor of its own.
#[derive(Clone, Copy)]
struct Design {
    deployments: usize,
    trials: usize,
    requests: usize,
    /// Standard deviations of logarithms.
    deployment_spread: f64,
    trial_spread: f64,
    request_spread: f64,
}

impl Design {
    fn run(&self, random: &mut ChaCha8Rng, factor: f64) -> Trials {
        let mut normal = |spread: f64| -> f64 {
            let drawn: f64 = StandardNormal.sample(random);
            drawn * spread
        };
        let mut all = Vec::new();
        for deployment in 0..self.deployments {
            let of_deployment = normal(self.deployment_spread);
            for _ in 0..self.trials {
                let of_trial = of_deployment + normal(self.trial_spread);
                let values: Vec<f64> = (0..self.requests)
                    .map(|_| factor * (of_trial + normal(self.request_spread)).exp())
                    .collect();
                all.push((deployment, values));
            }
        }
        let trials: Vec<Trial<'_>> =
            all.iter().map(|(deployment, values)| Trial { deployment: *deployment, values }).collect();
        Trials::new(&trials).unwrap()
    }

    /// The quantile of all possible trials.
    fn truth(&self, statistic: Statistic) -> f64 {
        let variance =
            self.deployment_spread.powi(2) + self.trial_spread.powi(2) + self.request_spread.powi(2);
        match statistic {
            Statistic::Mean => (variance / 2.0).exp(),
            Statistic::Quantile(level) => (variance.sqrt() * normal_quantile(level)).exp(),
        }
    }
}

const DESIGN: Design = Design {
    deployments: 1,
    trials: 10,
    requests: 100,
    deployment_spread: 0.0,
    trial_spread: 0.05,
    request_spread: 0.4,
};

const MEAN: Statistic = Statistic::Mean;
const MEDIAN: Statistic = Statistic::Quantile(Level::MEDIAN);
const P99: Statistic = Statistic::Quantile(Level::P99);

/// 95 % intervals hold the truth in 93 to 97 % of simulated runs.
#[test]
fn intervals_of_trials_cover_what_they_promise() {
    const RUNS: usize = 1000;
    #[track_caller]
    fn check(design: Design, statistics: &[Statistic]) {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let bootstrap = Bootstrap { resamples: 300, ..Bootstrap::default() };
        let mut held = vec![0; statistics.len()];
        for _ in 0..RUNS {
            let trials = design.run(&mut random, 1.0);
            for (statistic, held) in statistics.iter().zip(&mut held) {
                assert!(trials.suffice(*statistic));
                let estimate = bootstrap.estimate(&trials, *statistic).unwrap();
                *held += usize::from(estimate.interval.contains(design.truth(*statistic)));
            }
        }
        assert!(held.iter().all(|held| (930..=970).contains(held)), "{held:?} of {RUNS}");
    }
    check(Design { requests: 200, ..DESIGN }, &[MEAN, MEDIAN, P99]);
    check(Design { trials: 5, ..DESIGN }, &[MEAN, MEDIAN]);
    check(Design { trials: 10, requests: 20, ..DESIGN }, &[MEAN, MEDIAN]);
    check(Design { trials: 30, requests: 40, ..DESIGN }, &[MEAN, MEDIAN]);
    // Three trials on each of five deployments, which differ, too.
    check(Design { deployments: 5, trials: 3, deployment_spread: 0.03, ..DESIGN }, &[MEAN, MEDIAN, P99]);
}

/// The same for single samples of independent values: Harrell-Davis and Maritz-Jarrett.
#[test]
fn intervals_of_samples_cover_what_they_promise() {
    const RUNS: usize = 2000;
    #[track_caller]
    fn check(requests: usize, level: Level) {
        let design = Design { trials: 1, requests, trial_spread: 0.0, ..DESIGN };
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let truth = design.truth(Statistic::Quantile(level));
        let mut held = 0;
        for _ in 0..RUNS {
            let values: Vec<f64> = design.run(&mut random, 1.0).values().collect();
            let sample = Sorted::of(&values).unwrap();
            held += usize::from(quantile_interval(&sample, level, Level::P95).unwrap().contains(truth));
        }
        assert!((1860..=1940).contains(&held), "{held} of {RUNS}, {requests} values, {level}");
    }
    check(30, Level::MEDIAN);
    check(200, Level::MEDIAN);
    check(500, Level::P90);
    check(2000, Level::P99);
}

/// Pairs of runs with three groups each; in half of them the second run's first group is 10 % slower.
#[test]
fn planted_regressions_are_found_and_equal_runs_are_quiet() {
    const PAIRS: usize = 200;
    let design = Design {
        deployments: 4,
        trials: 5,
        requests: 100,
        deployment_spread: 0.01,
        trial_spread: 0.02,
        request_spread: 0.3,
    };
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let bootstrap = Bootstrap { resamples: 500, ..Bootstrap::default() };
    let mut regressed = |planted: f64| {
        let mut changes = Vec::new();
        for group in 0..3 {
            let first = design.run(&mut random, 1.0);
            let second = design.run(&mut random, if group == 0 { planted } else { 1.0 });
            changes.extend([MEAN, MEDIAN, P99].map(|of| bootstrap.change(&first, &second, of).unwrap()));
        }
        let judged = judge(&changes, Level::P95);
        changes.iter().zip(judged).any(|(change, judged)| {
            judged == Judgement::Up && change.ratio.is_some_and(|ratio| ratio.value >= 1.05)
        })
    };
    let found = (0..PAIRS).filter(|_| regressed(1.1)).count();
    let alarms = (0..PAIRS).filter(|_| regressed(1.0)).count();
    assert!(found * 100 >= PAIRS * 95, "{found} of {PAIRS} regressions found");
    assert!(alarms * 100 <= PAIRS * 5, "{alarms} false alarms in {PAIRS} pairs");
}

/// The same with few trials, of latencies that a clock rounds to whole milliseconds or microseconds. Medians are then often the
/// same number in all trials.
#[test]
fn few_trials_and_whole_milliseconds_raise_no_false_alarms() {
    const PAIRS: usize = 300;
    let bootstrap = Bootstrap { resamples: 300, ..Bootstrap::default() };
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut run = |trials: usize, step: f64, factor: f64| {
        let all: Vec<Vec<f64>> = (0..trials)
            .map(|_| {
                let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
                let center = factor * (18.5 + 0.25 * normal());
                (0..400).map(|_| ((center + 3.0 * normal()) / step).round() * step).collect()
            })
            .collect();
        let trials: Vec<Trial<'_>> = all.iter().map(|values| Trial { deployment: 0, values }).collect();
        Trials::new(&trials).unwrap().measured_in(1.0)
    };
    let mut found = |trials: usize, step: f64, factor: f64| {
        let pairs = (0..PAIRS).filter(|_| {
            let [first, second] = [run(trials, step, 1.0), run(trials, step, factor)];
            let changes = [MEAN, MEDIAN].map(|of| bootstrap.change(&first, &second, of).unwrap());
            let judged = judge(&changes, Level::P95);
            judged.iter().any(|judged| matches!(judged, Judgement::Up | Judgement::Down))
        });
        pairs.count()
    };
    for step in [1.0, 1e-3] {
        assert_eq!(found(2, step, 1.0), 0, "two trials say nothing");
        for trials in [3, 5, 10] {
            let alarms = found(trials, step, 1.0);
            // 5 % are 15. By chance alone it is more than 25 in one of 200 tests.
            assert!(alarms <= 25, "{alarms} of {PAIRS} with {trials} trials in steps of {step}");
        }
        let seen = found(5, step, 1.1);
        assert!(seen * 100 >= PAIRS * 95, "{seen} of {PAIRS} regressions found in steps of {step}");
    }
}

/// A study of ten applications with 30 trials each: as many as the one that varies most needs. If trials end once they
/// are as precise as that one is with all of them, less than half are needed, and no application is known less precisely.
#[test]
fn trials_that_end_when_precise_save_half_of_a_study() {
    const STUDIES: usize = 10;
    const MOST: usize = 30;
    let bootstrap = Bootstrap { resamples: 500, ..Bootstrap::default() };
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let (mut used, mut held, mut decided) = (0, 0, 0);
    for _ in 0..STUDIES {
        let stored: Vec<(Design, Vec<Vec<f64>>)> = (1..=10)
            .map(|application| {
                let spread = 0.01 * f64::from(application);
                let design = Design { trials: 1, requests: 100, trial_spread: spread, ..DESIGN };
                (design, (0..MOST).map(|_| design.run(&mut random, 1.0).values().collect()).collect())
            })
            .collect();
        let estimate = |trials: &[Vec<f64>]| {
            let trials: Vec<Trial<'_>> =
                trials.iter().map(|values| Trial { deployment: 0, values }).collect();
            bootstrap.estimate(&Trials::new(&trials).unwrap(), MEDIAN).unwrap()
        };
        let width = |estimate: &Estimate| estimate.relative_width().unwrap();
        let asked = stored.iter().map(|(_, trials)| width(&estimate(trials))).fold(0.0, f64::max);
        for (design, trials) in &stored {
            let found = (3..=MOST).map(|count| (count, estimate(&trials[..count])));
            let (count, found) = found.into_iter().find(|(_, found)| width(found) <= asked).unwrap();
            used += count;
            decided += 1;
            held += usize::from(found.interval.contains(design.truth(MEDIAN)));
        }
    }
    assert!(used * 2 <= STUDIES * 10 * MOST, "{used} of {} trials", STUDIES * 10 * MOST);
    // To stop at a narrow interval prefers those that are too narrow by chance; this costs a few percent.
    assert!(held * 100 >= decided * 90, "{held} of {decided} intervals hold the truth");
}
