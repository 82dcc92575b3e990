//! How long triggers take between two functions, on Azure as the study TriggerBench measures it, and on AWS ([`aws`]).
//!
//! An invoker calls a service, which triggers a receiver. Of each such trace nine times are taken:
//!
//! | time | what |
//! |---|---|
//! | t1, t2 | start and end of the invoker's call: the dependency named `…_trigger`, whose timestamp is its end |
//! | t3 | the receiver's start as the platform saw it: the request named `…Trigger`, cut to whole milliseconds |
//! | t4 | the first line of the receiver's code: the dependency `receiver0` |
//! | t5 … t9 | dependencies `receiver1` … `receiver5`: what taking a time costs |

pub(crate) mod aws;

use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;

use crate::invalid::Invalid;
use crate::quantiles::Quantiles;
use crate::read::app_insights::{QueryResult, QueryRow};
use crate::read::sort::{Matching, Room, Sorter};
use sb_measurement::{quantile_place, to_cell};

/// The columns of trigger.csv.
pub(crate) const HEADER: [&str; 13] = [
    "root_trace_id",
    "child_trace_id",
    "t1",
    "t2",
    "t3",
    "t4",
    "t5",
    "t6",
    "t7",
    "t8",
    "t9",
    "coldstart_f1",
    "coldstart_f2",
];

/// The columns of invalid_traces.csv.
pub(crate) const INVALID_HEADER: [&str; 3] = ["root_trace_id", "receiver_trace_id", "message"];

/// The dependencies that give t4 to t9.
const RECEIVERS: [&str; 6] = ["receiver0", "receiver1", "receiver2", "receiver3", "receiver4", "receiver5"];

/// One trace: a row of trigger.csv.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TriggerRow {
    pub(crate) root_trace_id: String,
    pub(crate) child_trace_id: String,
    /// What comes before `_trigger` in the name of the invoker's call, such as `queue`.
    pub(crate) trigger: String,
    /// t1 to t9, in nanoseconds since the epoch; t1 to t4 are always there.
    pub(crate) times: [Option<i128>; 9],
    /// Of the invoker.
    pub(crate) coldstart_f1: bool,
    /// Of the receiver.
    pub(crate) coldstart_f2: bool,
}

/// A trace whose times cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidTrigger {
    /// Empty where the text is damaged; the receiver's likewise.
    pub(crate) root_trace_id: String,
    pub(crate) receiver_trace_id: String,
    /// A code, a colon and a sentence.
    pub(crate) message: String,
}

/// The latencies of one type of trigger.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TriggerLatency {
    /// How many there are.
    pub traces: usize,
    /// In how many of them the invoker or the receiver started cold.
    pub cold: usize,
    /// t3 − t2: from the end of the call to the receiver's start. Negative where clocks differ, or where the receiver
    /// starts while the call still waits, as with HTTP.
    pub trigger_ms: Quantiles,
    /// t4 − t3: from there to the receiver's first line.
    pub start_ms: Quantiles,
    /// t4 − t1: all of it.
    pub total_ms: Quantiles,
}

/// How an analysis of triggers ended.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct TriggerSummary {
    /// Traces with a row in trigger.csv.
    pub valid: usize,
    /// Traces without one.
    pub invalid: usize,
    /// By type of trigger.
    pub triggers: BTreeMap<String, TriggerLatency>,
}

/// Takes the times of one trace.
pub(crate) fn read(text: &str) -> Result<TriggerRow, InvalidTrigger> {
    let result = QueryResult::parse(text).map_err(|rejected| InvalidTrigger {
        root_trace_id: rejected.id.unwrap_or_default(),
        receiver_trace_id: String::new(),
        message: rejected.reason.message(),
    })?;
    let root_id = result.root_id().unwrap_or_default();
    let receiver_id = result.receiver_id().unwrap_or_default();
    let taken = result.with_rows(|rows| Ok(take(rows, root_id, receiver_id)));
    taken.map_err(|reason| reason.message()).and_then(|taken| taken).map_err(|message| InvalidTrigger {
        root_trace_id: root_id.to_owned(),
        receiver_trace_id: receiver_id.to_owned(),
        message,
    })
}

