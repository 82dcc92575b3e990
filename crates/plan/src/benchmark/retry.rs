//! When a failed step is tried again: how often, after which failures, how long after.

use std::time::Duration;

use crate::event::FailureClass;

/// How often a step is tried, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// Attempts in total, at least 1.
    pub attempts: u32,
    /// Before the second attempt.
    pub delay: Duration,
    /// By this factor (1 and more) each further pause is longer than the one before.
    pub backoff: f64,
    /// The longest pause.
    pub max_delay: Duration,
    /// After failures of these classes only.
    pub on: Vec<FailureClass>,
}

/// The longest pause of a retry that does not say one.
const MAX_DELAY: Duration = Duration::from_mins(10);

/// Of a retry that does not say which. Neither more memory nor a missing command comes by itself.
const DEFAULT_CLASSES: [FailureClass; 5] = [
    FailureClass::Step,
    FailureClass::TimedOut,
    FailureClass::NotStarted,
    FailureClass::EngineUnreachable,
    FailureClass::Throttled,
];

impl Retry {
    /// So many attempts with the same pause between them.
    pub fn times(attempts: u32, delay: Duration) -> Self {
        let on = DEFAULT_CLASSES.to_vec();
        Self { attempts, delay, backoff: 1.0, max_delay: MAX_DELAY.max(delay), on }
    }

    /// One attempt.
    pub fn once() -> Self {
        Self::times(1, Duration::ZERO)
    }

    /// What a step gets that says nothing of retries, and which may run again: a cloud that was asked too fast is
    /// asked twice more, later.
    pub fn when_throttled() -> Self {
        Self { backoff: 2.0, on: vec![FailureClass::Throttled], ..Self::times(3, Duration::from_secs(10)) }
    }

    /// Whether another attempt follows a failure of this class. `failures` counts it.
    pub fn again(&self, failures: u32, class: FailureClass) -> bool {
        failures < self.attempts && self.on.contains(&class)
    }

    /// The pause before that attempt. Steps that a cloud throttled at the same moment must not come back at the same
    /// moment, so for them half of the pause is drawn: `spread` is uniform over its range ("equal jitter": Brooker,
    /// Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
    pub fn pause(&self, failures: u32, class: FailureClass, spread: u32) -> Duration {
        let factor = self.backoff.powf(f64::from(failures.saturating_sub(1)));
        let longest = self.max_delay.as_secs_f64();
        // A factor beyond all numbers times no delay at all is not a number; `min` then takes the other side.
        let pause = if self.delay.is_zero() { 0.0 } else { (self.delay.as_secs_f64() * factor).min(longest) };
        let drawn = match class {
            FailureClass::Throttled => 0.5 + f64::from(spread) / f64::from(u32::MAX) / 2.0,
            _ => 1.0,
        };
        Duration::from_secs_f64(pause * drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_pauses(backoff: f64, delay: u64, longest: u64, seconds: &[u64]) {
        let max_delay = Duration::from_secs(longest);
        let retry = Retry { backoff, max_delay, ..Retry::times(100, Duration::from_secs(delay)) };
        for (index, expected) in seconds.iter().enumerate() {
            let failures = u32::try_from(index).unwrap() + 1;
            assert_eq!(
                retry.pause(failures, FailureClass::Step, 7),
                Duration::from_secs(*expected),
                "after failure {failures}"
            );
        }
    }

    #[test]
    fn pauses_grow_by_the_factor_up_to_the_longest() {
        check_pauses(1.0, 30, 600, &[30, 30, 30]);
        check_pauses(2.0, 10, 60, &[10, 20, 40, 60, 60]);
        check_pauses(1.5, 4, 600, &[4, 6, 9]);
        check_pauses(2.0, 0, 60, &[0, 0]);
        let far = Retry { backoff: 100.0, ..Retry::times(100, Duration::from_secs(1)) };
        assert_eq!(far.pause(99, FailureClass::Step, 0), MAX_DELAY);
        assert_eq!(Retry { delay: Duration::ZERO, ..far }.pause(400, FailureClass::Step, 0), Duration::ZERO);
    }

    #[test]
    fn only_the_pauses_of_throttled_steps_are_drawn_between_half_and_whole() {
        let retry = Retry::times(3, Duration::from_secs(10));
        let pause = |class, spread| retry.pause(1, class, spread).as_secs_f64();
        assert!((pause(FailureClass::Throttled, 0) - 5.0).abs() < 1e-6);
        assert!((pause(FailureClass::Throttled, u32::MAX) - 10.0).abs() < 1e-6);
        assert!((pause(FailureClass::Throttled, u32::MAX / 2) - 7.5).abs() < 1e-6);
        assert!((pause(FailureClass::TimedOut, 0) - 10.0).abs() < 1e-6);
    }

    #[test]
    fn attempts_and_classes_decide_whether_another_follows() {
        let retry = Retry::times(3, Duration::ZERO);
        assert!(retry.again(2, FailureClass::Step));
        assert!(!retry.again(3, FailureClass::Step));
        assert!(!retry.again(1, FailureClass::OutOfMemory));
        assert!(!retry.again(1, FailureClass::NoCommand));
        assert!(!Retry::once().again(1, FailureClass::Throttled));
        assert!(Retry::when_throttled().again(2, FailureClass::Throttled));
        assert!(!Retry::when_throttled().again(1, FailureClass::Step));
    }
}
