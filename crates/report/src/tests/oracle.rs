//! Compares with the study's own figures for a small dataset, where these are at hand: in the folder `SB_ORACLE`, or in
//! `shared/oracle` of a folder above the crate.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::config::{Config, read_config};
use crate::figures::bar_label;
use crate::rates;
use crate::tables::overview::Checked;
use crate::units::status_of;
use crate::{Options, Report, Table, read};
use sb_measurement::{NO_REQUEST, RequestType, RequestTypes, image_type};

/// Past the test harness, which would swallow what is printed.
fn skip(reason: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED a comparison with the study's analysis: {reason}");
}

/// The folder of the study's figures, and the dataset unpacked.
fn oracle() -> Option<(PathBuf, tempfile::TempDir)> {
    let folders: Vec<PathBuf> = match std::env::var_os("SB_ORACLE") {
        Some(folder) => vec![folder.into()],
        None => {
            let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
            above.map(|above| above.join("shared/oracle")).collect()
        }
    };
    let found =
        folders.into_iter().map(|folder| folder.join("study-analysis")).find(|folder| folder.is_dir());
    let Some(folder) = found else {
        skip("it is not here (set SB_ORACLE to its folder)");
        return None;
    };
    let unpacked = tempfile::tempdir().unwrap();
    let tar = Command::new("tar")
        .arg("xJf")
        .arg(folder.join("inputs.tar.xz"))
        .arg("-C")
        .arg(unpacked.path())
        .status();
    if !tar.is_ok_and(|status| status.success()) {
        skip("`tar` cannot unpack its inputs");
        return None;
    }
    Some((folder.join("expected"), unpacked))
}

fn report(unpacked: &Path, as_published: bool) -> Report {
    let options = Options { as_published, ..Options::default() };
    let dataset = read(&[unpacked.join("data/lg12")], &options).unwrap();
    let notes: Vec<String> = dataset.notes().iter().map(ToString::to_string).collect();
    assert_eq!(notes, [""; 0], "nothing of this dataset is damaged");
    Report::new(&dataset)
}

/// The rows of a CSV text, by the text of their keys.
type Rows = BTreeMap<Vec<String>, BTreeMap<String, String>>;

fn rows(text: &str, keys: &[&str], is_counted: impl Fn(&BTreeMap<String, String>) -> bool) -> Rows {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().unwrap().clone();
    let mut all = Rows::new();
    for record in reader.records() {
        let record = record.unwrap();
        let row: BTreeMap<String, String> =
            header.iter().map(str::to_owned).zip(record.iter().map(str::to_owned)).collect();
        if !is_counted(&row) {
            continue;
        }
        let key: Vec<String> = keys.iter().map(|key| row[*key].clone()).collect();
        assert!(all.insert(key.clone(), row).is_none(), "two rows {key:?}");
    }
    all
}

/// Whether a cell is as near as the study's figures ask for.
fn is_near(column: &str, expected: &str, found: &str) -> bool {
    if expected == found {
        return true;
    }
    let (Ok(expected), Ok(found)) = (expected.parse::<f64>(), found.parse::<f64>()) else { return false };
    let difference = (expected - found).abs();
    if expected.is_nan() && found.is_nan() {
        return true;
    }
    if column.ends_with("_ns") {
        return difference <= if column.starts_with("e2e") { 8.0 } else { 1.0 };
    }
    if column.ends_with("share") || column == "ymin" || column == "ymax" {
        return difference <= 1e-6;
    }
    difference <= 1e-9 * expected.abs().max(1.0)
}

