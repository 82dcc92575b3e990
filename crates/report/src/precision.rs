//! Whether a figure of a group is known precisely enough, or how many more trials it needs.

use std::collections::BTreeMap;

use sb_statistics::{Bootstrap, FEWEST_UNITS, Level, Statistic, Trial, Trials, Unit};
use serde::Serialize;

use crate::execution::Execution;

/// A figure is precise enough if its interval of 95 % is at most this part of it wide.
pub(crate) const ASKED: f64 = 0.05;

/// A larger number of further trials is not given: nobody measures as many, and the estimate is of too few.
const MOST_SAID: u64 = 1000;

/// Which trial an execution is. Those of one deployment have the same first part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TrialKey {
    deployment: String,
    trial: String,
}

impl TrialKey {
    /// By `run.json`. Where it does not say which trial an execution is, as in the published layout, each folder is one.
    pub(crate) fn of(execution: &Execution) -> Self {
        let config = &execution.config;
        let of_run = |name: &Option<String>| {
            let run = config.run.as_deref().unwrap_or_default();
            name.as_ref().map(|name| format!("{run} {name}"))
        };
        Self {
            deployment: of_run(&config.deployment).unwrap_or_default(),
            trial: of_run(&config.trial).unwrap_or_else(|| execution.folder.display().to_string()),
        }
    }
}

/// What the interval of a figure says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The interval is at most 5 % of the figure wide.
    Enough,
    /// As many more trials would probably do, if they vary as those so far. `None`: more than a million, or the times are
    /// rounded too coarsely for any number.
    MoreTrials {
        /// How many.
        more: Option<u64>,
    },
    /// As many more deployments, each with as many trials. `None`: more than a million.
    MoreDeployments {
        /// How many.
        more: Option<u64>,
    },
    /// Fewer than ten values lie beyond the quantile: at least so many more trials are needed to say anything.
    TooFewValues {
        /// How many.
        more: u64,
    },
    /// There are fewer than three trials, or fewer than three of several deployments: two say next to nothing of how they
    /// differ.
    TooFewTrials,
    /// The figure is 0, of which nothing can be a part.
    Zero,
}

/// How precisely a figure is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FigurePrecision {
    /// `p50`, `p99` or `mean`.
    pub figure: &'static str,
    /// The width of its interval of 95 % as a part of the figure. Whole deployments are resampled, or else whole trials. `None`:
    /// it is unknown.
    pub relative_width: Option<f64>,
    /// What this says.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl FigurePrecision {
    /// In words, such as `precise enough (3.2 %)`.
    pub fn words(&self) -> String {
        let width = self.relative_width.map_or_else(String::new, |width| {
            // An interval that is wider than the figure says that nothing is known, not how much.
            if width > 10.0 { " (over 1,000 %)".to_owned() } else { format!(" ({:.1} %)", width * 100.0) }
        });
        let many = |what: &str| format!("more than 1,000 more {what}s");
        let count = |more: u64, what: &str| match more {
            1 => format!("1 more {what}"),
            2..=MOST_SAID => format!("{more} more {what}s"),
            _ => many(what),
        };
        match self.verdict {
            Verdict::Enough => format!("precise enough{width}"),
            Verdict::MoreTrials { more } => {
                more.map_or_else(|| many("trial"), |more| count(more, "trial")) + &width
            }
            Verdict::MoreDeployments { more } => {
                more.map_or_else(|| many("deployment"), |more| count(more, "deployment")) + &width
            }
            Verdict::TooFewValues { more } => {
                format!("too few requests: at least {}", count(more, "trial"))
            }
            Verdict::TooFewTrials => format!(
                "unknown: too few trials, at least {FEWEST_UNITS} (of several deployments, {FEWEST_UNITS} of these) are needed"
            ),
            Verdict::Zero => "unknown: the figure is 0".to_owned(),
        }
    }
}

/// The figures that have a verdict.
pub(crate) const JUDGED: [(&str, Statistic); 3] = [
    ("p50", Statistic::Quantile(Level::MEDIAN)),
    ("p99", Statistic::Quantile(Level::P99)),
    ("mean", Statistic::Mean),
];

/// Of the values of each trial; empty without any value.
pub(crate) fn judge(values: &BTreeMap<TrialKey, Vec<f64>>) -> Vec<FigurePrecision> {
    let mut deployments: Vec<&String> = values.keys().map(|key| &key.deployment).collect();
    deployments.dedup();
    let trials: Vec<Trial<'_>> = values
        .iter()
        .map(|(key, values)| Trial {
            deployment: deployments.partition_point(|name| **name < key.deployment),
            values,
        })
        .collect();
    // Whole numbers of microseconds are finite.
    let Ok(trials) = Trials::new(&trials) else { return Vec::new() };
    // Some clocks count whole milliseconds.
    let trials = trials.measured_in(1.0);
    if trials.is_empty() {
        return Vec::new();
    }
    // The error of a resampled error is 3.5 % with so many: enough for a verdict on each of many groups.
    let bootstrap = Bootstrap { resamples: 400, ..Bootstrap::default() };
    JUDGED.map(|(figure, statistic)| of_figure(&bootstrap, &trials, figure, statistic)).to_vec()
}

