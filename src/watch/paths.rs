//! The critical paths of the traces in folders, for pages.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::PathBuf;

use sb_analysis::{Waterfall, find_traces, for_each_measured};
use sb_pages::{Paths, TypicalOf};

/// As many bytes of traces are read for a page: that takes about half a minute.
const MOST_BYTES: u64 = 1 << 30;

/// Reads the traces in and below folders. What cannot be read is said in the page, which has the rest.
pub(crate) fn critical_paths(folders: &[PathBuf]) -> Paths {
    read(folders).unwrap_or_else(|error| {
        Paths::left_out(format!(
            "The traces could not be read, so their critical paths are not shown: {error}"
        ))
    })
}

fn read(folders: &[PathBuf]) -> io::Result<Paths> {
    let mut known = HashSet::new();
    let mut files = Vec::new();
    let mut bytes = 0;
    for folder in folders {
        match find_traces(std::slice::from_ref(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => {
                for file in found? {
                    if known.insert(std::fs::canonicalize(&file)?) {
                        bytes += std::fs::metadata(&file)?.len();
                        files.push(file);
                    }
                }
            }
        }
    }
    if bytes > MOST_BYTES {
        return Ok(Paths::left_out(format!(
            "The traces have {} MiB in all. A page shows critical paths of up to {} MiB; `sb trace aggregate` and `sb trace what-if` \
             read all of them.",
            bytes >> 20,
            MOST_BYTES >> 20
        )));
    }
    let mut paths = Paths::default();
    for_each_measured(
        &files,
        false,
        &mut |trace, analysis, measured| paths.add(trace, analysis, measured),
        // Those are counted by the report.
        &mut |_| {},
    )?;
    let mut wanted: BTreeMap<u32, Vec<TypicalOf>> = BTreeMap::new();
    for typical in paths.typical() {
        wanted.entry(typical.file).or_default().push(typical);
    }
    for (number, wanted) in wanted {
        let file = &files[number as usize..=number as usize];
        for_each_measured(
            file,
            false,
            &mut |trace, analysis, _| {
                for typical in wanted.iter().filter(|typical| trace.id == typical.id) {
                    paths.show(typical, Waterfall::new(trace, &Ok(analysis.clone())));
                }
            },
            &mut |_| {},
        )?;
    }
    Ok(paths)
}
