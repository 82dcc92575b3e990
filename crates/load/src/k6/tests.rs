use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use super::*;
use sb_measurement::{INVOCATIONS_FILE, Invocation, InvocationReader, Outcome, Times};

const HEADER: &str = "metric_name,timestamp,metric_value,check,error,error_code,expected_response,group,method,name,proto,\
                      scenario,service,status,subproto,tls_version,url,extra_tags,metadata\n";

/// The rows of one request as k6 1.1 writes them.
fn request(micros: i64, name: &str, status: u16, code: &str, expected: bool, metadata: &str) -> String {
    let mut rows = String::new();
    for (metric, value) in [
        ("http_reqs", 1.0),
        ("http_req_duration", 4.5),
        ("http_req_blocked", 1.25),
        ("http_req_connecting", 1.0),
        ("http_req_tls_handshaking", 0.0),
        ("http_req_sending", 0.5),
        ("http_req_waiting", 3.5),
        ("http_req_receiving", 0.5),
        ("http_req_failed", if expected { 0.0 } else { 1.0 }),
    ] {
        rows.push_str(&format!(
            "{metric},{micros},{value:.6},,,{code},{expected},,GET,{name},HTTP/1.1,benchmark_scenario,,{status},,,{name},,{metadata}\n"
        ));
    }
    rows
}

fn plain(metric: &str, micros: i64, value: f64) -> String {
    format!("{metric},{micros},{value:.6},,,,,,,,,benchmark_scenario,,,,,,,\n")
}

const SECOND: i64 = 1_700_000_000_000_000;

struct Made {
    folder: tempfile::TempDir,
    collected: Collected,
}

impl Made {
    async fn of(texts: &[String], secrets: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = texts
            .iter()
            .enumerate()
            .map(|(number, text)| {
                let path = folder.path().join(format!("raw-{number}"));
                std::fs::write(&path, text).unwrap();
                path
            })
            .collect();
        let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        let collecting = Collecting::start(&files, folder.path(), &secrets).unwrap();
        let collected = collecting.finish().await.unwrap();
        Self { folder, collected }
    }

    fn rows(&self) -> Vec<Invocation> {
        let file = std::fs::File::open(self.folder.path().join(INVOCATIONS_FILE)).unwrap();
        InvocationReader::new(file).unwrap().map(Result::unwrap).collect()
    }

    fn metrics(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("k6_metrics.csv")).unwrap()
    }
}

#[tokio::test]
async fn each_request_becomes_a_row_with_its_times_and_the_metrics_keep_their_columns() {
    let text = [
        HEADER.to_owned(),
        request(SECOND + 700_000, "list", 200, "", true, "trace_id=1-a-b&other=x"),
        plain("data_sent", SECOND + 700_100, 71.0),
        plain("iterations", SECOND + 700_100, 1.0),
        // Two requests that end in the same microsecond.
        request(SECOND + 900_000, "one", 404, "1404", false, ""),
        request(SECOND + 900_000, "two", 0, "1212", false, "trace_id=no;good"),
        plain("dropped_iterations", SECOND + 950_000, 1.0),
        plain("dropped_iterations", SECOND + 960_000, 7.0),
    ]
    .concat();
    let made = Made::of(std::slice::from_ref(&text), &[]).await;
    let rows = made.rows();
    let first = &rows[0];
    assert_eq!((first.request.as_str(), first.trace_id.as_str(), first.planned), ("list", "1-a-b", None));
    assert_eq!(
        first.sent,
        Some(Timestamp::from_micros(SECOND + 700_000 - 5750)),
        "blocked and duration before its end"
    );
    assert_eq!(first.latency_micros(), Some(5750));
    let brief: Vec<_> =
        rows.iter().map(|row| (row.invocation, row.request.as_str(), row.status, row.outcome)).collect();
    assert_eq!(
        brief,
        [
            (1, "list", Some(200), Outcome::Ok),
            (2, "one", Some(404), Outcome::FailedCheck),
            (3, "two", None, Outcome::Refused),
            (4, "", None, Outcome::Dropped),
        ]
    );
    assert_eq!((rows[2].answered, rows[2].trace_id.as_str()), (None, ""));
    assert_eq!((rows[3].planned, rows[3].sent), (Some(Timestamp::from_micros(SECOND + 950_000)), None));
    let Collected { tally, iterations, untraced, .. } = &made.collected;
    assert_eq!(
        (tally.sent, tally.not_sent, tally.answered, tally.failed, tally.dropped, *iterations, *untraced),
        (2, 1, 2, 2, 8, 1, 1)
    );
    let expected = text.replace(&format!("{SECOND}")[..10], "1700000000");
    let metrics = made.metrics();
    assert_eq!(metrics.lines().count(), expected.lines().count());
    for (found, raw) in metrics.lines().zip(text.lines()).skip(1) {
        let (found, raw): (Vec<_>, Vec<_>) = (found.split(',').collect(), raw.split(',').collect());
        assert_eq!(found[1], "1700000000");
        assert_eq!((found[0], &found[2..]), (raw[0], &raw[2..]), "as it was but for the time");
    }
}

