//! `sb report --output`, and the files of our own runs as the readers of the published dataset read them.

use std::fs;

use serde_json::Value;

use crate::workspace::Workspace;

const MANIFEST: &str = r#"
[benchmark]
name = "steps"

[params]
region = "here"

[targets.local]
traces = "local"

[[deploy]]
name = "stack"
local = { template = "template.yaml" }

[[invoke]]
name = "load"
load = true

[[workload.requests]]
name = "get"
url = "{{outputs.endpoint}}/hello"

[[cleanup]]
name = "stack"
local = { down = true }
"#;

const PLAN: &str = r#"
[plan]
name = "p"
executor = "host"

[[applications]]
name = "shop"
manifest = "../benchmark.toml"

[matrix]
rate = [10, 20]

[load]
constant = "{{matrix.rate}}"
duration = "500ms"

[timing]
before_invoke = "0s"
before_traces = "0s"
"#;

fn workspace() -> Workspace {
    let work = Workspace::new();
    work.copy("examples/hello-http");
    for name in ["template.yaml", "src"] {
        let from = work.path().join("examples/hello-http").join(name);
        fs::rename(from, work.path().join(name)).unwrap();
    }
    fs::remove_dir_all(work.path().join("examples")).unwrap();
    work.write("benchmark.toml", MANIFEST);
    work.write("plans/p.toml", PLAN);
    work
}

/// The rows of a CSV file, by the names of its columns.
fn rows(path: &std::path::Path) -> Vec<std::collections::BTreeMap<String, String>> {
    csv::Reader::from_path(path).unwrap().deserialize().map(Result::unwrap).collect()
}

#[test]
fn a_run_becomes_tables_by_the_levels_of_its_factors() {
    let work = workspace();
    work.sb(&["run", "plans/p.toml"]).expect(0);
    let written = work.sb(&["report", "--output", "out"]).expect(0);
    assert!(written.stderr.contains("tables of 2 executions"), "{}", written.stderr);
    let out = work.path().join("out");
    let overview = rows(&out.join("tables/overview.csv"));
    let column = |name: &str| -> Vec<&str> { overview.iter().map(|row| row[name].as_str()).collect() };
    assert_eq!((column("app_name"), column("label")), (vec!["shop"; 2], vec!["p"; 2]));
    let mut sent = column("sent_requests");
    sent.sort_unstable();
    assert_eq!((sent, column("issues")), (vec!["10", "5"], vec![""; 2]));
    let groups = rows(&out.join("tables/groups.csv"));
    let by_rate = |rate: &str| {
        let is_it = |row: &&std::collections::BTreeMap<String, String>| {
            row["factor_rate"] == rate && row["request_type"] == "get" && row["status"].is_empty()
        };
        groups.iter().find(is_it).map(|row| row["traces"].as_str())
    };
    assert_eq!((by_rate("10"), by_rate("20")), (Some("5"), Some("10")));
    assert!(fs::read(out.join("tables/overview.parquet")).unwrap().starts_with(b"PAR1"));
    let summary = fs::read_to_string(out.join("summary.md")).unwrap();
    assert!(summary.contains("2 executions, 15 requests (0 failed), 15 valid traces"), "{summary}");

    // Again, in its place; and what is no report stays.
    work.sb(&["report", "--output", "out", "--format", "json"]).expect(0);
    fs::write(work.path().join("plans/mine.txt"), "x").unwrap();
    let refused = work.sb(&["report", "--output", "plans"]).expect(2);
    assert!(refused.stderr.contains("is no report of sb"), "{}", refused.stderr);
    assert!(work.path().join("plans/mine.txt").is_file());

    let numbers: Value =
        serde_json::from_str(&work.sb(&["report", "--format", "json"]).expect(0).stdout).unwrap();
    assert_eq!(numbers["applications"].as_array().unwrap().len(), 2);
    assert_eq!((&numbers["executions"], &numbers["as_published"]), (&2.into(), &false.into()));
    assert!(numbers["tables"].as_array().unwrap().iter().any(|table| table["name"] == "overview"));
    let refused = work.sb(&["report", "--as-published"]).expect(2);
    assert!(refused.stderr.contains("--output DIR"), "{}", refused.stderr);
    let published = work.sb(&["report", "--as-published", "--format", "json"]).expect(0);
    let published: Value = serde_json::from_str(&published.stdout).unwrap();
    assert_eq!(published["as_published"], true);
}

