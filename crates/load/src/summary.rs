//! The summary of a load, and whether it may be used.

use super::record::Tally;
use sb_measurement::{LoadSummary, Outcome, Times, Timestamp, counted};
use sb_workload::Tolerances;

pub(super) fn summarize(
    tally: &Tally,
    times: &Times,
    planned: Option<u64>,
    cancelled: bool,
    tolerances: &Tolerances,
    started: Timestamp,
    ended: Timestamp,
) -> LoadSummary {
    let mut summary = LoadSummary {
        version: LoadSummary::VERSION,
        planned,
        sent: tally.sent,
        answered: tally.answered,
        failed: tally.failed,
        not_sent: tally.not_sent,
        dropped: tally.dropped,
        outcomes: tally.outcomes(),
        failed_statuses: tally.failed_statuses(),
        failed_checks: tally.failed_checks(),
        latency_ms: None,
        latency_from_planned_ms: None,
        failed_latency_ms: None,
        lateness_ms: None,
        started,
        ended,
        cancelled,
        iterations: None,
        closed_loop: None,
        notes: vec![],
        invalid: vec![],
    };
    summary.set_times(times);
    summary.invalid = verdict(&summary, tally.begun + tally.dropped, tolerances);
    summary
}

/// One sentence per reason not to use the measurement. `over`: the invocations that began, or were dropped. The error rate is
/// that of all requests that were tried, the share of dropped ones is of planned, and the lateness is that of the latest
/// invocation.
fn verdict(summary: &LoadSummary, over: u64, tolerances: &Tolerances) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(planned) = summary.planned.filter(|planned| !summary.cancelled && over != *planned) {
        let planned = counted(planned, "invocation");
        reasons.push(format!("Only {over} of {planned} are accounted for: sb lost some, please report it."));
    }
    reasons.extend(common_verdict(summary, over, tolerances));
    reasons
}

/// Of a load that k6 sent. Its scenarios begin or end with an invocation more or less than the plan has, and what is
/// under way when one ends may be given up; more than one per cent is another load.
pub(super) fn k6_verdict(summary: &LoadSummary, tolerances: &Tolerances) -> Vec<String> {
    let mut reasons = Vec::new();
    let made = summary.iterations.unwrap_or(0) + summary.dropped;
    if let Some(planned) = summary.planned.filter(|planned| made.abs_diff(*planned) > 1 + planned / 100)
        && !summary.cancelled
    {
        reasons.push(format!("k6 came to {made} of {}.", counted(planned, "planned invocation")));
    }
    reasons.extend(common_verdict(summary, made, tolerances));
    reasons
}

