//! What the chapters about critical paths say of traces that are known.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sb_analysis::{Waterfall, for_each_measured};
use sb_figures::Item;
use sb_report::{Options, Report, read};

use crate::{Paths, Source, document};

/// Traces of a service that takes 100 ms, 200 ms and so on. Three fifths of it is a call of a database.
fn traces(folder: &Path, application: &str, count: u32) -> PathBuf {
    let folder = folder.join(application).join("logs/2026-01-31_12-00-00");
    std::fs::create_dir_all(&folder).unwrap();
    let mut text = String::new();
    for number in 1..=count {
        let id = format!("1-5759e988-{number:024x}");
        let (start, second) = (1_700_000_000.0, 0.1 * f64::from(number));
        let database = format!(
            r#"{{"id": "{number:08x}00000002", "name": "orders", "namespace": "remote", "start_time": {}, "end_time": {}}}"#,
            start + 0.2 * second,
            start + 0.8 * second,
        );
        let segment = format!(
            r#"{{"id": "{number:08x}00000001", "trace_id": "{id}", "name": "shop <1>", "origin": "AWS::Lambda::Function", "start_time": {start}, "end_time": {}, "subsegments": [{database}]}}"#,
            start + second,
        );
        let document = segment.replace('"', "\\\"");
        text.push_str(&format!(
            r#"{{"Id": "{id}", "Duration": {second}, "LimitExceeded": false, "Segments": [{{"Id": "{number:08x}00000001", "Document": "{document}"}}]}}"#
        ));
        text.push('\n');
    }
    let file = folder.join("traces.json");
    std::fs::write(&file, text).unwrap();
    file
}

fn paths_of(files: &[PathBuf]) -> Paths {
    let mut paths = Paths::default();
    let mut refused = Vec::new();
    for_each_measured(
        files,
        false,
        &mut |trace, analysis, measured| paths.add(trace, analysis, measured),
        &mut |rejected| refused.push(rejected.reason.to_string()),
    )
    .unwrap();
    assert_eq!(refused, Vec::<String>::new());
    let typical = paths.typical();
    for_each_measured(
        files,
        false,
        &mut |trace, analysis, _| {
            for typical in typical.iter().rev().filter(|typical| trace.id == typical.id) {
                paths.show(typical, Waterfall::new(trace, &Ok(analysis.clone())));
            }
        },
        &mut |_| {},
    )
    .unwrap();
    paths
}

#[test]
fn the_time_of_all_traces_and_what_would_help_are_those_of_the_traces() {
    let folder = tempfile::tempdir().unwrap();
    let paths = paths_of(&[traces(folder.path(), "shop", 9)]);
    let [critical, changes] = paths.sections();
    let [Item::Figure(flames), Item::Figure(typical)] = &critical.items[..] else {
        panic!("{:?}", critical.items);
    };
    // 100 to 900 ms: 500 at the median, of which the database has 300.
    let rows: Vec<Vec<&str>> = flames.variants[0]
        .table
        .rows
        .iter()
        .map(|row| [0, 2, 3, 4, 5].map(|column| row[column].as_str()).to_vec())
        .collect();
    assert_eq!(
        rows,
        [vec!["shop <1>", "9", "100.0", "200.0", "500.0"], vec!["› orders", "9", "60.0", "300.0", "300.0"]]
    );
    let shown: Vec<&str> = typical.variants.iter().map(|variant| variant.name.as_str()).collect();
    assert_eq!(shown, ["median", "p99"]);
    assert!(typical.notes[0].contains("median: 1-5759e988-000000000000000000000005;"), "{:?}", typical.notes);
    let Item::Table(ranking, None) = &changes.items[0] else { panic!("{:?}", changes.items) };
    let orders = ranking.rows.iter().find(|row| row[0] == "orders").unwrap();
    assert_eq!([&orders[1], &orders[5]], ["−30.0 %", "−60.0 %"], "{:?}", ranking.rows);
}

#[test]
fn applications_whose_names_are_alike_have_figures_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let files = ["a b", "a:b"].map(|application| traces(folder.path(), application, 2));
    let paths = paths_of(&files);
    let report = Report::new(&read(&[folder.path().to_owned()], &Options::default()).unwrap());
    let page = document(&Source { paths: Some(&paths), ..Source::new(&report) });
    let ids: Vec<&str> = page.figures().map(|figure| figure.id.as_str()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    let html = page.html().unwrap();
    assert!(html.contains("What would help most") && html.contains("shop &lt;1&gt;"));
    assert!(!html.contains("shop <1>"));
}

#[test]
fn paths_that_are_left_out_say_why() {
    let [critical, changes] = Paths::left_out("There are too many.".to_owned()).sections();
    assert_eq!(critical.text, ["There are too many."]);
    assert!(critical.items.is_empty() && changes.items.is_empty() && changes.text.is_empty());
}
