//! Small datasets that a person can check: the published layout, ours, and damaged ones.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Cell, Options, Report, Status, Weight, read};

const K6_HEADER: &str = "metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,name,proto,\
                         scenario,service,status,subproto,tls_version,url,extra_tags\n";
const TRACE_HEADER: &str = "trace_id,start_time,end_time,duration,url,num_cold_starts,errors,throttles,faults,services,\
                            longest_path_names,orchestration,trigger,container_initialization,runtime_initialization,computation,\
                            queing,overhead,external_service,unclassified\r\n";

/// A folder of executions.
struct Data {
    folder: tempfile::TempDir,
}

impl Data {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// An execution in the published layout, of requests and traces that end in these numbers.
    fn published(&self, folder: &str, label: &str, requests: &[Request], traces: &[Trace]) {
        let config = format!("sb:\n  host: x\ntodo_api:\n  label: {label}\n  load_level: 2\n");
        self.write(&format!("{folder}/sb_config.yml"), &config);
        let rows = requests.iter().map(|request| {
            let Request { at, millis, url, tags } = request;
            format!(
                "http_reqs,{at},1,,,,true,,GET,{url},,,,200,,,{url},{tags}\n\
                 http_req_duration,{at},{millis},,,,true,,GET,{url},,,,200,,,{url},{tags}\n"
            )
        });
        self.write(&format!("{folder}/k6_metrics.csv"), &(K6_HEADER.to_owned() + &rows.collect::<String>()));
        let rows = traces.iter().map(|trace| {
            let Trace { id, start, millis, cold, faults } = trace;
            let part = millis / 2;
            format!(
                "{id},{start},{start},0:00:00.{millis:03}000,,{cold},0,0,{faults},['a'],\"['a', 'b']\",,,,,0:00:00.{part:03}000,,,,\r\n"
            )
        });
        let text = TRACE_HEADER.to_owned() + &rows.collect::<String>();
        self.write(&format!("{folder}/trace_breakdown.csv"), &text);
        self.write(&format!("{folder}/invalid_traces.csv"), "trace_id,message\n1-x,gone\n");
    }

