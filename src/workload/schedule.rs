//! When each invocation is due: planned send times, computed in closed form from a [`Load`].
//!
//! A constant rate sends the k-th invocation (from 0) at `k / rate`. A ramp sends the n-th (from 1) at the moment
//! when the integral of the arrival rate reaches `n`, as k6's ramping-arrival-rate executor does. Nothing is
//! accumulated from one invocation to the next, so a long load does not drift.

use std::time::Duration;

use super::{Load, LoadShape, Stage};

/// The planned send times of a load.
pub fn planned(load: &Load) -> Planned {
    match &load.shape {
        LoadShape::Iterations { iterations } => Planned::Closed { total: *iterations },
        LoadShape::Constant { rate, duration } => {
            Planned::Open(Schedule::constant(*rate, *duration, load.speed))
        }
        LoadShape::Stages { start_rate, stages } => {
            Planned::Open(Schedule::ramps(*start_rate, stages, load.speed))
        }
    }
}

#[derive(Clone, Debug)]
pub enum Planned {
    /// One after another: there is a count, but no planned time.
    Closed { total: u64 },
    /// Every invocation has its own time, whatever happens to the ones before.
    Open(Schedule),
}

impl Planned {
    /// How many invocations there will be, exactly.
    pub fn total(&self) -> u64 {
        match self {
            Self::Closed { total } => *total,
            Self::Open(schedule) => schedule.total,
        }
    }

    /// How long the load lasts by plan, after `speed`; `None` for a closed loop.
    pub fn length(&self) -> Option<Duration> {
        match self {
            Self::Closed { .. } => None,
            Self::Open(schedule) => Some(schedule.length),
        }
    }
}

/// An iterator over the send times, as offsets from the start of the load: never decreasing, exactly
/// [`total`](Schedule::total) of them.
#[derive(Clone, Debug)]
pub struct Schedule {
    total: u64,
    length: Duration,
    speed: f64,
    next: u64,
    latest: Duration,
    arrivals: Arrivals,
}

#[derive(Clone, Debug)]
enum Arrivals {
    Even { rate: f64 },
    Ramps { ramps: Vec<Ramp>, current: usize },
}

/// One stage, with what came before it. Times in seconds before `speed`, rates in invocations per second.
#[derive(Clone, Debug)]
struct Ramp {
    begin: f64,
    duration: f64,
    from: f64,
    to: f64,
    arrived_before: f64,
}

/// Sums of stages miss whole numbers by rounding errors: an integral this close below `n` has reached `n`.
const ROUNDING: f64 = 1e-9;

impl Schedule {
    fn constant(rate: f64, duration: Duration, speed: f64) -> Self {
        let total = (rate * duration.as_secs_f64()).round().max(0.0) as u64;
        Self::new(total, duration.as_secs_f64(), speed, Arrivals::Even { rate })
    }

    fn ramps(start_rate: f64, stages: &[Stage], speed: f64) -> Self {
        let mut ramps = Vec::with_capacity(stages.len());
        let (mut begin, mut from, mut arrived) = (0.0, start_rate, 0.0);
        for stage in stages {
            let ramp = Ramp {
                begin,
                duration: stage.duration.as_secs_f64(),
                from,
                to: stage.target,
                arrived_before: arrived,
            };
            begin += ramp.duration;
            arrived += ramp.arrivals();
            from = ramp.to;
            ramps.push(ramp);
        }
        let total = (arrived + rounding(arrived)).floor().max(0.0) as u64;
        Self::new(total, begin, speed, Arrivals::Ramps { ramps, current: 0 })
    }

    fn new(total: u64, seconds: f64, speed: f64, arrivals: Arrivals) -> Self {
        let length = offset(seconds, speed);
        Self { total, length, speed, next: 0, latest: Duration::ZERO, arrivals }
    }

    /// How many send times there are in all, whether taken already or not.
    pub fn total(&self) -> u64 {
        self.total
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.next >= self.total {
            return None;
        }
        let seconds = match &mut self.arrivals {
            Arrivals::Even { rate } => self.next as f64 / *rate,
            Arrivals::Ramps { ramps, current } => time_of(ramps, current, (self.next + 1) as f64),
        };
        self.next += 1;
        // Two arrivals may be closer than a nanosecond: rounding must not turn their order.
        self.latest = self.latest.max(offset(seconds, self.speed));
        Some(self.latest)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.total - self.next).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl Ramp {
    fn arrivals(&self) -> f64 {
        f64::midpoint(self.from, self.to) * self.duration
    }

    /// Seconds into the stage at which `count` invocations of it have arrived: the root of
    /// `from·t + (to − from)/(2·duration)·t² = count`, written so that a flat stage needs no case of its own.
    fn time_of(&self, count: f64) -> f64 {
        if count <= 0.0 || self.duration <= 0.0 {
            return 0.0;
        }
        let slope = (self.to - self.from) / self.duration;
        let rate_then = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        let sum = self.from + rate_then;
        if sum > 0.0 { (2.0 * count / sum).min(self.duration) } else { self.duration }
    }
}

fn time_of(ramps: &[Ramp], current: &mut usize, arrival: f64) -> f64 {
    while let Some(ramp) = ramps.get(*current) {
        let after = ramp.arrived_before + ramp.arrivals();
        if arrival <= after + rounding(after) && ramp.arrivals() > 0.0 {
            return ramp.begin + ramp.time_of(arrival - ramp.arrived_before);
        }
        *current += 1;
    }
    ramps.last().map_or(0.0, |last| last.begin + last.duration)
}

fn rounding(count: f64) -> f64 {
    ROUNDING * count.abs().max(1.0)
}

fn offset(seconds: f64, speed: f64) -> Duration {
    Duration::try_from_secs_f64(seconds / speed).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::workload::Tolerances;

    fn load(shape: LoadShape, speed: f64) -> Load {
        Load { shape, speed, tolerances: Tolerances::default() }
    }

    fn times(load: &Load) -> Vec<f64> {
        match planned(load) {
            Planned::Open(schedule) => schedule.map(|time| time.as_secs_f64()).collect(),
            Planned::Closed { total } => panic!("closed loop of {total}"),
        }
    }

    fn stage(target: f64, seconds: f64) -> Stage {
        Stage { target, duration: Duration::from_secs_f64(seconds) }
    }

    #[track_caller]
    fn check(shape: LoadShape, speed: f64, expected: &[f64]) {
        let load = load(shape, speed);
        let found = times(&load);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        assert_eq!(planned(&load).total(), expected.len() as u64);
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 2e-9, "{found} instead of {expected}");
        }
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced_from_the_start() {
        let second = Duration::from_secs(1);
        check(LoadShape::Constant { rate: 4.0, duration: second }, 1.0, &[0.0, 0.25, 0.5, 0.75]);
        check(LoadShape::Constant { rate: 4.0, duration: second }, 2.0, &[0.0, 0.125, 0.25, 0.375]);
        check(LoadShape::Constant { rate: 0.4, duration: 4 * second }, 1.0, &[0.0, 2.5]);
        check(LoadShape::Constant { rate: 0.1, duration: second }, 1.0, &[]);
    }