/// Two tables in `sb_config.yml`, one of them under the application's name, and the traces' ids in `extra_tags`.
#[test]
fn our_folders_are_those_that_the_studys_readers_expect() {
    let work = workspace();
    work.sb(&["run", "plans/p.toml"]).expect(0);
    let logs = work.path().join("logs");
    let folder = fs::read_dir(&logs).unwrap().next().unwrap().unwrap().path();
    let config = fs::read_to_string(folder.join("sb_config.yml")).unwrap();
    let top: Vec<&str> = config.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(top, ["sb:", "\"shop\":"], "{config}");
    for line in
        ["  label: \"p\"", "  workload_type: \"custom\"", "  region: \"here\"", "  provider: \"local\""]
    {
        assert!(config.lines().any(|found| found == line), "{line} is not in\n{config}");
    }
    assert!(config.contains(",invoke,start\",\"") && config.contains(",invoke,end\""), "{config}");
    let traced: std::collections::BTreeSet<String> =
        rows(&folder.join("trace_breakdown.csv")).iter().map(|row| row["trace_id"].clone()).collect();
    let sent: std::collections::BTreeSet<String> = rows(&folder.join("k6_metrics.csv"))
        .iter()
        .filter(|row| row["metric_name"] == "http_req_duration")
        .map(|row| row["extra_tags"].replace("xray_header=Root=", ""))
        .collect();
    assert!(!sent.is_empty());
    assert_eq!(traced, sent);
    let published = work.sb(&["report", "logs", "--output", "out", "--as-published"]).expect(0);
    assert!(!published.stderr.contains("left out"), "{}", published.stderr);
    let overview = rows(&work.path().join("out/tables/overview.csv"));
    assert!(overview[0]["invoke_duration"].starts_with("0 days 00:00:0"), "{overview:?}");
}

/// A folder of the published layout: requests of k6, of which every `failing`th fails at once, and their traces.
fn published(work: &Workspace, folder: &str, failing: Option<usize>) {
    published_of(work, folder, failing, 20);
}

/// The same of so many requests.
fn published_of(work: &Workspace, folder: &str, failing: Option<usize>, count: usize) {
    let id = |number: usize| format!("1-{number:08x}-000000000000000000000000");
    let mut requests =
        String::from("metric_name,timestamp,metric_value,expected_response,method,status,url,extra_tags\n");
    let mut traces = String::from(sb_analysis::BREAKDOWN_HEADER);
    for number in 1..=count {
        let fails = failing.is_some_and(|every| number % every == 0);
        let (micros, expected, status) =
            if fails { (300, false, 500) } else { (20_000 + number % 1000, true, 200) };
        let milliseconds = format!("{}.{:03}", micros / 1000, micros % 1000);
        requests.push_str(&format!(
            "http_req_duration,1641888934,{milliseconds},{expected},GET,{status},https://h/a,xray_header=Root={}\n",
            id(number)
        ));
        traces.push_str(&format!(
            "{},1641888934.0,1641888934.1,0:00:00.{micros:06},https://h/a,0,0,0,{},[],[],,,,,0:00:00.{micros:06},,,,0:00:00\r\n",
            id(number),
            u8::from(fails)
        ));
    }
    work.write(&format!("{folder}/sb_config.yml"), "shop:\n  label: exp1\n  provider: aws\nsb:\n  x: 1\n");
    work.write(&format!("{folder}/k6_metrics.csv"), &requests);
    work.write(&format!("{folder}/trace_breakdown.csv"), &traces);
    work.write(&format!("{folder}/invalid_traces.csv"), "trace_id,message\n");
}

fn numbers(work: &Workspace, folders: &[&str]) -> Value {
    let arguments = [&["report", "--format", "json"], folders].concat();
    serde_json::from_str(&work.sb(&arguments).expect(0).stdout).unwrap()
}

#[test]
fn a_damaged_folder_does_not_hide_the_others() {
    let work = Workspace::new();
    published(&work, "raw/shop/logs/2022-01-01_08-00-00", None);
    published(&work, "raw/shop/logs/2022-01-02_08-00-00", None);
    let damaged = "raw/shop/logs/2022-01-02_08-00-00/trace_breakdown.csv";
    let good = fs::read_to_string(work.path().join(damaged)).unwrap();
    for (text, expected) in [
        (good.replacen("trace_id", "id", 1), "no column `trace_id`"),
        (good.replacen(",https://h/a,0,", ",https://h/a,1.0,", 1), "row 1: `1.0`"),
        (String::new(), "no column `trace_id`"),
    ] {
        work.write(damaged, &text);
        let shown = work.sb(&["report", "raw"]).expect(0);
        assert!(shown.stderr.contains(damaged) && shown.stderr.contains(expected), "{}", shown.stderr);
        assert!(shown.stdout.contains("1 invocation folder"), "{}", shown.stdout);
        let json = numbers(&work, &["raw"]);
        assert_eq!(json["applications"][0]["traces"]["valid"], 20);
        let notes = json["notes"].as_array().unwrap();
        let is_it = |note: &&Value| note["message"].as_str().unwrap().contains("left out as a whole");
        assert_eq!(notes.iter().filter(is_it).count(), 1, "{notes:?}");
        let only = work.sb(&["report", "raw/shop/logs/2022-01-02_08-00-00"]).expect(1);
        assert!(only.stderr.contains(expected), "{}", only.stderr);
        let written = work.sb(&["report", "raw", "--output", "out"]).expect(0);
        assert!(written.stderr.contains(damaged) && written.stderr.contains(expected), "{}", written.stderr);
        assert_eq!(rows(&work.path().join("out/tables/overview.csv")).len(), 1);
        let only = work.sb(&["report", "raw/shop/logs/2022-01-02_08-00-00", "--output", "none"]).expect(1);
        assert!(only.stderr.contains(expected), "{}", only.stderr);
        assert!(!work.path().join("none").exists());
    }
}

