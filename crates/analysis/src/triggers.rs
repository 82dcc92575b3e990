//! How long triggers take between two functions on Azure: the study TriggerBench.
//!
//! An invoker calls a service, which triggers a receiver. Of each such trace nine times are taken:
//!
//! | time | what |
//! |---|---|
//! | t1, t2 | start and end of the invoker's call: the dependency named `…_trigger`, whose timestamp is its end |
//! | t3 | the receiver's start as the platform saw it: the request named `…Trigger`, cut to whole milliseconds |
//! | t4 | the first line of the receiver's code: the dependency `receiver0` |
//! | t5 … t9 | dependencies `receiver1` … `receiver5`: what taking a time costs |

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use jiff::Timestamp;

use super::app_insights::{QueryResult, Row};
use super::input::{Input, Named};
use super::invalid::Invalid;
use super::output::Replacement;
use super::sorted::{Matching, Room, Sorter};
use super::source::documents;
use super::split::{Chunk, LONGEST, Texts};

/// Where the times go, beside the input; the names are the dataset's.
pub const TRIGGER_FILE: &str = "trigger.csv";
pub const INVALID_FILE: &str = "invalid_traces.csv";

const HEADER: [&str; 13] = [
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

const INVALID_HEADER: [&str; 3] = ["root_trace_id", "receiver_trace_id", "message"];

/// The dependencies that give t4 to t9.
const RECEIVERS: [&str; 6] = ["receiver0", "receiver1", "receiver2", "receiver3", "receiver4", "receiver5"];

/// One trace: a row of trigger.csv.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerRow {
    pub root_trace_id: String,
    pub child_trace_id: String,
    /// What comes before `_trigger` in the name of the invoker's call, such as `queue`.
    pub trigger: String,
    /// t1 to t9, in nanoseconds since the epoch.
    pub times: [i128; 9],
    /// Of the invoker.
    pub coldstart_f1: bool,
    /// Of the receiver.
    pub coldstart_f2: bool,
}

/// A trace whose times cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidTrigger {
    /// Empty where the text is damaged; the receiver's likewise.
    pub root_trace_id: String,
    pub receiver_trace_id: String,
    /// A code, a colon and a sentence.
    pub message: String,
}

/// Latencies in milliseconds, at the nearest rank.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

/// The latencies of one type of trigger.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TriggerLatency {
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
pub struct Summary {
    pub valid: usize,
    pub invalid: usize,
    /// By type of trigger.
    pub triggers: BTreeMap<String, TriggerLatency>,
}

/// Analyses a file of traces, compressed or not, one JSON object per trace, into [`TRIGGER_FILE`] and [`INVALID_FILE`]
/// beside it. `progress` is told how many bytes of the file are done.
///
/// Whatever is wrong with a trace makes that trace invalid and nothing else. Memory does not grow with the file.
pub fn analyze_file(path: &Path, progress: &dyn Fn(u64)) -> io::Result<Summary> {
    let input = Input::open(path)?;
    let position = input.position();
    let triggers = Replacement::create(&path.with_file_name(TRIGGER_FILE))?;
    let invalid = Replacement::create(&path.with_file_name(INVALID_FILE))?;
    let input = Named { input, path };
    let summary =
        analyze(Texts::new(input), &triggers, &invalid, Room::beside(path), &|| progress(position.bytes()))?;
    Replacement::finish_all([triggers, invalid])?;
    Ok(summary)
}

/// Analyses traces and writes a row for each to one of the outputs, headers included. `progress` is called now and then.
fn analyze(
    mut texts: Texts<impl Read>,
    triggers: impl Write,
    invalid: impl Write,
    room: Room,
    progress: &dyn Fn(),
) -> io::Result<Summary> {
    let mut builder = csv::WriterBuilder::new();
    builder.terminator(csv::Terminator::CRLF);
    let (mut triggers, mut invalid) = (builder.from_writer(triggers), builder.from_writer(invalid));
    triggers.write_record(HEADER)?;
    invalid.write_record(INVALID_HEADER)?;
    let mut summary = Summary::default();
    let mut latencies = Latencies { values: Sorter::new(room), cold: BTreeMap::new() };
    let mut chunk = Chunk::default();
    while texts.read(&mut chunk)? {
        let count = chunk.texts().len();
        for (place, text) in chunk.texts().enumerate() {
            let is_cut = chunk.is_cut && place + 1 == count;
            // Several may share a line.
            for text in documents(&String::from_utf8_lossy(text)) {
                let outcome = if is_cut { Err(too_long()) } else { read(text) };
                match outcome {
                    Ok(row) => {
                        triggers.write_record(fields(&row))?;
                        summary.valid += 1;
                        latencies.add(&row)?;
                    }
                    Err(InvalidTrigger { root_trace_id, receiver_trace_id, message }) => {
                        invalid.write_record([root_trace_id, receiver_trace_id, message])?;
                        summary.invalid += 1;
                    }
                }
                if is_cut {
                    break;
                }
            }
        }
        progress();
    }
    triggers.flush()?;
    invalid.flush()?;
    summary.triggers = latencies.finish()?;
    Ok(summary)
}

