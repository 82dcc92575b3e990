//! Whether the machine was too busy to measure: times that are long because this machine had no processor left say nothing
//! about what was measured.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use sb_measurement::LoadSummary;

/// A load that is shorter tells nothing: the kernel counts in hundredths of a second.
const SHORTEST: Duration = Duration::from_secs(1);
/// From these on, people are told. Shares of the time of the load, and milliseconds.
const MOST_WAITING: f64 = 0.5;
const LEAST_IDLE: f64 = 0.02;
const MOST_STOLEN: f64 = 0.05;
const MOST_LATE_MS: f64 = 50.0;

/// What the kernel had counted when a load began.
pub(super) struct Busy {
    began: Instant,
    processors: Option<ProcessorTimes>,
    /// Microseconds during which some process waited for a processor.
    waited: Option<u64>,
}

/// Of all processors together, in ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ProcessorTimes {
    all: u64,
    idle: u64,
    /// Taken by the host of a virtual machine.
    stolen: u64,
}

impl Busy {
    pub(super) fn begin() -> Self {
        let (processors, waited) = counted();
        Self { began: Instant::now(), processors, waited }
    }

    /// A sentence about the load that has ended, where there is something to tell.
    pub(super) fn sentence(&self, summary: &LoadSummary) -> Option<String> {
        let took = self.began.elapsed();
        let (processors, waited) = counted();
        let share_of = |before: Option<ProcessorTimes>, after: Option<ProcessorTimes>| {
            let (before, after) = (before?, after?);
            let all = after.all.saturating_sub(before.all) as f64;
            let of = |part: fn(ProcessorTimes) -> u64| part(after).saturating_sub(part(before)) as f64 / all;
            (all > 0.0).then(|| (of(|times| times.idle), of(|times| times.stolen)))
        };
        let shares = share_of(self.processors, processors);
        let waited = self.waited.zip(waited);
        let found = Found {
            waiting: waited
                .map(|(before, after)| after.saturating_sub(before) as f64 / took.as_micros() as f64),
            idle: shares.map(|(idle, _)| idle),
            stolen: shares.map(|(_, stolen)| stolen),
            late_ms: summary.lateness_ms.map(|lateness| lateness.p99),
        };
        (took >= SHORTEST).then(|| found.sentence())?
    }
}

/// What was found of the time of a load.
struct Found {
    waiting: Option<f64>,
    idle: Option<f64>,
    stolen: Option<f64>,
    late_ms: Option<f64>,
}

impl Found {
    fn sentence(&self) -> Option<String> {
        let percent = |share: f64| (share * 100.0).clamp(0.0, 100.0);
        let mut facts = Vec::new();
        // Without pressure of the kernel (before 4.20, or switched off) only idle time tells of it.
        match (self.waiting, self.idle) {
            (Some(waiting), _) if waiting > MOST_WAITING => {
                facts.push(format!(
                    "processes waited for a processor during {:.0} % of the time",
                    percent(waiting)
                ));
            }
            (None, Some(idle)) if idle < LEAST_IDLE => {
                facts.push(format!("its processors were idle for {:.1} % of the time", percent(idle)));
            }
            _ => {}
        }
        if let Some(stolen) = self.stolen.filter(|stolen| *stolen > MOST_STOLEN) {
            facts.push(format!("its host took {:.0} % of its processor time", percent(stolen)));
        }
        if let Some(late) = self.late_ms.filter(|late| *late > MOST_LATE_MS) {
            facts.push(format!("one invocation in a hundred was sent {late:.0} ms late or later"));
        }
        let mut sentence = "This machine was too busy to measure well: ".to_owned();
        let (last, others) = facts.split_last()?;
        if others.is_empty() {
            sentence.push_str(last);
        } else {
            let _ = write!(sentence, "{}, and {last}", others.join(", "));
        }
        sentence.push_str(". Stop other programs and measure again: latencies may be too high.");
        Some(sentence)
    }
}

fn counted() -> (Option<ProcessorTimes>, Option<u64>) {
    let read = |path| fs::read_to_string(path).ok();
    (
        read("/proc/stat").and_then(|text| processor_times(&text)),
        read("/proc/pressure/cpu").and_then(|text| waited(&text)),
    )
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
fn processor_times(text: &str) -> Option<ProcessorTimes> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).take(8).collect();
    let [.., idle, waiting, _, _, stolen] = ticks[..] else { return None };
    Some(ProcessorTimes { all: ticks.iter().sum(), idle: idle + waiting, stolen })
}

/// The total of the line `some` of `/proc/pressure/cpu`.
fn waited(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    line.split_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_the_kernel_are_read() {
        let stat = "cpu  10 1 5 80 4 0 2 3 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(processor_times(stat), Some(ProcessorTimes { all: 105, idle: 84, stolen: 3 }));
        assert_eq!(processor_times("cpu  1 2\n"), None);
        let pressure = "some avg10=1.00 avg60=0.50 avg300=0.10 total=12345\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(waited(pressure), Some(12345));
        assert_eq!(waited(""), None);
    }

    #[track_caller]
    fn check(waiting: Option<f64>, idle: f64, stolen: f64, late_ms: f64, expected: Option<&str>) {
        let found = Found { waiting, idle: Some(idle), stolen: Some(stolen), late_ms: Some(late_ms) };
        let sentence = found.sentence();
        assert_eq!(sentence.is_some(), expected.is_some(), "{sentence:?}");
        assert!(sentence.unwrap_or_default().contains(expected.unwrap_or_default()));
    }

    #[test]
    fn a_busy_machine_is_told_with_what_shows_it() {
        check(Some(0.2), 0.0, 0.01, 3.0, None);
        check(
            Some(0.98),
            0.0,
            0.0,
            3.0,
            Some("processes waited for a processor during 98 % of the time. Stop"),
        );
        check(None, 0.001, 0.0, 3.0, Some("its processors were idle for 0.1 % of the time"));
        check(None, 0.4, 0.0, 3.0, None);
        check(Some(0.1), 0.4, 0.25, 3.0, Some("its host took 25 % of its processor time"));
        check(
            Some(0.9),
            0.4,
            0.25,
            120.0,
            Some(
                "90 % of the time, its host took 25 % of its processor time, and one invocation in a hundred was sent 120 ms late",
            ),
        );
    }
}
