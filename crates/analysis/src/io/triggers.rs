//! Files of traces of triggers: trigger.csv and invalid_traces.csv beside them.

use std::io::{self, Cursor, Read, Write};
use std::path::Path;

use super::INVALID_FILE;
use super::browse::for_each_joined_trace;
use super::input::{Input, Named};
use super::output::Replacement;
use super::split::{Chunk, Texts};
use crate::invalid::Rejected;
use crate::read::sort::Room;
use crate::read::source::{Source, documents};
use crate::span::Recorded;
use crate::triggers::{self, InvalidTrigger, Latencies, TriggerRow, TriggerSummary};
use sb_measurement::to_cell;

/// The file of times beside a file of traces; its name is the dataset's.
pub const TRIGGER_FILE: &str = "trigger.csv";

/// Bytes that show what wrote a file.
const START: u64 = 1 << 16;

/// Analyses a file of traces, compressed or not, with one JSON object per trace, of Application Insights or X-Ray. Linked traces of
/// X-Ray are joined. [`TRIGGER_FILE`] and [`INVALID_FILE`] are written beside it. `progress` gets the number of bytes of the file
/// that are done.
///
/// Whatever is wrong with a trace makes that trace invalid and nothing else. Memory does not grow with the file.
///
/// # Errors
/// A file cannot be read or written.
pub fn analyze_triggers(path: &Path, progress: &dyn Fn(u64)) -> io::Result<TriggerSummary> {
    let mut input = Input::open(path)?;
    let position = input.position();
    let mut start = Vec::new();
    input.by_ref().take(START).read_to_end(&mut start)?;
    let is_xray = Source::Auto.find(&start) == Some(Source::Xray);
    let triggers = Replacement::create(&path.with_file_name(TRIGGER_FILE))?;
    let invalid = Replacement::create(&path.with_file_name(INVALID_FILE))?;
    let summary = if is_xray {
        let mut outputs = Outputs::new(&triggers, &invalid, Room::beside(path))?;
        for_each_joined_trace(path, "", |recorded| outputs.add_trace(recorded))?;
        outputs.finish()?
    } else {
        let input = Cursor::new(start).chain(Named { input, path });
        let progress = || progress(position.bytes());
        analyze(Texts::new(input), &triggers, &invalid, Room::beside(path), &progress)?
    };
    Replacement::finish_all([triggers, invalid])?;
    Ok(summary)
}

/// Analyses traces and writes a row for each to one of the outputs, headers included. `progress` is called now and then.
fn analyze(
    mut texts: Texts<impl Read>,
    rows: impl Write,
    invalid: impl Write,
    room: Room,
    progress: &dyn Fn(),
) -> io::Result<TriggerSummary> {
    let mut outputs = Outputs::new(rows, invalid, room)?;
    let mut chunk = Chunk::default();
    while texts.read(&mut chunk)? {
        let count = chunk.texts().len();
        for (place, text) in chunk.texts().enumerate() {
            let is_cut = chunk.is_cut && place + 1 == count;
            // Several may share a line.
            for text in documents(&String::from_utf8_lossy(text)) {
                let outcome = if is_cut { Err(InvalidTrigger::too_long()) } else { triggers::read(text) };
                outputs.add(outcome)?;
                if is_cut {
                    break;
                }
            }
        }
        progress();
    }
    outputs.finish()
}

/// What becomes of triggers.
struct Outputs<R: Write, I: Write> {
    rows: csv::Writer<R>,
    invalid: csv::Writer<I>,
    latencies: Latencies,
    summary: TriggerSummary,
    /// Of a trace that was given where no error can be.
    failed: Option<io::Error>,
}

impl<R: Write, I: Write> Outputs<R, I> {
    fn new(rows: R, invalid: I, room: Room) -> io::Result<Self> {
        let mut builder = csv::WriterBuilder::new();
        builder.terminator(csv::Terminator::CRLF);
        let (mut rows, mut invalid) = (builder.from_writer(rows), builder.from_writer(invalid));
        rows.write_record(triggers::HEADER)?;
        invalid.write_record(triggers::INVALID_HEADER)?;
        let (latencies, summary) = (Latencies::new(room), TriggerSummary::default());
        Ok(Self { rows, invalid, latencies, summary, failed: None })
    }

    fn add(&mut self, outcome: Result<TriggerRow, InvalidTrigger>) -> io::Result<()> {
        match outcome {
            Ok(row) => {
                self.rows.write_record(triggers::fields(&row))?;
                self.summary.valid += 1;
                self.latencies.add(&row)
            }
            Err(InvalidTrigger { root_trace_id, receiver_trace_id, message }) => {
                let cells = [&root_trace_id, &receiver_trace_id, &message];
                self.invalid.write_record(cells.map(|text| to_cell(text).into_owned()))?;
                self.summary.invalid += 1;
                Ok(())
            }
        }
    }

    /// Adds the triggers of a trace of X-Ray; false where they cannot be written.
    fn add_trace(&mut self, recorded: Result<Recorded<'_>, Rejected>) -> bool {
        let found = match recorded {
            Ok(recorded) => triggers::aws::read(recorded),
            Err(Rejected { id, reason }) => {
                let id = id.unwrap_or_default();
                let (root_trace_id, receiver_trace_id) = (id.clone(), id);
                vec![Err(InvalidTrigger { root_trace_id, receiver_trace_id, message: reason.message() })]
            }
        };
        self.failed = found.into_iter().try_for_each(|outcome| self.add(outcome)).err();
        self.failed.is_none()
    }

