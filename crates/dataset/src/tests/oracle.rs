//! Compares with what the study's own analysis gives for an invented dataset, where that is at hand: in the folder
//! `SB_ORACLE`, or in `shared/oracle` of a folder above the crate.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::made::open;
use crate::{Criteria, Dataset, Key, Options, Totals, Wanted, Window, classify, export};

/// The folder of the comparison, and the dataset in it.
fn oracle() -> Option<(PathBuf, PathBuf)> {
    let folders: Vec<PathBuf> = match std::env::var_os("SB_ORACLE") {
        Some(folder) => vec![folder.into()],
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|above| above.join("shared/oracle"))
            .collect(),
    };
    let found = folders.into_iter().map(|folder| folder.join("azure")).find(|folder| folder.is_dir());
    if found.is_none() {
        let reason = "no figures of the study's analysis here (set SB_ORACLE to their folder)";
        let _ = writeln!(io::stderr(), "SKIPPED a comparison: {reason}");
    }
    found.map(|folder| (folder.join("expected"), folder.join("inputs/azure-small.tar.xz")))
}

fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        names.iter().zip(line.split(',')).map(|(name, cell)| ((*name).to_owned(), cell.to_owned())).collect()
    };
    lines.map(row).collect()
}

fn number(row: &BTreeMap<String, String>, name: &str) -> u64 {
    row[name].parse().unwrap()
}

#[test]
fn counts_and_exports_are_those_of_the_study() {
    let Some((expected, archive)) = oracle() else { return };
    let dataset = open(&archive, Options::default());
    let totals = dataset.totals().unwrap();
    days(&expected, &totals);
    funnel(&expected, &totals);
    by_day(&expected, &totals);
    // Every window would decompress all of the archive anew.
    let folder = tempfile::tempdir().unwrap();
    let packed = fs::File::open(&archive).unwrap();
    tar::Archive::new(lzma_rust2::XzReader::new(packed, true)).unpack(folder.path()).unwrap();
    let unpacked = open(folder.path(), Options::default());
    assert_eq!(unpacked.totals().unwrap(), totals);
    exports(&expected, &unpacked, &totals);
    patterns(&expected, &unpacked, &totals);
}

/// Every planted pattern is recognized in both of the study's windows.
fn patterns(expected: &Path, dataset: &Dataset, totals: &Totals) {
    let planted: BTreeMap<String, String> = rows(&expected.join("labels.csv"))
        .into_iter()
        .filter(|row| !row["family"].is_empty() && row["trap"].is_empty())
        .map(|row| (row["HashFunction"].clone(), row["family"].clone()))
        .collect();
    let keys: Vec<Key> = totals
        .functions
        .iter()
        .filter(|function| planted.contains_key(function.key.function()))
        .map(|function| function.key.clone())
        .collect();
    assert!(keys.len() > 80, "{}", keys.len());
    for first in [600, 1080] {
        let minutes = dataset.minutes(&keys, Window { day: 1, first, minutes: 20 }).unwrap();
        for (key, minutes) in keys.iter().zip(minutes) {
            let minutes = minutes.unwrap();
            let found = classify(&minutes);
            assert_eq!(found.pattern.name(), planted[key.function()], "{minutes:?} {found:?}");
        }
    }
}

fn days(expected: &Path, totals: &Totals) {
    let days = rows(&expected.join("days.csv"));
    assert_eq!(days.len(), totals.days.len());
    for (row, day) in days.iter().zip(&totals.days) {
        let found = [u64::from(day.day), day.rows, day.invocations];
        assert_eq!(found, ["day", "rows", "invocations"].map(|name| number(row, name)));
    }
}