fn of_figure(
    bootstrap: &Bootstrap,
    trials: &Trials,
    figure: &'static str,
    statistic: Statistic,
) -> FigurePrecision {
    use sb_statistics::Precision;
    let unknown = |verdict| FigurePrecision { figure, relative_width: None, verdict };
    if let Statistic::Quantile(level) = statistic
        && !trials.suffice(statistic)
    {
        let needed = 10.0 / level.get().min(1.0 - level.get()) - 1e-6;
        let per_trial = trials.len() as f64 / trials.trials() as f64;
        let more = ((needed - trials.len() as f64) / per_trial).ceil().max(1.0);
        return unknown(Verdict::TooFewValues { more: more as u64 });
    }
    if trials.units() < FEWEST_UNITS {
        return unknown(Verdict::TooFewTrials);
    }
    let estimate = bootstrap.estimate(trials, statistic);
    match Precision::of(estimate.as_ref(), trials.units(), bootstrap.confidence, ASKED) {
        Precision::Unknown => unknown(Verdict::Zero),
        Precision::Enough { relative_width } => {
            FigurePrecision { figure, relative_width: Some(relative_width), verdict: Verdict::Enough }
        }
        Precision::More { relative_width, units } => {
            let more = units.map(|units| units as u64);
            let verdict = match trials.unit() {
                Unit::Trial => Verdict::MoreTrials { more },
                Unit::Deployment => Verdict::MoreDeployments { more },
            };
            FigurePrecision { figure, relative_width: Some(relative_width), verdict }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trials of as many requests, each with a latency of its own around 100.
    fn trials(deployments: u32, each: u32, requests: u32, spread: f64) -> BTreeMap<TrialKey, Vec<f64>> {
        let mut all = BTreeMap::new();
        for deployment in 0..deployments {
            for trial in 0..each {
                let own = spread * f64::from((deployment * each + trial) % 3);
                let values = (0..requests).map(|at| 100.0 + own + f64::from(at % 10) * 0.01).collect();
                let key = TrialKey { deployment: deployment.to_string(), trial: trial.to_string() };
                all.insert(key, values);
            }
        }
        all
    }

    #[track_caller]
    fn check(values: &BTreeMap<TrialKey, Vec<f64>>, p50: Verdict, p99: Verdict) {
        let found = judge(values);
        assert_eq!((found[0].verdict, found[1].verdict), (p50, p99), "{found:?}");
        assert_eq!(found[2].figure, "mean");
    }

    #[test]
    fn a_verdict_counts_trials_or_deployments() {
        use Verdict::{Enough, MoreDeployments, MoreTrials, TooFewTrials, TooFewValues};
        check(&trials(1, 10, 200, 0.1), Enough, Enough);
        check(&trials(1, 1, 2000, 0.1), TooFewTrials, TooFewTrials);
        check(&trials(1, 2, 2000, 0.0), TooFewTrials, TooFewTrials);
        // 10 beyond the 99th percentile need 1,000 requests: 800 more, or 16 trials.
        check(&trials(1, 4, 50, 0.1), Enough, TooFewValues { more: 16 });
        let [of_trials, of_deployments] =
            [trials(1, 6, 300, 10.0), trials(6, 1, 300, 10.0)].map(|it| judge(&it));
        let MoreTrials { more: Some(more) } = of_trials[2].verdict else { panic!("{of_trials:?}") };
        assert_eq!(of_deployments[2].verdict, MoreDeployments { more: Some(more) });
        // Six trials of 100, 110 and 120: a deviation of 8.9, so 2.571 * 8.9 / sqrt(6) on each side, 17 %; 5 % needs about 45.
        assert!((30..=60).contains(&more), "{more}");
        assert!(judge(&BTreeMap::new()).is_empty());
        // Medians of 18 ms in whole milliseconds are 17.5 to 18.5 ms, however equal they are; in microseconds they are equal.
        let equal = |median: f64| {
            let values = [vec![10.0; 10], vec![median; 10], vec![60.0; 10]].concat();
            (0..5).map(move |trial| {
                (TrialKey { deployment: String::new(), trial: trial.to_string() }, values.clone())
            })
        };
        let coarse = judge(&equal(18.0).collect())[0];
        assert!(coarse.relative_width.is_some_and(|width| (width - 1.0 / 18.0).abs() < 1e-3), "{coarse:?}");
        assert_eq!(coarse.verdict, MoreTrials { more: None });
        assert_eq!(judge(&equal(18.001).collect())[0].verdict, Enough);
    }

    #[test]
    fn a_verdict_is_said_in_words() {
        let words =
            |relative_width, verdict| FigurePrecision { figure: "p50", relative_width, verdict }.words();
        assert_eq!(words(Some(0.0321), Verdict::Enough), "precise enough (3.2 %)");
        assert_eq!(words(Some(0.1), Verdict::MoreTrials { more: Some(12) }), "12 more trials (10.0 %)");
        assert_eq!(
            words(Some(0.1), Verdict::MoreDeployments { more: Some(1) }),
            "1 more deployment (10.0 %)"
        );
        assert_eq!(
            words(Some(9.0), Verdict::MoreTrials { more: None }),
            "more than 1,000 more trials (900.0 %)"
        );
        for more in [Some(1001), Some(27_600)] {
            let said = words(Some(185_175_868.8), Verdict::MoreTrials { more });
            assert_eq!(said, "more than 1,000 more trials (over 1,000 %)");
        }
        assert_eq!(words(Some(2.0), Verdict::MoreTrials { more: Some(1000) }), "1000 more trials (200.0 %)");
        assert_eq!(
            words(None, Verdict::TooFewTrials),
            "unknown: too few trials, at least 3 (of several deployments, 3 of these) are needed"
        );
        let few = words(None, Verdict::TooFewValues { more: 3 });
        assert_eq!(few, "too few requests: at least 3 more trials");
    }
}