    #[test]
    fn an_invocation_of_a_ramp_is_due_when_the_integral_of_the_rate_reaches_its_number() {
        // The rate rises from 0 to 2 in 2 s: after t seconds t²/2 invocations are due.
        check(LoadShape::Stages { start_rate: 0.0, stages: vec![stage(2.0, 2.0)] }, 1.0, &[2f64.sqrt(), 2.0]);
        // It falls from 2 to 0 in 2 s: 2t − t²/2.
        check(
            LoadShape::Stages { start_rate: 2.0, stages: vec![stage(0.0, 2.0)] },
            1.0,
            &[2.0 - 2f64.sqrt(), 2.0],
        );
        // A pause, a jump without duration, then two per second.
        check(
            LoadShape::Stages {
                start_rate: 0.0,
                stages: vec![stage(0.0, 3.0), stage(2.0, 0.0), stage(2.0, 1.0)],
            },
            1.0,
            &[3.5, 4.0],
        );
        check(LoadShape::Stages { start_rate: 1.0, stages: vec![] }, 1.0, &[]);
    }

    #[test]
    fn ten_stages_of_a_tenth_lose_no_invocation_to_rounding() {
        let stages = vec![stage(1.0, 0.1); 10];
        check(LoadShape::Stages { start_rate: 1.0, stages }, 1.0, &[1.0]);
    }

    #[test]
    fn iterations_have_a_count_and_no_times() {
        let planned = planned(&load(LoadShape::Iterations { iterations: 7 }, 1.0));
        assert_eq!((planned.total(), planned.length()), (7, None));
    }

    fn stages() -> impl Strategy<Value = (f64, Vec<Stage>)> {
        let one = (0.0..50.0f64, 0.0..20.0f64).prop_map(|(target, seconds)| stage(target, seconds));
        (0.0..50.0f64, proptest::collection::vec(one, 0..8))
    }

    /// The integral of the rate up to `time`, by stages: an independent way to the same curve.
    fn integral(start_rate: f64, stages: &[Stage], time: f64) -> f64 {
        let (mut begin, mut rate, mut sum) = (0.0, start_rate, 0.0);
        for stage in stages {
            let length = stage.duration.as_secs_f64();
            let part = (time - begin).clamp(0.0, length);
            if part > 0.0 {
                let rate_there = rate + (stage.target - rate) * part / length;
                sum += f64::midpoint(rate, rate_there) * part;
            }
            begin += length;
            rate = stage.target;
        }
        sum
    }

    proptest! {
        #[test]
        fn a_ramp_sends_as_many_as_its_integral_each_at_its_time((start_rate, stages) in stages()) {
            let whole = integral(start_rate, &stages, f64::MAX);
            let load = load(LoadShape::Stages { start_rate, stages: stages.clone() }, 1.0);
            let times = times(&load);
            prop_assert!((times.len() as f64) <= whole + 1e-6 && (times.len() as f64) > whole - 1.0 - 1e-6);
            prop_assert_eq!(planned(&load).total(), times.len() as u64);
            for (index, time) in times.iter().enumerate() {
                // A nanosecond of rounding at 50 per second, and the tolerance for whole numbers.
                let arrived = integral(start_rate, &stages, *time);
                prop_assert!((arrived - (index + 1) as f64).abs() < 2e-6, "{} at {}", arrived, time);
            }
        }

        #[test]
        fn times_never_decrease_and_end_in_time((start_rate, stages) in stages(), speed in 0.1..200.0f64) {
            let load = load(LoadShape::Stages { start_rate, stages }, speed);
            let length = planned(&load).length().unwrap().as_secs_f64();
            let times = times(&load);
            prop_assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(times.iter().all(|time| *time <= length + 1e-8));
        }

        #[test]
        fn speed_divides_all_times(rate in 0.1..100.0f64, seconds in 0.0..60.0f64, speed in 0.1..200.0f64) {
            let shape = LoadShape::Constant { rate, duration: Duration::from_secs_f64(seconds) };
            let real = times(&load(shape.clone(), 1.0));
            let fast = times(&load(shape, speed));
            prop_assert_eq!(real.len(), fast.len());
            prop_assert!((real.len() as f64 - rate * seconds).abs() < 0.5 + 1e-6);
            for (real, fast) in real.iter().zip(&fast) {
                prop_assert!((real / speed - fast).abs() < 1e-8);
            }
        }
    }
}
