//! One row per execution.

use super::with_extra;
use crate::config::days_and_clock;
use crate::execution::{Execution, flag};
use crate::figures::{aggregates, mean, quantile, ratio, round_scaled};
use crate::series::Rates;
use crate::table::{Cell, Kind, Table};

const COLUMNS: [(&str, Kind); 42] = [
    ("label", Kind::Text),
    ("app_name", Kind::Text),
    ("app_path", Kind::Text),
    ("logs_path", Kind::Text),
    ("prepare_duration", Kind::Text),
    ("invoke_duration", Kind::Text),
    ("region", Kind::Text),
    ("provider", Kind::Text),
    ("workload_type", Kind::Text),
    ("workload_trace", Kind::Text),
    ("scale_type", Kind::Text),
    ("scale_factor", Kind::Text),
    ("k6_invocations_start_time", Kind::Integer),
    ("trace_breakdown_start_time", Kind::Float),
    ("sent_requests", Kind::Integer),
    ("valid_traces", Kind::Integer),
    ("invalid_traces", Kind::Integer),
    ("received_requests", Kind::Integer),
    ("invalid_rate", Kind::Float),
    ("missing_requests", Kind::Integer),
    ("missing_rate", Kind::Float),
    ("client_errors", Kind::Integer),
    ("throttles", Kind::Integer),
    ("server_faults", Kind::Integer),
    ("success_traces", Kind::Integer),
    ("error_traces", Kind::Integer),
    ("error_rate", Kind::Float),
    ("valid_success_rate", Kind::Float),
    ("trace_duration_p50_ms", Kind::Float),
    ("trace_duration_mean_ms", Kind::Float),
    ("http_req_duration_p50_ms", Kind::Float),
    ("http_req_duration_mean_ms", Kind::Float),
    ("relative_time_duration_seconds", Kind::Float),
    ("target_invocations_per_second", Kind::Float),
    ("actual_invocations_per_second", Kind::Float),
    ("actual_target_ratio", Kind::Float),
    ("http_concurrency", Kind::Float),
    ("trace_concurrency", Kind::Float),
    ("rates_to_options_dtw", Kind::Float),
    ("options_to_k6_dtw", Kind::Float),
    ("k6_to_traces_dtw", Kind::Float),
    ("issues", Kind::Text),
];

/// Better than the published definitions, or missing there.
const EXTRA: [(&str, Kind); 9] = [
    ("planned_duration_seconds", Kind::Float),
    ("observed_duration_seconds", Kind::Float),
    ("failed_requests", Kind::Integer),
    ("not_sent_requests", Kind::Integer),
    ("trace_duration_p50_success_ms", Kind::Float),
    ("http_req_duration_p50_success_ms", Kind::Float),
    ("run", Kind::Text),
    ("trial", Kind::Text),
    ("invalid_reasons", Kind::Text),
];

/// An empty overview.
pub(super) fn empty(name: &'static str, as_published: bool) -> Table {
    let about = "One row per execution: what was sent, what came back, how long it took, and what may be wrong with it.";
    Table::new(name, about, &with_extra(&COLUMNS, &EXTRA, as_published))
}

/// What the issues of an execution depend on, rounded as in the table. `None`: unknown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Checked {
    pub(crate) invalid_rate: Option<f64>,
    pub(crate) missing_rate: Option<f64>,
    pub(crate) error_rate: Option<f64>,
    pub(crate) valid_success_rate: Option<f64>,
    pub(crate) actual_target_ratio: Option<f64>,
}

impl Checked {
    /// The names of what is out of its range, joined by commas.
    pub(crate) fn issues(&self) -> String {
        let is = |value: Option<f64>, test: fn(f64) -> bool| value.is_some_and(test);
        let all = [
            ("invalid_rate", is(self.invalid_rate, |rate| rate >= 0.05)),
            ("missing_rate", is(self.missing_rate, |rate| rate >= 0.05 || rate <= -0.05)),
            ("error_rate", is(self.error_rate, |rate| rate >= 0.05)),
            ("valid_success_rate", is(self.valid_success_rate, |rate| rate <= 0.95)),
            ("actual_target_ratio", is(self.actual_target_ratio, |ratio| ratio <= 0.95 || ratio >= 1.05)),
        ];
        let names = all.iter().filter(|(_, found)| *found).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(",")
    }
}