    fn report(&self, as_published: bool) -> Report {
        Report::new(&read(&[self.path()], &Options { as_published, ..Options::default() }).unwrap())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

struct Request {
    at: u32,
    millis: &'static str,
    url: &'static str,
    tags: String,
}

struct Trace {
    id: String,
    start: &'static str,
    millis: u32,
    cold: u32,
    faults: u32,
}

fn id(number: u32) -> String {
    format!("1-{number:08x}-00112233445566778899aabb")
}

fn request(number: u32, at: u32, millis: &'static str, url: &'static str) -> Request {
    Request { at, millis, url, tags: format!("xray_header=Root={}", id(number)) }
}

fn trace(number: u32, start: &'static str, millis: u32, cold: u32) -> Trace {
    Trace { id: id(number), start, millis, cold, faults: 0 }
}

#[track_caller]
fn cell(report: &Report, table: &str, row: usize, column: &str) -> Cell {
    report.table(table).unwrap().column(column).unwrap_or_else(|| panic!("no column {column}")).cell(row)
}

const LIST: &str = "https://h/dev/lst";
const PUT: &str = "https://h/dev/put";

fn small() -> Data {
    let data = Data::new();
    let requests = [
        request(1, 100, "400.000000", LIST),
        request(2, 101, "30.000000", LIST),
        request(3, 102, "20.000000", LIST),
        request(4, 102, "10.000000", PUT),
    ];
    let mut traces = vec![
        trace(1, "100.000", 300, 2),
        trace(2, "101.000", 20, 0),
        trace(3, "101.500", 10, 0),
        trace(9, "102.000", 8, 1),
    ];
    traces[2].faults = 1;
    data.published(
        "lg1/raw/todo/logs/2022-01-01_00-00-00",
        "exp1_latency_breakdown_4x_burst20",
        &requests,
        &traces,
    );
    data
}

#[test]
fn an_execution_in_the_published_layout_is_counted_and_measured() {
    let data = small();
    for as_published in [true, false] {
        let report = data.report(as_published);
        let overview = |column| cell(&report, "overview", 0, column);
        assert_eq!(overview("logs_path"), "todo/logs/2022-01-01_00-00-00".into());
        assert_eq!(overview("app_path"), "todo/todo_api_benchmark.py".into());
        assert_eq!((overview("sent_requests"), overview("valid_traces")), (4_i64.into(), 4_i64.into()));
        assert_eq!(
            (overview("missing_requests"), overview("missing_rate")),
            ((-1_i64).into(), (-0.25).into())
        );
        assert_eq!((overview("error_rate"), overview("server_faults")), (0.25.into(), 1_i64.into()));
        assert_eq!(
            (overview("trace_duration_p50_ms"), overview("http_req_duration_mean_ms")),
            (15.0.into(), 115.0.into())
        );
        assert_eq!(
            (overview("relative_time_duration_seconds"), overview("actual_target_ratio")),
            (2.0.into(), 1.0.into())
        );
        let status = report.table("exp1_coldstart_status").unwrap();
        assert_eq!(status.rows(), 3, "cold and warm of listTodos, and a trace without a request");
        assert_eq!(cell(&report, "exp1_activities", 0, "p50_ns"), 4_000_000_i64.into(), "of no request");
        let penalty: i64 = (300_000 - 15_000) * 1000 / 2;
        assert_eq!(cell(&report, "exp1_cold_penalty", 0, "p50_ns"), penalty.into());
    }
}

#[test]
fn groups_are_by_type_and_status_and_count_what_failed() {
    let report = small().report(false);
    let group = |kind: Option<&str>, status| {
        let is_it =
            |group: &&crate::Group| group.key.request_type.as_deref() == kind && group.key.status == status;
        report.groups.iter().find(is_it).unwrap_or_else(|| panic!("no group {kind:?} {status:?}"))
    };
    let all = group(None, None);
    assert_eq!(
        (all.traces, all.errors, all.invalid, all.requests, all.cold_starts),
        (4, 1, Some(1), Some(4), 3)
    );
    let warm = group(Some("listTodos"), Some(Status::Warm));
    assert_eq!((warm.traces, warm.duration.unwrap().p50_ns, warm.requests), (2, 15_000_000, None));
    assert_eq!(warm.median_width_percent, None, "two traces are too few");
    let shares: Vec<(&str, Option<f64>)> =
        warm.activities.iter().map(|activity| (activity.activity, activity.mean_share)).collect();
    assert_eq!((shares.len(), shares[0]), (9, ("computation", Some(0.5))));
    let unsent = group(Some("createTodo"), None);
    assert_eq!((unsent.traces, unsent.duration, unsent.latency.unwrap().p50_ns), (0, None, 10_000_000));
}

/// An execution of ours: of each request its trace's number, latency and duration in milliseconds, cold starts, and whether it was
/// answered as expected.
fn ours(data: &Data, folder: &str, trial: &str, requests: &[(u32, u32, u32, bool)]) {
    data.write(
        &format!("{folder}/run.json"),
        &format!(
            r#"{{ "application": "shop", "plan": "p", "run": "r", "deployment": "shop.1", "trial": "{trial}" }}"#
        ),
    );
    let mut sent = "invocation,request,trace_id,planned,sent,answered,latency_ms,latency_from_planned_ms,status,outcome\n"
        .to_owned();
    let mut rows = TRACE_HEADER.to_owned();
    for (at, (number, millis, cold, is_ok)) in requests.iter().enumerate() {
        let (id, begun) = (id(*number), 100.0 + at as f64);
        let ended = begun + f64::from(*millis) / 1e3;
        let (status, outcome) = if *is_ok { (200, "ok") } else { (500, "failed_check") };
        sent.push_str(&format!(
            "{},buy,{id},{begun:.6},{begun:.6},{ended:.6},{millis}.000,{millis}.000,{status},{outcome}\n",
            at + 1
        ));
        let time = format!("0:00:{:02}.{:03}000", millis / 1000, millis % 1000);
        rows.push_str(&format!("{id},{begun},{ended},{time},,{cold},0,0,0,[],[],,,,,{time},,,,\r\n"));
    }
    data.write(&format!("{folder}/invocations.csv"), &sent);
    data.write(&format!("{folder}/trace_breakdown.csv"), &rows);
}

fn group(report: &Report, kind: Option<&str>, status: Option<Status>) -> crate::Group {
    let is_it =
        |group: &&crate::Group| group.key.request_type.as_deref() == kind && group.key.status == status;
    report.groups.iter().find(is_it).unwrap_or_else(|| panic!("no group {kind:?} {status:?}")).clone()
}

#[test]
fn failures_are_no_part_of_the_times_but_have_their_own() {
    let data = Data::new();
    // Failures answer fast.
    let requests =
        [(1, 100, 0, true), (2, 200, 0, true), (3, 300, 0, true), (4, 2, 0, false), (5, 4, 0, false)];
    ours(&data, "shop/logs/2026-01-01_00-00-00", "t1", &requests);
    let all = group(&data.report(false), Some("buy"), None);
    assert_eq!((all.traces, all.failed_traces, all.measured()), (5, 2, 3));
    assert_eq!((all.requests, all.failed_requests), (Some(5), Some(2)));
    let p50 = |figures: Option<crate::Figures>| figures.unwrap().p50_ns / 1_000_000;
    assert_eq!((p50(all.duration), p50(all.failed_duration)), (200, 3));
    assert_eq!((p50(all.latency), p50(all.failed_latency)), (200, 3));
    assert_eq!(all.activities[0].figures.mean_ns, 200_000_000, "computation");
    let failed = all.shares.failed_requests.unwrap();
    assert!((failed.share - 0.4).abs() < 1e-12 && failed.low < 0.15 && failed.high > 0.7, "{failed:?}");
    let report = data.report(false);
    let summary = crate::summary::summary(&report);
    assert!(
        summary.contains("| 3 | 2 (40.0 %, 11.8 to 76.9 %), latency p50 3.0 ms | 200.0 | 298.0 | 200.0 |"),
        "{summary}"
    );
    let row = (0..report.table("groups").unwrap().rows())
        .find(|row| cell(&report, "groups", *row, "request_type") == "buy".into())
        .unwrap();
    assert_eq!(cell(&report, "groups", row, "failed_duration_p50_ns"), 3_000_000_i64.into());
    assert_eq!(cell(&report, "groups", row, "duration_p50_ns"), 200_000_000_i64.into());
    // The study has all in one.
    let published = group(&data.report(true), Some("buy"), None);
    assert_eq!((published.measured(), p50(published.duration), p50(published.latency)), (5, 100, 100));
    assert_eq!((published.failed_duration, published.failed_latency), (None, None));
}

#[test]
fn traces_without_a_request_fail_by_their_own_errors() {
    let data = Data::new();
    let mut traces = vec![trace(1, "100.000", 300, 0), trace(2, "101.000", 4, 0)];
    traces[1].faults = 1;
    data.published("todo/logs/2022-01-01_00-00-00", "a", &[], &traces);
    fs::remove_file(data.path().join("todo/logs/2022-01-01_00-00-00/k6_metrics.csv")).unwrap();
    let all = group(&data.report(false), None, None);
    assert_eq!((all.traces, all.failed_traces, all.duration.unwrap().p50_ns), (2, 1, 300_000_000));
    assert_eq!((all.requests, all.shares.failed_requests), (None, None), "nobody knows");
}

#[test]
fn a_summary_says_why_types_do_not_add_up() {
    let data = Data::new();
    let requests = [(1, LIST), (2, LIST), (3, PUT)].map(|(number, url)| request(number, 100, "30.0", url));
    let traces = [1, 2, 9].map(|number| trace(number, "100.000", 20, 0));
    data.published("todo/logs/2022-01-01_00-00-00", "a", &requests, &traces);
    let summary = crate::summary::summary(&data.report(false));
    for row in [
        "| todo\\_api, a | all | 3 | 0 ",
        "| todo\\_api, a | listTodos | 2 | 0 ",
        "| todo\\_api, a | createTodo | 1 request | 0 ",
        "| todo\\_api, a | (unknown) | 1 | 0 ",
        "\nType (unknown): traces of which no file says the request.",
        "add up to `all` in column n: a type without traces that can be used is counted by its requests",
    ] {
        assert!(summary.contains(row), "{row}: {summary}");
    }
    assert!(!summary.to_lowercase().contains("nan"), "{summary}");
    let published = crate::summary::summary(&data.report(true));
    assert!(published.contains("| NaN | 1 |") && published.contains("\nType NaN: traces"), "{published}");
    // What adds up needs no words, and a single type that nobody knows is all there is.
    data.published("todo/logs/2022-01-01_00-00-00", "a", &requests[..2], &traces[..2]);
    let summary = crate::summary::summary(&data.report(false));
    assert!(!summary.contains("add up") && !summary.contains("Type "), "{summary}");
    fs::remove_file(data.path().join("todo/logs/2022-01-01_00-00-00/k6_metrics.csv")).unwrap();
    let summary = crate::summary::summary(&data.report(false));
    assert!(summary.contains("| todo\\_api, a | all | 2 | 0 ") && !summary.contains("Type "), "{summary}");
    // Nothing is left to measure where all requests failed.
    let failed = Data::new();
    ours(&failed, "shop/logs/2026-01-01_00-00-00", "t1", &[(1, 2, 0, false), (2, 4, 0, false)]);
    let summary = crate::summary::summary(&failed.report(false));
    assert!(summary.contains("| buy | 0 | 2 (100.0 %, "), "{summary}");
}

#[test]
fn a_verdict_says_how_many_more_trials_a_figure_needs() {
    let data = Data::new();
    for trial in 0..6_u32 {
        let requests: Vec<_> =
            (0..200).map(|at| (trial * 1000 + at, 100 + 5 * (trial % 3), 0, true)).collect();
        ours(&data, &format!("shop/logs/2026-01-01_00-00-0{trial}"), &format!("t{trial}"), &requests);
    }
    let report = data.report(false);
    let all = group(&report, Some("buy"), None);
    let verdicts: Vec<_> = all.precision.iter().map(|of| (of.figure, of.verdict)).collect();
    let crate::Verdict::MoreTrials { more: Some(more) } = verdicts[2].1 else { panic!("{verdicts:?}") };
    // Six trials of 100, 105 and 110 ms, twice each: a deviation of 4.47 ms. With 14 trials, 2.16 * 4.47 / sqrt(14) are 2.58 ms on
    // each side, which is less than 5 % of 105 ms; with 13 it is more. The error is resampled, so it may be one or two off.
    assert!((6..=10).contains(&more), "{verdicts:?}");
    let summary = crate::summary::summary(&report);
    assert!(summary.contains("more trials ("), "{summary}");
    let one = Data::new();
    ours(&one, "shop/logs/2026-01-01_00-00-00", "t1", &[(1, 100, 0, true); 30].map(|of| of));
    let verdict = group(&one.report(false), Some("buy"), None).precision[0].verdict;
    assert_eq!(verdict, crate::Verdict::TooFewTrials);
}

/// A trace of X-Ray: a gateway that calls some functions one after the other, the first of which start cold.
fn functions(number: u32, functions: usize, cold: usize) -> String {
    let mut segments = vec![
        serde_json::json!({ "id": "root", "name": "api", "origin": "AWS::ApiGateway::Stage", "start_time": 0.0, "end_time": 1.0 }),
    ];
    for place in 0..functions {
        let from = 0.1 + 0.3 * place as f64;
        let (lambda, function) = (format!("l{place}"), format!("f{place}"));
        segments.push(
            serde_json::json!({ "id": lambda, "parent_id": "root", "name": function, "origin": "AWS::Lambda",
            "start_time": from, "end_time": from + 0.25 }),
        );
        segments.push(serde_json::json!({ "id": function, "parent_id": lambda, "name": function,
            "origin": "AWS::Lambda::Function", "start_time": from + 0.1, "end_time": from + 0.2 }));
        if place < cold {
            segments.push(serde_json::json!({ "id": format!("i{place}"), "parent_id": function, "name": "Initialization",
                "start_time": from + 0.01, "end_time": from + 0.09 }));
        }
    }
    let documents: Vec<_> =
        segments.iter().map(|of| serde_json::json!({ "Document": of.to_string() })).collect();
    serde_json::json!({ "Id": id(number), "Duration": 1.0, "Segments": documents }).to_string()
}

#[test]
fn a_trace_is_cold_where_all_functions_on_its_path_were() {
    let data = Data::new();
    let folder = "shop/logs/2026-01-01_00-00-00";
    // The second has one function on its path, and the first three.
    let traces = [functions(1, 3, 3), functions(2, 1, 1), functions(3, 3, 1), functions(4, 1, 0)];
    let requests = [(1, 1000, 3, true), (2, 1000, 1, true), (3, 1000, 1, true), (4, 1000, 0, true)];
    ours(&data, folder, "t1", &requests);
    let counts = |report: &Report| {
        Status::ALL.map(|status| {
            let of = |group: &&crate::Group| {
                group.key.request_type.as_deref() == Some("buy") && group.key.status == Some(status)
            };
            report.groups.iter().find(of).map_or(0, |group| group.traces)
        })
    };
    assert_eq!(counts(&data.report(false)), [1, 2, 1], "the most cold starts are three");
    data.write(&format!("{folder}/traces.json"), &(traces.join("\n") + "\n"));
    let report = data.report(false);
    assert_eq!(counts(&report), [2, 1, 1]);
    assert!(!report.notes.iter().any(|note| note.to_string().contains("retry")), "{:?}", report.notes);
    let cold = group(&report, Some("buy"), None).shares.cold.unwrap();
    assert!((cold.share - 0.5).abs() < 1e-12 && cold.low > 0.1 && cold.high < 0.9, "{cold:?}");
    assert_eq!(counts(&data.report(true)), [1, 2, 1], "the study's definition");
    // A row that counts other cold starts is of another path.
    ours(&data, folder, "t1", &[(1, 1000, 3, true), (2, 1000, 2, true)]);
    assert_eq!(counts(&data.report(false)), [1, 1, 0]);
}

#[test]
fn a_trace_counts_once_and_tags_may_be_several() {
    let data = Data::new();
    let mut requests =
        vec![request(1, 100, "1.0", LIST), request(1, 101, "2.0", PUT), request(2, 102, "3.0", LIST)];
    requests[2].tags = format!("a=b&xray_header=Root={};Sampled=1&c=d", id(2));
    let mut empty = request(3, 103, "4.0", LIST);
    empty.tags.clear();
    requests.push(empty);
    let traces = [trace(1, "100.000", 10, 0), trace(2, "100.500", 10, 0)];
    data.published("todo/logs/2022-01-01_00-00-00", "exp1_latency_breakdown_4x_burst20", &requests, &traces);
    let counts = |as_published| -> Vec<(String, i64)> {
        let report = data.report(as_published);
        let statuses = report.table("exp1_coldstart_status").unwrap();
        let row = |row| match (
            cell(&report, statuses.name, row, "request_type"),
            cell(&report, statuses.name, row, "n"),
        ) {
            (Cell::Text(Some(kind)), Cell::Integer(Some(count))) => (kind.to_string(), count),
            other => panic!("{other:?}"),
        };
        (0..statuses.rows()).map(row).collect()
    };
    let expect = |counts: &[(&str, i64)]| -> Vec<(String, i64)> {
        counts.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
    };
    assert_eq!(counts(false), expect(&[("listTodos", 2)]));
    assert_eq!(counts(true), expect(&[("NaN", 1), ("createTodo", 1), ("listTodos", 1)]));
}

#[test]
fn executions_with_one_workload_label_are_all_counted() {
    let data = Data::new();
    for (folder, first) in [("2022-01-01_00-00-00", 10), ("2022-01-02_00-00-00", 20)] {
        let requests: Vec<Request> = (0..3).map(|number| request(first + number, 100, "1.0", LIST)).collect();
        let traces: Vec<Trace> = ["100.000", "160.000", "159.999"]
            .into_iter()
            .zip(0..)
            .map(|(start, number)| trace(first + number, start, 10 * number + 1, 0))
            .collect();
        data.published(
            &format!("todo/logs/{folder}"),
            "exp3_workload_types_20min_steady",
            &requests,
            &traces,
        );
    }
    for (as_published, all, after) in [(true, 3, 1), (false, 6, 2)] {
        let report = data.report(as_published);
        let count = |column| cell(&report, "exp3_workloads", 0, column);
        assert_eq!(
            (count("n_all"), count("n_after_skip")),
            (Cell::Integer(Some(all)), Cell::Integer(Some(after)))
        );
        assert_eq!(
            report.table("exp3_ecdf").unwrap().rows() > 0,
            !as_published,
            "the paper shows no curve of this type"
        );
    }
}

#[test]
fn rates_of_nothing_are_unknown() {
    let data = Data::new();
    data.published("todo/logs/2022-01-01_00-00-00", "a", &[request(1, 100, "1.0", LIST)], &[]);
    let rate = |as_published, column| cell(&data.report(as_published), "overview", 0, column);
    assert_eq!((rate(true, "error_rate"), rate(false, "error_rate")), (100.0.into(), Cell::Float(None)));
    assert_eq!(
        (rate(true, "trace_duration_p50_ms"), rate(false, "trace_duration_p50_ms")),
        (0.0.into(), Cell::Float(None))
    );
}

#[test]
fn damaged_rows_and_folders_are_named_and_the_rest_is_read() {
    let data = small();
    let logs = "lg1/raw/todo/logs/2022-01-01_00-00-00";
    let append = |name: &str, text: &str| {
        let path = format!("{logs}/{name}");
        let before = fs::read_to_string(data.path().join(&path)).unwrap();
        data.write(&path, &(before + text));
    };
    append(
        "k6_metrics.csv",
        "http_req_duration,soon,1,,,,,,,,,,,,,,,\nhttp_req_duration,5\nhttp_req_duration,5,x,,,,,,,,,,,,,,,\n",
    );
    append(
        "trace_breakdown.csv",
        "1-z,100,100,1.5,,0,0,0,0,,,,,,,,,,,\r\n1-y,100,100,0:00:01,,-1,0,0,0,,,,,,,,,,,\r\n\"1-w",
    );
    data.write("lg1/raw/todo/logs/2022-01-02_00-00-00/sb_config.yml", "todo_api: [");
    data.write("lg1/raw/todo/logs/2022-01-03_00-00-00/k6_metrics.csv", "a,b\n1,2\n");
    data.write("lg1/raw/todo/logs/2022-01-04_00-00-00/trace_breakdown.csv", "");
    let report = data.report(false);
    assert_eq!(report.executions, 4);
    assert_eq!(cell(&report, "overview", 0, "valid_traces"), 4_i64.into());
    let notes: Vec<String> = report
        .notes
        .iter()
        .filter(|note| note.weight == Weight::Warning)
        .map(|note| note.to_string().replace(&format!("{}/lg1/raw/todo/logs/", data.path().display()), ""))
        .collect();
    insta::assert_snapshot!(notes.join("\n"));
}

#[test]
fn our_own_folders_have_names_factors_and_plans() {
    let data = Data::new();
    let header = "invocation,request,trace_id,planned,sent,answered,latency_ms,latency_from_planned_ms,status,outcome\n";
    for (folder, rate) in [("2026-01-01_00-00-00", 5), ("2026-01-01_00-01-00", 50)] {
        let run = format!(
            r#"{{ "application": "shop", "plan": "exp2-load-levels", "run": "r1", "trial": "t{rate}", "factors": {{ "rate": {rate} }},
                "labels": {{ "owner": "me" }}, "load": {{ "kind": "constant", "rate_per_s": {rate}, "duration_s": 0.5, "speed": 1.0 }} }}"#
        );
        data.write(&format!("shop/logs/{folder}/run.json"), &run);
        data.write(&format!("shop/logs/{folder}/sb_config.yml"), "app: \"shop\"\nparams: {}\n");
        let rows = format!(
            "{header}1,buy,{},10.000000,10.000100,10.020100,20.000,20.100,200,ok\n2,buy,,10.500000,10.500000,,,,,timeout\n\
             3,look,,11.200000,,,,,,dropped\n4,look,,12.0",
            id(1)
        );
        data.write(&format!("shop/logs/{folder}/invocations.csv"), &rows);
        let trace =
            format!("{},10.001,10.015,0:00:00.014000,,0,0,0,0,[],[],,,,,0:00:00.014000,,,,\r\n", id(1));
        data.write(&format!("shop/logs/{folder}/trace_breakdown.csv"), &(TRACE_HEADER.to_owned() + &trace));
    }
    data.write("shop/benchmark.toml", "");
    let report = data.report(false);
    let levels = |column| cell(&report, "exp2_load_levels", 0, column);
    assert_eq!((levels("label"), levels("trial")), ("exp2-load-levels".into(), "t5".into()));
    assert_eq!(
        (levels("sent_requests"), levels("failed_requests"), levels("not_sent_requests")),
        (2_i64.into(), 1_i64.into(), 1_i64.into())
    );
    assert_eq!(levels("target_invocations_per_second"), 5.0.into());
    assert_eq!(
        (levels("actual_invocations_per_second"), levels("planned_duration_seconds")),
        (4.0.into(), 0.5.into())
    );
    let inside = data.path().join("shop/logs");
    for given in [data.path(), inside.clone(), inside.join("2026-01-01_00-00-00")] {
        let report = Report::new(&read(&[given], &Options::default()).unwrap());
        assert_eq!(cell(&report, "overview", 0, "logs_path"), "shop/logs/2026-01-01_00-00-00".into());
        assert_eq!(cell(&report, "overview", 0, "app_path"), "shop/benchmark.toml".into());
    }
    let groups: Vec<_> = report
        .groups
        .iter()
        .filter(|group| group.key.request_type.as_deref() == Some("buy") && group.key.status.is_none())
        .map(|group| (group.key.factors["rate"].as_str(), group.requests, group.traces))
        .collect();
    assert_eq!(groups, [("5", Some(2), 1), ("50", Some(2), 1)]);
    let planned: Vec<Cell> =
        (0..2).map(|row| cell(&report, "per_second", row, "workload_options_ips")).collect();
    assert_eq!(planned, [2.0.into(), 1.0.into()], "due in the first and second second");
    assert!(report.notes.iter().any(|note| note.message.contains("cut off")), "{:?}", report.notes);
    assert!(report.table("groups").unwrap().column("factor_rate").is_some());
}

