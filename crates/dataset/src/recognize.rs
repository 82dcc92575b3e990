//! Which dataset it is: by the names of files, or by their first lines.

use std::collections::BTreeMap;

use crate::azure2019;
use crate::dataset::Format;
use crate::error::DatasetError;
use crate::files::{Files, bare};

/// Long enough for the names that tell the forms apart.
const START: usize = 256;

/// Other measurements of Huawei's datasets have the same form as the counts; their folders tell.
const NO_COUNTS: [&str; 9] =
    ["delay", "usage", "limit", "instances", "num_pods", "num_cold", "_avg", "_std", "_quantile"];

/// The form of the first line of a file.
fn of_header(start: &[u8]) -> Option<Format> {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let line = start.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    // Some programs put every name into quotation marks.
    let line: Vec<u8> = line.iter().copied().filter(|byte| *byte != b'"').collect();
    match &*line {
        b"app,func,end_timestamp,duration" => Some(Format::Azure2021),
        b"app,func,start_timestamp,duration" => Some(Format::Starts),
        line if line.starts_with(b"time_worker,") => Some(Format::HuaweiRequests),
        line if line.starts_with(b"day,time,clusterName") => None,
        line if line.starts_with(b"day,time,") => Some(Format::HuaweiCounts),
        _ => None,
    }
}

pub(crate) fn recognize(files: &Files) -> Result<(Format, Vec<String>), DatasetError> {
    let of_2019 = files.names().iter().filter(|name| azure2019::day_of(name).is_some());
    let of_2019: Vec<String> = of_2019.cloned().collect();
    if !of_2019.is_empty() {
        return Ok((Format::Azure2019, of_2019));
    }
    let mut folders: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for name in files.names() {
        if [".csv", ".txt"].iter().any(|end| bare(name).ends_with(end)) {
            folders.entry(name.rsplit_once('/').map_or("", |(folder, _)| folder)).or_default().push(name);
        }
    }
    if folders.is_empty() && files.names().len() == 1 {
        folders.insert("", files.names().iter().collect());
    }
    let mut found = Vec::new();
    for (folder, names) in folders {
        let Some(first) = names.first() else { continue };
        if let Some(format) = of_header(&files.start_of(first, START)?) {
            found.push((folder, format, names));
        }
    }
    let last = |folder: &str| {
        let whole = if folder.is_empty() { files.path().to_string_lossy() } else { folder.into() };
        whole.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
    };
    let is_other = |folder: &str, format| {
        let name = last(folder);
        format == Format::HuaweiCounts && NO_COUNTS.iter().any(|word| name.contains(word))
    };
    let (others, found): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(folder, format, _)| is_other(folder, *format));
    let [(_, format, names)] = &*found else {
        let shown = files.path().display();
        let folders: Vec<String> =
            found.iter().map(|(folder, ..)| format!("`{}`", files.shown(folder))).collect();
        return Err(match (folders.is_empty(), others.first()) {
            (true, Some((folder, ..))) => DatasetError::files(
                format!("`{shown}` holds `{}`, which are no numbers of invocations", last(folder)),
                "name the folder `requests_minute`, `requests_second` or `requests` of the dataset",
            ),
            (true, None) => DatasetError::files(
                format!("`{shown}` holds no dataset that is known"),
                "docs/datasets.md lists the datasets, and how to convert what is no CSV file",
            ),
            (false, _) => DatasetError::files(
                format!("`{shown}` holds several datasets: {}", folders.join(", ")),
                "name one of them",
            ),
        });
    };
    let mut names: Vec<String> = names.iter().map(|name| (*name).clone()).collect();
    names.sort();
    Ok((*format, names))
}