/// Nanoseconds cut to microseconds, in milliseconds.
fn cut(nanos: i64) -> f64 {
    (nanos / 1000) as f64 / 1000.0
}

/// The row of an execution.
pub(super) fn row(execution: &Execution, rates: &Rates, as_published: bool) -> Vec<Cell> {
    let config = &execution.config;
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let sent = execution.sent.as_ref();
    let traces = execution.traces.as_ref();
    let sent_count = sent.map(|sent| signed(sent.count()));
    // Without analysed traces, how many there are is unknown; as published, there are none.
    let known = |count: i64| (traces.is_some() || as_published).then_some(count);
    let valid = known(signed(traces.map_or(0, crate::execution::Traces::count)));
    let invalid =
        known(signed(execution.invalid)).or(Some(signed(execution.invalid)).filter(|count| *count > 0));
    let received = valid.zip(invalid).map(|(valid, invalid)| valid + invalid);
    let flagged = |flags| known(signed(traces.map_or(0, |traces| traces.flagged(flags))));
    let errors = flagged(flag::ERROR | flag::THROTTLE | flag::FAULT);
    let success = valid.zip(errors).map(|(valid, errors)| valid - errors);
    // Of nothing, the published rate is a number, and the better one unknown.
    let rate = |part: Option<i64>, whole: Option<i64>, of_nothing: f64| match (part?, whole?) {
        (_, 0) => as_published.then_some(of_nothing),
        (part, whole) => Some(ratio(part, whole)),
    };
    let missing = sent_count.zip(received).map(|(sent, received)| sent - received);
    let mut checked = Checked {
        invalid_rate: rate(invalid, received, 0.0),
        missing_rate: rate(missing, sent_count, 0.0),
        error_rate: rate(errors, valid, 100.0),
        valid_success_rate: rate(success, sent_count, 0.0),
        actual_target_ratio: None,
    };
    let mut durations: Vec<i64> = traces.map(|traces| traces.durations.iter().collect()).unwrap_or_default();
    let duration = aggregates(&mut durations, 1000);
    let none = as_published.then_some(0.0);
    let (duration_p50, duration_mean) = match duration {
        Some(duration) => (Some(cut(duration.p50)), Some(cut(duration.mean))),
        None => (none, none),
    };
    let mut latencies = sent.map(|sent| sent.latencies(|_| true)).unwrap_or_default();
    let in_millis = |nanos: i64| nanos as f64 / 1e6;
    let http_p50 = quantile(&mut latencies, 0.5, in_millis).map(|ms| round_scaled(ms, 3));
    let http_mean = mean(&latencies).map(|nanos| round_scaled(nanos / 1e6, 3));
    let longest = round_scaled(rates.longest, 2);
    let actual = if as_published {
        let rate = |sent: i64| if longest > 0.0 { round_scaled(sent as f64 / longest, 2) } else { 0.0 };
        sent_count.map(rate)
    } else {
        let seconds = rates.sending_seconds(execution);
        sent_count.zip(seconds).map(|(sent, seconds)| round_scaled(sent as f64 / seconds, 2))
    };
    let target = config.load_level.filter(|level| *level != 0.0);
    checked.actual_target_ratio = match (actual, target) {
        (Some(actual), Some(target)) => Some(round_scaled(actual / target, 2)),
        _ => none,
    };
    let concurrency = |millis: Option<f64>| Some(round_scaled(actual? * millis? / 1000.0, 2));
    let mut distances = [None; 3];
    for pair in rates.pairs(as_published) {
        let distance = if as_published { pair.approximate } else { pair.exact };
        distances[pair.first] = distance.map(|distance| round_scaled(distance, 0));
    }
    let phase = |name| config.phase_duration(name, as_published).map(days_and_clock).unwrap_or_default();
    let (prepare, invoke) = (phase("prepare"), phase("invoke"));
    let http_start = sent.and_then(|sent| sent.times.first()).map(|micros| micros.div_euclid(1_000_000));
    let trace_start = traces.and_then(|traces| traces.first_start).map(|micros| micros as f64 / 1e6);
    let mut row: Vec<Cell> = vec![
        config.label().unwrap_or_default().into(),
        execution.application.clone().into(),
        execution.app_path.as_str().into(),
        execution.logs_path.as_str().into(),
        prepare.into(),
        invoke.into(),
        config.region.as_str().into(),
        config.provider.as_str().into(),
        config.workload_type.as_deref().into(),
        config.workload_trace.as_deref().into(),
        config.scale_type.as_str().into(),
        config.scale_factor.as_str().into(),
        http_start.into(),
        trace_start.into(),
        sent_count.into(),
        valid.into(),
        invalid.into(),
        received.into(),
        checked.invalid_rate.into(),
        missing.into(),
        checked.missing_rate.into(),
        flagged(flag::ERROR).into(),
        flagged(flag::THROTTLE).into(),
        flagged(flag::FAULT).into(),
        success.into(),
        errors.into(),
        checked.error_rate.into(),
        checked.valid_success_rate.into(),
        duration_p50.into(),
        duration_mean.into(),
        http_p50.into(),
        http_mean.into(),
        longest.into(),
        target.or(none).into(),
        actual.into(),
        checked.actual_target_ratio.into(),
        concurrency(http_mean).into(),
        concurrency(duration_mean).into(),
    ];
    row.extend(distances.map(Cell::from));
    let mut issues = checked.issues();
    if !execution.invalid_load.is_empty() {
        issues.push_str(if issues.is_empty() { "invalid_load" } else { ",invalid_load" });
    }
    row.push(issues.into());
    if !as_published {
        let planned =
            config.constant_seconds().or(execution.planned.as_ref().map(|rates| rates.len() as f64));
        let observed = sent.and_then(|sent| sent.times.span()).map(|micros| micros as f64 / 1e6);
        let mut good: Vec<i64> = traces
            .map(|traces| {
                let all = traces.durations.iter().zip(&traces.flags);
                all.filter(|(_, flags)| **flags == 0).map(|(micros, _)| micros).collect()
            })
            .unwrap_or_default();
        let mut answered = sent.map(|sent| sent.latencies(|place| !sent.failed[place])).unwrap_or_default();
        row.extend([
            planned.into(),
            observed.into(),
            sent.map(crate::execution::Sent::failures).into(),
            sent.map(|sent| sent.not_sent).into(),
            aggregates(&mut good, 1000).map(|good| cut(good.p50)).into(),
            quantile(&mut answered, 0.5, in_millis).map(|ms| round_scaled(ms, 3)).into(),
            config.run.as_deref().into(),
            config.trial.as_deref().into(),
            Some(execution.invalid_load.join(" ")).filter(|reasons| !reasons.is_empty()).as_deref().into(),
        ]);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issues_are_named_in_their_order_and_at_their_limits() {
        let good = Checked {
            invalid_rate: Some(0.04),
            missing_rate: Some(-0.04),
            error_rate: Some(0.04),
            valid_success_rate: Some(0.96),
            actual_target_ratio: Some(1.04),
        };
        assert_eq!(good.issues(), "");
        assert_eq!(Checked::default().issues(), "", "what is unknown is no issue");
        let bad = Checked {
            invalid_rate: Some(0.05),
            missing_rate: Some(-0.05),
            error_rate: Some(0.05),
            valid_success_rate: Some(0.95),
            actual_target_ratio: Some(1.05),
        };
        assert_eq!(
            bad.issues(),
            "invalid_rate,missing_rate,error_rate,valid_success_rate,actual_target_ratio"
        );
        assert_eq!(Checked { actual_target_ratio: Some(0.95), ..good }.issues(), "actual_target_ratio");
    }
}