/// Compares the columns that both have, and fails on a row or column that the report lacks.
#[track_caller]
fn check(expected: &Path, table: &Table, keys: &[&str], left_out: &[&str]) {
    let mut text = Vec::new();
    table.write_csv(&mut text).unwrap();
    let found = rows(&String::from_utf8(text).unwrap(), keys, |_| true);
    let text = fs::read_to_string(expected.join(format!("{}.csv", table.name))).unwrap();
    let wanted = rows(&text, keys, |_| true);
    assert!(!wanted.is_empty());
    let mut wrong = Vec::new();
    for key in found.keys().filter(|key| !wanted.contains_key(*key)) {
        wrong.push(format!("{key:?} should not be there"));
    }
    for (key, row) in &wanted {
        let Some(ours) = found.get(key) else {
            wrong.push(format!("{key:?} is missing"));
            continue;
        };
        for (column, value) in row.iter().filter(|(column, _)| !left_out.contains(&column.as_str())) {
            match ours.get(column) {
                None => wrong.push(format!("there is no column {column}")),
                Some(ours) if is_near(column, value, ours) => {}
                Some(ours) => wrong.push(format!("{key:?}: {column} is `{ours}` instead of `{value}`")),
            }
        }
    }
    let count = wrong.len();
    wrong.truncate(12);
    assert!(
        wrong.is_empty(),
        "{}: {count} differ of {} rows\n{}",
        table.name,
        wanted.len(),
        wrong.join("\n")
    );
}

/// Every table of the study, number by number.
#[test]
fn the_published_tables_are_those_of_the_study() {
    let Some((expected, unpacked)) = oracle() else { return };
    let report = report(unpacked.path(), true);
    let table = |name| report.table(name).unwrap();
    let activity = ["app", "request_type", "activity"];
    let status = ["app", "request_type", "status"];
    check(&expected, table("overview"), &["logs_path"], &[]);
    check(&expected, table("exp2_load_levels"), &["logs_path"], &[]);
    check(&expected, table("exp1_activities"), &["app", "request_type", "activity", "coldstart"], &[]);
    check(&expected, table("exp1_cold_penalty"), &activity, &[]);
    check(&expected, table("exp1_slow_penalty"), &activity, &[]);
    check(&expected, table("exp1_bars"), &["plot", "selection", "bar", "activity"], &[]);
    check(&expected, table("exp1_coldstart_status"), &status, &[]);
    check(&expected, table("exp3_workloads"), &["app", "request_type", "workload"], &[]);
    check(&expected, table("exp3_coldstart_status"), &status, &[]);
    check(&expected, table("exp3_ecdf"), &["panel", "workload", "x"], &[]);
    check(&expected, table("per_second"), &["execution", "second"], &[]);
    check(&expected, table("trace_vs_workload"), &["second"], &[]);
    check(&expected, table("patterns"), &["pattern", "minute"], &[]);
    // The compiled form of the study's approximation is not described in words.
    check(&expected, table("dtw"), &["logs_path", "pair"], &["fastdtw_compiled"]);
}

/// The cases of a kind, with what the study says of each. `None`: they are not here.
fn cases(kind: &str) -> Option<Vec<Value>> {
    let (expected, _unpacked) = oracle()?;
    let all: Value = serde_json::from_str(&fs::read_to_string(expected.join("cases.json")).unwrap()).unwrap();
    let cases = all[kind].as_array().cloned().unwrap_or_default();
    assert!(!cases.is_empty(), "no case of {kind}");
    Some(cases)
}

/// What is expected of a case: where there is nothing better, the published answer. Where that is a failure, anything may be.
fn expected(case: &Value, as_published: bool) -> Option<&Value> {
    let published = &case["published"];
    let wanted = if as_published { published } else { case.get("better").unwrap_or(published) };
    wanted.get("fails").is_none().then_some(wanted)
}

fn series(rates: &[f64]) -> Value {
    rates.iter().enumerate().map(|(second, rate)| json!([second, rate])).collect()
}

/// As [`series`], whole numbers as doubles.
fn in_doubles(value: &Value) -> Value {
    let rows = value.as_array().into_iter().flatten();
    rows.map(|row| json!([row[0], row[1].as_f64().unwrap()])).collect()
}

#[test]
fn phases_last_as_long_as_the_study_says() {
    let Some(cases) = cases("event_duration") else { return };
    for case in cases {
        let yaml = json!({ "app": "x", "x": { "sb_event_log": case["events"] } }).to_string();
        let (_, config) = read_config(&yaml).unwrap();
        let found = |as_published| {
            let micros = config.phase_duration(case["name"].as_str().unwrap(), as_published);
            micros.map(|micros| micros as f64 / 1e6)
        };
        assert_eq!(json!(found(true)), case["published"], "{case}");
        let better = if case["case"].as_str().unwrap().contains("none is better") {
            &Value::Null
        } else {
            &case["published"]
        };
        assert_eq!(json!(found(false)), *better, "{case}");
    }
}