#[tokio::test]
async fn the_files_of_several_k6_are_merged_in_the_order_of_their_times() {
    let of = |name: &str, times: &[i64]| {
        let rows = times.iter().map(|time| request(SECOND + time, name, 200, "", true, ""));
        HEADER.to_owned() + &rows.collect::<String>()
    };
    let made = Made::of(&[of("a", &[10, 40, 50]), of("b", &[20, 30, 60]), String::new()], &[]).await;
    let names: Vec<String> = made.rows().into_iter().map(|row| row.request).collect();
    assert_eq!(names, ["a", "b", "b", "a", "a", "b"]);
    assert_eq!(made.metrics().matches("metric_name").count(), 1);
    assert_eq!(made.collected.requests(), 6);
}

#[tokio::test]
async fn a_cut_off_end_is_left_out_and_secrets_are_blotted_out() {
    let whole = request(SECOND, "http://a/?key=s3cret", 200, "", true, "");
    let cut = request(SECOND + 5, "b", 200, "", true, "");
    let made = Made::of(&[format!("{HEADER}{whole}{}", &cut[..50])], &["s3cret", ""]).await;
    let rows = made.rows();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].request, "http://a/?key=***");
    assert!(!made.metrics().contains("s3cret"));
    let nothing = Made::of(&[String::new()], &[]).await;
    assert_eq!((nothing.rows().len(), nothing.collected.requests()), (0, 0));
}

#[tokio::test]
async fn columns_that_k6_was_told_to_leave_out_are_missed_by_nobody() {
    let text = format!(
        "metric_name,timestamp,metric_value,url,extra_tags\nhttp_reqs,{SECOND},1,http://a/,trace_id=1-x-y\n\
         http_req_duration,{SECOND},2,http://a/,trace_id=1-x-y\n"
    );
    let made = Made::of(&[text], &[]).await;
    let row = &made.rows()[0];
    assert_eq!((row.request.as_str(), row.trace_id.as_str(), row.status), ("http://a/", "1-x-y", None));
}