impl InvalidTrigger {
    pub(crate) fn too_long() -> Self {
        Self {
            root_trace_id: String::new(),
            receiver_trace_id: String::new(),
            message: Invalid::longer_than_the_limit().message(),
        }
    }
}

fn take(rows: &[QueryRow<'_>], root_id: &str, receiver_id: &str) -> Result<TriggerRow, String> {
    if root_id.is_empty() || receiver_id.is_empty() {
        return Err("no_ids: `attrs` lacks `rootTraceId` or `traceId`; fetch the trace again".to_owned());
    }
    let only = |kind: &str, what: &str, fits: &dyn Fn(&str) -> bool| {
        let mut found = rows.iter().filter(|row| row.item_type() == kind && fits(&row.text("name")));
        match (found.next(), found.count()) {
            (Some(row), 0) => Ok(*row),
            (None, _) => Err(format!(
                "missing_row: there is no {kind} `{what}`; wait longer before fetching the traces"
            )),
            (Some(_), more) => Err(format!(
                "repeated_row: there are {} rows {kind} `{what}`; let an invocation trigger one receiver once",
                more + 1
            )),
        }
    };
    let time = |row: QueryRow<'_>| row.timestamp().map_err(|reason: Invalid| reason.message());
    let call = only("dependency", "…_trigger", &|name| name.ends_with("_trigger"))?;
    let request = only("request", "…Trigger", &|name| name.ends_with("Trigger"))?;
    let t2 = time(call)?;
    let t1 = t2 - call.duration().map_err(|reason| reason.message())?;
    let t3 = time(request)?.div_euclid(1_000_000) * 1_000_000;
    let mut times = [t1, t2, t3, 0, 0, 0, 0, 0, 0];
    for (time_of, name) in times[3..].iter_mut().zip(RECEIVERS) {
        *time_of = time(only("dependency", name, &|found| found == name)?)?;
    }
    let is_cold = |operation: &str| {
        rows.iter().any(|row| row.mentions_cold_start() && row.text("operation_Id") == operation)
    };
    let name = call.text("name");
    Ok(TriggerRow {
        root_trace_id: root_id.to_owned(),
        child_trace_id: receiver_id.to_owned(),
        trigger: name.strip_suffix("_trigger").unwrap_or_default().to_owned(),
        times: times.map(Some),
        coldstart_f1: is_cold(root_id),
        coldstart_f2: is_cold(receiver_id),
    })
}

pub(crate) fn fields(row: &TriggerRow) -> Vec<String> {
    let python_bool = |flag| if flag { "True" } else { "False" }.to_owned();
    let mut fields = [&row.root_trace_id, &row.child_trace_id].map(|id| to_cell(id).into_owned()).to_vec();
    fields.extend(row.times.iter().map(|time| time.map(format_time).unwrap_or_default()));
    fields.extend([python_bool(row.coldstart_f1), python_bool(row.coldstart_f2)]);
    fields
}

/// As in the dataset: `2022-04-15 21:58:52.123000+00:00`, with six or nine digits, or none where there is no fraction.
fn format_time(nanoseconds: i128) -> String {
    let Ok(time) = Timestamp::from_nanosecond(nanoseconds) else { return String::new() };
    let fraction = nanoseconds.rem_euclid(1_000_000_000);
    let fraction = match fraction {
        0 => String::new(),
        _ if fraction % 1_000 == 0 => format!(".{:06}", fraction / 1_000),
        _ => format!(".{fraction:09}"),
    };
    // `strftime` takes the second that contains the time, before the epoch too.
    let whole = Timestamp::from_second(nanoseconds.div_euclid(1_000_000_000) as i64).unwrap_or(time);
    format!("{}{fraction}+00:00", whole.strftime("%Y-%m-%d %H:%M:%S"))
}

/// The latencies of all traces: exact, however many there are.
pub(crate) struct Latencies {
    /// By type of trigger and [`BETWEEN`], each shifted to be positive.
    values: Sorter,
    /// Traces with a cold start, by type.
    cold: BTreeMap<String, usize>,
}

/// Which of the times t1 to t9 a latency lies between.
const BETWEEN: [(usize, usize); 3] = [(2, 3), (3, 4), (1, 4)];

/// Makes a signed number sort like an unsigned one.
const SHIFT: u64 = 1 << 63;

impl Latencies {
    pub(crate) fn new(room: Room) -> Self {
        Self { values: Sorter::new(room), cold: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, row: &TriggerRow) -> io::Result<()> {
        *self.cold.entry(row.trigger.clone()).or_default() +=
            usize::from(row.coldstart_f1 || row.coldstart_f2);
        for (which, (from, to)) in (0..).zip(BETWEEN) {
            let (Some(from), Some(to)) = (row.times[from - 1], row.times[to - 1]) else { continue };
            let nanoseconds = to - from;
            let shifted = i64::try_from(nanoseconds).unwrap_or(i64::MAX).cast_unsigned().wrapping_add(SHIFT);
            let key = [row.trigger.as_bytes(), &[0, which]].concat();
            self.values.push(&key, shifted, &[])?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> io::Result<BTreeMap<String, TriggerLatency>> {
        let values = self.values.sort()?;
        let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut records = values.records()?;
        while let Some(record) = records.next()? {
            *counts.entry(record.key).or_default() += 1;
        }
        let mut values = Matching::new(&values)?;
        let mut found = BTreeMap::new();
        for (trigger, cold) in self.cold {
            let mut latencies = [Quantiles { p50: f64::NAN, p95: f64::NAN, p99: f64::NAN }; 3];
            let mut traces = 0;
            for (which, latency) in (0..).zip(&mut latencies) {
                let key = [trigger.as_bytes(), &[0, which]].concat();
                traces = counts.get(&key).copied().unwrap_or_default();
                let in_order = || {
                    let record = values.next(&key)?;
                    Ok(record.map(|record| record.order.wrapping_sub(SHIFT).cast_signed()))
                };
                *latency = quantiles(traces, in_order)?;
            }
            let [trigger_ms, start_ms, total_ms] = latencies;
            found.insert(trigger, TriggerLatency { traces, cold, trigger_ms, start_ms, total_ms });
        }
        Ok(found)
    }
}

/// Of so many values, in nanoseconds and in order, read once. Not a number where there are fewer.
fn quantiles(count: usize, mut next: impl FnMut() -> io::Result<Option<i64>>) -> io::Result<Quantiles> {
    let wanted = [0.5, 0.95, 0.99].map(|q| quantile_place(count, q));
    let last = count.saturating_sub(1);
    let mut found = [[f64::NAN; 2]; 3];
    for at in 0..count {
        let Some(value) = next()? else { break };
        for ([low, high], (place, _)) in found.iter_mut().zip(wanted) {
            if place == at {
                *low = value as f64;
            }
            if (place + 1).min(last) == at {
                *high = value as f64;
            }
        }
    }
    let mut quantiles = found
        .iter()
        .zip(wanted)
        .map(|([low, high], (_, fraction))| (low + (high - low) * fraction).round() / 1e6);
    let mut one = || quantiles.next().unwrap_or(f64::NAN);
    Ok(Quantiles { p50: one(), p95: one(), p99: one() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_between_their_neighbours() {
        let of = |mut values: std::ops::RangeInclusive<i64>| {
            let count = values.clone().count();
            quantiles(count, || Ok(values.next().map(|value| value * 500_000))).unwrap()
        };
        let found = of(1..=201);
        for (found, expected) in [(found.p50, 50.5), (found.p95, 95.5), (found.p99, 99.5)] {
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
        }
        assert!((of(1..=2).p99 - 0.995).abs() < 1e-9);
        assert_eq!(of(-1..=-1), Quantiles { p50: -0.5, p95: -0.5, p99: -0.5 });
    }

    #[test]
    fn a_time_has_nine_digits_only_where_it_needs_them() {
        for (nanoseconds, expected) in [
            (0, "1970-01-01 00:00:00+00:00"),
            (1_500_000_000, "1970-01-01 00:00:01.500000+00:00"),
            (1_123_456_700, "1970-01-01 00:00:01.123456700+00:00"),
            (-1, "1969-12-31 23:59:59.999999999+00:00"),
        ] {
            assert_eq!(format_time(nanoseconds), expected);
        }
    }
}
