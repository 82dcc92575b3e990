//! The four rates of an execution, side by side.

use crate::execution::Execution;
use crate::rates::per_second;
use crate::warping::approximate_distance;

/// Series that are longer together are not compared: the exact distance takes the product of their lengths.
pub(crate) const MOST_CELLS: f64 = 2e9;

/// A load whose last request ends this much before the end of its plan has reached it: this share of the plan, or two mean
/// gaps between requests, or a quarter of the plan between these seconds. k6 writes whole seconds, and a rate may end in a ramp.
const NEAR_SHARE: f64 = 0.02;
const NEAR_SECONDS: (f64, f64) = (1.0, 3.0);

/// Invocations per second.
pub(crate) struct Rates {
    /// By the pattern, as planned, as sent, as traced; `None`: there is no such series.
    pub(crate) all: [Option<Vec<f64>>; 4],
    /// The largest second or relative time of any of the four, in seconds.
    pub(crate) longest: f64,
}

/// What the four are called in the study's tables.
pub(crate) const NAMES: [&str; 4] =
    ["workload_rates", "workload_options", "k6_invocations", "trace_breakdown"];

/// How far two neighbours among the four are apart.
pub(crate) struct Pair {
    /// The place of the first of them.
    pub(crate) first: usize,
    pub(crate) lengths: (usize, usize),
    /// The study's approximation.
    pub(crate) approximate: Option<f64>,
    /// The true distance; `None`: a series is empty, or both are too long.
    pub(crate) exact: Option<f64>,
}

impl Rates {
    pub(crate) fn of(execution: &Execution, as_published: bool) -> Self {
        let sent = execution.sent.as_ref().filter(|sent| sent.count() > 0);
        let traces = execution.traces.as_ref().filter(|traces| traces.count() > 0);
        let starts = traces.map(|traces| {
            let mut starts: Vec<i64> = traces.starts.iter().collect();
            starts.sort_unstable();
            starts
        });
        let last = |series: &Option<Vec<f64>>| series.as_ref().map_or(0.0, |all| all.len() as f64 - 1.0);
        let seconds = |micros: Option<i64>| micros.unwrap_or_default() as f64 / 1e6;
        let observed = seconds(sent.and_then(|sent| sent.times.span()));
        let traced = seconds(starts.as_ref().and_then(|starts| starts.last().copied()));
        let longest = last(&execution.pattern).max(last(&execution.planned)).max(observed).max(traced);
        let all = [
            execution.pattern.clone(),
            execution.planned.clone(),
            sent.map(|sent| per_second(sent.times.relative(), as_published)),
            starts.map(|starts| per_second(starts.iter().map(|start| (*start, 1)), as_published)),
        ];
        Self { all, longest }
    }

    /// How long the load was sent, in seconds: as long as planned where the requests reach to the end of the plan, else from
    /// the first to the last of them. `None`: that is no time, or nothing was sent.
    ///
    /// The pattern does not count, for it may be longer than the load. The planned time is better than the observed one: with
    /// a request each second, the last of 60 is sent after 59 seconds, and a slow answer ends later than the load.
    pub(crate) fn sending_seconds(&self, execution: &Execution) -> Option<f64> {
        let sent = execution.sent.as_ref()?;
        let observed = sent.times.span()? as f64 / 1e6;
        let planned = execution.config.constant_seconds().or_else(|| {
            let rates = self.all[1].as_ref()?;
            // Nothing is sent in zeros at the end.
            Some(rates.iter().rposition(|rate| *rate > 0.0)? as f64 + 1.0)
        });
        let gap = observed / sent.count().saturating_sub(1).max(1) as f64;
        let is_reached = |planned: &f64| {
            let seconds = (planned / 4.0).clamp(NEAR_SECONDS.0, NEAR_SECONDS.1);
            observed + seconds.max(NEAR_SHARE * planned).max(2.0 * gap) >= *planned
        };
        planned.filter(is_reached).or(Some(observed)).filter(|seconds| *seconds > 0.0)
    }

    /// The distances between neighbours that are both there. Without a trace there are none.
    pub(crate) fn pairs(&self, with_approximation: bool) -> Vec<Pair> {
        if self.all[3].is_none() {
            return Vec::new();
        }
        let pairs = (0..3).filter_map(|first| {
            let (x, y) = (self.all[first].as_ref()?, self.all[first + 1].as_ref()?);
            let is_short = x.len() as f64 * y.len() as f64 <= MOST_CELLS;
            Some(Pair {
                first,
                lengths: (x.len(), y.len()),
                approximate: with_approximation.then(|| approximate_distance(x, y)).flatten(),
                exact: is_short.then(|| sb_statistics::warping_distance(x, y)).flatten(),
            })
        });
        pairs.collect()
    }

    /// How many seconds the longest of the four has.
    pub(crate) fn seconds(&self) -> usize {
        self.all.iter().flatten().map(Vec::len).max().unwrap_or_default()
    }

    /// The four rates of a second.
    pub(crate) fn at(&self, second: usize) -> [Option<f64>; 4] {
        std::array::from_fn(|which| self.all[which].as_ref().and_then(|series| series.get(second).copied()))
    }
}