/// `over`: invocations that are over, sent or not.
fn common_verdict(summary: &LoadSummary, over: u64, tolerances: &Tolerances) -> Vec<String> {
    let mut reasons = Vec::new();
    if summary.cancelled {
        let after = match summary.planned {
            Some(planned) => format!("{over} of {}", counted(planned, "invocation")),
            None => counted(over, "invocation"),
        };
        reasons.push(format!("The load was cancelled after {after}."));
    }
    // No tolerance makes a measurement of this: the load was never the one that was planned.
    if let Some(exhausted) = summary.outcomes.get(&Outcome::Exhausted) {
        reasons.push(format!(
            "{exhausted} of {} never left, since this machine ran out of open files, ports or memory (exhausted): \
             raise `ulimit -n`, or send less at once.",
            counted(summary.sent + summary.not_sent, "request")
        ));
    }
    let tried = summary.sent + summary.not_sent;
    let failed = share(summary.failed, tried);
    if failed > tolerances.max_error_rate {
        reasons.push(format!(
            "{} of {} failed ({}): an error rate of {} where {} is tolerated (max_error_rate).",
            summary.failed,
            counted(tried, "request"),
            summary.outcome_text(Outcome::is_failure),
            percent(failed),
            percent(tolerances.max_error_rate)
        ));
    }
    // Where no number was planned, what is over is all that there is.
    let due = summary.planned.unwrap_or(over);
    let dropped = share(summary.dropped, due);
    if dropped > tolerances.max_dropped {
        reasons.push(format!(
            "{} of {} dropped: {} where {} is tolerated (max_dropped).",
            summary.dropped,
            if due == 1 { "1 invocation was".to_owned() } else { format!("{due} invocations were") },
            percent(dropped),
            percent(tolerances.max_dropped)
        ));
    }
    if let (Some(most), Some(lateness)) = (tolerances.max_lateness, summary.lateness_ms) {
        let most = most.as_secs_f64() * 1e3;
        if lateness.max > most {
            reasons.push(format!(
                "An invocation was sent {:.3} ms late where {most:.3} ms is tolerated (max_lateness).",
                lateness.max
            ));
        }
    }
    reasons
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Two significant digits below one per cent, so that a tolerance of 0.0001 does not read as zero.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 1.0 || percent == 0.0 {
        return format!("{percent:.1} %");
    }
    let places = (1.0 - percent.log10().floor()).clamp(1.0, 12.0) as usize;
    format!("{percent:.places$} %")
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use sb_measurement::Lateness;

    pub(crate) fn summary() -> LoadSummary {
        LoadSummary {
            version: 1,
            planned: Some(1000),
            sent: 990,
            answered: 985,
            failed: 11,
            not_sent: 0,
            dropped: 10,
            outcomes: BTreeMap::from([(Outcome::Ok, 979), (Outcome::FailedCheck, 6), (Outcome::Reset, 5)]),
            failed_statuses: BTreeMap::from([(500, 4), (502, 2)]),
            failed_checks: BTreeMap::new(),
            latency_ms: None,
            latency_from_planned_ms: None,
            failed_latency_ms: None,
            lateness_ms: Some(Lateness { p50: 0.1, p99: 0.5, max: 2.5 }),
            started: Timestamp::default(),
            ended: Timestamp::default(),
            cancelled: false,
            iterations: None,
            closed_loop: None,
            notes: vec![],
            invalid: vec![],
        }
    }

    #[track_caller]
    fn check(tolerances: Tolerances, expected: &[&str]) {
        assert_eq!(verdict(&summary(), 1000, &tolerances), expected);
    }

    #[test]
    fn a_load_that_misses_a_tolerance_is_invalid_with_the_numbers() {
        check(
            Tolerances::default(),
            &["11 of 990 requests failed (failed_check 6: HTTP 500 ×4, HTTP 502 ×2; reset 5): \
               an error rate of 1.1 % where 1.0 % is tolerated (max_error_rate)."],
        );
        check(
            Tolerances { max_error_rate: 0.02, max_dropped: 0.0001, max_lateness: None },
            &["10 of 1000 invocations were dropped: 1.0 % where 0.010 % is tolerated (max_dropped)."],
        );
        check(
            Tolerances {
                max_error_rate: 0.02,
                max_lateness: Some(Duration::from_millis(2)),
                ..Tolerances::default()
            },
            &["An invocation was sent 2.500 ms late where 2.000 ms is tolerated (max_lateness)."],
        );
    }

    #[test]
    fn a_load_just_within_its_tolerances_is_valid() {
        check(
            Tolerances {
                max_error_rate: 11.0 / 990.0,
                max_dropped: 0.01,
                max_lateness: Some(Duration::from_micros(2500)),
            },
            &[],
        );
    }

    #[test]
    fn requests_that_this_machine_had_no_room_for_make_no_measurement() {
        let outcomes = BTreeMap::from([(Outcome::Ok, 45), (Outcome::Exhausted, 155)]);
        let exhausted = LoadSummary {
            planned: Some(200),
            sent: 45,
            not_sent: 155,
            failed: 155,
            dropped: 0,
            outcomes,
            ..summary()
        };
        let anything = Tolerances { max_error_rate: 1.0, max_dropped: 1.0, max_lateness: None };
        assert_eq!(
            verdict(&exhausted, 200, &anything),
            [
                "155 of 200 requests never left, since this machine ran out of open files, ports or memory (exhausted): \
              raise `ulimit -n`, or send less at once."
            ]
        );
    }

    #[test]
    fn requests_that_found_no_connection_are_failures_of_those_that_were_tried() {
        let outcomes = BTreeMap::from([(Outcome::Refused, 10)]);
        let refused = LoadSummary {
            planned: Some(10),
            sent: 0,
            not_sent: 10,
            failed: 10,
            dropped: 0,
            outcomes,
            failed_statuses: BTreeMap::new(),
            failed_checks: BTreeMap::new(),
            ..summary()
        };
        assert_eq!(
            verdict(&refused, 10, &Tolerances::default()),
            ["10 of 10 requests failed (refused 10): \
              an error rate of 100.0 % where 1.0 % is tolerated (max_error_rate)."]
        );
    }

    #[test]
    fn lost_invocations_are_never_silent() {
        let lossy = LoadSummary { sent: 980, failed: 0, ..summary() };
        assert_eq!(
            verdict(&lossy, 990, &Tolerances::default()),
            ["Only 990 of 1000 invocations are accounted for: sb lost some, please report it."]
        );
    }

    #[test]
    fn a_cancelled_load_is_invalid() {
        let cancelled = LoadSummary { cancelled: true, sent: 20, failed: 0, dropped: 1, ..summary() };
        assert_eq!(
            verdict(&cancelled, 21, &Tolerances::default()),
            ["The load was cancelled after 21 of 1000 invocations."]
        );
        let unknown = LoadSummary { planned: None, ..cancelled };
        assert_eq!(
            verdict(&unknown, 21, &Tolerances { max_dropped: 0.05, ..Tolerances::default() }),
            ["The load was cancelled after 21 invocations."],
            "one in 21 is less than a twentieth"
        );
    }
}
