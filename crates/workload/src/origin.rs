//! Where a load is from, and what became of the minutes of its dataset on the way to invocations.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::upscale;
use crate::{Load, LoadShape, ReplayLoad, TraceLoad};

const MINUTE: usize = 60;

/// Where the numbers of a load are from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Origin {
    /// What the file of the load says above its numbers, a line for each fact: dataset, file, function, window, factor.
    pub facts: Vec<String>,
    /// Invocations in each minute of the dataset's window, before anything scaled them. Empty: not known.
    pub per_minute: Vec<f64>,
    /// By what they were multiplied, above 0, before they became the whole numbers of the load's file. None: not known; then those
    /// numbers are all that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
}

impl Origin {
    /// The dataset's minutes times the factor: those of the load's file before they were rounded.
    fn scaled(&self) -> Option<Vec<f64>> {
        let factor = self.factor.filter(|_| !self.per_minute.is_empty())?;
        Some(self.per_minute.iter().map(|count| count * factor).collect())
    }
}

/// The minutes of a dataset on their way to a load. Minutes are those of the dataset: with `speed` 2, each takes half a minute.
#[derive(Clone, Debug, PartialEq)]
pub struct Minutes {
    /// The number of the first one that is played, from 0 at the start of the dataset's window.
    pub first: usize,
    /// Invocations in each minute of the dataset. Of a minute that is skipped in part, the part that is left, as if its
    /// invocations were spread evenly.
    pub original: Vec<f64>,
    /// After factors, and after the fluctuation within minutes that makes seconds of them. They are not yet whole numbers.
    pub upscaled: Vec<f64>,
    /// Invocations that are planned.
    pub planned: Vec<u64>,
}

impl Load {
    /// Where it is from, where that can be said of its kind.
    pub fn origin(&self) -> Option<&Origin> {
        match &self.shape {
            LoadShape::Trace(TraceLoad { origin, .. }) | LoadShape::Replay(ReplayLoad { origin, .. }) => {
                Some(origin)
            }
            _ => None,
        }
    }

    /// What became of the minutes of its dataset. None: it is of no dataset, or of one whose minutes nobody wrote down.
    pub fn minutes(&self) -> Option<Minutes> {
        match &self.shape {
            LoadShape::Trace(trace) if !trace.origin.per_minute.is_empty() => Some(of_trace(trace)),
            LoadShape::Replay(replay) if !replay.origin.per_minute.is_empty() => Some(of_replay(replay)),
            _ => None,
        }
    }
}

fn of_trace(trace: &TraceLoad) -> Minutes {
    let skip = usize::try_from(trace.skip.as_secs()).unwrap_or(usize::MAX);
    let (first, skipped) = (skip / MINUTE, skip % MINUTE);
    let kept = (MINUTE - skipped) as f64 / MINUTE as f64;
    let mut original: Vec<f64> = trace.origin.per_minute.iter().skip(first).copied().collect();
    if let Some(count) = original.first_mut() {
        *count *= kept;
    }
    let unrounded = trace.origin.scaled();
    let per_minute = unrounded.as_ref().filter(|minutes| minutes.len() == trace.per_minute.len());
    let per_minute = per_minute.unwrap_or(&trace.per_minute);
    let upscaled = upscale::rates_per_second(per_minute, skip, trace.scaling, trace.seed);
    let planned: Vec<u64> = trace.per_second().into_iter().map(u64::from).collect();
    Minutes {
        first,
        original,
        upscaled: by_minute(&upscaled, skipped).map(|seconds| seconds.iter().sum()).collect(),
        planned: by_minute(&planned, skipped).map(|seconds| seconds.iter().sum()).collect(),
    }
}

/// Seconds by minute; of the first minute, some are not there.
fn by_minute<T>(seconds: &[T], skipped: usize) -> impl Iterator<Item = &[T]> {
    let (first, rest) = seconds.split_at((MINUTE - skipped).min(seconds.len()));
    std::iter::once(first).filter(|first| !first.is_empty()).chain(rest.chunks(MINUTE))
}

