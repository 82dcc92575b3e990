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
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;

use super::app_insights::{QueryResult, Row};
use super::input::with_path;
use super::invalid::Invalid;
use super::output::Replacement;
use super::source::documents;

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

/// Analyses a file of traces, one JSON object per trace, into [`TRIGGER_FILE`] and [`INVALID_FILE`] beside it.
///
/// The file is held in memory. Whatever is wrong with a trace makes that trace invalid and nothing else.
pub fn analyze_file(path: &Path) -> io::Result<Summary> {
    let text = fs::read(path).map_err(|error| with_path(&error, "read", path))?;
    let triggers = Replacement::create(path.with_file_name(TRIGGER_FILE))?;
    let invalid = Replacement::create(path.with_file_name(INVALID_FILE))?;
    let summary = analyze(&String::from_utf8_lossy(&text), &triggers, &invalid)?;
    triggers.finish()?;
    invalid.finish()?;
    Ok(summary)
}

/// Analyses traces and writes a row for each to one of the outputs, headers included.
pub fn analyze(text: &str, triggers: impl Write, invalid: impl Write) -> io::Result<Summary> {
    let mut builder = csv::WriterBuilder::new();
    builder.terminator(csv::Terminator::CRLF);
    let (mut triggers, mut invalid) = (builder.from_writer(triggers), builder.from_writer(invalid));
    triggers.write_record(HEADER)?;
    invalid.write_record(INVALID_HEADER)?;
    let text = text.trim_start_matches('\u{feff}');
    let outcomes: Vec<_> = documents(text).into_iter().map(read).collect();
    let mut rows = Vec::new();
    let mut summary = Summary::default();
    for outcome in outcomes {
        match outcome {
            Ok(row) => {
                triggers.write_record(fields(&row))?;
                rows.push(row);
            }
            Err(InvalidTrigger { root_trace_id, receiver_trace_id, message }) => {
                invalid.write_record([root_trace_id, receiver_trace_id, message])?;
                summary.invalid += 1;
            }
        }
    }
    triggers.flush()?;
    invalid.flush()?;
    summary.valid = rows.len();
    summary.triggers = latencies(&rows);
    Ok(summary)
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

fn latencies(rows: &[TriggerRow]) -> BTreeMap<String, TriggerLatency> {
    let mut by_type: BTreeMap<&str, Vec<&TriggerRow>> = BTreeMap::new();
    for row in rows {
        by_type.entry(&row.trigger).or_default().push(row);
    }
    let latency = |rows: &[&TriggerRow]| {
        let between = |from: usize, to: usize| {
            quantiles(rows.iter().map(|row| row.times[to - 1] - row.times[from - 1]).collect())
        };
        TriggerLatency {
            traces: rows.len(),
            cold: rows.iter().filter(|row| row.coldstart_f1 || row.coldstart_f2).count(),
            trigger_ms: between(2, 3),
            start_ms: between(3, 4),
            total_ms: between(1, 4),
        }
    };
    by_type.into_iter().map(|(trigger, rows)| (trigger.to_owned(), latency(&rows))).collect()
}

/// Of at least one value, in nanoseconds.
fn quantiles(mut values: Vec<i128>) -> Quantiles {
    values.sort_unstable();
    let at = |quantile: f64| {
        let rank = (quantile * values.len() as f64).ceil().max(1.0) as usize;
        values.get(rank - 1).map_or(f64::NAN, |&value| value as f64 / 1e6)
    };
    Quantiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
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
        let (mut triggers, mut invalid) = (Vec::new(), Vec::new());
        let summary = analyze(text, &mut triggers, &mut invalid).unwrap();
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
        let nanoseconds = (1..=200).rev().map(|value| value * 1_000_000).collect();
        assert_eq!(quantiles(nanoseconds), Quantiles { p50: 100.0, p95: 190.0, p99: 198.0 });
        assert_eq!(quantiles(vec![-500_000]), Quantiles { p50: -0.5, p95: -0.5, p99: -0.5 });
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