fn funnel(expected: &Path, totals: &Totals) {
    let summary = Criteria::default().summary(totals).unwrap();
    let steps: Vec<(u64, u64)> = rows(&expected.join("funnel.csv"))
        .iter()
        .map(|row| (number(row, "r"), number(row, "ours")))
        .collect();
    let ours: Vec<(u64, u64)> = summary.funnel.iter().map(|step| (step.rows, step.functions)).collect();
    assert_eq!(ours, steps);
    let mut classes: Vec<(String, String, u64)> = rows(&expected.join("partition.csv"))
        .iter()
        .map(|row| (row["class"].clone(), row["Trigger"].clone(), number(row, "ours")))
        .collect();
    let mut ours: Vec<(String, String, u64)> = summary
        .classes
        .iter()
        .filter(|count| count.functions > 0)
        .map(|count| (count.class.to_owned(), count.trigger.clone(), count.functions))
        .collect();
    classes.sort();
    ours.sort();
    assert_eq!(ours, classes);
    let mut classes: Vec<(String, String, u64, u64)> = rows(&expected.join("classes.csv"))
        .iter()
        .map(|row| (row["class"].clone(), row["Trigger"].clone(), number(row, "r"), number(row, "ours")))
        .collect();
    let mut ours: Vec<(String, String, u64, u64)> = summary
        .study_classes
        .iter()
        .map(|count| (count.class.to_owned(), count.trigger.clone(), count.rows, count.functions))
        .collect();
    classes.sort();
    ours.sort();
    assert_eq!(ours, classes);
}

fn by_day(expected: &Path, totals: &Totals) {
    // The join has a row for each repeated key; those that do not repeat are compared.
    let joined = rows(&expected.join("all_counts.csv"));
    let mut compared = 0;
    for function in totals.functions.iter().filter(|function| function.repeated.is_empty()) {
        let key = &function.key;
        let mut same = joined.iter().filter(|row| {
            [
                ("HashOwner", key.owner()),
                ("HashApp", key.app()),
                ("HashFunction", key.function()),
                ("Trigger", key.trigger()),
            ]
            .iter()
            .all(|(name, value)| row[*name] == *value)
        });
        let Some(row) = same.next() else { continue };
        for (place, day) in totals.days.iter().enumerate() {
            let cell = &row[&format!("Count.{}", day.day)];
            assert_eq!(function.per_day[place], cell.parse().ok(), "{key}, day {}", day.day);
        }
        compared += 1;
    }
    assert!(compared > 500, "{compared}");
}

/// Each export is that of the study, or an error that says why it is none.
fn exports(expected: &Path, dataset: &Dataset, totals: &Totals) {
    let mut equal = 0;
    for row in rows(&expected.join("exports.csv")) {
        let file = row["file"].as_str();
        let wanted = Wanted { function: row["HashFunction"].clone(), ..Wanted::default() };
        let window =
            Window { day: 1, first: row["first"].parse().unwrap(), minutes: row["minutes"].parse().unwrap() };
        let found = export(dataset, totals, &wanted, window, row["factor"].parse().unwrap(), false);
        let theirs = fs::read_to_string(expected.join("exports").join(file)).unwrap();
        let wrong = match file {
            "export_two_triggers.csv" => Some("belongs to 2 keys"),
            "export_retrigger.csv" => Some("belongs to "),
            "export_absent.csv" => Some("days"),
            "export_end_of_day.csv" => Some("pass the end of the day, which has 11 minutes left"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let error = found.unwrap_err().to_string();
            assert!(error.contains(wrong), "{file}: {error}");
            continue;
        }
        let found = found.unwrap();
        if file.starts_with("export_dup") {
            // Rows of one key multiply there, and are added up here.
            assert_eq!(found.per_minute.len(), 20);
            continue;
        }
        let plain: Vec<u64> =
            theirs.lines().skip(1).map(|line| line.parse::<f64>().unwrap() as u64).collect();
        assert_eq!(found.per_minute, plain, "{file}");
        if file != "export_scale10000.csv" {
            assert_eq!(found.to_plain_csv(), theirs, "{file}");
        }
        equal += 1;
    }
    assert_eq!(equal, 12);
}