fn of_replay(replay: &ReplayLoad) -> Minutes {
    let minute = |at: &Duration| usize::try_from(at.as_secs() / MINUTE as u64).unwrap_or(usize::MAX);
    let last = replay.at.last().map_or(0, |at| minute(at).saturating_add(1));
    let mut planned = vec![0; last.max(replay.origin.per_minute.len())];
    for at in &replay.at {
        if let Some(count) = planned.get_mut(minute(at)) {
            *count += 1;
        }
    }
    // Every invocation has its time in the file: nothing is spread. Without a factor, nothing was rounded, either.
    let upscaled =
        replay.origin.scaled().unwrap_or_else(|| planned.iter().map(|count| *count as f64).collect());
    Minutes { first: 0, original: replay.origin.per_minute.clone(), upscaled, planned }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArrivalProcess;
    use crate::upscale::Scaling;

    fn trace(scaling: Scaling, skip: u64, arrivals: ArrivalProcess) -> Load {
        Load::new(LoadShape::Trace(TraceLoad {
            name: "made".to_owned(),
            per_minute: vec![50.0, 100.0, 0.0, 30.0],
            skip: Duration::from_secs(skip),
            scaling,
            seed: 3,
            arrivals,
            origin: Origin { per_minute: vec![500.0, 1000.0, 0.0, 300.0], ..Origin::default() },
        }))
    }

    #[test]
    fn the_minutes_of_a_trace_keep_their_shares() {
        let found = trace(Scaling::Factor(2.0), 0, ArrivalProcess::Even).minutes().unwrap();
        assert_eq!((found.first, found.original), (0, vec![500.0, 1000.0, 0.0, 300.0]));
        assert_eq!(found.planned, [100, 200, 0, 60]);
        for (upscaled, planned) in found.upscaled.iter().zip([100.0, 200.0, 0.0, 60.0]) {
            assert!((upscaled - planned).abs() < 1e-9, "{upscaled} {planned}");
        }
    }

    #[test]
    fn upscaled_is_the_dataset_times_the_factor_and_not_what_was_rounded_of_it() {
        let load = |scaling, factor| {
            Load::new(LoadShape::Trace(TraceLoad {
                name: "made".to_owned(),
                // 0.3 times 1, 5, 0 and 9, rounded.
                per_minute: vec![0.0, 2.0, 0.0, 3.0],
                skip: Duration::ZERO,
                scaling,
                seed: 3,
                arrivals: ArrivalProcess::Even,
                origin: Origin { per_minute: vec![1.0, 5.0, 0.0, 9.0], factor, ..Origin::default() },
            }))
        };
        let check = |scaling, factor, expected: [f64; 4], planned: [u64; 4]| {
            let found = load(scaling, factor).minutes().unwrap();
            let apart = found.upscaled.iter().zip(expected).map(|(one, other)| (one - other).abs());
            assert!(apart.fold(0.0, f64::max) < 1e-9, "{:?} instead of {expected:?}", found.upscaled);
            assert_eq!(found.planned, planned);
        };
        check(Scaling::None, Some(0.3), [0.3, 1.5, 0.0, 2.7], [0, 2, 0, 3]);
        check(Scaling::Factor(10.0), Some(0.3), [3.0, 15.0, 0.0, 27.0], [0, 20, 0, 30]);
        // A rate is the mean of what is planned: 240 in four minutes, as 1 to 5 to 9.
        check(Scaling::Rate(1.0), Some(0.3), [16.0, 80.0, 0.0, 144.0], [0, 96, 0, 144]);
        // Nobody knows the factor.
        check(Scaling::None, None, [0.0, 2.0, 0.0, 3.0], [0, 2, 0, 3]);
    }

    #[test]
    fn what_is_skipped_is_no_minute_and_a_part_of_one_counts_by_its_length() {
        let found = trace(Scaling::None, 90, ArrivalProcess::Even).minutes().unwrap();
        assert_eq!((found.first, found.original), (1, vec![500.0, 0.0, 300.0]));
        assert_eq!((found.planned.len(), found.upscaled.len()), (3, 3));
        assert_eq!(found.planned[1..], [0, 30]);
        assert!(found.upscaled[0] > 0.0 && found.upscaled[0] < 100.0, "{:?}", found.upscaled);
    }

    #[test]
    fn chance_is_in_what_is_planned_and_not_in_what_is_upscaled() {
        let even = trace(Scaling::Rate(20.0), 0, ArrivalProcess::Even).minutes().unwrap();
        let random = trace(Scaling::Rate(20.0), 0, ArrivalProcess::Poisson).minutes().unwrap();
        assert_eq!(even.upscaled, random.upscaled);
        assert_ne!(even.planned, random.planned);
    }

    #[test]
    fn recorded_starts_are_counted_in_their_minutes() {
        let load = |per_minute: &[f64], factor: Option<f64>| {
            Load::new(LoadShape::Replay(ReplayLoad {
                name: "starts.csv".to_owned(),
                at: [0, 59, 60, 200].map(Duration::from_secs).to_vec(),
                origin: Origin { per_minute: per_minute.to_vec(), factor, ..Origin::default() },
            }))
        };
        let thinned = load(&[4.0, 2.0, 0.0, 1.0], Some(0.5)).minutes().unwrap();
        assert_eq!(
            (thinned.upscaled, thinned.planned),
            (vec![2.0, 1.0, 0.0, 0.5], vec![2, 1, 0, 1]),
            "half an invocation is none yet"
        );
        let load = |per_minute: &[f64]| load(per_minute, None);
        let found = load(&[4.0, 2.0]).minutes().unwrap();
        assert_eq!((found.original, found.planned), (vec![4.0, 2.0], vec![2, 1, 0, 1]));
        assert_eq!(load(&[4.0; 6]).minutes().unwrap().planned, [2, 1, 0, 1, 0, 0]);
        assert_eq!(load(&[]).minutes(), None, "nobody knows the original");
    }
}