fn too_long() -> InvalidTrigger {
    let reason = Invalid::Malformed { detail: format!("it is longer than {LONGEST} bytes") };
    InvalidTrigger {
        root_trace_id: String::new(),
        receiver_trace_id: String::new(),
        message: reason.message(),
    }
}

/// Takes the times of one trace.
pub fn read(text: &str) -> Result<TriggerRow, InvalidTrigger> {
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

fn take(rows: &[Row<'_>], root_id: &str, receiver_id: &str) -> Result<TriggerRow, String> {
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
    let time = |row: Row<'_>| row.timestamp().map_err(|reason: Invalid| reason.message());
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
        times,
        coldstart_f1: is_cold(root_id),
        coldstart_f2: is_cold(receiver_id),
    })
}

fn fields(row: &TriggerRow) -> Vec<String> {
    let python_bool = |flag| if flag { "True" } else { "False" }.to_owned();
    let mut fields = vec![row.root_trace_id.clone(), row.child_trace_id.clone()];
    fields.extend(row.times.iter().map(|&time| format_time(time)));
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
struct Latencies {
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
    fn add(&mut self, row: &TriggerRow) -> io::Result<()> {
        *self.cold.entry(row.trigger.clone()).or_default() +=
            usize::from(row.coldstart_f1 || row.coldstart_f2);
        for (which, (from, to)) in (0..).zip(BETWEEN) {
            let nanoseconds = row.times[to - 1] - row.times[from - 1];
            let shifted = i64::try_from(nanoseconds).unwrap_or(i64::MAX).cast_unsigned().wrapping_add(SHIFT);
            let key = [row.trigger.as_bytes(), &[0, which]].concat();
            self.values.push(&key, shifted, &[])?;
        }
        Ok(())
    }

    fn finish(self) -> io::Result<BTreeMap<String, TriggerLatency>> {
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

/// Of so many values, in nanoseconds and in order: at the nearest rank.
fn quantiles(count: usize, mut next: impl FnMut() -> io::Result<Option<i64>>) -> io::Result<Quantiles> {
    let rank = |quantile: f64| (quantile * count as f64).ceil().max(1.0) as usize;
    let ranks = [rank(0.5), rank(0.95), rank(0.99)];
    let mut found = [f64::NAN; 3];
    for place in 1..=count {
        let Some(value) = next()? else { break };
        for (found, _) in found.iter_mut().zip(ranks).filter(|(_, rank)| *rank == place) {
            *found = value as f64 / 1e6;
        }
    }
    let [p50, p95, p99] = found;
    Ok(Quantiles { p50, p95, p99 })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Item type, name, milliseconds after 21:58:52, duration, operation, custom dimensions.
    type TestRow<'a> = (&'a str, &'a str, f64, f64, &'a str, &'a str);

    const ROWS: [TestRow<'static>; 10] = [
        ("request", "Invoker", 0.0, 60.0, "root", ""),
        ("dependency", "queue_trigger", 50.0, 12.5, "root", ""),
        ("request", "QueueTrigger", 173.987_654, 40.0, "child", ""),
        ("dependency", "receiver0", 180.0, 0.0, "child", ""),
        ("dependency", "receiver1", 181.0, 0.0, "child", ""),
        ("dependency", "receiver2", 182.0, 0.0, "child", ""),
        ("dependency", "receiver3", 183.0, 0.0, "child", ""),
        ("dependency", "receiver4", 1_000.0, 0.0, "child", ""),
        ("dependency", "receiver5", 1_001.0, 0.0, "child", ""),
        ("trace", "", 0.0, 0.0, "child", "{\"EventName\":\"ColdStart\"}"),
    ];

    fn text(rows: &[TestRow<'_>]) -> String {
        let columns = ["itemType", "name", "timestamp", "duration", "operation_Id", "customDimensions"];
        let columns: Vec<Value> =
            columns.iter().map(|name| json!({ "name": name, "type": "string" })).collect();
        let rows: Vec<Value> = rows
            .iter()
            .map(|&(kind, name, at, duration, operation, dimensions)| {
                let nanoseconds = 1_650_059_932_000_000_000 + (at * 1e6) as i128;
                let time = Timestamp::from_nanosecond(nanoseconds).unwrap().to_string();
                json!([kind, name, time, duration, operation, dimensions])
            })
            .collect();
        json!({ "attrs": { "rootTraceId": "root", "traceId": "child" },
                "tables": [{ "name": "PrimaryResult", "columns": columns, "rows": rows }] })
        .to_string()
    }

    fn run(text: &str) -> (String, String, Summary) {
        let folder = tempfile::tempdir().unwrap();
        let mut results = [(1 << 20, 1 << 24), (64, 1_000)].map(|(chunk, bytes)| {
            let (mut triggers, mut invalid) = (Vec::new(), Vec::new());
            let texts = Texts::with_limits(text.as_bytes(), chunk, LONGEST);
            let room = Room { folder: folder.path().to_owned(), bytes };
            let summary = analyze(texts, &mut triggers, &mut invalid, room, &|| {}).unwrap();
            (triggers, invalid, summary)
        });
        assert!(results[0] == results[1], "with little room");
        let (triggers, invalid, summary) = std::mem::take(&mut results[0]);
        (String::from_utf8(triggers).unwrap(), String::from_utf8(invalid).unwrap(), summary)
    }

    #[test]
    fn nine_times_are_taken_of_a_trace() {
        let (triggers, invalid, summary) = run(&text(&ROWS));
        assert_eq!(
            triggers,
            "root_trace_id,child_trace_id,t1,t2,t3,t4,t5,t6,t7,t8,t9,coldstart_f1,coldstart_f2\r\n\
             root,child,2022-04-15 21:58:52.037500+00:00,2022-04-15 21:58:52.050000+00:00,\
             2022-04-15 21:58:52.173000+00:00,2022-04-15 21:58:52.180000+00:00,2022-04-15 21:58:52.181000+00:00,\
             2022-04-15 21:58:52.182000+00:00,2022-04-15 21:58:52.183000+00:00,2022-04-15 21:58:53+00:00,\
             2022-04-15 21:58:53.001000+00:00,False,True\r\n"
        );
        assert_eq!(invalid, "root_trace_id,receiver_trace_id,message\r\n");
        assert_eq!((summary.valid, summary.invalid), (1, 0));
        let queue = &summary.triggers["queue"];
        assert_eq!((queue.traces, queue.cold), (1, 1));
        assert_eq!((queue.trigger_ms.p50, queue.start_ms.p95, queue.total_ms.p99), (123.0, 7.0, 142.5));
    }

    #[test]
    fn latencies_are_those_of_a_type_and_may_be_negative() {
        let of = |name: &'static str, call: f64| {
            let mut rows = ROWS;
            rows[1] = ("dependency", name, call, 10.0, "root", "");
            text(&rows)
        };
        let texts: Vec<String> = [("queue_trigger", 173.0), ("http_trigger", 200.0), ("queue_trigger", 73.0)]
            .map(|(n, c)| of(n, c))
            .into();
        let (_, _, summary) = run(&texts.join("\n"));
        let (http, queue) = (&summary.triggers["http"], &summary.triggers["queue"]);
        assert_eq!((http.traces, http.trigger_ms.p50), (1, -27.0));
        assert_eq!((queue.traces, queue.trigger_ms.p50, queue.trigger_ms.p99), (2, 0.0, 100.0));
    }

    #[test]
    fn the_order_of_rows_does_not_matter() {
        let mut rows = ROWS;
        rows.reverse();
        assert_eq!(run(&text(&rows)), run(&text(&ROWS)));
    }

    #[test]
    fn a_missing_or_repeated_row_makes_a_trace_invalid_and_touches_no_other() {
        // All but the invoker's own request and the cold start.
        for (place, &row) in ROWS.iter().enumerate().take(9).skip(1) {
            let (kind, name, ..) = row;
            for (count, code) in [(0, "missing_row"), (2, "repeated_row")] {
                let mut rows: Vec<TestRow<'_>> = ROWS.to_vec();
                if count == 0 {
                    rows.remove(place);
                } else {
                    rows.push(row);
                }
                let good = text(&ROWS);
                let (triggers, invalid, summary) = run(&format!("{good}\n{}\n{good}\n", text(&rows)));
                assert_eq!((summary.valid, summary.invalid), (2, 1), "{kind} {name}");
                assert_eq!(triggers.lines().count(), 3);
                let row = invalid.lines().nth(1).unwrap();
                assert!(row.starts_with(&format!("root,child,{code}: ")), "{row}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_invalid() {
        for (text, expected) in [
            ("{\"tables\":", ",,malformed: "),
            ("{\"attrs\":{\"rootTraceId\":\"root\"}}", "root,,malformed: "),
            ("{\"tables\":[]}", ",,no_ids: "),
            (&*text(&ROWS).replace("2022-04-15T21:58:52.18Z", "soon"), "root,child,malformed: "),
            (&*text(&ROWS).replace("12.5", "-12.5"), "root,child,malformed: "),
            ("{\"error\":{\"code\":\"BadArgumentError\"}}", ",,\"malformed: "),
        ] {
            let (_, invalid, summary) = run(text);
            assert_eq!((summary.valid, summary.invalid), (0, 1), "{text}");
            let row = invalid.lines().nth(1).unwrap();
            assert!(row.trim_matches('"').contains(expected.trim_matches('"')), "{expected}: {row}");
        }
    }

    #[test]
    fn quantiles_are_measured_values_at_the_nearest_rank() {
        let of = |mut values: std::ops::RangeInclusive<i64>| {
            let count = values.clone().count();
            quantiles(count, || Ok(values.next().map(|value| value * 500_000))).unwrap()
        };
        assert_eq!(of(1..=200), Quantiles { p50: 50.0, p95: 95.0, p99: 99.0 });
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