    fn finish(mut self) -> io::Result<TriggerSummary> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.rows.flush()?;
        self.invalid.flush()?;
        self.summary.triggers = self.latencies.finish()?;
        Ok(self.summary)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::read::LONGEST;

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

    fn run(text: &str) -> (String, String, TriggerSummary) {
        let folder = tempfile::tempdir().unwrap();
        let mut results = [(1 << 20, 1 << 24), (64, 1_000)].map(|(chunk, bytes)| {
            let (mut triggers, mut invalid) = (Vec::new(), Vec::new());
            let texts = Texts::with_limits(text.as_bytes(), chunk, LONGEST);
            let room = Room::spilling_into(folder.path(), bytes);
            let summary = analyze(texts, &mut triggers, &mut invalid, room, &|| {}).unwrap();
            (triggers, invalid, summary)
        });
        assert!(results[0] == results[1], "with little room");
        let (triggers, invalid, summary) = std::mem::take(&mut results[0]);
        (String::from_utf8(triggers).unwrap(), String::from_utf8(invalid).unwrap(), summary)
    }

    /// A function that sends to a queue, calls another function, and is called by a gateway; and the function that takes the message.
    fn of_xray() -> String {
        let segment = |id: &str, parent: &str, name: &str, origin: &str, from: f64, to: f64, parts: Value| {
            let mut document =
                json!({ "id": id, "name": name, "start_time": from, "end_time": to, "subsegments": parts });
            for (key, value) in [("parent_id", parent), ("origin", origin)] {
                if !value.is_empty() {
                    document[key] = json!(value);
                }
            }
            document
        };
        let part = |id: &str, name: &str, from: f64, to: f64, parts: Value| {
            segment(id, "", name, "", from, to, parts)
        };
        let trace = |id: &str, duration: f64, documents: &[Value]| {
            let segments: Vec<Value> =
                documents.iter().map(|document| json!({ "Document": document.to_string() })).collect();
            json!({ "Id": id, "Duration": duration, "Segments": segments }).to_string()
        };
        let (service, function) = ("AWS::Lambda", "AWS::Lambda::Function");
        let calls = json!([part("q", "SQS", 1.2, 1.25, json!([])), part("c", "Lambda", 1.3, 1.6, json!([]))]);
        let first = [
            segment("g", "", "api", "AWS::ApiGateway::Stage", 1.0, 1.9, json!([])),
            segment("l1", "g", "first", service, 1.05, 1.8, json!([])),
            segment(
                "f1",
                "l1",
                "first",
                function,
                1.1,
                1.8,
                json!([part("i1", "Invocation", 1.11, 1.7, calls)]),
            ),
            segment("l2", "c", "second", service, 1.32, 1.58, json!([])),
            segment(
                "f2",
                "l2",
                "second",
                function,
                1.4,
                1.55,
                json!([
                    part("n", "Initialization", 1.34, 1.39, json!([])),
                    part("i2", "Invocation", 1.41, 1.5, json!([])),
                ]),
            ),
        ];
        let mut wait = segment("w", "", "jobs", "AWS::SQS::Queue", 1.25, 2.0, json!([]));
        wait["links"] = json!([{ "trace_id": "1-a", "id": "q" }]);
        let second = [
            wait,
            segment("l3", "w", "third", service, 2.01, 2.3, json!([])),
            segment("f3", "l3", "third", function, 2.05, 2.25, json!([])),
        ];
        let alone = [segment("x", "", "web", "AWS::EC2::Instance", 5.0, 5.1, json!([]))];
        [trace("1-a", 0.9, &first), trace("1-b", 1.05, &second), trace("1-c", 0.1, &alone)].join("\n")
    }

    #[test]
    fn of_xray_each_call_from_function_to_function_is_a_trigger() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("traces.json");
        std::fs::write(&path, of_xray()).unwrap();
        let summary = analyze_triggers(&path, &|_| {}).unwrap();
        let read = |name: &str| std::fs::read_to_string(path.with_file_name(name)).unwrap();
        let rows = read(TRIGGER_FILE);
        assert_eq!(
            rows.lines().skip(1).collect::<Vec<_>>(),
            [
                "1-a,1-a,1970-01-01 00:00:01.300000+00:00,1970-01-01 00:00:01.600000+00:00,1970-01-01 00:00:01.320000+00:00,\
                 1970-01-01 00:00:01.410000+00:00,,,,,,False,True",
                "1-a,1-a,1970-01-01 00:00:01.200000+00:00,1970-01-01 00:00:01.250000+00:00,1970-01-01 00:00:02.010000+00:00,\
                 1970-01-01 00:00:02.050000+00:00,,,,,,False,False",
            ]
        );
        assert!(read(INVALID_FILE).contains("1-c,1-c,no_trigger: no function"), "{}", read(INVALID_FILE));
        assert_eq!((summary.valid, summary.invalid), (2, 1));
        let (call, queue) = (&summary.triggers["lambda"], &summary.triggers["sqs"]);
        assert_eq!((call.traces, call.cold, call.trigger_ms.p50, call.start_ms.p50), (1, 1, -280.0, 90.0));
        assert_eq!(
            (queue.cold, queue.trigger_ms.p50, queue.start_ms.p50, queue.total_ms.p50),
            (0, 760.0, 40.0, 850.0)
        );
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
        assert_eq!((queue.traces, queue.trigger_ms.p50, queue.trigger_ms.p99), (2, 50.0, 99.0));
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
}