#[test]
fn plans_and_seconds_are_those_of_the_study() {
    let Some(plans) = cases("planned_rate") else { return };
    for case in plans {
        let found = rates::planned_as_published(&case["options"]);
        if let Some(expected) = expected(&case, true) {
            let expected = (!expected.is_null()).then(|| in_doubles(expected));
            assert_eq!(found.map(|rates| series(&rates)), expected, "{case}");
        }
    }
    for case in cases("per_second").unwrap() {
        let times = case["relative_times"].as_array().unwrap().iter();
        let micros: Vec<(i64, u64)> =
            times.map(|time| ((time.as_f64().unwrap() * 1e6).round() as i64, 1)).collect();
        for as_published in [true, false] {
            if let Some(expected) = expected(&case, as_published) {
                let found = rates::per_second(micros.iter().copied(), as_published);
                assert_eq!(series(&found), in_doubles(expected), "{case}");
            }
        }
    }
}

fn config_of(case: &Value) -> Config {
    read_config(&json!({ "app": "x", "x": case["config"] }).to_string()).unwrap().1
}

#[test]
fn patterns_and_their_names_are_those_of_the_study() {
    let Some(labels) = cases("workload_label") else { return };
    for case in labels {
        let published = &case["published"];
        let expected = published.as_str().map_or_else(|| published.to_string(), str::to_owned);
        assert_eq!(config_of(&case).workload(), expected, "{case}");
    }
    let (folder, _unpacked) = oracle().unwrap();
    let all: Value = serde_json::from_str(&fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    let patterns = &all["pattern_rate"];
    for case in patterns["cases"].as_array().unwrap() {
        let config = config_of(case);
        let file = rates::pattern_file(&config, true).and_then(|names| patterns["files"].get(&names[0]));
        let counts: Option<Vec<f64>> = file
            .map(|counts| counts.as_array().unwrap().iter().map(|count| count.as_f64().unwrap()).collect());
        let found = counts.map(|counts| rates::pattern(&config, &counts, true));
        let expected = &case["published_runs_first_last_rate"];
        if expected.get("fails").is_some() {
            assert_eq!(found, None, "{case}");
            continue;
        }
        let runs = expected.as_array().map(|runs| {
            let rates = runs.iter().flat_map(|run| {
                let count = run[1].as_u64().unwrap() - run[0].as_u64().unwrap() + 1;
                std::iter::repeat_n(run[2].as_f64().unwrap(), count as usize)
            });
            rates.collect::<Vec<f64>>()
        });
        assert_eq!(found, runs, "{case}");
    }
}

#[test]
fn requests_are_of_the_types_of_the_study() {
    let Some(requests) = cases("request_type") else { return };
    for case in requests {
        for as_published in [true, false] {
            let application = case["app"].as_str().unwrap();
            let expected = expected(&case, as_published).unwrap().as_str().unwrap();
            let Some(url) = case["url"].as_str() else {
                assert_eq!(expected, NO_REQUEST);
                continue;
            };
            if application == "nobody_s_app" && !as_published {
                continue;
            }
            let mut types = RequestTypes::new(application, true, as_published);
            let method = case["method"].as_str().unwrap_or_default();
            match types.of_request(method.as_bytes(), url.as_bytes(), url.as_bytes()) {
                RequestType::Known(kind) => {
                    assert_eq!(&*types.into_names()[kind as usize], expected, "{case}");
                }
                RequestType::ByPath => panic!("{case}"),
            }
        }
    }
    for case in cases("image_path").unwrap() {
        let url = case["url"].as_str().unwrap();
        let mut types = RequestTypes::new("image_processing", true, true);
        let found = match types.of_request(b"POST", url.as_bytes(), url.as_bytes()) {
            RequestType::Known(kind) => types.into_names()[kind as usize].to_string(),
            RequestType::ByPath => {
                let names = case["path"].as_array().unwrap().iter();
                let names: Vec<Vec<u8>> =
                    names.map(|name| name.as_str().unwrap().as_bytes().to_vec()).collect();
                image_type(&names).to_owned()
            }
        };
        assert_eq!(found, case["published"].as_str().unwrap(), "{case}");
    }
}

#[test]
fn statuses_labels_and_issues_are_those_of_the_study() {
    let Some(statuses) = cases("coldstart_status") else { return };
    for case in statuses {
        let counts = case["num_cold_starts"].as_array().unwrap().iter();
        let counts: Vec<u32> = counts.map(|count| u32::try_from(count.as_u64().unwrap()).unwrap()).collect();
        let most = *counts.iter().max().unwrap();
        let found: Value = counts.iter().map(|count| status_of(*count, most).name()).collect();
        assert_eq!(found, case["published"], "{case}");
    }
    for case in cases("bar_label").unwrap() {
        let found = bar_label(case["latency_ns"].as_i64().unwrap(), case["share"].as_f64().unwrap());
        assert_eq!(json!(found), case["published"], "{case}");
    }
    for case in cases("issues").unwrap() {
        let value = |name: &str, otherwise| {
            Some(case["row"].get(name).map_or(otherwise, |value| value.as_f64().unwrap()))
        };
        let found = Checked {
            invalid_rate: value("invalid_rate", 0.0),
            missing_rate: value("missing_rate", 0.0),
            error_rate: value("error_rate", 0.0),
            valid_success_rate: value("valid_success_rate", 1.0),
            actual_target_ratio: value("actual_target_ratio", 1.0),
        };
        assert_eq!(json!(found.issues()), case["published"], "{case}");
    }
}

/// By default, every distance is exact, and the precision that of the better definition: always at hand or missing.
#[test]
fn the_better_tables_are_complete() {
    let Some((_, unpacked)) = oracle() else { return };
    let (published, better) = (report(unpacked.path(), true), report(unpacked.path(), false));
    for name in
        ["overview", "exp1_activities", "exp1_cold_penalty", "exp1_coldstart_status", "exp3_workloads"]
    {
        assert!(better.table(name).unwrap().rows() >= published.table(name).unwrap().rows(), "{name}");
        for column in &published.table(name).unwrap().columns {
            assert!(better.table(name).unwrap().column(&column.name).is_some(), "{name} {}", column.name);
        }
    }
    let overview = better.table("overview").unwrap();
    // No rate suffers from a pattern or plan that is longer than the load. The published time is the longest of all, so no
    // rate may be lower by more than the second that the two count differently.
    let floats =
        |report: &Report, name: &str| match &report.table("overview").unwrap().column(name).unwrap().cells {
            crate::Cells::Float(cells) => cells.clone(),
            other => panic!("{other:?}"),
        };
    let [before, after] = [&published, &better].map(|report| floats(report, "actual_invocations_per_second"));
    assert_eq!(before.len(), after.len());
    for (row, (before, after)) in before.iter().zip(&after).enumerate() {
        let (before, after) = (before.unwrap(), after.unwrap());
        let path = overview.column("logs_path").unwrap().cell(row);
        assert!(after >= before * 0.985 - 0.01, "{path:?}: {after} instead of {before}");
    }
    let crate::Cells::Text(paths) = &overview.column("logs_path").unwrap().cells else { panic!() };
    let is_it = |path: &Option<std::sync::Arc<str>>| {
        path.as_ref().is_some_and(|path| path.contains("Event-Processing") && path.contains("2022-01-17"))
    };
    let row = paths.iter().position(is_it).unwrap();
    assert_eq!((after[row], floats(&better, "actual_target_ratio")[row]), (Some(1.25), Some(1.0)));
    let traces =
        better.groups.iter().filter(|group| group.key.request_type.is_none() && group.key.status.is_none());
    let counted: u64 = traces.map(|group| group.traces).sum();
    let crate::Cells::Integer(valid) = &overview.column("valid_traces").unwrap().cells else { panic!() };
    assert!(
        counted.cast_signed() > valid.iter().flatten().sum(),
        "groups have the executions without a label, too"
    );
}
