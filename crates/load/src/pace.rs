//! Waits until a request is due, to some microseconds.
//!
//! The timers of the async runtime tick in milliseconds; the kernel's are exact, and can be waited for beside the sockets.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sb_measurement::Timestamp;

/// How long before a due time sleeping ends and looking at the clock begins: what waking up takes on an idle machine.
const SPIN: Duration = Duration::from_micros(60);

/// Where requests are at least this far apart, looking at the clock costs at most a hundredth of a processor.
const SPARSE: Duration = Duration::from_millis(6);

/// Requests that are due within this time are sent together: waking up for each would take the time that they need.
const TOGETHER: Duration = Duration::from_micros(200);

/// Waits for due times; belongs to the runtime on whose thread it was made.
pub(super) struct Pacer {
    timer: timer::Timer,
    latest: Option<Instant>,
}

impl Pacer {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { timer: timer::Timer::new()?, latest: None })
    }

    /// Returns at `due` or shortly after, at once if that is past; never before.
    pub(super) async fn wait_until(&mut self, due: Instant) -> std::io::Result<()> {
        let is_sparse = self.latest.is_none_or(|latest| due.saturating_duration_since(latest) >= SPARSE);
        self.latest = Some(due);
        let now = Instant::now();
        if is_sparse {
            if let Some(early) = due.checked_sub(SPIN).filter(|early| *early > now) {
                self.timer.sleep_until(early).await?;
            }
            while Instant::now() < due {
                // Sockets are served meanwhile.
                tokio::task::yield_now().await;
            }
            Ok(())
        } else if due > now {
            self.timer.sleep_until(due.max(now + TOGETHER)).await
        } else {
            Ok(())
        }
    }
}

#[cfg(target_os = "linux")]
mod timer {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::time::Instant;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            #[expect(
                deprecated,
                reason = "its successor is unsafe because of types that lie about their descriptor; this one cannot"
            )]
            let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
            Ok(Self(timer))
        }

        pub(super) async fn sleep_until(&self, due: Instant) -> io::Result<()> {
            const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
            loop {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Ok(());
                }
                // Setting it anew takes an earlier expiry back, so that none need be read.
                let once = Itimerspec {
                    it_interval: NEVER,
                    it_value: Timespec {
                        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                        tv_nsec: left.subsec_nanos().into(),
                    },
                };
                timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
                self.0.readable().await?.clear_ready();
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod timer {
    use std::io;
    use std::time::Instant;

    /// Exact to a millisecond.
    pub(super) struct Timer;

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        pub(super) async fn sleep_until(&self, due: Instant) -> io::Result<()> {
            tokio::time::sleep_until(due.into()).await;
            Ok(())
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

    /// How late, sorted.
    fn lateness(gap: Duration, count: u32) -> Vec<Duration> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pacer = Pacer::new().unwrap();
            let begin = Instant::now();
            let mut lateness = Vec::new();
            for number in 1..=count {
                let due = begin + gap * number;
                pacer.wait_until(due).await.unwrap();
                lateness.push(Instant::now().checked_duration_since(due).expect("not early"));
            }
            lateness.sort();
            lateness
        })
    }

    #[test]
    fn waits_to_the_due_time_and_never_returns_early() {
        // Far below the millisecond of a timer wheel. A machine that is busy with other tests gets several tries.
        for gap in [Duration::from_millis(7), Duration::from_millis(2)] {
            let mut tries = (0..50).map(|_| lateness(gap, 40));
            assert!(tries.any(|lateness| lateness[5] < Duration::from_micros(300)));
        }
    }
}
