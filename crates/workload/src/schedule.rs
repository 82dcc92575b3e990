//! When each invocation is due: planned send times, computed in closed form from a [`Load`].
//!
//! A constant rate sends the k-th invocation (from 0) at `k / rate`. A ramp sends the n-th (from 1) at the moment
//! when the integral of the arrival rate reaches `n`, as k6's ramping-arrival-rate executor does. Nothing is
//! accumulated from one invocation to the next, so a long load does not drift. A trace's seconds each have a
//! whole number of invocations, and these lie within their second.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use super::users::ThinkTime;
use super::{ArrivalProcess, Load, LoadShape, Stage, TraceLoad};

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
        LoadShape::Trace(trace) => Planned::Open(Schedule::trace(trace, load.speed)),
        LoadShape::Bursts { size, at } => Planned::Open(Schedule::bursts(*size, at, load.speed)),
        LoadShape::Replay(replay) => Planned::Open(Schedule::bursts(1, &replay.at, load.speed)),
        LoadShape::Users { users, duration, think_time } => {
            let length = offset(duration.as_secs_f64(), load.speed);
            Planned::Users { users: *users, length, think_time: think_time.clone(), speed: load.speed }
        }
        LoadShape::K6(_) => Planned::Unknown,
    }
}

/// How many invocations a load sends; none where that depends on the answers, or only its generator knows. As [`Planned::total`], and faster.
pub fn total(load: &Load) -> Option<u64> {
    match &load.shape {
        LoadShape::Trace(trace) => Some(trace.total()),
        _ => planned(load).total(),
    }
}

/// About how many invocations a load sends: their number where it is planned. Users send as many as answers of `latency`
/// let them (Little's law: users · length / (latency + think time)). None where only the generator knows.
pub fn expected_total(load: &Load, latency: Duration) -> Option<f64> {
    match planned(load) {
        Planned::Users { users, length, think_time, speed } => {
            let each = latency.as_secs_f64() + think_time.mean().as_secs_f64() / speed;
            // Nobody sends less than once, nor more than a million times a second.
            Some(users as f64 * (length.as_secs_f64() / each.max(1e-6)).max(1.0))
        }
        planned => planned.total().map(|total| total as f64),
    }
}

/// How many invocations a load sends, and when, as far as that is known before it is sent.
#[derive(Clone, Debug)]
pub enum Planned {
    /// One after another: there is a count, but no planned time.
    Closed {
        /// How many.
        total: u64,
    },
    /// Every invocation has its own time, whatever happens to the ones before.
    Open(Schedule),
    /// Each user sends when it was answered and has thought: there is an end, but neither a count nor planned times.
    Users {
        /// How many there are.
        users: u64,
        /// After this time, by the clock, no invocation begins.
        length: Duration,
        /// Between an answer and the next invocation, before `speed`.
        think_time: ThinkTime,
        /// Divides think times; above 0.
        speed: f64,
    },
    /// Only the generator knows.
    Unknown,
}

impl Planned {
    /// How many invocations there will be, exactly; none where that is not known.
    pub fn total(&self) -> Option<u64> {
        match self {
            Self::Closed { total } => Some(*total),
            Self::Open(schedule) => Some(schedule.total),
            Self::Users { .. } | Self::Unknown => None,
        }
    }

