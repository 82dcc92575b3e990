//! What a load was, on one screen.

use std::path::Path;

use crate::printable::printable;
use sb_measurement::{LoadSummary, Outcome, Percentiles};
use sb_plan::id::StepId;

pub(super) fn lines(step: &StepId, summary: &LoadSummary, folder: &Path) -> Vec<String> {
    let seconds = (summary.ended.micros() - summary.started.micros()) as f64 / 1e6;
    let rate = if seconds > 0.0 { summary.sent as f64 / seconds } else { 0.0 };
    // Where there is no plan, nothing is missing either.
    let planned = summary.planned.map(|planned| format!("planned {planned}, ")).unwrap_or_default();
    let mut lines = vec![format!(
        "{:<10} {step}: {planned}sent {} in {seconds:.1} s ({rate:.1}/s), answered {}, failed {}, dropped {}",
        "load", summary.sent, summary.answered, summary.failed, summary.dropped
    )];
    let mut line = |name: &str, text: String| lines.push(format!("{:<10}   {name:<13}{text}", ""));
    let spread = |of: Percentiles| {
        format!(
            "p50 {:.2}  p90 {:.2}  p95 {:.2}  p99 {:.2}  max {:.2} ms",
            of.p50, of.p90, of.p95, of.p99, of.max
        )
    };
    if let Some(latency) = summary.latency_ms {
        line("latency", spread(latency));
    }
    if let Some(latency) = summary.latency_from_planned_ms {
        line("from planned", spread(latency));
    }
    if let Some(latency) = summary.failed_latency_ms {
        line("of failures", spread(latency));
    }
    if let Some(late) = summary.lateness_ms {
        line("sent late by", format!("p50 {:.3}  p99 {:.3}  max {:.3} ms", late.p50, late.p99, late.max));
    }
    if summary.outcomes.keys().any(|outcome| *outcome != Outcome::Ok) {
        line("outcomes", summary.outcome_text(|_| true));
    }
    for note in &summary.notes {
        line("note", printable(note).into_owned());
    }
    line("files", folder.display().to_string());
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use sb_measurement::{Lateness, Timestamp};

    #[test]
    fn a_load_fits_on_one_screen_with_all_that_tells_whether_it_was_good() {
        let latency = Percentiles { p50: 1.25, p90: 2.0, p95: 3.0, p99: 14.333, max: 2000.0 };
        let summary = LoadSummary {
            version: LoadSummary::VERSION,
            planned: Some(100),
            sent: 98,
            answered: 97,
            failed: 2,
            not_sent: 0,
            dropped: 2,
            outcomes: BTreeMap::from([
                (Outcome::Ok, 96),
                (Outcome::FailedCheck, 1),
                (Outcome::Reset, 1),
                (Outcome::Dropped, 2),
            ]),
            failed_statuses: BTreeMap::from([(500, 1)]),
            failed_checks: BTreeMap::new(),
            latency_ms: Some(latency),
            latency_from_planned_ms: Some(latency),
            failed_latency_ms: Some(latency),
            lateness_ms: Some(Lateness { p50: 0.001, p99: 0.09, max: 1.5 }),
            started: Timestamp::from_micros(1_000_000),
            ended: Timestamp::from_micros(11_000_000),
            cancelled: false,
            iterations: None,
            closed_loop: None,
            notes: vec!["Mind the gap.".to_owned()],
            invalid: vec![],
        };
        let text = lines(&StepId::new("a/load"), &summary, Path::new("logs/x")).join("\n");
        insta::assert_snapshot!(text, @r"
        load       a/load: planned 100, sent 98 in 10.0 s (9.8/s), answered 97, failed 2, dropped 2
                     latency      p50 1.25  p90 2.00  p95 3.00  p99 14.33  max 2000.00 ms
                     from planned p50 1.25  p90 2.00  p95 3.00  p99 14.33  max 2000.00 ms
                     of failures  p50 1.25  p90 2.00  p95 3.00  p99 14.33  max 2000.00 ms
                     sent late by p50 0.001  p99 0.090  max 1.500 ms
                     outcomes     ok 96; failed_check 1: HTTP 500 ×1; reset 1; dropped 2
                     note         Mind the gap.
                     files        logs/x
        ");
        let unplanned =
            LoadSummary { planned: None, latency_from_planned_ms: None, lateness_ms: None, ..summary };
        let lines = lines(&StepId::new("a/load"), &unplanned, Path::new("logs/x"));
        assert_eq!(
            lines[0],
            "load       a/load: sent 98 in 10.0 s (9.8/s), answered 97, failed 2, dropped 2"
        );
    }
}