#[test]
fn traces_without_a_breakdown_are_analysed_and_only_those() {
    let data = Data::new();
    let trace = r#"{"Id": "1-00000001-00112233445566778899aabb", "Duration": 0.1, "Segments": [{"Document": "{\"id\": \"a\", \"name\": \"f\", \"origin\": \"AWS::Lambda::Function\", \"start_time\": 0.0, \"end_time\": 0.1, \"trace_id\": \"1-00000001-00112233445566778899aabb\"}"}]}"#;
    for (folder, has_breakdown) in [("a", false), ("b", true)] {
        data.write(&format!("x/logs/{folder}/traces.json"), trace);
        if has_breakdown {
            data.write(&format!("x/logs/{folder}/trace_breakdown.csv"), TRACE_HEADER);
        }
    }
    let report = data.report(false);
    let traces: Vec<u64> = report
        .groups
        .iter()
        .filter(|group| group.key.request_type.is_none() && group.key.status.is_none())
        .map(|group| group.traces)
        .collect();
    assert_eq!(traces, [1], "the breakdown that is there stays empty");
    let kept = fs::read_to_string(data.path().join("x/logs/b/trace_breakdown.csv")).unwrap();
    assert_eq!(kept, TRACE_HEADER);
    assert!(Path::new(&data.path().join("x/logs/a/trace_breakdown.csv")).is_file());
}

