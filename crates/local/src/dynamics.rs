//! Declared delays and faults, drawn from a seed.
//!
//! Every kind has a row of draws of its own for each function or service. So the n-th cold start of a function waits
//! as long in every run with the same seed.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;
use sha2::{Digest, Sha256};

use sb_sam::dynamics::{Delay, Dynamics as Declared};

/// What a slow call of a service takes longer.
const SLOW: Duration = Duration::from_secs(2);

pub(super) struct Dynamics {
    declared: Declared,
    /// By kind, and name of the function or service.
    rows: Mutex<HashMap<(&'static str, String), ChaCha8Rng>>,
}

impl Dynamics {
    pub(crate) fn new(declared: Declared) -> Self {
        Self { declared, rows: Mutex::default() }
    }

    /// Waits as long as the next cold start of a function shall take longer.
    pub(crate) async fn cold_start(&self, function: &str) {
        wait(self.delay("cold_start", function, self.declared.cold_start)).await;
    }

    /// Waits for as long as an event shall be on its way to a function.
    pub(crate) async fn trigger(&self, function: &str) {
        wait(self.delay("trigger", function, self.declared.trigger)).await;
    }

    /// Waits before a call of a service (`sqs`, `dynamodb` …) is passed on.
    pub(crate) async fn service(&self, service: &str) {
        wait(self.delay("service", service, self.declared.service)).await;
        if self.happens("slow_service", service, self.declared.slow_service) {
            wait(SLOW).await;
        }
    }

    /// Whether this invocation shall fail instead of reaching the function.
    pub(crate) fn function_error(&self, function: &str) -> bool {
        self.happens("function_error", function, self.declared.function_error)
    }

    /// Whether this call shall be refused as one too many.
    pub(crate) fn throttle(&self, function: &str) -> bool {
        self.happens("throttle", function, self.declared.throttle)
    }

    /// Whether an event or a message for this function shall be lost.
    pub(crate) fn lose_message(&self, function: &str) -> bool {
        self.happens("lost_message", function, self.declared.lost_message)
    }

    fn delay(&self, kind: &'static str, name: &str, delay: Option<Delay>) -> Duration {
        match delay {
            None => Duration::ZERO,
            Some(Delay::Fixed(duration)) => duration,
            Some(delay) => delay.at(self.draw(kind, name, |row| row.sample(StandardNormal))),
        }
    }

    fn happens(&self, kind: &'static str, name: &str, rate: f64) -> bool {
        rate > 0.0 && self.draw(kind, name, RngExt::random::<f64>) < rate
    }

    fn draw(&self, kind: &'static str, name: &str, one: impl FnOnce(&mut ChaCha8Rng) -> f64) -> f64 {
        let mut rows = self.rows.lock();
        let row = rows.entry((kind, name.to_owned())).or_insert_with(|| {
            let seed = Sha256::digest(format!("{}/{kind}/{name}", self.declared.seed));
            ChaCha8Rng::from_seed(seed.into())
        });
        one(row)
    }
}

async fn wait(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLD: Delay = Delay::LogNormal { median: Duration::from_millis(200), p99: Duration::from_secs(1) };

    fn draws(seed: u64, name: &str) -> Vec<Duration> {
        let dynamics = Dynamics::new(Declared { seed, cold_start: Some(COLD), ..Declared::default() });
        (0..10_000).map(|_| dynamics.delay("cold_start", name, Some(COLD))).collect()
    }

    #[test]
    fn the_draws_have_the_declared_distribution_and_are_those_of_the_seed() {
        let mut delays = draws(7, "f");
        assert_eq!(delays, draws(7, "f"));
        assert_ne!(delays[..10], draws(8, "f")[..10]);
        assert_ne!(delays[..10], draws(7, "g")[..10]);
        delays.sort();
        let (median, p99) = (delays[5_000].as_secs_f64(), delays[9_900].as_secs_f64());
        assert!((0.19..0.21).contains(&median) && (0.9..1.1).contains(&p99), "{median} {p99}");
    }

    #[test]
    fn one_kind_of_draw_does_not_move_another() {
        let declared = Declared { seed: 7, throttle: 0.3, lost_message: 0.3, ..Declared::default() };
        let alone = Dynamics::new(declared.clone());
        let both = Dynamics::new(declared);
        for _ in 0..1_000 {
            both.lose_message("f");
            assert_eq!(alone.throttle("f"), both.throttle("f"));
        }
    }

    #[test]
    fn faults_come_at_their_rates() {
        let share = |rate: f64| {
            let dynamics = Dynamics::new(Declared { function_error: rate, ..Declared::default() });
            (0..10_000).filter(|_| dynamics.function_error("f")).count()
        };
        assert_eq!((share(0.0), share(1.0)), (0, 10_000));
        assert!((900..1_100).contains(&share(0.1)), "{}", share(0.1));
    }
}
