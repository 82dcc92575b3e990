//! Waits until a request is due, to some microseconds.
//!
//! The timers of the async runtime tick in milliseconds, so pacing has a thread of its own, which sleeps until shortly
//! before the time and spins for the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::measurement::Timestamp;

/// How long before a due time sleeping ends and spinning begins: what waking up takes on an idle machine.
const SPIN: Duration = Duration::from_micros(60);

/// Made on the pacing thread, waits on it.
pub(super) struct Pacer {
    stop: Stop,
}

/// Stops a pacer from another thread.
#[derive(Clone)]
pub(super) struct Stop {
    stopped: Arc<AtomicBool>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self { stopped: Arc::new(AtomicBool::new(false)) }
    }

    pub(super) fn is_set(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub(super) fn set(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Sets it and wakes the pacer on `thread`.
    pub(super) fn set_and_wake(&self, thread: &Thread) {
        self.set();
        thread.unpark();
    }
}

impl Pacer {
    pub(super) fn on_this_thread(stop: Stop) -> Self {
        // By default Linux may let a thread sleep 50 µs longer, to save wake-ups.
        #[cfg(target_os = "linux")]
        let _ = nix::sys::prctl::set_timerslack(1);
        Self { stop }
    }

    /// Returns at `due`, at once if that is past; `false` as soon as the pacer is stopped.
    pub(super) fn wait_until(&self, due: Instant) -> bool {
        loop {
            if self.stop.is_set() {
                return false;
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            match left.checked_sub(SPIN) {
                Some(sleep) => std::thread::park_timeout(sleep),
                None => std::hint::spin_loop(),
            }
        }
    }
}

/// Turns monotonic times into times of day by one reading of both clocks, so that a clock that is set during a load does
/// not bend its measurements.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    origin: Instant,
    /// Microseconds since 1970 at `origin`.
    micros: i64,
}

impl Clock {
    pub(super) fn new() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), micros: i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX) }
    }

    pub(super) fn time(&self, instant: Instant) -> Timestamp {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let after = micros(instant.saturating_duration_since(self.origin));
        let before = micros(self.origin.saturating_duration_since(instant));
        Timestamp::from_micros(self.micros.saturating_add(after).saturating_sub(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_to_the_due_time_and_never_returns_early() {
        let pacer = Pacer::on_this_thread(Stop::new());
        let mut lateness: Vec<Duration> = (0..40)
            .map(|_| {
                let due = Instant::now() + Duration::from_millis(3);
                assert!(pacer.wait_until(due));
                Instant::now().checked_duration_since(due).expect("not early")
            })
            .collect();
        lateness.sort();
        // Far below the millisecond of a timer wheel, even on a machine that is busy with other tests.
        assert!(lateness[5] < Duration::from_micros(300), "{lateness:?}");
    }

    #[test]
    fn a_stopped_pacer_wakes_at_once() {
        let stop = Stop::new();
        let pacing = {
            let stop = stop.clone();
            std::thread::spawn(move || {
                Pacer::on_this_thread(stop).wait_until(Instant::now() + Duration::from_mins(10))
            })
        };
        std::thread::sleep(Duration::from_millis(20));
        let begin = Instant::now();
        stop.set_and_wake(pacing.thread());
        assert!(!pacing.join().unwrap());
        assert!(begin.elapsed() < Duration::from_secs(5));
    }
}