    /// How long the load lasts by plan, after `speed`; `None` where that is not known beforehand.
    pub fn length(&self) -> Option<Duration> {
        match self {
            Self::Closed { .. } | Self::Unknown => None,
            Self::Open(schedule) => Some(schedule.length),
            Self::Users { length, .. } => Some(*length),
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
    Seconds(Seconds),
    Bursts { size: u64, at: Vec<Duration> },
}

/// Whole numbers of invocations per second.
#[derive(Clone, Debug)]
struct Seconds {
    counts: Vec<u32>,
    /// Of random arrivals: each second has its own sequence.
    seed: Option<u64>,
    current: usize,
    /// The times of the current second that are still to come, latest first.
    left: Vec<f64>,
}

impl Seconds {
    fn next(&mut self) -> f64 {
        loop {
            if let Some(time) = self.left.pop() {
                return time;
            }
            let Some(&count) = self.counts.get(self.current) else { return self.counts.len() as f64 };
            let second = self.current as f64;
            match self.seed {
                None => self
                    .left
                    .extend((0..count).rev().map(|number| second + f64::from(number) / f64::from(count))),
                Some(seed) => {
                    let mut random = ChaCha8Rng::seed_from_u64(seed.wrapping_add(self.current as u64));
                    self.left.extend((0..count).map(|_| second + random.random::<f64>()));
                    self.left.sort_by(|a, b| b.total_cmp(a));
                }
            }
            self.current += 1;
        }
    }
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

    fn trace(trace: &TraceLoad, speed: f64) -> Self {
        let counts = trace.per_second();
        let total = counts.iter().map(|count| u64::from(*count)).sum();
        // Arrivals of a Poisson process whose number is known lie uniformly.
        let seed = (trace.arrivals != ArrivalProcess::Even).then(|| trace.seed.wrapping_add(2));
        let length = counts.len() as f64;
        let seconds = Seconds { counts, seed, current: 0, left: Vec::new() };
        Self::new(total, length, speed, Arrivals::Seconds(seconds))
    }

    fn bursts(size: u64, at: &[Duration], speed: f64) -> Self {
        let last = at.last().map_or(0.0, Duration::as_secs_f64);
        let total = size.saturating_mul(at.len() as u64);
        Self::new(total, last, speed, Arrivals::Bursts { size, at: at.to_vec() })
    }

    fn new(total: u64, seconds: f64, speed: f64, arrivals: Arrivals) -> Self {
        let length = offset(seconds, speed);
        Self { total, length, speed, next: 0, latest: Duration::ZERO, arrivals }
    }

    /// The highest rate, per second after `speed`; a burst counts as sent within a tenth of a second.
    pub fn peak_rate(&self) -> f64 {
        let peak = match &self.arrivals {
            Arrivals::Even { rate } => *rate,
            Arrivals::Ramps { ramps, .. } => {
                ramps.iter().flat_map(|ramp| [ramp.from, ramp.to]).fold(0.0, f64::max)
            }
            Arrivals::Seconds(seconds) => f64::from(seconds.counts.iter().copied().max().unwrap_or(0)),
            Arrivals::Bursts { size, at } => {
                return *size as f64 * crate::most_within(at, 0.1 * self.speed) as f64 * 10.0;
            }
        };
        peak * self.speed
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
            Arrivals::Seconds(seconds) => seconds.next(),
            Arrivals::Bursts { size, at } => {
                let burst = usize::try_from(self.next / (*size).max(1)).unwrap_or(usize::MAX);
                at.get(burst).map_or(0.0, Duration::as_secs_f64)
            }
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

    fn load(shape: LoadShape, speed: f64) -> Load {
        Load { speed, ..Load::new(shape) }
    }

    fn times(load: &Load) -> Vec<f64> {
        match planned(load) {
            Planned::Open(schedule) => schedule.map(|time| time.as_secs_f64()).collect(),
            other => panic!("no times: {other:?}"),
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
        assert_eq!(planned(&load).total(), Some(expected.len() as u64));
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
        assert_eq!((planned.total(), planned.length()), (Some(7), None));
    }

    #[test]
    fn users_have_an_end_and_no_count_and_about_as_many_invocations_as_answers_let_them_send() {
        let second = Duration::from_secs(1);
        let users = |think_time, speed| {
            load(LoadShape::Users { users: 20, duration: 60 * second, think_time }, speed)
        };
        let thinking = users(ThinkTime::Fixed(second), 1.0);
        assert_eq!((planned(&thinking).total(), planned(&thinking).length()), (None, Some(60 * second)));
        assert_eq!(total(&thinking), None);
        // Each of the 20 takes a second and a half for an invocation, and has a minute.
        assert_eq!(expected_total(&thinking, second / 2), Some(800.0));
        // Twice as fast: half a minute, half a second of thought, and answers take as long as before.
        let fast = users(ThinkTime::Fixed(second), 2.0);
        assert_eq!(planned(&fast).length(), Some(30 * second));
        assert_eq!(expected_total(&fast, second / 2), Some(600.0));
        assert_eq!(expected_total(&users(ThinkTime::Fixed(Duration::ZERO), 1.0), 90 * second), Some(20.0));
        let constant = load(LoadShape::Constant { rate: 2.0, duration: second }, 1.0);
        assert_eq!(expected_total(&constant, second), Some(2.0));
        assert_eq!(expected_total(&load(LoadShape::K6(serde_json::json!({})), 1.0), second), None);
    }

    fn trace(per_minute: Vec<f64>, arrivals: ArrivalProcess) -> LoadShape {
        LoadShape::Trace(TraceLoad {
            name: "made".to_owned(),
            per_minute,
            skip: Duration::ZERO,
            scaling: crate::upscale::Scaling::None,
            seed: 4,
            arrivals,
            origin: crate::Origin::default(),
        })
    }

    #[test]
    fn the_invocations_of_a_traced_second_leave_within_it() {
        let per_minute = vec![600.0, 0.0, 90.0];
        for arrivals in [ArrivalProcess::Even, ArrivalProcess::Uniform, ArrivalProcess::Poisson] {
            let load = load(trace(per_minute.clone(), arrivals), 1.0);
            let LoadShape::Trace(traced) = &load.shape else { unreachable!() };
            let counts = traced.per_second();
            let mut found = vec![0; counts.len()];
            let times = times(&load);
            for time in &times {
                found[*time as usize] += 1;
            }
            assert_eq!(found, counts, "{arrivals:?}");
            assert_eq!(planned(&load).total(), Some(times.len() as u64));
            assert_eq!(planned(&load).length(), Some(Duration::from_mins(3)));
            assert_eq!(times.len() == 690, arrivals != ArrivalProcess::Poisson, "{}", times.len());
        }
        let even = times(&load(trace(vec![120.0], ArrivalProcess::Even), 2.0));
        assert!(even.iter().all(|time| (time * 4.0).fract() < 1e-6 || *time < 30.0), "{even:?}");
    }

    /// Gaps of a Poisson process are exponential: their standard deviation is their mean; even ones have none.
    #[test]
    fn random_arrivals_have_the_gaps_of_a_poisson_process() {
        for arrivals in [ArrivalProcess::Uniform, ArrivalProcess::Poisson] {
            let times = times(&load(trace(vec![6000.0; 10], arrivals), 1.0));
            let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            let variation = variance.sqrt() / mean;
            assert!((0.9..1.25).contains(&variation), "{arrivals:?}: {variation}");
        }
    }

    #[test]
    fn a_burst_leaves_all_at_once() {
        let at = vec![Duration::ZERO, Duration::from_secs(6)];
        check(LoadShape::Bursts { size: 3, at }, 2.0, &[0.0, 0.0, 0.0, 3.0, 3.0, 3.0]);
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
        fn the_total_of_a_trace_is_known_without_its_seconds(
            per_minute in proptest::collection::vec((0..4000_u32).prop_map(|tenths| f64::from(tenths) / 10.0), 0..6),
            skip in 0..400_u64,
            amount in 0.0..30.0f64,
            kind in 0..5,
        ) {
            use crate::upscale::Scaling;
            let scaling = match kind {
                0 => Scaling::None,
                1 => Scaling::Factor(amount),
                2 => Scaling::Rate(amount),
                3 => Scaling::CompoundFactor(amount),
                _ => Scaling::CompoundRate(amount),
            };
            // Half of the skips are whole minutes.
            let skip = Duration::from_secs(if skip % 2 == 0 { skip / 60 * 60 } else { skip });
            let arrivals = ArrivalProcess::Even;
            let trace = TraceLoad { name: "made".to_owned(), per_minute, skip, scaling, seed: 4, arrivals, origin: crate::Origin::default() };
            prop_assert_eq!(trace.total(), trace.per_second().into_iter().map(u64::from).sum::<u64>());
        }

        #[test]
        fn a_ramp_sends_as_many_as_its_integral_each_at_its_time((start_rate, stages) in stages()) {
            let whole = integral(start_rate, &stages, f64::MAX);
            let load = load(LoadShape::Stages { start_rate, stages: stages.clone() }, 1.0);
            let times = times(&load);
            prop_assert!((times.len() as f64) <= whole + 1e-6 && (times.len() as f64) > whole - 1.0 - 1e-6);
            prop_assert_eq!(planned(&load).total(), Some(times.len() as u64));
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