#[tokio::test]
async fn a_file_is_read_while_it_grows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw");
    let collecting = Collecting::start(std::slice::from_ref(&path), folder.path(), &[]).unwrap();
    let rows = request(SECOND, "a", 200, "", true, "") + &plain("iterations", SECOND, 1.0);
    let mut file = std::fs::File::create(&path).unwrap();
    // In pieces that end within rows.
    for piece in (HEADER.to_owned() + &rows).as_bytes().chunks(97) {
        file.write_all(piece).unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let begun = Instant::now();
    while collecting.progress(Some(9), begun, None).answered == 0 {
        assert!(begun.elapsed().as_secs() < 30);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(collecting.progress(Some(9), begun, None).planned, Some(9));
    assert_eq!(collecting.progress(None, begun, None).planned, None);
    file.write_all(rows.as_bytes()).unwrap();
    assert_eq!(collecting.finish().await.unwrap().requests(), 2);
}

#[test]
fn outcomes_follow_the_codes_of_k6() {
    #[track_caller]
    fn check(status: u16, code: &str, expected: bool, outcome: Outcome) {
        let text = HEADER.to_owned() + &request(SECOND, "a", status, code, expected, "");
        let mut blocks = rows::Blocks::new(text.as_bytes());
        blocks.header().unwrap();
        let block = blocks.next().unwrap().unwrap();
        let rows::About::Request(request) = block.about else { panic!("{block:?}") };
        assert_eq!(request.outcome(), outcome);
    }
    check(200, "", true, Outcome::Ok);
    check(302, "", true, Outcome::Ok);
    check(200, "", false, Outcome::FailedCheck);
    check(404, "1404", true, Outcome::Ok);
    check(503, "1503", false, Outcome::FailedCheck);
    check(0, "1050", false, Outcome::Timeout);
    check(200, "1050", false, Outcome::Timeout);
    check(0, "1211", false, Outcome::Timeout);
    check(0, "1101", false, Outcome::Dns);
    check(0, "1212", false, Outcome::Refused);
    check(0, "1220", false, Outcome::Reset);
    check(0, "1210", false, Outcome::Unreachable);
    check(0, "1300", false, Outcome::Tls);
    check(0, "1000", false, Outcome::Protocol);
    check(0, "1610", false, Outcome::Protocol);
}

#[test]
fn shares_cover_the_whole_and_are_numbered() {
    #[track_caller]
    fn check(number: usize, of: usize, expected: &[&str]) {
        let arguments = run_arguments("/a/b.js", "/w", Share { number, of }, true);
        let found: Vec<_> = arguments.iter().filter(|word| word.starts_with("--execution")).collect();
        assert_eq!(found, expected);
        assert_eq!(arguments.last().unwrap(), "/a/b.js");
    }
    check(0, 1, &[]);
    check(0, 2, &["--execution-segment=0:1/2", "--execution-segment-sequence=0,1/2,1"]);
    check(2, 3, &["--execution-segment=2/3:1", "--execution-segment-sequence=0,1/3,2/3,1"]);
}

#[test]
fn what_k6_says_is_understood() {
    assert_eq!(version("k6 v1.1.0 (commit/0e3fb953be, go1.24.4, linux/amd64)"), Some((1, 1)));
    assert_eq!(version("k6 v0.49.0"), Some((0, 49)));
    assert_eq!(version("command not found"), None);
    let line = r#"time="x" level=error msg="GoError: file:///a.js: Line 2:1 Unexpected \"x\"\n" hint="script exception""#;
    assert_eq!(error_in(line).unwrap(), r#"GoError: file:///a.js: Line 2:1 Unexpected "x""#);
    assert_eq!(error_in("time=x level=error msg=hi source=console").unwrap(), "hi");
    assert_eq!(error_in(r#"time="x" level=warning msg="slow""#), None);
    assert_eq!(own_load(r#"{"vus": null, "stages": [], "thresholds": {}}"#), ["stages"]);
    assert_eq!(own_load(r#"{"vus": null, "scenarios": null}"#), Vec::<&str>::new());
}

#[test]
fn failed_thresholds_are_read_from_the_summary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(SUMMARY);
    assert_eq!(exported(&path), None);
    std::fs::write(
        &path,
        r#"{"metrics": {"http_reqs": {"count": 12, "rate": 1.5},
            "checks": {"thresholds": {"rate>0.9": false, "rate>0.99": true}}, "a": {"thresholds": {"x": true}}}}"#,
    )
    .unwrap();
    let failed_thresholds = vec!["a: x".to_owned(), "checks: rate>0.99".to_owned()];
    assert_eq!(exported(&path), Some(Exported { failed_thresholds, requests: 12 }));
    std::fs::write(&path, "{").unwrap();
    assert_eq!(exported(&path), None);
}

#[tokio::test]
async fn a_script_is_judged_by_its_runs_and_their_loss() {
    let ran = |planned| Ran {
        planned,
        cancelled: false,
        started: Timestamp::default(),
        ended: Timestamp::default(),
        invalid: vec![],
        notes: vec![],
        thrown: None,
    };
    let runs = |iterations: f64, dropped: f64| {
        let text = plain("iterations", SECOND, iterations) + &plain("dropped_iterations", SECOND, dropped);
        async move { Made::of(&[HEADER.to_owned() + &text], &[]).await.collected }
    };
    let none = Tolerances { max_error_rate: 1.0, max_dropped: 1.0, max_lateness: None };
    let one_more = summary(&runs(101.0, 0.0).await, &Times::default(), ran(Some(100)), &none);
    assert_eq!((one_more.iterations, one_more.invalid.len()), (Some(101), 0), "k6 begins and ends with one");
    let fewer = summary(&runs(90.0, 5.0).await, &Times::default(), ran(Some(100)), &none);
    assert_eq!(fewer.invalid, ["k6 came to 95 of 100 planned invocations."]);
    let strict = Tolerances { max_dropped: 0.01, ..none.clone() };
    let dropped = summary(&runs(95.0, 5.0).await, &Times::default(), ran(Some(100)), &strict);
    assert_eq!(dropped.invalid.len(), 1, "{:?}", dropped.invalid);
    let unplanned = summary(&runs(7.0, 1.0).await, &Times::default(), ran(None), &none);
    assert_eq!((unplanned.planned, unplanned.invalid.len()), (None, 0));
}

#[tokio::test]
async fn a_failed_check_is_a_failed_request_of_the_same_run_of_the_script() {
    let of = |run: &str, time: i64, name: &str| request(SECOND + time, name, 200, "", true, run);
    let check = |run: &str, time: i64, value: f64| {
        let row = plain("checks", SECOND + time, value);
        row.replace(",,,,,,,\n", &format!(",,,,,,,{run}\n"))
    };
    let end = |run: &str, time: i64| {
        plain("iterations", SECOND + time, 1.0).replace(",,,,,,,\n", &format!(",,,,,,,{run}\n"))
    };
    let text = [
        HEADER.to_owned(),
        of("vu=1&iter=0", 10, "login"),
        check("iter=0&vu=1", 11, 1.0),
        of("vu=2&iter=0", 20, "login"),
        // The order of the pairs is k6's own.
        check("iter=0&vu=1", 21, 0.0),
        check("iter=0&vu=1", 21, 0.0),
        of("vu=1&iter=0", 30, "list"),
        check("vu=2&iter=0", 31, 1.0),
        end("vu=1&iter=0", 40),
        check("vu=2&iter=0", 41, 0.0),
        end("vu=2&iter=0", 42),
        check("vu=3&iter=0", 43, 0.0),
    ]
    .concat();
    let made = Made::of(&[text], &[]).await;
    let brief: Vec<_> = made.rows().into_iter().map(|row| (row.request, row.outcome)).collect();
    let expected = [("login", Outcome::FailedCheck), ("login", Outcome::FailedCheck), ("list", Outcome::Ok)];
    assert_eq!(brief, expected.map(|(name, outcome)| (name.to_owned(), outcome)));
    let Collected { tally, loose_checks, .. } = &made.collected;
    assert_eq!((tally.sent, tally.failed, *loose_checks), (3, 2, 1));
}

#[test]
fn a_script_that_throws_is_told_from_other_errors() {
    let line = r#"time="2026-11-30T05:54:00Z" level=error msg="Error: boom\n\tat default (file:///w.js:2:156(22))\n" executor=shared-iterations scenario=default source=stacktrace"#;
    assert_eq!(thrown_in(line).as_deref(), Some("Error: boom  at default (file:///w.js:2:156(22))"));
    assert_eq!(thrown_in(r#"level=error msg="thresholds have been crossed""#), None);
}
