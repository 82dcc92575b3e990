//! Compares with the published analyzer's results for real traces, where these are at hand: in the folder
//! `SB_ORACLE`, or in `shared/oracle` of a folder above the crate.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::io::analyze::analyze_by;
use crate::io::results::AnalysisSummary;
use crate::method::Method;
use crate::path::breakdown::Algorithm;
use crate::path::repair::Repair;
use crate::row::read_breakdown;

fn oracle() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = match std::env::var_os("SB_ORACLE") {
        Some(folder) => vec![folder.into()],
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|above| above.join("shared/oracle"))
            .collect(),
    };
    let found = folders.into_iter().find(|folder| folder.join("xray").is_dir());
    if found.is_none() {
        skip("no published results here (set SB_ORACLE to their folder)");
    }
    found
}

/// Past the test harness, which would swallow what is printed.
fn skip(reason: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED a comparison with the published analyzer: {reason}");
}

fn study() -> Method {
    Method { algorithm: Algorithm::Study, ..Method::default() }
}

fn run(traces: &[u8]) -> (String, String, AnalysisSummary) {
    let (mut breakdown, mut invalid) = (Vec::new(), Vec::new());
    let input = io::Cursor::new(traces.to_vec());
    let summary = analyze_by(&study(), input, &mut breakdown, &mut invalid, &|_| {}).unwrap();
    (String::from_utf8(breakdown).unwrap(), String::from_utf8(invalid).unwrap(), summary)
}

fn ids(csv_text: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(csv_text.as_bytes());
    reader.records().map(|record| record.unwrap()[0].to_owned()).collect()
}

/// Every published row must be ours byte for byte. Returns the ids that are valid only here.
#[track_caller]
fn check(traces: &[u8], folder: &Path) -> Vec<String> {
    let (ours, ours_invalid, summary) = run(traces);
    let published = fs::read_to_string(folder.join("trace_breakdown.csv")).unwrap();
    let published_invalid = fs::read_to_string(folder.join("invalid_traces.csv")).unwrap();
    let rows_by_id = |text: &str| -> BTreeMap<String, String> {
        text.split_inclusive("\r\n").skip(1).map(|row| (row[..35].to_owned(), row.to_owned())).collect()
    };
    assert_eq!(ours.lines().next(), published.lines().next());
    let (ours_by_id, invalid_by_id) = (rows_by_id(&ours), rows_by_id(&ours_invalid));
    for (id, row) in rows_by_id(&published) {
        assert_eq!(ours_by_id.get(&id), Some(&row), "{}", invalid_by_id.get(&id).map_or("", |row| row));
    }
    let published_invalid = ids(&published_invalid);
    let valid_only_here: Vec<String> =
        published_invalid.iter().filter(|id| ours_by_id.contains_key(*id)).cloned().collect();
    assert_eq!(summary.by_paper_rule, valid_only_here.len() as u64);
    let published_valid = ids(&published);
    assert_eq!(summary.valid + summary.invalid, (published_valid.len() + published_invalid.len()) as u64);
    if valid_only_here.is_empty() {
        assert_eq!(ours, published);
        assert_eq!(ids(&ours_invalid), published_invalid);
    }
    let read_back = read_breakdown(ours.as_bytes()).unwrap();
    let mut written_again = String::from(crate::row::BREAKDOWN_HEADER);
    for row in &read_back {
        row.write(&mut written_again);
    }
    assert_eq!(written_again, ours);
    valid_only_here
}

#[test]
fn real_traces_give_the_published_rows() {
    let Some(oracle) = oracle() else { return };
    let mut compared = 0;
    for entry in fs::read_dir(oracle.join("xray")).unwrap() {
        let folder = entry.unwrap().path();
        let traces = fs::read(folder.join("traces.json")).unwrap();
        assert_eq!(check(&traces, &folder), [""; 0], "{}", folder.display());
        let printed: serde_json::Value = serde_json::from_slice(&traces).unwrap();
        assert_eq!(
            check(&serde_json::to_vec_pretty(&printed).unwrap(), &folder),
            [""; 0],
            "printed over lines"
        );
        compared += 1;
    }
    assert!(compared > 0);
}

/// The varied traces, where these and the program that unpacks them are at hand.
fn varied() -> Option<(Vec<u8>, PathBuf)> {
    let folder = oracle()?.join("xray-varied");
    let Ok(output) = Command::new("xz").arg("-dc").arg(folder.join("traces.json.xz")).output() else {
        skip("the program `xz` is missing");
        return None;
    };
    assert!(output.status.success());
    Some((output.stdout, folder))
}

#[test]
fn repair_leaves_published_rows_as_they_are() {
    let Some((traces, folder)) = varied() else { return };
    let method = Method { repair: Some(Repair::default()), ..study() };
    let mut breakdown = Vec::new();
    let summary =
        analyze_by(&method, io::Cursor::new(traces.clone()), &mut breakdown, io::sink(), &|_| {}).unwrap();
    let breakdown = String::from_utf8(breakdown).unwrap();
    let rows: Vec<&str> = breakdown.split_terminator("\r\n").skip(1).collect();
    let as_recorded: Vec<&str> = rows.iter().filter_map(|row| row.strip_suffix(',')).collect();
    let published = fs::read_to_string(folder.join("trace_breakdown.csv")).unwrap();
    assert_eq!(as_recorded, published.split_terminator("\r\n").skip(1).collect::<Vec<_>>());
    assert_eq!(rows.len() - as_recorded.len(), summary.repaired as usize);
    assert!(summary.repaired > 0);
}

/// By definition, each row is the published one, or its trace counts as one that differs.
#[test]
fn rows_that_do_not_differ_are_the_published_ones() {
    let Some((traces, folder)) = varied() else { return };
    let mut breakdown = Vec::new();
    let method = Method::default();
    let summary = analyze_by(&method, io::Cursor::new(traces), &mut breakdown, io::sink(), &|_| {}).unwrap();
    let breakdown = String::from_utf8(breakdown).unwrap();
    let published = fs::read_to_string(folder.join("trace_breakdown.csv")).unwrap();
    let published: std::collections::HashSet<&str> = published.split_terminator("\r\n").collect();
    let others = breakdown.split_terminator("\r\n").filter(|row| !published.contains(row)).count() as u64;
    assert!(others <= summary.differs_from_study, "{others} rows are others, {summary:?}");
    assert!(summary.valid > summary.invalid, "{summary:?}");
}

#[test]
fn varied_traces_give_the_published_rows() {
    let Some((traces, folder)) = varied() else { return };
    assert_eq!(check(&traces, &folder), [""; 0]);
}