#[test]
fn a_folder_without_executions_gives_an_empty_report_and_a_missing_one_an_error() {
    let data = Data::new();
    let report = data.report(false);
    assert_eq!(report.executions, 0);
    assert!(report.tables.iter().all(|table| table.rows() == 0));
    let error = read(&[data.path().join("gone")], &Options::default()).unwrap_err().to_string();
    assert!(error.contains("gone") && error.contains("name a folder of executions"), "{error}");
}

#[test]
fn a_rate_is_by_the_time_of_sending_and_not_by_a_longer_pattern_or_plan() {
    let logs = "raw/todo/logs/2022-01-01_00-00-00";
    // Two requests a second for 60 seconds; k6 writes whole seconds.
    let requests: Vec<Request> =
        (0..120).map(|number| request(number, 1000 + number / 2, "500.0", LIST)).collect();
    let rate = |plan: &str, count: usize, as_published| {
        let data = Data::new();
        data.published(logs, "exp2_load_levels", &requests[..count], &[]);
        let config = "sb:\n  host: x\ntodo_api:\n  label: a\n  load_level: 2\n  workload_type: steady\n";
        data.write(&format!("{logs}/sb_config.yml"), config);
        if !plan.is_empty() {
            let plan = format!(r#"{{ "scenarios": {{ "benchmark_scenario": {{ "stages": [{plan}] }} }} }}"#);
            data.write(&format!("{logs}/workload_options.json"), &plan);
        }
        // A pattern of half an hour.
        let folder = if as_published { "20min_20rps" } else { "20min_picks" };
        data.write(&format!("workload_traces/{folder}/steady.csv"), &"120\n".repeat(30));
        let report = data.report(as_published);
        ["actual_invocations_per_second", "actual_target_ratio", "http_concurrency"]
            .map(|column| cell(&report, "overview", 0, column))
    };
    let good: [Cell; 3] = [2.0.into(), 1.0.into(), 1.0.into()];
    let minute = r#"{ "duration": "60s", "target": 2 }"#;
    let tail =
        format!(r#"{minute}, {{ "duration": "0s", "target": 0 }}, {{ "duration": "60m", "target": 0 }}"#);
    let longer = r#"{ "duration": "60m", "target": 2 }"#;
    let numbers = |plan: &str, count| rate(plan, count, false);
    assert_eq!(numbers(minute, 120), good, "as planned");
    assert_eq!(numbers(&tail, 120), good, "nothing is sent in the tail");
    assert_eq!(numbers(longer, 120), [2.03.into(), 1.01.into(), 1.01.into()], "the plan was not reached");
    assert_eq!(numbers("", 120), [2.03.into(), 1.01.into(), 1.01.into()], "there is no plan");
    assert_eq!(numbers(minute, 60)[0], 2.07.into(), "it ended after 29 seconds");
    assert_eq!(rate(minute, 120, true)[0], 0.07.into(), "as published, by the pattern");
    // A single request has a rate only where the plan says for how long.
    let unknown = [Cell::Float(None), Cell::Float(None), Cell::Float(None)];
    assert_eq!(numbers("", 1), unknown);
    assert_eq!(numbers(minute, 1), unknown);
    assert_eq!(numbers(r#"{ "duration": "1s", "target": 1 }"#, 1)[0], 1.0.into());
}

#[test]
fn a_retry_that_makes_the_others_partial_is_said_in_every_table() {
    let notes = |label: &str, most: &[u32]| -> Vec<String> {
        let data = Data::new();
        let requests: Vec<Request> = (0..20).map(|number| request(number, 100, "1.0", LIST)).collect();
        // The first one starts a minute before the others, and is left out of exp3.
        let traces: Vec<Trace> = (0..20)
            .map(|number| {
                let cold = most.get(number as usize).copied().unwrap_or(2);
                trace(number, if number == 0 { "100.000" } else { "160.000" }, 10, cold)
            })
            .collect();
        data.published("todo/logs/2022-01-01_00-00-00", label, &requests, &traces);
        let notes = data.report(false).notes;
        notes.into_iter().map(|note| note.message).filter(|message| message.contains("partial")).collect()
    };
    let exp1 = "exp1_latency_breakdown_4x_burst20";
    let text = |tables: &str, partial: u32| {
        format!(
            "todo_api listTodos, in {tables}: only 1 trace has the most cold starts, 3. Because of that, {partial} with \
             fewer count as partial and not as cold; a retry may have started a function twice"
        )
    };
    assert_eq!(notes(exp1, &[0, 3]), [text("exp1 and groups", 18)]);
    let exp3 = "exp3_workload_types_20min_steady";
    assert_eq!(notes(exp3, &[0, 3]), [text("exp3 and groups", 18)]);
    assert_eq!(notes(exp3, &[3]), [text("groups", 19)], "its only such trace is in the first minute");
    assert_eq!(notes("other", &[0, 3]), [text("groups", 18)]);
    assert_eq!(notes(exp1, &[0, 3, 3]), [""; 0], "two of twenty are no exception");
    assert_eq!(notes(exp1, &[2]), [""; 0]);
}

const LOGS: &str = "lg1/raw/todo/logs/2022-01-01_00-00-00";

#[test]
fn what_no_file_says_is_unknown_and_no_issue() {
    let unknown = [Cell::Integer(None), Cell::Float(None)];
    let columns = |data: &Data, names: &[&str], as_published| -> Vec<Cell> {
        let report = data.report(as_published);
        names.iter().map(|name| cell(&report, "overview", 0, name)).collect()
    };
    let counts = ["valid_traces", "received_requests", "missing_requests", "success_traces", "server_faults"];
    let rates = ["invalid_rate", "missing_rate", "error_rate", "valid_success_rate"];
    for text in [None, Some(""), Some("a,b\n1,2\n")] {
        let data = small();
        fs::remove_file(data.path().join(LOGS).join("trace_breakdown.csv")).unwrap();
        if let Some(text) = text {
            data.write(&format!("{LOGS}/trace_breakdown.csv"), text);
        }
        assert_eq!(columns(&data, &counts, false), vec![unknown[0].clone(); 5], "{text:?}");
        assert_eq!(columns(&data, &rates, false), vec![unknown[1].clone(); 4], "{text:?}");
        let rest = ["sent_requests", "invalid_traces", "actual_target_ratio", "issues"];
        let expected: [Cell; 4] = [4_i64.into(), 1_i64.into(), 1.0.into(), "".into()];
        assert_eq!(columns(&data, &rest, false), expected);
        assert_eq!(columns(&data, &["valid_traces", "error_rate"], true), [0_i64.into(), 100.0.into()]);
    }
    for text in ["", K6_HEADER, "a,b\n1,2\n"] {
        let data = small();
        data.write(&format!("{LOGS}/k6_metrics.csv"), text);
        let counts = ["sent_requests", "missing_requests"];
        assert_eq!(columns(&data, &counts, false), vec![unknown[0].clone(); 2], "{text:?}");
        let rates =
            ["missing_rate", "valid_success_rate", "actual_invocations_per_second", "actual_target_ratio"];
        assert_eq!(columns(&data, &rates, false), vec![unknown[1].clone(); 4], "{text:?}");
        let rest = ["valid_traces", "error_rate", "issues"];
        assert_eq!(
            columns(&data, &rest, false),
            [4_i64.into(), 0.25.into(), "invalid_rate,error_rate".into()]
        );
        assert_eq!(columns(&data, &["sent_requests"], true), [0_i64.into()]);
        let notes = data.report(false).notes;
        let said = |note: &&crate::Note| {
            note.weight == Weight::Warning && note.to_string().contains("k6_metrics.csv: ")
        };
        assert_eq!(notes.iter().filter(said).count(), 1, "{notes:?}");
    }
}

#[test]
fn an_execution_counts_once_however_it_is_named() {
    let data = small();
    let raw = data.path().join("lg1/raw");
    let link = data.path().join("link");
    std::os::unix::fs::symlink(&raw, &link).unwrap();
    let empty = data.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let folders = [
        raw.clone(),
        raw.join("."),
        raw.join("todo/logs"),
        data.path().join(LOGS),
        link,
        empty.clone(),
        empty.join("."),
    ];
    let report = Report::new(&read(&folders, &Options::default()).unwrap());
    assert_eq!((report.executions, report.groups[0].traces), (1, 4));
    let found = crate::distinct_execution_folders(&folders).unwrap();
    assert_eq!((found.executions.len(), &found.executions[0].folder), (1, &data.path().join(LOGS)));
    assert_eq!(found.empty, [empty], "a folder whose executions are known already is not empty");
}

#[test]
fn a_folder_of_patterns_that_is_not_there_is_an_error() {
    let data = small();
    let check = |patterns: PathBuf| {
        let options = Options { patterns: Some(patterns), ..Options::default() };
        read(&[data.path()], &options).map(|_| ()).map_err(|error| error.to_string())
    };
    for wrong in ["gone", "lg1/raw/todo/logs/2022-01-01_00-00-00/sb_config.yml"] {
        let error = check(data.path().join(wrong)).unwrap_err();
        assert!(error.contains(wrong) && error.contains("that has `20min_picks` inside"), "{error}");
    }
    assert_eq!(check(data.path()), Ok(()));
}

/// The same rows, every field in quotes.
fn quoted(text: &str) -> String {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    let mut writer = csv::WriterBuilder::new().quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
    for record in reader.records() {
        writer.write_record(&record.unwrap()).unwrap();
    }
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

#[test]
fn quotes_around_every_field_change_nothing() {
    let data = small();
    let tables = |as_published| {
        let report = data.report(as_published);
        assert_eq!(report.notes.iter().filter(|note| note.weight == Weight::Warning).count(), 0);
        serde_json::to_value(&report.tables).unwrap()
    };
    let plain = [tables(true), tables(false)];
    let logs = "lg1/raw/todo/logs/2022-01-01_00-00-00";
    for name in ["k6_metrics.csv", "trace_breakdown.csv", "invalid_traces.csv"] {
        let path = format!("{logs}/{name}");
        let text = quoted(&fs::read_to_string(data.path().join(&path)).unwrap());
        assert!(text.starts_with('"'));
        data.write(&path, &text);
    }
    assert_eq!([tables(true), tables(false)], plain);
    assert_eq!(cell(&data.report(false), "overview", 0, "sent_requests"), 4_i64.into());
}

#[test]
fn a_request_without_a_time_was_sent_all_the_same() {
    let data = Data::new();
    let times = ["4.0", "", "nan", "1e300", "2.0"];
    let requests: Vec<Request> =
        (1..).zip(times).map(|(number, millis)| request(number, 100 + number, millis, LIST)).collect();
    let traces: Vec<Trace> = (1..=5).map(|number| trace(number, "100.000", 10, 0)).collect();
    data.published("todo/logs/2022-01-01_00-00-00", "exp1_latency_breakdown_4x_burst20", &requests, &traces);
    for as_published in [true, false] {
        let report = data.report(as_published);
        let overview = |column| cell(&report, "overview", 0, column);
        assert_eq!(
            (overview("sent_requests"), overview("missing_requests")),
            (5_i64.into(), (-1_i64).into()),
            "one invalid trace is received, too"
        );
        assert_eq!(overview("http_req_duration_mean_ms"), 3.0.into(), "of the two that have one");
        let statuses = report.table("exp1_coldstart_status").unwrap();
        assert_eq!(
            (statuses.rows(), cell(&report, statuses.name, 0, "n")),
            (1, 5_i64.into()),
            "all are joined"
        );
        let notes: Vec<String> = report.notes.iter().map(ToString::to_string).collect();
        let said = |text: &&String| text.contains("counts as sent, without a latency");
        assert_eq!(notes.iter().filter(said).count(), 3, "{notes:?}");
    }
}

#[test]
fn doubled_quotes_of_names_are_one_quote() {
    let data = Data::new();
    let config = "sb:\n  host: x\nshop:\n  label: one\n";
    data.write("shop/logs/2022-01-01_00-00-00/sb_config.yml", config);
    let rows = "http_req_duration,100,1.0,,,,true,,GET,\"say \"\"hi\"\"\",,,,200,,,https://h/a,\n\
                http_req_duration,100,1.0,,,,true,,\"G\"\"T\",\"https://h/\"\"b\",,,,200,,,\"https://h/\"\"b\",\n";
    data.write("shop/logs/2022-01-01_00-00-00/k6_metrics.csv", &(K6_HEADER.to_owned() + rows));
    let report = data.report(false);
    let mut types: Vec<&str> =
        report.groups.iter().filter_map(|group| group.key.request_type.as_deref()).collect();
    types.sort_unstable();
    assert_eq!(types, ["G\"T /\"b", "say \"hi\""]);
}

/// A folder with a damaged file counts nowhere, and is named once, however often it is given.
#[test]
fn folders_that_are_left_out_count_nowhere() {
    let data = Data::new();
    for trial in 0..3 {
        let requests: Vec<_> = (0..5).map(|at| (trial * 10 + at, 100, 0, true)).collect();
        ours(&data, &format!("shop/logs/2026-01-01_00-00-0{trial}"), &format!("t{trial}"), &requests);
    }
    let damaged = data.path().join("shop/logs/2026-01-01_00-00-01");
    let rows = fs::read_to_string(damaged.join("trace_breakdown.csv")).unwrap();
    fs::write(damaged.join("trace_breakdown.csv"), rows.replace("0:00:00.100000", "0:00:00,1")).unwrap();
    for as_published in [false, true] {
        let lenient = data.report(as_published);
        assert_eq!(lenient.executions, 3);
        assert!(lenient.notes.iter().any(|note| note.message.contains("the row is left out")));
        let options = Options { as_published, whole_folders: true, ..Options::default() };
        let dataset = read(&[data.path(), damaged.clone()], &options).unwrap();
        assert_eq!(dataset.left_out().iter().map(|(folder, _)| folder).collect::<Vec<_>>(), [&damaged]);
        let report = Report::new(&dataset);
        assert_eq!(report.executions, 2);
        assert!(!report.notes.iter().any(|note| note.message.contains("the row is left out")));
        let all = group(&report, None, None);
        assert_eq!((all.requests, all.traces), (Some(10), 10));
        let said: Vec<_> =
            report.notes.iter().filter(|note| note.message.contains("left out as a whole")).collect();
        assert_eq!(said.len(), 1, "{:?}", report.notes);
        assert_eq!((said[0].weight, said[0].path.as_deref()), (Weight::Warning, Some(&*damaged)));
    }
}

/// The summary of a load of so many requests, all of them answered.
fn load_summary(sent: u64) -> String {
    format!(
        r#"{{"version": 1, "planned": {sent}, "sent": {sent}, "answered": {sent}, "failed": 0, "dropped": 0, "outcomes": {{}},
           "latency_ms": null, "latency_from_planned_ms": null, "lateness_ms": null, "started": "1.000000", "ended": "2.000000",
           "cancelled": false, "invalid": []}}"#
    )
}

/// Rows that are gone are damage, although every row that is left is right, and the file is read once only.
#[test]
fn an_execution_that_lost_rows_is_left_out_as_a_whole() {
    let data = Data::new();
    let logs = "shop/logs/2026-01-01_00-00-00";
    ours(&data, logs, "t1", &[(1, 20, 0, true), (2, 30, 0, true), (3, 40, 0, true)]);
    let options = Options { whole_folders: true, ..Options::default() };
    for (sent, left_out) in [(3, 0), (4, 1)] {
        data.write(&format!("{logs}/load_summary.json"), &load_summary(sent));
        let dataset = read(&[data.path()], &options).unwrap();
        assert_eq!(
            (dataset.left_out().len(), dataset.executions(), dataset.read_again),
            (left_out, 1 - left_out, 0)
        );
        assert!(
            dataset
                .left_out()
                .iter()
                .all(|(_, why)| why.contains("has 3 requests that were sent, 3 of them answered"))
        );
    }
}

/// Why a load must not be used is said of each execution, and once for all that have the same reason.
#[test]
fn loads_that_must_not_be_used_are_named_with_their_reasons() {
    let data = Data::new();
    let logs = |trial: u32| format!("shop/logs/2026-01-01_00-00-0{trial}");
    for trial in 0..5 {
        ours(&data, &logs(trial), &format!("t{trial}"), &[(trial, 20, 0, true)]);
        // The first two were killed, and have no summary.
        let late = format!("Invocations were late by {trial}.5 ms where 1 ms is tolerated.");
        let reasons = if trial == 4 { "[]".to_owned() } else { format!("[{late:?}]") };
        if trial > 1 {
            let summary = load_summary(1).replace("\"invalid\": []", &format!("\"invalid\": {reasons}"));
            data.write(&format!("{}/load_summary.json", logs(trial)), &summary);
        }
    }
    let report = data.report(false);
    let at = |row, column| match cell(&report, "overview", row, column) {
        Cell::Text(text) => text.unwrap_or_default().to_string(),
        other => panic!("{other:?}"),
    };
    assert!(at(0, "issues").split(',').any(|name| name == "invalid_load"), "{}", at(0, "issues"));
    assert!(at(1, "invalid_reasons").contains("the load did not come to its end"));
    assert_eq!(at(3, "invalid_reasons"), "Invocations were late by 3.5 ms where 1 ms is tolerated.");
    assert!(!at(4, "issues").contains("invalid_load") && at(4, "invalid_reasons").is_empty());
    let notes: Vec<String> = report.notes.iter().map(ToString::to_string).collect();
    let said: Vec<&String> = notes.iter().filter(|note| note.contains("must not be used")).collect();
    assert_eq!(said.len(), 2, "{notes:?}");
    let of = |text: &str| {
        said.iter().find(|note| note.contains(text)).unwrap().starts_with("the loads of 2 executions")
    };
    assert!(of("did not come to its end") && of("late by 2.5 ms"), "{said:?}");
    let summary = crate::summary::summary(&report);
    let line = summary.lines().find(|line| line.contains("00-00-03:")).unwrap();
    assert!(line.contains("invalid\\_load") || line.contains("invalid_load"), "{line}");
    assert!(line.contains("late by 3.5 ms"), "{line}");
    assert!(!data.report(true).notes.iter().any(|note| note.message.contains("must not be used")));
}

#[test]
fn iterations_that_k6_dropped_were_not_sent() {
    let data = small();
    let file = "lg1/raw/todo/logs/2022-01-01_00-00-00/k6_metrics.csv";
    let text = fs::read_to_string(data.path().join(file)).unwrap();
    let before = data.report(false);
    let sent = group(&before, None, None).requests.unwrap();
    let row = |count: &str| format!("dropped_iterations,1,{count},,,,,,,,,,,,,,,\n");
    data.write(file, &format!("{text}{}{}", row("30"), row("5.0")));
    let report = data.report(false);
    let all = group(&report, None, None);
    assert_eq!((all.requests, all.failed_requests, all.not_sent_requests), (Some(sent), Some(0), Some(35)));
    assert_eq!(cell(&report, "overview", 0, "not_sent_requests"), 35_i64.into());
    let sent_of = |of: &Report| cell(of, "overview", 0, "sent_requests");
    assert_eq!(sent_of(&report), sent_of(&before));
    let of_type = report.groups.iter().find(|group| group.key.request_type.is_some()).unwrap();
    assert_eq!(of_type.not_sent_requests, None, "nobody knows of which type they were");
    assert!(
        crate::summary::summary(&report).contains("(0 failed, 35 more never sent)"),
        "{}",
        crate::summary::summary(&report)
    );
    // The study has no such column, and no such count.
    let published = data.report(true);
    assert_eq!(group(&published, None, None).not_sent_requests, None);
    assert_eq!(
        cell(&published, "overview", 0, "missing_requests"),
        cell(&before, "overview", 0, "missing_requests")
    );
    data.write(file, &format!("{text}{}", row("many")));
    let report = data.report(false);
    assert!(report.notes.iter().any(|note| note.message.contains("`many` is not a number of iterations")));
}

/// Whatever is in the files, something is read and nothing panics; what is left out is said.
#[test]
fn files_with_any_bytes_changed_are_read_without_a_panic() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    let data = small();
    let logs = data.path().join("lg1/raw/todo/logs/2022-01-01_00-00-00");
    let names = ["k6_metrics.csv", "trace_breakdown.csv", "sb_config.yml", "invalid_traces.csv"];
    let whole: Vec<Vec<u8>> = names.iter().map(|name| fs::read(logs.join(name)).unwrap()).collect();
    let bytes = prop::sample::select(b"\",\n\r-:.09e'x\xff\0 ".to_vec());
    let change = (0..names.len(), any::<prop::sample::Index>(), bytes, 0_usize..3);
    let strategy = prop::collection::vec(change, 1..6);
    TestRunner::new(Config { cases: 200, ..Config::default() })
        .run(&strategy, |changes| {
            let mut files = whole.clone();
            for (file, at, byte, kind) in changes {
                let text = &mut files[file];
                let at = at.index(text.len());
                match kind {
                    0 => text[at] = byte,
                    1 => text.insert(at, byte),
                    _ => text.truncate(at.max(1)),
                }
            }
            for (name, text) in names.iter().zip(&files) {
                fs::write(logs.join(name), text).unwrap();
            }
            for as_published in [true, false] {
                let report = data.report(as_published);
                prop_assert_eq!(report.executions, 1);
                let Cell::Integer(Some(valid)) = cell(&report, "groups", 0, "traces") else { panic!() };
                prop_assert!((0..=4).contains(&valid));
            }
            Ok(())
        })
        .unwrap();
}

/// Whatever is in the files, a folder is left out exactly where a summary would leave it out, although the files are read once only.
#[test]
fn folders_are_left_out_where_summaries_leave_them_out() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    let data = small();
    let published = data.path().join("lg1/raw/todo/logs/2022-01-01_00-00-00");
    ours(
        &data,
        "shop/logs/2026-01-01_00-00-00",
        "t1",
        &[(1, 20, 0, true), (2, 30, 1, false), (3, 40, 0, true)],
    );
    let shop = data.path().join("shop/logs/2026-01-01_00-00-00");
    data.write("shop/logs/2026-01-01_00-00-00/load_summary.json", &load_summary(3));
    let files: Vec<PathBuf> = [
        (&published, "k6_metrics.csv"),
        (&published, "trace_breakdown.csv"),
        (&published, "invalid_traces.csv"),
        (&shop, "invocations.csv"),
        (&shop, "trace_breakdown.csv"),
        (&shop, "run.json"),
    ]
    .map(|(folder, name)| folder.join(name))
    .to_vec();
    let whole: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let bytes = prop::sample::select(b"\",\n\r-:.059e'[]x\xff\0 ".to_vec());
    let change = (0..files.len(), any::<prop::sample::Index>(), bytes, 0_usize..4);
    let strategy = prop::collection::vec(change, 0..4);
    let counts = [std::cell::Cell::new(0), std::cell::Cell::new(0)];
    TestRunner::new(Config { cases: 600, ..Config::default() })
        .run(&strategy, |changes| {
            let mut texts = whole.clone();
            for (file, at, byte, kind) in changes {
                let text = &mut texts[file];
                let at = at.index(text.len());
                match kind {
                    0 => text[at] = byte,
                    1 => text.insert(at, byte),
                    2 => drop(text.remove(at)),
                    _ => text.truncate(at.max(1)),
                }
            }
            for (file, text) in files.iter().zip(&texts) {
                fs::write(file, text).unwrap();
            }
            let options = Options { whole_folders: true, ..Options::default() };
            for folder in [&published, &shop] {
                let dataset = read(std::slice::from_ref(folder), &options).unwrap();
                let expected = sb_analysis::check_folder(folder).err().map(|error| error.to_string());
                let found = dataset.left_out().first().map(|(_, reason)| reason.clone());
                prop_assert_eq!(&found, &expected);
                counts[usize::from(found.is_some())].update(|count| count + 1);
            }
            Ok(())
        })
        .unwrap();
    assert!(counts.iter().all(|count| count.get() > 100), "sound and damaged: {counts:?}");
}

/// Files as our programs write them are plain: nobody reads them a second time.
#[test]
fn files_as_they_are_written_are_plain() {
    let data = small();
    ours(&data, "shop/logs/2026-01-01_00-00-00", "t1", &[(1, 20, 0, true), (2, 30, 1, false)]);
    let options = Options { whole_folders: true, ..Options::default() };
    let dataset = read(&[data.path()], &options).unwrap();
    assert_eq!(dataset.executions(), 2, "{:?}", dataset.notes());
    assert_eq!(dataset.read_again, 0);
    // An exponent is right, but not plain.
    let rows = data.path().join("shop/logs/2026-01-01_00-00-00/trace_breakdown.csv");
    let text = fs::read_to_string(&rows).unwrap();
    fs::write(&rows, text.replacen(",100,", ",1e2,", 1)).unwrap();
    let dataset = read(&[data.path()], &options).unwrap();
    assert_eq!((dataset.executions(), dataset.read_again), (2, 1));
}

#[test]
fn a_link_out_of_an_execution_is_refused_and_named_whichever_file_it_stands_for() {
    let name = "lg1/raw/todo/logs/2022-01-01_00-00-00";
    let outside = tempfile::tempdir().unwrap();
    for file in ["sb_config.yml", "k6_metrics.csv", "trace_breakdown.csv", "invalid_traces.csv"] {
        let data = small();
        let (here, there) = (data.path().join(name).join(file), outside.path().join(file));
        fs::rename(&here, &there).unwrap();
        std::os::unix::fs::symlink(&there, &here).unwrap();
        let read = read(&[data.path()], &Options::default()).unwrap();
        let said: Vec<String> = read.notes().iter().map(ToString::to_string).collect();
        let is_named = |note: &String| note.contains(file) && note.contains("it leads out of the root");
        assert!(said.iter().any(is_named), "{file}: {said:?}");
        let execution = &read.executions[0];
        match file {
            "k6_metrics.csv" => assert!(execution.sent.is_none()),
            "trace_breakdown.csv" => assert!(execution.traces.is_none()),
            _ => assert!(execution.sent.is_some() && execution.traces.is_some()),
        }
    }
    // A link beside what it leads to stays within the execution.
    let data = small();
    let here = data.path().join(name).join("k6_metrics.csv");
    fs::rename(&here, here.with_file_name("kept.csv")).unwrap();
    std::os::unix::fs::symlink("kept.csv", &here).unwrap();
    assert!(read(&[data.path()], &Options::default()).unwrap().executions[0].sent.is_some());
}
