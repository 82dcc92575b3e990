//! What the latencies of a closed loop leave out, as far as they themselves tell.

use std::time::Duration;

use super::record::{self, Tally};
use sb_measurement::{ClosedLoop, LoadSummary};

/// Adds to the summary of a load of users what those who read it must know. `think_time`: the mean, by the clock.
pub(super) fn describe(summary: &mut LoadSummary, tally: &Tally, users: u64, think_time: Duration) {
    let latency = &tally.latency;
    let interval = (!latency.is_empty()).then(|| {
        // An invocation may be a sequence: its requests follow each other.
        let requests = (tally.sent as f64 / tally.begun.max(1) as f64).max(1.0);
        let median = latency.value_at_quantile(0.5) as f64;
        (median * requests + think_time.as_micros() as f64).max(1.0)
    });
    let corrected =
        interval.and_then(|interval| record::percentiles(&latency.clone_correct(interval as u64)));
    let about = ClosedLoop {
        users,
        think_time_ms: think_time.as_secs_f64() * 1e3,
        interval_ms: interval.map(|interval| interval / 1e3),
        corrected_latency_ms: corrected,
    };
    summary.notes.push(sentence(&about, summary));
    summary.closed_loop = Some(about);
}

fn sentence(about: &ClosedLoop, summary: &LoadSummary) -> String {
    let who = match about.users {
        1 => "one user".to_owned(),
        users => format!("{users} users"),
    };
    let what = format!(
        "This was a closed loop of {who}: a user who waits for an answer sends nothing meanwhile, so requests that \
         would have met the same stall are missing (coordinated omission)."
    );
    match (summary.latency_ms, about.corrected_latency_ms) {
        (Some(measured), Some(corrected)) => format!(
            "{what} With them, p99 would be about {:.2} ms instead of {:.2} ms, and the median {:.2} ms instead of {:.2} ms.",
            corrected.p99, measured.p99, corrected.p50, measured.p50
        ),
        _ => what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::summary;
    use sb_measurement::Percentiles;

    /// One user sends every 10 ms and is answered in 1 ms, but for one stall of a second: an open loop would have sent some
    /// 90 requests more, and they would have waited for all lengths between none and a second.
    #[test]
    fn a_stall_stands_for_the_requests_that_it_held_back() {
        let mut tally = Tally::new();
        (tally.begun, tally.sent) = (1000, 1000);
        for _ in 0..999 {
            tally.latency.record(1_000).unwrap();
        }
        tally.latency.record(1_000_000).unwrap();
        let latency = record::percentiles(&tally.latency);
        let mut summary = LoadSummary { latency_ms: latency, ..summary() };
        describe(&mut summary, &tally, 1, Duration::from_millis(9));
        let about = summary.closed_loop.unwrap();
        assert!((about.interval_ms.unwrap() - 10.0).abs() < 0.02, "{about:?}");
        assert!((about.think_time_ms - 9.0).abs() < 1e-9);
        let Percentiles { p50, p95, p99, .. } = about.corrected_latency_ms.unwrap();
        // Of 1099 requests, 100 waited 10, 20 … 1000 ms: the 1088th of them waits 890 ms.
        assert!((p50 - 1.0).abs() < 0.01 && (p99 / 890.0 - 1.0).abs() < 0.02, "{p50} {p99}");
        assert!((p95 / 450.0 - 1.0).abs() < 0.03, "{p95}");
        assert!((summary.latency_ms.unwrap().p99 - 1.0).abs() < 0.01, "what was measured stays");
        let note = summary.notes.last().unwrap();
        assert!(note.contains("closed loop of one user") && note.contains("instead of 1.00 ms"), "{note}");
    }

    #[test]
    fn without_an_answer_nothing_is_made_up() {
        let mut summary = LoadSummary { latency_ms: None, ..summary() };
        describe(&mut summary, &Tally::new(), 5, Duration::ZERO);
        let about = summary.closed_loop.unwrap();
        assert_eq!((about.interval_ms, about.corrected_latency_ms), (None, None));
        assert!(summary.notes.last().unwrap().ends_with("(coordinated omission)."), "{:?}", summary.notes);
    }
}
