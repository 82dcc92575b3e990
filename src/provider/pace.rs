//! How fast a service is asked: faster as long as it answers, half as fast when it throttles. This is additive
//! increase and multiplicative decrease, after a start that doubles every second.

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rand::RngExt as _;
use tokio::time::Instant;

/// Requests per second.
const FIRST_RATE: f64 = 50.0;
const LEAST_RATE: f64 = 1.0;
const MOST_RATE: f64 = 1_000.0;
/// By so much the rate grows in a second, once the service has throttled.
const GROWTH: f64 = 5.0;
/// Throttled requests within this time are one sign: they were sent at one rate.
const ONE_SIGN: Duration = Duration::from_millis(300);

/// Shared by all requests to one service.
pub(super) struct Pace(Mutex<State>);

struct State {
    rate: f64,
    next: Instant,
    /// When the rate was last cut.
    cut: Option<Instant>,
    requests: u64,
    throttled: u64,
}

impl Pace {
    pub(super) fn new() -> Self {
        let next = Instant::now();
        Self(Mutex::new(State { rate: FIRST_RATE, next, cut: None, requests: 0, throttled: 0 }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Waits until the next request may be sent.
    pub(super) async fn turn(&self) {
        let at = {
            let mut state = self.lock();
            let at = state.next.max(Instant::now());
            state.next = at + Duration::from_secs_f64(1.0 / state.rate);
            state.requests += 1;
            at
        };
        tokio::time::sleep_until(at).await;
    }

    pub(super) fn answered(&self) {
        let mut state = self.lock();
        // As many answers as the rate says come in a second.
        let growth = if state.cut.is_none() { 1.0 } else { GROWTH / state.rate };
        state.rate = (state.rate + growth).min(MOST_RATE);
    }

    pub(super) fn throttled(&self) {
        let mut state = self.lock();
        state.throttled += 1;
        let now = Instant::now();
        if state.cut.is_none_or(|cut| now.duration_since(cut) > ONE_SIGN) {
            state.rate = (state.rate / 2.0).max(LEAST_RATE);
            state.cut = Some(now);
        }
    }

    /// Requests sent, and how many of them were throttled.
    pub(super) fn counts(&self) -> (u64, u64) {
        let state = self.lock();
        (state.requests, state.throttled)
    }
}

/// Before the `attempt`th try of a request, from 1: anything up to a limit that doubles (full jitter), so that requests
/// that failed together do not come again together.
pub(super) fn back_off(attempt: u32) -> Duration {
    const LONGEST: f64 = 10.0;
    let limit = (0.1 * f64::from(1_u32 << attempt.min(20))).min(LONGEST);
    Duration::from_secs_f64(rand::rng().random_range(0.0..limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_rate_doubles_until_it_is_throttled_and_then_grows_slowly() {
        let pace = Pace::new();
        let rate = || pace.lock().rate;
        (0..50).for_each(|_| pace.answered());
        assert!((rate() - 100.0).abs() < 0.01);
        // Signs that come together cut the rate once.
        (0..9).for_each(|_| pace.throttled());
        assert!((rate() - 50.0).abs() < 0.01);
        (0..50).for_each(|_| pace.answered());
        assert!((54.0..=55.0).contains(&rate()), "{}", rate());
        assert_eq!(pace.counts(), (0, 9));
    }

    #[test]
    fn a_back_off_stays_within_its_limit() {
        for attempt in 1..100 {
            assert!(back_off(attempt) <= Duration::from_secs(10));
        }
    }
}
