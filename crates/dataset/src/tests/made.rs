//! Datasets made for tests.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::{Dataset, Key, Options};

/// The first line of a file of 2019.
pub(super) fn header_2019() -> String {
    let minutes: Vec<String> = (1..=1440).map(|minute| minute.to_string()).collect();
    format!("HashOwner,HashApp,HashFunction,Trigger,{}", minutes.join(","))
}

/// A row with these counts from minute 1 on, and zeros behind them.
pub(super) fn row_2019(key: &Key, counts: &[u64]) -> String {
    let cells = (0..1440).map(|minute| counts.get(minute).copied().unwrap_or_default().to_string());
    format!("{key},{}", cells.collect::<Vec<_>>().join(","))
}

/// A day of 2019 with these rows.
pub(super) fn day_2019(rows: &[(Key, Vec<u64>)]) -> String {
    let mut text = header_2019();
    for (key, counts) in rows {
        text.push('\n');
        text.push_str(&row_2019(key, counts));
    }
    text.push('\n');
    text
}

pub(super) fn name_2019(day: u32) -> String {
    format!("invocations_per_function_md.anon.d{day:02}.csv")
}

pub(super) fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

pub(super) fn options(days: std::ops::RangeInclusive<u32>) -> Options {
    Options { days: Some(days), ..Options::default() }
}

#[track_caller]
pub(super) fn open(path: &Path, options: Options) -> Dataset {
    Dataset::open(path, options).unwrap_or_else(|error| panic!("{error}"))
}