/// Linux counts the bytes that a process and its children read.
#[test]
fn a_report_reads_each_file_once() {
    let work = Workspace::new();
    let folder = "raw/shop/logs/2022-01-01_08-00-00";
    published_of(&work, folder, None, 20_000);
    let size: u64 = ["k6_metrics.csv", "trace_breakdown.csv"]
        .iter()
        .map(|name| fs::metadata(work.path().join(folder).join(name)).unwrap().len())
        .sum();
    let script = r#""$0" report raw --output out && cat /proc/$$/io"#;
    let ran = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_sb")])
        .current_dir(work.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout);
    let read =
        told.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap_or_else(|| panic!("{ran:?}"));
    let read: u64 = read.parse().unwrap();
    assert!(read >= size && read < size + size / 2, "{read} bytes were read of {size}");
}

#[test]
fn a_folder_that_is_named_twice_counts_once() {
    let work = Workspace::new();
    published(&work, "raw/shop/logs/2022-01-01_08-00-00", None);
    for twice in [["raw", "./raw"], ["raw", "raw/shop"]] {
        let json = numbers(&work, &twice);
        assert_eq!(json["applications"][0]["traces"]["valid"], 20, "{twice:?}");
        assert_eq!(json["applications"][0]["folders"].as_array().unwrap().len(), 1, "{twice:?}");
    }
}

#[test]
fn failures_of_the_published_layout_are_not_fast() {
    let work = Workspace::new();
    published(&work, "raw/shop/logs/2022-01-01_08-00-00", Some(2));
    let json = numbers(&work, &["raw"]);
    let (load, traces) = (&json["applications"][0]["load"], &json["applications"][0]["traces"]);
    assert_eq!((&load["sent"], &load["failed"], &load["planned"]), (&20.into(), &10.into(), &Value::Null));
    assert!(load["latency_ms"]["p50"].as_f64().unwrap() > 20.0, "{load}");
    assert_eq!(
        (&traces["valid"], &traces["failed"], &traces["missing"]),
        (&20.into(), &10.into(), &0.into())
    );
    assert!(traces["median"]["duration_ms"].as_f64().unwrap() > 20.0, "{traces}");
    assert!((traces["failed_median"]["duration_ms"].as_f64().unwrap() - 0.3).abs() < 1e-9, "{traces}");
    let shown = work.sb(&["report", "raw"]).expect(0).stdout;
    let failed = shown.lines().find(|line| line.contains("of failed invocations")).unwrap();
    assert!(failed.ends_with(" 10"), "{shown}");
    work.sb(&["report", "raw", "--output", "out"]).expect(0);
    let summary = fs::read_to_string(work.path().join("out/summary.md")).unwrap();
    assert!(summary.contains("20 requests (10 failed)"), "{summary}");
    assert!(summary.contains("| application | requests | n | failed | p50"), "{summary}");
    assert!(summary.contains("| shop, exp1 | ") && summary.contains(" | 10 | 10 (50.0 %, "), "{summary}");
    assert!(summary.contains(", latency p50 0.3 ms | 20.0 | "), "the failures are apart: {summary}");
    assert!(summary.contains("Failed requests are not in the figures"), "{summary}");
    work.sb(&["report", "raw", "--output", "out", "--as-published"]).expect(0);
    let summary = fs::read_to_string(work.path().join("out/summary.md")).unwrap();
    assert!(summary.contains("**Failed requests are in the figures**"), "{summary}");
    assert!(summary.contains(" | 20 | 10 ("), "{summary}");

    // Without the metrics of k6, the traces tell, and what was sent is unknown.
    fs::remove_file(work.path().join("raw/shop/logs/2022-01-01_08-00-00/k6_metrics.csv")).unwrap();
    let json = numbers(&work, &["raw"]);
    let (load, traces) = (&json["applications"][0]["load"], &json["applications"][0]["traces"]);
    assert_eq!((load, &traces["failed"], &traces["missing"]), (&Value::Null, &10.into(), &Value::Null));
    work.sb(&["report", "raw", "--output", "out"]).expect(0);
    let summary = fs::read_to_string(work.path().join("out/summary.md")).unwrap();
    assert!(summary.contains("an unknown number of requests, 20 valid traces"), "{summary}");
}
